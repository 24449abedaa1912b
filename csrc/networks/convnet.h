/* convnet.h - convolutions on images (N, H, W, C), then dense layers.
 *
 * As it starts it is the energy of CEBM's images (Wu et al. 2021, after Nijkamp et al. 2020):
 * four layers of 32, 32, 64, 64 channels with kernels 3, 4, 4, 4, strides 1, 2, 2, 2 and
 * padding 1, swish after each, and a hidden layer of 128 (the paper has an MLP head and no
 * width, the code none).  The lists of kernels and strides go on with their last number where
 * they are shorter than `channels`. */
#ifndef EBM_NETWORKS_CONVNET_H
#define EBM_NETWORKS_CONVNET_H

#include "networks/layers.h"
#include "networks/network.h"

typedef enum ebm_convnet_norm {
    EBM_NORM_NONE,
    EBM_NORM_LAYER,
    EBM_NORM_GROUP
} ebm_convnet_norm;
enum { EBM_CONVNET_GROUPS = 8 };

/* Batch normalisation is left out on purpose: it couples the rows of an energy. */
/* clang-format off */
#define EBM_CONVNET_OPTIONS(X, S)                                                                   \
    X(S, INTS,   channels,   0, 1, 1 << 20, "32 32 64 64",        "channels of the convolutions")   \
    X(S, INTS,   kernels,    0, 1, 1 << 10, "3 4 4 4",            "sides of the square kernels")    \
    X(S, INTS,   strides,    0, 1, 1 << 10, "1 2 2 2",            "steps of the kernels")           \
    X(S, INT,    padding,    1, 0, 1 << 10, "",                   "zeros around each image")        \
    X(S, INTS,   head,       0, 1, 1 << 24, "128",                "widths of the dense layers")     \
    X(S, CHOICE, activation, 0, 0, 0,       EBM_ACTIVATION_WORDS, "after each layer but the last")  \
    X(S, CHOICE, norm,       0, 0, 0,       "none layer group",   "before each convolution's activation")
/* clang-format on */

typedef struct ebm_convnet_options {
    EBM_CONVNET_OPTIONS(EBM_OPTION_FIELD, )
} ebm_convnet_options;

extern const ebm_network_kind ebm__network_convnet;

#endif
