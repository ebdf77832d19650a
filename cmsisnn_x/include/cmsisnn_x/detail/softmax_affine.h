/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Softmax of ROWS rows of COLS bytes, in fixed point as TensorFlow Lite Micro has it:
 *     E = table[max - x], in Q0.31, 0 for what is too far below; TABLE entries, the others are 0
 *     sum = sum of D(E, 12) over a row,  h = leading zeros of sum,  R = 1 / (1 + ((sum 2^h) - 2^31) / 2^31) in Q0.31
 *     out = clamp(D(H(R, E), 43 - h - OUT_BITS) + least)                              H and D: rescale.h
 *     static void CXN_KERNEL(const IN *input, const int32_t *table, OUT *output, void *scratch);        no scratch
 * Output may be input where both have 8 bits.
 */
#include "element.h"
#include "rescale.h"

#ifndef CXN_SOFTMAX_AFFINE_H
#define CXN_SOFTMAX_AFFINE_H

CXN_INLINE int32_t cxn_saturate_shift(int32_t x, int bits)
{
    const int32_t most = 0x7fffffff >> bits;
    return x > most ? 0x7fffffff : x < -most - 1 ? -0x7fffffff - 1 : (int32_t)((uint32_t)x << bits);
}

/* 1 / (1 + a / 2^31) in Q0.31 for a from 0 on, by three steps of Newton and Raphson. */
CXN_NOINLINE int32_t cxn_reciprocal(int32_t a)
{
    const int32_t half = (int32_t)(((uint32_t)a + 0x80000000U) >> 1);
    int32_t x = 1515870810 + cxn_high_multiply(half, -1010580540);
    for (int i = 0; i < 3; i++) {
        x += cxn_saturate_shift(cxn_high_multiply(x, (1 << 29) - cxn_high_multiply(half, x)), 2);
    }
    return cxn_saturate_shift(x, 1);
}

#endif /* CXN_SOFTMAX_AFFINE_H */

#if CXN_GET(IN_BITS) != 8
#error "IN_BITS: legal value for a softmax with zero points is 8"
#endif
#if CXN_GET(TABLE) < 1 || CXN_GET(TABLE) > 256
#error "TABLE: legal values are 1..256"
#endif

#if CXN_HELIUM && CXN_OUT_BITS == 8
#include "helium_element.h"

#define CXN_SOFTMAX_REST (CXN_GET(COLS) % 4)

/* The exponentials of the `count` elements from p on, up to four, 0 behind them. */
CXN_INLINE int32x4_t CXN_LOCAL(exponentials)(const int32_t *table, int32_t most, const CXN_IN_T *p, int32_t count)
{
    const mve_pred16_t some = vctp32q((uint32_t)count);
    const int32x4_t x = count < 4 ? vldrbq_z_s32(p, some) : vldrbq_s32(p);
    const uint32x4_t distance = vreinterpretq_u32_s32(vsubq_s32(vdupq_n_s32(most), x));
#if CXN_GET(TABLE) < 256
    const mve_pred16_t has = vcmphiq_u32(vdupq_n_u32(CXN_GET(TABLE)), distance);
    return vldrwq_gather_shifted_offset_z_s32(table, distance, count < 4 ? has & some : has);
#else
    return count < 4 ? vldrwq_gather_shifted_offset_z_s32(table, distance, some) : vldrwq_gather_shifted_offset_s32(table, distance);
#endif
}

/* Of none below zero, and of shifts by 32 and more nothing is left. */
CXN_INLINE int32x4_t CXN_LOCAL(outputs_of)(int32x4_t four, int32_t reciprocal, int32_t shift)
{
    const int32x4_t y = vrshlq_n_s32(vqrdmulhq_n_s32(four, reciprocal), -shift);
    return vsubq_n_s32(vminq_s32(y, vdupq_n_s32(255)), 128);
}

