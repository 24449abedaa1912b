/* graph.h - a computation written down: values without numbers.
 *
 * A graph is an arena of nodes in single static assignment form.  A node is an int32 ref; inputs
 * come before their users; nothing is ever removed singly.  Creating a node that exists returns the
 * old ref (hash-consing), and a few exact clean-ups happen at creation: x*1, x/1, neg(neg x), chains
 * of reshape and permute, arithmetic of constants.  x*0 is kept: of a NaN it is a NaN.
 *
 * Builders never fail loudly: on an error they keep the first status and message in the graph and
 * return EBM_POISON; any builder given a poisoned ref returns one.  ebm_graph_status asks once. */
#ifndef EBM_GRAPH_GRAPH_H
#define EBM_GRAPH_GRAPH_H

#include "tensor/shape.h"
#include "tensor/tensor.h"

typedef int32_t ebm_ref;
enum { EBM_POISON = 0 };

/* What a rule may answer instead of a ref. */
enum { EBM_NONE = -1, EBM_ONE = -2, EBM_MINUS_ONE = -3 };

typedef enum ebm_op {
#define EW1(id, px) EBM_OP_##id,
#define EW2(id, pa, pb) EBM_OP_##id,
#define LIN(id, n, family) EBM_OP_##id,
#define MULTI(id, n, family) EBM_OP_##id,
#define NON(id, n, family) EBM_OP_##id,
#define GEN(id, n, family) EBM_OP_##id,
#define OWN(id, n, family) EBM_OP_##id,
#define SPECIAL(id, n, family) EBM_OP_##id,
#include "graph/ops.def"
    EBM_OP_COUNT,
    EBM_OP_REGION = EBM_OP_COUNT, /* a fused elementwise region: plans and devices only */
    EBM_OP_REGIONS, /* several regions with one program, beside one another: likewise */
    EBM_OP_PACK     /* the right operand of a product laid out for its kernel: likewise */
} ebm_op;

typedef enum ebm_op_kind {
    EBM_KIND_EW,
    EBM_KIND_LIN,
    EBM_KIND_MULTI,
    EBM_KIND_NON,
    EBM_KIND_GEN,
    EBM_KIND_OWN,
    EBM_KIND_SPECIAL
} ebm_op_kind;
typedef enum ebm_op_family {
    EBM_FAMILY_STRUCTURE,
    EBM_FAMILY_ELEMENTWISE,
    EBM_FAMILY_REDUCE,
    EBM_FAMILY_MOVE,
    EBM_FAMILY_INDEX,
    EBM_FAMILY_MATMUL,
    EBM_FAMILY_CONV,
    EBM_FAMILY_LINALG,
    EBM_FAMILY_SORT,
    EBM_FAMILY_RANDOM
} ebm_op_family;

/* The families that have kernels, by the names that every device gives them: X(elementwise). */
#define EBM_KERNEL_FAMILIES(X) \
    X(elementwise)             \
    X(reduce)                  \
    X(move)                    \
    X(index)                   \
    X(matmul)                  \
    X(conv)                    \
    X(linalg)                  \
    X(sort)                    \
    X(random)

typedef struct ebm_op_info {
    const char *name;
    ebm_op_kind kind;
    ebm_op_family family;
    int32_t n_in; /* -1: any number */
} ebm_op_info;

const ebm_op_info *ebm_op_get(ebm_op op); /* borrowed, never NULL for op < EBM_OP_COUNT */
ebm_op ebm_op_find(const char *name);     /* EBM_OP_COUNT if there is none */

typedef struct ebm_graph ebm_graph;

/* ---- life -------------------------------------------------------------------------------------- */

ebm_status ebm_graph_new(ebm_graph **out);
void ebm_graph_free(ebm_graph *graph); /* its bodies with it; NULL is fine */

/* The first error of any builder since the graph was made; sets the message again. */
ebm_status ebm_graph_status(const ebm_graph *graph);
/* Forgets the error, so that a caller that handled it may go on; refs made before stay valid. */
void ebm_graph_clear(ebm_graph *graph);
/* Records an error and returns EBM_POISON; for builders. */
ebm_ref ebm_graph_fail(ebm_graph *graph, ebm_status code, const char *format, ...)
    EBM_PRINTF(3, 4);
/* Records the failure `code` whose message is already set. */
ebm_ref ebm_graph_failed(ebm_graph *graph, ebm_status code);

/* ---- looking ----------------------------------------------------------------------------------- */

/* A node as seen from outside.  Pointers are borrowed and last until the next builder call. */
typedef struct ebm_node {
    ebm_op op;
    ebm_dtype dtype;
    ebm_shape shape;
    int32_t n_in, n_attr;
    const ebm_ref *in;
    const int64_t *attr;
} ebm_node;

int32_t ebm_graph_count(const ebm_graph *graph); /* refs are 1 .. count-1 */
ebm_node ebm_graph_node(const ebm_graph *graph, ebm_ref ref);
ebm_dtype ebm_ref_dtype(const ebm_graph *graph, ebm_ref ref);
ebm_shape ebm_ref_shape(const ebm_graph *graph, ebm_ref ref);

/* ---- inputs ------------------------------------------------------------------------------------ */

/* A named input, numbered in order of creation.  Names are for people and for states (program/);
 * asking for a name that exists returns the old ref if dtype and shape agree, else fails STATE.
 * A NULL name makes an anonymous one. */
ebm_ref ebm_graph_input(ebm_graph *graph, const char *name, ebm_dtype dtype,
                        const ebm_shape *shape);
/* An input with its value: retained by the graph, bound by every plan of it.  The same tensor gives
 * the same ref.  In a body of `repeat` it is captured by the root and lifted. */
