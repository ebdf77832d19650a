/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Convolution, one instance:
 *     out[y][x][o] = requantise(sum_{m,n,c} in[y * STRIDE_Y - PAD_TOP + m][x * STRIDE_X - PAD_LEFT + n][c] * weight(o, m, n, c), channels[o])
 * with zeros, or the input's zero point, outside the image. The pixels of a window lie DILATION_Y and DILATION_X apart, and with GROUPS
 * output channel o sees the input channels of its group alone, where an affine layer says so. HWC activations of IN_BITS, weights of WEIGHT_BITS in the layout of WEIGHT_LAYOUT
 * (packed by cmsisnn_x.packing.pack_device_weights). Defines
 *     static void CXN_KERNEL(const CXN_IN_T *input, const CXN_W_T *weights, const CXN_CHANNEL_T *channels, CXN_OUT_T *output, void *scratch)
 * `weights` and `scratch` are word aligned, `input` and `output` may have any alignment unless INPUT_ALIGNED,
 * OUTPUT_ALIGNED say more; they lie apart, or with IN_PLACE 1 in the same place. `scratch` has SCRATCH_BYTES bytes: what the lowering's header states, and a band of lines when a pooling
 * layer is fused into it (FUSED_POOL 1), in a kernel of its own: see convolve_max_pool.h.
 */
#include "config.h"
#include "detail/intrinsics.h"

#if CXN_GET(SCHEME) == CXN_SCHEME_AFFINE && CXN_GET(RESCALE) >= CXN_RESCALE_WIDE
#include "detail/window.h"
#define CXN_WIDE_DEPTHWISE 0
#include "detail/wide.h"
#if CXN_GET(INNER) == CXN_INNER_HELIUM
#define CXN_BR CXN_GET(BLOCK_ROWS)
#define CXN_BC CXN_GET(BLOCK_COLS)
#if CXN_GET(FUSED_POOL)
#error "FUSED_POOL: legal value with 64-bit accumulators is 0"
#endif
#define CXN_W_T int8_t
#define CXN_BAND_BYTES 0
#include "detail/convolve_helium.h"
#undef CXN_BAND_BYTES
#undef CXN_W_T
#undef CXN_BR
#undef CXN_BC
#undef CXN_LOWERING_BYTES
#endif
#else
#include "detail/scheme.h"
#include "detail/element.h"
#include "detail/window.h"

#if CXN_GET(UNROLL) != 1 && CXN_GET(UNROLL) != 2 && CXN_GET(UNROLL) != 4 && CXN_GET(UNROLL) != 8
#error "UNROLL: legal values are 1, 2, 4 and 8"
#endif
#define CXN_BR CXN_GET(BLOCK_ROWS)
#define CXN_BC CXN_GET(BLOCK_COLS)
#if CXN_GET(COLUMN_LAYOUT) != CXN_COLUMN_LAYOUT_PACKED
#if !((CXN_BR == 1 || CXN_BR == 2 || CXN_BR == 4) && (CXN_BC == 1 || CXN_BC == 2 || CXN_BC == 4)) || CXN_BR * CXN_BC > 8 || \
    (CXN_BR * CXN_BC == 4 && CXN_BR != 2 && CXN_GET(LOWERING) != CXN_LOWERING_WINOGRAD)
#error "BLOCK_ROWS x BLOCK_COLS: legal values are 1x1, 1x2, 2x1, 2x2, 2x4 and 4x2"
#endif
#endif
#if CXN_GET(LOWERING) != CXN_LOWERING_IM2COL && CXN_GET(LOWERING) != CXN_LOWERING_LINE_BUFFER && \
    CXN_GET(LOWERING) != CXN_LOWERING_DIRECT && CXN_GET(LOWERING) != CXN_LOWERING_WINOGRAD && \
    CXN_GET(LOWERING) != CXN_LOWERING_WINOGRAD_2D
#error "LOWERING: legal values are CXN_LOWERING_IM2COL, _LINE_BUFFER, _DIRECT, _WINOGRAD and _WINOGRAD_2D"
#endif
#if CXN_GET(WEIGHT_LAYOUT) != CXN_WEIGHT_LAYOUT_PLAIN && CXN_GET(WEIGHT_LAYOUT) != CXN_WEIGHT_LAYOUT_INTERLEAVED && \
    CXN_GET(WEIGHT_LAYOUT) != CXN_WEIGHT_LAYOUT_WIDENED && CXN_GET(WEIGHT_LAYOUT) != CXN_WEIGHT_LAYOUT_LANES
