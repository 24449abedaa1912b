// block.cc - a grid's blocks, one after another; a block's threads as fibers.
//
// A fiber runs until it waits: at a barrier of its block, in a shuffle of its warp, or at its end.
// When nobody can go on, either a barrier is complete and opens, or the kernel is wrong.
#include <cuda_runtime.h>
#include <stdio.h>
#include <sys/mman.h>

#include <map>
#include <vector>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#define START_SWITCH(save, stack, size) __sanitizer_start_switch_fiber(save, stack, size)
#define FINISH_SWITCH(saved, stack, size) __sanitizer_finish_switch_fiber(saved, stack, size)
#else
#define START_SWITCH(save, stack, size) ((void)(save), (void)(stack), (void)(size))
#define FINISH_SWITCH(saved, stack, size) ((void)(saved), (void)(stack), (void)(size))
#endif

uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;

namespace shim
{

namespace
{

enum { WARP = 32, MAX_THREADS = 1024, MAX_SHARED = 227 * 1024 };
const size_t STACK = 256 << 10;

enum class state { ready, at_barrier, in_warp, done };

struct fiber {
    char *stack;
    void *top;  // where it goes on
    void *fake; // AddressSanitizer's stack beside it
    state is;
    int line; // where it waits
    uint3 index;
};

// The lanes that wait in a shuffle, and what they brought: two sets, for a lane may be in the next
// shuffle before another has read its value of this one.
struct warp {
    unsigned arrived, mask, turn;
    alignas(16) unsigned char value[2][WARP][16];
};

std::vector<fiber> fibers;
std::vector<warp> warps;
std::map<const void *, void *> arrays; // shared ones of the block, by name
char *dynamic_array;
const std::function<void()> *body;
void *scheduler; // where it goes on
void *scheduler_fake;
const void *scheduler_stack;
size_t scheduler_size;
int current, n_threads;
bool in_fiber;
int votes, vote_result;
unsigned order_setting;

[[noreturn]] void die(const char *what)
{
    fprintf(stderr, "cuda-host: %s\n", what);
    for (int k = 0, shown = 0; k < n_threads && shown < 4; k++)
        if (in_fiber && (fibers[k].is == state::at_barrier || fibers[k].is == state::in_warp)) {
            fprintf(stderr, "  thread %d waits at line %d\n", k, fibers[k].line);
            shown++;
        }
    abort();
}

// Saves six registers and the stack pointer in *save, and goes on at `load`.
extern "C" void ebm_shim_switch(void **save, void *load);
#if defined(__x86_64__)
asm(".text\n"
    ".globl ebm_shim_switch\n"
    ".hidden ebm_shim_switch\n"
    "ebm_shim_switch:\n"
    "  push %rbp\n  push %rbx\n  push %r12\n  push %r13\n  push %r14\n  push %r15\n"
    "  mov %rsp, (%rdi)\n"
    "  mov %rsi, %rsp\n"
    "  pop %r15\n  pop %r14\n  pop %r13\n  pop %r12\n  pop %rbx\n  pop %rbp\n"
    "  ret\n");
#else
#error "cuda-host: fibers are written for x86-64 alone"
#endif

// From the current fiber to the scheduler, and back one day.
void leave()
{
    fiber &f = fibers[current];
    START_SWITCH(f.is == state::done ? nullptr : &f.fake, scheduler_stack, scheduler_size);
    ebm_shim_switch(&f.top, scheduler);
    FINISH_SWITCH(f.fake, &scheduler_stack, &scheduler_size);
}

void enter(int k)
{
    fiber &f = fibers[k];
    current = k;
    threadIdx = f.index;
    START_SWITCH(&scheduler_fake, f.stack, STACK);
    ebm_shim_switch(&scheduler, f.top);
    FINISH_SWITCH(scheduler_fake, nullptr, nullptr);
}

extern "C" void ebm_shim_start()
{
    FINISH_SWITCH(nullptr, &scheduler_stack, &scheduler_size);
    (*body)();
    fibers[current].is = state::done;
    leave();
    abort();
}

uint3 index_of(int k)
{
    unsigned i = (unsigned)k;
    return {i % blockDim.x, i / blockDim.x % blockDim.y, i / (blockDim.x * blockDim.y)};
}

void prepare(int k)
{
    fiber &f = fibers[k];
    f.is = state::ready;
    f.index = index_of(k);
    void **top = (void **)(f.stack + STACK - 64);
    *--top = nullptr;
    *--top = (void *)ebm_shim_start;
    for (int saved = 0; saved < 6; saved++) *--top = nullptr;
    f.top = top;
}

// The k-th of n in the order that is set; `salt` shuffles anew.
int turn_of(int k, int n, unsigned salt)
{
    if (order_setting == 0) return k;
    if (order_setting == 1) return n - 1 - k;
    unsigned step = 7919u % (unsigned)n, a = step, b = (unsigned)n;
    while (b) { // a step without a divisor in common with n visits everyone
        unsigned rest = a % b;
        a = b;
        b = rest;
    }
    if (a != 1) step = 1;
    unsigned offset = (salt + order_setting) * 1664525u + 1013904223u;
    return (int)(((unsigned long long)k * step + offset % (unsigned)n) % (unsigned)n);
}

// Everyone waits: opens the barrier if it is complete.
void open_barrier(int left)
{
    int waiting = 0, line = 0;
    for (int k = 0; k < n_threads; k++) {
        if (fibers[k].is != state::at_barrier) continue;
        if (waiting++ && line != fibers[k].line)
            die("threads of a block wait at different barriers");
        line = fibers[k].line;
    }
    if (waiting < left) die("lanes of a warp wait for others that never come");
    if (left < n_threads) die("threads of a block ended before a barrier that others reached");
    for (int k = 0; k < n_threads; k++) fibers[k].is = state::ready;
    vote_result = votes;
    votes = 0;
}

void run_fibers()
{
    in_fiber = true;
    for (int k = 0; k < n_threads; k++) prepare(k);
    for (warp &w : warps) w.arrived = w.turn = 0;
    unsigned round = 0;
    for (int left = n_threads; left > 0; round++) {
        bool moved = false;
        for (int k = 0; k < n_threads; k++) {
            int next = turn_of(k, n_threads, round);
            if (fibers[next].is != state::ready) continue;
            enter(next);
            moved = true;
            if (fibers[next].is == state::done) left--;
        }
        if (!moved) open_barrier(left);
    }
    in_fiber = false;
}

// Without barriers threads need no stacks of their own.
void run_plain(unsigned salt)
{
    for (int k = 0; k < n_threads; k++) {
        threadIdx = index_of(turn_of(k, n_threads, salt));
        (*body)();
    }
}

void run_block(size_t dynamic, bool barriers, unsigned salt)
{
    if (dynamic) {
        dynamic_array = (char *)malloc(dynamic);
        memset(dynamic_array, 0xFF, dynamic);
    }
    if (barriers)
        run_fibers();
    else
        run_plain(salt);
    for (auto &array : arrays) free(array.second);
    arrays.clear();
    free(dynamic_array);
    dynamic_array = nullptr;
}

} // namespace

void set_order(unsigned order)
{
    order_setting = order;
}

void run_grid(dim3 grid, dim3 block, size_t dynamic, bool barriers,
              const std::function<void()> &thread)
{
    n_threads = (int)(block.x * block.y * block.z);
    if (n_threads < 1 || n_threads > MAX_THREADS || dynamic > MAX_SHARED)
        die("a launch with too many threads or too much shared memory");
    while (barriers && (int)fibers.size() < n_threads) {
        void *stack = mmap(nullptr, STACK, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (stack == MAP_FAILED) die("no memory for fibers");
        fibers.push_back({(char *)stack, nullptr, nullptr, state::done, 0, {0, 0, 0}});
    }
    warps.resize((size_t)(n_threads + WARP - 1) / WARP);
    gridDim = grid;
    blockDim = block;
    body = &thread;
    int n = (int)(grid.x * grid.y * grid.z);
    for (int k = 0; k < n; k++) {
        unsigned i = (unsigned)turn_of(k, n, 0);
        blockIdx = {i % grid.x, i / grid.x % grid.y, i / (grid.x * grid.y)};
        run_block(dynamic, barriers, i);
    }
}

void *shared_array(const void *name, size_t bytes)
{
    void *&array = arrays[name];
    if (!array) {
        array = malloc(bytes);
        memset(array, 0xFF, bytes);
    }
    return array;
}

void *dynamic_shared()
{
    return dynamic_array;
}

int lane()
{
    return current % WARP;
}

void barrier(int line)
{
    if (!in_fiber) die("a barrier in a kernel that was launched as one without");
    fibers[current].is = state::at_barrier;
    fibers[current].line = line;
    leave();
}

int barrier_any(int predicate, int line)
{
    votes |= predicate != 0;
    barrier(line);
    return vote_result;
}

void exchange(unsigned mask, const void *mine, void *theirs, size_t bytes, int from, int line)
{
    if (!in_fiber) die("a shuffle in a kernel that was launched as one without");
    warp &w = warps[(size_t)current / WARP];
    int first = current / WARP * WARP, me = lane();
    unsigned set = w.turn & 1;
    if (!(mask >> me & 1)) die("a lane is not in its own mask");
    if (w.arrived && w.mask != mask) die("lanes of a warp disagree on the mask");
    memcpy(w.value[set][me], mine, bytes);
    w.mask = mask;
    w.arrived |= 1u << me;
    unsigned alive = 0;
    for (int k = 0; k < WARP && first + k < n_threads; k++)
        alive |= (unsigned)(fibers[first + k].is != state::done) << k;
    if (w.arrived == (mask & alive)) {
        w.arrived = 0;
        w.turn++;
        for (int k = 0; k < WARP && first + k < n_threads; k++)
            if (fibers[first + k].is == state::in_warp) fibers[first + k].is = state::ready;
    } else {
        fibers[current].is = state::in_warp;
        fibers[current].line = line;
        leave();
    }
    memcpy(theirs, w.value[set][from], bytes);
}

} // namespace shim
