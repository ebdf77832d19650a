/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Convolution by Winograd's minimal filtering along x, in integers and exact: TILE output columns from N = TILE + KERNEL_W - 1
 * products per kernel row and input channel instead of TILE * KERNEL_W.
 *
 *     strip     for N input columns, every row and channel:      v[i] = sum_j B[i][j] d[j]                  16 bits
 *     products  per point i, output channel and output row:      m[i] = sum_{row, channel} u[i] v[i]        32 bits, wrapping
 *     outputs   SCALE * sum = A m, SCALE = 2^s * odd:            times the inverse of odd modulo 2^32, then >> s
 *
 * The u are packed offline (cmsisnn_x.packing), with SCALE / N_i folded in, so that B and A hold small integers only. Everything is a
 * linear map modulo 2^32, and 2^s times a sum of q7 products fits 32 bits as long as KERNEL_H * KERNEL_W * IN_CH < 2^(17-s).
 *
 *     N   points                        largest |v|, |u|           SCALE
 *     4   0 1 -1 inf                    256, 384                   2
 *     6   0 1 -1 2 -2 inf               1280, 3968                 24 = 8 * 3
 *     8   0 1 -1 2 -2 1/2 -1/2 inf      6400, 16256                360 = 8 * 45
 *
 * A strip is one tile wide and as high as the image or band, so the window of one point is contiguous, [row][channel], and the next output row
 * starts STRIDE_Y * IN_CH elements later: the columns of a block are neighbouring output rows. OUT_H, and the rows of every call on a band, must be at least BLOCK_COLS.
 * With an odd IN_CH every other column is not word aligned, which LDR and LDRSH allow where these blocks use them; padding the channels
 * instead costs a quarter more products at IN_CH 3. Filtering along y as well: convolve_winograd_2d.h, 3x3 alone.
 * TILE 4 beats 2 wherever OUT_W is 4 or more, for a third more flash (M4, 16x16x32, 5x5: 3.0 against 4.4 M cycles).
 * Weights: widened, transformed offline; or plain, where each block of rows is transformed in scratch once per tile: the flash of q7
 * weights for 10 to 60 % more time, the more the fewer rows an image has.
 * Scratch: N * CXN_PLANE * 2 bytes, and N * BLOCK_ROWS * CXN_RUN * 2 for plain weights. CXN_PLANE = ((OUT_H - 1) * STRIDE_Y + KERNEL_H) *
 * IN_CH, plus one if a run is odd, rounded up to even.
 */
/* The largest |v| and |u| of the table are those of 8 bits; they are what fits 16. */
#define CXN_RANGES_FIT (CXN_GET(IN_BITS) == 8 && CXN_GET(WEIGHT_BITS) == 8)
#define CXN_N (CXN_GET(TILE) + CXN_GET(KERNEL_W) - 1)
#if CXN_IS_BAND
#define CXN_HEIGHT ((CXN_GET(BAND) - 1) * CXN_GET(STRIDE_Y) + CXN_GET(KERNEL_H))
#else
#define CXN_HEIGHT ((CXN_GET(OUT_H) - 1) * CXN_GET(STRIDE_Y) + CXN_GET(KERNEL_H))
#endif
#define CXN_ROWS_READ ((CXN_OUT_ROWS - 1) * CXN_GET(STRIDE_Y) + CXN_GET(KERNEL_H)) /* of them, those of this call */
#define CXN_RUN_EXACT (CXN_GET(KERNEL_H) * CXN_GET(IN_CH))
#define CXN_PLANE CXN_ROUND_UP(CXN_HEIGHT * CXN_GET(IN_CH) + CXN_RUN_EXACT % 2, 2)

