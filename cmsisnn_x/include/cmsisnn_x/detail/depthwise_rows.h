/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Depthwise convolution over pairs of rows. SMLAD needs two products of one channel, and in HWC two elements of a channel are a row or a
 * pixel apart: a few channels at a time (four of 8 bits, two of 16: one word per pixel), neighbouring input rows are woven into
 *     pairs[channel][x][i] = { in[top + 2i][x], in[top + 2i + 1][x] }         i = 0 .. CXN_PAIRS - 1
 * between their left and right padding. Each pair then serves KERNEL_W output columns and, with BLOCK_COLS 2, two output rows:
 *     row 0   {w0 w1} {w2 w3} .. w_last         row 1   w0 {w1 w2} {w3 w4} ..
 * where a lone w0 or w_last is the half of a word that the other row has (SMLATB, SMLABT). UNROLL output columns share their loads; four
 * of them spill some taps and are still the fastest (M4, 16x16x32, 3x3: 176 k cycles against 189 k for two, 696 k for CMSIS-NN).
 * GCC writes the loops over a narrow line out, 1.2 to 1.7 KB; CXN_INNER_C_ROLLED forbids it, for caches of 1 KB (NUCLEO-L4R5ZI, 25x5x64,
 * 3x3: 261 k cycles against 427 k).
 *
 * Weights: [channel][n][word], words of 16-bit pairs: BLOCK_COLS 1: {w0 w1} {w2 w3} .., the last filled up with zero;
 * BLOCK_COLS 2 (odd KERNEL_H from 3 on, STRIDE_Y 1): {w0 w1} {w2 w3} .. then {w1 w2} {w3 w4} ..
 * Scratch: CXN_GROUP * CXN_SPAN * CXN_PAIRS * 4 bytes, CXN_GROUP = 4 (8 bits) or 2, CXN_SPAN = (OUT_W - 1) * STRIDE_X + KERNEL_W.
 */
#if CXN_GET(IN_BITS) == 8
#define CXN_GROUP 4
#else
#define CXN_GROUP 2
#endif
#define CXN_W_T int16_t
#define CXN_SPAN ((CXN_GET(OUT_W) - 1) * CXN_GET(STRIDE_X) + CXN_GET(KERNEL_W))
#define CXN_PAIRS ((CXN_GET(KERNEL_H) + CXN_BC) / 2)
#define CXN_LINE (CXN_SPAN * CXN_PAIRS)
#define CXN_U CXN_GET(UNROLL)

#if CXN_BR != 1 || CXN_BC > 2
#error "BLOCK_ROWS x BLOCK_COLS: legal values with CXN_LOWERING_LINE_BUFFER are 1x1, 1x2 and 2x2"
#endif
#if CXN_BC == 2 && (CXN_GET(STRIDE_Y) != 1 || CXN_GET(KERNEL_H) % 2 == 0 || CXN_GET(KERNEL_H) == 1 || CXN_GET(OUT_H) < 2)
#error "BLOCK_COLS: 2 needs STRIDE_Y 1, an odd KERNEL_H from 3 on and OUT_H of at least 2; legal here: 1"
#endif
CXN_STATIC_ASSERT(CXN_GET(SCRATCH_BYTES) >= CXN_GROUP * CXN_LINE * 4, depthwise_rows_scratch);

#if CXN_BC == 2
#define CXN_WORDS (CXN_GET(KERNEL_H) - 1)
#else
#define CXN_WORDS CXN_PAIRS
#endif

/* Rows a and b of one pixel, `channels` of them, into pairs `i` of the group. */
CXN_INLINE void CXN_LOCAL(weave)(uint32_t *to, const CXN_IN_T *a, const CXN_IN_T *b, int32_t channels)
{
    if (channels == CXN_GROUP) {
        const uint32_t x = cxn_load_u32_single(a), y = cxn_load_u32_single(b);
        const uint32_t low = cxn_pkhbt(x, y), high = cxn_pkhtb(y, x);
#if CXN_GET(IN_BITS) == 8
        to[0] = cxn_sxtb16(low);
        to[CXN_LINE] = cxn_sxtb16_ror8(low);
        to[2 * CXN_LINE] = cxn_sxtb16(high);
        to[3 * CXN_LINE] = cxn_sxtb16_ror8(high);
#else
        to[0] = low;
        to[CXN_LINE] = high;
#endif
    } else {
        for (int32_t c = 0; c < channels; c++)
            to[c * CXN_LINE] = cxn_pkhbt((uint32_t)CXN_LOCAL(load)(a + c), (uint32_t)CXN_LOCAL(load)(b + c));
    }
}

