/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The scheme of zero points and multipliers (scheme.h), int8 of TensorFlow Lite Micro and CMSIS-NN:
 *     acc = start + sum                                    modulo 2^32; start = bias - INPUT_ZERO_POINT * sum of the channel's weights
 *     out = clamp(rescale(acc; multiplier, e) + OUTPUT_ZERO_POINT, OUT_MIN, OUT_MAX)                 rescale.h
 * A channel's record is { start, multiplier, shift }. RESCALE says what its shift is, and what holds for every channel:
 *     CXN_RESCALE_SINGLE  { start, factor, offset }: out = clamp(((acc factor >> 32) + offset) >> RESCALE_SHIFT, OUT_MIN, OUT_MAX), which
 *                         cmsisnn_x/single_rounding.py found to give the same for every acc of the channel, |acc| <= 2^29
 *     CXN_RESCALE_RIGHT   shift = -e - 1 = 0 .. 22, multiplier >= 2^30, |acc| <= 2^29
 *     CXN_RESCALE_FAR     the same, and shift = 1 .. 22
 *     CXN_RESCALE_ANY     shift = e
 *     CXN_RESCALE_REAL    { start, high, low, shift }: out = clamp(sign(acc) ((|acc| m + 2^(shift-1)) >> shift) + OUTPUT_ZERO_POINT, ..),
 *                         m = high 2^32 + low < 2^53, 33 <= shift < 96: LiteRT's product of double precision, rounded half away from zero
 * Padding holds INPUT_ZERO_POINT, so that every window is full.
 */
#include "clamp.h"
#include "rescale.h"
#include "wide_integers.h"

#ifndef CXN_SCHEME_AFFINE_H
#define CXN_SCHEME_AFFINE_H

/* `count` elements of 16 bits, from any even address. */
CXN_NOINLINE void cxn_fill_s16(int16_t *to, int32_t value, size_t count)
{
    int16_t *const end = to + count;
    while (to != end) {
        *to++ = (int16_t)value;
    }
}

#endif /* CXN_SCHEME_AFFINE_H */

#if CXN_GET(INPUT_ZERO_POINT) < -128 || CXN_GET(INPUT_ZERO_POINT) > 127
#error "INPUT_ZERO_POINT: legal values are -128..127"
#endif
#if CXN_GET(OUTPUT_ZERO_POINT) < -128 || CXN_GET(OUTPUT_ZERO_POINT) > 127
#error "OUTPUT_ZERO_POINT: legal values are -128..127"
#endif
#if CXN_GET(IN_BITS) != 8 || CXN_OUT_BITS != 8 || CXN_GET(WEIGHT_BITS) != 8
#error "IN_BITS, OUT_BITS, WEIGHT_BITS: legal values with RESCALE of 32-bit accumulators are 8"
#endif

#define CXN_PAD_FILL (CXN_GET(INPUT_ZERO_POINT))
#if CXN_GET(INPUT_ZERO_POINT) == 0
#define CXN_PAD(to, count) CXN_MEMSET(to, 0, (count) * 2)
#else
#define CXN_PAD(to, count) cxn_fill_s16((int16_t *)(void *)(to), CXN_PAD_FILL, (size_t)(count))
#endif

#define CXN_ACC_INIT(channel) ((channel)->start)
#define CXN_REQUANTISE(acc, factor) CXN_LOCAL(requantise)(acc, factor)
#define CXN_CHANNEL_FIRST 1

#if CXN_GET(RESCALE) == CXN_RESCALE_SINGLE
#if CXN_GET(RESCALE_SHIFT) < 1 || CXN_GET(RESCALE_SHIFT) > 22
#error "RESCALE_SHIFT: legal values are 1..22"
#endif
#define CXN_CHANNEL_T cxn_single_channel
#define CXN_FACTOR_T cxn_single_channel
#define CXN_FACTOR(channel) (*(channel))
/* clamp(x >> RESCALE_SHIFT) */
CXN_INLINE int32_t CXN_LOCAL(clamp_line)(int32_t x)
{
#if CXN_SATURATE && CXN_FULL_RANGE
    __asm__("ssat %0, #8, %0, asr #" CXN_STRING(CXN_GET(RESCALE_SHIFT)) : "+r"(x));
    return x;
#else
    return CXN_LOCAL(clamp)(x >> CXN_GET(RESCALE_SHIFT));
#endif
}

