/* test_plan.c - planned runs against known numbers, and against node by node runs. */
#define _GNU_SOURCE
#include "plan_check.h"

#include "base/threads.h"

#include <pthread.h>
#include <stdlib.h>

/* ---- regions and views --------------------------------------------------------------------------- */

TEST(plan_region_is_one_kernel)
{
    ebm_graph *g = new_graph();
    ebm_ref a = input_f32(g, "a", EBM_DIMS(2, 3)), b = input_f32(g, "b", EBM_DIMS(3));
    ebm_ref sum = ebm_add(g, a, b), y = ebm_mul(g, sum, ebm_scalar(g, EBM_F32, 2)),
            out[2] = {y, sum};
    float x[6] = {1, 2, 3, 4, 5, 6}, bias[3] = {10, 20, 30};
    void *in[] = {x, bias}, *got[2];
    ebm_plan *plan = make_plan(g, out, 2, NULL, true);
    CHECK(ebm_plan_n_kernels(plan) == 1 && ebm_plan_arena_bytes(plan) == 0);
    CHECK(ebm_plan_n_inputs(plan) == 2 && ebm_plan_n_outputs(plan) == 2);
    CHECK(ebm_plan_input_used(plan, 0) && ebm_plan_input_used(plan, 1));
    run_plan(plan, NULL, in, got);
    for (int i = 0; i < 6; i++) {
        CHECK(((float *)got[1])[i] == x[i] + bias[i % 3]);
        CHECK(((float *)got[0])[i] == 2 * (x[i] + bias[i % 3]));
    }
    free_all(got, 2);
    ebm_plan_release(plan);
    CHECK(check_planned(g, out, 2, NULL, in) == 1);
    ebm_graph_free(g);
}

TEST(plan_views_need_no_kernels)
{
    ebm_graph *g = new_graph();
    ebm_ref x = input_f32(g, "x", EBM_DIMS(3, 4)), s = input_f32(g, "s", EBM_SCALAR);
    ebm_shape flat = EBM_DIMS(12), block = EBM_DIMS(4, 3), cube = EBM_DIMS(2, 2, 3);
    ebm_ref turned = ebm_transpose(g, x);                            /* (4, 3), strided */
    ebm_ref fliped = ebm_flip(g, turned, 0);                         /* backwards */
    ebm_ref rows = ebm_reshape(g, ebm_reshape(g, x, &flat), &block); /* the same bytes */
    ebm_ref y = ebm_add(g, ebm_add(g, fliped, rows), ebm_broadcast_to(g, s, &block));
    ebm_ref z = ebm_neg(g, ebm_reshape(g, turned, &cube)); /* axis 0 splits, strides stay */
    float data[12], scale = 100;
    for (int i = 0; i < 12; i++) data[i] = (float)i;
    void *in[] = {data, &scale}, *got[2];
    ebm_ref out[] = {y, z};
    CHECK(run_graph(g, out, 2, NULL, true, in, got) == 2);
    for (int r = 0; r < 4; r++)
        for (int c = 0; c < 3; c++) {
            CHECK(((float *)got[0])[r * 3 + c] == data[c * 4 + 3 - r] + data[r * 3 + c] + 100);
            CHECK(((float *)got[1])[r * 3 + c] == -data[c * 4 + r]);
        }
    free_all(got, 2);
    check_planned(g, out, 2, NULL, in);
    ebm_graph_free(g);
}

TEST(plan_kernels_get_contiguous_operands)
{
    ebm_graph *g = new_graph();
    ebm_ref x = input_f32(g, "x", EBM_DIMS(3, 4));
    ebm_ref turned = ebm_transpose(g, x), one[] = {ebm_sum(g, turned, 1, false)};
    ebm_ref rows[] = {ebm_sum(g, ebm_slice_axis(g, x, 0, 1, 2), 2, false)}; /* an offset will do */
    float data[12];
    for (int i = 0; i < 12; i++) data[i] = (float)i;
    void *in[] = {data}, *got[1];
    CHECK(run_graph(g, one, 1, NULL, true, in, got) == 2);
    for (int c = 0; c < 3; c++)
        CHECK(((float *)got[0])[c] ==
              data[c * 4] + data[c * 4 + 1] + data[c * 4 + 2] + data[c * 4 + 3]);
    free_all(got, 1);
    CHECK(run_graph(g, rows, 1, NULL, true, in, got) == 1);
    CHECK(((float *)got[0])[0] == 4 + 5 + 6 + 7 && ((float *)got[0])[1] == 8 + 9 + 10 + 11);
    free_all(got, 1);
    ebm_graph_free(g);
}

/* softmax by hand: exp, its sum, the quotient; the region may not close around the sum. */
TEST(plan_clusters_make_no_circle)
{
    ebm_graph *g = new_graph();
    ebm_shape shape = EBM_DIMS(4, 5);
    ebm_ref x = ebm_graph_input(g, "x", EBM_F32, &shape);
    ebm_ref e = ebm_exp(g, x), total = ebm_sum(g, e, 2, true);
    ebm_ref y = ebm_div(g, e, ebm_broadcast_to(g, total, &shape));
    float data[20];
    for (int i = 0; i < 20; i++) data[i] = (float)(i % 7) * 0.25f;
    void *in[] = {data};
    CHECK(check_planned(g, &y, 1, NULL, in) == 3);
    ebm_graph_free(g);
}

