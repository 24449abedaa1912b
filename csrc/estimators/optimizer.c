#include "estimators/optimizer.h"

#include "ops/ops.h"

#define OPTIMIZER(id) extern const ebm_optimizer_kind ebm__optimizer_##id;
#include "estimators/optimizers.def"

static const void *const kinds[] = {
#define OPTIMIZER(id) &ebm__optimizer_##id,
#include "estimators/optimizers.def"
    NULL,
};

const ebm_optimizer_kind *ebm_optimizer_at(int32_t index)
{
    return kinds[index];
}

const ebm_optimizer_kind *ebm_optimizer_find(const char *name)
{
    return ebm_options_kind("optimizer", name, kinds);
}

/* ---- adam -------------------------------------------------------------------------------- */

/* beta old + (1 - beta) new. */
static ebm_ref average(ebm_graph *g, double beta, ebm_ref old, ebm_ref new)
{
    return ebm_add(g, ebm_scale(g, old, beta), ebm_scale(g, new, 1.0 - beta));
}

/* 1 / (1 - beta^t), by expm1 because 1 - beta^t loses digits while beta^t is near one. */
static ebm_ref correction(ebm_graph *g, double beta, ebm_ref t)
{
    if (beta == 0.0) return ebm_scalar_like(g, t, 1.0);
    return ebm_recip(g, ebm_neg(g, ebm_expm1(g, ebm_scale(g, t, log(beta)))));
}

static ebm_ref adam_update(const void *options, ebm_graph *g, ebm_ref rate, ebm_ref t,
                           ebm_ref param, ebm_ref grad, const ebm_ref *slots, ebm_ref *slots_next)
{
    const ebm_adam_options *o = options;
    ebm_ref m = average(g, o->beta1, slots[0], grad);
    ebm_ref v = average(g, o->beta2, slots[1], ebm_square(g, grad));
    ebm_ref step = ebm_mul(g, rate, correction(g, o->beta1, t));
    ebm_ref root = ebm_sqrt(g, ebm_mul(g, v, correction(g, o->beta2, t)));
    slots_next[0] = m;
    slots_next[1] = v;
    return ebm_sub(g, param, ebm_div(g, ebm_mul(g, step, m), ebm_shift(g, root, o->epsilon)));
}

static const ebm_option adam_rows[] = {EBM_ADAM_OPTIONS(EBM_OPTION_ROW, ebm_adam_options)};

const ebm_optimizer_kind ebm__optimizer_adam = {
    .options = EBM_OPTIONS_OF("adam", adam_rows, ebm_adam_options),
    .n_slots = 2,
    .slot = {"m", "v"},
    .update = adam_update,
};

/* ---- sgd --------------------------------------------------------------------------------- */

static ebm_ref sgd_update(const void *options, ebm_graph *g, ebm_ref rate, ebm_ref t,
                          ebm_ref param, ebm_ref grad, const ebm_ref *slots, ebm_ref *slots_next)
{
    (void)t;
    const ebm_sgd_options *o = options;
    slots_next[0] = ebm_add(g, ebm_scale(g, slots[0], o->momentum), grad);
    return ebm_sub(g, param, ebm_mul(g, rate, slots_next[0]));
}

static const ebm_option sgd_rows[] = {EBM_SGD_OPTIONS(EBM_OPTION_ROW, ebm_sgd_options)};

const ebm_optimizer_kind ebm__optimizer_sgd = {
    .options = EBM_OPTIONS_OF("sgd", sgd_rows, ebm_sgd_options),
    .n_slots = 1,
    .slot = {"v"},
    .update = sgd_update,
};
