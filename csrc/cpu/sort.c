/* sort.c - argsort: where the elements of each row are in order.
 *
 * Workload: rows of a few to some thousand numbers (ranks, quantiles over a batch).  Every type
 * becomes an unsigned key of 64 bits in the same order, with the place beside it; pairs are merged
 * upwards from short sorted runs, which keeps equal keys in order.  A row is one thread's work. */
#include "cpu/kernels.h"

#include "base/threads.h"
#include "cpu/lanes.h"
#include "graph/graph.h"
#include "tensor/shape.h"

#include <string.h>

enum { RUN = 12 }; /* pairs that are sorted by insertion */

typedef struct pair {
    uint64_t key;
    int64_t place;
} pair;

/* Rows (outer, n, inner), along n. */
typedef struct job {
    const ebm_view *x;
    int32_t *out;
    int64_t n, inner;
    ebm__lanes lanes;
    char *scratch;
} job;

/* ---- keys -------------------------------------------------------------------------------------- */

/* The bits of a float, ordered as it is: the sign is turned, and negative ones run the other way.
 * -0 is 0, and NaN is above all. */
static inline uint64_t key_f32(float x)
{
    uint32_t bits;
    if (x != x) return UINT64_MAX;
    x += 0.0F;
    memcpy(&bits, &x, sizeof bits);
    return bits >> 31 ? ~bits : bits | UINT32_C(1) << 31;
}

static inline uint64_t key_f64(double x)
{
    uint64_t bits;
    if (x != x) return UINT64_MAX;
    x += 0.0;
    memcpy(&bits, &x, sizeof bits);
    return bits >> 63 ? ~bits : bits | UINT64_C(1) << 63;
}

static inline uint64_t key_i32(int32_t x)
{
    return (uint32_t)x ^ UINT32_C(1) << 31;
}

static inline uint64_t key_u8(uint8_t x)
{
    return x;
}

#define DEFINE_LOAD(name, T, key_of)                                                       \
    static void name(pair *to, const void *from, int64_t first, int64_t n, int64_t step)   \
    {                                                                                      \
        const T *x = (const T *)from + first;                                              \
        for (int64_t i = 0; i < n; i++) to[i] = (pair){.key = key_of(x[i * step]), .place = i}; \
    }
DEFINE_LOAD(load_f32, float, key_f32)
DEFINE_LOAD(load_f64, double, key_f64)
DEFINE_LOAD(load_i32, int32_t, key_i32)
DEFINE_LOAD(load_u8, uint8_t, key_u8)

static void load(const job *j, pair *to, int64_t first)
{
    switch (j->x->dtype) {
    case EBM_F32: load_f32(to, j->x->data, first, j->n, j->inner); break;
    case EBM_F64: load_f64(to, j->x->data, first, j->n, j->inner); break;
    case EBM_I32: load_i32(to, j->x->data, first, j->n, j->inner); break;
    default: load_u8(to, j->x->data, first, j->n, j->inner); break;
    }
}

/* ---- sorting ----------------------------------------------------------------------------------- */

static void insert_all(pair *x, int64_t n)
{
    for (int64_t i = 1; i < n; i++) {
        pair moving = x[i];
        int64_t k = i;
        for (; k > 0 && x[k - 1].key > moving.key; k--) x[k] = x[k - 1];
        x[k] = moving;
    }
}

/* Two sorted runs, (n_a) and (n_b) behind it, into one; of equals those of the first come first. */
static void merge(pair *restrict to, const pair *restrict a, int64_t n_a, int64_t n_b)
{
    const pair *b = a + n_a, *end_a = b, *end_b = b + n_b;
    while (a < end_a && b < end_b) {
        bool second = b->key < a->key;
        *to++ = second ? *b : *a;
        b += second;
        a += !second;
    }
    if (a < end_a) memcpy(to, a, (size_t)(end_a - a) * sizeof *a);
    if (b < end_b) memcpy(to, b, (size_t)(end_b - b) * sizeof *b);
}

static int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* Sorts x, with as much space behind; returns where the result is. */
static const pair *sort(pair *x, pair *space, int64_t n)
{
    for (int64_t i = 0; i < n; i += RUN) insert_all(x + i, smaller(RUN, n - i));
    for (int64_t run = RUN; run < n; run *= 2) {
        for (int64_t i = 0; i < n; i += 2 * run) {
            int64_t first = smaller(run, n - i);
            merge(space + i, x + i, first, smaller(run, n - i - first));
        }
        pair *sorted = space;
        space = x;
        x = sorted;
    }
    return x;
}

/* ---- calls ------------------------------------------------------------------------------------- */

static job read_args(const ebm_kernel_args *args)
{
    const ebm_view *x = &args->in[0];
    job j = {.x = x, .out = args->out[0].data, .inner = 1, .scratch = args->scratch};
    int64_t axis = args->attr[0], rows = 1;
    j.n = x->shape[axis];
    for (int64_t i = 0; i < axis; i++) rows *= x->shape[i];
    for (int64_t i = axis + 1; i < x->rank; i++) j.inner *= x->shape[i];
    int64_t levels = 4;
    for (int64_t n = j.n; n > 1; n /= 2) levels++;
    j.lanes = ebm__lanes_of(rows * j.inner, (double)(j.n * levels),
                            2 * (size_t)j.n * sizeof(pair));
    return j;
}

static void run_lane(void *context, int64_t lane)
{
    const job *j = context;
    pair *space = (pair *)(void *)(j->scratch + (size_t)lane * j->lanes.bytes);
    int64_t end = ebm__lanes_first(&j->lanes, lane + 1);
    for (int64_t row = ebm__lanes_first(&j->lanes, lane); row < end; row++) {
        int64_t first = row / j->inner * j->n * j->inner + row % j->inner;
        load(j, space, first);
        const pair *sorted = sort(space, space + j->n, j->n);
        for (int64_t i = 0; i < j->n; i++)
            j->out[first + i * j->inner] = (int32_t)sorted[i].place;
    }
}

size_t EBM_CPU(sort_scratch)(const ebm_kernel_args *args)
{
    job j = read_args(args);
    return ebm__lanes_scratch(&j.lanes);
}

ebm_status EBM_CPU(sort)(const ebm_kernel_args *args)
{
    if (args->op != EBM_OP_argsort)
        return ebm_fail(EBM_UNSUPPORTED, "sort: op %d has no kernel", (int)args->op);
    job j = read_args(args);
    EBM_CHECK(j.n <= INT32_MAX);
    ebm_parallel(j.lanes.count, run_lane, &j);
    return EBM_OK;
}
