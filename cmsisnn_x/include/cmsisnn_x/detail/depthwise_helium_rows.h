/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rows of outputs of one channel, of depthwise_helium.h: four pixels are accumulated together, for each four words of the window a load and a
 * product. While four outputs are finished the products of the next four begin; the last four end with the row.
 *     r0 r2 r4 r6  accumulators, before them words, places of outputs and words   r1 outputs  r3 constants  r5 weights  r9 rows
 *     q0 q6 words  q1 where they lie, q7 those of the third pixel  q2 places  q3 outputs  q4 weights  q5 how far the next four are
 */
#define CXN_H_BLOCKS (CXN_WORDS / 4)
#define CXN_H_PIXELS (CXN_GET(STRIDE_X) * CXN_PIXEL)
/* Pixels of a row, from q1 on as far as offsets reach, the third and fourth from q7; of fewer than four some twice. */
#define CXN_H_SECOND (CXN_GET(OUT_W) > 1 ? CXN_H_PIXELS : 0)
#define CXN_H_THIRD (CXN_PLACE(2, 0) * CXN_H_PIXELS)
#define CXN_H_BLOCK_STEP ", #4*%c[word]]!\n\t"
#define CXN_H_LOAD_0(at) "vldrw.u32 q0, [q1" at
#define CXN_H_LOAD_1 "vldrw.u32 q6, [q1, #%c[second]]\n\t"
#if 3 * CXN_H_PIXELS <= 508
#define CXN_H_LOAD_2(at) "vldrw.u32 q0, [q1, #%c[third]]\n\t"
#define CXN_H_LOAD_3 "vldrw.u32 q6, [q1, #%c[third]+%c[second]]\n\t"
#define CXN_H_MOVE(by) "vadd.i32 q1, q1, " by "\n\t"
#define CXN_H_BACK(by) "vsub.i32 q1, q1, " by "\n\t"
#define CXN_H_OTHER
#else
#define CXN_H_LOAD_2(at) "vldrw.u32 q0, [q7" at
#define CXN_H_LOAD_3 "vldrw.u32 q6, [q7, #%c[second]]\n\t"
#define CXN_H_MOVE(by) "vadd.i32 q1, q1, " by "\n\tvadd.i32 q7, q7, " by "\n\t"
#define CXN_H_BACK(by) "vsub.i32 q1, q1, " by "\n\tvsub.i32 q7, q7, " by "\n\t"
#define CXN_H_OTHER "vldrw.32 q7, [%[a1], #64]\n\tvadd.i32 q7, q7, %[a0]\n\t"
#endif
#if CXN_BYTES == 1
#define CXN_H_TYPE ".s8"
#else
#define CXN_H_TYPE ".s16"
#endif
#define CXN_H_MAC(n, x, a) "vmladav" a CXN_H_TYPE " %[a" #n "], " x ", q4\n\t"
#if CXN_H_BLOCKS == 1
#define CXN_H_HELD "vldrw.32 q4, [%[w]]\n\t"
#define CXN_H_WEIGHTS
#define CXN_H_REWIND
#else
#define CXN_H_HELD
#define CXN_H_WEIGHTS "vldrw.32 q4, [%[w]], #16\n\t"
#define CXN_H_REWIND "subw %[w], %[w], #4*%c[words]\n\t"
#endif
/* A load is one product ahead, so that they alternate. */
#define CXN_H_NEXT_BLOCK(a)                                                                                            \
    CXN_H_LOAD_0(CXN_H_BLOCK_STEP) CXN_H_MAC(3, "q6", a) CXN_H_WEIGHTS CXN_H_LOAD_1 CXN_H_MAC(0, "q0", "a")            \
    CXN_H_LOAD_2(CXN_H_BLOCK_STEP) CXN_H_MAC(1, "q6", "a") CXN_H_LOAD_3 CXN_H_MAC(2, "q0", "a")
#if CXN_H_BLOCKS == 1
#define CXN_H_MORE CXN_H_MAC(3, "q6", "")
#elif CXN_H_BLOCKS == 2
#define CXN_H_MORE CXN_H_NEXT_BLOCK("") CXN_H_MAC(3, "q6", "a")
#elif CXN_H_BLOCKS == 3
#define CXN_H_MORE CXN_H_NEXT_BLOCK("") CXN_H_NEXT_BLOCK("a") CXN_H_MAC(3, "q6", "a")
#elif CXN_H_BLOCKS == 4
#define CXN_H_MORE CXN_H_NEXT_BLOCK("") CXN_H_NEXT_BLOCK("a") CXN_H_NEXT_BLOCK("a") CXN_H_MAC(3, "q6", "a")
#elif CXN_H_BLOCKS == 5
#define CXN_H_MORE                                                                                                     \
    CXN_H_NEXT_BLOCK("") CXN_H_NEXT_BLOCK("a") CXN_H_NEXT_BLOCK("a") CXN_H_NEXT_BLOCK("a") \
    CXN_H_MAC(3, "q6", "a")
