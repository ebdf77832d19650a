/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A single output row from all rows of an image, which come a few at a time: `scratch` has a sum for each channel, OUT_CH words, which stay
 * there from call to call.
 *     static void CXN_KERNEL(const IN *input, OUT *output, void *scratch, const cxn_rows band)
 * adds band.in rows, behind band.above that were added before; with band.out they are the last, and the output is written. Without BAND
 * whoever includes it calls CXN_LOCAL(add_channels)(input, output, sums, band), which is that.
 * Before the include:
 *     CXN_SUMS_START                     what a sum begins with
 *     CXN_LOCAL(output_of)(sum)          the output element
 *     CXN_LOCAL(eight_of)(output, even, odd)     on cores with Helium: eight of them from vectors of sums
 */
#if CXN_HELIUM
#include "helium_row_sums.h"
#endif

/* `lanes` neighbouring channels from c on, 4 or 1. */
CXN_INLINE void CXN_LOCAL(add_rows)(const CXN_IN_T *input, CXN_OUT_T *output, uint32_t *sums, int32_t c, const cxn_rows band, int lanes)
{
    uint32_t sum0, sum1 = 0, sum2 = 0, sum3 = 0;
    if (band.above == 0) {
        sum0 = sum1 = sum2 = sum3 = CXN_SUMS_START;
    } else {
        sum0 = sums[c];
        if (lanes > 1) {
            sum1 = sums[c + 1];
            sum2 = sums[c + 2];
            sum3 = sums[c + 3];
        }
    }
    CXN_UNROLL_LOOP(2)
    for (int32_t i = band.in * CXN_GET(IN_W); i > 0; i--) {
        sum0 += (uint32_t)CXN_LOCAL(load)(input);
        if (lanes > 1) {
            sum1 += (uint32_t)CXN_LOCAL(load)(input + 1);
            sum2 += (uint32_t)CXN_LOCAL(load)(input + 2);
            sum3 += (uint32_t)CXN_LOCAL(load)(input + 3);
        }
        input += CXN_GET(IN_CH);
    }
    if (band.out) {
        CXN_LOCAL(store)(output, CXN_LOCAL(output_of)(sum0));
        if (lanes > 1) {
            CXN_LOCAL(store)(output + 1, CXN_LOCAL(output_of)(sum1));
            CXN_LOCAL(store)(output + 2, CXN_LOCAL(output_of)(sum2));
            CXN_LOCAL(store)(output + 3, CXN_LOCAL(output_of)(sum3));
        }
        return;
    }
    sums[c] = sum0;
    if (lanes > 1) {
        sums[c + 1] = sum1;
        sums[c + 2] = sum2;
        sums[c + 3] = sum3;
    }
}

/* All channels; a call that begins and ends does without `sums`. */
CXN_INLINE void CXN_LOCAL(add_channels)(const CXN_IN_T *input, CXN_OUT_T *output, uint32_t *sums, const cxn_rows band)
{
    int32_t c = 0;
#if CXN_HELIUM
    CXN_LOCAL(add_vectors)(input, output, sums, band);
    c = CXN_GET(IN_CH) / 8 * 8;
#endif
    for (; c < CXN_GET(IN_CH) / 4 * 4; c += 4)
        CXN_LOCAL(add_rows)(input + c, output + c, sums, c, band, 4);
    for (; c < CXN_GET(IN_CH); c++)
        CXN_LOCAL(add_rows)(input + c, output + c, sums, c, band, 1);
}

#if CXN_IS_BAND
CXN_KERNEL_FN void CXN_KERNEL(const CXN_IN_T *CXN_RESTRICT input, CXN_OUT_T *CXN_RESTRICT output, void *scratch, const cxn_rows band)
{
    CXN_LOCAL(add_channels)(input, output, (uint32_t *)scratch, band);
}
#endif
