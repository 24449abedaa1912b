/* random_graph.c - see random_graph.h. */
#define _GNU_SOURCE
#include "random_graph.h"

/* Loops in loops stack a value, and its derivatives stack it again. */
enum { MAX_VALUES = 400, MAX_NODES = 3000, MAX_ORDER = 3, MOST_AXES = 5 };

typedef struct maker {
    const random_options *options;
    uint64_t seed;
    ebm_graph *g;
    struct maker *outer;
    ebm_ref value[MAX_VALUES];
    int32_t order[MAX_VALUES]; /* of the derivative that the value is */
    int64_t most;              /* elements of a value */
    int32_t n, purpose, derivatives, top_order;
} maker;

static int pick(maker *m, int n)
{
    return (int)test_below(&m->seed, n);
}

static bool is_float(const maker *m, ebm_ref x)
{
    return ebm_dtype_is_float(ebm_ref_dtype(m->g, x));
}

static void keep_order(maker *m, ebm_ref ref, int32_t order)
{
    CHECK_OK(ebm_graph_status(m->g));
    if (m->options->tame && is_float(m, ref) && pick(m, 3) == 0) ref = ebm_tanh(m->g, ref);
    ebm_shape shape = ebm_ref_shape(m->g, ref);
    if (m->n == MAX_VALUES || shape.rank > MOST_AXES || ebm_shape_size(&shape) > m->most)
        return;
    m->order[m->n] = order;
    m->value[m->n++] = ref;
    if (order > m->top_order) m->top_order = order;
}

static void keep(maker *m, ebm_ref ref)
{
    keep_order(m, ref, 0);
}

static maker *root_of(maker *m)
{
    while (m->outer) m = m->outer;
    return m;
}

/* ---- operands ---------------------------------------------------------------------------- */

/* The number of a value, mostly a late one. */
static int any_at(maker *m)
{
    int back = pick(m, 3) ? pick(m, m->n < 8 ? m->n : 8) : pick(m, m->n);
    return m->n - 1 - back;
}

static ebm_ref any(maker *m)
{
    return m->value[any_at(m)];
}

/* Without kinks a float may not become an integer, whose steps would be its own. */
static bool may_cast(const maker *m, ebm_ref x, ebm_dtype dtype)
{
    return !m->options->smooth || !is_float(m, x) || ebm_dtype_is_float(dtype);
}

/* An integer that becomes a float may be of any size. */
static ebm_ref cast(maker *m, ebm_ref x, ebm_dtype dtype)
{
    ebm_ref y = ebm_cast(m->g, x, dtype);
    bool tames = m->options->tame && !is_float(m, x) && ebm_dtype_is_float(dtype);
    return tames ? ebm_tanh(m->g, ebm_scale(m->g, y, 0.01)) : y;
}

/* A value of the dtype, made from another if need be. */
static ebm_ref any_of(maker *m, ebm_dtype dtype)
{
    ebm_ref x = EBM_POISON;
    for (int turn = 0; turn < 8; turn++) {
        x = any(m);
        if (ebm_ref_dtype(m->g, x) == dtype) return x;
    }
    if (may_cast(m, x, dtype)) return cast(m, x, dtype);
    ebm_shape shape = ebm_ref_shape(m->g, x);
    return ebm_full(m->g, dtype, &shape, pick(m, 2));
}

static ebm_dtype any_float(maker *m)
{
    return pick(m, 4) && !m->options->tame ? EBM_F32 : EBM_F64;
}

/* A value of this dtype and shape: one that is there, or the numbers of one in turn. */
static ebm_ref any_like(maker *m, ebm_dtype dtype, const ebm_shape *shape)
{
    for (int turn = 0; turn < 6; turn++) {
        ebm_ref x = any(m);
        ebm_shape other = ebm_ref_shape(m->g, x), joint;
        if (!may_cast(m, x, dtype)) continue;
        if (ebm_shape_broadcast(&joint, &other, shape, "") != EBM_OK) continue;
        if (!ebm_shape_equal(&joint, shape)) continue;
        return ebm_broadcast_to(m->g, cast(m, x, dtype), shape);
    }
    ebm_ref x = any_of(m, dtype);
    ebm_shape own = ebm_ref_shape(m->g, x);
    int64_t n = ebm_shape_size(&own), wanted = ebm_shape_size(shape);
    if (n == 0 || wanted == 0) return ebm_full(m->g, dtype, shape, pick(m, 3));
    ebm_shape flat = EBM_DIMS(n), all = EBM_DIMS(wanted);
    ebm_ref turns = ebm_mod(m->g, ebm_iota(m->g, EBM_I32, &all, 0),
                            ebm_scalar(m->g, EBM_I32, (double)n));
    return ebm_reshape(m->g, ebm_take(m->g, ebm_reshape(m->g, x, &flat), turns, 0), shape);
}

