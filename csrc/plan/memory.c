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

/* The start of the smallest gap that takes `buffer`, between the buffers placed so far (sorted by
 * offset) that live at the same time; behind them all if there is none. */
static int64_t best_gap(ebm__buffer *const *placed, int64_t n, const ebm__buffer *buffer)
{
    int64_t end = 0, best = -1, best_size = INT64_MAX, need = aligned(buffer->bytes);
    for (int64_t i = 0; i < n; i++) {
        const ebm__buffer *other = placed[i];
        if (other->last < buffer->first || other->first > buffer->last) continue;
        int64_t gap = other->offset - end;
        if (gap >= need && gap < best_size) {
            best = end;
            best_size = gap;
        }
        if (other->offset + aligned(other->bytes) > end)
            end = other->offset + aligned(other->bytes);
    }
    return best >= 0 ? best : end;
}

ebm_status ebm__buffers_place(ebm__compiler *c, int32_t block, int64_t *bytes)
{
    ebm__buffer **mine = ebm__pool_alloc(&c->temp, c->n_buffer, sizeof *mine);
    ebm__buffer **placed = ebm__pool_alloc(&c->temp, c->n_buffer, sizeof *placed);
    if (!mine || !placed) return EBM_NOMEM;
    int64_t n = 0, n_placed = 0;
    for (int64_t i = 0; i < c->n_buffer; i++)
        if (c->buffer[i].base == 0 && c->buffer[i].block == block) mine[n++] = &c->buffer[i];
    if (n > 0) qsort(mine, (size_t)n, sizeof(ebm__buffer *), larger_first);
    *bytes = 0;
    for (int64_t i = 0; i < n && mine[i]->bytes > 0; i++) {
        mine[i]->offset = best_gap(placed, n_placed, mine[i]);
        int64_t end = mine[i]->offset + aligned(mine[i]->bytes), at = n_placed++;
        if (end > *bytes) *bytes = end;
        for (; at > 0 && placed[at - 1]->offset > mine[i]->offset; at--)
            placed[at] = placed[at - 1];
        placed[at] = mine[i];
    }
    return EBM_OK;
}
