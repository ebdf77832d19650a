/* SPDX-License-Identifier: Apache-2.0 */
/*
 * im2col into packed columns, for cores without the DSP extension: element k of three windows a, b, c shares two words,
 *     x[2 k] = a + 2^21 b        x[2 k + 1] = c + 2^11 b                         modulo 2^32
 * so that two products by a weight are three. Over CXN_SEGMENT elements, 64 at most, sums of products of 8 bits fit 21 bits, and
 *     p = A + 2^21 B,  q = C + 2^11 B:  A is what the low 21 bits of p say, the rest are 11 bits of B; without these q is C, in 22 bits, and the
 *     other 10 bits of B.
 * 64 products of -128 by -128 are 2^20, one too many: A and B start at -1.
 *
 * Blocks are two output channels of three pixels; the last three overlap those before, so there must be three at least, in every call on a
 * band too.
 * Scratch: CXN_COLUMN * 8 bytes, CXN_COLUMN = KERNEL_H * KERNEL_W * IN_CH rounded up to even, and KERNEL_W * IN_CH bytes of padding.
 */
#define CXN_COLUMN CXN_ROUND_UP(CXN_TAPS, 2)
#define CXN_LOWERING_BYTES (CXN_COLUMN * 8 + CXN_GET(KERNEL_W) * CXN_GET(IN_CH))
CXN_STATIC_ASSERT(CXN_GET(SCRATCH_BYTES) >= CXN_LOWERING_BYTES, packed_scratch);
#if CXN_IS_BAND
#define CXN_PIXELS (CXN_OUT_ROWS * CXN_GET(OUT_W))
#define CXN_PIXELS_MOST (CXN_GET(BAND) * CXN_GET(OUT_W))
#define CXN_OVERLAPS (CXN_GET(OUT_W) % 3) /* whether the last three may begin before those that came before end */
#define CXN_OVERLAP (pixel - (CXN_PIXELS - 3))
#else
#define CXN_PIXELS (CXN_GET(OUT_H) * CXN_GET(OUT_W))
#define CXN_PIXELS_MOST CXN_PIXELS
#define CXN_OVERLAPS (CXN_PIXELS % 3)
#define CXN_OVERLAP (3 - CXN_PIXELS % 3)
#endif
#define CXN_SEGMENT 64
#define CXN_SEGMENTS ((CXN_COLUMN + CXN_SEGMENT - 1) / CXN_SEGMENT)
#define CXN_LAST_SEGMENT (CXN_COLUMN - (CXN_SEGMENTS - 1) * CXN_SEGMENT)

#if CXN_BR != 2 || CXN_BC != 3 || CXN_GET(IM2COL_COLS) != 3 || CXN_GET(LOWERING) != CXN_LOWERING_IM2COL || CXN_GET(FUSED_POOL)
#error "COLUMN_LAYOUT: CXN_COLUMN_LAYOUT_PACKED needs blocks of 2x3, IM2COL_COLS 3, CXN_LOWERING_IM2COL and FUSED_POOL 0"
#endif
#if CXN_GET(IN_BITS) != 8 || CXN_W_BYTES != 1 || CXN_GET(WEIGHT_LAYOUT) != CXN_WEIGHT_LAYOUT_INTERLEAVED
#error "COLUMN_LAYOUT: CXN_COLUMN_LAYOUT_PACKED needs 8-bit input and weights and CXN_WEIGHT_LAYOUT_INTERLEAVED"
#endif
#if CXN_PIXELS_MOST < 3
#error "COLUMN_LAYOUT: CXN_COLUMN_LAYOUT_PACKED needs three output pixels or more"
#endif

#if CXN_SEGMENTS > 1
#define CXN_B_NAME CXN_LOCAL(segment)
#define CXN_RUN CXN_SEGMENT
#include "dot_packed.h"
#undef CXN_RUN
#endif
#define CXN_B_NAME CXN_LOCAL(last_segment)
#define CXN_RUN CXN_LAST_SEGMENT
#include "dot_packed.h"
#undef CXN_RUN

