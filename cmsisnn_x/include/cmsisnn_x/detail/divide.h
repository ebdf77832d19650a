/* SPDX-License-Identifier: Apache-2.0 */
/* Unsigned division that needs no library: cores without a divide instruction (Armv6-M) shift and subtract. */
#ifndef CXN_DIVIDE_H
#define CXN_DIVIDE_H

#include "../config.h"

/* floor(x / y) for y > 0 and a quotient below 2^bits. */
CXN_INLINE uint32_t cxn_divide_u32(uint32_t x, uint32_t y, int bits)
{
#if defined(__ARM_ARCH) && !defined(__ARM_FEATURE_IDIV)
    uint32_t quotient = 0;
    for (int bit = bits - 1; bit >= 0; --bit) {
        if (x >> bit >= y) {
            x -= y << bit;
            quotient |= 1U << bit;
        }
    }
    return quotient;
#else
    (void)bits;
    return x / y;
#endif
}

#endif /* CXN_DIVIDE_H */
