/* test_training.c - networks, samplers and estimators from C, without Python in the loop. */
#include "runner.h"

#include "base/alloc.h"
#include "base/threads.h"
#include "estimators/contrastive.h"
#include "estimators/trainer.h"
#include "networks/bound.h"
#include "networks/mlp.h"
#include "ops/ops.h"
#include "samplers/langevin.h"
#include "samplers/replay.h"

#include <stdlib.h>
#include <string.h>

enum { ROWS = 40, WIDTH = 2, STEPS = 300 };

static void fill_rows(float *data)
{
    uint64_t seed = 5;
    for (int i = 0; i < ROWS * WIDTH; i++) data[i] = (float)(2.0 * test_uniform(&seed) - 1.0);
}

static ebm_rows rows_of(const float *data)
{
    return (ebm_rows){data, ROWS, WIDTH, WIDTH * sizeof(float), EBM_F32, 1.0, 0.0};
}

/* A small MLP and 3 Langevin steps, by PCD. */
typedef struct set_up {
    ebm_network *network;
    ebm_sampler *sampler;
    ebm_pcd_options options;
    ebm_trainer *trainer;
    const ebm_energy *energy; /* instead of the network, if it is not NULL */
} set_up;

static ebm_status make_parts(set_up *s)
{
    const ebm_estimator_kind *pcd = ebm_estimator_find("pcd");
    ebm_mlp_options mlp = {.hidden = {1, {8}}, .activation = EBM_ACTIVATION_tanh};
    ebm_langevin_options langevin;
    ebm_options_init(&ebm_sampler_find("langevin")->options, &langevin);
    langevin.n_steps = 3;
    ebm_options_init(&pcd->options, &s->options);
    s->options.buffer_size = 32;
    EBM_TRY(ebm_network_new(&s->network, ebm_network_find("mlp"), &mlp));
    return ebm_sampler_new(&s->sampler, ebm_sampler_find("langevin"), &langevin);
}

static ebm_status make_trainer(set_up *s, double rate, ebm_dtype dtype)
{
    ebm_trainer_spec spec = {
        .network = s->energy ? NULL : s->network,
        .energy = s->energy,
        .estimator = ebm_estimator_find("pcd"),
        .estimator_options = &s->options,
        .update = {.optimizer = ebm_optimizer_find("adam"),
                   .schedule = ebm_schedule_find("cosine")},
        .sampler = s->sampler,
        .row = EBM_DIMS(WIDTH),
        .dtype = dtype,
        .device = ebm_device_cpu(),
        .key = {1, 2},
    };
    ebm_options_init(&ebm_training_table, &spec.training);
    ebm_options_init(&ebm_update_table, &spec.update.options);
    spec.training.batch_size = 16;
    spec.update.options.learning_rate = rate;
    spec.update.options.ema = 0.9;
    return ebm_trainer_new(&s->trainer, &spec);
}

static void tear_down(set_up *s)
{
    ebm_trainer_free(s->trainer);
    ebm_sampler_free(s->sampler);
    ebm_network_free(s->network);
    *s = (set_up){0};
}

/* A checksum of all floats of the state, and whether they are finite. */
static bool state_is_finite(ebm_state *state)
{
    for (int32_t i = 0; i < ebm_state_count(state); i++) {
        const ebm_tensor *tensor = ebm_state_tensor(state, i);
        if (tensor->dtype != EBM_F32 || strncmp(ebm_state_name(state, i), "metrics.", 8) == 0)
            continue;
        const float *value = tensor->data;
        for (int64_t k = 0; k < ebm_shape_size(&tensor->shape); k++)
            if (!isfinite(value[k])) return false;
    }
    return true;
}

