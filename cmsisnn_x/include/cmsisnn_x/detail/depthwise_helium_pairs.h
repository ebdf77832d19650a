/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rows of outputs of one channel in pairs, of depthwise_helium.h: a load takes what two by two outputs see between them, 4x4 elements, and each
 * is a product with weights that are moved by a column, a row or both. While four outputs are finished the products of the next four begin.
 *     r0 r2 r4 r6  products, before them words, weights, places of outputs and words, by how much the second row's weights shift
 *     r1 outputs   r3 constants   r5 how far the next row is   r9 pairs of rows   q0 words  q1 where they lie  q2 places  q3 outputs  q4 .. q7 weights
 */
#define CXN_H_LOAD "vldrw.u32 q0, [q1"
#define CXN_H_MAC(n, w) "vmladav.s8 %[a" #n "], q0, " w "\n\t"
/* Finishes a group of four while the products of the next, `next` bytes on, begin; its outputs lie a step behind those before. */
#define CXN_H_GROUP(next, step)                                                                                        \
    CXN_H_TAKE CXN_H_1 CXN_H_2 CXN_H_LOAD ", #" next "]!\n\t" CXN_H_3 CXN_H_MAC(0, "q4") CXN_H_4 CXN_H_MAC(1, "q5")    \
    CXN_H_5 CXN_H_MAC(2, "q6") CXN_H_6 CXN_H_MAC(3, "q7") CXN_H_7 step CXN_H_STORE
#define CXN_H_BEGIN                                                                                                    \
    "vldrw.32 q1, [%[a2], #16]\n\tvldrw.32 q4, [%[a1], #4]\n\tvadd.i32 q1, q1, %[a0]\n\t"                              \
    "vldrw.32 q5, [%[a1], #%c[column]]\n\tvmov q6, q4\n\t" CXN_H_LOAD "]\n\tvmov q7, q5\n\tvldrw.32 q2, [%[a2]]\n\t"   \
    "vshl.u32 q6, %[a3]\n\t" CXN_H_MAC(0, "q4") "vshl.u32 q7, %[a3]\n\t" CXN_H_MAC(1, "q5") CXN_H_MAC(2, "q6") CXN_H_MAC(3, "q7")
#define CXN_H_ROW "add %[out], %[out], %[row]\n\t"
/* Rows of up to eight pixels are written out. */
#define CXN_IS_SHORT (CXN_GROUPS_X <= 4)
#if CXN_GROUPS_X == 1
#define CXN_H_GROUPS CXN_H_GROUP("%c[next]", CXN_H_ROW)
#elif CXN_GROUPS_X == 2
#define CXN_H_GROUPS CXN_H_GROUP("%c[less]", CXN_H_ROW) CXN_H_GROUP("%c[next]", CXN_H_ODD)
#elif CXN_GROUPS_X == 3
#define CXN_H_GROUPS CXN_H_GROUP("%c[each]", CXN_H_ROW) CXN_H_GROUP("%c[less]", CXN_H_STEP) CXN_H_GROUP("%c[next]", CXN_H_ODD)
#elif CXN_GROUPS_X == 4
#define CXN_H_GROUPS                                                                                                   \
    CXN_H_GROUP("%c[each]", CXN_H_ROW) CXN_H_GROUP("%c[each]", CXN_H_STEP) CXN_H_GROUP("%c[less]", CXN_H_STEP)         \
    CXN_H_GROUP("%c[next]", CXN_H_ODD)
#else
#define CXN_H_TURNS (CXN_GROUPS_X - (CXN_GET(OUT_W) % 2 ? 3 : 2))
#if CXN_GET(OUT_W) % 2
#define CXN_H_END CXN_H_GROUP("%c[less]", CXN_H_STEP) CXN_H_GROUP("%c[next]", CXN_H_ODD)
#else
#define CXN_H_END CXN_H_GROUP("%c[next]", CXN_H_STEP)
#endif
#define CXN_H_GROUPS                                                                                                   \
    CXN_H_GROUP("%c[each]", CXN_H_ROW) "movw lr, %[turns]\n\tdls lr, lr\n\t.p2align 2\n2:\n\t"                         \
    CXN_H_GROUP("%c[each]", CXN_H_STEP) "le lr, 2b\n\t" CXN_H_END
