#include "networks/bound.h"

#include <string.h>

#include "base/alloc.h"

/* Chunks of 1, 4, 16, ... rows, up to what fits in CHUNK_ELEMENTS. */
enum { N_CHUNKS = 6, CHUNK_ELEMENTS = 1 << 19 };

struct ebm_bound {
    ebm_network *network; /* NULL for an energy of the caller */
    ebm_energy energy;
    ebm_params params;
    ebm_shape row;
    ebm_state *state;
    ebm_plan *plan[N_CHUNKS]; /* of 4^k rows; made when first wanted, by whichever thread */
};

/* Lists the parameters of bound->energy and draws them. */
static ebm_status make_params(ebm_bound *bound, ebm_dtype dtype, const ebm_device *device,
                              const uint32_t key[2])
{
    EBM_TRY(ebm_energy_list(&bound->energy, &bound->row, dtype, &bound->params));
    EBM_TRY(ebm_state_new(&bound->state, device));
    EBM_TRY(ebm_params_declare(&bound->params, bound->state, "params"));
    return ebm_params_draw(&bound->params, bound->state, "params", key);
}

/* One of the two is NULL. */
static ebm_status new_bound(ebm_bound **out, const ebm_network *network,
                            const ebm_energy *energy, const ebm_shape *row, ebm_dtype dtype,
                            const ebm_device *device, const uint32_t key[2])
{
    if (!ebm_dtype_is_float(dtype))
        return ebm_fail(EBM_DTYPE, "bind: dtype: got %s, expected f32 or f64",
                        ebm_dtype_name(dtype));
    ebm_bound *bound = ebm__alloc(1, sizeof *bound);
    if (!bound) return EBM_NOMEM;
    bound->row = *row;
    ebm_status status = EBM_OK;
    if (network)
        EBM_TRY_TO(status,
                   ebm_network_new(&bound->network, ebm_network_get_kind(network),
                                   ebm_network_options(network)),
                   failed);
    bound->energy = network ? ebm_network_energy(bound->network) : *energy;
    EBM_TRY_TO(status, make_params(bound, dtype, device, key), failed);
    *out = bound;
    return EBM_OK;
failed:
    ebm_bound_free(bound);
    return status;
}

ebm_status ebm_bound_new(ebm_bound **out, const ebm_network *network, const ebm_shape *row,
                         ebm_dtype dtype, const ebm_device *device, const uint32_t key[2])
{
    return new_bound(out, network, NULL, row, dtype, device, key);
}

ebm_status ebm_bound_new_energy(ebm_bound **out, const ebm_energy *energy, const ebm_shape *row,
                                ebm_dtype dtype, const ebm_device *device, const uint32_t key[2])
{
    return new_bound(out, NULL, energy, row, dtype, device, key);
}

void ebm_bound_free(ebm_bound *bound)
{
    if (!bound) return;
    for (int k = 0; k < N_CHUNKS; k++) ebm_plan_release(bound->plan[k]);
    ebm_state_free(bound->state);
    ebm_params_fini(&bound->params);
    ebm_network_free(bound->network);
    ebm__free(bound);
}

const ebm_params *ebm_bound_params(const ebm_bound *bound)
{
    return &bound->params;
}

const ebm_shape *ebm_bound_row(const ebm_bound *bound)
{
    return &bound->row;
}

ebm_state *ebm_bound_state(ebm_bound *bound)
{
    return bound->state;
}

/* ---- as an energy ------------------------------------------------------------------------ */

static ebm_ref build(const void *context, const ebm_scope *scope, ebm_graph *graph, ebm_ref x)
{
    (void)scope;
    const ebm_bound *bound = context;
    ebm_params params = bound->params;
    ebm_ref *refs = ebm__alloc((size_t)params.n, sizeof *refs);
    if (!refs) return ebm_graph_failed(graph, EBM_NOMEM);
    for (int64_t k = 0; k < params.n; k++)
        refs[k] = ebm_graph_capture(graph, ebm_state_tensor(bound->state, (int32_t)k));
    ebm_scope own = {.params = &params, .owner = graph, .refs = refs};
    ebm_ref e = ebm_energy_build(&bound->energy, &own, graph, x);
    ebm__free(refs);
    return e;
}

ebm_energy ebm_bound_energy(const ebm_bound *bound)
{
    ebm_energy energy = bound->energy;
    energy.build = build;
    energy.context = bound;
    return energy;
}

/* ---- energies of rows -------------------------------------------------------------------- */

