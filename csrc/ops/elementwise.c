/* elementwise.c - builders and derivative rules of the elementwise ops. */
#include <math.h>

#include "graph/rules.h"
#include "ops/ops.h"

/* ---- inference --------------------------------------------------------------------------------- */

/* Which element types an op takes. */
enum { TAKES_F = 1, TAKES_I = 2, TAKES_B = 4, TAKES_U = 8, TAKES_ALL = 15 };

static int takes(ebm_op op)
{
    switch (op) {
    case EBM_OP_neg:
    case EBM_OP_abs:
    case EBM_OP_square:
    case EBM_OP_sign:
    case EBM_OP_add:
    case EBM_OP_sub:
    case EBM_OP_mul:
    case EBM_OP_maximum:
    case EBM_OP_minimum:
    case EBM_OP_less:
    case EBM_OP_less_equal: return TAKES_F | TAKES_I;
    case EBM_OP_bit_and:
    case EBM_OP_floordiv:
    case EBM_OP_mod: return TAKES_I;
    case EBM_OP_logical_and:
    case EBM_OP_logical_or:
    case EBM_OP_logical_xor:
    case EBM_OP_logical_not: return TAKES_B;
    case EBM_OP_equal:
    case EBM_OP_select:
    case EBM_OP_cast: return TAKES_ALL;
    default: return TAKES_F;
    }
}

static int class_of(ebm_dtype dtype)
{
    switch (dtype) {
    case EBM_I32: return TAKES_I;
    case EBM_BOOL: return TAKES_B;
    case EBM_U8: return TAKES_U;
    default: return TAKES_F;
    }
}

static const char *expected_text(int classes)
{
    switch (classes) {
    case TAKES_F: return "a float type";
    case TAKES_I: return "i32";
    case TAKES_B: return "bool";
    default: return "a float type or i32";
    }
}

static bool gives_bool(ebm_op op)
{
    return op == EBM_OP_equal || op == EBM_OP_less || op == EBM_OP_less_equal ||
           op == EBM_OP_isfinite;
}

ebm_status ebm__infer_elementwise(const ebm_candidate *c, ebm_dtype *dtype, ebm_shape *shape)
{
    const char *name = ebm_op_get(c->op)->name;
    int32_t first = c->op == EBM_OP_select ? 1 : 0;
    *dtype = ebm_ref_dtype(c->graph, c->in[first]);
    *shape = ebm_ref_shape(c->graph, c->in[0]);
    if (first && ebm_ref_dtype(c->graph, c->in[0]) != EBM_BOOL)
        return ebm_fail(EBM_DTYPE, "select: condition: got %s, expected bool",
                        ebm_dtype_name(ebm_ref_dtype(c->graph, c->in[0])));
    if (!(takes(c->op) & class_of(*dtype)))
        return ebm_fail(EBM_DTYPE, "%s: got %s, expected %s", name, ebm_dtype_name(*dtype),
                        expected_text(takes(c->op)));
    for (int32_t i = 1; i < c->n_in; i++) {
        ebm_dtype other = ebm_ref_dtype(c->graph, c->in[i]);
        if (other != *dtype)
            return ebm_fail(EBM_DTYPE, "%s: element types differ: %s and %s", name,
                            ebm_dtype_name(*dtype), ebm_dtype_name(other));
        ebm_shape with = ebm_ref_shape(c->graph, c->in[i]);
        EBM_CHECK(ebm_shape_equal(&with, shape));
    }
    if (c->op == EBM_OP_cast) {
        EBM_CHECK(c->n_attr == 1 && c->attr[0] >= 0 && c->attr[0] < EBM_DTYPE_COUNT);
        *dtype = (ebm_dtype)c->attr[0];
    }
    if (gives_bool(c->op)) *dtype = EBM_BOOL;
    return EBM_OK;
}

/* ---- builders ---------------------------------------------------------------------------------- */

static ebm_ref unary(ebm_graph *g, ebm_op op, ebm_ref x)
{
    return ebm__push(g, op, &x, 1, NULL, 0);
}

