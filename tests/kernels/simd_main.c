/* SPDX-License-Identifier: Apache-2.0 */
/* Runs cases from standard input on one table of the host kernels: for processors that the tests emulate, and for sanitizers.
 *
 *   case:   int32 op (0 convolve, 1 depthwise, 2 dot rows, 3 max pool, 4 avg pool), int32 wide, simd_geometry, then x, weights, bias
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
    int32_t head[2];
    simd_geometry g;
    const simd_isa *isa = argc == 2 ? simd_find(argv[1]) : NULL;
    if (!isa)
        return 2;
    while (fread(head, sizeof head, 1, stdin) == 1 && fread(&g, sizeof g, 1, stdin) == 1) {
        const int op = head[0], wide = head[1];
        const size_t element = wide ? 2 : 1, weight = (size_t)g.weight_bits / 8;
        const size_t out_size = (size_t)g.out_h * (size_t)g.out_w * (size_t)g.out_ch * element;
        const size_t taps = (size_t)g.kernel_h * (size_t)g.kernel_w * (op == 1 ? 1 : (size_t)g.in_ch);
        void *x = receive((size_t)g.in_h * (size_t)g.in_w * (size_t)g.in_ch * element);
        void *weights = receive(op < 3 ? (size_t)g.out_ch * taps * weight : 0);
        void *bias = receive(op < 3 ? (size_t)g.out_ch * weight : 0);
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
        free(out);
    }
    return 0;
}
