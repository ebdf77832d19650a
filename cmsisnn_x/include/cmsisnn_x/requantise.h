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

#if CXN_HELIUM
#include "detail/helium_element.h"
CXN_INLINE int32x4_t CXN_LOCAL(four)(int32x4_t x)
{
    int32x4_t y;
    x = CXN_GET(INPUT_ZERO_POINT) ? vsubq_n_s32(x, CXN_GET(INPUT_ZERO_POINT)) : x;
    y = cxn_rescale_lanes(x, CXN_GET(MULTIPLIER), CXN_GET(EXPONENT));
#if CXN_HAS_BELOW
    y = vpselq_s32(cxn_rescale_lanes(x, CXN_GET(BELOW_MULTIPLIER), CXN_GET(BELOW_EXPONENT)), y, vcmpltq_n_s32(x, 0));
#endif
    return y;
}

CXN_INLINE void CXN_LOCAL(at)(const CXN_IN_T *input, CXN_OUT_T *output, int32_t count)
{
    const int16x8_t x = CXN_LOCAL(eight)(input, count);
    CXN_LOCAL(put_eight)(output, CXN_LOCAL(clamped)(CXN_LOCAL(four)(vmovlbq_s16(x)), CXN_LOCAL(four)(vmovltq_s16(x))), count);
}
#if !CXN_HAS_BELOW
#define CXN_TURN_PAIR 0
#include "detail/asm/rescale_helium.h"
#endif
#endif

CXN_KERNEL_FN void CXN_KERNEL(const CXN_IN_T *input, CXN_OUT_T *output, void *scratch CXN_ROWS_PARAMETER)
{
    (void)scratch;
#if CXN_HELIUM
    int32_t i = 0;
#if !CXN_HAS_BELOW
    CXN_LOCAL(sixteens)(input, input, output, CXN_REQUANTISE_COUNT / 16);
    i = CXN_REQUANTISE_COUNT / 16 * 16;
#endif
    for (; i < CXN_REQUANTISE_COUNT / 8 * 8; i += 8) {
        CXN_LOCAL(at)(input + i, output + i, 8);
    }
    if (CXN_REQUANTISE_COUNT % 8) {
        CXN_LOCAL(at)(input + i, output + i, CXN_REQUANTISE_COUNT % 8);
    }
#else
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
#endif
}

#undef CXN_REQUANTISE_COUNT
#undef CXN_HAS_BELOW
#undef CXN_IS_SMALL
#include "detail/undef.h"
