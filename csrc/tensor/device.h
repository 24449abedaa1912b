/* device.h - what a device has to fill in.
 *
 * Above this line of the house nothing knows which device runs.  Kernels are mirrored by family
 * and name: csrc/cpu/matmul.c, cuda/matmul.cu. */
#ifndef EBM_TENSOR_DEVICE_H
#define EBM_TENSOR_DEVICE_H

#include "base/status.h"
#include "formulas/kernel_args.h"

typedef struct ebm_device ebm_device;
struct ebm_device {
    const char *name;      /* "cpu" */
    const char *model;     /* what the maker of a card calls it; of the CPU its name */
    bool host_memory;      /* data pointers can be read by the host */
    bool draws_in_regions; /* its regions can draw random numbers: ebm_draw */
    bool joins_kernels;    /* it has EBM_OP_REGIONS, and reductions of several arrays */

    ebm_status (*alloc)(const ebm_device *device, void **out, size_t bytes); /* zeroed */
    void (*free)(const ebm_device *device, void *data);
    ebm_status (*to_device)(const ebm_device *device, void *to, const void *from, size_t bytes);
    ebm_status (*to_host)(const ebm_device *device, void *to, const void *from, size_t bytes);
    ebm_status (*copy)(const ebm_device *device, void *to, const void *from, size_t bytes);
    /* As to_host, without waiting: `to` is filled by the next `sync` or `to_host`, or by the second
     * `arrive` from now; until then it stays, and is nobody else's.  `arrive` waits for what was
     * fetched before the last `arrive`, and for nothing that was asked later. */
    ebm_status (*fetch)(const ebm_device *device, void *to, const void *from, size_t bytes);
    ebm_status (*arrive)(const ebm_device *device);

    /* Scratch bytes that `run` will need for these arguments (data pointers are not looked at). */
    size_t (*scratch)(const ebm_device *device, const ebm_kernel_args *args);
    /* Bytes of the right operand of this product as its kernel would rather have it; 0: as it is.
     * EBM_OP_PACK lays it out (in: the operand; out: the bytes, as one axis of its dtype; attr: the
     * product's op and attributes); the product then reads that, and has one attribute more, 1. */
    size_t (*packed)(const ebm_device *device, const ebm_kernel_args *args);
    /* Runs one kernel.  UNSUPPORTED without one for this op and dtype; INDEX for a bad index. */
    ebm_status (*run)(const ebm_device *device, const ebm_kernel_args *args);
    /* Waits for all that was asked of the device; what went wrong since the last time. */
    ebm_status (*sync)(const ebm_device *device);

    /* What is run between `record` and `recorded` is written down instead, as *graph, and runs at
     * each `replay`: the same kernels on the same memory.  All four NULL: the device has no use
     * for it.  Nobody else reaches the device meanwhile.  With graph NULL `recorded` ends a
     * recording that is not wanted. */
    ebm_status (*record)(const ebm_device *device);
    ebm_status (*recorded)(const ebm_device *device, void **graph);
    ebm_status (*replay)(const ebm_device *device, void *graph);
    void (*forget)(const ebm_device *device, void *graph);

    /* For other libraries that share its memory: the queue that its work is in (0: none), and a
     * promise that what they put into theirs from now on comes after what is in it.  NULL with host
     * memory. */
    uintptr_t (*queue)(const ebm_device *device);
    ebm_status (*publish)(const ebm_device *device, uintptr_t theirs);

    /* Its ceilings, measured now (a tenth of a second): float32 FLOP/s of multiply-adds, and
     * bytes/s to and from memory, of all threads together.  NOMEM. */
    ebm_status (*peak)(const ebm_device *device, double *flops, double *bytes);
};

/* The device called `name`: "cpu", "cuda", "cuda-host".  The last two are libraries beside the one
 * that holds this function, loaded when they are first asked for and then kept.  VALUE (no such
 * name), DEVICE (the library, the driver or a card is missing: the message says which). */
ebm_status ebm_device_get(const ebm_device **out, const char *name);

/* The CPU; never NULL.  Its kernels are those of the best instruction set that this machine and
 * EBMLIB_ISA (baseline, avx2, avx512) allow. */
const ebm_device *ebm_device_cpu(void);

/* The name of the instruction set in use ("none" while EBMLIB_ISA is wrong: every run fails then),
 * and a change of it for tests: VALUE if unknown, UNSUPPORTED if this machine has not got it; NULL
 * goes back to the default. */
const char *ebm_cpu_isa(void);
ebm_status ebm_cpu_set_isa(const char *name);

/* ---- device libraries ---------------------------------------------------------------------- */

/* What a library is lent, so that messages and names are the core's; and by which it sees that it
 * was made from the same sources. */
typedef struct ebm_core {
    size_t ops, kernel_args; /* EBM_OP_COUNT, sizeof(ebm_kernel_args) */
    ebm_status (*fail)(ebm_status code, const char *format, ...) EBM_PRINTF(2, 3);
    const char *(*dtype_name)(ebm_dtype dtype);
    size_t (*dtype_size)(ebm_dtype dtype);
    const struct ebm_op_info *(*op_get)(int32_t op); /* never NULL: poison's of what is no op */
} ebm_core;

/* The one symbol of a library.  The core and the device last as long as the process. */
typedef ebm_status ebm_device_open_function(const ebm_device **out, const ebm_core *core);
#define EBM_DEVICE_OPEN "ebm_device_open"

#endif
