/* peak.c - the machine's ceilings, for people who read profiles: float32 multiply-adds from
 * registers alone, and bytes moved through memory.
 *
 * Twelve independent sums a thread hide the latency of the multiply-add.  The bytes are those of
 * a[i] = b[i] + c a[i] over arrays that no cache holds: two reads and a write. */
#define _POSIX_C_SOURCE 200809L
#include <time.h>

#include "base/alloc.h"
#include "base/threads.h"
#include "cpu/kernels.h"

#if defined(__AVX512F__)
enum { VECTOR_BYTES = 64 };
#elif defined(__AVX2__)
enum { VECTOR_BYTES = 32 };
#else
enum { VECTOR_BYTES = 16 };
#endif
typedef float vector __attribute__((vector_size(VECTOR_BYTES)));

enum { SUMS = 12, ROUNDS = 200000, REPEATS = 20, LANES = VECTOR_BYTES / 4 };
enum { FLOATS = 4 << 20 }; /* of each array of a thread: 16 MiB */

typedef struct memory {
    float *a, *b;
} memory;

static void multiply_add(void *context, int64_t task)
{
    (void)task;
    vector sum[SUMS], a = {0}, b = {0};
    for (int i = 0; i < LANES; i++) {
        a[i] = 0.999999f;
        b[i] = 1e-6f * (float)i;
    }
    for (int k = 0; k < SUMS; k++) sum[k] = b;
    for (int r = 0; r < ROUNDS; r++) {
#if defined(__clang__)
#pragma clang loop unroll(full)
#else
#pragma GCC unroll 12
#endif
        for (int k = 0; k < SUMS; k++) sum[k] = sum[k] * a + b;
        __asm__ volatile("" : "+x"(a), "+x"(b)); /* the loop must not be folded */
    }
    float total = 0;
    for (int k = 0; k < SUMS; k++) total += sum[k][0];
    *(volatile float *)context = total;
}

static void triad(void *context, int64_t task)
{
    const memory *m = context;
    float *a = m->a + task * FLOATS;
    const float *b = m->b + task * FLOATS;
    for (int64_t i = 0; i < FLOATS; i++) a[i] = b[i] + 0.5f * a[i];
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Seconds of the best of REPEATS calls with a task a thread. */
static double best_time(ebm_task task, void *context, int threads)
{
    double best = 1e9;
    for (int repeat = 0; repeat < REPEATS; repeat++) {
        double start = now();
        ebm_parallel(threads, task, context);
        double took = now() - start;
        if (took < best) best = took;
    }
    return best;
}

ebm_status EBM_CPU(peak)(double *flops, double *bytes)
{
    int threads = ebm_num_threads();
    float sink = 0;
    memory m = {.a = ebm__alloc((size_t)threads * FLOATS, sizeof *m.a),
                .b = ebm__alloc((size_t)threads * FLOATS, sizeof *m.b)};
    if (m.a && m.b) {
        *flops = 2.0 * SUMS * ROUNDS * LANES * threads / best_time(multiply_add, &sink, threads);
        *bytes = 3.0 * sizeof(float) * FLOATS * threads / best_time(triad, &m, threads);
    }
    bool failed = !m.a || !m.b;
    ebm__free(m.a);
    ebm__free(m.b);
    return failed ? EBM_NOMEM : EBM_OK;
}
