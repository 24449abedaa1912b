/* fuse.c - elementwise vertices become clusters, and a cluster a region.
 *
 * A vertex joins the cluster of what it reads, later the clusters beside it that read the same large
 * array, as long as the graph of clusters stays without circles and the region keeps its limits.  At
 * last clusters draw their random numbers themselves, where the device can. */
#include <string.h>

#include "plan/plan_internal.h"

/* ---- searches ---------------------------------------------------------------------------------- */

int32_t ebm__block_cluster(ebm__block *b, int32_t v)
{
    while (b->vertex[v].cluster != v) {
        b->vertex[v].cluster = b->vertex[b->vertex[v].cluster].cluster;
        v = b->vertex[v].cluster;
    }
    return v;
}

void ebm__search_begin(ebm__block *b)
{
    b->mark++;
}

int64_t ebm__search_push(ebm__block *b, int64_t n, int32_t cluster)
{
    if (b->vertex[cluster].mark == b->mark) return n;
    b->vertex[cluster].mark = b->mark;
    b->stack[n] = cluster;
    return n + 1;
}

int64_t ebm__search_push_before(ebm__block *b, int64_t n, int32_t cluster)
{
    for (int32_t part = cluster; part >= 0; part = b->vertex[part].next_part) {
        for (int32_t v = part; v >= 0; v = b->vertex[v].next)
            for (int32_t i = 0; i < b->vertex[v].n_read; i++) {
                int32_t store = b->read[b->vertex[v].first_read + i].store;
                if (store == EBM__CONSTANT || b->store[store].vertex < 0) continue;
                int32_t before = ebm__block_cluster(b, b->store[store].vertex);
                if (before != cluster) n = ebm__search_push(b, n, before);
            }
        for (int32_t k = b->vertex[part].after; k >= 0; k = b->after[k].next)
            n = ebm__search_push(b, n, ebm__block_cluster(b, b->after[k].vertex));
    }
    return n;
}

/* ---- regions ----------------------------------------------------------------------------------- */

/* What an operand of a member is, before registers have numbers. */
typedef enum source_kind { FROM_INPUT, FROM_CONSTANT, FROM_MEMBER } source_kind;
typedef struct source {
    source_kind kind;
    int32_t index;
} source;

typedef struct assembly {
    ebm__block *b;
    ebm__region_draft *d;
    source from[EBM__REGION_MEMBERS][3];
    int32_t last_use[EBM__REGION_MEMBERS]; /* the member that reads it last; INT32_MAX: an output */
    uint8_t reg[EBM__REGION_MEMBERS];
    uint8_t spare[EBM_DTYPE_COUNT][EBM_REGION_MAX_REG];
    int32_t n_spare[EBM_DTYPE_COUNT];
} assembly;

/* Both lists of members in one, ascending; false if there are too many. */
static bool gather(const ebm__block *b, ebm__region_draft *d, int32_t x, int32_t y)
{
    d->n_member = 0;
    if (x == y) y = -1;
    while (x >= 0 || y >= 0) {
        bool take_x = y < 0 || (x >= 0 && x < y);
        if (d->n_member == EBM__REGION_MEMBERS) return false;
        d->member[d->n_member++] = take_x ? x : y;
        if (take_x)
            x = b->vertex[x].next;
        else
            y = b->vertex[y].next;
    }
    return true;
}

int32_t ebm__region_member(const ebm__region_draft *d, int32_t vertex)
{
    int32_t low = 0, high = d->n_member;
    while (low < high) {
        int32_t middle = (low + high) / 2;
        if (d->member[middle] < vertex)
            low = middle + 1;
        else
            high = middle;
    }
    return low < d->n_member && d->member[low] == vertex ? low : -1;
}

