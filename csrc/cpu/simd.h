/* simd.h - vectors of the instruction set being compiled for, and the formulas over them.
 *
 * A vector is 64 bytes with AVX-512, 32 with AVX2, else 16.  Arithmetic, comparisons (a lane is
 * all ones or zeros) and bit operations are the compiler's vector extensions; what these lack
 * is here: load, store, splat, fma, sqrt, round, select, bytes to lanes and back.  At the end
 * formulas/scalar.inc is included for f32 and f64: ebm__exp_f32 takes and gives a vector.
 *
 * Trap: fma is one rounding only where the hardware has it, else a * b + c; so results agree
 * across instruction sets within ulps, not to the bit.  Random numbers need more:
 * formulas/philox.h. */
#ifndef EBM_CPU_SIMD_H
#define EBM_CPU_SIMD_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#if defined(__AVX512F__)
#include <immintrin.h>
#define EBM_VECTOR 64
#define EBM_SIMD(name) _mm512_##name
#define EBM_SIMD_INT(x) ((__m512i)(x))
#elif defined(__AVX2__)
#include <immintrin.h>
#define EBM_VECTOR 32
#define EBM_SIMD(name) _mm256_##name
#define EBM_SIMD_INT(x) ((__m256i)(x))
#elif defined(__SSE2__)
#include <emmintrin.h>
#define EBM_VECTOR 16
#define EBM_SIMD(name) _mm_##name
#else
#define EBM_VECTOR 16
#endif

/* Lanes of a vector: of f32 and i32, of f64. */
enum { EBM_LANES = EBM_VECTOR / 4, EBM_LANES_F64 = EBM_VECTOR / 8 };

#define EBM_INLINE static inline __attribute__((always_inline, unused))
#define EBM_VECTOR_OF(scalar) scalar __attribute__((vector_size(EBM_VECTOR)))

typedef EBM_VECTOR_OF(float) ebm_vf32;
typedef EBM_VECTOR_OF(int32_t) ebm_vi32;
typedef EBM_VECTOR_OF(uint32_t) ebm_vu32;
typedef EBM_VECTOR_OF(double) ebm_vf64;
typedef EBM_VECTOR_OF(int64_t) ebm_vi64;
typedef EBM_VECTOR_OF(uint64_t) ebm_vu64;

