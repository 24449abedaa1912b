/* emit.c - the schedule of a block becomes kernels and loops, and its stores get buffers. */
#include <math.h>
#include <string.h>

#include "plan/plan_internal.h"

/* ---- buffers ----------------------------------------------------------------------------------- */

/* A new buffer in the arena of the block that gets what is emitted. */
static ebm_status new_buffer(ebm__block *b, int32_t *out, int64_t bytes)
{
    ebm__buffer buffer = {.block = b->to->id, .bytes = bytes};
    return ebm__buffer_add(b->c, out, &buffer);
}

static ebm_status place_store(ebm__block *b, ebm__store *store)
{
    store->place.offset = 0;
    if (store->out >= 0) {
        store->place.buffer = b->target[store->out].buffer;
        return EBM_OK;
    }
    return new_buffer(b, &store->place.buffer, ebm__store_bytes(store));
}

/* The store's buffer is the arena's, and nothing needs it after what is emitted now. */
static bool dies(const ebm__block *b, const ebm__store *store)
{
    const ebm__place *place = &store->place;
    return b->c->fuse && store->vertex >= 0 && store->last == b->position && place->offset == 0 &&
           b->c->buffer[place->buffer].base == 0 && b->c->buffer[place->buffer].block == b->id;
}

/* ---- kernels ----------------------------------------------------------------------------------- */

/* Step `other` writes something that kernel `step` reads; of a loop that is not known. */
static bool is_read(const ebm__compiler *c, int32_t other, int32_t step)
{
    if (other < 0) return true;
    const ebm__draft_kernel *x = &c->kernel[other], *y = &c->kernel[step];
    const ebm__place *out = c->view_place + x->first_view + x->args.n_in;
    const ebm__place *in = c->view_place + y->first_view;
    for (int32_t k = 0; k < x->args.n_out; k++)
        for (int32_t i = 0; i < y->args.n_in; i++)
            if (in[i].buffer == out[k].buffer) return true;
    return false;
}

/* Where kernel `step` comes, out of a loop: right behind what it reads, which then need not wait for
 * the loop; before it, if nothing it reads is computed here. */
static int64_t slot_of(const ebm__block *b, int32_t step)
{
    const ebm__compiler *c = b->c;
    const ebm__draft_kernel *kernel = &c->kernel[step];
    bool waits = false;
    for (int32_t i = 0; i < kernel->args.n_in; i++) {
        const ebm__buffer *x = &c->buffer[c->view_place[kernel->first_view + i].buffer];
        waits |= x->base == 0 && x->block == b->id;
    }
    int64_t at = b->n_step;
    while (waits && at > 0 && !is_read(c, b->step[at - 1], step)) at--;
    return at;
}

static ebm_status add_step(ebm__block *b, int32_t step)
{
    ebm__block *to = b->to;
    EBM_TRY(ebm__pool_grow(&b->c->temp, &to->step, &to->step_capacity, to->n_step + 1,
                           sizeof *to->step));
    int64_t at = to == b || step < 0 ? to->n_step : slot_of(to, step);
    memmove(to->step + at + 1, to->step + at, (size_t)(to->n_step++ - at) * sizeof *to->step);
    to->step[at] = step;
    return EBM_OK;
}

static ebm_status add_operand(ebm__compiler *c, const ebm__operand *operand)
{
    EBM_TRY(ebm__pool_grow(&c->temp, &c->view, &c->view_capacity, c->n_view + 1, sizeof *c->view));
    EBM_TRY(ebm__pool_grow(&c->temp, &c->view_place, &c->view_place_capacity, c->n_view + 1,
                           sizeof *c->view_place));
    c->view[c->n_view] = operand->view;
    c->view_place[c->n_view++] = operand->place;
    return EBM_OK;
}

