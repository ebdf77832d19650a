/* SPDX-License-Identifier: Apache-2.0 */
/*
 *     out[r] = requantise( sum over c of weights[r][c] in[c], channels[r] )          IN_CH columns, OUT_CH rows
 *     static void CXN_KERNEL(const IN *input, const W *weights, const CHANNEL *channels, OUT *output, void *scratch);
 * q7; q15; q15 input with q7 weights. Knobs:
 *     BLOCK_ROWS     1, 2, 4: rows that share the loads of the input; rows left over go in blocks of 2, then 1; 5 of coupled weights
 *     UNROLL         1, 2, 4, 8: steps of four columns per loop iteration
 *     LOWERING       IM2COL: a q7 input is widened to 16 bits once, into scratch (plain weights); DIRECT: where it is used, no scratch
 *     INNER          C; ASM, ASM_DUAL: interleaved q7 rows in assembly for single or dual issue; HELIUM: detail/fully_connected_helium.h
 *     WEIGHT_LAYOUT  PLAIN: [row][column];  INTERLEAVED, WIDENED, LANES: packed offline, cmsisnn_x/packing_dense.py has the order;
 *                    COUPLED: detail/fully_connected_coupled.h
 *
 * Interleaved q7 rows come in pairs (p, q): a half holds 256 p + (q + 128), so one SMLAD on the word as loaded and one on its low bytes
 * (UXTB16) give both rows, where two extractions were needed otherwise:
 *     H = sum x (256 p + q + 128),  L = sum x (q + 128);      sum x p = (H - L) / 256,  sum x q = L - 128 sum x
 * H and L wrap modulo 2^32; the quotient is exact as long as |sum x p| < 2^23, which 511 columns cannot reach: longer rows are cut.
 */
#include "config.h"
#include "detail/intrinsics.h"

#if CXN_GET(SCHEME) == CXN_SCHEME_AFFINE && CXN_GET(RESCALE) >= CXN_RESCALE_WIDE
#define CXN_FC_IS_WIDE 1
/* A convolution over an image of one pixel. */
#define CXN_DILATION_Y 1
#define CXN_DILATION_X 1
#define CXN_GROUPS 1
#define CXN_GROUP_IN CXN_GET(IN_CH)
#define CXN_GROUP_OUT CXN_GET(OUT_CH)
#define CXN_WIDE_DEPTHWISE 0
#include "detail/wide.h"
#else
#define CXN_FC_IS_WIDE 0
#endif

#if CXN_GET(INNER) == CXN_INNER_HELIUM
#include "detail/fully_connected_helium.h"
#elif CXN_GET(WEIGHT_LAYOUT) == CXN_WEIGHT_LAYOUT_COUPLED && !CXN_FC_IS_WIDE
#include "detail/scheme.h"
#include "detail/fully_connected_coupled.h"
#elif !CXN_FC_IS_WIDE
#include "detail/lanes.h"
#include "detail/scheme.h"

#ifndef CXN_FULLY_CONNECTED_H
#define CXN_FULLY_CONNECTED_H

/* Four columns of the input as two pairs of halves. */
typedef struct {
    uint32_t a, b;
} cxn_quad;

/* The inner products of up to four rows; in a pair (p, q) H and L of the head comment. */
typedef struct {
    int32_t r0, r1, r2, r3;
} cxn_row_sums;

/* acc + the sum of four bytes, each 128 too high */
CXN_INLINE uint32_t cxn_add_biased_bytes(uint32_t x, uint32_t acc)
{
    x ^= 0x80808080U;
#if CXN_DSP
    __asm__("usada8 %0, %1, %2, %0" : "+r"(acc) : "r"(x), "r"(0));
    return acc;
#else
    return acc + (x & 0xffU) + ((x >> 8) & 0xffU) + ((x >> 16) & 0xffU) + (x >> 24);
#endif
}

#endif /* CXN_FULLY_CONNECTED_H */

