/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The largest of pixels of one word on cores with Helium, SSUB8 and SEL in low-overhead loops, one text for both compilers. Gives
 *     CXN_LOCAL(words)(input, output, rows)       the windows of a row that its ends do not clip, of up to 4 x 4 (CXN_POOL_WORD_STRIPS); at
 *                                                 stride 1 four at a time, whose pixels lie behind each other in vectors: those with fewer
 *                                                 rows too (CXN_POOL_WORD_CLIPS), as one row more does not change the largest
 *     CXN_LOCAL(word_run)(sum, p, count)          pixels that lie behind each other
 * Include from pool.h.
 */
#if CXN_GET(IN_BITS) == 8
#define CXN_POOL_WORD_LESS "ssub8 "
#else
#define CXN_POOL_WORD_LESS "ssub16 "
#endif
#define CXN_POOL_WORD_MOST(x) CXN_POOL_WORD_LESS "%[less], %[most], %[" x "]\n\tsel %[most], %[most], %[" x "]\n\t"

CXN_INLINE uint32_t CXN_LOCAL(word_run)(uint32_t most, const CXN_IN_T *p, int count)
{
    uint32_t x, less;
    __asm__ volatile("wls lr, %[count], 2f\n\t.p2align 2\n1:\n\tldr %[x], [%[p]], #4\n\t" CXN_POOL_WORD_MOST("x") "le lr, 1b\n2:\n\t"
                     : [most] "+r"(most), [p] "+r"(p), [x] "=&r"(x), [less] "=&r"(less)
                     : [count] "r"(count)
                     : "lr", "cc", "memory");
    return most;
}

/* As far as a load reaches, and as an address steps behind one. */
#define CXN_POOL_WORD_ROW (CXN_POOL_ROW * (CXN_GET(IN_BITS) / 8))
#if CXN_GET(SCHEME) == CXN_SCHEME_AFFINE && !CXN_FULL_RANGE
#define CXN_POOL_WORD_OF(limit) (CXN_GET(IN_BITS) == 8 ? ((uint32_t)(limit) & 0xffU) * 0x01010101U : ((uint32_t)(limit) & 0xffffU) * 0x00010001U)
#define CXN_POOL_WORD_LIMITS [low] "r"(CXN_POOL_WORD_OF(CXN_OUT_MIN)), [high] "r"(CXN_POOL_WORD_OF(CXN_OUT_MAX)),
#else
#define CXN_POOL_WORD_LIMITS
#endif
#if CXN_POOL_SLIDES && CXN_POOL_STRIDE_X == 1 && CXN_POOL_HIGH - CXN_POOL_LOW >= 4
#define CXN_POOL_WORD_STRIPS 1
#define CXN_POOL_WORD_CLIPS 1
#if CXN_GET(IN_BITS) == 8
#define CXN_POOL_WORD_TYPE ".s8 "
#else
#define CXN_POOL_WORD_TYPE ".s16 "
#endif
#define CXN_POOL_FOUR_TAP(q, p, n) "vldrb.8 " q ", [%[" p "], #4*" #n "]\n\t"
#define CXN_POOL_FOUR_ON(q, p) "vldrb.8 " q ", [%[" p "]], #16\n\t"
#define CXN_POOL_FOUR_MOST(q) "vmax" CXN_POOL_WORD_TYPE "q0, q0, " q "\n\t"
#define CXN_POOL_FOUR_FIRST_1 CXN_POOL_FOUR_ON("q0", "p0")
#define CXN_POOL_FOUR_FIRST_2 CXN_POOL_FOUR_TAP("q0", "p0", 1) CXN_POOL_FOUR_ON("q1", "p0") CXN_POOL_FOUR_MOST("q1")
#define CXN_POOL_FOUR_FIRST_3 \
    CXN_POOL_FOUR_TAP("q0", "p0", 1) CXN_POOL_FOUR_TAP("q1", "p0", 2) CXN_POOL_FOUR_MOST("q1") CXN_POOL_FOUR_ON("q2", "p0") CXN_POOL_FOUR_MOST("q2")
