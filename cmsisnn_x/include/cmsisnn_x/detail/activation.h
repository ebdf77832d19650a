/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sigmoid and tanh from a table; sigmoid.h and tanh.h are this kernel under their own names. Output may be input.
 *     static void CXN_KERNEL(const IN *input, OUT *output, void *scratch);        no scratch
 * CXN_TABLE names the table, defined before the include:
 *     static const int8_t (int16_t for 16-bit data) <CXN_TABLE>[256]
 *     [t mod 256] = min( floor( f(t/16) 2^(N-1) + 1/2 ), 2^(N-1) - 1 )           t = -128..127, f the function, N = IN_BITS
 * The emitter writes one table per function and type that the model uses.
 *     8 bits:   out = table[x >> (3 - INT_BITS)]
 *     16 bits:  s = 11 - INT_BITS, i = x >> s, g = x mod 2^s:  out = ((2^s - g) table[i] + g table[i + 1]) >> s,  table[127] for i = 127
 */
#include "../config.h"
#include "intrinsics.h"
#include "lanes.h"

#if !defined(CXN_TABLE)
#error "CXN_TABLE: define it as the name of the 256-entry table before this include"
#endif
#if CXN_GET(INT_BITS) < 0 || CXN_GET(INT_BITS) > 3
#error "INT_BITS: legal values are 0..3"
#endif

#define CXN_ACTIVATION_COUNT (CXN_IN_ROWS * CXN_GET(IN_W) * CXN_GET(IN_CH))
#if CXN_GET(IN_BITS) == 8
#define CXN_ACTIVATION_SHIFT (3 - CXN_GET(INT_BITS))
#else
#define CXN_ACTIVATION_SHIFT (11 - CXN_GET(INT_BITS))
#endif

#if CXN_HELIUM
#include "helium_element.h"
#if CXN_GET(IN_BITS) == 16
CXN_INLINE int16x8_t CXN_LOCAL(entries)(int16x8_t index)
{
    return vldrhq_gather_shifted_offset_s16(CXN_TABLE, vmovlbq_u8(vreinterpretq_u8_s16(index)));
}

CXN_INLINE int16x8_t CXN_LOCAL(between)(int16x8_t x)
{
    const int16x8_t index = vshrq_n_s16(x, CXN_ACTIVATION_SHIFT), y = CXN_LOCAL(entries)(index);
    const int16x8_t fraction = vsubq_s16(x, vshlq_r_s16(index, CXN_ACTIVATION_SHIFT));
    const int16x8_t next = vminq_s16(vaddq_n_s16(index, 1), vdupq_n_s16(127)); /* a step of 0 at the last entry */
    const int16x8_t step = vsubq_s16(CXN_LOCAL(entries)(next), y);
    const int32x4_t even = vshrq_n_s32(vmullbq_int_s16(fraction, step), CXN_ACTIVATION_SHIFT);
    const int32x4_t odd = vshrq_n_s32(vmulltq_int_s16(fraction, step), CXN_ACTIVATION_SHIFT);
    return vaddq_s16(y, vmovntq_s32(vmovnbq_s32(vuninitializedq_s16(), even), odd));
}
#endif
#endif

CXN_KERNEL_FN void CXN_KERNEL(const CXN_IN_T *input, CXN_OUT_T *output, void *scratch CXN_ROWS_PARAMETER)
{
    (void)scratch;
#if CXN_HELIUM && CXN_GET(IN_BITS) == 8
    __asm__ volatile("wlstp.8 lr, %[count], 2f\n\t.p2align 2\n1:\n\t"
                     "vldrb.8 q0, [%[in]], #16\n\tvshl.s8 q0, %[shift]\n\tvldrb.u8 q1, [%[table], q0]\n\tvstrb.8 q1, [%[out]], #16\n\t"
                     "letp lr, 1b\n2:\n\t"
                     : [in] "+r"(input), [out] "+r"(output)
                     : [table] "r"(CXN_TABLE), [shift] "r"(-CXN_ACTIVATION_SHIFT), [count] "r"(CXN_ACTIVATION_COUNT)
                     : "q0", "q1", "lr", "cc", "memory");
#elif CXN_HELIUM
    int i = 0;
    for (; i < CXN_ACTIVATION_COUNT / 8 * 8; i += 8) {
        CXN_LOCAL(put_eight)(output + i, CXN_LOCAL(between)(CXN_LOCAL(eight)(input + i, 8)), 8);
    }
    if (CXN_ACTIVATION_COUNT % 8) {
        const int32_t rest = CXN_ACTIVATION_COUNT % 8;
        CXN_LOCAL(put_eight)(output + i, CXN_LOCAL(between)(CXN_LOCAL(eight)(input + i, rest)), rest);
    }
#else
    CXN_UNROLL_LOOP(4)
    for (int i = 0; i < CXN_ACTIVATION_COUNT; ++i) {
        const int32_t x = (int32_t)CXN_LOCAL(load_lanes)(input + i, 1);
        const int32_t index = x >> CXN_ACTIVATION_SHIFT;
        int32_t y = CXN_TABLE[(uint8_t)index];
        if (CXN_GET(IN_BITS) == 16) {
            const int32_t fraction = x & ((1 << CXN_ACTIVATION_SHIFT) - 1);
            /* Three integer bits reach the last entry; the others end before it. */
            const int32_t next = CXN_GET(INT_BITS) == 3 && index == 127 ? y : CXN_TABLE[(uint8_t)(index + 1)];
            y += (fraction * (next - y)) >> CXN_ACTIVATION_SHIFT;
        }
        CXN_LOCAL(store_lanes)(output + i, (uint32_t)y, 1);
    }
#endif
}

#undef CXN_ACTIVATION_COUNT
#undef CXN_ACTIVATION_SHIFT
#undef CXN_TABLE
#include "lanes_undef.h"
#include "undef.h"