#define CXN_FC_COLS CXN_GET(IN_CH)
#define CXN_FC_STEPS (CXN_GET(IN_CH) / 4)
#define CXN_FC_TAIL (CXN_GET(IN_CH) % 4)
#define CXN_FC_PLAIN (CXN_GET(WEIGHT_LAYOUT) == CXN_WEIGHT_LAYOUT_PLAIN)
/* Weights of 16 bits as they lie in flash. */
#define CXN_FC_HALVES (CXN_GET(WEIGHT_BITS) == 16 || CXN_GET(WEIGHT_LAYOUT) == CXN_WEIGHT_LAYOUT_WIDENED)
/* Rows in pairs (p, q). */
#define CXN_FC_PAIRED \
    (CXN_GET(WEIGHT_LAYOUT) == CXN_WEIGHT_LAYOUT_INTERLEAVED && CXN_GET(IN_BITS) == 8 && CXN_GET(WEIGHT_BITS) == 8 && CXN_GET(BLOCK_ROWS) > 1 && CXN_GET(OUT_CH) > 1)
/* The pairs of a step are columns 0 2 and 1 3, as SXTB16 gives them, or 0 1 and 2 3, as q15 lies in memory. */
#define CXN_FC_EVEN_ODD (CXN_GET(IN_BITS) == 8 || (CXN_FC_PLAIN && CXN_GET(WEIGHT_BITS) == 8))
#define CXN_FC_WIDENS (CXN_GET(LOWERING) == CXN_LOWERING_IM2COL && CXN_GET(IN_BITS) == 8)
/* Paired rows in assembly where the core has the instructions. */
#if CXN_DSP && CXN_FC_PAIRED && CXN_GET(BLOCK_ROWS) == 4 && CXN_GET(INNER) != CXN_INNER_C
#define CXN_FC_ASM 1
#else
#define CXN_FC_ASM 0
#endif
/* A cut of 120 steps and what is left of the unrolling, at most 7 steps and 3 columns: 511 columns. */
#define CXN_FC_CUT 120

#if CXN_GET(BLOCK_ROWS) != 1 && CXN_GET(BLOCK_ROWS) != 2 && CXN_GET(BLOCK_ROWS) != 4
#error "BLOCK_ROWS: legal values for a fully connected layer are 1, 2 and 4"
#endif
#if CXN_GET(INNER) < CXN_INNER_C || CXN_GET(INNER) > CXN_INNER_ASM_DUAL
#error "INNER: legal values are CXN_INNER_C, CXN_INNER_ASM and CXN_INNER_ASM_DUAL"
#endif
#if CXN_GET(UNROLL) != 1 && CXN_GET(UNROLL) != 2 && CXN_GET(UNROLL) != 4 && CXN_GET(UNROLL) != 8
#error "UNROLL: legal values are 1, 2, 4 and 8"
#endif
#if CXN_GET(TILE) != 1
#error "TILE: legal value is 1"
#endif
#if CXN_GET(LOWERING) != CXN_LOWERING_IM2COL && CXN_GET(LOWERING) != CXN_LOWERING_DIRECT
#error "LOWERING: legal values for a fully connected layer are CXN_LOWERING_IM2COL and CXN_LOWERING_DIRECT"
#endif
#if CXN_GET(WEIGHT_LAYOUT) < CXN_WEIGHT_LAYOUT_PLAIN || CXN_GET(WEIGHT_LAYOUT) > CXN_WEIGHT_LAYOUT_WIDENED
#error "WEIGHT_LAYOUT: legal values are CXN_WEIGHT_LAYOUT_PLAIN, _INTERLEAVED, _WIDENED and _COUPLED"
#endif
#if CXN_GET(WEIGHT_LAYOUT) != CXN_WEIGHT_LAYOUT_PLAIN && CXN_GET(LOWERING) != CXN_LOWERING_DIRECT
#error "LOWERING: legal values with packed weights are CXN_LOWERING_DIRECT"
#endif
#if CXN_GET(WEIGHT_LAYOUT) == CXN_WEIGHT_LAYOUT_WIDENED && CXN_GET(IN_BITS) == 8
#error "WEIGHT_LAYOUT: legal values for an 8-bit input are CXN_WEIGHT_LAYOUT_PLAIN and CXN_WEIGHT_LAYOUT_INTERLEAVED"
#endif
#if CXN_GET(WEIGHT_BITS) == 16 && CXN_GET(IN_BITS) == 8
#error "WEIGHT_BITS: legal values for an 8-bit input are 8"
#endif

#if CXN_GET(WEIGHT_LAYOUT) == CXN_WEIGHT_LAYOUT_WIDENED
#define CXN_FC_W int16_t
#else
#define CXN_FC_W CXN_WEIGHT_T
#endif

