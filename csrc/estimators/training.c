#include "estimators/training.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "ops/ops.h"

enum { FOLD_LEARNING = 0x64726f70 }; /* into the step's key, for dropout in what learns */

struct ebm_training_change {
    char name[EBM_NAME_SIZE];
    ebm_ref value; /* the new array, or its new rows */
    ebm_ref slots; /* EBM_NONE for a whole array */
};

/* ---- life -------------------------------------------------------------------------------- */

static ebm_ref rate_of_step(ebm_training *t, const ebm_part *part)
{
    ebm_graph *g = t->g;
    const ebm_update *u = &part->update;
    ebm_ref rate = ebm_mul(g, ebm_stage_read(&t->stage, part->rate_name),
                           ebm_stage_read(&t->stage, "backoff"));
    ebm_ref factor = ebm_schedule_build(u->schedule, u->schedule_options, g, t->step);
    if (factor == EBM_ONE) return rate;
    ebm_ref wide = ebm_mul(g, ebm_cast(g, rate, EBM_F64), factor);
    return ebm_cast(g, wide, part->params.dtype);
}

ebm_status ebm_training_open(ebm_training *t)
{
    EBM_TRY(ebm_stage_init(&t->stage, t->state));
    t->g = t->stage.graph;
    t->x = ebm_stage_read(&t->stage, "batch.x");
    t->step = ebm_stage_read(&t->stage, "step");
    t->key = ebm_fold_in(t->g, ebm_stage_read(&t->stage, "key"), t->step);
    for (int32_t k = 0; k < t->n_parts; k++) {
        const ebm_part *part = &t->part[k];
        t->refs[k] = ebm__alloc((size_t)part->params.n, sizeof *t->refs[k]);
        if (!t->refs[k]) return EBM_NOMEM;
        ebm_params_read(&part->params, &t->stage, part->prefix, t->refs[k]);
        t->rate[k] = rate_of_step(t, part);
    }
    return ebm_graph_status(t->g);
}

void ebm_training_fini(ebm_training *t)
{
    ebm_stage_fini(&t->stage);
    ebm__free(t->changes);
    t->changes = NULL;
    for (int32_t k = 0; k < t->n_parts; k++) {
        ebm__free(t->refs[k]);
        ebm__free(t->updated[k]);
        t->refs[k] = t->updated[k] = NULL;
    }
}

ebm_scope ebm_training_scope(const ebm_training *t, int32_t part)
{
    return (ebm_scope){.params = (ebm_params *)&t->part[part].params,
                       .owner = t->g,
                       .refs = t->refs[part]};
}

ebm_scope ebm_training_scope_updated(const ebm_training *t, int32_t part)
{
    ebm_scope scope = ebm_training_scope(t, part);
    if (t->updated[part]) scope.refs = t->updated[part];
    return scope;
}

ebm_scope ebm_training_scope_learning(const ebm_training *t, int32_t part)
{
    ebm_scope scope = ebm_training_scope(t, part);
    scope.key = ebm_fold_in_constant(t->g, t->key, FOLD_LEARNING);
    return scope;
}

/* ---- what estimators say ----------------------------------------------------------------- */

static void note(ebm_training *t, ebm_named_ref *list, int32_t *n, const char *name, ebm_ref ref)
{
    if (ref == EBM_POISON) return;
    if (*n == EBM_TRAINING_MAX)
        ebm_graph_fail(t->g, EBM_INTERNAL, "training: '%s': more than %d names", name,
                       EBM_TRAINING_MAX);
    else
        list[(*n)++] = (ebm_named_ref){name, ref};
}

void ebm_training_metric(ebm_training *t, const char *name, ebm_ref value)
{
    note(t, t->metric, &t->n_metrics, name, value);
}

static ebm_ref all_finite(ebm_graph *g, ebm_ref value)
{
    return ebm_all(g, ebm_isfinite(g, value), EBM_ALL_AXES, false);
}

void ebm_training_check(ebm_training *t, const char *term, ebm_ref value)
{
    note(t, t->check, &t->n_checks, term, all_finite(t->g, value));
}

void ebm_training_bound(ebm_training *t, const char *term, ebm_ref value, double limit)
{
    ebm_graph *g = t->g;
    ebm_ref inside = ebm_less_equal(g, ebm_abs(g, value), ebm_scalar_like(g, value, limit));
    note(t, t->check, &t->n_checks, term, ebm_all(g, inside, EBM_ALL_AXES, false));
}

