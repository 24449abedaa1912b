/* rows.c - loops over rows that do not talk to each other, cut into blocks of rows.
 *
 * A chain of many rows touches all of them in every step, and each kernel waits for its threads.
 * Block by block, the loop
 *
 *     repeat n: x = body(i, x)                                     x (N, ...)
 *
 * becomes a loop over blocks around the same loop over steps,
 *
 *     repeat N / B: y = (repeat n: x = body'(i, x))                x (B, ...)
 *
 * whose turns run beside one another in lanes, each block staying in a cache for all its steps.
 * Rows that are left over make a last, smaller block, in a loop of its own.
 *
 * A value *has rows* if axis 0 is N groups of the same size and group r depends on row r alone; the
 * body of a block has B groups of it.  A value that is *shared* is the same for all blocks; it can
 * be given rows too if its groups can be computed apart (a slice, a broadcast, a random draw).
 * Node by node it is found out which is which; if the results have rows the loop is cut. */
#include <string.h>

#include "base/alloc.h"
#include "graph/rules.h"
#include "plan/plan_internal.h"

enum {
    MANY_BLOCKS = 16,         /* enough for most machines' threads */
    BLOCK_BYTES = 192 * 1024, /* of the widest value of a block: several stay in a cache */
    LEAST_WORK = 200000, /* operations of a step on a block: starting its kernels costs less */
    PACKED_ROWS = 5,     /* what a product of few rows costs more, in rows: if its right */
    UNPACKED_ROWS = 16,  /* operand is laid out once, and if it is in every step */
    DRAW_GROUP = 64      /* a draw can begin at multiples of so many elements */
};

#define MOST_SLOWNESS 0.15
#define MOST_OF_EQUALS 0.2 /* the same, where threads get equally many rows for it */

/* ---- which nodes have rows ------------------------------------------------------------------- */

typedef struct cut {
    ebm__pool *pool;
    const ebm__repeat *r;
    const ebm_graph *body;
    bool eager;
    int32_t count;
    int64_t n_rows;            /* N */
    bool *shared, *rows;       /* by ref: what it can be */
    bool *as_shared, *as_rows; /* by ref: what it is needed as */
    bool *varies;              /* by ref: shared, but not the same in every step */
} cut;

/* How operand i of a node is read when the node has rows. */
typedef enum need { IMPOSSIBLE, NEED_SHARED, NEED_ROWS } need;

static int64_t elements_of(const ebm_graph *g, ebm_ref ref)
{
    ebm_shape shape = ebm_ref_shape(g, ref);
    return ebm_shape_size(&shape);
}

static bool is_draw(ebm_op op)
{
    return op == EBM_OP_bits || op == EBM_OP_uniform || op == EBM_OP_normal ||
           op == EBM_OP_randint;
}

static bool has_leading_rows(const cut *c, ebm_ref ref)
{
    ebm_shape shape = ebm_ref_shape(c->body, ref);
    return shape.rank > 0 && shape.dim[0] > 0 && shape.dim[0] % c->n_rows == 0;
}

static need need_of_move(const cut *c, const ebm_node *node)
{
    ebm_shape x = ebm_ref_shape(c->body, node->in[0]);
    switch (node->op) {
    case EBM_OP_mark:
    case EBM_OP_stop:
    case EBM_OP_graft:
    case EBM_OP_reshape: return NEED_ROWS;
    case EBM_OP_broadcast:
        return x.rank > 0 && node->attr[1 + node->shape.rank] == 0 ? NEED_ROWS : NEED_SHARED;
    case EBM_OP_permute: return node->attr[0] == 0 ? NEED_ROWS : IMPOSSIBLE;
    case EBM_OP_slice:
    case EBM_OP_pad: {
        bool whole = node->attr[0] == 0 && node->attr[1] == 1 && node->shape.dim[0] == x.dim[0];
        return whole ? NEED_ROWS : IMPOSSIBLE;
    }
    case EBM_OP_concat: return node->attr[0] == 0 ? IMPOSSIBLE : NEED_ROWS;
    default: return IMPOSSIBLE;
    }
}

static need need_of_index(const ebm_node *node, int32_t i)
{
    switch (node->op) {
    case EBM_OP_take: return (node->attr[0] == 0) == (i == 1) ? NEED_ROWS : NEED_SHARED;
    case EBM_OP_scatter_add:
        return node->attr[0] == 0 ? IMPOSSIBLE : i == 0 ? NEED_ROWS : NEED_SHARED;
    case EBM_OP_window_argmax:
    case EBM_OP_window_take:
    case EBM_OP_window_put: return NEED_ROWS;
    default: return IMPOSSIBLE;
    }
}

