/* dense_case.h - operands of products for the tests of cpu/matmul.c and cpu/conv.c.
 *
 * Values are whole numbers from -3 to 3, so sums are exact in any order and results are
 * compared with ==.  Inputs end where their block ends: the address sanitizer sees a read
 * beyond. */
#ifndef EBM_TESTS_DENSE_CASE_H
#define EBM_TESTS_DENSE_CASE_H

#include "kernels.h"

#include <stdlib.h>

static inline ebm_view dense_input(ebm_dtype dtype, const ebm_shape *shape, uint64_t *state)
{
    int64_t size = ebm_shape_size(shape);
    void *data = malloc((size_t)size * ebm_dtype_size(dtype) + (size == 0));
    CHECK(data != NULL);
    ebm_view view = ebm_view_of(data, dtype, shape);
    for (int64_t i = 0; i < size; i++) kernel_set(&view, i, (double)test_below(state, 7) - 3);
    return view;
}

/* Sometimes a NaN, which must come out where it takes part in a sum, and nowhere else. */
static inline void dense_sprinkle(const ebm_view *x, uint64_t *state)
{
    ebm_shape shape = kernel_shape(x);
    if (ebm_shape_size(&shape) > 0 && test_below(state, 3) == 0)
        kernel_set(x, test_below(state, ebm_shape_size(&shape)), NAN);
}

/* One run on the instruction set in use must give `expected`. */
static inline void dense_check_run(ebm_op op, const ebm_view *in, const ebm_shape *shape,
                                   const int64_t *attr, int32_t n_attr, const double *expected)
{
    ebm_view out = kernel_array((ebm_dtype)in->dtype, shape);
    kernel_run(op, in, 2, &out, attr, n_attr);
    for (int64_t i = 0; i < ebm_shape_size(shape); i++) {
        double got = kernel_get(&out, i), want = expected[i];
        if (got != want && !(isnan(got) && isnan(want)))
            test_fail(__FILE__, __LINE__, "element %lld of %lld: got %g, expected %g (%s)",
                      (long long)i, (long long)ebm_shape_size(shape), got, want, ebm_cpu_isa());
    }
    kernel_free(&out);
}

/* The same of the right operand as EBM_OP_PACK leaves it, if the device wants that. */
static inline void dense_check_packed(ebm_op op, const ebm_view *in, const ebm_shape *shape,
                                      const int64_t *attr, int32_t n_attr, const double *expected)
{
    enum { MAX_ATTRS = 15 };
    const ebm_device *cpu = ebm_device_cpu();
    ebm_view out = ebm_view_of(NULL, (ebm_dtype)in->dtype, shape), both[] = {in[0], in[1]};
    ebm_kernel_args args = {
        .op = op, .n_in = 2, .n_out = 1, .in = in, .out = &out, .attr = attr, .n_attr = n_attr};
    size_t bytes = cpu->packed(cpu, &args);
    if (bytes == 0) return;
    int64_t more[MAX_ATTRS + 1] = {op};
    CHECK(n_attr <= MAX_ATTRS);
    memcpy(more + 1, attr, (size_t)n_attr * sizeof *attr);
    ebm_dtype dtype = (ebm_dtype)in->dtype;
    ebm_view packed = kernel_array(dtype, SHAPE((int64_t)(bytes / ebm_dtype_size(dtype))));
    CHECK_OK(kernel_run_once(EBM_OP_PACK, &in[1], 1, &packed, more, 1 + n_attr));
    both[1].data = packed.data;
    memmove(more, more + 1, (size_t)n_attr * sizeof *attr);
    more[n_attr] = 1;
    dense_check_run(op, both, shape, more, n_attr + 1, expected);
    kernel_free(&packed);
}

/* Runs the op on every instruction set; each result must be `expected`, which is freed. */
static inline void dense_check(ebm_op op, const ebm_view *in, const ebm_shape *shape,
                               const int64_t *attr, int32_t n_attr, double *expected)
{
    for (int isa = 0; (isa = kernel_use_isa(isa)) >= 0; isa++) {
        dense_check_run(op, in, shape, attr, n_attr, expected);
        dense_check_packed(op, in, shape, attr, n_attr, expected);
    }
    ebm__free(expected);
}

static inline double *dense_zeros(const ebm_shape *shape)
{
    double *zeros = ebm__alloc((size_t)ebm_shape_size(shape), sizeof *zeros);
    CHECK(zeros != NULL);
    return zeros;
}

#endif
