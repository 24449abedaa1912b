/* test_index.c - cpu/index.c against loops over single elements. */
#include "kernels.h"

static const ebm_dtype all_types[] = {EBM_F32, EBM_F64, EBM_I32, EBM_BOOL, EBM_U8};
static const ebm_dtype added_types[] = {EBM_F32, EBM_F64, EBM_I32};

static ebm_view random_indices(const ebm_shape *shape, int64_t size, uint64_t *state)
{
    ebm_view idx = kernel_array(EBM_I32, shape);
    for (int64_t i = 0; i < ebm_shape_size(shape); i++)
        ((int32_t *)idx.data)[i] = (int32_t)test_below(state, size);
    return idx;
}

static bool same_element(const ebm_view *a, int64_t i, const ebm_view *b, int64_t k)
{
    size_t size = ebm_dtype_size((ebm_dtype)a->dtype);
    return memcmp((char *)a->data + (size_t)i * size, (char *)b->data + (size_t)k * size,
                  size) == 0;
}

/* to[i] += from[k] in the type of the arrays; integers wrap. */
static void add_element(const ebm_view *to, int64_t i, const ebm_view *from, int64_t k)
{
    if (to->dtype == EBM_F32)
        ((float *)to->data)[i] += ((const float *)from->data)[k];
    else if (to->dtype == EBM_F64)
        ((double *)to->data)[i] += ((const double *)from->data)[k];
    else
        ((uint32_t *)to->data)[i] += ((const uint32_t *)from->data)[k];
}

/* ---- take and scatter_add ---------------------------------------------------------------------- */

/* Shapes x (outer.., size, inner..), idx, and (outer.., idx.., inner..). */
typedef struct take_case {
    ebm_shape x, idx, taken;
    int64_t axis, inner, m;
} take_case;

static take_case make_take(const ebm_shape *x, int64_t axis, const ebm_shape *idx)
{
    take_case c = {.x = *x, .idx = *idx, .axis = axis, .inner = 1, .m = ebm_shape_size(idx)};
    for (int64_t i = 0; i < axis; i++) c.taken.dim[c.taken.rank++] = x->dim[i];
    for (int32_t i = 0; i < idx->rank; i++) c.taken.dim[c.taken.rank++] = idx->dim[i];
    for (int64_t i = axis + 1; i < x->rank; i++) c.taken.dim[c.taken.rank++] = x->dim[i];
    for (int64_t i = axis + 1; i < x->rank; i++) c.inner *= x->dim[i];
    return c;
}

/* Where element i of the taken array lies in x. */
static int64_t take_source(const take_case *c, const ebm_view *idx, int64_t i)
{
    int64_t inner = i % c->inner, k = i / c->inner % c->m, outer = i / c->inner / c->m;
    return (outer * c->x.dim[c->axis] + ((const int32_t *)idx->data)[k]) * c->inner + inner;
}

static void run_take(ebm_dtype dtype, const take_case *c, uint64_t *state)
{
    ebm_view in[] = {kernel_random(dtype, &c->x, state),
                     random_indices(&c->idx, c->x.dim[c->axis], state)};
    ebm_view out = kernel_array(dtype, &c->taken);
    for (int isa = 0; (isa = kernel_use_isa(isa)) >= 0; isa++) {
        kernel_run(EBM_OP_take, in, 2, &out, &c->axis, 1);
        for (int64_t i = 0; i < ebm_shape_size(&c->taken); i++)
            CHECK(same_element(&out, i, &in[0], take_source(c, &in[1], i)));
    }
    kernel_free(&in[0]);
    kernel_free(&in[1]);
    kernel_free(&out);
}

