/* SPDX-License-Identifier: Apache-2.0 */
/* Portable C. The windows of PIXELS pixels are gathered into columns, so that every sum is one long int16 product, the
 * shape that compilers turn into their target's multiply-add (PMADDWD on any x86-64). */
#include "common.h"
#include "four_rows.h"
#include "line.h"

#define LT int16_t
#define PW int16_t
#define KG 1
#define LANES 1
#define CHANNELS 1
#define PIXELS 4
#define COLUMNS PIXELS
#define CORRECTION 0
#define LOWER_FILL(dst, fill, n) fill_words(dst, fill, n)

ALWAYS_INLINE void widen_bytes(int16_t *restrict to, const int8_t *restrict from, ptrdiff_t n)
{
    for (ptrdiff_t i = 0; i < n; i++)
        to[i] = from[i];
}

/* Not inlined: GCC then knows that the sums overlap nothing, and vectorises both widths alike. */
NEVER_INLINE void multiply_add(uint32_t *restrict acc, const int16_t *restrict x, const int16_t *restrict w, int n)
{
    for (int c = 0; c < n; c++)
        acc[c] += (uint32_t)((int32_t)x[c] * w[c]);
}

#define DW_LANES 64
#define DW_TAPS 1
#define DW_PIXELS 1
#define DW_SLOT(c) (c)

/* ---- q7 ---- */
#define FN(name) q7_##name
#define T int8_t
#define LOWER_ROW(dst, src, n) widen_bytes(dst, src, n)
#include "lower.template.h"
#include "convolve.template.h"
#include "depthwise.template.h"
#include "pool.template.h"
#include "rows.template.h"
#include "pair.template.h"
#include "portable.template.h"
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
#include "pair.template.h"
#include "portable.template.h"

#define TABLE_NAME simd_portable
#define TABLE_TEXT "portable"
#define DEPTHWISE_Q7(name) q7_##name
#include "table.h"
