/* contrastive.h - contrastive divergence: data against chains.
 *
 *     loss = mean E(x+) - mean E(sg x-) + l2 (mean E(x+)^2 + mean E(x-)^2)
 *
 * x+ = data + data_noise n.  x- is where the sampler's chain of n_steps ends: it starts at x+
 * (CD) or goes on from a replay buffer (PCD, Tieleman 2008; short chains on images: Du and
 * Mordatch 2019). Both batches share one pass of the energy, whose rows must be independent.
 * Metrics: energy_data, energy_samples, gap (their difference), loss, grad_norm. */
#ifndef EBM_ESTIMATORS_CONTRASTIVE_H
#define EBM_ESTIMATORS_CONTRASTIVE_H

#include "estimators/estimator.h"
#include "samplers/replay.h"

/* The defaults are those of CEBM's code (Wu et al. 2021). */
/* clang-format off */
#define EBM_CD_OPTIONS(X, S)                                                            \
    X(S, REAL, l2,         5e-3, 0, DBL_MAX, "", "weight of the squared energies")      \
    X(S, REAL, data_noise, 0.03, 0, DBL_MAX, "", "deviation of the noise on the data")
#define EBM_PCD_OPTIONS(X, S) EBM_CD_OPTIONS(X, S) EBM_REPLAY_OPTIONS(X, S)
/* clang-format on */

typedef struct ebm_cd_options {
    EBM_CD_OPTIONS(EBM_OPTION_FIELD, )
} ebm_cd_options;
typedef struct ebm_pcd_options {
    EBM_PCD_OPTIONS(EBM_OPTION_FIELD, )
} ebm_pcd_options;

extern const ebm_estimator_kind ebm__estimator_cd, ebm__estimator_pcd;

/* ---- data against samples, wherever these come from ---------------------------------------- */

/* The batch with noise of this deviation, drawn at this site. */
ebm_ref ebm__contrast_noisy(ebm_training *t, double deviation, int32_t purpose);
/* E of data and of as many samples, by one pass; both poison after an error. */
void ebm__contrast_energies(ebm_training *t, ebm_ref x_data, ebm_ref x_samples, ebm_ref *e_data,
                            ebm_ref *e_samples);
/* The energy goes down mean e_data - mean e_samples + penalty + l2 (mean e_data^2 + mean
 * e_samples^2), with the metrics and checks of it; penalty (), EBM_NONE for none. */
void ebm__contrast_descend(ebm_training *t, ebm_ref e_data, ebm_ref e_samples, ebm_ref penalty,
                           double l2);

#endif
