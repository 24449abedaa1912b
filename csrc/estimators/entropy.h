/* entropy.h - the entropy of a generator, x = g(z) + sigma eps, as something to climb.
 *
 *     grad_phi H = -E[ score_q(x)' grad_phi x ],   score_q(x) = grad_x log q(x)
 *                                                            = E[ (g(z) - x) / sigma^2 | x ]
 *
 * log q(x) is not known, but its score is a mean over the posterior q(z|x): a kind is a way to
 * estimate it (VERA, Grathwohl et al. 2021, section 3).  A kind may instead be a bound that is
 * climbed in the place of H (MEG, Kumar et al. 2019).  Either may train parameters of its own, a
 * *part* beside energy and generator.
 *
 * Trap: z0, from which x was made, is itself a draw of q(z|x), but not one to use: the score must
 * not know the noise that the gradient of x goes through, or the two cancel.
 *
 * Adding one: a file with its options, score and an ebm_entropy_kind named ebm__entropy_<id>, and
 * a row in entropies.def. */
#ifndef EBM_ESTIMATORS_ENTROPY_H
#define EBM_ESTIMATORS_ENTROPY_H

#include "base/options.h"
#include "networks/energy.h"
#include "networks/generator.h"

/* What is asked of a kind. */
typedef struct ebm_entropy_query {
    const void *options; /* of the kind */
    const ebm_generator *generator;
    ebm_scope scope;          /* of the generator, for passes over draws of z of its own; rows
                                 independent unless the options of the kind say otherwise */
    ebm_ref x, z0, key;       /* (B, row), (B, latent), constants; key of this estimate */
    const ebm_energy *critic; /* the network of the kind's part; NULL where it has none */
    ebm_scope own;            /* of the kind's part, with `seen` */
} ebm_entropy_query;

/* Where a generator with batch norm gets the statistics for draws of a kind's own: from these
 * draws themselves, from the batch that x belongs to, or from the running averages. */
typedef enum ebm_draw_statistics {
    EBM_DRAWS_OWN,
    EBM_DRAWS_BATCH,
    EBM_DRAWS_RUNNING
} ebm_draw_statistics;
#define EBM_DRAW_STATISTICS_WORDS "own batch running"
#define EBM_ROW_STATISTICS_WORDS "batch running" /* for draws that must not see each other */

typedef struct ebm_entropy_kind {
    ebm_options options; /* the owner is the kind's name */
    const char *part;    /* the parameters that it trains or keeps: a name; NULL: none */
    bool critic;         /* the part is a network, of rows (row, latent) as one; else: */
    ebm_status (*list)(const void *options, const ebm_generator *generator, ebm_params *params);
    ebm_draw_statistics (*statistics)(const void *options); /* of the query's scope; NULL: BATCH */
    const char *info; /* what a score reports of each x: "ess", the effective number of draws */
    /* The score at x, (B, row), a constant to derivatives, and the report, (B,).  NULL for a
     * bound.  What is kept of the part, statistics, is written to the query's own.seen. */
    ebm_ref (*score)(const ebm_entropy_query *q, ebm_graph *g, ebm_ref *info);
    /* (), differentiable in x and z0, whatever they are. */
    ebm_ref (*bound)(const ebm_entropy_query *q, ebm_graph *g);
    const char *watched; /* what is worth a metric of the part: "eta", (); NULL: nothing */
    ebm_ref (*watch)(const ebm_entropy_query *q, ebm_graph *g);
    /* What the part goes down, (), NULL if it is not trained; x and z0 are constants. */
    ebm_ref (*loss)(const ebm_entropy_query *q, ebm_graph *g);
} ebm_entropy_kind;

const ebm_entropy_kind *ebm_entropy_find(const char *name); /* NULL with VALUE's message */
const ebm_entropy_kind *ebm_entropy_at(int32_t index);      /* in order, then NULL */

/* A kind with its options; in the caller's storage, which the options outlive. */
typedef struct ebm_entropy {
    const ebm_entropy_kind *kind;
    const void *options;
} ebm_entropy;

/* Row of the critic's input: x flattened, and z. */
ebm_shape ebm_entropy_critic_row(const ebm_generator *generator);

/* VERA's importance sampling: proposals z_i = z0 + eta n_i,
 *     log w_i = log q(x|z_i) + log N(z_i; 0, I) - log N(z_i; z0, eta^2),
 *     score = sum_i softmax(log w)_i (g(z_i) - x) / sigma^2
 * (equation 8), with eta (latent,) trained on the bound of equation 9.  k = 20 and
 * log eta = log .1 as the authors' code. */
