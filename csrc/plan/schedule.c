/* schedule.c - clusters get positions, and stores their last reads.
 *
 * An output that overwrites an input is written in place if every reader of that input can come
 * before; else it is computed beside and copied at the end. */
#include "plan/plan_internal.h"

/* ---- outputs in the place of inputs ------------------------------------------------------------ */

/* Kernel `v` may write its result over what it reads as operand i. */
static bool kernel_overwrites(const ebm__block *b, const ebm__vertex *v, int32_t i, int32_t store)
{
    switch (v->kind) {
    case EBM__ELEMENT: return true; /* element by element */
    case EBM__KERNEL: return ebm_graph_node(b->graph, v->ref).op == EBM_OP_put && i == 0;
    case EBM__LOOP: /* the carry that comes in goes out there */
        return i < ebm_graph_node(b->graph, v->ref).attr[2] && v->store + i == store;
    default: return false;
    }
}

/* The cluster reads the input only where and as it may overwrite it with `store`. */
static bool reads_in_place(const ebm__block *b, int32_t cluster, int32_t input, int32_t store)
{
    for (int32_t v = cluster; v >= 0; v = b->vertex[v].next)
        for (int32_t i = 0; i < b->vertex[v].n_read; i++) {
            const ebm__read *read = &b->read[b->vertex[v].first_read + i];
            if (read->store != input) continue;
            if (read->draw) return false; /* any element needs all of the key */
            ebm__value value = ebm__read_value(b, read);
            if (!ebm__value_is_whole(b, read->ref, &value)) return false;
            if (!kernel_overwrites(b, &b->vertex[v], i, store)) return false;
        }
    return true;
}

/* A cluster among the n on block->stack is `goal`, or hangs on it. */
static bool hangs_on(ebm__block *b, int64_t n, int32_t goal)
{
    while (n > 0) {
        int32_t cluster = b->stack[--n];
        if (cluster == goal) return true;
        n = ebm__search_push_before(b, n, cluster);
    }
    return false;
}

static ebm_status run_after(ebm__block *b, int32_t cluster, int32_t before)
{
    EBM_TRY(ebm__pool_grow(&b->c->temp, &b->after, &b->after_capacity, b->n_after + 1,
                           sizeof *b->after));
    b->after[b->n_after] = (ebm__after){.vertex = before, .next = b->vertex[cluster].after};
    b->vertex[cluster].after = (int32_t)b->n_after++;
    return EBM_OK;
}

/* Lets output k overwrite its input after all readers of it, or puts the output off to the end. */
static ebm_status settle_overwrite(ebm__block *b, int32_t k, int32_t store, int32_t input)
{
    int32_t cluster = ebm__block_cluster(b, b->store[store].vertex);
    const ebm__store *in = &b->store[input];
    int64_t n = 0;
    ebm__search_begin(b);
    for (int32_t i = 0; i < in->n_reader; i++) {
        int32_t reader = ebm__block_cluster(b, b->reader[in->first_reader + i]);
        if (reader != cluster) n = ebm__search_push(b, n, reader);
    }
    if (!reads_in_place(b, cluster, input, store) || hangs_on(b, n, cluster)) {
        b->store[store].out = -1;
        b->store[store].kept = true;
        b->late[b->n_late++] = k;
        return EBM_OK;
    }
    for (int32_t i = 0; i < in->n_reader; i++) {
        int32_t reader = ebm__block_cluster(b, b->reader[in->first_reader + i]);
        if (reader != cluster) EBM_TRY(run_after(b, cluster, reader));
    }
    return EBM_OK;
}

static ebm_status settle_overwrites(ebm__block *b)
{
    for (int32_t s = 0; s < b->n_store; s++) {
        int32_t k = b->store[s].out;
        int32_t input = k >= 0 ? b->target[k].input : -1;
        if (input >= 0 && b->input_store[input])
            EBM_TRY(settle_overwrite(b, k, s, b->input_store[input] - 1));
    }
    return EBM_OK;
}

/* ---- positions --------------------------------------------------------------------------------- */

