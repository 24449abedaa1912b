/* inline.c - copying part of a graph into another: bodies of repeat are rebuilt with it. */
#include <string.h>

#include "base/alloc.h"
#include "graph/rules.h"

/* A nested repeat: its body again, inside `to`, around the mapped inputs.  `room` holds
 * n_in + 1 + n_in + 2 n_out refs, then the map of the body. */
static ebm_ref rebuild(ebm_graph *to, const ebm_node *node, const ebm_body *loop,
                       const ebm_ref *map, ebm_ref *room)
{
    int32_t n_in = node->n_in, given = loop->n_carry + loop->n_xs;
    int32_t n_out = loop->n_carry + loop->n_ys;
    ebm_ref *in = room, *inside = in + n_in, *wanted = inside + n_in + 1, *outs = wanted + n_out;
    ebm_ref *inner = outs + n_out;
    for (int32_t k = 0; k < n_in; k++) in[k] = map[node->in[k]];
    ebm_graph *body = ebm_repeat_open(to, loop->n, in, loop->n_carry, in + loop->n_carry,
                                      loop->n_xs, &inside[0], inside + 1,
                                      inside + 1 + loop->n_carry);
    if (!body) return EBM_POISON;
    for (int32_t k = given; k < n_in; k++) inside[1 + k] = ebm_lift(body, to, in[k]);
    for (int32_t k = 0; k <= n_in; k++) inner[ebm_graph_input_ref(loop->graph, k)] = inside[k];
    if (loop->n_carry) memcpy(wanted, loop->carry_out, (size_t)loop->n_carry * sizeof *wanted);
    if (loop->n_ys)
        memcpy(wanted + loop->n_carry, loop->ys, (size_t)loop->n_ys * sizeof *wanted);
    ebm__graph_inline(body, loop->graph, inner, wanted, n_out, outs);
    ebm_repeat_close(body, outs, outs + loop->n_carry, loop->n_ys, loop->reverse, wanted,
                     wanted + loop->n_carry);
    ebm_node item = ebm_graph_node(to, wanted[0]);
    return item.op == EBM_OP_item ? item.in[0] : EBM_POISON;
}

static ebm_ref copy_repeat(ebm_graph *to, const ebm_graph *from, ebm_ref r, const ebm_ref *map)
{
    ebm_node node = ebm_graph_node(from, r);
    ebm_body loop = ebm_repeat_body(from, r);
    size_t room_size = 2 * (size_t)node.n_in + 1 + 2 * (size_t)(loop.n_carry + loop.n_ys) +
                       (size_t)ebm_graph_count(loop.graph);
    ebm_ref *room = ebm__alloc(room_size, sizeof *room);
    if (!room) return ebm_graph_failed(to, EBM_NOMEM);
    ebm_ref copy = rebuild(to, &node, &loop, map, room);
    ebm__free(room);
    return copy;
}

static ebm_ref copy_node(ebm_graph *to, const ebm_node *node, const ebm_ref *map)
{
    ebm_ref few[8], *in = few;
    if (node->n_in > 8 && !(in = ebm__alloc((size_t)node->n_in, sizeof *in)))
        return ebm_graph_failed(to, EBM_NOMEM);
    for (int32_t i = 0; i < node->n_in; i++) in[i] = map[node->in[i]];
    ebm_ref copy = ebm__push(to, node->op, in, node->n_in, node->attr, node->n_attr);
    if (in != few) ebm__free(in);
    return copy;
}

void ebm__graph_inline(ebm_graph *to, const ebm_graph *from, ebm_ref *map, const ebm_ref *outs,
                       int32_t n_out, ebm_ref *outs_to)
{
    bool *needed = ebm__alloc((size_t)ebm_graph_count(from), sizeof *needed);
    if (!needed) ebm_graph_failed(to, EBM_NOMEM);
    for (int32_t j = 0; needed && j < n_out; j++) needed[outs[j]] = true;
    if (needed) ebm__mark_needed(from, needed, NULL);
    for (ebm_ref r = 1; needed && r < ebm_graph_count(from); r++) {
        if (!needed[r] || map[r]) continue;
        ebm_node node = ebm_graph_node(from, r);
        if (node.op == EBM_OP_input)
            ebm_graph_fail(to, EBM_INTERNAL, "graph: an input was not mapped");
        else
            map[r] = node.op == EBM_OP_repeat ? copy_repeat(to, from, r, map)
                                              : copy_node(to, &node, map);
    }
    for (int32_t j = 0; j < n_out; j++) outs_to[j] = needed ? map[outs[j]] : EBM_POISON;
    ebm__free(needed);
}
