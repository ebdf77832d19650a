/* SPDX-License-Identifier: Apache-2.0 */
/* int8 layers of one output pixel, as a fully connected layer is for one sample. It waits for memory, and weights that
 * stay bytes are half of those that are widened. PMADDUBSW multiplies unsigned by signed bytes and saturates, so that
 *
 *   weights of -127..127     |x| times the weight with the sign of x: a pair of products has 15 bits
 *   others                   x + 128 = 16 high + low: eight pairs of halves and weights add up in 16 bits
 *
 * Measured on 640 -> 128: 75 and 50 GMAC/s, int16 68. Which of them runs, the packed weights say:
 *
 *   int32 has_lowest, padded to SIMD_ALIGNMENT; then as convolve.template.h has it
 * Included by avx2.c.
 */
#include "avx2_vectors.h"

#define FN(name) gemv_##name
#define LT int8_t
#define PW int8_t
#define KG 4
#define CORRECTION 0
#define LOWER_FILL(dst, fill, n) memset(dst, fill, (size_t)(n))
#define LOWER_ROW(dst, src, n) memcpy(dst, src, (size_t)(n))
#undef COLUMNS
#define COLUMNS 2
#define GEMV_VECTORS 4
#define HALVES_STEPS 8

#include "lower.template.h"
#include "convolve.template.h"

ALWAYS_INLINE int gemv_pays(const simd_geometry *g) { return g->out_h * g->out_w == 1; }

static size_t gemv_all_packed_bytes(const simd_geometry *g) { return SIMD_ALIGNMENT + gemv_packed_bytes(g); }

static void gemv_all_pack(const simd_geometry *g, const void *weights, const void *bias, void *packed)
{
    const ptrdiff_t depth = (ptrdiff_t)g->kernel_h * g->kernel_w * g->in_ch;
    const int8_t *plain = weights;
    int32_t *has_lowest = packed, *sums = (int32_t *)(void *)((char *)packed + SIMD_ALIGNMENT);
    gemv_pack(g, weights, bias, sums);
    *has_lowest = memchr(plain, INT8_MIN, (size_t)(depth * g->out_ch)) != NULL;
    for (ptrdiff_t c = 0; *has_lowest && c < g->out_ch; c++)
        for (ptrdiff_t i = 0; i < depth; i++)
            sums[c] = (int32_t)((uint32_t)sums[c] - 128 * (uint32_t)plain[c * depth + i]);
}

static void gemv_all_run(const simd_geometry *g, const void *packed, const void *in, void *out, void *scratch)
{
    gemv_run(g, (const char *)packed + SIMD_ALIGNMENT, in, out, scratch);
}

ALWAYS_INLINE void gemv_signed(const int8_t *x, const uint8_t *size, const int8_t *weights, ptrdiff_t groups,
                               const int vectors, __m256i *acc)
{
    _Pragma("GCC unroll 2")
    for (ptrdiff_t k = 0; k < groups; k++) {
        const __m256i sign = BROADCAST(x + k * KG), most = BROADCAST(size + k * KG);
        UNROLL
        for (int v = 0; v < vectors; v++) {
            const __m256i w = _mm256_sign_epi8(LOAD_WEIGHTS(weights + (v * groups + k) * LANES * KG), sign);
            acc[v] = ADD(acc[v], _mm256_madd_epi16(_mm256_maddubs_epi16(most, w), _mm256_set1_epi16(1)));
        }
    }
}

ALWAYS_INLINE void gemv_halves_steps(const uint8_t *high, const uint8_t *low, const int8_t *weights, ptrdiff_t pitch,
                                     const int steps, const int vectors, __m256i *acc)
{
    __m256i highs[GEMV_VECTORS], lows[GEMV_VECTORS];
    UNROLL
    for (int i = 0; i < steps; i++) {
        const __m256i h = BROADCAST(high + i * KG), l = BROADCAST(low + i * KG);
        UNROLL
        for (int v = 0; v < vectors; v++) {
            const __m256i w = LOAD_WEIGHTS(weights + v * pitch + i * LANES * KG);
            const __m256i a = _mm256_maddubs_epi16(h, w), b = _mm256_maddubs_epi16(l, w);
            highs[v] = i ? _mm256_add_epi16(highs[v], a) : a;
            lows[v] = i ? _mm256_add_epi16(lows[v], b) : b;
        }
    }
    UNROLL
    for (int v = 0; v < vectors; v++)
        acc[v] = ADD(acc[v], ADD(_mm256_madd_epi16(highs[v], _mm256_set1_epi16(16)),
                                 _mm256_madd_epi16(lows[v], _mm256_set1_epi16(1))));
}

