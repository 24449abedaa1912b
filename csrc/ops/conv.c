/* conv.c - builders and rules of the three convolutions: each is an adjoint of the other two.
 *
 * For a fixed geometry  <q, conv(x, w)> = <conv_data(q, w), x> = <conv_weight(x, q), w>,
 * a form linear in each of x, w, q; so every rule is one of the same three ops. */
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

ebm_ref ebm_conv(ebm_graph *g, ebm_ref x, ebm_ref w, const ebm_conv_geometry *geometry)
{
    return push(g, EBM_OP_conv, x, w, geometry, 0, 0);
}

ebm_ref ebm_conv_data(ebm_graph *g, ebm_ref q, ebm_ref w, const ebm_conv_geometry *geometry,
                      int64_t height, int64_t width)
{
    return push(g, EBM_OP_conv_data, q, w, geometry, height, width);
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
