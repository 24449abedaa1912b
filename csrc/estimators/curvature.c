#include "estimators/curvature.h"

#include <float.h>

#include "base/alloc.h"
#include "graph/rules.h"
#include "ops/ops.h"

enum { MAX_INPUTS = 4 }; /* of a node that is not linear */

/* What is added to the cotangent of a value: of a, and of b. */
typedef struct kick {
    ebm_ref at, real, imaginary;
} kick;

typedef struct sweep {
    ebm_graph *g;
    ebm_ref e, key;
    int32_t sites; /* drawn from */
    kick *kicks;
    int64_t n, capacity;
} sweep;

/* A node again, with fresh names for those of its inputs that depend on x. */
typedef struct copy {
    ebm_ref y;
    int32_t n;
    ebm_ref at[MAX_INPUTS], mark[MAX_INPUTS];
} copy;

ebm_ref ebm_signs(ebm_graph *g, ebm_ref key, int32_t purpose, ebm_dtype dtype,
                  const ebm_shape *shape)
{
    ebm_ref bits = ebm_random_bits(g, key, purpose, shape);
    ebm_ref bit = ebm_cast(g, ebm_bit_and(g, bits, ebm_scalar(g, EBM_I32, 1.0)), dtype);
    return ebm_shift(g, ebm_scale(g, bit, 2.0), -1.0);
}

/* ---- small parts ------------------------------------------------------------------------- */

static ebm_ref signs_like(sweep *s, ebm_ref like)
{
    if (like == EBM_POISON) return EBM_POISON;
    ebm_shape shape = ebm_ref_shape(s->g, like);
    return ebm_signs(s->g, s->key, s->sites++, ebm_ref_dtype(s->g, like), &shape);
}

static bool is_zero(const ebm_graph *g, ebm_ref x)
{
    double value;
    return x != EBM_POISON && ebm_is_constant(g, x, &value) && value == 0.0;
}

static void add(sweep *s, ebm_ref at, ebm_ref real, ebm_ref imaginary)
{
    ebm_status status = ebm__grow(&s->kicks, &s->capacity, s->n + 1, sizeof *s->kicks);
    if (status == EBM_OK)
        s->kicks[s->n++] = (kick){at, real, imaginary};
    else
        ebm_graph_failed(s->g, status);
}

/* sqrt(m) where m > 0, with a derivative that is finite where it is not. */
static ebm_ref root(ebm_graph *g, ebm_ref m)
{
    if (m == EBM_POISON) return EBM_POISON;
    double epsilon = ebm_ref_dtype(g, m) == EBM_F64 ? DBL_EPSILON : FLT_EPSILON;
    ebm_ref least = ebm_scalar_like(g, m, epsilon * epsilon);
    ebm_ref value = ebm_sqrt(g, ebm_maximum(g, m, least));
    return ebm_select(g, ebm_less(g, least, m), value, ebm_zeros_like(g, m));
}

/* ---- the nodes --------------------------------------------------------------------------- */

/* M = diag(m) in one input. */
static void bend(sweep *s, ebm_ref at, ebm_ref m)
{
    if (is_zero(s->g, m)) return;
    ebm_ref v = signs_like(s, at);
    add(s, at, ebm_mul(s->g, root(s->g, m), v), ebm_mul(s->g, root(s->g, ebm_neg(s->g, m)), v));
}

/* M = m (0 1; 1 0) in two inputs: m / 2 times (1 1; 1 1) - (1 -1; -1 1). */
static void twist(sweep *s, ebm_ref at_a, ebm_ref at_b, ebm_ref m)
{
    ebm_graph *g = s->g;
    if (is_zero(g, m)) return;
    ebm_ref half = ebm_scale(g, m, 0.5), v = signs_like(s, at_a), w = signs_like(s, at_b);
    ebm_ref up = root(g, half), down = root(g, ebm_neg(g, half));
    ebm_ref up_v = ebm_mul(g, up, v), down_v = ebm_mul(g, down, v);
    ebm_ref up_w = ebm_mul(g, up, w), down_w = ebm_mul(g, down, w);
    add(s, at_a, ebm_add(g, up_v, down_w), ebm_add(g, down_v, up_w));
    add(s, at_b, ebm_sub(g, up_v, down_w), ebm_sub(g, down_v, up_w));
}

/* An elementwise function: c times its second partials. */
static void bend_elements(sweep *s, const copy *k, ebm_ref c)
{
    ebm_graph *g = s->g;
    ebm_ref first[MAX_INPUTS], second[MAX_INPUTS][MAX_INPUTS];
    ebm_vjp(g, &k->y, NULL, 1, k->mark, k->n, first);
    for (int32_t i = 0; i < k->n; i++)
        for (int32_t j = i; j < k->n; j++) {
            ebm_ref one = ebm_full_like(g, k->mark[j], 1.0);
            ebm_jvp(g, &first[i], 1, &k->mark[j], &one, 1, &second[i][j]);
            if (!is_zero(g, second[i][j])) second[i][j] = ebm_mul(g, c, second[i][j]);
        }
    for (int32_t i = 0; i < k->n; i++) bend(s, k->at[i], second[i][i]);
    if (k->n == 2) twist(s, k->at[0], k->at[1], second[0][1]);
}

/* Any function: S and its transpose are v and M v, which is a = (v + M v) / 2 and
 * b = (v - M v) / 2, for a a' - b b' = (v (M v)' + (M v) v') / 2. */
