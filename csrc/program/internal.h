/* internal.h - what the files of program/ share. */
#ifndef EBM_PROGRAM_INTERNAL_H
#define EBM_PROGRAM_INTERNAL_H

#include "program/program.h"

struct ebm_stage_write {
    ebm_tensor *tensor; /* retained */
    ebm_ref value;
};

/* One feed: see ebm_program_add_feed. */
typedef struct ebm_feed {
    ebm_rows rows;
    ebm_tensor *batch, *key, *step; /* retained */
    ebm_workspace *draw_words;      /* the random words of an epoch: key, epoch -> words (n,) */
    uint32_t *words;
    int32_t *order; /* the permutation of `epoch` under `order_key` */
    uint32_t order_key[2];
    int64_t epoch; /* -1: none yet */
    void *staging; /* a batch in host memory, where the device's is not: then also */
    uint32_t key_now[2];
    int32_t step_now; /* -1: not known */
} ebm_feed;

ebm_status ebm__feed_new(ebm_feed **out, const ebm_rows *rows, ebm_tensor *batch,
                         ebm_tensor *key, ebm_tensor *step);
void ebm__feed_free(ebm_feed *feed); /* NULL is fine */
ebm_status ebm__feed_run(ebm_feed *feed);
void ebm__feed_begin(ebm_feed *feed); /* of a run of the program: the state may have changed */

/* VALUE, DTYPE or SHAPE if these rows cannot fill this batch. */
ebm_status ebm__rows_check(const ebm_rows *rows, const ebm_tensor *batch);

#endif
