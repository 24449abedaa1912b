/* verify.c - every promise of a graph, checked again after the fact. */
#include "base/alloc.h"
#include "graph/rules.h"

static ebm_status verify_node(const ebm_graph *g, ebm_ref r)
{
    ebm_node node = ebm_graph_node(g, r);
    for (int32_t i = 0; i < node.n_in; i++)
        if (node.in[i] <= EBM_POISON || node.in[i] >= r)
            return ebm_fail(EBM_INTERNAL, "graph: %%%d = %s: input %d comes later: %%%d", r,
                            ebm_op_get(node.op)->name, i, node.in[i]);
    ebm_dtype dtype = EBM_F32;
    ebm_shape shape = EBM_SCALAR;
    EBM_TRY(ebm__infer(g, node.op, node.in, node.n_in, node.attr, node.n_attr, &dtype, &shape));
    if (dtype != node.dtype || !ebm_shape_equal(&shape, &node.shape)) {
        char have[128], want[128];
        return ebm_fail(EBM_INTERNAL, "graph: %%%d = %s: is %s %s, inferred %s %s", r,
                        ebm_op_get(node.op)->name, ebm_dtype_name(node.dtype),
                        ebm_shape_text(&node.shape, have, sizeof have), ebm_dtype_name(dtype),
                        ebm_shape_text(&shape, want, sizeof want));
    }
    return EBM_OK;
}

/* The body's inputs must look like what the repeat gives it, and its carries must come back alike. */
static ebm_status verify_repeat(const ebm_graph *g, ebm_ref r)
{
    ebm_node node = ebm_graph_node(g, r);
    ebm_body body = ebm_repeat_body(g, r);
    EBM_CHECK(ebm_graph_parent(body.graph) == g);
    EBM_CHECK(ebm_graph_n_inputs(body.graph) == 1 + node.n_in);
    for (int32_t k = 0; k < node.n_in; k++) {
        ebm_ref inside = ebm_graph_input_ref(body.graph, 1 + k);
        ebm_shape given = ebm_ref_shape(g, node.in[k]), seen = ebm_ref_shape(body.graph, inside);
        if (k >= body.n_carry && k < body.n_carry + body.n_xs)
            given = ebm_shape_of(given.rank - 1, given.dim + 1);
        EBM_CHECK(ebm_ref_dtype(g, node.in[k]) == ebm_ref_dtype(body.graph, inside));
        EBM_CHECK(ebm_shape_equal(&given, &seen));
    }
    for (int32_t k = 0; k < body.n_carry; k++) {
        ebm_shape in = ebm_ref_shape(g, node.in[k]);
        ebm_shape out = ebm_ref_shape(body.graph, body.carry_out[k]);
        EBM_CHECK(ebm_shape_equal(&in, &out));
    }
    return ebm_graph_verify(body.graph);
}

ebm_status ebm_graph_verify(const ebm_graph *graph)
{
    for (ebm_ref r = 1; r < ebm_graph_count(graph); r++) {
        EBM_TRY(verify_node(graph, r));
        if (ebm_graph_node(graph, r).op == EBM_OP_repeat) EBM_TRY(verify_repeat(graph, r));
    }
    return EBM_OK;
}
