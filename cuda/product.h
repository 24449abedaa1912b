// product.h - products of matrices by tiles in shared memory: c(m, n) = sum over k of a(m, k) b(k, n).
//
// A block makes a tile of c.  It walks along k by DEPTH, two tiles of each operand in turn: while
// one is multiplied, from registers of RM x RN sums a thread, the other is on its way from memory.
// Where an operand lies is up to its source, so that a convolution is a product whose operand is
// gathered from an image and never written out.
//
// A source has, for rows (m, or n) and columns (k) counted from the block's own,
//
//   ALONG_K                 neighbours in memory are neighbours in k, else in m (or n)
//   row_of(i), column_of(k) what of an element's place is known from its row, or its column
//   value(row, column)      the element; zero beyond the end
//
// A sum of many terms for a few elements of c is cut into `parts`, each a block's; they are added
// in their order afterwards.  All that depends on the shape alone.
#ifndef EBM_CUDA_PRODUCT_H
#define EBM_CUDA_PRODUCT_H

#include "kernels.h"

#include <utility>

__device__ inline float ebm__cuda_fma(float a, float b, float c)
{
    return __fmaf_rn(a, b, c);
}
__device__ inline double ebm__cuda_fma(double a, double b, double c)
{
    return fma(a, b, c);
}

// A tile of M x N elements of type T, RM x RN of them a thread's, DEPTH terms of each at once.
template <class T_, int M_, int N_, int RM_, int RN_, int DEPTH_ = 16> struct ebm_tile {
    typedef T_ T;
    static const int M = M_, N = N_, RM = RM_, RN = RN_, DEPTH = DEPTH_;
    static const int ACROSS = N / RN, THREADS = M / RM * ACROSS;
    static const int WORD = 16 / (int)sizeof(T); // elements of the widest access
};

// How the tiles, the parts of k and the products of a batch are numbered.
typedef struct ebm_product_grid {
    int64_t m, n, k, batch, parts, length; // length: of a part
    int64_t tiles_m, tiles_n, blocks;
} ebm_product_grid;

typedef struct ebm_product_place {
    int64_t m, n, k, batch, part; // where the block's tile begins
    int32_t rows, columns, depth; // how much there is of it
} ebm_product_place;

template <class Tile>
__device__ inline ebm_product_place ebm__cuda_place(const ebm_product_grid &g, int64_t number)
{
    ebm_product_place at;
    int64_t rest = number / g.tiles_n, left;
    at.n = (number - rest * g.tiles_n) * Tile::N;
    left = rest / g.tiles_m;
    at.m = (rest - left * g.tiles_m) * Tile::M;
    at.batch = left / g.parts;
    at.part = left - at.batch * g.parts;
    at.k = at.part * g.length;
    at.rows = (int32_t)(g.m - at.m < Tile::M ? g.m - at.m : Tile::M);
    at.columns = (int32_t)(g.n - at.n < Tile::N ? g.n - at.n : Tile::N);
    at.depth = (int32_t)(g.k - at.k < g.length ? g.k - at.k : g.length);
    return at;
}

// Brings ROWS x DEPTH elements of a source into shared memory, by way of registers.
template <class Tile, int ROWS, class Source> struct ebm_loader {
    typedef typename Tile::T T;
    static const bool ALONG_K = Source::ALONG_K;
    static const int AT_ONCE = Tile::THREADS / (ALONG_K ? Tile::DEPTH : ROWS);
    static const int LINES = ALONG_K ? ROWS : Tile::DEPTH; // AT_ONCE of them at once
    static const int EACH = (LINES + AT_ONCE - 1) / AT_ONCE;

    const Source *source;
    int32_t first, line; // along the run in memory, and across
    decltype(std::declval<const Source &>().row_of(0)) row[ALONG_K ? EACH : 1];
    T value[EACH];

    __device__ ebm_loader(const Source *from, int32_t thread) : source(from)
    {
        first = thread % (ALONG_K ? Tile::DEPTH : ROWS);
        line = thread / (ALONG_K ? Tile::DEPTH : ROWS);
        for (int i = 0; i < (ALONG_K ? EACH : 1); i++)
            row[i] = source->row_of(ALONG_K ? line + i * AT_ONCE : first);
    }

    __device__ void load(int32_t k)
    {
        if (ALONG_K) {
            auto column = source->column_of(k + first);
            EBM_UNROLL
            for (int i = 0; i < EACH; i++) value[i] = source->value(row[i], column);
        } else {
            EBM_UNROLL
            for (int i = 0; i < EACH; i++)
                value[i] = source->value(row[0], source->column_of(k + line + i * AT_ONCE));
        }
    }

    template <class Shared> __device__ void store(Shared &tile) const
    {
        EBM_UNROLL
        for (int i = 0; i < EACH; i++) {
            int32_t at = line + i * AT_ONCE;
            if (LINES % AT_ONCE && at >= LINES) continue;
            tile[ALONG_K ? first : at][ALONG_K ? at : first] = value[i];
        }
    }
};

