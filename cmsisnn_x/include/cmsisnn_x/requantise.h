/* SPDX-License-Identifier: Apache-2.0 */
/*
 * To another scale and zero point, where a table would be too long:
 *     out[i] = clamp(rescale(in[i] - INPUT_ZERO_POINT; MULTIPLIER, EXPONENT) + OUTPUT_ZERO_POINT, OUT_MIN, OUT_MAX)              rescale.h
 *     static void CXN_KERNEL(const IN *input, OUT *output, void *scratch);        no scratch; output may be input where both are as wide
 */
#include "cmsisnn_x/config.h"
#include "cmsisnn_x/detail/intrinsics.h"
#include "cmsisnn_x/detail/element.h"
#define CXN_IS_SMALL 1
#include "cmsisnn_x/detail/output.h"

#define CXN_REQUANTISE_COUNT (CXN_GET(IN_H) * CXN_GET(IN_W) * CXN_GET(IN_CH))

CXN_KERNEL_FN void CXN_KERNEL(const CXN_IN_T *input, CXN_OUT_T *output, void *scratch)
{
    (void)scratch;
    CXN_UNROLL_LOOP(4)
    for (int32_t i = 0; i < CXN_REQUANTISE_COUNT; i++) {
        CXN_LOCAL(store)(output + i, CXN_LOCAL(output)(CXN_LOCAL(load)(input + i) - CXN_GET(INPUT_ZERO_POINT)));
    }
}

#undef CXN_REQUANTISE_COUNT
#undef CXN_IS_SMALL
#include "cmsisnn_x/detail/undef.h"
