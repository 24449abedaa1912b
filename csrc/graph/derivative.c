/* derivative.c - vjp and jvp: graph in, graph out, one rule an op (ops.def says which kind).
 *
 * Both walk the nodes in order of their refs, which is a topological order.  What they create comes
 * after, so a derivative can be differentiated again; EBM_NONE stands for a structural zero, and is
 * made an array only where one is asked for. */
#include <string.h>

#include "base/alloc.h"
#include "graph/rules.h"

/* ---- dependence -------------------------------------------------------------------------------- */

static bool differentiable(const ebm_node *node)
{
    return ebm_dtype_is_float(node->dtype) && ebm_op_get(node->op)->kind != EBM_KIND_NON;
}

void ebm__mark_active(const ebm_graph *graph, bool *active)
{
    for (ebm_ref r = 1; r < ebm_graph_count(graph); r++) {
        ebm_node node = ebm_graph_node(graph, r);
        bool passes = differentiable(&node) || node.op == EBM_OP_repeat;
        for (int32_t i = 0; passes && !active[r] && i < node.n_in; i++)
            active[r] = active[node.in[i]];
    }
}

void ebm__mark_needed(const ebm_graph *graph, bool *needed, const bool *through)
{
    for (ebm_ref r = ebm_graph_count(graph) - 1; r > 0; r--) {
        if (!needed[r] || (through && !through[r])) continue;
        ebm_node node = ebm_graph_node(graph, r);
        for (int32_t i = 0; i < node.n_in; i++) needed[node.in[i]] = true;
    }
}

static ebm_ref add_to(ebm_graph *g, ebm_ref sum, ebm_ref term)
{
    if (sum == EBM_NONE) return term;
    if (term == EBM_NONE) return sum;
    const ebm_ref in[] = {sum, term};
    return ebm__push(g, EBM_OP_add, in, 2, NULL, 0);
}

static ebm_ref zeros(ebm_graph *g, ebm_ref like)
{
    ebm_shape shape = ebm_ref_shape(g, like);
    return ebm__constant(g, ebm_ref_dtype(g, like), &shape, 0.0);
}

/* Results of a repeat, collected over its items: n_carry + n_ys refs, found by the repeat's ref. */
typedef struct results {
    struct results *next;
    ebm_ref repeat;
    int32_t n;
    ebm_ref ref[];
} results;

static results *results_of(ebm_graph *g, results **list, ebm_ref repeat)
{
    for (results *r = *list; r; r = r->next)
        if (r->repeat == repeat) return r;
    ebm_body loop = ebm_repeat_body(g, repeat);
    int32_t n = loop.n_carry + loop.n_ys;
    results *fresh = ebm__alloc(1, sizeof *fresh + (size_t)n * sizeof fresh->ref[0]);
    if (!fresh) {
        ebm_graph_failed(g, EBM_NOMEM);
        return NULL;
    }
    *fresh = (results){.next = *list, .repeat = repeat, .n = n};
    for (int32_t k = 0; k < n; k++) fresh->ref[k] = EBM_NONE;
    return *list = fresh;
}

static void results_free(results *list)
{
    while (list) {
        results *next = list->next;
        ebm__free(list);
        list = next;
    }
}

static ebm_ref expand(ebm_graph *g, const ebm_node *node)
{
    switch (node->op) {
#define GEN(id, n, family) \
    case EBM_OP_##id: return ebm__expand_##id(g, node);
#include "graph/ops.def"
    default: return EBM_POISON;
    }
}

static ebm_ref transpose_rule(ebm_graph *g, const ebm_node *node, int32_t i, ebm_ref ct)
{
    switch (node->op) {
#define LIN(id, n, family) \
    case EBM_OP_##id: return ebm__rule_##id(g, node, i, ct);
#define MULTI(id, n, family) \
    case EBM_OP_##id: return ebm__rule_##id(g, node, i, ct);
#include "graph/ops.def"
    default: return EBM_POISON;
    }
}

