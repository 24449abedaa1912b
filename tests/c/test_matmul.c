/* test_matmul.c - cpu/matmul.c against three loops. */
#include "dense_case.h"

static void check_product(ebm_dtype dtype, int64_t batch, int64_t m, int64_t n, int64_t k,
                          int trans, uint64_t *state)
{
    int64_t attr[] = {trans & 1, trans >> 1};
    ebm_shape sa = attr[0] ? EBM_DIMS(batch, k, m) : EBM_DIMS(batch, m, k);
    ebm_shape sb = attr[1] ? EBM_DIMS(batch, n, k) : EBM_DIMS(batch, k, n);
    ebm_shape sc = EBM_DIMS(batch, m, n);
    ebm_view in[] = {dense_input(dtype, &sa, state), dense_input(dtype, &sb, state)};
    dense_sprinkle(&in[0], state);
    dense_sprinkle(&in[1], state);
    double *c = dense_zeros(&sc);
    for (int64_t q = 0; q < batch; q++)
        for (int64_t i = 0; i < m; i++)
            for (int64_t j = 0; j < n; j++)
                for (int64_t l = 0; l < k; l++) {
                    int64_t a = attr[0] ? (q * k + l) * m + i : (q * m + i) * k + l;
                    int64_t b = attr[1] ? (q * n + j) * k + l : (q * k + l) * n + j;
                    c[(q * m + i) * n + j] += kernel_get(&in[0], a) * kernel_get(&in[1], b);
                }
    dense_check(EBM_OP_matmul, in, &sc, attr, 2, c);
    free(in[0].data);
    free(in[1].data);
}

TEST(matmul_every_small_size)
{
    uint64_t state = 1;
    for (int64_t m = 0; m <= 9; m++)
        for (int64_t n = 0; n <= 9; n++)
            for (int64_t k = 0; k <= 9; k += 1 + (k == 5))
                for (int trans = 0; trans < 4; trans++)
                    check_product(m % 2 ? EBM_F64 : EBM_F32, 1, m, n, k, trans, &state);
}

TEST(matmul_random_sizes)
{
    static const int64_t sizes[] = {1,  2,  3,  4,  5,  6,  7,  8,   11,  12,
                                    13, 15, 16, 17, 18, 23, 24, 25,  31,  32,
                                    33, 47, 48, 63, 64, 65, 96, 100, 129, 257};
    enum { SIZES = sizeof sizes / sizeof *sizes };
    uint64_t state = 2;
    for (int i = 0; i < 300; i++) {
        int64_t m = sizes[test_below(&state, SIZES)], n = sizes[test_below(&state, SIZES)];
        int64_t k = sizes[test_below(&state, SIZES)];
        check_product(i % 3 ? EBM_F32 : EBM_F64, 1, m, n, k, i % 4, &state);
    }
}

/* Several tasks along each side, blocks along the sum, and (128, 40, 2100) with its sum in
 * parts. */
TEST(matmul_large_sizes)
{
    static const int64_t sizes[][3] = {{300, 130, 70}, {70, 300, 130}, {33, 70, 1100},
                                       {40, 1100, 33}, {600, 40, 33},  {128, 40, 2100},
                                       {520, 3, 600},  {700, 1, 900},  {1, 700, 900},
                                       {5, 4, 5000},   {2000, 1, 1},   {1, 1, 4000}};
    uint64_t state = 3;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (int trans = 0; trans < 4; trans++)
            for (int f64 = 0; f64 < 2; f64++)
                check_product(f64 ? EBM_F64 : EBM_F32, 1, sizes[i][0], sizes[i][1], sizes[i][2],
                              trans, &state);
}

TEST(matmul_batches)
{
    uint64_t state = 4;
    for (int i = 0; i < 120; i++) {
        int64_t m = test_below(&state, 20), n = test_below(&state, 20);
        int64_t k = test_below(&state, 20);
        int64_t batch = test_below(&state, 40);
        check_product(i % 3 ? EBM_F32 : EBM_F64, batch, m, n, k, i % 4, &state);
    }
    for (int trans = 0; trans < 4; trans++)
        check_product(EBM_F32, 5, 70, 65, 60, trans, &state);
    check_product(EBM_F32, 3, 16, 16, 1200, 1, &state);
}

/* Leading axes are one batch. */
TEST(matmul_of_rank_four)
{
    uint64_t state = 5;
    ebm_shape sa = EBM_DIMS(2, 3, 4, 5), sb = EBM_DIMS(2, 3, 5, 6), sc = EBM_DIMS(2, 3, 4, 6);
    ebm_view in[] = {dense_input(EBM_F32, &sa, &state), dense_input(EBM_F32, &sb, &state)};
    double *c = dense_zeros(&sc);
    for (int64_t i = 0; i < 2 * 3 * 4 * 6; i++)
        for (int64_t l = 0; l < 5; l++)
            c[i] += kernel_get(&in[0], i / 6 * 5 + l) *
                    kernel_get(&in[1], (i / 24 * 5 + l) * 6 + i % 6);
    dense_check(EBM_OP_matmul, in, &sc, (const int64_t[]){0, 0}, 2, c);
    free(in[0].data);
    free(in[1].data);
}

/* |error| of a sum of k products: far below k ulps of the sum of their sizes. */
TEST(matmul_rounding)
{
    enum { M = 21, N = 35, K = 3000 };
    uint64_t state = 6;
    for (int trans = 0; trans < 4; trans++) {
        int64_t attr[] = {trans & 1, trans >> 1};
        ebm_shape sa = attr[0] ? EBM_DIMS(K, M) : EBM_DIMS(M, K);
        ebm_shape sb = attr[1] ? EBM_DIMS(N, K) : EBM_DIMS(K, N), sc = EBM_DIMS(M, N);
        ebm_view in[] = {kernel_random(EBM_F32, &sa, &state),
                         kernel_random(EBM_F32, &sb, &state)};
        ebm_view out = kernel_array(EBM_F32, &sc);
        for (int isa = 0; (isa = kernel_use_isa(isa)) >= 0; isa++) {
            kernel_run(EBM_OP_matmul, in, 2, &out, attr, 2);
            for (int64_t i = 0; i < M * N; i++) {
                double sum = 0, size = 0;
                for (int64_t l = 0; l < K; l++) {
                    double a = kernel_get(&in[0], attr[0] ? l * M + i / N : i / N * K + l);
                    double b = kernel_get(&in[1], attr[1] ? i % N * K + l : l * N + i % N);
                    sum += a * b;
                    size += fabs(a * b);
                }
                CHECK(fabs(kernel_get(&out, i) - sum) <= 30 * 0x1p-24 * size);
            }
        }
        kernel_free(&in[0]);
        kernel_free(&in[1]);
        kernel_free(&out);
    }
}

TEST(matmul_refuses_integers)
{
    ebm_view in[] = {kernel_array(EBM_I32, SHAPE(2, 2)), kernel_array(EBM_I32, SHAPE(2, 2))};
    ebm_view out = kernel_array(EBM_I32, SHAPE(2, 2));
    const int64_t attr[] = {0, 0};
    CHECK_STATUS(kernel_run_once(EBM_OP_matmul, in, 2, &out, attr, 2), EBM_UNSUPPORTED);
    CHECK(strstr(ebm_message(), "matmul") && strstr(ebm_message(), "i32"));
    kernel_free(&in[0]);
    kernel_free(&in[1]);
    kernel_free(&out);
}