static int32_t find_constant(ebm__region_draft *d, ebm_dtype dtype, double number)
{
    ebm_region *r = &d->region;
    int32_t k = 0;
    while (k < r->n_const &&
           (r->reg_dtype[k] != dtype || memcmp(&r->constant[k], &number, sizeof number) != 0))
        k++;
    if (k == r->n_const) {
        if (k == EBM_REGION_MAX_REG) return -1;
        r->reg_dtype[k] = (uint8_t)dtype; /* of constant k for now, of register n_in + k at last */
        r->constant[k] = number;
        r->n_const++;
    }
    return k;
}

static int32_t find_input(ebm__block *b, ebm__region_draft *d, const ebm__read *read)
{
    ebm__value value = ebm__read_value(b, read);
    int32_t rank = ebm_ref_shape(b->graph, read->ref).rank, k = 0;
    for (; k < d->region.n_in; k++) {
        ebm__value other = ebm__read_value(b, &d->in[k]);
        if (other.store == value.store && other.offset == value.offset &&
            d->in[k].draw == read->draw &&
            (rank == 0 ||
             memcmp(other.stride, value.stride, (size_t)rank * sizeof value.stride[0]) == 0))
            return k;
    }
    if (k == EBM__REGION_INPUTS) return -1;
    d->in[k] = *read;
    d->region.n_in++;
    return k;
}

static bool find_sources(assembly *s)
{
    ebm__block *b = s->b;
    ebm__region_draft *d = s->d;
    for (int32_t m = 0; m < d->n_member; m++) {
        const ebm__vertex *v = &b->vertex[d->member[m]];
        for (int32_t i = 0; i < v->n_read; i++) {
            const ebm__read *read = &b->read[v->first_read + i];
            source *from = &s->from[m][i];
            if (read->store == EBM__CONSTANT) {
                double number = b->value[read->ref].number;
                *from = (source){FROM_CONSTANT,
                                 find_constant(d, ebm_ref_dtype(b->graph, read->ref), number)};
            } else if (read->draw) {
                *from = (source){FROM_INPUT, find_input(b, d, read)};
            } else if ((from->index = ebm__region_member(d, b->store[read->store].vertex)) >= 0) {
                ebm__value value = ebm__read_value(b, read);
                if (!ebm__value_is_whole(b, read->ref, &value)) return false;
                from->kind = FROM_MEMBER;
                s->last_use[from->index] = m;
            } else {
                *from = (source){FROM_INPUT, find_input(b, d, read)};
            }
            if (from->index < 0) return false;
        }
    }
    return true;
}

static bool is_read_outside(ebm__block *b, const ebm__region_draft *d, const ebm__store *store)
{
    if (store->kept || store->out >= 0) return true;
    for (int32_t i = 0; i < store->n_reader; i++)
        if (ebm__region_member(d, b->reader[store->first_reader + i]) < 0) return true;
    return false;
}

static bool find_outputs(assembly *s)
{
    ebm__region_draft *d = s->d;
    for (int32_t m = 0; m < d->n_member; m++) {
        const ebm__vertex *v = &s->b->vertex[d->member[m]];
        if (!is_read_outside(s->b, d, &s->b->store[v->store])) continue;
        if (d->region.n_out == EBM_REGION_MAX_OUT) return false;
        d->out[d->region.n_out++] = d->member[m];
        s->last_use[m] = INT32_MAX;
    }
    return true;
}

/* A register for member m.  Outputs have one of their own, the others take what is free. */
static bool take_register(assembly *s, int32_t m, ebm_dtype dtype)
{
    ebm_region *r = &s->d->region;
    if (s->last_use[m] != INT32_MAX && s->n_spare[dtype] > 0) {
        s->reg[m] = s->spare[dtype][--s->n_spare[dtype]];
        return true;
    }
    if (r->n_reg == EBM_REGION_MAX_REG) return false;
    r->reg_dtype[r->n_reg] = (uint8_t)dtype;
    s->reg[m] = (uint8_t)r->n_reg++;
    return true;
}

