/* SPDX-License-Identifier: Apache-2.0 */
#include "network.h"

#include "common.h"

/* Samples that a thread takes at once: few, so that none works on alone for long at the end. */
#define SHARE_SAMPLES_MAX 4
#define SHARE_TURNS 128

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

size_t simd_step_scratch_bytes(const simd_step *step)
{
    switch (step->kind) {
    case SIMD_WEIGHTED:
        return step->weighted.scratch_bytes(&step->geometry);
    case SIMD_GATHERED:
        return simd_gathered_scratch_bytes(&step->of.gathered);
    case SIMD_WIDE:
        return simd_wide_scratch_bytes(&step->of.wide_windows);
    case SIMD_POOL:
        return step->pool.scratch_bytes(&step->geometry);
    case SIMD_MEAN:
        return step->of.mean.inner * sizeof(int32_t);
    default:
        return 0;
    }
}

void simd_network_plan(simd_network *network)
{
    size_t scratch = 0, inputs = 1;
    for (size_t i = 0; i < network->step_count; i++) {
        const simd_step *step = network->steps + i;
        const size_t needed = simd_step_scratch_bytes(step);
        scratch = needed > scratch ? needed : scratch;
        inputs = step->input_count > inputs ? step->input_count : inputs;
    }
    network->scratch_bytes = round_up(scratch, SIMD_ALIGNMENT);
    network->most_inputs = inputs;
}

size_t simd_workspace_bytes(const simd_network *network)
{
    return network->tensor_bytes + network->scratch_bytes + network->most_inputs * sizeof(void *) + SIMD_ALIGNMENT;
}

static void run_sample(const simd_step *step, const void *const *in, void *out, void *scratch)
{
    switch (step->kind) {
    case SIMD_WEIGHTED:
        step->weighted.run(&step->geometry, step->packed, in[0], out, scratch);
        break;
    case SIMD_GATHERED:
        simd_gathered_run(&step->of.gathered, step->packed, in[0], out, scratch);
        break;
    case SIMD_WIDE:
        simd_wide_run(&step->of.wide_windows, step->packed, in[0], out, scratch);
        break;
    case SIMD_POOL:
        step->pool.run(&step->geometry, in[0], out, scratch);
        break;
    case SIMD_RELU:
        step->relu(in[0], out, step->count);
        break;
    case SIMD_LOOK_UP:
        if (step->wide)
            simd_look_up_q15(in[0], step->packed, step->int_bits, out, step->count);
        else
            simd_look_up_q7(in[0], step->packed, step->int_bits, out, step->count);
        break;
    case SIMD_LOOK_UP_BYTES:
        simd_look_up_bytes(in[0], step->packed, step->int_bits, out, step->count);
        break;
    case SIMD_SOFTMAX:
        if (step->wide)
            simd_softmax_q15(in[0], out, step->count);
        else
            simd_softmax_q7(in[0], out, step->count);
        break;
    case SIMD_SOFTMAX_ROWS:
        simd_softmax_rows(step->of.softmax, in[0], out);
        break;
    case SIMD_SOFTMAX_WIDE_ROWS:
        simd_softmax_wide_rows(&step->of.wide_softmax, in[0], out);
        break;
    case SIMD_SOFTMAX_REAL_ROWS:
        simd_softmax_real_rows(&step->of.real_softmax, in[0], out);
        break;
    case SIMD_CURVE:
        simd_curve_of(&step->of.curve, in[0], out, step->count);
        break;
    case SIMD_PAIR:
        step->pair_of(step->int_bits, &step->of.pair, in[0], in[1], out, step->count, step->period);
        break;
    case SIMD_REQUANTISE:
        simd_requantise(&step->of.requantisation, in[0], out, step->count);
        break;
    case SIMD_MEAN:
        simd_mean_of(&step->of.mean, in[0], out, scratch);
        break;
    case SIMD_CONCAT:
        simd_concat(step->input_count, step->in_pitches, step->of.concat.rows, in, out);
        break;
    case SIMD_COPY:
        simd_copy(&step->of.view, in[0], out);
        break;
    case SIMD_PAD:
        simd_pad(&step->of.view, in[0], out);
        break;
    case SIMD_RESIZE: {
        const int32_t *table = step->packed;
        simd_resize_nearest(table, step->of.resize.out_h, table + step->of.resize.out_h, step->of.resize.out_w,
                            step->of.resize.bytes, step->of.resize.size, in[0], out);
        break;
    }
    }
}

void simd_step_run(const simd_step *step, const void **in, void *out, void *scratch)
{
    for (size_t n = 0; n < step->samples; n++) {
        run_sample(step, in, (char *)out + n * step->out_pitch, scratch);
        for (size_t k = 0; k < step->input_count; k++)
            in[k] = (const char *)in[k] + step->in_pitches[k];
    }
}

/* Where a tensor that is read lies, of sample n of the caller's. */
static const void *find(const simd_network *network, const simd_slot *slot, const void *const *in, void *const *out,
                        size_t n, const char *workspace)
{
    switch (slot->where) {
    case SIMD_WORKSPACE:
        return workspace + slot->at;
    case SIMD_INPUT:
        return (const char *)in[slot->at] + n * network->in_bytes[slot->at];
    case SIMD_OUTPUT:
        return (const char *)out[slot->at] + n * network->out_bytes[slot->at];
    default:
        return slot->constant;
    }
}

void simd_network_run(const simd_network *network, const void *const *in, void *const *out, ptrdiff_t first,
                      ptrdiff_t last, void *workspace)
{
    char *const scratch = (char *)workspace + network->tensor_bytes;
    const void **const from = (const void **)(void *)(scratch + network->scratch_bytes);
    for (size_t n = (size_t)first; n < (size_t)last; n++) {
        for (size_t i = 0; i < network->step_count; i++) {
            const simd_step *step = network->steps + i;
            for (size_t k = 0; k < step->input_count; k++)
                from[k] = find(network, step->inputs + k, in, out, n, workspace);
            const size_t at = step->output.at;
            simd_step_run(step, from,
                          step->output.where == SIMD_OUTPUT ? (char *)out[at] + n * network->out_bytes[at]
                                                            : (char *)workspace + at,
                          scratch);
        }
        for (size_t i = 0; i < network->state_count; i++)
            memcpy(network->states[i].to, find(network, &network->states[i].from, in, out, n, workspace),
                   network->states[i].bytes);
    }
}

void simd_network_share(const simd_network *network, const void *const *in, void *const *out, ptrdiff_t samples,
                        simd_counter *counter, void *workspace)
{
    const ptrdiff_t turn = min_ptrdiff(samples / SHARE_TURNS + 1, SHARE_SAMPLES_MAX);
    for (;;) {
        const ptrdiff_t first = SIMD_FETCH_ADD(&counter->next, turn);
        if (first >= samples)
            return;
        simd_network_run(network, in, out, first, min_ptrdiff(first + turn, samples), workspace);
    }
}
