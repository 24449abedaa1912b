/* test_conv.c - cpu/conv.c against seven loops. */
#include "dense_case.h"

#include "ops/ops.h"

/* One convolution x (n, h, w, c), kernel (kh, kw, c / groups, o) -> q; attr as in ops.h. */
typedef struct geometry {
    int64_t n, h, w, c, kh, kw, o, attr[EBM_CONV_ATTRS];
} geometry;

static int64_t extent(int64_t size, int64_t pad, int64_t dilation, int64_t kernel, int64_t stride)
{
    int64_t span = size + pad - dilation * (kernel - 1) - 1;
    return span < 0 ? 0 : span / stride + 1;
}

static int64_t height_of(const geometry *g)
{
    return extent(g->h, g->attr[EBM_CONV_TOP] + g->attr[EBM_CONV_BOTTOM],
                  g->attr[EBM_CONV_DILATION_H], g->kh, g->attr[EBM_CONV_STRIDE_H]);
}

static int64_t width_of(const geometry *g)
{
    return extent(g->w, g->attr[EBM_CONV_LEFT] + g->attr[EBM_CONV_RIGHT],
                  g->attr[EBM_CONV_DILATION_W], g->kw, g->attr[EBM_CONV_STRIDE_W]);
}

/* All three ops are one trilinear form: for every pixel p of x, element e of the kernel and
 * pixel r of q that meet, the output's element gains the product of the other two. */
static void add_products(ebm_op op, const geometry *g, int64_t oh, int64_t ow,
                         const ebm_view *a, const ebm_view *b, double *out)
{
    const int64_t *t = g->attr;
    int64_t groups = t[EBM_CONV_GROUPS], ci = g->c / groups, co = g->o / groups;
    for (int64_t n = 0; n < g->n; n++)
        for (int64_t i = 0; i < oh * ow * g->kh * g->kw; i++) {
            int64_t kw = i % g->kw, kh = i / g->kw % g->kh, pixel = i / (g->kw * g->kh);
            int64_t h = pixel / ow * t[EBM_CONV_STRIDE_H] - t[EBM_CONV_TOP] +
                        kh * t[EBM_CONV_DILATION_H];
            int64_t w = pixel % ow * t[EBM_CONV_STRIDE_W] - t[EBM_CONV_LEFT] +
                        kw * t[EBM_CONV_DILATION_W];
            if (h < 0 || h >= g->h || w < 0 || w >= g->w) continue;
            for (int64_t o = 0; o < g->o; o++)
                for (int64_t k = 0; k < ci; k++) {
                    int64_t p = ((n * g->h + h) * g->w + w) * g->c + o / co * ci + k;
                    int64_t e = ((kh * g->kw + kw) * ci + k) * g->o + o;
                    int64_t r = (n * oh * ow + pixel) * g->o + o;
                    if (op == EBM_OP_conv)
                        out[r] += kernel_get(a, p) * kernel_get(b, e);
                    else if (op == EBM_OP_conv_data)
                        out[p] += kernel_get(a, r) * kernel_get(b, e);
                    else
                        out[e] += kernel_get(a, p) * kernel_get(b, r);
                }
        }
}

static void check_op(ebm_op op, const geometry *g, ebm_dtype dtype, uint64_t *state)
{
    int64_t oh = height_of(g), ow = width_of(g), attr[EBM_CONV_ATTRS];
    ebm_shape x = EBM_DIMS(g->n, g->h, g->w, g->c), q = EBM_DIMS(g->n, oh, ow, g->o);
    ebm_shape kernel = EBM_DIMS(g->kh, g->kw, g->c / g->attr[EBM_CONV_GROUPS], g->o);
    memcpy(attr, g->attr, sizeof attr);
    const ebm_shape *first = &x, *second = &kernel, *out = &q;
    if (op == EBM_OP_conv_data) {
        first = &q;
        out = &x;
    } else if (op == EBM_OP_conv_weight) {
        second = &q;
        out = &kernel;
    }
    if (op != EBM_OP_conv) {
        attr[EBM_CONV_RESULT_H] = op == EBM_OP_conv_data ? g->h : g->kh;
        attr[EBM_CONV_RESULT_W] = op == EBM_OP_conv_data ? g->w : g->kw;
    }
    ebm_view in[] = {dense_input(dtype, first, state), dense_input(dtype, second, state)};
    dense_sprinkle(&in[0], state);
    double *expected = dense_zeros(out);
    add_products(op, g, oh, ow, &in[0], &in[1], expected);
    dense_check(op, in, out, attr, EBM_CONV_ATTRS, expected);
    free(in[0].data);
    free(in[1].data);
}

