/* run.c - running a plan.
 *
 * A workspace holds the arena and a copy of every view with its data pointer filled in.  A run only
 * fills in the pointers that changed since the last one: inputs and outputs of the caller, and the
 * rows a loop moves along.  Nothing is allocated here. */
#define _POSIX_C_SOURCE 200809L
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "plan/plan.h"
#include "plan/plan_internal.h"

struct ebm_workspace {
    ebm_plan *plan;
    void *arena;
    char **base; /* by number; what the views hold now */
    ebm_view *view;
    ebm_kernel_args *args;
    const ebm_poll *poll; /* of the run that is on */
    int64_t polled;       /* nanoseconds */
};

/* ---- polling ----------------------------------------------------------------------------------- */

enum { POLL_NANOSECONDS = 50 * 1000 * 1000 };

/* The coarse clock steps by a few milliseconds and costs 5 ns where the fine one costs 25. */
static int64_t now(void)
{
    struct timespec t;
#if defined(CLOCK_MONOTONIC_COARSE)
    clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
#else
    clock_gettime(CLOCK_MONOTONIC, &t);
#endif
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static ebm_status poll_now(ebm_workspace *w)
{
    int64_t time = now();
    if (time - w->polled < POLL_NANOSECONDS) return EBM_OK;
    w->polled = time;
    return w->poll->stop(w->poll->context) ? ebm_fail(EBM_CANCELLED, "run: cancelled") : EBM_OK;
}

/* ---- pointers ---------------------------------------------------------------------------------- */

static void set_base(ebm_workspace *w, int32_t base, char *pointer)
{
    const ebm_plan *plan = w->plan;
    if (w->base[base] == pointer) return;
    w->base[base] = pointer;
    for (int32_t i = plan->first_patch[base]; i < plan->first_patch[base + 1]; i++)
        w->view[plan->patch[i].view].data = pointer + plan->patch[i].offset;
}

/* Of an output that overwrites an input only the input's pointer is in use. */
static ebm_status set_output(ebm_workspace *w, int32_t k, void *const *in, void *const *out)
{
    const ebm_plan *plan = w->plan;
    const ebm__port *port = &plan->out[k];
    if (ebm_shape_size(&port->shape) == 0) return EBM_OK;
    if (!out[k]) return ebm_fail(EBM_VALUE, "run: output %d has no place", k);
    if (port->alias < 0)
        set_base(w, 1 + plan->n_in + k, out[k]);
    else if (!plan->in[port->alias].used)
        set_base(w, 1 + port->alias, out[k]);
    else if (in[port->alias] != out[k])
        return ebm_fail(EBM_VALUE, "run: output %d and the input %d it overwrites lie apart", k,
                        port->alias);
    return EBM_OK;
}

static ebm_status set_ports(ebm_workspace *w, void *const *in, void *const *out)
{
    const ebm_plan *plan = w->plan;
    for (int32_t k = 0; k < plan->n_in; k++) {
        const ebm__port *port = &plan->in[k];
        if (!port->used || port->tensor) continue;
        bool empty = ebm_shape_size(&port->shape) == 0; /* never read, but not NULL for memcpy */
        if (!in[k] && !empty) return ebm_fail(EBM_VALUE, "run: input %d has no data", k);
        set_base(w, 1 + k, in[k] ? in[k] : w->arena);
    }
    for (int32_t k = 0; k < plan->n_out; k++) EBM_TRY(set_output(w, k, in, out));
    return EBM_OK;
}

/* ---- running ----------------------------------------------------------------------------------- */

static ebm_status run_loop(ebm_workspace *w, const ebm__loop *loop);

static ebm_status run_steps(ebm_workspace *w, int32_t first, int32_t end)
{
    const ebm_plan *plan = w->plan;
    const ebm_device *device = plan->device;
    for (int32_t i = first; i < end; i++) {
        int32_t step = plan->step[i];
        if (step < 0)
            EBM_TRY(run_loop(w, &plan->loop[~step]));
        else
            EBM_TRY(device->run(device, &w->args[step]));
        if (w->poll) EBM_TRY(poll_now(w));
    }
    return EBM_OK;
}

static ebm_status run_loop(ebm_workspace *w, const ebm__loop *loop)
{
    const ebm_plan *plan = w->plan;
    int32_t first_base = plan->n_base - plan->n_cursor;
    EBM_TRY(run_steps(w, loop->first, loop->body));
    for (int64_t turn = 0; turn < loop->n; turn++) {
        int64_t row = loop->reverse ? loop->n - 1 - turn : turn;
        for (int32_t k = loop->first_cursor; k < loop->first_cursor + loop->n_cursor; k++) {
            const ebm__cursor *cursor = &plan->cursor[k];
            char *origin = w->base[cursor->origin.base] + cursor->origin.offset;
            set_base(w, first_base + k, origin + row * cursor->row);
        }
        EBM_TRY(run_steps(w, loop->body, loop->end));
    }
    return EBM_OK;
}

ebm_status ebm_plan_run(ebm_workspace *workspace, void *const *in, void *const *out,
                        const ebm_poll *poll)
{
    const ebm_plan *plan = workspace->plan;
    EBM_TRY(set_ports(workspace, in, out));
    workspace->poll = poll && poll->stop ? poll : NULL;
    if (workspace->poll) workspace->polled = now();
    return run_steps(workspace, plan->first_step, plan->end_step);
}

/* ---- workspaces -------------------------------------------------------------------------------- */

static ebm_status fill(ebm_workspace *w)
{
    const ebm_plan *plan = w->plan;
    EBM_TRY(plan->device->alloc(plan->device, &w->arena, plan->arena_bytes));
    w->base = ebm__alloc((size_t)plan->n_base, sizeof *w->base);
    w->view = ebm__alloc((size_t)plan->n_view, sizeof *w->view);
    w->args = ebm__alloc((size_t)plan->n_kernel, sizeof *w->args);
    if (!w->base || !w->view || !w->args) return EBM_NOMEM;
    memcpy(w->view, plan->view, (size_t)plan->n_view * sizeof *w->view);
    for (int32_t k = 0; k < plan->n_kernel; k++) {
        const ebm__kernel *kernel = &plan->kernel[k];
        w->args[k] = kernel->args;
        w->args[k].in = w->view + kernel->first_view;
        w->args[k].out = w->args[k].in + kernel->args.n_in;
        if (kernel->scratch >= 0) w->args[k].scratch = (char *)w->arena + kernel->scratch;
    }
    set_base(w, 0, w->arena);
    for (int32_t k = 0; k < plan->n_in; k++)
        if (plan->in[k].tensor) set_base(w, 1 + k, plan->in[k].tensor->data);
    return EBM_OK;
}

ebm_status ebm_workspace_new(ebm_workspace **out, ebm_plan *plan)
{
    ebm_workspace *w = ebm__alloc(1, sizeof *w);
    if (!w) return EBM_NOMEM;
    w->plan = ebm_plan_retain(plan);
    ebm_status status = fill(w);
    if (status == EBM_OK)
        *out = w;
    else
        ebm_workspace_free(w);
    return status;
}

void ebm_workspace_free(ebm_workspace *w)
{
    if (!w) return;
    if (w->arena) w->plan->device->free(w->plan->device, w->arena);
    ebm__free(w->base);
    ebm__free(w->view);
    ebm__free(w->args);
    ebm_plan_release(w->plan);
    ebm__free(w);
}
