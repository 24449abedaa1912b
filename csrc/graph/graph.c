/* graph.c - the arena of nodes: creation, merging, inputs, bodies of repeat. */
#include "graph/graph.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "graph/rules.h"

/* ---- the list of ops --------------------------------------------------------------------------- */

static const ebm_op_info op_table[EBM_OP_COUNT] = {
#define EW1(id, px) {#id, EBM_KIND_EW, EBM_FAMILY_ELEMENTWISE, 1},
#define EW2(id, pa, pb) {#id, EBM_KIND_EW, EBM_FAMILY_ELEMENTWISE, 2},
#define LIN(id, n, family) {#id, EBM_KIND_LIN, EBM_FAMILY_##family, n},
#define MULTI(id, n, family) {#id, EBM_KIND_MULTI, EBM_FAMILY_##family, n},
#define NON(id, n, family) {#id, EBM_KIND_NON, EBM_FAMILY_##family, n},
#define GEN(id, n, family) {#id, EBM_KIND_GEN, EBM_FAMILY_##family, n},
#define OWN(id, n, family) {#id, EBM_KIND_OWN, EBM_FAMILY_##family, n},
#define SPECIAL(id, n, family) {#id, EBM_KIND_SPECIAL, EBM_FAMILY_##family, n},
#include "graph/ops.def"
};

static const ebm_op_info region_info = {"region", EBM_KIND_NON, EBM_FAMILY_ELEMENTWISE, -1};
static const ebm_op_info regions_info = {"regions", EBM_KIND_NON, EBM_FAMILY_ELEMENTWISE, -1};
static const ebm_op_info pack_info = {"pack", EBM_KIND_NON, EBM_FAMILY_MATMUL, 1};

const ebm_op_info *ebm_op_get(ebm_op op)
{
    if (op < EBM_OP_COUNT) return &op_table[op];
    if (op == EBM_OP_REGIONS) return &regions_info;
    return op == EBM_OP_PACK ? &pack_info : &region_info;
}

ebm_op ebm_op_find(const char *name)
{
    for (int op = 0; op < EBM_OP_COUNT; op++)
        if (strcmp(op_table[op].name, name) == 0) return (ebm_op)op;
    return EBM_OP_COUNT;
}

/* ---- storage ----------------------------------------------------------------------------------- */

/* Inputs and attributes of nodes live in blocks that never move, so pointers to them last. */
enum { BLOCK_BYTES = 32 * 1024 };
typedef struct block {
    struct block *next;
    size_t used, size;
} block;

typedef struct graph_input {
    ebm_ref ref;
    char *name;
    ebm_tensor *tensor;
    ebm_ref parent_ref; /* in a body: the captured value, else EBM_NONE */
} graph_input;

struct ebm_graph {
    ebm_node *node;
    int64_t n_node, node_capacity;
    ebm_ref *bucket; /* open hash table of refs, a power of two */
    int64_t n_bucket;
    block *blocks;
    graph_input *input;
    int64_t n_input, input_capacity;
    ebm_graph **body;
    int64_t n_body, body_capacity;
    ebm_ref *twin; /* pairs: repeat, twin */
    int64_t n_twin, twin_capacity;
    ebm_graph *parent;
    ebm_body loop;      /* of a body: what it repeats */
    ebm_ref *loop_refs; /* carries and xs of the parent, in order */
    bool closed;
    ebm_status status;
    char message[EBM_MESSAGE_SIZE];
};

static void *block_alloc(ebm_graph *g, size_t bytes)
{
    bytes = (bytes + 7) & ~(size_t)7;
    if (!g->blocks || g->blocks->used + bytes > g->blocks->size) {
        size_t size = bytes > BLOCK_BYTES ? bytes : BLOCK_BYTES;
        block *fresh = ebm__alloc(1, sizeof *fresh + size);
        if (!fresh) return NULL;
        fresh->next = g->blocks;
        fresh->size = size;
        g->blocks = fresh;
    }
    char *place = (char *)(g->blocks + 1) + g->blocks->used;
    g->blocks->used += bytes;
    return place;
}

