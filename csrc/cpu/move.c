/* move.c - broadcast, reshape, permute, slice, pad, concat, mark, stop, iota.
 *
 * Workload: plans read most of these through strides and never run them; what is left are
 * copies between layouts (NHWC and back, heads of attention, transposed weights) and borders.
 *
 * All but iota are copies from one strided array to another.  Axes are merged where both
 * sides allow it, the two axes that matter most are put last, and blocks of those two are
 * copied by one of: memcpy, a fill, a loop, or a transposition through a small tile in L1
 * that reads and writes whole cache lines.  Elements are moved by size: 1, 4 or 8 bytes. */
#include "cpu/kernels.h"

#include "base/threads.h"
#include "graph/graph.h"
#include "tensor/shape.h"

#include <string.h>

enum {
    GRAIN = 1 << 15, /* elements of a task */
    TILE = 16,       /* a transposed tile is TILE x TILE; 16 f32 are a cache line */
    NARROW = 8, /* of fewer rows or columns a transposition is a loop along the other axis */
    SHORT_BYTES = 64 /* runs up to here are copied by a loop instead of memcpy */
};

/* ---- blocks ------------------------------------------------------------------------------------ */

/* A block: n1 x n0 elements with the strides of both sides, in elements. */
typedef struct block {
    int64_t n1, n0, to1, to0, from1, from0;
} block;

#define DEFINE_COPY(name, T)                                                                \
    static void name##_strided(void *to, const void *from, const block *b)                  \
    {                                                                                       \
        for (int64_t i = 0; i < b->n1; i++) {                                               \
            T *restrict out = (T *)to + i * b->to1;                                         \
            const T *restrict x = (const T *)from + i * b->from1;                           \
            for (int64_t k = 0; k < b->n0; k++) out[k * b->to0] = x[k * b->from0];          \
        }                                                                                   \
    }                                                                                       \
    static void name##_short_runs(void *to, const void *from, const block *b)               \
    {                                                                                       \
        for (int64_t i = 0; i < b->n1; i++) {                                               \
            T *restrict out = (T *)to + i * b->to1;                                         \
            const T *restrict x = (const T *)from + i * b->from1;                           \
            for (int64_t k = 0; k < b->n0; k++) out[k] = x[k];                              \
        }                                                                                   \
    }                                                                                       \
    static void name##_fill(void *to, const void *from, const block *b)                     \
    {                                                                                       \
        for (int64_t i = 0; i < b->n1; i++) {                                               \
            T *restrict out = (T *)to + i * b->to1;                                         \
            T x = ((const T *)from)[i * b->from1];                                          \
            for (int64_t k = 0; k < b->n0; k++) out[k] = x;                                 \
        }                                                                                   \
    }                                                                                       \
    /* x[j + k * from0] -> out[j * to1 + k] for j < rows, k < columns. */                   \
    static void name##_tile(T *out, const T *x, int64_t rows, int64_t columns,              \
                            const block *b)                                                 \
    {                                                                                       \
        T tile[TILE][TILE];                                                                 \
        for (int64_t k = 0; k < columns; k++)                                               \
            for (int64_t j = 0; j < rows; j++) tile[k][j] = x[k * b->from0 + j];            \
        for (int64_t j = 0; j < rows; j++)                                                  \
            for (int64_t k = 0; k < columns; k++) out[j * b->to1 + k] = tile[k][j];         \
    }                                                                                       \
    /* to0 == 1 and from1 == 1. */                                                          \
    static void name##_transpose(void *to, const void *from, const block *b)                \
    {                                                                                       \
        for (int64_t k = 0; k < b->n0; k += TILE) {                                         \
            int64_t columns = b->n0 - k < TILE ? b->n0 - k : TILE, i = 0;                   \
            T *out = (T *)to + k;                                                           \
            const T *x = (const T *)from + k * b->from0;                                    \
            for (; columns == TILE && i + TILE <= b->n1; i += TILE)                         \
                name##_whole_tile(out + i * b->to1, x + i, b->to1, b->from0);               \
            for (; i < b->n1; i += TILE)                                                    \
                name##_tile(out + i * b->to1, x + i, b->n1 - i < TILE ? b->n1 - i : TILE,   \
                            columns, b);                                                    \
        }                                                                                   \
    }