/* Load, store (at any address) and splat for each type. */
#define EBM_MEMORY(name, scalar)                                     \
    EBM_INLINE ebm_v##name ebm__load_##name(const scalar *from)       \
    {                                                                \
        ebm_v##name x;                                               \
        memcpy(&x, from, sizeof x);                                  \
        return x;                                                    \
    }                                                                \
    EBM_INLINE void ebm__store_##name(scalar *to, ebm_v##name x)      \
    {                                                                \
        memcpy(to, &x, sizeof x);                                    \
    }                                                                \
    EBM_INLINE ebm_v##name ebm__splat_##name(scalar x)                \
    {                                                                \
        return x - (ebm_v##name){0};                                 \
    }
EBM_MEMORY(f32, float)
EBM_MEMORY(f64, double)
EBM_MEMORY(i32, int32_t)
EBM_MEMORY(u32, uint32_t)
#undef EBM_MEMORY

/* ---- what the extensions lack ------------------------------------------------------------ */

EBM_INLINE ebm_vf32 ebm__fma_f32(ebm_vf32 a, ebm_vf32 b, ebm_vf32 c)
{
#if defined(__FMA__)
    return EBM_SIMD(fmadd_ps)(a, b, c);
#else
    return a * b + c;
#endif
}

/* m ? a : b in each lane.  In the plain form compilers see a comparison and a blend under its mask;
 * only with AVX2 a blend is better asked for. */
EBM_INLINE ebm_vf32 ebm__select_f32(ebm_vi32 m, ebm_vf32 a, ebm_vf32 b)
{
#if defined(__AVX2__) && !defined(__AVX512F__)
    return _mm256_blendv_ps(b, a, (__m256)m);
#else
    return (ebm_vf32)((m & (ebm_vi32)a) | (~m & (ebm_vi32)b));
#endif
}

EBM_INLINE ebm_vi32 ebm__select_i32(ebm_vi32 m, ebm_vi32 a, ebm_vi32 b)
{
    return (ebm_vi32)ebm__select_f32(m, (ebm_vf32)a, (ebm_vf32)b);
}

EBM_INLINE ebm_vf64 ebm__select_f64(ebm_vi64 m, ebm_vf64 a, ebm_vf64 b)
{
    return (ebm_vf64)ebm__select_f32((ebm_vi32)m, (ebm_vf32)a, (ebm_vf32)b);
}

/* `limit` where x is below it (above it); a NaN stays: of a NaN the hardware gives the second operand. */
EBM_INLINE ebm_vf32 ebm__at_least_f32(ebm_vf32 x, ebm_vf32 limit)
{
#if defined(EBM_SIMD)
    return EBM_SIMD(max_ps)(limit, x);
#else
    return ebm__select_f32(x < limit, limit, x);
#endif
}

EBM_INLINE ebm_vf32 ebm__at_most_f32(ebm_vf32 x, ebm_vf32 limit)
{
#if defined(EBM_SIMD)
    return EBM_SIMD(min_ps)(limit, x);
#else
    return ebm__select_f32(x > limit, limit, x);
#endif
}

/* 1 / x within an ulp, for x from 1 to 2^126.  With AVX-512 a division takes as long as ten other
 * operations; the estimate has 14 bits, a step of Newton's makes 28 of them. */
EBM_INLINE ebm_vf32 ebm__fast_recip_f32(ebm_vf32 x)
{
#if defined(__AVX512F__)
    ebm_vf32 y = _mm512_rcp14_ps(x);
    return ebm__fma_f32(y, _mm512_fnmadd_ps(x, y, ebm__splat_f32(1)), y);
#else
    return 1.0f / x;
#endif
}

/* a / x within an ulp, likewise: what a first quotient leaves is divided once more. */
EBM_INLINE ebm_vf32 ebm__fast_quotient_f32(ebm_vf32 a, ebm_vf32 x)
{
#if defined(__AVX512F__)
    ebm_vf32 y = ebm__fast_recip_f32(x), q = a * y;
    return ebm__fma_f32(_mm512_fnmadd_ps(q, x, a), y, q);
#else
    return a / x;
#endif
}

/* Whether any lane of a mask is set. */
EBM_INLINE int ebm__any_i32(ebm_vi32 m)
{
#if defined(__AVX512F__)
    return _mm512_test_epi32_mask((__m512i)m, (__m512i)m) != 0;
#elif defined(__AVX2__)
    return _mm256_movemask_ps((__m256)m) != 0;
#elif defined(__SSE2__)
    return _mm_movemask_ps((__m128)m) != 0;
#else
    int32_t any = 0;
    for (int k = 0; k < EBM_LANES; k++) any |= m[k];
    return any != 0;
#endif
}

EBM_INLINE ebm_vf32 ebm__sqrt_f32(ebm_vf32 x)
{
#if defined(EBM_SIMD)
    return EBM_SIMD(sqrt_ps)(x);
#else
    for (int k = 0; k < EBM_LANES; k++) x[k] = sqrtf(x[k]);
    return x;
#endif
}

EBM_INLINE ebm_vf64 ebm__sqrt_f64(ebm_vf64 x)
{
#if defined(EBM_SIMD)
    return EBM_SIMD(sqrt_pd)(x);
#else
    for (int k = 0; k < EBM_LANES_F64; k++) x[k] = sqrt(x[k]);
    return x;
#endif
}

/* Half to even.  Adding 2^23 (2^52) to |x| leaves no place for a fraction; the sign is put
 * back, so that -0.3 gives -0; larger values, infinities and NaN are integers already. */
EBM_INLINE ebm_vf32 ebm__round_f32(ebm_vf32 x)
{
#if defined(__AVX512F__)
    return _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
#elif defined(__AVX2__)
    return _mm256_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
#else
    ebm_vu32 sign = (ebm_vu32)x & 0x80000000u;
    ebm_vf32 size = (ebm_vf32)((ebm_vu32)x ^ sign);
    ebm_vf32 rounded = (ebm_vf32)((ebm_vu32)(size + 0x1p23f - 0x1p23f) | sign);
    return ebm__select_f32(size < 0x1p23f, rounded, x);
#endif
}

EBM_INLINE ebm_vf64 ebm__round_f64(ebm_vf64 x)
{
#if defined(__AVX512F__)
    return _mm512_roundscale_pd(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
#elif defined(__AVX2__)
    return _mm256_round_pd(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
#else
    ebm_vu64 sign = (ebm_vu64)x & 0x8000000000000000u;
    ebm_vf64 size = (ebm_vf64)((ebm_vu64)x ^ sign);
    ebm_vf64 rounded = (ebm_vf64)((ebm_vu64)(size + 0x1p52 - 0x1p52) | sign);
    return ebm__select_f64(size < 0x1p52, rounded, x);
#endif
}

/* LANES bytes as lanes of i32, and the low bytes of lanes (0 .. 255) as bytes.  The compilers'
 * own conversion goes byte by byte through general registers. */
EBM_INLINE ebm_vi32 ebm__load_u8(const uint8_t *from)
{
#if defined(__AVX512F__)
    return (ebm_vi32)_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(const void *)from));
#elif defined(__AVX2__)
    return (ebm_vi32)_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)from));
