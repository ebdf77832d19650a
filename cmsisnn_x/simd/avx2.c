/* SPDX-License-Identifier: Apache-2.0 */
/* AVX2: PMADDWD for both widths, int8 widened while it is lowered; a pair of -32768 * -32768 makes it return 0x80000000,
 * which is exact modulo 2^32. PMADDUBSW saturates: of use for one pixel alone, see gemv.h. What trained networks would
 * need besides, for pairs of weights beyond 128 in size (2 to 10 % of the pairs, half of all vectors), costs what it saves.
 * Compiled a second time with AVX-VNNI: VPDPBUSD for int8 convolution, VPDPWSSD elsewhere. */
#include <immintrin.h>

#include "common.h"
#include "four_rows.h"
#include "line.h"

#define UNROLL _Pragma("GCC unroll 16")
#define VEC __m256i
#define ZERO() _mm256_setzero_si256()
#define LOAD_SUMS(p) _mm256_load_si256((const __m256i *)(p))
#define LOAD_WEIGHTS(p) _mm256_load_si256((const __m256i *)(p))
#define ADD(a, b) _mm256_add_epi32(a, b)
#ifdef __AVXVNNI__
#define DOT_WORDS(acc, w, x) _mm256_dpwssd_avx_epi32(acc, w, x)
#else
#define DOT_WORDS(acc, w, x) _mm256_add_epi32(acc, _mm256_madd_epi16(w, x))
#endif
#define BROADCAST(p) broadcast_dword(p)
#define LANES 8
#define VECTORS 2
#define CHANNELS (LANES * VECTORS)
#define COLUMNS 0
/* Sixteen registers: 12 sums, 2 vectors of weights, an input, a product. Measured on conv2 of the paper's network:
 * 4 x 2 74 GMAC/s, 6 x 2 79, 3 x 3 71. */
#define PIXELS 6
#define SPLITS 4
#define TILES(TILE) \
    TILE(1, 1, 4) TILE(2, 1, 4) TILE(4, 1, 2) TILE(6, 1, 1) \
    TILE(1, 2, 4) TILE(2, 2, 2) TILE(3, 2, 1) TILE(4, 2, 1) TILE(5, 2, 1) TILE(6, 2, 1)
#define EVEN_TILES 1

ALWAYS_INLINE __m256i broadcast_dword(const void *p)
{
    int32_t v;
    memcpy(&v, p, sizeof v);
    return _mm256_set1_epi32(v);
}

/* The upper bound comes with packing, which saturates. */
ALWAYS_INLINE __m256i shift_and_floor(__m256i acc, const simd_requant *requant)
{
    const __m256i shifted = _mm256_srav_epi32(acc, _mm256_set1_epi32(requant->out_shift));
    return _mm256_max_epi32(shifted, _mm256_set1_epi32(requant->low));
}

/* The constants of eight channels: rescale() of common.h on vectors. */
typedef struct {
    __m256i even, odd; /* multipliers of the lanes of that parity, in the low half of 64 bits */
    __m256i left, right, mask, half_mask;
    __m256i low, high, zero_point;
} rescaling;

ALWAYS_INLINE rescaling load_rescaling(const simd_requant *requant, ptrdiff_t channel)
{
    rescaling r;
    r.even = _mm256_load_si256((const __m256i *)(requant->multiplier + channel));
    r.odd = _mm256_srli_epi64(r.even, 32);
    r.left = _mm256_load_si256((const __m256i *)(requant->left + channel));
    r.right = _mm256_load_si256((const __m256i *)(requant->right + channel));
    r.mask = _mm256_sub_epi32(_mm256_sllv_epi32(_mm256_set1_epi32(1), r.right), _mm256_set1_epi32(1));
    r.half_mask = _mm256_srli_epi32(r.mask, 1);
    r.low = _mm256_set1_epi32(requant->low - requant->zero_point);
    r.high = _mm256_set1_epi32(requant->high - requant->zero_point);
    r.zero_point = _mm256_set1_epi32(requant->zero_point);
    return r;
}

ALWAYS_INLINE __m256i rescale_lanes(__m256i acc, const rescaling *r)
{
    const __m256i half = _mm256_set1_epi64x(INT64_C(1) << 30), x = _mm256_sllv_epi32(acc, r->left);
    const __m256i even = _mm256_add_epi64(_mm256_mul_epi32(x, r->even), half);
    const __m256i odd = _mm256_add_epi64(_mm256_mul_epi32(_mm256_srli_epi64(x, 32), r->odd), half);
    const __m256i product = _mm256_blend_epi32(_mm256_srli_epi64(even, 31), _mm256_slli_epi64(odd, 1), 0xaa);
    const __m256i rest = _mm256_and_si256(product, r->mask);
    const __m256i most = _mm256_sub_epi32(r->half_mask, _mm256_srai_epi32(product, 31));
    const __m256i v = _mm256_sub_epi32(_mm256_srav_epi32(product, r->right), _mm256_cmpgt_epi32(rest, most));
    return _mm256_add_epi32(_mm256_min_epi32(_mm256_max_epi32(v, r->low), r->high), r->zero_point);
}

