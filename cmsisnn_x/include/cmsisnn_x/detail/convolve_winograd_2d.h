/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Convolution with 3x3 or 5x5 kernels at stride 1 by Winograd's minimal filtering along x and y, in integers and exact.
 *
 *     tile      for the inputs of a tile, every channel:          v = B d B'                              16 bits
 *     products  per point (i, j) and output channel:              m[i][j] = sum_channel u[i][j] v[i][j]   32 bits, wrapping
 *     outputs   SCALE * sum = A m A', SCALE = 2^s * odd:          times the inverse of odd modulo 2^32, then >> s
 *
 *     kernel  outputs  products, of   along y                         largest |v|, |u|   SCALE      products per output
 *     3x3     4x4      36, of 144     as along x, six points          12800, 18432       2^6 * 9    less than 2^11
 *     5x5     2x4      56, of 200     rows 0 to 2 of the kernel by    12800, 23040       2^4 * 45   less than 2^13
 *                                     four points, 3 and 4 by three
 *
 * Along x the points are those of convolve_winograd.h. Where its u leave 16 bits here, they are packed (cmsisnn_x.packing) without a power of
 * two, which A makes up for. Six points along y of a 5x5 kernel would need u of 31 * 31 * 128, and v of 50 * 10 * 128.
 *
 * Tiles are numbered column by column, so that those of a block share rows of their inputs; BLOCK_COLS of them are the columns of a block,
 * all of them are computed and those behind the last dropped.
 * Scratch: a plane per point of BLOCK_COLS * IN_CH elements, [tile][channel]; the sums m of a block; its inputs along x, of four
 * channels, in blocks of four rows, which spare memory, in the place of the sums; a pixel of padding. With these rows of a band may go
 * over input rows, from the first on that they need: what the tiles to the right still read of a block's last columns is kept.
 */
#define CXN_RUN (CXN_GET(IN_CH))
#if CXN_GET(KERNEL_H) == 3
#define CXN_POINTS 36
#define CXN_TILE_H 4
#define CXN_TILE_N 6
#else
#define CXN_POINTS 56
#define CXN_TILE_H 2
#define CXN_TILE_N 8
#endif
#define CXN_POINT_STEP (CXN_BC * CXN_GET(IN_CH))
#define CXN_TILES_Y ((CXN_OUT_ROWS + CXN_TILE_H - 1) / CXN_TILE_H)
#define CXN_TILES (CXN_TILES_Y * ((CXN_GET(OUT_W) + 3) / 4))
#define CXN_ROWS(tiles) ((tiles)*CXN_TILE_H + CXN_GET(KERNEL_H) - 1)
#define CXN_ENDS_CUT (CXN_IS_BAND || CXN_GET(OUT_H) % CXN_TILE_H) /* whether tiles may reach below the last row */
#define CXN_SUMS (CXN_POINTS * CXN_BR * CXN_BC)
#define CXN_ALONG (2 * CXN_ROWS(CXN_BC) * CXN_TILE_N)
#if CXN_BR == 4
#define CXN_WORDS CXN_MAX(CXN_SUMS, CXN_ALONG)
#else
#define CXN_WORDS (CXN_SUMS + CXN_ALONG)
#endif

#if CXN_GET(TILE) != 4
#error "TILE: legal value with CXN_LOWERING_WINOGRAD_2D is 4"
#endif
#if (CXN_GET(KERNEL_H) != 3 && CXN_GET(KERNEL_H) != 5) || CXN_GET(KERNEL_W) != CXN_GET(KERNEL_H) || CXN_GET(STRIDE_Y) != 1 || \
    CXN_GET(STRIDE_X) != 1
#error "LOWERING: CXN_LOWERING_WINOGRAD_2D needs KERNEL_H and KERNEL_W 3, or both 5, STRIDE_Y and STRIDE_X 1"
#endif
#if CXN_GET(IN_BITS) != 8 || CXN_GET(WEIGHT_BITS) != 8 || CXN_GET(IN_CH) % 4 || \
    CXN_GET(KERNEL_H) * CXN_GET(KERNEL_W) * CXN_GET(IN_CH) >= (CXN_GET(KERNEL_H) == 3 ? 2048 : 8192)
