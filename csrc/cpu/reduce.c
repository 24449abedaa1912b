/* reduce.c - sum, max, argmax, cumsum.
 *
 * Workload: row sums (energies: (N, D) -> (N,)), sums over all but the channels (bias
 * gradients, batch norm), everything to one number (losses); bound by memory.
 *
 * The axes of x are merged into runs that stay and runs that go.  A run that goes is one stage,
 * an (outer, n, inner) -> (outer, inner) reduction; the largest comes first, so the stages
 * after it read little.  Within a stage leaves of fixed length are joined in a fixed binary
 * tree: a sum of n terms has an error of O(log n) ulps, and its bits depend on neither threads
 * nor the batch.
 *
 * A cumsum of f32 runs in double. */
#include "cpu/kernels.h"

#include "base/threads.h"
#include "formulas/axes.h"
#include "graph/graph.h"
#include "tensor/shape.h"

#include <string.h>

enum {
    GRAIN = 1 << 15,   /* elements of a task */
    ROW = 1024,        /* leaf of a contiguous row */
    SHORT = 32,        /* elements of a row of which an argmax keeps bits */
    LEAF = 129,        /* leaf of rows that are added as vectors: one, and 16 times 8 */
    TILE_BYTES = 4096, /* of a row, at most: accumulators stay in L1 */
    WIDE = 256,        /* narrow rows are taken together to about so many elements */
    ENOUGH_TASKS = 64,
    MAX_STAGES = EBM_MAX_RANK
};

#if defined(__AVX512F__)
enum { VECTOR_BYTES = 64 };
#elif defined(__AVX2__)
enum { VECTOR_BYTES = 32 };
#else
enum { VECTOR_BYTES = 16 };
#endif

/* ---- two elements into one --------------------------------------------------------------------- */

/* A vector of T that may lie at any address of T. */
#define VECTOR_OF(T) __attribute__((vector_size(VECTOR_BYTES), aligned(sizeof(T)), may_alias))

#define DEFINE_SUM(name, T)                                                          \
    typedef T name##_vector VECTOR_OF(T);                                            \
    static inline T name##_join(T a, T b)                                            \
    {                                                                                \
        return a + b;                                                                \
    }                                                                                \
    static inline name##_vector name##_join_vectors(name##_vector a, name##_vector b) \
    {                                                                                \
        return a + b;                                                                \
    }