static ebm_graph *root_of(ebm_graph *g)
{
    while (g->parent) g = g->parent;
    return g;
}

/* ---- life -------------------------------------------------------------------------------------- */

static ebm_status append(ebm_graph *g, const ebm_node *node, ebm_ref *ref)
{
    EBM_TRY(ebm__grow(&g->node, &g->node_capacity, g->n_node + 1, sizeof *g->node));
    *ref = (ebm_ref)g->n_node;
    g->node[g->n_node++] = *node;
    return EBM_OK;
}

ebm_status ebm_graph_new(ebm_graph **out)
{
    ebm_graph *g = ebm__alloc(1, sizeof *g);
    if (!g) return EBM_NOMEM;
    ebm_ref poison;
    ebm_node node = {.op = EBM_OP_poison};
    if (append(g, &node, &poison) != EBM_OK) {
        ebm_graph_free(g);
        return EBM_NOMEM;
    }
    *out = g;
    return EBM_OK;
}

void ebm_graph_free(ebm_graph *g)
{
    if (!g) return;
    for (int64_t i = 0; i < g->n_body; i++) ebm_graph_free(g->body[i]);
    for (int64_t i = 0; i < g->n_input; i++) {
        ebm__free(g->input[i].name);
        ebm_tensor_release(g->input[i].tensor);
    }
    while (g->blocks) {
        block *next = g->blocks->next;
        ebm__free(g->blocks);
        g->blocks = next;
    }
    ebm__free(g->node);
    ebm__free(g->bucket);
    ebm__free(g->input);
    ebm__free(g->body);
    ebm__free(g->twin);
    ebm__free(g->loop_refs);
    ebm__free(g);
}

/* Errors are kept at the root: a body's failure is its graph's. */
ebm_status ebm_graph_status(const ebm_graph *graph)
{
    while (graph->parent) graph = graph->parent;
    return graph->status == EBM_OK ? EBM_OK : ebm_fail(graph->status, "%s", graph->message);
}

void ebm_graph_clear(ebm_graph *graph)
{
    root_of(graph)->status = EBM_OK;
}

ebm_ref ebm_graph_failed(ebm_graph *graph, ebm_status code)
{
    ebm_graph *root = root_of(graph);
    if (root->status == EBM_OK) {
        root->status = code;
        snprintf(root->message, sizeof root->message, "%s", ebm_message());
    }
    return EBM_POISON;
}

ebm_ref ebm_graph_fail(ebm_graph *graph, ebm_status code, const char *format, ...)
{
    char text[EBM_MESSAGE_SIZE];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return ebm_graph_failed(graph, ebm_fail(code, "%s", text));
}

/* ---- looking ----------------------------------------------------------------------------------- */

int32_t ebm_graph_count(const ebm_graph *graph)
{
    return (int32_t)graph->n_node;
}

ebm_node ebm_graph_node(const ebm_graph *graph, ebm_ref ref)
{
    return ref > 0 && ref < graph->n_node ? graph->node[ref] : graph->node[EBM_POISON];
}

ebm_dtype ebm_ref_dtype(const ebm_graph *graph, ebm_ref ref)
{
    return ebm_graph_node(graph, ref).dtype;
}

ebm_shape ebm_ref_shape(const ebm_graph *graph, ebm_ref ref)
{
    return ebm_graph_node(graph, ref).shape;
}

/* ---- making nodes ------------------------------------------------------------------------------ */

static uint64_t mix(uint64_t hash, uint64_t word)
{
    hash ^= word;
    hash *= 0x9E3779B97F4A7C15u;
    return hash ^ (hash >> 29);
}

static uint64_t hash_of(ebm_op op, const ebm_ref *in, int32_t n_in, const int64_t *attr,
                        int32_t n_attr)
{
    uint64_t hash = mix(0x243F6A8885A308D3u, (uint64_t)op);
    for (int32_t i = 0; i < n_in; i++) hash = mix(hash, (uint64_t)in[i]);
    for (int32_t i = 0; i < n_attr; i++) hash = mix(hash, (uint64_t)attr[i]);
    return hash;
}

static bool same_words(const void *a, const void *b, int32_t n, size_t size)
{
    return n == 0 || memcmp(a, b, (size_t)n * size) == 0;
}

