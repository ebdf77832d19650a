/* SPDX-License-Identifier: Apache-2.0 */
/* int8 convolution with windows 3 or 5 wide and a stride of 1 along rows, by Winograd's algorithm F(4, 3) or F(2, 5): six
 * products for the 12 or 10 that there are, along x alone, so that the transform of an input row serves all window rows.
 *
 *   points    0, 1, -1, 2, -2, infinity
 *   input     v = B x of six pixels, below 2^11 in size          weights    u = sums of w[i] * point^i, below 2^12
 *   sums      m[point] = sum of u * v over rows and channels     outputs    24 y = A (6 m0, -4 m1, -4 m-1, m2, m-2, 24 m8)
 *
 * Sums are taken modulo 2^32. The division by 24 is exact: by 3 as a multiplication by its inverse, and by 8 as a shift,
 * for which 8 |y| < 2^31 suffices. So the bits are those of the plain sum, whatever the numbers are.
 *
 * packed:  constants of channels as convolve.template.h has them, int32 zeros[round_up(out_ch, LANES)], and
 *          int16 weights[points][out_ch / LANES][kernel_h][groups][LANES][KG]
 * Included by avx2.c.
 */
#include "avx2_vectors.h"

#define FN(name) wino_##name
#define T int32_t
#define LT int16_t
#define PW int16_t
#define KG 2
#define DOT DOT_WORDS
#define HAS_AFFINE 0
#define STORE(out, acc, requant, n) ((void)(n), _mm256_storeu_si256((__m256i *)(out), acc))
#define POINTS 6
#define WINO_DEPTH_MAX (1 << 14)
/* Of transformed inputs and sums. */
#define WINO_STRIP_BYTES (64 * 1024)

typedef struct {
    const int16_t *in;
    const ptrdiff_t *offsets;
    ptrdiff_t pitch;
    int rows, groups;
    const int32_t *sums;
    const int16_t *weights;
    simd_requant requant;
    ptrdiff_t out_ch;
} wino_job;

#include "tile.template.h"

typedef struct {
    ptrdiff_t outputs;              /* of a tile */
    ptrdiff_t tiles, padded_w;      /* of a row */
    ptrdiff_t groups, channels;     /* pairs of input channels, and output channels in whole vectors */
    ptrdiff_t pitch, strip;         /* of transformed rows, elements; output rows */
    size_t sums_bytes, zeros_bytes; /* packed */
    size_t offsets_bytes, row_bytes, in_bytes, out_bytes;
} wino_plan;

ALWAYS_INLINE int wino_pays(const simd_geometry *g)
{
    const ptrdiff_t outputs = POINTS + 1 - g->kernel_w, tiles = (g->out_w + outputs - 1) / outputs;
    const ptrdiff_t depth = (ptrdiff_t)g->kernel_h * g->in_ch;
    return (g->kernel_w == 3 || g->kernel_w == 5) && g->stride_x == 1 && g->in_ch % 16 == 0 && depth >= 48 &&
           depth * g->kernel_w < WINO_DEPTH_MAX && g->out_ch >= LANES && g->requant.kind != SIMD_AFFINE_FLOAT &&
           5 * POINTS * tiles <= 4 * (ptrdiff_t)g->kernel_w * g->out_w;
}

static wino_plan plan_wino(const simd_geometry *g)
{
    wino_plan p;
    p.outputs = POINTS + 1 - g->kernel_w;
    p.tiles = (g->out_w + p.outputs - 1) / p.outputs;
    p.padded_w = p.outputs * (p.tiles - 1) + POINTS;
    p.groups = g->in_ch / KG;
    p.channels = (ptrdiff_t)round_up((size_t)g->out_ch, LANES);
    p.pitch = POINTS * p.tiles * g->in_ch;
    p.sums_bytes = round_up(round_up((size_t)g->out_ch, CHANNELS) * sizeof(int32_t), SIMD_ALIGNMENT);
    p.zeros_bytes = p.sums_bytes;
    const ptrdiff_t per_row = p.pitch * g->stride_y * (ptrdiff_t)sizeof(int16_t) +
                              POINTS * p.tiles * p.channels * (ptrdiff_t)sizeof(int32_t);
    p.strip = min_ptrdiff(g->out_h, max_ptrdiff(1, WINO_STRIP_BYTES / per_row));
    const ptrdiff_t rows = (p.strip - 1) * g->stride_y + g->kernel_h, pixels = p.strip * p.tiles;
    p.offsets_bytes = round_up((size_t)(pixels + PIXELS) * sizeof(ptrdiff_t), SIMD_ALIGNMENT);
    p.row_bytes = round_up((size_t)(p.padded_w * g->in_ch), SIMD_ALIGNMENT);
    p.in_bytes = round_up((size_t)(rows * p.pitch) * sizeof(int16_t), SIMD_ALIGNMENT);
    p.out_bytes = (size_t)(POINTS * pixels * p.channels) * sizeof(int32_t);
    return p;
}

