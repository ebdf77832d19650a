/* SPDX-License-Identifier: Apache-2.0 */
/* Arithmetic of 64 bits that no core calls a library for: products by pieces of 16 bits on Armv6-M, shifts by hand. */
#ifndef CXN_WIDE_INTEGERS_H
#define CXN_WIDE_INTEGERS_H

#include "../config.h"
#include "intrinsics.h"

CXN_INLINE uint64_t cxn_multiply_u32(uint32_t a, uint32_t b)
{
#if CXN_THUMB1
    const uint32_t ah = a >> 16, al = a & 0xffffU, bh = b >> 16, bl = b & 0xffffU;
    uint32_t low = al * bl, m1 = ah * bl, m2 = al * bh;
    __asm__("" : "+r"(low), "+r"(m1), "+r"(m2)); /* Clang knows the pattern and would call the library */
    const uint32_t middle = (low >> 16) + (m1 & 0xffffU) + (m2 & 0xffffU);
    const uint32_t high = ah * bh + (m1 >> 16) + (m2 >> 16) + (middle >> 16);
    return (uint64_t)high << 32 | ((middle << 16) | (low & 0xffffU));
#else
    return (uint64_t)a * b;
#endif
}

/* x >> n for n = 1 .. 63 */
CXN_INLINE uint64_t cxn_shift_right_u64(uint64_t x, int32_t n)
{
    const uint32_t low = (uint32_t)x, high = (uint32_t)(x >> 32);
    if (n < 32) {
        return (uint64_t)(high >> n) << 32 | ((low >> n) | (high << (32 - n)));
    }
    return high >> (n - 32);
}

/* Bit n = 0 .. 63 of x */
CXN_INLINE uint32_t cxn_bit_u64(uint64_t x, int32_t n)
{
    return ((n < 32 ? (uint32_t)x >> n : (uint32_t)(x >> 32) >> (n - 32))) & 1U;
}

#endif /* CXN_WIDE_INTEGERS_H */
