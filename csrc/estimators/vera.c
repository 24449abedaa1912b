#include "estimators/vera.h"

#include "base/alloc.h"
#include "estimators/contrastive.h"
#include "ops/ops.h"

/* Drawing sites, and what is folded into the step's key. */
enum {
    PURPOSE_Z = 0x76657a30,
    PURPOSE_EPS = 0x76657065,
    PURPOSE_NOISE = 0x76646174,
    FOLD_DROPOUT = 1,
    FOLD_FIT = 2,
    FOLD_SCORE = 3
};

/* A step while it is written. */
typedef struct vera {
    const ebm_vera_options *o;
    ebm_training *t;
    const ebm_generator *generator;
    ebm_scope scope; /* of the generator, for this batch */
    ebm_ref z0, x;   /* draws of the generator */
    ebm_ref *kept;   /* what the entropy's part keeps of this step; NULL without a part */
} vera;

static ebm_ref normals(ebm_graph *g, ebm_ref key, int32_t purpose, ebm_ref like,
                       const ebm_shape *shape)
{
    return ebm_normal(g, key, purpose, ebm_ref_dtype(g, like), shape);
}

static void draw(vera *v)
{
    ebm_training *t = v->t;
    ebm_graph *g = t->g;
    ebm_shape rows = ebm_ref_shape(g, t->x);
    ebm_shape latent = EBM_DIMS(rows.dim[0], v->generator->latent);
    v->z0 = normals(g, t->key, PURPOSE_Z, t->x, &latent);
    ebm_ref eps = v->generator->noisy ? normals(g, t->key, PURPOSE_EPS, t->x, &rows) : EBM_NONE;
    v->x = ebm_generator_sample(v->generator, &v->scope, g, v->z0, eps);
    ebm_training_check(t, "sample", v->x);
}

/* What the entropy is asked, for a purpose of its own: `scope` and the critic's are of now. */
static ebm_entropy_query ask(const vera *v, const ebm_scope *scope, int32_t fold, bool constant)
{
    ebm_training *t = v->t;
    ebm_graph *g = t->g;
    const ebm_entropy *entropy = t->entropy;
    ebm_entropy_query q = {
        .options = entropy->options,
        .generator = v->generator,
        .scope = *scope,
        .x = constant ? ebm_stop(g, v->x) : v->x,
        .z0 = v->z0,
        .key = ebm_fold_in_constant(g, t->key, fold),
    };
    if (!entropy->kind->part) return q;
    if (entropy->kind->critic) q.critic = &t->part[EBM_PART_ENTROPY].energy;
    q.own = ebm_training_scope_updated(t, EBM_PART_ENTROPY);
    return q;
}

/* The scope for draws of the entropy's own, whose refs the caller frees; NULL with the error in
 * the graph. */
static ebm_ref *draw_scope(const vera *v, ebm_scope *scope)
{
    const ebm_entropy *entropy = v->t->entropy;
    const ebm_params *params = v->scope.params;
    ebm_ref *refs = ebm__alloc((size_t)params->n, sizeof *refs);
    if (!refs) {
        ebm_graph_failed(v->t->g, EBM_NOMEM);
        return NULL;
    }
    ebm_draw_statistics which = entropy->kind->statistics
                                    ? entropy->kind->statistics(entropy->options)
                                    : EBM_DRAWS_BATCH;
    *scope = v->scope;
    scope->seen = NULL;
    scope->key = EBM_NONE;
    if (which == EBM_DRAWS_OWN) return refs;
    for (int64_t k = 0; k < params->n; k++) {
        bool seen = which == EBM_DRAWS_BATCH && v->scope.seen[k] != EBM_NONE;
        refs[k] = seen ? v->scope.seen[k] : v->scope.refs[k];
    }
    scope->statistics = EBM_STATISTICS_RUNNING;
    scope->refs = refs;
    return refs;
}

/* Step 1. */
static void fit_entropy(const vera *v, const ebm_scope *scope)
{
    ebm_training *t = v->t;
    if (!t->entropy || !t->entropy->kind->loss || v->o->entropy_weight == 0.0) return;
    ebm_entropy_query q = ask(v, scope, FOLD_FIT, true);
    if (t->entropy->kind->critic) q.own.key = q.key;
    ebm_ref loss = t->entropy->kind->loss(&q, t->g);
    ebm_training_metric(t, "entropy_loss", loss);
    ebm_training_check(t, "entropy loss", loss);
    ebm_training_descend(t, EBM_PART_ENTROPY, loss);
}

/* Step 2.  Under a penalty on the slope at the data these have a pass of their own, or its second
 * derivative would run over the samples too. */
static void fit_energy(const vera *v)
{
    ebm_training *t = v->t;
    ebm_graph *g = t->g;
    ebm_ref x = ebm_mark(g, ebm__contrast_noisy(t, v->o->data_noise, PURPOSE_NOISE));
    ebm_ref samples = ebm_stop(g, v->x), penalty = EBM_NONE, e_data, e_samples;
    if (v->o->gradient_penalty > 0.0) {
        ebm_scope scope = ebm_training_scope_learning(t, EBM_PART_ENERGY);
        const ebm_energy *energy = &t->part[EBM_PART_ENERGY].energy;
        e_data = ebm_energy_build(energy, &scope, g, x);
        e_samples = ebm_energy_build(energy, &scope, g, samples);
        ebm_ref slope = ebm_grad(g, e_data, x);
        ebm_ref square = ebm_mean_all(g, ebm_sum_rows(g, ebm_square(g, slope)));
        ebm_training_metric(t, "gradient_norm", square);
        penalty = ebm_scale(g, square, v->o->gradient_penalty);
    } else {
        ebm__contrast_energies(t, x, samples, &e_data, &e_samples);
    }
    ebm__contrast_descend(t, e_data, e_samples, penalty, v->o->l2);
}

