/* value.c - refs become values, stores and vertices.
 *
 * A broadcast, permutation, slice or reshape is a value with strides of its own as long as those who
 * read it can follow: regions, copies and the operands of loops can, other kernels get a contiguous
 * copy.  Node by node (fuse = false) everything is contiguous and only exact aliases have no kernel. */
#include <string.h>

#include "plan/plan_internal.h"

/* ---- strides ----------------------------------------------------------------------------------- */

static void set_contiguous(ebm__value *value, const ebm_shape *shape)
{
    int64_t stride = 1;
    for (int32_t i = shape->rank - 1; i >= 0; i--) {
        value->stride[i] = stride;
        stride *= shape->dim[i];
    }
}

static bool is_contiguous(const ebm__value *value, const ebm_shape *shape)
{
    int64_t stride = 1;
    if (ebm_shape_size(shape) == 0) return true;
    for (int32_t i = shape->rank - 1; i >= 0; i--) {
        if (shape->dim[i] != 1 && value->stride[i] != stride) return false;
        stride *= shape->dim[i];
    }
    return true;
}

/* Strides of `x` seen in another shape of the same size; false if that takes a copy. */
static bool reshape_strides(ebm__value *out, const ebm__value *x, const ebm_shape *from,
                            const ebm_shape *to)
{
    *out = *x;
    if (is_contiguous(x, from)) {
        set_contiguous(out, to);
        return true;
    }
    int32_t i = 0, j = 0;
    while (i < from->rank || j < to->rank) {
        /* The shortest runs of axes, here and there, with equal sizes. */
        int32_t first_i = i, first_j = j;
        int64_t a = i < from->rank ? from->dim[i++] : 1, b = j < to->rank ? to->dim[j++] : 1;
        while (a != b)
            if (a < b)
                a *= from->dim[i++];
            else
                b *= to->dim[j++];
        int64_t inner = 1; /* stride of the last axis of the run that is not of size 1 */
        bool any = false;
        for (int32_t k = i - 1, last = -1; k >= first_i; k--) {
            if (from->dim[k] == 1) continue;
            if (last >= 0 && x->stride[k] != x->stride[last] * from->dim[last]) return false;
            if (!any) inner = x->stride[k];
            any = true;
            last = k;
        }
        for (int32_t k = j - 1; k >= first_j; k--) {
            out->stride[k] = inner;
            inner *= to->dim[k];
        }
    }
    return true;
}

bool ebm__value_is_contiguous(const ebm__block *b, ebm_ref ref, const ebm__value *value)
{
    ebm_shape shape = ebm_ref_shape(b->graph, ref);
    return value->store != EBM__CONSTANT && is_contiguous(value, &shape);
}

bool ebm__value_is_whole(const ebm__block *b, ebm_ref ref, const ebm__value *value)
{
    ebm_shape shape = ebm_ref_shape(b->graph, ref);
    return value->store != EBM__CONSTANT && value->offset == 0 &&
           b->store[value->store].size == ebm_shape_size(&shape) && is_contiguous(value, &shape);
}

ebm__value ebm__read_value(const ebm__block *b, const ebm__read *read)
{
    ebm__value value = b->value[read->ref];
    if (value.store == read->store) return value;
    ebm_shape shape = ebm_ref_shape(b->graph, read->ref);
    value = (ebm__value){.store = read->store};
    set_contiguous(&value, &shape);
    return value;
}

ebm__operand ebm__operand_of(const ebm__block *b, ebm_ref ref, const ebm__value *value)
{
    ebm_shape shape = ebm_ref_shape(b->graph, ref);
    ebm_dtype dtype = ebm_ref_dtype(b->graph, ref);
    ebm__operand operand = {.view = ebm_view_of(NULL, dtype, &shape)};
    for (int32_t i = 0; i < shape.rank; i++)
        if (shape.dim[i] != 1) operand.view.stride[i] = value->stride[i];
    operand.place = b->store[value->store].place;
    operand.place.offset += value->offset * (int64_t)ebm_dtype_size(dtype);
    return operand;
}

