/* linalg.c - builders and rules of matrices: Cholesky, triangular systems, LU, eigenvectors.
 *
 * In the rules ' is the transposition, L the lower triangle with half the diagonal of a matrix,
 * and S (M + M') / 2. */
#include "graph/rules.h"
#include "ops/ops.h"

/* ---- inference --------------------------------------------------------------------------------- */

static ebm_status expect_square(const ebm_candidate *c)
{
    ebm_dtype dtype = ebm_ref_dtype(c->graph, c->in[0]);
    ebm_shape a = ebm_ref_shape(c->graph, c->in[0]);
    if (ebm_dtype_is_float(dtype) && a.rank >= 2 && a.dim[a.rank - 2] == a.dim[a.rank - 1])
        return EBM_OK;
    char text[128];
    return ebm_fail(ebm_dtype_is_float(dtype) ? EBM_SHAPE : EBM_DTYPE,
                    "%s: got %s %s, expected square matrices (..., n, n) of a float type",
                    ebm_op_get(c->op)->name, ebm_dtype_name(dtype),
                    ebm_shape_text(&a, text, sizeof text));
}

/* a (..., n, n) and b (..., n, m), with equal axes in front; *shape goes from a's to b's. */
static ebm_status infer_system(const ebm_candidate *c, ebm_dtype dtype, ebm_shape *shape)
{
    ebm_shape a = *shape, b = ebm_ref_shape(c->graph, c->in[1]);
    ebm_dtype other = ebm_ref_dtype(c->graph, c->in[1]);
    bool fits = b.rank == a.rank && dtype == other;
    for (int32_t i = 0; fits && i < a.rank - 1; i++) fits = b.dim[i] == a.dim[i];
    *shape = b;
    if (fits) return EBM_OK;
    char ta[128], tb[128];
    return ebm_fail(dtype == other ? EBM_SHAPE : EBM_DTYPE,
                    "%s: got %s %s and %s %s, expected (..., n, n) and (..., n, m)",
                    ebm_op_get(c->op)->name, ebm_dtype_name(dtype),
                    ebm_shape_text(&a, ta, sizeof ta), ebm_dtype_name(other),
                    ebm_shape_text(&b, tb, sizeof tb));
}

ebm_status ebm__infer_linalg(const ebm_candidate *c, ebm_dtype *dtype, ebm_shape *shape)
{
    EBM_TRY(expect_square(c));
    *dtype = ebm_ref_dtype(c->graph, c->in[0]);
    *shape = ebm_ref_shape(c->graph, c->in[0]);
    EBM_CHECK(c->n_attr == (c->op == EBM_OP_solve_triangular ? 2 : c->op == EBM_OP_solve));
    switch (c->op) {
    case EBM_OP_cholesky: return EBM_OK;
    case EBM_OP_slogdet: shape->dim[--shape->rank - 1] = 2; return EBM_OK;
    case EBM_OP_eigh: shape->dim[shape->rank - 2]++; return EBM_OK;
    default: return infer_system(c, *dtype, shape);
    }
}

/* ---- builders ---------------------------------------------------------------------------------- */

ebm_ref ebm_cholesky(ebm_graph *g, ebm_ref a)
{
    return ebm__push(g, EBM_OP_cholesky, &a, 1, NULL, 0);
}

ebm_ref ebm_slogdet(ebm_graph *g, ebm_ref a)
{
    return ebm__push(g, EBM_OP_slogdet, &a, 1, NULL, 0);
}

ebm_ref ebm_eigh(ebm_graph *g, ebm_ref a)
{
    return ebm__push(g, EBM_OP_eigh, &a, 1, NULL, 0);
}

/* One matrix and a batch of right-hand sides: (..., n, m) as (n, ... m), so that a is factored
 * once, and the solution back. */
static ebm_ref solve_side_by_side(ebm_graph *g, ebm_op op, ebm_ref a, ebm_ref b,
                                  const int64_t *attr, int32_t n_attr)
{
    ebm_shape shape = ebm_ref_shape(g, b);
    int32_t rank = shape.rank;
    int64_t there[EBM_MAX_RANK] = {rank - 2}, back[EBM_MAX_RANK];
    for (int32_t i = 1; i < rank; i++) there[i] = i - 1;
    there[rank - 1] = rank - 1;
    for (int32_t i = 0; i < rank; i++) back[there[i]] = i;
    ebm_ref front = ebm_permute(g, b, there);
    ebm_shape wide = ebm_ref_shape(g, front), flat = EBM_DIMS(wide.dim[0], 1);
    for (int32_t i = 1; i < rank; i++) flat.dim[1] *= wide.dim[i];
    const ebm_ref in[] = {a, ebm_reshape(g, front, &flat)};
    ebm_ref x = ebm__push(g, op, in, 2, attr, n_attr);
    return ebm_permute(g, ebm_reshape(g, x, &wide), back);
}