static void check_all(const geometry *g, ebm_dtype dtype, uint64_t *state)
{
    check_op(EBM_OP_conv, g, dtype, state);
    check_op(EBM_OP_conv_data, g, dtype, state);
    check_op(EBM_OP_conv_weight, g, dtype, state);
}

/* Square images and kernels, `pad` on all sides. */
static geometry square(int64_t n, int64_t size, int64_t c, int64_t o, int64_t kernel,
                       int64_t stride, int64_t pad, int64_t dilation, int64_t groups)
{
    geometry g = {.n = n, .h = size, .w = size, .c = c, .kh = kernel, .kw = kernel, .o = o};
    const int64_t attr[] = {stride,   stride,   pad,    pad, pad, pad,
                            dilation, dilation, groups, 0,   0};
    memcpy(g.attr, attr, sizeof attr);
    return g;
}

/* A channel count that meets every kind of tile. */
static int64_t random_channels(uint64_t *state)
{
    static const int64_t counts[] = {1, 1, 2, 3, 4, 5, 6, 8, 9, 13, 16, 17, 20, 33};
    return counts[test_below(state, sizeof counts / sizeof *counts)];
}

static geometry random_geometry(uint64_t *state)
{
    int64_t groups = test_below(state, 3) ? 1 : 1 + test_below(state, 5);
    geometry g = {.n = 1 + test_below(state, 3),
                  .h = 1 + test_below(state, 9),
                  .w = 1 + test_below(state, 9),
                  .c = groups * random_channels(state),
                  .kh = 1 + test_below(state, 5),
                  .kw = 1 + test_below(state, 5),
                  .o = groups * random_channels(state)};
    g.attr[EBM_CONV_STRIDE_H] = 1 + test_below(state, 4);
    g.attr[EBM_CONV_STRIDE_W] = 1 + test_below(state, 4);
    for (int i = EBM_CONV_TOP; i <= EBM_CONV_RIGHT; i++) g.attr[i] = test_below(state, 5);
    g.attr[EBM_CONV_DILATION_H] = 1 + test_below(state, 3);
    g.attr[EBM_CONV_DILATION_W] = 1 + test_below(state, 3);
    g.attr[EBM_CONV_GROUPS] = groups;
    return g;
}

TEST(conv_random_geometries)
{
    uint64_t state = 11;
    for (int i = 0; i < 1200; i++) {
        geometry g = random_geometry(&state);
        if (height_of(&g) > 0 && width_of(&g) > 0)
            check_all(&g, i % 3 ? EBM_F32 : EBM_F64, &state);
    }
}

/* Groups of one channel in and one out have kernels of their own. */
TEST(conv_depthwise)
{
    uint64_t state = 12;
    for (int i = 0; i < 200; i++) {
        geometry g = random_geometry(&state);
        g.attr[EBM_CONV_GROUPS] = g.c = g.o = 2 + test_below(&state, 40);
        if (height_of(&g) > 0 && width_of(&g) > 0)
            check_all(&g, i % 2 ? EBM_F32 : EBM_F64, &state);
    }
}

