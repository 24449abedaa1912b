// device.cu - the CUDA device: one card, one stream, a pool of memory.
//
// Whatever is asked of the device is put on its stream and runs in that order, so memory that is
// given back may be given away again at once.  Only `sync`, `to_host` and the making of memory wait
// for all of it.
// A thread holds the lock while it asks, and from `record` to `recorded`.
#include "kernels.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>

#include <map>
#include <mutex>
#include <vector>

namespace
{

const ebm_core *core;
#if defined(EBM_HOST_SHIM)
const char *const device_name = "cuda-host";
#else
const char *const device_name = "cuda";
#endif
ebm_cuda_context context;
cudaDeviceProp card;
std::recursive_mutex device_lock;
bool lost; // this process was forked after the device was opened, and CUDA does not follow
typedef std::lock_guard<std::recursive_mutex> guard;

} // namespace

ebm_cuda_context *const ebm_cuda = &context;

// ---- what the core lends ------------------------------------------------------------------------

extern "C" ebm_status ebm_fail(ebm_status code, const char *format, ...)
{
    char message[EBM_MESSAGE_SIZE];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    return core->fail(code, "%s", message);
}

extern "C" const char *ebm_dtype_name(ebm_dtype dtype)
{
    return core->dtype_name(dtype);
}

namespace
{

ebm_status cuda_failed(cudaError_t error, const char *what)
{
    return ebm_fail(EBM_DEVICE, "cuda: %s: %s", what, cudaGetErrorString(error));
}

// Asked before the lock, which another thread may have held when this process was forked.
ebm_status check_process()
{
    if (!lost) return EBM_OK;
    return ebm_fail(
        EBM_DEVICE,
        "device '%s': a forked process cannot use what its parent has opened: start "
        "processes with 'spawn'",
        device_name);
}

#define CUDA_TRY(call, what)                                           \
    do {                                                               \
        cudaError_t error_ = (call);                                   \
        if (error_ != cudaSuccess) return cuda_failed(error_, what);   \
    } while (0)

} // namespace

ebm_status ebm__cuda_launched(const char *what)
{
    cudaError_t error = cudaGetLastError();
    return error == cudaSuccess ? EBM_OK : cuda_failed(error, what);
}

int64_t ebm__cuda_size(const ebm_view *view)
{
    int64_t size = 1;
    for (int32_t k = 0; k < view->rank; k++) size *= view->shape[k];
    return size;
}

int32_t ebm__cuda_item(int32_t dtype)
{
    return (int32_t)core->dtype_size((ebm_dtype)dtype);
}

dim3 ebm__cuda_grid(int64_t n, int32_t block)
{
    int64_t blocks = (n + block - 1) / block,
            most = (int64_t)context.processors * 2 * 2048 / block;
    return dim3((unsigned)(blocks < most ? blocks : most));
}

// ---- memory -------------------------------------------------------------------------------------

