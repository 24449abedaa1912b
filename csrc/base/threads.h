/* threads.h - one pool of worker threads for all kernels.
 *
 * Workload: thousands of fork-joins a second, each of a few microseconds to a few milliseconds.
 * Workers spin for about 20 us after a job, then sleep.  A kernel cuts its work into tasks by its
 * shapes alone, never by the number of threads, so that results are bit-equal for any number.
 * The pool is started on first use and started anew in the child after fork. */
#ifndef EBM_BASE_THREADS_H
#define EBM_BASE_THREADS_H

#include "base/status.h"

typedef void (*ebm_task)(void *context, int64_t task);

/* Runs task(context, t) for t = 0 .. count-1, each once, in any order, on the pool and the calling
 * thread; returns when all are done.  A call from inside a task, or while another thread holds the
 * pool, runs in the calling thread alone.  Never fails: without memory or threads it runs serially. */
void ebm_parallel(int64_t count, ebm_task task, void *context);

/* A team: runs task(context, k) for each thread k, which goes on until the work of all of them is done
 * and meanwhile calls ebm_team_help whenever it has nothing to do.  Inside, ebm_parallel gives tasks
 * to those who help.  False, and nothing was run, with one thread, inside of a team, or while another
 * thread holds the pool. */
bool ebm_team_run(ebm_task task, void *context);
/* Takes tasks of another member, or waits a little; `waits` counts how often, from 0. */
void ebm_team_help(int *waits);

/* Threads used, the caller counted in: EBMLIB_NUM_THREADS, else the processors this process may
 * use.  Setting it is for tests and tuning; n < 1 restores the default. */
int ebm_num_threads(void);
void ebm_set_num_threads(int n);

#endif
