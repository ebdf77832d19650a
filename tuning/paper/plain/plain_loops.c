/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Layers as their formulas say: one output at a time, shapes as arguments, no buffer, no unrolling, no SIMD. The baseline of the paper table.
 */
#include "plain_loops.h"

static int8_t saturate(int32_t sum)
{
    return (int8_t)(sum > 127 ? 127 : sum < -128 ? -128 : sum);
}

static int32_t start(int32_t bias, int32_t bias_shift, int32_t out_shift)
{
    return bias * (1 << bias_shift) + (out_shift > 0 ? 1 << (out_shift - 1) : 0);
}

/* out[y][x][o] = clamp((bias[o] << bias_shift) + round(out_shift) + sum over m, n, i of in[y s + m - p][x s + n - p][i] w[o][m][n][i]) >> out_shift) */
void plain_convolve(const struct plain_window *w, const int8_t *in, const int8_t *weights, const int8_t *bias, int8_t *out)
{
    for (int32_t y = 0; y < w->out_h; y++)
        for (int32_t x = 0; x < w->out_w; x++)
            for (int32_t o = 0; o < w->out_ch; o++) {
                int32_t sum = start(bias[o], w->bias_shift, w->out_shift);
                for (int32_t m = 0; m < w->kernel_h; m++)
                    for (int32_t n = 0; n < w->kernel_w; n++) {
                        int32_t row = w->stride_y * y + m - w->pad_top;
                        int32_t col = w->stride_x * x + n - w->pad_left;
                        if (row >= 0 && col >= 0 && row < w->in_h && col < w->in_w)
                            for (int32_t i = 0; i < w->in_ch; i++)
                                sum += in[(row * w->in_w + col) * w->in_ch + i] *
                                       weights[((o * w->kernel_h + m) * w->kernel_w + n) * w->in_ch + i];
                    }
                out[(y * w->out_w + x) * w->out_ch + o] = saturate(sum >> w->out_shift);
            }
}

void plain_max_pool(const struct plain_window *w, const int8_t *in, int8_t *out)
{
    for (int32_t c = 0; c < w->in_ch; c++)
        for (int32_t y = 0; y < w->out_h; y++)
            for (int32_t x = 0; x < w->out_w; x++) {
                int32_t largest = -128;
                for (int32_t row = w->stride_y * y - w->pad_top; row < w->stride_y * y - w->pad_top + w->kernel_h; row++)
                    for (int32_t col = w->stride_x * x - w->pad_left; col < w->stride_x * x - w->pad_left + w->kernel_w; col++)
                        if (row >= 0 && col >= 0 && row < w->in_h && col < w->in_w) {
                            int32_t value = in[(row * w->in_w + col) * w->in_ch + c];
                            largest = value > largest ? value : largest;
                        }
                out[(y * w->out_w + x) * w->in_ch + c] = (int8_t)largest;
            }
}

void plain_relu(int32_t size, const int8_t *in, int8_t *out)
{
    for (int32_t i = 0; i < size; i++)
        out[i] = in[i] < 0 ? 0 : in[i];
}

void plain_fully_connected(const struct plain_window *w, const int8_t *in, const int8_t *weights, const int8_t *bias, int8_t *out)
{
    for (int32_t o = 0; o < w->out_ch; o++) {
        int32_t sum = start(bias[o], w->bias_shift, w->out_shift);
        for (int32_t i = 0; i < w->in_ch; i++)
            sum += in[i] * weights[o * w->in_ch + i];
        out[o] = saturate(sum >> w->out_shift);
    }
}