static ebm_ref solve_system(ebm_graph *g, ebm_op op, ebm_ref a, ebm_ref b, const int64_t *attr,
                            int32_t n_attr)
{
    if (a <= EBM_POISON || b <= EBM_POISON) return EBM_POISON;
    int32_t rank_a = ebm_ref_shape(g, a).rank, rank_b = ebm_ref_shape(g, b).rank;
    if (rank_a == 2 && rank_b > 2) return solve_side_by_side(g, op, a, b, attr, n_attr);
    if (rank_a > 2 && rank_b >= 2) {
        ebm_status status = ebm__broadcast_matrices(g, &a, &b, ebm_op_get(op)->name);
        if (status != EBM_OK) return ebm_graph_failed(g, status);
    }
    const ebm_ref in[] = {a, b};
    return ebm__push(g, op, in, 2, attr, n_attr);
}

ebm_ref ebm_solve_triangular(ebm_graph *g, ebm_ref a, ebm_ref b, bool lower, bool transposed)
{
    const int64_t attr[] = {lower, transposed};
    return solve_system(g, EBM_OP_solve_triangular, a, b, attr, 2);
}

static ebm_ref solve(ebm_graph *g, ebm_ref a, ebm_ref b, bool transposed)
{
    return solve_system(g, EBM_OP_solve, a, b, &(int64_t){transposed}, 1);
}

ebm_ref ebm_solve(ebm_graph *g, ebm_ref a, ebm_ref b)
{
    return solve(g, a, b, false);
}

/* Rows, columns: (n, n) integers for a (..., n, n). */
static ebm_ref places(ebm_graph *g, ebm_ref a, int axis)
{
    if (a <= EBM_POISON) return EBM_POISON;
    ebm_shape shape = ebm_ref_shape(g, a);
    int64_t n = shape.dim[shape.rank - 1];
    shape = EBM_DIMS(n, n);
    return ebm_iota(g, EBM_I32, &shape, axis);
}

static ebm_ref inverse(ebm_graph *g, ebm_ref a, bool transposed)
{
    if (a <= EBM_POISON) return EBM_POISON;
    ebm_shape shape = ebm_ref_shape(g, a);
    if (shape.rank < 2) return solve(g, a, a, transposed); /* fails, with the shape */
    ebm_ref one = ebm_cast(g, ebm_equal(g, places(g, a, 0), places(g, a, 1)),
                           ebm_ref_dtype(g, a));
    return solve(g, a, ebm_broadcast_to(g, one, &shape), transposed);
}

ebm_ref ebm_inv(ebm_graph *g, ebm_ref a)
{
    return inverse(g, a, false);
}

/* Result k of slogdet. */
static ebm_ref part(ebm_graph *g, ebm_ref y, int64_t k)
{
    if (y <= EBM_POISON) return EBM_POISON;
    ebm_shape shape = ebm_ref_shape(g, y);
    ebm_ref one = ebm_slice_axis(g, y, -1, k, 1);
    shape.rank--;
    return ebm_reshape(g, one, &shape);
}

ebm_ref ebm_det(ebm_graph *g, ebm_ref a)
{
    ebm_ref y = ebm_slogdet(g, a);
    return ebm_mul(g, part(g, y, 0), ebm_exp(g, part(g, y, 1)));
}

/* ---- parts of rules ---------------------------------------------------------------------------- */

static ebm_ref triangle(ebm_graph *g, ebm_ref x, bool lower)
{
    ebm_ref rows = places(g, x, 0), columns = places(g, x, 1);
    ebm_ref inside = lower ? ebm_less_equal(g, columns, rows) : ebm_less_equal(g, rows, columns);
    return ebm_select(g, inside, x, ebm_scalar_like(g, x, 0.0));
}

static ebm_ref half_diagonal(ebm_graph *g, ebm_ref x) /* L */
{
    ebm_ref diagonal = ebm_equal(g, places(g, x, 0), places(g, x, 1));
    return triangle(g, ebm_select(g, diagonal, ebm_scale(g, x, 0.5), x), true);
}

static ebm_ref symmetric(ebm_graph *g, ebm_ref x) /* S */
{
    return ebm_scale(g, ebm_add(g, x, ebm_transpose(g, x)), 0.5);
}

static ebm_ref product(ebm_graph *g, ebm_ref a, ebm_ref b)
{
    return ebm_matmul_ex(g, a, b, false, false);
}

/* ---- rules ------------------------------------------------------------------------------------- */

/* With a = y y':  y^-1 S(t) y'^-1 = M + M' with M = L(y^-1 S(t) y'^-1), and the tangent is y M
 * (Murray 2016, arXiv 1602.07527).  The transpose of that is S(y'^-1 L(y' ct) y^-1). */
ebm_ref ebm__jvp_cholesky(ebm_graph *g, const ebm_node *node, ebm_ref y, int32_t i, ebm_ref t)
{
    (void)node, (void)i;
    ebm_ref left = ebm_solve_triangular(g, y, symmetric(g, t), true, false);
    ebm_ref both = ebm_solve_triangular(g, y, ebm_transpose(g, left), true, false);
    return product(g, y, half_diagonal(g, both));
}