ebm_ref ebm_graph_capture(ebm_graph *graph, ebm_tensor *tensor);

int32_t ebm_graph_n_inputs(const ebm_graph *graph);
ebm_ref ebm_graph_input_ref(const ebm_graph *graph, int32_t index);
const char *ebm_graph_input_name(const ebm_graph *graph, int32_t index); /* may be NULL; borrowed */
ebm_tensor *ebm_graph_input_tensor(const ebm_graph *graph,
                                   int32_t index); /* captured; borrowed or NULL */

/* ---- repeat ------------------------------------------------------------------------------------ */

/* repeat: carry, ys[i] = body(i, carry, xs[i]) for i = 0 .. n-1 (or n-1 .. 0 with `reverse`).
 *
 * open makes the body graph (owned by `graph`) and writes the refs of its inputs: the step number
 * `i` (i32 scalar), the carries as they enter a step, the slice of each xs (leading axis n removed).
 * Values of `graph` used inside the body are brought in by ebm_lift.  close takes the carries as
 * they leave a step (same shapes and dtypes) and the values to stack, and writes refs of `graph`:
 * the last carries, and ys with leading axis n in place i.  A body is immutable after close.
 * n_carry may be 0.  All arrays of refs belong to the caller.  Returns NULL after an error. */
ebm_graph *ebm_repeat_open(ebm_graph *graph, int64_t n, const ebm_ref *carry, int32_t n_carry,
                           const ebm_ref *xs, int32_t n_xs, ebm_ref *i, ebm_ref *carry_in,
                           ebm_ref *xs_in);
void ebm_repeat_close(ebm_graph *body, const ebm_ref *carry_out, const ebm_ref *ys,
                      int32_t n_ys, bool reverse, ebm_ref *carry_last, ebm_ref *ys_stacked);

/* A value of the parent graph (or of an ancestor) as a constant of the body; the same ref each time. */
ebm_ref ebm_lift(ebm_graph *body, const ebm_graph *owner, ebm_ref ref);
ebm_graph *ebm_graph_parent(const ebm_graph *graph); /* NULL for a root */

/* A closed body, for plans: inputs are numbered i, carries, xs, captured, in this order. */
typedef struct ebm_body {
    const ebm_graph *graph;
    int64_t n;
    int32_t n_carry, n_xs, n_captured, n_ys;
    bool reverse;
    const ebm_ref *carry_out; /* n_carry refs of `graph` */
    const ebm_ref *ys;        /* n_ys refs of `graph` */
} ebm_body;
ebm_body ebm_repeat_body(const ebm_graph *graph, ebm_ref repeat);

/* A repeat made for a derivative computes all results of an earlier one, and more: its carries begin
 * with the same carries, its ys with the same ys.  When both are needed a plan runs only the later,
 * which ebm_repeat_twin gives (or EBM_POISON): carry k is its item k, ys j its item n_carry + j. */
ebm_ref ebm_repeat_twin(const ebm_graph *graph, ebm_ref repeat);
void ebm__repeat_set_twin(ebm_graph *graph, ebm_ref repeat, ebm_ref twin);

/* ---- making nodes ------------------------------------------------------------------------------ */

/* The one way a node is made: infers dtype and shape, cleans up, merges.  Builders in ops/ops.h call it. */
ebm_ref ebm__push(ebm_graph *graph, ebm_op op, const ebm_ref *in, int32_t n_in,
                  const int64_t *attr, int32_t n_attr);
/* dtype and shape of a node from its inputs and attributes (ops/ by family); used by push and verify. */
ebm_status ebm__infer(const ebm_graph *graph, ebm_op op, const ebm_ref *in, int32_t n_in,
                      const int64_t *attr, int32_t n_attr, ebm_dtype *dtype, ebm_shape *shape);

/* ---- derivatives (derivative.c) ---------------------------------------------------------------- */

/* Reverse mode: grads[k] = sum_j <cts[j], d outs[j] / d wrt[k]>, in the shape of wrt[k].  wrt must be
 * inputs or marks, or any values: dependence through them is cut at them.  cts NULL means ones.
 * Graph to graph, so it nests with itself and with jvp in any order. */
void ebm_vjp(ebm_graph *graph, const ebm_ref *outs, const ebm_ref *cts, int32_t n_out,
             const ebm_ref *wrt, int32_t n_wrt, ebm_ref *grads);
/* Forward mode: out_tangents[j] = sum_k d outs[j] / d wrt[k] . tangents[k]. */
void ebm_jvp(ebm_graph *graph, const ebm_ref *outs, int32_t n_out, const ebm_ref *wrt,
             const ebm_ref *tangents, int32_t n_wrt, ebm_ref *out_tangents);
/* The gradient of one scalar (or of the sum of `out`) in one value. */
ebm_ref ebm_grad(ebm_graph *graph, ebm_ref out, ebm_ref wrt);

/* ---- checking and reading ---------------------------------------------------------------------- */

/* Every node again: op known, refs in order, dtype and shape as inferred, bodies too.  INTERNAL. */
ebm_status ebm_graph_verify(const ebm_graph *graph);

/* Ref for ref the same nodes, inputs and bodies; captured tensors may hold other numbers. */
bool ebm_graph_same(const ebm_graph *a, const ebm_graph *b);

/* The readable form, in `*out` (owned by the caller: ebm__free), of what `outs` need.
 * ebm_graph_parse reads it back: a new graph and its outputs (*outs owned by the caller); FORMAT.
 * Captured tensors are written as named inputs. */
ebm_status ebm_graph_print(char **out, const ebm_graph *graph, const ebm_ref *outs,
                           int32_t n_out);
ebm_status ebm_graph_parse(ebm_graph **out, ebm_ref **outs, int32_t *n_out, const char *text);

#endif
