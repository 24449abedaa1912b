#include "networks/mlp_generator.h"

#include <stdio.h>

#include "networks/density.h"

static ebm_ref normalize(const ebm_mlp_generator_options *o, const ebm_scope *scope,
                         ebm_graph *g, int64_t layer, ebm_ref x)
{
    char name[24];
    snprintf(name, sizeof name, "n%d", (int)layer);
    switch ((ebm_generator_norm)o->norm) {
    case EBM_GENERATOR_NORM_BATCH: return ebm_layer_batch_norm(scope, g, name, x);
    case EBM_GENERATOR_NORM_LAYER: return ebm_layer_group_norm(scope, g, name, x, 1);
    default: return x;
    }
}

static ebm_ref generate(const void *options, const ebm_scope *scope, ebm_graph *g, ebm_ref z,
                        const ebm_shape *row)
{
    const ebm_mlp_generator_options *o = options;
    ebm_activation f = (ebm_activation)o->activation;
    double gain = 1.0;
    char name[24];
    ebm_ref h = z;
    for (int64_t i = 0; i < o->hidden.n; i++) {
        snprintf(name, sizeof name, "l%d", (int)i);
        h = ebm_layer_dense(scope, g, name, h, o->hidden.at[i], gain);
        h = ebm_activate(g, f, normalize(o, scope, g, i, h));
        h = ebm_layer_dropout(scope, g, name, h, o->dropout);
        gain = ebm_activation_gain(f);
    }
    snprintf(name, sizeof name, "l%d", (int)o->hidden.n);
    h = ebm_layer_dense(scope, g, name, h, ebm_shape_size(row), gain);
    return ebm_rows_reshape(g, h, row);
}

static int64_t latent(const void *options, const ebm_shape *row)
{
    (void)row;
    return ((const ebm_mlp_generator_options *)options)->latent;
}

static const ebm_option rows[] = {
    EBM_MLP_GENERATOR_OPTIONS(EBM_OPTION_ROW, ebm_mlp_generator_options)};

const ebm_network_kind ebm__network_mlp_generator = {
    .options = EBM_OPTIONS_OF("mlp_generator", rows, ebm_mlp_generator_options),
    .generate = generate,
    .latent = latent,
    .noisy = true,
    .rows_independent = true,
};
