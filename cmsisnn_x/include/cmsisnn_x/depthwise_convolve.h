/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Depthwise convolution, one instance:
 *     out[y][x][c] = requantise(sum_{m,n} in[y * STRIDE_Y - PAD_TOP + m][x * STRIDE_X - PAD_LEFT + n][c] * weight(m, n, c), channels[c])
 * with zeros, or the input's zero point, outside the image; the pixels of a window lie DILATION_Y and DILATION_X apart. Defines
 *     static void CXN_KERNEL(const CXN_IN_T *input, const CXN_W_T *weights, const CXN_CHANNEL_T *channels, CXN_OUT_T *output, void *scratch)
 * `weights` and `scratch` are word aligned, `input` and `output` may have any alignment unless INPUT_ALIGNED,
 * OUTPUT_ALIGNED say more; they lie apart, or with IN_PLACE 1 in the same place; with BAND that is one where `above` rows in front of `input` would begin. `scratch` has SCRATCH_BYTES bytes: what the lowering's header states.
 */
#include "config.h"
#include "detail/intrinsics.h"

#if CXN_GET(SCHEME) == CXN_SCHEME_AFFINE && CXN_GET(RESCALE) >= CXN_RESCALE_WIDE
#include "detail/window.h"
#define CXN_WIDE_DEPTHWISE 1
#include "detail/wide.h"
#else
#include "detail/scheme.h"
#include "detail/element.h"
#include "detail/window.h"
#endif

#if CXN_GET(SCHEME) != CXN_SCHEME_AFFINE || CXN_GET(RESCALE) < CXN_RESCALE_WIDE || CXN_GET(INNER) == CXN_INNER_HELIUM

#if CXN_GET(UNROLL) != 1 && CXN_GET(UNROLL) != 2 && CXN_GET(UNROLL) != 4 && CXN_GET(UNROLL) != 8
#error "UNROLL: legal values are 1, 2, 4 and 8"
#endif
#define CXN_BR CXN_GET(BLOCK_ROWS)
#define CXN_BC CXN_GET(BLOCK_COLS)
#if !((CXN_BR == 1 || CXN_BR == 2 || CXN_BR == 4) && (CXN_BC == 1 || CXN_BC == 2 || CXN_BC == 4)) || CXN_BR * CXN_BC > 8 || \
    (CXN_BR * CXN_BC == 4 && CXN_BR != 2)
#error "BLOCK_ROWS x BLOCK_COLS: legal values are 1x1, 1x2, 2x1, 2x2, 2x4 and 4x2"
#endif
#if CXN_GROUPS != 1
#error "GROUPS: legal value is 1"
#endif
#if (CXN_DILATION_Y != 1 || CXN_DILATION_X != 1) && CXN_GET(LOWERING) != CXN_LOWERING_IM2COL
#error "DILATION_Y, DILATION_X: legal values are 1, except with CXN_LOWERING_IM2COL"
#endif
#if CXN_GET(IN_CH) != CXN_GET(OUT_CH)
#error "OUT_CH: legal value is IN_CH"
#endif
#if CXN_GET(IM2COL_COLS) < CXN_BC || CXN_GET(IM2COL_COLS) > 16 || CXN_GET(IM2COL_COLS) % CXN_BC
#error "IM2COL_COLS: legal values are the multiples of BLOCK_COLS up to 16"
#endif
#if CXN_GET(COLUMN_LAYOUT) != CXN_COLUMN_LAYOUT_SEQUENTIAL
#error "COLUMN_LAYOUT: legal value is CXN_COLUMN_LAYOUT_SEQUENTIAL"
#endif
#if CXN_GET(INNER) == CXN_INNER_HELIUM
#if !CXN_HELIUM || CXN_GET(LOWERING) != CXN_LOWERING_LINE_BUFFER
#error "INNER: CXN_INNER_HELIUM needs a core with Helium, and CXN_LOWERING_LINE_BUFFER"
#endif
#elif CXN_GET(INNER) != CXN_INNER_C && \
    (CXN_GET(LOWERING) == CXN_LOWERING_IM2COL || (CXN_BR == 2 && CXN_GET(INNER) != CXN_INNER_ASM) || \
     (CXN_GET(INNER) != CXN_INNER_ASM && CXN_GET(INNER) != CXN_INNER_ASM_DUAL && CXN_GET(INNER) != CXN_INNER_C_ROLLED))