ebm_ref ebm_training_array(ebm_training *t, const char *name, ebm_dtype dtype,
                           const ebm_shape *shape)
{
    if (ebm_state_find(t->state, name) < 0) {
        ebm_status status = ebm_state_add(t->state, name, dtype, shape);
        if (status != EBM_OK) return ebm_graph_failed(t->g, status);
    }
    ebm_ref array = ebm_stage_read(&t->stage, name);
    ebm_shape got = ebm_ref_shape(t->g, array);
    if (array == EBM_POISON || ebm_shape_equal(&got, shape)) return array;
    char had[128], wanted[128];
    return ebm_graph_fail(t->g, EBM_SHAPE, "training: '%s': got %s, expected %s", name,
                          ebm_shape_text(&got, had, sizeof had),
                          ebm_shape_text(shape, wanted, sizeof wanted));
}

static void change(ebm_training *t, const char *name, ebm_ref value, ebm_ref slots)
{
    if (value == EBM_POISON || slots == EBM_POISON) return;
    size_t length = strlen(name);
    ebm_status status = ebm__grow(&t->changes, &t->capacity, t->n_changes + 1,
                                  sizeof *t->changes);
    if (status == EBM_OK && length >= EBM_NAME_SIZE)
        status = ebm_fail(EBM_VALUE, "training: name '%.40s...': got %zu letters, expected < %d",
                          name, length, EBM_NAME_SIZE);
    if (status != EBM_OK) {
        ebm_graph_failed(t->g, status);
        return;
    }
    struct ebm_training_change *new = &t->changes[t->n_changes++];
    memcpy(new->name, name, length + 1);
    new->value = value;
    new->slots = slots;
}

void ebm_training_commit(ebm_training *t, const char *name, ebm_ref value)
{
    change(t, name, value, EBM_NONE);
}

void ebm_training_put(ebm_training *t, const char *name, ebm_ref slots, ebm_ref rows)
{
    change(t, name, rows, slots);
}

/* ---- descent ----------------------------------------------------------------------------- */

/* A number () for each of the refs, as one array (n,). */
static ebm_ref gather(ebm_graph *g, const ebm_ref *refs, int64_t n,
                      ebm_ref (*number)(ebm_graph *g, ebm_ref ref))
{
    ebm_shape one = EBM_DIMS(1);
    ebm_ref *numbers = ebm__alloc((size_t)n, sizeof *numbers);
    if (!numbers) return ebm_graph_failed(g, EBM_NOMEM);
    for (int64_t k = 0; k < n; k++) numbers[k] = ebm_reshape(g, number(g, refs[k]), &one);
    ebm_ref all = ebm_concat(g, numbers, (int32_t)n, 0);
    ebm__free(numbers);
    return all;
}

static ebm_ref squared_norm(ebm_graph *g, ebm_ref grad)
{
    return ebm_sum_all(g, ebm_square(g, grad));
}

/* What the gradients are multiplied with so that their norm is at most clip_norm; EBM_ONE if
 * that is off. */
static ebm_ref clip_factor(ebm_graph *g, double clip_norm, ebm_ref norm)
{
    if (isnan(clip_norm)) return EBM_ONE;
    ebm_ref limit = ebm_scalar_like(g, norm, clip_norm);
    return ebm_minimum(g, ebm_div(g, limit, norm), ebm_scalar_like(g, norm, 1.0));
}

static void average(ebm_training *t, double keep, const char *name, ebm_ref updated)
{
    ebm_graph *g = t->g;
    char average_name[EBM_NAME_SIZE];
    if (ebm_state_find(t->state, ebm_name_join(average_name, "ema", name)) < 0) return;
    ebm_ref old = ebm_stage_read(&t->stage, average_name);
    ebm_training_commit(t, average_name,
                        ebm_add(g, ebm_scale(g, old, keep), ebm_scale(g, updated, 1.0 - keep)));
}

/* One part while it is updated. */
typedef struct descent {
    ebm_training *t;
    const ebm_part *part;
    int32_t index;  /* of the part */
    int64_t n;      /* trained parameters */
    int64_t *which; /* their places among the part's */
    ebm_ref *grads;
    ebm_ref number; /* of this update, from 1, in the parameters' dtype */
    ebm_ref due;    /* bool: this step is one of an update; EBM_NONE: each one is */
} descent;

