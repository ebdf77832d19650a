/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A 2 x 2 block in the instructions of M0 and M0+, for packed weights: one run as in dot_block.h, or the products of CXN_B_POINTS runs
 * as in dot.h; arguments and meaning are those.
 * Multiplies destroy an operand and take low registers only, additions accept any: operands are widened from words into low registers,
 * the widening of one being the copy that the next needs, and the accumulators live in high ones.
 *
 *     r0 weights   r1 columns   r2 r3   column 0, two k   r4 r5   column 1   r6 r7   weights   r8 r9 r10 r11   accumulators, row by row
 *
 * Columns within reach of a load's offset are read from r1; otherwise r12 and lr keep one address each.
 * Per pair of k: 34 cycles for 8 MAC, 36 with far columns, 38 if columns are not word aligned.
 * Frame: r7, end of the loop, the accumulators' address or, for points, m, end of the weights, bytes of the loop, step to the next point, bytes between columns.
 */
#include "accumulators_v6m.h"

#define CXN_A_PAIRS (CXN_RUN / 2)
#define CXN_A_U CXN_GET(UNROLL)
#define CXN_A_LOOPS (CXN_A_PAIRS / CXN_A_U > 1 ? CXN_A_PAIRS / CXN_A_U : 0)
#define CXN_A_REST (CXN_A_PAIRS - CXN_A_LOOPS * CXN_A_U)
#if CXN_COL_STEP == 0
#define CXN_A_COL_BYTES 4
#define CXN_A_PAIR_BYTES 8
#else
#define CXN_A_COL_BYTES (2 * (CXN_COL_STEP))
#define CXN_A_PAIR_BYTES 4
#endif
#define CXN_A_W_BYTES (4 * CXN_W_BYTES)
/* The largest pair index that is written out; an element without a partner is that of a pair half read. */
#define CXN_A_ODD (CXN_RUN % 2)
#define CXN_A_TOP (CXN_MAX(CXN_A_LOOPS ? CXN_A_U : 0, CXN_A_REST + CXN_A_ODD) - 1)

#define CXN_A_WIDEN_ODD "sxth r2, r2\n\tsxth r4, r4\n\t"
#define CXN_A_ODD_0(k) "ldrh r2, [r1, #(" #k ")*%c[ks]]\n\t"
#define CXN_A_ODD_1(k, offset) "ldrh r4, [r1, #" offset "+(" #k ")*%c[ks]]\n\t"
#if CXN_D_ALIGNED
#define CXN_A_NEAR (CXN_A_COL_BYTES + CXN_A_PAIR_BYTES * CXN_A_TOP <= (CXN_A_ODD ? 62 : 124))
#define CXN_A_COLUMN_0(k) "ldr r2, [r1, #(" #k ")*%c[ks]]\n\t"
#define CXN_A_COLUMN_1(k, offset) "ldr r4, [r1, #" offset "+(" #k ")*%c[ks]]\n\t"
#define CXN_A_WIDEN_D                                       \
    "asrs r3, r2, #16\n\tsxth r2, r2\n\t"                   \
    "asrs r5, r4, #16\n\tsxth r4, r4\n\t"
#else
#define CXN_A_NEAR (CXN_A_COL_BYTES + CXN_A_PAIR_BYTES * CXN_A_TOP + 2 <= 62)
#define CXN_A_COLUMN_0(k) "ldrh r2, [r1, #(" #k ")*%c[ks]]\n\tldrh r3, [r1, #(" #k ")*%c[ks]+2]\n\t"
#define CXN_A_COLUMN_1(k, offset) "ldrh r4, [r1, #" offset "+(" #k ")*%c[ks]]\n\tldrh r5, [r1, #" offset "+(" #k ")*%c[ks]+2]\n\t"
#define CXN_A_WIDEN_D                                       \
    "sxth r2, r2\n\tsxth r3, r3\n\t"                        \
    "sxth r4, r4\n\tsxth r5, r5\n\t"
