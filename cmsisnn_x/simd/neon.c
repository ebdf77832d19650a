/* SPDX-License-Identifier: Apache-2.0 */
/* AArch64 NEON. Compiled twice: with the dot-product extension int8 takes SDOT (four products a lane), without it int8
 * is widened while it is lowered and shares SMLAL with int16. */
#include <arm_neon.h>

#include "common.h"
#include "four_rows.h"
#include "line.h"

#define UNROLL _Pragma("GCC unroll 16")
#define VEC int32x4_t
#define ZERO() vdupq_n_s32(0)
#define LOAD_SUMS(p) vld1q_s32(p)
#define ADD(a, b) vaddq_s32(a, b)
#define LANES 4
#define VECTORS 4
#define CHANNELS (LANES * VECTORS)
#define COLUMNS 0
#define PIXELS 4
#define SPLITS 2
#define TILES(TILE) TILE(1, 1, 2) TILE(2, 1, 2) TILE(4, 1, 2) TILE(1, 4, 2) TILE(2, 4, 1) TILE(4, 4, 1)
#define CORRECTION 0

/* The upper bound comes with narrowing, which saturates. */
ALWAYS_INLINE int32x4_t shift_and_floor(int32x4_t acc, const simd_requant *requant)
{
    return vmaxq_s32(vshlq_s32(acc, vdupq_n_s32(-requant->out_shift)), vdupq_n_s32(requant->low));
}

/* The constants of four channels: rescale() of common.h on vectors. */
typedef struct {
    int32x4_t multiplier, left, right; /* `right` is negative */
    int32x4_t low, high, zero_point;
} rescaling;

ALWAYS_INLINE rescaling load_rescaling(const simd_requant *requant, ptrdiff_t channel)
{
    rescaling r;
    r.multiplier = vld1q_s32(requant->multiplier + channel);
    r.left = vld1q_s32(requant->left + channel);
    r.right = vnegq_s32(vld1q_s32(requant->right + channel));
    r.low = vdupq_n_s32(requant->low - requant->zero_point);
    r.high = vdupq_n_s32(requant->high - requant->zero_point);
    r.zero_point = vdupq_n_s32(requant->zero_point);
    return r;
}

ALWAYS_INLINE int32x4_t rescale_lanes(int32x4_t acc, const rescaling *r)
{
    const int32x4_t product = vqrdmulhq_s32(vshlq_s32(acc, r->left), r->multiplier);
    /* Halves go up with VRSHL: one less where a negative number is shifted. */
    const int32x4_t nudge = vshrq_n_s32(vandq_s32(product, r->right), 31);
    const int32x4_t v = vrshlq_s32(vqaddq_s32(product, nudge), r->right);
    return vaddq_s32(vminq_s32(vmaxq_s32(v, r->low), r->high), r->zero_point);
}
#define NEAR rescaling
#define LOAD_NEAR(requant, channel) load_rescaling(requant, channel)
#define RESCALING rescaling
#define LOAD_RESCALING(requant, channel) load_rescaling(requant, channel)

ALWAYS_INLINE void store_q7(int8_t *out, int32x4_t result, int n)
{
    const int16x4_t words = vqmovn_s32(result);
    const int8x8_t bytes = vqmovn_s16(vcombine_s16(words, words));
    int8_t spill[8];
    if (n > 0) {
        vst1_s8(spill, bytes);
        memcpy(out, spill, n >= LANES ? LANES : (size_t)n);
    }
}

ALWAYS_INLINE void store_q15(int16_t *out, int32x4_t acc, const simd_requant *requant, int n)
{
    const int16x4_t words = vqmovn_s32(shift_and_floor(acc, requant));
    int16_t spill[4];
    if (n >= LANES)
        vst1_s16(out, words);
    else if (n > 0) {
        vst1_s16(spill, words);
        memcpy(out, spill, (size_t)n * 2);
    }
}

ALWAYS_INLINE void widen_bytes(int16_t *restrict to, const int8_t *restrict from, ptrdiff_t n)
{
    for (ptrdiff_t i = 0; i < n; i++)
        to[i] = from[i];
}

#define DW_SUMS depthwise_sums
#define DW_LANES 8
#define DW_TAPS 1
#define DW_PIXELS 4
#define DW_SLOT(c) (c)

ALWAYS_INLINE void depthwise_sums(const ptrdiff_t *taps, ptrdiff_t steps, const int16_t *in, const ptrdiff_t *offsets,
                                  const int16_t *weights, const int32_t *sums, int32x4_t (*acc)[2])
{
    UNROLL
    for (int p = 0; p < DW_PIXELS; p++) {
        acc[p][0] = vld1q_s32(sums);
        acc[p][1] = vld1q_s32(sums + 4);
    }
    for (ptrdiff_t t = 0; t < steps; t++) {
        const int16x8_t w = vld1q_s16(weights + t * DW_LANES);
        UNROLL
        for (int p = 0; p < DW_PIXELS; p++) {
            const int16x8_t x = vld1q_s16(in + offsets[p] + taps[t]);
            acc[p][0] = vmlal_s16(acc[p][0], vget_low_s16(w), vget_low_s16(x));
            acc[p][1] = vmlal_high_s16(acc[p][1], w, x);
        }
    }
}

