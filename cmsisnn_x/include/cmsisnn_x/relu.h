/* SPDX-License-Identifier: Apache-2.0 */
/*
 *     out[i] = max(in[i], 0)                     output may be input
 *     static void CXN_KERNEL(const IN *input, OUT *output, void *scratch);        no scratch
 * Words of four bytes or two halves where the core can load them, then what is left over one by one.
 */
#include "config.h"
#include "detail/intrinsics.h"
#include "detail/lanes.h"

#ifndef CXN_RELU_H
#define CXN_RELU_H

CXN_INLINE uint32_t cxn_relu_s8x4(uint32_t x)
{
#if CXN_DSP
    return cxn_max_s8x4(x, 0);
#else
    const uint32_t negative = (x >> 7) & 0x01010101U;
    return x & ~((negative << 8) - negative);
#endif
}

CXN_INLINE uint32_t cxn_relu_s16x2(uint32_t x)
{
#if CXN_DSP
    return cxn_max_s16x2(x, 0);
#else
    const uint32_t negative = (x >> 15) & 0x00010001U;
    return x & ~((negative << 16) - negative);
#endif
}

#endif /* CXN_RELU_H */

#define CXN_RELU_COUNT (CXN_IN_ROWS * CXN_GET(IN_W) * CXN_GET(IN_CH))

#if CXN_HELIUM
#define CXN_BYTES_PAIR 0
#if CXN_GET(IN_BITS) == 8
#define CXN_BYTES_TEXT "vmax.s8 q0, q0, q2\n\t"
#else
#define CXN_BYTES_TEXT "vmax.s16 q0, q0, q2\n\t"
#endif
#include "detail/asm/bytes_helium.h"
#endif

CXN_KERNEL_FN void CXN_KERNEL(const CXN_IN_T *input, CXN_OUT_T *output, void *scratch CXN_ROWS_PARAMETER)
{
    int i = 0;
    (void)scratch;
#if CXN_HELIUM
    (void)i;
    CXN_LOCAL(bytes)(input, input, output, 0, 0, CXN_RELU_COUNT * (int32_t)sizeof(CXN_IN_T));
#else
#if CXN_UNALIGNED || (CXN_GET(INPUT_ALIGNED) && CXN_GET(OUTPUT_ALIGNED))
#define CXN_RELU_WORD(at) \
    { \
        const CXN_IN_T *from = input + (at); \
        CXN_OUT_T *to = output + (at); \
        const uint32_t x = CXN_GET(INPUT_ALIGNED) ? cxn_load_u32_aligned(from) : cxn_load_u32(from); \
        const uint32_t y = CXN_GET(IN_BITS) == 8 ? cxn_relu_s8x4(x) : cxn_relu_s16x2(x); \
        if (CXN_GET(OUTPUT_ALIGNED)) { \
            cxn_store_u32_aligned(to, y); \
        } else { \
            cxn_store_u32(to, y); \
        } \
    }
    CXN_UNROLL_LOOP(8)
    for (; i < CXN_RELU_COUNT / CXN_LANES * CXN_LANES; i += CXN_LANES) {
        CXN_RELU_WORD(i)
    }
#undef CXN_RELU_WORD
#endif
    for (; i < CXN_RELU_COUNT; ++i) {
        CXN_LOCAL(store_lanes)(output + i, CXN_LOCAL(max_lanes)(CXN_LOCAL(load_lanes)(input + i, 1), 0, 1), 1);
    }
#endif
}

#undef CXN_RELU_COUNT
#include "detail/lanes_undef.h"
#include "detail/undef.h"
