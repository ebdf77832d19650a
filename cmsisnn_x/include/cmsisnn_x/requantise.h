/* SPDX-License-Identifier: Apache-2.0 */
/*
 * To another scale and zero point, where a table would be too long:
 *     out[i] = clamp(rescale(in[i] - INPUT_ZERO_POINT; MULTIPLIER, EXPONENT) + OUTPUT_ZERO_POINT, OUT_MIN, OUT_MAX)              rescale.h
 * and with BELOW_MULTIPLIER, BELOW_EXPONENT below the zero point: a leaky ReLU
 *     static void CXN_KERNEL(const IN *input, OUT *output, void *scratch);        no scratch; output may be input where both are as wide
 */
#include "config.h"
#include "detail/intrinsics.h"
#include "detail/element.h"
#define CXN_IS_SMALL 1
#include "detail/output.h"

#define CXN_REQUANTISE_COUNT (CXN_IN_ROWS * CXN_GET(IN_W) * CXN_GET(IN_CH))

#if CXN_GET(BELOW_MULTIPLIER) != CXN_GET(MULTIPLIER) || CXN_GET(BELOW_EXPONENT) != CXN_GET(EXPONENT)
#define CXN_HAS_BELOW 1
#else
#define CXN_HAS_BELOW 0
#endif

CXN_KERNEL_FN void CXN_KERNEL(const CXN_IN_T *input, CXN_OUT_T *output, void *scratch CXN_ROWS_PARAMETER)
{
    (void)scratch;
    CXN_UNROLL_LOOP(4)
    for (int32_t i = 0; i < CXN_REQUANTISE_COUNT; i++) {
        const int32_t x = CXN_LOCAL(load)(input + i) - CXN_GET(INPUT_ZERO_POINT);
        if (CXN_HAS_BELOW && x < 0) {
            const int32_t y = cxn_rescale(x, CXN_GET(BELOW_MULTIPLIER), CXN_GET(BELOW_EXPONENT));
            CXN_LOCAL(store)(output + i, CXN_LOCAL(clamp)(y + CXN_GET(OUTPUT_ZERO_POINT)));
        } else {
            CXN_LOCAL(store)(output + i, CXN_LOCAL(output)(x));
        }
    }
}

#undef CXN_REQUANTISE_COUNT
#undef CXN_HAS_BELOW
#undef CXN_IS_SMALL
#include "detail/undef.h"