/* A kernel, as args without views and pointers. */
static ebm_status add_kernel(ebm__block *b, const ebm_kernel_args *args, const ebm__operand *in,
                             const ebm__operand *out)
{
    ebm__compiler *c = b->c;
    EBM_TRY(ebm__pool_grow(&c->temp, &c->kernel, &c->kernel_capacity, c->n_kernel + 1,
                           sizeof *c->kernel));
    ebm__draft_kernel *kernel = &c->kernel[c->n_kernel];
    *kernel = (ebm__draft_kernel){.args = *args, .first_view = (int32_t)c->n_view, .scratch = -1};
    for (int32_t i = 0; i < args->n_in; i++) EBM_TRY(add_operand(c, &in[i]));
    for (int32_t i = 0; i < args->n_out; i++) EBM_TRY(add_operand(c, &out[i]));
    ebm_kernel_args asked = *args;
    asked.in = c->view + kernel->first_view;
    asked.out = asked.in + args->n_in;
    size_t scratch = c->device->scratch(c->device, &asked);
    if (scratch > INT64_MAX / 4)
        return ebm_fail(EBM_NOMEM, "plan: scratch of %zu bytes", scratch);
    if (scratch) EBM_TRY(new_buffer(b, &kernel->scratch, (int64_t)scratch));
    return add_step(b, (int32_t)c->n_kernel++);
}

static ebm_status add_node_kernel(ebm__block *b, const ebm_node *node, const ebm__operand *in,
                                  const ebm__operand *out)
{
    int64_t *attr = ebm__pool_alloc(b->c->keep, node->n_attr, sizeof *attr);
    if (!attr) return EBM_NOMEM;
    if (node->n_attr) memcpy(attr, node->attr, (size_t)node->n_attr * sizeof *attr);
    ebm_kernel_args args = {
        .op = node->op, .n_in = node->n_in, .n_out = 1, .attr = attr, .n_attr = node->n_attr};
    return add_kernel(b, &args, in, out);
}

/* Operand i of a region is walked through, and no key. */
static bool is_walked(const ebm_region *region, int32_t i)
{
    return !region->draw || i >= region->n_in || region->draw[i].op == 0;
}

/* Drops axes of size 1 and joins neighbours that every view walks through in one. */
static void join_axes(const ebm_region *region, ebm__operand *operand)
{
    int32_t n = region->n_in + region->n_out, kept = 0;
    const ebm_view space = operand[n - 1].view;
    for (int32_t axis = 0; axis < space.rank; axis++) {
        int64_t size = space.shape[axis];
        if (size == 1) continue;
        bool joins = kept > 0;
        for (int32_t i = 0; i < n && joins; i++)
            joins = !is_walked(region, i) ||
                    operand[i].view.stride[kept - 1] == operand[i].view.stride[axis] * size;
        if (!joins) kept++;
        for (int32_t i = 0; i < n; i++) {
            if (!is_walked(region, i)) continue;
            ebm_view *view = &operand[i].view;
            view->shape[kept - 1] = joins ? view->shape[kept - 1] * size : size;
            view->stride[kept - 1] = view->stride[axis];
        }
    }
    for (int32_t i = 0; i < n; i++)
        if (is_walked(region, i)) operand[i].view.rank = kept;
}

/* A region with its program, in the plan. */
static ebm_status keep_region(ebm__block *b, const ebm_region **out, const ebm_region *region,
                              const ebm_instr *instr)
{
    ebm_region *keep = ebm__pool_alloc(b->c->keep, 1, sizeof *keep);
    ebm_instr *code = ebm__pool_alloc(b->c->keep, region->n_instr, sizeof *code);
    if (!keep || !code) return EBM_NOMEM;
    *keep = *region;
    keep->instr = code;
    if (region->n_instr) memcpy(code, instr, (size_t)region->n_instr * sizeof *code);
    if (region->draw) {
        ebm_draw *draw = ebm__pool_alloc(b->c->keep, region->n_in, sizeof *draw);
        if (!draw) return EBM_NOMEM;
        keep->draw = memcpy(draw, region->draw, (size_t)region->n_in * sizeof *draw);
    }
    *out = keep;
    return EBM_OK;
}

static ebm_status add_region(ebm__block *b, const ebm_region *region, const ebm_instr *instr,
                             ebm__operand *operand)
{
    ebm_kernel_args args = {.op = EBM_OP_REGION, .n_in = region->n_in, .n_out = region->n_out};
    EBM_TRY(keep_region(b, &args.region, region, instr));
    if (b->c->fuse) join_axes(region, operand);
    return add_kernel(b, &args, operand, operand + region->n_in);
}

/* ---- copies ------------------------------------------------------------------------------------ */

