#include "estimators/estimator.h"

#define ESTIMATOR(id) extern const ebm_estimator_kind ebm__estimator_##id;
#include "estimators/estimators.def"

static const void *const kinds[] = {
#define ESTIMATOR(id) &ebm__estimator_##id,
#include "estimators/estimators.def"
    NULL,
};

const ebm_estimator_kind *ebm_estimator_at(int32_t index)
{
    return kinds[index];
}

const ebm_estimator_kind *ebm_estimator_find(const char *name)
{
    return ebm_options_kind("estimator", name, kinds);
}