/* `count` elements of three columns. */
CXN_NOINLINE uint32_t *CXN_LOCAL(pack)(uint32_t *CXN_RESTRICT to, const int8_t *a, const int8_t *b, const int8_t *c, int32_t count)
{
    CXN_UNROLL_LOOP(4)
    for (int32_t k = 0; k < count; k++) {
        const int32_t second = b[k];
        *to++ = (uint32_t)a[k] + ((uint32_t)second << 21);
        *to++ = (uint32_t)c[k] + ((uint32_t)second << 11);
    }
    return to;
}

/* The windows of the pixel at at[0], at[1], that is x, y, and of the next two; `at` moves behind them. */
CXN_INLINE void CXN_LOCAL(windows)(uint32_t *to, const int8_t *input, const int8_t *padding, int32_t *at CXN_ROWS_PARAMETER)
{
    int32_t top[3], left[3];
    CXN_UNROLL_LOOP(1)
    for (int32_t i = 0; i < 3; i++) {
        top[i] = at[1] * CXN_GET(STRIDE_Y) - CXN_PAD_ROWS;
        left[i] = at[0] * CXN_GET(STRIDE_X) - CXN_GET(PAD_LEFT);
        if (++at[0] == CXN_GET(OUT_W)) {
            at[0] = 0;
            at[1]++;
        }
    }
    CXN_UNROLL_LOOP(1)
    for (int32_t m = 0; m < CXN_GET(KERNEL_H); m++) {
        const int8_t *from[3];
        int32_t cut = 0;
        CXN_UNROLL_LOOP(1)
        for (int32_t i = 0; i < 3; i++) {
            const int32_t row = top[i] + m;
            from[i] = input + (row * CXN_GET(IN_W) + left[i]) * CXN_GET(IN_CH);
#if CXN_CLIPPED
            if (CXN_IS_OUTSIDE(row))
                from[i] = NULL;
            else if (left[i] < 0 || left[i] > CXN_GET(IN_W) - CXN_GET(KERNEL_W))
                cut = 1;
#endif
        }
#if CXN_CLIPPED
        if (cut) {
            CXN_UNROLL_LOOP(1)
            for (int32_t n = 0; n < CXN_GET(KERNEL_W); n++) {
                const int8_t *tap[3];
                CXN_UNROLL_LOOP(1)
                for (int32_t i = 0; i < 3; i++) {
                    const int32_t column = left[i] + n;
                    const int32_t outside = from[i] == NULL || column < 0 || column >= CXN_GET(IN_W);
                    tap[i] = outside ? padding : from[i] + n * CXN_GET(IN_CH);
                }
                to = CXN_LOCAL(pack)(to, tap[0], tap[1], tap[2], CXN_GET(IN_CH));
            }
            continue;
        }
        CXN_UNROLL_LOOP(1)
        for (int32_t i = 0; i < 3; i++)
            if (from[i] == NULL)
                from[i] = padding;
#else
        (void)cut, (void)padding;
#endif
        to = CXN_LOCAL(pack)(to, from[0], from[1], from[2], CXN_GET(KERNEL_W) * CXN_GET(IN_CH));
    }
}

/* The three sums of one channel, A and B less 1, are added to `sum`. */
CXN_INLINE void CXN_LOCAL(unpack)(int32_t *sum, int32_t p, int32_t q)
{
    const int32_t a = (int32_t)((uint32_t)p << 11) >> 11;
    const uint32_t above = (uint32_t)p - (uint32_t)a, rest = (uint32_t)q - (above >> 10);
    const int32_t c = (int32_t)(rest << 10) >> 10;
    sum[0] += a;
    sum[1] += ((int32_t)(rest - (uint32_t)c) >> 11) + (int32_t)(above >> 21);
    sum[2] += c;
}