/* Writes a value contiguously to `place`, by a region without instructions. */
static ebm_status copy_value(ebm__block *b, ebm_ref ref, const ebm__value *value, ebm__place place)
{
    ebm_shape shape = ebm_ref_shape(b->graph, ref);
    ebm_dtype dtype = ebm_ref_dtype(b->graph, ref);
    bool constant = value->store == EBM__CONSTANT;
    if (ebm_shape_size(&shape) == 0) return EBM_OK;
    ebm__operand operand[2];
    if (!constant) operand[0] = ebm__operand_of(b, ref, value);
    operand[constant ? 0 : 1] = (ebm__operand){.view = ebm_view_of(NULL, dtype, &shape),
                                               .place = place};
    ebm_region region = {.n_in = !constant, .n_const = constant, .n_out = 1, .n_reg = 1};
    region.reg_dtype[0] = (uint8_t)dtype;
    region.constant[0] = value->number;
    return add_region(b, &region, NULL, operand);
}

/* A view made contiguous: by the op's own kernel where that can read its operand. */
static ebm_status emit_copy(ebm__block *b, const ebm__vertex *v)
{
    ebm__store *store = &b->store[v->store];
    ebm_node node = ebm_graph_node(b->graph, v->ref);
    const ebm__value *value = &b->value[v->ref];
    EBM_TRY(place_store(b, store));
    bool moves = node.op == EBM_OP_permute || node.op == EBM_OP_broadcast ||
                 node.op == EBM_OP_slice;
    if (moves && value->store != EBM__CONSTANT && store->size > 0 &&
        ebm__value_is_whole(b, node.in[0], &b->value[node.in[0]])) {
        ebm__operand in = ebm__operand_of(b, node.in[0], &b->value[node.in[0]]);
        ebm__operand out = {.view = ebm_view_of(NULL, node.dtype, &node.shape),
                            .place = store->place};
        return add_node_kernel(b, &node, &in, &out);
    }
    return copy_value(b, v->ref, value, store->place);
}

static ebm_status emit_finish(ebm__block *b, int32_t k)
{
    ebm_ref ref = b->outs[k];
    ebm__value value = b->value[ref];
    if (b->copy[ref] && b->target[k].input >= 0) {
        ebm__read read = {.ref = ref, .store = b->copy[ref] - 1};
        value = ebm__read_value(b, &read);
    }
    return copy_value(b, ref, &value, (ebm__place){.buffer = b->target[k].buffer});
}

/* ---- nodes and regions ------------------------------------------------------------------------- */

static ebm_status emit_pack(ebm__block *b, const ebm__vertex *v)
{
    ebm_node node = ebm_graph_node(b->graph, v->ref);
    const ebm__read *read = &b->read[v->first_read];
    ebm__store *store = &b->store[v->store];
    ebm__value value = ebm__read_value(b, read);
    ebm__operand in = ebm__operand_of(b, read->ref, &value);
    EBM_TRY(place_store(b, store));
    ebm_shape bytes = EBM_DIMS(store->size);
    ebm__operand out = {.view = ebm_view_of(NULL, store->dtype, &bytes), .place = store->place};
    int64_t attr[EBM__PRODUCT_ATTRS] = {node.op};
    memcpy(attr + 1, node.attr, (size_t)node.n_attr * sizeof *attr);
    ebm_node pack = {.op = EBM_OP_PACK,
                     .dtype = store->dtype,
                     .n_in = 1,
                     .n_attr = 1 + node.n_attr,
                     .attr = attr};
    return add_node_kernel(b, &pack, &in, &out);
}

/* Reductions of one kind are one kernel. */
static ebm_status emit_reductions(ebm__block *b, const ebm__vertex *v)
{
    ebm__operand *in = ebm__pool_alloc(&b->c->temp, EBM_REGIONS_MAX_PARTS, sizeof *in);
    ebm__operand *out = ebm__pool_alloc(&b->c->temp, EBM_REGIONS_MAX_PARTS, sizeof *out);
    if (!in || !out) return EBM_NOMEM;
    ebm_node node = ebm_graph_node(b->graph, v->ref);
    int64_t *attr = ebm__pool_alloc(b->c->keep, 1, sizeof *attr);
    if (!attr) return EBM_NOMEM;
    *attr = node.attr[0];
    ebm_kernel_args args = {.op = node.op, .attr = attr, .n_attr = 1};
    for (; v; v = v->next_part >= 0 ? &b->vertex[v->next_part] : NULL) {
        ebm__store *store = &b->store[v->store];
        const ebm__read *read = &b->read[v->first_read];
        ebm__value value = ebm__read_value(b, read);
        ebm_shape shape = ebm_ref_shape(b->graph, v->ref);
        EBM_TRY(place_store(b, store));
        in[args.n_in++] = ebm__operand_of(b, read->ref, &value);
        out[args.n_out++] = (ebm__operand){.view = ebm_view_of(NULL, store->dtype, &shape),
                                           .place = store->place};
    }
    return add_kernel(b, &args, in, out);
}

