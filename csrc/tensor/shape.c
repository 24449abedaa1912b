#include "tensor/shape.h"

#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    size_t size;
    bool is_float;
} dtypes[EBM_DTYPE_COUNT] = {
    [EBM_F32] = {"f32", 4, true},  [EBM_F64] = {"f64", 8, true},
    [EBM_I32] = {"i32", 4, false}, [EBM_BOOL] = {"bool", 1, false},
    [EBM_U8] = {"u8", 1, false},
};

const char *ebm_dtype_name(ebm_dtype dtype)
{
    return (unsigned)dtype < EBM_DTYPE_COUNT ? dtypes[dtype].name : "?";
}

size_t ebm_dtype_size(ebm_dtype dtype)
{
    return (unsigned)dtype < EBM_DTYPE_COUNT ? dtypes[dtype].size : 0;
}

bool ebm_dtype_is_float(ebm_dtype dtype)
{
    return (unsigned)dtype < EBM_DTYPE_COUNT && dtypes[dtype].is_float;
}

ebm_shape ebm_shape_of(int32_t rank, const int64_t *dim)
{
    ebm_shape shape = {.rank = rank};
    for (int32_t i = 0; i < rank && i < EBM_MAX_RANK; i++) shape.dim[i] = dim[i];
    return shape;
}

bool ebm_shape_equal(const ebm_shape *a, const ebm_shape *b)
{
    return a->rank == b->rank &&
           (a->rank == 0 || memcmp(a->dim, b->dim, (size_t)a->rank * sizeof a->dim[0]) == 0);
}

int64_t ebm_shape_size(const ebm_shape *shape)
{
    int64_t size = 1;
    for (int32_t i = 0; i < shape->rank; i++) size *= shape->dim[i];
    return size;
}

ebm_status ebm_shape_check(const ebm_shape *shape, const char *what)
{
    int64_t size = 1;
    for (int32_t i = 0; i < shape->rank; i++) {
        int64_t dim = shape->dim[i];
        if (dim == 0) continue;
        if (dim < 0 || __builtin_mul_overflow(size, dim, &size) || size > INT64_C(1) << 40) {
            char text[256];
            return ebm_fail(EBM_SHAPE, "%s: impossible shape %s", what,
                            ebm_shape_text(shape, text, sizeof text));
        }
    }
    return EBM_OK;
}

ebm_status ebm_shape_broadcast(ebm_shape *out, const ebm_shape *a, const ebm_shape *b,
                               const char *what)
{
    int32_t rank = a->rank > b->rank ? a->rank : b->rank;
    ebm_shape shape = {.rank = rank};
    for (int32_t i = 0; i < rank; i++) {
        int32_t ia = i - (rank - a->rank), ib = i - (rank - b->rank);
        int64_t da = ia < 0 ? 1 : a->dim[ia], db = ib < 0 ? 1 : b->dim[ib];
        if (da != db && da != 1 && db != 1) {
            char ta[128], tb[128];
            return ebm_fail(EBM_SHAPE, "%s: shapes do not broadcast: %s and %s", what,
                            ebm_shape_text(a, ta, sizeof ta), ebm_shape_text(b, tb, sizeof tb));
        }
        shape.dim[i] = da == 1 ? db : da;
    }
    *out = shape;
    return EBM_OK;
}

char *ebm_shape_text(const ebm_shape *shape, char *text, size_t size)
{
    size_t used = (size_t)snprintf(text, size, "(");
    for (int32_t i = 0; i < shape->rank && used < size; i++)
        used += (size_t)snprintf(text + used, size - used, i ? ", %lld" : "%lld",
                                 (long long)shape->dim[i]);
    if (used < size) snprintf(text + used, size - used, shape->rank == 1 ? ",)" : ")");
    return text;
}

ebm_view ebm_view_of(void *data, ebm_dtype dtype, const ebm_shape *shape)
{
    ebm_view view = {.data = data, .dtype = (int32_t)dtype, .rank = shape->rank};
    int64_t stride = 1;
    for (int32_t i = shape->rank - 1; i >= 0; i--) {
        view.shape[i] = shape->dim[i];
        view.stride[i] = stride;
        stride *= shape->dim[i];
    }
    return view;
}
