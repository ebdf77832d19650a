/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The walk over the windows of one pooling instance, shared by max_pool.h and avg_pool.h. They define, before the include,
 *     CXN_POOL_T                                       what accumulates over a window
 *     CXN_LOCAL(begin)(x, lanes) -> CXN_POOL_T         one lane group
 *     CXN_LOCAL(extend)(sum, x, lanes), join(sum, sum, lanes)
 *     CXN_LOCAL(scale)(count)                          a factor for windows of `count` elements, made outside the channel loop
 *     CXN_LOCAL(finish)(sum, count, scale, lanes)      the output elements
 * and get CXN_KERNEL. A row of windows goes one lane group of channels at a time: the columns that neighbouring windows share stay
 * in registers; so do the windows at its ends that the image clips. Windows further out, and kernels above 4, take plain loops.
 * Channels go in words; where they are no multiple of a word, the last word overlaps the one before it.
 *
 * Fused into the convolution before it (CXN_POOL_FUSED), it gives CXN_LOCAL(line) alone, a row of windows whose rows lie behind each
 * other; with CXN_POOL_BY_COLUMNS a column of windows, read from columns that lie behind each other: the same walk, axes exchanged.
 * Cores with Helium walk otherwise, but for columns: helium_pool.h, whose largest elements CXN_POOL_IS_MAX asks for.
 *
 * With OPEN_ROWS the first output rows of a call are those that earlier ones began, as many at most: their windows begin STRIDE_Y rows or
 * more above the rows of this call, and what is in `output` is a part of them.
 */
#if CXN_GET(OPEN_ROWS)
#if !defined(CXN_POOL_IS_MAX) || !CXN_IS_BAND || CXN_GET(OPEN_ROWS) != (CXN_GET(KERNEL_H) - 1) / CXN_GET(STRIDE_Y)
#error "OPEN_ROWS: legal value with BAND, of the largest, is (KERNEL_H - 1) / STRIDE_Y"
#endif
#if CXN_GET(PAD_TOP) >= CXN_GET(STRIDE_Y)
#error "OPEN_ROWS: PAD_TOP has to be below STRIDE_Y"
#endif
#define CXN_POOL_OPENS 1
#define CXN_POOL_MORE_PARAMETER , int more
#define CXN_POOL_MORE_ARGUMENT , more
#define CXN_POOL_IS_WHOLE , 0
#define CXN_POOL_IS_MORE(top) , (top) <= -CXN_GET(STRIDE_Y)
#define CXN_POOL_AND_NO_MORE && !more
#define CXN_POOL_WITH_MORE(sum) (more ? CXN_LOCAL(extend)(sum, CXN_LOCAL(load_made)(output, lanes), lanes) : (sum))

/* As load_lanes, of what lies in the output. */
CXN_INLINE uint32_t CXN_LOCAL(load_made)(const CXN_OUT_T *p, int lanes)
{
    if (lanes != 1) {
        if (CXN_GET(OUTPUT_ALIGNED) && CXN_WHOLE_WORDS) {
            return cxn_load_u32_aligned(p);
        }
        return CXN_DSP ? cxn_load_u32_single(p) : cxn_load_u32(p);
    }
    return CXN_GET(IN_BITS) == 8 || CXN_GET(OUTPUT_ALIGNED) ? (uint32_t)(int32_t)*p : (uint32_t)cxn_load_s16(p);
}
#else
#define CXN_POOL_OPENS 0
#define CXN_POOL_MORE_PARAMETER
#define CXN_POOL_MORE_ARGUMENT
#define CXN_POOL_IS_WHOLE
#define CXN_POOL_IS_MORE(top)
#define CXN_POOL_AND_NO_MORE
#define CXN_POOL_WITH_MORE(sum) sum
#endif
#if CXN_GET(PAD_TOP) >= CXN_GET(KERNEL_H) || CXN_GET(PAD_LEFT) >= CXN_GET(KERNEL_W)
#error "PAD_TOP, PAD_LEFT: legal values are below KERNEL_H, KERNEL_W"
#endif
#if (CXN_GET(OUT_H) - 1) * CXN_GET(STRIDE_Y) - CXN_GET(PAD_TOP) >= CXN_GET(IN_H) || \
    (CXN_GET(OUT_W) - 1) * CXN_GET(STRIDE_X) - CXN_GET(PAD_LEFT) >= CXN_GET(IN_W)