TEST(plan_regions_keep_their_limits)
{
    enum { N = 60, LONG = 700 };
    ebm_graph *g = new_graph();
    ebm_ref x[N], out[3];
    float data[N][8];
    void *in[N];
    for (int k = 0; k < N; k++) {
        char name[16];
        snprintf(name, sizeof name, "x%d", k);
        x[k] = input_f32(g, name, EBM_DIMS(8));
        for (int i = 0; i < 8; i++) data[k][i] = (float)(k * 8 + i) * 0.01f;
        in[k] = data[k];
    }
    /* All live at once: sums from both ends. */
    ebm_ref wide[N];
    for (int k = 0; k < N; k++) wide[k] = ebm_mul(g, x[k], x[(k * 7 + 1) % N]);
    out[0] = wide[0];
    for (int k = 1; k < N; k++) out[0] = ebm_add(g, out[0], wide[N - k]);
    out[1] = x[0];
    for (int k = 0; k < LONG; k++)
        out[1] = ebm_shift(g, ebm_square(g, ebm_tanh(g, out[1])), 0.001 * k);
    /* More constants and temporaries than registers. */
    ebm_ref many[100];
    for (int k = 0; k < 100; k++) many[k] = ebm_scale(g, ebm_shift(g, x[1], k), 0.5 + k);
    out[2] = many[0];
    for (int k = 1; k < 100; k++) out[2] = ebm_maximum(g, ebm_neg(g, out[2]), many[99 - k]);
    CHECK(check_planned(g, out, 3, NULL, in) < 60);
    ebm_graph_free(g);
}

TEST(plan_outputs_of_every_kind)
{
    ebm_graph *g = new_graph();
    ebm_shape shape = EBM_DIMS(2, 3);
    ebm_ref x = ebm_graph_input(g, "x", EBM_F32, &shape), y = ebm_exp(g, x);
    ebm_ref out[] = {x,
                     x,
                     ebm_transpose(g, x),
                     ebm_scalar(g, EBM_F32, 3),
                     ebm_full(g, EBM_I32, &shape, 7),
                     y,
                     y,
                     ebm_transpose(g, y),
                     ebm_stop(g, y),
                     ebm_mark(g, y),
                     ebm_slice_axis(g, y, 0, 1, 1)};
    enum { N = sizeof out / sizeof *out };
    float data[6] = {0, 1, 2, 3, 4, 5};
    void *in[] = {data}, *got[N];
    run_graph(g, out, N, NULL, true, in, got);
    CHECK(memcmp(got[0], data, sizeof data) == 0 && memcmp(got[1], data, sizeof data) == 0);
    CHECK(((float *)got[2])[1] == 3 && ((float *)got[3])[0] == 3 && ((int32_t *)got[4])[5] == 7);
    CHECK(memcmp(got[5], got[6], sizeof data) == 0 && memcmp(got[5], got[8], sizeof data) == 0);
    CHECK(((float *)got[10])[0] == ((float *)got[5])[3]);
    free_all(got, N);
    check_planned(g, out, N, NULL, in);
    ebm_graph_free(g);
}

TEST(plan_of_nothing)
{
    ebm_graph *g = new_graph();
    ebm_plan *plan = make_plan(g, NULL, 0, NULL, true);
    ebm_workspace *workspace = NULL;
    CHECK(ebm_plan_n_kernels(plan) == 0 && ebm_plan_arena_bytes(plan) == 0);
    CHECK_OK(ebm_workspace_new(&workspace, plan));
    CHECK_OK(ebm_plan_run(workspace, NULL, NULL, NULL));
    ebm_workspace_free(workspace);
    ebm_plan_release(plan);
    ebm_graph_free(g);
}

TEST(plan_empty_arrays)
{
    ebm_graph *g = new_graph();
    ebm_shape shape = EBM_DIMS(0, 3);
    ebm_ref x = ebm_graph_input(g, "x", EBM_F32, &shape), y = ebm_exp(g, ebm_neg(g, x));
    ebm_ref both[] = {y, y};
    ebm_ref out[] = {y, ebm_sum(g, y, 1, false), ebm_sum(g, ebm_transpose(g, y), 1, false),
                     ebm_concat(g, both, 2, 0), ebm_sum_all(g, ebm_concat(g, both, 2, 1))};
    void *in[] = {NULL}, *got[5];
    run_graph(g, out, 5, NULL, true, in, got);
    for (int i = 0; i < 3; i++) CHECK(((float *)got[1])[i] == 0);
    CHECK(((float *)got[4])[0] == 0);
    free_all(got, 5);
    check_planned(g, out, 5, NULL, in);
    ebm_graph_free(g);
}

TEST(plan_none_by_environment)
{
    ebm_graph *g = new_graph();
    ebm_ref x = input_f32(g, "x", EBM_DIMS(3)), y = ebm_neg(g, ebm_exp(g, x));
    ebm_plan *plan = make_plan(g, &y, 1, NULL, true);
    CHECK(ebm_plan_n_kernels(plan) == 1);
    ebm_plan_release(plan);
    CHECK(setenv("EBMLIB_PLAN", "none", 1) == 0);
    plan = make_plan(g, &y, 1, NULL, true);
    CHECK(ebm_plan_n_kernels(plan) == 3); /* and the copy of the output */
    ebm_plan_release(plan);
    CHECK(unsetenv("EBMLIB_PLAN") == 0);
    ebm_graph_free(g);
}

/* ---- outputs over inputs ------------------------------------------------------------------------- */

