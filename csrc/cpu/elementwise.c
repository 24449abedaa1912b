/* elementwise.c - elementwise ops, alone or as a region: a straight program run over blocks.
 *
 * Workload: chains of 3 to 30 cheap instructions (activations with their derivatives, optimiser
 * and sampler updates) over 10^2 to 10^7 elements.  The index space is walked in blocks of up
 * to 512 elements, so that the registers of a region stay in the first cache; an instruction is
 * one call of a small loop over whole vectors.
 *
 * A register is a pointer into one of three places: user memory (a contiguous input; an
 * output), the task's stack (results, gathered inputs), or one vector that every step reads
 * again (constants and inputs that are one number).  Loops have no tails: a block is rounded up
 * to whole groups, and one that is not whole works on the stack alone, so user memory is never
 * passed.
 *
 * Trap: an output may be the memory of a contiguous input.  It is written in place only if
 * nothing reads that input after the first write; else the result is copied when the block is
 * done. */
#include "cpu/elementwise_loops.h"
#include "cpu/kernels.h"

#include "base/threads.h"

enum {
    BLOCK = 512,
    BLOCK_STEP = 64,
    STACK_BYTES = 64 << 10,
    SPLAT_BYTES = 64,
    MAX_PAIRED = 256
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

static void read_source(source *s, const ebm_view *view, int32_t size)
{
    s->data = view->data;
    s->size = size;
    merge_dims(s, view);
    s->period = 1;
    for (int k = 1; k < s->rank; k++) s->period *= s->shape[k];
    if (s->rank == 1)
        s->how = s->stride[0] == 1 ? IN_PLACE : s->stride[0] == 0 ? SPLAT : GATHERED;
    else
        s->how = s->stride[0] == 0 && s->period <= BLOCK ? TILED : GATHERED;
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

/* What all tasks share. */
typedef struct job {
    const ebm_region *region;
    const ebm_view *out;
    int64_t n, chunk, block;
    source in[EBM_REGION_MAX_REG];
    int32_t size[EBM_REGION_MAX_REG];  /* bytes of an element of a register */
    int32_t place[EBM_REGION_MAX_REG]; /* of its storage on the stack */
    bool direct[EBM_REGION_MAX_OUT];   /* whole blocks of this output are written in place */
    bool paired[MAX_PAIRED];           /* instruction k runs together with k + 1 */
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
                     round_up(n < j->block ? n : j->block, GROUP) + j->in[k].period);
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

static void run_loop(const registers *r, loop run, int d, int a, int b, int c, int64_t n)
{
    const operands o = {.d = r->at[d],
                        .a = r->at[a],
                        .b = r->at[b],
                        .c = r->at[c],
                        .sa = !r->splat[a],
                        .sb = !r->splat[b],
                        .sc = !r->splat[c],
                        .n = n};
    run(&o);
}

static void run_instructions(const job *j, const registers *r, int64_t n)
{
    for (int k = 0; k < j->region->n_instr; k++) {
        const ebm_instr *p = &j->region->instr[k];
        if (k < MAX_PAIRED && j->paired[k]) {
            const ebm_instr *q = &j->region->instr[++k];
            bool right = q->b == p->d;
            run_loop(r, pair_of(p->op, q->op, right), q->d, p->a, p->b, right ? q->a : q->b, n);
        } else {
            run_loop(r, loop_of(j->region, p), p->d, p->a, p->b, p->c, n);
        }
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
    run_instructions(j, r, round_up(n, GROUP));
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
    lay_registers(j, &r, stack, end - start);
    for (; start < end; start += j->block)
        run_block(j, &r, stack, start, end - start < j->block ? end - start : j->block);
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

static bool can_pair(const ebm_instr *p, const ebm_instr *q)
{
    return p->dtype == EBM_F32 && q->dtype == EBM_F32 && pair_index(p->op) >= 0 &&
           pair_index(q->op) >= 0 && (q->a == p->d) != (q->b == p->d);
}

/* Pairs instructions whose first result only the second one takes: from the last one backwards,
 * `needed` has the registers that are read after instruction k, `needed_later` after k + 1. */
static void pair_instructions(job *j)
{
    const ebm_region *r = j->region;
    uint64_t needed = 0, needed_later = 0;
    bool next_paired = false;
    for (int k = 0; k < r->n_out; k++) needed |= (uint64_t)1 << r->out_reg[k];
    for (int k = r->n_instr - 1; k >= 0; k--) {
        const ebm_instr *p = &r->instr[k];
        bool last = k == r->n_instr - 1, used_later = needed_later >> p->d & 1;
        next_paired = k < MAX_PAIRED && !last && !next_paired && can_pair(p, p + 1) &&
                      (p->d == p[1].d || !used_later);
        if (k < MAX_PAIRED) j->paired[k] = next_paired;
        needed_later = needed;
        needed &= ~((uint64_t)1 << p->d);
        needed |= (uint64_t)1 << p->a | (uint64_t)1 << p->b | (uint64_t)1 << p->c;
    }
}

/* Stack that register k takes for each element of a block; 0: one vector, whatever the
 * block. */
static int64_t stack_per_element(const job *j, int k)
{
    const ebm_region *r = j->region;
    if (k >= r->n_in) return k < r->n_in + r->n_const ? 0 : j->size[k];
    return j->in[k].how == SPLAT ? 0 : j->in[k].how == TILED ? 2 * j->size[k] : j->size[k];
}

/* The largest block whose registers fit the stack, and their places.  At worst, 64 tiles of
 * f64, it is BLOCK_STEP elements. */
static void place_registers(job *j)
{
    const int n_reg = j->region->n_reg;
    int64_t fixed = 0, each = 0, at = 0;
    for (int k = 0; k < n_reg; k++) {
        int64_t bytes = stack_per_element(j, k);
        each += bytes;
        fixed += bytes ? 0 : SPLAT_BYTES;
    }
    int64_t fits = each ? (STACK_BYTES - fixed) / each / BLOCK_STEP * BLOCK_STEP : BLOCK;
    j->block = fits < BLOCK ? fits : BLOCK;
    for (int k = 0; k < n_reg; k++) {
        int64_t bytes = stack_per_element(j, k);
        j->place[k] = (int32_t)at;
        at += bytes ? bytes * j->block : SPLAT_BYTES;
    }
    for (int k = 0; k < j->region->n_in; k++)
        if (j->in[k].how == TILED && j->in[k].period > j->block) j->in[k].how = GATHERED;
}

/* A task has enough to do to be worth handing out: about 2^16 instructions on elements. */
static int64_t chunk_of(int32_t n_instr)
{
    int64_t chunk = ((int64_t)1 << 16) / (n_instr + 1);
    return chunk < 2048 ? 2048 : chunk > 16384 ? 16384 : round_up(chunk, BLOCK);
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
    for (int k = 0; k < region->n_in; k++) read_source(&j.in[k], &args->in[k], j.size[k]);
    keep_returned_inputs(&j);
    place_registers(&j);
    for (int k = 0; k < region->n_out; k++) j.direct[k] = may_write_in_place(&j, k);
    pair_instructions(&j);
    j.chunk = chunk_of(region->n_instr);
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
