/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fully connected layers of 8 bits with coupled weights: columns k and k + 1 of a row share a half,
 *     h = 2^8 w[k + 1] + w[k]
 * so that one SMLAD on a word as loaded and one on its low bytes (SXTB16) are four products, where two extractions were needed otherwise:
 *     sum h a + w[k] b = 2^8 sum (w[k] x[k] + w[k + 1] (x[k + 1] - 127))         a = x[k + 1] - 127, b = 2^8 x[k] - a
 * Both a and b are made of the input once, in scratch, and fit into 16 bits. What 127 takes away is known when weights are packed, and with
 * it where accumulators start. They hold 2^8 times what they stand for, of which |.| < 2^23; 2^22 with zero points.
 *
 * Blocks are five rows; the last one begins at row OUT_CH - 5, whatever the one before has made of its rows. A block is its five starts, then
 * its steps of four columns, five words each; behind the last block five words are read and not used, behind the input in scratch two.
 */
#define CXN_C_ROWS 5
#define CXN_C_STEPS ((CXN_GET(IN_CH) + 3) / 4)
#define CXN_C_TAIL (CXN_GET(IN_CH) % 4)
/* Bytes of a block's steps, and of the block. */
#define CXN_C_STEP_BYTES (4 * CXN_C_ROWS)
#define CXN_C_BLOCK_BYTES (CXN_C_STEP_BYTES * (CXN_C_STEPS + 1))
#if CXN_GET(SCHEME) == CXN_SCHEME_AFFINE
#define CXN_C_UNIFORM CXN_GET(RESCALE_UNIFORM)
#else
#define CXN_C_UNIFORM 1
#endif
/* The record of the channel r, of one for all where they are equal. */
#define CXN_C_CHANNEL(r) (channels + (CXN_C_UNIFORM ? 0 : (r)))

#if CXN_GET(BLOCK_ROWS) != CXN_C_ROWS || CXN_GET(LOWERING) != CXN_LOWERING_IM2COL
#error "WEIGHT_LAYOUT: CXN_WEIGHT_LAYOUT_COUPLED needs BLOCK_ROWS 5 and CXN_LOWERING_IM2COL"
#endif
#if CXN_GET(IN_BITS) != 8 || CXN_OUT_BITS != 8 || CXN_GET(WEIGHT_BITS) != 8
#error "WEIGHT_LAYOUT: CXN_WEIGHT_LAYOUT_COUPLED needs 8-bit input, output and weights"
#endif
#if CXN_GET(OUT_CH) < CXN_C_ROWS || CXN_GET(OUT_CH) > 65535 || CXN_GET(IN_CH) > 13000
#error "WEIGHT_LAYOUT: CXN_WEIGHT_LAYOUT_COUPLED needs OUT_CH 5..65535 and IN_CH up to 13000"
#endif
CXN_STATIC_ASSERT(CXN_GET(SCRATCH_BYTES) >= 8 * (CXN_C_STEPS + 1), coupled_scratch);

#include "asm/coupled.h"

/* Four columns of the input as their words a and b. */
CXN_INLINE void CXN_LOCAL(widen_step)(uint32_t *to, uint32_t four)
{
    const uint32_t odd = cxn_uxtb16_ror8(four ^ 0x7f7f7f7fU); /* 127 - x[k + 1] */
    to[0] = (0x80008000U - odd) ^ 0x80008000U;                /* in each half */
    to[1] = (four & 0x00ff00ffU) << 8 | odd;
}

CXN_INLINE void CXN_LOCAL(widen)(uint32_t *CXN_RESTRICT to, const CXN_IN_T *input)
{
    CXN_UNROLL_LOOP(4)
    for (int32_t step = 0; step < CXN_GET(IN_CH) / 4; step++) {
        const CXN_IN_T *const from = input + 4 * step;
        CXN_LOCAL(widen_step)(to + 2 * step, CXN_GET(INPUT_ALIGNED) ? cxn_load_u32_aligned(from) : cxn_load_u32(from));
    }
#if CXN_C_TAIL
    {
        const CXN_IN_T *const last = input + CXN_GET(IN_CH) - CXN_C_TAIL;
        uint32_t four = 0;
        for (int32_t c = 0; c < CXN_C_TAIL; c++)
            four |= (uint32_t)(uint8_t)last[c] << (8 * c);
        CXN_LOCAL(widen_step)(to + 2 * (CXN_C_STEPS - 1), four);
    }
#endif
}

CXN_KERNEL_FN void CXN_KERNEL(const CXN_IN_T *CXN_RESTRICT input, const CXN_WEIGHT_T *CXN_RESTRICT weights,
                              const CXN_CHANNEL_T *CXN_RESTRICT channels, CXN_OUT_T *CXN_RESTRICT output, void *scratch)
{
    uint32_t *const x = (uint32_t *)scratch;
    CXN_LOCAL(widen)(x, input);
#if CXN_C_WRITTEN
    CXN_LOCAL(products)(x, weights, channels, output);
#else
    for (int32_t first = 0, last = 0; !last; first += CXN_C_ROWS, weights += CXN_C_BLOCK_BYTES) {
        int32_t sum[CXN_C_ROWS];
        last = first >= CXN_GET(OUT_CH) - CXN_C_ROWS;
        first = CXN_MIN(first, CXN_GET(OUT_CH) - CXN_C_ROWS);
        CXN_LOCAL(sums)(sum, x, weights);
        for (int32_t r = 0; r < CXN_C_ROWS; r++)
            output[first + r] = (CXN_OUT_T)CXN_REQUANTISE(sum[r] >> 8, CXN_FACTOR(CXN_C_CHANNEL(first + r)));
    }
#endif
}

#undef CXN_C_BLOCK_BYTES
#undef CXN_C_CHANNEL
#undef CXN_C_ROWS
#undef CXN_C_STEPS
#undef CXN_C_STEP_BYTES
#undef CXN_C_TAIL
#undef CXN_C_UNIFORM
#undef CXN_C_WRITTEN
