/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The walk of pool.h in vectors (Helium), a vector of neighbouring channels at a time over a window, which is written out up to 25 pixels:
 * asm/pool_strip_helium.h has the largest of whole windows of up to 4 x 4, asm/average_strip_helium.h averages of all that are written out.
 * The largest are of elements as they lie in memory; sums of at most 256 bytes fit 16 bits, others are of 32. Columns that neighbouring windows share
 * are loaded again. The last vector overlaps the one before it; of fewer channels than it has, lanes beyond them
 * are loaded as zeros and not stored.
 */
#include "helium_element.h"

/* Channels of a vector. */
#if defined(CXN_POOL_IS_MAX)
#define CXN_POOL_VECTOR (128 / CXN_GET(IN_BITS))
#elif CXN_AVG_PACKED && CXN_GET(IN_CH) >= 16
#define CXN_POOL_VECTOR 16
#else
#define CXN_POOL_VECTOR 8
#endif
#if CXN_GET(IN_CH) < CXN_POOL_VECTOR
#define CXN_POOL_PARTIAL 1
#define CXN_POOL_LANES(type) "vctp." type " %[lanes]\n\t"
#define CXN_POOL_SOME(type) "vpst\n\tvldrbt" type
#else
#define CXN_POOL_PARTIAL 0
#define CXN_POOL_LANES(type)
#define CXN_POOL_SOME(type) "vldrb" type
#endif

#if CXN_POOL_PIXEL * CXN_GET(IN_BITS) / 8 <= 127
#define CXN_POOL_ON(load) load ", #" CXN_STRING(CXN_GET(IN_CH)) "*" CXN_STRING(CXN_GET(IN_BITS)) "/8\n\t"
#else
#define CXN_POOL_ON(load) load "\n\tadd %[p], %[p], %[pixel]\n\t"
#endif
#define CXN_POOL_TIMES_1(text) text
#define CXN_POOL_TIMES_2(text) text text
#define CXN_POOL_TIMES_3(text) text text text
#define CXN_POOL_TIMES_4(text) text text text text
#define CXN_POOL_TIMES_5(text) CXN_POOL_TIMES_4(text) text
#define CXN_POOL_TIMES_6(text) CXN_POOL_TIMES_4(text) text text
#define CXN_POOL_TIMES_7(text) CXN_POOL_TIMES_4(text) text text text
#define CXN_POOL_TIMES_8(text) CXN_POOL_TIMES_4(text) CXN_POOL_TIMES_4(text)
/* One time less. */
#define CXN_POOL_LESS_1(text)
#define CXN_POOL_LESS_2(text) text
#define CXN_POOL_LESS_3(text) text text
#define CXN_POOL_LESS_4(text) text text text
#define CXN_POOL_LESS_5(text) CXN_POOL_TIMES_4(text)
#define CXN_POOL_LESS_6(text) CXN_POOL_TIMES_5(text)
#define CXN_POOL_LESS_7(text) CXN_POOL_TIMES_6(text)
#define CXN_POOL_LESS_8(text) CXN_POOL_TIMES_7(text)
#define CXN_POOL_REPEAT(times, text) CXN_PASTE2(CXN_POOL_TIMES_, times)(text)
/* Whole windows that are written out. */
#if CXN_POOL_KERNEL_H <= 8 && CXN_POOL_KERNEL_W <= 8 && CXN_POOL_KERNEL_H * CXN_POOL_KERNEL_W <= 25
#define CXN_POOL_STRAIGHT 1
#else
#define CXN_POOL_STRAIGHT 0
#endif
#define CXN_POOL_PIXEL_BYTES (CXN_POOL_PIXEL * (CXN_GET(IN_BITS) / 8))
#define CXN_POOL_ROW_BYTES (CXN_POOL_ROW * (CXN_GET(IN_BITS) / 8))

#if defined(CXN_POOL_IS_MAX)
#if CXN_GET(IN_BITS) == 8
#define CXN_POOL_TAP CXN_POOL_ON(CXN_POOL_SOME(".8") " q1, [%[p]]") "vmax.s8 %q[a], %q[a], q1\n\t"
#else
#define CXN_POOL_TAP CXN_POOL_ON(CXN_POOL_SOME(".8") " q1, [%[p]]") "vmax.s16 %q[a], %q[a], q1\n\t"
#endif
#define CXN_POOL_BEGIN CXN_POOL_LANES("8")
#elif CXN_AVG_PACKED && CXN_GET(IN_CH) >= 16
#define CXN_POOL_BEGIN
#define CXN_POOL_TAP \
    "vldrb.s16 q1, [%[p], #8]\n\tvadd.i16 %q[b], %q[b], q1\n\t" \
    CXN_POOL_ON("vldrb.s16 q1, [%[p]]") "vadd.i16 %q[a], %q[a], q1\n\t"
