/* SPDX-License-Identifier: Apache-2.0 */
/* Depthwise convolution: vectors of DW_LANES channels, DW_PIXELS pixels at a time, DW_TAPS taps per step.
 *
 * packed:  int32 sums[round_up(ch, DW_LANES)]                           bias and rounding, in accumulator order; then
 *                                                                       the other constants of channels, see common.h
 *          int16 weights[ch / DW_LANES][taps / DW_TAPS][DW_LANES][DW_TAPS]   taps padded with zeros, accumulator order
 *
 * Takes: FN(name), T, and the tiles FN(dw_tile_of)(kind) gives, (job, in, offsets, weights, sums, out, pixels, channels); the lowered
 * element is int16. DW_SLOT(c) says where channel c of a chunk lies among the accumulators.
 */
typedef struct {
    const ptrdiff_t *taps; /* offset of every tap inside a window, a multiple of DW_TAPS of them */
    ptrdiff_t steps;
    simd_requant requant;
    const int32_t *sums;
    ptrdiff_t ch; /* elements from one pixel of a tile to the next in the output */
} FN(dw_job);

typedef void (*FN(dw_tile_function))(const FN(dw_job) *, const int16_t *in, const ptrdiff_t *offsets,
                                     const int16_t *weights, const int32_t *sums, T *out, int pixels, int channels);

static FN(dw_tile_function) FN(dw_tile_of)(int kind);

ALWAYS_INLINE size_t FN(dw_sums_bytes)(const simd_geometry *g)
{
    return round_up((size_t)g->out_ch, DW_LANES) * sizeof(int32_t);
}

ALWAYS_INLINE ptrdiff_t FN(dw_steps)(const simd_geometry *g)
{
    return ((ptrdiff_t)g->kernel_h * g->kernel_w + DW_TAPS - 1) / DW_TAPS;
}

/* Few channels: neighbouring pixels lie side by side, so a vector takes whole pixels, with the weights repeated. */
ALWAYS_INLINE int FN(dw_spans_pixels)(const simd_geometry *g)
{
    return g->stride_x == 1 && g->out_ch < DW_LANES && DW_LANES % g->out_ch == 0;
}

static size_t FN(dw_packed_bytes)(const simd_geometry *g)
{
    return constants_bytes(&g->requant, FN(dw_sums_bytes)(g)) +
           round_up((size_t)g->out_ch, DW_LANES) * (size_t)FN(dw_steps)(g) * DW_TAPS * sizeof(int16_t);
}

static void FN(dw_pack)(const simd_geometry *g, const void *weights, const void *bias, void *packed)
{
    const ptrdiff_t ch = g->out_ch, taps = (ptrdiff_t)g->kernel_h * g->kernel_w, steps = FN(dw_steps)(g);
    const ptrdiff_t slots = FN(dw_spans_pixels)(g) ? DW_LANES : ch;
    uint32_t *sums = packed;
    int16_t *to = (int16_t *)((char *)packed + constants_bytes(&g->requant, FN(dw_sums_bytes)(g)));
    const uint32_t zero_point = (uint32_t)zero_point_of(&g->requant);
    memset(packed, 0, FN(dw_packed_bytes)(g));
    for (ptrdiff_t c = 0; c < slots; c++) {
        const ptrdiff_t chunk = c / DW_LANES, slot = DW_SLOT(c % DW_LANES);
        uint32_t sum = initial_sum(g, bias, c % ch);
        for (ptrdiff_t t = 0; t < taps; t++) {
            const int16_t weight = plain_weight(weights, g->weight_bits, t * ch + c % ch);
            to[((chunk * steps + t / DW_TAPS) * DW_LANES + slot) * DW_TAPS + t % DW_TAPS] = weight;
            sum -= zero_point * (uint32_t)weight;
        }
        sums[chunk * DW_LANES + slot] = sum;
        pack_constants(&g->requant, packed, FN(dw_sums_bytes)(g), chunk * DW_LANES + slot, c % ch);
    }
}

ALWAYS_INLINE size_t FN(dw_taps_bytes)(const simd_geometry *g)
{
    return round_up((size_t)FN(dw_steps)(g) * DW_TAPS * sizeof(ptrdiff_t), SIMD_ALIGNMENT);
}

