/* composite.c - functions made of ops: activations, softmax, normalisation, attention. */
#include <math.h>

#include "graph/rules.h"
#include "ops/ops.h"

/* ---- activations ------------------------------------------------------------------------------- */

/* Slopes are grafted on where the formula's own derivative would keep more than one array. */

/* y' = s + y (1 - s), y'' = s (1 - s) (2 + x (1 - 2 s)). */
ebm_ref ebm_swish(ebm_graph *g, ebm_ref x)
{
    ebm_ref s = ebm_sigmoid(g, x), y = ebm_mul(g, x, s);
    ebm_ref rest = ebm_sub(g, ebm_scalar_like(g, s, 1.0), s);
    ebm_ref slope = ebm_add(g, s, ebm_mul(g, y, rest));
    ebm_ref bend = ebm_shift(g, ebm_mul(g, x, ebm_sub(g, rest, s)), 2.0);
    ebm_ref second = ebm_mul(g, ebm_mul(g, s, rest), bend);
    return ebm_graft(g, y, x, ebm_graft(g, slope, x, second));
}

ebm_ref ebm_relu(ebm_graph *g, ebm_ref x)
{
    return ebm_maximum(g, x, ebm_scalar_like(g, x, 0.0));
}

ebm_ref ebm_leaky_relu(ebm_graph *g, ebm_ref x, double slope)
{
    ebm_ref one = ebm_full_like(g, x, 1.0), low = ebm_full_like(g, x, slope);
    ebm_ref positive = ebm_less(g, ebm_scalar_like(g, x, 0.0), x);
    ebm_ref y = ebm_select(g, positive, x, ebm_scale(g, x, slope));
    return ebm_graft(g, y, x, ebm_select(g, positive, one, low));
}

/* expm1 sees only x <= 0, so the side not taken cannot overflow. */
ebm_ref ebm_elu(ebm_graph *g, ebm_ref x, double alpha)
{
    ebm_ref zero = ebm_scalar_like(g, x, 0.0);
    ebm_ref below = ebm_scale(g, ebm_expm1(g, ebm_minimum(g, x, zero)), alpha);
    return ebm_select(g, ebm_less(g, zero, x), x, below);
}

ebm_ref ebm_gelu(ebm_graph *g, ebm_ref x)
{
    ebm_ref cdf = ebm_scale(g, ebm_shift(g, ebm_erf(g, ebm_scale(g, x, sqrt(0.5))), 1.0), 0.5);
    ebm_ref bell = ebm_exp(g, ebm_scale(g, ebm_square(g, x), -0.5));
    ebm_ref slope = ebm_add(g, cdf, ebm_mul(g, x, ebm_scale(g, bell, 0.3989422804014327)));
    return ebm_graft(g, ebm_mul(g, x, cdf), x, slope);
}

ebm_ref ebm_relu6(ebm_graph *g, ebm_ref x)
{
    return ebm_clip(g, x, 0.0, 6.0);
}

ebm_ref ebm_hard_tanh(ebm_graph *g, ebm_ref x)
{
    return ebm_clip(g, x, -1.0, 1.0);
}

/* The constants of Klambauer et al. 2017: mean 0 and variance 1 are kept. */
ebm_ref ebm_selu(ebm_graph *g, ebm_ref x)
{
    return ebm_scale(g, ebm_elu(g, x, 1.6732632423543772848), 1.0507009873554804934);
}

ebm_ref ebm_celu(ebm_graph *g, ebm_ref x, double alpha)
{
    if (!(alpha > 0))
        return ebm_graph_fail(g, EBM_VALUE, "celu: alpha: got %g, expected > 0", alpha);
    return ebm_scale(g, ebm_elu(g, ebm_scale(g, x, 1 / alpha), 1.0), alpha);
}

ebm_ref ebm_mish(ebm_graph *g, ebm_ref x)
{
    return ebm_mul(g, x, ebm_tanh(g, ebm_softplus(g, x)));
}

ebm_ref ebm_softsign(ebm_graph *g, ebm_ref x)
{
    return ebm_div(g, x, ebm_shift(g, ebm_abs(g, x), 1.0));
}

ebm_ref ebm_log_sigmoid(ebm_graph *g, ebm_ref x)
{
    return ebm_neg(g, ebm_softplus(g, ebm_neg(g, x)));
}

