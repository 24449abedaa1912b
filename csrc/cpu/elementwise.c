/* elementwise.c - elementwise ops, alone or as a region: a straight program run over blocks.
 *
 * Workload: chains of 3 to 30 cheap instructions (activations with their derivatives, optimiser
 * and sampler updates) over 10^2 to 10^7 elements.  The index space is walked in blocks, so that
 * the registers of a region stay in the first cache; a pass over a block is one call of a small loop
 * over whole vectors, for one instruction or several that are common together.
 *
 * A register is a pointer into one of three places: user memory (a contiguous input; an
 * output), the task's stack (results, gathered inputs), or one vector that every step reads
 * again (constants and inputs that are one number).  Loops have no tails: blocks are whole groups,
 * and what is left of a task works on the stack alone, so user memory is never passed.
 *
 * Trap: an output may be the memory of a contiguous input.  It is written in place only if
 * nothing reads that input after the first write; else the result is copied when the block is
 * done. */
#include "cpu/elementwise_loops.h"
#include "cpu/kernels.h"

#include "base/threads.h"

enum {
    BLOCK = 1024,           /* elements, at most, if a block has anything on the stack */
    BLOCK_STEP = 64,        /* and at least */
    BLOCK_BYTES = 16 << 10, /* on the stack, for a block of more than BLOCK_STEP */
    TILE = 512,             /* the longest period that is laid out, */
    TILE_BYTES = 16 << 10,  /* and the periods of all inputs that are */
    STACK_BYTES = 64 << 10,
    SPLAT_BYTES = 64,
    MAX_INSTR = 256
};

/* ---- checks ------------------------------------------------------------------------------ */

/* One instruction: the kernel exists, operands are written before and have the right types. */
static ebm_status check_instr(const ebm_region *r, const ebm_instr *p, uint64_t *written)
{
    const op_row *row = p->op < EBM_OP_COUNT ? &table[p->op] : NULL;
    if (!row || !row->name)
        return ebm_fail(EBM_UNSUPPORTED, "elementwise: op %d is not elementwise", (int)p->op);
    EBM_CHECK(p->dtype < EBM_DTYPE_COUNT && p->d < r->n_reg && p->d >= r->n_in + r->n_const);
    EBM_CHECK(p->a < r->n_reg && p->b < r->n_reg && p->c < r->n_reg); /* even if not read */
    if (!loop_of(r, p))
        return ebm_fail(EBM_UNSUPPORTED, "%s: not for %s", row->name,
                        ebm_dtype_name((ebm_dtype)p->dtype));
    const uint8_t operand[3] = {p->a, p->b, p->c};
    for (int k = 0; k < row->n_in; k++) {
        bool condition = p->op == EBM_OP_select && k == 0;
        EBM_CHECK(operand[k] < r->n_reg && (*written >> operand[k] & 1));
        EBM_CHECK(r->reg_dtype[operand[k]] == (condition ? EBM_BOOL : p->dtype));
    }
    int result = row->truth ? EBM_BOOL : p->op == EBM_OP_cast ? r->reg_dtype[p->d] : p->dtype;
    EBM_CHECK(r->reg_dtype[p->d] == result);
    *written |= (uint64_t)1 << p->d;
    return EBM_OK;
}

static ebm_status check_view(const ebm_view *view, const ebm_view *space, int dtype)
{
    EBM_CHECK(view->dtype == dtype && view->rank == space->rank);
    for (int k = 0; k < space->rank; k++) EBM_CHECK(view->shape[k] == space->shape[k]);
    return EBM_OK;
}

static ebm_status check_region(const ebm_kernel_args *args, const ebm_region *r)
{
    EBM_CHECK(r->n_in == args->n_in && r->n_out == args->n_out && r->n_out >= 1);
    EBM_CHECK(r->n_reg <= EBM_REGION_MAX_REG && r->n_out <= EBM_REGION_MAX_OUT);
    EBM_CHECK(r->n_in >= 0 && r->n_const >= 0 && r->n_in + r->n_const <= r->n_reg);
    EBM_CHECK(r->n_instr >= 0 && r->n_instr <= MAX_INSTR);
    for (int k = 0; k < r->n_reg; k++) EBM_CHECK(r->reg_dtype[k] < EBM_DTYPE_COUNT);
    int given = r->n_in + r->n_const;
    uint64_t written = given < 64 ? ((uint64_t)1 << given) - 1 : ~(uint64_t)0;
    for (int k = 0; k < r->n_instr; k++) EBM_TRY(check_instr(r, &r->instr[k], &written));
    for (int k = 0; k < r->n_in; k++)
        EBM_TRY(check_view(&args->in[k], &args->out[0], r->reg_dtype[k]));
    for (int k = 0; k < r->n_out; k++) {
        EBM_CHECK(r->out_reg[k] < r->n_reg && (written >> r->out_reg[k] & 1));
        EBM_TRY(check_view(&args->out[k], &args->out[0], r->reg_dtype[r->out_reg[k]]));
    }
    return EBM_OK;
}

