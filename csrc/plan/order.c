/* order.c - which refs the outputs need, and an order with inputs before users.
 *
 * Of a repeat only the results that are read are kept, with the carries they hang on: the body is
 * searched for that, until nothing new is found.  Ref order alone will not do: the items of a repeat
 * may be given to its twin, which was made later than their users. */
#include <string.h>

#include "plan/plan_internal.h"

static ebm_status needs_init(ebm__needs *s, ebm__pool *pool, const ebm_graph *graph)
{
    *s = (ebm__needs){.pool = pool, .graph = graph, .count = ebm_graph_count(graph)};
    s->live = ebm__pool_alloc(pool, s->count, sizeof *s->live);
    s->twin = ebm__pool_alloc(pool, s->count, sizeof *s->twin);
    s->repeat_at = ebm__pool_alloc(pool, s->count, sizeof *s->repeat_at);
    s->order = ebm__pool_alloc(pool, s->count, sizeof *s->order);
    return s->live && s->twin && s->repeat_at && s->order ? EBM_OK : EBM_NOMEM;
}

static ebm_status push(ebm__needs *s, ebm_ref ref)
{
    EBM_TRY(ebm__pool_grow(s->pool, &s->stack, &s->stack_capacity, s->n_stack + 1,
                           sizeof *s->stack));
    s->stack[s->n_stack++] = ref;
    return EBM_OK;
}

static ebm_status mark(ebm__needs *s, ebm_ref ref)
{
    if (s->live[ref]) return EBM_OK;
    s->live[ref] = true;
    return push(s, ref);
}

static ebm_status add_repeat(ebm__needs *s, ebm_ref ref)
{
    EBM_TRY(ebm__pool_grow(s->pool, &s->repeat, &s->repeat_capacity, s->n_repeat + 1,
                           sizeof *s->repeat));
    ebm__repeat *r = &s->repeat[s->n_repeat];
    *r = (ebm__repeat){.ref = ref, .body = ebm_repeat_body(s->graph, ref)};
    r->item = ebm__pool_alloc(s->pool, r->body.n_carry + r->body.n_ys, sizeof *r->item);
    r->in = ebm__pool_alloc(s->pool, ebm_graph_n_inputs(r->body.graph), sizeof *r->in);
    if (!r->item || !r->in) return EBM_NOMEM;
    s->repeat_at[ref] = (int32_t)++s->n_repeat;
    return EBM_OK;
}

static ebm_ref resolve(const ebm__needs *s, ebm_ref repeat)
{
    while (s->twin[repeat] != EBM_POISON) repeat = s->twin[repeat];
    return repeat;
}

/* A twin has the carries of the older repeat first, and its ys first after all carries. */
static int32_t item_of_twin(const ebm_body *body, const ebm_body *twin, int32_t k)
{
    return k < body->n_carry ? k : k - body->n_carry + twin->n_carry;
}

ebm__repeat *ebm__needs_item(const ebm__needs *s, const ebm_node *item, int32_t *k)
{
    ebm_ref repeat = item->in[0];
    *k = (int32_t)item->attr[0];
    if (resolve(s, repeat) != repeat) {
        ebm_body body = ebm_repeat_body(s->graph, repeat);
        repeat = resolve(s, repeat);
        ebm_body twin = ebm_repeat_body(s->graph, repeat);
        *k = item_of_twin(&body, &twin, *k);
    }
    int32_t at = s->repeat_at[repeat];
    return at ? &s->repeat[at - 1] : NULL;
}

/* ---- liveness ---------------------------------------------------------------------------------- */

static ebm_status settle(ebm__needs *s);

