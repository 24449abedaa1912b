/* index.c - builders and rules of ops that move rows by computed positions. */
#include <string.h>

#include "graph/rules.h"
#include "ops/ops.h"

/* ---- inference --------------------------------------------------------------------------------- */

static ebm_status expect_indices(const ebm_candidate *c, int32_t i)
{
    ebm_dtype dtype = ebm_ref_dtype(c->graph, c->in[i]);
    if (dtype == EBM_I32) return EBM_OK;
    return ebm_fail(EBM_DTYPE, "%s: indices: got %s, expected i32", ebm_op_get(c->op)->name,
                    ebm_dtype_name(dtype));
}

ebm_status ebm__expect_places(const ebm_candidate *c, int64_t n)
{
    if (n <= INT32_MAX) return EBM_OK;
    return ebm_fail(EBM_SHAPE, "%s: got %lld places, expected less than 2^31: they are i32",
                    ebm_op_get(c->op)->name, (long long)n);
}

static ebm_status misfit(const ebm_candidate *c, const ebm_shape *a, const ebm_shape *b)
{
    char ta[128], tb[128];
    return ebm_fail(EBM_SHAPE, "%s: shapes do not fit: %s and %s", ebm_op_get(c->op)->name,
                    ebm_shape_text(a, ta, sizeof ta), ebm_shape_text(b, tb, sizeof tb));
}

/* Replaces axis `axis` of shape by the axes of `idx`. */
static ebm_status replace_axis(const ebm_candidate *c, ebm_shape *shape, int64_t axis,
                               const ebm_shape *idx)
{
    ebm_shape x = *shape;
    if (x.rank - 1 + idx->rank > EBM_MAX_RANK) return misfit(c, &x, idx);
    shape->rank = 0;
    for (int64_t i = 0; i < axis; i++) shape->dim[shape->rank++] = x.dim[i];
    for (int32_t i = 0; i < idx->rank; i++) shape->dim[shape->rank++] = idx->dim[i];
    for (int64_t i = axis + 1; i < x.rank; i++) shape->dim[shape->rank++] = x.dim[i];
    return EBM_OK;
}

static ebm_status infer_scatter_add(const ebm_candidate *c, ebm_shape *shape, const ebm_shape *idx)
{
    EBM_CHECK(c->n_attr == 2);
    ebm_shape v = *shape;
    int64_t axis = c->attr[0];
    if (axis < 0 || axis > v.rank - idx->rank || c->attr[1] < 0)
        return ebm_fail(EBM_INDEX, "scatter_add: %d axes at axis %lld of %d, into size %lld",
                        idx->rank, (long long)axis, v.rank, (long long)c->attr[1]);
    for (int32_t i = 0; i < idx->rank; i++)
        if (v.dim[axis + i] != idx->dim[i]) return misfit(c, &v, idx);
    EBM_TRY(ebm__expect_places(c, ebm_shape_size(idx)));
    shape->rank = v.rank - idx->rank + 1;
    shape->dim[axis] = c->attr[1];
    for (int64_t i = axis + 1; i < shape->rank; i++) shape->dim[i] = v.dim[i - 1 + idx->rank];
    return EBM_OK;
}

static ebm_status infer_put(const ebm_candidate *c, ebm_dtype dtype, const ebm_shape *x,
                            const ebm_shape *idx)
{
    ebm_shape v = ebm_ref_shape(c->graph, c->in[2]);
    if (ebm_ref_dtype(c->graph, c->in[2]) != dtype)
        return ebm_fail(EBM_DTYPE, "put: element types differ: %s and %s", ebm_dtype_name(dtype),
                        ebm_dtype_name(ebm_ref_dtype(c->graph, c->in[2])));
    if (x->rank < 1 || idx->rank != 1 || v.rank != x->rank || v.dim[0] != idx->dim[0])
        return misfit(c, x, &v);
    for (int32_t i = 1; i < x->rank; i++)
        if (x->dim[i] != v.dim[i]) return misfit(c, x, &v);
    return ebm__expect_places(c, idx->dim[0]);
}

