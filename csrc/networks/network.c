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
    return network->kind->build(network->options, scope, graph, x);
}

ebm_energy ebm_network_energy(const ebm_network *network)
{
    return (ebm_energy){build, network, network->kind->rows_independent,
                        network->kind->options.owner};
}
