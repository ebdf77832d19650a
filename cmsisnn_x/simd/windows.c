/* SPDX-License-Identifier: Apache-2.0 */
#include "windows.h"

#include "common.h"
#include "four_rows.h"

/* Bytes of windows that are gathered at a time; the cache holds them. */
#define GATHERED_BYTES (64 * 1024)

/* The windows of `pixels` output pixels from (y, x) on, in the order of rows, of `channels` channels from `first` on. */
static void gather(const simd_geometry *g, size_t element, ptrdiff_t pixel, ptrdiff_t pixels, ptrdiff_t first,
                   ptrdiff_t channels, const char *in, char *to)
{
    const size_t bytes = (size_t)channels * element, pitch = (size_t)g->in_ch * element;
    for (ptrdiff_t i = pixel; i < pixel + pixels; i++) {
        const ptrdiff_t top = i / g->out_w * g->stride_y - g->pad_top, left = i % g->out_w * g->stride_x - g->pad_left;
        for (ptrdiff_t m = 0; m < g->kernel_h; m++)
            for (ptrdiff_t n = 0; n < g->kernel_w; n++, to += bytes) {
                const ptrdiff_t y = top + m * g->dilation_y, x = left + n * g->dilation_x;
                if (y >= 0 && y < g->in_h && x >= 0 && x < g->in_w)
                    memcpy(to, in + (size_t)(y * g->in_w + x) * pitch + (size_t)first * element, bytes);
                else if (element == 1)
                    memset(to, g->requant.fill, bytes);
                else
                    fill_words((int16_t *)(void *)to, g->requant.fill, channels);
            }
    }
}

/* ---- gathered ---- */

typedef struct {
    simd_geometry geometry; /* of the 1x1 convolution of a group */
    ptrdiff_t depth, pixels; /* elements of a window; pixels at a time */
    ptrdiff_t in_ch, out_ch; /* of a group */
    size_t packed_bytes, windows_bytes, out_bytes;
} gathering;

static gathering plan_gathering(const simd_gathered *p, ptrdiff_t group)
{
    const simd_geometry *g = &p->geometry;
    const ptrdiff_t in_ch = g->in_ch / p->groups, out_ch = g->out_ch / p->groups;
    const ptrdiff_t depth = (ptrdiff_t)g->kernel_h * g->kernel_w * in_ch, all = (ptrdiff_t)g->out_h * g->out_w;
    gathering a = {.depth = depth, .in_ch = in_ch, .out_ch = out_ch, .geometry = *g};
    a.pixels = min_ptrdiff(all, max_ptrdiff(16, GATHERED_BYTES / (depth * p->element)));
    a.geometry.in_h = a.geometry.out_h = 1;
    a.geometry.in_w = a.geometry.out_w = (int32_t)a.pixels;
    a.geometry.in_ch = (int32_t)depth;
    a.geometry.out_ch = (int32_t)out_ch;
    a.geometry.kernel_h = a.geometry.kernel_w = a.geometry.stride_y = a.geometry.stride_x = 1;
    a.geometry.dilation_y = a.geometry.dilation_x = 1;
    a.geometry.pad_top = a.geometry.pad_left = 0;
    if (g->requant.kind != SIMD_POW2) {
        a.geometry.requant.multiplier += group * out_ch;
        a.geometry.requant.left += group * out_ch;
        a.geometry.requant.right += group * out_ch;
        if (g->requant.kind == SIMD_AFFINE_FLOAT)
            a.geometry.requant.real += group * out_ch;
    }
    a.packed_bytes = round_up(p->kernel->packed_bytes(&a.geometry), SIMD_ALIGNMENT);
    a.windows_bytes = round_up((size_t)(a.pixels * depth * p->element), SIMD_ALIGNMENT);
    a.out_bytes = round_up((size_t)(a.pixels * out_ch * p->element), SIMD_ALIGNMENT);
    return a;
}

