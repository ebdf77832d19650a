/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The linear sum of add.h in vectors (Helium), four elements in a vector of 32 bits, sixteen a turn:
 *     out[i] = clamp((LEFT_FACTOR a[i] + RIGHT_FACTOR b[i mod PERIOD] + START) >> LINEAR_SHIFT)
 * A left shift that saturates brings the bits of the output to the top and clamps to 8 bits at once. Loads, products, shifts and stores
 * alternate, as each holds its pipe two cycles: 1.8 cycles an element of Cortex-M55 and M85, 28 instructions and 29 cycles a turn.
 */
#include "../period.h"

#define CXN_ADD_GET(x, from) "vldrb.s32 " x ", [%[" from "]], #4\n\t"
#define CXN_ADD_LEFT(x) "vmlas.s32 " x ", q7, %[start]\n\t"
#define CXN_ADD_RIGHT(x, y) "vmla.s32 " x ", " y ", %[right]\n\t"
#define CXN_ADD_PUT(x) "vstrb.32 " x ", [%[out]], #4\n\t"
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
            CXN_ADD_GET("q0", "a") CXN_ADD_LEFT("q0") CXN_ADD_GET("q1", "b") CXN_ADD_RIGHT("q0", "q1")
            CXN_ADD_GET("q2", "a") CXN_ADD_TOP("q0") CXN_ADD_LEFT("q2") CXN_ADD_GET("q3", "b")
            CXN_ADD_DOWN("q0") CXN_ADD_CLAMP("q0") CXN_ADD_GET("q4", "a") CXN_ADD_RIGHT("q2", "q3")
            CXN_ADD_GET("q1", "b") CXN_ADD_LEFT("q4") CXN_ADD_TOP("q2") CXN_ADD_RIGHT("q4", "q1") CXN_ADD_PUT("q0")
            CXN_ADD_DOWN("q2") CXN_ADD_CLAMP("q2") CXN_ADD_GET("q3", "b") CXN_ADD_TOP("q4") CXN_ADD_GET("q0", "a")
            CXN_ADD_LEFT("q0") CXN_ADD_DOWN("q4") CXN_ADD_CLAMP("q4") CXN_ADD_RIGHT("q0", "q3") CXN_ADD_PUT("q2")
            CXN_ADD_TOP("q0") CXN_ADD_PUT("q4") CXN_ADD_DOWN("q0") CXN_ADD_CLAMP("q0") CXN_ADD_PUT("q0")
            "le lr, 1b\n2:\n\t"
            "wlstp.32 lr, %[rest], 4f\n\t.p2align 2\n3:\n\t"
            CXN_ADD_GET("q0", "a") CXN_ADD_LEFT("q0") CXN_ADD_GET("q1", "b") CXN_ADD_RIGHT("q0", "q1")
            CXN_ADD_TOP("q0") CXN_ADD_DOWN("q0") CXN_ADD_CLAMP("q0") CXN_ADD_PUT("q0")
            "letp lr, 3b\n4:\n\t"
            : [a] "+l"(input), [b] "+l"(behind), [out] "+l"(output)
            : [left] "r"(CXN_GET(LEFT_FACTOR)), [right] "r"(CXN_GET(RIGHT_FACTOR)), [start] "r"(CXN_GET(START)),
#if !CXN_FULL_RANGE
              [low] "r"(CXN_OUT_MIN), [high] "r"(CXN_OUT_MAX),
#endif
              [turns] "r"(CXN_PAIR_PERIOD / 16), [rest] "r"(CXN_PAIR_PERIOD % 16)
            : "q0", "q1", "q2", "q3", "q4", "q5", "q6", "q7", "lr", "cc", "memory");
        /* The last turn went as far as whole vectors do. */
        input -= (4 - CXN_PAIR_PERIOD % 4) % 4;
        output -= (4 - CXN_PAIR_PERIOD % 4) % 4;
    }
}

#undef CXN_ADD_GET
#undef CXN_ADD_LEFT
#undef CXN_ADD_RIGHT
#undef CXN_ADD_PUT
#undef CXN_ADD_TOP
#undef CXN_ADD_DOWN
#undef CXN_ADD_CLAMP
#undef CXN_ADD_LIMITS
#undef CXN_PAIR_COUNT
#undef CXN_PAIR_PERIOD