#define CXN_POOL_FOUR_FIRST_4 \
    CXN_POOL_FOUR_TAP("q0", "p0", 1) CXN_POOL_FOUR_TAP("q1", "p0", 2) CXN_POOL_FOUR_MOST("q1") CXN_POOL_FOUR_TAP("q2", "p0", 3) \
    CXN_POOL_FOUR_MOST("q2") CXN_POOL_FOUR_ON("q1", "p0") CXN_POOL_FOUR_MOST("q1")
#define CXN_POOL_FOUR_1(p) CXN_POOL_FOUR_ON("q1", p) CXN_POOL_FOUR_MOST("q1")
#define CXN_POOL_FOUR_2(p) CXN_POOL_FOUR_TAP("q2", p, 1) CXN_POOL_FOUR_MOST("q2") CXN_POOL_FOUR_1(p)
#define CXN_POOL_FOUR_3(p) CXN_POOL_FOUR_TAP("q1", p, 2) CXN_POOL_FOUR_MOST("q1") CXN_POOL_FOUR_2(p)
#define CXN_POOL_FOUR_4(p) CXN_POOL_FOUR_TAP("q2", p, 3) CXN_POOL_FOUR_MOST("q2") CXN_POOL_FOUR_3(p)
#define CXN_POOL_FOUR_FIRST CXN_PASTE2(CXN_POOL_FOUR_FIRST_, CXN_POOL_KERNEL_W)
#define CXN_POOL_FOUR_NEXT(p) CXN_PASTE2(CXN_POOL_FOUR_, CXN_POOL_KERNEL_W)(p)
#if CXN_POOL_KERNEL_H == 1
#define CXN_POOL_FOUR_WINDOWS CXN_POOL_FOUR_FIRST
#elif CXN_POOL_KERNEL_H == 2
#define CXN_POOL_FOUR_WINDOWS CXN_POOL_FOUR_FIRST CXN_POOL_FOUR_NEXT("p1")
#elif CXN_POOL_KERNEL_H == 3
#define CXN_POOL_FOUR_WINDOWS CXN_POOL_FOUR_FIRST CXN_POOL_FOUR_NEXT("p1") CXN_POOL_FOUR_NEXT("p2")
#else
#define CXN_POOL_FOUR_WINDOWS CXN_POOL_FOUR_FIRST CXN_POOL_FOUR_NEXT("p1") CXN_POOL_FOUR_NEXT("p2") CXN_POOL_FOUR_NEXT("p3")
#endif
#if CXN_GET(SCHEME) == CXN_SCHEME_AFFINE && !CXN_FULL_RANGE
#define CXN_POOL_FOUR_BEGIN "vdup.32 q6, %[low]\n\tvdup.32 q7, %[high]\n\t"
#define CXN_POOL_FOUR_CLAMP CXN_POOL_FOUR_MOST("q6") "vmin" CXN_POOL_WORD_TYPE "q0, q0, q7\n\t"
#else
#define CXN_POOL_FOUR_BEGIN
#define CXN_POOL_FOUR_CLAMP
#endif

/* `turns` times four windows. */
CXN_INLINE void CXN_LOCAL(fours)(const CXN_IN_T *p0, CXN_OUT_T *out, int rows, int turns)
{
    const CXN_IN_T *p1 = p0 + (rows > 1 ? CXN_POOL_ROW : 0), *p2 = p1 + (rows > 2 ? CXN_POOL_ROW : 0), *p3 = p2 + (rows > 3 ? CXN_POOL_ROW : 0);
    __asm__ volatile(CXN_POOL_FOUR_BEGIN "dls lr, %[turns]\n\t.p2align 2\n1:\n\t" CXN_POOL_FOUR_WINDOWS CXN_POOL_FOUR_CLAMP
                     "vstrb.8 q0, [%[out]], #16\n\tle lr, 1b\n\t"
                     : [p0] "+l"(p0),
#if CXN_POOL_KERNEL_H > 1
                       [p1] "+l"(p1),
#endif
#if CXN_POOL_KERNEL_H > 2
                       [p2] "+l"(p2),
#endif
#if CXN_POOL_KERNEL_H > 3
                       [p3] "+l"(p3),
#endif
                       [out] "+l"(out)
                     : CXN_POOL_WORD_LIMITS [turns] "r"(turns)
                     : "q0", "q1", "q2", "q6", "q7", "lr", "cc", "memory");
    (void)p1;
    (void)p2;
    (void)p3;
}

