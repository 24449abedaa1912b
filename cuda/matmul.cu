// matmul.cu - the product of (batches of) matrices.
//
// op(A) (M, K) times op(B) (K, N), op being nothing or the transposition.  Which kernel runs depends
// on the shape alone:
//
//   a thread for each element   few terms a sum, or thousands of tiny matrices
//   tiles (product.h)           small products, which cuBLAS is not faster at; on the host all, but
//                               for tests of cublas.cu
//   cuBLAS                      all others
#include "cublas.h"
#include "kernels.h"
#include "product.h"

namespace
{

enum {
    FEW_TERMS = 16, // then reading and writing is what a product costs
    TINY = 256,
    TINY_TERMS = 64,
    SMALL = 64 * 64 * 64 // multiplications of a product that cuBLAS is not called for
};

typedef ebm_cublas_product matmul;

matmul read_args(const ebm_kernel_args *args)
{
    const ebm_view *a = &args->in[0], *c = &args->out[0];
    matmul p = {};
    p.dtype = c->dtype;
    p.ta = args->attr[0] != 0;
    p.tb = args->attr[1] != 0;
    p.tf32 = args->precision == EBM_PRECISION_TF32;
    p.batch = 1;
    for (int32_t i = 0; i < c->rank - 2; i++) p.batch *= c->shape[i];
    p.m = c->shape[c->rank - 2];
    p.n = c->shape[c->rank - 1];
    p.k = a->shape[a->rank - (p.ta ? 2 : 1)];
    p.a = a->data;
    p.b = args->in[1].data;
    p.c = c->data;
    return p;
}

// ---- a thread for each element ------------------------------------------------------------------

template <class T> __global__ void element_kernel(const matmul p)
{
    const T *a = (const T *)p.a, *b = (const T *)p.b;
    int64_t a_m = p.ta ? 1 : p.k, a_k = p.ta ? p.m : 1, b_k = p.tb ? 1 : p.n,
            b_n = p.tb ? p.k : 1;
    int64_t size = p.batch * p.m * p.n, step = (int64_t)gridDim.x * blockDim.x;
    for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < size; i += step) {
        int64_t row = i / p.n, batch = row / p.m;
        const T *left = a + batch * p.m * p.k + (row - batch * p.m) * a_m;
        const T *right = b + batch * p.k * p.n + (i - row * p.n) * b_n;
        T sum = 0;
        for (int64_t k = 0; k < p.k; k++)
            sum = ebm__cuda_fma(left[k * a_k], right[k * b_k], sum);
        ((T *)p.c)[i] = sum;
    }
}

template <class T> void launch_elements(const matmul *p)
{
    int32_t block = ebm_cuda->block;
    EBM_LAUNCH_PLAIN(element_kernel<T>, ebm__cuda_grid(p->batch * p->m * p->n, block),
                     dim3((unsigned)block), *p);
}

// ---- tiles --------------------------------------------------------------------------------------

template <class T> using tile = ebm_tile<T, 64, 64, 4, 4>;

template <class T_, bool TA, bool TB> struct tiled {
    typedef T_ T;
    typedef ebm_matrix_source<T, !TA> A;
    typedef ebm_matrix_source<T, TB> B;
    ebm_product_grid grid;
    T *partial;
    const T *a, *b;
    T *c;

    __device__ A open_a(const ebm_product_place &at) const
    {
        const ebm_product_grid &g = grid;
        int64_t row = TA ? 1 : g.k, column = TA ? g.m : 1;
        return {a + at.batch * g.m * g.k + at.m * row + at.k * column, row, column, at.rows,
                at.depth};
    }
    __device__ B open_b(const ebm_product_place &at) const
    {
        const ebm_product_grid &g = grid;
        int64_t row = TB ? g.k : 1, column = TB ? 1 : g.n;
        return {b + at.batch * g.k * g.n + at.n * row + at.k * column, row, column, at.columns,
                at.depth};
    }
    __device__ T *result(int64_t batch, int64_t m) const
    {
        return c + (batch * grid.m + m) * grid.n;
    }
};

ebm_product_grid grid_of(const matmul *p)
{
    return ebm__cuda_product_grid(p->m, p->n, p->k, p->batch, 64, 64);
}

template <class T, bool TA, bool TB> void launch_tiles(const matmul *p, void *scratch)
{
    tiled<T, TA, TB> t = {};
    t.grid = grid_of(p);
    t.partial = (T *)scratch;
    t.a = (const T *)p->a;
    t.b = (const T *)p->b;
    t.c = (T *)p->c;
    ebm__cuda_launch_product<tile<T>>(t);
}

template <class T> void launch_tiles(const matmul *p, void *scratch)
{
    if (p->ta)
        p->tb ? launch_tiles<T, true, true>(p, scratch)
              : launch_tiles<T, true, false>(p, scratch);
    else
        p->tb ? launch_tiles<T, false, true>(p, scratch)
              : launch_tiles<T, false, false>(p, scratch);
}

// ---- calls --------------------------------------------------------------------------------------

enum way { BY_ELEMENTS, BY_TILES, BY_CUBLAS };

way way_of(const matmul *p)
{
    if (p->k <= FEW_TERMS) return BY_ELEMENTS;
    if (p->m <= TINY && p->n <= TINY && p->m * p->n <= TINY && p->k <= TINY_TERMS)
        return BY_ELEMENTS;
    bool fits = p->m <= INT32_MAX && p->n <= INT32_MAX && p->k <= INT32_MAX;
    bool small = p->m <= SMALL && p->n <= SMALL && p->k <= SMALL && p->m * p->n <= SMALL &&
                 p->m * p->n * p->k <= SMALL;
    return fits && !small && ebm__cublas_is_used() ? BY_CUBLAS : BY_TILES;
}

} // namespace

size_t ebm__cuda_matmul_scratch(const ebm_kernel_args *args)
{
    matmul p = read_args(args);
    way way = way_of(&p);
    // Now, for a run that is being captured must not allocate; what fails here fails there again.
    if (way == BY_CUBLAS) (void)ebm__cublas_open();
    if (way != BY_TILES) return 0;
    return ebm__cuda_product_scratch(grid_of(&p), (size_t)ebm__cuda_item(p.dtype));
}

ebm_status ebm__cuda_matmul(const ebm_kernel_args *args)
{
    int32_t dtype = args->out[0].dtype;
    if (args->op != EBM_OP_matmul || (dtype != EBM_F32 && dtype != EBM_F64))
        return ebm_fail(EBM_UNSUPPORTED, "matmul: no kernel for op %d of %s", (int)args->op,
                        ebm_dtype_name((ebm_dtype)dtype));
    matmul p = read_args(args);
    bool wide = dtype == EBM_F64;
    if (p.batch * p.m * p.n == 0) return EBM_OK;
    switch (way_of(&p)) {
    case BY_CUBLAS: return ebm__cublas_run(&p);
    case BY_TILES:
        wide ? launch_tiles<double>(&p, args->scratch) : launch_tiles<float>(&p, args->scratch);
        break;
    case BY_ELEMENTS: wide ? launch_elements<double>(&p) : launch_elements<float>(&p); break;
    }
    return ebm__cuda_launched("matmul");
}
