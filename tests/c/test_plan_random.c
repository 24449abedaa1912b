/* test_plan_random.c - random graphs, planned against node by node.
 *
 * Seeds are fixed.  PLAN_FUZZ=n in the environment runs n of them and names each, PLAN_FUZZ_FROM=s
 * begins with s. */
#define _GNU_SOURCE
#include "plan_check.h"

#include <stdlib.h>

enum { MAX_VALUES = 400, MAX_ELEMENTS = 3000 };

typedef struct maker {
    uint64_t seed;
    ebm_graph *g;
    const struct maker *outer;
    ebm_ref value[MAX_VALUES];
    int32_t n, purpose;
} maker;

static int pick(maker *m, int n)
{
    return (int)test_below(&m->seed, n);
}

static void keep(maker *m, ebm_ref ref)
{
    CHECK_OK(ebm_graph_status(m->g));
    ebm_shape shape = ebm_ref_shape(m->g, ref);
    if (m->n < MAX_VALUES && ebm_shape_size(&shape) <= MAX_ELEMENTS) m->value[m->n++] = ref;
}

/* A value, mostly a late one. */
static ebm_ref any(maker *m)
{
    int back = pick(m, 3) ? pick(m, m->n < 8 ? m->n : 8) : pick(m, m->n);
    return m->value[m->n - 1 - back];
}

/* A value of the dtype, made from another if need be. */
static ebm_ref any_of(maker *m, ebm_dtype dtype)
{
    for (int turn = 0; turn < 8; turn++) {
        ebm_ref x = any(m);
        if (ebm_ref_dtype(m->g, x) == dtype) return x;
    }
    return ebm_cast(m->g, any(m), dtype);
}

static ebm_dtype any_float(maker *m)
{
    return pick(m, 4) ? EBM_F32 : EBM_F64;
}

/* A value of this dtype and shape: one that is there, or a scalar spread out. */
static ebm_ref any_like(maker *m, ebm_dtype dtype, const ebm_shape *shape)
{
    for (int turn = 0; turn < 6; turn++) {
        ebm_ref x = any(m);
        ebm_shape other = ebm_ref_shape(m->g, x), joint;
        if (ebm_shape_broadcast(&joint, &other, shape, "") != EBM_OK) continue;
        if (!ebm_shape_equal(&joint, shape)) continue;
        return ebm_broadcast_to(m->g, ebm_cast(m->g, x, dtype), shape);
    }
    ebm_ref x = any_of(m, dtype);
    ebm_shape own = ebm_ref_shape(m->g, x);
    if (ebm_shape_size(&own) == 0) return ebm_full(m->g, dtype, shape, pick(m, 3));
    ebm_shape one = EBM_SCALAR;
    int64_t start[EBM_MAX_RANK], step[EBM_MAX_RANK], count[EBM_MAX_RANK];
    for (int k = 0; k < own.rank; k++)
        start[k] = test_below(&m->seed, own.dim[k]), step[k] = 1, count[k] = 1;
    return ebm_broadcast_to(m->g, ebm_reshape(m->g, ebm_slice(m->g, x, start, step, count), &one),
                            shape);
}

static void make_unary(maker *m)
{
    ebm_ref x = any_of(m, any_float(m));
    switch (pick(m, 14)) {
    case 0: keep(m, ebm_neg(m->g, x)); break;
    case 1: keep(m, ebm_exp(m->g, ebm_neg(m->g, ebm_abs(m->g, x)))); break;
    case 2: keep(m, ebm_tanh(m->g, x)); break;
    case 3: keep(m, ebm_sigmoid(m->g, x)); break;
    case 4: keep(m, ebm_square(m->g, ebm_sin(m->g, x))); break;
    case 5: keep(m, ebm_sqrt(m->g, ebm_abs(m->g, x))); break;
    case 6: keep(m, ebm_scale(m->g, x, 0.25 * pick(m, 7))); break;
    case 7: keep(m, ebm_shift(m->g, x, pick(m, 5))); break;
    case 8: keep(m, ebm_softplus(m->g, x)); break;
    case 9: keep(m, ebm_floor(m->g, x)); break;
    case 10: keep(m, ebm_cast(m->g, x, (ebm_dtype)pick(m, EBM_DTYPE_COUNT))); break;
    case 11: keep(m, ebm_stop(m->g, x)); break;
    case 12: keep(m, ebm_mark(m->g, x)); break;
    default: keep(m, ebm_isfinite(m->g, x)); break;
    }
}

