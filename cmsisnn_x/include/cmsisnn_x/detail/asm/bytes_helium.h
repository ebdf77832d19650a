/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Vectors of one instance as they lie in memory, at any address (Helium): element by element, 128 bits a turn, none beyond the last byte.
 * CXN_BYTES_TEXT, defined before the include, makes q0 of q0, of the input, and, where CXN_BYTES_PAIR is 1, q1, of the other input. q2 and q3
 * hold `low` and `high` in every element. Output may be an input. Gives CXN_LOCAL(bytes)(input, other, output, low, high, count).
 */
#if CXN_GET(IN_BITS) == 8
#define CXN_BYTES_TYPE "8"
#else
#define CXN_BYTES_TYPE "16"
#endif
#if CXN_BYTES_PAIR
#define CXN_BYTES_OTHER "vldrb.8 q1, [%[b]], #16\n\t"
#else
#define CXN_BYTES_OTHER
#endif

CXN_INLINE void CXN_LOCAL(bytes)(const void *input, const void *other, void *output, int32_t low, int32_t high, int32_t count)
{
    __asm__ volatile("vdup." CXN_BYTES_TYPE " q2, %[low]\n\tvdup." CXN_BYTES_TYPE " q3, %[high]\n\t"
                     "wlstp.8 lr, %[count], 2f\n\t.p2align 2\n1:\n\t"
                     "vldrb.8 q0, [%[a]], #16\n\t" CXN_BYTES_OTHER CXN_BYTES_TEXT "vstrb.8 q0, [%[out]], #16\n\t"
                     "letp lr, 1b\n2:\n\t"
                     : [a] "+r"(input), [b] "+r"(other), [out] "+r"(output)
                     : [low] "r"(low), [high] "r"(high), [count] "r"(count)
                     : "q0", "q1", "q2", "q3", "lr", "cc", "memory");
}

#undef CXN_BYTES_TYPE
#undef CXN_BYTES_OTHER
#undef CXN_BYTES_TEXT
#undef CXN_BYTES_PAIR
