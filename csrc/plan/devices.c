/* devices.c - devices by name: the CPU, and libraries that bring another.
 *
 * A library is looked for in the folder `devices` beside this code: beside the extension module, or
 * a program that the core is linked into.  It is opened once and never closed. */
#define _GNU_SOURCE
#include "tensor/device.h"

#include "graph/graph.h"
#include "tensor/shape.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { MAX_PATH = 4096 };

typedef struct library {
    const char *name, *file, *missing; /* missing: what to do about it */
    const ebm_device *device;          /* NULL: not open */
} library;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static library libraries[] = {
    {"cuda", "libebm-cuda.so",
     "this ebmlib was built without CUDA: build it where nvcc is found (EBMLIB_CUDA=1 insists)",
     NULL},
    {"cuda-host", "libebm-cuda-host.so",
     "the CUDA kernels on the host are for tests: python setup.py cuda_host makes them", NULL},
};

static const ebm_op_info *op_get(int32_t op)
{
    return ebm_op_get(op >= 0 && op <= EBM_OP_PACK ? (ebm_op)op : EBM_OP_poison);
}

static const ebm_core core = {
    .ops = EBM_OP_COUNT,
    .kernel_args = sizeof(ebm_kernel_args),
    .fail = ebm_fail,
    .dtype_name = ebm_dtype_name,
    .dtype_size = ebm_dtype_size,
    .op_get = op_get,
};

/* The path of `file` in the folder of libraries. */
static ebm_status path_of(char path[MAX_PATH], const char *file)
{
    Dl_info info;
    if (!dladdr((const void *)&core, &info) || !info.dli_fname)
        return ebm_fail(EBM_DEVICE, "device: cannot find the folder of the library");
    const char *slash = strrchr(info.dli_fname, '/');
    int folder = slash ? (int)(slash - info.dli_fname) : 1;
    int n = snprintf(path, MAX_PATH, "%.*s/devices/%s", folder, slash ? info.dli_fname : ".",
                     file);
    return n > 0 && n < MAX_PATH ? EBM_OK : ebm_fail(EBM_DEVICE, "device: path is too long");
}

static ebm_status open_library(library *l)
{
    char path[MAX_PATH];
    EBM_TRY(path_of(path, l->file));
    if (access(path, R_OK) != 0)
        return ebm_fail(EBM_DEVICE, "device '%s': %s", l->name, l->missing);
    void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!handle) return ebm_fail(EBM_DEVICE, "device '%s': %s", l->name, dlerror());
    ebm_device_open_function *open = NULL;
    void *symbol = dlsym(handle, EBM_DEVICE_OPEN);
    memcpy(&open, &symbol, sizeof open);
    ebm_status status = open ? open(&l->device, &core)
                             : ebm_fail(EBM_DEVICE, "device '%s': %s has no " EBM_DEVICE_OPEN,
                                        l->name, l->file);
    if (status != EBM_OK) dlclose(handle);
    return status;
}

ebm_status ebm_device_get(const ebm_device **out, const char *name)
{
    if (strcmp(name, "cpu") == 0) {
        *out = ebm_device_cpu();
        return EBM_OK;
    }
    for (size_t k = 0; k < sizeof libraries / sizeof *libraries; k++) {
        library *l = &libraries[k];
        if (strcmp(name, l->name) != 0) continue;
        pthread_mutex_lock(&lock);
        ebm_status status = l->device ? EBM_OK : open_library(l);
        if (status == EBM_OK) *out = l->device;
        pthread_mutex_unlock(&lock);
        return status;
    }
    return ebm_fail(EBM_VALUE, "device: got '%.32s', expected cpu or cuda", name);
}
