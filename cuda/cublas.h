// cublas.h - products by cuBLAS, which is looked for when the first one needs it.
#ifndef EBM_CUDA_CUBLAS_H
#define EBM_CUDA_CUBLAS_H

#include "kernels.h"

// Row-major: op(a) (m, k) times op(b) (k, n); a is stored (k, m) if ta, b (n, k) if tb; the products
// of a batch follow one another.  Every size fits 31 bits.
typedef struct ebm_cublas_product {
    int32_t dtype; // f32 or f64
    bool ta, tb;
    int64_t batch, m, n, k;
    const void *a, *b;
    void *c;
} ebm_cublas_product;

// Loads cuBLAS and gives it memory to work in, once.  DEVICE: it is not there.
ebm_status ebm__cublas_open();

ebm_status ebm__cublas_run(const ebm_cublas_product *p);

#endif
