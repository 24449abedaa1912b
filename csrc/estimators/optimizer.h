/* optimizer.h - first-order updates as graph code.
 *
 * Adding one: a file with its options, update and an ebm_optimizer_kind named
 * ebm__optimizer_<id>, and a row in optimizers.def. */
#ifndef EBM_ESTIMATORS_OPTIMIZER_H
#define EBM_ESTIMATORS_OPTIMIZER_H

#include "base/options.h"
#include "graph/graph.h"

enum { EBM_OPTIMIZER_MAX_SLOTS = 4 };

typedef struct ebm_optimizer_kind {
    ebm_options options; /* the owner is the kind's name */
    int32_t n_slots;     /* arrays kept for each parameter, in its shape, zero at the start */
    const char *slot[EBM_OPTIMIZER_MAX_SLOTS];
    /* The new value of a parameter, and of its slots.  rate: the learning rate, (); t: the
     * number of this update from 1, (), both in the parameter's dtype. */
    ebm_ref (*update)(const void *options, ebm_graph *g, ebm_ref rate, ebm_ref t, ebm_ref param,
                      ebm_ref grad, const ebm_ref *slots, ebm_ref *slots_next);
} ebm_optimizer_kind;

const ebm_optimizer_kind *ebm_optimizer_find(const char *name); /* NULL with VALUE's message */
const ebm_optimizer_kind *ebm_optimizer_at(int32_t index);      /* in order, then NULL */

/* Adam (Kingma and Ba 2015, algorithm 1; the defaults are its own). */
/* clang-format off */
#define EBM_ADAM_OPTIONS(X, S)                                                                   \
    X(S, REAL, beta1,   0.9,   0,            0.9999999, "", "memory of the mean gradient")        \
    X(S, REAL, beta2,   0.999, 0,            0.9999999, "", "memory of the squared gradient")     \
    X(S, REAL, epsilon, 1e-8,  EBM_POSITIVE, DBL_MAX,   "", "added to the root of the latter")
/* clang-format on */
typedef struct ebm_adam_options {
    EBM_ADAM_OPTIONS(EBM_OPTION_FIELD, )
} ebm_adam_options;

/* v' = momentum v + g;  p' = p - rate v'. */
/* clang-format off */
#define EBM_SGD_OPTIONS(X, S) \
    X(S, REAL, momentum, 0.0, 0, 0.9999999, "", "share of the last update that is kept")
/* clang-format on */
typedef struct ebm_sgd_options {
    EBM_SGD_OPTIONS(EBM_OPTION_FIELD, )
} ebm_sgd_options;

#endif
