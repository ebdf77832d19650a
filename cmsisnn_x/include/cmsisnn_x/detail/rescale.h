/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Products by a multiplier of 31 bits and a power of two, with the two roundings of TensorFlow Lite Micro and CMSIS-NN:
 *     rescale(x; q, e) = D(H(x 2^max(e, 0), q), max(-e, 0))          the left shift modulo 2^32
 *     H(a, q) = (a q + 2^30) >> 31                                   half up; 0 <= q < 2^31
 *     D(x, n) = (x >> n) + ((x & m) > (m >> 1) + (x < 0)), m = 2^n - 1      half away from zero
 * No core calls a library for them: Armv6-M multiplies pieces of 16 bits.
 */
#ifndef CXN_RESCALE_H
#define CXN_RESCALE_H

#include "../config.h"
#include "intrinsics.h"

/* H for any a, and for any b too but a = b = -2^31. */
CXN_INLINE int32_t cxn_high_multiply(int32_t a, int32_t b)
{
#if CXN_THUMB1
    /* a = ah 2^16 + al with 0 <= al < 2^16, so b: a b + 2^30 = 2^16 (ah bh 2^16 + middle) + low, low < 2^32. The middle's two products may
       not fit together: their sum and the top of `low` come in halves. */
    const int32_t ah = a >> 16, bh = b >> 16;
    const uint32_t al = (uint32_t)a & 0xffffU, bl = (uint32_t)b & 0xffffU;
    const int32_t m1 = ah * (int32_t)bl, m2 = bh * (int32_t)al;
    const uint32_t low = (uint32_t)(m1 & 0xffff) + (uint32_t)(m2 & 0xffff) + ((al * bl) >> 16) + (1U << 14);
    const int32_t high = (int32_t)((uint32_t)(ah * bh) + (uint32_t)(m1 >> 16) + (uint32_t)(m2 >> 16) + (low >> 16));
    return (int32_t)(((uint32_t)high << 1) | ((low >> 15) & 1U));
#else
    return (int32_t)(((int64_t)a * b + (1 << 30)) >> 31);
#endif
}

/* D for n = 0 .. 31 */
CXN_INLINE int32_t cxn_rounding_divide(int32_t x, int32_t n)
{
    const int32_t mask = (int32_t)((1U << n) - 1U);
    return (x >> n) + ((x & mask) > (mask >> 1) + (x < 0));
}

CXN_INLINE int32_t cxn_rescale(int32_t x, int32_t multiplier, int32_t exponent)
{
    const int32_t left = exponent > 0 ? exponent : 0;
    return cxn_rounding_divide(cxn_high_multiply((int32_t)((uint32_t)x << left), multiplier), left - exponent);
}

/*
 * The common case, with the zero point of the output in it: multipliers from 2^30 on, n = 1 .. 23, |x| <= 2^29. Then
 *     D(t, n) + zero point = (t + (t >> 31) + 2^(n-1) + (zero point << n)) >> n           and nothing overflows
 */
typedef struct {
    int32_t factor; /* 2 q - 2^32; q itself on Armv6-M */
    int32_t offset; /* (2 zero point + 1) 2^(n-1) */
    int32_t shift;  /* n - 1 */
} cxn_right_factor;

CXN_INLINE cxn_right_factor cxn_right_factor_of(int32_t multiplier, int32_t shift, int32_t zero_point)
{
    cxn_right_factor f;
#if CXN_THUMB1
    f.factor = multiplier;
#else
    f.factor = (int32_t)((uint32_t)multiplier << 1);
#endif
    f.offset = (int32_t)((uint32_t)(2 * zero_point + 1) << shift);
    f.shift = shift;
    return f;
}

/* Twice the output and a bit that is shifted out: the last shift rides on a saturating instruction. */
CXN_INLINE int32_t cxn_rescale_right(int32_t x, cxn_right_factor f)
{
    int32_t t;
#if CXN_DSP
    /* (x 2^32 + x (2 q - 2^32) + 2^31) >> 32 */
    __asm__("smmlar %0, %1, %2, %1" : "=r"(t) : "r"(x), "r"(f.factor));
#elif CXN_THUMB1
    /* x = xh 2^16 + xl, xl signed; the products of the middle fit together since |xh| <= 2^13. */
    const int32_t xl = (int16_t)(uint16_t)x, xh = (x + 0x8000) >> 16;
    const int32_t fl = f.factor & 0xffff, fh = f.factor >> 16;
    const int32_t middle = xl * fh + xh * fl + ((xl * fl) >> 16) + (1 << 14);
    t = 2 * (xh * fh) + (middle >> 15);
#else
    const int64_t product = (int64_t)x * f.factor;
    t = x + (int32_t)(product >> 32) + (int32_t)((uint32_t)product >> 31);
#endif
    t += t >> 31;
    return (t + f.offset) >> f.shift;
}

