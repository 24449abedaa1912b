/* ops.h - the builders: one function an op, and the composites made of them.
 *
 * Binary builders broadcast as NumPy does (by inserting `broadcast`; ops themselves never do) and
 * want equal dtypes: promotion is the border's business.  Axes may be negative.  Shapes of results
 * are in the comments.  All return EBM_POISON after an error (graph/graph.h). */
#ifndef EBM_OPS_OPS_H
#define EBM_OPS_OPS_H

#include "graph/graph.h"

/* ---- constants (elementwise.c, move.c) --------------------------------------------------------- */

ebm_ref ebm_scalar(ebm_graph *g, ebm_dtype dtype, double value);                       /* () */
ebm_ref ebm_full(ebm_graph *g, ebm_dtype dtype, const ebm_shape *shape, double value); /* shape */
ebm_ref ebm_scalar_like(ebm_graph *g, ebm_ref like, double value); /* (), dtype of like */
ebm_ref ebm_full_like(ebm_graph *g, ebm_ref like, double value);
ebm_ref ebm_zeros_like(ebm_graph *g, ebm_ref like);
ebm_ref ebm_iota(ebm_graph *g, ebm_dtype dtype, const ebm_shape *shape, int axis);
/* True if the value is a constant (or its broadcast) and which one. */
bool ebm_is_constant(const ebm_graph *g, ebm_ref x, double *value);

/* ---- elementwise (elementwise.c) --------------------------------------------------------------- */

#define EW1(id, px) ebm_ref ebm_##id(ebm_graph *g, ebm_ref x);
#define EW2(id, pa, pb) ebm_ref ebm_##id(ebm_graph *g, ebm_ref a, ebm_ref b);
#include "graph/ops.def"
ebm_ref ebm_select(ebm_graph *g, ebm_ref condition, ebm_ref a, ebm_ref b);
ebm_ref ebm_cast(ebm_graph *g, ebm_ref x, ebm_dtype dtype); /* x itself if it has this dtype */
ebm_ref ebm_sign(ebm_graph *g, ebm_ref x);
ebm_ref ebm_floor(ebm_graph *g, ebm_ref x);
ebm_ref ebm_ceil(ebm_graph *g, ebm_ref x);
ebm_ref ebm_round(ebm_graph *g, ebm_ref x);
ebm_ref ebm_isfinite(ebm_graph *g, ebm_ref x);
ebm_ref ebm_equal(ebm_graph *g, ebm_ref a, ebm_ref b);
ebm_ref ebm_less(ebm_graph *g, ebm_ref a, ebm_ref b);
ebm_ref ebm_less_equal(ebm_graph *g, ebm_ref a, ebm_ref b);
ebm_ref ebm_logical_and(ebm_graph *g, ebm_ref a, ebm_ref b);
ebm_ref ebm_logical_or(ebm_graph *g, ebm_ref a, ebm_ref b);
ebm_ref ebm_logical_xor(ebm_graph *g, ebm_ref a, ebm_ref b);
ebm_ref ebm_logical_not(ebm_graph *g, ebm_ref x);
ebm_ref ebm_bit_and(ebm_graph *g, ebm_ref a, ebm_ref b);
ebm_ref ebm_floordiv(ebm_graph *g, ebm_ref a, ebm_ref b);
ebm_ref ebm_mod(ebm_graph *g, ebm_ref a, ebm_ref b);
ebm_ref ebm_scale(ebm_graph *g, ebm_ref x, double factor);          /* factor * x */
ebm_ref ebm_shift(ebm_graph *g, ebm_ref x, double term);            /* x + term */
ebm_ref ebm_clip(ebm_graph *g, ebm_ref x, double low, double high); /* -inf, inf leave a side open */
/* Parts of rules: 1 where a > b, else 0; and 1 minus it. */
ebm_ref ebm__where_greater(ebm_graph *g, ebm_ref a, ebm_ref b);
ebm_ref ebm__where_not_greater(ebm_graph *g, ebm_ref a, ebm_ref b);
ebm_ref ebm__pow_partial_base(ebm_graph *g, ebm_ref a, ebm_ref b);
ebm_ref ebm__pow_partial_exponent(ebm_graph *g, ebm_ref a, ebm_ref b, ebm_ref y);

