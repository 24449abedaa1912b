/* hmc.h - Hamiltonian Monte Carlo (Duane et al. 1987; Neal 2011).
 *
 *     p ~ N(0, noise^2 I), then n_leapfrog times
 *         p -= step_size / 2 grad E(x);  x += step_size p / mass;  p -= step_size / 2 grad E(x)
 *
 * accepted with min(1, exp(H(x, p) - H(x', p'))), H(x, p) = E(x) + |p|^2 / (2 noise^2).  The noise
 * is sqrt(mass) unless it is given.  The leapfrog is reversible and keeps volumes whatever mass and
 * noise are, so exp(-E) is left as it is for every noise; energy is kept, and acceptance high, where
 * noise^2 = mass.
 *
 * Workload: n_leapfrog gradients a step; energy and gradient are carried. */
#ifndef EBM_SAMPLERS_HMC_H
#define EBM_SAMPLERS_HMC_H

#include "samplers/metropolis.h"

/* n_leapfrog: VERA's code has 5. */
/* clang-format off */
#define EBM_HMC_OPTIONS(X, S)                                                                      \
    X(S, INT,  n_steps,    60,   0,            INT32_MAX, "", "steps of a chain")                  \
    X(S, REAL, step_size,  0.1,  EBM_POSITIVE, DBL_MAX,   "", "of the leapfrog")                   \
    X(S, INT,  n_leapfrog, 5,    1,            1 << 20,   "", "leapfrogs of a step")               \
    X(S, REAL, mass,       1.0,  EBM_POSITIVE, DBL_MAX,   "", "of a coordinate")                   \
    X(S, REAL, noise,      NAN,  EBM_POSITIVE, DBL_MAX,   "", "momentum's deviation; none: sqrt(mass)") \
    EBM_BOUNDS_OPTIONS(X, S)                                                                        \
    EBM_ADAPT_OPTIONS(X, S)
/* clang-format on */

typedef struct ebm_hmc_options {
    EBM_HMC_OPTIONS(EBM_OPTION_FIELD, )
} ebm_hmc_options;

extern const ebm_sampler_kind ebm__sampler_hmc;

#endif
