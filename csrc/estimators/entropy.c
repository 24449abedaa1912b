#include "estimators/entropy.h"

#include "networks/density.h"
#include "networks/layers.h"
#include "ops/ops.h"

#define ENTROPY(id) extern const ebm_entropy_kind ebm__entropy_##id;
#include "estimators/entropies.def"

static const void *const kinds[] = {
#define ENTROPY(id) &ebm__entropy_##id,
#include "estimators/entropies.def"
    NULL,
};

const ebm_entropy_kind *ebm_entropy_at(int32_t index)
{
    return kinds[index];
}

const ebm_entropy_kind *ebm_entropy_find(const char *name)
{
    return ebm_options_kind("entropy", name, kinds);
}

ebm_shape ebm_entropy_critic_row(const ebm_generator *generator)
{
    ebm_shape row = EBM_DIMS(ebm_shape_size(&generator->row) + generator->latent);
    return row;
}

/* ---- importance -------------------------------------------------------------------------- */

/* The drawing sites of the proposals: of the score, and of the loss. */
enum { PURPOSE_DRAWS = 0x696d706f, PURPOSE_FIT = 0x65746100 };

static ebm_status list_eta(const void *options, const ebm_generator *generator, ebm_params *params)
{
    const ebm_importance_options *o = options;
    ebm_shape each = EBM_DIMS(generator->latent);
    return ebm_params_add(params, "log_eta", &each, (ebm_init){log(o->eta), 0.0});
}

static ebm_ref log_eta(const ebm_entropy_query *q, ebm_graph *g)
{
    ebm_shape each = EBM_DIMS(q->generator->latent);
    return ebm_scope_param(&q->own, g, "log_eta", &each, (ebm_init){0});
}

static ebm_draw_statistics importance_statistics(const void *options)
{
    return (ebm_draw_statistics)((const ebm_importance_options *)options)->statistics;
}

/* -1/2 |x - mean|^2 / sigma^2 - 1/2 |z|^2 over the last axes: log q(x, z) without what does not
 * depend on z. */
static ebm_ref log_joint(const ebm_entropy_query *q, ebm_graph *g, ebm_ref residual, ebm_ref z)
{
    int64_t last = (int64_t)1 << (ebm_ref_shape(g, z).rank - 1);
    ebm_ref fit = ebm_mul(g, ebm_sum(g, ebm_square(g, residual), last, false),
                          ebm_generator_precision(q->generator, &q->scope, g));
    ebm_ref prior = ebm_sum(g, ebm_square(g, z), last, false);
    return ebm_scale(g, ebm_add(g, fit, prior), -0.5);
}

static ebm_ref importance_score(const ebm_entropy_query *q, ebm_graph *g, ebm_ref *ess)
{
    const ebm_importance_options *o = q->options;
    if (q->x == EBM_POISON || q->z0 == EBM_POISON) return EBM_POISON;
    int64_t k = o->draws, b = ebm_ref_shape(g, q->z0).dim[0], d = q->generator->latent;
    ebm_shape rows = EBM_DIMS(k * b, d), each = EBM_DIMS(k, b, d), column = EBM_DIMS(k, b, 1);
    ebm_dtype dtype = ebm_ref_dtype(g, q->x);
    ebm_ref n = ebm_reshape(g, ebm_normal(g, q->key, PURPOSE_DRAWS, dtype, &rows), &each);
    ebm_ref z = ebm_add(g, q->z0, ebm_mul(g, n, ebm_exp(g, log_eta(q, g))));
    ebm_ref mean = ebm_generator_mean(q->generator, &q->scope, g, ebm_reshape(g, z, &rows));
    if (mean == EBM_POISON) return EBM_POISON;
    ebm_ref x = ebm_layer_flatten(g, q->x), means = ebm_layer_flatten(g, mean);
    ebm_shape deep = EBM_DIMS(k, b, ebm_ref_shape(g, x).dim[1]);
    ebm_ref residual = ebm_sub(g, ebm_reshape(g, means, &deep), x);
    ebm_ref log_w = ebm_add(g, log_joint(q, g, residual, z),
                            ebm_scale(g, ebm_sum(g, ebm_square(g, n), 1 << 2, false), 0.5));
    ebm_ref w = ebm_softmax(g, log_w, 0);
    ebm_ref precision = ebm_exp(g,
                                ebm_scale(g, ebm_generator_log_sigma(q->generator, &q->scope, g),
                                          -2.0));
    ebm_ref sum = ebm_sum(g, ebm_mul(g, ebm_reshape(g, w, &column), residual), 1, false);
    *ess = ebm_stop(g, ebm_recip(g, ebm_sum(g, ebm_square(g, w), 1, false)));
    ebm_shape like = ebm_ref_shape(g, q->x);
    return ebm_stop(g, ebm_reshape(g, ebm_mul(g, sum, precision), &like));
}

