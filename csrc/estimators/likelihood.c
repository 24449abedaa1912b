#include "estimators/likelihood.h"

#include "ops/ops.h"

static void build(const void *options, ebm_training *t)
{
    (void)options;
    ebm_scope scope = ebm_training_scope_learning(t, EBM_PART_ENERGY);
    ebm_ref e = ebm_energy_build(&t->part[EBM_PART_ENERGY].energy, &scope, t->g, t->x);
    ebm_ref loss = ebm_mean_all(t->g, e);
    ebm_training_metric(t, "loss", loss);
    ebm_training_bound(t, "loss", loss, t->options->max_loss);
    ebm_training_descend(t, EBM_PART_ENERGY, loss);
}

const ebm_estimator_kind ebm__estimator_maximum_likelihood = {
    .options = {"maximum_likelihood", NULL, 0, sizeof(ebm_maximum_likelihood_options)},
    .likelihood = true,
    .build = build,
};
