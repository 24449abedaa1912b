/* schedule.h - how the learning rate changes with the step, as graph code.
 *
 *     rate(t) = rate * min(1, (t + 1) / warmup) * decay(t)
 *
 * t = 0, 1, ... is the number of the step over the life of a trainer, so that a run in parts,
 * or one that is resumed, has the rates of the whole.  In f64, whatever the parameters are.
 *
 * Adding one: options, decay and an ebm_schedule_kind named ebm__schedule_<id> in schedule.c,
 * and a row in schedules.def. */
#ifndef EBM_ESTIMATORS_SCHEDULE_H
#define EBM_ESTIMATORS_SCHEDULE_H

#include "base/options.h"
#include "graph/graph.h"

typedef struct ebm_schedule_kind {
    ebm_options options; /* the owner is the kind's name */
    /* decay(t) for t of any shape, f64; NULL: one.  Every options struct begins with
     * `warmup`. */
    ebm_ref (*decay)(const void *options, ebm_graph *g, ebm_ref t);
} ebm_schedule_kind;

const ebm_schedule_kind *ebm_schedule_find(const char *name); /* NULL with VALUE's message */
const ebm_schedule_kind *ebm_schedule_at(int32_t index);      /* in order, then NULL */

/* rate(t) / rate, f64, for i32 t of any shape; EBM_ONE if it is one at every step. */
ebm_ref ebm_schedule_build(const ebm_schedule_kind *kind, const void *options, ebm_graph *g,
                           ebm_ref t);

/* clang-format off */
#define EBM_WARMUP_OPTION(X, S) \
    X(S, INT,  warmup, 0,    0, INT32_MAX, "", "steps of the linear rise at the start")
#define EBM_ANNEAL_OPTIONS(X, S) EBM_WARMUP_OPTION(X, S)                               \
    X(S, INT,  steps,  1000, 1, INT32_MAX, "", "steps until the floor is reached")     \
    X(S, REAL, floor,  0.0,  0, 1,         "", "the last rate as a share of the first")
#define EBM_EXPONENTIAL_OPTIONS(X, S) EBM_WARMUP_OPTION(X, S)                          \
    X(S, REAL, factor, 0.5,  EBM_POSITIVE, 1, "", "of the rate, in so many steps")     \
    X(S, INT,  steps,  1000, 1, INT32_MAX, "", "steps for one factor")
#define EBM_PIECEWISE_OPTIONS(X, S) EBM_WARMUP_OPTION(X, S)                            \
    X(S, INTS, milestones, 0, 1, INT32_MAX, "", "steps from which the rate is lower")  \
    X(S, REAL, factor, 0.1,  EBM_POSITIVE, 1, "", "of the rate, at each milestone")
/* clang-format on */
typedef struct ebm_constant_options {
    EBM_WARMUP_OPTION(EBM_OPTION_FIELD, )
} ebm_constant_options;
typedef struct ebm_anneal_options {
    EBM_ANNEAL_OPTIONS(EBM_OPTION_FIELD, )
} ebm_anneal_options;
typedef struct ebm_exponential_options {
    EBM_EXPONENTIAL_OPTIONS(EBM_OPTION_FIELD, )
} ebm_exponential_options;
typedef struct ebm_piecewise_options {
    EBM_PIECEWISE_OPTIONS(EBM_OPTION_FIELD, )
} ebm_piecewise_options;

#endif
