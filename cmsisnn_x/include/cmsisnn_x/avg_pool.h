/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Average over the window, clipped to the image:
 *     out[y][x][c] = trunc( sum / count )       over the elements of in[y STRIDE_Y - PAD_TOP + m][x STRIDE_X - PAD_LEFT + n][c] that exist
 *     static void CXN_KERNEL(const IN *input, OUT *output, void *scratch);        no scratch
 * An affine layer rounds half away from zero, trunc((sum +- floor(count / 2)) / count), and clamps to OUT_MIN .. OUT_MAX; below, |sum| is at
 * most 128 count + count / 2 then, and the product still exact. 8-bit windows of up to 256 elements: four channels at once in 16-bit sums, the division a multiplication by
 * scale = ceil(2^23 / count), exact because |sum| (scale count - 2^23) < 2^23 for |sum| <= 128 count. Else 32-bit sums and, where the core
 * has no divide instruction, a shift-and-subtract division of as many steps as the quotient has bits.
 * With BAND an average of the whole image adds rows up as they come: detail/row_sums.h.
 */
#include "config.h"
#include "detail/divide.h"
#include "detail/intrinsics.h"
#include "detail/lanes.h"
#include "detail/pool_range.h"

#ifndef CXN_AVG_POOL_H
#define CXN_AVG_POOL_H

/* Four q7 sums, two to a word: elements 0 and 2, 1 and 3; one lane has its sum in `even`. */
typedef struct {
    uint32_t even, odd;
} cxn_sums;

/* acc + {x[23:16], x[7:0]}, and acc + {x[31:24], x[15:8]}. Without SXTAB16 the bytes are taken from -128 up, so that nothing
   borrows, and the sums end 128 too high per element. */
CXN_INLINE cxn_sums cxn_sums_extend(cxn_sums sums, uint32_t x)
{
#if CXN_DSP
    __asm__("sxtab16 %0, %1, %2" : "=r"(sums.even) : "r"(sums.even), "r"(x));
    __asm__("sxtab16 %0, %1, %2, ror #8" : "=r"(sums.odd) : "r"(sums.odd), "r"(x));
#else
    x ^= 0x80808080U;
    sums.even += x & 0x00ff00ffU;
    sums.odd += (x >> 8) & 0x00ff00ffU;
#endif
    return sums;
}

CXN_INLINE cxn_sums cxn_sums_join(cxn_sums sums, cxn_sums other)
{
#if CXN_DSP
    sums.even = cxn_sadd16(sums.even, other.even);
    sums.odd = cxn_sadd16(sums.odd, other.odd);
#else
    sums.even += other.even;
    sums.odd += other.odd;
#endif
    return sums;
}

/* sum + floor(count / 2), or sum - floor(count / 2) below zero; a conditional would become a division by 2 or -2 in Clang */
CXN_INLINE int32_t cxn_away_from_zero(int32_t sum, int count)
{
    const int32_t sign = sum >> 31;
    return sum + (((count >> 1) ^ sign) - sign);
}

/* trunc(sum / count): the low or high half of a pair of sums; `rounds` to the nearest integer, halves away from zero */
CXN_INLINE uint32_t cxn_sums_divide(uint32_t pair, int high, int count, uint32_t scale, int rounds)
{
#if CXN_DSP
    int32_t sum = high ? (int32_t)pair >> 16 : (int16_t)(uint16_t)pair;
#else
    int32_t sum = (int32_t)(high ? pair >> 16 : pair & 0xffffU) - 128 * count;
#endif
    if (rounds) {
        sum = cxn_away_from_zero(sum, count);
    }
    /* floor for sums from 0, ceiling below: the addend is 2^23 - 1 there */
    const uint32_t product = (uint32_t)sum * scale + ((uint32_t)(sum >> 31) >> 9);
    return (uint32_t)((int32_t)product >> 23) & 0xffU;
}

#endif /* CXN_AVG_POOL_H */

#if CXN_GET(IN_BITS) == 16 && CXN_MIN(CXN_GET(KERNEL_H), CXN_GET(IN_H)) * CXN_MIN(CXN_GET(KERNEL_W), CXN_GET(IN_W)) > 65535
#error "KERNEL_H x KERNEL_W inside the image: legal values for 16-bit averages are up to 65535 elements, so that the sum fits 32 bits"
#endif

#define CXN_POOL_T cxn_sums
#if CXN_GET(IN_BITS) == 8 && CXN_MIN(CXN_GET(KERNEL_H), CXN_GET(IN_H)) * CXN_MIN(CXN_GET(KERNEL_W), CXN_GET(IN_W)) <= 256
#define CXN_AVG_PACKED 1
#else
#define CXN_AVG_PACKED 0
#endif
#define CXN_POOL_WORDS (CXN_WORD_READS && CXN_AVG_PACKED)

CXN_INLINE cxn_sums CXN_LOCAL(extend)(cxn_sums sum, uint32_t x, int lanes)
{
    if (lanes != 1) {
        return cxn_sums_extend(sum, x);
    }
    sum.even += x;
    return sum;
}

