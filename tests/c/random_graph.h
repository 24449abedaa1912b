/* random_graph.h - random programs, the same for the same seed.
 *
 * Elementwise rows of ops.def are drawn by their arity; an op with structure has a maker of its
 * own in random_graph.c.  Loops and derivatives, to the third order and in any mode, are made
 * anywhere, in bodies too. */
#ifndef EBM_TESTS_RANDOM_GRAPH_H
#define EBM_TESTS_RANDOM_GRAPH_H

#include "plan_check.h"

typedef struct random_options {
    uint64_t seed;
    int32_t steps; /* at most so many values are made: for shrinking */
    bool tame;     /* floats are f64, of moderate size, inside the domains of the functions */
    bool smooth;   /* tame, and without kinks: differences converge */
} random_options;

typedef struct random_program {
    ebm_graph *g;
    int32_t n_in, n_out;
    void *in[MAX_PORTS]; /* owned */
    ebm_ref out[MAX_PORTS];
    int32_t alias[MAX_PORTS]; /* as a plan takes it */
    int32_t order;            /* of the highest derivative in it */
} random_program;

void random_program_make(random_program *program, const random_options *options);
void random_program_free(random_program *program);

/* Fresh numbers: floats in [-2, 2), small integers.  The caller owns them: ebm__free. */
void *random_data(uint64_t *seed, ebm_dtype dtype, const ebm_shape *shape);

#endif
