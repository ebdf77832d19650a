/* SPDX-License-Identifier: Apache-2.0 */
/* The inner functions of convolve.template.h and depthwise.template.h in portable C.
 * Takes: FN(name), T. The scheme is copied: an output of bytes may alias anything that is read through a pointer. */

/* The other way round where fewer than PIXELS columns are left: four rows of weights against one column. */
ALWAYS_INLINE void FN(one_column)(const FN(job) *job, const int affine, const int16_t *column, ptrdiff_t depth, T *out)
{
    const simd_requant requant = job->requant;
    for (ptrdiff_t oc = 0; oc < job->out_ch; oc += 4) {
        const ptrdiff_t last = job->out_ch - 1, valid = min_ptrdiff(job->out_ch - oc, 4);
        const void *rows[4];
        uint32_t sums[4];
        for (ptrdiff_t r = 0; r < 4; r++) {
            rows[r] = job->weights + min_ptrdiff(oc + r, last) * depth;
            sums[r] = (uint32_t)job->sums[min_ptrdiff(oc + r, last)];
        }
        four_rows_w16(column, rows, depth, sums);
        for (ptrdiff_t r = 0; r < valid; r++)
            out[oc + r] = (T)requantise_as(sums[r], &requant, oc + r, affine);
    }
}

ALWAYS_INLINE void FN(strip_as)(const FN(job) *job, const int affine, T *out, ptrdiff_t pixels)
{
    const ptrdiff_t depth = (ptrdiff_t)job->rows * job->groups;
    const simd_requant requant = job->requant;
    int16_t *columns = job->columns;
    const void *const windows[PIXELS] = {columns, columns + depth, columns + 2 * depth, columns + 3 * depth};
    for (ptrdiff_t i = 0; i < pixels; i += PIXELS) {
        const ptrdiff_t valid = min_ptrdiff(pixels - i, PIXELS);
        for (ptrdiff_t p = 0; p < PIXELS; p++)
            for (ptrdiff_t r = 0; r < job->rows; r++)
                memcpy(columns + p * depth + r * job->groups, job->in + job->offsets[i + p] + r * job->pitch,
                       (size_t)job->groups * sizeof(int16_t));
        if (valid < PIXELS) {
            for (ptrdiff_t p = 0; p < valid; p++)
                FN(one_column)(job, affine, columns + p * depth, depth, out + (i + p) * job->out_ch);
            break;
        }
        for (ptrdiff_t oc = 0; oc < job->out_ch; oc++) {
            const uint32_t start = (uint32_t)job->sums[oc];
            uint32_t sums[PIXELS] = {start, start, start, start};
            four_rows_w16(job->weights + oc * depth, windows, depth, sums);
            for (ptrdiff_t p = 0; p < PIXELS; p++)
                out[(i + p) * job->out_ch + oc] = (T)requantise_as(sums[p], &requant, oc, affine);
        }
    }
}

static void FN(strip)(const FN(job) *job, T *out, ptrdiff_t pixels)
{
    if (job->requant.kind == SIMD_POW2)
        FN(strip_as)(job, 0, out, pixels);
    else
        FN(strip_as)(job, 1, out, pixels);
}

ALWAYS_INLINE void FN(dw_tile)(const FN(dw_job) *job, const int affine, const int16_t *in, const ptrdiff_t *offsets,
                               const int16_t *weights, const int32_t *sums, T *out, int channels)
{
    const simd_requant requant = job->requant;
    uint32_t acc[DW_LANES];
    memcpy(acc, sums, sizeof acc);
    for (ptrdiff_t t = 0; t < job->steps; t++) {
        const int16_t *from = in + offsets[0] + job->taps[t], *w = weights + t * DW_LANES;
        multiply_add(acc, from, w, channels);
    }
    for (int c = 0; c < channels; c++)
        out[c] = (T)requantise_as(acc[c], &requant, sums - job->sums + c, affine);
}

#define DW_TILE(affine, name)                                                                                       \
    static void FN(name)(const FN(dw_job) *job, const int16_t *in, const ptrdiff_t *offsets, const int16_t *weights, \
                         const int32_t *sums, T *out, int pixels, int channels)                                      \
    {                                                                                                                \
        (void)pixels;                                                                                                \
        FN(dw_tile)(job, affine, in, offsets, weights, sums, out, channels);                                         \
    }
DW_TILE(0, dw_tile_pow2)
DW_TILE(1, dw_tile_affine)
#undef DW_TILE

static FN(dw_tile_function) FN(dw_tile_of)(int kind)
{
    return kind == SIMD_POW2 ? FN(dw_tile_pow2) : FN(dw_tile_affine);
}
