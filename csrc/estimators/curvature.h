/* curvature.h - the trace of a Hessian by curvature propagation (Martens, Sutskever and Swersky
 * 2012), for any energy that is graph code.
 *
 * Each node k of E's graph has inputs y_k, and a Hessian M_k in them of its own, times the
 * adjoint of its value: zero for what is linear, a diagonal for elementwise functions.  The
 * Hessian of E in x is the sum of J_k' M_k J_k, J_k = dy_k / dx.  With M_k = F_k F_k', F_k complex
 * where M_k is not positive, and signs v_k, independent and +-1,
 *
 *     S = sum over k of J_k' F_k v_k,   E[S S'] = Hessian,   E[S_i^2] = its diagonal.
 *
 * The sum is one reverse pass with F_k v_k as the cotangents of the y_k; S = a + i b makes it two,
 * and Re S_i^2 = a_i^2 - b_i^2.  F is a square root for elementwise functions (of two inputs:
 * of each partial, and of the mixed one by (v, v) and (w, -w)).  For products of two values that
 * both depend on x, and functions that are not elementwise, it is the paper's other choice, a
 * factor for each side: M = E[v (M v)'], the first v, the second M v.
 *
 * Variance, where all M_k are diagonal: let h_kl = sum_i J_ki J_li.  The estimate of the trace is
 * sum of f_k f_l h_kl v_k v_l over pairs with M_k M_l > 0, so its variance is
 * 2 sum over such k != l of |M_k M_l| h_kl^2: none where one unit bends alone.  A gradient of it in
 * parameters goes through the roots, and has 1 / sqrt|M_k| in it: units that are nearly straight
 * make it heavy-tailed.  |M_k| below the square of the dtype's epsilon counts as zero. */
#ifndef EBM_ESTIMATORS_CURVATURE_H
#define EBM_ESTIMATORS_CURVATURE_H

#include "graph/graph.h"

/* One unbiased estimate of tr d2 e / dx2 for each row: e (N,), x (N, ...) a mark or an input that
 * it depends on, rows independent -> (N,).  Site k draws from `key` with purpose k.  UNSUPPORTED
 * where x goes through a loop. */
ebm_ref ebm_curvature_trace(ebm_graph *g, ebm_ref e, ebm_ref x, ebm_ref key);

/* +1 or -1, each equally likely. */
ebm_ref ebm_signs(ebm_graph *g, ebm_ref key, int32_t purpose, ebm_dtype dtype,
                  const ebm_shape *shape);

#endif