/* ---- stores and vertices ----------------------------------------------------------------------- */

static ebm_status add_store(ebm__block *b, int32_t *out, int32_t vertex, ebm_dtype dtype,
                            int64_t size)
{
    EBM_TRY(ebm__pool_grow(&b->c->temp, &b->store, &b->store_capacity, b->n_store + 1,
                           sizeof *b->store));
    *out = (int32_t)b->n_store;
    b->store[b->n_store++] = (ebm__store){.vertex = vertex,
                                          .dtype = dtype,
                                          .size = size,
                                          .place = {.buffer = -1},
                                          .out = -1,
                                          .last = -1};
    return EBM_OK;
}

static ebm_status add_vertex(ebm__block *b, int32_t *out, const ebm__vertex *vertex)
{
    EBM_TRY(ebm__pool_grow(&b->c->temp, &b->vertex, &b->vertex_capacity, b->n_vertex + 1,
                           sizeof *b->vertex));
    *out = (int32_t)b->n_vertex;
    b->vertex[b->n_vertex] = *vertex;
    b->vertex[b->n_vertex++].first_read = (int32_t)b->n_read;
    return EBM_OK;
}

/* A read of the vertex added last. */
static ebm_status add_read(ebm__block *b, ebm_ref ref, int32_t store)
{
    EBM_TRY(ebm__pool_grow(&b->c->temp, &b->read, &b->read_capacity, b->n_read + 1,
                           sizeof *b->read));
    b->read[b->n_read++] = (ebm__read){.ref = ref, .store = store};
    b->vertex[b->n_vertex - 1].n_read++;
    return EBM_OK;
}

/* A vertex that fills one store with the value `ref`. */
static ebm_status add_filler(ebm__block *b, int32_t *store, ebm__vertex_kind kind, ebm_ref ref)
{
    ebm_node node = ebm_graph_node(b->graph, ref);
    int32_t at;
    EBM_TRY(add_store(b, store, (int32_t)b->n_vertex, node.dtype, ebm_shape_size(&node.shape)));
    ebm__vertex vertex = {
        .kind = kind, .ref = ref, .store = *store, .out = -1, .home = b->home[ref]};
    return add_vertex(b, &at, &vertex);
}

/* The store that holds the value contiguously, for kernels that follow no strides. */
static ebm_status solid(ebm__block *b, ebm_ref ref, int32_t *store)
{
    const ebm__value *value = &b->value[ref];
    ebm_shape shape = ebm_ref_shape(b->graph, ref);
    *store = value->store;
    if (value->store != EBM__CONSTANT && is_contiguous(value, &shape)) return EBM_OK;
    if (!b->copy[ref]) {
        EBM_TRY(add_filler(b, store, EBM__COPY, ref));
        EBM_TRY(add_read(b, ref, b->value[ref].store));
        b->copy[ref] = *store + 1;
    }
    *store = b->copy[ref] - 1;
    return EBM_OK;
}

static void set_whole(ebm__block *b, ebm_ref ref, int32_t store)
{
    ebm_shape shape = ebm_ref_shape(b->graph, ref);
    b->value[ref] = (ebm__value){.store = store};
    set_contiguous(&b->value[ref], &shape);
}

/* ---- values by op ------------------------------------------------------------------------------ */

static ebm_status value_of_input(ebm__block *b, ebm_ref ref, const ebm_node *node)
{
    int32_t number = (int32_t)node->attr[0], store;
    const ebm__binding *bound = &b->input[number];
    b->home[ref] = bound->home;
    if (bound->constant) {
        b->value[ref] = (ebm__value){.store = EBM__CONSTANT, .number = bound->number};
        return EBM_OK;
    }
    EBM_TRY(add_store(b, &store, -1, node->dtype, ebm_shape_size(&node->shape)));
    b->store[store].place = bound->place;
    b->input_store[number] = store + 1;
    b->value[ref] = (ebm__value){.store = store};
    memcpy(b->value[ref].stride, bound->stride, sizeof bound->stride);
    return EBM_OK;
}

