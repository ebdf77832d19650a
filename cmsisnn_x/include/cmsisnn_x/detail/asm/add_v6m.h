/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The linear sum of add.h for Armv6-M, four outputs a turn. Seven low registers: two addresses, the common index, the factors, two elements;
 * r7 may be the compiler's frame pointer. 17.3 cycles an element; of C 21 to 32, as GCC multiplies by constants with shifts and sums.
 */
#include "../period.h"

/* GCC finds no way for a constant into a high register where it optimises for size and all low ones are taken. */
#ifdef __OPTIMIZE_SIZE__
#define CXN_ADD_START "r"
#else
#define CXN_ADD_START "h"
#endif
#define CXN_ADD_ONE \
    "ldrsb %[x], [%[input], %[i]]\n\t" \
    "ldrsb %[y], [%[other], %[i]]\n\t" \
    "muls %[x], %[left], %[x]\n\t" \
    "muls %[y], %[right], %[y]\n\t" \
    "add %[x], %[start]\n\t" \
    "adds %[x], %[x], %[y]\n\t" \
    "asrs %[x], %[x], #" CXN_STRING(CXN_GET(LINEAR_SHIFT)) "\n\t" \
    "sxtb %[y], %[x]\n\t" \
    "cmp %[y], %[x]\n\t" \
    "beq 1f\n\t" \
    "asrs %[x], %[x], #31\n\t" \
    "movs %[y], #127\n\t" \
    "eors %[x], %[y]\n" \
    "1:\n\t" \
    "mov %[y], %[output]\n\t" \
    "strb %[x], [%[y], %[i]]\n\t" \
    "adds %[i], %[i], #1\n\t"

CXN_KERNEL_FN void CXN_KERNEL(const CXN_IN_T *input, const CXN_IN_T *other, CXN_OUT_T *output, void *scratch CXN_ROWS_PARAMETER)
{
    (void)scratch;
    for (int32_t first = 0; first < CXN_PAIR_COUNT; first += CXN_PAIR_PERIOD) {
        int32_t i = 0;
        __asm__("" : "+r"(i)); /* else i, which the assembly moves on, may share a register with an operand that is 0: "+&l" is one too many */
        while (i < CXN_PAIR_PERIOD / 4 * 4) {
            int32_t x, y;
            __asm__ volatile(".syntax unified\n\t" CXN_ADD_ONE CXN_ADD_ONE CXN_ADD_ONE CXN_ADD_ONE
                             : [x] "=&l"(x), [y] "=&l"(y), [i] "+l"(i)
                             : [input] "l"(input), [other] "l"(other), [output] "h"(output), [left] "l"(CXN_GET(LEFT_FACTOR)),
                               [right] "l"(CXN_GET(RIGHT_FACTOR)), [start] CXN_ADD_START(CXN_GET(START))
                             : "memory", "cc");
        }
        for (; i < CXN_PAIR_PERIOD; i++) {
            output[i] = (CXN_OUT_T)CXN_LOCAL(pair)(input[i], other[i]);
        }
        input += CXN_PAIR_PERIOD;
        output += CXN_PAIR_PERIOD;
    }
}

#undef CXN_ADD_ONE
#undef CXN_ADD_START
#undef CXN_PAIR_COUNT
#undef CXN_PAIR_PERIOD