#if (CXN_GET(TILE) != 2 && CXN_GET(TILE) != 4) || (CXN_N != 4 && CXN_N != 6 && CXN_N != 8)
#error "TILE: legal values with CXN_LOWERING_WINOGRAD are 2 (KERNEL_W 3, 5 or 7) and 4 (KERNEL_W 3 or 5)"
#endif
#if !CXN_RANGES_FIT || CXN_GET(STRIDE_X) != 1
#error "LOWERING: CXN_LOWERING_WINOGRAD needs 8-bit input and weights and STRIDE_X 1"
#endif
#if CXN_GET(WEIGHT_LAYOUT) != CXN_WEIGHT_LAYOUT_WIDENED && CXN_GET(WEIGHT_LAYOUT) != CXN_WEIGHT_LAYOUT_PLAIN
#error "WEIGHT_LAYOUT: legal values with CXN_LOWERING_WINOGRAD are CXN_WEIGHT_LAYOUT_WIDENED and _PLAIN"
#endif
#if CXN_GET(OUT_H) < CXN_BC || (CXN_IS_BAND && CXN_GET(BAND) < CXN_BC)
#error "LOWERING: CXN_LOWERING_WINOGRAD needs OUT_H, and BAND where there is one, of at least BLOCK_COLS"
#endif
#if CXN_N == 4
#define CXN_SCALE_SHIFT 1
#else
#define CXN_SCALE_SHIFT 3
#endif
#if CXN_RUN_EXACT * CXN_GET(KERNEL_W) >= (1 << (17 - CXN_SCALE_SHIFT))
#error "LOWERING: CXN_LOWERING_WINOGRAD needs fewer than 2^14 products per output (2^16 where TILE + KERNEL_W is 5)"
#endif
#define CXN_RUN CXN_ROUND_UP(CXN_RUN_EXACT, 2)
#if CXN_GET(WEIGHT_LAYOUT) == CXN_WEIGHT_LAYOUT_PLAIN
#define CXN_STORED_T int8_t
#define CXN_ROW_OF(rows) ((rows) * (CXN_RUN_EXACT * CXN_GET(KERNEL_W)))
#define CXN_LOWERING_BYTES (CXN_N * (CXN_PLANE + CXN_BR * CXN_RUN) * 2)
#else
#define CXN_STORED_T int16_t
#define CXN_ROW_OF(rows) ((rows) * (CXN_N * CXN_RUN))
#define CXN_LOWERING_BYTES (CXN_N * CXN_PLANE * 2)
#endif
CXN_STATIC_ASSERT(CXN_GET(SCRATCH_BYTES) >= CXN_LOWERING_BYTES + CXN_BAND_BYTES, winograd_scratch);

/* Output columns lie in the image, or one behind the other in the band of a fused pooling. */
#if defined(CXN_POOL_FUSED)
#define CXN_OUT_COLUMN CXN_BAND_LINE
#define CXN_OUT_PIXEL(y, x) (strip + (y)*CXN_GET(OUT_CH))
#else
#define CXN_OUT_COLUMN CXN_GET(OUT_CH)
#define CXN_OUT_PIXEL(y, x) (output + ((y)*CXN_GET(OUT_W) + (x)) * CXN_GET(OUT_CH))
#endif

#define CXN_W_T int16_t
#define CXN_W_BYTES 2
#define CXN_W_ROW_STEP 0
#define CXN_D_T int16_t
#define CXN_D_WIDE 1
#if CXN_GET(IN_CH) % 2 == 0
#define CXN_D_ALIGNED 1
#else
#define CXN_D_ALIGNED 0
#endif
#define CXN_D_LOAD(p) (*(p))
#define CXN_COL_STEP (CXN_GET(STRIDE_Y) * CXN_GET(IN_CH))

#define CXN_POINTS CXN_N
#define CXN_POINT_STEP CXN_PLANE
#include "winograd_products.h"
#include "winograd.h"

/* v = B d for one channel, or for two in one word as high * 2^16 + low: the arithmetic is linear, so both ride on it. */
CXN_INLINE void CXN_LOCAL(transform)(const int32_t *d, int32_t *v)
{
#if CXN_N == 4
    v[0] = d[2] - d[0];
    v[1] = d[2] + d[1];
    v[2] = d[2] - d[1];
    v[3] = d[3] - d[1];
#elif CXN_N == 6
    cxn_winograd_6(d, v);
#else
    cxn_winograd_8(d, v);
#endif
}

