/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All output channels of CXN_BC pixels, for the im2col, line-buffer and direct lowerings: blocks of CXN_BR rows, then the
 * rows left over (one by one from plain weights; in pairs, the second perhaps zero, from packed ones).
 *
 *     CXN_RUNS x CXN_RUN        elements of a window, as runs that are contiguous in every column
 *     CXN_RUN_PACKED            elements of a packed run of one row: CXN_RUN rounded up to even
 *     CXN_D_T, CXN_D_WIDE, CXN_D_ALIGNED, CXN_D_LOAD, CXN_COL_STEP, CXN_W_T, CXN_W_BYTES    see dot_block.h
 */
#if CXN_GET(WEIGHT_LAYOUT) == CXN_WEIGHT_LAYOUT_PLAIN
#define CXN_W_ROW_STEP CXN_TAPS
#define CXN_W_RUN_STEP(rows) CXN_RUN
#define CXN_W_BLOCK_STEP(rows) ((rows)*CXN_TAPS)
#define CXN_LEFT_ROWS 1
#else
#define CXN_W_ROW_STEP 0
#define CXN_W_RUN_STEP(rows) ((rows)*CXN_RUN_PACKED)
#define CXN_W_BLOCK_STEP(rows) ((rows)*CXN_RUNS * CXN_RUN_PACKED)
#define CXN_LEFT_ROWS 2
#endif

#define CXN_B_NAME CXN_LOCAL(dot)
#define CXN_B_ROWS CXN_BR
#define CXN_B_COLS CXN_BC
#include "dot_block.h"
#if CXN_GROUP_OUT % CXN_BR
#define CXN_B_NAME CXN_LOCAL(dot_left)
#define CXN_B_ROWS CXN_LEFT_ROWS
#define CXN_B_COLS CXN_BC
#include "dot_block.h"
#endif

#if CXN_BC == 4 && CXN_CHANNEL_FIRST
#define CXN_FINISH_STEP CXN_GET(OUT_CH)
#include "finish.h"
#endif

/* `runs` holds the address of each run for pixel 0; pixels at and beyond `pixels` are computed and dropped. */
CXN_INLINE void CXN_LOCAL(block)(const CXN_D_T *const *runs, int32_t offset, const CXN_W_T *w, const CXN_CHANNEL_T *channel,
                                 CXN_OUT_T *out, int32_t pixels)
{
    int32_t acc[CXN_BR * CXN_BC];
    for (int32_t r = 0; r < CXN_BR; r++)
        for (int32_t c = 0; c < CXN_BC; c++)
            acc[r * CXN_BC + c] = CXN_ACC_INIT(channel + r);
    for (int32_t m = 0; m < CXN_RUNS; m++)
        CXN_LOCAL(dot)(acc, w + m * CXN_W_RUN_STEP(CXN_BR), runs[m] + offset);
#if CXN_CHANNEL_FIRST
    for (int32_t r = 0; r < CXN_BR; r++) {
        CXN_FACTOR_T factor = CXN_FACTOR(channel + r);
#if CXN_BC == 4
        if (pixels >= 4) {
            CXN_LOCAL(finish)(acc[r * 4], acc[r * 4 + 1], acc[r * 4 + 2], acc[r * 4 + 3], factor, out + r);
            continue;
        }
#endif
        for (int32_t c = 0; c < CXN_BC; c++)
            if (c < pixels)
                CXN_LOCAL(store)(out + c * CXN_GET(OUT_CH) + r, CXN_REQUANTISE(acc[r * CXN_BC + c], factor));
    }
#else
    for (int32_t c = 0; c < CXN_BC; c++)
        if (c < pixels)
            for (int32_t r = 0; r < CXN_BR; r++)
                CXN_LOCAL(store)(out + c * CXN_GET(OUT_CH) + r, CXN_REQUANTISE(acc[r * CXN_BC + c], CXN_FACTOR(channel + r)));
#endif
}