TEST(plan_alias_in_place)
{
    ebm_graph *g = new_graph();
    ebm_shape shape = EBM_DIMS(4, 4);
    ebm_ref w = ebm_graph_input(g, "w", EBM_F32, &shape),
            x = ebm_graph_input(g, "x", EBM_F32, &shape);
    ebm_ref gradient = ebm_matmul(g, x, w), step = ebm_sub(g, w, ebm_scale(g, gradient, 0.1));
    /* The update comes first in the list, and still waits for the product of the old w. */
    ebm_ref out[] = {step, ebm_matmul(g, w, x)};
    int32_t alias[] = {0, -1};
    float a[16], b[16];
    for (int i = 0; i < 16; i++) a[i] = (float)i, b[i] = (float)(i % 3);
    void *in[] = {a, b};
    ebm_plan *plan = make_plan(g, out, 2, alias, true);
    CHECK(ebm_plan_n_kernels(plan) == 3);
    ebm_plan_release(plan);
    CHECK(check_planned(g, out, 2, alias, in) == 3);
    ebm_graph_free(g);
}

TEST(plan_alias_swaps)
{
    ebm_graph *g = new_graph();
    ebm_shape shape = EBM_DIMS(2, 2);
    ebm_ref a = ebm_graph_input(g, "a", EBM_F32, &shape),
            b = ebm_graph_input(g, "b", EBM_F32, &shape);
    ebm_ref c = ebm_graph_input(g, "c", EBM_F32, &shape);
    ebm_ref swap[] = {b, a, c}, turn[] = {b, c, a},
            mixed[] = {ebm_add(g, a, b), a, ebm_exp(g, b)};
    ebm_ref turned[] = {ebm_transpose(g, a), ebm_neg(g, ebm_transpose(g, b)),
                        ebm_add(g, c, ebm_transpose(g, c))};
    ebm_ref same[] = {a, ebm_add(g, a, b), a};
    int32_t alias[] = {0, 1, 2};
    float x[4] = {1, 2, 3, 4}, y[4] = {5, 6, 7, 8}, z[4] = {9, 10, 11, 12};
    void *in[] = {x, y, z}, *got[3];
    CHECK(run_graph(g, swap, 3, alias, true, in, got) == 4); /* two copies aside, two back */
    CHECK(memcmp(got[0], y, sizeof y) == 0 && memcmp(got[1], x, sizeof x) == 0);
    CHECK(memcmp(got[2], z, sizeof z) == 0);
    free_all(got, 3);
    check_planned(g, turn, 3, alias, in);
    check_planned(g, mixed, 3, alias, in);
    check_planned(g, turned, 3, alias, in);
    check_planned(g, same, 3, alias, in);
    ebm_graph_free(g);
}

/* A region over its own two inputs, crosswise. */
TEST(plan_alias_crosswise)
{
    enum { N = 100000 }; /* enough for several threads */
    ebm_graph *g = new_graph();
    ebm_ref a = input_f32(g, "a", EBM_DIMS(N)), b = input_f32(g, "b", EBM_DIMS(N));
    ebm_ref out[] = {ebm_sub(g, b, a), ebm_add(g, ebm_exp(g, a), ebm_square(g, b))};
    int32_t alias[] = {0, 1}, crossed[] = {1, 0};
    float *x = ebm__alloc(2 * N, sizeof *x);
    for (int i = 0; i < 2 * N; i++) x[i] = (float)(i % 17) * 0.3f - 2;
    void *in[] = {x, x + N};
    CHECK(check_planned(g, out, 2, alias, in) == 1);
    CHECK(check_planned(g, out, 2, crossed, in) == 1);
    ebm__free(x);
    ebm_graph_free(g);
}

/* What is also read elsewhere than where it is written may not be overwritten; blocks show it. */
TEST(plan_in_place_wants_the_same_index)
{
    enum { N = 5000 };
    ebm_graph *g = new_graph();
    ebm_shape grid = EBM_DIMS(50, 100), turned = EBM_DIMS(100, 50);
    ebm_ref x = input_f32(g, "x", EBM_DIMS(N)), y = ebm_cumsum(g, x, 0, false); /* in the arena */
    ebm_ref wide = ebm_reshape(g, ebm_exp(g, y), &grid);
    ebm_ref square = ebm_reshape(g, ebm_cumsum(g, y, 0, true), &turned);
    ebm_ref out[] = {ebm_sub(g, x, ebm_flip(g, x, 0)),
                     ebm_sum_all(g, ebm_tanh(g, ebm_sub(g, ebm_flip(g, y, 0), y))),
                     ebm_sum_all(g, ebm_sin(g, ebm_add(g, wide, ebm_transpose(g, square))))};
    float *data = ebm__alloc(N, sizeof *data);
    for (int i = 0; i < N; i++) data[i] = (float)(i % 23) * 0.01f - 0.1f;
    void *in[] = {data};
    check_planned(g, out, 3, (int32_t[]){0, -1, -1}, in);
    for (int k = 0; k < 3; k++) check_planned(g, out + k, 1, k ? NULL : (int32_t[]){0}, in);
    ebm__free(data);
    ebm_graph_free(g);
}

