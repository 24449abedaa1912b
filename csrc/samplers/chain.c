/* chain.c - a walk compiled for one energy and shape. */
#include "base/alloc.h"
#include "ops/ops.h"
#include "samplers/sampler.h"

enum { IN_X, IN_KEY, IN_FIRST, N_IN }; /* the graph's inputs, then captured ones */
enum { OUT_X, OUT_TRACE, MAX_OUT = EBM_SAMPLER_MAX + 1 }; /* the trace, or the infos */

struct ebm_chain {
    const ebm_device *device;
    int32_t n_out;
    ebm_tensor *in[N_IN], *out[MAX_OUT]; /* on the device */
    void **in_data, *out_data[MAX_OUT];
    ebm_workspace *workspace;
};

static ebm_status check(const ebm_sampler *sampler, const ebm_energy *energy,
                        const ebm_chain_options *options)
{
    const char *name = ebm_sampler_get_kind(sampler)->options.owner;
    EBM_TRY(ebm_energy_require_rows(energy, name));
    if (!ebm_dtype_is_float(options->dtype))
        return ebm_fail(EBM_DTYPE, "%s: x0: got %s, expected f32 or f64", name,
                        ebm_dtype_name(options->dtype));
    if (options->x.rank < 1)
        return ebm_fail(EBM_SHAPE, "%s: x0: got a scalar, expected rows (N, ...)", name);
    if (options->n < 0 || options->n > INT32_MAX || options->thin < 0)
        return ebm_fail(EBM_VALUE,
                        "%s: got n_steps %lld, thin %lld, expected no negative numbers", name,
                        (long long)options->n, (long long)options->thin);
    EBM_CHECK(!options->info || (options->n == 1 && options->thin == 0));
    return EBM_OK;
}

/* Writes the graph; outs has the results. */
static int32_t write(const ebm_sampler *sampler, const ebm_energy *energy, ebm_graph *g,
                     const ebm_chain_options *options, ebm_ref *outs)
{
    ebm_shape key_shape = EBM_DIMS(2), scalar = EBM_SCALAR;
    ebm_ref x = ebm_graph_input(g, "x", options->dtype, &options->x);
    ebm_ref key = ebm_graph_input(g, "key", EBM_I32, &key_shape);
    ebm_ref first = ebm_graph_input(g, "first", EBM_I32, &scalar);
    if (options->info) {
        outs[OUT_X] = ebm_sampler_step(sampler, energy, NULL, g, x, key, first, outs + 1);
        return 1 + ebm_sampler_get_kind(sampler)->n_info;
    }
    if (options->thin > 0) {
        outs[OUT_X] = ebm_sampler_trace(sampler, energy, NULL, g, x, key, first, options->n,
                                        options->thin, &outs[OUT_TRACE]);
        return 2;
    }
    outs[OUT_X] = ebm_sampler_chain(sampler, energy, NULL, g, x, key, first, options->n);
    return 1;
}

static ebm_status make_arrays(ebm_chain *chain, const ebm_plan *plan)
{
    chain->in_data = ebm__alloc((size_t)ebm_plan_n_inputs(plan), sizeof *chain->in_data);
    if (!chain->in_data) return EBM_NOMEM;
    for (int32_t i = 0; i < N_IN; i++) {
        ebm_shape shape = ebm_plan_input_shape(plan, i);
        EBM_TRY(ebm_tensor_new(&chain->in[i], chain->device, ebm_plan_input_dtype(plan, i),
                               &shape));
        chain->in_data[i] = chain->in[i]->data;
    }
    for (int32_t k = 0; k < chain->n_out; k++) {
        ebm_shape shape = ebm_plan_output_shape(plan, k);
        EBM_TRY(ebm_tensor_new(&chain->out[k], chain->device, ebm_plan_output_dtype(plan, k),
                               &shape));
        chain->out_data[k] = chain->out[k]->data;
    }
    return EBM_OK;
}

ebm_status ebm_chain_new(ebm_chain **out, const ebm_sampler *sampler, const ebm_energy *energy,
                         const ebm_chain_options *options)
{
    EBM_TRY(check(sampler, energy, options));
    ebm_graph *g = NULL;
    ebm_plan *plan = NULL;
    ebm_ref outs[MAX_OUT] = {0};
    ebm_plan_options plan_options = {options->device, true, NULL};
    ebm_chain *chain = ebm__alloc(1, sizeof *chain);
    if (!chain) return EBM_NOMEM;
    chain->device = options->device;
    ebm_status status;
    EBM_TRY_TO(status, ebm_graph_new(&g), done);
    chain->n_out = write(sampler, energy, g, options, outs);
    EBM_TRY_TO(status, ebm_plan_new(&plan, g, outs, chain->n_out, &plan_options), done);
    EBM_TRY_TO(status, ebm_workspace_new(&chain->workspace, plan), done);
    status = make_arrays(chain, plan);
done:
    ebm_plan_release(plan);
    ebm_graph_free(g);
    if (status == EBM_OK)
        *out = chain;
    else
        ebm_chain_free(chain);
    return status;
}

void ebm_chain_free(ebm_chain *chain)
{
    if (!chain) return;
    ebm_workspace_free(chain->workspace);
    for (int32_t i = 0; i < N_IN; i++) ebm_tensor_release(chain->in[i]);
    for (int32_t k = 0; k < MAX_OUT; k++) ebm_tensor_release(chain->out[k]);
    ebm__free(chain->in_data);
    ebm__free(chain);
}

static ebm_status to_device(const ebm_chain *chain, int32_t i, const void *host)
{
    const ebm_tensor *to = chain->in[i];
    return chain->device->to_device(chain->device, to->data, host, ebm_tensor_bytes(to));
}

static ebm_status to_host(const ebm_chain *chain, int32_t k, void *host)
{
    const ebm_tensor *from = chain->out[k];
    if (!host) return EBM_OK;
    return chain->device->to_host(chain->device, host, from->data, ebm_tensor_bytes(from));
}

ebm_status ebm_chain_run(ebm_chain *chain, const void *x, const uint32_t key[2], int32_t first,
                         void *x_out, void *trace, void *const *info, const ebm_poll *poll)
{
    EBM_TRY(to_device(chain, IN_X, x));
    EBM_TRY(to_device(chain, IN_KEY, key));
    EBM_TRY(to_device(chain, IN_FIRST, &first));
    EBM_TRY(ebm_plan_run(chain->workspace, chain->in_data, chain->out_data, poll));
    EBM_TRY(to_host(chain, OUT_X, x_out));
    if (trace) return to_host(chain, OUT_TRACE, trace);
    for (int32_t k = 0; info && k + 1 < chain->n_out; k++)
        EBM_TRY(to_host(chain, k + 1, info[k]));
    return EBM_OK;
}