#error "WEIGHT_LAYOUT: legal values are CXN_WEIGHT_LAYOUT_PLAIN, _INTERLEAVED, _WIDENED and _LANES"
#endif
#if CXN_GET(COLUMN_LAYOUT) != CXN_COLUMN_LAYOUT_SEQUENTIAL && CXN_GET(COLUMN_LAYOUT) != CXN_COLUMN_LAYOUT_INTERLEAVED && \
    CXN_GET(COLUMN_LAYOUT) != CXN_COLUMN_LAYOUT_PACKED && CXN_GET(COLUMN_LAYOUT) != CXN_COLUMN_LAYOUT_PAIRED
#error "COLUMN_LAYOUT: legal values are CXN_COLUMN_LAYOUT_SEQUENTIAL, _INTERLEAVED, _PACKED and _PAIRED"
#endif
#if CXN_GET(INNER) != CXN_INNER_C && CXN_GET(INNER) != CXN_INNER_ASM && CXN_GET(INNER) != CXN_INNER_ASM_DUAL && \
    CXN_GET(INNER) != CXN_INNER_HELIUM
#error "INNER: legal values are CXN_INNER_C, _ASM, _ASM_DUAL and _HELIUM"
#endif
#if (CXN_GET(INNER) == CXN_INNER_HELIUM) != (CXN_GET(WEIGHT_LAYOUT) == CXN_WEIGHT_LAYOUT_LANES)
#error "INNER: CXN_INNER_HELIUM and CXN_WEIGHT_LAYOUT_LANES go together"
#endif
#if CXN_GET(IM2COL_COLS) < CXN_BC || CXN_GET(IM2COL_COLS) > 16 || CXN_GET(IM2COL_COLS) % CXN_BC
#error "IM2COL_COLS: legal values are the multiples of BLOCK_COLS up to 16"
#endif
#if CXN_GET(WEIGHT_LAYOUT) == CXN_WEIGHT_LAYOUT_INTERLEAVED && CXN_GET(WEIGHT_BITS) == 8 && CXN_BR == 1 && \
    CXN_GET(LOWERING) != CXN_LOWERING_WINOGRAD
#error "WEIGHT_LAYOUT: CXN_WEIGHT_LAYOUT_INTERLEAVED of 8-bit weights pairs rows; legal BLOCK_ROWS are 2 and 4"
#endif
#if CXN_GET(WEIGHT_LAYOUT) == CXN_WEIGHT_LAYOUT_WIDENED && CXN_GET(WEIGHT_BITS) == 16
#error "WEIGHT_LAYOUT: 16-bit weights are wide already; legal values are CXN_WEIGHT_LAYOUT_PLAIN and _INTERLEAVED"
#endif
#if CXN_GET(COLUMN_LAYOUT) == CXN_COLUMN_LAYOUT_INTERLEAVED && (CXN_GET(LOWERING) != CXN_LOWERING_IM2COL || CXN_GET(IN_CH) % 2)
#error "COLUMN_LAYOUT: CXN_COLUMN_LAYOUT_INTERLEAVED needs CXN_LOWERING_IM2COL and an even IN_CH; legal here: CXN_COLUMN_LAYOUT_SEQUENTIAL"
#endif
#if CXN_GET(INNER) != CXN_INNER_C && CXN_GET(INNER) != CXN_INNER_HELIUM && \
    ((CXN_GET(WEIGHT_LAYOUT) == CXN_WEIGHT_LAYOUT_PLAIN && CXN_GET(LOWERING) != CXN_LOWERING_WINOGRAD) || CXN_BC == 1 || \
     (CXN_BR != 2 && (CXN_BR != 4 || CXN_GET(WEIGHT_LAYOUT) != CXN_WEIGHT_LAYOUT_WIDENED || CXN_GET(INNER) != CXN_INNER_ASM || \
                      (CXN_GET(LOWERING) != CXN_LOWERING_WINOGRAD && CXN_GET(LOWERING) != CXN_LOWERING_WINOGRAD_2D))))
#error "INNER: CXN_INNER_ASM and _ASM_DUAL are 2x4 or 2x2 blocks over packed weights, or over any with CXN_LOWERING_WINOGRAD, and _ASM 4x2 ones of tiles over widened weights; legal here: CXN_INNER_C"
#endif
#if CXN_GET(FUSED_POOL) != 0 && CXN_GET(FUSED_POOL) != 1
#error "FUSED_POOL: legal values are 0 and 1"
#endif

