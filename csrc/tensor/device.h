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
    const char *name; /* "cpu" */
    bool host_memory; /* data pointers can be read by the host */

    ebm_status (*alloc)(const ebm_device *device, void **out, size_t bytes); /* zeroed */
    void (*free)(const ebm_device *device, void *data);
    ebm_status (*to_device)(const ebm_device *device, void *to, const void *from, size_t bytes);
    ebm_status (*to_host)(const ebm_device *device, void *to, const void *from, size_t bytes);

    /* Scratch bytes that `run` will need for these arguments (data pointers are not looked at). */
    size_t (*scratch)(const ebm_device *device, const ebm_kernel_args *args);
    /* Bytes of the right operand of this product as its kernel would rather have it; 0: as it is.
     * EBM_OP_PACK lays it out (in: the operand; out: the bytes, as one axis of its dtype; attr: the
     * product's op and attributes); the product then reads that, and has one attribute more, 1. */
    size_t (*packed)(const ebm_device *device, const ebm_kernel_args *args);
    /* Runs one kernel.  UNSUPPORTED without one for this op and dtype; INDEX for a bad index. */
    ebm_status (*run)(const ebm_device *device, const ebm_kernel_args *args);
    ebm_status (*sync)(const ebm_device *device);
    /* Its ceilings, measured now (a tenth of a second): float32 FLOP/s of multiply-adds, and
     * bytes/s to and from memory, of all threads together.  NOMEM. */
    ebm_status (*peak)(const ebm_device *device, double *flops, double *bytes);
};

/* The CPU; never NULL.  Its kernels are those of the best instruction set that this machine and
 * EBMLIB_ISA (baseline, avx2, avx512) allow. */
const ebm_device *ebm_device_cpu(void);

/* The name of the instruction set in use ("none" while EBMLIB_ISA is wrong: every run fails then),
 * and a change of it for tests: VALUE if unknown, UNSUPPORTED if this machine has not got it; NULL
 * goes back to the default. */
const char *ebm_cpu_isa(void);
ebm_status ebm_cpu_set_isa(const char *name);

#endif