static uint8_t register_of(const assembly *s, const source *from)
{
    if (from->kind == FROM_MEMBER) return s->reg[from->index];
    return (uint8_t)(from->kind == FROM_INPUT ? from->index : s->d->region.n_in + from->index);
}

/* One instruction a member.  A result never takes the register of an operand of its own. */
static bool write_instructions(assembly *s)
{
    ebm__block *b = s->b;
    ebm__region_draft *d = s->d;
    for (int32_t m = 0; m < d->n_member; m++) {
        const ebm__vertex *v = &b->vertex[d->member[m]];
        ebm_node node = ebm_graph_node(b->graph, v->ref);
        if (!take_register(s, m, node.dtype)) return false;
        ebm_instr *instr = &d->instr[m];
        *instr = (ebm_instr){.op = (uint16_t)node.op, .d = s->reg[m]};
        instr->dtype = (uint8_t)ebm_ref_dtype(b->graph, node.in[node.n_in - 1]);
        uint8_t *operand[3] = {&instr->a, &instr->b, &instr->c};
        for (int32_t i = 0; i < 3; i++)
            *operand[i] = i < v->n_read ? register_of(s, &s->from[m][i]) : instr->a;
        for (int32_t i = 0; i < v->n_read; i++) {
            const source *from = &s->from[m][i];
            if (from->kind != FROM_MEMBER || s->last_use[from->index] != m) continue;
            ebm_dtype dtype = s->b->store[b->vertex[d->member[from->index]].store].dtype;
            s->spare[dtype][s->n_spare[dtype]++] = s->reg[from->index];
            s->last_use[from->index] = -1; /* given back once, also if it is read twice here */
        }
    }
    return true;
}

/* What an input of a region draws with a key. */
static ebm_draw describe_draw(const ebm__block *b, ebm_ref ref, ebm_ref key)
{
    ebm_node node = ebm_graph_node(b->graph, ref);
    bool real = node.op == EBM_OP_normal || node.op == EBM_OP_uniform;
    bool rows = ebm_ref_shape(b->graph, key).dim[0] == 3 && node.shape.dim[0] > 0;
    return (ebm_draw){.op = node.op,
                      .purpose = (uint32_t)node.attr[real],
                      .row = rows ? ebm_shape_size(&node.shape) / node.shape.dim[0] : 0,
                      .range = node.op == EBM_OP_randint ? node.attr[1] : 0};
}

bool ebm__region_assemble(ebm__block *b, ebm__region_draft *d, int32_t x, int32_t y)
{
    assembly s = {.b = b, .d = d};
    d->region = (ebm_region){.n_in = 0};
    if (!gather(b, d, x, y)) return false;
    if (!find_sources(&s) || !find_outputs(&s)) return false;
    ebm_region *r = &d->region;
    r->n_reg = r->n_in + r->n_const;
    if (r->n_reg > EBM_REGION_MAX_REG) return false;
    memmove(r->reg_dtype + r->n_in, r->reg_dtype, (size_t)r->n_const);
    for (int32_t k = 0; k < r->n_in; k++) {
        ebm_ref drawn = d->in[k].draw;
        r->reg_dtype[k] = (uint8_t)ebm_ref_dtype(b->graph, drawn ? drawn : d->in[k].ref);
        d->draw[k] = (ebm_draw){.op = 0};
        if (!drawn) continue;
        d->draw[k] = describe_draw(b, drawn, d->in[k].ref);
        r->draw = d->draw;
    }
    if (!write_instructions(&s)) return false;
    r->n_instr = d->n_member;
    for (int32_t k = 0; k < r->n_out; k++)
        r->out_reg[k] = s.reg[ebm__region_member(d, d->out[k])];
    return true;
}

/* ---- clusters ---------------------------------------------------------------------------------- */