/* ---- inputs ------------------------------------------------------------------------------ */

/* How an input is read: IN_PLACE from user memory; COPIED to the stack, contiguous; SPLAT: one
 * number; TILED: its first `period` elements over and over (a bias), laid out twice or more on
 * the stack once a task; GATHERED element by element from its strides. */
typedef enum reading { IN_PLACE, COPIED, SPLAT, TILED, GATHERED } reading;

typedef struct source {
    char *data;
    reading how;
    int32_t size, rank; /* bytes of an element; dims left after merging, at least 1 */
    int64_t period;
    int64_t shape[EBM_MAX_RANK], stride[EBM_MAX_RANK];
} source;

static void merge_dims(source *s, const ebm_view *view)
{
    int rank = 0;
    for (int k = 0; k < view->rank; k++) {
        int64_t shape = view->shape[k], stride = view->stride[k];
        if (shape == 1) continue;
        if (rank > 0 && s->stride[rank - 1] == stride * shape) {
            s->shape[rank - 1] *= shape;
            s->stride[rank - 1] = stride;
        } else {
            s->shape[rank] = shape;
            s->stride[rank++] = stride;
        }
    }
    if (rank == 0) {
        s->shape[0] = s->stride[0] = 1;
        rank = 1;
    }
    s->rank = rank;
}

/* Of `room` bytes for periods a tile takes its own. */
static void read_source(source *s, const ebm_view *view, int32_t size, int64_t *room)
{
    s->data = view->data;
    s->size = size;
    merge_dims(s, view);
    s->period = 1;
    for (int k = 1; k < s->rank; k++) s->period *= s->shape[k];
    s->how = GATHERED;
    if (s->rank == 1 && s->stride[0] <= 1 && s->stride[0] >= 0) {
        s->how = s->stride[0] == 1 ? IN_PLACE : SPLAT;
    } else if (s->rank > 1 && s->stride[0] == 0 && s->period <= TILE &&
               s->period * size <= *room) {
        s->how = TILED;
        *room -= s->period * size;
    }
}

/* Elements by their size, whatever their type. */
typedef uint64_t __attribute__((may_alias)) any_8;
typedef uint32_t __attribute__((may_alias)) any_4;
typedef uint8_t any_1;

/* `rows` runs of `n` elements, `step` apart in memory; long runs as a block, others by hand. */
#define COPY_ROWS(type)                                                                    \
    static void copy_rows_##type(type *to, const type *from, int64_t rows, int64_t stride, \
                                 int64_t n, int64_t step)                                  \
    {                                                                                      \
        for (; rows > 0; rows--, to += n, from += stride) {                                \
            const type *p = from;                                                          \
            int64_t i = 0;                                                                 \
            if (step == 1 && n >= 32) {                                                    \
                memcpy(to, from, (size_t)n * sizeof(type));                                \
            } else if (step == 0 && n >= 8) {                                              \
                for (type value = *from; i < n; i++) to[i] = value;                        \
            } else {                                                                       \
                for (; i + 1 < n; i += 2, p += 2 * step) {                                 \
                    type first = p[0], second = p[step];                                   \
                    to[i] = first;                                                         \
                    to[i + 1] = second;                                                    \
                }                                                                          \
                if (i < n) to[i] = *p;                                                     \
            }                                                                              \
        }                                                                                  \
    }
COPY_ROWS(any_1)
COPY_ROWS(any_4)
COPY_ROWS(any_8)

static void copy_rows(void *to, const void *from, int64_t rows, int64_t stride, int64_t n,
                      int64_t step, int size)
{
    if (size == 4)
        copy_rows_any_4(to, from, rows, stride, n, step);
    else if (size == 8)
        copy_rows_any_8(to, from, rows, stride, n, step);
    else
        copy_rows_any_1(to, from, rows, stride, n, step);
}

