/* elementwise_loops.h - the instructions of elementwise.c: a loop for each op and type, and the
 * table of them.  Included by elementwise.c alone.
 *
 * A loop runs over whole vectors, two of f32 at a time, and may write over its operands: of
 * each turn it loads all before it stores. */
#ifndef EBM_CPU_ELEMENTWISE_LOOPS_H
#define EBM_CPU_ELEMENTWISE_LOOPS_H

#include "cpu/simd.h"
#include "formulas/elementwise.h"
#include "graph/graph.h"

/* Elements that every loop can take at a time. */
enum { GROUP = 2 * EBM_LANES };

/* d[i] = op(a[i * sa], ...) for i < n, a multiple of GROUP.  A step is 1, or 0 for one vector
 * that is read over and over. */
typedef struct operands {
    void *d, *e;               /* e: the second result of the loops that have two */
    const void *a, *b, *c, *k; /* k: one vector */
    int64_t sa, sb, sc, n;
} operands;

typedef void (*loop)(const operands *o);

/* By type: the scalar in memory, its vector, how many at a time.  Bytes are widened to i32. */
typedef ebm_vi32 ebm_vu8;
typedef float scalar_f32;
typedef double scalar_f64;
typedef int32_t scalar_i32;
typedef uint8_t scalar_u8;
enum {
    LANES_f32 = EBM_LANES,
    LANES_i32 = EBM_LANES,
    LANES_u8 = EBM_LANES,
    LANES_f64 = EBM_LANES_F64
};

/* Truths in memory, one byte each, and as masks. */
EBM_INLINE ebm_vi32 load_mask_f32(const uint8_t *from)
{
    return ebm__load_u8(from) != 0;
}

EBM_INLINE void store_mask_f32(uint8_t *to, ebm_vi32 m)
{
    ebm__store_u8(to, m & 1);
}

EBM_INLINE ebm_vi64 load_mask_f64(const uint8_t *from)
{
    ebm_vi64 m = {0};
    for (int k = 0; k < EBM_LANES_F64; k++) m[k] = -(int64_t)(from[k] != 0);
    return m;
}

EBM_INLINE void store_mask_f64(uint8_t *to, ebm_vi64 m)
{
    for (int k = 0; k < EBM_LANES_F64; k++) to[k] = (uint8_t)(m[k] & 1);
}

#define load_mask_i32 load_mask_f32
#define load_mask_u8 load_mask_f32
#define store_mask_i32 store_mask_f32
#define store_mask_u8 store_mask_f32

/* Formulas of integers: arithmetic wraps. */
#define FORMULA_I32_1(id, value)                        \
    EBM_INLINE ebm_vi32 ebm__##id##_i32(ebm_vi32 x)      \
    {                                                   \
        return (ebm_vi32)(value);                       \
    }
#define FORMULA_I32_2(id, value)                                    \
    EBM_INLINE ebm_vi32 ebm__##id##_i32(ebm_vi32 a, ebm_vi32 b)      \
    {                                                               \
        return (ebm_vi32)(value);                                   \
    }
/* clang-format off */
FORMULA_I32_1(neg,         -(ebm_vu32)x)
FORMULA_I32_1(abs,         ebm__select_i32(x < 0, (ebm_vi32)-(ebm_vu32)x, x))
FORMULA_I32_1(square,      (ebm_vu32)x * (ebm_vu32)x)
FORMULA_I32_1(sign,        (x < 0) - (x > 0))
FORMULA_I32_1(logical_not, x ^ 1)
FORMULA_I32_2(add,         (ebm_vu32)a + (ebm_vu32)b)
FORMULA_I32_2(sub,         (ebm_vu32)a - (ebm_vu32)b)
FORMULA_I32_2(mul,         (ebm_vu32)a * (ebm_vu32)b)
FORMULA_I32_2(maximum,     ebm__select_i32(a > b, a, b))
FORMULA_I32_2(minimum,     ebm__select_i32(a < b, a, b))
FORMULA_I32_2(logical_and, a & b)
FORMULA_I32_2(logical_or,  a | b)
FORMULA_I32_2(logical_xor, a ^ b)
FORMULA_I32_2(bit_and,     a & b)
FORMULA_I32_2(equal,       a == b)
FORMULA_I32_2(less,        a < b)
FORMULA_I32_2(less_equal,  a <= b)
/* clang-format on */
#define ebm__logical_not_u8 ebm__logical_not_i32
#define ebm__logical_and_u8 ebm__logical_and_i32
#define ebm__logical_or_u8 ebm__logical_or_i32
#define ebm__logical_xor_u8 ebm__logical_xor_i32
#define ebm__equal_u8 ebm__equal_i32
#define ebm__select_u8 ebm__select_i32