namespace
{

// Blocks that were given back, by size.  A new request takes one of its own size, rounded, so a
// program that repeats itself asks CUDA for nothing.
struct memory_pool {
    std::multimap<size_t, void *> idle;
    std::map<void *, size_t> size; // of all blocks
};
memory_pool pool;

// To 512 bytes, and large ones to an eighth of their size at most: fewer sizes are found again more
// often.
size_t rounded(size_t bytes)
{
    size_t step = 512;
    while (step < bytes / 16) step *= 2;
    return bytes < step ? step : (bytes + step - 1) / step * step;
}

void free_idle()
{
    for (auto &block : pool.idle) {
        cudaFree(block.second);
        pool.size.erase(block.second);
    }
    pool.idle.clear();
}

ebm_status new_block(void **out, size_t size)
{
    cudaError_t error = cudaMalloc(out, size);
    if (error == cudaErrorMemoryAllocation) {
        (void)cudaGetLastError();
        cudaStreamSynchronize(context.stream);
        free_idle();
        error = cudaMalloc(out, size);
    }
    if (error == cudaErrorMemoryAllocation) {
        (void)cudaGetLastError();
        size_t left = 0, total = 0;
        cudaMemGetInfo(&left, &total);
        return ebm_fail(EBM_NOMEM,
                        "cuda: out of memory: asked for %zu bytes, %zu of %zu are free", size,
                        left, total);
    }
    CUDA_TRY(error, "memory");
    pool.size[*out] = size;
    return EBM_OK;
}

ebm_status take_block(void **out, size_t bytes)
{
    size_t size = rounded(bytes);
    auto found = pool.idle.find(size);
    if (found == pool.idle.end()) return new_block(out, size);
    *out = found->second;
    pool.idle.erase(found);
    return EBM_OK;
}

ebm_status cuda_alloc(const ebm_device *, void **out, size_t bytes)
{
    EBM_TRY(check_process());
    guard hold(device_lock);
    EBM_TRY(take_block(out, bytes));
    CUDA_TRY(cudaMemsetAsync(*out, 0, bytes, context.stream), "memory");
    return EBM_OK;
}

void cuda_free(const ebm_device *, void *data)
{
    if (!data || lost) return;
    guard hold(device_lock);
    pool.idle.emplace(pool.size[data], data);
}

// ---- copies and waiting -------------------------------------------------------------------------

// What goes between host and device goes by way of page-locked memory, in turns: CUDA would wait for
// the stream before it touches any other.  A turn is used again when its last copy is over.
enum { TURNS = 4, TURN_BYTES = 1 << 20 };
struct ring {
    char *turn[TURNS];
    cudaEvent_t over[TURNS];
    size_t used; // of the current turn
    int current;
};
ring sender, fetcher;

// What lies in the fetcher's turns, and where it belongs.
struct arrival {
    void *to;
    const char *from;
    size_t bytes;
};
std::vector<arrival> arrivals[TURNS];

void deliver(int turn)
{
    for (const arrival &a : arrivals[turn]) memcpy(a.to, a.from, a.bytes);
    arrivals[turn].clear();
}

// The current turn ends here, and the one that was over longest ago begins.
ebm_status next_turn(ring *r)
{
    CUDA_TRY(cudaEventRecord(r->over[r->current], context.stream), "copy");
    r->current = (r->current + 1) % TURNS;
    r->used = 0;
    CUDA_TRY(cudaEventSynchronize(r->over[r->current]), "copy");
    if (r == &fetcher) deliver(r->current);
    return EBM_OK;
}

// Room in the current turn for some of `bytes`, in *n: its place.
ebm_status take_room(ring *r, size_t bytes, char **place, size_t *n)
{
    if (r->used == TURN_BYTES) EBM_TRY(next_turn(r));
    size_t room = TURN_BYTES - r->used;
    *n = bytes < room ? bytes : room;
    *place = r->turn[r->current] + r->used;
    r->used += (*n + 15) / 16 * 16;
    return EBM_OK;
}

ebm_status to_device(const ebm_device *, void *to, const void *from, size_t bytes)
{
    EBM_TRY(check_process());
    guard hold(device_lock);
    char *by = nullptr;
    for (size_t done = 0, n; done < bytes; done += n) {
        EBM_TRY(take_room(&sender, bytes - done, &by, &n));
        memcpy(by, (const char *)from + done, n);
        CUDA_TRY(cudaMemcpyAsync((char *)to + done, by, n, cudaMemcpyHostToDevice, context.stream),
                 "copy");
    }
    return EBM_OK;
}

ebm_status cuda_fetch(const ebm_device *, void *to, const void *from, size_t bytes)
{
    EBM_TRY(check_process());
    guard hold(device_lock);
    char *by = nullptr;
    for (size_t done = 0, n; done < bytes; done += n) {
        EBM_TRY(take_room(&fetcher, bytes - done, &by, &n));
        CUDA_TRY(cudaMemcpyAsync(by, (const char *)from + done, n, cudaMemcpyDeviceToHost,
                                 context.stream),
                 "copy");
        arrivals[fetcher.current].push_back({(char *)to + done, by, n});
    }
    return EBM_OK;
}

ebm_status cuda_arrive(const ebm_device *)
{
    EBM_TRY(check_process());
    guard hold(device_lock);
    int asked = fetcher.current;
    EBM_TRY(next_turn(&fetcher));
    for (int k = fetcher.current; k != asked; k = (k + 1) % TURNS) {
        CUDA_TRY(cudaEventSynchronize(fetcher.over[k]), "copy");
        deliver(k);
    }
    return EBM_OK;
}

ebm_status cuda_sync(const ebm_device *)
{
    EBM_TRY(check_process());
    guard hold(device_lock);
    cudaError_t error = cudaStreamSynchronize(context.stream);
    for (int k = 1; k <= TURNS; k++) {
        int turn = (fetcher.current + k) % TURNS;         // the oldest first
        if (error != cudaSuccess) arrivals[turn].clear(); // what is lost goes nowhere later on
        deliver(turn);
    }
    sender.used = fetcher.used = 0; // all copies are over
    CUDA_TRY(error, "run");
    ebm_cuda_fault fault = *context.fault;
    if (!fault.op) return EBM_OK;
    context.fault->op = 0;
    const char *name = core->op_get(fault.op)->name;
    if (fault.size == 0)
        return ebm_fail(EBM_INDEX, "%s: index out of range: got %d, expected none: empty axis",
                        name, (int)fault.index);
    return ebm_fail(EBM_INDEX, "%s: index out of range: got %d, expected 0 .. %d", name,
                    (int)fault.index, (int)fault.size - 1);
}

ebm_status copy(const ebm_device *, void *to, const void *from, size_t bytes)
{
    EBM_TRY(check_process());
    if (bytes == 0) return EBM_OK;
    guard hold(device_lock);
    CUDA_TRY(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, context.stream),
             "copy");
    return EBM_OK;
}

