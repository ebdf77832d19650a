/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Depthwise convolution over pairs of rows. SMLAD needs two products of one channel, and in HWC two elements of a channel are a row or a
 * pixel apart: a few channels at a time (four of 8 bits, two of 16: one word per pixel), neighbouring input rows are woven into
 *     pairs[i][channel][x] = { in[top + 2i][x], in[top + 2i + 1][x] }         i = 0 .. CXN_PAIRS - 1
 * between their left and right padding, in a ring: from one output row, or two, to the next the channels stay, and where the window moves
 * by whole pairs only those that come in are woven. Each pair then serves KERNEL_W output columns and, with BLOCK_COLS 2, two output rows:
 *     row 0   {w0 w1} {w2 w3} .. w_last         row 1   w0 {w1 w2} {w3 w4} ..
 * where a lone w0 or w_last is the half of a word that the other row has (SMLATB, SMLABT). UNROLL output columns share their loads; four
 * of them spill some taps and are still the fastest (M4, 16x16x32, 3x3: 176 k cycles against 189 k for two, 696 k for CMSIS-NN).
 * GCC writes the loops over a narrow line out, 1.2 to 1.7 KB; CXN_INNER_C_ROLLED forbids it, for caches of 1 KB (NUCLEO-L4R5ZI, 25x5x64,
 * 3x3: 261 k cycles against 427 k).
 *
 * Weights: [channel][n][word], words of 16-bit pairs: BLOCK_COLS 1: {w0 w1} {w2 w3} .., the last filled up with zero;
 * BLOCK_COLS 2 (odd KERNEL_H from 3 on, STRIDE_Y 1): {w0 w1} {w2 w3} .. then {w1 w2} {w3 w4} ..
 * Scratch: CXN_PAIRS * CXN_SLOT * 4 bytes, CXN_SLOT = CXN_GROUP * CXN_SPAN, CXN_GROUP = 4 (8 bits) or 2, CXN_SPAN = (OUT_W - 1) * STRIDE_X + KERNEL_W.
 */
#if CXN_GET(IN_BITS) == 8
#define CXN_GROUP 4
#else
#define CXN_GROUP 2
#endif
#define CXN_W_T int16_t
#define CXN_SPAN ((CXN_GET(OUT_W) - 1) * CXN_GET(STRIDE_X) + CXN_GET(KERNEL_W))
#define CXN_PAIRS ((CXN_GET(KERNEL_H) + CXN_BC) / 2)
#define CXN_SLOT (CXN_GROUP * CXN_SPAN) /* a pair of rows */
#define CXN_U CXN_GET(UNROLL)
#define CXN_IS_ASM (CXN_GET(INNER) == CXN_INNER_ASM || CXN_GET(INNER) == CXN_INNER_ASM_DUAL)

#if CXN_BR != 1 || CXN_BC > 2
#error "BLOCK_ROWS x BLOCK_COLS: legal values with CXN_LOWERING_LINE_BUFFER are 1x1, 1x2 and 2x2"
#endif
#if CXN_BC == 2 && (CXN_GET(STRIDE_Y) != 1 || CXN_GET(KERNEL_H) % 2 == 0 || CXN_GET(KERNEL_H) == 1 || CXN_GET(OUT_H) < 2 || CXN_GET(BAND) == 1)
#error "BLOCK_COLS: 2 needs STRIDE_Y 1, an odd KERNEL_H from 3 on, OUT_H and BAND of at least 2; legal here: 1"
#endif
#if CXN_IS_ASM && \
    (CXN_GET(KERNEL_H) != 3 || CXN_GET(KERNEL_W) != 3 || CXN_GET(STRIDE_X) != 3 - CXN_BC || CXN_U != 4 || CXN_GET(IN_BITS) != 8 || \
     ((CXN_BC - 1) * CXN_GET(OUT_W) + 4) * CXN_GET(OUT_CH) > 4095)
#error "INNER: assembly takes 8 bits, 3x3, STRIDE_X 1 with BLOCK_COLS 2 and 2 with BLOCK_COLS 1, UNROLL 4, rows of outputs up to 4095 bytes; legal here: CXN_INNER_C"
#endif
CXN_STATIC_ASSERT(CXN_GET(SCRATCH_BYTES) >= CXN_PAIRS * CXN_SLOT * 4, depthwise_rows_scratch);