static void value_of_constant(ebm__block *b, ebm_ref ref, const ebm_node *node)
{
    b->value[ref] = (ebm__value){.store = EBM__CONSTANT};
    memcpy(&b->value[ref].number, &node->attr[1], sizeof(double));
}

static bool is_view(const ebm__block *b, ebm_op op)
{
    switch (op) {
    case EBM_OP_reshape:
    case EBM_OP_mark:
    case EBM_OP_graft:
    case EBM_OP_stop: return true;
    case EBM_OP_broadcast:
    case EBM_OP_permute:
    case EBM_OP_slice: return b->c->fuse;
    default: return false;
    }
}

static ebm_status value_of_view(ebm__block *b, ebm_ref ref, const ebm_node *node)
{
    ebm__value x = b->value[node->in[0]], *y = &b->value[ref];
    ebm_shape from = ebm_ref_shape(b->graph, node->in[0]);
    *y = x;
    if (x.store == EBM__CONSTANT) return EBM_OK;
    switch (node->op) {
    case EBM_OP_broadcast:
        memset(y->stride, 0, sizeof y->stride);
        for (int32_t i = 0; i < from.rank; i++)
            y->stride[node->attr[1 + node->shape.rank + i]] = x.stride[i];
        return EBM_OK;
    case EBM_OP_permute:
        for (int32_t i = 0; i < from.rank; i++) y->stride[i] = x.stride[node->attr[i]];
        return EBM_OK;
    case EBM_OP_slice:
        for (int32_t i = 0; i < from.rank; i++) {
            if (node->attr[3 * i + 2] > 0) y->offset += node->attr[3 * i] * x.stride[i];
            y->stride[i] = node->attr[3 * i + 1] * x.stride[i];
        }
        return EBM_OK;
    case EBM_OP_reshape:
        if (!reshape_strides(y, &x, &from, &node->shape)) {
            int32_t store;
            EBM_TRY(solid(b, node->in[0], &store));
            set_whole(b, ref, store);
        }
        return EBM_OK;
    default: return EBM_OK; /* mark, graft, stop */
    }
}

static ebm_status value_of_item(ebm__block *b, ebm_ref ref, const ebm_node *node)
{
    int32_t k;
    const ebm__repeat *r = ebm__needs_item(&b->needs, node, &k);
    if (r->body.n > 0 || k >= r->body.n_carry) {
        set_whole(b, ref, r->store + k);
        b->home[ref] = b->home[r->ref];
    } else {
        ebm_ref carry = ebm_graph_node(b->graph, r->ref).in[k];
        b->value[ref] = b->value[carry];
        b->home[ref] = b->home[carry];
    }
    return EBM_OK;
}

/* What is the same in every turn is computed before the loop, in the block that knows all of it. */
static int32_t home_of(const ebm__block *b, const ebm_node *node, const bool *needed)
{
    int32_t home = b->c->fuse ? 0 : b->depth;
    for (int32_t i = 0; i < node->n_in; i++)
        if ((!needed || needed[i]) && b->home[node->in[i]] > home) home = b->home[node->in[i]];
    return home;
}

