/* test_teams.c - kernels beside one another: the bits, the errors and the end of one after another. */
#define _GNU_SOURCE
#include "plan_check.h"

#include "base/threads.h"
#include "plan/plan_internal.h"

#include <stdatomic.h>
#include <stdlib.h>

/* ---- the pool's part --------------------------------------------------------------------------- */

enum { JOBS = 200, TASKS = 40 };

/* Jobs that members take one by one; each is a kernel of some tasks. */
typedef struct work {
    atomic_int next, left;
    atomic_int count[JOBS][TASKS];
} work;

typedef struct kernel {
    work *work;
    int job;
} kernel;

static void do_task(void *context, int64_t task)
{
    const kernel *k = context;
    atomic_fetch_add(&k->work->count[k->job][task], 1);
}

static void do_jobs(void *context, int64_t member)
{
    work *w = context;
    int waits = 0;
    (void)member;
    while (atomic_load(&w->left) > 0) {
        kernel k = {w, atomic_fetch_add(&w->next, 1)};
        if (k.job >= JOBS) {
            ebm_team_help(&waits);
            continue;
        }
        ebm_parallel(k.job % (TASKS + 1), do_task, &k);
        atomic_fetch_sub(&w->left, 1);
    }
}

TEST(threads_team_does_every_task_once)
{
    for (int n = 2; n <= 5; n++) {
        ebm_set_num_threads(n);
        work w = {.left = JOBS};
        CHECK(ebm_team_run(do_jobs, &w));
        for (int j = 0; j < JOBS; j++)
            for (int t = 0; t < TASKS; t++) CHECK(w.count[j][t] == (t < j % (TASKS + 1)));
    }
    ebm_set_num_threads(1);
    CHECK(!ebm_team_run(do_jobs, NULL));
    ebm_set_num_threads(0);
}

/* ---- plans -------------------------------------------------------------------------------------- */

enum { ROWS = 100, WIDTH = 96, BRANCHES = 4 };

static ebm_ref part(ebm_graph *g, ebm_ref x, int64_t k, ebm_shape shape)
{
    return ebm_reshape(g, ebm_slice_axis(g, x, 0, k, 1), &shape);
}

/* Some networks beside one another on the rows of x that `rows` names, joined at the end; and the
 * gradient, in place of w. */
static ebm_plan *make_wide(bool fuse)
{
    ebm_graph *g = new_graph();
    ebm_shape square = EBM_DIMS(BRANCHES, WIDTH, WIDTH), index = EBM_DIMS(BRANCHES, ROWS);
    ebm_ref x = input_f32(g, "x", EBM_DIMS(ROWS, WIDTH)), w = input_f32(g, "w", square);
    ebm_ref rows = ebm_graph_input(g, "rows", EBM_I32, &index), sum = EBM_NONE;
    for (int b = 0; b < BRANCHES; b++) {
        ebm_ref m = part(g, w, b, EBM_DIMS(WIDTH, WIDTH));
        ebm_ref h = ebm_take(g, x, part(g, rows, b, EBM_DIMS(ROWS)), 0);
        for (int layer = 0; layer < 3; layer++) h = ebm_tanh(g, ebm_matmul(g, h, m));
        sum = b ? ebm_add(g, sum, ebm_sum_rows(g, h)) : ebm_sum_rows(g, h);
    }
    ebm_ref out[] = {sum, ebm_sub(g, w, ebm_grad(g, ebm_sum_all(g, ebm_square(g, sum)), w))};
    ebm_plan *plan = make_plan(g, out, 2, (int32_t[]){-1, 1}, fuse);
    ebm_graph_free(g);
    return plan;
}

typedef struct wide {
    float x[ROWS * WIDTH], w[BRANCHES * WIDTH * WIDTH], sum[ROWS];
    int32_t rows[BRANCHES * ROWS];
} wide;

static wide *new_wide(void)
{
    wide *a = ebm__alloc(1, sizeof *a);
    for (int i = 0; i < ROWS * WIDTH; i++) a->x[i] = (float)(i % 37 - 18) * 0.05f;
    for (int i = 0; i < BRANCHES * WIDTH * WIDTH; i++) a->w[i] = (float)(i % 53 - 26) * 0.01f;
    for (int i = 0; i < BRANCHES * ROWS; i++) a->rows[i] = i * 7 % ROWS;
    return a;
}

