/* SPDX-License-Identifier: Apache-2.0 */
/*
 *     out[i] = clamp(maximum(a[i], b[i mod PERIOD]), OUT_MIN, OUT_MAX)                                output may be an input that is as long
 *     static void CXN_KERNEL(const IN *input, const IN *other, OUT *output, void *scratch);        no scratch
 * The tensors have one scale and zero point. INPUT_ALIGNED speaks for both inputs.
 */
#include "config.h"
#include "detail/intrinsics.h"
#include "detail/clamp.h"

#if CXN_HELIUM
#define CXN_PAIR_EXTREME "vmax"
#include "detail/asm/extreme_helium.h"
#else
CXN_INLINE int32_t CXN_LOCAL(pair)(int32_t a, int32_t b)
{
    const int32_t larger = a > b ? a : b;
    return CXN_FULL_RANGE ? larger : CXN_LOCAL(clamp)(larger);
}

#include "detail/pair.h"
#endif
#include "detail/undef.h"
