/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The 2 x 4 block of dot_block.h in assembly, for packed weights: same name, arguments and meaning.
 *
 *     r0 weights   r2 r3 r4 r5   row 0, columns 0..3      r7 r11   weights of rows 0 and 1, two k each
 *     r1 columns   r6 r8 r9 r10  row 1, columns 0..3      r12 lr   columns, two k each
 *
 * r7 may be the compiler's frame pointer: it is kept on the stack, beside the address at which the loop ends.
 * All operands but the columns lie at constant offsets from two pointers: column c, pair k at c * %[cs] + k * %[ks] bytes.
 *
 * The 4 x 2 block, grouped and over widened weights, has weights and columns in each other's place: r7 and r11 are columns 0
 * and 1, r12 and lr weights; accumulators and sums of a point lie [column][row].
 *
 *     grouped (CXN_INNER_ASM)   loads in two groups per pair of k: 16 cycles for 16 MAC on M4, 17 from 8-bit weights; without the DSP
 *                               extension the same order element by element: 24 cycles for 8 MAC on M3
 *                               GCC's own code for the block, which spills accumulators, takes 25 and 38
 *     dual (CXN_INNER_ASM_DUAL) a load beside each multiply and two slots ahead of its use: 8 cycles for 16 MAC on M7
 */
/* A step of the inner product is two pairs of k here. */
#define CXN_A_UNROLL (2 * CXN_GET(UNROLL))
#define CXN_A_PAIRS (CXN_RUN / 2)
#define CXN_A_W_BYTES (2 * CXN_B_ROWS * CXN_W_BYTES)
#if CXN_COL_STEP == 0
#define CXN_A_COL_BYTES 4
#define CXN_A_PAIR_BYTES 16
#else
#define CXN_A_COL_BYTES (2 * (CXN_COL_STEP))
#define CXN_A_PAIR_BYTES 4
#endif

#if CXN_B_ROWS == 4
#define CXN_A_LOAD_D(reg, c, k) "ldr " reg ", [r0, #" #c "*4+(" #k ")*16]\n\t"
#else
#define CXN_A_LOAD_D(reg, c, k) "ldr " reg ", [r1, #" #c "*%c[cs]+(" #k ")*%c[ks]]\n\t"
#endif
#if CXN_DSP
#define CXN_A_MAC(acc, w, d) "smlad " acc ", " w ", " d ", " acc "\n\t"
#define CXN_A_MUL(acc, w, d) "smuad " acc ", " w ", " d "\n\t"
#else
#define CXN_A_MAC(acc, w, d) "mla " acc ", " w ", " d ", " acc "\n\t"
#define CXN_A_MUL(acc, w, d) "mul " acc ", " w ", " d "\n\t"
#endif

#if CXN_GET(INNER) == CXN_INNER_ASM || !CXN_DSP
#define CXN_A_AHEAD 0
#if !CXN_DSP
/* One element at a time: j is 0 or 1 in the pair. */
#if CXN_W_BYTES == 2
#define CXN_A_LOAD_W(k, j)                              \
    "ldrsh r7, [r0, #(" #k ")*8+" #j "*2]\n\t"          \
    "ldrsh r11, [r0, #(" #k ")*8+" #j "*2+4]\n\t"
#else
#define CXN_A_LOAD_W(k, j)                              \
    "ldrsb r7, [r0, #(" #k ")*4+" #j "*2]\n\t"          \
    "ldrsb r11, [r0, #(" #k ")*4+" #j "*2+1]\n\t"
#endif
#define CXN_A_LOAD_H(reg, c, k, j) "ldrsh " reg ", [r1, #" #c "*%c[cs]+(" #k ")*%c[ks]+" #j "*2]\n\t"
#define CXN_A_HALF_STEP(OP, k, j)                                                          \
    CXN_A_LOAD_W(k, j) CXN_A_LOAD_H("r12", 0, k, j) CXN_A_LOAD_H("lr", 1, k, j)            \
    OP("r2", "r7", "r12") OP("r6", "r11", "r12") OP("r3", "r7", "lr") OP("r8", "r11", "lr") \
    CXN_A_LOAD_H("r12", 2, k, j) CXN_A_LOAD_H("lr", 3, k, j)                               \
    OP("r4", "r7", "r12") OP("r9", "r11", "r12") OP("r5", "r7", "lr") OP("r10", "r11", "lr")
#define CXN_A_STEP_OF(OP, k) CXN_A_HALF_STEP(OP, k, 0) CXN_A_HALF_STEP(CXN_A_MAC, k, 1)
#else
#if CXN_B_ROWS == 4
#define CXN_A_LOAD_W(k)                          \
    "ldr r7, [r1, #(" #k ")*%c[ks]]\n\t"         \
    "ldr r11, [r1, #%c[cs]+(" #k ")*%c[ks]]\n\t"
