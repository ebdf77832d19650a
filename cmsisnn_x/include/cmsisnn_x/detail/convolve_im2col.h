/* SPDX-License-Identifier: Apache-2.0 */
/*
 * im2col: windows are widened into IM2COL_COLS columns of CXN_COLUMN elements, then all output channels of those pixels are computed.
 * Scratch: IM2COL_COLS * CXN_COLUMN * 2 bytes, CXN_COLUMN = KERNEL_H * KERNEL_W * IN_CH rounded up to even, so that columns are word aligned.
 * Interleaved columns: pairs of elements of the columns of one block alternate, so that one pointer walks through all of them.
 */
#define CXN_COLUMN CXN_ROUND_UP(CXN_TAPS, 2)
#define CXN_LOWERING_BYTES (CXN_GET(IM2COL_COLS) * CXN_COLUMN * 2)
CXN_STATIC_ASSERT(CXN_GET(SCRATCH_BYTES) >= CXN_LOWERING_BYTES + CXN_BAND_BYTES, im2col_scratch);

#define CXN_RUNS 1
#if CXN_GET(WEIGHT_LAYOUT) == CXN_WEIGHT_LAYOUT_PLAIN
#define CXN_RUN CXN_TAPS
#else
#define CXN_RUN CXN_COLUMN
#endif
#define CXN_RUN_PACKED CXN_COLUMN
#define CXN_D_T int16_t
#define CXN_D_WIDE 1
#define CXN_D_ALIGNED 1
#define CXN_D_LOAD(p) (*(p))
#if CXN_GET(COLUMN_LAYOUT) == CXN_COLUMN_LAYOUT_INTERLEAVED
#define CXN_COL_STEP 0
#else
#define CXN_COL_STEP CXN_COLUMN
#endif
#include "convolve_block.h"

#if CXN_GET(COLUMN_LAYOUT) == CXN_COLUMN_LAYOUT_INTERLEAVED
/* Pairs of elements, one every CXN_BC words; a null `from` writes padding. */
CXN_INLINE int16_t *CXN_LOCAL(column_run)(int16_t *to, const CXN_IN_T *from, int32_t count)
{
    if (from == NULL) {
        for (int32_t i = count / 2; i > 0; i--, to += 2 * CXN_BC)
            cxn_store_u32_aligned(to, CXN_PAD_PAIR);
        return to;
    }
#if CXN_DSP && CXN_GET(IN_BITS) == 8 && CXN_GET(IN_CH) % 4 == 0
    for (int32_t i = count / 4; i > 0; i--, to += 4 * CXN_BC, from += 4) {
        const uint32_t x = cxn_load_u32_single(from);
        const uint32_t even = cxn_sxtb16(x), odd = cxn_sxtb16_ror8(x);
        cxn_store_u32_aligned(to, cxn_pkhbt(even, odd));
        cxn_store_u32_aligned(to + 2 * CXN_BC, cxn_pkhtb(odd, even));
    }
#else
#if CXN_GET(IN_BITS) == 16 && !CXN_GET(INPUT_ALIGNED) && !CXN_UNALIGNED
    if (((uintptr_t)from & 1U) == 0) {
        for (int32_t i = count / 2; i > 0; i--, to += 2 * CXN_BC, from += 2) {
            to[0] = from[0];
            to[1] = from[1];
        }
        return to;
    }
#endif
    for (int32_t i = count / 2; i > 0; i--, to += 2 * CXN_BC, from += 2) {
        to[0] = (int16_t)CXN_LOCAL(load)(from);
        to[1] = (int16_t)CXN_LOCAL(load)(from + 1);
    }
#endif
    return to;
}
#else
CXN_INLINE int16_t *CXN_LOCAL(column_run)(int16_t *to, const CXN_IN_T *from, int32_t count)
{
    if (from == NULL)
        CXN_PAD(to, (size_t)count);
    else
        CXN_LOCAL(widen)(to, from, count);
    return to + count;
}
#endif

