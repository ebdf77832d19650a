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
#include "detail/asm/softmax_helium.h"
#else
CXN_KERNEL_FN void CXN_KERNEL(const CXN_IN_T *CXN_RESTRICT input, CXN_OUT_T *CXN_RESTRICT output, void *scratch)
{
    int32_t base = (int32_t)CXN_LOCAL(load_lanes)(input, 1);
    uint32_t sum = 0;
    uint32_t quotient;
    (void)scratch;
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
    if (CXN_GET(IN_BITS) == 8) {
        quotient = cxn_divide_u32(1U << 20, sum, 13);
    } else {
        /* 2^32 itself does not fit: divide 2^32 - 1, and add the one by which a power of two falls short. */
        quotient = cxn_divide_u32(0xffffffffU, sum, 17);
        quotient += quotient * sum + sum == 0U;
    }
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
}
#endif

#undef CXN_SOFTMAX_COUNT
#undef CXN_SOFTMAX_WIDTH
#undef CXN_SOFTMAX_K
#undef CXN_SOFTMAX_MAX
#include "detail/lanes_undef.h"
#endif
#include "detail/undef.h"
