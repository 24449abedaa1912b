/* move.c - builders and rules of movement: the same numbers in another place or shape. */
#include <string.h>

#include "base/alloc.h"
#include "graph/rules.h"
#include "ops/ops.h"

/* ---- inference --------------------------------------------------------------------------------- */

static bool good_rank(int64_t rank)
{
    return rank >= 0 && rank <= EBM_MAX_RANK;
}

static ebm_status infer_broadcast(const ebm_candidate *c, ebm_shape *shape)
{
    ebm_shape x = *shape;
    EBM_CHECK(c->n_attr >= 1 && good_rank(c->attr[0]) && c->n_attr == 1 + c->attr[0] + x.rank);
    *shape = ebm_shape_of((int32_t)c->attr[0], c->attr + 1);
    const int64_t *axes = c->attr + 1 + shape->rank;
    for (int32_t i = 0; i < x.rank; i++) {
        bool there = axes[i] >= 0 && axes[i] < shape->rank && (i == 0 || axes[i] > axes[i - 1]);
        if (there && x.dim[i] == shape->dim[axes[i]]) continue;
        char a[128], b[128];
        return ebm_fail(EBM_SHAPE, "broadcast: axis %d of %s as axis %lld of %s", i,
                        ebm_shape_text(&x, a, sizeof a), (long long)axes[i],
                        ebm_shape_text(shape, b, sizeof b));
    }
    return EBM_OK;
}

/* `count` places from `start` by `step` lie inside an axis of `size`; none lie anywhere. */
static bool lies_inside(int64_t start, int64_t step, int64_t count, int64_t size)
{
    int64_t last;
    if (step == 0 || count < 0 || size < 0) return false;
    if (count == 0) return true;
    if (__builtin_mul_overflow(count - 1, step, &last)) return false;
    return start >= 0 && start < size && last >= -start && last < size - start;
}

static ebm_status infer_reshape(const ebm_candidate *c, ebm_shape *shape)
{
    EBM_CHECK(c->n_attr >= 1 && good_rank(c->attr[0]) && c->n_attr == 1 + c->attr[0]);
    ebm_shape to = ebm_shape_of((int32_t)c->attr[0], c->attr + 1);
    if (ebm_shape_size(&to) != ebm_shape_size(shape)) {
        char a[128], b[128];
        return ebm_fail(EBM_SHAPE, "reshape: sizes differ: %s into %s",
                        ebm_shape_text(shape, a, sizeof a), ebm_shape_text(&to, b, sizeof b));
    }
    *shape = to;
    return EBM_OK;
}

static ebm_status infer_permute(const ebm_candidate *c, ebm_shape *shape)
{
    ebm_shape x = *shape;
    int64_t seen = 0;
    EBM_CHECK(c->n_attr == x.rank);
    for (int32_t i = 0; i < x.rank; i++) {
        EBM_CHECK(c->attr[i] >= 0 && c->attr[i] < x.rank);
        seen |= INT64_C(1) << c->attr[i];
        shape->dim[i] = x.dim[c->attr[i]];
    }
    EBM_CHECK(seen == (INT64_C(1) << x.rank) - 1);
    return EBM_OK;
}

static ebm_status infer_slice(const ebm_candidate *c, ebm_shape *shape)
{
    EBM_CHECK(c->n_attr == 3 * shape->rank);
    for (int32_t i = 0; i < shape->rank; i++) {
        int64_t start = c->attr[3 * i], step = c->attr[3 * i + 1], count = c->attr[3 * i + 2];
        if (!lies_inside(start, step, count, shape->dim[i]))
            return ebm_fail(EBM_INDEX,
                            "slice: axis %d of size %lld: start %lld, step %lld, count %lld", i,
                            (long long)shape->dim[i], (long long)start, (long long)step,
                            (long long)count);
        shape->dim[i] = count;
    }
    return EBM_OK;
}

static ebm_status infer_pad(const ebm_candidate *c, ebm_shape *shape)
{
    EBM_CHECK(c->n_attr == 3 * shape->rank);
    for (int32_t i = 0; i < shape->rank; i++) {
        int64_t start = c->attr[3 * i], step = c->attr[3 * i + 1], size = c->attr[3 * i + 2];
        int64_t count = shape->dim[i];
        if (!lies_inside(start, step, count, size))
            return ebm_fail(EBM_INDEX,
                            "pad: axis %d: %lld values at %lld by %lld into size %lld", i,
                            (long long)count, (long long)start, (long long)step, (long long)size);
        shape->dim[i] = size;
    }
    return EBM_OK;
}

