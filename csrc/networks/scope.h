/* scope.h - where the parameters of a network come from while its graph is built.
 *
 * A network is a specification without arrays: a function that writes graph code and asks its
 * scope for each parameter by name, shape and initialiser.  The same function is run to *list*
 * the parameters (on a scratch graph), and to *use* them: then the scope hands out refs,
 * whatever they are - arrays of a state, their running averages, captured tensors, marks of a
 * derivative. */
#ifndef EBM_NETWORKS_SCOPE_H
#define EBM_NETWORKS_SCOPE_H

#include "graph/graph.h"
#include "program/program.h"

/* A parameter starts as constant + scale * N(0, 1). */
typedef struct ebm_init {
    double constant, scale;
} ebm_init;

typedef struct ebm_param {
    char *name; /* "l0.w" */
    ebm_shape shape;
    ebm_init init;
    bool statistic; /* a running mean of batch norm, say: kept like a parameter, never trained */
} ebm_param;

/* The parameters of a network bound to a shape, in order of their first use. */
typedef struct ebm_params {
    ebm_param *at;
    int64_t n, capacity;
    ebm_dtype dtype;
} ebm_params;

void ebm_params_fini(ebm_params *params);
int64_t ebm_params_count(const ebm_params *params); /* of all their elements */

/* Takes up a parameter in the list; the same name again must have the same shape.  VALUE. */
ebm_status ebm_params_add(ebm_params *params, const char *name, const ebm_shape *shape,
                          ebm_init init);

/* Which statistics a layer normalises with: those that it has kept, or those of the batch. */
typedef enum ebm_statistics { EBM_STATISTICS_RUNNING, EBM_STATISTICS_BATCH } ebm_statistics;

/* The first three alone are evaluation: kept statistics, nothing dropped.  In training the
 * owner of the arrays moves them towards what was seen, and replaces refs of statistics by what
 * another pass has seen to normalise one batch with the statistics of another. */
typedef struct ebm_scope {
    ebm_params *params;
    const ebm_graph *owner; /* of the refs; NULL while the parameters are listed */
    const ebm_ref *refs;    /* one a parameter */
    ebm_statistics statistics;
    ebm_ref *seen; /* NULL, or one a parameter: with BATCH a layer writes the batch's own
                    * statistic, a ref of the graph that it builds, at that of the kept one */
    ebm_ref key;   /* of dropout; 0 or EBM_NONE: nothing is dropped */
} ebm_scope;

/* A parameter in `graph`, which is the owner of the refs or a body inside it. */
ebm_ref ebm_scope_param(const ebm_scope *scope, ebm_graph *graph, const char *name,
                        const ebm_shape *shape, ebm_init init);
/* The same for a statistic: the kept one. */
ebm_ref ebm_scope_statistic(const ebm_scope *scope, ebm_graph *graph, const char *name,
                            const ebm_shape *shape, ebm_init init);
/* Says what the batch's own statistic is, if somebody wants to know. */
void ebm_scope_saw(const ebm_scope *scope, const char *name, ebm_ref statistic);
/* The key of dropout in `graph`; EBM_NONE if nothing is dropped. */
ebm_ref ebm_scope_key(const ebm_scope *scope, ebm_graph *graph);

/* Adds arrays "<prefix>.<name>" for all parameters to the state. */
ebm_status ebm_params_declare(const ebm_params *params, ebm_state *state, const char *prefix);
/* Writes what the stage sees as "<prefix>.<name>" into refs. */
void ebm_params_read(const ebm_params *params, ebm_stage *stage, const char *prefix,
                     ebm_ref *refs);
/* Draws the initial values of "<prefix>.<name>" from a key: parameter k from fold_in(key,
 * k). */
ebm_status ebm_params_draw(const ebm_params *params, ebm_state *state, const char *prefix,
                           const uint32_t key[2]);
/* Copies "<from_prefix>.<name>" of one state over "<to_prefix>.<name>" of another. */
ebm_status ebm_params_copy(const ebm_params *params, ebm_state *to, const char *to_prefix,
                           const ebm_state *from, const char *from_prefix);

/* "<prefix>.<name>" in `text`, and returns it. */
enum { EBM_NAME_SIZE = 128 };
const char *ebm_name_join(char text[EBM_NAME_SIZE], const char *prefix, const char *name);

#endif
