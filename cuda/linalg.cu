// linalg.cu - Cholesky factors, triangular systems, systems and determinants by LU,
// eigenvectors.
//
// Workload: as csrc/cpu/linalg.c.  A block works on a matrix, in double whatever its type, in
// shared memory if the matrix fits, else in scratch; a batch is shared out.  What the twin does
// row by row the threads do at once: a step on row k is followed by all that it changes.  What
// cannot be done is no error: NaN is written for that matrix.
#include "kernels.h"

#include <float.h>

namespace
{

enum {
    WARP = 32,
    MOST_THREADS = 256,
    SHARED_BYTES = 44 << 10, // the rest is for what all threads share besides
    MOST_BLOCKS = 1 << 16,
    SCRATCH_BYTES = 1 << 27, // of all blocks, unless one wants more
    SWEEPS = 50
};

// A batch of matrices a (n, n), right-hand sides b (n, m); m is 0 without b.
template <class T> struct job {
    const T *a, *b;
    T *out;
    double *scratch;              // null: in shared memory
    int64_t batch, n, m, doubles; // that a block works in
    bool lower, transposed;
};

// The threads of a block as rows of a table that is `columns` wide.
struct team {
    int32_t x, y, width, height;
};

__device__ inline team team_for(int64_t columns)
{
    int32_t width = WARP, t = (int32_t)threadIdx.x;
    while (width > 1 && width / 2 >= columns) width /= 2;
    return {t % width, t / width, width, (int32_t)blockDim.x / width};
}

template <class T> __device__ inline double *work_of(const job<T> &j)
{
    EBM_DYNAMIC_SHARED(double, shared);
    return j.scratch ? j.scratch + (int64_t)blockIdx.x * j.doubles : shared;
}

// ---- reading and writing ------------------------------------------------------------------------

// (rows, columns) of neighbours, to where rows are `down` apart and columns `along`.
template <class T>
__device__ void load(double *to, const T *from, int64_t rows, int64_t columns, int64_t down,
                     int64_t along)
{
    const team us = team_for(columns);
    for (int64_t r = us.y; r < rows; r += us.height)
        for (int64_t c = us.x; c < columns; c += us.width)
            to[r * down + c * along] = (double)from[r * columns + c];
}

// Rows that are `step` apart.
template <class T>
__device__ void store(T *to, const double *from, int64_t rows, int64_t columns, int64_t step)
{
    const team us = team_for(columns);
    for (int64_t r = us.y; r < rows; r += us.height)
        for (int64_t c = us.x; c < columns; c += us.width)
            to[r * columns + c] = (T)from[r * step + c];
}

template <class T> __device__ void store_nan(T *to, int64_t size)
{
    for (int64_t i = threadIdx.x; i < size; i += blockDim.x) to[i] = (T)NAN;
}

// rows first .. end - 1 of y, from column `start` to `width`: y -= f x, f of row r being
// factor[r * apart] / by
__device__ inline void subtract(double *y, const double *x, const double *factor, int64_t apart,
                                double by, int64_t first, int64_t end, int64_t start,
                                int64_t width, int64_t step)
{
    const team us = team_for(width - start);
    for (int64_t r = first + us.y; r < end; r += us.height) {
        double f = by == 1 ? factor[r * apart] : factor[r * apart] / by;
        for (int64_t c = start + us.x; c < width; c += us.width) y[r * step + c] -= f * x[c];
    }
}

// ---- Cholesky -----------------------------------------------------------------------------------

// The rows of u become those of U, with a = U' U; reads u's upper triangle.  False: not
// positive definite.
__device__ bool factor_positive(double *u, int64_t n)
{
    for (int64_t k = 0; k < n; k++) {
        double *row = u + k * n, pivot = row[k];
        if (!(pivot > 0 && pivot <= DBL_MAX)) return false;
        pivot = sqrt(pivot);
        __syncthreads();
        for (int64_t c = k + threadIdx.x; c < n; c += blockDim.x) row[c] /= pivot;
        __syncthreads();
        subtract(u, row, row, 1, 1.0, k + 1, n, k + 1, n, n); // what lies below is not read
        __syncthreads();
    }
    return true;
}

template <class T> __global__ void cholesky_kernel(const job<T> j)
{
    double *u = work_of(j);
    const int64_t n = j.n;
    for (int64_t k = blockIdx.x; k < j.batch; k += gridDim.x) {
        T *out = j.out + k * n * n;
        load(u, j.a + k * n * n, n, n, 1, n);
        __syncthreads();
        if (factor_positive(u, n)) {
            const team us = team_for(n);
            for (int64_t r = us.y; r < n; r += us.height)
                for (int64_t c = us.x; c < n; c += us.width)
                    out[r * n + c] = c <= r ? (T)u[c * n + r] : (T)0;
        } else {
            store_nan(out, n * n);
        }
        __syncthreads();
    }
}

// ---- systems ------------------------------------------------------------------------------------

// x = t^-1 x for rows of x of m numbers; the rows of t and of x are `step_t` and `step` apart.
__device__ void substitute(const double *t, double *x, int64_t n, int64_t m, int64_t step_t,
                           int64_t step, bool lower)
{
    for (int64_t i = 0; i < n; i++) {
        int64_t r = lower ? i : n - 1 - i, first = lower ? r + 1 : 0, end = lower ? n : r;
        double *row = x + r * step, by = t[r * step_t + r];
        for (int64_t c = threadIdx.x; c < m; c += blockDim.x) row[c] /= by;
        __syncthreads();
        subtract(x, row, t + r, step_t, 1.0, first, end, 0, m, step);
        __syncthreads();
    }
}

template <class T> __global__ void triangular_kernel(const job<T> j)
{
    const int64_t n = j.n, m = j.m;
    double *t = work_of(j), *x = t + n * n;
    for (int64_t k = blockIdx.x; k < j.batch; k += gridDim.x) {
        load(t, j.a + k * n * n, n, n, j.transposed ? 1 : n, j.transposed ? n : 1);
        load(x, j.b + k * n * m, n, m, m, 1);
        __syncthreads();
        substitute(t, x, n, m, n, m, j.lower != j.transposed);
        store(j.out + k * n * m, x, n, m, m);
        __syncthreads();
    }
}

// The row from k on with the largest number in column k, the first of equals; NaN counts as
// largest.
__device__ int64_t find_pivot(const double *w, int64_t n, int64_t step, int64_t k)
{
    EBM_SHARED(int64_t, found, [1]);
    if (threadIdx.x < WARP) {
        double best = -1;
        int64_t place = n;
        for (int64_t r = k + threadIdx.x; r < n; r += WARP) {
            double size = fabs(w[r * step + k]);
            if (best == best && !(size <= best)) best = size, place = r;
        }
        for (int32_t bits = WARP / 2; bits; bits /= 2) {
            double other = __shfl_xor_sync(0xFFFFFFFFu, best, bits);
            int64_t there = (int64_t)__shfl_xor_sync(0xFFFFFFFFu, (long long)place, bits);
            bool nan = best != best, other_nan = other != other;
            bool equal = best == other || (nan && other_nan);
            if (equal ? there < place : other_nan || (!nan && other > best))
                best = other, place = there;
        }
        if (threadIdx.x == 0) found[0] = place;
    }
    __syncthreads();
    return found[0];
}

// Elimination with row exchanges in n rows that are `step` apart and as wide: the first n
// columns become U, the others follow.  Returns the sign of the exchanges; 0 if the matrix is
// singular.
__device__ double eliminate(double *w, int64_t n, int64_t step)
{
    double sign = 1;
    for (int64_t k = 0; k < n; k++) {
        int64_t best = find_pivot(w, n, step, k);
        double *pivot = w + k * step, *other = w + best * step;
        if (best != k) {
            for (int64_t c = k + threadIdx.x; c < step; c += blockDim.x) {
                double kept = pivot[c];
                pivot[c] = other[c];
                other[c] = kept;
            }
            sign = -sign;
        }
        __syncthreads();
        if (pivot[k] == 0) return 0;
        subtract(w, pivot, w + k, step, pivot[k], k + 1, n, k + 1, step, step);
        __syncthreads();
    }
    return sign;
}

template <class T> __global__ void solve_kernel(const job<T> j)
{
    double *w = work_of(j);
    const int64_t n = j.n, m = j.m, step = n + m;
    for (int64_t k = blockIdx.x; k < j.batch; k += gridDim.x) {
        T *out = j.out + k * n * m;
        load(w, j.a + k * n * n, n, n, j.transposed ? 1 : step, j.transposed ? step : 1);
        load(w + n, j.b + k * n * m, n, m, step, 1);
        __syncthreads();
        if (eliminate(w, n, step) == 0) {
            store_nan(out, n * m);
        } else {
            substitute(w, w + n, n, m, step, step, false);
            store(out, w + n, n, m, step);
        }
        __syncthreads();
    }
}

template <class T> __global__ void slogdet_kernel(const job<T> j)
{
    double *w = work_of(j);
    const int64_t n = j.n;
    for (int64_t k = blockIdx.x; k < j.batch; k += gridDim.x) {
        load(w, j.a + k * n * n, n, n, n, 1);
        __syncthreads();
        double sign = eliminate(w, n, n), log_size = sign == 0 ? -INFINITY : 0;
        for (int64_t i = 0; threadIdx.x == 0 && i < n && sign != 0; i++) {
            double d = w[i * n + i];
            sign = d != d ? d : d < 0 ? -sign : sign;
            log_size += log(fabs(d));
        }
        if (threadIdx.x == 0) {
            j.out[2 * k] = (T)sign;
            j.out[2 * k + 1] = (T)log_size;
        }
        __syncthreads();
    }
}

// ---- eigenvectors -------------------------------------------------------------------------------

// Rows and columns of a, and rows of v, are turned in pairs so that a[p][q] becomes 0 (Golub
// and Van Loan, Matrix Computations, 8.5), n / 2 pairs at once; in n - 1 rounds every row meets
// every other.  An odd matrix has one more row and column of zeros.
struct rotation {
    int64_t p, q;
    double c, s;
};

// Pair i of a round: 0 with the last, the others round a table.
__device__ inline rotation pair_of(const double *turns, int64_t round, int64_t i, int64_t n)
{
    int64_t a = (round + i) % (n - 1), b = i ? (round + n - 1 - i) % (n - 1) : n - 1;
    return {a < b ? a : b, a < b ? b : a, turns[2 * i], turns[2 * i + 1]};
}

__device__ inline void rotate(double *x, double *y, const rotation &by)
{
    double a = *x, b = *y;
    *x = by.c * a - by.s * b;
    *y = by.s * a + by.c * b;
}

__device__ inline bool rests(const rotation &by)
{
    return by.c == 1 && by.s == 0;
}

// How each pair is turned, and what becomes of its own four elements.  True if any is.
__device__ bool choose_turns(double *a, double *turns, int64_t round, int64_t n, double least)
{
    bool turned = false;
    for (int64_t i = threadIdx.x; i < n / 2; i += blockDim.x) {
        rotation at = pair_of(turns, round, i, n);
        double off = a[at.p * n + at.q], c = 1, s = 0;
        if (fabs(off) > least) {
            double *at_p = a + at.p * n + at.p, *at_q = a + at.q * n + at.q;
            double tau = (*at_q - *at_p) / (2 * off);
            double t = copysign(1 / (fabs(tau) + hypot(1.0, tau)), tau);
            c = 1 / hypot(1.0, t), s = t * c;
            *at_p -= t * off;
            *at_q += t * off;
            a[at.p * n + at.q] = a[at.q * n + at.p] = 0;
            turned = true;
        }
        turns[2 * i] = c;
        turns[2 * i + 1] = s;
    }
    return __syncthreads_or(turned) != 0;
}

// The four elements where two pairs cross are one thread's; their mirror images are copies, so
// that a stays symmetric.
__device__ void turn_matrix(double *a, const double *turns, int64_t round, int64_t n)
{
    const team us = team_for(n / 2);
    for (int64_t i = us.y; i < n / 2; i += us.height)
        for (int64_t k = i + 1 + us.x; k < n / 2; k += us.width) {
            rotation down = pair_of(turns, round, i, n), along = pair_of(turns, round, k, n);
            if (rests(down) && rests(along)) continue;
            double pp = a[down.p * n + along.p], pq = a[down.p * n + along.q];
            double qp = a[down.q * n + along.p], qq = a[down.q * n + along.q];
            rotate(&pp, &qp, down);
            rotate(&pq, &qq, down);
            rotate(&pp, &pq, along);
            rotate(&qp, &qq, along);
            a[down.p * n + along.p] = a[along.p * n + down.p] = pp;
            a[down.p * n + along.q] = a[along.q * n + down.p] = pq;
            a[down.q * n + along.p] = a[along.p * n + down.q] = qp;
            a[down.q * n + along.q] = a[along.q * n + down.q] = qq;
        }
}

__device__ void turn_vectors(double *v, const double *turns, int64_t round, int64_t n)
{
    const team us = team_for(n);
    for (int64_t i = us.y; i < n / 2; i += us.height) {
        rotation by = pair_of(turns, round, i, n);
        for (int64_t c = us.x; c < n && !rests(by); c += us.width)
            rotate(&v[by.p * n + c], &v[by.q * n + c], by);
    }
}

// The largest of all, for every thread.
__device__ double largest_of(double mine)
{
    EBM_SHARED(double, of_warp, [MOST_THREADS / WARP]);
    for (int32_t bits = WARP / 2; bits; bits /= 2)
        mine = fmax(mine, __shfl_xor_sync(0xFFFFFFFFu, mine, bits));
    if (threadIdx.x % WARP == 0) of_warp[threadIdx.x / WARP] = mine;
    __syncthreads();
    for (uint32_t w = 0; w < blockDim.x / WARP; w++) mine = fmax(mine, of_warp[w]);
    __syncthreads();
    return mine;
}

// Jacobi's method: sweeps over all pairs until nothing is left beside the diagonal.  The rows
// of v become the vectors.  False if a is not finite, or after too many sweeps.
__device__ bool diagonalize(double *a, double *v, double *turns, int64_t n)
{
    bool wrong = false;
    double largest = 0;
    for (int64_t i = threadIdx.x; i < n * n; i += blockDim.x) {
        wrong = wrong || !(fabs(a[i]) <= DBL_MAX);
        largest = fmax(largest, fabs(a[i]));
        v[i] = i / n == i % n;
    }
    for (int64_t i = threadIdx.x; i < n; i += blockDim.x) turns[i] = 0;
    if (__syncthreads_or(wrong)) return false;
    largest = largest_of(largest);
    for (int32_t sweep = 0; sweep < SWEEPS; sweep++) {
        bool done = true;
        for (int64_t round = 0; round < n - 1; round++)
            if (choose_turns(a, turns, round, n, 0.125 * DBL_EPSILON * largest)) {
                turn_matrix(a, turns, round, n);
                turn_vectors(v, turns, round, n);
                __syncthreads();
                done = false;
            }
        if (done) return true;
    }
    return false;
}

// Eigenvalue i goes behind all that are smaller, its vector with it; `places` has room for n.
template <class T>
__device__ void store_sorted(T *out, const double *a, const double *v, double *places,
                             int64_t n, int64_t step)
{
    for (int64_t i = threadIdx.x; i < n; i += blockDim.x) {
        int64_t place = 0;
        double mine = a[i * step + i];
        for (int64_t k = 0; k < n; k++) {
            double other = a[k * step + k];
            place += other < mine || (other == mine && k < i);
        }
        places[i] = (double)place;
        out[place] = (T)mine;
    }
    __syncthreads();
    const team us = team_for(n);
    for (int64_t i = us.y; i < n; i += us.height)
        for (int64_t c = us.x; c < n; c += us.width)
            out[(c + 1) * n + (int64_t)places[i]] = (T)v[i * step + c];
}

template <class T> __global__ void eigh_kernel(const job<T> j)
{
    const int64_t n = j.n, even = n + n % 2;
    double *a = work_of(j), *v = a + even * even, *turns = v + even * even;
    const team us = team_for(even);
    for (int64_t k = blockIdx.x; k < j.batch; k += gridDim.x) {
        const T *from = j.a + k * n * n;
        T *out = j.out + k * n * (n + 1);
        for (int64_t r = us.y; r < even; r += us.height)
            for (int64_t c = us.x; c < even; c += us.width)
                a[r * even + c] = r < n && c < n ? (double)from[r > c ? r * n + c : c * n + r]
                                                 : 0.0;
        __syncthreads();
        bool found = diagonalize(a, v, turns, even), wrong = false;
        for (int64_t i = threadIdx.x; i < n; i += blockDim.x)
            wrong = wrong || a[i * even + i] != a[i * even + i];
        if (!__syncthreads_or(wrong) && found)
            store_sorted(out, a, v, turns, n, even);
        else
            store_nan(out, n * (n + 1));
        __syncthreads();
    }
}

// ---- calls --------------------------------------------------------------------------------------

// Sizes alone.
template <class T> job<T> read_sizes(const ebm_kernel_args *args)
{
    const ebm_view *a = &args->in[0];
    job<T> j = {};
    j.batch = 1;
    for (int32_t i = 0; i < a->rank - 2; i++) j.batch *= a->shape[i];
    j.n = a->shape[a->rank - 1];
    if (args->n_in == 2) j.m = args->in[1].shape[args->in[1].rank - 1];
    int64_t even = j.n + j.n % 2;
    j.doubles = args->op == EBM_OP_eigh ? 2 * even * even + even : j.n * (j.n + j.m);
    return j;
}

template <class T> bool fits_shared(const job<T> *j)
{
    return j->doubles * (int64_t)sizeof(double) <= SHARED_BYTES;
}

template <class T> int64_t blocks_of(const job<T> *j)
{
    int64_t bytes = j->doubles * (int64_t)sizeof(double), most = MOST_BLOCKS;
    if (!fits_shared(j)) most = SCRATCH_BYTES / bytes < 1 ? 1 : SCRATCH_BYTES / bytes;
    return j->batch < most ? j->batch : most;
}

template <class T>
ebm_status launch(void (*kernel)(const job<T>), const ebm_kernel_args *args, bool lower,
                  bool transposed)
{
    job<T> j = read_sizes<T>(args);
    j.a = (const T *)args->in[0].data;
    if (args->n_in == 2) j.b = (const T *)args->in[1].data;
    j.out = (T *)args->out[0].data;
    j.lower = lower;
    j.transposed = transposed;
    if (!fits_shared(&j)) j.scratch = (double *)args->scratch;
    size_t shared = j.scratch ? 0 : (size_t)j.doubles * sizeof(double);
    unsigned threads = WARP;
    while (threads < 4 * j.n && threads < MOST_THREADS) threads *= 2;
    EBM_LAUNCH(kernel, dim3((unsigned)blocks_of(&j)), dim3(threads), shared, j);
    return ebm__cuda_launched("linalg");
}

template <class T> ebm_status run(const ebm_kernel_args *args)
{
    const int64_t *attr = args->attr;
    switch (args->op) {
    case EBM_OP_cholesky: return launch<T>(cholesky_kernel<T>, args, true, false);
    case EBM_OP_solve_triangular:
        return launch<T>(triangular_kernel<T>, args, attr[0] != 0, attr[1] != 0);
    case EBM_OP_solve: return launch<T>(solve_kernel<T>, args, false, attr[0] != 0);
    case EBM_OP_slogdet: return launch<T>(slogdet_kernel<T>, args, false, false);
    default: return launch<T>(eigh_kernel<T>, args, true, false);
    }
}

} // namespace

// ---- the family ---------------------------------------------------------------------------------

ebm_status ebm__cuda_linalg(const ebm_kernel_args *args)
{
    int32_t dtype = args->out[0].dtype;
    bool known = args->op == EBM_OP_cholesky || args->op == EBM_OP_solve_triangular ||
                 args->op == EBM_OP_solve || args->op == EBM_OP_slogdet ||
                 args->op == EBM_OP_eigh;
    if (!known || (dtype != EBM_F32 && dtype != EBM_F64))
        return ebm_fail(EBM_UNSUPPORTED, "linalg: no kernel for op %d of %s", (int)args->op,
                        ebm_dtype_name((ebm_dtype)dtype));
    if (ebm__cuda_size(&args->out[0]) == 0) return EBM_OK;
    return dtype == EBM_F64 ? run<double>(args) : run<float>(args);
}

size_t ebm__cuda_linalg_scratch(const ebm_kernel_args *args)
{
    job<double> j = read_sizes<double>(args);
    if (fits_shared(&j)) return 0;
    return (size_t)(blocks_of(&j) * j.doubles) * sizeof(double);
}
