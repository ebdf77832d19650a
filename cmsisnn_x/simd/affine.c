/* SPDX-License-Identifier: Apache-2.0 */
#include "affine.h"

#include "common.h"

int simd_is_near(const simd_requant *requant, const int8_t *weights, const int32_t *bias, ptrdiff_t channels,
                 ptrdiff_t depth, int depthwise)
{
    const int64_t most = INT64_C(1) << 30;
    for (ptrdiff_t c = 0; c < channels; c++) {
        int64_t reach = bias ? bias[c] < 0 ? -(int64_t)bias[c] : bias[c] : 0;
        if (requant->left[c] || requant->right[c] < 1 || requant->right[c] > SIMD_NEAR_SHIFT)
            return 0;
        for (ptrdiff_t k = 0; k < depth; k++) {
            const int32_t w = depthwise ? weights[k * channels + c] : weights[c * depth + k];
            reach += 255 * (w < 0 ? -w : w);
        }
        if (reach >= most)
            return 0;
    }
    return 1;
}

/* ---- to another scale ---- */

#define REQUANTISE(in_t, out_t)                                                                          \
    static void requantise_##in_t##_##out_t(const simd_requantisation *plan, const in_t *restrict in,    \
                                            out_t *restrict out, size_t count)                           \
    {                                                                                                    \
        const simd_requantisation p = *plan;                                                             \
        const int32_t low = p.low - p.zero_point, high = p.high - p.zero_point;                          \
        for (size_t i = 0; i < count; i++) {                                                             \
            const uint32_t x = (uint32_t)in[i] - (uint32_t)p.in.zero_point;                              \
            const int32_t is_below = (int32_t)x < 0;                                                     \
            const int32_t multiplier = is_below ? p.below.multiplier : p.in.multiplier;                  \
            const int32_t left = is_below ? p.below.left : p.in.left;                                    \
            const int32_t v = rescale(x, multiplier, left, is_below ? p.below.right : p.in.right);       \
            out[i] = (out_t)(clamp(v, low, high) + p.zero_point);                                        \
        }                                                                                                \
    }
#define REQUANTISE_TO(in_t) REQUANTISE(in_t, int8_t) REQUANTISE(in_t, uint8_t) REQUANTISE(in_t, int16_t)
REQUANTISE_TO(int8_t)
REQUANTISE_TO(uint8_t)
REQUANTISE_TO(int16_t)

#define REQUANTISE_FROM(in_t)                                      \
    if (p->out_type == SIMD_INT8)                                  \
        requantise_##in_t##_int8_t(p, in, out, count);             \
    else if (p->out_type == SIMD_UINT8)                            \
        requantise_##in_t##_uint8_t(p, in, out, count);            \
    else                                                           \
        requantise_##in_t##_int16_t(p, in, out, count);            \
    break

void simd_requantise(const simd_requantisation *p, const void *in, void *out, size_t count)
{
    switch (p->in_type) {
    case SIMD_INT8:
        REQUANTISE_FROM(int8_t);
    case SIMD_UINT8:
        REQUANTISE_FROM(uint8_t);
    default:
        REQUANTISE_FROM(int16_t);
    }
}

/* ---- mean ---- */

#define MEAN(T)                                                                                              \
    static void mean_##T(const simd_mean *p, const T *in, T *out, uint32_t *restrict sums)                   \
    {                                                                                                        \
        const simd_requantisation s = p->scale;                                                              \
        const uint32_t start = -(uint32_t)p->reduced * (uint32_t)s.in.zero_point;                            \
        for (size_t o = 0; o < p->outer; o++, out += p->inner) {                                             \
            for (size_t i = 0; i < p->inner; i++)                                                            \
                sums[i] = start;                                                                             \
            if (p->inner == 1) {                                                                             \
                uint32_t sum = start;                                                                        \
                for (size_t r = 0; r < p->reduced; r++)                                                      \
                    sum += (uint32_t)in[r];                                                                  \
                sums[0] = sum;                                                                               \
                in += p->reduced;                                                                            \
            } else                                                                                           \
                for (size_t r = 0; r < p->reduced; r++, in += p->inner)                                      \
                    for (size_t i = 0; i < p->inner; i++)                                                    \
                        sums[i] += (uint32_t)in[i];                                                          \
            for (size_t i = 0; i < p->inner; i++) {                                                          \
                const int32_t v = rescale(sums[i], s.in.multiplier, s.in.left, s.in.right);                  \
                out[i] = (T)(clamp(v, s.low - s.zero_point, s.high - s.zero_point) + s.zero_point);          \
            }                                                                                                \
        }                                                                                                    \
    }
