/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Softmax of ROWS rows of COLS bytes as that of real numbers:
 *     E = table[max - x],   out = clamp(floor(256 E / sum of E + 1/2) + OUTPUT_ZERO_POINT, -128, 127)
 *     static void CXN_KERNEL(const IN *input, const int32_t *table, OUT *output, void *scratch);        no scratch; output may be input
 * 256 exponentials, so small that COLS of them and 256 of them fit 32 bits.
 */
#include "divide.h"

#if CXN_GET(IN_BITS) != 8 || CXN_OUT_BITS != 8
#error "IN_BITS, OUT_BITS: legal values for a softmax of real numbers are 8"
#endif
#if CXN_GET(OUTPUT_ZERO_POINT) < -128 || CXN_GET(OUTPUT_ZERO_POINT) > 127
#error "OUTPUT_ZERO_POINT: legal values are -128..127"
#endif

#if CXN_HELIUM
#include "asm/largest_helium.h"

/* The exponentials of four elements. */
#define CXN_SOFTMAX_FOUR(x, y) \
    "vldrb.s32 " x ", [%[in]], #4\n\tvsub.i32 " x ", q7, " x "\n\tvldrw.u32 " y ", [%[table], " x ", uxtw #2]\n\t"

/* The sum of the exponentials of a row. */
CXN_INLINE uint32_t CXN_LOCAL(total)(const CXN_IN_T *in, const int32_t *table, int32_t most)
{
    uint32_t sum = 0;
    __asm__ volatile("vdup.32 q7, %[most]\n\twlstp.32 lr, %[count], 2f\n\t.p2align 2\n1:\n\t"
                     CXN_SOFTMAX_FOUR("q0", "q1") "vaddva.u32 %[sum], q1\n\t"
                     "letp lr, 1b\n2:\n\t"
                     : [in] "+l"(in), [sum] "+&Te"(sum)
                     : [table] "r"(table), [most] "r"(most), [count] "r"(CXN_GET(COLS))
                     : "q0", "q1", "q7", "lr", "cc", "memory");
    return sum;
}

/* With n = 256 E + sum / 2 below 2^32 the high word of n floor(2^32 / sum) is the quotient or one less, which the rest tells. */
CXN_INLINE void CXN_LOCAL(row)(const CXN_IN_T *in, const int32_t *table, CXN_OUT_T *out, int32_t most, uint32_t sum)
{
    __asm__ volatile("vdup.32 q7, %[most]\n\tvdup.32 q6, %[reciprocal]\n\tvmov.i32 q5, #127\n\t"
                     "wlstp.32 lr, %[count], 2f\n\t.p2align 2\n1:\n\t"
                     CXN_SOFTMAX_FOUR("q0", "q1") "vshl.i32 q1, q1, #8\n\tvadd.i32 q1, q1, %[half]\n\tvmulh.u32 q2, q1, q6\n\t"
                     "vmul.i32 q3, q2, %[sum]\n\tvadd.i32 q2, q2, %[zero]\n\tvsub.i32 q1, q1, q3\n\t"
                     "vpt.u32 cs, q1, %[sum]\n\tvaddt.i32 q2, q2, %[one]\n\tvmin.s32 q2, q2, q5\n\tvstrb.32 q2, [%[out]], #4\n\t"
                     "letp lr, 1b\n2:\n\t"
                     : [in] "+l"(in), [out] "+l"(out)
                     : [table] "r"(table), [most] "r"(most), [sum] "r"(sum), [half] "r"(sum / 2U), [reciprocal] "r"(0xffffffffU / sum), [one] "r"(1),
                       [zero] "r"(CXN_GET(OUTPUT_ZERO_POINT)), [count] "r"(CXN_GET(COLS))
                     : CXN_CLOBBERS_VPR "q0", "q1", "q2", "q3", "q5", "q6", "q7", "lr", "cc", "memory");
}

CXN_KERNEL_FN void CXN_KERNEL(const CXN_IN_T *input, const int32_t *table, CXN_OUT_T *output, void *scratch)
{
    (void)scratch;
    for (int32_t row = 0; row < CXN_GET(ROWS); row++) {
        const int32_t most = CXN_LOCAL(largest)(input);
        CXN_LOCAL(row)(input, table, output, most, CXN_LOCAL(total)(input, table, most));
        input += CXN_GET(COLS);
        output += CXN_GET(COLS);
    }
}
#undef CXN_SOFTMAX_FOUR
#else
CXN_KERNEL_FN void CXN_KERNEL(const CXN_IN_T *input, const int32_t *table, CXN_OUT_T *output, void *scratch)
{
    (void)scratch;
    for (int32_t row = 0; row < CXN_GET(ROWS); row++) {
        int32_t most = input[0];
        uint32_t sum = 0;
        for (int32_t c = 1; c < CXN_GET(COLS); c++) {
            most = input[c] > most ? input[c] : most;
        }
        for (int32_t c = 0; c < CXN_GET(COLS); c++) {
            sum += (uint32_t)table[most - input[c]];
        }
        for (int32_t c = 0; c < CXN_GET(COLS); c++) {
            const uint32_t y = cxn_divide_u32(((uint32_t)table[most - input[c]] << 8) + sum / 2U, sum, 9);
            output[c] = (CXN_OUT_T)CXN_MIN((int32_t)y + CXN_GET(OUTPUT_ZERO_POINT), 127);
        }
        input += CXN_GET(COLS);
        output += CXN_GET(COLS);
    }
}
#endif
