/* conv.c - builders and rules of the three convolutions: each is an adjoint of the other two.
 *
 * For a fixed geometry  <q, conv(x, w)> = <conv_data(q, w), x> = <conv_weight(x, q), w>,
 * a form linear in each of x, w, q; so every rule is one of the same three ops.
 *
 * Images whose pixels are repeated (upsample, and what comes back through avg_pool) are not looked
 * at.  Let U repeat each pixel s times along an axis.  At stride 1
 *
 *     conv_data(U q, w)[i] = sum over k of (U q)[i + pad - k] w[k] = conv_data(q, S w)[i],
 *
 * at stride s, since k + e = i + pad - s j for the pixel j of q that is met and its copy e; and
 * (S w)[k] = w[k] + w[k - 1] + ... + w[k - s + 1].  With s = 2 a kernel of 3 x 3 meets 2 x 2
 * pixels: 4 products in place of 9. */
#include <string.h>

#include "graph/rules.h"
#include "ops/ops.h"

/* ---- inference --------------------------------------------------------------------------------- */

static int64_t extent(int64_t size, int64_t kernel, int64_t stride, int64_t before,
                      int64_t after, int64_t dilation)
{
    int64_t span = size + before + after - dilation * (kernel - 1) - 1;
    return span < 0 ? -1 : span / stride + 1;
}

/* Words beyond MOST would let extents overflow. */
enum { MOST = 1 << 20 };

static ebm_status check_geometry(const ebm_candidate *c)
{
    EBM_CHECK(c->n_attr == EBM_CONV_ATTRS);
    const int64_t *a = c->attr;
    bool good = a[EBM_CONV_STRIDE_H] > 0 && a[EBM_CONV_STRIDE_W] > 0 &&
                a[EBM_CONV_DILATION_H] > 0 && a[EBM_CONV_DILATION_W] > 0 &&
                a[EBM_CONV_GROUPS] > 0;
    for (int i = EBM_CONV_TOP; i <= EBM_CONV_RIGHT; i++) good = good && a[i] >= 0;
    for (int i = 0; i < EBM_CONV_ATTRS; i++) good = good && a[i] <= MOST;
    if (good) return EBM_OK;
    return ebm_fail(EBM_VALUE,
                    "%s: got stride (%lld, %lld), padding (%lld, %lld, %lld, %lld), dilation "
                    "(%lld, %lld), groups %lld, expected padding >= 0, the others > 0, all at "
                    "most %d",
                    ebm_op_get(c->op)->name, (long long)a[0], (long long)a[1], (long long)a[2],
                    (long long)a[3], (long long)a[4], (long long)a[5], (long long)a[6],
                    (long long)a[7], (long long)a[8], MOST);
}

static ebm_status misfit(const ebm_candidate *c, const char *what)
{
    char a[128], b[128];
    ebm_shape sa = ebm_ref_shape(c->graph, c->in[0]), sb = ebm_ref_shape(c->graph, c->in[1]);
    return ebm_fail(EBM_SHAPE, "%s: %s: %s and %s", ebm_op_get(c->op)->name, what,
                    ebm_shape_text(&sa, a, sizeof a), ebm_shape_text(&sb, b, sizeof b));
}

/* True if an image x, a kernel w and a result q belong together; w's channels are a group's. */
static bool belongs(const int64_t *a, const ebm_shape *x, const ebm_shape *w, const ebm_shape *q)
{
    int64_t h = extent(x->dim[1], w->dim[0], a[EBM_CONV_STRIDE_H], a[EBM_CONV_TOP],
                       a[EBM_CONV_BOTTOM], a[EBM_CONV_DILATION_H]);
    int64_t v = extent(x->dim[2], w->dim[1], a[EBM_CONV_STRIDE_W], a[EBM_CONV_LEFT],
                       a[EBM_CONV_RIGHT], a[EBM_CONV_DILATION_W]);
    return h == q->dim[1] && v == q->dim[2] && x->dim[0] == q->dim[0] && w->dim[3] == q->dim[3] &&
           w->dim[2] * a[EBM_CONV_GROUPS] == x->dim[3] && q->dim[3] % a[EBM_CONV_GROUPS] == 0;
}