/* Whole tiles, of known size: out[j * to1 + k] = x[j + k * from0] for j, k < TILE. */

typedef uint64_t two __attribute__((vector_size(16), aligned(8), may_alias));
typedef uint32_t four __attribute__((vector_size(16), aligned(4), may_alias));

/* Of 4-byte elements, by 4 x 4 in registers. */
static void copy4_whole_tile(uint32_t *out, const uint32_t *x, int64_t to1, int64_t from0)
{
    _Alignas(64) uint32_t tile[TILE][TILE];
    for (int k = 0; k < TILE; k++) memcpy(tile[k], x + k * from0, sizeof tile[k]);
    for (int j = 0; j < TILE; j += 4)
        for (int k = 0; k < TILE; k += 4) {
            four a = *(const four *)&tile[k][j], b = *(const four *)&tile[k + 1][j];
            four c = *(const four *)&tile[k + 2][j], d = *(const four *)&tile[k + 3][j];
            four ab_low = __builtin_shufflevector(a, b, 0, 4, 1, 5);
            four ab_high = __builtin_shufflevector(a, b, 2, 6, 3, 7);
            four cd_low = __builtin_shufflevector(c, d, 0, 4, 1, 5);
            four cd_high = __builtin_shufflevector(c, d, 2, 6, 3, 7);
            uint32_t *row = out + j * to1 + k;
            *(four *)row = __builtin_shufflevector(ab_low, cd_low, 0, 1, 4, 5);
            *(four *)(row + to1) = __builtin_shufflevector(ab_low, cd_low, 2, 3, 6, 7);
            *(four *)(row + 2 * to1) = __builtin_shufflevector(ab_high, cd_high, 0, 1, 4, 5);
            *(four *)(row + 3 * to1) = __builtin_shufflevector(ab_high, cd_high, 2, 3, 6, 7);
        }
}

/* Of 8-byte elements, by 2 x 2. */
static void copy8_whole_tile(uint64_t *out, const uint64_t *x, int64_t to1, int64_t from0)
{
    _Alignas(64) uint64_t tile[TILE][TILE];
    for (int k = 0; k < TILE; k++) memcpy(tile[k], x + k * from0, sizeof tile[k]);
    for (int j = 0; j < TILE; j += 2)
        for (int k = 0; k < TILE; k += 2) {
            two a = *(const two *)&tile[k][j], b = *(const two *)&tile[k + 1][j];
            *(two *)(out + j * to1 + k) = __builtin_shufflevector(a, b, 0, 2);
            *(two *)(out + (j + 1) * to1 + k) = __builtin_shufflevector(a, b, 1, 3);
        }
}

static void copy1_whole_tile(uint8_t *out, const uint8_t *x, int64_t to1, int64_t from0)
{
    uint8_t tile[TILE][TILE];
    for (int k = 0; k < TILE; k++) memcpy(tile[k], x + k * from0, sizeof tile[k]);
    for (int j = 0; j < TILE; j++)
        for (int k = 0; k < TILE; k++) out[j * to1 + k] = tile[k][j];
}

DEFINE_COPY(copy1, uint8_t)
DEFINE_COPY(copy4, uint32_t)
DEFINE_COPY(copy8, uint64_t)

typedef void (*copy_block)(void *to, const void *from, const block *b);

typedef struct copies {
    size_t size;
    copy_block strided, short_runs, fill, transpose;
} copies;

