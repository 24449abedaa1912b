/* team.c - kernels that run beside one another.
 *
 * A network of a hundred rows is a plan of many kernels of a few microseconds: cutting each of them
 * for two threads costs as much as it saves, since every thread then fetches what the other one
 * wrote.  But most of such plans are wide: branches of a loss, gradients of weights beside that of
 * the layer below, one optimiser step a parameter.
 *
 * Kernels between two loops become a *team*.  Kernel b waits for kernel a before it if one of them
 * writes memory that the other one touches: that is found when every buffer has its place, so what
 * shares a place waits too (memory.c lets small buffers rest, so that this is seldom).  Any order that
 * the links allow gives the same bits. */
#include "plan/plan_internal.h"
#include "plan/profile.h"

/* Kernels of more operations than LARGE keep all threads busy one after another.  Those of fewer make
 * a team worth its while: if they have enough to do, are a fair share of it, and wide, which is their
 * work divided by that of their longest path. */
#define LARGE 5e6
#define LEAST_WORK 4e6
#define LEAST_SHARE 0.25
#define LEAST_WIDTH 1.2
enum { LEAST_STEPS = 4 };

/* Memory that a step has written, or that steps have read before any wrote it. */
typedef struct piece {
    int32_t base, writer, reader; /* writer -1: none; reader: of a list, -1: none */
    int64_t from, to;             /* bytes */
} piece;

typedef struct reader {
    int32_t step, next;
} reader;

typedef struct link {
    int32_t from, to; /* steps */
} link;

typedef struct finder {
    ebm_plan *plan;
    ebm__compiler *c;
    piece *piece;
    int64_t n_piece, piece_capacity;
    reader *reader;
    int64_t n_reader, reader_capacity;
    link *link; /* by `to` */
    int64_t n_link, link_capacity;
    int32_t *linked; /* by step: the last that waits for it */
    double *path;    /* by step: small work of the longest path that ends there */
} finder;

/* ---- who waits for whom ------------------------------------------------------------------------ */

static ebm_status link_steps(finder *f, int32_t from, int32_t to)
{
    if (from < 0 || from == to || f->linked[from] == to) return EBM_OK;
    EBM_TRY(ebm__pool_grow(&f->c->temp, &f->link, &f->link_capacity, f->n_link + 1,
                           sizeof *f->link));
    f->link[f->n_link++] = (link){from, to};
    f->linked[from] = to;
    return EBM_OK;
}

static ebm_status add_reader(finder *f, piece *at, int32_t step)
{
    EBM_TRY(ebm__pool_grow(&f->c->temp, &f->reader, &f->reader_capacity, f->n_reader + 1,
                           sizeof *f->reader));
    f->reader[f->n_reader] = (reader){step, at->reader};
    at->reader = (int32_t)f->n_reader++;
    return EBM_OK;
}

/* The step reads or writes bytes of a base: it waits for those who wrote them, and a writer for those
 * who read them.  A piece that is written over is no more. */
static ebm_status touch(finder *f, int32_t step, piece bytes, bool writes)
{
    bool covered = false;
    for (int64_t i = 0; i < f->n_piece; i++) {
        piece *at = &f->piece[i];
        if (at->base != bytes.base || at->to <= bytes.from || bytes.to <= at->from) continue;
        EBM_TRY(link_steps(f, at->writer, step));
        for (int32_t r = at->reader; writes && r >= 0; r = f->reader[r].next)
            EBM_TRY(link_steps(f, f->reader[r].step, step));
        if (!writes) {
            EBM_TRY(add_reader(f, at, step));
            covered |= at->from <= bytes.from && bytes.to <= at->to;
        } else if (bytes.from <= at->from && at->to <= bytes.to) {
            f->piece[i--] = f->piece[--f->n_piece];
        }
    }
    if (covered || bytes.from >= bytes.to) return EBM_OK;
    EBM_TRY(ebm__pool_grow(&f->c->temp, &f->piece, &f->piece_capacity, f->n_piece + 1,
                           sizeof *f->piece));
    piece *fresh = &f->piece[f->n_piece++];
    *fresh = bytes;
    fresh->writer = writes ? step : -1;
    fresh->reader = -1;
    return writes ? EBM_OK : add_reader(f, fresh, step);
}

static ebm_status touch_view(finder *f, int32_t step, int32_t number, bool writes)
{
    const ebm_view *view = &f->plan->view[number];
    ebm__spot spot = ebm__spot_of(f->c, f->c->view_place[number]);
    int64_t size = (int64_t)ebm_dtype_size((ebm_dtype)view->dtype);
    piece bytes = {.base = spot.base, .from = spot.offset, .to = spot.offset + size};
    for (int32_t k = 0; k < view->rank; k++) {
        if (view->shape[k] == 0) return EBM_OK;
        int64_t reach = (view->shape[k] - 1) * view->stride[k] * size;
        *(reach < 0 ? &bytes.from : &bytes.to) += reach;
    }
    return touch(f, step, bytes, writes);
}

static ebm_status touch_scratch(finder *f, int32_t step, int32_t buffer)
{
    ebm__spot spot = ebm__spot_of(f->c, (ebm__place){.buffer = buffer});
    int64_t end = spot.offset + f->c->buffer[buffer].bytes;
    return touch(f, step, (piece){.base = spot.base, .from = spot.offset, .to = end}, true);
}

