/* SPDX-License-Identifier: Apache-2.0 */
/* The register tile of depthwise.template.h: DW_PIXELS pixels x two vectors of sums.
 * Takes: VEC, DW_SUMS(job, in, offsets, weights, sums, acc), which fills acc[pixel][2], and
 * DW_STORE(out, acc, requant, channel, n), which requantises and stores the first n of DW_LANES channels; `channel` is
 * the place of the accumulators among the sums. */
static void FN(dw_tile)(const FN(dw_job) *job, const int16_t *in, const ptrdiff_t *offsets, const int16_t *weights,
                        const int32_t *sums, T *out, int pixels, int channels)
{
    VEC acc[DW_PIXELS][2];
    DW_SUMS(job->taps, job->steps, in, offsets, weights, sums, acc);
    UNROLL
    for (int p = 0; p < DW_PIXELS; p++) {
        if (p >= pixels)
            break;
        DW_STORE(out + p * job->ch, acc[p], &job->requant, sums - job->sums, channels);
    }
}
