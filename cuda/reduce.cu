// reduce.cu - sum, max, argmax, cumsum.
//
// Workload: as csrc/cpu/reduce.c; memory is what all of it waits for.
//
// The axes of x are merged into runs that stay and runs that go; a run that goes is one step,
// an (outer, n, inner) -> (outer, inner) reduction, or two and three where n is long: a step
// may leave (outer, parts, inner), which the next joins.  Which elements meet in which order
// follows from n and inner alone, so a row of a batch has the same bits in any batch, with any
// number of threads.
//
// Threads read neighbours: along n where inner is 1 (rows), else along inner (columns).  Each
// joins every so manieth element into four accumulators, then a block or warp joins those in a
// tree.  What has no partner meets an element that changes nothing; for sums that is -0.
#include "kernels.h"

#include "formulas/axes.h"

namespace
{

enum {
    THREADS = 256,
    WARP = 32,
    FEW = 16,         // elements that one thread joins alone
    FEW_NARROW = 64,  // the same where several rows of `inner` lie in one line of memory
    WARP_ROW = 1024,  // of a row that a warp joins, at most
    ROW_PART = 4096,  // of a row that a block joins
    COLUMN_PART = 32, // elements of a column that a thread of a block joins
    SCAN_RUN = 8,     // neighbours that a thread of a cumsum adds
    SCAN_CHUNKS = 4,  // blocks of those of one segment
    MAX_STEPS = 40
};

// ---- two elements into one ----------------------------------------------------------------------

__device__ inline float least_of(float)
{
    return -INFINITY;
}
__device__ inline double least_of(double)
{
    return -INFINITY;
}
__device__ inline int32_t least_of(int32_t)
{
    return INT32_MIN;
}
__device__ inline uint8_t least_of(uint8_t)
{
    return 0;
}

template <class T> struct joins_sum { // i32 as uint32_t: wraps
    typedef T value;
    static __device__ T nothing()
    {
        return (T)-0.0;
    }
    static __device__ T of(T x, int64_t)
    {
        return x;
    }
    static __device__ T join(T a, T b)
    {
        return a + b;
    }
};

template <class T> struct joins_max { // the larger, or NaN
    typedef T value;
    static __device__ T nothing()
    {
        return least_of(T());
    }
    static __device__ T of(T x, int64_t)
    {
        return x;
    }
    static __device__ T join(T a, T b)
    {
        T larger = a > b ? a : b; // b if it is NaN
        return a != a ? a : larger;
    }
};

template <class T> struct placed {
    T value;
    int32_t place;
};

template <class T> struct joins_argmax { // the first of the largest, or the first NaN
    typedef placed<T> value;
    static __device__ value nothing()
    {
        return {least_of(T()), INT32_MAX};
    }
    static __device__ value of(T x, int64_t place)
    {
        return {x, (int32_t)place};
    }
    static __device__ value of(value x, int64_t)
    {
        return x;
    }
    static __device__ value join(value a, value b)
    {
        bool a_nan = a.value != a.value, b_nan = b.value != b.value;
        bool equal = a.value == b.value || (a_nan && b_nan);
        bool second = equal ? b.place < a.place : b_nan || (!a_nan && b.value > a.value);
        return second ? b : a;
    }
};

template <class T> __device__ inline void give(T *out, T x)
{
    *out = x;
}
template <class T> __device__ inline void give(int32_t *out, placed<T> x)
{
    *out = x.place;
}

template <class T> __device__ inline T of_other_lane(T x, int32_t bits)
{
    return (T)__shfl_xor_sync(0xFFFFFFFFu, x, bits);
}
template <class T> __device__ inline placed<T> of_other_lane(placed<T> x, int32_t bits)
{
    T value = of_other_lane(x.value, bits);
    return {value, __shfl_xor_sync(0xFFFFFFFFu, x.place, bits)};
}

// ---- one step -----------------------------------------------------------------------------------

// (outer, n, inner) -> (outer, parts, inner), each of `part` elements but the last.
struct step {
    int64_t outer, n, inner, part, parts;
    int32_t width; // threads side by side: of a row, or columns of a block
};

// Elements first, first + by, .. below end, `stride` apart in memory.
template <class J, class From>
__device__ inline typename J::value join_every(const From *x, int64_t stride, int64_t first,
                                               int64_t end, int64_t by)
{
    typename J::value a = J::nothing(), b = a, c = a, d = a;
    int64_t i = first;
    for (; i + 3 * by < end; i += 4 * by) {
        a = J::join(a, J::of(x[i * stride], i));
        b = J::join(b, J::of(x[(i + by) * stride], i + by));
        c = J::join(c, J::of(x[(i + 2 * by) * stride], i + 2 * by));
        d = J::join(d, J::of(x[(i + 3 * by) * stride], i + 3 * by));
    }
    for (; i < end; i += by) a = J::join(a, J::of(x[i * stride], i));
    return J::join(J::join(a, b), J::join(c, d));
}

__device__ inline int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

// A few elements each: one thread's work.
template <class J, class From, class To>
__global__ void join_few_kernel(To *out, const From *x, const step s)
{
    int64_t count = s.outer * s.inner, threads = (int64_t)gridDim.x * blockDim.x;
    for (int64_t k = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; k < count; k += threads) {
        int64_t outer = k / s.inner, first = outer * (s.n - 1) * s.inner + k;
        give(out + k, join_every<J>(x + first, s.inner, 0, s.n, 1));
    }
}

// Rows of neighbours, inner == 1: `width` threads each, at most a warp, or the block, which does
// as many as it can from result k on.
template <class J, class From, class To>
__device__ inline void join_rows(To *out, const From *x, const step &s, int64_t k,
                                 typename J::value *of_warp)
{
    const int32_t lane = (int32_t)threadIdx.x % s.width, mine = (int32_t)threadIdx.x / s.width;
    const int64_t count = s.outer * s.parts;
    typename J::value total = J::nothing();
    if (k + mine < count) {
        int64_t row = (k + mine) / s.parts, first = (k + mine) % s.parts * s.part;
        total = join_every<J>(x + row * s.n, 1, first + lane, smaller(first + s.part, s.n),
                              s.width);
    }
    for (int32_t bits = (s.width < WARP ? s.width : WARP) / 2; bits; bits /= 2)
        total = J::join(total, of_other_lane(total, bits));
    if (s.width > WARP) {
        if (lane % WARP == 0) of_warp[lane / WARP] = total;
        __syncthreads();
        if (lane == 0)
            for (int32_t w = 1; w < THREADS / WARP; w++) total = J::join(total, of_warp[w]);
        __syncthreads();
    }
    if (lane == 0 && k + mine < count) give(out + k + mine, total);
}

template <class J, class From, class To>
__global__ void join_rows_kernel(To *out, const From *x, const step s)
{
    EBM_SHARED(typename J::value, of_warp, [THREADS / WARP]);
    const int32_t rows = THREADS / s.width;
    const int64_t count = s.outer * s.parts;
    for (int64_t k = (int64_t)blockIdx.x * rows; k < count; k += (int64_t)gridDim.x * rows)
        join_rows<J>(out, x, s, k, of_warp);
}

// A block has `width` columns and THREADS / width rows at a time.
template <class J, class From, class To>
__global__ void join_columns_kernel(To *out, const From *x, const step s)
{
    EBM_SHARED(typename J::value, total, [THREADS]);
    const int32_t t = (int32_t)threadIdx.x, y = t / s.width, rows = THREADS / s.width;
    const int64_t tiles = (s.inner + s.width - 1) / s.width, count = s.outer * s.parts * tiles;
    for (int64_t k = blockIdx.x; k < count; k += gridDim.x) {
        int64_t row = k / tiles, column = k % tiles * s.width + t % s.width;
        int64_t first = row % s.parts * s.part, end = smaller(first + s.part, s.n);
        total[t] = J::nothing();
        if (column < s.inner)
            total[t] = join_every<J>(x + row / s.parts * s.n * s.inner + column, s.inner,
                                     first + y, end, rows);
        __syncthreads();
        for (int32_t half = rows / 2; half; half /= 2) {
            if (y < half) total[t] = J::join(total[t], total[t + half * s.width]);
            __syncthreads();
        }
        if (y == 0 && column < s.inner) give(out + row * s.inner + column, total[t]);
    }
}

bool is_for_one_thread(const step *s)
{
    return s->n <= (s->inner > 1 && s->inner < WARP ? FEW_NARROW : FEW);
}

// The smallest power of two from `least` to `most` that is not below n, or `most`.
int32_t power_of_two(int64_t n, int32_t least, int32_t most)
{
    int32_t power = least;
    while (power < n && power < most) power *= 2;
    return power;
}

int64_t ceil_div(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

// How (outer, n, inner) is cut.
step cut_step(int64_t outer, int64_t n, int64_t inner)
{
    step s = {outer, n, inner, n, 1, 1};
    if (is_for_one_thread(&s)) return s;
    if (inner == 1) {
        s.width = n > WARP_ROW ? (int32_t)THREADS : power_of_two(n / 4, 8, WARP);
        s.part = ROW_PART;
    } else {
        s.width = power_of_two(inner, 2, WARP);
        s.part = COLUMN_PART * (THREADS / s.width);
    }
    s.parts = ceil_div(n, s.part);
    return s;
}

template <class J, class From, class To> void launch_step(To *out, const From *x, const step *s)
{
    dim3 block(THREADS);
    if (is_for_one_thread(s)) {
        int32_t open = ebm_cuda->block;
        EBM_LAUNCH_PLAIN((join_few_kernel<J, From, To>),
                         ebm__cuda_grid(s->outer * s->inner, open), dim3((unsigned)open), out,
                         x, *s);
    } else if (s->inner == 1) {
        int64_t blocks = ceil_div(s->outer * s->parts, THREADS / s->width);
        EBM_LAUNCH((join_rows_kernel<J, From, To>), ebm__cuda_grid(blocks * THREADS, THREADS),
                   block, 0, out, x, *s);
    } else {
        int64_t blocks = s->outer * s->parts * ceil_div(s->inner, s->width);
        EBM_LAUNCH((join_columns_kernel<J, From, To>),
                   ebm__cuda_grid(blocks * THREADS, THREADS), block, 0, out, x, *s);
    }
}

// ---- all steps ----------------------------------------------------------------------------------

struct plan_of_steps {
    step list[MAX_STEPS];
    int32_t n;
};

void add_steps(plan_of_steps *p, int64_t outer, int64_t n, int64_t inner)
{
    do {
        step s = cut_step(outer, n, inner);
        p->list[p->n++] = s;
        n = s.parts;
    } while (n > 1);
}

// The largest run first: what follows reads little.
plan_of_steps find_steps(const ebm_view *x, int64_t mask)
{
    plan_of_steps p;
    memset(&p, 0, sizeof p);
    int64_t run[EBM_MAX_RANK + 1];
    bool goes[EBM_MAX_RANK + 1];
    int32_t n_runs = ebm_runs_of(x, mask, run, goes);
    for (;;) {
        int32_t largest = -1;
        for (int32_t i = 0; i < n_runs; i++)
            if (goes[i] && (largest < 0 || run[i] > run[largest])) largest = i;
        if (largest < 0) break;
        int64_t outer = 1, inner = 1;
        for (int32_t i = 0; i < largest; i++) outer *= run[i];
        for (int32_t i = largest + 1; i < n_runs; i++) inner *= run[i];
        add_steps(&p, outer, run[largest], inner);
        run[largest] = 1;
        goes[largest] = false;
    }
    if (p.n == 0) add_steps(&p, ebm__cuda_size(x), 1, 1);
    return p;
}

plan_of_steps find_axis_steps(const ebm_view *x, int64_t axis)
{
    plan_of_steps p;
    memset(&p, 0, sizeof p);
    int64_t outer = 1, inner = 1;
    for (int64_t i = 0; i < axis; i++) outer *= x->shape[i];
    for (int64_t i = axis + 1; i < x->rank; i++) inner *= x->shape[i];
    add_steps(&p, outer, x->shape[axis], inner);
    return p;
}

size_t kept_bytes(const step *s, size_t element)
{
    return ((size_t)(s->outer * s->parts * s->inner) * element + 63) / 64 * 64;
}

size_t steps_scratch(const plan_of_steps *p, size_t element)
{
    size_t bytes = 0;
    for (int32_t k = 0; k < p->n - 1; k++) bytes += kept_bytes(&p->list[k], element);
    return bytes;
}

// What a step leaves for the next is in scratch.
template <class J, class T, class To>
ebm_status run_steps(const ebm_kernel_args *args, const plan_of_steps *p)
{
    typedef typename J::value value;
    const T *x = (const T *)args->in[0].data;
    To *out = (To *)args->out[0].data;
    if (p->n == 1) {
        launch_step<J>(out, x, &p->list[0]);
        return ebm__cuda_launched("reduce");
    }
    char *scratch = (char *)args->scratch;
    launch_step<J>((value *)scratch, x, &p->list[0]);
    for (int32_t k = 1; k < p->n; k++) {
        const value *from = (const value *)scratch;
        scratch += kept_bytes(&p->list[k - 1], sizeof(value));
        if (k < p->n - 1)
            launch_step<J>((value *)scratch, from, &p->list[k]);
        else
            launch_step<J>(out, from, &p->list[k]);
    }
    return ebm__cuda_launched("reduce");
}

// ---- several arrays, each to a number -----------------------------------------------------------

// A step of one of them, as join_rows has it: few elements are rows of one thread.
struct whole {
    const void *x;
    void *out;
    int64_t n;
    int32_t parts, width, first_block;
};
struct wholes {
    whole list[EBM_REGIONS_MAX_PARTS];
    int32_t n;
};

template <class J, class T> __global__ void join_wholes_kernel(const __grid_constant__ wholes p)
{
    EBM_SHARED(T, of_warp, [THREADS / WARP]);
    int32_t k = 0;
    while (k + 1 < p.n && (int32_t)blockIdx.x >= p.list[k + 1].first_block) k++;
    const whole &w = p.list[k];
    const step s = {1, w.n, 1, w.parts > 1 ? (int64_t)ROW_PART : w.n, w.parts, w.width};
    join_rows<J>((T *)w.out, (const T *)w.x, s,
                 (int64_t)((int32_t)blockIdx.x - w.first_block) * (THREADS / w.width), of_warp);
}

// One step of all that are left; those that need another stay, with what this one leaves in scratch.
template <class J, class T> ebm_status step_wholes(wholes *left, void **last, char **scratch)
{
    wholes now = *left;
    int64_t blocks = 0;
    left->n = 0;
    for (int32_t k = 0; k < now.n; k++) {
        whole *w = &now.list[k];
        step s = cut_step(1, w->n, 1);
        w->parts = (int32_t)s.parts;
        w->width = s.width;
        w->first_block = (int32_t)blocks;
        w->out = s.parts == 1 ? last[k] : *scratch;
        blocks += ceil_div(s.parts, THREADS / s.width);
        if (s.parts == 1) continue;
        *scratch += kept_bytes(&s, sizeof(T));
        last[left->n] = last[k];
        left->list[left->n] = *w;
        left->list[left->n].x = w->out;
        left->list[left->n++].n = s.parts;
    }
    EBM_CHECK(blocks <= INT32_MAX);
    EBM_LAUNCH((join_wholes_kernel<J, T>), dim3((unsigned)blocks), dim3(THREADS), 0, now);
    return ebm__cuda_launched("reduce");
}

template <class J, class T> ebm_status run_wholes(const ebm_kernel_args *args)
{
    wholes left;
    void *last[EBM_REGIONS_MAX_PARTS];
    char *scratch = (char *)args->scratch;
    memset(&left, 0, sizeof left);
    EBM_CHECK(args->n_in == args->n_out && args->n_in <= EBM_REGIONS_MAX_PARTS);
    for (left.n = 0; left.n < args->n_in; left.n++) {
        const ebm_view *x = &args->in[left.n];
        left.list[left.n].x = x->data;
        left.list[left.n].n = ebm__cuda_size(x);
        last[left.n] = args->out[left.n].data;
        EBM_CHECK(left.list[left.n].n > 0 && ebm__cuda_size(&args->out[left.n]) == 1);
    }
    while (left.n > 0) EBM_TRY((step_wholes<J, T>(&left, last, &scratch)));
    return EBM_OK;
}

size_t wholes_scratch(const ebm_kernel_args *args)
{
    size_t bytes = 0;
    for (int32_t k = 0; k < args->n_in; k++) {
        plan_of_steps p;
        p.n = 0;
        add_steps(&p, 1, ebm__cuda_size(&args->in[k]), 1);
        bytes += steps_scratch(&p, (size_t)ebm__cuda_item(args->in[k].dtype));
    }
    return bytes;
}

// ---- the ops ------------------------------------------------------------------------------------

ebm_status no_kernel(const char *name, const ebm_view *x)
{
    return ebm_fail(EBM_UNSUPPORTED, "%s: no kernel for %s", name,
                    ebm_dtype_name((ebm_dtype)x->dtype));
}

// One array in steps, or several.
template <class J, class T> ebm_status run_joining(const ebm_kernel_args *args)
{
    if (args->n_in > 1) return run_wholes<J, T>(args);
    plan_of_steps p = find_steps(&args->in[0], args->attr[0]);
    return run_steps<J, T, T>(args, &p);
}

ebm_status run_sum(const ebm_kernel_args *args)
{
    const ebm_view *x = &args->in[0], *out = &args->out[0];
    if (ebm__cuda_size(x) == 0) {
        size_t bytes = (size_t)ebm__cuda_size(out) * (size_t)ebm__cuda_item(out->dtype);
        cudaMemsetAsync(out->data, 0, bytes, ebm_cuda->stream);
        return ebm__cuda_launched("sum");
    }
    switch (x->dtype) {
    case EBM_F32: return run_joining<joins_sum<float>, float>(args);
    case EBM_F64: return run_joining<joins_sum<double>, double>(args);
    case EBM_I32: return run_joining<joins_sum<uint32_t>, uint32_t>(args);
    default: return no_kernel("sum", x);
    }
}

ebm_status run_max(const ebm_kernel_args *args)
{
    const ebm_view *x = &args->in[0];
    EBM_CHECK(ebm__cuda_size(x) > 0);
    switch (x->dtype) {
    case EBM_F32: return run_joining<joins_max<float>, float>(args);
    case EBM_F64: return run_joining<joins_max<double>, double>(args);
    case EBM_I32: return run_joining<joins_max<int32_t>, int32_t>(args);
    default: return run_joining<joins_max<uint8_t>, uint8_t>(args);
    }
}

ebm_status run_argmax(const ebm_kernel_args *args)
{
    const ebm_view *x = &args->in[0];
    EBM_CHECK(ebm__cuda_size(x) > 0 && x->shape[args->attr[0]] <= INT32_MAX);
    plan_of_steps p = find_axis_steps(x, args->attr[0]);
    switch (x->dtype) {
    case EBM_F32: return run_steps<joins_argmax<float>, float, int32_t>(args, &p);
    case EBM_F64: return run_steps<joins_argmax<double>, double, int32_t>(args, &p);
    case EBM_I32: return run_steps<joins_argmax<int32_t>, int32_t, int32_t>(args, &p);
    default: return run_steps<joins_argmax<uint8_t>, uint8_t, int32_t>(args, &p);
    }
}

// ---- cumsum: f32 runs in double -----------------------------------------------------------------

// Long columns are cut into segments: their totals first, the totals' own cumsum, then each
// segment from what lies before it.
struct scan {
    int64_t outer, n, inner, segment, segments;
    int32_t width;
    bool reverse;
};

template <class T, class A> __global__ void scan_few_kernel(T *out, const T *x, const scan s)
{
    int64_t count = s.outer * s.inner, threads = (int64_t)gridDim.x * blockDim.x;
    for (int64_t k = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; k < count; k += threads) {
        int64_t first = k / s.inner * (s.n - 1) * s.inner + k;
        A total = 0;
        for (int64_t r = 0; r < s.n; r++) {
            int64_t at = first + (s.reverse ? s.n - 1 - r : r) * s.inner;
            total += (A)x[at];
            out[at] = (T)total;
        }
    }
}

// The sum of all before this thread's in its column, and of all of them.
template <class A> __device__ inline A scan_block(A *shared, A mine, int32_t width, A *all)
{
    const int32_t t = (int32_t)threadIdx.x;
    shared[t] = mine;
    __syncthreads();
    for (int32_t far = width; far < THREADS; far *= 2) {
        A before = t >= far ? shared[t - far] : (A)0;
        __syncthreads();
        shared[t] += before;
        __syncthreads();
    }
    A before = t >= width ? shared[t - width] : (A)0;
    *all = shared[THREADS - width + t % width];
    __syncthreads();
    return before;
}

// Writes the cumsum from `before` (outer, segments, inner) if that is there, or only the
// segments' sums into `totals`.
template <class T, class A>
__global__ void scan_kernel(T *out, const T *x, A *totals, const A *before, const scan s)
{
    EBM_SHARED(A, shared, [THREADS]);
    const int32_t t = (int32_t)threadIdx.x, y = t / s.width;
    const int64_t chunk = THREADS / s.width * SCAN_RUN;
    const int64_t tiles = (s.inner + s.width - 1) / s.width, count = s.outer * s.segments * tiles;
    for (int64_t k = blockIdx.x; k < count; k += gridDim.x) {
        int64_t row = k / tiles, column = k % tiles * s.width + t % s.width;
        int64_t segment = row % s.segments, place = row * s.inner + column;
        int64_t end = smaller((segment + 1) * s.segment, s.n);
        bool here = column < s.inner;
        int64_t top = row / s.segments * s.n * s.inner + column;
        A carry = before && here && segment ? before[place - s.inner] : (A)0;
        for (int64_t start = segment * s.segment; start < end; start += chunk) {
            int64_t first = start + y * SCAN_RUN;
            A sum[SCAN_RUN], total = 0, all;
            for (int32_t i = 0; i < SCAN_RUN; i++) {
                int64_t r = s.reverse ? s.n - 1 - first - i : first + i;
                if (here && first + i < end) total += (A)x[top + r * s.inner];
                sum[i] = total;
            }
            A start_at = carry + scan_block(shared, total, s.width, &all);
            carry += all;
            for (int32_t i = 0; i < SCAN_RUN && !totals; i++) {
                int64_t r = s.reverse ? s.n - 1 - first - i : first + i;
                if (here && first + i < end) out[top + r * s.inner] = (T)(start_at + sum[i]);
            }
        }
        if (totals && here && y == 0) totals[place] = carry;
    }
}

scan cut_scan(int64_t outer, int64_t n, int64_t inner, bool reverse)
{
    scan s = {outer, n, inner, n, 1, power_of_two(inner, 1, WARP), reverse};
    s.segment = THREADS / s.width * SCAN_RUN * SCAN_CHUNKS;
    s.segments = n <= FEW ? 1 : ceil_div(n, s.segment);
    return s;
}

size_t totals_bytes(const scan *s)
{
    return ((size_t)(s->outer * s->segments * s->inner) * sizeof(double) + 63) / 64 * 64;
}

size_t scan_scratch(const scan *s)
{
    if (s->segments == 1) return 0;
    scan of_totals = cut_scan(s->outer, s->segments, s->inner, false);
    return totals_bytes(s) + scan_scratch(&of_totals);
}

// out may be x.
template <class T, class A> void run_scan(T *out, const T *x, const scan *s, char *scratch)
{
    if (s->n <= FEW) {
        int32_t open = ebm_cuda->block;
        EBM_LAUNCH_PLAIN((scan_few_kernel<T, A>), ebm__cuda_grid(s->outer * s->inner, open),
                         dim3((unsigned)open), out, x, *s);
        return;
    }
    int64_t blocks = s->outer * s->segments * ceil_div(s->inner, s->width);
    dim3 grid = ebm__cuda_grid(blocks * THREADS, THREADS), block(THREADS);
    A *nothing = nullptr, *totals = (A *)(void *)scratch;
    if (s->segments == 1) {
        EBM_LAUNCH((scan_kernel<T, A>), grid, block, 0, out, x, nothing, nothing, *s);
        return;
    }
    scan of_totals = cut_scan(s->outer, s->segments, s->inner, false);
    EBM_LAUNCH((scan_kernel<T, A>), grid, block, 0, out, x, totals, nothing, *s);
    run_scan<A, A>(totals, totals, &of_totals, scratch + totals_bytes(s));
    EBM_LAUNCH((scan_kernel<T, A>), grid, block, 0, out, x, nothing, totals, *s);
}

scan read_scan(const ebm_kernel_args *args)
{
    const ebm_view *x = &args->in[0];
    plan_of_steps p = find_axis_steps(x, args->attr[0]);
    return cut_scan(p.list[0].outer, p.list[0].n, p.list[0].inner, args->attr[1] != 0);
}

template <class T, class A> ebm_status run_cumsum_of(const ebm_kernel_args *args)
{
    scan s = read_scan(args);
    run_scan<T, A>((T *)args->out[0].data, (const T *)args->in[0].data, &s,
                   (char *)args->scratch);
    return ebm__cuda_launched("cumsum");
}

ebm_status run_cumsum(const ebm_kernel_args *args)
{
    switch (args->in[0].dtype) {
    case EBM_F32: return run_cumsum_of<float, double>(args);
    case EBM_F64: return run_cumsum_of<double, double>(args);
    case EBM_I32: return run_cumsum_of<uint32_t, uint32_t>(args);
    default: return no_kernel("cumsum", &args->in[0]);
    }
}

} // namespace

// ---- the family ---------------------------------------------------------------------------------

ebm_status ebm__cuda_reduce(const ebm_kernel_args *args)
{
    if (ebm__cuda_size(&args->out[0]) == 0) return EBM_OK;
    switch (args->op) {
    case EBM_OP_sum: return run_sum(args);
    case EBM_OP_max: return run_max(args);
    case EBM_OP_argmax: return run_argmax(args);
    case EBM_OP_cumsum: return run_cumsum(args);
    default: return ebm_fail(EBM_UNSUPPORTED, "reduce: op %d has no kernel", (int)args->op);
    }
}

size_t ebm__cuda_reduce_scratch(const ebm_kernel_args *args)
{
    const ebm_view *x = &args->in[0];
    if (ebm__cuda_size(x) == 0) return 0;
    size_t item = (size_t)ebm__cuda_item(x->dtype);
    plan_of_steps p;
    scan s;
    switch (args->op) {
    case EBM_OP_sum:
    case EBM_OP_max:
        if (args->n_in > 1) return wholes_scratch(args);
        p = find_steps(x, args->attr[0]);
        return steps_scratch(&p, item);
    case EBM_OP_argmax: // a place beside each value
        p = find_axis_steps(x, args->attr[0]);
        return steps_scratch(&p, item > 4 ? 16 : 8);
    case EBM_OP_cumsum: s = read_scan(args); return scan_scratch(&s);
    default: return 0;
    }
}
