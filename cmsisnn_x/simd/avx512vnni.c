/* SPDX-License-Identifier: Apache-2.0 */
/* AVX-512 with VNNI: VPDPBUSD for int8 (four products per lane), VPDPWSSD for int16 (two); both accumulate modulo 2^32.
 * A second table has AMX, which takes over int8 convolution. */
#include <immintrin.h>

#include "common.h"
#include "four_rows.h"
#include "line.h"

#define UNROLL _Pragma("GCC unroll 16")
#define VEC __m512i
#define ZERO() _mm512_setzero_si512()
#define LOAD_SUMS(p) _mm512_load_si512(p)
#define LOAD_WEIGHTS(p) _mm512_load_si512(p)
#define ADD(a, b) _mm512_add_epi32(a, b)
#define LANES 16
#define VECTORS 2
#define CHANNELS (LANES * VECTORS)
#define COLUMNS 0
#define PIXELS 12
/* 24 accumulators cover the latency (5) of two VNNI units and leave registers for weights and one input. Measured on
 * conv2 of the paper's network: 8 x 2 342 GMAC/s, 12 x 2 361, 14 x 2 346, 6 x 4 171 (half its vectors idle at 32
 * channels). */
#define SPLITS 4
#define TILES(TILE)                                                                                                  \
    TILE(1, 1, 4)                                                                                                    \
    TILE(2, 1, 4) TILE(4, 1, 2) TILE(8, 1, 2) TILE(12, 1, 1) TILE(1, 2, 4) TILE(2, 2, 4) TILE(4, 2, 2) TILE(8, 2, 1) \
        TILE(12, 2, 1)

ALWAYS_INLINE __m512i broadcast_dword(const void *p)
{
    int32_t v;
    memcpy(&v, p, sizeof v);
    return _mm512_set1_epi32(v);
}

ALWAYS_INLINE __mmask16 first_lanes(int n) { return n >= LANES ? 0xffff : n <= 0 ? 0 : (__mmask16)((1u << n) - 1); }

/* The upper bound comes with packing, which saturates. */
ALWAYS_INLINE __m512i shift_and_floor(__m512i acc, const simd_requant *requant)
{
    const __m512i shifted = _mm512_srav_epi32(acc, _mm512_set1_epi32(requant->out_shift));
    return _mm512_max_epi32(shifted, _mm512_set1_epi32(requant->low));
}

/* The constants of 16 channels: rescale() of common.h on vectors. */
typedef struct {
    __m512i even, odd; /* multipliers of the lanes of that parity, in the low half of 64 bits */
    __m512i left, right, mask, half_mask;
    __m512i low, high, zero_point;
} rescaling;

ALWAYS_INLINE rescaling load_rescaling(const simd_requant *requant, ptrdiff_t channel)
{
    rescaling r;
    r.even = _mm512_load_si512(requant->multiplier + channel);
    r.odd = _mm512_srli_epi64(r.even, 32);
    r.left = _mm512_load_si512(requant->left + channel);
    r.right = _mm512_load_si512(requant->right + channel);
    r.mask = _mm512_sub_epi32(_mm512_sllv_epi32(_mm512_set1_epi32(1), r.right), _mm512_set1_epi32(1));
    r.half_mask = _mm512_srli_epi32(r.mask, 1);
    r.low = _mm512_set1_epi32(requant->low - requant->zero_point);
    r.high = _mm512_set1_epi32(requant->high - requant->zero_point);
    r.zero_point = _mm512_set1_epi32(requant->zero_point);
    return r;
}

ALWAYS_INLINE __m512i rescale_lanes(__m512i acc, const rescaling *r)
{
    const __m512i half = _mm512_set1_epi64(INT64_C(1) << 30), x = _mm512_sllv_epi32(acc, r->left);
    const __m512i even = _mm512_add_epi64(_mm512_mul_epi32(x, r->even), half);
    const __m512i odd = _mm512_add_epi64(_mm512_mul_epi32(_mm512_srli_epi64(x, 32), r->odd), half);
    const __m512i product =
        _mm512_mask_blend_epi32(0xaaaa, _mm512_srli_epi64(even, 31), _mm512_slli_epi64(odd, 1));
    const __m512i most = _mm512_sub_epi32(r->half_mask, _mm512_srai_epi32(product, 31));
    const __mmask16 up = _mm512_cmpgt_epi32_mask(_mm512_and_si512(product, r->mask), most);
    const __m512i down = _mm512_srav_epi32(product, r->right);
    const __m512i v = _mm512_mask_sub_epi32(down, up, down, _mm512_set1_epi32(-1));
    return _mm512_add_epi32(_mm512_min_epi32(_mm512_max_epi32(v, r->low), r->high), r->zero_point);
}

/* SIMD_AFFINE_NEAR: the double of a sum makes the product one of whole dwords, and the zero point goes into what rounds. */
typedef struct {
    __m512i even, odd, right, rounding, low, high;
} near_rescaling;