#endif
#if CXN_IS_SHORT
#define CXN_H_LOOP "dls lr, %[rows]\n\t" CXN_H_BEGIN ".p2align 2\n1:\n\t" CXN_H_GROUPS "le lr, 1b\n\t"
#else
#define CXN_H_LOOP CXN_H_BEGIN ".p2align 2\n1:\n\t" CXN_H_GROUPS "subs %[rows], %[rows], #1\n\tbne 1b\n\t"
#endif

/*
 * Rows of three or five pixels, four at a time: the last pixels of two pairs are finished together, of two loads, instead of the last but one of
 * each once more.
 */
#define CXN_IS_DOUBLE ((CXN_GET(OUT_W) == 3 || CXN_GET(OUT_W) == 5) && CXN_GET(OUT_CH) <= 511 && CXN_VISIT > 1)
#if CXN_IS_DOUBLE
#define CXN_H_UP "subw %[out], %[out], %[up]\n\t"
#define CXN_H_NEXT "addw %[out], %[out], %[pair]\n\t"
#define CXN_H_TO_LAST(step)                                                                                            \
    CXN_H_TAKE CXN_H_1 CXN_H_2 CXN_H_LOAD ", #%c[back]]!\n\t" CXN_H_3 CXN_H_MAC(0, "q4") CXN_H_4 CXN_H_MAC(1, "q6")    \
    CXN_H_5 CXN_H_LOAD ", #%c[pitch]]!\n\t" CXN_H_6 CXN_H_MAC(2, "q4") CXN_H_7 step CXN_H_MAC(3, "q6") CXN_H_STORE
#define CXN_H_OF_LAST                                                                                                  \
    CXN_H_TAKE CXN_H_1 CXN_H_2 CXN_H_LOAD ", #%c[four]]!\n\t" CXN_H_3 CXN_H_MAC(0, "q4") CXN_H_4 CXN_H_MAC(1, "q5")    \
    CXN_H_5 CXN_H_UP CXN_H_MAC(2, "q6") CXN_H_6 CXN_H_MAC(3, "q7") CXN_H_7                                             \
    "vldrw.32 q0, [%[aside]]\n\tvstrb.32 q3, [%[out], q0]\n\t"
#if CXN_GET(OUT_W) == 3
#define CXN_H_DOUBLE CXN_H_GROUP("%c[down]", CXN_H_ROW) CXN_H_TO_LAST(CXN_H_NEXT) CXN_H_OF_LAST
#else
#define CXN_H_DOUBLE                                                                                                   \
    CXN_H_GROUP("%c[each]", CXN_H_ROW) CXN_H_GROUP("%c[down]", CXN_H_STEP) CXN_H_GROUP("%c[each]", CXN_H_NEXT)         \
    CXN_H_TO_LAST(CXN_H_STEP) CXN_H_OF_LAST
#endif

