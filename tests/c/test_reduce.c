/* test_reduce.c - cpu/reduce.c against loops over single elements. */
#include "kernels.h"

static const ebm_dtype summed[] = {EBM_F32, EBM_F64, EBM_I32};
static const ebm_dtype compared[] = {EBM_F32, EBM_F64, EBM_I32, EBM_BOOL};

static ebm_shape without_axes(const ebm_shape *x, int64_t mask)
{
    ebm_shape out = EBM_SCALAR;
    for (int32_t i = 0; i < x->rank; i++)
        if (!(mask >> i & 1)) out.dim[out.rank++] = x->dim[i];
    return out;
}

/* The element of the result that element i of x goes to. */
static int64_t place_without_axes(const ebm_shape *x, const ebm_shape *out, int64_t mask,
                                  int64_t i)
{
    int64_t at[EBM_MAX_RANK], kept[EBM_MAX_RANK];
    int32_t n = 0;
    kernel_unravel(x, i, at);
    for (int32_t k = 0; k < x->rank; k++)
        if (!(mask >> k & 1)) kept[n++] = at[k];
    return kernel_ravel(out, kept);
}

static void check_sum(const ebm_view *x, const ebm_view *out, int64_t mask)
{
    ebm_shape from = kernel_shape(x), to = kernel_shape(out);
    int64_t size = ebm_shape_size(&to);
    double *total = ebm__alloc((size_t)size, sizeof *total);
    double *scale = ebm__alloc((size_t)size, sizeof *scale);
    for (int64_t i = 0; i < ebm_shape_size(&from); i++) {
        int64_t k = place_without_axes(&from, &to, mask, i);
        total[k] += kernel_get(x, i);
        scale[k] += fabs(kernel_get(x, i));
    }
    double ulp = x->dtype == EBM_F32 ? 0x1p-24 : x->dtype == EBM_F64 ? 0x1p-53 : 0;
    for (int64_t k = 0; k < size; k++)
        CHECK(fabs(kernel_get(out, k) - total[k]) <= 32 * ulp * scale[k]);
    ebm__free(total);
    ebm__free(scale);
}

static void check_max(const ebm_view *x, const ebm_view *out, int64_t mask)
{
    ebm_shape from = kernel_shape(x), to = kernel_shape(out);
    int64_t size = ebm_shape_size(&to);
    double *best = ebm__alloc((size_t)size, sizeof *best);
    for (int64_t k = 0; k < size; k++) best[k] = -INFINITY;
    for (int64_t i = 0; i < ebm_shape_size(&from); i++) {
        int64_t k = place_without_axes(&from, &to, mask, i);
        double value = kernel_get(x, i);
        if (isnan(value) || value > best[k]) best[k] = value;
        if (isnan(best[k])) best[k] = NAN;
    }
    for (int64_t k = 0; k < size; k++) {
        double got = kernel_get(out, k);
        CHECK(got == best[k] || (isnan(got) && isnan(best[k])));
    }
    ebm__free(best);
}

/* A NaN here and there. */
static void sprinkle_nan(const ebm_view *x, uint64_t *state)
{
    ebm_shape shape = kernel_shape(x);
    int64_t size = ebm_shape_size(&shape);
    if (size && ebm_dtype_is_float((ebm_dtype)x->dtype))
        for (int k = 0; k < 3; k++) kernel_set(x, test_below(state, size), NAN);
}

static void run_over_axes(ebm_op op, ebm_dtype dtype, const ebm_shape *shape, int64_t mask,
                          uint64_t *state)
{
    ebm_shape to = without_axes(shape, mask);
    ebm_view x = kernel_random(dtype, shape, state), out = kernel_array(dtype, &to);
    if (op == EBM_OP_max && test_below(state, 2)) sprinkle_nan(&x, state);
    for (int isa = 0; (isa = kernel_use_isa(isa)) >= 0; isa++) {
        kernel_run(op, &x, 1, &out, &mask, 1);
        if (op == EBM_OP_sum)
            check_sum(&x, &out, mask);
        else
            check_max(&x, &out, mask);
    }
    kernel_free(&x);
    kernel_free(&out);
}

static bool has_empty_axis(const ebm_shape *shape, int64_t mask)
{
    for (int32_t i = 0; i < shape->rank; i++)
        if (mask >> i & 1 && shape->dim[i] == 0) return true;
    return false;
}

TEST(reduce_random_shapes)
{
    uint64_t state = 1;
    for (int n = 0; n < 1500; n++) {
        ebm_shape shape = kernel_random_shape(5, &state);
        int64_t mask = test_below(&state, INT64_C(1) << shape.rank);
        run_over_axes(EBM_OP_sum, summed[n % 3], &shape, mask, &state);
        if (!has_empty_axis(&shape, mask))
            run_over_axes(EBM_OP_max, compared[n % 4], &shape, mask, &state);
    }
}

