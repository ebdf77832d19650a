/* SPDX-License-Identifier: Apache-2.0 */
/*
 * im2col into paired columns, for single-issue cores with the DSP extension: elements k and k + 2 of two windows a and b share a word, in halves
 *     x = 2^8 b + (a + 128)
 * so that one load gives both: products by the word are 2^8 B + A, those by its low bytes (UXTB16) are A = sum_k w (a + 128). What 128 adds is
 * known when weights are packed, and so is where the accumulators of A and of 2^8 B + A start: each block of two rows of weights begins with
 * both, of one row and of the other. |start + sum_k w b| is less than 2^23, so that B is what is left of the difference, shifted.
 *
 * Blocks are two output channels of four pixels. Scratch: IM2COL_COLS * CXN_TAPS bytes, four pixels of output, and where windows have several
 * pixels three kernel rows, of padding and of two windows.
 */
#if CXN_BR != 2 || CXN_BC != 4 || CXN_GET(LOWERING) != CXN_LOWERING_IM2COL || CXN_GET(FUSED_POOL) || CXN_GROUPS != 1
#error "COLUMN_LAYOUT: CXN_COLUMN_LAYOUT_PAIRED needs blocks of 2x4, CXN_LOWERING_IM2COL, FUSED_POOL 0 and GROUPS 1"
#endif
#if CXN_GET(IN_BITS) != 8 || CXN_OUT_BITS != 8 || CXN_GET(WEIGHT_BITS) != 8 || CXN_GET(WEIGHT_LAYOUT) == CXN_WEIGHT_LAYOUT_PLAIN
#error "COLUMN_LAYOUT: CXN_COLUMN_LAYOUT_PAIRED needs 8-bit input, output and packed weights"
#endif
#if CXN_GET(KERNEL_W) * CXN_GET(IN_CH) % 4
#error "COLUMN_LAYOUT: CXN_COLUMN_LAYOUT_PAIRED needs KERNEL_W * IN_CH in fours"
#endif
#if CXN_CLIPPED && CXN_GET(KERNEL_H) * CXN_GET(KERNEL_W) == 1
#error "COLUMN_LAYOUT: CXN_COLUMN_LAYOUT_PAIRED needs windows of one pixel inside the image"
#endif
/* Pixels of the input in order are windows in order. */
#define CXN_IN_ORDER \
    (CXN_GET(KERNEL_H) * CXN_GET(KERNEL_W) == 1 && CXN_GET(STRIDE_Y) * CXN_GET(STRIDE_X) == 1 && CXN_GET(OUT_W) == CXN_GET(IN_W))
#define CXN_ROW_RUN (CXN_GET(KERNEL_W) * CXN_GET(IN_CH))
/* A kernel row is a word, and no window lies beside the image as a whole. */
#define CXN_IN_WORDS \
    (CXN_ROW_RUN == 4 && CXN_GET(IN_W) >= CXN_GET(KERNEL_W) && CXN_GET(PAD_LEFT) < CXN_GET(KERNEL_W) && \
     (CXN_GET(OUT_W) - 1) * CXN_GET(STRIDE_X) - CXN_GET(PAD_LEFT) < CXN_GET(IN_W))
#define CXN_PIXELS (CXN_OUT_ROWS * CXN_GET(OUT_W))
#define CXN_LOWERING_BYTES (CXN_GET(IM2COL_COLS) * CXN_TAPS + 4 * CXN_GET(OUT_CH) + (CXN_GET(KERNEL_H) * CXN_GET(KERNEL_W) > 1) * 3 * CXN_ROW_RUN)
CXN_STATIC_ASSERT(CXN_GET(SCRATCH_BYTES) >= CXN_LOWERING_BYTES, paired_scratch);

/* Whether the last one or two pixels go by themselves. */
#if !CXN_IS_BAND && CXN_GET(OUT_H) * CXN_GET(OUT_W) % 4 >= 1 && CXN_GET(OUT_H) * CXN_GET(OUT_W) % 4 <= 2
#define CXN_P_FEW 1
#else
#define CXN_P_FEW 0
#endif
#include "asm/paired.h"