TEST(trainer_counts_and_keeps_metrics)
{
    float data[ROWS * WIDTH];
    ebm_rows rows = rows_of(data);
    set_up s = {0};
    fill_rows(data);
    CHECK_OK(make_parts(&s));
    CHECK_OK(make_trainer(&s, 1e-3, EBM_F32));
    CHECK_STATUS(ebm_trainer_run(s.trainer, 1, NULL), EBM_STATE);
    CHECK_OK(ebm_trainer_feed(s.trainer, &rows));
    CHECK_OK(ebm_trainer_run(s.trainer, STEPS, NULL));
    CHECK(ebm_trainer_steps(s.trainer) == STEPS && ebm_trainer_n_rows(s.trainer) == STEPS);
    CHECK(ebm_trainer_n_metrics(s.trainer) == 6);
    CHECK(strcmp(ebm_trainer_metric(s.trainer, 0), "energy_data") == 0);
    const double *metrics = ebm_trainer_rows(s.trainer);
    for (int i = 0; i < STEPS; i++)
        CHECK_CLOSE(metrics[6 * i] - metrics[6 * i + 1], metrics[6 * i + 2], 1e-5);
    const ebm_tensor *age = ebm_state_get(ebm_trainer_state(s.trainer), "buffer.age");
    for (int k = 0; k < 32; k++) CHECK(((int32_t *)age->data)[k] > 0);
    CHECK(state_is_finite(ebm_trainer_state(s.trainer)));
    tear_down(&s);
}

TEST(trainer_gives_the_same_bits_in_parts_and_threads)
{
    float data[ROWS * WIDTH], w[2][WIDTH * 8];
    ebm_rows rows = rows_of(data);
    fill_rows(data);
    for (int run = 0; run < 2; run++) {
        set_up s = {0};
        ebm_set_num_threads(run ? 2 : 1);
        CHECK_OK(make_parts(&s));
        CHECK_OK(make_trainer(&s, 1e-3, EBM_F32));
        CHECK_OK(ebm_trainer_feed(s.trainer, &rows));
        CHECK_OK(ebm_trainer_run(s.trainer, run ? 50 : 17, NULL));
        if (!run) CHECK_OK(ebm_trainer_run(s.trainer, 33, NULL));
        const ebm_tensor *tensor = ebm_state_get(ebm_trainer_state(s.trainer),
                                                 "ema.params.l0.w");
        memcpy(w[run], tensor->data, sizeof w[run]);
        tear_down(&s);
    }
    ebm_set_num_threads(0);
    CHECK(memcmp(w[0], w[1], sizeof w[0]) == 0);
}

TEST(trainer_shuts_the_gate_on_a_bad_step)
{
    float data[ROWS * WIDTH], narrow[ROWS] = {0};
    ebm_rows rows = rows_of(data), bad = {narrow, ROWS, 1, sizeof(float), EBM_F32, 1.0, 0.0};
    set_up s = {0};
    fill_rows(data);
    CHECK_OK(make_parts(&s));
    CHECK_OK(make_trainer(&s, 3e38, EBM_F32));
    CHECK_STATUS(ebm_trainer_feed(s.trainer, &bad), EBM_SHAPE);
    CHECK_OK(ebm_trainer_feed(s.trainer, &rows));
    CHECK_STATUS(ebm_trainer_run(s.trainer, STEPS, NULL), EBM_NUMERIC);
    CHECK(strncmp(ebm_message(), "pcd: step ", 10) == 0);
    int64_t steps = ebm_trainer_steps(s.trainer);
    CHECK(steps < STEPS && ebm_trainer_n_rows(s.trainer) == steps);
    CHECK(state_is_finite(ebm_trainer_state(s.trainer)));
    CHECK_STATUS(ebm_trainer_run(s.trainer, 1, NULL), EBM_NUMERIC);
    CHECK_OK(ebm_trainer_clear(s.trainer, (const uint32_t[]){7, 7}));
    CHECK_STATUS(ebm_trainer_run(s.trainer, STEPS, NULL), EBM_NUMERIC);
    tear_down(&s);
}

/* Arrays written back take the rows of later steps with them. */
TEST(trainer_goes_back_with_its_arrays)
{
    float data[ROWS * WIDTH];
    ebm_rows rows = rows_of(data);
    int32_t ten = 10;
    set_up s = {0};
    fill_rows(data);
    CHECK_OK(make_parts(&s));
    CHECK_OK(make_trainer(&s, 1e-3, EBM_F32));
    CHECK_OK(ebm_trainer_feed(s.trainer, &rows));
    CHECK_OK(ebm_trainer_run(s.trainer, STEPS, NULL));
    double rate = ebm_trainer_rows(s.trainer)[6 * 10 + 5];
    CHECK_CLOSE(rate, 0.5e-3 * (1.0 + cos(3.14159265358979 * 0.01)), 1e-10);
    ebm_state *state = ebm_trainer_state(s.trainer);
    CHECK_OK(ebm_state_write(state, ebm_state_find(state, "step"), &ten, sizeof ten));
    CHECK_OK(ebm_trainer_clear(s.trainer, NULL));
    CHECK(ebm_trainer_steps(s.trainer) == 10 && ebm_trainer_n_rows(s.trainer) == 10);
    CHECK_OK(ebm_trainer_run(s.trainer, 5, NULL));
    CHECK(ebm_trainer_steps(s.trainer) == 15 && ebm_trainer_n_rows(s.trainer) == 15);
    CHECK(ebm_trainer_rows(s.trainer)[6 * 10 + 5] == rate);
    tear_down(&s);
}