/* Long enough for trees of leaves, tiles, parts and several stages. */
TEST(reduce_large_shapes)
{
    static const struct {
        ebm_shape shape;
        int64_t mask;
    } cases[] = {
        {{1, {300001}}, 1},           {{2, {130, 1025}}, 2},      {{2, {3, 70001}}, 2},
        {{2, {70, 33000}}, 2},        {{2, {40003, 3}}, 1},       {{2, {20011, 17}}, 1},
        {{2, {2001, 64}}, 1},         {{2, {1000, 300}}, 1},      {{2, {7, 30001}}, 1},
        {{3, {3, 5001, 20}}, 2},      {{3, {90, 1001, 3}}, 2},    {{3, {70, 129, 33}}, 2},
        {{3, {2, 130, 2100}}, 2},     {{4, {6, 37, 5, 129}}, 10}, {{5, {4, 9, 3, 50, 20}}, 21},
        {{4, {5, 6, 7, 1000}}, 13},   {{3, {1, 40000, 1}}, 2},    {{3, {200, 33, 10}}, 5},
        {{5, {3, 40, 2, 30, 9}}, 10}, {{2, {50000, 2}}, 2},       {{2, {30001, 3}}, 2},
        {{3, {130, 130, 131}}, 5},
    };
    uint64_t state = 2;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (int k = 0; k < 3; k++)
            run_over_axes(EBM_OP_sum, summed[k], &cases[i].shape, cases[i].mask, &state);
        for (int k = 0; k < 4; k++)
            run_over_axes(EBM_OP_max, compared[k], &cases[i].shape, cases[i].mask, &state);
    }
}

/* Every length around the vectors and leaves of a row, and every width of short columns. */
TEST(reduce_every_length)
{
    uint64_t state = 3;
    for (int64_t n = 1; n < 300; n++) {
        int64_t length = n < 200 ? n : 1000 + 13 * (n - 200);
        run_over_axes(EBM_OP_sum, summed[n % 3], SHAPE(7, length), 2, &state);
        run_over_axes(EBM_OP_max, compared[n % 4], SHAPE(7, length), 2, &state);
        run_over_axes(EBM_OP_sum, summed[n % 3], SHAPE(261, n), 1, &state);
    }
}

TEST(sum_of_nothing_is_zero)
{
    run_over_axes(EBM_OP_sum, EBM_F32, SHAPE(0), 1, &(uint64_t){4});
    ebm_view x = kernel_array(EBM_F64, SHAPE(3, 0)), out = kernel_array(EBM_F64, SHAPE(3));
    int64_t mask = 2;
    kernel_run(EBM_OP_sum, &x, 1, &out, &mask, 1);
    for (int i = 0; i < 3; i++) CHECK(kernel_get(&out, i) == 0);
    kernel_free(&x);
    kernel_free(&out);
}

/* 0.1f ten million times: a running sum would be wrong by more than a percent. */
TEST(sum_of_ten_million_is_accurate)
{
    enum { SIZE = 10000000 };
    ebm_view x = kernel_array(EBM_F32, SHAPE(SIZE)), out = kernel_array(EBM_F32, &EBM_SCALAR);
    ebm_view columns = ebm_view_of(x.data, EBM_F32, SHAPE(SIZE / 5, 5));
    ebm_view fives = kernel_array(EBM_F32, SHAPE(5));
    double exact = 0, exact_of_five[5] = {0};
    uint64_t state = 5;
    int64_t mask = 1;
    for (int turn = 0; turn < 2; turn++) {
        for (int i = 0; i < SIZE; i++) kernel_set(&x, i, turn ? test_uniform(&state) : 0.1);
        exact = 0;
        memset(exact_of_five, 0, sizeof exact_of_five);
        for (int i = 0; i < SIZE; i++) {
            exact += kernel_get(&x, i);
            exact_of_five[i % 5] += kernel_get(&x, i);
        }
        for (int isa = 0; (isa = kernel_use_isa(isa)) >= 0; isa++) {
            CHECK_OK(kernel_run_once(EBM_OP_sum, &x, 1, &out, &mask, 1));
            CHECK_CLOSE(kernel_get(&out, 0), exact, 1e-6);
            CHECK_OK(kernel_run_once(EBM_OP_sum, &columns, 1, &fives, &mask, 1));
            for (int c = 0; c < 5; c++)
                CHECK_CLOSE(kernel_get(&fives, c), exact_of_five[c], 1e-6);
        }
    }
    kernel_free(&x);
    kernel_free(&out);
    kernel_free(&fives);
}