/* The slot of an equal node, or the empty slot where it belongs. */
static ebm_ref *slot_of(ebm_graph *g, const ebm_candidate *c)
{
    uint64_t mask = (uint64_t)g->n_bucket - 1;
    uint64_t at = hash_of(c->op, c->in, c->n_in, c->attr, c->n_attr) & mask;
    for (;; at = (at + 1) & mask) {
        ebm_ref ref = g->bucket[at];
        if (ref == EBM_POISON) return &g->bucket[at];
        const ebm_node *n = &g->node[ref];
        if (n->op == c->op && n->n_in == c->n_in && n->n_attr == c->n_attr &&
            same_words(n->in, c->in, c->n_in, sizeof *c->in) &&
            same_words(n->attr, c->attr, c->n_attr, sizeof *c->attr))
            return &g->bucket[at];
    }
}

static ebm_candidate candidate_of(const ebm_graph *g, const ebm_node *n)
{
    return (ebm_candidate){.graph = g,
                           .op = n->op,
                           .in = n->in,
                           .n_in = n->n_in,
                           .attr = n->attr,
                           .n_attr = n->n_attr};
}

static ebm_status grow_buckets(ebm_graph *g)
{
    if (g->n_node * 2 < g->n_bucket) return EBM_OK;
    int64_t size = g->n_bucket ? g->n_bucket * 2 : 256;
    ebm_ref *fresh = ebm__alloc((size_t)size, sizeof *fresh);
    if (!fresh) return EBM_NOMEM;
    ebm__free(g->bucket);
    g->bucket = fresh;
    g->n_bucket = size;
    for (ebm_ref r = 1; r < g->n_node; r++) {
        ebm_candidate c = candidate_of(g, &g->node[r]);
        *slot_of(g, &c) = r;
    }
    return EBM_OK;
}

static const void *keep_words(ebm_graph *g, const void *words, int32_t n, size_t size)
{
    static const int64_t nothing = 0;
    if (n == 0) return &nothing;
    void *copy = block_alloc(g, (size_t)n * size);
    if (copy) memcpy(copy, words, (size_t)n * size);
    return copy;
}

static ebm_status store(ebm_graph *g, const ebm_candidate *c, ebm_dtype dtype,
                        const ebm_shape *shape, ebm_ref *out)
{
    EBM_TRY(grow_buckets(g));
    ebm_ref *slot = slot_of(g, c);
    if (*slot != EBM_POISON) {
        *out = *slot;
        return EBM_OK;
    }
    ebm_node node = {
        .op = c->op, .dtype = dtype, .shape = *shape, .n_in = c->n_in, .n_attr = c->n_attr};
    node.in = keep_words(g, c->in, c->n_in, sizeof *c->in);
    node.attr = keep_words(g, c->attr, c->n_attr, sizeof *c->attr);
    if (!node.in || !node.attr) return EBM_NOMEM;
    EBM_TRY(append(g, &node, out));
    *slot = *out;
    return EBM_OK;
}

ebm_ref ebm__push(ebm_graph *graph, ebm_op op, const ebm_ref *in, int32_t n_in,
                  const int64_t *attr, int32_t n_attr)
{
    for (int32_t i = 0; i < n_in; i++)
        if (in[i] <= EBM_POISON || in[i] >= graph->n_node) {
            if (in[i] == EBM_POISON) return EBM_POISON;
            return ebm_graph_fail(graph, EBM_INTERNAL, "%s: no such value: %d",
                                  ebm_op_get(op)->name, in[i]);
        }
    if (graph->closed)
        return ebm_graph_fail(graph, EBM_STATE, "%s: the body of this repeat is closed",
                              ebm_op_get(op)->name);
    ebm_dtype dtype = EBM_F32;
    ebm_shape shape = EBM_SCALAR;
    ebm_status status = ebm__infer(graph, op, in, n_in, attr, n_attr, &dtype, &shape);
    if (status != EBM_OK) return ebm_graph_failed(graph, status);
    ebm_candidate candidate = {
        .graph = graph, .op = op, .in = in, .n_in = n_in, .attr = attr, .n_attr = n_attr};
    ebm_ref ref = ebm__clean(graph, &candidate, dtype, &shape);
    if (ref != EBM_NONE) return ref;
    status = store(graph, &candidate, dtype, &shape, &ref);
    return status == EBM_OK ? ref : ebm_graph_failed(graph, status);
}

