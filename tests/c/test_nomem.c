/* test_nomem.c - objects that ran out of memory work as before.
 *
 * tests/package/test_allocation.py finds the public functions that no test treats so. */
#include "plan_check.h"

#include "estimators/score_matching.h"
#include "estimators/trainer.h"
#include "networks/bound.h"
#include "networks/mlp.h"
#include "networks/mlp_generator.h"
#include "plan/profile.h"
#include "samplers/langevin.h"

enum { N = 6, WIDTH = 2 };

/* What a test works on; each test makes some of it. */
typedef struct objects {
    ebm_graph *graph;
    ebm_ref x, y;
    char *text;
    ebm_network *network;
    ebm_bound *bound;
    ebm_sampler *sampler;
    ebm_trainer *trainer;
    float rows[N * WIDTH];
} objects;

typedef ebm_status step(objects *o, double *result);

/* Lets each allocation of `run` fail in turn: NOMEM, and the same objects then give the
 * result of fresh ones.  The runner finds what is left behind. */
static void fail_each(void (*make)(objects *o), step *run)
{
    double want = 0, got = 0;
    ebm_status status = EBM_NOMEM;
    for (int64_t n = -1; status != EBM_OK || n < 1; n++) {
        objects o = {0};
        make(&o);
        ebm__alloc_fail_after(n);
        status = run(&o, n < 0 ? &want : &got);
        ebm__alloc_fail_after(-1);
        if (n < 0) CHECK_OK(status);
        if (status != EBM_OK) {
            CHECK_STATUS(status, EBM_NOMEM);
            CHECK(strstr(ebm_message(), "memory"));
            got = NAN;
            CHECK_OK(run(&o, &got));
        }
        CHECK(n < 0 || got == want);
        CHECK(n < 100000);
        ebm_trainer_free(o.trainer);
        ebm_sampler_free(o.sampler);
        ebm_bound_free(o.bound);
        ebm_network_free(o.network);
        ebm__free(o.text);
        ebm_graph_free(o.graph);
    }
}

static double sum_of(const float *x, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += (double)(i + 1) * x[i];
    return sum;
}

/* ---- graphs ------------------------------------------------------------------------------ */

/* tanh(x w) three times, with a sum of what it went through. */
static void make_graph(objects *o)
{
    ebm_shape square = EBM_DIMS(3, 3);
    o->graph = new_graph();
    o->x = ebm_graph_input(o->graph, "x", EBM_F32, &square);
    ebm_ref i, c, last, stacked;
    ebm_graph *body = ebm_repeat_open(o->graph, 3, &o->x, 1, NULL, 0, &i, &c, NULL);
    ebm_ref w = ebm_lift(body, o->graph, o->x);
    ebm_ref next = ebm_tanh(body, ebm_matmul(body, c, w));
    ebm_repeat_close(body, &next, &c, 1, false, &last, &stacked);
    o->y = ebm_add(o->graph, ebm_sum_all(o->graph, last), ebm_sum_all(o->graph, stacked));
    CHECK_OK(ebm_graph_print(&o->text, o->graph, &o->y, 1));
}

/* A derivative of both modes of what is there, printed: the length of the text. */
static ebm_status differentiate(objects *o, double *result)
{
    ebm_ref slope, both;
    char *text = NULL;
    ebm_graph_clear(o->graph);
    ebm_vjp(o->graph, &o->y, NULL, 1, &o->x, 1, &slope);
    ebm_jvp(o->graph, &slope, 1, &o->x, &o->x, 1, &both);
    EBM_TRY(ebm_graph_status(o->graph));
    EBM_TRY(ebm_graph_print(&text, o->graph, &both, 1));
    *result = (double)strlen(text);
    ebm__free(text);
    return ebm_graph_verify(o->graph);
}

static ebm_status write_a_loop(objects *o, double *result)
{
    ebm_ref i, c, last;
    ebm_shape three = EBM_DIMS(3);
    ebm_tensor *tensor = NULL;
    ebm_graph_clear(o->graph);
    EBM_TRY(ebm_tensor_new(&tensor, ebm_device_cpu(), EBM_F32, &three));
    ebm_graph *body = ebm_repeat_open(o->graph, 4, &o->x, 1, NULL, 0, &i, &c, NULL);
    if (body) {
        ebm_ref next = ebm_add(body, c, ebm_graph_capture(body, tensor));
        ebm_repeat_close(body, &next, NULL, 0, false, &last, NULL);
    }
    ebm_tensor_release(tensor);
    EBM_TRY(ebm_graph_status(o->graph));
    *result = (double)ebm_ref_shape(o->graph, last).dim[0];
    return ebm_graph_verify(o->graph);
}