TEST(trainer_refuses_bad_specs)
{
    set_up s = {0};
    CHECK_OK(make_parts(&s));
    CHECK_STATUS(make_trainer(&s, -1.0, EBM_F32), EBM_VALUE);
    CHECK_STATUS(make_trainer(&s, 1.0, EBM_I32), EBM_DTYPE);
    s.options.reinit = 2.0;
    CHECK_STATUS(make_trainer(&s, 1.0, EBM_F32), EBM_VALUE);
    CHECK(strcmp(ebm_message(), "pcd: reinit: got 2, expected a number from 0 to 1") == 0);
    s.options.reinit = 0.5;
    s.options.buffer_size = 8;
    CHECK_OK(make_trainer(&s, 1.0, EBM_F32));
    float data[ROWS * WIDTH];
    ebm_rows rows = rows_of(data);
    fill_rows(data);
    CHECK_STATUS(ebm_trainer_feed(s.trainer, &rows), EBM_VALUE);
    CHECK_STATUS(ebm_trainer_run(s.trainer, 1, NULL), EBM_STATE);
    tear_down(&s);
    CHECK(!ebm_network_find("perceptron") && strstr(ebm_message(), "one of: mlp convnet"));
    CHECK(!ebm_sampler_find("gibbs") && !ebm_optimizer_find("lion") && !ebm_estimator_find("gan"));
}

/* Every allocation on the way may fail: NOMEM, and nothing leaks. */
TEST(trainer_without_memory)
{
    float data[ROWS * WIDTH];
    ebm_rows rows = rows_of(data);
    fill_rows(data);
    ebm_status status = EBM_NOMEM;
    for (int64_t n = 0; status != EBM_OK; n += 1 + n / 16) {
        set_up s = {0};
        CHECK(n < 1000000);
        ebm__alloc_fail_after(n);
        status = make_parts(&s);
        if (status == EBM_OK) status = make_trainer(&s, 1e-3, EBM_F64);
        if (status == EBM_OK) status = ebm_trainer_feed(s.trainer, &rows);
        if (status == EBM_OK) status = ebm_trainer_run(s.trainer, 2, NULL);
        ebm__alloc_fail_after(-1);
        if (status != EBM_OK && status != EBM_NOMEM)
            test_fail(__FILE__, __LINE__, "allocation %lld: %s: %s", (long long)n,
                      ebm_status_name(status), ebm_message());
        tear_down(&s);
    }
}

/* ---- samplers ---------------------------------------------------------------------------- */

/* E = sum of squares / 2, which is coupled to the other rows on demand. */
static ebm_ref quadratic(const void *context, const ebm_scope *scope, ebm_graph *g, ebm_ref x)
{
    (void)context, (void)scope;
    return ebm_scale(g, ebm_sum_rows(g, ebm_square(g, x)), 0.5);
}

static ebm_sampler *plain_langevin(double step_size, double noise)
{
    ebm_langevin_options o;
    ebm_sampler *sampler = NULL;
    ebm_options_init(&ebm_sampler_find("langevin")->options, &o);
    o.step_size = step_size;
    o.noise = noise;
    CHECK_CLOSE(ebm_langevin_temperature(&o), noise * noise / (2 * step_size), 0);
    CHECK_OK(ebm_sampler_new(&sampler, ebm_sampler_find("langevin"), &o));
    return sampler;
}