/* The larger, or NaN.  I is the signed integer of T's size. */
#define DEFINE_MAX(name, T, I)                                                       \
    typedef T name##_vector VECTOR_OF(T);                                            \
    typedef I name##_bits VECTOR_OF(I);                                              \
    static inline T name##_join(T a, T b)                                            \
    {                                                                                \
        T larger = a > b ? a : b; /* b if it is NaN */                               \
        return a != a ? a : larger;                                                  \
    }                                                                                \
    static inline name##_vector name##_join_vectors(name##_vector a, name##_vector b) \
    {                                                                                \
        name##_bits take_b = (name##_bits)((b > a) | (b != b));                        \
        return (name##_vector)((take_b & (name##_bits)b) | (~take_b & (name##_bits)a)); \
    }

DEFINE_SUM(sum_f32, float)
DEFINE_SUM(sum_f64, double)
DEFINE_SUM(sum_i32, uint32_t) /* unsigned: wraps */
DEFINE_MAX(max_f32, float, int32_t)
DEFINE_MAX(max_f64, double, int64_t)
DEFINE_MAX(max_i32, int32_t, int32_t)
DEFINE_MAX(max_u8, uint8_t, int8_t)

/* ---- leaves ------------------------------------------------------------------------------------ */

/* How elements of one type are joined. */
typedef struct joining {
    size_t size;
    /* out[r] = join of x[r * n .. r * n + n - 1], for count rows; 1 <= n <= ROW. */
    void (*rows)(void *out, const void *x, int64_t count, int64_t n);
    /* out[c] = join of x[c + r * step] over n rows r; 1 <= n <= LEAF. */
    void (*columns)(void *out, const void *x, int64_t n, int64_t width, int64_t step);
    /* out[c] = join of out[c] and x[c]. */
    void (*pairs)(void *out, const void *x, int64_t width);
} joining;

/* One row: four vectors side by side, then their lanes in a tree, then what is left. */
#define DEFINE_ROW(name, T)                                                             \
    static inline T name##_lanes(name##_vector v)                                       \
    {                                                                                   \
        enum { LANES = VECTOR_BYTES / sizeof(T) };                                      \
        T lane[LANES];                                                                  \
        memcpy(lane, &v, sizeof lane);                                                  \
        for (int half = LANES / 2; half; half /= 2)                                     \
            for (int i = 0; i < half; i++) lane[i] = name##_join(lane[i], lane[i + half]); \
        return lane[0];                                                                 \
    }                                                                                   \
    static inline T name##_row(const T *x, int64_t n)                                   \
    {                                                                                   \
        enum { LANES = VECTOR_BYTES / sizeof(T) };                                      \
        int64_t i = 1;                                                                  \
        T result = x[0];                                                                \
        if (n >= LANES) {                                                               \
            const name##_vector *v = (const void *)x;                                   \
            int64_t k = 1, vectors = n / LANES;                                         \
            name##_vector a = v[0];                                                     \
            if (vectors >= 4) {                                                         \
                name##_vector b = v[1], c = v[2], d = v[3];                             \
                for (k = 4; k + 4 <= vectors; k += 4) {                                 \
                    a = name##_join_vectors(a, v[k]);                                   \
                    b = name##_join_vectors(b, v[k + 1]);                               \
                    c = name##_join_vectors(c, v[k + 2]);                               \
                    d = name##_join_vectors(d, v[k + 3]);                               \
                }                                                                       \
                a = name##_join_vectors(name##_join_vectors(a, b), name##_join_vectors(c, d)); \
            }                                                                           \
            for (; k < vectors; k++) a = name##_join_vectors(a, v[k]);                  \
            result = name##_lanes(a);                                                   \
            i = vectors * LANES;                                                        \
        }                                                                               \
        for (; i < n; i++) result = name##_join(result, x[i]);                          \
        return result;                                                                  \
    }

/* Rows of fewer than 4 go four at a time, each in the order that _row has. */
#define DEFINE_ROWS(name, T)                                                            \
    static void name##_rows(void *to, const void *from, int64_t count, int64_t n)       \
    {                                                                                   \
        T *out = to;                                                                    \
        const T *x = from;                                                              \
        int64_t r = 0;                                                                  \
        for (; n < 4 && r + 4 <= count; r += 4) {                                       \
            T a = x[0], b = x[n], c = x[2 * n], d = x[3 * n];                           \
            for (int64_t i = 1; i < n; i++) {                                           \
                a = name##_join(a, x[i]);                                               \
                b = name##_join(b, x[n + i]);                                           \
                c = name##_join(c, x[2 * n + i]);                                       \
                d = name##_join(d, x[3 * n + i]);                                       \
            }                                                                           \
            out[r] = a, out[r + 1] = b, out[r + 2] = c, out[r + 3] = d;                 \
            x += 4 * n;                                                                 \
        }                                                                               \
        for (; r < count; r++, x += n) out[r] = name##_row(x, n);                       \
    }

#define DEFINE_COLUMNS(name, T)                                                         \
    static void name##_pairs(void *to, const void *from, int64_t width)                 \
    {                                                                                   \
        T *restrict out = to;                                                           \
        const T *restrict x = from;                                                     \
        for (int64_t c = 0; c < width; c++) out[c] = name##_join(out[c], x[c]);         \
    }                                                                                   \
    static inline T name##_eight(const T *x, int64_t step)                              \
    {                                                                                   \
        T a = name##_join(x[0], x[step]), b = name##_join(x[2 * step], x[3 * step]);    \
        T c = name##_join(x[4 * step], x[5 * step]);                                    \
        T d = name##_join(x[6 * step], x[7 * step]);                                    \
        return name##_join(name##_join(a, b), name##_join(c, d));                       \
    }                                                                                   \
    static void name##_columns(void *to, const void *from, int64_t n, int64_t width,    \
                               int64_t step)                                            \
    {                                                                                   \
        T *restrict out = to;                                                           \
        const T *restrict x = from;                                                     \
        int64_t r = 1;                                                                  \
        memcpy(out, x, (size_t)width * sizeof(T));                                      \
        for (; r + 8 <= n; r += 8) {                                                    \
            const T *restrict row = x + r * step;                                       \
            for (int64_t c = 0; c < width; c++)                                         \
                out[c] = name##_join(out[c], name##_eight(row + c, step));              \
        }                                                                               \
        for (; r < n; r++) name##_pairs(out, x + r * step, width);                      \
    }

