/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any function of a byte:
 *     out[i] = table[in[i] mod 256]                                                                 output may be input where both have 8 bits
 *     static void CXN_KERNEL(const IN *input, const OUT *table, OUT *output, void *scratch);        256 entries; no scratch
 * Entries are in the order of the bytes 0..127, -128..-1; for bytes without a sign, 0..255.
 */
#include "config.h"
#include "detail/intrinsics.h"
#include "detail/element.h"

#if CXN_GET(IN_BITS) != 8
#error "IN_BITS: legal value for a table is 8"
#endif
#define CXN_LOOK_UP_COUNT (CXN_IN_ROWS * CXN_GET(IN_W) * CXN_GET(IN_CH))

#if CXN_HELIUM
/* Bytes are offsets of a gathering load; entries of 16 bits are stored as bytes, for which any address will do. */
CXN_INLINE void CXN_LOCAL(gather)(const CXN_IN_T *input, const CXN_OUT_T *table, CXN_OUT_T *output, int32_t count)
{
#if CXN_OUT_BITS == 8
#define CXN_LOOK_UP_TEXT \
    "wlstp.8 lr, %[count], 2f\n\t.p2align 2\n1:\n\t" \
    "vldrb.8 q0, [%[in]], #16\n\tvldrb.u8 q1, [%[table], q0]\n\tvstrb.8 q1, [%[out]], #16\n\t"
#else
#define CXN_LOOK_UP_TEXT \
    "wlstp.16 lr, %[count], 2f\n\t.p2align 2\n1:\n\t" \
    "vldrb.u16 q0, [%[in]], #8\n\tvldrh.u16 q1, [%[table], q0, uxtw #1]\n\tvstrb.8 q1, [%[out]], #16\n\t"
#endif
    __asm__ volatile(CXN_LOOK_UP_TEXT "letp lr, 1b\n2:\n\t"
                     : [in] "+l"(input), [out] "+r"(output)
                     : [table] "r"(table), [count] "r"(count)
                     : "q0", "q1", "lr", "cc", "memory");
#undef CXN_LOOK_UP_TEXT
}
#endif

CXN_KERNEL_FN void CXN_KERNEL(const CXN_IN_T *input, const CXN_OUT_T *table, CXN_OUT_T *output, void *scratch CXN_ROWS_PARAMETER)
{
    int32_t i = 0;
    (void)scratch;
#if CXN_HELIUM
    (void)i;
    CXN_LOCAL(gather)(input, table, output, CXN_LOOK_UP_COUNT);
#else
    for (; i < CXN_LOOK_UP_COUNT / 4 * 4; i += 4) {
        const uint8_t t0 = (uint8_t)input[i], t1 = (uint8_t)input[i + 1], t2 = (uint8_t)input[i + 2], t3 = (uint8_t)input[i + 3];
        const CXN_OUT_T y0 = table[t0], y1 = table[t1], y2 = table[t2], y3 = table[t3];
        CXN_LOCAL(store)(output + i, y0);
        CXN_LOCAL(store)(output + i + 1, y1);
        CXN_LOCAL(store)(output + i + 2, y2);
        CXN_LOCAL(store)(output + i + 3, y3);
    }
    for (; i < CXN_LOOK_UP_COUNT; i++) {
        CXN_LOCAL(store)(output + i, table[(uint8_t)input[i]]);
    }
#endif
}

#undef CXN_LOOK_UP_COUNT
#include "detail/undef.h"
