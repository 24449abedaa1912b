/* random.c - random draws by formulas/philox.h.
 *
 * Workload: normals for Langevin steps, 10^4 to 10^7 at a time, which must cost less than the
 * step. With fma in hardware a vector of blocks is worked on at once; Philox takes it in two
 * halves, the even blocks and the odd ones, since products of 32-bit words need lanes of 64
 * bits.  Without it, block by block through fmaf.  Either way the bits are the same. */
#include "cpu/kernels.h"
#include "cpu/simd.h"

#include "base/threads.h"
#include "graph/graph.h"

/* ---- lanes ------------------------------------------------------------------------------- */

/* LANES neighbouring blocks: a word of each, a float of each, and for Philox half of them. */
#if defined(__FMA__)

typedef ebm_vu32 lanes_u32;
typedef ebm_vf32 lanes_f32;
typedef ebm_vu64 lanes_u64;

EBM_INLINE ebm_vu64 multiply_low(ebm_vu64 x, uint32_t m)
{
    return (ebm_vu64)EBM_SIMD(mul_epu32)(EBM_SIMD_INT(x), EBM_SIMD_INT(m - (ebm_vu64){0}));
}

#define EBM_INT ebm_vi32
#define EBM_WIDE_K(c) ((uint64_t)(c) - (ebm_vu64){0})
#define EBM_WIDE_MUL(x, m) multiply_low(x, m)
#define EBM_K(c) ebm__splat_f32(c)
#define EBM_CONVERT(i) ebm__f32_of_i32(i)
#define EBM_BITS_OF(x) ((ebm_vu32)(x))
#define EBM_REAL_OF(u) ((ebm_vf32)(u))
#define EBM_SELECT(m, a, b) ebm__select_f32(m, a, b)
#define EBM_FMA(a, b, c) ebm__fma_f32(a, b, c)
#define EBM_SQRT(x) ebm__sqrt_f32(x)

#else

typedef uint32_t lanes_u32;
typedef float lanes_f32;
typedef uint64_t lanes_u64;

