/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Convolution with 3x3 kernels at stride 1 by Winograd's minimal filtering along x and y, in integers and exact: 4x4 outputs from 36 products
 * per input channel instead of 144 (convolve_winograd.h has 72).
 *
 *     tile      for 6x6 inputs of every channel:                  v = B d B'                        16 bits
 *     products  per point (i, j) and output channel:              m[i][j] = sum_channel u[i][j] v[i][j]   32 bits, wrapping
 *     outputs   576 * sum = A m A', 576 = 2^6 * 9:                times the inverse of 9 modulo 2^32, then >> 6
 *
 * The points are 0, 1, -1, 2, -2 and infinity. The u are packed offline (cmsisnn_x.packing): a fourth of what the one dimension has at
 * infinity, which A makes up for, so that |u| <= 144 * 128 fits 16 bits; |v| <= 100 * 128. Everything is a linear map modulo 2^32, and 2^6
 * times a sum of q7 products fits 32 bits as long as there are fewer than 2^11 of them.
 * 5x5 kernels would need 31 * 31 * 128 in 16 bits, or 50 * 50 * 128 on the input's side.
 *
 * Tiles are numbered row by row; BLOCK_COLS of them are the columns of a block, all of them are computed and those behind the last dropped.
 * Scratch: 36 planes of BLOCK_COLS * IN_CH elements, [tile][channel]; the sums m of a block; a pixel of padding.
 */
#define CXN_RUN (CXN_GET(IN_CH))
#define CXN_POINTS 36
#define CXN_POINT_STEP (CXN_BC * CXN_GET(IN_CH))
#define CXN_TILES_X ((CXN_GET(OUT_W) + 3) / 4)
#define CXN_TILES (CXN_TILES_X * ((CXN_GET(OUT_H) + 3) / 4))
#define CXN_SUMS (CXN_POINTS * 2 * CXN_BC)

#if CXN_GET(TILE) != 4
#error "TILE: legal value with CXN_LOWERING_WINOGRAD_2D is 4"
#endif
#if CXN_GET(KERNEL_H) != 3 || CXN_GET(KERNEL_W) != 3 || CXN_GET(STRIDE_Y) != 1 || CXN_GET(STRIDE_X) != 1
#error "LOWERING: CXN_LOWERING_WINOGRAD_2D needs KERNEL_H and KERNEL_W 3, STRIDE_Y and STRIDE_X 1"
#endif
#if CXN_GET(IN_BITS) != 8 || CXN_GET(WEIGHT_BITS) != 8 || CXN_GET(IN_CH) % 4 || 9 * CXN_GET(IN_CH) >= 2048
#error "LOWERING: CXN_LOWERING_WINOGRAD_2D needs 8-bit input and weights, IN_CH in fours, and fewer than 2^11 products per output"
#endif
#if CXN_GET(WEIGHT_LAYOUT) != CXN_WEIGHT_LAYOUT_WIDENED
#error "WEIGHT_LAYOUT: legal value with CXN_LOWERING_WINOGRAD_2D is CXN_WEIGHT_LAYOUT_WIDENED"
#endif
#if CXN_BR != 2 || CXN_BC == 1 || CXN_GET(FUSED_POOL)
#error "LOWERING: CXN_LOWERING_WINOGRAD_2D needs blocks of 2x2 or 2x4, and FUSED_POOL 0"
#endif
#define CXN_LOWERING_BYTES (CXN_POINTS * CXN_POINT_STEP * 2 + CXN_SUMS * 4 + CXN_GET(IN_CH))
CXN_STATIC_ASSERT(CXN_GET(SCRATCH_BYTES) >= CXN_LOWERING_BYTES, winograd_2d_scratch);

#define CXN_W_T int16_t
#define CXN_W_BYTES 2
#define CXN_W_ROW_STEP 0
#define CXN_D_T int16_t
#define CXN_D_WIDE 1
#define CXN_D_ALIGNED 1
#define CXN_D_LOAD(p) (*(p))
#define CXN_COL_STEP (CXN_GET(IN_CH))
#include "cmsisnn_x/detail/winograd.h"
#include "cmsisnn_x/detail/winograd_products.h"