#define CXN_A_WIDEN_W
#elif CXN_W_BYTES == 2
#define CXN_A_LOAD_W(k)                          \
    "ldr r7, [r0, #(" #k ")*8]\n\t"              \
    "ldr r11, [r0, #(" #k ")*8+4]\n\t"
#define CXN_A_WIDEN_W
#else
#define CXN_A_LOAD_W(k) "ldr r7, [r0, #(" #k ")*4]\n\t"
#define CXN_A_WIDEN_W              \
    "sxtb16 r11, r7, ror #8\n\t"   \
    "sxtb16 r7, r7\n\t"
#endif
#define CXN_A_STEP_OF(OP, k)                                                  \
    CXN_A_LOAD_W(k) CXN_A_LOAD_D("r12", 0, k) CXN_A_LOAD_D("lr", 1, k)        \
    CXN_A_WIDEN_W                                                             \
    OP("r2", "r7", "r12") OP("r6", "r11", "r12")                \
    OP("r3", "r7", "lr") OP("r8", "r11", "lr")                  \
    CXN_A_LOAD_D("r12", 2, k) CXN_A_LOAD_D("lr", 3, k)                        \
    OP("r4", "r7", "r12") OP("r9", "r11", "r12")                \
    OP("r5", "r7", "lr") OP("r10", "r11", "lr")
#endif
#define CXN_A_ENTER
#define CXN_A_LAST(k) CXN_A_STEP(k)
#define CXN_A_LOOP_END                    \
    "add r0, r0, %[wb]\n\t"               \
    "ldr r7, [sp, #4]\n\t"                \
    "add r1, r1, %[db]\n\t"               \
    "cmp r0, r7\n\t"                      \
    "bne 1b\n\t"
#define CXN_A_END(k)
#else
/* One pair ahead: the weights and column 0 of the next pair are loaded in this one, never behind the last. */
#define CXN_A_AHEAD 1
#if CXN_W_BYTES == 2
#define CXN_A_NEXT_W0(k) "ldr r7, [r0, #(" #k ")*8]\n\t"
#define CXN_A_NEXT_W1(k) "ldr r11, [r0, #(" #k ")*8+4]\n\t"
#define CXN_A_WIDEN_W
#else
#define CXN_A_NEXT_W0(k) "ldr r7, [r0, #(" #k ")*4]\n\t"
#define CXN_A_NEXT_W1(k)
#define CXN_A_WIDEN_W              \
    "sxtb16 r11, r7, ror #8\n\t"   \
    "sxtb16 r7, r7\n\t"
#endif
#define CXN_A_BODY(OP, k)                                                        \
    CXN_A_WIDEN_W                                                             \
    OP("r2", "r7", "r12") CXN_A_LOAD_D("lr", 1, k)                     \
    OP("r6", "r11", "r12") CXN_A_LOAD_D("r12", 2, k)                   \
    OP("r3", "r7", "lr")                                               \
    OP("r8", "r11", "lr") CXN_A_LOAD_D("lr", 3, k)                     \
    OP("r4", "r7", "r12")
#define CXN_A_STEP_OF(OP, k)                                                         \
    CXN_A_BODY(OP, k)                                                             \
    OP("r9", "r11", "r12") CXN_A_LOAD_D("r12", 0, k+1)                 \
    OP("r5", "r7", "lr") CXN_A_NEXT_W0(k+1)                            \
    OP("r10", "r11", "lr") CXN_A_NEXT_W1(k+1)
#define CXN_A_ENTER "ldr r12, [r1]\n\t" CXN_A_NEXT_W0(0) CXN_A_NEXT_W1(0)
/* The end of the loop's last pair: r12 holds the end address for a moment. */
#define CXN_A_LAST(k)                                                         \
    CXN_A_BODY(CXN_A_MAC, k)                                                             \
    "add r0, r0, %[wb]\n\t"                                                  \
    CXN_A_MAC("r9", "r11", "r12") "ldr r12, [sp, #4]\n\t"                     \
    CXN_A_MAC("r5", "r7", "lr") CXN_A_NEXT_W0(0)                              \
    CXN_A_MAC("r10", "r11", "lr") CXN_A_NEXT_W1(0)                            \
    "add r1, r1, %[db]\n\t"
#define CXN_A_LOOP_END                    \
    "cmp r0, r12\n\t"                     \
    "ldr r12, [r1]\n\t"                   \
    "bne 1b\n\t"
