/* composite_image.c - pooling, resizing and blurring of images (N, H, W, C), made of ops. */
#include "ops/ops.h"

ebm_ref ebm_max_pool(ebm_graph *g, ebm_ref x, const ebm_window *window)
{
    return ebm_window_take(g, x, ebm_window_argmax(g, x, window));
}

/* The shape of images; false after a failure. */
static bool image_shape(ebm_graph *g, const char *what, ebm_ref x, ebm_shape *shape)
{
    if (x <= EBM_POISON) return false;
    *shape = ebm_ref_shape(g, x);
    if (shape->rank == 4) return true;
    char text[128];
    ebm_graph_fail(g, EBM_SHAPE, "%s: x: got %s, expected images (N, H, W, C)", what,
                   ebm_shape_text(shape, text, sizeof text));
    return false;
}

/* x (N, H, W, C) as (N, H/s, s, W/s, s, C). */
static ebm_ref in_blocks(ebm_graph *g, const char *what, ebm_ref x, int64_t s)
{
    if (x <= EBM_POISON) return EBM_POISON;
    ebm_shape shape = ebm_ref_shape(g, x);
    if (shape.rank != 4 || s < 1 || shape.dim[1] % s || shape.dim[2] % s) {
        char text[128];
        return ebm_graph_fail(g, EBM_SHAPE,
                              "%s: %s is no (N, H, W, C) with sides divisible by %lld", what,
                              ebm_shape_text(&shape, text, sizeof text), (long long)s);
    }
    ebm_shape blocks = {6,
                        {shape.dim[0], shape.dim[1] / s, s, shape.dim[2] / s, s, shape.dim[3]}};
    return ebm_reshape(g, x, &blocks);
}

ebm_ref ebm_avg_pool(ebm_graph *g, ebm_ref x, int64_t size)
{
    return ebm_mean(g, in_blocks(g, "avg_pool", x, size), 1 << 2 | 1 << 4, false);
}

ebm_ref ebm_upsample(ebm_graph *g, ebm_ref x, int64_t factor)
{
    ebm_ref blocks = in_blocks(g, "upsample", x, 1);
    if (blocks <= EBM_POISON) return EBM_POISON;
    if (factor < 1)
        return ebm_graph_fail(g, EBM_VALUE, "upsample: factor: got %lld", (long long)factor);
    ebm_shape wide = ebm_ref_shape(g, blocks), shape = ebm_ref_shape(g, x);
    wide.dim[2] = wide.dim[4] = factor;
    shape.dim[1] *= factor;
    shape.dim[2] *= factor;
    return ebm_reshape(g, ebm_broadcast_to(g, blocks, &wide), &shape);
}

/* ---- windows ----------------------------------------------------------------------------------- */

/* Each channel by itself with the filter `taps` (kh, kw). */
static ebm_ref filter_channels(ebm_graph *g, ebm_ref x, ebm_ref taps,
                               const ebm_conv_geometry *geometry)
{
    if (x <= EBM_POISON || taps <= EBM_POISON) return EBM_POISON;
    ebm_shape kernel = ebm_ref_shape(g, taps);
    int64_t axes[] = {0, 1}, channels = ebm_ref_shape(g, x).dim[3];
    ebm_conv_geometry own = *geometry;
    own.groups = channels;
    ebm_shape shape = EBM_DIMS(kernel.dim[0], kernel.dim[1], 1, channels);
    return ebm_conv(g, x, ebm_broadcast_axes(g, taps, &shape, axes), &own);
}

ebm_ref ebm_avg_pool_window(ebm_graph *g, ebm_ref x, const ebm_window *window)
{
    ebm_shape shape, kernel = EBM_DIMS(window->kh, window->kw);
    if (!image_shape(g, "avg_pool", x, &shape)) return EBM_POISON;
    if (window->kh < 1 || window->kw < 1)
        return ebm_graph_fail(g, EBM_VALUE, "avg_pool: size: got (%lld, %lld), expected > 0",
                              (long long)window->kh, (long long)window->kw);
    ebm_conv_geometry geometry = {window->sh, window->sw, window->ph, window->ph, window->pw,
                                  window->pw, 1,          1,          1};
    double share = 1 / ((double)window->kh * (double)window->kw);
    return filter_channels(g, x, ebm_full(g, ebm_ref_dtype(g, x), &kernel, share), &geometry);
}

