// runtime.cc - memory, streams and graphs of the host shim.
//
// Device memory is the host's, poisoned for the host.  A stream is a queue that nobody works on
// until it is synchronised; capturing records the queue instead.
#include <cuda_runtime.h>
#include <stdio.h>

#include <map>
#include <mutex>
#include <vector>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/lsan_interface.h>
#define IS_NO_LEAK(data) __lsan_ignore_object(data) // a device keeps its memory to the end
#else
#define IS_NO_LEAK(data) (void)(data)
#define ASAN_POISON_MEMORY_REGION(data, bytes) (void)(data)
#define ASAN_UNPOISON_MEMORY_REGION(data, bytes) (void)(data)
#endif

namespace shim
{

struct graph {
    std::vector<std::function<void()>> work;
};
struct stream {
    graph waiting, captured;
    bool capturing = false;
    size_t done = 0; // of all that was ever submitted; the rest is waiting
};

namespace
{

std::recursive_mutex lock;
std::map<char *, size_t> buffers; // device memory by address
std::map<char *, size_t> locked;  // page-locked memory of the host
std::vector<stream *> streams;
size_t in_use;
long waits[2];        // ebm_shim_waits
void (*opened)(void); // ebm_shim_opened

// The size that the shim says the card has; EBMLIB_SHIM_BYTES sets another.
size_t capacity()
{
    const char *text = getenv("EBMLIB_SHIM_BYTES");
    return text ? (size_t)strtoull(text, nullptr, 10) : (size_t)8 << 30;
}

void show(bool to_host)
{
    for (auto &b : buffers)
        if (to_host)
            ASAN_UNPOISON_MEMORY_REGION(b.first, b.second);
        else
            ASAN_POISON_MEMORY_REGION(b.first, b.second);
}

bool lies_in(const std::map<char *, size_t> &blocks, const void *data, size_t bytes)
{
    auto after = blocks.upper_bound((char *)data);
    if (after == blocks.begin()) return false;
    --after;
    return (char *)data + bytes <= after->first + after->second;
}

bool on_device(const void *data, size_t bytes)
{
    return lies_in(buffers, data, bytes);
}

bool is_locked(const void *data)
{
    return lies_in(locked, data, 1);
}

size_t submitted(const stream *s)
{
    return s->done + s->waiting.work.size();
}

// All that was submitted before number `end`.
void work_off(stream *s, size_t end)
{
    if (end <= s->done) return;
    waits[end < submitted(s)]++;
    auto first = s->waiting.work.begin(), last = first + (long)(end - s->done);
    std::vector<std::function<void()>> now(first, last);
    s->waiting.work.erase(first, last);
    s->done = end;
    show(true);
    if (opened) opened();
    for (auto &work : now) work();
    show(false);
}

void work_off(stream *s)
{
    work_off(s, submitted(s));
}

} // namespace

void submit(stream *to, std::function<void()> work)
{
    std::lock_guard<std::recursive_mutex> hold(lock);
    (to->capturing ? to->captured : to->waiting).work.push_back(std::move(work));
}

} // namespace shim

using shim::lock;
typedef std::lock_guard<std::recursive_mutex> guard;

cudaError_t cudaGetDeviceCount(int *n)
{
    *n = 1;
    return cudaSuccess;
}

cudaError_t cudaGetDevice(int *device)
{
    *device = 0;
    return cudaSuccess;
}

cudaError_t cudaSetDevice(int device)
{
    return device == 0 ? cudaSuccess : cudaErrorInvalidValue;
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp *properties, int device)
{
    if (device != 0) return cudaErrorInvalidValue;
    *properties = {"the host", shim::capacity(), 227 * 1024, 4, 9, 0};
    return cudaSuccess;
}

cudaError_t cudaMemGetInfo(size_t *free, size_t *total)
{
    guard hold(lock);
    *total = shim::capacity();
    *free = *total > shim::in_use ? *total - shim::in_use : 0;
    return cudaSuccess;
}

cudaError_t cudaMalloc(void **out, size_t bytes)
{
    guard hold(lock);
    *out = nullptr;
    if (shim::in_use + bytes > shim::capacity()) return cudaErrorMemoryAllocation;
    void *data = nullptr;
    if (posix_memalign(&data, 256, bytes ? bytes : 1)) return cudaErrorMemoryAllocation;
    IS_NO_LEAK(data);
    memset(data, 0xFF, bytes);
    shim::buffers[(char *)data] = bytes;
    shim::in_use += bytes;
    ASAN_POISON_MEMORY_REGION(data, bytes);
    *out = data;
    return cudaSuccess;
}

cudaError_t cudaFree(void *data)
{
    guard hold(lock);
    if (!data) return cudaSuccess;
    for (shim::stream *s : shim::streams) shim::work_off(s);
    auto found = shim::buffers.find((char *)data);
    if (found == shim::buffers.end()) return cudaErrorInvalidValue;
    ASAN_UNPOISON_MEMORY_REGION(data, found->second);
    shim::in_use -= found->second;
    shim::buffers.erase(found);
    free(data);
    return cudaSuccess;
}

