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