/* Four columns of the input from memory. */
CXN_INLINE cxn_quad CXN_LOCAL(quad)(const CXN_IN_T *x)
{
    cxn_quad quad;
    const uint32_t first = CXN_GET(INPUT_ALIGNED) ? cxn_load_u32_aligned(x) : cxn_load_u32(x);
    if (CXN_GET(IN_BITS) == 8) {
        quad.a = cxn_sxtb16(first);
        quad.b = cxn_sxtb16_ror8(first);
    } else {
        const uint32_t second = CXN_GET(INPUT_ALIGNED) ? cxn_load_u32_aligned(x + 2) : cxn_load_u32(x + 2);
        quad.a = CXN_FC_EVEN_ODD ? cxn_pkhbt(first, second) : first;
        quad.b = CXN_FC_EVEN_ODD ? cxn_pkhtb(second, first) : second;
    }
    return quad;
}

/* The last one to three columns, zeros behind them. */
CXN_INLINE cxn_quad CXN_LOCAL(tail)(const CXN_IN_T *x)
{
    cxn_quad quad;
    const uint32_t x0 = CXN_LOCAL(load_lanes)(x, 1) & 0xffffU;
    const uint32_t x1 = CXN_FC_TAIL > 1 ? CXN_LOCAL(load_lanes)(x + 1, 1) & 0xffffU : 0;
    const uint32_t x2 = CXN_FC_TAIL > 2 ? CXN_LOCAL(load_lanes)(x + 2, 1) & 0xffffU : 0;
    quad.a = x0 | (CXN_FC_EVEN_ODD ? x2 : x1) << 16;
    quad.b = CXN_FC_EVEN_ODD ? x1 : x2;
    return quad;
}

#if CXN_DSP || !CXN_FC_PLAIN

/* A step of one plain row: four weights at any alignment. */
CXN_INLINE int32_t CXN_LOCAL(plain)(cxn_quad x, const CXN_FC_W *w, int32_t acc)
{
    if (CXN_FC_HALVES) {
        const uint32_t first = CXN_FC_COLS % 2 ? cxn_load_u32(w) : cxn_load_u32_aligned(w);
        const uint32_t second = CXN_FC_COLS % 2 ? cxn_load_u32(w + 2) : cxn_load_u32_aligned(w + 2);
        return cxn_smlad(x.b, second, cxn_smlad(x.a, first, acc));
    } else {
        const uint32_t four = CXN_FC_COLS % 4 ? cxn_load_u32(w) : cxn_load_u32_aligned(w);
        return cxn_smlad(x.b, cxn_sxtb16_ror8(four), cxn_smlad(x.a, cxn_sxtb16(four), acc));
    }
}

