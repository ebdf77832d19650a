/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mean.h in vectors (Helium): of bytes sixteen channels at a time, the last sixteen over those before, in 16 bits as far as those hold 256 of
 * them; else eight, in 32 bits.
 */
#include "helium_element.h"

#if CXN_GET(IN_BITS) == 8 && CXN_GET(IN_CH) >= 16
#define CXN_MEAN_VECTOR 16
#else
#define CXN_MEAN_VECTOR 8
#endif

/* Sums of the eight channels from input on, even and odd ones. */
typedef struct {
    int32x4_t even, odd;
} CXN_LOCAL(sums);

CXN_INLINE CXN_LOCAL(sums) CXN_LOCAL(start)(void)
{
    CXN_LOCAL(sums) sums;
    sums.even = sums.odd = vdupq_n_s32((int32_t)(0U - (uint32_t)CXN_GET(IN_W) * (uint32_t)(CXN_GET(INPUT_ZERO_POINT))));
    return sums;
}

CXN_INLINE CXN_LOCAL(sums) CXN_LOCAL(more)(CXN_LOCAL(sums) sums, int16x8_t x)
{
    sums.even = vaddq_s32(sums.even, vmovlbq_s16(x));
    sums.odd = vaddq_s32(sums.odd, vmovltq_s16(x));
    return sums;
}

#if CXN_MEAN_VECTOR == 16
CXN_INLINE void CXN_LOCAL(some)(const CXN_IN_T *input, CXN_OUT_T *output, int32_t count)
{
    CXN_LOCAL(sums) low = CXN_LOCAL(start)(), high = low;
    (void)count;
    for (int32_t left = CXN_GET(IN_W); left > 0; left -= 256) {
        int16x8_t a = vdupq_n_s16(0), b = a;
        __asm__ volatile("wls lr, %[turns], 2f\n\t.p2align 2\n1:\n\t"
                         "vldrb.s16 q0, [%[p]]\n\tvadd.i16 %q[a], %q[a], q0\n\t"
                         "vldrb.s16 q1, [%[p], #8]\n\tadd %[p], %[p], %[pixel]\n\tvadd.i16 %q[b], %q[b], q1\n\t"
                         "le lr, 1b\n2:\n\t"
                         : [a] "+w"(a), [b] "+w"(b), [p] "+l"(input)
                         : [pixel] "r"(CXN_GET(IN_CH)), [turns] "r"(CXN_MIN(left, 256))
                         : "q0", "q1", "lr", "cc", "memory");
        low = CXN_LOCAL(more)(low, a);
        high = CXN_LOCAL(more)(high, b);
    }
    CXN_LOCAL(put_eight)(output, CXN_LOCAL(outputs)(low.even, low.odd), 8);
    CXN_LOCAL(put_eight)(output + 8, CXN_LOCAL(outputs)(high.even, high.odd), 8);
}
#else
CXN_INLINE void CXN_LOCAL(some)(const CXN_IN_T *input, CXN_OUT_T *output, int32_t count)
{
    CXN_LOCAL(sums) sums = CXN_LOCAL(start)();
    for (int32_t x = 0; x < CXN_GET(IN_W); x++) {
        sums = CXN_LOCAL(more)(sums, CXN_LOCAL(eight)(input, count));
        input += CXN_GET(IN_CH);
    }
    CXN_LOCAL(put_eight)(output, CXN_LOCAL(outputs)(sums.even, sums.odd), count);
}
#endif

CXN_KERNEL_FN void CXN_KERNEL(const CXN_IN_T *CXN_RESTRICT input, CXN_OUT_T *CXN_RESTRICT output, void *scratch)
{
    (void)scratch;
    for (int32_t y = 0; y < CXN_GET(IN_H); y++) {
#if CXN_GET(IN_CH) < CXN_MEAN_VECTOR
        CXN_LOCAL(some)(input, output, CXN_GET(IN_CH));
#else
        for (int32_t c = 0; c < CXN_GET(IN_CH); c += CXN_MEAN_VECTOR) {
            const int32_t at = CXN_MIN(c, CXN_GET(IN_CH) - CXN_MEAN_VECTOR);
            CXN_LOCAL(some)(input + at, output + at, CXN_MEAN_VECTOR);
        }
#endif
        input += CXN_GET(IN_W) * CXN_GET(IN_CH);
        output += CXN_GET(IN_CH);
    }
}

#undef CXN_MEAN_VECTOR