ebm_ref ebm__vjp_cholesky(ebm_graph *g, const ebm_node *node, ebm_ref y, int32_t i, ebm_ref ct)
{
    (void)node, (void)i;
    ebm_ref inner = half_diagonal(g, ebm_matmul_ex(g, y, ct, true, false));
    ebm_ref left = ebm_solve_triangular(g, y, inner, true, true);
    ebm_ref both = ebm_solve_triangular(g, y, ebm_transpose(g, left), true, true);
    return symmetric(g, both);
}

/* The op again, for another right-hand side and perhaps the transposed matrix. */
static ebm_ref solve_again(ebm_graph *g, const ebm_node *node, ebm_ref b, bool adjoint)
{
    ebm_ref a = node->in[0];
    if (node->op == EBM_OP_solve) return solve(g, a, b, (node->attr[0] != 0) != adjoint);
    return ebm_solve_triangular(g, a, b, node->attr[0] != 0, (node->attr[1] != 0) != adjoint);
}

/* What of a matrix in the place of a is read. */
static ebm_ref part_read(ebm_graph *g, const ebm_node *node, ebm_ref x)
{
    return node->op == EBM_OP_solve ? x : triangle(g, x, node->attr[0] != 0);
}

static bool is_transposed(const ebm_node *node)
{
    return node->attr[node->n_attr - 1] != 0;
}

/* a y = b:  a' ct_b = ct and ct_a = -ct_b y';  the tangent is a^-1 (t_b - t_a y). */
static ebm_ref vjp_system(ebm_graph *g, const ebm_node *node, ebm_ref y, int32_t i, ebm_ref ct)
{
    ebm_ref ct_b = solve_again(g, node, ct, true);
    if (i == 1) return ct_b;
    ebm_ref ct_a = is_transposed(node) ? ebm_matmul_ex(g, y, ct_b, false, true)
                                       : ebm_matmul_ex(g, ct_b, y, false, true);
    return part_read(g, node, ebm_neg(g, ct_a));
}

static ebm_ref jvp_system(ebm_graph *g, const ebm_node *node, ebm_ref y, int32_t i, ebm_ref t)
{
    if (i == 1) return solve_again(g, node, t, false);
    ebm_ref moved = ebm_matmul_ex(g, part_read(g, node, t), y, is_transposed(node), false);
    return ebm_neg(g, solve_again(g, node, moved, false));
}

ebm_ref ebm__vjp_solve_triangular(ebm_graph *g, const ebm_node *node, ebm_ref y, int32_t i,
                                  ebm_ref ct)
{
    return vjp_system(g, node, y, i, ct);
}

ebm_ref ebm__jvp_solve_triangular(ebm_graph *g, const ebm_node *node, ebm_ref y, int32_t i,
                                  ebm_ref t)
{
    return jvp_system(g, node, y, i, t);
}

ebm_ref ebm__vjp_solve(ebm_graph *g, const ebm_node *node, ebm_ref y, int32_t i, ebm_ref ct)
{
    return vjp_system(g, node, y, i, ct);
}

ebm_ref ebm__jvp_solve(ebm_graph *g, const ebm_node *node, ebm_ref y, int32_t i, ebm_ref t)
{
    return jvp_system(g, node, y, i, t);
}

/* d log |det a| = sum of a'^-1 da; the sign is constant. */
ebm_ref ebm__vjp_slogdet(ebm_graph *g, const ebm_node *node, ebm_ref y, int32_t i, ebm_ref ct)
{
    (void)y, (void)i;
    ebm_ref weight = ebm_expand_dims(g, ebm_slice_axis(g, ct, -1, 1, 1), -1);
    return ebm_mul(g, weight, inverse(g, node->in[0], true));
}

ebm_ref ebm__jvp_slogdet(ebm_graph *g, const ebm_node *node, ebm_ref y, int32_t i, ebm_ref t)
{
    (void)i;
    ebm_shape shape = ebm_ref_shape(g, y), one = shape;
    int64_t start[EBM_MAX_RANK] = {0}, step[EBM_MAX_RANK];
    for (int32_t k = 0; k < shape.rank; k++) step[k] = 1;
    start[shape.rank - 1] = one.dim[shape.rank - 1] = 1;
    ebm_ref terms = ebm_mul(g, inverse(g, node->in[0], true), t);
    ebm_ref sum = ebm_sum(g, terms, INT64_C(3) << (shape.rank - 1), false);
    return ebm_pad(g, ebm_reshape(g, sum, &one), start, step, &shape);
}

static ebm_ref no_derivative(ebm_graph *g)
{
    return ebm_graph_fail(g, EBM_UNSUPPORTED,
                          "eigh: eigenvalues and vectors have no derivative: "
                          "wrap them, or the matrix, in ebm.stop_gradient");
}

ebm_ref ebm__vjp_eigh(ebm_graph *g, const ebm_node *node, ebm_ref y, int32_t i, ebm_ref ct)
{
    (void)node, (void)y, (void)i, (void)ct;
    return no_derivative(g);
}

ebm_ref ebm__jvp_eigh(ebm_graph *g, const ebm_node *node, ebm_ref y, int32_t i, ebm_ref t)
{
    (void)node, (void)y, (void)i, (void)t;
    return no_derivative(g);
}