#elif CXN_H_BLOCKS == 6
#define CXN_H_MORE                                                                                                     \
    CXN_H_NEXT_BLOCK("") CXN_H_NEXT_BLOCK("a") CXN_H_NEXT_BLOCK("a") CXN_H_NEXT_BLOCK("a") \
    CXN_H_NEXT_BLOCK("a") CXN_H_MAC(3, "q6", "a")
#elif CXN_H_BLOCKS == 7
#define CXN_H_MORE                                                                                                     \
    CXN_H_NEXT_BLOCK("") CXN_H_NEXT_BLOCK("a") CXN_H_NEXT_BLOCK("a") CXN_H_NEXT_BLOCK("a") \
    CXN_H_NEXT_BLOCK("a") CXN_H_NEXT_BLOCK("a") CXN_H_MAC(3, "q6", "a")
#else
#define CXN_H_MORE                                                                                                     \
    CXN_H_NEXT_BLOCK("") CXN_H_NEXT_BLOCK("a") CXN_H_NEXT_BLOCK("a") CXN_H_NEXT_BLOCK("a") \
    CXN_H_NEXT_BLOCK("a") CXN_H_NEXT_BLOCK("a") CXN_H_NEXT_BLOCK("a") CXN_H_MAC(3, "q6", "a")
#endif
/* How far words go on to those of the next group: of whole groups, to the last of a row, and to the next row. */
#define CXN_H_ADVANCE (4 * CXN_H_PIXELS - (CXN_H_BLOCKS - 1) * 4 * CXN_STEP)
#define CXN_H_SHORTER (CXN_H_ODD_COLS * CXN_H_PIXELS - (CXN_H_BLOCKS - 1) * 4 * CXN_STEP)
#define CXN_H_DOWN (CXN_PITCH - CXN_MAX(CXN_GET(OUT_W) - 4, 0) * CXN_H_PIXELS - (CXN_H_BLOCKS - 1) * 4 * CXN_STEP)
#define CXN_H_EACH CXN_H_MOVE("q5")
#if CXN_H_SHORTER >= 0
#define CXN_H_LESS "movw %[t], %[shorter]\n\t" CXN_H_MOVE("%[t]")
#else
#define CXN_H_LESS "movw %[t], %[shorter]\n\t" CXN_H_BACK("%[t]")
#endif
/* Finishes a group of four while the products of the next begin, which `move` goes to. */
#define CXN_H_GROUP(move, step)                                                                                        \
    CXN_H_TAKE move CXN_H_1 CXN_H_WEIGHTS CXN_H_2 CXN_H_LOAD_0("]\n\t") CXN_H_3 CXN_H_LOAD_1 CXN_H_MAC(0, "q0", "")    \
    CXN_H_4 CXN_H_LOAD_2("]\n\t") CXN_H_MAC(1, "q6", "") CXN_H_5 CXN_H_LOAD_3 CXN_H_MAC(2, "q0", "") CXN_H_6           \
    CXN_H_MORE CXN_H_7 step CXN_H_STORE CXN_H_REWIND
#define CXN_H_BEGIN                                                                                                    \
    CXN_H_DLS "vldrw.32 q1, [%[a1], #16]\n\tvldrw.32 q2, [%[a1]]\n\tvadd.i32 q1, q1, %[a0]\n\t" CXN_H_HELD      \
    CXN_H_OTHER CXN_H_WEIGHTS "vdup.32 q5, %[t]\n\t"                                                                   \
    CXN_H_LOAD_0("]\n\t") CXN_H_LOAD_1 CXN_H_MAC(0, "q0", "") CXN_H_LOAD_2("]\n\t") CXN_H_MAC(1, "q6", "")             \
    CXN_H_LOAD_3 CXN_H_MAC(2, "q0", "") CXN_H_MORE CXN_H_REWIND ".p2align 2\n1:\n\t"