#define COPIES(name, T)                                                                    \
    {sizeof(T), name##_strided, name##_short_runs, name##_fill, name##_transpose}
static const copies copies1 = COPIES(copy1, uint8_t);
static const copies copies4 = COPIES(copy4, uint32_t);
static const copies copies8 = COPIES(copy8, uint64_t);

static const copies *copies_of(int32_t dtype)
{
    switch (ebm_dtype_size((ebm_dtype)dtype)) {
    case 1: return &copies1;
    case 4: return &copies4;
    default: return &copies8;
    }
}

/* ---- strided copies ---------------------------------------------------------------------------- */

typedef struct axis {
    int64_t n, to, from;
} axis;

/* A copy of n[0] x n[1] x .. elements from one strided array to another. */
typedef struct copy {
    const copies *by;
    char *to;
    const char *from;
    int32_t rank;
    axis axes[EBM_MAX_RANK + 2];
} copy;

static int64_t magnitude(int64_t a)
{
    return a < 0 ? -a : a;
}

/* Drops axes of size 1 and merges neighbours that are one axis on both sides. */
static void merge_axes(copy *c)
{
    int32_t rank = 0;
    for (int32_t i = 0; i < c->rank; i++) {
        axis a = c->axes[i], *last = rank ? &c->axes[rank - 1] : NULL;
        if (a.n == 1) continue;
        if (last && last->to == a.n * a.to && last->from == a.n * a.from)
            *last = (axis){last->n * a.n, a.to, a.from};
        else
            c->axes[rank++] = a;
    }
    c->rank = rank;
}

/* Makes the rank at least 2; if the last axis is far apart in the source, the axis that is
 * nearest there becomes the last but one. */
static void order_axes(copy *c)
{
    while (c->rank < 2) {
        memmove(c->axes + 1, c->axes, (size_t)c->rank * sizeof(axis));
        c->axes[0] = (axis){1, 0, 0};
        c->rank++;
    }
    int32_t near = c->rank - 2;
    if (magnitude(c->axes[c->rank - 1].from) <= 1) return;
    for (int32_t i = 0; i < c->rank - 1; i++)
        if (magnitude(c->axes[i].from) < magnitude(c->axes[near].from)) near = i;
    axis a = c->axes[near];
    for (int32_t i = near; i < c->rank - 2; i++) c->axes[i] = c->axes[i + 1];
    c->axes[c->rank - 2] = a;
}

static void run_block(const copies *by, char *to, const char *from, const block *b)
{
    if (b->to0 == 1 && b->from0 == 1) {
        size_t bytes = (size_t)b->n0 * by->size;
        if (bytes <= SHORT_BYTES) {
            by->short_runs(to, from, b);
            return;
        }
        for (int64_t i = 0; i < b->n1; i++)
            memcpy(to + i * b->to1 * (int64_t)by->size, from + i * b->from1 * (int64_t)by->size,
                   bytes);
    } else if (b->to0 == 1 && b->from0 == 0) {
        by->fill(to, from, b);
    } else if (b->to0 == 1 && b->from1 == 1 && b->n0 >= NARROW && b->n1 >= NARROW) {
        by->transpose(to, from, b);
    } else if (b->n1 > b->n0) {
        block turned = {b->n0, b->n1, b->to0, b->to1, b->from0, b->from1};
        by->strided(to, from, &turned);
    } else {
        by->strided(to, from, b);
    }
}

/* The tasks of a copy: the last two axes are cut into p1 x p0 pieces; the pieces of all outer
 * places are numbered, and a task is `group` of them. */
typedef struct copy_job {
    const copy *c;
    int64_t size0, size1, pieces0, pieces1, outer, group;
} copy_job;

/* Moves to the place with number `index` in the axes before the last two. */
static void seek(const copy *c, int64_t index, int64_t *to, int64_t *from)
{
    *to = *from = 0;
    for (int32_t i = c->rank - 3; i >= 0; i--) {
        int64_t k = index % c->axes[i].n;
        index /= c->axes[i].n;
        *to += k * c->axes[i].to;
        *from += k * c->axes[i].from;
    }
}

static int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static void run_copy_task(void *context, int64_t task)
{
    const copy_job *job = context;
    const copy *c = job->c;
    const axis *a1 = &c->axes[c->rank - 2], *a0 = &c->axes[c->rank - 1];
    int64_t pieces = job->pieces1 * job->pieces0, size = (int64_t)c->by->size;
    int64_t end = smaller((task + 1) * job->group, job->outer * pieces);
    for (int64_t p = task * job->group; p < end; p++) {
        int64_t k1 = p % pieces / job->pieces0 * job->size1, k0 = p % job->pieces0 * job->size0;
        int64_t n1 = smaller(job->size1, a1->n - k1), n0 = smaller(job->size0, a0->n - k0);
        block b = {n1, n0, a1->to, a0->to, a1->from, a0->from};
        int64_t to, from;
        seek(c, p / pieces, &to, &from);
        to += k1 * a1->to + k0 * a0->to;
        from += k1 * a1->from + k0 * a0->from;
        run_block(c->by, c->to + to * size, c->from + from * size, &b);
    }
}

static int64_t ceil_div(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

/* A transposition is cut into square pieces, everything else into runs along the last axis. */
static void run_copy(copy *c)
{
    for (int32_t i = 0; i < c->rank; i++)
        if (c->axes[i].n == 0) return;
    merge_axes(c);
    order_axes(c);
    const axis *a1 = &c->axes[c->rank - 2], *a0 = &c->axes[c->rank - 1];
    copy_job job = {.c = c, .outer = 1};
    int64_t most0 = magnitude(a0->from) > 1 ? 256 : GRAIN;
    job.size0 = smaller(a0->n, most0);
    job.size1 = smaller(a1->n, GRAIN / job.size0);
    job.pieces0 = ceil_div(a0->n, job.size0);
    job.pieces1 = ceil_div(a1->n, job.size1);
    for (int32_t i = 0; i < c->rank - 2; i++) job.outer *= c->axes[i].n;
    job.group = ceil_div(GRAIN, job.size0 * job.size1);
    int64_t pieces = job.outer * job.pieces1 * job.pieces0;
    ebm_parallel(ceil_div(pieces, job.group), run_copy_task, &job);
}

/* ---- the ops as copies ------------------------------------------------------------------------- */

static char *at(const ebm_view *view, int64_t element)
{
    return (char *)view->data + element * (int64_t)ebm_dtype_size((ebm_dtype)view->dtype);
}

static int64_t view_size(const ebm_view *view)
{
    int64_t size = 1;
    for (int32_t i = 0; i < view->rank; i++) size *= view->shape[i];
    return size;
}

static ebm_status run_reshape(const ebm_kernel_args *args)
{
    const ebm_view *x = &args->in[0], *out = &args->out[0];
    copy c = {copies_of(x->dtype), out->data, x->data, 1, {{view_size(out), 1, 1}}};
    run_copy(&c);
    return EBM_OK;
}

/* mark, stop.  Any strides: this is also how a view becomes contiguous. */
static ebm_status run_same(const ebm_kernel_args *args)
{
    const ebm_view *x = &args->in[0], *out = &args->out[0];
    copy c = {.by = copies_of(x->dtype), .to = out->data, .from = x->data, .rank = out->rank};
    for (int32_t i = 0; i < out->rank; i++)
        c.axes[i] = (axis){out->shape[i], out->stride[i], x->stride[i]};
    run_copy(&c);
    return EBM_OK;
}

/* Axis i of x is axis where[i] of the result; a size of 1 is repeated, as the other axes
 * are. */
static ebm_status run_broadcast(const ebm_kernel_args *args)
{
    const ebm_view *x = &args->in[0], *out = &args->out[0];
    const int64_t *where = args->attr + 1 + out->rank;
    copy c = {.by = copies_of(x->dtype), .to = out->data, .from = x->data, .rank = out->rank};
    for (int32_t i = 0; i < out->rank; i++)
        c.axes[i] = (axis){out->shape[i], out->stride[i], 0};
    for (int32_t i = 0; i < x->rank; i++)
        if (x->shape[i] != 1) c.axes[where[i]].from = x->stride[i];
    run_copy(&c);
    return EBM_OK;
}

static ebm_status run_permute(const ebm_kernel_args *args)
{
    const ebm_view *x = &args->in[0], *out = &args->out[0];
    copy c = {.by = copies_of(x->dtype), .to = out->data, .from = x->data, .rank = out->rank};
    for (int32_t i = 0; i < out->rank; i++)
        c.axes[i] = (axis){out->shape[i], out->stride[i], x->stride[args->attr[i]]};
    run_copy(&c);
    return EBM_OK;
}

static ebm_status run_slice(const ebm_kernel_args *args)
{
    const ebm_view *x = &args->in[0], *out = &args->out[0];
    copy c = {.by = copies_of(x->dtype), .to = out->data, .rank = out->rank};
    int64_t start = 0;
    for (int32_t i = 0; i < out->rank; i++) {
        const int64_t *a = args->attr + 3 * i; /* start, step, count */
        c.axes[i] = (axis){out->shape[i], out->stride[i], a[1] * x->stride[i]};
        start += a[0] * x->stride[i];
    }
    if (view_size(out) == 0) return EBM_OK;
    c.from = at(x, start);
    run_copy(&c);
    return EBM_OK;
}

static void fill_zero(const ebm_view *out)
{
    static _Alignas(uint64_t) const char zero[sizeof(uint64_t)];
    copy c = {copies_of(out->dtype), out->data, zero, 1, {{view_size(out), 1, 0}}};
    run_copy(&c);
}

static ebm_status run_pad(const ebm_kernel_args *args)
{
    const ebm_view *x = &args->in[0], *out = &args->out[0];
    copy c = {.by = copies_of(x->dtype), .from = x->data, .rank = x->rank};
    int64_t start = 0;
    for (int32_t i = 0; i < x->rank; i++) {
        const int64_t *a = args->attr + 3 * i; /* start, step, size */
        c.axes[i] = (axis){x->shape[i], a[1] * out->stride[i], x->stride[i]};
        start += a[0] * out->stride[i];
    }
    if (view_size(x) != view_size(out)) fill_zero(out);
    if (view_size(x) == 0) return EBM_OK;
    c.to = at(out, start);
    run_copy(&c);
    return EBM_OK;
}

static ebm_status run_concat(const ebm_kernel_args *args)
{
    const ebm_view *out = &args->out[0];
    int64_t along = args->attr[0], place = 0;
    if (view_size(out) == 0) return EBM_OK;
    for (int32_t k = 0; k < args->n_in; k++) {
        const ebm_view *x = &args->in[k];
        copy c = {.by = copies_of(x->dtype), .from = x->data, .rank = x->rank};
        c.to = at(out, place * out->stride[along]);
        for (int32_t i = 0; i < x->rank; i++)
            c.axes[i] = (axis){x->shape[i], out->stride[i], x->stride[i]};
        run_copy(&c);
        place += x->shape[along];
    }
    return EBM_OK;
}

/* ---- iota -------------------------------------------------------------------------------------- */

typedef struct iota_job {
    void *out;
    int32_t dtype;
    int64_t n, inner, count, group; /* the result is (count / n, n, inner) */
} iota_job;

#define FILL_RUN(T)                                               \
    do {                                                          \
        T *run = (T *)job->out + r * job->inner, value = (T)k;    \
        for (int64_t i = 0; i < job->inner; i++) run[i] = value;  \
    } while (0)

static void run_iota_task(void *context, int64_t task)
{
    const iota_job *job = context;
    int64_t end = smaller((task + 1) * job->group, job->count);
    for (int64_t r = task * job->group; r < end; r++) {
        int64_t k = r % job->n;
        switch (job->dtype) {
        case EBM_F32: FILL_RUN(float); break;
        case EBM_F64: FILL_RUN(double); break;
        default: FILL_RUN(int32_t); break;
        }
    }
}

static ebm_status run_iota(const ebm_kernel_args *args)
{
    const ebm_view *out = &args->out[0];
    int64_t along = args->attr[1], size = view_size(out);
    if (!ebm_dtype_is_float((ebm_dtype)out->dtype) && out->dtype != EBM_I32)
        return ebm_fail(EBM_UNSUPPORTED, "iota: no kernel for %s",
                        ebm_dtype_name((ebm_dtype)out->dtype));
    if (size == 0) return EBM_OK;
    iota_job job = {.out = out->data, .dtype = out->dtype, .n = out->shape[along], .inner = 1};
    for (int64_t i = along + 1; i < out->rank; i++) job.inner *= out->shape[i];
    job.count = size / job.inner;
    job.group = ceil_div(GRAIN, job.inner);
    ebm_parallel(ceil_div(job.count, job.group), run_iota_task, &job);
    return EBM_OK;
}

/* ---- the family -------------------------------------------------------------------------------- */

ebm_status EBM_CPU(move)(const ebm_kernel_args *args)
{
    switch (args->op) {
    case EBM_OP_broadcast: return run_broadcast(args);
    case EBM_OP_reshape: return run_reshape(args);
    case EBM_OP_mark:
    case EBM_OP_stop: return run_same(args);
    case EBM_OP_permute: return run_permute(args);
    case EBM_OP_slice: return run_slice(args);
    case EBM_OP_pad: return run_pad(args);
    case EBM_OP_concat: return run_concat(args);
    case EBM_OP_iota: return run_iota(args);
    default: return ebm_fail(EBM_UNSUPPORTED, "move: op %d has no kernel", (int)args->op);
    }
}

size_t EBM_CPU(move_scratch)(const ebm_kernel_args *args)
{
    (void)args;
    return 0;
}
