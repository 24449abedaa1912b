/* conv.c - conv, conv_data and conv_weight, adjoints of each other, as products of dense.h.
 *
 * Images x are (N, H, W, C), kernels w (kh, kw, C / groups, O), results q (N, oh, ow, O).
 *
 *     conv         rows: the windows of x times w.
 *     conv_weight  columns: the windows of x times q.
 *     conv_data    rows, once for each phase: pixels of x whose place has the same remainder
 *                  by the stride are met by the same taps of w, at neighbouring pixels of q; so
 *                  a phase is a dense convolution of stride 1 over q.  Stride 1 has one phase,
 *                  the flipped kernel.
 *
 * With a few input channels the runs of one tap are too short.  Then conv and conv_weight read
 * a copy of x with its border of zeros, in which the taps of a line of the kernel are one
 * run. */
#include "cpu/dense.h"
#include "graph/graph.h"
#include "ops/ops.h"
#include "tensor/shape.h"

#include <string.h>

enum { FEW_CHANNELS = 16 };

typedef struct conv {
    int32_t op, dtype;
    int64_t size; /* of an element */
    int64_t images, h, w, c, kh, kw, oh, ow, o, groups;
    int64_t stride_h, stride_w, top, left, dilation_h, dilation_w;
    const ebm_view *x, *kernel, *q; /* one of them is the output */
    bool packed;                    /* the kernel, as EBM_OP_PACK leaves it */
} conv;

/* `attr` is that of the op. */
static conv read_geometry(int32_t op, int32_t dtype, const int64_t *attr)
{
    conv p = {.op = op, .dtype = dtype, .size = (int64_t)ebm_dtype_size((ebm_dtype)dtype)};
    p.groups = attr[EBM_CONV_GROUPS];
    p.stride_h = attr[EBM_CONV_STRIDE_H];
    p.stride_w = attr[EBM_CONV_STRIDE_W];
    p.top = attr[EBM_CONV_TOP];
    p.left = attr[EBM_CONV_LEFT];
    p.dilation_h = attr[EBM_CONV_DILATION_H];
    p.dilation_w = attr[EBM_CONV_DILATION_W];
    return p;
}

static void set_views(conv *p, const ebm_view *x, const ebm_view *kernel, const ebm_view *q)
{
    p->x = x;
    p->kernel = kernel;
    p->q = q;
    p->images = x->shape[0];
    p->h = x->shape[1];
    p->w = x->shape[2];
    p->c = x->shape[3];
    p->kh = kernel->shape[0];
    p->kw = kernel->shape[1];
    p->oh = q->shape[1];
    p->ow = q->shape[2];
    p->o = q->shape[3];
}

static conv read_args(const ebm_kernel_args *args)
{
    conv p = read_geometry(args->op, args->out[0].dtype, args->attr);
    bool data = p.op == EBM_OP_conv_data, weight = p.op == EBM_OP_conv_weight;
    p.packed = args->n_attr > EBM_CONV_ATTRS;
    set_views(&p, data ? &args->out[0] : &args->in[0], weight ? &args->out[0] : &args->in[1],
              p.op == EBM_OP_conv ? &args->out[0] : &args->in[weight]);
    return p;
}

static bool is_depthwise(const conv *p)
{
    return p->groups > 1 && p->groups == p->c && p->groups == p->o;
}

/* ---- the copy with a border -------------------------------------------------------------------- */

static bool has_border(const conv *p)
{
    return p->op != EBM_OP_conv_data && p->groups == 1 && p->dilation_w == 1 && p->kh > 0 &&
           p->kw > 1 && p->c < FEW_CHANNELS;
}

/* What all windows together see of one axis. */
static int64_t seen(int64_t outputs, int64_t stride, int64_t taps, int64_t dilation)
{
    return (outputs - 1) * stride + (taps - 1) * dilation + 1;
}

typedef struct border {
    const conv *conv;
    char *to;
    int64_t h, w; /* of the copy */
} border;

static border border_of(const conv *p, void *to)
{
    return (border){p, to, seen(p->oh, p->stride_h, p->kh, p->dilation_h),
                    seen(p->ow, p->stride_w, p->kw, 1)};
}

static void border_task(void *context, int64_t image)
{
    const border *b = context;
    const conv *p = b->conv;
    int64_t pixel = p->c * p->size, line = b->w * pixel, right = p->left + p->w;
    if (right > b->w) right = b->w;
    char *to = b->to + image * b->h * line;
    memset(to, 0, (size_t)(b->h * line));
    if (right <= p->left) return;
    for (int64_t h = 0; h < p->h && h + p->top < b->h; h++)
        memcpy(to + (h + p->top) * line + p->left * pixel,
               (const char *)p->x->data + (image * p->h + h) * p->w * pixel,
               (size_t)((right - p->left) * pixel));
}

/* ---- products ---------------------------------------------------------------------------------- */

