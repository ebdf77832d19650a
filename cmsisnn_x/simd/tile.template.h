/* SPDX-License-Identifier: Apache-2.0 */
/* The register tile: up to PIXELS pixels x VECTORS vectors of LANES output channels.
 *
 *   acc[pixel][vector] += weights[vector][group] . broadcast(window[pixel][group])
 *
 * Takes what convolve.template.h takes, and VEC, LOAD_SUMS(p), LOAD_WEIGHTS(p), BROADCAST(p), DOT(acc, w, x), ADD(a,
 * b), and STORE(out, acc, requant, n), which requantises and stores n <= LANES channels.
 *
 * Where there are zero points, HAS_AFFINE: RESCALING, the constants of LANES channels in registers,
 * LOAD_RESCALING(requant, channel), `channel` being the place of the first among the sums, and
 * STORE_AFFINE(out, acc, rescaling, n). NEAR, LOAD_NEAR and STORE_NEAR are the same for SIMD_AFFINE_NEAR.
 * RESCALE_NEAR(acc, rescaling) and STORE_BOTH(out, first, second, requant, n), if there, do it for two vectors together,
 * with bounds applied where they are narrow.
 */

/* Whether tiles of every size are there, so that the last two of a strip are best alike. */
#ifndef EVEN_TILES
#define EVEN_TILES 0
#endif

/* Results of a scheme that no vectors are made for. */
ALWAYS_INLINE void FN(store_lanes)(T *out, const void *acc, const simd_requant *requant, ptrdiff_t channel, int n)
{
    int32_t sums[LANES];
    memcpy(sums, acc, sizeof sums);
    for (int i = 0; i < LANES && i < n; i++)
        out[i] = (T)requantise_as((uint32_t)sums[i], requant, channel + i, 1);
}

/* `split` accumulator sets take groups in turn: small tiles would otherwise wait for the latency of DOT. */
ALWAYS_INLINE void FN(tile)(const FN(job) *job, const int kind, const int pixels, const int vectors, const int split,
                            const ptrdiff_t *offsets, const PW *weights, const int32_t *sums, T *out, int valid_pixels,
                            int valid_channels)
{
    VEC acc[SPLITS][PIXELS][VECTORS];
    const LT *in[PIXELS];
    const ptrdiff_t vector_pitch = (ptrdiff_t)job->rows * job->groups * LANES * KG;
    UNROLL
    for (int p = 0; p < pixels; p++) {
        in[p] = job->in + offsets[p];
        UNROLL
        for (int v = 0; v < vectors; v++) {
            acc[0][p][v] = LOAD_SUMS(sums + v * LANES);
            UNROLL
            for (int s = 1; s < split; s++)
                acc[s][p][v] = ZERO();
        }
    }
    for (int r = 0; r < job->rows; r++) {
        ptrdiff_t k = 0;
        const ptrdiff_t end = (ptrdiff_t)job->groups * KG;
        for (; k <= end - split * KG; k += split * KG, weights += split * LANES * KG) {
            UNROLL
            for (int s = 0; s < split; s++) {
                VEC w[VECTORS];
                UNROLL
                for (int v = 0; v < vectors; v++)
                    w[v] = LOAD_WEIGHTS(weights + v * vector_pitch + s * LANES * KG);
                UNROLL
                for (int p = 0; p < pixels; p++) {
                    const VEC x = BROADCAST(in[p] + k + s * KG);
                    UNROLL
                    for (int v = 0; v < vectors; v++)
                        acc[s][p][v] = DOT(acc[s][p][v], w[v], x);
                }
            }
        }
        for (; split > 1 && k < end; k += KG, weights += LANES * KG) {
            UNROLL
            for (int p = 0; p < pixels; p++) {
                const VEC x = BROADCAST(in[p] + k);
                UNROLL
                for (int v = 0; v < vectors; v++)
                    acc[0][p][v] = DOT(acc[0][p][v], LOAD_WEIGHTS(weights + v * vector_pitch), x);
            }
        }
        UNROLL
        for (int p = 0; p < pixels; p++)
            in[p] += job->pitch;
    }
    UNROLL
    for (int p = 0; p < pixels; p++)
        UNROLL
        for (int v = 0; v < vectors; v++)
            UNROLL
            for (int s = 1; s < split; s++)
                acc[0][p][v] = ADD(acc[0][p][v], acc[s][p][v]);
#if HAS_AFFINE
#ifdef STORE_BOTH
    if (kind == SIMD_AFFINE_NEAR && vectors == 2) {
        UNROLL
        for (int v = 0; v < 2; v++) {
            const NEAR near = LOAD_NEAR(&job->requant, sums - job->sums + v * LANES);
            UNROLL
            for (int p = 0; p < pixels; p++)
                acc[0][p][v] = RESCALE_NEAR(acc[0][p][v], &near);
        }
        UNROLL
        for (int p = 0; p < pixels; p++) {
            if (p >= valid_pixels)
                break;
            STORE_BOTH(out + p * job->out_ch, acc[0][p][0], acc[0][p][1], &job->requant, valid_channels);
        }
        return;
    }
#endif
    if (kind != SIMD_POW2) {
        UNROLL
        for (int v = 0; v < vectors; v++) {
            const ptrdiff_t channel = sums - job->sums + v * LANES;
            /* Loaded once: a store to `out` might change anything, as far as the compiler knows. */
            const RESCALING any = LOAD_RESCALING(&job->requant, channel);
            const NEAR near = LOAD_NEAR(&job->requant, channel);
            (void)any, (void)near;
            UNROLL
            for (int p = 0; p < pixels; p++) {
                T *to = out + p * job->out_ch + v * LANES;
                if (p >= valid_pixels)
                    break;
                if (kind == SIMD_AFFINE_NEAR)
                    STORE_NEAR(to, acc[0][p][v], &near, valid_channels - v * LANES);
                else if (kind == SIMD_AFFINE)
                    STORE_AFFINE(to, acc[0][p][v], &any, valid_channels - v * LANES);
                else
                    FN(store_lanes)(to, &acc[0][p][v], &job->requant, channel, valid_channels - v * LANES);
            }
        }
        return;
    }
#endif
    (void)kind;
    UNROLL
    for (int p = 0; p < pixels; p++) {
        if (p >= valid_pixels)
            break;
        UNROLL
        for (int v = 0; v < vectors; v++)
            STORE(out + p * job->out_ch + v * LANES, acc[0][p][v], &job->requant, valid_channels - v * LANES);
    }
}