static void bend_whole(sweep *s, const copy *k, ebm_ref c)
{
    ebm_graph *g = s->g;
    ebm_ref first[MAX_INPUTS], v[MAX_INPUTS], turned[MAX_INPUTS];
    ebm_vjp(g, &k->y, &c, 1, k->mark, k->n, first);
    for (int32_t i = 0; i < k->n; i++) v[i] = signs_like(s, k->at[i]);
    ebm_jvp(g, first, k->n, k->mark, v, k->n, turned);
    bool straight = true;
    for (int32_t i = 0; i < k->n; i++) straight = straight && is_zero(g, turned[i]);
    for (int32_t i = 0; i < k->n && !straight; i++) {
        ebm_ref one = ebm_scale(g, v[i], 0.5), other = ebm_scale(g, turned[i], 0.5);
        add(s, k->at[i], ebm_add(g, one, other), ebm_sub(g, one, other));
    }
}

/* The slope that is grafted on is code of the input, element by element. */
static void bend_graft(sweep *s, const ebm_ref *in, ebm_ref c)
{
    ebm_ref one = ebm_full_like(s->g, in[1], 1.0), second;
    ebm_jvp(s->g, &in[2], 1, &in[1], &one, 1, &second);
    bend(s, in[1], is_zero(s->g, second) ? second : ebm_mul(s->g, c, second));
}

static copy copy_node(ebm_graph *g, const ebm_node *node, const bool *active)
{
    ebm_op op = node->op;
    ebm_ref in[MAX_INPUTS];
    int64_t attr[EBM_CONV_ATTRS + 2 * EBM_MAX_RANK];
    int32_t n_in = node->n_in, n_attr = node->n_attr;
    copy k = {0};
    if (n_in > MAX_INPUTS || n_attr > (int32_t)(sizeof attr / sizeof *attr)) {
        ebm_graph_fail(g, EBM_INTERNAL, "curvature: %s: too large", ebm_op_get(op)->name);
        return k;
    }
    for (int32_t i = 0; i < n_in; i++) in[i] = node->in[i];
    for (int32_t i = 0; i < n_attr; i++) attr[i] = node->attr[i];
    for (int32_t i = 0; i < n_in; i++) {
        if (!active[in[i]]) continue;
        k.at[k.n] = in[i];
        in[i] = k.mark[k.n++] = ebm_mark(g, in[i]);
    }
    k.y = ebm__push(g, op, in, n_in, attr, n_attr);
    return k;
}

static void visit(sweep *s, ebm_ref r, const bool *active)
{
    ebm_graph *g = s->g;
    ebm_node node = ebm_graph_node(g, r);
    ebm_op_kind kind = ebm_op_get(node.op)->kind;
    if (kind == EBM_KIND_LIN || kind == EBM_KIND_NON) return;
    if (kind == EBM_KIND_SPECIAL) {
        ebm_graph_fail(g, EBM_UNSUPPORTED,
                       "curvature: energy: got one with a loop, expected none (sliced_vr takes "
                       "any energy)");
        return;
    }
    if (node.op == EBM_OP_graft && !active[node.in[1]]) return;
    ebm_ref graft[3] = {node.in[0]};
    if (node.op == EBM_OP_graft) graft[1] = node.in[1], graft[2] = node.in[2];
    copy k = node.op == EBM_OP_graft ? (copy){0} : copy_node(g, &node, active);
    if (kind == EBM_KIND_MULTI && k.n < 2) return;
    ebm_ref c = ebm_grad(g, s->e, r);
    if (is_zero(g, c)) return;
    if (node.op == EBM_OP_graft)
        bend_graft(s, graft, c);
    else if (kind == EBM_KIND_EW)
        bend_elements(s, &k, c);
    else
        bend_whole(s, &k, c);
}

/* ---- the whole --------------------------------------------------------------------------- */

/* |part of S|^2 of each row. */
static ebm_ref squares(const sweep *s, ebm_ref x, bool imaginary)
{
    ebm_ref *at = ebm__alloc(2 * (size_t)s->n + 1, sizeof *at), sum = EBM_POISON;
    if (!at) return ebm_graph_failed(s->g, EBM_NOMEM);
    ebm_ref *with = at + s->n;
    for (int64_t k = 0; k < s->n; k++) {
        at[k] = s->kicks[k].at;
        with[k] = imaginary ? s->kicks[k].imaginary : s->kicks[k].real;
    }
    ebm_vjp(s->g, at, with, (int32_t)s->n, &x, 1, &sum);
    ebm__free(at);
    return ebm_sum_rows(s->g, ebm_square(s->g, sum));
}

ebm_ref ebm_curvature_trace(ebm_graph *g, ebm_ref e, ebm_ref x, ebm_ref key)
{
    if (e == EBM_POISON || x == EBM_POISON || key == EBM_POISON) return EBM_POISON;
    size_t count = (size_t)e + 1;
    sweep s = {.g = g, .e = e, .key = key};
    bool *active = ebm__alloc(2 * (size_t)ebm_graph_count(g), sizeof *active);
    if (!active) return ebm_graph_failed(g, EBM_NOMEM);
    bool *needed = active + ebm_graph_count(g);
    active[x] = needed[e] = true;
    ebm__mark_active(g, active);
    ebm__mark_needed(g, needed, active);
    for (ebm_ref r = 1; r < (ebm_ref)count && ebm_graph_status(g) == EBM_OK; r++)
        if (r != x && active[r] && needed[r]) visit(&s, r, active);
    ebm_ref trace = ebm_sub(g, squares(&s, x, false), squares(&s, x, true));
    ebm__free(active);
    ebm__free(s.kicks);
    return trace;
}
