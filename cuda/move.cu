// move.cu - broadcast, reshape, permute, slice, pad, concat, mark, stop, iota.
//
// Workload: plans read most of these through strides and never run them; what is left are copies
// between layouts (NHWC and back, heads of attention, transposed weights) and borders.
//
// All but iota are copies from one strided array to another.  Axes are merged where both sides allow
// it, elements are moved in words as wide as both sides allow, and the copy is one of three: CUDA's
// own if both sides are one run; tiles through shared memory if the runs of the source lie across
// those of the result, so that both are read and written in whole lines; or a thread for each
// element, in the order of the result.
#include "kernels.h"

namespace
{

enum {
    TILE = 32, // a tile is TILE x TILE, moved by TILE x TILE_ROWS threads
    TILE_ROWS = 8,
    NARROW = 8, // with fewer rows or columns most of a tile would be empty
    WIDEST = 16 // bytes of an access
};

struct axis {
    int64_t n, to, from; // strides in elements
};

// A copy of axes[0].n x axes[1].n x .. elements.
struct copy {
    char *to;
    const char *from;
    int32_t item, rank;
    axis axes[EBM_MAX_RANK + 2];
};

struct alignas(16) sixteen_bytes {
    uint64_t low, high;
};

// ---- a thread for each element ------------------------------------------------------------------

struct strided_params {
    void *to;
    const void *from;
    int64_t n;
    int32_t rank;
    ebm_divisor size[EBM_MAX_RANK + 2]; // of the axes, if n < 2^31
    axis axes[EBM_MAX_RANK + 2];
};

template <class T, bool LARGE>
__global__ void copy_strided_kernel(const __grid_constant__ strided_params p)
{
    int64_t step = (int64_t)gridDim.x * blockDim.x;
    for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < p.n; i += step) {
        int64_t rest = i, to = 0, from = 0;
        for (int32_t k = p.rank - 1; k > 0; k--) {
            int64_t whole = LARGE ? rest / p.axes[k].n
                                  : ebm__cuda_quotient((int32_t)rest, p.size[k]);
            int64_t at = rest - whole * p.axes[k].n;
            to += at * p.axes[k].to;
            from += at * p.axes[k].from;
            rest = whole;
        }
        to += rest * p.axes[0].to;
        from += rest * p.axes[0].from;
        ((T *)p.to)[to] = ((const T *)p.from)[from];
    }
}

template <class T> void copy_strided(const copy *c)
{
    strided_params p;
    memset(&p, 0, sizeof p);
    p.to = c->to;
    p.from = c->from;
    p.rank = c->rank;
    p.n = 1;
    for (int32_t k = 0; k < c->rank; k++) p.n *= c->axes[k].n;
    bool large = p.n > INT32_MAX;
    for (int32_t k = 0; k < c->rank; k++) {
        p.axes[k] = c->axes[k];
        if (!large) p.size[k] = ebm__cuda_divisor(c->axes[k].n);
    }
    int32_t block = ebm_cuda->block;
    dim3 grid = ebm__cuda_grid(p.n, block);
    if (large)
        EBM_LAUNCH_PLAIN((copy_strided_kernel<T, true>), grid, dim3((unsigned)block), p);
    else
        EBM_LAUNCH_PLAIN((copy_strided_kernel<T, false>), grid, dim3((unsigned)block), p);
}

// ---- tiles --------------------------------------------------------------------------------------

// The last axis is a run of the result, the last but one a run of the source.
struct tile_params {
    void *to;
    const void *from;
    int64_t tiles, tiles0, tiles1; // all; along the last axis and the one before
    int32_t outer;                 // axes before the last two
    axis axes[EBM_MAX_RANK + 2];
};