/* The 6x6 pixels at `top`, `left` into one column of every plane. */
CXN_NOINLINE void CXN_LOCAL(tile)(int16_t *CXN_RESTRICT to, const int8_t *CXN_RESTRICT input, const int8_t *padding, int32_t top, int32_t left)
{
    const int8_t *pixel[36];
    CXN_UNROLL_LOOP(1)
    for (int32_t i = 0; i < 6; i++) {
        const int32_t outside = top + i < 0 || top + i >= CXN_GET(IN_H);
        const int8_t *const row = input + ((top + i) * CXN_GET(IN_W) + left) * CXN_GET(IN_CH);
        CXN_UNROLL_LOOP(1)
        for (int32_t j = 0; j < 6; j++)
            pixel[6 * i + j] = outside || left + j < 0 || left + j >= CXN_GET(IN_W) ? padding : row + j * CXN_GET(IN_CH);
    }
    CXN_UNROLL_LOOP(1)
    for (int32_t c = 0; c < CXN_GET(IN_CH); c += 4, to += 4) {
        /* In offset binary bytes 0 and 2 of a word are a pair of channels without more ado, and bytes 1 and 3 the other. */
        int32_t rows[2][36];
        CXN_UNROLL_LOOP(1)
        for (int32_t i = 0; i < 36; i += 6) {
            uint32_t x[6];
            int32_t d[6], v[6];
            CXN_UNROLL_LOOP(8)
            for (int32_t j = 0; j < 6; j++) {
                x[j] = cxn_load_u32_single(pixel[i + j] + c) ^ 0x80808080U;
                d[j] = (int32_t)(x[j] & 0x00ff00ffU);
            }
            cxn_winograd_6(d, v);
            CXN_UNROLL_LOOP(8)
            for (int32_t j = 0; j < 6; j++) {
                rows[0][i + j] = v[j];
                d[j] = (int32_t)((x[j] >> 8) & 0x00ff00ffU);
            }
            cxn_winograd_6(d, v);
            CXN_UNROLL_LOOP(8)
            for (int32_t j = 0; j < 6; j++)
                rows[1][i + j] = v[j];
        }
        CXN_UNROLL_LOOP(1)
        for (int32_t half = 0; half < 2; half++) {
            CXN_UNROLL_LOOP(1)
            for (int32_t j = 0; j < 6; j++) {
                int32_t d[6], v[6];
                CXN_UNROLL_LOOP(8)
                for (int32_t i = 0; i < 6; i++)
                    d[i] = rows[half][6 * i + j];
                cxn_winograd_6(d, v);
                if (j == 1)
                    v[1] -= 36 * 128 * 0x10001; /* the offset, in the only point where B does not add up to zero */
                CXN_UNROLL_LOOP(8)
                for (int32_t i = 0; i < 6; i++)
                    cxn_store_u32_aligned(to + (6 * i + j) * CXN_POINT_STEP + 2 * half, cxn_halves(v[i]));
            }
        }
    }
}

/* 4 sums from 6 points, `step` apart. */
CXN_INLINE void CXN_LOCAL(sums)(const uint32_t *m, int32_t step, uint32_t *sum)
{
    const uint32_t plus1 = m[step] + m[2 * step], minus1 = m[step] - m[2 * step];
    const uint32_t plus2 = m[3 * step] + m[4 * step], minus2 = m[3 * step] - m[4 * step];
    sum[0] = m[0] + plus1 + plus2;
    sum[1] = minus1 + 2 * minus2;
    sum[2] = plus1 + 4 * plus2;
    sum[3] = minus1 + 8 * minus2 + 4 * m[5 * step];
}

#define CXN_FINISH_STEP CXN_GET(OUT_CH)
#include "cmsisnn_x/detail/finish.h"
#undef CXN_FINISH_STEP