ebm_status to_host(const ebm_device *device, void *to, const void *from, size_t bytes)
{
    EBM_TRY(check_process());
    guard hold(device_lock);
    if (bytes)
        CUDA_TRY(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, context.stream),
                 "copy");
    return cuda_sync(device);
}

// ---- kernels ------------------------------------------------------------------------------------

size_t cuda_scratch(const ebm_device *, const ebm_kernel_args *args)
{
    switch (core->op_get(args->op)->family) {
    case EBM_FAMILY_ELEMENTWISE: return ebm__cuda_elementwise_scratch(args);
    case EBM_FAMILY_REDUCE: return ebm__cuda_reduce_scratch(args);
    case EBM_FAMILY_MOVE: return ebm__cuda_move_scratch(args);
    case EBM_FAMILY_INDEX: return ebm__cuda_index_scratch(args);
    case EBM_FAMILY_MATMUL: return ebm__cuda_matmul_scratch(args);
    case EBM_FAMILY_CONV: return ebm__cuda_conv_scratch(args);
    case EBM_FAMILY_LINALG: return ebm__cuda_linalg_scratch(args);
    case EBM_FAMILY_SORT: return ebm__cuda_sort_scratch(args);
    case EBM_FAMILY_RANDOM: return ebm__cuda_random_scratch(args);
    case EBM_FAMILY_STRUCTURE: break;
    }
    return 0;
}

// No kernel wants an operand laid out.
size_t cuda_packed(const ebm_device *, const ebm_kernel_args *)
{
    return 0;
}

ebm_status cuda_run(const ebm_device *, const ebm_kernel_args *args)
{
    EBM_TRY(check_process());
    guard hold(device_lock);
    switch (core->op_get(args->op)->family) {
    case EBM_FAMILY_ELEMENTWISE: return ebm__cuda_elementwise(args);
    case EBM_FAMILY_REDUCE: return ebm__cuda_reduce(args);
    case EBM_FAMILY_MOVE: return ebm__cuda_move(args);
    case EBM_FAMILY_INDEX: return ebm__cuda_index(args);
    case EBM_FAMILY_MATMUL: return ebm__cuda_matmul(args);
    case EBM_FAMILY_CONV: return ebm__cuda_conv(args);
    case EBM_FAMILY_LINALG: return ebm__cuda_linalg(args);
    case EBM_FAMILY_SORT: return ebm__cuda_sort(args);
    case EBM_FAMILY_RANDOM: return ebm__cuda_random(args);
    case EBM_FAMILY_STRUCTURE: break;
    }
    return ebm_fail(EBM_UNSUPPORTED, "cuda: op '%s' has no kernel", core->op_get(args->op)->name);
}

// ---- recordings ---------------------------------------------------------------------------------

ebm_status cuda_record(const ebm_device *)
{
    EBM_TRY(check_process());
    device_lock.lock();
    cudaError_t error = cudaStreamBeginCapture(context.stream, cudaStreamCaptureModeThreadLocal);
    if (error == cudaSuccess) return EBM_OK;
    device_lock.unlock();
    return cuda_failed(error, "record");
}

ebm_status cuda_recorded(const ebm_device *, void **out)
{
    cudaGraph_t graph = nullptr;
    cudaGraphExec_t ready = nullptr;
    cudaError_t error = cudaStreamEndCapture(context.stream, &graph);
    device_lock.unlock();
    if (error == cudaSuccess && out) error = cudaGraphInstantiate(&ready, graph, 0);
    if (graph) cudaGraphDestroy(graph);
    if (!out) return EBM_OK;
    CUDA_TRY(error, "record");
    *out = ready;
    return EBM_OK;
}

ebm_status cuda_replay(const ebm_device *, void *graph)
{
    EBM_TRY(check_process());
    guard hold(device_lock);
    CUDA_TRY(cudaGraphLaunch((cudaGraphExec_t)graph, context.stream), "replay");
    return EBM_OK;
}

void cuda_forget(const ebm_device *, void *graph)
{
    if (lost) return;
    guard hold(device_lock);
    cudaStreamSynchronize(context.stream);
    cudaGraphExecDestroy((cudaGraphExec_t)graph);
}

// ---- other libraries ----------------------------------------------------------------------------

uintptr_t cuda_queue(const ebm_device *)
{
    return (uintptr_t)context.stream;
}

