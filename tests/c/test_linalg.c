/* test_linalg.c - cpu/linalg.c: what factors and solutions must satisfy, element by element. */
#include "kernels.h"

#include <float.h>

static double ulp_of(const ebm_view *x)
{
    return x->dtype == EBM_F32 ? (double)FLT_EPSILON : DBL_EPSILON;
}

/* Element (r, c) of matrix k, of matrices (rows, columns) = the last two axes. */
static double at(const ebm_view *x, int64_t k, int64_t r, int64_t c)
{
    int64_t rows = x->shape[x->rank - 2], columns = x->shape[x->rank - 1];
    return kernel_get(x, (k * rows + r) * columns + c);
}

/* `batch` random matrices; symmetric and with n on the diagonal if asked. */
static ebm_view matrices(ebm_dtype dtype, int64_t batch, int64_t n, bool positive, uint64_t *state)
{
    ebm_view a = kernel_random(dtype, SHAPE(batch, n, n), state);
    for (int64_t i = 0; positive && i < batch * n * n; i++) {
        int64_t r = i / n % n, c = i % n, k = i / (n * n);
        if (r == c) kernel_set(&a, i, kernel_get(&a, i) + (double)n);
        if (r < c) kernel_set(&a, i, at(&a, k, c, r));
    }
    return a;
}

/* ---- factors ----------------------------------------------------------------------------------- */

static void check_cholesky(const ebm_view *a, const ebm_view *y, int64_t batch, int64_t n)
{
    for (int64_t i = 0; i < batch * n * n; i++) {
        int64_t k = i / (n * n), r = i / n % n, c = i % n;
        double sum = 0;
        for (int64_t l = 0; l < n; l++) sum += at(y, k, r, l) * at(y, k, c, l);
        CHECK(fabs(sum - kernel_get(a, i)) <= 8 * (double)(n + 1) * ulp_of(a));
        if (c > r) CHECK(kernel_get(y, i) == 0);
    }
}

TEST(cholesky_gives_back_the_matrix)
{
    uint64_t state = 1;
    for (int64_t n = 0; n < 24; n++)
        for (int64_t batch = 0; batch < 40; batch += 13) {
            ebm_dtype dtype = n % 2 ? EBM_F32 : EBM_F64;
            ebm_view a = matrices(dtype, batch, n, true, &state);
            ebm_view y = kernel_array(dtype, SHAPE(batch, n, n));
            for (int isa = 0; (isa = kernel_use_isa(isa)) >= 0; isa++) {
                kernel_run(EBM_OP_cholesky, &a, 1, &y, NULL, 0);
                check_cholesky(&a, &y, batch, n);
            }
            kernel_free(&a);
            kernel_free(&y);
        }
}

TEST(cholesky_of_an_indefinite_matrix_is_nan)
{
    uint64_t state = 2;
    ebm_view a = matrices(EBM_F32, 3, 4, true, &state), y = kernel_array(EBM_F32, SHAPE(3, 4, 4));
    kernel_set(&a, 16 + 15, -1);
    kernel_run(EBM_OP_cholesky, &a, 1, &y, NULL, 0);
    for (int64_t i = 0; i < 48; i++) CHECK(isnan(kernel_get(&y, i)) == (i / 16 == 1));
    kernel_free(&a);
    kernel_free(&y);
}

/* ---- systems ----------------------------------------------------------------------------------- */

/* a y = b, or a' y = b, where only part of a may count: -1 the lower triangle, 1 the upper. */
static void check_solution(const ebm_view *a, const ebm_view *b, const ebm_view *y, int part,
                           bool transposed)
{
    int64_t batch = b->shape[0], n = b->shape[1], m = b->shape[2];
    for (int64_t i = 0; i < batch * n * m; i++) {
        int64_t k = i / (n * m), r = i / m % n, c = i % m;
        double sum = 0, size = fabs(kernel_get(b, i));
        for (int64_t l = 0; l < n; l++) {
            int64_t row = transposed ? l : r, column = transposed ? r : l;
            if ((part < 0 && column > row) || (part > 0 && column < row)) continue;
            sum += at(a, k, row, column) * at(y, k, l, c);
            size += fabs(at(a, k, row, column) * at(y, k, l, c));
        }
        CHECK(fabs(sum - kernel_get(b, i)) <= 64 * (double)n * ulp_of(a) * size);
    }
}

TEST(systems_are_solved)
{
    uint64_t state = 3;
    for (int64_t n = 1; n < 30; n += 1 + n / 4)
        for (int64_t m = 0; m < 12; m += 1 + 2 * (m > 0)) {
            ebm_dtype dtype = (n + m) % 2 ? EBM_F32 : EBM_F64;
            int64_t batch = 1 + test_below(&state, 30), transposed = test_below(&state, 2);
            int64_t triangle[] = {test_below(&state, 2), transposed};
            ebm_view a = matrices(dtype, batch, n, false, &state);
            ebm_view b = kernel_random(dtype, SHAPE(batch, n, m), &state);
            ebm_view y = kernel_array(dtype, SHAPE(batch, n, m)), in[] = {a, b};
            for (int64_t i = 0; i < batch * n; i++) /* triangles of size 1 would be near singular */
                kernel_set(&a, i * n + i % n, kernel_get(&a, i * n + i % n) + 2 * (double)n);
            for (int isa = 0; (isa = kernel_use_isa(isa)) >= 0; isa++) {
                kernel_run(EBM_OP_solve, in, 2, &y, &transposed, 1);
                check_solution(&a, &b, &y, 0, transposed != 0);
                kernel_run(EBM_OP_solve_triangular, in, 2, &y, triangle, 2);
                check_solution(&a, &b, &y, triangle[0] ? -1 : 1, transposed != 0);
            }
            kernel_free(&a);
            kernel_free(&b);
            kernel_free(&y);
        }
}