CXN_INLINE int32_t CXN_LOCAL(requantise)(int32_t acc, cxn_single_channel factor)
{
    return CXN_LOCAL(clamp_line)(cxn_multiply_add_high(acc, factor.factor, factor.offset));
}
#elif CXN_GET(RESCALE) == CXN_RESCALE_FAR && CXN_DSP
#define CXN_CHANNEL_T cxn_affine_channel
#define CXN_FACTOR_T cxn_far_factor
#define CXN_FACTOR(channel) cxn_far_factor_of((channel)->multiplier, (channel)->shift, CXN_GET(OUTPUT_ZERO_POINT))
CXN_INLINE int32_t CXN_LOCAL(requantise)(int32_t acc, cxn_far_factor factor)
{
    return CXN_LOCAL(clamp)(cxn_rescale_far(acc, factor));
}
#elif CXN_GET(RESCALE) == CXN_RESCALE_RIGHT || CXN_GET(RESCALE) == CXN_RESCALE_FAR
#define CXN_CHANNEL_T cxn_affine_channel
#define CXN_FACTOR_T cxn_right_factor
#define CXN_FACTOR(channel) cxn_right_factor_of((channel)->multiplier, (channel)->shift, CXN_GET(OUTPUT_ZERO_POINT))
CXN_INLINE int32_t CXN_LOCAL(requantise)(int32_t acc, cxn_right_factor factor)
{
    return CXN_LOCAL(clamp_half)(cxn_rescale_right(acc, factor));
}
#elif CXN_GET(RESCALE) == CXN_RESCALE_ANY
#define CXN_CHANNEL_T cxn_affine_channel
#define CXN_FACTOR_T cxn_affine_channel
#define CXN_FACTOR(channel) (*(channel))
CXN_INLINE int32_t CXN_LOCAL(requantise)(int32_t acc, cxn_affine_channel factor)
{
    return CXN_LOCAL(clamp)(cxn_rescale(acc, factor.multiplier, factor.shift) + CXN_GET(OUTPUT_ZERO_POINT));
}
#elif CXN_GET(RESCALE) == CXN_RESCALE_REAL
#define CXN_CHANNEL_T cxn_real_channel
#define CXN_FACTOR_T cxn_real_channel
#define CXN_FACTOR(channel) (*(channel))
CXN_INLINE int32_t CXN_LOCAL(requantise)(int32_t acc, cxn_real_channel factor)
{
    const uint32_t magnitude = acc < 0 ? 0U - (uint32_t)acc : (uint32_t)acc;
    const uint64_t product =
        cxn_multiply_u32(magnitude, (uint32_t)factor.high) + (cxn_multiply_u32(magnitude, (uint32_t)factor.low) >> 32);
    const uint64_t quotient = cxn_shift_right_u64(product, factor.shift - 32) + cxn_bit_u64(product, factor.shift - 33);
    const int32_t scaled = quotient < 0x10000U ? (int32_t)quotient : 0x10000; /* more is all the same */
    if (quotient > 0x80000000U || (quotient == 0x80000000U && acc >= 0)) {
        /* What 32 bits do not hold is -2^31 to LiteRT, on either side, and the sum with a zero point below 0 wraps. */
        return CXN_GET(OUTPUT_ZERO_POINT) < 0 ? CXN_OUT_MAX : CXN_OUT_MIN;
    }
    return CXN_LOCAL(clamp)((acc < 0 ? -scaled : scaled) + CXN_GET(OUTPUT_ZERO_POINT));
}
#else
#error "RESCALE: legal values with 32-bit accumulators are CXN_RESCALE_SINGLE, _RIGHT, _FAR, _ANY and _REAL"
#endif