/* clang-format off */
#define EBM_IMPORTANCE_OPTIONS(X, S)                                                          \
    X(S, INT,    draws,      20,  1,            1 << 20, "", "z for each x")                  \
    X(S, REAL,   eta,        0.1, EBM_POSITIVE, DBL_MAX, "", "deviation of the proposal, at the start") \
    X(S, CHOICE, statistics, 0,   0,            0,       EBM_DRAW_STATISTICS_WORDS, "of batch norm, for the draws")
/* clang-format on */
typedef struct ebm_importance_options {
    EBM_IMPORTANCE_OPTIONS(EBM_OPTION_FIELD, )
} ebm_importance_options;

/* VERA's baseline, after PresGAN (Dieng et al. 2019): z_i from Hamiltonian Monte Carlo on q(z|x),
 * begun at z0,
 *     score = mean_i (g(z_i) - x) / sigma^2.
 * The step size follows the acceptance while the chains burn in, and is kept from step to step
 * of a training (statistic "step_size").  gradient: of log q(x, z); or of the prior log N(z)
 * alone, as in the authors' code, which evaluates g without one: then proposals do not know x,
 * and what is accepted stays near z0.  All numbers are those of their code. */
/* clang-format off */
#define EBM_HMC_ENTROPY_OPTIONS(X, S)                                                                 \
    X(S, INT,    draws,      2,    1,            1 << 20, "", "z kept of a chain")                    \
    X(S, INT,    burn_in,    2,    0,            1 << 20, "", "steps before them")                    \
    X(S, INT,    n_leapfrog, 5,    1,            1 << 20, "", "leapfrogs of a step")                  \
    X(S, REAL,   step_size,  NAN,  EBM_POSITIVE, DBL_MAX, "", "the first; none: 1 / latent")          \
    X(S, REAL,   target,     0.67, EBM_POSITIVE, 1,       "", "acceptance aimed at")                  \
    X(S, REAL,   rate,       0.02, EBM_POSITIVE, 1,       "", "of the step size's adaptation")        \
    X(S, CHOICE, gradient,   0,    0,            0,       "full prior", "that the leapfrog follows")  \
    X(S, CHOICE, statistics, 0,    0,            0,       EBM_ROW_STATISTICS_WORDS, "of batch norm, for the draws")
/* clang-format on */
typedef struct ebm_hmc_entropy_options {
    EBM_HMC_ENTROPY_OPTIONS(EBM_OPTION_FIELD, )
} ebm_hmc_entropy_options;

/* The posterior's mean of g by Gauss-Newton steps from z0, with conjugate gradients whose
 * preconditioner is learned from step to step (statistics "fisher", "count"), and a pool of draws
 * of the prior that takes over where the posterior is no Gaussian: entropy_gauss_newton.c.  Our
 * own.  What the numbers were chosen by: experiments/vera/RESULTS.md. */
/* clang-format off */
#define EBM_GAUSS_NEWTON_OPTIONS(X, S)                                                              \
    X(S, INT,    n_steps,    2,    1,            64,        "", "Gauss-Newton steps")               \
    X(S, INT,    n_cg,       2,    1,            1 << 10,   "", "conjugate gradients of a step")    \
    X(S, INT,    pool,       4,    0,            1 << 20,   "", "draws of the prior for each x")    \
    X(S, REAL,   decay,      0.99, EBM_POSITIVE, 0.9999999, "", "memory of the preconditioner")     \
    X(S, CHOICE, statistics, 0,    0,            0,         EBM_ROW_STATISTICS_WORDS, "of batch norm, for all passes")
/* clang-format on */
typedef struct ebm_gauss_newton_options {
    EBM_GAUSS_NEWTON_OPTIONS(EBM_OPTION_FIELD, )
} ebm_gauss_newton_options;

/* The mutual information of x and z by a critic T(x, z), climbed in the place of H(q) = I(x, z) +
 * H(x|z): pairs (x_i, z_i) against (x_i, z_{i+1}).
 *     jensen_shannon:    mean -softplus(-T) - mean softplus(T')     (Deep InfoMax; MEG)
 *     donsker_varadhan:  mean T - log mean exp T'                   (MINE) */
/* clang-format off */
#define EBM_MUTUAL_INFORMATION_OPTIONS(X, S) \
    X(S, CHOICE, bound, 0, 0, 0, "jensen_shannon donsker_varadhan", "that the critic climbs")
/* clang-format on */
typedef struct ebm_mutual_information_options {
    EBM_MUTUAL_INFORMATION_OPTIONS(EBM_OPTION_FIELD, )
} ebm_mutual_information_options;

#endif
