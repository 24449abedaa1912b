// peak.cu - the card's ceilings, for people who read profiles: float32 multiply-adds from registers
// alone, and bytes moved through memory.
//
// Eight independent sums a thread, and as many threads as the card holds, hide the latency of a
// multiply-add.  The bytes are those of a[i] = b[i] + c a[i] over arrays that no cache holds.
#include "kernels.h"

#include <chrono>

namespace
{

#if defined(EBM_HOST_SHIM)
enum { ROUNDS = 8, FLOATS = 1 << 12, CALLS = 1, REPEATS = 2 };
#else
enum { ROUNDS = 1 << 12, FLOATS = 1 << 26, CALLS = 8, REPEATS = 5 };
#endif
enum { SUMS = 8, THREADS = 256, BLOCKS = 8 }; // blocks a processor

__global__ void multiply_add(float *out, float a, float b)
{
    float sum[SUMS];
    for (int k = 0; k < SUMS; k++) sum[k] = (float)(k + threadIdx.x);
    for (int round = 0; round < ROUNDS; round++)
        for (int k = 0; k < SUMS; k++) sum[k] = __fmaf_rn(sum[k], a, b);
    float total = 0;
    for (int k = 0; k < SUMS; k++) total += sum[k];
    if (total == -1.0f) *out = total; // never, which the compiler does not know
}

__global__ void triad(float *a, const float *b)
{
    for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < FLOATS;
         i += (int64_t)gridDim.x * blockDim.x)
        a[i] = b[i] + 0.5f * a[i];
}

// Seconds of one of CALLS calls, in the best of REPEATS.
template <class Call> ebm_status best_time(double *best, Call call)
{
    *best = 1e9;
    for (int repeat = 0; repeat <= REPEATS; repeat++) { // the first one loads the kernel
        auto start = std::chrono::steady_clock::now();
        for (int k = 0; k < CALLS; k++) call();
        EBM_TRY(ebm__cuda_launched("peak"));
        if (cudaStreamSynchronize(ebm_cuda->stream) != cudaSuccess)
            return ebm__cuda_launched("peak");
        std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
        if (repeat > 0 && took.count() / CALLS < *best) *best = took.count() / CALLS;
    }
    return EBM_OK;
}

ebm_status measure(double *flops, double *bytes, float *a, float *b)
{
    double seconds = 0;
    unsigned blocks = (unsigned)ebm_cuda->processors * BLOCKS;
    EBM_TRY(best_time(&seconds, [&] {
        EBM_LAUNCH_PLAIN(multiply_add, dim3(blocks), dim3(THREADS), a, 0.999f, 1e-3f);
    }));
    *flops = 2.0 * SUMS * ROUNDS * THREADS * blocks / seconds;
    EBM_TRY(best_time(&seconds, [&] {
        EBM_LAUNCH_PLAIN(triad, ebm__cuda_grid(FLOATS, THREADS), dim3(THREADS), a, b);
    }));
    *bytes = 3.0 * sizeof(float) * FLOATS / seconds;
    return EBM_OK;
}

} // namespace

ebm_status ebm__cuda_peak(double *flops, double *bytes)
{
    void *a = nullptr, *b = nullptr;
    size_t size = sizeof(float) * FLOATS;
    ebm_status status = EBM_NOMEM;
    if (cudaMalloc(&a, size) == cudaSuccess && cudaMalloc(&b, size) == cudaSuccess) {
        cudaMemsetAsync(a, 0, size, ebm_cuda->stream);
        cudaMemsetAsync(b, 0, size, ebm_cuda->stream);
        status = measure(flops, bytes, (float *)a, (float *)b);
    } else {
        cudaGetLastError();
        ebm_fail(EBM_NOMEM, "peak: no memory for two arrays of %zu bytes", size);
    }
    if (a) cudaFree(a);
    if (b) cudaFree(b);
    return status;
}
