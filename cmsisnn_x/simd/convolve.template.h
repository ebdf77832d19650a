/* SPDX-License-Identifier: Apache-2.0 */
/* Convolution as an implicit matrix product: no im2col matrix is written, tiles read the lowered rows in place.
 *
 * packed:  int32 sums[round_up(out_ch, CHANNELS)]                      bias, rounding and correction; then the
 *                                                                      other constants of channels, see common.h
 *          PW    weights[out_ch / LANES][kernel_h][groups][LANES][KG]  zero where a group or vector is incomplete
 *
 * Takes: FN(name), T, LT, PW, LANES, KG, CHANNELS (per tile, a multiple of LANES), PIXELS (per tile), CORRECTION (what
 * LOWER_ROW added to every input), COLUMNS (windows that the strip function gathers, 0 if it reads them in place), and
 * FN(strip)(job, out, pixels), which comes from tile.template.h or the including file.
 */
typedef struct {
    const LT *in;
    LT *columns;
    const ptrdiff_t *offsets;
    ptrdiff_t pitch;
    int rows, groups;
    const int32_t *sums;
    const PW *weights;
    simd_requant requant;
    ptrdiff_t out_ch;
    ptrdiff_t row_pixels, pixel_pitch; /* of an output row; elements between its windows */
} FN(job);

static void FN(strip)(const FN(job) *job, T *out, ptrdiff_t pixels);

#ifndef ROUND_GROUPS
#define ROUND_GROUPS(n) (n)
#endif

ALWAYS_INLINE int FN(groups)(const simd_geometry *g)
{
    return (int)ROUND_GROUPS(((ptrdiff_t)g->kernel_w * g->in_ch + KG - 1) / KG);
}

ALWAYS_INLINE size_t FN(sums_bytes)(const simd_geometry *g)
{
    return round_up(round_up((size_t)g->out_ch, CHANNELS) * sizeof(int32_t), SIMD_ALIGNMENT);
}

ALWAYS_INLINE size_t FN(constants_bytes)(const simd_geometry *g)
{
    return constants_bytes(&g->requant, FN(sums_bytes)(g));
}

static size_t FN(packed_bytes)(const simd_geometry *g)
{
    const size_t per_channel = (size_t)g->kernel_h * (size_t)FN(groups)(g) * KG;
    return FN(constants_bytes)(g) + round_up((size_t)g->out_ch, CHANNELS) * per_channel * sizeof(PW);
}

ALWAYS_INLINE void FN(pack_as)(const simd_geometry *g, const void *weights, int weight_bits, const void *bias,
                               void *packed)
{
    const ptrdiff_t run = (ptrdiff_t)g->kernel_w * g->in_ch;
    const ptrdiff_t groups = FN(groups)(g), whole = run / KG;
    uint32_t *sums = packed;
    PW *first = (PW *)((char *)packed + FN(constants_bytes)(g));
    const uint32_t correction = CORRECTION + (uint32_t)zero_point_of(&g->requant);
    memset(packed, 0, FN(packed_bytes)(g));
    for (ptrdiff_t oc = 0; oc < g->out_ch; oc++) {
        PW *to = first + (oc / LANES * g->kernel_h * groups * LANES + oc % LANES) * KG;
        const ptrdiff_t depth = g->kernel_h * run;
        sums[oc] = initial_sum(g, bias, oc);
        pack_constants(&g->requant, packed, FN(sums_bytes)(g), oc, oc);
        if (correction) {
            uint32_t sum = 0;
            for (ptrdiff_t i = 0; i < depth; i++)
                sum += (uint32_t)plain_weight(weights, weight_bits, oc * depth + i);
            sums[oc] -= correction * sum;
        }
        for (ptrdiff_t r = 0; r < g->kernel_h; r++, to += groups * LANES * KG) {
            const ptrdiff_t from = oc * depth + r * run;
            if (weight_bits == 8 * (int)sizeof(PW)) {
                const PW *plain = (const PW *)weights + from;
                for (ptrdiff_t k = 0; k < whole; k++)
                    memcpy(to + k * LANES * KG, plain + k * KG, sizeof(PW) * KG);
            } else
                for (ptrdiff_t k = 0; k < whole; k++)
                    for (ptrdiff_t i = 0; i < KG; i++)
                        to[k * LANES * KG + i] = (PW)plain_weight(weights, weight_bits, from + k * KG + i);
            for (ptrdiff_t i = whole * KG; i < run; i++)
                to[whole * LANES * KG + i % KG] = (PW)plain_weight(weights, weight_bits, from + i);
        }
    }
}

static void FN(pack)(const simd_geometry *g, const void *weights, const void *bias, void *packed)
{
    if (g->weight_bits == 8)
        FN(pack_as)(g, weights, 8, bias, packed);
    else
        FN(pack_as)(g, weights, 16, bias, packed);
}

ALWAYS_INLINE size_t FN(columns_bytes)(const simd_geometry *g)
{
    return round_up(COLUMNS * (size_t)g->kernel_h * (size_t)FN(groups)(g) * KG * sizeof(LT), SIMD_ALIGNMENT);
}

static size_t FN(scratch_bytes)(const simd_geometry *g) { return FN(lowering_bytes)(g) + FN(columns_bytes)(g); }

static void FN(run)(const simd_geometry *g, const void *packed, const void *in, void *out, void *scratch)
{
    const FN(lowering) p = FN(plan_lowering)(g);
    ptrdiff_t *offsets = scratch;
    LT *columns = (LT *)((char *)scratch + p.offsets_bytes);
    LT *buffer = (LT *)((char *)columns + FN(columns_bytes)(g));
    const FN(job) job = {
        .in = buffer,
        .columns = columns,
        .offsets = offsets,
        .pitch = p.pitch,
        .rows = g->kernel_h,
        .groups = FN(groups)(g),
        .sums = packed,
        .weights = (const PW *)((const char *)packed + FN(constants_bytes)(g)),
        .requant = packed_requant(&g->requant, packed, FN(sums_bytes)(g)),
        .out_ch = g->out_ch,
        .row_pixels = g->out_w,
        .pixel_pitch = (ptrdiff_t)g->stride_x * g->in_ch,
    };
    FN(window_offsets)(g, &p, offsets);
    for (ptrdiff_t y = 0; y < g->out_h; y += p.strip) {
        const ptrdiff_t rows = min_ptrdiff(p.strip, g->out_h - y);
        FN(lower)(g, &p, in, y, rows, buffer);
        FN(strip)(&job, (T *)out + y * g->out_w * g->out_ch, rows * g->out_w);
    }
}
