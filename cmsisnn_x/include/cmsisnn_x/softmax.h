/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Layers with zero points: softmax_affine.h, of 16 bits softmax_wide.h, of real numbers softmax_real.h. Powers of two: softmax to the base 2 over all elements:
 *     m = max(x),  e = x - (m - W),  W = 8 or 16;     S = sum of 2^e over the live elements, those with e > 0
 *     Q = floor(2^20 / S) or floor(2^32 / S),   K = 13 or 17;      out = min(Q >> (K - e), 127 or 32767) if live, else 0
 *     static void CXN_KERNEL(const IN *input, OUT *output, void *scratch);        no scratch
 */
#include "config.h"
#include "detail/intrinsics.h"

#if CXN_GET(SCHEME) == CXN_SCHEME_AFFINE
#if CXN_GET(IS_REAL)
#include "detail/softmax_real.h"
#elif CXN_GET(IN_BITS) == 8
#include "detail/softmax_affine.h"
#else
#include "detail/softmax_wide.h"
#endif
#else
#include "detail/divide.h"
#include "detail/lanes.h"

/* Networks have at most 32767 elements here, as Arm's functions count in an int16_t; the sum allows twice as many. */
#define CXN_SOFTMAX_COUNT (CXN_GET(IN_H) * CXN_GET(IN_W) * CXN_GET(IN_CH))
#if CXN_GET(IN_H) > 65535 / CXN_GET(IN_W) / CXN_GET(IN_CH)
#error "IN_H x IN_W x IN_CH: legal values for softmax are 1..65535 elements, so that the sum fits 32 bits"
#endif
#if CXN_GET(IN_BITS) == 8
#define CXN_SOFTMAX_WIDTH 8
#define CXN_SOFTMAX_K 13
#define CXN_SOFTMAX_MAX 127U
#else
#define CXN_SOFTMAX_WIDTH 16
#define CXN_SOFTMAX_K 17
#define CXN_SOFTMAX_MAX 32767U
#endif

#if CXN_HELIUM
#include "detail/helium_element.h"

/* The powers of the live ones of four elements, in the place of the others 0. */
CXN_INLINE uint32_t CXN_LOCAL(powers)(uint32_t sum, int32x4_t x, int32_t base)
{
    const int32x4_t e = vsubq_n_s32(x, base);
    return vaddvaq_p_u32(sum, vshlq_u32(vdupq_n_u32(1), e), vcmpgtq_n_s32(e, 0));
}

CXN_INLINE int32x4_t CXN_LOCAL(quotients)(uint32_t quotient, int32x4_t x, int32_t base)
{
    const int32x4_t e = vsubq_n_s32(x, base);
    const uint32x4_t y = vshlq_u32(vdupq_n_u32(quotient), vsubq_n_s32(e, CXN_SOFTMAX_K));
    return vreinterpretq_s32_u32(vpselq_u32(vminq_u32(y, vdupq_n_u32(CXN_SOFTMAX_MAX)), vdupq_n_u32(0), vcmpgtq_n_s32(e, 0)));
}

CXN_INLINE int16x8_t CXN_LOCAL(outputs)(uint32_t quotient, int16x8_t x, int32_t base)
{
    const int16x8_t even = vmovnbq_s32(vuninitializedq_s16(), CXN_LOCAL(quotients)(quotient, vmovlbq_s16(x), base));
    return vmovntq_s32(even, CXN_LOCAL(quotients)(quotient, vmovltq_s16(x), base));
}
#endif

CXN_KERNEL_FN void CXN_KERNEL(const CXN_IN_T *CXN_RESTRICT input, CXN_OUT_T *CXN_RESTRICT output, void *scratch)
{
    int32_t base = (int32_t)CXN_LOCAL(load_lanes)(input, 1);
    uint32_t sum = 0;
    uint32_t quotient;
    (void)scratch;
#if CXN_HELIUM
    enum { whole = CXN_SOFTMAX_COUNT / 8 * 8, rest = CXN_SOFTMAX_COUNT % 8 };
    for (int i = 0; i < whole; i += 8) {
        base = vmaxvq_s16((int16_t)base, CXN_LOCAL(eight)(input + i, 8));
    }
    for (int i = whole; i < CXN_SOFTMAX_COUNT; i++) {
        base = cxn_max_s32(base, (int32_t)CXN_LOCAL(load_lanes)(input + i, 1));
    }
    base -= CXN_SOFTMAX_WIDTH;
    for (int i = 0; i < whole; i += 8) {
        const int16x8_t x = CXN_LOCAL(eight)(input + i, 8);
        sum = CXN_LOCAL(powers)(CXN_LOCAL(powers)(sum, vmovlbq_s16(x), base), vmovltq_s16(x), base);
    }
    for (int i = whole; i < CXN_SOFTMAX_COUNT; i++) {
        const int32_t e = (int32_t)CXN_LOCAL(load_lanes)(input + i, 1) - base;
        sum += e > 0 ? 1U << e : 0U;
    }
#else
    CXN_UNROLL_LOOP(2)
    for (int i = 1; i < CXN_SOFTMAX_COUNT; ++i) {
        base = cxn_max_s32(base, (int32_t)CXN_LOCAL(load_lanes)(input + i, 1));
    }
    base -= CXN_SOFTMAX_WIDTH;
    CXN_UNROLL_LOOP(2)
    for (int i = 0; i < CXN_SOFTMAX_COUNT; ++i) {
        const int32_t e = (int32_t)CXN_LOCAL(load_lanes)(input + i, 1) - base;
        if (e > 0) {
            sum += 1U << e;
        }
    }
#endif
    if (CXN_GET(IN_BITS) == 8) {
        quotient = cxn_divide_u32(1U << 20, sum, 13);
    } else {
        /* 2^32 itself does not fit: divide 2^32 - 1, and add the one by which a power of two falls short. */
        quotient = cxn_divide_u32(0xffffffffU, sum, 17);
        quotient += quotient * sum + sum == 0U;
    }
#if CXN_HELIUM
    for (int i = 0; i < whole; i += 8) {
        CXN_LOCAL(put_eight)(output + i, CXN_LOCAL(outputs)(quotient, CXN_LOCAL(eight)(input + i, 8), base), 8);
    }
    if (rest > 0) {
        CXN_LOCAL(put_eight)(output + whole, CXN_LOCAL(outputs)(quotient, CXN_LOCAL(eight)(input + whole, rest), base), rest);
    }
#else
    CXN_UNROLL_LOOP(2)
    for (int i = 0; i < CXN_SOFTMAX_COUNT; ++i) {
        const int32_t e = (int32_t)CXN_LOCAL(load_lanes)(input + i, 1) - base;
        uint32_t y = 0;
        if (e > 0) {
            y = quotient >> (CXN_SOFTMAX_K - e);
            y = CXN_MIN(y, CXN_SOFTMAX_MAX);
        }
        CXN_LOCAL(store_lanes)(output + i, y, 1);
    }
#endif
}

#undef CXN_SOFTMAX_COUNT
#undef CXN_SOFTMAX_WIDTH
#undef CXN_SOFTMAX_K
#undef CXN_SOFTMAX_MAX
#include "detail/lanes_undef.h"
#endif
#include "detail/undef.h"