/* The pairs of output row `y` for the channels from `input` on. */
CXN_INLINE void CXN_LOCAL(gather)(uint32_t *pairs, const CXN_IN_T *input, int32_t y, int32_t channels)
{
    enum { inside = CXN_MIN(CXN_GET(IN_W), CXN_SPAN - CXN_GET(PAD_LEFT)) };
#if CXN_GROUP == 4
    static const CXN_IN_T zero[CXN_GROUP] = {CXN_PAD_FILL, CXN_PAD_FILL, CXN_PAD_FILL, CXN_PAD_FILL};
#else
    static const CXN_IN_T zero[CXN_GROUP] = {CXN_PAD_FILL, CXN_PAD_FILL};
#endif
    for (int32_t i = 0; i < CXN_PAIRS; i++) {
        const int32_t row = y * CXN_GET(STRIDE_Y) - CXN_GET(PAD_TOP) + 2 * i;
        const int32_t has_a = row >= 0 && row < CXN_GET(IN_H), has_b = row + 1 >= 0 && row + 1 < CXN_GET(IN_H);
        const CXN_IN_T *a = has_a ? input + row * (CXN_GET(IN_W) * CXN_GET(IN_CH)) : zero;
        const CXN_IN_T *b = has_b ? input + (row + 1) * (CXN_GET(IN_W) * CXN_GET(IN_CH)) : zero;
        const int32_t step_a = has_a ? CXN_GET(IN_CH) : 0, step_b = has_b ? CXN_GET(IN_CH) : 0;
        uint32_t *to = pairs + CXN_GET(PAD_LEFT) * CXN_PAIRS + i;
#if CXN_GET(INNER) == CXN_INNER_C_ROLLED
        CXN_UNROLL_LOOP(1)
#endif
        for (int32_t x = 0; x < inside; x++, to += CXN_PAIRS, a += step_a, b += step_b)
            CXN_LOCAL(weave)(to, a, b, channels);
    }
}

/* `count` output columns of one channel; out0 and out1 are the first element of the output rows. */
CXN_INLINE void CXN_LOCAL(columns)(const uint32_t *p, const uint32_t *w, int32_t init, const CXN_CHANNEL_T *channels, int32_t c,
                                   CXN_OUT_T *out, int32_t count)
{
    int32_t acc[CXN_BC][CXN_U];
    CXN_UNROLL_LOOP(8)
    for (int32_t u = 0; u < count; u++)
        for (int32_t r = 0; r < CXN_BC; r++)
            acc[r][u] = init;
    CXN_UNROLL_LOOP(16)
    for (int32_t j = 0; j < (count - 1) * CXN_GET(STRIDE_X) + CXN_GET(KERNEL_W); j++) {
        CXN_UNROLL_LOOP(8)
        for (int32_t i = 0; i < CXN_PAIRS; i++) {
            const uint32_t pair = p[j * CXN_PAIRS + i];
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
    CXN_FACTOR_T factor = CXN_FACTOR(channels + c);
    CXN_UNROLL_LOOP(8)
    for (int32_t u = 0; u < count; u++)
        for (int32_t r = 0; r < CXN_BC; r++)
            CXN_LOCAL(store)(out + (r * CXN_GET(OUT_W) + u) * CXN_GET(OUT_CH), CXN_REQUANTISE(acc[r][u], factor));
}

CXN_KERNEL_FN void CXN_KERNEL(const CXN_IN_T *CXN_RESTRICT input, const CXN_W_T *CXN_RESTRICT weights,
                              const CXN_CHANNEL_T *CXN_RESTRICT channels, CXN_OUT_T *CXN_RESTRICT output, void *CXN_RESTRICT scratch)
{
    uint32_t *const pairs = (uint32_t *)scratch;
    /* Padding columns stay; the others are written before they are read. */
    CXN_PAD(pairs, CXN_GROUP * CXN_LINE * 2);
    for (int32_t y = 0; y < CXN_GET(OUT_H); y += CXN_BC) {
        y = CXN_MIN(y, CXN_GET(OUT_H) - CXN_BC);
        const CXN_W_T *w = weights;
        for (int32_t first = 0; first < CXN_GET(IN_CH); first += CXN_GROUP) {
            const int32_t count = CXN_GET(IN_CH) % CXN_GROUP == 0 ? CXN_GROUP : CXN_MIN(CXN_GROUP, CXN_GET(IN_CH) - first);
            CXN_LOCAL(gather)(pairs, input + first, y, count);
            const uint32_t *p = pairs;
            for (int32_t c = first; c < first + count; c++) {
                uint32_t tap[CXN_GET(KERNEL_W) * CXN_WORDS];
                CXN_OUT_T *out = output + y * (CXN_GET(OUT_W) * CXN_GET(OUT_CH)) + c;
                const int32_t init = CXN_ACC_INIT(channels + c);
                CXN_UNROLL_LOOP(16)
                for (int32_t k = 0; k < CXN_GET(KERNEL_W) * CXN_WORDS; k++)
                    tap[k] = cxn_load_u32_aligned(w + 2 * k);
                int32_t x = 0;
#if CXN_GET(INNER) == CXN_INNER_C_ROLLED
                CXN_UNROLL_LOOP(1)
#endif
                for (; x <= CXN_GET(OUT_W) - CXN_U; x += CXN_U, p += CXN_U * CXN_GET(STRIDE_X) * CXN_PAIRS, out += CXN_U * CXN_GET(OUT_CH))
                    CXN_LOCAL(columns)(p, tap, init, channels, c, out, CXN_U);
#if CXN_GET(OUT_W) % CXN_U
                for (; x < CXN_GET(OUT_W); x++, p += CXN_GET(STRIDE_X) * CXN_PAIRS, out += CXN_GET(OUT_CH))
                    CXN_LOCAL(columns)(p, tap, init, channels, c, out, 1);
#endif
                p += CXN_LINE - CXN_GET(OUT_W) * CXN_GET(STRIDE_X) * CXN_PAIRS;
                w += 2 * CXN_GET(KERNEL_W) * CXN_WORDS;
            }
        }
    }
}

#undef CXN_GROUP
#undef CXN_W_T
#undef CXN_SPAN
#undef CXN_PAIRS
#undef CXN_LINE
#undef CXN_U
#undef CXN_WORDS
