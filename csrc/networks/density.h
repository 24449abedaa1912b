/* density.h - what networks with a density of their own share. */
#ifndef EBM_NETWORKS_DENSITY_H
#define EBM_NETWORKS_DENSITY_H

#include "ops/ops.h"

#define EBM_LOG_2_PI 1.8378770664093454836

/* log N(u; 0, I) of rows u (N, ...), (N,), with its constant. */
ebm_ref ebm_log_normal(ebm_graph *g, ebm_ref u);

/* The same of the logistic distribution of each number: -log(2 + e^u + e^-u). */
ebm_ref ebm_log_logistic(ebm_graph *g, ebm_ref u);
/* Numbers of N(0, 1) as numbers of the logistic distribution: log Phi(z) - log Phi(-z), to 2e-6 of
 * it in f32, 1e-9 in f64. */
ebm_ref ebm_logistic_of_normal(ebm_graph *g, ebm_ref z);

/* (N, D) -> (N, row). */
ebm_ref ebm_rows_reshape(ebm_graph *g, ebm_ref x, const ebm_shape *row);

#endif