ebm_ref ebm_glu(ebm_graph *g, ebm_ref x, int axis)
{
    if (x <= EBM_POISON) return EBM_POISON;
    ebm_shape shape = ebm_ref_shape(g, x);
    int at = axis < 0 ? axis + shape.rank : axis;
    if (at < 0 || at >= shape.rank || shape.dim[at] % 2) {
        char text[128];
        return ebm_graph_fail(g, EBM_SHAPE, "glu: axis %d of %s: expected an even size", axis,
                              ebm_shape_text(&shape, text, sizeof text));
    }
    int64_t half = shape.dim[at] / 2;
    ebm_ref a = ebm_slice_axis(g, x, at, 0, half), b = ebm_slice_axis(g, x, at, half, half);
    return ebm_mul(g, a, ebm_sigmoid(g, b));
}

/* ---- softmax ----------------------------------------------------------------------------------- */

/* The shift by the maximum is a constant to derivatives; where it is infinite it is left out, so
 * that log(0 + 0) is -inf and not NaN. */
ebm_ref ebm_logsumexp(ebm_graph *g, ebm_ref x, int64_t axes, bool keepdims)
{
    ebm_ref top = ebm_stop(g, ebm_max(g, x, axes, true));
    ebm_ref shift = ebm_select(g, ebm_isfinite(g, top), top, ebm_scalar_like(g, x, 0.0));
    ebm_ref total = ebm_sum(g, ebm_exp(g, ebm_sub(g, x, shift)), axes, true);
    ebm_ref y = ebm_add(g, ebm_log(g, total), shift);
    if (keepdims || y <= EBM_POISON) return y;
    ebm_shape shape = EBM_SCALAR, full = ebm_ref_shape(g, x);
    for (int32_t i = 0; i < full.rank; i++)
        if (axes != EBM_ALL_AXES && !(axes >> i & 1)) shape.dim[shape.rank++] = full.dim[i];
    return ebm_reshape(g, y, &shape);
}

static int64_t bit_of_axis(ebm_graph *g, ebm_ref x, int axis)
{
    int at = axis < 0 ? axis + ebm_ref_shape(g, x).rank : axis;
    return at >= 0 && at < EBM_MAX_RANK ? INT64_C(1) << at : INT64_C(1) << 62;
}

ebm_ref ebm_log_softmax(ebm_graph *g, ebm_ref x, int axis)
{
    return ebm_sub(g, x, ebm_logsumexp(g, x, bit_of_axis(g, x, axis), true));
}

ebm_ref ebm_softmax(ebm_graph *g, ebm_ref x, int axis)
{
    int64_t mask = bit_of_axis(g, x, axis);
    ebm_ref top = ebm_stop(g, ebm_max(g, x, mask, true));
    ebm_ref e = ebm_exp(g, ebm_sub(g, x, top));
    return ebm_mul(g, e, ebm_recip(g, ebm_sum(g, e, mask, true)));
}

/* ---- products and scans ------------------------------------------------------------------------ */

/* Halves are multiplied until one element is left; what has no partner waits for the end. */
static ebm_ref prod_along(ebm_graph *g, ebm_ref x, int axis)
{
    if (x <= EBM_POISON) return EBM_POISON;
    ebm_shape shape = ebm_ref_shape(g, x);
    int64_t n = shape.dim[axis];
    ebm_ref single = EBM_NONE;
    shape.dim[axis] = 1;
    if (n == 0) return ebm_full(g, ebm_ref_dtype(g, x), &shape, 1.0);
    for (; n > 1; n /= 2) {
        if (n % 2) {
            ebm_ref last = ebm_slice_axis(g, x, axis, n - 1, 1);
            single = single == EBM_NONE ? last : ebm_mul(g, single, last);
        }
        x = ebm_mul(g, ebm_slice_axis(g, x, axis, 0, n / 2),
                    ebm_slice_axis(g, x, axis, n / 2, n / 2));
    }
    return single == EBM_NONE ? x : ebm_mul(g, x, single);
}

ebm_ref ebm_prod(ebm_graph *g, ebm_ref x, int64_t axes, bool keepdims)
{
    if (x <= EBM_POISON) return EBM_POISON;
    ebm_shape shape = ebm_ref_shape(g, x), kept = EBM_SCALAR;
    if (axes != EBM_ALL_AXES && (axes < 0 || axes >> shape.rank))
        return ebm_graph_fail(g, EBM_INDEX, "prod: axis out of range for rank %d", shape.rank);
    for (int32_t i = 0; i < shape.rank; i++)
        if (axes == EBM_ALL_AXES || axes >> i & 1)
            x = prod_along(g, x, i);
        else
            kept.dim[kept.rank++] = shape.dim[i];
    return keepdims ? x : ebm_reshape(g, x, &kept);
}