static bool same_space(const ebm__block *b, const ebm__vertex *x, const ebm__vertex *y)
{
    ebm_shape a = ebm_ref_shape(b->graph, x->ref), z = ebm_ref_shape(b->graph, y->ref);
    return x->kind == EBM__ELEMENT && y->kind == EBM__ELEMENT && x->home == y->home &&
           ebm_shape_equal(&a, &z);
}

/* True if something hangs on cluster a and is needed by z, which stands later in line.  Marks what z
 * needs of the clusters between them (`*n_between` of them): nothing else can be on the way. */
static bool is_between(ebm__block *b, int32_t a, int32_t z, int32_t *n_between)
{
    int32_t slot = b->vertex[a].slot;
    ebm__search_begin(b);
    int64_t n = ebm__search_push_before(b, 0, z);
    bool direct = b->vertex[a].mark == b->mark;
    b->vertex[a].mark = b->mark - 1;
    for (int64_t i = 0; direct && i < n; i++)
        if (b->stack[i] == a) b->stack[i] = b->stack[--n];
    *n_between = 0;
    while (n > 0) {
        int32_t cluster = b->stack[--n];
        if (cluster == a) return true;
        if (b->vertex[cluster].slot < slot) continue;
        n = ebm__search_push_before(b, n, cluster);
        ++*n_between;
    }
    return false;
}

static void stand(ebm__block *b, int32_t *slot, int32_t cluster)
{
    b->line[*slot] = cluster;
    b->vertex[cluster].slot = (*slot)++;
}

/* Between a and z in line, what is marked moves before `joint`, the cluster of both, the rest behind. */
static void close_ranks(ebm__block *b, int32_t a, int32_t z, int32_t joint, int32_t *room)
{
    int32_t first = b->vertex[a].slot, last = b->vertex[z].slot, slot = first, behind = 0;
    for (int32_t i = first + 1; i < last; i++) {
        int32_t cluster = b->line[i];
        if (cluster >= 0 && b->vertex[cluster].mark == b->mark)
            stand(b, &slot, cluster);
        else if (cluster >= 0)
            room[behind++] = cluster;
    }
    stand(b, &slot, joint);
    for (int32_t i = 0; i < behind; i++) stand(b, &slot, room[i]);
    while (slot <= last) b->line[slot++] = -1;
}

/* The members of `d`, in order, become the one cluster of a and z. */
static void unite(ebm__block *b, const ebm__region_draft *d, int32_t a, int32_t z,
                  int32_t n_between)
{
    int32_t head = a < z ? a : z, slot = b->vertex[a].slot;
    if (n_between > 0) {
        close_ranks(b, a, z, head, b->stack);
    } else {
        b->line[b->vertex[z].slot] = -1;
        stand(b, &slot, head);
    }
    b->vertex[a < z ? z : a].cluster = head;
    b->vertex[head].n_member = d->n_member;
    for (int32_t m = 0; m < d->n_member; m++)
        b->vertex[d->member[m]].next = m + 1 < d->n_member ? d->member[m + 1] : -1;
}

static void try_unite(ebm__block *b, int32_t u, int32_t v)
{
    int32_t a = ebm__block_cluster(b, u), z = ebm__block_cluster(b, v);
    if (a == z || !same_space(b, &b->vertex[u], &b->vertex[v])) return;
    if (b->vertex[a].n_member + b->vertex[z].n_member > EBM__REGION_MEMBERS) return;
    if (b->vertex[a].slot > b->vertex[z].slot) {
        int32_t swap = a;
        a = z;
        z = swap;
    }
    int32_t n_between;
    if (!ebm__region_assemble(b, b->draft, a, z) || is_between(b, a, z, &n_between)) return;
    unite(b, b->draft, a, z, n_between);
}

enum { NEAR = 64 };

/* Clusters that read the same array of their own size, and are near each other. */
static void unite_siblings(ebm__block *b, const ebm__store *store)
{
    int32_t before = -1;
    for (int32_t i = 0; i < store->n_reader; i++) {
        int32_t v = b->reader[store->first_reader + i];
        if (b->vertex[v].kind != EBM__ELEMENT) continue;
        if (b->store[b->vertex[v].store].size != store->size) continue;
        if (before >= 0 && v - before <= NEAR) try_unite(b, before, v);
        before = v;
    }
}

