/* generator.h - anything that maps latents to rows: z (N, latent) -> x (N, ...).
 *
 * A sampler that a gradient goes through, and with noise a density of pairs:
 *
 *     x = g(z) + sigma eps,   z ~ N(0, I), eps ~ N(0, I)
 *
 * where sigma = exp(log_sigma) is a parameter "log_sigma" of shape (), the last of the list. */
#ifndef EBM_NETWORKS_GENERATOR_H
#define EBM_NETWORKS_GENERATOR_H

#include "networks/energy.h"

typedef struct ebm_generator {
    /* Graph code of g(z), (N, row); an error poisons the graph. */
    ebm_ref (*build)(const void *context, const ebm_scope *scope, ebm_graph *g, ebm_ref z,
                     const ebm_shape *row);
    const void *context;
    int64_t latent;
    ebm_shape row;
    bool noisy;       /* has a log_sigma */
    double sigma;     /* its start */
    const char *name; /* for messages */
} ebm_generator;

/* g(z), (N, row): builds and checks.  SHAPE unless z is (N, latent) and the result (N, row),
 * DTYPE unless it has the dtype of z. */
ebm_ref ebm_generator_mean(const ebm_generator *gen, const ebm_scope *scope, ebm_graph *g,
                           ebm_ref z);
/* log sigma, (); VALUE unless it is noisy. */
ebm_ref ebm_generator_log_sigma(const ebm_generator *gen, const ebm_scope *scope, ebm_graph *g);
/* 1 / sigma^2, (); the same. */
ebm_ref ebm_generator_precision(const ebm_generator *gen, const ebm_scope *scope, ebm_graph *g);
/* g(z) + exp(log_sigma) eps, with eps (N, row); EBM_NONE if it is not noisy. */
ebm_ref ebm_generator_sample(const ebm_generator *gen, const ebm_scope *scope, ebm_graph *g,
                             ebm_ref z, ebm_ref eps);
/* log N(x; g(z), sigma^2 I) + log N(z; 0, I), (N,), with both constants; VALUE unless it is
 * noisy. */
ebm_ref ebm_generator_log_joint(const ebm_generator *gen, const ebm_scope *scope, ebm_graph *g,
                                ebm_ref x, ebm_ref z);

/* What stands where an energy is meant: it fails with VALUE when it is built.  Borrows it. */
ebm_energy ebm_generator_as_energy(const ebm_generator *gen);

/* Lists the parameters, as ebm_energy_list does; those that are there already stay. */
ebm_status ebm_generator_list(const ebm_generator *gen, ebm_dtype dtype, ebm_params *params);

#endif
