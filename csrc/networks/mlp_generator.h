/* mlp_generator.h - dense layers from a latent to rows of any shape: the generator of the papers'
 * toy problems, tables and NICE experiment.
 *
 * As it starts it is the toy generator of VERA (Grathwohl et al. 2021): two layers of 100, relu
 * after batch normalisation.  sigma starts as its code has it. */
#ifndef EBM_NETWORKS_MLP_GENERATOR_H
#define EBM_NETWORKS_MLP_GENERATOR_H

#include "networks/layers.h"
#include "networks/network.h"

typedef enum ebm_generator_norm {
    EBM_GENERATOR_NORM_NONE,
    EBM_GENERATOR_NORM_BATCH,
    EBM_GENERATOR_NORM_LAYER
} ebm_generator_norm;

/* clang-format off */
#define EBM_MLP_GENERATOR_OPTIONS(X, S)                                                                     \
    X(S, INT,    latent,     2,    1, 1 << 24,       "",                   "width of z")                    \
    X(S, INTS,   hidden,     0,    1, 1 << 24,       "100 100",            "widths of the hidden layers")   \
    X(S, CHOICE, activation, 1,    0, 0,             EBM_ACTIVATION_WORDS, "between the layers")            \
    X(S, CHOICE, norm,       1,    0, 0,             "none batch layer",   "before each activation")        \
    X(S, REAL,   dropout,    0,    0, 0.99,          "",                   "share dropped behind each activation, in training") \
    X(S, REAL,   sigma,      0.01, 0, DBL_MAX,        "",                   "start of the noise's deviation; 0: no noise")
/* clang-format on */

typedef struct ebm_mlp_generator_options {
    EBM_MLP_GENERATOR_OPTIONS(EBM_OPTION_FIELD, )
} ebm_mlp_generator_options;

extern const ebm_network_kind ebm__network_mlp_generator;

#endif