/* Rows of up to twelve pixels are written out. */
#define CXN_IS_SHORT (CXN_GROUPS_X <= 3)
#define CXN_H_DOWN_ROW "movw %[t], %[down]\n\t" CXN_H_MOVE("%[t]")
#define CXN_H_ROW "addw %[out], %[out], %[row]\n\t"
#if CXN_IS_SHORT
#define CXN_H_DLS "dls lr, %[rows]\n\t"
#define CXN_H_END "le lr, 1b\n\t"
#else
#define CXN_H_DLS
#define CXN_H_END "subs %[rows], %[rows], #1\n\tbne 1b\n\t"
#define CXN_H_EACH_GROUP                                                                                               \
    "movw lr, %[turns]\n\tdls lr, lr\n\t.p2align 2\n2:\n\t" CXN_H_GROUP(CXN_H_EACH, CXN_H_STEP) "le lr, 2b\n\t"
#endif
#if CXN_GROUPS_X == 1
#define CXN_H_GROUPS CXN_H_BEGIN CXN_H_GROUP(CXN_H_DOWN_ROW, CXN_H_ROW) CXN_H_END
#elif CXN_GROUPS_X == 2
#define CXN_H_GROUPS CXN_H_BEGIN CXN_H_GROUP(CXN_H_LESS, CXN_H_ROW) CXN_H_GROUP(CXN_H_DOWN_ROW, CXN_H_ODD) CXN_H_END
#elif CXN_GROUPS_X == 3
#define CXN_H_GROUPS                                                                                                   \
    CXN_H_BEGIN CXN_H_GROUP(CXN_H_EACH, CXN_H_ROW) CXN_H_GROUP(CXN_H_LESS, CXN_H_STEP)                                 \
    CXN_H_GROUP(CXN_H_DOWN_ROW, CXN_H_ODD) CXN_H_END
#elif CXN_GET(OUT_W) % 4
#define CXN_H_TURNS (CXN_GROUPS_X - 2)
#define CXN_H_GROUPS                                                                                                   \
    CXN_H_BEGIN CXN_H_EACH_GROUP CXN_H_GROUP(CXN_H_LESS, CXN_H_STEP) CXN_H_GROUP(CXN_H_DOWN_ROW, CXN_H_ODD) CXN_H_END
#else
#define CXN_H_TURNS (CXN_GROUPS_X - 1)
#define CXN_H_GROUPS CXN_H_BEGIN CXN_H_EACH_GROUP CXN_H_GROUP(CXN_H_DOWN_ROW, CXN_H_STEP) CXN_H_END
#endif

/* `high` rows of a channel, from `words` on; `places`: of outputs, and of words. */
CXN_INLINE void CXN_LOCAL(channel)(const int8_t *words, const CXN_W_T *weights, const CXN_CHANNEL_T *channel, const int8_t *places,
                                   CXN_OUT_T *output, int32_t high, int is_single)
{
    const CXN_LOCAL(scalars_of) s = CXN_LOCAL(scalars)(channel);
    register CXN_OUT_T *out __asm__("r1") = output - CXN_MIN(CXN_GET(OUT_W), 4) * CXN_GET(OUT_CH);
    register const CXN_W_T *w __asm__("r5") = weights;
    register const int8_t *a0 __asm__("r0") = words, *a1 __asm__("r2") = places;
    register int32_t a2 __asm__("r4"), a3 __asm__("r6"), t __asm__("r3") = CXN_H_ADVANCE, rows __asm__("r9") = high;
    CXN_H_REGISTERS(s)
    (void)is_single;
    __asm__ volatile(
        CXN_H_GROUPS
        : [a0] "+&Te"(a0), [a1] "+&Te"(a1), [a2] "=&Te"(a2), [a3] "=&Te"(a3), [out] "+&r"(out), [t] "+&r"(t), [w] "+&r"(w),
          [rows] "+&r"(rows)
        : CXN_H_SCALARS, [word] "i"(CXN_STEP), [words] "i"(CXN_WORDS), [second] "i"(CXN_H_SECOND), [third] "i"(CXN_H_THIRD),
#if !CXN_IS_SHORT
          [turns] "i"(CXN_H_TURNS),
#endif
          [step] "i"(4 * CXN_GET(OUT_CH) * CXN_BYTES), [odd] "i"(CXN_H_ODD_COLS * CXN_GET(OUT_CH) * CXN_BYTES), [down] "i"(CXN_H_DOWN),
          [row] "i"(CXN_MIN(CXN_GET(OUT_W), 4) * CXN_GET(OUT_CH) * CXN_BYTES), [shorter] "i"(CXN_H_SHORTER < 0 ? -CXN_H_SHORTER : CXN_H_SHORTER)
        : CXN_H_CLOBBERS);
}