/* Place i of the result is place mirror(i - border) of x along the axis. */
static ebm_ref mirror(ebm_graph *g, ebm_ref x, int axis, int64_t border)
{
    if (x <= EBM_POISON) return EBM_POISON;
    int64_t size = ebm_ref_shape(g, x).dim[axis];
    if (border >= size)
        return ebm_graph_fail(g, EBM_SHAPE, "blur: got %lld pixels, expected more than %lld",
                              (long long)size, (long long)border);
    ebm_shape places = EBM_DIMS(size + 2 * border);
    ebm_ref last = ebm_scalar(g, EBM_I32, (double)(size - 1));
    ebm_ref at = ebm_sub(g, ebm_iota(g, EBM_I32, &places, 0),
                         ebm_scalar(g, EBM_I32, (double)border));
    at = ebm_sub(g, last, ebm_abs(g, ebm_sub(g, last, ebm_abs(g, at))));
    return ebm_take(g, x, at, axis);
}

/* The binomial coefficients of `size` - 1, over their sum, as (size, 1). */
static ebm_ref binomial(ebm_graph *g, ebm_dtype dtype, int64_t size)
{
    enum { MOST = 31 };
    if (size < 1 || size > MOST || size % 2 == 0)
        return ebm_graph_fail(g, EBM_VALUE, "blur: size: got %lld, expected an odd number to %d",
                              (long long)size, MOST);
    ebm_ref tap[MOST];
    ebm_shape one = EBM_DIMS(1, 1);
    double value = 1;
    for (int64_t i = 1; i < size; i++) value /= 2;
    for (int64_t i = 0; i < size; i++) {
        tap[i] = ebm_full(g, dtype, &one, value);
        value = value * (double)(size - 1 - i) / (double)(i + 1);
    }
    return ebm_concat(g, tap, (int32_t)size, 0);
}

ebm_ref ebm_blur(ebm_graph *g, ebm_ref x, int64_t size, bool reflect)
{
    ebm_shape shape;
    if (!image_shape(g, "blur", x, &shape)) return EBM_POISON;
    ebm_ref column = binomial(g, ebm_ref_dtype(g, x), size);
    if (column == EBM_POISON) return EBM_POISON;
    int64_t border = size / 2;
    if (reflect) x = mirror(g, mirror(g, x, 1, border), 2, border);
    ebm_conv_geometry geometry = ebm_conv_same(1, reflect ? 0 : border);
    return filter_channels(g, x, ebm_mul(g, column, ebm_transpose(g, column)), &geometry);
}

/* ---- resizing ---------------------------------------------------------------------------------- */

static bool good_target(ebm_graph *g, const char *what, ebm_ref x, int64_t height, int64_t width)
{
    ebm_shape shape;
    if (!image_shape(g, what, x, &shape)) return false;
    enum { MOST = 1 << 15 }; /* products of places fit into i32 */
    if (height >= 1 && width >= 1 && height <= MOST && width <= MOST && shape.dim[1] >= 1 &&
        shape.dim[2] >= 1 && shape.dim[1] <= MOST && shape.dim[2] <= MOST)
        return true;
    ebm_graph_fail(g, EBM_VALUE, "%s: (%lld, %lld) to (%lld, %lld): expected sizes from 1 to %d",
                   what, (long long)shape.dim[1], (long long)shape.dim[2], (long long)height,
                   (long long)width, MOST);
    return false;
}

