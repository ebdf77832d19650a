/* SPDX-License-Identifier: Apache-2.0 */
/* CXN_LOCAL(largest)(in): the largest of a row of COLS bytes, in vectors (Helium). */
CXN_INLINE int32_t CXN_LOCAL(largest)(const CXN_IN_T *in)
{
    int32_t most = -128;
    __asm__ volatile("vdup.8 q1, %[most]\n\twlstp.8 lr, %[count], 2f\n\t.p2align 2\n1:\n\t"
                     "vldrb.8 q0, [%[in]], #16\n\tvmax.s8 q1, q1, q0\n\t"
                     "letp lr, 1b\n2:\n\tvmaxv.s8 %[most], q1\n\t"
                     : [in] "+r"(in), [most] "+r"(most)
                     : [count] "r"(CXN_GET(COLS))
                     : "q0", "q1", "lr", "cc", "memory");
    return most;
}