/* A row has the same bits alone and in a batch of any size. */
TEST(sum_of_a_row_does_not_see_its_batch)
{
    static const int64_t lengths[] = {3, 10, 1000, 100003}, inners[] = {1, 3, 70};
    uint64_t state = 6;
    int64_t mask = 2;
    for (int k = 0; k < 12; k++) {
        int64_t n = lengths[k % 4], inner = inners[k / 4], rows = n > 1000 ? 65 : 9;
        if (n * inner > 400000) continue;
        ebm_view x = kernel_random(EBM_F32, SHAPE(rows, n, inner), &state);
        ebm_view all = kernel_array(EBM_F32, SHAPE(rows, inner));
        ebm_view one = kernel_array(EBM_F32, SHAPE(1, inner));
        for (int isa = 0; (isa = kernel_use_isa(isa)) >= 0; isa++) {
            CHECK_OK(kernel_run_once(EBM_OP_sum, &x, 1, &all, &mask, 1));
            for (int64_t r = 0; r < rows; r++) {
                float *from = (float *)x.data + r * n * inner;
                ebm_view row = ebm_view_of(from, EBM_F32, SHAPE(1, n, inner));
                CHECK_OK(kernel_run_once(EBM_OP_sum, &row, 1, &one, &mask, 1));
                CHECK(memcmp(one.data, (float *)all.data + r * inner, kernel_bytes(&one)) == 0);
            }
        }
        kernel_free(&x);
        kernel_free(&all);
        kernel_free(&one);
    }
}

TEST(sum_i32_wraps)
{
    ebm_view x = kernel_array(EBM_I32, SHAPE(3, 40)), out = kernel_array(EBM_I32, SHAPE(3));
    int64_t mask = 2;
    for (int i = 0; i < 120; i++) kernel_set(&x, i, i % 40 == 0 ? INT32_MAX : 1);
    for (int isa = 0; (isa = kernel_use_isa(isa)) >= 0; isa++) {
        kernel_run(EBM_OP_sum, &x, 1, &out, &mask, 1);
        for (int i = 0; i < 3; i++) CHECK(kernel_get(&out, i) == INT32_MIN + 38.0);
    }
    kernel_free(&x);
    kernel_free(&out);
}

/* Rows of -inf, of one NaN in every place, of the smallest integers. */
TEST(max_of_extremes)
{
    ebm_view x = kernel_array(EBM_F32, SHAPE(100)), out = kernel_array(EBM_F32, &EBM_SCALAR);
    ebm_view i32 = kernel_array(EBM_I32, SHAPE(100)), least = kernel_array(EBM_I32, &EBM_SCALAR);
    int64_t mask = 1;
    for (int i = 0; i < 100; i++) kernel_set(&x, i, -INFINITY);
    for (int i = 0; i < 100; i++) kernel_set(&i32, i, INT32_MIN);
    for (int isa = 0; (isa = kernel_use_isa(isa)) >= 0; isa++) {
        kernel_run(EBM_OP_max, &x, 1, &out, &mask, 1);
        CHECK(kernel_get(&out, 0) == -INFINITY);
        kernel_run(EBM_OP_max, &i32, 1, &least, &mask, 1);
        CHECK(kernel_get(&least, 0) == INT32_MIN);
        for (int i = 0; i < 100; i++) {
            kernel_set(&x, i, NAN);
            kernel_set(&x, (i + 1) % 100, INFINITY);
            kernel_run(EBM_OP_max, &x, 1, &out, &mask, 1);
            CHECK(isnan(kernel_get(&out, 0)));
            kernel_set(&x, i, -INFINITY);
            kernel_set(&x, (i + 1) % 100, -INFINITY);
        }
    }
    kernel_free(&x);
    kernel_free(&out);
    kernel_free(&i32);
    kernel_free(&least);
}

/* ---- argmax and cumsum ------------------------------------------------------------------------- */

static void check_argmax(const ebm_view *x, const ebm_view *out, int64_t n, int64_t inner)
{
    ebm_shape to = kernel_shape(out);
    for (int64_t k = 0; k < ebm_shape_size(&to); k++) {
        int64_t start = k / inner * n * inner + k % inner, best = 0;
        for (int64_t r = 1; r < n; r++) {
            double a = kernel_get(x, start + best * inner), b = kernel_get(x, start + r * inner);
            if (b > a || (isnan(b) && !isnan(a))) best = r;
        }
        CHECK(kernel_get(out, k) == (double)best);
    }
}

