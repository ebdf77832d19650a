/* SPDX-License-Identifier: Apache-2.0 */
/* What Winograd's filters share, whatever the instance. */
#ifndef CXN_WINOGRAD_H
#define CXN_WINOGRAD_H

#include "../config.h"
#include "intrinsics.h"

/* high * 2^16 + low, |low| < 2^15: the borrow of a negative low half is given back. */
CXN_INLINE uint32_t cxn_halves(int32_t x)
{
    return (uint32_t)x + (((uint32_t)x & 0x8000U) << 1);
}

/* v = B d at the points 0, 1, -1, 2, -2 and infinity, for one channel, or for two in one word as high * 2^16 + low: linear, so both ride on
   it. Only row 1 of B does not add up to zero: -6. */
CXN_INLINE void cxn_winograd_6(const int32_t *d, int32_t *v)
{
    const int32_t even1 = d[4] - 4 * d[2], odd1 = d[3] - 4 * d[1];
    const int32_t even2 = d[4] - d[2], odd2 = d[3] - d[1];
    v[0] = even2 + 4 * (d[0] - d[2]);
    v[1] = even1 + odd1;
    v[2] = even1 - odd1;
    v[3] = even2 + 2 * odd2;
    v[4] = even2 - 2 * odd2;
    v[5] = d[5] - d[3] - 4 * odd2;
}

/* A product that is kept: GCC would add it up with others anew, of which each then takes two instructions where shifts are part of sums. */
#if defined(__thumb2__)
#define CXN_KEPT_PRODUCT(x) __asm__("" : "+r"(x))
#else
#define CXN_KEPT_PRODUCT(x) ((void)(x))
#endif

/* The same at 1/2 and -1/2 too; row 1 adds up to -18. */
CXN_INLINE void cxn_winograd_8(const int32_t *d, int32_t *v)
{
    int32_t even = 5 * d[4], odd = 5 * d[3], even17 = 17 * d[4], odd17 = 17 * d[3], first = d[2] - d[4], last = d[3] - d[5];
    CXN_KEPT_PRODUCT(even);
    CXN_KEPT_PRODUCT(odd);
    CXN_KEPT_PRODUCT(even17);
    CXN_KEPT_PRODUCT(odd17);
    int32_t even1 = 4 * (d[6] + d[2]) - even17, odd1 = 4 * (d[5] + d[1]) - odd17;
    int32_t even2 = d[2] + 4 * d[6] - even, odd2 = d[1] + 4 * d[5] - odd;
    int32_t even3 = d[6] + 4 * d[2] - even, odd3 = d[5] + 4 * d[1] - odd;
    v[0] = 21 * first + 4 * (d[6] - d[0]);
    v[1] = even1 + odd1;
    v[2] = even1 - odd1;
    v[3] = even2 + 2 * odd2;
    v[4] = even2 - 2 * odd2;
    v[5] = 2 * even3 + odd3;
    v[6] = 2 * even3 - odd3;
    v[7] = 21 * last + 4 * (d[7] - d[1]);
}

#endif /* CXN_WINOGRAD_H */
