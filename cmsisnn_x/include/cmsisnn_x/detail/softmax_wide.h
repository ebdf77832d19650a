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