#error "OUT_H, STRIDE_Y, OUT_W, STRIDE_X: legal values leave no window outside of the image"
#endif
#if CXN_GET(OUT_CH) != CXN_GET(IN_CH)
#error "OUT_CH: legal value is that of IN_CH"
#endif

/* The largest of words, a pixel each: SSUB8 and SEL take half as long as vectors that are a quarter full (asm/pool_words_helium.h). */
#if defined(CXN_POOL_IS_MAX) && CXN_GET(IN_CH) * CXN_GET(IN_BITS) == 32
#define CXN_POOL_IS_WORD 1
#else
#define CXN_POOL_IS_WORD 0
#endif
/* An image of one column is one of one row in vectors, axes exchanged. */
#if CXN_HELIUM && !defined(CXN_POOL_FUSED) && !CXN_IS_BAND && CXN_GET(IN_W) == 1 && CXN_GET(OUT_W) == 1
#define CXN_POOL_BY_COLUMNS 1
#define CXN_POOL_IS_TURNED 1
#else
#define CXN_POOL_IS_TURNED 0
#endif
#if defined(CXN_POOL_BY_COLUMNS)
#define CXN_POOL_Y(name_y, name_x) CXN_GET(name_x)
#define CXN_POOL_X(name_x, name_y) CXN_GET(name_y)
#define CXN_POOL_OUT_PIXEL (CXN_GET(OUT_W) * CXN_GET(OUT_CH))
#else
#define CXN_POOL_Y(name_y, name_x) CXN_GET(name_y)
#define CXN_POOL_X(name_x, name_y) CXN_GET(name_x)
#define CXN_POOL_OUT_PIXEL CXN_GET(OUT_CH)
#endif
#define CXN_POOL_IN_H CXN_POOL_Y(IN_H, IN_W)
#define CXN_POOL_IN_W CXN_POOL_X(IN_W, IN_H)
#define CXN_POOL_OUT_H CXN_POOL_Y(OUT_H, OUT_W)
#define CXN_POOL_OUT_W CXN_POOL_X(OUT_W, OUT_H)
#define CXN_POOL_KERNEL_H CXN_POOL_Y(KERNEL_H, KERNEL_W)
#define CXN_POOL_KERNEL_W CXN_POOL_X(KERNEL_W, KERNEL_H)
#define CXN_POOL_STRIDE_Y CXN_POOL_Y(STRIDE_Y, STRIDE_X)
#define CXN_POOL_STRIDE_X CXN_POOL_X(STRIDE_X, STRIDE_Y)
#define CXN_POOL_PAD_TOP CXN_POOL_Y(PAD_TOP, PAD_LEFT)
#define CXN_POOL_PAD_LEFT CXN_POOL_X(PAD_LEFT, PAD_TOP)

#define CXN_POOL_PIXEL CXN_GET(IN_CH)
#define CXN_POOL_ROW (CXN_POOL_IN_W * CXN_GET(IN_CH))
#define CXN_POOL_OVERLAP (CXN_POOL_KERNEL_W - CXN_POOL_STRIDE_X)
#define CXN_POOL_COUNT (CXN_POOL_KERNEL_H * CXN_POOL_KERNEL_W)

/* Output columns CXN_POOL_LOW..CXN_POOL_HIGH - 1 have all their window columns inside the image. */
#define CXN_POOL_LOW ((CXN_POOL_PAD_LEFT + CXN_POOL_STRIDE_X - 1) / CXN_POOL_STRIDE_X)
#if CXN_POOL_IN_W + CXN_POOL_PAD_LEFT >= CXN_POOL_KERNEL_W
#define CXN_POOL_HIGH CXN_MIN((CXN_POOL_IN_W + CXN_POOL_PAD_LEFT - CXN_POOL_KERNEL_W) / CXN_POOL_STRIDE_X + 1, CXN_POOL_OUT_W)
#else
#define CXN_POOL_HIGH 0
#endif
#if CXN_POOL_KERNEL_H <= 4 && CXN_POOL_KERNEL_W <= 4 && CXN_POOL_HIGH > CXN_POOL_LOW
#define CXN_POOL_SLIDES 1
#else
#define CXN_POOL_SLIDES 0
#endif
/* The clipped windows next to them, one on each side, and how many columns they have. */
#define CXN_POOL_LEFT (CXN_POOL_LOW > 0)
#define CXN_POOL_RIGHT (CXN_POOL_OUT_W > CXN_POOL_HIGH)
#define CXN_POOL_LEFT_COLUMNS (CXN_POOL_KERNEL_W - CXN_POOL_PAD_LEFT + (CXN_POOL_LOW - 1) * CXN_POOL_STRIDE_X)
#define CXN_POOL_RIGHT_COLUMNS (CXN_POOL_IN_W + CXN_POOL_PAD_LEFT - CXN_POOL_HIGH * CXN_POOL_STRIDE_X)
/* Whether windows are clipped at the top or bottom. */
#define CXN_POOL_CLIPS_ROWS \
    (CXN_POOL_OPENS || CXN_POOL_PAD_TOP > 0 || (CXN_POOL_OUT_H - 1) * CXN_POOL_STRIDE_Y - CXN_POOL_PAD_TOP + CXN_POOL_KERNEL_H > CXN_POOL_IN_H)