ebm_status ebm__infer_conv(const ebm_candidate *c, ebm_dtype *dtype, ebm_shape *shape)
{
    EBM_TRY(check_geometry(c));
    const int64_t *a = c->attr;
    ebm_shape first = ebm_ref_shape(c->graph, c->in[0]),
              second = ebm_ref_shape(c->graph, c->in[1]);
    *dtype = ebm_ref_dtype(c->graph, c->in[0]);
    if (!ebm_dtype_is_float(*dtype) || ebm_ref_dtype(c->graph, c->in[1]) != *dtype)
        return ebm_fail(EBM_DTYPE, "%s: got %s and %s, expected one float type",
                        ebm_op_get(c->op)->name, ebm_dtype_name(*dtype),
                        ebm_dtype_name(ebm_ref_dtype(c->graph, c->in[1])));
    if (first.rank != 4 || second.rank != 4) return misfit(c, "expected rank 4");
    shape->rank = 4;
    int64_t *d = shape->dim;
    switch (c->op) {
    case EBM_OP_conv:
        d[0] = first.dim[0];
        d[1] = extent(first.dim[1], second.dim[0], a[EBM_CONV_STRIDE_H], a[EBM_CONV_TOP],
                      a[EBM_CONV_BOTTOM], a[EBM_CONV_DILATION_H]);
        d[2] = extent(first.dim[2], second.dim[1], a[EBM_CONV_STRIDE_W], a[EBM_CONV_LEFT],
                      a[EBM_CONV_RIGHT], a[EBM_CONV_DILATION_W]);
        d[3] = second.dim[3];
        if (d[1] < 1 || d[2] < 1)
            return misfit(c, "the kernel is larger than the padded image");
        return belongs(a, &first, &second, shape) ? EBM_OK : misfit(c, "channels do not fit");
    case EBM_OP_conv_data:
        d[0] = first.dim[0];
        d[1] = a[EBM_CONV_RESULT_H];
        d[2] = a[EBM_CONV_RESULT_W];
        d[3] = second.dim[2] * a[EBM_CONV_GROUPS];
        return belongs(a, shape, &second, &first) ? EBM_OK : misfit(c, "sizes do not fit");
    default:
        if (first.dim[3] % a[EBM_CONV_GROUPS]) return misfit(c, "channels do not fit");
        d[0] = a[EBM_CONV_RESULT_H];
        d[1] = a[EBM_CONV_RESULT_W];
        d[2] = first.dim[3] / a[EBM_CONV_GROUPS];
        d[3] = second.dim[3];
        return belongs(a, &first, shape, &second) ? EBM_OK : misfit(c, "sizes do not fit");
    }
}

/* ---- builders ---------------------------------------------------------------------------------- */

static ebm_ref push(ebm_graph *g, ebm_op op, ebm_ref a, ebm_ref b,
                    const ebm_conv_geometry *geometry, int64_t result_h, int64_t result_w)
{
    int64_t attr[EBM_CONV_ATTRS];
    memcpy(attr, geometry, sizeof *geometry);
    attr[EBM_CONV_RESULT_H] = result_h;
    attr[EBM_CONV_RESULT_W] = result_w;
    const ebm_ref in[] = {a, b};
    return ebm__push(g, op, in, 2, attr, EBM_CONV_ATTRS);
}

ebm_conv_geometry ebm_conv_same(int64_t stride, int64_t pad)
{
    return (ebm_conv_geometry){stride, stride, pad, pad, pad, pad, 1, 1, 1};
}

/* An image (N, H, W, C) that repeats the pixels of a `small` one, times[0] x times[1] of each. */
typedef struct enlarged {
    ebm_ref small;
    int64_t times[2];
} enlarged;

/* True if x is one, spelled as a broadcast to (N, H, times, W, times, C), and a convolution of this
 * geometry with w gains by knowing it. */
static bool is_enlarged(ebm_graph *g, ebm_ref x, ebm_ref w, const ebm_conv_geometry *geometry,
                        enlarged *from)
{
    ebm_node image = ebm_graph_node(g, x);
    ebm_node blocks = image.op == EBM_OP_reshape ? ebm_graph_node(g, image.in[0]) : image;
    if (blocks.op != EBM_OP_broadcast || blocks.shape.rank != 6) return false;
    const int64_t *b = blocks.shape.dim, *d = image.shape.dim;
    const int64_t *axes = blocks.attr + 1 + blocks.shape.rank;
    if (d[0] != b[0] || d[1] != b[1] * b[2] || d[2] != b[3] * b[4] || d[3] != b[5])
        return false;
    ebm_shape source = ebm_ref_shape(g, blocks.in[0]), kernel = ebm_ref_shape(g, w);
    ebm_shape small = EBM_DIMS(b[0], b[1], b[3], b[5]);
    if (ebm_shape_size(&source) != ebm_shape_size(&small)) return false;
    for (int32_t i = 0; i < source.rank; i++)
        if ((axes[i] == 2 || axes[i] == 4 || (i > 0 && axes[i] < axes[i - 1])) &&
            source.dim[i] != 1)
            return false;
    bool plain = geometry->stride_h == 1 && geometry->stride_w == 1 && geometry->groups == 1 &&
                 geometry->dilation_h == 1 && geometry->dilation_w == 1;
    if (!plain || kernel.dim[0] < 2 || kernel.dim[1] < 2 || b[2] * b[4] < 2) return false;
    *from = (enlarged){ebm_reshape(g, blocks.in[0], &small), {b[2], b[4]}};
    return true;
}

