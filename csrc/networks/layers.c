#include "networks/layers.h"

#include <math.h>
#include <stdio.h>

#define BATCH_NORM_EPSILON 1e-5 /* as PyTorch and Ioffe and Szegedy's code have it */

ebm_ref ebm_activate(ebm_graph *g, ebm_activation f, ebm_ref x)
{
    switch (f) {
#define EBM_ACTIVATION_CASE(name, builder, gain) \
    case EBM_ACTIVATION_##name: return builder;
        EBM_ACTIVATIONS(EBM_ACTIVATION_CASE)
#undef EBM_ACTIVATION_CASE
    default: return ebm_graph_fail(g, EBM_VALUE, "activation: unknown number %d", (int)f);
    }
}

double ebm_activation_gain(ebm_activation f)
{
    static const double gains[EBM_ACTIVATION_COUNT] = {
#define EBM_ACTIVATION_GAIN(name, builder, gain) gain,
        EBM_ACTIVATIONS(EBM_ACTIVATION_GAIN)
#undef EBM_ACTIVATION_GAIN
    };
    return gains[f];
}

/* A parameter "<layer>.<leaf>". */
static ebm_ref param(const ebm_scope *scope, ebm_graph *g, const char *layer, const char *leaf,
                     const ebm_shape *shape, ebm_init init)
{
    char name[EBM_NAME_SIZE];
    return ebm_scope_param(scope, g, ebm_name_join(name, layer, leaf), shape, init);
}

ebm_ref ebm_layer_dense(const ebm_scope *scope, ebm_graph *g, const char *name, ebm_ref x,
                        int64_t out, double gain)
{
    if (x == EBM_POISON) return EBM_POISON;
    int64_t in = ebm_ref_shape(g, x).dim[1];
    ebm_shape w_shape = EBM_DIMS(in, out), b_shape = EBM_DIMS(out);
    ebm_init w_init = {0.0, gain / sqrt((double)(in > 0 ? in : 1))}, b_init = {0.0, 0.0};
    ebm_ref w = param(scope, g, name, "w", &w_shape, w_init);
    ebm_ref b = param(scope, g, name, "b", &b_shape, b_init);
    return ebm_linear(g, x, w, b);
}

ebm_ref ebm_layer_weight_norm(const ebm_scope *scope, ebm_graph *g, const char *name, ebm_ref x,
                              int64_t out, double gain)
{
    if (x == EBM_POISON) return EBM_POISON;
    ebm_shape v_shape = EBM_DIMS(ebm_ref_shape(g, x).dim[1], out), each = EBM_DIMS(out);
    ebm_init v_init = {0.0, 1.0}, g_init = {gain, 0.0}, b_init = {0.0, 0.0};
    ebm_ref v = param(scope, g, name, "v", &v_shape, v_init);
    ebm_ref length = param(scope, g, name, "g", &each, g_init);
    ebm_ref b = param(scope, g, name, "b", &each, b_init);
    return ebm_linear(g, x, ebm_weight_norm(g, v, length), b);
}

ebm_ref ebm_layer_conv(const ebm_scope *scope, ebm_graph *g, const char *name, ebm_ref x,
                       const ebm_conv_layer *layer, double gain)
{
    if (x == EBM_POISON) return EBM_POISON;
    ebm_shape image = ebm_ref_shape(g, x);
    int64_t k = layer->kernel, in = image.dim[3], pad = 2 * layer->padding;
    if (image.dim[1] + pad < k || image.dim[2] + pad < k)
        return ebm_graph_fail(
            g, EBM_SHAPE,
            "layer '%s': got a (%lld, %lld) image with padding %lld, expected room "
            "for a (%lld, %lld) kernel: leave out layers or strides",
            name, (long long)image.dim[1], (long long)image.dim[2], (long long)layer->padding,
            (long long)k, (long long)k);
    ebm_shape w_shape = EBM_DIMS(k, k, in, layer->channels), b_shape = EBM_DIMS(layer->channels);
    ebm_init w_init = {0.0, gain / sqrt((double)(k * k * (in > 0 ? in : 1)))},
             b_init = {0.0, 0.0};
    ebm_conv_geometry geometry = ebm_conv_same(layer->stride, layer->padding);
    ebm_ref w = param(scope, g, name, "w", &w_shape, w_init);
    ebm_ref b = param(scope, g, name, "b", &b_shape, b_init);
    return ebm_add(g, ebm_conv(g, x, w, &geometry), b);
}

