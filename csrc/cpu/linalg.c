/* linalg.c - Cholesky factors, triangular systems, systems and determinants by LU, eigenvectors.
 *
 * Workload: batches of matrices with 2 to 200 rows or so (covariances, precisions, flows).  One
 * thread works on a matrix, in double whatever its type, in scratch; a batch is shared out.  The
 * inner loops run along rows.  What cannot be done is no error: NaN is written for that matrix. */
#include "cpu/kernels.h"

#include "base/threads.h"
#include "cpu/lanes.h"
#include "graph/graph.h"
#include "tensor/shape.h"

#include <float.h>
#include <math.h>
#include <string.h>

/* A batch of matrices a (n, n), right-hand sides b (n, m); m is 0 without b. */
typedef struct job {
    void (*one)(const struct job *job, int64_t k, double *work); /* matrix k of the batch */
    const ebm_view *a, *b, *out;
    const int64_t *attr;
    int64_t n, m;
    ebm__lanes lanes;
    char *scratch;
} job;

/* ---- reading and writing ----------------------------------------------------------------------- */

static inline double get(const ebm_view *x, int64_t i)
{
    return x->dtype == EBM_F64 ? ((const double *)x->data)[i] : ((const float *)x->data)[i];
}

static inline void set(const ebm_view *x, int64_t i, double value)
{
    if (x->dtype == EBM_F64)
        ((double *)x->data)[i] = value;
    else
        ((float *)x->data)[i] = (float)value;
}

/* Matrix k of a, into rows that are `step` apart. */
static void load(const job *j, int64_t k, bool transposed, double *to, int64_t step)
{
    int64_t n = j->n, first = k * n * n, down = transposed ? 1 : n, along = transposed ? n : 1;
    for (int64_t r = 0; r < n; r++)
        for (int64_t c = 0; c < n; c++)
            to[r * step + c] = get(j->a, first + r * down + c * along);
}

static void load_right(const job *j, int64_t k, double *to, int64_t step)
{
    for (int64_t r = 0; r < j->n; r++)
        for (int64_t c = 0; c < j->m; c++)
            to[r * step + c] = get(j->b, (k * j->n + r) * j->m + c);
}

/* Solution k, from rows that are `step` apart. */
static void store_right(const job *j, int64_t k, const double *from, int64_t step)
{
    for (int64_t r = 0; r < j->n; r++)
        for (int64_t c = 0; c < j->m; c++)
            set(j->out, (k * j->n + r) * j->m + c, from[r * step + c]);
}

/* Result k, of `size` elements. */
static void store_nan(const job *j, int64_t k, int64_t size)
{
    for (int64_t i = 0; i < size; i++) set(j->out, k * size + i, NAN);
}

/* y -= f x */
static inline void subtract(double *restrict y, const double *restrict x, double f, int64_t n)
{
    for (int64_t i = 0; i < n; i++) y[i] -= f * x[i];
}

/* ---- Cholesky ---------------------------------------------------------------------------------- */

/* The rows of u become those of U, with a = U' U; reads u's upper triangle.  False: not positive
 * definite. */
static bool factor_positive(double *u, int64_t n)
{
    for (int64_t k = 0; k < n; k++) {
        double *row = u + k * n, pivot = row[k];
        if (!(pivot > 0 && pivot <= DBL_MAX)) return false;
        pivot = sqrt(pivot);
        for (int64_t c = k; c < n; c++) row[c] /= pivot;
        for (int64_t r = k + 1; r < n; r++) subtract(u + r * n + r, row + r, row[r], n - r);
    }
    return true;
}

static void run_cholesky(const job *j, int64_t k, double *u)
{
    int64_t n = j->n;
    load(j, k, true, u, n);
    if (!factor_positive(u, n)) {
        store_nan(j, k, n * n);
        return;
    }
    for (int64_t r = 0; r < n; r++)
        for (int64_t c = 0; c < n; c++)
            set(j->out, (k * n + r) * n + c, c <= r ? u[c * n + r] : 0.0);
}

/* ---- systems ----------------------------------------------------------------------------------- */

static void divide(double *x, double by, int64_t n)
{
    for (int64_t i = 0; i < n; i++) x[i] /= by;
}