static need need_of(const cut *c, const ebm_node *node, int32_t i)
{
    switch (ebm_op_get(node->op)->family) {
    case EBM_FAMILY_ELEMENTWISE: return NEED_ROWS;
    case EBM_FAMILY_REDUCE: {
        bool along = node->op == EBM_OP_sum || node->op == EBM_OP_max ? node->attr[0] & 1
                                                                      : node->attr[0] == 0;
        return along ? IMPOSSIBLE : NEED_ROWS;
    }
    case EBM_FAMILY_MOVE: return need_of_move(c, node);
    case EBM_FAMILY_INDEX: return need_of_index(node, i);
    case EBM_FAMILY_MATMUL:
        if (node->op != EBM_OP_matmul) return IMPOSSIBLE;
        if (node->shape.rank > 2) return NEED_ROWS;
        return i == 1 ? NEED_SHARED : node->attr[0] ? IMPOSSIBLE : NEED_ROWS;
    case EBM_FAMILY_CONV:
        if (node->op == EBM_OP_conv_weight) return IMPOSSIBLE;
        return i == 1 ? NEED_SHARED : NEED_ROWS;
    case EBM_FAMILY_RANDOM: return is_draw(node->op) ? NEED_SHARED : IMPOSSIBLE;
    default: return IMPOSSIBLE;
    }
}

/* Of a graft only the value is copied: blocks are not differentiated. */
static int32_t n_reads(const ebm_node *node)
{
    return node->op == EBM_OP_graft ? 1 : node->n_in;
}

static bool can_have_rows(const cut *c, ebm_ref ref, const ebm_node *node)
{
    if (!has_leading_rows(c, ref)) return false;
    if (node->op == EBM_OP_iota) return node->attr[1] != 0;
    if (node->n_in == 0) return false;
    for (int32_t i = 0; i < n_reads(node); i++) {
        need wanted = need_of(c, node, i);
        if (wanted == IMPOSSIBLE) return false;
        if (wanted == NEED_ROWS ? !c->rows[node->in[i]] : !c->shared[node->in[i]]) return false;
    }
    return true;
}

static void classify_inputs(cut *c)
{
    const ebm_body *loop = &c->r->body;
    int32_t n_in = ebm_graph_n_inputs(c->body);
    for (int32_t k = 0; k < n_in; k++) {
        ebm_ref ref = ebm_graph_input_ref(c->body, k);
        bool carry = k >= 1 && k < 1 + loop->n_carry;
        c->shared[ref] = !carry;
        c->rows[ref] = k > 0 && has_leading_rows(c, ref);
        c->varies[ref] = k < 1 + loop->n_carry + loop->n_xs;
    }
}

static void classify(cut *c)
{
    classify_inputs(c);
    for (ebm_ref ref = 1; ref < c->count; ref++) {
        ebm_node node = ebm_graph_node(c->body, ref);
        if (node.op == EBM_OP_input) continue;
        c->shared[ref] = node.op != EBM_OP_repeat && node.op != EBM_OP_item;
        for (int32_t i = 0; i < n_reads(&node); i++) {
            c->shared[ref] &= c->shared[node.in[i]];
            c->varies[ref] |= c->varies[node.in[i]];
        }
        c->rows[ref] = can_have_rows(c, ref, &node);
    }
}

/* ---- what is needed as what ------------------------------------------------------------------ */

/* The result k of the loop (carries, then ys) in the body, if anybody wants it. */
static ebm_ref result_of(const cut *c, int32_t k)
{
    const ebm_body *loop = &c->r->body;
    if (!c->r->item[k]) return EBM_POISON;
    return k < loop->n_carry ? loop->carry_out[k] : loop->ys[k - loop->n_carry];
}

static int32_t n_results(const cut *c)
{
    return c->r->body.n_carry + c->r->body.n_ys;
}

/* False if a result cannot have rows, or has them grouped in another way than it came. */
static bool results_have_rows(const cut *c)
{
    const ebm_body *loop = &c->r->body;
    for (int32_t k = 0; k < n_results(c); k++) {
        ebm_ref out = result_of(c, k);
        if (out != EBM_POISON && !c->rows[out]) return false;
        if (k < loop->n_carry && c->r->in[1 + k] && !c->rows[ebm_graph_input_ref(c->body, 1 + k)])
            return false;
    }
    return true;
}

