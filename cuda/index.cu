// index.cu - take, scatter_add, put, and the windows of max pooling.
//
// Workload: as csrc/cpu/index.c; memory is what all of it waits for, so threads beside one
// another have elements beside one another.
//
// What is added or overwritten happens in the order of the indices.  No two threads add to the
// same element: each has a slice of rows of one column, reads all indices and adds those of its
// slice; of many indices the order is made first (argsort), and a row's own are then found by
// bisection.  For put each row's last index is found by an integer maximum, which no order
// changes.
//
// Only kernels see an index that is out of range: they report it and leave it out.
#include "kernels.h"

namespace
{

enum {
    FEW = 1024,       // indices that every thread of a scatter_add reads
    ENOUGH = 1 << 17, // threads; more slices do not help
    MOST_SLICES = 16, // every slice reads all indices again
    ROWS_OF_SLICE = 4 // at least
};

// ---- indices ------------------------------------------------------------------------------------

// What a bad index is reported with.
struct range {
    ebm_cuda_fault *fault;
    int32_t op;
    int64_t size;

    __device__ bool has(int32_t i) const
    {
        return i >= 0 && i < size;
    }
    __device__ void report(int32_t i) const
    {
        ebm__cuda_set_fault(fault, op, i, (int32_t)(size < INT32_MAX ? size : INT32_MAX));
    }
};

range range_of(const ebm_kernel_args *args, int64_t size)
{
    return {ebm_cuda->fault, args->op, size};
}

// The product of dimensions first .. last - 1.
int64_t product(const ebm_view *view, int64_t first, int64_t last)
{
    int64_t size = 1;
    for (int64_t i = first; i < last; i++) size *= view->shape[i];
    return size;
}

ebm_status no_kernel(const char *name, const ebm_view *view)
{
    return ebm_fail(EBM_UNSUPPORTED, "%s: no kernel for %s", name,
                    ebm_dtype_name((ebm_dtype)view->dtype));
}

__device__ inline int64_t first_of_thread()
{
    return (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
}

__device__ inline int64_t all_threads()
{
    return (int64_t)gridDim.x * blockDim.x;
}

// A plain launch over `count` pieces of work; nothing if there are none.
#define LAUNCH(kernel, count, ...)                                                      \
    do {                                                                                \
        if ((count) > 0)                                                                \
            EBM_LAUNCH_PLAIN(kernel, ebm__cuda_grid(count, ebm_cuda->block),            \
                             dim3((unsigned)ebm_cuda->block), __VA_ARGS__);             \
    } while (0)

// ---- runs of bytes ------------------------------------------------------------------------------

struct alignas(16) word16 {
    uint64_t low, high;
};

// The widest word that all of these are multiples of.
int32_t word_of(const void *a, const void *b, int64_t run)
{
    uint64_t bits = (uint64_t)(uintptr_t)a | (uint64_t)(uintptr_t)b | (uint64_t)run;
    return bits % 16 == 0 ? 16 : bits % 8 == 0 ? 8 : bits % 4 == 0 ? 4 : 1;
}

#define BY_WORD(word, call)                        \
    switch (word) {                                \
    case 16: call(word16); break;                  \
    case 8: call(uint64_t); break;                 \
    case 4: call(uint32_t); break;                 \
    default: call(uint8_t); break;                 \
    }

// x is (outer, size, run words), the result (outer, m, run words).
struct taking {
    int64_t count, m, run;
    range to;
};

template <class Word>
__global__ void take_kernel(Word *out, const Word *x, const int32_t *idx, const taking p)
{
    for (int64_t e = first_of_thread(); e < p.count; e += all_threads()) {
        int64_t row = e / p.run, within = e - row * p.run, outer = row / p.m;
        int32_t i = idx[row - outer * p.m];
        if (p.to.has(i))
            out[e] = x[(outer * p.to.size + i) * p.run + within];
        else if (within == 0)
            p.to.report(i);
    }
}

ebm_status run_take(const ebm_kernel_args *args)
{
    const ebm_view *x = &args->in[0], *idx = &args->in[1], *out = &args->out[0];
    int64_t axis = args->attr[0], bytes = ebm__cuda_item(x->dtype);
    int64_t run = product(x, axis + 1, x->rank) * bytes;
    int32_t word = word_of(x->data, out->data, run);
    taking p = {ebm__cuda_size(out) * bytes / word, ebm__cuda_size(idx), run / word,
                range_of(args, x->shape[axis])};
    const int32_t *i = (const int32_t *)idx->data;
#define TAKE(Word) \
    LAUNCH(take_kernel<Word>, p.count, (Word *)out->data, (const Word *)x->data, i, p)
    BY_WORD(word, TAKE)
    return ebm__cuda_launched("take");
}

// ---- put ----------------------------------------------------------------------------------------

// The last of equal indices wins: last[i] is it for row i, for rows that have one.
__global__ void forget_kernel(int32_t *last, const int32_t *idx, int64_t m, const range rows)
{
    for (int64_t k = first_of_thread(); k < m; k += all_threads())
        if (rows.has(idx[k]))
            last[idx[k]] = -1;
        else
            rows.report(idx[k]);
}

__global__ void find_last_kernel(int32_t *last, const int32_t *idx, int64_t m, const range rows)
{
    for (int64_t k = first_of_thread(); k < m; k += all_threads())
        if (rows.has(idx[k])) atomicMax(&last[idx[k]], (int32_t)k);
}

template <class Word>
__global__ void put_kernel(Word *out, const Word *v, const int32_t *idx, const int32_t *last,
                           int64_t count, int64_t run, const range rows)
{
    for (int64_t e = first_of_thread(); e < count; e += all_threads()) {
        int64_t k = e / run;
        int32_t i = idx[k];
        if (rows.has(i) && last[i] == (int32_t)k) out[i * run + e - k * run] = v[e];
    }
}

ebm_status run_put(const ebm_kernel_args *args)
{
    const ebm_view *x = &args->in[0], *idx = &args->in[1], *v = &args->in[2];
    const ebm_view *out = &args->out[0];
    int64_t m = ebm__cuda_size(idx), bytes = ebm__cuda_item(x->dtype);
    int64_t run = product(x, 1, x->rank) * bytes;
    EBM_CHECK(m <= INT32_MAX);
    if (out->data != x->data)
        cudaMemcpyAsync(out->data, x->data, (size_t)(x->shape[0] * run),
                        cudaMemcpyDeviceToDevice, ebm_cuda->stream);
    range rows = range_of(args, x->shape[0]);
    const int32_t *i = (const int32_t *)idx->data;
    int32_t *last = (int32_t *)args->scratch;
    LAUNCH(forget_kernel, m, last, i, m, rows);
    LAUNCH(find_last_kernel, m, last, i, m, rows);
    int32_t word = word_of(v->data, out->data, run);
    int64_t count = m * run / word;
    run /= word;
#define PUT(Word)                                                                              \
    LAUNCH(put_kernel<Word>, count, (Word *)out->data, (const Word *)v->data, i, last, count,  \
           run, rows)
    BY_WORD(word, PUT)
    return ebm__cuda_launched("put");
}

// ---- adding few: slices -------------------------------------------------------------------------

// v is (outer, m, inner), the result (outer, rows, inner); idx has an index for each of v's
// elements, or strides of 0.
struct adding {
    int64_t outer, m, inner, slices, slice; // rows of a slice
    int64_t idx_outer, idx_m, idx_inner;
    range rows;
};

template <class T>
__global__ void add_slices_kernel(T *out, const T *v, const int32_t *idx, const adding p)
{
    const int64_t count = p.outer * p.slices * p.inner;
    for (int64_t e = first_of_thread(); e < count; e += all_threads()) {
        int64_t piece = e / p.inner, c = e - piece * p.inner, outer = piece / p.slices;
        int64_t first = (piece - outer * p.slices) * p.slice, end = first + p.slice;
        if (end > p.rows.size) end = p.rows.size;
        T *to = out + outer * p.rows.size * p.inner + c;
        const T *from = v + outer * p.m * p.inner + c;
        const int32_t *i = idx + outer * p.idx_outer + c * p.idx_inner;
        for (int64_t k = 0; k < p.m; k++) {
            int32_t row = i[k * p.idx_m];
            if (row >= first && row < end)
                to[row * p.inner] += from[k * p.inner];
            else if (first == 0 && !p.rows.has(row))
                p.rows.report(row);
        }
    }
}

template <class T> void launch_slices(const ebm_kernel_args *args, adding p)
{
    const ebm_view *out = &args->out[0];
    size_t bytes = (size_t)ebm__cuda_size(out) * sizeof(T);
    cudaMemsetAsync(out->data, 0, bytes, ebm_cuda->stream);
    if (p.m == 0) return;
    int64_t columns = p.outer * p.inner;
    p.slices = ENOUGH / columns < 1 ? 1 : ENOUGH / columns;
    if (p.slices > MOST_SLICES) p.slices = MOST_SLICES;
    p.slice = (p.rows.size + p.slices - 1) / p.slices;
    if (p.slice < ROWS_OF_SLICE) p.slice = ROWS_OF_SLICE;
    p.slices = (p.rows.size + p.slice - 1) / p.slice;
    LAUNCH(add_slices_kernel<T>, p.slices * columns, (T *)out->data,
           (const T *)args->in[0].data, (const int32_t *)args->in[1].data, p);
}

// ---- adding many: in order ----------------------------------------------------------------------

// order[start[r]] .. order[start[r + 1] - 1] are the places of r among the indices, ascending.
__global__ void find_starts_kernel(int32_t *start, const int32_t *idx, const int32_t *order,
                                   int64_t m, const range rows)
{
    for (int64_t r = first_of_thread(); r <= rows.size; r += all_threads()) {
        int64_t low = 0, high = m;
        while (low < high) {
            int64_t middle = (low + high) / 2;
            if (idx[order[middle]] < r)
                low = middle + 1;
            else
                high = middle;
        }
        start[r] = (int32_t)low;
    }
    for (int64_t end = first_of_thread(); end < 2; end += all_threads()) {
        int32_t i = idx[order[end ? m - 1 : 0]]; // the least, the largest
        if (!rows.has(i)) rows.report(i);
    }
}

template <class T>
__global__ void add_ordered_kernel(T *out, const T *v, const int32_t *start,
                                   const int32_t *order, const adding p)
{
    const int64_t count = p.outer * p.rows.size * p.inner;
    for (int64_t e = first_of_thread(); e < count; e += all_threads()) {
        int64_t row = e / p.inner, c = e - row * p.inner, outer = row / p.rows.size;
        int64_t r = row - outer * p.rows.size;
        const T *from = v + outer * p.m * p.inner + c;
        T total = 0;
        for (int32_t k = start[r]; k < start[r + 1]; k++) total += from[order[k] * p.inner];
        out[e] = total;
    }
}

size_t round_up(int64_t bytes)
{
    return (size_t)((bytes + 63) / 64 * 64);
}

// The argsort of idx as one axis, into scratch; its own scratch lies behind.
ebm_kernel_args order_args(const ebm_kernel_args *args, ebm_view view[2])
{
    static const int64_t axis = 0;
    view[0] = args->in[1];
    view[0].rank = 1;
    view[0].shape[0] = ebm__cuda_size(&args->in[1]);
    view[0].stride[0] = 1;
    view[1] = view[0];
    view[1].data = args->scratch;
    ebm_kernel_args order = {};
    order.op = EBM_OP_argsort;
    order.n_in = order.n_out = 1;
    order.in = &view[0];
    order.out = &view[1];
    order.attr = &axis;
    order.n_attr = 1;
    return order;
}

template <class T> ebm_status add_ordered(const ebm_kernel_args *args, const adding *p)
{
    ebm_view view[2];
    ebm_kernel_args sorting = order_args(args, view);
    int32_t *order = (int32_t *)args->scratch;
    int32_t *start = (int32_t *)((char *)order + round_up(p->m * 4));
    sorting.scratch = (char *)start + round_up((p->rows.size + 1) * 4);
    EBM_TRY(ebm__cuda_sort(&sorting));
    LAUNCH(find_starts_kernel, p->rows.size + 1, start, (const int32_t *)args->in[1].data,
           order, p->m, p->rows);
    LAUNCH(add_ordered_kernel<T>, p->outer * p->rows.size * p->inner, (T *)args->out[0].data,
           (const T *)args->in[0].data, start, order, *p);
    return EBM_OK;
}

size_t ordered_scratch(const ebm_kernel_args *args)
{
    int64_t m = ebm__cuda_size(&args->in[1]), rows = args->out[0].shape[args->attr[0]];
    if (m <= FEW) return 0;
    ebm_view view[2];
    ebm_kernel_args sorting = order_args(args, view);
    return round_up(m * 4) + round_up((rows + 1) * 4) + ebm__cuda_sort_scratch(&sorting);
}

ebm_status run_scatter_add(const ebm_kernel_args *args)
{
    const ebm_view *v = &args->in[0], *out = &args->out[0];
    int64_t axis = args->attr[0];
    adding p = {};
    p.outer = product(out, 0, axis);
    p.m = ebm__cuda_size(&args->in[1]);
    p.inner = product(out, axis + 1, out->rank);
    p.idx_m = 1;
    p.rows = range_of(args, out->shape[axis]);
    EBM_CHECK(p.m <= INT32_MAX);
#define SCATTER(T)                                      \
    if (p.m > FEW)                                      \
        EBM_TRY(add_ordered<T>(args, &p));              \
    else                                                \
        launch_slices<T>(args, p);                      \
    return ebm__cuda_launched("scatter_add");
    switch (v->dtype) {
    case EBM_F32: SCATTER(float)
    case EBM_F64: SCATTER(double)
    case EBM_I32: SCATTER(uint32_t) // unsigned: wraps
    default: return no_kernel("scatter_add", v);
    }
}

// ---- windows ------------------------------------------------------------------------------------

// Images x (N, H, W, C) and their windows (N, oh, ow, C).
struct windows {
    int64_t count, height, width, channels, oh, ow;
    int64_t size[2], stride[2], pad[2];
};

template <class T>
__global__ void window_argmax_kernel(int32_t *out, const T *x, const windows p)
{
    for (int64_t e = first_of_thread(); e < p.count; e += all_threads()) {
        int64_t place = e / p.channels, row = place / p.ow, image = row / p.oh;
        int64_t h0 = (row - image * p.oh) * p.stride[0] - p.pad[0], h1 = h0 + p.size[0];
        int64_t w0 = (place - row * p.ow) * p.stride[1] - p.pad[1], w1 = w0 + p.size[1];
        h0 = h0 < 0 ? 0 : h0, h1 = h1 < p.height ? h1 : p.height;
        w0 = w0 < 0 ? 0 : w0, w1 = w1 < p.width ? w1 : p.width;
        const T *from = x + image * p.height * p.width * p.channels + e - place * p.channels;
        int64_t best_place = h0 * p.width + w0;
        T best = from[best_place * p.channels];
        for (int64_t h = h0; h < h1; h++)
            for (int64_t w = w0; w < w1; w++) {
                T here = from[(h * p.width + w) * p.channels];
                if (here > best || (here != here && best == best)) {
                    best = here;
                    best_place = h * p.width + w;
                }
            }
        out[e] = (int32_t)best_place;
    }
}

ebm_status run_window_argmax(const ebm_kernel_args *args)
{
    const ebm_view *x = &args->in[0], *out = &args->out[0];
    const int64_t *a = args->attr; // kh, kw, sh, sw, ph, pw
    if (x->dtype != EBM_F32 && x->dtype != EBM_F64) return no_kernel("window_argmax", x);
    EBM_CHECK(x->shape[1] * x->shape[2] <= INT32_MAX);
    windows p = {ebm__cuda_size(out), x->shape[1],  x->shape[2],  x->shape[3], out->shape[1],
                 out->shape[2],       {a[0], a[1]}, {a[2], a[3]}, {a[4], a[5]}};
    int32_t *to = (int32_t *)out->data;
    if (x->dtype == EBM_F32)
        LAUNCH(window_argmax_kernel<float>, p.count, to, (const float *)x->data, p);
    else
        LAUNCH(window_argmax_kernel<double>, p.count, to, (const double *)x->data, p);
    return ebm__cuda_launched("window_argmax");
}

// x is (images, places, channels), idx and the result (images, m, channels).
template <class Word>
__global__ void window_take_kernel(Word *out, const Word *x, const int32_t *idx, int64_t count,
                                   int64_t m, int64_t channels, const range places)
{
    for (int64_t e = first_of_thread(); e < count; e += all_threads()) {
        int64_t row = e / channels, image = row / m;
        int32_t i = idx[e];
        if (places.has(i))
            out[e] = x[(image * places.size + i) * channels + e - row * channels];
        else
            places.report(i);
    }
}

ebm_status run_window_take(const ebm_kernel_args *args)
{
    const ebm_view *x = &args->in[0], *idx = &args->in[1], *out = &args->out[0];
    int64_t count = ebm__cuda_size(out), m = product(idx, 1, 3), channels = x->shape[3];
    range places = range_of(args, product(x, 1, 3));
    const int32_t *i = (const int32_t *)idx->data;
#define TAKE_PLACES(Word)                                                                     \
    LAUNCH(window_take_kernel<Word>, count, (Word *)out->data, (const Word *)x->data, i,      \
           count, m, channels, places)
    BY_WORD(ebm__cuda_item(x->dtype), TAKE_PLACES)
    return ebm__cuda_launched("window_take");
}

ebm_status run_window_put(const ebm_kernel_args *args)
{
    const ebm_view *v = &args->in[0], *out = &args->out[0];
    adding p = {};
    p.outer = v->shape[0];
    p.m = product(v, 1, 3);
    p.inner = v->shape[3];
    p.idx_outer = p.m * p.inner;
    p.idx_m = p.inner;
    p.idx_inner = 1;
    p.rows = range_of(args, product(out, 1, 3));
    switch (v->dtype) {
    case EBM_F32: launch_slices<float>(args, p); break;
    case EBM_F64: launch_slices<double>(args, p); break;
    case EBM_I32: launch_slices<uint32_t>(args, p); break;
    default: return no_kernel("window_put", v);
    }
    return ebm__cuda_launched("window_put");
}

} // namespace

// ---- the family ---------------------------------------------------------------------------------

ebm_status ebm__cuda_index(const ebm_kernel_args *args)
{
    if (ebm__cuda_size(&args->out[0]) == 0) return EBM_OK;
    switch (args->op) {
    case EBM_OP_take: return run_take(args);
    case EBM_OP_scatter_add: return run_scatter_add(args);
    case EBM_OP_put: return run_put(args);
    case EBM_OP_window_argmax: return run_window_argmax(args);
    case EBM_OP_window_take: return run_window_take(args);
    case EBM_OP_window_put: return run_window_put(args);
    default: return ebm_fail(EBM_UNSUPPORTED, "index: op %d has no kernel", (int)args->op);
    }
}

size_t ebm__cuda_index_scratch(const ebm_kernel_args *args)
{
    if (args->op == EBM_OP_put) return round_up(args->in[0].shape[0] * 4);
    return args->op == EBM_OP_scatter_add ? ordered_scratch(args) : 0;
}
