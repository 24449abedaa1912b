/* test_elementwise.c - elementwise kernels against libm and against an interpreter in plain C.
 *
 * Ops that IEEE defines, and all integer ops, must agree with the interpreter to the bit (any
 * NaN equals any NaN), alone and in random regions: on every instruction set, for strided,
 * broadcast and reversed inputs, outputs over inputs, one thread and three.  The functions of
 * f32 are held to the ulps that formulas/scalar.inc states. */
#include "runner.h"

#include "base/alloc.h"
#include "base/threads.h"
#include "graph/graph.h"
#include "tensor/device.h"
#include "tensor/shape.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const isas[] = {"baseline", "avx2", "avx512"};
enum { N_ISA = 3 };

/* Calls check(context) once for each instruction set of this machine. */
static void for_each_isa(void (*check)(void *context), void *context)
{
    const char *before = ebm_cpu_isa();
    for (int k = 0; k < N_ISA; k++)
        if (ebm_cpu_set_isa(isas[k]) == EBM_OK) check(context);
    CHECK_OK(ebm_cpu_set_isa(before));
}

static void *new_block(size_t bytes)
{
    void *block = malloc(bytes ? bytes : 1); /* exact: a sanitizer sees what reads past it */
    CHECK(block != NULL);
    return block;
}

static void run_op(ebm_op op, const ebm_view *in, int n_in, const ebm_view *out)
{
    ebm_kernel_args args = {.op = op, .n_in = n_in, .n_out = 1, .in = in, .out = out};
    CHECK_OK(ebm_device_cpu()->run(ebm_device_cpu(), &args));
}

static ebm_view view_1d(void *data, ebm_dtype dtype, int64_t n)
{
    ebm_shape shape = EBM_DIMS(n);
    return ebm_view_of(data, dtype, &shape);
}

/* ---- the interpreter --------------------------------------------------------------------- */

/* Every element of every type is exact as a double. */
static double load(const void *data, ebm_dtype dtype, int64_t at)
{
    switch (dtype) {
    case EBM_F32: return (double)((const float *)data)[at];
    case EBM_F64: return ((const double *)data)[at];
    case EBM_I32: return ((const int32_t *)data)[at];
    default: return ((const uint8_t *)data)[at];
    }
}

static void store(void *data, ebm_dtype dtype, int64_t at, double value)
{
    switch (dtype) {
    case EBM_F32: ((float *)data)[at] = (float)value; return;
    case EBM_F64: ((double *)data)[at] = value; return;
    case EBM_I32: ((int32_t *)data)[at] = (int32_t)value; return;
    default: ((uint8_t *)data)[at] = (uint8_t)value; return;
    }
}

static double cast_to(ebm_dtype to, ebm_dtype from, double x)
{
    bool number = ebm_dtype_is_float(from);
    switch (to) {
    case EBM_F32: return (double)(float)x;
    case EBM_F64: return x;
    case EBM_I32: return isnan(x) ? 0 : fmin(fmax(trunc(x), INT32_MIN), INT32_MAX) + 0.0;
    case EBM_BOOL: return x != 0;
    default:
        return !number    ? (double)((int64_t)x & 255)
               : isnan(x) ? 0
                          : fmin(fmax(trunc(x), 0), 255) + 0.0;
    }
}

static double wrap(int64_t x)
{
    return (double)(int32_t)(uint32_t)(uint64_t)x;
}

static double floor_divide(int64_t a, int64_t b)
{
    return b ? wrap((a - ((a % b) + b) % b) / b) : 0;
}

static double eval_i32(ebm_op op, int64_t a, int64_t b)
{
    switch (op) {
    case EBM_OP_neg: return wrap(-a);
    case EBM_OP_abs: return wrap(a < 0 ? -a : a);
    case EBM_OP_square: return wrap(a * a);
    case EBM_OP_sign: return (a > 0) - (a < 0);
    case EBM_OP_add: return wrap(a + b);
    case EBM_OP_sub: return wrap(a - b);
    case EBM_OP_mul: return wrap(a * b);
    case EBM_OP_maximum: return (double)(a > b ? a : b);
    case EBM_OP_minimum: return (double)(a < b ? a : b);
    case EBM_OP_bit_and: return wrap(a & b);
    case EBM_OP_floordiv: return floor_divide(a, b);
    case EBM_OP_mod: return b ? (double)(((a % b) + b) % b) : 0;
    case EBM_OP_logical_and: return a && b;
    case EBM_OP_logical_or: return a || b;
    case EBM_OP_logical_xor: return !a != !b;
    case EBM_OP_logical_not: return !a;
    default: test_fail(__FILE__, __LINE__, "no integer op %d", (int)op);
    }
}

static double eval_f64(ebm_op op, double a, double b)
{
    switch (op) {
    case EBM_OP_neg: return -a;
    case EBM_OP_abs: return fabs(a);
    case EBM_OP_square: return a * a;
    case EBM_OP_recip: return 1 / a;
    case EBM_OP_sqrt: return sqrt(a);
    case EBM_OP_floor: return floor(a);
    case EBM_OP_ceil: return ceil(a);
    case EBM_OP_round: return rint(a);
    case EBM_OP_sign: return isnan(a) ? a : (a > 0) - (a < 0);
    case EBM_OP_add: return a + b;
    case EBM_OP_sub: return a - b;
    case EBM_OP_mul: return a * b;
    case EBM_OP_div: return a / b;
    case EBM_OP_maximum: return a > b || isnan(a) ? a : b;
    case EBM_OP_minimum: return a < b || isnan(a) ? a : b;
    case EBM_OP_isfinite: return isfinite(a) != 0;
    case EBM_OP_exp: return exp(a);
    case EBM_OP_log: return log(a);
    case EBM_OP_log1p: return log1p(a);
    case EBM_OP_expm1: return expm1(a);
    case EBM_OP_sin: return sin(a);
    case EBM_OP_cos: return cos(a);
    case EBM_OP_tanh: return tanh(a);
    case EBM_OP_erf: return erf(a);
    case EBM_OP_pow: return pow(a, b);
    case EBM_OP_atan2: return atan2(a, b);
    case EBM_OP_sigmoid: return (a >= 0 ? 1 : exp(-fabs(a))) / (1 + exp(-fabs(a)));
    case EBM_OP_softplus: return (a > 0 ? a : 0) + log1p(exp(-fabs(a)));
    default: test_fail(__FILE__, __LINE__, "no float op %d", (int)op);
    }
}

