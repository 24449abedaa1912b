/* guard.c - see guard.h. */
#define _GNU_SOURCE
#include "guard.h"

#include "apart.h"
#include "ops/ops.h"
#include "runner.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if defined(__SANITIZE_ADDRESS__)
#define HAVE_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HAVE_ASAN 1
#endif
#endif
#if defined(HAVE_ASAN)
#include <sanitizer/asan_interface.h>
#define CLOSE(at, bytes) __asan_poison_memory_region(at, bytes)
#define OPEN(at, bytes) __asan_unpoison_memory_region(at, bytes)
#else
#define CLOSE(at, bytes) ((void)(at), (void)(bytes))
#define OPEN(at, bytes) ((void)(at), (void)(bytes))
#endif

enum { MAX_BLOCKS = 256, MAX_PROMISES = 1 << 14, ZONE = 64, ZONE_BYTE = 0xA5 };

/* `all` is zone, data, zone; `copy` is what it should be. */
typedef struct guarded {
    char *data, *all, *copy;
    size_t bytes;
} guarded;

typedef struct range {
    char *first;
    size_t bytes;
} range;

static const ebm_device *base; /* NULL: the CPU */
static guarded blocks[MAX_BLOCKS];
static int n_blocks;
static char damage[256];
static bool damaged;
static int64_t counts[EBM_OP_COUNT][EBM_DTYPE_COUNT];
static guard_kernel *kernels;

/* ---- blocks ------------------------------------------------------------------------------ */

static size_t all_bytes(const guarded *b)
{
    return b->bytes + 2 * ZONE;
}

static guarded *find(const void *data)
{
    for (int k = 0; k < n_blocks; k++)
        if (blocks[k].data == data) return &blocks[k];
    return NULL;
}

/* Waits for the device; blocks of its memory, which is the host's, may then be looked at. */
static void reach(void)
{
    if (!base) return;
    CHECK_OK(base->sync(base));
    for (int k = 0; k < n_blocks; k++) OPEN(blocks[k].all, all_bytes(&blocks[k]));
}

void *guard_alloc(size_t bytes)
{
    CHECK(n_blocks < MAX_BLOCKS);
    guarded *b = &blocks[n_blocks++];
    b->bytes = bytes;
    size_t room = (all_bytes(b) + ZONE - 1) / ZONE * ZONE;
    void *all = NULL;
    if (base)
        CHECK_OK(base->alloc(base, &all, room));
    else
        all = aligned_alloc(ZONE, room);
    b->all = all;
    b->copy = malloc(all_bytes(b));
    CHECK(b->all && b->copy);
    reach();
    OPEN(b->all, room);
    b->data = b->all + ZONE;
    memset(b->all, ZONE_BYTE, room);
    memset(b->data, 0, bytes);
    memcpy(b->copy, b->all, all_bytes(b));
    return b->data;
}

size_t guard_bytes(const void *block)
{
    CHECK(find(block) != NULL);
    return find(block)->bytes;
}

void guard_written(void *block)
{
    guarded *b = find(block);
    CHECK(b != NULL);
    reach();
    memcpy(b->copy + ZONE, b->data, b->bytes);
}

/* What is wrong with a block is noted once, and mended. */
static void inspect(guarded *b, const char *who)
{
    if (memcmp(b->all, b->copy, all_bytes(b)) == 0) return;
    size_t at = 0;
    while (b->all[at] == b->copy[at]) at++;
    if (!damaged)
        snprintf(damage, sizeof damage, "%s wrote byte %lld of a block of %zu bytes", who,
                 (long long)at - ZONE, b->bytes);
    damaged = true;
    memcpy(b->all, b->copy, all_bytes(b));
}

void guard_free(void *block)
{
    guarded *b = find(block);
    if (!block) return;
    CHECK(b != NULL);
    reach();
    inspect(b, "something between the kernels");
    if (base)
        base->free(base, b->all);
    else
        free(b->all);
    free(b->copy);
    *b = blocks[--n_blocks];
}