static ebm_ref when_due(const descent *d, ebm_ref new, ebm_ref old)
{
    return d->due == EBM_NONE ? new : ebm_select(d->t->g, d->due, new, old);
}

static ebm_ref within_bounds(const descent *d, const char *name, ebm_ref value)
{
    const ebm_training *t = d->t;
    for (int32_t k = 0; k < t->n_clamps; k++)
        if (t->clamp[k].part == d->index && strcmp(t->clamp[k].name, name) == 0)
            value = ebm_clip(t->g, value, t->clamp[k].low, t->clamp[k].high);
    return value;
}

/* The update of one parameter; returns its new value. */
static ebm_ref update(const descent *d, const char *leaf, ebm_ref param, ebm_ref grad)
{
    ebm_training *t = d->t;
    const ebm_update *u = &d->part->update;
    const ebm_optimizer_kind *kind = u->optimizer;
    ebm_ref slots[EBM_OPTIMIZER_MAX_SLOTS], next[EBM_OPTIMIZER_MAX_SLOTS];
    char name[EBM_NAME_SIZE], slot_name[EBM_OPTIMIZER_MAX_SLOTS][EBM_NAME_SIZE];
    ebm_shape shape = ebm_ref_shape(t->g, param);
    ebm_name_join(name, d->part->prefix, leaf);
    for (int32_t s = 0; s < kind->n_slots; s++) {
        snprintf(slot_name[s], EBM_NAME_SIZE, "%s.%s.%.100s", kind->options.owner,
                 kind->slot[s], name);
        slots[s] = ebm_training_array(t, slot_name[s], ebm_ref_dtype(t->g, param), &shape);
    }
    double decay = u->options.weight_decay;
    if (decay > 0.0) grad = ebm_add(t->g, grad, ebm_scale(t->g, param, decay));
    ebm_ref made = kind->update(u->optimizer_options, t->g, t->rate[d->index], d->number, param,
                                grad, slots, next);
    ebm_ref updated = when_due(d, within_bounds(d, leaf, made), param);
    for (int32_t s = 0; s < kind->n_slots; s++)
        ebm_training_commit(t, slot_name[s], when_due(d, next[s], slots[s]));
    ebm_training_commit(t, name, updated);
    average(t, u->options.ema, name, updated);
    return updated;
}

/* Updates them all: the new values stand in t->updated, and over the gradients. */
static void update_all(descent *d, ebm_ref norm)
{
    ebm_training *t = d->t;
    ebm_graph *g = t->g;
    const ebm_params *params = &d->part->params;
    ebm_ref one = ebm_scalar(g, EBM_I32, 1.0), count = t->step;
    int64_t every = d->part->update.options.every;
    d->due = EBM_NONE;
    if (every > 1) {
        ebm_ref period = ebm_scalar(g, EBM_I32, (double)every);
        count = ebm_floordiv(g, t->step, period);
        d->due = ebm_equal(g, ebm_mod(g, t->step, period), ebm_scalar(g, EBM_I32, 0.0));
    }
    d->number = ebm_cast(g, ebm_add(g, count, one), params->dtype);
    ebm_ref factor = clip_factor(g, d->part->update.options.clip_norm, norm);
    for (int64_t k = 0; k < d->n; k++) {
        int64_t at = d->which[k];
        ebm_ref grad = factor == EBM_ONE ? d->grads[k] : ebm_mul(g, d->grads[k], factor);
        d->grads[k] = update(d, params->at[at].name, t->refs[d->index][at], grad);
        t->updated[d->index][at] = d->grads[k];
    }
}

static void write_norms(ebm_training *t, const char *prefix, ebm_ref norms)
{
    char name[EBM_NAME_SIZE];
    if (norms == EBM_POISON) return;
    ebm_shape shape = ebm_ref_shape(t->g, norms);
    ebm_training_array(t, ebm_name_join(name, "metrics.norms", prefix),
                       ebm_ref_dtype(t->g, norms), &shape);
    ebm_stage_write(&t->stage, name, norms);
}

