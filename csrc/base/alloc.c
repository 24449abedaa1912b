#include "base/alloc.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

static atomic_llong fail_after = -1;
static atomic_llong live = 0;

static bool told_to_fail(void)
{
    long long left = atomic_load_explicit(&fail_after, memory_order_relaxed);
    if (left < 0) return false;
    if (left == 0) return true;
    atomic_fetch_sub_explicit(&fail_after, 1, memory_order_relaxed);
    return false;
}

void *ebm__alloc(size_t count, size_t size)
{
    size_t bytes = 0;
    bool overflow = __builtin_mul_overflow(count, size, &bytes) || bytes > SIZE_MAX / 2;
    void *block = NULL;
    if (!overflow && !told_to_fail()) {
        size_t rounded = (bytes + EBM_ALIGN - 1) / EBM_ALIGN * EBM_ALIGN;
        block = aligned_alloc(EBM_ALIGN, rounded ? rounded : EBM_ALIGN);
        if (block) memset(block, 0, rounded);
    }
    if (!block) {
        ebm_fail(EBM_NOMEM, "out of memory: %zu x %zu bytes", count, size);
        return NULL;
    }
    atomic_fetch_add_explicit(&live, 1, memory_order_relaxed);
    return block;
}

ebm_status ebm__grow(void *array_pointer, int64_t *capacity, int64_t need, size_t size)
{
    if (need <= *capacity) return EBM_OK;
    int64_t wanted = *capacity * 2 > 16 ? *capacity * 2 : 16;
    if (wanted < need) wanted = need;
    void *old, *grown = ebm__alloc((size_t)wanted, size);
    if (!grown) return EBM_NOMEM;
    memcpy(&old, array_pointer, sizeof old);
    if (old) memcpy(grown, old, (size_t)*capacity * size);
    ebm__free(old);
    memcpy(array_pointer, &grown, sizeof grown);
    *capacity = wanted;
    return EBM_OK;
}

char *ebm__strdup(const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = ebm__alloc(size, 1);
    if (copy) memcpy(copy, text, size);
    return copy;
}

void ebm__free(void *block)
{
    if (!block) return;
    atomic_fetch_sub_explicit(&live, 1, memory_order_relaxed);
    free(block);
}

void ebm__alloc_fail_after(int64_t n)
{
    atomic_store(&fail_after, n);
}

int64_t ebm__alloc_live(void)
{
    return atomic_load(&live);
}