static ebm_status run_wide(ebm_workspace *workspace, wide *a, const ebm_poll *poll)
{
    return ebm_plan_run(workspace, (void *[]){a->x, a->w, a->rows}, (void *[]){a->sum, a->w},
                        poll);
}

TEST(plan_teams_on_threads)
{
    ebm_plan *plan = make_wide(true), *plain = make_wide(false);
    ebm_workspace *one = NULL, *many = NULL;
    CHECK(plan->n_team == 1 && plain->n_team == 0);
    CHECK_OK(ebm_workspace_new(&one, plain));
    CHECK_OK(ebm_workspace_new(&many, plan));
    for (int threads = 1; threads <= 5; threads++) {
        wide *a = new_wide(), *b = new_wide();
        ebm_set_num_threads(threads);
        for (int turn = 0; turn < 5; turn++) {
            CHECK_OK(run_wide(one, a, NULL));
            CHECK_OK(run_wide(many, b, NULL));
        }
        CHECK(memcmp(a, b, sizeof *a) == 0);
        ebm__free(a);
        ebm__free(b);
    }
    ebm_set_num_threads(0);
    ebm_workspace_free(one);
    ebm_workspace_free(many);
    ebm_plan_release(plan);
    ebm_plan_release(plain);
}

/* Whatever fails first in time, the message is that of the first in the order of the plan. */
TEST(plan_teams_fail_in_threads_as_alone)
{
    ebm_plan *plan = make_wide(true);
    ebm_workspace *workspace = NULL;
    char first[EBM_MESSAGE_SIZE] = "";
    CHECK_OK(ebm_workspace_new(&workspace, plan));
    for (int turn = 0; turn < 40; turn++) {
        wide *a = new_wide();
        ebm_set_num_threads(1 + turn % 4);
        for (int b = 0; b < BRANCHES; b++) a->rows[b * ROWS + b] = 1000 + b;
        CHECK_STATUS(run_wide(workspace, a, NULL), EBM_INDEX);
        if (turn == 0) memcpy(first, ebm_message(), sizeof first);
        CHECK(strcmp(first, ebm_message()) == 0);
        ebm__free(a);
    }
    ebm_set_num_threads(0);
    ebm_workspace_free(workspace);
    ebm_plan_release(plan);
}

static bool stop_at_once(void *context)
{
    ++*(int *)context;
    return true;
}

/* A loop of a million turns, which a team runs. */
TEST(plan_teams_cancelled_in_threads)
{
    ebm_graph *g = new_graph();
    ebm_ref x = input_f32(g, "x", EBM_DIMS(WIDTH, WIDTH)), i, c[BRANCHES], last[BRANCHES];
    ebm_ref init[] = {x, x, x, x}, next[BRANCHES];
    ebm_graph *body = ebm_repeat_open(g, 1000000, init, BRANCHES, NULL, 0, &i, c, NULL);
    for (int b = 0; b < BRANCHES; b++)
        next[b] = ebm_tanh(body, ebm_matmul(body, c[b], c[(b + 1) % BRANCHES]));
    ebm_repeat_close(body, next, NULL, 0, false, last, NULL);
    ebm_plan *plan = make_plan(g, last, BRANCHES, NULL, true);
    ebm_workspace *workspace = NULL;
    int asked = 0;
    ebm_poll poll = {.stop = stop_at_once, .context = &asked};
    float a[WIDTH * WIDTH] = {1}, out[BRANCHES][WIDTH * WIDTH];
    CHECK(plan->n_team == 1);
    CHECK_OK(ebm_workspace_new(&workspace, plan));
    ebm_set_num_threads(3);
    CHECK_STATUS(ebm_plan_run(workspace, (void *[]){a},
                              (void *[]){out[0], out[1], out[2], out[3]}, &poll),
                 EBM_CANCELLED);
    CHECK(asked == 1);
    ebm_set_num_threads(0);
    ebm_workspace_free(workspace);
    ebm_plan_release(plan);
    ebm_graph_free(g);
}
