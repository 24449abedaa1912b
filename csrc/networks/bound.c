#include "networks/bound.h"

#include <string.h>

#include "base/alloc.h"
#include "ops/ops.h"

/* Chunks of 1, 4, 16, ... rows, up to what fits in CHUNK_ELEMENTS. */
enum { N_CHUNKS = 6, CHUNK_ELEMENTS = 1 << 19 };

struct ebm_bound {
    ebm_network *network;    /* NULL for an energy or a generator of the caller */
    ebm_energy energy;       /* of a generator of the caller: none */
    ebm_generator generator; /* without a build function there is none */
    ebm_params params;
    ebm_shape row;
    ebm_state *state;
    /* Of 4^k rows; made when first wanted, by whichever thread. */
    ebm_plan *plan[EBM_FACE_COUNT][N_CHUNKS];
};

/* Lists the parameters and draws them. */
static ebm_status make_params(ebm_bound *bound, ebm_dtype dtype, const ebm_device *device,
                              const uint32_t key[2])
{
    ebm_params *params = &bound->params;
    if (bound->network)
        EBM_TRY(ebm_network_list(bound->network, &bound->row, dtype, params));
    else if (bound->generator.build)
        EBM_TRY(ebm_generator_list(&bound->generator, dtype, params));
    else
        EBM_TRY(ebm_energy_list(&bound->energy, &bound->row, dtype, params));
    EBM_TRY(ebm_state_new(&bound->state, device));
    EBM_TRY(ebm_params_declare(params, bound->state, "params"));
    return ebm_params_draw(params, bound->state, "params", key);
}

/* What is bound: one of them. */
typedef struct source {
    const ebm_network *network;
    const ebm_energy *energy;
    const ebm_generator *generator;
} source;

static ebm_status set_source(ebm_bound *bound, const source *from)
{
    const ebm_network *network = from->network;
    if (from->energy) bound->energy = *from->energy;
    if (from->generator) {
        bound->generator = *from->generator;
        bound->generator.row = bound->row;
        bound->energy = ebm_generator_as_energy(&bound->generator);
    }
    if (!network) return EBM_OK;
    EBM_TRY(ebm_network_new(&bound->network, ebm_network_get_kind(network),
                            ebm_network_options(network)));
    bound->energy = ebm_network_energy(bound->network);
    if (!ebm_network_get_kind(network)->generate) return EBM_OK;
    return ebm_network_generator(bound->network, &bound->row, &bound->generator);
}

static ebm_status new_bound(ebm_bound **out, const source *from, const ebm_shape *row,
                            ebm_dtype dtype, const ebm_device *device, const uint32_t key[2])
{
    if (!ebm_dtype_is_float(dtype))
        return ebm_fail(EBM_DTYPE, "bind: dtype: got %s, expected f32 or f64",
                        ebm_dtype_name(dtype));
    ebm_bound *bound = ebm__alloc(1, sizeof *bound);
    if (!bound) return EBM_NOMEM;
    bound->row = *row;
    ebm_status status;
    EBM_TRY_TO(status, set_source(bound, from), failed);
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
    return new_bound(out, &(source){.network = network}, row, dtype, device, key);
}

ebm_status ebm_bound_new_energy(ebm_bound **out, const ebm_energy *energy, const ebm_shape *row,
                                ebm_dtype dtype, const ebm_device *device, const uint32_t key[2])
{
    return new_bound(out, &(source){.energy = energy}, row, dtype, device, key);
}

ebm_status ebm_bound_new_generator(ebm_bound **out, const ebm_generator *generator,
                                   const ebm_shape *row, ebm_dtype dtype,
                                   const ebm_device *device, const uint32_t key[2])
{
    return new_bound(out, &(source){.generator = generator}, row, dtype, device, key);
}