/* Moves `index` on by one along axis `k` and what is outside it; `*offset` goes with it. */
static void advance(const source *s, int64_t *index, int64_t *offset, int k)
{
    for (; k >= 0; k--) {
        *offset += s->stride[k];
        if (++index[k] < s->shape[k]) return;
        *offset -= s->shape[k] * s->stride[k];
        index[k] = 0;
    }
}

/* Elements start .. start+n-1 of the index space: as many whole rows at a time as the plane of
 * the two innermost dims has left, or the piece of a row at either end. */
static void gather(char *to, const source *s, int64_t start, int64_t n)
{
    int64_t index[EBM_MAX_RANK], offset = 0;
    const int last = s->rank - 1, size = s->size;
    const int64_t row = s->shape[last], step = s->stride[last];
    for (int k = last; k >= 0; k--) {
        index[k] = start % s->shape[k];
        start /= s->shape[k];
        offset += index[k] * s->stride[k];
    }
    while (n > 0) {
        const char *from = s->data + offset * size;
        int64_t done;
        if (last > 0 && index[last] == 0 && n >= row) {
            int64_t left = s->shape[last - 1] - index[last - 1];
            int64_t rows = left < n / row ? left : n / row;
            copy_rows(to, from, rows, s->stride[last - 1], row, step, size);
            done = rows * row;
            index[last - 1] += rows - 1;
            offset += (rows - 1) * s->stride[last - 1];
        } else {
            done = row - index[last] < n ? row - index[last] : n;
            copy_rows(to, from, 1, 0, done, step, size);
            offset -= index[last] * step;
            index[last] = 0;
        }
        to += done * size;
        n -= done;
        advance(s, index, &offset, last - 1);
    }
}

/* Lays out n elements of a periodic input: a period from memory, then copies of the copy. */
static void lay_tile(char *to, const source *s, int64_t n)
{
    int64_t done = s->period < n ? s->period : n;
    gather(to, s, 0, done);
    while (done < n) {
        int64_t more = done < n - done ? done : n - done;
        memcpy(to + done * s->size, to, (size_t)(more * s->size));
        done += more;
    }
}

static void lay_splat(char *to, const void *value, int size)
{
    copy_rows(to, value, 1, 0, SPLAT_BYTES / size, 0, size);
}

static void lay_constant(char *to, double value, ebm_dtype dtype, int size)
{
    float f = dtype == EBM_F32 ? (float)value : 0;
    int32_t i = dtype == EBM_I32 ? (int32_t)value : 0;
    uint8_t u = dtype == EBM_U8 || dtype == EBM_BOOL ? (uint8_t)value : 0;
    const void *place[EBM_DTYPE_COUNT] = {
        [EBM_F32] = &f, [EBM_F64] = &value, [EBM_I32] = &i, [EBM_BOOL] = &u, [EBM_U8] = &u};
    lay_splat(to, place[dtype], size);
}

/* ---- one run ----------------------------------------------------------------------------- */

/* One or more instructions as one loop over registers. */
typedef struct pass {
    loop run;
    uint8_t d, e, a, b, c, k;
} pass;

/* What all tasks share. */
typedef struct job {
    const ebm_region *region;
    const ebm_view *out;
    int64_t n, chunk, block;
    source in[EBM_REGION_MAX_REG];
    int32_t size[EBM_REGION_MAX_REG];  /* bytes of an element of a register */
    int32_t place[EBM_REGION_MAX_REG]; /* of its storage on the stack */
    bool direct[EBM_REGION_MAX_OUT];   /* whole blocks of this output are written in place */
    int32_t n_pass;
    pass pass[MAX_INSTR];
} job;

/* A task's registers. */
typedef struct registers {
    char *at[EBM_REGION_MAX_REG];
    bool splat[EBM_REGION_MAX_REG];
} registers;

static int64_t round_up(int64_t n, int64_t step)
{
    return (n + step - 1) / step * step;
}

/* Reads what does not change from block to block. */
static void lay_registers(const job *j, registers *r, char *stack, int64_t n)
{
    const ebm_region *region = j->region;
    for (int k = 0; k < region->n_reg; k++) {
        char *at = r->at[k] = stack + j->place[k];
        r->splat[k] = false;
        if (k < region->n_in && j->in[k].how == TILED)
            lay_tile(at, &j->in[k],
                     round_up(n < j->block ? n : j->block, GROUP) + j->in[k].period - 1);
        if (k < region->n_in && j->in[k].how == SPLAT) {
            lay_splat(at, j->in[k].data, j->in[k].size);
            r->splat[k] = true;
        }
        if (k >= region->n_in && k < region->n_in + region->n_const) {
            lay_constant(at, region->constant[k - region->n_in],
                         (ebm_dtype)region->reg_dtype[k], j->size[k]);
            r->splat[k] = true;
        }
    }
}

