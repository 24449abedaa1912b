#include "samplers/annealed.h"

#include <string.h>

#include "ops/ops.h"

/* E_b at a temperature of the loop. */
typedef struct tempered {
    const ebm_annealing *annealing;
    const ebm_graph *owner; /* of beta */
    ebm_ref beta;
} tempered;

static ebm_ref build_tempered(const void *context, const ebm_scope *scope, ebm_graph *g, ebm_ref x)
{
    const tempered *t = context;
    ebm_ref beta = ebm_lift(g, t->owner, t->beta);
    ebm_ref base = ebm_energy_build(t->annealing->base, scope, g, x);
    ebm_ref target = ebm_energy_build(t->annealing->target, scope, g, x);
    return ebm_add(g, base, ebm_mul(g, beta, ebm_sub(g, target, base)));
}

/* The place of the step size among what lasts; -1 of a kind without. */
static int32_t find_size(const ebm_sampler_kind *kind)
{
    for (int32_t k = 1; k < kind->n_carry; k++)
        if (strcmp(kind->carry[k], "step_size") == 0) return k;
    return -1;
}

/* One turn of the loop: what goes along is the sampler's arrays that last, log w, and the sum of
 * acceptances. */
typedef struct turn {
    const ebm_annealing *a;
    const ebm_sampler_kind *kind;
    ebm_graph *g;
    ebm_ref key, from, to, size; /* of this temperature; size may be EBM_NONE */
} turn;

/* The change of log w at x. */
static ebm_ref weigh(const turn *t, ebm_ref x)
{
    ebm_ref base = ebm_energy_build(t->a->base, NULL, t->g, x);
    ebm_ref target = ebm_energy_build(t->a->target, NULL, t->g, x);
    return ebm_mul(t->g, ebm_sub(t->g, t->to, t->from), ebm_sub(t->g, base, target));
}

/* The steps at one temperature; the sum of their acceptances is added to `accepted`. */
static ebm_ref walk_at(const turn *t, ebm_ref *carry, ebm_ref accepted)
{
    tempered context = {t->a, t->g, t->to};
    ebm_energy energy = {build_tempered, &context, true, "annealed", false};
    ebm_walk walk = {ebm_sampler_options(t->a->sampler), &energy, NULL};
    int32_t at = ebm_sampler_find_info(t->a->sampler, "acceptance"), size = find_size(t->kind);
    if (t->size != EBM_NONE && size > 0) {
        ebm_shape rows = ebm_ref_shape(t->g, carry[size]);
        carry[size] = ebm_broadcast_to(t->g, t->size, &rows);
    }
    if (t->kind->derive) t->kind->derive(&walk, t->g, carry[0], carry);
    for (int64_t k = 0; k < t->a->n_steps; k++) {
        ebm_ref next[EBM_SAMPLER_MAX], info[EBM_SAMPLER_MAX];
        ebm_ref key = ebm_fold_in_constant(t->g, t->key, (int32_t)k);
        t->kind->step(&walk, t->g, key, carry, next, info);
        if (at >= 0) accepted = ebm_add(t->g, accepted, info[at]);
        memcpy(carry, next, (size_t)(t->kind->n_carry + t->kind->n_derived) * sizeof *next);
    }
    return accepted;
}

static ebm_status check(const ebm_annealing *a, ebm_graph *g, ebm_ref x, ebm_ref betas)
{
    EBM_TRY(ebm_energy_require_rows(a->base, "annealed: base"));
    EBM_TRY(ebm_energy_require_rows(a->target, "annealed"));
    if (a->n_steps < 1 || a->n_steps > EBM_ANNEALING_STEPS)
        return ebm_fail(EBM_VALUE, "annealed: n_steps: got %lld, expected 1 to %d",
                        (long long)a->n_steps, (int)EBM_ANNEALING_STEPS);
    ebm_shape shape = ebm_ref_shape(g, betas);
    if (ebm_ref_shape(g, x).rank < 1 || shape.rank != 1 || shape.dim[0] < 2)
        return ebm_fail(EBM_SHAPE, "annealed: expected rows x (N, ...) and betas (T + 1)");
    return EBM_OK;
}

ebm_annealed ebm_annealed_build(const ebm_annealing *a, ebm_graph *g, ebm_ref x, ebm_ref key,
                                ebm_ref betas, ebm_ref sizes)
{
    enum { MAX = EBM_SAMPLER_MAX + 2 };
    const ebm_sampler_kind *kind = ebm_sampler_get_kind(a->sampler);
    ebm_annealed out = {EBM_POISON, EBM_POISON, EBM_POISON, EBM_POISON};
    if (x <= EBM_POISON || betas <= EBM_POISON || key <= EBM_POISON) return out;
    ebm_status status = check(a, g, x, betas);
    if (status != EBM_OK) {
        ebm_graph_failed(g, status);
        return out;
    }
    int32_t n = kind->n_carry, size = find_size(kind);
    bool reports = sizes == EBM_NONE && size > 0;
    int64_t count = ebm_ref_shape(g, betas).dim[0] - 1;
    ebm_shape rows = EBM_DIMS(ebm_ref_shape(g, x).dim[0]);
    ebm_ref zero = ebm_full(g, ebm_ref_dtype(g, x), &rows, 0.0);
    ebm_ref now[MAX], in[MAX], next[MAX], i, mean = EBM_NONE, slice[3] = {0}, sized = EBM_NONE;
    ebm_ref xs[] = {ebm_slice_axis(g, betas, 0, 0, count),
                    ebm_slice_axis(g, betas, 0, 1, count), sizes};
    ebm_sampler_init(a->sampler, NULL, NULL, g, x, now);
    now[n] = now[n + 1] = zero;
    ebm_graph *body = ebm_repeat_open(g, count, now, n + 2, xs, sizes == EBM_NONE ? 2 : 3, &i,
                                      in, slice);
    if (!body) return out;
    ebm_ref carry[EBM_SAMPLER_MAX];
    memcpy(carry, in, (size_t)n * sizeof *carry);
    turn t = {a,
              kind,
              body,
              ebm_fold_in(body, ebm_lift(body, g, key), i),
              slice[0],
              slice[1],
              sizes == EBM_NONE ? EBM_NONE : slice[2]};
    next[n] = ebm_add(body, in[n], weigh(&t, carry[0]));
    next[n + 1] = walk_at(&t, carry, in[n + 1]);
    memcpy(next, carry, (size_t)n * sizeof *carry);
    if (reports) mean = ebm_mean_all(body, carry[size]);
    ebm_repeat_close(body, next, &mean, reports ? 1 : 0, false, now, &sized);
    out = (ebm_annealed){now[0], now[n], now[n + 1], reports ? sized : EBM_NONE};
    bool accepts = ebm_sampler_find_info(a->sampler, "acceptance") >= 0;
    double steps = (double)count * (double)a->n_steps;
    out.acceptance = accepts ? ebm_scale(g, now[n + 1], 1.0 / steps)
                             : ebm_full_like(g, now[n + 1], 1.0);
    return out;
}