#endif
#if CXN_A_NEAR
#define CXN_A_COLUMNS(k) CXN_A_COLUMN_0(k) CXN_A_COLUMN_1(k, "%c[cs]")
#define CXN_A_ODD_COLUMNS(k) CXN_A_ODD_0(k) CXN_A_ODD_1(k, "%c[cs]")
#else
#define CXN_A_COLUMNS(k) "mov r1, r12\n\t" CXN_A_COLUMN_0(k) "mov r1, lr\n\t" CXN_A_COLUMN_1(k, "0")
#define CXN_A_ODD_COLUMNS(k) "mov r1, r12\n\t" CXN_A_ODD_0(k) "mov r1, lr\n\t" CXN_A_ODD_1(k, "0")
#endif
#if CXN_W_BYTES == 2
#define CXN_A_STEP(k)                                                       \
    CXN_A_COLUMNS(k)                                                        \
    "ldr r6, [r0, #(" #k ")*8]\n\t"                                         \
    CXN_A_WIDEN_D                                                           \
    "sxth r7, r6\n\tmuls r7, r2, r7\n\tadd r8, r7\n\t"                      \
    "sxth r7, r6\n\tmuls r7, r4, r7\n\tadd r9, r7\n\t"                      \
    "asrs r7, r6, #16\n\tmuls r7, r3, r7\n\tadd r8, r7\n\t"                 \
    "asrs r6, r6, #16\n\tmuls r6, r5, r6\n\tadd r9, r6\n\t"                 \
    "ldr r6, [r0, #(" #k ")*8+4]\n\t"                                       \
    "sxth r7, r6\n\tmuls r2, r7, r2\n\tadd r10, r2\n\t"                     \
    "muls r4, r7, r4\n\tadd r11, r4\n\t"                                    \
    "asrs r6, r6, #16\n\tmuls r3, r6, r3\n\tadd r10, r3\n\t"                \
    "muls r5, r6, r5\n\tadd r11, r5\n\t"
/* A pair of k that has only its first: the second weight is zero. */
#define CXN_A_ODD_STEP(k)                                                   \
    CXN_A_ODD_COLUMNS(k)                                                    \
    "ldr r6, [r0, #(" #k ")*8]\n\t"                                         \
    "ldr r3, [r0, #(" #k ")*8+4]\n\t"                                       \
    CXN_A_WIDEN_ODD                                                         \
    "sxth r7, r6\n\tmuls r7, r2, r7\n\tadd r8, r7\n\t"                      \
    "sxth r6, r6\n\tmuls r6, r4, r6\n\tadd r9, r6\n\t"                      \
    "sxth r3, r3\n\tmuls r2, r3, r2\n\tadd r10, r2\n\t"                     \
    "muls r4, r3, r4\n\tadd r11, r4\n\t"
#else
#define CXN_A_STEP(k)                                                       \
    CXN_A_COLUMNS(k)                                                        \
    "ldr r6, [r0, #(" #k ")*4]\n\t"                                         \
    CXN_A_WIDEN_D                                                           \
    "sxtb r7, r6\n\tmuls r7, r2, r7\n\tadd r8, r7\n\t"                      \
    "sxtb r7, r6\n\tmuls r7, r4, r7\n\tadd r9, r7\n\t"                      \
    "lsls r7, r6, #16\n\tasrs r7, r7, #24\n\t"                              \
    "muls r2, r7, r2\n\tadd r10, r2\n\t"                                    \
    "muls r4, r7, r4\n\tadd r11, r4\n\t"                                    \
    "lsls r7, r6, #8\n\tasrs r7, r7, #24\n\tmov r2, r7\n\t"                 \
    "muls r7, r3, r7\n\tadd r8, r7\n\t"                                     \
    "muls r2, r5, r2\n\tadd r9, r2\n\t"                                     \
    "asrs r6, r6, #24\n\tmuls r3, r6, r3\n\tadd r10, r3\n\t"                \
    "muls r5, r6, r5\n\tadd r11, r5\n\t"
