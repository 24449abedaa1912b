/* layers.h - what networks are put together from. */
#ifndef EBM_NETWORKS_LAYERS_H
#define EBM_NETWORKS_LAYERS_H

#include "networks/scope.h"
#include "ops/ops.h"

/* X(name, builder of (g, x), gain): gain^2 = 1 / E[f(n)^2] for n ~ N(0, 1), so that weights of
 * variance gain^2 / fan_in keep the mean square of the layers (He et al. 2015, where f is relu
 * and gain^2 is 2).  leaky_relu has slope 0.2. */
/* clang-format off */
#define EBM_ACTIVATIONS(X)                                        \
    X(swish,      ebm_swish(g, x),                1.676532)       \
    X(relu,       ebm_relu(g, x),                 1.414214)       \
    X(leaky_relu, ebm_leaky_relu(g, x, 0.2),      1.386750)       \
    X(elu,        ebm_elu(g, x, 1.0),             1.245198)       \
    X(softplus,   ebm_softplus(g, x),             1.041867)       \
    X(tanh,       ebm_tanh(g, x),                 1.592537)       \
    X(gelu,       ebm_gelu(g, x),                 1.533530)
/* clang-format on */
#define EBM_ACTIVATION_WORDS "swish relu leaky_relu elu softplus tanh gelu"

typedef enum ebm_activation {
#define EBM_ACTIVATION_ENUM(name, builder, gain) EBM_ACTIVATION_##name,
    EBM_ACTIVATIONS(EBM_ACTIVATION_ENUM)
#undef EBM_ACTIVATION_ENUM
        EBM_ACTIVATION_COUNT
} ebm_activation;

ebm_ref ebm_activate(ebm_graph *g, ebm_activation f, ebm_ref x);
double ebm_activation_gain(ebm_activation f);

/* x (N, I) -> (N, O): x w + b with parameters "<name>.w" (I, O), of variance gain^2 / I at the
 * start, and "<name>.b" (O,), zero. */
ebm_ref ebm_layer_dense(const ebm_scope *scope, ebm_graph *g, const char *name, ebm_ref x,
                        int64_t out, double gain);

/* The same with w = g v / |v| for each output (Salimans and Kingma 2016): "<name>.v" (I, O)
 * from N(0, 1), "<name>.g" (O,) from `gain`, "<name>.b" (O,). */
ebm_ref ebm_layer_weight_norm(const ebm_scope *scope, ebm_graph *g, const char *name, ebm_ref x,
                              int64_t out, double gain);

typedef struct ebm_conv_layer {
    int64_t channels, kernel, stride, padding; /* channels out; square kernels */
} ebm_conv_layer;

/* x (N, H, W, I) -> (N, h, w, channels): "<name>.w" (kernel, kernel, I, channels) of variance
 * gain^2 / (kernel^2 I), "<name>.b" (channels,).  SHAPE if the kernel does not fit the padded
 * image. */
ebm_ref ebm_layer_conv(const ebm_scope *scope, ebm_graph *g, const char *name, ebm_ref x,
                       const ebm_conv_layer *layer, double gain);

/* Normalisation of each row over H, W and groups of channels, with "<name>.g" (C,) from one and
 * "<name>.b" (C,) from zero.  One group is layer normalisation. */
ebm_ref ebm_layer_group_norm(const ebm_scope *scope, ebm_graph *g, const char *name, ebm_ref x,
                             int64_t groups);

/* Batch normalisation of x (..., C) over all axes but the last (Ioffe and Szegedy 2015):
 *
 *     y = (x - mean) / sqrt(var + 1e-5) * g + b
 *
 * with "<name>.g" (C,) from one, "<name>.b" (C,) from zero and the statistics "<name>.mean" from
 * zero and "<name>.var" from one.  The batch's own, which couple its rows, are its mean and its
 * variance, divided by the number of values. */
ebm_ref ebm_layer_batch_norm(const ebm_scope *scope, ebm_graph *g, const char *name, ebm_ref x);

/* x / (1 - rate) where a coin says so, else 0; x itself if the scope has no key or the rate is 0.
 * The drawing site is made of the name, so that layers of one key differ. */
ebm_ref ebm_layer_dropout(const ebm_scope *scope, ebm_graph *g, const char *name, ebm_ref x,
                          double rate);

/* (N, ...) -> (N, D). */
ebm_ref ebm_layer_flatten(ebm_graph *g, ebm_ref x);

/* Dense layers "l0", "l1", ... with the activation between them and one output, as energies: x
 * (N, D) -> (N,).  `gain` is that of the values that come in. */
ebm_ref ebm_layer_head(const ebm_scope *scope, ebm_graph *g, ebm_ref x, const int64_t *hidden,
                       int64_t n_hidden, ebm_activation f, double gain);

#endif
