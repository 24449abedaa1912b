/* test_move.c - cpu/move.c against loops over single elements, for every type. */
#include "kernels.h"

static const ebm_dtype all_types[] = {EBM_F32, EBM_F64, EBM_I32, EBM_BOOL, EBM_U8};

static bool same_element(const ebm_view *a, int64_t i, const ebm_view *b, int64_t k)
{
    size_t size = ebm_dtype_size((ebm_dtype)a->dtype);
    return memcmp((char *)a->data + (size_t)i * size, (char *)b->data + (size_t)k * size,
                  size) == 0;
}

/* Where element `at` of the result comes from in x: an index, or -1 for zero. */
typedef int64_t (*source)(const ebm_shape *x, const int64_t *at, const int64_t *attr);

static void run_move(ebm_op op, ebm_dtype dtype, const ebm_shape *from, const ebm_shape *to,
                     const int64_t *attr, int32_t n_attr, source source_of, uint64_t *state)
{
    ebm_view x = kernel_random(dtype, from, state), out = kernel_array(dtype, to);
    ebm_view zero = kernel_array(dtype, &EBM_SCALAR);
    kernel_set(&zero, 0, 0);
    for (int isa = 0; (isa = kernel_use_isa(isa)) >= 0; isa++) {
        kernel_run(op, &x, 1, &out, attr, n_attr);
        for (int64_t i = 0; i < ebm_shape_size(to); i++) {
            int64_t at[EBM_MAX_RANK];
            kernel_unravel(to, i, at);
            int64_t k = source_of(from, at, attr);
            CHECK(k < 0 ? same_element(&out, i, &zero, 0) : same_element(&out, i, &x, k));
        }
    }
    kernel_free(&x);
    kernel_free(&out);
    kernel_free(&zero);
}

/* ---- broadcast --------------------------------------------------------------------------------- */

static int64_t broadcast_source(const ebm_shape *x, const int64_t *at, const int64_t *attr)
{
    int64_t from[EBM_MAX_RANK];
    const int64_t *where = attr + 1 + attr[0];
    for (int32_t i = 0; i < x->rank; i++) from[i] = x->dim[i] == 1 ? 0 : at[where[i]];
    return kernel_ravel(x, from);
}

static void run_broadcast(ebm_dtype dtype, const ebm_shape *to, int64_t mask, uint64_t *state)
{
    int64_t attr[1 + 2 * EBM_MAX_RANK] = {to->rank};
    ebm_shape from = EBM_SCALAR;
    memcpy(attr + 1, to->dim, (size_t)to->rank * sizeof *attr);
    for (int32_t i = 0; i < to->rank; i++) {
        if (!(mask >> i & 1)) continue;
        attr[1 + to->rank + from.rank] = i;
        from.dim[from.rank++] = mask >> (8 + i) & 1 ? 1 : to->dim[i];
    }
    run_move(EBM_OP_broadcast, dtype, &from, to, attr, 1 + to->rank + from.rank,
             broadcast_source, state);
}

TEST(broadcast_random_shapes)
{
    uint64_t state = 1;
    for (int n = 0; n < 600; n++) {
        ebm_shape to = kernel_random_shape(5, &state);
        run_broadcast(all_types[n % 5], &to, test_below(&state, 1 << 16), &state);
    }
    for (int k = 0; k < 5; k++) {
        run_broadcast(all_types[k], SHAPE(100000), 0, &state);
        run_broadcast(all_types[k], SHAPE(1000, 70), 1, &state);
        run_broadcast(all_types[k], SHAPE(1000, 70), 2, &state);
        run_broadcast(all_types[k], SHAPE(40, 30, 50), 5, &state);
    }
}

/* ---- reshape, mark, stop ----------------------------------------------------------------------- */

static int64_t same_source(const ebm_shape *x, const int64_t *at, const int64_t *attr)
{
    (void)attr;
    return kernel_ravel(x, at);
}

static int64_t flat_source(const ebm_shape *x, const int64_t *at, const int64_t *attr)
{
    (void)x;
    (void)attr;
    return at[0];
}

TEST(reshape_mark_stop_copy)
{
    uint64_t state = 2;
    int64_t serial = 7;
    for (int n = 0; n < 100; n++) {
        ebm_shape shape = n < 5 ? EBM_DIMS(300, 401) : kernel_random_shape(5, &state);
        int64_t size[] = {1, ebm_shape_size(&shape)};
        ebm_dtype dtype = all_types[n % 5];
        run_move(EBM_OP_mark, dtype, &shape, &shape, &serial, 1, same_source, &state);
        run_move(EBM_OP_stop, dtype, &shape, &shape, NULL, 0, same_source, &state);
        run_move(EBM_OP_reshape, dtype, &shape, SHAPE(size[1]), size, 2, flat_source, &state);
    }
}

