/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The scheme of powers of two (scheme.h), CMSIS-NN's q7 and q15:
 *     acc = (bias << BIAS_SHIFT) + round(OUT_SHIFT) + sum          modulo 2^32
 *     out = clamp(acc >> OUT_SHIFT, OUT_MIN, OUT_MAX)
 * with round(s) = 2^(s-1), 0 for s = 0. A channel's record is its bias, in the type of the weights.
 */
#if CXN_GET(BIAS_SHIFT) < 0 || CXN_GET(BIAS_SHIFT) > 31
#error "BIAS_SHIFT: legal values are 0..31"
#endif
#if CXN_GET(OUT_SHIFT) < 0 || CXN_GET(OUT_SHIFT) > 31
#error "OUT_SHIFT: legal values are 0..31"
#endif
#if CXN_GET(OUT_MAX) != (1 << (CXN_GET(IN_BITS) - 1)) - 1
#error "OUT_MAX: legal values are 127 with IN_BITS 8 and 32767 with IN_BITS 16"
#endif
#if CXN_GET(OUT_MIN) != 0 && CXN_GET(OUT_MIN) != -CXN_GET(OUT_MAX) - 1
#error "OUT_MIN: legal values are 0 and -OUT_MAX - 1"
#endif

#if CXN_GET(WEIGHT_BITS) == 8
#define CXN_CHANNEL_T int8_t
#else
#define CXN_CHANNEL_T int16_t
#endif
#define CXN_OUT_MIN (CXN_GET(OUT_MIN))
#define CXN_OUT_MAX (CXN_GET(OUT_MAX))
#define CXN_PAD_FILL 0
#define CXN_PAD(to, count) CXN_MEMSET(to, 0, (count) * 2)

#define CXN_ROUND_TERM ((uint32_t)((1ULL << CXN_GET(OUT_SHIFT)) >> 1))
#define CXN_ACC_INIT(channel) ((int32_t)(((uint32_t)(int32_t)*(channel) << CXN_GET(BIAS_SHIFT)) + CXN_ROUND_TERM))
/* The same for every channel: its address is not even computed. */
#define CXN_FACTOR_T const CXN_CHANNEL_T *
#define CXN_FACTOR(channel) (channel)
#define CXN_REQUANTISE(acc, factor) ((void)(factor), CXN_LOCAL(requantise)(acc))
#define CXN_CHANNEL_FIRST 0

CXN_INLINE int32_t CXN_LOCAL(requantise)(int32_t acc)
{
#if CXN_SATURATE
    int32_t out;
    /* One instruction shifts and saturates; USAT one bit below the sign folds the ReLU. */
#if CXN_GET(OUT_SHIFT) == 0
#define CXN_SHIFT_TEXT ""
#else
#define CXN_SHIFT_TEXT ", asr #" CXN_STRING(CXN_GET(OUT_SHIFT))
#endif
#if CXN_OUT_MIN == 0 && CXN_OUT_MAX == 127
    __asm__("usat %0, #7, %1" CXN_SHIFT_TEXT : "=r"(out) : "r"(acc));
#elif CXN_OUT_MIN == 0
    __asm__("usat %0, #15, %1" CXN_SHIFT_TEXT : "=r"(out) : "r"(acc));
#elif CXN_OUT_MAX == 127
    __asm__("ssat %0, #8, %1" CXN_SHIFT_TEXT : "=r"(out) : "r"(acc));
#else
    __asm__("ssat %0, #16, %1" CXN_SHIFT_TEXT : "=r"(out) : "r"(acc));
#endif
#undef CXN_SHIFT_TEXT
    return out;
#else
    const int32_t out = acc >> CXN_GET(OUT_SHIFT);
    return out < CXN_OUT_MIN ? CXN_OUT_MIN : out > CXN_OUT_MAX ? CXN_OUT_MAX : out;
#endif
}