/* Brings the operands to one shape first. */
static ebm_ref together(ebm_graph *g, ebm_op op, const ebm_ref *in, int32_t n)
{
    ebm_ref same[3];
    ebm_shape shape = EBM_SCALAR;
    for (int32_t i = 0; i < n; i++) {
        if (in[i] <= EBM_POISON) return EBM_POISON;
        ebm_shape with = ebm_ref_shape(g, in[i]);
        ebm_status status = ebm_shape_broadcast(&shape, &shape, &with, ebm_op_get(op)->name);
        if (status != EBM_OK) return ebm_graph_failed(g, status);
    }
    for (int32_t i = 0; i < n; i++) same[i] = ebm_broadcast_to(g, in[i], &shape);
    return ebm__push(g, op, same, n, NULL, 0);
}

static ebm_ref binary(ebm_graph *g, ebm_op op, ebm_ref a, ebm_ref b)
{
    const ebm_ref in[] = {a, b};
    return together(g, op, in, 2);
}

/* A constant exponent has a cheaper and exact form. */
static ebm_ref pow_by_constant(ebm_graph *g, ebm_ref a, ebm_ref b)
{
    double p;
    if (a <= EBM_POISON || b <= EBM_POISON || !ebm__constant_value(g, b, &p)) return EBM_NONE;
    ebm_shape shape = ebm_ref_shape(g, a), with = ebm_ref_shape(g, b);
    if (ebm_ref_dtype(g, a) != ebm_ref_dtype(g, b) ||
        ebm_shape_broadcast(&shape, &shape, &with, "pow") != EBM_OK)
        return EBM_NONE;
    ebm_ref x = ebm_broadcast_to(g, a, &shape);
    if (p == 1) return x;
    if (p == 2) return ebm_square(g, x);
    if (p == -1) return ebm_recip(g, x);
    return EBM_NONE;
}

static ebm_ref binary_of(ebm_graph *g, ebm_op op, ebm_ref a, ebm_ref b)
{
    ebm_ref special = op == EBM_OP_pow ? pow_by_constant(g, a, b) : EBM_NONE;
    return special != EBM_NONE ? special : binary(g, op, a, b);
}

#define EW1(id, px) \
    ebm_ref ebm_##id(ebm_graph *g, ebm_ref x) { return unary(g, EBM_OP_##id, x); }
#define EW2(id, pa, pb) \
    ebm_ref ebm_##id(ebm_graph *g, ebm_ref a, ebm_ref b) { return binary_of(g, EBM_OP_##id, a, b); }
#include "graph/ops.def"

#define UNARY(id) \
    ebm_ref ebm_##id(ebm_graph *g, ebm_ref x) { return unary(g, EBM_OP_##id, x); }
#define BINARY(id) \
    ebm_ref ebm_##id(ebm_graph *g, ebm_ref a, ebm_ref b) { return binary(g, EBM_OP_##id, a, b); }
UNARY(sign)
UNARY(floor)
UNARY(ceil)
UNARY(round)
UNARY(isfinite)
UNARY(logical_not)
BINARY(equal)
BINARY(less)
BINARY(less_equal)
BINARY(logical_and)
BINARY(logical_or)
BINARY(logical_xor)
BINARY(bit_and)
BINARY(floordiv)
BINARY(mod)

ebm_ref ebm_select(ebm_graph *g, ebm_ref condition, ebm_ref a, ebm_ref b)
{
    const ebm_ref in[] = {condition, a, b};
    return together(g, EBM_OP_select, in, 3);
}

ebm_ref ebm_cast(ebm_graph *g, ebm_ref x, ebm_dtype dtype)
{
    if (x > EBM_POISON && ebm_ref_dtype(g, x) == dtype) return x;
    int64_t attr = dtype;
    return ebm__push(g, EBM_OP_cast, &x, 1, &attr, 1);
}

