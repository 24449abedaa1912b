#include "networks/energy.h"

ebm_ref ebm_energy_build(const ebm_energy *energy, const ebm_scope *scope, ebm_graph *graph,
                         ebm_ref x)
{
    if (x == EBM_POISON) return EBM_POISON;
    ebm_ref e = energy->build(energy->context, scope, graph, x);
    if (e == EBM_POISON) return EBM_POISON;
    ebm_shape got = ebm_ref_shape(graph, e), rows = ebm_ref_shape(graph, x);
    ebm_dtype dtype = ebm_ref_dtype(graph, e), wanted = ebm_ref_dtype(graph, x);
    if (dtype != wanted)
        return ebm_graph_fail(graph, EBM_DTYPE, "%s: energies: got %s, expected %s",
                              energy->name, ebm_dtype_name(dtype), ebm_dtype_name(wanted));
    if (got.rank == 1 && rows.rank >= 1 && got.dim[0] == rows.dim[0]) return e;
    char text[128], row_text[128];
    return ebm_graph_fail(graph, EBM_SHAPE,
                          "%s: energies of x %s: got %s, expected one number a row",
                          energy->name, ebm_shape_text(&rows, row_text, sizeof row_text),
                          ebm_shape_text(&got, text, sizeof text));
}

ebm_status ebm_energy_require_rows(const ebm_energy *energy, const char *who)
{
    if (energy->rows_independent) return EBM_OK;
    return ebm_fail(EBM_VALUE,
                    "%s: energy: got %s, whose rows depend on one another, expected "
                    "independent rows (no batch normalisation)",
                    who, energy->name);
}

ebm_status ebm_rows_shape(ebm_shape *out, int64_t n, const ebm_shape *row)
{
    if (row->rank >= EBM_MAX_RANK)
        return ebm_fail(EBM_SHAPE, "rows: got rank %d, expected less than %d", (int)row->rank,
                        EBM_MAX_RANK);
    ebm_shape shape = {.rank = row->rank + 1, .dim = {n}};
    for (int32_t i = 0; i < row->rank; i++) shape.dim[i + 1] = row->dim[i];
    *out = shape;
    return EBM_OK;
}

ebm_status ebm_energy_list(const ebm_energy *energy, const ebm_shape *row, ebm_dtype dtype,
                           ebm_params *params)
{
    ebm_shape rows;
    ebm_graph *scratch = NULL;
    EBM_TRY(ebm_rows_shape(&rows, 2, row));
    EBM_TRY(ebm_graph_new(&scratch));
    params->dtype = dtype;
    ebm_scope scope = {.params = params};
    ebm_energy_build(energy, &scope, scratch, ebm_graph_input(scratch, "x", dtype, &rows));
    ebm_status status = ebm_graph_status(scratch);
    ebm_graph_free(scratch);
    return status;
}
