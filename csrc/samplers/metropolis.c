#include "samplers/metropolis.h"

#include "ops/ops.h"

/* The drawing site of the decision. */
enum { PURPOSE_METROPOLIS = 0x6d657472 };

/* Dual averaging's constants: Hoffman and Gelman 2014, section 3.2.1. */
static const double GAMMA = 0.05, T0 = 10.0, KAPPA = 0.75;
/* A log step size stays so near to the first: where all is accepted, or nothing, it would grow
 * without end. */
static const double FAR = 20.0;

static ebm_ref full_rows(ebm_graph *g, ebm_ref x, ebm_dtype dtype, double value)
{
    ebm_shape rows = EBM_DIMS(ebm_ref_shape(g, x).dim[0]);
    return ebm_full(g, dtype, &rows, value);
}

void ebm__adapt_init(const ebm_adaptation *a, ebm_graph *g, ebm_ref x, ebm_ref *carry)
{
    ebm_dtype dtype = ebm_ref_dtype(g, x);
    carry[EBM_WALK_STEP] = full_rows(g, x, dtype, a->step_size);
    carry[EBM_WALK_AVERAGE] = full_rows(g, x, dtype, log(a->step_size));
    carry[EBM_WALK_ERROR] = full_rows(g, x, dtype, 0.0);
    carry[EBM_WALK_COUNT] = full_rows(g, x, EBM_I32, 0.0);
}

/* The new step sizes of all rows, whether they still adapt or not; t counts from 1. */
static ebm_ref dual_average(const ebm_adaptation *a, ebm_graph *g, ebm_ref t, ebm_ref missed,
                            const ebm_ref *carry, ebm_ref *carry_next)
{
    double first = log(a->step_size);
    ebm_ref weight = ebm_recip(g, ebm_shift(g, t, T0));
    ebm_ref error = ebm_add(g, carry[EBM_WALK_ERROR],
                            ebm_mul(g, weight, ebm_sub(g, missed, carry[EBM_WALK_ERROR])));
    ebm_ref size = ebm_shift(g, ebm_scale(g, ebm_mul(g, ebm_sqrt(g, t), error), -1.0 / GAMMA),
                             log(10.0) + first);
    size = ebm_clip(g, size, first - FAR, first + FAR);
    ebm_ref eta = ebm_exp(g, ebm_scale(g, ebm_log(g, t), -KAPPA));
    ebm_ref average = ebm_add(g, carry[EBM_WALK_AVERAGE],
                              ebm_mul(g, eta, ebm_sub(g, size, carry[EBM_WALK_AVERAGE])));
    ebm_ref last = ebm_equal(g, t, ebm_full_like(g, t, (double)a->n));
    carry_next[EBM_WALK_ERROR] = error;
    carry_next[EBM_WALK_AVERAGE] = average;
    return ebm_exp(g, ebm_select(g, last, average, size));
}

void ebm__adapt_step(const ebm_adaptation *a, ebm_graph *g, ebm_ref acceptance,
                     const ebm_ref *carry, ebm_ref *carry_next)
{
    ebm_ref count = carry[EBM_WALK_COUNT], step = carry[EBM_WALK_STEP];
    for (int32_t k = EBM_WALK_STEP; k < EBM_WALK_LAST; k++) carry_next[k] = carry[k];
    if (a->how == EBM_ADAPT_NONE || a->n == 0 || acceptance == EBM_POISON) return;
    ebm_ref adapting = ebm_less(g, count, ebm_full_like(g, count, (double)a->n));
    ebm_ref next = ebm_add(g, count, ebm_full_like(g, count, 1.0));
    ebm_ref missed = ebm_sub(g, ebm_full_like(g, acceptance, a->target), acceptance);
    if (a->how == EBM_ADAPT_PAPER) {
        ebm_ref factor = ebm_shift(g, ebm_scale(g, missed, -a->rate), 1.0);
        carry_next[EBM_WALK_STEP] = ebm_mul(g, step, factor);
    } else {
        ebm_ref t = ebm_cast(g, next, ebm_ref_dtype(g, acceptance));
        carry_next[EBM_WALK_STEP] = dual_average(a, g, t, missed, carry, carry_next);
    }
    carry_next[EBM_WALK_COUNT] = next;
    for (int32_t k = EBM_WALK_STEP; k < EBM_WALK_LAST; k++)
        if (carry_next[k] != carry[k])
            carry_next[k] = ebm_select(g, adapting, carry_next[k], carry[k]);
}

