#include "estimators/contrastive.h"

#include "ops/ops.h"

/* The drawing site of the noise on data; and what the chains and the replay buffer fold into
 * the step's key. */
enum { PURPOSE_DATA_NOISE = 0x64617461, FOLD_CHAIN = 1, FOLD_REPLAY = 2 };

/* ---- data against samples ---------------------------------------------------------------- */

ebm_ref ebm__contrast_noisy(ebm_training *t, double deviation, int32_t purpose)
{
    if (deviation == 0.0 || t->x == EBM_POISON) return t->x;
    ebm_shape shape = ebm_ref_shape(t->g, t->x);
    ebm_ref n = ebm_normal(t->g, t->key, purpose, ebm_ref_dtype(t->g, t->x), &shape);
    return ebm_add(t->g, t->x, ebm_scale(t->g, n, deviation));
}

void ebm__contrast_energies(ebm_training *t, ebm_ref x_data, ebm_ref x_samples, ebm_ref *e_data,
                            ebm_ref *e_samples)
{
    ebm_graph *g = t->g;
    ebm_scope scope = ebm_training_scope_learning(t, EBM_PART_ENERGY);
    const ebm_ref both[2] = {x_data, x_samples};
    ebm_ref e = ebm_energy_build(&t->part[EBM_PART_ENERGY].energy, &scope, g,
                                 ebm_concat(g, both, 2, 0));
    *e_data = *e_samples = EBM_POISON;
    if (e == EBM_POISON) return;
    int64_t n = ebm_ref_shape(g, x_data).dim[0];
    *e_data = ebm_slice_axis(g, e, 0, 0, n);
    *e_samples = ebm_slice_axis(g, e, 0, n, n);
}

static ebm_ref mean_square(ebm_graph *g, ebm_ref e)
{
    return ebm_mean_all(g, ebm_square(g, e));
}

void ebm__contrast_descend(ebm_training *t, ebm_ref e_data, ebm_ref e_samples, ebm_ref penalty,
                           double l2)
{
    ebm_graph *g = t->g;
    if (e_data == EBM_POISON || e_samples == EBM_POISON) return;
    ebm_ref mean_data = ebm_mean_all(g, e_data), mean_samples = ebm_mean_all(g, e_samples);
    ebm_ref gap = ebm_sub(g, mean_data, mean_samples);
    ebm_ref squares = ebm_add(g, mean_square(g, e_data), mean_square(g, e_samples));
    ebm_ref loss = penalty == EBM_NONE ? gap : ebm_add(g, gap, penalty);
    if (l2 > 0.0) loss = ebm_add(g, loss, ebm_scale(g, squares, l2));
    ebm_training_metric(t, "energy_data", mean_data);
    ebm_training_metric(t, "energy_samples", mean_samples);
    ebm_training_metric(t, "gap", gap);
    ebm_training_metric(t, "loss", loss);
    ebm_training_check(t, "mean energy of data", mean_data);
    ebm_training_check(t, "mean energy of samples", mean_samples);
    ebm_training_bound(t, "loss", loss, t->options->max_loss);
    ebm_training_descend(t, EBM_PART_ENERGY, loss);
}

/* ---- chains ------------------------------------------------------------------------------ */

static ebm_ref noisy(ebm_training *t, double deviation)
{
    return ebm__contrast_noisy(t, deviation, PURPOSE_DATA_NOISE);
}

/* Where the chains end; a sampler that rejects says how much its last step did not. */
static ebm_ref walk(ebm_training *t, ebm_ref starts)
{
    ebm_scope scope = ebm_training_scope(t, EBM_PART_ENERGY);
    const ebm_energy *energy = &t->part[EBM_PART_ENERGY].energy;
    int32_t rate = ebm_sampler_find_info(t->sampler, "acceptance");
    int64_t n_steps = ebm_sampler_n_steps(t->sampler);
    ebm_ref key = ebm_fold_in_constant(t->g, t->key, FOLD_CHAIN);
    ebm_ref info[EBM_SAMPLER_MAX];
    ebm_ref end = ebm_sampler_chain(t->sampler, energy, &scope, t->g, starts, key, EBM_NONE,
                                    n_steps, rate < 0 ? NULL : info);
    if (rate >= 0 && n_steps > 0)
        ebm_training_metric(t, "acceptance", ebm_mean_all(t->g, info[rate]));
    return ebm_stop(t->g, end);
}

/* From data and samples to the update of the energy. */
static void learn(ebm_training *t, double l2, ebm_ref x_data, ebm_ref x_samples)
{
    ebm_ref e_data, e_samples;
    ebm_training_check(t, "sample", x_samples);
    ebm__contrast_energies(t, x_data, x_samples, &e_data, &e_samples);
    ebm__contrast_descend(t, e_data, e_samples, EBM_NONE, l2);
}

/* ---- CD ---------------------------------------------------------------------------------- */

static void build_cd(const void *options, ebm_training *t)
{
    const ebm_cd_options *o = options;
    ebm_ref x = noisy(t, o->data_noise);
    learn(t, o->l2, x, walk(t, x));
}

static const ebm_option cd_rows[] = {EBM_CD_OPTIONS(EBM_OPTION_ROW, ebm_cd_options)};

const ebm_estimator_kind ebm__estimator_cd = {
    .options = EBM_OPTIONS_OF("cd", cd_rows, ebm_cd_options),
    .samples = true,
    .build = build_cd,
};

/* ---- PCD --------------------------------------------------------------------------------- */

static void build_pcd(const void *options, ebm_training *t)
{
    const ebm_pcd_options *o = options;
    ebm_replay_options replay = {o->buffer_size, o->reinit, o->buffer_init};
    ebm_graph *g = t->g;
    ebm_shape rows = ebm_ref_shape(g, t->x), ages = EBM_DIMS(o->buffer_size);
    ebm_shape buffer_shape = rows;
    buffer_shape.dim[0] = o->buffer_size;
    ebm_ref buffer = ebm_training_array(t, "buffer.x", ebm_ref_dtype(g, t->x), &buffer_shape);
    ebm_ref age = ebm_training_array(t, "buffer.age", EBM_I32, &ages);
    ebm_ref x = noisy(t, o->data_noise);
    ebm_replay_draw draw = ebm_replay_build(&replay, g, buffer, age,
                                            ebm_fold_in_constant(g, t->key, FOLD_REPLAY), x);
    ebm_ref samples = walk(t, draw.starts);
    ebm_ref steps = ebm_scalar(g, EBM_I32, (double)ebm_sampler_n_steps(t->sampler));
    ebm_training_put(t, "buffer.x", draw.slots, samples);
    ebm_training_put(t, "buffer.age", draw.slots, ebm_add(g, draw.age, steps));
    learn(t, o->l2, x, samples);
}

static const ebm_option pcd_rows[] = {EBM_PCD_OPTIONS(EBM_OPTION_ROW, ebm_pcd_options)};

const ebm_estimator_kind ebm__estimator_pcd = {
    .options = EBM_OPTIONS_OF("pcd", pcd_rows, ebm_pcd_options),
    .samples = true,
    .build = build_pcd,
};