/* Shapes of real networks: many tasks, sums in blocks and in parts, all tiles full. */
TEST(conv_real_layers)
{
    static const int64_t layers[][9] = {
        {1, 12, 128, 64, 3, 1, 1, 1, 1}, {2, 14, 64, 64, 4, 2, 1, 1, 1},
        {2, 7, 64, 72, 4, 2, 1, 1, 1},   {12, 28, 1, 64, 3, 1, 1, 1, 1},
        {4, 32, 3, 40, 3, 1, 1, 1, 1},   {2, 32, 64, 6, 3, 1, 1, 1, 1},
        {2, 24, 16, 1, 5, 1, 2, 1, 1},   {1, 32, 4, 24, 8, 8, 0, 1, 1},
        {2, 9, 300, 8, 1, 1, 0, 1, 1},   {2, 20, 32, 32, 3, 1, 2, 2, 1},
        {2, 20, 32, 64, 3, 2, 1, 1, 4},  {2, 24, 80, 80, 5, 1, 2, 1, 80},
        {1, 30, 2, 3, 7, 1, 3, 1, 1},    {1, 12, 24, 4, 9, 1, 4, 1, 1}};
    uint64_t state = 13;
    for (size_t i = 0; i < sizeof layers / sizeof *layers; i++) {
        const int64_t *l = layers[i];
        geometry g = square(l[0], l[1], l[2], l[3], l[4], l[5], l[6], l[7], l[8]);
        check_all(&g, EBM_F32, &state);
        if (i % 3 == 0) check_all(&g, EBM_F64, &state);
    }
}

TEST(conv_sizes_of_zero)
{
    uint64_t state = 14;
    geometry images = square(0, 5, 3, 4, 3, 1, 1, 1, 1);
    geometry channels = square(2, 5, 0, 4, 3, 1, 1, 1, 1);
    geometry results = square(2, 5, 3, 0, 3, 1, 1, 1, 1);
    geometry both = square(2, 5, 0, 0, 3, 1, 1, 1, 1);
    geometry pixels = square(2, 0, 3, 4, 2, 1, 2, 1, 1);
    geometry kernel = square(2, 4, 20, 20, 3, 1, 1, 1, 1);
    kernel.kw = 0;
    check_all(&images, EBM_F32, &state);
    check_all(&channels, EBM_F32, &state);
    check_all(&results, EBM_F64, &state);
    check_all(&both, EBM_F32, &state);
    check_all(&pixels, EBM_F32, &state);
    check_all(&kernel, EBM_F32, &state);
    kernel.kh = 0;
    check_all(&kernel, EBM_F64, &state);
    kernel.kw = 3;
    kernel.c = 3;
    check_all(&kernel, EBM_F32, &state);
}

/* Nearly all taps fall on the padding. */
TEST(conv_kernel_larger_than_image)
{
    uint64_t state = 15;
    for (int64_t c = 1; c <= 20; c += 19) {
        geometry near = square(2, 2, c, 18, 7, 1, 3, 1, 1);
        geometry far = square(2, 1, c, 18, 2, 3, 4, 5, 1);
        check_all(&near, EBM_F32, &state);
        check_all(&far, EBM_F32, &state);
    }
}

TEST(conv_refuses_integers)
{
    const ebm_shape *one = SHAPE(1, 1, 1, 1);
    ebm_view in[] = {kernel_array(EBM_I32, one), kernel_array(EBM_I32, one)};
    ebm_view out = kernel_array(EBM_I32, one);
    const int64_t attr[EBM_CONV_ATTRS] = {1, 1, 0, 0, 0, 0, 1, 1, 1, 0, 0};
    CHECK_STATUS(kernel_run_once(EBM_OP_conv, in, 2, &out, attr, EBM_CONV_ATTRS),
                 EBM_UNSUPPORTED);
    CHECK(strstr(ebm_message(), "conv") && strstr(ebm_message(), "i32"));
    kernel_free(&in[0]);
    kernel_free(&in[1]);
    kernel_free(&out);
}
