/* runner.h - C tests: one function a test, each run in a process of its own.
 *
 *     TEST(alloc_zeroes)                  in test_<file>.c
 *     {
 *         CHECK(1 + 1 == 2);
 *     }
 *     T(alloc_zeroes)                     a row of tests.def, or the file does not compile
 *
 * The first check that fails ends the test, from whatever thread it is called.  A test also
 * fails by crashing, by running for more than TEST_SECONDS, or by leaving blocks of ebm__alloc
 * behind.  Allocation failures and the number of threads are reset after each test; other
 * process-wide settings are put back by the test that changed them. */
#ifndef EBM_TESTS_RUNNER_H
#define EBM_TESTS_RUNNER_H

#include "base/status.h"

#include <math.h>

enum { TEST_SECONDS = 300 };

#define T(name) void test_##name(void);
#include "tests.def"

#define TEST(name) void test_##name(void)

#if defined(__GNUC__)
#define TEST_NORETURN __attribute__((noreturn))
#else
#define TEST_NORETURN
#endif

/* Prints "file:line: text" and ends the test. */
TEST_NORETURN void test_fail(const char *file, int line, const char *format, ...)
    EBM_PRINTF(3, 4);

#define CHECK(condition)                                                                \
    do {                                                                                \
        if (!(condition)) test_fail(__FILE__, __LINE__, "check failed: %s", #condition); \
    } while (0)

#define CHECK_STATUS(call, expected)                                                           \
    do {                                                                                       \
        ebm_status got_ = (call), expected_ = (expected);                                      \
        if (got_ != expected_)                                                                 \
            test_fail(__FILE__, __LINE__, "%s: got %s (%s), expected %s", #call,               \
                      ebm_status_name(got_), ebm_message(), ebm_status_name(expected_));       \
    } while (0)

#define CHECK_OK(call) CHECK_STATUS(call, EBM_OK)

/* |a - b| <= tol * max(1, |b|), or equal infinities; a NaN is close to nothing. */
#define CHECK_CLOSE(a, b, tol)                                                             \
    do {                                                                                   \
        double a_ = (double)(a), b_ = (double)(b), tol_ = (double)(tol);                   \
        if (!(a_ == b_ || fabs(a_ - b_) <= tol_ * fmax(1.0, fabs(b_))))                    \
            test_fail(__FILE__, __LINE__, "%s = %.17g is not close to %s = %.17g (to %g)", \
                      #a, a_, #b, b_, tol_);                                               \
    } while (0)

/* splitmix64: the next of a sequence that starts with any `*state`. */
static inline uint64_t test_random(uint64_t *state)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* In [0, 1), and an integer in [0, n). */
static inline double test_uniform(uint64_t *state)
{
    return (double)(test_random(state) >> 11) * 0x1p-53;
}

static inline int64_t test_below(uint64_t *state, int64_t n)
{
    return (int64_t)(test_random(state) % (uint64_t)n);
}

#endif
