/* entropy_gauss_newton.c - the score of a generator by the mean of its posterior.
 *
 * Near z0 the posterior q(z|x) is a Gaussian of precision P = J'J / sigma^2 + I, and the mean of
 * g under it is the linearisation's at z* = z0 + P^-1 (J'(x - g(z0)) / sigma^2 - z0): where J = dg/dz
 * is constant all of this is exact.  P is never formed: conjugate gradients with J v and J'u find
 * the step, and are done in one or two rounds, since they are preconditioned by the mean of P over
 * rows.  That costs nothing: J'(x - g(z0)) is computed anyway, and x - g(z0) = sigma eps with eps
 * ~ N(0, I), so the mean of its outer products is that of sigma^2 J'J. */
#include "estimators/entropy.h"
#include "networks/layers.h"
#include "ops/ops.h"

/* The drawing site of the pool. */
enum { PURPOSE_POOL = 0x706f6f6c };
static const double TINY = 1e-12;

/* A query with what is asked for again and again; rows are flat, (B, D). */
typedef struct problem {
    const ebm_entropy_query *q;
    const ebm_gauss_newton_options *o;
    ebm_graph *g;
    int64_t b, latent;
    ebm_ref x, precision; /* 1 / sigma^2, () */
    ebm_ref inverse;      /* of the mean of P, (latent, latent) */
} problem;

/* A point of latents with its rows, ready for J v and J'u. */
typedef struct point {
    ebm_ref z, y; /* z is marked */
} point;

static point at(const problem *p, ebm_ref z)
{
    point made = {.z = ebm_mark(p->g, z)};
    made.y = ebm_layer_flatten(p->g,
                               ebm_generator_mean(p->q->generator, &p->q->scope, p->g, made.z));
    return made;
}

/* J v, (B, D). */
static ebm_ref push(const problem *p, const point *from, ebm_ref v)
{
    ebm_ref out = EBM_POISON;
    ebm_jvp(p->g, &from->y, 1, &from->z, &v, 1, &out);
    return out;
}

/* J'u, (B, latent). */
static ebm_ref pull(const problem *p, const point *from, ebm_ref u)
{
    ebm_ref out = EBM_POISON;
    ebm_vjp(p->g, &from->y, &u, 1, &from->z, 1, &out);
    return out;
}

/* <a, b> of each row, (B, 1). */
static ebm_ref dot(const problem *p, ebm_ref a, ebm_ref b)
{
    return ebm_sum(p->g, ebm_mul(p->g, a, b), 1 << 1, true);
}

/* a / b where b is above zero, as it is but for rounding. */
static ebm_ref ratio(const problem *p, ebm_ref a, ebm_ref b)
{
    return ebm_div(p->g, a, ebm_maximum(p->g, b, ebm_scalar_like(p->g, b, TINY)));
}

/* ---- the preconditioner ------------------------------------------------------------------ */

/* Whether i = j, (rows, columns). */
static ebm_ref diagonal(const problem *p, int64_t rows, int64_t columns)
{
    ebm_shape down = EBM_DIMS(rows, 1), across = EBM_DIMS(1, columns);
    return ebm_equal(p->g, ebm_iota(p->g, EBM_I32, &down, 0),
                     ebm_iota(p->g, EBM_I32, &across, 1));
}

static ebm_ref kept(const problem *p, const char *name, const ebm_shape *shape)
{
    return ebm_scope_statistic(&p->q->own, p->g, name, shape, (ebm_init){0});
}

/* From `slope` = J'(x - g(z0)) at all rows: what is kept moves on, and gives the inverse.
 * A estimates (1 - decay^t) E[J'J]. */
static void precondition(problem *p, ebm_ref slope)
{
    ebm_graph *g = p->g;
    double decay = p->o->decay;
    ebm_shape square = EBM_DIMS(p->latent, p->latent), scalar = EBM_SCALAR;
    ebm_ref a = kept(p, "fisher", &square), t = kept(p, "count", &scalar);
    ebm_ref outer = ebm_scale(g, ebm_matmul_ex(g, slope, slope, true, false), 1.0 / (double)p->b);
    ebm_ref now = ebm_mul(g, outer, p->precision);
    a = ebm_add(g, ebm_scale(g, a, decay), ebm_scale(g, now, 1.0 - decay));
    t = ebm_shift(g, t, 1.0);
    ebm_scope_saw(&p->q->own, "fisher", a);
    ebm_scope_saw(&p->q->own, "count", t);
    ebm_ref weight = ebm_neg(g, ebm_expm1(g, ebm_scale(g, t, log(decay)))); /* 1 - decay^t */
    ebm_ref eye = ebm_cast(g, diagonal(p, p->latent, p->latent), ebm_ref_dtype(g, p->x));
    ebm_ref m = ebm_add(g, ebm_mul(g, a, ebm_div(g, p->precision, weight)), eye);
    ebm_ref l = ebm_cholesky(g, m);
    p->inverse = ebm_solve_triangular(g, l, ebm_solve_triangular(g, l, eye, true, false), true,
                                      true);
}