static void mark_needed(cut *c)
{
    for (int32_t k = 0; k < n_results(c); k++)
        if (result_of(c, k) != EBM_POISON) c->as_rows[result_of(c, k)] = true;
    for (ebm_ref ref = c->count - 1; ref > 0; ref--) {
        if (!c->as_rows[ref] && !c->as_shared[ref]) continue;
        ebm_node node = ebm_graph_node(c->body, ref);
        for (int32_t i = 0; i < n_reads(&node); i++) {
            if (c->as_shared[ref]) c->as_shared[node.in[i]] = true;
            if (!c->as_rows[ref]) continue;
            if (need_of(c, &node, i) == NEED_ROWS)
                c->as_rows[node.in[i]] = true;
            else
                c->as_shared[node.in[i]] = true;
        }
    }
}

/* ---- how many rows a block has --------------------------------------------------------------- */

/* A product of the body, seen from one row: multiplications, and rows of the left operand. */
static void weigh(const cut *c, const ebm_node *node, double *flops, double *rows)
{
    ebm_shape w = ebm_ref_shape(c->body, node->in[1]);
    double n = (double)c->n_rows, weights = (double)ebm_shape_size(&w);
    *rows = (double)ebm_shape_size(&node->shape) / n /
            (double)node->shape.dim[node->shape.rank - 1];
    *flops = *rows * weights;
    if (node->op == EBM_OP_conv_data)
        *flops = (double)elements_of(c->body, node->in[0]) / n * weights / (double)w.dim[3];
    if (node->op == EBM_OP_matmul && node->shape.rank > 2) /* a product a row */
        *flops = (double)ebm_shape_size(&node->shape) / n *
                 (double)ebm_ref_shape(c->body, node->in[0]).dim[node->shape.rank - 1];
}

/* What a step costs. */
typedef struct cost {
    double work;     /* of a row, in operations */
    double slowness; /* of blocks of one row: the share that their products take longer */
} cost;

static cost cost_of(const cut *c)
{
    double work = 0, products = 0, more = 0;
    for (ebm_ref ref = 1; ref < c->count; ref++) {
        if (!c->as_rows[ref]) continue;
        ebm_node node = ebm_graph_node(c->body, ref);
        ebm_op_family family = ebm_op_get(node.op)->family;
        double flops = 0, rows = 1;
        work += (double)ebm_shape_size(&node.shape) / (double)c->n_rows;
        if (family != EBM_FAMILY_MATMUL && family != EBM_FAMILY_CONV) continue;
        weigh(c, &node, &flops, &rows);
        bool alone = family == EBM_FAMILY_MATMUL && node.shape.rank > 2;
        double overhead = family == EBM_FAMILY_CONV ? UNPACKED_ROWS : PACKED_ROWS;
        products += flops;
        if (!alone) more += flops * overhead / rows;
    }
    return (cost){work + 2 * products, products > 0 ? more / products : 0};
}

/* Bytes of a row of the widest value. */
static int64_t widest(const cut *c)
{
    int64_t bytes = 1;
    for (ebm_ref ref = 1; ref < c->count; ref++) {
        if (!c->as_rows[ref]) continue;
        int64_t size = (int64_t)ebm_dtype_size(ebm_ref_dtype(c->body, ref)) *
                       elements_of(c->body, ref) / c->n_rows;
        if (size > bytes) bytes = size;
    }
    return bytes;
}

/* Draws can begin with any multiple of b rows. */
static bool draws_fit(const cut *c, int64_t b)
{
    for (ebm_ref ref = 1; ref < c->count; ref++)
        if (c->as_rows[ref] && is_draw(ebm_graph_node(c->body, ref).op) &&
            elements_of(c->body, ref) / c->n_rows * b % DRAW_GROUP != 0)
            return false;
    return true;
}

/* For tests: one that leaves rows over, if there is any. */
static int64_t choose_eagerly(const cut *c)
{
    for (int64_t b = 2; b <= c->n_rows / 2; b += 2)
        if (c->n_rows % b > 1 && draws_fit(c, b)) return b;
    for (int64_t b = 1; b <= c->n_rows / 2; b++)
        if (c->n_rows % b == 0 && draws_fit(c, b)) return b;
    return 0;
}