// Reads COUNT elements of a line of shared memory for thread `mine` of WIDTH: pieces of a word, the
// words of neighbouring threads side by side.
template <class T, int COUNT, int WIDTH, int WORD>
__device__ inline void ebm__cuda_fragment(T to[COUNT], const T *line, int32_t mine)
{
    const int piece = COUNT < WORD ? COUNT : WORD;
    struct alignas(piece * sizeof(T)) word {
        T x[piece];
    };
    EBM_UNROLL
    for (int i = 0; i < COUNT; i += piece) {
        word w = *(const word *)(line + i * WIDTH + mine * piece);
        EBM_UNROLL
        for (int k = 0; k < piece; k++) to[i + k] = w.x[k];
    }
}

// The row, or column, of the tile that is number i of thread `mine`.
template <int COUNT, int WIDTH, int WORD>
__device__ inline int32_t ebm__cuda_mine(int i, int32_t mine)
{
    const int piece = COUNT < WORD ? COUNT : WORD;
    return i / piece * piece * WIDTH + mine * piece + i % piece;
}

// Problem: T, ebm_product_grid grid, T *partial, open_a(place), open_b(place), result(batch, m).
template <class Tile, class Problem>
__global__ void __launch_bounds__(Tile::THREADS)
    ebm__cuda_product_kernel(const __grid_constant__ Problem p)
{
    typedef typename Tile::T T;
    const int DEPTH = Tile::DEPTH, WORD = Tile::WORD, RM = Tile::RM, RN = Tile::RN;
    const int ACROSS = Tile::ACROSS, DOWN = Tile::M / RM;
    EBM_SHARED(T, a_tile, [2][DEPTH][Tile::M + WORD]);
    EBM_SHARED(T, b_tile, [2][DEPTH][Tile::N + WORD]);
    const int32_t thread = (int32_t)threadIdx.x, x = thread % ACROSS, y = thread / ACROSS;

    for (int64_t number = blockIdx.x; number < p.grid.blocks; number += gridDim.x) {
        const ebm_product_place at = ebm__cuda_place<Tile>(p.grid, number);
        const auto a_source = p.open_a(at);
        const auto b_source = p.open_b(at);
        ebm_loader<Tile, Tile::M, typename Problem::A> a(&a_source, thread);
        ebm_loader<Tile, Tile::N, typename Problem::B> b(&b_source, thread);
        T sum[RM][RN] = {};
        int turn = 0;
        if (at.depth > 0) {
            a.load(0);
            b.load(0);
        }
        for (int32_t k = 0; k < at.depth; k += DEPTH, turn ^= 1) {
            a.store(a_tile[turn]);
            b.store(b_tile[turn]);
            __syncthreads();
            if (k + DEPTH < at.depth) {
                a.load(k + DEPTH);
                b.load(k + DEPTH);
            }
            EBM_UNROLL
            for (int l = 0; l < DEPTH; l++) {
                T left[RM], right[RN];
                ebm__cuda_fragment<T, RM, DOWN, WORD>(left, a_tile[turn][l], y);
                ebm__cuda_fragment<T, RN, ACROSS, WORD>(right, b_tile[turn][l], x);
                EBM_UNROLL
                for (int i = 0; i < RM; i++) {
                    EBM_UNROLL
                    for (int j = 0; j < RN; j++)
                        sum[i][j] = ebm__cuda_fma(left[i], right[j], sum[i][j]);
                }
            }
        }
        EBM_UNROLL
        for (int i = 0; i < RM; i++) {
            int32_t row = ebm__cuda_mine<RM, DOWN, WORD>(i, y);
            if (row >= at.rows) continue;
            int64_t m = at.m + row, cell = (at.batch * p.grid.m + m) * p.grid.n;
            T *to = p.grid.parts > 1
                        ? p.partial + at.part * p.grid.batch * p.grid.m * p.grid.n + cell
                        : p.result(at.batch, m);
            EBM_UNROLL
            for (int j = 0; j < RN; j++) {
                int32_t column = ebm__cuda_mine<RN, ACROSS, WORD>(j, x);
                if (column < at.columns) to[at.n + column] = sum[i][j];
            }
        }
        __syncthreads(); // the next tile of this block takes the same memory
    }
}