static ebm_status infer_concat(const ebm_candidate *c, ebm_dtype dtype, ebm_shape *shape)
{
    EBM_CHECK(c->n_attr == 1 && c->attr[0] >= 0 && c->attr[0] < shape->rank);
    for (int32_t i = 1; i < c->n_in; i++) {
        ebm_dtype other = ebm_ref_dtype(c->graph, c->in[i]);
        ebm_shape with = ebm_ref_shape(c->graph, c->in[i]);
        if (other != dtype)
            return ebm_fail(EBM_DTYPE, "concat: element types differ: %s and %s",
                            ebm_dtype_name(dtype), ebm_dtype_name(other));
        bool fits = with.rank == shape->rank;
        for (int32_t k = 0; fits && k < shape->rank; k++)
            fits = k == c->attr[0] || with.dim[k] == shape->dim[k];
        if (!fits) {
            char a[128], b[128];
            return ebm_fail(EBM_SHAPE, "concat: shapes differ off axis %lld: %s and %s",
                            (long long)c->attr[0], ebm_shape_text(shape, a, sizeof a),
                            ebm_shape_text(&with, b, sizeof b));
        }
        shape->dim[c->attr[0]] += with.dim[c->attr[0]];
    }
    return EBM_OK;
}

static ebm_status infer_iota(const ebm_candidate *c, ebm_dtype *dtype, ebm_shape *shape)
{
    EBM_CHECK(c->n_attr >= 3 && good_rank(c->attr[2]) && c->n_attr == 3 + c->attr[2]);
    *dtype = (ebm_dtype)c->attr[0];
    *shape = ebm_shape_of((int32_t)c->attr[2], c->attr + 3);
    EBM_CHECK(c->attr[1] >= 0 && c->attr[1] < shape->rank);
    if (ebm_dtype_is_float(*dtype)) return EBM_OK;
    if (*dtype == EBM_I32) return ebm__expect_places(c, shape->dim[c->attr[1]]);
    return ebm_fail(EBM_DTYPE, "iota: got element type %lld, expected a float type or i32",
                    (long long)c->attr[0]);
}

static ebm_status infer_graft(const ebm_candidate *c, ebm_dtype dtype, const ebm_shape *shape)
{
    EBM_CHECK(c->n_in == 3);
    if (!ebm_dtype_is_float(dtype))
        return ebm_fail(EBM_DTYPE, "graft: got %s, expected a float type", ebm_dtype_name(dtype));
    for (int32_t i = 1; i < 3; i++) {
        ebm_shape with = ebm_ref_shape(c->graph, c->in[i]);
        if (ebm_ref_dtype(c->graph, c->in[i]) != dtype || !ebm_shape_equal(&with, shape))
            return ebm_fail(EBM_SHAPE, "graft: operand %d: shape or element type differs", i);
    }
    return EBM_OK;
}

ebm_status ebm__infer_move(const ebm_candidate *c, ebm_dtype *dtype, ebm_shape *shape)
{
    if (c->op == EBM_OP_iota) return infer_iota(c, dtype, shape);
    EBM_CHECK(c->n_in > 0);
    *dtype = ebm_ref_dtype(c->graph, c->in[0]);
    *shape = ebm_ref_shape(c->graph, c->in[0]);
    switch (c->op) {
    case EBM_OP_graft: return infer_graft(c, *dtype, shape);
    case EBM_OP_broadcast: return infer_broadcast(c, shape);
    case EBM_OP_reshape: return infer_reshape(c, shape);
    case EBM_OP_permute: return infer_permute(c, shape);
    case EBM_OP_slice: return infer_slice(c, shape);
    case EBM_OP_pad: return infer_pad(c, shape);
    case EBM_OP_concat: return infer_concat(c, *dtype, shape);
    default: return EBM_OK; /* mark, stop */
    }
}

/* ---- constants --------------------------------------------------------------------------------- */

ebm_ref ebm_scalar(ebm_graph *g, ebm_dtype dtype, double value)
{
    ebm_shape scalar = EBM_SCALAR;
    return ebm__constant(g, dtype, &scalar, value);
}

ebm_ref ebm_full(ebm_graph *g, ebm_dtype dtype, const ebm_shape *shape, double value)
{
    return ebm__constant(g, dtype, shape, value);
}

ebm_ref ebm_scalar_like(ebm_graph *g, ebm_ref like, double value)
{
    return like <= EBM_POISON ? EBM_POISON : ebm_scalar(g, ebm_ref_dtype(g, like), value);
}

