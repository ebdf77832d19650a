/* SPDX-License-Identifier: Apache-2.0 */
#include "line.h"

#include <math.h>
#include <stdlib.h>

#define BYTES 256
#define PAIRS (BYTES * BYTES)
#define SHIFT_MAX 18

static double factor(const simd_rescaling *r) { return ldexp(r->multiplier, r->left - r->right - 31); }

/* a * 2^bits and so on; 0 where 16 or 32 bits do not hold them. `more` makes the factors larger, `nudge` the constant. */
static int set_line(simd_line *line, const simd_pair *p, double a, double b, int shift, double more, int nudge)
{
    const double one = ldexp(1, shift + SIMD_LINE_BITS);
    const int32_t mask = (1 << SIMD_LINE_BITS) - 1;
    a *= 1 + more;
    b *= 1 + more;
    const int64_t of_a = llround(a * one), of_b = llround(b * one);
    const int64_t c = llround((p->out.zero_point + 0.5 - (a * p->a.zero_point + b * p->b.zero_point)) * one) + nudge;
    const int64_t a_high = of_a >> SIMD_LINE_BITS, b_high = of_b >> SIMD_LINE_BITS, c_high = c >> SIMD_LINE_BITS;
    if (a_high != (int16_t)a_high || b_high != (int16_t)b_high || c_high > INT32_MAX / 2 || c_high < INT32_MIN / 2)
        return 0;
    line->high = (int32_t)((uint32_t)(uint16_t)a_high | (uint32_t)(uint16_t)b_high << 16);
    line->low = (int32_t)(((uint32_t)of_a & (uint32_t)mask) | ((uint32_t)of_b & (uint32_t)mask) << 16);
    line->c_high = (int32_t)c_high;
    line->c_low = (int32_t)(c & mask);
    line->shift = shift;
    line->lowest = p->low;
    line->highest = p->high;
    return 1;
}

void simd_find_line(simd_pair *p, void (*pair_of)(int, const simd_pair *, const void *, const void *, void *, size_t, size_t))
{
    /* Halves that are rounded away from zero want more than the factor, what the first roundings lose wants a nudge. */
    static const double more[] = {0x1p-24, 0, 0x1p-22, 0x1p-20, 0x1p-18, -0x1p-24};
    static const int nudges[] = {0, 1, -1, 4, -4, 16, -16, 64, -64};
    const double a = ldexp(factor(&p->a) * factor(&p->out), p->left_shift);
    const double b = ldexp(factor(&p->b) * factor(&p->out), p->left_shift) * p->sign;
    const double most = fmax(fabs(a), fabs(b));
    p->is_line = 0;
    if (!(most > 0x1p-8 && most < 0x1p7))
        return;
    const int shift = (int)fmin(SHIFT_MAX, floor(log2(INT16_MAX / most)));
    int8_t *const bytes = malloc(4 * PAIRS);
    if (!bytes)
        return;
    int8_t *const x = bytes, *const y = x + PAIRS, *const expected = y + PAIRS, *const found = expected + PAIRS;
    for (int i = 0; i < PAIRS; i++) {
        x[i] = (int8_t)(i % BYTES - 128);
        y[i] = (int8_t)(i / BYTES - 128);
    }
    pair_of(SIMD_ADD, p, x, y, expected, PAIRS, PAIRS);
    for (size_t m = 0; m < sizeof more / sizeof *more && !p->is_line; m++)
        for (size_t n = 0; n < sizeof nudges / sizeof *nudges && !p->is_line; n++) {
            if (!set_line(&p->line, p, a, b, shift, more[m], nudges[n]))
                continue;
            p->is_line = 1;
            pair_of(SIMD_ADD, p, x, y, found, PAIRS, PAIRS);
            p->is_line = !memcmp(found, expected, PAIRS);
        }
    free(bytes);
}
