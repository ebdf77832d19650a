/* SPDX-License-Identifier: Apache-2.0 */
/* clamp.h and its like in vectors (Helium): elements of one instance inside OUT_MIN .. OUT_MAX. Include after what has these. */
#include <arm_mve.h>

CXN_INLINE int16x8_t CXN_LOCAL(clamp_halves)(int16x8_t x)
{
#if CXN_OUT_MIN > -32768
    x = vmaxq_s16(x, vdupq_n_s16(CXN_OUT_MIN));
#endif
#if CXN_OUT_MAX < 32767
    x = vminq_s16(x, vdupq_n_s16(CXN_OUT_MAX));
#endif
    return x;
}

#if CXN_OUT_BITS == 8
CXN_INLINE int8x16_t CXN_LOCAL(clamp_bytes)(int8x16_t x)
{
#if CXN_OUT_MIN > -128
    x = vmaxq_s8(x, vdupq_n_s8(CXN_OUT_MIN));
#endif
#if CXN_OUT_MAX < 127
    x = vminq_s8(x, vdupq_n_s8(CXN_OUT_MAX));
#endif
    return x;
}
#endif