/* ---- the mean near a point --------------------------------------------------------------- */

/* One Gauss-Newton step from a point, whose slope J'(x - y) is given: the step, and the mean of g
 * under the linearisation there. */
static ebm_ref step(const problem *p, const point *from, ebm_ref slope, ebm_ref *mean)
{
    ebm_graph *g = p->g;
    ebm_ref r = ebm_sub(g, ebm_mul(g, slope, p->precision), from->z);
    ebm_ref d = EBM_NONE, jd = EBM_NONE;
    ebm_ref towards = ebm_matmul(g, r, p->inverse), rq = dot(p, r, towards);
    for (int64_t k = 0; k < p->o->n_cg; k++) {
        ebm_ref jp = push(p, from, towards);
        ebm_ref bend = ebm_add(g, ebm_mul(g, dot(p, jp, jp), p->precision),
                               dot(p, towards, towards));
        ebm_ref length = ratio(p, rq, bend);
        ebm_ref move = ebm_mul(g, length, towards), jmove = ebm_mul(g, length, jp);
        d = d == EBM_NONE ? move : ebm_add(g, d, move);
        jd = jd == EBM_NONE ? jmove : ebm_add(g, jd, jmove);
        if (k + 1 == p->o->n_cg) break;
        ebm_ref back = ebm_add(g, ebm_mul(g, pull(p, from, jp), p->precision), towards);
        r = ebm_sub(g, r, ebm_mul(g, length, back));
        ebm_ref q = ebm_matmul(g, r, p->inverse), rq_next = dot(p, r, q);
        towards = ebm_add(g, q, ebm_mul(g, ratio(p, rq_next, rq), towards));
        rq = rq_next;
    }
    *mean = ebm_add(g, from->y, jd);
    return d;
}

/* log q(x, z) for the row y, (B, 1), but for a constant. */
static ebm_ref log_joint(const problem *p, ebm_ref z, ebm_ref y)
{
    ebm_graph *g = p->g;
    ebm_ref r = ebm_sub(g, p->x, y);
    ebm_ref fit = ebm_mul(g, dot(p, r, r), p->precision);
    return ebm_scale(g, ebm_add(g, fit, dot(p, z, z)), -0.5);
}

/* The mean of g by steps from z0, believed as far as the first of them gained what its
 * linearisation promised.  `trust`, (B, 1). */
static ebm_ref local_mean(problem *p, const point *start, ebm_ref *trust)
{
    ebm_graph *g = p->g;
    ebm_ref slope = pull(p, start, ebm_sub(g, p->x, start->y)), mean = EBM_POISON;
    precondition(p, slope);
    ebm_ref before = log_joint(p, start->z, start->y);
    point here = *start;
    *trust = ebm_scalar_like(g, before, 1.0);
    for (int64_t k = 0; k < p->o->n_steps; k++) {
        if (k > 0) slope = pull(p, &here, ebm_sub(g, p->x, here.y));
        ebm_ref z = ebm_add(g, here.z, step(p, &here, slope, &mean));
        if (k > 0 && k + 1 == p->o->n_steps) break;
        here = at(p, z);
        if (k > 0) continue;
        ebm_ref gained = ebm_sub(g, log_joint(p, here.z, here.y), before);
        ebm_ref promised = ebm_sub(g, log_joint(p, here.z, mean), before);
        *trust = ebm_clip(g, ratio(p, gained, promised), 0.0, 1.0);
    }
    return ebm_add(g, start->y, ebm_mul(g, *trust, ebm_sub(g, mean, start->y)));
}

/* ---- the pool ---------------------------------------------------------------------------- */

/* -|x_i - y_j|^2 / (2 sigma^2), (B, K), by one product; means taken out so that no digits are
 * lost to it. */
static ebm_ref log_likelihoods(const problem *p, ebm_ref y)
{
    ebm_graph *g = p->g;
    ebm_ref centre = ebm_mean(g, p->x, 1 << 0, true);
    ebm_ref x = ebm_sub(g, p->x, centre);
    y = ebm_sub(g, y, centre);
    ebm_ref xx = dot(p, x, x), yy = ebm_transpose(g, dot(p, y, y));
    ebm_ref cross = ebm_matmul_ex(g, x, y, false, true);
    ebm_ref square = ebm_sub(g, ebm_add(g, xx, yy), ebm_scale(g, cross, 2.0));
    return ebm_mul(g, ebm_scale(g, square, -0.5), p->precision);
}