/* Bytes 0 and 2 of a word, as a pair for `transform`; called with the word shifted for bytes 1 and 3. */
CXN_INLINE int32_t CXN_LOCAL(pair)(uint32_t x)
{
    /* Offset binary has no borrow; the offset is taken off both halves at once. */
    return (int32_t)(((x ^ 0x00800080U) & 0x00ff00ffU) - 0x00800080U);
}

/* Input row `from`, the columns of one tile from `left` on, into row `to` of every plane. */
CXN_INLINE void CXN_LOCAL(strip_row)(int16_t *CXN_RESTRICT to, const int8_t *CXN_RESTRICT from, int32_t left)
{
    const int32_t clipped = left < 0 || left > CXN_GET(IN_W) - CXN_N;
    int32_t c = 0;
    from += left * CXN_GET(IN_CH);
#if CXN_GET(IN_CH) % 4 == 0
    for (; c < CXN_GET(IN_CH); c += 4) {
        uint32_t x[CXN_N];
        int32_t d[CXN_N], v[CXN_N];
        if (clipped) {
            CXN_UNROLL_LOOP(8)
            for (int32_t j = 0; j < CXN_N; j++)
                x[j] = left + j < 0 || left + j >= CXN_GET(IN_W) ? CXN_PAD_BYTES : cxn_load_u32_single(from + j * CXN_GET(IN_CH) + c);
        } else {
            CXN_UNROLL_LOOP(8)
            for (int32_t j = 0; j < CXN_N; j++)
                x[j] = cxn_load_u32_single(from + j * CXN_GET(IN_CH) + c);
        }
        CXN_UNROLL_LOOP(8)
        for (int32_t j = 0; j < CXN_N; j++)
            d[j] = CXN_LOCAL(pair)(x[j]);
        CXN_LOCAL(transform)(d, v);
        CXN_UNROLL_LOOP(8)
        for (int32_t i = 0; i < CXN_N; i++)
            cxn_store_u32_aligned(to + i * CXN_PLANE + c, cxn_halves(v[i]));
        CXN_UNROLL_LOOP(8)
        for (int32_t j = 0; j < CXN_N; j++)
            d[j] = CXN_LOCAL(pair)(x[j] >> 8);
        CXN_LOCAL(transform)(d, v);
        CXN_UNROLL_LOOP(8)
        for (int32_t i = 0; i < CXN_N; i++)
            cxn_store_u32_aligned(to + i * CXN_PLANE + c + 2, cxn_halves(v[i]));
    }
#elif CXN_DSP && CXN_GET(IN_CH) > 1
    int8_t edge[CXN_N * CXN_GET(IN_CH)]; /* the columns with what pads them */
    if (clipped) {
        const int32_t end = CXN_MIN(CXN_GET(IN_W) - left, CXN_N) * CXN_GET(IN_CH);
        CXN_MEMSET(edge, CXN_PAD_FILL, sizeof edge);
        for (c = CXN_MAX(-left, 0) * CXN_GET(IN_CH); c < end; c++)
            edge[c] = from[c];
        from = edge;
    }
    CXN_UNROLL_LOOP(1)
    for (c = 0; c + 2 <= CXN_GET(IN_CH); c += 2) {
        int32_t d[CXN_N], v[CXN_N];
        CXN_UNROLL_LOOP(8)
        for (int32_t j = 0; j < CXN_N; j++)
            d[j] = from[j * CXN_GET(IN_CH) + c] + from[j * CXN_GET(IN_CH) + c + 1] * 65536;
        CXN_LOCAL(transform)(d, v);
        CXN_UNROLL_LOOP(8)
        for (int32_t i = 0; i < CXN_N; i++) {
            to[i * CXN_PLANE + c] = (int16_t)v[i];
            to[i * CXN_PLANE + c + 1] = (int16_t)((v[i] + 0x8000) >> 16);
        }
    }
    CXN_UNROLL_LOOP(1)
    for (; c < CXN_GET(IN_CH); c++) {
        int32_t d[CXN_N], v[CXN_N];
        CXN_UNROLL_LOOP(8)
        for (int32_t j = 0; j < CXN_N; j++)
            d[j] = from[j * CXN_GET(IN_CH) + c];
        CXN_LOCAL(transform)(d, v);
        CXN_UNROLL_LOOP(8)
        for (int32_t i = 0; i < CXN_N; i++)
            to[i * CXN_PLANE + c] = (int16_t)v[i];
    }
#else
    for (; c < CXN_GET(IN_CH); c++) {
        int32_t d[CXN_N], v[CXN_N];
        CXN_UNROLL_LOOP(8)
        for (int32_t j = 0; j < CXN_N; j++)
            d[j] = clipped && (left + j < 0 || left + j >= CXN_GET(IN_W)) ? CXN_PAD_FILL : from[j * CXN_GET(IN_CH) + c];
        CXN_LOCAL(transform)(d, v);
        CXN_UNROLL_LOOP(8)
        for (int32_t i = 0; i < CXN_N; i++)
            to[i * CXN_PLANE + c] = (int16_t)v[i];
    }
#endif
}