/* ---- reductions (reduce.c) --------------------------------------------------------------------- */

/* Axes as a bit mask; EBM_ALL_AXES takes all.  keepdims leaves them with size 1. */
enum { EBM_ALL_AXES = -1 };
ebm_ref ebm_sum(ebm_graph *g, ebm_ref x, int64_t axes, bool keepdims);
ebm_ref ebm_mean(ebm_graph *g, ebm_ref x, int64_t axes, bool keepdims);
ebm_ref ebm_max(ebm_graph *g, ebm_ref x, int64_t axes, bool keepdims);
ebm_ref ebm_min(ebm_graph *g, ebm_ref x, int64_t axes, bool keepdims);
ebm_ref ebm_any(ebm_graph *g, ebm_ref x, int64_t axes, bool keepdims); /* bool */
ebm_ref ebm_all(ebm_graph *g, ebm_ref x, int64_t axes, bool keepdims); /* bool */
ebm_ref ebm_argmax(ebm_graph *g, ebm_ref x, int axis);
ebm_ref ebm_cumsum(ebm_graph *g, ebm_ref x, int axis, bool reverse);
ebm_ref ebm_sum_rows(ebm_graph *g, ebm_ref x); /* (N, ...) -> (N,): over all axes but the first */
ebm_ref ebm_mean_all(ebm_graph *g, ebm_ref x); /* () */
ebm_ref ebm_sum_all(ebm_graph *g, ebm_ref x);  /* () */

/* ---- movement (move.c) ------------------------------------------------------------------------- */

ebm_ref ebm_broadcast_to(ebm_graph *g, ebm_ref x, const ebm_shape *shape); /* NumPy's rule */
ebm_ref ebm_broadcast_axes(ebm_graph *g, ebm_ref x, const ebm_shape *shape, const int64_t *axes);
ebm_ref ebm_reshape(ebm_graph *g, ebm_ref x, const ebm_shape *shape);
ebm_ref ebm_expand_dims(ebm_graph *g, ebm_ref x, int axis);
ebm_ref ebm_permute(ebm_graph *g, ebm_ref x, const int64_t *axes);
ebm_ref ebm_transpose(ebm_graph *g, ebm_ref x); /* the last two axes swapped */
ebm_ref ebm_slice(ebm_graph *g, ebm_ref x, const int64_t *start, const int64_t *step,
                  const int64_t *count);
ebm_ref ebm_slice_axis(ebm_graph *g, ebm_ref x, int axis, int64_t start, int64_t count);
ebm_ref ebm_pad(ebm_graph *g, ebm_ref x, const int64_t *start, const int64_t *step,
                const ebm_shape *shape);
ebm_ref ebm_concat(ebm_graph *g, const ebm_ref *x, int32_t n, int axis);
ebm_ref ebm_flip(ebm_graph *g, ebm_ref x, int axis);
ebm_ref ebm_mark(ebm_graph *g, ebm_ref x); /* a fresh name for x */
ebm_ref ebm_stop(ebm_graph *g, ebm_ref x);
/* y, with the derivative `slope` in x, element by element, in place of that of its formula: one
 * array to keep where the formula's derivative would need several.  slope is graph code of x, and
 * is differentiated in its turn.  All three of one shape and dtype. */
ebm_ref ebm_graft(ebm_graph *g, ebm_ref y, ebm_ref x, ebm_ref slope);

/* ---- index (index.c) --------------------------------------------------------------------------- */

