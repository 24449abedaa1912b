/* test_threads.c - the pool: every task once, whatever calls it, and again after a fork. */
#define _GNU_SOURCE
#include "runner.h"

#include "base/threads.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MANY = 1000 };

static atomic_int visits[MANY];

static void visit(void *context, int64_t task)
{
    int *plain = context; /* one writer a task: a second one is a race that TSan sees */
    if (plain) plain[task]++;
    atomic_fetch_add_explicit(&visits[task], 1, memory_order_relaxed);
}

static void check_visits(int64_t count, int each)
{
    for (int64_t t = 0; t < MANY; t++)
        CHECK(atomic_exchange(&visits[t], 0) == (t < count ? each : 0));
}

TEST(threads_every_task_once)
{
    static const int64_t counts[] = {-1, 0, 1, 2, 3, 7, 64, MANY};
    for (int n = 1; n <= 8; n++) {
        ebm_set_num_threads(n);
        CHECK(ebm_num_threads() == n);
        for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
            int plain[MANY] = {0};
            ebm_parallel(counts[i], visit, plain);
            check_visits(counts[i], 1);
            for (int64_t t = 0; t < MANY; t++) CHECK(plain[t] == (t < counts[i]));
        }
    }
}

/* Jobs so small that workers come late, and pauses long enough that they sleep. */
TEST(threads_many_tiny_jobs)
{
    struct timespec pause = {.tv_nsec = 50000};
    int plain[8] = {0};
    int64_t jobs = 0;
    for (int n = 2; n <= 5; n++) {
        ebm_set_num_threads(n);
        for (int i = 0; i < 5000; i++) {
            ebm_parallel(1 + i % 8, visit, NULL);
            if (i % 100 == 0) nanosleep(&pause, NULL);
        }
        for (int i = 0; i < 500; i++, jobs++) {
            ebm_parallel(8, visit, plain);
            if (i % 2) nanosleep(&pause, NULL);
        }
    }
    for (int i = 0; i < 8; i++) CHECK(plain[i] == jobs);
}

static void nested(void *context, int64_t task)
{
    int64_t *sums = context;
    int inner[16] = {0};
    ebm_parallel(16, visit, inner);
    for (int i = 0; i < 16; i++) sums[task] += inner[i];
}

TEST(threads_nested_call_runs_serially)
{
    int64_t sums[64] = {0};
    ebm_set_num_threads(4);
    ebm_parallel(64, nested, sums);
    for (int i = 0; i < 64; i++) CHECK(sums[i] == 16);
    check_visits(16, 64);
}

static void *call_often(void *context)
{
    (void)context;
    for (int i = 0; i < 2000; i++) {
        int plain[10] = {0};
        ebm_parallel(10, visit, plain);
        for (int t = 0; t < 10; t++) CHECK(plain[t] == 1);
    }
    return NULL;
}

TEST(threads_callers_compete)
{
    pthread_t callers[3];
    ebm_set_num_threads(3);
    for (int i = 0; i < 3; i++) CHECK(pthread_create(&callers[i], NULL, call_often, NULL) == 0);
    for (int i = 0; i < 3; i++) CHECK(pthread_join(callers[i], NULL) == 0);
    check_visits(10, 6000);
}

/* One task waits for the other: they can only end on two threads. */
static void meet(void *context, int64_t task)
{
    atomic_int *arrived = context;
    (void)task;
    atomic_fetch_add(arrived, 1);
    while (atomic_load(arrived) < 2) sched_yield();
}

TEST(threads_work_beside_the_caller)
{
    for (int i = 0; i < 20; i++) {
        atomic_int arrived = 0;
        ebm_set_num_threads(2);
        ebm_parallel(2, meet, &arrived);
        CHECK(arrived == 2);
    }
}

static void long_task(void *context, int64_t task)
{
    struct timespec pause = {.tv_nsec = task == 0 ? 1000 : 2000000};
    (void)context;
    nanosleep(&pause, NULL);
    visit(NULL, task);
}

/* The caller is done first and has to sleep until the worker is. */
TEST(threads_caller_waits_for_long_tasks)
{
    ebm_set_num_threads(3);
    for (int i = 0; i < 20; i++) ebm_parallel(3, long_task, NULL);
    check_visits(3, 20);
}

TEST(threads_start_anew_after_fork)
{
    atomic_int arrived = 0;
    ebm_set_num_threads(2);
    ebm_parallel(2, meet, &arrived);
    for (int i = 0; i < 10; i++) {
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            alarm(20);
            atomic_store(&arrived, 0);
            ebm_parallel(2, meet, &arrived); /* ends only if the child has its own worker */
            _exit(atomic_load(&arrived) == 2 ? 0 : 1);
        }
        int state = 0;
        CHECK(waitpid(child, &state, 0) == child);
        CHECK(WIFEXITED(state) && WEXITSTATUS(state) == 0);
        atomic_store(&arrived, 0);
        ebm_parallel(2, meet, &arrived);
    }
}

TEST(threads_count_from_environment)
{
    const char *before = getenv("EBMLIB_NUM_THREADS");
    char *kept = before ? strdup(before) : NULL;
    CHECK(setenv("EBMLIB_NUM_THREADS", "3", 1) == 0);
    ebm_set_num_threads(0);
    CHECK(ebm_num_threads() == 3);
    CHECK(setenv("EBMLIB_NUM_THREADS", "many", 1) == 0);
    ebm_set_num_threads(0);
    int machine = ebm_num_threads();
    CHECK(machine >= 1);
    CHECK(unsetenv("EBMLIB_NUM_THREADS") == 0);
    ebm_set_num_threads(-5);
    CHECK(ebm_num_threads() == machine);
    CHECK(setenv("EBMLIB_NUM_THREADS", "100000", 1) == 0);
    ebm_set_num_threads(0);
    CHECK(ebm_num_threads() >= machine && ebm_num_threads() < 100000);
    CHECK(kept ? setenv("EBMLIB_NUM_THREADS", kept, 1) == 0
               : unsetenv("EBMLIB_NUM_THREADS") == 0);
    free(kept);
}