/* n numbers in [0, size). */
static ebm_ref any_index(maker *m, const ebm_shape *shape, int64_t size)
{
    ebm_ref x = any_like(m, EBM_I32, shape), bound = ebm_scalar(m->g, EBM_I32, (double)size);
    return ebm_mod(m->g, x, bound);
}

/* ---- elementwise ------------------------------------------------------------------------- */

static bool is_smooth(ebm_op op)
{
    switch (op) {
    case EBM_OP_neg:
    case EBM_OP_exp:
    case EBM_OP_log:
    case EBM_OP_sqrt:
    case EBM_OP_sin:
    case EBM_OP_cos:
    case EBM_OP_tanh:
    case EBM_OP_sigmoid:
    case EBM_OP_softplus:
    case EBM_OP_erf:
    case EBM_OP_log1p:
    case EBM_OP_expm1:
    case EBM_OP_square:
    case EBM_OP_recip:
    case EBM_OP_add:
    case EBM_OP_sub:
    case EBM_OP_mul:
    case EBM_OP_div:
    case EBM_OP_pow:
    case EBM_OP_atan2: return true;
    default: return false;
    }
}

/* Of moderate size and slope everywhere. */
static bool is_harmless(ebm_op op)
{
    switch (op) {
    case EBM_OP_neg:
    case EBM_OP_sin:
    case EBM_OP_cos:
    case EBM_OP_tanh:
    case EBM_OP_sigmoid:
    case EBM_OP_softplus:
    case EBM_OP_erf:
    case EBM_OP_abs:
    case EBM_OP_square:
    case EBM_OP_add:
    case EBM_OP_sub:
    case EBM_OP_mul:
    case EBM_OP_maximum:
    case EBM_OP_minimum: return true;
    default: return ebm_op_get(op)->kind == EBM_KIND_NON;
    }
}

/* In [0.2, 0.8], where every function of the list is defined. */
static ebm_ref into_domain(maker *m, ebm_ref x)
{
    return ebm_shift(m->g, ebm_scale(m->g, ebm_tanh(m->g, x), 0.3), 0.5);
}

/* Any row of the family on any type; what the row does not take is no value. */
static void make_elementwise(maker *m)
{
    ebm_op op;
    const ebm_op_info *info;
    do {
        op = (ebm_op)pick(m, EBM_OP_COUNT);
        info = ebm_op_get(op);
    } while (info->family != EBM_FAMILY_ELEMENTWISE || op == EBM_OP_select ||
             op == EBM_OP_cast || (m->options->smooth && !is_smooth(op)));
    ebm_dtype dtype = pick(m, 4) ? any_float(m) : pick(m, 3) ? EBM_I32 : EBM_BOOL;
    if (info->family == EBM_FAMILY_ELEMENTWISE && info->kind == EBM_KIND_NON && pick(m, 2))
        dtype = pick(m, 2) ? EBM_I32 : EBM_BOOL;
    ebm_ref in[2] = {any_of(m, dtype)};
    ebm_shape shape = ebm_ref_shape(m->g, in[0]);
    if (info->n_in == 2) in[1] = any_like(m, dtype, &shape);
    for (int i = 0; i < info->n_in; i++)
        if (m->options->tame && is_float(m, in[i]) && !is_harmless(op))
            in[i] = into_domain(m, in[i]);
    ebm_ref y = ebm__push(m->g, op, in, info->n_in, NULL, 0);
    if (ebm_graph_status(m->g) == EBM_DTYPE)
        ebm_graph_clear(m->g);
    else
        keep(m, y);
}