TEST(plan_put_in_place)
{
    ebm_graph *g = new_graph();
    ebm_ref x = input_f32(g, "x", EBM_DIMS(100, 8)), v = input_f32(g, "v", EBM_DIMS(2, 8));
    ebm_shape two = EBM_DIMS(2);
    ebm_ref idx = ebm_graph_input(g, "idx", EBM_I32, &two);
    ebm_ref put = ebm_put(g, x, idx, v), late = ebm_put(g, ebm_exp(g, x), idx, v);
    float *data = ebm__alloc(800, sizeof *data), row[16];
    int32_t index[2] = {99, 3}, alias[] = {0};
    for (int i = 0; i < 16; i++) row[i] = (float)-i;
    void *in[] = {data, row, index}, *got[1];
    CHECK(run_graph(g, &put, 1, alias, true, in, got) == 1);
    for (int i = 0; i < 8; i++)
        CHECK(((float *)got[0])[99 * 8 + i] == row[i] && ((float *)got[0])[24 + i] == row[8 + i]);
    CHECK(((float *)got[0])[0] == 0);
    free_all(got, 1);
    ebm_plan *plan = make_plan(g, &put, 1, alias, true);
    CHECK(ebm_plan_arena_bytes(plan) == 0);
    ebm_plan_release(plan);
    ebm_ref sum = ebm_sum_all(g, late); /* put over the dying exp */
    plan = make_plan(g, &sum, 1, NULL, true);
    CHECK(ebm_plan_arena_bytes(plan) < 2 * 800 * sizeof(float));
    ebm_plan_release(plan);
    ebm_ref out[] = {put, late, ebm_put(g, x, idx, ebm_take(g, x, idx, 0))};
    check_planned(g, out, 3, (int32_t[]){0, -1, -1}, in);
    check_planned(g, out, 3, (int32_t[]){-1, -1, 0}, in);
    ebm__free(data);
    ebm_graph_free(g);
}

TEST(plan_refuses_bad_requests)
{
    ebm_graph *g = new_graph();
    ebm_ref x = input_f32(g, "x", EBM_DIMS(3)), y = input_f32(g, "y", EBM_DIMS(3)),
            z = ebm_add(g, x, y);
    ebm_ref out[] = {z, z};
    ebm_plan *plan = NULL;
    ebm_plan_options options = {.device = ebm_device_cpu(), .fuse = true};
    options.alias = (int32_t[]){0, 0};
    CHECK_STATUS(ebm_plan_new(&plan, g, out, 2, &options), EBM_VALUE);
    options.alias = (int32_t[]){0, 2};
    CHECK_STATUS(ebm_plan_new(&plan, g, out, 2, &options), EBM_VALUE);
    out[0] = ebm_sum_all(g, z);
    options.alias = (int32_t[]){0, 1};
    CHECK_STATUS(ebm_plan_new(&plan, g, out, 2, &options), EBM_VALUE);
    options.alias = NULL;
    CHECK_STATUS(ebm_plan_new(&plan, g, (ebm_ref[]){EBM_POISON}, 1, &options), EBM_VALUE);
    CHECK_STATUS(ebm_plan_new(&plan, g, (ebm_ref[]){12345}, 1, &options), EBM_VALUE);
    options.device = NULL;
    CHECK_STATUS(ebm_plan_new(&plan, g, out, 2, &options), EBM_VALUE);
    plan = make_plan(g, &z, 1, (int32_t[]){1}, true);
    float a[3] = {1, 2, 3}, b[3] = {4, 5, 6}, c[3];
    ebm_workspace *workspace = NULL;
    CHECK_OK(ebm_workspace_new(&workspace, plan));
    CHECK_STATUS(ebm_plan_run(workspace, (void *[]){a, NULL}, (void *[]){b}, NULL), EBM_VALUE);
    CHECK_STATUS(ebm_plan_run(workspace, (void *[]){a, b}, (void *[]){NULL}, NULL), EBM_VALUE);
    CHECK_STATUS(ebm_plan_run(workspace, (void *[]){a, b}, (void *[]){c}, NULL), EBM_VALUE);
    CHECK_OK(ebm_plan_run(workspace, (void *[]){a, b}, (void *[]){b}, NULL));
    CHECK(b[0] == 5 && b[2] == 9);
    ebm_workspace_free(workspace);
    ebm_plan_release(plan);
    ebm_shape wrong = EBM_DIMS(4);
    ebm_add(g, x, ebm_graph_input(g, "w", EBM_F32, &wrong));
    options.device = ebm_device_cpu();
    CHECK_STATUS(ebm_plan_new(&plan, g, &z, 1, &options), EBM_SHAPE);
    ebm_graph_free(g);
}

TEST(plan_reports_a_bad_index)
{
    ebm_graph *g = new_graph();
    ebm_shape two = EBM_DIMS(2);
    ebm_ref x = input_f32(g, "x", EBM_DIMS(3)), idx = ebm_graph_input(g, "idx", EBM_I32, &two);
    ebm_ref y = ebm_take(g, x, idx, 0);
    ebm_plan *plan = make_plan(g, &y, 1, NULL, true);
    ebm_workspace *workspace = NULL;
    CHECK_OK(ebm_workspace_new(&workspace, plan));
    float data[3] = {1, 2, 3}, got[2];
    CHECK_STATUS(ebm_plan_run(workspace, (void *[]){data, (int32_t[]){0, 3}}, (void *[]){got},
                              NULL),
                 EBM_INDEX);
    CHECK_OK(ebm_plan_run(workspace, (void *[]){data, (int32_t[]){2, 0}}, (void *[]){got}, NULL));
    CHECK(got[0] == 3 && got[1] == 1);
    ebm_workspace_free(workspace);
    ebm_plan_release(plan);
    ebm_graph_free(g);
}