CXN_INLINE void CXN_LOCAL(words)(const CXN_IN_T *p, CXN_OUT_T *out, int rows)
{
    enum { windows = CXN_POOL_HIGH - CXN_POOL_LOW, last = (windows - 4) * CXN_POOL_PIXEL };
    CXN_LOCAL(fours)(p, out, rows, windows / 4);
    if (windows % 4)
        CXN_LOCAL(fours)(p + last, out + last, rows, 1);
}
#elif CXN_POOL_SLIDES && (CXN_POOL_KERNEL_H - 1) * CXN_POOL_WORD_ROW + 12 <= 4095 && CXN_POOL_STRIDE_X <= 63
#define CXN_POOL_WORD_STRIPS 1
#define CXN_POOL_WORD_CLIPS 0
#define CXN_POOL_WORD_TAP(x, m, n) "ldr %[" x "], [%[p], #(" CXN_STRING(CXN_POOL_WORD_ROW) "*" #m "+4*" #n ")]\n\t"
#define CXN_POOL_WORD_END(x, m) CXN_POOL_WORD_TAP(x, m, 0)
#define CXN_POOL_WORD_ON(x, m) "ldr %[" x "], [%[p]], #(4*" CXN_STRING(CXN_POOL_STRIDE_X) ")\n\t"
#define CXN_POOL_WORD_BOTH CXN_POOL_WORD_MOST("x") CXN_POOL_WORD_MOST("y")
/* Pixels of a row of a window from the last on: of the first row that is read, and of others. */
#define CXN_POOL_WORD_FIRST_1(m, end) end("most", m)
#define CXN_POOL_WORD_FIRST_2(m, end) CXN_POOL_WORD_TAP("most", m, 1) end("x", m) CXN_POOL_WORD_MOST("x")
#define CXN_POOL_WORD_FIRST_3(m, end) CXN_POOL_WORD_TAP("most", m, 2) CXN_POOL_WORD_TAP("x", m, 1) end("y", m) CXN_POOL_WORD_BOTH
#define CXN_POOL_WORD_FIRST_4(m, end) \
    CXN_POOL_WORD_TAP("most", m, 3) CXN_POOL_WORD_TAP("x", m, 2) CXN_POOL_WORD_TAP("y", m, 1) CXN_POOL_WORD_BOTH end("x", m) CXN_POOL_WORD_MOST("x")
#define CXN_POOL_WORD_NEXT_1(m, end) end("x", m) CXN_POOL_WORD_MOST("x")
#define CXN_POOL_WORD_NEXT_2(m, end) CXN_POOL_WORD_TAP("x", m, 1) end("y", m) CXN_POOL_WORD_BOTH
#define CXN_POOL_WORD_NEXT_3(m, end) \
    CXN_POOL_WORD_TAP("x", m, 2) CXN_POOL_WORD_TAP("y", m, 1) CXN_POOL_WORD_BOTH end("x", m) CXN_POOL_WORD_MOST("x")
#define CXN_POOL_WORD_NEXT_4(m, end) \
    CXN_POOL_WORD_TAP("x", m, 3) CXN_POOL_WORD_TAP("y", m, 2) CXN_POOL_WORD_BOTH CXN_POOL_WORD_TAP("x", m, 1) end("y", m) CXN_POOL_WORD_BOTH
#define CXN_POOL_WORD_FIRST(m, end) CXN_PASTE2(CXN_POOL_WORD_FIRST_, CXN_POOL_KERNEL_W)(m, end)
#define CXN_POOL_WORD_NEXT(m, end) CXN_PASTE2(CXN_POOL_WORD_NEXT_, CXN_POOL_KERNEL_W)(m, end)
#if CXN_POOL_KERNEL_H == 1
#define CXN_POOL_WORD_WINDOW CXN_POOL_WORD_FIRST(0, CXN_POOL_WORD_ON)
#elif CXN_POOL_KERNEL_H == 2
#define CXN_POOL_WORD_WINDOW CXN_POOL_WORD_FIRST(1, CXN_POOL_WORD_END) CXN_POOL_WORD_NEXT(0, CXN_POOL_WORD_ON)
#elif CXN_POOL_KERNEL_H == 3
#define CXN_POOL_WORD_WINDOW \
    CXN_POOL_WORD_FIRST(2, CXN_POOL_WORD_END) CXN_POOL_WORD_NEXT(1, CXN_POOL_WORD_END) CXN_POOL_WORD_NEXT(0, CXN_POOL_WORD_ON)