static void make_binary(maker *m)
{
    ebm_dtype dtype = pick(m, 3) ? any_float(m) : EBM_I32;
    ebm_ref x = any_of(m, dtype);
    ebm_shape shape = ebm_ref_shape(m->g, x);
    ebm_ref y = any_like(m, dtype, &shape);
    switch (pick(m, 10)) {
    case 0: keep(m, ebm_add(m->g, x, y)); break;
    case 1: keep(m, ebm_sub(m->g, y, x)); break;
    case 2: keep(m, ebm_mul(m->g, x, y)); break;
    case 3: keep(m, ebm_maximum(m->g, x, y)); break;
    case 4: keep(m, ebm_minimum(m->g, x, y)); break;
    case 5: keep(m, ebm_less(m->g, x, y)); break;
    case 6: keep(m, ebm_equal(m->g, x, y)); break;
    case 7:
        keep(m, ebm_logical_or(m->g, any_like(m, EBM_BOOL, &shape), ebm_less_equal(m->g, x, y)));
        break;
    default: keep(m, ebm_select(m->g, any_like(m, EBM_BOOL, &shape), x, y)); break;
    }
}

static void make_view(maker *m)
{
    ebm_ref x = any(m);
    ebm_shape shape = ebm_ref_shape(m->g, x), to = shape;
    int64_t a[EBM_MAX_RANK], b[EBM_MAX_RANK], c[EBM_MAX_RANK];
    switch (pick(m, 5)) {
    case 0:
        for (int k = 0; k < shape.rank; k++) a[k] = k;
        for (int k = shape.rank - 1; k > 0; k--) {
            int other = pick(m, k + 1);
            int64_t axis = a[k];
            a[k] = a[other];
            a[other] = axis;
        }
        keep(m, ebm_permute(m->g, x, a));
        break;
    case 1:
        for (int k = 0; k < shape.rank; k++) {
            bool back = pick(m, 3) == 0;
            int64_t step = 1 + pick(m, 2), most = (shape.dim[k] + step - 1) / step;
            c[k] = most > 0 ? most - test_below(&m->seed, most < 2 ? 1 : 2) : 0;
            b[k] = back ? -step : step;
            a[k] = c[k] == 0 ? 0 : back ? shape.dim[k] - 1 : 0;
        }
        keep(m, ebm_slice(m->g, x, a, b, c));
        break;
    case 2: /* a new axis in front, or in the middle */
        if (shape.rank >= 4) break;
        to.rank++;
        for (int k = shape.rank, at = pick(m, shape.rank + 1); k >= 0; k--) {
            to.dim[k] = k == at ? 1 + pick(m, 3) : shape.dim[k > at ? k - 1 : k];
            if (k != at) a[k > at ? k - 1 : k] = k;
        }
        keep(m, ebm_broadcast_axes(m->g, x, &to, a));
        break;
    case 3: /* two axes into one */
        if (shape.rank < 2) break;
        to.rank--;
        to.dim[0] = shape.dim[0] * shape.dim[1];
        for (int k = 1; k < to.rank; k++) to.dim[k] = shape.dim[k + 1];
        keep(m, ebm_reshape(m->g, x, &to));
        break;
    default: /* one axis into two */
        if (shape.rank < 1 || shape.rank >= 5 || shape.dim[shape.rank - 1] % 2) break;
        to.rank++;
        to.dim[shape.rank - 1] = shape.dim[shape.rank - 1] / 2;
        to.dim[shape.rank] = 2;
        keep(m, ebm_reshape(m->g, x, &to));
    }
}