/* One output channel or two, of three pixels. */
CXN_INLINE void CXN_LOCAL(block)(const uint32_t *x, const int8_t *w, const CXN_CHANNEL_T *channel, CXN_OUT_T *out, int32_t rows)
{
    int32_t sum[6] = {CXN_SEGMENTS, CXN_SEGMENTS, 0, CXN_SEGMENTS, CXN_SEGMENTS, 0};
    enum { first = -(1 << 21) - 1, second = -(1 << 11) };
#if CXN_SEGMENTS > 1
    CXN_UNROLL_LOOP(1)
    for (int32_t s = 0; s < CXN_SEGMENTS - 1; s++, w += 2 * CXN_SEGMENT, x += 2 * CXN_SEGMENT) {
        int32_t acc[4] = {first, second, first, second};
        CXN_LOCAL(segment)(acc, w, x);
        CXN_LOCAL(unpack)(sum, acc[0], acc[1]);
        CXN_LOCAL(unpack)(sum + 3, acc[2], acc[3]);
    }
#endif
    int32_t acc[4] = {first, second, first, second};
    CXN_LOCAL(last_segment)(acc, w, x);
    CXN_LOCAL(unpack)(sum, acc[0], acc[1]);
    CXN_LOCAL(unpack)(sum + 3, acc[2], acc[3]);
    CXN_UNROLL_LOOP(2)
    for (int32_t r = 0; r < rows; r++) {
        CXN_FACTOR_T factor = CXN_FACTOR(channel + r);
        const int32_t init = CXN_ACC_INIT(channel + r);
        CXN_UNROLL_LOOP(3)
        for (int32_t c = 0; c < 3; c++)
            CXN_LOCAL(store)(out + c * CXN_GET(OUT_CH) + r, CXN_REQUANTISE((int32_t)((uint32_t)init + (uint32_t)sum[3 * r + c]), factor));
    }
}

CXN_KERNEL_FN void CXN_KERNEL(const CXN_IN_T *CXN_ALONE input, const CXN_W_T *CXN_RESTRICT weights,
                              const CXN_CHANNEL_T *CXN_RESTRICT channels, CXN_OUT_T *CXN_ALONE output, void *CXN_RESTRICT scratch CXN_ROWS_PARAMETER)
{
    uint32_t *const columns = (uint32_t *)scratch;
    int8_t *const padding = (int8_t *)(columns + 2 * CXN_COLUMN);
    int32_t at[2] = {0, 0};
#if CXN_CLIPPED
    CXN_MEMSET(padding, CXN_PAD_FILL, CXN_GET(KERNEL_W) * CXN_GET(IN_CH));
#endif
#if CXN_TAPS % 2
    columns[2 * CXN_TAPS] = columns[2 * CXN_TAPS + 1] = 0;
#endif
    for (int32_t pixel = 0; pixel < CXN_PIXELS; pixel += 3) {
#if CXN_OVERLAPS
        if (pixel > CXN_PIXELS - 3) {
            CXN_UNROLL_LOOP(2)
            for (int32_t back = 0; back < CXN_OVERLAP; back++)
                if (--at[0] < 0) {
                    at[0] = CXN_GET(OUT_W) - 1;
                    at[1]--;
                }
            pixel = CXN_PIXELS - 3;
#if CXN_GET(IN_PLACE)
            CXN_MEMCPY(padding, output + pixel * CXN_GET(OUT_CH), CXN_GET(OUT_CH));
#endif
        }
#endif
        CXN_LOCAL(windows)(columns, input, padding, at CXN_ROWS_ARGUMENT);
        const int8_t *w = weights;
        CXN_OUT_T *const out = output + pixel * CXN_GET(OUT_CH);
        int32_t o = 0;
        for (; o < CXN_GET(OUT_CH) - 1; o += 2, w += 2 * CXN_COLUMN)
            CXN_LOCAL(block)(columns, w, channels + o, out + o, 2);
#if CXN_GET(OUT_CH) % 2
        CXN_LOCAL(block)(columns, w, channels + o, out + o, 1);
#endif
    }
#if CXN_GET(IN_PLACE) && CXN_OVERLAPS
    /* What the last three were computed from began with an output, which stays what it was; windows of one pixel need no padding. */
    CXN_MEMCPY(output + (CXN_PIXELS - 3) * CXN_GET(OUT_CH), padding, CXN_GET(OUT_CH));
#endif
}

#undef CXN_COLUMN
#undef CXN_PIXELS
#undef CXN_PIXELS_MOST
#undef CXN_OVERLAPS
#undef CXN_OVERLAP
#undef CXN_SEGMENT
#undef CXN_SEGMENTS
#undef CXN_LAST_SEGMENT
