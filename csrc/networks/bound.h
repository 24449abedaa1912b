/* bound.h - a network bound to a shape, with arrays of its own: functions that can be called.
 *
 * Workload: energies or samples of many rows (test sets, grids), one row now and then, and as
 * the energy or generator inside other graph code, where its arrays are captured.  Rows run in
 * chunks of a few fixed sizes, the last one padded, so a handful of plans serves every number of
 * rows; they are kept.  Layers are in evaluation: kept statistics, nothing dropped. */
#ifndef EBM_NETWORKS_BOUND_H
#define EBM_NETWORKS_BOUND_H

#include "networks/network.h"

typedef struct ebm_bound ebm_bound;

/* What can be asked of one: functions of rows. */
typedef enum ebm_face {
    EBM_FACE_ENERGY,    /* x (N, row) -> E (N,) */
    EBM_FACE_SCORE,     /* x -> -grad E(x) (N, row) */
    EBM_FACE_MEAN,      /* z (N, latent) -> g(z) (N, row) */
    EBM_FACE_SAMPLE,    /* z, and eps (N, row) if there is noise -> g(z) + sigma eps (N, row) */
    EBM_FACE_LOG_JOINT, /* x, z -> log q(x, z) (N,) */
    EBM_FACE_COUNT
} ebm_face;
enum { EBM_FACE_INPUTS = 2 };

/* Copies the network's specification; the arrays are drawn from the key.  What the network says
 * of rows of this shape, NOMEM. */
ebm_status ebm_bound_new(ebm_bound **out, const ebm_network *network, const ebm_shape *row,
                         ebm_dtype dtype, const ebm_device *device, const uint32_t key[2]);
/* The same for any energy that asks its scope for parameters; its context is the caller's, and
 * outlives the bound network. */
ebm_status ebm_bound_new_energy(ebm_bound **out, const ebm_energy *energy, const ebm_shape *row,
                                ebm_dtype dtype, const ebm_device *device, const uint32_t key[2]);
/* The same for any generator; its row need not be set. */
ebm_status ebm_bound_new_generator(ebm_bound **out, const ebm_generator *generator,
                                   const ebm_shape *row, ebm_dtype dtype,
                                   const ebm_device *device, const uint32_t key[2]);
void ebm_bound_free(ebm_bound *bound); /* NULL is fine */

/* Borrowed. */
const ebm_params *ebm_bound_params(const ebm_bound *bound);
const ebm_shape *ebm_bound_row(const ebm_bound *bound);
ebm_state *ebm_bound_state(ebm_bound *bound); /* arrays "params.<name>" */

/* Its kind, NULL for an energy or generator of the caller; as a generator, NULL unless it is
 * one; whether it is an energy.  Borrowed. */
const ebm_network_kind *ebm_bound_kind(const ebm_bound *bound);
const ebm_generator *ebm_bound_generator(const ebm_bound *bound);
bool ebm_bound_is_energy(const ebm_bound *bound);

/* A face takes n_in arrays of rows and gives one. */
typedef struct ebm_face_shape {
    int32_t n_in;
    ebm_shape in[EBM_FACE_INPUTS], out; /* of one row */
} ebm_face_shape;

/* VALUE for a face of a generator where there is an energy only. */
ebm_status ebm_bound_face(const ebm_bound *bound, ebm_face face, ebm_face_shape *out);
/* Of n rows in host memory, of the face's shapes and the bound dtype, into out (n, ...).  VALUE
 * for a face that it does not have, CANCELLED by the poll. */
ebm_status ebm_bound_run_face(ebm_bound *bound, ebm_face face, const void *const *in, int64_t n,
                              void *out, const ebm_poll *poll);
/* The face as graph code, with the arrays captured. */
ebm_ref ebm_bound_build(const ebm_bound *bound, ebm_face face, ebm_graph *graph,
                        const ebm_ref *in);

/* g(z) as training sees it: with the batch's own statistics, of which seen[k] is that of parameter
 * k, 0 if it is none, and dropout by the key, unless it is EBM_NONE. */
ebm_ref ebm_bound_train(const ebm_bound *bound, ebm_graph *graph, ebm_ref z, ebm_ref key,
                        ebm_ref *seen);

/* E of n rows: EBM_FACE_ENERGY. */
ebm_status ebm_bound_run(ebm_bound *bound, const void *x, int64_t n, void *out,
                         const ebm_poll *poll);

/* The bound network as an energy that needs no scope: it captures the arrays.  Borrows it. */
ebm_energy ebm_bound_energy(const ebm_bound *bound);

#endif