#error "LOWERING: CXN_LOWERING_WINOGRAD_2D needs 8-bit input and weights, IN_CH in fours, fewer than 2^11 products per output (5x5: 2^13)"
#endif
#if CXN_GET(WEIGHT_LAYOUT) != CXN_WEIGHT_LAYOUT_WIDENED
#error "WEIGHT_LAYOUT: legal value with CXN_LOWERING_WINOGRAD_2D is CXN_WEIGHT_LAYOUT_WIDENED"
#endif
#if (CXN_BR != 2 && (CXN_BR != 4 || CXN_GET(OUT_CH) % 4)) || CXN_BC == 1 || CXN_GET(FUSED_POOL)
#error "LOWERING: CXN_LOWERING_WINOGRAD_2D needs blocks of 2x2 or 2x4, or of 4x2 and OUT_CH in fours, and FUSED_POOL 0"
#endif
#if CXN_BR == 4
#define CXN_KEPT (CXN_TILE_H * CXN_GET(PAD_LEFT))
#else
#define CXN_KEPT 0
#endif
#if CXN_GET(IN_PLACE)
#if !CXN_IS_BAND || CXN_BR != 4 || CXN_GET(BAND) > CXN_TILE_H || CXN_GET(IN_W) != CXN_GET(OUT_W) || CXN_GET(IN_CH) != CXN_GET(OUT_CH)
#error "IN_PLACE: 1 with CXN_LOWERING_WINOGRAD_2D needs BAND of a tile's rows at most, blocks of 4x2 and rows of outputs as long as those of inputs"
#endif
#define CXN_KEPT_PARAMETER , const int8_t *kept
#define CXN_KEPT_ARGUMENT , c == 0 && x > 0 ? kept : NULL
#else
#define CXN_KEPT_PARAMETER
#define CXN_KEPT_ARGUMENT
#endif
#define CXN_LOWERING_BYTES (CXN_POINTS * CXN_POINT_STEP * 2 + CXN_WORDS * 4 + (1 + CXN_KEPT) * CXN_GET(IN_CH))
CXN_STATIC_ASSERT(CXN_GET(SCRATCH_BYTES) >= CXN_LOWERING_BYTES, winograd_2d_scratch);

#define CXN_W_T int16_t
#define CXN_W_BYTES 2
#define CXN_W_ROW_STEP 0
#define CXN_D_T int16_t
#define CXN_D_WIDE 1
#define CXN_D_ALIGNED 1
#define CXN_D_LOAD(p) (*(p))
#define CXN_COL_STEP (CXN_GET(IN_CH))
#include "winograd.h"
#include "winograd_products.h"
#if CXN_GET(KERNEL_H) == 3
#define CXN_ALONG_X cxn_winograd_6
#else
#define CXN_ALONG_X cxn_winograd_8
#endif

