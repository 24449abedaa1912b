/* kernels.h - running one kernel of the CPU in a test.
 *
 * Arrays lie between guard bytes, outputs are filled with junk first, and every kernel runs
 * with one thread and with several: guards must stand, and the bits must be the same. */
#ifndef EBM_TESTS_KERNELS_H
#define EBM_TESTS_KERNELS_H

#include "runner.h"

#include "base/alloc.h"
#include "base/threads.h"
#include "graph/graph.h"
#include "tensor/device.h"

#include <string.h>

enum { KERNEL_GUARD = 256, KERNEL_MAX_IN = 8 };

/* A pointer to the shape (2, 3): SHAPE(2, 3). */
#define SHAPE(...)                                                              \
    (&(ebm_shape){.rank = (int32_t)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), \
                  .dim = {__VA_ARGS__}})

/* for (int isa = 0; (isa = kernel_use_isa(isa)) >= 0; isa++): all that this machine has,
 * and the default after the loop. */
static inline int kernel_use_isa(int isa)
{
    static const char *const names[] = {"baseline", "avx2", "avx512"};
    for (; isa < 3; isa++) {
        ebm_status status = ebm_cpu_set_isa(names[isa]);
        if (status == EBM_OK) return isa;
        CHECK_STATUS(status, EBM_UNSUPPORTED);
    }
    CHECK_OK(ebm_cpu_set_isa(NULL));
    return -1;
}

/* A contiguous array between guards, filled with junk. */
static inline ebm_view kernel_array(ebm_dtype dtype, const ebm_shape *shape)
{
    size_t bytes = (size_t)ebm_shape_size(shape) * ebm_dtype_size(dtype);
    unsigned char *block = ebm__alloc(bytes + 2 * KERNEL_GUARD, 1);
    CHECK(block != NULL);
    memset(block, 0xa5, bytes + 2 * KERNEL_GUARD);
    return ebm_view_of(block + KERNEL_GUARD, dtype, shape);
}

static inline ebm_shape kernel_shape(const ebm_view *view)
{
    return ebm_shape_of(view->rank, view->shape);
}

static inline size_t kernel_bytes(const ebm_view *view)
{
    ebm_shape shape = kernel_shape(view);
    return (size_t)ebm_shape_size(&shape) * ebm_dtype_size((ebm_dtype)view->dtype);
}

static inline void kernel_check_guards(const ebm_view *view)
{
    const unsigned char *data = view->data;
    size_t bytes = kernel_bytes(view);
    for (size_t i = 0; i < KERNEL_GUARD; i++)
        CHECK(data[-1 - (ptrdiff_t)i] == 0xa5 && data[bytes + i] == 0xa5);
}

static inline void kernel_free(ebm_view *view)
{
    kernel_check_guards(view);
    ebm__free((unsigned char *)view->data - KERNEL_GUARD);
    view->data = NULL;
}

/* Element i as a number, and the other way round. */
static inline double kernel_get(const ebm_view *view, int64_t i)
{
    switch (view->dtype) {
    case EBM_F32: return ((const float *)view->data)[i];
    case EBM_F64: return ((const double *)view->data)[i];
    case EBM_I32: return ((const int32_t *)view->data)[i];
    default: return ((const uint8_t *)view->data)[i];
    }
}

static inline void kernel_set(const ebm_view *view, int64_t i, double value)
{
    switch (view->dtype) {
    case EBM_F32: ((float *)view->data)[i] = (float)value; break;
    case EBM_F64: ((double *)view->data)[i] = value; break;
    case EBM_I32: ((int32_t *)view->data)[i] = (int32_t)value; break;
    default: ((uint8_t *)view->data)[i] = (uint8_t)value; break;
    }
}

