/* SPDX-License-Identifier: Apache-2.0 */
/* int8 convolution by AMX: TDPBSSD multiplies signed bytes and accumulates modulo 2^32, so inputs need no offset.
 *
 *   tiles 0..3: sums, M pixels x 16 channels        4, 5: inputs, M pixels x 4 * DEPTH bytes
 *   tiles 6, 7: weights, DEPTH groups x 16 channels x 4
 *
 * The rows of an input tile are the windows of M neighbouring pixels, read in place: they lie stride_x * in_ch bytes
 * apart. M divides an output row as evenly as it can; the last tile of a row overlaps its neighbour instead of being
 * short. DEPTH <= 16 groups divides a kernel row likewise. Included by avx512vnni.c, whose packed layout it shares;
 * small problems go to VPDPBUSD.
 */
#define FN(name) amx_##name
#define T int8_t
#define LT int8_t
#define PW int8_t
#define KG 4
#define CORRECTION 0
#define LOWER_FILL(dst, fill, n) memset(dst, fill, (size_t)(n))
#define LOWER_ROW(dst, src, n) memcpy(dst, src, (size_t)(n))
#define AMX_ROWS 16

ALWAYS_INLINE int amx_steps(ptrdiff_t groups) { return (int)((groups + AMX_ROWS - 1) / AMX_ROWS); }

/* A whole number of steps of equal depth. */
ALWAYS_INLINE ptrdiff_t amx_round_groups(ptrdiff_t groups)
{
    const ptrdiff_t steps = amx_steps(groups);
    return (groups + steps - 1) / steps * steps;
}

#undef ROUND_GROUPS
#define ROUND_GROUPS(n) amx_round_groups(n)
#undef LOWER_SLACK
#define LOWER_SLACK(g) ((size_t)(64 + 4 * amx_steps(((ptrdiff_t)(g)->kernel_w * (g)->in_ch + 3) / 4)))

typedef struct {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} amx_config;

#include "lower.template.h"
#include "convolve.template.h"

ALWAYS_INLINE void amx_store(const amx_job *job, const int32_t (*spill)[LANES], const int32_t *sums, int8_t *out,
                             int pixels, int channels)
{
    const ptrdiff_t channel = sums - job->sums;
    if (job->requant.kind == SIMD_POW2) {
        for (int p = 0; p < pixels; p++)
            store_q7(out + p * job->out_ch, shift_and_floor(_mm512_load_si512(spill[p]), &job->requant), channels);
    } else if (job->requant.kind == SIMD_AFFINE_NEAR) {
        const near_rescaling r = load_near(&job->requant, channel);
        for (int p = 0; p < pixels; p++)
            store_q7(out + p * job->out_ch, rescale_near(_mm512_load_si512(spill[p]), &r), channels);
    } else if (job->requant.kind == SIMD_AFFINE) {
        const rescaling r = load_rescaling(&job->requant, channel);
        for (int p = 0; p < pixels; p++)
            store_q7(out + p * job->out_ch, rescale_lanes(_mm512_load_si512(spill[p]), &r), channels);
    } else {
        for (int p = 0; p < pixels; p++)
            for (int c = 0; c < LANES && c < channels; c++)
                out[p * job->out_ch + c] =
                    (int8_t)requantise_as((uint32_t)spill[p][c], &job->requant, channel + c, 1);
    }
}

/* One or two segments of M pixels against one or two vectors of channels. */
ALWAYS_INLINE void amx_tile(const amx_job *job, const int segments, const int vectors, int m, const int8_t *in0,
                            const int8_t *in1, const int8_t *weights, const int32_t *sums, int8_t *out0, int8_t *out1,
                            int channels)
{
    _Alignas(SIMD_ALIGNMENT) int32_t spill[4][AMX_ROWS][LANES];
    const ptrdiff_t vector_pitch = (ptrdiff_t)job->rows * job->groups * LANES * KG;
    const int steps = amx_steps(job->groups);
    const ptrdiff_t depth = job->groups / steps;
    /* With a stride of 0 every row of a tile starts from the same sums. */
    _tile_loadd(0, sums, 0);
    _tile_loadd(2, sums, 0);
    if (vectors == 2) {
        _tile_loadd(1, sums + LANES, 0);
        _tile_loadd(3, sums + LANES, 0);
    }
    for (int r = 0; r < job->rows; r++) {
        const int8_t *a0 = in0 + r * job->pitch, *a1 = in1 + r * job->pitch;
        for (int s = 0; s < steps; s++, a0 += depth * KG, a1 += depth * KG, weights += depth * LANES * KG) {
            _tile_loadd(6, weights, LANES * KG);
            _tile_loadd(4, a0, job->pixel_pitch);
            _tile_dpbssd(0, 4, 6);
            if (segments == 2) {
                _tile_loadd(5, a1, job->pixel_pitch);
                _tile_dpbssd(2, 5, 6);
            }
            if (vectors == 2) {
                _tile_loadd(7, weights + vector_pitch, LANES * KG);
                _tile_dpbssd(1, 4, 7);
                if (segments == 2)
                    _tile_dpbssd(3, 5, 7);
            }
        }
    }
    _tile_stored(0, spill[0], LANES * sizeof(int32_t));
    amx_store(job, spill[0], sums, out0, m, channels);
    if (vectors == 2) {
        _tile_stored(1, spill[1], LANES * sizeof(int32_t));
        amx_store(job, spill[1], sums + LANES, out0 + LANES, m, channels - LANES);
    }
    if (segments == 2) {
        _tile_stored(2, spill[2], LANES * sizeof(int32_t));
        amx_store(job, spill[2], sums, out1, m, channels);
        if (vectors == 2) {
            _tile_stored(3, spill[3], LANES * sizeof(int32_t));
            amx_store(job, spill[3], sums + LANES, out1 + LANES, m, channels - LANES);
        }
    }
}