static ebm_status value_of_repeat(ebm__block *b, ebm_ref ref, const ebm_node *node)
{
    ebm__repeat *r = &b->needs.repeat[b->needs.repeat_at[ref] - 1];
    int32_t n_item = r->body.n_carry + r->body.n_ys, at;
    int32_t vertex = r->body.n > 0 ? (int32_t)b->n_vertex : -1;
    b->home[ref] = home_of(b, node, r->in + 1);
    r->store = (int32_t)b->n_store;
    for (int32_t k = 0; k < n_item; k++) {
        bool carry = k < r->body.n_carry;
        ebm_ref inner = carry ? r->body.carry_out[k] : r->body.ys[k - r->body.n_carry];
        ebm_shape shape = ebm_ref_shape(r->body.graph, inner);
        int64_t size = ebm_shape_size(&shape) * (carry ? 1 : r->body.n);
        EBM_TRY(add_store(b, &at, vertex, ebm_ref_dtype(r->body.graph, inner), size));
        if (r->body.n > 0) continue;
        ebm__buffer nothing = {.block = b->id};
        EBM_TRY(ebm__buffer_add(b->c, &b->store[at].place.buffer, &nothing));
    }
    if (r->body.n == 0) return EBM_OK;
    ebm__vertex loop = {
        .kind = EBM__LOOP, .ref = ref, .store = r->store, .out = -1, .home = b->home[ref]};
    EBM_TRY(add_vertex(b, &at, &loop));
    for (int32_t i = 0; i < node->n_in; i++) {
        bool needed = r->in[1 + i];
        int32_t store = needed ? b->value[node->in[i]].store : EBM__CONSTANT;
        EBM_TRY(add_read(b, needed ? node->in[i] : EBM_POISON, store));
    }
    return EBM_OK;
}

/* ---- equal values ------------------------------------------------------------------------------ */

/* The variable of a derivative is never merged with another, so what is computed from the same value
 * under two such names stands in the graph twice.  Here names do not count. */
static bool is_name(ebm_op op)
{
    return op == EBM_OP_mark || op == EBM_OP_graft || op == EBM_OP_stop;
}

static uint64_t hash_of(const ebm__block *b, const ebm_node *node)
{
    const uint64_t prime = 0x9e3779b97f4a7c15u;
    uint64_t hash = (uint64_t)node->op;
    for (int32_t i = 0; i < node->n_in; i++)
        hash = (hash ^ (uint64_t)b->same[node->in[i]]) * prime;
    for (int32_t i = 0; i < node->n_attr; i++) hash = (hash ^ (uint64_t)node->attr[i]) * prime;
    return hash ^ hash >> 32;
}

static bool is_same(const ebm__block *b, const ebm_node *x, const ebm_node *y)
{
    if (x->op != y->op || x->n_in != y->n_in || x->n_attr != y->n_attr) return false;
    for (int32_t i = 0; i < x->n_in; i++)
        if (b->same[x->in[i]] != b->same[y->in[i]]) return false;
    return x->n_attr == 0 || memcmp(x->attr, y->attr, (size_t)x->n_attr * sizeof *x->attr) == 0;
}

/* Sets b->same[ref]: the first ref with this value. */
static void find_same(ebm__block *b, ebm_ref ref, const ebm_node *node)
{
    ebm_op_family family = ebm_op_get(node->op)->family;
    b->same[ref] = ref;
    if (!b->c->fuse || family == EBM_FAMILY_STRUCTURE) return;
    if (is_name(node->op)) {
        b->same[ref] = b->same[node->in[0]];
        return;
    }
    uint64_t mask = (uint64_t)b->n_table - 1, at = hash_of(b, node) & mask;
    for (; b->table[at]; at = (at + 1) & mask) {
        ebm_node other = ebm_graph_node(b->graph, b->table[at]);
        if (!is_same(b, node, &other)) continue;
        b->same[ref] = b->table[at];
        return;
    }
    b->table[at] = ref;
}

static ebm_status make_table(ebm__block *b)
{
    for (b->n_table = 16; b->n_table < 2 * (int64_t)b->needs.n_order;) b->n_table *= 2;
    b->same = ebm__pool_alloc(&b->c->temp, ebm_graph_count(b->graph), sizeof *b->same);
    b->table = ebm__pool_alloc(&b->c->temp, b->n_table, sizeof *b->table);
    return b->same && b->table ? EBM_OK : EBM_NOMEM;
}

/* ---- kernels ----------------------------------------------------------------------------------- */

/* Ways of reading the right operand of a product, which are laid out differently; -1: in none. */
enum { PRODUCT_WAYS = 4 };