ebm_status ebm__infer(const ebm_graph *graph, ebm_op op, const ebm_ref *in, int32_t n_in,
                      const int64_t *attr, int32_t n_attr, ebm_dtype *dtype, ebm_shape *shape)
{
    static ebm_infer *const by_family[] = {
        [EBM_FAMILY_STRUCTURE] = ebm__infer_structure,
        [EBM_FAMILY_ELEMENTWISE] = ebm__infer_elementwise,
        [EBM_FAMILY_REDUCE] = ebm__infer_reduce,
        [EBM_FAMILY_MOVE] = ebm__infer_move,
        [EBM_FAMILY_INDEX] = ebm__infer_index,
        [EBM_FAMILY_MATMUL] = ebm__infer_matmul,
        [EBM_FAMILY_CONV] = ebm__infer_conv,
        [EBM_FAMILY_LINALG] = ebm__infer_linalg,
        [EBM_FAMILY_SORT] = ebm__infer_sort,
        [EBM_FAMILY_RANDOM] = ebm__infer_random,
    };
    const ebm_op_info *info = ebm_op_get(op);
    if (op <= EBM_OP_poison || op >= EBM_OP_COUNT)
        return ebm_fail(EBM_INTERNAL, "graph: no such op: %d", (int)op);
    if (info->n_in >= 0 && info->n_in != n_in)
        return ebm_fail(EBM_INTERNAL, "%s: number of inputs: got %d, expected %d", info->name,
                        n_in, info->n_in);
    ebm_candidate candidate = {
        .graph = graph, .op = op, .in = in, .n_in = n_in, .attr = attr, .n_attr = n_attr};
    EBM_TRY(by_family[info->family](&candidate, dtype, shape));
    return ebm_shape_check(shape, info->name);
}

/* ---- inputs ------------------------------------------------------------------------------------ */

static ebm_ref add_input(ebm_graph *g, const char *name, ebm_tensor *tensor, ebm_dtype dtype,
                         const ebm_shape *shape, ebm_ref parent_ref)
{
    ebm_status status = ebm__grow(&g->input, &g->input_capacity, g->n_input + 1,
                                  sizeof *g->input);
    if (status != EBM_OK) return ebm_graph_failed(g, status);
    graph_input input = {.tensor = tensor, .parent_ref = parent_ref};
    if (name && !(input.name = ebm__strdup(name))) return ebm_graph_failed(g, EBM_NOMEM);
    int64_t index = g->n_input;
    ebm_candidate c = {.graph = g, .op = EBM_OP_input, .attr = &index, .n_attr = 1};
    status = store(g, &c, dtype, shape, &input.ref);
    if (status != EBM_OK) {
        ebm__free(input.name);
        return ebm_graph_failed(g, status);
    }
    ebm_tensor_retain(tensor);
    g->input[g->n_input++] = input;
    return input.ref;
}

static ebm_status check_input(ebm_dtype dtype, const ebm_shape *shape)
{
    if ((unsigned)dtype >= EBM_DTYPE_COUNT)
        return ebm_fail(EBM_DTYPE, "input: unknown element type %d", (int)dtype);
    if (shape->rank < 0 || shape->rank > EBM_MAX_RANK)
        return ebm_fail(EBM_SHAPE, "input: rank: got %d, expected at most %d", shape->rank,
                        EBM_MAX_RANK);
    return ebm_shape_check(shape, "input");
}