void ebm_bound_free(ebm_bound *bound)
{
    if (!bound) return;
    for (int f = 0; f < EBM_FACE_COUNT; f++)
        for (int k = 0; k < N_CHUNKS; k++) ebm_plan_release(bound->plan[f][k]);
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

const ebm_network_kind *ebm_bound_kind(const ebm_bound *bound)
{
    return bound->network ? ebm_network_get_kind(bound->network) : NULL;
}

const ebm_generator *ebm_bound_generator(const ebm_bound *bound)
{
    return bound->generator.build ? &bound->generator : NULL;
}

bool ebm_bound_is_energy(const ebm_bound *bound)
{
    return bound->network ? ebm_network_get_kind(bound->network)->build != NULL
                          : !bound->generator.build;
}

/* ---- as graph code ----------------------------------------------------------------------- */

static ebm_status check_face(const ebm_bound *bound, ebm_face face)
{
    if (face <= EBM_FACE_SCORE || bound->generator.build) return EBM_OK;
    return ebm_fail(EBM_VALUE, "%s: got an energy, expected a generator", bound->energy.name);
}

/* At a mark of x: x itself may be what clean-ups see through. */
static ebm_ref build_score(const ebm_energy *energy, const ebm_scope *scope, ebm_graph *graph,
                           ebm_ref x)
{
    ebm_ref at = ebm_mark(graph, x);
    return ebm_neg(graph, ebm_grad(graph, ebm_energy_build(energy, scope, graph, at), at));
}

static ebm_ref build_face(const ebm_bound *bound, ebm_face face, const ebm_scope *scope,
                          ebm_graph *graph, const ebm_ref *in)
{
    const ebm_generator *gen = &bound->generator;
    switch (face) {
    case EBM_FACE_SCORE: return build_score(&bound->energy, scope, graph, in[0]);
    case EBM_FACE_MEAN: return ebm_generator_mean(gen, scope, graph, in[0]);
    case EBM_FACE_SAMPLE:
        return ebm_generator_sample(gen, scope, graph, in[0], gen->noisy ? in[1] : EBM_NONE);
    case EBM_FACE_LOG_JOINT: return ebm_generator_log_joint(gen, scope, graph, in[0], in[1]);
    default: return ebm_energy_build(&bound->energy, scope, graph, in[0]);
    }
}

/* The arrays in the graph, in a new block: ebm__free. */
static ebm_ref *capture(const ebm_bound *bound, ebm_graph *graph)
{
    ebm_ref *refs = ebm__alloc((size_t)bound->params.n, sizeof *refs);
    if (!refs) ebm_graph_failed(graph, EBM_NOMEM);
    for (int64_t k = 0; refs && k < bound->params.n; k++)
        refs[k] = ebm_graph_capture(graph, ebm_state_tensor(bound->state, (int32_t)k));
    return refs;
}

ebm_ref ebm_bound_build(const ebm_bound *bound, ebm_face face, ebm_graph *graph, const ebm_ref *in)
{
    ebm_status status = check_face(bound, face);
    if (status != EBM_OK) return ebm_graph_failed(graph, status);
    ebm_params params = bound->params;
    ebm_ref *refs = capture(bound, graph);
    if (!refs) return EBM_POISON;
    ebm_scope own = {.params = &params, .owner = graph, .refs = refs};
    ebm_ref result = build_face(bound, face, &own, graph, in);
    ebm__free(refs);
    return result;
}

ebm_ref ebm_bound_train(const ebm_bound *bound, ebm_graph *graph, ebm_ref z, ebm_ref key,
                        ebm_ref *seen)
{
    ebm_status status = check_face(bound, EBM_FACE_MEAN);
    if (status != EBM_OK) return ebm_graph_failed(graph, status);
    ebm_params params = bound->params;
    ebm_ref *refs = capture(bound, graph);
    if (!refs) return EBM_POISON;
    for (int64_t k = 0; k < params.n; k++) seen[k] = 0;
    ebm_scope own = {.params = &params,
                     .owner = graph,
                     .refs = refs,
                     .statistics = EBM_STATISTICS_BATCH,
                     .seen = seen,
                     .key = key};
    ebm_ref rows = ebm_generator_mean(&bound->generator, &own, graph, z);
    ebm__free(refs);
    return rows;
}

static ebm_ref build_energy(const void *context, const ebm_scope *scope, ebm_graph *graph,
                            ebm_ref x)
{
    (void)scope;
    return ebm_bound_build(context, EBM_FACE_ENERGY, graph, &x);
}

ebm_energy ebm_bound_energy(const ebm_bound *bound)
{
    ebm_energy energy = bound->energy;
    energy.build = build_energy;
    energy.context = bound;
    return energy;
}

/* ---- of rows ----------------------------------------------------------------------------- */

ebm_status ebm_bound_face(const ebm_bound *bound, ebm_face face, ebm_face_shape *out)
{
    const ebm_generator *gen = &bound->generator;
    ebm_shape one = {.rank = 0}, z = EBM_DIMS(gen->latent);
    EBM_TRY(check_face(bound, face));
    switch (face) {
    case EBM_FACE_SCORE: *out = (ebm_face_shape){1, {bound->row}, bound->row}; break;
    case EBM_FACE_MEAN: *out = (ebm_face_shape){1, {z}, bound->row}; break;
    case EBM_FACE_SAMPLE:
        *out = (ebm_face_shape){gen->noisy ? 2 : 1, {z, bound->row}, bound->row};
        break;
    case EBM_FACE_LOG_JOINT: *out = (ebm_face_shape){2, {bound->row, z}, one}; break;
    default: *out = (ebm_face_shape){1, {bound->row}, one};
    }
    return EBM_OK;
}

/* A face of `chunk` rows. */
static ebm_status make_plan(ebm_plan **out, const ebm_bound *bound, ebm_face face, int64_t chunk)
{
    static const char *const names[EBM_FACE_INPUTS] = {"in0", "in1"};
    ebm_graph *graph = NULL;
    ebm_face_shape shape;
    ebm_ref in[EBM_FACE_INPUTS] = {EBM_NONE, EBM_NONE};
    EBM_TRY(ebm_bound_face(bound, face, &shape));
    EBM_TRY(ebm_graph_new(&graph));
    ebm_status status = EBM_OK;
    for (int32_t i = 0; i < shape.n_in && status == EBM_OK; i++) {
        ebm_shape rows;
        status = ebm_rows_shape(&rows, chunk, &shape.in[i]);
        if (status == EBM_OK)
            in[i] = ebm_graph_input(graph, names[i], bound->params.dtype, &rows);
    }
    if (status == EBM_OK) {
        ebm_ref result = ebm_bound_build(bound, face, graph, in);
        ebm_plan_options options = {ebm_state_device(bound->state), true, NULL};
        status = ebm_plan_new(out, graph, &result, 1, &options);
    }
    ebm_graph_free(graph);
    return status;
}

/* The number of the smallest chunk that takes n rows, else of the largest that fits. */
static int choose_chunk(const ebm_face_shape *shape, int64_t n)
{
    int64_t row = ebm_shape_size(&shape->out);
    for (int32_t i = 0; i < shape->n_in; i++) {
        int64_t size = ebm_shape_size(&shape->in[i]);
        row = size > row ? size : row;
    }
    int k = 0;
    while (k + 1 < N_CHUNKS && (int64_t)1 << (2 * k) < n && row << (2 * (k + 1)) <= CHUNK_ELEMENTS)
        k++;
    return k;
}

/* The plan of 4^k rows, borrowed; of two threads that make it at once one throws its own
 * away. */
static ebm_status get_plan(ebm_plan **out, ebm_bound *bound, ebm_face face, int k)
{
    ebm_plan **kept = &bound->plan[face][k];
    *out = __atomic_load_n(kept, __ATOMIC_ACQUIRE);
    if (*out) return EBM_OK;
    ebm_plan *made = NULL;
    EBM_TRY(make_plan(&made, bound, face, (int64_t)1 << (2 * k)));
    if (!__atomic_compare_exchange_n(kept, out, made, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
        ebm_plan_release(made);
    else
        *out = made;
    return EBM_OK;
}

typedef struct chunk_run {
    const ebm_device *device;
    int32_t n_in;
    int64_t chunk;
    ebm_tensor *in[EBM_FACE_INPUTS], *out; /* one chunk, on the device */
    void **pointers; /* of the plan: inputs, then the captured arrays, which it has itself */
    ebm_workspace *workspace;
} chunk_run;

static size_t row_bytes(const chunk_run *run, const ebm_tensor *tensor)
{
    return ebm_tensor_bytes(tensor) / (size_t)run->chunk;
}

static ebm_status run_chunk(chunk_run *run, const void *const *in, void *out, int64_t at,
                            int64_t n, const ebm_poll *poll)
{
    const ebm_device *device = run->device;
    void *results[1] = {run->out->data};
    for (int32_t i = 0; i < run->n_in; i++) {
        size_t row = row_bytes(run, run->in[i]);
        EBM_TRY(device->to_device(device, run->in[i]->data,
                                  (const char *)in[i] + (size_t)at * row, row * (size_t)n));
    }
    EBM_TRY(ebm_plan_run(run->workspace, run->pointers, results, poll));
    size_t row = row_bytes(run, run->out);
    return device->to_host(device, (char *)out + (size_t)at * row, run->out->data,
                           row * (size_t)n);
}

static ebm_status make_run(chunk_run *run, ebm_plan *plan)
{
    ebm_dtype dtype = ebm_plan_output_dtype(plan, 0);
    ebm_shape shape = ebm_plan_output_shape(plan, 0);
    run->chunk = shape.dim[0];
    run->pointers = ebm__alloc((size_t)ebm_plan_n_inputs(plan), sizeof *run->pointers);
    if (!run->pointers) return EBM_NOMEM;
    EBM_TRY(ebm_tensor_new(&run->out, run->device, dtype, &shape));
    for (int32_t i = 0; i < run->n_in; i++) {
        shape = ebm_plan_input_shape(plan, i);
        EBM_TRY(ebm_tensor_new(&run->in[i], run->device, dtype, &shape));
        run->pointers[i] = run->in[i]->data;
    }
    return ebm_workspace_new(&run->workspace, plan);
}

ebm_status ebm_bound_run_face(ebm_bound *bound, ebm_face face, const void *const *in, int64_t n,
                              void *out, const ebm_poll *poll)
{
    ebm_plan *plan = NULL;
    ebm_face_shape shape;
    EBM_TRY(ebm_bound_face(bound, face, &shape));
    if (n == 0) return EBM_OK;
    EBM_TRY(get_plan(&plan, bound, face, choose_chunk(&shape, n)));
    chunk_run run = {.device = ebm_state_device(bound->state), .n_in = shape.n_in};
    ebm_status status = make_run(&run, plan);
    for (int64_t at = 0; at < n && status == EBM_OK; at += run.chunk)
        status = run_chunk(&run, in, out, at, n - at < run.chunk ? n - at : run.chunk, poll);
    ebm__free(run.pointers);
    ebm_workspace_free(run.workspace);
    for (int i = 0; i < EBM_FACE_INPUTS; i++) ebm_tensor_release(run.in[i]);
    ebm_tensor_release(run.out);
    return status;
}

ebm_status ebm_bound_run(ebm_bound *bound, const void *x, int64_t n, void *out,
                         const ebm_poll *poll)
{
    return ebm_bound_run_face(bound, EBM_FACE_ENERGY, &x, n, out, poll);
}
