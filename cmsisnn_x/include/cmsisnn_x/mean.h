/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Mean over the axis in the middle of IN_H x IN_W x IN_CH; it requantises, which avg_pool.h does not:
 *     out[y][c] = clamp(rescale(sum over x of in[y][x][c] - IN_W INPUT_ZERO_POINT; MULTIPLIER, EXPONENT) + OUTPUT_ZERO_POINT, OUT_MIN, OUT_MAX)
 *     static void CXN_KERNEL(const IN *input, OUT *output, void *scratch);        no scratch
 * The division by IN_W is in the multiplier. With BAND the mean is that of the whole image, whose rows are added up as they come:
 * detail/row_sums.h.
 */
#include "config.h"
#include "detail/intrinsics.h"
#include "detail/element.h"
#if CXN_IS_BAND
#define CXN_MEAN_COUNT (CXN_GET(IN_H) * CXN_GET(IN_W))
#if CXN_GET(OUT_H) != 1
#error "BAND: legal with OUT_H 1"
#endif
#else
#define CXN_MEAN_COUNT CXN_GET(IN_W)
#endif
#define CXN_IS_SMALL (CXN_MEAN_COUNT < (CXN_GET(IN_BITS) == 8 ? 1 << 21 : 1 << 13))
#include "detail/output.h"

#if CXN_GET(COUNT) != CXN_MEAN_COUNT
#error "COUNT: legal value is IN_W, with BAND IN_H x IN_W"
#endif

#if CXN_HELIUM && !CXN_IS_BAND
#include "detail/helium_mean.h"
#else
#define CXN_SUMS_START (0U - (uint32_t)CXN_GET(COUNT) * (uint32_t)(CXN_GET(INPUT_ZERO_POINT)))
CXN_INLINE int32_t CXN_LOCAL(output_of)(uint32_t sum)
{
    return CXN_LOCAL(output)((int32_t)sum);
}
#if CXN_HELIUM
#include "detail/helium_element.h"
CXN_INLINE void CXN_LOCAL(eight_of)(CXN_OUT_T *output, int32x4_t even, int32x4_t odd)
{
    CXN_LOCAL(put_eight)(output, CXN_LOCAL(outputs)(even, odd), 8);
}
#endif
#include "detail/row_sums.h"
#undef CXN_SUMS_START

#if !CXN_IS_BAND
CXN_KERNEL_FN void CXN_KERNEL(const CXN_IN_T *CXN_RESTRICT input, CXN_OUT_T *CXN_RESTRICT output, void *scratch)
{
    const cxn_rows whole = {1, 0, 1};
    (void)scratch;
    for (int32_t y = 0; y < CXN_GET(IN_H); y++) {
        CXN_LOCAL(add_channels)(input, output, NULL, whole);
        input += CXN_GET(IN_W) * CXN_GET(IN_CH);
        output += CXN_GET(IN_CH);
    }
}
#endif
#endif

#undef CXN_IS_SMALL
#undef CXN_MEAN_COUNT
#include "detail/undef.h"