/* Steps of the kernel from line to line and from tap to tap. */
static int64_t kernel_line(const conv *p)
{
    return p->kw * p->kernel->shape[2] * p->o;
}

static int64_t kernel_tap(const conv *p)
{
    return p->kernel->shape[2] * p->o;
}

/* The windows of conv and conv_weight, and what both have in common. */
static ebm__dense_product product_of(const conv *p, const void *zeros, const border *copy)
{
    ebm__dense_product d = {.dtype = p->dtype, .columns = p->o / p->groups, .batch = p->groups};
    ebm__dense_windows *x = &d.x;
    x->images = p->images;
    x->pixel = p->c;
    x->depth = p->c / p->groups;
    d.x_batch = x->depth;
    d.b_batch = d.c_batch = d.columns;
    if (copy) {
        x->data = copy->to;
        x->h = (ebm_window_axis){p->oh, p->kh, copy->h, 0, p->stride_h, p->dilation_h};
        x->w = (ebm_window_axis){p->ow, 1, copy->w, 0, p->stride_w, 0};
        x->depth *= p->kw;
    } else {
        x->data = p->x->data;
        x->zeros = zeros;
        x->h = (ebm_window_axis){p->oh, p->kh, p->h, -p->top, p->stride_h, p->dilation_h};
        x->w = (ebm_window_axis){p->ow, p->kw, p->w, -p->left, p->stride_w, p->dilation_w};
    }
    return d;
}

static ebm__dense_product forward_product(const conv *p, const void *zeros, const border *copy)
{
    ebm__dense_product d = product_of(p, zeros, copy);
    d.b = p->kernel->data;
    d.packed = p->packed ? p->kernel->data : NULL;
    d.b_tap_h = kernel_line(p);
    d.b_tap_w = kernel_tap(p);
    d.b_k = p->o;
    d.b_j = 1;
    d.c = p->q->data;
    d.c_image = p->oh * p->ow * p->o;
    d.c_h = p->ow * p->o;
    d.c_w = p->o;
    return d;
}

static ebm__dense_product weight_product(const conv *p, const void *zeros, const border *copy)
{
    ebm__dense_product d = product_of(p, zeros, copy);
    d.b = p->q->data;
    d.b_k = p->o;
    d.b_j = 1;
    d.c = p->kernel->data;
    d.c_h = kernel_line(p);
    d.c_w = kernel_tap(p);
    d.c_k = p->o;
    return d;
}

/* ---- conv_data --------------------------------------------------------------------------------- */

typedef struct phases {
    ebm_phase h, w;
} phases;

static int64_t n_phases(const conv *p)
{
    return p->stride_h * p->stride_w;
}

static phases phases_of(const conv *p, int64_t number)
{
    return (phases){ebm_phase_of(number / p->stride_w, p->h, p->kh, p->oh, p->stride_h, p->top,
                                 p->dilation_h),
                    ebm_phase_of(number % p->stride_w, p->w, p->kw, p->ow, p->stride_w, p->left,
                                 p->dilation_w)};
}

/* Of a phase, all but the addresses of q and x. */
static ebm__dense_product phase_product(const conv *p, const phases *at)
{
    ebm__dense_product d = {.dtype = p->dtype, .columns = p->c / p->groups, .batch = p->groups};
    d.x = (ebm__dense_windows){.images = p->images,
                               .h = at->h.axis,
                               .w = at->w.axis,
                               .pixel = p->o,
                               .depth = p->o / p->groups};
    int64_t first_tap = at->h.tap * kernel_line(p) + at->w.tap * kernel_tap(p);
    d.b = (const char *)p->kernel->data + first_tap * p->size;
    d.b_tap_h = at->h.tap_step * kernel_line(p);
    d.b_tap_w = at->w.tap_step * kernel_tap(p);
    d.b_k = 1;
    d.b_j = p->o;
    d.c_image = p->h * p->w * p->c;
    d.c_h = p->stride_h * p->w * p->c;
    d.c_w = p->stride_w * p->c;
    d.x_batch = d.b_batch = d.x.depth;
    d.c_batch = d.columns;
    return d;
}

static void run_data(const conv *p, const void *zeros)
{
    const char *packed = p->packed ? p->kernel->data : NULL;
    for (int64_t i = 0; i < n_phases(p); i++) {
        phases at = phases_of(p, i);
        ebm__dense_product d = phase_product(p, &at);
        d.x.data = p->q->data;
        d.x.zeros = zeros;
        d.c = (char *)p->x->data + (at.h.first * p->w + at.w.first) * p->c * p->size;
        if (is_depthwise(p)) {
            d.x.depth = p->c;
            EBM_CPU(dense_rows_depthwise)(&d);
        } else {
            d.packed = packed;
            EBM_CPU(dense_rows)(&d);
            if (packed) packed += EBM_CPU(dense_packed)(&d);
        }
    }
}

/* ---- kernels laid out -------------------------------------------------------------------------- */

