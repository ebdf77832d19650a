/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dot_packed.h in the instructions of M3: two elements at a time, so that their eight loads are neighbours.
 *     r0 weights   r1 columns   r2 r3 r4 r5   sums   r6 r8 r9 r10   columns   r7 r11 r12 lr   weights
 * Per pair of k: 25 cycles for 12 MAC. r7 may be the compiler's frame pointer: kept on the stack, beside the end of the loop.
 */
#define CXN_A_PAIRS (CXN_RUN / 2)
#define CXN_A_U CXN_GET(UNROLL)
#define CXN_A_LOOPS (CXN_A_PAIRS / CXN_A_U > 1 ? CXN_A_PAIRS / CXN_A_U : 0)
#define CXN_A_REST (CXN_A_PAIRS - CXN_A_LOOPS * CXN_A_U)
#define CXN_A_STEP(k)                                                       \
    "ldr r6, [r1, #(" #k ")*16]\n\t"                                        \
    "ldr r8, [r1, #(" #k ")*16+4]\n\t"                                      \
    "ldr r9, [r1, #(" #k ")*16+8]\n\t"                                      \
    "ldr r10, [r1, #(" #k ")*16+12]\n\t"                                    \
    "ldrsb r7, [r0, #(" #k ")*4]\n\t"                                       \
    "ldrsb r11, [r0, #(" #k ")*4+1]\n\t"                                    \
    "ldrsb r12, [r0, #(" #k ")*4+2]\n\t"                                    \
    "ldrsb lr, [r0, #(" #k ")*4+3]\n\t"                                     \
    "mla r2, r7, r6, r2\n\tmla r3, r7, r8, r3\n\t"                          \
    "mla r4, r11, r6, r4\n\tmla r5, r11, r8, r5\n\t"                        \
    "mla r2, r12, r9, r2\n\tmla r3, r12, r10, r3\n\t"                       \
    "mla r4, lr, r9, r4\n\tmla r5, lr, r10, r5\n\t"
#include "dot_packed_steps.h"

CXN_INLINE void CXN_B_NAME(int32_t *CXN_RESTRICT acc, const int8_t *CXN_RESTRICT w, const uint32_t *CXN_RESTRICT x)
{
    register const int8_t *w_ __asm__("r0") = w;
    register const uint32_t *x_ __asm__("r1") = x;
    register int32_t acc0 __asm__("r2") = acc[0];
    register int32_t acc1 __asm__("r3") = acc[1];
    register int32_t acc2 __asm__("r4") = acc[2];
    register int32_t acc3 __asm__("r5") = acc[3];
    __asm__ volatile(
        "str r7, [sp, #-8]!\n\t"
#if CXN_A_LOOPS
        "add r7, r0, %[total]\n\t"
        "str r7, [sp, #4]\n\t"
        "1:\n\t"
        CXN_A_TURN
        "ldr r7, [sp, #4]\n\t"
        "add r0, r0, %[wb]\n\t"
        "add r1, r1, %[xb]\n\t"
        "cmp r0, r7\n\t"
        "bne 1b\n\t"
#endif
        CXN_A_TAIL
        "ldr r7, [sp], #8\n\t"
        : "+r"(w_), "+r"(x_), "+r"(acc0), "+r"(acc1), "+r"(acc2), "+r"(acc3)
        : [total] "i"(4 * CXN_A_U * CXN_A_LOOPS), [wb] "i"(4 * CXN_A_U), [xb] "i"(16 * CXN_A_U)
        : "r6", "r8", "r9", "r10", "r11", "r12", "lr", "cc", "memory");
    acc[0] = acc0;
    acc[1] = acc1;
    acc[2] = acc2;
    acc[3] = acc3;
}

#undef CXN_A_PAIRS
#undef CXN_A_U
#undef CXN_A_LOOPS
#undef CXN_A_REST
#undef CXN_A_STEP
#include "dot_packed_undef.h"
