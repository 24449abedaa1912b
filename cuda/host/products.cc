// products.cc - as much of cuBLAS as ebmlib asks for, on the host.
//
// Products are plain loops, in their turn in the stream.  In TF32 mode factors are rounded as a
// card rounds them, so that the mode shows in the results.  What the original would refuse or do
// wrong is refused: sizes and leading dimensions that do not fit, a product without a workspace of
// the caller's (which would allocate, in a capture too).
#include <cuda_runtime.h>

namespace
{

enum { SUCCESS = 0, NOT_INITIALIZED = 1, INVALID_VALUE = 7, NOT_SUPPORTED = 15, TF32_MATH = 3 };

struct context {
    cudaStream_t stream;
    void *workspace;
    int math;
};

int create(context **out)
{
    *out = new context();
    return SUCCESS;
}

int set_stream(context *c, cudaStream_t stream)
{
    c->stream = stream;
    c->workspace = nullptr; // as the original does
    return SUCCESS;
}

int set_workspace(context *c, void *data, size_t)
{
    c->workspace = data;
    return SUCCESS;
}

int set_math_mode(context *c, int math)
{
    if (math != 0 && math != TF32_MATH) return NOT_SUPPORTED;
    c->math = math;
    return SUCCESS;
}

// To 11 bits of mantissa, to the nearest, ties to even.
float rounded(float x)
{
    unsigned u = __float_as_uint(x);
    if ((u & 0x7F800000) == 0x7F800000) return x;
    return __uint_as_float((u + 0xFFF + (u >> 13 & 1)) & ~0x1FFFu);
}
double rounded(double x)
{
    return x;
}

// A matrix by columns, or its transpose.
template <class T> struct matrix {
    const T *data;
    long long rows, columns;
    bool round;
    T at(long long i, long long j) const
    {
        T x = data[i * rows + j * columns];
        return round ? rounded(x) : x;
    }
};

template <class T>
int products(context *c, int ta, int tb, int m, int n, int k, const T *alpha, const T *a,
             int lda, long long step_a, const T *b, int ldb, long long step_b, const T *beta,
             T *to, int ldc, long long step_c, int batch)
{
    if (!c || !c->stream || !c->workspace) return NOT_INITIALIZED;
    if (m < 0 || n < 0 || k < 0 || batch < 0 || batch > 65535) return INVALID_VALUE;
    if (lda < (ta ? k : m) || ldb < (tb ? n : k) || ldc < m) return INVALID_VALUE;
    bool round = c->math == TF32_MATH;
    T scale = *alpha, keep = *beta;
    shim::submit(c->stream, [=] {
        for (long long e = 0; e < batch; e++) {
            matrix<T> left = {a + e * step_a, ta ? lda : 1, ta ? 1 : lda, round};
            matrix<T> right = {b + e * step_b, tb ? ldb : 1, tb ? 1 : ldb, round};
            for (long long j = 0; j < n; j++)
                for (long long i = 0; i < m; i++) {
                    T sum = 0, *at = to + e * step_c + j * ldc + i;
                    for (long long l = 0; l < k; l++) sum += left.at(i, l) * right.at(l, j);
                    *at = scale * sum + (keep == 0 ? 0 : keep * *at);
                }
        }
    });
    return SUCCESS;
}

template <class T>
int product(context *c, int ta, int tb, int m, int n, int k, const T *alpha, const T *a,
            int lda, const T *b, int ldb, const T *beta, T *to, int ldc)
{
    return products<T>(c, ta, tb, m, n, k, alpha, a, lda, 0, b, ldb, 0, beta, to, ldc, 0, 1);
}

} // namespace

void *shim::cublas(const char *name)
{
    static const struct {
        const char *name;
        void *function;
    } all[] = {
        {"cublasCreate_v2", (void *)create},
        {"cublasSetStream_v2", (void *)set_stream},
        {"cublasSetWorkspace_v2", (void *)set_workspace},
        {"cublasSetMathMode", (void *)set_math_mode},
        {"cublasSgemm_v2", (void *)product<float>},
        {"cublasDgemm_v2", (void *)product<double>},
        {"cublasSgemmStridedBatched", (void *)products<float>},
        {"cublasDgemmStridedBatched", (void *)products<double>},
    };
    const char *setting = getenv("EBMLIB_SHIM_CUBLAS");
    if (setting && strcmp(setting, "missing") == 0) return nullptr;
    for (auto &one : all)
        if (strcmp(one.name, name) == 0) return one.function;
    return nullptr;
}
