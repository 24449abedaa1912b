#include "networks/generator.h"

#include <math.h>

#include "networks/density.h"

/* SHAPE unless x is (n, row). */
static bool fits(const ebm_generator *gen, ebm_graph *g, const char *what, ebm_ref x, int64_t n)
{
    ebm_shape got = ebm_ref_shape(g, x), expected;
    ebm_status status = ebm_rows_shape(&expected, n, &gen->row);
    if (status != EBM_OK) {
        ebm_graph_failed(g, status);
        return false;
    }
    if (ebm_shape_equal(&got, &expected)) return true;
    char text[128], expected_text[128];
    ebm_graph_fail(g, EBM_SHAPE, "%s: %s: got %s, expected %s", gen->name, what,
                   ebm_shape_text(&got, text, sizeof text),
                   ebm_shape_text(&expected, expected_text, sizeof expected_text));
    return false;
}

ebm_ref ebm_generator_mean(const ebm_generator *gen, const ebm_scope *scope, ebm_graph *g,
                           ebm_ref z)
{
    if (z == EBM_POISON) return EBM_POISON;
    char text[128];
    ebm_shape latents = ebm_ref_shape(g, z);
    if (latents.rank != 2 || latents.dim[1] != gen->latent)
        return ebm_graph_fail(g, EBM_SHAPE, "%s: z: got %s, expected (N, %lld)", gen->name,
                              ebm_shape_text(&latents, text, sizeof text),
                              (long long)gen->latent);
    ebm_ref x = gen->build(gen->context, scope, g, z, &gen->row);
    if (x == EBM_POISON || !fits(gen, g, "rows", x, latents.dim[0])) return EBM_POISON;
    ebm_dtype dtype = ebm_ref_dtype(g, x), wanted = ebm_ref_dtype(g, z);
    if (dtype == wanted) return x;
    return ebm_graph_fail(g, EBM_DTYPE, "%s: rows: got %s, expected %s", gen->name,
                          ebm_dtype_name(dtype), ebm_dtype_name(wanted));
}

ebm_ref ebm_generator_log_sigma(const ebm_generator *gen, const ebm_scope *scope, ebm_graph *g)
{
    if (!gen->noisy)
        return ebm_graph_fail(g, EBM_VALUE,
                              "%s: got a generator without noise, expected a sigma", gen->name);
    ebm_shape scalar = {.rank = 0};
    ebm_init init = {log(gen->sigma), 0.0};
    return ebm_scope_param(scope, g, "log_sigma", &scalar, init);
}

ebm_ref ebm_generator_precision(const ebm_generator *gen, const ebm_scope *scope, ebm_graph *g)
{
    return ebm_exp(g, ebm_scale(g, ebm_generator_log_sigma(gen, scope, g), -2.0));
}

ebm_ref ebm_generator_sample(const ebm_generator *gen, const ebm_scope *scope, ebm_graph *g,
                             ebm_ref z, ebm_ref eps)
{
    ebm_ref mean = ebm_generator_mean(gen, scope, g, z);
    if (mean == EBM_POISON || !gen->noisy) return mean;
    if (eps == EBM_POISON || !fits(gen, g, "eps", eps, ebm_ref_shape(g, z).dim[0]))
        return EBM_POISON;
    ebm_ref sigma = ebm_exp(g, ebm_generator_log_sigma(gen, scope, g));
    return ebm_add(g, mean, ebm_mul(g, eps, sigma));
}

ebm_ref ebm_generator_log_joint(const ebm_generator *gen, const ebm_scope *scope, ebm_graph *g,
                                ebm_ref x, ebm_ref z)
{
    ebm_ref log_sigma = ebm_generator_log_sigma(gen, scope, g);
    ebm_ref mean = ebm_generator_mean(gen, scope, g, z);
    if (x == EBM_POISON || mean == EBM_POISON || log_sigma == EBM_POISON) return EBM_POISON;
    if (!fits(gen, g, "x", x, ebm_ref_shape(g, z).dim[0])) return EBM_POISON;
    int64_t size = ebm_shape_size(&gen->row);
    ebm_ref eps = ebm_mul(g, ebm_sub(g, x, mean), ebm_exp(g, ebm_neg(g, log_sigma)));
    ebm_ref of_x = ebm_sub(g, ebm_log_normal(g, eps), ebm_scale(g, log_sigma, (double)size));
    return ebm_add(g, of_x, ebm_log_normal(g, z));
}

static ebm_ref no_energy(const void *context, const ebm_scope *scope, ebm_graph *g, ebm_ref x)
{
    const ebm_generator *gen = context;
    (void)scope, (void)x;
    return ebm_graph_fail(g, EBM_VALUE, "%s: got a generator, expected an energy", gen->name);
}

ebm_energy ebm_generator_as_energy(const ebm_generator *gen)
{
    return (ebm_energy){.build = no_energy,
                        .context = gen,
                        .rows_independent = true,
                        .name = gen->name};
}

ebm_status ebm_generator_list(const ebm_generator *gen, ebm_dtype dtype, ebm_params *params)
{
    ebm_shape latents = EBM_DIMS(2, gen->latent);
    ebm_graph *scratch = NULL;
    EBM_TRY(ebm_graph_new(&scratch));
    params->dtype = dtype;
    ebm_scope scope = {.params = params};
    ebm_generator_mean(gen, &scope, scratch, ebm_graph_input(scratch, "z", dtype, &latents));
    if (gen->noisy && ebm_graph_status(scratch) == EBM_OK)
        ebm_generator_log_sigma(gen, &scope, scratch);
    ebm_status status = ebm_graph_status(scratch);
    ebm_graph_free(scratch);
    return status;
}
