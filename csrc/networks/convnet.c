#include "networks/convnet.h"

#include <stdio.h>

/* Number i of the list, else its last; 1 if it is empty. */
static int64_t at_or_last(const ebm_ints *ints, int64_t i)
{
    return ints->n == 0 ? 1 : ints->at[i < ints->n ? i : ints->n - 1];
}

static ebm_ref normalize(const ebm_convnet_options *o, const ebm_scope *scope, ebm_graph *g,
                         int64_t layer, ebm_ref x)
{
    if (o->norm == EBM_NORM_NONE) return x;
    char name[24];
    snprintf(name, sizeof name, "n%d", (int)layer);
    return ebm_layer_group_norm(scope, g, name, x,
                                o->norm == EBM_NORM_LAYER ? 1 : EBM_CONVNET_GROUPS);
}

static ebm_ref build(const void *options, const ebm_scope *scope, ebm_graph *g, ebm_ref x)
{
    const ebm_convnet_options *o = options;
    ebm_activation f = (ebm_activation)o->activation;
    double gain = 1.0;
    char name[24], text[128];
    ebm_shape shape = ebm_ref_shape(g, x);
    if (shape.rank != 4)
        return ebm_graph_fail(g, EBM_SHAPE, "convnet: x: got %s, expected images (N, H, W, C)",
                              ebm_shape_text(&shape, text, sizeof text));
    for (int64_t i = 0; i < o->channels.n; i++) {
        ebm_conv_layer layer = {o->channels.at[i], at_or_last(&o->kernels, i),
                                at_or_last(&o->strides, i), o->padding};
        snprintf(name, sizeof name, "c%d", (int)i);
        x = ebm_layer_conv(scope, g, name, x, &layer, gain);
        x = ebm_activate(g, f, normalize(o, scope, g, i, x));
        gain = ebm_activation_gain(f);
    }
    return ebm_layer_head(scope, g, ebm_layer_flatten(g, x), o->head.at, o->head.n, f, gain);
}

static const ebm_option rows[] = {EBM_CONVNET_OPTIONS(EBM_OPTION_ROW, ebm_convnet_options)};

const ebm_network_kind ebm__network_convnet = {
    .options = EBM_OPTIONS_OF("convnet", rows, ebm_convnet_options),
    .build = build,
    .rows_independent = true,
};