static const struct {
    ebm_own_rule *vjp, *jvp;
} own_rules[EBM_OP_COUNT] = {
#define OWN(id, n, family) [EBM_OP_##id] = {ebm__vjp_##id, ebm__jvp_##id},
#include "graph/ops.def"
};

/* ---- reverse mode ------------------------------------------------------------------------------ */

typedef struct reverse {
    ebm_graph *g;
    ebm_ref *ct;  /* by ref; EBM_NONE */
    bool *active; /* by ref */
    results *repeats;
} reverse;

static ebm_ref pull_input(reverse *v, const ebm_node *node, ebm_ref r, int32_t i, ebm_ref ct)
{
    switch (ebm_op_get(node->op)->kind) {
    case EBM_KIND_EW: return ebm__times(v->g, ct, ebm__partial(v->g, node, r, i));
    case EBM_KIND_OWN: return own_rules[node->op].vjp(v->g, node, r, i, ct);
    default: return transpose_rule(v->g, node, i, ct);
    }
}

static void pull_inputs(reverse *v, const ebm_node *node, ebm_ref r, ebm_ref ct)
{
    for (int32_t i = 0; i < node->n_in; i++) {
        ebm_ref x = node->in[i];
        if (!v->active[x]) continue;
        v->ct[x] = add_to(v->g, v->ct[x], pull_input(v, node, r, i, ct));
    }
}

static void pull_expanded(reverse *v, const ebm_node *node, ebm_ref ct)
{
    ebm_ref form = expand(v->g, node), parts[8];
    ebm_vjp(v->g, &form, &ct, 1, node->in, node->n_in, parts);
    for (int32_t i = 0; i < node->n_in; i++)
        if (v->active[node->in[i]])
            v->ct[node->in[i]] = add_to(v->g, v->ct[node->in[i]], parts[i]);
}

static void pull_repeat(reverse *v, const ebm_node *node, ebm_ref r)
{
    results *outs = results_of(v->g, &v->repeats, r);
    ebm_ref *in_cts = ebm__alloc((size_t)node->n_in, sizeof *in_cts);
    bool *in_active = ebm__alloc((size_t)node->n_in, sizeof *in_active);
    if (outs && in_cts && in_active) {
        for (int32_t i = 0; i < node->n_in; i++) in_active[i] = v->active[node->in[i]];
        ebm__repeat_vjp(v->g, r, outs->ref, in_active, in_cts);
        for (int32_t i = 0; i < node->n_in; i++)
            v->ct[node->in[i]] = add_to(v->g, v->ct[node->in[i]], in_cts[i]);
    } else {
        ebm_graph_failed(v->g, EBM_NOMEM);
    }
    ebm__free(in_cts);
    ebm__free(in_active);
}

static void pull(reverse *v, ebm_ref r)
{
    ebm_node node = ebm_graph_node(v->g, r);
    ebm_ref ct = v->ct[r];
    if (node.op == EBM_OP_repeat) {
        pull_repeat(v, &node, r);
        return;
    }
    if (ct == EBM_NONE) return;
    if (node.op == EBM_OP_item) {
        results *outs = results_of(v->g, &v->repeats, node.in[0]);
        if (outs) outs->ref[node.attr[0]] = add_to(v->g, outs->ref[node.attr[0]], ct);
        return;
    }
    switch (ebm_op_get(node.op)->kind) {
    case EBM_KIND_EW:
    case EBM_KIND_LIN:
    case EBM_KIND_MULTI:
    case EBM_KIND_OWN: pull_inputs(v, &node, r, ct); break;
    case EBM_KIND_GEN: pull_expanded(v, &node, ct); break;
    default: break;
    }
}

static bool any_result(const results *list, ebm_ref repeat)
{
    for (; list; list = list->next)
        if (list->repeat == repeat) return true;
    return false;
}

