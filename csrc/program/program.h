/* program.h - everything that happens: a short list of steps over the names of a state.
 *
 * PCD, for example:  feed x;  run (draw starts, 60 Langevin steps, write back, update).
 *
 * A *stage* is graph code whose inputs and results are names of the state: read() gives a ref,
 * write() assigns one.  What is written replaces the array in place when the stage has run; the
 * graph itself selects the old value where the new one is not finite, so an update is whole or
 * not at all. */
#ifndef EBM_PROGRAM_PROGRAM_H
#define EBM_PROGRAM_PROGRAM_H

#include "plan/plan.h"
#include "program/state.h"

typedef struct ebm_stage {
    ebm_graph *graph;
    const ebm_state *state;
    struct ebm_stage_write *writes;
    int64_t n_writes, capacity;
} ebm_stage;

/* A stage lives in the caller's storage. */
ebm_status ebm_stage_init(ebm_stage *stage, const ebm_state *state);
void ebm_stage_fini(ebm_stage *stage);
ebm_ref ebm_stage_read(ebm_stage *stage, const char *name); /* NULL name or unknown: poison */
void ebm_stage_write(ebm_stage *stage, const char *name, ebm_ref value); /* the last write counts */
/* The value a later reader sees: what was written so far, else what is in the state. */
ebm_ref ebm_stage_current(ebm_stage *stage, const char *name);

/* Where rows come from: n rows of `row` elements, `row_stride` bytes apart (a memory map is
 * fine), of dtype U8, F32 or F64; fed as F32 or F64 by x * scale + shift.  `data` stays the
 * caller's and must outlive the program. */
typedef struct ebm_rows {
    const void *data;
    int64_t n, row, row_stride;
    ebm_dtype dtype;
    double scale, shift;
} ebm_rows;

typedef struct ebm_program ebm_program;

ebm_status ebm_program_new(ebm_program **out, ebm_state *state); /* borrows the state */
void ebm_program_free(ebm_program *program);                     /* NULL is fine */

/* Adds the stage, compiled.  The stage's error, or the plan's. */
ebm_status ebm_program_add_stage(ebm_program *program, ebm_stage *stage, bool fuse);

/* Adds a feed: before each step, array `batch` (B, ...) gets the rows that step number `step`
 * (i32 scalar in the state) asks for: position step * B + b in a sequence of permutations of
 * the n rows, each keyed by (`key`, epoch), one after the other without a gap.  B may not
 * exceed n. */
ebm_status ebm_program_add_feed(ebm_program *program, const ebm_rows *rows, const char *batch,
                                const char *key, const char *step);
/* Gives the feed of `batch` other rows, under the same conditions. */
ebm_status ebm_program_set_rows(ebm_program *program, const char *batch, const ebm_rows *rows);

/* Runs all steps of the program in order, `n` times.  Between steps it polls; on a stop it
 * returns CANCELLED with the state as the last whole step left it, `*done` telling how many. */
ebm_status ebm_program_run(ebm_program *program, int64_t n, const ebm_poll *poll, int64_t *done);

#endif
