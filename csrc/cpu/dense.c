/* dense.c - the products of dense.h: register tiles, packing, and how the work is cut.
 *
 * A tile of C, TILE rows by up to WIDTH vectors, is summed in registers.  B is packed panel by
 * panel, just before its use, into a buffer of the task that stays in L1 and serves up to BLOCK
 * rows; the last panel is as narrow as its columns allow.  The left operand is read in place:
 * that of `rows` through one pointer for each row and tap, that of `columns`, whose rows lie side
 * by side, through one for each term.  Rows of `columns` that do not come in whole tiles are
 * packed side by side.  With very few columns `rows` sums along the channels instead (dot tiles).
 *
 * All buffers are on the stack, 230 KiB at most, so tasks share nothing.  Trap: pointers and
 * packed rows are padded to whole tiles; what is computed from the padding is never stored. */
#include "cpu/dense.h"

#include <string.h>

#if defined(__AVX2__)
#include <immintrin.h>
#endif
#if defined(__AVX512F__)
#define WIDTH 4
enum { VECTOR_BYTES = 64, TILE = 6, SMALL_TILE = 4, DOTS_2 = 8, DOTS_3 = 8, DOTS_4 = 6 };
#elif defined(__AVX2__)
#define WIDTH 2
enum { VECTOR_BYTES = 32, TILE = 6, SMALL_TILE = 4, DOTS_2 = 6, DOTS_3 = 4, DOTS_4 = 3 };
#else
#define WIDTH 2
enum { VECTOR_BYTES = 16, TILE = 4, SMALL_TILE = 4, DOTS_2 = 6, DOTS_3 = 4, DOTS_4 = 3 };
#endif

enum {
    BLOCK = 256,          /* rows of a task, at most */
    BLOCK_PACKED = 128,   /* the same for columns, if its rows are packed, */
    BLOCK_IN_PLACE = 384, /* and if not */
    BLOCK_COLUMNS = 256,  /* columns of a task, at most */
    PAD = 12,             /* pointers behind those of a task's rows that a tile may read */
    LINE = BLOCK + PAD,   /* pointers of a tap */
    TAPS = 16,            /* taps of a slice of a sum, at most */
    TERMS_BYTES = WIDTH == 4 ? 512 : 1024, /* of a packed column of B: a panel stays in L1 */
    FEW_ROWS = 32,                         /* columns: not worth packing B */
    NEAR_BYTES = 1 << 17, /* of a right operand: less than that is in L2 since its last use */
    DOT_TILE = 8,
    DOT_COLUMNS = 4,
    ENOUGH_TASKS = 16
};

#define SERIAL_WORK 1e6 /* less is not worth waking a thread */

#define ALWAYS_INLINE inline __attribute__((always_inline))
#define NOINLINE __attribute__((noinline))
#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

/* A call with the constant W = width, which is 1 to WIDTH. */
#define CASE_WIDTH(n, ...) \
    case n: {              \
        enum { W = n };    \
        __VA_ARGS__;       \
        break;             \
    }
#if WIDTH == 4
#define WIDE_CASES(...) CASE_WIDTH(3, __VA_ARGS__) CASE_WIDTH(4, __VA_ARGS__)
#else
#define WIDE_CASES(...)
#endif
#define BY_WIDTH(width, ...)                                                                  \
    switch (width) {                                                                          \
        CASE_WIDTH(1, __VA_ARGS__) CASE_WIDTH(2, __VA_ARGS__) WIDE_CASES(__VA_ARGS__)         \
    }

