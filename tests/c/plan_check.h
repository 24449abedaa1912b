/* plan_check.h - running graphs in a test: planned, and node by node. */
#ifndef EBM_TESTS_PLAN_CHECK_H
#define EBM_TESTS_PLAN_CHECK_H

#include "runner.h"

#include "base/alloc.h"
#include "ops/ops.h"
#include "plan/plan.h"

#include <stdio.h>
#include <string.h>

enum { MAX_PORTS = 64 };

/* ---- running ----------------------------------------------------------------------------------- */

static inline size_t bytes_of(ebm_dtype dtype, const ebm_shape *shape)
{
    return (size_t)ebm_shape_size(shape) * ebm_dtype_size(dtype);
}

static inline ebm_plan *make_plan(const ebm_graph *g, const ebm_ref *outs, int32_t n,
                                  const int32_t *alias, bool fuse)
{
    ebm_plan *plan = NULL;
    ebm_plan_options options = {.device = ebm_device_cpu(), .fuse = fuse, .alias = alias};
    CHECK_OK(ebm_graph_status(g));
    CHECK_OK(ebm_plan_new(&plan, g, outs, n, &options));
    return plan;
}

/* Runs with copies of the inputs; out[k] gets a new block, or the copy that it overwrites. */
static inline void run_plan(ebm_plan *plan, const int32_t *alias, void *const *in, void **out)
{
    int32_t n_in = ebm_plan_n_inputs(plan), n_out = ebm_plan_n_outputs(plan);
    void *copy[MAX_PORTS] = {NULL};
    bool given[MAX_PORTS] = {false};
    CHECK(n_in <= MAX_PORTS && n_out <= MAX_PORTS);
    for (int32_t k = 0; k < n_in; k++) {
        ebm_shape shape = ebm_plan_input_shape(plan, k);
        size_t bytes = bytes_of(ebm_plan_input_dtype(plan, k), &shape);
        if (!in[k]) continue;
        copy[k] = ebm__alloc(bytes, 1);
        memcpy(copy[k], in[k], bytes);
    }
    for (int32_t k = 0; k < n_out; k++) {
        ebm_shape shape = ebm_plan_output_shape(plan, k);
        size_t bytes = bytes_of(ebm_plan_output_dtype(plan, k), &shape);
        bool over = alias && alias[k] >= 0;
        out[k] = over ? copy[alias[k]] : ebm__alloc(bytes, 1);
        if (over)
            given[alias[k]] = true;
        else
            memset(out[k], 0xAB, bytes);
    }
    ebm_workspace *workspace = NULL;
    CHECK_OK(ebm_workspace_new(&workspace, plan));
    CHECK_OK(ebm_plan_run(workspace, copy, out, NULL));
    for (int32_t k = 0; k < n_in; k++) {
        if (!in[k] || given[k]) continue;
        ebm_shape shape = ebm_plan_input_shape(plan, k);
        CHECK(memcmp(copy[k], in[k], bytes_of(ebm_plan_input_dtype(plan, k), &shape)) == 0);
        ebm__free(copy[k]);
    }
    ebm_workspace_free(workspace);
}

/* Kernels of the plan; outputs in out[], owned by the caller. */
static inline int64_t run_graph(const ebm_graph *g, const ebm_ref *outs, int32_t n,
                                const int32_t *alias, bool fuse, void *const *in, void **out)
{
    ebm_plan *plan = make_plan(g, outs, n, alias, fuse);
    run_plan(plan, alias, in, out);
    int64_t kernels = ebm_plan_n_kernels(plan);
    ebm_plan_release(plan);
    return kernels;
}

static inline void free_all(void **block, int32_t n)
{
    for (int32_t k = 0; k < n; k++) ebm__free(block[k]);
}

/* Equal bits, any NaN being equal to any other. */
static inline bool same_numbers(ebm_dtype dtype, const void *a, const void *b, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        if (dtype == EBM_F32) {
            float x = ((const float *)a)[i], y = ((const float *)b)[i];
            if (memcmp(&x, &y, sizeof x) != 0 && !(isnan(x) && isnan(y))) return false;
        } else if (dtype == EBM_F64) {
            double x = ((const double *)a)[i], y = ((const double *)b)[i];
            if (memcmp(&x, &y, sizeof x) != 0 && !(isnan(x) && isnan(y))) return false;
        } else {
            size_t size = ebm_dtype_size(dtype);
            if (memcmp((const char *)a + (size_t)i * size, (const char *)b + (size_t)i * size,
                       size) != 0)
                return false;
        }
    }
    return true;
}

/* Planned, with aliases, against node by node, without.  The kernels of the planned run. */
static inline int64_t check_planned(const ebm_graph *g, const ebm_ref *outs, int32_t n,
                                    const int32_t *alias, void *const *in)
{
    void *planned[MAX_PORTS], *aliased[MAX_PORTS], *plain[MAX_PORTS];
    run_graph(g, outs, n, NULL, false, in, plain);
    run_graph(g, outs, n, alias, false, in, aliased);
    int64_t kernels = run_graph(g, outs, n, alias, true, in, planned);
    for (int32_t k = 0; k < n; k++) {
        ebm_shape shape = ebm_ref_shape(g, outs[k]);
        ebm_dtype dtype = ebm_ref_dtype(g, outs[k]);
        int64_t size = ebm_shape_size(&shape);
        if (!same_numbers(dtype, planned[k], plain[k], size) ||
            !same_numbers(dtype, aliased[k], plain[k], size)) {
            char *text = NULL;
            if (ebm_graph_print(&text, g, outs, n) == EBM_OK) printf("%s", text);
            ebm__free(text);
            test_fail(__FILE__, __LINE__, "output %d differs: planned %d, aliased %d", k,
                      !same_numbers(dtype, planned[k], plain[k], size),
                      !same_numbers(dtype, aliased[k], plain[k], size));
        }
    }
    free_all(planned, n);
    free_all(aliased, n);
    free_all(plain, n);
    return kernels;
}

static inline ebm_graph *new_graph(void)
{
    ebm_graph *g = NULL;
    CHECK_OK(ebm_graph_new(&g));
    return g;
}

static inline ebm_ref input_f32(ebm_graph *g, const char *name, ebm_shape shape)
{
    return ebm_graph_input(g, name, EBM_F32, &shape);
}

#endif