/* Doubling: after the step with `done`, an element has joined the 2 * done before it. */
static ebm_ref scan(ebm_graph *g, const char *what, ebm_ref x, int axis,
                    ebm_ref (*join)(ebm_graph *, ebm_ref, ebm_ref))
{
    if (x <= EBM_POISON) return EBM_POISON;
    ebm_shape shape = ebm_ref_shape(g, x);
    int at = axis < 0 ? axis + shape.rank : axis;
    if (at < 0 || at >= shape.rank)
        return ebm_graph_fail(g, EBM_INDEX, "%s: axis: got %d for rank %d", what, axis,
                              shape.rank);
    int64_t n = shape.dim[at];
    for (int64_t done = 1; done < n; done *= 2) {
        ebm_ref before = ebm_slice_axis(g, x, at, 0, n - done);
        ebm_ref joined = join(g, before, ebm_slice_axis(g, x, at, done, n - done));
        const ebm_ref parts[] = {ebm_slice_axis(g, x, at, 0, done), joined};
        x = ebm_concat(g, parts, 2, at);
    }
    return x;
}

ebm_ref ebm_cumprod(ebm_graph *g, ebm_ref x, int axis)
{
    return scan(g, "cumprod", x, axis, ebm_mul);
}

ebm_ref ebm_cummax(ebm_graph *g, ebm_ref x, int axis)
{
    return scan(g, "cummax", x, axis, ebm_maximum);
}

/* ---- normalisation ----------------------------------------------------------------------------- */

ebm_ref ebm_variance(ebm_graph *g, ebm_ref x, int64_t axes, bool keepdims)
{
    return ebm_mean(g, ebm_square(g, ebm_sub(g, x, ebm_mean(g, x, axes, true))), axes, keepdims);
}

/* Divided once a group and not once an element. */
static ebm_ref inverse_root(ebm_graph *g, ebm_ref variance, double epsilon)
{
    if (!(epsilon >= 0))
        return ebm_graph_fail(g, EBM_VALUE, "standardize: epsilon: got %g, expected at least 0",
                              epsilon);
    return ebm_recip(g, ebm_sqrt(g, ebm_shift(g, variance, epsilon)));
}

/* x without its mean over the axes, and 1 / its deviation.  A product, not a square, since its
 * derivative needs no other array. */
static ebm_ref centre(ebm_graph *g, ebm_ref x, int64_t axes, double epsilon, ebm_ref *inverse)
{
    ebm_ref centred = ebm_sub(g, x, ebm_mean(g, x, axes, true));
    ebm_ref variance = ebm_mean(g, ebm_mul(g, centred, centred), axes, true);
    *inverse = inverse_root(g, variance, epsilon);
    return centred;
}

ebm_ref ebm_standardize(ebm_graph *g, ebm_ref x, int64_t axes, double epsilon)
{
    ebm_ref inverse, centred = centre(g, x, axes, epsilon, &inverse);
    return ebm_mul(g, centred, inverse);
}

/* Whether gain and bias are one number for each channel of x. */
static bool fit_channels(ebm_graph *g, ebm_ref x, ebm_ref gain, ebm_ref bias)
{
    if (x <= EBM_POISON || gain <= EBM_POISON || bias <= EBM_POISON) return false;
    ebm_shape shape = ebm_ref_shape(g, x),
              own[] = {ebm_ref_shape(g, gain), ebm_ref_shape(g, bias)};
    ebm_shape channels = EBM_DIMS(shape.rank > 0 ? shape.dim[shape.rank - 1] : 0);
    for (int i = 0; i < 2; i++) {
        char got[128], expected[128];
        if (ebm_shape_equal(&own[i], &channels)) continue;
        ebm_graph_fail(g, EBM_SHAPE, "%s: got %s, expected %s", i ? "bias" : "gain",
                       ebm_shape_text(&own[i], got, sizeof got),
                       ebm_shape_text(&channels, expected, sizeof expected));
        return false;
    }
    return true;
}

ebm_ref ebm_batch_norm(ebm_graph *g, ebm_ref x, ebm_ref gain, ebm_ref bias, double epsilon)
{
    if (x <= EBM_POISON) return EBM_POISON;
    int32_t rank = ebm_ref_shape(g, x).rank;
    if (rank < 2)
        return ebm_graph_fail(g, EBM_SHAPE, "batch_norm: rank: got %d, expected at least 2",
                              rank);
    if (!fit_channels(g, x, gain, bias)) return EBM_POISON;
    int64_t all_but_last = (INT64_C(1) << (rank - 1)) - 1;
    ebm_ref inverse, centred = centre(g, x, all_but_last, epsilon, &inverse);
    return ebm_add(g, ebm_mul(g, centred, ebm_mul(g, inverse, gain)), bias);
}

