/* reduce.c - builders and rules of reductions. */
#include "graph/rules.h"
#include "ops/ops.h"

/* ---- inference --------------------------------------------------------------------------------- */

static ebm_status infer_axes(const ebm_candidate *c, ebm_shape *shape)
{
    ebm_shape x = *shape;
    int64_t mask = c->attr[0];
    EBM_CHECK(c->n_attr == 1 && mask >= 0 && mask < (INT64_C(1) << x.rank));
    shape->rank = 0;
    for (int32_t i = 0; i < x.rank; i++)
        if (!(mask >> i & 1))
            shape->dim[shape->rank++] = x.dim[i];
        else if (x.dim[i] == 0 && c->op == EBM_OP_max) {
            char text[128];
            return ebm_fail(EBM_SHAPE, "max: an empty axis has no maximum: %s, axis %d",
                            ebm_shape_text(&x, text, sizeof text), i);
        }
    return EBM_OK;
}

ebm_status ebm__infer_reduce(const ebm_candidate *c, ebm_dtype *dtype, ebm_shape *shape)
{
    const char *name = ebm_op_get(c->op)->name;
    EBM_CHECK(c->n_attr >= 1);
    *dtype = ebm_ref_dtype(c->graph, c->in[0]);
    *shape = ebm_ref_shape(c->graph, c->in[0]);
    bool fits = ebm_dtype_is_float(*dtype) || *dtype == EBM_I32 ||
                (c->op == EBM_OP_max && *dtype == EBM_BOOL);
    if (!fits)
        return ebm_fail(EBM_DTYPE, "%s: got %s, expected a float type or i32", name,
                        ebm_dtype_name(*dtype));
    if (c->op == EBM_OP_sum || c->op == EBM_OP_max) return infer_axes(c, shape);
    EBM_CHECK(c->attr[0] >= 0 && c->attr[0] < shape->rank);
    if (c->op == EBM_OP_cumsum) {
        EBM_CHECK(c->n_attr == 2 && (c->attr[1] == 0 || c->attr[1] == 1));
        return EBM_OK;
    }
    EBM_CHECK(c->op == EBM_OP_argmax && c->n_attr == 1);
    int32_t axis = (int32_t)c->attr[0];
    if (shape->dim[axis] == 0)
        return ebm_fail(EBM_SHAPE, "argmax: an empty axis has no maximum: axis %d", axis);
    EBM_TRY(ebm__expect_places(c, shape->dim[axis]));
    for (int32_t i = axis; i + 1 < shape->rank; i++) shape->dim[i] = shape->dim[i + 1];
    shape->rank--;
    *dtype = EBM_I32;
    return EBM_OK;
}

/* ---- builders ---------------------------------------------------------------------------------- */

static int64_t all_axes(const ebm_graph *g, ebm_ref x)
{
    return (INT64_C(1) << ebm_ref_shape(g, x).rank) - 1;
}

/* Adds the reduced axes again, with size 1. */
static ebm_ref keep_dims(ebm_graph *g, ebm_ref x, ebm_ref y, int64_t mask)
{
    if (y <= EBM_POISON) return y;
    ebm_shape shape = ebm_ref_shape(g, x);
    for (int32_t i = 0; i < shape.rank; i++)
        if (mask >> i & 1) shape.dim[i] = 1;
    return ebm_reshape(g, y, &shape);
}

static ebm_ref over_axes(ebm_graph *g, ebm_op op, ebm_ref x, int64_t axes, bool keepdims)
{
    if (x <= EBM_POISON) return EBM_POISON;
    int64_t all = all_axes(g, x), mask = axes == EBM_ALL_AXES ? all : axes;
    if (mask < 0 || (mask & ~all))
        return ebm_graph_fail(g, EBM_INDEX, "%s: axis out of range for rank %d",
                              ebm_op_get(op)->name, ebm_ref_shape(g, x).rank);
    ebm_ref y = ebm__push(g, op, &x, 1, &mask, 1);
    return keepdims ? keep_dims(g, x, y, mask) : y;
}

ebm_ref ebm_sum(ebm_graph *g, ebm_ref x, int64_t axes, bool keepdims)
{
    return over_axes(g, EBM_OP_sum, x, axes, keepdims);
}

ebm_ref ebm_mean(ebm_graph *g, ebm_ref x, int64_t axes, bool keepdims)
{
    ebm_ref y = ebm_sum(g, x, axes, keepdims);
    if (y <= EBM_POISON) return y;
    ebm_shape before = ebm_ref_shape(g, x), after = ebm_ref_shape(g, y);
    int64_t kept = ebm_shape_size(&after), all = ebm_shape_size(&before);
    if (all == 0 && kept > 0) return ebm_graph_fail(g, EBM_SHAPE, "mean: of nothing");
    return kept == 0 ? y : ebm_div(g, y, ebm_scalar_like(g, y, (double)(all / kept)));
}

ebm_ref ebm_max(ebm_graph *g, ebm_ref x, int64_t axes, bool keepdims)
{
    return over_axes(g, EBM_OP_max, x, axes, keepdims);
}

