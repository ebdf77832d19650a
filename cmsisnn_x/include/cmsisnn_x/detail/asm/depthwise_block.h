/* SPDX-License-Identifier: Apache-2.0 */
/* Inside the assembly of depthwise.h: CXN_A_N output columns, 1..4, from r0 on, which moves on as the output in the frame does. */
#if CXN_A_N == 1
#define CXN_A_COUNT "1"
#elif CXN_A_N == 2
#define CXN_A_COUNT "2"
#elif CXN_A_N == 3
#define CXN_A_COUNT "3"
#else
#define CXN_A_COUNT "4"
#endif
#if CXN_BC == 2
/*
 * Two output rows, columns side by side: first all products of pairs a, then those of pairs b, r1 bytes behind, so that three words of
 * weights are enough at a time.
 *     r12 lr r2 weights of columns 0..2   r1 r7 pairs of rows   r3 r4 r5 r6 row 0   r8 r9 r10 r11 row 1
 * The first product of an accumulator adds to the start, in r11, which is the last to begin.
 */
#define CXN_A_ROW0_0 "r3"
#define CXN_A_ROW0_1 "r4"
#define CXN_A_ROW0_2 "r5"
#define CXN_A_ROW0_3 "r6"
#define CXN_A_ROW1_0 "r8"
#define CXN_A_ROW1_1 "r9"
#define CXN_A_ROW1_2 "r10"
#define CXN_A_ROW1_3 "r11"
#define CXN_A_W0 "r12"
#define CXN_A_W1 "lr"
#define CXN_A_W2 "r2"
/* Products of output column u with column n of the kernel: of pairs a, begun and added, and of pairs b; a load beside them. */
#define CXN_A_BEGIN(u, d, load)                                                     \
    "smlad " CXN_A_ROW0_##u ", " d ", " CXN_A_W0 ", r11\n\t" load                   \
    "smlatb " CXN_A_ROW1_##u ", " d ", " CXN_A_W0 ", r11\n\t"
#define CXN_A_ADD(u, n, d, load)                                                    \
    "smlad " CXN_A_ROW0_##u ", " d ", " CXN_A_W##n ", " CXN_A_ROW0_##u "\n\t" load  \
    "smlatb " CXN_A_ROW1_##u ", " d ", " CXN_A_W##n ", " CXN_A_ROW1_##u "\n\t"
#define CXN_A_END(u, n, d, load)                                                    \
    "smlabt " CXN_A_ROW0_##u ", " d ", " CXN_A_W##n ", " CXN_A_ROW0_##u "\n\t" load \
    "smlad " CXN_A_ROW1_##u ", " d ", " CXN_A_W##n ", " CXN_A_ROW1_##u "\n\t"
#define CXN_A_END0(u, d, load) CXN_A_END(u, 0, d, load)
#define CXN_A_LOAD(d, j) "ldr " d ", [r0, #" #j "*4]\n\t"
/* Columns of pairs, even ones in d, odd ones in e, which are loaded up to column 1. */
#if CXN_A_N == 1
#define CXN_A_COLUMNS(FIRST, NEXT, d, e)                                                             \
    FIRST(0, d, ) CXN_A_LOAD(d, 2) NEXT(0, 1, e, ) NEXT(0, 2, d, )
#elif CXN_A_N == 2
#define CXN_A_COLUMNS(FIRST, NEXT, d, e)                                                             \
    FIRST(0, d, ) NEXT(0, 1, e, CXN_A_BESIDE(CXN_A_LOAD(d, 2))) FIRST(1, e, )                        \
    CXN_A_GROUP(CXN_A_LOAD(d, 2) CXN_A_LOAD(e, 3))                                                   \
    NEXT(0, 2, d, CXN_A_BESIDE(CXN_A_LOAD(e, 3))) NEXT(1, 1, d, ) NEXT(1, 2, e, )
