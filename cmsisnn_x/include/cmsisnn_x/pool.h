/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The walk over the windows of one pooling instance, shared by max_pool.h and avg_pool.h. They define, before the include,
 *     CXN_POOL_T                                       what accumulates over a window
 *     CXN_LOCAL(begin)(x, lanes) -> CXN_POOL_T         one lane group
 *     CXN_LOCAL(extend)(sum, x, lanes), join(sum, sum, lanes)
 *     CXN_LOCAL(scale)(count)                          a factor for windows of `count` elements, made outside the channel loop
 *     CXN_LOCAL(finish)(sum, count, scale, lanes)      the output elements
 * and get CXN_KERNEL. A row of whole windows goes one lane group of channels at a time: the columns that neighbouring windows share
 * stay in registers. Windows that the image clips, and kernels above 4, take plain loops. Channels go in words; where they are no
 * multiple of a word, the last word overlaps the one before it.
 */
#define CXN_POOL_PIXEL CXN_GET(IN_CH)
#define CXN_POOL_ROW (CXN_GET(IN_W) * CXN_GET(IN_CH))
#define CXN_POOL_OVERLAP (CXN_GET(KERNEL_W) - CXN_GET(STRIDE_X))
#define CXN_POOL_COUNT (CXN_GET(KERNEL_H) * CXN_GET(KERNEL_W))

/* Output columns CXN_POOL_LOW..CXN_POOL_HIGH - 1 have all their window columns inside the image. */
#define CXN_POOL_LOW ((CXN_GET(PAD_LEFT) + CXN_GET(STRIDE_X) - 1) / CXN_GET(STRIDE_X))
#if CXN_GET(IN_W) + CXN_GET(PAD_LEFT) >= CXN_GET(KERNEL_W)
#define CXN_POOL_HIGH CXN_MIN((CXN_GET(IN_W) + CXN_GET(PAD_LEFT) - CXN_GET(KERNEL_W)) / CXN_GET(STRIDE_X) + 1, CXN_GET(OUT_W))
#else
#define CXN_POOL_HIGH 0
#endif
#if CXN_GET(KERNEL_H) <= 4 && CXN_GET(KERNEL_W) <= 4 && CXN_POOL_HIGH > CXN_POOL_LOW
#define CXN_POOL_SLIDES 1
#else
#define CXN_POOL_SLIDES 0
#endif

#if CXN_POOL_SLIDES
CXN_INLINE CXN_POOL_T CXN_LOCAL(column)(const CXN_IN_T *p, int lanes)
{
    CXN_POOL_T sum = CXN_LOCAL(begin)(CXN_LOCAL(load)(p, lanes), lanes);
    if (CXN_GET(KERNEL_H) > 1) {
        sum = CXN_LOCAL(extend)(sum, CXN_LOCAL(load)(p + CXN_POOL_ROW, lanes), lanes);
    }
    if (CXN_GET(KERNEL_H) > 2) {
        sum = CXN_LOCAL(extend)(sum, CXN_LOCAL(load)(p + 2 * CXN_POOL_ROW, lanes), lanes);
    }
    if (CXN_GET(KERNEL_H) > 3) {
        sum = CXN_LOCAL(extend)(sum, CXN_LOCAL(load)(p + 3 * CXN_POOL_ROW, lanes), lanes);
    }
    return sum;
}

/* One lane group of the whole windows of a row; `input` is the top left of the first one. */
CXN_INLINE void CXN_LOCAL(slide)(const CXN_IN_T *input, CXN_OUT_T *output, int lanes)
{
    const uint32_t scale = CXN_LOCAL(scale)(CXN_POOL_COUNT);
    CXN_POOL_T c0 = CXN_LOCAL(begin)(0, lanes);
    CXN_POOL_T c1 = c0;
    CXN_POOL_T c2 = c0;
    CXN_POOL_T c3 = c0;
    if (CXN_POOL_OVERLAP > 0) {
        c0 = CXN_LOCAL(column)(input, lanes);
    }
    if (CXN_POOL_OVERLAP > 1) {
        c1 = CXN_LOCAL(column)(input + CXN_POOL_PIXEL, lanes);
    }
    if (CXN_POOL_OVERLAP > 2) {
        c2 = CXN_LOCAL(column)(input + 2 * CXN_POOL_PIXEL, lanes);
    }
    CXN_UNROLL_LOOP(2)
    for (int x = CXN_POOL_LOW; x < CXN_POOL_HIGH; ++x) {
        CXN_POOL_T sum;
        if (CXN_POOL_OVERLAP < 1) {
            c0 = CXN_LOCAL(column)(input, lanes);
        }
        sum = c0;
        if (CXN_GET(KERNEL_W) > 1) {
            if (CXN_POOL_OVERLAP < 2) {
                c1 = CXN_LOCAL(column)(input + CXN_POOL_PIXEL, lanes);
            }
            sum = CXN_LOCAL(join)(sum, c1, lanes);
        }
        if (CXN_GET(KERNEL_W) > 2) {
            if (CXN_POOL_OVERLAP < 3) {
                c2 = CXN_LOCAL(column)(input + 2 * CXN_POOL_PIXEL, lanes);
            }
            sum = CXN_LOCAL(join)(sum, c2, lanes);
        }
        if (CXN_GET(KERNEL_W) > 3) {
            c3 = CXN_LOCAL(column)(input + 3 * CXN_POOL_PIXEL, lanes);
            sum = CXN_LOCAL(join)(sum, c3, lanes);
        }
        CXN_LOCAL(store)(output, CXN_LOCAL(finish)(sum, CXN_POOL_COUNT, scale, lanes), lanes);
        c0 = CXN_GET(STRIDE_X) == 1 ? c1 : CXN_GET(STRIDE_X) == 2 ? c2 : c3;
        c1 = CXN_GET(STRIDE_X) == 1 ? c2 : c3;
        c2 = c3;
        input += CXN_GET(STRIDE_X) * CXN_POOL_PIXEL;
        output += CXN_POOL_PIXEL;
    }
}
#endif

