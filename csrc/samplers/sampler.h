/* sampler.h - Markov chains on energies, as graph code.
 *
 * A sampler is a kind and its options.  Its step is graph code, so it can stand in a training
 * step, be repeated in a plan, and be differentiated.  Chains are rows: x (N, ...), all of them
 * one step at a time.  Step i of a chain draws from fold_in(key, i).
 *
 * Adding a sampler: a file with its options, init, step and an ebm_sampler_kind named
 * ebm__sampler_<id>, and a row in samplers.def. */
#ifndef EBM_SAMPLERS_SAMPLER_H
#define EBM_SAMPLERS_SAMPLER_H

#include "base/options.h"
#include "networks/energy.h"

/* What a chain walks on.  The energy's rows are independent: see ebm_sampler_check. */
typedef struct ebm_walk {
    const void *options; /* of the sampler */
    const ebm_energy *energy;
    const ebm_scope *scope; /* NULL for an energy without parameters */
} ebm_walk;

enum { EBM_SAMPLER_MAX = 8 }; /* arrays that go along, and infos, of a sampler */

typedef struct ebm_sampler_kind {
    ebm_options options; /* the owner is the kind's name; has INT n_steps */
    int32_t n_carry;     /* arrays that last from step to step: x, then what is worth keeping */
    int32_t n_derived;   /* those behind them that follow from x: its energy, say */
    int32_t n_info;
    const char *carry[EBM_SAMPLER_MAX];       /* names of those that last: "x", ... */
    const char *info[EBM_SAMPLER_MAX];        /* what a step reports, each (N,) */
    ebm_status (*check)(const void *options); /* of options together; may be NULL */
    /* carry[1 .. n_carry - 1] of chains that begin at x; NULL when n_carry is 1. */
    void (*init)(const ebm_walk *walk, ebm_graph *g, ebm_ref x, ebm_ref *carry);
    /* carry[n_carry ..] at x, NULL when there are none: made anew where chains begin or go on,
     * for the energy may be another by then. */
    void (*derive)(const ebm_walk *walk, ebm_graph *g, ebm_ref x, ebm_ref *carry);
    /* One step.  `key` belongs to this step alone, and has the row that x begins with: what is
     * drawn from it, or from keys folded from it, is rows, like x, or the bits would depend on
     * the blocks that a chain walks in. */
    void (*step)(const ebm_walk *walk, ebm_graph *g, ebm_ref key, const ebm_ref *carry,
                 ebm_ref *carry_next, ebm_ref *info);
} ebm_sampler_kind;

const ebm_sampler_kind *ebm_sampler_find(const char *name); /* NULL with VALUE's message */
const ebm_sampler_kind *ebm_sampler_at(int32_t index); /* in the order of samplers.def, then NULL */

typedef struct ebm_sampler ebm_sampler;

/* A copy of the options, checked; NULL stands for the initial ones. */
ebm_status ebm_sampler_new(ebm_sampler **out, const ebm_sampler_kind *kind, const void *options);
void ebm_sampler_free(ebm_sampler *sampler); /* NULL is fine */
const ebm_sampler_kind *ebm_sampler_get_kind(const ebm_sampler *sampler);
const void *ebm_sampler_options(const ebm_sampler *sampler);
int64_t ebm_sampler_n_steps(const ebm_sampler *sampler);
/* The place of a report among those of the kind; -1 if there is none of that name. */
int32_t ebm_sampler_find_info(const ebm_sampler *sampler, const char *name);

/* ---- graph code -------------------------------------------------------------------------- */

/* Steps first .. first + n - 1 (first: i32 scalar, or EBM_NONE for 0) from x: one `repeat`.
 * `info`: NULL, or n_info refs, as below. */
ebm_ref ebm_sampler_chain(const ebm_sampler *sampler, const ebm_energy *energy,
                          const ebm_scope *scope, ebm_graph *g, ebm_ref x, ebm_ref key,
                          ebm_ref first, int64_t n, ebm_ref *info);