/* What the body reads for the items wanted so far; a carry that is read has to be carried. */
static ebm_status settle_body(ebm__needs *s, ebm__repeat *r)
{
    const ebm_body *body = &r->body;
    ebm__needs inner;
    EBM_TRY(needs_init(&inner, s->pool, body->graph));
    for (bool more = true; more;) {
        for (int32_t k = 0; k < body->n_carry; k++)
            if (r->item[k]) EBM_TRY(mark(&inner, body->carry_out[k]));
        for (int32_t k = 0; k < body->n_ys; k++)
            if (r->item[body->n_carry + k]) EBM_TRY(mark(&inner, body->ys[k]));
        EBM_TRY(settle(&inner));
        more = false;
        for (int32_t k = 0; k < body->n_carry; k++) {
            if (r->item[k] || !inner.live[ebm_graph_input_ref(body->graph, 1 + k)]) continue;
            r->item[k] = more = true;
        }
    }
    for (int32_t k = 0; k < ebm_graph_n_inputs(body->graph); k++)
        r->in[k] = inner.live[ebm_graph_input_ref(body->graph, k)];
    return EBM_OK;
}

/* Of no turns: the carries as they came. */
static void settle_empty(ebm__repeat *r)
{
    for (int32_t k = 0; k < r->body.n_carry; k++) r->in[1 + k] = r->item[k];
}

/* Of a graft only the value counts. */
static int32_t n_reads(const ebm_node *node)
{
    return node->op == EBM_OP_graft ? 1 : node->n_in;
}

static ebm_status mark_node(ebm__needs *s, ebm_ref ref, bool *asked)
{
    ebm_node node = ebm_graph_node(s->graph, ref);
    if (node.op == EBM_OP_repeat) return EBM_OK; /* its operands: when its items are known */
    if (node.op == EBM_OP_item) {
        ebm_ref repeat = resolve(s, node.in[0]);
        int32_t k;
        if (!s->repeat_at[repeat]) EBM_TRY(add_repeat(s, repeat));
        ebm__repeat *r = ebm__needs_item(s, &node, &k);
        *asked |= !r->item[k];
        r->item[k] = true;
        return mark(s, repeat);
    }
    for (int32_t i = 0; i < n_reads(&node); i++) EBM_TRY(mark(s, node.in[i]));
    return EBM_OK;
}

static ebm_status settle(ebm__needs *s)
{
    bool asked = true;
    while (asked) {
        asked = false;
        while (s->n_stack > 0) EBM_TRY(mark_node(s, s->stack[--s->n_stack], &asked));
        for (int64_t i = s->n_repeat - 1; asked && i >= 0; i--) {
            ebm__repeat *r = &s->repeat[i];
            if (r->body.n > 0)
                EBM_TRY(settle_body(s, r));
            else
                settle_empty(r);
            ebm_node node = ebm_graph_node(s->graph, r->ref);
            for (int32_t k = 0; k < node.n_in; k++)
                if (r->in[1 + k]) EBM_TRY(mark(s, node.in[k]));
        }
    }
    return EBM_OK;
}

static ebm_status find_live(ebm__needs *s, const ebm_ref *outs, int32_t n_out)
{
    for (int32_t k = 0; k < n_out; k++) EBM_TRY(mark(s, outs[k]));
    return settle(s);
}

/* ---- twins ------------------------------------------------------------------------------------- */

/* True if `from` hangs on the repeat `on`, twins followed. */
static ebm_status depends(ebm__needs *s, ebm_ref from, ebm_ref on, bool *seen, bool *out)
{
    memset(seen, 0, (size_t)s->count * sizeof *seen);
    s->n_stack = 0;
    *out = false;
    EBM_TRY(push(s, from));
    while (s->n_stack > 0 && !*out) {
        ebm_node node = ebm_graph_node(s->graph, s->stack[--s->n_stack]);
        for (int32_t i = 0; i < node.n_in; i++) {
            ebm_ref in = node.op == EBM_OP_item ? resolve(s, node.in[i]) : node.in[i];
            if (in == on) *out = true;
            if (seen[in]) continue;
            seen[in] = true;
            EBM_TRY(push(s, in));
        }
    }
    s->n_stack = 0;
    return EBM_OK;
}