#elif CXN_A_N == 3
#define CXN_A_COLUMNS(FIRST, NEXT, d, e)                                                             \
    FIRST(0, d, ) NEXT(0, 1, e, CXN_A_BESIDE(CXN_A_LOAD(d, 2))) FIRST(1, e, )                        \
    CXN_A_GROUP(CXN_A_LOAD(d, 2) CXN_A_LOAD(e, 3))                                                   \
    NEXT(0, 2, d, CXN_A_BESIDE(CXN_A_LOAD(e, 3))) NEXT(1, 1, d, ) FIRST(2, d, )                      \
    CXN_A_GROUP(CXN_A_LOAD(d, 4))                                                                    \
    NEXT(1, 2, e, CXN_A_BESIDE(CXN_A_LOAD(d, 4))) NEXT(2, 1, e, ) NEXT(2, 2, d, )
#else
#define CXN_A_COLUMNS(FIRST, NEXT, d, e)                                                             \
    FIRST(0, d, ) NEXT(0, 1, e, CXN_A_BESIDE(CXN_A_LOAD(d, 2))) FIRST(1, e, )                        \
    CXN_A_GROUP(CXN_A_LOAD(d, 2) CXN_A_LOAD(e, 3))                                                   \
    NEXT(0, 2, d, CXN_A_BESIDE(CXN_A_LOAD(e, 3))) NEXT(1, 1, d, ) FIRST(2, d, )                      \
    NEXT(1, 2, e, CXN_A_BESIDE(CXN_A_LOAD(d, 4))) NEXT(2, 1, e, ) FIRST(3, e, )                      \
    CXN_A_GROUP(CXN_A_LOAD(d, 4) CXN_A_LOAD(e, 5))                                                   \
    NEXT(2, 2, d, CXN_A_BESIDE(CXN_A_LOAD(e, 5))) NEXT(3, 1, d, ) NEXT(3, 2, e, )
#endif
CXN_A_FRAME("r2", CXN_A_AT_W)
CXN_A_FRAME("r11", CXN_A_AT_RECORD)
CXN_A_LOAD("r1", 0)
CXN_A_LOAD("r7", 1)
"ldr r12, [r2]\n\t"
"ldr r11, [r11]\n\t"
"ldr lr, [r2, #8]\n\t"
"ldr r2, [r2, #16]\n\t"
CXN_A_COLUMNS(CXN_A_BEGIN, CXN_A_ADD, "r1", "r7")
CXN_A_FRAME("r1", CXN_A_AT_B)
CXN_A_FRAME("r7", CXN_A_AT_W)
"add r0, r0, r1\n\t"
"ldr r12, [r7, #4]\n\t"
CXN_A_LOAD("r1", 0)
"ldr lr, [r7, #12]\n\t"
"ldr r2, [r7, #20]\n\t"
CXN_A_LOAD("r7", 1)
CXN_A_COLUMNS(CXN_A_END0, CXN_A_END, "r1", "r7")
CXN_A_CONSTANTS
CXN_A_FRAME("r1", CXN_A_AT_B)
CXN_A_HIGH(CXN_A_ROW0_0) CXN_A_MOVE_OUT CXN_A_HIGH(CXN_A_ROW1_0) "sub r0, r0, r1\n\t"
#if CXN_A_N > 1
CXN_A_HIGH(CXN_A_ROW0_1) "add r0, r0, #4*" CXN_A_COUNT "\n\t" CXN_A_HIGH(CXN_A_ROW1_1)
#else
"add r0, r0, #4\n\t"
#endif
#if CXN_A_N > 2
CXN_A_HIGH(CXN_A_ROW0_2) CXN_A_HIGH(CXN_A_ROW1_2)
#endif
#if CXN_A_N > 3
CXN_A_HIGH(CXN_A_ROW0_3) CXN_A_HIGH(CXN_A_ROW1_3)
#endif
CXN_A_CLAMP(CXN_A_ROW0_0) CXN_A_KEEP_OUT CXN_A_CLAMP(CXN_A_ROW1_0) CXN_A_STORE(CXN_A_ROW0_0, 0, 0)
#if CXN_A_N > 1
CXN_A_CLAMP(CXN_A_ROW0_1) CXN_A_STORE(CXN_A_ROW1_0, 1, 0) CXN_A_CLAMP(CXN_A_ROW1_1) CXN_A_STORE(CXN_A_ROW0_1, 0, 1)
#endif
#if CXN_A_N > 2
CXN_A_CLAMP(CXN_A_ROW0_2) CXN_A_STORE(CXN_A_ROW1_1, 1, 1) CXN_A_CLAMP(CXN_A_ROW1_2) CXN_A_STORE(CXN_A_ROW0_2, 0, 2)
#endif
#if CXN_A_N > 3
CXN_A_CLAMP(CXN_A_ROW0_3) CXN_A_STORE(CXN_A_ROW1_2, 1, 2) CXN_A_CLAMP(CXN_A_ROW1_3) CXN_A_STORE(CXN_A_ROW0_3, 0, 3)
CXN_A_STORE(CXN_A_ROW1_3, 1, 3)
#elif CXN_A_N > 2
CXN_A_STORE(CXN_A_ROW1_2, 1, 2)
#elif CXN_A_N > 1
CXN_A_STORE(CXN_A_ROW1_1, 1, 1)
#else
CXN_A_STORE(CXN_A_ROW1_0, 1, 0)
#endif
#undef CXN_A_ROW0_0
#undef CXN_A_ROW0_1
#undef CXN_A_ROW0_2
#undef CXN_A_ROW0_3
#undef CXN_A_ROW1_0
#undef CXN_A_ROW1_1
#undef CXN_A_ROW1_2
#undef CXN_A_ROW1_3
#undef CXN_A_W0
#undef CXN_A_W1
#undef CXN_A_W2
#undef CXN_A_BEGIN
#undef CXN_A_ADD
#undef CXN_A_END
#undef CXN_A_END0
#undef CXN_A_LOAD
#undef CXN_A_COLUMNS
#else
/*
 * One output row, two columns apart:
 *     r0 r1 pairs a, b   r12 lr r2 weights of pairs a   r8 r9 weights of rows b: columns 0 and 1, column 2
 *     r3 r4 r5 r6 accumulators, r6 the start until it begins   r7 r10 r11 pairs of rows, in turn
 */
