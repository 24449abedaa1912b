/* lean.c - an order of a block's clusters in which less memory is alive.
 *
 * Depth first from the outputs, one gradient after another, a backward pass goes on while the gradients
 * of most weights are still to come, and keeps all they wait for.  Where that is more than a cache
 * holds another order is tried: as before, but a cluster that can run and frees more than it makes
 * runs at once.  It is taken if its peak is lower.  No bit of a result depends on the order. */
#include <string.h>

#include "plan/plan_internal.h"

enum { LEAST_BYTES = 16 << 20 }; /* alive at once: of less any order is good enough */

/* Numbers by position: those of p are at[start[p]] up to at[start[p + 1]]. */
typedef struct lists {
    int32_t *start, *at;
} lists;

/* Clusters are known by their positions in the order as it was. */
typedef struct lean {
    ebm__block *b;
    int32_t n;
    lists after;      /* those that wait for one */
    lists reads;      /* stores that one reads and another fills, each once */
    int64_t *made;    /* bytes that one makes */
    int32_t *waits;   /* for how many others, that have not run */
    int32_t *unread;  /* by store: clusters that have yet to read it */
    int32_t *willing; /* those that can run and free more than they make */
    int32_t n_willing;
    bool *taken; /* has run, or is willing */
    int32_t *order;
    int64_t alive, peak; /* bytes */
} lean;

static int32_t position_of(ebm__block *b, int32_t vertex)
{
    return b->vertex[ebm__block_cluster(b, vertex)].position;
}

/* Bytes a store takes in the arena. */
static int64_t bytes_of(const ebm__block *b, int32_t store)
{
    const ebm__store *s = &b->store[store];
    return s->vertex < 0 || s->out >= 0 ? 0 : ebm__store_bytes(s);
}

/* Called with a position and a number of its list; pairs come in the same order each time. */
typedef void (*found)(lists *x, int32_t position, int32_t number);

static void each_wait(ebm__block *b, found f, lists *x)
{
    for (int32_t p = 0; p < b->n_sequence; p++) {
        ebm__search_begin(b);
        int64_t n = ebm__search_push_before(b, 0, b->sequence[p]);
        while (n > 0) f(x, b->vertex[b->stack[--n]].position, p);
    }
}

static void each_read(ebm__block *b, found f, lists *x)
{
    for (int32_t s = 0; s < b->n_store; s++) {
        const ebm__store *store = &b->store[s];
        if (bytes_of(b, s) == 0) continue;
        int64_t n = 0;
        ebm__search_begin(b);
        b->vertex[ebm__block_cluster(b, store->vertex)].mark = b->mark;
        for (int32_t i = 0; i < store->n_reader; i++)
            n = ebm__search_push(b, n, ebm__block_cluster(b, b->reader[store->first_reader + i]));
        while (n > 0) f(x, b->vertex[b->stack[--n]].position, s);
    }
}

static void count(lists *x, int32_t position, int32_t number)
{
    (void)number;
    x->start[position + 1]++;
}

/* Moves start[p] to the end of its list, which is where the next one starts. */
static void put(lists *x, int32_t position, int32_t number)
{
    x->at[x->start[position]++] = number;
}

static ebm_status make_lists(ebm__block *b, lists *x, void (*each)(ebm__block *, found, lists *))
{
    int32_t n = b->n_sequence;
    x->start = ebm__pool_alloc(&b->c->temp, n + 1, sizeof *x->start);
    if (!x->start) return EBM_NOMEM;
    each(b, count, x);
    for (int32_t p = 0; p < n; p++) x->start[p + 1] += x->start[p];
    x->at = ebm__pool_alloc(&b->c->temp, x->start[n], sizeof *x->at);
    if (!x->at) return EBM_NOMEM;
    each(b, put, x);
    memmove(x->start + 1, x->start, (size_t)n * sizeof *x->start);
    x->start[0] = 0;
    return EBM_OK;
}