/* A double has room enough that rounding an f32 op once more gives what f32 arithmetic
 * gives. */
static double eval(ebm_op op, ebm_dtype dtype, ebm_dtype to, const double *x)
{
    switch (op) {
    case EBM_OP_select: return x[0] != 0 ? x[1] : x[2];
    case EBM_OP_cast: return cast_to(to, dtype, x[0]);
    case EBM_OP_equal: return x[0] == x[1];
    case EBM_OP_less: return x[0] < x[1];
    case EBM_OP_less_equal: return x[0] <= x[1];
    default: break;
    }
    if (dtype == EBM_F64) return eval_f64(op, x[0], x[1]);
    if (dtype == EBM_F32) return (double)(float)eval_f64(op, x[0], x[1]);
    return eval_i32(op, (int64_t)x[0], (int64_t)x[1]);
}

/* The same number: zeros by sign, NaN by being NaN. */
static bool same(double a, double b)
{
    return isnan(a) ? isnan(b) : a == b && signbit(a) == signbit(b);
}

/* ---- what there is ----------------------------------------------------------------------- */

enum { F = 1 << EBM_F32 | 1 << EBM_F64, I = 1 << EBM_I32, B = 1 << EBM_BOOL, U = 1 << EBM_U8 };

/* Each elementwise op: inputs, the types it takes, whether it gives a truth and is exact in
 * f32. */
typedef struct op_case {
    ebm_op op;
    int n_in, dtypes;
    bool truth, exact;
} op_case;

static const op_case ops[] = {
    {EBM_OP_neg, 1, F | I, false, true},
    {EBM_OP_abs, 1, F | I, false, true},
    {EBM_OP_square, 1, F | I, false, true},
    {EBM_OP_sign, 1, F | I, false, true},
    {EBM_OP_recip, 1, F, false, true},
    {EBM_OP_sqrt, 1, F, false, true},
    {EBM_OP_floor, 1, F, false, true},
    {EBM_OP_ceil, 1, F, false, true},
    {EBM_OP_round, 1, F, false, true},
    {EBM_OP_isfinite, 1, F, true, true},
    {EBM_OP_add, 2, F | I, false, true},
    {EBM_OP_sub, 2, F | I, false, true},
    {EBM_OP_mul, 2, F | I, false, true},
    {EBM_OP_maximum, 2, F | I, false, true},
    {EBM_OP_minimum, 2, F | I, false, true},
    {EBM_OP_div, 2, F, false, true},
    {EBM_OP_equal, 2, F | I | B | U, true, true},
    {EBM_OP_less, 2, F | I, true, true},
    {EBM_OP_less_equal, 2, F | I, true, true},
    {EBM_OP_bit_and, 2, I, false, true},
    {EBM_OP_floordiv, 2, I, false, true},
    {EBM_OP_mod, 2, I, false, true},
    {EBM_OP_logical_and, 2, B, true, true},
    {EBM_OP_logical_or, 2, B, true, true},
    {EBM_OP_logical_xor, 2, B, true, true},
    {EBM_OP_logical_not, 1, B, true, true},
    {EBM_OP_select, 3, F | I | B | U, false, true},
    {EBM_OP_cast, 1, F | I | B | U, false, true},
    {EBM_OP_exp, 1, F, false, false},
    {EBM_OP_log, 1, F, false, false},
    {EBM_OP_sin, 1, F, false, false},
    {EBM_OP_cos, 1, F, false, false},
    {EBM_OP_tanh, 1, F, false, false},
    {EBM_OP_sigmoid, 1, F, false, false},
    {EBM_OP_softplus, 1, F, false, false},
    {EBM_OP_erf, 1, F, false, false},
    {EBM_OP_log1p, 1, F, false, false},
    {EBM_OP_expm1, 1, F, false, false},
    {EBM_OP_pow, 2, F, false, false},
    {EBM_OP_atan2, 2, F, false, false},
};
enum { N_OPS = sizeof ops / sizeof *ops };

TEST(elementwise_every_op_is_tested)
{
    int family = 0;
    for (int op = 0; op < EBM_OP_COUNT; op++)
        family += ebm_op_get((ebm_op)op)->family == EBM_FAMILY_ELEMENTWISE;
    CHECK(family == N_OPS);
    for (int k = 0; k < N_OPS; k++) CHECK(ebm_op_get(ops[k].op)->n_in == ops[k].n_in);
}

/* Whether interpreter and kernel must agree to the bit: f64 has libm on both sides. */
static bool is_exact(const op_case *c, ebm_dtype dtype)
{
    return c->exact || dtype == EBM_F64;
}

static double random_element(uint64_t *seed, ebm_dtype dtype)
{
    static const double odd[] = {0,    -0.0,      1,        -1,        0.5,     -0.5,
                                 2.5,  1e10,      INFINITY, -INFINITY, 1e-40,   -3e-42,
                                 3e38, 8388609.5, NAN,      255.5,     -0x1p31, 0x1p31 - 1};
    enum { N_ODD = sizeof odd / sizeof *odd };
    static const int32_t odd_int[] = {0, 1, -1, INT32_MIN, INT32_MAX, 255, 256, -7};
    bool common = test_below(seed, 4) != 0;
    switch (dtype) {
    case EBM_F32:
    case EBM_F64:
        return cast_to(dtype, EBM_F64,
                       common ? 8 * test_uniform(seed) - 4 : odd[test_below(seed, N_ODD)]);
    case EBM_I32:
        return common ? (double)(test_below(seed, 21) - 10) : odd_int[test_below(seed, 8)];
    case EBM_BOOL: return (double)test_below(seed, 2);
    default: return (double)test_below(seed, 256);
    }
}