#if CXN_BC == 2 && CXN_IS_BAND && CXN_GET(IN_PLACE) && (CXN_GET(BAND) % 2 || CXN_GET(OUT_H) % 2)
#error "IN_PLACE: 1 with BLOCK_COLS 2 needs an even BAND and OUT_H: a last row by itself takes input rows that are no longer in their place"
#endif

/* Whether a last row may be without its pair. */
#if CXN_BC == 2 && (CXN_IS_BAND ? !CXN_GET(IN_PLACE) : CXN_GET(OUT_H) % 2 != 0)
#define CXN_ENDS_ODD 1
#else
#define CXN_ENDS_ODD 0
#endif

#if CXN_BC == 2
#define CXN_WORDS (CXN_GET(KERNEL_H) - 1)
#else
#define CXN_WORDS CXN_PAIRS
#endif

/* What a row takes of its channel: with powers of two, assembly takes starts. */
#if CXN_IS_ASM && CXN_DSP && CXN_GET(SCHEME) != CXN_SCHEME_AFFINE
#define CXN_RECORD_T int32_t
#else
#define CXN_RECORD_T CXN_CHANNEL_T
#endif

/* Whether a window is too long for a loop over it that is written out, and sums would lie in memory: between its ends, whose columns not all
   outputs share, the loop stays. */
#if (CXN_U - 1) * CXN_GET(STRIDE_X) + CXN_GET(KERNEL_W) > 16 && (CXN_U - 1) * CXN_GET(STRIDE_X) < CXN_GET(KERNEL_W)
#define CXN_LONG_ROWS 1
#else
#define CXN_LONG_ROWS 0
#endif

/* Pairs of rows that come in with the next output rows: the others are in the ring. */
#if CXN_BC == 2
#define CXN_NEW 1
#elif CXN_GET(STRIDE_Y) % 2 == 0
#define CXN_NEW CXN_MIN(CXN_GET(STRIDE_Y) / 2, CXN_PAIRS)
#else
#define CXN_NEW CXN_PAIRS
#endif

/* Rows a and b of one pixel, `channels` of them. */
CXN_INLINE void CXN_LOCAL(weave)(uint32_t *to, const CXN_IN_T *a, const CXN_IN_T *b, int32_t channels)
{
    if (channels == CXN_GROUP) {
        const uint32_t x = cxn_load_u32_single(a), y = cxn_load_u32_single(b);
        const uint32_t low = cxn_pkhbt(x, y), high = cxn_pkhtb(y, x);
#if CXN_GET(IN_BITS) == 8
        to[0] = cxn_sxtb16(low);
        to[CXN_SPAN] = cxn_sxtb16_ror8(low);
        to[2 * CXN_SPAN] = cxn_sxtb16(high);
        to[3 * CXN_SPAN] = cxn_sxtb16_ror8(high);
#else
        to[0] = low;
        to[CXN_SPAN] = high;
#endif
    } else {
        for (int32_t c = 0; c < channels; c++)
            to[c * CXN_SPAN] = cxn_pkhbt((uint32_t)CXN_LOCAL(load)(a + c), (uint32_t)CXN_LOCAL(load)(b + c));
    }
}

#if CXN_IS_BAND && CXN_BC == 1 && CXN_GET(KERNEL_H) % 2
#define CXN_HAS_LONE 1
/* Row a of one pixel, beside what weights of zero meet: the last row of an odd kernel. */
CXN_INLINE void CXN_LOCAL(weave_lone)(uint32_t *to, const CXN_IN_T *a, int32_t channels)
{
    if (channels == CXN_GROUP) {
        const uint32_t x = cxn_load_u32_single(a);
#if CXN_GET(IN_BITS) == 8
        const uint32_t even = cxn_sxtb16(x), odd = cxn_sxtb16_ror8(x);
        to[0] = even;
        to[CXN_SPAN] = odd;
        to[2 * CXN_SPAN] = even >> 16;
        to[3 * CXN_SPAN] = odd >> 16;
#else
        to[0] = x;
        to[CXN_SPAN] = x >> 16;
#endif
    } else {
        for (int32_t c = 0; c < channels; c++)
            to[c * CXN_SPAN] = (uint32_t)CXN_LOCAL(load)(a + c);
    }
}
#else
#define CXN_HAS_LONE 0
#endif

