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
    __asm__ volatile("wlstp.8 lr, %[bytes], 2f\n\t.p2align 2\n1:\n\tvldrb.8 q0, [%[from]], #16\n\tvstrb.8 q0, [%[to]], #16\n\tletp lr, 1b\n2:\n\t"
                     : [to] "+r"(to), [from] "+r"(from)
                     : [bytes] "r"(bytes)
                     : "q0", "lr", "cc", "memory");
}

#define CXN_COPY(to, from, bytes) cxn_copy_bytes((void *)(to), (const void *)(from), (size_t)(bytes))
#else
#define CXN_COPY(to, from, bytes) CXN_MEMCPY((to), (from), (bytes))
#endif

#endif /* CXN_COPY_BYTES_H */