/* A step of `rows` rows: weights of a packed block, or of the plain rows from w on. */
CXN_INLINE cxn_row_sums CXN_LOCAL(step)(cxn_quad x, const CXN_FC_W *w, cxn_row_sums sum, int rows)
{
    if (CXN_FC_PLAIN) {
        sum.r0 = CXN_LOCAL(plain)(x, w, sum.r0);
        if (rows > 1) {
            sum.r1 = CXN_LOCAL(plain)(x, w + CXN_FC_COLS, sum.r1);
        }
        if (rows > 2) {
            sum.r2 = CXN_LOCAL(plain)(x, w + 2 * CXN_FC_COLS, sum.r2);
            sum.r3 = CXN_LOCAL(plain)(x, w + 3 * CXN_FC_COLS, sum.r3);
        }
    } else if (CXN_FC_HALVES) {
        const uint32_t a0 = cxn_load_u32_single(w);
        const uint32_t a1 = rows > 1 ? cxn_load_u32_single(w + 2) : 0;
        const uint32_t a2 = rows > 2 ? cxn_load_u32_single(w + 4) : 0;
        const uint32_t a3 = rows > 2 ? cxn_load_u32_single(w + 6) : 0;
        sum.r0 = cxn_smlad(x.a, a0, sum.r0);
        sum.r1 = rows > 1 ? cxn_smlad(x.a, a1, sum.r1) : 0;
        sum.r2 = rows > 2 ? cxn_smlad(x.a, a2, sum.r2) : 0;
        sum.r3 = rows > 2 ? cxn_smlad(x.a, a3, sum.r3) : 0;
        {
            const uint32_t b0 = cxn_load_u32_single(w + 2 * rows);
            const uint32_t b1 = rows > 1 ? cxn_load_u32_single(w + 2 * rows + 2) : 0;
            const uint32_t b2 = rows > 2 ? cxn_load_u32_single(w + 2 * rows + 4) : 0;
            const uint32_t b3 = rows > 2 ? cxn_load_u32_single(w + 2 * rows + 6) : 0;
            sum.r0 = cxn_smlad(x.b, b0, sum.r0);
            sum.r1 = rows > 1 ? cxn_smlad(x.b, b1, sum.r1) : 0;
            sum.r2 = rows > 2 ? cxn_smlad(x.b, b2, sum.r2) : 0;
            sum.r3 = rows > 2 ? cxn_smlad(x.b, b3, sum.r3) : 0;
        }
    } else if (rows == 1) {
        const uint32_t four = cxn_load_u32_single(w);
        sum.r0 = cxn_smlad(x.b, cxn_sxtb16_ror8(four), cxn_smlad(x.a, cxn_sxtb16(four), sum.r0));
    } else {
        const uint32_t a01 = cxn_load_u32_single(w);
        const uint32_t a23 = rows > 2 ? cxn_load_u32_single(w + 4) : 0;
        const uint32_t b01 = cxn_load_u32_single(w + 2 * rows);
        const uint32_t b23 = rows > 2 ? cxn_load_u32_single(w + 2 * rows + 4) : 0;
        sum.r0 = cxn_smlad(x.a, CXN_FC_PAIRED ? a01 : cxn_sxtb16(a01), sum.r0);
        sum.r1 = cxn_smlad(x.a, CXN_FC_PAIRED ? cxn_uxtb16(a01) : cxn_sxtb16_ror8(a01), sum.r1);
        if (rows > 2) {
            sum.r2 = cxn_smlad(x.a, CXN_FC_PAIRED ? a23 : cxn_sxtb16(a23), sum.r2);
            sum.r3 = cxn_smlad(x.a, CXN_FC_PAIRED ? cxn_uxtb16(a23) : cxn_sxtb16_ror8(a23), sum.r3);
        }
        sum.r0 = cxn_smlad(x.b, CXN_FC_PAIRED ? b01 : cxn_sxtb16(b01), sum.r0);
        sum.r1 = cxn_smlad(x.b, CXN_FC_PAIRED ? cxn_uxtb16(b01) : cxn_sxtb16_ror8(b01), sum.r1);
        if (rows > 2) {
            sum.r2 = cxn_smlad(x.b, CXN_FC_PAIRED ? b23 : cxn_sxtb16(b23), sum.r2);
            sum.r3 = cxn_smlad(x.b, CXN_FC_PAIRED ? cxn_uxtb16(b23) : cxn_sxtb16_ror8(b23), sum.r3);
        }
    }
    return sum;
}

/* Step `at` steps behind x and w; a widened input has its pairs in scratch. */
CXN_INLINE cxn_row_sums CXN_LOCAL(at)(const void *x, const CXN_FC_W *w, int at, cxn_row_sums sum, int rows)
{
    const int stride = CXN_FC_PLAIN ? 4 : 4 * rows;
    cxn_quad quad;
    if (CXN_FC_WIDENS) {
        quad.a = cxn_load_u32_aligned((const int16_t *)x + 4 * at);
        quad.b = cxn_load_u32_aligned((const int16_t *)x + 4 * at + 2);
    } else {
        quad = CXN_LOCAL(quad)((const CXN_IN_T *)x + 4 * at);
    }
    return CXN_LOCAL(step)(quad, w + at * stride, sum, rows);
}

#if CXN_FC_ASM
#include "detail/asm/fully_connected.h"
#endif

/* One row of the last columns, plain weights. */
CXN_INLINE int32_t CXN_LOCAL(rest)(const CXN_IN_T *x, const CXN_FC_W *w, int32_t acc)
{
    for (int c = 0; c < CXN_FC_TAIL; ++c) {
        acc = cxn_mac((int32_t)CXN_LOCAL(load_lanes)(x + c, 1), w[c], acc);
    }
    return acc;
}