/* Input rows `row` and `row + 1`, which may lie outside the image, of the channels from `input` on. */
CXN_INLINE void CXN_LOCAL(gather)(uint32_t *to, const CXN_IN_T *input, int32_t row, int32_t channels CXN_ROWS_PARAMETER)
{
    enum { inside = CXN_MIN(CXN_GET(IN_W), CXN_SPAN - CXN_GET(PAD_LEFT)) };
#if CXN_GROUP == 4
    static const CXN_IN_T zero[CXN_GROUP] = {CXN_PAD_FILL, CXN_PAD_FILL, CXN_PAD_FILL, CXN_PAD_FILL};
#else
    static const CXN_IN_T zero[CXN_GROUP] = {CXN_PAD_FILL, CXN_PAD_FILL};
#endif
    const int32_t has_a = row >= 0 && row < CXN_IN_ROWS, has_b = row + 1 >= 0 && row + 1 < CXN_IN_ROWS;
    const CXN_IN_T *a = has_a ? input + row * (CXN_GET(IN_W) * CXN_GET(IN_CH)) : zero;
    const CXN_IN_T *b = has_b ? input + (row + 1) * (CXN_GET(IN_W) * CXN_GET(IN_CH)) : zero;
    to += CXN_GET(PAD_LEFT);
    if (has_a && has_b) {
#if CXN_GET(INNER) == CXN_INNER_C_ROLLED
        CXN_UNROLL_LOOP(1)
#else
        CXN_UNROLL_LOOP(4)
#endif
        for (int32_t x = 0; x < inside; x++, to++, a += CXN_GET(IN_CH), b += CXN_GET(IN_CH))
            CXN_LOCAL(weave)(to, a, b, channels);
    } else {
        const int32_t step_a = has_a ? CXN_GET(IN_CH) : 0, step_b = has_b ? CXN_GET(IN_CH) : 0;
#if CXN_GET(INNER) == CXN_INNER_C_ROLLED
        CXN_UNROLL_LOOP(1)
#elif CXN_IS_BAND
        CXN_UNROLL_LOOP(4) /* a band often ends here */
#endif
        for (int32_t x = 0; x < inside; x++, to++, a += step_a, b += step_b)
            CXN_LOCAL(weave)(to, a, b, channels);
    }
}

#if CXN_HAS_LONE
/* Input row `row` alone, the last that the last rows of an odd kernel need. */
CXN_INLINE void CXN_LOCAL(gather_lone)(uint32_t *to, const CXN_IN_T *input, int32_t row, int32_t channels CXN_ROWS_PARAMETER)
{
    enum { inside = CXN_MIN(CXN_GET(IN_W), CXN_SPAN - CXN_GET(PAD_LEFT)) };
    const CXN_IN_T *a = input + row * (CXN_GET(IN_W) * CXN_GET(IN_CH));
    if (row < 0 || row >= CXN_IN_ROWS) {
        CXN_LOCAL(gather)(to, input, row, channels CXN_ROWS_ARGUMENT);
        return;
    }
    to += CXN_GET(PAD_LEFT);
#if CXN_GET(INNER) == CXN_INNER_C_ROLLED
    CXN_UNROLL_LOOP(1)
#else
    CXN_UNROLL_LOOP(4)
#endif
    for (int32_t x = 0; x < inside; x++, to++, a += CXN_GET(IN_CH))
        CXN_LOCAL(weave_lone)(to, a, channels);
}
#endif

#if CXN_GET(IN_PLACE) && CXN_BC == 2 && CXN_GET(OUT_H) % 2 && !CXN_IS_BAND
#if CXN_GET(KERNEL_H) != 3 || CXN_GET(PAD_TOP) != 1
#error "IN_PLACE: with BLOCK_COLS 2 an odd OUT_H needs KERNEL_H 3 and PAD_TOP 1"
#endif
/* Pairs of rows { n - 4, n - 3 } and { n - 2, n - 1 } of n become { n - 3, n - 2 } and { n - 1, padding }: the last two output rows, one of
   them again, where the input rows are no longer in their place. */
CXN_INLINE void CXN_LOCAL(shift)(uint32_t *first, uint32_t *second)
{
    CXN_UNROLL_LOOP(4)
    for (int32_t i = 0; i < CXN_SLOT; i++) {
        const uint32_t above = first[i], below = second[i];
        first[i] = above >> 16 | below << 16;
        second[i] = below >> 16 | (CXN_PAD_PAIR & 0xffff0000U);
    }
}
#endif