#error "INNER: legal value is CXN_INNER_C; with other lowerings than CXN_LOWERING_IM2COL also CXN_INNER_ASM, with BLOCK_ROWS 1 _ASM_DUAL and _C_ROLLED too"
#endif
#if CXN_GET(TILE) != 1
#error "TILE: legal value is 1"
#endif

#if CXN_GET(IN_PLACE) && CXN_GET(BAND)
#if CXN_GET(LOWERING) == CXN_LOWERING_IM2COL || CXN_BR != 1 || CXN_GET(OUT_W) > CXN_GET(IN_W)
#error "IN_PLACE: 1 with BAND needs CXN_LOWERING_LINE_BUFFER or _DIRECT, BLOCK_ROWS 1 and rows of outputs no longer than those of inputs"
#endif
#elif CXN_GET(IN_PLACE) && \
    (CXN_GET(IN_H) != CXN_GET(OUT_H) || CXN_GET(IN_W) != CXN_GET(OUT_W) || CXN_GET(LOWERING) != CXN_LOWERING_LINE_BUFFER || \
     CXN_GET(PAD_TOP) >= CXN_GET(KERNEL_H) || CXN_GET(PAD_LEFT) >= CXN_GET(KERNEL_W) || (CXN_BR == 1 && CXN_BC == 1 && CXN_GET(INNER) != CXN_INNER_HELIUM))
#error "IN_PLACE: 1 needs an output of the input's size, CXN_LOWERING_LINE_BUFFER, and two rows of outputs at a time, blocks of two rows or CXN_INNER_HELIUM"
#endif

#if CXN_GET(LOWERING) == CXN_LOWERING_IM2COL
#if CXN_GET(WEIGHT_LAYOUT) != CXN_WEIGHT_LAYOUT_PLAIN
#error "WEIGHT_LAYOUT: legal value with CXN_LOWERING_IM2COL is CXN_WEIGHT_LAYOUT_PLAIN"
#endif
#include "detail/depthwise_im2col.h"
#elif CXN_GET(INNER) == CXN_INNER_HELIUM
#if CXN_GET(WEIGHT_LAYOUT) != CXN_WEIGHT_LAYOUT_LANES
#error "WEIGHT_LAYOUT: legal value with CXN_INNER_HELIUM is CXN_WEIGHT_LAYOUT_LANES"
#endif
#include "detail/depthwise_helium.h"
#elif CXN_GET(LOWERING) == CXN_LOWERING_LINE_BUFFER
#if CXN_GET(WEIGHT_LAYOUT) != CXN_WEIGHT_LAYOUT_WIDENED && CXN_GET(WEIGHT_LAYOUT) != CXN_WEIGHT_LAYOUT_INTERLEAVED
#error "WEIGHT_LAYOUT: legal values with CXN_LOWERING_LINE_BUFFER are _WIDENED (8-bit weights) and _INTERLEAVED (16-bit weights)"
#endif
#if CXN_BR == 2
#include "detail/depthwise_lines.h"
#else
#include "detail/depthwise_rows.h"
#endif
#elif CXN_GET(LOWERING) == CXN_LOWERING_DIRECT
#if CXN_GET(WEIGHT_LAYOUT) != CXN_WEIGHT_LAYOUT_WIDENED
#error "WEIGHT_LAYOUT: legal value with CXN_LOWERING_DIRECT is CXN_WEIGHT_LAYOUT_WIDENED"
#endif
#include "detail/depthwise_direct.h"
#else
#error "LOWERING: legal values are CXN_LOWERING_IM2COL, _LINE_BUFFER and _DIRECT"
#endif

#undef CXN_BR
#undef CXN_BC
#endif
#include "detail/undef.h"