#define CXN_A_ODD_STEP(k)                                                   \
    CXN_A_ODD_COLUMNS(k)                                                    \
    "ldr r6, [r0, #(" #k ")*4]\n\t"                                         \
    CXN_A_WIDEN_ODD                                                         \
    "sxtb r7, r6\n\tmuls r7, r2, r7\n\tadd r8, r7\n\t"                      \
    "sxtb r7, r6\n\tmuls r7, r4, r7\n\tadd r9, r7\n\t"                      \
    "lsls r6, r6, #16\n\tasrs r6, r6, #24\n\t"                              \
    "muls r2, r6, r2\n\tadd r10, r2\n\t"                                    \
    "muls r4, r6, r4\n\tadd r11, r4\n\t"
#endif
#define CXN_A_STEPS_1(k) CXN_A_STEP(k)
#define CXN_A_STEPS_2(k) CXN_A_STEP(k) CXN_A_STEP(k+1)
#define CXN_A_STEPS_4(k) CXN_A_STEPS_2(k) CXN_A_STEPS_2(k+2)
#define CXN_A_STEPS_8(k) CXN_A_STEPS_4(k) CXN_A_STEPS_4(k+4)
#define CXN_A_ODD_STEPS(k) CXN_A_ODD_STEP(k)

/* Where the rest's four, two, one and half a one begin: literals, since they become text. */
#if CXN_A_REST & 8
#define CXN_A_REST_4 8
#else
#define CXN_A_REST_4 0
#endif
#if CXN_A_REST & 4
#if CXN_A_REST & 8
#define CXN_A_REST_2 12
#else
#define CXN_A_REST_2 4
#endif
#else
#define CXN_A_REST_2 CXN_A_REST_4
#endif
#if CXN_A_REST & 2
#define CXN_A_REST_1 CXN_A_REST_2+2
#else
#define CXN_A_REST_1 CXN_A_REST_2
#endif
#if CXN_A_REST & 1
#define CXN_A_REST_0 CXN_A_REST_1+1
#else
#define CXN_A_REST_0 CXN_A_REST_1
#endif