/* In assembly where the core has the instructions and an output takes no more of them than a high product, a shift and a saturation. */
#if CXN_GET(SCHEME) == CXN_SCHEME_AFFINE
#define CXN_IS_LINE (CXN_GET(RESCALE) == CXN_RESCALE_SINGLE && CXN_FULL_RANGE)
#else
#define CXN_IS_LINE 1
#endif
#if CXN_IS_ASM && CXN_DSP && CXN_IS_LINE
#define CXN_ROWS_ASM 1
#include "asm/depthwise.h"
#else
#define CXN_ROWS_ASM 0
/* Column x + j of the pairs, in the sums of those of `count` output columns whose windows have it. */
CXN_INLINE void CXN_LOCAL(meet)(int32_t acc[CXN_BC][CXN_U], const uint32_t *const *pairs, int32_t x, const uint32_t *w, int32_t j, int32_t count)
{
    CXN_UNROLL_LOOP(8)
    for (int32_t i = 0; i < CXN_PAIRS; i++) {
        const uint32_t pair = pairs[i][x + j];
        CXN_UNROLL_LOOP(8)
        for (int32_t u = 0; u < count; u++) {
            const int32_t n = j - u * CXN_GET(STRIDE_X);
            if (n < 0 || n >= CXN_GET(KERNEL_W))
                continue;
#if CXN_BC == 2
            if (i < CXN_PAIRS - 1)
                acc[0][u] = cxn_smlad(pair, w[n * CXN_WORDS + i], acc[0][u]);
            else
                acc[0][u] = cxn_smlabt(pair, w[n * CXN_WORDS + CXN_WORDS - 1], acc[0][u]);
            if (i == 0)
                acc[1][u] = cxn_smlatb(pair, w[n * CXN_WORDS], acc[1][u]);
            else
                acc[1][u] = cxn_smlad(pair, w[n * CXN_WORDS + CXN_PAIRS - 2 + i], acc[1][u]);
#else
            acc[0][u] = cxn_smlad(pair, w[n * CXN_WORDS + i], acc[0][u]);
#endif
        }
    }
}

/* `count` output columns of one channel, from column `x` of the pairs on. */
CXN_INLINE void CXN_LOCAL(columns)(const uint32_t *const *pairs, int32_t x, const uint32_t *w, int32_t init, const CXN_CHANNEL_T *channel,
                                   CXN_OUT_T *out, int32_t count)
{
    int32_t acc[CXN_BC][CXN_U];
    CXN_UNROLL_LOOP(8)
    for (int32_t u = 0; u < count; u++)
        for (int32_t r = 0; r < CXN_BC; r++)
            acc[r][u] = init;
#if CXN_LONG_ROWS
    const int32_t reach = (count - 1) * CXN_GET(STRIDE_X);
    CXN_UNROLL_LOOP(16)
    for (int32_t j = 0; j < reach; j++)
        CXN_LOCAL(meet)(acc, pairs, x, w, j, count);
    CXN_UNROLL_LOOP(4)
    for (int32_t j = reach; j < CXN_GET(KERNEL_W); j++)
        CXN_LOCAL(meet)(acc, pairs, x, w, j, count);
    CXN_UNROLL_LOOP(16)
    for (int32_t j = CXN_GET(KERNEL_W); j < reach + CXN_GET(KERNEL_W); j++)
        CXN_LOCAL(meet)(acc, pairs, x, w, j, count);
#else
    CXN_UNROLL_LOOP(16)
    for (int32_t j = 0; j < (count - 1) * CXN_GET(STRIDE_X) + CXN_GET(KERNEL_W); j++)
        CXN_LOCAL(meet)(acc, pairs, x, w, j, count);
#endif
    CXN_FACTOR_T factor = CXN_FACTOR(channel);
    CXN_UNROLL_LOOP(8)
    for (int32_t u = 0; u < count; u++)
        for (int32_t r = 0; r < CXN_BC; r++)
            CXN_LOCAL(store)(out + (r * CXN_GET(OUT_W) + u) * CXN_GET(OUT_CH), CXN_REQUANTISE(acc[r][u], factor));
}