#if (CXN_DILATION_Y != 1 || CXN_DILATION_X != 1 || CXN_GROUPS != 1) && \
    (CXN_GET(LOWERING) != CXN_LOWERING_IM2COL || CXN_GET(COLUMN_LAYOUT) != CXN_COLUMN_LAYOUT_SEQUENTIAL || \
     CXN_GET(WEIGHT_LAYOUT) != CXN_WEIGHT_LAYOUT_PLAIN || CXN_GET(INNER) != CXN_INNER_C || CXN_GET(FUSED_POOL))
#error "DILATION_Y, DILATION_X, GROUPS: legal values are 1, except with CXN_LOWERING_IM2COL in C over plain weights"
#endif

#if CXN_GET(IN_PLACE) && CXN_GET(BAND)
#if CXN_GET(LOWERING) != CXN_LOWERING_WINOGRAD_2D
#error "IN_PLACE: together with BAND with CXN_LOWERING_WINOGRAD_2D alone"
#endif
#elif CXN_GET(IN_PLACE) && \
    (CXN_GET(IN_H) != CXN_GET(OUT_H) || CXN_GET(IN_W) != CXN_GET(OUT_W) || CXN_GET(IN_CH) != CXN_GET(OUT_CH) || CXN_GROUPS != 1 || \
     CXN_GET(PAD_TOP) >= CXN_GET(KERNEL_H) || CXN_GET(PAD_LEFT) >= CXN_GET(KERNEL_W) || \
     CXN_GET(FUSED_POOL) || (CXN_GET(COLUMN_LAYOUT) == CXN_COLUMN_LAYOUT_PACKED && CXN_GET(OUT_H) * CXN_GET(OUT_W) % 3 == 1) || \
     ((CXN_GET(LOWERING) != CXN_LOWERING_LINE_BUFFER || \
       (CXN_GET(INNER) == CXN_INNER_HELIUM && (CXN_GET(KERNEL_H) != 1 || CXN_GET(KERNEL_W) != 1))) && \
      (CXN_GET(LOWERING) != CXN_LOWERING_IM2COL || CXN_GET(KERNEL_H) != 1 || CXN_GET(KERNEL_W) != 1)))
#error "IN_PLACE: 1 needs an output of the input's size, and CXN_LOWERING_LINE_BUFFER, in vectors of 1x1, or CXN_LOWERING_IM2COL of 1x1; of packed pixels one may not be left over"
#endif

#if defined(CXN_POOL_FUSED)
#include "detail/convolve_band.h"
#else
#define CXN_BAND_BYTES 0
#endif

#if CXN_GET(LOWERING) == CXN_LOWERING_WINOGRAD
#include "detail/convolve_winograd.h"
#elif CXN_GET(LOWERING) == CXN_LOWERING_WINOGRAD_2D
#include "detail/convolve_winograd_2d.h"
#else
#if CXN_GET(TILE) != 1
#error "TILE: legal value is 1, except with CXN_LOWERING_WINOGRAD and _WINOGRAD_2D"
#endif

/* Packed weights: element type, and elements of one run of one row. */
#if CXN_GET(WEIGHT_BITS) == 8 && CXN_GET(WEIGHT_LAYOUT) != CXN_WEIGHT_LAYOUT_WIDENED
#define CXN_W_T int8_t
#define CXN_W_BYTES 1
#else
#define CXN_W_T int16_t
#define CXN_W_BYTES 2
#endif
#define CXN_TAPS (CXN_GET(KERNEL_H) * CXN_GET(KERNEL_W) * CXN_GROUP_IN)

#if CXN_GET(INNER) == CXN_INNER_HELIUM
#include "detail/convolve_helium.h"
#elif CXN_GET(COLUMN_LAYOUT) == CXN_COLUMN_LAYOUT_PACKED
#include "detail/convolve_packed.h"
#elif CXN_GET(COLUMN_LAYOUT) == CXN_COLUMN_LAYOUT_PAIRED
#include "detail/convolve_paired.h"
#elif CXN_GET(LOWERING) == CXN_LOWERING_IM2COL
#include "detail/convolve_im2col.h"
#else
#include "detail/convolve_rows.h"
#endif
#undef CXN_W_T
#undef CXN_W_BYTES
#undef CXN_TAPS
#endif

#undef CXN_BR
#undef CXN_BC
#undef CXN_POOL_GET
#undef CXN_BAND_STEP
#undef CXN_BAND_COUNT
#undef CXN_BAND_LINE
#undef CXN_BAND_KERNEL
#undef CXN_BAND_STRIDE
#undef CXN_BAND_PAD
#undef CXN_BAND_POOLED
#undef CXN_BAND_OUT_LINE
#undef CXN_BAND_GCD
#undef CXN_BAND_KEEP
#undef CXN_BAND_BYTES
#undef CXN_LOWERING_BYTES
#endif
#include "detail/undef.h"
