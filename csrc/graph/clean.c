/* clean.c - exact simplifications at the creation of a node.
 *
 * A rule stays only if the result has the same bits for every input, NaN and signed zeros counted:
 * x*1 is x, but x*0 and x+0 are not touched.  Constants are computed in double and rounded once to
 * the dtype, which for + - * / and sqrt of floats gives the same float as a kernel. */
#include <math.h>
#include <string.h>

#include "graph/rules.h"

bool ebm__constant_value(const ebm_graph *graph, ebm_ref ref, double *value)
{
    ebm_node node = ebm_graph_node(graph, ref);
    if (node.op == EBM_OP_broadcast) node = ebm_graph_node(graph, node.in[0]);
    if (node.op != EBM_OP_constant) return false;
    memcpy(value, &node.attr[1], sizeof *value);
    return true;
}

ebm_ref ebm__constant(ebm_graph *graph, ebm_dtype dtype, const ebm_shape *shape, double value)
{
    switch (dtype) {
    case EBM_F32: value = (double)(float)value; break;
    case EBM_I32: value = (double)(int32_t)value; break;
    case EBM_BOOL: value = value != 0; break;
    case EBM_U8: value = (double)(uint8_t)value; break;
    default: break;
    }
    int64_t attr[2] = {dtype, 0};
    memcpy(&attr[1], &value, sizeof value);
    ebm_ref scalar = ebm__push(graph, EBM_OP_constant, NULL, 0, attr, 2);
    if (shape->rank == 0) return scalar;
    int64_t words[1 + EBM_MAX_RANK] = {shape->rank};
    for (int32_t i = 0; i < shape->rank; i++) words[1 + i] = shape->dim[i];
    return ebm__push(graph, EBM_OP_broadcast, &scalar, 1, words, 1 + shape->rank);
}

static bool is_constant(const ebm_candidate *c, int32_t i, double value)
{
    double have;
    return ebm__constant_value(c->graph, c->in[i], &have) && have == value &&
           signbit(have) == signbit(value);
}

/* Arithmetic of float constants; false if this op is left alone. */
static bool fold(ebm_op op, double a, double b, double *y)
{
    switch (op) {
    case EBM_OP_neg: *y = -a; return true;
    case EBM_OP_square: *y = a * a; return true;
    case EBM_OP_recip: *y = 1 / a; return true;
    case EBM_OP_sqrt: *y = sqrt(a); return true;
    case EBM_OP_add: *y = a + b; return true;
    case EBM_OP_sub: *y = a - b; return true;
    case EBM_OP_mul: *y = a * b; return true;
    case EBM_OP_div: *y = a / b; return true;
    default: return false;
    }
}

static ebm_ref fold_constants(ebm_graph *g, const ebm_candidate *c, ebm_dtype dtype,
                              const ebm_shape *shape)
{
    double a = 0, b = 0, y = 0;
    if (!ebm_dtype_is_float(dtype) || c->n_in > 2 || c->n_in < 1) return EBM_NONE;
    if (!ebm__constant_value(g, c->in[0], &a)) return EBM_NONE;
    if (c->n_in == 2 && !ebm__constant_value(g, c->in[1], &b)) return EBM_NONE;
    return fold(c->op, a, b, &y) ? ebm__constant(g, dtype, shape, y) : EBM_NONE;
}

static ebm_ref clean_elementwise(ebm_graph *g, const ebm_candidate *c, ebm_dtype dtype,
                                 const ebm_shape *shape)
{
    ebm_ref folded = fold_constants(g, c, dtype, shape);
    if (folded != EBM_NONE) return folded;
    switch (c->op) {
    case EBM_OP_neg: {
        ebm_node inner = ebm_graph_node(g, c->in[0]);
        return inner.op == EBM_OP_neg ? inner.in[0] : EBM_NONE;
    }
    case EBM_OP_mul:
        if (is_constant(c, 1, 1)) return c->in[0];
        if (is_constant(c, 0, 1)) return c->in[1];
        if (is_constant(c, 1, -1)) return ebm__push(g, EBM_OP_neg, &c->in[0], 1, NULL, 0);
        if (is_constant(c, 0, -1)) return ebm__push(g, EBM_OP_neg, &c->in[1], 1, NULL, 0);
        return EBM_NONE;
    case EBM_OP_div: return is_constant(c, 1, 1) ? c->in[0] : EBM_NONE;
    case EBM_OP_sub: return is_constant(c, 1, 0) ? c->in[0] : EBM_NONE;
    case EBM_OP_select: return c->in[1] == c->in[2] ? c->in[1] : EBM_NONE;
    case EBM_OP_cast: {
        double value;
        bool constant = ebm_dtype_is_float(dtype) && ebm__constant_value(g, c->in[0], &value);
        return constant ? ebm__constant(g, dtype, shape, value) : EBM_NONE;
    }
    default: return EBM_NONE;
    }
}

