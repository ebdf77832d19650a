/* SPDX-License-Identifier: Apache-2.0 */
/* The register tile: up to PIXELS pixels x VECTORS vectors of LANES output channels.
 *
 *   acc[pixel][vector] += weights[vector][group] . broadcast(window[pixel][group])
 *
 * Takes what convolve.template.h takes, and VEC, LOAD_SUMS(p), LOAD_WEIGHTS(p), BROADCAST(p), DOT(acc, w, x), ADD(a,
 * b), and STORE(out, acc, requant, channel, n), which requantises and stores n <= LANES channels; `channel` is the place
 * of the first among the sums.
 */

/* `split` accumulator sets take groups in turn: small tiles would otherwise wait for the latency of DOT. */
ALWAYS_INLINE void FN(tile)(const FN(job) *job, const int pixels, const int vectors, const int split,
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
    for (int p = 0; p < pixels; p++) {
        if (p >= valid_pixels)
            break;
        UNROLL
        for (int v = 0; v < vectors; v++) {
            VEC sum = acc[0][p][v];
            UNROLL
            for (int s = 1; s < split; s++)
                sum = ADD(sum, acc[s][p][v]);
            STORE(out + p * job->out_ch + v * LANES, sum, &job->requant, sums - job->sums + v * LANES,
                  valid_channels - v * LANES);
        }
    }
}

#define TILE(pixels, vectors, split)                                                                      \
    NEVER_INLINE void CXN_CAT(FN(tile_), pixels##x##vectors)(                                             \
        const FN(job) *job, const ptrdiff_t *offsets, const PW *weights, const int32_t *sums, T *out,    \
        int valid_pixels, int valid_channels)                                                             \
    {                                                                                                     \
        FN(tile)(job, pixels, vectors, split, offsets, weights, sums, out, valid_pixels, valid_channels); \
    }
TILES(TILE)
#undef TILE

typedef void (*FN(tile_function))(const FN(job) *, const ptrdiff_t *, const PW *, const int32_t *, T *, int, int);

static FN(tile_function) FN(choose_tile)(ptrdiff_t pixels, int vectors)
{
#define TILE(p, v, split)            \
    if (pixels <= p && vectors == v) \
        return CXN_CAT(FN(tile_), p##x##v);
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
        FN(tile_function) tile = FN(choose_tile)(PIXELS, vectors);
        for (ptrdiff_t i = 0; i < pixels; i += PIXELS) {
            const ptrdiff_t valid = min_ptrdiff(pixels - i, PIXELS);
            if (valid < PIXELS)
                tile = FN(choose_tile)(valid, vectors);
            tile(job, job->offsets + i, weights, sums, to + i * job->out_ch, (int)valid, (int)channels);
        }
    }
}