static void make_choice(maker *m)
{
    ebm_dtype any_dtype = (ebm_dtype)pick(m, EBM_DTYPE_COUNT);
    if (m->options->tame && any_dtype == EBM_F32) any_dtype = EBM_F64;
    ebm_ref x = any(m);
    ebm_shape shape = ebm_ref_shape(m->g, x);
    ebm_dtype dtype = ebm_ref_dtype(m->g, x);
    switch (pick(m, 5)) {
    case 0:
        if (may_cast(m, x, any_dtype)) keep(m, cast(m, x, any_dtype));
        break;
    case 1: keep(m, m->options->smooth ? x : ebm_stop(m->g, x)); break;
    case 2: keep(m, ebm_mark(m->g, x)); break;
    case 3:
        x = any_of(m, any_float(m));
        keep(m, ebm_shift(m->g, ebm_scale(m->g, x, 0.25 * pick(m, 7)), pick(m, 5)));
        break;
    default:
        keep(m, ebm_select(m->g, any_like(m, EBM_BOOL, &shape), x, any_like(m, dtype, &shape)));
    }
}

/* ---- movement --------------------------------------------------------------------------- */

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
    bool steps = ebm_shape_size(&shape) == 0 || m->options->smooth;
    switch (pick(m, 4)) {
    case 0: keep(m, ebm_sum(m->g, x, mask, pick(m, 2))); break;
    case 1:
        if (!steps) keep(m, ebm_max(m->g, x, mask, pick(m, 2)));
        break;
    case 2:
        if (!steps && shape.rank > 0) keep(m, ebm_argmax(m->g, x, pick(m, shape.rank)));
        break;
    default:
        if (shape.rank > 0) keep(m, ebm_cumsum(m->g, x, pick(m, shape.rank), pick(m, 2)));
    }
}

/* ---- index ------------------------------------------------------------------------------- */

static void make_index(maker *m)
{
    ebm_ref x = any_of(m, any_float(m));
    ebm_dtype dtype = ebm_ref_dtype(m->g, x);
    ebm_shape shape = ebm_ref_shape(m->g, x), part = shape;
    if (shape.rank < 1 || ebm_shape_size(&shape) == 0) return;
    int axis = pick(m, shape.rank);
    ebm_shape n = EBM_DIMS(pick(m, 6)), along = EBM_DIMS(shape.dim[axis]);
    ebm_ref both[] = {x, any_like(m, dtype, &shape)};
    int64_t start[EBM_MAX_RANK], step[EBM_MAX_RANK];
    switch (pick(m, 5)) {
    case 0: keep(m, ebm_take(m->g, x, any_index(m, &n, shape.dim[axis]), axis)); break;
    case 1: keep(m, ebm_scatter_add(m->g, x, any_index(m, &along, 5), axis, 5)); break;
    case 2: keep(m, ebm_concat(m->g, both, 2, axis)); break;
    case 3:
        for (int k = 0; k < shape.rank; k++) {
            bool back = pick(m, 3) == 0;
            int64_t size = 1 + pick(m, 2), before = pick(m, 2);
            part.dim[k] = before + size * shape.dim[k] + pick(m, 2);
            step[k] = back ? -size : size;
            start[k] = back ? before + size * (shape.dim[k] - 1) : before;
        }
        keep(m, ebm_pad(m->g, x, start, step, &part));
        break;
    default:
        part.dim[0] = n.dim[0];
        keep(m, ebm_put(m->g, x, any_index(m, &n, shape.dim[0]), any_like(m, dtype, &part)));
    }
}

static void make_window(maker *m)
{
    ebm_window w = {1 + pick(m, 3), 1 + pick(m, 3), 1 + pick(m, 2), 1 + pick(m, 2), 0, 0};
    if (w.kh > 1) w.ph = pick(m, 2);
    if (w.kw > 1) w.pw = pick(m, 2);
    ebm_shape image = EBM_DIMS(pick(m, 3), 3 + pick(m, 3), 3 + pick(m, 3), 1 + pick(m, 9)), small;
    ebm_dtype dtype = any_float(m);
    ebm_ref x = any_like(m, dtype, &image), places = ebm_window_argmax(m->g, x, &w);
    if (m->options->smooth || pick(m, 2)) {
        small = ebm_ref_shape(m->g, places);
        places = any_index(m, &small, image.dim[1] * image.dim[2]);
    }
    ebm_ref taken = ebm_window_take(m->g, x, places);
    keep(m, taken);
    if (pick(m, 2)) keep(m, ebm_window_put(m->g, taken, places, image.dim[1], image.dim[2]));
    if (!m->options->smooth) keep(m, places);
}

static void make_iota(maker *m)
{
    ebm_shape shape = EBM_DIMS(1 + pick(m, 4), pick(m, 4));
    keep(m, ebm_iota(m->g, pick(m, 2) ? EBM_I32 : any_float(m), &shape, pick(m, 2)));
}