static void make_reduction(maker *m)
{
    ebm_ref x = any_of(m, pick(m, 4) ? any_float(m) : EBM_I32);
    ebm_shape shape = ebm_ref_shape(m->g, x);
    int64_t mask = pick(m, 1 << shape.rank);
    bool empty = ebm_shape_size(&shape) == 0;
    switch (pick(m, 4)) {
    case 0: keep(m, ebm_sum(m->g, x, mask, pick(m, 2))); break;
    case 1:
        if (!empty) keep(m, ebm_max(m->g, x, mask, pick(m, 2)));
        break;
    case 2:
        if (!empty && shape.rank > 0) keep(m, ebm_argmax(m->g, x, pick(m, shape.rank)));
        break;
    default:
        if (shape.rank > 0 && ebm_ref_dtype(m->g, x) != EBM_I32)
            keep(m, ebm_cumsum(m->g, x, pick(m, shape.rank), pick(m, 2)));
    }
}

static void make_product(maker *m)
{
    ebm_ref x = any_of(m, any_float(m));
    ebm_shape shape = ebm_ref_shape(m->g, x), other = shape;
    if (shape.rank < 2) return;
    if (pick(m, 2)) {
        keep(m, ebm_matmul(m->g, x, ebm_transpose(m->g, x)));
    } else {
        other.dim[shape.rank - 2] = shape.dim[shape.rank - 1];
        other.dim[shape.rank - 1] = 3;
        keep(m, ebm_matmul(m->g, x, any_like(m, ebm_ref_dtype(m->g, x), &other)));
    }
}

/* n numbers in [0, size). */
static ebm_ref any_index(maker *m, int64_t n, int64_t size)
{
    ebm_shape shape = EBM_DIMS(n);
    ebm_ref x = any_like(m, EBM_I32, &shape), bound = ebm_scalar(m->g, EBM_I32, (double)size);
    return ebm_mod(m->g, x, bound);
}

static void make_index(maker *m)
{
    ebm_ref x = any_of(m, any_float(m));
    ebm_shape shape = ebm_ref_shape(m->g, x), part = shape;
    if (shape.rank < 1 || ebm_shape_size(&shape) == 0) return;
    int axis = pick(m, shape.rank);
    int64_t n = 1 + pick(m, 4);
    ebm_ref both[] = {x, any_like(m, ebm_ref_dtype(m->g, x), &shape)};
    part.dim[0] = n;
    switch (pick(m, 5)) {
    case 0: keep(m, ebm_take(m->g, x, any_index(m, n, shape.dim[axis]), axis)); break;
    case 1: keep(m, ebm_scatter_add(m->g, x, any_index(m, shape.dim[axis], 5), axis, 5)); break;
    case 2: keep(m, ebm_concat(m->g, both, 2, axis)); break;
    case 3: {
        int64_t start[EBM_MAX_RANK], step[EBM_MAX_RANK];
        for (int k = 0; k < shape.rank; k++) {
            step[k] = 1 + pick(m, 2);
            start[k] = pick(m, 2);
            part.dim[k] = start[k] + step[k] * shape.dim[k] + pick(m, 2);
        }
        keep(m, ebm_pad(m->g, x, start, step, &part));
        break;
    }
    default:
        keep(m, ebm_put(m->g, x, any_index(m, n, shape.dim[0]),
                        any_like(m, ebm_ref_dtype(m->g, x), &part)));
    }
}

static ebm_ref root_key(const maker *m)
{
    return ebm_graph_input_ref(m->g, 0);
}

static void make_draw(maker *m)
{
    const maker *root = m;
    while (root->outer) root = root->outer;
    ebm_ref key = ebm_lift(m->g, root->g, root_key(root));
    ebm_shape scalar = EBM_SCALAR, shape = EBM_DIMS(2 + pick(m, 3), 3);
    if (pick(m, 2)) key = ebm_fold_in(m->g, key, any_like(m, EBM_I32, &scalar));
    int32_t purpose = m->purpose++;
    keep(m, pick(m, 2) ? ebm_normal(m->g, key, purpose, any_float(m), &shape)
                       : ebm_uniform(m->g, key, purpose, any_float(m), &shape));
}

static void grow(maker *m, int steps, int depth);