ebm_ref ebm_layer_norm(ebm_graph *g, ebm_ref x, ebm_ref gain, ebm_ref bias, double epsilon)
{
    ebm_ref y = ebm_standardize(g, x, bit_of_axis(g, x, -1), epsilon);
    if (!fit_channels(g, y, gain, bias)) return EBM_POISON;
    return ebm_add(g, ebm_mul(g, y, gain), bias);
}

/* The means of the channels' means, (N, groups, 1). */
static ebm_ref group_mean(ebm_graph *g, ebm_ref x, int64_t places, const ebm_shape *groups)
{
    return ebm_mean(g, ebm_reshape(g, ebm_mean(g, x, places, true), groups), 1 << 2, true);
}

/* What is done to elements has the shape of x, so that it is one with what stands beside the norm;
 * groups are seen only where there is one number a channel. */
ebm_ref ebm_group_norm(ebm_graph *g, ebm_ref x, int64_t groups, ebm_ref gain, ebm_ref bias,
                       double epsilon)
{
    if (x <= EBM_POISON) return EBM_POISON;
    ebm_shape shape = ebm_ref_shape(g, x), row = shape;
    int32_t last = shape.rank - 1;
    if (last < 1 || groups < 1 || shape.dim[last] % groups)
        return ebm_graph_fail(g, EBM_SHAPE, "group_norm: %lld groups do not divide the channels",
                              (long long)groups);
    if (!fit_channels(g, x, gain, bias)) return EBM_POISON;
    ebm_shape split = EBM_DIMS(shape.dim[0], groups, shape.dim[last] / groups);
    ebm_shape channels = EBM_DIMS(split.dim[1], split.dim[2]);
    int64_t places = (INT64_C(1) << last) - 2;
    for (int32_t i = 1; i < last; i++) row.dim[i] = 1;
    ebm_ref mean = ebm_broadcast_to(g, group_mean(g, x, places, &split), &split);
    ebm_ref centred = ebm_sub(g, x, ebm_reshape(g, mean, &row));
    ebm_ref variance = group_mean(g, ebm_mul(g, centred, centred), places, &split);
    ebm_ref scale = ebm_mul(g, inverse_root(g, variance, epsilon),
                            ebm_reshape(g, gain, &channels));
    return ebm_add(g, ebm_mul(g, centred, ebm_reshape(g, scale, &row)), bias);
}

ebm_ref ebm_instance_norm(ebm_graph *g, ebm_ref x, ebm_ref gain, ebm_ref bias, double epsilon)
{
    if (x <= EBM_POISON) return EBM_POISON;
    ebm_shape shape = ebm_ref_shape(g, x);
    if (shape.rank < 2)
        return ebm_graph_fail(g, EBM_SHAPE, "instance_norm: rank: got %d, expected at least 2",
                              (int)shape.rank);
    return ebm_group_norm(g, x, shape.dim[shape.rank - 1], gain, bias, epsilon);
}

ebm_ref ebm_rms_norm(ebm_graph *g, ebm_ref x, ebm_ref gain, double epsilon)
{
    ebm_ref square = ebm_mean(g, ebm_mul(g, x, x), bit_of_axis(g, x, -1), true);
    return ebm_mul(g, ebm_mul(g, x, inverse_root(g, square, epsilon)), gain);
}

/* w (..., O) as a matrix (I, O). */
static ebm_ref as_matrix(ebm_graph *g, const char *what, ebm_ref w)
{
    if (w <= EBM_POISON) return EBM_POISON;
    ebm_shape shape = ebm_ref_shape(g, w);
    if (shape.rank < 2)
        return ebm_graph_fail(g, EBM_SHAPE, "%s: weight: rank: got %d, expected at least 2",
                              what, (int)shape.rank);
    ebm_shape matrix = EBM_DIMS(1, shape.dim[shape.rank - 1]);
    for (int32_t i = 0; i + 1 < shape.rank; i++) matrix.dim[0] *= shape.dim[i];
    return ebm_reshape(g, w, &matrix);
}

ebm_ref ebm_weight_norm(ebm_graph *g, ebm_ref v, ebm_ref gain)
{
    ebm_ref matrix = as_matrix(g, "weight_norm", v);
    ebm_ref length = ebm_sqrt(g, ebm_sum(g, ebm_square(g, matrix), 1, false));
    return ebm_mul(g, v, ebm_div(g, gain, length));
}

