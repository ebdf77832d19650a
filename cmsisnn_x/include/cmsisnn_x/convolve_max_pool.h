/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Convolution with the maximum pooling behind it, the image between them never stored as a whole (convolve_band.h): what convolve.h
 * and max_pool.h compute one after the other, in less memory. Included after
 *     #define CXN_CONVOLVE_LAYER CIFAR10_CONV1    prefix of the convolution's macros; SCRATCH_BYTES has room for the band
 *     #define CXN_POOL_LAYER CIFAR10_POOL1        prefix of the pooling's macros
 *     #define CXN_PAIR cifar10_pair_kernel        name of the static function to define, with the parameters of convolve.h
 */
#include "config.h"
#define CXN_POOL_FUSED 1
#if CXN_PASTE3(CXN_CONVOLVE_LAYER, _, LOWERING) == CXN_LOWERING_WINOGRAD
#define CXN_POOL_BY_COLUMNS 1
#endif
#define CXN_LAYER CXN_POOL_LAYER
#define CXN_KERNEL CXN_PASTE2(CXN_PAIR, _pool)
#include "max_pool.h"
#undef CXN_POOL_BY_COLUMNS

#define CXN_LAYER CXN_CONVOLVE_LAYER
#define CXN_KERNEL CXN_PAIR
#include "convolve.h"
#undef CXN_POOL_FUSED
#undef CXN_CONVOLVE_LAYER
#undef CXN_POOL_LAYER
#undef CXN_PAIR
