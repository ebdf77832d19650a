/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pooling fused into a convolution: of the convolution's output only a band exists, lines that lie behind each other at the end of
 * the scratch buffer. A line is an output row, or with CXN_LOWERING_WINOGRAD an output column, [row][channel]; the convolution writes
 * CXN_BAND_STEP of them at a time, pools each window that is then complete, and moves to the front what windows to come share.
 * Lines that no window needs are not computed where a whole step of them is not needed.
 *
 *     line        0 .. CXN_BAND_COUNT - 1; line `first` lies first in the band
 *     window i    lines i * CXN_BAND_STRIDE - CXN_BAND_PAD on, CXN_BAND_KERNEL of them, clipped to the image
 *     moved       at most CXN_BAND_KEEP lines: a window that is not complete lacks one or more of CXN_BAND_KERNEL, and its first line is
 *                 congruent to -CXN_BAND_PAD modulo the greatest common divisor of stride and step
 *     CXN_BAND_BYTES = min(CXN_BAND_KEEP + CXN_BAND_STEP, CXN_BAND_COUNT) lines
 */
#define CXN_POOL_GET(name) CXN_PASTE3(CXN_POOL_LAYER, _, name)

#if CXN_GET(FUSED_POOL) != 1
#error "FUSED_POOL: legal value is 1 where a kernel holds convolution and pooling"
#endif
#if CXN_POOL_GET(IN_H) != CXN_GET(OUT_H) || CXN_POOL_GET(IN_W) != CXN_GET(OUT_W) || CXN_POOL_GET(IN_CH) != CXN_GET(OUT_CH) || \
    CXN_POOL_GET(IN_BITS) != CXN_GET(IN_BITS)
#error "FUSED_POOL: IN_H, IN_W, IN_CH and IN_BITS of the pooling are OUT_H, OUT_W, OUT_CH and IN_BITS of the convolution"
#endif

#if CXN_GET(LOWERING) == CXN_LOWERING_WINOGRAD
#define CXN_BAND_STEP CXN_GET(TILE)
#define CXN_BAND_COUNT CXN_GET(OUT_W)
#define CXN_BAND_LINE (CXN_GET(OUT_H) * CXN_GET(OUT_CH))
#define CXN_BAND_KERNEL CXN_POOL_GET(KERNEL_W)
#define CXN_BAND_STRIDE CXN_POOL_GET(STRIDE_X)
#define CXN_BAND_PAD CXN_POOL_GET(PAD_LEFT)
#define CXN_BAND_POOLED CXN_POOL_GET(OUT_W)
#define CXN_BAND_OUT_LINE CXN_GET(OUT_CH)
#else
#define CXN_BAND_STEP 1
#define CXN_BAND_COUNT CXN_GET(OUT_H)
#define CXN_BAND_LINE (CXN_GET(OUT_W) * CXN_GET(OUT_CH))
#define CXN_BAND_KERNEL CXN_POOL_GET(KERNEL_H)
#define CXN_BAND_STRIDE CXN_POOL_GET(STRIDE_Y)
#define CXN_BAND_PAD CXN_POOL_GET(PAD_TOP)
#define CXN_BAND_POOLED CXN_POOL_GET(OUT_H)
#define CXN_BAND_OUT_LINE (CXN_POOL_GET(OUT_W) * CXN_GET(OUT_CH))
#endif

#if CXN_BAND_STEP % 4 == 0 && CXN_BAND_STRIDE % 4 == 0
#define CXN_BAND_GCD 4
#elif CXN_BAND_STEP % 2 == 0 && CXN_BAND_STRIDE % 2 == 0
#define CXN_BAND_GCD 2
#else
#define CXN_BAND_GCD 1
#endif
#define CXN_BAND_KEEP (CXN_BAND_KERNEL - 1 - (CXN_BAND_KERNEL - 1 - CXN_BAND_PAD) % CXN_BAND_GCD)
#define CXN_BAND_BYTES (CXN_MIN(CXN_BAND_KEEP + CXN_BAND_STEP, CXN_BAND_COUNT) * CXN_BAND_LINE * (CXN_GET(IN_BITS) / 8))

typedef struct {
    CXN_OUT_T *lines;
    CXN_OUT_T *output;
    int32_t first;  /* line that lies first in the band */
    int32_t needed; /* first line that a window to come needs */
    int32_t pooled; /* windows that are done */
} CXN_LOCAL(band);

/* Lines up to `done` are there: pool what they complete. */
CXN_NOINLINE void CXN_LOCAL(band_pool)(CXN_LOCAL(band) *band, int32_t done)
{
    for (; band->pooled < CXN_BAND_POOLED; band->pooled++) {
        const int32_t start = band->pooled * CXN_BAND_STRIDE - CXN_BAND_PAD;
        const int32_t low = CXN_MAX(start, 0);
        const int32_t end = CXN_MIN(start + CXN_BAND_KERNEL, CXN_BAND_COUNT);
        /* One step that is all lines leaves none for later, which GCC does not see, and warns of what it makes of them. */
        if (CXN_BAND_STEP < CXN_BAND_COUNT && end > done) {
            const int32_t first = low < done ? low : low - low % CXN_BAND_STEP;
            if (first != band->first)
                for (int32_t line = low; line < done; line++)
                    CXN_MEMCPY(band->lines + (line - low) * CXN_BAND_LINE, band->lines + (line - band->first) * CXN_BAND_LINE,
                               CXN_BAND_LINE * sizeof(CXN_OUT_T));
            band->first = first;
            band->needed = low;
            return;
        }
        (void)CXN_LOCAL(pool_line)(band->lines + (low - band->first) * CXN_BAND_LINE,
                                   band->output + band->pooled * CXN_BAND_OUT_LINE, (int)(end - low));
    }
    band->needed = CXN_BAND_COUNT + CXN_BAND_STEP; /* none: not even the lines that fill up a step */
}
