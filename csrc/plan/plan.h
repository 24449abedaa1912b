/* plan.h - a graph compiled for fixed shapes and one device.
 *
 * Compiling drops what the outputs do not need, merges elementwise nodes into regions, lets
 * broadcasts, slices and permutations be read through strides, and gives every buffer its place in
 * one arena by its lifetime.  A plan is immutable and may be shared by threads; each run needs a
 * workspace (the arena) of its own.  Running allocates nothing.
 *
 * EBMLIB_PLAN=none in the environment, or fuse = false, runs node by node: the oracle. */
#ifndef EBM_PLAN_PLAN_H
#define EBM_PLAN_PLAN_H

#include "graph/graph.h"
#include "tensor/device.h"

typedef struct ebm_plan ebm_plan;
typedef struct ebm_workspace ebm_workspace;

typedef struct ebm_plan_options {
    const ebm_device *device;
    bool fuse; /* regions and shared buffers; false: every node alone, in its own buffer */
    const int32_t *alias; /* for each output the number of the input whose buffer it overwrites, or
                             -1; NULL: none.  The last read of that input comes before the write,
                             or the result is copied at the end. */
} ebm_plan_options;

/* Compiles the outputs of `graph` (a root); the graph is not needed afterwards, captured tensors are
 * retained.  The graph's own error, NOMEM, UNSUPPORTED, VALUE (bad alias). */
ebm_status ebm_plan_new(ebm_plan **out, const ebm_graph *graph, const ebm_ref *outs,
                        int32_t n_out, const ebm_plan_options *options);
ebm_plan *ebm_plan_retain(ebm_plan *plan);
void ebm_plan_release(ebm_plan *plan); /* NULL is fine */

int32_t ebm_plan_n_inputs(const ebm_plan *plan);
int32_t ebm_plan_n_outputs(const ebm_plan *plan);
/* dtype, shape of an input or output; whether an input is read at all. */
ebm_dtype ebm_plan_input_dtype(const ebm_plan *plan, int32_t k);
ebm_shape ebm_plan_input_shape(const ebm_plan *plan, int32_t k);
bool ebm_plan_input_used(const ebm_plan *plan, int32_t k);
ebm_dtype ebm_plan_output_dtype(const ebm_plan *plan, int32_t k);
ebm_shape ebm_plan_output_shape(const ebm_plan *plan, int32_t k);
const ebm_device *ebm_plan_device(const ebm_plan *plan);

/* What a plan costs, for people and tests: kernels a run (bodies times their steps), arena bytes. */
int64_t ebm_plan_n_kernels(const ebm_plan *plan);
size_t ebm_plan_arena_bytes(const ebm_plan *plan);

/* Called at most every 50 ms between the kernels of a run, and between program steps: true to stop.
 * A program calls it after so many `passes` too, if that is not 0. */
typedef struct ebm_poll {
    bool (*stop)(void *context);
    void *context;
    int64_t passes;
} ebm_poll;

ebm_status ebm_workspace_new(ebm_workspace **out, ebm_plan *plan); /* retains the plan */
void ebm_workspace_free(ebm_workspace *workspace);                 /* NULL is fine */

/* One run.  `in` has a pointer for each graph input (NULL for captured and unread ones), `out` one
 * for each output; contiguous, in the device's memory, of the plan's shapes.  An output that has an
 * alias must be given that input's pointer.  Two outputs never share a pointer.
 * VALUE (a pointer is missing, or not the input's; nothing ran), INDEX, DEVICE, CANCELLED (outputs then
 * undefined); poll may be NULL. */
ebm_status ebm_plan_run(ebm_workspace *workspace, void *const *in, void *const *out,
                        const ebm_poll *poll);

/* How products of f32 may be computed in this process; IEEE at first.  A change, which gives what was
 * before, holds for each run that begins after it, of old plans too. */
ebm_precision ebm_get_precision(void);
ebm_precision ebm_set_precision(ebm_precision precision);

#endif
