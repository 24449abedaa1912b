#include "networks/nice.h"

#include <stdio.h>

#include "networks/density.h"

enum { EBM_NICE_NORMAL }; /* of the priors */

/* The two halves of rows (N, D). */
typedef struct halves {
    ebm_ref part[2]; /* (N, ceil(D / 2)), (N, floor(D / 2)) */
} halves;

/* Part 1 - side plus or minus m(part side), for coupling i of that side. */
static void couple(const ebm_nice_options *o, const ebm_scope *scope, ebm_graph *g, int64_t i,
                   bool back, halves *h)
{
    int from = (int)(i % 2), to = 1 - from;
    ebm_activation f = (ebm_activation)o->activation;
    ebm_ref m = h->part[from];
    double gain = 1.0;
    char name[48];
    if (m == EBM_POISON || h->part[to] == EBM_POISON) return;
    int64_t width = ebm_ref_shape(g, h->part[to]).dim[1];
    for (int64_t k = 0; k < o->layers; k++) {
        snprintf(name, sizeof name, "c%d.l%d", (int)i, (int)k);
        m = ebm_activate(g, f, ebm_layer_dense(scope, g, name, m, o->width, gain));
        gain = ebm_activation_gain(f);
    }
    snprintf(name, sizeof name, "c%d.l%d", (int)i, (int)o->layers);
    m = ebm_layer_dense(scope, g, name, m, width, 0.0);
    h->part[to] = back ? ebm_sub(g, h->part[to], m) : ebm_add(g, h->part[to], m);
}

static ebm_ref log_scale(const ebm_scope *scope, ebm_graph *g, int64_t size)
{
    ebm_shape each = EBM_DIMS(size);
    ebm_init zero = {0.0, 0.0};
    return ebm_scope_param(scope, g, "log_scale", &each, zero);
}

/* Every second place of rows (N, D), from the first or the second on. */
static ebm_ref every_second(ebm_graph *g, ebm_ref x, int64_t first)
{
    ebm_shape shape = ebm_ref_shape(g, x);
    int64_t start[2] = {0, first}, step[2] = {1, 2};
    int64_t count[2] = {shape.dim[0], (shape.dim[1] - first + 1) / 2};
    return ebm_slice(g, x, start, step, count);
}

static ebm_ref too_narrow(ebm_graph *g, int64_t size)
{
    return ebm_graph_fail(g, EBM_SHAPE, "nice: got rows of %lld numbers, expected at least 2",
                          (long long)size);
}

static ebm_ref build(const void *options, const ebm_scope *scope, ebm_graph *g, ebm_ref x)
{
    const ebm_nice_options *o = options;
    x = ebm_layer_flatten(g, x);
    if (x == EBM_POISON) return EBM_POISON;
    int64_t size = ebm_ref_shape(g, x).dim[1];
    if (size < 2) return too_narrow(g, size);
    halves h = {{every_second(g, x, 0), every_second(g, x, 1)}};
    for (int64_t i = 0; i < o->couplings; i++) couple(o, scope, g, i, false, &h);
    ebm_ref s = log_scale(scope, g, size);
    ebm_ref y = ebm_mul(g, ebm_concat(g, h.part, 2, 1), ebm_exp(g, s));
    ebm_ref log_prior = (o->prior == EBM_NICE_NORMAL ? ebm_log_normal : ebm_log_logistic)(g, y);
    return ebm_sub(g, ebm_neg(g, log_prior), ebm_sum_all(g, s));
}

/* Puts the parts where they came from. */
static ebm_ref interleave(ebm_graph *g, const halves *h, int64_t n, int64_t size)
{
    ebm_shape shape = EBM_DIMS(n, size);
    ebm_ref spread[2];
    for (int64_t k = 0; k < 2; k++) {
        int64_t start[2] = {0, k}, step[2] = {1, 2};
        spread[k] = ebm_pad(g, h->part[k], start, step, &shape);
    }
    return ebm_add(g, spread[0], spread[1]);
}

static ebm_ref generate(const void *options, const ebm_scope *scope, ebm_graph *g, ebm_ref z,
                        const ebm_shape *row)
{
    const ebm_nice_options *o = options;
    int64_t n = ebm_ref_shape(g, z).dim[0], size = ebm_shape_size(row);
    if (size < 2) return too_narrow(g, size);
    int64_t first = (size + 1) / 2;
    if (o->prior != EBM_NICE_NORMAL) z = ebm_logistic_of_normal(g, z);
    ebm_ref y = ebm_mul(g, z, ebm_exp(g, ebm_neg(g, log_scale(scope, g, size))));
    halves h = {{ebm_slice_axis(g, y, 1, 0, first), ebm_slice_axis(g, y, 1, first, size - first)}};
    for (int64_t i = o->couplings; i-- > 0;) couple(o, scope, g, i, true, &h);
    return ebm_rows_reshape(g, interleave(g, &h, n, size), row);
}

static int64_t latent(const void *options, const ebm_shape *row)
{
    (void)options;
    return ebm_shape_size(row);
}

static const ebm_option rows[] = {EBM_NICE_OPTIONS(EBM_OPTION_ROW, ebm_nice_options)};

const ebm_network_kind ebm__network_nice = {
    .options = EBM_OPTIONS_OF("nice", rows, ebm_nice_options),
    .build = build,
    .generate = generate,
    .latent = latent,
    .rows_independent = true,
    .normalized = true,
    .exact = true,
};