#if CXN_GET(WEIGHT_LAYOUT) == CXN_WEIGHT_LAYOUT_PLAIN
/* u = G g, scaled as cmsisnn_x.packing.winograd_transform does it; one channel, or two in one word. */
CXN_INLINE void CXN_LOCAL(transform_weights)(const int32_t *g, int32_t *u)
{
    enum { last = CXN_GET(KERNEL_W) - 1 };
    int32_t even1 = 0, odd1 = 0, even2 = 0, odd2 = 0, even3 = 0, odd3 = 0;
    CXN_UNROLL_LOOP(8)
    for (int32_t k = 0; k <= last; k += 2) {
        even1 += g[k];
        even2 += g[k] * (1 << k);
        even3 += g[k] * (1 << (last - k));
    }
    CXN_UNROLL_LOOP(8)
    for (int32_t k = 1; k <= last; k += 2) {
        odd1 += g[k];
        odd2 += g[k] * (1 << k);
        odd3 += g[k] * (1 << (last - k));
    }
#if CXN_N == 4
    (void)even2, (void)odd2, (void)even3, (void)odd3;
    u[0] = -2 * g[0];
    u[1] = even1 + odd1;
    u[2] = even1 - odd1;
    u[3] = 2 * g[last];
#else
    u[0] = (CXN_N == 6 ? 6 : -90) * g[0];
    u[1] = (CXN_N == 6 ? -4 : -20) * (even1 + odd1);
    u[2] = (CXN_N == 6 ? -4 : -20) * (even1 - odd1);
    u[3] = even2 + odd2;
    u[4] = even2 - odd2;
#if CXN_N == 8
    u[5] = even3 + odd3;
    u[6] = even3 - odd3;
#else
    (void)even3, (void)odd3;
#endif
    u[CXN_N - 1] = (CXN_N == 6 ? 24 : 90) * g[last];
#endif
}

