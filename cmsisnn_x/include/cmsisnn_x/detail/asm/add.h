/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The linear sum of add.h for cores that saturate, eight outputs a turn:
 *     out[i] = ssat8((LEFT_FACTOR a[i] + RIGHT_FACTOR b[i mod PERIOD] + START) >> LINEAR_SHIFT)        factors within 2^23
 * With DSP four elements of a tensor come as a word: bytes in the upper half of 16 bits are 2^8 times themselves, and with 2^8 times the factor
 * SMLAW's 2^-16 leaves the product as it is. Cycles an element of Cortex-M4 and M7: 6.1 and 4.4; byte by byte 6.8 and 5.1; C 10.0 and 5.3.
 * In the order that pairs on M7 6.5 and 4.1. Cortex-M3: 9.0, C 11.3.
 */
#include "../period.h"

#define CXN_ADD_TURN 8

#if CXN_DSP
#define CXN_ADD_FACTOR(factor) ((int32_t)((uint32_t)(factor) << 8))
#define CXN_ADD_SAT(x) "ssat %[" x "], #8, %[" x "], asr #" CXN_STRING(CXN_GET(LINEAR_SHIFT)) "\n\t"
#define CXN_ADD_FOUR \
    "ldr %[x], [%[input]], #4\n\t" \
    "ldr %[y], [%[behind]], #4\n\t" \
    "and %[t], %[mask], %[x], lsl #8\n\t" \
    "and %[x], %[mask], %[x]\n\t" \
    "smlawb %[p], %[left], %[t], %[start]\n\t" \
    "smlawb %[q], %[left], %[x], %[start]\n\t" \
    "smlawt %[t], %[left], %[t], %[start]\n\t" \
    "smlawt %[x], %[left], %[x], %[start]\n\t" \
    "and %[u], %[mask], %[y], lsl #8\n\t" \
    "and %[y], %[mask], %[y]\n\t" \
    "smlawb %[p], %[right], %[u], %[p]\n\t" \
    "smlawb %[q], %[right], %[y], %[q]\n\t" \
    "smlawt %[t], %[right], %[u], %[t]\n\t" \
    "smlawt %[x], %[right], %[y], %[x]\n\t" \
    CXN_ADD_SAT("p") CXN_ADD_SAT("q") CXN_ADD_SAT("t") CXN_ADD_SAT("x") \
    "strb %[q], [%[output], #1]\n\t" \
    "strb %[t], [%[output], #2]\n\t" \
    "strb %[x], [%[output], #3]\n\t" \
    "strb %[p], [%[output]], #4\n\t"
#define CXN_ADD_TEXT CXN_ADD_FOUR CXN_ADD_FOUR
#define CXN_ADD_TEMPORARIES [x] "=&r"(x), [y] "=&r"(y), [t] "=&r"(t), [p] "=&r"(p), [q] "=&r"(q), [u] "=&r"(u)
#define CXN_ADD_CONSTANTS , [mask] "r"(0xff00ff00U)
#else
#define CXN_ADD_FACTOR(factor) (factor)
#define CXN_ADD_TWO \
    "ldrsb %[x], [%[input], #1]\n\t" \
    "ldrsb %[t], [%[input]], #2\n\t" \
    "ldrsb %[y], [%[behind], #1]\n\t" \
    "ldrsb %[u], [%[behind]], #2\n\t" \
    "mla %[x], %[x], %[left], %[start]\n\t" \
    "mla %[t], %[t], %[left], %[start]\n\t" \
    "mla %[x], %[y], %[right], %[x]\n\t" \
    "mla %[t], %[u], %[right], %[t]\n\t" \
    "ssat %[x], #8, %[x], asr #" CXN_STRING(CXN_GET(LINEAR_SHIFT)) "\n\t" \
    "ssat %[t], #8, %[t], asr #" CXN_STRING(CXN_GET(LINEAR_SHIFT)) "\n\t" \
    "strb %[x], [%[output], #1]\n\t" \
    "strb %[t], [%[output]], #2\n\t"
#define CXN_ADD_TEXT CXN_ADD_TWO CXN_ADD_TWO CXN_ADD_TWO CXN_ADD_TWO
#define CXN_ADD_TEMPORARIES [x] "=&r"(x), [y] "=&r"(y), [t] "=&r"(t), [u] "=&r"(u)
#define CXN_ADD_CONSTANTS
#endif

CXN_KERNEL_FN void CXN_KERNEL(const CXN_IN_T *input, const CXN_IN_T *other, CXN_OUT_T *output, void *scratch CXN_ROWS_PARAMETER)
{
    const int32_t left = CXN_ADD_FACTOR(CXN_GET(LEFT_FACTOR)), right = CXN_ADD_FACTOR(CXN_GET(RIGHT_FACTOR));
    (void)scratch;
    for (int32_t first = 0; first < CXN_PAIR_COUNT; first += CXN_PAIR_PERIOD) {
        const CXN_IN_T *behind = other, *const end = input + CXN_PAIR_PERIOD / CXN_ADD_TURN * CXN_ADD_TURN;
        while (input != end) {
            uint32_t x, y, t, u;
#if CXN_DSP
            uint32_t p, q;
#endif
            __asm__ volatile(CXN_ADD_TEXT
                             : [input] "+r"(input), [behind] "+r"(behind), [output] "+r"(output), CXN_ADD_TEMPORARIES
                             : [left] "r"(left), [right] "r"(right), [start] "r"(CXN_GET(START)) CXN_ADD_CONSTANTS
                             : "memory");
        }
        for (int32_t i = CXN_PAIR_PERIOD % CXN_ADD_TURN; i > 0; i--) {
            *output++ = (CXN_OUT_T)CXN_LOCAL(pair)(*input++, *behind++);
        }
    }
}

#undef CXN_ADD_TURN
#undef CXN_ADD_FACTOR
#undef CXN_ADD_SAT
#undef CXN_ADD_FOUR
#undef CXN_ADD_TWO
#undef CXN_ADD_TEXT
#undef CXN_ADD_TEMPORARIES
#undef CXN_ADD_CONSTANTS
#undef CXN_PAIR_COUNT
#undef CXN_PAIR_PERIOD