static ebm_status read_text(objects *o, double *result)
{
    ebm_graph *g = NULL;
    ebm_ref *outs = NULL;
    int32_t n = 0;
    EBM_TRY(ebm_graph_parse(&g, &outs, &n, o->text));
    *result = ebm_graph_count(g) + 0.5 * n;
    ebm__free(outs);
    ebm_graph_free(g);
    return EBM_OK;
}

static ebm_status compile_and_run(objects *o, double *result)
{
    ebm_plan *plan = NULL;
    ebm_workspace *workspace = NULL;
    ebm_plan_options options = {ebm_device_cpu(), true, NULL};
    float x[9] = {0.1f, 0.2f, 0.3f, 0.4f, 0.5f, 0.6f, 0.7f, 0.8f, 0.9f}, y;
    EBM_TRY(ebm_plan_new(&plan, o->graph, &o->y, 1, &options));
    ebm_status status = ebm_workspace_new(&workspace, plan);
    ebm_plan_release(plan);
    if (status == EBM_OK) status = ebm_plan_run(workspace, (void *[]){x}, (void *[]){&y}, NULL);
    ebm_workspace_free(workspace);
    *result = y;
    return status;
}

/* The same under a profile: its text is the result. */
static ebm_status compile_and_profile(objects *o, double *result)
{
    ebm_profile *profile = NULL;
    EBM_TRY(ebm_profile_new(&profile));
    ebm_status status = ebm_profile_start(profile);
    if (status == EBM_OK) status = compile_and_run(o, result);
    for (int64_t k = 0; status == EBM_OK && k < ebm_profile_count(profile); k++)
        *result += (double)strlen(ebm_profile_get(profile, k).text);
    ebm_profile_free(profile);
    return status;
}

TEST(nomem_graphs_work_afterwards)
{
    fail_each(make_graph, differentiate);
    fail_each(make_graph, write_a_loop);
    fail_each(make_graph, read_text);
    fail_each(make_graph, compile_and_run);
    fail_each(make_graph, compile_and_profile);
}

/* ---- networks and samplers --------------------------------------------------------------- */

static void make_parts(objects *o)
{
    ebm_mlp_options mlp = {.hidden = {1, {8}}, .activation = EBM_ACTIVATION_tanh};
    uint64_t seed = 3;
    for (int i = 0; i < N * WIDTH; i++) o->rows[i] = (float)test_uniform(&seed);
    CHECK_OK(ebm_network_new(&o->network, ebm_network_find("mlp"), &mlp));
    CHECK_OK(ebm_sampler_new(&o->sampler, ebm_sampler_find("langevin"), NULL));
}

static void make_bound(objects *o)
{
    ebm_shape row = EBM_DIMS(WIDTH);
    uint32_t key[2] = {1, 2};
    make_parts(o);
    CHECK_OK(ebm_bound_new(&o->bound, o->network, &row, EBM_F32, ebm_device_cpu(), key));
}

static ebm_status bind_again(objects *o, double *result)
{
    ebm_bound *bound = NULL;
    float e[N];
    uint32_t key[2] = {1, 2};
    EBM_TRY(ebm_bound_new(&bound, o->network, ebm_bound_row(o->bound), EBM_F32,
                          ebm_device_cpu(), key));
    ebm_status status = ebm_bound_run(bound, o->rows, N, e, NULL);
    ebm_bound_free(bound);
    *result = sum_of(e, N);
    return status;
}

static ebm_status bind_an_energy(objects *o, double *result)
{
    ebm_bound *bound = NULL;
    ebm_energy energy = ebm_network_energy(o->network);
    float e[N];
    uint32_t key[2] = {1, 2};
    EBM_TRY(ebm_bound_new_energy(&bound, &energy, ebm_bound_row(o->bound), EBM_F32,
                                 ebm_device_cpu(), key));
    ebm_status status = ebm_bound_run(bound, o->rows, N, e, NULL);
    ebm_bound_free(bound);
    *result = sum_of(e, N);
    return status;
}