static ebm_status emit_kernel(ebm__block *b, const ebm__vertex *v)
{
    if (v->next_part >= 0) return emit_reductions(b, v);
    ebm__store *store = &b->store[v->store];
    ebm_node node = ebm_graph_node(b->graph, v->ref);
    ebm__operand *in = ebm__pool_alloc(&b->c->temp, v->n_read, sizeof *in);
    if (!in) return EBM_NOMEM;
    for (int32_t i = 0; i < v->n_read; i++) {
        const ebm__read *read = &b->read[v->first_read + i];
        ebm__value value = ebm__read_value(b, read);
        in[i] = ebm__operand_of(b, read->ref, &value);
    }
    bool in_place = false;
    if (node.op == EBM_OP_put && store->out < 0) {
        const ebm__read *read = &b->read[v->first_read];
        ebm__value x = ebm__read_value(b, read);
        in_place = dies(b, &b->store[x.store]) && ebm__value_is_whole(b, read->ref, &x) &&
                   read[1].store != x.store && read[2].store != x.store;
        if (in_place) store->place = b->store[x.store].place;
    }
    if (!in_place) EBM_TRY(place_store(b, store));
    if (store->size == 0) return EBM_OK;
    ebm__operand out = {.view = ebm_view_of(NULL, node.dtype, &node.shape),
                        .place = store->place};
    int64_t attr[EBM__PRODUCT_ATTRS];
    int32_t right = v->n_read > 1 ? b->read[v->first_read + 1].store : EBM__CONSTANT;
    if (right != EBM__CONSTANT && b->store[right].packed) {
        memcpy(attr, node.attr, (size_t)node.n_attr * sizeof *attr);
        attr[node.n_attr++] = 1;
        node.attr = attr;
    }
    return add_node_kernel(b, &node, in, &out);
}

/* The store is read by no other part of the kernel that the region is a part of. */
static bool is_read_here(ebm__block *b, const ebm__region_draft *d, const ebm__store *store)
{
    int32_t cluster = b->sequence[b->position];
    for (int32_t i = 0; i < store->n_reader; i++) {
        int32_t reader = b->reader[store->first_reader + i];
        if (ebm__block_cluster(b, reader) == cluster && ebm__region_member(d, reader) < 0)
            return false;
    }
    return true;
}

/* Input i of the region gives its buffer to output `store`. */
static bool takes_input(ebm__block *b, const ebm__region_draft *d, int32_t i,
                        const ebm__store *store)
{
    const ebm__store *in = &b->store[d->in[i].store];
    if (!dies(b, in) || !is_read_here(b, d, in)) return false;
    if (ebm_dtype_size(in->dtype) != ebm_dtype_size(store->dtype)) return false;
    for (int32_t k = 0; k < d->region.n_in; k++) {
        if (d->in[k].store != d->in[i].store) continue;
        if (d->in[k].draw) return false;
        ebm__value value = ebm__read_value(b, &d->in[k]);
        if (!ebm__value_is_whole(b, d->in[k].ref, &value)) return false;
    }
    return true;
}

static ebm_status place_region_output(ebm__block *b, const ebm__region_draft *d,
                                      ebm__store *store, bool *taken)
{
    for (int32_t i = 0; i < d->region.n_in && store->out < 0; i++) {
        if (taken[i] || !takes_input(b, d, i, store)) continue;
        store->place = b->store[d->in[i].store].place;
        for (int32_t k = 0; k < d->region.n_in; k++)
            taken[k] |= d->in[k].store == d->in[i].store;
        return EBM_OK;
    }
    return place_store(b, store);
}

