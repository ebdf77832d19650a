/* SPDX-License-Identifier: Apache-2.0 */
/* The register tile of depthwise.template.h: DW_PIXELS pixels x two vectors of sums.
 * Takes: VEC, DW_SUMS(job, in, offsets, weights, sums, acc), which fills acc[pixel][2], and
 * DW_STORE(out, acc, requant, n), which requantises and stores the first n of DW_LANES channels.
 *
 * Where there are zero points, HAS_AFFINE: RESCALING and LOAD_RESCALING as tile.template.h has them, and
 * DW_STORE_AFFINE(out, acc, rescalings, n) with those of both vectors; NEAR, LOAD_NEAR, DW_STORE_NEAR likewise. */
ALWAYS_INLINE void FN(dw_tile)(const FN(dw_job) *job, const int kind, const int16_t *in, const ptrdiff_t *offsets,
                               const int16_t *weights, const int32_t *sums, T *out, int pixels, int channels)
{
    VEC acc[DW_PIXELS][2];
    DW_SUMS(job->taps, job->steps, in, offsets, weights, sums, acc);
#if HAS_AFFINE
    const ptrdiff_t channel = sums - job->sums;
    if (kind == SIMD_AFFINE) {
        const RESCALING rescalings[2] = {LOAD_RESCALING(&job->requant, channel),
                                         LOAD_RESCALING(&job->requant, channel + DW_LANES / 2)};
        UNROLL
        for (int p = 0; p < DW_PIXELS; p++) {
            if (p >= pixels)
                break;
            DW_STORE_AFFINE(out + p * job->ch, acc[p], rescalings, channels);
        }
        return;
    }
    if (kind == SIMD_AFFINE_NEAR) {
        const NEAR nears[2] = {LOAD_NEAR(&job->requant, channel), LOAD_NEAR(&job->requant, channel + DW_LANES / 2)};
        UNROLL
        for (int p = 0; p < DW_PIXELS; p++) {
            if (p >= pixels)
                break;
            DW_STORE_NEAR(out + p * job->ch, acc[p], nears, channels);
        }
        return;
    }
    if (kind == SIMD_AFFINE_FLOAT) {
        for (int p = 0; p < pixels; p++) {
            int32_t lanes[DW_LANES];
            memcpy(lanes, acc[p], sizeof lanes);
            for (int c = 0; c < channels; c++)
                out[p * job->ch + c] =
                    (T)requantise_as((uint32_t)lanes[DW_SLOT(c)], &job->requant, channel + DW_SLOT(c), 1);
        }
        return;
    }
#endif
    (void)kind;
    UNROLL
    for (int p = 0; p < DW_PIXELS; p++) {
        if (p >= pixels)
            break;
        DW_STORE(out + p * job->ch, acc[p], &job->requant, channels);
    }
}

#define DW_TILE(kind, name)                                                                                         \
    static void FN(name)(const FN(dw_job) *job, const int16_t *in, const ptrdiff_t *offsets, const int16_t *weights, \
                         const int32_t *sums, T *out, int pixels, int channels)                                      \
    {                                                                                                                \
        FN(dw_tile)(job, kind, in, offsets, weights, sums, out, pixels, channels);                                   \
    }
DW_TILE(SIMD_POW2, dw_tile_pow2)
#if HAS_AFFINE
DW_TILE(SIMD_AFFINE, dw_tile_affine)
DW_TILE(SIMD_AFFINE_NEAR, dw_tile_near)
DW_TILE(SIMD_AFFINE_FLOAT, dw_tile_float)
#endif
#undef DW_TILE

static FN(dw_tile_function) FN(dw_tile_of)(int kind)
{
#if HAS_AFFINE
    if (kind != SIMD_POW2)
        return kind == SIMD_AFFINE        ? FN(dw_tile_affine)
               : kind == SIMD_AFFINE_NEAR ? FN(dw_tile_near)
                                          : FN(dw_tile_float);
#endif
    (void)kind;
    return FN(dw_tile_pow2);
}