const char *guard_damage(void)
{
    bool was = damaged;
    damaged = false;
    return was ? damage : NULL;
}

/* ---- kernels ----------------------------------------------------------------------------- */

static range range_of(const ebm_view *view)
{
    int64_t low = 0, high = 1, size = (int64_t)ebm_dtype_size((ebm_dtype)view->dtype);
    for (int k = 0; k < view->rank; k++) {
        if (view->shape[k] == 0) return (range){view->data, 0};
        int64_t reach = (view->shape[k] - 1) * view->stride[k];
        *(reach < 0 ? &low : &high) += reach;
    }
    return (range){(char *)view->data + low * size, (size_t)((high - low) * size)};
}

/* The part of a range that lies in a block goes to the copy: it may be written. */
static void allow(const range *r)
{
    for (int k = 0; k < n_blocks && r->bytes > 0; k++) {
        guarded *b = &blocks[k];
        if (r->first < b->data || r->first >= b->data + b->bytes) continue;
        size_t at = (size_t)(r->first - b->all), end = (size_t)(b->data + b->bytes - b->all);
        size_t bytes = r->bytes < end - at ? r->bytes : end - at;
        memcpy(b->copy + at, b->all + at, bytes);
    }
}

static const ebm_view *first_view(const ebm_kernel_args *args)
{
    return args->n_in > 0 ? &args->in[0] : &args->out[0];
}

static void count(const ebm_kernel_args *args)
{
    const ebm_region *region = args->region;
    if (!region) {
        counts[args->op][first_view(args)->dtype]++;
    } else {
        for (int32_t k = 0; k < args->n_in && region->draw; k++)
            if (region->draw[k].op) counts[region->draw[k].op][EBM_I32]++; /* of the key */
        for (int32_t k = 0; k < args->region->n_instr; k++)
            counts[args->region->instr[k].op][args->region->instr[k].dtype]++;
    }
}

/* What a kernel was promised when its plan was made: by its attributes, which the plan keeps,
 * its op and its operand (without attributes their pointer may be another kernel's too). */
static struct {
    const int64_t *attr;
    int32_t op;
    int64_t shape[EBM_MAX_RANK];
    size_t bytes;
} promise[MAX_PROMISES];
static int64_t n_promises;

static const ebm_device *under(void)
{
    return base ? base : ebm_device_cpu();
}

static size_t guard_scratch(const ebm_device *device, const ebm_kernel_args *args)
{
    size_t bytes = under()->scratch(under(), args);
    (void)device;
    int64_t k = n_promises++ % MAX_PROMISES;
    promise[k].attr = args->attr;
    promise[k].op = args->op;
    promise[k].bytes = bytes;
    memcpy(promise[k].shape, first_view(args)->shape, sizeof promise[k].shape);
    return bytes;
}

static size_t promised(const ebm_kernel_args *args)
{
    for (int64_t back = 1; back <= n_promises && back <= MAX_PROMISES; back++) {
        int64_t k = (n_promises - back) % MAX_PROMISES;
        if (promise[k].attr == args->attr && promise[k].op == args->op &&
            memcmp(promise[k].shape, first_view(args)->shape, sizeof promise[k].shape) == 0)
            return promise[k].bytes;
    }
    return 0;
}

/* An operand laid out for a product is larger than its view says. */
static bool has_own_layout(const ebm_kernel_args *args)
{
    bool convolves = args->op == EBM_OP_conv || args->op == EBM_OP_conv_data;
    return args->op == EBM_OP_PACK || (args->op == EBM_OP_matmul && args->n_attr > 2) ||
           (convolves && args->n_attr > EBM_CONV_ATTRS);
}

static ebm_status run_under(const ebm_kernel_args *args)
{
    if (kernels) return kernels(under(), args);
    return base ? base->run(base, args) : run_apart(under(), args);
}