/* The same in parts.  `carry`, n_carry + n_derived refs: x and what else goes from step to step.
 * `info`, NULL or n_info refs: what the last of n >= 1 steps reports, each (N,).  start is init
 * at x, and derive. */
void ebm_sampler_start(const ebm_sampler *sampler, const ebm_energy *energy,
                       const ebm_scope *scope, ebm_graph *g, ebm_ref x, ebm_ref *carry);
void ebm_sampler_init(const ebm_sampler *sampler, const ebm_energy *energy,
                      const ebm_scope *scope, ebm_graph *g, ebm_ref x, ebm_ref *carry);
void ebm_sampler_derive(const ebm_sampler *sampler, const ebm_energy *energy,
                        const ebm_scope *scope, ebm_graph *g, ebm_ref *carry);
void ebm_sampler_leg(const ebm_sampler *sampler, const ebm_energy *energy,
                     const ebm_scope *scope, ebm_graph *g, ebm_ref key, ebm_ref first,
                     int64_t n, ebm_ref *carry, ebm_ref *info);

/* ---- running ----------------------------------------------------------------------------- */

/* A walk compiled for one energy and shape.  It goes in legs of as many steps, after each of which
 * the positions and reports can be kept, and in blocks of rows, one after the other, so that its
 * memory is that of a block.  Neither changes a bit of the result. */
typedef struct ebm_chain ebm_chain;

/* Blocks are multiples of EBM_CHAIN_BLOCK rows: draws begin at whole groups. */
enum { EBM_CHAIN_BLOCK = 64, EBM_CHAIN_ALL = 0, EBM_CHAIN_FIT = -1 };
enum { EBM_CHAIN_BYTES = 1 << 24 }; /* of a block that fits: the second cache of a few cores */

typedef struct ebm_chain_options {
    const ebm_device *device;
    ebm_dtype dtype;
    ebm_shape x;  /* (N, ...) */
    int64_t leg;  /* steps of a leg */
    int64_t rest; /* steps after the last leg */
    bool info;    /* the kind's n_info reports of each leg's last step */
    int64_t block; /* rows at once: a number, EBM_CHAIN_ALL, or EBM_CHAIN_FIT for as many as fit */
} ebm_chain_options;

/* VALUE (options, dependent rows, blocks of an energy that draws), SHAPE, the energy's own
 * errors. */
ebm_status ebm_chain_new(ebm_chain **out, const ebm_sampler *sampler, const ebm_energy *energy,
                         const ebm_chain_options *options);
void ebm_chain_free(ebm_chain *chain);           /* NULL is fine */
int64_t ebm_chain_block(const ebm_chain *chain); /* rows at once */
size_t ebm_chain_bytes(const ebm_chain *chain);  /* that it holds */
/* The array k of 1 .. n_carry - 1 of all chains. */
ebm_dtype ebm_chain_carry_dtype(const ebm_chain *chain, int32_t k);
ebm_shape ebm_chain_carry_shape(const ebm_chain *chain, int32_t k);

/* One run: `legs` legs and the rest, all arrays in host memory. */
typedef struct ebm_chain_run_args {
    const void *x; /* (N, ...) */
    uint32_t key[2];
    int32_t first; /* number of the first step */
    int64_t legs;
    void *x_out;
    void *trace;                 /* (legs, N, ...) or NULL */
    void *info[EBM_SAMPLER_MAX]; /* each (legs, N); with the option */
    /* 1 .. n_carry - 1: what a run left that this one goes on from, NULL for chains that begin;
     * and where it is to be left, or NULL. */
    const void *carry[EBM_SAMPLER_MAX];
    void *carry_out[EBM_SAMPLER_MAX];
} ebm_chain_run_args;

/* CANCELLED by the poll: the results are undefined then.  NUMERIC where a chain begins at an array
 * of the derived that is not finite: it would never move.  One run at a time. */
ebm_status ebm_chain_run(ebm_chain *chain, const ebm_chain_run_args *args, const ebm_poll *poll);

#endif
