/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Four accumulators acc[0..3] in r8, r9, r10 and r11 for assembly of M0 and M0+. They come and go as operands; where GCC compiles for size, it does
 * not hand these registers out, and the assembly moves them from and to memory, whose address it keeps in its frame.
 */
#ifndef CXN_ACCUMULATORS_V6M_H
#define CXN_ACCUMULATORS_V6M_H

#if defined(__OPTIMIZE_SIZE__)
#define CXN_V6M_ACCUMULATORS(address) register int32_t *acc_ __asm__(address) = acc;
#define CXN_V6M_TAKE(address, low, slot)                          \
    "str " address ", [sp, #" slot "]\n\t"                        \
    "ldr " low ", [" address "]\n\tmov r8, " low "\n\t"           \
    "ldr " low ", [" address ", #4]\n\tmov r9, " low "\n\t"       \
    "ldr " low ", [" address ", #8]\n\tmov r10, " low "\n\t"      \
    "ldr " low ", [" address ", #12]\n\tmov r11, " low "\n\t"
#define CXN_V6M_GIVE(address, low, slot)                          \
    "ldr " address ", [sp, #" slot "]\n\t"                        \
    "mov " low ", r8\n\tstr " low ", [" address "]\n\t"           \
    "mov " low ", r9\n\tstr " low ", [" address ", #4]\n\t"       \
    "mov " low ", r10\n\tstr " low ", [" address ", #8]\n\t"      \
    "mov " low ", r11\n\tstr " low ", [" address ", #12]\n\t"
#define CXN_V6M_OPERANDS "+l"(acc_)
#define CXN_V6M_CLOBBERS(address) "r8", "r9", "r10", "r11",
#define CXN_V6M_RESULTS
#else
#define CXN_V6M_ACCUMULATORS(address)              \
    register int32_t acc0 __asm__("r8") = acc[0];  \
    register int32_t acc1 __asm__("r9") = acc[1];  \
    register int32_t acc2 __asm__("r10") = acc[2]; \
    register int32_t acc3 __asm__("r11") = acc[3];
#define CXN_V6M_TAKE(address, low, slot)
#define CXN_V6M_GIVE(address, low, slot)
#define CXN_V6M_OPERANDS "+h"(acc0), "+h"(acc1), "+h"(acc2), "+h"(acc3)
#define CXN_V6M_CLOBBERS(address) address,
#define CXN_V6M_RESULTS \
    acc[0] = acc0;      \
    acc[1] = acc1;      \
    acc[2] = acc2;      \
    acc[3] = acc3;
#endif

#endif /* CXN_ACCUMULATORS_V6M_H */
