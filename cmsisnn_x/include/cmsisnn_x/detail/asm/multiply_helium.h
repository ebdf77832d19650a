/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Products by powers of two in vectors (Helium), 128 bits of either input a turn, by narrowing shifts that round and saturate: of bytes
 * products are of 16 bits. Gives CXN_LOCAL(vectors)(input, other, output, count), which returns how many of the elements it has made.
 */
#include "../helium_element.h"

#if CXN_GET(IN_BITS) == 8
#define CXN_PRODUCT_TYPE ".s8 "
#define CXN_PRODUCT_WIDE ".s16 "
#else
#define CXN_PRODUCT_TYPE ".s16 "
#define CXN_PRODUCT_WIDE ".s32 "
#endif
#define CXN_PRODUCT_BY(half, c, x) "vqrshrn" half CXN_PRODUCT_WIDE c ", " x ", #" CXN_STRING(CXN_GET(OUT_SHIFT)) "\n\t"
#if CXN_GET(OUT_SHIFT) == 0
#undef CXN_PRODUCT_BY
#define CXN_PRODUCT_BY(half, c, x) "vqmovn" half CXN_PRODUCT_WIDE c ", " x "\n\t"
#endif

CXN_INLINE int32_t CXN_LOCAL(vectors)(const CXN_IN_T *input, const CXN_IN_T *other, CXN_OUT_T *output, int32_t count)
{
#if CXN_GET(OUT_SHIFT) <= CXN_GET(IN_BITS) && CXN_GET(IN_BITS) == CXN_OUT_BITS && CXN_OUT_MIN < 0
    const int32_t turns = count * CXN_GET(IN_BITS) / 128;
    __asm__ volatile("wls lr, %[turns], 2f\n\t.p2align 2\n1:\n\t"
                     "vldrb.8 q1, [%[b]], #16\n\tvldrb.8 q0, [%[a]], #16\n\t"
                     "vmullb" CXN_PRODUCT_TYPE "q2, q0, q1\n\t" CXN_PRODUCT_BY("b", "q2", "q2")
                     "vmullt" CXN_PRODUCT_TYPE "q0, q0, q1\n\t" CXN_PRODUCT_BY("t", "q2", "q0") "vstrb.8 q2, [%[out]], #16\n\t"
                     "le lr, 1b\n2:\n\t"
                     : [a] "+r"(input), [b] "+r"(other), [out] "+r"(output)
                     : [turns] "r"(turns)
                     : "q0", "q1", "q2", "lr", "cc", "memory");
    return turns * (128 / CXN_GET(IN_BITS));
#else
    (void)input;
    (void)other;
    (void)output;
    (void)count;
    return 0;
#endif
}

#undef CXN_PRODUCT_TYPE
#undef CXN_PRODUCT_WIDE
#undef CXN_PRODUCT_BY
