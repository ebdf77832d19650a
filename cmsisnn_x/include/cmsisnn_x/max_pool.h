/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Maximum over the window, clipped to the image:
 *     out[y][x][c] = max over the elements of in[y STRIDE_Y - PAD_TOP + m][x STRIDE_X - PAD_LEFT + n][c] that exist
 *     static void CXN_KERNEL(const IN *input, OUT *output, void *scratch);        no scratch
 * An affine layer clamps to OUT_MIN .. OUT_MAX. OUT_H and OUT_W are given: ceil_mode only changes them. Four bytes or two halves are compared at once (SSUB8 and SEL, or the same in C).
 */
#include "config.h"
#include "detail/intrinsics.h"
#include "detail/lanes.h"
#include "detail/pool_range.h"

#define CXN_POOL_IS_MAX 1
#define CXN_POOL_T uint32_t
#define CXN_POOL_WORDS CXN_WORD_READS

CXN_INLINE uint32_t CXN_LOCAL(begin)(uint32_t x, int lanes)
{
    (void)lanes;
    return x;
}

CXN_INLINE uint32_t CXN_LOCAL(extend)(uint32_t sum, uint32_t x, int lanes)
{
    return CXN_LOCAL(max_lanes)(sum, x, lanes);
}

CXN_INLINE uint32_t CXN_LOCAL(join)(uint32_t sum, uint32_t other, int lanes)
{
    return CXN_LOCAL(max_lanes)(sum, other, lanes);
}

CXN_INLINE uint32_t CXN_LOCAL(scale)(int count)
{
    (void)count;
    return 0;
}

CXN_INLINE uint32_t CXN_LOCAL(finish)(uint32_t sum, int count, uint32_t scale, int lanes)
{
    (void)count;
    (void)scale;
    return CXN_POOL_CLAMP(sum, lanes);
}

#include "detail/pool.h"
#include "detail/lanes_undef.h"
#include "detail/undef.h"
