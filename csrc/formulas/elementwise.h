/* elementwise.h - which elementwise ops take which types: one list for C and CUDA.
 *
 * X(exp, t) for each op of a list, `t` handed through.  Beside these: isfinite of floats, equal of
 * bytes too, logical_not of truths, bit_and, floordiv, mod of i32, select of any type, cast. */
#ifndef EBM_FORMULAS_ELEMENTWISE_H
#define EBM_FORMULAS_ELEMENTWISE_H

#define EBM_FLOAT_OPS_1(X, t)                                                                  \
    X(exp, t) X(log, t) X(sqrt, t) X(sin, t) X(cos, t) X(tanh, t) X(sigmoid, t) X(softplus, t) \
    X(erf, t) X(log1p, t) X(expm1, t) X(recip, t) X(floor, t) X(ceil, t) X(round, t)
#define EBM_FLOAT_OPS_2(X, t) X(div, t) X(pow, t) X(atan2, t)
#define EBM_NUMBER_OPS_1(X, t) X(neg, t) X(abs, t) X(square, t) X(sign, t)
#define EBM_NUMBER_OPS_2(X, t) X(add, t) X(sub, t) X(mul, t) X(maximum, t) X(minimum, t)
#define EBM_NUMBER_TESTS_2(X, t) X(equal, t) X(less, t) X(less_equal, t)
#define EBM_TRUTH_OPS_2(X, t) X(logical_and, t) X(logical_or, t) X(logical_xor, t)

#endif