/* -entropy_weight times what grows with the entropy, (); EBM_NONE without one. */
static ebm_ref entropy_term(const vera *v, const ebm_scope *scope)
{
    ebm_training *t = v->t;
    ebm_graph *g = t->g;
    const ebm_entropy *entropy = t->entropy;
    if (!entropy || v->o->entropy_weight == 0.0) return EBM_NONE;
    if (!entropy->kind->score) {
        ebm_entropy_query q = ask(v, scope, FOLD_SCORE, false);
        ebm_ref bound = entropy->kind->bound(&q, g);
        if (v->generator->noisy) {
            ebm_ref log_sigma = ebm_generator_log_sigma(v->generator, &v->scope, g);
            double size = (double)ebm_shape_size(&v->generator->row);
            bound = ebm_add(g, bound, ebm_scale(g, log_sigma, size));
        }
        return ebm_scale(g, bound, -v->o->entropy_weight);
    }
    ebm_ref info = EBM_NONE;
    ebm_entropy_query q = ask(v, scope, FOLD_SCORE, true);
    q.own.seen = v->kept;
    ebm_ref score = entropy->kind->score(&q, g, &info);
    ebm_ref product = ebm_mean_all(g, ebm_sum_rows(g, ebm_mul(g, score, v->x)));
    ebm_ref norms = ebm_sqrt(g, ebm_sum_rows(g, ebm_square(g, score)));
    ebm_training_metric(t, "score_norm", ebm_mean_all(g, norms));
    if (entropy->kind->info) ebm_training_metric(t, entropy->kind->info, ebm_mean_all(g, info));
    if (entropy->kind->watch)
        ebm_training_metric(t, entropy->kind->watched, entropy->kind->watch(&q, g));
    if (v->kept) ebm_training_statistics(t, EBM_PART_ENTROPY, v->kept, 1.0);
    return ebm_scale(g, product, v->o->entropy_weight);
}

/* Step 3. */
static void fit_generator(const vera *v, const ebm_scope *draws)
{
    ebm_training *t = v->t;
    ebm_graph *g = t->g;
    ebm_scope scope = ebm_training_scope_updated(t, EBM_PART_ENERGY);
    ebm_ref e = ebm_energy_build(&t->part[EBM_PART_ENERGY].energy, &scope, g, v->x);
    if (e == EBM_POISON) return;
    ebm_ref loss = ebm_mean_all(g, e), term = entropy_term(v, draws);
    if (term != EBM_NONE) loss = ebm_add(g, loss, term);
    ebm_training_metric(t, "generator_loss", loss);
    ebm_training_check(t, "generator loss", loss);
    if (v->generator->noisy) {
        double low = isnan(v->o->sigma_min) ? -INFINITY : log(v->o->sigma_min);
        double high = isnan(v->o->sigma_max) ? INFINITY : log(v->o->sigma_max);
        ebm_ref log_sigma = ebm_generator_log_sigma(v->generator, &v->scope, g);
        ebm_training_metric(t, "sigma", ebm_exp(g, log_sigma));
        if (low > -INFINITY || high < INFINITY)
            ebm_training_clamp(t, EBM_PART_GENERATOR, "log_sigma", low, high);
    }
    ebm_training_descend(t, EBM_PART_GENERATOR, loss);
    ebm_training_statistics(t, EBM_PART_GENERATOR, v->scope.seen, v->o->momentum);
}

static void write_step(vera *v)
{
    ebm_scope draws = v->scope;
    ebm_ref *refs = NULL;
    draw(v);
    if (v->t->entropy) {
        refs = draw_scope(v, &draws);
        if (!refs) return;
    }
    fit_entropy(v, &draws);
    fit_energy(v);
    fit_generator(v, &draws);
    ebm__free(refs);
}

/* n times EBM_NONE; NULL for NOMEM. */
static ebm_ref *nothing_seen(int64_t n)
{
    ebm_ref *seen = ebm__alloc((size_t)n, sizeof *seen);
    for (int64_t k = 0; seen && k < n; k++) seen[k] = EBM_NONE;
    return seen;
}

static void build(const void *options, ebm_training *t)
{
    const ebm_vera_options *o = options;
    if (o->sigma_min > o->sigma_max) {
        ebm_graph_fail(t->g, EBM_VALUE, "vera: sigma_min: got %g, expected at most sigma_max, %g",
                       o->sigma_min, o->sigma_max);
        return;
    }
    bool part = t->n_parts > EBM_PART_ENTROPY;
    vera v = {.o = o, .t = t, .generator = &t->part[EBM_PART_GENERATOR].generator};
    v.scope = ebm_training_scope(t, EBM_PART_GENERATOR);
    v.scope.statistics = EBM_STATISTICS_BATCH;
    v.scope.key = ebm_fold_in_constant(t->g, t->key, FOLD_DROPOUT);
    v.scope.seen = nothing_seen(v.scope.params->n);
    if (part) v.kept = nothing_seen(t->part[EBM_PART_ENTROPY].params.n);
    if (v.scope.seen && (!part || v.kept))
        write_step(&v);
    else
        ebm_graph_failed(t->g, EBM_NOMEM);
    ebm__free(v.scope.seen);
    ebm__free(v.kept);
}

static const ebm_option rows[] = {EBM_VERA_OPTIONS(EBM_OPTION_ROW, ebm_vera_options)};

const ebm_estimator_kind ebm__estimator_vera = {
    .options = EBM_OPTIONS_OF("vera", rows, ebm_vera_options),
    .generates = true,
    .build = build,
};
