/* SPDX-License-Identifier: Apache-2.0 */
/* AVX2: PMADDWD for both widths, int8 widened while it is lowered; a pair of -32768 * -32768 makes it return 0x80000000,
 * which is exact modulo 2^32. PMADDUBSW saturates: of use for one pixel alone, see gemv.h. What trained networks would
 * need besides, for pairs of weights beyond 128 in size (2 to 10 % of the pairs, half of all vectors), costs what it saves.
 * Compiled a second time with AVX-VNNI: VPDPBUSD for int8 convolution, VPDPWSSD elsewhere. */
#include <immintrin.h>

#include "avx2_vectors.h"
#include "common.h"
#include "four_rows.h"
#include "line.h"

/* Depthwise: pairs of taps interleaved by 16-bit unpacks, which keep 128-bit lanes apart; packing sums undoes it. */
#define DW_SUMS depthwise_sums
#define DW_STORE(out, acc, requant, n) depthwise_store(out, acc, requant, n, (int)sizeof(T))
#define DW_STORE_AFFINE(out, acc, r, n) \
    depthwise_store_bytes(out, rescale_lanes((acc)[0], r), rescale_lanes((acc)[1], (r) + 1), n)
#define DW_STORE_NEAR(out, acc, r, n) \
    depthwise_store_near(out, rescale_only((acc)[0], r), rescale_only((acc)[1], (r) + 1), r, n)
#define DW_LANES 16
#define DW_TAPS 2
#define DW_PIXELS 4
#define DW_SLOT(c) ((c) % 8 / 4 * 8 + (c) / 8 * 4 + (c) % 4)

ALWAYS_INLINE void depthwise_sums(const ptrdiff_t *taps, ptrdiff_t steps, const int16_t *in, const ptrdiff_t *offsets,
                                  const int16_t *weights, const int32_t *sums, __m256i (*acc)[2])
{
    const int16_t *from[DW_PIXELS];
    UNROLL
    for (int p = 0; p < DW_PIXELS; p++) {
        from[p] = in + offsets[p];
        acc[p][0] = LOAD_SUMS(sums);
        acc[p][1] = LOAD_SUMS(sums + 8);
    }
    for (ptrdiff_t s = 0; s < steps; s++, taps += 2, weights += 32) {
        const __m256i w0 = LOAD_WEIGHTS(weights), w1 = LOAD_WEIGHTS(weights + 16);
        UNROLL
        for (int p = 0; p < DW_PIXELS; p++) {
            const __m256i a = _mm256_loadu_si256((const __m256i *)(from[p] + taps[0]));
            const __m256i b = _mm256_loadu_si256((const __m256i *)(from[p] + taps[1]));
            acc[p][0] = DOT_WORDS(acc[p][0], w0, _mm256_unpacklo_epi16(a, b));
            acc[p][1] = DOT_WORDS(acc[p][1], w1, _mm256_unpackhi_epi16(a, b));
        }
    }
}

ALWAYS_INLINE void depthwise_store(void *out, const __m256i *acc, const simd_requant *requant, int n, int size)
{
    const __m256i words = _mm256_packs_epi32(shift_and_floor(acc[0], requant), shift_and_floor(acc[1], requant));
    store_some(out, size == 1 ? bytes_of(words) : words, n, DW_LANES, size);
}

ALWAYS_INLINE void depthwise_store_bytes(int8_t *out, __m256i first, __m256i second, int n)
{
    store_some(out, bytes_of(_mm256_packs_epi32(first, second)), n, DW_LANES, 1);
}

ALWAYS_INLINE void depthwise_store_near(int8_t *out, __m256i first, __m256i second, const near_rescaling *r, int n)
{
    store_some(out, bytes_of(bounded(_mm256_packs_epi32(first, second), r->low, r->high)), n, DW_LANES, 1);
}

ALWAYS_INLINE void widen_bytes(int16_t *restrict to, const int8_t *restrict from, ptrdiff_t n)
{
    for (ptrdiff_t i = 0; i < n; i++)
        to[i] = from[i];
}

/* ---- q7 convolution ---- */
#define FN(name) q7_##name
#define T int8_t
#define HAS_AFFINE 1
#define RESCALE_NEAR(acc, r) rescale_only(acc, r)
#define STORE_BOTH(out, first, second, requant, n) store_both(out, first, second, requant, n)
#define STORE Q7_STORE
#define STORE_AFFINE Q7_STORE_AFFINE
#define STORE_NEAR Q7_STORE_NEAR
#ifdef __AVXVNNI__
/* Inputs plus 128, so that they are unsigned; -128 * (sum of weights) goes into the sums. */
#define LT uint8_t
#define PW int8_t
#define KG 4
#define CORRECTION 128
#define LOWER_FILL(dst, fill, n) memset(dst, (fill) ^ 0x80, (size_t)(n))
#define LOWER_ROW(dst, src, n) offset_bytes(dst, src, n)
#define DOT(acc, w, x) _mm256_dpbusd_avx_epi32(acc, x, w)

