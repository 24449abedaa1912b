/* langevin.h - unadjusted Langevin dynamics.
 *
 *     x' = x - step_size * grad E(x) + noise * n,    n ~ N(0, I)
 *
 * Workload: N chains of D numbers, 10 to 500 steps, the same plan each step.
 * Trap: noise = sqrt(2 step_size), the default, samples exp(-E) as the step goes to 0; image
 * papers set noise apart from the step, which samples exp(-E / T) with T = noise^2 / (2
 * step_size). Papers that write a half in front of the gradient have step_size = eta / 2.
 * The gradient is that of the sum of E over rows, so rows must be independent. */
#ifndef EBM_SAMPLERS_LANGEVIN_H
#define EBM_SAMPLERS_LANGEVIN_H

#include "samplers/sampler.h"

/* clip_grad bounds each element of the gradient (IGEBM: 0.01); clip_low, clip_high bound x'. */
/* clang-format off */
#define EBM_LANGEVIN_OPTIONS(X, S)                                                                    \
    X(S, INT,  n_steps,   60,        0,            INT32_MAX, "", "steps of a chain")                 \
    X(S, REAL, step_size, 0.01,      EBM_POSITIVE, DBL_MAX,   "", "factor of the gradient")           \
    X(S, REAL, noise,     NAN,       0,            DBL_MAX,   "", "deviation; none: sqrt(2 step_size)") \
    X(S, REAL, clip_grad, NAN,       EBM_POSITIVE, DBL_MAX,   "", "bound of |grad E|, by element")    \
    X(S, REAL, clip_low,  -INFINITY, -INFINITY,    DBL_MAX,   "", "lower bound of x")                 \
    X(S, REAL, clip_high, INFINITY,  -DBL_MAX,     INFINITY,  "", "upper bound of x")
/* clang-format on */

typedef struct ebm_langevin_options {
    EBM_LANGEVIN_OPTIONS(EBM_OPTION_FIELD, )
} ebm_langevin_options;

extern const ebm_sampler_kind ebm__sampler_langevin;

double ebm_langevin_noise(const ebm_langevin_options *options); /* with the default filled in */
double ebm_langevin_temperature(const ebm_langevin_options *options); /* noise^2 / (2 step_size) */

#endif
