// cuda_runtime.h - the part of CUDA's runtime that the kernels use, on the host.
//
// The sources of cuda/ compile with g++ and -Icuda/host as they do with nvcc, and then run on any
// machine: that is the device `cuda-host`.  A block's threads are fibers, one after another until
// the next barrier; what CUDA leaves undefined ends the program with a message:
//
//   barriers that not all threads of a block reach, or reach at different lines; shuffles whose
//   lanes disagree; a launch that is too large; a copy in the wrong direction; a pointer freed twice
//
// and the rest is made visible: streams wait until somebody synchronises, fresh memory and shared
// memory are full of NaN, the order of threads and blocks is a setting (shim::set_order).  With
// AddressSanitizer every byte of device memory is poisoned for the host, and a write past a buffer
// or a shared array is found where it happens.
//
// Not seen: races between blocks that only overlap in time, weak memory, real speed, registers.
#pragma once

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <functional>
#include <tuple>
#include <utility>

#define EBM_HOST_SHIM 1

// ---- the language -------------------------------------------------------------------------------

#define __global__
#define __device__
#define __host__
#define __constant__ static const
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __grid_constant__

struct uint3 {
    unsigned x, y, z;
};
struct dim3 {
    unsigned x, y, z;
    constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};

extern uint3 threadIdx, blockIdx;
extern dim3 blockDim, gridDim;

// ---- the shim -----------------------------------------------------------------------------------

namespace shim
{

// How threads and blocks take turns: 0 forwards, 1 backwards, from 2 on shuffled.
void set_order(unsigned order);

void run_grid(dim3 grid, dim3 block, size_t dynamic, bool barriers,
              const std::function<void()> &thread);
void *shared_array(const void *name, size_t bytes); // the block's own, the same for the same name
void *dynamic_shared();
void barrier(int line);
int barrier_any(int predicate, int line);
// The value of `bytes` (at most 16) bytes that lane `from` gave.
void exchange(unsigned mask, const void *mine, void *theirs, size_t bytes, int from, int line);
int lane();

struct stream;
struct graph;
void submit(stream *to, std::function<void()> work);

// The shim's cuBLAS, by the name of a function: NULL if it has not got it, or if EBMLIB_SHIM_CUBLAS is
// "missing".
void *cublas(const char *name);

template <class T> T shuffle(unsigned mask, T value, int from, int line)
{
    static_assert(sizeof(T) <= 16, "a shuffle moves at most 16 bytes");
    T result;
    exchange(mask, &value, &result, sizeof value, from, line);
    return result;
}

template <class... P, class... A>
void launch(void (*kernel)(P...), dim3 grid, dim3 block, size_t dynamic, stream *on,
            bool barriers, A &&...args)
{
    std::tuple<std::decay_t<P>...> given(static_cast<std::decay_t<P>>(args)...);
    submit(on, [=] {
        run_grid(grid, block, dynamic, barriers, [&] { std::apply(kernel, given); });
    });
}

} // namespace shim

#define __syncthreads() shim::barrier(__LINE__)
#define __syncthreads_or(p) shim::barrier_any(p, __LINE__)
#define __shfl_sync(mask, v, from) shim::shuffle(mask, v, (from) & 31, __LINE__)
#define __shfl_xor_sync(mask, v, bits) shim::shuffle(mask, v, shim::lane() ^ (bits), __LINE__)
#define __shfl_down_sync(mask, v, by) \
    shim::shuffle(mask, v, shim::lane() + (by) > 31 ? shim::lane() : shim::lane() + (by), __LINE__)

// ---- arithmetic ---------------------------------------------------------------------------------

inline float __fmaf_rn(float a, float b, float c)
{
    return fmaf(a, b, c);
}
inline float __fsqrt_rn(float a)
{
    return sqrtf(a);
}
inline float __int2float_rn(int a)
{
    return (float)a;
}

template <class To, class From> To shim_bits(From from)
{
    static_assert(sizeof(To) == sizeof(From), "the same size");
    To to;
    memcpy(&to, &from, sizeof to);
    return to;
}
inline float __uint_as_float(unsigned u)
{
    return shim_bits<float>(u);
}
inline unsigned __float_as_uint(float x)
{
    return shim_bits<unsigned>(x);
}
inline double __longlong_as_double(long long u)
{
    return shim_bits<double>(u);
}
inline long long __double_as_longlong(double x)
{
    return shim_bits<long long>(x);
}

inline int atomicCAS(int *at, int expected, int value)
{
    int old = *at;
    if (old == expected) *at = value;
    return old;
}
inline int atomicExch(int *at, int value)
{
    int old = *at;
    *at = value;
    return old;
}

inline int atomicMax(int *at, int value)
{
    int old = *at;
    if (value > old) *at = value;
    return old;
}

// ---- the runtime --------------------------------------------------------------------------------

typedef enum cudaError {
    cudaSuccess = 0,
    cudaErrorInvalidValue = 1,
    cudaErrorMemoryAllocation = 2,
    cudaErrorInvalidConfiguration = 9,
    cudaErrorInsufficientDriver = 35,
    cudaErrorNoDevice = 100,
    cudaErrorStreamCaptureUnsupported = 900
} cudaError_t;
enum cudaMemcpyKind {
    cudaMemcpyHostToHost,
    cudaMemcpyHostToDevice,
    cudaMemcpyDeviceToHost,
    cudaMemcpyDeviceToDevice
};
enum cudaStreamCaptureMode {
    cudaStreamCaptureModeGlobal,
    cudaStreamCaptureModeThreadLocal,
    cudaStreamCaptureModeRelaxed
};
enum { cudaStreamNonBlocking = 1 };
struct cudaDeviceProp {
    char name[256];
    size_t totalGlobalMem, sharedMemPerBlockOptin;
    int multiProcessorCount, major, minor;
};
enum { cudaEventDisableTiming = 2 };
typedef shim::stream *cudaStream_t;
typedef struct shim_event *cudaEvent_t;
typedef shim::graph *cudaGraph_t;
typedef shim::graph *cudaGraphExec_t;

cudaError_t cudaGetDeviceCount(int *n);
cudaError_t cudaGetDevice(int *device);
cudaError_t cudaSetDevice(int device);
cudaError_t cudaGetDeviceProperties(cudaDeviceProp *properties, int device);
cudaError_t cudaMemGetInfo(size_t *free, size_t *total);
cudaError_t cudaMalloc(void **out, size_t bytes);
cudaError_t cudaFree(void *data);
cudaError_t cudaHostAlloc(void **out, size_t bytes, unsigned flags);
cudaError_t cudaFreeHost(void *data);
cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream);
cudaError_t cudaMemsetAsync(void *to, int value, size_t bytes, cudaStream_t stream);
cudaError_t cudaStreamCreateWithFlags(cudaStream_t *out, unsigned flags);
cudaError_t cudaStreamDestroy(cudaStream_t stream);
cudaError_t cudaStreamSynchronize(cudaStream_t stream);
cudaError_t cudaEventCreateWithFlags(cudaEvent_t *out, unsigned flags);
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream);
cudaError_t cudaEventSynchronize(cudaEvent_t event);
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags);
cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode);
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *out);
cudaError_t cudaGraphInstantiate(cudaGraphExec_t *out, cudaGraph_t graph,
                                 unsigned long long flags = 0);
cudaError_t cudaGraphLaunch(cudaGraphExec_t graph, cudaStream_t stream);
cudaError_t cudaGraphDestroy(cudaGraph_t graph);
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t graph);
cudaError_t cudaGetLastError();
const char *cudaGetErrorString(cudaError_t error);
