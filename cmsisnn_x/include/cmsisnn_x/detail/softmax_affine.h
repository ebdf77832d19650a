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

#if CXN_HELIUM
/* The exponentials of four elements in y, in the place of those that are not in the table 0; x is overwritten. */
#if CXN_GET(TABLE) < 256
#define CXN_SOFTMAX_LOOK(x, y) "vpt.u32 hi, q6, " x "\n\tvldrwt.u32 " y ", [%[table], " x ", uxtw #2]\n\t"
#else
#define CXN_SOFTMAX_LOOK(x, y) "vldrw.u32 " y ", [%[table], " x ", uxtw #2]\n\t"
#endif
#define CXN_SOFTMAX_FOUR(x, y) "vldrb.s32 " x ", [%[in]], #4\n\tvsub.i32 " x ", q7, " x "\n\t" CXN_SOFTMAX_LOOK(x, y)
#define CXN_SOFTMAX_CONSTANTS "vdup.32 q7, %[most]\n\tvdup.32 q6, %[entries]\n\t"

#include "asm/largest_helium.h"

/* The sum of the exponentials of a row. */
CXN_INLINE uint32_t CXN_LOCAL(total)(const CXN_IN_T *in, const int32_t *table, int32_t most)
{
    uint32_t sum = 0;
    __asm__ volatile(CXN_SOFTMAX_CONSTANTS "wls lr, %[turns], 2f\n\t.p2align 2\n1:\n\t"
                     CXN_SOFTMAX_FOUR("q0", "q1") "vrshr.u32 q1, q1, #12\n\t" CXN_SOFTMAX_FOUR("q2", "q3")
                     "vaddva.u32 %[sum], q1\n\tvrshr.u32 q3, q3, #12\n\tvaddva.u32 %[sum], q3\n\t"
                     "le lr, 1b\n2:\n\twlstp.32 lr, %[rest], 4f\n\t.p2align 2\n3:\n\t"
                     CXN_SOFTMAX_FOUR("q0", "q1") "vrshr.u32 q1, q1, #12\n\tvaddva.u32 %[sum], q1\n\t"
                     "letp lr, 3b\n4:\n\t"
                     : [in] "+l"(in), [sum] "+&Te"(sum)
                     : [table] "r"(table), [most] "r"(most), [entries] "r"(CXN_GET(TABLE)), [turns] "r"(CXN_GET(COLS) / 8), [rest] "r"(CXN_GET(COLS) % 8)
                     : CXN_CLOBBERS_VPR "q0", "q1", "q2", "q3", "q6", "q7", "lr", "cc", "memory");
    return sum;
}

/* Of none below zero, and of shifts by 32 and more nothing is left. */
#define CXN_SOFTMAX_HIGH(y) "vqrdmulh.s32 " y ", " y ", %[reciprocal]\n\t"
#define CXN_SOFTMAX_SHIFT(y) "vrshl.s32 " y ", %[shift]\n\t"
#if CXN_OUT_BITS == 8
#define CXN_SOFTMAX_MOST(y) "vmin.s32 " y ", " y ", q5\n\tvmla.s32 " y ", q4, %[least]\n\t"
#define CXN_SOFTMAX_PUT(y) "vstrb.32 " y ", [%[out]], #4\n\t"
CXN_INLINE void CXN_LOCAL(row)(const CXN_IN_T *in, const int32_t *table, CXN_OUT_T *out, int32_t most, int32_t reciprocal, int32_t shift)
{
    __asm__ volatile(CXN_SOFTMAX_CONSTANTS "vmov.i32 q5, #255\n\tvmov.i32 q4, #1\n\twls lr, %[turns], 2f\n\t.p2align 2\n1:\n\t"
                     CXN_SOFTMAX_FOUR("q0", "q1") CXN_SOFTMAX_HIGH("q1") CXN_SOFTMAX_FOUR("q2", "q3")
                     CXN_SOFTMAX_SHIFT("q1") CXN_SOFTMAX_HIGH("q3") CXN_SOFTMAX_MOST("q1")
                     CXN_SOFTMAX_SHIFT("q3") CXN_SOFTMAX_PUT("q1") CXN_SOFTMAX_MOST("q3") CXN_SOFTMAX_PUT("q3")
                     "le lr, 1b\n2:\n\twlstp.32 lr, %[rest], 4f\n\t.p2align 2\n3:\n\t"
                     CXN_SOFTMAX_FOUR("q0", "q1") CXN_SOFTMAX_HIGH("q1") CXN_SOFTMAX_SHIFT("q1") CXN_SOFTMAX_MOST("q1") CXN_SOFTMAX_PUT("q1")
                     "letp lr, 3b\n4:\n\t"
                     : [in] "+l"(in), [out] "+l"(out)
                     : [table] "r"(table), [most] "r"(most), [entries] "r"(CXN_GET(TABLE)), [reciprocal] "r"(reciprocal), [shift] "r"(-shift),
                       [least] "r"(-128), [turns] "r"(CXN_GET(COLS) / 8), [rest] "r"(CXN_GET(COLS) % 8)
                     : CXN_CLOBBERS_VPR "q0", "q1", "q2", "q3", "q4", "q5", "q6", "q7", "lr", "cc", "memory");
}

