/* join.c - clusters with one program become one kernel.
 *
 * Starting a kernel on a card costs what it does on a million elements, and a training step has the
 * same small kernel for each parameter: the optimiser, the average, the gate, norms.  Clusters whose
 * regions are equal but for their arrays, or that reduce whole arrays in the same way, and that do
 * not wait for each other, become the *parts* of one cluster: the one that keeps its place in line,
 * with the others in a list behind it. */
#include <string.h>

#include "plan/plan_internal.h"

enum {
    LARGE = 1 << 20, /* elements: more are worth a kernel of their own, and their memory soon free */
    MOST_TRIES = 8 /* groups of one program, each waiting for the one before */
};

/* Clusters that are one now, and what they have in common. */
typedef struct group {
    int32_t cluster, n_part, home;
    ebm_op op; /* of a reduction, and the type of what it reads; else EBM_OP_REGION */
    ebm_dtype dtype;
    ebm_region region;
    ebm_instr *instr;
} group;

typedef struct groups {
    group *at;
    int64_t n, capacity;
} groups;

/* ---- who may be a part ------------------------------------------------------------------------- */

/* Every element is the same one of the store. */
static bool is_one_number(const ebm_shape *shape, const ebm__value *value)
{
    for (int32_t i = 0; i < shape->rank; i++)
        if (shape->dim[i] != 1 && value->stride[i] != 0) return false;
    return true;
}

/* A cluster is the reduction of a whole array to a number. */
static bool is_whole_reduction(const ebm__block *b, const ebm__vertex *v)
{
    if (v->kind != EBM__KERNEL || v->n_read != 1) return false;
    ebm_node node = ebm_graph_node(b->graph, v->ref);
    ebm_shape shape = ebm_ref_shape(b->graph, node.in[0]);
    int64_t size = ebm_shape_size(&shape);
    return (node.op == EBM_OP_sum || node.op == EBM_OP_max) && b->store[v->store].size == 1 &&
           size > 0 && size <= LARGE && b->read[v->first_read].store != EBM__CONSTANT;
}

/* The region in b->draft can be a part. */
static bool region_can_be_part(const ebm__block *b, int32_t cluster)
{
    const ebm__region_draft *d = b->draft;
    ebm_shape shape = ebm_ref_shape(b->graph, b->vertex[cluster].ref);
    int64_t size = ebm_shape_size(&shape);
    if (size == 0 || d->region.n_out == 0 || d->region.n_in > EBM_REGIONS_MAX_IN) return false;
    for (int32_t k = 0; k < d->region.n_out && size > LARGE; k++)
        if (b->store[b->vertex[d->out[k]].store].out < 0) return false;
    for (int32_t i = 0; i < d->region.n_in; i++) {
        ebm__value value = ebm__read_value(b, &d->in[i]);
        if (d->in[i].draw) return false;
        if (!is_one_number(&shape, &value) && !ebm__value_is_contiguous(b, d->in[i].ref, &value))
            return false;
    }
    return true;
}

static bool can_be_part(ebm__block *b, int32_t cluster)
{
    const ebm__vertex *v = &b->vertex[cluster];
    if (v->kind != EBM__ELEMENT) return is_whole_reduction(b, v);
    return ebm__region_assemble(b, b->draft, cluster, cluster) && region_can_be_part(b, cluster);
}

static bool same_instr(const ebm_instr *x, const ebm_instr *y)
{
    return x->op == y->op && x->dtype == y->dtype && x->d == y->d && x->a == y->a &&
           x->b == y->b && x->c == y->c;
}

static bool same_program(const ebm__region_draft *d, const group *g)
{
    const ebm_region *x = &d->region, *y = &g->region;
    if (x->n_in != y->n_in || x->n_const != y->n_const || x->n_instr != y->n_instr ||
        x->n_out != y->n_out || x->n_reg != y->n_reg)
        return false;
    if (memcmp(x->reg_dtype, y->reg_dtype, (size_t)x->n_reg) != 0 ||
        memcmp(x->out_reg, y->out_reg, (size_t)x->n_out) != 0 ||
        memcmp(x->constant, y->constant, (size_t)x->n_const * sizeof *x->constant) != 0)
        return false;
    for (int32_t k = 0; k < x->n_instr; k++)
        if (!same_instr(&d->instr[k], &g->instr[k])) return false;
    return true;
}