CXN_KERNEL_FN void CXN_KERNEL(const CXN_IN_T *input, const int32_t *table, CXN_OUT_T *output, void *scratch)
{
    (void)scratch;
    for (int32_t row = 0; row < CXN_GET(ROWS); row++) {
        int32_t most = -128, leading = 0, reciprocal, shift, c = 0;
        uint32_t sum = 0;
        for (; c < CXN_GET(COLS) / 16 * 16; c += 16) {
            most = vmaxvq_s8((int8_t)most, vldrbq_s8(input + c));
        }
        if (CXN_GET(COLS) % 16) {
            const mve_pred16_t some = vctp8q(CXN_GET(COLS) % 16);
            most = vmaxvq_p_s8((int8_t)most, vldrbq_z_s8(input + c, some), some);
        }
        for (c = 0; c < CXN_GET(COLS) / 4 * 4; c += 4) {
            const int32x4_t four = CXN_LOCAL(exponentials)(table, most, input + c, 4);
            sum = vaddvaq_u32(sum, vrshrq_n_u32(vreinterpretq_u32_s32(four), 12));
        }
        if (CXN_SOFTMAX_REST) {
            const int32x4_t four = CXN_LOCAL(exponentials)(table, most, input + c, CXN_SOFTMAX_REST);
            sum = vaddvaq_u32(sum, vrshrq_n_u32(vreinterpretq_u32_s32(four), 12));
        }
        for (uint32_t bits = sum; (bits & 0x80000000U) == 0; bits <<= 1) {
            leading++;
        }
        reciprocal = cxn_reciprocal((int32_t)((sum << leading) - 0x80000000U));
        shift = 43 - leading - CXN_OUT_BITS;
        for (c = 0; c < CXN_GET(COLS) / 4 * 4; c += 4) {
            const int32x4_t four = CXN_LOCAL(exponentials)(table, most, input + c, 4);
            vstrbq_s32(output + c, CXN_LOCAL(outputs_of)(four, reciprocal, shift));
        }
        if (CXN_SOFTMAX_REST) {
            const int32x4_t four = CXN_LOCAL(exponentials)(table, most, input + c, CXN_SOFTMAX_REST);
            vstrbq_p_s32(output + c, CXN_LOCAL(outputs_of)(four, reciprocal, shift), vctp32q(CXN_SOFTMAX_REST));
        }
        input += CXN_GET(COLS);
        output += CXN_GET(COLS);
    }
}
#undef CXN_SOFTMAX_REST
#else
CXN_INLINE int32_t CXN_LOCAL(exponential)(const int32_t *table, int32_t distance)
{
    return distance < CXN_GET(TABLE) ? table[distance] : 0;
}

CXN_KERNEL_FN void CXN_KERNEL(const CXN_IN_T *input, const int32_t *table, CXN_OUT_T *output, void *scratch)
{
    (void)scratch;
    for (int32_t row = 0; row < CXN_GET(ROWS); row++) {
        int32_t most = input[0], leading = 0, reciprocal, shift;
        uint32_t sum = 0;
        for (int32_t c = 1; c < CXN_GET(COLS); c++) {
            most = input[c] > most ? input[c] : most;
        }
        CXN_UNROLL_LOOP(2)
        for (int32_t c = 0; c < CXN_GET(COLS); c++) {
            sum += ((uint32_t)CXN_LOCAL(exponential)(table, most - input[c]) + (1U << 11)) >> 12;
        }
        for (uint32_t bits = sum; (bits & 0x80000000U) == 0; bits <<= 1) {
            leading++;
        }
        reciprocal = cxn_reciprocal((int32_t)((sum << leading) - 0x80000000U));
        shift = 43 - leading - CXN_OUT_BITS;
        for (int32_t c = 0; c < CXN_GET(COLS); c++) {
            const int32_t scaled = cxn_high_multiply(reciprocal, CXN_LOCAL(exponential)(table, most - input[c]));
            /* A sum of 2^28 and more leaves less than a half of everything that is shifted so far. */
            const int32_t y = shift > 31 ? 0 : cxn_rounding_divide(scaled, shift);
            CXN_LOCAL(store)(output + c, CXN_MIN(y, (1 << CXN_OUT_BITS) - 1) - (1 << (CXN_OUT_BITS - 1)));
        }
        input += CXN_GET(COLS);
        output += CXN_GET(COLS);
    }
}
#endif