ALWAYS_INLINE near_rescaling load_near(const simd_requant *requant, ptrdiff_t channel)
{
    near_rescaling r;
    r.even = _mm512_load_si512(requant->multiplier + channel);
    r.odd = _mm512_srli_epi64(r.even, 32);
    r.right = _mm512_load_si512(requant->right + channel);
    const __m512i twice = _mm512_set1_epi32(2 * requant->zero_point + 1);
    r.rounding = _mm512_srai_epi32(_mm512_sllv_epi32(twice, r.right), 1);
    r.low = _mm512_set1_epi32(requant->low);
    r.high = _mm512_set1_epi32(requant->high);
    return r;
}

ALWAYS_INLINE __m512i rescale_near(__m512i acc, const near_rescaling *r)
{
    const __m512i half = _mm512_set1_epi64(INT64_C(1) << 31), x = _mm512_slli_epi32(acc, 1);
    const __m512i even = _mm512_add_epi64(_mm512_mul_epi32(x, r->even), half);
    const __m512i odd = _mm512_add_epi64(_mm512_mul_epi32(_mm512_srli_epi64(x, 32), r->odd), half);
    const __m512i product = _mm512_mask_shuffle_epi32(odd, 0x5555, even, (_MM_PERM_ENUM)0xf5);
    const __m512i sum = _mm512_add_epi32(_mm512_add_epi32(product, r->rounding), _mm512_srai_epi32(product, 31));
    return _mm512_min_epi32(_mm512_max_epi32(_mm512_srav_epi32(sum, r->right), r->low), r->high);
}
#define NEAR near_rescaling
#define LOAD_NEAR(requant, channel) load_near(requant, channel)
#define RESCALING rescaling
#define LOAD_RESCALING(requant, channel) load_rescaling(requant, channel)

#define BROADCAST(p) broadcast_dword(p)

/* Depthwise: pairs of taps interleaved by 16-bit unpacks, which keep 128-bit lanes apart; packing sums undoes it. */
#define DW_SUMS depthwise_sums
#define DW_LANES 32
#define DW_TAPS 2
#define DW_PIXELS 4
#define DW_SLOT(c) ((c) % 8 / 4 * 16 + (c) / 8 * 4 + (c) % 4)

ALWAYS_INLINE void depthwise_sums(const ptrdiff_t *taps, ptrdiff_t steps, const int16_t *in, const ptrdiff_t *offsets,
                                  const int16_t *weights, const int32_t *sums, __m512i (*acc)[2])
{
    const int16_t *from[DW_PIXELS];
    UNROLL
    for (int p = 0; p < DW_PIXELS; p++) {
        from[p] = in + offsets[p];
        acc[p][0] = _mm512_load_si512(sums);
        acc[p][1] = _mm512_load_si512(sums + 16);
    }
    for (ptrdiff_t s = 0; s < steps; s++, taps += 2, weights += 64) {
        const __m512i w0 = _mm512_load_si512(weights), w1 = _mm512_load_si512(weights + 32);
        UNROLL
        for (int p = 0; p < DW_PIXELS; p++) {
            const __m512i a = _mm512_loadu_si512(from[p] + taps[0]), b = _mm512_loadu_si512(from[p] + taps[1]);
            acc[p][0] = _mm512_dpwssd_epi32(acc[p][0], w0, _mm512_unpacklo_epi16(a, b));
            acc[p][1] = _mm512_dpwssd_epi32(acc[p][1], w1, _mm512_unpackhi_epi16(a, b));
        }
    }
}

ALWAYS_INLINE __m512i depthwise_pack(const __m512i *acc, const simd_requant *requant)
{
    return _mm512_packs_epi32(shift_and_floor(acc[0], requant), shift_and_floor(acc[1], requant));
}

ALWAYS_INLINE __mmask32 first_channels(int n) { return n >= 32 ? 0xffffffff : ((__mmask32)1 << n) - 1; }

/* ---- q7: inputs plus 128, so that they are unsigned; -128 * (sum of weights) goes into the sums ---- */
#define FN(name) q7_##name
#define T int8_t
#define LT uint8_t
#define PW int8_t
#define KG 4
#define CORRECTION 128
#define LOWER_FILL(dst, fill, n) memset(dst, (fill) ^ 0x80, (size_t)(n))
#define LOWER_ROW(dst, src, n) offset_bytes(dst, src, n)
#define DOT(acc, w, x) _mm512_dpbusd_epi32(acc, x, w)
#define HAS_AFFINE 1
#define STORE(out, acc, requant, n) store_q7(out, shift_and_floor(acc, requant), n)
#define STORE_AFFINE(out, acc, r, n) store_q7(out, rescale_lanes(acc, r), n)
#define STORE_NEAR(out, acc, r, n) store_q7(out, rescale_near(acc, r), n)