TEST(plan_captured_tensor)
{
    ebm_graph *g = new_graph();
    ebm_tensor *tensor = NULL;
    ebm_shape shape = EBM_DIMS(3);
    CHECK_OK(ebm_tensor_new(&tensor, ebm_device_cpu(), EBM_F32, &shape));
    for (int i = 0; i < 3; i++) ((float *)tensor->data)[i] = (float)(i + 1);
    ebm_ref x = ebm_graph_capture(g, tensor), y = ebm_square(g, x);
    ebm_plan *plan = make_plan(g, &y, 1, NULL, true);
    ebm_graph_free(g);
    ebm_tensor_release(tensor);
    void *in[] = {NULL}, *got[1];
    run_plan(plan, NULL, in, got);
    CHECK(((float *)got[0])[2] == 9);
    free_all(got, 1);
    ebm_plan_release(plan);
}

/* ---- repeat -------------------------------------------------------------------------------------- */

/* s += i * x[i], with ys = s before; forwards or backwards. */
static void check_accumulation(int64_t n, bool reverse)
{
    ebm_graph *g = new_graph();
    ebm_shape rows = EBM_DIMS(n, 2);
    ebm_ref s0 = input_f32(g, "s", EBM_DIMS(2)), xs = ebm_graph_input(g, "xs", EBM_F32, &rows);
    ebm_ref i, s, x, last, stacked;
    ebm_graph *body = ebm_repeat_open(g, n, &s0, 1, &xs, 1, &i, &s, &x);
    ebm_ref step = ebm_mul(body, ebm_cast(body, i, EBM_F32), x), next = ebm_add(body, s, step);
    ebm_repeat_close(body, &next, &s, 1, reverse, &last, &stacked);
    ebm_ref out[] = {last, stacked, last};
    float start[2] = {1, -1}, data[40], sum[2] = {1, -1};
    for (int k = 0; k < 40; k++) data[k] = (float)(k * k % 7);
    void *in[] = {start, data}, *got[3];
    run_graph(g, out, 3, (int32_t[]){0, -1, -1}, true, in, got);
    for (int64_t turn = 0; turn < n; turn++) {
        int64_t row = reverse ? n - 1 - turn : turn;
        for (int c = 0; c < 2; c++) {
            CHECK(((float *)got[1])[row * 2 + c] == sum[c]);
            sum[c] += (float)row * data[row * 2 + c];
        }
    }
    CHECK(memcmp(got[0], sum, sizeof sum) == 0 && memcmp(got[2], sum, sizeof sum) == 0);
    free_all(got, 3);
    check_planned(g, out, 3, NULL, in);
    check_planned(g, out, 3, (int32_t[]){0, -1, -1}, in);
    check_planned(g, out, 3, (int32_t[]){-1, 1, 0}, in);
    ebm_graph_free(g);
}

TEST(plan_repeat)
{
    check_accumulation(5, false);
    check_accumulation(5, true);
    check_accumulation(1, false);
    check_accumulation(0, false);
}

TEST(plan_repeat_runs_in_place)
{
    enum { N = 1000, STEPS = 10 };
    ebm_graph *g = new_graph();
    ebm_ref x0 = input_f32(g, "x", EBM_DIMS(N)), i, x, last;
    ebm_graph *body = ebm_repeat_open(g, STEPS, &x0, 1, NULL, 0, &i, &x, NULL);
    ebm_ref next = ebm_sub(body, x, ebm_scale(body, ebm_tanh(body, x), 0.1));
    ebm_repeat_close(body, &next, NULL, 0, false, &last, NULL);
    ebm_plan *plan = make_plan(g, &last, 1, (int32_t[]){0}, true);
    CHECK(ebm_plan_n_kernels(plan) == STEPS && ebm_plan_arena_bytes(plan) == 0);
    ebm_plan_release(plan);
    ebm_ref after = ebm_exp(g, last);
    plan = make_plan(g, &after, 1, NULL, true);
    CHECK(ebm_plan_n_kernels(plan) == STEPS + 2); /* x is copied to be a carry */
    ebm_plan_release(plan);
    float *data = ebm__alloc(N, sizeof *data);
    for (int k = 0; k < N; k++) data[k] = (float)k * 0.01f;
    void *in[] = {data};
    check_planned(g, (ebm_ref[]){last, after}, 2, (int32_t[]){0, -1}, in);
    check_planned(g, (ebm_ref[]){last, x0}, 2, (int32_t[]){0, -1}, in);
    ebm__free(data);
    ebm_graph_free(g);
}

TEST(plan_repeat_swaps_carries)
{
    ebm_graph *g = new_graph();
    ebm_ref init[] = {input_f32(g, "a", EBM_DIMS(3)), input_f32(g, "b", EBM_DIMS(3))}, i, in[2],
            last[2];
    ebm_graph *body = ebm_repeat_open(g, 7, init, 2, NULL, 0, &i, in, NULL);
    ebm_ref sum = ebm_add(body, in[0], in[1]), ys[] = {in[0], in[1], sum}, stacked[3];
    ebm_repeat_close(body, (ebm_ref[]){in[1], sum}, ys, 3, false, last, stacked); /* Fibonacci */
    float a[3] = {1, 0, 2}, b[3] = {1, 1, -1};
    void *data[] = {a, b}, *got[2];
    run_graph(g, last, 2, (int32_t[]){1, 0}, true, data, got);
    CHECK(((float *)got[0])[0] == 21 && ((float *)got[1])[0] == 34);
    free_all(got, 2);
    ebm_ref out[] = {last[0], last[1], stacked[0], stacked[1], stacked[2]};
    check_planned(g, out, 5, (int32_t[]){1, 0, -1, -1, -1}, data);
    check_planned(g, out, 5, (int32_t[]){0, 1, -1, -1, -1}, data);
    check_planned(g, out, 5, NULL, data);
    ebm_graph_free(g);
}

