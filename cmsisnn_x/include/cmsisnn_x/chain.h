/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rings of a chain: rows of a tensor behind each other, those that are needed no more at the front.
 *     cxn_drop(ring, dropped, kept)    the `kept` bytes behind the first `dropped` move to the front
 */
#ifndef CXN_CHAIN_H
#define CXN_CHAIN_H

#include "config.h"
#include "detail/intrinsics.h"

CXN_NOINLINE void cxn_drop(void *ring, int32_t dropped, int32_t kept)
{
    unsigned char *to = (unsigned char *)ring;
    const unsigned char *from = to + dropped;
    int32_t left = kept;
    if (dropped % 4 == 0) {
        /* Four words at a time: each is read before the first is written, which lies before them. */
        for (; left >= 16; left -= 16, to += 16, from += 16) {
            const uint32_t a = cxn_load_u32_aligned(from), b = cxn_load_u32_aligned(from + 4);
            const uint32_t c = cxn_load_u32_aligned(from + 8), d = cxn_load_u32_aligned(from + 12);
            cxn_store_u32_aligned(to, a);
            cxn_store_u32_aligned(to + 4, b);
            cxn_store_u32_aligned(to + 8, c);
            cxn_store_u32_aligned(to + 12, d);
        }
        for (; left >= 4; left -= 4, to += 4, from += 4)
            cxn_store_u32_aligned(to, cxn_load_u32_aligned(from));
    }
    for (; left > 0; left--)
        *to++ = *from++;
}

#endif /* CXN_CHAIN_H */