static inline int64_t min(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static inline int64_t ceil_div(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

/* ---- cutting the work -------------------------------------------------------------------------- */

/* One call: `batch` x `parts` x `ranges` x `chunks` tasks.  A task has up to `rows` rows
 * (pixels of rows, channels of taps of columns), `columns` columns and, for columns, `pixels`
 * terms of the sum. */
typedef struct job {
    const ebm__dense_product *product;
    int64_t all_rows, ranges, rows, chunks, columns, parts, pixels;
    double cost;
    void *partial; /* columns with parts > 1: [batch][parts][rows][columns] */
} job;

typedef struct place {
    int64_t batch, part, row, rows, j, j_end, pixel, pixel_end;
} place;

static int64_t n_tasks(const job *work)
{
    return work->product->batch * work->parts * work->ranges * work->chunks;
}

static place place_of(const job *work, int64_t task)
{
    place at = {0};
    at.j = task % work->chunks * work->columns;
    at.j_end = min(at.j + work->columns, work->product->columns);
    task /= work->chunks;
    at.row = task % work->ranges * work->rows;
    at.rows = min(work->rows, work->all_rows - at.row);
    task /= work->ranges;
    at.part = task % work->parts;
    at.batch = task / work->parts;
    at.pixel = min(at.part * work->pixels, ebm__dense_pixels(&work->product->x));
    at.pixel_end = min(at.pixel + work->pixels, ebm__dense_pixels(&work->product->x));
    return at;
}

/* Cuts rows into equal ranges, columns into chunks of whole panels. */
static void cut_to(job *work, int64_t rows, int64_t columns)
{
    const ebm__dense_product *p = work->product;
    int64_t panel = WIDTH * VECTOR_BYTES / (p->dtype == EBM_F64 ? 8 : 4);
    work->ranges = ceil_div(work->all_rows, rows);
    work->rows = ceil_div(work->all_rows, work->ranges);
    work->chunks = ceil_div(p->columns, columns);
    work->columns = ceil_div(ceil_div(p->columns, work->chunks), panel) * panel;
    work->chunks = ceil_div(p->columns, work->columns);
}

/* Tasks of up to `rows` rows; smaller while there are too few and each has enough to do.
 * Narrow tasks read the same rows more often, low ones pack the same columns again: those of a
 * packed B are cut last, since the rows of one task are mostly read by the same thread next. */
static void cut(job *work, int64_t rows, int64_t least_columns)
{
    enum { LEAST_ROWS = 64 };
    for (int64_t columns = BLOCK_COLUMNS;;) {
        cut_to(work, rows, columns);
        int64_t tasks = n_tasks(work);
        if (tasks >= ENOUGH_TASKS || work->cost < 2 * SERIAL_WORK * (double)tasks) return;
        bool low = rows <= LEAST_ROWS || work->all_rows <= LEAST_ROWS;
        if (columns > least_columns && (low || !work->product->packed))
            columns /= 2;
        else if (!low)
            rows /= 2;
        else
            return;
    }
}

/* Operations, and what it costs to bring operands and result, in operations: with a few columns
 * or terms a product waits for memory. */
static double cost_of(const ebm__dense_product *p)
{
    const double element = 16;
    double pixels = (double)ebm__dense_pixels(&p->x), depth = (double)p->x.depth;
    double terms = (double)ebm__dense_taps(&p->x) * depth, columns = (double)p->columns;
    double elements = pixels * (depth + columns) + terms * columns;
    return (double)p->batch * (2 * pixels * terms * columns + element * elements);
}

/* Tasks begin at even rows: dot tiles sum even and odd rows in different orders, and a row's bits
 * should not depend on how many rows there are. */
static job cut_rows(const ebm__dense_product *p)
{
    job work = {.product = p, .all_rows = ebm__dense_pixels(&p->x), .parts = 1};
    work.cost = cost_of(p);
    cut(&work, BLOCK, 32);
    work.rows += work.rows % 2;
    work.ranges = ceil_div(work.all_rows, work.rows);
    return work;
}

/* The rows of `columns` do not fill tiles in place. */
static bool is_ragged(const ebm__dense_windows *x)
{
    return x->depth % SMALL_TILE != 0;
}

/* The sum over pixels is cut first, into parts that are added at the end: that costs less than
 * smaller tasks, which pack the same operands again. */
static job cut_columns(const ebm__dense_product *p)
{
    enum { LEAST_PIXELS = 1024 };
    int64_t pixels = ebm__dense_pixels(&p->x);
    int64_t most = is_ragged(&p->x) ? BLOCK_PACKED : BLOCK_IN_PLACE;
    int64_t block = min(most, (TAPS - 1) * p->x.depth / SMALL_TILE * SMALL_TILE);
    job work = {.product = p, .all_rows = ebm__dense_taps(&p->x) * p->x.depth, .parts = 1};
    work.cost = cost_of(p);
    cut_to(&work, block, BLOCK_COLUMNS);
    int64_t parts = min(ceil_div(ENOUGH_TASKS, n_tasks(&work)), pixels / LEAST_PIXELS);
    if (parts > 1) work.parts = parts;
    work.pixels = ceil_div(ceil_div(pixels, work.parts), BLOCK) * BLOCK;
    cut(&work, block, 64);
    work.rows = ceil_div(work.rows, SMALL_TILE) * SMALL_TILE;
    work.ranges = ceil_div(work.all_rows, work.rows);
    return work;
}

void EBM_CPU(dense_spread)(double work, int64_t tasks, ebm_task task, void *context)
{
    if (work >= SERIAL_WORK)
        ebm_parallel(tasks, task, context);
    else
        for (int64_t i = 0; i < tasks; i++) task(context, i);
}

/* ---- slices of a sum --------------------------------------------------------------------------- */

/* A slice of the sum over taps and channels: whole taps, or some channels of one. */
typedef struct slice {
    int64_t tap, taps, k, depth;
} slice;

/* Steps from {0} to the first slice, and from slice to slice; false at the end.  Slices have up
 * to `limit` terms, and about the same number. */
static bool next_slice(slice *s, const ebm__dense_windows *x, int64_t limit)
{
    int64_t all = ebm__dense_taps(x);
    s->k += s->depth;
    if (s->k >= x->depth) {
        s->k = 0;
        s->tap += s->taps;
    }
    if (s->tap >= all || x->depth == 0) return false;
    int64_t most = min(TAPS, limit / x->depth);
    if (most >= 1) {
        s->taps = min(ceil_div(all, ceil_div(all, most)), all - s->tap);
        s->depth = x->depth;
    } else {
        s->taps = 1;
        s->depth = min(ceil_div(x->depth, ceil_div(x->depth, limit)), x->depth - s->k);
    }
    return true;
}

/* ---- pointers ---------------------------------------------------------------------------------- */

/* A position among the output pixels. */
typedef struct position {
    int64_t image, h, w;
} position;

static position position_of(const ebm__dense_windows *x, int64_t pixel)
{
    position at = {.w = pixel % x->w.outputs, .h = pixel / x->w.outputs};
    at.image = at.h / x->h.outputs;
    at.h %= x->h.outputs;
    return at;
}

/* To the first pixel of the next line. */
static void next_line(position *at, const ebm__dense_windows *x)
{
    at->w = 0;
    if (++at->h == x->h.outputs) {
        at->h = 0;
        at->image++;
    }
}

/* Some windows: taps tap .. tap + taps of output pixels first .. first + count, from channel k
 * on.  `offset` elements are added to the image, not to the zeros. */
typedef struct span {
    int64_t first, count, tap, taps, k, offset;
} span;

/* The pointers of a run of n pixels on one line, `step` bytes apart: from `first` up to `last`
 * they are inside of the image. */
static void run_pointers(const void **out, int64_t n, int64_t first, int64_t last,
                         const char *data, int64_t from, int64_t step, const void *zeros)
{
    int64_t i = 0;
    for (; i < first; i++) out[i] = zeros;
    for (; i < last; i++) out[i] = data + (from + i * step);
    for (; i < n; i++) out[i] = zeros;
}

/* Of pixels w, w + step, ... the number that come before `size`, at most n. */
static int64_t count_below(int64_t size, int64_t w, int64_t step, int64_t n)
{
    int64_t below = step == 1 ? size - w : ceil_div(size - w, step);
    return w >= size ? 0 : min(below, n);
}

/* Writes the pointers out[t * LINE + i] to what pixel first + i sees at tap `tap` + t, and
 * repeats the last of them, so that a tile may read beyond. */
static void window_pointers(const void **out, const ebm__dense_windows *x, const span *which,
                            int64_t size)
{
    int64_t pixel = x->pixel * size, line = x->w.size * pixel, image = x->h.size * line;
    const char *data = (const char *)x->data + (which->offset + which->k) * size;
    for (int64_t t = 0; t < which->taps; t++, out += LINE) {
        int64_t start_h = x->h.start + (which->tap + t) / x->w.taps * x->h.tap_step;
        int64_t start_w = x->w.start + (which->tap + t) % x->w.taps * x->w.tap_step;
        position at = position_of(x, which->first);
        for (int64_t i = 0, n; i < which->count; i += n, next_line(&at, x)) {
            n = min(which->count - i, x->w.outputs - at.w);
            int64_t h = start_h + at.h * x->h.step, w = start_w + at.w * x->w.step;
            bool inside = h >= 0 && h < x->h.size;
            int64_t last = inside ? count_below(x->w.size, w, x->w.step, n) : 0;
            int64_t first = count_below(0, w, x->w.step, last);
            run_pointers(out + i, n, first, last, data, at.image * image + h * line + w * pixel,
                         x->w.step * pixel, x->zeros);
        }
        for (int64_t i = 0; i < PAD; i++) out[which->count + i] = out[which->count - 1];
    }
}

/* Where the rows of a task of `rows` go. */
static void row_targets(void **out, const ebm__dense_product *p, const place *task, int64_t size)
{
    position at = position_of(&p->x, task->row);
    for (int64_t i = 0; i < task->rows; next_line(&at, &p->x)) {
        int64_t end = min(task->rows, i + p->x.w.outputs - at.w);
        int64_t to = task->batch * p->c_batch + at.image * p->c_image + at.h * p->c_h +
                     at.w * p->c_w;
        for (; i < end; i++, to += p->c_w) out[i] = (char *)p->c + to * size;
    }
}

/* Row `row` of C of `columns`. */
static void *column_target(const ebm__dense_product *p, int64_t batch, int64_t row, int64_t size)
{
    int64_t tap = row / p->x.depth, k = row % p->x.depth;
    int64_t to = batch * p->c_batch + tap / p->x.w.taps * p->c_h + tap % p->x.w.taps * p->c_w +
                 k * p->c_k;
    return (char *)p->c + to * size;
}

/* Where the rows of a task of `columns` go: into C, channel after channel of a tap, or into a part
 * of it. */
static void column_targets(void **out, const job *work, const place *at, int64_t size)
{
    const ebm__dense_product *p = work->product;
    bool apart = work->parts > 1;
    int64_t depth = apart ? work->all_rows : p->x.depth;
    int64_t step = (apart ? p->columns : p->c_k) * size, k = at->row % depth;
    int64_t before = (at->batch * work->parts + at->part) * work->all_rows;
    for (int64_t i = 0; i < at->rows; i++, k++) {
        if (k == depth) k = 0;
        if (i > 0 && k > 0)
            out[i] = (char *)out[i - 1] + step;
        else if (apart)
            out[i] = (char *)work->partial + (before + at->row + i) * step;
        else
            out[i] = column_target(p, at->batch, at->row + i, size);
    }
}

/* ---- both element types ------------------------------------------------------------------------ */

/* Where tap t of B starts. */
static int64_t tap_start(const ebm__dense_product *p, int64_t t)
{
    return t / p->x.w.taps * p->b_tap_h + t % p->x.w.taps * p->b_tap_w;
}

/* The lines of each tap of B come after those of the tap before. */
static bool taps_follow(const ebm__dense_product *p)
{
    return p->b_tap_w == p->x.depth * p->b_k && p->b_tap_h == p->x.w.taps * p->b_tap_w;
}

/* Rows of a dot tile, by the number of columns: all sums and one row of B fit in registers. */
static const int64_t dot_heights[DOT_COLUMNS + 1] = {0, DOT_TILE, DOTS_2, DOTS_3, DOTS_4};

/* With fewer columns than lanes it is better that the lanes run along the channels. */
static bool uses_dots(const ebm__dense_product *p)
{
    int64_t lanes = VECTOR_BYTES / (p->dtype == EBM_F64 ? 8 : 4);
    return p->columns < lanes && p->columns <= 2 * DOT_COLUMNS && p->x.depth >= lanes;
}

/* The height of the next tile: small ones where they do not make more work. */
static int64_t tile_height(int64_t rows)
{
    return rows >= TILE + 3 || rows == TILE || rows == TILE - 1 ? TILE : SMALL_TILE;
}

/* A tile of C: `count` rows, which may be fewer than the sums that are formed, `n` columns from
 * `j`. */
typedef struct target {
    void *const *rows;
    int64_t count, j, n;
    bool add;
} target;

typedef float part_f32 __attribute__((vector_size(VECTOR_BYTES)));
typedef double part_f64 __attribute__((vector_size(VECTOR_BYTES)));

/* `n` elements, fewer than a vector has, in zeros; and back. */
#if defined(__AVX512F__)
#define DEFINE_PARTS(suffix, real, bits, load, store)                                   \
    static inline real load_part_##suffix(const void *from, int64_t n)                   \
    {                                                                                   \
        return load((bits)((1u << n) - 1), from);                                       \
    }                                                                                   \
    static inline void store_part_##suffix(void *to, real x, int64_t n)                 \
    {                                                                                   \
        store(to, (bits)((1u << n) - 1), x);                                            \
    }
DEFINE_PARTS(f32, __m512, __mmask16, _mm512_maskz_loadu_ps, _mm512_mask_storeu_ps)
DEFINE_PARTS(f64, __m512d, __mmask8, _mm512_maskz_loadu_pd, _mm512_mask_storeu_pd)
#elif defined(__AVX2__)
static const int64_t part_masks[] = {-1, -1, -1, -1, 0, 0, 0, 0};

#define DEFINE_PARTS(suffix, real, load, store)                                       \
    static inline part_##suffix load_part_##suffix(const real *from, int64_t n)                      \
    {                                                                                         \
        const real *mask = (const real *)(part_masks + 4) - n;                                \
        return load(from, _mm256_loadu_si256((const __m256i *)mask));                         \
    }                                                                                         \
    static inline void store_part_##suffix(real *to, part_##suffix x, int64_t n)                     \
    {                                                                                         \
        const real *mask = (const real *)(part_masks + 4) - n;                                \
        store(to, _mm256_loadu_si256((const __m256i *)mask), x);                              \
    }
DEFINE_PARTS(f32, float, _mm256_maskload_ps, _mm256_maskstore_ps)
DEFINE_PARTS(f64, double, _mm256_maskload_pd, _mm256_maskstore_pd)
#else
#define DEFINE_PARTS(suffix, real)                                                      \
    static inline part_##suffix load_part_##suffix(const real *from, int64_t n)          \
    {                                                                                   \
        part_##suffix x = {0};                                                          \
        for (int64_t i = 0; i < n; i++) x[i] = from[i];                                 \
        return x;                                                                       \
    }                                                                                   \
    static inline void store_part_##suffix(real *to, part_##suffix x, int64_t n)         \
    {                                                                                   \
        for (int64_t i = 0; i < n; i++) to[i] = x[i];                                   \
    }
DEFINE_PARTS(f32, float)
DEFINE_PARTS(f64, double)
#endif

/* The halves are added until one lane is left. */
#if defined(__AVX512F__)
static inline float sum_lanes_f32(__m512 x)
{
    return _mm512_reduce_add_ps(x);
}

static inline double sum_lanes_f64(__m512d x)
{
    return _mm512_reduce_add_pd(x);
}
#else
#define DEFINE_SUM(suffix, real)                                                        \
    static inline real sum_lanes_##suffix(part_##suffix x)                              \
    {                                                                                   \
        real s[sizeof x / sizeof(real)];                                                \
        memcpy(s, &x, sizeof x);                                                        \
        for (size_t n = sizeof x / sizeof(real) / 2; n > 0; n /= 2)                     \
            for (size_t i = 0; i < n; i++) s[i] += s[i + n];                            \
        return s[0];                                                                    \
    }
DEFINE_SUM(f32, float)
DEFINE_SUM(f64, double)
#endif

/* Memory that is wanted soon: `runs` of `bytes`, `step` bytes apart.  At every term `rate` more of
 * them is due, in parts of WHOLE: few are to be on the way at once, since the machine lets
 * everything wait when it cannot take another request. */
typedef struct request {
    uintptr_t from;
    int64_t runs, bytes, step;
    int64_t due, rate;
} request;

enum { WHOLE = 1 << 16 };

/* Asks L2 for one more run. */
static inline void ask_for(request *next)
{
    if (next->runs == 0) return;
    for (int64_t at = 0; at < next->bytes; at += 64)
        __builtin_prefetch((const void *)(next->from + (uintptr_t)at), 0, 2);
    next->from += (uintptr_t)next->step;
    next->runs--;
}

/* B of a product being laid out. */
typedef struct pack_job {
    const ebm__dense_product *product;
    void *to;
} pack_job;

typedef float quad __attribute__((vector_size(16), aligned(4), may_alias));
typedef double pair __attribute__((vector_size(16), aligned(8), may_alias));

/* to[k][j] = from[j][k] for four by four. */
static inline void transpose_f32(float *to, int64_t to_step, const float *from, int64_t step)
{
    quad a = *(const quad *)from, b = *(const quad *)(from + step);
    quad c = *(const quad *)(from + 2 * step), d = *(const quad *)(from + 3 * step);
    quad ab = __builtin_shufflevector(a, b, 0, 4, 1, 5);
    quad cd = __builtin_shufflevector(c, d, 0, 4, 1, 5);
    *(quad *)to = __builtin_shufflevector(ab, cd, 0, 1, 4, 5);
    *(quad *)(to + to_step) = __builtin_shufflevector(ab, cd, 2, 3, 6, 7);
    ab = __builtin_shufflevector(a, b, 2, 6, 3, 7);
    cd = __builtin_shufflevector(c, d, 2, 6, 3, 7);
    *(quad *)(to + 2 * to_step) = __builtin_shufflevector(ab, cd, 0, 1, 4, 5);
    *(quad *)(to + 3 * to_step) = __builtin_shufflevector(ab, cd, 2, 3, 6, 7);
}

/* The same for two by two. */
static inline void transpose_f64(double *to, int64_t to_step, const double *from, int64_t step)
{
    pair a = *(const pair *)from, b = *(const pair *)(from + step);
    *(pair *)to = __builtin_shufflevector(a, b, 0, 2);
    *(pair *)(to + to_step) = __builtin_shufflevector(a, b, 1, 3);
}

/* The same for four (two) elements of each of as many rows as fill a line of the cache. */
#if defined(__AVX512F__)
static inline __m512 every_fourth(const float *from, int64_t step)
{
    __m512 x = _mm512_castps128_ps512(_mm_loadu_ps(from));
    x = _mm512_insertf32x4(x, _mm_loadu_ps(from + 4 * step), 1);
    x = _mm512_insertf32x4(x, _mm_loadu_ps(from + 8 * step), 2);
    return _mm512_insertf32x4(x, _mm_loadu_ps(from + 12 * step), 3);
}

static inline void transpose_line_f32(float *to, int64_t to_step, const float *from, int64_t step)
{
    __m512 a = every_fourth(from, step), b = every_fourth(from + step, step);
    __m512 c = every_fourth(from + 2 * step, step), d = every_fourth(from + 3 * step, step);
    __m512d ab = (__m512d)_mm512_unpacklo_ps(a, b), cd = (__m512d)_mm512_unpacklo_ps(c, d);
    _mm512_storeu_pd(to, _mm512_unpacklo_pd(ab, cd));
    _mm512_storeu_pd(to + to_step, _mm512_unpackhi_pd(ab, cd));
    ab = (__m512d)_mm512_unpackhi_ps(a, b);
    cd = (__m512d)_mm512_unpackhi_ps(c, d);
    _mm512_storeu_pd(to + 2 * to_step, _mm512_unpacklo_pd(ab, cd));
    _mm512_storeu_pd(to + 3 * to_step, _mm512_unpackhi_pd(ab, cd));
}
#else
static inline void transpose_line_f32(float *to, int64_t to_step, const float *from, int64_t step)
{
    for (int64_t j = 0; j < 16; j += 4) transpose_f32(to + j, to_step, from + j * step, step);
}
#endif

static inline void transpose_line_f64(double *to, int64_t to_step, const double *from,
                                      int64_t step)
{
    for (int64_t j = 0; j < 8; j += 2) transpose_f64(to + j, to_step, from + j * step, step);
}

#define REAL float
#define NAME(x) x##_f32
#include "cpu/dense.inc"

#define REAL double
#define NAME(x) x##_f64
#include "cpu/dense.inc"

/* ---- calls ------------------------------------------------------------------------------------- */

void EBM_CPU(dense_rows)(const ebm__dense_product *product)
{
    int64_t pixels = ebm__dense_pixels(&product->x);
    if (product->batch == 0 || product->columns == 0 || pixels == 0) return;
    job work = cut_rows(product);
    ebm_task task = product->dtype == EBM_F64 ? rows_task_f64 : rows_task_f32;
    EBM_CPU(dense_spread)(work.cost, n_tasks(&work), task, &work);
}

size_t EBM_CPU(dense_packed)(const ebm__dense_product *p)
{
    enum { WIDEST = 64 }; /* bytes of a vector of AVX-512 */
    if (uses_dots(p) || p->batch != 1) return 0;
    int64_t size = p->dtype == EBM_F64 ? 8 : 4;
    return (size_t)(ceil_div(p->columns * size, WIDEST) * WIDEST) *
           (size_t)(ebm__dense_taps(&p->x) * p->x.depth);
}

void EBM_CPU(dense_pack)(const ebm__dense_product *p, void *to)
{
    bool wide = p->dtype == EBM_F64;
    int64_t size = wide ? 8 : 4, panels = ceil_div(p->columns, WIDTH * VECTOR_BYTES / size);
    double elements = (double)ebm__dense_taps(&p->x) * (double)p->x.depth * (double)p->columns;
    pack_job work = {p, to};
    EBM_CPU(dense_spread)(8 * elements, panels, wide ? pack_task_f64 : pack_task_f32, &work);
}

static bool columns_empty(const ebm__dense_product *p)
{
    return p->batch == 0 || p->columns == 0 || ebm__dense_taps(&p->x) * p->x.depth == 0;
}

size_t EBM_CPU(dense_columns_scratch)(const ebm__dense_product *product)
{
    if (columns_empty(product)) return 0;
    job work = cut_columns(product);
    size_t size = product->dtype == EBM_F64 ? 8 : 4;
    return work.parts == 1 ? 0
                           : (size_t)(product->batch * work.parts * work.all_rows) *
                                 (size_t)product->columns * size;
}

void EBM_CPU(dense_columns)(const ebm__dense_product *product, void *scratch)
{
    if (columns_empty(product)) return;
    job work = cut_columns(product);
    work.partial = scratch;
    bool wide = product->dtype == EBM_F64;
    ebm_task task = wide ? columns_task_f64 : columns_task_f32;
    ebm_task join = wide ? join_task_f64 : join_task_f32;
    EBM_CPU(dense_spread)(work.cost, n_tasks(&work), task, &work);
    if (work.parts == 1) return;
    int64_t rows = product->batch * work.all_rows;
    double bytes = 8.0 * (double)rows * (double)product->columns * (double)work.parts;
    EBM_CPU(dense_spread)(bytes, rows, join, &work);
}

static double depthwise_flops(const ebm__dense_product *p)
{
    return 2.0 * (double)ebm__dense_pixels(&p->x) * (double)ebm__dense_taps(&p->x) *
           (double)p->x.depth;
}

void EBM_CPU(dense_rows_depthwise)(const ebm__dense_product *product)
{
    int64_t pixels = ebm__dense_pixels(&product->x);
    if (pixels == 0 || product->x.depth == 0) return;
    job work = {.product = product, .all_rows = pixels, .chunks = 1, .parts = 1};
    work.ranges = ceil_div(pixels, BLOCK);
    work.rows = ceil_div(pixels, work.ranges);
    ebm_task task = depthwise_rows_task_f32;
    if (product->dtype == EBM_F64) task = depthwise_rows_task_f64;
    EBM_CPU(dense_spread)(depthwise_flops(product), work.ranges, task, &work);
}

void EBM_CPU(dense_columns_depthwise)(const ebm__dense_product *product)
{
    if (product->x.depth == 0) return;
    job work = {.product = product};
    ebm_task task = depthwise_columns_task_f32;
    if (product->dtype == EBM_F64) task = depthwise_columns_task_f64;
    EBM_CPU(dense_spread)(depthwise_flops(product), ebm__dense_taps(&product->x), task, &work);
}
