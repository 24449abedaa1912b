/* rules.h - what the floor of ops fills in for every row of ops.def.
 *
 * The graph knows no op by name: shapes, derivatives and simpler forms come through these functions,
 * defined beside the builders in ops/.  A row without its function does not link. */
#ifndef EBM_GRAPH_RULES_H
#define EBM_GRAPH_RULES_H

#include "graph/graph.h"

/* A node to be, for inference: its inputs are in `graph`. */
typedef struct ebm_candidate {
    const ebm_graph *graph;
    ebm_op op;
    const ebm_ref *in;
    int32_t n_in;
    const int64_t *attr;
    int32_t n_attr;
} ebm_candidate;

/* dtype and shape by family; every check of a node's inputs and attributes is here.  Each file of ops/
 * has the function of its family. */
typedef ebm_status ebm_infer(const ebm_candidate *node, ebm_dtype *dtype, ebm_shape *shape);
ebm_infer ebm__infer_structure, ebm__infer_elementwise, ebm__infer_reduce, ebm__infer_move,
    ebm__infer_index, ebm__infer_matmul, ebm__infer_conv, ebm__infer_linalg, ebm__infer_sort,
    ebm__infer_random;

/* EW: the partial derivative in input i of the node `y`, or EBM_ONE, EBM_MINUS_ONE. */
ebm_ref ebm__partial(ebm_graph *graph, const ebm_node *node, ebm_ref y, int32_t i);
/* ct * partial, where partial may be EBM_ONE or EBM_MINUS_ONE. */
ebm_ref ebm__times(ebm_graph *graph, ebm_ref ct, ebm_ref partial);

/* SHAPE if n places are more than an i32 tells apart (ops/index.c). */
ebm_status ebm__expect_places(const ebm_candidate *c, int64_t n);

/* LIN and MULTI: the cotangent of input i (a float) for the cotangent ct of the node. */
typedef ebm_ref ebm_rule(ebm_graph *graph, const ebm_node *node, int32_t i, ebm_ref ct);
#define LIN(id, n, family) ebm_rule ebm__rule_##id;
#define MULTI(id, n, family) ebm_rule ebm__rule_##id;
#include "graph/ops.def"

/* GEN: the same value in simpler ops. */
typedef ebm_ref ebm_expand(ebm_graph *graph, const ebm_node *node);
#define GEN(id, n, family) ebm_expand ebm__expand_##id;
#include "graph/ops.def"

/* OWN: the cotangent of input i for the cotangent of the node, whose ref is y; and the tangent of the
 * node for the tangent of input i. */
typedef ebm_ref ebm_own_rule(ebm_graph *graph, const ebm_node *node, ebm_ref y, int32_t i,
                             ebm_ref direction);
#define OWN(id, n, family) ebm_own_rule ebm__vjp_##id, ebm__jvp_##id;
#include "graph/ops.def"

/* repeat (ops/repeat.c).  Arrays have a place for each input, each result (carries, ys); EBM_NONE
 * means no tangent, no cotangent. */
void ebm__repeat_jvp(ebm_graph *graph, ebm_ref repeat, const ebm_ref *in_tangents,
                     ebm_ref *out_tangents);
void ebm__repeat_vjp(ebm_graph *graph, ebm_ref repeat, const ebm_ref *out_cts,
                     const bool *in_active, ebm_ref *in_cts);

/* Exact simplifications at creation (clean.c): a ref that equals the candidate, or EBM_NONE. */
ebm_ref ebm__clean(ebm_graph *graph, const ebm_candidate *node, ebm_dtype dtype,
                   const ebm_shape *shape);

/* A constant of any shape: a scalar node, broadcast. */
ebm_ref ebm__constant(ebm_graph *graph, ebm_dtype dtype, const ebm_shape *shape, double value);
bool ebm__constant_value(const ebm_graph *graph, ebm_ref ref, double *value);

/* active[r] for every ref: r is one of `from`, or depends on one differentiably.  `active` has
 * ebm_graph_count places, zeroed; what is set already counts as a start. */
void ebm__mark_active(const ebm_graph *graph, bool *active);
/* needed[r]: one of the refs that are set already depends on r, by a path of nodes that are all set
 * in `through` (NULL: any path). */
void ebm__mark_needed(const ebm_graph *graph, bool *needed, const bool *through);

/* Copies what `outs` need from `from` into `to`; map[ref of from] = ref of to, given for the inputs
 * and completed here (0 = not yet); outs_to[k] = the copy of outs[k]. */
void ebm__graph_inline(ebm_graph *to, const ebm_graph *from, ebm_ref *map, const ebm_ref *outs,
                       int32_t n_out, ebm_ref *outs_to);

#endif