/* SIMD_AFFINE_NEAR: the double of a sum makes the product one of whole dwords, and the zero point goes into what rounds. */
typedef struct {
    __m256i even, odd, right, rounding, low, high;
} near_rescaling;

ALWAYS_INLINE near_rescaling load_near(const simd_requant *requant, ptrdiff_t channel)
{
    near_rescaling r;
    r.even = _mm256_load_si256((const __m256i *)(requant->multiplier + channel));
    r.odd = _mm256_srli_epi64(r.even, 32);
    r.right = _mm256_load_si256((const __m256i *)(requant->right + channel));
    const __m256i twice = _mm256_set1_epi32(2 * requant->zero_point + 1);
    r.rounding = _mm256_srai_epi32(_mm256_sllv_epi32(twice, r.right), 1);
    r.low = _mm256_set1_epi32(requant->low);
    r.high = _mm256_set1_epi32(requant->high);
    return r;
}

/* Without bounds. Shuffles rather than shifts: multiplications keep the ports of those busy. */
ALWAYS_INLINE __m256i rescale_only(__m256i acc, const near_rescaling *r)
{
    const __m256i half = _mm256_set1_epi64x(INT64_C(1) << 31), x = _mm256_slli_epi32(acc, 1);
    const __m256i even = _mm256_add_epi64(_mm256_mul_epi32(x, r->even), half);
    const __m256i odd = _mm256_add_epi64(_mm256_mul_epi32(_mm256_shuffle_epi32(x, 0xf5), r->odd), half);
    const __m256i product = _mm256_blend_epi32(_mm256_shuffle_epi32(even, 0xf5), odd, 0xaa);
    const __m256i sum = _mm256_add_epi32(_mm256_add_epi32(product, r->rounding), _mm256_srai_epi32(product, 31));
    return _mm256_srav_epi32(sum, r->right);
}

ALWAYS_INLINE __m256i rescale_near(__m256i acc, const near_rescaling *r)
{
    return _mm256_min_epi32(_mm256_max_epi32(rescale_only(acc, r), r->low), r->high);
}
#define NEAR near_rescaling
#define LOAD_NEAR(requant, channel) load_near(requant, channel)
#define RESCALING rescaling
#define LOAD_RESCALING(requant, channel) load_rescaling(requant, channel)

/* Stores the first n elements of a vector; memcpy of a constant size becomes one store. */
ALWAYS_INLINE void store_some(void *out, __m256i v, int n, int full, int size)
{
    int16_t spill[16];
    if (n >= full && full * size == 8)
        _mm_storel_epi64(out, _mm256_castsi256_si128(v));
    else if (n >= full && full * size == 16)
        _mm_storeu_si128(out, _mm256_castsi256_si128(v));
    else if (n >= full)
        _mm256_storeu_si256(out, v);
    else if (n > 0) {
        _mm256_storeu_si256((__m256i *)spill, v);
        memcpy(out, spill, (size_t)(n * size));
    }
}

ALWAYS_INLINE __m256i bytes_of(__m256i words)
{
    return _mm256_permute4x64_epi64(_mm256_packs_epi16(words, words), 0x88);
}
/* Eight sums to words 0..7. */
ALWAYS_INLINE __m256i words_of(__m256i acc) { return _mm256_permute4x64_epi64(_mm256_packs_epi32(acc, acc), 0x88); }

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

ALWAYS_INLINE __m256i bounded(__m256i words, __m256i low, __m256i high)
{
    words = _mm256_max_epi16(words, _mm256_packs_epi32(low, low));
    return _mm256_min_epi16(words, _mm256_packs_epi32(high, high));
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

ALWAYS_INLINE void store_both(int8_t *out, __m256i first, __m256i second, const simd_requant *requant, int n)
{
    const __m256i low = _mm256_set1_epi32(requant->low), high = _mm256_set1_epi32(requant->high);
    const __m256i words = bounded(_mm256_packs_epi32(first, second), low, high);
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 0, 4, 1, 5);
    store_some(out, _mm256_permutevar8x32_epi32(_mm256_packs_epi16(words, words), order), n, 2 * LANES, 1);
}

/* ---- q7 convolution ---- */
#define FN(name) q7_##name
#define T int8_t
#define HAS_AFFINE 1
#define Q7_STORE(out, acc, requant, n) store_some(out, bytes_of(words_of(shift_and_floor(acc, requant))), n, LANES, 1)
#define Q7_STORE_AFFINE(out, acc, r, n) store_some(out, bytes_of(words_of(rescale_lanes(acc, r))), n, LANES, 1)
#define Q7_STORE_NEAR(out, acc, r, n) store_some(out, bytes_of(words_of(rescale_near(acc, r))), n, LANES, 1)
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
#include "pool.template.h"
#include "rows.template.h"
#include "pair.template.h"
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
#include "pool.template.h"
#include "rows.template.h"
#include "pair.template.h"
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