/* The inputs of `tiles` tiles below each other, from `top`, `left` on, into as many columns of every plane; `rows` has room for one word group. */
CXN_NOINLINE void CXN_LOCAL(transform)(int16_t *CXN_RESTRICT to, const int8_t *CXN_RESTRICT input, const int8_t *padding,
                                       int32_t *CXN_RESTRICT rows, int32_t top, int32_t left, int32_t tiles CXN_KEPT_PARAMETER CXN_ROWS_PARAMETER)
{
    const int8_t *pixel[CXN_ROWS(CXN_BC) * CXN_TILE_N];
    const int32_t height = CXN_ROWS(tiles);
    CXN_UNROLL_LOOP(1)
    for (int32_t i = 0; i < height; i++) {
        const int32_t outside = top + i < 0 || top + i >= CXN_IN_ROWS;
        const int8_t *const row = input + ((top + i) * CXN_GET(IN_W) + left) * CXN_GET(IN_CH);
        CXN_UNROLL_LOOP(1)
        for (int32_t j = 0; j < CXN_TILE_N; j++)
            pixel[CXN_TILE_N * i + j] =
                outside || left + j < 0 || left + j >= CXN_GET(IN_W) ? padding : row + j * CXN_GET(IN_CH);
#if CXN_GET(IN_PLACE)
        if (kept != NULL && i < CXN_TILE_H && !outside)
            for (int32_t j = 0; j < CXN_GET(PAD_LEFT); j++)
                pixel[CXN_TILE_N * i + j] = kept + (i * CXN_GET(PAD_LEFT) + j) * CXN_GET(IN_CH);
#endif
    }
    CXN_UNROLL_LOOP(1)
    for (int32_t c = 0; c < CXN_GET(IN_CH); c += 4) {
        /* In offset binary bytes 0 and 2 of a word are a pair of channels without more ado, and bytes 1 and 3 the other. */
        int32_t *along = rows;
        CXN_UNROLL_LOOP(1)
        for (int32_t i = 0; i < height; i++, along += 2 * CXN_TILE_N) {
            uint32_t x[CXN_TILE_N];
            int32_t d[CXN_TILE_N];
            CXN_UNROLL_LOOP(8)
            for (int32_t j = 0; j < CXN_TILE_N; j++) {
                x[j] = cxn_load_u32_single(pixel[CXN_TILE_N * i + j] + c) ^ 0x80808080U;
                d[j] = (int32_t)(x[j] & 0x00ff00ffU);
            }
            CXN_ALONG_X(d, along);
            CXN_UNROLL_LOOP(8)
            for (int32_t j = 0; j < CXN_TILE_N; j++)
                d[j] = (int32_t)((x[j] >> 8) & 0x00ff00ffU);
            CXN_ALONG_X(d, along + CXN_TILE_N);
        }
        CXN_UNROLL_LOOP(1)
        for (int32_t t = 0; t < tiles; t++) {
            const int32_t *const tile = rows + t * (CXN_TILE_H * 2 * CXN_TILE_N);
            int16_t *at = to + t * CXN_GET(IN_CH) + c;
            CXN_UNROLL_LOOP(1)
            for (int32_t half = 0; half < 2; half++) {
                CXN_UNROLL_LOOP(1)
                for (int32_t j = 0; j < CXN_TILE_N; j++) {
                    int32_t d[6], v[CXN_POINTS / CXN_TILE_N];
                    CXN_UNROLL_LOOP(8)
                    for (int32_t i = 0; i < 6; i++)
                        d[i] = tile[2 * CXN_TILE_N * i + CXN_TILE_N * half + j];
                    /* The offset is left over in the points where neither B adds up to zero. */
#if CXN_GET(KERNEL_H) == 3
                    cxn_winograd_6(d, v);
                    if (j == 1)
                        v[1] -= 36 * 128 * 0x10001;
#else
                    v[0] = d[2] - d[0];
                    v[1] = d[2] + d[1];
                    v[2] = d[2] - d[1];
                    v[3] = d[3] - d[1];
                    v[4] = d[3] - d[4];
                    v[5] = d[4];
                    v[6] = d[5] - d[4];
                    if (j == 1) {
                        v[1] += 2 * 18 * 128 * 0x10001;
                        v[5] += 18 * 128 * 0x10001;
                    }
#endif
                    CXN_UNROLL_LOOP(8)
                    for (int32_t i = 0; i < CXN_POINTS / CXN_TILE_N; i++)
                        cxn_store_u32_aligned(at + (CXN_TILE_N * i + j) * CXN_POINT_STEP + 2 * half, cxn_halves(v[i]));
                }
            }
        }
    }
}