ebm_ref ebm_full_like(ebm_graph *g, ebm_ref like, double value)
{
    if (like <= EBM_POISON) return EBM_POISON;
    ebm_shape shape = ebm_ref_shape(g, like);
    return ebm_full(g, ebm_ref_dtype(g, like), &shape, value);
}

ebm_ref ebm_zeros_like(ebm_graph *g, ebm_ref like)
{
    return ebm_full_like(g, like, 0.0);
}

bool ebm_is_constant(const ebm_graph *g, ebm_ref x, double *value)
{
    return ebm__constant_value(g, x, value);
}

ebm_ref ebm_iota(ebm_graph *g, ebm_dtype dtype, const ebm_shape *shape, int axis)
{
    if (axis < -shape->rank || axis >= shape->rank)
        return ebm_graph_fail(g, EBM_INDEX, "iota: axis: got %d for rank %d", axis, shape->rank);
    int64_t attr[3 + EBM_MAX_RANK] = {dtype, axis < 0 ? axis + shape->rank : axis, shape->rank};
    memcpy(attr + 3, shape->dim, (size_t)shape->rank * sizeof *attr);
    return ebm__push(g, EBM_OP_iota, NULL, 0, attr, 3 + shape->rank);
}

/* ---- builders ---------------------------------------------------------------------------------- */

ebm_ref ebm_broadcast_axes(ebm_graph *g, ebm_ref x, const ebm_shape *shape, const int64_t *axes)
{
    if (x <= EBM_POISON) return EBM_POISON;
    int32_t rank = ebm_ref_shape(g, x).rank;
    int64_t attr[1 + 2 * EBM_MAX_RANK] = {shape->rank};
    memcpy(attr + 1, shape->dim, (size_t)shape->rank * sizeof *attr);
    memcpy(attr + 1 + shape->rank, axes, (size_t)rank * sizeof *attr);
    return ebm__push(g, EBM_OP_broadcast, &x, 1, attr, 1 + shape->rank + rank);
}

ebm_ref ebm_broadcast_to(ebm_graph *g, ebm_ref x, const ebm_shape *shape)
{
    if (x <= EBM_POISON) return EBM_POISON;
    ebm_shape from = ebm_ref_shape(g, x), dense = EBM_SCALAR;
    if (ebm_shape_equal(&from, shape)) return x;
    int64_t axes[EBM_MAX_RANK];
    int32_t lead = shape->rank - from.rank;
    for (int32_t i = 0; i < from.rank; i++) {
        int64_t to = lead + i >= 0 ? shape->dim[lead + i] : -1;
        if (lead < 0 || (from.dim[i] != to && from.dim[i] != 1)) {
            char a[128], b[128];
            return ebm_graph_fail(g, EBM_SHAPE, "broadcast: %s into %s",
                                  ebm_shape_text(&from, a, sizeof a),
                                  ebm_shape_text(shape, b, sizeof b));
        }
        if (from.dim[i] != to) continue; /* an axis of size 1 is dropped, then repeated */
        axes[dense.rank] = lead + i;
        dense.dim[dense.rank++] = from.dim[i];
    }
    return ebm_broadcast_axes(g, ebm_reshape(g, x, &dense), shape, axes);
}

ebm_ref ebm_reshape(ebm_graph *g, ebm_ref x, const ebm_shape *shape)
{
    int64_t attr[1 + EBM_MAX_RANK] = {shape->rank};
    if (!good_rank(shape->rank))
        return ebm_graph_fail(g, EBM_SHAPE, "reshape: rank: got %d, expected at most %d",
                              shape->rank, EBM_MAX_RANK);
    memcpy(attr + 1, shape->dim, (size_t)shape->rank * sizeof *attr);
    return ebm__push(g, EBM_OP_reshape, &x, 1, attr, 1 + shape->rank);
}

ebm_ref ebm_expand_dims(ebm_graph *g, ebm_ref x, int axis)
{
    if (x <= EBM_POISON) return EBM_POISON;
    ebm_shape from = ebm_ref_shape(g, x), shape = {.rank = from.rank + 1};
    int at = axis < 0 ? axis + shape.rank : axis;
    if (at < 0 || at > from.rank || shape.rank > EBM_MAX_RANK)
        return ebm_graph_fail(g, EBM_INDEX, "expand_dims: axis: got %d for rank %d", axis,
                              from.rank);
    for (int32_t i = 0; i < shape.rank; i++)
        shape.dim[i] = i == at ? 1 : from.dim[i < at ? i : i - 1];
    return ebm_reshape(g, x, &shape);
}