/* The bytes do not depend on how the taps are shared among phases, nor on the copy.  Kernels of
 * `conv` with many channels are laid down by the first tile that reads them; with as many pixels as
 * MANY that is as fast, and takes no memory. */
size_t EBM_CPU(conv_packed)(const ebm_kernel_args *args)
{
    enum { MANY = 64, MANY_CHANNELS = 128 };
    if (args->op == EBM_OP_conv_weight || args->attr[EBM_CONV_GROUPS] != 1) return 0;
    conv p = read_args(args);
    bool laid = p.c >= MANY_CHANNELS && p.images * p.oh * p.ow >= MANY;
    if (p.op == EBM_OP_conv && laid) return 0;
    ebm__dense_product d = product_of(&p, NULL, NULL);
    if (p.op == EBM_OP_conv_data) {
        d.x.depth = p.o;
        d.columns = p.c;
    } else if (has_border(&p)) {
        d.x.w.taps = 1;
        d.x.depth *= p.kw;
    }
    return EBM_CPU(dense_packed)(&d);
}

/* The kernel alone, for images of any size: for conv tap by tap, for conv_data phase by phase. */
static void run_pack(const ebm_kernel_args *args)
{
    const ebm_view *w = &args->in[0];
    ebm_view x = {.shape = {0, 0, 0, w->shape[2]}}, q = {.shape = {0, 0, 0, w->shape[3]}};
    conv p = read_geometry((int32_t)args->attr[0], w->dtype, args->attr + 1);
    set_views(&p, &x, w, &q);
    char *to = args->out[0].data;
    if (p.op == EBM_OP_conv) {
        ebm__dense_product d = forward_product(&p, NULL, NULL);
        EBM_CPU(dense_pack)(&d, to);
        return;
    }
    for (int64_t i = 0; i < n_phases(&p); i++) {
        phases at = phases_of(&p, i);
        ebm__dense_product d = phase_product(&p, &at);
        EBM_CPU(dense_pack)(&d, to);
        to += EBM_CPU(dense_packed)(&d);
    }
}

/* ---- calls ------------------------------------------------------------------------------------- */

/* Scratch is the zeros or the copy, then the partial sums of conv_weight. */
typedef struct layout {
    size_t front, all;
} layout;

static layout layout_of(const conv *p)
{
    layout l = {.front = (size_t)((p->op == EBM_OP_conv_data ? p->o : p->c) * p->size)};
    border copy = border_of(p, NULL);
    bool copied = has_border(p);
    if (copied) l.front = (size_t)(p->images * copy.h * copy.w * p->c * p->size);
    l.all = l.front = (l.front + 63) / 64 * 64;
    if (p->op == EBM_OP_conv_weight && !is_depthwise(p)) {
        ebm__dense_product d = weight_product(p, NULL, copied ? &copy : NULL);
        l.all += EBM_CPU(dense_columns_scratch)(&d);
    }
    return l;
}

size_t EBM_CPU(conv_scratch)(const ebm_kernel_args *args)
{
    if (args->op == EBM_OP_PACK) return 0;
    conv p = read_args(args);
    return layout_of(&p).all;
}

ebm_status EBM_CPU(conv)(const ebm_kernel_args *args)
{
    if (args->op == EBM_OP_PACK) {
        run_pack(args);
        return EBM_OK;
    }
    bool weight = args->op == EBM_OP_conv_weight, data = args->op == EBM_OP_conv_data;
    if ((args->op != EBM_OP_conv && !data && !weight) ||
        !ebm_dtype_is_float((ebm_dtype)args->out[0].dtype))
        return ebm_fail(EBM_UNSUPPORTED, "conv: no kernel for op %d of %s", (int)args->op,
                        ebm_dtype_name((ebm_dtype)args->out[0].dtype));
    conv p = read_args(args);
    layout l = layout_of(&p);
    border copy = border_of(&p, args->scratch);
    bool copied = has_border(&p), depthwise = is_depthwise(&p);
    bool channels = l.front > 0; /* else there is no scratch */
    if (channels && copied)
        EBM_CPU(dense_spread)((double)l.front, p.images, border_task, &copy);
    else if (channels)
        memset(args->scratch, 0, l.front);

    if (data) {
        run_data(&p, args->scratch);
        return EBM_OK;
    }
    const border *from = copied ? &copy : NULL;
    ebm__dense_product d = weight ? weight_product(&p, args->scratch, from)
                                  : forward_product(&p, args->scratch, from);
    if (depthwise) {
        d.x.depth = p.c;
        if (weight)
            EBM_CPU(dense_columns_depthwise)(&d);
        else
            EBM_CPU(dense_rows_depthwise)(&d);
    } else if (weight) {
        EBM_CPU(dense_columns)(&d, (char *)args->scratch + l.front);
    } else {
        EBM_CPU(dense_rows)(&d);
    }
    return EBM_OK;
}