static size_t wino_packed_bytes(const simd_geometry *g)
{
    const wino_plan p = plan_wino(g);
    return constants_bytes(&g->requant, p.sums_bytes) + p.zeros_bytes +
           (size_t)(POINTS * g->kernel_h * g->in_ch) * round_up((size_t)g->out_ch, CHANNELS) * sizeof(int16_t);
}

static void wino_pack(const simd_geometry *g, const void *weights, const void *bias, void *packed)
{
    static const int8_t points[POINTS - 1] = {0, 1, -1, 2, -2};
    const wino_plan p = plan_wino(g);
    const ptrdiff_t window = (ptrdiff_t)g->kernel_h * g->kernel_w * g->in_ch, ch = g->in_ch;
    const ptrdiff_t all = (ptrdiff_t)g->kernel_h * ch * (ptrdiff_t)round_up((size_t)g->out_ch, CHANNELS);
    uint32_t *sums = packed;
    int16_t *first = (int16_t *)(void *)((char *)packed + constants_bytes(&g->requant, p.sums_bytes) + p.zeros_bytes);
    memset(packed, 0, wino_packed_bytes(g));
    for (ptrdiff_t oc = 0; oc < g->out_ch; oc++) {
        const int8_t *from = (const int8_t *)weights + oc * window;
        uint32_t sum = 0;
        for (ptrdiff_t i = 0; i < window; i++)
            sum += (uint32_t)from[i];
        sums[oc] = initial_sum(g, bias, oc) - (uint32_t)zero_point_of(&g->requant) * sum;
        pack_constants(&g->requant, packed, p.sums_bytes, oc, oc);
        int16_t *to = first + oc / LANES * g->kernel_h * ch * LANES + oc % LANES * KG;
        for (ptrdiff_t r = 0; r < g->kernel_h; r++, from += g->kernel_w * ch)
            for (ptrdiff_t c = 0; c < ch; c++) {
                int16_t *at = to + ((r * p.groups + c / KG) * LANES) * KG + c % KG;
                for (int q = 0; q < POINTS - 1; q++) {
                    int u = 0; /* Horner's scheme */
                    for (ptrdiff_t i = g->kernel_w - 1; i >= 0; i--)
                        u = u * points[q] + from[i * ch + c];
                    at[q * all] = (int16_t)u;
                }
                at[(POINTS - 1) * all] = from[(g->kernel_w - 1) * ch + c];
            }
    }
}

static size_t wino_scratch_bytes(const simd_geometry *g)
{
    const wino_plan p = plan_wino(g);
    return p.offsets_bytes + p.row_bytes + p.in_bytes + p.out_bytes;
}

/* Six pixels `ch` apart to six values `step` apart. */
ALWAYS_INLINE void wino_transform(const int8_t *x, int16_t *to, ptrdiff_t ch, ptrdiff_t step)
{
    for (ptrdiff_t c = 0; c < ch; c += 16) {
        __m256i v[POINTS];
        UNROLL
        for (int i = 0; i < POINTS; i++)
            v[i] = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(x + i * ch + c)));
        const __m256i x1 = _mm256_slli_epi16(v[1], 2), x2 = _mm256_slli_epi16(v[2], 2);
        const __m256i even = _mm256_sub_epi16(v[4], x2), odd = _mm256_sub_epi16(v[3], x1);
        const __m256i near = _mm256_sub_epi16(v[4], v[2]), far = _mm256_slli_epi16(_mm256_sub_epi16(v[3], v[1]), 1);
        const __m256i last = _mm256_sub_epi16(_mm256_sub_epi16(x1, v[3]), _mm256_slli_epi16(v[3], 2));
        const __m256i first = _mm256_add_epi16(_mm256_sub_epi16(_mm256_slli_epi16(v[0], 2), v[2]), even);
        const __m256i results[POINTS] = {
            first,
            _mm256_add_epi16(even, odd),
            _mm256_sub_epi16(even, odd),
            _mm256_add_epi16(near, far),
            _mm256_sub_epi16(near, far),
            _mm256_add_epi16(last, v[5]),
        };
        UNROLL
        for (int i = 0; i < POINTS; i++)
            _mm256_storeu_si256((__m256i *)(to + i * step + c), results[i]);
    }
}