ebm_ref ebm_graph_input(ebm_graph *graph, const char *name, ebm_dtype dtype,
                        const ebm_shape *shape)
{
    ebm_graph *root = root_of(graph);
    ebm_status status = check_input(dtype, shape);
    if (status != EBM_OK) return ebm_graph_failed(graph, status);
    for (int64_t i = 0; name && i < root->n_input; i++) {
        const graph_input *input = &root->input[i];
        if (!input->name || strcmp(input->name, name) != 0) continue;
        const ebm_node *n = &root->node[input->ref];
        if (n->dtype == dtype && ebm_shape_equal(&n->shape, shape))
            return ebm_lift(graph, root, input->ref);
        char got[128], had[128];
        return ebm_graph_fail(graph, EBM_STATE, "input '%s': got %s %s, expected %s %s as before",
                              name, ebm_dtype_name(dtype),
                              ebm_shape_text(shape, got, sizeof got), ebm_dtype_name(n->dtype),
                              ebm_shape_text(&n->shape, had, sizeof had));
    }
    return ebm_lift(graph, root, add_input(root, name, NULL, dtype, shape, EBM_NONE));
}

ebm_ref ebm_graph_capture(ebm_graph *graph, ebm_tensor *tensor)
{
    ebm_graph *root = root_of(graph);
    for (int64_t i = 0; i < root->n_input; i++)
        if (root->input[i].tensor == tensor) return ebm_lift(graph, root, root->input[i].ref);
    return ebm_lift(graph, root,
                    add_input(root, NULL, tensor, tensor->dtype, &tensor->shape, EBM_NONE));
}

int32_t ebm_graph_n_inputs(const ebm_graph *graph)
{
    return (int32_t)graph->n_input;
}

ebm_ref ebm_graph_input_ref(const ebm_graph *graph, int32_t index)
{
    return index >= 0 && index < graph->n_input ? graph->input[index].ref : EBM_POISON;
}

const char *ebm_graph_input_name(const ebm_graph *graph, int32_t index)
{
    return index >= 0 && index < graph->n_input ? graph->input[index].name : NULL;
}

ebm_tensor *ebm_graph_input_tensor(const ebm_graph *graph, int32_t index)
{
    return index >= 0 && index < graph->n_input ? graph->input[index].tensor : NULL;
}

/* ---- repeat ------------------------------------------------------------------------------------ */

ebm_graph *ebm_graph_parent(const ebm_graph *graph)
{
    return graph->parent;
}

static ebm_status new_body(ebm_graph *g, ebm_graph **out)
{
    EBM_TRY(ebm__grow(&g->body, &g->body_capacity, g->n_body + 1, sizeof *g->body));
    EBM_TRY(ebm_graph_new(out));
    (*out)->parent = g;
    g->body[g->n_body++] = *out;
    return EBM_OK;
}

static ebm_status check_xs(const ebm_graph *g, ebm_ref x, int64_t n)
{
    ebm_shape shape = ebm_ref_shape(g, x);
    if (shape.rank > 0 && shape.dim[0] == n) return EBM_OK;
    char text[128];
    return ebm_fail(EBM_SHAPE, "repeat: leading axis of xs: got shape %s, expected (%lld, ...)",
                    ebm_shape_text(&shape, text, sizeof text), (long long)n);
}

ebm_graph *ebm_repeat_open(ebm_graph *graph, int64_t n, const ebm_ref *carry, int32_t n_carry,
                           const ebm_ref *xs, int32_t n_xs, ebm_ref *i, ebm_ref *carry_in,
                           ebm_ref *xs_in)
{
    for (int32_t k = 0; k < n_carry; k++)
        if (carry[k] <= EBM_POISON) return NULL;
    ebm_status status = EBM_OK;
    if (n < 0 || n > INT32_MAX)
        status = ebm_fail(EBM_VALUE, "repeat: number of steps: got %lld, expected 0 .. 2^31 - 1",
                          (long long)n);
    for (int32_t k = 0; k < n_xs && status == EBM_OK; k++) {
        if (xs[k] <= EBM_POISON) return NULL;
        status = check_xs(graph, xs[k], n);
    }
    ebm_graph *body = NULL;
    if (status == EBM_OK) status = new_body(graph, &body);
    if (status == EBM_OK &&
        !(body->loop_refs = ebm__alloc((size_t)(n_carry + n_xs), sizeof(ebm_ref))))
        status = EBM_NOMEM;
    if (status != EBM_OK) {
        ebm_graph_failed(graph, status);
        return NULL;
    }
    body->loop = (ebm_body){.graph = body, .n = n, .n_carry = n_carry, .n_xs = n_xs};
    ebm_shape scalar = EBM_SCALAR;
    *i = add_input(body, NULL, NULL, EBM_I32, &scalar, EBM_NONE);
    for (int32_t k = 0; k < n_carry; k++) {
        body->loop_refs[k] = carry[k];
        ebm_shape shape = ebm_ref_shape(graph, carry[k]);
        carry_in[k] = add_input(body, NULL, NULL, ebm_ref_dtype(graph, carry[k]), &shape,
                                EBM_NONE);
    }
    for (int32_t k = 0; k < n_xs; k++) {
        body->loop_refs[n_carry + k] = xs[k];
        ebm_shape shape = ebm_ref_shape(graph, xs[k]);
        ebm_shape row = ebm_shape_of(shape.rank - 1, shape.dim + 1);
        xs_in[k] = add_input(body, NULL, NULL, ebm_ref_dtype(graph, xs[k]), &row, EBM_NONE);
    }
    return body;
}