TEST(plan_repeat_hoists)
{
    enum { STEPS = 20 };
    ebm_graph *g = new_graph();
    ebm_shape square = EBM_DIMS(4, 4);
    ebm_ref x0 = ebm_graph_input(g, "x", EBM_F32, &square),
            w = ebm_graph_input(g, "w", EBM_F32, &square);
    ebm_ref i, x, last;
    ebm_graph *body = ebm_repeat_open(g, STEPS, &x0, 1, NULL, 0, &i, &x, NULL);
    ebm_ref inside = ebm_lift(body, g, w),
            fixed = ebm_matmul(body, inside, ebm_exp(body, inside));
    ebm_ref next = ebm_matmul(body, x, ebm_transpose(body, fixed));
    next = ebm_tanh(body, next);
    ebm_repeat_close(body, &next, NULL, 0, false, &last, NULL);
    ebm_plan *plan = make_plan(g, &last, 1, (int32_t[]){0}, true);
    /* Once exp and product (and a transposed copy, if the product takes none); in each turn two. */
    CHECK(ebm_plan_n_kernels(plan) <= 3 + 2 * STEPS);
    ebm_plan_release(plan);
    float a[16], b[16];
    for (int k = 0; k < 16; k++) a[k] = (float)k * 0.1f, b[k] = (float)(k % 5) * 0.1f;
    void *in[] = {a, b};
    check_planned(g, &last, 1, (int32_t[]){0}, in);
    ebm_graph_free(g);
}

/* What hangs on neither turn is computed before the loops, and what hangs on the outer one between
 * them, whose lanes share it. */
TEST(plan_repeat_hoists_out_of_loops)
{
    enum { OUTER = 5, INNER = 7 };
    ebm_graph *g = new_graph();
    ebm_shape square = EBM_DIMS(4, 4), stack = EBM_DIMS(OUTER, 4, 4);
    ebm_ref xs = ebm_graph_input(g, "xs", EBM_F32, &stack),
            w = ebm_graph_input(g, "w", EBM_F32, &square), i, row, x, last, out;
    ebm_graph *turn = ebm_repeat_open(g, OUTER, NULL, 0, &xs, 1, &i, NULL, &row);
    ebm_graph *step = ebm_repeat_open(turn, INNER, &row, 1, NULL, 0, &i, &x, NULL);
    ebm_ref once = ebm_cumsum(step, ebm_lift(step, g, w), 0, false);
    ebm_ref each = ebm_cumsum(step, ebm_lift(step, turn, row), 0, false);
    ebm_ref next = ebm_cumsum(step, ebm_mul(step, x, ebm_mul(step, once, each)), 0, false);
    ebm_repeat_close(step, &next, NULL, 0, false, &last, NULL);
    ebm_repeat_close(turn, NULL, &last, 1, false, NULL, &out);
    ebm_plan *plan = make_plan(g, &out, 1, NULL, true);
    /* The sum over w; of a turn a copy to the carry, a sum and a product; of a step two. */
    CHECK(ebm_plan_n_kernels(plan) == 1 + OUTER * (3 + 2 * INNER));
    ebm_plan_release(plan);
    float a[OUTER * 16], b[16];
    for (int k = 0; k < OUTER * 16; k++) a[k] = (float)(k % 7) * 0.01f;
    for (int k = 0; k < 16; k++) b[k] = (float)(k % 5) * 0.1f;
    void *in[] = {a, b};
    check_planned(g, &out, 1, NULL, in);
    ebm_graph_free(g);
}

/* Outer: for each row r of xs, the inner loop adds r * w to the carry m times and stacks it. */
TEST(plan_repeat_nests)
{
    ebm_graph *g = new_graph();
    ebm_shape rows = EBM_DIMS(3, 2);
    ebm_ref s0 = input_f32(g, "s", EBM_DIMS(2)), w = input_f32(g, "w", EBM_DIMS(2));
    ebm_ref xs = ebm_graph_input(g, "xs", EBM_F32, &rows), i, s, x, last, stacked;
    ebm_graph *outer = ebm_repeat_open(g, 3, &s0, 1, &xs, 1, &i, &s, &x);
    ebm_ref j, t, inner_last, inner_stacked;
    ebm_graph *inner = ebm_repeat_open(outer, 4, &s, 1, NULL, 0, &j, &t, NULL);
    ebm_ref scale = ebm_cast(inner, ebm_add(inner, ebm_lift(inner, outer, i), j), EBM_F32);
    ebm_ref step = ebm_mul(inner, ebm_lift(inner, outer, x),
                           ebm_exp(inner, ebm_lift(inner, g, w)));
    ebm_ref next = ebm_add(inner, t, ebm_mul(inner, step, scale));
    ebm_repeat_close(inner, &next, &t, 1, true, &inner_last, &inner_stacked);
    ebm_ref ys[] = {inner_stacked, ebm_sum(outer, inner_stacked, 1, false)}, stacked2[2];
    ebm_repeat_close(outer, &inner_last, ys, 2, false, &last, stacked2);
    stacked = stacked2[0];
    ebm_ref out[] = {last, stacked, stacked2[1]};
    float a[2] = {0, 1}, b[2] = {0, 0}, c[6] = {1, 2, 3, 4, 5, 6};
    void *in[] = {a, b, c}, *got[3];
    run_graph(g, out, 3, NULL, true, in, got);
    /* w = 0: sum over i, j of (i + j) x_i = x_0 6 + x_1 10 + x_2 14 */
    CHECK(((float *)got[0])[0] == 6 * 1 + 10 * 3 + 14 * 5);
    CHECK(((float *)got[0])[1] == 1 + 6 * 2 + 10 * 4 + 14 * 6);
    free_all(got, 3);
    check_planned(g, out, 3, NULL, in);
    check_planned(g, out, 3, (int32_t[]){1, -1, -1}, in);
    ebm_graph_free(g);
}