#define TILE_OF(kind, name, pixels, vectors, split)                                                             \
    NEVER_INLINE void CXN_CAT(FN(name), pixels##x##vectors)(                                                    \
        const FN(job) *job, const ptrdiff_t *offsets, const PW *weights, const int32_t *sums, T *out,          \
        int valid_pixels, int valid_channels)                                                                   \
    {                                                                                                           \
        FN(tile)(job, kind, pixels, vectors, split, offsets, weights, sums, out, valid_pixels, valid_channels); \
    }
#define TILE(pixels, vectors, split) TILE_OF(SIMD_POW2, tile_, pixels, vectors, split)
TILES(TILE)
#undef TILE
#if HAS_AFFINE
#define TILE(pixels, vectors, split) TILE_OF(SIMD_AFFINE, affine_tile_, pixels, vectors, split)
TILES(TILE)
#undef TILE
#define TILE(pixels, vectors, split) TILE_OF(SIMD_AFFINE_NEAR, near_tile_, pixels, vectors, split)
TILES(TILE)
#undef TILE
/* Fully connected layers alone have factors: one pixel. */
TILE_OF(SIMD_AFFINE_FLOAT, float_tile_, 1, 1, SPLITS)
static void FN(float_tile)(const FN(job) *job, const ptrdiff_t *offsets, const PW *weights, const int32_t *sums,
                                  T *out, int valid_pixels, int valid_channels)
{
    const ptrdiff_t vector_pitch = (ptrdiff_t)job->rows * job->groups * LANES * KG;
    for (int p = 0; p < valid_pixels; p++)
        for (int v = 0; v * LANES < valid_channels; v++)
            FN(float_tile_1x1)(job, offsets + p, weights + v * vector_pitch, sums + v * LANES,
                               out + p * job->out_ch + v * LANES, 1, valid_channels - v * LANES);
}
#endif
#undef TILE_OF

typedef void (*FN(tile_function))(const FN(job) *, const ptrdiff_t *, const PW *, const int32_t *, T *, int, int);

static FN(tile_function) FN(choose_tile)(int kind, ptrdiff_t pixels, int vectors)
{
#if HAS_AFFINE
#define TILE(p, v, split)            \
    if (pixels <= p && vectors == v) \
        return kind == SIMD_POW2          ? CXN_CAT(FN(tile_), p##x##v)      \
               : kind == SIMD_AFFINE_NEAR ? CXN_CAT(FN(near_tile_), p##x##v) \
                                          : CXN_CAT(FN(affine_tile_), p##x##v);
    if (kind == SIMD_AFFINE_FLOAT)
        return FN(float_tile);
#else
#define TILE(p, v, split)            \
    if (pixels <= p && vectors == v) \
        return CXN_CAT(FN(tile_), p##x##v);
    (void)kind;
#endif
    TILES(TILE)
#undef TILE
    return NULL;
}

/* Channels outside, pixels inside: the weights of one block stay in the first-level cache while the strip streams. */
static void FN(strip)(const FN(job) *job, T *out, ptrdiff_t pixels)
{
    const ptrdiff_t channel_pitch = (ptrdiff_t)job->rows * job->groups * KG;
    for (ptrdiff_t oc = 0; oc < job->out_ch; oc += CHANNELS) {
        const ptrdiff_t channels = min_ptrdiff(job->out_ch - oc, CHANNELS);
        const int vectors = channels > LANES ? VECTORS : 1;
        const PW *weights = job->weights + oc * channel_pitch;
        const int32_t *sums = job->sums + oc;
        T *to = out + oc;
        FN(tile_function) tile = FN(choose_tile)(job->requant.kind, PIXELS, vectors);
        for (ptrdiff_t i = 0, valid = PIXELS; i < pixels; i += valid) {
            const ptrdiff_t left = pixels - i;
            if (left < (EVEN_TILES ? 2 : 1) * PIXELS && left != PIXELS) {
                valid = left > PIXELS ? (left + 1) / 2 : left;
                tile = FN(choose_tile)(job->requant.kind, valid, vectors);
            }
            tile(job, job->offsets + i, weights, sums, to + i * job->out_ch, (int)valid, (int)channels);
        }
    }
}