/* 4 sums from the points along x, or along y of a 3x3 kernel, `step` apart. */
CXN_INLINE void CXN_LOCAL(sums)(const uint32_t *m, int32_t step, uint32_t *sum)
{
    const uint32_t plus1 = m[step] + m[2 * step], minus1 = m[step] - m[2 * step];
    const uint32_t plus2 = m[3 * step] + m[4 * step], minus2 = m[3 * step] - m[4 * step];
#if CXN_GET(KERNEL_H) == 3
    sum[0] = m[0] + plus1 + plus2;
    sum[1] = minus1 + 2 * minus2;
    sum[2] = plus1 + 4 * plus2;
    sum[3] = minus1 + 8 * minus2 + 4 * m[5 * step];
#else
    const uint32_t plus3 = m[5 * step] + m[6 * step], minus3 = m[5 * step] - m[6 * step];
    sum[0] = 2 * m[0] + 4 * plus1 + plus2 + 8 * plus3;
    sum[1] = 4 * minus1 + 2 * minus2 + 4 * minus3;
    sum[2] = 4 * plus1 + 4 * plus2 + 2 * plus3;
    sum[3] = 4 * minus1 + 8 * minus2 + minus3 + 2 * m[7 * step];
#endif
}

#define CXN_FINISH_STEP CXN_GET(OUT_CH)
#include "finish.h"
#undef CXN_FINISH_STEP

