/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CMSISNN_X_SIMD_COMMON_H
#define CMSISNN_X_SIMD_COMMON_H

#include <stdint.h>
#include <string.h>

#include "simd.h"

#if defined(_MSC_VER) && !defined(__clang__)
#define ALWAYS_INLINE static __forceinline
#define NEVER_INLINE static __declspec(noinline)
#else
#define ALWAYS_INLINE static inline __attribute__((always_inline))
#define NEVER_INLINE static __attribute__((noinline))
#endif
#define CXN_CAT_(a, b) a##b
#define CXN_CAT(a, b) CXN_CAT_(a, b)

ALWAYS_INLINE ptrdiff_t min_ptrdiff(ptrdiff_t a, ptrdiff_t b) { return a < b ? a : b; }
ALWAYS_INLINE ptrdiff_t max_ptrdiff(ptrdiff_t a, ptrdiff_t b) { return a > b ? a : b; }
ALWAYS_INLINE size_t round_up(size_t n, size_t step) { return (n + step - 1) / step * step; }

/* What the sum of a channel starts from, modulo 2^32. */
ALWAYS_INLINE uint32_t initial_sum(const simd_geometry *g, const void *bias, ptrdiff_t channel)
{
    uint32_t b = 0;
    if (bias)
        b = g->weight_bits == 8 ? (uint32_t)((const int8_t *)bias)[channel]
                                : (uint32_t)((const int16_t *)bias)[channel];
    return (b << g->requant.bias_shift) + (g->requant.out_shift ? UINT32_C(1) << (g->requant.out_shift - 1) : 0);
}

ALWAYS_INLINE int16_t plain_weight(const void *weights, int weight_bits, ptrdiff_t i)
{
    return weight_bits == 8 ? ((const int8_t *)weights)[i] : ((const int16_t *)weights)[i];
}

/* The output of a finished sum. */
ALWAYS_INLINE int32_t requantise(uint32_t sum, const simd_requant *requant, ptrdiff_t channel)
{
    const int32_t v = (int32_t)sum >> requant->out_shift;
    (void)channel;
    return v < requant->low ? requant->low : v > requant->high ? requant->high : v;
}

ALWAYS_INLINE void fill_words(int16_t *to, int32_t fill, ptrdiff_t n)
{
    if (fill == 0)
        memset(to, 0, (size_t)n * 2);
    else
        for (ptrdiff_t i = 0; i < n; i++)
            to[i] = (int16_t)fill;
}

#endif
