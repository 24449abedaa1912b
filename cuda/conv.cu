// conv.cu - conv, conv_data and conv_weight, adjoints of each other, as products of product.h.
//
// Images x are (N, H, W, C), kernels w (kh, kw, C / groups, O), results q (N, oh, ow, O).
//
//     conv         the windows of x, a pixel of q a row, times w.
//     conv_weight  the windows of x, a tap and channel a row, times q: long sums, cut into parts.
//     conv_data    once for each phase: pixels of x whose place has the same remainder by the
//                  stride are met by the same taps of w, at neighbouring pixels of q; so a phase
//                  is the windows of q, of stride 1, times those taps.
//
// Windows are gathered from the image tile by tile; they are nowhere in memory.  A kernel of one tap
// is a product of matrices, and one with a channel a group (depthwise) has no matrix in it: there a
// thread makes an element.
#include "product.h"

extern "C" {
#include "formulas/axes.h"
#include "ops/ops.h"
}

namespace
{

struct conv {
    int32_t op, dtype;
    int64_t images, h, w, c, kh, kw, oh, ow, o, groups;
    int64_t stride_h, stride_w, top, left, bottom, right, dilation_h, dilation_w;
    void *x, *kernel, *q; // one of them is the output
};

conv read_args(const ebm_kernel_args *args)
{
    const int64_t *attr = args->attr;
    bool data = args->op == EBM_OP_conv_data, weight = args->op == EBM_OP_conv_weight;
    const ebm_view *x = data ? &args->out[0] : &args->in[0];
    const ebm_view *kernel = weight ? &args->out[0] : &args->in[1];
    const ebm_view *q = args->op == EBM_OP_conv ? &args->out[0] : &args->in[weight];
    conv p = {};
    p.op = args->op, p.dtype = args->out[0].dtype;
    p.images = x->shape[0], p.h = x->shape[1], p.w = x->shape[2], p.c = x->shape[3];
    p.kh = kernel->shape[0], p.kw = kernel->shape[1];
    p.oh = q->shape[1], p.ow = q->shape[2], p.o = q->shape[3];
    p.groups = attr[EBM_CONV_GROUPS];
    p.stride_h = attr[EBM_CONV_STRIDE_H], p.stride_w = attr[EBM_CONV_STRIDE_W];
    p.top = attr[EBM_CONV_TOP], p.bottom = attr[EBM_CONV_BOTTOM];
    p.left = attr[EBM_CONV_LEFT], p.right = attr[EBM_CONV_RIGHT];
    p.dilation_h = attr[EBM_CONV_DILATION_H], p.dilation_w = attr[EBM_CONV_DILATION_W];
    p.x = x->data, p.kernel = kernel->data, p.q = q->data;
    return p;
}

bool is_depthwise(const conv *p)
{
    return p->groups > 1 && p->groups == p->c && p->groups == p->o;
}

// ---- windows ------------------------------------------------------------------------------------

// A pixel of the outputs is where its window begins; a tap, with a channel, is a place in a window.
// Either may be `outside`, from where no sum of the two comes back.
enum { OUTSIDE = -(1 << 30) };

template <class T> struct pixel {
    const T *image;
    int32_t h, w;
};

struct tap {
    int32_t h, w, channel;
};

template <class T> struct windows {
    const T *data;
    int64_t image; // elements of an image
    int32_t channels, depth, size_h, size_w, start_h, start_w, step_h, step_w, tap_h, tap_w;
    ebm_divisor outputs, outputs_w, taps_w, by_depth;

    __device__ pixel<T> pixel_of(int32_t number) const
    {
        int32_t n = ebm__cuda_quotient(number, outputs), at = number - n * (int32_t)outputs.by;
        int32_t i = ebm__cuda_quotient(at, outputs_w), j = at - i * (int32_t)outputs_w.by;
        return {data + n * image, start_h + i * step_h, start_w + j * step_w};
    }
    __device__ pixel<T> no_pixel() const
    {
        return {data, OUTSIDE, OUTSIDE};
    }
    __device__ tap tap_of(int32_t number) const
    {
        int32_t t = ebm__cuda_quotient(number, by_depth), i = ebm__cuda_quotient(t, taps_w);
        return {i * tap_h, (t - i * (int32_t)taps_w.by) * tap_w, number - t * depth};
    }
    __device__ tap no_tap() const
    {
        return {OUTSIDE, OUTSIDE, 0};
    }
    __device__ T value(const pixel<T> &p, const tap &t) const
    {
        int32_t h = p.h + t.h, w = p.w + t.w;
        if ((uint32_t)h >= (uint32_t)size_h || (uint32_t)w >= (uint32_t)size_w) return 0;
        return p.image[(int64_t)(h * size_w + w) * channels + t.channel];
    }
};

template <class T>
windows<T> windows_of(const void *data, int64_t channels, int64_t depth,
                      const ebm_window_axis &h, const ebm_window_axis &w)
{
    windows<T> x = {};
    x.data = (const T *)data;
    x.image = h.size * w.size * channels;
    x.channels = (int32_t)channels, x.depth = (int32_t)depth;
    x.size_h = (int32_t)h.size, x.size_w = (int32_t)w.size;
    x.start_h = (int32_t)h.start, x.start_w = (int32_t)w.start;
    x.step_h = (int32_t)h.step, x.step_w = (int32_t)w.step;
    x.tap_h = (int32_t)h.tap_step, x.tap_w = (int32_t)w.tap_step;
    x.outputs = ebm__cuda_divisor(h.outputs * w.outputs);
    x.outputs_w = ebm__cuda_divisor(w.outputs);
    x.taps_w = ebm__cuda_divisor(w.taps ? w.taps : 1);
    x.by_depth = ebm__cuda_divisor(depth ? depth : 1);
    return x;
}

// The windows from `pixel` on, in the channels from `channel` on; numbers of pixels are from
// *first on, so that they are short whatever the number of images.
template <class T>
__device__ windows<T> windows_from(windows<T> x, int64_t pixel, int64_t channel, int32_t *first)
{
    int64_t n = pixel / x.outputs.by;
    x.data += n * x.image + channel;
    *first = (int32_t)(pixel - n * x.outputs.by);
    return x;
}

// A pixel a row: conv, conv_data.
template <class T_> struct pixel_rows {
    typedef T_ T;
    static const bool ALONG_K = true;
    windows<T> x;
    int32_t first, first_tap, rows, columns;

    __device__ pixel<T> row_of(int32_t i) const
    {
        return i < rows ? x.pixel_of(first + i) : x.no_pixel();
    }
    __device__ tap column_of(int32_t k) const
    {
        return k < columns ? x.tap_of(first_tap + k) : x.no_tap();
    }
    __device__ T value(const pixel<T> &row, const tap &column) const
    {
        return x.value(row, column);
    }
};

// A tap and channel a row: conv_weight.
template <class T_> struct tap_rows {
    typedef T_ T;
    static const bool ALONG_K = false;
    windows<T> x;
    int32_t first, first_tap, rows, columns;

    __device__ tap row_of(int32_t i) const
    {
        return i < rows ? x.tap_of(first_tap + i) : x.no_tap();
    }
    __device__ pixel<T> column_of(int32_t k) const
    {
        return k < columns ? x.pixel_of(first + k) : x.no_pixel();
    }
    __device__ T value(const tap &row, const pixel<T> &column) const
    {
        return x.value(column, row);
    }
};

// ---- the products -------------------------------------------------------------------------------

// conv: (pixels of q, taps and channels of x) times (taps and channels, outputs of a group).
template <class T_> struct forward {
    typedef T_ T;
    typedef pixel_rows<T> A;
    typedef ebm_matrix_source<T, false> B;
    ebm_product_grid grid;
    T *partial;
    windows<T> x;
    const T *kernel;
    T *q;
    int64_t o;

    __device__ A open_a(const ebm_product_place &at) const
    {
        A a;
        a.x = windows_from(x, at.m, at.batch * x.depth, &a.first);
        a.first_tap = (int32_t)at.k, a.rows = at.rows, a.columns = at.depth;
        return a;
    }
    __device__ B open_b(const ebm_product_place &at) const
    {
        return {kernel + at.k * o + at.batch * grid.n + at.n, 1, o, at.columns, at.depth};
    }
    __device__ T *result(int64_t batch, int64_t m) const
    {
        return q + m * o + batch * grid.n;
    }
};

// conv_weight: (taps and channels of x, pixels of q) times (pixels, outputs of a group).
template <class T_> struct weight {
    typedef T_ T;
    typedef tap_rows<T> A;
    typedef ebm_matrix_source<T, false> B;
    ebm_product_grid grid;
    T *partial;
    windows<T> x;
    T *kernel;
    const T *q;
    int64_t o;

    __device__ A open_a(const ebm_product_place &at) const
    {
        A a;
        a.x = windows_from(x, at.k, at.batch * x.depth, &a.first);
        a.first_tap = (int32_t)at.m, a.rows = at.rows, a.columns = at.depth;
        return a;
    }
    __device__ B open_b(const ebm_product_place &at) const
    {
        return {q + at.k * o + at.batch * grid.n + at.n, 1, o, at.columns, at.depth};
    }
    __device__ T *result(int64_t batch, int64_t m) const
    {
        return kernel + m * o + batch * grid.n;
    }
};

// The kernel of a phase, transposed: a column is one of its taps and an output of the group.
template <class T_> struct phase_kernel {
    typedef T_ T;
    static const bool ALONG_K = true;
    const T *data;
    int64_t o, tap_h, tap_w; // steps in memory from channel to channel, from tap to tap
    ebm_divisor taps_w, by_depth;
    int32_t first, rows, columns;

    __device__ const T *row_of(int32_t i) const
    {
        return i < rows ? data + i * o : nullptr;
    }
    __device__ int64_t column_of(int32_t k) const
    {
        if (k >= columns) return -1;
        int32_t number = first + k, t = ebm__cuda_quotient(number, by_depth);
        int32_t i = ebm__cuda_quotient(t, taps_w), j = t - i * (int32_t)taps_w.by;
        return i * tap_h + j * tap_w + number - t * (int32_t)by_depth.by;
    }
    __device__ T value(const T *row, int64_t column) const
    {
        return row && column >= 0 ? row[column] : (T)0;
    }
};

// A phase of conv_data: (pixels of x, taps and outputs of a group) times those, channels.
template <class T_> struct backward {
    typedef T_ T;
    typedef pixel_rows<T> A;
    typedef phase_kernel<T> B;
    ebm_product_grid grid;
    T *partial;
    windows<T> q;
    phase_kernel<T> kernel;
    T *x;
    int64_t outputs, outputs_w, image, line, pixel; // steps of x from pixel to pixel of the phase

    __device__ A open_a(const ebm_product_place &at) const
    {
        A a;
        a.x = windows_from(q, at.m, at.batch * q.depth, &a.first);
        a.first_tap = (int32_t)at.k, a.rows = at.rows, a.columns = at.depth;
        return a;
    }
    __device__ B open_b(const ebm_product_place &at) const
    {
        B b = kernel;
        b.data += at.n * b.o + at.batch * q.depth;
        b.first = (int32_t)at.k, b.rows = at.columns, b.columns = at.depth;
        return b;
    }
    __device__ T *result(int64_t batch, int64_t m) const
    {
        int64_t n = m / outputs, at = m - n * outputs, i = at / outputs_w, j = at - i * outputs_w;
        return x + n * image + i * line + j * pixel + batch * grid.n;
    }
};

// ---- which tiles --------------------------------------------------------------------------------

enum { NARROW = 16 }; // up to so many rows or columns have tiles of their own

enum shape { LARGE, SQUARE, COLUMNS, ROWS };

// Large tiles read memory the least, but there must be enough of them, or of k to cut.  Larger ones,
// of 128 x 128, have no registers left for the windows.
shape shape_of(int32_t dtype, int64_t m, int64_t n, int64_t k, int64_t batch)
{
    if (n <= NARROW) return COLUMNS;
    if (m <= NARROW) return ROWS;
    double work = (double)m * (double)n * (double)k * (double)batch;
    bool large = m > 64 && n > 32 && work >= 128.0 * 128 * 64 * 256;
    return dtype == EBM_F32 && large ? LARGE : SQUARE;
}

ebm_product_grid grid_of(int32_t dtype, int64_t m, int64_t n, int64_t k, int64_t batch)
{
    static const int tile[][2] = {{128, 64}, {64, 64}, {128, NARROW}, {NARROW, 64}};
    shape s = shape_of(dtype, m, n, k, batch);
    return ebm__cuda_product_grid(m, n, k, batch, tile[s][0], tile[s][1]);
}

template <class Problem> void launch_large(const Problem &p, float)
{
    ebm__cuda_launch_product<ebm_tile<float, 128, 64, 8, 4, 8>>(p);
}
template <class Problem> void launch_large(const Problem &, double) {}

template <class Problem> void launch(int32_t dtype, const Problem &p)
{
    typedef typename Problem::T T;
    const ebm_product_grid &g = p.grid;
    switch (shape_of(dtype, g.m, g.n, g.k, g.batch)) {
    case LARGE: launch_large(p, T()); break;
    case SQUARE: ebm__cuda_launch_product<ebm_tile<T, 64, 64, 4, 4>>(p); break;
    case COLUMNS: ebm__cuda_launch_product<ebm_tile<T, 128, NARROW, 4, 2>>(p); break;
    case ROWS: ebm__cuda_launch_product<ebm_tile<T, NARROW, 64, 1, 4>>(p); break;
    }
}

// ---- conv and conv_weight -----------------------------------------------------------------------

ebm_product_grid forward_grid(const conv *p)
{
    int64_t pixels = p->images * p->oh * p->ow, terms = p->kh * p->kw * (p->c / p->groups);
    bool forwards = p->op == EBM_OP_conv;
    return grid_of(p->dtype, forwards ? pixels : terms, p->o / p->groups,
                   forwards ? terms : pixels, p->groups);
}

template <class T> windows<T> forward_windows(const conv *p)
{
    ebm_window_axis h = {p->oh, p->kh, p->h, -p->top, p->stride_h, p->dilation_h};
    ebm_window_axis w = {p->ow, p->kw, p->w, -p->left, p->stride_w, p->dilation_w};
    return windows_of<T>(p->x, p->c, p->c / p->groups, h, w);
}

template <class T> void run_forward(const conv *p, void *scratch)
{
    forward<T> f = {};
    f.grid = forward_grid(p);
    f.partial = (T *)scratch;
    f.x = forward_windows<T>(p);
    f.kernel = (const T *)p->kernel;
    f.q = (T *)p->q;
    f.o = p->o;
    launch(p->dtype, f);
}

template <class T> void run_weight(const conv *p, void *scratch)
{
    weight<T> f = {};
    f.grid = forward_grid(p);
    f.partial = (T *)scratch;
    f.x = forward_windows<T>(p);
    f.kernel = (T *)p->kernel;
    f.q = (const T *)p->q;
    f.o = p->o;
    launch(p->dtype, f);
}

// ---- conv_data ----------------------------------------------------------------------------------

struct phases {
    ebm_phase h, w;
    ebm_product_grid grid;
};

phases phases_of(const conv *p, int64_t number)
{
    phases at;
    at.h = ebm_phase_of(number / p->stride_w, p->h, p->kh, p->oh, p->stride_h, p->top,
                        p->dilation_h);
    at.w = ebm_phase_of(number % p->stride_w, p->w, p->kw, p->ow, p->stride_w, p->left,
                        p->dilation_w);
    int64_t pixels = p->images * at.h.axis.outputs * at.w.axis.outputs;
    int64_t terms = at.h.axis.taps * at.w.axis.taps * (p->o / p->groups);
    at.grid = grid_of(p->dtype, pixels, p->c / p->groups, terms, p->groups);
    return at;
}

template <class T> void run_phase(const conv *p, const phases &at, void *scratch)
{
    int64_t depth = p->o / p->groups, tap = p->c / p->groups * p->o, line = p->kw * tap;
    backward<T> f = {};
    f.grid = at.grid;
    f.partial = (T *)scratch;
    f.q = windows_of<T>(p->q, p->o, depth, at.h.axis, at.w.axis);
    f.kernel.data = (const T *)p->kernel + at.h.tap * line + at.w.tap * tap;
    f.kernel.o = p->o;
    f.kernel.tap_h = at.h.tap_step * line;
    f.kernel.tap_w = at.w.tap_step * tap;
    f.kernel.taps_w = f.q.taps_w;
    f.kernel.by_depth = f.q.by_depth;
    f.outputs = at.h.axis.outputs * at.w.axis.outputs;
    f.outputs_w = at.w.axis.outputs;
    f.image = p->h * p->w * p->c;
    f.line = p->stride_h * p->w * p->c;
    f.pixel = p->stride_w * p->c;
    f.x = (T *)p->x + (at.h.first * p->w + at.w.first) * p->c;
    launch(p->dtype, f);
}

template <class T> void run_data(const conv *p, void *scratch)
{
    for (int64_t i = 0; i < p->stride_h * p->stride_w; i++) {
        phases at = phases_of(p, i);
        if (at.grid.blocks > 0) run_phase<T>(p, at, scratch);
    }
}

// ---- a channel a group --------------------------------------------------------------------------

// conv_weight there: so many sums of so many pixels at most, by as many threads.
const int64_t PART_PIXELS = 64, MOST_PARTS = 512, ENOUGH_THREADS = 1 << 18;

int64_t depthwise_parts(const conv *p)
{
    int64_t cells = p->kh * p->kw * p->c, pixels = p->images * p->oh * p->ow;
    int64_t wanted = cells ? (ENOUGH_THREADS + cells - 1) / cells : 1;
    int64_t most = pixels / PART_PIXELS < MOST_PARTS ? pixels / PART_PIXELS : MOST_PARTS;
    return most < 1 ? 1 : wanted < most ? wanted : most;
}

template <class T> __global__ void depthwise_forward_kernel(const __grid_constant__ conv p)
{
    const T *x = (const T *)p.x, *kernel = (const T *)p.kernel;
    int64_t size = p.images * p.oh * p.ow * p.c, step = (int64_t)gridDim.x * blockDim.x;
    for (int64_t e = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; e < size; e += step) {
        int64_t at = e / p.c, c = e - at * p.c, line = at / p.ow, n = line / p.oh;
        int64_t h0 = (line - n * p.oh) * p.stride_h - p.top;
        int64_t w0 = (at - line * p.ow) * p.stride_w - p.left;
        T sum = 0;
        for (int64_t i = 0; i < p.kh; i++)
            for (int64_t j = 0; j < p.kw; j++) {
                int64_t h = h0 + i * p.dilation_h, w = w0 + j * p.dilation_w;
                if (h < 0 || h >= p.h || w < 0 || w >= p.w) continue;
                sum = ebm__cuda_fma(x[((n * p.h + h) * p.w + w) * p.c + c],
                                    kernel[(i * p.kw + j) * p.c + c], sum);
            }
        ((T *)p.q)[e] = sum;
    }
}

template <class T> __global__ void depthwise_data_kernel(const __grid_constant__ conv p)
{
    const T *q = (const T *)p.q, *kernel = (const T *)p.kernel;
    int64_t size = p.images * p.h * p.w * p.c, step = (int64_t)gridDim.x * blockDim.x;
    for (int64_t e = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; e < size; e += step) {
        int64_t at = e / p.c, c = e - at * p.c, line = at / p.w, n = line / p.h;
        int64_t h0 = line - n * p.h + p.top, w0 = at - line * p.w + p.left;
        T sum = 0;
        for (int64_t i = 0; i < p.kh; i++) {
            int64_t far_h = h0 - i * p.dilation_h, h = far_h / p.stride_h;
            if (far_h < 0 || h >= p.oh || h * p.stride_h != far_h) continue;
            for (int64_t j = 0; j < p.kw; j++) {
                int64_t far_w = w0 - j * p.dilation_w, w = far_w / p.stride_w;
                if (far_w < 0 || w >= p.ow || w * p.stride_w != far_w) continue;
                sum = ebm__cuda_fma(q[((n * p.oh + h) * p.ow + w) * p.c + c],
                                    kernel[(i * p.kw + j) * p.c + c], sum);
            }
        }
        ((T *)p.x)[e] = sum;
    }
}

// A part of the pixels for each tap and channel.
template <class T>
__global__ void depthwise_weight_kernel(const __grid_constant__ conv p, T *out, int64_t parts)
{
    const T *x = (const T *)p.x, *q = (const T *)p.q;
    int64_t cells = p.kh * p.kw * p.c, pixels = p.images * p.oh * p.ow;
    int64_t length = (pixels + parts - 1) / parts, step = (int64_t)gridDim.x * blockDim.x;
    for (int64_t e = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; e < cells * parts;
         e += step) {
        int64_t part = e / cells, cell = e - part * cells, tap = cell / p.c, c = cell - tap * p.c;
        int64_t i = tap / p.kw, j = tap - i * p.kw, end = (part + 1) * length;
        T sum = 0;
        for (int64_t at = part * length; at < (end < pixels ? end : pixels); at++) {
            int64_t line = at / p.ow, n = line / p.oh;
            int64_t h = (line - n * p.oh) * p.stride_h - p.top + i * p.dilation_h;
            int64_t w = (at - line * p.ow) * p.stride_w - p.left + j * p.dilation_w;
            if (h < 0 || h >= p.h || w < 0 || w >= p.w) continue;
            sum = ebm__cuda_fma(x[((n * p.h + h) * p.w + w) * p.c + c], q[at * p.c + c], sum);
        }
        out[e] = sum;
    }
}

template <class T>
__global__ void depthwise_add_kernel(const T *partial, T *out, int64_t cells, int64_t parts)
{
    int64_t step = (int64_t)gridDim.x * blockDim.x;
    for (int64_t e = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; e < cells; e += step) {
        T sum = partial[e];
        for (int64_t part = 1; part < parts; part++) sum += partial[part * cells + e];
        out[e] = sum;
    }
}

template <class T> void run_depthwise(const conv *p, void *scratch)
{
    int32_t block = ebm_cuda->block;
    dim3 threads((unsigned)block);
    int64_t q_size = p->images * p->oh * p->ow * p->c, x_size = p->images * p->h * p->w * p->c;
    int64_t cells = p->kh * p->kw * p->c, parts = depthwise_parts(p);
    T *kernel = (T *)p->kernel;
    if (p->op == EBM_OP_conv) {
        EBM_LAUNCH_PLAIN(depthwise_forward_kernel<T>, ebm__cuda_grid(q_size, block), threads, *p);
    } else if (p->op == EBM_OP_conv_data) {
        EBM_LAUNCH_PLAIN(depthwise_data_kernel<T>, ebm__cuda_grid(x_size, block), threads, *p);
    } else {
        T *out = parts > 1 ? (T *)scratch : kernel;
        EBM_LAUNCH_PLAIN(depthwise_weight_kernel<T>, ebm__cuda_grid(cells * parts, block),
                         threads, *p, out, parts);
        if (parts > 1)
            EBM_LAUNCH_PLAIN(depthwise_add_kernel<T>, ebm__cuda_grid(cells, block), threads,
                             (const T *)scratch, kernel, cells, parts);
    }
}

// ---- one tap ------------------------------------------------------------------------------------

bool is_one_tap(const conv *p)
{
    return p->kh == 1 && p->kw == 1 && p->groups == 1 && p->stride_h == 1 && p->stride_w == 1 &&
           p->top + p->bottom + p->left + p->right == 0;
}

// The same as a product of matrices, whose arguments last as long as this.
struct one_tap {
    ebm_view in[2], out;
    int64_t attr[2];
    ebm_kernel_args args;