/* A loop over a few values, with rows of one of them if it has n of them, seeing all others. */
static void make_repeat(maker *m, int depth)
{
    maker inner = {.seed = test_random(&m->seed), .outer = m, .purpose = 100 * (depth + 1)};
    int n_carry = pick(m, 4), n_xs = 0;
    int64_t n = pick(m, 5);
    ebm_ref carry[4], xs[2], i, carry_in[4], xs_in[2], leave[4], ys[3], last[4], stacked[3];
    for (int k = 0; k < n_carry; k++) carry[k] = any(m);
    for (int turn = 0; turn < 6 && n_xs < 2; turn++) {
        ebm_ref x = any(m);
        ebm_shape shape = ebm_ref_shape(m->g, x);
        if (shape.rank == 0 || (n_xs > 0 && shape.dim[0] != n)) continue;
        n = shape.dim[0];
        xs[n_xs++] = x;
    }
    inner.g = ebm_repeat_open(m->g, n, carry, n_carry, xs, n_xs, &i, carry_in, xs_in);
    CHECK_OK(ebm_graph_status(m->g));
    for (int k = 0; k < 5; k++) keep(&inner, ebm_lift(inner.g, m->g, any(m)));
    for (int k = 0; k < n_xs; k++) keep(&inner, xs_in[k]);
    keep(&inner, i);
    for (int k = 0; k < n_carry; k++) keep(&inner, carry_in[k]);
    grow(&inner, 4 + pick(m, 8), depth + 1);
    for (int k = 0; k < n_carry; k++) {
        ebm_shape shape = ebm_ref_shape(inner.g, carry_in[k]);
        ebm_dtype dtype = ebm_ref_dtype(inner.g, carry_in[k]);
        leave[k] = any_like(&inner, dtype, &shape);
        for (int turn = 0; turn < 10; turn++) {
            ebm_ref x = inner.value[pick(&inner, inner.n)];
            ebm_shape other = ebm_ref_shape(inner.g, x);
            if (ebm_ref_dtype(inner.g, x) == dtype && ebm_shape_equal(&other, &shape))
                leave[k] = x;
        }
    }
    int n_ys = n_carry == 0 ? 1 + pick(m, 2) : pick(m, 3);
    for (int k = 0; k < n_ys; k++) ys[k] = any(&inner);
    ebm_repeat_close(inner.g, leave, ys, n_ys, pick(m, 2), last, stacked);
    for (int k = 0; k < n_carry; k++) keep(m, last[k]);
    for (int k = 0; k < n_ys; k++) keep(m, stacked[k]);
}

static void grow(maker *m, int steps, int depth)
{
    for (int k = 0; k < steps; k++) switch (pick(m, 12)) {
        case 0:
        case 1:
        case 2: make_unary(m); break;
        case 3:
        case 4: make_binary(m); break;
        case 5:
        case 6: make_view(m); break;
        case 7: make_reduction(m); break;
        case 8: make_product(m); break;
        case 9: make_index(m); break;
        case 10: make_draw(m); break;
        default:
            if (depth < 2) make_repeat(m, depth);
        }
}

/* Gradients of something in the float inputs, through the loops. */
static void make_gradients(maker *m, int32_t n_in)
{
    ebm_ref y = any_of(m, EBM_F32), wrt[MAX_PORTS], grads[MAX_PORTS];
    ebm_shape shape = ebm_ref_shape(m->g, y);
    if (ebm_shape_size(&shape) == 0) return;
    ebm_ref total = ebm_mean_all(m->g, ebm_tanh(m->g, y));
    int32_t n = 0;
    for (int32_t k = 1; k < n_in; k++) {
        ebm_ref input = ebm_graph_input_ref(m->g, k);
        if (ebm_dtype_is_float(ebm_ref_dtype(m->g, input))) wrt[n++] = input;
    }
    keep(m, total);
    ebm_vjp(m->g, &total, NULL, 1, wrt, n, grads);
    for (int32_t k = 0; k < n; k++) keep(m, grads[k]);
}

static void *random_data(uint64_t *seed, ebm_dtype dtype, const ebm_shape *shape)
{
    void *data = ebm__alloc(bytes_of(dtype, shape), 1);
    for (int64_t i = 0; i < ebm_shape_size(shape); i++) {
        double x = 4 * test_uniform(seed) - 2;
        switch (dtype) {
        case EBM_F32: ((float *)data)[i] = (float)x; break;
        case EBM_F64: ((double *)data)[i] = x; break;
        case EBM_I32: ((int32_t *)data)[i] = (int32_t)(10 * x); break;
        case EBM_U8: ((uint8_t *)data)[i] = (uint8_t)(100 + 50 * x); break;
        default: ((uint8_t *)data)[i] = x > 0;
        }
    }
    return data;
}