ALWAYS_INLINE void gemv_halves(const uint8_t *high, const uint8_t *low, const int8_t *weights, ptrdiff_t groups,
                               const int vectors, __m256i *acc)
{
    const ptrdiff_t pitch = groups * LANES * KG;
    ptrdiff_t k = 0;
    for (; k <= groups - HALVES_STEPS; k += HALVES_STEPS)
        gemv_halves_steps(high + k * KG, low + k * KG, weights + k * LANES * KG, pitch, HALVES_STEPS, vectors, acc);
    for (; k < groups; k++)
        gemv_halves_steps(high + k * KG, low + k * KG, weights + k * LANES * KG, pitch, 1, vectors, acc);
}

ALWAYS_INLINE void gemv_store(int8_t *out, __m256i acc, const simd_requant *requant, ptrdiff_t channel, int n)
{
    if (requant->kind == SIMD_POW2)
        Q7_STORE(out, acc, requant, n);
    else if (requant->kind == SIMD_AFFINE_NEAR) {
        const near_rescaling r = load_near(requant, channel);
        Q7_STORE_NEAR(out, acc, &r, n);
    } else if (requant->kind == SIMD_AFFINE) {
        const rescaling r = load_rescaling(requant, channel);
        Q7_STORE_AFFINE(out, acc, &r, n);
    } else
        q7_store_lanes(out, &acc, requant, channel, n);
}

ALWAYS_INLINE void gemv_tile(const gemv_job *job, const int vectors, int has_lowest, ptrdiff_t channel, int8_t *out)
{
    const ptrdiff_t groups = (ptrdiff_t)job->rows * job->groups;
    const int8_t *first = job->columns, *second = first + groups * KG, *weights = job->weights + channel * groups * KG;
    __m256i acc[GEMV_VECTORS];
    UNROLL
    for (int v = 0; v < vectors; v++)
        acc[v] = LOAD_SUMS(job->sums + channel + v * LANES);
    if (has_lowest)
        gemv_halves((const uint8_t *)first, (const uint8_t *)second, weights, groups, vectors, acc);
    else
        gemv_signed(first, (const uint8_t *)second, weights, groups, vectors, acc);
    for (int v = 0; v < vectors && channel + v * LANES < job->out_ch; v++)
        gemv_store(out + channel + v * LANES, acc[v], &job->requant, channel + v * LANES,
                   (int)(job->out_ch - channel) - v * LANES);
}

/* The window as gemv_tile takes it. */
static void gemv_gather(const gemv_job *job, int has_lowest)
{
    const ptrdiff_t run = (ptrdiff_t)job->groups * KG, whole = job->rows * run;
    uint8_t *restrict first = (uint8_t *)job->columns, *restrict second = first + whole;
    for (ptrdiff_t r = 0; r < job->rows; r++) {
        const int8_t *restrict x = job->in + job->offsets[0] + r * job->pitch;
        if (has_lowest)
            for (ptrdiff_t i = 0; i < run; i++) {
                first[r * run + i] = ((uint8_t)x[i] ^ 0x80) >> 4;
                second[r * run + i] = (uint8_t)x[i] & 15;
            }
        else
            for (ptrdiff_t i = 0; i < run; i++) {
                first[r * run + i] = (uint8_t)x[i];
                second[r * run + i] = (uint8_t)(x[i] < 0 ? -x[i] : x[i]);
            }
    }
}

static void gemv_strip(const gemv_job *job, int8_t *out, ptrdiff_t pixels)
{
    int32_t has_lowest;
    memcpy(&has_lowest, (const char *)job->sums - SIMD_ALIGNMENT, sizeof has_lowest);
    (void)pixels; /* one */
    gemv_gather(job, has_lowest);
    for (ptrdiff_t oc = 0; oc < job->out_ch; oc += GEMV_VECTORS * LANES) {
        if (job->out_ch - oc > 2 * LANES)
            gemv_tile(job, 4, has_lowest, oc, out);
        else if (job->out_ch - oc > LANES)
            gemv_tile(job, 2, has_lowest, oc, out);
        else
            gemv_tile(job, 1, has_lowest, oc, out);
    }
}

#undef FN
#undef LT
#undef PW
#undef KG
#undef CORRECTION
#undef LOWER_FILL
#undef LOWER_ROW
#undef COLUMNS
#define COLUMNS 0