    one_tap(const conv *p, void *scratch)
    {
        ebm_view x = matrix(p, p->x, p->images * p->h * p->w, p->c);
        ebm_view kernel = matrix(p, p->kernel, p->c, p->o);
        ebm_view q = matrix(p, p->q, p->images * p->h * p->w, p->o);
        bool data = p->op == EBM_OP_conv_data, weight = p->op == EBM_OP_conv_weight;
        in[0] = data ? q : x;
        in[1] = weight ? q : kernel;
        out = data ? x : weight ? kernel : q;
        attr[0] = weight;
        attr[1] = data;
        args = {};
        args.op = EBM_OP_matmul;
        args.n_in = 2, args.n_out = 1, args.n_attr = 2;
        args.in = in, args.out = &out, args.attr = attr;
        args.scratch = scratch;
    }

    static ebm_view matrix(const conv *p, void *data, int64_t m, int64_t n)
    {
        ebm_view v = {};
        v.data = data;
        v.dtype = p->dtype;
        v.rank = 2;
        v.shape[0] = m, v.shape[1] = n;
        v.stride[0] = n, v.stride[1] = 1;
        return v;
    }
};

// ---- calls --------------------------------------------------------------------------------------

// What is counted in 32 bits stays within 30.
ebm_status check_sizes(const conv *p)
{
    const int64_t most = (int64_t)1 << 30;
    int64_t channels = p->c > p->o ? p->c : p->o, taps = p->kh * p->kw;
    bool fits = p->h <= most && p->w <= most && p->h * p->w <= most && p->oh * p->ow <= most &&
                p->oh * p->stride_h + p->top < most && p->ow * p->stride_w + p->left < most &&
                p->kh * p->dilation_h < most && p->kw * p->dilation_w < most &&
                channels <= most && taps <= most && taps * channels <= most;
    return fits ? EBM_OK
                : ebm_fail(EBM_UNSUPPORTED,
                           "cuda: conv: an image of %lld x %lld pixels, a kernel "
                           "of %lld x %lld: expected at most 2^30 elements",
                           (long long)p->h, (long long)p->w, (long long)p->kh, (long long)p->kw);
}

template <class T> void run_conv(const conv *p, void *scratch)
{
    if (is_depthwise(p))
        run_depthwise<T>(p, scratch);
    else if (p->op == EBM_OP_conv)
        run_forward<T>(p, scratch);
    else if (p->op == EBM_OP_conv_data)
        run_data<T>(p, scratch);
    else
        run_weight<T>(p, scratch);
}

} // namespace

