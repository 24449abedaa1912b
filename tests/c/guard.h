/* guard.h - a device for tests that watches what kernels touch.
 *
 * It is the CPU, or cuda-host, with blocks of memory that stand between red zones.  While a kernel
 * runs, all of the blocks but its operands and its scratch is closed: what it may not write is
 * compared with a copy afterwards, and under AddressSanitizer an access is an error at once.  So one
 * byte beyond an operand is found, also where the arena goes on behind it.  For one thread of the
 * test at a time; kernels may use the pool. */
#ifndef EBM_TESTS_GUARD_H
#define EBM_TESTS_GUARD_H

#include "graph/graph.h"
#include "tensor/device.h"

/* What it is, and whose memory guard_alloc gives, from now on; at first the CPU. */
void guard_use(const ebm_device *device);

/* `card`: one whose regions draw and are joined, as on a card. */
const ebm_device *guard_device(bool card);

/* A watched block, zeroed, which ends with its last byte: for inputs and outputs. */
void *guard_alloc(size_t bytes);
void guard_free(void *block); /* NULL is fine */
size_t guard_bytes(const void *block);
/* Tells that the test, or a run, has written to a block, and waits for the device. */
void guard_written(void *block);

/* The first damage since the last call, or NULL; borrowed. */
const char *guard_damage(void);

/* Kernels run so far that did an op (regions: an instruction) on elements of a type. */
int64_t guard_count(ebm_op op, ebm_dtype dtype);

/* What runs in place of the CPU's kernels; NULL: these again. */
typedef ebm_status guard_kernel(const ebm_device *device, const ebm_kernel_args *args);
void guard_replace_kernels(guard_kernel *run);

#endif
