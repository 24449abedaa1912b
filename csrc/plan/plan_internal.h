/* plan_internal.h - what the files of the plan share.
 *
 * A *block* is one graph being compiled: the root, or the body of a repeat.
 *
 *     order.c     which refs are needed, in which order; twins of repeats become one
 *     value.c     a ref becomes a *value*: a strided view of a *store*, or a constant.  What fills a
 *                 store is a *vertex*: one kernel, an elementwise node, a copy, a loop
 *     fuse.c      elementwise vertices are joined to clusters; a cluster becomes one region
 *     schedule.c  clusters get positions; which outputs may be written where an input lies
 *     lean.c      other positions, if less memory is alive then
 *     join.c      clusters of one program become one kernel, where the device has that
 *     emit.c      vertices become kernels and loops, stores get *buffers*
 *     memory.c    buffers get offsets in the arena by their lifetimes
 *     plan.c      all of it frozen into an immutable plan
 *     team.c      which kernels of it may run beside one another;  run.c  runs it
 *
 * A body's block is compiled when its loop is emitted.  Its buffers lie in an arena of its own, which
 * is one buffer of the parent, alive in the position of the loop only.  What is the same in all turns
 * of one loop or of several has its *home* outside: it is emitted, with its buffers, where the
 * outermost of them stands. */
#ifndef EBM_PLAN_PLAN_INTERNAL_H
#define EBM_PLAN_PLAN_INTERNAL_H

#include "plan/plan.h"

/* ---- memory of the compiler -------------------------------------------------------------------- */

/* Blocks of memory that are freed together. */
typedef struct ebm__pool {
    struct ebm__pool_chunk *chunk;
} ebm__pool;

void *ebm__pool_alloc(ebm__pool *pool, int64_t count, size_t size); /* zeroed; NULL on NOMEM */
void ebm__pool_free(ebm__pool *pool);
/* As ebm__grow, for an array in the pool; the old place is wasted. */
ebm_status ebm__pool_grow(ebm__pool *pool, void *array_pointer, int64_t *capacity, int64_t need,
                          size_t size);

/* ---- the plan ---------------------------------------------------------------------------------- */

/* Base pointers are numbered: 0 the arena, then inputs, outputs, and the cursors of loops. */
typedef struct ebm__spot {
    int32_t base;
    int64_t offset; /* bytes */
} ebm__spot;

typedef struct ebm__kernel {
    ebm_kernel_args args; /* in, out and scratch are filled in by a workspace */
    int32_t first_view;   /* of n_in + n_out views */
    ebm__spot scratch;    /* base -1: none */
} ebm__kernel;

/* A pointer that moves along a stacked array, one row a step. */
typedef struct ebm__cursor {
    ebm__spot origin;
    int64_t row; /* bytes */
} ebm__cursor;

/* Steps are numbers of kernels, or ~number of a loop.  Turns that carry nothing on may run in
 * *lanes*, beside one another: each lane has an arena of its own for the body, whose base is
 * `lane`, and a thread takes one turn after another through a lane. */
typedef struct ebm__loop {
    int64_t n;
    bool reverse;
    int32_t lane;       /* 0: one turn after another */
    int32_t first, end; /* steps of a turn */
    int32_t first_cursor, n_cursor;
} ebm__loop;

/* Kernels, steps first .. end-1, that threads run beside one another: each as soon as those it waits
 * for are done. */
typedef struct ebm__team {
    int32_t first, end;
} ebm__team;

typedef struct ebm__port { /* an input or output */
    ebm_dtype dtype;
    ebm_shape shape;
    bool used;
    ebm_tensor *tensor; /* captured; owned */
    int32_t alias;      /* of an output: the input it overwrites, or -1 */
} ebm__port;

/* The view whose data pointer is base + offset; sorted by base. */
typedef struct ebm__patch {
    int32_t view;
    int64_t offset;
} ebm__patch;

struct ebm_plan {
    int64_t owners; /* atomic */
    const ebm_device *device;
    ebm__pool pool;
    int32_t n_in, n_out, n_base, n_cursor, n_kernel, n_view, n_loop;
    ebm__port *in, *out;
    ebm__kernel *kernel;
    ebm_view *view;
    ebm__patch *patch;
    int32_t *first_patch; /* n_base + 1 */
    ebm__cursor *cursor;
    ebm__loop *loop;
    int32_t *step;
    int32_t first_step, end_step; /* of the root */
    int32_t n_step, n_team;
    ebm__team *team;
    int32_t *team_at;     /* by step: number of the team that begins there plus 1, or 0 */
    int32_t *n_before;    /* by step: those of its team that it waits for, */
    int32_t *first_after; /* n_step + 1; and where those that wait for it begin in */
    int32_t *after;
    int64_t kernels_a_run;
    size_t arena_bytes;
    size_t lane_bytes; /* of the largest loop with lanes */
    int64_t lane_turns;
};

