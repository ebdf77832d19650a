/* SPDX-License-Identifier: Apache-2.0 */
/*
 * row_sums.h in vectors (Helium), 8 or 16 channels at a time, whose sums wait as even ones and odd ones of each eight. Rows come a few at a
 * time: what a call does besides adding is what counts, so sums are added to in memory, in assembly.
 */
#include "helium_sums.h"

#if CXN_GET(IN_BITS) == 8
/* Eight sums in 16 bits, x, onto those of 32 bits. */
#define CXN_ROWS_ONTO(x) \
    "vldrw.32 q0, [%[sums]]\n\tvmovlb.s16 q2, " x "\n\tvldrw.32 q1, [%[sums], #16]\n\tvadd.i32 q0, q0, q2\n\t" \
    "vmovlt.s16 q3, " x "\n\tvstrw.32 q0, [%[sums]], #16\n\tvadd.i32 q1, q1, q3\n\tvstrw.32 q1, [%[sums]], #16\n\t"
#define CXN_ROWS_LOOP(text) "wls lr, %[turns], 2f\n\t.p2align 2\n1:\n\t" text "le lr, 1b\n2:\n\t"
#endif

CXN_INLINE void CXN_LOCAL(add_onto)(const CXN_IN_T *input, uint32_t *sums, int32_t pixels, int eights)
{
#if CXN_GET(IN_BITS) == 8
    for (int32_t left = pixels; left > 0; left -= 256) {
        uint32_t *to = sums;
        if (eights == 2) {
            __asm__ volatile("vmov.i32 q4, #0\n\tvmov.i32 q5, #0\n\t"
                             CXN_ROWS_LOOP(CXN_SUMS_SIXTEEN("q4", "q5")) CXN_ROWS_ONTO("q4") CXN_ROWS_ONTO("q5")
                             : [p] "+l"(input), [sums] "+r"(to)
                             : [pixel] "r"(CXN_GET(IN_CH)), [turns] "r"(CXN_MIN(left, 256))
                             : "q0", "q1", "q2", "q3", "q4", "q5", "lr", "cc", "memory");
        } else {
            __asm__ volatile("vmov.i32 q4, #0\n\t"
                             CXN_ROWS_LOOP(CXN_SUMS_EIGHT("q4")) CXN_ROWS_ONTO("q4")
                             : [p] "+l"(input), [sums] "+r"(to)
                             : [pixel] "r"(CXN_GET(IN_CH)), [turns] "r"(CXN_MIN(left, 256))
                             : "q0", "q1", "q2", "q3", "q4", "lr", "cc", "memory");
        }
    }
#else
    CXN_LOCAL(sums) own;
    (void)eights;
    own.even = vldrwq_s32((const int32_t *)sums);
    own.odd = vldrwq_s32((const int32_t *)sums + 4);
    CXN_LOCAL(add_pixels)(input, pixels, &own, 1);
    vstrwq_s32((int32_t *)sums, own.even);
    vstrwq_s32((int32_t *)sums + 4, own.odd);
#endif
}

#if CXN_GET(IN_BITS) == 8
#define CXN_ROWS_EIGHTS(c) ((c) < CXN_GET(IN_CH) / 16 * 16 ? 2 : 1)
#else
#define CXN_ROWS_EIGHTS(c) 1
#endif
#define CXN_ROWS_COUNT (CXN_GET(IN_CH) / 8 * 8)

/* The first CXN_ROWS_COUNT channels. */
CXN_INLINE void CXN_LOCAL(add_vectors)(const CXN_IN_T *input, CXN_OUT_T *output, uint32_t *sums, const cxn_rows band)
{
    const int32_t pixels = band.in * CXN_GET(IN_W);
    if (band.above == 0 && band.out) { /* without memory */
        for (int32_t c = 0, eights; c < CXN_ROWS_COUNT; c += 8 * eights) {
            CXN_LOCAL(sums) own[2];
            eights = CXN_ROWS_EIGHTS(c);
            own[0].even = own[0].odd = vdupq_n_s32((int32_t)CXN_SUMS_START);
            own[1] = own[0];
            CXN_LOCAL(add_pixels)(input + c, pixels, own, eights);
            CXN_LOCAL(eight_of)(output + c, own[0].even, own[0].odd);
            if (eights == 2)
                CXN_LOCAL(eight_of)(output + c + 8, own[1].even, own[1].odd);
        }
        return;
    }
    if (band.above == 0) {
        for (int32_t c = 0; c < CXN_ROWS_COUNT; c += 4)
            vstrwq_s32((int32_t *)sums + c, vdupq_n_s32((int32_t)CXN_SUMS_START));
    }
    for (int32_t c = 0, eights; c < CXN_ROWS_COUNT; c += 8 * eights) {
        eights = CXN_ROWS_EIGHTS(c);
        CXN_LOCAL(add_onto)(input + c, sums + c, pixels, eights);
    }
    if (band.out) {
        for (int32_t c = 0; c < CXN_ROWS_COUNT; c += 8)
            CXN_LOCAL(eight_of)(output + c, vldrwq_s32((const int32_t *)sums + c), vldrwq_s32((const int32_t *)sums + c + 4));
    }
}

#undef CXN_ROWS_EIGHTS
#undef CXN_ROWS_COUNT
#undef CXN_ROWS_ONTO
#undef CXN_ROWS_LOOP
#undef CXN_SUMS_ON
#undef CXN_SUMS_EIGHT
#undef CXN_SUMS_SIXTEEN