static ebm_status make_plan(ebm_plan **out, const ebm_bound *bound, int64_t chunk)
{
    ebm_graph *graph = NULL;
    ebm_shape rows;
    EBM_TRY(ebm_rows_shape(&rows, chunk, &bound->row));
    EBM_TRY(ebm_graph_new(&graph));
    ebm_ref x = ebm_graph_input(graph, "x", bound->params.dtype, &rows);
    ebm_ref e = build(bound, NULL, graph, x);
    ebm_plan_options options = {ebm_state_device(bound->state), true, NULL};
    ebm_status status = ebm_plan_new(out, graph, &e, 1, &options);
    ebm_graph_free(graph);
    return status;
}

/* The number of the smallest chunk that takes n rows, else of the largest that fits. */
static int choose_chunk(const ebm_bound *bound, int64_t n)
{
    int64_t row = ebm_shape_size(&bound->row);
    int k = 0;
    while (k + 1 < N_CHUNKS && (int64_t)1 << (2 * k) < n && row << (2 * (k + 1)) <= CHUNK_ELEMENTS)
        k++;
    return k;
}

/* The plan of 4^k rows, borrowed; of two threads that make it at once one throws its own
 * away. */
static ebm_status get_plan(ebm_plan **out, ebm_bound *bound, int k)
{
    *out = __atomic_load_n(&bound->plan[k], __ATOMIC_ACQUIRE);
    if (*out) return EBM_OK;
    ebm_plan *made = NULL;
    EBM_TRY(make_plan(&made, bound, (int64_t)1 << (2 * k)));
    if (!__atomic_compare_exchange_n(&bound->plan[k], out, made, false, __ATOMIC_ACQ_REL,
                                     __ATOMIC_ACQUIRE))
        ebm_plan_release(made);
    else
        *out = made;
    return EBM_OK;
}

typedef struct chunk_run {
    const ebm_device *device;
    ebm_tensor *x, *e; /* one chunk, on the device */
    void **in;         /* of the plan: x, then the captured arrays, which it has itself */
    ebm_workspace *workspace;
} chunk_run;

static ebm_status run_chunk(chunk_run *run, const void *x, void *out, int64_t n,
                            const ebm_poll *poll)
{
    const ebm_device *device = run->device;
    int64_t chunk = run->e->shape.dim[0];
    void *results[1] = {run->e->data};
    size_t row = ebm_tensor_bytes(run->x) / (size_t)chunk;
    EBM_TRY(device->to_device(device, run->x->data, x, row * (size_t)n));
    EBM_TRY(ebm_plan_run(run->workspace, run->in, results, poll));
    return device->to_host(device, out, run->e->data, (size_t)n * ebm_dtype_size(run->e->dtype));
}

static ebm_status run_chunks(chunk_run *run, const char *x, char *out, int64_t n,
                             const ebm_poll *poll)
{
    int64_t chunk = run->e->shape.dim[0];
    size_t row = ebm_tensor_bytes(run->x) / (size_t)chunk, size = ebm_dtype_size(run->e->dtype);
    for (int64_t at = 0; at < n; at += chunk) {
        int64_t left = n - at < chunk ? n - at : chunk;
        EBM_TRY(run_chunk(run, x + (size_t)at * row, out + (size_t)at * size, left, poll));
    }
    return EBM_OK;
}

ebm_status ebm_bound_run(ebm_bound *bound, const void *x, int64_t n, void *out,
                         const ebm_poll *poll)
{
    if (n == 0) return EBM_OK;
    int k = choose_chunk(bound, n);
    ebm_plan *plan = NULL;
    EBM_TRY(get_plan(&plan, bound, k));
    ebm_shape rows = ebm_plan_input_shape(plan, 0), energies = EBM_DIMS(rows.dim[0]);
    chunk_run run = {.device = ebm_state_device(bound->state)};
    ebm_status status;
    EBM_TRY_TO(status, ebm_tensor_new(&run.x, run.device, bound->params.dtype, &rows), done);
    EBM_TRY_TO(status, ebm_tensor_new(&run.e, run.device, bound->params.dtype, &energies), done);
    EBM_TRY_TO(status, ebm_workspace_new(&run.workspace, plan), done);
    run.in = ebm__alloc((size_t)ebm_plan_n_inputs(plan), sizeof *run.in);
    status = EBM_NOMEM;
    if (!run.in) goto done;
    run.in[0] = run.x->data;
    status = run_chunks(&run, x, out, n, poll);
done:
    ebm__free(run.in);
    ebm_workspace_free(run.workspace);
    ebm_tensor_release(run.x);
    ebm_tensor_release(run.e);
    return status;
}
