/* likelihood.h - maximum likelihood, for energies that are normalised.
 *
 *     loss = mean E(x) = -mean log p(x)
 *
 * in nats a row.  The trainer refuses an energy whose log Z is not known to be 0.
 * Metrics: loss, grad_norm. */
#ifndef EBM_ESTIMATORS_LIKELIHOOD_H
#define EBM_ESTIMATORS_LIKELIHOOD_H

#include "estimators/estimator.h"

/* There are none: noise for whole numbers is preprocessing, of which the density knows. */
typedef struct ebm_maximum_likelihood_options {
    char none;
} ebm_maximum_likelihood_options;

extern const ebm_estimator_kind ebm__estimator_maximum_likelihood;

#endif