/* ---- one op ------------------------------------------------------------------------------ */

typedef struct op_run {
    const op_case *c;
    ebm_dtype dtype, to;
    int64_t n;
    uint64_t seed;
} op_run;

static void check_op(void *context)
{
    const op_run *r = context;
    uint64_t seed = r->seed;
    void *data[3];
    ebm_view in[3];
    for (int k = 0; k < r->c->n_in; k++) {
        ebm_dtype dtype = r->c->op == EBM_OP_select && k == 0 ? EBM_BOOL : r->dtype;
        data[k] = new_block((size_t)r->n * ebm_dtype_size(dtype));
        for (int64_t i = 0; i < r->n; i++)
            store(data[k], dtype, i, random_element(&seed, dtype));
        in[k] = view_1d(data[k], dtype, r->n);
    }
    void *result = new_block((size_t)r->n * ebm_dtype_size(r->to));
    ebm_view out = view_1d(result, r->to, r->n);
    run_op(r->c->op, in, r->c->n_in, &out);
    for (int64_t i = 0; i < r->n; i++) {
        double x[3] = {0};
        for (int k = 0; k < r->c->n_in; k++) x[k] = load(data[k], (ebm_dtype)in[k].dtype, i);
        double got = load(result, r->to, i), want = eval(r->c->op, r->dtype, r->to, x);
        if (!same(got, want))
            test_fail(__FILE__, __LINE__, "%s of %s on %s: (%g, %g, %g) gives %.17g, not %.17g",
                      ebm_op_get(r->c->op)->name, ebm_dtype_name(r->dtype), ebm_cpu_isa(), x[0],
                      x[1], x[2], got, want);
    }
    for (int k = 0; k < r->c->n_in; k++) free(data[k]);
    free(result);
}

TEST(elementwise_ops_one_by_one)
{
    static const int64_t sizes[] = {1, 63, 512, 1000};
    for (int k = 0; k < N_OPS; k++) {
        for (int dtype = 0; dtype < EBM_DTYPE_COUNT; dtype++) {
            for (int to = 0; to < EBM_DTYPE_COUNT; to++) {
                const op_case *c = &ops[k];
                int result = c->truth ? EBM_BOOL : c->op == EBM_OP_cast ? to : dtype;
                if (!(c->dtypes >> dtype & 1) || result != to || !is_exact(c, (ebm_dtype)dtype))
                    continue;
                for (int s = 0; s < 4; s++) {
                    op_run run = {c, (ebm_dtype)dtype, (ebm_dtype)to, sizes[s],
                                  (uint64_t)(k + s)};
                    for_each_isa(check_op, &run);
                }
            }
        }
    }
}

static void check_unsupported(void *unused)
{
    (void)unused;
    uint8_t data[8 * 64] = {0}, result[8 * 64];
    for (int k = 0; k < N_OPS; k++) {
        for (int dtype = 0; dtype < EBM_DTYPE_COUNT; dtype++) {
            if (ops[k].dtypes >> dtype & 1) continue;
            ebm_view in[2] = {view_1d(data, (ebm_dtype)dtype, 8),
                              view_1d(data, (ebm_dtype)dtype, 8)};
            ebm_view out = view_1d(result, ops[k].truth ? EBM_BOOL : (ebm_dtype)dtype, 8);
            ebm_kernel_args args = {
                .op = ops[k].op, .n_in = ops[k].n_in, .n_out = 1, .in = in, .out = &out};
            CHECK_STATUS(ebm_device_cpu()->run(ebm_device_cpu(), &args), EBM_UNSUPPORTED);
            CHECK(strstr(ebm_message(), ebm_op_get(ops[k].op)->name) != NULL);
        }
    }
}

TEST(elementwise_other_types_are_unsupported)
{
    for_each_isa(check_unsupported, NULL);
}

/* ---- functions of f32 -------------------------------------------------------------------- */

static double sigmoid_of(double x)
{
    return 1 / (1 + exp(-x));
}

static double softplus_of(double x)
{
    return fmax(x, 0) + log1p(exp(-fabs(x)));
}

/* A function, what it must be, and its largest error in ulps as formulas/scalar.inc states
 * it. */
typedef struct function_case {
    ebm_op op;
    double (*exact)(double);
    double ulps;
} function_case;

static const function_case functions[] = {
    {EBM_OP_exp, exp, 1.1},
    {EBM_OP_expm1, expm1, 1.7},
    {EBM_OP_log, log, 0.9},
    {EBM_OP_log1p, log1p, 1.5},
    {EBM_OP_tanh, tanh, 2.7},
    {EBM_OP_sigmoid, sigmoid_of, 2.6},
    {EBM_OP_softplus, softplus_of, 2.5},
    {EBM_OP_sin, sin, 1.7},
    {EBM_OP_cos, cos, 3.6},
    {EBM_OP_erf, erf, 1.4},
};
enum { N_FUNCTIONS = sizeof functions / sizeof *functions };

static double ulp_of(double x)
{
    int exponent;
    frexp(x, &exponent);
    return ldexp(1, (exponent < -125 ? -125 : exponent) - 24);
}