template <class T> __global__ void copy_tiles_kernel(const __grid_constant__ tile_params p)
{
    EBM_SHARED(T, tile, [TILE][TILE + 1]);
    const axis run = p.axes[p.outer + 1], across = p.axes[p.outer];
    const int32_t x = (int32_t)threadIdx.x, y = (int32_t)threadIdx.y;
    for (int64_t number = blockIdx.x; number < p.tiles; number += gridDim.x) {
        int64_t rest = number / p.tiles0, first0 = (number - rest * p.tiles0) * TILE;
        int64_t place = rest / p.tiles1, first1 = (rest - place * p.tiles1) * TILE;
        int64_t to = first1 * across.to + first0, from = first1 + first0 * run.from;
        for (int32_t k = p.outer - 1; k >= 0; k--) {
            int64_t whole = place / p.axes[k].n, at = place - whole * p.axes[k].n;
            to += at * p.axes[k].to;
            from += at * p.axes[k].from;
            place = whole;
        }
        const T *source = (const T *)p.from + from;
        T *result = (T *)p.to + to;
        for (int32_t k = y; k < TILE; k += TILE_ROWS)
            if (first0 + k < run.n && first1 + x < across.n)
                tile[k][x] = source[k * run.from + x];
        __syncthreads();
        for (int32_t k = y; k < TILE; k += TILE_ROWS)
            if (first1 + k < across.n && first0 + x < run.n)
                result[k * across.to + x] = tile[x][k];
        __syncthreads();
    }
}

template <class T> void copy_tiles(const copy *c)
{
    tile_params p;
    memset(&p, 0, sizeof p);
    p.to = c->to;
    p.from = c->from;
    p.outer = c->rank - 2;
    for (int32_t k = 0; k < c->rank; k++) p.axes[k] = c->axes[k];
    p.tiles0 = (c->axes[c->rank - 1].n + TILE - 1) / TILE;
    p.tiles1 = (c->axes[c->rank - 2].n + TILE - 1) / TILE;
    p.tiles = p.tiles0 * p.tiles1;
    for (int32_t k = 0; k < p.outer; k++) p.tiles *= c->axes[k].n;
    int64_t most = INT32_MAX;
    dim3 grid((unsigned)(p.tiles < most ? p.tiles : most));
    EBM_LAUNCH(copy_tiles_kernel<T>, grid, dim3(TILE, TILE_ROWS), 0, p);
}

// ---- strided copies -----------------------------------------------------------------------------

// Drops axes of size 1 and merges neighbours that are one axis on both sides.
void merge_axes(copy *c)
{
    int32_t rank = 0;
    for (int32_t i = 0; i < c->rank; i++) {
        axis a = c->axes[i], *last = rank ? &c->axes[rank - 1] : nullptr;
        if (a.n == 1) continue;
        if (last && last->to == a.n * a.to && last->from == a.n * a.from)
            *last = {last->n * a.n, a.to, a.from};
        else
            c->axes[rank++] = a;
    }
    if (rank == 0) c->axes[rank++] = {1, 1, 1};
    c->rank = rank;
}

// Whether runs of both sides are made of words of two elements each.
bool can_widen(const copy *c)
{
    const axis *run = &c->axes[c->rank - 1];
    if (2 * c->item > WIDEST || run->to != 1 || run->from != 1 || run->n % 2) return false;
    if (((uintptr_t)c->to | (uintptr_t)c->from) % (uintptr_t)(2 * c->item)) return false;
    for (int32_t k = 0; k < c->rank - 1; k++)
        if (c->axes[k].to % 2 || c->axes[k].from % 2) return false;
    return true;
}

void widen(copy *c)
{
    c->item *= 2;
    c->axes[c->rank - 1].n /= 2;
    for (int32_t k = 0; k < c->rank - 1; k++) {
        c->axes[k].to /= 2;
        c->axes[k].from /= 2;
    }
}

// Puts the axis that is a run of the source last but one, if a copy by tiles is what is wanted.
bool lies_across(copy *c)
{
    const axis run = c->axes[c->rank - 1];
    if (run.to != 1 || run.from == 1 || run.from == 0 || run.n < NARROW) return false;
    for (int32_t k = 0; k < c->rank - 1; k++) {
        axis a = c->axes[k];
        if (a.from != 1 || a.n < NARROW) continue;
        for (int32_t i = k; i < c->rank - 2; i++) c->axes[i] = c->axes[i + 1];
        c->axes[c->rank - 2] = a;
        return true;
    }
    return false;
}

