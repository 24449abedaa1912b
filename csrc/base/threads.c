/* threads.c - the pool.
 *
 * One word, the gate, carries a job: its upper half is a serial number, odd while the job is
 * open; its lower half counts the workers inside.  A worker enters by a compare-and-swap on the
 * open gate and leaves by a decrement; the caller closes the gate when no task is left and
 * waits until the count is zero.  So a worker that wakes late costs nobody anything: it finds
 * the gate closed.
 *
 * The tasks of a job are cut into equal shares, one a thread, and a thread that has done its own
 * takes from the others'.  So the same thread does the same part of one kernel after another as
 * long as nobody is late, and finds in its cache what it wrote there: fetching that from another
 * core costs more than most kernels do.
 *
 * A team is a job with a task for each thread, whose tasks call kernels.  Each member has a job of
 * its own then, with a gate of its own, and members without a kernel go through the gates of the
 * others.
 *
 * Whoever holds `held` owns everything that is not atomic.  Trap: sleeping and waking rely on
 * sequentially consistent order of (say that I sleep, look at the gate) and (open the gate,
 * look for sleepers); do not weaken those. */
#define _GNU_SOURCE
#include "base/threads.h"

#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { MAX_THREADS = 256, SPIN_NS = 20000, STACK_BYTES = 2 << 20, LINE = 64 };

#define SERIAL_ONE ((uint64_t)1 << 32)

typedef struct share {
    _Alignas(LINE) _Atomic int64_t next; /* first task that nobody has taken */
    int64_t end;
} share;

typedef struct job {
    _Alignas(LINE) _Atomic uint64_t gate;
    atomic_int helpers; /* that may be inside at once */
    ebm_task task; /* from here on: written while the gate is closed and nobody is inside */
    void *context;
    int shares;
    share share[MAX_THREADS];
} job;

static struct {
    _Alignas(LINE) atomic_bool held;
    bool registered, exhausted; /* fork handler set; the system gave no more threads */
    int n_workers, team_size;

    job job, member[MAX_THREADS]; /* of whoever holds the pool, and of members of a team */

    _Alignas(LINE) atomic_int sleepers;
    atomic_bool waiting; /* the caller sleeps until the last worker has left */
    pthread_mutex_t lock;
    pthread_cond_t opened, emptied;
} pool = {
    .lock = PTHREAD_MUTEX_INITIALIZER,
    .opened = PTHREAD_COND_INITIALIZER,
    .emptied = PTHREAD_COND_INITIALIZER,
};

/* A worker's number, or 0; whether this thread is in a team, and not in a job of it; and the last job
 * of each member that it has joined. */
static _Thread_local int own_number;
static _Thread_local bool in_team;
static _Thread_local uint32_t joined[MAX_THREADS];
static atomic_int n_threads; /* 0: not yet known */

static void relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* Between looks at what another thread will do soon: it may need this processor for that. */
static void wait_a_little(int *waits)
{
    enum { PATIENCE = 64 };
    if (++*waits % PATIENCE == 0)
        sched_yield();
    else
        relax();
}

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static bool spin_until(bool (*ready)(uint32_t), uint32_t argument)
{
    int64_t start = now_ns();
    do {
        for (int i = 0; i < 64; i++) {
            if (ready(argument)) return true;
            relax();
        }
    } while (now_ns() - start < SPIN_NS);
    return false;
}

/* All tasks that nobody else takes, those of share `own` first. */
static void take_tasks(job *j, int own)
{
    for (int k = 0; k < j->shares; k++) {
        share *at = &j->share[(own + k) % j->shares];
        for (;;) {
            int64_t t = atomic_fetch_add_explicit(&at->next, 1, memory_order_relaxed);
            if (t >= at->end) break;
            j->task(j->context, t);
        }
    }
}

static void set_job(job *j, int64_t count, int shares, ebm_task task, void *context)
{
    int64_t size = count / shares, more = count % shares, first = 0;
    for (int k = 0; k < shares; k++) {
        int64_t end = first + size + (k < more);
        atomic_store_explicit(&j->share[k].next, first, memory_order_relaxed);
        j->share[k].end = first = end;
    }
    j->shares = shares;
    j->task = task;
    j->context = context;
}

/* ---- workers ----------------------------------------------------------------------------- */

