// sort.cu - argsort: where the elements of each row are in order.
//
// Workload: as csrc/cpu/sort.c, and the indices of a scatter_add.  Every element becomes an
// unsigned key in the same order with its place behind it, so that no two items are equal and
// any network keeps equal keys in order.  A block sorts short rows, or pieces of a long one, in
// shared memory (bitonic, spans of a power of two, filled up with what comes last); pieces are
// then merged in passes through memory, a thread finding by bisection where its few results
// start.
#include "kernels.h"

namespace
{

enum {
    PIECE = 2048, // items that a block sorts
    THREADS = 256,
    RUN = 8 // results of a merging thread; divides PIECE
};

// ---- items --------------------------------------------------------------------------------------

// The bits of a float, ordered as it is: the sign is turned, and negative ones run the other
// way. -0 is 0, and NaN is above all.
__device__ inline uint32_t key_of(float x)
{
    if (x != x) return UINT32_MAX;
    uint32_t bits = __float_as_uint(x + 0.0f);
    return bits >> 31 ? ~bits : bits | 0x80000000u;
}

__device__ inline uint64_t key_of(double x)
{
    if (x != x) return UINT64_MAX;
    uint64_t bits = (uint64_t)__double_as_longlong(x + 0.0);
    return bits >> 63 ? ~bits : bits | 0x8000000000000000u;
}

__device__ inline uint32_t key_of(int32_t x)
{
    return (uint32_t)x ^ 0x80000000u;
}

__device__ inline uint32_t key_of(uint8_t x)
{
    return x;
}

// A key of 32 bits with its place, and one of 64 bits.
struct item {
    uint64_t both;
};
struct wide_item {
    uint64_t key;
    int64_t place;
};

__device__ inline void set_item(item *x, uint32_t key, int32_t place)
{
    x->both = (uint64_t)key << 32 | (uint32_t)place;
}

__device__ inline void set_item(wide_item *x, uint64_t key, int32_t place)
{
    *x = {key, place};
}

__device__ inline void set_last(item *x)
{
    x->both = UINT64_MAX;
}

__device__ inline void set_last(wide_item *x)
{
    *x = {UINT64_MAX, INT64_MAX};
}

__device__ inline bool is_before(const item &a, const item &b)
{
    return a.both < b.both;
}

__device__ inline bool is_before(const wide_item &a, const wide_item &b)
{
    return a.key < b.key || (a.key == b.key && a.place < b.place);
}

__device__ inline int32_t place_of(const item &x)
{
    return (int32_t)(uint32_t)x.both;
}

__device__ inline int32_t place_of(const wide_item &x)
{
    return (int32_t)x.place;
}

// ---- pieces -------------------------------------------------------------------------------------

// Rows (outer, n, inner) along n.  A row is `pieces` spans, a block sorts `together` of them.
struct job {
    int64_t rows, n, inner, pieces;
    int32_t span, together;
};

__device__ inline int64_t address(const job &j, int64_t row, int64_t i)
{
    return row / j.inner * j.n * j.inner + row % j.inner + i * j.inner;
}

// Each span of `all` items on its own.
template <class Item> __device__ inline void sort_spans(Item *x, int32_t span, int32_t all)
{
    for (int32_t size = 2; size <= span; size *= 2)
        for (int32_t far = size / 2; far; far /= 2) {
            for (int32_t k = (int32_t)threadIdx.x; k < all / 2; k += (int32_t)blockDim.x) {
                int32_t a = 2 * k - (k & (far - 1)), b = a + far;
                bool downwards = (a & (span - 1) & size) != 0;
                Item first = x[a], second = x[b];
                if (is_before(first, second) == downwards) {
                    x[a] = second;
                    x[b] = first;
                }
            }
            __syncthreads();
        }
}

// Into places, or into items for the passes.
template <class T, class Item>
__global__ void sort_pieces_kernel(int32_t *places, Item *items, const T *x, const job j)
{
    EBM_DYNAMIC_SHARED(Item, shared);
    const int32_t all = j.span * j.together;
    const int64_t count = j.rows * j.pieces;
    for (int64_t k = (int64_t)blockIdx.x * j.together; k < count;
         k += (int64_t)gridDim.x * j.together) {
        for (int32_t s = (int32_t)threadIdx.x; s < all; s += (int32_t)blockDim.x) {
            bool across = j.inner > 1 && j.together > 1; // then neighbours are in the next row
            int32_t mine = across ? s % j.together : s / j.span;
            int32_t within = across ? s / j.together : s % j.span;
            int64_t row = (k + mine) / j.pieces, i = (k + mine) % j.pieces * j.span + within;
            Item *to = shared + mine * j.span + within;
            if (k + mine < count && i < j.n)
                set_item(to, key_of(x[address(j, row, i)]), (int32_t)i);
            else
                set_last(to);
        }
        __syncthreads();
        sort_spans(shared, j.span, all);
        for (int32_t s = (int32_t)threadIdx.x; s < all; s += (int32_t)blockDim.x) {
            int64_t row = (k + s / j.span) / j.pieces;
            int64_t i = (k + s / j.span) % j.pieces * j.span + s % j.span;
            if (k + s / j.span >= count || i >= j.n) continue;
            if (items)
                items[row * j.n + i] = shared[s];
            else
                places[address(j, row, i)] = place_of(shared[s]);
        }
        __syncthreads();
    }
}

// ---- passes -------------------------------------------------------------------------------------

// How many of the first `d` results come from a (n_a), the others being from b (n_b).
template <class Item>
__device__ inline int64_t split(const Item *a, int64_t n_a, const Item *b, int64_t n_b, int64_t d)
{
    int64_t low = d > n_b ? d - n_b : 0, high = d < n_a ? d : n_a;
    while (low < high) {
        int64_t middle = (low + high) / 2;
        if (is_before(a[middle], b[d - 1 - middle]))
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

// Sorted runs of `run` become runs of twice as many; in the last pass their places.
template <class Item>
__global__ void merge_kernel(int32_t *places, Item *to, const Item *from, int64_t run, const job j)
{
    const int64_t each = (j.n + RUN - 1) / RUN, threads = (int64_t)gridDim.x * blockDim.x;
    for (int64_t k = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; k < j.rows * each;
         k += threads) {
        int64_t row = k / each, first = k % each * RUN, pair = first / (2 * run) * 2 * run;
        int64_t left = j.n - pair, n_a = left < run ? left : run;
        int64_t n_b = left - n_a < run ? left - n_a : run;
        const Item *a = from + row * j.n + pair, *b = a + n_a;
        int64_t i = split(a, n_a, b, n_b, first - pair), o = first - pair - i;
        for (int64_t r = first; r < first + RUN && r < j.n; r++) {
            bool second = i >= n_a || (o < n_b && is_before(b[o], a[i]));
            Item next = second ? b[o++] : a[i++];
            if (to)
                to[row * j.n + r] = next;
            else
                places[address(j, row, r)] = place_of(next);
        }
    }
}

// ---- calls --------------------------------------------------------------------------------------

job read_args(const ebm_kernel_args *args)
{
    const ebm_view *x = &args->in[0];
    int64_t axis = args->attr[0];
    job j = {1, x->shape[axis], 1, 1, 2, 1};
    for (int64_t i = axis + 1; i < x->rank; i++) j.inner *= x->shape[i];
    for (int64_t i = 0; i < axis; i++) j.rows *= x->shape[i];
    j.rows *= j.inner;
    while (j.span < j.n && j.span < PIECE) j.span *= 2;
    j.pieces = (j.n + j.span - 1) / j.span;
    int64_t most = PIECE / j.span;
    j.together = (int32_t)(j.rows * j.pieces < most ? j.rows * j.pieces : most);
    return j;
}

size_t buffer_bytes(const job *j, size_t item)
{
    return ((size_t)(j->rows * j->n) * item + 63) / 64 * 64;
}

template <class T, class Item> ebm_status run_argsort(const ebm_kernel_args *args)
{
    job j = read_args(args);
    EBM_CHECK(j.n <= INT32_MAX);
    const T *x = (const T *)args->in[0].data;
    int32_t *out = (int32_t *)args->out[0].data;
    Item *none = nullptr, *from = j.pieces > 1 ? (Item *)args->scratch : none;
    size_t buffer = buffer_bytes(&j, sizeof(Item));
    int32_t all = j.span * j.together, threads = 32;
    while (threads < all / 2 && threads < THREADS) threads *= 2;
    int64_t blocks = (j.rows * j.pieces + j.together - 1) / j.together;
    EBM_LAUNCH((sort_pieces_kernel<T, Item>), ebm__cuda_grid(blocks * threads, threads),
               dim3((unsigned)threads), (size_t)all * sizeof(Item), out, from, x, j);
    int64_t merging = j.rows * ((j.n + RUN - 1) / RUN);
    int32_t open = ebm_cuda->block;
    bool second = true; // the next pass writes the second buffer
    for (int64_t run = j.span; run < j.n; run *= 2, second = !second) {
        Item *to = (Item *)((char *)args->scratch + (second ? buffer : 0));
        EBM_LAUNCH_PLAIN((merge_kernel<Item>), ebm__cuda_grid(merging, open),
                         dim3((unsigned)open), out, 2 * run < j.n ? to : none, from, run, j);
        from = to;
    }
    return ebm__cuda_launched("argsort");
}

} // namespace

ebm_status ebm__cuda_sort(const ebm_kernel_args *args)
{
    if (args->op != EBM_OP_argsort)
        return ebm_fail(EBM_UNSUPPORTED, "sort: op %d has no kernel", (int)args->op);
    if (ebm__cuda_size(&args->in[0]) == 0) return EBM_OK;
    switch (args->in[0].dtype) {
    case EBM_F32: return run_argsort<float, item>(args);
    case EBM_F64: return run_argsort<double, wide_item>(args);
    case EBM_I32: return run_argsort<int32_t, item>(args);
    default: return run_argsort<uint8_t, item>(args);
    }
}

size_t ebm__cuda_sort_scratch(const ebm_kernel_args *args)
{
    if (ebm__cuda_size(&args->in[0]) == 0) return 0;
    job j = read_args(args);
    size_t item_bytes = args->in[0].dtype == EBM_F64 ? sizeof(wide_item) : sizeof(item);
    int32_t buffers = j.pieces > 2 ? 2 : j.pieces > 1 ? 1 : 0;
    return (size_t)buffers * buffer_bytes(&j, item_bytes);
}