#elif CXN_AVG_PACKED
#define CXN_POOL_BEGIN CXN_POOL_LANES("16")
#define CXN_POOL_TAP CXN_POOL_ON(CXN_POOL_SOME(".s16") " q1, [%[p]]") "vadd.i16 %q[a], %q[a], q1\n\t"
#else
/* A product by one widens the even ones, where additions wait for each other. */
#if CXN_GET(IN_BITS) == 8
#define CXN_POOL_BEGIN CXN_POOL_LANES("16") "vmov.i16 q3, #1\n\t"
#define CXN_POOL_GET CXN_POOL_ON(CXN_POOL_SOME(".s16") " q1, [%[p]]")
#else
#define CXN_POOL_BEGIN CXN_POOL_LANES("8") "vmov.i16 q3, #1\n\t"
#define CXN_POOL_GET CXN_POOL_ON(CXN_POOL_SOME(".8") " q1, [%[p]]")
#endif
#define CXN_POOL_TAP \
    CXN_POOL_GET "vmullb.s16 q2, q1, q3\n\tvmovlt.s16 q1, q1\n\tvadd.i32 %q[b], %q[b], q1\n\tvadd.i32 %q[a], %q[a], q2\n\t"
#endif

/* Where they are not all: bytes, or elements that are widened. */
#if defined(CXN_POOL_IS_MAX) || CXN_GET(IN_BITS) == 16
#define CXN_POOL_FILLED CXN_POOL_PIXEL_BYTES
#else
#define CXN_POOL_FILLED CXN_GET(IN_CH)
#endif

/* The state of a vector over a window of rows x columns, all inside the image. */
CXN_INLINE int16x8_t CXN_LOCAL(over)(const CXN_IN_T *input, int rows, int columns, int16x8_t a, int16x8_t *more, int is_full)
{
    int16x8_t b = *more;
    const void *p = input;
    (void)is_full;
#if CXN_POOL_STRAIGHT
    if (is_full) {
        __asm__ volatile(
            CXN_POOL_BEGIN CXN_POOL_REPEAT(CXN_POOL_KERNEL_W, CXN_POOL_TAP)
            CXN_PASTE2(CXN_POOL_LESS_, CXN_POOL_KERNEL_H)("add %[p], %[p], %[row]\n\t" CXN_POOL_REPEAT(CXN_POOL_KERNEL_W, CXN_POOL_TAP))
            : [a] "+w"(a), [b] "+w"(b), [p] "+l"(p)
            : [pixel] "r"(CXN_POOL_PIXEL_BYTES), [lanes] "r"(CXN_POOL_FILLED),
              [row] "r"(CXN_POOL_ROW_BYTES - CXN_POOL_KERNEL_W * CXN_POOL_PIXEL_BYTES)
            : CXN_CLOBBERS_VPR "q1", "q2", "q3", "memory");
        *more = b;
        return a;
    }
#endif
    for (int y = 0; y < rows; y++) {
        __asm__ volatile(CXN_POOL_BEGIN "wls lr, %[columns], 2f\n\t.p2align 2\n1:\n\t" CXN_POOL_TAP "le lr, 1b\n2:\n\t"
                         : [a] "+w"(a), [b] "+w"(b), [p] "+l"(p)
                         : [pixel] "r"(CXN_POOL_PIXEL_BYTES), [lanes] "r"(CXN_POOL_FILLED), [columns] "r"(columns)
                         : CXN_CLOBBERS_VPR "q1", "q2", "q3", "lr", "cc", "memory");
        p = (const uint8_t *)p + (CXN_POOL_ROW_BYTES - columns * CXN_POOL_PIXEL_BYTES);
    }
    *more = b;
    return a;
}

#if defined(CXN_POOL_IS_MAX)

