/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Windows read in place: in HWC the part of a window in one kernel row is contiguous, and the next output column starts
 * STRIDE_X * IN_CH elements later, so that no column is ever built.
 *   direct       from the input itself. Needs windows inside the image, and 16-bit input or a core without DSP extension to be of use.
 *   line buffer  from KERNEL_H input rows with their padding, each widened once per image; a ring over the rows.
 * Scratch: direct none; line buffer KERNEL_H * CXN_LINE * 2 bytes, CXN_LINE = ((OUT_W - 1) * STRIDE_X + KERNEL_W) * IN_CH rounded up to even.
 * OUT_W must be at least BLOCK_COLS: the last block of a row moves left and computes a few pixels again.
 */
#define CXN_RUN (CXN_GET(KERNEL_W) * CXN_GET(IN_CH))
#define CXN_RUN_PACKED CXN_ROUND_UP(CXN_RUN, 2)
#define CXN_RUNS CXN_GET(KERNEL_H)
#define CXN_COL_STEP (CXN_GET(STRIDE_X) * CXN_GET(IN_CH))
#define CXN_SPAN ((CXN_GET(OUT_W) - 1) * CXN_GET(STRIDE_X) + CXN_GET(KERNEL_W))

#if CXN_GET(OUT_W) < CXN_BC
#error "LOWERING: CXN_LOWERING_LINE_BUFFER and _DIRECT need OUT_W of at least BLOCK_COLS; legal here: CXN_LOWERING_IM2COL"
#endif

#if CXN_GET(LOWERING) == CXN_LOWERING_DIRECT
#if CXN_GET(PAD_TOP) || CXN_GET(PAD_LEFT) || CXN_SPAN > CXN_GET(IN_W) || \
    (CXN_GET(OUT_H) - 1) * CXN_GET(STRIDE_Y) + CXN_GET(KERNEL_H) > CXN_GET(IN_H)
#error "LOWERING: CXN_LOWERING_DIRECT needs windows inside the image; legal here: CXN_LOWERING_IM2COL, _LINE_BUFFER"
#endif
#define CXN_D_T CXN_IN_T
#if CXN_GET(IN_BITS) == 16
#define CXN_D_WIDE 1
#else
#define CXN_D_WIDE 0
#endif
/* Words at word boundaries: the buffer, every row, column and run. */
#if CXN_GET(INPUT_ALIGNED) && CXN_GET(IN_CH) % 2 == 0
#define CXN_D_ALIGNED 1
#else
#define CXN_D_ALIGNED 0
#endif
#define CXN_D_LOAD(p) CXN_LOCAL(load)(p)
#define CXN_LOWERING_BYTES 0
#if CXN_BAND_BYTES
CXN_STATIC_ASSERT(CXN_GET(SCRATCH_BYTES) >= CXN_BAND_BYTES, band_scratch);
#endif
#else
#define CXN_LINE_CHANNELS CXN_GET(IN_CH)
#define CXN_LINE CXN_ROUND_UP(CXN_SPAN * CXN_GET(IN_CH), 2)
#define CXN_LOWERING_BYTES (CXN_GET(KERNEL_H) * CXN_LINE * 2)
CXN_STATIC_ASSERT(CXN_GET(SCRATCH_BYTES) >= CXN_LOWERING_BYTES + CXN_BAND_BYTES, line_buffer_scratch);
#define CXN_D_T int16_t
#define CXN_D_WIDE 1
#if CXN_GET(IN_CH) % 2 == 0
#define CXN_D_ALIGNED 1
#else
#define CXN_D_ALIGNED 0
#endif
#define CXN_D_LOAD(p) (*(p))
#endif
#include "convolve_block.h"

#if CXN_GET(LOWERING) == CXN_LOWERING_LINE_BUFFER
#include "line.h"
#endif

CXN_KERNEL_FN void CXN_KERNEL(const CXN_IN_T *CXN_ALONE input, const CXN_W_T *CXN_RESTRICT weights,
                              const CXN_CHANNEL_T *CXN_RESTRICT channels, CXN_OUT_T *CXN_ALONE output, void *CXN_RESTRICT scratch CXN_ROWS_PARAMETER)
{
    const CXN_D_T *runs[CXN_RUNS];
#if CXN_GET(LOWERING) == CXN_LOWERING_LINE_BUFFER
    int16_t *const lines = (int16_t *)scratch;
    int32_t next = -CXN_PAD_ROWS; /* the first input row that is not in the ring yet */
    int32_t slot = 0;                 /* where it goes */
#elif !defined(CXN_POOL_FUSED)
    (void)scratch;
#endif
#if defined(CXN_POOL_FUSED)
    CXN_LOCAL(band) band = {(CXN_OUT_T *)scratch + CXN_LOWERING_BYTES / sizeof(CXN_OUT_T), output, 0, 0, 0};
#endif
    for (int32_t y = 0; y < CXN_OUT_ROWS; y++) {
        const int32_t top = y * CXN_GET(STRIDE_Y) - CXN_PAD_ROWS;
#if defined(CXN_POOL_FUSED)
        if (y < band.needed)
            continue;
#endif
#if CXN_GET(LOWERING) == CXN_LOWERING_LINE_BUFFER
        while (next < top + CXN_GET(KERNEL_H)) {
            if (next >= top)
                CXN_LOCAL(line)(lines + slot * CXN_LINE, input, next CXN_ROWS_ARGUMENT);
            next++;
            slot = slot == CXN_GET(KERNEL_H) - 1 ? 0 : slot + 1;
        }
        /* The slot that would be overwritten next holds the oldest row. */
        for (int32_t m = 0, s = slot; m < CXN_RUNS; m++) {
            runs[m] = lines + s * CXN_LINE;
            s = s == CXN_GET(KERNEL_H) - 1 ? 0 : s + 1;
        }
#else
        for (int32_t m = 0; m < CXN_RUNS; m++)
            runs[m] = input + (top + m) * (CXN_GET(IN_W) * CXN_GET(IN_CH));
#endif
#if defined(CXN_POOL_FUSED)
        CXN_LOCAL(pixels)(runs, CXN_BC * CXN_COL_STEP, CXN_GET(OUT_W), weights, channels,
                          band.lines + (y - band.first) * CXN_BAND_LINE, 1);
        CXN_LOCAL(band_pool)(&band, y + 1);
#else
        CXN_LOCAL(pixels)(runs, CXN_BC * CXN_COL_STEP, CXN_GET(OUT_W), weights, channels, output, 1);
        output += CXN_GET(OUT_W) * CXN_GET(OUT_CH);
#endif
    }
}

#undef CXN_RUN
#undef CXN_RUN_PACKED
#undef CXN_RUNS
#undef CXN_COL_STEP
#undef CXN_SPAN
#undef CXN_LINE_CHANNELS
#undef CXN_LINE
#undef CXN_D_T
#undef CXN_D_WIDE
#undef CXN_D_ALIGNED
#undef CXN_D_LOAD