TEST(chain_walks_and_reports)
{
    ebm_energy energy = {.build = quadratic, .rows_independent = true, .name = "quadratic"};
    ebm_sampler *sampler = plain_langevin(0.25, 0.0);
    ebm_chain *chain = NULL;
    double x[3][2] = {{1, 2}, {3, 4}, {-8, 0}}, end[3][2], trace[2][3][2], e[2][3], norm[2][3];
    ebm_chain_run_args args = {.x = x, .legs = 2, .x_out = end, .trace = trace, .info = {e, norm}};
    ebm_chain_options options = {ebm_device_cpu(), EBM_F64, EBM_DIMS(3, 2), 2, 1, true, 0};
    CHECK_OK(ebm_chain_new(&chain, sampler, &energy, &options));
    CHECK_OK(ebm_chain_run(chain, &args, NULL));
    for (int i = 0; i < 3; i++)
        for (int j = 0; j < 2; j++) {
            CHECK_CLOSE(end[i][j], x[i][j] * pow(0.75, 5), 1e-15);
            CHECK_CLOSE(trace[0][i][j], x[i][j] * pow(0.75, 2), 1e-15);
            CHECK_CLOSE(trace[1][i][j], x[i][j] * pow(0.75, 4), 1e-15);
        }
    /* The last step of a leg reports where it began: after 1 and after 3 steps. */
    CHECK_CLOSE(e[0][0], 2.5 * pow(0.75, 2), 1e-15);
    CHECK_CLOSE(e[1][1], 12.5 * pow(0.75, 6), 1e-15);
    CHECK_CLOSE(norm[1][1], 5.0 * pow(0.75, 3), 1e-15);
    ebm_chain_free(chain);
    energy.rows_independent = false;
    CHECK_STATUS(ebm_chain_new(&chain, sampler, &energy, &options), EBM_VALUE);
    CHECK(strstr(ebm_message(), "langevin: energy: got quadratic, whose rows depend"));
    ebm_sampler_free(sampler);
}

/* E plus a draw of its own, the same for every block. */
static ebm_ref noisy(const void *context, const ebm_scope *scope, ebm_graph *g, ebm_ref x)
{
    ebm_shape two = EBM_DIMS(2), rows = EBM_DIMS(ebm_ref_shape(g, x).dim[0]);
    ebm_ref key = ebm_full(g, EBM_I32, &two, 7);
    ebm_ref n = ebm_normal(g, key, 0, ebm_ref_dtype(g, x), &rows);
    return ebm_add(g, quadratic(context, scope, g, x), n);
}

static void run_chain(const ebm_sampler *sampler, int64_t n, int64_t block,
                      const ebm_chain_run_args *args)
{
    ebm_energy energy = {.build = quadratic, .rows_independent = true, .name = "quadratic"};
    ebm_chain *chain = NULL;
    ebm_chain_options options = {ebm_device_cpu(), EBM_F32, EBM_DIMS(n, 3), 2, 1, true, block};
    CHECK_OK(ebm_chain_new(&chain, sampler, &energy, &options));
    CHECK(ebm_chain_block(chain) == (block ? block : n));
    CHECK_OK(ebm_chain_run(chain, args, NULL));
    ebm_chain_free(chain);
}

TEST(chain_in_blocks_has_the_same_bits)
{
    enum { N = 200 };
    static float x[N][3], end[2][N][3], trace[2][2][N][3], e[2][2][N], norm[2][2][N];
    ebm_sampler *sampler = plain_langevin(0.25, 0.5);
    for (int i = 0; i < N * 3; i++) x[i / 3][i % 3] = (float)(i % 17) - 8;
    for (int k = 0; k < 2; k++) {
        ebm_chain_run_args args = {.x = x, .key = {3, 4}, .first = 5, .legs = 2};
        args.x_out = end[k];
        args.trace = trace[k];
        args.info[0] = e[k];
        args.info[1] = norm[k];
        run_chain(sampler, N, k * EBM_CHAIN_BLOCK, &args);
    }
    CHECK(memcmp(end[0], end[1], sizeof end[0]) == 0);
    CHECK(memcmp(trace[0], trace[1], sizeof trace[0]) == 0);
    CHECK(memcmp(e[0], e[1], sizeof e[0]) == 0 && memcmp(norm[0], norm[1], sizeof norm[0]) == 0);
    CHECK(memcmp(end[0][0], end[0][EBM_CHAIN_BLOCK], sizeof end[0][0]) != 0);

    ebm_energy energy = {.build = noisy, .rows_independent = true, .name = "noisy"};
    ebm_chain *chain = NULL;
    ebm_chain_options options = {ebm_device_cpu(), EBM_F32, EBM_DIMS(N, 3), 1, 0, false, 64};
    CHECK_STATUS(ebm_chain_new(&chain, sampler, &energy, &options), EBM_VALUE);
    CHECK(strstr(ebm_message(), "the energy draws random numbers"));
    options.block = 65;
    CHECK_STATUS(ebm_chain_new(&chain, sampler, &energy, &options), EBM_VALUE);
    ebm_sampler_free(sampler);
}

