/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The largest elements of whole windows of up to 4 x 4 (Helium), a load and a comparison each: along a row of windows, one vector of channels
 * after the other, or along the channels of one window, whichever has more turns. A pointer for each row of a window steps from column to
 * column and on to the next vector; where no post-index reaches that far, additions do. The first load of a turn comes before the store of
 * the one before. Gives CXN_LOCAL(strip)(input, output, turns), of a row's windows (CXN_POOL_ALONG_ROWS) or of the channels of one
 * (CXN_POOL_ALONG_CHANNELS). Include from helium_pool.h.
 */
#if CXN_GET(INPUT_ALIGNED) && CXN_POOL_PIXEL_BYTES % 4 == 0 && !CXN_POOL_PARTIAL
#define CXN_POOL_LOAD "vldrw.32 "
#define CXN_POOL_REACH 508
#elif CXN_POOL_PARTIAL
#define CXN_POOL_LOAD "vldrbt.8 "
#define CXN_POOL_REACH 127
#else
#define CXN_POOL_LOAD "vldrb.8 "
#define CXN_POOL_REACH 127
#endif
#if CXN_GET(OUTPUT_ALIGNED) && CXN_POOL_PIXEL_BYTES % 4 == 0 && !CXN_POOL_PARTIAL
#define CXN_POOL_STORE "vstrw.32 "
#define CXN_POOL_OUT_REACH 508
#elif CXN_POOL_PARTIAL
#define CXN_POOL_STORE "vstrbt.8 "
#define CXN_POOL_OUT_REACH 127
#else
#define CXN_POOL_STORE "vstrb.8 "
#define CXN_POOL_OUT_REACH 127
#endif

/* From the last column of a window on to the next window, or to the next channels. */
#define CXN_POOL_ACROSS ((CXN_POOL_KERNEL_W - 1) * CXN_POOL_PIXEL_BYTES)
#define CXN_POOL_AHEAD (CXN_POOL_STRIDE_X * CXN_POOL_PIXEL_BYTES)
#define CXN_POOL_IN_REACH(step) ((step) - CXN_POOL_ACROSS <= CXN_POOL_REACH && CXN_POOL_ACROSS - (step) <= CXN_POOL_REACH)
#define CXN_POOL_COLUMNS_NEAR (CXN_POOL_KERNEL_W == 1 || CXN_POOL_PIXEL_BYTES <= CXN_POOL_REACH)
#if CXN_POOL_HIGH > CXN_POOL_LOW && CXN_POOL_COLUMNS_NEAR && CXN_POOL_IN_REACH(CXN_POOL_AHEAD) && CXN_POOL_PIXEL_BYTES <= CXN_POOL_OUT_REACH && \
    (CXN_POOL_PARTIAL || CXN_POOL_HIGH - CXN_POOL_LOW >= CXN_GET(IN_CH) / CXN_POOL_VECTOR)
#define CXN_POOL_ALONG_ROWS 1
#define CXN_POOL_ALONG_CHANNELS 0
#define CXN_POOL_STEP CXN_POOL_AHEAD
#define CXN_POOL_OUT_STEP CXN_POOL_PIXEL_BYTES
#elif CXN_POOL_HIGH > CXN_POOL_LOW && !CXN_POOL_PARTIAL
#define CXN_POOL_ALONG_ROWS 0
#define CXN_POOL_ALONG_CHANNELS 1
#define CXN_POOL_STEP 16
#define CXN_POOL_OUT_STEP 16
#else
#define CXN_POOL_ALONG_ROWS 0
#define CXN_POOL_ALONG_CHANNELS 0
#define CXN_POOL_STEP 0
#endif

