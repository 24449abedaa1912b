#include "samplers/hmc.h"

#include "ops/ops.h"

/* The drawing site of the momentum. */
enum { PURPOSE_HMC = 0x686d6300 };
/* Up to so many leapfrogs are written out: a loop within the loop over steps would not be cut into
 * rows. */
enum { WRITTEN_OUT = 16 };

/* The targets: Hoffman and Gelman 2014 aim at .8; the paper's is PresGAN's and VERA's. */
static ebm_adaptation adaptation(const ebm_hmc_options *o)
{
    double own = o->adapt == EBM_ADAPT_PAPER ? 0.67 : 0.8;
    double target = isnan(o->target) ? own : o->target;
    return (ebm_adaptation){o->adapt, o->step_size, target, o->rate, o->n_adapt};
}

static ebm_bounds bounds(const ebm_hmc_options *o)
{
    return (ebm_bounds){o->clip_low, o->clip_high};
}

static ebm_status check(const void *options)
{
    return ebm__bounds_check("hmc", bounds(options));
}

static void init(const ebm_walk *walk, ebm_graph *g, ebm_ref x, ebm_ref *carry)
{
    ebm_adaptation a = adaptation(walk->options);
    ebm__adapt_init(&a, g, x, carry);
}

/* A point of phase space, and what is known there. */
enum { X, P, ENERGY, GRADIENT, N_POINT };

/* `kick` half the step, `drift` the step over the mass, as numbers of the rows of x. */
static void leapfrog(const ebm_walk *walk, ebm_graph *g, ebm_ref kick, ebm_ref drift,
                     const ebm_ref *from, ebm_ref *to)
{
    ebm_ref p = ebm_sub(g, from[P], ebm_mul(g, kick, from[GRADIENT]));
    to[X] = ebm_mark(g, ebm_add(g, from[X], ebm_mul(g, drift, p)));
    to[ENERGY] = ebm_energy_build(walk->energy, walk->scope, g, to[X]);
    to[GRADIENT] = ebm_grad(g, to[ENERGY], to[X]);
    to[P] = ebm_sub(g, p, ebm_mul(g, kick, to[GRADIENT]));
}

static void fly(const ebm_walk *walk, ebm_graph *g, ebm_ref size, ebm_ref *at)
{
    const ebm_hmc_options *o = walk->options;
    ebm_ref kick = ebm__spread(g, ebm_scale(g, size, 0.5), at[X]);
    ebm_ref drift = ebm__spread(g, ebm_scale(g, size, 1.0 / o->mass), at[X]);
    ebm_ref i, in[N_POINT], out[N_POINT];
    for (int64_t k = 0; k < o->n_leapfrog && o->n_leapfrog <= WRITTEN_OUT; k++)
        leapfrog(walk, g, kick, drift, at, at);
    if (o->n_leapfrog <= WRITTEN_OUT) return;
    ebm_graph *body = ebm_repeat_open(g, o->n_leapfrog, at, N_POINT, NULL, 0, &i, in, NULL);
    if (body) {
        leapfrog(walk, body, ebm_lift(body, g, kick), ebm_lift(body, g, drift), in, out);
        ebm_repeat_close(body, out, NULL, 0, false, at, NULL);
    }
    for (int k = 0; !body && k < N_POINT; k++) at[k] = EBM_POISON;
}

/* |p|^2 / (2 noise^2), (N,). */
static ebm_ref kinetic(ebm_graph *g, ebm_ref p, double noise)
{
    return ebm_scale(g, ebm_sum_rows(g, ebm_square(g, p)), 0.5 / (noise * noise));
}

/* info: the energy before the step, the probability of acceptance, whether it was, the size, H
 * after the flight minus H before. */
static void step(const ebm_walk *walk, ebm_graph *g, ebm_ref key, const ebm_ref *carry,
                 ebm_ref *carry_next, ebm_ref *info)
{
    const ebm_hmc_options *o = walk->options;
    ebm_adaptation a = adaptation(o);
    ebm_ref x = carry[0], size = carry[EBM_WALK_STEP], e = carry[EBM_WALK_ENERGY];
    ebm_shape shape = ebm_ref_shape(g, x);
    double noise = isnan(o->noise) ? sqrt(o->mass) : o->noise;
    ebm_ref n = ebm_normal(g, key, PURPOSE_HMC, ebm_ref_dtype(g, x), &shape);
    ebm_ref p = ebm_scale(g, n, noise);
    ebm_ref at[N_POINT] = {x, p, e, carry[EBM_WALK_GRADIENT]};
    fly(walk, g, size, at);
    ebm_ref lost = ebm_sub(g, kinetic(g, at[P], noise), kinetic(g, p, noise));
    ebm_ref error = ebm_add(g, ebm_sub(g, at[ENERGY], e), lost);
    ebm_proposal proposal = {at[X], at[ENERGY], at[GRADIENT]};
    ebm__metropolis(g, key, &proposal, ebm_neg(g, error), bounds(o), carry, carry_next,
                    &info[1], &info[2]);
    ebm__adapt_step(&a, g, info[1], carry, carry_next);
    info[0] = e;
    info[3] = size;
    info[4] = error;
}

static const ebm_option rows[] = {EBM_HMC_OPTIONS(EBM_OPTION_ROW, ebm_hmc_options)};

const ebm_sampler_kind ebm__sampler_hmc = {
    .options = EBM_OPTIONS_OF("hmc", rows, ebm_hmc_options),
    .n_carry = EBM_WALK_LAST,
    .n_derived = 2,
    .n_info = 5,
    .carry = EBM_WALK_NAMES,
    .info = {"energy", "acceptance", "accepted", "step_size", "energy_error"},
    .check = check,
    .init = init,
    .derive = ebm__walk_derive,
    .step = step,
};