static void sweep_back(reverse *v, const bool *leaf, ebm_ref last)
{
    for (ebm_ref r = last; r > 0; r--) {
        if (!v->active[r] || leaf[r]) continue;
        bool asked = v->ct[r] != EBM_NONE || any_result(v->repeats, r);
        if (asked) pull(v, r);
    }
}

/* Seeds the cotangents of the outputs; SHAPE or DTYPE if one does not fit its output. */
static ebm_status seed(reverse *v, const ebm_ref *outs, const ebm_ref *cts, int32_t n_out)
{
    for (int32_t j = 0; j < n_out; j++) {
        ebm_node out = ebm_graph_node(v->g, outs[j]);
        ebm_ref ct = cts ? cts[j] : ebm__constant(v->g, out.dtype, &out.shape, 1.0);
        if (ct == EBM_NONE) continue;
        ebm_node with = ebm_graph_node(v->g, ct);
        if (!ebm_dtype_is_float(out.dtype))
            return ebm_fail(EBM_DTYPE, "vjp: output: got %s, expected a float type",
                            ebm_dtype_name(out.dtype));
        if (with.dtype != out.dtype || !ebm_shape_equal(&with.shape, &out.shape)) {
            char a[128], b[128];
            return ebm_fail(EBM_SHAPE, "vjp: cotangent: got %s %s, expected %s %s",
                            ebm_dtype_name(with.dtype), ebm_shape_text(&with.shape, a, sizeof a),
                            ebm_dtype_name(out.dtype), ebm_shape_text(&out.shape, b, sizeof b));
        }
        v->ct[outs[j]] = add_to(v->g, v->ct[outs[j]], ct);
    }
    return EBM_OK;
}

static bool any_poison(const ebm_ref *refs, int32_t n)
{
    for (int32_t i = 0; refs && i < n; i++)
        if (refs[i] == EBM_POISON) return true;
    return false;
}

static ebm_ref highest(const ebm_ref *refs, int32_t n)
{
    ebm_ref high = 0;
    for (int32_t i = 0; i < n; i++) high = refs[i] > high ? refs[i] : high;
    return high;
}

void ebm_vjp(ebm_graph *graph, const ebm_ref *outs, const ebm_ref *cts, int32_t n_out,
             const ebm_ref *wrt, int32_t n_wrt, ebm_ref *grads)
{
    size_t count = (size_t)ebm_graph_count(graph);
    bool poisoned = any_poison(outs, n_out) || any_poison(cts, n_out) || any_poison(wrt, n_wrt);
    reverse v = {.g = graph};
    bool *leaf = NULL;
    if (!poisoned) {
        v.ct = ebm__alloc(count, sizeof *v.ct);
        v.active = ebm__alloc(count, sizeof *v.active);
        leaf = ebm__alloc(count, sizeof *leaf);
        if (!v.ct || !v.active || !leaf) ebm_graph_failed(graph, EBM_NOMEM);
        poisoned = !v.ct || !v.active || !leaf;
    }
    if (!poisoned) {
        for (size_t r = 0; r < count; r++) v.ct[r] = EBM_NONE;
        for (int32_t k = 0; k < n_wrt; k++)
            v.active[wrt[k]] = leaf[wrt[k]] = ebm_dtype_is_float(ebm_ref_dtype(graph, wrt[k]));
        ebm__mark_active(graph, v.active);
        ebm_status status = seed(&v, outs, cts, n_out);
        if (status == EBM_OK)
            sweep_back(&v, leaf, highest(outs, n_out));
        else
            ebm_graph_failed(graph, status);
        poisoned = status != EBM_OK;
    }
    for (int32_t k = 0; k < n_wrt; k++)
        grads[k] = poisoned                   ? EBM_POISON
                   : v.ct[wrt[k]] == EBM_NONE ? zeros(graph, wrt[k])
                                              : v.ct[wrt[k]];
    results_free(v.repeats);
    ebm__free(v.ct);
    ebm__free(v.active);
    ebm__free(leaf);
}