#if defined(CXN_B_POINTS)
CXN_INLINE void CXN_B_NAME(int32_t *m, const CXN_W_T *w, const CXN_D_T *d)
{
    register const CXN_W_T *w_ __asm__("r0") = w;
    register const CXN_D_T *d_ __asm__("r1") = d;
    register int32_t *m_ __asm__("r2") = m;
    register const CXN_W_T *end_ __asm__("r3") = w + CXN_B_POINTS * 2 * CXN_RUN;
    register int32_t loop_ __asm__("r4") = CXN_A_W_BYTES * CXN_A_U * CXN_A_LOOPS;
    register int32_t next_ __asm__("r5") = 2 * CXN_B_POINT_STEP - CXN_A_PAIR_BYTES * CXN_A_U * CXN_A_LOOPS;
    register int32_t column_ __asm__("r6") = CXN_A_COL_BYTES;
    __asm__ volatile(
        ".syntax unified\n\t"
        "sub sp, #32\n\t"
        "str r7, [sp]\n\t"
        "str r2, [sp, #8]\n\t"
        "str r3, [sp, #12]\n\t"
        "str r4, [sp, #16]\n\t"
        "str r5, [sp, #20]\n\t"
        "str r6, [sp, #24]\n\t"
        "2:\n\t"
        "movs r2, #0\n\t"
        "mov r8, r2\n\t"
        "mov r9, r2\n\t"
        "mov r10, r2\n\t"
        "mov r11, r2\n\t"
#if !CXN_A_NEAR
        "mov r12, r1\n\t"
        "ldr r2, [sp, #24]\n\t"
        "adds r2, r2, r1\n\t"
        "mov lr, r2\n\t"
#endif
#if CXN_A_LOOPS
        "ldr r2, [sp, #16]\n\t"
        "adds r2, r2, r0\n\t"
        "str r2, [sp, #4]\n\t"
#endif
#include "dot_v6m_run.h"
#if CXN_A_REST
        "adds r0, #%c[wrest]\n\t"
#endif
#if !CXN_A_NEAR
        "mov r1, r12\n\t"
#endif
        "ldr r2, [sp, #20]\n\t"
        "adds r1, r1, r2\n\t"
        "ldr r2, [sp, #8]\n\t"
        "mov r3, r8\n\t"
        "mov r4, r9\n\t"
        "mov r5, r10\n\t"
        "mov r6, r11\n\t"
        "stmia r2!, {r3-r6}\n\t"
        "str r2, [sp, #8]\n\t"
        "ldr r2, [sp, #12]\n\t"
        "cmp r0, r2\n\t"
        "beq 4f\n\t"
        "b 2b\n\t"
        "4:\n\t"
        "ldr r7, [sp]\n\t"
        "add sp, #32\n\t"
        : "+l"(w_), "+l"(d_), "+l"(m_), "+l"(end_), "+l"(loop_), "+l"(next_), "+l"(column_)
        : [cs] "i"(CXN_A_COL_BYTES), [ks] "i"(CXN_A_PAIR_BYTES), [wb] "i"(CXN_A_W_BYTES * CXN_A_U),
          [db] "i"(CXN_A_PAIR_BYTES * CXN_A_U), [wrest] "i"(CXN_A_W_BYTES * CXN_A_REST)
        : "r8", "r9", "r10", "r11", "r12", "lr", "cc", "memory");
}
#else
CXN_INLINE void CXN_B_NAME(int32_t *CXN_RESTRICT acc, const CXN_W_T *CXN_RESTRICT w, const CXN_D_T *CXN_RESTRICT d)
{
    register const CXN_W_T *w_ __asm__("r0") = w;
    register const CXN_D_T *d_ __asm__("r1") = d;
    register const CXN_W_T *end_ __asm__("r2") = w + 4 * CXN_A_U * CXN_A_LOOPS;
    register const CXN_D_T *far_ __asm__("r3") = d + CXN_A_COL_BYTES / 2;
    CXN_V6M_ACCUMULATORS("r4")
    __asm__ volatile(
        ".syntax unified\n\t"
        "sub sp, #16\n\t"
        "str r7, [sp]\n\t"
        CXN_V6M_TAKE("r4", "r5", "8")
#if CXN_A_LOOPS
        "str r2, [sp, #4]\n\t"
#endif
#if !CXN_A_NEAR
        "mov r12, r1\n\t"
        "mov lr, r3\n\t"
#endif
#include "dot_v6m_run.h"
        CXN_V6M_GIVE("r4", "r5", "8")
        "ldr r7, [sp]\n\t"
        "add sp, #16\n\t"
        : "+l"(w_), "+l"(d_), "+l"(end_), "+l"(far_), CXN_V6M_OPERANDS
        : [cs] "i"(CXN_A_COL_BYTES), [ks] "i"(CXN_A_PAIR_BYTES), [wb] "i"(CXN_A_W_BYTES * CXN_A_U),
          [db] "i"(CXN_A_PAIR_BYTES * CXN_A_U)
        : CXN_V6M_CLOBBERS("r4") "r5", "r6", "r12", "lr", "cc", "memory");
    CXN_V6M_RESULTS
}
#endif

#undef CXN_A_PAIRS
#undef CXN_A_U
#undef CXN_A_LOOPS
#undef CXN_A_REST
#undef CXN_A_REST_0
#undef CXN_A_REST_1
#undef CXN_A_REST_2
#undef CXN_A_REST_4
#undef CXN_A_COL_BYTES
#undef CXN_A_PAIR_BYTES
#undef CXN_A_W_BYTES
#undef CXN_A_ODD
#undef CXN_A_ODD_0
#undef CXN_A_ODD_1
#undef CXN_A_ODD_COLUMNS
#undef CXN_A_ODD_STEP
#undef CXN_A_ODD_STEPS
#undef CXN_A_WIDEN_ODD
#undef CXN_A_TOP
#undef CXN_A_NEAR
#undef CXN_A_COLUMN_0
#undef CXN_A_COLUMN_1
#undef CXN_A_WIDEN_D
#undef CXN_A_COLUMNS
#undef CXN_A_STEP
#undef CXN_A_STEPS_1
#undef CXN_A_STEPS_2
#undef CXN_A_STEPS_4
#undef CXN_A_STEPS_8
#undef CXN_B_NAME
#undef CXN_B_ROWS
#undef CXN_B_COLS
