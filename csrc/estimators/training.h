/* training.h - one training step while it is written down, as graph code over names of a state.
 *
 * What is trained are *parts*: the energy, always the first one, and whatever else an estimator
 * asks for (a generator, a posterior), each with parameters, an optimiser, a schedule and a rate
 * of its own.  An estimator reads the batch, walks its chains, forms its losses and says what is
 * to change: descend() for the parameters of a part, commit() and put() for everything else,
 * metric() for what people want to see, check() for what must be finite.  Nothing is written at
 * once: close() puts one gate in front of all of it, so that a step whose checks fail changes
 * nothing, and the first bad step and term stay in the state ("guard.step", "guard.term",
 * "guard.param").  After one bad step all later ones are shut too, until somebody clears the
 * guard. */
#ifndef EBM_ESTIMATORS_TRAINING_H
#define EBM_ESTIMATORS_TRAINING_H

#include "estimators/entropy.h"
#include "estimators/optimizer.h"
#include "estimators/schedule.h"
#include "networks/energy.h"
#include "networks/generator.h"
#include "program/program.h"
#include "samplers/sampler.h"

/* batch_size: CEBM (Wu et al. 2021).  max_loss: where JEM and CEBM give up. */
/* clang-format off */
#define EBM_TRAINING_OPTIONS(X, S)                                                                   \
    X(S, INT,  batch_size,    128,  1,            1 << 24,   "", "rows of data in a step")           \
    X(S, REAL, max_loss,      1e8,  EBM_POSITIVE, DBL_MAX,   "", "|loss| above it is a divergence")
/* clang-format on */
typedef struct ebm_training_options {
    EBM_TRAINING_OPTIONS(EBM_OPTION_FIELD, )
} ebm_training_options;

/* How a part is updated.  learning_rate: CEBM has 1e-4 for 90,000 steps; the rate here is ten
 * times that for the short runs most people make.  ema: off (improved CD evaluates with 0.99 to
 * 0.9999).  clip_norm: off (improved CD 0.5). */
/* clang-format off */
#define EBM_UPDATE_OPTIONS(X, S)                                                                     \
    X(S, REAL, learning_rate, 1e-3, EBM_POSITIVE, DBL_MAX,   "", "of the optimiser")                 \
    X(S, REAL, weight_decay,  0.0,  0,            DBL_MAX,   "", "added to the gradient, times the parameter") \
    X(S, REAL, clip_norm,     NAN,  EBM_POSITIVE, DBL_MAX,   "", "bound of the gradient's norm")     \
    X(S, REAL, ema,           0.0,  0,            0.9999999, "", "memory of the averaged parameters; 0: none") \
    X(S, INT,  every,         1,    1,            1 << 20,   "", "steps from one update to the next")
/* clang-format on */
typedef struct ebm_update_options {
    EBM_UPDATE_OPTIONS(EBM_OPTION_FIELD, )
} ebm_update_options;

typedef struct ebm_update {
    const ebm_optimizer_kind *optimizer;
    const void *optimizer_options;
    const ebm_schedule_kind *schedule; /* of the learning rate */
    const void *schedule_options;
    ebm_update_options options;
} ebm_update;

enum { EBM_PART_ENERGY, EBM_PART_GENERATOR, EBM_PART_ENTROPY, EBM_PARTS_MAX = 4 };
enum { EBM_TRAINING_MAX = 32 }; /* metrics, checks */

/* What is trained together: the trainer's, with everything in it. */
typedef struct ebm_part {
    const char *name;        /* "energy", "generator": of messages */
    ebm_energy energy;       /* build is NULL for a part that is none */
    ebm_generator generator; /* the same */
    ebm_params params;
    ebm_update update;
    /* In the state: "params" and "rate" of the energy, "parts.<name>" and "rate.<name>" of
     * others; and metrics: "grad_norm", "<name>_grad_norm". */
    char prefix[EBM_NAME_SIZE], rate_name[EBM_NAME_SIZE];
    char norm_metric[EBM_NAME_SIZE], rate_metric[EBM_NAME_SIZE];
} ebm_part;

/* A name is a literal: it is kept. */
typedef struct ebm_named_ref {
    const char *name;
    ebm_ref ref;
} ebm_named_ref;

typedef struct ebm_training {
    /* What an estimator reads.  Of each part its parameters, those that descend() has made of
     * them (NULL before), and the learning rate of this step, (). */
    ebm_graph *g;
    ebm_state *state;
    const ebm_training_options *options;
    const ebm_sampler *sampler; /* NULL if the estimator has none */
    const ebm_entropy *entropy; /* NULL if the estimator has none */
    const ebm_part *part;       /* [0]: the energy */
    int32_t n_parts;
    ebm_ref *refs[EBM_PARTS_MAX], *updated[EBM_PARTS_MAX], rate[EBM_PARTS_MAX];
    ebm_ref x, key, step; /* batch (B, ...); key of this step; its number, i32 */

    /* What the functions below keep. */
    ebm_stage stage;
    ebm_named_ref metric[EBM_TRAINING_MAX], check[EBM_TRAINING_MAX]; /* checks: bool () */
    int32_t n_metrics, n_checks;
    struct {
        int32_t part;
        ebm_ref norms;  /* of each gradient, (n,) */
        ebm_ref finite; /* whether each trained parameter is, once updated, (n,) bool */
    } group[EBM_PARTS_MAX];
    int32_t n_groups;
    struct {
        int32_t part;
        const char *name;
        double low, high;
    } clamp[EBM_PARTS_MAX];
    int32_t n_clamps;
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

/* The scope of a part, with its parameters as they are, or as descend() has made them. */
ebm_scope ebm_training_scope(const ebm_training *t, int32_t part);
ebm_scope ebm_training_scope_updated(const ebm_training *t, int32_t part);
/* The first with a key for dropout: for passes that the part learns from.  Chains walk on the whole
 * network, and a generator is held against the whole. */
ebm_scope ebm_training_scope_learning(const ebm_training *t, int32_t part);

/* The optimiser's update of a part's trained parameters "<prefix>.<name>" down the gradient of
 * `loss` (), with their running average "ema.<prefix>.<name>" where it is in the state.  Adds the
 * metrics "grad_norm" and "learning_rate" ("generator_grad_norm", ... of the others), the checks
 * "gradient" and "parameter", and the array "metrics.norms.<prefix>" (n,): the norm of each
 * trained parameter's gradient at the last step, a bad one too.  Once a part. */
void ebm_training_descend(ebm_training *t, int32_t part, ebm_ref loss);
/* Keeps a parameter of the part within bounds; before descend().  `name` is a literal. */
void ebm_training_clamp(ebm_training *t, int32_t part, const char *name, double low, double high);
/* Running statistics of a part (networks/scope.h): s' = s + share (seen - s), for all that the
 * pass has seen. */
void ebm_training_statistics(ebm_training *t, int32_t part, const ebm_ref *seen, double share);

/* ---- for the trainer --------------------------------------------------------------------- */

/* Reads x, key, step from "batch.x", "key", "step", and of each part its parameters, and its
 * rate: that of the state times "backoff" times the schedule.  The pointers among the fields
 * above are set by the caller before. */
ebm_status ebm_training_open(ebm_training *t);
/* Puts the gate in front of all changes, counts the step, and writes the metrics to row
 * step mod chunk of "metrics.history" (chunk, n_metrics), which it adds. */
ebm_status ebm_training_close(ebm_training *t, int64_t chunk);
void ebm_training_fini(ebm_training *t);

#endif