ebm_ref ebm_scale(ebm_graph *g, ebm_ref x, double factor)
{
    return ebm_mul(g, x, ebm_scalar_like(g, x, factor));
}

ebm_ref ebm_shift(ebm_graph *g, ebm_ref x, double term)
{
    return ebm_add(g, x, ebm_scalar_like(g, x, term));
}

ebm_ref ebm_clip(ebm_graph *g, ebm_ref x, double low, double high)
{
    if (low > high)
        return ebm_graph_fail(g, EBM_VALUE, "clip: low above high: %g > %g", low, high);
    if (low > -HUGE_VAL) x = ebm_maximum(g, x, ebm_scalar_like(g, x, low));
    if (high < HUGE_VAL) x = ebm_minimum(g, x, ebm_scalar_like(g, x, high));
    return x;
}

/* ---- rules ------------------------------------------------------------------------------------- */

ebm_ref ebm__where_greater(ebm_graph *g, ebm_ref a, ebm_ref b)
{
    return ebm_cast(g, ebm_less(g, b, a), ebm_ref_dtype(g, a));
}

ebm_ref ebm__where_not_greater(ebm_graph *g, ebm_ref a, ebm_ref b)
{
    return ebm_cast(g, ebm_logical_not(g, ebm_less(g, b, a)), ebm_ref_dtype(g, a));
}

/* b a^(b-1), which is 0 for b = 0 also where a^(b-1) is infinite. */
ebm_ref ebm__pow_partial_base(ebm_graph *g, ebm_ref a, ebm_ref b)
{
    ebm_ref zero = ebm_scalar_like(g, b, 0.0);
    ebm_ref slope = ebm_mul(g, b, ebm_pow(g, a, ebm_shift(g, b, -1.0)));
    return ebm_select(g, ebm_equal(g, b, zero), zero, slope);
}

/* a^b log a, which is 0 at a = 0; the log is kept from a <= 0, so that no NaN enters by the side. */
ebm_ref ebm__pow_partial_exponent(ebm_graph *g, ebm_ref a, ebm_ref b, ebm_ref y)
{
    (void)b;
    ebm_ref zero = ebm_scalar_like(g, a, 0.0), one = ebm_scalar_like(g, a, 1.0);
    ebm_ref at_zero = ebm_equal(g, a, zero);
    return ebm_select(g, at_zero, zero,
                      ebm_mul(g, y, ebm_log(g, ebm_select(g, at_zero, one, a))));
}

ebm_ref ebm__partial(ebm_graph *g, const ebm_node *node, ebm_ref y, int32_t i)
{
    ebm_ref x = node->in[0], a = x, b = node->n_in > 1 ? node->in[1] : EBM_POISON;
    (void)x, (void)a, (void)b;
    switch (node->op) {
#define EW1(id, px) \
    case EBM_OP_##id: return (px);
#define EW2(id, pa, pb) \
    case EBM_OP_##id: return i == 0 ? (pa) : (pb);
#include "graph/ops.def"
    default:
        return ebm_graph_fail(g, EBM_INTERNAL, "%s: no partial", ebm_op_get(node->op)->name);
    }
}

ebm_ref ebm__times(ebm_graph *g, ebm_ref ct, ebm_ref partial)
{
    if (partial == EBM_ONE) return ct;
    if (partial == EBM_MINUS_ONE) return ebm_neg(g, ct);
    return ebm_mul(g, ct, partial);
}

/* The side that was not taken gets an exact zero, also where ct is not finite. */
ebm_ref ebm__rule_select(ebm_graph *g, const ebm_node *node, int32_t i, ebm_ref ct)
{
    ebm_ref zero = ebm_scalar_like(g, ct, 0.0);
    return i == 1 ? ebm_select(g, node->in[0], ct, zero) : ebm_select(g, node->in[0], zero, ct);
}

ebm_ref ebm__rule_cast(ebm_graph *g, const ebm_node *node, int32_t i, ebm_ref ct)
{
    return ebm_cast(g, ct, ebm_ref_dtype(g, node->in[i]));
}