/* The trained parameters of the part, and where their new values go.  NOMEM. */
static ebm_status find_trained(descent *d, ebm_ref *trained)
{
    const ebm_params *params = &d->part->params;
    const ebm_ref *refs = d->t->refs[d->index];
    ebm_ref *updated = ebm__alloc((size_t)params->n, sizeof *updated);
    if (!updated) return EBM_NOMEM;
    d->t->updated[d->index] = updated;
    for (int64_t k = 0; k < params->n; k++) {
        updated[k] = refs[k];
        if (params->at[k].statistic) continue;
        d->which[d->n] = k;
        trained[d->n++] = refs[k];
    }
    return EBM_OK;
}

static void descend(descent *d, const ebm_ref *trained, ebm_ref loss)
{
    ebm_training *t = d->t;
    ebm_graph *g = t->g;
    ebm_vjp(g, &loss, NULL, 1, trained, (int32_t)d->n, d->grads);
    ebm_ref squares = gather(g, d->grads, d->n, squared_norm);
    ebm_ref norm = ebm_sqrt(g, ebm_sum_all(g, squares)), norms = ebm_sqrt(g, squares);
    ebm_training_metric(t, d->part->norm_metric, norm);
    ebm_training_metric(t, d->part->rate_metric, t->rate[d->index]);
    ebm_training_check(t, "gradient", norms);
    update_all(d, norm);
    ebm_ref finite = gather(g, d->grads, d->n, all_finite);
    note(t, t->check, &t->n_checks, "parameter", ebm_all(g, finite, EBM_ALL_AXES, false));
    write_norms(t, d->part->prefix, norms);
    t->group[t->n_groups].part = d->index;
    t->group[t->n_groups].norms = norms;
    t->group[t->n_groups++].finite = finite;
}

void ebm_training_descend(ebm_training *t, int32_t part, ebm_ref loss)
{
    if (loss == EBM_POISON) return;
    if (t->updated[part]) {
        ebm_graph_fail(t->g, EBM_INTERNAL, "training: '%s': descended twice", t->part[part].name);
        return;
    }
    size_t n = (size_t)t->part[part].params.n;
    descent d = {.t = t, .part = &t->part[part], .index = part};
    ebm_ref *trained = ebm__alloc(n, sizeof *trained);
    d.which = ebm__alloc(n, sizeof *d.which);
    d.grads = ebm__alloc(n, sizeof *d.grads);
    ebm_status status = trained && d.which && d.grads ? find_trained(&d, trained) : EBM_NOMEM;
    if (status == EBM_OK)
        descend(&d, trained, loss);
    else
        ebm_graph_failed(t->g, status);
    ebm__free(trained);
    ebm__free(d.which);
    ebm__free(d.grads);
}

void ebm_training_clamp(ebm_training *t, int32_t part, const char *name, double low, double high)
{
    if (t->n_clamps == EBM_PARTS_MAX) {
        ebm_graph_fail(t->g, EBM_INTERNAL, "training: '%s': too many bounds", name);
        return;
    }
    t->clamp[t->n_clamps].part = part;
    t->clamp[t->n_clamps].name = name;
    t->clamp[t->n_clamps].low = low;
    t->clamp[t->n_clamps++].high = high;
}

void ebm_training_statistics(ebm_training *t, int32_t part, const ebm_ref *seen, double share)
{
    ebm_graph *g = t->g;
    const ebm_part *p = &t->part[part];
    char name[EBM_NAME_SIZE];
    for (int64_t k = 0; k < p->params.n; k++) {
        if (!p->params.at[k].statistic || seen[k] == EBM_NONE) continue;
        ebm_ref old = t->refs[part][k], new = ebm_stop(g, seen[k]);
        ebm_ref next = ebm_add(g, old, ebm_scale(g, ebm_sub(g, new, old), share));
        ebm_training_commit(t, ebm_name_join(name, p->prefix, p->params.at[k].name), next);
        average(t, p->update.options.ema, name, next);
    }
}

/* ---- the gate ---------------------------------------------------------------------------- */

static ebm_ref integer(ebm_graph *g, int64_t value)
{
    return ebm_scalar(g, EBM_I32, (double)value);
}

/* The number, from 1, of the first check that failed; 0 if none did. */
static ebm_ref first_bad_term(const ebm_training *t)
{
    ebm_ref term = integer(t->g, 0);
    for (int32_t k = t->n_checks - 1; k >= 0; k--)
        term = ebm_select(t->g, t->check[k].ref, term, integer(t->g, k + 1));
    return term;
}