ebm_ref ebm_lift(ebm_graph *body, const ebm_graph *owner, ebm_ref ref)
{
    if (body == owner || ref <= EBM_POISON) return ref;
    if (!body->parent)
        return ebm_graph_fail(
            body, EBM_STATE, "graph: a value of another, unrelated or finished, graph was used");
    ebm_graph *parent = body->parent;
    ref = ebm_lift(parent, owner, ref);
    if (ref <= EBM_POISON) return ref;
    ebm_node node = ebm_graph_node(parent, ref);
    double value;
    if (ebm__constant_value(parent, ref, &value))
        return ebm__constant(body, node.dtype, &node.shape, value);
    for (int64_t k = 1 + body->loop.n_carry + body->loop.n_xs; k < body->n_input; k++)
        if (body->input[k].parent_ref == ref) return body->input[k].ref;
    if (body->closed) return ebm_graph_fail(body, EBM_STATE, "repeat: the body is closed");
    return add_input(body, NULL, NULL, node.dtype, &node.shape, ref);
}

static ebm_status check_carry(const ebm_graph *body, int32_t k, ebm_ref out)
{
    const ebm_node *in = &body->node[body->input[1 + k].ref];
    ebm_node left = ebm_graph_node(body, out);
    if (left.dtype == in->dtype && ebm_shape_equal(&left.shape, &in->shape)) return EBM_OK;
    char got[128], want[128];
    return ebm_fail(EBM_SHAPE, "repeat: carry %d leaves a step as %s %s, expected %s %s", k,
                    ebm_dtype_name(left.dtype), ebm_shape_text(&left.shape, got, sizeof got),
                    ebm_dtype_name(in->dtype), ebm_shape_text(&in->shape, want, sizeof want));
}

static ebm_status close_body(ebm_graph *body, const ebm_ref *carry_out, const ebm_ref *ys,
                             int32_t n_ys, bool reverse)
{
    ebm_body *loop = &body->loop;
    if (body->closed) return ebm_fail(EBM_STATE, "repeat: the body is closed");
    if (loop->n_carry + n_ys == 0) return ebm_fail(EBM_VALUE, "repeat: nothing is computed");
    for (int32_t k = 0; k < loop->n_carry; k++) EBM_TRY(check_carry(body, k, carry_out[k]));
    for (int32_t k = 0; k < n_ys; k++)
        if (ebm_ref_shape(body, ys[k]).rank >= EBM_MAX_RANK)
            return ebm_fail(EBM_SHAPE, "repeat: rank of an output: got %d, expected less",
                            EBM_MAX_RANK);
    loop->carry_out = keep_words(body, carry_out, loop->n_carry, sizeof *carry_out);
    loop->ys = keep_words(body, ys, n_ys, sizeof *ys);
    if (!loop->carry_out || !loop->ys) return EBM_NOMEM;
    loop->n_ys = n_ys;
    loop->reverse = reverse;
    loop->n_captured = (int32_t)body->n_input - 1 - loop->n_carry - loop->n_xs;
    body->closed = true;
    return EBM_OK;
}