/* Has n elements of an input on the stack, and zeros up to the next whole group. */
static void bring_in(const source *s, char *stack, int64_t start, int64_t n)
{
    if (s->how == GATHERED)
        gather(stack, s, start, n);
    else
        memcpy(stack, s->data + start * s->size, (size_t)(n * s->size));
    memset(stack + n * s->size, 0, (size_t)((round_up(n, GROUP) - n) * s->size));
}

static void aim_inputs(const job *j, registers *r, char *stack, int64_t start, int64_t n)
{
    bool whole = n % GROUP == 0;
    for (int k = 0; k < j->region->n_in; k++) {
        const source *s = &j->in[k];
        if (s->how == SPLAT) continue;
        if (s->how == TILED) {
            r->at[k] = stack + j->place[k] + start % s->period * s->size;
        } else if (s->how == IN_PLACE && whole) {
            r->at[k] = s->data + start * s->size;
        } else {
            r->at[k] = stack + j->place[k];
            bring_in(s, r->at[k], start, n);
        }
    }
}

static void run_passes(const job *j, const registers *r, int64_t n)
{
    for (const pass *p = j->pass; p < j->pass + j->n_pass; p++) {
        const operands o = {.d = r->at[p->d],
                            .e = r->at[p->e],
                            .a = r->at[p->a],
                            .b = r->at[p->b],
                            .c = r->at[p->c],
                            .k = r->at[p->k],
                            .sa = !r->splat[p->a],
                            .sb = !r->splat[p->b],
                            .sc = !r->splat[p->c],
                            .n = n};
        p->run(&o);
    }
}

/* Elements start .. start+n-1 of all outputs. */
static void run_block(const job *j, registers *r, char *stack, int64_t start, int64_t n)
{
    const ebm_region *region = j->region;
    char *to[EBM_REGION_MAX_OUT];
    aim_inputs(j, r, stack, start, n);
    for (int k = 0; k < region->n_out; k++) {
        int reg = region->out_reg[k];
        to[k] = (char *)j->out[k].data + start * j->size[reg];
        if (j->direct[k]) r->at[reg] = n % GROUP == 0 ? to[k] : stack + j->place[reg];
    }
    run_passes(j, r, round_up(n, GROUP));
    for (int k = 0; k < region->n_out; k++) {
        int reg = region->out_reg[k];
        if (r->at[reg] != to[k])
            copy_rows(to[k], r->at[reg], 1, 0, n, !r->splat[reg], j->size[reg]);
    }
}

static void run_task(void *context, int64_t task)
{
    const job *j = context;
    _Alignas(SPLAT_BYTES) char stack[STACK_BYTES];
    registers r;
    int64_t start = task * j->chunk, end = start + j->chunk < j->n ? start + j->chunk : j->n;
    int64_t whole = end - (end - start) % GROUP;
    lay_registers(j, &r, stack, end - start);
    for (; start < whole; start += j->block)
        run_block(j, &r, stack, start, whole - start < j->block ? whole - start : j->block);
    if (whole < end) run_block(j, &r, stack, whole, end - whole);
}

/* ---- copies ------------------------------------------------------------------------------ */

/* A region without instructions puts one array, or one number, into another. */
static void copy_task(void *context, int64_t task)
{
    const job *j = context;
    const source *s = &j->in[0];
    int64_t start = task * j->chunk, n = j->n - start < j->chunk ? j->n - start : j->chunk;
    char *to = (char *)j->out[0].data + start * s->size;
    if (s->how == IN_PLACE)
        memcpy(to, s->data + start * s->size, (size_t)(n * s->size));
    else if (s->how == SPLAT)
        copy_rows(to, s->data, 1, 0, n, 0, s->size);
    else
        gather(to, s, start, n);
}

/* ---- planning a run ---------------------------------------------------------------------- */

/* Whether instruction `k` reads register `reg`. */
static bool reads(const ebm_instr *p, int reg)
{
    int n = table[p->op].n_in;
    return p->a == reg || (n > 1 && p->b == reg) || (n > 2 && p->c == reg);
}

