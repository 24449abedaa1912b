#include "estimators/schedule.h"

#include "ops/ops.h"

#define SCHEDULE(id) extern const ebm_schedule_kind ebm__schedule_##id;
#include "estimators/schedules.def"

static const void *const kinds[] = {
#define SCHEDULE(id) &ebm__schedule_##id,
#include "estimators/schedules.def"
    NULL,
};

const ebm_schedule_kind *ebm_schedule_at(int32_t index)
{
    return kinds[index];
}

const ebm_schedule_kind *ebm_schedule_find(const char *name)
{
    return ebm_options_kind("schedule", name, kinds);
}

/* min(1, t / steps) */
static ebm_ref share(ebm_graph *g, ebm_ref t, int64_t steps)
{
    ebm_ref part = ebm_div(g, t, ebm_scalar_like(g, t, (double)steps));
    return ebm_minimum(g, part, ebm_scalar_like(g, t, 1.0));
}

ebm_ref ebm_schedule_build(const ebm_schedule_kind *kind, const void *options, ebm_graph *g,
                           ebm_ref t)
{
    const ebm_constant_options *o = options;
    if (o->warmup == 0 && !kind->decay) return EBM_ONE;
    t = ebm_cast(g, t, EBM_F64);
    ebm_ref rise = o->warmup > 0 ? share(g, ebm_shift(g, t, 1.0), o->warmup) : EBM_ONE;
    if (!kind->decay) return rise;
    ebm_ref decay = kind->decay(options, g, t);
    return rise == EBM_ONE ? decay : ebm_mul(g, rise, decay);
}

/* ---- constant ---------------------------------------------------------------------------- */

static const ebm_option constant_rows[] = {
    EBM_WARMUP_OPTION(EBM_OPTION_ROW, ebm_constant_options)};

const ebm_schedule_kind ebm__schedule_constant = {
    .options = EBM_OPTIONS_OF("constant", constant_rows, ebm_constant_options),
};

/* ---- cosine and linear ------------------------------------------------------------------- */

static const ebm_option anneal_rows[] = {EBM_ANNEAL_OPTIONS(EBM_OPTION_ROW, ebm_anneal_options)};

/* floor + (1 - floor) (1 + cos(pi share)) / 2 */
static ebm_ref cosine(const void *options, ebm_graph *g, ebm_ref t)
{
    const ebm_anneal_options *o = options;
    ebm_ref wave = ebm_cos(g, ebm_scale(g, share(g, t, o->steps), 3.14159265358979323846));
    return ebm_shift(g, ebm_scale(g, wave, 0.5 * (1.0 - o->floor)), 0.5 * (1.0 + o->floor));
}

const ebm_schedule_kind ebm__schedule_cosine = {
    .options = EBM_OPTIONS_OF("cosine", anneal_rows, ebm_anneal_options),
    .decay = cosine,
};

/* 1 - (1 - floor) share */
static ebm_ref linear(const void *options, ebm_graph *g, ebm_ref t)
{
    const ebm_anneal_options *o = options;
    return ebm_shift(g, ebm_scale(g, share(g, t, o->steps), o->floor - 1.0), 1.0);
}

const ebm_schedule_kind ebm__schedule_linear = {
    .options = EBM_OPTIONS_OF("linear", anneal_rows, ebm_anneal_options),
    .decay = linear,
};

/* ---- exponential ------------------------------------------------------------------------- */

static const ebm_option exponential_rows[] = {
    EBM_EXPONENTIAL_OPTIONS(EBM_OPTION_ROW, ebm_exponential_options)};

/* factor^(t / steps) */
static ebm_ref exponential(const void *options, ebm_graph *g, ebm_ref t)
{
    const ebm_exponential_options *o = options;
    return ebm_exp(g, ebm_scale(g, t, log(o->factor) / (double)o->steps));
}

const ebm_schedule_kind ebm__schedule_exponential = {
    .options = EBM_OPTIONS_OF("exponential", exponential_rows, ebm_exponential_options),
    .decay = exponential,
};

/* ---- piecewise --------------------------------------------------------------------------- */

static const ebm_option piecewise_rows[] = {
    EBM_PIECEWISE_OPTIONS(EBM_OPTION_ROW, ebm_piecewise_options)};

/* factor^(milestones that are at most t) */
static ebm_ref piecewise(const void *options, ebm_graph *g, ebm_ref t)
{
    const ebm_piecewise_options *o = options;
    ebm_ref one = ebm_scalar_like(g, t, 1.0), factor = ebm_full_like(g, t, 1.0);
    for (int64_t k = 0; k < o->milestones.n; k++) {
        ebm_ref milestone = ebm_scalar_like(g, t, (double)o->milestones.at[k]);
        ebm_ref passed = ebm_less_equal(g, milestone, t);
        factor = ebm_mul(g, factor, ebm_select(g, passed, ebm_scalar_like(g, t, o->factor), one));
    }
    return factor;
}

const ebm_schedule_kind ebm__schedule_piecewise = {
    .options = EBM_OPTIONS_OF("piecewise", piecewise_rows, ebm_piecewise_options),
    .decay = piecewise,
};