/* The weight of a candidate that lies at y, (B, 1), against those whose log-sum is given. */
static ebm_ref weight_against(const problem *p, ebm_ref y, ebm_ref log_sum)
{
    ebm_graph *g = p->g;
    ebm_ref r = ebm_sub(g, p->x, y);
    ebm_ref own = ebm_mul(g, ebm_scale(g, dot(p, r, r), -0.5), p->precision);
    return ebm_sigmoid(g, ebm_sub(g, own, log_sum));
}

/* Self-normalised importance sampling by the prior: with an exact draw of the posterior among the
 * candidates the mean is unbiased for any number of others (iterated sampling importance
 * resampling; Andrieu, Lee and Vihola 2018).  z0 is one, and where g is linear its mirror in the
 * posterior's mean is one too, whose row is 2 mean - y0: the mean of the two estimates does not
 * lean on z0.  The others are the z0 of all rows, which are independent of one another, and `pool`
 * more for each. */
static ebm_ref pooled(const problem *p, ebm_ref y0, ebm_ref mean)
{
    ebm_graph *g = p->g;
    ebm_shape draws = EBM_DIMS(p->o->pool * p->b, p->latent);
    if (p->b * (1 + p->o->pool) == 1) return mean;
    ebm_ref y = y0;
    if (p->o->pool > 0) {
        ebm_ref z = ebm_normal(g, p->q->key, PURPOSE_POOL, ebm_ref_dtype(g, y0), &draws);
        const ebm_ref all[2] = {y0,
                                ebm_layer_flatten(p->g, ebm_generator_mean(p->q->generator,
                                                                           &p->q->scope, g, z))};
        y = ebm_concat(g, all, 2, 0);
    }
    ebm_ref log_w = log_likelihoods(p, y);
    if (log_w == EBM_POISON) return EBM_POISON;
    ebm_ref own_place = diagonal(p, p->b, ebm_ref_shape(g, y).dim[0]);
    log_w = ebm_select(g, own_place, ebm_scalar_like(g, log_w, -INFINITY), log_w);
    ebm_ref others = ebm_matmul(g, ebm_softmax(g, log_w, 1), y);
    ebm_ref log_sum = ebm_logsumexp(g, log_w, 1 << 1, true);
    ebm_ref mirror = ebm_sub(g, ebm_scale(g, mean, 2.0), y0);
    ebm_ref one = ebm_mul(g, weight_against(p, y0, log_sum), ebm_sub(g, y0, others));
    ebm_ref other = ebm_mul(g, weight_against(p, mirror, log_sum), ebm_sub(g, mirror, others));
    return ebm_add(g, others, ebm_scale(g, ebm_add(g, one, other), 0.5));
}

/* ---- the kind ---------------------------------------------------------------------------- */

static ebm_ref score(const ebm_entropy_query *q, ebm_graph *g, ebm_ref *info)
{
    if (q->x == EBM_POISON || q->z0 == EBM_POISON) return EBM_POISON;
    ebm_shape like = ebm_ref_shape(g, q->x), each = EBM_DIMS(like.dim[0]);
    ebm_ref trust;
    problem p = {.q = q,
                 .o = q->options,
                 .g = g,
                 .b = like.dim[0],
                 .latent = q->generator->latent,
                 .precision = ebm_generator_precision(q->generator, &q->scope, g)};
    p.x = ebm_layer_flatten(g, q->x);
    point start = at(&p, q->z0);
    if (start.y == EBM_POISON) return EBM_POISON;
    ebm_ref mean = pooled(&p, start.y, local_mean(&p, &start, &trust));
    *info = ebm_stop(g, ebm_reshape(g, trust, &each));
    ebm_ref made = ebm_mul(g, ebm_sub(g, mean, p.x), p.precision);
    return ebm_stop(g, ebm_reshape(g, made, &like));
}

static ebm_status list(const void *options, const ebm_generator *generator, ebm_params *params)
{
    (void)options;
    ebm_shape square = EBM_DIMS(generator->latent, generator->latent), scalar = EBM_SCALAR;
    EBM_TRY(ebm_params_add(params, "fisher", &square, (ebm_init){0}));
    EBM_TRY(ebm_params_add(params, "count", &scalar, (ebm_init){0}));
    for (int64_t k = 0; k < params->n; k++) params->at[k].statistic = true;
    return EBM_OK;
}

static ebm_draw_statistics statistics(const void *options)
{
    const ebm_gauss_newton_options *o = options;
    return o->statistics == 0 ? EBM_DRAWS_BATCH : EBM_DRAWS_RUNNING;
}

static const ebm_option rows[] = {
    EBM_GAUSS_NEWTON_OPTIONS(EBM_OPTION_ROW, ebm_gauss_newton_options)};

const ebm_entropy_kind ebm__entropy_gauss_newton = {
    .options = EBM_OPTIONS_OF("gauss_newton", rows, ebm_gauss_newton_options),
    .part = "posterior",
    .list = list,
    .statistics = statistics,
    .info = "trust",
    .score = score,
};
