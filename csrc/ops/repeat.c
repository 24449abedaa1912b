/* repeat.c - the derivatives of repeat, which are repeats.
 *
 * Forward mode carries tangents along.  Reverse mode runs the loop once more forwards, keeping the
 * carries as they enter each step, then backwards: the carries of that second loop are the
 * cotangents of the carries and one accumulator for each captured value, and each step computes the
 * body again from what was kept.  Both new loops compute the old results too, so the old one gets
 * them as its twin and a plan need not run it. */
#include <string.h>

#include "base/alloc.h"
#include "graph/rules.h"
#include "ops/ops.h"

/* A repeat taken apart.  Inputs are numbered carries, xs, captured; results carries, ys. */
typedef struct loop_parts {
    ebm_graph *g;
    ebm_ref repeat;
    const ebm_ref *in;
    ebm_body body;
    int32_t n_carry, n_xs, n_given, n_in, n_ys, n_out;
    bool *in_active;  /* n_in: a variable of the derivative */
    bool *out_active; /* n_out: depends on one */
    ebm_ref *room;    /* bump storage of all arrays of refs */
    ebm_ref *next;
} loop_parts;

static ebm_ref *refs(loop_parts *p, int32_t n)
{
    ebm_ref *array = p->next;
    p->next += n;
    return array;
}

static ebm_status parts_init(loop_parts *p, ebm_graph *g, ebm_ref repeat)
{
    ebm_node node = ebm_graph_node(g, repeat);
    *p = (loop_parts){.g = g, .repeat = repeat, .in = node.in, .body = ebm_repeat_body(g, repeat)};
    p->n_carry = p->body.n_carry;
    p->n_xs = p->body.n_xs;
    p->n_given = p->n_carry + p->n_xs;
    p->n_in = node.n_in;
    p->n_ys = p->body.n_ys;
    p->n_out = p->n_carry + p->n_ys;
    /* The builds below take fewer than 24 arrays of n_in or n_out refs and two maps of the body. */
    size_t size = 24 * (size_t)(p->n_in + p->n_out + 1) +
                  2 * (size_t)ebm_graph_count(p->body.graph);
    p->room = p->next = ebm__alloc(size, sizeof *p->room);
    p->in_active = ebm__alloc((size_t)(p->n_in + p->n_out), sizeof *p->in_active);
    if (!p->room || !p->in_active) return EBM_NOMEM;
    p->out_active = p->in_active + p->n_in;
    return EBM_OK;
}

static void parts_fini(loop_parts *p)
{
    ebm__free(p->in_active);
    ebm__free(p->room);
}

static ebm_ref out_in_body(const loop_parts *p, int32_t k)
{
    return k < p->n_carry ? p->body.carry_out[k] : p->body.ys[k - p->n_carry];
}

/* Completes in_active over the carries, and out_active: a fixed point, since a carry feeds others. */
static ebm_status spread_activity(loop_parts *p)
{
    const ebm_graph *body = p->body.graph;
    size_t count = (size_t)ebm_graph_count(body);
    bool *mark = ebm__alloc(count, sizeof *mark);
    if (!mark) return EBM_NOMEM;
    for (bool changed = true; changed;) {
        changed = false;
        memset(mark, 0, count * sizeof *mark);
        for (int32_t k = 0; k < p->n_in; k++)
            mark[ebm_graph_input_ref(body, 1 + k)] = p->in_active[k];
        ebm__mark_active(body, mark);
        for (int32_t k = 0; k < p->n_out; k++) p->out_active[k] = mark[out_in_body(p, k)];
        for (int32_t k = 0; k < p->n_carry; k++) {
            changed |= p->out_active[k] && !p->in_active[k];
            p->in_active[k] |= p->out_active[k];
        }
    }
    ebm__free(mark);
    return EBM_OK;
}

/* The old body inside `to`.  inputs[0 .. n_given) are the values that play its carries and xs; the
 * captured ones are lifted here and written behind.  Returns its results, carries then ys. */
static ebm_ref *copy_body(loop_parts *p, ebm_graph *to, ebm_ref i, ebm_ref *inputs)
{
    const ebm_graph *from = p->body.graph;
    ebm_ref *map = refs(p, ebm_graph_count(from)), *wanted = refs(p, p->n_out);
    ebm_ref *outs = refs(p, p->n_out);
    map[ebm_graph_input_ref(from, 0)] = i;
    for (int32_t k = p->n_given; k < p->n_in; k++) inputs[k] = ebm_lift(to, p->g, p->in[k]);
    for (int32_t k = 0; k < p->n_in; k++) map[ebm_graph_input_ref(from, 1 + k)] = inputs[k];
    for (int32_t k = 0; k < p->n_out; k++) wanted[k] = out_in_body(p, k);
    ebm__graph_inline(to, from, map, wanted, p->n_out, outs);
    return outs;
}

/* The repeat that computes `item` stands in for the old one where both are needed. */
static void set_twin(loop_parts *p, ebm_ref item)
{
    ebm_node node = ebm_graph_node(p->g, item);
    if (node.op == EBM_OP_item) ebm__repeat_set_twin(p->g, p->repeat, node.in[0]);
}