TEST(singular_matrices_are_nan_and_have_no_determinant)
{
    uint64_t state = 4;
    ebm_view a = matrices(EBM_F64, 3, 3, false, &state);
    ebm_view b = kernel_random(EBM_F64, SHAPE(3, 3, 2), &state), in[] = {a, b};
    ebm_view y = kernel_array(EBM_F64, SHAPE(3, 3, 2)), d = kernel_array(EBM_F64, SHAPE(3, 2));
    for (int64_t r = 0; r < 3; r++) kernel_set(&a, 9 + 3 * r + 1, 0);
    kernel_set(&a, 18 + 4, NAN);
    kernel_run(EBM_OP_solve, in, 2, &y, &(int64_t){0}, 1);
    for (int64_t i = 0; i < 18; i++) CHECK(isnan(kernel_get(&y, i)) == (i / 6 > 0));
    kernel_run(EBM_OP_slogdet, &a, 1, &d, NULL, 0);
    CHECK(kernel_get(&d, 2) == 0 && kernel_get(&d, 3) == -INFINITY);
    CHECK(isnan(kernel_get(&d, 4)) && isnan(kernel_get(&d, 5)));
    kernel_free(&a);
    kernel_free(&b);
    kernel_free(&y);
    kernel_free(&d);
}

TEST(slogdet_of_small_matrices)
{
    uint64_t state = 5;
    enum { BATCH = 200 };
    ebm_view a = matrices(EBM_F64, BATCH, 3, false, &state);
    ebm_view d = kernel_array(EBM_F64, SHAPE(BATCH, 2));
    kernel_run(EBM_OP_slogdet, &a, 1, &d, NULL, 0);
    for (int64_t k = 0; k < BATCH; k++) {
        double want = 0;
        for (int64_t i = 0; i < 3; i++) { /* Sarrus */
            int64_t j = (i + 1) % 3, l = (i + 2) % 3;
            want += at(&a, k, 0, i) * at(&a, k, 1, j) * at(&a, k, 2, l);
            want -= at(&a, k, 0, l) * at(&a, k, 1, j) * at(&a, k, 2, i);
        }
        double got = kernel_get(&d, 2 * k) * exp(kernel_get(&d, 2 * k + 1));
        CHECK(fabs(got - want) <= 1e-14);
    }
    kernel_free(&a);
    kernel_free(&d);
}

/* ---- eigenvectors ------------------------------------------------------------------------------ */

/* a v = v w with v' v = 1 and w ascending; row 0 of y is w, the rows below are v. */
static void check_eigh(const ebm_view *a, const ebm_view *y, int64_t batch, int64_t n)
{
    double most = 16 * (double)n * ulp_of(a) * (double)n;
    for (int64_t k = 0; k < batch; k++)
        for (int64_t i = 0; i < n; i++) {
            if (i) CHECK(at(y, k, 0, i - 1) <= at(y, k, 0, i));
            for (int64_t r = 0; r < n; r++) {
                double moved = 0, dot = 0;
                for (int64_t c = 0; c < n; c++) {
                    moved += at(a, k, r, c) * at(y, k, 1 + c, i);
                    dot += at(y, k, 1 + c, r) * at(y, k, 1 + c, i);
                }
                CHECK(fabs(moved - at(y, k, 0, i) * at(y, k, 1 + r, i)) <= most);
                CHECK(fabs(dot - (r == i)) <= most);
            }
        }
}

TEST(eigh_diagonalizes)
{
    uint64_t state = 6;
    for (int64_t n = 0; n < 20; n++) {
        ebm_dtype dtype = n % 2 ? EBM_F64 : EBM_F32;
        int64_t batch = 1 + test_below(&state, 20);
        ebm_view a = matrices(dtype, batch, n, true, &state);
        ebm_view y = kernel_array(dtype, SHAPE(batch, n + 1, n));
        for (int isa = 0; (isa = kernel_use_isa(isa)) >= 0; isa++) {
            kernel_run(EBM_OP_eigh, &a, 1, &y, NULL, 0);
            check_eigh(&a, &y, batch, n);
        }
        kernel_free(&a);
        kernel_free(&y);
    }
}

/* Equal eigenvalues, zeros, and scales from the least to the greatest numbers. */
TEST(eigh_of_special_matrices)
{
    const double scales[] = {0, 1e-300, 1, 1e300};
    ebm_view a = kernel_array(EBM_F64, SHAPE(4, 3, 3)), y = kernel_array(EBM_F64, SHAPE(4, 4, 3));
    for (int64_t i = 0; i < 36; i++)
        kernel_set(&a, i, scales[i / 9] * (i / 3 % 3 == i % 3 ? 3 : 1));
    kernel_run(EBM_OP_eigh, &a, 1, &y, NULL, 0);
    for (int64_t i = 0; i < 12; i++)
        CHECK(fabs(at(&y, i / 3, 0, i % 3) - scales[i / 3] * (i % 3 == 2 ? 5 : 2)) <=
              1e-14 * scales[i / 3]);
    kernel_set(&a, 3, INFINITY);
    kernel_run(EBM_OP_eigh, &a, 1, &y, NULL, 0);
    for (int64_t i = 0; i < 48; i++) CHECK(isnan(kernel_get(&y, i)) == (i < 12));
    kernel_free(&a);
    kernel_free(&y);
}