/* Bit-equal to adding one after another. */
static void run_scatter_add(ebm_dtype dtype, const take_case *c, uint64_t *state)
{
    ebm_view in[] = {kernel_random(dtype, &c->taken, state),
                     random_indices(&c->idx, c->x.dim[c->axis], state)};
    ebm_view out = kernel_array(dtype, &c->x), wanted = kernel_array(dtype, &c->x);
    int64_t attr[] = {c->axis, c->x.dim[c->axis]};
    memset(wanted.data, 0, kernel_bytes(&wanted));
    for (int64_t i = 0; i < ebm_shape_size(&c->taken); i++)
        add_element(&wanted, take_source(c, &in[1], i), &in[0], i);
    for (int isa = 0; (isa = kernel_use_isa(isa)) >= 0; isa++) {
        kernel_run(EBM_OP_scatter_add, in, 2, &out, attr, 2);
        CHECK(memcmp(out.data, wanted.data, kernel_bytes(&out)) == 0);
    }
    kernel_free(&in[0]);
    kernel_free(&in[1]);
    kernel_free(&out);
    kernel_free(&wanted);
}

TEST(take_and_scatter_add_random_shapes)
{
    uint64_t state = 1;
    for (int n = 0; n < 800; n++) {
        ebm_shape x = kernel_random_shape(4, &state), idx = kernel_random_shape(3, &state);
        while (ebm_shape_size(&idx) > 60)
            for (int32_t i = 0; i < idx.rank; i++) idx.dim[i] = (idx.dim[i] + 1) / 2;
        if (x.rank == 0) continue;
        int64_t axis = test_below(&state, x.rank);
        if (x.dim[axis] == 0) continue;
        take_case c = make_take(&x, axis, &idx);
        run_take(all_types[n % 5], &c, &state);
        run_scatter_add(added_types[n % 3], &c, &state);
    }
}

TEST(take_and_scatter_add_large_shapes)
{
    uint64_t state = 2;
    const take_case cases[] = {
        make_take(SHAPE(500, 784), 0, SHAPE(128)),   make_take(SHAPE(1000), 0, SHAPE(100, 700)),
        make_take(SHAPE(30, 200, 5), 1, SHAPE(300)), make_take(SHAPE(400, 300), 1, SHAPE(250)),
        make_take(SHAPE(3, 150000), 0, SHAPE(4)),
    };
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        for (int t = 0; t < 5; t++) run_take(all_types[t], &cases[k], &state);
        for (int t = 0; t < 3; t++) run_scatter_add(added_types[t], &cases[k], &state);
    }
}

/* ---- put --------------------------------------------------------------------------------------- */

static void run_put(ebm_dtype dtype, const ebm_shape *x, int64_t m, uint64_t *state)
{
    ebm_shape values = *x;
    values.dim[0] = m;
    ebm_view in[] = {kernel_random(dtype, x, state), random_indices(SHAPE(m), x->dim[0], state),
                     kernel_random(dtype, &values, state)};
    ebm_view out = kernel_array(dtype, x), wanted = kernel_array(dtype, x);
    size_t row = x->dim[0] ? kernel_bytes(&in[0]) / (size_t)x->dim[0] : 0;
    memcpy(wanted.data, in[0].data, kernel_bytes(&wanted));
    for (int64_t k = 0; k < m; k++)
        memcpy((char *)wanted.data + (size_t)((const int32_t *)in[1].data)[k] * row,
               (const char *)in[2].data + (size_t)k * row, row);
    for (int isa = 0; (isa = kernel_use_isa(isa)) >= 0; isa++) {
        kernel_run(EBM_OP_put, in, 3, &out, NULL, 0);
        CHECK(memcmp(out.data, wanted.data, kernel_bytes(&out)) == 0);
        ebm_view place[] = {out, in[1], in[2]};
        memcpy(out.data, in[0].data, kernel_bytes(&out));
        CHECK_OK(kernel_run_once(EBM_OP_put, place, 3, &out, NULL, 0));
        CHECK(memcmp(out.data, wanted.data, kernel_bytes(&out)) == 0);
    }
    for (int k = 0; k < 3; k++) kernel_free(&in[k]);
    kernel_free(&out);
    kernel_free(&wanted);
}