#define CXN_A_END(k)                                                          \
    CXN_A_BODY(CXN_A_MAC, k)                                                             \
    CXN_A_MAC("r9", "r11", "r12")                                             \
    CXN_A_MAC("r5", "r7", "lr")                                               \
    CXN_A_MAC("r10", "r11", "lr")
#endif

#define CXN_A_STEP(k) CXN_A_STEP_OF(CXN_A_MAC, k)

/* The last element of an odd run: its weights have a zero beside them. */
#if CXN_DSP
#if CXN_B_ROWS == 4
#define CXN_A_LOAD_ODD(reg, c, k) CXN_A_LOAD_D(reg, c, k)
#define CXN_A_LOAD_ODD_W(k)                      \
    "ldrh r7, [r1, #(" #k ")*%c[ks]]\n\t"        \
    "ldrh r11, [r1, #%c[cs]+(" #k ")*%c[ks]]\n\t"
#else
#define CXN_A_LOAD_ODD(reg, c, k) "ldrh " reg ", [r1, #" #c "*%c[cs]+(" #k ")*%c[ks]]\n\t"
#if CXN_W_BYTES == 2
#define CXN_A_LOAD_ODD_W(k) "ldr r7, [r0, #(" #k ")*8]\n\t" "ldr r11, [r0, #(" #k ")*8+4]\n\t"
#else
#define CXN_A_LOAD_ODD_W(k) "ldr r7, [r0, #(" #k ")*4]\n\t"
#endif
#endif
#define CXN_A_ODD(k)                                                              \
    CXN_A_LOAD_ODD_W(k) CXN_A_LOAD_ODD("r12", 0, k) CXN_A_LOAD_ODD("lr", 1, k)    \
    CXN_A_WIDEN_W                                                                 \
    CXN_A_MAC("r2", "r7", "r12") CXN_A_MAC("r6", "r11", "r12")                    \
    CXN_A_MAC("r3", "r7", "lr") CXN_A_MAC("r8", "r11", "lr")                      \
    CXN_A_LOAD_ODD("r12", 2, k) CXN_A_LOAD_ODD("lr", 3, k)                        \
    CXN_A_MAC("r4", "r7", "r12") CXN_A_MAC("r9", "r11", "r12")                    \
    CXN_A_MAC("r5", "r7", "lr") CXN_A_MAC("r10", "r11", "lr")
#else
#define CXN_A_ODD(k) CXN_A_HALF_STEP(CXN_A_MAC, k, 0)
#endif

/* Text, not .rept: GCC sizes its branches and literal pools by counting lines. */
#define CXN_A_STEPS_0(k)
#define CXN_A_STEPS_1(k) CXN_A_STEP(k)
#define CXN_A_STEPS_2(k) CXN_A_STEP(k) CXN_A_STEP(k+1)
#define CXN_A_STEPS_3(k) CXN_A_STEPS_2(k) CXN_A_STEP(k+2)
#define CXN_A_STEPS_4(k) CXN_A_STEPS_2(k) CXN_A_STEPS_2(k+2)
#define CXN_A_STEPS_5(k) CXN_A_STEPS_4(k) CXN_A_STEP(k+4)
#define CXN_A_STEPS_6(k) CXN_A_STEPS_4(k) CXN_A_STEPS_2(k+4)
#define CXN_A_STEPS_7(k) CXN_A_STEPS_4(k) CXN_A_STEPS_3(k+4)
#define CXN_A_STEPS_8(k) CXN_A_STEPS_4(k) CXN_A_STEPS_4(k+4)
#define CXN_A_STEPS_9(k) CXN_A_STEPS_8(k) CXN_A_STEP(k+8)
#define CXN_A_STEPS_10(k) CXN_A_STEPS_8(k) CXN_A_STEPS_2(k+8)
#define CXN_A_STEPS_11(k) CXN_A_STEPS_8(k) CXN_A_STEPS_3(k+8)
#define CXN_A_STEPS_12(k) CXN_A_STEPS_8(k) CXN_A_STEPS_4(k+8)
#define CXN_A_STEPS_13(k) CXN_A_STEPS_8(k) CXN_A_STEPS_5(k+8)
#define CXN_A_STEPS_14(k) CXN_A_STEPS_8(k) CXN_A_STEPS_6(k+8)
#define CXN_A_STEPS_15(k) CXN_A_STEPS_8(k) CXN_A_STEPS_7(k+8)
#define CXN_A_STEPS_16(k) CXN_A_STEPS_8(k) CXN_A_STEPS_8(k+8)