/* The number, from 1 and through all groups, of the first parameter with a bad gradient, or else
 * with a bad new value; 0 if there is none. */
static ebm_ref first_bad_param(const ebm_training *t)
{
    ebm_graph *g = t->g;
    ebm_ref found = integer(g, 0), zero = integer(g, 0);
    int64_t before = 0;
    for (int32_t k = 0; k < t->n_groups; k++) {
        ebm_ref grads = ebm_logical_not(g, ebm_isfinite(g, t->group[k].norms));
        ebm_ref values = ebm_logical_not(g, t->group[k].finite);
        ebm_ref bad = ebm_select(g, ebm_any(g, grads, EBM_ALL_AXES, false), grads, values);
        ebm_ref at = ebm_argmax(g, ebm_cast(g, bad, EBM_I32), 0);
        ebm_ref here = ebm_logical_and(g, ebm_any(g, bad, EBM_ALL_AXES, false),
                                       ebm_equal(g, found, zero));
        found = ebm_select(g, here, ebm_add(g, at, integer(g, before + 1)), found);
        before += ebm_ref_shape(g, t->group[k].norms).dim[0];
    }
    return found;
}

/* Writes the guard and returns whether this step counts. */
static ebm_ref write_guard(ebm_training *t)
{
    ebm_graph *g = t->g;
    ebm_shape scalar = EBM_SCALAR;
    const char *names[3] = {"guard.step", "guard.term", "guard.param"};
    ebm_ref old[3], zero = integer(g, 0), term = first_bad_term(t);
    for (int k = 0; k < 3; k++) old[k] = ebm_training_array(t, names[k], EBM_I32, &scalar);
    ebm_ref open = ebm_equal(g, old[0], zero);
    ebm_ref trips = ebm_logical_and(g, open, ebm_logical_not(g, ebm_equal(g, term, zero)));
    ebm_ref new[3] = {ebm_add(g, t->step, integer(g, 1)), term, first_bad_param(t)};
    for (int k = 0; k < 3; k++)
        ebm_stage_write(&t->stage, names[k], ebm_select(g, trips, new[k], old[k]));
    return ebm_logical_and(g, open, ebm_equal(g, term, zero));
}

static void write_changes(ebm_training *t, ebm_ref open)
{
    ebm_graph *g = t->g;
    for (int64_t k = 0; k < t->n_changes; k++) {
        const struct ebm_training_change *c = &t->changes[k];
        ebm_ref old = ebm_stage_read(&t->stage, c->name);
        if (c->slots == EBM_NONE) {
            ebm_stage_write(&t->stage, c->name, ebm_select(g, open, c->value, old));
            continue;
        }
        ebm_ref rows = ebm_select(g, open, c->value, ebm_take(g, old, c->slots, 0));
        ebm_stage_write(&t->stage, c->name, ebm_put(g, old, c->slots, rows));
    }
}

/* Ungated: the row of a step that failed is written again by the next one. */
static void write_metrics(ebm_training *t, int64_t chunk)
{
    ebm_graph *g = t->g;
    ebm_shape history = EBM_DIMS(chunk, t->n_metrics), one = EBM_DIMS(1),
              row = EBM_DIMS(1, t->n_metrics);
    ebm_dtype dtype = t->part[0].params.dtype;
    ebm_ref values[EBM_TRAINING_MAX];
    for (int32_t k = 0; k < t->n_metrics; k++)
        values[k] = ebm_reshape(g, ebm_cast(g, t->metric[k].ref, dtype), &one);
    ebm_state_remove(t->state, "metrics.history");
    ebm_ref all = ebm_training_array(t, "metrics.history", dtype, &history);
    ebm_ref place = ebm_reshape(g, ebm_mod(g, t->step, integer(g, chunk)), &one);
    ebm_ref values_row = ebm_reshape(g, ebm_concat(g, values, t->n_metrics, 0), &row);
    ebm_stage_write(&t->stage, "metrics.history", ebm_put(g, all, place, values_row));
}

ebm_status ebm_training_close(ebm_training *t, int64_t chunk)
{
    EBM_TRY(ebm_graph_status(t->g));
    write_metrics(t, chunk);
    ebm_ref open = write_guard(t);
    ebm_training_commit(t, "step", ebm_add(t->g, t->step, integer(t->g, 1)));
    write_changes(t, open);
    return ebm_graph_status(t->g);
}
