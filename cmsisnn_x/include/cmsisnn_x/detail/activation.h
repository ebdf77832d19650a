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

#if CXN_HELIUM && CXN_GET(IN_BITS) == 16
#if CXN_GET(INT_BITS) == 3
#define CXN_ACTIVATION_LAST "vmin.s16 q2, q2, q5\n\t" /* a step of 0 at the last entry */
#else
#define CXN_ACTIVATION_LAST
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
    /* g in the upper bits of 15: VQDMULH is g (table[i + 1] - table[i]) >> s then. */
    __asm__ volatile("vmov.i16 q5, #127\n\twlstp.16 lr, %[count], 2f\n\t.p2align 2\n1:\n\t"
                     "vldrb.8 q0, [%[in]], #16\n\tvshr.s16 q1, q0, #" CXN_STRING(CXN_ACTIVATION_SHIFT) "\n\t"
                     "vadd.i16 q2, q1, %[one]\n\t" CXN_ACTIVATION_LAST "vmovlb.u8 q1, q1\n\tvldrh.u16 q3, [%[table], q1, uxtw #1]\n\t"
                     "vmovlb.u8 q2, q2\n\tvldrh.u16 q4, [%[table], q2, uxtw #1]\n\t"
                     "vshl.i16 q0, q0, #15 - " CXN_STRING(CXN_ACTIVATION_SHIFT) "\n\tvsub.i16 q4, q4, q3\n\tvbic.i16 q0, #0x8000\n\t"
                     "vqdmulh.s16 q0, q0, q4\n\tvadd.i16 q3, q3, q0\n\tvstrb.8 q3, [%[out]], #16\n\t"
                     "letp lr, 1b\n2:\n\t"
                     : [in] "+r"(input), [out] "+r"(output)
                     : [table] "r"(CXN_TABLE), [one] "r"(1), [count] "r"(CXN_ACTIVATION_COUNT)
                     : "q0", "q1", "q2", "q3", "q4", "q5", "lr", "cc", "memory");
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
#undef CXN_ACTIVATION_LAST
#undef CXN_TABLE
#include "lanes_undef.h"
#include "undef.h"