/* Four elements of two columns: 0 and 2 of each in a word, 1 and 3 in the next but one. */
CXN_INLINE void CXN_LOCAL(pair_word)(uint32_t *to, uint32_t a, uint32_t b)
{
    a ^= 0x80808080U;
    to[0] = cxn_uxtb16(a) | cxn_uxtb16(b) << 8;
    to[2] = cxn_uxtb16_ror8(a) | (b & 0xff00ff00U);
}

CXN_INLINE uint32_t *CXN_LOCAL(pair)(uint32_t *CXN_RESTRICT to, const CXN_IN_T *a, const CXN_IN_T *b, int32_t count)
{
    CXN_UNROLL_LOOP(4)
    for (int32_t k = 0; k < count; k += 4, to += 4)
        CXN_LOCAL(pair_word)(to, cxn_load_u32_single(a + k), cxn_load_u32_single(b + k));
    return to;
}

#if !CXN_IN_ORDER
#if CXN_CLIPPED && !CXN_IN_WORDS
/* A kernel row of which a part lies beside the image. */
CXN_INLINE void CXN_LOCAL(clip)(CXN_IN_T *CXN_RESTRICT to, const CXN_IN_T *row, int32_t left)
{
    CXN_UNROLL_LOOP(1)
    for (int32_t i = 0; i < CXN_ROW_RUN; i++) {
        const int32_t at = left + i;
        to[i] = at < 0 || at >= CXN_GET(IN_W) * CXN_GET(IN_CH) ? CXN_PAD_FILL : row[at];
    }
}
#endif

/* The windows of the pixel at at[0], at[1], that is x, y, and of the next if more than one is `left_over`; `at` moves behind them. */
CXN_INLINE void CXN_LOCAL(windows)(uint32_t *to, const CXN_IN_T *input, CXN_IN_T *padding, int32_t *at, int32_t left_over CXN_ROWS_PARAMETER)
{
    int32_t top[2], left[2];
    CXN_UNROLL_LOOP(2)
    for (int32_t i = 0; i < 2; i++) {
        top[i] = at[1] * CXN_GET(STRIDE_Y) - CXN_PAD_ROWS;
        left[i] = (at[0] * CXN_GET(STRIDE_X) - CXN_GET(PAD_LEFT)) * CXN_GET(IN_CH);
        if (i < left_over - 1 && ++at[0] == CXN_GET(OUT_W)) {
            at[0] = 0;
            at[1]++;
        }
    }
#if CXN_IN_WORDS
    /* What the image holds of a word is shifted into place, the rest is padding. */
    uint32_t up[2], down[2], fill[2];
    CXN_UNROLL_LOOP(2)
    for (int32_t i = 0; i < 2; i++) {
        const int32_t inside = left[i] < 0 ? 0 : CXN_MIN(left[i], CXN_GET(IN_W) * CXN_GET(IN_CH) - 4);
        up[i] = 8 * (uint32_t)CXN_MAX(inside - left[i], 0);
        down[i] = 8 * (uint32_t)CXN_MAX(left[i] - inside, 0);
        fill[i] = up[i] ? CXN_PAD_BYTES >> (32 - up[i]) : down[i] ? CXN_PAD_BYTES << (32 - down[i]) : 0;
        left[i] = inside;
    }
    (void)padding;
#endif
    CXN_UNROLL_LOOP(1)
    for (int32_t m = 0; m < CXN_GET(KERNEL_H); m++) {
#if CXN_IN_WORDS
        uint32_t word[2];
        CXN_UNROLL_LOOP(2)
        for (int32_t i = 0; i < 2; i++) {
            const int32_t row = top[i] + m;
            if (CXN_IS_OUTSIDE(row))
                word[i] = CXN_PAD_BYTES;
            else
                word[i] = cxn_load_u32_single(input + row * (CXN_GET(IN_W) * CXN_GET(IN_CH)) + left[i]) << up[i] >> down[i] | fill[i];
        }
        CXN_LOCAL(pair_word)(to, word[0], word[1]);
        to += 4;
#else
        const CXN_IN_T *from[2];
        CXN_UNROLL_LOOP(2)
        for (int32_t i = 0; i < 2; i++) {
            const int32_t row = top[i] + m;
            from[i] = input + row * (CXN_GET(IN_W) * CXN_GET(IN_CH)) + left[i];
#if CXN_CLIPPED
            if (CXN_IS_OUTSIDE(row)) {
                from[i] = padding;
            } else if (left[i] < 0 || left[i] > CXN_GET(IN_W) * CXN_GET(IN_CH) - CXN_ROW_RUN) {
                CXN_IN_T *const clipped = padding + (i + 1) * CXN_ROW_RUN;
                CXN_LOCAL(clip)(clipped, input + row * (CXN_GET(IN_W) * CXN_GET(IN_CH)), left[i]);
                from[i] = clipped;
            }
#else
            (void)padding;
#endif
        }
        to = CXN_LOCAL(pair)(to, from[0], from[1], CXN_ROW_RUN);
#endif
    }
}
#endif