/* `rows` rows of plain weights, and zeros up to `block` rows, as the packed block of those rows. */
CXN_NOINLINE void CXN_LOCAL(pack)(int16_t *CXN_RESTRICT to, const int8_t *CXN_RESTRICT w, int32_t rows, int32_t block)
{
    CXN_UNROLL_LOOP(1)
    for (int32_t r = 0; r < block; r++) {
        int16_t *at = to + 2 * r;
        CXN_UNROLL_LOOP(1)
        for (int32_t m = 0; m < CXN_GET(KERNEL_H); m++) {
            int32_t g[CXN_GET(KERNEL_W)], u[CXN_N];
#if CXN_GET(IN_CH) % 4 == 0
            CXN_UNROLL_LOOP(1)
            for (int32_t c = 0; c < CXN_GET(IN_CH); c += 4, at += 4 * block) {
                uint32_t x[CXN_GET(KERNEL_W)];
                CXN_UNROLL_LOOP(8)
                for (int32_t k = 0; k < CXN_GET(KERNEL_W); k++)
                    x[k] = r < rows ? cxn_load_u32_aligned(w + k * CXN_GET(IN_CH) + c) : 0;
                CXN_UNROLL_LOOP(8)
                for (int32_t k = 0; k < CXN_GET(KERNEL_W); k++)
                    g[k] = CXN_LOCAL(pair)(x[k]);
                CXN_LOCAL(transform_weights)(g, u);
                CXN_UNROLL_LOOP(8)
                for (int32_t i = 0; i < CXN_N; i++)
                    cxn_store_u32_aligned(at + i * block * CXN_RUN, cxn_halves(u[i]));
                CXN_UNROLL_LOOP(8)
                for (int32_t k = 0; k < CXN_GET(KERNEL_W); k++)
                    g[k] = CXN_LOCAL(pair)(x[k] >> 8);
                CXN_LOCAL(transform_weights)(g, u);
                CXN_UNROLL_LOOP(8)
                for (int32_t i = 0; i < CXN_N; i++)
                    cxn_store_u32_aligned(at + i * block * CXN_RUN + 2 * block, cxn_halves(u[i]));
            }
#else
            for (int32_t c = 0; c < CXN_GET(IN_CH); c++) {
                /* Element e of a row lies in pair e / 2. */
                const int32_t e = m * CXN_GET(IN_CH) + c;
                CXN_UNROLL_LOOP(8)
                for (int32_t k = 0; k < CXN_GET(KERNEL_W); k++)
                    g[k] = r < rows ? w[k * CXN_GET(IN_CH) + c] : 0;
                CXN_LOCAL(transform_weights)(g, u);
                CXN_UNROLL_LOOP(8)
                for (int32_t i = 0; i < CXN_N; i++)
                    at[i * block * CXN_RUN + e / 2 * (2 * block) + e % 2] = (int16_t)u[i];
            }
#endif
            if (r < rows)
                w += CXN_GET(KERNEL_W) * CXN_GET(IN_CH);
        }
#if CXN_RUN_EXACT % 2
        for (int32_t i = 0; i < CXN_N; i++)
            at[i * block * CXN_RUN + CXN_RUN_EXACT / 2 * (2 * block) + 1] = 0;
#endif
    }
}
#endif

/* Wrapping arithmetic of the output side. */
CXN_INLINE int32_t CXN_LOCAL(descale)(uint32_t sum)
{
    /* 0xaaaaaaab = 1/3, 0xa4fa4fa5 = 1/45 modulo 2^32 */
#if CXN_N == 6
    sum *= 0xaaaaaaabU;
#elif CXN_N == 8
    sum *= 0xa4fa4fa5U;
#endif
    return (int32_t)sum >> CXN_SCALE_SHIFT;
}

/* Four at a time where two instructions run in a cycle; elsewhere they only want registers that the sums have. */
#if CXN_GET(TILE) == 4 && CXN_GET(INNER) == CXN_INNER_ASM_DUAL
#define CXN_FINISH_STEP CXN_OUT_COLUMN
#include "finish.h"
#undef CXN_FINISH_STEP
#endif