ALWAYS_INLINE __m256i exact_third(__m256i x, const int shift)
{
    return _mm256_srai_epi32(_mm256_mullo_epi32(x, _mm256_set1_epi32((int32_t)0xaaaaaaab)), shift);
}

/* The sums of the points `step` apart to those of `outputs` neighbours. */
ALWAYS_INLINE void wino_outputs(const int32_t *sums, ptrdiff_t step, const int outputs, __m256i *y)
{
    __m256i m[POINTS];
    UNROLL
    for (int i = 0; i < POINTS; i++)
        m[i] = _mm256_loadu_si256((const __m256i *)(sums + i * step));
    const __m256i s1 = ADD(m[1], m[2]), d1 = _mm256_sub_epi32(m[1], m[2]);
    const __m256i s2 = ADD(m[3], m[4]), d2 = _mm256_sub_epi32(m[3], m[4]);
    const __m256i six = ADD(_mm256_slli_epi32(m[0], 2), _mm256_slli_epi32(m[0], 1));
    y[0] = exact_third(ADD(_mm256_sub_epi32(six, _mm256_slli_epi32(s1, 2)), s2), 3);
    y[1] = exact_third(_mm256_sub_epi32(d2, _mm256_slli_epi32(d1, 1)), 2);
    if (outputs == 4) {
        y[2] = exact_third(_mm256_sub_epi32(s2, s1), 1);
        y[3] = exact_third(_mm256_sub_epi32(_mm256_slli_epi32(d2, 1), d1), 1);
    }
    y[outputs - 1] = ADD(y[outputs - 1], m[POINTS - 1]);
}

/* One or two vectors of channels of a row; `channels` are those that are there. */
ALWAYS_INLINE void wino_row(const simd_geometry *g, const wino_plan *p, const simd_requant *requant, const int kind,
                            const int outputs, const int vectors, ptrdiff_t channel, const int32_t *start,
                            const int32_t *sums, ptrdiff_t step, int8_t *out)
{
    const int channels = (int)min_ptrdiff(g->out_ch - channel, vectors * LANES);
    __m256i from[2];
    rescaling any[2];
    near_rescaling near[2];
    UNROLL
    for (int v = 0; v < vectors; v++) {
        from[v] = LOAD_SUMS(start + channel + v * LANES);
        if (kind == SIMD_AFFINE)
            any[v] = load_rescaling(requant, channel + v * LANES);
        if (kind == SIMD_AFFINE_NEAR)
            near[v] = load_near(requant, channel + v * LANES);
    }
    for (ptrdiff_t t = 0; t < p->tiles; t++) {
        __m256i y[2][4];
        const ptrdiff_t x = t * outputs;
        UNROLL
        for (int v = 0; v < vectors; v++) {
            wino_outputs(sums + t * p->channels + channel + v * LANES, step, outputs, y[v]);
            UNROLL
            for (int i = 0; i < outputs; i++) {
                y[v][i] = ADD(y[v][i], from[v]);
                y[v][i] = kind == SIMD_POW2          ? shift_and_floor(y[v][i], requant)
                          : kind == SIMD_AFFINE_NEAR ? rescale_only(y[v][i], &near[v])
                                                     : rescale_lanes(y[v][i], &any[v]);
            }
        }
        UNROLL
        for (int i = 0; i < outputs; i++) {
            if (x + i >= g->out_w)
                break;
            store_both(out + (x + i) * g->out_ch + channel, y[0][i], y[vectors - 1][i], requant, channels);
        }
    }
}

ALWAYS_INLINE void wino_row_of(const simd_geometry *g, const wino_plan *p, const simd_requant *requant, const int kind,
                               const int outputs, const int32_t *start, const int32_t *sums, ptrdiff_t step, int8_t *out)
{
    ptrdiff_t oc = 0;
    for (; oc < g->out_ch - LANES; oc += 2 * LANES)
        wino_row(g, p, requant, kind, outputs, 2, oc, start, sums, step, out);
    if (oc < g->out_ch)
        wino_row(g, p, requant, kind, outputs, 1, oc, start, sums, step, out);
}

