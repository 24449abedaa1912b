/* runner.c - runs the tests of tests.def.
 *
 *     runner [--here] [--linked] [--list] [--leak] [text]
 *
 * All tests, or those with `text` in their names.  --here runs them in this process, up to the first
 * failure, for debuggers and sanitizers; --linked leaves out the rows whose file is not linked in
 * (else they fail); --list prints the names; --leak runs a test that leaks, which must fail where
 * leaks are looked for.  Exits with 1 if a test failed or none was chosen. */
#define _GNU_SOURCE
#include "runner.h"

#include "base/alloc.h"
#include "base/threads.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* Weak here, so that a runner of some of the files links. */
#define T(name) void test_##name(void) __attribute__((weak));
#include "tests.def"

static const struct {
    const char *name;
    void (*run)(void);
} tests[] = {
#define T(name) {#name, test_##name},
#include "tests.def"
    {NULL, NULL},
};

static bool here;
static int passed, failed;

static void print_totals(void)
{
    printf("%d passed, %d failed\n", passed, failed);
    fflush(stdout);
}

void test_fail(const char *file, int line, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    printf("%s:%d: ", file, line);
    vprintf(format, args);
    printf("\n");
    va_end(args);
    if (here) {
        failed++;
        print_totals();
    }
    fflush(stdout);
    _exit(1);
}

static void do_nothing(void *context, int64_t task)
{
    (void)context;
    (void)task;
}

/* The blocks alive while the pool stands in its default size: what it owns is no leak of a
 * test. */
static int64_t live_blocks(void)
{
    ebm__alloc_fail_after(-1);
    ebm_set_num_threads(0);
    ebm_parallel(64, do_nothing, NULL);
    return ebm__alloc_live();
}

static void run_one(void (*run)(void))
{
    int64_t before = live_blocks();
    run();
    int64_t left = live_blocks() - before;
    if (left) test_fail(__FILE__, __LINE__, "%lld blocks of memory left", (long long)left);
}

/* Runs a test in a child and writes how it ended; true if it passed. */
static bool run_forked(void (*run)(void), char *end, size_t size)
{
    fflush(stdout);
    pid_t child = fork();
    if (child < 0) {
        snprintf(end, size, "cannot fork");
        return false;
    }
    if (child == 0) {
        alarm(TEST_SECONDS);
        run_one(run);
        exit(0); /* not _exit: leak checkers and coverage report at exit */
    }
    int state = 0;
    if (waitpid(child, &state, 0) != child) {
        snprintf(end, size, "lost its process");
        return false;
    }
    if (WIFSIGNALED(state))
        snprintf(end, size, "%s", strsignal(WTERMSIG(state)));
    else
        snprintf(end, size, "exit %d", WEXITSTATUS(state));
    return WIFEXITED(state) && WEXITSTATUS(state) == 0;
}

static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return 1e3 * (double)t.tv_sec + 1e-6 * (double)t.tv_nsec;
}

static void run_and_report(const char *name, void (*run)(void))
{
    double start = now_ms();
    char end[128] = "not linked";
    bool good = run != NULL;
    if (run && here)
        run_one(run);
    else if (run)
        good = run_forked(run, end, sizeof end);
    if (good)
        printf("ok    %s (%.0f ms)\n", name, now_ms() - start);
    else
        printf("FAIL  %s: %s\n", name, end);
    fflush(stdout);
    passed += good;
    failed += !good;
}

/* Not a block of ebm__alloc: the runner does not count it. */
static void leak(void)
{
    void *volatile block = malloc(100);
    block = NULL;
    (void)block;
}

int main(int argc, char **argv)
{
    bool linked = false, list = false, planted = false;
    const char *text = "";
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--here") == 0)
            here = true;
        else if (strcmp(argv[i], "--linked") == 0)
            linked = true;
        else if (strcmp(argv[i], "--list") == 0)
            list = true;
        else if (strcmp(argv[i], "--leak") == 0)
            planted = true;
        else
            text = argv[i];
    }
    if (planted) run_and_report("leak", leak);
    for (size_t i = 0; !planted && tests[i].name; i++) {
        if (!strstr(tests[i].name, text) || (linked && !tests[i].run)) continue;
        if (list)
            printf("%s\n", tests[i].name);
        else
            run_and_report(tests[i].name, tests[i].run);
    }
    if (list) return 0;
    print_totals();
    return failed > 0 || passed == 0;
}