/* ---- products ---------------------------------------------------------------------------- */

static void make_matmul(maker *m)
{
    ebm_ref x = any_of(m, any_float(m));
    ebm_shape shape = ebm_ref_shape(m->g, x), other = shape;
    if (shape.rank < 2) return;
    if (pick(m, 3) == 0) {
        keep(m, ebm_matmul(m->g, x, ebm_transpose(m->g, x)));
        return;
    }
    bool ta = pick(m, 2), tb = pick(m, 2);
    int64_t *sides = other.dim + shape.rank - 2;
    int64_t inner = shape.dim[shape.rank - (ta ? 2 : 1)], columns = pick(m, 20);
    sides[0] = tb ? columns : inner;
    sides[1] = tb ? inner : columns;
    ebm_ref y = any_like(m, ebm_ref_dtype(m->g, x), &other);
    keep(m, ebm_matmul_ex(m->g, x, y, ta, tb));
}

static void make_conv(maker *m)
{
    int64_t groups = 1 + pick(m, 2), in = pick(m, 4), kh = 1 + pick(m, 3), kw = 1 + pick(m, 3);
    ebm_conv_geometry geometry = {.groups = groups};
    geometry.stride_h = 1 + pick(m, 2);
    geometry.stride_w = 1 + pick(m, 2);
    geometry.pad_top = pick(m, 3);
    geometry.pad_bottom = pick(m, 3);
    geometry.pad_left = pick(m, 2);
    geometry.pad_right = pick(m, 2);
    geometry.dilation_h = 1 + pick(m, 2);
    geometry.dilation_w = 1 + pick(m, 2);
    ebm_shape image = EBM_DIMS(pick(m, 3), 5 + pick(m, 2), 5 + pick(m, 2), groups * in);
    ebm_shape kernel = EBM_DIMS(kh, kw, in, groups * (1 + pick(m, 9)));
    ebm_dtype dtype = any_float(m);
    ebm_ref x = any_like(m, dtype, &image), w = any_like(m, dtype, &kernel);
    ebm_ref y = ebm_conv(m->g, x, w, &geometry);
    ebm_shape result = ebm_ref_shape(m->g, y);
    ebm_ref q = any_like(m, dtype, &result);
    switch (pick(m, 3)) {
    case 0: keep(m, y); break;
    case 1: keep(m, ebm_conv_data(m->g, q, w, &geometry, image.dim[1], image.dim[2])); break;
    default: keep(m, ebm_conv_weight(m->g, x, q, &geometry, kh, kw));
    }
}

/* Far from singular: a a' / n + 2. */
static ebm_ref any_definite(maker *m, ebm_dtype dtype, int64_t n)
{
    ebm_shape square = EBM_DIMS(1 + pick(m, 2), n, n);
    ebm_ref a = ebm_tanh(m->g, any_like(m, dtype, &square));
    ebm_ref rows = ebm_iota(m->g, EBM_I32, &square, 1),
            columns = ebm_iota(m->g, EBM_I32, &square, 2);
    ebm_ref eye = ebm_cast(m->g, ebm_equal(m->g, rows, columns), dtype);
    ebm_ref product = ebm_matmul(m->g, a, ebm_transpose(m->g, a));
    return ebm_add(m->g, ebm_scale(m->g, product, 0.2), ebm_scale(m->g, eye, 2));
}

static void make_linalg(maker *m)
{
    ebm_dtype dtype = any_float(m);
    int64_t n = pick(m, 6);
    ebm_ref a = any_definite(m, dtype, n);
    ebm_shape right = ebm_ref_shape(m->g, a);
    right.dim[2] = pick(m, 4);
    ebm_ref b = any_like(m, dtype, &right);
    switch (pick(m, 5)) {
    case 0: keep(m, ebm_cholesky(m->g, a)); break;
    case 1: keep(m, ebm_solve(m->g, a, b)); break;
    case 2: keep(m, ebm_solve_triangular(m->g, a, b, pick(m, 2), pick(m, 2))); break;
    case 3: keep(m, ebm_slogdet(m->g, a)); break;
    default: /* has no derivative */
        if (!m->options->smooth) keep(m, ebm_eigh(m->g, ebm_stop(m->g, a)));
    }
}

static void make_order(maker *m)
{
    ebm_ref x = any(m);
    int rank = ebm_ref_shape(m->g, x).rank;
    if (rank > 0 && !m->options->smooth) keep(m, ebm_argsort(m->g, x, pick(m, rank)));
}