/* Samples and scores of what is a generator and an energy. */
static ebm_status bind_a_generator(objects *o, double *result)
{
    ebm_network *network = NULL;
    ebm_bound *bound = NULL;
    float x[N * WIDTH], score[N * WIDTH];
    uint32_t key[2] = {1, 2};
    const void *in[2] = {o->rows, o->rows}, *at[1] = {x}; /* the latent is 2 wide as well */
    EBM_TRY(ebm_network_new(&network, ebm_network_find("linear"), NULL));
    ebm_status status = ebm_bound_new(&bound, network, ebm_bound_row(o->bound), EBM_F32,
                                      ebm_device_cpu(), key);
    if (status == EBM_OK) status = ebm_bound_run_face(bound, EBM_FACE_SAMPLE, in, N, x, NULL);
    if (status == EBM_OK)
        status = ebm_bound_run_face(bound, EBM_FACE_SCORE, at, N, score, NULL);
    ebm_bound_free(bound);
    ebm_network_free(network);
    if (status == EBM_OK) *result = sum_of(x, N * WIDTH) + sum_of(score, N * WIDTH);
    return status;
}

/* A generator of the caller. */
static ebm_status bind_the_callers_generator(objects *o, double *result)
{
    ebm_network *network = NULL;
    ebm_bound *bound = NULL;
    ebm_generator generator;
    float x[N * WIDTH];
    uint32_t key[2] = {1, 2};
    const void *in[2] = {o->rows, o->rows};
    EBM_TRY(ebm_network_new(&network, ebm_network_find("linear"), NULL));
    ebm_status status = ebm_network_generator(network, ebm_bound_row(o->bound), &generator);
    if (status == EBM_OK)
        status = ebm_bound_new_generator(&bound, &generator, ebm_bound_row(o->bound), EBM_F32,
                                         ebm_device_cpu(), key);
    if (status == EBM_OK) status = ebm_bound_run_face(bound, EBM_FACE_SAMPLE, in, N, x, NULL);
    ebm_bound_free(bound);
    ebm_network_free(network);
    if (status == EBM_OK) *result = sum_of(x, N * WIDTH);
    return status;
}

/* The training mode of batch norm, as graph code. */
static ebm_status train_a_generator(objects *o, double *result)
{
    ebm_network *network = NULL;
    ebm_bound *bound = NULL;
    ebm_graph *graph = NULL;
    ebm_ref seen[32];
    uint32_t key[2] = {1, 2};
    ebm_shape latents = EBM_DIMS(N, 2);
    EBM_TRY(ebm_network_new(&network, ebm_network_find("mlp_generator"), NULL));
    ebm_status status = ebm_bound_new(&bound, network, ebm_bound_row(o->bound), EBM_F32,
                                      ebm_device_cpu(), key);
    if (status == EBM_OK) status = ebm_graph_new(&graph);
    if (status == EBM_OK) {
        ebm_ref z = ebm_graph_input(graph, "z", EBM_F32, &latents);
        *result = (double)ebm_bound_train(bound, graph, z, EBM_NONE, seen);
        status = ebm_graph_status(graph);
    }
    ebm_graph_free(graph);
    ebm_bound_free(bound);
    ebm_network_free(network);
    return status;
}

static ebm_status evaluate_rows(objects *o, double *result)
{
    float e[N];
    EBM_TRY(ebm_bound_run(o->bound, o->rows, N, e, NULL));
    *result = sum_of(e, N);
    return EBM_OK;
}

/* Two legs of two steps and one more, with trace and reports, or without. */
static ebm_status walk(objects *o, bool info, double *result)
{
    ebm_energy energy = ebm_bound_energy(o->bound);
    ebm_chain_options options = {.device = ebm_device_cpu(),
                                 .dtype = EBM_F32,
                                 .x = EBM_DIMS(N, WIDTH),
                                 .leg = 2,
                                 .rest = 1,
                                 .info = info};
    ebm_chain *chain = NULL;
    float end[N * WIDTH], trace[2 * N * WIDTH], reports[EBM_SAMPLER_MAX][2 * N];
    ebm_chain_run_args args = {.x = o->rows, .key = {5, 6}, .legs = 2, .x_out = end};
    if (info) args.trace = trace;
    for (int k = 0; info && k < EBM_SAMPLER_MAX; k++) args.info[k] = reports[k];
    EBM_TRY(ebm_chain_new(&chain, o->sampler, &energy, &options));
    ebm_status status = ebm_chain_run(chain, &args, NULL);
    ebm_chain_free(chain);
    *result += sum_of(end, N * WIDTH);
    return status;
}