#elif defined(__SSE2__)
    int32_t bytes;
    memcpy(&bytes, from, sizeof bytes);
    __m128i zero = _mm_setzero_si128();
    __m128i words = _mm_unpacklo_epi8(_mm_cvtsi32_si128(bytes), zero);
    return (ebm_vi32)_mm_unpacklo_epi16(words, zero);
#else
    ebm_vi32 x = {0};
    for (int k = 0; k < EBM_LANES; k++) x[k] = from[k];
    return x;
#endif
}

EBM_INLINE void ebm__store_u8(uint8_t *to, ebm_vi32 x)
{
#if defined(__AVX512F__)
    _mm_storeu_si128((__m128i *)(void *)to, _mm512_cvtepi32_epi8((__m512i)x));
#elif defined(__AVX2__)
    const __m256i low = _mm256_set1_epi32(0x0c080400);
    __m256i fours = _mm256_shuffle_epi8((__m256i)x, low);
    __m128i eight = _mm_unpacklo_epi32(_mm256_castsi256_si128(fours),
                                       _mm256_extracti128_si256(fours, 1));
    _mm_storel_epi64((__m128i *)(void *)to, eight);
#elif defined(__SSE2__)
    __m128i words = _mm_packs_epi32((__m128i)x, (__m128i)x);
    int32_t bytes = _mm_cvtsi128_si32(_mm_packus_epi16(words, words));
    memcpy(to, &bytes, sizeof bytes);
#else
    for (int k = 0; k < EBM_LANES; k++) to[k] = (uint8_t)x[k];
#endif
}

/* Conversion: to nearest into f32; toward zero into i32, within its range only. */
EBM_INLINE ebm_vf32 ebm__f32_of_i32(ebm_vi32 x)
{
    return __builtin_convertvector(x, ebm_vf32);
}

EBM_INLINE ebm_vi32 ebm__i32_of_f32(ebm_vf32 x)
{
    return __builtin_convertvector(x, ebm_vi32);
}

/* ---- libm, lane by lane ------------------------------------------------------------------ */

#define EBM_LIBM(name)                                                                    \
    EBM_INLINE ebm_vf64 ebm__libm_##name##_f64(ebm_vf64 x)                                 \
    {                                                                                     \
        for (int k = 0; k < EBM_LANES_F64; k++) x[k] = name(x[k]);                         \
        return x;                                                                         \
    }
