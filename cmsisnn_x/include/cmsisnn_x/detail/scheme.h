/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the quantisation scheme of one instance gives its kernel: how an accumulator starts, how it becomes an output, what padding holds.
 * Nothing else in a kernel depends on the scheme. The header included below defines
 *     CXN_CHANNEL_T                  the record of one output channel; a kernel gets an array of them, `channels`
 *     CXN_ACC_INIT(channel)          const CXN_CHANNEL_T * -> int32_t, an accumulator before its first product
 *     CXN_REQUANTISE(acc, channel)   a finished accumulator -> int32_t in CXN_OUT_MIN .. CXN_OUT_MAX
 *     CXN_OUT_MIN, CXN_OUT_MAX       the range of the output; a ReLU is in it
 *     CXN_PAD_FILL                   the integer that stands for zero in the input
 *     CXN_PAD(to, count)             writes `count` elements of 16 bits of padding at `to`
 * Include after config.h and intrinsics.h.
 */
#include "cmsisnn_x/detail/scheme_pow2.h"

/* Two elements of padding in a word. */
#define CXN_PAD_PAIR ((uint32_t)(uint16_t)(CXN_PAD_FILL) * 0x00010001U)
