/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rings of a chain: rows of a tensor behind each other, those that are needed no more at the front.
 *     cxn_drop(ring, dropped, kept)    the `kept` bytes behind the first `dropped` move to the front
 *     cxn_move(place, rows, kept)      the `kept` bytes at `rows` move to `place`, where rings share their memory
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

/* Eight words at a time, all read before the first is written: GCC and Clang keep them in registers. */
#define CXN_MOVE_WORDS(to, from)                                                                              \
    do {                                                                                                      \
        const uint32_t w0 = cxn_load_u32_aligned(from), w1 = cxn_load_u32_aligned((from) + 4);                \
        const uint32_t w2 = cxn_load_u32_aligned((from) + 8), w3 = cxn_load_u32_aligned((from) + 12);         \
        const uint32_t w4 = cxn_load_u32_aligned((from) + 16), w5 = cxn_load_u32_aligned((from) + 20);        \
        const uint32_t w6 = cxn_load_u32_aligned((from) + 24), w7 = cxn_load_u32_aligned((from) + 28);        \
        cxn_store_u32_aligned(to, w0), cxn_store_u32_aligned((to) + 4, w1);                                   \
        cxn_store_u32_aligned((to) + 8, w2), cxn_store_u32_aligned((to) + 12, w3);                            \
        cxn_store_u32_aligned((to) + 16, w4), cxn_store_u32_aligned((to) + 20, w5);                           \
        cxn_store_u32_aligned((to) + 24, w6), cxn_store_u32_aligned((to) + 28, w7);                           \
    } while (0)

CXN_NOINLINE void cxn_move(void *place, const void *rows, int32_t kept)
{
    unsigned char *to = (unsigned char *)place;
    const unsigned char *from = (const unsigned char *)rows;
    const int in_words = ((uintptr_t)to - (uintptr_t)from) % 4 == 0;
    int32_t left = kept;
    if ((uintptr_t)to <= (uintptr_t)from) {
        if (in_words) { /* `place` is at a word */
            for (; left >= 32; left -= 32, to += 32, from += 32)
                CXN_MOVE_WORDS(to, from);
            for (; left >= 4; left -= 4, to += 4, from += 4)
                cxn_store_u32_aligned(to, cxn_load_u32_aligned(from));
        }
        for (; left > 0; left--)
            *to++ = *from++;
        return;
    }
    /* From behind, so that no byte is written before it is read. */
    to += kept;
    from += kept;
    if (in_words) {
        for (; left % 4 != 0; left--)
            *--to = *--from;
        for (; left >= 32; left -= 32) {
            to -= 32;
            from -= 32;
            CXN_MOVE_WORDS(to, from);
        }
        for (; left >= 4; left -= 4) {
            to -= 4;
            from -= 4;
            cxn_store_u32_aligned(to, cxn_load_u32_aligned(from));
        }
    }
    for (; left > 0; left--)
        *--to = *--from;
}
#undef CXN_MOVE_WORDS

#endif /* CXN_CHAIN_H */
