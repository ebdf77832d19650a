/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An output row of all channels of depthwise_direct.h in assembly, CXN_A_ROWS input rows to a window: `rows3`, or `rows2`. A step takes the
 * columns that end an output; up to six are written out, more are a loop, which the first turn enters where what is left over is whole turns.
 *     r0 r1 input and output, which move on   r2 r3 r4 bytes of rows a, b, c; r2 becomes { a b }   r5 r6 accumulators, in turn
 *     r7 r8 the factor of the channel   r9 r10 r11 { w0 w1 } of columns 0..2   r12 lr w2 of columns 0 and 1, and of column 2
 * Of three rows the start is in the frame, with powers of two in r7, and the upper half of lr counts turns; of two it is in r12.
 *     grouped (CXN_INNER_ASM)   loads in groups, for single issue
 *     dual (CXN_INNER_ASM_DUAL) loads beside multiplications, a column ahead of their use. At stride 1 the byte of b comes where an output
 *                               left, and an accumulator begins where b was: r3 r5 r6 take turns; of two rows b is in r4
 * Frame: weights, records, count, is_top, start, and r7, which may be the compiler's frame pointer.
 */
#define CXN_A_AT_RECORD "#0"
#define CXN_A_AT_W "#4"
#define CXN_A_AT_COUNT "#8"
#define CXN_A_AT_IS_TOP "#12"
#define CXN_A_AT_START "#16"
#define CXN_A_AT_R7 "#20"
#define CXN_A_FRAME(reg, at) "ldr " reg ", [sp, " at "]\n\t"
#define CXN_A_PUT(reg, at) "str " reg ", [sp, " at "]\n\t"
#define CXN_A_DUAL (CXN_GET(INNER) == CXN_INNER_ASM_DUAL)
#define CXN_A_AFFINE (CXN_GET(SCHEME) == CXN_SCHEME_AFFINE)

/* Steps, and columns that are read. In the dual order the last step does not load ahead where nothing lies there. */
#if CXN_GET(STRIDE_X) == 1
#define CXN_A_STEPS (CXN_GET(OUT_W) - CXN_MAX(CXN_RIGHT, 0))
#define CXN_A_COLUMNS (CXN_A_STEPS + 2 - CXN_GET(PAD_LEFT))
#define CXN_A_LAST (CXN_A_DUAL && CXN_A_STEPS > 0)
#else
#define CXN_A_STEPS (CXN_GET(OUT_W) - 1)
#define CXN_A_COLUMNS (2 * CXN_A_STEPS + 3 - CXN_GET(PAD_LEFT) - CXN_MAX(CXN_RIGHT, 0))
#define CXN_A_LAST (CXN_A_DUAL && CXN_A_STEPS > 0 && CXN_RIGHT > 0)
#endif
#define CXN_A_INNER_STEPS (CXN_A_STEPS - CXN_A_LAST)
#if CXN_A_INNER_STEPS <= 6
#define CXN_A_TURN 6
#elif CXN_A_DUAL && CXN_GET(STRIDE_X) == 1
#define CXN_A_TURN 3
#else
#define CXN_A_TURN 4
#endif
#define CXN_A_TURNS ((CXN_A_INNER_STEPS + CXN_A_TURN - 1) / CXN_A_TURN)
#define CXN_A_ENTRY (CXN_A_TURNS * CXN_A_TURN - CXN_A_INNER_STEPS)

#if CXN_A_AFFINE
#define CXN_A_HIGH(acc) "smmla " acc ", " acc ", r7, r8\n\t"
#define CXN_A_CLAMP(acc) "ssat " acc ", #8, " acc ", asr #" CXN_STRING(CXN_GET(RESCALE_SHIFT)) "\n\t"
#else
#define CXN_A_HIGH(acc)
#if CXN_GET(OUT_SHIFT) == 0
#define CXN_A_SHIFT "\n\t"
#else
#define CXN_A_SHIFT ", asr #" CXN_STRING(CXN_GET(OUT_SHIFT)) "\n\t"
#endif
#if CXN_OUT_MIN == 0
#define CXN_A_CLAMP(acc) "usat " acc ", #7, " acc CXN_A_SHIFT
#else
#define CXN_A_CLAMP(acc) "ssat " acc ", #8, " acc CXN_A_SHIFT
#endif
#endif

