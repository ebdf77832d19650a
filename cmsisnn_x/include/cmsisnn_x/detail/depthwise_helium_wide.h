/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rows of outputs of one channel with accumulators of 64 bits, of depthwise_helium.h: pixel by pixel, VMLALDAV for each 8 elements of the window,
 * then what wide.h makes of the sum.
 */
#include <arm_mve.h>

CXN_INLINE void CXN_LOCAL(channel)(const int8_t *words, const CXN_W_T *weights, const CXN_CHANNEL_T *channel, const int8_t *places,
                                   CXN_OUT_T *out, int32_t high, int is_single)
{
    const uint32x4_t apart = vldrwq_u32((const uint32_t *)(const void *)(places + 16));
    const int64_t start = (int64_t)(((uint64_t)(uint32_t)channel->start_high << 32) | (uint32_t)channel->start_low);
    (void)is_single;
    for (int32_t y = 0; y < high; y++) {
        const int8_t *at = words;
        for (int32_t x = 0; x < CXN_GET(OUT_W); x++) {
            int64_t acc = start;
            CXN_UNROLL_LOOP(8)
            for (int32_t b = 0; b < CXN_WORDS / 4; b++) {
                const int32x4_t four = vldrwq_gather_offset_s32((const int32_t *)(const void *)(at + 4 * b * CXN_STEP), apart);
                acc = vmlaldavaq_s16(acc, vreinterpretq_s16_s32(four), vldrhq_s16(weights + 8 * b));
            }
            CXN_LOCAL(store)(out, CXN_LOCAL(requantise)((uint64_t)acc, channel));
            at += CXN_GET(STRIDE_X) * CXN_PIXEL;
            out += CXN_GET(OUT_CH);
        }
        words += CXN_PITCH;
    }
}
