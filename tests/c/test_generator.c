/* test_generator.c - scopes with statistics and dropout, generators. */
#include "runner.h"

#include "networks/layers.h"
#include "networks/mlp_generator.h"
#include "plan/plan.h"

#include <string.h>

enum { N = 6, LATENT = 2, MAX_PARAMS = 16 };

/* A generator with its parameters as inputs of a graph, and numbers for them. */
typedef struct set_up {
    ebm_network *network;
    ebm_generator gen;
    ebm_params params;
    ebm_graph *g;
    ebm_scope scope;
    ebm_ref refs[MAX_PARAMS], seen[MAX_PARAMS], z;
    double arrays[MAX_PARAMS][16], zs[N][LATENT];
    void *in[MAX_PARAMS + 1];
} set_up;

static void make(set_up *s, ebm_ints hidden, int64_t norm, ebm_shape row)
{
    uint64_t seed = 3;
    ebm_mlp_generator_options o;
    ebm_options_init(&ebm_network_find("mlp_generator")->options, &o);
    o.latent = LATENT, o.hidden = hidden, o.norm = norm, o.sigma = 0.5;
    CHECK_OK(ebm_network_new(&s->network, ebm_network_find("mlp_generator"), &o));
    CHECK_OK(ebm_network_generator(s->network, &row, &s->gen));
    CHECK_OK(ebm_generator_list(&s->gen, EBM_F64, &s->params));
    CHECK(s->params.n <= MAX_PARAMS);
    CHECK_OK(ebm_graph_new(&s->g));
    for (int64_t k = 0; k < s->params.n; k++) {
        const ebm_param *param = &s->params.at[k];
        CHECK(ebm_shape_size(&param->shape) <= 16);
        s->refs[k] = ebm_graph_input(s->g, param->name, EBM_F64, &param->shape);
        s->in[k] = s->arrays[k];
        for (int i = 0; i < 16; i++) s->arrays[k][i] = 0.1 + test_uniform(&seed);
    }
    ebm_shape latents = EBM_DIMS(N, LATENT);
    s->z = ebm_graph_input(s->g, "z", EBM_F64, &latents);
    s->in[s->params.n] = s->zs;
    for (int i = 0; i < N; i++)
        for (int j = 0; j < LATENT; j++) s->zs[i][j] = 2 * test_uniform(&seed) - 1;
    s->scope = (ebm_scope){.params = &s->params, .owner = s->g, .refs = s->refs, .seen = s->seen};
}

static void run(set_up *s, ebm_ref out, double *value)
{
    ebm_plan *plan = NULL;
    ebm_workspace *workspace = NULL;
    ebm_plan_options options = {ebm_device_cpu(), true, NULL};
    void *outs[1] = {value};
    CHECK_OK(ebm_plan_new(&plan, s->g, &out, 1, &options));
    CHECK_OK(ebm_workspace_new(&workspace, plan));
    CHECK_OK(ebm_plan_run(workspace, s->in, outs, NULL));
    ebm_workspace_free(workspace);
    ebm_plan_release(plan);
}

static void tear_down(set_up *s)
{
    ebm_graph_free(s->g);
    ebm_params_fini(&s->params);
    ebm_network_free(s->network);
}

static int64_t index_of(const set_up *s, const char *name)
{
    for (int64_t k = 0; k < s->params.n; k++)
        if (strcmp(s->params.at[k].name, name) == 0) return k;
    test_fail(__FILE__, __LINE__, "no parameter '%s'", name);
}

TEST(generator_lists_parameters_and_statistics)
{
    static const char *const names[] = {"l0.w",   "l0.b", "n0.g", "n0.b",     "n0.mean",
                                        "n0.var", "l1.w", "l1.b", "log_sigma"};
    set_up s = {0};
    make(&s, (ebm_ints){1, {3}}, EBM_GENERATOR_NORM_BATCH, EBM_DIMS(2, 2));
    CHECK(s.params.n == 9);
    for (int k = 0; k < 9; k++) {
        CHECK(strcmp(s.params.at[k].name, names[k]) == 0);
        CHECK(s.params.at[k].statistic == (k == 4 || k == 5));
    }
    CHECK(s.params.at[8].shape.rank == 0);
    CHECK_CLOSE(s.params.at[8].init.constant, log(0.5), 1e-15);
    CHECK(s.params.at[5].init.constant == 1.0);
    tear_down(&s);
}

TEST(batch_norm_in_its_three_modes)
{
    set_up s = {0};
    double batch[N][2], kept[N][2], other[N][2], mean[3], sum = 0;
    make(&s, (ebm_ints){1, {3}}, EBM_GENERATOR_NORM_BATCH, EBM_DIMS(2));
    int64_t at = index_of(&s, "n0.mean");
    ebm_ref of_kept = ebm_generator_mean(&s.gen, &s.scope, s.g, s.z);
    CHECK(s.seen[at] == 0); /* nothing is seen in evaluation */
    s.scope.statistics = EBM_STATISTICS_BATCH;
    ebm_ref of_batch = ebm_generator_mean(&s.gen, &s.scope, s.g, s.z);
    CHECK(s.seen[at] != 0 && s.seen[at] != s.refs[at] && s.seen[at - 1] == 0);
    run(&s, s.seen[at], mean);
    const double *w = s.arrays[index_of(&s, "l0.w")], *b = s.arrays[index_of(&s, "l0.b")];
    for (int i = 0; i < N; i++) sum += s.zs[i][0] * w[0] + s.zs[i][1] * w[3] + b[0];
    CHECK_CLOSE(mean[0], sum / N, 1e-14);
    run(&s, of_kept, kept[0]);
    run(&s, of_batch, batch[0]);
    CHECK(memcmp(kept, batch, sizeof kept) != 0);
    /* What another pass has seen, in place of what is kept. */
    ebm_ref replaced[MAX_PARAMS];
    for (int64_t k = 0; k < s.params.n; k++)
        replaced[k] = s.params.at[k].statistic ? s.seen[k] : s.refs[k];
    ebm_scope scope = {.params = &s.params, .owner = s.g, .refs = replaced};
    run(&s, ebm_generator_mean(&s.gen, &scope, s.g, s.z), other[0]);
    CHECK(memcmp(other, batch, sizeof other) == 0);
    tear_down(&s);
}

