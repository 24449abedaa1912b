/* dense.h - the two products behind matmul and the convolutions.
 *
 * Both read their left operand through windows: output pixel p sees, at tap t, the `depth`
 * channels of one pixel of the image, or zeros outside of it.  With X[p][t][k] for these values
 *
 *     rows:     C[p][j]    = sum over t, k of  X[p][t][k] B[t][k][j]  matmul, conv, conv_data
 *     columns:  C[t][k][j] = sum over p    of  X[p][t][k] B[p][j]     matmul of A', conv_weight
 *
 * and a matrix (M, K) is an image of 1 x M pixels with K channels and one tap.
 *
 * Workload: M, N, K from 1 to some thousands, images of 4x4 to 64x64 with 1 to 512 channels.
 * Traps: outside of the image the zeros are multiplied too, so an infinite weight gives NaN
 * there.  Work is cut into tasks by shapes alone, so the bits do not depend on the number of
 * threads. */
#ifndef EBM_CPU_DENSE_H
#define EBM_CPU_DENSE_H

#include "base/threads.h"
#include "cpu/kernels.h"
#include "formulas/axes.h"

typedef struct ebm__dense_windows {
    const void *data;  /* images of h.size x w.size pixels, contiguous */
    const void *zeros; /* `depth` of them; may be NULL if no window leaves its image */
    int64_t images;
    ebm_window_axis h, w;
    int64_t pixel, depth; /* elements from a pixel to the next; channels read, from the first */
} ebm__dense_windows;

/* B and C as seen from the formulas above; strides count elements.  A stride that a product
 * does not name is not read. */
typedef struct ebm__dense_product {
    int32_t dtype; /* EBM_F32 or EBM_F64 */
    ebm__dense_windows x;
    int64_t columns; /* number of j */

    const void *b;
    int64_t b_tap_h, b_tap_w; /* rows: from tap to tap along each axis */
    int64_t b_k, b_j;         /* from k (rows) or p (columns) to the next, from j to the next */
                              /* one of the two is 1 */
    const void *packed;       /* rows: all of B as dense_pack leaves it, batch 1; NULL: not */
    void *c;                  /* j is contiguous */
    int64_t c_image;          /* rows: from image to image */
    int64_t c_h, c_w; /* from pixel to pixel (rows) or tap to tap (columns) along each axis */
    int64_t c_k;      /* columns: from channel to channel */

    int64_t batch; /* independent products, and the strides between them */
    int64_t x_batch, b_batch, c_batch;
} ebm__dense_product;

static inline int64_t ebm__dense_pixels(const ebm__dense_windows *x)
{
    return x->images * x->h.outputs * x->w.outputs;
}

static inline int64_t ebm__dense_taps(const ebm__dense_windows *x)
{
    return x->h.taps * x->w.taps;
}

#ifdef EBM_ISA
/* C is overwritten; nothing is read or written outside of X, B and C.  `scratch` has the bytes
 * that the function beside asks for, which does not look at data. */
void EBM_CPU(dense_rows)(const ebm__dense_product *product);
void EBM_CPU(dense_columns)(const ebm__dense_product *product, void *scratch);

/* B of a product `rows`, panel by panel, and its bytes on any instruction set; 0 if the product
 * reads B as it is. */
size_t EBM_CPU(dense_packed)(const ebm__dense_product *product);
void EBM_CPU(dense_pack)(const ebm__dense_product *product, void *to);
size_t EBM_CPU(dense_columns_scratch)(const ebm__dense_product *product);

/* Channel by channel: C[p][k] = sum over t of X[p][t][k] B[t][k], and C[t][k] = sum over p of
 * X[p][t][k] B[p][k].  batch is 1, columns and the strides b_j, c_k are not read. */
void EBM_CPU(dense_rows_depthwise)(const ebm__dense_product *product);
void EBM_CPU(dense_columns_depthwise)(const ebm__dense_product *product);

/* Runs the tasks on the pool if `work`, about their operations, is worth it; else here. */
void EBM_CPU(dense_spread)(double work, int64_t tasks, ebm_task task, void *context);
#endif

#endif
