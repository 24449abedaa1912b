/* sort.c - builders of order: the places of the sorted elements, and what is taken from there. */
#include "graph/rules.h"
#include "ops/ops.h"

ebm_status ebm__infer_sort(const ebm_candidate *c, ebm_dtype *dtype, ebm_shape *shape)
{
    *dtype = EBM_I32;
    *shape = ebm_ref_shape(c->graph, c->in[0]);
    EBM_CHECK(c->op == EBM_OP_argsort && c->n_attr == 1);
    EBM_CHECK(c->attr[0] >= 0 && c->attr[0] < shape->rank);
    return ebm__expect_places(c, shape->dim[c->attr[0]]);
}

ebm_ref ebm_argsort(ebm_graph *g, ebm_ref x, int axis)
{
    if (x <= EBM_POISON) return EBM_POISON;
    int32_t rank = ebm_ref_shape(g, x).rank;
    int64_t at = axis < 0 ? axis + rank : axis;
    if (at < 0 || at >= rank)
        return ebm_graph_fail(g, EBM_INDEX, "argsort: axis: got %d for rank %d", axis, rank);
    return ebm__push(g, EBM_OP_argsort, &x, 1, &at, 1);
}

/* The order is constant to derivatives: an element's cotangent goes back to where it came from. */
ebm_ref ebm_sort(ebm_graph *g, ebm_ref x, int axis)
{
    return ebm_take_along(g, x, ebm_argsort(g, x, axis), axis);
}