/* Short windows with rows of up to three elements are left to compilers, which write them out. */
#define CXN_POOL_IN_WORDS (CXN_POOL_WORDS && CXN_GET(IN_CH) >= CXN_LANES)
#define CXN_POOL_IS_SHORT \
    (CXN_POOL_KERNEL_W <= 3 && CXN_POOL_KERNEL_H <= 17 && CXN_POOL_COUNT <= (CXN_DSP || !CXN_POOL_IN_WORDS ? 36 : 16))
#define CXN_POOL_WHOLE_ROWS \
    (!CXN_HELIUM && !CXN_POOL_SLIDES && !CXN_POOL_CLIPS_ROWS && CXN_POOL_OUT_W == 1 && CXN_POOL_PAD_LEFT == 0 && CXN_POOL_KERNEL_W == CXN_POOL_IN_W && \
     CXN_POOL_KERNEL_H > 1 && CXN_POOL_KERNEL_W > 1 && !CXN_POOL_IS_SHORT)

#if CXN_POOL_IS_TURNED
#define CXN_POOL_IN_ROWS CXN_POOL_IN_H
#define CXN_POOL_PAD_ROWS CXN_POOL_PAD_TOP
#define CXN_POOL_OUT_ROWS CXN_POOL_OUT_H
#else
#define CXN_POOL_IN_ROWS CXN_IN_ROWS
#define CXN_POOL_PAD_ROWS CXN_PAD_ROWS
#define CXN_POOL_OUT_ROWS CXN_OUT_ROWS
#endif

#if CXN_HELIUM && !CXN_POOL_IS_WORD && (!defined(CXN_POOL_FUSED) || !defined(CXN_POOL_BY_COLUMNS))
#include "helium_pool.h"
#else
#if CXN_HELIUM && CXN_POOL_IS_WORD && (!defined(CXN_POOL_FUSED) || !defined(CXN_POOL_BY_COLUMNS))
#define CXN_POOL_WORD_RUNS 1
#include "asm/pool_words_helium.h"
#else
#define CXN_POOL_WORD_RUNS 0
#define CXN_POOL_WORD_STRIPS 0
#endif
/* Factors for the left, the whole and the right windows of a row. */
typedef struct {
    uint32_t left, whole, right;
} CXN_LOCAL(scales);

#if CXN_POOL_SLIDES
/* The loads come first: in a row they cost one cycle each after the first. */
CXN_INLINE CXN_POOL_T CXN_LOCAL(column)(const CXN_IN_T *p, int rows, int lanes)
{
    const int has1 = CXN_POOL_KERNEL_H > 1 && rows > 1;
    const int has2 = CXN_POOL_KERNEL_H > 2 && rows > 2;
    const int has3 = CXN_POOL_KERNEL_H > 3 && rows > 3;
    const uint32_t x0 = CXN_LOCAL(load_lanes)(p, lanes);
    const uint32_t x1 = has1 ? CXN_LOCAL(load_lanes)(p + CXN_POOL_ROW, lanes) : 0;
    const uint32_t x2 = has2 ? CXN_LOCAL(load_lanes)(p + 2 * CXN_POOL_ROW, lanes) : 0;
    const uint32_t x3 = has3 ? CXN_LOCAL(load_lanes)(p + 3 * CXN_POOL_ROW, lanes) : 0;
    CXN_POOL_T sum = CXN_LOCAL(begin)(x0, lanes);
    if (has1) {
        sum = CXN_LOCAL(extend)(sum, x1, lanes);
    }
    if (has2) {
        sum = CXN_LOCAL(extend)(sum, x2, lanes);
    }
    if (has3) {
        sum = CXN_LOCAL(extend)(sum, x3, lanes);
    }
    return sum;
}

