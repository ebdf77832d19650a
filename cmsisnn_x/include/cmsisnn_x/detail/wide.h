/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Convolution, depthwise convolution and fully connected layers of 16-bit activations and 8-bit weights, without zero points:
 *     acc = bias + sum                                                          64 bits
 *     out = clamp((acc multiplier + 2^(shift-1)) >> shift, OUT_MIN, OUT_MAX)    multiplier of 15 bits, one rounding half up, shift = 1 .. 46
 * A channel's record is { start_low, start_high, multiplier, shift }, the first two its bias. With CXN_RESCALE_WIDE_REAL it is
 * { start_low, start_high, high, low, shift }, and outputs are what scheme_affine.h says of CXN_RESCALE_REAL, for |acc| < 2^43. Plain weights, no scratch; pixels outside the image are left
 * out. Products are summed in 32 bits as long as they fit, 511 of them. CXN_WIDE_DEPTHWISE, defined before the include, is 1 where output
 * channel c sees input channel c alone and weights are [kernel_h][kernel_w][channel].
 *     static void CXN_KERNEL(const int16_t *input, const int8_t *weights, const CHANNEL *channels, int16_t *output, void *scratch)
 */
#include "clamp.h"
#include "element.h"
#include "wide_integers.h"

#if CXN_GET(IN_BITS) != 16 || CXN_OUT_BITS != 16 || CXN_GET(WEIGHT_BITS) != 8 || CXN_GET(INPUT_ZERO_POINT) || CXN_GET(OUTPUT_ZERO_POINT)
#error "RESCALE: CXN_RESCALE_WIDE and _WIDE_REAL need IN_BITS 16, OUT_BITS 16, WEIGHT_BITS 8 and zero points of 0"
#endif
#if CXN_GET(INNER) == CXN_INNER_HELIUM
#define CXN_WIDE_WALKS 0 /* who includes it has products of its own */
#else
#define CXN_WIDE_WALKS 1
#if CXN_GET(WEIGHT_LAYOUT) != CXN_WEIGHT_LAYOUT_PLAIN || CXN_GET(INNER) != CXN_INNER_C || CXN_GET(FUSED_POOL)
#error "WEIGHT_LAYOUT, INNER, FUSED_POOL: legal values with 64-bit accumulators are CXN_WEIGHT_LAYOUT_PLAIN, CXN_INNER_C and 0"
#endif
#endif

#define CXN_WIDE_PRODUCTS 511
#define CXN_WIDE_FITS (CXN_GET(KERNEL_H) * CXN_GET(KERNEL_W) * CXN_WIDE_DEPTH <= CXN_WIDE_PRODUCTS)
#if CXN_WIDE_DEPTHWISE
#define CXN_WIDE_ROW 1
#define CXN_WIDE_STEP CXN_GET(IN_CH)
#define CXN_WIDE_DEPTH 1
#define CXN_WIDE_ROWS CXN_GET(OUT_CH)
#define CXN_WIDE_GROUPS 1
#else
#define CXN_WIDE_ROW (CXN_GET(KERNEL_H) * CXN_GET(KERNEL_W) * CXN_GROUP_IN) /* weights from one output channel to the next */
#define CXN_WIDE_STEP CXN_GROUP_IN                                          /* and from one pixel of the window to the next */
#define CXN_WIDE_DEPTH CXN_GROUP_IN
#define CXN_WIDE_ROWS CXN_GROUP_OUT
#define CXN_WIDE_GROUPS CXN_GROUPS
#endif

#if CXN_GET(RESCALE) == CXN_RESCALE_WIDE_REAL
#define CXN_CHANNEL_T cxn_wide_real_channel

CXN_INLINE int32_t CXN_LOCAL(requantise)(uint64_t acc, const cxn_wide_real_channel *channel)
{
    const int is_negative = (int32_t)(uint32_t)(acc >> 32) < 0;
    const uint64_t magnitude = is_negative ? 0U - acc : acc;
    const uint32_t above = (uint32_t)(magnitude >> 32), below = (uint32_t)magnitude;
    const uint32_t high = (uint32_t)channel->high, low = (uint32_t)channel->low;
    const uint64_t product = ((uint64_t)(above * high) << 32) + cxn_multiply_u32(above, low) + cxn_multiply_u32(below, high) +
                             (cxn_multiply_u32(below, low) >> 32);
    const uint64_t quotient = cxn_shift_right_u64(product, channel->shift - 32) + cxn_bit_u64(product, channel->shift - 33);
    const int32_t scaled = quotient < 0x20000U ? (int32_t)quotient : 0x20000; /* more is all the same */
    /* What 32 bits do not hold is -2^31 to LiteRT, on either side. */
    return CXN_LOCAL(clamp)(is_negative || quotient >= 0x80000000U ? -scaled : scaled);
}
#else
#define CXN_CHANNEL_T cxn_wide_channel

CXN_INLINE int32_t CXN_LOCAL(requantise)(uint64_t acc, const cxn_wide_channel *channel)
{
    const uint32_t factor = (uint32_t)channel->multiplier;
    const uint64_t product =
        cxn_multiply_u32((uint32_t)acc, factor) + ((uint64_t)((uint32_t)(acc >> 32) * factor) << 32);
    /* The low 32 bits of the quotient are the same with a sign and without as long as it fits. */
    const uint32_t low = (uint32_t)product, high = (uint32_t)(product >> 32);
    const int32_t shift = channel->shift;
    const uint32_t quotient =
        shift < 32 ? (low >> shift) | (high << (32 - shift)) : (uint32_t)((int32_t)high >> (shift - 32));
    return CXN_LOCAL(clamp)((int32_t)(quotient + cxn_bit_u64(product, shift - 1)));
}
#endif

