/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sums over pixels in vectors (Helium), of eight channels, even and odd ones apart in 32 bits; of bytes in 16 as far as those hold 256 of them,
 * two times eight channels at once.
 * Include behind helium_element.h.
 *     CXN_LOCAL(add_pixels)(input, pixels, sums, eights)       adds 8 or 16 channels of neighbouring pixels to sums[0 .. eights - 1]
 */

#if CXN_GET(IN_BITS) == 8
#if CXN_GET(IN_CH) <= 127
#define CXN_SUMS_ON(load) load ", #" CXN_STRING(CXN_GET(IN_CH)) "\n\t"
#else
#define CXN_SUMS_ON(load) load "\n\tadd %[p], %[p], %[pixel]\n\t"
#endif
/* 8 or 16 bytes of a pixel onto sums in 16 bits. */
#define CXN_SUMS_EIGHT(a) CXN_SUMS_ON("vldrb.s16 q0, [%[p]]") "vadd.i16 " a ", " a ", q0\n\t"
#define CXN_SUMS_SIXTEEN(a, b) "vldrb.s16 q1, [%[p], #8]\n\tvadd.i16 " b ", " b ", q1\n\t" CXN_SUMS_EIGHT(a)
#endif

typedef struct {
    int32x4_t even, odd;
} CXN_LOCAL(sums);

CXN_INLINE CXN_LOCAL(sums) CXN_LOCAL(more)(CXN_LOCAL(sums) sums, int16x8_t x)
{
    sums.even = vaddq_s32(sums.even, vmovlbq_s16(x));
    sums.odd = vaddq_s32(sums.odd, vmovltq_s16(x));
    return sums;
}

CXN_INLINE void CXN_LOCAL(add_pixels)(const CXN_IN_T *input, int32_t pixels, CXN_LOCAL(sums) *sums, int eights)
{
#if CXN_GET(IN_BITS) == 8
    for (int32_t left = pixels; left > 0; left -= 256) {
        int16x8_t a = vdupq_n_s16(0), b = a;
        if (eights == 2) {
            __asm__ volatile("wls lr, %[turns], 2f\n\t.p2align 2\n1:\n\t"
                             CXN_SUMS_SIXTEEN("%q[a]", "%q[b]")
                             "le lr, 1b\n2:\n\t"
                             : [a] "+w"(a), [b] "+w"(b), [p] "+l"(input)
                             : [pixel] "r"(CXN_GET(IN_CH)), [turns] "r"(CXN_MIN(left, 256))
                             : "q0", "q1", "lr", "cc", "memory");
            sums[1] = CXN_LOCAL(more)(sums[1], b);
        } else {
            __asm__ volatile("wls lr, %[turns], 2f\n\t.p2align 2\n1:\n\t"
                             CXN_SUMS_EIGHT("%q[a]")
                             "le lr, 1b\n2:\n\t"
                             : [a] "+w"(a), [p] "+l"(input)
                             : [pixel] "r"(CXN_GET(IN_CH)), [turns] "r"(CXN_MIN(left, 256))
                             : "q0", "lr", "cc", "memory");
        }
        sums[0] = CXN_LOCAL(more)(sums[0], a);
    }
#else
    /* A product by one widens, where additions wait for each other. */
    (void)eights;
    __asm__ volatile("vmov.i16 q2, #1\n\twls lr, %[turns], 2f\n\t.p2align 2\n1:\n\t"
                     "vldrb.8 q0, [%[p]]\n\tvmullb.s16 q1, q0, q2\n\tvmovlt.s16 q0, q0\n\tadd %[p], %[p], %[pixel]\n\t"
                     "vadd.i32 %q[odd], %q[odd], q0\n\tvadd.i32 %q[even], %q[even], q1\n\t"
                     "le lr, 1b\n2:\n\t"
                     : [even] "+w"(sums->even), [odd] "+w"(sums->odd), [p] "+r"(input)
                     : [pixel] "r"(2 * CXN_GET(IN_CH)), [turns] "r"(pixels)
                     : "q0", "q1", "q2", "lr", "cc", "memory");
#endif
}