/* The rows of 2, 4 or 8 blocks, as many as their kernels allow, that leave none over; or 0.  Of a few
 * blocks those beyond a multiple of the threads, and a smaller last one, leave threads idle. */
static int64_t choose_equals(const cut *c, const cost *of)
{
    int64_t best = 0;
    for (int64_t n = 2; n < MANY_BLOCKS && c->n_rows % (2 * n) == 0; n *= 2) {
        int64_t b = c->n_rows / n;
        bool enough = of->work * (double)b >= LEAST_WORK;
        if (enough && of->slowness <= MOST_OF_EQUALS * (double)b && draws_fit(c, b)) best = b;
    }
    return best;
}

/* The rows of a block, or 0: as few as their kernels allow, or more while a cache holds them; so
 * that none are left over, if that takes no less than half as many.  Blocks begin at even rows and
 * have two or more: products of one row, and their odd rows, may be summed in another order. */
static int64_t choose_block(const cut *c)
{
    if (c->eager) return choose_eagerly(c);
    cost of = cost_of(c);
    int64_t best = 0, exact = 0, width = widest(c);
    for (int64_t b = 2; b <= c->n_rows / 2; b += 2) {
        bool fits = b * width <= BLOCK_BYTES && c->n_rows / b >= MANY_BLOCKS;
        if (best > 0 && !fits) break;
        bool enough = of.work * (double)b >= LEAST_WORK;
        if (!enough || of.slowness > MOST_SLOWNESS * (double)b) continue;
        if (c->n_rows % b == 1 || !draws_fit(c, b)) continue;
        best = b;
        if (c->n_rows % b == 0) exact = b;
    }
    if (best > 0 && c->n_rows / best < MANY_BLOCKS) {
        int64_t equal = choose_equals(c, &of);
        if (equal > 0 && equal < 2 * best) return equal;
    }
    return 2 * exact >= best ? exact : best;
}

/* ---- the new loops --------------------------------------------------------------------------- */

/* Refs: `steps` is the loop over steps of one block, `blocks` the loop around it, `root` holds
 * that. */
typedef struct maker {
    cut *c;
    int64_t block, n_blocks, before; /* rows that come before the first block */
    ebm_graph *root, *blocks, *steps;
    ebm_ref *input;         /* by number: in root, whole */
    ebm_ref *input_rows;    /* by number: in blocks, the rows of the block */
    ebm_ref *shared, *rows; /* by ref of the old body: in steps, or (fixed) in root */
    ebm_ref first;          /* the block's first row of N, in blocks: i32 () */
} maker;

static ebm_ref push(ebm_graph *g, ebm_op op, ebm_ref x, const int64_t *attr, int32_t n_attr)
{
    return ebm__push(g, op, &x, 1, attr, n_attr);
}

static ebm_ref reshape(ebm_graph *g, ebm_ref x, const ebm_shape *shape)
{
    int64_t attr[1 + EBM_MAX_RANK] = {shape->rank};
    memcpy(attr + 1, shape->dim, (size_t)shape->rank * sizeof *attr);
    return push(g, EBM_OP_reshape, x, attr, 1 + shape->rank);
}

/* Axis `axis` apart into (n_blocks, the rest). */
static ebm_shape split(const ebm_shape *shape, int32_t axis, int64_t n_blocks)
{
    ebm_shape out = {.rank = shape->rank + 1};
    for (int32_t k = 0, at = 0; k < shape->rank; k++) {
        if (k == axis) out.dim[at++] = n_blocks;
        out.dim[at++] = k == axis ? shape->dim[k] / n_blocks : shape->dim[k];
    }
    return out;
}

/* The first two axes change places. */
static ebm_ref swap(ebm_graph *g, ebm_ref x, int32_t rank)
{
    int64_t axes[EBM_MAX_RANK];
    for (int32_t k = 0; k < rank; k++) axes[k] = k < 2 ? 1 - k : k;
    return push(g, EBM_OP_permute, x, axes, rank);
}

/* The size of an axis of N groups with the rows of these blocks alone. */
static int64_t size_of_blocks(const maker *m, int64_t size)
{
    return size / m->c->n_rows * m->block * m->n_blocks;
}

