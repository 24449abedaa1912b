/* test_random.c - draws against Philox written out a second time, Box-Muller in double and the
 * laws they must follow; the same bits on every instruction set and number of threads. */
#include "runner.h"

#include "base/threads.h"
#include "graph/graph.h"
#include "tensor/device.h"
#include "tensor/shape.h"

#include <stdlib.h>
#include <string.h>

static const char *const isas[] = {"baseline", "avx2", "avx512"};
enum { N_ISA = 3, TAG_BITS = 1, TAG_NORMAL = 2, TAG_FOLD_IN = 3 };

/* ---- the reference ----------------------------------------------------------------------- */

static void philox(const uint32_t counter[4], const uint32_t key[2], uint32_t x[4])
{
    uint32_t k0 = key[0], k1 = key[1];
    memcpy(x, counter, 4 * sizeof *x);
    for (int round = 0; round < 10; round++, k0 += 0x9E3779B9u, k1 += 0xBB67AE85u) {
        uint64_t p = (uint64_t)0xD2511F53u * x[0], q = (uint64_t)0xCD9E8D57u * x[2];
        uint32_t y[4] = {(uint32_t)(q >> 32) ^ x[1] ^ k0, (uint32_t)q,
                         (uint32_t)(p >> 32) ^ x[3] ^ k1, (uint32_t)p};
        memcpy(x, y, sizeof y);
    }
}

/* The block of element e; its word is number (e / 16) % 4. */
static void block_of(int64_t e, const int32_t *key, int64_t purpose, uint32_t tag, uint32_t x[4])
{
    uint64_t b = (uint64_t)e / 64 * 16 + (uint64_t)e % 16;
    const uint32_t counter[4] = {(uint32_t)b, (uint32_t)(b >> 32), (uint32_t)purpose, tag};
    const uint32_t words[2] = {(uint32_t)key[0], (uint32_t)key[1]};
    philox(counter, words, x);
}

static uint32_t word_of(int64_t e, const int32_t *key, int64_t purpose, uint32_t tag)
{
    uint32_t x[4];
    block_of(e, key, purpose, tag, x);
    return x[e / 16 % 4];
}

/* Exact in double and rounded once; a uniform draw leaves 1 out. */
static float unit_of(uint32_t word)
{
    return (float)((double)(word >> 8) * 0x1p-24 + 0x1p-25);
}

static float uniform_of(uint32_t word)
{
    return fminf(unit_of(word), 0x1.fffffep-1f);
}

static double normal_of(int64_t e, const int32_t *key, int64_t purpose)
{
    uint32_t x[4];
    block_of(e, key, purpose, TAG_NORMAL, x);
    int k = (int)(e / 16 % 4), pair = k / 2 * 2;
    double r = sqrt(-2 * log((double)unit_of(x[pair])));
    double angle = 6.283185307179586477 * 0x1p-32 * x[pair + 1];
    return k % 2 ? r * sin(angle) : r * cos(angle);
}

/* ---- the formulas, for scalars ----------------------------------------------------------- */

