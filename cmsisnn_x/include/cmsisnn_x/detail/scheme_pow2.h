/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The requantise epilogue of one kernel instance, apart from the loops so that another scheme can take its place:
 *     acc = (bias << BIAS_SHIFT) + round(OUT_SHIFT) + sum          modulo 2^32
 *     out = clamp(acc >> OUT_SHIFT)                                to the output type; to 0 and up when RELU is 1
 * with round(s) = 2^(s-1), 0 for s = 0. The accumulator starts with CXN_ACC_INIT(bias); CXN_REQUANTISE(acc) ends it.
 * Include after config.h and intrinsics.h.
 */
#define CXN_ROUND_TERM ((uint32_t)((1ULL << CXN_GET(OUT_SHIFT)) >> 1))
#define CXN_ACC_INIT(bias) ((int32_t)(((uint32_t)(int32_t)(bias) << CXN_GET(BIAS_SHIFT)) + CXN_ROUND_TERM))

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
#if CXN_GET(RELU) && CXN_GET(IN_BITS) == 8
    __asm__("usat %0, #7, %1" CXN_SHIFT_TEXT : "=r"(out) : "r"(acc));
#elif CXN_GET(RELU)
    __asm__("usat %0, #15, %1" CXN_SHIFT_TEXT : "=r"(out) : "r"(acc));
#elif CXN_GET(IN_BITS) == 8
    __asm__("ssat %0, #8, %1" CXN_SHIFT_TEXT : "=r"(out) : "r"(acc));
#else
    __asm__("ssat %0, #16, %1" CXN_SHIFT_TEXT : "=r"(out) : "r"(acc));
#endif
#undef CXN_SHIFT_TEXT
    return out;
#else
    const int32_t high = CXN_GET(IN_BITS) == 8 ? 127 : 32767;
    const int32_t low = CXN_GET(RELU) ? 0 : -high - 1;
    const int32_t out = acc >> CXN_GET(OUT_SHIFT);
    return out < low ? low : out > high ? high : out;
#endif
}

#define CXN_REQUANTISE(acc) CXN_LOCAL(requantise)(acc)