/* ---- the compiler ------------------------------------------------------------------------------ */

/* A piece of memory.  One with a base of its own (inputs, outputs, cursors) needs no offset; the
 * others are placed in the arena of their block, where they live from its step first to last. */
typedef struct ebm__buffer {
    int32_t base; /* 0: in the arena */
    int32_t block, first, last;
    int64_t bytes, offset;
} ebm__buffer;

typedef struct ebm__place {
    int32_t buffer;
    int64_t offset; /* bytes */
} ebm__place;

typedef struct ebm__draft_kernel {
    ebm_kernel_args args;
    int32_t first_view;
    int32_t scratch; /* a buffer, or -1 */
} ebm__draft_kernel;

typedef struct ebm__draft_cursor {
    ebm__place origin;
    int64_t row;
} ebm__draft_cursor;

typedef struct ebm__compiler {
    const ebm_device *device;
    bool fuse, eager;
    ebm__pool *keep; /* the plan's */
    ebm__pool temp;
    int32_t n_external; /* bases of inputs and outputs, and the arena's */
    ebm__buffer *buffer;
    int64_t n_buffer, buffer_capacity;
    int32_t *block_buffer; /* where the arena of each block lies in its parent; -1: in none */
    int32_t *block_base;   /* the base of an arena that lies in none */
    int64_t n_block, block_capacity, block_base_capacity;
    bool in_lanes; /* compiling the body of a loop with lanes */
    int64_t lane_bytes, lane_turns;
    ebm__draft_kernel *kernel;
    int64_t n_kernel, kernel_capacity;
    ebm_view *view;
    int64_t n_view, view_capacity;
    ebm__place *view_place;
    int64_t view_place_capacity;
    ebm__draft_cursor *cursor;
    int64_t n_cursor, cursor_capacity;
    ebm__loop *loop;
    int64_t n_loop, loop_capacity;
    int32_t *step;
    int64_t n_step, step_capacity;
} ebm__compiler;

/* A new buffer, in `*out`. */
ebm_status ebm__buffer_add(ebm__compiler *c, int32_t *out, const ebm__buffer *buffer);
/* A cursor and the buffer that follows it. */
ebm_status ebm__cursor_add(ebm__compiler *c, int32_t *buffer, ebm__place origin, int64_t row);

/* ---- what is needed (order.c) ------------------------------------------------------------------ */

typedef struct ebm__repeat {
    ebm_ref ref;
    ebm_body body;
    bool *item;    /* carries, ys: whether it is computed */
    bool *in;      /* inputs of the body (i, carries, xs, captured): whether it is read */
    int32_t store; /* of item 0; the others follow */
} ebm__repeat;

typedef struct ebm__needs {
    ebm__pool *pool;
    const ebm_graph *graph;
    int32_t count;
    bool *live;
    ebm_ref *twin; /* of a repeat: the one that runs in its place, or EBM_POISON */
    ebm__repeat *repeat;
    int64_t n_repeat, repeat_capacity;
    int32_t *repeat_at; /* by ref: number in `repeat` plus 1 */
    ebm_ref *order;     /* live refs, inputs before users */
    int32_t n_order;
    ebm_ref *stack;
    int64_t n_stack, stack_capacity;
} ebm__needs;

/* Marks and orders what `outs` need.  `join`: repeats with a live twin give way to it. */
ebm_status ebm__needs_find(ebm__needs *needs, ebm__pool *pool, const ebm_graph *graph,
                           const ebm_ref *outs, int32_t n_out, bool join);
/* The repeat and number of the result that an item node stands for, twins followed. */
ebm__repeat *ebm__needs_item(const ebm__needs *needs, const ebm_node *item, int32_t *k);

/* ---- a block ----------------------------------------------------------------------------------- */

enum { EBM__CONSTANT = -1, EBM__FOREVER = INT32_MAX };

typedef struct ebm__block ebm__block;