/* Few different values, so that there are ties. */
static void run_argmax(ebm_dtype dtype, const ebm_shape *shape, int64_t axis, uint64_t *state)
{
    ebm_shape to = without_axes(shape, INT64_C(1) << axis);
    ebm_view x = kernel_array(dtype, shape), out = kernel_array(EBM_I32, &to);
    int64_t inner = 1, values = dtype == EBM_BOOL ? 2 : 30;
    for (int64_t i = axis + 1; i < shape->rank; i++) inner *= shape->dim[i];
    for (int64_t i = 0; i < ebm_shape_size(shape); i++)
        kernel_set(&x, i, (double)test_below(state, values));
    if (test_below(state, 2)) sprinkle_nan(&x, state);
    for (int isa = 0; (isa = kernel_use_isa(isa)) >= 0; isa++) {
        kernel_run(EBM_OP_argmax, &x, 1, &out, &axis, 1);
        check_argmax(&x, &out, shape->dim[axis], inner);
    }
    kernel_free(&x);
    kernel_free(&out);
}

TEST(argmax_random_shapes)
{
    uint64_t state = 7;
    for (int n = 0; n < 600; n++) {
        ebm_shape shape = kernel_random_shape(5, &state);
        if (shape.rank == 0) continue;
        int64_t axis = test_below(&state, shape.rank);
        if (shape.dim[axis]) run_argmax(compared[n % 4], &shape, axis, &state);
    }
    for (int k = 0; k < 4; k++) {
        run_argmax(compared[k], SHAPE(3, 5000), 1, &state);
        run_argmax(compared[k], SHAPE(5000, 10), 1, &state);
        run_argmax(compared[k], SHAPE(2, 50, 1300), 1, &state);
    }
}

static void run_cumsum(ebm_dtype dtype, const ebm_shape *shape, int64_t axis, uint64_t *state)
{
    int64_t inner = 1, n = shape->dim[axis], attr[] = {axis, test_below(state, 2)};
    for (int64_t i = axis + 1; i < shape->rank; i++) inner *= shape->dim[i];
    ebm_view x = kernel_random(dtype, shape, state), out = kernel_array(dtype, shape);
    for (int isa = 0; (isa = kernel_use_isa(isa)) >= 0; isa++) {
        kernel_run(EBM_OP_cumsum, &x, 1, &out, attr, 2);
        for (int64_t k = 0; n && k < ebm_shape_size(shape) / n; k++) {
            int64_t start = k / inner * n * inner + k % inner;
            double total = 0;
            for (int64_t r = 0; r < n; r++) {
                int64_t i = start + (attr[1] ? n - 1 - r : r) * inner;
                total += kernel_get(&x, i);
                CHECK(kernel_get(&out, i) == (dtype == EBM_F32 ? (float)total : total));
            }
        }
    }
    kernel_free(&x);
    kernel_free(&out);
}

TEST(cumsum_random_shapes)
{
    uint64_t state = 8;
    for (int n = 0; n < 600; n++) {
        ebm_shape shape = kernel_random_shape(5, &state);
        if (shape.rank)
            run_cumsum(summed[n % 3], &shape, test_below(&state, shape.rank), &state);
    }
    for (int k = 0; k < 3; k++) {
        run_cumsum(summed[k], SHAPE(3, 30000), 1, &state);
        run_cumsum(summed[k], SHAPE(40, 1700), 0, &state);
    }
}

TEST(cumsum_i32_wraps)
{
    ebm_view x = kernel_array(EBM_I32, SHAPE(2)), out = kernel_array(EBM_I32, SHAPE(2));
    int64_t attr[] = {0, 0};
    kernel_set(&x, 0, INT32_MAX);
    kernel_set(&x, 1, 1);
    kernel_run(EBM_OP_cumsum, &x, 1, &out, attr, 2);
    CHECK(kernel_get(&out, 1) == INT32_MIN);
    kernel_free(&x);
    kernel_free(&out);
}

TEST(reduce_refuses)
{
    ebm_view u8 = kernel_array(EBM_U8, SHAPE(4)), out = kernel_array(EBM_U8, &EBM_SCALAR);
    ebm_view empty = kernel_array(EBM_F32, SHAPE(2, 0)), two = kernel_array(EBM_F32, SHAPE(2));
    ebm_view i32 = kernel_array(EBM_I32, SHAPE(2));
    int64_t mask[] = {1, 0}, second[] = {2, 0}, axis[] = {1, 0};
    CHECK_STATUS(kernel_run_once(EBM_OP_sum, &u8, 1, &out, mask, 1), EBM_UNSUPPORTED);
    CHECK(strcmp(ebm_message(), "sum: no kernel for u8") == 0);
    CHECK_STATUS(kernel_run_once(EBM_OP_cumsum, &u8, 1, &u8, (int64_t[]){0, 0}, 2),
                 EBM_UNSUPPORTED);
    CHECK_STATUS(kernel_run_once(EBM_OP_max, &empty, 1, &two, second, 1), EBM_INTERNAL);
    CHECK_STATUS(kernel_run_once(EBM_OP_argmax, &empty, 1, &i32, axis, 1), EBM_INTERNAL);
    kernel_free(&u8);
    kernel_free(&out);
    kernel_free(&empty);
    kernel_free(&two);
    kernel_free(&i32);
}
