/* SPDX-License-Identifier: Apache-2.0 */
/* The range of the output of one affine instance, OUT_MIN .. OUT_MAX, a fused activation in it. Include after intrinsics.h. */
#define CXN_OUT_MIN (CXN_GET(OUT_MIN))
#define CXN_OUT_MAX (CXN_GET(OUT_MAX))
#if CXN_GET(OUT_MIN) < -(1 << (CXN_OUT_BITS - 1)) || CXN_GET(OUT_MAX) >= (1 << (CXN_OUT_BITS - 1)) || CXN_GET(OUT_MIN) > CXN_GET(OUT_MAX)
#error "OUT_MIN, OUT_MAX: legal values are those of OUT_BITS, OUT_MIN not above OUT_MAX"
#endif
#if CXN_GET(OUT_MIN) == -(1 << (CXN_OUT_BITS - 1)) && CXN_GET(OUT_MAX) == (1 << (CXN_OUT_BITS - 1)) - 1
#define CXN_FULL_RANGE 1
#else
#define CXN_FULL_RANGE 0
#endif

CXN_INLINE int32_t CXN_LOCAL(clamp)(int32_t x)
{
#if CXN_SATURATE && CXN_FULL_RANGE && CXN_OUT_BITS == 8
    __asm__("ssat %0, #8, %0" : "+r"(x));
    return x;
#elif CXN_SATURATE && CXN_FULL_RANGE
    __asm__("ssat %0, #16, %0" : "+r"(x));
    return x;
#elif CXN_FULL_RANGE
    return x == (CXN_OUT_T)x ? x : (x >> 31) ^ CXN_OUT_MAX;
#else
    return x < CXN_OUT_MIN ? CXN_OUT_MIN : x > CXN_OUT_MAX ? CXN_OUT_MAX : x;
#endif
}

/* clamp(x >> 1) */
CXN_INLINE int32_t CXN_LOCAL(clamp_half)(int32_t x)
{
#if CXN_SATURATE && CXN_FULL_RANGE && CXN_OUT_BITS == 8
    __asm__("ssat %0, #8, %0, asr #1" : "+r"(x));
    return x;
#elif CXN_SATURATE && CXN_FULL_RANGE
    __asm__("ssat %0, #16, %0, asr #1" : "+r"(x));
    return x;
#else
    return CXN_LOCAL(clamp)(x >> 1);
#endif
}