/* The rows of these blocks, which axis `axis` has. */
static ebm_ref rows_of_blocks(const maker *m, ebm_ref x, int32_t axis)
{
    ebm_shape shape = ebm_ref_shape(m->root, x);
    int64_t attr[3 * EBM_MAX_RANK];
    for (int32_t k = 0; k < shape.rank; k++) {
        bool rows = k == axis;
        attr[3 * k] = rows ? shape.dim[k] / m->c->n_rows * m->before : 0;
        attr[3 * k + 1] = 1;
        attr[3 * k + 2] = rows ? size_of_blocks(m, shape.dim[k]) : shape.dim[k];
    }
    return push(m->root, EBM_OP_slice, x, attr, 3 * shape.rank);
}

/* An input of root as the loop over blocks takes it: (n_blocks, B, ...), and of xs, which have a
 * row a step, (n_blocks, n, B, ...). */
static ebm_ref in_blocks(const maker *m, int32_t k)
{
    const ebm_body *loop = &m->c->r->body;
    bool xs = k > loop->n_carry && k <= loop->n_carry + loop->n_xs;
    ebm_ref x = rows_of_blocks(m, m->input[k], xs);
    ebm_shape whole = ebm_ref_shape(m->root, x);
    ebm_shape apart = split(&whole, xs, m->n_blocks);
    x = reshape(m->root, x, &apart);
    return xs ? swap(m->root, x, apart.rank) : x;
}

/* The key of a draw with the row it begins with; see ops/ops.h. */
static ebm_ref key_with_row(maker *m, ebm_ref key, int64_t group)
{
    ebm_node node = ebm_graph_node(m->c->body, key);
    if (node.op == EBM_OP_fold_in) {
        ebm_ref in[] = {key_with_row(m, node.in[0], group), EBM_POISON};
        in[1] = m->c->varies[node.in[1]] ? m->shared[node.in[1]]
                                         : ebm_lift(m->steps, m->root, m->shared[node.in[1]]);
        return ebm__push(m->steps, EBM_OP_fold_in, in, 2, NULL, 0);
    }
    bool varies = m->c->varies[key];
    ebm_graph *g = varies ? m->steps : m->blocks;
    ebm_ref words = varies ? m->shared[key] : ebm_lift(g, m->root, m->shared[key]);
    ebm_ref per = ebm__constant(m->blocks, EBM_I32, &(ebm_shape){.rank = 0}, (double)group);
    ebm_ref row = ebm__push(m->blocks, EBM_OP_mul, (ebm_ref[]){m->first, per}, 2, NULL, 0);
    if (varies) row = ebm_lift(g, m->blocks, row);
    row = reshape(g, row, &(ebm_shape){.rank = 1, .dim = {1}});
    if (ebm_ref_shape(g, words).dim[0] == 3) { /* a block of a larger whole */
        const int64_t third[] = {2, 1, 1}, front[] = {0, 1, 2};
        ebm_ref before = push(g, EBM_OP_slice, words, third, 3);
        row = ebm__push(g, EBM_OP_add, (ebm_ref[]){before, row}, 2, NULL, 0);
        words = push(g, EBM_OP_slice, words, front, 3);
    }
    ebm_ref both = ebm__push(g, EBM_OP_concat, (ebm_ref[]){words, row}, 2, &(int64_t){0}, 1);
    return varies ? both : ebm_lift(m->steps, m->blocks, both);
}

/* Where the size of axis 0 of the result stands among the attributes; -1: nowhere. */
static int32_t place_of_rows(ebm_op op)
{
    switch (op) {
    case EBM_OP_reshape:
    case EBM_OP_broadcast: return 1;
    case EBM_OP_slice:
    case EBM_OP_pad:
    case EBM_OP_bits: return 2;
    case EBM_OP_iota:
    case EBM_OP_uniform:
    case EBM_OP_normal:
    case EBM_OP_randint: return 3;
    default: return -1;
    }
}

