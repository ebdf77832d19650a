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

/* What the sum of a channel starts from, modulo 2^32, before weights come in. */
ALWAYS_INLINE uint32_t initial_sum(const simd_geometry *g, const void *bias, ptrdiff_t channel)
{
    uint32_t b = 0;
    if (g->requant.kind != SIMD_POW2)
        return bias ? (uint32_t)((const int32_t *)bias)[channel] : 0;
    if (bias)
        b = g->weight_bits == 8 ? (uint32_t)((const int8_t *)bias)[channel]
                                : (uint32_t)((const int16_t *)bias)[channel];
    return (b << g->requant.bias_shift) + (g->requant.out_shift ? UINT32_C(1) << (g->requant.out_shift - 1) : 0);
}

ALWAYS_INLINE int16_t plain_weight(const void *weights, int weight_bits, ptrdiff_t i)
{
    return weight_bits == 8 ? ((const int8_t *)weights)[i] : ((const int16_t *)weights)[i];
}

/* What of the inputs is in the sums: the zero point, which is subtracted from every input. */
ALWAYS_INLINE int32_t zero_point_of(const simd_requant *requant)
{
    return requant->kind == SIMD_POW2 ? 0 : requant->fill;
}

ALWAYS_INLINE int32_t clamp(int32_t v, int32_t low, int32_t high) { return v < low ? low : v > high ? high : v; }

/* x * 2^left * multiplier / 2^31, halves up, then / 2^right, halves away from zero. The first product wraps. */
ALWAYS_INLINE int32_t rescale(uint32_t x, int32_t multiplier, int32_t left, int32_t right)
{
    const int64_t product = (int64_t)(int32_t)(x << left) * multiplier;
    const int32_t high = (int32_t)((product + (INT64_C(1) << 30)) >> 31);
    const int32_t mask = (int32_t)((UINT32_C(1) << right) - 1);
    return (high >> right) + ((high & mask) > (mask >> 1) + (high < 0));
}

/* The nearest integer of sum * real, halves away from zero; -2^31 for all that 32 bits do not hold, as x86 has it. */
ALWAYS_INLINE int32_t real_times(double sum, double real)
{
    volatile const double product = sum * real; /* rounded once: part of no fused multiply-add */
    const double v = product;
    if (!(v > -2147483648.5 && v < 2147483647.5))
        return INT32_MIN;
    const int64_t whole = (int64_t)v;
    const double rest = v - (double)whole;
    return (int32_t)(whole + (rest >= 0.5) - (rest <= -0.5));
}

/* The output of a finished sum; `affine` is a constant wherever it counts. */
ALWAYS_INLINE int32_t requantise_as(uint32_t sum, const simd_requant *requant, ptrdiff_t channel, const int affine)
{
    if (!affine)
        return clamp((int32_t)sum >> requant->out_shift, requant->low, requant->high);
    if (requant->kind == SIMD_AFFINE_FLOAT) {
        const uint32_t moved = (uint32_t)real_times((int32_t)sum, requant->real[channel]) + (uint32_t)requant->zero_point;
        return clamp((int32_t)moved, requant->low, requant->high);
    }
    const int32_t v = rescale(sum, requant->multiplier[channel], requant->left[channel], requant->right[channel]);
    /* Clamped first, so that nothing wraps. */
    return clamp(v, requant->low - requant->zero_point, requant->high - requant->zero_point) + requant->zero_point;
}

/* ---- constants of channels in packed weights: sums, and behind them multipliers, shifts, factors ---- */

ALWAYS_INLINE size_t constants_bytes(const simd_requant *requant, size_t sums_bytes)
{
    return sums_bytes * (requant->kind == SIMD_POW2 ? 1 : requant->kind == SIMD_AFFINE_FLOAT ? 6 : 4);
}

/* Those of `channel` to their place. */
ALWAYS_INLINE void pack_constants(const simd_requant *requant, void *packed, size_t sums_bytes, ptrdiff_t place,
                                  ptrdiff_t channel)
{
    char *const to = (char *)packed + sums_bytes;
    if (requant->kind == SIMD_POW2)
        return;
    ((int32_t *)(void *)to)[place] = requant->multiplier[channel];
    ((int32_t *)(void *)(to + sums_bytes))[place] = requant->left[channel];
    ((int32_t *)(void *)(to + 2 * sums_bytes))[place] = requant->right[channel];
    if (requant->kind == SIMD_AFFINE_FLOAT)
        ((double *)(void *)(to + 3 * sums_bytes))[place] = requant->real[channel];
}

/* The scheme with the constants that lie there. */
ALWAYS_INLINE simd_requant packed_requant(const simd_requant *requant, const void *packed, size_t sums_bytes)
{
    const char *const from = (const char *)packed + sums_bytes;
    simd_requant own = *requant;
    if (requant->kind != SIMD_POW2) {
        own.multiplier = (const int32_t *)(const void *)from;
        own.left = (const int32_t *)(const void *)(from + sums_bytes);
        own.right = (const int32_t *)(const void *)(from + 2 * sums_bytes);
        own.real = (const double *)(const void *)(from + 3 * sums_bytes);
    }
    return own;
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