#if CXN_POOL_ALONG_ROWS || CXN_POOL_ALONG_CHANNELS
#define CXN_POOL_BY_pixel CXN_POOL_PIXEL_BYTES
#define CXN_POOL_BY_on CXN_POOL_STEP - CXN_POOL_ACROSS
#if CXN_POOL_COLUMNS_NEAR && CXN_POOL_IN_REACH(CXN_POOL_STEP)
#define CXN_POOL_GET(q, p, by) CXN_POOL_LOAD q ", [%[" p "]], #" CXN_STRING(CXN_POOL_BY_##by) "\n\t"
#else
#define CXN_POOL_GET(q, p, by) CXN_POOL_LOAD q ", [%[" p "]]\n\tadd %[" p "], %[" p "], %[" #by "]\n\t"
#endif
#if CXN_POOL_PARTIAL
#define CXN_POOL_IF(text) text "\n\t"
#define CXN_POOL_THEN "t"
#else
#define CXN_POOL_IF(text)
#define CXN_POOL_THEN
#endif
#if CXN_GET(IN_BITS) == 8
#define CXN_POOL_TYPE ".s8 "
#else
#define CXN_POOL_TYPE ".s16 "
#endif
#define CXN_POOL_MOST(with) "vmax" CXN_POOL_THEN CXN_POOL_TYPE "q0, " with ", q1\n\t"
#define CXN_POOL_ONE(p, a) CXN_POOL_IF("vpstt") CXN_POOL_GET("q1", p, a) CXN_POOL_MOST("q0")
#define CXN_POOL_TWO(p, a, b) \
    CXN_POOL_IF("vpstttt") CXN_POOL_GET("q1", p, a) CXN_POOL_MOST("q0") CXN_POOL_GET("q1", p, b) CXN_POOL_MOST("q0")
#define CXN_POOL_OF_1(p) CXN_POOL_ONE(p, on)
#define CXN_POOL_OF_2(p) CXN_POOL_TWO(p, pixel, on)
#define CXN_POOL_OF_3(p) CXN_POOL_TWO(p, pixel, pixel) CXN_POOL_ONE(p, on)
#define CXN_POOL_OF_4(p) CXN_POOL_TWO(p, pixel, pixel) CXN_POOL_TWO(p, pixel, on)
#define CXN_POOL_OF(p) CXN_PASTE2(CXN_POOL_OF_, CXN_POOL_KERNEL_W)(p)
/* The first row's others, where q2 has its first. */
#define CXN_POOL_SECOND(by) CXN_POOL_IF("vpstt") CXN_POOL_GET("q1", "p0", by) CXN_POOL_MOST("q2")
#if CXN_POOL_KERNEL_W == 1
#define CXN_POOL_FIRST CXN_POOL_GET("q2", "p0", on)
#define CXN_POOL_ROW_0 "vmov q0, q2\n\t"
#else
#define CXN_POOL_FIRST CXN_POOL_GET("q2", "p0", pixel)
#if CXN_POOL_KERNEL_W == 2
#define CXN_POOL_ROW_0 CXN_POOL_SECOND(on)
#elif CXN_POOL_KERNEL_W == 3
#define CXN_POOL_ROW_0 CXN_POOL_SECOND(pixel) CXN_POOL_ONE("p0", on)
#else
#define CXN_POOL_ROW_0 CXN_POOL_SECOND(pixel) CXN_POOL_TWO("p0", pixel, on)
#endif
#endif
#if CXN_POOL_KERNEL_H == 1
#define CXN_POOL_ROWS CXN_POOL_ROW_0
#elif CXN_POOL_KERNEL_H == 2
#define CXN_POOL_ROWS CXN_POOL_ROW_0 CXN_POOL_OF("p1")
#elif CXN_POOL_KERNEL_H == 3
#define CXN_POOL_ROWS CXN_POOL_ROW_0 CXN_POOL_OF("p1") CXN_POOL_OF("p2")
#else
#define CXN_POOL_ROWS CXN_POOL_ROW_0 CXN_POOL_OF("p1") CXN_POOL_OF("p2") CXN_POOL_OF("p3")
#endif
#if CXN_GET(SCHEME) == CXN_SCHEME_AFFINE && !CXN_FULL_RANGE
#define CXN_POOL_LOW_HIGH "vdup" CXN_POOL_WIDTH "q6, %[low]\n\tvdup" CXN_POOL_WIDTH "q7, %[high]\n\t"
#define CXN_POOL_CLAMPED "vmax" CXN_POOL_TYPE "q0, q0, q6\n\tvmin" CXN_POOL_TYPE "q0, q0, q7\n\t"
#define CXN_POOL_LIMITS [low] "r"(CXN_OUT_MIN), [high] "r"(CXN_OUT_MAX),
#if CXN_GET(IN_BITS) == 8
#define CXN_POOL_WIDTH ".8 "
#else
#define CXN_POOL_WIDTH ".16 "
#endif
#else
#define CXN_POOL_LOW_HIGH
#define CXN_POOL_CLAMPED
#define CXN_POOL_LIMITS
#endif
#define CXN_POOL_PUT CXN_POOL_STORE "q0, [%[out]], #" CXN_STRING(CXN_POOL_OUT_STEP) "\n\t"