/* TILE output columns of channel o + r, whose CXN_ACC_INIT is `init`. */
CXN_INLINE void CXN_LOCAL(outputs)(const int32_t *m, int32_t step, int32_t init, const CXN_CHANNEL_T *channels, int32_t o, int32_t r,
                                   CXN_OUT_T *out, int32_t columns)
{
    uint32_t sum[CXN_GET(TILE)];
    const uint32_t plus1 = (uint32_t)m[step] + (uint32_t)m[2 * step], minus1 = (uint32_t)m[step] - (uint32_t)m[2 * step];
#if CXN_N == 4
    sum[0] = (uint32_t)m[0] + plus1;
    sum[1] = minus1 + (uint32_t)m[3 * step];
#else
    const uint32_t plus2 = (uint32_t)m[3 * step] + (uint32_t)m[4 * step], minus2 = (uint32_t)m[3 * step] - (uint32_t)m[4 * step];
#if CXN_N == 6
    const uint32_t plus3 = 0, minus3 = 0;
#else
    const uint32_t plus3 = (uint32_t)m[5 * step] + (uint32_t)m[6 * step], minus3 = (uint32_t)m[5 * step] - (uint32_t)m[6 * step];
#endif
    const uint32_t last = (uint32_t)m[(CXN_N - 1) * step];
#if CXN_GET(TILE) == 2
    sum[0] = (uint32_t)m[0] + plus1 + plus2 + 2 * plus3;
    sum[1] = minus1 + 2 * minus2 + minus3 + last;
#else
    sum[0] = (uint32_t)m[0] + plus1 + plus2 + 8 * plus3;
    sum[1] = minus1 + 2 * minus2 + 4 * minus3;
    sum[2] = plus1 + 4 * plus2 + 2 * plus3;
    sum[3] = minus1 + 8 * minus2 + minus3 + last;
#endif
#endif
    CXN_FACTOR_T factor = CXN_FACTOR(channels + o + r);
#define CXN_SUM(j) ((int32_t)((uint32_t)init + (uint32_t)CXN_LOCAL(descale)(sum[j])))
#if CXN_GET(TILE) == 4 && CXN_GET(INNER) == CXN_INNER_ASM_DUAL
    if (CXN_GET(OUT_W) % 4 == 0 || columns >= 4) {
        CXN_LOCAL(finish)(CXN_SUM(0), CXN_SUM(1), CXN_SUM(2), CXN_SUM(3), factor, out);
        return;
    }
#endif
    for (int32_t j = 0; j < CXN_GET(TILE); j++)
        if (CXN_GET(OUT_W) % CXN_GET(TILE) == 0 || j < columns)
            out[j * CXN_OUT_COLUMN] = (CXN_OUT_T)CXN_REQUANTISE(CXN_SUM(j), factor);
#undef CXN_SUM
}

