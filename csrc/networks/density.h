/* density.h - what networks with a density of their own share. */
#ifndef EBM_NETWORKS_DENSITY_H
#define EBM_NETWORKS_DENSITY_H

#include "ops/ops.h"

#define EBM_LOG_2_PI 1.8378770664093454836

/* log N(u; 0, I) of rows u (N, ...), (N,), with its constant. */
ebm_ref ebm_log_normal(ebm_graph *g, ebm_ref u);

/* (N, D) -> (N, row). */
ebm_ref ebm_rows_reshape(ebm_graph *g, ebm_ref x, const ebm_shape *row);

#endif