/* The next pixel is reached by an offset of 8 bits, or by an addition. */
#if CXN_GET(IN_CH) <= 255
#define CXN_A_MOVE "], #%c[ch]\n\t"
#define CXN_A_MOVED(reg)
#else
#define CXN_A_MOVE "]\n\t"
#define CXN_A_MOVED(reg) "add " reg ", " reg ", #%c[ch]\n\t"
#endif
#define CXN_A_STORE(acc) "strb " acc ", [r1" CXN_A_MOVE CXN_A_MOVED("r1")
#define CXN_A_LOAD_A "ldrsb r2, [r0" CXN_A_MOVE CXN_A_MOVED("r0")
#define CXN_A_LOAD_B(b) "ldrsb " b ", [r0, #%c[row]]\n\t"
#if CXN_A_ROWS == 3
#define CXN_A_THIRD_ROW(text) text
#define CXN_A_LOAD_C "ldrsb r4, [r0, #2*%c[row]]\n\t"
#else
#define CXN_A_THIRD_ROW(text)
#define CXN_A_LOAD_C
#endif
/* From the pixel before it. */
#define CXN_A_BEHIND_B(b) "ldrsb " b ", [r0, #%c[row]-%c[ch]]\n\t"
#define CXN_A_BEHIND_C "ldrsb r4, [r0, #2*%c[row]-%c[ch]]\n\t"
#define CXN_A_WEAVE(b) "pkhbt r2, r2, " b ", lsl #16\n\t"
#define CXN_A_LOADS(b) CXN_A_LOAD_B(b) CXN_A_LOAD_C CXN_A_LOAD_A
#define CXN_A_COLUMN(b) CXN_A_LOADS(b) CXN_A_WEAVE(b)
#define CXN_A_OUTSIDE "mov r4, #%c[fill]\n\t" "pkhbt r2, r4, r4, lsl #16\n\t"

/* Where the start is, and how it gets into an accumulator that begins. */
#if CXN_A_ROWS == 2
#define CXN_A_START(acc) "r12"
#define CXN_A_RELOAD(acc)
#elif CXN_A_AFFINE
#define CXN_A_START(acc) acc
#define CXN_A_RELOAD(acc) CXN_A_FRAME(acc, CXN_A_AT_START)
#else
#define CXN_A_START(acc) "r7"
#define CXN_A_RELOAD(acc)
#endif
/* Products of a column with columns 0..2 of the kernel. */
#define CXN_A_FIRST(acc, from) "smlad " acc ", r2, r9, " from "\n\t" CXN_A_THIRD_ROW("smlabb " acc ", r4, r12, " acc "\n\t")
#define CXN_A_SECOND(acc) "smlad " acc ", r2, r10, " acc "\n\t" CXN_A_THIRD_ROW("smlabt " acc ", r4, r12, " acc "\n\t")
#define CXN_A_THIRD(acc) "smlad " acc ", r2, r11, " acc "\n\t" CXN_A_THIRD_ROW("smlabb " acc ", r4, lr, " acc "\n\t")
#define CXN_A_FINISH(acc) CXN_A_HIGH(acc) CXN_A_CLAMP(acc) CXN_A_STORE(acc)

/* A step: output `a` ends, `b` comes behind it, the byte of row b is in `y`. CXN_A_ROLE gives the registers of the i-th step. */
#if !CXN_A_DUAL && CXN_GET(STRIDE_X) == 1
#define CXN_A_STEP(a, b, y)                                                                              \
    CXN_A_COLUMN(y) CXN_A_THIRD(a) CXN_A_HIGH(a) CXN_A_SECOND(b) CXN_A_CLAMP(a) CXN_A_STORE(a)           \
    CXN_A_RELOAD(a) CXN_A_FIRST(a, CXN_A_START(a))
#elif !CXN_A_DUAL
#define CXN_A_STEP(a, b, y)                                                                              \
    CXN_A_RELOAD(b) CXN_A_COLUMN(y) CXN_A_THIRD(a) CXN_A_HIGH(a) CXN_A_FIRST(b, CXN_A_START(b))          \
    CXN_A_CLAMP(a) CXN_A_STORE(a) CXN_A_COLUMN(y) CXN_A_SECOND(b)
#elif CXN_GET(STRIDE_X) == 1 && CXN_A_ROWS == 2
#define CXN_A_AHEAD(a, b, y, load_a, load_b, load_c)                                                     \
    CXN_A_WEAVE("r4")                                                                                    \
    "smlad " a ", r2, r11, " a "\n\t" load_b                                                             \
    "smlad " b ", r2, r10, " b "\n\t"                                                                    \
    CXN_A_HIGH(a)                                                                                        \
    "smlad " y ", r2, r9, r12\n\t" load_a                                                                \
    CXN_A_CLAMP(a)                                                                                       \
    CXN_A_STORE(a)