/* Whole iterations of the loop, and pairs after it: at least one where the schedule loads ahead. A single iteration is no loop, nor are two
   of sixteen pairs: their turns cost 3 %, and a dual-issue core predicts one of the two wrongly. */
#define CXN_A_LOOPS_ ((CXN_A_PAIRS - CXN_A_AHEAD) / CXN_A_UNROLL)
#define CXN_A_LOOPS (CXN_A_LOOPS_ > (CXN_A_UNROLL == 16 ? 2 : 1) ? CXN_A_LOOPS_ : 0)
#define CXN_A_REST (CXN_A_PAIRS - CXN_A_LOOPS * CXN_A_UNROLL)
#define CXN_A_TAIL (CXN_A_REST - CXN_A_AHEAD)

#if (CXN_B_COLS - 1) * CXN_A_COL_BYTES + 2 * CXN_A_UNROLL * CXN_A_PAIR_BYTES > 4095
#error "INNER: the columns of a block lie further apart than a load reaches; legal here: CXN_INNER_C, and CXN_COLUMN_LAYOUT_INTERLEAVED with CXN_LOWERING_IM2COL"
#endif
#if CXN_RUN > 8190
#error "INNER: the assembly blocks take runs of up to 8190 elements; legal here: CXN_INNER_C"
#endif

/* Without a loop the first pair starts the accumulators: SMUAD. */
#if defined(CXN_B_POINTS) && CXN_A_LOOPS == 0 && CXN_A_TAIL > 0
#define CXN_A_PEEL 1
#else
#define CXN_A_PEEL 0
#endif

#if defined(CXN_B_POINTS)
/*
 * CXN_B_POINTS runs, one per Winograd point: weights follow each other, columns start CXN_B_POINT_STEP elements further each time, and the
 * accumulators of a point go to `m`, eight words per point. Frame: r7, end of the loop, m, end of the weights.
 */
#define CXN_A_DREST (2 * CXN_B_POINT_STEP - CXN_A_PAIR_BYTES * CXN_A_UNROLL * CXN_A_LOOPS)
CXN_INLINE void CXN_B_NAME(int32_t *CXN_RESTRICT m, const CXN_W_T *CXN_RESTRICT w, const CXN_D_T *CXN_RESTRICT d)
{
    register const CXN_W_T *w_ __asm__("r0") = w;
    register const CXN_D_T *d_ __asm__("r1") = d;
    register int32_t *m_ __asm__("r2") = m;
    __asm__ volatile(
        "str r7, [sp, #-16]!\n\t"
        "str r2, [sp, #8]\n\t"
        "movw r7, #%c[all_lo]\n\t"
        "movt r7, #%c[all_hi]\n\t"
        "add r7, r7, r0\n\t"
        "str r7, [sp, #12]\n\t"
        "2:\n\t"
#if CXN_A_LOOPS
        "movw r7, #%c[total]\n\t"
        "add r7, r7, r0\n\t"
        "str r7, [sp, #4]\n\t"
#endif
#if !CXN_A_PEEL
        "movs r2, #0\n\t"
        "movs r3, #0\n\t"
        "movs r4, #0\n\t"
        "movs r5, #0\n\t"
        "movs r6, #0\n\t"
        "mov r8, r2\n\t"
        "mov r9, r2\n\t"
        "mov r10, r2\n\t"
#endif
#include "dot_run.h"
        "ldr r7, [sp, #8]\n\t"
        "ldr r11, [sp, #12]\n\t"
        "add r0, r0, %[wrest]\n\t"
        "movw r12, #%c[drest_lo]\n\t"
#if CXN_A_DREST > 65535
        "movt r12, #%c[drest_hi]\n\t"
#endif
        "add r1, r1, r12\n\t"
        "stmia r7!, {r2-r6, r8-r10}\n\t"
        "cmp r0, r11\n\t"
        "str r7, [sp, #8]\n\t"
        "bne 2b\n\t"
        "ldr r7, [sp], #16\n\t"
        : "+r"(w_), "+r"(d_), "+r"(m_)
        : [cs] "i"(CXN_A_COL_BYTES), [ks] "i"(CXN_A_PAIR_BYTES), [wb] "i"(CXN_A_W_BYTES * CXN_A_UNROLL),
          [db] "i"(CXN_A_PAIR_BYTES * CXN_A_UNROLL), [total] "i"(CXN_A_W_BYTES * CXN_A_UNROLL * CXN_A_LOOPS),
          [wrest] "i"(CXN_A_W_BYTES * CXN_A_REST), [drest_lo] "i"(CXN_A_DREST & 0xffff), [drest_hi] "i"(CXN_A_DREST >> 16),
          [all_lo] "i"((CXN_A_W_BYTES * CXN_A_PAIRS * CXN_B_POINTS) & 0xffff), [all_hi] "i"((CXN_A_W_BYTES * CXN_A_PAIRS * CXN_B_POINTS) >> 16)
        : "r3", "r4", "r5", "r6", "r8", "r9", "r10", "r11", "r12", "lr", "cc", "memory");
}
#else
CXN_INLINE void CXN_B_NAME(int32_t *CXN_RESTRICT acc, const CXN_W_T *CXN_RESTRICT w, const CXN_D_T *CXN_RESTRICT d)
{
    register const CXN_W_T *w_ __asm__("r0") = w;
    register const CXN_D_T *d_ __asm__("r1") = d;
    register int32_t acc0x0 __asm__("r2") = acc[0];
    register int32_t acc0x1 __asm__("r3") = acc[1];
    register int32_t acc0x2 __asm__("r4") = acc[2];
    register int32_t acc0x3 __asm__("r5") = acc[3];
    register int32_t acc1x0 __asm__("r6") = acc[4];
    register int32_t acc1x1 __asm__("r8") = acc[5];
    register int32_t acc1x2 __asm__("r9") = acc[6];
    register int32_t acc1x3 __asm__("r10") = acc[7];
    __asm__ volatile(
        "str r7, [sp, #-8]!\n\t"
#if CXN_A_LOOPS
        "movw r7, %[total]\n\t"
        "add r7, r7, r0\n\t"
        "str r7, [sp, #4]\n\t"
#endif
#include "dot_run.h"
        "ldr r7, [sp], #8\n\t"
        : "+r"(w_), "+r"(d_), "+r"(acc0x0), "+r"(acc0x1), "+r"(acc0x2), "+r"(acc0x3), "+r"(acc1x0), "+r"(acc1x1), "+r"(acc1x2),
          "+r"(acc1x3)
        : [cs] "i"(CXN_A_COL_BYTES), [ks] "i"(CXN_A_PAIR_BYTES), [wb] "i"(CXN_A_W_BYTES * CXN_A_UNROLL),
          [db] "i"(CXN_A_PAIR_BYTES * CXN_A_UNROLL), [total] "i"(CXN_A_W_BYTES * CXN_A_UNROLL * CXN_A_LOOPS), [odd] "i"(CXN_A_REST)
        : "r11", "r12", "lr", "cc", "memory");
    acc[0] = acc0x0;
    acc[1] = acc0x1;
    acc[2] = acc0x2;
    acc[3] = acc0x3;
    acc[4] = acc1x0;
    acc[5] = acc1x1;
    acc[6] = acc1x2;
    acc[7] = acc1x3;
}
#endif

