/* memory.c - the compiler's pools, and the places of buffers in the arena. */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "plan/plan_internal.h"

/* ---- pools ------------------------------------------------------------------------------------- */

enum { CHUNK_BYTES = 16 * 1024 };

typedef struct ebm__pool_chunk {
    struct ebm__pool_chunk *next;
    size_t used, size;
} chunk;

/* The head of a chunk takes a whole unit, so that what follows is aligned. */
enum { CHUNK_HEAD = EBM_ALIGN };

void *ebm__pool_alloc(ebm__pool *pool, int64_t count, size_t size)
{
    size_t bytes;
    if (count < 0 || __builtin_mul_overflow((size_t)count, size, &bytes) || bytes > SIZE_MAX / 4) {
        ebm_fail(EBM_NOMEM, "plan: out of memory");
        return NULL;
    }
    bytes = (bytes + 15) & ~(size_t)15;
    chunk *top = pool->chunk;
    if (!top || top->used + bytes > top->size) {
        size_t room = bytes > CHUNK_BYTES ? bytes : CHUNK_BYTES;
        chunk *fresh = ebm__alloc(1, CHUNK_HEAD + room);
        if (!fresh) return NULL;
        fresh->size = room;
        fresh->next = top;
        pool->chunk = top = fresh;
    }
    void *place = (char *)top + CHUNK_HEAD + top->used;
    top->used += bytes;
    return place;
}

void ebm__pool_free(ebm__pool *pool)
{
    while (pool->chunk) {
        chunk *next = pool->chunk->next;
        ebm__free(pool->chunk);
        pool->chunk = next;
    }
}

ebm_status ebm__pool_grow(ebm__pool *pool, void *array_pointer, int64_t *capacity, int64_t need,
                          size_t size)
{
    if (need <= *capacity) return EBM_OK;
    int64_t wanted = *capacity * 2 > 16 ? *capacity * 2 : 16;
    if (wanted < need) wanted = need;
    void *old, *grown = ebm__pool_alloc(pool, wanted, size);
    if (!grown) return EBM_NOMEM;
    memcpy(&old, array_pointer, sizeof old);
    if (old) memcpy(grown, old, (size_t)*capacity * size);
    memcpy(array_pointer, &grown, sizeof grown);
    *capacity = wanted;
    return EBM_OK;
}

/* ---- buffers ----------------------------------------------------------------------------------- */

ebm_status ebm__buffer_add(ebm__compiler *c, int32_t *out, const ebm__buffer *buffer)
{
    EBM_TRY(ebm__pool_grow(&c->temp, &c->buffer, &c->buffer_capacity, c->n_buffer + 1,
                           sizeof *c->buffer));
    *out = (int32_t)c->n_buffer;
    c->buffer[c->n_buffer++] = *buffer;
    return EBM_OK;
}

ebm_status ebm__cursor_add(ebm__compiler *c, int32_t *buffer, ebm__place origin, int64_t row)
{
    EBM_TRY(ebm__pool_grow(&c->temp, &c->cursor, &c->cursor_capacity, c->n_cursor + 1,
                           sizeof *c->cursor));
    ebm__buffer moving = {.base = c->n_external + (int32_t)c->n_cursor};
    EBM_TRY(ebm__buffer_add(c, buffer, &moving));
    c->cursor[c->n_cursor++] = (ebm__draft_cursor){.origin = origin, .row = row};
    return EBM_OK;
}

/* The kernels that come next need not wait for the readers of this buffer. */
static void let_rest(ebm__buffer *buffer)
{
    enum { SMALL_BYTES = 128 * 1024, REST = 12 };
    if (buffer->bytes <= SMALL_BYTES && buffer->last < EBM__FOREVER - REST)
        buffer->last += REST;
}

static int64_t aligned(int64_t bytes)
{
    return (bytes + EBM_ALIGN - 1) / EBM_ALIGN * EBM_ALIGN;
}

static int larger_first(const void *a, const void *b)
{
    const ebm__buffer *x = *(ebm__buffer *const *)a, *y = *(ebm__buffer *const *)b;
    if (x->bytes != y->bytes) return x->bytes > y->bytes ? -1 : 1;
    if (x->first != y->first) return x->first < y->first ? -1 : 1;
    return x < y ? -1 : x > y;
}

/* A placed buffer. */
typedef struct life {
    int32_t first, last;
    int64_t bytes;
} life;

/* Buffers that begin at one offset, in the order of their lives: no two live at once. */
typedef struct slot {
    int64_t offset, n, capacity;
    life *at;
} slot;

typedef struct slots {
    slot *at; /* by offset */
    int64_t n, capacity;
} slots;

