/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PLAIN_LOOPS_H
#define PLAIN_LOOPS_H

#include <stdint.h>

struct plain_window {
    int32_t in_h, in_w, in_ch, out_h, out_w, out_ch, kernel_h, kernel_w, stride_y, stride_x, pad_top, pad_left, bias_shift, out_shift;
};

void plain_convolve(const struct plain_window *w, const int8_t *in, const int8_t *weights, const int8_t *bias, int8_t *out);
void plain_max_pool(const struct plain_window *w, const int8_t *in, int8_t *out);
void plain_relu(int32_t size, const int8_t *in, int8_t *out);
void plain_fully_connected(const struct plain_window *w, const int8_t *in, const int8_t *weights, const int8_t *bias, int8_t *out);

#endif
