/* test_plan_memory.c - the arena of a plan, and planning without memory. */
#include "plan_check.h"

TEST(plan_arena_is_shared)
{
    ebm_graph *g = new_graph();
    ebm_shape shape = EBM_DIMS(64, 64);
    ebm_ref x = ebm_graph_input(g, "x", EBM_F32, &shape), y = x;
    for (int k = 0; k < 20; k++)
        y = ebm_cumsum(g, ebm_tanh(g, ebm_cumsum(g, y, 0, false)), 1, true);
    ebm_plan *plan = make_plan(g, &y, 1, NULL, true), *none = make_plan(g, &y, 1, NULL, false);
    CHECK(ebm_plan_n_kernels(plan) == 60);
    CHECK(ebm_plan_arena_bytes(plan) <= 2 * 64 * 64 * 4);
    CHECK(ebm_plan_arena_bytes(none) >= 60 * 64 * 64 * 4);
    ebm_plan_release(plan);
    ebm_plan_release(none);
    float *data = ebm__alloc(64 * 64, sizeof *data);
    for (int i = 0; i < 64 * 64; i++) data[i] = (float)(i % 11) - 5;
    void *in[] = {data};
    check_planned(g, &y, 1, NULL, in);
    ebm__free(data);
    ebm_graph_free(g);
}

/* Down a chain and up again: products of both ways, asked for from the first on, free what they read as
 * soon as the way up has come by, not at its end. */
enum { LAYERS = 8, SIDE = 1024 };

static void lean_graph(ebm_graph *g, ebm_ref *out)
{
    ebm_shape shape = EBM_DIMS(SIDE, SIDE);
    ebm_ref down[LAYERS], y = ebm_graph_input(g, "x", EBM_F32, &shape);
    for (int k = 0; k < LAYERS; k++) down[k] = y = ebm_cumsum(g, ebm_tanh(g, y), 0, false);
    for (int k = LAYERS - 1; k >= 0; k--) {
        y = ebm_cumsum(g, ebm_sin(g, y), 1, true);
        out[k] = ebm_matmul(g, down[k], ebm_slice_axis(g, y, 1, 0, 4));
    }
}

TEST(plan_arena_is_lean)
{
    ebm_graph *g = new_graph();
    ebm_ref out[LAYERS];
    lean_graph(g, out);
    ebm_plan *plan = make_plan(g, out, LAYERS, NULL, true);
    CHECK(ebm_plan_arena_bytes(plan) < (LAYERS + 4) * SIDE * SIDE * sizeof(float));
    ebm_plan_release(plan);
    float *data = ebm__alloc(SIDE * SIDE, sizeof *data);
    for (int i = 0; i < SIDE * SIDE; i++) data[i] = (float)(i % 11 - 5) * 0.1f;
    void *in[] = {data};
    check_planned(g, out, LAYERS, NULL, in);
    ebm__free(data);
    ebm_graph_free(g);
}

/* Each allocation in turn fails. */
static void check_without_memory(const ebm_graph *g, const ebm_ref *out, int32_t n_out,
                                 const int32_t *alias)
{
    int64_t before = ebm__alloc_live();
    ebm_plan_options options = {.device = ebm_device_cpu(), .fuse = true, .alias = alias};
    bool done = false;
    for (int64_t n = 0; !done; n++) {
        ebm_plan *plan = NULL;
        ebm_workspace *workspace = NULL;
        ebm__alloc_fail_after(n);
        ebm_status status = ebm_plan_new(&plan, g, out, n_out, &options);
        if (status == EBM_OK) status = ebm_workspace_new(&workspace, plan);
        done = status == EBM_OK;
        ebm__alloc_fail_after(-1);
        CHECK(done || status == EBM_NOMEM);
        ebm_workspace_free(workspace);
        ebm_plan_release(plan);
        CHECK(ebm__alloc_live() == before);
        CHECK(n < 100000);
    }
}

TEST(plan_without_memory)
{
    ebm_graph *g = new_graph();
    ebm_shape square = EBM_DIMS(4, 4);
    ebm_ref x = ebm_graph_input(g, "x", EBM_F32, &square), i, c, last, stacked;
    ebm_ref y = ebm_tanh(g, ebm_matmul(g, x, ebm_transpose(g, x)));
    ebm_graph *body = ebm_repeat_open(g, 3, &y, 1, NULL, 0, &i, &c, NULL);
    ebm_ref next = ebm_mul(body, c, ebm_cast(body, i, EBM_F32));
    next = ebm_sub(body, next, ebm_exp(body, ebm_lift(body, g, x)));
    ebm_repeat_close(body, &next, &c, 1, false, &last, &stacked);
    ebm_ref out[LAYERS] = {last, ebm_sum(g, stacked, 1, false),
                           ebm_grad(g, ebm_sum_all(g, last), x)};
    CHECK_OK(ebm_graph_status(g));
    check_without_memory(g, out, 3, (int32_t[]){0, -1, -1});
    ebm_graph_free(g);
    g = new_graph();
    lean_graph(g, out);
    check_without_memory(g, out, LAYERS, NULL);
    ebm_graph_free(g);
}