/* A vector of channels of a window of rows x columns pixels, all inside the image. */
CXN_INLINE void CXN_LOCAL(some)(const CXN_IN_T *input, CXN_OUT_T *output, int rows, int columns, uint32_t scale, int is_full CXN_POOL_MORE_PARAMETER)
{
    int16x8_t none = vdupq_n_s16(0);
    int8x16_t most = CXN_GET(IN_BITS) == 8 ? vdupq_n_s8(-128) : vreinterpretq_s8_s16(vdupq_n_s16(-32768));
    (void)scale;
#if CXN_GET(OPEN_ROWS)
    if (more) {
#if CXN_POOL_PARTIAL
        most = vldrbq_z_s8((const int8_t *)(const void *)output, vctp8q(cxn_lanes(CXN_POOL_PIXEL_BYTES)));
#else
        most = vldrbq_s8((const int8_t *)(const void *)output);
#endif
    }
#endif
    most = vreinterpretq_s8_s16(CXN_LOCAL(over)(input, rows, columns, vreinterpretq_s16_s8(most), &none, is_full));
#if CXN_GET(SCHEME) == CXN_SCHEME_AFFINE && !CXN_FULL_RANGE
#if CXN_GET(IN_BITS) == 8
    most = CXN_LOCAL(clamp_bytes)(most);
#else
    most = vreinterpretq_s8_s16(CXN_LOCAL(clamp_halves)(vreinterpretq_s16_s8(most)));
#endif
#endif
#if CXN_POOL_PARTIAL
    vstrbq_p_s8((int8_t *)(void *)output, most, vctp8q(cxn_lanes(CXN_POOL_PIXEL_BYTES)));
#else
    vstrbq_s8((int8_t *)(void *)output, most);
#endif
}
#else
#define CXN_AVG_COUNT (CXN_POOL_KERNEL_H * CXN_POOL_KERNEL_W)
#include "helium_average.h"

CXN_INLINE void CXN_LOCAL(some)(const CXN_IN_T *input, CXN_OUT_T *output, int rows, int columns, uint32_t scale, int is_full)
{
    int32x4_t even, odd;
    int16x8_t more = vdupq_n_s16(0);
    const int16x8_t sum = CXN_LOCAL(over)(input, rows, columns, more, &more, is_full);
#if CXN_AVG_PACKED
    even = vmovlbq_s16(sum);
    odd = vmovltq_s16(sum);
#else
    even = vreinterpretq_s32_s16(sum);
    odd = vreinterpretq_s32_s16(more);
#endif
    CXN_LOCAL(average)(output, even, odd, rows * columns, scale, CXN_MIN(CXN_GET(IN_CH), 8), is_full);
#if CXN_POOL_VECTOR == 16
    CXN_LOCAL(average)(output + 8, vmovlbq_s16(more), vmovltq_s16(more), rows * columns, scale, 8, is_full);
#endif
}
#endif

CXN_INLINE void CXN_LOCAL(window)(const CXN_IN_T *input, CXN_OUT_T *output, int rows, int columns, int is_full CXN_POOL_MORE_PARAMETER)
{
    const uint32_t scale = CXN_LOCAL(scale)(rows * columns);
    if (columns == CXN_POOL_IN_W && !(CXN_POOL_STRAIGHT && is_full)) { /* pixels that lie one behind the other */
        columns *= rows;
        rows = 1;
    }
#if CXN_POOL_PARTIAL
    CXN_LOCAL(some)(input, output, rows, columns, scale, is_full CXN_POOL_MORE_ARGUMENT);
#else
    for (int c = 0; c < CXN_GET(IN_CH); c += CXN_POOL_VECTOR) {
        const int at = CXN_MIN(c, CXN_GET(IN_CH) - CXN_POOL_VECTOR);
        CXN_LOCAL(some)(input + at, output + at, rows, columns, scale, is_full CXN_POOL_MORE_ARGUMENT);
    }
#endif
}

#define CXN_POOL_CLIPS_COLUMNS (CXN_POOL_LOW > 0 || CXN_POOL_HIGH < CXN_POOL_OUT_W)

#if defined(CXN_POOL_IS_MAX) && CXN_POOL_KERNEL_H <= 4 && CXN_POOL_KERNEL_W <= 4
#include "asm/pool_strip_helium.h"
#elif !defined(CXN_POOL_IS_MAX) && CXN_POOL_STRAIGHT
#include "asm/average_strip_helium.h"
#else
#define CXN_POOL_ALONG_ROWS 0
#define CXN_POOL_ALONG_CHANNELS 0
#endif

#if CXN_POOL_ALONG_ROWS || CXN_POOL_ALONG_CHANNELS
/* Of a row's windows CXN_POOL_LOW .. CXN_POOL_HIGH - 1, or of one window. */
CXN_INLINE void CXN_LOCAL(strips)(const CXN_IN_T *input, CXN_OUT_T *output)
{
#if CXN_POOL_PARTIAL
    CXN_LOCAL(strip)(input, output, CXN_POOL_HIGH - CXN_POOL_LOW);
#elif CXN_POOL_ALONG_ROWS
    for (int c = 0; c < CXN_GET(IN_CH); c += CXN_POOL_VECTOR) {
        const int at = CXN_MIN(c, CXN_GET(IN_CH) - CXN_POOL_VECTOR);
        CXN_LOCAL(strip)(input + at, output + at, CXN_POOL_HIGH - CXN_POOL_LOW);
    }
#else
    CXN_LOCAL(strip)(input, output, CXN_GET(IN_CH) / CXN_POOL_VECTOR);
    if (CXN_GET(IN_CH) % CXN_POOL_VECTOR) {
        CXN_LOCAL(strip)(input + CXN_GET(IN_CH) - CXN_POOL_VECTOR, output + CXN_GET(IN_CH) - CXN_POOL_VECTOR, 1);
    }
#endif
}
#endif