/* ---- draws in clusters -------------------------------------------------------------------------- */

/* Vertex v is a draw whose readers can make it themselves, element by element.  They may be two, who
 * then both make it: that is less than to write it and read it twice. */
static bool is_drawn_inside(ebm__block *b, const ebm__vertex *v)
{
    const ebm__store *store = v->store >= 0 ? &b->store[v->store] : NULL;
    if (v->kind != EBM__KERNEL || store->kept || store->out >= 0) return false;
    ebm_op op = ebm_graph_node(b->graph, v->ref).op;
    if (ebm_op_get(op)->family != EBM_FAMILY_RANDOM || op == EBM_OP_fold_in) return false;
    int32_t first = -1, second = -1;
    for (int32_t i = 0; i < store->n_reader; i++) {
        const ebm__vertex *reader = &b->vertex[b->reader[store->first_reader + i]];
        int32_t cluster = ebm__block_cluster(b, b->reader[store->first_reader + i]);
        if (reader->kind != EBM__ELEMENT || reader->home != v->home) return false;
        if (first < 0) first = cluster;
        if (cluster != first && second < 0) second = cluster;
        if (cluster != first && cluster != second) return false;
        for (int32_t k = 0; k < reader->n_read; k++) {
            const ebm__read *read = &b->read[reader->first_read + k];
            if (read->store != v->store) continue;
            ebm__value value = ebm__read_value(b, read);
            if (!ebm__value_is_whole(b, read->ref, &value)) return false;
        }
    }
    return first >= 0;
}

/* The readers of the draw read its key, and the draw has no kernel any more. */
static void draw_inside(ebm__block *b, ebm__vertex *v)
{
    const ebm__store *store = &b->store[v->store];
    ebm__read key = b->read[v->first_read];
    key.draw = v->ref;
    for (int32_t i = 0; i < store->n_reader; i++) {
        const ebm__vertex *reader = &b->vertex[b->reader[store->first_reader + i]];
        for (int32_t k = 0; k < reader->n_read; k++)
            if (b->read[reader->first_read + k].store == v->store)
                b->read[reader->first_read + k] = key;
    }
    v->n_read = 0;
    b->line[v->slot] = -1;
}

static void draw_in_clusters(ebm__block *b)
{
    for (int32_t i = 0; i < b->n_vertex; i++)
        if (is_drawn_inside(b, &b->vertex[i])) draw_inside(b, &b->vertex[i]);
    ebm__block_list_readers(b);
}

ebm_status ebm__block_fuse(ebm__block *b)
{
    b->draft = ebm__pool_alloc(&b->c->temp, 1, sizeof *b->draft);
    b->line = ebm__pool_alloc(&b->c->temp, b->n_vertex, sizeof *b->line);
    if (!b->draft || !b->line) return EBM_NOMEM;
    for (int32_t v = 0; v < b->n_vertex; v++) {
        ebm__vertex *x = &b->vertex[v];
        x->cluster = x->slot = b->line[v] = v;
        x->next = x->next_part = x->after = x->position = -1;
        x->n_member = 1;
    }
    if (!b->c->fuse) return EBM_OK;
    for (int32_t v = 0; v < b->n_vertex; v++)
        for (int32_t i = 0; i < b->vertex[v].n_read; i++) {
            int32_t store = b->read[b->vertex[v].first_read + i].store;
            if (store != EBM__CONSTANT && b->store[store].vertex >= 0)
                try_unite(b, b->store[store].vertex, v);
        }
    for (int64_t s = 0; s < b->n_store; s++) unite_siblings(b, &b->store[s]);
    if (b->c->device->draws_in_regions) draw_in_clusters(b);
    return EBM_OK;
}
