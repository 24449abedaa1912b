/* entropy_hmc.c - the score of a generator by chains on its posterior. */
#include "estimators/entropy.h"
#include "ops/ops.h"
#include "samplers/hmc.h"

/* -log q(x, z) as an energy of z, but for a constant. */
typedef struct posterior {
    const ebm_entropy_query *q;
    const ebm_graph *owner; /* of x */
    bool prior_only;        /* the gradient is that of -log N(z) */
} posterior;

static ebm_ref build(const void *context, const ebm_scope *scope, ebm_graph *g, ebm_ref z)
{
    (void)scope;
    const posterior *p = context;
    const ebm_entropy_query *q = p->q;
    ebm_ref x = g == p->owner ? q->x : ebm_lift(g, p->owner, q->x);
    ebm_ref mean = ebm_generator_mean(q->generator, &q->scope, g, z);
    ebm_ref precision = ebm_generator_precision(q->generator, &q->scope, g);
    ebm_ref squares = ebm_sum_rows(g, ebm_square(g, ebm_sub(g, x, mean)));
    ebm_ref fit = ebm_mul(g, squares, precision);
    ebm_ref prior = ebm_sum_rows(g, ebm_square(g, z));
    return ebm_scale(g, ebm_add(g, p->prior_only ? ebm_stop(g, fit) : fit, prior), 0.5);
}

static double first_step(const ebm_hmc_entropy_options *o, const ebm_generator *generator)
{
    return isnan(o->step_size) ? 1.0 / (double)generator->latent : o->step_size;
}

static ebm_status list(const void *options, const ebm_generator *generator, ebm_params *params)
{
    ebm_shape scalar = EBM_SCALAR;
    ebm_init init = {first_step(options, generator), 0.0};
    EBM_TRY(ebm_params_add(params, "step_size", &scalar, init));
    params->at[params->n - 1].statistic = true;
    return EBM_OK;
}

static ebm_draw_statistics statistics(const void *options)
{
    const ebm_hmc_entropy_options *o = options;
    return o->statistics == 0 ? EBM_DRAWS_BATCH : EBM_DRAWS_RUNNING;
}

static ebm_ref step_size(const ebm_entropy_query *q, ebm_graph *g)
{
    ebm_shape scalar = EBM_SCALAR;
    return ebm_scope_statistic(&q->own, g, "step_size", &scalar, (ebm_init){0});
}

/* Burns in, and sums g(z) of the draws; the acceptance of the last step. */
static ebm_ref walk(const ebm_entropy_query *q, ebm_graph *g, const ebm_sampler *sampler,
                    ebm_ref *acceptance)
{
    const ebm_hmc_entropy_options *o = q->options;
    posterior p = {q, g, o->gradient == 1};
    ebm_energy energy = {.build = build,
                         .context = &p,
                         .rows_independent = true,
                         .name = "posterior"};
    ebm_ref carry[EBM_SAMPLER_MAX], info[EBM_SAMPLER_MAX], sum = EBM_NONE;
    ebm_ref kept = step_size(q, g);
    ebm_sampler_start(sampler, &energy, NULL, g, q->z0, carry);
    if (carry[0] == EBM_POISON) return EBM_POISON;
    ebm_shape rows = ebm_ref_shape(g, carry[EBM_WALK_STEP]);
    carry[EBM_WALK_STEP] = ebm_broadcast_to(g, kept, &rows);
    ebm_sampler_leg(sampler, &energy, NULL, g, q->key, EBM_NONE, o->burn_in, carry, NULL);
    ebm_scope_saw(&q->own, "step_size", ebm_mean_all(g, carry[EBM_WALK_STEP]));
    for (int64_t k = 0; k < o->draws; k++) {
        ebm_ref number = ebm_scalar(g, EBM_I32, (double)(o->burn_in + k));
        ebm_sampler_leg(sampler, &energy, NULL, g, q->key, number, 1, carry, info);
        ebm_ref mean = ebm_generator_mean(q->generator, &q->scope, g, carry[0]);
        sum = sum == EBM_NONE ? mean : ebm_add(g, sum, mean);
    }
    *acceptance = info[1];
    return sum;
}

static ebm_ref score(const ebm_entropy_query *q, ebm_graph *g, ebm_ref *info)
{
    const ebm_hmc_entropy_options *o = q->options;
    ebm_sampler *sampler = NULL;
    ebm_hmc_options options;
    ebm_options_init(&ebm__sampler_hmc.options, &options);
    options.step_size = first_step(o, q->generator);
    options.n_leapfrog = o->n_leapfrog;
    options.adapt = EBM_ADAPT_PAPER;
    options.target = o->target;
    options.rate = o->rate;
    options.n_adapt = o->burn_in;
    if (q->x == EBM_POISON || q->z0 == EBM_POISON) return EBM_POISON;
    ebm_status status = ebm_sampler_new(&sampler, &ebm__sampler_hmc, &options);
    if (status != EBM_OK) return ebm_graph_failed(g, status);
    ebm_ref sum = walk(q, g, sampler, info);
    ebm_sampler_free(sampler);
    ebm_ref precision = ebm_generator_precision(q->generator, &q->scope, g);
    ebm_ref mean = ebm_scale(g, sum, 1.0 / (double)o->draws);
    return ebm_stop(g, ebm_mul(g, ebm_sub(g, mean, q->x), precision));
}

static const ebm_option rows[] = {
    EBM_HMC_ENTROPY_OPTIONS(EBM_OPTION_ROW, ebm_hmc_entropy_options)};

const ebm_entropy_kind ebm__entropy_hmc = {
    .options = EBM_OPTIONS_OF("hmc", rows, ebm_hmc_entropy_options),
    .part = "posterior",
    .list = list,
    .statistics = statistics,
    .info = "acceptance",
    .score = score,
    .watched = "step_size",
    .watch = step_size,
};