/* The output rows of one channel. */
CXN_INLINE void CXN_LOCAL(row)(const uint32_t *const *pairs, const CXN_W_T *w, const CXN_CHANNEL_T *channel, CXN_OUT_T *out)
{
    uint32_t tap[CXN_GET(KERNEL_W) * CXN_WORDS];
    const int32_t init = CXN_ACC_INIT(channel);
    int32_t x = 0;
    CXN_UNROLL_LOOP(16)
    for (int32_t k = 0; k < CXN_GET(KERNEL_W) * CXN_WORDS; k++)
        tap[k] = cxn_load_u32_aligned(w + 2 * k);
#if CXN_GET(INNER) == CXN_INNER_C_ROLLED
    CXN_UNROLL_LOOP(1)
#endif
    for (; x <= CXN_GET(OUT_W) - CXN_U; x += CXN_U, out += CXN_U * CXN_GET(OUT_CH))
        CXN_LOCAL(columns)(pairs, x * CXN_GET(STRIDE_X), tap, init, channel, out, CXN_U);
#if CXN_GET(OUT_W) % CXN_U
    for (; x < CXN_GET(OUT_W); x++, out += CXN_GET(OUT_CH))
        CXN_LOCAL(columns)(pairs, x * CXN_GET(STRIDE_X), tap, init, channel, out, 1);
#endif
}
#endif

/* The output rows of `count` channels, from the pairs of the first of them on. */
CXN_INLINE void CXN_LOCAL(strip)(const uint32_t *const *pairs, const CXN_W_T *w, const CXN_RECORD_T *records, CXN_OUT_T *out, int32_t count)
{
#if CXN_ROWS_ASM
    CXN_LOCAL(rows)(pairs[0], pairs[1], w, records, out, count);
#else
    const uint32_t *own[CXN_PAIRS];
    for (int32_t i = 0; i < CXN_PAIRS; i++)
        own[i] = pairs[i];
    for (int32_t c = 0; c < count; c++, w += 2 * CXN_GET(KERNEL_W) * CXN_WORDS) {
        CXN_LOCAL(row)(own, w, records + c, out + c);
        for (int32_t i = 0; i < CXN_PAIRS; i++)
            own[i] += CXN_SPAN;
    }
#endif
}

/* All output rows of `count` channels. */
CXN_INLINE void CXN_LOCAL(group)(uint32_t *ring, const CXN_IN_T *input, const CXN_W_T *w, const CXN_RECORD_T *records, CXN_OUT_T *out,
                                 int32_t count CXN_ROWS_PARAMETER)
{
    const uint32_t *pairs[CXN_PAIRS];
#if CXN_PAIRS == 2 && CXN_NEW == 1
    uint32_t *a = ring, *b = ring + CXN_SLOT;
    int32_t row = -CXN_PAD_ROWS;
    CXN_LOCAL(gather)(a, input, row, count CXN_ROWS_ARGUMENT);
    for (int32_t y = 0; y < CXN_OUT_ROWS; y += CXN_BC) {
        uint32_t *const next = a;
        row += 2;
#if CXN_BC == 2 && CXN_GET(OUT_H) % 2 && CXN_GET(IN_PLACE) && !CXN_IS_BAND
        if (y == CXN_GET(OUT_H) - 1) {
            out -= CXN_GET(OUT_W) * CXN_GET(OUT_CH);
            CXN_LOCAL(shift)(b, a);
            a = b;
            b = next;
        } else
            CXN_LOCAL(gather)(b, input, row, count);
#else
#if CXN_ENDS_ODD
        if (y == CXN_OUT_ROWS - 1) { /* the last two rows, one of them again */
            row--;
            out -= CXN_GET(OUT_W) * CXN_GET(OUT_CH);
            CXN_LOCAL(gather)(a, input, row - 2, count CXN_ROWS_ARGUMENT);
        }
#endif
#if CXN_HAS_LONE
        if (y == CXN_OUT_ROWS - 1)
            CXN_LOCAL(gather_lone)(b, input, row, count CXN_ROWS_ARGUMENT);
        else
#endif
            CXN_LOCAL(gather)(b, input, row, count CXN_ROWS_ARGUMENT);
#endif
        pairs[0] = a;
        pairs[1] = b;
        CXN_LOCAL(strip)(pairs, w, records, out, count);
        out += CXN_BC * CXN_GET(OUT_W) * CXN_GET(OUT_CH);
        a = b;
        b = next;
    }
#else
    int32_t held = 0; /* pairs of this window that are in the ring */
    int32_t slot = 0; /* where the first of them is */
    for (int32_t y = 0; y < CXN_OUT_ROWS; y += CXN_BC) {
        if (CXN_ENDS_ODD && y == CXN_OUT_ROWS - 1) {
            y--;
            held = 0;
        }
        for (int32_t i = 0, s = slot; i < CXN_PAIRS; i++) {
#if CXN_HAS_LONE
            if (i == CXN_PAIRS - 1 && (CXN_NEW == CXN_PAIRS || y == CXN_OUT_ROWS - 1))
                CXN_LOCAL(gather_lone)(ring + s * CXN_SLOT, input, y * CXN_GET(STRIDE_Y) - CXN_PAD_ROWS + 2 * i, count CXN_ROWS_ARGUMENT);
            else
#endif
            if (i >= held)
                CXN_LOCAL(gather)(ring + s * CXN_SLOT, input, y * CXN_GET(STRIDE_Y) - CXN_PAD_ROWS + 2 * i, count CXN_ROWS_ARGUMENT);
            pairs[i] = ring + s * CXN_SLOT;
            s = s == CXN_PAIRS - 1 ? 0 : s + 1;
        }
        CXN_LOCAL(strip)(pairs, w, records, out + y * (CXN_GET(OUT_W) * CXN_GET(OUT_CH)), count);
        held = CXN_PAIRS - CXN_NEW;
        slot = (slot + CXN_NEW) % CXN_PAIRS;
    }
#endif
}