static ebm_ref push_repeat(ebm_graph *parent, const ebm_graph *body)
{
    const ebm_body *loop = &body->loop;
    int32_t given = loop->n_carry + loop->n_xs, n_in = given + loop->n_captured;
    ebm_ref *in = ebm__alloc((size_t)n_in, sizeof *in);
    if (!in) return ebm_graph_failed(parent, EBM_NOMEM);
    for (int32_t k = 0; k < given; k++) in[k] = body->loop_refs[k];
    for (int32_t k = 0; k < loop->n_captured; k++)
        in[given + k] = body->input[1 + given + k].parent_ref;
    int64_t index = 0;
    while (parent->body[index] != body) index++;
    int64_t attr[] = {index, loop->n, loop->n_carry, loop->n_xs, loop->n_ys, loop->reverse};
    ebm_ref ref = ebm__push(parent, EBM_OP_repeat, in, n_in, attr, 6);
    ebm__free(in);
    return ref;
}

void ebm_repeat_close(ebm_graph *body, const ebm_ref *carry_out, const ebm_ref *ys,
                      int32_t n_ys, bool reverse, ebm_ref *carry_last, ebm_ref *ys_stacked)
{
    int32_t n_carry = body->loop.n_carry;
    bool poisoned = false;
    for (int32_t k = 0; k < n_carry; k++) poisoned |= carry_out[k] <= EBM_POISON;
    for (int32_t k = 0; k < n_ys; k++) poisoned |= ys[k] <= EBM_POISON;
    ebm_ref repeat = EBM_POISON;
    if (!poisoned) {
        ebm_status status = close_body(body, carry_out, ys, n_ys, reverse);
        repeat = status == EBM_OK ? push_repeat(body->parent, body)
                                  : ebm_graph_failed(body, status);
    }
    for (int64_t k = 0; k < n_carry + n_ys; k++) {
        ebm_ref item = ebm__push(body->parent, EBM_OP_item, &repeat, 1, &k, 1);
        if (k < n_carry)
            carry_last[k] = item;
        else
            ys_stacked[k - n_carry] = item;
    }
}

ebm_body ebm_repeat_body(const ebm_graph *graph, ebm_ref repeat)
{
    ebm_node node = ebm_graph_node(graph, repeat);
    if (node.op != EBM_OP_repeat) return (ebm_body){.graph = NULL};
    return graph->body[node.attr[0]]->loop;
}

ebm_ref ebm_repeat_twin(const ebm_graph *graph, ebm_ref repeat)
{
    for (int64_t i = graph->n_twin - 1; i >= 0; i--)
        if (graph->twin[2 * i] == repeat) return graph->twin[2 * i + 1];
    return EBM_POISON;
}

void ebm__repeat_set_twin(ebm_graph *graph, ebm_ref repeat, ebm_ref twin)
{
    if (repeat <= EBM_POISON || twin <= EBM_POISON) return;
    ebm_status status = ebm__grow(&graph->twin, &graph->twin_capacity, 2 * (graph->n_twin + 1),
                                  sizeof(ebm_ref));
    if (status != EBM_OK) {
        ebm_graph_failed(graph, status);
        return;
    }
    graph->twin[2 * graph->n_twin] = repeat;
    graph->twin[2 * graph->n_twin + 1] = twin;
    graph->n_twin++;
}

/* ---- comparison -------------------------------------------------------------------------------- */

static bool same_nodes(const ebm_node *a, const ebm_node *b)
{
    return a->op == b->op && a->dtype == b->dtype && ebm_shape_equal(&a->shape, &b->shape) &&
           a->n_in == b->n_in && a->n_attr == b->n_attr &&
           same_words(a->in, b->in, a->n_in, sizeof *a->in) &&
           same_words(a->attr, b->attr, a->n_attr, sizeof *a->attr);
}

static bool same_inputs(const graph_input *a, const graph_input *b)
{
    bool named = a->name && b->name ? strcmp(a->name, b->name) == 0 : a->name == b->name;
    return named && a->ref == b->ref && a->parent_ref == b->parent_ref &&
           !a->tensor == !b->tensor;
}