TEST(put_random_shapes)
{
    uint64_t state = 3;
    for (int n = 0; n < 300; n++) {
        ebm_shape x = kernel_random_shape(4, &state);
        if (x.rank == 0 || x.dim[0] == 0) continue;
        run_put(all_types[n % 5], &x, test_below(&state, 12), &state);
    }
    for (int t = 0; t < 5; t++) {
        run_put(all_types[t], SHAPE(300, 28, 28), 128, &state);
        run_put(all_types[t], SHAPE(1000), 3000, &state);
    }
    run_put(EBM_F32, SHAPE(0, 3), 0, &state);
}

/* ---- windows ----------------------------------------------------------------------------------- */

typedef struct window_case {
    ebm_shape x;
    int64_t attr[6]; /* kh, kw, sh, sw, ph, pw */
} window_case;

static ebm_shape windows_of(const window_case *c)
{
    ebm_shape out = c->x;
    for (int i = 0; i < 2; i++) {
        int64_t size = c->attr[i], stride = c->attr[2 + i], pad = c->attr[4 + i];
        int64_t last = (c->x.dim[1 + i] + 2 * pad - size) / stride;
        while (last * stride - pad >= c->x.dim[1 + i]) last--;
        out.dim[1 + i] = last + 1;
    }
    return out;
}

static void check_window_argmax(const window_case *c, const ebm_view *x, const ebm_view *out)
{
    ebm_shape to = kernel_shape(out);
    for (int64_t i = 0; i < ebm_shape_size(&to); i++) {
        int64_t at[4], best = -1;
        double most = 0;
        kernel_unravel(&to, i, at);
        for (int64_t k = 0; k < c->attr[0] * c->attr[1]; k++) {
            int64_t h = at[1] * c->attr[2] - c->attr[4] + k / c->attr[1];
            int64_t w = at[2] * c->attr[3] - c->attr[5] + k % c->attr[1];
            if (h < 0 || w < 0 || h >= c->x.dim[1] || w >= c->x.dim[2]) continue;
            int64_t from[] = {at[0], h, w, at[3]};
            double value = kernel_get(x, kernel_ravel(&c->x, from));
            if (best >= 0 && !(value > most) && !(isnan(value) && !isnan(most))) continue;
            best = h * c->x.dim[2] + w;
            most = value;
        }
        CHECK(best >= 0 && kernel_get(out, i) == (double)best);
    }
}

/* Few different values and some NaN. */
static void run_window_argmax(ebm_dtype dtype, const window_case *c, uint64_t *state)
{
    ebm_shape to = windows_of(c);
    ebm_view x = kernel_array(dtype, &c->x), out = kernel_array(EBM_I32, &to);
    for (int64_t i = 0; i < ebm_shape_size(&c->x); i++) {
        int64_t value = test_below(state, 20);
        kernel_set(&x, i, value == 19 ? NAN : (double)value - 5);
    }
    for (int isa = 0; (isa = kernel_use_isa(isa)) >= 0; isa++) {
        kernel_run(EBM_OP_window_argmax, &x, 1, &out, c->attr, 6);
        check_window_argmax(c, &x, &out);
    }
    kernel_free(&x);
    kernel_free(&out);
}

/* Where element i of the windows lies in an image of `places` pixels. */
static int64_t window_source(const ebm_view *idx, int64_t places, int64_t i)
{
    int64_t channels = idx->shape[3], image = i / (idx->shape[1] * idx->shape[2] * channels);
    return (image * places + ((const int32_t *)idx->data)[i]) * channels + i % channels;
}

static void run_window_take(ebm_dtype dtype, const window_case *c, uint64_t *state)
{
    ebm_shape to = windows_of(c);
    int64_t places = c->x.dim[1] * c->x.dim[2];
    ebm_view in[] = {kernel_random(dtype, &c->x, state), random_indices(&to, places, state)};
    ebm_view out = kernel_array(dtype, &to);
    for (int isa = 0; (isa = kernel_use_isa(isa)) >= 0; isa++) {
        kernel_run(EBM_OP_window_take, in, 2, &out, NULL, 0);
        for (int64_t i = 0; i < ebm_shape_size(&to); i++)
            CHECK(same_element(&out, i, &in[0], window_source(&in[1], places, i)));
    }
    kernel_free(&in[0]);
    kernel_free(&in[1]);
    kernel_free(&out);
}