typedef struct ebm__value {
    int32_t store;                        /* EBM__CONSTANT: every element is `number` */
    int64_t offset, stride[EBM_MAX_RANK]; /* in elements of the store */
    double number;
} ebm__value;

typedef struct ebm__store {
    int32_t vertex; /* what fills it; -1: an input of the block */
    ebm_dtype dtype;
    int64_t size; /* elements */
    ebm__place place;
    int32_t out;  /* the output that is written here at once; -1: none */
    int32_t last; /* position of its last read; EBM__FOREVER: read at the end */
    bool kept;    /* read by an output */
    bool packed;  /* an operand as EBM_OP_PACK leaves it */
    int32_t first_reader, n_reader;
} ebm__store;

static inline int64_t ebm__store_bytes(const ebm__store *store)
{
    return store->size * (int64_t)ebm_dtype_size(store->dtype);
}

typedef enum ebm__vertex_kind {
    EBM__KERNEL,  /* a node with a kernel of its own */
    EBM__ELEMENT, /* an elementwise node, part of a region */
    EBM__COPY,    /* a value made contiguous */
    EBM__PACK,    /* the right operand of the product `ref`, laid out */
    EBM__LOOP,    /* a repeat */
    EBM__FINISH,  /* a value copied to an output */
} ebm__vertex_kind;

typedef struct ebm__read {
    ebm_ref ref;   /* EBM_POISON: an operand that is not needed */
    int32_t store; /* where it is read: that of its value, or its contiguous copy */
    ebm_ref draw;  /* what the reader draws with this key itself; EBM_POISON: nothing */
} ebm__read;

typedef struct ebm__vertex {
    ebm__vertex_kind kind;
    ebm_ref ref;
    int32_t store; /* the first it fills; -1 for a finish */
    int32_t out;   /* of a finish */
    int32_t home;  /* the depth of the block it runs in: its own, or that of one around it */
    int32_t first_read, n_read;
    /* The cluster: members are a list from its head in the order of vertices. */
    int32_t cluster, next, n_member;
    int32_t next_part; /* the head of another cluster that is one with this, or -1: join.c */
    int32_t slot;      /* of the cluster in block->line */
    int32_t after;     /* list of vertices that must come before it for an output's sake */
    int32_t position;  /* of the cluster; -1: not yet */
    uint32_t mark;
} ebm__vertex;

typedef struct ebm__after {
    int32_t vertex, next;
} ebm__after;

enum { EBM__PRODUCT_ATTRS = 12 }; /* of a product, at most, and one more */
enum { EBM__REGION_INPUTS = 24, EBM__REGION_MEMBERS = 200 };

typedef struct ebm__region_draft {
    ebm_region region; /* without instr */
    ebm_instr instr[EBM__REGION_MEMBERS];
    ebm__read in[EBM__REGION_INPUTS];
    ebm_draw draw[EBM__REGION_INPUTS];
    int32_t out[EBM_REGION_MAX_OUT];     /* vertices */
    int32_t member[EBM__REGION_MEMBERS]; /* vertices, in order */
    int32_t n_member;
} ebm__region_draft;

/* Where an output goes, and which input's buffer that is (-1: none). */
typedef struct ebm__target {
    int32_t buffer, input;
} ebm__target;

/* What an input of a block is. */
typedef struct ebm__binding {
    bool constant;
    int32_t home; /* as of a vertex */
    double number;
    ebm__place place;
    int64_t stride[EBM_MAX_RANK];
} ebm__binding;

struct ebm__block {
    ebm__compiler *c;
    const ebm_graph *graph;
    int32_t id, depth;  /* how many loops of many turns are around it */
    ebm__block *parent; /* where its loop stands; NULL: it is the root */
    const ebm_ref *outs;
    const ebm__target *target;
    int32_t n_out;
    const ebm__binding *input;

