/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sigmoid (CURVE_BITS 9) and tanh (CURVE_BITS 8) of 16 bits on straight lines between 256 points T, as LiteRT and TensorFlow Lite Micro have them:
 *     a = (x MULTIPLIER + round(EXPONENT)) >> EXPONENT,  u = |a| >> CURVE_BITS,  f = |a| mod 2^CURVE_BITS
 *     r = (T[u] << CURVE_BITS) + f (T[u + 1] - T[u]), from u = 255 on its limit;    T[i] = 65536 / (1 + exp(-i / 24)), nearly
 *     sigmoid(x) = (a >= 0 ? r + 2^9 : 2^25 - r + 2^9 - 1) >> 10
 *     tanh(x)    = (a >= 0 ? r - 2^23 + 2^7 : 2^23 - r + 2^7 - 1) >> 8
 *     static void CXN_KERNEL(const IN *input, const int16_t *points, OUT *output, void *scratch);        no scratch; output may be input
 */
#include "../config.h"
#include "intrinsics.h"
#include "element.h"

#if CXN_GET(IN_BITS) != 16 || CXN_OUT_BITS != 16
#error "IN_BITS, OUT_BITS: legal values for a curve with a scale are 16; 8 bits are a table, look_up.h"
#endif
#if CXN_GET(CURVE_BITS) != 8 && CXN_GET(CURVE_BITS) != 9
#error "CURVE_BITS: legal values are 9 for sigmoid and 8 for tanh"
#endif
#if CXN_GET(MULTIPLIER) < 0 || CXN_GET(MULTIPLIER) > 32767 || CXN_GET(EXPONENT) < 0 || CXN_GET(EXPONENT) > 31
#error "MULTIPLIER, EXPONENT: legal values are 0..32767 and 0..31"
#endif

#define CXN_CURVE_COUNT (CXN_IN_ROWS * CXN_GET(IN_W) * CXN_GET(IN_CH))
#define CXN_CURVE_LIMIT (CXN_GET(CURVE_BITS) == 9 ? 0x7fff << 10 : 0xffff << 8)

CXN_KERNEL_FN void CXN_KERNEL(const CXN_IN_T *input, const int16_t *points, CXN_OUT_T *output, void *scratch CXN_ROWS_PARAMETER)
{
    (void)scratch;
    for (int32_t i = 0; i < CXN_CURVE_COUNT; i++) {
        const int32_t product = CXN_LOCAL(load)(input + i) * CXN_GET(MULTIPLIER);
        const int32_t a = (int32_t)((uint32_t)product + (1U << CXN_GET(EXPONENT) >> 1)) >> CXN_GET(EXPONENT);
        const int32_t magnitude = a < 0 ? -a : a, at = magnitude >> CXN_GET(CURVE_BITS);
        int32_t r = CXN_CURVE_LIMIT;
        if (at < 255) {
            const int32_t first = (uint16_t)points[at], second = (uint16_t)points[at + 1];
            r = (first << CXN_GET(CURVE_BITS)) + (magnitude & ((1 << CXN_GET(CURVE_BITS)) - 1)) * (second - first);
        }
        if (CXN_GET(CURVE_BITS) == 9) {
            r = (a >= 0 ? r + (1 << 9) : (1 << 25) - r + (1 << 9) - 1) >> 10;
        } else {
            r = (a >= 0 ? r - (1 << 23) + (1 << 7) : (1 << 23) - r + (1 << 7) - 1) >> 8;
        }
        CXN_LOCAL(store)(output + i, r);
    }
}

#undef CXN_CURVE_COUNT
#undef CXN_CURVE_LIMIT
#include "undef.h"