static ebm_ref make_rows(maker *m, const ebm_node *node)
{
    const cut *c = m->c;
    ebm_ref in[3], *all = in;
    if (node->n_in > 3 && !(all = ebm__pool_alloc(c->pool, node->n_in, sizeof *all)))
        return ebm_graph_failed(m->steps, EBM_NOMEM);
    int64_t group = node->shape.dim[0] / c->n_rows;
    for (int32_t i = 0; i < n_reads(node); i++) {
        ebm_ref x = node->in[i];
        if (is_draw(node->op))
            all[i] = key_with_row(m, x, group);
        else if (need_of(c, node, i) == NEED_ROWS)
            all[i] = m->rows[x];
        else
            all[i] = c->varies[x] ? m->shared[x] : ebm_lift(m->steps, m->root, m->shared[x]);
    }
    if (node->op == EBM_OP_graft) return all[0];
    int64_t *attr = ebm__pool_alloc(c->pool, node->n_attr, sizeof *attr);
    if (!attr) return ebm_graph_failed(m->steps, EBM_NOMEM);
    if (node->n_attr) memcpy(attr, node->attr, (size_t)node->n_attr * sizeof *attr);
    int32_t at = place_of_rows(node->op);
    if (at >= 0) attr[at] = m->block * group;
    return ebm__push(m->steps, node->op, all, node->n_in, attr, node->n_attr);
}

/* The node as it is: in steps if it varies, else once and for all in root. */
static ebm_ref make_shared(maker *m, ebm_ref ref, const ebm_node *node)
{
    const cut *c = m->c;
    ebm_graph *g = c->varies[ref] ? m->steps : m->root;
    ebm_ref *in = ebm__pool_alloc(c->pool, node->n_in, sizeof *in);
    if (!in) return ebm_graph_failed(g, EBM_NOMEM);
    for (int32_t i = 0; i < n_reads(node); i++) {
        ebm_ref x = node->in[i];
        in[i] = m->shared[x];
        if (g == m->steps && !c->varies[x]) in[i] = ebm_lift(g, m->root, in[i]);
    }
    if (node->op == EBM_OP_graft) return in[0];
    return ebm__push(g, node->op, in, node->n_in, node->attr, node->n_attr);
}

static void make_body(maker *m)
{
    const cut *c = m->c;
    for (ebm_ref ref = 1; ref < c->count; ref++) {
        ebm_node node = ebm_graph_node(c->body, ref);
        if (node.op == EBM_OP_input) continue;
        if (c->as_shared[ref]) m->shared[ref] = make_shared(m, ref, &node);
        if (c->as_rows[ref]) m->rows[ref] = make_rows(m, &node);
    }
}

/* Opens the loop over steps inside a block, and says what the inputs of the old body are there. */
static bool open_steps(maker *m)
{
    const cut *c = m->c;
    const ebm_body *loop = &c->r->body;
    int32_t n_in = ebm_graph_n_inputs(c->body), n_carry = 0, n_xs = 0;
    ebm_ref *outer = ebm__pool_alloc(c->pool, 2 * n_in, sizeof *outer), *inner = outer + n_in, i;
    if (!outer) return false;
    /* Carries, then xs: with rows those of the block, else whole; what nobody reads is left out. */
    for (int32_t k = 1; k <= loop->n_carry; k++)
        if (c->r->item[k - 1]) outer[n_carry++] = m->input_rows[k];
    for (int32_t k = loop->n_carry + 1; k <= loop->n_carry + loop->n_xs; k++) {
        ebm_ref ref = ebm_graph_input_ref(c->body, k);
        if (c->as_rows[ref]) outer[n_carry + n_xs++] = m->input_rows[k];
        if (c->as_shared[ref])
            outer[n_carry + n_xs++] = ebm_lift(m->blocks, m->root, m->input[k]);
    }
    m->steps = ebm_repeat_open(m->blocks, loop->n, outer, n_carry, outer + n_carry, n_xs, &i,
                               inner, inner + n_carry);
    if (!m->steps) return false;
    m->shared[ebm_graph_input_ref(c->body, 0)] = i;
    int32_t at = 0;
    for (int32_t k = 1; k < n_in; k++) {
        ebm_ref ref = ebm_graph_input_ref(c->body, k);
        if (k <= loop->n_carry) {
            if (c->r->item[k - 1]) m->rows[ref] = inner[at++];
        } else if (k <= loop->n_carry + loop->n_xs) {
            if (c->as_rows[ref]) m->rows[ref] = inner[at++];
            if (c->as_shared[ref]) m->shared[ref] = inner[at++];
        } else {
            m->shared[ref] = m->input[k];
            if (c->as_rows[ref]) m->rows[ref] = ebm_lift(m->steps, m->blocks, m->input_rows[k]);
        }
    }
    return true;
}