/* Whether input `in` is read after the first write of register `reg`. */
static bool read_after_write(const ebm_region *r, int in, int reg)
{
    int k = 0;
    while (k < r->n_instr && r->instr[k].d != reg) k++;
    for (k++; k < r->n_instr; k++)
        if (reads(&r->instr[k], in)) return true;
    return false;
}

static bool may_write_in_place(const job *j, int out)
{
    const ebm_region *r = j->region;
    int reg = r->out_reg[out];
    if (reg < r->n_in + r->n_const) return false;
    for (int k = 0; k < out; k++)
        if (r->out_reg[k] == reg) return false;
    for (int k = 0; k < r->n_in; k++)
        if (j->in[k].data == j->out[out].data && read_after_write(r, k, reg)) return false;
    return true;
}

/* An input that is itself an output must outlast the writing of the other outputs. */
static void keep_returned_inputs(job *j)
{
    for (int k = 0; k < j->region->n_out; k++) {
        int reg = j->region->out_reg[k];
        if (reg < j->region->n_in && j->in[reg].how == IN_PLACE) j->in[reg].how = COPIED;
    }
}

static uint64_t bit(int reg)
{
    return (uint64_t)1 << reg;
}

/* The registers that are read after each instruction before they are written again. */
static void find_needed(const ebm_region *r, uint64_t *needed)
{
    uint64_t later = 0;
    for (int k = 0; k < r->n_out; k++) later |= bit(r->out_reg[k]);
    for (int k = r->n_instr - 1; k >= 0; k--) {
        const ebm_instr *p = &r->instr[k];
        needed[k] = later;
        later &= ~bit(p->d);
        later |= bit(p->a) | bit(p->b) | bit(p->c);
    }
}

/* Whether the `n` instructions at `p` leave nothing that is needed but what the last one and number
 * `kept` write; *keep: that is needed. */
static bool leaves_nothing(const ebm_instr *p, int n, int kept, uint64_t needed, bool *keep)
{
    uint64_t later = bit(p[n - 1].d);
    *keep = false;
    for (int k = n - 2; k >= 0; k--) {
        bool left = needed & ~later & bit(p[k].d);
        if (left && k != kept) return false;
        if (left) *keep = true;
        later |= bit(p[k].d);
    }
    return true;
}

/* What a phrase has met so far: its x and its k, negative before, and for each register which of its
 * instructions wrote it last. */
typedef struct recognition {
    int x, k;
    int8_t writer[EBM_REGION_MAX_REG];
} recognition;

/* Whether register `reg` is what the phrase wants as its next operand. */
static bool stands_for(const ebm_region *r, recognition *so_far, int reg, int want)
{
    int number = reg - r->n_in;
    bool constant = number >= 0 && number < r->n_const;
    double value = constant ? r->constant[number] : 0;
    switch (want) {
    case OF_X:
        if (so_far->x < 0) so_far->x = reg;
        return so_far->x == reg && so_far->writer[reg] == OF_X;
    case OF_K:
        if (so_far->k < 0) so_far->k = reg;
        return so_far->k == reg && constant;
    case OF_ZERO: return constant && value == 0 && !signbit(value);
    case OF_ONE: return constant && value == 1;
    default: return so_far->writer[reg] == want;
    }
}

/* Whether the instructions at `p`, `left` of them, begin with a phrase. */
static bool is_phrase(const ebm_region *r, const ebm_instr *p, int left, const phrase *f,
                      recognition *so_far)
{
    if (left < f->n) return false;
    so_far->x = so_far->k = -1;
    memset(so_far->writer, OF_X, sizeof so_far->writer);
    for (int n = 0; n < f->n; n++) {
        const uint8_t operand[3] = {p[n].a, p[n].b, p[n].c};
        int dtype = f->word[n].op == EBM_OP_cast ? EBM_BOOL : EBM_F32;
        if (p[n].op != f->word[n].op || p[n].dtype != dtype) return false;
        for (int i = 0; i < table[p[n].op].n_in; i++)
            if (!stands_for(r, so_far, operand[i], f->word[n].operand[i])) return false;
        so_far->writer[p[n].d] = (int8_t)n;
    }
    return r->reg_dtype[p[f->n - 1].d] == EBM_F32;
}

static bool is_f32(const ebm_instr *p, ebm_op op)
{
    return p->op == op && p->dtype == EBM_F32;
}