#undef CXN_A_AHEAD
#undef CXN_A_BODY
#undef CXN_A_COL_BYTES
#undef CXN_A_DREST
#undef CXN_A_END
#undef CXN_A_ENTER
#undef CXN_A_HALF_STEP
#undef CXN_A_LAST
#undef CXN_A_LOAD_D
#undef CXN_A_LOAD_H
#undef CXN_A_LOAD_W
#undef CXN_A_LOOPS
#undef CXN_A_LOOPS_
#undef CXN_A_LOOP_END
#undef CXN_A_MAC
#undef CXN_A_MUL
#undef CXN_A_NEXT_W0
#undef CXN_A_NEXT_W1
#undef CXN_A_ODD
#undef CXN_A_LOAD_ODD
#undef CXN_A_LOAD_ODD_W
#undef CXN_A_PAIRS
#undef CXN_A_PAIR_BYTES
#undef CXN_A_PEEL
#undef CXN_A_REST
#undef CXN_A_STEP
#undef CXN_A_STEPS_0
#undef CXN_A_STEPS_1
#undef CXN_A_STEPS_10
#undef CXN_A_STEPS_11
#undef CXN_A_STEPS_12
#undef CXN_A_STEPS_13
#undef CXN_A_STEPS_14
#undef CXN_A_STEPS_15
#undef CXN_A_STEPS_16
#undef CXN_A_STEPS_2
#undef CXN_A_STEPS_3
#undef CXN_A_STEPS_4
#undef CXN_A_STEPS_5
#undef CXN_A_STEPS_6
#undef CXN_A_STEPS_7
#undef CXN_A_STEPS_8
#undef CXN_A_STEPS_9
#undef CXN_A_STEP_OF
#undef CXN_A_TAIL
#undef CXN_A_UNROLL
#undef CXN_A_WIDEN_W
#undef CXN_A_W_BYTES
#undef CXN_B_NAME
#undef CXN_B_ROWS
#undef CXN_B_COLS
