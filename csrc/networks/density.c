#include "networks/density.h"

#include "networks/energy.h"

ebm_ref ebm_log_normal(ebm_graph *g, ebm_ref u)
{
    if (u == EBM_POISON) return EBM_POISON;
    ebm_shape shape = ebm_ref_shape(g, u);
    int64_t size = 1;
    for (int32_t i = 1; i < shape.rank; i++) size *= shape.dim[i];
    ebm_ref squares = ebm_sum_rows(g, ebm_square(g, u));
    return ebm_shift(g, ebm_scale(g, squares, -0.5), -0.5 * EBM_LOG_2_PI * (double)size);
}

ebm_ref ebm_rows_reshape(ebm_graph *g, ebm_ref x, const ebm_shape *row)
{
    if (x == EBM_POISON) return EBM_POISON;
    ebm_shape rows;
    ebm_status status = ebm_rows_shape(&rows, ebm_ref_shape(g, x).dim[0], row);
    return status == EBM_OK ? ebm_reshape(g, x, &rows) : ebm_graph_failed(g, status);
}