void ebm__walk_derive(const ebm_walk *walk, ebm_graph *g, ebm_ref x, ebm_ref *carry)
{
    carry[EBM_WALK_ENERGY] = ebm_energy_build(walk->energy, walk->scope, g, x);
    carry[EBM_WALK_GRADIENT] = ebm_grad(g, carry[EBM_WALK_ENERGY], x);
}

ebm_ref ebm__spread(ebm_graph *g, ebm_ref rows, ebm_ref x)
{
    if (rows == EBM_POISON || x == EBM_POISON) return EBM_POISON;
    ebm_shape shape = ebm_ref_shape(g, x);
    int64_t axes[] = {0};
    return ebm_broadcast_axes(g, rows, &shape, axes);
}

ebm_status ebm__bounds_check(const char *owner, ebm_bounds bounds)
{
    if (bounds.low < bounds.high) return EBM_OK;
    return ebm_fail(EBM_VALUE, "%s: clip: got (%g, %g), expected low < high", owner, bounds.low,
                    bounds.high);
}

/* Which rows lie within the bounds: `rows` and that. */
static ebm_ref within(ebm_graph *g, ebm_ref rows, ebm_ref x, ebm_bounds bounds)
{
    if (x == EBM_POISON || (isinf(bounds.low) && isinf(bounds.high))) return rows;
    ebm_ref inside = ebm_logical_and(g, ebm_less_equal(g, ebm_full_like(g, x, bounds.low), x),
                                     ebm_less_equal(g, x, ebm_full_like(g, x, bounds.high)));
    int64_t behind = (1 << ebm_ref_shape(g, x).rank) - 2;
    return ebm_logical_and(g, rows, behind ? ebm_all(g, inside, behind, false) : inside);
}

void ebm__metropolis(ebm_graph *g, ebm_ref key, const ebm_proposal *proposal, ebm_ref log_ratio,
                     ebm_bounds bounds, const ebm_ref *carry, ebm_ref *carry_next,
                     ebm_ref *acceptance, ebm_ref *accepted)
{
    ebm_ref x = carry[0];
    ebm_shape rows = EBM_DIMS(ebm_ref_shape(g, x).dim[0]);
    ebm_dtype dtype = ebm_ref_dtype(g, x);
    ebm_ref zero = full_rows(g, x, dtype, 0.0);
    ebm_ref good = ebm_logical_and(g, ebm_isfinite(g, proposal->energy),
                                   ebm_isfinite(g, log_ratio));
    good = within(g, good, proposal->x, bounds);
    ebm_ref p = ebm_exp(g, ebm_minimum(g, log_ratio, zero));
    *acceptance = ebm_select(g, good, p, zero);
    ebm_ref u = ebm_uniform(g, key, PURPOSE_METROPOLIS, dtype, &rows);
    ebm_ref yes = ebm_less(g, u, *acceptance);
    ebm_ref yes_x = ebm__spread(g, yes, x);
    *accepted = ebm_cast(g, yes, dtype);
    carry_next[0] = ebm_select(g, yes_x, proposal->x, x);
    carry_next[EBM_WALK_ENERGY] = ebm_select(g, yes, proposal->energy, carry[EBM_WALK_ENERGY]);
    carry_next[EBM_WALK_GRADIENT] = ebm_select(g, yes_x, proposal->gradient,
                                               carry[EBM_WALK_GRADIENT]);
}