/* The copy also reads views: here columns 7, 5, 3, 1 of each row. */
TEST(stop_reads_any_strides)
{
    uint64_t state = 3;
    ebm_view x = kernel_random(EBM_F32, SHAPE(50, 9), &state);
    ebm_view out = kernel_array(EBM_F32, SHAPE(50, 4));
    ebm_view seen = ebm_view_of((float *)x.data + 7, EBM_F32, SHAPE(50, 4));
    seen.stride[0] = 9;
    seen.stride[1] = -2;
    for (int isa = 0; (isa = kernel_use_isa(isa)) >= 0; isa++) {
        CHECK_OK(kernel_run_once(EBM_OP_stop, &seen, 1, &out, NULL, 0));
        for (int64_t i = 0; i < 200; i++)
            CHECK(same_element(&out, i, &x, i / 4 * 9 + 7 - 2 * (i % 4)));
    }
    kernel_free(&x);
    kernel_free(&out);
}

/* ---- permute ----------------------------------------------------------------------------------- */

static int64_t permute_source(const ebm_shape *x, const int64_t *at, const int64_t *attr)
{
    int64_t from[EBM_MAX_RANK];
    for (int32_t i = 0; i < x->rank; i++) from[attr[i]] = at[i];
    return kernel_ravel(x, from);
}

static void run_permute(ebm_dtype dtype, const ebm_shape *from, const int64_t *axes,
                        uint64_t *state)
{
    ebm_shape to = *from;
    for (int32_t i = 0; i < to.rank; i++) to.dim[i] = from->dim[axes[i]];
    run_move(EBM_OP_permute, dtype, from, &to, axes, from->rank, permute_source, state);
}

TEST(permute_random_shapes)
{
    uint64_t state = 4;
    for (int n = 0; n < 1000; n++) {
        ebm_shape from = kernel_random_shape(6, &state);
        int64_t axes[EBM_MAX_RANK];
        for (int32_t i = 0; i < from.rank; i++) {
            int64_t k = test_below(&state, i + 1);
            axes[i] = axes[k];
            axes[k] = i;
        }
        run_permute(all_types[n % 5], &from, axes, &state);
    }
}

TEST(permute_layouts)
{
    uint64_t state = 5;
    for (int k = 0; k < 5; k++) {
        run_permute(all_types[k], SHAPE(330, 290), (int64_t[]){1, 0}, &state);
        run_permute(all_types[k], SHAPE(256, 128), (int64_t[]){1, 0}, &state);
        run_permute(all_types[k], SHAPE(40000, 3), (int64_t[]){1, 0}, &state);
        run_permute(all_types[k], SHAPE(5, 20, 20, 33), (int64_t[]){0, 3, 1, 2}, &state);
        run_permute(all_types[k], SHAPE(5, 33, 20, 20), (int64_t[]){0, 2, 3, 1}, &state);
        run_permute(all_types[k], SHAPE(9, 3, 40, 40), (int64_t[]){0, 2, 3, 1}, &state);
        run_permute(all_types[k], SHAPE(4, 60, 3, 70), (int64_t[]){0, 2, 1, 3}, &state);
        run_permute(all_types[k], SHAPE(20, 30, 17, 9), (int64_t[]){3, 2, 1, 0}, &state);
    }
}

/* ---- slice and pad ----------------------------------------------------------------------------- */

static int64_t slice_source(const ebm_shape *x, const int64_t *at, const int64_t *attr)
{
    int64_t from[EBM_MAX_RANK];
    for (int32_t i = 0; i < x->rank; i++) from[i] = attr[3 * i] + at[i] * attr[3 * i + 1];
    return kernel_ravel(x, from);
}

static int64_t pad_source(const ebm_shape *x, const int64_t *at, const int64_t *attr)
{
    int64_t from[EBM_MAX_RANK];
    for (int32_t i = 0; i < x->rank; i++) {
        int64_t away = at[i] - attr[3 * i], step = attr[3 * i + 1];
        if (away % step || away / step < 0 || away / step >= x->dim[i]) return -1;
        from[i] = away / step;
    }
    return kernel_ravel(x, from);
}

/* A slice of `whole`, with its shape in `part`; steps of -3 to 3. */
static void random_slice(const ebm_shape *whole, ebm_shape *part, int64_t *attr, uint64_t *state)
{
    *part = *whole;
    for (int32_t i = 0; i < whole->rank; i++) {
        int64_t size = whole->dim[i], step = 1 + test_below(state, 3), start = 0, count = 0;
        if (size) {
            start = test_below(state, size);
            if (test_below(state, 3) == 0) step = -step;
            int64_t most = step > 0 ? (size - start + step - 1) / step : start / -step + 1;
            count = test_below(state, 8) ? 1 + test_below(state, most) : 0;
        }
        if (test_below(state, 4) == 0) start = 0, step = 1, count = size;
        attr[3 * i] = start;
        attr[3 * i + 1] = step;
        attr[3 * i + 2] = part->dim[i] = count;
    }
}