static bool same_items(const ebm__needs *s, const ebm__repeat *r, ebm_ref twin)
{
    ebm_body t = ebm_repeat_body(s->graph, twin);
    const ebm_body *b = &r->body;
    if (t.n != b->n || t.n_carry < b->n_carry || t.n_ys < b->n_ys) return false;
    for (int32_t k = 0; k < b->n_carry + b->n_ys; k++) {
        int32_t at = item_of_twin(b, &t, k);
        ebm_ref mine = k < b->n_carry ? b->carry_out[k] : b->ys[k - b->n_carry];
        ebm_ref other = at < t.n_carry ? t.carry_out[at] : t.ys[at - t.n_carry];
        ebm_shape x = ebm_ref_shape(b->graph, mine), y = ebm_ref_shape(t.graph, other);
        if (ebm_ref_dtype(b->graph, mine) != ebm_ref_dtype(t.graph, other) ||
            !ebm_shape_equal(&x, &y))
            return false;
    }
    return true;
}

/* Gives each live repeat to its live twin, unless the twin is computed from the repeat's results. */
static ebm_status join_twins(ebm__needs *s, bool *joined)
{
    bool *seen = ebm__pool_alloc(s->pool, s->count, sizeof *seen);
    if (!seen) return EBM_NOMEM;
    *joined = false;
    for (ebm_ref ref = 1; ref < s->count; ref++) {
        if (!s->live[ref] || !s->repeat_at[ref]) continue;
        ebm_ref twin = ebm_repeat_twin(s->graph, ref);
        while (twin != EBM_POISON && !(s->live[twin] && s->repeat_at[twin]))
            twin = ebm_repeat_twin(s->graph, twin);
        if (twin == EBM_POISON || !same_items(s, &s->repeat[s->repeat_at[ref] - 1], twin))
            continue;
        bool circular;
        EBM_TRY(depends(s, twin, ref, seen, &circular));
        if (circular) continue;
        s->twin[ref] = twin;
        *joined = true;
    }
    return EBM_OK;
}

/* ---- order ------------------------------------------------------------------------------------- */

/* Operand i of a live node as a ref that must come before it; EBM_POISON: not needed. */
static ebm_ref operand(const ebm__needs *s, const ebm_node *node, ebm_ref ref, int32_t i)
{
    if (node->op == EBM_OP_repeat)
        return s->repeat[s->repeat_at[ref] - 1].in[1 + i] ? node->in[i] : 0;
    return node->op == EBM_OP_item ? resolve(s, node->in[i]) : node->in[i];
}

/* Depth first, inputs in their order. */
static ebm_status sort(ebm__needs *s, const ebm_ref *outs, int32_t n_out)
{
    int32_t *next = ebm__pool_alloc(s->pool, s->count, sizeof *next); /* operand to visit, plus 1 */
    if (!next) return EBM_NOMEM;
    for (int32_t k = 0; k < n_out; k++) {
        if (!next[outs[k]]) EBM_TRY(push(s, outs[k]));
        while (s->n_stack > 0) {
            ebm_ref ref = s->stack[s->n_stack - 1];
            ebm_node node = ebm_graph_node(s->graph, ref);
            ebm_ref in = EBM_POISON;
            if (!next[ref]) next[ref] = 1;
            while (in == EBM_POISON && next[ref] <= n_reads(&node)) {
                in = operand(s, &node, ref, next[ref]++ - 1);
                if (next[in]) in = EBM_POISON;
            }
            if (in != EBM_POISON) {
                EBM_TRY(push(s, in));
            } else {
                s->order[s->n_order++] = ref;
                s->n_stack--;
            }
        }
    }
    return EBM_OK;
}

ebm_status ebm__needs_find(ebm__needs *needs, ebm__pool *pool, const ebm_graph *graph,
                           const ebm_ref *outs, int32_t n_out, bool join)
{
    EBM_TRY(needs_init(needs, pool, graph));
    EBM_TRY(find_live(needs, outs, n_out));
    bool joined = false;
    if (join && needs->n_repeat > 1) EBM_TRY(join_twins(needs, &joined));
    if (joined) {
        ebm_ref *twin = needs->twin;
        EBM_TRY(needs_init(needs, pool, graph));
        needs->twin = twin;
        EBM_TRY(find_live(needs, outs, n_out));
    }
    return sort(needs, outs, n_out);
}