/* A sampler with a memory: v' = v - grad E, x' = x + v'. */
static void still(const ebm_walk *walk, ebm_graph *g, ebm_ref x, ebm_ref *carry)
{
    (void)walk;
    carry[1] = ebm_zeros_like(g, x);
}

static void swing(const ebm_walk *walk, ebm_graph *g, ebm_ref key, const ebm_ref *carry,
                  ebm_ref *carry_next, ebm_ref *info)
{
    (void)key;
    info[0] = ebm_energy_build(walk->energy, walk->scope, g, carry[0]);
    carry_next[1] = ebm_sub(g, carry[1], ebm_grad(g, info[0], carry[0]));
    carry_next[0] = ebm_add(g, carry[0], carry_next[1]);
}

TEST(chain_carries_memory_from_leg_to_leg)
{
    ebm_sampler_kind kind = *ebm_sampler_find("langevin");
    kind.n_carry = 2;
    kind.n_info = 1;
    kind.init = still;
    kind.step = swing;
    ebm_energy energy = {.build = quadratic, .rows_independent = true, .name = "quadratic"};
    ebm_sampler *sampler = NULL;
    ebm_chain *chain = NULL;
    CHECK_OK(ebm_sampler_new(&sampler, &kind, NULL));
    double x[2] = {1, -2}, end[2], trace[2][2], e[2][2];
    ebm_chain_run_args args = {.x = x, .legs = 2, .x_out = end, .trace = trace, .info = {e}};
    ebm_chain_options options = {ebm_device_cpu(), EBM_F64, EBM_DIMS(2, 1), 2, 1, true, 0};
    CHECK_OK(ebm_chain_new(&chain, sampler, &energy, &options));
    for (int run = 0; run < 2; run++) {
        CHECK_OK(ebm_chain_run(chain, &args, NULL));
        /* From x, v = 0: x goes 0, -x, -x, 0, x. */
        for (int i = 0; i < 2; i++)
            CHECK(trace[0][i] == -x[i] && trace[1][i] == 0 && end[i] == x[i]);
        CHECK(e[0][1] == 0 && e[1][1] == 2);
    }
    ebm_chain_free(chain);
    ebm_sampler_free(sampler);
}

TEST(chain_survives_failed_allocations)
{
    ebm_energy energy = {.build = quadratic, .rows_independent = true, .name = "quadratic"};
    ebm_sampler *sampler = plain_langevin(0.25, 0.0);
    double x[3][2] = {{1, 2}, {3, 4}, {-8, 0}}, end[3][2], trace[2][3][2], e[2][3], norm[2][3];
    ebm_chain_run_args args = {.x = x, .legs = 2, .x_out = end, .trace = trace, .info = {e, norm}};
    ebm_chain_options options = {ebm_device_cpu(), EBM_F64, EBM_DIMS(3, 2), 2, 1, true, 0};
    int64_t live = ebm__alloc_live();
    ebm_status status = EBM_NOMEM;
    for (int64_t n = 0; status != EBM_OK; n++) {
        ebm_chain *chain = NULL;
        ebm__alloc_fail_after(n);
        status = ebm_chain_new(&chain, sampler, &energy, &options);
        ebm__alloc_fail_after(-1);
        CHECK(status == EBM_OK || (status == EBM_NOMEM && !chain));
        if (status == EBM_OK) CHECK_OK(ebm_chain_run(chain, &args, NULL));
        ebm_chain_free(chain);
        CHECK(ebm__alloc_live() == live);
    }
    CHECK_CLOSE(end[2][0], -8 * pow(0.75, 5), 1e-15);
    ebm_sampler_free(sampler);
}

