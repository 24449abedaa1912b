/* apart.c - see apart.h. */
#include "apart.h"

#include "graph/graph.h"
#include "ops/ops.h"
#include "runner.h"
#include "tensor/shape.h"

#include <stdlib.h>

/* The draw in a block of its own: as rows, if its key counts rows. */
static ebm_view drawn(const ebm_device *cpu, const ebm_draw *draw, const ebm_view *key,
                      ebm_dtype dtype, int64_t n)
{
    ebm_shape shape = draw->row > 0 ? EBM_DIMS(n / draw->row, draw->row) : EBM_DIMS(n);
    ebm_view out = ebm_view_of(calloc((size_t)n, ebm_dtype_size(dtype)), dtype, &shape);
    int64_t real[] = {dtype, draw->purpose}, integer[] = {draw->purpose, draw->range};
    bool is_real = draw->op == EBM_OP_normal || draw->op == EBM_OP_uniform;
    ebm_kernel_args args = {.op = draw->op,
                            .n_in = 1,
                            .n_out = 1,
                            .in = key,
                            .out = &out,
                            .attr = is_real ? real : integer,
                            .n_attr = 2};
    CHECK(out.data != NULL);
    CHECK_OK(cpu->run(cpu, &args));
    return out;
}

static ebm_status run_region(const ebm_device *cpu, const ebm_kernel_args *args)
{
    const ebm_region *region = args->region;
    if (!region->draw) return cpu->run(cpu, args);
    ebm_view in[EBM_REGION_MAX_REG];
    void *block[EBM_REGION_MAX_REG] = {NULL};
    ebm_shape space = ebm_shape_of(args->out[0].rank, args->out[0].shape);
    for (int32_t k = 0; k < args->n_in; k++) {
        const ebm_view *given = &args->in[k];
        ebm_dtype dtype = (ebm_dtype)region->reg_dtype[k];
        in[k] = *given;
        if (region->draw[k].op == 0) continue;
        CHECK(given->dtype == EBM_I32 && given->rank == 1 && given->stride[0] == 1);
        CHECK(given->shape[0] == (region->draw[k].row > 0 ? 3 : 2));
        block[k] = drawn(cpu, &region->draw[k], given, dtype, ebm_shape_size(&space)).data;
        in[k] = ebm_view_of(block[k], dtype, &space);
    }
    ebm_region reads = *region;
    reads.draw = NULL;
    ebm_kernel_args asked = *args;
    asked.in = in;
    asked.region = &reads;
    ebm_status status = cpu->run(cpu, &asked);
    for (int32_t k = 0; k < args->n_in; k++) free(block[k]);
    return status;
}

static ebm_status run_regions(const ebm_device *cpu, const ebm_kernel_args *args)
{
    const ebm_region *region = args->region;
    int32_t n = args->n_out / region->n_out;
    CHECK(n >= 2 && n <= EBM_REGIONS_MAX_PARTS && !region->draw);
    CHECK(args->n_in == n * region->n_in && args->n_out == n * region->n_out);
    for (int32_t k = n - 1; k >= 0; k--) {
        ebm_kernel_args part = {.op = EBM_OP_REGION,
                                .n_in = region->n_in,
                                .n_out = region->n_out,
                                .in = args->in + k * region->n_in,
                                .out = args->out + k * region->n_out,
                                .region = region};
        for (int32_t i = 0; i < part.n_in; i++) {
            const ebm_view *in = &part.in[i];
            CHECK(in->rank <= 1 && (in->rank == 0 || in->stride[0] == 0 || in->stride[0] == 1));
        }
        EBM_TRY(cpu->run(cpu, &part));
    }
    return EBM_OK;
}

static ebm_status run_reductions(const ebm_device *cpu, const ebm_kernel_args *args)
{
    int64_t all = EBM_ALL_AXES;
    CHECK(args->n_in <= EBM_REGIONS_MAX_PARTS && args->n_out == args->n_in);
    for (int32_t k = args->n_in - 1; k >= 0; k--) {
        ebm_kernel_args part = {.op = args->op,
                                .n_in = 1,
                                .n_out = 1,
                                .in = args->in + k,
                                .out = args->out + k,
                                .attr = &all,
                                .n_attr = 1};
        part.scratch = malloc(cpu->scratch(cpu, &part) + 1);
        ebm_status status = cpu->run(cpu, &part);
        free(part.scratch);
        EBM_TRY(status);
    }
    return EBM_OK;
}

ebm_status run_apart(const ebm_device *cpu, const ebm_kernel_args *args)
{
    if (args->op == EBM_OP_REGIONS) return run_regions(cpu, args);
    if (args->op == EBM_OP_sum || args->op == EBM_OP_max)
        return args->n_in > 1 ? run_reductions(cpu, args) : cpu->run(cpu, args);
    return args->op == EBM_OP_REGION ? run_region(cpu, args) : cpu->run(cpu, args);
}