/* `rows` rows: returns the weights behind them. */
CXN_INLINE const CXN_FC_W *CXN_LOCAL(block)(const CXN_IN_T *input, const void *widened, const CXN_FC_W *w, cxn_row_sums *result, int rows)
{
    const int is_paired = CXN_FC_PAIRED && rows > 1;
    const int stride = CXN_FC_PLAIN ? 4 : 4 * rows;
    const int x_bytes = CXN_FC_WIDENS ? 8 : 4 * (int)sizeof(CXN_IN_T);
    const uint8_t *x = (const uint8_t *)(CXN_FC_WIDENS ? widened : (const void *)input);
    const cxn_row_sums zero = {0, 0, 0, 0};
    cxn_row_sums sum = zero;
    int left = CXN_FC_STEPS / CXN_GET(UNROLL) * CXN_GET(UNROLL);
    do {
        const int count = is_paired ? CXN_MIN(left, CXN_FC_CUT) : left;
        const CXN_FC_W *const end = w + count * stride;
        left -= count;
        while (w != end) {
#if CXN_FC_ASM
            if (rows == 4) {
                CXN_LOCAL(steps)(&x, &w, &sum);
                continue;
            }
            if (rows == 2) {
                CXN_LOCAL(two)(&x, &w, &sum);
                if (CXN_GET(UNROLL) > 1) {
                    CXN_LOCAL(two)(&x, &w, &sum);
                }
                if (CXN_GET(UNROLL) > 2) {
                    CXN_LOCAL(two)(&x, &w, &sum);
                    CXN_LOCAL(two)(&x, &w, &sum);
                }
                if (CXN_GET(UNROLL) > 4) {
                    CXN_LOCAL(two)(&x, &w, &sum);
                    CXN_LOCAL(two)(&x, &w, &sum);
                    CXN_LOCAL(two)(&x, &w, &sum);
                    CXN_LOCAL(two)(&x, &w, &sum);
                }
                continue;
            }
#endif
            sum = CXN_LOCAL(at)(x, w, 0, sum, rows);
            if (CXN_GET(UNROLL) > 1) {
                sum = CXN_LOCAL(at)(x, w, 1, sum, rows);
            }
            if (CXN_GET(UNROLL) > 2) {
                sum = CXN_LOCAL(at)(x, w, 2, sum, rows);
                sum = CXN_LOCAL(at)(x, w, 3, sum, rows);
            }
            if (CXN_GET(UNROLL) > 4) {
                sum = CXN_LOCAL(at)(x, w, 4, sum, rows);
                sum = CXN_LOCAL(at)(x, w, 5, sum, rows);
                sum = CXN_LOCAL(at)(x, w, 6, sum, rows);
                sum = CXN_LOCAL(at)(x, w, 7, sum, rows);
            }
            x += CXN_GET(UNROLL) * x_bytes;
            w += CXN_GET(UNROLL) * stride;
        }
        if (left == 0) {
            for (int step = 0; step < CXN_FC_STEPS % CXN_GET(UNROLL); ++step) {
                sum = CXN_LOCAL(at)(x, w, 0, sum, rows);
                x += x_bytes;
                w += stride;
            }
            if (CXN_FC_TAIL != 0 && !CXN_FC_PLAIN) {
                sum = CXN_LOCAL(step)(CXN_LOCAL(tail)(input + 4 * CXN_FC_STEPS), w, sum, rows);
                w += stride;
            }
        }
        if (is_paired) {
            result->r0 = (int32_t)((uint32_t)result->r0 + (uint32_t)((int32_t)((uint32_t)sum.r0 - (uint32_t)sum.r1) >> 8));
            result->r1 = (int32_t)((uint32_t)result->r1 + (uint32_t)sum.r1);
            if (rows > 2) {
                result->r2 = (int32_t)((uint32_t)result->r2 + (uint32_t)((int32_t)((uint32_t)sum.r2 - (uint32_t)sum.r3) >> 8));
                result->r3 = (int32_t)((uint32_t)result->r3 + (uint32_t)sum.r3);
            }
            sum = zero;
        }
    } while (left != 0);
    if (CXN_FC_PLAIN && CXN_FC_TAIL != 0) {
        const CXN_IN_T *last = input + 4 * CXN_FC_STEPS;
        sum.r0 = CXN_LOCAL(rest)(last, w, sum.r0);
        sum.r1 = rows > 1 ? CXN_LOCAL(rest)(last, w + CXN_FC_COLS, sum.r1) : 0;
        sum.r2 = rows > 2 ? CXN_LOCAL(rest)(last, w + 2 * CXN_FC_COLS, sum.r2) : 0;
        sum.r3 = rows > 2 ? CXN_LOCAL(rest)(last, w + 3 * CXN_FC_COLS, sum.r3) : 0;
        w += CXN_FC_TAIL;
    }
    if (!is_paired) {
        *result = sum;
    }
    return CXN_FC_PLAIN ? w + (rows - 1) * CXN_FC_COLS : w;
}

