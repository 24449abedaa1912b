#include "samplers/langevin.h"

#include "ops/ops.h"

/* The drawing site of the noise. */
enum { PURPOSE_LANGEVIN = 0x6c616e67 };

double ebm_langevin_noise(const ebm_langevin_options *options)
{
    return isnan(options->noise) ? sqrt(2.0 * options->step_size) : options->noise;
}

double ebm_langevin_temperature(const ebm_langevin_options *options)
{
    double noise = ebm_langevin_noise(options);
    return noise * noise / (2.0 * options->step_size);
}

static ebm_status check(const void *options)
{
    const ebm_langevin_options *o = options;
    if (o->clip_low < o->clip_high) return EBM_OK;
    return ebm_fail(EBM_VALUE, "langevin: clip: got (%g, %g), expected low < high", o->clip_low,
                    o->clip_high);
}

static ebm_ref add_noise(const ebm_langevin_options *o, ebm_graph *g, ebm_ref key, ebm_ref x)
{
    double noise = ebm_langevin_noise(o);
    if (noise == 0.0 || x == EBM_POISON) return x;
    ebm_shape shape = ebm_ref_shape(g, x);
    ebm_ref n = ebm_normal(g, key, PURPOSE_LANGEVIN, ebm_ref_dtype(g, x), &shape);
    return ebm_add(g, x, ebm_scale(g, n, noise));
}

/* info: the energy before the step, and the norm of its gradient. */
static void step(const ebm_walk *walk, ebm_graph *g, ebm_ref key, const ebm_ref *carry,
                 ebm_ref *carry_next, ebm_ref *info)
{
    const ebm_langevin_options *o = walk->options;
    ebm_ref x = carry[0];
    ebm_ref e = ebm_energy_build(walk->energy, walk->scope, g, x);
    ebm_ref grad = ebm_grad(g, e, x);
    ebm_ref used = isnan(o->clip_grad) ? grad : ebm_clip(g, grad, -o->clip_grad, o->clip_grad);
    ebm_ref next = add_noise(o, g, key, ebm_sub(g, x, ebm_scale(g, used, o->step_size)));
    carry_next[0] = ebm_clip(g, next, o->clip_low, o->clip_high);
    info[0] = e;
    info[1] = ebm_sqrt(g, ebm_sum_rows(g, ebm_square(g, grad)));
}

static const ebm_option rows[] = {EBM_LANGEVIN_OPTIONS(EBM_OPTION_ROW, ebm_langevin_options)};

const ebm_sampler_kind ebm__sampler_langevin = {
    .options = EBM_OPTIONS_OF("langevin", rows, ebm_langevin_options),
    .n_carry = 1,
    .n_info = 2,
    .info = {"energy", "grad_norm"},
    .check = check,
    .step = step,
};