static float float_of_bits(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static uint32_t bits_of_float(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

#define EBM_FORMULA static inline
#define EBM_NAME(id) scalar_##id
#define EBM_REAL float
#define EBM_INT int32_t
#define EBM_UINT uint32_t
#define EBM_WIDE uint64_t
#define EBM_WIDE_K(c) ((uint64_t)(c))
#define EBM_WIDE_MUL(x, m) ((uint64_t)(uint32_t)(x) * (m))
#define EBM_K(c) (c)
#define EBM_CONVERT(i) ((float)(i))
#define EBM_BITS_OF(x) bits_of_float(x)
#define EBM_REAL_OF(u) float_of_bits(u)
#define EBM_SELECT(m, a, b) ((m) ? (a) : (b))
#define EBM_FMA(a, b, c) fmaf(a, b, c)
#define EBM_SQRT(x) sqrtf(x)
#include "formulas/philox.h"

/* Near both ends all values of u, else every 37th. */
TEST(random_radius_is_accurate)
{
    const uint32_t end = 1u << 24, edge = 1u << 14;
    for (uint32_t k = 0; k < end; k += k < edge || k > end - edge ? 1 : 37) {
        float u = scalar_unit(k << 8), r = scalar_radius(u);
        double exact = sqrt(-2 * log((double)u));
        CHECK(u == unit_of(k << 8) && scalar_uniform(k << 8) == uniform_of(k << 8));
        CHECK(fabs((double)r - exact) <= 1.5e-7 * exact);
    }
}

TEST(random_turn_is_accurate)
{
    for (uint64_t t = 0; t <= UINT32_MAX; t += 4099) {
        float cosine, sine;
        double angle = 6.283185307179586477 * 0x1p-32 * (double)t;
        scalar_turn((uint32_t)t, &cosine, &sine);
        CHECK(fabs((double)cosine - cos(angle)) <= 1.2e-7);
        CHECK(fabs((double)sine - sin(angle)) <= 1.2e-7);
    }
}

/* ---- words ------------------------------------------------------------------------------- */

TEST(random_philox_known_answers)
{
    static const struct {
        uint32_t counter[4], key[2], words[4];
    } known[] = {
        {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{~0u, ~0u, ~0u, ~0u}, {~0u, ~0u}, {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
         {0xa4093822, 0x299f31d0},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (int i = 0; i < 3; i++) {
        uint32_t x[4];
        uint64_t keys[20], wide[4];
        philox(known[i].counter, known[i].key, x);
        scalar_schedule(keys, known[i].key[0], known[i].key[1]);
        for (int k = 0; k < 4; k++) wide[k] = known[i].counter[k];
        scalar_philox(wide, keys);
        for (int k = 0; k < 4; k++)
            CHECK(x[k] == known[i].words[k] && (uint32_t)wide[k] == known[i].words[k]);
    }
}

/* ---- running draws ----------------------------------------------------------------------- */

/* Draws n elements into `to`: head is what the attributes start with. */
static void draw(ebm_op op, const int32_t *key, const int64_t *head, int n_head,
                 ebm_dtype dtype, int64_t n, void *to)
{
    int64_t attr[4];
    ebm_shape key_shape = EBM_DIMS(2), shape = EBM_DIMS(n);
    ebm_view in = ebm_view_of((void *)(uintptr_t)key, EBM_I32, &key_shape);
    ebm_view out = ebm_view_of(to, dtype, &shape);
    memcpy(attr, head, (size_t)n_head * sizeof *attr);
    attr[n_head] = 1;
    attr[n_head + 1] = n;
    ebm_kernel_args args = {.op = op,
                            .n_in = 1,
                            .n_out = 1,
                            .in = &in,
                            .out = &out,
                            .attr = attr,
                            .n_attr = n_head + 2};
    CHECK(ebm_device_cpu()->scratch(ebm_device_cpu(), &args) == 0);
    CHECK_OK(ebm_device_cpu()->run(ebm_device_cpu(), &args));
}

static void draw_bits(const int32_t *key, int64_t purpose, int64_t n, void *to)
{
    draw(EBM_OP_bits, key, &purpose, 1, EBM_I32, n, to);
}

static void draw_floats(ebm_op op, const int32_t *key, int64_t purpose, ebm_dtype dtype,
                        int64_t n, void *to)
{
    draw(op, key, (const int64_t[]){dtype, purpose}, 2, dtype, n, to);
}

static void draw_integers(const int32_t *key, int64_t purpose, int64_t below, int64_t n, void *to)
{
    draw(EBM_OP_randint, key, (const int64_t[]){purpose, below}, 2, EBM_I32, n, to);
}

static void fold_in(const int32_t *key, int32_t data, int32_t *to)
{
    ebm_shape key_shape = EBM_DIMS(2), scalar = EBM_SCALAR;
    ebm_view in[2] = {ebm_view_of((void *)(uintptr_t)key, EBM_I32, &key_shape),
                      ebm_view_of(&data, EBM_I32, &scalar)};
    ebm_view out = ebm_view_of(to, EBM_I32, &key_shape);
    ebm_kernel_args args = {.op = EBM_OP_fold_in, .n_in = 2, .n_out = 1, .in = in, .out = &out};
    CHECK_OK(ebm_device_cpu()->run(ebm_device_cpu(), &args));
}

static void *new_block(size_t bytes)
{
    void *block = malloc(bytes ? bytes : 1);
    CHECK(block != NULL);
    return block;
}

/* Calls check(context) on every instruction set, with one thread and with three. */
static void everywhere(void (*check)(void *context), void *context)
{
    const char *before = ebm_cpu_isa();
    for (int k = 0; k < N_ISA; k++) {
        if (ebm_cpu_set_isa(isas[k]) != EBM_OK) continue;
        for (int threads = 1; threads <= 3; threads += 2) {
            ebm_set_num_threads(threads);
            check(context);
        }
    }
    CHECK_OK(ebm_cpu_set_isa(before));
}

static const int64_t sizes[] = {0, 1, 15, 63, 64, 65, 200, 1024, 5000, 20011};
enum { N_SIZES = sizeof sizes / sizeof *sizes };
static const int32_t some_keys[][2] = {{0, 0}, {1, 2}, {-1, INT32_MIN}};
static const int64_t purposes[] = {0, 7, INT32_MAX, -3};

static void check_bits(void *unused)
{
    (void)unused;
    for (int s = 0; s < N_SIZES; s++) {
        const int32_t *key = some_keys[s % 3];
        int64_t purpose = purposes[s % 4], n = sizes[s];
        int32_t *x = new_block((size_t)n * sizeof *x);
        draw_bits(key, purpose, n, x);
        for (int64_t e = 0; e < n; e++)
            CHECK((uint32_t)x[e] == word_of(e, key, purpose, TAG_BITS));
        draw_integers(key, purpose, 1000, n, x);
        for (int64_t e = 0; e < n; e++)
            CHECK(x[e] == (int32_t)((uint64_t)word_of(e, key, purpose, TAG_BITS) * 1000 >> 32));
        free(x);
    }
}

TEST(random_words_and_integers)
{
    everywhere(check_bits, NULL);
}

static void check_uniform(void *unused)
{
    (void)unused;
    for (int s = 0; s < N_SIZES; s++) {
        int64_t n = sizes[s];
        float *x = new_block((size_t)n * sizeof *x);
        double *wide = new_block((size_t)n * sizeof *wide);
        draw_floats(EBM_OP_uniform, some_keys[1], 5, EBM_F32, n, x);
        draw_floats(EBM_OP_uniform, some_keys[1], 5, EBM_F64, n, wide);
        for (int64_t e = 0; e < n; e++) {
            CHECK(x[e] == uniform_of(word_of(e, some_keys[1], 5, TAG_BITS)));
            CHECK(wide[e] == (double)x[e]);
        }
        free(x);
        free(wide);
    }
}

TEST(random_uniform)
{
    CHECK(uniform_of(0) > 0 && unit_of(UINT32_MAX) == 1 && uniform_of(UINT32_MAX) < 1);
    everywhere(check_uniform, NULL);
}

static void check_normal(void *unused)
{
    (void)unused;
    for (int s = 0; s < N_SIZES; s++) {
        int64_t n = sizes[s];
        float *x = new_block((size_t)n * sizeof *x);
        double *wide = new_block((size_t)n * sizeof *wide);
        draw_floats(EBM_OP_normal, some_keys[2], 9, EBM_F32, n, x);
        draw_floats(EBM_OP_normal, some_keys[2], 9, EBM_F64, n, wide);
        for (int64_t e = 0; e < n; e++) {
            double exact = normal_of(e, some_keys[2], 9);
            CHECK(fabs((double)x[e] - exact) <= 4e-7 * fmax(1, fabs(exact)));
            CHECK(wide[e] == (double)x[e]);
        }
        free(x);
        free(wide);
    }
}

TEST(random_normal)
{
    everywhere(check_normal, NULL);
}

/* ---- the same bits ----------------------------------------------------------------------- */

enum { MANY = 1 << 18 };

typedef struct copy {
    bool filled;
    uint32_t bits[MANY];
} copy;

static void check_same_bits(void *context)
{
    copy *first = context;
    uint32_t *x = first->filled ? new_block(sizeof first->bits) : first->bits;
    draw_floats(EBM_OP_normal, some_keys[1], 3, EBM_F32, MANY, x);
    if (first->filled) {
        for (int64_t e = 0; e < MANY; e++) CHECK(x[e] == first->bits[e]);
        free(x);
    }
    first->filled = true;
}

TEST(random_normal_bits_are_the_same_everywhere)
{
    static copy first;
    everywhere(check_same_bits, &first);
}

/* Saved runs continue to the same bits only while these stay. */
static void check_frozen(void *unused)
{
    static const uint32_t frozen[] = {0x3f4e9deb, 0x3fd852be, 0x3fe89a84, 0x3e8c0c08,
                                      0xbf669d71, 0x3d759c87, 0x3e538b52, 0xbea84097};
    (void)unused;
    uint32_t x[64];
    draw_floats(EBM_OP_normal, some_keys[1], 7, EBM_F32, 64, x);
    for (int k = 0; k < 8; k++) CHECK(x[8 * k] == frozen[k]);
}

TEST(random_normals_are_frozen)
{
    everywhere(check_frozen, NULL);
}

/* A longer draw begins with the shorter one; nothing is written beside it. */
static void check_prefix(void *unused)
{
    (void)unused;
    uint32_t long_draw[300], x[102];
    draw_floats(EBM_OP_normal, some_keys[0], 1, EBM_F32, 300, long_draw);
    for (int64_t n = 0; n <= 100; n++) {
        memset(x, 0xA5, sizeof x);
        draw_floats(EBM_OP_normal, some_keys[0], 1, EBM_F32, n, x + 1);
        CHECK(x[0] == 0xA5A5A5A5 && x[n + 1] == 0xA5A5A5A5);
        CHECK(memcmp(x + 1, long_draw, (size_t)n * sizeof *x) == 0);
    }
}

TEST(random_draws_are_prefixes)
{
    everywhere(check_prefix, NULL);
}

/* ---- keys -------------------------------------------------------------------------------- */

static void check_fold_in(void *unused)
{
    static const int32_t data[] = {0, 1, -1, 123456789, INT32_MIN};
    (void)unused;
    for (int k = 0; k < 3; k++) {
        for (int i = 0; i < 5; i++) {
            const uint32_t counter[4] = {(uint32_t)data[i], 0, 0, TAG_FOLD_IN};
            const uint32_t words[2] = {(uint32_t)some_keys[k][0], (uint32_t)some_keys[k][1]};
            uint32_t x[4];
            int32_t folded[2];
            philox(counter, words, x);
            fold_in(some_keys[k], data[i], folded);
            CHECK((uint32_t)folded[0] == x[0] && (uint32_t)folded[1] == x[1]);
        }
    }
}

TEST(random_fold_in)
{
    everywhere(check_fold_in, NULL);
}

/* `rows` rows of 3 normals from row `row` on; the status. */
static ebm_status draw_from_row(const int32_t *key, int32_t row, int64_t rows, float *to)
{
    int32_t words[3] = {key[0], key[1], row};
    ebm_shape key_shape = EBM_DIMS(3), shape = EBM_DIMS(rows, 3);
    ebm_view in = ebm_view_of(words, EBM_I32, &key_shape);
    ebm_view out = ebm_view_of(to, EBM_F32, &shape);
    const int64_t attr[] = {EBM_F32, 5, 2, rows, 3};
    ebm_kernel_args args = {.op = EBM_OP_normal,
                            .n_in = 1,
                            .n_out = 1,
                            .in = &in,
                            .out = &out,
                            .attr = attr,
                            .n_attr = 5};
    return ebm_device_cpu()->run(ebm_device_cpu(), &args);
}

static void check_rows(void *unused)
{
    enum { ROWS = 3000 };
    static float all[ROWS * 3], part[ROWS * 3];
    (void)unused;
    draw_floats(EBM_OP_normal, some_keys[1], 5, EBM_F32, ROWS * 3, all);
    for (int32_t row = 0; row < ROWS; row += 64 * 7)
        for (int64_t rows = 1; rows <= ROWS - row; rows = 3 * rows + 1) {
            CHECK_OK(draw_from_row(some_keys[1], row, rows, part));
            CHECK(memcmp(part, all + row * 3, (size_t)rows * 12) == 0);
        }
    CHECK_STATUS(draw_from_row(some_keys[1], 63, 1, part), EBM_VALUE);
    CHECK_STATUS(draw_from_row(some_keys[1], -64, 1, part), EBM_VALUE);
    /* fold_in keeps the row. */
    int32_t words[3] = {1, 2, 640}, data = 9, folded[3], want[2];
    ebm_shape three = EBM_DIMS(3), scalar = EBM_SCALAR;
    ebm_view in[2] = {ebm_view_of(words, EBM_I32, &three), ebm_view_of(&data, EBM_I32, &scalar)};
    ebm_view out = ebm_view_of(folded, EBM_I32, &three);
    ebm_kernel_args args = {.op = EBM_OP_fold_in, .n_in = 2, .n_out = 1, .in = in, .out = &out};
    CHECK_OK(ebm_device_cpu()->run(ebm_device_cpu(), &args));
    fold_in(words, data, want);
    CHECK(memcmp(folded, want, sizeof want) == 0 && folded[2] == 640);
}

TEST(random_rows_of_a_key)
{
    everywhere(check_rows, NULL);
}

static double correlation(const float *x, const float *y, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += (double)x[i] * (double)y[i];
    return sum / (double)n;
}

/* Another purpose, a neighbouring key, a folded key: nothing in common.  Bounds are five
 * sigma. */
TEST(random_streams_are_unrelated)
{
    enum { N = 1 << 16, STREAMS = 5 };
    static float x[STREAMS][N];
    int32_t folded[2][2];
    fold_in(some_keys[1], 0, folded[0]);
    fold_in(some_keys[1], 1, folded[1]);
    draw_floats(EBM_OP_normal, some_keys[1], 0, EBM_F32, N, x[0]);
    draw_floats(EBM_OP_normal, some_keys[1], 1, EBM_F32, N, x[1]);
    draw_floats(EBM_OP_normal, (const int32_t[]){2, 2}, 0, EBM_F32, N, x[2]);
    draw_floats(EBM_OP_normal, folded[0], 0, EBM_F32, N, x[3]);
    draw_floats(EBM_OP_normal, folded[1], 0, EBM_F32, N, x[4]);
    for (int i = 0; i < STREAMS; i++)
        for (int k = 0; k < i; k++)
            CHECK(fabs(correlation(x[i], x[k], N)) < 5 / sqrt((double)N));
}

/* ---- laws -------------------------------------------------------------------------------- */

/* Bounds are five standard deviations of the statistic. */
TEST(random_normal_moments)
{
    enum { N = 1 << 20 };
    static float x[N];
    double sum[5] = {0}, tail = 0, root = sqrt((double)N);
    draw_floats(EBM_OP_normal, some_keys[1], 0, EBM_F32, N, x);
    for (int64_t e = 0; e < N; e++) {
        double z = (double)x[e], power = 1;
        for (int k = 0; k < 5; k++, power *= z) sum[k] += power;
        tail += fabs(z) > 3;
    }
    CHECK(fabs(sum[1] / N) < 5 / root);
    CHECK(fabs(sum[2] / N - 1) < 5 * sqrt(2) / root);
    CHECK(fabs(sum[3] / N) < 5 * sqrt(15) / root);
    CHECK(fabs(sum[4] / N - 3) < 5 * sqrt(96) / root);
    CHECK(fabs(tail / N - 0.0026998) < 5 * sqrt(0.0027) / root);
    static const int lags[] = {1, 15, 16, 17, 32, 64, 1000};
    for (int k = 0; k < 7; k++)
        CHECK(fabs(correlation(x, x + lags[k], N - lags[k])) < 5 / sqrt((double)(N - lags[k])));
}

TEST(random_integers_are_even)
{
    enum { N = 1 << 20, BINS = 10 };
    static int32_t x[N];
    double count[BINS] = {0}, chi = 0, mean = N / (double)BINS;
    draw_integers(some_keys[1], 4, BINS, N, x);
    for (int64_t e = 0; e < N; e++) {
        CHECK(x[e] >= 0 && x[e] < BINS);
        count[x[e]]++;
    }
    for (int k = 0; k < BINS; k++) chi += (count[k] - mean) * (count[k] - mean) / mean;
    CHECK(chi < 39.3); /* 1e-5 of a chi-square with 9 degrees of freedom */
    draw_integers(some_keys[1], 4, 1, 100, x);
    for (int e = 0; e < 100; e++) CHECK(x[e] == 0);
    draw_integers(some_keys[1], 4, INT32_MAX, 100, x);
    for (int e = 0; e < 100; e++) CHECK(x[e] >= 0 && x[e] < INT32_MAX);
}