/* Up to 4x4 outputs of one channel, whose CXN_ACC_INIT is `init`; m is that of the channel and tile. */
CXN_INLINE void CXN_LOCAL(outputs)(const uint32_t *m, int32_t init, CXN_FACTOR_T factor, CXN_OUT_T *out, int32_t rows, int32_t columns)
{
    uint32_t points[24];
    CXN_UNROLL_LOOP(8)
    for (int32_t j = 0; j < 6; j++) {
        uint32_t sum[4];
        CXN_LOCAL(sums)(m + j * 2 * CXN_BC, 6 * 2 * CXN_BC, sum);
        CXN_UNROLL_LOOP(4)
        for (int32_t i = 0; i < 4; i++)
            points[6 * i + j] = sum[i];
    }
    CXN_UNROLL_LOOP(4)
    for (int32_t i = 0; i < 4; i++) {
        uint32_t sum[4];
        if (CXN_GET(OUT_H) % 4 && i >= rows)
            break;
        CXN_LOCAL(sums)(points + 6 * i, 1, sum);
        CXN_UNROLL_LOOP(4)
        for (int32_t j = 0; j < 4; j++) /* 0x38e38e39 = 1/9 modulo 2^32 */
            sum[j] = (uint32_t)init + (uint32_t)((int32_t)(sum[j] * 0x38e38e39U) >> 6);
        CXN_OUT_T *const to = out + i * CXN_GET(OUT_W) * CXN_GET(OUT_CH);
        if (CXN_GET(INNER) == CXN_INNER_ASM_DUAL && (CXN_GET(OUT_W) % 4 == 0 || columns >= 4)) {
            CXN_LOCAL(finish)((int32_t)sum[0], (int32_t)sum[1], (int32_t)sum[2], (int32_t)sum[3], factor, to);
        } else {
            CXN_UNROLL_LOOP(4)
            for (int32_t j = 0; j < 4; j++)
                if (CXN_GET(OUT_W) % 4 == 0 || j < columns)
                    CXN_LOCAL(store)(to + j * CXN_GET(OUT_CH), CXN_REQUANTISE((int32_t)sum[j], factor));
        }
    }
}

CXN_KERNEL_FN void CXN_KERNEL(const CXN_IN_T *CXN_RESTRICT input, const CXN_W_T *CXN_RESTRICT weights,
                              const CXN_CHANNEL_T *CXN_RESTRICT channels, CXN_OUT_T *CXN_RESTRICT output, void *CXN_RESTRICT scratch)
{
    int16_t *const planes = (int16_t *)scratch;
    int32_t *const m = (int32_t *)(void *)(planes + CXN_POINTS * CXN_POINT_STEP);
    int8_t *const padding = (int8_t *)(m + CXN_SUMS);
    CXN_MEMSET(padding, CXN_PAD_FILL, CXN_GET(IN_CH));
    int32_t x = 0, y = 0;
    for (int32_t first = 0; first < CXN_TILES; first += CXN_BC) {
        int32_t xs[CXN_BC], ys[CXN_BC];
        const int32_t tiles = CXN_MIN(CXN_BC, CXN_TILES - first);
        CXN_UNROLL_LOOP(1)
        for (int32_t c = 0; c < tiles; c++) {
            xs[c] = x;
            ys[c] = y;
            CXN_LOCAL(tile)(planes + c * CXN_GET(IN_CH), input, padding, y - CXN_GET(PAD_TOP), x - CXN_GET(PAD_LEFT));
            x += 4;
            if (x >= CXN_GET(OUT_W)) {
                x = 0;
                y += 4;
            }
        }
        const CXN_W_T *w = weights;
        for (int32_t o = 0; o < CXN_GET(OUT_CH); o += 2, w += CXN_POINTS * 2 * CXN_RUN) {
            CXN_LOCAL(products)(m, w, planes);
            CXN_UNROLL_LOOP(1)
            for (int32_t r = 0; r < CXN_MIN(2, CXN_GET(OUT_CH) - o); r++) {
                const int32_t init = CXN_ACC_INIT(&channels[o + r]);
                CXN_FACTOR_T factor = CXN_FACTOR(channels + o + r);
                CXN_UNROLL_LOOP(1)
                for (int32_t c = 0; c < tiles; c++)
                    CXN_LOCAL(outputs)((const uint32_t *)(const void *)m + r * CXN_BC + c, init, factor,
                                       output + (ys[c] * CXN_GET(OUT_W) + xs[c]) * CXN_GET(OUT_CH) + o + r, CXN_GET(OUT_H) - ys[c],
                                       CXN_GET(OUT_W) - xs[c]);
            }
        }
    }
}

#undef CXN_RUN
#undef CXN_POINTS
#undef CXN_POINT_STEP
#undef CXN_TILES_X
#undef CXN_TILES
#undef CXN_SUMS
#undef CXN_W_T
#undef CXN_W_BYTES
#undef CXN_W_ROW_STEP
#undef CXN_D_T
#undef CXN_D_WIDE
#undef CXN_D_ALIGNED
#undef CXN_D_LOAD
#undef CXN_COL_STEP
#undef CXN_PRODUCTS_LEFT