cudaError_t cudaHostAlloc(void **out, size_t bytes, unsigned)
{
    guard hold(lock);
    *out = calloc(1, bytes ? bytes : 1);
    if (!*out) return cudaErrorMemoryAllocation;
    IS_NO_LEAK(*out);
    shim::locked[(char *)*out] = bytes;
    return cudaSuccess;
}

cudaError_t cudaFreeHost(void *data)
{
    guard hold(lock);
    shim::locked.erase((char *)data);
    free(data);
    return cudaSuccess;
}

// What the host gives is read when the stream comes to it, if it is page-locked, else now; what the
// host gets arrives when the stream does.
cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream)
{
    guard hold(lock);
    bool to_device = kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice;
    bool from_device = kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice;
    if (shim::on_device(to, bytes) != to_device || shim::on_device(from, bytes) != from_device)
        return cudaErrorInvalidValue;
    if (kind == cudaMemcpyHostToDevice && !shim::is_locked(from)) {
        std::vector<char> now((const char *)from, (const char *)from + bytes);
        shim::submit(stream, [=] { memcpy(to, now.data(), bytes); });
    } else {
        shim::submit(stream, [=] { memcpy(to, from, bytes); });
    }
    return cudaSuccess;
}

cudaError_t cudaMemsetAsync(void *to, int value, size_t bytes, cudaStream_t stream)
{
    guard hold(lock);
    if (!shim::on_device(to, bytes)) return cudaErrorInvalidValue;
    shim::submit(stream, [=] { memset(to, value, bytes); });
    return cudaSuccess;
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *out, unsigned)
{
    guard hold(lock);
    *out = new shim::stream;
    shim::streams.push_back(*out);
    return cudaSuccess;
}

cudaError_t cudaStreamDestroy(cudaStream_t stream)
{
    guard hold(lock);
    shim::work_off(stream);
    for (size_t k = 0; k < shim::streams.size(); k++)
        if (shim::streams[k] == stream) {
            shim::streams.erase(shim::streams.begin() + (long)k);
            break;
        }
    delete stream;
    return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream)
{
    guard hold(lock);
    if (stream->capturing) return cudaErrorStreamCaptureUnsupported;
    shim::work_off(stream);
    return cudaSuccess;
}

// An event is a place in a stream; to wait for it works that off, now, and what stands before it.
struct shim_event {
    shim::stream *recorded;
    size_t end;
};

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *out, unsigned)
{
    *out = new shim_event{nullptr, 0};
    return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream)
{
    guard hold(lock);
    event->recorded = stream;
    event->end = shim::submitted(stream);
    return cudaSuccess;
}

cudaError_t cudaEventSynchronize(cudaEvent_t event)
{
    guard hold(lock);
    if (!event->recorded) return cudaSuccess;
    if (event->recorded->capturing) return cudaErrorStreamCaptureUnsupported;
    shim::work_off(event->recorded, event->end);
    return cudaSuccess;
}

cudaError_t cudaStreamWaitEvent(cudaStream_t, cudaEvent_t event, unsigned)
{
    guard hold(lock);
    if (event->recorded->capturing) return cudaErrorStreamCaptureUnsupported;
    shim::work_off(event->recorded, event->end);
    return cudaSuccess;
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode)
{
    guard hold(lock);
    if (stream->capturing) return cudaErrorStreamCaptureUnsupported;
    stream->capturing = true;
    return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *out)
{
    guard hold(lock);
    if (!stream->capturing) return cudaErrorStreamCaptureUnsupported;
    stream->capturing = false;
    *out = new shim::graph;
    std::swap((*out)->work, stream->captured.work);
    return cudaSuccess;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t *out, cudaGraph_t graph, unsigned long long)
{
    *out = new shim::graph(*graph);
    return cudaSuccess;
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t graph, cudaStream_t stream)
{
    guard hold(lock);
    for (auto &work : graph->work) shim::submit(stream, work);
    return cudaSuccess;
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph)
{
    delete graph;
    return cudaSuccess;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t graph)
{
    delete graph;
    return cudaSuccess;
}

cudaError_t cudaGetLastError()
{
    return cudaSuccess;
}

const char *cudaGetErrorString(cudaError_t error)
{
    switch (error) {
    case cudaSuccess: return "no error";
    case cudaErrorInvalidValue: return "invalid argument";
    case cudaErrorMemoryAllocation: return "out of memory";
    case cudaErrorInvalidConfiguration: return "invalid configuration";
    case cudaErrorInsufficientDriver: return "the driver is too old";
    case cudaErrorNoDevice: return "no CUDA-capable device is detected";
    case cudaErrorStreamCaptureUnsupported: return "not permitted while a stream is captured";
    }
    return "unknown error";
}

// ---- for tests ------------------------------------------------------------------------------------

// How often the host has waited until a stream had nothing left to do; or, `busy`, while there was
// more for it to do.
extern "C" __attribute__((visibility("default"))) long ebm_shim_waits(int busy)
{
    guard hold(lock);
    return shim::waits[busy != 0];
}

// `call` is called when device memory has been opened for work, and may close some of it again.
extern "C" __attribute__((visibility("default"))) void ebm_shim_opened(void (*call)(void))
{
    guard hold(lock);
    shim::opened = call;
}