/* Instruction i and what follows it as one of the phrases, after a sum, before a product; returns how
 * many instructions that takes, 0 for none. */
static int take_phrase(const ebm_region *r, int i, const uint64_t *needed, pass *s)
{
    const ebm_instr *p = &r->instr[i];
    int left = r->n_instr - i, sum = is_f32(p, EBM_OP_add) && left > 1, f = 0;
    recognition at;
    while (f < N_PHRASES && phrases[f].word[0].op != p[sum].op) f++;
    if (f == N_PHRASES || !is_phrase(r, p + sum, left - sum, &phrases[f], &at) ||
        (sum && at.x != p->d))
        return 0;
    int n = sum + phrases[f].n, value = sum + phrases[f].value;
    const ebm_instr *q = &p[n], *last = &p[n - 1];
    bool keep = false, times = false;
    if (left > n && is_f32(q, EBM_OP_mul) && (q->a == last->d) != (q->b == last->d)) {
        int other = q->a == last->d ? q->b : q->a;
        times = at.writer[other] == OF_X && !(sum && other == p->d) &&
                leaves_nothing(p, n + 1, value, needed[i + n], &keep);
        s->c = (uint8_t)other;
    }
    if (!times) {
        if (!leaves_nothing(p, n, value, needed[i + n - 1], &keep)) return 0;
        s->c = (uint8_t)at.x;
    }
    s->a = sum ? p->a : (uint8_t)at.x;
    s->b = sum ? p->b : (uint8_t)at.x;
    s->k = at.k < 0 ? s->a : (uint8_t)at.k;
    s->e = times ? q->d : last->d;
    s->d = keep ? p[value].d : s->e;
    s->run = phrases[f].loops[sum][keep][times];
    return n + times;
}

static int take_pair(const ebm_region *r, int k, const uint64_t *needed, pass *s)
{
    const ebm_instr *p = &r->instr[k], *q = p + 1;
    if (k + 1 >= r->n_instr || p->dtype != EBM_F32 || q->dtype != EBM_F32) return 0;
    bool keep, right = q->b == p->d;
    if (pair_index(p->op) < 0 || pair_index(q->op) < 0 || (q->a == p->d) == right ||
        !leaves_nothing(p, 2, -1, needed[k + 1], &keep))
        return 0;
    *s = (pass){pair_of(p->op, q->op, right), q->d, q->d, p->a, p->b,
                right ? q->a : q->b,          p->a};
    return 2;
}

/* Instructions become passes, as many at a time as there is a loop for. */
static void make_passes(job *j)
{
    const ebm_region *r = j->region;
    uint64_t needed[MAX_INSTR];
    find_needed(r, needed);
    j->n_pass = 0;
    for (int k = 0, n = 0; k < r->n_instr; k += n) {
        const ebm_instr *p = &r->instr[k];
        pass *s = &j->pass[j->n_pass++];
        if ((n = take_phrase(r, k, needed, s)) > 0 || (n = take_pair(r, k, needed, s)) > 0)
            continue;
        *s = (pass){loop_of(r, p), p->d, p->d, p->a, p->b, p->c, p->a};
        n = 1;
    }
}

/* Where register k is while whole blocks run: one vector, for all elements; in user memory; on the
 * stack; or nowhere, if no pass wants it. */
typedef enum storage { NOWHERE, VECTOR, USER_MEMORY, ON_STACK } storage;

static storage storage_of(const job *j, int k)
{
    const ebm_region *r = j->region;
    if (k < r->n_in)
        return j->in[k].how == SPLAT      ? VECTOR
               : j->in[k].how == IN_PLACE ? USER_MEMORY
                                          : ON_STACK;
    if (k < r->n_in + r->n_const) return VECTOR;
    for (int i = 0; i < r->n_out; i++)
        if (r->out_reg[i] == k) return j->direct[i] ? USER_MEMORY : ON_STACK;
    for (int i = 0; i < j->n_pass; i++)
        if (j->pass[i].d == k || j->pass[i].e == k) return ON_STACK;
    return NOWHERE;
}

static int64_t common_multiple(int64_t a, int64_t b)
{
    int64_t x = a, y = b;
    while (y) {
        int64_t rest = x % y;
        x = y;
        y = rest;
    }
    return a / x * b;
}

/* The largest block of which what is read again fits the first cache, and the places of registers.
 * If it can it has whole periods, so that tiles are read from their beginning, where vectors do not
 * straddle cache lines. */
