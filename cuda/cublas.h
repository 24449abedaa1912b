// cublas.h - products by cuBLAS, which is looked for when the first one needs it.
#ifndef EBM_CUDA_CUBLAS_H
#define EBM_CUDA_CUBLAS_H

#include "kernels.h"

// Row-major: op(a) (m, k) times op(b) (k, n); a is stored (k, m) if ta, b (n, k) if tb; the products
// of a batch follow one another.  Every size fits 31 bits.
typedef struct ebm_cublas_product {
    int32_t dtype;     // f32 or f64
    bool ta, tb, tf32; // tf32: it may round what it reads; of f32 only
    int64_t batch, m, n, k;
    const void *a, *b;
    void *c;
} ebm_cublas_product;

// Whether large products are its: on a card they are; on the host if EBMLIB_SHIM_CUBLAS is set, as
// tests do.
bool ebm__cublas_is_used();

// Loads cuBLAS and gives it memory to work in, once.  DEVICE: it is not there.
ebm_status ebm__cublas_open();

ebm_status ebm__cublas_run(const ebm_cublas_product *p);

#endif
