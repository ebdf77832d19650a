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
 * Of the seven points along y of a 5x5 kernel some only ever occur in a sum, which is run over as one: 0 and 4 make a, 3 and 6 b, 1 and 5 c,
 *     rows of outputs: a + c + point 2, b + c - point 2
 * but in blocks of 2x2, whose columns would lie further apart than a load of M0+ reaches.
 *
 * Tiles are numbered column by column, so that those of a block share rows of their inputs; BLOCK_COLS of them are the columns of a block,
 * all of them are computed and those behind the last dropped.
 * Scratch: a plane per point of BLOCK_COLS * IN_CH elements, [tile][channel], of two points [tile][point][channel]; the sums m of a block;
 * its inputs along x, of four channels, and a pixel of padding, in blocks of four rows, which spare memory, in the place of the sums, of
 * which those of a 5x5 kernel are added up two points along x at a time. With these rows of a band may go
 * over input rows, from the first on that they need: what the tiles to the right still read of a block's last columns is kept.
 */
#if CXN_GET(KERNEL_H) == 3
#define CXN_PLANES 36
#define CXN_TILE_H 4
#define CXN_TILE_N 6
#else
#define CXN_PLANES 56
#define CXN_TILE_H 2
#define CXN_TILE_N 8
#endif
#define CXN_PLANE (CXN_BC * CXN_GET(IN_CH))
#define CXN_TILES_Y ((CXN_OUT_ROWS + CXN_TILE_H - 1) / CXN_TILE_H)
#define CXN_TILES (CXN_TILES_Y * ((CXN_GET(OUT_W) + 3) / 4))
#define CXN_ROWS(tiles) ((tiles)*CXN_TILE_H + CXN_GET(KERNEL_H) - 1)
#define CXN_ENDS_CUT (CXN_IS_BAND || CXN_GET(OUT_H) % CXN_TILE_H) /* whether tiles may reach below the last row */
/* Whether points along y are run over as one, and others alone. */
#if CXN_GET(KERNEL_H) == 5 && CXN_BR * CXN_BC == 8
#define CXN_ADDED 1
#define CXN_ALONE_PARAMETER , int16_t *CXN_RESTRICT alone
#define CXN_ALONE_ARGUMENT , planes + 48 * CXN_PLANE + c * CXN_GET(IN_CH)
#else
#define CXN_ADDED 0
#define CXN_ALONE_PARAMETER
#define CXN_ALONE_ARGUMENT
#endif
/* Points along x whose sums there are at a time: behind those of the others, two each, lie four. */
#if CXN_GET(KERNEL_H) == 3
#define CXN_SUMS (36 * CXN_BR * CXN_BC)
#else
#define CXN_AT_ONCE (CXN_BR == 4 ? 2 : CXN_TILE_N)
#define CXN_SUMS ((CXN_ADDED ? 2 * (CXN_TILE_N + CXN_AT_ONCE) : 56) * CXN_BR * CXN_BC)
#endif
#define CXN_ALONG (2 * CXN_ROWS(CXN_BC) * CXN_TILE_N + CXN_GET(IN_CH) / 4)
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
#define CXN_LOWERING_BYTES (CXN_PLANES * CXN_PLANE * 2 + CXN_WORDS * 4 + CXN_KEPT * CXN_GET(IN_CH))
CXN_STATIC_ASSERT(CXN_GET(SCRATCH_BYTES) >= CXN_LOWERING_BYTES, winograd_2d_scratch);

#define CXN_W_T int16_t
#define CXN_W_BYTES 2
#define CXN_W_ROW_STEP 0
#define CXN_D_T int16_t
#define CXN_D_WIDE 1
#define CXN_D_ALIGNED 1
#define CXN_D_LOAD(p) (*(p))
#include "winograd.h"
#if !CXN_ADDED
#define CXN_RUN (CXN_GET(IN_CH))
#define CXN_COL_STEP (CXN_GET(IN_CH))
#define CXN_POINTS CXN_PLANES
#define CXN_POINT_STEP CXN_PLANE
#include "winograd_products.h"
#else
#define CXN_RUN (2 * CXN_GET(IN_CH))
#define CXN_COL_STEP (2 * CXN_GET(IN_CH))
#define CXN_POINTS (3 * CXN_AT_ONCE)
#define CXN_POINT_STEP (2 * CXN_PLANE)
#include "winograd_products.h"
#undef CXN_RUN
#undef CXN_COL_STEP
#undef CXN_POINTS
#undef CXN_POINT_STEP
#undef CXN_PRODUCTS
#undef CXN_DOT
#define CXN_RUN (CXN_GET(IN_CH))
#define CXN_COL_STEP (CXN_GET(IN_CH))
#define CXN_POINTS CXN_AT_ONCE
#define CXN_POINT_STEP CXN_PLANE
#define CXN_PRODUCTS products_alone
#define CXN_DOT dot_alone
#include "winograd_products.h"
#endif
#if CXN_GET(KERNEL_H) == 3
#define CXN_ALONG_X cxn_winograd_6
#else
#define CXN_ALONG_X cxn_winograd_8
#if CXN_GET(INNER) == CXN_INNER_ASM && CXN_DSP && CXN_THUMB2
#include "asm/winograd_rows.h"
#define CXN_ROWS_IN_ASM 1
#endif
#endif
#ifndef CXN_ROWS_IN_ASM
#define CXN_ROWS_IN_ASM 0
#endif

