/* run.c - running a plan.
 *
 * A workspace holds the arena and a copy of every view with its data pointer filled in.  A run only
 * fills in the pointers that changed since the last one: inputs and outputs of the caller, and the
 * rows a loop moves along.  Nothing is allocated here. */
#define _POSIX_C_SOURCE 200809L
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/threads.h"
#include "plan/plan.h"
#include "plan/plan_internal.h"
#include "plan/profile.h"

struct ebm_workspace {
    ebm_plan *plan;
    void *arena; /* of lanes: the main workspace's */
    void *lane_arena;
    ebm_workspace **lane; /* more lanes, workspaces that share the arena */
    int32_t n_lane;
    char **base; /* by number; what the views hold now */
    ebm_view *view;
    ebm_kernel_args *args;
    const ebm_poll *poll;       /* of the run that is on */
    int64_t polled;             /* nanoseconds */
    ebm__profile_plan *profile; /* of the run that is on; NULL: nobody wants to know */
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

/* ---- lanes ------------------------------------------------------------------------------------- */

/* A loop whose turns run beside one another. */
typedef struct crew {
    ebm_workspace *w;
    const ebm__loop *loop;
    const ebm_poll *poll; /* of the caller, who alone may ask it */
    pthread_t caller;
    atomic_llong next;
    atomic_bool stopped;
    pthread_mutex_t lock; /* of what follows */
    int64_t turn;         /* the first one that failed */
    ebm_status status;
    char message[EBM_MESSAGE_SIZE];
} crew;

static ebm_status run_turn(ebm_workspace *w, const ebm__loop *loop, int64_t turn);
static ebm_status run_steps(ebm_workspace *w, int32_t first, int32_t end);

/* What does not lie in the lane's own arena is where the main workspace has it; before any lane
 * runs, since the main workspace is a lane too. */
static void join_crew(ebm_workspace *lane, const ebm_workspace *w)
{
    for (int32_t k = 1; k < w->plan->n_base; k++)
        if (w->base[k] && w->base[k] != w->lane_arena) set_base(lane, k, w->base[k]);
    lane->profile = w->profile;
}

static void fail_crew(crew *c, int64_t turn, ebm_status status)
{
    pthread_mutex_lock(&c->lock);
    bool follows = status == EBM_CANCELLED && c->status != EBM_OK;
    if (!follows && (c->status == EBM_OK || turn < c->turn)) {
        c->status = status;
        c->turn = turn;
        snprintf(c->message, sizeof c->message, "%s", ebm_message());
    }
    pthread_mutex_unlock(&c->lock);
    atomic_store(&c->stopped, true);
}

/* What lanes ask every 50 ms. */
static bool stop_lane(void *context)
{
    crew *c = context;
    if (atomic_load(&c->stopped)) return true;
    bool asks = c->poll && pthread_equal(pthread_self(), c->caller);
    return asks && c->poll->stop(c->poll->context);
}

/* Turn after turn through lane `number`. */
static void run_lane(void *context, int64_t number)
{
    crew *c = context;
    ebm_workspace *lane = number > 0 ? c->w->lane[number - 1] : c->w;
    const ebm_poll watch = {.stop = stop_lane, .context = c};
    lane->poll = &watch;
    lane->polled = now();
    ebm_status status = EBM_OK;
    int64_t turn = -1;
    while (status == EBM_OK && !atomic_load(&c->stopped)) {
        turn = atomic_fetch_add(&c->next, 1);
        if (turn >= c->loop->n) break;
        status = run_turn(lane, c->loop, turn);
    }
    lane->poll = NULL;
    if (status != EBM_OK) fail_crew(c, turn, status);
}

/* ---- running ----------------------------------------------------------------------------------- */

static ebm_status run_loop(ebm_workspace *w, const ebm__loop *loop);

static ebm_status run_timed(ebm_workspace *w, int32_t kernel)
{
    const ebm_device *device = w->plan->device;
    double start = ebm_clock();
    EBM_TRY(device->run(device, &w->args[kernel]));
    EBM_TRY(device->sync(device));
    ebm__profile_add(w->profile, kernel, (int64_t)(1e9 * (ebm_clock() - start)));
    return EBM_OK;
}

static ebm_status run_steps(ebm_workspace *w, int32_t first, int32_t end)
{
    const ebm_plan *plan = w->plan;
    const ebm_device *device = plan->device;
    for (int32_t i = first; i < end; i++) {
        int32_t step = plan->step[i];
        if (step < 0)
            EBM_TRY(run_loop(w, &plan->loop[~step]));
        else if (w->profile)
            EBM_TRY(run_timed(w, step));
        else
            EBM_TRY(device->run(device, &w->args[step]));
        if (w->poll) EBM_TRY(poll_now(w));
    }
    return EBM_OK;
}

static ebm_status run_turn(ebm_workspace *w, const ebm__loop *loop, int64_t turn)
{
    const ebm_plan *plan = w->plan;
    int32_t first_base = plan->n_base - plan->n_cursor;
    int64_t row = loop->reverse ? loop->n - 1 - turn : turn;
    for (int32_t k = loop->first_cursor; k < loop->first_cursor + loop->n_cursor; k++) {
        const ebm__cursor *cursor = &plan->cursor[k];
        char *origin = w->base[cursor->origin.base] + cursor->origin.offset;
        set_base(w, first_base + k, origin + row * cursor->row);
    }
    return run_steps(w, loop->first, loop->end);
}

static ebm_status run_in_lanes(ebm_workspace *w, const ebm__loop *loop)
{
    crew c = {.w = w, .loop = loop, .poll = w->poll, .caller = pthread_self()};
    pthread_mutex_init(&c.lock, NULL);
    for (int32_t k = 0; k < w->n_lane; k++) join_crew(w->lane[k], w);
    ebm_parallel(w->n_lane + 1, run_lane, &c);
    pthread_mutex_destroy(&c.lock);
    w->poll = c.poll;
    return c.status == EBM_OK ? EBM_OK : ebm_fail(c.status, "%s", c.message);
}

/* Few turns leave most threads idle: those in the kernels then do more. */
static ebm_status run_loop(ebm_workspace *w, const ebm__loop *loop)
{
    if (loop->lane && w->n_lane > 0 && 2 * loop->n > w->n_lane) return run_in_lanes(w, loop);
    for (int64_t turn = 0; turn < loop->n; turn++) EBM_TRY(run_turn(w, loop, turn));
    return EBM_OK;
}

ebm_status ebm_plan_run(ebm_workspace *workspace, void *const *in, void *const *out,
                        const ebm_poll *poll)
{
    const ebm_plan *plan = workspace->plan;
    EBM_TRY(set_ports(workspace, in, out));
    workspace->poll = poll && poll->stop ? poll : NULL;
    if (workspace->poll) workspace->polled = now();
    EBM_TRY(ebm__profile_enter(&workspace->profile, workspace->plan));
    ebm_status status = run_steps(workspace, plan->first_step, plan->end_step);
    ebm__profile_leave(workspace->profile);
    return status;
}

/* ---- workspaces -------------------------------------------------------------------------------- */

/* All but the arena, which is there. */
static ebm_status fill(ebm_workspace *w)
{
    const ebm_plan *plan = w->plan;
    if (plan->lane_bytes)
        EBM_TRY(plan->device->alloc(plan->device, &w->lane_arena, plan->lane_bytes));
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
    }
    set_base(w, 0, w->arena);
    for (int32_t k = 0; k < plan->n_loop; k++)
        if (plan->loop[k].lane) set_base(w, plan->loop[k].lane, w->lane_arena);
    for (int32_t k = 0; k < plan->n_kernel; k++) {
        ebm__spot scratch = plan->kernel[k].scratch;
        if (scratch.base >= 0) w->args[k].scratch = w->base[scratch.base] + scratch.offset;
    }
    for (int32_t k = 0; k < plan->n_in; k++)
        if (plan->in[k].tensor) set_base(w, 1 + k, plan->in[k].tensor->data);
    return EBM_OK;
}

