/* SPDX-License-Identifier: Apache-2.0 */
/* Convolutions that the tables of instruction sets do not have themselves.
 *
 * Gathered: dilated windows, and groups. Windows are copied to where they lie as the rows of a 1x1 convolution, group by
 * group, and go to the table's kernel.
 *
 * Wide: int16 activations with int8 weights and sums of 64 bits, zero points 0:
 *     out = clamp((sum * m + 2^(14 - e)) >> (15 - e), low, high),   m the multiplier rounded to 15 bits, e the exponent
 */
#ifndef CMSISNN_X_SIMD_WINDOWS_H
#define CMSISNN_X_SIMD_WINDOWS_H

#include "simd.h"

typedef struct {
    const simd_weighted *kernel;
    simd_geometry geometry; /* of the whole */
    int32_t groups;
    int32_t element; /* bytes */
} simd_gathered;

size_t simd_gathered_packed_bytes(const simd_gathered *p);
void simd_gathered_pack(const simd_gathered *p, const void *weights, const void *bias, void *packed);
size_t simd_gathered_scratch_bytes(const simd_gathered *p);
void simd_gathered_run(const simd_gathered *p, const void *packed, const void *in, void *out, void *scratch);

/* `groups` counts the input channels where it is depthwise. */
typedef struct {
    simd_geometry geometry;
    int32_t groups;
    int depthwise;
} simd_wide;

size_t simd_wide_packed_bytes(const simd_wide *p);
/* `bias` is int64, or NULL. */
void simd_wide_pack(const simd_wide *p, const int8_t *weights, const int64_t *bias, void *packed);
size_t simd_wide_scratch_bytes(const simd_wide *p);
void simd_wide_run(const simd_wide *p, const void *packed, const int16_t *in, int16_t *out, void *scratch);

#endif