/* ---- forward mode ------------------------------------------------------------------------------ */

/* Carries: the old, then a tangent for each active one; xs likewise; ys: the old, then tangents. */
static void build_jvp(loop_parts *p, const ebm_ref *in_t, ebm_ref *out_t)
{
    ebm_ref *carry = refs(p, 2 * p->n_carry), *xs = refs(p, 2 * p->n_xs), i;
    int32_t n = p->n_carry, m = p->n_xs;
    memcpy(carry, p->in, (size_t)n * sizeof *carry);
    memcpy(xs, p->in + n, (size_t)m * sizeof *xs);
    for (int32_t k = 0; k < p->n_given; k++) {
        if (!p->in_active[k]) continue;
        ebm_ref t = in_t[k] == EBM_NONE ? ebm_zeros_like(p->g, p->in[k]) : in_t[k];
        *(k < p->n_carry ? &carry[n++] : &xs[m++]) = t;
    }
    ebm_ref *carry_in = refs(p, n), *xs_in = refs(p, m);
    ebm_graph *body = ebm_repeat_open(p->g, p->body.n, carry, n, xs, m, &i, carry_in, xs_in);
    if (!body) return;

    ebm_ref *inputs = refs(p, p->n_in), *t = refs(p, p->n_in);
    memcpy(inputs, carry_in, (size_t)p->n_carry * sizeof *inputs);
    memcpy(inputs + p->n_carry, xs_in, (size_t)p->n_xs * sizeof *inputs);
    ebm_ref *outs = copy_body(p, body, i, inputs), *outs_t = refs(p, p->n_out);
    const ebm_ref *next_carry = carry_in + p->n_carry, *next_x = xs_in + p->n_xs;
    for (int32_t k = 0; k < p->n_in; k++) {
        if (!p->in_active[k])
            t[k] = EBM_NONE;
        else if (k < p->n_given)
            t[k] = k < p->n_carry ? *next_carry++ : *next_x++;
        else
            t[k] = ebm_lift(body, p->g, in_t[k]);
    }
    ebm_jvp(body, outs, p->n_out, inputs, t, p->n_in, outs_t);

    ebm_ref *leave = refs(p, n), *ys = refs(p, 2 * p->n_ys);
    int32_t n_leave = p->n_carry, n_ys = p->n_ys;
    memcpy(leave, outs, (size_t)n_leave * sizeof *leave);
    memcpy(ys, outs + p->n_carry, (size_t)n_ys * sizeof *ys);
    for (int32_t k = 0; k < p->n_out; k++) {
        if (k < p->n_carry ? !p->in_active[k] : !p->out_active[k]) continue;
        *(k < p->n_carry ? &leave[n_leave++] : &ys[n_ys++]) = outs_t[k];
    }
    ebm_ref *last = refs(p, n), *stacked = refs(p, n_ys);
    ebm_repeat_close(body, leave, ys, n_ys, p->body.reverse, last, stacked);
    set_twin(p, p->n_carry ? last[0] : stacked[0]);
    const ebm_ref *last_t = last + p->n_carry, *stacked_t = stacked + p->n_ys;
    for (int32_t k = 0; k < p->n_out; k++) {
        bool active = k < p->n_carry ? p->in_active[k] : p->out_active[k];
        out_t[k] = !active ? EBM_NONE : k < p->n_carry ? *last_t++ : *stacked_t++;
    }
}

void ebm__repeat_jvp(ebm_graph *graph, ebm_ref repeat, const ebm_ref *in_tangents,
                     ebm_ref *out_tangents)
{
    loop_parts p;
    ebm_status status = parts_init(&p, graph, repeat);
    if (status == EBM_OK) {
        for (int32_t k = 0; k < p.n_in; k++) p.in_active[k] = in_tangents[k] != EBM_NONE;
        for (int32_t k = 0; k < p.n_out; k++) out_tangents[k] = EBM_POISON;
        status = spread_activity(&p);
    }
    if (status == EBM_OK)
        build_jvp(&p, in_tangents, out_tangents);
    else
        ebm_graph_failed(graph, status);
    parts_fini(&p);
}

/* ---- reverse mode ------------------------------------------------------------------------------ */

/* The loop again, with the carries of each step as additional ys; returns those, stacked. */
static ebm_ref *keep_carries(loop_parts *p)
{
    ebm_ref *inputs = refs(p, p->n_in), *last = refs(p, p->n_carry), i;
    int32_t n_ys = p->n_ys + p->n_carry;
    ebm_ref *ys = refs(p, n_ys), *stacked = refs(p, n_ys);
    ebm_graph *body = ebm_repeat_open(p->g, p->body.n, p->in, p->n_carry, p->in + p->n_carry,
                                      p->n_xs, &i, inputs, inputs + p->n_carry);
    if (!body) return NULL;
    ebm_ref *outs = copy_body(p, body, i, inputs);
    memcpy(ys, outs + p->n_carry, (size_t)p->n_ys * sizeof *ys);
    memcpy(ys + p->n_ys, inputs, (size_t)p->n_carry * sizeof *ys);
    ebm_repeat_close(body, outs, ys, n_ys, p->body.reverse, last, stacked);
    set_twin(p, p->n_carry ? last[0] : stacked[0]);
    return stacked + p->n_ys;
}

