/* SPDX-License-Identifier: Apache-2.0 */
/* The sum of two int8 tensors in four multiplications of 16 bits, where that gives the bytes of the three roundings that
 * are meant (pair.template.h): affine/linear.py has tried all 65536 pairs of bytes.
 *
 *   out = clamp((x * a + y * b + c) >> (shift + 12)),   a, b, c = high * 2^12 + low
 */
#ifndef CMSISNN_X_SIMD_LINE_H
#define CMSISNN_X_SIMD_LINE_H

#include "common.h"

#ifdef __AVX2__
#include <immintrin.h>

ALWAYS_INLINE __m256i line_of(const simd_line *p, __m256i both)
{
    const __m256i high = _mm256_madd_epi16(both, _mm256_set1_epi32(p->high));
    const __m256i low = _mm256_madd_epi16(both, _mm256_set1_epi32(p->low));
    const __m256i carried = _mm256_srai_epi32(_mm256_add_epi32(low, _mm256_set1_epi32(p->c_low)), SIMD_LINE_BITS);
    const __m256i sum = _mm256_add_epi32(_mm256_add_epi32(high, _mm256_set1_epi32(p->c_high)), carried);
    return _mm256_srav_epi32(sum, _mm256_set1_epi32(p->shift));
}

/* Sixteen bytes; the order within 128 bits that unpacking makes, packing undoes. */
ALWAYS_INLINE void line_vector(const simd_line *p, __m128i x, __m128i y, int8_t *out)
{
    const __m256i a = _mm256_cvtepi8_epi16(x), b = _mm256_cvtepi8_epi16(y);
    __m256i words = _mm256_packs_epi32(line_of(p, _mm256_unpacklo_epi16(a, b)), line_of(p, _mm256_unpackhi_epi16(a, b)));
    words = _mm256_max_epi16(words, _mm256_set1_epi16((int16_t)p->lowest));
    words = _mm256_min_epi16(words, _mm256_set1_epi16((int16_t)p->highest));
    const __m256i bytes = _mm256_permute4x64_epi64(_mm256_packs_epi16(words, words), 0x88);
    _mm_storeu_si128((__m128i *)out, _mm256_castsi256_si128(bytes));
}
#endif

/* `step` 0 repeats the first element of b. */
ALWAYS_INLINE void line_run(const simd_line *plan, const int8_t *restrict a, const int8_t *b, int8_t *restrict out,
                            ptrdiff_t n, const ptrdiff_t step)
{
    const simd_line p = *plan;
    ptrdiff_t i = 0;
#ifdef __AVX2__
    for (; i <= n - 16; i += 16) {
        const __m128i x = _mm_loadu_si128((const __m128i *)(a + i));
        line_vector(&p, x, step ? _mm_loadu_si128((const __m128i *)(b + i)) : _mm_set1_epi8(b[0]), out + i);
    }
#endif
    const int32_t a_high = (int16_t)p.high, b_high = p.high >> 16, a_low = (int16_t)p.low, b_low = p.low >> 16;
    for (; i < n; i++) {
        const int32_t x = a[i], y = b[i * step];
        const int32_t carried = (x * a_low + y * b_low + p.c_low) >> SIMD_LINE_BITS;
        out[i] = (int8_t)clamp((x * a_high + y * b_high + p.c_high + carried) >> p.shift, p.lowest, p.highest);
    }
}

#endif