/* The region of a cluster, in b->draft, and its operands, whose outputs get their places. */
static ebm_status draft_region(ebm__block *b, int32_t cluster, ebm__operand *operand)
{
    ebm__region_draft *d = b->draft;
    EBM_CHECK(ebm__region_assemble(b, d, cluster, cluster));
    bool taken[EBM__REGION_INPUTS] = {false};
    ebm_shape shape = ebm_ref_shape(b->graph, b->vertex[cluster].ref);
    for (int32_t i = 0; i < d->region.n_in; i++) {
        ebm__value value = ebm__read_value(b, &d->in[i]);
        operand[i] = ebm__operand_of(b, d->in[i].ref, &value);
    }
    for (int32_t k = 0; k < d->region.n_out; k++) {
        ebm__store *store = &b->store[b->vertex[d->out[k]].store];
        EBM_TRY(place_region_output(b, d, store, taken));
        operand[d->region.n_in + k] = (ebm__operand){.view = ebm_view_of(NULL, store->dtype,
                                                                         &shape),
                                                     .place = store->place};
    }
    return EBM_OK;
}

/* A cluster of several parts is one kernel. */
static ebm_status emit_regions(ebm__block *b, int32_t cluster)
{
    const ebm_region *region = &b->draft->region;
    ebm__operand operand[EBM__REGION_INPUTS + EBM_REGION_MAX_OUT];
    ebm__operand *in = ebm__pool_alloc(&b->c->temp, EBM_REGIONS_MAX_VIEWS, sizeof *in);
    ebm__operand *out = ebm__pool_alloc(&b->c->temp, EBM_REGIONS_MAX_VIEWS, sizeof *out);
    if (!in || !out) return EBM_NOMEM;
    ebm_kernel_args args = {.op = EBM_OP_REGIONS};
    for (int32_t part = cluster; part >= 0; part = b->vertex[part].next_part) {
        EBM_TRY(draft_region(b, part, operand));
        join_axes(region, operand);
        memcpy(in + args.n_in, operand, (size_t)region->n_in * sizeof *operand);
        memcpy(out + args.n_out, operand + region->n_in, (size_t)region->n_out * sizeof *operand);
        args.n_in += region->n_in;
        args.n_out += region->n_out;
    }
    EBM_TRY(keep_region(b, &args.region, region, b->draft->instr));
    return add_kernel(b, &args, in, out);
}

static ebm_status emit_region(ebm__block *b, int32_t cluster)
{
    ebm__region_draft *d = b->draft;
    ebm__operand operand[EBM__REGION_INPUTS + EBM_REGION_MAX_OUT];
    if (b->vertex[cluster].next_part >= 0) return emit_regions(b, cluster);
    EBM_TRY(draft_region(b, cluster, operand));
    ebm_shape shape = ebm_ref_shape(b->graph, b->vertex[cluster].ref);
    /* Without outputs: all that is read of it are slices of size 0. */
    if (ebm_shape_size(&shape) == 0 || d->region.n_out == 0) return EBM_OK;
    return add_region(b, &d->region, d->instr, operand);
}

/* ---- loops ------------------------------------------------------------------------------------- */

/* A loop being emitted: the repeat, and the block of its body. */
typedef struct loop_draft {
    const ebm__repeat *r;
    const ebm__vertex *v;
    ebm__block body;
    ebm__binding *input;
    ebm__target *target;
    ebm_ref *outs;
} loop_draft;

static void bind_contiguous(ebm__binding *binding, int32_t buffer, const ebm_shape *shape)
{
    ebm_view view = ebm_view_of(NULL, EBM_F32, shape);
    *binding = (ebm__binding){.place = {.buffer = buffer}};
    memcpy(binding->stride, view.stride, sizeof view.stride);
}

