/* estimator.h - ways to fit an energy to data.
 *
 * Adding one: a file with its options, build and an ebm_estimator_kind named
 * ebm__estimator_<id>, and a row in estimators.def.  Everything else - feeding, the optimisers,
 * averages, the gate, metrics, the loop - is the trainer's. */
#ifndef EBM_ESTIMATORS_ESTIMATOR_H
#define EBM_ESTIMATORS_ESTIMATOR_H

#include "estimators/training.h"

typedef struct ebm_estimator_kind {
    ebm_options options; /* the owner is the kind's name */
    bool samples;        /* needs a sampler */
    bool generates;      /* trains a generator beside the energy, and may have an entropy */
    bool likelihood;     /* of an energy that is normalised */
    /* One training step, as graph code; an error poisons t->g. */
    void (*build)(const void *options, ebm_training *t);
} ebm_estimator_kind;

const ebm_estimator_kind *ebm_estimator_find(const char *name); /* NULL with VALUE's message */
const ebm_estimator_kind *ebm_estimator_at(int32_t index);      /* in order, then NULL */

#endif