/* x in the opposite order; of integers not -x, which is x again for the lowest one. */
static ebm_ref opposite(ebm_graph *g, ebm_ref x)
{
    if (x <= EBM_POISON || ebm_ref_dtype(g, x) != EBM_I32) return ebm_neg(g, x);
    return ebm_sub(g, ebm_scalar_like(g, x, -1.0), x);
}

ebm_ref ebm_min(ebm_graph *g, ebm_ref x, int64_t axes, bool keepdims)
{
    return opposite(g, ebm_max(g, opposite(g, x), axes, keepdims));
}

ebm_ref ebm_any(ebm_graph *g, ebm_ref x, int64_t axes, bool keepdims)
{
    if (x > EBM_POISON && ebm_ref_dtype(g, x) != EBM_BOOL) x = ebm_cast(g, x, EBM_BOOL);
    return ebm_max(g, x, axes, keepdims);
}

ebm_ref ebm_all(ebm_graph *g, ebm_ref x, int64_t axes, bool keepdims)
{
    if (x > EBM_POISON && ebm_ref_dtype(g, x) != EBM_BOOL) x = ebm_cast(g, x, EBM_BOOL);
    return ebm_logical_not(g, ebm_max(g, ebm_logical_not(g, x), axes, keepdims));
}

/* A negative axis counts from the end; -1 if out of range, with the error recorded. */
static int64_t axis_of(ebm_graph *g, const char *what, ebm_ref x, int axis)
{
    int32_t rank = ebm_ref_shape(g, x).rank;
    if (axis >= -rank && axis < rank) return axis < 0 ? axis + rank : axis;
    ebm_graph_fail(g, EBM_INDEX, "%s: axis: got %d, expected %d .. %d", what, axis, -rank,
                   rank - 1);
    return -1;
}

ebm_ref ebm_argmax(ebm_graph *g, ebm_ref x, int axis)
{
    if (x <= EBM_POISON) return EBM_POISON;
    int64_t attr = axis_of(g, "argmax", x, axis);
    return attr < 0 ? EBM_POISON : ebm__push(g, EBM_OP_argmax, &x, 1, &attr, 1);
}

ebm_ref ebm_cumsum(ebm_graph *g, ebm_ref x, int axis, bool reverse)
{
    if (x <= EBM_POISON) return EBM_POISON;
    int64_t attr[] = {axis_of(g, "cumsum", x, axis), reverse};
    return attr[0] < 0 ? EBM_POISON : ebm__push(g, EBM_OP_cumsum, &x, 1, attr, 2);
}

ebm_ref ebm_sum_rows(ebm_graph *g, ebm_ref x)
{
    if (x <= EBM_POISON) return EBM_POISON;
    return ebm_sum(g, x, all_axes(g, x) & ~INT64_C(1), false);
}

ebm_ref ebm_mean_all(ebm_graph *g, ebm_ref x)
{
    return ebm_mean(g, x, EBM_ALL_AXES, false);
}

ebm_ref ebm_sum_all(ebm_graph *g, ebm_ref x)
{
    return ebm_sum(g, x, EBM_ALL_AXES, false);
}

/* ---- rules ------------------------------------------------------------------------------------- */

/* The adjoint of dropping axes: y back in the shape of x, repeated along them. */
static ebm_ref spread(ebm_graph *g, const ebm_node *node, ebm_ref y)
{
    ebm_shape shape = ebm_ref_shape(g, node->in[0]);
    int64_t axes[EBM_MAX_RANK];
    int32_t n = 0;
    for (int32_t i = 0; i < shape.rank; i++)
        if (!(node->attr[0] >> i & 1)) axes[n++] = i;
    return ebm_broadcast_axes(g, y, &shape, axes);
}

ebm_ref ebm__rule_sum(ebm_graph *g, const ebm_node *node, int32_t i, ebm_ref ct)
{
    (void)i;
    return spread(g, node, ct);
}

ebm_ref ebm__rule_cumsum(ebm_graph *g, const ebm_node *node, int32_t i, ebm_ref ct)
{
    (void)i;
    return ebm_cumsum(g, ct, (int)node->attr[0], !node->attr[1]);
}

/* max x = sum of x over the places of the maximum, each with its share; the shares are constants. */
ebm_ref ebm__expand_max(ebm_graph *g, const ebm_node *node)
{
    ebm_ref x = node->in[0];
    int64_t mask = node->attr[0];
    ebm_ref y = ebm__push(g, EBM_OP_max, &x, 1, &mask, 1);
    ebm_ref hit = ebm_equal(g, x, spread(g, node, y));
    ebm_ref count = ebm_sum(g, ebm_cast(g, hit, node->dtype), mask, false);
    ebm_ref share = ebm_stop(g, ebm_recip(g, count));
    ebm_ref taken = ebm_select(g, hit, x, ebm_scalar_like(g, x, 0.0));
    return ebm_mul(g, share, ebm_sum(g, taken, mask, false));
}
