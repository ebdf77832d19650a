/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Elements of one instance in vectors (Helium), at any address: those of 16 bits go as bytes, for which any will do. `count` is how many of a
 * vector there are; nothing beyond them is read or written. Include after what has OUT_MIN and OUT_MAX.
 *     CXN_LOCAL(eight)(p, count), CXN_LOCAL(put_eight)(p, x, count)        eight elements, as 16 bits
 *     CXN_LOCAL(clamped)(even, odd)                                        the same from two vectors of 32 bits, clamped to OUT_MIN .. OUT_MAX; behind
 *                                                                          output.h OUTPUT_ZERO_POINT is added before
 *     CXN_LOCAL(outputs)(even, odd)                                        and MULTIPLIER and EXPONENT are applied
 */
#ifndef CXN_HELIUM_ELEMENT_H
#define CXN_HELIUM_ELEMENT_H

#include <arm_mve.h>

#include "intrinsics.h"

/* cxn_rescale in every lane, by numbers that are known when this compiles. */
CXN_INLINE int32x4_t cxn_rescale_lanes(int32x4_t x, int32_t multiplier, int32_t exponent)
{
    if (exponent > 0) {
        x = vshlq_r_s32(x, exponent);
    }
    x = vqrdmulhq_n_s32(x, multiplier);
    if (exponent < 0) {
        x = vrshlq_n_s32(vqaddq_s32(x, vshrq_n_s32(x, 31)), exponent);
    }
    return x;
}

#endif /* CXN_HELIUM_ELEMENT_H */

CXN_INLINE int16x8_t CXN_LOCAL(eight)(const CXN_IN_T *p, int32_t count)
{
    const int8_t *const from = (const int8_t *)(const void *)p;
#if CXN_GET(IN_BITS) == 8
    return count < 8 ? vldrbq_z_s16(from, vctp16q(cxn_lanes(count))) : vldrbq_s16(from);
#else
    return vreinterpretq_s16_s8(count < 8 ? vldrbq_z_s8(from, vctp8q(cxn_lanes(2 * count))) : vldrbq_s8(from));
#endif
}

CXN_INLINE void CXN_LOCAL(put_eight)(CXN_OUT_T *p, int16x8_t x, int32_t count)
{
    int8_t *const to = (int8_t *)(void *)p;
#if CXN_OUT_BITS == 8
    if (count < 8) {
        vstrbq_p_s16(to, x, vctp16q(cxn_lanes(count)));
    } else {
        vstrbq_s16(to, x);
    }
#else
    if (count < 8) {
        vstrbq_p_s8(to, vreinterpretq_s8_s16(x), vctp8q(cxn_lanes(2 * count)));
    } else {
        vstrbq_s8(to, vreinterpretq_s8_s16(x));
    }
#endif
}

#if defined(CXN_OUT_MIN)
#include "helium_clamp.h"

CXN_INLINE int16x8_t CXN_LOCAL(clamped)(int32x4_t even, int32x4_t odd)
{
    int16x8_t x;
#if defined(CXN_IS_SMALL) && CXN_OUT_BITS == 16
    if (CXN_GET(OUTPUT_ZERO_POINT)) {
        even = vqaddq_n_s32(even, CXN_GET(OUTPUT_ZERO_POINT));
        odd = vqaddq_n_s32(odd, CXN_GET(OUTPUT_ZERO_POINT));
    }
#endif
    x = vqmovntq_s32(vqmovnbq_s32(vuninitializedq_s16(), even), odd);
#if defined(CXN_IS_SMALL) && CXN_OUT_BITS == 8
    if (CXN_GET(OUTPUT_ZERO_POINT)) {
        x = vqaddq_n_s16(x, CXN_GET(OUTPUT_ZERO_POINT));
    }
#endif
    return CXN_LOCAL(clamp_halves)(x);
}
#endif

#if defined(CXN_IS_SMALL)
/* output.h of eight. */
CXN_INLINE int16x8_t CXN_LOCAL(outputs)(int32x4_t even, int32x4_t odd)
{
    return CXN_LOCAL(clamped)(
        cxn_rescale_lanes(even, CXN_GET(MULTIPLIER), CXN_GET(EXPONENT)), cxn_rescale_lanes(odd, CXN_GET(MULTIPLIER), CXN_GET(EXPONENT)));
}
#endif