/* An array of random values: floats in [-1, 1), integers in [-1000, 1000), bytes, 0 and 1. */
static inline ebm_view kernel_random(ebm_dtype dtype, const ebm_shape *shape, uint64_t *state)
{
    ebm_view view = kernel_array(dtype, shape);
    int64_t size = ebm_shape_size(shape);
    for (int64_t i = 0; i < size; i++) {
        double u = test_uniform(state);
        switch (dtype) {
        case EBM_F32:
        case EBM_F64: kernel_set(&view, i, 2 * u - 1); break;
        case EBM_I32: kernel_set(&view, i, floor(2000 * u) - 1000); break;
        case EBM_BOOL: kernel_set(&view, i, u < 0.3); break;
        default: kernel_set(&view, i, floor(256 * u)); break;
        }
    }
    return view;
}

/* Rank 0 to max_rank, sizes 0 (seldom) to 9 and sometimes more, at most 5,000 elements or
 * so. */
static inline ebm_shape kernel_random_shape(int32_t max_rank, uint64_t *state)
{
    ebm_shape shape = {.rank = (int32_t)test_below(state, max_rank + 1)};
    for (int32_t i = 0; i < shape.rank; i++) {
        int64_t kind = test_below(state, 20);
        shape.dim[i] = kind == 0 ? 0 : kind < 4 ? 1 : 1 + test_below(state, kind < 18 ? 6 : 40);
    }
    while (ebm_shape_size(&shape) > 5000)
        for (int32_t i = 0; i < shape.rank; i++) shape.dim[i] = (shape.dim[i] + 1) / 2;
    return shape;
}

/* One run; `scratch` is as large as the device asks for, between guards. */
static inline ebm_status kernel_run_once(ebm_op op, const ebm_view *in, int32_t n_in,
                                         const ebm_view *out, const int64_t *attr, int32_t n_attr)
{
    const ebm_device *cpu = ebm_device_cpu();
    ebm_kernel_args args = {
        .op = op, .n_in = n_in, .n_out = 1, .in = in, .out = out, .attr = attr, .n_attr = n_attr};
    ebm_view scratch = kernel_array(EBM_U8, SHAPE((int64_t)cpu->scratch(cpu, &args)));
    args.scratch = scratch.data;
    ebm_status status = cpu->run(cpu, &args);
    kernel_free(&scratch);
    kernel_check_guards(out);
    return status;
}

/* Runs with 1 and with 3 threads into `out`, which starts as junk; inputs must not change. */
static inline void kernel_run(ebm_op op, const ebm_view *in, int32_t n_in, const ebm_view *out,
                              const int64_t *attr, int32_t n_attr)
{
    size_t bytes = kernel_bytes(out);
    void *first = ebm__alloc(bytes, 1), *before[KERNEL_MAX_IN] = {NULL};
    for (int32_t i = 0; i < n_in; i++) {
        before[i] = ebm__alloc(kernel_bytes(&in[i]), 1);
        memcpy(before[i], in[i].data, kernel_bytes(&in[i]));
    }
    ebm_set_num_threads(1);
    memset(out->data, 0x5a, bytes);
    CHECK_OK(kernel_run_once(op, in, n_in, out, attr, n_attr));
    memcpy(first, out->data, bytes);
    ebm_set_num_threads(3);
    memset(out->data, 0xb7, bytes);
    CHECK_OK(kernel_run_once(op, in, n_in, out, attr, n_attr));
    CHECK(memcmp(first, out->data, bytes) == 0);
    for (int32_t i = 0; i < n_in; i++) {
        CHECK(memcmp(before[i], in[i].data, kernel_bytes(&in[i])) == 0);
        ebm__free(before[i]);
    }
    ebm__free(first);
}

/* The coordinates of element i of a contiguous shape, and back. */
static inline void kernel_unravel(const ebm_shape *shape, int64_t i, int64_t *at)
{
    for (int32_t k = shape->rank - 1; k >= 0; k--) {
        at[k] = i % shape->dim[k];
        i /= shape->dim[k];
    }
}

static inline int64_t kernel_ravel(const ebm_shape *shape, const int64_t *at)
{
    int64_t i = 0;
    for (int32_t k = 0; k < shape->rank; k++) i = i * shape->dim[k] + at[k];
    return i;
}

#endif