size_t simd_gathered_packed_bytes(const simd_gathered *p)
{
    return plan_gathering(p, 0).packed_bytes * (size_t)p->groups;
}

void simd_gathered_pack(const simd_gathered *p, const void *weights, const void *bias, void *packed)
{
    for (ptrdiff_t group = 0; group < p->groups; group++) {
        const gathering a = plan_gathering(p, group);
        const size_t bias_bytes = p->geometry.requant.kind == SIMD_POW2 ? (size_t)p->geometry.weight_bits / 8 : 4;
        const size_t weight_bytes = (size_t)(a.out_ch * a.depth) * (size_t)p->geometry.weight_bits / 8;
        p->kernel->pack(&a.geometry, (const char *)weights + (size_t)group * weight_bytes,
                        bias ? (const char *)bias + (size_t)(group * a.out_ch) * bias_bytes : NULL,
                        (char *)packed + (size_t)group * a.packed_bytes);
    }
}

size_t simd_gathered_scratch_bytes(const simd_gathered *p)
{
    const gathering a = plan_gathering(p, 0);
    return a.windows_bytes + a.out_bytes + round_up(p->kernel->scratch_bytes(&a.geometry), SIMD_ALIGNMENT);
}

void simd_gathered_run(const simd_gathered *p, const void *packed, const void *in, void *out, void *scratch)
{
    const simd_geometry *g = &p->geometry;
    const ptrdiff_t all = (ptrdiff_t)g->out_h * g->out_w;
    const size_t element = (size_t)p->element;
    for (ptrdiff_t group = 0; group < p->groups; group++) {
        gathering a = plan_gathering(p, group);
        char *const windows = scratch, *const own = windows + a.windows_bytes, *const rest = own + a.out_bytes;
        const char *const weights = (const char *)packed + (size_t)group * a.packed_bytes;
        for (ptrdiff_t pixel = 0; pixel < all; pixel += a.pixels) {
            /* The last ones again, as many as ever: the packed weights may depend on how many there are. */
            const ptrdiff_t first = min_ptrdiff(pixel, all - a.pixels);
            char *const to = (char *)out + (size_t)(first * g->out_ch) * element;
            gather(g, element, first, a.pixels, group * a.in_ch, a.in_ch, in, windows);
            p->kernel->run(&a.geometry, weights, windows, p->groups == 1 ? to : own, rest);
            if (p->groups == 1)
                continue;
            const size_t bytes = (size_t)a.out_ch * element;
            for (ptrdiff_t i = 0; i < a.pixels; i++)
                memcpy(to + ((size_t)(i * g->out_ch) + (size_t)(group * a.out_ch)) * element, own + (size_t)i * bytes,
                       bytes);
        }
    }
}

/* ---- wide ---- */

/* Products of 16 and 8 bits whose sum fits 32 bits. */
#define WIDE_CHUNK 256
#define WIDE_ROWS 4

static ptrdiff_t wide_depth(const simd_wide *p)
{
    const simd_geometry *g = &p->geometry;
    return (ptrdiff_t)g->kernel_h * g->kernel_w * (p->depthwise ? 1 : g->in_ch / p->groups);
}

static size_t wide_starts_bytes(const simd_wide *p)
{
    return round_up((size_t)p->geometry.out_ch * sizeof(int64_t), SIMD_ALIGNMENT);
}

size_t simd_wide_packed_bytes(const simd_wide *p)
{
    return wide_starts_bytes(p) + (size_t)p->geometry.out_ch * (size_t)wide_depth(p) * sizeof(int16_t);
}

/* int64 starts[out_ch], int16 weights[out_ch][depth]: those of depthwise convolutions are (kh, kw, ch) before. */
void simd_wide_pack(const simd_wide *p, const int8_t *weights, const int64_t *bias, void *packed)
{
    const ptrdiff_t depth = wide_depth(p), channels = p->geometry.out_ch;
    int64_t *starts = packed;
    int16_t *to = (int16_t *)((char *)packed + wide_starts_bytes(p));
    for (ptrdiff_t oc = 0; oc < channels; oc++) {
        starts[oc] = bias ? bias[oc] : 0;
        for (ptrdiff_t i = 0; i < depth; i++)
            *to++ = p->depthwise ? weights[i * channels + oc] : weights[oc * depth + i];
    }
}

