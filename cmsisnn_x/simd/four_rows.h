/* SPDX-License-Identifier: Apache-2.0 */
/* sums[i] += x . row[i]: unsigned sums wrap, one product always fits. */
#ifndef CMSISNN_X_SIMD_FOUR_ROWS_H
#define CMSISNN_X_SIMD_FOUR_ROWS_H

#include "common.h"

#define FOUR_ROWS(name, W)                                                                                            \
    ALWAYS_INLINE void name(const int16_t *restrict x, const void *const *rows, ptrdiff_t n, uint32_t *restrict sums) \
    {                                                                                                                 \
        const W *restrict r0 = rows[0], *restrict r1 = rows[1], *restrict r2 = rows[2], *restrict r3 = rows[3];       \
        uint32_t s0 = 0, s1 = 0, s2 = 0, s3 = 0;                                                                      \
        for (ptrdiff_t k = 0; k < n; k++) {                                                                           \
            const int32_t v = x[k];                                                                                   \
            s0 += (uint32_t)(v * r0[k]);                                                                              \
            s1 += (uint32_t)(v * r1[k]);                                                                              \
            s2 += (uint32_t)(v * r2[k]);                                                                              \
            s3 += (uint32_t)(v * r3[k]);                                                                              \
        }                                                                                                             \
        sums[0] += s0;                                                                                                \
        sums[1] += s1;                                                                                                \
        sums[2] += s2;                                                                                                \
        sums[3] += s3;                                                                                                \
    }
FOUR_ROWS(four_rows_w8, int8_t)
FOUR_ROWS(four_rows_w16, int16_t)
#undef FOUR_ROWS

#endif
