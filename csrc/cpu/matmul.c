/* matmul.c - the product of (batches of) matrices, by the products of dense.h.
 *
 * op(A) (M, K) times op(B) (K, N), op being nothing or the transposition.  op(A) = A is the
 * product `rows`, op(A) = A' is `columns`; B is packed on the fly either way.  Here are the
 * small ones: products of a hundred multiplications or so, of which a batch may have thousands,
 * and products with a vector, which read the matrix once, as it lies in memory: along its lines
 * (the dot tiles of `rows`) or, if it is transposed, across them. */
#include "cpu/dense.h"
#include "graph/graph.h"
#include "tensor/shape.h"

#include <string.h>

/* One product of the batch: A is (m, k), or (k, m) if ta; B is (k, n), or (n, k) if tb. */
typedef struct matmul {
    int32_t dtype;
    bool ta, tb;
    int64_t batch, m, n, k;
    const void *a, *b;
    void *c;
} matmul;

static matmul read_args(const ebm_kernel_args *args)
{
    const ebm_view *a = &args->in[0], *b = &args->in[1], *c = &args->out[0];
    matmul p = {.dtype = c->dtype, .batch = 1};
    p.ta = args->attr[0] != 0;
    p.tb = args->attr[1] != 0;
    for (int32_t i = 0; i < c->rank - 2; i++) p.batch *= c->shape[i];
    p.m = c->shape[c->rank - 2];
    p.n = c->shape[c->rank - 1];
    p.k = a->shape[a->rank - (p.ta ? 2 : 1)];
    p.a = a->data;
    p.b = b->data;
    p.c = c->data;
    if (p.m != 1 || p.n == 1) return p;
    /* A row times a matrix is the transposed matrix times a column, and C looks the same. */
    return (matmul){p.dtype, !p.tb, false, p.batch, p.n, 1, p.k, p.b, p.a, p.c};
}

static ebm__dense_product product_of(const matmul *p)
{
    ebm__dense_product d = {.dtype = p->dtype, .columns = p->n, .batch = p->batch};
    int64_t pixels = p->ta ? p->k : p->m, channels = p->ta ? p->m : p->k;
    d.x = (ebm__dense_windows){
        .data = p->a,
        .images = 1,
        .h = {.outputs = 1, .taps = 1, .size = 1, .step = 1},
        .w = {.outputs = pixels, .taps = 1, .size = pixels, .step = 1},
        .pixel = channels,
        .depth = channels,
    };
    d.b = p->b;
    d.b_k = p->tb ? 1 : p->n;
    d.b_j = p->tb ? p->k : 1;
    d.c = p->c;
    d.c_w = d.c_k = p->n;
    d.x_batch = p->m * p->k;
    d.b_batch = p->k * p->n;
    d.c_batch = p->m * p->n;
    return d;
}

/* ---- the small ones ---------------------------------------------------------------------------- */

/* Up to TINY multiplications a product are done by plain loops, GROUP products a task.  STRIP
 * elements of the result are a task of a transposed matrix times a vector. */
enum { TINY = 128, GROUP = 64, STRIP = 512 };

#define DEFINE_SMALL(REAL, tiny, strip)                                                       \
    static void tiny(void *context, int64_t task)                                             \
    {                                                                                         \
        const matmul *p = context;                                                            \
        int64_t m = p->m, n = p->n, k = p->k;                                                 \
        int64_t a_i = p->ta ? 1 : k, a_l = p->ta ? m : 1, b_l = p->tb ? 1 : n;                \
        int64_t b_j = p->tb ? k : 1, end = (task + 1) * GROUP;                                \
        for (int64_t q = task * GROUP; q < (end < p->batch ? end : p->batch); q++) {          \
            const REAL *a = (const REAL *)p->a + q * m * k;                                   \
            const REAL *b = (const REAL *)p->b + q * k * n;                                   \
            REAL *c = (REAL *)p->c + q * m * n;                                               \
            for (int64_t i = 0; i < m; i++)                                                   \
                for (int64_t j = 0; j < n; j++) {                                             \
                    REAL sum = 0;                                                             \
                    for (int64_t l = 0; l < k; l++)                                           \
                        sum += a[i * a_i + l * a_l] * b[l * b_l + j * b_j];                   \
                    c[i * n + j] = sum;                                                       \
                }                                                                             \
        }                                                                                     \
    }                                                                                         \
    /* c[i] = sum over k of b[k] a[k * m + i] for a strip of i. */                            \
    static void strip(void *context, int64_t task)                                            \
    {                                                                                         \
        const matmul *p = context;                                                            \
        int64_t strips = (p->m + STRIP - 1) / STRIP, batch = task / strips, m = p->m, k = 0;  \
        int64_t first = task % strips * STRIP, n = m - first < STRIP ? m - first : STRIP;     \
        const REAL *a = (const REAL *)p->a + batch * p->k * m + first;                        \
        const REAL *b = (const REAL *)p->b + batch * p->k;                                    \
        REAL *c = (REAL *)p->c + batch * m + first, sum[STRIP] = {0};                         \
        for (; k + 4 <= p->k; k += 4, a += 4 * m)                                             \
            for (int64_t i = 0; i < n; i++)                                                   \
                sum[i] += (b[k] * a[i] + b[k + 1] * a[m + i]) +                               \
                          (b[k + 2] * a[2 * m + i] + b[k + 3] * a[3 * m + i]);                \
        for (; k < p->k; k++, a += m)                                                         \
            for (int64_t i = 0; i < n; i++) sum[i] += b[k] * a[i];                            \
        memcpy(c, sum, (size_t)n * sizeof(REAL));                                             \
    }