/* What lasts beside x goes out of a run and into the next; what follows from x is made anew. */
TEST(chain_goes_on_from_what_another_left)
{
    enum { N = 3 };
    ebm_energy energy = {quadratic, NULL, true, "quadratic", false};
    ebm_chain_options options = {ebm_device_cpu(), EBM_F64, EBM_DIMS(N, 2), 2, 0, false, 0};
    for (int which = 0; which < 2; which++) {
        const ebm_sampler_kind *kind = ebm_sampler_find(which ? "hmc" : "mala");
        double x[N][2] = {{1, 2}, {3, 4}, {-8, 0}}, whole[N][2], half[N][2], end[N][2];
        double sizes[N], average[N], error[N];
        int32_t count[N];
        ebm_sampler *sampler = NULL;
        void *values = NULL;
        CHECK_OK(ebm_options_copy(&values, &kind->options, NULL));
        CHECK_OK(ebm_options_set_word(&kind->options, values, "adapt", "dual_averaging"));
        CHECK_OK(ebm_sampler_new(&sampler, kind, values));
        ebm_status status = EBM_NOMEM;
        int64_t live = ebm__alloc_live();
        for (int64_t n = 0; status != EBM_OK; n++) {
            ebm_chain *chain = NULL;
            ebm__alloc_fail_after(n);
            status = ebm_chain_new(&chain, sampler, &energy, &options);
            ebm__alloc_fail_after(-1);
            ebm_chain_run_args args = {.x = x, .legs = 2, .x_out = whole};
            if (status == EBM_OK) CHECK_OK(ebm_chain_run(chain, &args, NULL));
            args = (ebm_chain_run_args){.x = x, .legs = 1, .x_out = half};
            void *left[] = {NULL, sizes, average, error, count};
            memcpy(args.carry_out, left, sizeof left);
            if (status == EBM_OK) CHECK_OK(ebm_chain_run(chain, &args, NULL));
            args = (ebm_chain_run_args){.x = half, .first = 2, .legs = 1, .x_out = end};
            memcpy(args.carry, left, sizeof left);
            if (status == EBM_OK) CHECK_OK(ebm_chain_run(chain, &args, NULL));
            if (status == EBM_OK) CHECK(memcmp(whole, end, sizeof end) == 0);
            half[1][0] = INFINITY;
            args.first = 0;
            if (status == EBM_OK) CHECK(ebm_chain_run(chain, &args, NULL) == EBM_NUMERIC);
            ebm_chain_free(chain);
            CHECK(ebm__alloc_live() == live);
        }
        CHECK(count[0] == 2 && sizes[2] > 0 && average[1] != error[1]);
        ebm_sampler_free(sampler);
        ebm__free(values);
    }
}

/* A chain is differentiable: x_K = (1 - a)^K x_0 for the quadratic energy without noise. */
TEST(chain_is_differentiable)
{
    enum { K = 7 };
    ebm_energy energy = {.build = quadratic, .rows_independent = true, .name = "quadratic"};
    ebm_langevin_options o;
    ebm_sampler *sampler = NULL;
    ebm_graph *g = NULL;
    ebm_plan *plan = NULL;
    ebm_workspace *workspace = NULL;
    ebm_options_init(&ebm_sampler_find("langevin")->options, &o);
    o.step_size = 0.1;
    CHECK_OK(ebm_sampler_new(&sampler, ebm_sampler_find("langevin"), &o));
    CHECK_OK(ebm_graph_new(&g));
    ebm_shape shape = EBM_DIMS(2, 3), two = EBM_DIMS(2);
    ebm_ref x = ebm_graph_input(g, "x", EBM_F64, &shape);
    ebm_ref key = ebm_graph_input(g, "key", EBM_I32, &two);
    ebm_ref end = ebm_sampler_chain(sampler, &energy, NULL, g, x, key, EBM_NONE, K, NULL);
    ebm_ref grad = ebm_grad(g, ebm_sum_all(g, end), x);
    ebm_plan_options options = {ebm_device_cpu(), true, NULL};
    CHECK_OK(ebm_plan_new(&plan, g, &grad, 1, &options));
    CHECK_OK(ebm_workspace_new(&workspace, plan));
    double start[6] = {1, 2, 3, 4, 5, 6}, got[6];
    uint32_t words[2] = {3, 4};
    void *in[2] = {start, words}, *out[1] = {got};
    CHECK_OK(ebm_plan_run(workspace, in, out, NULL));
    for (int i = 0; i < 6; i++) CHECK_CLOSE(got[i], pow(0.9, K), 1e-14);
    ebm_workspace_free(workspace);
    ebm_plan_release(plan);
    ebm_graph_free(g);
    ebm_sampler_free(sampler);
}

/* ---- the replay buffer ------------------------------------------------------------------- */