static int32_t way_of(const ebm_node *node)
{
    switch (node->op) {
    case EBM_OP_matmul: return node->attr[0] ? -1 : node->attr[1] != 0;
    case EBM_OP_conv: return 2;
    case EBM_OP_conv_data: return 3;
    default: return -1;
    }
}

/* Number of a ref read in a way, among PRODUCT_WAYS times the refs. */
static int64_t reading_of(const ebm__block *b, const ebm_node *node)
{
    return (int64_t)PRODUCT_WAYS * b->same[node->in[1]] + way_of(node);
}

/* The right operand of a product, laid out as the product `ref` wants it, if that is how the device
 * multiplies: *store is where it lies then.  Convolutions of one kernel in different geometries have
 * a layout each. */
static ebm_status pack_operand(ebm__block *b, ebm_ref ref, const ebm_node *node, int32_t *store)
{
    const ebm_device *device = b->c->device;
    ebm_shape x = ebm_ref_shape(b->graph, node->in[0]), w = ebm_ref_shape(b->graph, node->in[1]);
    ebm_view in[] = {ebm_view_of(NULL, node->dtype, &x), ebm_view_of(NULL, node->dtype, &w)};
    ebm_view out = ebm_view_of(NULL, node->dtype, &node->shape);
    ebm_kernel_args args = {.op = node->op,
                            .n_in = 2,
                            .n_out = 1,
                            .in = in,
                            .out = &out,
                            .attr = node->attr,
                            .n_attr = node->n_attr};
    size_t bytes = device->packed(device, &args);
    if (bytes == 0) return EBM_OK;
    int32_t *packed = &b->packed[reading_of(b, node)];
    if (*packed) {
        ebm_node other = ebm_graph_node(b->graph, b->vertex[*packed - 1].ref);
        if (memcmp(other.attr, node->attr, (size_t)node->n_attr * sizeof *node->attr) == 0) {
            *store = b->vertex[*packed - 1].store;
            return EBM_OK;
        }
    }
    int32_t from = *store, at;
    int64_t size = (int64_t)(bytes / ebm_dtype_size(node->dtype));
    EBM_TRY(add_store(b, store, (int32_t)b->n_vertex, node->dtype, size));
    b->store[*store].packed = true;
    ebm__vertex pack = {.kind = EBM__PACK, .ref = ref, .store = *store, .out = -1};
    pack.home = b->home[node->in[1]];
    EBM_TRY(add_vertex(b, &at, &pack));
    *packed = at + 1;
    return add_read(b, node->in[1], from);
}

/* The right operand is the same in every turn of a loop, or that of many products: laid out in each
 * of them it costs more than laid out once. */
static bool packs(const ebm__block *b, ebm_ref ref, const ebm_node *node)
{
    enum { MANY_PRODUCTS = 3 };
    if (!b->c->fuse || way_of(node) < 0) return false;
    return b->home[node->in[1]] < b->home[ref] ||
           b->n_product[reading_of(b, node)] >= MANY_PRODUCTS;
}

/* Which refs are the same value, and how often each is the right operand of a product, in each way. */
static ebm_status look_through(ebm__block *b)
{
    int64_t count = (int64_t)PRODUCT_WAYS * ebm_graph_count(b->graph);
    b->n_product = ebm__pool_alloc(&b->c->temp, count, sizeof *b->n_product);
    b->packed = ebm__pool_alloc(&b->c->temp, count, sizeof *b->packed);
    if (!b->n_product || !b->packed) return EBM_NOMEM;
    EBM_TRY(make_table(b));
    for (int32_t i = 0; i < b->needs.n_order; i++) {
        ebm_node node = ebm_graph_node(b->graph, b->needs.order[i]);
        find_same(b, b->needs.order[i], &node);
        if (b->same[b->needs.order[i]] == b->needs.order[i] && way_of(&node) >= 0)
            b->n_product[reading_of(b, &node)]++;
    }
    return EBM_OK;
}

