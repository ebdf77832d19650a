/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a pooling instance makes of its scheme:
 *     CXN_POOL_ROUNDS             1 where averages are rounded, 0 where their fraction is dropped
 *     CXN_POOL_CLAMP(x, lanes)    a lane group, or one element, within the range of the output
 * Include after lanes.h.
 */
#if CXN_GET(SCHEME) == CXN_SCHEME_AFFINE
#include "clamp.h"
#define CXN_POOL_ROUNDS 1
#if CXN_FULL_RANGE
#define CXN_POOL_CLAMP(x, lanes) ((void)(lanes), (x))
#else
#define CXN_POOL_CLAMP(x, lanes) CXN_LOCAL(clamp_lanes)(x, lanes)

/* The smaller of two is the complement of the larger of their complements. */
CXN_INLINE uint32_t CXN_LOCAL(clamp_lanes)(uint32_t x, int lanes)
{
    const uint32_t unit = lanes == 1 ? 1U : CXN_GET(IN_BITS) == 8 ? 0x01010101U : 0x00010001U;
    const uint32_t mask = lanes == 1 ? 0xffffffffU : CXN_GET(IN_BITS) == 8 ? 0xffU : 0xffffU;
    const uint32_t low = ((uint32_t)CXN_OUT_MIN & mask) * unit, high = ((uint32_t)CXN_OUT_MAX & mask) * unit;
    return ~CXN_LOCAL(max_lanes)(~CXN_LOCAL(max_lanes)(x, low, lanes), ~high, lanes);
}
#endif
#else
#define CXN_POOL_ROUNDS 0
#define CXN_POOL_CLAMP(x, lanes) ((void)(lanes), (x))
#endif
