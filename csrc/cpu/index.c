/* index.c - take, scatter_add, put, and the windows of max pooling.
 *
 * Workload: batches gathered out of a data set or a replay buffer and written back (rows of
 * some kB), embeddings, labels, pooling.  All indices are checked before anything is written.
 *
 * What is added or overwritten happens in the order of the indices, so tasks share out
 * columns or images, never indices. */
#include "cpu/kernels.h"

#include "base/threads.h"
#include "graph/graph.h"
#include "tensor/shape.h"

#include <stdatomic.h>
#include <string.h>

enum {
    GRAIN = 1 << 15,       /* elements of a task */
    GRAIN_BYTES = 1 << 17, /* the same for copies */
    TILE = 256             /* columns of a task, of a window */
};

static int64_t ceil_div(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

static int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* The product of dimensions first .. last-1. */
static int64_t product(const ebm_view *view, int64_t first, int64_t last)
{
    int64_t size = 1;
    for (int64_t i = first; i < last; i++) size *= view->shape[i];
    return size;
}

static int64_t view_size(const ebm_view *view)
{
    return product(view, 0, view->rank);
}

static size_t element_size(const ebm_view *view)
{
    return ebm_dtype_size((ebm_dtype)view->dtype);
}

static ebm_status no_kernel(const ebm_kernel_args *args, const ebm_view *view)
{
    return ebm_fail(EBM_UNSUPPORTED, "%s: no kernel for %s", ebm_op_get((ebm_op)args->op)->name,
                    ebm_dtype_name((ebm_dtype)view->dtype));
}

/* ---- checking indices -------------------------------------------------------------------------- */

typedef struct check_job {
    const int32_t *idx;
    int64_t n, size;
    atomic_bool bad;
} check_job;

static void run_check_task(void *context, int64_t task)
{
    check_job *job = context;
    int64_t end = smaller((task + 1) * GRAIN, job->n);
    bool bad = false;
    for (int64_t i = task * GRAIN; i < end; i++)
        bad |= (job->idx[i] < 0) | (job->idx[i] >= job->size);
    if (bad) atomic_store_explicit(&job->bad, true, memory_order_relaxed);
}

/* INDEX, naming the first index that is not in 0 .. size-1. */
static ebm_status check_indices(const ebm_kernel_args *args, const ebm_view *idx, int64_t size)
{
    check_job job = {.idx = idx->data, .n = view_size(idx), .size = size};
    ebm_parallel(ceil_div(job.n, GRAIN), run_check_task, &job);
    if (!atomic_load(&job.bad)) return EBM_OK;
    int64_t i = 0;
    while (job.idx[i] >= 0 && job.idx[i] < size) i++;
    const char *name = ebm_op_get((ebm_op)args->op)->name;
    if (size == 0)
        return ebm_fail(EBM_INDEX, "%s: index out of range: got %d, expected none: empty axis",
                        name, (int)job.idx[i]);
    return ebm_fail(EBM_INDEX, "%s: index out of range: got %d, expected 0 .. %lld", name,
                    (int)job.idx[i], (long long)(size - 1));
}

/* ---- whole arrays ------------------------------------------------------------------------------ */

typedef struct bytes_job {
    char *to;
    const char *from; /* NULL: zeros */
    int64_t bytes;
} bytes_job;

static void run_bytes_task(void *context, int64_t task)
{
    const bytes_job *job = context;
    int64_t start = task * GRAIN_BYTES;
    size_t bytes = (size_t)smaller(GRAIN_BYTES, job->bytes - start);
    if (job->from)
        memcpy(job->to + start, job->from + start, bytes);
    else
        memset(job->to + start, 0, bytes);
}

static void fill_view(const ebm_view *out, const void *from)
{
    bytes_job job = {out->data, from, view_size(out) * (int64_t)element_size(out)};
    ebm_parallel(ceil_div(job.bytes, GRAIN_BYTES), run_bytes_task, &job);
}

/* ---- take -------------------------------------------------------------------------------------- */

/* x is (outer, size, run bytes), the result (outer, m, run bytes).  A run is cut into
 * `pieces`. */
typedef struct take_job {
    char *out;
    const char *x;
    const int32_t *idx;
    int64_t size, m, run, count, group, pieces;
} take_job;

/* Runs of a few bytes: results first .. end-1 of one outer place.  A run of two floats need not be
 * aligned as eight bytes are, so it is moved as bytes. */
#define DEFINE_TAKE(name, bytes)                                                               \
    static void name(char *restrict to, const char *restrict from, const int32_t *idx,         \
                     int64_t first, int64_t end)                                               \
    {                                                                                          \
        for (int64_t k = first; k < end; k++)                                                  \
            memcpy(to + k * (bytes), from + (int64_t)idx[k] * (bytes), (bytes));               \
    }

DEFINE_TAKE(take1, 1)
DEFINE_TAKE(take4, 4)
DEFINE_TAKE(take8, 8)

static void take_elements(const take_job *job, int64_t outer, int64_t first, int64_t end)
{
    char *to = job->out + outer * job->m * job->run;
    const char *from = job->x + outer * job->size * job->run;
    switch (job->run) {
    case 1: take1(to, from, job->idx, first, end); break;
    case 4: take4(to, from, job->idx, first, end); break;
    default: take8(to, from, job->idx, first, end); break;
    }
}

static void take_runs(const take_job *job, int64_t outer, int64_t first, int64_t end)
{
    char *to = job->out + (outer * job->m + first) * job->run;
    const char *from = job->x + outer * job->size * job->run;
    for (int64_t k = first; k < end; k++, to += job->run)
        memcpy(to, from + job->idx[k] * job->run, (size_t)job->run);
}

/* One long run, in pieces. */
static void run_take_piece(void *context, int64_t task)
{
    const take_job *job = context;
    int64_t p = task / job->pieces, start = task % job->pieces * GRAIN_BYTES;
    int64_t row = p / job->m * job->size + job->idx[p % job->m];
    memcpy(job->out + p * job->run + start, job->x + row * job->run + start,
           (size_t)smaller(GRAIN_BYTES, job->run - start));
}

/* `group` short runs. */
static void run_take_task(void *context, int64_t task)
{
    const take_job *job = context;
    bool elements = job->run == 1 || job->run == 4 || job->run == 8;
    int64_t end = smaller((task + 1) * job->group, job->count);
    for (int64_t p = task * job->group; p < end;) {
        int64_t outer = p / job->m, first = p % job->m, last = smaller(job->m, first + end - p);
        (elements ? take_elements : take_runs)(job, outer, first, last);
        p += last - first;
    }
}

static ebm_status run_take(const ebm_kernel_args *args)
{
    const ebm_view *x = &args->in[0], *idx = &args->in[1], *out = &args->out[0];
    int64_t axis = args->attr[0], outer = product(x, 0, axis), m = view_size(idx);
    take_job job = {.out = out->data,
                    .x = x->data,
                    .idx = idx->data,
                    .size = x->shape[axis],
                    .m = m,
                    .count = outer * m};
    job.run = product(x, axis + 1, x->rank) * (int64_t)element_size(x);
    EBM_TRY(check_indices(args, idx, job.size));
    if (job.run * job.count == 0) return EBM_OK;
    if (job.run >= 2 * GRAIN_BYTES) {
        job.pieces = ceil_div(job.run, GRAIN_BYTES);
        ebm_parallel(job.count * job.pieces, run_take_piece, &job);
    } else {
        job.group = ceil_div(GRAIN_BYTES, job.run);
        ebm_parallel(ceil_div(job.count, job.group), run_take_task, &job);
    }
    return EBM_OK;
}

/* ---- scatter_add ------------------------------------------------------------------------------- */

/* Row idx[k] of `to` += row k of `from`, for k < m; rows are `step` apart. */
typedef void (*add_rows)(void *to, const void *from, const int32_t *idx, int64_t m,
                         int64_t width, int64_t step);

#define DEFINE_ADD_ROWS(name, T)                                                               \
    static void name(void *to, const void *from, const int32_t *idx, int64_t m, int64_t width,  \
                     int64_t step)                                                             \
    {                                                                                          \
        for (int64_t k = 0; k < m; k++) {                                                      \
            T *restrict out = (T *)to + idx[k] * step;                                         \
            const T *restrict v = (const T *)from + k * step;                                  \
            for (int64_t c = 0; c < width; c++) out[c] += v[c];                                \
        }                                                                                      \
    }

DEFINE_ADD_ROWS(add_rows_f32, float)
DEFINE_ADD_ROWS(add_rows_f64, double)
DEFINE_ADD_ROWS(add_rows_i32, uint32_t) /* unsigned: wraps */

/* v is (outer, m, inner), the result (outer, size, inner); a task has a tile of columns. */
typedef struct scatter_job {
    add_rows add;
    char *out;
    const char *v;
    const int32_t *idx;
    int64_t size, m, inner, tile, tiles, element;
} scatter_job;

static void run_scatter_task(void *context, int64_t task)
{
    const scatter_job *job = context;
    int64_t outer = task / job->tiles, column = task % job->tiles * job->tile;
    char *to = job->out + (outer * job->size * job->inner + column) * job->element;
    const char *from = job->v + (outer * job->m * job->inner + column) * job->element;
    job->add(to, from, job->idx, job->m, smaller(job->tile, job->inner - column), job->inner);
}

static ebm_status run_scatter_add(const ebm_kernel_args *args)
{
    static const add_rows adds[EBM_DTYPE_COUNT] = {[EBM_F32] = add_rows_f32,
                                                   [EBM_F64] = add_rows_f64,
                                                   [EBM_I32] = add_rows_i32};
    const ebm_view *v = &args->in[0], *idx = &args->in[1], *out = &args->out[0];
    if (!adds[v->dtype]) return no_kernel(args, v);
    int64_t axis = args->attr[0], outer = product(out, 0, axis);
    scatter_job job = {.add = adds[v->dtype],
                       .out = out->data,
                       .v = v->data,
                       .idx = idx->data,
                       .size = out->shape[axis],
                       .m = view_size(idx),
                       .inner = product(out, axis + 1, out->rank),
                       .element = (int64_t)element_size(v)};
    EBM_TRY(check_indices(args, idx, job.size));
    fill_view(out, NULL);
    if (view_size(v) == 0) return EBM_OK;
    job.tile = job.m * job.inner <= GRAIN ? job.inner : smaller(job.inner, TILE);
    job.tiles = ceil_div(job.inner, job.tile);
    ebm_parallel(outer * job.tiles, run_scatter_task, &job);
    return EBM_OK;
}

/* ---- put --------------------------------------------------------------------------------------- */

/* A task writes a tile of bytes of every row, so the last of equal indices wins. */
typedef struct put_job {
    char *out;
    const char *v;
    const int32_t *idx;
    int64_t m, run, tile;
} put_job;

static void run_put_task(void *context, int64_t task)
{
    const put_job *job = context;
    int64_t start = task * job->tile;
    size_t bytes = (size_t)smaller(job->tile, job->run - start);
    for (int64_t k = 0; k < job->m; k++)
        memcpy(job->out + job->idx[k] * job->run + start, job->v + k * job->run + start, bytes);
}

static ebm_status run_put(const ebm_kernel_args *args)
{
    const ebm_view *x = &args->in[0], *idx = &args->in[1], *v = &args->in[2];
    const ebm_view *out = &args->out[0];
    put_job job = {.out = out->data, .v = v->data, .idx = idx->data, .m = view_size(idx)};
    job.run = product(x, 1, x->rank) * (int64_t)element_size(x);
    EBM_TRY(check_indices(args, idx, x->shape[0]));
    if (out->data != x->data) fill_view(out, x->data);
    if (job.m * job.run == 0) return EBM_OK;
    job.tile = job.m * job.run <= GRAIN_BYTES ? job.run : smaller(job.run, 4 * TILE);
    ebm_parallel(ceil_div(job.run, job.tile), run_put_task, &job);
    return EBM_OK;
}

/* ---- windows ----------------------------------------------------------------------------------- */

/* Images x (N, H, W, C) and their windows (N, oh, ow, C). */
typedef struct window_job {
    const ebm_view *x, *out;
    const int32_t *idx;
    const int64_t *attr; /* kh, kw, sh, sw, ph, pw */
    int64_t rows, group; /* argmax: rows of windows */
} window_job;

/* The part of a window that lies in the image: positions first .. end-1 along one axis. */
static void clip_window(int64_t place, int64_t size, int64_t stride, int64_t pad, int64_t limit,
                        int64_t *first, int64_t *end)
{
    int64_t start = place * stride - pad;
    *first = start < 0 ? 0 : start;
    *end = smaller(start + size, limit);
}

/* The place of the first maximum of rows [h0, h1) and columns [w0, w1) of one image, for
 * `width` channels. */
#define DEFINE_ARGMAX_WINDOW(name, T)                                                        \
    static void name(int32_t *restrict out, const void *image, const ebm_view *x, int64_t h0, \
                     int64_t h1, int64_t w0, int64_t w1, int64_t width)                      \
    {                                                                                        \
        int64_t columns = x->shape[2], channels = x->shape[3];                               \
        T best[TILE];                                                                        \
        int32_t start = (int32_t)(h0 * columns + w0);                                        \
        memcpy(best, (const T *)image + start * channels, (size_t)width * sizeof(T));        \
        for (int64_t c = 0; c < width; c++) out[c] = start;                                  \
        for (int64_t h = h0; h < h1; h++)                                                    \
            for (int64_t w = w0; w < w1; w++) {                                              \
                int32_t place = (int32_t)(h * columns + w);                                  \
                const T *restrict row = (const T *)image + place * channels;                 \
                for (int64_t c = 0; c < width; c++) {                                        \
                    T a = best[c], b = row[c];                                               \
                    bool better = (b > a) | ((b != b) & (a == a));                           \
                    int32_t found = out[c];                                                  \
                    out[c] = better ? place : found;                                         \
                    best[c] = better ? b : a;                                                \
                }                                                                            \
            }                                                                                \
    }

DEFINE_ARGMAX_WINDOW(argmax_window_f32, float)
DEFINE_ARGMAX_WINDOW(argmax_window_f64, double)

static void argmax_row_of_windows(const window_job *job, int64_t row)
{
    const ebm_view *x = job->x;
    const int64_t *a = job->attr;
    int64_t oh = job->out->shape[1], ow = job->out->shape[2], channels = x->shape[3];
    int64_t image = row / oh * x->shape[1] * x->shape[2] * channels, h0, h1, w0, w1;
    clip_window(row % oh, a[0], a[2], a[4], x->shape[1], &h0, &h1);
    for (int64_t k = 0; k < ow; k++) {
        int32_t *out = (int32_t *)job->out->data + (row * ow + k) * channels;
        clip_window(k, a[1], a[3], a[5], x->shape[2], &w0, &w1);
        for (int64_t c = 0; c < channels; c += TILE) {
            int64_t width = smaller(TILE, channels - c);
            if (x->dtype == EBM_F32)
                argmax_window_f32(out + c, (const float *)x->data + image + c, x, h0, h1, w0,
                                  w1, width);
            else
                argmax_window_f64(out + c, (const double *)x->data + image + c, x, h0, h1, w0,
                                  w1, width);
        }
    }
}

static void run_window_argmax_task(void *context, int64_t task)
{
    const window_job *job = context;
    int64_t end = smaller((task + 1) * job->group, job->rows);
    for (int64_t row = task * job->group; row < end; row++) argmax_row_of_windows(job, row);
}

static ebm_status run_window_argmax(const ebm_kernel_args *args)
{
    const ebm_view *x = &args->in[0], *out = &args->out[0];
    if (!ebm_dtype_is_float((ebm_dtype)x->dtype)) return no_kernel(args, x);
    EBM_CHECK(x->shape[1] * x->shape[2] <= INT32_MAX);
    if (view_size(out) == 0) return EBM_OK;
    window_job job = {.x = x, .out = out, .attr = args->attr};
    job.rows = out->shape[0] * out->shape[1];
    job.group = ceil_div(GRAIN, args->attr[0] * args->attr[1] * out->shape[2] * out->shape[3]);
    ebm_parallel(ceil_div(job.rows, job.group), run_window_argmax_task, &job);
    return EBM_OK;
}

/* Images (images, places, channels) on both sides, m places on the side of idx; a task has a
 * tile of channels of `group` images. */
typedef struct pixels_job pixels_job;
/* One image; all pointers at the first channel of the tile. */
typedef void (*pixels_kernel)(void *out, const void *in, const int32_t *idx,
                              const pixels_job *job, int64_t width);
struct pixels_job {
    pixels_kernel kernel;
    char *out;
    const char *in;
    const int32_t *idx;
    int64_t images, out_places, in_places, m, channels, element, tile, tiles, group;
};

#define DEFINE_TAKE_PIXELS(name, T)                                                         \
    static void name(void *to, const void *from, const int32_t *idx, const pixels_job *job, \
                     int64_t width)                                                         \
    {                                                                                       \
        for (int64_t k = 0; k < job->m * job->channels; k += job->channels) {               \
            T *restrict out = (T *)to + k;                                                  \
            const T *restrict x = from;                                                     \
            for (int64_t c = 0; c < width; c++) out[c] = x[idx[k + c] * job->channels + c]; \
        }                                                                                   \
    }

#define DEFINE_ADD_PIXELS(name, T)                                                          \
    static void name(void *to, const void *from, const int32_t *idx, const pixels_job *job, \
                     int64_t width)                                                         \
    {                                                                                       \
        for (int64_t k = 0; k < job->m * job->channels; k += job->channels) {               \
            T *restrict out = to;                                                           \
            const T *restrict v = (const T *)from + k;                                      \
            for (int64_t c = 0; c < width; c++) out[idx[k + c] * job->channels + c] += v[c]; \
        }                                                                                   \
    }

DEFINE_TAKE_PIXELS(take_pixels1, uint8_t)
DEFINE_TAKE_PIXELS(take_pixels4, uint32_t)
DEFINE_TAKE_PIXELS(take_pixels8, uint64_t)
DEFINE_ADD_PIXELS(add_pixels_f32, float)
DEFINE_ADD_PIXELS(add_pixels_f64, double)
DEFINE_ADD_PIXELS(add_pixels_i32, uint32_t)

static pixels_kernel find_pixels_kernel(int32_t op, int32_t dtype)
{
    static const pixels_kernel takes[EBM_DTYPE_COUNT] = {[EBM_F32] = take_pixels4,
                                                         [EBM_F64] = take_pixels8,
                                                         [EBM_I32] = take_pixels4,
                                                         [EBM_BOOL] = take_pixels1,
                                                         [EBM_U8] = take_pixels1};
    static const pixels_kernel adds[EBM_DTYPE_COUNT] = {[EBM_F32] = add_pixels_f32,
                                                        [EBM_F64] = add_pixels_f64,
                                                        [EBM_I32] = add_pixels_i32};
    return op == EBM_OP_window_take ? takes[dtype] : adds[dtype];
}

static void run_pixels_task(void *context, int64_t task)
{
    const pixels_job *job = context;
    int64_t column = task % job->tiles * job->tile, first = task / job->tiles * job->group;
    int64_t end = smaller(first + job->group, job->images);
    int64_t width = smaller(job->tile, job->channels - column);
    for (int64_t n = first; n < end; n++) {
        int64_t to = n * job->out_places * job->channels + column;
        int64_t from = n * job->in_places * job->channels + column;
        job->kernel(job->out + to * job->element, job->in + from * job->element,
                    job->idx + n * job->m * job->channels + column, job, width);
    }
}

static ebm_status run_pixels(const ebm_kernel_args *args)
{
    const ebm_view *in = &args->in[0], *idx = &args->in[1], *out = &args->out[0];
    pixels_job job = {.kernel = find_pixels_kernel(args->op, in->dtype),
                      .out = out->data,
                      .in = in->data,
                      .idx = idx->data,
                      .images = in->shape[0],
                      .out_places = product(out, 1, 3),
                      .in_places = product(in, 1, 3),
                      .m = product(idx, 1, 3),
                      .channels = in->shape[3],
                      .element = (int64_t)element_size(in)};
    if (!job.kernel) return no_kernel(args, in);
    bool puts = args->op == EBM_OP_window_put;
    EBM_TRY(check_indices(args, idx, puts ? job.out_places : job.in_places));
    if (puts) fill_view(out, NULL);
    if (view_size(idx) == 0) return EBM_OK;
    job.tile = job.m * job.channels <= GRAIN ? job.channels : smaller(job.channels, TILE);
    job.tiles = ceil_div(job.channels, job.tile);
    job.group = ceil_div(GRAIN, job.m * job.channels);
    ebm_parallel(job.tiles * ceil_div(job.images, job.group), run_pixels_task, &job);
    return EBM_OK;
}

/* ---- the family -------------------------------------------------------------------------------- */

ebm_status EBM_CPU(index)(const ebm_kernel_args *args)
{
    switch (args->op) {
    case EBM_OP_take: return run_take(args);
    case EBM_OP_scatter_add: return run_scatter_add(args);
    case EBM_OP_put: return run_put(args);
    case EBM_OP_window_argmax: return run_window_argmax(args);
    case EBM_OP_window_take:
    case EBM_OP_window_put: return run_pixels(args);
    default: return ebm_fail(EBM_UNSUPPORTED, "index: op %d has no kernel", (int)args->op);
    }
}

size_t EBM_CPU(index_scratch)(const ebm_kernel_args *args)
{
    (void)args;
    return 0;
}
