/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Outputs of one instance from accumulators in the lanes of vectors (Helium). Include after scheme.h and element.h, or wide.h's like.
 * With weight_layout lanes the records of channels come in fours, word by word, filled up with zeros: of channels o .. o + 3, o a multiple
 * of 4, first four starts, then four second words, and so on. The last word of CXN_RESCALE_RIGHT and _FAR is e there, as with _ANY.
 * q7 and q15 have the biases as they are.
 * Nothing here shifts and narrows at once: GNU as 2.40 takes VQSHRNB and VQSHRNT for VQRSHRNB and VQRSHRNT, which round.
 *     CXN_LOCAL(four)                              what four channels need
 *     CXN_LOCAL(four_at)(channels, o)              that of channels o .. o + 3
 *     CXN_LOCAL(four_scaled)(sum, four)            sums of products -> outputs less OUTPUT_ZERO_POINT, not clamped yet
 *     CXN_LOCAL(four_out)(scaled)                  -> outputs, in 32 bits
 *     CXN_LOCAL(eight_out)(even, odd)              two such vectors -> eight outputs in 16 bits, even[0] odd[0] even[1] ..
 *     CXN_LOCAL(sixteen_out)(a, b, c, d)           four of them -> sixteen of 8 bits, a[0] b[0] c[0] d[0] a[1] ..
 *     CXN_LOCAL(four_store)(out, scaled, count), CXN_LOCAL(eight_store)(out, even, odd, count)       stores the first `count` of them
 */
#include "helium_clamp.h"

#if CXN_GET(SCHEME) == CXN_SCHEME_AFFINE
#define CXN_FOUR_ZERO_POINT CXN_GET(OUTPUT_ZERO_POINT)
#else
#define CXN_FOUR_ZERO_POINT 0
#endif

#if CXN_GET(SCHEME) != CXN_SCHEME_AFFINE
typedef struct {
    int32x4_t start;
} CXN_LOCAL(four);

CXN_INLINE CXN_LOCAL(four) CXN_LOCAL(four_at)(const CXN_CHANNEL_T *channels, int32_t o)
{
    CXN_LOCAL(four) four;
#if CXN_GET(OUT_CH) % 4
    const mve_pred16_t some = vctp32q(cxn_lanes(CXN_GET(OUT_CH) - o));
#if CXN_GET(WEIGHT_BITS) == 8
    const int32x4_t bias = vldrbq_z_s32(channels + o, some);
#else
    const int32x4_t bias = vldrhq_z_s32(channels + o, some);
#endif
#elif CXN_GET(WEIGHT_BITS) == 8
    const int32x4_t bias = vldrbq_s32(channels + o);
#else
    const int32x4_t bias = vldrhq_s32(channels + o);
#endif
    four.start = vaddq_n_s32(vshlq_n_s32(bias, CXN_GET(BIAS_SHIFT)), (int32_t)CXN_ROUND_TERM);
    return four;
}

CXN_INLINE int32x4_t CXN_LOCAL(four_scaled)(int32x4_t sum, CXN_LOCAL(four) four)
{
    const int32x4_t acc = vaddq_s32(sum, four.start);
#if CXN_GET(OUT_SHIFT) == 0
    return acc;
#else
    return vshrq_n_s32(acc, CXN_GET(OUT_SHIFT));
#endif
}
#elif CXN_GET(RESCALE) == CXN_RESCALE_REAL
typedef struct {
    int32x4_t start;
    const int32_t *at;
} CXN_LOCAL(four);

CXN_INLINE CXN_LOCAL(four) CXN_LOCAL(four_at)(const CXN_CHANNEL_T *channels, int32_t o)
{
    CXN_LOCAL(four) four;
    four.at = (const int32_t *)(const void *)(channels + o);
    four.start = vldrwq_s32(four.at);
    return four;
}

/* Lane by lane: vectors have no products of 32 and 53 bits. The sum with the zero point may wrap: it is in here, and taken off again. */
CXN_INLINE int32x4_t CXN_LOCAL(four_scaled)(int32x4_t sum, CXN_LOCAL(four) four)
{
    int32_t acc[4];
    vstrwq_s32(acc, vaddq_s32(sum, four.start));
    for (int i = 0; i < 4; i++) {
        const cxn_real_channel channel = {0, four.at[4 + i], four.at[8 + i], four.at[12 + i]};
        acc[i] = CXN_REQUANTISE(acc[i], channel) - CXN_FOUR_ZERO_POINT;
    }
    return vldrwq_s32(acc);
}
#else
typedef struct {
    int32x4_t start, factor, last;
} CXN_LOCAL(four);

CXN_INLINE CXN_LOCAL(four) CXN_LOCAL(four_at)(const CXN_CHANNEL_T *channels, int32_t o)
{
    const int32_t *const at = (const int32_t *)(const void *)(channels + o);
    CXN_LOCAL(four) four;
    four.start = vldrwq_s32(at);
    four.factor = vldrwq_s32(at + 4);
    four.last = vldrwq_s32(at + 8);
    return four;
}