ebm_status called(cudaError_t error)
{
    return error == cudaSuccess
               ? EBM_OK
               : ebm_fail(EBM_DEVICE, "cuda: move: %s", cudaGetErrorString(error));
}

#define BY_ITEM(copy_by)                              \
    do {                                              \
        switch (c->item) {                            \
        case 1: copy_by<uint8_t>(c); break;           \
        case 2: copy_by<uint16_t>(c); break;          \
        case 4: copy_by<uint32_t>(c); break;          \
        case 8: copy_by<uint64_t>(c); break;          \
        default: copy_by<sixteen_bytes>(c); break;    \
        }                                             \
    } while (0)

ebm_status run_copy(copy *c)
{
    for (int32_t i = 0; i < c->rank; i++)
        if (c->axes[i].n == 0) return EBM_OK;
    merge_axes(c);
    const axis *run = &c->axes[c->rank - 1];
    if (c->rank == 1 && run->to == 1 && run->from == 1) {
        size_t bytes = (size_t)run->n * (size_t)c->item;
        return called(
            cudaMemcpyAsync(c->to, c->from, bytes, cudaMemcpyDeviceToDevice, ebm_cuda->stream));
    }
    while (can_widen(c)) widen(c);
    merge_axes(c); // what was a run may be a word now
    if (lies_across(c))
        BY_ITEM(copy_tiles);
    else
        BY_ITEM(copy_strided);
    return ebm__cuda_launched("move");
}

// ---- the ops as copies --------------------------------------------------------------------------

char *at(const ebm_view *view, int64_t element)
{
    return (char *)view->data + element * ebm__cuda_item(view->dtype);
}

// From x to `out`, the axes to be filled in.
copy copy_of(const ebm_view *x, const ebm_view *out, int32_t rank)
{
    copy c;
    memset(&c, 0, sizeof c);
    c.to = (char *)out->data;
    c.from = (const char *)x->data;
    c.item = ebm__cuda_item(x->dtype);
    c.rank = rank;
    return c;
}

ebm_status run_broadcast(const ebm_kernel_args *args)
{
    const ebm_view *x = &args->in[0], *out = &args->out[0];
    copy c = copy_of(x, out, out->rank);
    for (int32_t i = 0; i < out->rank; i++) c.axes[i] = {out->shape[i], out->stride[i], 0};
    for (int32_t i = 0; i < x->rank; i++) {
        axis *a = &c.axes[args->attr[1 + out->rank + i]];
        a->from = x->shape[i] == 1 ? 0 : x->stride[i];
    }
    return run_copy(&c);
}

ebm_status run_reshape(const ebm_kernel_args *args)
{
    const ebm_view *x = &args->in[0], *out = &args->out[0];
    copy c = copy_of(x, out, 1);
    c.axes[0] = {ebm__cuda_size(out), 1, 1};
    return run_copy(&c);
}

// mark, stop.  Any strides: this is also how a view becomes contiguous.
ebm_status run_same(const ebm_kernel_args *args)
{
    const ebm_view *x = &args->in[0], *out = &args->out[0];
    copy c = copy_of(x, out, out->rank);
    for (int32_t i = 0; i < out->rank; i++)
        c.axes[i] = {out->shape[i], out->stride[i], x->stride[i]};
    return run_copy(&c);
}

ebm_status run_permute(const ebm_kernel_args *args)
{
    const ebm_view *x = &args->in[0], *out = &args->out[0];
    copy c = copy_of(x, out, out->rank);
    for (int32_t i = 0; i < out->rank; i++)
        c.axes[i] = {out->shape[i], out->stride[i], x->stride[args->attr[i]]};
    return run_copy(&c);
}