#define CXN_A_STEP(a, b, y) CXN_A_AHEAD(a, b, y, CXN_A_LOAD_A, CXN_A_LOAD_B("r4"), )
#elif CXN_GET(STRIDE_X) == 1
#define CXN_A_AHEAD(a, b, y, load_a, load_b, load_c)                                                     \
    CXN_A_WEAVE(y) "smlabb " a ", r4, lr, " a "\n\t"                                                     \
    "smlad " a ", r2, r11, " a "\n\t" CXN_A_RELOAD(y)                                                    \
    "smlad " b ", r2, r10, " b "\n\t"                                                                    \
    CXN_A_HIGH(a)                                                                                        \
    "smlad " y ", r2, r9, " CXN_A_START(y) "\n\t" load_a                                                 \
    CXN_A_CLAMP(a) "smlabt " b ", r4, r12, " b "\n\t"                                                    \
    CXN_A_STORE(a) load_b                                                                                \
    "smlabb " y ", r4, r12, " y "\n\t" load_c
#define CXN_A_STEP(a, b, y) CXN_A_AHEAD(a, b, y, CXN_A_LOAD_A, CXN_A_BEHIND_B(a), CXN_A_BEHIND_C)
#elif CXN_A_ROWS == 2
#define CXN_A_AHEAD(a, b, y, load_a, load_b, load_c)                                                     \
    CXN_A_WEAVE(y)                                                                                       \
    "smlad " a ", r2, r11, " a "\n\t" CXN_A_LOAD_B(y)                                                    \
    "smlad " b ", r2, r9, r12\n\t" CXN_A_LOAD_A                                                          \
    CXN_A_HIGH(a)                                                                                        \
    CXN_A_WEAVE(y)                                                                                       \
    CXN_A_CLAMP(a)                                                                                       \
    "smlad " b ", r2, r10, " b "\n\t"                                                                    \
    load_b load_a                                                                                        \
    CXN_A_STORE(a)
#define CXN_A_STEP(a, b, y) CXN_A_AHEAD(a, b, y, CXN_A_LOAD_A, CXN_A_LOAD_B(y), )
#else
#define CXN_A_AHEAD(a, b, y, load_a, load_b, load_c)                                                     \
    CXN_A_WEAVE(y) "smlabb " a ", r4, lr, " a "\n\t"                                                     \
    "smlad " a ", r2, r11, " a "\n\t" CXN_A_LOAD_B(y)                                                    \
    "smlad " b ", r2, r9, " CXN_A_START(b) "\n\t" CXN_A_LOAD_A                                           \
    CXN_A_HIGH(a)                                                                                        \
    "smlabb " b ", r4, r12, " b "\n\t" CXN_A_BEHIND_C                                                    \
    CXN_A_CLAMP(a)                                                                                       \
    CXN_A_WEAVE(y) "smlabt " b ", r4, r12, " b "\n\t"                                                    \
    "smlad " b ", r2, r10, " b "\n\t" load_b                                                             \
    load_c load_a                                                                                        \
    CXN_A_STORE(a) CXN_A_RELOAD(a)