/* x = t^-1 x for rows of x of m numbers; the rows of t and of x are `step` apart. */
static void substitute(const double *t, double *x, int64_t n, int64_t m, int64_t step_t,
                       int64_t step, bool lower)
{
    for (int64_t i = 0; i < n; i++) {
        int64_t r = lower ? i : n - 1 - i, first = lower ? 0 : r + 1, end = lower ? r : n;
        for (int64_t c = first; c < end; c++)
            subtract(x + r * step, x + c * step, t[r * step_t + c], m);
        divide(x + r * step, t[r * step_t + r], m);
    }
}

static void run_triangular(const job *j, int64_t k, double *t)
{
    bool lower = j->attr[0] != 0, transposed = j->attr[1] != 0;
    double *x = t + j->n * j->n;
    load(j, k, transposed, t, j->n);
    load_right(j, k, x, j->m);
    substitute(t, x, j->n, j->m, j->n, j->m, lower != transposed);
    store_right(j, k, x, j->m);
}

/* The row from k on with the largest number in column k; NaN counts as largest. */
static int64_t find_pivot(const double *w, int64_t n, int64_t step, int64_t k)
{
    int64_t best = k;
    for (int64_t r = k; r < n; r++) {
        double size = fabs(w[r * step + k]);
        if (size != size) return r;
        if (size > fabs(w[best * step + k])) best = r;
    }
    return best;
}

/* Elimination with row exchanges in n rows that are `step` apart and as wide: the first n columns
 * become U, the others follow.  Returns the sign of the exchanges; 0 if the matrix is singular. */
static double eliminate(double *w, int64_t n, int64_t step)
{
    double sign = 1;
    for (int64_t k = 0; k < n; k++) {
        int64_t best = find_pivot(w, n, step, k), rest = step - k - 1;
        double *pivot = w + k * step, *other = w + best * step;
        if (best != k) {
            for (int64_t c = k; c < step; c++) {
                double kept = pivot[c];
                pivot[c] = other[c];
                other[c] = kept;
            }
            sign = -sign;
        }
        if (pivot[k] == 0) return 0;
        for (int64_t r = k + 1; r < n; r++) {
            double *row = w + r * step;
            subtract(row + k + 1, pivot + k + 1, row[k] / pivot[k], rest);
        }
    }
    return sign;
}

static void run_solve(const job *j, int64_t k, double *w)
{
    int64_t n = j->n, step = n + j->m;
    load(j, k, j->attr[0] != 0, w, step);
    load_right(j, k, w + n, step);
    if (eliminate(w, n, step) == 0) {
        store_nan(j, k, n * j->m);
        return;
    }
    substitute(w, w + n, n, j->m, step, step, false);
    store_right(j, k, w + n, step);
}

static void run_slogdet(const job *j, int64_t k, double *w)
{
    int64_t n = j->n;
    load(j, k, false, w, n);
    double sign = eliminate(w, n, n), log_size = sign == 0 ? -INFINITY : 0;
    for (int64_t i = 0; i < n && sign != 0; i++) {
        double d = w[i * n + i];
        sign = d != d ? d : d < 0 ? -sign : sign;
        log_size += log(fabs(d));
    }
    set(j->out, 2 * k, sign);
    set(j->out, 2 * k + 1, log_size);
}

/* ---- eigenvectors ------------------------------------------------------------------------------ */

/* x, y = c x - s y, s x + c y */
static inline void rotate(double *restrict x, double *restrict y, int64_t n, double c, double s)
{
    for (int64_t i = 0; i < n; i++) {
        double a = x[i], b = y[i];
        x[i] = c * a - s * b;
        y[i] = s * a + c * b;
    }
}

/* Turns rows and columns p and q of a so that a[p][q] becomes 0, and rows p, q of v with them
 * (Golub and Van Loan, Matrix Computations, 8.5). */
static void turn(double *a, double *v, int64_t n, int64_t p, int64_t q)
{
    double *row_p = a + p * n, *row_q = a + q * n, off = row_p[q];
    double tau = (row_q[q] - row_p[p]) / (2 * off);
    double t = copysign(1 / (fabs(tau) + hypot(1, tau)), tau), c = 1 / hypot(1, t), s = t * c;
    double at_p = row_p[p] - t * off, at_q = row_q[q] + t * off;
    rotate(row_p, row_q, n, c, s);
    rotate(v + p * n, v + q * n, n, c, s);
    row_p[p] = at_p;
    row_q[q] = at_q;
    row_p[q] = row_q[p] = 0;
    for (int64_t r = 0; r < n; r++) {
        a[r * n + p] = row_p[r];
        a[r * n + q] = row_q[r];
    }
}