ebm_ref ebm_take(ebm_graph *g, ebm_ref x, ebm_ref idx, int axis);
ebm_ref ebm_scatter_add(ebm_graph *g, ebm_ref v, ebm_ref idx, int axis, int64_t size);
ebm_ref ebm_put(ebm_graph *g, ebm_ref x, ebm_ref idx, ebm_ref v);
typedef struct ebm_window {
    int64_t kh, kw, sh, sw, ph, pw;
} ebm_window;
/* NumPy's take_along_axis: x and idx broadcast in all axes but this one. */
ebm_ref ebm_take_along(ebm_graph *g, ebm_ref x, ebm_ref idx, int axis);
ebm_ref ebm_window_argmax(ebm_graph *g, ebm_ref x, const ebm_window *window);
ebm_ref ebm_window_take(ebm_graph *g, ebm_ref x, ebm_ref idx);
ebm_ref ebm_window_put(ebm_graph *g, ebm_ref v, ebm_ref idx, int64_t height, int64_t width);

/* ---- products (matmul.c, conv.c) --------------------------------------------------------------- */

/* NumPy's matmul for rank >= 2: leading axes broadcast. */
ebm_ref ebm_matmul(ebm_graph *g, ebm_ref a, ebm_ref b);
ebm_ref ebm_matmul_ex(ebm_graph *g, ebm_ref a, ebm_ref b, bool ta, bool tb);

/* Leading axes of two stacks of matrices broadcast against each other, for matmul and solve: SHAPE
 * naming `what`. */
ebm_status ebm__broadcast_matrices(ebm_graph *g, ebm_ref *a, ebm_ref *b, const char *what);

/* The geometry of a convolution; the attributes of the three conv ops are these words in this
 * order, then two words: result height and width (conv_data: of the image; conv_weight: of the
 * kernel; conv: 0, 0).  Output size = (H + top + bottom - dilation (kh - 1) - 1) / stride + 1. */
typedef struct ebm_conv_geometry {
    int64_t stride_h, stride_w, pad_top, pad_bottom, pad_left, pad_right, dilation_h,
        dilation_w, groups;
} ebm_conv_geometry;
enum {
    EBM_CONV_STRIDE_H,
    EBM_CONV_STRIDE_W,
    EBM_CONV_TOP,
    EBM_CONV_BOTTOM,
    EBM_CONV_LEFT,
    EBM_CONV_RIGHT,
    EBM_CONV_DILATION_H,
    EBM_CONV_DILATION_W,
    EBM_CONV_GROUPS,
    EBM_CONV_RESULT_H,
    EBM_CONV_RESULT_W,
    EBM_CONV_ATTRS
};
ebm_conv_geometry ebm_conv_same(int64_t stride, int64_t pad); /* groups 1, dilation 1 */
ebm_ref ebm_conv(ebm_graph *g, ebm_ref x, ebm_ref w, const ebm_conv_geometry *geometry);
ebm_ref ebm_conv_data(ebm_graph *g, ebm_ref q, ebm_ref w, const ebm_conv_geometry *geometry,
                      int64_t height, int64_t width);
ebm_ref ebm_conv_weight(ebm_graph *g, ebm_ref x, ebm_ref q, const ebm_conv_geometry *geometry,
                        int64_t kh, int64_t kw);

/* ---- matrices (linalg.c) ----------------------------------------------------------------------- */

/* Leading axes are a batch.  b (..., n, m); leading axes of a and b broadcast. */
ebm_ref ebm_cholesky(ebm_graph *g, ebm_ref a); /* lower; NaN where a is not positive definite */
ebm_ref ebm_solve_triangular(ebm_graph *g, ebm_ref a, ebm_ref b, bool lower, bool transposed);
ebm_ref ebm_solve(ebm_graph *g, ebm_ref a, ebm_ref b); /* NaN where a is singular */
ebm_ref ebm_inv(ebm_graph *g, ebm_ref a);
ebm_ref ebm_slogdet(ebm_graph *g, ebm_ref a); /* (..., 2): sign, log |det| */
ebm_ref ebm_det(ebm_graph *g, ebm_ref a);     /* (...) */
/* (..., 1 + n, n): the eigenvalues, ascending, and below them the vectors as columns. */
ebm_ref ebm_eigh(ebm_graph *g, ebm_ref a);

/* ---- order (sort.c) ---------------------------------------------------------------------------- */

ebm_ref ebm_argsort(ebm_graph *g, ebm_ref x, int axis); /* i32; stable; NaN last */
ebm_ref ebm_sort(ebm_graph *g, ebm_ref x, int axis);