/* A lane for each thread there is now, this workspace being the first. */
static ebm_status add_lanes(ebm_workspace *w)
{
    const ebm_plan *plan = w->plan;
    int64_t threads = ebm_num_threads();
    int64_t n = threads < plan->lane_turns ? threads : plan->lane_turns;
    if (n < 2) return EBM_OK;
    w->lane = ebm__alloc((size_t)n - 1, sizeof(ebm_workspace *));
    if (!w->lane) return EBM_NOMEM;
    while (w->n_lane < n - 1) {
        ebm_workspace *lane = ebm__alloc(1, sizeof *lane);
        if (!lane) return EBM_NOMEM;
        w->lane[w->n_lane++] = lane;
        *lane = (ebm_workspace){.plan = ebm_plan_retain(w->plan), .arena = w->arena};
        EBM_TRY(fill(lane));
    }
    return EBM_OK;
}

ebm_status ebm_workspace_new(ebm_workspace **out, ebm_plan *plan)
{
    ebm_workspace *w = ebm__alloc(1, sizeof *w);
    if (!w) return EBM_NOMEM;
    w->plan = ebm_plan_retain(plan);
    ebm_status status = plan->device->alloc(plan->device, &w->arena, plan->arena_bytes);
    if (status == EBM_OK) status = fill(w);
    if (status == EBM_OK) status = add_lanes(w);
    if (status == EBM_OK)
        *out = w;
    else
        ebm_workspace_free(w);
    return status;
}

static void free_views(ebm_workspace *w)
{
    if (w->lane_arena) w->plan->device->free(w->plan->device, w->lane_arena);
    ebm__free(w->base);
    ebm__free(w->view);
    ebm__free(w->args);
    ebm_plan_release(w->plan);
    ebm__free(w);
}

void ebm_workspace_free(ebm_workspace *w)
{
    if (!w) return;
    for (int32_t k = 0; k < w->n_lane; k++) free_views(w->lane[k]);
    ebm__free(w->lane);
    if (w->arena) w->plan->device->free(w->plan->device, w->arena);
    free_views(w);
}
