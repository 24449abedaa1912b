#include "samplers/sampler.h"

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

/* ---- graph code -------------------------------------------------------------------------- */

static void init(const ebm_sampler *sampler, const ebm_walk *walk, ebm_graph *g, ebm_ref x,
                 ebm_ref *carry)
{
    carry[0] = x;
    if (sampler->kind->init) sampler->kind->init(walk, g, x, carry);
}

/* Steps as one repeat over what the sampler carries.  Step i of the body is step first + i. */
static void repeat_steps(const ebm_sampler *sampler, const ebm_walk *walk, ebm_graph *g,
                         ebm_ref key, ebm_ref first, int64_t n, ebm_ref *carry)
{
    ebm_ref i, in[EBM_SAMPLER_MAX], out[EBM_SAMPLER_MAX], info[EBM_SAMPLER_MAX];
    int32_t n_carry = sampler->kind->n_carry;
    if (n == 0) return;
    ebm_graph *body = ebm_repeat_open(g, n, carry, n_carry, NULL, 0, &i, in, NULL);
    if (!body) {
        for (int32_t k = 0; k < n_carry; k++) carry[k] = EBM_POISON;
        return;
    }
    ebm_ref number = first == EBM_NONE ? i : ebm_add(body, ebm_lift(body, g, first), i);
    ebm_ref step_key = ebm_fold_in(body, ebm_lift(body, g, key), number);
    sampler->kind->step(walk, body, step_key, in, out, info);
    ebm_repeat_close(body, out, NULL, 0, false, carry, NULL);
}

ebm_ref ebm_sampler_chain(const ebm_sampler *sampler, const ebm_energy *energy,
                          const ebm_scope *scope, ebm_graph *g, ebm_ref x, ebm_ref key,
                          ebm_ref first, int64_t n)
{
    ebm_walk walk = {sampler->options, energy, scope};
    ebm_ref carry[EBM_SAMPLER_MAX];
    if (x == EBM_POISON) return EBM_POISON;
    init(sampler, &walk, g, x, carry);
    repeat_steps(sampler, &walk, g, key, first, n, carry);
    return carry[0];
}

ebm_ref ebm_sampler_trace(const ebm_sampler *sampler, const ebm_energy *energy,
                          const ebm_scope *scope, ebm_graph *g, ebm_ref x, ebm_ref key,
                          ebm_ref first, int64_t n, int64_t thin, ebm_ref *trace)
{
    ebm_walk walk = {sampler->options, energy, scope};
    ebm_ref i, carry[EBM_SAMPLER_MAX], in[EBM_SAMPLER_MAX];
    int32_t n_carry = sampler->kind->n_carry;
    *trace = EBM_POISON;
    if (x == EBM_POISON) return EBM_POISON;
    init(sampler, &walk, g, x, carry);
    ebm_graph *body = ebm_repeat_open(g, n / thin, carry, n_carry, NULL, 0, &i, in, NULL);
    if (!body) return EBM_POISON;
    ebm_ref number = ebm_mul(body, i, ebm_scalar(body, EBM_I32, (double)thin));
    if (first != EBM_NONE) number = ebm_add(body, number, ebm_lift(body, g, first));
    repeat_steps(sampler, &walk, body, ebm_lift(body, g, key), number, thin, in);
    ebm_repeat_close(body, in, in, 1, false, carry, trace);
    if (n % thin == 0) return carry[0];
    ebm_ref next = ebm_scalar(g, EBM_I32, (double)(n - n % thin));
    if (first != EBM_NONE) next = ebm_add(g, next, first);
    repeat_steps(sampler, &walk, g, key, next, n % thin, carry);
    return carry[0];
}

ebm_ref ebm_sampler_step(const ebm_sampler *sampler, const ebm_energy *energy,
                         const ebm_scope *scope, ebm_graph *g, ebm_ref x, ebm_ref key,
                         ebm_ref number, ebm_ref *info)
{
    ebm_walk walk = {sampler->options, energy, scope};
    ebm_ref carry[EBM_SAMPLER_MAX], next[EBM_SAMPLER_MAX];
    if (x == EBM_POISON) return EBM_POISON;
    init(sampler, &walk, g, x, carry);
    sampler->kind->step(&walk, g, ebm_fold_in(g, key, number), carry, next, info);
    return next[0];
}
