/* run.c - running a plan.
 *
 * A workspace holds the arena and a copy of every view with its data pointer filled in.  A run only
 * fills in the pointers that changed since the last one: inputs and outputs of the caller, and the
 * rows a loop moves along.  Turns of a loop that carry nothing on run beside one another in lanes, and
 * kernels that do not wait for each other in teams.  Nothing is allocated here. */
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
    atomic_int *waits_for;   /* by step, of the team that is on: steps that are not done yet */
    _Atomic uint64_t *ready; /* a bit a step of the team: nobody has begun it, all may */
    const ebm_poll *poll;    /* of the run that is on */
    int64_t polled;          /* nanoseconds */
    ebm__profile_plan *profile; /* of the run that is on; NULL: nobody wants to know */
    void *graph; /* a recording of a whole run with the pointers and precision of the last one */
    bool moved;  /* those of this run are others, before any loop turns */
    ebm_precision precision;
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

/* ---- precision --------------------------------------------------------------------------------- */

static atomic_int precision = EBM_PRECISION_IEEE;

ebm_precision ebm_get_precision(void)
{
    return (ebm_precision)atomic_load(&precision);
}

ebm_precision ebm_set_precision(ebm_precision next)
{
    return (ebm_precision)atomic_exchange(&precision, (int)next);
}

/* Of all kernels of a run: a change while it is on is the next one's. */
static void take_precision(ebm_workspace *w, ebm_precision next)
{
    if (w->precision == next) return;
    w->precision = next;
    w->moved = true;
    for (int32_t k = 0; k < w->plan->n_kernel; k++) w->args[k].precision = (int32_t)next;
    for (int32_t k = 0; k < w->n_lane; k++) take_precision(w->lane[k], next);
}

/* ---- pointers ---------------------------------------------------------------------------------- */