CXN_INLINE void CXN_LOCAL(doubles)(const int8_t *words, const CXN_W_T *weights, CXN_LOCAL(scalars_of) s, const int8_t *places,
                                   CXN_OUT_T *output, int32_t count)
{
    register int32_t row __asm__("r5") = (3 * CXN_GET(OUT_W) + 1) * CXN_GET(OUT_CH), t __asm__("r3") = count;
    register CXN_OUT_T *out __asm__("r1") = output - row;
    register const int8_t *a0 __asm__("r0") = words, *a1 __asm__("r2") = weights, *a2 __asm__("r4") = places, *aside __asm__("r9") = places + 64;
    register int32_t a3 __asm__("r6") = 8;
    CXN_H_REGISTERS(s)
    __asm__ volatile(
        "dls lr, %[t]\n\t" CXN_H_BEGIN ".p2align 2\n1:\n\t" CXN_H_DOUBLE "le lr, 1b\n\t"
        : [a0] "+&Te"(a0), [a1] "+&Te"(a1), [a2] "+&Te"(a2), [a3] "+&Te"(a3), [out] "+&r"(out), [t] "+&r"(t)
        : CXN_H_SCALARS, [row] "r"(row), [aside] "r"(aside), [column] "i"(0), [each] "i"(2 * CXN_PIXEL), [pitch] "i"(CXN_PITCH),
          [down] "i"(CXN_PITCH - (CXN_GET(OUT_W) - 3) * CXN_PIXEL), [back] "i"(2 * CXN_PIXEL - CXN_PITCH),
          [four] "i"(CXN_PITCH - (CXN_GET(OUT_W) - 1) * CXN_PIXEL), [step] "i"(2 * CXN_GET(OUT_CH)),
          [pair] "i"((CXN_GET(OUT_W) + 3) * CXN_GET(OUT_CH)), [up] "i"((2 * CXN_GET(OUT_W) - 2) * CXN_GET(OUT_CH))
        : CXN_H_CLOBBERS);
}
#endif

/* `pairs` of rows of a channel, or the first row of one, from `words` on; `places`: of outputs, and of words. */
CXN_INLINE void CXN_LOCAL(channel)(const int8_t *words, const CXN_W_T *weights, const CXN_CHANNEL_T *channel, const int8_t *places,
                                   CXN_OUT_T *output, int32_t pairs, int is_single)
{
    const CXN_LOCAL(scalars_of) s = CXN_LOCAL(scalars)(channel);
#if CXN_IS_DOUBLE
    if (pairs > 1) {
        CXN_LOCAL(doubles)(words, weights, s, places, output, pairs / 2);
        words += pairs / 2 * (2 * CXN_PITCH);
        output += pairs / 2 * (4 * CXN_GET(OUT_W) * CXN_GET(OUT_CH));
        pairs &= 1;
        if (pairs == 0)
            return;
    }
#endif
    /* From the last group of a row to the first of the next but one. */
    register int32_t row __asm__("r5") = (CXN_GET(OUT_W) == 1 ? 2 : CXN_GET(OUT_W) + 2) * CXN_GET(OUT_CH), rows __asm__("r9") = pairs;
    register CXN_OUT_T *out __asm__("r1") = output - row;
    register const int8_t *a0 __asm__("r0") = words, *a1 __asm__("r2") = weights, *a2 __asm__("r4") = places;
    register int32_t a3 __asm__("r6") = is_single ? 0 : 8, t __asm__("r3");
    CXN_H_REGISTERS(s)
    __asm__ volatile(
        CXN_H_LOOP
        : [a0] "+&Te"(a0), [a1] "+&Te"(a1), [a2] "+&Te"(a2), [a3] "+&Te"(a3), [out] "+&r"(out), [t] "=&r"(t), [rows] "+&r"(rows)
        : CXN_H_SCALARS, [row] "r"(row),
#if !CXN_IS_SHORT
          [turns] "i"(CXN_H_TURNS),
#endif
          [next] "i"(CXN_PITCH - CXN_MAX(CXN_GET(OUT_W) - 2, 0) * CXN_PIXEL), [column] "i"(CXN_GET(OUT_W) == 1 ? 4 : 0),
          [each] "i"(2 * CXN_PIXEL), [less] "i"(CXN_H_ODD_COLS * CXN_PIXEL),
          [step] "i"(2 * CXN_GET(OUT_CH)), [odd] "i"(CXN_H_ODD_COLS * CXN_GET(OUT_CH))
        : CXN_H_CLOBBERS);
}