/* One lane group of one window of rows x columns pixels, all inside the image. */
CXN_INLINE void CXN_LOCAL(window)(const CXN_IN_T *input, CXN_OUT_T *output, int rows, int columns, uint32_t scale, int lanes)
{
    const CXN_IN_T *row = input;
    CXN_POOL_T sum = CXN_LOCAL(begin)(CXN_LOCAL(load)(row, lanes), lanes);
    int x = 1;
    for (int y = 0; y < rows; ++y) {
        const CXN_IN_T *p = row + x * CXN_POOL_PIXEL;
        CXN_UNROLL_LOOP(2)
        for (; x < columns; ++x) {
            sum = CXN_LOCAL(extend)(sum, CXN_LOCAL(load)(p, lanes), lanes);
            p += CXN_POOL_PIXEL;
        }
        x = 0;
        row += CXN_POOL_ROW;
    }
    CXN_LOCAL(store)(output, CXN_LOCAL(finish)(sum, rows * columns, scale, lanes), lanes);
}

/* Every channel: of the whole windows of a row, or of one window. */
CXN_INLINE void CXN_LOCAL(channels)(const CXN_IN_T *input, CXN_OUT_T *output, int rows, int columns, int slides)
{
#if CXN_POOL_WORDS && CXN_GET(IN_CH) >= CXN_LANES
    const int lanes = CXN_LANES;
    const int step = CXN_LANES;
#else
    const int lanes = 1;
    const int step = 1;
#endif
    const int last = CXN_GET(IN_CH) - lanes;
    const uint32_t scale = slides ? 0 : CXN_LOCAL(scale)(rows * columns);
    int c = 0;
    for (;;) {
        if (slides) {
#if CXN_POOL_SLIDES
            CXN_LOCAL(slide)(input + c, output + c, lanes);
#endif
        } else {
            CXN_LOCAL(window)(input + c, output + c, rows, columns, scale, lanes);
        }
        if (c == last) {
            break;
        }
        c = CXN_MIN(c + step, last);
    }
}

CXN_KERNEL_FN void CXN_KERNEL(const CXN_IN_T *CXN_RESTRICT input, CXN_OUT_T *CXN_RESTRICT output, void *scratch)
{
    (void)scratch;
    for (int y = 0; y < CXN_GET(OUT_H); ++y) {
        const int top = y * CXN_GET(STRIDE_Y) - CXN_GET(PAD_TOP);
        const int y_low = CXN_MAX(top, 0);
        const int y_high = CXN_MIN(top + CXN_GET(KERNEL_H), CXN_GET(IN_H));
        for (int x = 0; x < CXN_GET(OUT_W); ++x) {
            const int left = x * CXN_GET(STRIDE_X) - CXN_GET(PAD_LEFT);
            const int x_low = CXN_MAX(left, 0);
            const int x_high = CXN_MIN(left + CXN_GET(KERNEL_W), CXN_GET(IN_W));
            const CXN_IN_T *p = input + y_low * CXN_POOL_ROW + x_low * CXN_POOL_PIXEL;
#if CXN_POOL_SLIDES
            if (x == CXN_POOL_LOW && y_high - y_low == CXN_GET(KERNEL_H)) {
                CXN_LOCAL(channels)(p, output, 0, 0, 1);
                output += (CXN_POOL_HIGH - CXN_POOL_LOW) * CXN_POOL_PIXEL;
                x = CXN_POOL_HIGH - 1;
                continue;
            }
#endif
            CXN_LOCAL(channels)(p, output, y_high - y_low, x_high - x_low, 0);
            output += CXN_POOL_PIXEL;
        }
    }
}

#undef CXN_POOL_T
#undef CXN_POOL_WORDS
#undef CXN_POOL_PIXEL
#undef CXN_POOL_ROW
#undef CXN_POOL_OVERLAP
#undef CXN_POOL_COUNT
#undef CXN_POOL_LOW
#undef CXN_POOL_HIGH
#undef CXN_POOL_SLIDES
