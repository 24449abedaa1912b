/* test_together.c - a training run beside sampling runs, for thread sanitizers too. */
#define _GNU_SOURCE
#include "runner.h"

#include "base/threads.h"
#include "estimators/trainer.h"
#include "networks/bound.h"
#include "networks/mlp.h"
#include "samplers/langevin.h"

#include <pthread.h>
#include <string.h>

/* Products of ROWS x HIDDEN x HIDDEN are just enough to wake the pool. */
enum { ROWS = 128, WIDTH = 2, HIDDEN = 64, STEPS = 10 };

typedef struct work {
    ebm_network *network;
    ebm_sampler *sampler;
    ebm_bound *bound;
    float rows[ROWS * WIDTH], trained[WIDTH * HIDDEN], walked[ROWS * WIDTH], energies[ROWS];
} work;

static void *train(void *context)
{
    work *w = context;
    ebm_trainer *trainer = NULL;
    ebm_rows rows = {w->rows, ROWS, WIDTH, WIDTH * sizeof(float), EBM_F32, 1.0, 0.0};
    ebm_trainer_spec spec = {.network = w->network,
                             .estimator = ebm_estimator_find("pcd"),
                             .update = {.optimizer = ebm_optimizer_find("adam")},
                             .sampler = w->sampler,
                             .row = EBM_DIMS(WIDTH),
                             .dtype = EBM_F32,
                             .device = ebm_device_cpu(),
                             .key = {1, 2}};
    ebm_options_init(&ebm_training_table, &spec.training);
    ebm_options_init(&ebm_update_table, &spec.update.options);
    CHECK_OK(ebm_trainer_new(&trainer, &spec));
    CHECK_OK(ebm_trainer_feed(trainer, &rows));
    CHECK_OK(ebm_trainer_run(trainer, STEPS, NULL));
    ebm_tensor *first = ebm_state_get(ebm_trainer_state(trainer), "params.l0.w");
    memcpy(w->trained, first->data, sizeof w->trained);
    ebm_trainer_free(trainer);
    return NULL;
}

static void *walk(void *context)
{
    work *w = context;
    ebm_energy energy = ebm_bound_energy(w->bound);
    ebm_chain_options options = {.device = ebm_device_cpu(),
                                 .dtype = EBM_F32,
                                 .x = EBM_DIMS(ROWS, WIDTH),
                                 .leg = STEPS};
    ebm_chain_run_args args = {.x = w->rows, .key = {5, 6}, .legs = 1, .x_out = w->walked};
    ebm_chain *chain = NULL;
    CHECK_OK(ebm_chain_new(&chain, w->sampler, &energy, &options));
    for (int turn = 0; turn < 3; turn++) CHECK_OK(ebm_chain_run(chain, &args, NULL));
    ebm_chain_free(chain);
    CHECK_OK(ebm_bound_run(w->bound, w->rows, ROWS, w->energies, NULL));
    return NULL;
}

static void make(work *w)
{
    ebm_langevin_options langevin;
    ebm_mlp_options mlp = {.hidden = {2, {HIDDEN, HIDDEN}}, .activation = EBM_ACTIVATION_tanh};
    ebm_shape row = EBM_DIMS(WIDTH);
    uint64_t seed = 3;
    for (int i = 0; i < ROWS * WIDTH; i++) w->rows[i] = (float)test_uniform(&seed);
    CHECK_OK(ebm_network_new(&w->network, ebm_network_find("mlp"), &mlp));
    ebm_options_init(&ebm_sampler_find("langevin")->options, &langevin);
    langevin.n_steps = 5;
    CHECK_OK(ebm_sampler_new(&w->sampler, ebm_sampler_find("langevin"), &langevin));
    CHECK_OK(ebm_bound_new(&w->bound, w->network, &row, EBM_F32, ebm_device_cpu(),
                           (const uint32_t[]){1, 2}));
}

static void unmake(work *w)
{
    ebm_bound_free(w->bound);
    ebm_sampler_free(w->sampler);
    ebm_network_free(w->network);
}

/* Two trainers and two walks at once, on one network, give the bits of each alone. */
TEST(together_in_threads_as_alone)
{
    work alone = {0}, beside[2] = {0};
    pthread_t threads[4];
    make(&alone);
    train(&alone);
    walk(&alone);
    for (int k = 0; k < 2; k++) {
        beside[k] = alone;
        memset(beside[k].trained, 0, sizeof beside[k].trained);
        memset(beside[k].walked, 0, sizeof beside[k].walked);
        CHECK(pthread_create(&threads[2 * k], NULL, train, &beside[k]) == 0);
        CHECK(pthread_create(&threads[2 * k + 1], NULL, walk, &beside[k]) == 0);
    }
    for (int k = 0; k < 4; k++) CHECK(pthread_join(threads[k], NULL) == 0);
    for (int k = 0; k < 2; k++) {
        CHECK(memcmp(beside[k].trained, alone.trained, sizeof alone.trained) == 0);
        CHECK(memcmp(beside[k].walked, alone.walked, sizeof alone.walked) == 0);
        CHECK(memcmp(beside[k].energies, alone.energies, sizeof alone.energies) == 0);
    }
    unmake(&alone);
}