#if CXN_GROUP_OUT % CXN_BR
CXN_INLINE void CXN_LOCAL(block_left)(const CXN_D_T *const *runs, int32_t offset, const CXN_W_T *w, const CXN_CHANNEL_T *channel,
                                      CXN_OUT_T *out, int32_t pixels, int32_t rows)
{
    int32_t acc[CXN_LEFT_ROWS * CXN_BC];
    for (int32_t r = 0; r < CXN_LEFT_ROWS; r++)
        for (int32_t c = 0; c < CXN_BC; c++)
            acc[r * CXN_BC + c] = r < rows ? CXN_ACC_INIT(channel + r) : 0;
    for (int32_t m = 0; m < CXN_RUNS; m++)
        CXN_LOCAL(dot_left)(acc, w + m * CXN_W_RUN_STEP(CXN_LEFT_ROWS), runs[m] + offset);
#if CXN_CHANNEL_FIRST
    for (int32_t r = 0; r < CXN_LEFT_ROWS; r++)
        if (r < rows) {
            CXN_FACTOR_T factor = CXN_FACTOR(channel + r);
#if CXN_BC == 4
            if (pixels >= 4) {
                CXN_LOCAL(finish)(acc[r * 4], acc[r * 4 + 1], acc[r * 4 + 2], acc[r * 4 + 3], factor, out + r);
                continue;
            }
#endif
            for (int32_t c = 0; c < CXN_BC; c++)
                if (c < pixels)
                    CXN_LOCAL(store)(out + c * CXN_GET(OUT_CH) + r, CXN_REQUANTISE(acc[r * CXN_BC + c], factor));
        }
#else
    for (int32_t c = 0; c < CXN_BC; c++)
        if (c < pixels)
            for (int32_t r = 0; r < CXN_LEFT_ROWS; r++)
                if (r < rows)
                    CXN_LOCAL(store)(out + c * CXN_GET(OUT_CH) + r, CXN_REQUANTISE(acc[r * CXN_BC + c], CXN_FACTOR(channel + r)));
#endif
}
#endif

/* Every output channel, of one group, of `pixels` pixels, BLOCK_COLS at a time; column block b starts b * block_step elements further. The weights
   of a block of rows serve all column blocks before the next are read. `pixels` stays known to the compiler: with it hidden, to get one code for
   all widths, kernels of short windows took up to 76 % more, as their weights no longer stayed in registers (M3, M4). */
CXN_INLINE void CXN_LOCAL(pixels)(const CXN_D_T *const *runs, int32_t block_step, int32_t pixels, const CXN_W_T *w,
                                  const CXN_CHANNEL_T *channels, CXN_OUT_T *out, int32_t overlap)
{
    int32_t o = 0;
#if CXN_GROUP_OUT >= CXN_BR
    for (; o <= CXN_GROUP_OUT - CXN_BR; o += CXN_BR) {
        for (int32_t x = 0, offset = 0; x < pixels; x += CXN_BC, offset += block_step) {
            if (overlap && pixels % CXN_BC && x > pixels - CXN_BC) {
                offset -= (x - (pixels - CXN_BC)) * (block_step / CXN_BC);
                x = pixels - CXN_BC;
            }
            CXN_LOCAL(block)(runs, offset, w, channels + o, out + x * CXN_GET(OUT_CH) + o,
                             overlap ? CXN_BC : pixels - x);
        }
        w += CXN_W_BLOCK_STEP(CXN_BR);
    }
#endif
#if CXN_GROUP_OUT % CXN_BR
    for (; o < CXN_GROUP_OUT; o += CXN_LEFT_ROWS) {
        const int32_t rows = CXN_MIN(CXN_LEFT_ROWS, CXN_GROUP_OUT - o);
        for (int32_t x = 0, offset = 0; x < pixels; x += CXN_BC, offset += block_step) {
            if (overlap && pixels % CXN_BC && x > pixels - CXN_BC) {
                offset -= (x - (pixels - CXN_BC)) * (block_step / CXN_BC);
                x = pixels - CXN_BC;
            }
            CXN_LOCAL(block_left)(runs, offset, w, channels + o, out + x * CXN_GET(OUT_CH) + o,
                                  overlap ? CXN_BC : pixels - x, rows);
        }
        w += CXN_W_BLOCK_STEP(CXN_LEFT_ROWS);
    }
#endif
}

#undef CXN_W_ROW_STEP
#undef CXN_W_RUN_STEP
#undef CXN_W_BLOCK_STEP
#undef CXN_LEFT_ROWS
#undef CXN_FINISH_STEP