ebm_ref ebm_grad(ebm_graph *graph, ebm_ref out, ebm_ref wrt)
{
    ebm_ref grad = EBM_POISON;
    ebm_vjp(graph, &out, NULL, 1, &wrt, 1, &grad);
    return grad;
}

/* ---- forward mode ------------------------------------------------------------------------------ */

typedef struct forward {
    ebm_graph *g;
    ebm_ref *t; /* by ref; EBM_NONE */
    results *repeats;
} forward;

static ebm_ref push_partials(forward *v, const ebm_node *node, ebm_ref r)
{
    ebm_ref sum = EBM_NONE;
    for (int32_t i = 0; i < node->n_in; i++) {
        ebm_ref t = v->t[node->in[i]];
        if (t == EBM_NONE) continue;
        sum = add_to(v->g, sum, ebm__times(v->g, t, ebm__partial(v->g, node, r, i)));
    }
    return sum;
}

/* The op again, with input i (or, i < 0, every float input) replaced by its tangent. */
static ebm_ref push_replaced(forward *v, const ebm_node *node, int32_t only)
{
    ebm_ref *in = ebm__alloc((size_t)node->n_in, sizeof *in);
    if (!in) return ebm_graph_failed(v->g, EBM_NOMEM);
    for (int32_t i = 0; i < node->n_in; i++) {
        ebm_ref x = node->in[i];
        bool replace = only < 0 ? ebm_dtype_is_float(ebm_ref_dtype(v->g, x)) : i == only;
        in[i] = !replace ? x : v->t[x] == EBM_NONE ? zeros(v->g, x) : v->t[x];
    }
    ebm_ref y = ebm__push(v->g, node->op, in, node->n_in, node->attr, node->n_attr);
    ebm__free(in);
    return y;
}

/* The sum over the inputs of the tangents that each brings: MULTI and OWN. */
static ebm_ref push_each(forward *v, const ebm_node *node, ebm_ref r)
{
    ebm_own_rule *own = own_rules[node->op].jvp;
    ebm_ref sum = EBM_NONE;
    for (int32_t i = 0; i < node->n_in; i++) {
        ebm_ref t = v->t[node->in[i]];
        if (t == EBM_NONE) continue;
        sum = add_to(v->g, sum, own ? own(v->g, node, r, i, t) : push_replaced(v, node, i));
    }
    return sum;
}

static ebm_ref push_expanded(forward *v, const ebm_node *node)
{
    ebm_ref form = expand(v->g, node), t = EBM_POISON, tangents[8];
    for (int32_t i = 0; i < node->n_in; i++)
        tangents[i] = v->t[node->in[i]] == EBM_NONE ? zeros(v->g, node->in[i])
                                                    : v->t[node->in[i]];
    ebm_jvp(v->g, &form, 1, node->in, tangents, node->n_in, &t);
    return t;
}

static void push_repeat(forward *v, const ebm_node *node, ebm_ref r)
{
    results *outs = results_of(v->g, &v->repeats, r);
    ebm_ref *tangents = ebm__alloc((size_t)node->n_in, sizeof *tangents);
    if (outs && tangents) {
        for (int32_t i = 0; i < node->n_in; i++) tangents[i] = v->t[node->in[i]];
        ebm__repeat_jvp(v->g, r, tangents, outs->ref);
    } else {
        ebm_graph_failed(v->g, EBM_NOMEM);
    }
    ebm__free(tangents);
}

static ebm_ref push_node(forward *v, const ebm_node *node, ebm_ref r)
{
    if (node->op == EBM_OP_item) {
        results *outs = results_of(v->g, &v->repeats, node->in[0]);
        return outs ? outs->ref[node->attr[0]] : EBM_POISON;
    }
    switch (ebm_op_get(node->op)->kind) {
    case EBM_KIND_EW: return push_partials(v, node, r);
    case EBM_KIND_LIN: return push_replaced(v, node, -1);
    case EBM_KIND_MULTI:
    case EBM_KIND_OWN: return push_each(v, node, r);
    case EBM_KIND_GEN: return push_expanded(v, node);
    default: return EBM_NONE;
    }
}