MEAN(int8_t)
MEAN(int16_t)

void simd_mean_of(const simd_mean *p, const void *in, void *out, int32_t *sums)
{
    if (p->scale.in_type == SIMD_INT8)
        mean_int8_t(p, in, out, (uint32_t *)sums);
    else
        mean_int16_t(p, in, out, (uint32_t *)sums);
}

/* ---- tables ---- */

void simd_look_up_bytes(const uint8_t *in, const void *table, int entry, void *out, size_t count)
{
    if (entry == 1) {
        const uint8_t *from = table;
        uint8_t *to = out;
        for (size_t i = 0; i < count; i++)
            to[i] = from[in[i]];
    } else {
        const int16_t *from = table;
        int16_t *to = out;
        for (size_t i = 0; i < count; i++)
            to[i] = from[in[i]];
    }
}

/* ---- softmax: fixed point as gemmlowp has it ---- */

static int32_t wrapped_sum(int32_t a, int32_t b) { return (int32_t)((uint32_t)a + (uint32_t)b); }

/* (a * b + 2^30) >> 31, which two times -2^31 alone make too large. */
static int32_t high_product(int32_t a, int32_t b)
{
    return a == INT32_MIN && b == INT32_MIN ? INT32_MAX
                                            : (int32_t)(((int64_t)a * b + (INT64_C(1) << 30)) >> 31);
}

/* x / 2^n, halves away from zero. */
static int32_t rounding_divide(int32_t x, int n)
{
    const int32_t mask = (int32_t)((UINT32_C(1) << n) - 1);
    return (x >> n) + ((x & mask) > (mask >> 1) + (x < 0));
}

static int32_t saturated(int64_t x) { return x < INT32_MIN ? INT32_MIN : x > INT32_MAX ? INT32_MAX : (int32_t)x; }

/* e^a for a <= 0 in Q5.26, in Q0.31: a polynomial around -1/8 within the last quarter, then a factor per bit. */
static int32_t exponential(int32_t a)
{
    static const int32_t factors[] = {1672461947, 1302514674, 790015084, 290630308, 39332535, 720401, 242};
    if (a == 0)
        return INT32_MAX;
    const int32_t quarter = INT32_C(1) << 24, part = (a & (quarter - 1)) - quarter;
    const uint32_t rest = (uint32_t)part - (uint32_t)a;
    const int32_t x = part * 32 + (INT32_C(1) << 28), x2 = high_product(x, x);
    const int32_t inner = wrapped_sum(rounding_divide(high_product(x2, x2), 2), high_product(x2, x));
    const int32_t y = wrapped_sum(high_product(inner, 715827883), x2);
    const int32_t start = 1895147668; /* e^(-1/8) */
    int32_t result = wrapped_sum(start, high_product(start, wrapped_sum(x, rounding_divide(y, 1))));
    for (int bit = 0; bit < 7; bit++)
        if (rest >> (24 + bit) & 1)
            result = high_product(result, factors[bit]);
    return result;
}

/* 1 / (1 + a) for 0 <= a < 1, Q0.31: three steps of Newton's. */
static int32_t reciprocal(int32_t a)
{
    const int32_t half = (int32_t)(((int64_t)a + INT32_MAX + 1) / 2);
    int32_t x = wrapped_sum(1515870810, high_product(half, -1010580540));
    for (int i = 0; i < 3; i++) {
        const int32_t error = wrapped_sum(INT32_C(1) << 29, -high_product(half, x));
        x = wrapped_sum(x, saturated((int64_t)high_product(x, error) * 4));
    }
    return saturated((int64_t)x * 2);
}

void simd_softmax_table(int32_t *exponentials, int32_t multiplier, int32_t left, int32_t diff_min)
{
    for (int32_t d = 0; d < 256; d++)
        exponentials[d] =
            -d < diff_min ? 0 : exponential(high_product((int32_t)((uint32_t)-d << left), multiplier));
}

