// formulas.h - formulas/scalar.inc and formulas/philox.h for one CUDA thread.
//
// f32 operations are rounded as IEEE says (no flush to zero, no contraction), so results differ
// from the CPU's only where that divides by estimates; f64 goes through CUDA's own functions.
#ifndef EBM_CUDA_FORMULAS_H
#define EBM_CUDA_FORMULAS_H

#include <cuda_runtime.h>
#include <math.h>
#include <stdint.h>

#define EBM_FORMULA __device__ inline

EBM_FORMULA float ebm__sqrt_f32(float x)
{
    return __fsqrt_rn(x);
}
EBM_FORMULA double ebm__sqrt_f64(double x)
{
    return sqrt(x);
}
EBM_FORMULA float ebm__round_f32(float x)
{
    return rintf(x);
}
EBM_FORMULA double ebm__round_f64(double x)
{
    return rint(x);
}

#define EBM_REAL_BITS 32
#define EBM_NAME(id) ebm__##id##_f32
#define EBM_REAL float
#define EBM_MASK bool
#define EBM_INT int32_t
#define EBM_UINT uint32_t
#define EBM_K(c) ((float)(c))
#define EBM_SIGN 0x80000000u
#define EBM_BITS_OF(x) __float_as_uint(x)
#define EBM_REAL_OF(u) __uint_as_float(u)
#define EBM_CONVERT(i) __int2float_rn(i)
#define EBM_SELECT(m, a, b) ((m) ? (a) : (b))
#define EBM_FMA(a, b, c) __fmaf_rn(a, b, c)
#define EBM_AT_LEAST(x, k) ((x) < (k) ? (k) : (x))
#define EBM_AT_MOST(x, k) ((x) > (k) ? (k) : (x))
#define EBM_RECIP(x) (1.0f / (x))
#define EBM_QUOTIENT(a, x) ((a) / (x))
#define EBM_LIBM_2(id, x, y) id##f(x, y)
#define EBM_LIBM_WHERE(id, m, x, y) ((m) ? id##f(x) : (y))
#include "formulas/scalar.inc"

#define EBM_REAL_BITS 64
#define EBM_NAME(id) ebm__##id##_f64
#define EBM_REAL double
#define EBM_MASK bool
#define EBM_INT int64_t
#define EBM_UINT uint64_t
#define EBM_K(c) ((double)(c))
#define EBM_SIGN 0x8000000000000000ull
#define EBM_BITS_OF(x) ((uint64_t)__double_as_longlong(x))
#define EBM_REAL_OF(u) __longlong_as_double((long long)(u))
#define EBM_SELECT(m, a, b) ((m) ? (a) : (b))
#define EBM_LIBM(id, x) id(x)
#define EBM_LIBM_2(id, x, y) id(x, y)
#include "formulas/scalar.inc"

#define EBM_NAME(id) ebm__##id
#define EBM_REAL float
#define EBM_INT int32_t
#define EBM_UINT uint32_t
#define EBM_WIDE uint64_t
#define EBM_WIDE_K(c) ((uint64_t)(c))
#define EBM_WIDE_MUL(x, m) ((uint64_t)(uint32_t)(x) * (m))
#define EBM_K(c) ((float)(c))
#define EBM_CONVERT(i) __int2float_rn(i)
#define EBM_BITS_OF(x) __float_as_uint(x)
#define EBM_REAL_OF(u) __uint_as_float(u)
#define EBM_SELECT(m, a, b) ((m) ? (a) : (b))
#define EBM_FMA(a, b, c) __fmaf_rn(a, b, c)
#define EBM_SQRT(x) __fsqrt_rn(x)
#include "formulas/philox.h"

#undef EBM_FORMULA

#endif