static ebm_status lean_init(lean *l, ebm__block *b)
{
    ebm__pool *pool = &b->c->temp;
    *l = (lean){.b = b, .n = b->n_sequence};
    EBM_TRY(make_lists(b, &l->after, each_wait));
    EBM_TRY(make_lists(b, &l->reads, each_read));
    l->made = ebm__pool_alloc(pool, l->n, sizeof *l->made);
    l->waits = ebm__pool_alloc(pool, l->n, sizeof *l->waits);
    l->unread = ebm__pool_alloc(pool, b->n_store, sizeof *l->unread);
    l->willing = ebm__pool_alloc(pool, l->n, sizeof *l->willing);
    l->taken = ebm__pool_alloc(pool, l->n, sizeof *l->taken);
    l->order = ebm__pool_alloc(pool, l->n, sizeof *l->order);
    if (!l->made || !l->waits || !l->unread || !l->willing || !l->taken || !l->order)
        return EBM_NOMEM;
    for (int32_t i = 0; i < l->after.start[l->n]; i++) l->waits[l->after.at[i]]++;
    for (int32_t i = 0; i < l->reads.start[l->n]; i++) l->unread[l->reads.at[i]]++;
    for (int32_t s = 0; s < b->n_store; s++)
        if (bytes_of(b, s) > 0 && (l->unread[s] > 0 || b->store[s].kept))
            l->made[position_of(b, b->store[s].vertex)] += bytes_of(b, s);
    return EBM_OK;
}

/* Bytes that nothing needs once cluster p has run. */
static int64_t freed(const lean *l, int32_t p)
{
    int64_t bytes = 0;
    for (int32_t i = l->reads.start[p]; i < l->reads.start[p + 1]; i++) {
        int32_t s = l->reads.at[i];
        if (l->unread[s] == 1 && !l->b->store[s].kept) bytes += bytes_of(l->b, s);
    }
    return bytes;
}

static void run(lean *l, int32_t p)
{
    l->alive += l->made[p];
    if (l->alive > l->peak) l->peak = l->alive;
    l->alive -= freed(l, p);
    for (int32_t i = l->reads.start[p]; i < l->reads.start[p + 1]; i++)
        l->unread[l->reads.at[i]]--;
}

/* The most bytes alive at once in the order as it is.  Then everything is to be read again. */
static int64_t peak_as_is(lean *l)
{
    for (int32_t p = 0; p < l->n; p++) run(l, p);
    for (int32_t i = 0; i < l->reads.start[l->n]; i++) l->unread[l->reads.at[i]]++;
    int64_t peak = l->peak;
    l->alive = l->peak = 0;
    return peak;
}

static void ask(lean *l, int32_t p)
{
    if (l->taken[p] || l->waits[p] > 0 || freed(l, p) <= l->made[p]) return;
    l->taken[p] = true;
    l->willing[l->n_willing++] = p;
}

/* After cluster p: those that waited for it, and those that alone still read what it has read. */
static void ask_others(lean *l, int32_t p)
{
    ebm__block *b = l->b;
    for (int32_t i = l->after.start[p]; i < l->after.start[p + 1]; i++) {
        l->waits[l->after.at[i]]--;
        ask(l, l->after.at[i]);
    }
    for (int32_t i = l->reads.start[p]; i < l->reads.start[p + 1]; i++) {
        const ebm__store *s = &b->store[l->reads.at[i]];
        if (l->unread[l->reads.at[i]] != 1) continue;
        for (int32_t k = 0; k < s->n_reader; k++)
            ask(l, position_of(b, b->reader[s->first_reader + k]));
    }
}

/* Fills order; the peak in it. */
static int64_t find_order(lean *l)
{
    for (int32_t k = 0, next = 0; k < l->n; k++) {
        int32_t p;
        if (l->n_willing > 0) {
            p = l->willing[--l->n_willing];
        } else {
            while (l->taken[next]) next++;
            l->taken[p = next] = true;
        }
        l->order[k] = l->b->sequence[p];
        run(l, p);
        ask_others(l, p);
    }
    return l->peak;
}

ebm_status ebm__block_lean(ebm__block *b)
{
    lean l;
    int64_t all = 0;
    for (int32_t s = 0; s < b->n_store; s++) all += bytes_of(b, s);
    if (all < LEAST_BYTES) return EBM_OK;
    EBM_TRY(lean_init(&l, b));
    int64_t peak = peak_as_is(&l);
    if (peak < LEAST_BYTES || find_order(&l) >= peak) return EBM_OK;
    for (int32_t p = 0; p < l.n; p++) {
        b->sequence[p] = l.order[p];
        b->vertex[l.order[p]].position = p;
    }
    return EBM_OK;
}
