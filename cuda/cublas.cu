// cublas.cu - products by cuBLAS, loaded at run time.
//
// Nothing of ebmlib links against it, and whoever runs no product needs none.  It is looked for in
// the folder (or as the file) that EBMLIB_CUBLAS names, where the Python package nvidia-cublas has
// put it, and then where the system looks for libraries.  The few prototypes are written here; on the
// host cuda/host/products.cc answers to them.
#include "cublas.h"

#include <dlfcn.h>
#include <stdio.h>

#include <mutex>

namespace
{

enum { SUCCESS = 0, AS_STORED = 0, TRANSPOSED = 1 };
enum { DEFAULT_MATH = 0, TF32_MATH = 3 }; // default: float32 throughout

// What a product may use; cuBLAS asks for as much on an H100.  Its own, so that a captured product
// allocates nothing.
const size_t WORKSPACE = (size_t)32 << 20;

const int64_t MOST_BATCHES = 65535;

typedef struct cublas_context *handle;

template <class T>
using gemm = int(handle, int ta, int tb, int m, int n, int k, const T *alpha, const T *a,
                 int lda, const T *b, int ldb, const T *beta, T *c, int ldc);
template <class T>
using gemm_batch = int(handle, int ta, int tb, int m, int n, int k, const T *alpha, const T *a,
                       int lda, long long step_a, const T *b, int ldb, long long step_b,
                       const T *beta, T *c, int ldc, long long step_c, int batch);

struct library {
    std::mutex lock;
    handle open;
    void *workspace;
    int math; // its mode, which a call has when it is made, and so a captured one when replayed
    int (*create)(handle *out);
    int (*set_stream)(handle, cudaStream_t stream);
    int (*set_workspace)(handle, void *data, size_t bytes);
    int (*set_math_mode)(handle, int mode);
    gemm<float> *product_f32;
    gemm<double> *product_f64;
    gemm_batch<float> *products_f32;
    gemm_batch<double> *products_f64;
};
library cublas;

ebm_status check(int status, const char *what)
{
    return status == SUCCESS ? EBM_OK
                             : ebm_fail(EBM_DEVICE, "cuda: cuBLAS: %s: status %d", what, status);
}

// ---- loading ------------------------------------------------------------------------------------

#if defined(EBM_HOST_SHIM)
void *load_file()
{
    return shim::cublas("cublasCreate_v2");
}
void *symbol_of(void *, const char *name)
{
    return shim::cublas(name);
}
#else
void *load_file()
{
    static const char *const names[] = {"libcublas.so.13", "libcublas.so.12", "libcublas.so"};
    const char *place = getenv("EBMLIB_CUBLAS");
    char path[4096];
    void *found = nullptr;
    if (place && *place) {
        found = dlopen(place, RTLD_NOW | RTLD_LOCAL);
        for (int k = 0; !found && k < 3; k++) {
            int n = snprintf(path, sizeof path, "%s/%s", place, names[k]);
            if (n > 0 && n < (int)sizeof path) found = dlopen(path, RTLD_NOW | RTLD_LOCAL);
        }
    }
    for (int k = 0; !found && k < 3; k++) found = dlopen(names[k], RTLD_NOW | RTLD_LOCAL);
    return found;
}
void *symbol_of(void *file, const char *name)
{
    return dlsym(file, name);
}
#endif

template <class Function> ebm_status find(void *file, Function **out, const char *name)
{
    void *symbol = symbol_of(file, name);
    if (!symbol) return ebm_fail(EBM_DEVICE, "cuda: cuBLAS: it has no %s", name);
    memcpy(out, &symbol, sizeof symbol);
    return EBM_OK;
}

ebm_status load_functions()
{
    void *file = load_file();
    if (!file)
        return ebm_fail(EBM_DEVICE,
                        "cuda: products need cuBLAS: pip install nvidia-cublas (or set "
                        "EBMLIB_CUBLAS to the folder of libcublas.so)");
    EBM_TRY(find(file, &cublas.create, "cublasCreate_v2"));
    EBM_TRY(find(file, &cublas.set_stream, "cublasSetStream_v2"));
    EBM_TRY(find(file, &cublas.set_workspace, "cublasSetWorkspace_v2"));
    EBM_TRY(find(file, &cublas.set_math_mode, "cublasSetMathMode"));
    EBM_TRY(find(file, &cublas.product_f32, "cublasSgemm_v2"));
    EBM_TRY(find(file, &cublas.product_f64, "cublasDgemm_v2"));
    EBM_TRY(find(file, &cublas.products_f32, "cublasSgemmStridedBatched"));
    return find(file, &cublas.products_f64, "cublasDgemmStridedBatched");
}

// The workspace must be set after the stream, which resets it.
ebm_status open_handle(handle *out)
{
    if (!cublas.workspace && cudaMalloc(&cublas.workspace, WORKSPACE) != cudaSuccess) {
        (void)cudaGetLastError();
        return ebm_fail(EBM_NOMEM, "cuda: cuBLAS: no %zu bytes to work in", WORKSPACE);
    }
    EBM_TRY(check(cublas.create(out), "create"));
    EBM_TRY(check(cublas.set_stream(*out, ebm_cuda->stream), "stream"));
    EBM_TRY(check(cublas.set_workspace(*out, cublas.workspace, WORKSPACE), "workspace"));
    return check(cublas.set_math_mode(*out, cublas.math = DEFAULT_MATH), "math mode");
}

// ---- calls --------------------------------------------------------------------------------------

ebm_status set_math(int math)
{
    if (math == cublas.math) return EBM_OK;
    cublas.math = math;
    return check(cublas.set_math_mode(cublas.open, math), "math mode");
}

// cuBLAS knows columns only; read by columns, a row-major matrix is its transpose, and so
// c' = op(b)' op(a)'.
template <class T>
ebm_status multiply(const ebm_cublas_product *p, gemm<T> *one, gemm_batch<T> *many)
{
    const T alpha = 1, beta = 0;
    int ta = p->ta ? TRANSPOSED : AS_STORED, tb = p->tb ? TRANSPOSED : AS_STORED;
    int m = (int)p->m, n = (int)p->n, k = (int)p->k, lda = p->ta ? m : k, ldb = p->tb ? k : n;
    const T *a = (const T *)p->a, *b = (const T *)p->b;
    T *c = (T *)p->c;
    if (p->batch == 1)
        return check(one(cublas.open, tb, ta, n, m, k, &alpha, b, ldb, a, lda, &beta, c, n),
                     "product");
    int64_t step_a = p->m * p->k, step_b = p->k * p->n, step_c = p->m * p->n;
    for (int64_t i = 0; i < p->batch; i += MOST_BATCHES) {
        int64_t left = p->batch - i, count = left < MOST_BATCHES ? left : MOST_BATCHES;
        EBM_TRY(check(many(cublas.open, tb, ta, n, m, k, &alpha, b + i * step_b, ldb, step_b,
                           a + i * step_a, lda, step_a, &beta, c + i * step_c, n, step_c,
                           (int)count),
                      "products"));
    }
    return EBM_OK;
}

} // namespace

bool ebm__cublas_is_used()
{
#if defined(EBM_HOST_SHIM)
    static const bool used = getenv("EBMLIB_SHIM_CUBLAS") != nullptr;
    return used;
#else
    return true;
#endif
}

ebm_status ebm__cublas_open()
{
    std::lock_guard<std::mutex> hold(cublas.lock);
    if (cublas.open) return EBM_OK;
    handle made = nullptr;
    EBM_TRY(load_functions());
    EBM_TRY(open_handle(&made));
    cublas.open = made;
    return EBM_OK;
}

ebm_status ebm__cublas_run(const ebm_cublas_product *p)
{
    EBM_TRY(ebm__cublas_open());
    EBM_TRY(set_math(p->tf32 ? TF32_MATH : DEFAULT_MATH));
    return p->dtype == EBM_F64 ? multiply<double>(p, cublas.product_f64, cublas.products_f64)
                               : multiply<float>(p, cublas.product_f32, cublas.products_f32);
}
