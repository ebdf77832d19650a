/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Depthwise by im2col: windows are widened into IM2COL_COLS columns [kernel_h][kernel_w][channel]; a block is BLOCK_ROWS channels of BLOCK_COLS pixels.
 * Scratch: IM2COL_COLS * CXN_COLUMN * 2 bytes, CXN_COLUMN = KERNEL_H * KERNEL_W * IN_CH rounded up to even.
 */
#define CXN_TAPS (CXN_GET(KERNEL_H) * CXN_GET(KERNEL_W))
#define CXN_COLUMN CXN_ROUND_UP(CXN_TAPS * CXN_GET(IN_CH), 2)
CXN_STATIC_ASSERT(CXN_GET(SCRATCH_BYTES) >= CXN_GET(IM2COL_COLS) * CXN_COLUMN * 2, depthwise_im2col_scratch);

/* `rows` channels from `channel` on; pixels at and beyond `pixels` are computed and dropped. */
CXN_INLINE void CXN_LOCAL(block)(const int16_t *CXN_RESTRICT columns, const CXN_WEIGHT_T *CXN_RESTRICT w, const CXN_CHANNEL_T *channel,
                                 CXN_OUT_T *out, int32_t rows, int32_t pixels)
{
    int32_t acc[CXN_BR * CXN_BC];
    for (int32_t r = 0; r < rows; r++)
        for (int32_t c = 0; c < CXN_BC; c++)
            acc[r * CXN_BC + c] = CXN_ACC_INIT(channel + r);
    CXN_UNROLL_LOOP(CXN_GET(UNROLL))
    for (int32_t t = 0; t < CXN_TAPS; t++) {
        for (int32_t r = 0; r < rows; r++)
            for (int32_t c = 0; c < CXN_BC; c++)
                acc[r * CXN_BC + c] = cxn_mac(columns[c * CXN_COLUMN + r], w[r], acc[r * CXN_BC + c]);
        columns += CXN_GET(IN_CH);
        w += CXN_GET(IN_CH);
    }
#if CXN_CHANNEL_FIRST
    for (int32_t r = 0; r < rows; r++) {
        CXN_FACTOR_T factor = CXN_FACTOR(channel + r);
        for (int32_t c = 0; c < CXN_BC; c++)
            if (c < pixels)
                CXN_LOCAL(store)(out + c * CXN_GET(OUT_CH) + r, CXN_REQUANTISE(acc[r * CXN_BC + c], factor));
    }
#else
    for (int32_t c = 0; c < CXN_BC; c++)
        if (c < pixels)
            for (int32_t r = 0; r < rows; r++)
                CXN_LOCAL(store)(out + c * CXN_GET(OUT_CH) + r, CXN_REQUANTISE(acc[r * CXN_BC + c], CXN_FACTOR(channel + r)));
#endif
}

CXN_KERNEL_FN void CXN_KERNEL(const CXN_IN_T *CXN_RESTRICT input, const CXN_WEIGHT_T *CXN_RESTRICT weights,
                              const CXN_CHANNEL_T *CXN_RESTRICT channels, CXN_OUT_T *CXN_RESTRICT output, void *CXN_RESTRICT scratch CXN_ROWS_PARAMETER)
{
    int16_t *const columns = (int16_t *)scratch;
    int32_t filled = 0;
    for (int32_t y = 0; y < CXN_OUT_ROWS; y++) {
        for (int32_t x = 0; x < CXN_GET(OUT_W); x++) {
            int16_t *to = columns + filled * CXN_COLUMN;
            for (int32_t m = 0; m < CXN_GET(KERNEL_H); m++) {
                const int32_t row = y * CXN_GET(STRIDE_Y) - CXN_PAD_ROWS + m * CXN_DILATION_Y;
                for (int32_t n = 0; n < CXN_GET(KERNEL_W); n++) {
                    const int32_t col = x * CXN_GET(STRIDE_X) - CXN_GET(PAD_LEFT) + n * CXN_DILATION_X;
                    if (CXN_IS_OUTSIDE(row) || col < 0 || col >= CXN_GET(IN_W))
                        CXN_PAD(to, CXN_GET(IN_CH));
                    else
                        CXN_LOCAL(widen)(to, input + (row * CXN_GET(IN_W) + col) * CXN_GET(IN_CH), CXN_GET(IN_CH));
                    to += CXN_GET(IN_CH);
                }
            }
            filled++;
            if (filled < CXN_GET(IM2COL_COLS) && (y < CXN_OUT_ROWS - 1 || x < CXN_GET(OUT_W) - 1))
                continue;
            for (int32_t p = 0; p < filled; p += CXN_BC) {
                const int16_t *const block = columns + p * CXN_COLUMN;
                CXN_OUT_T *const out = output + p * CXN_GET(OUT_CH);
                int32_t c = 0;
                for (; c + CXN_BR <= CXN_GET(OUT_CH); c += CXN_BR)
                    CXN_LOCAL(block)(block + c, weights + c, channels + c, out + c, CXN_BR, filled - p);
                for (; c < CXN_GET(OUT_CH); c++)
                    CXN_LOCAL(block)(block + c, weights + c, channels + c, out + c, 1, filled - p);
            }
            output += filled * CXN_GET(OUT_CH);
            filled = 0;
        }
    }
}

#undef CXN_TAPS
#undef CXN_COLUMN