size_t ebm__cuda_conv_scratch(const ebm_kernel_args *args)
{
    conv p = read_args(args);
    size_t item = (size_t)ebm__cuda_item(p.dtype), most = 0;
    if (is_one_tap(&p)) {
        one_tap product(&p, nullptr);
        return ebm__cuda_matmul_scratch(&product.args);
    }
    if (is_depthwise(&p)) {
        int64_t parts = p.op == EBM_OP_conv_weight ? depthwise_parts(&p) : 1;
        return parts > 1 ? (size_t)(parts * p.kh * p.kw * p.c) * item : 0;
    }
    if (p.op != EBM_OP_conv_data) return ebm__cuda_product_scratch(forward_grid(&p), item);
    for (int64_t i = 0; i < p.stride_h * p.stride_w; i++) {
        size_t bytes = ebm__cuda_product_scratch(phases_of(&p, i).grid, item);
        if (bytes > most) most = bytes;
    }
    return most;
}

ebm_status ebm__cuda_conv(const ebm_kernel_args *args)
{
    int32_t op = args->op, dtype = args->out[0].dtype;
    bool known = op == EBM_OP_conv || op == EBM_OP_conv_data || op == EBM_OP_conv_weight;
    if (!known || (dtype != EBM_F32 && dtype != EBM_F64))
        return ebm_fail(EBM_UNSUPPORTED, "conv: no kernel for op %d of %s", (int)op,
                        ebm_dtype_name((ebm_dtype)dtype));
    conv p = read_args(args);
    if (ebm__cuda_size(&args->out[0]) == 0) return EBM_OK;
    if (is_one_tap(&p)) {
        one_tap product(&p, args->scratch);
        return ebm__cuda_matmul(&product.args);
    }
    EBM_TRY(check_sizes(&p));
    dtype == EBM_F64 ? run_conv<double>(&p, args->scratch) : run_conv<float>(&p, args->scratch);
    return ebm__cuda_launched("conv");
}
