#include "estimators/score_matching.h"

#include "estimators/curvature.h"
#include "ops/ops.h"

/* The drawing sites; and what the looks at the rows fold into the step's key. */
enum { PURPOSE_DENOISING = 0x646e6f69, PURPOSE_DIRECTION = 0x64697265, FOLD_LOOKS = 1 };

static ebm_ref energy_of(const ebm_training *t, ebm_graph *g, ebm_ref x)
{
    ebm_scope scope = ebm_training_scope_learning(t, EBM_PART_ENERGY);
    return ebm_energy_build(&t->part[EBM_PART_ENERGY].energy, &scope, g, x);
}

static ebm_ref squared_norms(ebm_graph *g, ebm_ref x)
{
    return ebm_sum_rows(g, ebm_square(g, x));
}

static void finish(ebm_training *t, ebm_ref loss, ebm_ref squares)
{
    ebm_training_metric(t, "loss", loss);
    ebm_training_metric(t, "score_norm", ebm_sqrt(t->g, ebm_mean_all(t->g, squares)));
    ebm_training_bound(t, "loss", loss, t->options->max_loss);
    ebm_training_descend(t, EBM_PART_ENERGY, loss);
}

/* ---- directions -------------------------------------------------------------------------- */

/* Unit vector i for each row, in the shape of x. */
static ebm_ref unit(ebm_graph *g, ebm_ref i, ebm_ref x)
{
    ebm_shape rows = ebm_ref_shape(g, x), row = rows;
    row.dim[0] = 1;
    ebm_shape flat = EBM_DIMS(ebm_shape_size(&row));
    ebm_ref here = ebm_equal(g, ebm_iota(g, EBM_I32, &flat, 0), i);
    ebm_ref vector = ebm_reshape(g, ebm_cast(g, here, ebm_ref_dtype(g, x)), &row);
    return ebm_broadcast_to(g, vector, &rows);
}

static ebm_ref direction(const ebm_score_matching_options *o, ebm_graph *g, ebm_ref key,
                         ebm_ref i, ebm_ref x)
{
    if (x == EBM_POISON) return EBM_POISON;
    if (o->kind == EBM_SCORE_MATCHING_exact) return unit(g, i, x);
    ebm_shape shape = ebm_ref_shape(g, x);
    ebm_dtype dtype = ebm_ref_dtype(g, x);
    return o->projection == EBM_PROJECTION_gaussian
               ? ebm_normal(g, key, PURPOSE_DIRECTION, dtype, &shape)
               : ebm_signs(g, key, PURPOSE_DIRECTION, dtype, &shape);
}

/* Look i at each row: tr ds/dx, or v' ds/dx v, and |s|^2, or (v' s)^2; each (N,). */
static void look(const ebm_score_matching_options *o, const ebm_training *t, ebm_graph *g,
                 ebm_ref x, ebm_ref keys, ebm_ref i, ebm_ref terms[2])
{
    ebm_ref e = energy_of(t, g, x), s = ebm_neg(g, ebm_grad(g, e, x));
    ebm_ref key = ebm_fold_in(g, keys, i), v, turned;
    terms[1] = squared_norms(g, s);
    if (o->kind == EBM_SCORE_MATCHING_curvature) {
        terms[0] = ebm_neg(g, ebm_curvature_trace(g, e, x, key));
        return;
    }
    v = direction(o, g, key, i, x);
    ebm_jvp(g, &s, 1, &x, &v, 1, &turned);
    terms[0] = ebm_sum_rows(g, ebm_mul(g, v, turned));
    if (o->kind != EBM_SCORE_MATCHING_sliced_vr)
        terms[1] = ebm_square(g, ebm_sum_rows(g, ebm_mul(g, v, s)));
}