/* Whether the gate stands open to a thread whose last job was `seen`. */
static bool joinable(const job *j, uint64_t gate, uint32_t seen)
{
    uint32_t serial = (uint32_t)(gate >> 32);
    return serial % 2 == 1 && serial != seen &&
           (int)(uint32_t)gate < atomic_load_explicit(&j->helpers, memory_order_relaxed);
}

static bool job_open(uint32_t seen)
{
    return joinable(&pool.job, atomic_load(&pool.job.gate), seen);
}

static void sleep_until_open(uint32_t seen)
{
    pthread_mutex_lock(&pool.lock);
    atomic_fetch_add(&pool.sleepers, 1);
    while (!job_open(seen)) pthread_cond_wait(&pool.opened, &pool.lock);
    atomic_fetch_sub(&pool.sleepers, 1);
    pthread_mutex_unlock(&pool.lock);
}

static bool enter(job *j, uint32_t *seen)
{
    uint64_t gate = atomic_load(&j->gate);
    while (joinable(j, gate, *seen)) {
        if (atomic_compare_exchange_weak(&j->gate, &gate, gate + 1)) {
            *seen = (uint32_t)(gate >> 32);
            return true;
        }
    }
    return false;
}

static void leave(void)
{
    uint64_t before = atomic_fetch_sub(&pool.job.gate, 1);
    if ((uint32_t)before != 1 || !atomic_load(&pool.waiting)) return;
    pthread_mutex_lock(&pool.lock);
    pthread_cond_signal(&pool.emptied);
    pthread_mutex_unlock(&pool.lock);
}

/* `number`: from 1 on; the caller's share is 0. */
static void *worker(void *number)
{
    uint32_t seen = 0;
    own_number = (int)(intptr_t)number;
    for (;;) {
        if (!spin_until(job_open, seen)) sleep_until_open(seen);
        if (!enter(&pool.job, &seen)) continue;
        take_tasks(&pool.job, own_number);
        leave();
    }
    return NULL;
}

/* ---- starting ---------------------------------------------------------------------------- */

/* The child of a fork has the caller's thread alone: forget the workers. */
static void forget_workers(void)
{
    pool.n_workers = 0;
    pool.exhausted = false;
    atomic_store(&pool.job.gate, 0);
    for (int k = 0; k < MAX_THREADS; k++) atomic_store(&pool.member[k].gate, 0);
    atomic_store(&pool.sleepers, 0);
    atomic_store(&pool.waiting, false);
    pool.lock = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
    pool.opened = (pthread_cond_t)PTHREAD_COND_INITIALIZER;
    pool.emptied = (pthread_cond_t)PTHREAD_COND_INITIALIZER;
    atomic_store(&pool.held, false);
}

/* Signals stay with the threads of the program: a worker is born with all of them blocked. */
static bool start_worker(int number)
{
    pthread_attr_t attributes;
    pthread_t thread;
    sigset_t all, old;
    if (pthread_attr_init(&attributes) != 0) return false;
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    bool started = pthread_create(&thread, &attributes, worker, (void *)(intptr_t)number) == 0;
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    pthread_attr_destroy(&attributes);
    return started;
}

/* Has up to `wanted` workers ready; says how many there are. */
static int ready_workers(int wanted)
{
    if (!pool.registered) {
        if (pthread_atfork(NULL, NULL, forget_workers) != 0) return 0;
        pool.registered = true;
    }
    while (pool.n_workers < wanted && !pool.exhausted) {
        if (start_worker(pool.n_workers + 1))
            pool.n_workers++;
        else
            pool.exhausted = true;
    }
    return pool.n_workers < wanted ? pool.n_workers : wanted;
}

/* ---- the caller -------------------------------------------------------------------------- */

static void run_serially(int64_t count, ebm_task task, void *context)
{
    for (int64_t t = 0; t < count; t++) task(context, t);
}

static void open_gate(job *j, int helpers)
{
    atomic_store_explicit(&j->helpers, helpers, memory_order_relaxed);
    atomic_fetch_add(&j->gate, SERIAL_ONE);
}

static void wake_up_to(int helpers)
{
    int asleep = atomic_load(&pool.sleepers);
    if (asleep == 0) return;
    pthread_mutex_lock(&pool.lock);
    for (int i = 0; i < helpers && i < asleep; i++) pthread_cond_signal(&pool.opened);
    pthread_mutex_unlock(&pool.lock);
}