static bool same_loops(const ebm_body *a, const ebm_body *b)
{
    return a->n == b->n && a->n_carry == b->n_carry && a->n_xs == b->n_xs &&
           a->n_ys == b->n_ys && a->reverse == b->reverse &&
           same_words(a->carry_out, b->carry_out, a->n_carry, sizeof *a->carry_out) &&
           same_words(a->ys, b->ys, a->n_ys, sizeof *a->ys);
}

bool ebm_graph_same(const ebm_graph *a, const ebm_graph *b)
{
    if (a->n_node != b->n_node || a->n_input != b->n_input || a->n_body != b->n_body)
        return false;
    for (int64_t i = 0; i < a->n_node; i++)
        if (!same_nodes(&a->node[i], &b->node[i])) return false;
    for (int64_t i = 0; i < a->n_input; i++)
        if (!same_inputs(&a->input[i], &b->input[i])) return false;
    for (int64_t i = 0; i < a->n_body; i++) {
        const ebm_graph *x = a->body[i], *y = b->body[i];
        if (!x->closed || !y->closed) return false;
        if (!same_loops(&x->loop, &y->loop) || !ebm_graph_same(x, y)) return false;
    }
    return true;
}

/* ---- inference of the structural ops ------------------------------------------------------------ */

static ebm_status infer_item(const ebm_candidate *c, ebm_dtype *dtype, ebm_shape *shape)
{
    ebm_body loop = ebm_repeat_body(c->graph, c->in[0]);
    EBM_CHECK(loop.graph && c->n_attr == 1 && c->attr[0] >= 0 &&
              c->attr[0] < loop.n_carry + loop.n_ys);
    int32_t k = (int32_t)c->attr[0];
    ebm_ref inside = k < loop.n_carry ? loop.carry_out[k] : loop.ys[k - loop.n_carry];
    *dtype = ebm_ref_dtype(loop.graph, inside);
    *shape = ebm_ref_shape(loop.graph, inside);
    if (k < loop.n_carry) return EBM_OK;
    ebm_shape stacked = {.rank = shape->rank + 1, .dim = {loop.n}};
    memcpy(stacked.dim + 1, shape->dim, (size_t)shape->rank * sizeof shape->dim[0]);
    *shape = stacked;
    return EBM_OK;
}

static ebm_status infer_repeat(const ebm_candidate *c)
{
    EBM_CHECK(c->n_attr == 6 && c->attr[0] >= 0 && c->attr[0] < c->graph->n_body);
    const ebm_body *loop = &c->graph->body[c->attr[0]]->loop;
    EBM_CHECK(c->graph->body[c->attr[0]]->closed);
    EBM_CHECK(c->attr[1] == loop->n && c->attr[2] == loop->n_carry && c->attr[3] == loop->n_xs &&
              c->attr[4] == loop->n_ys && c->attr[5] == loop->reverse);
    EBM_CHECK(c->n_in == loop->n_carry + loop->n_xs + loop->n_captured);
    return EBM_OK;
}

ebm_status ebm__infer_structure(const ebm_candidate *c, ebm_dtype *dtype, ebm_shape *shape)
{
    switch (c->op) {
    case EBM_OP_input: {
        EBM_CHECK(c->n_attr == 1 && c->attr[0] >= 0 && c->attr[0] < c->graph->n_input);
        const ebm_node *n = &c->graph->node[c->graph->input[c->attr[0]].ref];
        *dtype = n->dtype;
        *shape = n->shape;
        return EBM_OK;
    }
    case EBM_OP_constant:
        EBM_CHECK(c->n_attr == 2 && c->attr[0] >= 0 && c->attr[0] < EBM_DTYPE_COUNT);
        *dtype = (ebm_dtype)c->attr[0];
        *shape = EBM_SCALAR;
        return EBM_OK;
    case EBM_OP_repeat:
        *dtype = EBM_I32;
        *shape = EBM_SCALAR;
        return infer_repeat(c);
    case EBM_OP_item: return infer_item(c, dtype, shape);
    default: return ebm_fail(EBM_INTERNAL, "graph: op %d has no place here", (int)c->op);
    }
}
