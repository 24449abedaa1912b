// planted.cu - kernels with one mistake each, by which the host shim shows that it finds them.
//
//   planted NAME    runs one; a mistake ends the program, or prints what it did to the numbers
#include <cuda_runtime.h>
#include <stdio.h>

static cudaStream_t stream;

#define SHARED(type, name, dims)            \
    static char name##_key;                 \
    typedef type name##_array dims;         \
    name##_array &name = *(name##_array *)shim::shared_array(&name##_key, sizeof(name##_array))
#define LAUNCH(kernel, grid, block, ...) \
    shim::launch(kernel, grid, block, 0, stream, true, __VA_ARGS__)

enum { N = 64 };

// Reverses a block through shared memory.
__global__ void reverse(float *x)
{
    SHARED(float, s, [N]);
    s[threadIdx.x] = x[threadIdx.x];
    __syncthreads();
    x[threadIdx.x] = s[N - 1 - threadIdx.x];
}

__global__ void reverse_without_barrier(float *x)
{
    SHARED(float, s, [N]);
    s[threadIdx.x] = x[threadIdx.x];
    x[threadIdx.x] = s[N - 1 - threadIdx.x];
}

__global__ void write_past_the_end(float *x)
{
    x[threadIdx.x + 1] = 1;
}

__global__ void shared_too_small(float *x)
{
    SHARED(float, s, [N - 1]);
    s[threadIdx.x] = x[threadIdx.x];
    __syncthreads();
    x[threadIdx.x] = s[0];
}

__global__ void divergent_barrier(float *x)
{
    if (threadIdx.x < 16) __syncthreads();
    x[threadIdx.x] = 1;
}

__global__ void two_barriers(float *x)
{
    if (threadIdx.x < 32)
        __syncthreads();
    else
        __syncthreads();
    x[threadIdx.x] = 1;
}

__global__ void uninitialised(float *x)
{
    SHARED(float, s, [N]);
    if (threadIdx.x != 5) s[threadIdx.x] = 1;
    __syncthreads();
    x[threadIdx.x] = s[threadIdx.x];
}

__global__ void lanes_disagree(float *x)
{
    unsigned mask = threadIdx.x % 32 ? 0xfffffffeu : 0xffffffffu;
    x[threadIdx.x] = __shfl_xor_sync(mask, x[threadIdx.x], 1);
}

__global__ void lane_outside(float *x)
{
    x[threadIdx.x] = __shfl_xor_sync(0x0000ffffu, x[threadIdx.x], 1);
}

__global__ void nothing(float *) {}

static float *device_array(float *host)
{
    void *data = nullptr;
    for (int k = 0; k < N; k++) host[k] = (float)k;
    cudaMalloc(&data, N * sizeof(float));
    cudaMemcpyAsync(data, host, N * sizeof(float), cudaMemcpyHostToDevice, stream);
    return (float *)data;
}

static void run_kernel(void (*kernel)(float *))
{
    float host[N];
    float *x = device_array(host);
    LAUNCH(kernel, dim3(1), dim3(N), x);
    cudaMemcpyAsync(host, x, N * sizeof(float), cudaMemcpyDeviceToHost, stream);
    cudaStreamSynchronize(stream);
    int nan = 0, reversed = 0;
    for (int k = 0; k < N; k++) {
        nan += host[k] != host[k];
        reversed += host[k] == (float)(N - 1 - k);
    }
    printf("%d NaN, %d reversed\n", nan, reversed);
    cudaFree(x);
}

static void barrier_where_none_was_promised()
{
    float host[N];
    float *x = device_array(host);
    shim::launch(reverse, dim3(1), dim3(N), 0, stream, false, x);
    cudaStreamSynchronize(stream);
}

static void read_by_the_host()
{
    float host[N];
    float *x = device_array(host);
    cudaStreamSynchronize(stream);
    printf("%g\n", (double)x[3]);
}