static ebm_status walk_in_every_way(objects *o, double *result)
{
    *result = 0;
    EBM_TRY(walk(o, false, result));
    return walk(o, true, result);
}

TEST(nomem_networks_and_samplers_work_afterwards)
{
    fail_each(make_bound, bind_again);
    fail_each(make_bound, bind_an_energy);
    fail_each(make_bound, bind_a_generator);
    fail_each(make_bound, bind_the_callers_generator);
    fail_each(make_bound, train_a_generator);
    fail_each(make_bound, evaluate_rows);
    fail_each(make_bound, walk_in_every_way);
}

/* ---- trainers ---------------------------------------------------------------------------- */

static void make_trainer_of(objects *o, const ebm_estimator_kind *kind, const void *options)
{
    make_parts(o);
    ebm_trainer_spec spec = {.network = o->network,
                             .estimator = kind,
                             .estimator_options = options,
                             .update = {.optimizer = ebm_optimizer_find("adam")},
                             .sampler = o->sampler,
                             .row = EBM_DIMS(WIDTH),
                             .dtype = EBM_F32,
                             .device = ebm_device_cpu(),
                             .key = {1, 2}};
    ebm_options_init(&ebm_training_table, &spec.training);
    ebm_options_init(&ebm_update_table, &spec.update.options);
    spec.training.batch_size = 4;
    CHECK_OK(ebm_trainer_new(&o->trainer, &spec));
}

static void make_trainer(objects *o)
{
    make_trainer_of(o, ebm_estimator_find("pcd"), NULL);
}

/* Curvature propagation in a loop keeps lists of its own. */
static void make_matcher(objects *o)
{
    ebm_score_matching_options options;
    ebm_options_init(&ebm__estimator_score_matching.options, &options);
    options.kind = EBM_SCORE_MATCHING_curvature;
    options.n_projections = 2;
    make_trainer_of(o, &ebm__estimator_score_matching, &options);
}

/* An energy, a generator and the posterior of its entropy. */
static void make_vera(objects *o)
{
    make_parts(o);
    ebm_network *generator = NULL;
    ebm_mlp_generator_options small;
    ebm_options_init(&ebm_network_find("mlp_generator")->options, &small);
    small.hidden = (ebm_ints){1, {3}};
    CHECK_OK(ebm_network_new(&generator, ebm_network_find("mlp_generator"), &small));
    ebm_update update = {.optimizer = ebm_optimizer_find("adam")};
    ebm_options_init(&ebm_update_table, &update.options);
    update.options.ema = 0.5;
    ebm_trainer_spec spec = {.network = o->network,
                             .estimator = ebm_estimator_find("vera"),
                             .update = update,
                             .entropy = {ebm_entropy_find("importance"), NULL},
                             .part = {{"generator", generator, update},
                                      {"posterior", NULL, update}},
                             .n_parts = 2,
                             .row = EBM_DIMS(WIDTH),
                             .dtype = EBM_F32,
                             .device = ebm_device_cpu(),
                             .key = {1, 2}};
    ebm_options_init(&ebm_training_table, &spec.training);
    spec.training.batch_size = 4;
    CHECK_OK(ebm_trainer_new(&o->trainer, &spec));
    ebm_network_free(generator);
}

/* Three steps, in as many calls as it takes. */
static ebm_status train(objects *o, double *result)
{
    ebm_rows rows = {o->rows, N, WIDTH, WIDTH * sizeof(float), EBM_F32, 1.0, 0.0};
    if (ebm_trainer_steps(o->trainer) == 0) EBM_TRY(ebm_trainer_feed(o->trainer, &rows));
    EBM_TRY(ebm_trainer_run(o->trainer, 3 - ebm_trainer_steps(o->trainer), NULL));
    const ebm_tensor *w = ebm_state_get(ebm_trainer_state(o->trainer), "params.l0.w");
    *result = sum_of(w->data, 8 * WIDTH) + 1e3 * (double)ebm_trainer_n_rows(o->trainer);
    return EBM_OK;
}

TEST(nomem_trainers_work_afterwards)
{
    fail_each(make_trainer, train);
    fail_each(make_matcher, train);
    fail_each(make_vera, train);
}