static size_t FN(dw_scratch_bytes)(const simd_geometry *g) { return FN(lowering_bytes)(g) + FN(dw_taps_bytes)(g); }

/* One output row as vectors of DW_LANES elements, the last one incomplete. */
static void FN(dw_row)(const FN(dw_job) *job, const int16_t *in, const int16_t *weights, const int32_t *sums, T *out,
                       ptrdiff_t length)
{
    const ptrdiff_t whole = length / DW_LANES;
    const FN(dw_tile_function) tile = FN(dw_tile_of)(job->requant.kind);
    ptrdiff_t offsets[DW_PIXELS];
    for (ptrdiff_t i = 0; i < whole; i += DW_PIXELS) {
        for (ptrdiff_t p = 0; p < DW_PIXELS; p++)
            offsets[p] = min_ptrdiff(i + p, whole - 1) * DW_LANES;
        tile(job, in, offsets, weights, sums, out + i * DW_LANES, (int)min_ptrdiff(whole - i, DW_PIXELS), DW_LANES);
    }
    if (length % DW_LANES) {
        for (ptrdiff_t p = 0; p < DW_PIXELS; p++)
            offsets[p] = whole * DW_LANES;
        tile(job, in, offsets, weights, sums, out + whole * DW_LANES, 1, (int)(length % DW_LANES));
    }
}

static void FN(dw_run)(const simd_geometry *g, const void *packed, const void *in, void *out, void *scratch)
{
    const FN(lowering) p = FN(plan_lowering)(g);
    ptrdiff_t *offsets = scratch;
    ptrdiff_t *taps = (ptrdiff_t *)((char *)scratch + p.offsets_bytes);
    int16_t *buffer = (int16_t *)((char *)taps + FN(dw_taps_bytes)(g));
    const int32_t *sums = packed;
    const size_t constants = constants_bytes(&g->requant, FN(dw_sums_bytes)(g));
    const FN(dw_job) job = {
        .taps = taps,
        .steps = FN(dw_steps)(g),
        .requant = packed_requant(&g->requant, packed, FN(dw_sums_bytes)(g)),
        .sums = sums,
        .ch = FN(dw_spans_pixels)(g) ? DW_LANES : g->out_ch,
    };
    const int16_t *weights = (const int16_t *)((const char *)packed + constants);
    const FN(dw_tile_function) tile = FN(dw_tile_of)(g->requant.kind);
    const ptrdiff_t chunk_pitch = job.steps * DW_TAPS * DW_LANES;

    for (ptrdiff_t t = 0; t < job.steps * DW_TAPS; t++) {
        const ptrdiff_t tap = min_ptrdiff(t, (ptrdiff_t)g->kernel_h * g->kernel_w - 1);
        taps[t] = tap / g->kernel_w * g->dilation_y * p.pitch + tap % g->kernel_w * g->dilation_x * g->in_ch;
    }
    FN(window_offsets)(g, &p, offsets);
    for (ptrdiff_t y = 0; y < g->out_h; y += p.strip) {
        const ptrdiff_t rows = min_ptrdiff(p.strip, g->out_h - y), pixels = rows * g->out_w;
        T *to = (T *)out + y * g->out_w * g->out_ch;
        FN(lower)(g, &p, in, y, rows, buffer);
        if (FN(dw_spans_pixels)(g)) {
            const ptrdiff_t length = (ptrdiff_t)g->out_w * g->out_ch;
            for (ptrdiff_t r = 0; r < rows; r++)
                FN(dw_row)(&job, buffer + r * g->stride_y * p.pitch, weights, sums, to + r * length, length);
            continue;
        }
        for (ptrdiff_t c = 0; c < g->out_ch; c += DW_LANES)
            for (ptrdiff_t i = 0; i < pixels; i += DW_PIXELS)
                tile(&job, buffer + c, offsets + i, weights + c / DW_LANES * chunk_pitch, sums + c,
                     to + i * g->out_ch + c, (int)min_ptrdiff(pixels - i, DW_PIXELS),
                     (int)min_ptrdiff(g->out_ch - c, DW_LANES));
    }
}
