/* trainer.h - fits a network by an estimator: the state, the program and the loop.
 *
 * Workload: thousands of steps of milliseconds, without leaving C; a poll every 50 ms for
 * progress and Ctrl-C.  Everything that lasts is in the state (params, optimiser slots,
 * averages, buffer, key, step, rate, guard), so a trainer whose arrays are written back goes on
 * to the same bits; what is below "batch" and "metrics" is made anew by each step. */
#ifndef EBM_ESTIMATORS_TRAINER_H
#define EBM_ESTIMATORS_TRAINER_H

#include "estimators/estimator.h"
#include "networks/network.h"

typedef struct ebm_trainer ebm_trainer;

/* How a part is trained beside the energy; name: that of the part. */
typedef struct ebm_part_spec {
    const char *name;
    const ebm_network *network; /* NULL where the entropy lists the parameters itself; or: */
    ebm_update update;
    const ebm_generator *generator; /* its row need not be set, its context is the caller's */
} ebm_part_spec;

/* Options structs are of the kinds' own types; NULL stands for the initial values.  All is
 * copied. */
typedef struct ebm_trainer_spec {
    const ebm_network *network; /* or NULL: */
    const ebm_energy *energy;   /* its context is the caller's, and outlives the trainer */
    ebm_update update;          /* of the energy; a schedule that is NULL is constant */
    const ebm_estimator_kind *estimator;
    const void *estimator_options;
    const ebm_sampler *sampler;
    ebm_entropy entropy; /* kind NULL: none */
    ebm_part_spec part[EBM_PARTS_MAX - 1];
    int32_t n_parts;
    ebm_training_options training;
    ebm_shape row; /* of the data, without N */
    ebm_dtype dtype;
    const ebm_device *device;
    uint32_t key[2];
} ebm_trainer_spec;

extern const ebm_options ebm_training_table, ebm_update_table;

/* The parts that an estimator of these options trains, by their names, with the shapes of their
 * parameters, for rows of `spec->row`: what ebm_trainer_new would make, and the same errors,
 * without arrays.  Free with ebm_parts_free. */
typedef struct ebm_parts {
    ebm_part part[EBM_PARTS_MAX];
    int32_t n;
    /* What the fields of the parts point at. */
    ebm_network *network[EBM_PARTS_MAX];
    void *optimizer_options[EBM_PARTS_MAX], *schedule_options[EBM_PARTS_MAX];
} ebm_parts;
ebm_status ebm_parts_new(ebm_parts **out, const ebm_trainer_spec *spec);
void ebm_parts_free(ebm_parts *parts); /* NULL is fine */

/* VALUE for bad options, dependent rows, or an energy without parameters; SHAPE if the network
 * does not take such rows. */
ebm_status ebm_trainer_new(ebm_trainer **out, const ebm_trainer_spec *spec);
void ebm_trainer_free(ebm_trainer *trainer); /* NULL is fine */

/* The data from now on: rows stay the caller's.  A batch is at most all of them.  VALUE,
 * SHAPE. */
ebm_status ebm_trainer_feed(ebm_trainer *trainer, const ebm_rows *rows);

/* Up to n steps.  CANCELLED by the poll, NUMERIC when a step was bad (the message names the
 * step, the term and the parameter); the state is that of the last whole good step in any
 * case. */
ebm_status ebm_trainer_run(ebm_trainer *trainer, int64_t n, const ebm_poll *poll);

int64_t ebm_trainer_steps(const ebm_trainer *trainer);          /* good steps so far */
ebm_state *ebm_trainer_state(ebm_trainer *trainer);             /* borrowed */
const ebm_parts *ebm_trainer_parts(const ebm_trainer *trainer); /* borrowed */
/* "ema.params" if averages are kept, else "params": what to evaluate part `name` with ("energy",
 * "generator"), in the caller's text.  VALUE. */
ebm_status ebm_trainer_prefix(const ebm_trainer *trainer, const char *name,
                              char text[EBM_NAME_SIZE]);

/* The metrics: n_metrics names (known after the first feed), and the rows of the steps run so
 * far by this trainer, (n_rows, n_metrics), the last of them that of the last step.  Borrowed
 * until the next run. */
int32_t ebm_trainer_n_metrics(const ebm_trainer *trainer);
const char *ebm_trainer_metric(const ebm_trainer *trainer, int32_t index);
int64_t ebm_trainer_n_rows(const ebm_trainer *trainer);
const double *ebm_trainer_rows(const ebm_trainer *trainer);

/* Opens the guard again after a bad step, with a new key if `key` is not NULL: a step that
 * failed would fail in the same way again.  If older arrays have been written back, the rows of
 * the steps that they do not know are dropped. */
ebm_status ebm_trainer_clear(ebm_trainer *trainer, const uint32_t *key);
/* A new learning rate of a part, which the schedule starts from, for the steps to come. */
ebm_status ebm_trainer_set_rate(ebm_trainer *trainer, const char *name, double rate);

#endif
