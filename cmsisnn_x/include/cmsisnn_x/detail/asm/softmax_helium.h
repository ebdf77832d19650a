/* SPDX-License-Identifier: Apache-2.0 */
/*
 * softmax.h of powers of two in vectors (Helium), eight elements in 16 bits. With d = x - m, and e = d + W:
 *     2^e = 2 (2^(W-1) >> -d),   Q >> (K - e) = (Q >> (K - W)) >> -d
 * where Q >> (K - W) is 2^(W-1) at most, so that both fit. Shifts go by the low byte of d: sums leave out what is further below than W - 1,
 * outputs take no d below -16, at which nothing is left.
 */
#include <arm_mve.h>

#if CXN_GET(IN_BITS) == 8
#define CXN_SOFTMAX_GET "vldrb.s16 q0, [%[in]], #8\n\t"
#define CXN_SOFTMAX_PUT "vstrb.16 q0, [%[out]], #8\n\t"
#define CXN_SOFTMAX_TYPE "8"
#define CXN_SOFTMAX_LEAST (-128)
#else
#define CXN_SOFTMAX_GET "vldrb.8 q0, [%[in]], #16\n\t"
#define CXN_SOFTMAX_PUT "vstrb.8 q0, [%[out]], #16\n\t"
#define CXN_SOFTMAX_TYPE "16"
#define CXN_SOFTMAX_LEAST (-32768)
#endif

CXN_KERNEL_FN void CXN_KERNEL(const CXN_IN_T *CXN_RESTRICT input, CXN_OUT_T *CXN_RESTRICT output, void *scratch)
{
    const CXN_IN_T *in = input;
    int32_t most = CXN_SOFTMAX_LEAST;
    uint32_t half = 0, quotient;
    (void)scratch;
    __asm__ volatile("vdup." CXN_SOFTMAX_TYPE " q1, %[most]\n\twlstp." CXN_SOFTMAX_TYPE " lr, %[count], 2f\n\t.p2align 2\n1:\n\t"
                     "vldrb.8 q0, [%[in]], #16\n\tvmax.s" CXN_SOFTMAX_TYPE " q1, q1, q0\n\t"
                     "letp lr, 1b\n2:\n\tvmaxv.s" CXN_SOFTMAX_TYPE " %[most], q1\n\t"
                     : [in] "+r"(in), [most] "+r"(most)
                     : [count] "r"(CXN_SOFTMAX_COUNT)
                     : "q0", "q1", "lr", "cc", "memory");
    in = input;
    __asm__ volatile("vdup.16 q2, %[most]\n\tvdup.16 q3, %[top]\n\twlstp.16 lr, %[count], 2f\n\t.p2align 2\n1:\n\t"
                     CXN_SOFTMAX_GET "vqsub.s16 q0, q0, q2\n\tvshl.u16 q1, q3, q0\n\tvpt.s16 ge, q0, %[live]\n\tvaddvat.u16 %[half], q1\n\t"
                     "letp lr, 1b\n2:\n\t"
                     : [in] "+l"(in), [half] "+&Te"(half)
                     : [most] "r"(most), [top] "r"(1 << (CXN_SOFTMAX_WIDTH - 1)), [live] "r"(1 - CXN_SOFTMAX_WIDTH), [count] "r"(CXN_SOFTMAX_COUNT)
                     : CXN_CLOBBERS_VPR "q0", "q1", "q2", "q3", "lr", "cc", "memory");
#if CXN_GET(IN_BITS) == 8
    quotient = (1U << 20) / (2 * half);
#else
    /* 2^32 / sum: 2^31 / (sum / 2) */
    quotient = (1U << 31) / half;
#endif
    in = input;
    __asm__ volatile("vdup.16 q1, %[quotient]\n\tvdup.16 q2, %[most]\n\tvdup.16 q3, %[largest]\n\tvmvn.i16 q4, #15\n\t"
                     "wlstp.16 lr, %[count], 2f\n\t.p2align 2\n1:\n\t"
                     CXN_SOFTMAX_GET "vqsub.s16 q0, q0, q2\n\tvmax.s16 q0, q0, q4\n\tvshl.u16 q0, q1, q0\n\tvmin.u16 q0, q0, q3\n\t" CXN_SOFTMAX_PUT
                     "letp lr, 1b\n2:\n\t"
                     : [in] "+l"(in), [out] "+l"(output)
                     : [quotient] "r"(quotient >> (CXN_SOFTMAX_K - CXN_SOFTMAX_WIDTH)), [most] "r"(most), [largest] "r"(CXN_SOFTMAX_MAX),
                       [count] "r"(CXN_SOFTMAX_COUNT)
                     : "q0", "q1", "q2", "q3", "q4", "lr", "cc", "memory");
}

#undef CXN_SOFTMAX_GET
#undef CXN_SOFTMAX_PUT
#undef CXN_SOFTMAX_TYPE
#undef CXN_SOFTMAX_LEAST