/* Only the ends of the blocks are watched. */
static ebm_status run_inside_zones(const ebm_kernel_args *args)
{
    ebm_status status = run_under(args);
    for (int k = 0; k < n_blocks; k++) {
        guard_written(blocks[k].data);
        inspect(&blocks[k], "a product");
    }
    return status;
}

static struct {
    const ebm_kernel_args *args; /* of the kernel that is on; NULL: none */
    range scratch;
} watched;

/* All blocks are closed but what the kernel that is on may touch. */
static void close_others(void)
{
    const ebm_kernel_args *args = watched.args;
    if (!args) return;
    for (int k = 0; k < n_blocks; k++) CLOSE(blocks[k].all, all_bytes(&blocks[k]));
    for (int32_t k = 0; k < args->n_in + args->n_out; k++) {
        range r = range_of(k < args->n_in ? &args->in[k] : &args->out[k - args->n_in]);
        OPEN(r.first, r.bytes);
    }
    OPEN(watched.scratch.first, watched.scratch.bytes);
}

/* A device opens its memory when it comes to the kernel, and then calls close_others. */
static ebm_status run_closed(const ebm_kernel_args *args)
{
    watched.args = args;
    watched.scratch = (range){args->scratch, args->scratch ? promised(args) : 0};
    if (!base) close_others();
    ebm_status status = run_under(args);
    if (base && status == EBM_OK) status = base->sync(base);
    watched.args = NULL;
    for (int k = 0; k < n_blocks; k++) OPEN(blocks[k].all, all_bytes(&blocks[k]));
    return status;
}

static ebm_status run_watched(const ebm_kernel_args *args)
{
    if (has_own_layout(args)) return run_inside_zones(args);
    count(args);
    ebm_status status = run_closed(args);
    for (int32_t k = 0; k < args->n_out; k++) {
        range r = range_of(&args->out[k]);
        allow(&r);
    }
    allow(&watched.scratch);
    const char *name = ebm_op_get((ebm_op)args->op)->name;
    for (int k = 0; k < n_blocks; k++) inspect(&blocks[k], name);
    return status;
}

/* One kernel at a time: lanes would see each other's blocks closed. */
static ebm_status guard_run(const ebm_device *device, const ebm_kernel_args *args)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    (void)device;
    pthread_mutex_lock(&lock);
    ebm_status status = run_watched(args);
    pthread_mutex_unlock(&lock);
    return status;
}

/* ---- the device -------------------------------------------------------------------------- */

static ebm_status device_alloc(const ebm_device *device, void **out, size_t bytes)
{
    (void)device;
    *out = guard_alloc(bytes);
    return EBM_OK;
}

static void device_free(const ebm_device *device, void *data)
{
    (void)device;
    guard_free(data);
}

void guard_use(const ebm_device *device)
{
    void (*on_opening)(void (*call)(void)) = NULL;
    base = device->host_memory ? NULL : device;
    if (!base) return;
    Dl_info info;
    CHECK(dladdr((const void *)(uintptr_t)device->run, &info));
    void *library = dlopen(info.dli_fname, RTLD_NOW | RTLD_NOLOAD);
    void *symbol = library ? dlsym(library, "ebm_shim_opened") : NULL;
    if (!symbol) test_fail(__FILE__, __LINE__, "%s: no memory of the host's", device->name);
    memcpy(&on_opening, &symbol, sizeof on_opening);
    on_opening(close_others);
}

const ebm_device *guard_device(bool card)
{
    static ebm_device both[2];
    ebm_device *guard = &both[card];
    *guard = *under();
    guard->name = "guard";
    guard->record = NULL;
    guard->draws_in_regions = guard->joins_kernels = card;
    guard->alloc = device_alloc;
    guard->free = device_free;
    guard->scratch = guard_scratch;
    guard->run = guard_run;
    return guard;
}

int64_t guard_count(ebm_op op, ebm_dtype dtype)
{
    return counts[op][dtype];
}

void guard_replace_kernels(guard_kernel *run)
{
    kernels = run;
}