/* Carries and stacked values that nobody reads are not computed. */
TEST(plan_repeat_drops_what_is_not_read)
{
    ebm_graph *g = new_graph();
    ebm_ref init[] = {input_f32(g, "a", EBM_DIMS(3)), ebm_exp(g, input_f32(g, "b", EBM_DIMS(3)))};
    ebm_ref i, in[2], last[2], stacked;
    ebm_graph *body = ebm_repeat_open(g, 6, init, 2, NULL, 0, &i, in, NULL);
    ebm_ref next[] = {ebm_neg(body, in[0]), ebm_sin(body, ebm_add(body, in[0], in[1]))};
    ebm_ref y = ebm_cumsum(body, in[0], 0, false);
    ebm_repeat_close(body, next, &y, 1, false, last, &stacked);
    float a[3] = {1, 2, 3}, b[3] = {4, 5, 6};
    void *data[] = {a, b};
    ebm_plan *plan = make_plan(g, last, 1, (int32_t[]){0}, true);
    CHECK(ebm_plan_n_kernels(plan) == 6 && !ebm_plan_input_used(plan, 1));
    ebm_plan_release(plan);
    check_planned(g, last, 1, NULL, data);
    check_planned(g, last + 1, 1, NULL, data);
    check_planned(g, &stacked, 1, NULL, data);
    ebm_graph_free(g);
}

/* Constant xs and captured values are immediate in the body; a repeated row needs no cursor. */
TEST(plan_repeat_constant_operands)
{
    ebm_graph *g = new_graph();
    ebm_shape row = EBM_DIMS(3), rows = EBM_DIMS(4, 3);
    ebm_ref x0 = input_f32(g, "x", row), i, x, last, in[2];
    ebm_ref xs[] = {ebm_full(g, EBM_F32, &rows, 2), ebm_broadcast_to(g, ebm_exp(g, x0), &rows)};
    ebm_graph *body = ebm_repeat_open(g, 4, &x0, 1, xs, 2, &i, &x, in);
    ebm_ref next = ebm_add(body, ebm_mul(body, x, in[0]), ebm_sin(body, in[1]));
    ebm_repeat_close(body, &next, NULL, 0, false, &last, NULL);
    ebm_plan *plan = make_plan(g, &last, 1, (int32_t[]){0}, true);
    CHECK(ebm_plan_n_kernels(plan) == 1 + 1 + 4); /* exp; sin once; the step */
    ebm_plan_release(plan);
    float data[3] = {0, 1, 2};
    void *given[] = {data};
    check_planned(g, &last, 1, (int32_t[]){0}, given);
    ebm_graph_free(g);
}

/* The value of a loop and its derivatives run one loop, not two, and the reverse one. */
TEST(plan_repeat_twins)
{
    enum { STEPS = 30 };
    ebm_graph *g = new_graph();
    ebm_ref x0 = input_f32(g, "x", EBM_DIMS(5)), i, x, last;
    ebm_graph *body = ebm_repeat_open(g, STEPS, &x0, 1, NULL, 0, &i, &x, NULL);
    ebm_ref next = ebm_sin(body, ebm_scale(body, x, 1.5));
    ebm_repeat_close(body, &next, NULL, 0, false, &last, NULL);
    ebm_ref value = ebm_sum_all(g, last), out[3] = {value};
    ebm_jvp(g, &last, 1, &x0, &x0, 1, &out[2]);
    out[1] = ebm_grad(g, value, x0);
    float data[5] = {0.1f, 0.2f, 0.3f, -1, 2};
    void *in[] = {data};
    ebm_plan *alone = make_plan(g, out, 1, NULL, true),
             *grad = make_plan(g, out + 1, 1, NULL, true);
    ebm_plan *both = make_plan(g, out, 2, NULL, true);
    CHECK(ebm_plan_n_kernels(both) <
          ebm_plan_n_kernels(alone) + ebm_plan_n_kernels(grad) - STEPS / 2);
    ebm_plan_release(alone);
    ebm_plan_release(grad);
    ebm_plan_release(both);
    check_planned(g, out, 3, NULL, in);
    /* A twin that needs the older loop's result stays apart. */
    ebm_jvp(g, &last, 1, &x0, &last, 1, &out[2]);
    check_planned(g, out, 3, NULL, in);
    ebm_graph_free(g);
}

/* ---- threads, polling ---------------------------------------------------------------------------- */

typedef struct shared_plan {
    ebm_plan *plan;
    float scale;
} shared_plan;

