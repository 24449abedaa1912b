/* training.h - one training step while it is written down, as graph code over names of a state.
 *
 * An estimator reads the batch, walks its chains, forms its losses and says what is to change:
 * descend() for parameters, commit() and put() for everything else, metric() for what people
 * want to see, check() for what must be finite.  Nothing is written at once: close() puts one
 * gate in front of all of it, so that a step whose checks fail changes nothing, and the first
 * bad step and term stay in the state ("guard.step", "guard.term", "guard.param").  After one
 * bad step all later ones are shut too, until somebody clears the guard. */
#ifndef EBM_ESTIMATORS_TRAINING_H
#define EBM_ESTIMATORS_TRAINING_H

#include "estimators/optimizer.h"
#include "estimators/schedule.h"
#include "networks/energy.h"
#include "program/program.h"
#include "samplers/sampler.h"

/* batch_size, learning_rate: CEBM (Wu et al. 2021) has 128 and 1e-4 for 90,000 steps; the rate
 * here is ten times that for the short runs most people make.  ema: off (improved CD evaluates
 * with 0.99 to 0.9999).  clip_norm: off (improved CD 0.5).  max_loss: where JEM and CEBM give
 * up. */
/* clang-format off */
#define EBM_TRAINING_OPTIONS(X, S)                                                                   \
    X(S, INT,  batch_size,    128,  1,            1 << 24,   "", "rows of data in a step")           \
    X(S, REAL, learning_rate, 1e-3, EBM_POSITIVE, DBL_MAX,   "", "of the optimiser")                 \
    X(S, REAL, weight_decay,  0.0,  0,            DBL_MAX,   "", "added to the gradient, times the parameter") \
    X(S, REAL, clip_norm,     NAN,  EBM_POSITIVE, DBL_MAX,   "", "bound of the gradient's norm")     \
    X(S, REAL, ema,           0.0,  0,            0.9999999, "", "memory of the averaged parameters; 0: none") \
    X(S, REAL, max_loss,      1e8,  EBM_POSITIVE, DBL_MAX,   "", "|loss| above it is a divergence")
/* clang-format on */
typedef struct ebm_training_options {
    EBM_TRAINING_OPTIONS(EBM_OPTION_FIELD, )
} ebm_training_options;

enum { EBM_TRAINING_MAX = 16 }; /* metrics, checks, groups of parameters */

/* A name is a literal: it is kept. */
typedef struct ebm_named_ref {
    const char *name;
    ebm_ref ref;
} ebm_named_ref;

typedef struct ebm_training {
    /* What an estimator reads. */
    ebm_graph *g;
    ebm_state *state;
    const ebm_training_options *options;
    const ebm_energy *energy;
    const ebm_sampler *sampler; /* NULL if the estimator has none */
    ebm_params *params;         /* of the energy */
    ebm_ref *refs;              /* its parameters: "params.<name>" */
    ebm_ref x, key, step;       /* batch (B, ...); key of this step; its number, i32 */
    ebm_ref rate;               /* learning rate of this step, () */

    /* What the functions below keep. */
    ebm_stage stage;
    const ebm_optimizer_kind *optimizer;
    const void *optimizer_options;
    const ebm_schedule_kind *schedule;
    const void *schedule_options;
    ebm_named_ref metric[EBM_TRAINING_MAX], check[EBM_TRAINING_MAX]; /* checks: bool () */
    int32_t n_metrics, n_checks;
    struct {
        const ebm_params *params;
        const char *prefix;
        ebm_ref norms;  /* of each gradient, (n,) */
        ebm_ref finite; /* whether each parameter is, once updated, (n,) bool */
    } group[EBM_TRAINING_MAX];
    int32_t n_groups;
    struct ebm_training_change *changes;
    int64_t n_changes, capacity;
} ebm_training;

/* ---- for estimators ---------------------------------------------------------------------- */

void ebm_training_metric(ebm_training *t, const char *name, ebm_ref value);
/* The step counts only if `value` is finite everywhere; or if |value| <= limit, too. */
void ebm_training_check(ebm_training *t, const char *term, ebm_ref value);
void ebm_training_bound(ebm_training *t, const char *term, ebm_ref value, double limit);

/* An array of the state, added (zero) if it is not there yet. */
ebm_ref ebm_training_array(ebm_training *t, const char *name, ebm_dtype dtype,
                           const ebm_shape *shape);
/* Replaces an array; or its rows `slots` (m,) by rows (m, ...). */
void ebm_training_commit(ebm_training *t, const char *name, ebm_ref value);
void ebm_training_put(ebm_training *t, const char *name, ebm_ref slots, ebm_ref rows);

/* One optimiser's update of the parameters "<prefix>.<name>", whose refs these are, down the
 * gradient of `loss` (), with their running average "ema.<prefix>.<name>" where it is in the
 * state.  Adds the metric "grad_norm", the checks "gradient" and "parameter", and the array
 * "metrics.norms.<prefix>" (n,): the norm of each parameter's gradient at the last step, a bad
 * one too.  `prefix` is a literal: it is kept. */
void ebm_training_descend(ebm_training *t, const ebm_params *params, const char *prefix,
                          const ebm_ref *refs, ebm_ref loss);

/* ---- for the trainer --------------------------------------------------------------------- */

/* Reads x, key, step, rate and refs from "batch.x", "key", "step", "rate" times "backoff" times
 * the schedule, and "params"; the pointers among the fields above are set by the caller
 * before. */
ebm_status ebm_training_open(ebm_training *t);
/* Puts the gate in front of all changes, counts the step, and writes the metrics to row
 * step mod chunk of "metrics.history" (chunk, n_metrics), which it adds. */
ebm_status ebm_training_close(ebm_training *t, int64_t chunk);
void ebm_training_fini(ebm_training *t);

#endif
