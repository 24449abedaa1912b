/* philox.h - random numbers as a pure function: Philox4x32-10 (Salmon and others, "Parallel
 * random numbers: as easy as 1, 2, 3", 2011) and Box-Muller, one formula for C and CUDA,
 * scalars and vectors.
 *
 * Element e of a draw with `key` and `purpose` takes word (e / 16) % 4 of the block whose
 * counter is
 *
 *     (b, b >> 32, purpose, tag),   b = e / 64 * 16 + e % 16,
 *
 * so that 16 neighbouring blocks fill 64 neighbouring elements, whatever the batch, the thread
 * or the device.  The tag is one of the three below; uniform and randint take the tag of bits:
 *
 *     bits      x
 *     randint   x n >> 32
 *     uniform   u(x) = (x >> 8) 2^-24 + 2^-25, rounded to f32, but below 1
 *     normal    sqrt(-2 log u(x)) times cos, sin of 2 pi y / 2^32
 *
 * A pair of normals takes two words: words 0 and 2 of a block are x, words 1 and 3 their y; the
 * cosine goes to x's element, the sine to y's.  fold_in(key, data) is words 0 and 1 of the
 * block (data, 0, 0, tag).  f64 draws are the f32 draws, widened: the same in every type.
 *
 * The bits of normals are the same on every machine: all operations are rounded as IEEE says,
 * fused products are explicit, and no sum has a product for a compiler to fuse.
 *
 * The constants are included once; the formulas once for each type of value, where EBM_REAL is
 * defined, with
 *
 *   EBM_FORMULA EBM_NAME(id)        static inline, __device__, ...; the function's name
 *   EBM_REAL EBM_INT EBM_UINT       f32 and 32-bit integers: scalars or vectors
 *   EBM_WIDE EBM_WIDE_K(c)          64-bit integers; one of them from 32 bits
 *   EBM_WIDE_MUL(x, m)              the low half of x times m < 2^32, 64 bits
 *   EBM_K(c) EBM_CONVERT(i)         a constant; EBM_INT to EBM_REAL
 *   EBM_BITS_OF(x) EBM_REAL_OF(u)   the same bits as EBM_UINT, as EBM_REAL
 *   EBM_SELECT(m, a, b)             m ? a : b
 *   EBM_FMA(a, b, c) EBM_SQRT(x)    rounded once, always: fmaf where the hardware has no fma */
#ifndef EBM_FORMULAS_PHILOX_H
#define EBM_FORMULAS_PHILOX_H

#include <stdint.h>

enum { EBM_PHILOX_BITS = 1, EBM_PHILOX_NORMAL = 2, EBM_PHILOX_FOLD_IN = 3 }; /* tags */
enum { EBM_PHILOX_GROUP = 64, EBM_PHILOX_BLOCKS = 16 }; /* elements, from so many blocks */

#endif

#if defined(EBM_REAL)

/* The keys of the rounds, two each: made once for many blocks. */
EBM_FORMULA void EBM_NAME(schedule)(EBM_WIDE keys[20], uint32_t key0, uint32_t key1)
{
    for (uint32_t round = 0; round < 10; round++) {
        keys[2 * round] = EBM_WIDE_K(key0 + round * 0x9E3779B9u);
        keys[2 * round + 1] = EBM_WIDE_K(key1 + round * 0xBB67AE85u);
    }
}

/* One block, in place of its counter.  Only the low halves of its words count. */
EBM_FORMULA void EBM_NAME(philox)(EBM_WIDE x[4], const EBM_WIDE keys[20])
{
    for (int round = 0; round < 10; round++) {
        EBM_WIDE p = EBM_WIDE_MUL(x[0], 0xD2511F53u), q = EBM_WIDE_MUL(x[2], 0xCD9E8D57u);
        x[0] = (q >> 32) ^ x[1] ^ keys[2 * round];
        x[1] = q;
        x[2] = (p >> 32) ^ x[3] ^ keys[2 * round + 1];
        x[3] = p;
    }
}

/* From 2^-25 to 1; only the last of 2^24 values is rounded to 1, and a uniform draw is not. */
EBM_FORMULA EBM_REAL EBM_NAME(unit)(EBM_UINT x)
{
    return EBM_FMA(EBM_CONVERT((EBM_INT)(x >> 8)), EBM_K(0x1p-24f), EBM_K(0x1p-25f));
}