static void run_window_put(ebm_dtype dtype, const window_case *c, uint64_t *state)
{
    ebm_shape windows = windows_of(c);
    int64_t places = c->x.dim[1] * c->x.dim[2];
    ebm_view in[] = {kernel_random(dtype, &windows, state),
                     random_indices(&windows, places, state)};
    ebm_view out = kernel_array(dtype, &c->x), wanted = kernel_array(dtype, &c->x);
    memset(wanted.data, 0, kernel_bytes(&wanted));
    for (int64_t i = 0; i < ebm_shape_size(&windows); i++)
        add_element(&wanted, window_source(&in[1], places, i), &in[0], i);
    for (int isa = 0; (isa = kernel_use_isa(isa)) >= 0; isa++) {
        kernel_run(EBM_OP_window_put, in, 2, &out, c->x.dim + 1, 2);
        CHECK(memcmp(out.data, wanted.data, kernel_bytes(&out)) == 0);
    }
    kernel_free(&in[0]);
    kernel_free(&in[1]);
    kernel_free(&out);
    kernel_free(&wanted);
}

static void run_windows(int n, const window_case *c, uint64_t *state)
{
    run_window_argmax(n % 2 ? EBM_F64 : EBM_F32, c, state);
    run_window_take(all_types[n % 5], c, state);
    run_window_put(added_types[n % 3], c, state);
}

TEST(window_random_shapes)
{
    uint64_t state = 4;
    for (int n = 0; n < 400; n++) {
        window_case c = {.x = EBM_DIMS(test_below(&state, 4), 1 + test_below(&state, 12),
                                       1 + test_below(&state, 12), test_below(&state, 40))};
        for (int i = 0; i < 2; i++) {
            int64_t size = 1 + test_below(&state, 4);
            c.attr[i] = size;
            c.attr[2 + i] = 1 + test_below(&state, 4);
            c.attr[4 + i] = test_below(&state, size);
            if (c.x.dim[1 + i] + 2 * c.attr[4 + i] < size) c.attr[i] = 1, c.attr[4 + i] = 0;
        }
        run_windows(n, &c, &state);
    }
}

TEST(window_large_shapes)
{
    static const window_case cases[] = {
        {{4, {20, 32, 32, 16}}, {2, 2, 2, 2, 0, 0}},
        {{4, {3, 20, 21, 300}}, {3, 3, 2, 2, 1, 1}},
        {{4, {200, 9, 9, 3}}, {3, 2, 3, 2, 0, 1}},
        {{4, {1, 70, 70, 520}}, {2, 2, 2, 2, 0, 0}},
    };
    uint64_t state = 5;
    for (int k = 0; k < 4; k++)
        for (int n = 0; n < 3; n++) run_windows(n, &cases[k], &state);
}

/* ---- errors ------------------------------------------------------------------------------------ */

/* Runs with index `bad` in the last place: INDEX, and the output is still junk. */
static void expect_index_error(ebm_op op, ebm_view *in, int32_t n_in, const ebm_shape *to,
                               const int64_t *attr, int32_t n_attr, int32_t bad,
                               const char *message)
{
    ebm_shape shape = kernel_shape(&in[1]);
    int32_t *last = (int32_t *)in[1].data + ebm_shape_size(&shape) - 1, good = *last;
    ebm_view out = kernel_array((ebm_dtype)in[0].dtype, to);
    *last = bad;
    for (int isa = 0; (isa = kernel_use_isa(isa)) >= 0; isa++) {
        CHECK_STATUS(kernel_run_once(op, in, n_in, &out, attr, n_attr), EBM_INDEX);
        CHECK(strcmp(ebm_message(), message) == 0);
        for (size_t i = 0; i < kernel_bytes(&out); i++)
            CHECK(((const unsigned char *)out.data)[i] == 0xa5);
    }
    *last = good;
    kernel_free(&out);
}