/* Jacobi's method: sweeps over all pairs until nothing is left beside the diagonal.  The rows of v
 * become the vectors.  False if a is not finite, or after too many sweeps. */
static bool diagonalize(double *a, double *v, int64_t n)
{
    enum { SWEEPS = 50 };
    double largest = 0;
    for (int64_t i = 0; i < n * n; i++) {
        if (!(fabs(a[i]) <= DBL_MAX)) return false;
        largest = fmax(largest, fabs(a[i]));
        v[i] = i / n == i % n;
    }
    for (int sweep = 0; sweep < SWEEPS; sweep++) {
        bool done = true;
        for (int64_t p = 0; p < n; p++)
            for (int64_t q = p + 1; q < n; q++)
                if (fabs(a[p * n + q]) > 0.125 * DBL_EPSILON * largest) {
                    turn(a, v, n, p, q);
                    done = false;
                }
        if (done) return true;
    }
    return false;
}

static void run_eigh(const job *j, int64_t k, double *a)
{
    int64_t n = j->n, first = k * n * (n + 1);
    double *v = a + n * n;
    load(j, k, false, a, n);
    for (int64_t r = 0; r < n; r++)
        for (int64_t c = r + 1; c < n; c++) a[r * n + c] = a[c * n + r];
    if (!diagonalize(a, v, n)) {
        store_nan(j, k, n * (n + 1));
        return;
    }
    for (int64_t place = 0; place < n; place++) { /* the least of those left goes to `place` */
        int64_t least = place;
        for (int64_t i = place; i < n; i++)
            if (a[i * n + i] < a[least * n + least]) least = i;
        set(j->out, first + place, a[least * n + least]);
        for (int64_t c = 0; c < n; c++)
            set(j->out, first + (c + 1) * n + place, v[least * n + c]);
        a[least * n + least] = a[place * n + place];
        memcpy(v + least * n, v + place * n, (size_t)n * sizeof *v);
    }
}

/* ---- calls ------------------------------------------------------------------------------------- */

static job read_args(const ebm_kernel_args *args)
{
    const ebm_view *a = &args->in[0];
    job j = {.a = a, .out = &args->out[0], .attr = args->attr, .scratch = args->scratch};
    int64_t batch = 1;
    for (int32_t i = 0; i < a->rank - 2; i++) batch *= a->shape[i];
    j.n = a->shape[a->rank - 1];
    if (args->n_in == 2) {
        j.b = &args->in[1];
        j.m = j.b->shape[j.b->rank - 1];
    }
    int64_t columns = args->op == EBM_OP_eigh ? 2 * j.n : j.n + j.m, sweeps = 1;
    switch (args->op) {
    case EBM_OP_cholesky: j.one = run_cholesky; break;
    case EBM_OP_solve_triangular: j.one = run_triangular; break;
    case EBM_OP_solve: j.one = run_solve; break;
    case EBM_OP_slogdet: j.one = run_slogdet; break;
    case EBM_OP_eigh: j.one = run_eigh, sweeps = 10; break;
    default: break;
    }
    double work = (double)(sweeps * j.n * columns) * (double)j.n;
    j.lanes = ebm__lanes_of(batch, work, (size_t)(j.n * columns) * sizeof(double));
    return j;
}

static void run_lane(void *context, int64_t lane)
{
    const job *j = context;
    double *work = (double *)(void *)(j->scratch + (size_t)lane * j->lanes.bytes);
    int64_t end = ebm__lanes_first(&j->lanes, lane + 1);
    for (int64_t k = ebm__lanes_first(&j->lanes, lane); k < end; k++) j->one(j, k, work);
}

size_t EBM_CPU(linalg_scratch)(const ebm_kernel_args *args)
{
    job j = read_args(args);
    return ebm__lanes_scratch(&j.lanes);
}

ebm_status EBM_CPU(linalg)(const ebm_kernel_args *args)
{
    job j = read_args(args);
    if (!j.one || !ebm_dtype_is_float((ebm_dtype)args->out[0].dtype))
        return ebm_fail(EBM_UNSUPPORTED, "linalg: no kernel for op %d of %s", (int)args->op,
                        ebm_dtype_name((ebm_dtype)args->out[0].dtype));
    ebm_parallel(j.lanes.count, run_lane, &j);
    return EBM_OK;
}