CXN_KERNEL_FN void CXN_KERNEL(const CXN_IN_T *CXN_ALONE input, const CXN_W_T *CXN_RESTRICT weights,
                              const CXN_CHANNEL_T *CXN_RESTRICT channels, CXN_OUT_T *CXN_ALONE output, void *CXN_RESTRICT scratch CXN_ROWS_PARAMETER)
{
    int16_t *const columns = (int16_t *)scratch;
    const int16_t *const runs[1] = {columns};
    CXN_OUT_T *pixel = output; /* of the first column; `output` itself is restrict and may not point into scratch */
    int32_t filled = 0;
#if defined(CXN_POOL_FUSED)
    CXN_LOCAL(band) band = {(CXN_OUT_T *)scratch + CXN_LOWERING_BYTES / sizeof(CXN_OUT_T), output, 0, 0, 0};
#endif
#if CXN_GROUPS != 1
    for (int32_t group = 0; group < CXN_GROUPS;
         group++, pixel = output + group * CXN_GROUP_OUT, weights += CXN_GROUP_OUT * CXN_TAPS, channels += CXN_GROUP_OUT)
#elif CXN_DILATION_X != 1
    const int32_t group = 0;
#endif
    for (int32_t y = 0; y < CXN_OUT_ROWS; y++) {
#if defined(CXN_POOL_FUSED)
        if (y < band.needed)
            continue;
        pixel = band.lines + (y - band.first) * CXN_BAND_LINE;
#endif
        for (int32_t x = 0; x < CXN_GET(OUT_W); x++) {
            const int32_t top = y * CXN_GET(STRIDE_Y) - CXN_PAD_ROWS;
            const int32_t left = x * CXN_GET(STRIDE_X) - CXN_GET(PAD_LEFT);
#if CXN_GET(COLUMN_LAYOUT) == CXN_COLUMN_LAYOUT_INTERLEAVED
            int16_t *to = columns + filled / CXN_BC * (CXN_BC * CXN_COLUMN) + filled % CXN_BC * 2;
#else
            int16_t *to = columns + filled * CXN_COLUMN;
#if CXN_TAPS % 2
            to[CXN_TAPS] = 0;
#endif
#endif
#if CXN_DILATION_X == 1 && CXN_GROUPS == 1
            /* The part of the window inside the image, in kernel columns. */
            const int32_t first = left < 0 ? CXN_MIN(-left, CXN_GET(KERNEL_W)) : 0;
            const int32_t room = CXN_GET(IN_W) - left;
            const int32_t last = room < first ? first : CXN_MIN(room, CXN_GET(KERNEL_W));
#endif
            for (int32_t m = 0; m < CXN_GET(KERNEL_H); m++) {
                const int32_t row = top + m * CXN_DILATION_Y;
                if (CXN_IS_OUTSIDE(row)) {
                    to = CXN_LOCAL(column_run)(to, NULL, CXN_GET(KERNEL_W) * CXN_GROUP_IN);
                    continue;
                }
#if CXN_DILATION_X != 1 || CXN_GROUPS != 1
                /* Pixel by pixel. */
                for (int32_t n = 0; n < CXN_GET(KERNEL_W); n++) {
                    const int32_t col = left + n * CXN_DILATION_X;
                    const CXN_IN_T *const from = input + (row * CXN_GET(IN_W) + col) * CXN_GET(IN_CH) + group * CXN_GROUP_IN;
                    to = CXN_LOCAL(column_run)(to, col < 0 || col >= CXN_GET(IN_W) ? NULL : from, CXN_GROUP_IN);
                }
#else
                const CXN_IN_T *const from = input + (row * CXN_GET(IN_W) + left + first) * CXN_GET(IN_CH);
                if (last - first == CXN_GET(KERNEL_W)) {
                    to = CXN_LOCAL(column_run)(to, from, CXN_GET(KERNEL_W) * CXN_GET(IN_CH));
                } else {
                    to = CXN_LOCAL(column_run)(to, NULL, first * CXN_GET(IN_CH));
                    to = CXN_LOCAL(column_run)(to, from, (last - first) * CXN_GET(IN_CH));
                    to = CXN_LOCAL(column_run)(to, NULL, (CXN_GET(KERNEL_W) - last) * CXN_GET(IN_CH));
                }
#endif
            }
            filled++;
#if defined(CXN_POOL_FUSED)
#if CXN_GET(OUT_W) % CXN_GET(IM2COL_COLS)
            /* Each row of the band ends with a few columns: how many is known too. */
            if (x == CXN_GET(OUT_W) - 1) {
                CXN_LOCAL(pixels)(runs, CXN_BC * CXN_COLUMN, CXN_GET(OUT_W) % CXN_GET(IM2COL_COLS), weights, channels, pixel, 0);
                filled = 0;
            }
#endif
            if (filled == CXN_GET(IM2COL_COLS)) {
#else
            if (filled == CXN_GET(IM2COL_COLS) || (y == CXN_OUT_ROWS - 1 && x == CXN_GET(OUT_W) - 1)) {
#endif
                CXN_LOCAL(pixels)(runs, CXN_BC * CXN_COLUMN, filled, weights, channels, pixel, 0);
                pixel += filled * CXN_GET(OUT_CH);
                filled = 0;
            }
        }
#if defined(CXN_POOL_FUSED)
        CXN_LOCAL(band_pool)(&band, y + 1);
#endif
    }
}

#undef CXN_COLUMN
#undef CXN_RUNS
#undef CXN_RUN
#undef CXN_RUN_PACKED
#undef CXN_D_T
#undef CXN_D_WIDE
#undef CXN_D_ALIGNED
#undef CXN_D_LOAD
#undef CXN_COL_STEP