static void *run_often(void *context)
{
    shared_plan *s = context;
    ebm_workspace *workspace = NULL;
    CHECK_OK(ebm_workspace_new(&workspace, s->plan));
    for (int turn = 0; turn < 200; turn++) {
        float x[64], y[64];
        for (int i = 0; i < 64; i++) x[i] = s->scale * (float)(turn + i);
        CHECK_OK(ebm_plan_run(workspace, (void *[]){x}, (void *[]){y}, NULL));
        for (int i = 0; i < 64; i++) CHECK(y[i] == 3 * x[63 - i]);
    }
    ebm_workspace_free(workspace);
    return NULL;
}

TEST(plan_two_threads)
{
    ebm_graph *g = new_graph();
    ebm_ref x = input_f32(g, "x", EBM_DIMS(64)), i, c, last;
    x = ebm_concat(g, (ebm_ref[]){ebm_flip(g, x, 0)}, 1, 0);
    ebm_ref init[] = {ebm_zeros_like(g, x)};
    ebm_graph *body = ebm_repeat_open(g, 3, init, 1, NULL, 0, &i, &c, NULL);
    ebm_ref next = ebm_add(body, c, ebm_lift(body, g, x));
    ebm_repeat_close(body, &next, NULL, 0, false, &last, NULL);
    shared_plan a = {make_plan(g, &last, 1, NULL, true), 1}, b = {a.plan, -0.5f};
    ebm_graph_free(g);
    pthread_t one, two;
    CHECK(pthread_create(&one, NULL, run_often, &a) == 0);
    CHECK(pthread_create(&two, NULL, run_often, &b) == 0);
    CHECK(pthread_join(one, NULL) == 0 && pthread_join(two, NULL) == 0);
    ebm_plan_release(a.plan);
}

/* A chain of 256 rows: cut into blocks, which run in lanes. */
TEST(plan_lanes_on_threads)
{
    enum { ROWS = 256, WIDTH = 64 };
    ebm_graph *g = new_graph();
    ebm_shape rows = EBM_DIMS(ROWS, WIDTH), square = EBM_DIMS(WIDTH, WIDTH), two = EBM_DIMS(2);
    ebm_ref x0 = ebm_graph_input(g, "x", EBM_F32, &rows);
    ebm_ref w = ebm_graph_input(g, "w", EBM_F32, &square);
    ebm_ref key = ebm_graph_input(g, "key", EBM_I32, &two), i, x, last, stacked;
    ebm_graph *body = ebm_repeat_open(g, 5, &x0, 1, NULL, 0, &i, &x, NULL);
    ebm_ref here = ebm_fold_in(body, ebm_lift(body, g, key), i);
    ebm_ref n = ebm_normal(body, here, 3, EBM_F32, &rows);
    ebm_ref product = ebm_matmul(body, x, ebm_lift(body, g, w));
    ebm_ref next = ebm_add(body, ebm_tanh(body, product), n);
    ebm_ref ys[] = {ebm_sum_rows(body, x)};
    ebm_repeat_close(body, &next, ys, 1, false, &last, &stacked);
    const ebm_ref outs[] = {last, stacked};
    ebm_plan *plan = make_plan(g, outs, 2, NULL, true);
    CHECK(ebm_plan_n_kernels(plan) > 100); /* those of a block, times the blocks */
    ebm_plan_release(plan);
    float *a = ebm__alloc(ROWS * WIDTH, sizeof *a), *b = ebm__alloc(WIDTH * WIDTH, sizeof *b);
    int32_t k[] = {1, 2};
    for (int32_t j = 0; j < ROWS * WIDTH; j++) a[j] = (float)(j % 17) * 0.1f;
    for (int32_t j = 0; j < WIDTH * WIDTH; j++) b[j] = (float)(j % 13 - 6) * 0.02f;
    void *in[] = {a, b, k};
    for (int threads = 1; threads <= 4; threads++) {
        ebm_set_num_threads(threads);
        check_planned(g, outs, 2, (int32_t[]){0, -1}, in);
        check_planned(g, outs, 2, (int32_t[]){-1, -1}, in);
    }
    ebm_set_num_threads(0);
    ebm__free(a);
    ebm__free(b);
    ebm_graph_free(g);
}

static bool stop_second_time(void *context)
{
    return ++*(int *)context == 2;
}

TEST(plan_cancel)
{
    ebm_graph *g = new_graph();
    ebm_ref x = input_f32(g, "x", EBM_DIMS(4)), i, c, j, d, inner_last, last;
    ebm_graph *body = ebm_repeat_open(g, 10000, &x, 1, NULL, 0, &i, &c, NULL);
    ebm_graph *inner = ebm_repeat_open(body, 1000000, &c, 1, NULL, 0, &j, &d, NULL);
    ebm_ref next = ebm_sin(inner, d);
    ebm_repeat_close(inner, &next, NULL, 0, false, &inner_last, NULL);
    ebm_repeat_close(body, &inner_last, NULL, 0, false, &last, NULL);
    ebm_plan *plan = make_plan(g, &last, 1, NULL, true);
    ebm_workspace *workspace = NULL;
    int asked = 0;
    ebm_poll poll = {.stop = stop_second_time, .context = &asked};
    float a[4] = {1, 2, 3, 4}, b[4];
    CHECK_OK(ebm_workspace_new(&workspace, plan));
    CHECK_STATUS(ebm_plan_run(workspace, (void *[]){a}, (void *[]){b}, &poll), EBM_CANCELLED);
    CHECK(asked == 2);
    ebm_workspace_free(workspace);
    ebm_plan_release(plan);
    ebm_graph_free(g);
}
