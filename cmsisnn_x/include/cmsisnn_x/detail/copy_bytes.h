/* SPDX-License-Identifier: Apache-2.0 */
/* CXN_COPY(to, from, bytes), bytes at any address that do not overlap: 16 a turn with Helium, where memcpy need not be made of vectors. */
#ifndef CXN_COPY_BYTES_H
#define CXN_COPY_BYTES_H

#include "intrinsics.h"

/* Bits from which on that is better than element by element. */
#define CXN_COPY_LEAST (CXN_HELIUM ? 40 : 128)

#if CXN_HELIUM
CXN_INLINE void cxn_copy_bytes(void *to, const void *from, size_t bytes)
{
    if (__builtin_constant_p(bytes) && bytes <= 16) {
        __asm__ volatile("vctp.8 %[bytes]\n\tvpstt\n\tvldrbt.8 q0, [%[from]]\n\tvstrbt.8 q0, [%[to]]\n\t"
                         :
                         : [to] "r"(to), [from] "r"(from), [bytes] "r"(bytes)
                         : CXN_CLOBBERS_VPR "q0", "memory");
        return;
    }
    __asm__ volatile("wlstp.8 lr, %[bytes], 2f\n\t.p2align 2\n1:\n\tvldrb.8 q0, [%[from]], #16\n\tvstrb.8 q0, [%[to]], #16\n\tletp lr, 1b\n2:\n\t"
                     : [to] "+r"(to), [from] "+r"(from)
                     : [bytes] "r"(bytes)
                     : "q0", "lr", "cc", "memory");
}

#define CXN_COPY(to, from, bytes) cxn_copy_bytes((void *)(to), (const void *)(from), (size_t)(bytes))
/* Before a loop over copies, which take assembly for one instruction, and might write all turns of one loop out and none of the next. */
#define CXN_COPY_UNROLL CXN_UNROLL_LOOP(4)
/* Bits that are one load and one store. */
#define CXN_COPY_IS_WORD(bits) ((bits) == 16 || (bits) == 32)
#else
#define CXN_COPY_IS_WORD(bits) 0
#define CXN_COPY_UNROLL
#define CXN_COPY(to, from, bytes) CXN_MEMCPY((to), (from), (bytes))
#endif

#endif /* CXN_COPY_BYTES_H */
