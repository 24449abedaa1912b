/* mlp.h - dense layers on flattened rows: the energy of the papers' toy problems and tables. */
#ifndef EBM_NETWORKS_MLP_H
#define EBM_NETWORKS_MLP_H

#include "networks/layers.h"
#include "networks/network.h"

/* clang-format off */
#define EBM_MLP_OPTIONS(X, S)                                                                           \
    X(S, INTS,   hidden,      0, 1, 1 << 24, "128 128",            "widths of the hidden layers")       \
    X(S, CHOICE, activation,  0, 0, 0,       EBM_ACTIVATION_WORDS, "between the layers")                \
    X(S, BOOL,   weight_norm, 0, 0, 1,       "",                   "of all layers but the last")        \
    X(S, REAL,   dropout,     0, 0, 0.99,    "",                   "share dropped behind each activation, in training")
/* clang-format on */

typedef struct ebm_mlp_options {
    EBM_MLP_OPTIONS(EBM_OPTION_FIELD, )
} ebm_mlp_options;

extern const ebm_network_kind ebm__network_mlp;

#endif