/* The sums of n looks; along the unit vectors those are the trace and |s|^2. */
static void look_around(const ebm_score_matching_options *o, ebm_training *t, int64_t n,
                        ebm_ref sums[2])
{
    ebm_graph *g = t->g;
    ebm_ref keys = ebm_fold_in_constant(g, t->key, FOLD_LOOKS);
    if (n == 1) {
        look(o, t, g, t->x, keys, ebm_scalar(g, EBM_I32, 0.0), sums);
        return;
    }
    ebm_shape each = EBM_DIMS(ebm_ref_shape(g, t->x).dim[0]);
    ebm_ref zero = ebm_full(g, ebm_ref_dtype(g, t->x), &each, 0.0), i, before[2], terms[2];
    const ebm_ref none[2] = {zero, zero};
    ebm_graph *body = ebm_repeat_open(g, n, none, 2, NULL, 0, &i, before, NULL);
    if (!body) return;
    ebm_ref x = ebm_mark(body, ebm_lift(body, g, t->x));
    look(o, t, body, x, ebm_lift(body, g, keys), i, terms);
    for (int k = 0; k < 2; k++) terms[k] = ebm_add(body, before[k], terms[k]);
    ebm_repeat_close(body, terms, NULL, 0, false, sums, NULL);
}

/* ---- the kinds --------------------------------------------------------------------------- */

static void build_looking(const ebm_score_matching_options *o, ebm_training *t)
{
    ebm_graph *g = t->g;
    ebm_shape rows = ebm_ref_shape(g, t->x);
    bool exact = o->kind == EBM_SCORE_MATCHING_exact;
    int64_t n = exact ? ebm_shape_size(&rows) / rows.dim[0] : o->n_projections;
    ebm_ref sums[2] = {EBM_POISON, EBM_POISON};
    look_around(o, t, n, sums);
    for (int k = 0; k < 2 && !exact && n > 1; k++)
        sums[k] = ebm_scale(g, sums[k], 1.0 / (double)n);
    ebm_ref trace = ebm_mean_all(g, sums[0]);
    finish(t, ebm_add(g, trace, ebm_scale(g, ebm_mean_all(g, sums[1]), 0.5)), sums[1]);
    ebm_training_metric(t, "trace", trace);
}

static void build_denoising(const ebm_score_matching_options *o, ebm_training *t)
{
    ebm_graph *g = t->g;
    ebm_shape shape = ebm_ref_shape(g, t->x);
    ebm_ref n = ebm_normal(g, t->key, PURPOSE_DENOISING, ebm_ref_dtype(g, t->x), &shape);
    ebm_ref x = ebm_mark(g, ebm_add(g, t->x, ebm_scale(g, n, o->sigma)));
    ebm_ref s = ebm_neg(g, ebm_grad(g, energy_of(t, g, x), x));
    /* sigma^w |s + n / sigma|^2 as |sigma^(w/2) s + sigma^(w/2 - 1) n|^2. */
    double factor = o->weight == EBM_DENOISING_one      ? 1.0
                    : o->weight == EBM_DENOISING_sigma2 ? o->sigma
                                                        : o->sigma * o->sigma;
    ebm_ref rest = ebm_add(g, ebm_scale(g, s, factor), ebm_scale(g, n, factor / o->sigma));
    ebm_ref loss = ebm_scale(g, ebm_mean_all(g, squared_norms(g, rest)), 0.5);
    finish(t, loss, squared_norms(g, s));
}

static void build(const void *options, ebm_training *t)
{
    const ebm_score_matching_options *o = options;
    if (t->x == EBM_POISON) return;
    if (o->kind == EBM_SCORE_MATCHING_denoising)
        build_denoising(o, t);
    else
        build_looking(o, t);
}

static const ebm_option rows[] = {
    EBM_SCORE_MATCHING_OPTIONS(EBM_OPTION_ROW, ebm_score_matching_options)};

const ebm_estimator_kind ebm__estimator_score_matching = {
    .options = EBM_OPTIONS_OF("score_matching", rows, ebm_score_matching_options),
    .build = build,
};