/* The step number is a row of an iota. */
static ebm_status bind_index(ebm__block *b, loop_draft *l)
{
    if (!l->r->in[0]) return EBM_OK;
    int64_t n = l->r->body.n, row = (int64_t)ebm_dtype_size(EBM_I32);
    int64_t attr[] = {EBM_I32, 0, 1, n};
    ebm_shape shape = EBM_DIMS(n);
    ebm_node node = {.op = EBM_OP_iota, .dtype = EBM_I32, .shape = shape, .n_attr = 4, .attr = attr};
    ebm__operand out = {.view = ebm_view_of(NULL, EBM_I32, &shape)};
    EBM_TRY(new_buffer(b, &out.place.buffer, n * row));
    EBM_TRY(add_node_kernel(b, &node, NULL, &out));
    int32_t moving;
    EBM_TRY(ebm__cursor_add(b->c, &moving, out.place, row));
    l->input[0] = (ebm__binding){.home = l->body.depth, .place = {.buffer = moving}};
    return EBM_OK;
}

/* The carry may live where its first value lies: nothing else reads that, now or later. */
static bool carry_takes_init(const ebm__block *b, const loop_draft *l, const ebm__read *init,
                             const ebm__value *value)
{
    if (value->store == EBM__CONSTANT || !dies(b, &b->store[value->store])) return false;
    if (!ebm__value_is_whole(b, init->ref, value)) return false;
    int32_t readers = 0;
    for (int32_t i = 0; i < l->v->n_read; i++)
        readers += b->read[l->v->first_read + i].store == value->store;
    return readers == 1;
}

/* The input that output `out` overwrites is the carry's first value. */
static bool carry_is_there(const ebm__block *b, int32_t out, const ebm__read *init,
                           const ebm__value *value)
{
    int32_t input = out >= 0 ? b->target[out].input : -1;
    return input >= 0 && b->input_store[input] && value->store == b->input_store[input] - 1 &&
           ebm__value_is_whole(b, init->ref, value);
}

static ebm_status bind_carry(ebm__block *b, loop_draft *l, int32_t k)
{
    const ebm__repeat *r = l->r;
    if (!r->item[k]) return EBM_OK;
    ebm__store *store = &b->store[r->store + k];
    const ebm__read *init = &b->read[l->v->first_read + k];
    bool wanted = r->in[1 + k], there = false;
    ebm__value value = {.store = EBM__CONSTANT};
    if (wanted) value = b->value[init->ref];
    if (store->out < 0 && wanted && carry_takes_init(b, l, init, &value)) {
        store->place = b->store[value.store].place;
        there = true;
    } else {
        EBM_TRY(place_store(b, store));
        there = wanted && carry_is_there(b, store->out, init, &value);
    }
    if (wanted && !there) EBM_TRY(copy_value(b, init->ref, &value, store->place));
    ebm_shape shape = ebm_ref_shape(r->body.graph, r->body.carry_out[k]);
    bind_contiguous(&l->input[1 + k], store->place.buffer, &shape);
    l->input[1 + k].home = l->body.depth;
    l->outs[l->body.n_out] = r->body.carry_out[k];
    l->target[l->body.n_out++] = (ebm__target){.buffer = store->place.buffer, .input = 1 + k};
    return EBM_OK;
}

/* xs (`rows`: one row a turn) and captured values. */
static ebm_status bind_operand(ebm__block *b, loop_draft *l, int32_t i, bool rows)
{
    if (!l->r->in[1 + i]) return EBM_OK;
    const ebm__read *read = &b->read[l->v->first_read + i];
    const ebm__value *value = &b->value[read->ref];
    ebm__binding *binding = &l->input[1 + i];
    *binding = (ebm__binding){.home = b->c->fuse ? b->home[read->ref] : l->body.depth};
    if (value->store == EBM__CONSTANT) {
        binding->constant = true;
        binding->number = value->number;
        return EBM_OK;
    }
    ebm__operand operand = ebm__operand_of(b, read->ref, value);
    binding->place = operand.place;
    int32_t skip = rows ? 1 : 0;
    for (int32_t k = 0; k + skip < operand.view.rank; k++)
        binding->stride[k] = operand.view.stride[k + skip];
    if (!rows || operand.view.stride[0] == 0) return EBM_OK;
    binding->home = l->body.depth;
    binding->place.offset = 0;
    int64_t row = operand.view.stride[0] * (int64_t)ebm_dtype_size((ebm_dtype)operand.view.dtype);
    return ebm__cursor_add(b->c, &binding->place.buffer, operand.place, row);
}