CXN_INLINE int32x4_t CXN_LOCAL(four_scaled)(int32x4_t sum, CXN_LOCAL(four) four)
{
    const int32x4_t acc = vaddq_s32(sum, four.start);
#if CXN_GET(RESCALE) == CXN_RESCALE_SINGLE
    /* `offset` has the zero point in it. */
    const int32x4_t out = vshrq_n_s32(vaddq_s32(vmulhq_s32(acc, four.factor), four.last), CXN_GET(RESCALE_SHIFT));
#if CXN_FOUR_ZERO_POINT == 0
    return out;
#else
    return vsubq_n_s32(out, CXN_FOUR_ZERO_POINT);
#endif
#elif CXN_GET(RESCALE) == CXN_RESCALE_ANY
    const int32x4_t none = vdupq_n_s32(0), right = vminq_s32(four.last, none);
    const int32x4_t high = vqrdmulhq_s32(vshlq_s32(acc, vmaxq_s32(four.last, none)), four.factor);
    /* Nothing is rounded where nothing is shifted. */
    return vrshlq_s32(vqaddq_s32(high, vshrq_n_s32(vandq_s32(high, right), 31)), right);
#else
    const int32x4_t high = vqrdmulhq_s32(acc, four.factor);
    return vrshlq_s32(vaddq_s32(high, vshrq_n_s32(high, 31)), four.last);
#endif
}
#endif

CXN_INLINE int32x4_t CXN_LOCAL(four_out)(int32x4_t scaled)
{
#if CXN_FOUR_ZERO_POINT
    scaled = vqaddq_n_s32(scaled, CXN_FOUR_ZERO_POINT);
#endif
    return vminq_s32(vmaxq_s32(scaled, vdupq_n_s32(CXN_OUT_MIN)), vdupq_n_s32(CXN_OUT_MAX));
}

/* Of 8 bits: clamped to those by whoever narrows them further. */
CXN_INLINE int16x8_t CXN_LOCAL(eight_narrow)(int32x4_t even, int32x4_t odd)
{
    int16x8_t out = vqmovntq_s32(vqmovnbq_s32(vdupq_n_s16(0), even), odd);
#if CXN_FOUR_ZERO_POINT
    out = vqaddq_n_s16(out, CXN_FOUR_ZERO_POINT);
#endif
    return out;
}

CXN_INLINE int16x8_t CXN_LOCAL(eight_out)(int32x4_t even, int32x4_t odd)
{
    return CXN_LOCAL(clamp_halves)(CXN_LOCAL(eight_narrow)(even, odd));
}

#if CXN_OUT_BITS == 8
CXN_INLINE int8x16_t CXN_LOCAL(sixteen_out)(int32x4_t a, int32x4_t b, int32x4_t c, int32x4_t d)
{
    const int16x8_t even = CXN_LOCAL(eight_narrow)(a, c), odd = CXN_LOCAL(eight_narrow)(b, d);
    return CXN_LOCAL(clamp_bytes)(vqmovntq_s16(vqmovnbq_s16(vdupq_n_s8(0), even), odd));
}
#endif

CXN_INLINE void CXN_LOCAL(four_store)(CXN_OUT_T *out, int32x4_t scaled, int32_t count)
{
    const int32x4_t x = CXN_LOCAL(four_out)(scaled);
#if CXN_OUT_BITS == 8
    if (count >= 4)
        vstrbq_s32(out, x);
    else
        vstrbq_p_s32(out, x, vctp32q(cxn_lanes(count)));
#elif CXN_GET(OUTPUT_ALIGNED)
    if (count >= 4)
        vstrhq_s32(out, x);
    else
        vstrhq_p_s32(out, x, vctp32q(cxn_lanes(count)));
#else
    int32_t lanes[4];
    vstrwq_s32(lanes, x);
    for (int32_t i = 0; i < CXN_MIN(count, 4); i++)
        CXN_LOCAL(store)(out + i, lanes[i]);
#endif
}

CXN_INLINE void CXN_LOCAL(eight_store)(CXN_OUT_T *out, int32x4_t even, int32x4_t odd, int32_t count)
{
#if CXN_OUT_BITS == 8
    const int8x16_t bytes = CXN_LOCAL(clamp_bytes)(vqmovnbq_s16(vdupq_n_s8(0), CXN_LOCAL(eight_narrow)(even, odd)));
    const int16x8_t x = vreinterpretq_s16_s8(bytes);
    if (count >= 8)
        vstrbq_s16(out, x);
    else
        vstrbq_p_s16(out, x, vctp16q(cxn_lanes(count)));
#else
    /* As bytes, for which any address will do. */
    const int8x16_t x = vreinterpretq_s8_s16(CXN_LOCAL(eight_out)(even, odd));
    if (count >= 8)
        vstrbq_s8((int8_t *)(void *)out, x);
    else
        vstrbq_p_s8((int8_t *)(void *)out, x, vctp8q(cxn_lanes(2 * count)));
#endif
}
#undef CXN_FOUR_ZERO_POINT
