/* annealed.h - annealed importance sampling (Neal 2001), as graph code.
 *
 * From x at betas[0] through the energies E_b = (1 - b) base + b target:
 *
 *     t = 1 .. T:  log w += (betas[t] - betas[t-1]) (base(x) - target(x))
 *                  x <- n_steps of the sampler at E_betas[t]
 *
 * With betas from 0 to 1, x from exp(-base) / Z_0 and a sampler that leaves each E_b as it is, the
 * mean of w is Z_1 / Z_0; from 1 to 0, x from exp(-target) / Z_1, it is Z_0 / Z_1 (Grosse, Ancha and
 * Roy 2016).
 *
 * Workload: thousands of temperatures, hundreds of chains.  Trap: a step size that is adapted on
 * the way makes the weights wrong; find the sizes in a run before, and give them. */
#ifndef EBM_SAMPLERS_ANNEALED_H
#define EBM_SAMPLERS_ANNEALED_H

#include "samplers/sampler.h"

typedef struct ebm_annealing {
    const ebm_sampler *sampler;
    const ebm_energy *base, *target; /* without scopes of their own */
    int64_t n_steps;                 /* at each temperature: 1 to EBM_ANNEALING_STEPS */
} ebm_annealing;

enum { EBM_ANNEALING_STEPS = 64 }; /* they are written out */

typedef struct ebm_annealed {
    ebm_ref x;          /* (N, ...) */
    ebm_ref log_weight; /* (N,) */
    ebm_ref acceptance; /* (N,): the mean of all steps; 1 of samplers that always accept */
    ebm_ref size;       /* (T,): the mean step size at each temperature; EBM_NONE: see below */
} ebm_annealed;

/* x (N, ...), key i32 (2,), betas (T + 1,), and sizes (T,): the step size at each temperature; with
 * EBM_NONE the sampler has its own, and reports it if the kind has one.  VALUE, SHAPE. */
ebm_annealed ebm_annealed_build(const ebm_annealing *a, ebm_graph *g, ebm_ref x, ebm_ref key,
                                ebm_ref betas, ebm_ref sizes);

#endif
