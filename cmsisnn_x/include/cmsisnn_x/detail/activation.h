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

CXN_KERNEL_FN void CXN_KERNEL(const CXN_IN_T *input, CXN_OUT_T *output, void *scratch CXN_ROWS_PARAMETER)
{
    (void)scratch;
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
}

#undef CXN_ACTIVATION_COUNT
#undef CXN_ACTIVATION_SHIFT
#undef CXN_TABLE
#include "lanes_undef.h"
#include "undef.h"
