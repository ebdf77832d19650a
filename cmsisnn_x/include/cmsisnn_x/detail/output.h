/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The output of an instance that has one factor for all of them:
 *     output(x) = clamp(rescale(x; MULTIPLIER, EXPONENT) + OUTPUT_ZERO_POINT, OUT_MIN, OUT_MAX)                  rescale.h
 * CXN_IS_SMALL, defined before the include, is 1 where |x| <= 2^29.
 */
#include "clamp.h"
#include "rescale.h"

#if CXN_GET(MULTIPLIER) < 0 || CXN_GET(EXPONENT) < -31 || CXN_GET(EXPONENT) > 30
#error "MULTIPLIER, EXPONENT: legal values are 0 .. 2^31 - 1 and -31..30"
#endif

CXN_INLINE int32_t CXN_LOCAL(output)(int32_t x)
{
    if (CXN_IS_SMALL && CXN_IS_RIGHT(CXN_GET(MULTIPLIER), CXN_GET(EXPONENT))) {
        const cxn_right_factor factor =
            cxn_right_factor_of(CXN_GET(MULTIPLIER), -CXN_GET(EXPONENT) - 1, CXN_GET(OUTPUT_ZERO_POINT));
        return CXN_LOCAL(clamp_half)(cxn_rescale_right(x, factor));
    }
    return CXN_LOCAL(clamp)(cxn_rescale(x, CXN_GET(MULTIPLIER), CXN_GET(EXPONENT)) + CXN_GET(OUTPUT_ZERO_POINT));
}