/* One lane group of a row of windows with `rows` rows; `input` is the first pixel of the first of them. */
CXN_INLINE void CXN_LOCAL(slide)(const CXN_IN_T *input, CXN_OUT_T *output, int rows, CXN_LOCAL(scales) scales, int lanes CXN_POOL_MORE_PARAMETER)
{
    CXN_POOL_T c0 = CXN_LOCAL(begin)(0, lanes);
    CXN_POOL_T c1 = c0;
    CXN_POOL_T c2 = c0;
    CXN_POOL_T c3 = c0;
    if (CXN_POOL_LEFT) {
        CXN_POOL_T sum = CXN_LOCAL(column)(input, rows, lanes);
        if (CXN_POOL_LEFT_COLUMNS > 1) {
            sum = CXN_LOCAL(join)(sum, CXN_LOCAL(column)(input + CXN_POOL_PIXEL, rows, lanes), lanes);
        }
        if (CXN_POOL_LEFT_COLUMNS > 2) {
            sum = CXN_LOCAL(join)(sum, CXN_LOCAL(column)(input + 2 * CXN_POOL_PIXEL, rows, lanes), lanes);
        }
        CXN_LOCAL(store_lanes)(output, CXN_LOCAL(finish)(CXN_POOL_WITH_MORE(sum), rows * CXN_POOL_LEFT_COLUMNS, scales.left, lanes), lanes);
        output += CXN_POOL_OUT_PIXEL;
    }
    input += (CXN_POOL_LOW * CXN_POOL_STRIDE_X - CXN_POOL_PAD_LEFT) * CXN_POOL_PIXEL;
    int first = CXN_POOL_LOW;
#if CXN_POOL_WORD_STRIPS
    if ((CXN_POOL_WORD_CLIPS || rows == CXN_POOL_KERNEL_H)CXN_POOL_AND_NO_MORE) {
        CXN_LOCAL(words)(input, output, rows);
        input += (CXN_POOL_HIGH - CXN_POOL_LOW) * CXN_POOL_STRIDE_X * CXN_POOL_PIXEL;
        output += (CXN_POOL_HIGH - CXN_POOL_LOW) * CXN_POOL_OUT_PIXEL;
        first = CXN_POOL_HIGH;
    }
#endif
    if (CXN_POOL_OVERLAP > 0 && (first < CXN_POOL_HIGH || CXN_POOL_RIGHT)) {
        c0 = CXN_LOCAL(column)(input, rows, lanes);
    }
    if (CXN_POOL_OVERLAP > 1 && (first < CXN_POOL_HIGH || CXN_POOL_RIGHT)) {
        c1 = CXN_LOCAL(column)(input + CXN_POOL_PIXEL, rows, lanes);
    }
    if (CXN_POOL_OVERLAP > 2 && (first < CXN_POOL_HIGH || CXN_POOL_RIGHT)) {
        c2 = CXN_LOCAL(column)(input + 2 * CXN_POOL_PIXEL, rows, lanes);
    }
    CXN_UNROLL_LOOP(2)
    for (int x = first; x < CXN_POOL_HIGH; ++x) {
        CXN_POOL_T sum;
        if (CXN_POOL_OVERLAP < 1) {
            c0 = CXN_LOCAL(column)(input, rows, lanes);
        }
        sum = c0;
        if (CXN_POOL_KERNEL_W > 1) {
            if (CXN_POOL_OVERLAP < 2) {
                c1 = CXN_LOCAL(column)(input + CXN_POOL_PIXEL, rows, lanes);
            }
            sum = CXN_LOCAL(join)(sum, c1, lanes);
        }
        if (CXN_POOL_KERNEL_W > 2) {
            if (CXN_POOL_OVERLAP < 3) {
                c2 = CXN_LOCAL(column)(input + 2 * CXN_POOL_PIXEL, rows, lanes);
            }
            sum = CXN_LOCAL(join)(sum, c2, lanes);
        }
        if (CXN_POOL_KERNEL_W > 3) {
            c3 = CXN_LOCAL(column)(input + 3 * CXN_POOL_PIXEL, rows, lanes);
            sum = CXN_LOCAL(join)(sum, c3, lanes);
        }
        CXN_LOCAL(store_lanes)(output, CXN_LOCAL(finish)(CXN_POOL_WITH_MORE(sum), rows * CXN_POOL_KERNEL_W, scales.whole, lanes), lanes);
        c0 = CXN_POOL_STRIDE_X == 1 ? c1 : CXN_POOL_STRIDE_X == 2 ? c2 : c3;
        c1 = CXN_POOL_STRIDE_X == 1 ? c2 : c3;
        c2 = c3;
        input += CXN_POOL_STRIDE_X * CXN_POOL_PIXEL;
        output += CXN_POOL_OUT_PIXEL;
    }
    if (CXN_POOL_RIGHT) {
        CXN_POOL_T sum = CXN_POOL_OVERLAP < 1 ? CXN_LOCAL(column)(input, rows, lanes) : c0;
        if (CXN_POOL_RIGHT_COLUMNS > 1) {
            c1 = CXN_POOL_OVERLAP < 2 ? CXN_LOCAL(column)(input + CXN_POOL_PIXEL, rows, lanes) : c1;
            sum = CXN_LOCAL(join)(sum, c1, lanes);
        }
        if (CXN_POOL_RIGHT_COLUMNS > 2) {
            c2 = CXN_POOL_OVERLAP < 3 ? CXN_LOCAL(column)(input + 2 * CXN_POOL_PIXEL, rows, lanes) : c2;
            sum = CXN_LOCAL(join)(sum, c2, lanes);
        }
        CXN_LOCAL(store_lanes)(output, CXN_LOCAL(finish)(CXN_POOL_WITH_MORE(sum), rows * CXN_POOL_RIGHT_COLUMNS, scales.right, lanes), lanes);
    }
}
#endif