static ebm_status find_links(finder *f, int32_t first, int32_t end)
{
    f->n_piece = f->n_reader = 0;
    for (int32_t step = first; step < end; step++) {
        const ebm__draft_kernel *kernel = &f->c->kernel[f->plan->step[step]];
        int32_t n_in = kernel->args.n_in, n = n_in + kernel->args.n_out;
        for (int32_t i = 0; i < n; i++)
            EBM_TRY(touch_view(f, step, kernel->first_view + i, i >= n_in));
        if (kernel->scratch >= 0) EBM_TRY(touch_scratch(f, step, kernel->scratch));
    }
    return EBM_OK;
}

/* ---- which teams there are --------------------------------------------------------------------- */

/* Roughly, in operations: starting a kernel costs some, and so does fetching a byte. */
static double work_of(const ebm_plan *plan, int32_t kernel)
{
    const double start = 50000, byte = 4;
    double flops, bytes;
    ebm__kernel_cost(plan, kernel, &flops, &bytes);
    return start + flops + byte * bytes;
}

/* The work of the steps that are small, or 0 if that is not enough. */
static double small_work(const finder *f, int32_t first, int32_t end)
{
    double all = 0, small = 0;
    for (int32_t step = first; step < end; step++) {
        double work = work_of(f->plan, f->plan->step[step]);
        all += work;
        if (work <= LARGE) small += work;
    }
    return small >= LEAST_WORK && small >= LEAST_SHARE * all ? small : 0;
}

/* Small work on the longest path; links to the steps begin at `at`. */
static double longest_path(finder *f, int32_t first, int32_t end, int64_t at)
{
    double longest = 0;
    for (int32_t step = first; step < end; step++) {
        double work = work_of(f->plan, f->plan->step[step]), before = 0;
        for (; at < f->n_link && f->link[at].to == step; at++)
            if (f->path[f->link[at].from] > before) before = f->path[f->link[at].from];
        f->path[step] = before + (work <= LARGE ? work : 0);
        if (f->path[step] > longest) longest = f->path[step];
    }
    return longest;
}

static ebm_status add_team(finder *f, int32_t first, int32_t end)
{
    int64_t first_link = f->n_link;
    double small = small_work(f, first, end);
    if (end - first < LEAST_STEPS || (small == 0 && !f->c->eager)) return EBM_OK;
    EBM_TRY(find_links(f, first, end));
    if (small < LEAST_WIDTH * longest_path(f, first, end, first_link) && !f->c->eager) {
        f->n_link = first_link;
        return EBM_OK;
    }
    f->plan->team[f->plan->n_team++] = (ebm__team){first, end};
    f->plan->team_at[first] = f->plan->n_team;
    return EBM_OK;
}

/* Of the kernels between loops, and in loops whose turns do not run beside one another. */
static ebm_status add_teams(finder *f, int32_t first, int32_t end)
{
    for (int32_t step = first; step < end; step++) {
        if (f->plan->step[step] >= 0) continue;
        const ebm__loop *loop = &f->plan->loop[~f->plan->step[step]];
        EBM_TRY(add_team(f, first, step));
        first = step + 1;
        if (!loop->lane) EBM_TRY(add_teams(f, loop->first, loop->end));
    }
    return add_team(f, first, end);
}

/* Links by where they come from. */
static ebm_status keep_links(finder *f)
{
    ebm_plan *plan = f->plan;
    plan->n_before = ebm__pool_alloc(&plan->pool, plan->n_step, sizeof(int32_t));
    plan->first_after = ebm__pool_alloc(&plan->pool, plan->n_step + 2, sizeof(int32_t));
    plan->after = ebm__pool_alloc(&plan->pool, f->n_link, sizeof(int32_t));
    if (!plan->n_before || !plan->first_after || !plan->after) return EBM_NOMEM;
    int32_t *at = plan->first_after + 1; /* shifted by one: counts become starts, then ends */
    for (int64_t k = 0; k < f->n_link; k++) {
        plan->n_before[f->link[k].to]++;
        at[f->link[k].from + 1]++;
    }
    for (int32_t k = 0; k < plan->n_step; k++) at[k + 1] += at[k];
    for (int64_t k = 0; k < f->n_link; k++) plan->after[at[f->link[k].from]++] = f->link[k].to;
    return EBM_OK;
}

ebm_status ebm__teams_find(ebm_plan *plan, ebm__compiler *c)
{
    finder f = {.plan = plan, .c = c};
    plan->team_at = ebm__pool_alloc(&plan->pool, plan->n_step, sizeof *plan->team_at);
    if (!plan->team_at) return EBM_NOMEM;
    if (!c->fuse || !c->device->host_memory) return EBM_OK;
    plan->team = ebm__pool_alloc(&plan->pool, plan->n_step / LEAST_STEPS, sizeof *plan->team);
    f.linked = ebm__pool_alloc(&c->temp, plan->n_step, sizeof *f.linked);
    f.path = ebm__pool_alloc(&c->temp, plan->n_step, sizeof *f.path);
    if (!plan->team || !f.linked || !f.path) return EBM_NOMEM;
    EBM_TRY(add_teams(&f, plan->first_step, plan->end_step));
    return keep_links(&f);
}