/* The number of the first buffer of a slot that lives at `first` or later. */
static int64_t first_alive(const slot *s, int32_t first)
{
    int64_t low = 0, high = s->n;
    while (low < high) {
        int64_t middle = (low + high) / 2;
        if (s->at[middle].last < first)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

enum { SMALL = 8192 }; /* bytes of a buffer that any gap is good enough for: most are such */

/* The start of the smallest gap that takes `buffer`, between the buffers placed so far that live
 * at the same time; behind them all if there is none. */
static int64_t best_gap(const slots *placed, const ebm__buffer *buffer)
{
    int64_t end = 0, best = -1, best_size = INT64_MAX, need = aligned(buffer->bytes);
    for (int64_t k = 0; k < placed->n; k++) {
        const slot *s = &placed->at[k];
        for (int64_t i = first_alive(s, buffer->first);
             i < s->n && s->at[i].first <= buffer->last; i++) {
            int64_t gap = s->offset - end, after = s->offset + s->at[i].bytes;
            if (gap >= need && need <= SMALL) return end;
            if (gap >= need && gap < best_size) {
                best = end;
                best_size = gap;
            }
            if (after > end) end = after;
        }
    }
    return best >= 0 ? best : end;
}

/* Finds or makes the slot of an offset. */
static ebm_status slot_at(ebm__pool *pool, slots *placed, int64_t offset, slot **out)
{
    int64_t at = 0, high = placed->n;
    while (at < high) {
        int64_t middle = (at + high) / 2;
        if (placed->at[middle].offset < offset)
            at = middle + 1;
        else
            high = middle;
    }
    if (at == placed->n || placed->at[at].offset != offset) {
        EBM_TRY(ebm__pool_grow(pool, &placed->at, &placed->capacity, placed->n + 1,
                               sizeof *placed->at));
        memmove(placed->at + at + 1, placed->at + at,
                (size_t)(placed->n++ - at) * sizeof *placed->at);
        placed->at[at] = (slot){.offset = offset};
    }
    *out = &placed->at[at];
    return EBM_OK;
}

static ebm_status take_place(ebm__pool *pool, slots *placed, const ebm__buffer *buffer)
{
    slot *s;
    EBM_TRY(slot_at(pool, placed, buffer->offset, &s));
    EBM_TRY(ebm__pool_grow(pool, &s->at, &s->capacity, s->n + 1, sizeof *s->at));
    int64_t at = first_alive(s, buffer->first);
    memmove(s->at + at + 1, s->at + at, (size_t)(s->n++ - at) * sizeof *s->at);
    s->at[at] = (life){buffer->first, buffer->last, aligned(buffer->bytes)};
    return EBM_OK;
}

/* ---- lives ------------------------------------------------------------------------------------- */

/* Step `at` of the block touches a buffer: one of the block's, or one inside an arena or under a cursor
 * that is. */
static void touch(ebm__compiler *c, int32_t block, int32_t buffer, int32_t at)
{
    while (buffer >= 0) {
        ebm__buffer *x = &c->buffer[buffer];
        if (x->base >= c->n_external) {
            buffer = c->cursor[x->base - c->n_external].origin.buffer;
        } else if (x->base > 0) {
            return;
        } else if (x->block == block) {
            if (at < x->first) x->first = at;
            x->last = at;
            return;
        } else {
            buffer = c->block_buffer[x->block];
        }
    }
}

static void touch_all(ebm__compiler *c, int32_t block, int32_t step, int32_t at)
{
    if (step < 0) {
        const ebm__loop *loop = &c->loop[~step];
        for (int32_t k = 0; k < loop->n_cursor; k++)
            touch(c, block, c->cursor[loop->first_cursor + k].origin.buffer, at);
        for (int32_t i = loop->first; i < loop->end; i++) touch_all(c, block, c->step[i], at);
        return;
    }
    const ebm__draft_kernel *kernel = &c->kernel[step];
    for (int32_t i = 0; i < kernel->args.n_in + kernel->args.n_out; i++)
        touch(c, block, c->view_place[kernel->first_view + i].buffer, at);
    touch(c, block, kernel->scratch, at);
}

/* ---- places ------------------------------------------------------------------------------------ */

/* The lives of a block's buffers, which are listed in `mine`; those that no step touches are not. */
static int64_t find_lives(ebm__block *b, ebm__buffer **mine)
{
    ebm__compiler *c = b->c;
    int64_t n = 0, kept = 0;
    for (int64_t i = 0; i < c->n_buffer; i++) {
        if (c->buffer[i].base != 0 || c->buffer[i].block != b->id) continue;
        c->buffer[i].first = INT32_MAX;
        c->buffer[i].last = -1;
        mine[n++] = &c->buffer[i];
    }
    for (int64_t i = 0; i < b->n_step; i++) touch_all(c, b->id, b->step[i], (int32_t)i);
    for (int64_t i = 0; i < n; i++)
        if (mine[i]->last >= 0) mine[kept++] = mine[i];
    return kept;
}

ebm_status ebm__buffers_place(ebm__block *b, bool rest, int64_t *bytes)
{
    ebm__compiler *c = b->c;
    ebm__buffer **mine = ebm__pool_alloc(&c->temp, c->n_buffer, sizeof *mine);
    slots placed = {.n = 0};
    if (!mine) return EBM_NOMEM;
    int64_t n = find_lives(b, mine);
    for (int64_t i = 0; i < n && rest; i++) let_rest(mine[i]);
    if (n > 0) qsort(mine, (size_t)n, sizeof(ebm__buffer *), larger_first);
    *bytes = 0;
    for (int64_t i = 0; i < n && mine[i]->bytes > 0; i++) {
        /* Node by node nothing is shared. */
        mine[i]->offset = c->fuse ? best_gap(&placed, mine[i]) : *bytes;
        int64_t end = mine[i]->offset + aligned(mine[i]->bytes);
        if (end > *bytes) *bytes = end;
        if (c->fuse) EBM_TRY(take_place(&c->temp, &placed, mine[i]));
    }
    return EBM_OK;
}
