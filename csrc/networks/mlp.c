#include "networks/mlp.h"

#include <stdio.h>

static ebm_ref build(const void *options, const ebm_scope *scope, ebm_graph *g, ebm_ref x)
{
    const ebm_mlp_options *o = options;
    ebm_activation f = (ebm_activation)o->activation;
    double gain = 1.0;
    char name[24];
    x = ebm_layer_flatten(g, x);
    for (int64_t i = 0; i < o->hidden.n; i++) {
        snprintf(name, sizeof name, "l%d", (int)i);
        x = (o->weight_norm ? ebm_layer_weight_norm : ebm_layer_dense)(scope, g, name, x,
                                                                       o->hidden.at[i], gain);
        x = ebm_layer_dropout(scope, g, name, ebm_activate(g, f, x), o->dropout);
        gain = ebm_activation_gain(f);
    }
    snprintf(name, sizeof name, "l%d", (int)o->hidden.n);
    x = ebm_layer_dense(scope, g, name, x, 1, gain);
    if (x == EBM_POISON) return EBM_POISON;
    ebm_shape energies = EBM_DIMS(ebm_ref_shape(g, x).dim[0]);
    return ebm_reshape(g, x, &energies);
}

static const ebm_option rows[] = {EBM_MLP_OPTIONS(EBM_OPTION_ROW, ebm_mlp_options)};

const ebm_network_kind ebm__network_mlp = {
    .options = EBM_OPTIONS_OF("mlp", rows, ebm_mlp_options),
    .build = build,
    .rows_independent = true,
};
