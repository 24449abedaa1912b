/* linear.h - probabilistic PCA (Tipping and Bishop 1999): a generator whose density is known.
 *
 *     x = W z + mu + sigma eps,   p(x) = N(x; mu, C),  C = W W' + sigma^2 I
 *
 * with "w" (D, latent) from N(0, 1 / latent), "mu" (D,) from zero, "log_sigma" ().  The energy
 * costs a Cholesky factor of M = W'W + sigma^2 I, (latent, latent), and nothing of size D x D:
 *
 *     log |C| = (D - latent) log sigma^2 + log |M|
 *     r' C^-1 r = |r - W z*|^2 / sigma^2 + |z*|^2,   z* = M^-1 W' r,  r = x - mu
 *
 * a sum of squares, where |r|^2 - r'W M^-1 W'r would lose its digits as sigma goes to zero. */
#ifndef EBM_NETWORKS_LINEAR_H
#define EBM_NETWORKS_LINEAR_H

#include "networks/network.h"

/* clang-format off */
#define EBM_LINEAR_OPTIONS(X, S)                                                 \
    X(S, INT,  latent, 2,   1,            1 << 16, "", "width of z")             \
    X(S, REAL, sigma,  1.0, EBM_POSITIVE, DBL_MAX, "", "start of the deviation of the noise")
/* clang-format on */

typedef struct ebm_linear_options {
    EBM_LINEAR_OPTIONS(EBM_OPTION_FIELD, )
} ebm_linear_options;

extern const ebm_network_kind ebm__network_linear;

#endif
