/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dot_packed.h in the instructions of M0 and M0+. Multiplies destroy an operand: the last product of each takes its place.
 *     r0 weights   r1 columns   r2 r3 a column   r4 weights of two rows, two k   r5 r6 a weight, its products   r8 r9 r10 r11   sums
 * Per pair of k: 32 cycles for 12 MAC. Frame: r7, end of the loop, the sums' address.
 */
#include "accumulators_v6m.h"

#define CXN_A_PAIRS (CXN_RUN / 2)
#define CXN_A_U CXN_GET(UNROLL)
#define CXN_A_LOOPS (CXN_A_PAIRS / CXN_A_U > 1 ? CXN_A_PAIRS / CXN_A_U : 0)
#define CXN_A_REST (CXN_A_PAIRS - CXN_A_LOOPS * CXN_A_U)
#define CXN_A_ROW_0                                                         \
    "muls r5, r2, r5\n\tadd r8, r5\n\tmuls r6, r3, r6\n\tadd r9, r6\n\t"
#define CXN_A_ROW_1(w)                                                      \
    "muls r2, " w ", r2\n\tadd r10, r2\n\tmuls r3, " w ", r3\n\tadd r11, r3\n\t"
#define CXN_A_STEP(k)                                                       \
    "ldr r4, [r0, #(" #k ")*4]\n\t"                                         \
    "ldmia r1!, {r2, r3}\n\t"                                               \
    "sxtb r5, r4\n\tmov r6, r5\n\t" CXN_A_ROW_0                             \
    "lsls r5, r4, #16\n\tasrs r5, r5, #24\n\t" CXN_A_ROW_1("r5")            \
    "ldmia r1!, {r2, r3}\n\t"                                               \
    "lsls r6, r4, #8\n\tasrs r6, r6, #24\n\tmov r5, r6\n\t" CXN_A_ROW_0     \
    "asrs r4, r4, #24\n\t" CXN_A_ROW_1("r4")
#include "dot_packed_steps.h"

CXN_INLINE void CXN_B_NAME(int32_t *CXN_RESTRICT acc, const int8_t *CXN_RESTRICT w, const uint32_t *CXN_RESTRICT x)
{
    register const int8_t *w_ __asm__("r0") = w;
    register const uint32_t *x_ __asm__("r1") = x;
    register const int8_t *end_ __asm__("r2") = w + 4 * CXN_A_U * CXN_A_LOOPS;
    CXN_V6M_ACCUMULATORS("r4")
    __asm__ volatile(
        ".syntax unified\n\t"
        "sub sp, #16\n\t"
        "str r7, [sp]\n\t"
        CXN_V6M_TAKE("r4", "r5", "8")
#if CXN_A_LOOPS
        "str r2, [sp, #4]\n\t"
        "1:\n\t"
        CXN_A_TURN
        "adds r0, #%c[wb]\n\t"
        "ldr r2, [sp, #4]\n\t"
        "cmp r0, r2\n\t"
        /* A conditional branch reaches 256 bytes. */
        "beq 3f\n\t"
        "b 1b\n\t"
        "3:\n\t"
#endif
        CXN_A_TAIL
        CXN_V6M_GIVE("r4", "r5", "8")
        "ldr r7, [sp]\n\t"
        "add sp, #16\n\t"
        : "+l"(w_), "+l"(x_), "+l"(end_), CXN_V6M_OPERANDS
        : [wb] "i"(4 * CXN_A_U)
        : CXN_V6M_CLOBBERS("r4") "r3", "r5", "r6", "cc", "memory");
    CXN_V6M_RESULTS
}

#undef CXN_A_PAIRS
#undef CXN_A_U
#undef CXN_A_LOOPS
#undef CXN_A_REST
#undef CXN_A_ROW_0
#undef CXN_A_ROW_1
#undef CXN_A_STEP
#include "dot_packed_undef.h"