static bool is_identity(const int64_t *axes, int32_t n)
{
    for (int32_t i = 0; i < n; i++)
        if (axes[i] != i) return false;
    return true;
}

static ebm_ref clean_permute(ebm_graph *g, const ebm_candidate *c)
{
    ebm_node inner = ebm_graph_node(g, c->in[0]);
    if (is_identity(c->attr, c->n_attr)) return c->in[0];
    if (inner.op != EBM_OP_permute) return EBM_NONE;
    int64_t axes[EBM_MAX_RANK];
    for (int32_t i = 0; i < c->n_attr; i++) axes[i] = inner.attr[c->attr[i]];
    return ebm__push(g, EBM_OP_permute, inner.in, 1, axes, c->n_attr);
}

static ebm_ref clean_broadcast(ebm_graph *g, const ebm_candidate *c, const ebm_shape *shape)
{
    ebm_node inner = ebm_graph_node(g, c->in[0]);
    const int64_t *axes = c->attr + 1 + shape->rank;
    if (inner.shape.rank == shape->rank && is_identity(axes, shape->rank)) return c->in[0];
    if (inner.op != EBM_OP_broadcast) return EBM_NONE;
    int64_t attr[1 + 2 * EBM_MAX_RANK];
    int32_t n = 1 + shape->rank;
    memcpy(attr, c->attr, (size_t)n * sizeof *attr);
    const int64_t *inner_axes = inner.attr + 1 + inner.shape.rank;
    int32_t rank = ebm_ref_shape(g, inner.in[0]).rank;
    for (int32_t i = 0; i < rank; i++) attr[n + i] = axes[inner_axes[i]];
    return ebm__push(g, EBM_OP_broadcast, inner.in, 1, attr, n + rank);
}

static bool is_whole_slice(const ebm_candidate *c, const ebm_shape *shape)
{
    ebm_shape x = ebm_ref_shape(c->graph, c->in[0]);
    for (int32_t i = 0; i < shape->rank; i++)
        if (c->attr[3 * i] != 0 || c->attr[3 * i + 1] != 1 || shape->dim[i] != x.dim[i])
            return false;
    return true;
}

static ebm_ref clean_move(ebm_graph *g, const ebm_candidate *c, ebm_dtype dtype,
                          const ebm_shape *shape)
{
    ebm_node inner = c->n_in > 0 ? ebm_graph_node(g, c->in[0]) : (ebm_node){.op = EBM_OP_poison};
    double value;
    bool moves = c->op == EBM_OP_reshape || c->op == EBM_OP_permute || c->op == EBM_OP_slice ||
                 c->op == EBM_OP_stop;
    if (moves && ebm__constant_value(g, c->in[0], &value))
        return ebm__constant(g, dtype, shape, value);
    switch (c->op) {
    case EBM_OP_broadcast: return clean_broadcast(g, c, shape);
    case EBM_OP_reshape:
        if (ebm_shape_equal(&inner.shape, shape)) return c->in[0];
        if (inner.op == EBM_OP_reshape)
            return ebm__push(g, EBM_OP_reshape, inner.in, 1, c->attr, c->n_attr);
        return EBM_NONE;
    case EBM_OP_permute: return clean_permute(g, c);
    case EBM_OP_slice: return is_whole_slice(c, shape) ? c->in[0] : EBM_NONE;
    case EBM_OP_stop: return inner.op == EBM_OP_stop ? c->in[0] : EBM_NONE;
    case EBM_OP_concat: return c->n_in == 1 ? c->in[0] : EBM_NONE;
    default: return EBM_NONE;
    }
}

ebm_ref ebm__clean(ebm_graph *graph, const ebm_candidate *node, ebm_dtype dtype,
                   const ebm_shape *shape)
{
    switch (ebm_op_get(node->op)->family) {
    case EBM_FAMILY_ELEMENTWISE: return clean_elementwise(graph, node, dtype, shape);
    case EBM_FAMILY_MOVE: return clean_move(graph, node, dtype, shape);
    case EBM_FAMILY_REDUCE:
        if ((node->op == EBM_OP_sum || node->op == EBM_OP_max) && node->attr[0] == 0)
            return node->in[0];
        return EBM_NONE;
    default: return EBM_NONE;
    }
}
