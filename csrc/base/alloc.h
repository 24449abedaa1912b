/* alloc.h - every byte the library owns comes from here.
 *
 * Sizes are checked for overflow, blocks are zeroed and 64-byte aligned (a cache line, an AVX-512
 * vector), and a test can make the n-th allocation fail.  Blocks of MiBs are in large pages where
 * the system has them, and cost nothing before they are touched. */
#ifndef EBM_BASE_ALLOC_H
#define EBM_BASE_ALLOC_H

#include "base/status.h"

enum { EBM_ALIGN = 64 };

/* `count * size` zeroed bytes, 64-byte aligned; NULL with NOMEM's message on failure.
 * A size of zero gives a valid block.  The caller owns it: ebm__free. */
void *ebm__alloc(size_t count, size_t size);

/* Grows an array of `*capacity` elements to hold at least `need`, keeping its content; doubles.
 * On NOMEM the old block stays as it was. */
ebm_status ebm__grow(void *array_pointer, int64_t *capacity, int64_t need, size_t size);

/* A copy of a string, owned by the caller. */
char *ebm__strdup(const char *text);

void ebm__free(void *block); /* NULL is fine */

/* Tests only: the n-th allocation from now (0 = the next) and all after it fail; -1 = never. */
void ebm__alloc_fail_after(int64_t n);

/* Blocks alive now, for leak tests. */
int64_t ebm__alloc_live(void);

#endif