DEFINE_SMALL(float, tiny_f32, strip_f32)
DEFINE_SMALL(double, tiny_f64, strip_f64)

/* ---- calls ------------------------------------------------------------------------------------- */

static bool is_tiny(const matmul *p)
{
    return p->m <= TINY && p->n <= TINY && p->k <= TINY && p->m * p->n * p->k <= TINY;
}

static bool is_strips(const matmul *p)
{
    return p->ta && p->n == 1 && !is_tiny(p);
}

size_t EBM_CPU(matmul_scratch)(const ebm_kernel_args *args)
{
    if (args->op == EBM_OP_PACK) return 0;
    matmul p = read_args(args);
    if (!p.ta || is_strips(&p) || is_tiny(&p)) return 0;
    ebm__dense_product product = product_of(&p);
    return EBM_CPU(dense_columns_scratch)(&product);
}

size_t EBM_CPU(matmul_packed)(const ebm_kernel_args *args)
{
    matmul p = read_args(args);
    if (args->in[1].rank != 2 || p.ta || p.batch != 1 || is_tiny(&p) || p.a != args->in[0].data)
        return 0;
    ebm__dense_product product = product_of(&p);
    return EBM_CPU(dense_packed)(&product);
}

/* B alone, (K, N) or (N, K) if tb. */
static void run_pack(const ebm_kernel_args *args)
{
    const ebm_view *b = &args->in[0];
    bool tb = args->attr[2] != 0;
    matmul p = {.dtype = b->dtype, .tb = tb, .batch = 1, .m = 1, .b = b->data};
    p.k = b->shape[tb ? 1 : 0];
    p.n = b->shape[tb ? 0 : 1];
    ebm__dense_product product = product_of(&p);
    EBM_CPU(dense_pack)(&product, args->out[0].data);
}

ebm_status EBM_CPU(matmul)(const ebm_kernel_args *args)
{
    if (args->op == EBM_OP_PACK) {
        run_pack(args);
        return EBM_OK;
    }
    if (args->op != EBM_OP_matmul || !ebm_dtype_is_float((ebm_dtype)args->out[0].dtype))
        return ebm_fail(EBM_UNSUPPORTED, "matmul: no kernel for op %d of %s", (int)args->op,
                        ebm_dtype_name((ebm_dtype)args->out[0].dtype));
    matmul p = read_args(args);
    bool wide = p.dtype == EBM_F64;
    double flops = 2.0 * (double)p.batch * (double)p.m * (double)p.n * (double)p.k;
    ebm__dense_product product = product_of(&p);
    if (args->n_attr > 2) product.packed = p.b;
    if (is_tiny(&p))
        EBM_CPU(dense_spread)(flops, (p.batch + GROUP - 1) / GROUP, wide ? tiny_f64 : tiny_f32,
                              &p);
    else if (is_strips(&p))
        EBM_CPU(dense_spread)(flops, p.batch * ((p.m + STRIP - 1) / STRIP),
                              wide ? strip_f64 : strip_f32, &p);
    else if (p.ta)
        EBM_CPU(dense_columns)(&product, args->scratch);
    else
        EBM_CPU(dense_rows)(&product);
    return EBM_OK;
}