#if CXN_WIDE_WALKS
/* `rows` output channels of one pixel, up to four. */
CXN_INLINE void CXN_LOCAL(rows)(const CXN_IN_T *input, int32_t top, int32_t left, const int8_t *weights, const CXN_CHANNEL_T *channels,
                                CXN_OUT_T *output, int rows CXN_ROWS_PARAMETER)
{
    uint64_t acc[4];
    int32_t sum[4] = {0, 0, 0, 0};
    for (int r = 0; r < rows; r++) {
        acc[r] = (uint64_t)(uint32_t)channels[r].start_high << 32 | (uint32_t)channels[r].start_low;
    }
    for (int32_t m = 0; m < CXN_GET(KERNEL_H); m++) {
        const int32_t y = top + m * CXN_DILATION_Y;
        if (y < 0 || y >= CXN_IN_ROWS) {
            continue;
        }
        for (int32_t n = 0; n < CXN_GET(KERNEL_W); n++) {
            const int32_t x = left + n * CXN_DILATION_X;
            const int8_t *w = weights + (m * CXN_GET(KERNEL_W) + n) * CXN_WIDE_STEP;
            const CXN_IN_T *from = input + (y * CXN_GET(IN_W) + x) * CXN_GET(IN_CH);
            if (x < 0 || x >= CXN_GET(IN_W)) {
                continue;
            }
            for (int32_t first = 0; first < CXN_WIDE_DEPTH; first += CXN_WIDE_PRODUCTS) {
                const int32_t count = CXN_MIN(CXN_WIDE_PRODUCTS, CXN_WIDE_DEPTH - first);
                CXN_UNROLL_LOOP(4)
                for (int32_t c = 0; c < count; c++) {
                    const int32_t element = CXN_LOCAL(load)(from);
                    sum[0] += element * w[0];
                    if (rows > 1) {
                        sum[1] += CXN_LOCAL(load)(from + CXN_WIDE_DEPTHWISE) * w[CXN_WIDE_ROW];
                        sum[2] += CXN_LOCAL(load)(from + 2 * CXN_WIDE_DEPTHWISE) * w[2 * CXN_WIDE_ROW];
                        sum[3] += CXN_LOCAL(load)(from + 3 * CXN_WIDE_DEPTHWISE) * w[3 * CXN_WIDE_ROW];
                    }
                    from++;
                    w++;
                }
                if (!CXN_WIDE_FITS) {
                    for (int r = 0; r < rows; r++) {
                        acc[r] += (uint64_t)(int64_t)sum[r];
                        sum[r] = 0;
                    }
                }
            }
        }
    }
    for (int r = 0; r < rows; r++) {
        acc[r] += (uint64_t)(int64_t)sum[r];
        CXN_LOCAL(store)(output + r, CXN_LOCAL(requantise)(acc[r], channels + r));
    }
}

CXN_KERNEL_FN void CXN_KERNEL(const CXN_IN_T *CXN_RESTRICT input, const int8_t *CXN_RESTRICT weights,
                              const CXN_CHANNEL_T *CXN_RESTRICT channels, CXN_OUT_T *CXN_RESTRICT output, void *scratch CXN_ROWS_PARAMETER)
{
    (void)scratch;
    for (int32_t y = 0; y < CXN_OUT_ROWS; y++) {
        for (int32_t x = 0; x < CXN_GET(OUT_W); x++) {
            const int32_t top = y * CXN_GET(STRIDE_Y) - CXN_PAD_ROWS, left = x * CXN_GET(STRIDE_X) - CXN_GET(PAD_LEFT);
            const int8_t *w = weights;
            const CXN_CHANNEL_T *channel = channels;
            for (int32_t group = 0; group < CXN_WIDE_GROUPS; group++) {
                const CXN_IN_T *const from = input + group * CXN_WIDE_DEPTH;
                int32_t o = 0;
                for (; o + 4 <= CXN_WIDE_ROWS; o += 4, w += 4 * CXN_WIDE_ROW, channel += 4, output += 4) {
                    CXN_LOCAL(rows)(from + (CXN_WIDE_DEPTHWISE ? o : 0), top, left, w, channel, output, 4 CXN_ROWS_ARGUMENT);
                }
                for (; o < CXN_WIDE_ROWS; o++, w += CXN_WIDE_ROW, channel++, output++) {
                    CXN_LOCAL(rows)(from + (CXN_WIDE_DEPTHWISE ? o : 0), top, left, w, channel, output, 1 CXN_ROWS_ARGUMENT);
                }
            }
        }
    }
}
#endif

#undef CXN_WIDE_WALKS
#undef CXN_WIDE_PRODUCTS
#undef CXN_WIDE_FITS
#undef CXN_WIDE_ROW
#undef CXN_WIDE_STEP
#undef CXN_WIDE_DEPTH
#undef CXN_WIDE_ROWS
#undef CXN_WIDE_GROUPS
#undef CXN_WIDE_DEPTHWISE