/* ---- joining ----------------------------------------------------------------------------------- */

/* Cluster z waits for cluster a, perhaps by way of others. */
static bool waits_for(ebm__block *b, int32_t z, int32_t a)
{
    ebm__search_begin(b);
    int64_t n = ebm__search_push_before(b, 0, z);
    while (n > 0) {
        int32_t cluster = b->stack[--n];
        if (cluster == a) return true;
        n = ebm__search_push_before(b, n, cluster);
    }
    return false;
}

static bool has_room(const group *g)
{
    return g->n_part < EBM_REGIONS_MAX_PARTS &&
           (g->n_part + 1) * (g->region.n_in + g->region.n_out) <= EBM_REGIONS_MAX_VIEWS;
}

/* The group that the cluster would be, a region in b->draft. */
static group group_of(const ebm__block *b, int32_t cluster)
{
    const ebm__vertex *v = &b->vertex[cluster];
    group g = {.cluster = cluster, .n_part = 1, .home = v->home, .op = EBM_OP_REGION};
    if (v->kind == EBM__ELEMENT) {
        g.region = b->draft->region;
    } else {
        ebm_node node = ebm_graph_node(b->graph, v->ref);
        g.op = node.op;
        g.dtype = ebm_ref_dtype(b->graph, node.in[0]);
    }
    return g;
}

/* Behind the first part: the order of parts changes nothing. */
static void add_part(ebm__block *b, group *g, int32_t cluster)
{
    ebm__vertex *x = &b->vertex[cluster];
    b->line[x->slot] = -1;
    x->cluster = g->cluster;
    x->next_part = b->vertex[g->cluster].next_part;
    b->vertex[g->cluster].next_part = cluster;
    g->n_part++;
}

static ebm_status add_group(ebm__block *b, groups *all, const group *new)
{
    int32_t n = new->region.n_instr;
    ebm_instr *instr = ebm__pool_alloc(&b->c->temp, n, sizeof *instr);
    if (!instr) return EBM_NOMEM;
    if (n) memcpy(instr, b->draft->instr, (size_t)n * sizeof *instr);
    EBM_TRY(ebm__pool_grow(&b->c->temp, &all->at, &all->capacity, all->n + 1, sizeof *all->at));
    all->at[all->n] = *new;
    all->at[all->n++].instr = instr;
    return EBM_OK;
}

/* The cluster becomes part of a group, or a group of its own. */
static ebm_status join(ebm__block *b, groups *all, int32_t cluster)
{
    group own = group_of(b, cluster);
    int32_t tries = 0;
    for (int64_t k = all->n - 1; k >= 0 && tries < MOST_TRIES; k--) {
        group *g = &all->at[k];
        if (g->home != own.home || g->op != own.op || g->dtype != own.dtype) continue;
        if (own.op == EBM_OP_REGION && !same_program(b->draft, g)) continue;
        tries++;
        if (!has_room(g) || waits_for(b, cluster, g->cluster) ||
            waits_for(b, g->cluster, cluster))
            continue;
        add_part(b, g, cluster);
        return EBM_OK;
    }
    return add_group(b, all, &own);
}

static ebm_status join_all(ebm__block *b, ebm__vertex_kind kind)
{
    groups all = {.n = 0};
    for (int32_t i = 0; i < b->n_vertex; i++) {
        int32_t cluster = b->line[i];
        if (cluster < 0 || b->vertex[cluster].kind != kind) continue;
        if (can_be_part(b, cluster)) EBM_TRY(join(b, &all, cluster));
    }
    return EBM_OK;
}

/* Regions first: a gradient may be a sum, and joined with norms of others it would keep the optimiser
 * from being one kernel. */
ebm_status ebm__block_join(ebm__block *b)
{
    EBM_TRY(join_all(b, EBM__ELEMENT));
    return join_all(b, EBM__KERNEL);
}
