/* SPDX-License-Identifier: Apache-2.0 */
/* Runs cases from standard input on one table of the host kernels: for processors that the tests emulate, and for sanitizers.
 *
 *   case:   int32 op (0 convolve, 1 depthwise, 2 dot rows, 3 max pool, 4 avg pool), int32 wide, the int32 numbers of
 *           simd_geometry in its order, then x, weights, bias, and with zero points multipliers, left and right shifts, factors
 *   answer: the output
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "simd.h"

static void *aligned(size_t size) { return aligned_alloc(SIMD_ALIGNMENT, (size + SIMD_ALIGNMENT) / SIMD_ALIGNMENT * SIMD_ALIGNMENT); }

/* Exactly as large as the data, so that a sanitizer sees the first byte beyond. */
static void *receive(size_t size)
{
    void *data = malloc(size ? size : 1);
    if (size && fread(data, 1, size, stdin) != size)
        exit(3);
    return data;
}

int main(int argc, char **argv)
{
    int32_t head[2], n[22];
    const simd_isa *isa = argc == 2 ? simd_find(argv[1]) : NULL;
    if (!isa)
        return 2;
    while (fread(head, sizeof head, 1, stdin) == 1 && fread(n, sizeof n, 1, stdin) == 1) {
        simd_geometry g = {.in_h = n[0], .in_w = n[1], .in_ch = n[2], .out_h = n[3], .out_w = n[4], .out_ch = n[5],
                           .kernel_h = n[6], .kernel_w = n[7], .stride_y = n[8], .stride_x = n[9], .pad_top = n[10],
                           .pad_left = n[11], .dilation_y = n[12], .dilation_x = n[13], .weight_bits = n[14],
                           .requant = {.bias_shift = n[15], .out_shift = n[16], .low = n[17], .high = n[18],
                                       .fill = n[19], .kind = n[20], .zero_point = n[21]}};
        const int op = head[0], wide = head[1], has_channels = op < 3 && g.requant.kind != SIMD_POW2;
        const size_t channels = (size_t)g.out_ch * sizeof(int32_t);
        const size_t element = wide ? 2 : 1, weight = (size_t)g.weight_bits / 8;
        const size_t out_size = (size_t)g.out_h * (size_t)g.out_w * (size_t)g.out_ch * element;
        const size_t taps = (size_t)g.kernel_h * (size_t)g.kernel_w * (op == 1 ? 1 : (size_t)g.in_ch);
        void *x = receive((size_t)g.in_h * (size_t)g.in_w * (size_t)g.in_ch * element);
        void *weights = receive(op < 3 ? (size_t)g.out_ch * taps * weight : 0);
        void *bias = receive(op >= 3 ? 0 : has_channels ? channels : (size_t)g.out_ch * weight);
        void *multiplier = receive(has_channels ? channels : 0), *left = receive(has_channels ? channels : 0);
        void *right = receive(has_channels ? channels : 0);
        void *real = receive(has_channels && g.requant.kind == SIMD_AFFINE_FLOAT ? 2 * channels : 0);
        g.requant.multiplier = multiplier;
        g.requant.left = left;
        g.requant.right = right;
        g.requant.real = real;
        void *out = malloc(out_size);
        memset(out, 0x5b, out_size);
        if (op < 2) {
            const simd_weighted *k = op ? &isa->depthwise[wide] : &isa->convolve[wide];
            void *packed = aligned(k->packed_bytes(&g)), *scratch = aligned(k->scratch_bytes(&g));
            k->pack(&g, weights, bias, packed);
            k->run(&g, packed, x, out, scratch);
            free(packed);
            free(scratch);
        } else if (op == 2) {
            int16_t *columns = malloc((size_t)g.in_ch * sizeof(int16_t));
            isa->dot_rows[wide](&g, weights, bias, x, out, columns);
            free(columns);
        } else {
            const simd_pool *k = op == 3 ? &isa->max_pool[wide] : &isa->avg_pool[wide];
            void *scratch = aligned(k->scratch_bytes(&g));
            k->run(&g, x, out, scratch);
            free(scratch);
        }
        fwrite(out, 1, out_size, stdout);
        free(x);
        free(weights);
        free(bias);
        free(multiplier);
        free(left);
        free(right);
        free(real);
        free(out);
    }
    return 0;
}