static ebm_status bind_stacked(ebm__block *b, loop_draft *l, int32_t k)
{
    const ebm__repeat *r = l->r;
    if (!r->item[r->body.n_carry + k]) return EBM_OK;
    ebm__store *store = &b->store[r->store + r->body.n_carry + k];
    int32_t moving;
    EBM_TRY(place_store(b, store));
    EBM_TRY(ebm__cursor_add(b->c, &moving, store->place, ebm__store_bytes(store) / r->body.n));
    l->outs[l->body.n_out] = r->body.ys[k];
    l->target[l->body.n_out++] = (ebm__target){.buffer = moving, .input = -1};
    return EBM_OK;
}

static ebm_status bind_all(ebm__block *b, loop_draft *l)
{
    const ebm_body *body = &l->r->body;
    int32_t n_given = body->n_carry + body->n_xs;
    EBM_TRY(bind_index(b, l));
    for (int32_t k = 0; k < body->n_carry; k++) EBM_TRY(bind_carry(b, l, k));
    for (int32_t k = body->n_carry; k < n_given + body->n_captured; k++)
        EBM_TRY(bind_operand(b, l, k, k < n_given));
    for (int32_t k = 0; k < body->n_ys; k++) EBM_TRY(bind_stacked(b, l, k));
    return EBM_OK;
}

/* Operations of one turn, roughly; a loop inside counts as many. */
static double work_of(const ebm_graph *body)
{
    double work = 0;
    for (ebm_ref ref = 1; ref < ebm_graph_count(body); ref++) {
        ebm_node node = ebm_graph_node(body, ref);
        double size = (double)ebm_shape_size(&node.shape);
        ebm_op_family family = ebm_op_get(node.op)->family;
        if (node.op == EBM_OP_repeat) return HUGE_VAL;
        if (family == EBM_FAMILY_MATMUL || family == EBM_FAMILY_CONV) {
            ebm_shape x = ebm_ref_shape(body, node.in[0]), w = ebm_ref_shape(body, node.in[1]);
            size = 2 * sqrt(size * (double)ebm_shape_size(&x) * (double)ebm_shape_size(&w));
        }
        work += size;
    }
    return work;
}

/* Turns that carry nothing on may run beside one another, where the host's threads run kernels and
 * all turns together are worth waking them. */
static bool has_lanes(const ebm__block *b, const ebm_body *body)
{
    enum { LEAST_WORK = 100000 };
    const ebm__compiler *c = b->c;
    if (!c->fuse || c->in_lanes || !c->device->host_memory) return false;
    if (body->n_carry > 0 || body->n < 2) return false;
    return c->eager || (double)body->n * work_of(body->graph) >= LEAST_WORK;
}

static ebm_status open_lanes(const loop_draft *l, ebm__loop *loop)
{
    ebm__compiler *c = l->body.c;
    int32_t buffer;
    EBM_TRY(ebm__cursor_add(c, &buffer, (ebm__place){.buffer = 0}, 0));
    loop->lane = c->block_base[l->body.id] = c->buffer[buffer].base;
    c->in_lanes = true;
    return EBM_OK;
}

static void close_lanes(ebm__compiler *c, const ebm__loop *loop, const ebm__range *range)
{
    c->in_lanes = false;
    if (range->arena_bytes > c->lane_bytes) c->lane_bytes = range->arena_bytes;
    if (loop->n > c->lane_turns) c->lane_turns = loop->n;
}

static ebm_status compile_loop(ebm__block *b, const ebm__vertex *v, const ebm__repeat *r)
{
    ebm__compiler *c = b->c;
    const ebm_body *body = &r->body;
    loop_draft l = {.r = r, .v = v};
    l.input = ebm__pool_alloc(&c->temp, ebm_graph_n_inputs(body->graph), sizeof *l.input);
    l.target = ebm__pool_alloc(&c->temp, body->n_carry + body->n_ys, sizeof *l.target);
    l.outs = ebm__pool_alloc(&c->temp, body->n_carry + body->n_ys, sizeof *l.outs);
    if (!l.input || !l.target || !l.outs) return EBM_NOMEM;
    l.body = (ebm__block){.c = c,
                          .graph = body->graph,
                          .depth = b->to->depth + (body->n > 1),
                          .parent = b->to,
                          .outs = l.outs,
                          .target = l.target,
                          .input = l.input};
    EBM_TRY(ebm__block_add(c, &l.body.id));
    ebm__loop loop = {.n = body->n, .reverse = body->reverse};
    bool lanes = has_lanes(b, body);
    if (lanes) EBM_TRY(open_lanes(&l, &loop));
    loop.first_cursor = (int32_t)c->n_cursor;
    EBM_TRY(bind_all(b, &l));
    loop.n_cursor = (int32_t)c->n_cursor - loop.first_cursor;
    ebm__range range;
    EBM_TRY(ebm__block_compile(&l.body, &range));
    if (lanes)
        close_lanes(c, &loop, &range);
    else
        EBM_TRY(new_buffer(b, &c->block_buffer[l.body.id], range.arena_bytes));
    loop.first = range.first;
    loop.end = range.end;
    EBM_TRY(ebm__pool_grow(&c->temp, &c->loop, &c->loop_capacity, c->n_loop + 1, sizeof *c->loop));
    c->loop[c->n_loop] = loop;
    return add_step(b, ~(int32_t)c->n_loop++);
}

