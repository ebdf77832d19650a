/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Depthwise convolution 3x3 that reads its windows from the input, an output row at a time and no scratch. Channel by channel a row slides
 * along x: of every column the bytes of three rows a, b, c are loaded and become { a b } and c, which all outputs that see them take with
 *     { w0 w1 } by SMLAD and w2 by SMLABB or SMLABT
 * so that nine products are six, weights stay in registers, and any channel count and alignment will do. Windows at the upper and lower
 * border have two rows: what padding adds is in their start, and they take half of the products. Each byte is read once for an output row,
 * before an output may come there. M4, 48x48: 0.55 MAC/cycle at stride 1, 0.43 at stride 2; M7 0.94 and 0.79. Four channels of a word at a
 * time would read half as often, but weights anew for every output.
 *
 * Weights: [channel] { w00 w10 } { w01 w11 } { w02 w12 } { w20 w21 } { w22 0 }, words of 16-bit pairs, w[row][column]. Scratch: none.
 */
#define CXN_W_T int16_t
#define CXN_WORDS 5
#define CXN_ROW (CXN_GET(IN_W) * CXN_GET(IN_CH))
#define CXN_IS_ASM (CXN_GET(INNER) == CXN_INNER_ASM || CXN_GET(INNER) == CXN_INNER_ASM_DUAL)
/* Whether windows reach above the image, and below; how many columns they reach to the right of it. */
#define CXN_HAS_TOP (CXN_GET(PAD_TOP) > 0)
#define CXN_BELOW ((CXN_GET(OUT_H) - 1) * CXN_GET(STRIDE_Y) + 3 - CXN_GET(PAD_TOP) - CXN_GET(IN_H))
#define CXN_HAS_BOTTOM (CXN_BELOW > 0)
#define CXN_RIGHT ((CXN_GET(OUT_W) - 1) * CXN_GET(STRIDE_X) + 3 - CXN_GET(PAD_LEFT) - CXN_GET(IN_W))

#if CXN_BR != 1 || CXN_BC != 1
#error "BLOCK_ROWS x BLOCK_COLS: legal value with CXN_LOWERING_DIRECT is 1x1"
#endif
#if CXN_GET(IN_BITS) != 8 || CXN_GET(KERNEL_H) != 3 || CXN_GET(KERNEL_W) != 3 || CXN_GET(STRIDE_X) > 2 || CXN_GET(UNROLL) != 4
#error "LOWERING: CXN_LOWERING_DIRECT takes 8 bits, 3x3, STRIDE_X 1 and 2, UNROLL 4; legal here: CXN_LOWERING_IM2COL and _LINE_BUFFER"
#endif
#if CXN_GET(PAD_TOP) > 1 || CXN_GET(PAD_LEFT) > 1 || CXN_BELOW > 1 || CXN_RIGHT > 1 || CXN_GET(IN_H) < 2
#error "LOWERING: CXN_LOWERING_DIRECT takes windows that reach over the image by one row and column at most; legal here: CXN_LOWERING_IM2COL and _LINE_BUFFER"
#endif

/* In assembly where the core has the instructions and an output takes no more of them than a high product, a shift and a saturation. */
#if CXN_GET(SCHEME) == CXN_SCHEME_AFFINE
#define CXN_IS_LINE (CXN_GET(RESCALE) == CXN_RESCALE_SINGLE && CXN_FULL_RANGE)
#else
#define CXN_IS_LINE 1
#endif
#if CXN_IS_ASM && CXN_DSP && CXN_IS_LINE && 2 * CXN_ROW <= 4095
#define CXN_A_ROWS 3
#include "asm/depthwise_direct.h"
#if CXN_HAS_TOP || CXN_HAS_BOTTOM
#define CXN_A_ROWS 2
#include "asm/depthwise_direct.h"
#endif
#else
/* The bytes of a column: of three rows, or of two. */
#define CXN_COLUMN                                                                                      \
    x = cxn_pkhbt((uint32_t)(int32_t)p[0], (uint32_t)(int32_t)p[CXN_ROW]);                              \
    z = rows == 3 ? (uint32_t)(int32_t)p[2 * CXN_ROW] : 0;                                              \
    p += CXN_GET(IN_CH);
#define CXN_OUTSIDE                                                                                     \
    x = CXN_PAD_PAIR;                                                                                   \
    z = CXN_PAD_PAIR;
/* The products of a column with that of the kernel. */
#define CXN_FIRST(acc) (rows == 3 ? cxn_smlad(z, low, cxn_smlad(x, w0, acc)) : cxn_smlad(x, w0, acc))
#define CXN_SECOND(acc) (rows == 3 ? cxn_smlabt(z, pair, cxn_smlad(x, w1, acc)) : cxn_smlad(x, w1, acc))
#define CXN_THIRD(acc) (rows == 3 ? cxn_smlad(z, last, cxn_smlad(x, w2, acc)) : cxn_smlad(x, w2, acc))
#define CXN_FINISH(acc)                                                                                 \
    CXN_LOCAL(store)(out, CXN_REQUANTISE(acc, factor));                                                 \
    out += CXN_GET(OUT_CH);

