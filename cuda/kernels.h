// kernels.h - the CUDA device's kernel families, and what all of them use.
//
// A family is a function that runs any of its ops on `cuda->stream` and returns at once, and one
// that says how much scratch it will want; cuda/matmul.cu mirrors csrc/cpu/matmul.c.  The same
// sources compile with nvcc, and with g++ against cuda/host: the rules are
//
//   EBM_LAUNCH instead of <<<>>>; EBM_LAUNCH_PLAIN if threads never wait for each other
//   EBM_SHARED and EBM_DYNAMIC_SHARED instead of __shared__
//   nothing contracts a * b + c but an fma that is written; no inline PTX, no texture, no library
//   of device code
//
// A kernel's grid and sums depend on shapes alone, never on the card: the same bits everywhere.
// What depends on other blocks' order (float atomics) is not used.
#ifndef EBM_CUDA_KERNELS_H
#define EBM_CUDA_KERNELS_H

#include <cuda_runtime.h>

extern "C" {
#include "base/status.h"
#include "formulas/kernel_args.h"
#include "graph/graph.h"
#include "tensor/device.h"
}

#if defined(EBM_HOST_SHIM)
#define EBM_LAUNCH(kernel, grid, block, shared, ...) \
    shim::launch(kernel, grid, block, shared, ebm_cuda->stream, true, __VA_ARGS__)
#define EBM_LAUNCH_PLAIN(kernel, grid, block, ...) \
    shim::launch(kernel, grid, block, 0, ebm_cuda->stream, false, __VA_ARGS__)
#define EBM_SHARED(type, name, dims)          \
    static char name##_key;                   \
    typedef type name##_array dims;           \
    name##_array &name = *(name##_array *)shim::shared_array(&name##_key, sizeof(name##_array))
#define EBM_DYNAMIC_SHARED(type, name) type *name = (type *)shim::dynamic_shared()
#define EBM_UNROLL
#else
#define EBM_LAUNCH(kernel, grid, block, shared, ...) \
    (kernel<<<(grid), (block), (shared), ebm_cuda->stream>>>(__VA_ARGS__))
#define EBM_LAUNCH_PLAIN(kernel, grid, block, ...) EBM_LAUNCH(kernel, grid, block, 0, __VA_ARGS__)
#define EBM_SHARED(type, name, dims) __shared__ type name dims
#define EBM_DYNAMIC_SHARED(type, name)                           \
    extern __shared__ __align__(16) unsigned char ebm_dynamic[]; \
    type *name = (type *)ebm_dynamic
#define EBM_UNROLL _Pragma("unroll")
#endif

// A mistake that only a running kernel sees: the first one is kept until somebody synchronises.
typedef struct ebm_cuda_fault {
    int32_t op; // 0: none
    int32_t index, size;
} ebm_cuda_fault;

typedef struct ebm_cuda_context {
    cudaStream_t stream;
    cudaEvent_t event;     // what others wait for
    ebm_cuda_fault *fault; // memory that host and device both see
    int32_t block;         // threads of a block where a kernel leaves that open
    int32_t processors;
} ebm_cuda_context;
extern ebm_cuda_context *const ebm_cuda;

// Of each family of EBM_KERNEL_FAMILIES: ebm_status ebm__cuda_elementwise(args) and
// size_t ebm__cuda_elementwise_scratch(args).
#define EBM_CUDA_DECLARE(family)                                  \
    ebm_status ebm__cuda_##family(const ebm_kernel_args *args);   \
    size_t ebm__cuda_##family##_scratch(const ebm_kernel_args *args);
EBM_KERNEL_FAMILIES(EBM_CUDA_DECLARE)

// The card's ceilings, as ebm_device has them.
ebm_status ebm__cuda_peak(double *flops, double *bytes);

// What a launch gave: DEVICE with CUDA's own words if it failed.
ebm_status ebm__cuda_launched(const char *what);

// Elements of a view; bytes of an element.
int64_t ebm__cuda_size(const ebm_view *view);
int32_t ebm__cuda_item(int32_t dtype);

// Blocks of `block` threads for n elements: as many as fill the card twice, who then stride.
// n == 0 must not be launched.
dim3 ebm__cuda_grid(int64_t n, int32_t block);

__device__ inline void ebm__cuda_set_fault(ebm_cuda_fault *fault, int32_t op, int32_t index,
                                           int32_t size)
{
    if (atomicCAS(&fault->op, 0, op) == 0) {
        fault->index = index;
        fault->size = size;
    }
}

// Division of 0 <= a < 2^31 by what the host knows, without the processor's slow one (Granlund and
// Montgomery, "Division by invariant integers using multiplication", 1994).
typedef struct ebm_divisor {
    uint32_t by, multiplier, shift;
} ebm_divisor;

inline ebm_divisor ebm__cuda_divisor(int64_t by)
{
    uint32_t shift = 0;
    while ((int64_t)1 << shift < by) shift++;
    uint64_t rest = ((uint64_t)1 << shift) - (uint64_t)by;
    return {(uint32_t)by, (uint32_t)((rest << 32) / (uint64_t)by + 1), shift};
}

__device__ inline int32_t ebm__cuda_quotient(int32_t a, ebm_divisor d)
{
    uint32_t high = (uint32_t)((uint64_t)(uint32_t)a * d.multiplier >> 32);
    return (int32_t)((high + (uint32_t)a) >> d.shift);
}

#endif