#else
#include "helium_element.h"

/* Eight outputs, or `count` of them, of elements so far below the largest. */
CXN_INLINE void CXN_LOCAL(eight_of)(int16x8_t distance, const int32_t *table, CXN_OUT_T *out, int32_t reciprocal, int32_t shift, int32_t count)
{
    const int32x4_t even = vmovlbq_s16(distance), odd = vmovltq_s16(distance);
    const mve_pred16_t in_even = vcmpltq_n_s32(even, CXN_GET(TABLE)), in_odd = vcmpltq_n_s32(odd, CXN_GET(TABLE));
    const int32x4_t a = vldrwq_gather_shifted_offset_z_s32(table, vreinterpretq_u32_s32(even), in_even);
    const int32x4_t b = vldrwq_gather_shifted_offset_z_s32(table, vreinterpretq_u32_s32(odd), in_odd);
    uint16x8_t y = vqmovunbq_s32(vuninitializedq_u16(), vrshlq_n_s32(vqrdmulhq_n_s32(a, reciprocal), -shift));
    y = vqmovuntq_s32(y, vrshlq_n_s32(vqrdmulhq_n_s32(b, reciprocal), -shift));
    CXN_LOCAL(put_eight)(out, vreinterpretq_s16_u16(vaddq_n_u16(y, 0x8000U)), count);
}

CXN_INLINE void CXN_LOCAL(row)(const CXN_IN_T *in, const int32_t *table, CXN_OUT_T *out, int32_t most, int32_t reciprocal, int32_t shift)
{
    __asm__ volatile("vdup.16 q7, %[most]\n\tvdup.32 q6, %[entries]\n\twls lr, %[turns], 2f\n\t.p2align 2\n1:\n\t"
                     "vldrb.s16 q0, [%[in]], #8\n\tvsub.i16 q0, q7, q0\n\tvmovlb.s16 q1, q0\n\tvmovlt.s16 q2, q0\n\t"
                     CXN_SOFTMAX_LOOK("q1", "q3") CXN_SOFTMAX_HIGH("q3") CXN_SOFTMAX_LOOK("q2", "q4") CXN_SOFTMAX_SHIFT("q3") CXN_SOFTMAX_HIGH("q4")
                     "vqmovunb.s32 q0, q3\n\t" CXN_SOFTMAX_SHIFT("q4") "vqmovunt.s32 q0, q4\n\tvadd.i16 q0, q0, %[least]\n\t"
                     "vstrb.8 q0, [%[out]], #16\n\tle lr, 1b\n2:\n\t"
                     : [in] "+l"(in), [out] "+l"(out)
                     : [table] "r"(table), [most] "r"(most), [entries] "r"(CXN_GET(TABLE)), [reciprocal] "r"(reciprocal), [shift] "r"(-shift),
                       [least] "r"(-32768), [turns] "r"(CXN_GET(COLS) / 8)
                     : CXN_CLOBBERS_VPR "q0", "q1", "q2", "q3", "q4", "q6", "q7", "lr", "cc", "memory");
    if (CXN_GET(COLS) % 8) {
        const int16x8_t distance = vsubq_s16(vdupq_n_s16((int16_t)most), CXN_LOCAL(eight)(in, CXN_GET(COLS) % 8));
        CXN_LOCAL(eight_of)(vpselq_s16(distance, vdupq_n_s16(0), vctp16q(cxn_lanes(CXN_GET(COLS) % 8))), table, out, reciprocal, shift, CXN_GET(COLS) % 8);
    }
}
#endif

CXN_KERNEL_FN void CXN_KERNEL(const CXN_IN_T *input, const int32_t *table, CXN_OUT_T *output, void *scratch)
{
    (void)scratch;
    for (int32_t row = 0; row < CXN_GET(ROWS); row++) {
        const int32_t most = CXN_LOCAL(largest)(input);
        const uint32_t sum = CXN_LOCAL(total)(input, table, most);
        const int32_t leading = __builtin_clz(sum);
        const int32_t reciprocal = cxn_reciprocal((int32_t)((sum << leading) - 0x80000000U));
        CXN_LOCAL(row)(input, table, output, most, reciprocal, 43 - leading - CXN_OUT_BITS);
        input += CXN_GET(COLS);
        output += CXN_GET(COLS);
    }
}
#undef CXN_SOFTMAX_LOOK
#undef CXN_SOFTMAX_FOUR
#undef CXN_SOFTMAX_CONSTANTS
#undef CXN_SOFTMAX_HIGH
#undef CXN_SOFTMAX_SHIFT
#undef CXN_SOFTMAX_MOST
#undef CXN_SOFTMAX_PUT
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
