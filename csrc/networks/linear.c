#include "networks/linear.h"

#include <math.h>

#include "networks/density.h"
#include "networks/layers.h"

static ebm_ref weight(const ebm_linear_options *o, const ebm_scope *scope, ebm_graph *g,
                      int64_t size)
{
    ebm_shape shape = EBM_DIMS(size, o->latent);
    ebm_init init = {0.0, 1.0 / sqrt((double)o->latent)};
    return ebm_scope_param(scope, g, "w", &shape, init);
}

static ebm_ref centre(const ebm_scope *scope, ebm_graph *g, int64_t size)
{
    ebm_shape shape = EBM_DIMS(size);
    ebm_init zero = {0.0, 0.0};
    return ebm_scope_param(scope, g, "mu", &shape, zero);
}

/* The identity (n, n). */
static ebm_ref identity(ebm_graph *g, ebm_dtype dtype, int64_t n)
{
    ebm_shape square = EBM_DIMS(n, n);
    ebm_ref same = ebm_equal(g, ebm_iota(g, EBM_I32, &square, 0),
                             ebm_iota(g, EBM_I32, &square, 1));
    return ebm_cast(g, same, dtype);
}

/* |r - W z*|^2 / sigma^2 + |z*|^2 of rows r (N, D), given the factor of M. */
static ebm_ref distance(ebm_graph *g, ebm_ref r, ebm_ref w, ebm_ref factor, ebm_ref log_sigma)
{
    ebm_ref back = ebm_matmul_ex(g, w, r, true, true); /* W'r, (latent, N) */
    ebm_ref half = ebm_solve_triangular(g, factor, back, true, false);
    ebm_ref z = ebm_transpose(g, ebm_solve_triangular(g, factor, half, true, true));
    ebm_ref left = ebm_sub(g, r, ebm_matmul_ex(g, z, w, false, true));
    left = ebm_mul(g, left, ebm_exp(g, ebm_neg(g, log_sigma)));
    return ebm_add(g, ebm_sum_rows(g, ebm_square(g, left)), ebm_sum_rows(g, ebm_square(g, z)));
}

static ebm_ref build(const void *options, const ebm_scope *scope, ebm_graph *g, ebm_ref x)
{
    const ebm_linear_options *o = options;
    x = ebm_layer_flatten(g, x);
    if (x == EBM_POISON) return EBM_POISON;
    ebm_shape one = {.rank = 0};
    ebm_init start = {log(o->sigma), 0.0};
    int64_t size = ebm_ref_shape(g, x).dim[1];
    ebm_ref w = weight(o, scope, g, size), mu = centre(scope, g, size);
    ebm_ref log_sigma = ebm_scope_param(scope, g, "log_sigma", &one, start);
    ebm_ref eye = identity(g, ebm_ref_dtype(g, x), o->latent);
    ebm_ref variance = ebm_exp(g, ebm_scale(g, log_sigma, 2.0));
    ebm_ref inner = ebm_add(g, ebm_matmul_ex(g, w, w, true, false), ebm_mul(g, eye, variance));
    ebm_ref factor = ebm_cholesky(g, inner);
    ebm_ref diagonal = ebm_sum(g, ebm_mul(g, factor, eye), 1 << 1, false);
    ebm_ref half_log_det = ebm_add(g, ebm_scale(g, log_sigma, (double)(size - o->latent)),
                                   ebm_sum_all(g, ebm_log(g, diagonal)));
    ebm_ref squares = distance(g, ebm_sub(g, x, mu), w, factor, log_sigma);
    return ebm_add(g, ebm_scale(g, squares, 0.5),
                   ebm_shift(g, half_log_det, 0.5 * EBM_LOG_2_PI * (double)size));
}

static ebm_ref generate(const void *options, const ebm_scope *scope, ebm_graph *g, ebm_ref z,
                        const ebm_shape *row)
{
    int64_t size = ebm_shape_size(row);
    ebm_ref w = weight(options, scope, g, size), mu = centre(scope, g, size);
    return ebm_rows_reshape(g, ebm_add(g, ebm_matmul_ex(g, z, w, false, true), mu), row);
}

static int64_t latent(const void *options, const ebm_shape *row)
{
    (void)row;
    return ((const ebm_linear_options *)options)->latent;
}

static const ebm_option rows[] = {EBM_LINEAR_OPTIONS(EBM_OPTION_ROW, ebm_linear_options)};

const ebm_network_kind ebm__network_linear = {
    .options = EBM_OPTIONS_OF("linear", rows, ebm_linear_options),
    .build = build,
    .generate = generate,
    .latent = latent,
    .noisy = true,
    .rows_independent = true,
    .normalized = true,
    .exact = true,
};