ALWAYS_INLINE void offset_bytes(uint8_t *restrict to, const int8_t *restrict from, ptrdiff_t n)
{
    for (ptrdiff_t i = 0; i < n; i++)
        to[i] = (uint8_t)from[i] ^ 0x80;
}
#else
#define LT int16_t
#define PW int16_t
#define KG 2
#define CORRECTION 0
#define LOWER_FILL(dst, fill, n) fill_words(dst, fill, n)
#define LOWER_ROW(dst, src, n) widen_bytes(dst, src, n)
#define DOT DOT_WORDS
#endif
#include "lower.template.h"
#include "convolve.template.h"
#include "tile.template.h"
#include "rows.template.h"
#ifdef __AVXVNNI__
#define BORROWED_FROM simd_avx2
#include "borrowed.template.h"
#else
#include "pool.template.h"
#include "pair.template.h"
#endif
#undef FN
#undef LT
#undef PW
#undef KG
#undef CORRECTION
#undef LOWER_FILL
#undef LOWER_ROW
#undef DOT
#undef STORE
#undef STORE_BOTH

#ifndef __AVXVNNI__
#include "gemv.h"
#undef T
#undef HAS_AFFINE
#include "winograd.h"

static size_t q7_any_packed_bytes(const simd_geometry *g)
{
    return gemv_pays(g) ? gemv_all_packed_bytes(g) : wino_pays(g) ? wino_packed_bytes(g) : q7_packed_bytes(g);
}
static size_t q7_any_scratch_bytes(const simd_geometry *g)
{
    return gemv_pays(g) ? gemv_scratch_bytes(g) : wino_pays(g) ? wino_scratch_bytes(g) : q7_scratch_bytes(g);
}
static void q7_any_pack(const simd_geometry *g, const void *weights, const void *bias, void *packed)
{
    (gemv_pays(g) ? gemv_all_pack : wino_pays(g) ? wino_pack : q7_pack)(g, weights, bias, packed);
}
static void q7_any_run(const simd_geometry *g, const void *packed, const void *in, void *out, void *scratch)
{
    (gemv_pays(g) ? gemv_all_run : wino_pays(g) ? wino_run : q7_run)(g, packed, in, out, scratch);
}
#define CONVOLVE_Q7(name) q7_any_##name
#define T int8_t
#define HAS_AFFINE 1
#endif

/* ---- q7 depthwise, widened ---- */
/* Vectors of channels outside, pixels inside: the strip is read once per vector. Measured on 48x48x64: 256 KiB 92 us, 64
 * KiB 83, 32 KiB 85. */
#undef LOWER_STRIP_BYTES
#define LOWER_STRIP_BYTES (64 * 1024)
#define FN(name) q7w_##name
#define LT int16_t
#define LOWER_FILL(dst, fill, n) fill_words(dst, fill, n)
#define LOWER_ROW(dst, src, n) widen_bytes(dst, src, n)
#include "lower.template.h"
#include "depthwise.template.h"
#include "depthwise_tile.template.h"
#undef FN
#undef T
#undef LOWER_ROW
#undef HAS_AFFINE

/* ---- q15 ---- */
#undef LOWER_STRIP_BYTES
#define FN(name) q15_##name
#define T int16_t
#define PW int16_t
#define KG 2
#define CORRECTION 0
#define LOWER_ROW(dst, src, n) memcpy(dst, src, (size_t)(n) * 2)
#define DOT DOT_WORDS
#define HAS_AFFINE 0
#define STORE(out, acc, requant, n) store_some(out, words_of(shift_and_floor(acc, requant)), n, LANES, 2)
#include "lower.template.h"
#include "convolve.template.h"
#include "tile.template.h"
#include "depthwise.template.h"
#include "rows.template.h"
#ifdef __AVXVNNI__
#define BORROWED_FROM simd_avx2
#include "borrowed.template.h"
#else
#include "pool.template.h"
#include "pair.template.h"
#endif
#include "depthwise_tile.template.h"

#ifdef __AVXVNNI__
#define TABLE_NAME simd_avxvnni
#define TABLE_TEXT "avxvnni"
#else
#define TABLE_NAME simd_avx2
#define TABLE_TEXT "avx2"
#endif
#define DEPTHWISE_Q7(name) q7w_##name
#include "table.h"