EBM_INLINE float float_of_bits(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

EBM_INLINE uint32_t bits_of_float(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

#define EBM_INT int32_t
#define EBM_WIDE_K(c) ((uint64_t)(c))
#define EBM_WIDE_MUL(x, m) ((uint64_t)(uint32_t)(x) * (m))
#define EBM_K(c) (c)
#define EBM_CONVERT(i) ((float)(i))
#define EBM_BITS_OF(x) bits_of_float(x)
#define EBM_REAL_OF(u) float_of_bits(u)
#define EBM_SELECT(m, a, b) ((m) ? (a) : (b))
#define EBM_FMA(a, b, c) fmaf(a, b, c)
#define EBM_SQRT(x) sqrtf(x)

#endif

#define EBM_REAL lanes_f32
#define EBM_UINT lanes_u32
#define EBM_WIDE lanes_u64
#define EBM_FORMULA EBM_INLINE
#define EBM_NAME(id) id##_lanes
#include "formulas/philox.h"
#undef EBM_FORMULA

enum {
    LANES = sizeof(lanes_u32) / sizeof(uint32_t),
    BLOCKS = EBM_PHILOX_BLOCKS,
    GROUP = EBM_PHILOX_GROUP,
    CHUNK = 128 * GROUP
};

/* Words and floats take turns in the same memory. */
EBM_INLINE lanes_u32 load_words(const uint32_t *from)
{
    lanes_u32 x;
    memcpy(&x, from, sizeof x);
    return x;
}

EBM_INLINE void store_words(uint32_t *to, lanes_u32 x)
{
    memcpy(to, &x, sizeof x);
}

EBM_INLINE void store_floats(uint32_t *to, lanes_f32 x)
{
    memcpy(to, &x, sizeof x);
}

/* ---- groups ------------------------------------------------------------------------------ */

/* What is drawn: n is for randint. */
typedef struct stream {
    lanes_u64 keys[20];
    uint32_t purpose, tag;
    uint64_t n;
} stream;

#if defined(__FMA__)

/* The four words of blocks `block` .. `block + LANES - 1`, whose upper halves agree. */
EBM_INLINE void words_of(const stream *s, uint64_t block, lanes_u32 word[4])
{
    static const uint64_t evens[] = {0, 2, 4, 6, 8, 10, 12, 14};
    ebm_vu64 even[4], odd[4];
    memcpy(&even[0], evens, sizeof even[0]);
    even[0] = even[0] + (uint32_t)block;
    even[1] = (block >> 32) - (ebm_vu64){0};
    even[2] = s->purpose - (ebm_vu64){0};
    even[3] = s->tag - (ebm_vu64){0};
    odd[0] = even[0] + 1;
    for (int k = 1; k < 4; k++) odd[k] = even[k];
    philox_lanes(even, s->keys);
    philox_lanes(odd, s->keys);
    for (int k = 0; k < 4; k++) word[k] = (ebm_vu32)((even[k] & 0xffffffffu) | (odd[k] << 32));
}

#else

EBM_INLINE void words_of(const stream *s, uint64_t block, lanes_u32 word[4])
{
    uint64_t x[4] = {(uint32_t)block, block >> 32, s->purpose, s->tag};
    philox_lanes(x, s->keys);
    for (int k = 0; k < 4; k++) word[k] = (uint32_t)x[k];
}

#endif

/* Each fills `count` whole groups from group number `group` on. */
typedef void (*filler)(const stream *s, int64_t group, int64_t count, uint32_t *to);

static void fill_bits(const stream *s, int64_t group, int64_t count, uint32_t *to)
{
    uint64_t block = (uint64_t)group * BLOCKS;
    for (; count > 0; count--, to += GROUP, block += BLOCKS) {
        for (int lane = 0; lane < BLOCKS; lane += LANES) {
            lanes_u32 word[4];
            words_of(s, block + (uint64_t)lane, word);
            for (int k = 0; k < 4; k++) store_words(to + BLOCKS * k + lane, word[k]);
        }
    }
}

static void fill_uniform(const stream *s, int64_t group, int64_t count, uint32_t *to)
{
    fill_bits(s, group, count, to);
    for (int64_t i = 0; i < count * GROUP; i += LANES)
        store_floats(to + i, uniform_lanes(load_words(to + i)));
}

static void fill_normal(const stream *s, int64_t group, int64_t count, uint32_t *to)
{
    fill_bits(s, group, count, to);
    for (int64_t start = 0; start < count * GROUP; start += 2 * BLOCKS) {
        for (int64_t i = start; i < start + BLOCKS; i += LANES) {
            lanes_f32 first, second;
            normals_lanes(load_words(to + i), load_words(to + i + BLOCKS), &first, &second);
            store_floats(to + i, first);
            store_floats(to + i + BLOCKS, second);
        }
    }
}

static void fill_randint(const stream *s, int64_t group, int64_t count, uint32_t *to)
{
    fill_bits(s, group, count, to);
    for (int64_t i = 0; i < count * GROUP; i++) to[i] = (uint32_t)(to[i] * s->n >> 32);
}

/* ---- draws ------------------------------------------------------------------------------- */

/* Groups at once.  Words first, then what becomes of them in their place, in the first cache:
 * each loop is short enough for the processor to work on several turns of it at the same
 * time. */
enum { AT_ONCE = 16 };

typedef struct draw {
    stream stream;
    filler fill;
    char *out;
    int64_t n, first; /* elements; the group they begin with */
    bool widen;       /* to f64 */
} draw;

/* At most AT_ONCE groups, the last one perhaps not whole, or of f64: by way of the stack. */
static void draw_on_stack(const draw *d, int64_t start, int64_t n)
{
    uint32_t words[AT_ONCE * GROUP];
    float x[AT_ONCE * GROUP];
    d->fill(&d->stream, d->first + start / GROUP, (n + GROUP - 1) / GROUP, words);
    if (!d->widen) {
        memcpy(d->out + start * (int64_t)sizeof *words, words, (size_t)n * sizeof *words);
        return;
    }
    double *to = (double *)(void *)d->out + start;
    memcpy(x, words, (size_t)n * sizeof *x);
    for (int64_t i = 0; i < n; i++) to[i] = x[i];
}

static void draw_chunk(void *context, int64_t task)
{
    const draw *d = context;
    int64_t start = task * CHUNK, end = start + CHUNK < d->n ? start + CHUNK : d->n;
    for (; start < end; start += AT_ONCE * GROUP) {
        int64_t n = end - start < AT_ONCE * GROUP ? end - start : AT_ONCE * GROUP;
        if (d->widen || n % GROUP)
            draw_on_stack(d, start, n);
        else
            d->fill(&d->stream, d->first + start / GROUP, n / GROUP,
                    (uint32_t *)(void *)d->out + start);
    }
}

static int64_t size_of(const ebm_view *view)
{
    int64_t n = 1;
    for (int k = 0; k < view->rank; k++) n *= view->shape[k];
    return n;
}

static stream stream_of(const ebm_kernel_args *args, uint32_t purpose, uint32_t tag)
{
    uint32_t key[2];
    memcpy(key, args->in[0].data, sizeof key);
    stream s = {.purpose = purpose, .tag = tag};
    schedule_lanes(s.keys, key[0], key[1]);
    return s;
}

/* The key whose words are the first two of the block (data, 0, 0, FOLD_IN), with the same
 * row. */
static ebm_status fold_in(const ebm_kernel_args *args)
{
    EBM_CHECK(args->n_in == 2 && args->n_out == 1);
    stream s = stream_of(args, 0, EBM_PHILOX_FOLD_IN);
    uint32_t data, first[LANES], second[LANES];
    lanes_u32 word[4];
    memcpy(&data, args->in[1].data, sizeof data);
    words_of(&s, data, word);
    store_words(first, word[0]);
    store_words(second, word[1]);
    memcpy(args->out[0].data, (const uint32_t[]){first[0], second[0]}, 2 * sizeof data);
    if (args->in[0].shape[0] == 3)
        memcpy((uint32_t *)args->out[0].data + 2, (const uint32_t *)args->in[0].data + 2,
               sizeof data);
    return EBM_OK;
}

/* The group that a draw begins with: that of the key's row, if it has one. */
static ebm_status first_group(const ebm_kernel_args *args, int64_t *group)
{
    const ebm_view *key = &args->in[0], *out = &args->out[0];
    int32_t row;
    *group = 0;
    if (key->shape[0] != 3 || out->shape[0] == 0) return EBM_OK;
    memcpy(&row, (const int32_t *)key->data + 2, sizeof row);
    int64_t before = row * (size_of(out) / out->shape[0]);
    if (row < 0 || before % GROUP)
        return ebm_fail(EBM_VALUE,
                        "random: row %d of the key: got %lld elements before it, "
                        "expected a multiple of %d",
                        (int)row, (long long)before, (int)GROUP);
    *group = before / GROUP;
    return EBM_OK;
}

ebm_status EBM_CPU(random)(const ebm_kernel_args *args)
{
    if (args->op == EBM_OP_fold_in) return fold_in(args);
    EBM_CHECK(args->n_in == 1 && args->n_out == 1 && args->n_attr >= 2);
    int purpose_at = args->op == EBM_OP_uniform || args->op == EBM_OP_normal;
    uint32_t tag = args->op == EBM_OP_normal ? EBM_PHILOX_NORMAL : EBM_PHILOX_BITS;
    draw d = {.stream = stream_of(args, (uint32_t)args->attr[purpose_at], tag),
              .out = args->out[0].data,
              .n = size_of(&args->out[0]),
              .widen = args->out[0].dtype == EBM_F64};
    EBM_TRY(first_group(args, &d.first));
    switch (args->op) {
    case EBM_OP_bits: d.fill = fill_bits; break;
    case EBM_OP_uniform: d.fill = fill_uniform; break;
    case EBM_OP_normal: d.fill = fill_normal; break;
    case EBM_OP_randint:
        d.fill = fill_randint;
        d.stream.n = (uint64_t)args->attr[1];
        break;
    default: return ebm_fail(EBM_UNSUPPORTED, "random: op %d is not a draw", (int)args->op);
    }
    ebm_parallel((d.n + CHUNK - 1) / CHUNK, draw_chunk, &d);
    return EBM_OK;
}

size_t EBM_CPU(random_scratch)(const ebm_kernel_args *args)
{
    (void)args;
    return 0;
}
