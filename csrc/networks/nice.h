/* nice.h - NICE, additive couplings (Dinh, Krueger and Bengio 2015): an exact density and its
 * sampler in one.
 *
 *     a, b = x at even places, x at odd places
 *     b += m_0(a),  a += m_1(b),  b += m_2(a), ...        (their Eq. 3.1 and section 4.1)
 *     y = (a, b) * exp(s),   log p(x) = log N(y; 0, I) + sum s,   or of logistic y
 *
 * m_i is an MLP "c<i>.l0", "c<i>.l1", ..., s the parameter "log_scale" (D,).  What generates is
 * the inverse, from z = y, or from the normal z that logistic y are made of.  As it starts it is
 * the model of VERA's likelihood experiment (Grathwohl et al. 2021, B.3, with its code's order of
 * places).  The last layer of each m_i starts at zero, so that couplings start as the identity, as
 * those of Glow do. */
#ifndef EBM_NETWORKS_NICE_H
#define EBM_NETWORKS_NICE_H

#include "networks/layers.h"
#include "networks/network.h"

/* clang-format off */
#define EBM_NICE_OPTIONS(X, S)                                                                          \
    X(S, INT,    couplings,  4,    1, 1 << 10, "",                   "how many")                        \
    X(S, INT,    layers,     5,    0, 1 << 10, "",                   "hidden layers of each coupling")  \
    X(S, INT,    width,      1000, 1, 1 << 24, "",                   "of the hidden layers")            \
    X(S, CHOICE, activation, 4,    0, 0,       EBM_ACTIVATION_WORDS, "of the hidden layers")            \
    X(S, CHOICE, prior,      0,    0, 0,       "normal logistic",    "of each y")
/* clang-format on */

typedef struct ebm_nice_options {
    EBM_NICE_OPTIONS(EBM_OPTION_FIELD, )
} ebm_nice_options;

extern const ebm_network_kind ebm__network_nice;

#endif
