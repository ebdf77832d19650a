/* SPDX-License-Identifier: Apache-2.0 */
/* Vectors of AVX2: what kernels are made of, how sums become outputs, and how the first elements of a vector are stored.
 * Included by avx2.c and by what that includes. */
#ifndef SIMD_AVX2_VECTORS_H
#define SIMD_AVX2_VECTORS_H

#include <immintrin.h>

#include "common.h"

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

ALWAYS_INLINE __m256i bounded(__m256i words, __m256i low, __m256i high)
{
    words = _mm256_max_epi16(words, _mm256_packs_epi32(low, low));
    return _mm256_min_epi16(words, _mm256_packs_epi32(high, high));
}

ALWAYS_INLINE void store_both(int8_t *out, __m256i first, __m256i second, const simd_requant *requant, int n)
{
    const __m256i low = _mm256_set1_epi32(requant->low), high = _mm256_set1_epi32(requant->high);
    const __m256i words = bounded(_mm256_packs_epi32(first, second), low, high);
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 0, 4, 1, 5);
    store_some(out, _mm256_permutevar8x32_epi32(_mm256_packs_epi16(words, words), order), n, 2 * LANES, 1);
}

/* Sums of int8 to outputs. */
#define Q7_STORE(out, acc, requant, n) store_some(out, bytes_of(words_of(shift_and_floor(acc, requant))), n, LANES, 1)
#define Q7_STORE_AFFINE(out, acc, r, n) store_some(out, bytes_of(words_of(rescale_lanes(acc, r))), n, LANES, 1)
#define Q7_STORE_NEAR(out, acc, r, n) store_some(out, bytes_of(words_of(rescale_near(acc, r))), n, LANES, 1)

#endif /* SIMD_AVX2_VECTORS_H */
