/* plan.c - compiling from the outside: options, inputs and outputs, and the frozen plan. */
#include "plan/plan.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "plan/plan_internal.h"

/* ---- freezing ---------------------------------------------------------------------------------- */

/* Where the arena of a block begins. */
static ebm__spot origin_of(const ebm__compiler *c, int32_t block)
{
    int64_t offset = 0;
    for (int32_t at = c->block_buffer[block]; at >= 0; at = c->block_buffer[block]) {
        offset += c->buffer[at].offset;
        block = c->buffer[at].block;
    }
    return (ebm__spot){.base = c->block_base[block], .offset = offset};
}

ebm__spot ebm__spot_of(const ebm__compiler *c, ebm__place place)
{
    const ebm__buffer *buffer = &c->buffer[place.buffer];
    if (buffer->base != 0) return (ebm__spot){.base = buffer->base, .offset = place.offset};
    ebm__spot spot = origin_of(c, buffer->block);
    spot.offset += buffer->offset + place.offset;
    return spot;
}

static void *keep_copy(ebm__pool *pool, const void *array, int64_t n, size_t size)
{
    void *copy = ebm__pool_alloc(pool, n, size);
    if (copy && n > 0) memcpy(copy, array, (size_t)n * size);
    return copy;
}

/* Views sorted by their bases. */
static ebm_status freeze_patches(ebm_plan *plan, const ebm__compiler *c)
{
    plan->patch = ebm__pool_alloc(&plan->pool, plan->n_view, sizeof *plan->patch);
    plan->first_patch = ebm__pool_alloc(&plan->pool, plan->n_base + 2, sizeof *plan->first_patch);
    if (!plan->patch || !plan->first_patch) return EBM_NOMEM;
    int32_t *at = plan->first_patch + 1; /* shifted by one: counts become starts, then ends */
    for (int32_t v = 0; v < plan->n_view; v++) at[ebm__spot_of(c, c->view_place[v]).base + 1]++;
    for (int32_t k = 0; k < plan->n_base; k++) at[k + 1] += at[k];
    for (int32_t v = 0; v < plan->n_view; v++) {
        ebm__spot spot = ebm__spot_of(c, c->view_place[v]);
        plan->patch[at[spot.base]++] = (ebm__patch){.view = v, .offset = spot.offset};
    }
    return EBM_OK;
}

static int64_t count_kernels(const ebm_plan *plan, int32_t first, int32_t end)
{
    int64_t n = 0;
    for (int32_t i = first; i < end; i++) {
        if (plan->step[i] >= 0) {
            n++;
        } else {
            const ebm__loop *loop = &plan->loop[~plan->step[i]];
            int64_t turns;
            bool many = __builtin_mul_overflow(count_kernels(plan, loop->first, loop->end),
                                               loop->n, &turns);
            if (many || __builtin_add_overflow(n, turns, &n)) return INT64_MAX;
        }
    }
    return n;
}

static ebm_status freeze(ebm_plan *plan, ebm__compiler *c, const ebm__range *range)
{
    plan->n_cursor = (int32_t)c->n_cursor;
    plan->n_kernel = (int32_t)c->n_kernel;
    plan->n_view = (int32_t)c->n_view;
    plan->n_loop = (int32_t)c->n_loop;
    plan->n_step = (int32_t)c->n_step;
    plan->n_base = c->n_external + plan->n_cursor;
    plan->kernel = ebm__pool_alloc(&plan->pool, plan->n_kernel, sizeof *plan->kernel);
    plan->cursor = ebm__pool_alloc(&plan->pool, plan->n_cursor, sizeof *plan->cursor);
    plan->view = keep_copy(&plan->pool, c->view, c->n_view, sizeof *c->view);
    plan->loop = keep_copy(&plan->pool, c->loop, c->n_loop, sizeof *c->loop);
    plan->step = keep_copy(&plan->pool, c->step, c->n_step, sizeof *c->step);
    if (!plan->kernel || !plan->cursor || !plan->view || !plan->loop || !plan->step)
        return EBM_NOMEM;
    for (int32_t k = 0; k < plan->n_kernel; k++) {
        const ebm__draft_kernel *draft = &c->kernel[k];
        plan->kernel[k] = (ebm__kernel){.args = draft->args,
                                        .first_view = draft->first_view,
                                        .scratch = {.base = -1}};
        if (draft->scratch >= 0)
            plan->kernel[k].scratch = ebm__spot_of(c, (ebm__place){.buffer = draft->scratch});
    }
    for (int32_t k = 0; k < plan->n_cursor; k++)
        plan->cursor[k] = (ebm__cursor){.origin = ebm__spot_of(c, c->cursor[k].origin),
                                        .row = c->cursor[k].row};
    plan->first_step = range->first;
    plan->end_step = range->end;
    plan->arena_bytes = (size_t)range->arena_bytes;
    plan->lane_bytes = (size_t)c->lane_bytes;
    plan->lane_turns = c->lane_turns;
    plan->kernels_a_run = count_kernels(plan, plan->first_step, plan->end_step);
    EBM_TRY(freeze_patches(plan, c));
    return ebm__teams_find(plan, c);
}