/* ---- q7 convolution ---- */
#define FN(name) q7_##name
#define T int8_t
#define HAS_AFFINE 1
#define STORE(out, acc, requant, n) store_q7(out, shift_and_floor(acc, requant), n)
#define STORE_AFFINE(out, acc, r, n) store_q7(out, rescale_lanes(acc, r), n)
#define STORE_NEAR STORE_AFFINE
#ifdef __ARM_FEATURE_DOTPROD
#define LT int8_t
#define PW int8_t
#define KG 4
#define LOWER_FILL(dst, fill, n) memset(dst, fill, (size_t)(n))
#define LOWER_ROW(dst, src, n) memcpy(dst, src, (size_t)(n))
#define LOAD_WEIGHTS(p) vreinterpretq_s32_s8(vld1q_s8(p))
#define BROADCAST(p) broadcast_dword(p)
#define DOT(acc, w, x) vdotq_s32(acc, vreinterpretq_s8_s32(w), vreinterpretq_s8_s32(x))

ALWAYS_INLINE int32x4_t broadcast_dword(const int8_t *p)
{
    int32_t v;
    memcpy(&v, p, sizeof v);
    return vdupq_n_s32(v);
}
#else
#define LT int16_t
#define PW int16_t
#define KG 1
#define LOWER_FILL(dst, fill, n) fill_words(dst, fill, n)
#define LOWER_ROW(dst, src, n) widen_bytes(dst, src, n)
/* Sixteen bits wide weights and inputs travel in the low half of a vector. */
#define LOAD_WEIGHTS(p) vreinterpretq_s32_s16(vcombine_s16(vld1_s16(p), vdup_n_s16(0)))
#define BROADCAST(p) vreinterpretq_s32_s16(vdupq_n_s16(*(p)))
#define DOT(acc, w, x) vmlal_s16(acc, vget_low_s16(vreinterpretq_s16_s32(w)), vget_low_s16(vreinterpretq_s16_s32(x)))
#endif
#include "lower.template.h"
#include "convolve.template.h"
#include "tile.template.h"
#include "rows.template.h"
#ifdef __ARM_FEATURE_DOTPROD
#define BORROWED_FROM simd_neon
#include "borrowed.template.h"
#else
#include "pool.template.h"
#include "pair.template.h"
#endif
#undef FN
#undef STORE
#undef LT
#undef PW
#undef KG
#undef LOWER_FILL
#undef LOWER_ROW
#undef LOAD_WEIGHTS
#undef BROADCAST
#undef DOT

/* ---- q7 depthwise, widened ---- */
#define FN(name) q7w_##name
#define LT int16_t
#define LOWER_FILL(dst, fill, n) fill_words(dst, fill, n)
#define LOWER_ROW(dst, src, n) widen_bytes(dst, src, n)
#define DW_STORE(out, acc, requant, n)                     \
    (store_q7(out, shift_and_floor((acc)[0], requant), n), \
     store_q7((out) + 4, shift_and_floor((acc)[1], requant), (n) - 4))
#define DW_STORE_NEAR DW_STORE_AFFINE
#define DW_STORE_AFFINE(out, acc, r, n) \
    (store_q7(out, rescale_lanes((acc)[0], r), n), store_q7((out) + 4, rescale_lanes((acc)[1], (r) + 1), (n) - 4))
#include "lower.template.h"
#include "depthwise.template.h"
#include "depthwise_tile.template.h"
#undef FN
#undef T
#undef LOWER_ROW
#undef DW_STORE
#undef HAS_AFFINE

/* ---- q15 ---- */
#define HAS_AFFINE 0
#define FN(name) q15_##name
#define T int16_t
#define PW int16_t
#define KG 1
#define LOWER_ROW(dst, src, n) memcpy(dst, src, (size_t)(n) * 2)
#define LOAD_WEIGHTS(p) vreinterpretq_s32_s16(vcombine_s16(vld1_s16(p), vdup_n_s16(0)))
#define BROADCAST(p) vreinterpretq_s32_s16(vdupq_n_s16(*(p)))
#define DOT(acc, w, x) vmlal_s16(acc, vget_low_s16(vreinterpretq_s16_s32(w)), vget_low_s16(vreinterpretq_s16_s32(x)))
#define STORE(out, acc, requant, n) store_q15(out, acc, requant, n)
#define DW_STORE(out, acc, requant, n) \
    (store_q15(out, (acc)[0], requant, n), store_q15((out) + 4, (acc)[1], requant, (n) - 4))
#include "lower.template.h"
#include "convolve.template.h"
#include "tile.template.h"
#include "depthwise.template.h"
#include "rows.template.h"
#ifdef __ARM_FEATURE_DOTPROD
#define BORROWED_FROM simd_neon
#include "borrowed.template.h"
#else
#include "pool.template.h"
#include "pair.template.h"
#endif
#include "depthwise_tile.template.h"

#ifdef __ARM_FEATURE_DOTPROD
#define TABLE_NAME simd_neondot
#define TABLE_TEXT "neondot"
#else
#define TABLE_NAME simd_neon
#define TABLE_TEXT "neon"
#endif
#define DEPTHWISE_Q7(name) q7w_##name
#include "table.h"
