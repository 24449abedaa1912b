/* matmul.c - builder and rule of the matrix product. */
#include "graph/rules.h"
#include "ops/ops.h"

static ebm_status misfit(const char *what, const ebm_shape *a, const ebm_shape *b, bool ta,
                         bool tb)
{
    char sa[128], sb[128];
    return ebm_fail(EBM_SHAPE, "matmul: %s: %s%s @ %s%s", what, ebm_shape_text(a, sa, sizeof sa),
                    ta ? "'" : "", ebm_shape_text(b, sb, sizeof sb), tb ? "'" : "");
}

ebm_status ebm__infer_matmul(const ebm_candidate *c, ebm_dtype *dtype, ebm_shape *shape)
{
    EBM_CHECK(c->n_attr == 2);
    bool ta = c->attr[0] != 0, tb = c->attr[1] != 0;
    ebm_shape a = ebm_ref_shape(c->graph, c->in[0]), b = ebm_ref_shape(c->graph, c->in[1]);
    *dtype = ebm_ref_dtype(c->graph, c->in[0]);
    ebm_dtype other = ebm_ref_dtype(c->graph, c->in[1]);
    if (!ebm_dtype_is_float(*dtype) || other != *dtype)
        return ebm_fail(EBM_DTYPE, "matmul: got %s @ %s, expected one float type",
                        ebm_dtype_name(*dtype), ebm_dtype_name(other));
    if (a.rank < 2 || a.rank != b.rank)
        return misfit("ranks differ or are below 2", &a, &b, ta, tb);
    for (int32_t i = 0; i < a.rank - 2; i++)
        if (a.dim[i] != b.dim[i]) return misfit("batch axes differ", &a, &b, ta, tb);
    int64_t m = a.dim[a.rank - (ta ? 1 : 2)], ka = a.dim[a.rank - (ta ? 2 : 1)];
    int64_t n = b.dim[b.rank - (tb ? 2 : 1)], kb = b.dim[b.rank - (tb ? 1 : 2)];
    if (ka != kb) return misfit("inner sizes differ", &a, &b, ta, tb);
    *shape = a;
    shape->dim[a.rank - 2] = m;
    shape->dim[a.rank - 1] = n;
    return EBM_OK;
}

/* A permutation of the last two axes under a product becomes its flag. */
static bool is_transpose(const ebm_node *node)
{
    int32_t n = node->n_attr;
    if (node->op != EBM_OP_permute || n < 2) return false;
    for (int32_t i = 0; i < n - 2; i++)
        if (node->attr[i] != i) return false;
    return node->attr[n - 1] == n - 2;
}

ebm_ref ebm_matmul_ex(ebm_graph *g, ebm_ref a, ebm_ref b, bool ta, bool tb)
{
    if (a <= EBM_POISON || b <= EBM_POISON) return EBM_POISON;
    ebm_node na = ebm_graph_node(g, a), nb = ebm_graph_node(g, b);
    if (is_transpose(&na)) {
        a = na.in[0];
        ta = !ta;
    }
    if (is_transpose(&nb)) {
        b = nb.in[0];
        tb = !tb;
    }
    const ebm_ref in[] = {a, b};
    const int64_t attr[] = {ta, tb};
    return ebm__push(g, EBM_OP_matmul, in, 2, attr, 2);
}

/* (..., M, K) @ (K, N) as one product of (... M, K). */
static ebm_ref stacked(ebm_graph *g, ebm_ref a, ebm_ref b)
{
    ebm_shape shape = ebm_ref_shape(g, a),
              flat = {.rank = 2, .dim = {1, shape.dim[shape.rank - 1]}};
    for (int32_t i = 0; i < shape.rank - 1; i++) flat.dim[0] *= shape.dim[i];
    ebm_ref y = ebm_matmul_ex(g, ebm_reshape(g, a, &flat), b, false, false);
    if (y <= EBM_POISON) return y;
    shape.dim[shape.rank - 1] = ebm_ref_shape(g, y).dim[1];
    return ebm_reshape(g, y, &shape);
}

ebm_status ebm__broadcast_matrices(ebm_graph *g, ebm_ref *a, ebm_ref *b, const char *what)
{
    ebm_shape sa = ebm_ref_shape(g, *a), sb = ebm_ref_shape(g, *b), lead;
    ebm_shape la = ebm_shape_of(sa.rank - 2, sa.dim), lb = ebm_shape_of(sb.rank - 2, sb.dim);
    EBM_TRY(ebm_shape_broadcast(&lead, &la, &lb, what));
    ebm_shape fa = lead, fb = lead;
    for (int i = 2; i > 0; i--) {
        fa.dim[fa.rank++] = sa.dim[sa.rank - i];
        fb.dim[fb.rank++] = sb.dim[sb.rank - i];
    }
    *a = ebm_broadcast_to(g, *a, &fa);
    *b = ebm_broadcast_to(g, *b, &fb);
    return EBM_OK;
}

ebm_ref ebm_matmul(ebm_graph *g, ebm_ref a, ebm_ref b)
{
    if (a <= EBM_POISON || b <= EBM_POISON) return EBM_POISON;
    ebm_shape sa = ebm_ref_shape(g, a), sb = ebm_ref_shape(g, b);
    if (sa.rank < 2 || sb.rank < 2)
        return ebm_graph_failed(g, misfit("ranks below 2", &sa, &sb, false, false));
    if (sa.rank > 2 && sb.rank == 2) return stacked(g, a, b);
    ebm_status status = ebm__broadcast_matrices(g, &a, &b, "matmul");
    if (status != EBM_OK) return ebm_graph_failed(g, status);
    return ebm_matmul_ex(g, a, b, false, false);
}

/* With A = a or a', B = b or b':  ct_A = ct B',  ct_B = A' ct, each written in the stored order. */
ebm_ref ebm__rule_matmul(ebm_graph *g, const ebm_node *node, int32_t i, ebm_ref ct)
{
    ebm_ref a = node->in[0], b = node->in[1];
    bool ta = node->attr[0] != 0, tb = node->attr[1] != 0;
    if (i == 0)
        return ta ? ebm_matmul_ex(g, b, ct, tb, true) : ebm_matmul_ex(g, ct, b, false, !tb);
    return tb ? ebm_matmul_ex(g, ct, a, true, ta) : ebm_matmul_ex(g, a, ct, !ta, false);
}