/* -E[log q(x|z) + log N(z)] - H(xi) by one draw, with all constants: equation 9, negated. */
static ebm_ref importance_loss(const ebm_entropy_query *q, ebm_graph *g)
{
    if (q->x == EBM_POISON || q->z0 == EBM_POISON) return EBM_POISON;
    ebm_shape rows = ebm_ref_shape(g, q->z0);
    ebm_ref n = ebm_normal(g, q->key, PURPOSE_FIT, ebm_ref_dtype(g, q->x), &rows);
    ebm_ref eta = log_eta(q, g), z = ebm_add(g, q->z0, ebm_mul(g, n, ebm_exp(g, eta)));
    ebm_ref mean = ebm_generator_mean(q->generator, &q->scope, g, z);
    if (mean == EBM_POISON) return EBM_POISON;
    ebm_ref residual = ebm_sub(g, ebm_layer_flatten(g, mean), ebm_layer_flatten(g, q->x));
    ebm_ref joint = ebm_mean_all(g, log_joint(q, g, residual, z));
    ebm_ref log_sigma = ebm_generator_log_sigma(q->generator, &q->scope, g);
    double size = (double)ebm_shape_size(&q->generator->row);
    double constant = 0.5 * (size * EBM_LOG_2_PI - (double)q->generator->latent);
    ebm_ref bound = ebm_sub(g, ebm_add(g, joint, ebm_sum_all(g, eta)),
                            ebm_scale(g, log_sigma, size));
    return ebm_shift(g, ebm_neg(g, bound), constant);
}

static ebm_ref mean_eta(const ebm_entropy_query *q, ebm_graph *g)
{
    return ebm_mean_all(g, ebm_exp(g, log_eta(q, g)));
}

static const ebm_option importance_rows[] = {
    EBM_IMPORTANCE_OPTIONS(EBM_OPTION_ROW, ebm_importance_options)};

const ebm_entropy_kind ebm__entropy_importance = {
    .options = EBM_OPTIONS_OF("importance", importance_rows, ebm_importance_options),
    .part = "posterior",
    .list = list_eta,
    .statistics = importance_statistics,
    .info = "ess",
    .score = importance_score,
    .watched = "eta",
    .watch = mean_eta,
    .loss = importance_loss,
};

/* ---- mutual information ------------------------------------------------------------------ */

/* T of the pairs, (B,), and of x_i with z_{i+1}. */
static void judge(const ebm_entropy_query *q, ebm_graph *g, ebm_ref *joint, ebm_ref *apart)
{
    *joint = *apart = EBM_POISON;
    if (q->x == EBM_POISON || q->z0 == EBM_POISON) return;
    ebm_ref x = ebm_layer_flatten(g, q->x), z = q->z0;
    int64_t b = ebm_ref_shape(g, z).dim[0];
    const ebm_ref parts[2] = {ebm_slice_axis(g, z, 0, 1, b - 1), ebm_slice_axis(g, z, 0, 0, 1)};
    ebm_ref next = ebm_concat(g, parts, 2, 0);
    const ebm_ref xs[2] = {x, x}, zs[2] = {z, next};
    const ebm_ref both[2] = {ebm_concat(g, xs, 2, 0), ebm_concat(g, zs, 2, 0)};
    ebm_ref t = ebm_energy_build(q->critic, &q->own, g, ebm_concat(g, both, 2, 1));
    *joint = ebm_slice_axis(g, t, 0, 0, b);
    *apart = ebm_slice_axis(g, t, 0, b, b);
}

static ebm_ref information(const ebm_entropy_query *q, ebm_graph *g)
{
    const ebm_mutual_information_options *o = q->options;
    ebm_ref joint, apart;
    judge(q, g, &joint, &apart);
    if (joint == EBM_POISON) return EBM_POISON;
    if (o->bound == 0)
        return ebm_neg(g, ebm_add(g, ebm_mean_all(g, ebm_softplus(g, ebm_neg(g, joint))),
                                  ebm_mean_all(g, ebm_softplus(g, apart))));
    double log_n = log((double)ebm_ref_shape(g, apart).dim[0]);
    ebm_ref log_mean = ebm_shift(g, ebm_logsumexp(g, apart, EBM_ALL_AXES, false), -log_n);
    return ebm_sub(g, ebm_mean_all(g, joint), log_mean);
}

static ebm_ref information_loss(const ebm_entropy_query *q, ebm_graph *g)
{
    return ebm_neg(g, information(q, g));
}

static const ebm_option mutual_information_rows[] = {
    EBM_MUTUAL_INFORMATION_OPTIONS(EBM_OPTION_ROW, ebm_mutual_information_options)};

const ebm_entropy_kind ebm__entropy_mutual_information = {
    .options = EBM_OPTIONS_OF("mutual_information", mutual_information_rows,
                              ebm_mutual_information_options),
    .part = "critic",
    .critic = true,
    .bound = information,
    .loss = information_loss,
};
