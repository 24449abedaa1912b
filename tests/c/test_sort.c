/* test_sort.c - cpu/sort.c: argsort gives every place once, in order, equals as they came. */
#include "kernels.h"

static const ebm_dtype types[] = {EBM_F32, EBM_F64, EBM_I32, EBM_BOOL, EBM_U8};

/* Whether element a has to stand before b, being before it in the array or not. */
static bool in_order(double a, bool earlier, double b)
{
    if (isnan(a) || isnan(b)) return isnan(b) && (!isnan(a) || earlier);
    return a < b || (a == b && earlier);
}

static void check_argsort(const ebm_view *x, const ebm_view *out, int64_t axis)
{
    int64_t n = x->shape[axis], inner = 1, rows = 1;
    for (int32_t i = 0; i < x->rank; i++)
        if (i > axis)
            inner *= x->shape[i];
        else if (i < axis)
            rows *= x->shape[i];
    for (int64_t row = 0; row < rows * inner; row++) {
        int64_t start = row / inner * n * inner + row % inner;
        for (int64_t i = 0; i < n; i++) {
            int64_t place = (int64_t)kernel_get(out, start + i * inner);
            CHECK(place >= 0 && place < n);
            if (i == 0) continue;
            int64_t before = (int64_t)kernel_get(out, start + (i - 1) * inner);
            CHECK(in_order(kernel_get(x, start + before * inner), before < place,
                           kernel_get(x, start + place * inner)));
        }
    }
}

/* A strict order of neighbours makes the places a permutation. */
static void run_argsort(ebm_dtype dtype, const ebm_shape *shape, int64_t axis, uint64_t *state)
{
    ebm_view x = kernel_random(dtype, shape, state), out = kernel_array(EBM_I32, shape);
    int64_t size = ebm_shape_size(shape);
    for (int64_t k = 0; size && ebm_dtype_is_float(dtype) && k < size / 4; k++) {
        const double often[] = {NAN, -NAN, INFINITY, -INFINITY, 0.0, -0.0, 0.5, -0.5};
        kernel_set(&x, test_below(state, size), often[test_below(state, 8)]);
    }
    for (int isa = 0; (isa = kernel_use_isa(isa)) >= 0; isa++) {
        kernel_run(EBM_OP_argsort, &x, 1, &out, &axis, 1);
        check_argsort(&x, &out, axis);
    }
    kernel_free(&x);
    kernel_free(&out);
}

TEST(argsort_random_shapes)
{
    uint64_t state = 1;
    for (int n = 0; n < 400; n++) {
        ebm_shape shape = kernel_random_shape(4, &state);
        if (shape.rank)
            run_argsort(types[n % 5], &shape, test_below(&state, shape.rank), &state);
    }
}

TEST(argsort_every_length)
{
    uint64_t state = 2;
    for (int64_t n = 0; n < 120; n++) run_argsort(types[n % 5], SHAPE(3, n), 1, &state);
    run_argsort(EBM_F32, SHAPE(100000), 0, &state);
    run_argsort(EBM_I32, SHAPE(1000, 40), 0, &state);
}