#define CXN_A_LOAD_A(d, j) "ldr " d ", [r0, #" #j "*4]\n\t"
#define CXN_A_LOAD_B(d, j) "ldr " d ", [r1, #" #j "*4]\n\t"
/* Pairs a and b of column 2u, with which output u begins and t, the one before it, ends, and of column 2u + 1. */
#define CXN_A_EVEN(t, u, a, b, load0, load1)                             \
    "smlad " t ", " a ", r2, " t "\n\t" CXN_A_BESIDE(load0)              \
    "smlad " u ", " a ", r12, r6\n\t"                                    \
    "smlabb " t ", " b ", r9, " t "\n\t" CXN_A_BESIDE(load1)             \
    "smlabb " u ", " b ", r8, " u "\n\t"
#define CXN_A_ODD(u, a, b, load0, load1)                                 \
    "smlad " u ", " a ", lr, " u "\n\t" CXN_A_BESIDE(load0)              \
    "smlabt " u ", " b ", r8, " u "\n\t" CXN_A_BESIDE(load1)

CXN_A_FRAME("r2", CXN_A_AT_W)
CXN_A_FRAME("r6", CXN_A_AT_RECORD)
CXN_A_LOAD_A("r7", 0)
CXN_A_LOAD_B("r10", 0)
"ldr r6, [r6]\n\t"
"ldr r8, [r2, #4]\n\t"
"ldr r9, [r2, #12]\n\t"
"ldr r12, [r2]\n\t"
"ldr lr, [r2, #8]\n\t"
CXN_A_LOAD_A("r11", 1)
"pkhbt r8, r8, r9, lsl #16\n\t"
"ldr r9, [r2, #20]\n\t"
"smlad r3, r7, r12, r6\n\t"
"ldr r2, [r2, #16]\n\t"
"smlabb r3, r10, r8, r3\n\t"
CXN_A_LOAD_B("r7", 1)
CXN_A_LOAD_A("r10", 2)
CXN_A_ODD("r3", "r11", "r7", CXN_A_LOAD_B("r11", 2), )
#if CXN_A_N == 1
CXN_A_GROUP(CXN_A_LOAD_B("r11", 2))
"smlad r3, r10, r2, r3\n\t"
"smlabb r3, r11, r9, r3\n\t"
#else
CXN_A_GROUP(CXN_A_LOAD_B("r11", 2) CXN_A_LOAD_A("r7", 3))
CXN_A_EVEN("r3", "r4", "r10", "r11", CXN_A_LOAD_A("r7", 3), CXN_A_LOAD_B("r10", 3))
CXN_A_GROUP(CXN_A_LOAD_B("r10", 3) CXN_A_LOAD_A("r11", 4))
CXN_A_ODD("r4", "r7", "r10", CXN_A_LOAD_A("r11", 4), CXN_A_LOAD_B("r7", 4))
CXN_A_GROUP(CXN_A_LOAD_B("r7", 4))
#if CXN_A_N == 2
"smlad r4, r11, r2, r4\n\t"
"smlabb r4, r7, r9, r4\n\t"
#else
CXN_A_EVEN("r4", "r5", "r11", "r7", CXN_A_LOAD_A("r10", 5), CXN_A_LOAD_B("r11", 5))
CXN_A_GROUP(CXN_A_LOAD_A("r10", 5) CXN_A_LOAD_B("r11", 5) CXN_A_LOAD_A("r7", 6))
CXN_A_ODD("r5", "r10", "r11", CXN_A_LOAD_A("r7", 6), CXN_A_LOAD_B("r10", 6))
CXN_A_GROUP(CXN_A_LOAD_B("r10", 6))
#if CXN_A_N == 3
"smlad r5, r7, r2, r5\n\t"
"smlabb r5, r10, r9, r5\n\t"
#else
CXN_A_EVEN("r5", "r6", "r7", "r10", CXN_A_LOAD_A("r11", 7), CXN_A_LOAD_B("r7", 7))
CXN_A_GROUP(CXN_A_LOAD_A("r11", 7) CXN_A_LOAD_B("r7", 7) CXN_A_LOAD_A("r10", 8))
CXN_A_ODD("r6", "r11", "r7", CXN_A_LOAD_A("r10", 8), CXN_A_LOAD_B("r11", 8))
CXN_A_GROUP(CXN_A_LOAD_B("r11", 8))
"smlad r6, r10, r2, r6\n\t"
"smlabb r6, r11, r9, r6\n\t"
#endif
#endif
#endif
CXN_A_CONSTANTS
CXN_A_HIGH("r3") CXN_A_MOVE_OUT
#if CXN_A_N > 1
CXN_A_HIGH("r4") "add r0, r0, #8*" CXN_A_COUNT "\n\t"
#else
"add r0, r0, #8\n\t"
#endif
#if CXN_A_N > 2
CXN_A_HIGH("r5")
#endif
"add r1, r1, #8*" CXN_A_COUNT "\n\t"
#if CXN_A_N > 3
CXN_A_HIGH("r6")
#endif
CXN_A_CLAMP("r3") CXN_A_KEEP_OUT
#if CXN_A_N > 1
CXN_A_CLAMP("r4") CXN_A_STORE("r3", 0, 0)
#else
CXN_A_STORE("r3", 0, 0)
#endif
#if CXN_A_N > 2
CXN_A_CLAMP("r5") CXN_A_STORE("r4", 0, 1)
#elif CXN_A_N > 1
CXN_A_STORE("r4", 0, 1)
#endif
#if CXN_A_N > 3
CXN_A_CLAMP("r6") CXN_A_STORE("r5", 0, 2) CXN_A_STORE("r6", 0, 3)
#elif CXN_A_N > 2
CXN_A_STORE("r5", 0, 2)
#endif
#undef CXN_A_LOAD_A
#undef CXN_A_LOAD_B
#undef CXN_A_EVEN
#undef CXN_A_ODD
#endif
#undef CXN_A_COUNT
#undef CXN_A_N