TEST(replay_draws_distinct_slots_evenly)
{
    /* 24,000 batches of 7 from 40 slots: each slot is drawn 4,200 times on average.  Within a
     * batch slots are distinct, so counts are binomial (24,000, 7/40), deviation 59: 320 is 5.4
     * of them, a false-alarm rate of 3e-6 for the 40 slots. */
    enum { CAPACITY = 40, B = 7, DRAWS = 24000 };
    ebm_replay_options o = {CAPACITY, 0.25, EBM_REPLAY_NORMAL};
    ebm_graph *g = NULL;
    ebm_plan *plan = NULL;
    ebm_workspace *workspace = NULL;
    ebm_shape buffer = EBM_DIMS(CAPACITY, 1), age = EBM_DIMS(CAPACITY), data = EBM_DIMS(B, 1),
              two = EBM_DIMS(2);
    CHECK_OK(ebm_graph_new(&g));
    ebm_ref buffer_ref = ebm_graph_input(g, "x", EBM_F32, &buffer);
    ebm_ref age_ref = ebm_graph_input(g, "age", EBM_I32, &age);
    ebm_ref key_ref = ebm_graph_input(g, "key", EBM_I32, &two);
    ebm_ref data_ref = ebm_graph_input(g, "data", EBM_F32, &data);
    ebm_replay_draw draw = ebm_replay_build(&o, g, buffer_ref, age_ref, key_ref, data_ref);
    ebm_ref outs[3] = {draw.slots, draw.starts, draw.age};
    ebm_plan_options options = {ebm_device_cpu(), true, NULL};
    CHECK_OK(ebm_plan_new(&plan, g, outs, 3, &options));
    CHECK_OK(ebm_workspace_new(&workspace, plan));
    float x[CAPACITY], rows[B] = {0}, starts[B];
    int32_t ages[CAPACITY], slots[B], new_age[B], count[CAPACITY] = {0}, anew = 0;
    uint32_t key[2] = {9, 0};
    for (int k = 0; k < CAPACITY; k++) {
        x[k] = (float)(1000 + k);
        ages[k] = k == 3 ? 0 : 60 + k;
    }
    void *in[4] = {x, ages, key, rows}, *out[3] = {slots, starts, new_age};
    for (key[1] = 0; key[1] < DRAWS; key[1]++) {
        bool seen[CAPACITY] = {0};
        CHECK_OK(ebm_plan_run(workspace, in, out, NULL));
        for (int b = 0; b < B; b++) {
            int32_t slot = slots[b];
            CHECK(slot >= 0 && slot < CAPACITY && !seen[slot]);
            seen[slot] = true;
            count[slot]++;
            CHECK(slot != 3 || new_age[b] == 0);
            CHECK(new_age[b] == 0 ? fabsf(starts[b]) < 10 : starts[b] == (float)(1000 + slot));
            CHECK(new_age[b] == 0 || new_age[b] == 60 + slot);
            if (slot != 3) anew += new_age[b] == 0;
        }
    }
    for (int k = 0; k < CAPACITY; k++) CHECK(abs(count[k] - DRAWS * B / CAPACITY) < 320);
    double others = (double)DRAWS * B - count[3];
    CHECK(fabs(anew / others - 0.25) < 5 * sqrt(0.25 * 0.75 / others));
    ebm_workspace_free(workspace);
    ebm_plan_release(plan);
    ebm_graph_free(g);
}

/* ---- networks ---------------------------------------------------------------------------- */

TEST(bound_network_runs_and_is_checked)
{
    ebm_network *network = NULL;
    ebm_bound *bound = NULL;
    ebm_shape row = EBM_DIMS(3), images = EBM_DIMS(8, 8, 1);
    uint32_t key[2] = {1, 1};
    double x[9] = {0}, e[3] = {1, 1, 1};
    CHECK_OK(ebm_network_new(&network, ebm_network_find("mlp"), NULL));
    CHECK_STATUS(ebm_bound_new(&bound, network, &row, EBM_I32, ebm_device_cpu(), key), EBM_DTYPE);
    CHECK_OK(ebm_bound_new(&bound, network, &row, EBM_F64, ebm_device_cpu(), key));
    CHECK(ebm_bound_params(bound)->n == 6);
    CHECK(ebm_params_count(ebm_bound_params(bound)) == 3 * 128 + 128 + 128 * 128 + 128 + 128 + 1);
    CHECK_OK(ebm_bound_run(bound, x, 3, e, NULL));
    CHECK(e[0] == 0.0 && e[2] == 0.0); /* swish(0) = 0, biases start at 0 */
    ebm_bound_free(bound);
    ebm_network_free(network);
    CHECK_OK(ebm_network_new(&network, ebm_network_find("convnet"), NULL));
    CHECK_STATUS(ebm_bound_new(&bound, network, &row, EBM_F32, ebm_device_cpu(), key), EBM_SHAPE);
    CHECK_OK(ebm_bound_new(&bound, network, &images, EBM_F32, ebm_device_cpu(), key));
    ebm_bound_free(bound);
    ebm_network_free(network);
}

