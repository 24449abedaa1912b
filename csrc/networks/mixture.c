#include "networks/mixture.h"

#include <math.h>

#include "networks/density.h"
#include "networks/layers.h"

typedef struct mixture {
    ebm_ref means, log_std; /* (K, D) */
    ebm_ref logits;         /* (K,) */
} mixture;

static mixture params_of(const ebm_mixture_options *o, const ebm_scope *scope, ebm_graph *g,
                         int64_t size)
{
    ebm_shape table = EBM_DIMS(o->components, size), each = EBM_DIMS(o->components);
    ebm_init normal = {0.0, 1.0}, zero = {0.0, 0.0};
    return (mixture){ebm_scope_param(scope, g, "means", &table, normal),
                     ebm_scope_param(scope, g, "log_std", &table, zero),
                     ebm_scope_param(scope, g, "logits", &each, zero)};
}

static ebm_ref build(const void *options, const ebm_scope *scope, ebm_graph *g, ebm_ref x)
{
    const ebm_mixture_options *o = options;
    x = ebm_layer_flatten(g, x);
    if (x == EBM_POISON) return EBM_POISON;
    int64_t n = ebm_ref_shape(g, x).dim[0], size = ebm_ref_shape(g, x).dim[1];
    mixture m = params_of(o, scope, g, size);
    ebm_shape one = EBM_DIMS(n, 1, size);
    ebm_ref centred = ebm_sub(g, ebm_reshape(g, x, &one), m.means); /* (N, K, D) */
    ebm_ref u = ebm_mul(g, centred, ebm_exp(g, ebm_neg(g, m.log_std)));
    ebm_ref squares = ebm_sum(g, ebm_square(g, u), 1 << 2, false); /* (N, K) */
    ebm_ref log_weight = ebm_sub(g, ebm_log_softmax(g, m.logits, 0),
                                 ebm_sum(g, m.log_std, 1 << 1, false));
    ebm_ref terms = ebm_add(g, ebm_scale(g, squares, -0.5), log_weight);
    ebm_ref log_p = ebm_logsumexp(g, terms, 1 << 1, false);
    return ebm_shift(g, ebm_neg(g, log_p), 0.5 * EBM_LOG_2_PI * (double)size);
}

/* Numbers (N,) of components: how many cumulative weights lie below Phi(z_0), the last of them,
 * which is one up to rounding, left out. */
static ebm_ref choose(ebm_graph *g, const mixture *m, ebm_ref z0)
{
    int64_t n = ebm_ref_shape(g, m->logits).dim[0];
    ebm_ref ends = ebm_cumsum(g, ebm_softmax(g, m->logits, 0), 0, false);
    ends = ebm_slice_axis(g, ends, 0, 0, n - 1);
    ebm_ref phi = ebm_scale(g, ebm_shift(g, ebm_erf(g, ebm_scale(g, z0, sqrt(0.5))), 1.0), 0.5);
    ebm_ref below = ebm_cast(g, ebm_less(g, ends, phi), EBM_I32); /* (N, K - 1) */
    return ebm_sum(g, below, 1 << 1, false);
}

static ebm_ref generate(const void *options, const ebm_scope *scope, ebm_graph *g, ebm_ref z,
                        const ebm_shape *row)
{
    int64_t size = ebm_shape_size(row);
    mixture m = params_of(options, scope, g, size);
    ebm_ref which = choose(g, &m, ebm_slice_axis(g, z, 1, 0, 1));
    ebm_ref std = ebm_exp(g, ebm_take(g, m.log_std, which, 0));
    ebm_ref noise = ebm_mul(g, std, ebm_slice_axis(g, z, 1, 1, size));
    return ebm_rows_reshape(g, ebm_add(g, ebm_take(g, m.means, which, 0), noise), row);
}

static int64_t latent(const void *options, const ebm_shape *row)
{
    (void)options;
    return 1 + ebm_shape_size(row);
}

static const ebm_option rows[] = {EBM_MIXTURE_OPTIONS(EBM_OPTION_ROW, ebm_mixture_options)};

const ebm_network_kind ebm__network_mixture = {
    .options = EBM_OPTIONS_OF("mixture", rows, ebm_mixture_options),
    .build = build,
    .generate = generate,
    .latent = latent,
    .rows_independent = true,
    .normalized = true,
    .exact = true,
};