/* Elementwise nodes read values as they are, other kernels want them contiguous. */
static ebm_status value_of_kernel(ebm__block *b, ebm_ref ref, const ebm_node *node)
{
    bool element = ebm_op_get(node->op)->family == EBM_FAMILY_ELEMENTWISE;
    bool strided = element && b->c->fuse;
    int32_t store;
    b->home[ref] = home_of(b, node, NULL);
    for (int32_t i = 0; i < node->n_in && !strided; i++)
        EBM_TRY(solid(b, b->same[node->in[i]], &store));
    bool once = packs(b, ref, node);
    int32_t right = once ? b->value[node->in[1]].store : -1;
    if (once) {
        EBM_TRY(solid(b, b->same[node->in[1]], &right));
        EBM_TRY(pack_operand(b, ref, node, &right));
    }
    EBM_TRY(add_filler(b, &store, element ? EBM__ELEMENT : EBM__KERNEL, ref));
    set_whole(b, ref, store);
    for (int32_t i = 0; i < node->n_in; i++) {
        ebm_ref in = b->same[node->in[i]];
        int32_t from = b->value[in].store;
        if (!strided) EBM_TRY(solid(b, in, &from));
        EBM_TRY(add_read(b, in, once && i == 1 ? right : from));
    }
    return EBM_OK;
}

static ebm_status value_of(ebm__block *b, ebm_ref ref)
{
    ebm_node node = ebm_graph_node(b->graph, ref);
    if (b->same[ref] != ref) {
        b->value[ref] = b->value[b->same[ref]];
        b->home[ref] = b->home[b->same[ref]];
        return EBM_OK;
    }
    switch (node.op) {
    case EBM_OP_poison: return ebm_fail(EBM_VALUE, "plan: an output that does not exist");
    case EBM_OP_input: return value_of_input(b, ref, &node);
    case EBM_OP_constant:
        b->home[ref] = home_of(b, &node, NULL);
        value_of_constant(b, ref, &node);
        return EBM_OK;
    case EBM_OP_item: return value_of_item(b, ref, &node);
    case EBM_OP_repeat: return value_of_repeat(b, ref, &node);
    default: break;
    }
    if (!is_view(b, node.op)) return value_of_kernel(b, ref, &node);
    b->home[ref] = b->home[node.in[0]];
    return value_of_view(b, ref, &node);
}

/* ---- outputs ----------------------------------------------------------------------------------- */

static bool same_place(const ebm__place *a, int32_t buffer)
{
    return a->buffer == buffer && a->offset == 0;
}

/* Output k is the untouched input whose buffer it overwrites. */
static bool is_unchanged(const ebm__block *b, int32_t k)
{
    const ebm__value *value = &b->value[b->outs[k]];
    int32_t input = b->target[k].input;
    return input >= 0 && b->input_store[input] && value->store == b->input_store[input] - 1 &&
           ebm__value_is_whole(b, b->outs[k], value) &&
           same_place(&b->store[value->store].place, b->target[k].buffer);
}

/* The value lies in an input that some output overwrites. */
static bool is_endangered(const ebm__block *b, const ebm__value *value)
{
    if (value->store == EBM__CONSTANT || b->store[value->store].vertex >= 0) return false;
    for (int32_t k = 0; k < b->n_out; k++) {
        int32_t input = b->target[k].input;
        if (input >= 0 && b->input_store[input] == value->store + 1 && !is_unchanged(b, k))
            return true;
    }
    return false;
}

/* True if the vertex that computes output k can write it where it belongs. */
static bool goes_straight(ebm__block *b, int32_t k)
{
    const ebm__value *value = &b->value[b->outs[k]];
    if (!b->c->fuse || !ebm__value_is_whole(b, b->outs[k], value)) return false;
    ebm__store *store = &b->store[value->store];
    if (store->vertex < 0 || store->out >= 0) return false;
    if (b->vertex[store->vertex].home < b->depth) return false;
    store->out = k;
    return true;
}