size_t simd_wide_scratch_bytes(const simd_wide *p)
{
    const simd_geometry *g = &p->geometry;
    return round_up((size_t)g->kernel_h * (size_t)g->kernel_w * (size_t)g->in_ch * sizeof(int16_t), SIMD_ALIGNMENT);
}

static int16_t wide_output(int64_t sum, const simd_requant *r, ptrdiff_t channel)
{
    if (r->kind == SIMD_AFFINE_FLOAT)
        return (int16_t)clamp(real_times((double)sum, r->real[channel]), r->low, r->high);
    const int32_t rounded = (int32_t)(((int64_t)r->multiplier[channel] + (1 << 15)) >> 16);
    const int32_t multiplier = rounded < INT16_MAX ? rounded : INT16_MAX;
    const int shift = 15 - r->left[channel] + r->right[channel];
    const uint64_t scaled = (uint64_t)sum * (uint64_t)(int64_t)multiplier + (UINT64_C(1) << (shift - 1));
    return (int16_t)clamp((int32_t)((int64_t)scaled >> shift), r->low, r->high);
}

void simd_wide_run(const simd_wide *p, const void *packed, const int16_t *in, int16_t *out, void *scratch)
{
    const simd_geometry *g = &p->geometry;
    const ptrdiff_t depth = wide_depth(p), taps = (ptrdiff_t)g->kernel_h * g->kernel_w;
    const ptrdiff_t groups = p->depthwise ? 1 : p->groups, own = g->out_ch / groups, in_ch = g->in_ch / groups;
    const int64_t *starts = packed;
    const int16_t *weights = (const int16_t *)(const void *)((const char *)packed + wide_starts_bytes(p));
    int16_t *window = scratch;
    for (ptrdiff_t pixel = 0; pixel < (ptrdiff_t)g->out_h * g->out_w; pixel++, out += g->out_ch) {
        for (ptrdiff_t group = 0; group < groups; group++) {
            gather(g, sizeof(int16_t), pixel, 1, group * in_ch, in_ch, (const char *)in, (char *)window);
            for (ptrdiff_t oc = group * own; oc < (group + 1) * own; oc += WIDE_ROWS) {
                const ptrdiff_t valid = min_ptrdiff((group + 1) * own - oc, WIDE_ROWS);
                int64_t sums[WIDE_ROWS];
                for (ptrdiff_t i = 0; i < WIDE_ROWS; i++)
                    sums[i] = starts[min_ptrdiff(oc + i, oc + valid - 1)];
                if (p->depthwise)
                    for (ptrdiff_t i = 0; i < valid; i++)
                        for (ptrdiff_t t = 0; t < taps; t++)
                            sums[i] += (int32_t)window[t * g->in_ch + oc + i] * weights[(oc + i) * depth + t];
                else
                    for (ptrdiff_t k = 0; k < depth; k += WIDE_CHUNK) {
                        const void *rows[WIDE_ROWS];
                        uint32_t some[WIDE_ROWS] = {0};
                        for (ptrdiff_t i = 0; i < WIDE_ROWS; i++)
                            rows[i] = weights + min_ptrdiff(oc + i, oc + valid - 1) * depth + k;
                        four_rows_w16(window + k, rows, min_ptrdiff(depth - k, WIDE_CHUNK), some);
                        for (ptrdiff_t i = 0; i < WIDE_ROWS; i++)
                            sums[i] += (int32_t)some[i];
                    }
                for (ptrdiff_t i = 0; i < valid; i++)
                    out[oc + i] = wide_output(sums[i], &g->requant, oc + i);
            }
        }
    }
}
