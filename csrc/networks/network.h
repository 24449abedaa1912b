/* network.h - specifications of networks: a kind and its options, no arrays.
 *
 * Adding a network: a file with its options, its build function and an ebm_network_kind named
 * ebm__network_<id>, and a row in networks.def. */
#ifndef EBM_NETWORKS_NETWORK_H
#define EBM_NETWORKS_NETWORK_H

#include "base/options.h"
#include "networks/energy.h"
#include "networks/generator.h"

typedef struct ebm_network_kind {
    ebm_options options; /* the owner is the kind's name */
    /* Graph code: x (N, ...) -> (N,).  NULL for what is a generator only. */
    ebm_ref (*build)(const void *options, const ebm_scope *scope, ebm_graph *graph, ebm_ref x);
    /* Graph code: z (N, latent) -> (N, row).  NULL for what is an energy only. */
    ebm_ref (*generate)(const void *options, const ebm_scope *scope, ebm_graph *g, ebm_ref z,
                        const ebm_shape *row);
    int64_t (*latent)(const void *options, const ebm_shape *row); /* the width of z */
    bool noisy; /* has an option "sigma": the deviation of a generator's noise, 0 for none */
    bool rows_independent;
    bool normalized; /* log Z = 0 */
    bool exact;      /* what it generates, noise and all, has the density exp(-E) */
} ebm_network_kind;

/* The kind of that name; NULL with VALUE's message and the known names. */
const ebm_network_kind *ebm_network_find(const char *name);
/* The kinds in the order of networks.def; NULL behind the last. */
const ebm_network_kind *ebm_network_at(int32_t index);

typedef struct ebm_network ebm_network;

/* A copy of the options, checked; NULL stands for the initial ones. */
ebm_status ebm_network_new(ebm_network **out, const ebm_network_kind *kind, const void *options);
void ebm_network_free(ebm_network *network); /* NULL is fine */
const ebm_network_kind *ebm_network_get_kind(const ebm_network *network);
const void *ebm_network_options(const ebm_network *network);

/* The network as an energy; borrows it.  Of a generator it is one that fails when it is built,
 * with VALUE. */
ebm_energy ebm_network_energy(const ebm_network *network);

/* The network as a generator of rows of this shape; borrows it.  VALUE for an energy. */
ebm_status ebm_network_generator(const ebm_network *network, const ebm_shape *row,
                                 ebm_generator *out);

/* Lists the parameters of the energy, then of the generator, for rows of this shape; `params` as
 * in ebm_energy_list. */
ebm_status ebm_network_list(const ebm_network *network, const ebm_shape *row, ebm_dtype dtype,
                            ebm_params *params);

#endif