/* Outputs of random values, some of them over inputs of their kind. */
static int32_t choose_outputs(maker *m, ebm_ref *out, int32_t *alias)
{
    int32_t n = 1 + pick(m, 7);
    bool taken[MAX_PORTS] = {false};
    for (int32_t k = 0; k < n; k++) {
        out[k] = pick(m, 6) ? any(m) : m->value[pick(m, m->n)];
        alias[k] = -1;
    }
    for (int32_t j = 1; j < ebm_graph_n_inputs(m->g) && pick(m, 5); j++) {
        ebm_ref input = ebm_graph_input_ref(m->g, j);
        ebm_shape shape = ebm_ref_shape(m->g, input);
        ebm_dtype dtype = ebm_ref_dtype(m->g, input);
        if (pick(m, 2)) { /* an output that fits */
            out[n] = any_like(m, dtype, &shape);
            for (int turn = 0; turn < 20; turn++) {
                ebm_ref x = m->value[pick(m, m->n)];
                ebm_shape other = ebm_ref_shape(m->g, x);
                if (ebm_ref_dtype(m->g, x) == dtype && ebm_shape_equal(&other, &shape))
                    out[n] = x;
            }
            alias[n++] = -1;
        }
        for (int32_t k = 0; k < n && !taken[j]; k++) {
            ebm_shape other = ebm_ref_shape(m->g, out[k]);
            if (alias[k] >= 0 || ebm_ref_dtype(m->g, out[k]) != dtype) continue;
            if (!ebm_shape_equal(&other, &shape)) continue;
            alias[k] = j;
            taken[j] = true;
        }
    }
    return n;
}

static void fuzz(uint64_t seed)
{
    static const ebm_dtype dtypes[] = {EBM_F32, EBM_F32, EBM_F32,  EBM_F64,
                                       EBM_I32, EBM_I32, EBM_BOOL, EBM_U8};
    maker m = {.seed = seed, .g = new_graph()};
    ebm_shape shapes[] = {EBM_SCALAR,        EBM_DIMS(3),    EBM_DIMS(4, 3), EBM_DIMS(4, 3),
                          EBM_DIMS(2, 4, 3), EBM_DIMS(4, 4), EBM_DIMS(5, 0), EBM_DIMS(1, 6)};
    void *in[MAX_PORTS];
    ebm_shape two = EBM_DIMS(2);
    ebm_graph_input(m.g, "key", EBM_I32, &two);
    in[0] = random_data(&m.seed, EBM_I32, &two);
    int32_t n_in = 3 + pick(&m, 6);
    for (int32_t k = 1; k < n_in; k++) {
        ebm_dtype dtype = dtypes[pick(&m, 8)];
        ebm_shape *shape = &shapes[pick(&m, pick(&m, 4) ? 6 : 8)];
        char name[16];
        snprintf(name, sizeof name, "x%d", k);
        keep(&m, ebm_graph_input(m.g, name, dtype, shape));
        in[k] = random_data(&m.seed, dtype, shape);
    }
    grow(&m, 5 + pick(&m, 60), 0);
    if (pick(&m, 3) == 0) make_gradients(&m, n_in);
    ebm_ref out[MAX_PORTS];
    int32_t alias[MAX_PORTS], n_out = choose_outputs(&m, out, alias);
    CHECK_OK(ebm_graph_status(m.g));
    check_planned(m.g, out, n_out, alias, in);
    check_planned(m.g, out, n_out, NULL, in);
    free_all(in, n_in);
    ebm_graph_free(m.g);
}

TEST(plan_random_graphs)
{
    const char *more = getenv("PLAN_FUZZ"), *from = getenv("PLAN_FUZZ_FROM");
    int64_t n = more ? atoll(more) : 400, first = from ? atoll(from) : 0;
    for (int64_t seed = first; seed < first + n; seed++) {
        if (more) printf("seed %lld\n", (long long)seed), fflush(stdout);
        fuzz((uint64_t)seed);
    }
}