/* The outputs of a tile in one channel, whose CXN_ACC_INIT is `init`; m is that of the channel and tile. */
CXN_INLINE void CXN_LOCAL(outputs)(const uint32_t *m, int32_t init, CXN_FACTOR_T factor, CXN_OUT_T *out, int32_t rows, int32_t columns)
{
    uint32_t points[CXN_TILE_H * CXN_TILE_N];
    CXN_UNROLL_LOOP(8)
    for (int32_t j = 0; j < CXN_TILE_N; j++) {
        const uint32_t *const at = m + j * CXN_BR * CXN_BC;
#define CXN_AT(i) at[(i) * CXN_TILE_N * CXN_BR * CXN_BC]
#if CXN_GET(KERNEL_H) == 3
        uint32_t sum[4];
        CXN_LOCAL(sums)(at, 6 * CXN_BR * CXN_BC, sum);
        CXN_UNROLL_LOOP(4)
        for (int32_t i = 0; i < 4; i++)
            points[6 * i + j] = sum[i];
#else
        const uint32_t both = CXN_AT(5);
        points[j] = CXN_AT(0) + CXN_AT(1) + CXN_AT(2) + CXN_AT(4) + both;
        points[8 + j] = CXN_AT(1) - CXN_AT(2) + CXN_AT(3) + both + CXN_AT(6);
#endif
#undef CXN_AT
    }
    CXN_UNROLL_LOOP(4)
    for (int32_t i = 0; i < CXN_TILE_H; i++) {
        uint32_t sum[4];
        if (CXN_ENDS_CUT && i >= rows)
            break;
        CXN_LOCAL(sums)(points + CXN_TILE_N * i, 1, sum);
        CXN_UNROLL_LOOP(4)
        for (int32_t j = 0; j < 4; j++) /* 0x38e38e39 = 1/9, 0xa4fa4fa5 = 1/45 modulo 2^32 */
            sum[j] = (uint32_t)init + (uint32_t)(CXN_GET(KERNEL_H) == 3 ? (int32_t)(sum[j] * 0x38e38e39U) >> 6
                                                                        : (int32_t)(sum[j] * 0xa4fa4fa5U) >> 4);
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

CXN_KERNEL_FN void CXN_KERNEL(const CXN_IN_T *CXN_ALONE input, const CXN_W_T *CXN_RESTRICT weights,
                              const CXN_CHANNEL_T *CXN_RESTRICT channels, CXN_OUT_T *CXN_ALONE output, void *CXN_RESTRICT scratch CXN_ROWS_PARAMETER)
{
    int16_t *const planes = (int16_t *)scratch;
    int32_t *const m = (int32_t *)(void *)(planes + CXN_POINTS * CXN_POINT_STEP);
#if CXN_BR == 4
    int32_t *const rows = m;
    int8_t *const padding = (int8_t *)(m + CXN_WORDS);
#else
    int32_t *const rows = m + CXN_SUMS;
    int8_t *const padding = (int8_t *)(rows + CXN_ALONG);
#endif
    CXN_MEMSET(padding, CXN_PAD_FILL, CXN_GET(IN_CH));
#if CXN_GET(IN_PLACE)
    int8_t *const kept = padding + CXN_GET(IN_CH);
#endif
    int32_t x = 0, y = 0;
    for (int32_t first = 0; first < CXN_TILES; first += CXN_BC) {
        int32_t xs[CXN_BC], ys[CXN_BC];
        const int32_t tiles = CXN_MIN(CXN_BC, CXN_TILES - first);
        for (int32_t c = 0; c < tiles;) {
            const int32_t below = CXN_MIN(tiles - c, CXN_TILES_Y - y / CXN_TILE_H);
            CXN_LOCAL(transform)(planes + c * CXN_GET(IN_CH), input, padding, rows, y - CXN_PAD_ROWS, x - CXN_GET(PAD_LEFT), below CXN_KEPT_ARGUMENT CXN_ROWS_ARGUMENT);
            for (const int32_t end = c + below; c < end; c++, y += CXN_TILE_H) {
                xs[c] = x;
                ys[c] = y;
            }
            if (y >= CXN_OUT_ROWS) {
                y = 0;
                x += 4;
            }
        }
#if CXN_GET(IN_PLACE)
        for (int32_t i = 0; i < CXN_TILE_H; i++)
            if (x < CXN_GET(OUT_W) && i >= CXN_PAD_ROWS && i - CXN_PAD_ROWS < CXN_IN_ROWS)
                CXN_MEMCPY(kept + i * (CXN_GET(PAD_LEFT) * CXN_GET(IN_CH)),
                           input + ((i - CXN_PAD_ROWS) * CXN_GET(IN_W) + x - CXN_GET(PAD_LEFT)) * CXN_GET(IN_CH),
                           CXN_GET(PAD_LEFT) * CXN_GET(IN_CH));
#endif
        const CXN_W_T *w = weights;
        for (int32_t o = 0; o < CXN_GET(OUT_CH); o += CXN_BR, w += CXN_POINTS * CXN_BR * CXN_RUN) {
            CXN_LOCAL(products)(m, w, planes);
            for (int32_t r = 0; r < CXN_BR; r++) {
                if (CXN_GET(OUT_CH) % 2 && o + r >= CXN_GET(OUT_CH))
                    break;
                const int32_t init = CXN_ACC_INIT(&channels[o + r]);
                CXN_FACTOR_T factor = CXN_FACTOR(channels + o + r);
                CXN_UNROLL_LOOP(1)
                for (int32_t c = 0; c < tiles; c++)
                    CXN_LOCAL(outputs)(CXN_M_AT((const uint32_t *)(const void *)m, r, c), init, factor,
                                       output + (ys[c] * CXN_GET(OUT_W) + xs[c]) * CXN_GET(OUT_CH) + o + r, CXN_OUT_ROWS - ys[c],
                                       CXN_GET(OUT_W) - xs[c]);
            }
        }
    }
}

#undef CXN_RUN
#undef CXN_POINTS
#undef CXN_TILE_H
#undef CXN_TILE_N
#undef CXN_ALONG_X
#undef CXN_POINT_STEP
#undef CXN_TILES_Y
#undef CXN_ROWS
#undef CXN_TILES
#undef CXN_ENDS_CUT
#undef CXN_SUMS
#undef CXN_ALONG
#undef CXN_WORDS
#undef CXN_KEPT
#undef CXN_KEPT_PARAMETER
#undef CXN_KEPT_ARGUMENT
#undef CXN_W_T
#undef CXN_W_BYTES
#undef CXN_W_ROW_STEP
#undef CXN_D_T
#undef CXN_D_WIDE
#undef CXN_D_ALIGNED
#undef CXN_D_LOAD
#undef CXN_COL_STEP
#undef CXN_PRODUCTS_LEFT
#undef CXN_M_AT