    ebm__needs needs;
    ebm__value *value; /* by ref */
    int32_t *copy;     /* by ref: its contiguous store plus 1 */
    int32_t *home;     /* by ref: as of a vertex */
    ebm_ref *same;     /* by ref: the first one with the same value */
    ebm_ref *table;    /* n_table places, by the hash of a node: refs, or 0 */
    int64_t n_table;
    int32_t *input_store; /* by number of input: its store plus 1 */
    int32_t *n_product;   /* by ref and way of reading it as a right operand: products; */
    int32_t *packed;      /* the vertex that laid it out last, plus 1 */
    ebm__store *store;
    int64_t n_store, store_capacity;
    ebm__vertex *vertex;
    int64_t n_vertex, vertex_capacity;
    ebm__read *read;
    int64_t n_read, read_capacity;
    int32_t *reader; /* vertices by store */
    ebm__after *after;
    int64_t n_after, after_capacity;
    int32_t *stack; /* for searches: n_vertex places */
    uint32_t mark;
    int32_t *line;     /* clusters, what they read before them; -1: none any more */
    int32_t *sequence; /* clusters by position */
    int32_t n_sequence;
    bool wide;     /* many clusters do not wait for each other */
    int32_t *late; /* outputs copied after everything else */
    int32_t n_late;
    ebm__block *to;   /* the block that gets what is emitted: this one, or one around it */
    int32_t position; /* what is emitted */
    int32_t *step;
    int64_t n_step, step_capacity;
    ebm__region_draft *draft;
};

/* Compiles a block whose upper fields (to `input`) are set.  Steps and the size of the arena go to
 * `*range`. */
typedef struct ebm__range {
    int32_t first, end;
    int64_t arena_bytes;
} ebm__range;
ebm_status ebm__block_compile(ebm__block *block, ebm__range *range);
ebm_status ebm__block_add(ebm__compiler *c, int32_t *id); /* a number for a block */

/* value.c */
ebm_status ebm__block_values(ebm__block *block);
void ebm__block_list_readers(ebm__block *block); /* who reads each store */
/* A view as a kernel will see it, without its data pointer, and the place of its first element. */
typedef struct ebm__operand {
    ebm_view view;
    ebm__place place;
} ebm__operand;
ebm__value ebm__read_value(const ebm__block *block, const ebm__read *read);
/* The operand of a value that is not constant, whose store has its place. */
ebm__operand ebm__operand_of(const ebm__block *block, ebm_ref ref, const ebm__value *value);
/* Its elements lie in order, and without gaps. */
bool ebm__value_is_contiguous(const ebm__block *block, ebm_ref ref, const ebm__value *value);
/* The value covers its store, every element in order. */
bool ebm__value_is_whole(const ebm__block *block, ebm_ref ref, const ebm__value *value);

/* fuse.c */
ebm_status ebm__block_fuse(ebm__block *block);
int32_t ebm__block_cluster(ebm__block *block, int32_t vertex); /* the cluster's first vertex */
/* A search backwards, on block->stack, each cluster once: begin, then push; both return the new n. */
void ebm__search_begin(ebm__block *block);
int64_t ebm__search_push(ebm__block *block, int64_t n, int32_t cluster);
int64_t ebm__search_push_before(ebm__block *block, int64_t n, int32_t cluster);

/* The region that clusters a and b (or a == b) make together; false if it breaks a limit. */
bool ebm__region_assemble(ebm__block *block, ebm__region_draft *draft, int32_t a, int32_t b);

/* The number of a vertex among the members, or -1. */
int32_t ebm__region_member(const ebm__region_draft *draft, int32_t vertex);

/* rows.c: a loop over rows that do not talk to each other as a loop over blocks of rows around it, if
 * that can be done and pays: a body of one turn with the same inputs (xs as captured ones) and
 * results, in a graph of its own (NULL if not), which the caller frees.  `eager`: also if it does not
 * pay. */
typedef struct ebm__rows {
    ebm_graph *graph;
    ebm_body body;
} ebm__rows;
ebm_status ebm__rows_cut(ebm__rows *out, ebm__pool *pool, const ebm__repeat *r, bool eager);

/* plan.c: where a place is when all buffers have theirs. */
ebm__spot ebm__spot_of(const ebm__compiler *c, ebm__place place);

/* team.c: the teams of a plan that is complete but for them. */
ebm_status ebm__teams_find(ebm_plan *plan, ebm__compiler *c);

/* schedule.c */
ebm_status ebm__block_schedule(ebm__block *block);
/* Gives the clusters other positions, if less memory is alive then. */
ebm_status ebm__block_lean(ebm__block *block);

/* join.c: when it is settled what must come before what, and before clusters have positions. */
ebm_status ebm__block_join(ebm__block *block);

/* Gives every buffer of a block, all of whose steps are there, its offset; `*bytes` is the size of the
 * block's arena.  Small ones rest before others have their places if kernels may run beside one
 * another. */
ebm_status ebm__buffers_place(ebm__block *block, bool rest, int64_t *bytes);

#endif