static void place_registers(job *j)
{
    storage at[EBM_REGION_MAX_REG];
    const int n_reg = j->region->n_reg;
    int64_t each = 0, multiple = GROUP, place = 0;
    for (int k = 0; k < n_reg; k++) {
        at[k] = storage_of(j, k);
        if (at[k] == ON_STACK || (at[k] == USER_MEMORY && j->n_pass > 1)) each += j->size[k];
        if (k < j->region->n_in && j->in[k].how == TILED && multiple <= BLOCK)
            multiple = common_multiple(multiple, j->in[k].period);
    }
    j->block = j->chunk;
    if (each) {
        int64_t fits = BLOCK_BYTES / each / BLOCK_STEP * BLOCK_STEP;
        j->block = fits > BLOCK ? BLOCK : fits < BLOCK_STEP ? BLOCK_STEP : fits;
        if (multiple <= j->block) j->block = j->block / multiple * multiple;
    }
    for (int k = 0; k < n_reg; k++) {
        bool tiled = k < j->region->n_in && j->in[k].how == TILED;
        int64_t n = at[k] == ON_STACK ? j->block + (tiled ? j->in[k].period : 0) : GROUP;
        j->place[k] = (int32_t)place;
        if (at[k] != NOWHERE)
            place += at[k] == VECTOR ? SPLAT_BYTES : round_up(n * j->size[k], SPLAT_BYTES);
    }
}

/* A task has enough to do to be worth handing out: about 2^16 instructions on elements. */
static int64_t chunk_of(int32_t n_instr)
{
    int64_t chunk = ((int64_t)1 << 16) / (n_instr + 1);
    return chunk < 2048 ? 2048 : chunk > 16384 ? 16384 : round_up(chunk, BLOCK_STEP);
}

static ebm_status run_region(const ebm_kernel_args *args, const ebm_region *region)
{
    EBM_TRY(check_region(args, region));
    job j;
    j.region = region;
    j.out = args->out;
    j.n = 1;
    for (int k = 0; k < args->out[0].rank; k++) j.n *= args->out[0].shape[k];
    if (j.n == 0) return EBM_OK;
    for (int k = 0; k < region->n_reg; k++)
        j.size[k] = (int32_t)ebm_dtype_size((ebm_dtype)region->reg_dtype[k]);
    int64_t room = TILE_BYTES;
    for (int k = 0; k < region->n_in; k++)
        read_source(&j.in[k], &args->in[k], j.size[k], &room);
    j.chunk = chunk_of(region->n_instr);
    if (region->n_instr == 0 && region->n_in == 1 && region->n_out == 1) {
        ebm_parallel((j.n + j.chunk - 1) / j.chunk, copy_task, &j);
        return EBM_OK;
    }
    keep_returned_inputs(&j);
    for (int k = 0; k < region->n_out; k++) j.direct[k] = may_write_in_place(&j, k);
    make_passes(&j);
    place_registers(&j);
    j.chunk = round_up(j.chunk, j.block);
    ebm_parallel((j.n + j.chunk - 1) / j.chunk, run_task, &j);
    return EBM_OK;
}

/* One op is a region of one instruction. */
static ebm_status run_op(const ebm_kernel_args *args)
{
    int n = args->n_in;
    EBM_CHECK(n >= 1 && n <= 3 && args->n_out == 1);
    ebm_instr instr = {.op = (uint16_t)args->op, .d = (uint8_t)n};
    instr.b = n > 1 ? 1 : 0;
    instr.c = n > 2 ? 2 : 0;
    instr.dtype = (uint8_t)args->in[args->op == EBM_OP_select ? 1 : 0].dtype;
    ebm_region region = {.n_in = n, .n_instr = 1, .n_out = 1, .n_reg = n + 1, .instr = &instr};
    for (int k = 0; k < n; k++) region.reg_dtype[k] = (uint8_t)args->in[k].dtype;
    region.reg_dtype[n] = (uint8_t)args->out[0].dtype;
    region.out_reg[0] = (uint8_t)n;
    return run_region(args, &region);
}

ebm_status EBM_CPU(elementwise)(const ebm_kernel_args *args)
{
    return args->op == EBM_OP_REGION ? run_region(args, args->region) : run_op(args);
}

size_t EBM_CPU(elementwise_scratch)(const ebm_kernel_args *args)
{
    (void)args;
    return 0;
}
