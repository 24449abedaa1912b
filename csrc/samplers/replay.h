/* replay.h - a buffer of chains that persistent contrastive divergence goes on from.
 *
 * Workload: capacity 10,000 rows, one batch a step drawn, walked and put back in place. A batch
 * draws distinct slots: the buffer is cut into as many strata as the batch has rows, one slot
 * is drawn in each, and all are rotated by one common draw, so that every slot is equally
 * likely. A slot begins anew when it is drawn for the first time (the buffer fills as it is
 * used), and with probability `reinit` after that. */
#ifndef EBM_SAMPLERS_REPLAY_H
#define EBM_SAMPLERS_REPLAY_H

#include "base/options.h"
#include "graph/graph.h"

typedef enum ebm_replay_start {
    EBM_REPLAY_UNIFORM, /* U(-1, 1) */
    EBM_REPLAY_NORMAL,  /* N(0, 1) */
    EBM_REPLAY_DATA     /* rows of the batch of data */
} ebm_replay_start;

/* capacity: VERA (Grathwohl et al. 2021) and IGEBM (Du and Mordatch 2019) 10,000; reinit: both
 * 0.05; start: U(-1, 1) as JEM and CEBM. */
/* clang-format off */
#define EBM_REPLAY_OPTIONS(X, S)                                                                  \
    X(S, INT,    buffer_size, 10000, 1, 1 << 30, "", "rows in the replay buffer")                 \
    X(S, REAL,   reinit,      0.05,  0, 1,       "", "probability that a chain begins anew")      \
    X(S, CHOICE, buffer_init, 0,     0, 0,       "uniform normal data", "where new chains begin")
/* clang-format on */

typedef struct ebm_replay_options {
    EBM_REPLAY_OPTIONS(EBM_OPTION_FIELD, )
} ebm_replay_options;

typedef struct ebm_replay_draw {
    ebm_ref slots;  /* (B,) i32, distinct */
    ebm_ref starts; /* (B, ...) */
    ebm_ref age;    /* (B,) i32: steps that each chain has walked, 0 where it begins anew */
} ebm_replay_draw;

/* Graph code: draws B chains from buffer (capacity, ...) with ages (capacity,) i32, where age 0
 * marks a slot never used.  `data` (B, ...) gives B, the dtype and the rows of
 * EBM_REPLAY_DATA.  VALUE if B is more than the capacity. */
ebm_replay_draw ebm_replay_build(const ebm_replay_options *options, ebm_graph *g,
                                 ebm_ref buffer, ebm_ref age, ebm_ref key, ebm_ref data);

#endif