TEST(dropout_wants_a_key)
{
    enum { ROWS = 400, WIDTH = 50 };
    static double out[ROWS * WIDTH], out_2[ROWS * WIDTH];
    set_up s = {0};
    make(&s, (ebm_ints){0}, EBM_GENERATOR_NORM_NONE, EBM_DIMS(1));
    ebm_shape shape = EBM_DIMS(ROWS, WIDTH), two = EBM_DIMS(2);
    ebm_ref x = ebm_full(s.g, EBM_F64, &shape, 3.0);
    CHECK(ebm_layer_dropout(&s.scope, s.g, "l0", x, 0.25) == x);
    s.scope.key = EBM_NONE;
    CHECK(ebm_layer_dropout(&s.scope, s.g, "l0", x, 0.25) == x);
    s.scope.key = ebm_full(s.g, EBM_I32, &two, 5);
    CHECK(ebm_layer_dropout(&s.scope, s.g, "l0", x, 0.0) == x);
    run(&s, ebm_layer_dropout(&s.scope, s.g, "l0", x, 0.25), out);
    run(&s, ebm_layer_dropout(&s.scope, s.g, "l1", x, 0.25), out_2);
    int dropped = 0, both = 0;
    for (int i = 0; i < ROWS * WIDTH; i++) {
        CHECK(out[i] == 0.0 || out[i] == 4.0);
        dropped += out[i] == 0.0;
        both += out[i] == 0.0 && out_2[i] == 0.0;
    }
    /* Within 6 deviations of binomials: false alarms 4e-9 for a fresh key. */
    CHECK_CLOSE(dropped / 20000.0, 0.25, 6 * sqrt(0.25 * 0.75 / 20000));
    CHECK_CLOSE(both / 20000.0, 0.0625, 6 * sqrt(0.0625 * 0.9375 / 20000));
    tear_down(&s);
}

TEST(generator_has_the_joint_density)
{
    set_up s = {0};
    double joint[N], rows[N][3];
    make(&s, (ebm_ints){0}, EBM_GENERATOR_NORM_NONE, EBM_DIMS(3, 1));
    double log_sigma = s.arrays[index_of(&s, "log_sigma")][0];
    ebm_ref mean = ebm_generator_mean(&s.gen, &s.scope, s.g, s.z);
    ebm_ref eps = ebm_full_like(s.g, mean, 0.7);
    ebm_ref x = ebm_generator_sample(&s.gen, &s.scope, s.g, s.z, eps);
    run(&s, ebm_sub(s.g, x, mean), rows[0]);
    for (int i = 0; i < N; i++) CHECK_CLOSE(rows[i][2], 0.7 * exp(log_sigma), 1e-15);
    run(&s, ebm_generator_log_joint(&s.gen, &s.scope, s.g, x, s.z), joint);
    for (int i = 0; i < N; i++) {
        double z2 = s.zs[i][0] * s.zs[i][0] + s.zs[i][1] * s.zs[i][1];
        double expected = -0.5 * (3 * 0.49 + z2) - 3 * log_sigma - 2.5 * log(2 * acos(-1.0));
        CHECK_CLOSE(joint[i], expected, 1e-13);
    }
    tear_down(&s);
}

TEST(generator_refuses)
{
    set_up s = {0};
    ebm_network *mlp = NULL;
    ebm_generator gen;
    ebm_params params = {0};
    make(&s, (ebm_ints){0}, EBM_GENERATOR_NORM_NONE, EBM_DIMS(3));
    ebm_shape wide = EBM_DIMS(N, LATENT + 1), row = EBM_DIMS(3);
    ebm_ref z = ebm_graph_input(s.g, "wide", EBM_F64, &wide);
    CHECK(ebm_generator_mean(&s.gen, &s.scope, s.g, z) == EBM_POISON);
    CHECK_STATUS(ebm_graph_status(s.g), EBM_SHAPE);
    CHECK(strstr(ebm_message(), "mlp_generator: z: got (6, 3), expected (N, 2)"));
    CHECK_OK(ebm_network_new(&mlp, ebm_network_find("mlp"), NULL));
    CHECK_STATUS(ebm_network_generator(mlp, &row, &gen), EBM_VALUE);
    CHECK(strstr(ebm_message(), "mlp: got an energy, expected a generator"));
    ebm_energy energy = ebm_network_energy(s.network);
    CHECK_STATUS(ebm_energy_list(&energy, &row, EBM_F32, &params), EBM_VALUE);
    CHECK(strstr(ebm_message(), "mlp_generator: got a generator, expected an energy"));
    ebm_network_free(mlp);
    ebm_params_fini(&params);
    tear_down(&s);
}
