#include "networks/mlp.h"

static ebm_ref build(const void *options, const ebm_scope *scope, ebm_graph *g, ebm_ref x)
{
    const ebm_mlp_options *o = options;
    return ebm_layer_head(scope, g, ebm_layer_flatten(g, x), o->hidden.at, o->hidden.n,
                          (ebm_activation)o->activation, 1.0);
}

static const ebm_option rows[] = {EBM_MLP_OPTIONS(EBM_OPTION_ROW, ebm_mlp_options)};

const ebm_network_kind ebm__network_mlp = {
    .options = EBM_OPTIONS_OF("mlp", rows, ebm_mlp_options),
    .build = build,
    .rows_independent = true,
};
