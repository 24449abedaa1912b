/* mala.h - the Metropolis-adjusted Langevin algorithm (Roberts and Tweedie 1996).
 *
 *     x' = x - step_size grad E(x) + noise n,    n ~ N(0, I)
 *
 * accepted with min(1, exp(E(x) - E(x')) q(x | x') / q(x' | x)), q(x' | x) = N(x'; x - step_size
 * grad E(x), noise^2 I), so exp(-E) is left as it is for every noise.  In terms of the draw the log
 * ratio is
 *
 *     E(x) - E(x') + <n, d> - |d|^2 / 2,    d = (step_size / noise) (grad E(x) + grad E(x')).
 *
 * Workload: as Langevin's; energy and gradient are carried, so a step has one of each.
 * A step size that is adapted takes the noise along: noise^2 / step_size stays. */
#ifndef EBM_SAMPLERS_MALA_H
#define EBM_SAMPLERS_MALA_H

#include "samplers/metropolis.h"

/* clang-format off */
#define EBM_MALA_OPTIONS(X, S)                                                                      \
    X(S, INT,  n_steps,   60,   0,            INT32_MAX, "", "steps of a chain")                    \
    X(S, REAL, step_size, 0.01, EBM_POSITIVE, DBL_MAX,   "", "factor of the gradient")              \
    X(S, REAL, noise,     NAN,  EBM_POSITIVE, DBL_MAX,   "", "deviation; none: sqrt(2 step_size)")  \
    EBM_BOUNDS_OPTIONS(X, S)                                                                        \
    EBM_ADAPT_OPTIONS(X, S)
/* clang-format on */

typedef struct ebm_mala_options {
    EBM_MALA_OPTIONS(EBM_OPTION_FIELD, )
} ebm_mala_options;

extern const ebm_sampler_kind ebm__sampler_mala;

#endif