static void set_base(ebm_workspace *w, int32_t base, char *pointer)
{
    const ebm_plan *plan = w->plan;
    if (w->base[base] == pointer) return;
    w->base[base] = pointer;
    w->moved = true;
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

/* ---- what goes wrong beside one another --------------------------------------------------------- */

/* Of turns or steps that run beside one another, the first one that failed. */
typedef struct failure {
    pthread_mutex_t lock;
    int64_t at;
    ebm_status status;
    char message[EBM_MESSAGE_SIZE];
} failure;

static void failure_init(failure *f)
{
    *f = (failure){.at = INT64_MAX};
    pthread_mutex_init(&f->lock, NULL);
}

static ebm_status failure_fini(failure *f)
{
    pthread_mutex_destroy(&f->lock);
    return f->status == EBM_OK ? EBM_OK : ebm_fail(f->status, "%s", f->message);
}

/* Those that were cancelled because of a failure say nothing. */
static void failure_add(failure *f, int64_t at, ebm_status status)
{
    pthread_mutex_lock(&f->lock);
    bool follows = status == EBM_CANCELLED && f->status != EBM_OK;
    if (!follows && at < f->at) {
        f->status = status;
        f->at = at;
        snprintf(f->message, sizeof f->message, "%s", ebm_message());
    }
    pthread_mutex_unlock(&f->lock);
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
    failure failure;
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
    if (status == EBM_OK) return;
    failure_add(&c->failure, turn, status);
    atomic_store(&c->stopped, true);
}

/* ---- teams ------------------------------------------------------------------------------------- */

/* A team at work. */
typedef struct shift {
    ebm_workspace *w;
    const ebm__team *team;
    pthread_t caller; /* who alone may ask the poll */
    atomic_int left;  /* steps that are not done */
    atomic_int end;   /* from here on they need not run: one before failed */
    failure failure;
} shift;

static ebm_status run_kernel(ebm_workspace *w, int32_t kernel);

static void make_ready(shift *s, int32_t step)
{
    int32_t bit = step - s->team->first;
    atomic_fetch_or(&s->w->ready[bit / 64], (uint64_t)1 << bit % 64);
}

/* The first step that nobody has begun and that may begin, or -1. */
static int32_t take_ready(shift *s)
{
    for (int32_t first = s->team->first, k = 0; first < s->team->end; first += 64, k++) {
        uint64_t bits = atomic_load(&s->w->ready[k]);
        while (bits) {
            uint64_t lowest = bits & -bits;
            bits = atomic_fetch_and(&s->w->ready[k], ~lowest);
            if (bits & lowest) return first + __builtin_ctzll(lowest);
        }
    }
    return -1;
}

/* The step is done.  Of those that waited for it alone this thread goes on with the first: it finds
 * in its cache what it wrote there.  -1: none. */
static int32_t finish(shift *s, int32_t step)
{
    const ebm_plan *plan = s->w->plan;
    int32_t mine = -1;
    for (int32_t k = plan->first_after[step]; k < plan->first_after[step + 1]; k++) {
        int32_t next = plan->after[k];
        if (atomic_fetch_sub(&s->w->waits_for[next], 1) != 1) continue;
        if (mine >= 0) make_ready(s, mine < next ? next : mine);
        if (mine < 0 || next < mine) mine = next;
    }
    atomic_fetch_sub(&s->left, 1);
    return mine;
}

static void fail_shift(shift *s, int32_t step, ebm_status status)
{
    failure_add(&s->failure, step, status);
    int end = atomic_load(&s->end);
    while (step < end && !atomic_compare_exchange_weak(&s->end, &end, step)) continue;
}

/* Step after step, while there are any. */
static void run_member(void *context, int64_t number)
{
    shift *s = context;
    ebm_workspace *w = s->w;
    bool asks = w->poll && pthread_equal(pthread_self(), s->caller);
    int32_t step = -1;
    int waits = 0;
    (void)number;
    while (atomic_load(&s->left) > 0) {
        if (asks && poll_now(w) != EBM_OK) fail_shift(s, -1, EBM_CANCELLED);
        if (step < 0) step = take_ready(s);
        if (step < 0) {
            ebm_team_help(&waits);
            continue;
        }
        if (step < atomic_load(&s->end)) {
            ebm_status status = run_kernel(w, w->plan->step[step]);
            if (status != EBM_OK) fail_shift(s, step, status);
        }
        step = finish(s, step);
        waits = 0;
    }
}

/* False, and nothing has run, if there are no threads for it. */
static bool run_team(ebm_workspace *w, const ebm__team *team, ebm_status *status)
{
    const ebm_plan *plan = w->plan;
    if (ebm_num_threads() < 2) return false;
    shift s = {.w = w,
               .team = team,
               .caller = pthread_self(),
               .left = team->end - team->first,
               .end = team->end};
    for (int32_t k = 0; k < (s.left + 63) / 64; k++) atomic_store(&w->ready[k], 0);
    for (int32_t step = team->first; step < team->end; step++) {
        atomic_store_explicit(&w->waits_for[step], plan->n_before[step], memory_order_relaxed);
        if (plan->n_before[step] == 0) make_ready(&s, step);
    }
    failure_init(&s.failure);
    bool ran = ebm_team_run(run_member, &s);
    *status = failure_fini(&s.failure);
    return ran;
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

static ebm_status run_kernel(ebm_workspace *w, int32_t kernel)
{
    const ebm_device *device = w->plan->device;
    return w->profile ? run_timed(w, kernel) : device->run(device, &w->args[kernel]);
}

static ebm_status run_steps(ebm_workspace *w, int32_t first, int32_t end)
{
    const ebm_plan *plan = w->plan;
    for (int32_t i = first; i < end; i++) {
        const ebm__team *team = plan->team_at[i] ? &plan->team[plan->team_at[i] - 1] : NULL;
        int32_t step = plan->step[i];
        ebm_status status = EBM_OK;
        if (team && run_team(w, team, &status)) {
            EBM_TRY(status);
            i = team->end - 1;
            continue;
        }
        if (step < 0)
            EBM_TRY(run_loop(w, &plan->loop[~step]));
        else
            EBM_TRY(run_kernel(w, step));
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
    failure_init(&c.failure);
    for (int32_t k = 0; k < w->n_lane; k++) join_crew(w->lane[k], w);
    ebm_parallel(w->n_lane + 1, run_lane, &c);
    w->poll = c.poll;
    return failure_fini(&c.failure);
}

/* Few turns leave most threads idle: those in the kernels then do more. */
static ebm_status run_loop(ebm_workspace *w, const ebm__loop *loop)
{
    if (loop->lane && w->n_lane > 0 && 2 * loop->n > w->n_lane) return run_in_lanes(w, loop);
    for (int64_t turn = 0; turn < loop->n; turn++) EBM_TRY(run_turn(w, loop, turn));
    return EBM_OK;
}

/* ---- recordings -------------------------------------------------------------------------------- */

/* Kernels of a run that is recorded, at most: a recording takes memory for each. */
enum { MOST_RECORDED = 1 << 14 };

static void forget(ebm_workspace *w)
{
    if (w->graph) w->plan->device->forget(w->plan->device, w->graph);
    w->graph = NULL;
}

/* The second run in a row with the same pointers and precision is recorded, later ones are replayed.
 * Nobody is polled meanwhile: a poll may wait for a lock whose owner waits for the device. */
static ebm_status run_recorded(ebm_workspace *w)
{
    const ebm_plan *plan = w->plan;
    const ebm_device *device = plan->device;
    if (w->graph) return device->replay(device, w->graph);
    w->poll = NULL;
    EBM_TRY(device->record(device));
    ebm_status status = run_steps(w, plan->first_step, plan->end_step);
    ebm_status ended = device->recorded(device, status == EBM_OK ? &w->graph : NULL);
    if (status != EBM_OK) return status;
    EBM_TRY(ended);
    return device->replay(device, w->graph);
}

/* Whether this run is one of those. */
static bool is_recorded(ebm_workspace *w)
{
    const ebm_plan *plan = w->plan;
    if (!plan->device->record || w->profile || plan->kernels_a_run > MOST_RECORDED)
        return false;
    if (w->moved) forget(w);
    return !w->moved;
}

ebm_status ebm_plan_run(ebm_workspace *workspace, void *const *in, void *const *out,
                        const ebm_poll *poll)
{
    const ebm_plan *plan = workspace->plan;
    workspace->moved = false;
    take_precision(workspace, ebm_get_precision());
    EBM_TRY(set_ports(workspace, in, out));
    workspace->poll = poll && poll->stop ? poll : NULL;
    if (workspace->poll) workspace->polled = now();
    EBM_TRY(ebm__profile_enter(&workspace->profile, workspace->plan));
    ebm_status status = is_recorded(workspace)
                            ? run_recorded(workspace)
                            : run_steps(workspace, plan->first_step, plan->end_step);
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
    w->waits_for = ebm__alloc((size_t)plan->n_step, sizeof *w->waits_for);
    w->ready = ebm__alloc((size_t)plan->n_step / 64 + 1, sizeof *w->ready);
    if (!w->base || !w->view || !w->args || !w->waits_for || !w->ready) return EBM_NOMEM;
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
    ebm__free((void *)w->waits_for);
    ebm__free((void *)w->ready);
    ebm_plan_release(w->plan);
    ebm__free(w);
}

void ebm_workspace_free(ebm_workspace *w)
{
    if (!w) return;
    forget(w);
    for (int32_t k = 0; k < w->n_lane; k++) free_views(w->lane[k]);
    ebm__free(w->lane);
    if (w->arena) w->plan->device->free(w->plan->device, w->arena);
    free_views(w);
}