CXN_KERNEL_FN void CXN_KERNEL(const CXN_IN_T *CXN_ALONE input, const CXN_W_T *CXN_RESTRICT weights,
                              const CXN_CHANNEL_T *CXN_RESTRICT channels, CXN_OUT_T *CXN_ALONE output, void *CXN_RESTRICT scratch CXN_ROWS_PARAMETER)
{
    uint32_t *const columns = (uint32_t *)scratch;
    CXN_OUT_T *const few = (CXN_OUT_T *)(columns + CXN_GET(IM2COL_COLS) / 4 * CXN_TAPS);
#if !CXN_IN_ORDER
    CXN_IN_T *const padding = few + 4 * CXN_GET(OUT_CH);
    int32_t at[2] = {0, 0};
#if CXN_CLIPPED
    CXN_MEMSET(padding, CXN_PAD_FILL, CXN_ROW_RUN);
#endif
#endif
    for (int32_t pixel = 0; pixel < CXN_PIXELS; pixel += CXN_GET(IM2COL_COLS)) {
        const int32_t count = CXN_MIN(CXN_GET(IM2COL_COLS), CXN_PIXELS - pixel);
        uint32_t *to = columns;
        /* Of an odd number the last is paired with itself. */
        for (int32_t c = 0; c < count; c += 2, to += c % 4 ? 1 : CXN_TAPS - 1) {
#if CXN_IN_ORDER
            const CXN_IN_T *const a = input + (pixel + c) * CXN_GET(IN_CH);
            CXN_LOCAL(pair)(to, a, c < count - 1 ? a + CXN_GET(IN_CH) : a, CXN_GET(IN_CH));
#else
            CXN_LOCAL(windows)(to, input, padding, at, CXN_PIXELS - pixel - c CXN_ROWS_ARGUMENT);
#endif
        }
        CXN_OUT_T *const out = output + pixel * CXN_GET(OUT_CH);
        CXN_LOCAL(products)(columns, weights, channels, out, count / 4);
        if (count % 4) {
#if CXN_P_FEW && CXN_P_WRITTEN
            CXN_LOCAL(few_products)(columns + count / 4 * CXN_TAPS, weights, channels, few);
#else
            CXN_LOCAL(products)(columns + count / 4 * CXN_TAPS, weights, channels, few, 1);
#endif
            CXN_MEMCPY(out + count / 4 * 4 * CXN_GET(OUT_CH), few, (size_t)(count % 4) * CXN_GET(OUT_CH));
        }
    }
}

#undef CXN_P_FEW
#undef CXN_P_WRITTEN
#undef CXN_IN_ORDER
#undef CXN_ROW_RUN
#undef CXN_IN_WORDS
#undef CXN_PIXELS