ebm_ref ebm_permute(ebm_graph *g, ebm_ref x, const int64_t *axes)
{
    if (x <= EBM_POISON) return EBM_POISON;
    int32_t rank = ebm_ref_shape(g, x).rank;
    int64_t seen = 0;
    for (int32_t i = 0; i < rank; i++)
        if (axes[i] >= 0 && axes[i] < rank) seen |= INT64_C(1) << axes[i];
    if (seen != (INT64_C(1) << rank) - 1)
        return ebm_graph_fail(g, EBM_VALUE, "permute: expected each axis 0 .. %d once", rank - 1);
    return ebm__push(g, EBM_OP_permute, &x, 1, axes, rank);
}

ebm_ref ebm_transpose(ebm_graph *g, ebm_ref x)
{
    if (x <= EBM_POISON) return EBM_POISON;
    int32_t rank = ebm_ref_shape(g, x).rank;
    if (rank < 2)
        return ebm_graph_fail(g, EBM_SHAPE, "transpose: rank: got %d, expected 2 or more", rank);
    int64_t axes[EBM_MAX_RANK];
    for (int32_t i = 0; i < rank; i++) axes[i] = i;
    axes[rank - 1] = rank - 2;
    axes[rank - 2] = rank - 1;
    return ebm_permute(g, x, axes);
}

ebm_ref ebm_slice(ebm_graph *g, ebm_ref x, const int64_t *start, const int64_t *step,
                  const int64_t *count)
{
    if (x <= EBM_POISON) return EBM_POISON;
    int32_t rank = ebm_ref_shape(g, x).rank;
    int64_t attr[3 * EBM_MAX_RANK];
    for (int32_t i = 0; i < rank; i++) {
        attr[3 * i] = start[i];
        attr[3 * i + 1] = step[i];
        attr[3 * i + 2] = count[i];
    }
    return ebm__push(g, EBM_OP_slice, &x, 1, attr, 3 * rank);
}

/* start, step, count that take all of every axis. */
static void whole(const ebm_shape *shape, int64_t *start, int64_t *step, int64_t *count)
{
    for (int32_t i = 0; i < shape->rank; i++) {
        start[i] = 0;
        step[i] = 1;
        count[i] = shape->dim[i];
    }
}

static ebm_ref slice_one_axis(ebm_graph *g, ebm_ref x, int axis, int64_t start, int64_t step,
                              int64_t count)
{
    if (x <= EBM_POISON) return EBM_POISON;
    ebm_shape shape = ebm_ref_shape(g, x);
    int at = axis < 0 ? axis + shape.rank : axis;
    if (at < 0 || at >= shape.rank)
        return ebm_graph_fail(g, EBM_INDEX, "slice: axis: got %d for rank %d", axis, shape.rank);
    int64_t starts[EBM_MAX_RANK], steps[EBM_MAX_RANK], counts[EBM_MAX_RANK];
    whole(&shape, starts, steps, counts);
    starts[at] = start < 0 ? start + shape.dim[at] : start;
    steps[at] = step;
    counts[at] = count < 0 ? shape.dim[at] : count;
    return ebm_slice(g, x, starts, steps, counts);
}

ebm_ref ebm_slice_axis(ebm_graph *g, ebm_ref x, int axis, int64_t start, int64_t count)
{
    if (count < 0)
        return ebm_graph_fail(g, EBM_VALUE, "slice: count: got %lld", (long long)count);
    return slice_one_axis(g, x, axis, start, 1, count);
}

ebm_ref ebm_flip(ebm_graph *g, ebm_ref x, int axis)
{
    return slice_one_axis(g, x, axis, -1, -1, -1);
}

ebm_ref ebm_pad(ebm_graph *g, ebm_ref x, const int64_t *start, const int64_t *step,
                const ebm_shape *shape)
{
    if (x <= EBM_POISON) return EBM_POISON;
    int64_t attr[3 * EBM_MAX_RANK];
    if (ebm_ref_shape(g, x).rank != shape->rank)
        return ebm_graph_fail(g, EBM_SHAPE, "pad: rank: got %d, expected %d", shape->rank,
                              ebm_ref_shape(g, x).rank);
    for (int32_t i = 0; i < shape->rank; i++) {
        attr[3 * i] = start[i];
        attr[3 * i + 1] = step[i];
        attr[3 * i + 2] = shape->dim[i];
    }
    return ebm__push(g, EBM_OP_pad, &x, 1, attr, 3 * shape->rank);
}