CXN_KERNEL_FN void CXN_KERNEL(const CXN_IN_T *CXN_RESTRICT input, const CXN_STORED_T *CXN_RESTRICT weights,
                              const CXN_CHANNEL_T *CXN_RESTRICT channels, CXN_OUT_T *CXN_RESTRICT output, void *CXN_RESTRICT scratch CXN_ROWS_PARAMETER)
{
    int16_t *const planes = (int16_t *)scratch;
    int32_t m[CXN_N * CXN_MAX(CXN_BR, 2) * CXN_BC];
#if CXN_RUN_EXACT % 2
    /* The zero weight that fills a run up meets one element behind the plane. */
    for (int32_t i = 0; i < CXN_N; i++)
        planes[i * CXN_PLANE + CXN_HEIGHT * CXN_GET(IN_CH)] = 0;
#endif
#if defined(CXN_POOL_FUSED)
    CXN_LOCAL(band) band = {(CXN_OUT_T *)scratch + CXN_LOWERING_BYTES / sizeof(CXN_OUT_T), output, 0, 0, 0};
#endif
    for (int32_t x = 0; x < CXN_GET(OUT_W); x += CXN_GET(TILE)) {
#if defined(CXN_POOL_FUSED)
        if (x + CXN_GET(TILE) <= band.needed)
            continue;
        CXN_OUT_T *const strip = band.lines + (x - band.first) * CXN_BAND_LINE;
#endif
        for (int32_t row = 0; row < CXN_ROWS_READ; row++) {
            const int32_t y = row - CXN_PAD_ROWS;
            int16_t *const to = planes + row * CXN_GET(IN_CH);
            if (y >= 0 && y < CXN_IN_ROWS)
                CXN_LOCAL(strip_row)(to, input + y * (CXN_GET(IN_W) * CXN_GET(IN_CH)), x - CXN_GET(PAD_LEFT));
            else if (x == 0)
#if CXN_PAD_FILL == 0
                for (int32_t i = 0; i < CXN_N; i++)
                    CXN_MEMSET(to + i * CXN_PLANE, 0, CXN_GET(IN_CH) * 2);
#else
                for (int32_t i = 0; i < CXN_N; i++) /* B d of equal elements is zero at every point but 1 */
                    cxn_fill_s16(to + i * CXN_PLANE, i == 1 ? (CXN_N == 4 ? 2 : CXN_N == 6 ? -6 : -18) * CXN_PAD_FILL : 0, CXN_GET(IN_CH));
#endif
        }
        /* The rows left over run the same loop for another number of rows; as one inline function GCC compiles both otherwise, and no better. */
        const CXN_STORED_T *stored = weights;
        int32_t o = 0;
#if CXN_GET(OUT_CH) >= CXN_BR
        for (; o <= CXN_GET(OUT_CH) - CXN_BR; o += CXN_BR, stored += CXN_ROW_OF(CXN_BR)) {
#if CXN_GET(WEIGHT_LAYOUT) == CXN_WEIGHT_LAYOUT_PLAIN
            const CXN_W_T *const w = planes + CXN_N * CXN_PLANE;
            CXN_LOCAL(pack)(planes + CXN_N * CXN_PLANE, stored, CXN_BR, CXN_BR);
#else
            const CXN_W_T *const w = stored;
#endif
            for (int32_t y = 0; y < CXN_OUT_ROWS; y += CXN_BC) {
                y = CXN_MIN(y, CXN_OUT_ROWS - CXN_BC);
                CXN_LOCAL(products)(m, w, planes + y * CXN_COL_STEP);
                for (int32_t r = 0; r < CXN_BR; r++)
                    for (int32_t c = 0; c < CXN_BC; c++)
                        CXN_LOCAL(outputs)(CXN_M_AT(m, r, c), CXN_BR * CXN_BC, CXN_ACC_INIT(&channels[o + r]), channels, o, r,
                                           CXN_OUT_PIXEL(y + c, x) + o + r, CXN_GET(OUT_W) - x);
            }
        }
#endif
#if CXN_GET(OUT_CH) % CXN_BR
        for (; o < CXN_GET(OUT_CH); o += 2, stored += CXN_ROW_OF(2)) {
#if CXN_GET(WEIGHT_LAYOUT) == CXN_WEIGHT_LAYOUT_PLAIN
            const CXN_W_T *const w = planes + CXN_N * CXN_PLANE;
            CXN_LOCAL(pack)(planes + CXN_N * CXN_PLANE, stored, CXN_MIN(2, CXN_GET(OUT_CH) - o), 2);
#else
            const CXN_W_T *const w = stored;
#endif
            for (int32_t y = 0; y < CXN_OUT_ROWS; y += CXN_BC) {
                y = CXN_MIN(y, CXN_OUT_ROWS - CXN_BC);
                CXN_PRODUCTS_LEFT(m, w, planes + y * CXN_COL_STEP);
                for (int32_t r = 0; r < CXN_MIN(2, CXN_GET(OUT_CH) - o); r++)
                    for (int32_t c = 0; c < CXN_BC; c++)
                        CXN_LOCAL(outputs)(m + r * CXN_BC + c, 2 * CXN_BC, CXN_ACC_INIT(&channels[o + r]), channels, o, r,
                                           CXN_OUT_PIXEL(y + c, x) + o + r, CXN_GET(OUT_W) - x);
            }
        }
#endif
#if defined(CXN_POOL_FUSED)
        CXN_LOCAL(band_pool)(&band, CXN_MIN(x + CXN_GET(TILE), CXN_GET(OUT_W)));
#endif
    }
}

#undef CXN_RANGES_FIT
#undef CXN_N
#undef CXN_HEIGHT
#undef CXN_ROWS_READ
#undef CXN_RUN_EXACT
#undef CXN_PLANE
#undef CXN_SCALE_SHIFT
#undef CXN_W_T
#undef CXN_W_BYTES
#undef CXN_W_ROW_STEP
#undef CXN_RUN
#undef CXN_D_T
#undef CXN_D_WIDE
#undef CXN_D_ALIGNED
#undef CXN_D_LOAD
#undef CXN_COL_STEP
#undef CXN_PRODUCTS
#undef CXN_DOT
#undef CXN_PRODUCTS_LEFT
#undef CXN_M_AT
#undef CXN_POINTS
#undef CXN_POINT_STEP
#undef CXN_STORED_T
#undef CXN_ROW_OF
#undef CXN_OUT_COLUMN
#undef CXN_OUT_PIXEL
