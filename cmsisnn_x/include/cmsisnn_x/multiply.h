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

#if CXN_HELIUM
#include "detail/helium_element.h"
CXN_INLINE int16x8_t CXN_LOCAL(pair_eight)(int16x8_t a, int16x8_t b)
{
    a = CXN_GET(LEFT_ZERO_POINT) ? vsubq_n_s16(a, CXN_GET(LEFT_ZERO_POINT)) : a;
    b = CXN_GET(RIGHT_ZERO_POINT) ? vsubq_n_s16(b, CXN_GET(RIGHT_ZERO_POINT)) : b;
    return CXN_LOCAL(outputs)(vmullbq_int_s16(a, b), vmulltq_int_s16(a, b));
}
#define CXN_TURN_PAIR 1
#include "detail/asm/rescale_helium.h"
#define CXN_PAIR_HAS_SIXTEENS 1
#include "detail/helium_pair.h"
#else
CXN_INLINE int32_t CXN_LOCAL(pair)(int32_t a, int32_t b)
{
    return CXN_LOCAL(output)((a - CXN_GET(LEFT_ZERO_POINT)) * (b - CXN_GET(RIGHT_ZERO_POINT)));
}

#include "detail/pair.h"
#endif
#undef CXN_IS_SMALL
#else
#include "detail/lanes.h"
#include "detail/scheme.h"

#define CXN_MULTIPLY_COUNT (CXN_IN_ROWS * CXN_GET(IN_W) * CXN_GET(IN_CH))

#if CXN_HELIUM
#include "detail/asm/multiply_helium.h"
CXN_INLINE int32x4_t CXN_LOCAL(shifted)(int32x4_t product)
{
    return vshlq_r_s32(vaddq_n_s32(product, (int32_t)CXN_ROUND_TERM), -CXN_GET(OUT_SHIFT));
}

CXN_INLINE void CXN_LOCAL(at)(const CXN_IN_T *input, const CXN_IN_T *other, CXN_OUT_T *output, int32_t count)
{
    const int16x8_t a = CXN_LOCAL(eight)(input, count), b = CXN_LOCAL(eight)(other, count);
    const int16x8_t x = CXN_LOCAL(clamped)(CXN_LOCAL(shifted)(vmullbq_int_s16(a, b)), CXN_LOCAL(shifted)(vmulltq_int_s16(a, b)));
    CXN_LOCAL(put_eight)(output, x, count);
}
#endif

CXN_KERNEL_FN void CXN_KERNEL(const CXN_IN_T *input, const CXN_IN_T *other, CXN_OUT_T *output, void *scratch CXN_ROWS_PARAMETER)
{
    (void)scratch;
#if CXN_HELIUM
    int32_t i = CXN_LOCAL(vectors)(input, other, output, CXN_MULTIPLY_COUNT);
    for (; i < CXN_MULTIPLY_COUNT / 8 * 8; i += 8) {
        CXN_LOCAL(at)(input + i, other + i, output + i, 8);
    }
    if (CXN_MULTIPLY_COUNT % 8) {
        CXN_LOCAL(at)(input + i, other + i, output + i, CXN_MULTIPLY_COUNT % 8);
    }
#else
    CXN_UNROLL_LOOP(4)
    for (int i = 0; i < CXN_MULTIPLY_COUNT; ++i) {
        const int32_t a = (int32_t)CXN_LOCAL(load_lanes)(input + i, 1);
        const int32_t b = (int32_t)CXN_LOCAL(load_lanes)(other + i, 1);
        const int32_t acc = cxn_mac(a, b, (int32_t)CXN_ROUND_TERM);
        CXN_LOCAL(store_lanes)(output + i, (uint32_t)CXN_REQUANTISE(acc, NULL), 1);
    }
#endif
}

#undef CXN_MULTIPLY_COUNT
#include "detail/lanes_undef.h"
#endif
#include "detail/undef.h"
