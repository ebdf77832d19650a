/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mean.h in vectors (Helium): of bytes sixteen channels at a time, else eight, the last of them over those before (helium_sums.h).
 */
#include "helium_element.h"
#include "helium_sums.h"

#if CXN_GET(IN_BITS) == 8 && CXN_GET(IN_CH) >= 16
#define CXN_MEAN_VECTOR 16
#else
#define CXN_MEAN_VECTOR 8
#endif

CXN_INLINE void CXN_LOCAL(some)(const CXN_IN_T *input, CXN_OUT_T *output, int32_t count)
{
    CXN_LOCAL(sums) sums[2];
    sums[0].even = sums[0].odd = vdupq_n_s32((int32_t)(0U - (uint32_t)CXN_GET(IN_W) * (uint32_t)(CXN_GET(INPUT_ZERO_POINT))));
    sums[1] = sums[0];
    if (CXN_GET(IN_CH) < 8) {
        for (int32_t x = 0; x < CXN_GET(IN_W); x++) {
            sums[0] = CXN_LOCAL(more)(sums[0], CXN_LOCAL(eight)(input, count));
            input += CXN_GET(IN_CH);
        }
    } else {
        CXN_LOCAL(add_pixels)(input, CXN_GET(IN_W), sums, CXN_MEAN_VECTOR / 8);
    }
    CXN_LOCAL(put_eight)(output, CXN_LOCAL(outputs)(sums[0].even, sums[0].odd), count);
    if (CXN_MEAN_VECTOR == 16) {
        CXN_LOCAL(put_eight)(output + 8, CXN_LOCAL(outputs)(sums[1].even, sums[1].odd), 8);
    }
}

CXN_KERNEL_FN void CXN_KERNEL(const CXN_IN_T *CXN_RESTRICT input, CXN_OUT_T *CXN_RESTRICT output, void *scratch)
{
    (void)scratch;
    for (int32_t y = 0; y < CXN_GET(IN_H); y++) {
#if CXN_GET(IN_CH) < CXN_MEAN_VECTOR
        CXN_LOCAL(some)(input, output, CXN_GET(IN_CH));
#else
        for (int32_t c = 0; c < CXN_GET(IN_CH); c += CXN_MEAN_VECTOR) {
            const int32_t at = CXN_MIN(c, CXN_GET(IN_CH) - CXN_MEAN_VECTOR);
            CXN_LOCAL(some)(input + at, output + at, 8);
        }
#endif
        input += CXN_GET(IN_W) * CXN_GET(IN_CH);
        output += CXN_GET(IN_CH);
    }
}

#undef CXN_MEAN_VECTOR
#undef CXN_SUMS_ON
#undef CXN_SUMS_EIGHT
#undef CXN_SUMS_SIXTEEN