typedef struct {
    ptrdiff_t length, m, count; /* pixels with one pitch, pixels per segment, segments per length */
} amx_segments;

ALWAYS_INLINE ptrdiff_t amx_pixel(const amx_segments *s, ptrdiff_t segment)
{
    return segment / s->count * s->length + min_ptrdiff(segment % s->count * s->m, s->length - s->m);
}

static void amx_strip(const amx_job *job, int8_t *out, ptrdiff_t pixels)
{
    amx_segments s = {job->row_pixels, 0, 0};
    /* Output rows at the pitch of pixels are one long row: 1x1 without padding, fully connected. */
    if (pixels > s.length && job->offsets[s.length] == s.length * job->pixel_pitch)
        s.length = pixels;
    s.count = (s.length + AMX_ROWS - 1) / AMX_ROWS;
    s.m = (s.length + s.count - 1) / s.count;
    const ptrdiff_t segments = pixels / s.length * s.count;
    const int depth = (int)(job->groups / amx_steps(job->groups));
    amx_config config = {.palette = 1};
    for (int tile = 0; tile < 8; tile++) {
        config.rows[tile] = (uint8_t)(tile < 6 ? s.m : depth);
        config.row_bytes[tile] = (uint16_t)(tile == 4 || tile == 5 ? depth * KG : LANES * KG);
    }
    _tile_loadconfig(&config);
    const ptrdiff_t channel_pitch = (ptrdiff_t)job->rows * job->groups * KG;
    for (ptrdiff_t oc = 0; oc < job->out_ch; oc += CHANNELS) {
        const int channels = (int)min_ptrdiff(job->out_ch - oc, CHANNELS);
        const int8_t *weights = job->weights + oc * channel_pitch;
        const int32_t *sums = job->sums + oc;
        for (ptrdiff_t i = 0; i < segments; i += 2) {
            const ptrdiff_t p0 = amx_pixel(&s, i), p1 = amx_pixel(&s, min_ptrdiff(i + 1, segments - 1));
            const int8_t *in0 = job->in + job->offsets[p0], *in1 = job->in + job->offsets[p1];
            int8_t *out0 = out + p0 * job->out_ch + oc, *out1 = out + p1 * job->out_ch + oc;
            const int m = (int)s.m;
            if (i + 1 < segments) {
                if (channels > LANES)
                    amx_tile(job, 2, 2, m, in0, in1, weights, sums, out0, out1, channels);
                else
                    amx_tile(job, 2, 1, m, in0, in1, weights, sums, out0, out1, channels);
            } else if (channels > LANES)
                amx_tile(job, 1, 2, m, in0, in1, weights, sums, out0, out1, channels);
            else
                amx_tile(job, 1, 1, m, in0, in1, weights, sums, out0, out1, channels);
        }
    }
    _tile_release();
}

/* Measured: below, setting up tiles costs more than they save (2x2 pixels of 1x1 64->64: 0.44 us against 0.12). */
#define AMX_PIXELS_MIN 8
#define AMX_GROUPS_MIN 8

ALWAYS_INLINE int amx_pays(const simd_geometry *g)
{
    return (ptrdiff_t)g->out_h * g->out_w >= AMX_PIXELS_MIN && (ptrdiff_t)g->kernel_h * q7_groups(g) >= AMX_GROUPS_MIN;
}

static size_t amx_or_vnni_packed_bytes(const simd_geometry *g)
{
    return amx_pays(g) ? amx_packed_bytes(g) : q7_packed_bytes(g);
}
static size_t amx_or_vnni_scratch_bytes(const simd_geometry *g)
{
    return amx_pays(g) ? amx_scratch_bytes(g) : q7_scratch_bytes(g);
}

static void amx_or_vnni_pack(const simd_geometry *g, const void *weights, const void *bias, void *packed)
{
    (amx_pays(g) ? amx_pack : q7_pack)(g, weights, bias, packed);
}

static void amx_or_vnni_run(const simd_geometry *g, const void *packed, const void *in, void *out, void *scratch)
{
    (amx_pays(g) ? amx_run : q7_run)(g, packed, in, out, scratch);
}