static float float_of_bits(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static void check_value(ebm_op op, float x, float got, double exact, double ulps)
{
    float want = (float)exact;
    double error = fabs((double)got - exact);
    bool good = isnan(want)                ? isnan(got)
                : isinf(want)              ? got == want
                : isinf(got) || isnan(got) ? false
                : fabs(exact) < 0x1p-126 ? error <= 0x1p-126 && !signbit(got) == !signbit(want)
                                         : error <= ulps * ulp_of(exact);
    if (!good)
        test_fail(__FILE__, __LINE__, "%s(%a) on %s: got %a, expected %a (%.3f ulps)",
                  ebm_op_get(op)->name, (double)x, ebm_cpu_isa(), (double)got, exact,
                  error / ulp_of(exact));
}

/* Every 4099th float, NaNs and infinities among them. */
static void sweep_functions(void *unused)
{
    enum { N = 4096, STEP = 4099 };
    (void)unused;
    static float x[N], y[N];
    ebm_view in = view_1d(x, EBM_F32, N), out = view_1d(y, EBM_F32, N);
    for (int k = 0; k < N_FUNCTIONS; k++) {
        for (uint64_t bits = 0; bits <= UINT32_MAX; bits += (uint64_t)N * STEP) {
            for (int i = 0; i < N; i++)
                x[i] = float_of_bits((uint32_t)(bits + (uint64_t)i * STEP));
            run_op(functions[k].op, &in, 1, &out);
            for (int i = 0; i < N; i++)
                check_value(functions[k].op, x[i], y[i], functions[k].exact((double)x[i]),
                            functions[k].ulps);
        }
    }
}

TEST(elementwise_functions_within_their_ulps)
{
    for_each_isa(sweep_functions, NULL);
}

/* The places where formulas break: edges of the range, zeros, what is not finite. */
static void check_edges(void *unused)
{
    static const float points[] = {
        0.0f,        -0.0f,         1.0f,           -1.0f,       INFINITY,    -INFINITY,
        NAN,         0x1p-149f,     -0x1p-149f,     0x1p-126f,   -0x1p-126f,  0x1p-25f,
        -0x1p-25f,   0x1p-24f,      88.0f,          88.5f,       88.72283f,   88.72284f,
        89.0f,       1e30f,         -87.0f,         -87.33654f,  -87.5f,      -104.0f,
        -1e30f,      3.4028235e38f, -3.4028235e38f, 0.70710677f, 0.70710678f, 1.41421356f,
        0.41421357f, -0.29289323f,  -0.99999994f,   -1.0000001f, 99999.99f,   100000.0f,
        3e9f,        1e20f,         1.5707964f,     3.1415927f,  0.9375f,     -0.9375f,
        4.0f,        5.0f,          9.1f,           9.2f,        -18.0f,      16777216.0f};
    enum { N = sizeof points / sizeof *points };
    (void)unused;
    float x[N], y[N];
    memcpy(x, points, sizeof x);
    ebm_view in = view_1d(x, EBM_F32, N), out = view_1d(y, EBM_F32, N);
    for (int k = 0; k < N_FUNCTIONS; k++) {
        run_op(functions[k].op, &in, 1, &out);
        for (int i = 0; i < N; i++) {
            double exact = functions[k].exact((double)x[i]);
            check_value(functions[k].op, x[i], y[i], exact, functions[k].ulps);
            if (x[i] == 0 && exact == 0) CHECK(!signbit(y[i]) == !signbit(x[i]));
        }
    }
}

TEST(elementwise_functions_at_their_edges)
{
    for_each_isa(check_edges, NULL);
}

static void check_functions_of_two(void *unused)
{
    enum { N = 2000 };
    (void)unused;
    static float x[N], y[N], z[N];
    uint64_t seed = 5;
    ebm_view in[2] = {view_1d(x, EBM_F32, N), view_1d(y, EBM_F32, N)},
             out = view_1d(z, EBM_F32, N);
    for (int i = 0; i < N; i++) {
        x[i] = (float)random_element(&seed, EBM_F32);
        y[i] = (float)random_element(&seed, EBM_F32);
    }
    run_op(EBM_OP_pow, in, 2, &out);
    for (int i = 0; i < N; i++)
        check_value(EBM_OP_pow, x[i], z[i], pow((double)x[i], (double)y[i]), 2);
    run_op(EBM_OP_atan2, in, 2, &out);
    for (int i = 0; i < N; i++)
        check_value(EBM_OP_atan2, x[i], z[i], atan2((double)x[i], (double)y[i]), 2);
}

TEST(elementwise_pow_and_atan2)
{
    for_each_isa(check_functions_of_two, NULL);
}

/* ---- random regions ---------------------------------------------------------------------- */

enum { MAX_IN = 6, MAX_OUT = 4, MAX_INSTR = 40, GUARD = 64 };

/* A region with its memory: inputs as they were, the expected outputs, and where results go. */
typedef struct region_case {
    ebm_region region;
    ebm_instr instr[MAX_INSTR];
    ebm_shape shape;
    ebm_view in[MAX_IN], out[MAX_OUT];
    void *base[MAX_IN];     /* the allocation an input's view points into */
    void *original[MAX_IN]; /* its content */
    size_t bytes[MAX_IN];
    void *guarded[MAX_OUT]; /* an output with GUARD bytes on both sides; NULL: over an input */
    double *expected[MAX_OUT];
} region_case;

/* A view of the shape over memory of its own: some axes repeated, reversed, with gaps,
 * permuted. */
static void make_input(region_case *r, int k, uint64_t *seed)
{
    static const int64_t steps[] = {1, 1, 1, 2, -1, -2};
    ebm_dtype dtype = (ebm_dtype)r->region.reg_dtype[k];
    bool plain = test_below(seed, 3) == 0;
    int order[EBM_MAX_RANK], rank = r->shape.rank;
    for (int a = 0; a < rank; a++) order[a] = a;
    for (int a = rank - 1; a > 0 && !plain && test_below(seed, 2); a--) {
        int b = (int)test_below(seed, a + 1), swap = order[a];
        order[a] = order[b];
        order[b] = swap;
    }
    ebm_view view = {.dtype = dtype, .rank = rank};
    int64_t size = 1, first = 0;
    for (int a = rank - 1; a >= 0; a--) {
        int axis = order[a];
        int64_t step = plain ? 1 : steps[test_below(seed, 6)], n = r->shape.dim[axis];
        if (!plain && test_below(seed, 3) == 0) step = 0;
        view.shape[axis] = n;
        view.stride[axis] = step * size;
        if (step < 0 && n > 0) first -= step * size * (n - 1);
        if (n > 0 && step) size *= llabs(step) * (n - 1) + 1;
    }
    r->bytes[k] = (size_t)size * ebm_dtype_size(dtype);
    r->base[k] = new_block(r->bytes[k]);
    r->original[k] = new_block(r->bytes[k]);
    for (int64_t i = 0; i < size; i++)
        store(r->original[k], dtype, i, random_element(seed, dtype));
    view.data = (char *)r->base[k] + first * (int64_t)ebm_dtype_size(dtype);
    r->in[k] = view;
}

static int64_t offset_of(const ebm_view *view, int64_t flat)
{
    int64_t offset = 0;
    for (int a = view->rank - 1; a >= 0; a--) {
        offset += flat % view->shape[a] * view->stride[a];
        flat /= view->shape[a];
    }
    return offset;
}

/* A written register of this type, or -1. */
static int pick_register(const ebm_region *r, int written, ebm_dtype dtype, uint64_t *seed)
{
    int found[EBM_REGION_MAX_REG], n = 0;
    for (int k = 0; k < written; k++)
        if (r->reg_dtype[k] == dtype) found[n++] = k;
    return n ? found[test_below(seed, n)] : -1;
}

/* Adds an instruction if there are operands for it; may write a result's register again. */
static void add_instr(region_case *r, uint64_t *seed)
{
    ebm_region *region = &r->region;
    const op_case *c = &ops[test_below(seed, N_OPS)];
    ebm_dtype dtype = (ebm_dtype)test_below(seed, EBM_DTYPE_COUNT);
    if (!(c->dtypes >> dtype & 1) || !is_exact(c, dtype)) return;
    int operand[3] = {0};
    for (int k = 0; k < c->n_in; k++) {
        bool condition = c->op == EBM_OP_select && k == 0;
        operand[k] = pick_register(region, region->n_reg, condition ? EBM_BOOL : dtype, seed);
        if (operand[k] < 0) return;
    }
    ebm_dtype to = c->truth ? EBM_BOOL : dtype;
    if (c->op == EBM_OP_cast) to = (ebm_dtype)test_below(seed, EBM_DTYPE_COUNT);
    int d = test_below(seed, 3) ? -1 : pick_register(region, region->n_reg, to, seed);
    if (d < region->n_in + region->n_const) {
        d = region->n_reg++;
        region->reg_dtype[d] = (uint8_t)to;
    }
    r->instr[region->n_instr++] = (ebm_instr){.op = (uint16_t)c->op,
                                              .dtype = (uint8_t)dtype,
                                              .d = (uint8_t)d,
                                              .a = (uint8_t)operand[0],
                                              .b = (uint8_t)operand[1],
                                              .c = (uint8_t)operand[2]};
}

static bool is_contiguous(const ebm_view *view)
{
    int64_t size = 1;
    for (int a = view->rank - 1; a >= 0; a--) {
        if (view->shape[a] != 1 && view->stride[a] != size) return false;
        size *= view->shape[a];
    }
    return true;
}

/* Gives each output memory of its own, or that of a contiguous input of its type. */
static void make_outputs(region_case *r, uint64_t *seed)
{
    bool taken[MAX_IN] = {false};
    int64_t n = ebm_shape_size(&r->shape);
    for (int k = 0; k < r->region.n_out; k++) {
        ebm_dtype dtype = (ebm_dtype)r->region.reg_dtype[r->region.out_reg[k]];
        int in = (int)test_below(seed, 2 * MAX_IN);
        bool over = in < r->region.n_in && !taken[in] && r->in[in].dtype == (int)dtype &&
                    is_contiguous(&r->in[in]);
        r->guarded[k] = over ? NULL : new_block((size_t)n * ebm_dtype_size(dtype) + 2 * GUARD);
        r->out[k] = ebm_view_of(over ? r->in[in].data : (char *)r->guarded[k] + GUARD, dtype,
                                &r->shape);
        r->expected[k] = new_block((size_t)n * sizeof(double));
        if (over) taken[in] = true;
    }
}

static void interpret(region_case *r)
{
    const ebm_region *region = &r->region;
    int64_t n = ebm_shape_size(&r->shape);
    for (int k = 0; k < region->n_in; k++) memcpy(r->base[k], r->original[k], r->bytes[k]);
    for (int64_t i = 0; i < n; i++) {
        double reg[EBM_REGION_MAX_REG];
        for (int k = 0; k < region->n_in; k++)
            reg[k] = load(r->in[k].data, (ebm_dtype)r->in[k].dtype, offset_of(&r->in[k], i));
        for (int k = 0; k < region->n_const; k++) reg[region->n_in + k] = region->constant[k];
        for (int k = 0; k < region->n_instr; k++) {
            const ebm_instr *p = &r->instr[k];
            const double x[3] = {reg[p->a], reg[p->b], reg[p->c]};
            reg[p->d] = eval((ebm_op)p->op, (ebm_dtype)p->dtype,
                             (ebm_dtype)region->reg_dtype[p->d], x);
        }
        for (int k = 0; k < region->n_out; k++) r->expected[k][i] = reg[region->out_reg[k]];
    }
}

static void make_case(region_case *r, const ebm_shape *shape, uint64_t *seed)
{
    memset(r, 0, sizeof *r);
    ebm_region *region = &r->region;
    r->shape = *shape;
    region->instr = r->instr;
    region->n_in = (int32_t)test_below(seed, MAX_IN + 1);
    region->n_const = (int32_t)test_below(seed, 5) + (region->n_in == 0);
    region->n_reg = region->n_in + region->n_const;
    for (int k = 0; k < region->n_reg; k++)
        region->reg_dtype[k] = (uint8_t)(test_below(seed, 2) ? EBM_F32 : test_below(seed, 5));
    for (int k = 0; k < region->n_const; k++)
        region->constant[k] = random_element(seed,
                                             (ebm_dtype)region->reg_dtype[region->n_in + k]);
    for (int64_t k = test_below(seed, 200); k > 0 && region->n_instr < MAX_INSTR; k--)
        add_instr(r, seed);
    for (int k = 0; k < region->n_in; k++) make_input(r, k, seed);
    region->n_out = 1 + (int32_t)test_below(seed, MAX_OUT);
    for (int k = 0; k < region->n_out; k++) {
        bool last = test_below(seed, 4) != 0;
        region->out_reg[k] = (uint8_t)(last && region->n_instr
                                           ? r->instr[test_below(seed, region->n_instr)].d
                                           : test_below(seed, region->n_reg));
    }
    make_outputs(r, seed);
    interpret(r);
}

static void free_case(region_case *r)
{
    for (int k = 0; k < r->region.n_in; k++) {
        free(r->base[k]);
        free(r->original[k]);
    }
    for (int k = 0; k < r->region.n_out; k++) {
        free(r->guarded[k]);
        free(r->expected[k]);
    }
}

static void check_guards(const region_case *r, int k, int64_t n)
{
    const uint8_t *block = r->guarded[k];
    size_t bytes = (size_t)n * ebm_dtype_size((ebm_dtype)r->out[k].dtype);
    for (size_t i = 0; i < GUARD; i++)
        CHECK(block[i] == 0xA5 && block[GUARD + bytes + i] == 0xA5);
}

static void check_case(void *context)
{
    region_case *r = context;
    int64_t n = ebm_shape_size(&r->shape);
    for (int k = 0; k < r->region.n_in; k++) memcpy(r->base[k], r->original[k], r->bytes[k]);
    for (int k = 0; k < r->region.n_out; k++)
        if (r->guarded[k])
            memset(r->guarded[k], 0xA5,
                   (size_t)n * ebm_dtype_size((ebm_dtype)r->out[k].dtype) + 2 * GUARD);
    ebm_kernel_args args = {.op = EBM_OP_REGION,
                            .n_in = r->region.n_in,
                            .n_out = r->region.n_out,
                            .in = r->in,
                            .out = r->out,
                            .region = &r->region};
    CHECK(ebm_device_cpu()->scratch(ebm_device_cpu(), &args) == 0);
    CHECK_OK(ebm_device_cpu()->run(ebm_device_cpu(), &args));
    for (int k = 0; k < r->region.n_out; k++) {
        if (r->guarded[k]) check_guards(r, k, n);
        for (int64_t i = 0; i < n; i++) {
            double got = load(r->out[k].data, (ebm_dtype)r->out[k].dtype, i);
            if (!same(got, r->expected[k][i]))
                test_fail(__FILE__, __LINE__,
                          "on %s: output %d, element %lld: got %.17g, not %.17g", ebm_cpu_isa(),
                          k, (long long)i, got, r->expected[k][i]);
        }
    }
}

static void check_random_regions(ebm_shape shape, int count, uint64_t seed)
{
    static region_case r;
    for (int k = 0; k < count; k++) {
        make_case(&r, &shape, &seed);
        ebm_set_num_threads(1);
        for_each_isa(check_case, &r);
        ebm_set_num_threads(3);
        for_each_isa(check_case, &r);
        free_case(&r);
    }
}

TEST(elementwise_random_regions)
{
    static const int64_t sizes[] = {0, 1, 7, 64, 511, 512, 513, 2500};
    for (int k = 0; k < 8; k++)
        check_random_regions(EBM_DIMS(sizes[k]), 60, (uint64_t)(100 + k));
    check_random_regions(EBM_SCALAR, 30, 1);
}

TEST(elementwise_random_regions_of_many_axes)
{
    check_random_regions(EBM_DIMS(40, 31), 60, 2);
    check_random_regions(EBM_DIMS(3, 700), 60, 3);
    check_random_regions(EBM_DIMS(700, 3), 60, 4);
    check_random_regions(EBM_DIMS(5, 7, 6, 11), 60, 5);
    check_random_regions(EBM_DIMS(2, 3, 1, 4, 3, 2, 1, 5), 60, 6);
    check_random_regions(EBM_DIMS(4, 0, 3), 5, 7);
}

TEST(elementwise_random_regions_of_many_tasks)
{
    check_random_regions(EBM_DIMS(100003), 6, 8);
    check_random_regions(EBM_DIMS(170, 30, 9), 6, 9);
    check_random_regions(EBM_DIMS(20, 1024), 6, 10);
}

/* ---- several instructions in one pass ----------------------------------------------------- */

enum { PASS_IN = 3, PASS_CONST = 3, PASS_TRUTH = 14, PASS_REG = 16 };
enum { PASS_ONE = PASS_IN, PASS_ZERO = PASS_IN + 2 }; /* constants: 1, 1/4, 0 */
enum { PASS_ROWS = 9, PASS_COLUMNS = 100, PASS_N = PASS_ROWS * PASS_COLUMNS };

/* A program over f32 of phrases that have a loop of their own, some of them spoilt, and what each
 * register holds if its instructions run alone. */
typedef struct pass_case {
    ebm_region region;
    ebm_instr instr[MAX_INSTR];
    float reg[PASS_REG][PASS_N], out[3][PASS_N];
    float in[PASS_IN][PASS_N];
} pass_case;

/* The first four results are mostly what only the next instructions read. */
static int pass_result(uint64_t *seed)
{
    int first = PASS_IN + PASS_CONST + (test_below(seed, 16) ? 4 : 0);
    return first + (int)test_below(seed, PASS_TRUTH - first);
}

static int pass_operand(uint64_t *seed)
{
    return test_below(seed, 3) ? pass_result(seed) : (int)test_below(seed, PASS_IN + PASS_CONST);
}

static void add_pass_instr(pass_case *r, ebm_op op, int d, int a, int b)
{
    r->instr[r->region.n_instr++] = (ebm_instr){.op = (uint16_t)op,
                                                .dtype = EBM_F32,
                                                .d = (uint8_t)d,
                                                .a = (uint8_t)a,
                                                .b = (uint8_t)b,
                                                .c = (uint8_t)a};
}

/* An activation and its slope, mostly with the registers that make one: a result is often what the
 * next instruction takes. */
static void add_activation(pass_case *r, uint64_t *seed, int x)
{
    int d[5], truth = PASS_TRUTH + (int)test_below(seed, 2);
    int one = PASS_ONE + (test_below(seed, 8) == 0),
        zero = PASS_ZERO - (test_below(seed, 8) == 0);
    for (int k = 0; k < 5; k++)
        d[k] = k != 4 && test_below(seed, 16) ? PASS_IN + PASS_CONST + k : pass_result(seed);
    if (test_below(seed, 2)) d[1] = pass_result(seed);
    if (test_below(seed, 2)) d[0] = test_below(seed, 2) ? pass_result(seed) : d[0];
    if (test_below(seed, 4) == 0) d[3] = d[1];
    switch (test_below(seed, 5)) {
    case 0:
        add_pass_instr(r, EBM_OP_sigmoid, d[0], x, x);
        add_pass_instr(r, EBM_OP_mul, d[1], x, d[0]);
        add_pass_instr(r, EBM_OP_sub, d[2], one, d[0]);
        add_pass_instr(r, EBM_OP_mul, d[3], d[1], d[2]);
        add_pass_instr(r, EBM_OP_add, d[4], d[0], d[3]);
        break;
    case 1:
        add_pass_instr(r, EBM_OP_tanh, d[0], x, x);
        add_pass_instr(r, EBM_OP_square, d[3], d[0], d[0]);
        add_pass_instr(r, EBM_OP_sub, d[4], one, d[3]);
        break;
    case 2:
        add_pass_instr(r, EBM_OP_softplus, d[0], x, x);
        add_pass_instr(r, EBM_OP_sigmoid, d[4], x, x);
        break;
    case 3:
        add_pass_instr(r, EBM_OP_maximum, d[0], x, zero);
        add_pass_instr(r, EBM_OP_less, truth, zero, x);
        add_pass_instr(r, EBM_OP_cast, d[4], truth, truth);
        r->instr[r->region.n_instr - 1].dtype = EBM_BOOL;
        break;
    default:
        add_pass_instr(r, EBM_OP_less, truth, zero, x);
        add_pass_instr(r, EBM_OP_mul, d[0], x, PASS_ONE + 1);
        add_pass_instr(r, EBM_OP_select, d[1], truth, x);
        r->instr[r->region.n_instr - 1].c = (uint8_t)d[0];
        add_pass_instr(r, EBM_OP_select, d[4], truth, one);
        r->instr[r->region.n_instr - 1].c = PASS_ONE + 1;
    }
    if (test_below(seed, 2)) {
        int c = pass_operand(seed);
        bool swap = test_below(seed, 2);
        add_pass_instr(r, EBM_OP_mul, pass_result(seed), swap ? c : d[4], swap ? d[4] : c);
    }
}

static void add_sum_and_activation(pass_case *r, uint64_t *seed)
{
    int x = pass_operand(seed);
    if (test_below(seed, 2)) {
        int sum = PASS_IN + PASS_CONST + 3;
        add_pass_instr(r, EBM_OP_add, sum, x, pass_operand(seed));
        x = sum;
    }
    add_activation(r, seed, x);
}

static void make_pass_case(pass_case *r, uint64_t *seed)
{
    static const double constants[PASS_CONST] = {1, 0.25, 0};
    static const ebm_op simple[] = {EBM_OP_add, EBM_OP_sub, EBM_OP_mul, EBM_OP_maximum};
    r->region = (ebm_region){.n_in = PASS_IN, .n_const = PASS_CONST, .n_out = 3};
    r->region.n_reg = PASS_REG;
    r->region.instr = r->instr;
    for (int k = 0; k < PASS_CONST; k++) r->region.constant[k] = constants[k];
    for (int k = PASS_TRUTH; k < PASS_REG; k++) {
        r->region.reg_dtype[k] = EBM_BOOL;
        add_pass_instr(r, EBM_OP_less, k, 0, PASS_ONE);
    }
    for (int k = PASS_IN + PASS_CONST; k < PASS_TRUTH; k++)
        add_pass_instr(r, EBM_OP_mul, k, (int)test_below(seed, PASS_IN), PASS_IN + 1);
    while (r->region.n_instr < MAX_INSTR - 8) {
        if (test_below(seed, 2)) add_sum_and_activation(r, seed);
        for (int k = (int)test_below(seed, 4); k > 0 && r->region.n_instr < MAX_INSTR - 8; k--)
            add_pass_instr(r, simple[test_below(seed, 4)], pass_result(seed),
                           pass_operand(seed), pass_operand(seed));
    }
    for (int k = 0; k < 3; k++) r->region.out_reg[k] = (uint8_t)pass_result(seed);
    for (int k = 0; k < PASS_IN; k++)
        for (int i = 0; i < PASS_N; i++) r->in[k][i] = (float)random_element(seed, EBM_F32);
}

static ebm_view pass_view(pass_case *r, int reg)
{
    return view_1d(r->reg[reg], (ebm_dtype)r->region.reg_dtype[reg], PASS_N);
}

/* The second input is one row for all, the third a number. */
static void check_pass_case(void *context)
{
    pass_case *r = context;
    ebm_shape shape = EBM_DIMS(PASS_ROWS, PASS_COLUMNS);
    ebm_view in[PASS_IN], out[3];
    for (int k = 0; k < PASS_IN; k++) in[k] = ebm_view_of(r->in[k], EBM_F32, &shape);
    in[1].stride[0] = in[2].stride[0] = in[2].stride[1] = 0;
    for (int k = 0; k < 3; k++) out[k] = ebm_view_of(r->out[k], EBM_F32, &shape);
    for (int i = 0; i < PASS_N; i++) {
        for (int k = 0; k < PASS_IN; k++) r->reg[k][i] = r->in[k][offset_of(&in[k], i)];
        for (int k = 0; k < PASS_CONST; k++)
            r->reg[PASS_IN + k][i] = (float)r->region.constant[k];
    }
    for (int k = 0; k < r->region.n_instr; k++) {
        const ebm_instr *p = &r->instr[k];
        ebm_view operand[3], result = pass_view(r, p->d);
        operand[0] = pass_view(r, p->a);
        operand[1] = pass_view(r, p->b);
        operand[2] = pass_view(r, p->c);
        run_op((ebm_op)p->op, operand, ebm_op_get((ebm_op)p->op)->n_in, &result);
    }
    ebm_kernel_args args = {.op = EBM_OP_REGION, .n_in = PASS_IN, .n_out = 3, .in = in, .out = out};
    args.region = &r->region;
    CHECK_OK(ebm_device_cpu()->run(ebm_device_cpu(), &args));
    for (int k = 0; k < 3; k++)
        for (int i = 0; i < PASS_N; i++) {
            float got = r->out[k][i], want = r->reg[r->region.out_reg[k]][i];
            if (!same((double)got, (double)want))
                test_fail(__FILE__, __LINE__, "on %s: output %d, element %d: got %a, not %a",
                          ebm_cpu_isa(), k, i, (double)got, (double)want);
        }
}

TEST(elementwise_passes_have_the_bits_of_instructions)
{
    static pass_case r;
    uint64_t seed = 11;
    for (int k = 0; k < 1500; k++) {
        make_pass_case(&r, &seed);
        for_each_isa(check_pass_case, &r);
    }
}

/* Registers up to the limit, all of f64 and all inputs tiled: the smallest blocks there are. */
TEST(elementwise_full_register_file)
{
    enum { ROWS = 37, COLUMNS = 45, N_IN = 62, N = ROWS * COLUMNS };
    static double x[N_IN][COLUMNS], y[N];
    ebm_instr instr[N_IN];
    ebm_region region = {.n_in = N_IN, .n_instr = N_IN - 1, .n_out = 1, .n_reg = 64};
    ebm_view in[N_IN];
    ebm_shape shape = EBM_DIMS(ROWS, COLUMNS);
    ebm_view out = ebm_view_of(y, EBM_F64, &shape);
    region.instr = instr;
    for (int k = 0; k < 64; k++) region.reg_dtype[k] = EBM_F64;
    for (int k = 0; k < N_IN; k++) {
        for (int i = 0; i < COLUMNS; i++) x[k][i] = k + 100 * i;
        in[k] = ebm_view_of(x[k], EBM_F64, &shape);
        in[k].stride[0] = 0;
    }
    for (int k = 0; k < N_IN - 1; k++)
        instr[k] = (ebm_instr){.op = EBM_OP_add,
                               .dtype = EBM_F64,
                               .a = (uint8_t)(k ? 62 + k % 2 : 0),
                               .b = (uint8_t)(k + 1),
                               .d = (uint8_t)(63 - k % 2)};
    region.out_reg[0] = 63 - (N_IN - 2) % 2;
    ebm_kernel_args args = {.op = EBM_OP_REGION, .n_in = N_IN, .n_out = 1, .in = in, .out = &out};
    args.region = &region;
    CHECK_OK(ebm_device_cpu()->run(ebm_device_cpu(), &args));
    for (int i = 0; i < N; i++)
        CHECK(y[i] == N_IN * (N_IN - 1) / 2 + 100.0 * N_IN * (i % COLUMNS));
}

/* Broken promises are reported, not run. */
TEST(elementwise_refuses_malformed_regions)
{
    float x[8] = {0}, y[8];
    ebm_view in = view_1d(x, EBM_F32, 8), out = view_1d(y, EBM_F32, 8);
    ebm_instr good = {.op = EBM_OP_add, .dtype = EBM_F32, .d = 1, .a = 0, .b = 0}, instr = good;
    ebm_region region = {.n_in = 1,
                         .n_instr = 1,
                         .n_out = 1,
                         .n_reg = 2,
                         .instr = &instr,
                         .out_reg = {1},
                         .reg_dtype = {EBM_F32, EBM_F32, EBM_F32}};
    ebm_kernel_args args = {
        .op = EBM_OP_REGION, .n_in = 1, .n_out = 1, .in = &in, .out = &out, .region = &region};
    const ebm_device *cpu = ebm_device_cpu();
    CHECK_OK(cpu->run(cpu, &args));
    instr.b = 9; /* no such register */
    CHECK_STATUS(cpu->run(cpu, &args), EBM_INTERNAL);
    instr = good;
    instr.d = 0; /* an input */
    CHECK_STATUS(cpu->run(cpu, &args), EBM_INTERNAL);
    instr = good;
    instr.a = 1; /* not written yet */
    CHECK_STATUS(cpu->run(cpu, &args), EBM_INTERNAL);
    instr = good;
    region.reg_dtype[1] = EBM_I32; /* not the type of the result */
    CHECK_STATUS(cpu->run(cpu, &args), EBM_INTERNAL);
    region.reg_dtype[1] = EBM_F32;
    in.shape[0] = 7; /* not the space */
    CHECK_STATUS(cpu->run(cpu, &args), EBM_INTERNAL);
    in.shape[0] = 8;
    instr.op = EBM_OP_matmul;
    CHECK_STATUS(cpu->run(cpu, &args), EBM_UNSUPPORTED);
}
