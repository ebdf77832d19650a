/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Softmax of ROWS rows of COLS elements of 16 bits, on straight lines between points, as TensorFlow Lite Micro and LiteRT have it:
 *     look(T, x) = T[i] + (((T[i+1] - T[i]) (x mod 128) + 64) >> 7),  i = 256 + (x >> 7)
 *     E = look(exponentials, sat16(rescale(x - max; MULTIPLIER, EXPONENT) + 32767)),   sum = sum of E over a row,   h = leading zeros of sum
 *     R = look(reciprocals, sat16((((sum << (h-1)) + 2^13) >> 14) - 2^15 - 2^16))
 *     out = clamp((E R + 2^(30-h)) >> (31-h), 0, 32767)                                                       rescale.h
 *     static void CXN_KERNEL(const IN *input, const int16_t *exponentials, const int16_t *reciprocals, OUT *output, void *scratch);   no scratch
 * exponentials: 513 points of e^v 2^15 on -10 <= v <= 0; reciprocals: of 2^15 / (1 + v) on 0 <= v <= 1. Output is no input.
 */
#include "element.h"
#include "rescale.h"

#if CXN_GET(IN_BITS) != 16 || CXN_OUT_BITS != 16
#error "IN_BITS, OUT_BITS: legal values for a softmax of 16 bits are 16"
#endif
#if CXN_GET(COLS) > 4095
#error "COLS: legal values are up to 4095, so that the sum leaves room"
#endif

#ifndef CXN_SOFTMAX_WIDE_H
#define CXN_SOFTMAX_WIDE_H

CXN_INLINE int32_t cxn_between_points(const int16_t *points, int32_t x)
{
    x = x < -32768 ? -32768 : x > 32767 ? 32767 : x;
    points += 256 + (x >> 7);
    return points[0] + (((points[1] - points[0]) * (x & 127) + 64) >> 7);
}

#endif /* CXN_SOFTMAX_WIDE_H */

#if CXN_HELIUM
#include "helium_element.h"

CXN_INLINE int32x4_t CXN_LOCAL(four)(const int16_t *points, int32x4_t x, int32_t most)
{
    const int32x4_t below = vaddq_n_s32(cxn_rescale_lanes(vsubq_n_s32(x, most), CXN_GET(MULTIPLIER), CXN_GET(EXPONENT)), 32767);
    const int32x4_t v = vmaxq_s32(below, vdupq_n_s32(-32768));
    const uint32x4_t at = vreinterpretq_u32_s32(vaddq_n_s32(vshrq_n_s32(v, 7), 256));
    const int32x4_t a = vldrhq_gather_shifted_offset_s32(points, at), b = vldrhq_gather_shifted_offset_s32(points + 1, at);
    return vaddq_s32(a, vrshrq_n_s32(vmulq_s32(vsubq_s32(b, a), vandq_s32(v, vdupq_n_s32(127))), 7));
}

#define CXN_SOFTMAX_WHOLE (CXN_GET(COLS) / 8 * 8)
#define CXN_SOFTMAX_REST (CXN_GET(COLS) % 8)

/* Eight elements, the largest in the place of those behind `count`. */
CXN_INLINE int16x8_t CXN_LOCAL(some)(const CXN_IN_T *in, int32_t most, int32_t count)
{
    const int16x8_t x = CXN_LOCAL(eight)(in, count);
    return count == 8 ? x : vpselq_s16(x, vdupq_n_s16((int16_t)most), vctp16q(cxn_lanes(count)));
}

/* Of `count` elements, even and odd ones apart. */
CXN_INLINE uint32_t CXN_LOCAL(add)(const CXN_IN_T *in, const int16_t *points, int32_t most, uint32_t sum, int32_t count)
{
    const int16x8_t x = CXN_LOCAL(some)(in, most, count);
    const int32x4_t even = CXN_LOCAL(four)(points, vmovlbq_s16(x), most), odd = CXN_LOCAL(four)(points, vmovltq_s16(x), most);
    if (count == 8) {
        return vaddvaq_u32(vaddvaq_u32(sum, vreinterpretq_u32_s32(even)), vreinterpretq_u32_s32(odd));
    }
    sum = vaddvaq_p_u32(sum, vreinterpretq_u32_s32(even), vctp32q(cxn_lanes((count + 1) / 2)));
    return vaddvaq_p_u32(sum, vreinterpretq_u32_s32(odd), vctp32q(cxn_lanes(count / 2)));
}