/* ---- compiling --------------------------------------------------------------------------------- */

static ebm_status check_outputs(const ebm_graph *graph, const ebm_ref *outs, int32_t n_out,
                                const ebm_plan_options *options)
{
    if (!options || !options->device) return ebm_fail(EBM_VALUE, "plan: no device");
    EBM_TRY(ebm_graph_status(graph));
    if (ebm_graph_parent(graph))
        return ebm_fail(EBM_VALUE, "plan: the graph is the body of a repeat");
    for (int32_t k = 0; k < n_out; k++) {
        ebm_op op = ebm_graph_node(graph, outs[k]).op;
        if (outs[k] <= EBM_POISON || op == EBM_OP_poison || op == EBM_OP_repeat)
            return ebm_fail(EBM_VALUE, "plan: output %d is no value of the graph", k);
    }
    return EBM_OK;
}

static ebm_status check_alias(const ebm_graph *graph, const ebm_ref *outs, const int32_t *alias,
                              int32_t k)
{
    int32_t j = alias[k], n_in = ebm_graph_n_inputs(graph);
    if (j < 0) return EBM_OK;
    if (j >= n_in)
        return ebm_fail(EBM_VALUE, "plan: alias of output %d: got input %d of %d", k, j, n_in);
    ebm_ref input = ebm_graph_input_ref(graph, j);
    if (ebm_graph_input_tensor(graph, j))
        return ebm_fail(EBM_VALUE, "plan: alias of output %d: input %d is captured", k, j);
    for (int32_t i = 0; i < k; i++)
        if (alias[i] == j)
            return ebm_fail(EBM_VALUE, "plan: outputs %d and %d overwrite the same input %d", i,
                            k, j);
    ebm_shape got = ebm_ref_shape(graph, outs[k]), want = ebm_ref_shape(graph, input);
    ebm_dtype dtype = ebm_ref_dtype(graph, outs[k]), wanted = ebm_ref_dtype(graph, input);
    if (dtype == wanted && ebm_shape_equal(&got, &want)) return EBM_OK;
    char a[128], b[128];
    return ebm_fail(EBM_VALUE, "plan: output %d overwrites input %d: got %s %s, expected %s %s",
                    k, j, ebm_dtype_name(dtype), ebm_shape_text(&got, a, sizeof a),
                    ebm_dtype_name(wanted), ebm_shape_text(&want, b, sizeof b));
}

static ebm_status add_ports(ebm_plan *plan, const ebm_graph *graph, const ebm_ref *outs,
                            const int32_t *alias)
{
    plan->in = ebm__pool_alloc(&plan->pool, plan->n_in, sizeof *plan->in);
    plan->out = ebm__pool_alloc(&plan->pool, plan->n_out, sizeof *plan->out);
    if (!plan->in || !plan->out) return EBM_NOMEM;
    for (int32_t k = 0; k < plan->n_in; k++) {
        ebm_ref ref = ebm_graph_input_ref(graph, k);
        ebm_tensor *tensor = ebm_graph_input_tensor(graph, k);
        plan->in[k] = (ebm__port){.dtype = ebm_ref_dtype(graph, ref),
                                  .shape = ebm_ref_shape(graph, ref)};
        if (!tensor) continue;
        if (tensor->device != plan->device && !tensor->constant)
            return ebm_fail(
                EBM_DEVICE,
                "plan: an array of a network lies on %s, expected %s: run it there, or bind "
                "the network here",
                tensor->device->name, plan->device->name);
        EBM_TRY(ebm_tensor_to(&plan->in[k].tensor, tensor, plan->device));
    }
    for (int32_t k = 0; k < plan->n_out; k++)
        plan->out[k] = (ebm__port){.dtype = ebm_ref_dtype(graph, outs[k]),
                                   .shape = ebm_ref_shape(graph, outs[k]),
                                   .used = true,
                                   .alias = alias ? alias[k] : -1};
    return EBM_OK;
}

/* Buffers of inputs and outputs, with the bases 1 .. n_in + n_out. */
static ebm_status bind_ports(ebm__compiler *c, const ebm_plan *plan, ebm__binding *input,
                             ebm__target *target)
{
    for (int32_t k = 0; k < plan->n_in + plan->n_out; k++) {
        ebm__buffer buffer = {.base = 1 + k};
        int32_t number;
        EBM_TRY(ebm__buffer_add(c, &number, &buffer));
        if (k >= plan->n_in) {
            int32_t out = k - plan->n_in;
            int32_t alias = plan->out[out].alias;
            target[out] = (ebm__target){.buffer = alias >= 0 ? alias : number, .input = alias};
        } else {
            ebm_view view = ebm_view_of(NULL, plan->in[k].dtype, &plan->in[k].shape);
            input[k] = (ebm__binding){.place = {.buffer = number}};
            memcpy(input[k].stride, view.stride, sizeof view.stride);
        }
    }
    return EBM_OK;
}

