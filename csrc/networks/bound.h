/* bound.h - a network bound to a shape, with arrays of its own: a function that can be called.
 *
 * Workload: energies of many rows (test sets, grids), one row now and then, and as the energy
 * inside other graph code, where its arrays are captured.  Rows run in chunks of a few fixed
 * sizes, the last one padded, so a handful of plans serves every number of rows; they are
 * kept. */
#ifndef EBM_NETWORKS_BOUND_H
#define EBM_NETWORKS_BOUND_H

#include "networks/network.h"

typedef struct ebm_bound ebm_bound;

/* Copies the network's specification; the arrays are drawn from the key.  What the network says
 * of rows of this shape, NOMEM. */
ebm_status ebm_bound_new(ebm_bound **out, const ebm_network *network, const ebm_shape *row,
                         ebm_dtype dtype, const ebm_device *device, const uint32_t key[2]);
/* The same for any energy that asks its scope for parameters; its context is the caller's, and
 * outlives the bound network. */
ebm_status ebm_bound_new_energy(ebm_bound **out, const ebm_energy *energy, const ebm_shape *row,
                                ebm_dtype dtype, const ebm_device *device, const uint32_t key[2]);
void ebm_bound_free(ebm_bound *bound); /* NULL is fine */

/* Borrowed. */
const ebm_params *ebm_bound_params(const ebm_bound *bound);
const ebm_shape *ebm_bound_row(const ebm_bound *bound);
ebm_state *ebm_bound_state(ebm_bound *bound); /* arrays "params.<name>" */

/* E of n rows in host memory, of the bound shape and dtype, into out (n,).  CANCELLED by the
 * poll. */
ebm_status ebm_bound_run(ebm_bound *bound, const void *x, int64_t n, void *out,
                         const ebm_poll *poll);

/* The bound network as an energy that needs no scope: it captures the arrays.  Borrows it. */
ebm_energy ebm_bound_energy(const ebm_bound *bound);

#endif