static ebm_ref nearest_along(ebm_graph *g, ebm_ref x, int axis, int64_t size)
{
    if (x <= EBM_POISON) return EBM_POISON;
    ebm_shape places = EBM_DIMS(size);
    ebm_ref from = ebm_scalar(g, EBM_I32, (double)ebm_ref_shape(g, x).dim[axis]);
    ebm_ref at = ebm_mul(g, ebm_iota(g, EBM_I32, &places, 0), from);
    return ebm_take(g, x, ebm_floordiv(g, at, ebm_scalar(g, EBM_I32, (double)size)), axis);
}

ebm_ref ebm_resize_nearest(ebm_graph *g, ebm_ref x, int64_t height, int64_t width)
{
    if (!good_target(g, "resize", x, height, width)) return EBM_POISON;
    return nearest_along(g, nearest_along(g, x, 1, height), 2, width);
}

static ebm_ref bilinear_along(ebm_graph *g, ebm_ref x, int axis, int64_t size)
{
    if (x <= EBM_POISON) return EBM_POISON;
    ebm_dtype dtype = ebm_ref_dtype(g, x);
    ebm_shape places = EBM_DIMS(size), wide = ebm_ref_shape(g, x);
    int64_t axes[] = {axis};
    double ratio = (double)wide.dim[axis] / (double)size;
    ebm_ref last = ebm_scalar(g, EBM_I32, (double)(wide.dim[axis] - 1));
    ebm_ref middle = ebm_shift(g, ebm_cast(g, ebm_iota(g, EBM_I32, &places, 0), dtype), 0.5);
    ebm_ref at = ebm_relu(g, ebm_shift(g, ebm_scale(g, middle, ratio), -0.5));
    ebm_ref low = ebm_minimum(g, ebm_cast(g, at, EBM_I32), last);
    ebm_ref high = ebm_minimum(g, ebm_add(g, low, ebm_scalar(g, EBM_I32, 1.0)), last);
    ebm_ref share = ebm_sub(g, at, ebm_cast(g, low, dtype));
    wide.dim[axis] = size;
    ebm_ref a = ebm_take(g, x, low, axis), b = ebm_take(g, x, high, axis);
    return ebm_add(g, a, ebm_mul(g, ebm_sub(g, b, a), ebm_broadcast_axes(g, share, &wide, axes)));
}

ebm_ref ebm_resize_bilinear(ebm_graph *g, ebm_ref x, int64_t height, int64_t width)
{
    if (!good_target(g, "resize", x, height, width)) return EBM_POISON;
    return bilinear_along(g, bilinear_along(g, x, 1, height), 2, width);
}

/* ---- blocks ------------------------------------------------------------------------------------ */

ebm_ref ebm_space_to_depth(ebm_graph *g, ebm_ref x, int64_t block)
{
    ebm_ref blocks = in_blocks(g, "space_to_depth", x, block);
    if (blocks <= EBM_POISON) return EBM_POISON;
    const int64_t axes[] = {0, 1, 3, 2, 4, 5};
    ebm_shape split = ebm_ref_shape(g, blocks);
    ebm_shape shape = EBM_DIMS(split.dim[0], split.dim[1], split.dim[3],
                               block * block * split.dim[5]);
    return ebm_reshape(g, ebm_permute(g, blocks, axes), &shape);
}

ebm_ref ebm_depth_to_space(ebm_graph *g, ebm_ref x, int64_t block)
{
    ebm_shape shape;
    if (!image_shape(g, "depth_to_space", x, &shape)) return EBM_POISON;
    if (block < 1 || block > INT32_MAX || shape.dim[3] % (block * block))
        return ebm_graph_fail(
            g, EBM_SHAPE, "depth_to_space: got %lld channels, expected a multiple of %lld^2",
            (long long)shape.dim[3], (long long)block);
    int64_t channels = shape.dim[3] / (block * block), h = shape.dim[1], w = shape.dim[2];
    const int64_t axes[] = {0, 1, 3, 2, 4, 5};
    ebm_shape split = {6, {shape.dim[0], h, w, block, block, channels}};
    ebm_shape wide = EBM_DIMS(shape.dim[0], h * block, w * block, channels);
    return ebm_reshape(g, ebm_permute(g, ebm_reshape(g, x, &split), axes), &wide);
}
