#include "networks/density.h"

#include <math.h>

#include "networks/energy.h"

ebm_ref ebm_log_normal(ebm_graph *g, ebm_ref u)
{
    if (u == EBM_POISON) return EBM_POISON;
    ebm_shape shape = ebm_ref_shape(g, u);
    int64_t size = 1;
    for (int32_t i = 1; i < shape.rank; i++) size *= shape.dim[i];
    ebm_ref squares = ebm_sum_rows(g, ebm_square(g, u));
    return ebm_shift(g, ebm_scale(g, squares, -0.5), -0.5 * EBM_LOG_2_PI * (double)size);
}

ebm_ref ebm_log_logistic(ebm_graph *g, ebm_ref u)
{
    ebm_ref both = ebm_add(g, ebm_softplus(g, u), ebm_softplus(g, ebm_neg(g, u)));
    return ebm_neg(g, ebm_sum_rows(g, both));
}

/* -log Phi(-b) of b from about BEND on, by its continued fraction (Laplace):
 * Phi(-b) = phi(b) / (b + 1 / (b + 2 / (b + ...))). */
enum { BEND = 3, LEVELS = 16 };
static ebm_ref far_out(ebm_graph *g, ebm_ref b)
{
    ebm_ref f = b;
    for (int k = LEVELS; k > 0; k--)
        f = ebm_add(g, b, ebm_div(g, ebm_scalar_like(g, b, (double)k), f));
    ebm_ref half = ebm_scale(g, ebm_square(g, b), 0.5);
    return ebm_shift(g, ebm_add(g, half, ebm_log(g, f)), 0.5 * EBM_LOG_2_PI);
}

/* Up to BEND by erf, whose 1 - erf has too few digits behind it.  Each half is cut off where the
 * other one counts, so that slopes at BEND are those of what is taken. */
ebm_ref ebm_logistic_of_normal(ebm_graph *g, ebm_ref z)
{
    if (z == EBM_POISON) return EBM_POISON;
    ebm_ref size = ebm_abs(g, z), cut = ebm_clip(g, z, -BEND - 1, BEND + 1);
    ebm_ref t = ebm_erf(g, ebm_scale(g, cut, sqrt(0.5)));
    ebm_ref near = ebm_sub(g, ebm_log1p(g, t), ebm_log1p(g, ebm_neg(g, t)));
    ebm_ref log_q = far_out(g, ebm_maximum(g, size, ebm_scalar_like(g, z, BEND - 1)));
    ebm_ref far = ebm_add(g, log_q, ebm_log1p(g, ebm_neg(g, ebm_exp(g, ebm_neg(g, log_q)))));
    ebm_ref below = ebm_less(g, z, ebm_scalar_like(g, z, 0.0));
    far = ebm_select(g, below, ebm_neg(g, far), far);
    return ebm_select(g, ebm_less(g, size, ebm_scalar_like(g, z, BEND)), near, far);
}

ebm_ref ebm_rows_reshape(ebm_graph *g, ebm_ref x, const ebm_shape *row)
{
    if (x == EBM_POISON) return EBM_POISON;
    ebm_shape rows;
    ebm_status status = ebm_rows_shape(&rows, ebm_ref_shape(g, x).dim[0], row);
    return status == EBM_OK ? ebm_reshape(g, x, &rows) : ebm_graph_failed(g, status);
}