/* ---- random numbers (random.c) ----------------------------------------------------------------- */

/* Each drawing site gives its own purpose, so that two draws with one key differ.  A key is i32
 * (2,), or (3,): the third word is a row r, kept by fold_in, and a draw (n, ...) is then rows r ..
 * r + n - 1 of the draw without it.  Elements before row r must be a multiple of 64. */
ebm_ref ebm_fold_in(ebm_graph *g, ebm_ref key, ebm_ref data);
ebm_ref ebm_fold_in_constant(ebm_graph *g, ebm_ref key, int32_t data);
ebm_ref ebm_random_bits(ebm_graph *g, ebm_ref key, int32_t purpose, const ebm_shape *shape);
ebm_ref ebm_uniform(ebm_graph *g, ebm_ref key, int32_t purpose, ebm_dtype dtype,
                    const ebm_shape *shape);
ebm_ref ebm_normal(ebm_graph *g, ebm_ref key, int32_t purpose, ebm_dtype dtype,
                   const ebm_shape *shape);
ebm_ref ebm_randint(ebm_graph *g, ebm_ref key, int32_t purpose, int64_t n,
                    const ebm_shape *shape);

/* ---- composites: no rows, no kernels of their own ---------------------------------------------- */

/* composite.c */

ebm_ref ebm_swish(ebm_graph *g, ebm_ref x);
ebm_ref ebm_relu(ebm_graph *g, ebm_ref x);
ebm_ref ebm_leaky_relu(ebm_graph *g, ebm_ref x, double slope);
ebm_ref ebm_elu(ebm_graph *g, ebm_ref x, double alpha);
ebm_ref ebm_gelu(ebm_graph *g, ebm_ref x);      /* exact, by erf */
ebm_ref ebm_relu6(ebm_graph *g, ebm_ref x);     /* x within 0 .. 6 */
ebm_ref ebm_hard_tanh(ebm_graph *g, ebm_ref x); /* x within -1 .. 1 */
ebm_ref ebm_selu(ebm_graph *g, ebm_ref x);
ebm_ref ebm_celu(ebm_graph *g, ebm_ref x, double alpha); /* alpha (exp(x / alpha) - 1) below 0 */
ebm_ref ebm_mish(ebm_graph *g, ebm_ref x);               /* x tanh(softplus(x)) */
ebm_ref ebm_softsign(ebm_graph *g, ebm_ref x);           /* x / (1 + |x|) */
ebm_ref ebm_log_sigmoid(ebm_graph *g, ebm_ref x);
ebm_ref ebm_glu(ebm_graph *g, ebm_ref x, int axis); /* a sigmoid(b), x = (a, b) along the axis */
ebm_ref ebm_logsumexp(ebm_graph *g, ebm_ref x, int64_t axes, bool keepdims);
ebm_ref ebm_softmax(ebm_graph *g, ebm_ref x, int axis);
ebm_ref ebm_log_softmax(ebm_graph *g, ebm_ref x, int axis);
ebm_ref ebm_variance(ebm_graph *g, ebm_ref x, int64_t axes, bool keepdims);
/* Products by trees, so that derivatives of any order hold where elements are zero. */
ebm_ref ebm_prod(ebm_graph *g, ebm_ref x, int64_t axes, bool keepdims);
ebm_ref ebm_cumprod(ebm_graph *g, ebm_ref x, int axis);
ebm_ref ebm_cummax(ebm_graph *g, ebm_ref x, int axis);
/* (x - mean) / sqrt(var + epsilon) over `axes`. */
ebm_ref ebm_standardize(ebm_graph *g, ebm_ref x, int64_t axes, double epsilon);
ebm_ref ebm_batch_norm(ebm_graph *g, ebm_ref x, ebm_ref gain, ebm_ref bias, double epsilon);
ebm_ref ebm_layer_norm(ebm_graph *g, ebm_ref x, ebm_ref gain, ebm_ref bias, double epsilon);
ebm_ref ebm_group_norm(ebm_graph *g, ebm_ref x, int64_t groups, ebm_ref gain, ebm_ref bias,
                       double epsilon); /* x (N, ..., C) */