/* LOOP_1(exp, f32) makes exp_f32, a loop of ebm__exp_f32 over two vectors at a time; TEST_1 and
 * TEST_2 make loops whose results are truths. */
#define LOOP_1_TO(id, t, scalar_to, store)                                       \
    static void id##_##t(const operands *o)                                      \
    {                                                                            \
        const scalar_##t *a = o->a;                                              \
        scalar_to *d = o->d;                                                     \
        const int64_t lanes = LANES_##t, n = o->n, sa = o->sa * lanes;           \
        for (int64_t i = 0; i < n; i += 2 * lanes, a += 2 * sa) {                \
            ebm_v##t x = ebm__load_##t(a), y = ebm__load_##t(a + sa);            \
            store(d + i, ebm__##id##_##t(x));                                    \
            store(d + i + lanes, ebm__##id##_##t(y));                            \
        }                                                                        \
    }
#define LOOP_2_TO(id, t, scalar_to, store)                                       \
    static void id##_##t(const operands *o)                                      \
    {                                                                            \
        const scalar_##t *a = o->a, *b = o->b;                                   \
        scalar_to *d = o->d;                                                     \
        const int64_t lanes = LANES_##t, n = o->n, sa = o->sa * lanes, sb = o->sb * lanes; \
        for (int64_t i = 0; i < n; i += 2 * lanes, a += 2 * sa, b += 2 * sb) {   \
            ebm_v##t x = ebm__load_##t(a), x2 = ebm__load_##t(a + sa);           \
            ebm_v##t y = ebm__load_##t(b), y2 = ebm__load_##t(b + sb);           \
            store(d + i, ebm__##id##_##t(x, y));                                 \
            store(d + i + lanes, ebm__##id##_##t(x2, y2));                       \
        }                                                                        \
    }
#define LOOP_1(id, t) LOOP_1_TO(id, t, scalar_##t, ebm__store_##t)
#define LOOP_2(id, t) LOOP_2_TO(id, t, scalar_##t, ebm__store_##t)
#define TEST_1(id, t) LOOP_1_TO(id, t, uint8_t, store_mask_##t)
#define TEST_2(id, t) LOOP_2_TO(id, t, uint8_t, store_mask_##t)

/* d = a ? b : c; a has a byte where the others have an element. */
#define LOOP_SELECT(t)                                                                   \
    static void select_##t(const operands *o)                                            \
    {                                                                                    \
        const uint8_t *a = o->a;                                                         \
        const scalar_##t *b = o->b, *c = o->c;                                           \
        scalar_##t *d = o->d;                                                            \
        const int64_t lanes = LANES_##t, n = o->n;                                       \
        const int64_t sa = o->sa * lanes, sb = o->sb * lanes, sc = o->sc * lanes;        \
        for (int64_t i = 0; i < n; i += lanes, a += sa, b += sb, c += sc)                \
            ebm__store_##t(d + i, ebm__select_##t(load_mask_##t(a), ebm__load_##t(b),    \
                                                  ebm__load_##t(c)));                    \
    }

EBM_FLOAT_OPS_1(LOOP_1, f32)
EBM_FLOAT_OPS_1(LOOP_1, f64)
EBM_FLOAT_OPS_2(LOOP_2, f32)
EBM_FLOAT_OPS_2(LOOP_2, f64)
EBM_NUMBER_OPS_1(LOOP_1, f32)
EBM_NUMBER_OPS_1(LOOP_1, f64)
EBM_NUMBER_OPS_1(LOOP_1, i32)
EBM_NUMBER_OPS_2(LOOP_2, f32)
EBM_NUMBER_OPS_2(LOOP_2, f64)
EBM_NUMBER_OPS_2(LOOP_2, i32)
EBM_NUMBER_TESTS_2(TEST_2, f32)
EBM_NUMBER_TESTS_2(TEST_2, f64)
EBM_NUMBER_TESTS_2(TEST_2, i32)
TEST_2(equal, u8)
TEST_1(isfinite, f32)
TEST_1(isfinite, f64)
LOOP_1(logical_not, u8)
EBM_TRUTH_OPS_2(LOOP_2, u8)
LOOP_2(bit_and, i32)
LOOP_SELECT(f32)
LOOP_SELECT(f64)
LOOP_SELECT(i32)
LOOP_SELECT(u8)

/* Division of integers, rounded down; what wraps or has no value is 0, or the least integer. */
static int32_t divide_down(int32_t a, int32_t b)
{
    if (b == 0) return 0;
    if (b == -1) return (int32_t)(0u - (uint32_t)a);
    int32_t q = a / b;
    return q - (a % b != 0 && (a < 0) != (b < 0));
}

static int32_t modulo(int32_t a, int32_t b)
{
    if (b == 0 || b == -1) return 0;
    int32_t r = a % b;
    return r != 0 && (r < 0) != (b < 0) ? r + b : r;
}

static void floordiv_i32(const operands *o)
{
    const int32_t *a = o->a, *b = o->b;
    int32_t *d = o->d;
    for (int64_t i = 0; i < o->n; i++) d[i] = divide_down(a[i * o->sa], b[i * o->sb]);
}

static void mod_i32(const operands *o)
{
    const int32_t *a = o->a, *b = o->b;
    int32_t *d = o->d;
    for (int64_t i = 0; i < o->n; i++) d[i] = modulo(a[i * o->sa], b[i * o->sb]);
}

/* ---- casts ------------------------------------------------------------------------------- */

/* Floats into integers: toward zero, the nearest integer there is, NaN to 0.  i32 into u8 keeps
 * the low byte. */
EBM_INLINE ebm_vi32 saturate_i32(ebm_vf32 x)
{
    const ebm_vf32 limit = ebm__splat_f32(0x1p31f), zero = ebm__splat_f32(0);
    ebm_vi32 high = x >= limit;
    x = ebm__select_f32(high | (x != x), zero, x);
    x = ebm__select_f32(x < -limit, -limit, x);
    return ebm__select_i32(high, ebm__splat_i32(INT32_MAX), ebm__i32_of_f32(x));
}

EBM_INLINE ebm_vi32 saturate_u8(ebm_vf32 x)
{
    const ebm_vf32 limit = ebm__splat_f32(255);
    x = ebm__select_f32(x > 0.0f, x, ebm__splat_f32(0));
    return ebm__i32_of_f32(ebm__select_f32(x < limit, x, limit));
}

static int32_t i32_of_f64(double x)
{
    if (x != x) return 0;
    return x <= INT32_MIN ? INT32_MIN : x >= INT32_MAX ? INT32_MAX : (int32_t)x;
}

static uint8_t u8_of_f64(double x)
{
    return x > 0 ? x < 255 ? (uint8_t)x : 255 : 0;
}

#define CAST(from, to, store, value)                                        \
    static void cast_##from##_##to(const operands *o)                       \
    {                                                                       \
        const scalar_##from *a = o->a;                                      \
        scalar_##to *d = o->d;                                              \
        const int64_t n = o->n, sa = o->sa * EBM_LANES;                     \
        for (int64_t i = 0; i < n; i += EBM_LANES, a += sa) {               \
            ebm_v##from x = ebm__load_##from(a);                            \
            store(d + i, value);                                            \
        }                                                                   \
    }
#define CAST_F64(from, to, value)                       \
    static void cast_##from##_##to(const operands *o)   \
    {                                                   \
        const scalar_##from *a = o->a;                  \
        scalar_##to *d = o->d;                          \
        const int64_t n = o->n, sa = o->sa;             \
        for (int64_t i = 0; i < n; i++, a += sa) {      \
            scalar_##from x = *a;                       \
            d[i] = value;                               \
        }                                               \
    }
typedef uint8_t scalar_bool;
/* clang-format off */
CAST(f32, f32,  ebm__store_f32, x)
CAST(f32, i32,  ebm__store_i32, saturate_i32(x))
CAST(f32, u8,   ebm__store_u8,  saturate_u8(x))
CAST(f32, bool, store_mask_f32, x != 0.0f)
CAST(i32, f32,  ebm__store_f32, ebm__f32_of_i32(x))
CAST(i32, i32,  ebm__store_i32, x)
CAST(i32, u8,   ebm__store_u8,  x & 255)
CAST(i32, bool, store_mask_f32, x != 0)
CAST(u8,  f32,  ebm__store_f32, ebm__f32_of_i32(x))
CAST(u8,  i32,  ebm__store_i32, x)
CAST(u8,  u8,   ebm__store_u8,  x)
CAST(u8,  bool, store_mask_f32, x != 0)
CAST_F64(f64, f64,  x)
CAST_F64(f64, f32,  (float)x)
CAST_F64(f64, i32,  i32_of_f64(x))
CAST_F64(f64, u8,   u8_of_f64(x))
CAST_F64(f64, bool, x != 0)
CAST_F64(f32, f64,  x)
CAST_F64(i32, f64,  x)
CAST_F64(u8,  f64,  x)

#define CAST_ROW(from) {[EBM_F32] = cast_##from##_f32, [EBM_F64] = cast_##from##_f64, \
                        [EBM_I32] = cast_##from##_i32, [EBM_BOOL] = cast_##from##_bool, \
                        [EBM_U8] = cast_##from##_u8}
static const loop casts[EBM_DTYPE_COUNT][EBM_DTYPE_COUNT] = {
    [EBM_F32] = CAST_ROW(f32), [EBM_F64] = CAST_ROW(f64), [EBM_I32] = CAST_ROW(i32),
    [EBM_BOOL] = CAST_ROW(u8), [EBM_U8] = CAST_ROW(u8),
};

/* ---- the table --------------------------------------------------------------------------- */

/* An op: how many operands, whether its result is a truth, and its loop for each type. */
typedef struct op_row {
    const char *name;
    int32_t n_in;
    bool truth;
    loop loops[EBM_DTYPE_COUNT];
} op_row;

#define FLOATS(id) [EBM_F32] = id##_f32, [EBM_F64] = id##_f64
#define NUMBERS(id) FLOATS(id), [EBM_I32] = id##_i32
#define BYTES(id) [EBM_BOOL] = id##_u8, [EBM_U8] = id##_u8
#define ROW(id, n_in, truth, ...) [EBM_OP_##id] = {#id, n_in, truth, {__VA_ARGS__}},
#define ROW_FLOAT_1(id, unused) ROW(id, 1, false, FLOATS(id))
#define ROW_FLOAT_2(id, unused) ROW(id, 2, false, FLOATS(id))
#define ROW_NUMBER_1(id, unused) ROW(id, 1, false, NUMBERS(id))
#define ROW_NUMBER_2(id, unused) ROW(id, 2, false, NUMBERS(id))
#define ROW_TRUTH_2(id, unused) ROW(id, 2, true, [EBM_BOOL] = id##_u8)

static const op_row table[EBM_OP_COUNT] = {
    EBM_FLOAT_OPS_1(ROW_FLOAT_1, 0)
    EBM_FLOAT_OPS_2(ROW_FLOAT_2, 0)
    EBM_NUMBER_OPS_1(ROW_NUMBER_1, 0)
    EBM_NUMBER_OPS_2(ROW_NUMBER_2, 0)
    EBM_TRUTH_OPS_2(ROW_TRUTH_2, 0)
    ROW(equal,       2, true,  NUMBERS(equal), BYTES(equal))
    ROW(less,        2, true,  NUMBERS(less))
    ROW(less_equal,  2, true,  NUMBERS(less_equal))
    ROW(isfinite,    1, true,  FLOATS(isfinite))
    ROW(logical_not, 1, true,  [EBM_BOOL] = logical_not_u8)
    ROW(select,      3, false, NUMBERS(select), BYTES(select))
    ROW(bit_and,     2, false, [EBM_I32] = bit_and_i32)
    ROW(floordiv,    2, false, [EBM_I32] = floordiv_i32)
    ROW(mod,         2, false, [EBM_I32] = mod_i32)
    [EBM_OP_cast] = {"cast", 1, false, {NULL}},
};
/* clang-format on */

/* The loop of a checked instruction. */
static loop loop_of(const ebm_region *r, const ebm_instr *p)
{
    return p->op == EBM_OP_cast ? casts[p->dtype][r->reg_dtype[p->d]]
                                : table[p->op].loops[p->dtype];
}

/* ---- pairs ------------------------------------------------------------------------------- */

/* Two instructions of f32 in one turn, the first one's result never stored: d = (a op b) op c,
 * or c - (a op b).  Both are rounded, so the bits are those of the two alone. */
#define PAIR(first, second, value)                                                         \
    static void first##_then_##second(const operands *o)                                   \
    {                                                                                      \
        const float *a = o->a, *b = o->b, *c = o->c;                                       \
        float *d = o->d;                                                                   \
        const int64_t n = o->n, lanes = EBM_LANES;                                         \
        const int64_t sa = o->sa * lanes, sb = o->sb * lanes, sc = o->sc * lanes;          \
        for (int64_t i = 0; i < n; i += lanes, a += sa, b += sb, c += sc) {                \
            ebm_vf32 t = ebm__##first##_f32(ebm__load_f32(a), ebm__load_f32(b));           \
            ebm_vf32 x = ebm__load_f32(c);                                                 \
            ebm__store_f32(d + i, value);                                                  \
        }                                                                                  \
    }
#define PAIRS(first)                                                                        \
    PAIR(first, add, t + x)                                                                \
    PAIR(first, mul, t * x)                                                                \
    PAIR(first, sub, t - x)                                                                \
    PAIR(first, from, x - t)
PAIRS(add)
PAIRS(sub)
PAIRS(mul)

/* Where add, sub and mul stand in the table; -1 for other ops. */
static int pair_index(int op)
{
    return op == EBM_OP_add ? 0 : op == EBM_OP_sub ? 1 : op == EBM_OP_mul ? 2 : -1;
}

/* The loop of two ops, `second` taking the first one's result as its left operand or its
 * right. */
static loop pair_of(int first, int second, bool right)
{
#define PAIR_ROW(first)                                                                     \
    {{first##_then_add, first##_then_add},                                                 \
     {first##_then_sub, first##_then_from},                                                \
     {first##_then_mul, first##_then_mul}}
    static const loop pairs[3][3][2] = {PAIR_ROW(add), PAIR_ROW(sub), PAIR_ROW(mul)};
    return pairs[pair_index(first)][pair_index(second)][right];
}

/* ---- activations with their slopes ------------------------------------------------------- */

/* Value and slope at x, whose first half is done, each step rounded as ops/composite.c and
 * graph/ops.def spell them: the bits are those of the instructions alone. */
typedef struct graph_of {
    ebm_vf32 value, slope;
} graph_of;

EBM_INLINE graph_of swish_at(ebm_vf32 x, ebm_vf32 first, ebm_vf32 k)
{
    (void)k;
    ebm_vf32 s = ebm__sigmoid_last_f32(x, first), y = x * s;
    return (graph_of){y, s + y * (1.0f - s)};
}

EBM_INLINE graph_of tanh_at(ebm_vf32 x, ebm_vf32 first, ebm_vf32 k)
{
    (void)k;
    ebm_vf32 y = ebm__tanh_last_f32(x, first);
    return (graph_of){y, 1.0f - y * y};
}

EBM_INLINE graph_of softplus_at(ebm_vf32 x, ebm_vf32 first, ebm_vf32 k)
{
    (void)first;
    (void)k;
    return (graph_of){ebm__softplus_f32(x), ebm__sigmoid_f32(x)};
}

EBM_INLINE graph_of relu_at(ebm_vf32 x, ebm_vf32 first, ebm_vf32 k)
{
    (void)first;
    (void)k;
    const ebm_vf32 zero = {0}, one = ebm__splat_f32(1);
    return (graph_of){ebm__maximum_f32(x, zero), ebm__select_f32(zero < x, one, zero)};
}

EBM_INLINE graph_of leaky_relu_at(ebm_vf32 x, ebm_vf32 first, ebm_vf32 k)
{
    (void)first;
    ebm_vi32 above = (ebm_vf32){0} < x;
    return (graph_of){ebm__select_f32(above, x, x * k),
                      ebm__select_f32(above, ebm__splat_f32(1), k)};
}

/* For activations without a first half. */
EBM_INLINE ebm_vf32 ebm__none_first_f32(ebm_vf32 x)
{
    return x;
}

/* Of how many elements the first half is taken before the last: with AVX-512 of many, elsewhere
 * registers are too few for it to pay. */
enum {
    STRETCH_none = GROUP,
    STRETCH_sigmoid = EBM_VECTOR == 64 ? 8 * GROUP : GROUP,
    STRETCH_tanh = STRETCH_sigmoid
};

/* At x = a or a + b: d is the value, if it is kept, e the slope, or the slope times c. */
#define ACTIVATION_LOOP(id, half, name, of_sum, keep, times)                               \
    static void id##_##name(const operands *o)                                             \
    {                                                                                      \
        _Alignas(EBM_VECTOR) float xs[STRETCH_##half], firsts[STRETCH_##half];             \
        const float *a = o->a, *b = o->b, *c = o->c;                                       \
        float *d = o->d, *e = o->e;                                                        \
        const int64_t n = o->n, lanes = EBM_LANES, most = STRETCH_##half;                  \
        const int64_t sa = o->sa * lanes, sb = o->sb * lanes, sc = o->sc * lanes;          \
        const ebm_vf32 k = ebm__load_f32(o->k);                                            \
        for (int64_t i = 0; i < n; i += most, d += most, e += most) {                      \
            const int64_t m = most > GROUP && n - i < most ? n - i : most;                 \
            for (int64_t j = 0; j < m; j += lanes, a += sa, b += sb) {                     \
                ebm_vf32 x = ebm__load_f32(a);                                             \
                if (of_sum) x = x + ebm__load_f32(b);                                      \
                ebm__store_f32(xs + j, x);                                                 \
                ebm__store_f32(firsts + j, ebm__##half##_first_f32(x));                    \
            }                                                                              \
            for (int64_t j = 0; j < m; j += lanes, c += sc) {                              \
                graph_of at = id##_at(ebm__load_f32(xs + j), ebm__load_f32(firsts + j), k); \
                if (times) at.slope = at.slope * ebm__load_f32(c);                         \
                if (keep) ebm__store_f32(d + j, at.value);                                 \
                ebm__store_f32(e + j, at.slope);                                           \
            }                                                                              \
        }                                                                                  \
    }
#define ACTIVATION(id, half)                             \
    ACTIVATION_LOOP(id, half, slope, 0, 0, 0)            \
    ACTIVATION_LOOP(id, half, slope_times, 0, 0, 1)      \
    ACTIVATION_LOOP(id, half, both, 0, 1, 0)             \
    ACTIVATION_LOOP(id, half, both_times, 0, 1, 1)       \
    ACTIVATION_LOOP(id, half, sum_slope, 1, 0, 0)        \
    ACTIVATION_LOOP(id, half, sum_slope_times, 1, 0, 1)  \
    ACTIVATION_LOOP(id, half, sum_both, 1, 1, 0)         \
    ACTIVATION_LOOP(id, half, sum_both_times, 1, 1, 1)
ACTIVATION(swish, sigmoid)
ACTIVATION(tanh, tanh)
ACTIVATION(softplus, none)
ACTIVATION(relu, none)
ACTIVATION(leaky_relu, none)

/* What an operand of a phrase is: x, a constant, or the result of one of its instructions. */
enum { OF_X = -1, OF_ZERO = -2, OF_ONE = -3, OF_K = -4 };

/* The instructions of an activation with its slope, which the last one writes; `value` is the number
 * of the one that writes the value.  No two begin alike.  Loops by whether x is a sum, the value kept,
 * a product taken. */
typedef struct phrase {
    int n, value;
    struct {
        uint16_t op;
        int8_t operand[3];
    } word[5];
    loop loops[2][2][2];
} phrase;

#define PHRASE_LOOPS(id)                                                              \
    {{{id##_slope, id##_slope_times}, {id##_both, id##_both_times}},                  \
     {{id##_sum_slope, id##_sum_slope_times}, {id##_sum_both, id##_sum_both_times}}}
static const phrase phrases[] = {
    {5,
     1,
     {{EBM_OP_sigmoid, {OF_X}},
      {EBM_OP_mul, {OF_X, 0}},
      {EBM_OP_sub, {OF_ONE, 0}},
      {EBM_OP_mul, {1, 2}},
      {EBM_OP_add, {0, 3}}},
     PHRASE_LOOPS(swish)},
    {3,
     0,
     {{EBM_OP_tanh, {OF_X}}, {EBM_OP_square, {0}}, {EBM_OP_sub, {OF_ONE, 1}}},
     PHRASE_LOOPS(tanh)},
    {2, 0, {{EBM_OP_softplus, {OF_X}}, {EBM_OP_sigmoid, {OF_X}}}, PHRASE_LOOPS(softplus)},
    {3,
     0,
     {{EBM_OP_maximum, {OF_X, OF_ZERO}}, {EBM_OP_less, {OF_ZERO, OF_X}}, {EBM_OP_cast, {1}}},
     PHRASE_LOOPS(relu)},
    {4,
     2,
     {{EBM_OP_less, {OF_ZERO, OF_X}},
      {EBM_OP_mul, {OF_X, OF_K}},
      {EBM_OP_select, {0, OF_X, 1}},
      {EBM_OP_select, {0, OF_ONE, OF_K}}},
     PHRASE_LOOPS(leaky_relu)},
};
enum { N_PHRASES = sizeof phrases / sizeof *phrases };

#endif