ebm_ref ebm_concat(ebm_graph *g, const ebm_ref *x, int32_t n, int axis)
{
    if (n < 1) return ebm_graph_fail(g, EBM_VALUE, "concat: of nothing");
    if (x[0] <= EBM_POISON) return EBM_POISON;
    int32_t rank = ebm_ref_shape(g, x[0]).rank;
    int64_t attr = axis < 0 ? axis + rank : axis;
    if (attr < 0 || attr >= rank)
        return ebm_graph_fail(g, EBM_INDEX, "concat: axis: got %d for rank %d", axis, rank);
    return ebm__push(g, EBM_OP_concat, x, n, &attr, 1);
}

/* The serial makes every mark a node of its own; the count of nodes is as good as any. */
ebm_ref ebm_mark(ebm_graph *g, ebm_ref x)
{
    int64_t serial = ebm_graph_count(g);
    return ebm__push(g, EBM_OP_mark, &x, 1, &serial, 1);
}

ebm_ref ebm_stop(ebm_graph *g, ebm_ref x)
{
    return ebm__push(g, EBM_OP_stop, &x, 1, NULL, 0);
}

ebm_ref ebm_graft(ebm_graph *g, ebm_ref y, ebm_ref x, ebm_ref slope)
{
    const ebm_ref in[] = {y, x, slope};
    return ebm__push(g, EBM_OP_graft, in, 3, NULL, 0);
}

/* ---- rules ------------------------------------------------------------------------------------- */

ebm_ref ebm__rule_broadcast(ebm_graph *g, const ebm_node *node, int32_t i, ebm_ref ct)
{
    (void)i;
    int32_t from = ebm_ref_shape(g, node->in[0]).rank;
    int64_t mask = (INT64_C(1) << node->shape.rank) - 1;
    const int64_t *axes = node->attr + 1 + node->shape.rank;
    for (int32_t k = 0; k < from; k++) mask &= ~(INT64_C(1) << axes[k]);
    return ebm_sum(g, ct, mask, false);
}

ebm_ref ebm__rule_reshape(ebm_graph *g, const ebm_node *node, int32_t i, ebm_ref ct)
{
    ebm_shape shape = ebm_ref_shape(g, node->in[i]);
    return ebm_reshape(g, ct, &shape);
}

ebm_ref ebm__rule_permute(ebm_graph *g, const ebm_node *node, int32_t i, ebm_ref ct)
{
    (void)i;
    int64_t inverse[EBM_MAX_RANK];
    for (int32_t k = 0; k < node->n_attr; k++) inverse[node->attr[k]] = k;
    return ebm_permute(g, ct, inverse);
}

ebm_ref ebm__rule_slice(ebm_graph *g, const ebm_node *node, int32_t i, ebm_ref ct)
{
    ebm_shape shape = ebm_ref_shape(g, node->in[i]);
    int64_t start[EBM_MAX_RANK], step[EBM_MAX_RANK];
    for (int32_t k = 0; k < shape.rank; k++) {
        start[k] = node->attr[3 * k];
        step[k] = node->attr[3 * k + 1];
    }
    return ebm_pad(g, ct, start, step, &shape);
}

ebm_ref ebm__rule_pad(ebm_graph *g, const ebm_node *node, int32_t i, ebm_ref ct)
{
    ebm_shape shape = ebm_ref_shape(g, node->in[i]);
    int64_t start[EBM_MAX_RANK], step[EBM_MAX_RANK];
    for (int32_t k = 0; k < shape.rank; k++) {
        start[k] = node->attr[3 * k];
        step[k] = node->attr[3 * k + 1];
    }
    return ebm_slice(g, ct, start, step, shape.dim);
}

ebm_ref ebm__rule_concat(ebm_graph *g, const ebm_node *node, int32_t i, ebm_ref ct)
{
    int axis = (int)node->attr[0];
    int64_t start = 0;
    for (int32_t k = 0; k < i; k++) start += ebm_ref_shape(g, node->in[k]).dim[axis];
    return ebm_slice_axis(g, ct, axis, start, ebm_ref_shape(g, node->in[i]).dim[axis]);
}

ebm_ref ebm__rule_mark(ebm_graph *g, const ebm_node *node, int32_t i, ebm_ref ct)
{
    (void)g, (void)node, (void)i;
    return ct;
}

ebm_ref ebm__vjp_graft(ebm_graph *g, const ebm_node *node, ebm_ref y, int32_t i, ebm_ref ct)
{
    (void)y;
    return i == 1 ? ebm_mul(g, ct, node->in[2]) : EBM_NONE;
}

ebm_ref ebm__jvp_graft(ebm_graph *g, const ebm_node *node, ebm_ref y, int32_t i, ebm_ref t)
{
    return ebm__vjp_graft(g, node, y, i, t);
}
