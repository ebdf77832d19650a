/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Product of two tensors, element by element. Powers of two:
 *     out[i] = clamp( (a[i] b[i] + round(OUT_SHIFT)) >> OUT_SHIFT, OUT_MIN, OUT_MAX )              output may be an input
 *     static void CXN_KERNEL(const IN *input, const IN *other, OUT *output, void *scratch);        no scratch
 * Zero points:
 *     out[i] = clamp(rescale((a[i] - LEFT_ZERO_POINT) (b[i mod PERIOD] - RIGHT_ZERO_POINT); MULTIPLIER, EXPONENT) + OUTPUT_ZERO_POINT, ..)
 * INPUT_ALIGNED speaks for both inputs.
 */
#include "config.h"
#include "detail/intrinsics.h"

#if CXN_GET(SCHEME) == CXN_SCHEME_AFFINE
#define CXN_IS_SMALL (CXN_GET(IN_BITS) == 8)
#include "detail/output.h"

CXN_INLINE int32_t CXN_LOCAL(pair)(int32_t a, int32_t b)
{
    return CXN_LOCAL(output)((a - CXN_GET(LEFT_ZERO_POINT)) * (b - CXN_GET(RIGHT_ZERO_POINT)));
}

#include "detail/pair.h"
#undef CXN_IS_SMALL
#else
#include "detail/lanes.h"
#include "detail/scheme.h"

#define CXN_MULTIPLY_COUNT (CXN_IN_ROWS * CXN_GET(IN_W) * CXN_GET(IN_CH))

CXN_KERNEL_FN void CXN_KERNEL(const CXN_IN_T *input, const CXN_IN_T *other, CXN_OUT_T *output, void *scratch CXN_ROWS_PARAMETER)
{
    (void)scratch;
    CXN_UNROLL_LOOP(4)
    for (int i = 0; i < CXN_MULTIPLY_COUNT; ++i) {
        const int32_t a = (int32_t)CXN_LOCAL(load_lanes)(input + i, 1);
        const int32_t b = (int32_t)CXN_LOCAL(load_lanes)(other + i, 1);
        const int32_t acc = cxn_mac(a, b, (int32_t)CXN_ROUND_TERM);
        CXN_LOCAL(store_lanes)(output + i, (uint32_t)CXN_REQUANTISE(acc, NULL), 1);
    }
}

#undef CXN_MULTIPLY_COUNT
#include "detail/lanes_undef.h"
#endif
#include "detail/undef.h"