ebm_ref ebm_instance_norm(ebm_graph *g, ebm_ref x, ebm_ref gain, ebm_ref bias, double epsilon);
/* x / sqrt(mean x^2 + epsilon) * gain along the last axis. */
ebm_ref ebm_rms_norm(ebm_graph *g, ebm_ref x, ebm_ref gain, double epsilon);
/* v (..., O) with each v[..., o] scaled to the length |gain[o]|. */
ebm_ref ebm_weight_norm(ebm_graph *g, ebm_ref v, ebm_ref gain);
/* w (..., O) as a matrix W (I, O): u (O,) after n rounds of u = W'v / |W'v|, v = W u / |W u|; a
 * constant to derivatives. */
ebm_ref ebm_power_iteration(ebm_graph *g, ebm_ref w, ebm_ref u, int64_t n);
/* w / (v' W u), v = W u / |W u|: u and v are constants to derivatives (Miyato et al. 2018). */
ebm_ref ebm_spectral_norm(ebm_graph *g, ebm_ref w, ebm_ref u);
ebm_ref ebm_attention(ebm_graph *g, ebm_ref q, ebm_ref k,
                      ebm_ref v); /* (..., T, d): softmax(q k' / sqrt d) v */
ebm_ref ebm_linear(ebm_graph *g, ebm_ref x, ebm_ref w,
                   ebm_ref b); /* x (N, I), w (I, O), b (O,) or EBM_NONE */
/* x / (1 - rate) where uniform(key, purpose) >= rate, else 0. */
ebm_ref ebm_dropout(ebm_graph *g, ebm_ref x, ebm_ref key, double rate, int32_t purpose);

/* composite_image.c: images are (N, H, W, C). */
ebm_ref ebm_max_pool(ebm_graph *g, ebm_ref x, const ebm_window *window);
ebm_ref ebm_avg_pool(ebm_graph *g, ebm_ref x, int64_t size); /* size x size, stride size */
/* Means of windows of kh kw places: zeros of the padding count. */
ebm_ref ebm_avg_pool_window(ebm_graph *g, ebm_ref x, const ebm_window *window);
ebm_ref ebm_upsample(ebm_graph *g, ebm_ref x, int64_t factor); /* nearest */
/* Pixel i of the result is pixel floor(i H / height) of x. */
ebm_ref ebm_resize_nearest(ebm_graph *g, ebm_ref x, int64_t height, int64_t width);
/* Between the pixels at (i + 1/2) H / height - 1/2, held at the edges. */
ebm_ref ebm_resize_bilinear(ebm_graph *g, ebm_ref x, int64_t height, int64_t width);
/* Each channel with the binomial filter of odd `size`; `reflect`: mirrored at the border pixels,
 * else zeros around. */
ebm_ref ebm_blur(ebm_graph *g, ebm_ref x, int64_t size, bool reflect);
/* (N, H, W, b b C) to (N, b H, b W, C), and back. */
ebm_ref ebm_depth_to_space(ebm_graph *g, ebm_ref x, int64_t block);
ebm_ref ebm_space_to_depth(ebm_graph *g, ebm_ref x, int64_t block);

/* composite_loss.c: one number an element or a row, not reduced. */
ebm_ref ebm_huber(ebm_graph *g, ebm_ref x, double delta);
/* -log softmax(logits (..., K)) at labels (...), i32. */
ebm_ref ebm_cross_entropy(ebm_graph *g, ebm_ref logits, ebm_ref labels);
/* -(y log sigmoid(x) + (1 - y) log sigmoid(-x)). */
ebm_ref ebm_bce_with_logits(ebm_graph *g, ebm_ref x, ebm_ref y);
/* KL(N(m, exp l) || N(n, exp k)), diagonal, summed over the last axis. */
ebm_ref ebm_kl_normal(ebm_graph *g, ebm_ref m, ebm_ref l, ebm_ref n, ebm_ref k);

#endif