ALWAYS_INLINE void offset_bytes(uint8_t *restrict to, const int8_t *restrict from, ptrdiff_t n)
{
    const __m512i flip = _mm512_set1_epi8(-128);
    ptrdiff_t i = 0;
    for (; i <= n - 64; i += 64)
        _mm512_storeu_si512(to + i, _mm512_xor_si512(_mm512_loadu_si512(from + i), flip));
    if (i < n) {
        const __mmask64 rest = ((__mmask64)1 << (n - i)) - 1;
        _mm512_mask_storeu_epi8(to + i, rest, _mm512_xor_si512(_mm512_maskz_loadu_epi8(rest, from + i), flip));
    }
}

ALWAYS_INLINE void store_q7(int8_t *out, __m512i result, int n)
{
    const __m128i v = _mm512_cvtsepi32_epi8(result);
    if (n >= LANES)
        _mm_storeu_si128((__m128i *)out, v);
    else
        _mm_mask_storeu_epi8(out, first_lanes(n), v);
}

#include "lower.template.h"
#include "convolve.template.h"
#include "tile.template.h"
#include "pool.template.h"
#include "rows.template.h"
#include "pair.template.h"
#undef LT
#undef LOWER_FILL
#undef LOWER_ROW
#undef FN

#define FN(name) q7w_##name
#define LT int16_t
#define LOWER_FILL(dst, fill, n) fill_words(dst, fill, n)
#define LOWER_ROW(dst, src, n) widen_bytes(dst, src, n)
#define DW_STORE_NEAR(out, acc, r, n)                          \
    _mm256_mask_storeu_epi8(out, first_channels(n),            \
                            _mm512_cvtsepi16_epi8(_mm512_packs_epi32(rescale_near((acc)[0], r), \
                                                                     rescale_near((acc)[1], (r) + 1))))
#define DW_STORE_AFFINE(out, acc, r, n)                        \
    _mm256_mask_storeu_epi8(out, first_channels(n),            \
                            _mm512_cvtsepi16_epi8(_mm512_packs_epi32(rescale_lanes((acc)[0], r), \
                                                                     rescale_lanes((acc)[1], (r) + 1))))
#define DW_STORE(out, acc, requant, n) \
    _mm256_mask_storeu_epi8(out, first_channels(n), _mm512_cvtsepi16_epi8(depthwise_pack(acc, requant)))

ALWAYS_INLINE void widen_bytes(int16_t *restrict to, const int8_t *restrict from, ptrdiff_t n)
{
    ptrdiff_t i = 0;
    for (; i <= n - 32; i += 32)
        _mm512_storeu_si512(to + i, _mm512_cvtepi8_epi16(_mm256_loadu_si256((const __m256i *)(from + i))));
    for (; i < n; i++)
        to[i] = from[i];
}

#include "lower.template.h"
#include "depthwise.template.h"
#include "depthwise_tile.template.h"
#undef T
#undef LT
#undef PW
#undef KG
#undef CORRECTION
#undef LOWER_FILL
#undef LOWER_ROW
#undef DOT
#undef HAS_AFFINE
#undef STORE
#undef DW_STORE
#undef FN

/* ---- q15 ---- */
#define FN(name) q15_##name
#define T int16_t
#define LT int16_t
#define PW int16_t
#define KG 2
#define CORRECTION 0
#define LOWER_FILL(dst, fill, n) fill_words(dst, fill, n)
#define LOWER_ROW(dst, src, n) memcpy(dst, src, (size_t)(n) * 2)
#define DOT(acc, w, x) _mm512_dpwssd_epi32(acc, w, x)
#define HAS_AFFINE 0
#define STORE(out, acc, requant, n) store_q15(out, acc, requant, n)
#define DW_STORE(out, acc, requant, n) \
    _mm512_mask_storeu_epi16(out, first_channels(n), depthwise_pack(acc, requant))

ALWAYS_INLINE void store_q15(int16_t *out, __m512i acc, const simd_requant *requant, int n)
{
    const __m256i v = _mm512_cvtsepi32_epi16(shift_and_floor(acc, requant));
    if (n >= LANES)
        _mm256_storeu_si256((__m256i *)out, v);
    else
        _mm256_mask_storeu_epi16(out, first_lanes(n), v);
}

#include "lower.template.h"
#include "convolve.template.h"
#include "tile.template.h"
#include "depthwise.template.h"
#include "pool.template.h"
#include "rows.template.h"
#include "pair.template.h"
#include "depthwise_tile.template.h"

#define DEPTHWISE_Q7(name) q7w_##name
#define TABLE_NAME simd_avx512vnni
#define TABLE_TEXT "avx512vnni"
#include "table.h"

#ifdef __AMX_INT8__
#undef FN
#undef T
#undef LT
#undef PW
#undef KG
#undef CORRECTION
#undef LOWER_FILL
#undef LOWER_ROW
#undef TABLE_NAME
#undef TABLE_TEXT
#undef CONVOLVE_Q7
#include "amx.h"
#define TABLE_NAME simd_amx
#define TABLE_TEXT "amx"
#define CONVOLVE_Q7(name) amx_or_vnni_##name
#include "table.h"
#endif