/* A row of outputs of one channel, from `rows` rows: all three, or without the first (`is_top`), or without the last. */
CXN_INLINE void CXN_LOCAL(channel)(const CXN_IN_T *p, const CXN_W_T *w, const CXN_CHANNEL_T *channel, CXN_OUT_T *out, int rows, int is_top)
{
    uint32_t w0 = cxn_load_u32_aligned(w), w1 = cxn_load_u32_aligned(w + 2), w2 = cxn_load_u32_aligned(w + 4);
    const uint32_t pair = cxn_load_u32_aligned(w + 6), low = pair & 0xffffU, last = cxn_load_u32_aligned(w + 8), fill = CXN_PAD_PAIR;
    int32_t start = CXN_ACC_INIT(channel), a, b;
    CXN_FACTOR_T factor = CXN_FACTOR(channel);
    uint32_t x, z;
    if (rows == 2 && is_top) {
        start = cxn_smlad(fill & 0xffffU, w0, cxn_smlad(fill & 0xffffU, w1, cxn_smlad(fill & 0xffffU, w2, start)));
        w0 = w0 >> 16 | pair << 16;
        w1 = w1 >> 16 | (pair & 0xffff0000U);
        w2 = w2 >> 16 | last << 16;
    } else if (rows == 2)
        start = cxn_smlad(fill, pair, cxn_smlad(fill, last, start));
#if CXN_GET(PAD_LEFT)
    CXN_OUTSIDE
#else
    CXN_COLUMN
#endif
    a = CXN_FIRST(start);
    CXN_COLUMN
    a = CXN_SECOND(a);
#if CXN_GET(STRIDE_X) == 1
    b = CXN_FIRST(start);
    CXN_UNROLL_LOOP(1)
    for (int32_t left = CXN_GET(OUT_W) - CXN_MAX(CXN_RIGHT, 0); left > 0; left--) {
        CXN_COLUMN
        a = CXN_THIRD(a);
        CXN_FINISH(a)
        a = CXN_SECOND(b);
        b = CXN_FIRST(start);
    }
#else
    CXN_UNROLL_LOOP(1)
    for (int32_t left = CXN_GET(OUT_W) - 1; left > 0; left--) {
        CXN_COLUMN
        b = CXN_FIRST(start);
        a = CXN_THIRD(a);
        CXN_FINISH(a)
        CXN_COLUMN
        a = CXN_SECOND(b);
    }
#endif
#if CXN_RIGHT > 0
    CXN_OUTSIDE
#elif CXN_GET(STRIDE_X) == 2
    CXN_COLUMN
#endif
#if CXN_RIGHT > 0 || CXN_GET(STRIDE_X) == 2
    a = CXN_THIRD(a);
    CXN_FINISH(a)
#endif
    (void)p;
    (void)out;
    (void)z;
}
#undef CXN_COLUMN
#undef CXN_OUTSIDE
#undef CXN_FIRST
#undef CXN_SECOND
#undef CXN_THIRD
#undef CXN_FINISH

CXN_INLINE void CXN_LOCAL(rows3)(const CXN_IN_T *p, const CXN_W_T *w, const CXN_CHANNEL_T *channels, CXN_OUT_T *out)
{
    for (int32_t c = 0; c < CXN_GET(IN_CH); c++)
        CXN_LOCAL(channel)(p + c, w + c * (2 * CXN_WORDS), channels + c, out + c, 3, 0);
}

#if CXN_HAS_TOP || CXN_HAS_BOTTOM
CXN_INLINE void CXN_LOCAL(rows2)(const CXN_IN_T *p, const CXN_W_T *w, const CXN_CHANNEL_T *channels, CXN_OUT_T *out, int32_t is_top)
{
    for (int32_t c = 0; c < CXN_GET(IN_CH); c++)
        CXN_LOCAL(channel)(p + c, w + c * (2 * CXN_WORDS), channels + c, out + c, 2, is_top);
}
#endif
#endif

CXN_KERNEL_FN void CXN_KERNEL(const CXN_IN_T *CXN_ALONE input, const CXN_W_T *CXN_RESTRICT weights,
                              const CXN_CHANNEL_T *CXN_RESTRICT channels, CXN_OUT_T *CXN_ALONE output,
                              void *CXN_RESTRICT scratch CXN_ROWS_PARAMETER)
{
    (void)scratch;
    for (int32_t y = 0; y < CXN_OUT_ROWS; y++) {
        const int32_t top = y * CXN_GET(STRIDE_Y) - CXN_PAD_ROWS;
#if CXN_HAS_TOP && CXN_HAS_BOTTOM
        if (top < 0 || top + 3 > CXN_IN_ROWS)
            CXN_LOCAL(rows2)(input + CXN_MAX(top, 0) * CXN_ROW, weights, channels, output, top < 0);
        else
#elif CXN_HAS_TOP
        if (top < 0)
            CXN_LOCAL(rows2)(input, weights, channels, output, 1);
        else
#elif CXN_HAS_BOTTOM
        if (top + 3 > CXN_IN_ROWS)
            CXN_LOCAL(rows2)(input + top * CXN_ROW, weights, channels, output, 0);
        else
#endif
            CXN_LOCAL(rows3)(input + top * CXN_ROW, weights, channels, output);
        output += CXN_GET(OUT_W) * CXN_GET(OUT_CH);
    }
}

#undef CXN_W_T
#undef CXN_WORDS
#undef CXN_ROW
#undef CXN_IS_ASM
#undef CXN_IS_LINE
#undef CXN_HAS_TOP
#undef CXN_BELOW
#undef CXN_HAS_BOTTOM
#undef CXN_RIGHT