void simd_softmax_rows(const simd_softmax *p, const int8_t *in, void *out)
{
    const int32_t lowest = p->bits == 8 ? INT8_MIN : INT16_MIN, highest = -lowest - 1;
    for (size_t r = 0; r < p->rows; r++, in += p->cols) {
        int32_t most = in[0];
        uint32_t sum = 0;
        for (size_t i = 1; i < p->cols; i++)
            most = in[i] > most ? in[i] : most;
        for (size_t i = 0; i < p->cols; i++)
            sum += (uint32_t)rounding_divide(p->exponentials[most - in[i]], 12);
        int zeros = 0;
        while (zeros < 12 && !(sum << zeros >> 31))
            zeros++;
        const int32_t scale = reciprocal((int32_t)((sum << zeros) - (UINT32_C(1) << 31)));
        const int shift = 43 - zeros - p->bits; /* beyond 31, from a sum of 2^28 on, nothing reaches a half */
        for (size_t i = 0; i < p->cols; i++) {
            const int32_t scaled = high_product(scale, p->exponentials[most - in[i]]);
            const int32_t v = shift > 31 ? 0 : rounding_divide(scaled, shift);
            const int32_t y = clamp(wrapped_sum(v, lowest), lowest, highest);
            if (p->bits == 8)
                ((int8_t *)out)[r * p->cols + i] = (int8_t)y;
            else
                ((int16_t *)out)[r * p->cols + i] = (int16_t)y;
        }
    }
}

void simd_softmax_real_rows(const simd_real_softmax *p, const int8_t *in, int8_t *out)
{
    for (size_t r = 0; r < p->rows; r++, in += p->cols, out += p->cols) {
        int32_t most = in[0];
        uint32_t sum = 0;
        for (size_t i = 1; i < p->cols; i++)
            most = in[i] > most ? in[i] : most;
        for (size_t i = 0; i < p->cols; i++)
            sum += (uint32_t)p->exponentials[most - in[i]];
        for (size_t i = 0; i < p->cols; i++) {
            const uint32_t y = (((uint32_t)p->exponentials[most - in[i]] << 8) + sum / 2) / sum;
            out[i] = (int8_t)clamp((int32_t)y + p->zero_point, INT8_MIN, INT8_MAX);
        }
    }
}

/* The line between the points around 256 + x / 128. */
static int32_t between(const int16_t *points, int32_t x)
{
    const int16_t *at = points + 256 + (x >> 7);
    return at[0] + (((at[1] - at[0]) * (x & 127) + 64) >> 7);
}

void simd_softmax_wide_rows(const simd_wide_softmax *p, const int16_t *in, int16_t *out)
{
    for (size_t r = 0; r < p->rows; r++, in += p->cols, out += p->cols) {
        int32_t most = in[0];
        uint32_t sum = 0;
        for (size_t i = 1; i < p->cols; i++)
            most = in[i] > most ? in[i] : most;
        for (size_t i = 0; i < p->cols; i++) {
            const int32_t below = rescale((uint32_t)(in[i] - most), p->scale.multiplier, p->scale.left, p->scale.right);
            out[i] = (int16_t)between(p->exponentials, clamp(below, -UINT16_MAX, 0) + INT16_MAX);
            sum += (uint32_t)out[i];
        }
        int zeros = 0;
        while (zeros < 31 && !(sum << zeros >> 31))
            zeros++;
        const int32_t to_two = (int32_t)((((uint64_t)sum << (zeros - 1)) + (1 << 13)) >> 14);
        const int32_t scale = between(p->reciprocals, clamp(to_two - 3 * (1 << 15), INT16_MIN, INT16_MAX));
        for (size_t i = 0; i < p->cols; i++) {
            const int64_t product = (int64_t)out[i] * scale + (INT64_C(1) << (30 - zeros));
            out[i] = (int16_t)clamp((int32_t)(product >> (31 - zeros)), 0, INT16_MAX);
        }
    }
}