#define CXN_A_STEP(a, b, y) CXN_A_AHEAD(a, b, y, CXN_A_LOAD_A, CXN_A_LOAD_B(y), CXN_A_LOAD_C)
#endif
#if CXN_A_DUAL && CXN_GET(STRIDE_X) == 1
#define CXN_A_ROLE_0 "r5", "r6", "r3"
#define CXN_A_ROLE_1 "r6", "r3", "r5"
#define CXN_A_ROLE_2 "r3", "r5", "r6"
#define CXN_A_ROLE_3 CXN_A_ROLE_0
#define CXN_A_ROLE_4 CXN_A_ROLE_1
#define CXN_A_ROLE_5 CXN_A_ROLE_2
#else
#define CXN_A_ROLE_0 "r5", "r6", "r3"
#define CXN_A_ROLE_1 "r6", "r5", "r3"
#define CXN_A_ROLE_2 CXN_A_ROLE_0
#define CXN_A_ROLE_3 CXN_A_ROLE_1
#define CXN_A_ROLE_4 CXN_A_ROLE_0
#define CXN_A_ROLE_5 CXN_A_ROLE_1
#endif
/* Columns 0 and 1, from a start in b; what the dual order loads before its first step. */
#if CXN_GET(PAD_LEFT) == 0
#define CXN_A_COLUMN_0(a, b, y) CXN_A_COLUMN(y) CXN_A_FIRST(a, b)
#elif CXN_PAD_FILL
#define CXN_A_COLUMN_0(a, b, y) CXN_A_OUTSIDE CXN_A_FIRST(a, b)
#else
#define CXN_A_COLUMN_0(a, b, y) "mov " a ", " b "\n\t"
#endif
#if CXN_GET(STRIDE_X) == 1
#define CXN_A_COLUMN_1(a, b, y) CXN_A_COLUMN(y) CXN_A_SECOND(a) CXN_A_FIRST(b, b)
#else
#define CXN_A_COLUMN_1(a, b, y) CXN_A_COLUMN(y) CXN_A_SECOND(a)
#endif
#if CXN_A_DUAL && (CXN_A_STEPS > 0 || (CXN_GET(STRIDE_X) == 2 && CXN_RIGHT <= 0))
#if CXN_A_ROWS == 2 && CXN_GET(STRIDE_X) == 1
#define CXN_A_BEFORE(a, b, y) CXN_A_LOADS("r4")
#else
#define CXN_A_BEFORE(a, b, y) CXN_A_LOADS(y)
#endif
#else
#define CXN_A_BEFORE(a, b, y)
#endif
#define CXN_A_LAST_STEP(a, b, y) CXN_A_AHEAD(a, b, y, , , )
/* The last column. */
#if CXN_RIGHT > 0 && CXN_PAD_FILL
#define CXN_A_END(a, b, y) CXN_A_OUTSIDE CXN_A_THIRD(a) CXN_A_FINISH(a)
#elif CXN_RIGHT > 0
#define CXN_A_END(a, b, y) CXN_A_FINISH(a)
#elif CXN_GET(STRIDE_X) == 2 && CXN_A_DUAL
#define CXN_A_END(a, b, y) CXN_A_WEAVE(y) CXN_A_THIRD(a) CXN_A_FINISH(a)
#elif CXN_GET(STRIDE_X) == 2
#define CXN_A_END(a, b, y) CXN_A_COLUMN(y) CXN_A_THIRD(a) CXN_A_FINISH(a)
#else
#define CXN_A_END(a, b, y)
#endif
#define CXN_A_IN(text, role) text(role) /* where the role is expanded */
#define CXN_A_AS(text, i) CXN_A_IN(text, CXN_PASTE2(CXN_A_ROLE_, i))
#if CXN_A_ENTRY == 0
#define CXN_A_ENTERED CXN_A_ROLE_0
#elif CXN_A_ENTRY == 1
#define CXN_A_ENTERED CXN_A_ROLE_1
#elif CXN_A_ENTRY == 2
#define CXN_A_ENTERED CXN_A_ROLE_2
#elif CXN_A_ENTRY == 3
#define CXN_A_ENTERED CXN_A_ROLE_3
#elif CXN_A_ENTRY == 4
#define CXN_A_ENTERED CXN_A_ROLE_4
#else
#define CXN_A_ENTERED CXN_A_ROLE_5
#endif
#define CXN_A_BEGIN(text) CXN_A_IN(text, CXN_A_ENTERED)

/* The start of a channel, in b: read, of two rows with what the third would have added. */
#if CXN_A_AFFINE
#define CXN_A_READ(a, b, y) "ldm r2!, {" b ", r7, r8}\n\t"
#else
#if CXN_GET(BIAS_SHIFT) == 0
#define CXN_A_READ_SHIFT(b)
#else
#define CXN_A_READ_SHIFT(b) "lsl " b ", " b ", #" CXN_STRING(CXN_GET(BIAS_SHIFT)) "\n\t"
#endif
#if CXN_GET(OUT_SHIFT) == 0
#define CXN_A_READ(a, b, y) "ldrsb " b ", [r2], #1\n\t" CXN_A_READ_SHIFT(b)
#else
#define CXN_A_READ(a, b, y) "ldrsb " b ", [r2], #1\n\t" CXN_A_READ_SHIFT(b) "add " b ", " b ", #%c[round]\n\t"
#endif
#endif
#if CXN_A_ROWS == 2
#define CXN_A_KEEP(a, b, y) "mov r12, " b "\n\t"
#elif CXN_A_AFFINE
#define CXN_A_KEEP(a, b, y) CXN_A_PUT(b, CXN_A_AT_START)
#else
#define CXN_A_KEEP(a, b, y) "mov r7, " b "\n\t"
#endif
#define CXN_A_ADD_TOP(a, b, y) \
    "smlabb " b ", r4, r9, " b "\n\t" "smlabb " b ", r4, r10, " b "\n\t" "smlabb " b ", r4, r11, " b "\n\t"