static ebm_status infer_window_argmax(const ebm_candidate *c, ebm_dtype *dtype, ebm_shape *shape)
{
    EBM_CHECK(c->n_attr == 6);
    if (shape->rank != 4 || !ebm_dtype_is_float(*dtype)) {
        char text[128];
        return ebm_fail(EBM_SHAPE, "window_argmax: got %s %s, expected a float (N, H, W, C)",
                        ebm_dtype_name(*dtype), ebm_shape_text(shape, text, sizeof text));
    }
    *dtype = EBM_I32;
    EBM_TRY(ebm__expect_places(c, shape->dim[1] * shape->dim[2]));
    for (int i = 0; i < 2; i++) {
        int64_t size = c->attr[i], stride = c->attr[2 + i], pad = c->attr[4 + i];
        if (size < 1 || size > INT32_MAX || stride < 1 || pad < 0 || pad >= size)
            return ebm_fail(EBM_VALUE,
                            "window: size %lld, stride %lld, padding %lld: "
                            "expected 0 <= padding < size and stride >= 1",
                            (long long)size, (long long)stride, (long long)pad);
        int64_t span = shape->dim[1 + i] + 2 * pad - size;
        if (span < 0 || shape->dim[1 + i] == 0)
            return ebm_fail(EBM_SHAPE, "window: of size %lld does not fit into %lld",
                            (long long)size, (long long)(shape->dim[1 + i] + 2 * pad));
        int64_t last = span / stride; /* a window must touch the image */
        if (last * stride - pad >= shape->dim[1 + i]) last--;
        shape->dim[1 + i] = last + 1;
    }
    return EBM_OK;
}

static ebm_status infer_window_move(const ebm_candidate *c, ebm_shape *shape, const ebm_shape *idx)
{
    if (shape->rank != 4 || idx->rank != 4 || shape->dim[0] != idx->dim[0] ||
        shape->dim[3] != idx->dim[3])
        return misfit(c, shape, idx);
    if (c->op == EBM_OP_window_take) {
        *shape = *idx;
        return EBM_OK;
    }
    EBM_CHECK(c->n_attr == 2);
    if (!ebm_shape_equal(shape, idx)) return misfit(c, shape, idx);
    shape->dim[1] = c->attr[0];
    shape->dim[2] = c->attr[1];
    return EBM_OK;
}

ebm_status ebm__infer_index(const ebm_candidate *c, ebm_dtype *dtype, ebm_shape *shape)
{
    *dtype = ebm_ref_dtype(c->graph, c->in[0]);
    *shape = ebm_ref_shape(c->graph, c->in[0]);
    if (c->op == EBM_OP_window_argmax) return infer_window_argmax(c, dtype, shape);
    EBM_TRY(expect_indices(c, 1));
    ebm_shape idx = ebm_ref_shape(c->graph, c->in[1]);
    bool adds = c->op == EBM_OP_scatter_add || c->op == EBM_OP_window_put;
    if (adds && !ebm_dtype_is_float(*dtype) && *dtype != EBM_I32)
        return ebm_fail(EBM_DTYPE, "%s: got %s, expected a float type or i32",
                        ebm_op_get(c->op)->name, ebm_dtype_name(*dtype));
    switch (c->op) {
    case EBM_OP_take:
        EBM_CHECK(c->n_attr == 1 && c->attr[0] >= 0 && c->attr[0] < shape->rank);
        return replace_axis(c, shape, c->attr[0], &idx);
    case EBM_OP_scatter_add: return infer_scatter_add(c, shape, &idx);
    case EBM_OP_put: return infer_put(c, *dtype, shape, &idx);
    default: return infer_window_move(c, shape, &idx);
    }
}

/* ---- builders ---------------------------------------------------------------------------------- */

ebm_ref ebm_take(ebm_graph *g, ebm_ref x, ebm_ref idx, int axis)
{
    if (x <= EBM_POISON) return EBM_POISON;
    int32_t rank = ebm_ref_shape(g, x).rank;
    int64_t attr = axis < 0 ? axis + rank : axis;
    if (attr < 0 || attr >= rank)
        return ebm_graph_fail(g, EBM_INDEX, "take: axis: got %d for rank %d", axis, rank);
    const ebm_ref in[] = {x, idx};
    return ebm__push(g, EBM_OP_take, in, 2, &attr, 1);
}

/* With the axes before and after joined, x (N, n, 1, C) is an image, and its windows are taken. */
static ebm_ref as_image(ebm_graph *g, ebm_ref x, const ebm_shape *shape, int axis)
{
    ebm_shape image = EBM_DIMS(1, shape->dim[axis], 1, 1);
    for (int32_t i = 0; i < shape->rank; i++)
        if (i != axis) image.dim[i < axis ? 0 : 3] *= shape->dim[i];
    return ebm_reshape(g, ebm_broadcast_to(g, x, shape), &image);
}

