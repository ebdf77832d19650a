/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The linear sum of add.h in vectors (Helium), four elements in a vector of 32 bits, eight a turn:
 *     out[i] = clamp((LEFT_FACTOR a[i] + RIGHT_FACTOR b[i mod PERIOD] + START) >> LINEAR_SHIFT)
 * A left shift that saturates brings the bits of the output to the top and clamps to 8 bits at once. Loads, products, shifts and stores
 * alternate, as each holds its pipe two cycles: 1.9 cycles an element of Cortex-M55 and M85.
 */
#include "../period.h"

#if CXN_GET(LINEAR_SHIFT) < 24
#define CXN_ADD_TOP(x) "vqshl.s32 " x ", " x ", #24 - " CXN_STRING(CXN_GET(LINEAR_SHIFT)) "\n\t"
#define CXN_ADD_DOWN(x) "vshr.s32 " x ", " x ", #24\n\t"
#else
#define CXN_ADD_TOP(x)
#define CXN_ADD_DOWN(x) "vshr.s32 " x ", " x ", #" CXN_STRING(CXN_GET(LINEAR_SHIFT)) "\n\t"
#endif
#if CXN_FULL_RANGE
#define CXN_ADD_CLAMP(x)
#define CXN_ADD_LIMITS
#else
#define CXN_ADD_CLAMP(x) "vmax.s32 " x ", " x ", q5\n\tvmin.s32 " x ", " x ", q6\n\t"
#define CXN_ADD_LIMITS "vdup.32 q5, %[low]\n\tvdup.32 q6, %[high]\n\t"
#endif

CXN_KERNEL_FN void CXN_KERNEL(const CXN_IN_T *input, const CXN_IN_T *other, CXN_OUT_T *output, void *scratch CXN_ROWS_PARAMETER)
{
    (void)scratch;
    for (int32_t first = 0; first < CXN_PAIR_COUNT; first += CXN_PAIR_PERIOD) {
        const CXN_IN_T *behind = other;
        __asm__ volatile("vdup.32 q7, %[left]\n\t" CXN_ADD_LIMITS
            "wls lr, %[turns], 2f\n\t.p2align 2\n1:\n\t"
            "vldrb.s32 q0, [%[a]], #4\n\t"
            "vmlas.s32 q0, q7, %[start]\n\t"
            "vldrb.s32 q1, [%[b]], #4\n\t"
            "vmla.s32 q0, q1, %[right]\n\t"
            "vldrb.s32 q2, [%[a]], #4\n\t"
            CXN_ADD_TOP("q0")
            "vldrb.s32 q3, [%[b]], #4\n\t"
            "vmlas.s32 q2, q7, %[start]\n\t"
            CXN_ADD_DOWN("q0") CXN_ADD_CLAMP("q0")
            "vmla.s32 q2, q3, %[right]\n\t"
            "vstrb.32 q0, [%[out]], #4\n\t"
            CXN_ADD_TOP("q2") CXN_ADD_DOWN("q2") CXN_ADD_CLAMP("q2")
            "vstrb.32 q2, [%[out]], #4\n\t"
            "le lr, 1b\n2:\n\t"
            "wlstp.32 lr, %[rest], 4f\n\t.p2align 2\n3:\n\t"
            "vldrb.s32 q0, [%[a]], #4\n\t"
            "vmlas.s32 q0, q7, %[start]\n\t"
            "vldrb.s32 q1, [%[b]], #4\n\t"
            "vmla.s32 q0, q1, %[right]\n\t"
            CXN_ADD_TOP("q0") CXN_ADD_DOWN("q0") CXN_ADD_CLAMP("q0")
            "vstrb.32 q0, [%[out]], #4\n\t"
            "letp lr, 3b\n4:\n\t"
            : [a] "+l"(input), [b] "+l"(behind), [out] "+l"(output)
            : [left] "r"(CXN_GET(LEFT_FACTOR)), [right] "r"(CXN_GET(RIGHT_FACTOR)), [start] "r"(CXN_GET(START)),
#if !CXN_FULL_RANGE
              [low] "r"(CXN_OUT_MIN), [high] "r"(CXN_OUT_MAX),
#endif
              [turns] "r"(CXN_PAIR_PERIOD / 8), [rest] "r"(CXN_PAIR_PERIOD % 8)
            : "q0", "q1", "q2", "q3", "q5", "q6", "q7", "lr", "cc", "memory");
        /* The last turn went as far as whole vectors do. */
        input -= (4 - CXN_PAIR_PERIOD % 4) % 4;
        output -= (4 - CXN_PAIR_PERIOD % 4) % 4;
    }
}

#undef CXN_ADD_TOP
#undef CXN_ADD_DOWN
#undef CXN_ADD_CLAMP
#undef CXN_ADD_LIMITS
#undef CXN_PAIR_COUNT
#undef CXN_PAIR_PERIOD
