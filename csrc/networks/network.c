#include "networks/network.h"

#include "base/alloc.h"

#define NETWORK(id) extern const ebm_network_kind ebm__network_##id;
#include "networks/networks.def"

static const void *const kinds[] = {
#define NETWORK(id) &ebm__network_##id,
#include "networks/networks.def"
    NULL,
};

struct ebm_network {
    const ebm_network_kind *kind;
    void *options;
};

const ebm_network_kind *ebm_network_at(int32_t index)
{
    return kinds[index];
}

const ebm_network_kind *ebm_network_find(const char *name)
{
    return ebm_options_kind("network", name, kinds);
}

ebm_status ebm_network_new(ebm_network **out, const ebm_network_kind *kind, const void *options)
{
    if (options) EBM_TRY(ebm_options_check(&kind->options, options));
    ebm_network *network = ebm__alloc(1, sizeof *network);
    if (!network) return EBM_NOMEM;
    network->kind = kind;
    ebm_status status = ebm_options_copy(&network->options, &kind->options, options);
    if (status != EBM_OK) {
        ebm__free(network);
        return status;
    }
    *out = network;
    return EBM_OK;
}

void ebm_network_free(ebm_network *network)
{
    if (!network) return;
    ebm__free(network->options);
    ebm__free(network);
}

const ebm_network_kind *ebm_network_get_kind(const ebm_network *network)
{
    return network->kind;
}

const void *ebm_network_options(const ebm_network *network)
{
    return network->options;
}

static ebm_ref build(const void *context, const ebm_scope *scope, ebm_graph *graph, ebm_ref x)
{
    const ebm_network *network = context;
    const ebm_network_kind *kind = network->kind;
    if (!kind->build)
        return ebm_graph_fail(graph, EBM_VALUE, "%s: got a generator, expected an energy",
                              kind->options.owner);
    return kind->build(network->options, scope, graph, x);
}

ebm_energy ebm_network_energy(const ebm_network *network)
{
    return (ebm_energy){
        .build = build,
        .context = network,
        .rows_independent = network->kind->rows_independent,
        .name = network->kind->options.owner,
        .normalized = network->kind->normalized,
    };
}

static ebm_ref generate(const void *context, const ebm_scope *scope, ebm_graph *graph,
                        ebm_ref z, const ebm_shape *row)
{
    const ebm_network *network = context;
    return network->kind->generate(network->options, scope, graph, z, row);
}

static double start_sigma(const ebm_network *network)
{
    const ebm_network_kind *kind = network->kind;
    if (!kind->noisy) return 0.0;
    return ebm_options_number(ebm_options_find(&kind->options, "sigma"), network->options);
}

ebm_status ebm_network_generator(const ebm_network *network, const ebm_shape *row,
                                 ebm_generator *out)
{
    const ebm_network_kind *kind = network->kind;
    if (!kind->generate)
        return ebm_fail(EBM_VALUE, "%s: got an energy, expected a generator",
                        kind->options.owner);
    double sigma = start_sigma(network);
    *out = (ebm_generator){
        .build = generate,
        .context = network,
        .latent = kind->latent(network->options, row),
        .row = *row,
        .noisy = sigma > 0,
        .sigma = sigma,
        .name = kind->options.owner,
    };
    return EBM_OK;
}

ebm_status ebm_network_list(const ebm_network *network, const ebm_shape *row, ebm_dtype dtype,
                            ebm_params *params)
{
    ebm_energy energy = ebm_network_energy(network);
    if (network->kind->build) EBM_TRY(ebm_energy_list(&energy, row, dtype, params));
    if (!network->kind->generate) return EBM_OK;
    ebm_generator generator;
    EBM_TRY(ebm_network_generator(network, row, &generator));
    return ebm_generator_list(&generator, dtype, params);
}