ebm_ref ebm_take_along(ebm_graph *g, ebm_ref x, ebm_ref idx, int axis)
{
    if (x <= EBM_POISON || idx <= EBM_POISON) return EBM_POISON;
    ebm_shape sx = ebm_ref_shape(g, x), si = ebm_ref_shape(g, idx), common;
    int at = axis < 0 ? axis + sx.rank : axis;
    if (at < 0 || at >= sx.rank || si.rank != sx.rank) {
        char a[128], b[128];
        return ebm_graph_fail(g, EBM_SHAPE, "take_along: axis %d of %s with indices %s", axis,
                              ebm_shape_text(&sx, a, sizeof a), ebm_shape_text(&si, b, sizeof b));
    }
    int64_t n = sx.dim[at], m = si.dim[at];
    sx.dim[at] = si.dim[at] = 1;
    ebm_status status = ebm_shape_broadcast(&common, &sx, &si, "take_along");
    if (status != EBM_OK) return ebm_graph_failed(g, status);
    sx = si = common;
    sx.dim[at] = n;
    si.dim[at] = m;
    ebm_ref y = ebm_window_take(g, as_image(g, x, &sx, at), as_image(g, idx, &si, at));
    return ebm_reshape(g, y, &si);
}

ebm_ref ebm_scatter_add(ebm_graph *g, ebm_ref v, ebm_ref idx, int axis, int64_t size)
{
    const ebm_ref in[] = {v, idx};
    const int64_t attr[] = {axis, size};
    return ebm__push(g, EBM_OP_scatter_add, in, 2, attr, 2);
}

ebm_ref ebm_put(ebm_graph *g, ebm_ref x, ebm_ref idx, ebm_ref v)
{
    const ebm_ref in[] = {x, idx, v};
    return ebm__push(g, EBM_OP_put, in, 3, NULL, 0);
}

ebm_ref ebm_window_argmax(ebm_graph *g, ebm_ref x, const ebm_window *w)
{
    const int64_t attr[] = {w->kh, w->kw, w->sh, w->sw, w->ph, w->pw};
    return ebm__push(g, EBM_OP_window_argmax, &x, 1, attr, 6);
}

ebm_ref ebm_window_take(ebm_graph *g, ebm_ref x, ebm_ref idx)
{
    const ebm_ref in[] = {x, idx};
    return ebm__push(g, EBM_OP_window_take, in, 2, NULL, 0);
}

ebm_ref ebm_window_put(ebm_graph *g, ebm_ref v, ebm_ref idx, int64_t height, int64_t width)
{
    const ebm_ref in[] = {v, idx};
    const int64_t attr[] = {height, width};
    return ebm__push(g, EBM_OP_window_put, in, 2, attr, 2);
}

/* ---- rules ------------------------------------------------------------------------------------- */

ebm_ref ebm__rule_take(ebm_graph *g, const ebm_node *node, int32_t i, ebm_ref ct)
{
    int axis = (int)node->attr[0];
    int64_t size = ebm_ref_shape(g, node->in[i]).dim[axis];
    return ebm_scatter_add(g, ct, node->in[1], axis, size);
}

ebm_ref ebm__rule_scatter_add(ebm_graph *g, const ebm_node *node, int32_t i, ebm_ref ct)
{
    (void)i;
    return ebm_take(g, ct, node->in[1], (int)node->attr[0]);
}

/* v reaches the result only where it was the last writer of its row. */
ebm_ref ebm__rule_put(ebm_graph *g, const ebm_node *node, int32_t i, ebm_ref ct)
{
    ebm_ref idx = node->in[1], v = node->in[2];
    if (i == 0) return ebm_put(g, ct, idx, ebm_zeros_like(g, v));
    ebm_shape rows = ebm_ref_shape(g, idx), all = ebm_shape_of(1, node->shape.dim);
    ebm_ref turn = ebm_iota(g, EBM_I32, &rows, 0);
    ebm_ref winner = ebm_put(g, ebm_full(g, EBM_I32, &all, 0), idx, turn);
    ebm_ref won = ebm_equal(g, ebm_take(g, winner, idx, 0), turn);
    ebm_shape column = {.rank = node->shape.rank, .dim = {rows.dim[0]}};
    for (int32_t k = 1; k < column.rank; k++) column.dim[k] = 1;
    ebm_ref taken = ebm_take(g, ct, idx, 0);
    return ebm_select(g, ebm_reshape(g, won, &column), taken, ebm_scalar_like(g, ct, 0.0));
}

ebm_ref ebm__rule_window_take(ebm_graph *g, const ebm_node *node, int32_t i, ebm_ref ct)
{
    ebm_shape x = ebm_ref_shape(g, node->in[i]);
    return ebm_window_put(g, ct, node->in[1], x.dim[1], x.dim[2]);
}

ebm_ref ebm__rule_window_put(ebm_graph *g, const ebm_node *node, int32_t i, ebm_ref ct)
{
    (void)i;
    return ebm_window_take(g, ct, node->in[1]);
}
