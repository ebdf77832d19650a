/* SPDX-License-Identifier: Apache-2.0 */
/* maximum.h and minimum.h in vectors (Helium): CXN_PAIR_EXTREME is "vmax" or "vmin". */
#include "../period.h"

#if CXN_GET(IN_BITS) == 8
#define CXN_EXTREME_TYPE ".s8 "
#else
#define CXN_EXTREME_TYPE ".s16 "
#endif
#if CXN_FULL_RANGE
#define CXN_EXTREME_CLAMP
#else
#define CXN_EXTREME_CLAMP "vmax" CXN_EXTREME_TYPE "q0, q0, q2\n\tvmin" CXN_EXTREME_TYPE "q0, q0, q3\n\t"
#endif
#define CXN_BYTES_PAIR 1
#define CXN_BYTES_TEXT CXN_PAIR_EXTREME CXN_EXTREME_TYPE "q0, q0, q1\n\t" CXN_EXTREME_CLAMP
#include "bytes_helium.h"

CXN_KERNEL_FN void CXN_KERNEL(const CXN_IN_T *input, const CXN_IN_T *other, CXN_OUT_T *output, void *scratch CXN_ROWS_PARAMETER)
{
    (void)scratch;
    for (int32_t i = 0; i < CXN_PAIR_COUNT; i += CXN_PAIR_PERIOD) {
        CXN_LOCAL(bytes)(input + i, other, output + i, CXN_OUT_MIN, CXN_OUT_MAX, CXN_PAIR_PERIOD * (int32_t)sizeof(CXN_IN_T));
    }
}

#undef CXN_EXTREME_TYPE
#undef CXN_EXTREME_CLAMP
#undef CXN_PAIR_EXTREME
#undef CXN_PAIR_COUNT
#undef CXN_PAIR_PERIOD
