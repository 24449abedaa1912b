/* composite_loss.c - losses of an element or a row, made of ops; none of them is reduced. */
#include "ops/ops.h"

ebm_ref ebm_huber(ebm_graph *g, ebm_ref x, double delta)
{
    if (!(delta > 0))
        return ebm_graph_fail(g, EBM_VALUE, "huber: delta: got %g, expected > 0", delta);
    ebm_ref size = ebm_abs(g, x), limit = ebm_scalar_like(g, x, delta);
    ebm_ref inside = ebm_scale(g, ebm_square(g, x), 0.5);
    ebm_ref outside = ebm_scale(g, ebm_shift(g, size, -0.5 * delta), delta);
    return ebm_select(g, ebm_less_equal(g, size, limit), inside, outside);
}

ebm_ref ebm_cross_entropy(ebm_graph *g, ebm_ref logits, ebm_ref labels)
{
    if (logits <= EBM_POISON || labels <= EBM_POISON) return EBM_POISON;
    ebm_shape shape = ebm_ref_shape(g, logits), own = ebm_ref_shape(g, labels);
    ebm_shape rows = shape;
    rows.rank--;
    if (shape.rank < 1 || !ebm_shape_equal(&rows, &own)) {
        char text[128], got[128];
        return ebm_graph_fail(
            g, EBM_SHAPE, "cross_entropy: logits %s, labels %s: expected (..., K) and (...)",
            ebm_shape_text(&shape, text, sizeof text), ebm_shape_text(&own, got, sizeof got));
    }
    ebm_ref places = ebm_iota(g, EBM_I32, &shape, rows.rank);
    ebm_ref chosen = ebm_equal(g, places, ebm_expand_dims(g, labels, rows.rank));
    ebm_ref log_p = ebm_log_softmax(g, logits, -1);
    ebm_ref at_label = ebm_select(g, chosen, log_p, ebm_zeros_like(g, log_p));
    return ebm_neg(g, ebm_sum(g, at_label, INT64_C(1) << rows.rank, false));
}

ebm_ref ebm_bce_with_logits(ebm_graph *g, ebm_ref x, ebm_ref y)
{
    return ebm_sub(g, ebm_softplus(g, x), ebm_mul(g, x, y));
}

ebm_ref ebm_kl_normal(ebm_graph *g, ebm_ref m, ebm_ref l, ebm_ref n, ebm_ref k)
{
    ebm_ref distance = ebm_mul(g, ebm_square(g, ebm_sub(g, m, n)), ebm_exp(g, ebm_neg(g, k)));
    ebm_ref ratio = ebm_sub(g, l, k);
    ebm_ref terms = ebm_add(g, ebm_sub(g, ebm_exp(g, ratio), ratio),
                            ebm_shift(g, distance, -1.0));
    if (terms <= EBM_POISON) return EBM_POISON;
    int32_t rank = ebm_ref_shape(g, terms).rank;
    if (rank < 1)
        return ebm_graph_fail(g, EBM_SHAPE, "kl_normal: got scalars, expected (..., D)");
    return ebm_scale(g, ebm_sum(g, terms, INT64_C(1) << (rank - 1), false), 0.5);
}
