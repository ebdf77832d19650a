/* SPDX-License-Identifier: Apache-2.0 */
/* Portable C. The windows of PIXELS pixels are gathered into columns, so that every sum is one long int16 product, the shape that
 * compilers turn into their target's multiply-add (PMADDWD on any x86-64). */
#include "common.h"
#include "four_rows.h"

#define LT int16_t
#define PW int16_t
#define KG 1
#define LANES 1
#define CHANNELS 1
#define PIXELS 4
#define COLUMNS PIXELS
#define CORRECTION 0
#define LOWER_FILL(dst, n) memset(dst, 0, (size_t)(n) * 2)

ALWAYS_INLINE void widen_bytes(int16_t *restrict to, const int8_t *restrict from, ptrdiff_t n)
{
    for (ptrdiff_t i = 0; i < n; i++)
        to[i] = from[i];
}

#define DW_LANES 16
#define DW_TAPS 1
#define DW_PIXELS 1
#define DW_SLOT(c) (c)

#define STRIP                                                                                                                  \
    static void FN(strip)(const FN(job) *job, T *out, ptrdiff_t pixels)                                                        \
    {                                                                                                                          \
        const ptrdiff_t depth = (ptrdiff_t)job->rows * job->groups;                                                            \
        const int32_t high = sizeof(T) == 1 ? INT8_MAX : INT16_MAX;                                                            \
        const int32_t low = job->low == 0 ? 0 : -high - 1;                                                                     \
        int16_t *columns = job->columns;                                                                                       \
        const void *const windows[PIXELS] = {columns, columns + depth, columns + 2 * depth, columns + 3 * depth};              \
        for (ptrdiff_t i = 0; i < pixels; i += PIXELS) {                                                                       \
            const ptrdiff_t valid = min_ptrdiff(pixels - i, PIXELS);                                                           \
            for (ptrdiff_t p = 0; p < PIXELS; p++)                                                                             \
                for (ptrdiff_t r = 0; r < job->rows; r++)                                                                      \
                    memcpy(columns + p * depth + r * job->groups, job->in + job->offsets[i + p] + r * job->pitch,              \
                           (size_t)job->groups * sizeof(int16_t));                                                             \
            for (ptrdiff_t oc = 0; oc < job->out_ch; oc++) {                                                                   \
                const uint32_t start = (uint32_t)job->sums[oc];                                                                \
                uint32_t sums[PIXELS] = {start, start, start, start};                                                          \
                four_rows_w16(job->weights + oc * depth, windows, depth, sums);                                                \
                for (ptrdiff_t p = 0; p < valid; p++)                                                                          \
                    out[(i + p) * job->out_ch + oc] = (T)clamp_shifted(sums[p], job->shift, low, high);                        \
            }                                                                                                                  \
        }                                                                                                                      \
    }                                                                                                                          \
                                                                                                                               \
    static void FN(dw_tile)(const FN(dw_job) *job, const int16_t *in, const ptrdiff_t *offsets, const int16_t *weights,        \
                            const int32_t *sums, T *out, int pixels, int channels)                                             \
    {                                                                                                                          \
        const int32_t high = sizeof(T) == 1 ? INT8_MAX : INT16_MAX;                                                            \
        const int32_t low = job->low == 0 ? 0 : -high - 1;                                                                     \
        uint32_t acc[DW_LANES];                                                                                                \
        T result[DW_LANES];                                                                                                    \
        (void)pixels;                                                                                                          \
        memcpy(acc, sums, sizeof acc);                                                                                         \
        for (ptrdiff_t t = 0; t < job->steps; t++) {                                                                           \
            const int16_t *from = in + offsets[0] + job->taps[t], *w = weights + t * DW_LANES;                                 \
            for (int c = 0; c < DW_LANES; c++)                                                                                 \
                acc[c] += (uint32_t)((int32_t)from[c] * w[c]);                                                                 \
        }                                                                                                                      \
        for (int c = 0; c < DW_LANES; c++)                                                                                     \
            result[c] = (T)clamp_shifted(acc[c], job->shift, low, high);                                                       \
        memcpy(out, result, (size_t)channels * sizeof(T));                                                                     \
    }

/* ---- q7 ---- */
#define FN(name) q7_##name
#define T int8_t
#define LOWER_ROW(dst, src, n) widen_bytes(dst, src, n)
#include "lower.template.h"
#include "convolve.template.h"
#include "depthwise.template.h"
#include "pool.template.h"
#include "rows.template.h"
STRIP
#undef FN
#undef T
#undef LOWER_ROW

/* ---- q15 ---- */
#define FN(name) q15_##name
#define T int16_t
#define LOWER_ROW(dst, src, n) memcpy(dst, src, (size_t)(n) * 2)
#include "lower.template.h"
#include "convolve.template.h"
#include "depthwise.template.h"
#include "pool.template.h"
#include "rows.template.h"
STRIP

#define TABLE_NAME simd_portable
#define TABLE_TEXT "portable"
#define DEPTHWISE_Q7(name) q7_##name
#include "table.h"