/* x (n, 1) of length 1; zeros stay. */
static ebm_ref unit(ebm_graph *g, ebm_ref x)
{
    ebm_ref length = ebm_sqrt(g, ebm_sum_all(g, ebm_square(g, x)));
    return ebm_div(g, x, ebm_maximum(g, length, ebm_scalar_like(g, length, 1e-12)));
}

/* u (O,) as a column, for a matrix (I, O). */
static ebm_ref as_column(ebm_graph *g, ebm_ref matrix, ebm_ref u)
{
    if (matrix <= EBM_POISON || u <= EBM_POISON) return EBM_POISON;
    ebm_shape given = ebm_ref_shape(g, u);
    ebm_shape column = EBM_DIMS(ebm_ref_shape(g, matrix).dim[1], 1);
    if (given.rank == 1 && given.dim[0] == column.dim[0]) return ebm_reshape(g, u, &column);
    char text[128];
    return ebm_graph_fail(g, EBM_SHAPE, "spectral_norm: u: got %s, expected (%lld,)",
                          ebm_shape_text(&given, text, sizeof text), (long long)column.dim[0]);
}

ebm_ref ebm_power_iteration(ebm_graph *g, ebm_ref w, ebm_ref u, int64_t n)
{
    ebm_ref matrix = ebm_stop(g, as_matrix(g, "power_iteration", w));
    ebm_ref column = ebm_stop(g, as_column(g, matrix, u));
    if (column <= EBM_POISON) return EBM_POISON;
    if (n < 0 || n > 1000)
        return ebm_graph_fail(g, EBM_VALUE, "power_iteration: n: got %lld, expected 0 to 1000",
                              (long long)n);
    for (int64_t i = 0; i < n; i++) {
        ebm_ref v = unit(g, ebm_matmul(g, matrix, column));
        column = unit(g, ebm_matmul_ex(g, matrix, v, true, false));
    }
    ebm_shape shape = ebm_ref_shape(g, u);
    return ebm_reshape(g, column, &shape);
}

ebm_ref ebm_spectral_norm(ebm_graph *g, ebm_ref w, ebm_ref u)
{
    ebm_ref matrix = as_matrix(g, "spectral_norm", w);
    ebm_ref column = ebm_stop(g, as_column(g, matrix, u));
    ebm_ref v = unit(g, ebm_matmul(g, ebm_stop(g, matrix), column));
    ebm_ref sigma = ebm_sum_all(g, ebm_mul(g, v, ebm_matmul(g, matrix, column)));
    return ebm_mul(g, w, ebm_recip(g, sigma));
}

/* ---- attention, dense, dropout ----------------------------------------------------------------- */

ebm_ref ebm_attention(ebm_graph *g, ebm_ref q, ebm_ref k, ebm_ref v)
{
    if (q <= EBM_POISON || k <= EBM_POISON || v <= EBM_POISON) return EBM_POISON;
    ebm_shape shape = ebm_ref_shape(g, q);
    if (shape.rank < 2)
        return ebm_graph_fail(g, EBM_SHAPE, "attention: rank: got %d, expected at least 2",
                              shape.rank);
    double width = (double)shape.dim[shape.rank - 1];
    ebm_ref logits = ebm_scale(g, ebm_matmul(g, q, ebm_transpose(g, k)), 1 / sqrt(width));
    return ebm_matmul(g, ebm_softmax(g, logits, -1), v);
}

ebm_ref ebm_linear(ebm_graph *g, ebm_ref x, ebm_ref w, ebm_ref b)
{
    ebm_ref y = ebm_matmul(g, x, w);
    return b == EBM_NONE ? y : ebm_add(g, y, b);
}

ebm_ref ebm_dropout(ebm_graph *g, ebm_ref x, ebm_ref key, double rate, int32_t purpose)
{
    if (x <= EBM_POISON || key <= EBM_POISON) return EBM_POISON;
    if (!(rate >= 0 && rate < 1))
        return ebm_graph_fail(g, EBM_VALUE, "dropout: rate: got %g, expected 0 <= rate < 1",
                              rate);
    ebm_shape shape = ebm_ref_shape(g, x);
    ebm_ref u = ebm_uniform(g, key, purpose, ebm_ref_dtype(g, x), &shape);
    ebm_ref dropped = ebm_less(g, u, ebm_scalar_like(g, u, rate));
    return ebm_select(g, dropped, ebm_zeros_like(g, x), ebm_scale(g, x, 1 / (1 - rate)));
}