#if CXN_IS_BAND
/* What all of the ring would take is a tenth of the time of a call that makes two rows. */
CXN_INLINE void CXN_LOCAL(pad)(uint32_t *line)
{
    enum { inside = CXN_MIN(CXN_GET(IN_W), CXN_SPAN - CXN_GET(PAD_LEFT)), left = inside > 0 ? CXN_GET(PAD_LEFT) : CXN_SPAN };
    enum { right = inside > 0 ? CXN_GET(PAD_LEFT) + inside : CXN_SPAN };
    if (left == 0 && right == CXN_SPAN)
        return;
    CXN_UNROLL_LOOP(1)
    for (int32_t i = 0; i < CXN_PAIRS * CXN_GROUP; i++, line += CXN_SPAN) {
        for (int32_t x = 0; x < left; x++)
            line[x] = CXN_PAD_PAIR;
        for (int32_t x = right; x < CXN_SPAN; x++)
            line[x] = CXN_PAD_PAIR;
    }
}
#endif

CXN_KERNEL_FN void CXN_KERNEL(const CXN_IN_T *CXN_ALONE input, const CXN_W_T *CXN_RESTRICT weights,
                              const CXN_CHANNEL_T *CXN_RESTRICT channels, CXN_OUT_T *CXN_ALONE output, void *CXN_RESTRICT scratch CXN_ROWS_PARAMETER)
{
    uint32_t *const ring = (uint32_t *)scratch;
    /* Padding columns stay; the others are written before they are read. */
#if CXN_IS_BAND
    CXN_LOCAL(pad)(ring);
#else
    CXN_PAD(ring, CXN_PAIRS * CXN_SLOT * 2);
#endif
    for (int32_t first = 0; first < CXN_GET(IN_CH); first += CXN_GROUP) {
        const int32_t count = CXN_GET(IN_CH) % CXN_GROUP == 0 ? CXN_GROUP : CXN_MIN(CXN_GROUP, CXN_GET(IN_CH) - first);
#if CXN_ROWS_ASM && CXN_GET(SCHEME) != CXN_SCHEME_AFFINE
        int32_t records[CXN_GROUP];
        for (int32_t c = 0; c < count; c++)
            records[c] = CXN_ACC_INIT(channels + first + c);
#else
        const CXN_RECORD_T *const records = channels + first;
#endif
        CXN_LOCAL(group)(ring, input + first, weights, records, output + first, count CXN_ROWS_ARGUMENT);
        weights += 2 * CXN_GET(KERNEL_W) * CXN_WORDS * CXN_GROUP;
    }
}

#undef CXN_RECORD_T
#undef CXN_IS_ASM
#undef CXN_IS_LINE
#undef CXN_ROWS_ASM
#undef CXN_GROUP
#undef CXN_W_T
#undef CXN_SPAN
#undef CXN_PAIRS
#undef CXN_SLOT
#undef CXN_NEW
#undef CXN_LONG_ROWS
#undef CXN_U
#undef CXN_WORDS
#undef CXN_ENDS_ODD
#undef CXN_HAS_LONE
