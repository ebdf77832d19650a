/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the quantisation scheme of one instance gives its kernel: how an accumulator starts, how it becomes an output, what padding holds.
 * Nothing else in a kernel depends on the scheme. The header included below defines
 *     CXN_CHANNEL_T                  the record of one output channel; a kernel gets an array of them, `channels`
 *     CXN_ACC_INIT(channel)          const CXN_CHANNEL_T * -> int32_t, an accumulator before its first product
 *     CXN_FACTOR_T                   what requantising takes of a channel: CXN_FACTOR(channel), made once for its outputs of a block
 *     CXN_REQUANTISE(acc, factor)    a finished accumulator -> int32_t in CXN_OUT_MIN .. CXN_OUT_MAX
 *     CXN_CHANNEL_FIRST              1 where the outputs of a channel are finished one after the other, so that its factor stays in registers
 *     CXN_OUT_MIN, CXN_OUT_MAX       the range of the output; a ReLU is in it
 *     CXN_PAD_FILL                   the integer that stands for zero in the input
 *     CXN_PAD(to, count)             writes `count` elements of 16 bits of padding at `to`
 * Include after config.h and intrinsics.h.
 */
#if CXN_GET(SCHEME) == CXN_SCHEME_AFFINE
#include "scheme_affine.h"
#else
#include "scheme_pow2.h"
#endif

/* Four elements of padding of 8 bits in a word, and two of 16. */
#define CXN_PAD_BYTES ((uint32_t)(uint8_t)(CXN_PAD_FILL) * 0x01010101U)
#define CXN_PAD_PAIR ((uint32_t)(uint16_t)(CXN_PAD_FILL) * 0x00010001U)