enum { UNSEEN = -1, OPEN = -2 };

/* Gives positions to a cluster and to what must come before it, depth first. */
static ebm_status visit(ebm__block *b, int32_t cluster, int32_t **stack, int64_t *capacity)
{
    int64_t n = 1;
    EBM_TRY(ebm__pool_grow(&b->c->temp, stack, capacity, 1, sizeof **stack));
    (*stack)[0] = cluster;
    while (n > 0) {
        ebm__vertex *top = &b->vertex[(*stack)[n - 1]];
        if (top->position >= 0) {
            n--;
        } else if (top->position == OPEN) {
            top->position = b->n_sequence;
            b->sequence[b->n_sequence++] = (*stack)[--n];
        } else {
            top->position = OPEN;
            ebm__search_begin(b);
            int64_t before = ebm__search_push_before(b, 0, (*stack)[n - 1]);
            EBM_TRY(ebm__pool_grow(&b->c->temp, stack, capacity, n + before, sizeof **stack));
            while (before > 0) {
                int32_t other = b->stack[--before];
                EBM_CHECK(b->vertex[other].position != OPEN); /* a circle */
                if (b->vertex[other].position == UNSEEN) (*stack)[n++] = other;
            }
        }
    }
    return EBM_OK;
}

static ebm_status find_positions(ebm__block *b)
{
    int32_t *stack = NULL;
    int64_t capacity = 0;
    b->sequence = ebm__pool_alloc(&b->c->temp, b->n_vertex, sizeof *b->sequence);
    if (!b->sequence) return EBM_NOMEM;
    for (int32_t i = 0; i < b->n_vertex; i++) {
        int32_t cluster = b->line[i];
        if (cluster >= 0 && b->vertex[cluster].position < 0)
            EBM_TRY(visit(b, cluster, &stack, &capacity));
    }
    return EBM_OK;
}

/* ---- width ------------------------------------------------------------------------------------- */

/* Whether many clusters could run beside one another: the longest chain of them that wait for each
 * other leaves some out. */
static ebm_status find_width(ebm__block *b)
{
    int32_t longest = 0, *chain = ebm__pool_alloc(&b->c->temp, b->n_sequence, sizeof *chain);
    if (!chain) return EBM_NOMEM;
    for (int32_t p = 0; p < b->n_sequence; p++) {
        ebm__search_begin(b);
        int64_t n = ebm__search_push_before(b, 0, b->sequence[p]);
        while (n > 0) {
            int32_t before = chain[b->vertex[b->stack[--n]].position];
            if (before > chain[p]) chain[p] = before;
        }
        if (++chain[p] > longest) longest = chain[p];
    }
    b->wide = 5 * (int64_t)b->n_sequence > 6 * (int64_t)longest;
    return EBM_OK;
}

/* ---- last reads -------------------------------------------------------------------------------- */

static void find_last_reads(ebm__block *b)
{
    for (int32_t s = 0; s < b->n_store; s++) {
        ebm__store *store = &b->store[s];
        for (int32_t i = 0; i < store->n_reader; i++) {
            int32_t reader = ebm__block_cluster(b, b->reader[store->first_reader + i]);
            int32_t position = b->vertex[reader].position;
            if (position > store->last) store->last = position;
        }
    }
    for (int32_t i = 0; i < b->n_late; i++) {
        ebm_ref ref = b->outs[b->late[i]];
        int32_t store = b->copy[ref] ? b->copy[ref] - 1 : b->value[ref].store;
        if (store != EBM__CONSTANT) b->store[store].last = EBM__FOREVER;
    }
}

ebm_status ebm__block_schedule(ebm__block *b)
{
    EBM_TRY(settle_overwrites(b));
    if (b->c->fuse && b->c->device->joins_kernels) EBM_TRY(ebm__block_join(b));
    EBM_TRY(find_positions(b));
    if (b->c->fuse) EBM_TRY(ebm__block_lean(b));
    EBM_TRY(find_width(b));
    find_last_reads(b);
    return EBM_OK;
}