static void read_too_early()
{
    float host[N];
    float *x = device_array(host);
    host[3] = -1;
    cudaMemcpyAsync(host, x, N * sizeof(float), cudaMemcpyDeviceToHost, stream);
    printf("%g before, ", (double)host[3]);
    cudaStreamSynchronize(stream);
    printf("%g after\n", (double)host[3]);
}

// A copy before the event is there, one behind it is not.
static void waited_for_an_event()
{
    float host[N], before = -1, after = -1;
    float *x = device_array(host);
    cudaEvent_t event;
    cudaEventCreateWithFlags(&event, cudaEventDisableTiming);
    cudaMemcpyAsync(&before, x + 3, sizeof before, cudaMemcpyDeviceToHost, stream);
    cudaEventRecord(event, stream);
    cudaMemcpyAsync(&after, x + 5, sizeof after, cudaMemcpyDeviceToHost, stream);
    cudaEventSynchronize(event);
    printf("%g, %g, ", (double)before, (double)after);
    cudaStreamSynchronize(stream);
    printf("%g\n", (double)after);
}

static void wrong_direction()
{
    float host[N];
    float *x = device_array(host);
    cudaError_t error = cudaMemcpyAsync(host, x, sizeof host, cudaMemcpyHostToDevice, stream);
    printf("%s\n", cudaGetErrorString(error));
}

static void freed_twice()
{
    float host[N];
    float *x = device_array(host);
    cudaFree(x);
    printf("%s\n", cudaGetErrorString(cudaFree(x)));
}

static void too_many_threads()
{
    LAUNCH(nothing, dim3(1), dim3(2048), (float *)nullptr);
    cudaStreamSynchronize(stream);
}

static void synchronised_while_captured()
{
    cudaGraph_t graph;
    cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal);
    printf("%s\n", cudaGetErrorString(cudaStreamSynchronize(stream)));
    cudaStreamEndCapture(stream, &graph);
    cudaGraphDestroy(graph);
}

static void replayed_three_times()
{
    float host[N];
    float *x = device_array(host);
    cudaGraph_t graph;
    cudaGraphExec_t ready;
    cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal);
    LAUNCH(reverse, dim3(1), dim3(N), x);
    cudaStreamEndCapture(stream, &graph);
    cudaGraphInstantiate(&ready, graph);
    for (int k = 0; k < 3; k++) cudaGraphLaunch(ready, stream);
    cudaMemcpyAsync(host, x, N * sizeof(float), cudaMemcpyDeviceToHost, stream);
    cudaStreamSynchronize(stream);
    printf("%g\n", (double)host[0]);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*kernel)(float *);
        void (*run)();
    } cases[] = {
        {"right", reverse, nullptr},
        {"missing_barrier", reverse_without_barrier, nullptr},
        {"write_past_the_end", write_past_the_end, nullptr},
        {"shared_too_small", shared_too_small, nullptr},
        {"divergent_barrier", divergent_barrier, nullptr},
        {"two_barriers", two_barriers, nullptr},
        {"uninitialised", uninitialised, nullptr},
        {"lanes_disagree", lanes_disagree, nullptr},
        {"lane_outside", lane_outside, nullptr},
        {"barrier_where_none_was_promised", nullptr, barrier_where_none_was_promised},
        {"read_by_the_host", nullptr, read_by_the_host},
        {"read_too_early", nullptr, read_too_early},
        {"waited_for_an_event", nullptr, waited_for_an_event},
        {"wrong_direction", nullptr, wrong_direction},
        {"freed_twice", nullptr, freed_twice},
        {"too_many_threads", nullptr, too_many_threads},
        {"synchronised_while_captured", nullptr, synchronised_while_captured},
        {"replayed_three_times", nullptr, replayed_three_times},
    };
    if (argc < 2) return 2;
    if (argc > 2) shim::set_order((unsigned)atoi(argv[2]));
    cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking);
    for (auto &c : cases) {
        if (strcmp(argv[1], c.name) != 0) continue;
        if (c.kernel)
            run_kernel(c.kernel);
        else
            c.run();
        return 0;
    }
    return 2;
}