ebm_status run_slice(const ebm_kernel_args *args)
{
    const ebm_view *x = &args->in[0], *out = &args->out[0];
    copy c = copy_of(x, out, out->rank);
    int64_t start = 0;
    for (int32_t i = 0; i < out->rank; i++) {
        const int64_t *a = args->attr + 3 * i; // start, step, count
        c.axes[i] = {out->shape[i], out->stride[i], a[1] * x->stride[i]};
        start += a[0] * x->stride[i];
    }
    if (ebm__cuda_size(out) == 0) return EBM_OK;
    c.from = at(x, start);
    return run_copy(&c);
}

ebm_status run_pad(const ebm_kernel_args *args)
{
    const ebm_view *x = &args->in[0], *out = &args->out[0];
    copy c = copy_of(x, out, x->rank);
    int64_t start = 0, size = ebm__cuda_size(out);
    for (int32_t i = 0; i < x->rank; i++) {
        const int64_t *a = args->attr + 3 * i; // start, step, size
        c.axes[i] = {x->shape[i], a[1] * out->stride[i], x->stride[i]};
        start += a[0] * out->stride[i];
    }
    size_t bytes = (size_t)size * (size_t)ebm__cuda_item(out->dtype);
    if (ebm__cuda_size(x) != size)
        EBM_TRY(called(cudaMemsetAsync(out->data, 0, bytes, ebm_cuda->stream)));
    if (ebm__cuda_size(x) == 0) return EBM_OK;
    c.to = at(out, start);
    return run_copy(&c);
}

ebm_status run_concat(const ebm_kernel_args *args)
{
    const ebm_view *out = &args->out[0];
    int64_t along = args->attr[0], place = 0;
    if (ebm__cuda_size(out) == 0) return EBM_OK;
    for (int32_t k = 0; k < args->n_in; k++) {
        const ebm_view *x = &args->in[k];
        copy c = copy_of(x, out, x->rank);
        c.to = at(out, place * out->stride[along]);
        for (int32_t i = 0; i < x->rank; i++)
            c.axes[i] = {x->shape[i], out->stride[i], x->stride[i]};
        EBM_TRY(run_copy(&c));
        place += x->shape[along];
    }
    return EBM_OK;
}

// ---- iota ---------------------------------------------------------------------------------------

// The result is (.., n, inner).
template <class T> __global__ void iota_kernel(T *out, int64_t size, int64_t n, int64_t inner)
{
    int64_t step = (int64_t)gridDim.x * blockDim.x;
    for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < size; i += step)
        out[i] = (T)(i / inner % n);
}

template <class T> void launch_iota(const ebm_view *out, int64_t n, int64_t inner)
{
    int64_t size = ebm__cuda_size(out);
    int32_t block = ebm_cuda->block;
    EBM_LAUNCH_PLAIN(iota_kernel<T>, ebm__cuda_grid(size, block), dim3((unsigned)block),
                     (T *)out->data, size, n, inner);
}

ebm_status run_iota(const ebm_kernel_args *args)
{
    const ebm_view *out = &args->out[0];
    int64_t along = args->attr[1], inner = 1;
    if (out->dtype != EBM_F32 && out->dtype != EBM_F64 && out->dtype != EBM_I32)
        return ebm_fail(EBM_UNSUPPORTED, "iota: no kernel for %s",
                        ebm_dtype_name((ebm_dtype)out->dtype));
    if (ebm__cuda_size(out) == 0) return EBM_OK;
    for (int64_t i = along + 1; i < out->rank; i++) inner *= out->shape[i];
    switch (out->dtype) {
    case EBM_F32: launch_iota<float>(out, out->shape[along], inner); break;
    case EBM_F64: launch_iota<double>(out, out->shape[along], inner); break;
    default: launch_iota<int32_t>(out, out->shape[along], inner); break;
    }
    return ebm__cuda_launched("iota");
}

} // namespace

// ---- the family ---------------------------------------------------------------------------------

ebm_status ebm__cuda_move(const ebm_kernel_args *args)
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

size_t ebm__cuda_move_scratch(const ebm_kernel_args *)
{
    return 0;
}