/* ---- draws ------------------------------------------------------------------------------- */

static void make_draw(maker *m)
{
    const maker *root = root_of(m);
    ebm_ref key = ebm_lift(m->g, root->g, ebm_graph_input_ref(root->g, 0));
    ebm_shape scalar = EBM_SCALAR, shape = EBM_DIMS(pick(m, 5), 3);
    if (pick(m, 2)) key = ebm_fold_in(m->g, key, any_like(m, EBM_I32, &scalar));
    int32_t purpose = m->purpose++;
    switch (pick(m, 4)) {
    case 0: keep(m, ebm_normal(m->g, key, purpose, any_float(m), &shape)); break;
    case 1: keep(m, ebm_uniform(m->g, key, purpose, any_float(m), &shape)); break;
    case 2: keep(m, ebm_random_bits(m->g, key, purpose, &shape)); break;
    default: keep(m, ebm_randint(m->g, key, purpose, 1 + pick(m, 9), &shape));
    }
}

/* ---- derivatives ------------------------------------------------------------------------- */

/* The number of a float value, one that is a derivative itself if there is one; -1: none. */
static int to_differentiate(maker *m)
{
    int best = -1;
    for (int turn = 0; turn < 12; turn++) {
        int at = pick(m, m->n);
        if (!is_float(m, m->value[at]) || m->order[at] == MAX_ORDER) continue;
        if (best < 0 || m->order[at] > m->order[best]) best = at;
    }
    return best;
}

/* Forward or backward, in up to three values that came early. */
static void make_derivative(maker *m)
{
    int at = to_differentiate(m), n = 0, early = m->n < 10 ? m->n : 10;
    ebm_ref wrt[3], tangent[3], grad[3];
    if (at < 0 || root_of(m)->derivatives == 0 || ebm_graph_count(m->g) > MAX_NODES) return;
    for (int turn = 0; turn < 8 && n < 3; turn++) {
        ebm_ref x = m->value[pick(m, early)];
        bool old = !is_float(m, x);
        for (int k = 0; k < n; k++) old |= wrt[k] == x;
        if (!old) wrt[n++] = x;
    }
    if (n == 0) return;
    root_of(m)->derivatives--;
    ebm_ref y = m->value[at], ct = EBM_POISON, dy;
    if (pick(m, 2)) {
        for (int k = 0; k < n; k++) {
            ebm_shape shape = ebm_ref_shape(m->g, wrt[k]);
            tangent[k] = any_like(m, ebm_ref_dtype(m->g, wrt[k]), &shape);
        }
        ebm_jvp(m->g, &y, 1, wrt, tangent, n, &dy);
        keep_order(m, dy, m->order[at] + 1);
        return;
    }
    ebm_shape shape = ebm_ref_shape(m->g, y);
    if (pick(m, 2)) ct = any_like(m, ebm_ref_dtype(m->g, y), &shape);
    ebm_vjp(m->g, &y, ct == EBM_POISON ? NULL : &ct, 1, wrt, n, grad);
    for (int k = 0; k < n; k++) keep_order(m, grad[k], m->order[at] + 1);
}

/* ---- loops ------------------------------------------------------------------------------- */

static void grow(maker *m, int steps, int depth);

/* Values that leave a step for the carries: of their kinds, changed if there is one. */
static void choose_leaves(maker *inner, const ebm_ref *carry_in, int n_carry, ebm_ref *leave)
{
    for (int k = 0; k < n_carry; k++) {
        ebm_shape shape = ebm_ref_shape(inner->g, carry_in[k]);
        ebm_dtype dtype = ebm_ref_dtype(inner->g, carry_in[k]);
        leave[k] = any_like(inner, dtype, &shape);
        for (int turn = 0; turn < 10; turn++) {
            ebm_ref x = inner->value[pick(inner, inner->n)];
            ebm_shape other = ebm_ref_shape(inner->g, x);
            if (ebm_ref_dtype(inner->g, x) == dtype && ebm_shape_equal(&other, &shape))
                leave[k] = x;
        }
    }
}

