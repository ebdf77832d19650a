/* SPDX-License-Identifier: Apache-2.0 */
#include "network.h"

#include "common.h"

#define SHARE_SAMPLES 4

/* T has 256 entries and is indexed by a byte: -1 is entry 255. */
void simd_look_up_q7(const int8_t *x, const int8_t *table, int int_bits, int8_t *out, size_t count)
{
    for (size_t k = 0; k < count; k++)
        out[k] = table[(uint8_t)(x[k] >> (3 - int_bits))];
}

/* out = ((2^s - f) * T[i] + f * T[i + 1]) >> s; the segment from 127, which would fall towards T(-8), stays flat. */
void simd_look_up_q15(const int16_t *x, const int16_t *table, int int_bits, int16_t *out, size_t count)
{
    const int s = 11 - int_bits;
    for (size_t k = 0; k < count; k++) {
        const int32_t i = x[k] >> s, f = x[k] & ((1 << s) - 1);
        const int32_t here = table[(uint8_t)i], next = i == 127 ? here : table[(uint8_t)(i + 1)];
        out[k] = (int16_t)((((1 << s) - f) * here + f * next) >> s);
    }
}

/* m = max(x), e = x - (m - W), live where e > 0; out = min(floor(2^B / SUM 2^e) >> (K - e), high). */
#define SOFTMAX(name, T, W, B, K, HIGH)                                \
    void name(const T *x, T *out, size_t count)                        \
    {                                                                  \
        int32_t base = x[0];                                           \
        for (size_t i = 1; i < count; i++)                             \
            base = x[i] > base ? x[i] : base;                          \
        base -= W;                                                     \
        int64_t total = 0;                                             \
        for (size_t i = 0; i < count; i++)                             \
            total += x[i] > base ? INT64_C(1) << (x[i] - base) : 0;    \
        const int32_t quotient = (int32_t)((INT64_C(1) << B) / total); \
        for (size_t i = 0; i < count; i++) {                           \
            const int32_t e = x[i] - base;                             \
            const int32_t v = e > 0 ? quotient >> (K - e) : 0;         \
            out[i] = (T)(v < HIGH ? v : HIGH);                         \
        }                                                              \
    }
SOFTMAX(simd_softmax_q7, int8_t, 8, 20, 13, INT8_MAX)
SOFTMAX(simd_softmax_q15, int16_t, 16, 32, 17, INT16_MAX)

static size_t bytes_of(const simd_step *step, size_t count) { return count << step->wide; }

size_t simd_step_scratch_bytes(const simd_step *step)
{
    if (step->kind == SIMD_WEIGHTED)
        return step->weighted.scratch_bytes(&step->geometry);
    return step->kind == SIMD_POOL ? step->pool.scratch_bytes(&step->geometry) : 0;
}

void simd_network_plan(simd_network *network)
{
    size_t buffer = 0, scratch = 0;
    for (size_t i = 0; i < network->step_count; i++) {
        const simd_step *step = network->steps + i;
        const size_t out = bytes_of(step, step->out_count), needed = simd_step_scratch_bytes(step);
        buffer = out > buffer ? out : buffer;
        scratch = needed > scratch ? needed : scratch;
    }
    network->buffer_bytes = round_up(buffer, SIMD_ALIGNMENT);
    network->scratch_bytes = round_up(scratch, SIMD_ALIGNMENT);
    network->in_bytes = bytes_of(network->steps, network->steps->in_count);
    network->out_bytes = bytes_of(network->steps, network->steps[network->step_count - 1].out_count);
}

size_t simd_workspace_bytes(const simd_network *network)
{
    return 2 * network->buffer_bytes + network->scratch_bytes + SIMD_ALIGNMENT;
}

void simd_step_run(const simd_step *step, const void *in, void *out, void *scratch)
{
    switch (step->kind) {
    case SIMD_WEIGHTED:
        step->weighted.run(&step->geometry, step->packed, in, out, scratch);
        break;
    case SIMD_POOL:
        step->pool.run(&step->geometry, in, out, scratch);
        break;
    case SIMD_RELU:
        step->relu(in, out, step->in_count);
        break;
    case SIMD_LOOK_UP:
        if (step->wide)
            simd_look_up_q15(in, step->packed, step->int_bits, out, step->in_count);
        else
            simd_look_up_q7(in, step->packed, step->int_bits, out, step->in_count);
        break;
    case SIMD_SOFTMAX:
        if (step->wide)
            simd_softmax_q15(in, out, step->in_count);
        else
            simd_softmax_q7(in, out, step->in_count);
        break;
    }
}

void simd_network_run(const simd_network *network, const void *in, void *out, ptrdiff_t first, ptrdiff_t last,
                      void *workspace)
{
    char *const buffers[2] = {workspace, (char *)workspace + network->buffer_bytes};
    char *const scratch = buffers[1] + network->buffer_bytes;
    for (ptrdiff_t n = first; n < last; n++) {
        const void *from = (const char *)in + (size_t)n * network->in_bytes;
        for (size_t i = 0; i < network->step_count; i++) {
            void *to = i + 1 < network->step_count ? buffers[i % 2] : (char *)out + (size_t)n * network->out_bytes;
            simd_step_run(network->steps + i, from, to, scratch);
            from = to;
        }
    }
}

void simd_network_share(const simd_network *network, const void *in, void *out, ptrdiff_t samples,
                        simd_counter *counter, void *workspace)
{
    for (;;) {
        const ptrdiff_t first = SIMD_FETCH_ADD(&counter->next, SHARE_SAMPLES);
        if (first >= samples)
            return;
        simd_network_run(network, in, out, first, min_ptrdiff(first + SHARE_SAMPLES, samples), workspace);
    }
}
