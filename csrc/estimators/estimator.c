#include "estimators/estimator.h"

#include <stdio.h>
#include <string.h>

#define ESTIMATOR(id) extern const ebm_estimator_kind ebm__estimator_##id;
#include "estimators/estimators.def"

static const ebm_estimator_kind *const kinds[] = {
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
    char known[256] = "";
    for (size_t i = 0, used = 0; kinds[i] && used < sizeof known; i++) {
        if (strcmp(kinds[i]->options.owner, name) == 0) return kinds[i];
        used += (size_t)snprintf(known + used, sizeof known - used, " %s",
                                 kinds[i]->options.owner);
    }
    ebm_fail(EBM_VALUE, "estimator: got '%s', expected one of:%s", name, known);
    return NULL;
}
