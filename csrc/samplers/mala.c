#include "samplers/mala.h"

#include "ops/ops.h"

/* The drawing site of the noise. */
enum { PURPOSE_MALA = 0x6d616c61 };

/* The targets: .574 is best as the dimension grows (Roberts and Rosenthal 1998); the paper's is
 * VERA's. */
static ebm_adaptation adaptation(const ebm_mala_options *o)
{
    double own = o->adapt == EBM_ADAPT_PAPER ? 0.57 : 0.574;
    double target = isnan(o->target) ? own : o->target;
    return (ebm_adaptation){o->adapt, o->step_size, target, o->rate, o->n_adapt};
}

static ebm_bounds bounds(const ebm_mala_options *o)
{
    return (ebm_bounds){o->clip_low, o->clip_high};
}

static ebm_status check(const void *options)
{
    return ebm__bounds_check("mala", bounds(options));
}

static void init(const ebm_walk *walk, ebm_graph *g, ebm_ref x, ebm_ref *carry)
{
    ebm_adaptation a = adaptation(walk->options);
    ebm__adapt_init(&a, g, x, carry);
}

/* The deviation of the noise, (N,). */
static ebm_ref deviation(const ebm_mala_options *o, ebm_graph *g, ebm_ref size)
{
    if (isnan(o->noise)) return ebm_sqrt(g, ebm_scale(g, size, 2.0));
    return ebm_scale(g, ebm_sqrt(g, ebm_scale(g, size, 1.0 / o->step_size)), o->noise);
}

/* info: the energy before the step, the probability of acceptance, whether it was, the size. */
static void step(const ebm_walk *walk, ebm_graph *g, ebm_ref key, const ebm_ref *carry,
                 ebm_ref *carry_next, ebm_ref *info)
{
    const ebm_mala_options *o = walk->options;
    ebm_adaptation a = adaptation(o);
    ebm_ref x = carry[0], size = carry[EBM_WALK_STEP], grad = carry[EBM_WALK_GRADIENT];
    ebm_shape shape = ebm_ref_shape(g, x);
    ebm_ref noise = deviation(o, g, size);
    ebm_ref n = ebm_normal(g, key, PURPOSE_MALA, ebm_ref_dtype(g, x), &shape);
    ebm_ref to = ebm_sub(g, x, ebm_mul(g, ebm__spread(g, size, x), grad));
    to = ebm_mark(g, ebm_add(g, to, ebm_mul(g, ebm__spread(g, noise, x), n)));
    ebm_ref e = ebm_energy_build(walk->energy, walk->scope, g, to);
    ebm_proposal proposal = {to, e, ebm_grad(g, e, to)};
    ebm_ref d = ebm_mul(g, ebm__spread(g, ebm_div(g, size, noise), x),
                        ebm_add(g, grad, proposal.gradient));
    ebm_ref q = ebm_sum_rows(g, ebm_mul(g, d, ebm_sub(g, n, ebm_scale(g, d, 0.5))));
    ebm_ref log_ratio = ebm_add(g, ebm_sub(g, carry[EBM_WALK_ENERGY], e), q);
    ebm__metropolis(g, key, &proposal, log_ratio, bounds(o), carry, carry_next, &info[1],
                    &info[2]);
    ebm__adapt_step(&a, g, info[1], carry, carry_next);
    info[0] = carry[EBM_WALK_ENERGY];
    info[3] = size;
}

static const ebm_option rows[] = {EBM_MALA_OPTIONS(EBM_OPTION_ROW, ebm_mala_options)};

const ebm_sampler_kind ebm__sampler_mala = {
    .options = EBM_OPTIONS_OF("mala", rows, ebm_mala_options),
    .n_carry = EBM_WALK_LAST,
    .n_derived = 2,
    .n_info = 4,
    .carry = EBM_WALK_NAMES,
    .info = {"energy", "acceptance", "accepted", "step_size"},
    .check = check,
    .init = init,
    .derive = ebm__walk_derive,
    .step = step,
};