TEST(index_out_of_range)
{
    uint64_t state = 6;
    int64_t axis[] = {0, 5}, image[] = {2, 3};
    ebm_view rows[] = {kernel_random(EBM_F32, SHAPE(5, 3), &state),
                       random_indices(SHAPE(40000), 5, &state),
                       kernel_random(EBM_F32, SHAPE(40000, 3), &state)};
    ebm_view added[] = {rows[2], rows[1]};
    ebm_view pixels[] = {kernel_random(EBM_F32, SHAPE(2, 2, 3, 1), &state),
                         random_indices(SHAPE(2, 2, 3, 1), 6, &state)};
    const char *seven = "take: index out of range: got 7, expected 0 .. 4";
    ebm_shape table = EBM_DIMS(5, 3), taken = EBM_DIMS(40000, 3), images = EBM_DIMS(2, 2, 3, 1);
    expect_index_error(EBM_OP_take, rows, 2, &taken, axis, 1, 7, seven);
    expect_index_error(EBM_OP_take, rows, 2, &taken, axis, 1, -1,
                       "take: index out of range: got -1, expected 0 .. 4");
    expect_index_error(EBM_OP_scatter_add, added, 2, &table, axis, 2, 5,
                       "scatter_add: index out of range: got 5, expected 0 .. 4");
    expect_index_error(EBM_OP_put, rows, 3, &table, NULL, 0, INT32_MAX,
                       "put: index out of range: got 2147483647, expected 0 .. 4");
    expect_index_error(EBM_OP_window_take, pixels, 2, &images, NULL, 0, 6,
                       "window_take: index out of range: got 6, expected 0 .. 5");
    expect_index_error(EBM_OP_window_put, pixels, 2, &images, image, 2, INT32_MIN,
                       "window_put: index out of range: got -2147483648, expected 0 .. 5");
    for (int k = 0; k < 3; k++) kernel_free(&rows[k]);
    kernel_free(&pixels[0]);
    kernel_free(&pixels[1]);
}

TEST(index_into_nothing)
{
    uint64_t state = 7;
    int64_t axis = 0;
    ebm_view in[] = {kernel_random(EBM_F32, SHAPE(0, 3), &state),
                     random_indices(SHAPE(2), 1, &state)};
    expect_index_error(EBM_OP_take, in, 2, SHAPE(2, 3), &axis, 1, 0,
                       "take: index out of range: got 0, expected none: empty axis");
    kernel_free(&in[0]);
    kernel_free(&in[1]);
}

TEST(index_refuses_types)
{
    uint64_t state = 8;
    int64_t attr[] = {0, 4}, window[] = {1, 1, 1, 1, 0, 0};
    ebm_view flat[] = {kernel_random(EBM_U8, SHAPE(4), &state),
                       random_indices(SHAPE(4), 4, &state)};
    ebm_view image[] = {kernel_random(EBM_U8, SHAPE(1, 2, 2, 1), &state),
                        random_indices(SHAPE(1, 2, 2, 1), 4, &state)};
    CHECK_STATUS(kernel_run_once(EBM_OP_scatter_add, flat, 2, &flat[0], attr, 2),
                 EBM_UNSUPPORTED);
    CHECK(strcmp(ebm_message(), "scatter_add: no kernel for u8") == 0);
    CHECK_STATUS(kernel_run_once(EBM_OP_window_put, image, 2, &image[0], (int64_t[]){2, 2}, 2),
                 EBM_UNSUPPORTED);
    CHECK_STATUS(kernel_run_once(EBM_OP_window_argmax, image, 1, &image[1], window, 6),
                 EBM_UNSUPPORTED);
    for (int k = 0; k < 2; k++) {
        kernel_free(&flat[k]);
        kernel_free(&image[k]);
    }
}