/* Pairs of columns 0 2 and 1 3 into scratch. */
CXN_INLINE void CXN_LOCAL(widen_input)(const CXN_IN_T *input, void *scratch)
{
    int16_t *to = (int16_t *)scratch;
    CXN_UNROLL_LOOP(4)
    for (int step = 0; step < CXN_FC_STEPS; ++step) {
        const cxn_quad quad = CXN_LOCAL(quad)(input + 4 * step);
        cxn_store_u32_aligned(to + 4 * step, quad.a);
        cxn_store_u32_aligned(to + 4 * step + 2, quad.b);
    }
}

#else /* plain weights without DSP: products of single elements */

CXN_INLINE int32_t CXN_LOCAL(x)(const CXN_IN_T *input, const void *widened, int c)
{
    return CXN_FC_WIDENS ? ((const int16_t *)widened)[c] : (int32_t)CXN_LOCAL(load_lanes)(input + c, 1);
}

CXN_INLINE const CXN_FC_W *CXN_LOCAL(block)(const CXN_IN_T *input, const void *widened, const CXN_FC_W *w, cxn_row_sums *result, int rows)
{
    const CXN_FC_W *const w1 = w + CXN_FC_COLS;
    const CXN_FC_W *const w2 = w1 + CXN_FC_COLS;
    const CXN_FC_W *const w3 = w2 + CXN_FC_COLS;
    cxn_row_sums sum = {0, 0, 0, 0};
    CXN_UNROLL_LOOP(CXN_GET(UNROLL))
    for (int c = 0; c < CXN_FC_COLS; ++c) {
        int32_t x = CXN_LOCAL(x)(input, widened, c);
        int32_t k0 = w[c];
        int32_t k1 = rows > 1 ? w1[c] : 0;
        int32_t k2 = rows > 2 ? w2[c] : 0;
        int32_t k3 = rows > 2 ? w3[c] : 0;
#if defined(__thumb2__)
        /* Loads in a row cost one cycle each after the first: keep the compiler from moving them to their products. */
        if (rows > 2) {
            __asm__("" : "+r"(x), "+r"(k0), "+r"(k1), "+r"(k2), "+r"(k3));
        } else if (rows > 1) {
            __asm__("" : "+r"(x), "+r"(k0), "+r"(k1));
        }
#endif
        sum.r0 = cxn_mac(x, k0, sum.r0);
        sum.r1 = rows > 1 ? cxn_mac(x, k1, sum.r1) : 0;
        sum.r2 = rows > 2 ? cxn_mac(x, k2, sum.r2) : 0;
        sum.r3 = rows > 2 ? cxn_mac(x, k3, sum.r3) : 0;
    }
    *result = sum;
    return w + rows * CXN_FC_COLS;
}

CXN_INLINE void CXN_LOCAL(widen_input)(const CXN_IN_T *input, void *scratch)
{
    int16_t *to = (int16_t *)scratch;
    CXN_UNROLL_LOOP(4)
    for (int c = 0; c < CXN_FC_COLS; ++c) {
        to[c] = (int16_t)input[c];
    }
}

#endif