static void wino_rows(const simd_geometry *g, const wino_plan *p, const simd_requant *requant, const int32_t *start,
                      const int32_t *sums, ptrdiff_t rows, int8_t *out)
{
    const ptrdiff_t step = rows * p->tiles * p->channels;
    for (ptrdiff_t y = 0; y < rows; y++, sums += p->tiles * p->channels, out += (ptrdiff_t)g->out_w * g->out_ch) {
#define ROW(of_kind)                                                                                              \
    if (requant->kind == of_kind && p->outputs == 4)                                                             \
        wino_row_of(g, p, requant, of_kind, 4, start, sums, step, out);                                          \
    else if (requant->kind == of_kind)                                                                           \
        wino_row_of(g, p, requant, of_kind, 2, start, sums, step, out)
        ROW(SIMD_POW2);
        ROW(SIMD_AFFINE);
        ROW(SIMD_AFFINE_NEAR);
#undef ROW
    }
}

/* The input rows of output rows first ... transformed. */
static void wino_lower(const simd_geometry *g, const wino_plan *p, const int8_t *in, ptrdiff_t first_out, ptrdiff_t out_rows,
                       int8_t *row, int16_t *to)
{
    const ptrdiff_t ch = g->in_ch, rows = (out_rows - 1) * g->stride_y + g->kernel_h;
    const ptrdiff_t left = min_ptrdiff(max_ptrdiff(g->pad_left, 0), p->padded_w);
    const ptrdiff_t copied = min_ptrdiff(g->in_w, p->padded_w - left);
    memset(row, g->requant.fill, (size_t)(p->padded_w * ch));
    for (ptrdiff_t r = 0; r < rows; r++, to += p->pitch) {
        const ptrdiff_t y = first_out * g->stride_y - g->pad_top + r;
        if (y < 0 || y >= g->in_h)
            memset(row + left * ch, g->requant.fill, (size_t)(copied * ch));
        else
            memcpy(row + left * ch, in + y * g->in_w * ch, (size_t)(copied * ch));
        for (ptrdiff_t t = 0; t < p->tiles; t++)
            wino_transform(row + t * p->outputs * ch, to + t * ch, ch, p->tiles * ch);
    }
}

static void wino_run(const simd_geometry *g, const void *packed, const void *in, void *out, void *scratch)
{
    const wino_plan p = plan_wino(g);
    const size_t constants = constants_bytes(&g->requant, p.sums_bytes);
    const simd_requant requant = packed_requant(&g->requant, packed, p.sums_bytes);
    ptrdiff_t *offsets = scratch;
    int8_t *row = (int8_t *)scratch + p.offsets_bytes;
    int16_t *inputs = (int16_t *)(void *)(row + p.row_bytes);
    int32_t *sums = (int32_t *)(void *)((char *)inputs + p.in_bytes);
    wino_job job = {
        .offsets = offsets,
        .pitch = p.pitch,
        .rows = g->kernel_h,
        .groups = (int)p.groups,
        .sums = (const int32_t *)(const void *)((const char *)packed + constants),
        .out_ch = p.channels,
    };
    const int16_t *weights = (const int16_t *)(const void *)((const char *)packed + constants + p.zeros_bytes);
    const ptrdiff_t all = (ptrdiff_t)g->kernel_h * g->in_ch * (ptrdiff_t)round_up((size_t)g->out_ch, CHANNELS);
    for (ptrdiff_t i = 0; i < p.strip * p.tiles; i++)
        offsets[i] = i / p.tiles * g->stride_y * p.pitch + i % p.tiles * g->in_ch;
    for (ptrdiff_t y = 0; y < g->out_h; y += p.strip) {
        const ptrdiff_t rows = min_ptrdiff(p.strip, g->out_h - y), pixels = rows * p.tiles;
        /* Incomplete tiles of registers read the last window again. */
        for (ptrdiff_t i = 0; i < PIXELS; i++)
            offsets[pixels + i] = offsets[pixels - 1];
        wino_lower(g, &p, in, y, rows, row, inputs);
        for (ptrdiff_t q = 0; q < POINTS; q++) {
            job.in = inputs + q * p.tiles * g->in_ch;
            job.weights = weights + q * all;
            wino_strip(&job, sums + q * pixels * p.channels, pixels);
        }
        wino_rows(g, &p, &requant, packed, sums, rows, (int8_t *)out + y * g->out_w * g->out_ch);
    }
}

#undef FN
#undef T
#undef LT
#undef PW
#undef KG
#undef DOT
#undef HAS_AFFINE
#undef STORE
