/* SPDX-License-Identifier: Apache-2.0 */
/* Operations on tensors with zero points that multiply no weights, and those that only move elements. */
#ifndef CMSISNN_X_SIMD_AFFINE_H
#define CMSISNN_X_SIMD_AFFINE_H

#include "simd.h"

enum { SIMD_INT8, SIMD_UINT8, SIMD_INT16 };

/* Whether SIMD_AFFINE may be SIMD_AFFINE_NEAR: by the weights of every channel, one row each or, depthwise, one column. */
int simd_is_near(const simd_requant *requant, const int8_t *weights, const int32_t *bias, ptrdiff_t channels,
                 ptrdiff_t depth, int depthwise);

/* Every element, of the types in and out. */
typedef struct {
    simd_rescaling in; /* its zero point is subtracted */
    simd_rescaling below; /* of numbers below it, the zero point again */
    int32_t zero_point, low, high;
    int in_type, out_type;
} simd_requantisation;
void simd_requantise(const simd_requantisation *p, const void *in, void *out, size_t count);

/* (outer, reduced, inner) -> (outer, inner); `sums` has `inner` elements. */
typedef struct {
    simd_requantisation scale; /* of one type */
    size_t outer, reduced, inner;
} simd_mean;
void simd_mean_of(const simd_mean *p, const void *in, void *out, int32_t *sums);

/* out[i] = table[in[i]], by raw bytes; entries of 1 or 2 bytes. */
void simd_look_up_bytes(const uint8_t *in, const void *table, int entry, void *out, size_t count);

/* Rows of int8. `exponentials` holds e^(scale * -d) in Q0.31 for the distances d = 0 .. 255 from the maximum, 0 for those
 * that do not count. */
typedef struct {
    int32_t exponentials[256];
    size_t rows, cols;
    int bits; /* of the output, 8 or 16 */
} simd_softmax;
void simd_softmax_table(int32_t *exponentials, int32_t multiplier, int32_t left, int32_t diff_min);
void simd_softmax_rows(const simd_softmax *p, const int8_t *in, void *out);

/* Rows of int8; the exponentials of the distances 0 .. 255 from the maximum are so small that their sums fit, and 256 of them. */
typedef struct {
    const int32_t *exponentials;
    size_t rows, cols;
    int32_t zero_point;
} simd_real_softmax;
void simd_softmax_real_rows(const simd_real_softmax *p, const int8_t *in, int8_t *out);

/* Sigmoid or tanh of int16 between `points`, 256 of them; `multiplier` and the right shift take x to their steps. */
typedef struct {
    const uint16_t *points;
    int32_t multiplier, shift, is_tanh;
} simd_curve;
void simd_curve_of(const simd_curve *p, const int16_t *in, int16_t *out, size_t count);

/* Rows of int16; 513 points of e^x on [-10, 0] and of 1 / (1 + x) on [0, 1]. */
typedef struct {
    const int16_t *exponentials, *reciprocals;
    simd_rescaling scale;
    size_t rows, cols;
} simd_wide_softmax;
void simd_softmax_wide_rows(const simd_wide_softmax *p, const int16_t *in, int16_t *out);

#define SIMD_AXES 6
/* The elements of a view, see cmsisnn_x.layers.View: axes that are missing are the first, of size 1. */
typedef struct {
    ptrdiff_t shape[SIMD_AXES], steps[SIMD_AXES], offset; /* elements */
    size_t size; /* bytes of an element, 1 or 2 */
    size_t out_count;
    int32_t fill;
} simd_view;
/* out[i] = in[view of i] */
void simd_copy(const simd_view *p, const void *in, void *out);
/* out = fill, then out[view of i] = in[i] */
void simd_pad(const simd_view *p, const void *in, void *out);

/* `rows` rows of every input side by side; `bytes` of all rows per input. */
void simd_concat(size_t inputs, const size_t *bytes, size_t rows, const void *const *in, void *out);

/* Pixels of `bytes` bytes at rows[y] + cols[x], in elements of `size` bytes. */
void simd_resize_nearest(const int32_t *rows, size_t out_h, const int32_t *cols, size_t out_w, size_t bytes, size_t size,
                         const void *in, void *out);

#endif
