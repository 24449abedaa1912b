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

static struct {
    _Alignas(LINE) atomic_bool held;
    bool registered, exhausted; /* fork handler set; the system gave no more threads */
    int n_workers;
    ebm_task task; /* the job: written while the gate is closed and nobody is inside */
    void *context;
    int shares;

    _Alignas(LINE) _Atomic uint64_t gate;
    atomic_int helpers; /* workers that may be inside at once */

    struct share {
        _Alignas(LINE) _Atomic int64_t next; /* first task that nobody has taken */
        int64_t end;
    } share[MAX_THREADS];

    _Alignas(LINE) atomic_int sleepers;
    atomic_bool waiting; /* the caller sleeps until the last worker has left */
    pthread_mutex_t lock;
    pthread_cond_t opened, emptied;
} pool = {
    .lock = PTHREAD_MUTEX_INITIALIZER,
    .opened = PTHREAD_COND_INITIALIZER,
    .emptied = PTHREAD_COND_INITIALIZER,
};

static atomic_int n_threads; /* 0: not yet known */

static void relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
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
static void take_tasks(int own)
{
    for (int k = 0; k < pool.shares; k++) {
        struct share *share = &pool.share[(own + k) % pool.shares];
        for (;;) {
            int64_t t = atomic_fetch_add_explicit(&share->next, 1, memory_order_relaxed);
            if (t >= share->end) break;
            pool.task(pool.context, t);
        }
    }
}

static void cut_shares(int64_t count, int shares)
{
    int64_t size = count / shares, more = count % shares, first = 0;
    for (int k = 0; k < shares; k++) {
        int64_t end = first + size + (k < more);
        atomic_store_explicit(&pool.share[k].next, first, memory_order_relaxed);
        pool.share[k].end = first = end;
    }
    pool.shares = shares;
}

/* ---- workers ----------------------------------------------------------------------------- */

/* Whether the gate stands open to a worker whose last job was `seen`. */
static bool joinable(uint64_t gate, uint32_t seen)
{
    uint32_t serial = (uint32_t)(gate >> 32);
    return serial % 2 == 1 && serial != seen &&
           (int)(uint32_t)gate < atomic_load_explicit(&pool.helpers, memory_order_relaxed);
}

static bool job_open(uint32_t seen)
{
    return joinable(atomic_load(&pool.gate), seen);
}

static void sleep_until_open(uint32_t seen)
{
    pthread_mutex_lock(&pool.lock);
    atomic_fetch_add(&pool.sleepers, 1);
    while (!job_open(seen)) pthread_cond_wait(&pool.opened, &pool.lock);
    atomic_fetch_sub(&pool.sleepers, 1);
    pthread_mutex_unlock(&pool.lock);
}

static bool enter(uint32_t *seen)
{
    uint64_t gate = atomic_load(&pool.gate);
    while (joinable(gate, *seen)) {
        if (atomic_compare_exchange_weak(&pool.gate, &gate, gate + 1)) {
            *seen = (uint32_t)(gate >> 32);
            return true;
        }
    }
    return false;
}

static void leave(void)
{
    uint64_t before = atomic_fetch_sub(&pool.gate, 1);
    if ((uint32_t)before != 1 || !atomic_load(&pool.waiting)) return;
    pthread_mutex_lock(&pool.lock);
    pthread_cond_signal(&pool.emptied);
    pthread_mutex_unlock(&pool.lock);
}

/* `number`: from 1 on; the caller's share is 0. */
static void *worker(void *number)
{
    uint32_t seen = 0;
    for (;;) {
        if (!spin_until(job_open, seen)) sleep_until_open(seen);
        if (!enter(&seen)) continue;
        take_tasks((int)(intptr_t)number);
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
    atomic_store(&pool.gate, 0);
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

static void open_gate(int helpers)
{
    atomic_store_explicit(&pool.helpers, helpers, memory_order_relaxed);
    atomic_fetch_add(&pool.gate, SERIAL_ONE);
    int asleep = atomic_load(&pool.sleepers);
    if (asleep == 0) return;
    pthread_mutex_lock(&pool.lock);
    for (int i = 0; i < helpers && i < asleep; i++) pthread_cond_signal(&pool.opened);
    pthread_mutex_unlock(&pool.lock);
}

static bool all_left(uint32_t unused)
{
    (void)unused;
    return (uint32_t)atomic_load(&pool.gate) == 0;
}

static void close_gate(void)
{
    atomic_fetch_add(&pool.gate, SERIAL_ONE);
    if (all_left(0) || spin_until(all_left, 0)) return;
    pthread_mutex_lock(&pool.lock);
    atomic_store(&pool.waiting, true);
    while (!all_left(0)) pthread_cond_wait(&pool.emptied, &pool.lock);
    atomic_store(&pool.waiting, false);
    pthread_mutex_unlock(&pool.lock);
}

void ebm_parallel(int64_t count, ebm_task task, void *context)
{
    int threads = count < 2 ? 1 : ebm_num_threads();
    if (threads > count) threads = (int)count;
    if (threads < 2 || atomic_exchange_explicit(&pool.held, true, memory_order_acquire)) {
        run_serially(count, task, context);
        return;
    }
    int helpers = ready_workers(threads - 1);
    pool.task = task;
    pool.context = context;
    cut_shares(count, helpers + 1);
    if (helpers > 0) open_gate(helpers);
    take_tasks(0);
    if (helpers > 0) close_gate();
    atomic_store_explicit(&pool.held, false, memory_order_release);
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