TEST(slice_and_pad_random_shapes)
{
    uint64_t state = 6;
    for (int n = 0; n < 1000; n++) {
        ebm_shape whole = kernel_random_shape(5, &state), part;
        int64_t attr[3 * EBM_MAX_RANK];
        random_slice(&whole, &part, attr, &state);
        run_move(EBM_OP_slice, all_types[n % 5], &whole, &part, attr, 3 * whole.rank,
                 slice_source, &state);
        for (int32_t i = 0; i < whole.rank; i++) attr[3 * i + 2] = whole.dim[i];
        run_move(EBM_OP_pad, all_types[n % 5], &part, &whole, attr, 3 * whole.rank, pad_source,
                 &state);
    }
}

TEST(slice_and_pad_images)
{
    uint64_t state = 7;
    ebm_shape whole = EBM_DIMS(7, 44, 40, 5), part = EBM_DIMS(7, 20, 38, 5);
    int64_t attr[] = {0, 1, 7, 41, -2, 20, 1, 1, 38, 4, -1, 5};
    for (int k = 0; k < 5; k++) {
        for (int i = 0; i < 4; i++) attr[3 * i + 2] = part.dim[i];
        run_move(EBM_OP_slice, all_types[k], &whole, &part, attr, 12, slice_source, &state);
        for (int i = 0; i < 4; i++) attr[3 * i + 2] = whole.dim[i];
        run_move(EBM_OP_pad, all_types[k], &part, &whole, attr, 12, pad_source, &state);
    }
}

/* ---- concat and iota --------------------------------------------------------------------------- */

static void run_concat(ebm_dtype dtype, const ebm_shape *like, int64_t axis,
                       const int64_t *sizes, int32_t n, uint64_t *state)
{
    ebm_view in[KERNEL_MAX_IN];
    ebm_shape part = *like, to = *like;
    to.dim[axis] = 0;
    for (int32_t k = 0; k < n; k++) {
        part.dim[axis] = sizes[k];
        to.dim[axis] += sizes[k];
        in[k] = kernel_random(dtype, &part, state);
    }
    ebm_view out = kernel_array(dtype, &to);
    for (int isa = 0; (isa = kernel_use_isa(isa)) >= 0; isa++) {
        kernel_run(EBM_OP_concat, in, n, &out, &axis, 1);
        for (int64_t i = 0; i < ebm_shape_size(&to); i++) {
            int64_t at[EBM_MAX_RANK];
            int32_t k = 0;
            kernel_unravel(&to, i, at);
            while (at[axis] >= sizes[k]) at[axis] -= sizes[k++];
            part = kernel_shape(&in[k]);
            CHECK(same_element(&out, i, &in[k], kernel_ravel(&part, at)));
        }
    }
    for (int32_t k = 0; k < n; k++) kernel_free(&in[k]);
    kernel_free(&out);
}

TEST(concat_random_shapes)
{
    uint64_t state = 8;
    for (int n = 0; n < 500; n++) {
        ebm_shape like = kernel_random_shape(4, &state);
        int64_t sizes[5];
        int32_t count = 1 + (int32_t)test_below(&state, 5);
        for (int32_t k = 0; k < count; k++) sizes[k] = test_below(&state, 5);
        if (like.rank)
            run_concat(all_types[n % 5], &like, test_below(&state, like.rank), sizes, count,
                       &state);
    }
    for (int k = 0; k < 5; k++) {
        run_concat(all_types[k], SHAPE(1000, 0), 1, (int64_t[]){30, 31}, 2, &state);
        run_concat(all_types[k], SHAPE(0, 1000), 0, (int64_t[]){30, 31}, 2, &state);
    }
}

TEST(iota_every_axis)
{
    static const ebm_dtype types[] = {EBM_F32, EBM_F64, EBM_I32};
    uint64_t state = 9;
    for (int n = 0; n < 300; n++) {
        ebm_shape to = n < 3 ? EBM_DIMS(300, 401) : kernel_random_shape(5, &state);
        if (to.rank == 0) continue;
        ebm_dtype dtype = types[n % 3];
        int64_t attr[3 + EBM_MAX_RANK] = {dtype, test_below(&state, to.rank), to.rank};
        memcpy(attr + 3, to.dim, (size_t)to.rank * sizeof *attr);
        ebm_view out = kernel_array(dtype, &to);
        for (int isa = 0; (isa = kernel_use_isa(isa)) >= 0; isa++) {
            kernel_run(EBM_OP_iota, NULL, 0, &out, attr, 3 + to.rank);
            for (int64_t i = 0; i < ebm_shape_size(&to); i++) {
                int64_t at[EBM_MAX_RANK];
                kernel_unravel(&to, i, at);
                CHECK(kernel_get(&out, i) == (double)at[attr[1]]);
            }
        }
        kernel_free(&out);
    }
    ebm_view u8 = kernel_array(EBM_U8, SHAPE(4));
    int64_t attr[] = {EBM_U8, 0, 1, 4};
    CHECK_STATUS(kernel_run_once(EBM_OP_iota, NULL, 0, &u8, attr, 4), EBM_UNSUPPORTED);
    kernel_free(&u8);
}