/* The inputs of `tiles` tiles below each other, from `top`, `left` on, into as many columns of every plane, `to` the first, of planes of
   one point `alone`; `rows` has room for one word group. */
CXN_NOINLINE void CXN_LOCAL(transform)(int16_t *CXN_RESTRICT to CXN_ALONE_PARAMETER, const int8_t *CXN_RESTRICT input, const int8_t *padding,
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
#if CXN_ROWS_IN_ASM
        CXN_LOCAL(rows_along_x)(rows, pixel, c, height);
#else
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
#endif
        CXN_UNROLL_LOOP(1)
        for (int32_t t = 0; t < tiles; t++) {
            const int32_t *const tile = rows + t * (CXN_TILE_H * 2 * CXN_TILE_N);
            int16_t *at = to + t * (CXN_ADDED ? 2 : 1) * CXN_GET(IN_CH) + c;
            CXN_UNROLL_LOOP(1)
            for (int32_t half = 0; half < 2; half++) {
                CXN_UNROLL_LOOP(1)
                for (int32_t j = 0; j < CXN_TILE_N; j++) {
                    int32_t d[6], v[CXN_PLANES / CXN_TILE_N];
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
#if !CXN_ADDED
                    CXN_UNROLL_LOOP(8)
                    for (int32_t i = 0; i < CXN_PLANES / CXN_TILE_N; i++)
                        cxn_store_u32_aligned(at + (CXN_TILE_N * i + j) * CXN_PLANE + 2 * half, cxn_halves(v[i]));
#else
                    int16_t *const a = at + 6 * j * CXN_PLANE + 2 * half, *const b = a + 2 * CXN_PLANE, *const both = b + 2 * CXN_PLANE;
                    cxn_store_u32_aligned(a, cxn_halves(v[0]));
                    cxn_store_u32_aligned(a + CXN_GET(IN_CH), cxn_halves(v[4]));
                    cxn_store_u32_aligned(b, cxn_halves(v[3]));
                    cxn_store_u32_aligned(b + CXN_GET(IN_CH), cxn_halves(v[6]));
                    cxn_store_u32_aligned(both, cxn_halves(v[1]));
                    cxn_store_u32_aligned(both + CXN_GET(IN_CH), cxn_halves(v[5]));
                    cxn_store_u32_aligned(alone + j * CXN_PLANE + t * CXN_GET(IN_CH) + c + 2 * half, cxn_halves(v[2]));
#endif
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

#if CXN_ADDED
/* The sums of a block: for each point along x two, of the rows of outputs, or of a, b and c, and behind those of all points of point 2. */
CXN_INLINE void CXN_LOCAL(block)(int32_t *m, const CXN_W_T *w, const int16_t *planes)
{
#if CXN_BR == 4
    const CXN_W_T *alone = w + 48 * CXN_BR * CXN_GET(IN_CH);
    const int16_t *from = planes + 48 * CXN_PLANE;
    CXN_UNROLL_LOOP(1)
    for (int32_t j = 0; j < CXN_TILE_N; j += 2) {
        CXN_LOCAL(products)(m, w, planes);
        CXN_LOCAL(products_alone)(m + 6 * CXN_BR * CXN_BC, alone, from);
        CXN_UNROLL_LOOP(4)
        for (const int32_t *const end = m + CXN_BR * CXN_BC; m < end; m++) {
#define CXN_AT(i) m[(i) * CXN_BR * CXN_BC]
            const uint32_t a0 = (uint32_t)CXN_AT(0), b0 = (uint32_t)CXN_AT(1), c0 = (uint32_t)CXN_AT(2);
            const uint32_t a1 = (uint32_t)CXN_AT(3), b1 = (uint32_t)CXN_AT(4), c1 = (uint32_t)CXN_AT(5);
            const uint32_t d0 = (uint32_t)CXN_AT(6), d1 = (uint32_t)CXN_AT(7);
            CXN_AT(0) = (int32_t)(a0 + c0 + d0);
            CXN_AT(1) = (int32_t)(b0 + c0 - d0);
            CXN_AT(2) = (int32_t)(a1 + c1 + d1);
            CXN_AT(3) = (int32_t)(b1 + c1 - d1);
#undef CXN_AT
        }
        m += 3 * CXN_BR * CXN_BC;
        w += 12 * CXN_BR * CXN_GET(IN_CH);
        alone += 2 * CXN_BR * CXN_GET(IN_CH);
        planes += 12 * CXN_PLANE;
        from += 2 * CXN_PLANE;
    }
#else
    CXN_LOCAL(products)(m, w, planes);
    CXN_LOCAL(products_alone)(m + 24 * CXN_BR * CXN_BC, w + 48 * CXN_BR * CXN_GET(IN_CH), planes + 48 * CXN_PLANE);
#endif
}
#endif

/* The outputs of a tile in one channel, whose CXN_ACC_INIT is `init`; m is that of the channel and tile. */
CXN_INLINE void CXN_LOCAL(outputs)(const uint32_t *m, int32_t init, CXN_FACTOR_T factor, CXN_OUT_T *out, int32_t rows, int32_t columns)
{
#if CXN_GET(KERNEL_H) == 3 || CXN_BR != 4
    uint32_t points[CXN_TILE_H * CXN_TILE_N];
    CXN_UNROLL_LOOP(8)
    for (int32_t j = 0; j < CXN_TILE_N; j++) {
#if CXN_GET(KERNEL_H) == 3
        uint32_t sum[4];
        CXN_LOCAL(sums)(m + j * CXN_BR * CXN_BC, 6 * CXN_BR * CXN_BC, sum);
        CXN_UNROLL_LOOP(4)
        for (int32_t i = 0; i < 4; i++)
            points[6 * i + j] = sum[i];
#else
#if CXN_ADDED
#define CXN_AT(i) m[(3 * j + (i)) * CXN_BR * CXN_BC]
        const uint32_t both = CXN_AT(2), alone = m[(24 + j) * CXN_BR * CXN_BC];
        points[j] = CXN_AT(0) + both + alone;
        points[8 + j] = CXN_AT(1) + both - alone;
#else
#define CXN_AT(i) m[(8 * (i) + j) * CXN_BR * CXN_BC]
        const uint32_t both = CXN_AT(5);
        points[j] = CXN_AT(0) + CXN_AT(1) + CXN_AT(2) + CXN_AT(4) + both;
        points[8 + j] = CXN_AT(1) - CXN_AT(2) + CXN_AT(3) + both + CXN_AT(6);
#endif
#undef CXN_AT
#endif
    }
#define CXN_POINTS_OF(i) points + CXN_TILE_N * (i), 1
#else
#define CXN_POINTS_OF(i) m + (i) * CXN_BR * CXN_BC, 2 * CXN_BR * CXN_BC
#endif
    CXN_UNROLL_LOOP(4)
    for (int32_t i = 0; i < CXN_TILE_H; i++) {
        uint32_t sum[4];
        if (CXN_ENDS_CUT && i >= rows)
            break;
        CXN_LOCAL(sums)(CXN_POINTS_OF(i), sum);
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
    int32_t *const m = (int32_t *)(void *)(planes + CXN_PLANES * CXN_PLANE);
#if CXN_BR == 4
    int32_t *const rows = m;
#else
    int32_t *const rows = m + CXN_SUMS;
#endif
    int8_t *const padding = (int8_t *)(rows + CXN_ALONG) - CXN_GET(IN_CH);
#if CXN_BR != 4
    CXN_MEMSET(padding, CXN_PAD_FILL, CXN_GET(IN_CH));
#endif
#if CXN_GET(IN_PLACE)
    int8_t *const kept = (int8_t *)(m + CXN_WORDS);
#endif
    int32_t x = 0, y = 0;
    for (int32_t first = 0; first < CXN_TILES; first += CXN_BC) {
        int32_t xs[CXN_BC], ys[CXN_BC];
        const int32_t tiles = CXN_MIN(CXN_BC, CXN_TILES - first);
#if CXN_BR == 4
        CXN_MEMSET(padding, CXN_PAD_FILL, CXN_GET(IN_CH));
#endif
        for (int32_t c = 0; c < tiles;) {
            const int32_t below = CXN_MIN(tiles - c, CXN_TILES_Y - y / CXN_TILE_H);
            CXN_LOCAL(transform)(planes + c * (CXN_ADDED ? 2 : 1) * CXN_GET(IN_CH) CXN_ALONE_ARGUMENT, input, padding, rows, y - CXN_PAD_ROWS, x - CXN_GET(PAD_LEFT), below CXN_KEPT_ARGUMENT CXN_ROWS_ARGUMENT);
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
        for (int32_t o = 0; o < CXN_GET(OUT_CH); o += CXN_BR, w += CXN_PLANES * CXN_BR * CXN_GET(IN_CH)) {
#if CXN_ADDED
            CXN_LOCAL(block)(m, w, planes);
#else
            CXN_LOCAL(products)(m, w, planes);
#endif
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
#undef CXN_PLANES
#undef CXN_PLANE
#undef CXN_ADDED
#undef CXN_ALONE_PARAMETER
#undef CXN_ALONE_ARGUMENT
#undef CXN_AT_ONCE
#undef CXN_POINTS_OF
#undef CXN_PRODUCTS
#undef CXN_DOT
#undef CXN_POINTS
#undef CXN_TILE_H
#undef CXN_TILE_N
#undef CXN_ALONG_X
#undef CXN_ROWS_IN_ASM
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