CXN_INLINE cxn_sums CXN_LOCAL(begin)(uint32_t x, int lanes)
{
    const cxn_sums zero = {0, 0};
    return CXN_LOCAL(extend)(zero, x, lanes);
}

CXN_INLINE cxn_sums CXN_LOCAL(join)(cxn_sums sum, cxn_sums other, int lanes)
{
    if (lanes != 1) {
        return cxn_sums_join(sum, other);
    }
    sum.even += other.even;
    return sum;
}

CXN_INLINE uint32_t CXN_LOCAL(scale)(int count)
{
    if (!CXN_AVG_PACKED) {
        return 0;
    }
#if defined(__GNUC__)
    if (__builtin_constant_p(count)) {
        return ((1U << 23) + (uint32_t)count - 1) / (uint32_t)count;
    }
#endif
    return cxn_divide_u32((1U << 23) + (uint32_t)count - 1, (uint32_t)count, 24);
}

CXN_INLINE uint32_t CXN_LOCAL(finish)(cxn_sums sum, int count, uint32_t scale, int lanes)
{
    if (lanes != 1) {
        const uint32_t four = cxn_sums_divide(sum.even, 0, count, scale, CXN_POOL_ROUNDS) |
                              cxn_sums_divide(sum.odd, 0, count, scale, CXN_POOL_ROUNDS) << 8 |
                              cxn_sums_divide(sum.even, 1, count, scale, CXN_POOL_ROUNDS) << 16 |
                              cxn_sums_divide(sum.odd, 1, count, scale, CXN_POOL_ROUNDS) << 24;
        return CXN_POOL_CLAMP(four, lanes);
    }
#if CXN_POOL_ROUNDS
    {
        const int32_t total = (int32_t)sum.even;
        if (CXN_AVG_PACKED) {
            const int32_t rounded = cxn_away_from_zero(total, count);
            return CXN_POOL_CLAMP((uint32_t)((int32_t)((uint32_t)rounded * scale + ((uint32_t)(rounded >> 31) >> 9)) >> 23), 1);
        } else {
            const uint32_t magnitude = (total < 0 ? 0U - (uint32_t)total : (uint32_t)total) + ((uint32_t)count >> 1);
            const uint32_t quotient = cxn_divide_u32(magnitude, (uint32_t)count, CXN_GET(IN_BITS));
            return CXN_POOL_CLAMP(total < 0 ? 0U - quotient : quotient, 1);
        }
    }
#else
    {
        const int32_t total = (int32_t)sum.even;
        if (CXN_AVG_PACKED) {
            return (uint32_t)((int32_t)(sum.even * scale + ((uint32_t)(total >> 31) >> 9)) >> 23);
        } else {
            const uint32_t magnitude = total < 0 ? 0U - (uint32_t)total : (uint32_t)total;
            const uint32_t quotient = cxn_divide_u32(magnitude, (uint32_t)count, CXN_GET(IN_BITS));
            return total < 0 ? 0U - quotient : quotient;
        }
    }
#endif
}

#if CXN_IS_BAND && CXN_GET(OUT_H) == 1
#if CXN_GET(OUT_W) != 1 || CXN_GET(KERNEL_H) - CXN_GET(PAD_TOP) < CXN_GET(IN_H) || CXN_GET(KERNEL_W) - CXN_GET(PAD_LEFT) < CXN_GET(IN_W)
#error "BAND: a single output row is made in bands of the input where its window has all of the image"
#endif
#include "detail/element.h"
#define CXN_SUMS_START 0U
#define CXN_SUMS_COUNT (CXN_GET(IN_H) * CXN_GET(IN_W))
CXN_INLINE int32_t CXN_LOCAL(output_of)(uint32_t sum)
{
    const cxn_sums own = {sum, 0};
    return (int32_t)CXN_LOCAL(finish)(own, CXN_SUMS_COUNT, CXN_LOCAL(scale)(CXN_SUMS_COUNT), 1);
}
#if CXN_HELIUM
#include "detail/helium_element.h"
#define CXN_AVG_COUNT CXN_SUMS_COUNT
#include "detail/helium_average.h"
#undef CXN_AVG_COUNT
CXN_INLINE void CXN_LOCAL(eight_of)(CXN_OUT_T *output, int32x4_t even, int32x4_t odd)
{
    CXN_LOCAL(average)(output, even, odd, CXN_SUMS_COUNT, CXN_LOCAL(scale)(CXN_SUMS_COUNT), 8, 1);
}
#endif
#include "detail/row_sums.h"
#undef CXN_SUMS_START
#undef CXN_SUMS_COUNT
#undef CXN_POOL_T
#undef CXN_POOL_WORDS
#else
#include "detail/pool.h"
#endif
#include "detail/lanes_undef.h"
#undef CXN_AVG_PACKED
#include "detail/undef.h"