TEST(bound_energy_of_the_caller_equals_the_network)
{
    ebm_network *network = NULL;
    ebm_bound *bound[2] = {0};
    ebm_shape row = EBM_DIMS(3);
    uint32_t key[2] = {1, 1};
    double x[9], e[2][3];
    for (int i = 0; i < 9; i++) x[i] = 0.3 * i - 1;
    CHECK_OK(ebm_network_new(&network, ebm_network_find("mlp"), NULL));
    ebm_energy energy = ebm_network_energy(network);
    CHECK_OK(ebm_bound_new(&bound[0], network, &row, EBM_F64, ebm_device_cpu(), key));
    CHECK_OK(ebm_bound_new_energy(&bound[1], &energy, &row, EBM_F64, ebm_device_cpu(), key));
    for (int k = 0; k < 2; k++) CHECK_OK(ebm_bound_run(bound[k], x, 3, e[k], NULL));
    CHECK(memcmp(e[0], e[1], sizeof e[0]) == 0);
    for (int k = 0; k < 2; k++) ebm_bound_free(bound[k]);
    ebm_network_free(network);
}

TEST(bound_generator_of_the_caller_equals_the_network)
{
    ebm_network *network = NULL;
    ebm_bound *bound[2] = {0};
    ebm_generator generator;
    ebm_shape row = EBM_DIMS(3), other = EBM_DIMS(5);
    uint32_t key[2] = {1, 1};
    double z[8], x[2][12];
    const void *in[EBM_FACE_INPUTS] = {z, NULL};
    for (int i = 0; i < 8; i++) z[i] = 0.3 * i - 1;
    CHECK_OK(ebm_network_new(&network, ebm_network_find("mlp_generator"), NULL));
    CHECK_OK(ebm_network_generator(network, &other, &generator)); /* its row is not taken */
    CHECK_OK(ebm_bound_new(&bound[0], network, &row, EBM_F64, ebm_device_cpu(), key));
    CHECK_OK(ebm_bound_new_generator(&bound[1], &generator, &row, EBM_F64, ebm_device_cpu(), key));
    for (int k = 0; k < 2; k++)
        CHECK_OK(ebm_bound_run_face(bound[k], EBM_FACE_MEAN, in, 4, x[k], NULL));
    CHECK(memcmp(x[0], x[1], sizeof x[0]) == 0);
    CHECK(!ebm_bound_is_energy(bound[1]) && ebm_bound_generator(bound[1])->noisy);
    CHECK_STATUS(ebm_bound_run(bound[1], x[0], 4, x[1], NULL), EBM_VALUE);
    for (int k = 0; k < 2; k++) ebm_bound_free(bound[k]);
    ebm_network_free(network);
}

TEST(trainer_takes_an_energy_of_the_caller)
{
    float data[ROWS * WIDTH], w[2][WIDTH * 8];
    ebm_rows rows = rows_of(data);
    fill_rows(data);
    for (int k = 0; k < 2; k++) {
        set_up s = {0};
        CHECK_OK(make_parts(&s));
        ebm_energy energy = ebm_network_energy(s.network);
        if (k == 1) s.energy = &energy;
        CHECK_OK(make_trainer(&s, 1e-3, EBM_F32));
        CHECK_OK(ebm_trainer_feed(s.trainer, &rows));
        CHECK_OK(ebm_trainer_run(s.trainer, 5, NULL));
        const ebm_tensor *trained = ebm_state_get(ebm_trainer_state(s.trainer), "params.l0.w");
        CHECK(ebm_tensor_bytes(trained) == sizeof w[k]);
        memcpy(w[k], trained->data, sizeof w[k]);
        tear_down(&s);
    }
    CHECK(memcmp(w[0], w[1], sizeof w[0]) == 0);
}