#if CXN_POOL_WHOLE_ROWS
#if defined(__GNUC__)
#define CXN_POOL_UNKNOWN(x) __asm__("" : "+r"(x))
#else
#define CXN_POOL_UNKNOWN(x) (void)(x)
#endif
/* One lane group of one window of rows x columns pixels that lie side by side. */
CXN_INLINE void CXN_LOCAL(window)(const CXN_IN_T *input, CXN_OUT_T *output, int rows, int columns, uint32_t scale, int lanes CXN_POOL_MORE_PARAMETER)
{
    CXN_POOL_T sum = CXN_LOCAL(begin)(CXN_LOCAL(load_lanes)(input, lanes), lanes);
    const int left = (CXN_POOL_COUNT - 1) % 4;
    int blocks = (CXN_POOL_COUNT - 1) / 4;
    if (left > 0) {
        sum = CXN_LOCAL(extend)(sum, CXN_LOCAL(load_lanes)(input + CXN_POOL_PIXEL, lanes), lanes);
    }
    if (left > 1) {
        sum = CXN_LOCAL(extend)(sum, CXN_LOCAL(load_lanes)(input + 2 * CXN_POOL_PIXEL, lanes), lanes);
    }
    if (left > 2) {
        sum = CXN_LOCAL(extend)(sum, CXN_LOCAL(load_lanes)(input + 3 * CXN_POOL_PIXEL, lanes), lanes);
    }
    CXN_POOL_UNKNOWN(blocks);
    input += (1 + left) * CXN_POOL_PIXEL;
    do {
        const uint32_t x0 = CXN_LOCAL(load_lanes)(input, lanes);
        const uint32_t x1 = CXN_LOCAL(load_lanes)(input + CXN_POOL_PIXEL, lanes);
        const uint32_t x2 = CXN_LOCAL(load_lanes)(input + 2 * CXN_POOL_PIXEL, lanes);
        const uint32_t x3 = CXN_LOCAL(load_lanes)(input + 3 * CXN_POOL_PIXEL, lanes);
        sum = CXN_LOCAL(extend)(sum, x0, lanes);
        sum = CXN_LOCAL(extend)(sum, x1, lanes);
        sum = CXN_LOCAL(extend)(sum, x2, lanes);
        sum = CXN_LOCAL(extend)(sum, x3, lanes);
        input += 4 * CXN_POOL_PIXEL;
    } while (--blocks != 0);
    (void)rows;
    (void)columns;
    CXN_LOCAL(store_lanes)(output, CXN_LOCAL(finish)(CXN_POOL_WITH_MORE(sum), CXN_POOL_COUNT, scale, lanes), lanes);
}
#else
/* One lane group of one window of rows x columns pixels, all inside the image. */
CXN_INLINE void CXN_LOCAL(window)(const CXN_IN_T *input, CXN_OUT_T *output, int rows, int columns, uint32_t scale, int lanes CXN_POOL_MORE_PARAMETER)
{
    const CXN_IN_T *row = input;
    CXN_POOL_T sum = CXN_LOCAL(begin)(CXN_LOCAL(load_lanes)(row, lanes), lanes);
    int x = 1;
    for (int y = 0; y < rows; ++y) {
        const CXN_IN_T *p = row + x * CXN_POOL_PIXEL;
#if CXN_POOL_WORD_RUNS
        sum = CXN_LOCAL(word_run)(sum, p, columns - x);
#else
        CXN_UNROLL_LOOP(2)
        for (; x < columns; ++x) {
            sum = CXN_LOCAL(extend)(sum, CXN_LOCAL(load_lanes)(p, lanes), lanes);
            p += CXN_POOL_PIXEL;
        }
#endif
        x = 0;
        row += CXN_POOL_ROW;
    }
    CXN_LOCAL(store_lanes)(output, CXN_LOCAL(finish)(CXN_POOL_WITH_MORE(sum), rows * columns, scale, lanes), lanes);
}
#endif