#else
#define CXN_POOL_WORD_WINDOW \
    CXN_POOL_WORD_FIRST(3, CXN_POOL_WORD_END) CXN_POOL_WORD_NEXT(2, CXN_POOL_WORD_END) CXN_POOL_WORD_NEXT(1, CXN_POOL_WORD_END) \
    CXN_POOL_WORD_NEXT(0, CXN_POOL_WORD_ON)
#endif
#if CXN_GET(SCHEME) == CXN_SCHEME_AFFINE && !CXN_FULL_RANGE
#define CXN_POOL_WORD_CLAMP CXN_POOL_WORD_MOST("low") CXN_POOL_WORD_LESS "%[less], %[high], %[most]\n\tsel %[most], %[most], %[high]\n\t"
#else
#define CXN_POOL_WORD_CLAMP
#endif

CXN_INLINE void CXN_LOCAL(words)(const CXN_IN_T *p, CXN_OUT_T *out, int rows)
{
    uint32_t most, x, y, less;
    (void)rows;
    __asm__ volatile("dls lr, %[turns]\n\t.p2align 2\n1:\n\t" CXN_POOL_WORD_WINDOW CXN_POOL_WORD_CLAMP "str %[most], [%[out]], #4\n\tle lr, 1b\n\t"
                     : [p] "+r"(p), [out] "+r"(out), [most] "=&r"(most), [x] "=&r"(x), [y] "=&r"(y), [less] "=&r"(less)
                     : CXN_POOL_WORD_LIMITS [turns] "r"(CXN_POOL_HIGH - CXN_POOL_LOW)
                     : "lr", "cc", "memory");
}
#else
#define CXN_POOL_WORD_STRIPS 0
#endif

#undef CXN_POOL_WORD_LESS
#undef CXN_POOL_WORD_MOST
#undef CXN_POOL_WORD_ROW
#undef CXN_POOL_WORD_OF
#undef CXN_POOL_WORD_LIMITS
#undef CXN_POOL_WORD_TYPE
#undef CXN_POOL_FOUR_TAP
#undef CXN_POOL_FOUR_ON
#undef CXN_POOL_FOUR_MOST
#undef CXN_POOL_FOUR_FIRST_1
#undef CXN_POOL_FOUR_FIRST_2
#undef CXN_POOL_FOUR_FIRST_3
#undef CXN_POOL_FOUR_FIRST_4
#undef CXN_POOL_FOUR_1
#undef CXN_POOL_FOUR_2
#undef CXN_POOL_FOUR_3
#undef CXN_POOL_FOUR_4
#undef CXN_POOL_FOUR_FIRST
#undef CXN_POOL_FOUR_NEXT
#undef CXN_POOL_FOUR_WINDOWS
#undef CXN_POOL_FOUR_BEGIN
#undef CXN_POOL_FOUR_CLAMP
#undef CXN_POOL_WORD_TAP
#undef CXN_POOL_WORD_END
#undef CXN_POOL_WORD_ON
#undef CXN_POOL_WORD_BOTH
#undef CXN_POOL_WORD_FIRST_1
#undef CXN_POOL_WORD_FIRST_2
#undef CXN_POOL_WORD_FIRST_3
#undef CXN_POOL_WORD_FIRST_4
#undef CXN_POOL_WORD_NEXT_1
#undef CXN_POOL_WORD_NEXT_2
#undef CXN_POOL_WORD_NEXT_3
#undef CXN_POOL_WORD_NEXT_4
#undef CXN_POOL_WORD_FIRST
#undef CXN_POOL_WORD_NEXT
#undef CXN_POOL_WORD_WINDOW
#undef CXN_POOL_WORD_CLAMP