/* carries: cotangents of active carries, then accumulators of active captured values.
 * xs: the old xs, the kept carries, the cotangents of ys.  ys: cotangents of active xs. */
static void build_vjp(loop_parts *p, const ebm_ref *out_ct, ebm_ref *in_ct)
{
    const ebm_ref *kept = keep_carries(p);
    if (!kept) return;
    ebm_ref *carry = refs(p, p->n_in), *xs = refs(p, p->n_in + p->n_out), i;
    int32_t n = 0, m = p->n_given;
    for (int32_t k = 0; k < p->n_in; k++) {
        bool is_xs = k >= p->n_carry && k < p->n_given;
        if (!p->in_active[k] || is_xs) continue;
        bool given = k < p->n_carry && out_ct[k] != EBM_NONE;
        carry[n++] = given ? out_ct[k] : ebm_zeros_like(p->g, p->in[k]);
    }
    memcpy(xs, p->in + p->n_carry, (size_t)p->n_xs * sizeof *xs);
    memcpy(xs + p->n_xs, kept, (size_t)p->n_carry * sizeof *xs);
    for (int32_t k = p->n_carry; k < p->n_out; k++)
        if (out_ct[k] != EBM_NONE) xs[m++] = out_ct[k];
    ebm_ref *carry_in = refs(p, n), *xs_in = refs(p, m);
    ebm_graph *body = ebm_repeat_open(p->g, p->body.n, carry, n, xs, m, &i, carry_in, xs_in);
    if (!body) return;

    ebm_ref *inputs = refs(p, p->n_in), *ct = refs(p, p->n_out);
    memcpy(inputs, xs_in + p->n_xs, (size_t)p->n_carry * sizeof *inputs);
    memcpy(inputs + p->n_carry, xs_in, (size_t)p->n_xs * sizeof *inputs);
    ebm_ref *outs = copy_body(p, body, i, inputs);
    const ebm_ref *next_ct = carry_in, *next_y = xs_in + p->n_given;
    for (int32_t k = 0; k < p->n_out; k++) {
        if (k < p->n_carry)
            ct[k] = p->in_active[k] ? *next_ct++ : EBM_NONE;
        else
            ct[k] = out_ct[k] != EBM_NONE ? *next_y++ : EBM_NONE;
    }
    ebm_ref *wrt = refs(p, p->n_in), *grad = refs(p, p->n_in);
    int32_t n_wrt = 0;
    for (int32_t k = 0; k < p->n_in; k++)
        if (p->in_active[k]) wrt[n_wrt++] = inputs[k];
    ebm_vjp(body, outs, ct, p->n_out, wrt, n_wrt, grad);

    ebm_ref *leave = refs(p, n), *ys = refs(p, p->n_xs);
    int32_t n_leave = 0, n_ys = 0;
    for (int32_t k = 0, w = 0; k < p->n_in; k++) {
        if (!p->in_active[k]) continue;
        ebm_ref part = grad[w++];
        if (k < p->n_carry)
            leave[n_leave++] = part;
        else if (k < p->n_given)
            ys[n_ys++] = part;
        else {
            leave[n_leave] = ebm_add(body, carry_in[n_leave], part);
            n_leave++;
        }
    }
    ebm_ref *last = refs(p, n), *stacked = refs(p, n_ys);
    ebm_repeat_close(body, leave, ys, n_ys, !p->body.reverse, last, stacked);
    for (int32_t k = 0; k < p->n_in; k++) {
        bool is_xs = k >= p->n_carry && k < p->n_given;
        in_ct[k] = !p->in_active[k] ? EBM_NONE : is_xs ? *stacked++ : *last++;
    }
}

void ebm__repeat_vjp(ebm_graph *graph, ebm_ref repeat, const ebm_ref *out_cts,
                     const bool *in_active, ebm_ref *in_cts)
{
    loop_parts p;
    bool asked = false;
    ebm_status status = parts_init(&p, graph, repeat);
    if (status == EBM_OK) {
        for (int32_t k = 0; k < p.n_in; k++) {
            p.in_active[k] = in_active[k] && ebm_dtype_is_float(ebm_ref_dtype(graph, p.in[k]));
            asked |= p.in_active[k];
        }
        status = spread_activity(&p);
    }
    for (int32_t k = 0; k < p.n_in; k++)
        in_cts[k] = status == EBM_OK && !p.in_active[k] ? EBM_NONE : EBM_POISON;
    if (status != EBM_OK)
        ebm_graph_failed(graph, status);
    else if (asked)
        build_vjp(&p, out_cts, in_cts);
    parts_fini(&p);
}
