/* mixture.h - a mixture of Gaussians with diagonal covariances.
 *
 *     log p(x) = logsumexp_k(log softmax(logits)_k + log N(x; means_k, diag exp(2 log_std_k)))
 *
 * It starts as VERA's code has it (Grathwohl et al. 2021): means (K, D) from N(0, 1), log_std
 * (K, D) and logits (K,) at zero.  z is (N, 1 + D): z_0 chooses the component, the first whose
 * cumulative weight is not below Phi(z_0), and the others are the noise.  The choice has no
 * derivative. */
#ifndef EBM_NETWORKS_MIXTURE_H
#define EBM_NETWORKS_MIXTURE_H

#include "networks/network.h"

/* clang-format off */
#define EBM_MIXTURE_OPTIONS(X, S) \
    X(S, INT, components, 100, 1, 1 << 20, "", "Gaussians of the mixture")
/* clang-format on */

typedef struct ebm_mixture_options {
    EBM_MIXTURE_OPTIONS(EBM_OPTION_FIELD, )
} ebm_mixture_options;

extern const ebm_network_kind ebm__network_mixture;

#endif