ebm_status cuda_publish(const ebm_device *, uintptr_t theirs)
{
    EBM_TRY(check_process());
    guard hold(device_lock);
    CUDA_TRY(cudaEventRecord(context.event, context.stream), "publish");
    CUDA_TRY(cudaStreamWaitEvent((cudaStream_t)theirs, context.event, 0), "publish");
    return EBM_OK;
}

ebm_status cuda_peak(const ebm_device *, double *flops, double *bytes)
{
    EBM_TRY(check_process());
    guard hold(device_lock);
    return ebm__cuda_peak(flops, bytes);
}

// ---- opening ------------------------------------------------------------------------------------

void lose()
{
    lost = true;
}

// A number in the environment, for tests: in how many threads and in which order kernels run.
int32_t setting(const char *name, int32_t otherwise)
{
    const char *text = getenv(name);
    return text && *text ? (int32_t)strtol(text, nullptr, 10) : otherwise;
}

ebm_status open_ring(ring *r)
{
    for (int k = 0; k < TURNS; k++) {
        void *turn = nullptr;
        CUDA_TRY(cudaEventCreateWithFlags(&r->over[k], cudaEventDisableTiming), "event");
        CUDA_TRY(cudaHostAlloc(&turn, TURN_BYTES, 0), "memory");
        r->turn[k] = (char *)turn;
    }
    return EBM_OK;
}

ebm_status open_card()
{
    int n = 0;
    cudaError_t error = cudaGetDeviceCount(&n);
    if (error == cudaErrorInsufficientDriver)
        return ebm_fail(EBM_DEVICE, "device 'cuda': no NVIDIA driver, or one that is too old: "
                                    "install the driver of your card");
    if (error != cudaSuccess || n == 0)
        return ebm_fail(EBM_DEVICE, "device 'cuda': no card that CUDA can use: %s",
                        error == cudaSuccess ? "none is there" : cudaGetErrorString(error));
    int number = 0;
    CUDA_TRY(cudaGetDevice(&number), "device");
    CUDA_TRY(cudaGetDeviceProperties(&card, number), "device");
    context.processors = card.multiProcessorCount;
    context.block = setting("EBMLIB_CUDA_BLOCK", 128);
    if (context.block < 32 || context.block > 1024 || context.block % 32)
        return ebm_fail(EBM_VALUE,
                        "EBMLIB_CUDA_BLOCK: got %d, expected a multiple of 32 up to 1024",
                        (int)context.block);
#if defined(EBM_HOST_SHIM)
    shim::set_order((unsigned)setting("EBMLIB_CUDA_ORDER", 0));
#endif
    CUDA_TRY(cudaStreamCreateWithFlags(&context.stream, cudaStreamNonBlocking), "stream");
    CUDA_TRY(cudaEventCreateWithFlags(&context.event, cudaEventDisableTiming), "event");
    EBM_TRY(open_ring(&sender));
    EBM_TRY(open_ring(&fetcher));
    void *fault = nullptr;
    CUDA_TRY(cudaHostAlloc(&fault, sizeof(ebm_cuda_fault), 0), "memory");
    context.fault = (ebm_cuda_fault *)fault;
    memset(context.fault, 0, sizeof *context.fault);
    return EBM_OK;
}

} // namespace

extern "C" __attribute__((visibility("default"))) ebm_status
ebm_device_open(const ebm_device **out, const ebm_core *lent)
{
    static ebm_device device;
    core = lent;
    if (core->ops != EBM_OP_COUNT || core->kernel_args != sizeof(ebm_kernel_args))
        return ebm_fail(EBM_DEVICE,
                        "device '%s': its library was built from other sources: build "
                        "ebmlib again",
                        device_name);
    EBM_TRY(open_card());
    if (pthread_atfork(nullptr, nullptr, lose) != 0)
        return ebm_fail(EBM_NOMEM, "device '%s': no memory", device_name);
    device.name = device_name;
    device.model = card.name;
    device.host_memory = false;
    device.draws_in_regions = true;
    device.joins_kernels = true;
    device.alloc = cuda_alloc;
    device.free = cuda_free;
    device.to_device = to_device;
    device.to_host = to_host;
    device.copy = copy;
    device.fetch = cuda_fetch;
    device.arrive = cuda_arrive;
    device.record = cuda_record;
    device.recorded = cuda_recorded;
    device.replay = cuda_replay;
    device.forget = cuda_forget;
    device.queue = cuda_queue;
    device.publish = cuda_publish;
    device.scratch = cuda_scratch;
    device.packed = cuda_packed;
    device.run = cuda_run;
    device.sync = cuda_sync;
    device.peak = cuda_peak;
    *out = &device;
    return EBM_OK;
}
