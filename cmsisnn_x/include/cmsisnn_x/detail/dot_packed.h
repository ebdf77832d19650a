/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sums of one segment of packed columns (convolve_packed.h), two rows of weights in words of two elements each (dot_block.h):
 *     acc[0] += sum_k weight(0, k) x[2 k]     acc[1] += sum_k weight(0, k) x[2 k + 1]     acc[2], acc[3]   the same of row 1     modulo 2^32
 * Included once per length, with CXN_B_NAME, CXN_RUN (even).
 */
#if CXN_GET(INNER) != CXN_INNER_C && CXN_THUMB2
#include "asm/dot_packed_v7m.h"
#elif CXN_GET(INNER) != CXN_INNER_C && CXN_THUMB1
#include "asm/dot_packed_v6m.h"
#else
CXN_INLINE void CXN_B_NAME(int32_t *CXN_RESTRICT acc, const int8_t *CXN_RESTRICT w, const uint32_t *CXN_RESTRICT x)
{
    CXN_UNROLL_LOOP(CXN_GET(UNROLL))
    for (int32_t k = 0; k < CXN_RUN; k++, w += 2, x += 2) {
        acc[0] = (int32_t)((uint32_t)acc[0] + (uint32_t)w[0] * x[0]);
        acc[1] = (int32_t)((uint32_t)acc[1] + (uint32_t)w[0] * x[1]);
        acc[2] = (int32_t)((uint32_t)acc[2] + (uint32_t)w[1] * x[0]);
        acc[3] = (int32_t)((uint32_t)acc[3] + (uint32_t)w[1] * x[1]);
    }
}
#endif
#undef CXN_B_NAME