/* Opens the loop over blocks; its xs are all inputs that have rows. */
static bool open_blocks(maker *m)
{
    const cut *c = m->c;
    int32_t n_in = ebm_graph_n_inputs(c->body), n = 0;
    ebm_ref *outer = ebm__pool_alloc(c->pool, 2 * n_in, sizeof *outer), *inner = outer + n_in, i;
    if (!outer) return false;
    for (int32_t k = 1; k < n_in; k++) {
        bool carry = k <= c->r->body.n_carry && c->r->item[k - 1];
        if (carry || c->as_rows[ebm_graph_input_ref(c->body, k)]) {
            m->input_rows[k] = 1;
            outer[n++] = in_blocks(m, k);
        }
    }
    m->blocks = ebm_repeat_open(m->root, m->n_blocks, NULL, 0, outer, n, &i, NULL, inner);
    if (!m->blocks) return false;
    for (int32_t k = 1, at = 0; k < n_in; k++)
        if (m->input_rows[k]) m->input_rows[k] = inner[at++];
    ebm_ref b = ebm__constant(m->blocks, EBM_I32, &(ebm_shape){.rank = 0}, (double)m->block);
    ebm_ref before = ebm__constant(m->blocks, EBM_I32, &(ebm_shape){.rank = 0},
                                   (double)m->before);
    m->first = ebm__push(m->blocks, EBM_OP_mul, (ebm_ref[]){i, b}, 2, NULL, 0);
    m->first = ebm__push(m->blocks, EBM_OP_add, (ebm_ref[]){m->first, before}, 2, NULL, 0);
    return true;
}

/* Closes both loops; out[k] has the rows of these blocks of result k as the old loop gave it. */
static void close_loops(maker *m, ebm_ref *out)
{
    const cut *c = m->c;
    const ebm_body *loop = &c->r->body;
    int32_t n = n_results(c), n_carry = 0, n_ys = 0, at = 0;
    ebm_ref *leave = ebm__pool_alloc(c->pool, 3 * n, sizeof *leave);
    if (!leave) {
        ebm_graph_failed(m->root, EBM_NOMEM);
        return;
    }
    ebm_ref *last = leave + n, *stacked = last + n;
    for (int32_t k = 0; k < n; k++) {
        if (!c->r->item[k]) continue;
        leave[n_carry + n_ys] = m->rows[result_of(c, k)];
        ++*(k < loop->n_carry ? &n_carry : &n_ys);
    }
    ebm_repeat_close(m->steps, leave, leave + n_carry, n_ys, loop->reverse, last, last + n_carry);
    ebm_repeat_close(m->blocks, NULL, last, n_carry + n_ys, false, NULL, stacked);
    for (int32_t k = 0; k < n; k++) {
        if (!c->r->item[k]) continue;
        ebm_shape shape = ebm_ref_shape(c->body, result_of(c, k));
        shape.dim[0] = size_of_blocks(m, shape.dim[0]);
        ebm_ref x = stacked[at++];
        if (k >= loop->n_carry) { /* (n_blocks, n, B, ...) to (n, N, ...) */
            x = swap(m->root, x, shape.rank + 2);
            for (int32_t i = shape.rank++; i > 0; i--) shape.dim[i] = shape.dim[i - 1];
            shape.dim[0] = loop->n;
        }
        out[k] = reshape(m->root, x, &shape);
    }
}

/* ---- the whole ------------------------------------------------------------------------------- */

static ebm_status cut_init(cut *c, ebm__pool *pool, const ebm__repeat *r)
{
    *c = (cut){.pool = pool, .r = r, .body = r->body.graph};
    c->count = ebm_graph_count(c->body);
    bool *flags = ebm__pool_alloc(pool, 5 * (int64_t)c->count, sizeof *flags);
    if (!flags) return EBM_NOMEM;
    c->shared = flags;
    c->rows = flags + c->count;
    c->as_shared = flags + 2 * c->count;
    c->as_rows = flags + 3 * c->count;
    c->varies = flags + 4 * c->count;
    for (int32_t k = 0; k < r->body.n_carry; k++) {
        ebm_shape shape = ebm_ref_shape(c->body, r->body.carry_out[k]);
        if (!r->item[k] || shape.rank == 0) continue;
        if (c->n_rows == 0 || shape.dim[0] < c->n_rows) c->n_rows = shape.dim[0];
    }
    return EBM_OK;
}

