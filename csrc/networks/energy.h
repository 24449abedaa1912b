/* energy.h - anything that maps rows to energies: x (N, ...) -> E (N,).
 *
 * A network of this folder, or a function written in another language that is called while the
 * graph is built.  Density p(x) = exp(-E(x)) / Z. */
#ifndef EBM_NETWORKS_ENERGY_H
#define EBM_NETWORKS_ENERGY_H

#include "networks/scope.h"

typedef struct ebm_energy {
    /* Graph code of the energies of `x`; an error poisons the graph.  `scope` may be NULL for
     * an energy without parameters. */
    ebm_ref (*build)(const void *context, const ebm_scope *scope, ebm_graph *graph, ebm_ref x);
    const void *context;
    bool rows_independent; /* a row's energy depends on that row alone */
    const char *name;      /* for messages */
    bool normalized;       /* log Z = 0: E(x) = -log p(x) */
} ebm_energy;

/* Builds and checks: SHAPE unless the result is (N,), DTYPE unless it has the dtype of x. */
ebm_ref ebm_energy_build(const ebm_energy *energy, const ebm_scope *scope, ebm_graph *graph,
                         ebm_ref x);

/* VALUE if a row's energy depends on other rows: the gradient of the sum over rows, on which
 * samplers walk, would then be wrong. */
ebm_status ebm_energy_require_rows(const ebm_energy *energy, const char *who);

/* Lists the parameters for rows of this shape: builds the energy of two rows on a scratch
 * graph. `params` is empty before; the caller owns it: ebm_params_fini, after a failure too. */
ebm_status ebm_energy_list(const ebm_energy *energy, const ebm_shape *row, ebm_dtype dtype,
                           ebm_params *params);

/* (n, ...) from the shape of a row; SHAPE if the rank is too high. */
ebm_status ebm_rows_shape(ebm_shape *out, int64_t n, const ebm_shape *row);

#endif
