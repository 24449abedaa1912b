/* peak.c - the machine's ceiling: float32 multiply-adds a second, from registers alone.
 *
 *     cc -O2 -march=native -pthread peak.c -o peak && ./peak THREADS     prints GFLOP/s
 *
 * Twelve independent sums a thread hide the latency of the multiply-add; nothing touches memory. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#if defined(__AVX512F__)
enum { BYTES = 64 };
#elif defined(__AVX__)
enum { BYTES = 32 };
#else
enum { BYTES = 16 };
#endif
typedef float vector __attribute__((vector_size(BYTES)));

enum { SUMS = 12, ROUNDS = 2000000, REPEATS = 15 };

static volatile float sink;

static void *work(void *unused)
{
    (void)unused;
    vector sum[SUMS], a = {0}, b = {0};
    for (int i = 0; i < BYTES / 4; i++) {
        a[i] = 0.999999f;
        b[i] = 1e-6f * (float)i;
    }
    for (int k = 0; k < SUMS; k++) sum[k] = b;
    for (long r = 0; r < ROUNDS; r++) {
#pragma GCC unroll 12
        for (int k = 0; k < SUMS; k++) sum[k] = sum[k] * a + b;
        __asm__ volatile("" : "+x"(a), "+x"(b)); /* the loop must not be folded */
    }
    float total = 0;
    for (int k = 0; k < SUMS; k++) total += sum[k][0];
    sink = total;
    return NULL;
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

int main(int argc, char **argv)
{
    int threads = argc > 1 ? atoi(argv[1]) : 1;
    if (threads < 1 || threads > 64) return 1;
    double best = 1e9, flops = 2.0 * SUMS * ROUNDS * (BYTES / 4) * threads;
    for (int repeat = 0; repeat < REPEATS; repeat++) {
        pthread_t id[64];
        double start = now();
        for (int k = 1; k < threads; k++) pthread_create(&id[k], NULL, work, NULL);
        work(NULL);
        for (int k = 1; k < threads; k++) pthread_join(id[k], NULL);
        double took = now() - start;
        if (took < best) best = took;
    }
    printf("%.1f\n", flops / best / 1e9);
    return 0;
}