ebm_ref ebm_layer_group_norm(const ebm_scope *scope, ebm_graph *g, const char *name, ebm_ref x,
                             int64_t groups)
{
    if (x == EBM_POISON) return EBM_POISON;
    ebm_shape shape = ebm_ref_shape(g, x);
    int64_t channels = shape.dim[shape.rank - 1];
    if (channels % groups != 0)
        return ebm_graph_fail(g, EBM_SHAPE,
                              "layer '%s': got %lld channels, expected a multiple of "
                              "%lld groups",
                              name, (long long)channels, (long long)groups);
    ebm_shape each = EBM_DIMS(channels);
    ebm_init one = {1.0, 0.0}, zero = {0.0, 0.0};
    ebm_ref gain = param(scope, g, name, "g", &each, one);
    ebm_ref bias = param(scope, g, name, "b", &each, zero);
    return ebm_group_norm(g, x, groups, gain, bias, 1e-5);
}

/* The kept statistic "<layer>.<leaf>", or the batch's own, `seen`. */
static ebm_ref statistic(const ebm_scope *scope, ebm_graph *g, const char *layer,
                         const char *leaf, ebm_ref seen, double start)
{
    if (seen == EBM_POISON) return EBM_POISON;
    char name[EBM_NAME_SIZE];
    ebm_shape shape = ebm_ref_shape(g, seen);
    ebm_init init = {start, 0.0};
    ebm_name_join(name, layer, leaf);
    ebm_ref kept = ebm_scope_statistic(scope, g, name, &shape, init);
    if (scope->statistics == EBM_STATISTICS_RUNNING) return kept;
    ebm_scope_saw(scope, name, seen);
    return seen;
}

ebm_ref ebm_layer_batch_norm(const ebm_scope *scope, ebm_graph *g, const char *name, ebm_ref x)
{
    if (x == EBM_POISON) return EBM_POISON;
    ebm_shape shape = ebm_ref_shape(g, x);
    if (shape.rank < 2)
        return ebm_graph_fail(g, EBM_SHAPE, "layer '%s': got rank %d, expected at least 2",
                              name, shape.rank);
    ebm_shape each = EBM_DIMS(shape.dim[shape.rank - 1]);
    int64_t all_but_last = (INT64_C(1) << (shape.rank - 1)) - 1;
    ebm_init one = {1.0, 0.0}, zero = {0.0, 0.0};
    ebm_ref gain = param(scope, g, name, "g", &each, one);
    ebm_ref bias = param(scope, g, name, "b", &each, zero);
    ebm_ref own_mean = ebm_mean(g, x, all_but_last, false);
    ebm_ref own_var = ebm_variance(g, x, all_but_last, false);
    ebm_ref mean = statistic(scope, g, name, "mean", own_mean, 0.0);
    ebm_ref var = statistic(scope, g, name, "var", own_var, 1.0);
    ebm_ref inverse = ebm_recip(g, ebm_sqrt(g, ebm_shift(g, var, BATCH_NORM_EPSILON)));
    return ebm_add(g, ebm_mul(g, ebm_sub(g, x, mean), ebm_mul(g, inverse, gain)), bias);
}

/* FNV-1a of the name, as a purpose. */
static int32_t site_of(const char *name)
{
    uint32_t hash = 2166136261u;
    for (; *name; name++) hash = (hash ^ (unsigned char)*name) * 16777619u;
    return (int32_t)(hash & INT32_MAX);
}

ebm_ref ebm_layer_dropout(const ebm_scope *scope, ebm_graph *g, const char *name, ebm_ref x,
                          double rate)
{
    ebm_ref key = ebm_scope_key(scope, g);
    if (x == EBM_POISON || key == EBM_NONE || rate == 0.0) return x;
    return ebm_dropout(g, x, key, rate, site_of(name));
}

ebm_ref ebm_layer_flatten(ebm_graph *g, ebm_ref x)
{
    if (x == EBM_POISON) return EBM_POISON;
    ebm_shape shape = ebm_ref_shape(g, x);
    if (shape.rank < 1)
        return ebm_graph_fail(g, EBM_SHAPE, "network: got a scalar, expected rows (N, ...)");
    int64_t n = shape.dim[0], size = 1;
    for (int32_t i = 1; i < shape.rank; i++) size *= shape.dim[i];
    ebm_shape flat = EBM_DIMS(n, size);
    return ebm_reshape(g, x, &flat);
}

ebm_ref ebm_layer_head(const ebm_scope *scope, ebm_graph *g, ebm_ref x, const int64_t *hidden,
                       int64_t n_hidden, ebm_activation f, double gain)
{
    char name[24];
    for (int64_t i = 0; i < n_hidden; i++) {
        snprintf(name, sizeof name, "l%d", (int)i);
        x = ebm_activate(g, f, ebm_layer_dense(scope, g, name, x, hidden[i], gain));
        gain = ebm_activation_gain(f);
    }
    snprintf(name, sizeof name, "l%d", (int)n_hidden);
    x = ebm_layer_dense(scope, g, name, x, 1, gain);
    if (x == EBM_POISON) return EBM_POISON;
    ebm_shape energies = EBM_DIMS(ebm_ref_shape(g, x).dim[0]);
    return ebm_reshape(g, x, &energies);
}
