/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Averages of whole windows that are written out (Helium), as pool_strip_helium.h has the largest: along a row of windows or along the channels
 * of one, whichever has more turns. Sums of bytes fit 16 bits, of which at most 25 go into one; others are of 32, even and odd channels apart.
 * They are divided as helium_average.h does it, in 16 bits by M = floor(2^(16+s) / count) + 1: |sum| is at most 128.5 count, and
 * |sum| (M count - 2^(16+s)) < 2^(16+s) with s = 0 up to 22 elements and s = 1 up to 25. Two are a shift.
 *     q0 q4 sums  q1 elements  q2 what is added or signs  q3 ones  q5 q7 bounds  q6 M
 */
#if CXN_POOL_HIGH > CXN_POOL_LOW && (CXN_POOL_PARTIAL || CXN_POOL_HIGH - CXN_POOL_LOW >= CXN_GET(IN_CH) / CXN_POOL_VECTOR)
#define CXN_POOL_ALONG_ROWS 1
#define CXN_POOL_ALONG_CHANNELS 0
#define CXN_POOL_STEP (CXN_POOL_STRIDE_X * CXN_POOL_PIXEL_BYTES)
#define CXN_POOL_OUT_STEP CXN_POOL_PIXEL_BYTES
#else
#define CXN_POOL_ALONG_ROWS 0
#define CXN_POOL_ALONG_CHANNELS (CXN_POOL_HIGH > CXN_POOL_LOW)
#define CXN_POOL_STEP (CXN_POOL_VECTOR * CXN_GET(IN_BITS) / 8)
#define CXN_POOL_OUT_STEP CXN_POOL_STEP
#endif

#if CXN_POOL_ALONG_ROWS || CXN_POOL_ALONG_CHANNELS
#if CXN_POOL_PARTIAL
#define CXN_MEAN_IF "vpst\n\t"
#define CXN_MEAN_THEN "t"
#else
#define CXN_MEAN_IF
#define CXN_MEAN_THEN
#endif
/* Elements of a pixel, and on to the next. */
#if CXN_GET(IN_BITS) == 8
#define CXN_MEAN_TYPE ".s16"
#define CXN_MEAN_BITS "16"
#define CXN_MEAN_GET(q) CXN_MEAN_IF "vldrb" CXN_MEAN_THEN ".s16 " q ", [%[p]]"
#else
#define CXN_MEAN_TYPE ".s32"
#define CXN_MEAN_BITS "32"
#define CXN_MEAN_GET(q) CXN_MEAN_IF "vldrb" CXN_MEAN_THEN ".8 " q ", [%[p]]"
#endif
#if CXN_POOL_PIXEL_BYTES <= 127
#define CXN_MEAN_ON(q) CXN_MEAN_GET(q) ", #%c[pixel]\n\t"
#define CXN_MEAN_PIXEL "i"
#else
#define CXN_MEAN_ON(q) CXN_MEAN_GET(q) "\n\tadd %[p], %[p], %[pixel]\n\t"
#define CXN_MEAN_PIXEL "r"
#endif
#if CXN_GET(IN_BITS) == 16
#define CXN_MEAN_FIRST CXN_MEAN_ON("q1") "vmullb.s16 q0, q1, q3\n\tvmovlt.s16 q4, q1\n\t"
#define CXN_MEAN_TAP CXN_MEAN_ON("q1") "vmullb.s16 q2, q1, q3\n\tvmovlt.s16 q1, q1\n\tvadd.i32 q0, q0, q2\n\tvadd.i32 q4, q4, q1\n\t"
#elif CXN_POOL_VECTOR == 16
#define CXN_MEAN_FIRST "vldrb.s16 q4, [%[p], #8]\n\t" CXN_MEAN_ON("q0")
#define CXN_MEAN_TAP "vldrb.s16 q2, [%[p], #8]\n\tvadd.i16 q4, q4, q2\n\t" CXN_MEAN_ON("q1") "vadd.i16 q0, q0, q1\n\t"
#else
#define CXN_MEAN_FIRST CXN_MEAN_ON("q0")
#define CXN_MEAN_TAP CXN_MEAN_ON("q1") "vadd.i16 q0, q0, q1\n\t"
#endif
/* Sums to averages. */
#if CXN_POOL_ROUNDS && CXN_AVG_COUNT > 1
#define CXN_MEAN_ROUND(q) "vadd.i" CXN_MEAN_BITS " " q ", " q ", %[half]\n\tvmla.s" CXN_MEAN_BITS " " q ", q2, %[twice]\n\t"
#else
#define CXN_MEAN_ROUND(q)
#endif
#define CXN_MEAN_SIGN(q) "vshr" CXN_MEAN_TYPE " q2, " q ", #" CXN_MEAN_BITS "-1\n\t"
#if CXN_AVG_COUNT == 1
#define CXN_MEAN_DIVIDE(q)
#elif CXN_AVG_COUNT == 2
#define CXN_MEAN_DIVIDE(q)                                                                                             \
    CXN_MEAN_SIGN(q) CXN_MEAN_ROUND(q) "vsub.i" CXN_MEAN_BITS " " q ", " q ", q2\n\tvshr" CXN_MEAN_TYPE " " q ", " q ", #1\n\t"
