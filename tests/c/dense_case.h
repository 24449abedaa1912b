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

/* Runs the op on every instruction set; each result must be `expected`, which is freed. */
static inline void dense_check(ebm_op op, const ebm_view *in, const ebm_shape *shape,
                               const int64_t *attr, int32_t n_attr, double *expected)
{
    for (int isa = 0; (isa = kernel_use_isa(isa)) >= 0; isa++) {
        ebm_view out = kernel_array((ebm_dtype)in->dtype, shape);
        kernel_run(op, in, 2, &out, attr, n_attr);
        for (int64_t i = 0; i < ebm_shape_size(shape); i++) {
            double got = kernel_get(&out, i), want = expected[i];
            if (got != want && !(isnan(got) && isnan(want)))
                test_fail(__FILE__, __LINE__, "element %lld of %lld: got %g, expected %g (%s)",
                          (long long)i, (long long)ebm_shape_size(shape), got, want,
                          ebm_cpu_isa());
        }
        kernel_free(&out);
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