/* Every channel: of a row of windows, or of one window. */
CXN_INLINE void CXN_LOCAL(channels)(const CXN_IN_T *input, CXN_OUT_T *output, int rows, int columns, int slides CXN_POOL_MORE_PARAMETER)
{
#if CXN_POOL_IN_WORDS
    const int lanes = CXN_LANES;
#else
    const int lanes = 1;
#endif
#if CXN_POOL_WHOLE_ROWS
    int last = CXN_GET(IN_CH) - lanes;
#else
    const int last = CXN_GET(IN_CH) - lanes;
#endif
    CXN_LOCAL(scales) scales = {0, 0, 0};
    int c = 0;
#if CXN_POOL_WHOLE_ROWS
    CXN_POOL_UNKNOWN(last);
#endif
    scales.whole = CXN_LOCAL(scale)(rows * columns);
    if (slides && CXN_POOL_LEFT) {
        scales.left = CXN_LOCAL(scale)(rows * CXN_POOL_LEFT_COLUMNS);
    }
    if (slides && CXN_POOL_RIGHT) {
        scales.right = CXN_LOCAL(scale)(rows * CXN_POOL_RIGHT_COLUMNS);
    }
    for (;;) {
        if (slides) {
#if CXN_POOL_SLIDES
            CXN_LOCAL(slide)(input + c, output + c, rows, scales, lanes CXN_POOL_MORE_ARGUMENT);
#endif
        } else {
            CXN_LOCAL(window)(input + c, output + c, rows, columns, scales.whole, lanes CXN_POOL_MORE_ARGUMENT);
        }
        if (c == last) {
            break;
        }
        c = CXN_MIN(c + lanes, last);
    }
}