/* A row of windows with `rows` rows; `row` is the first pixel of the first of them. Returns where the next row goes. */
CXN_INLINE CXN_OUT_T *CXN_LOCAL(line)(const CXN_IN_T *row, CXN_OUT_T *output, int rows CXN_POOL_MORE_PARAMETER)
{
    CXN_UNROLL_LOOP(1)
    for (int x = 0; x < CXN_POOL_OUT_W; x++) {
#if CXN_POOL_ALONG_ROWS
        if (x == CXN_POOL_LOW && (!CXN_POOL_CLIPS_ROWS || rows == CXN_POOL_KERNEL_H)) {
            CXN_LOCAL(strips)(row + (x * CXN_POOL_STRIDE_X - CXN_POOL_PAD_LEFT) * CXN_POOL_PIXEL, output);
            output += (CXN_POOL_HIGH - CXN_POOL_LOW) * CXN_GET(OUT_CH);
            x = CXN_POOL_HIGH - 1;
            continue;
        }
#endif
        const int left = x * CXN_POOL_STRIDE_X - CXN_POOL_PAD_LEFT;
        const int x_low = CXN_MAX(left, 0);
        const int columns = CXN_MIN(left + CXN_POOL_KERNEL_W, CXN_POOL_IN_W) - x_low;
        const CXN_IN_T *const first = row + x_low * CXN_POOL_PIXEL;
        if ((!CXN_POOL_CLIPS_ROWS || rows == CXN_POOL_KERNEL_H) && (!CXN_POOL_CLIPS_COLUMNS || columns == CXN_POOL_KERNEL_W)) {
#if CXN_POOL_ALONG_CHANNELS
            CXN_LOCAL(strips)(first, output);
#elif !CXN_POOL_ALONG_ROWS
            CXN_LOCAL(window)(first, output, CXN_POOL_KERNEL_H, CXN_POOL_KERNEL_W, 1 CXN_POOL_MORE_ARGUMENT);
#endif
        } else {
            CXN_LOCAL(window)(first, output, rows, columns, 0 CXN_POOL_MORE_ARGUMENT);
        }
        output += CXN_GET(OUT_CH);
    }
    return output;
}

#if !defined(CXN_POOL_FUSED)
CXN_KERNEL_FN void CXN_KERNEL(const CXN_IN_T *CXN_RESTRICT input, CXN_OUT_T *CXN_RESTRICT output, void *scratch CXN_ROWS_PARAMETER)
{
    (void)scratch;
    for (int y = 0; y < CXN_POOL_OUT_ROWS; y++) {
        const int top = y * CXN_POOL_STRIDE_Y - CXN_POOL_PAD_ROWS;
        const int y_low = CXN_MAX(top, 0);
        const int rows = CXN_MIN(top + CXN_POOL_KERNEL_H, CXN_POOL_IN_ROWS) - y_low;
        output = CXN_LOCAL(line)(input + y_low * CXN_POOL_ROW, output, rows CXN_POOL_IS_MORE(top));
    }
}
#endif

#undef CXN_POOL_ON
#undef CXN_POOL_TIMES_1
#undef CXN_POOL_TIMES_2
#undef CXN_POOL_TIMES_3
#undef CXN_POOL_TIMES_4
#undef CXN_POOL_LESS_1
#undef CXN_POOL_LESS_2
#undef CXN_POOL_LESS_3
#undef CXN_POOL_LESS_4
#undef CXN_POOL_TIMES_5
#undef CXN_POOL_TIMES_6
#undef CXN_POOL_TIMES_7
#undef CXN_POOL_TIMES_8
#undef CXN_POOL_LESS_5
#undef CXN_POOL_LESS_6
#undef CXN_POOL_LESS_7
#undef CXN_POOL_LESS_8
#undef CXN_POOL_REPEAT
#undef CXN_POOL_STRAIGHT
#undef CXN_POOL_PIXEL_BYTES
#undef CXN_POOL_ROW_BYTES
#undef CXN_POOL_TAP
#undef CXN_POOL_BEGIN
#undef CXN_POOL_GET
#undef CXN_AVG_COUNT
#undef CXN_POOL_VECTOR
#undef CXN_POOL_PARTIAL
#undef CXN_POOL_LANES
#undef CXN_POOL_SOME
#undef CXN_POOL_FILLED
#undef CXN_POOL_CLIPS_COLUMNS
#undef CXN_POOL_ALONG_ROWS
#undef CXN_POOL_ALONG_CHANNELS
#undef CXN_POOL_STEP
#undef CXN_POOL_OUT_STEP
