#include "samplers/sampler.h"

#include <string.h>

#include "base/alloc.h"
#include "ops/ops.h"

#define SAMPLER(id) extern const ebm_sampler_kind ebm__sampler_##id;
#include "samplers/samplers.def"

static const void *const kinds[] = {
#define SAMPLER(id) &ebm__sampler_##id,
#include "samplers/samplers.def"
    NULL,
};

struct ebm_sampler {
    const ebm_sampler_kind *kind;
    void *options;
};

const ebm_sampler_kind *ebm_sampler_at(int32_t index)
{
    return kinds[index];
}

const ebm_sampler_kind *ebm_sampler_find(const char *name)
{
    return ebm_options_kind("sampler", name, kinds);
}

ebm_status ebm_sampler_new(ebm_sampler **out, const ebm_sampler_kind *kind, const void *options)
{
    if (options) EBM_TRY(ebm_options_check(&kind->options, options));
    if (options && kind->check) EBM_TRY(kind->check(options));
    ebm_sampler *sampler = ebm__alloc(1, sizeof *sampler);
    if (!sampler) return EBM_NOMEM;
    sampler->kind = kind;
    ebm_status status = ebm_options_copy(&sampler->options, &kind->options, options);
    if (status != EBM_OK) {
        ebm__free(sampler);
        return status;
    }
    *out = sampler;
    return EBM_OK;
}

void ebm_sampler_free(ebm_sampler *sampler)
{
    if (!sampler) return;
    ebm__free(sampler->options);
    ebm__free(sampler);
}

const ebm_sampler_kind *ebm_sampler_get_kind(const ebm_sampler *sampler)
{
    return sampler->kind;
}

const void *ebm_sampler_options(const ebm_sampler *sampler)
{
    return sampler->options;
}

int64_t ebm_sampler_n_steps(const ebm_sampler *sampler)
{
    const ebm_options *table = &sampler->kind->options;
    return (int64_t)ebm_options_number(ebm_options_find(table, "n_steps"), sampler->options);
}

int32_t ebm_sampler_find_info(const ebm_sampler *sampler, const char *name)
{
    for (int32_t k = 0; k < sampler->kind->n_info; k++)
        if (strcmp(sampler->kind->info[k], name) == 0) return k;
    return -1;
}

/* ---- graph code -------------------------------------------------------------------------- */

void ebm_sampler_init(const ebm_sampler *sampler, const ebm_energy *energy,
                      const ebm_scope *scope, ebm_graph *g, ebm_ref x, ebm_ref *carry)
{
    ebm_walk walk = {sampler->options, energy, scope};
    for (int32_t k = 1; k < sampler->kind->n_carry; k++) carry[k] = EBM_POISON;
    carry[0] = x;
    if (sampler->kind->init && x != EBM_POISON) sampler->kind->init(&walk, g, x, carry);
}

void ebm_sampler_derive(const ebm_sampler *sampler, const ebm_energy *energy,
                        const ebm_scope *scope, ebm_graph *g, ebm_ref *carry)
{
    const ebm_sampler_kind *kind = sampler->kind;
    ebm_walk walk = {sampler->options, energy, scope};
    for (int32_t k = 0; k < kind->n_derived; k++) carry[kind->n_carry + k] = EBM_POISON;
    if (kind->derive && carry[0] != EBM_POISON) kind->derive(&walk, g, carry[0], carry);
}

void ebm_sampler_start(const ebm_sampler *sampler, const ebm_energy *energy,
                       const ebm_scope *scope, ebm_graph *g, ebm_ref x, ebm_ref *carry)
{
    ebm_sampler_init(sampler, energy, scope, g, x, carry);
    ebm_sampler_derive(sampler, energy, scope, g, carry);
}

/* Reports are carried too, from zeros on, so that those of the last step are at hand. */
static void start_info(const ebm_sampler *sampler, ebm_graph *g, ebm_ref x, ebm_ref *info)
{
    ebm_shape rows = EBM_DIMS(ebm_ref_shape(g, x).dim[0]);
    for (int32_t k = 0; k < sampler->kind->n_info; k++)
        info[k] = ebm_full(g, ebm_ref_dtype(g, x), &rows, 0.0);
}

void ebm_sampler_leg(const ebm_sampler *sampler, const ebm_energy *energy,
                     const ebm_scope *scope, ebm_graph *g, ebm_ref key, ebm_ref first,
                     int64_t n, ebm_ref *carry, ebm_ref *info)
{
    ebm_walk walk = {sampler->options, energy, scope};
    ebm_ref i, now[2 * EBM_SAMPLER_MAX], in[2 * EBM_SAMPLER_MAX], out[2 * EBM_SAMPLER_MAX];
    int32_t n_carry = sampler->kind->n_carry + sampler->kind->n_derived;
    int32_t n_info = info ? sampler->kind->n_info : 0;
    for (int32_t k = 0; k < n_info; k++) info[k] = EBM_POISON;
    if (n == 0 || carry[0] == EBM_POISON) return;
    memcpy(now, carry, (size_t)n_carry * sizeof *now);
    if (info) start_info(sampler, g, carry[0], now + n_carry);
    ebm_graph *body = ebm_repeat_open(g, n, now, n_carry + n_info, NULL, 0, &i, in, NULL);
    if (body) {
        ebm_ref number = first == EBM_NONE ? i : ebm_add(body, ebm_lift(body, g, first), i);
        ebm_ref step_key = ebm_fold_in(body, ebm_lift(body, g, key), number);
        sampler->kind->step(&walk, body, step_key, in, out, out + n_carry);
        ebm_repeat_close(body, out, NULL, 0, false, now, NULL);
    }
    for (int32_t k = 0; k < n_carry; k++) carry[k] = body ? now[k] : EBM_POISON;
    for (int32_t k = 0; k < n_info; k++) info[k] = body ? now[n_carry + k] : EBM_POISON;
}

ebm_ref ebm_sampler_chain(const ebm_sampler *sampler, const ebm_energy *energy,
                          const ebm_scope *scope, ebm_graph *g, ebm_ref x, ebm_ref key,
                          ebm_ref first, int64_t n, ebm_ref *info)
{
    ebm_ref carry[EBM_SAMPLER_MAX];
    ebm_sampler_start(sampler, energy, scope, g, x, carry);
    ebm_sampler_leg(sampler, energy, scope, g, key, first, n, carry, info);
    return carry[0];
}