/* Inputs of root, numbered as those of a body: i, carries, xs (stacked), captured. */
static ebm_status add_inputs(maker *m)
{
    const ebm_body *loop = &m->c->r->body;
    for (int32_t k = 0; k < ebm_graph_n_inputs(m->c->body); k++) {
        ebm_ref ref = ebm_graph_input_ref(m->c->body, k);
        ebm_shape shape = ebm_ref_shape(m->c->body, ref);
        if (k > loop->n_carry && k <= loop->n_carry + loop->n_xs) {
            if (shape.rank + 2 > EBM_MAX_RANK) return EBM_UNSUPPORTED;
            memmove(shape.dim + 1, shape.dim, (size_t)shape.rank++ * sizeof *shape.dim);
            shape.dim[0] = loop->n;
        }
        if (shape.rank + 1 > EBM_MAX_RANK) return EBM_UNSUPPORTED;
        m->input[k] = ebm_graph_input(m->root, NULL, ebm_ref_dtype(m->c->body, ref), &shape);
    }
    return EBM_OK;
}

/* Loops over `n_blocks` blocks of `block` rows, from row `before` on, in root. */
static ebm_status make_part(maker *m, int64_t before, int64_t block, int64_t n_blocks,
                            ebm_ref *result)
{
    cut *c = m->c;
    m->before = before;
    m->block = block;
    m->n_blocks = n_blocks;
    m->input_rows = ebm__pool_alloc(c->pool, ebm_graph_n_inputs(c->body), sizeof *m->input_rows);
    m->shared = ebm__pool_alloc(c->pool, c->count, sizeof *m->shared);
    m->rows = ebm__pool_alloc(c->pool, c->count, sizeof *m->rows);
    if (!m->input_rows || !m->shared || !m->rows) return EBM_NOMEM;
    if (!open_blocks(m) || !open_steps(m)) return ebm_graph_status(m->root);
    make_body(m);
    close_loops(m, result);
    return ebm_graph_status(m->root);
}

/* The rows of both, in the results of both kinds. */
static void join(maker *m, ebm_ref *result, const ebm_ref *rest)
{
    for (int32_t k = 0; k < n_results(m->c); k++) {
        const ebm_ref both[] = {result[k], rest[k]};
        const int64_t axis = k >= m->c->r->body.n_carry;
        if (m->c->r->item[k]) result[k] = ebm__push(m->root, EBM_OP_concat, both, 2, &axis, 1);
    }
}

static ebm_status make(maker *m, int64_t block, ebm__rows *out)
{
    cut *c = m->c;
    const ebm_body *loop = &c->r->body;
    int64_t n_blocks = c->n_rows / block, done = n_blocks * block;
    m->input = ebm__pool_alloc(c->pool, ebm_graph_n_inputs(c->body), sizeof *m->input);
    ebm_ref *result = ebm__pool_alloc(c->pool, 2 * n_results(c), sizeof *result);
    if (!m->input || !result) return EBM_NOMEM;
    EBM_TRY(add_inputs(m));
    EBM_TRY(make_part(m, 0, block, n_blocks, result));
    if (done < c->n_rows) {
        ebm_ref *rest = result + n_results(c);
        EBM_TRY(make_part(m, done, c->n_rows - done, 1, rest));
        join(m, result, rest);
    }
    out->body = (ebm_body){.graph = m->root,
                           .n = 1,
                           .n_carry = loop->n_carry,
                           .n_captured = loop->n_xs + loop->n_captured,
                           .n_ys = loop->n_ys,
                           .carry_out = result,
                           .ys = result + loop->n_carry};
    return ebm_graph_status(m->root);
}

ebm_status ebm__rows_cut(ebm__rows *out, ebm__pool *pool, const ebm__repeat *r, bool eager)
{
    *out = (ebm__rows){.graph = NULL};
    if (r->body.n < 2 || r->body.n_carry == 0) return EBM_OK;
    cut c;
    EBM_TRY(cut_init(&c, pool, r));
    c.eager = eager;
    if (c.n_rows < 2) return EBM_OK;
    classify(&c);
    if (!results_have_rows(&c)) return EBM_OK;
    mark_needed(&c);
    maker m = {.c = &c};
    int64_t block = choose_block(&c);
    if (block == 0) return EBM_OK;
    EBM_TRY(ebm_graph_new(&m.root));
    ebm_status status = make(&m, block, out);
    if (status == EBM_OK) {
        out->graph = m.root;
        return EBM_OK;
    }
    ebm_graph_free(m.root);
    return status == EBM_UNSUPPORTED ? EBM_OK : status;
}