static ebm_status emit_loop(ebm__block *b, const ebm__vertex *v)
{
    ebm__compiler *c = b->c;
    const ebm__repeat *r = &b->needs.repeat[b->needs.repeat_at[v->ref] - 1];
    ebm__rows rows = {.graph = NULL};
    if (c->fuse && !c->in_lanes && c->device->host_memory)
        EBM_TRY(ebm__rows_cut(&rows, &c->temp, r, c->eager));
    if (!rows.graph) return compile_loop(b, v, r);
    ebm__repeat cut = *r;
    cut.body = rows.body;
    cut.in[0] = false;
    ebm_status status = compile_loop(b, v, &cut);
    ebm_graph_free(rows.graph);
    return status;
}

/* ---- blocks ------------------------------------------------------------------------------------ */

static ebm_status emit(ebm__block *b)
{
    int32_t cluster = b->sequence[b->position];
    const ebm__vertex *v = &b->vertex[cluster];
    for (b->to = b; b->to->depth > v->home;) b->to = b->to->parent;
    switch (v->kind) {
    case EBM__KERNEL: return emit_kernel(b, v);
    case EBM__ELEMENT: return emit_region(b, cluster);
    case EBM__COPY: return emit_copy(b, v);
    case EBM__PACK: return emit_pack(b, v);
    case EBM__LOOP: return emit_loop(b, v);
    case EBM__FINISH: return emit_finish(b, v->out);
    }
    return ebm_fail(EBM_INTERNAL, "plan: a vertex of no kind");
}

ebm_status ebm__block_add(ebm__compiler *c, int32_t *id)
{
    EBM_TRY(ebm__pool_grow(&c->temp, &c->block_buffer, &c->block_capacity, c->n_block + 1,
                           sizeof *c->block_buffer));
    EBM_TRY(ebm__pool_grow(&c->temp, &c->block_base, &c->block_base_capacity, c->n_block + 1,
                           sizeof *c->block_base));
    *id = (int32_t)c->n_block++;
    c->block_buffer[*id] = -1;
    c->block_base[*id] = 0;
    return EBM_OK;
}

ebm_status ebm__block_compile(ebm__block *b, ebm__range *range)
{
    ebm__compiler *c = b->c;
    EBM_TRY(ebm__needs_find(&b->needs, &c->temp, b->graph, b->outs, b->n_out, c->fuse));
    EBM_TRY(ebm__block_values(b));
    EBM_TRY(ebm__block_fuse(b));
    EBM_TRY(ebm__block_schedule(b));
    for (; b->position < b->n_sequence; b->position++) EBM_TRY(emit(b));
    b->to = b;
    for (int32_t k = 0; k < b->n_late; k++) EBM_TRY(emit_finish(b, b->late[k]));
    bool rest = b->wide && c->fuse && !c->in_lanes && c->device->host_memory;
    EBM_TRY(ebm__buffers_place(b, rest, &range->arena_bytes));
    EBM_TRY(ebm__pool_grow(&c->temp, &c->step, &c->step_capacity, c->n_step + b->n_step,
                           sizeof *c->step));
    if (b->n_step) memcpy(c->step + c->n_step, b->step, (size_t)b->n_step * sizeof *b->step);
    range->first = (int32_t)c->n_step;
    range->end = (int32_t)(c->n_step += b->n_step);
    return EBM_OK;
}