#define EBM_LIBM_2(name)                                                                  \
    EBM_INLINE ebm_vf64 ebm__libm_##name##_f64(ebm_vf64 x, ebm_vf64 y)                     \
    {                                                                                     \
        for (int k = 0; k < EBM_LANES_F64; k++) x[k] = name(x[k], y[k]);                   \
        return x;                                                                         \
    }                                                                                     \
    EBM_INLINE ebm_vf32 ebm__libm_##name##_f32(ebm_vf32 x, ebm_vf32 y)                     \
    {                                                                                     \
        for (int k = 0; k < EBM_LANES; k++) x[k] = name##f(x[k], y[k]);                    \
        return x;                                                                         \
    }
/* y where not m, name(x) where m. */
#define EBM_LIBM_WHERE(name)                                                              \
    EBM_INLINE ebm_vf32 ebm__libm_##name##_where_f32(ebm_vi32 m, ebm_vf32 x, ebm_vf32 y)   \
    {                                                                                     \
        if (!ebm__any_i32(m)) return y;                                                   \
        for (int k = 0; k < EBM_LANES; k++)                                               \
            if (m[k]) y[k] = name##f(x[k]);                                               \
        return y;                                                                         \
    }
EBM_LIBM(exp)
EBM_LIBM(expm1)
EBM_LIBM(log)
EBM_LIBM(log1p)
EBM_LIBM(tanh)
EBM_LIBM(sin)
EBM_LIBM(cos)
EBM_LIBM(erf)
EBM_LIBM_2(pow)
EBM_LIBM_2(atan2)
EBM_LIBM_WHERE(sin)
EBM_LIBM_WHERE(cos)
#undef EBM_LIBM
#undef EBM_LIBM_2
#undef EBM_LIBM_WHERE

/* ---- the formulas ------------------------------------------------------------------------ */

#define EBM_FORMULA EBM_INLINE

#define EBM_REAL_BITS 32
#define EBM_NAME(id) ebm__##id##_f32
#define EBM_REAL ebm_vf32
#define EBM_MASK ebm_vi32
#define EBM_INT ebm_vi32
#define EBM_UINT ebm_vu32
#define EBM_K(c) ebm__splat_f32((float)(c))
#define EBM_SIGN 0x80000000u
#define EBM_BITS_OF(x) ((ebm_vu32)(x))
#define EBM_REAL_OF(u) ((ebm_vf32)(u))
#define EBM_CONVERT(i) ebm__f32_of_i32(i)
#define EBM_SELECT(m, a, b) ebm__select_f32(m, a, b)
#define EBM_FMA(a, b, c) ebm__fma_f32(a, b, c)
#define EBM_AT_LEAST(x, k) ebm__at_least_f32(x, k)
#define EBM_AT_MOST(x, k) ebm__at_most_f32(x, k)
#define EBM_RECIP(x) ebm__fast_recip_f32(x)
#define EBM_QUOTIENT(a, x) ebm__fast_quotient_f32(a, x)
#define EBM_LIBM_2(id, x, y) ebm__libm_##id##_f32(x, y)
#define EBM_LIBM_WHERE(id, m, x, y) ebm__libm_##id##_where_f32(m, x, y)
#include "formulas/scalar.inc"

#define EBM_REAL_BITS 64
#define EBM_NAME(id) ebm__##id##_f64
#define EBM_REAL ebm_vf64
#define EBM_MASK ebm_vi64
#define EBM_INT ebm_vi64
#define EBM_UINT ebm_vu64
#define EBM_K(c) ebm__splat_f64(c)
#define EBM_SIGN 0x8000000000000000u
#define EBM_BITS_OF(x) ((ebm_vu64)(x))
#define EBM_REAL_OF(u) ((ebm_vf64)(u))
#define EBM_SELECT(m, a, b) ebm__select_f64(m, a, b)
#define EBM_LIBM(id, x) ebm__libm_##id##_f64(x)
#define EBM_LIBM_2(id, x, y) ebm__libm_##id##_f64(x, y)
#include "formulas/scalar.inc"

#undef EBM_FORMULA

#endif
