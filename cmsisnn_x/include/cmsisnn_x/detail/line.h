/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An input row, widened between its padding: what the rings of convolve_rows.h and depthwise_lines.h hold. The rings themselves stay written
 * out in the kernels: behind a function, GCC keeps their state elsewhere, and every loop around them comes out otherwise. Takes
 *     CXN_SPAN              pixels of a line, its padding included
 *     CXN_LINE              elements of a line
 *     CXN_LINE_CHANNELS     elements from one pixel to the next: IN_CH, or that rounded up to even, with a zero behind an odd number of channels
 */

/* Input row `row`, which may lie outside the image. */
CXN_INLINE void CXN_LOCAL(line)(int16_t *to, const CXN_IN_T *input, int32_t row CXN_ROWS_PARAMETER)
{
    enum { inside = CXN_MIN(CXN_GET(IN_W), CXN_SPAN - CXN_GET(PAD_LEFT)), right = CXN_SPAN - CXN_GET(PAD_LEFT) - inside };
    if (CXN_IS_OUTSIDE(row) || inside <= 0) {
        CXN_PAD(to, CXN_LINE);
        return;
    }
#if CXN_GET(PAD_LEFT)
    CXN_PAD(to, CXN_GET(PAD_LEFT) * CXN_LINE_CHANNELS);
#endif
    to += CXN_GET(PAD_LEFT) * CXN_LINE_CHANNELS;
    input += row * (CXN_GET(IN_W) * CXN_GET(IN_CH));
#if CXN_LINE_CHANNELS == CXN_GET(IN_CH)
    CXN_LOCAL(widen)(to, input, inside * CXN_GET(IN_CH));
#else
    for (int32_t x = 0; x < inside; x++) {
        CXN_LOCAL(widen)(to + x * CXN_LINE_CHANNELS, input + x * CXN_GET(IN_CH), CXN_GET(IN_CH));
        to[x * CXN_LINE_CHANNELS + CXN_GET(IN_CH)] = 0;
    }
#endif
    if (right > 0)
        CXN_PAD(to + inside * CXN_LINE_CHANNELS, (size_t)(right > 0 ? right : 0) * CXN_LINE_CHANNELS);
}