void simd_curve_of(const simd_curve *p, const int16_t *in, int16_t *out, size_t count)
{
    const int bits = p->is_tanh ? 8 : 9;
    const int32_t limit = p->is_tanh ? 0xFFFF << 8 : 0x7FFF << 10;
    for (size_t i = 0; i < count; i++) {
        const int32_t a = (int32_t)(((int64_t)in[i] * p->multiplier + (INT64_C(1) << p->shift >> 1)) >> p->shift);
        const int32_t size = a < 0 ? -a : a, at = size >> bits;
        int32_t r = limit;
        if (at < 255) {
            const int32_t here = p->points[at], next = p->points[at + 1];
            r = (here << bits) + (size & ((1 << bits) - 1)) * (next - here);
        }
        if (p->is_tanh)
            r = ((a < 0 ? (1 << 23) - r - 1 : r - (1 << 23)) + (1 << 7)) >> 8;
        else
            r = ((a < 0 ? (1 << 25) - r - 1 : r) + (1 << 9)) >> 10;
        out[i] = (int16_t)r;
    }
}

/* ---- what moves elements ---- */

/* Both ways: between an element of the view and the next one of the packed array. */
#define MOVE(T)                                                                                                 \
    static void move_##T(const simd_view *p, const T *in, T *out, const int scatter)                            \
    {                                                                                                           \
        const ptrdiff_t *n = p->shape, *s = p->steps, last = n[5], step = s[5];                                 \
        for (ptrdiff_t a = 0; a < n[0]; a++)                                                                    \
            for (ptrdiff_t b = 0; b < n[1]; b++)                                                                \
                for (ptrdiff_t c = 0; c < n[2]; c++)                                                            \
                    for (ptrdiff_t d = 0; d < n[3]; d++)                                                        \
                        for (ptrdiff_t e = 0; e < n[4]; e++) {                                                  \
                            const ptrdiff_t at = p->offset + a * s[0] + b * s[1] + c * s[2] + d * s[3] + e * s[4]; \
                            if (scatter) {                                                                      \
                                if (step == 1)                                                                  \
                                    memcpy(out + at, in, (size_t)last * sizeof(T));                             \
                                else                                                                            \
                                    for (ptrdiff_t f = 0; f < last; f++)                                        \
                                        out[at + f * step] = in[f];                                             \
                                in += last;                                                                     \
                            } else {                                                                            \
                                if (step == 1)                                                                  \
                                    memcpy(out, in + at, (size_t)last * sizeof(T));                             \
                                else                                                                            \
                                    for (ptrdiff_t f = 0; f < last; f++)                                        \
                                        out[f] = in[at + f * step];                                             \
                                out += last;                                                                    \
                            }                                                                                   \
                        }                                                                                       \
    }
MOVE(int8_t)
MOVE(int16_t)

void simd_copy(const simd_view *p, const void *in, void *out)
{
    if (p->size == 1)
        move_int8_t(p, in, out, 0);
    else
        move_int16_t(p, in, out, 0);
}

void simd_pad(const simd_view *p, const void *in, void *out)
{
    if (p->size == 1) {
        memset(out, p->fill, p->out_count);
        move_int8_t(p, in, out, 1);
    } else {
        fill_words(out, p->fill, (ptrdiff_t)p->out_count);
        move_int16_t(p, in, out, 1);
    }
}

void simd_concat(size_t inputs, const size_t *bytes, size_t rows, const void *const *in, void *out)
{
    size_t pitch = 0, at = 0;
    for (size_t k = 0; k < inputs; k++)
        pitch += bytes[k] / rows;
    for (size_t k = 0; k < inputs; k++) {
        const size_t own = bytes[k] / rows;
        for (size_t r = 0; r < rows; r++)
            memcpy((char *)out + r * pitch + at, (const char *)in[k] + r * own, own);
        at += own;
    }
}

void simd_resize_nearest(const int32_t *rows, size_t out_h, const int32_t *cols, size_t out_w, size_t bytes, size_t size,
                         const void *in, void *out)
{
    char *to = out;
    for (size_t y = 0; y < out_h; y++)
        for (size_t x = 0; x < out_w; x++, to += bytes)
            memcpy(to, (const char *)in + ((size_t)rows[y] + (size_t)cols[x]) * size, bytes);
}
