/* vera.h - variational entropy regularised training (VERA, Grathwohl et al. 2021, algorithm 1).
 *
 * A generator x = g(z) + sigma eps stands in for the energy's samples.  On a batch x+ and draws
 * x- of as many rows, in this order:
 *
 *     1. what the entropy trains beside them (eta of a posterior, a critic) takes its step;
 *     2. energy:     mean E(x+) - mean E(x-) + gradient_penalty mean |grad E(x+)|^2
 *                    + l2 (mean E(x+)^2 + mean E(x-)^2)
 *     3. generator:  mean E'(x-) + entropy_weight mean <s, x->,  s = sg(score_q(x-)),
 *                    or - entropy_weight (bound + D log sigma) for an entropy that is a bound;
 *
 * E' is the energy after its step.  Without an entropy, or with weight zero, q is only drawn to
 * low energies.  A network with batch norm sees x- by the statistics of this batch.
 * Metrics: energy_data, energy_samples, gap, loss, gradient_norm (mean |grad E(x+)|^2),
 * generator_loss, sigma; entropy_loss (of what step 1 goes down), ess, score_norm where there are
 * such. */
#ifndef EBM_ESTIMATORS_VERA_H
#define EBM_ESTIMATORS_VERA_H

#include "estimators/estimator.h"

/* entropy_weight: where the paper's search begins (1e-4 on large images); gradient_penalty: .1 of
 * the paper, whose code halves the square; sigma: the code's bounds are .01 and .3; statistics:
 * as PyTorch's batch norm. */
/* clang-format off */
#define EBM_VERA_OPTIONS(X, S)                                                                    \
    X(S, REAL, entropy_weight,   1.0, 0,            DBL_MAX, "", "lambda, of the generator's entropy") \
    X(S, REAL, gradient_penalty, 0.1, 0,            DBL_MAX, "", "gamma, of the squared slope at the data") \
    X(S, REAL, l2,               0.0, 0,            DBL_MAX, "", "weight of the squared energies") \
    X(S, REAL, data_noise,       0.0, 0,            DBL_MAX, "", "deviation of the noise on the data") \
    X(S, REAL, sigma_min,        NAN, EBM_POSITIVE, DBL_MAX, "", "least sigma of the generator")  \
    X(S, REAL, sigma_max,        NAN, EBM_POSITIVE, DBL_MAX, "", "largest sigma of the generator") \
    X(S, REAL, momentum,         0.1, 0,            1,       "", "share of a batch in the running statistics")
/* clang-format on */

typedef struct ebm_vera_options {
    EBM_VERA_OPTIONS(EBM_OPTION_FIELD, )
} ebm_vera_options;

extern const ebm_estimator_kind ebm__estimator_vera;

#endif
