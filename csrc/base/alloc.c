#define _GNU_SOURCE
#include "base/alloc.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#if defined(__linux__)
#include <sys/mman.h>
#endif

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

/* ---- large blocks ------------------------------------------------------------------------ */

/* Memory fresh from the system is zero and costs nothing until it is touched; in pages of 2 MiB it
 * is touched in hundreds of steps where it would be in a hundred thousand.  Blocks are found again
 * by their address: others of that alignment are rare.  Sanitizers would not watch such blocks. */
#if defined(__linux__) && defined(MADV_HUGEPAGE) && !defined(__SANITIZE_ADDRESS__) &&          \
    !defined(__SANITIZE_THREAD__)

enum { PAGE = 2 << 20, LARGE = 2 * PAGE };

typedef struct large {
    struct large *next;
    void *block, *mapped;
    size_t bytes; /* mapped */
} large;

static large *larges; /* under `larges_lock` */
static pthread_mutex_t larges_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t larges_once = PTHREAD_ONCE_INIT;

static void lock_larges(void)
{
    pthread_mutex_lock(&larges_lock);
}

static void unlock_larges(void)
{
    pthread_mutex_unlock(&larges_lock);
}

/* The child of a fork finds the list whole and unlocked. */
static void watch_forks(void)
{
    (void)pthread_atfork(lock_larges, unlock_larges, unlock_larges);
}

/* Zeroed, or NULL if it is not for large blocks, or there is no memory. */
static void *alloc_large(size_t bytes)
{
    if (bytes < LARGE || bytes > SIZE_MAX / 2 - PAGE) return NULL;
    pthread_once(&larges_once, watch_forks);
    large *entry = malloc(sizeof *entry);
    if (!entry) return NULL;
    entry->bytes = bytes + PAGE;
    entry->mapped = mmap(NULL, entry->bytes, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (entry->mapped == MAP_FAILED) {
        free(entry);
        return NULL;
    }
    uintptr_t aligned = ((uintptr_t)entry->mapped + PAGE - 1) / PAGE * PAGE;
    entry->block = (char *)entry->mapped + (aligned - (uintptr_t)entry->mapped);
    madvise(entry->block, bytes, MADV_HUGEPAGE);
    lock_larges();
    entry->next = larges;
    larges = entry;
    unlock_larges();
    return entry->block;
}

static bool free_large(void *block)
{
    if ((uintptr_t)block % PAGE != 0) return false;
    lock_larges();
    large **at = &larges, *entry;
    while ((entry = *at) && entry->block != block) at = &entry->next;
    if (entry) *at = entry->next;
    unlock_larges();
    if (!entry) return false;
    munmap(entry->mapped, entry->bytes);
    free(entry);
    return true;
}

#else

static void *alloc_large(size_t bytes)
{
    (void)bytes;
    return NULL;
}

static bool free_large(void *block)
{
    (void)block;
    return false;
}

#endif

/* ---- blocks ------------------------------------------------------------------------------ */

static void *alloc_zeroed(size_t bytes)
{
    size_t rounded = (bytes + EBM_ALIGN - 1) / EBM_ALIGN * EBM_ALIGN;
    void *block = alloc_large(bytes);
    if (block) return block;
    block = aligned_alloc(EBM_ALIGN, rounded ? rounded : EBM_ALIGN);
    return block ? memset(block, 0, rounded) : NULL;
}

void *ebm__alloc(size_t count, size_t size)
{
    size_t bytes = 0;
    bool overflow = __builtin_mul_overflow(count, size, &bytes) || bytes > SIZE_MAX / 2;
    void *block = NULL;
    if (!overflow && !told_to_fail()) block = alloc_zeroed(bytes);
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
    if (!free_large(block)) free(block);
}

void ebm__alloc_fail_after(int64_t n)
{
    atomic_store(&fail_after, n);
}

int64_t ebm__alloc_live(void)
{
    return atomic_load(&live);
}