/* The sum of w shifted by 0 .. times - 1 along an axis. */
static ebm_ref spread(ebm_graph *g, ebm_ref w, int32_t axis, int64_t times)
{
    ebm_shape shape = ebm_ref_shape(g, w);
    const int64_t step[] = {1, 1, 1, 1};
    ebm_ref sum = EBM_NONE;
    shape.dim[axis] += times - 1;
    for (int64_t e = 0; e < times; e++) {
        int64_t start[] = {0, 0, 0, 0};
        start[axis] = e;
        ebm_ref term = ebm_pad(g, w, start, step, &shape);
        sum = e == 0 ? term : ebm_add(g, sum, term);
    }
    return sum;
}

static ebm_ref data_of_enlarged(ebm_graph *g, const enlarged *from, ebm_ref w,
                                const ebm_conv_geometry *geometry, int64_t height, int64_t width)
{
    ebm_conv_geometry strided = *geometry;
    strided.stride_h = from->times[0];
    strided.stride_w = from->times[1];
    w = spread(g, spread(g, w, 0, from->times[0]), 1, from->times[1]);
    return push(g, EBM_OP_conv_data, from->small, w, &strided, height, width);
}

ebm_ref ebm_conv(ebm_graph *g, ebm_ref x, ebm_ref w, const ebm_conv_geometry *geometry)
{
    ebm_ref y = push(g, EBM_OP_conv, x, w, geometry, 0, 0);
    enlarged from;
    if (y <= EBM_POISON || !is_enlarged(g, x, w, geometry, &from)) return y;
    ebm_shape kernel = ebm_ref_shape(g, w), shape = ebm_ref_shape(g, y);
    ebm_conv_geometry turned = *geometry;
    turned.pad_top = kernel.dim[0] - 1 - geometry->pad_top;
    turned.pad_bottom = kernel.dim[0] - 1 - geometry->pad_bottom;
    turned.pad_left = kernel.dim[1] - 1 - geometry->pad_left;
    turned.pad_right = kernel.dim[1] - 1 - geometry->pad_right;
    if (turned.pad_top < 0 || turned.pad_bottom < 0 || turned.pad_left < 0 || turned.pad_right < 0)
        return y;
    ebm_ref back = ebm_flip(g, ebm_flip(g, ebm_transpose(g, w), 0), 1);
    return data_of_enlarged(g, &from, back, &turned, shape.dim[1], shape.dim[2]);
}

ebm_ref ebm_conv_data(ebm_graph *g, ebm_ref q, ebm_ref w, const ebm_conv_geometry *geometry,
                      int64_t height, int64_t width)
{
    ebm_ref x = push(g, EBM_OP_conv_data, q, w, geometry, height, width);
    enlarged from;
    if (x <= EBM_POISON || !is_enlarged(g, q, w, geometry, &from)) return x;
    return data_of_enlarged(g, &from, w, geometry, height, width);
}

ebm_ref ebm_conv_weight(ebm_graph *g, ebm_ref x, ebm_ref q, const ebm_conv_geometry *geometry,
                        int64_t kh, int64_t kw)
{
    return push(g, EBM_OP_conv_weight, x, q, geometry, kh, kw);
}

/* ---- rules ------------------------------------------------------------------------------------- */

static ebm_conv_geometry geometry_of(const ebm_node *node)
{
    ebm_conv_geometry geometry;
    memcpy(&geometry, node->attr, sizeof geometry);
    return geometry;
}

ebm_ref ebm__rule_conv(ebm_graph *g, const ebm_node *node, int32_t i, ebm_ref ct)
{
    ebm_conv_geometry geometry = geometry_of(node);
    ebm_shape shape = ebm_ref_shape(g, node->in[i]);
    return i == 0 ? ebm_conv_data(g, ct, node->in[1], &geometry, shape.dim[1], shape.dim[2])
                  : ebm_conv_weight(g, node->in[0], ct, &geometry, shape.dim[0], shape.dim[1]);
}

ebm_ref ebm__rule_conv_data(ebm_graph *g, const ebm_node *node, int32_t i, ebm_ref ct)
{
    ebm_conv_geometry geometry = geometry_of(node);
    ebm_shape shape = ebm_ref_shape(g, node->in[i]);
    return i == 0 ? ebm_conv(g, ct, node->in[1], &geometry)
                  : ebm_conv_weight(g, ct, node->in[0], &geometry, shape.dim[0], shape.dim[1]);
}

ebm_ref ebm__rule_conv_weight(ebm_graph *g, const ebm_node *node, int32_t i, ebm_ref ct)
{
    ebm_conv_geometry geometry = geometry_of(node);
    ebm_shape shape = ebm_ref_shape(g, node->in[i]);
    return i == 0 ? ebm_conv_data(g, node->in[1], ct, &geometry, shape.dim[1], shape.dim[2])
                  : ebm_conv(g, node->in[0], ct, &geometry);
}