#else
#if CXN_GET(IN_BITS) == 8
#define CXN_MEAN_SHIFT (CXN_AVG_COUNT > 22)
#define CXN_MEAN_FACTOR ((1 << (16 + CXN_MEAN_SHIFT)) / CXN_AVG_COUNT + 1)
#else
#define CXN_MEAN_SHIFT ((CXN_AVG_COUNT >= 8) + (CXN_AVG_COUNT >= 16))
#define CXN_MEAN_FACTOR ((int32_t)((1ULL << (32 + CXN_MEAN_SHIFT)) / CXN_AVG_COUNT + 1U))
#endif
#if CXN_MEAN_SHIFT == 0
#define CXN_MEAN_LESS(q)
#elif CXN_MEAN_SHIFT == 1
#define CXN_MEAN_LESS(q) "vshr" CXN_MEAN_TYPE " " q ", " q ", #1\n\t"
#else
#define CXN_MEAN_LESS(q) "vshr" CXN_MEAN_TYPE " " q ", " q ", #2\n\t"
#endif
#define CXN_MEAN_DIVIDE(q)                                                                                             \
    CXN_MEAN_SIGN(q) CXN_MEAN_ROUND(q) "vmulh" CXN_MEAN_TYPE " " q ", " q ", q6\n\t" CXN_MEAN_LESS(q)                   \
    "vsub.i" CXN_MEAN_BITS " " q ", " q ", q2\n\t"
#endif
#if CXN_GET(SCHEME) == CXN_SCHEME_AFFINE && !CXN_FULL_RANGE
#define CXN_MEAN_LIMITS "vdup.16 q5, %[low]\n\tvdup.16 q7, %[high]\n\t"
#define CXN_MEAN_BOUNDS [low] "r"(CXN_OUT_MIN), [high] "r"(CXN_OUT_MAX),
#define CXN_MEAN_CLAMP(q) "vmax.s16 " q ", " q ", q5\n\tvmin.s16 " q ", " q ", q7\n\t"
#else
#define CXN_MEAN_LIMITS
#define CXN_MEAN_BOUNDS
#define CXN_MEAN_CLAMP(q)
#endif
#if CXN_GET(IN_BITS) == 16
#define CXN_MEAN_BEGIN "vmov.i16 q3, #1\n\t"
#define CXN_MEAN_ALL CXN_MEAN_DIVIDE("q0") CXN_MEAN_DIVIDE("q4") "vmovnt.i32 q0, q4\n\t" CXN_MEAN_CLAMP("q0")
#define CXN_MEAN_PUT CXN_MEAN_IF "vstrb" CXN_MEAN_THEN ".8 q0, [%[out]]\n\t"
#define CXN_MEAN_LANES "vctp.8 %[lanes]\n\t"
#else
#define CXN_MEAN_BEGIN
#define CXN_MEAN_LANES "vctp.16 %[lanes]\n\t"
#if CXN_POOL_VECTOR == 16
#define CXN_MEAN_ALL CXN_MEAN_DIVIDE("q0") CXN_MEAN_CLAMP("q0") CXN_MEAN_DIVIDE("q4") CXN_MEAN_CLAMP("q4")
#define CXN_MEAN_PUT "vstrb.16 q0, [%[out]]\n\tvstrb.16 q4, [%[out], #8]\n\t"
#else
#define CXN_MEAN_ALL CXN_MEAN_DIVIDE("q0") CXN_MEAN_CLAMP("q0")
#define CXN_MEAN_PUT CXN_MEAN_IF "vstrb" CXN_MEAN_THEN ".16 q0, [%[out]]\n\t"
#endif
#endif
#if CXN_AVG_COUNT > 2
#define CXN_MEAN_DUP "vdup." CXN_MEAN_BITS " q6, %[factor]\n\t"
#define CXN_MEAN_BY [factor] "r"(CXN_MEAN_FACTOR),
#else
#define CXN_MEAN_DUP
#define CXN_MEAN_BY
#endif