#define CXN_A_ADD_BOTTOM(a, b, y) \
    "smlabb " b ", r4, r12, " b "\n\t" "smlabt " b ", r4, r12, " b "\n\t" "smlabb " b ", r4, lr, " b "\n\t"

CXN_INLINE void CXN_PASTE2(CXN_LOCAL(rows), CXN_A_ROWS)(const CXN_IN_T *p, const CXN_W_T *w, const CXN_CHANNEL_T *channels, CXN_OUT_T *out
#if CXN_A_ROWS == 2
    , int32_t is_top
#endif
)
{
    register const CXN_IN_T *p_ __asm__("r0") = p;
    register CXN_OUT_T *out_ __asm__("r1") = out;
    register const CXN_CHANNEL_T *channels_ __asm__("r2") = channels;
    register const CXN_W_T *w_ __asm__("r3") = w;
    register int32_t count_ __asm__("r4") = CXN_GET(IN_CH);
#if CXN_A_ROWS == 2
    register int32_t is_top_ __asm__("r5") = is_top;
#else
    register int32_t is_top_ __asm__("r5") = 0;
#endif
    __asm__ volatile(
        "push {r2-r7}\n\t"
        "3:\n\t"
        "ldm r3!, {r9-r12, lr}\n\t"
        CXN_A_PUT("r3", CXN_A_AT_W)
        CXN_A_BEGIN(CXN_A_READ)
        CXN_A_PUT("r2", CXN_A_AT_RECORD)
#if CXN_A_ROWS == 2
#if CXN_PAD_FILL
        "mov r4, #%c[fill]\n\t"
#endif
#if CXN_HAS_TOP && CXN_HAS_BOTTOM
        CXN_A_FRAME("r2", CXN_A_AT_IS_TOP)
        "cbz r2, 1f\n\t"
#endif
#if CXN_HAS_TOP
#if CXN_PAD_FILL
        CXN_A_BEGIN(CXN_A_ADD_TOP)
#endif
        /* { w1 w2 } */
        "pkhtb r10, r12, r10, asr #16\n\t"
        "lsl r12, r12, #16\n\t"
        "lsl lr, lr, #16\n\t"
        "pkhtb r9, r12, r9, asr #16\n\t"
        "pkhtb r11, lr, r11, asr #16\n\t"
#endif
#if CXN_HAS_TOP && CXN_HAS_BOTTOM && CXN_PAD_FILL
        "b 2f\n\t"
#endif
        "1:\n\t"
#if CXN_HAS_BOTTOM && CXN_PAD_FILL
        CXN_A_BEGIN(CXN_A_ADD_BOTTOM)
#endif
        "2:\n\t"
#endif
        CXN_A_BEGIN(CXN_A_KEEP)
        CXN_A_BEGIN(CXN_A_COLUMN_0)
        CXN_A_BEGIN(CXN_A_COLUMN_1)
        CXN_A_BEGIN(CXN_A_BEFORE)
#if CXN_A_TURNS > 1
#if CXN_A_ROWS == 3
        "movt lr, #%c[turns]-1\n\t"
#else
        "movw lr, #%c[turns]\n\t"
#endif
#if CXN_A_ENTRY
        "b 5f\n\t"
#endif
        "4:\n\t"
#endif
#define CXN_A_HAS(i) (i < CXN_A_TURN && (CXN_A_TURNS > 1 || (CXN_A_TURNS == 1 && CXN_A_ENTRY <= i)))
#if CXN_A_HAS(0)
        CXN_A_AS(CXN_A_STEP, 0)
#endif
#if CXN_A_ENTRY == 1
        "5:\n\t"
#endif
#if CXN_A_HAS(1)
        CXN_A_AS(CXN_A_STEP, 1)
#endif
#if CXN_A_ENTRY == 2
        "5:\n\t"
#endif
#if CXN_A_HAS(2)
        CXN_A_AS(CXN_A_STEP, 2)
#endif
#if CXN_A_ENTRY == 3
        "5:\n\t"
#endif
#if CXN_A_HAS(3)
        CXN_A_AS(CXN_A_STEP, 3)
#endif
#if CXN_A_HAS(4)
        CXN_A_AS(CXN_A_STEP, 4)
#endif
#if CXN_A_HAS(5)
        CXN_A_AS(CXN_A_STEP, 5)
#endif
#if CXN_A_TURNS > 1
#if CXN_A_ROWS == 3
        "subs lr, lr, #0x10000\n\t"
        "bcs 4b\n\t"
#else
        "subs lr, lr, #1\n\t"
        "bne 4b\n\t"
#endif
#endif
#if CXN_A_LAST
        CXN_A_AS(CXN_A_LAST_STEP, 0)
        CXN_A_AS(CXN_A_END, 1)
#else
        CXN_A_AS(CXN_A_END, 0)
#endif
        /* The next channel. */
        CXN_A_FRAME("r4", CXN_A_AT_COUNT) CXN_A_FRAME("r2", CXN_A_AT_RECORD) CXN_A_FRAME("r3", CXN_A_AT_W)
        "sub r0, r0, #%c[read]-1\n\t"
        "sub r1, r1, #%c[written]-1\n\t"
        "subs r4, r4, #1\n\t"
        CXN_A_PUT("r4", CXN_A_AT_COUNT)
        "bne 3b\n\t"
        CXN_A_FRAME("r7", CXN_A_AT_R7)
        "add sp, #24\n\t"
        : "+r"(p_), "+r"(out_), "+r"(channels_), "+r"(w_), "+r"(count_), "+r"(is_top_)
        : [row] "i"(CXN_ROW), [ch] "i"(CXN_GET(IN_CH)), [read] "i"(CXN_A_COLUMNS * CXN_GET(IN_CH)),
          [written] "i"(CXN_GET(OUT_W) * CXN_GET(OUT_CH)), [turns] "i"(CXN_A_TURNS), [fill] "i"(CXN_PAD_FILL)
#if !CXN_A_AFFINE
          , [round] "i"(CXN_ROUND_TERM)
#endif
        : "r6", "r8", "r9", "r10", "r11", "r12", "lr", "cc", "memory");
}
#undef CXN_A_ROWS
#undef CXN_A_AT_RECORD
#undef CXN_A_AT_W
#undef CXN_A_AT_COUNT
#undef CXN_A_AT_IS_TOP
#undef CXN_A_AT_START
#undef CXN_A_AT_R7
#undef CXN_A_FRAME
#undef CXN_A_PUT
#undef CXN_A_DUAL
#undef CXN_A_AFFINE
#undef CXN_A_STEPS
#undef CXN_A_COLUMNS
#undef CXN_A_LAST
#undef CXN_A_INNER_STEPS
#undef CXN_A_TURN
#undef CXN_A_TURNS
#undef CXN_A_ENTRY
#undef CXN_A_HIGH
#undef CXN_A_CLAMP
#undef CXN_A_SHIFT
#undef CXN_A_MOVE
#undef CXN_A_MOVED
#undef CXN_A_STORE
#undef CXN_A_LOAD_A
#undef CXN_A_LOAD_B
#undef CXN_A_THIRD_ROW
#undef CXN_A_LOAD_C
#undef CXN_A_BEHIND_B
#undef CXN_A_BEHIND_C
#undef CXN_A_WEAVE
#undef CXN_A_LOADS
#undef CXN_A_COLUMN
#undef CXN_A_OUTSIDE
#undef CXN_A_START
#undef CXN_A_RELOAD
#undef CXN_A_FIRST
#undef CXN_A_SECOND
#undef CXN_A_THIRD
#undef CXN_A_FINISH
#undef CXN_A_STEP
#undef CXN_A_AHEAD
#undef CXN_A_ROLE_0
#undef CXN_A_ROLE_1
#undef CXN_A_ROLE_2
#undef CXN_A_ROLE_3
#undef CXN_A_ROLE_4
#undef CXN_A_ROLE_5
#undef CXN_A_COLUMN_0
#undef CXN_A_COLUMN_1
#undef CXN_A_BEFORE
#undef CXN_A_LAST_STEP
#undef CXN_A_END
#undef CXN_A_IN
#undef CXN_A_AS
#undef CXN_A_ENTERED
#undef CXN_A_BEGIN
#undef CXN_A_READ
#undef CXN_A_READ_SHIFT
#undef CXN_A_KEEP
#undef CXN_A_ADD_TOP
#undef CXN_A_ADD_BOTTOM
#undef CXN_A_HAS