#define DEFINE_JOINING(name, T)    \
    DEFINE_ROW(name, T)            \
    DEFINE_ROWS(name, T)           \
    DEFINE_COLUMNS(name, T)        \
    static const joining name = {sizeof(T), name##_rows, name##_columns, name##_pairs};

DEFINE_JOINING(sum_f32, float)
DEFINE_JOINING(sum_f64, double)
DEFINE_JOINING(sum_i32, uint32_t)
DEFINE_JOINING(max_f32, float)
DEFINE_JOINING(max_f64, double)
DEFINE_JOINING(max_i32, int32_t)
DEFINE_JOINING(max_u8, uint8_t)

static const joining *find_joining(int32_t op, int32_t dtype)
{
    static const joining *const sums[EBM_DTYPE_COUNT] = {[EBM_F32] = &sum_f32,
                                                         [EBM_F64] = &sum_f64,
                                                         [EBM_I32] = &sum_i32};
    static const joining *const maxima[EBM_DTYPE_COUNT] = {[EBM_F32] = &max_f32,
                                                           [EBM_F64] = &max_f64,
                                                           [EBM_I32] = &max_i32,
                                                           [EBM_BOOL] = &max_u8,
                                                           [EBM_U8] = &max_u8};
    return op == EBM_OP_sum ? sums[dtype] : maxima[dtype];
}

/* ---- trees of leaves --------------------------------------------------------------------------- */

/* The left part of a tree over n > leaf: the largest leaf * 2^k below n. */
static int64_t left_part(int64_t n, int64_t leaf)
{
    int64_t left = leaf;
    while (2 * left < n) left *= 2;
    return left;
}

static void join_row(const joining *how, char *out, const char *x, int64_t n)
{
    if (n <= ROW) {
        how->rows(out, x, 1, n);
        return;
    }
    _Alignas(sizeof(double)) char right[sizeof(double)];
    int64_t left = left_part(n, ROW);
    join_row(how, out, x, left);
    join_row(how, right, x + (size_t)left * how->size, n - left);
    how->pairs(out, right, 1);
}

/* width * size <= TILE_BYTES. */
static void join_columns(const joining *how, char *out, const char *x, int64_t n, int64_t width,
                         int64_t step)
{
    if (n <= LEAF) {
        how->columns(out, x, n, width, step);
        return;
    }
    _Alignas(64) char right[TILE_BYTES];
    int64_t left = left_part(n, LEAF);
    join_columns(how, out, x, left, width, step);
    join_columns(how, right, x + (size_t)(left * step) * how->size, n - left, width, step);
    how->pairs(out, right, width);
}

/* Contiguous rows of a few elements: `fold` of them are one row, which is folded in the end. */
static void join_narrow(const joining *how, char *out, const char *x, int64_t n, int64_t width)
{
    int64_t fold = 1;
    while (2 * fold * width <= WIDE && 16 * fold <= n) fold *= 2;
    _Alignas(64) char wide[WIDE * sizeof(double)];
    int64_t whole = n / fold;
    join_columns(how, wide, x, whole, fold * width, fold * width);
    how->pairs(wide, x + (size_t)(whole * fold * width) * how->size, n % fold * width);
    for (fold /= 2; fold; fold /= 2)
        how->pairs(wide, wide + (size_t)(fold * width) * how->size, fold * width);
    memcpy(out, wide, (size_t)width * how->size);
}

/* n rows of `width` elements, `step` apart, into one: a tree of parts of `part` rows. */
static void join_block(const joining *how, char *out, const char *x, int64_t n, int64_t width,
                       int64_t step, int64_t part)
{
    if (n > part) {
        _Alignas(64) char right[TILE_BYTES];
        int64_t left = left_part(n, part);
        join_block(how, out, x, left, width, step, part);
        join_block(how, right, x + (size_t)(left * step) * how->size, n - left, width, step,
                   part);
        how->pairs(out, right, width);
    } else if (step == 1) {
        join_row(how, out, x, n);
    } else if (step == width && 2 * width <= WIDE) {
        join_narrow(how, out, x, n, width);
    } else {
        join_columns(how, out, x, n, width, step);
    }
}

/* The same tree over parts that lie behind each other; the result is the first. */
static void join_parts(const joining *how, char *parts, int64_t n, int64_t width)
{
    if (n == 1) return;
    int64_t left = left_part(n, 1);
    char *right = parts + (size_t)(left * width) * how->size;
    join_parts(how, parts, left, width);
    join_parts(how, right, n - left, width);
    how->pairs(parts, right, width);
}

/* ---- stages ------------------------------------------------------------------------------------ */

typedef struct stage {
    int64_t outer, n, inner;
} stage;

/* The stages of a reduction over the axes in `mask`, in order; returns how many.  0: a copy. */
static int find_stages(stage *stages, const ebm_view *x, int64_t mask)
{
    int64_t run[EBM_MAX_RANK + 1];
    bool goes[EBM_MAX_RANK + 1];
    int n_runs = ebm_runs_of(x, mask, run, goes), n_stages = 0;
    for (;;) {
        int largest = -1;
        for (int i = 0; i < n_runs; i++)
            if (goes[i] && (largest < 0 || run[i] > run[largest])) largest = i;
        if (largest < 0) return n_stages;
        stage s = {.outer = 1, .n = run[largest], .inner = 1};
        for (int i = 0; i < largest; i++) s.outer *= run[i];
        for (int i = largest + 1; i < n_runs; i++) s.inner *= run[i];
        stages[n_stages++] = s;
        run[largest] = 1;
        goes[largest] = false;
    }
}

/* How a stage is cut into tasks: tiles of columns, parts of n if there are few other tasks,
 * and several outers where they are small.  `part` depends on `inner` alone: a row of a
 * batch has the same bits in any batch. */
typedef struct cut {
    int64_t tile, tiles, part, parts, group, groups;
} cut;

static int64_t ceil_div(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

static cut cut_stage(const stage *s, size_t size)
{
    int64_t widest = TILE_BYTES / (int64_t)size;
    cut c = {.tile = s->inner < widest ? s->inner : widest, .parts = 1, .group = 1};
    c.tiles = ceil_div(s->inner, c.tile);
    c.part = s->inner == 1 ? ROW : LEAF;
    while (2 * c.part * c.tile <= GRAIN) c.part *= 2;
    if (s->n > c.part && s->outer * c.tiles < ENOUGH_TASKS)
        c.parts = ceil_div(s->n, c.part);
    else if (c.tiles == 1 && s->n * s->inner < GRAIN)
        c.group = GRAIN / (s->n * s->inner);
    c.groups = ceil_div(s->outer, c.group);
    return c;
}

static size_t round_up(size_t bytes)
{
    return (bytes + 63) / 64 * 64;
}

static size_t parts_bytes(const stage *s, size_t size)
{
    cut c = cut_stage(s, size);
    return c.parts > 1 ? round_up((size_t)(s->outer * c.parts * s->inner) * size) : 0;
}

typedef struct stage_job {
    const joining *how;
    char *out; /* (outer, parts, inner) */
    const char *x;
    stage s;
    cut c;
} stage_job;

static void run_stage_task(void *context, int64_t task)
{
    const stage_job *job = context;
    const stage *s = &job->s;
    const cut *c = &job->c;
    size_t size = job->how->size;
    int64_t tile = task % c->tiles, part = task / c->tiles % c->parts;
    int64_t first = task / c->tiles / c->parts * c->group, column = tile * c->tile;
    int64_t last = first + c->group < s->outer ? first + c->group : s->outer;
    int64_t width = column + c->tile < s->inner ? c->tile : s->inner - column;
    int64_t row = part * c->part, n = s->n - row;
    if (c->parts > 1 && n > c->part) n = c->part;
    if (s->inner == 1 && s->n <= ROW) {
        job->how->rows(job->out + (size_t)first * size, job->x + (size_t)(first * n) * size,
                       last - first, n);
        return;
    }
    for (int64_t o = first; o < last; o++) {
        int64_t from = (o * s->n + row) * s->inner + column;
        int64_t to = (o * c->parts + part) * s->inner + column;
        join_block(job->how, job->out + (size_t)to * size, job->x + (size_t)from * size, n,
                   width, s->inner, c->part);
    }
}

/* `parts` is scratch of parts_bytes. */
static void run_stage(const joining *how, char *out, const char *x, const stage *s, char *parts)
{
    stage_job job = {how, out, x, *s, cut_stage(s, how->size)};
    bool parted = job.c.parts > 1;
    if (parted) job.out = parts;
    ebm_parallel(job.c.groups * job.c.parts * job.c.tiles, run_stage_task, &job);
    if (!parted) return;
    size_t bytes = (size_t)s->inner * how->size;
    for (int64_t o = 0; o < s->outer; o++) {
        char *first = parts + (size_t)(o * job.c.parts) * bytes;
        join_parts(how, first, job.c.parts, s->inner);
        memcpy(out + (size_t)o * bytes, first, bytes);
    }
}

static int64_t view_size(const ebm_view *view)
{
    int64_t size = 1;
    for (int32_t i = 0; i < view->rank; i++) size *= view->shape[i];
    return size;
}

static ebm_status no_kernel(const ebm_kernel_args *args)
{
    return ebm_fail(EBM_UNSUPPORTED, "%s: no kernel for %s", ebm_op_get((ebm_op)args->op)->name,
                    ebm_dtype_name((ebm_dtype)args->in[0].dtype));
}

static ebm_status join_axes(const ebm_kernel_args *args)
{
    const ebm_view *x = &args->in[0], *out = &args->out[0];
    const joining *how = find_joining(args->op, x->dtype);
    if (!how) return no_kernel(args);
    size_t bytes = (size_t)view_size(out) * how->size;
    if (!bytes) return EBM_OK;
    if (view_size(x) == 0) {
        EBM_CHECK(args->op == EBM_OP_sum);
        memset(out->data, 0, bytes);
        return EBM_OK;
    }
    stage stages[MAX_STAGES];
    int n = find_stages(stages, x, args->attr[0]);
    if (n == 0) {
        memcpy(out->data, x->data, bytes);
        return EBM_OK;
    }
    char *scratch = args->scratch;
    const char *from = x->data;
    for (int k = 0; k < n; k++) {
        const stage *s = &stages[k];
        char *to = k == n - 1 ? out->data : scratch;
        if (k < n - 1) scratch += round_up((size_t)(s->outer * s->inner) * how->size);
        run_stage(how, to, from, s, scratch);
        from = to;
    }
    return EBM_OK;
}

static size_t join_scratch(const ebm_kernel_args *args)
{
    const ebm_view *x = &args->in[0];
    size_t size = ebm_dtype_size((ebm_dtype)x->dtype), kept = 0, parts = 0;
    if (view_size(x) == 0) return 0;
    stage stages[MAX_STAGES];
    int n = find_stages(stages, x, args->attr[0]);
    for (int k = 0; k < n; k++) {
        size_t bytes = parts_bytes(&stages[k], size);
        if (bytes > parts) parts = bytes;
        if (k < n - 1) kept += round_up((size_t)(stages[k].outer * stages[k].inner) * size);
    }
    return kept + parts;
}

/* ---- along an axis: argmax and cumsum ---------------------------------------------------------- */

/* n rows of `width` <= AXIS_TILE elements, `step` apart; an argmax with step 1 is along contiguous
 * rows, `width` of them. */
enum { AXIS_TILE = TILE_BYTES / sizeof(double) };
typedef void (*axis_kernel)(void *out, const void *x, int64_t n, int64_t width, int64_t step,
                            bool reverse);

/* Of short rows the maxima, then a bit for each place that has it (a NaN is not equal to itself);
 * of a long one the leaf with the first maximum, then the place in it.  No jumps by values. */
#define DEFINE_ARGMAX_ROWS(name, T)                                                \
    static void name##_argmax_short(int32_t *out, const T *x, int64_t count, int64_t n) \
    {                                                                             \
        enum { BATCH = 64 };                                                      \
        T best[BATCH];                                                            \
        for (int64_t r = 0; r < count; r++, x += n) {                             \
            uint32_t hits = 0;                                                    \
            if (r % BATCH == 0) name##_rows(best, x, count - r < BATCH ? count - r : BATCH, n); \
            for (int64_t i = 0; i < n; i++)                                       \
                hits |= (uint32_t)((x[i] == best[r % BATCH]) | (x[i] != x[i])) << i; \
            out[r] = __builtin_ctz(hits);                                         \
        }                                                                         \
    }                                                                             \
    static int32_t name##_argmax_long(const T *x, int64_t n)                      \
    {                                                                             \
        int64_t start = 0;                                                        \
        T best = name##_row(x, n < ROW ? n : ROW);                                \
        for (int64_t k = ROW; k < n; k += ROW) {                                  \
            T leaf = name##_row(x + k, n - k < ROW ? n - k : ROW);                \
            if ((leaf > best) | ((leaf != leaf) & (best == best))) {              \
                best = leaf;                                                      \
                start = k;                                                        \
            }                                                                     \
        }                                                                         \
        int32_t rest = (int32_t)(n - start < ROW ? n - start : ROW), place = rest; \
        x += start;                                                               \
        for (int32_t i = 0; i < rest; i++) { /* a NaN is not equal to itself */   \
            int32_t here = ((x[i] == best) | (x[i] != x[i])) ? i : rest;          \
            place = here < place ? here : place;                                  \
        }                                                                         \
        return (int32_t)start + place;                                            \
    }                                                                             \
    static void name##_argmax_rows(int32_t *out, const T *x, int64_t count, int64_t n) \
    {                                                                             \
        if (n <= SHORT)                                                           \
            name##_argmax_short(out, x, count, n);                                \
        else                                                                      \
            for (int64_t r = 0; r < count; r++) out[r] = name##_argmax_long(x + r * n, n); \
    }

#define DEFINE_ARGMAX(name, T)                                                  \
    DEFINE_ARGMAX_ROWS(name, T)                                                 \
    static void name##_argmax(void *to, const void *from, int64_t n, int64_t width, \
                              int64_t step, bool reverse)                       \
    {                                                                           \
        (void)reverse;                                                          \
        int32_t *restrict out = to;                                             \
        const T *restrict x = from;                                             \
        T best[AXIS_TILE];                                                      \
        if (step == 1) {                                                        \
            name##_argmax_rows(out, x, width, n);                               \
            return;                                                             \
        }                                                                       \
        memcpy(best, x, (size_t)width * sizeof(T));                             \
        memset(out, 0, (size_t)width * sizeof *out);                            \
        for (int64_t r = 1; r < n; r++) {                                       \
            const T *restrict row = x + r * step;                               \
            for (int64_t c = 0; c < width; c++) {                               \
                T a = best[c], b = row[c];                                      \
                bool better = (b > a) | ((b != b) & (a == a));                  \
                int32_t found = out[c];                                         \
                out[c] = better ? (int32_t)r : found;                           \
                best[c] = better ? b : a;                                       \
            }                                                                   \
        }                                                                       \
    }

DEFINE_ARGMAX(max_f32, float)
DEFINE_ARGMAX(max_f64, double)
DEFINE_ARGMAX(max_i32, int32_t)
DEFINE_ARGMAX(max_u8, uint8_t)

#define DEFINE_CUMSUM(name, T, A)                                                 \
    static void name(void *to, const void *from, int64_t n, int64_t width, int64_t step, \
                     bool reverse)                                                \
    {                                                                             \
        A total[AXIS_TILE] = {0};                                                 \
        for (int64_t r = 0; r < n; r++) {                                         \
            int64_t row = reverse ? n - 1 - r : r;                                \
            T *restrict out = (T *)to + row * step;                               \
            const T *restrict x = (const T *)from + row * step;                   \
            for (int64_t c = 0; c < width; c++) {                                 \
                total[c] += x[c];                                                 \
                out[c] = (T)total[c];                                             \
            }                                                                     \
        }                                                                         \
    }

DEFINE_CUMSUM(cumsum_f32, float, double)
DEFINE_CUMSUM(cumsum_f64, double, double)
DEFINE_CUMSUM(cumsum_i32, uint32_t, uint32_t)

static axis_kernel find_axis_kernel(int32_t op, int32_t dtype)
{
    static const axis_kernel argmaxes[EBM_DTYPE_COUNT] = {[EBM_F32] = max_f32_argmax,
                                                          [EBM_F64] = max_f64_argmax,
                                                          [EBM_I32] = max_i32_argmax,
                                                          [EBM_BOOL] = max_u8_argmax,
                                                          [EBM_U8] = max_u8_argmax};
    static const axis_kernel cumsums[EBM_DTYPE_COUNT] = {[EBM_F32] = cumsum_f32,
                                                         [EBM_F64] = cumsum_f64,
                                                         [EBM_I32] = cumsum_i32};
    return op == EBM_OP_argmax ? argmaxes[dtype] : cumsums[dtype];
}

typedef struct axis_job {
    axis_kernel kernel;
    char *out;
    const char *x;
    size_t x_size, out_size;
    stage s;
    int64_t out_n; /* rows of the result: n, or 1 */
    int64_t tiles, group;
    bool reverse;
    bool whole_rows; /* argmax along contiguous rows: all rows of a task in one call */
} axis_job;

static void run_axis_task(void *context, int64_t task)
{
    const axis_job *job = context;
    const stage *s = &job->s;
    int64_t column = task % job->tiles * AXIS_TILE, first = task / job->tiles * job->group;
    int64_t last = first + job->group < s->outer ? first + job->group : s->outer;
    int64_t width = column + AXIS_TILE < s->inner ? AXIS_TILE : s->inner - column, step = 1;
    if (job->whole_rows) width = step = last - first;
    for (int64_t o = first; o < last; o += step)
        job->kernel(job->out + (size_t)(o * job->out_n * s->inner + column) * job->out_size,
                    job->x + (size_t)(o * s->n * s->inner + column) * job->x_size, s->n, width,
                    s->inner, job->reverse);
}

static ebm_status along_axis(const ebm_kernel_args *args)
{
    const ebm_view *x = &args->in[0], *out = &args->out[0];
    axis_kernel kernel = find_axis_kernel(args->op, x->dtype);
    if (!kernel) return no_kernel(args);
    if (view_size(out) == 0) return EBM_OK;
    int64_t axis = args->attr[0];
    stage s = {.outer = 1, .n = x->shape[axis], .inner = 1};
    for (int64_t i = 0; i < axis; i++) s.outer *= x->shape[i];
    for (int64_t i = axis + 1; i < x->rank; i++) s.inner *= x->shape[i];
    EBM_CHECK(s.n > 0 && s.n <= INT32_MAX);
    int64_t tiles = ceil_div(s.inner, AXIS_TILE), per = s.n * s.inner;
    int64_t group = tiles > 1 || per >= GRAIN ? 1 : GRAIN / per;
    bool argmax = args->op == EBM_OP_argmax;
    axis_job job = {
        .kernel = kernel,
        .out = out->data,
        .x = x->data,
        .x_size = ebm_dtype_size((ebm_dtype)x->dtype),
        .out_size = ebm_dtype_size((ebm_dtype)out->dtype),
        .s = s,
        .out_n = argmax ? 1 : s.n,
        .tiles = tiles,
        .group = group,
        .reverse = !argmax && args->attr[1],
        .whole_rows = argmax && s.inner == 1,
    };
    ebm_parallel(tiles * ceil_div(s.outer, group), run_axis_task, &job);
    return EBM_OK;
}

/* ---- the family -------------------------------------------------------------------------------- */

ebm_status EBM_CPU(reduce)(const ebm_kernel_args *args)
{
    switch (args->op) {
    case EBM_OP_sum:
    case EBM_OP_max: return join_axes(args);
    case EBM_OP_argmax:
    case EBM_OP_cumsum: return along_axis(args);
    default: return ebm_fail(EBM_UNSUPPORTED, "reduce: op %d has no kernel", (int)args->op);
    }
}

size_t EBM_CPU(reduce_scratch)(const ebm_kernel_args *args)
{
    return args->op == EBM_OP_sum || args->op == EBM_OP_max ? join_scratch(args) : 0;
}
