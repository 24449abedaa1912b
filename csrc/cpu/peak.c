/* peak.c - the machine's ceilings, for people who read profiles: float32 multiply-adds from
 * registers alone, and bytes moved through memory.
 *
 * Twelve independent sums a thread hide the latency of the multiply-add.  The bytes are those of
 * a[i] = b[i] + c a[i] over arrays that no cache holds: two reads and a write. */
#include "base/alloc.h"
#include "base/clock.h"
#include "base/threads.h"
#include "cpu/kernels.h"
#include "cpu/simd.h"

enum { SUMS = 12, ROUNDS = 200000, REPEATS = 20 };
enum { FLOATS = 4 << 20 }; /* of each array of a thread: 16 MiB */

typedef struct memory {
    float *a, *b;
} memory;

static void multiply_add(void *context, int64_t task)
{
    (void)task;
    ebm_vf32 sum[SUMS], a = {0}, b = {0};
    for (int i = 0; i < EBM_LANES; i++) {
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
        for (int k = 0; k < SUMS; k++) sum[k] = ebm__fma_f32(sum[k], a, b);
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

/* Seconds of the best of REPEATS calls with a task a thread. */
static double best_time(ebm_task task, void *context, int threads)
{
    double best = 1e9;
    for (int repeat = 0; repeat < REPEATS; repeat++) {
        double start = ebm_clock();
        ebm_parallel(threads, task, context);
        double took = ebm_clock() - start;
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
        *flops = 2.0 * SUMS * ROUNDS * EBM_LANES * threads /
                 best_time(multiply_add, &sink, threads);
        *bytes = 3.0 * sizeof(float) * FLOATS * threads / best_time(triad, &m, threads);
    }
    bool failed = !m.a || !m.b;
    ebm__free(m.a);
    ebm__free(m.b);
    return failed ? EBM_NOMEM : EBM_OK;
}
