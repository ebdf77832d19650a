/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sum or difference of two tensors with scales of their own:
 *     out[i] = clamp(rescale(left(a[i]) + SIGN right(b[i mod PERIOD]); MULTIPLIER, EXPONENT) + OUTPUT_ZERO_POINT, OUT_MIN, OUT_MAX)
 *     left(a) = rescale((a - LEFT_ZERO_POINT) 2^LEFT_SHIFT; LEFT_MULTIPLIER, LEFT_EXPONENT), right(b) likewise                  rescale.h
 *     static void CXN_KERNEL(const IN *input, const IN *other, OUT *output, void *scratch);        no scratch
 * and where LINEAR_SHIFT is not 0, the same numbers for every pair of bytes, as was looked at when they were made:
 *     out[i] = clamp((LEFT_FACTOR a[i] + RIGHT_FACTOR b[i mod PERIOD] + START) >> LINEAR_SHIFT, OUT_MIN, OUT_MAX)
 * LEFT_SHIFT is 20 for 8 bits and 15 for 16. INPUT_ALIGNED speaks for both inputs; output may be an input that is as long. One of the two
 * factors is a half, as the formula scales by twice the larger scale: that side is a shift.
 */
#include "config.h"
#include "detail/intrinsics.h"

#if CXN_GET(LINEAR_SHIFT) < 0 || CXN_GET(LINEAR_SHIFT) > 31 || (CXN_GET(LINEAR_SHIFT) && CXN_GET(IN_BITS) != 8)
#error "LINEAR_SHIFT: legal values are 0 and, with 8 bits, 1..31"
#endif
#if CXN_GET(SIGN) != 1 && CXN_GET(SIGN) != -1
#error "SIGN: legal values are 1 and -1"
#endif
/* 2^28 from either side */
#define CXN_IS_SMALL (CXN_GET(IN_BITS) == 8 && CXN_GET(LEFT_EXPONENT) <= 0 && CXN_GET(RIGHT_EXPONENT) <= 0)
#include "detail/output.h"

#if CXN_GET(LINEAR_SHIFT)
CXN_INLINE int32_t CXN_LOCAL(clamp_shifted)(int32_t x)
{
#if CXN_SATURATE && CXN_FULL_RANGE
    __asm__("ssat %0, #8, %1, asr #" CXN_STRING(CXN_GET(LINEAR_SHIFT)) : "=r"(x) : "r"(x));
    return x;
#else
    return CXN_LOCAL(clamp)(x >> CXN_GET(LINEAR_SHIFT));
#endif
}
#endif

CXN_INLINE int32_t CXN_LOCAL(pair)(int32_t a, int32_t b)
{
#if CXN_GET(LINEAR_SHIFT)
    uint32_t sum = (uint32_t)a * (uint32_t)CXN_GET(LEFT_FACTOR) + (uint32_t)CXN_GET(START);
    sum += (uint32_t)b * (uint32_t)CXN_GET(RIGHT_FACTOR);
    return CXN_LOCAL(clamp_shifted)((int32_t)sum);
#else
#if CXN_GET(LEFT_SHIFT) == 20
    const uint32_t left =
        (uint32_t)cxn_rescale_byte_by(a - CXN_GET(LEFT_ZERO_POINT), CXN_GET(LEFT_MULTIPLIER), CXN_GET(LEFT_EXPONENT), CXN_IS_SMALL);
    const uint32_t right =
        (uint32_t)cxn_rescale_byte_by(b - CXN_GET(RIGHT_ZERO_POINT), CXN_GET(RIGHT_MULTIPLIER), CXN_GET(RIGHT_EXPONENT), CXN_IS_SMALL);
#else
    const int32_t a_shifted = (int32_t)((uint32_t)(a - CXN_GET(LEFT_ZERO_POINT)) << CXN_GET(LEFT_SHIFT));
    const int32_t b_shifted = (int32_t)((uint32_t)(b - CXN_GET(RIGHT_ZERO_POINT)) << CXN_GET(LEFT_SHIFT));
    const uint32_t left = (uint32_t)cxn_rescale_by(a_shifted, CXN_GET(LEFT_MULTIPLIER), CXN_GET(LEFT_EXPONENT), CXN_IS_SMALL);
    const uint32_t right = (uint32_t)cxn_rescale_by(b_shifted, CXN_GET(RIGHT_MULTIPLIER), CXN_GET(RIGHT_EXPONENT), CXN_IS_SMALL);
#endif
    return CXN_LOCAL(output)((int32_t)(CXN_GET(SIGN) > 0 ? left + right : left - right));
#endif
}

#if CXN_GET(LINEAR_SHIFT) && CXN_HELIUM
#include "detail/asm/add_helium.h"
#elif CXN_HELIUM
#include "detail/helium_element.h"

/* left(x) and right(x): one is a shift. */
CXN_INLINE int32x4_t CXN_LOCAL(scaled)(int32x4_t x, int32_t zero_point, int32_t multiplier, int32_t exponent)
{
    const int is_half = multiplier == 1 << 30 && exponent == 0;
    const int32_t shift = CXN_GET(LEFT_SHIFT) - is_half;
    x = vmlasq_n_s32(x, vdupq_n_s32(1 << shift), (int32_t)(0U - ((uint32_t)zero_point << shift)));
    return is_half ? x : cxn_rescale_lanes(x, multiplier, exponent);
}

CXN_INLINE int32x4_t CXN_LOCAL(pair_four)(int32x4_t a, int32x4_t b)
{
    a = CXN_LOCAL(scaled)(a, CXN_GET(LEFT_ZERO_POINT), CXN_GET(LEFT_MULTIPLIER), CXN_GET(LEFT_EXPONENT));
    b = CXN_LOCAL(scaled)(b, CXN_GET(RIGHT_ZERO_POINT), CXN_GET(RIGHT_MULTIPLIER), CXN_GET(RIGHT_EXPONENT));
    return CXN_GET(SIGN) > 0 ? vaddq_s32(a, b) : vsubq_s32(a, b);
}

CXN_INLINE int16x8_t CXN_LOCAL(pair_eight)(int16x8_t a, int16x8_t b)
{
    return CXN_LOCAL(outputs)(
        CXN_LOCAL(pair_four)(vmovlbq_s16(a), vmovlbq_s16(b)), CXN_LOCAL(pair_four)(vmovltq_s16(a), vmovltq_s16(b)));
}
#include "detail/helium_pair.h"
#elif CXN_GET(LINEAR_SHIFT) && CXN_SATURATE && CXN_FULL_RANGE && CXN_GET(PERIOD) >= 8
#include "detail/asm/add.h"
#elif CXN_GET(LINEAR_SHIFT) && CXN_THUMB1 && CXN_FULL_RANGE && CXN_GET(PERIOD) >= 4
#include "detail/asm/add_v6m.h"
#else
#include "detail/pair.h"
#endif
#undef CXN_IS_SMALL
#include "detail/undef.h"