static bool is_empty(const job *j)
{
    return (uint32_t)atomic_load(&j->gate) == 0;
}

static bool all_left(uint32_t unused)
{
    (void)unused;
    return is_empty(&pool.job);
}

static void close_gate(void)
{
    atomic_fetch_add(&pool.job.gate, SERIAL_ONE);
    if (all_left(0) || spin_until(all_left, 0)) return;
    pthread_mutex_lock(&pool.lock);
    atomic_store(&pool.waiting, true);
    while (!all_left(0)) pthread_cond_wait(&pool.emptied, &pool.lock);
    atomic_store(&pool.waiting, false);
    pthread_mutex_unlock(&pool.lock);
}

/* False if the pool is another's. */
static bool hold(void)
{
    return !atomic_exchange_explicit(&pool.held, true, memory_order_acquire);
}

/* Of the holder: runs the job and lets the pool go. */
static void run_job(int64_t count, int helpers, ebm_task task, void *context)
{
    set_job(&pool.job, count, helpers + 1, task, context);
    if (helpers > 0) {
        open_gate(&pool.job, helpers);
        wake_up_to(helpers);
    }
    take_tasks(&pool.job, 0);
    if (helpers > 0) close_gate();
    atomic_store_explicit(&pool.held, false, memory_order_release);
}

/* The tasks of a member's job call nobody. */
static void take_tasks_of_member(job *j)
{
    in_team = false;
    take_tasks(j, own_number);
    in_team = true;
}

/* A job of a member, with those who help. */
static void run_in_team(int64_t count, ebm_task task, void *context)
{
    job *j = &pool.member[own_number];
    int shares = count < pool.team_size ? (int)count : pool.team_size, waits = 0;
    set_job(j, count, shares, task, context);
    open_gate(j, shares - 1);
    take_tasks_of_member(j);
    atomic_fetch_add(&j->gate, SERIAL_ONE);
    while (!is_empty(j)) wait_a_little(&waits);
}

void ebm_parallel(int64_t count, ebm_task task, void *context)
{
    int threads = count < 2 ? 1 : ebm_num_threads();
    if (threads > count) threads = (int)count;
    if (threads > 1 && in_team)
        run_in_team(count, task, context);
    else if (threads > 1 && hold())
        run_job(count, ready_workers(threads - 1), task, context);
    else
        run_serially(count, task, context);
}

/* ---- teams ------------------------------------------------------------------------------- */

typedef struct team {
    ebm_task task;
    void *context;
} team;

static void run_member(void *context, int64_t number)
{
    const team *t = context;
    in_team = true;
    t->task(t->context, number);
    in_team = false;
}

bool ebm_team_run(ebm_task task, void *context)
{
    team t = {task, context};
    int threads = ebm_num_threads();
    if (threads < 2 || in_team || !hold()) return false;
    int helpers = ready_workers(threads - 1);
    pool.team_size = helpers + 1;
    run_job(pool.team_size, helpers, run_member, &t);
    return true;
}

void ebm_team_help(int *waits)
{
    for (int k = 0; k <= pool.n_workers; k++) {
        job *j = &pool.member[k];
        if (k == own_number || !enter(j, &joined[k])) continue;
        take_tasks_of_member(j);
        atomic_fetch_sub(&j->gate, 1);
        *waits = 0;
        return;
    }
    wait_a_little(waits);
}

/* ---- how many ---------------------------------------------------------------------------- */

static int processors(void)
{
#if defined(__linux__)
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
#endif
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    return online > INT_MAX ? INT_MAX : (int)online;
}

static int default_threads(void)
{
    const char *text = getenv("EBMLIB_NUM_THREADS");
    char *end = NULL;
    long asked = text ? strtol(text, &end, 10) : 0;
    if (asked > 0 && *end == '\0') return asked > MAX_THREADS ? MAX_THREADS : (int)asked;
    return processors();
}

void ebm_set_num_threads(int n)
{
    if (n < 1) n = default_threads();
    if (n < 1) n = 1;
    atomic_store(&n_threads, n > MAX_THREADS ? MAX_THREADS : n);
}

int ebm_num_threads(void)
{
    int n = atomic_load_explicit(&n_threads, memory_order_relaxed);
    if (n > 0) return n;
    ebm_set_num_threads(0);
    return atomic_load_explicit(&n_threads, memory_order_relaxed);
}