/* `turns` vectors of outputs. */
CXN_INLINE void CXN_LOCAL(strip)(const CXN_IN_T *input, CXN_OUT_T *output, int turns)
{
    __asm__ volatile(CXN_MEAN_BEGIN CXN_MEAN_DUP CXN_MEAN_LIMITS
#if CXN_POOL_PARTIAL
                     CXN_MEAN_LANES
#endif
                     "dls lr, %[turns]\n\t.p2align 2\n1:\n\t"
                     CXN_MEAN_FIRST CXN_PASTE2(CXN_POOL_LESS_, CXN_POOL_KERNEL_W)(CXN_MEAN_TAP)
                     CXN_PASTE2(CXN_POOL_LESS_, CXN_POOL_KERNEL_H)("add %[p], %[p], %[row]\n\t" CXN_POOL_REPEAT(CXN_POOL_KERNEL_W, CXN_MEAN_TAP))
                     "add %[p], %[p], %[next]\n\t" CXN_MEAN_ALL CXN_MEAN_PUT "add %[out], %[out], %[on]\n\tle lr, 1b\n\t"
                     : [p] "+l"(input), [out] "+l"(output)
                     : CXN_MEAN_BOUNDS CXN_MEAN_BY [pixel] CXN_MEAN_PIXEL(CXN_POOL_PIXEL_BYTES),
                       [row] "r"(CXN_POOL_ROW_BYTES - CXN_POOL_KERNEL_W * CXN_POOL_PIXEL_BYTES),
                       [next] "r"(CXN_POOL_STEP - (CXN_POOL_KERNEL_H - 1) * CXN_POOL_ROW_BYTES - CXN_POOL_KERNEL_W * CXN_POOL_PIXEL_BYTES),
#if CXN_POOL_ROUNDS && CXN_AVG_COUNT > 1
                       [half] "r"(CXN_AVG_COUNT / 2), [twice] "r"(CXN_AVG_COUNT / 2 * 2),
#endif
                       [lanes] "r"(CXN_POOL_FILLED), [on] "r"(CXN_POOL_OUT_STEP), [turns] "r"(turns)
                     : CXN_CLOBBERS_VPR "q0", "q1", "q2", "q3", "q4", "q5", "q6", "q7", "lr", "cc", "memory");
}
#endif

#undef CXN_MEAN_IF
#undef CXN_MEAN_THEN
#undef CXN_MEAN_TYPE
#undef CXN_MEAN_BITS
#undef CXN_MEAN_GET
#undef CXN_MEAN_ON
#undef CXN_MEAN_PIXEL
#undef CXN_MEAN_FIRST
#undef CXN_MEAN_TAP
#undef CXN_MEAN_ROUND
#undef CXN_MEAN_SIGN
#undef CXN_MEAN_DIVIDE
#undef CXN_MEAN_SHIFT
#undef CXN_MEAN_FACTOR
#undef CXN_MEAN_LESS
#undef CXN_MEAN_LIMITS
#undef CXN_MEAN_BOUNDS
#undef CXN_MEAN_CLAMP
#undef CXN_MEAN_BEGIN
#undef CXN_MEAN_ALL
#undef CXN_MEAN_PUT
#undef CXN_MEAN_LANES
#undef CXN_MEAN_DUP
#undef CXN_MEAN_BY