/* A loop over a few values, with rows of one of them if it has n of them, seeing all others. */
static void make_repeat(maker *m, int depth)
{
    maker inner = {.options = m->options,
                   .seed = test_random(&m->seed),
                   .outer = m,
                   .most = m->most,
                   .purpose = 100 * (depth + 1)};
    int n_carry = pick(m, 4), n_xs = 0;
    int64_t n = pick(m, 5);
    ebm_ref carry[4], xs[2], i, carry_in[4], xs_in[2], leave[4], ys[3], last[4], stacked[3];
    for (int k = 0; k < n_carry; k++) carry[k] = any(m);
    for (int turn = 0; turn < 6 && n_xs < 2; turn++) {
        ebm_ref x = any(m);
        ebm_shape shape = ebm_ref_shape(m->g, x);
        if (shape.rank == 0 || shape.dim[0] > 8 || (n_xs > 0 && shape.dim[0] != n)) continue;
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
    choose_leaves(&inner, carry_in, n_carry, leave);
    int n_ys = n_carry == 0 ? 1 + pick(m, 2) : pick(m, 3);
    for (int k = 0; k < n_ys; k++) ys[k] = any(&inner);
    ebm_repeat_close(inner.g, leave, ys, n_ys, pick(m, 2), last, stacked);
    for (int k = 0; k < n_carry; k++) keep(m, last[k]);
    for (int k = 0; k < n_ys; k++) keep(m, stacked[k]);
    if (inner.top_order > m->top_order) m->top_order = inner.top_order;
}

/* ---- programs ---------------------------------------------------------------------------- */

static void grow(maker *m, int steps, int depth)
{
    for (int k = 0; k < steps; k++) switch (pick(m, 21)) {
        case 0:
        case 1:
        case 2:
        case 3:
        case 4:
        case 5: make_elementwise(m); break;
        case 6:
        case 7: make_choice(m); break;
        case 8:
        case 9: make_view(m); break;
        case 10: make_reduction(m); break;
        case 11: make_matmul(m); break;
        case 12: make_index(m); break;
        case 13: make_draw(m); break;
        case 14: make_conv(m); break;
        case 15: make_window(m); break;
        case 16: make_iota(m); break;
        case 17: make_derivative(m); break;
        case 18: make_linalg(m); break;
        case 19: make_order(m); break;
        default:
            if (depth < 2) make_repeat(m, depth);
        }
}

void *random_data(uint64_t *seed, ebm_dtype dtype, const ebm_shape *shape)
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

/* Inputs of all kinds: empty ones, of one element, of many. */
static void add_inputs(maker *m, random_program *p, bool large)
{
    static const ebm_dtype dtypes[] = {EBM_F32, EBM_F32, EBM_F32,  EBM_F64,
                                       EBM_I32, EBM_I32, EBM_BOOL, EBM_U8};
    ebm_shape shapes[] = {EBM_SCALAR,        EBM_DIMS(3),    EBM_DIMS(4, 3), EBM_DIMS(4, 3),
                          EBM_DIMS(2, 4, 3), EBM_DIMS(4, 4), EBM_DIMS(5, 0), EBM_DIMS(1, 6)};
    ebm_shape two = EBM_DIMS(2), vast = EBM_DIMS(200, 300);
    ebm_graph_input(m->g, "key", EBM_I32, &two);
    p->in[0] = random_data(&m->seed, EBM_I32, &two);
    p->n_in = 3 + pick(m, 6);
    for (int32_t k = 1; k < p->n_in; k++) {
        ebm_dtype dtype = k == 1 ? any_float(m) : dtypes[pick(m, 8)];
        if (m->options->tame && ebm_dtype_is_float(dtype)) dtype = EBM_F64;
        ebm_shape *shape = &shapes[pick(m, pick(m, 4) ? 6 : 8)];
        if (large && k < 4) shape = &vast;
        char name[16];
        snprintf(name, sizeof name, "x%d", k);
        keep(m, ebm_graph_input(m->g, name, dtype, shape));
        p->in[k] = random_data(&m->seed, dtype, shape);
    }
}

void random_program_make(random_program *program, const random_options *options)
{
    *program = (random_program){.g = new_graph()};
    maker m = {.options = options, .seed = options->seed, .g = program->g, .derivatives = 5};
    bool large = pick(&m, 500) == 0;
    m.most = large ? 100000 : 3000;
    add_inputs(&m, program, large);
    int steps = 5 + pick(&m, 60);
    if (large && steps > 20) steps = 20;
    grow(&m, steps < options->steps ? steps : options->steps, 0);
    program->n_out = choose_outputs(&m, program->out, program->alias);
    program->order = m.top_order;
    CHECK_OK(ebm_graph_status(m.g));
}

void random_program_free(random_program *program)
{
    free_all(program->in, program->n_in);
    ebm_graph_free(program->g);
}
