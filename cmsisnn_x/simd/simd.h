/* SPDX-License-Identifier: Apache-2.0 */
/* Host kernels: one table of functions per instruction set, chosen at run time.
 *
 *   plain weights --pack--> packed (once)        input --lower--> padded rows --tile--> output
 *
 * Every table computes  out = requantise(start(bias) + sum)  with a 32-bit accumulator that wraps, so all tables give
 * the same bits for all inputs.
 */
#ifndef CMSISNN_X_SIMD_H
#define CMSISNN_X_SIMD_H

#include <stddef.h>
#include <stdint.h>

#define SIMD_ALIGNMENT 64

/* How a sum becomes an output. */
enum { SIMD_POW2, SIMD_AFFINE, SIMD_AFFINE_NEAR, SIMD_AFFINE_FLOAT };

/* A scheme (cmsisnn_x.scheme, cmsisnn_x.affine) as the kernels see it. Of powers of two, where a channel has no
 * constants but its bias, of the weights' type:
 *     start(bias) = (bias << bias_shift) + round(out_shift), round(s) = 2^(s-1), 0 for s = 0
 *     requantise(sum) = clamp(sum >> out_shift, low, high)
 * Of zero points, with a bias of 32 bits; x is as it lies in memory and padding holds the zero point:
 *     start(bias) = bias - fill * (sum of the channel's weights)
 *     requantise(sum) = clamp(rescale(sum, multiplier, left, right) + zero_point, low, high)
 * SIMD_AFFINE_NEAR: the same where no sum reaches 2^30 and every shift goes 1 to SIMD_NEAR_SHIFT bits to the right, which
 * takes fewer instructions. SIMD_AFFINE_FLOAT: the nearest integer of sum * real, halves away from zero, and it wraps.
 */
#define SIMD_NEAR_SHIFT 22
typedef struct {
    int32_t bias_shift, out_shift;
    int32_t low, high; /* of the outputs; of powers of two `high` is the highest of their type */
    int32_t fill;      /* what padding holds */
    int32_t kind;
    int32_t zero_point;
    const int32_t *multiplier, *left, *right; /* per channel; in packed weights in the order of the sums */
    const double *real;
} simd_requant;

typedef struct {
    int32_t in_h, in_w, in_ch;
    int32_t out_h, out_w, out_ch;
    int32_t kernel_h, kernel_w;
    int32_t stride_y, stride_x;
    int32_t pad_top, pad_left;
    int32_t dilation_y, dilation_x; /* of a convolution that is not depthwise 1: windows.h has the others */
    int32_t weight_bits;            /* of the plain weights, and of a bias of powers of two: 8 or 16 */
    simd_requant requant;
} simd_geometry;

typedef struct {
    size_t (*packed_bytes)(const simd_geometry *g);
    /* `bias` may be NULL; `packed` is aligned to SIMD_ALIGNMENT, as `scratch` is. */
    void (*pack)(const simd_geometry *g, const void *weights, const void *bias, void *packed);
    size_t (*scratch_bytes)(const simd_geometry *g);
    void (*run)(const simd_geometry *g, const void *packed, const void *in, void *out, void *scratch);
} simd_weighted;

typedef struct {
    size_t (*scratch_bytes)(const simd_geometry *g);
    void (*run)(const simd_geometry *g, const void *in, void *out, void *scratch);
} simd_pool;

/* x -> (x - zero_point) * multiplier * 2^(left - right - 31), see rescale() in common.h. */
typedef struct {
    int32_t zero_point, multiplier, left, right;
} simd_rescaling;

/* Factors of a sum of bytes as line.h has them: words of a below and of b above. */
#define SIMD_LINE_BITS 12
typedef struct {
    int32_t high, low, c_high, c_low;
    int32_t shift, lowest, highest;
} simd_line;

/* Two tensors, element by element; `out.zero_point` is added. */
typedef struct {
    simd_rescaling a, b, out;
    int32_t left_shift, sign; /* of sums */
    int32_t low, high;
    int32_t is_line; /* `line` gives the same bytes */
    simd_line line;
} simd_pair;

enum { SIMD_ADD, SIMD_MULTIPLY, SIMD_MAXIMUM, SIMD_MINIMUM, SIMD_PAIRS };

/* Index of a table by the width of its activations. */
enum { SIMD_Q7 = 0, SIMD_Q15 = 1 };

typedef struct {
    const char *name;
    simd_weighted convolve[2]; /* fully connected: a 1x1 convolution whose pixels are the samples */
    simd_weighted depthwise[2];
    /* One sample of a fully connected layer (out_ch rows x in_ch columns), plain weights; `wide`: in_ch elements. */
    void (*dot_rows[2])(const simd_geometry *g, const void *weights, const void *bias, const void *in, void *out,
                        int16_t *wide);
    simd_pool max_pool[2], avg_pool[2];
    void (*relu[2])(const void *in, void *out, size_t count);
    /* `b` has `period` elements and is repeated. */
    void (*pair[2])(int op, const simd_pair *p, const void *a, const void *b, void *out, size_t count, size_t period);
} simd_isa;

/* Names of the tables that were built, best first; NULL ends the list. */
const char *const *simd_built(void);

/* The table of that name; NULL where it was not built or this processor lacks it. */
const simd_isa *simd_find(const char *name);

/* The best table that this processor runs. */
const simd_isa *simd_best(void);

#endif