/* `turns` vectors of outputs. */
CXN_INLINE void CXN_LOCAL(strip)(const CXN_IN_T *input, CXN_OUT_T *output, int turns)
{
    const CXN_IN_T *p0 = input, *p1 = input + CXN_POOL_ROW, *p2 = p1 + CXN_POOL_ROW, *p3 = p2 + CXN_POOL_ROW;
    __asm__ volatile(CXN_POOL_IF("vctp.8 %[bytes]") CXN_POOL_LOW_HIGH CXN_POOL_IF("vpst") CXN_POOL_FIRST
                     "wls lr, %[turns], 2f\n\t.p2align 2\n1:\n\t"
                     CXN_POOL_ROWS CXN_POOL_CLAMPED CXN_POOL_IF("vpstt") CXN_POOL_FIRST CXN_POOL_PUT
                     "le lr, 1b\n2:\n\t"
                     CXN_POOL_ROWS CXN_POOL_CLAMPED CXN_POOL_IF("vpst") CXN_POOL_PUT
                     : [p0] "+r"(p0), [out] "+r"(output)
#if CXN_POOL_KERNEL_H > 1
                       , [p1] "+r"(p1)
#endif
#if CXN_POOL_KERNEL_H > 2
                       , [p2] "+r"(p2)
#endif
#if CXN_POOL_KERNEL_H > 3
                       , [p3] "+r"(p3)
#endif
                     : CXN_POOL_LIMITS [pixel] "r"(CXN_POOL_PIXEL_BYTES), [on] "r"(CXN_POOL_STEP - CXN_POOL_ACROSS),
                       [bytes] "r"(CXN_POOL_PIXEL_BYTES), [turns] "r"(turns - 1)
                     : CXN_CLOBBERS_VPR "q0", "q1", "q2", "q6", "q7", "lr", "cc", "memory");
    (void)p1;
    (void)p2;
    (void)p3;
}
#endif

#undef CXN_POOL_LOAD
#undef CXN_POOL_REACH
#undef CXN_POOL_STORE
#undef CXN_POOL_OUT_REACH
#undef CXN_POOL_ACROSS
#undef CXN_POOL_AHEAD
#undef CXN_POOL_IN_REACH
#undef CXN_POOL_COLUMNS_NEAR
#undef CXN_POOL_BY_pixel
#undef CXN_POOL_BY_on
#undef CXN_POOL_GET
#undef CXN_POOL_IF
#undef CXN_POOL_THEN
#undef CXN_POOL_TYPE
#undef CXN_POOL_MOST
#undef CXN_POOL_ONE
#undef CXN_POOL_TWO
#undef CXN_POOL_OF_1
#undef CXN_POOL_OF_2
#undef CXN_POOL_OF_3
#undef CXN_POOL_OF_4
#undef CXN_POOL_OF
#undef CXN_POOL_SECOND
#undef CXN_POOL_FIRST
#undef CXN_POOL_ROW_0
#undef CXN_POOL_ROWS
#undef CXN_POOL_LOW_HIGH
#undef CXN_POOL_CLAMPED
#undef CXN_POOL_LIMITS
#undef CXN_POOL_WIDTH
#undef CXN_POOL_PUT
