/* shape.h - element types and shapes. */
#ifndef EBM_TENSOR_SHAPE_H
#define EBM_TENSOR_SHAPE_H

#include "base/status.h"
#include "formulas/kernel_args.h"

typedef struct ebm_shape {
    int32_t rank;
    int64_t dim[EBM_MAX_RANK];
} ebm_shape;

/* "f32", ... and bytes of one element. */
const char *ebm_dtype_name(ebm_dtype dtype);
size_t ebm_dtype_size(ebm_dtype dtype);
bool ebm_dtype_is_float(ebm_dtype dtype);

/* EBM_DIMS(2, 3) is a (2, 3) shape; EBM_SCALAR is (). */
#define EBM_DIMS(...)                                                                            \
    ebm_shape_of((int32_t)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)),                    \
                 (const int64_t[]){__VA_ARGS__})
#define EBM_SCALAR ((ebm_shape){.rank = 0})

ebm_shape ebm_shape_of(int32_t rank, const int64_t *dim);
bool ebm_shape_equal(const ebm_shape *a, const ebm_shape *b);
int64_t ebm_shape_size(const ebm_shape *shape); /* number of elements; 1 for a scalar */

/* SHAPE naming `what`, unless all sizes are >= 0 and the product of those above 0, which strides
 * are made of, is at most 2^40: then no sum of offsets or of an arena's bytes overflows. */
ebm_status ebm_shape_check(const ebm_shape *shape, const char *what);

/* NumPy's broadcast of two shapes; SHAPE error naming `what`. */
ebm_status ebm_shape_broadcast(ebm_shape *out, const ebm_shape *a, const ebm_shape *b,
                               const char *what);

/* Writes "(2, 3)" and returns `text`; `size` of 128 is enough for any shape. */
char *ebm_shape_text(const ebm_shape *shape, char *text, size_t size);

/* A contiguous view of `data`. */
ebm_view ebm_view_of(void *data, ebm_dtype dtype, const ebm_shape *shape);

#endif