static void sweep_forward(forward *v, const bool *active, const bool *needed, ebm_ref last)
{
    for (ebm_ref r = 1; r <= last; r++) {
        if (!active[r] || !needed[r] || v->t[r] != EBM_NONE) continue;
        ebm_node node = ebm_graph_node(v->g, r);
        if (node.op == EBM_OP_repeat)
            push_repeat(v, &node, r);
        else
            v->t[r] = push_node(v, &node, r);
    }
}

static ebm_status check_tangent(const ebm_graph *g, ebm_ref x, ebm_ref t)
{
    ebm_node nx = ebm_graph_node(g, x), nt = ebm_graph_node(g, t);
    if (ebm_dtype_is_float(nx.dtype) && nt.dtype == nx.dtype &&
        ebm_shape_equal(&nt.shape, &nx.shape))
        return EBM_OK;
    char a[128], b[128];
    return ebm_fail(ebm_dtype_is_float(nx.dtype) ? EBM_SHAPE : EBM_DTYPE,
                    "jvp: tangent: got %s %s for a value %s %s", ebm_dtype_name(nt.dtype),
                    ebm_shape_text(&nt.shape, a, sizeof a), ebm_dtype_name(nx.dtype),
                    ebm_shape_text(&nx.shape, b, sizeof b));
}

/* Runs the sweep; on an error the tangents stay EBM_NONE and the graph has the cause. */
static ebm_status forward_all(forward *v, bool *active, bool *needed, const ebm_ref *outs,
                              int32_t n_out, const ebm_ref *wrt, const ebm_ref *tangents,
                              int32_t n_wrt)
{
    for (int32_t k = 0; k < n_wrt; k++) {
        if (tangents[k] == EBM_NONE) continue;
        EBM_TRY(check_tangent(v->g, wrt[k], tangents[k]));
        active[wrt[k]] = true;
        v->t[wrt[k]] = tangents[k];
    }
    ebm__mark_active(v->g, active);
    for (int32_t j = 0; j < n_out; j++) needed[outs[j]] = true;
    ebm__mark_needed(v->g, needed, active);
    sweep_forward(v, active, needed, highest(outs, n_out));
    return EBM_OK;
}

void ebm_jvp(ebm_graph *graph, const ebm_ref *outs, int32_t n_out, const ebm_ref *wrt,
             const ebm_ref *tangents, int32_t n_wrt, ebm_ref *out_tangents)
{
    size_t count = (size_t)ebm_graph_count(graph);
    bool poisoned = any_poison(outs, n_out) || any_poison(wrt, n_wrt) ||
                    any_poison(tangents, n_wrt);
    forward v = {.g = graph};
    bool *flags = NULL;
    if (!poisoned) {
        v.t = ebm__alloc(count, sizeof *v.t);
        flags = ebm__alloc(2 * count, sizeof *flags);
        ebm_status status = v.t && flags ? EBM_OK : EBM_NOMEM;
        for (size_t r = 0; status == EBM_OK && r < count; r++) v.t[r] = EBM_NONE;
        if (status == EBM_OK)
            status = forward_all(&v, flags, flags + count, outs, n_out, wrt, tangents, n_wrt);
        if (status != EBM_OK) ebm_graph_failed(graph, status);
        poisoned = status != EBM_OK;
    }
    for (int32_t j = 0; j < n_out; j++) {
        if (poisoned)
            out_tangents[j] = EBM_POISON;
        else if (v.t[outs[j]] != EBM_NONE)
            out_tangents[j] = v.t[outs[j]];
        else
            out_tangents[j] = zeros(graph, outs[j]);
    }
    results_free(v.repeats);
    ebm__free(v.t);
    ebm__free(flags);
}