static ebm_status compile(ebm__compiler *c, ebm_plan *plan, const ebm_graph *graph,
                          const ebm_ref *outs, const int32_t *alias)
{
    EBM_TRY(add_ports(plan, graph, outs, alias));
    ebm__binding *input = ebm__pool_alloc(&c->temp, plan->n_in, sizeof *input);
    ebm__target *target = ebm__pool_alloc(&c->temp, plan->n_out, sizeof *target);
    if (!input || !target) return EBM_NOMEM;
    EBM_TRY(bind_ports(c, plan, input, target));
    ebm__block root = {.c = c,
                       .graph = graph,
                       .outs = outs,
                       .target = target,
                       .n_out = plan->n_out,
                       .input = input};
    ebm__range range;
    EBM_TRY(ebm__block_add(c, &root.id));
    EBM_TRY(ebm__block_compile(&root, &range));
    for (int32_t k = 0; k < plan->n_in; k++)
        plan->in[k].used = root.needs.live[ebm_graph_input_ref(graph, k)];
    return freeze(plan, c, &range);
}

/* EBMLIB_PLAN: "none" plans nothing; "lanes" cuts loops and runs turns in lanes, and kernels in teams,
 * where it does not pay, which tests on small graphs want. */
static bool plan_is(const char *word)
{
    const char *text = getenv("EBMLIB_PLAN");
    return text && strcmp(text, word) == 0;
}

ebm_status ebm_plan_new(ebm_plan **out, const ebm_graph *graph, const ebm_ref *outs,
                        int32_t n_out, const ebm_plan_options *options)
{
    EBM_TRY(check_outputs(graph, outs, n_out, options));
    for (int32_t k = 0; k < n_out && options->alias; k++)
        EBM_TRY(check_alias(graph, outs, options->alias, k));
    ebm_plan *plan = ebm__alloc(1, sizeof *plan);
    if (!plan) return EBM_NOMEM;
    plan->owners = 1;
    plan->device = options->device;
    plan->n_in = ebm_graph_n_inputs(graph);
    plan->n_out = n_out;
    ebm__compiler c = {.device = options->device,
                       .fuse = options->fuse && !plan_is("none"),
                       .eager = plan_is("lanes"),
                       .keep = &plan->pool,
                       .n_external = 1 + plan->n_in + n_out};
    ebm_status status = compile(&c, plan, graph, outs, options->alias);
    ebm__pool_free(&c.temp);
    if (status == EBM_OK)
        *out = plan;
    else
        ebm_plan_release(plan);
    return status;
}

/* ---- life and questions ------------------------------------------------------------------------ */

static int64_t add_owners(ebm_plan *plan, int64_t n)
{
    return __atomic_add_fetch(&plan->owners, n, __ATOMIC_ACQ_REL);
}

ebm_plan *ebm_plan_retain(ebm_plan *plan)
{
    if (plan) add_owners(plan, 1);
    return plan;
}

void ebm_plan_release(ebm_plan *plan)
{
    if (!plan || add_owners(plan, -1) > 0) return;
    for (int32_t k = 0; plan->in && k < plan->n_in; k++) ebm_tensor_release(plan->in[k].tensor);
    ebm__pool_free(&plan->pool);
    ebm__free(plan);
}

int32_t ebm_plan_n_inputs(const ebm_plan *plan)
{
    return plan->n_in;
}

int32_t ebm_plan_n_outputs(const ebm_plan *plan)
{
    return plan->n_out;
}

ebm_dtype ebm_plan_input_dtype(const ebm_plan *plan, int32_t k)
{
    return plan->in[k].dtype;
}

ebm_shape ebm_plan_input_shape(const ebm_plan *plan, int32_t k)
{
    return plan->in[k].shape;
}

bool ebm_plan_input_used(const ebm_plan *plan, int32_t k)
{
    return plan->in[k].used;
}

ebm_dtype ebm_plan_output_dtype(const ebm_plan *plan, int32_t k)
{
    return plan->out[k].dtype;
}

ebm_shape ebm_plan_output_shape(const ebm_plan *plan, int32_t k)
{
    return plan->out[k].shape;
}

const ebm_device *ebm_plan_device(const ebm_plan *plan)
{
    return plan->device;
}

int64_t ebm_plan_n_kernels(const ebm_plan *plan)
{
    return plan->kernels_a_run;
}

size_t ebm_plan_arena_bytes(const ebm_plan *plan)
{
    return plan->arena_bytes;
}
