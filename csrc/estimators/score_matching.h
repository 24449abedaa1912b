/* score_matching.h - score matching: fits s(x) = -grad E(x) to the slope of the data's log density,
 * without samples and without log Z.
 *
 *     exact       tr ds/dx + |s|^2 / 2                        (Hyvarinen 2005, theorem 1)
 *     sliced      v' ds/dx v + (v' s)^2 / 2                   (Song et al. 2019, SSM)
 *     sliced_vr   v' ds/dx v + |s|^2 / 2                      (SSM-VR; VERA's code)
 *     curvature   exact, with the trace as curvature.h estimates it (Martens et al. 2012)
 *     denoising   |s(x + sigma n) + n / sigma|^2 / 2          (Vincent 2011, J_DSM)
 *
 * each the mean over a batch; v are signs or normal, n_projections of them for a row.  The first
 * four agree in expectation; the last is that of data with noise.  A product with ds/dx is a jvp of
 * the gradient, and the trace of `exact` D of them, in a loop over the unit vectors.
 * Metrics: loss, trace (mean of the first term; not of denoising), score_norm (root of the mean
 * |s|^2, with (v' s)^2 in its place for sliced), grad_norm. */
#ifndef EBM_ESTIMATORS_SCORE_MATCHING_H
#define EBM_ESTIMATORS_SCORE_MATCHING_H

#include "estimators/estimator.h"

/* The words of the choices, in their order. */
enum {
    EBM_SCORE_MATCHING_sliced,
    EBM_SCORE_MATCHING_sliced_vr,
    EBM_SCORE_MATCHING_denoising,
    EBM_SCORE_MATCHING_curvature,
    EBM_SCORE_MATCHING_exact
};
enum { EBM_PROJECTION_rademacher, EBM_PROJECTION_gaussian };
enum { EBM_DENOISING_one, EBM_DENOISING_sigma2, EBM_DENOISING_sigma4 };

/* projection, n_projections: the code of Song et al. (VERA's code: gaussian).  weight: Vincent's
 * loss; times sigma^2 as Song and Ermon 2019, times sigma^4 as the code of Song et al.  sigma: the
 * latter choose it on held-out rows. */
/* clang-format off */
#define EBM_SCORE_MATCHING_OPTIONS(X, S)                                                           \
    X(S, CHOICE, kind,          0,   0,            0,       "sliced sliced_vr denoising curvature exact", "the loss") \
    X(S, CHOICE, projection,    0,   0,            0,       "rademacher gaussian", "law of the directions v")          \
    X(S, INT,    n_projections, 1,   1,            1 << 20, "",                    "directions for a row")             \
    X(S, REAL,   sigma,         0.1, EBM_POSITIVE, DBL_MAX, "",                    "deviation of the noise, for denoising") \
    X(S, CHOICE, weight,        0,   0,            0,       "one sigma2 sigma4",   "factor of the denoising loss")
/* clang-format on */

typedef struct ebm_score_matching_options {
    EBM_SCORE_MATCHING_OPTIONS(EBM_OPTION_FIELD, )
} ebm_score_matching_options;

extern const ebm_estimator_kind ebm__estimator_score_matching;

#endif