/* 128 sum x, what every q + 128 has too much. */
CXN_INLINE uint32_t CXN_LOCAL(excess)(const CXN_IN_T *input)
{
    uint32_t sum = 0U - 128U * 4U * CXN_FC_STEPS;
    for (int step = 0; step < CXN_FC_STEPS / 4 * 4; step += 4) {
        const uint32_t x0 = cxn_load_u32_single(input + 4 * step);
        const uint32_t x1 = cxn_load_u32_single(input + 4 * step + 4);
        const uint32_t x2 = cxn_load_u32_single(input + 4 * step + 8);
        const uint32_t x3 = cxn_load_u32_single(input + 4 * step + 12);
        sum = cxn_add_biased_bytes(x3, cxn_add_biased_bytes(x2, cxn_add_biased_bytes(x1, cxn_add_biased_bytes(x0, sum))));
    }
    for (int step = CXN_FC_STEPS / 4 * 4; step < CXN_FC_STEPS; ++step) {
        sum = cxn_add_biased_bytes(cxn_load_u32_single(input + 4 * step), sum);
    }
    for (int c = 4 * CXN_FC_STEPS; c < CXN_FC_COLS; ++c) {
        sum += CXN_LOCAL(load_lanes)(input + c, 1);
    }
    return 128U * sum;
}

#if CXN_THUMB1 && CXN_CHANNEL_FIRST
#define CXN_FC_FINISH CXN_NOINLINE /* long, and inlined four times it takes registers from the loop before it */
#else
#define CXN_FC_FINISH CXN_INLINE
#endif
CXN_FC_FINISH void CXN_LOCAL(finish)(CXN_OUT_T *output, int32_t sum, uint32_t excess, const CXN_CHANNEL_T *channel)
{
    const int32_t acc = (int32_t)((uint32_t)CXN_ACC_INIT(channel) + (uint32_t)sum - excess);
    CXN_LOCAL(store_lanes)(output, (uint32_t)CXN_REQUANTISE(acc, CXN_FACTOR(channel)), 1);
}

/* Rows r..r+rows-1; the weights behind them. */
CXN_INLINE const CXN_FC_W *CXN_LOCAL(rows)(
    const CXN_IN_T *input, const void *widened, const CXN_FC_W *w, const CXN_CHANNEL_T *channels, CXN_OUT_T *output, uint32_t excess,
    int r, int rows)
{
    cxn_row_sums sum = {0, 0, 0, 0};
    w = CXN_LOCAL(block)(input, widened, w, &sum, rows);
    CXN_LOCAL(finish)(output + r, sum.r0, 0, &channels[r]);
    if (rows > 1) {
        CXN_LOCAL(finish)(output + r + 1, sum.r1, excess, &channels[r + 1]);
    }
    if (rows > 2) {
        CXN_LOCAL(finish)(output + r + 2, sum.r2, 0, &channels[r + 2]);
        CXN_LOCAL(finish)(output + r + 3, sum.r3, excess, &channels[r + 3]);
    }
    return w;
}

CXN_KERNEL_FN void CXN_KERNEL(
    const CXN_IN_T *CXN_RESTRICT input, const CXN_FC_W *CXN_RESTRICT weights, const CXN_CHANNEL_T *CXN_RESTRICT channels, CXN_OUT_T *CXN_RESTRICT output, void *scratch)
{
    const CXN_FC_W *w = weights;
    const uint32_t excess = CXN_FC_PAIRED ? CXN_LOCAL(excess)(input) : 0;
    int r = 0;
    if (CXN_FC_WIDENS) {
        CXN_LOCAL(widen_input)(input, scratch);
    }
#if CXN_GET(BLOCK_ROWS) == 4
    for (; r + 4 <= CXN_GET(OUT_CH); r += 4) {
        w = CXN_LOCAL(rows)(input, scratch, w, channels, output, excess, r, 4);
    }
#endif
#if CXN_GET(BLOCK_ROWS) > 1
    for (; r + 2 <= CXN_GET(OUT_CH); r += 2) {
        w = CXN_LOCAL(rows)(input, scratch, w, channels, output, excess, r, 2);
    }
#endif
    for (; r < CXN_GET(OUT_CH); ++r) {
        w = CXN_LOCAL(rows)(input, scratch, w, channels, output, 0, r, 1);
    }
    (void)w;
    (void)excess;
}

#undef CXN_FC_COLS
#undef CXN_FC_STEPS
#undef CXN_FC_TAIL
#undef CXN_FC_PLAIN
#undef CXN_FC_HALVES
#undef CXN_FC_PAIRED
#undef CXN_FC_EVEN_ODD
#undef CXN_FC_WIDENS
#undef CXN_FC_CUT
#undef CXN_FC_ASM
#undef CXN_FC_FINISH
#undef CXN_FC_W
#include "detail/lanes_undef.h"
#endif
#undef CXN_FC_IS_WIDE
#include "detail/undef.h"