/* A row of windows with `rows` rows; `row` is the first pixel of the first of them. Returns where the next row goes. */
CXN_INLINE CXN_OUT_T *CXN_LOCAL(line)(const CXN_IN_T *row, CXN_OUT_T *output, int rows CXN_POOL_MORE_PARAMETER)
{
    for (int x = 0; x < CXN_POOL_OUT_W; ++x) {
        const int left = x * CXN_POOL_STRIDE_X - CXN_POOL_PAD_LEFT;
        const int x_low = CXN_MAX(left, 0);
        const int columns = CXN_MIN(left + CXN_POOL_KERNEL_W, CXN_POOL_IN_W) - x_low;
#if CXN_POOL_SLIDES
        if (x == CXN_POOL_LOW - CXN_POOL_LEFT) {
            if (!CXN_POOL_CLIPS_ROWS || rows == CXN_POOL_KERNEL_H) {
                CXN_LOCAL(channels)(row, output, CXN_POOL_KERNEL_H, CXN_POOL_KERNEL_W, 1 CXN_POOL_IS_WHOLE);
#if CXN_POOL_OPENS
            } else if (more && rows == CXN_POOL_KERNEL_H - CXN_POOL_STRIDE_Y) {
                CXN_LOCAL(channels)(row, output, CXN_POOL_KERNEL_H - CXN_POOL_STRIDE_Y, CXN_POOL_KERNEL_W, 1, 1);
            } else if (!more && rows == CXN_POOL_STRIDE_Y) {
                CXN_LOCAL(channels)(row, output, CXN_POOL_STRIDE_Y, CXN_POOL_KERNEL_W, 1, 0);
#endif
            } else {
                CXN_LOCAL(channels)(row, output, rows, CXN_POOL_KERNEL_W, 1 CXN_POOL_MORE_ARGUMENT);
            }
            x = CXN_POOL_HIGH + CXN_POOL_RIGHT - 1;
            output += (CXN_POOL_HIGH + CXN_POOL_RIGHT - CXN_POOL_LOW + CXN_POOL_LEFT) * CXN_POOL_OUT_PIXEL;
            continue;
        }
#endif
        CXN_LOCAL(channels)(row + x_low * CXN_POOL_PIXEL, output, rows, columns, 0 CXN_POOL_MORE_ARGUMENT);
        output += CXN_POOL_OUT_PIXEL;
    }
    return output;
}

#if !defined(CXN_POOL_FUSED)
CXN_KERNEL_FN void CXN_KERNEL(const CXN_IN_T *CXN_RESTRICT input, CXN_OUT_T *CXN_RESTRICT output, void *scratch CXN_ROWS_PARAMETER)
{
    (void)scratch;
    for (int y = 0; y < CXN_POOL_OUT_ROWS; ++y) {
        const int top = y * CXN_POOL_STRIDE_Y - CXN_POOL_PAD_ROWS;
        const int y_low = CXN_MAX(top, 0);
        const int rows = CXN_MIN(top + CXN_POOL_KERNEL_H, CXN_POOL_IN_ROWS) - y_low;
        output = CXN_LOCAL(line)(input + y_low * CXN_POOL_ROW, output, rows CXN_POOL_IS_MORE(top));
    }
}
#endif
#endif

#undef CXN_POOL_OPENS
#undef CXN_POOL_IS_WHOLE
#undef CXN_POOL_MORE_PARAMETER
#undef CXN_POOL_MORE_ARGUMENT
#undef CXN_POOL_IS_MORE
#undef CXN_POOL_WITH_MORE
#undef CXN_POOL_AND_NO_MORE
#undef CXN_POOL_WORD_RUNS
#undef CXN_POOL_WORD_STRIPS
#undef CXN_POOL_WORD_CLIPS
#undef CXN_POOL_IN_ROWS
#undef CXN_POOL_PAD_ROWS
#undef CXN_POOL_OUT_ROWS
#undef CXN_POOL_T
#undef CXN_POOL_IS_MAX
#undef CXN_POOL_IS_WORD
#if CXN_POOL_IS_TURNED
#undef CXN_POOL_BY_COLUMNS
#endif
#undef CXN_POOL_IS_TURNED
#undef CXN_POOL_WORDS
#undef CXN_POOL_PIXEL
#undef CXN_POOL_ROW
#undef CXN_POOL_OVERLAP
#undef CXN_POOL_COUNT
#undef CXN_POOL_LOW
#undef CXN_POOL_HIGH
#undef CXN_POOL_SLIDES
#undef CXN_POOL_WHOLE_ROWS
#undef CXN_POOL_IS_SHORT
#undef CXN_POOL_IN_WORDS
#undef CXN_POOL_UNKNOWN
#undef CXN_POOL_LEFT
#undef CXN_POOL_RIGHT
#undef CXN_POOL_LEFT_COLUMNS
#undef CXN_POOL_RIGHT_COLUMNS
#undef CXN_POOL_CLIPS_ROWS
#undef CXN_POOL_OUT_PIXEL
#undef CXN_POOL_Y
#undef CXN_POOL_X
#undef CXN_POOL_IN_H
#undef CXN_POOL_IN_W
#undef CXN_POOL_OUT_H
#undef CXN_POOL_OUT_W
#undef CXN_POOL_KERNEL_H
#undef CXN_POOL_KERNEL_W
#undef CXN_POOL_STRIDE_Y
#undef CXN_POOL_STRIDE_X
#undef CXN_POOL_PAD_TOP
#undef CXN_POOL_PAD_LEFT