CXN_INLINE void CXN_LOCAL(put)(const CXN_IN_T *in, const int16_t *points, CXN_OUT_T *out, int32_t most, int32_t inverse, int32_t shift, int32_t count)
{
    const int16x8_t x = CXN_LOCAL(some)(in, most, count);
    int32x4_t even = vmulq_n_s32(CXN_LOCAL(four)(points, vmovlbq_s16(x), most), inverse);
    int32x4_t odd = vmulq_n_s32(CXN_LOCAL(four)(points, vmovltq_s16(x), most), inverse);
    even = vmaxq_s32(vrshlq_n_s32(even, shift), vdupq_n_s32(0));
    odd = vmaxq_s32(vrshlq_n_s32(odd, shift), vdupq_n_s32(0));
    CXN_LOCAL(put_eight)(out, vqmovntq_s32(vqmovnbq_s32(vuninitializedq_s16(), even), odd), count);
}

CXN_KERNEL_FN void CXN_KERNEL(const CXN_IN_T *input, const int16_t *exponentials, const int16_t *reciprocals, CXN_OUT_T *output, void *scratch)
{
    (void)scratch;
    for (int32_t row = 0; row < CXN_GET(ROWS); row++) {
        int16_t largest = -32768;
        int32_t most, inverse, leading;
        uint32_t sum = 0;
        for (int32_t c = 0; c < CXN_SOFTMAX_WHOLE; c += 8) {
            largest = vmaxvq_s16(largest, CXN_LOCAL(eight)(input + c, 8));
        }
        if (CXN_SOFTMAX_REST) {
            largest = vmaxvq_p_s16(largest, CXN_LOCAL(eight)(input + CXN_SOFTMAX_WHOLE, CXN_SOFTMAX_REST), vctp16q(cxn_lanes(CXN_SOFTMAX_REST)));
        }
        most = largest;
        for (int32_t c = 0; c < CXN_SOFTMAX_WHOLE; c += 8) {
            sum = CXN_LOCAL(add)(input + c, exponentials, most, sum, 8);
        }
        if (CXN_SOFTMAX_REST) {
            sum = CXN_LOCAL(add)(input + CXN_SOFTMAX_WHOLE, exponentials, most, sum, CXN_SOFTMAX_REST);
        }
        leading = __builtin_clz(sum);
        inverse = cxn_between_points(reciprocals, (int32_t)(((sum << (leading - 1)) + (1U << 13)) >> 14) - 0x18000);
        for (int32_t c = 0; c < CXN_SOFTMAX_WHOLE; c += 8) {
            CXN_LOCAL(put)(input + c, exponentials, output + c, most, inverse, leading - 31, 8);
        }
        if (CXN_SOFTMAX_REST) {
            CXN_LOCAL(put)(input + CXN_SOFTMAX_WHOLE, exponentials, output + CXN_SOFTMAX_WHOLE, most, inverse, leading - 31, CXN_SOFTMAX_REST);
        }
        input += CXN_GET(COLS);
        output += CXN_GET(COLS);
    }
}
#undef CXN_SOFTMAX_WHOLE
#undef CXN_SOFTMAX_REST
#else
CXN_INLINE int32_t CXN_LOCAL(exponential)(const int16_t *points, int32_t below)
{
    return cxn_between_points(points, cxn_rescale(below, CXN_GET(MULTIPLIER), CXN_GET(EXPONENT)) + 32767);
}

CXN_KERNEL_FN void CXN_KERNEL(const CXN_IN_T *input, const int16_t *exponentials, const int16_t *reciprocals, CXN_OUT_T *output, void *scratch)
{
    (void)scratch;
    for (int32_t row = 0; row < CXN_GET(ROWS); row++) {
        int32_t most = CXN_LOCAL(load)(input), inverse, leading = 0;
        uint32_t sum = 0;
        for (int32_t c = 1; c < CXN_GET(COLS); c++) {
            const int32_t x = CXN_LOCAL(load)(input + c);
            most = x > most ? x : most;
        }
        for (int32_t c = 0; c < CXN_GET(COLS); c++) {
            sum += (uint32_t)CXN_LOCAL(exponential)(exponentials, CXN_LOCAL(load)(input + c) - most);
        }
        for (uint32_t bits = sum; (bits & 0x80000000U) == 0; bits <<= 1) {
            leading++;
        }
        inverse = cxn_between_points(reciprocals, (int32_t)(((sum << (leading - 1)) + (1U << 13)) >> 14) - 0x18000);
        for (int32_t c = 0; c < CXN_GET(COLS); c++) {
            const int32_t each = CXN_LOCAL(exponential)(exponentials, CXN_LOCAL(load)(input + c) - most);
            const int32_t y = (each * inverse + (1 << (30 - leading))) >> (31 - leading);
            CXN_LOCAL(store)(output + c, y < 0 ? 0 : y > 32767 ? 32767 : y);
        }
        input += CXN_GET(COLS);
        output += CXN_GET(COLS);
    }
}
#endif
