/* Samplers as graph code: what Python does not reach. */
#include <math.h>

#include "base/alloc.h"
#include "ops/ops.h"
#include "plan/plan.h"
#include "runner.h"
#include "samplers/annealed.h"

/* |x|^2 times half the factor behind `context`. */
static ebm_ref bowl(const void *context, const ebm_scope *scope, ebm_graph *g, ebm_ref x)
{
    (void)scope;
    return ebm_scale(g, ebm_sum_rows(g, ebm_square(g, x)), 0.5 * *(const double *)context);
}

/* Two temperatures: the weight of the first is known, since the chains have not moved. */
static ebm_status anneal(const char *name, int64_t n_steps, bool sized, const double (*x)[2],
                         double (*end)[2], double *log_w)
{
    const double one = 1.0, four = 4.0, betas[] = {0.0, 0.25, 1.0}, sizes[] = {1e-9, 1e-9};
    uint32_t key[] = {3, 4};
    ebm_energy base = {bowl, &one, true, "base", true}, target = {bowl, &four, true, "e", false};
    ebm_shape rows = EBM_DIMS(3, 2), three = EBM_DIMS(3), two = EBM_DIMS(2);
    ebm_sampler *sampler = NULL;
    ebm_graph *g = NULL;
    ebm_plan *plan = NULL;
    ebm_workspace *workspace = NULL;
    ebm_status status = ebm_sampler_new(&sampler, ebm_sampler_find(name), NULL);
    if (status == EBM_OK) status = ebm_graph_new(&g);
    if (status == EBM_OK) {
        ebm_annealing a = {sampler, &base, &target, n_steps};
        ebm_ref in[] = {ebm_graph_input(g, "x", EBM_F64, &rows),
                        ebm_graph_input(g, "key", EBM_I32, &two),
                        ebm_graph_input(g, "betas", EBM_F64, &three),
                        ebm_graph_input(g, "sizes", EBM_F64, &two)};
        ebm_annealed out = ebm_annealed_build(&a, g, in[0], in[1], in[2],
                                              sized ? in[3] : EBM_NONE);
        ebm_ref outs[] = {out.x, out.log_weight};
        ebm_plan_options options = {ebm_device_cpu(), true, NULL};
        status = ebm_plan_new(&plan, g, outs, 2, &options);
    }
    if (status == EBM_OK) status = ebm_workspace_new(&workspace, plan);
    void *in[] = {(void *)x, key, (void *)betas, (void *)sizes}, *out[] = {end, log_w};
    if (status == EBM_OK) status = ebm_plan_run(workspace, in, out, NULL);
    ebm_workspace_free(workspace);
    ebm_plan_release(plan);
    ebm_graph_free(g);
    ebm_sampler_free(sampler);
    return status;
}

TEST(annealed_chains_that_stand_have_known_weights)
{
    const double x[3][2] = {{1, 2}, {0, -1}, {0.5, 0}};
    double end[3][2], log_w[3];
    const char *names[] = {"mala", "hmc"};
    for (int k = 0; k < 2; k++) {
        CHECK_OK(anneal(names[k], 2, true, x, end, log_w));
        for (int i = 0; i < 3; i++) {
            double squares = x[i][0] * x[i][0] + x[i][1] * x[i][1];
            CHECK_CLOSE(log_w[i], -1.5 * squares, 1e-3);
            CHECK_CLOSE(end[i][0], x[i][0], 1e-3);
        }
    }
    CHECK_OK(anneal("langevin", 1, false, x, end, log_w));
    CHECK(end[0][0] != x[0][0]);
    CHECK(anneal("hmc", 0, false, x, end, log_w) == EBM_VALUE);
    CHECK(anneal("hmc", 65, false, x, end, log_w) == EBM_VALUE);
}

TEST(annealing_survives_failed_allocations)
{
    const double x[3][2] = {{1, 2}, {0, -1}, {0.5, 0}};
    double end[3][2], log_w[3];
    int64_t live = ebm__alloc_live();
    ebm_status status = EBM_NOMEM;
    for (int64_t n = 0; status != EBM_OK; n++) {
        ebm__alloc_fail_after(n);
        status = anneal("mala", 1, true, x, end, log_w);
        ebm__alloc_fail_after(-1);
        CHECK(status == EBM_OK || status == EBM_NOMEM);
        CHECK(ebm__alloc_live() == live);
    }
}