EBM_FORMULA EBM_REAL EBM_NAME(uniform)(EBM_UINT x)
{
    EBM_REAL u = EBM_NAME(unit)(x);
    return EBM_SELECT(u < EBM_K(1.0f), u, EBM_K(0x1.fffffep-1f));
}

/* sqrt(-2 log u), 0 < u <= 1: u = 2^e (1 + f) with 1 + f from sqrt(1/2) to sqrt(2). */
EBM_FORMULA EBM_REAL EBM_NAME(radius)(EBM_REAL u)
{
    EBM_UINT bits = EBM_BITS_OF(u) + (0x3f800000u - 0x3f3504f3u);
    EBM_REAL e = EBM_CONVERT((EBM_INT)(bits >> 23) - 127);
    EBM_REAL f = EBM_REAL_OF((bits & 0x007fffffu) + 0x3f3504f3u) - EBM_K(1.0f);
    EBM_REAL z = f * f;
    EBM_REAL a = EBM_FMA(EBM_K(-2.500082552e-1f), f, EBM_K(3.333333135e-1f));
    EBM_REAL b = EBM_FMA(EBM_K(-1.662319005e-1f), f, EBM_K(2.000125051e-1f));
    EBM_REAL c = EBM_FMA(EBM_K(-1.316146404e-1f), f, EBM_K(1.420117617e-1f));
    EBM_REAL d = EBM_FMA(EBM_K(-7.636449486e-2f), f, EBM_K(1.276620775e-1f));
    EBM_REAL p = EBM_FMA(EBM_FMA(d, z, c), z * z, EBM_FMA(b, z, a));
    EBM_REAL y = EBM_FMA(e, EBM_K(-2.12194440e-4f), p * (f * z));
    y = EBM_FMA(EBM_K(-0.5f), z, y) + f;
    return EBM_SQRT(EBM_K(-2.0f) * EBM_FMA(e, EBM_K(0.693359375f), y));
}

/* cos and sin of 2 pi t / 2^32: t is cut into a quadrant and an angle from -pi/4 to pi/4. */
EBM_FORMULA void EBM_NAME(turn)(EBM_UINT t, EBM_REAL *cosine, EBM_REAL *sine)
{
    EBM_UINT quadrant = (t + 0x20000000u) >> 30;
    EBM_REAL x = EBM_CONVERT((EBM_INT)(t - (quadrant << 30))) * EBM_K(0x1.921fb6p-30f);
    EBM_REAL z = x * x;
    EBM_REAL s = EBM_FMA(EBM_K(-1.951790618e-4f), z, EBM_K(8.332187310e-3f));
    s = EBM_FMA(s, z, EBM_K(-1.666665524e-1f));
    s = EBM_FMA(s, z * x, x);
    EBM_REAL c = EBM_FMA(EBM_K(2.443232734e-5f), z, EBM_K(-1.388730947e-3f));
    c = EBM_FMA(c, z, EBM_K(4.166664556e-2f));
    c = EBM_FMA(c, z * z, EBM_FMA(EBM_K(-0.5f), z, EBM_K(1.0f)));
    EBM_UINT sign = (quadrant & 2u) << 30, next = ((quadrant + 1u) & 2u) << 30;
    *sine = EBM_REAL_OF(EBM_BITS_OF(EBM_SELECT((quadrant & 1u) == 0u, s, c)) ^ sign);
    *cosine = EBM_REAL_OF(EBM_BITS_OF(EBM_SELECT((quadrant & 1u) == 0u, c, s)) ^ next);
}

/* Two independent normals of two words. */
EBM_FORMULA void EBM_NAME(normals)(EBM_UINT x, EBM_UINT y, EBM_REAL *first, EBM_REAL *second)
{
    EBM_REAL r = EBM_NAME(radius)(EBM_NAME(unit)(x)), cosine, sine;
    EBM_NAME(turn)(y, &cosine, &sine);
    *first = r * cosine;
    *second = r * sine;
}

#undef EBM_NAME
#undef EBM_REAL
#undef EBM_INT
#undef EBM_UINT
#undef EBM_WIDE
#undef EBM_WIDE_K
#undef EBM_WIDE_MUL
#undef EBM_K
#undef EBM_CONVERT
#undef EBM_BITS_OF
#undef EBM_REAL_OF
#undef EBM_SELECT
#undef EBM_FMA
#undef EBM_SQRT

#endif