static ebm_status copy_output(ebm__block *b, int32_t k)
{
    ebm_ref ref = b->outs[k];
    int32_t at, store = b->value[ref].store;
    if (b->target[k].input < 0) {
        ebm__vertex finish = {
            .kind = EBM__FINISH, .ref = ref, .store = -1, .out = k, .home = b->depth};
        EBM_TRY(add_vertex(b, &at, &finish));
        EBM_TRY(add_read(b, ref, store));
    } else {
        if (is_endangered(b, &b->value[ref]) && !b->copy[ref]) {
            /* Not solid: a contiguous input needs this copy as well. */
            EBM_TRY(add_filler(b, &at, EBM__COPY, ref));
            EBM_TRY(add_read(b, ref, store));
            b->copy[ref] = at + 1;
        }
        b->late[b->n_late++] = k;
    }
    if (store != EBM__CONSTANT) b->store[store].kept = true;
    return EBM_OK;
}

/* Outputs that overwrite an input choose first: the others only cost a copy. */
static ebm_status value_of_outputs(ebm__block *b)
{
    bool *done = ebm__pool_alloc(&b->c->temp, b->n_out, sizeof *done);
    b->late = ebm__pool_alloc(&b->c->temp, b->n_out, sizeof *b->late);
    if (!done || !b->late) return EBM_NOMEM;
    for (int32_t k = 0; k < b->n_out; k++) {
        ebm_shape shape = ebm_ref_shape(b->graph, b->outs[k]);
        done[k] = ebm_shape_size(&shape) == 0 || is_unchanged(b, k) ||
                  (b->target[k].input >= 0 && goes_straight(b, k));
    }
    for (int32_t k = 0; k < b->n_out; k++)
        if (!done[k] && !(b->target[k].input < 0 && goes_straight(b, k)))
            EBM_TRY(copy_output(b, k));
    return EBM_OK;
}

void ebm__block_list_readers(ebm__block *b)
{
    for (int64_t s = 0; s < b->n_store; s++) b->store[s].n_reader = 0;
    for (int32_t v = 0; v < b->n_vertex; v++)
        for (int32_t i = 0; i < b->vertex[v].n_read; i++) {
            int32_t store = b->read[b->vertex[v].first_read + i].store;
            if (store != EBM__CONSTANT) b->store[store].n_reader++;
        }
    int32_t at = 0;
    for (int64_t s = 0; s < b->n_store; s++) {
        b->store[s].first_reader = at;
        at += b->store[s].n_reader;
        b->store[s].n_reader = 0;
    }
    for (int32_t v = 0; v < b->n_vertex; v++)
        for (int32_t i = 0; i < b->vertex[v].n_read; i++) {
            int32_t store = b->read[b->vertex[v].first_read + i].store;
            if (store == EBM__CONSTANT) continue;
            b->reader[b->store[store].first_reader + b->store[store].n_reader++] = v;
        }
}

ebm_status ebm__block_values(ebm__block *b)
{
    int32_t count = ebm_graph_count(b->graph);
    b->value = ebm__pool_alloc(&b->c->temp, count, sizeof *b->value);
    b->copy = ebm__pool_alloc(&b->c->temp, count, sizeof *b->copy);
    b->home = ebm__pool_alloc(&b->c->temp, count, sizeof *b->home);
    b->input_store = ebm__pool_alloc(&b->c->temp, ebm_graph_n_inputs(b->graph),
                                     sizeof *b->input_store);
    if (!b->value || !b->copy || !b->home || !b->input_store) return EBM_NOMEM;
    EBM_TRY(look_through(b));
    for (int32_t i = 0; i < b->needs.n_order; i++) EBM_TRY(value_of(b, b->needs.order[i]));
    EBM_TRY(value_of_outputs(b));
    b->reader = ebm__pool_alloc(&b->c->temp, b->n_read, sizeof *b->reader);
    b->stack = ebm__pool_alloc(&b->c->temp, b->n_vertex, sizeof *b->stack);
    if (!b->reader || !b->stack) return EBM_NOMEM;
    ebm__block_list_readers(b);
    return EBM_OK;
}
