/* metropolis.h - what samplers with a Metropolis step share: the decision, and the step size that
 * follows the acceptance.
 *
 * Each chain has a step size of its own, so that its bits depend on no other chain.  While it
 * changes the chain is not one kernel, so it stays after `n_adapt` steps. */
#ifndef EBM_SAMPLERS_METROPOLIS_H
#define EBM_SAMPLERS_METROPOLIS_H

#include "samplers/sampler.h"

/* dual_averaging: Hoffman and Gelman 2014, section 3.2, gamma .05, t0 10, kappa .75, mu log(10
 * step_size); after n_adapt steps the weighted average of the sizes.
 * paper: step (1 + rate (acceptance - target)), rate .02, as PresGAN (Dieng et al. 2019) and VERA
 * (Grathwohl et al. 2021) have it. */
enum { EBM_ADAPT_NONE, EBM_ADAPT_DUAL_AVERAGING, EBM_ADAPT_PAPER };

/* n_adapt: the 500 burn-in steps of VERA's study of HMC. */
/* clang-format off */
#define EBM_ADAPT_OPTIONS(X, S)                                                                     \
    X(S, CHOICE, adapt,   0,    0, 0, "none dual_averaging paper", "how the step size is adapted")  \
    X(S, REAL,   target,  NAN,  EBM_POSITIVE, 1, "", "acceptance aimed at; none: the rule's own")   \
    X(S, REAL,   rate,    0.02, EBM_POSITIVE, 1, "", "of adapt=paper")                              \
    X(S, INT,    n_adapt, 500,  0, INT32_MAX, "",    "steps of adaptation")
/* clang-format on */

/* A proposal outside is rejected: the law is that of exp(-E) within the bounds. */
/* clang-format off */
#define EBM_BOUNDS_OPTIONS(X, S)                                                                    \
    X(S, REAL, clip_low,  -INFINITY, -INFINITY, DBL_MAX,  "", "lower bound of x")                   \
    X(S, REAL, clip_high, INFINITY,  -DBL_MAX,  INFINITY, "", "upper bound of x")
/* clang-format on */

typedef struct ebm_bounds {
    double low, high;
} ebm_bounds;

ebm_status ebm__bounds_check(const char *owner, ebm_bounds bounds); /* VALUE unless low < high */

typedef struct ebm_adaptation {
    int64_t how;
    double step_size; /* the first */
    double target, rate;
    int64_t n;
} ebm_adaptation;

/* Arrays that last beside x, each (N,); average is that of log step, error that of target -
 * acceptance, count (i32) the steps of adaptation so far. */
enum {
    EBM_WALK_STEP = 1,
    EBM_WALK_AVERAGE,
    EBM_WALK_ERROR,
    EBM_WALK_COUNT,
    EBM_WALK_LAST,
    EBM_WALK_ENERGY = EBM_WALK_LAST, /* and what follows from x */
    EBM_WALK_GRADIENT
};
#define EBM_WALK_NAMES {"x", "step_size", "average", "error", "count"}

void ebm__adapt_init(const ebm_adaptation *a, ebm_graph *g, ebm_ref x, ebm_ref *carry);
void ebm__adapt_step(const ebm_adaptation *a, ebm_graph *g, ebm_ref acceptance,
                     const ebm_ref *carry, ebm_ref *carry_next);

/* carry[EBM_WALK_ENERGY] and carry[EBM_WALK_GRADIENT] at x. */
void ebm__walk_derive(const ebm_walk *walk, ebm_graph *g, ebm_ref x, ebm_ref *carry);

/* (N,) as numbers of the rows of x (N, ...). */
ebm_ref ebm__spread(ebm_graph *g, ebm_ref rows, ebm_ref x);

/* What a step proposes: x, energy, gradient. */
typedef struct ebm_proposal {
    ebm_ref x, energy, gradient;
} ebm_proposal;

/* Accepts with probability min(1, exp(log_ratio)); 0 where that or the energy is not finite, and
 * outside of the bounds.
 * Writes x, energy, gradient of carry_next; `acceptance`: the probability, `accepted`: 0 or 1,
 * both (N,). */
void ebm__metropolis(ebm_graph *g, ebm_ref key, const ebm_proposal *proposal, ebm_ref log_ratio,
                     ebm_bounds bounds, const ebm_ref *carry, ebm_ref *carry_next,
                     ebm_ref *acceptance, ebm_ref *accepted);

#endif