/* (x factor >> 32) + more, for |x| <= 2^29 and 0 <= factor < 2^31 */
CXN_INLINE int32_t cxn_multiply_add_high(int32_t x, int32_t factor, int32_t more)
{
#if CXN_DSP
    __asm__("smmla %0, %0, %1, %2" : "+r"(x) : "r"(factor), "r"(more));
    return x;
#elif CXN_THUMB1
    /* Pieces as in cxn_rescale_right. */
    const int32_t xl = (int16_t)(uint16_t)x, xh = (x + 0x8000) >> 16;
    const int32_t fl = factor & 0xffff, fh = factor >> 16;
    const int32_t middle = xl * fh + xh * fl + ((xl * fl) >> 16);
    return xh * fh + (middle >> 16) + more;
#else
    return (int32_t)(((int64_t)x * factor) >> 32) + more;
#endif
}

#if CXN_DSP
/*
 * The same for n = 2 .. 23, where the second rounding is one instruction too:
 *     D(t, n) + zero point = (zero point 2^32 + (t + (t >> 31)) 2^(32-n) + 2^31) >> 32
 */
typedef struct {
    int32_t factor;     /* 2 q - 2^32 */
    int32_t power;      /* 2^(32-n) */
    int32_t zero_point;
} cxn_far_factor;

CXN_INLINE cxn_far_factor cxn_far_factor_of(int32_t multiplier, int32_t shift, int32_t zero_point)
{
    cxn_far_factor f;
    f.factor = (int32_t)((uint32_t)multiplier << 1);
    f.power = (int32_t)(0x80000000U >> shift);
    f.zero_point = zero_point;
    return f;
}

CXN_INLINE int32_t cxn_rescale_far(int32_t x, cxn_far_factor f)
{
    int32_t t;
    __asm__("smmlar %0, %1, %2, %1" : "=r"(t) : "r"(x), "r"(f.factor));
    t += t >> 31;
    __asm__("smmlar %0, %1, %2, %3" : "=r"(t) : "r"(t), "r"(f.power), "r"(f.zero_point));
    return t;
}
#endif

/* Whether a factor that is known when this compiles is of the common case, for |x| <= 2^29. */
#define CXN_IS_RIGHT(multiplier, exponent) ((multiplier) >= (1 << 30) && (exponent) <= -1 && (exponent) >= -23)

/* rescale with such a factor; `is_small`: |x| <= 2^29 */
CXN_INLINE int32_t cxn_rescale_by(int32_t x, int32_t multiplier, int32_t exponent, int is_small)
{
    if (is_small && CXN_IS_RIGHT(multiplier, exponent)) {
        return cxn_rescale_right(x, cxn_right_factor_of(multiplier, -exponent - 1, 0)) >> 1;
    }
    return cxn_rescale(x, multiplier, exponent);
}

/* rescale(d 2^20) with such a factor, |d| <= 2^9: what 2^20 shifts out of the product is known to be zero. */
CXN_INLINE int32_t cxn_rescale_byte_by(int32_t d, int32_t multiplier, int32_t exponent, int is_small)
{
    const int32_t x = (int32_t)((uint32_t)d << 20);
    if (multiplier == 1 << 30 && exponent == 0) {
        return (int32_t)((uint32_t)d << 19);
    }
#if CXN_THUMB1
    if (is_small && CXN_IS_RIGHT(multiplier, exponent)) {
        /* H = (d q + 2^10) >> 11 */
        const int32_t t = (int32_t)((uint32_t)(d * (multiplier >> 16)) << 5) + ((d * (multiplier & 0xffff) + (1 << 10)) >> 11);
        return (t + (t >> 31) + (int32_t)((1U << -exponent) >> 1)) >> -exponent;
    }
#endif
    return cxn_rescale_by(x, multiplier, exponent, is_small);
}

#endif /* CXN_RESCALE_H */