template <class Problem>
__global__ void ebm__cuda_add_parts_kernel(const __grid_constant__ Problem p)
{
    typedef typename Problem::T T;
    const ebm_product_grid &g = p.grid;
    int64_t cells = g.batch * g.m * g.n, step = (int64_t)gridDim.x * blockDim.x;
    for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < cells; i += step) {
        T sum = p.partial[i];
        for (int64_t part = 1; part < g.parts; part++) sum += p.partial[part * cells + i];
        int64_t row = i / g.n, batch = row / g.m;
        p.result(batch, row - batch * g.m)[i - row * g.n] = sum;
    }
}

// Tiles of M x N for the whole product; k in parts if there are fewer than ENOUGH tiles, but not in
// parts shorter than SHORTEST, nor longer than LONGEST.
inline ebm_product_grid ebm__cuda_product_grid(int64_t m, int64_t n, int64_t k, int64_t batch,
                                               int tile_m, int tile_n)
{
    const int64_t ENOUGH = 256, SHORTEST = 256, LONGEST = (int64_t)1 << 30, ROUND = 16;
    ebm_product_grid g = {m, n, k, batch, 1, k, 0, 0, 0};
    g.tiles_m = (m + tile_m - 1) / tile_m;
    g.tiles_n = (n + tile_n - 1) / tile_n;
    int64_t tiles = g.tiles_m * g.tiles_n * batch, parts = 1;
    if (tiles > 0 && tiles < ENOUGH && k >= 2 * SHORTEST) {
        int64_t wanted = (ENOUGH + tiles - 1) / tiles, most = k / SHORTEST;
        parts = wanted < most ? wanted : most;
    }
    if (k > parts * LONGEST) parts = (k + LONGEST - 1) / LONGEST;
    if (parts > 1) {
        g.length = ((k + parts - 1) / parts + ROUND - 1) / ROUND * ROUND;
        g.parts = (k + g.length - 1) / g.length;
    }
    g.blocks = tiles * g.parts;
    return g;
}

inline size_t ebm__cuda_product_scratch(const ebm_product_grid &g, size_t item)
{
    return g.parts > 1 ? (size_t)(g.parts * g.batch * g.m * g.n) * item : 0;
}

template <class Tile, class Problem> void ebm__cuda_launch_product(const Problem &p)
{
    if (p.grid.blocks == 0) return;
    dim3 grid((unsigned)(p.grid.blocks < INT32_MAX ? p.grid.blocks : INT32_MAX));
    EBM_LAUNCH((ebm__cuda_product_kernel<Tile, Problem>), grid, dim3(Tile::THREADS), 0, p);
    if (p.grid.parts == 1) return;
    int64_t cells = p.grid.batch * p.grid.m * p.grid.n;
    int32_t block = ebm_cuda->block;
    EBM_LAUNCH_PLAIN(ebm__cuda_add_parts_kernel<Problem>, ebm__cuda_grid(cells, block),
                     dim3((unsigned)block), p);
}

// ---- a matrix with strides ----------------------------------------------------------------------

template <class T_, bool ALONG_K_> struct ebm_matrix_source {
    typedef T_ T;
    static const bool ALONG_K = ALONG_K_;
    const T *data;
    int64_t row_stride, column_stride;
    int32_t rows, columns;

    __device__ const T *row_of(int32_t i) const
    {
        return i < rows ? data + i * row_stride : nullptr;
    }
    __device__ int64_t column_of(int32_t k) const
    {
        return k < columns ? k * column_stride : -1;
    }
    __device__ T value(const T *row, int64_t column) const
    {
        return row && column >= 0 ? row[column] : (T)0;
    }
};

#endif
