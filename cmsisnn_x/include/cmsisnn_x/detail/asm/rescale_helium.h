/* SPDX-License-Identifier: Apache-2.0 */
/*
 * output.h of products of two elements (CXN_TURN_PAIR 1; LEFT_ZERO_POINT, RIGHT_ZERO_POINT), or of elements less INPUT_ZERO_POINT (0), in
 * vectors (Helium), sixteen a turn, even and odd ones of eight each in 32 bits. A comparison and a subtraction round halves away from zero,
 * as comparisons have a pipe of their own on M85, and that of products on M55.
 * Gives CXN_LOCAL(sixteens)(input, other, output, turns). Output may be an input. Include behind output.h.
 */
#if CXN_GET(IN_BITS) == 8
#define CXN_TURN_GET(x, p) "vldrb.s16 " x ", [%[" p "]], #8\n\t"
#else
#define CXN_TURN_GET(x, p) "vldrb.8 " x ", [%[" p "]], #16\n\t"
#endif
#if CXN_TURN_PAIR
#define CXN_TURN_OTHER(x) CXN_TURN_GET(x, "b")
#define CXN_TURN_EVEN(c, a, b) "vmullb.s16 " c ", " a ", " b "\n\t"
#define CXN_TURN_ODD(a, b) "vmullt.s16 " a ", " a ", " b "\n\t"
#if CXN_GET(LEFT_ZERO_POINT)
#define CXN_TURN_LEFT(x) "vsub.i16 " x ", " x ", %[left]\n\t"
#define CXN_TURN_ON_LEFT [left] "r"(CXN_GET(LEFT_ZERO_POINT)),
#endif
#if CXN_GET(RIGHT_ZERO_POINT)
#define CXN_TURN_RIGHT(x) "vsub.i16 " x ", " x ", %[right]\n\t"
#define CXN_TURN_ON_RIGHT [right] "r"(CXN_GET(RIGHT_ZERO_POINT)),
#endif
#else
#define CXN_TURN_OTHER(x)
#if CXN_GET(IN_BITS) == 8 || CXN_GET(INPUT_ZERO_POINT) == 0
#define CXN_TURN_EVEN(c, a, b) "vmovlb.s16 " c ", " a "\n\t"
#define CXN_TURN_ODD(a, b) "vmovlt.s16 " a ", " a "\n\t"
#else
#define CXN_TURN_EVEN(c, a, b) "vmovlb.s16 " c ", " a "\n\tvsub.i32 " c ", " c ", %[left]\n\t"
#define CXN_TURN_ODD(a, b) "vmovlt.s16 " a ", " a "\n\tvsub.i32 " a ", " a ", %[left]\n\t"
#endif
#if CXN_GET(INPUT_ZERO_POINT)
#define CXN_TURN_ON_LEFT [left] "r"(CXN_GET(INPUT_ZERO_POINT)),
#if CXN_GET(IN_BITS) == 8
#define CXN_TURN_LEFT(x) "vsub.i16 " x ", " x ", %[left]\n\t"
#endif
#endif
#endif
#ifndef CXN_TURN_LEFT
#define CXN_TURN_LEFT(x)
#endif
#ifndef CXN_TURN_ON_LEFT
#define CXN_TURN_ON_LEFT
#endif
#ifndef CXN_TURN_RIGHT
#define CXN_TURN_RIGHT(x)
#define CXN_TURN_ON_RIGHT
#endif
#if CXN_GET(EXPONENT) > 0
#define CXN_TURN_UP(x) "vshl.i32 " x ", " x ", #" CXN_STRING(CXN_GET(EXPONENT)) "\n\t"
#else
#define CXN_TURN_UP(x)
#endif
#if CXN_GET(EXPONENT) < 0
#define CXN_TURN_AWAY(x) "vpt.s32 lt, " x ", zr\n\tvsubt.i32 " x ", " x ", %[one]\n\t"
#define CXN_TURN_DOWN(x) "vrshr.s32 " x ", " x ", #0 - " CXN_STRING(CXN_GET(EXPONENT)) "\n\t"
#else
#define CXN_TURN_AWAY(x)
#define CXN_TURN_DOWN(x)
#endif
#define CXN_TURN_FIRST(x) CXN_TURN_UP(x) "vqrdmulh.s32 " x ", " x ", %[multiplier]\n\t"
/* As output.h has it: to 16 bits first where outputs have 8. */
#if CXN_GET(OUTPUT_ZERO_POINT) && CXN_OUT_BITS == 16
#define CXN_TURN_ZERO_32(x) "vqadd.s32 " x ", " x ", %[zero]\n\t"
#else
#define CXN_TURN_ZERO_32(x)
#endif
#if CXN_GET(OUTPUT_ZERO_POINT) && CXN_OUT_BITS == 8
#define CXN_TURN_ZERO_16(x) "vqadd.s16 " x ", " x ", %[zero]\n\t"
#else
#define CXN_TURN_ZERO_16(x)
#endif
#if CXN_GET(OUTPUT_ZERO_POINT)
#define CXN_TURN_ON_ZERO [zero] "r"(CXN_GET(OUTPUT_ZERO_POINT)),
#else
#define CXN_TURN_ON_ZERO
#endif
#if CXN_FULL_RANGE
#define CXN_TURN_LIMITS
#define CXN_TURN_BOUNDS
#if CXN_OUT_BITS == 8
#define CXN_TURN_CLAMP(x) "vqmovnb.s16 " x ", " x "\n\t"
#else
#define CXN_TURN_CLAMP(x)
#endif
#else
#define CXN_TURN_LIMITS "vdup.16 q6, %[low]\n\tvdup.16 q7, %[high]\n\t"
#define CXN_TURN_BOUNDS [low] "r"(CXN_OUT_MIN), [high] "r"(CXN_OUT_MAX),
#define CXN_TURN_CLAMP(x) "vmax.s16 " x ", " x ", q6\n\tvmin.s16 " x ", " x ", q7\n\t"
#endif
#define CXN_TURN_NARROW(half, c, x) "vqmovn" half ".s32 " c ", " x "\n\t"
#if CXN_OUT_BITS == 8
#define CXN_TURN_PUT(x) "vstrb.16 " x ", [%[out]], #8\n\t"
#else
#define CXN_TURN_PUT(x) "vstrb.8 " x ", [%[out]], #16\n\t"
#endif

CXN_INLINE void CXN_LOCAL(sixteens)(const CXN_IN_T *input, const CXN_IN_T *other, CXN_OUT_T *output, int32_t turns)
{
    __asm__ volatile(CXN_TURN_LIMITS "wls lr, %[turns], 2f\n\t.p2align 2\n1:\n\t"
        CXN_TURN_OTHER("q1") CXN_TURN_RIGHT("q1") CXN_TURN_GET("q0", "a") CXN_TURN_LEFT("q0") CXN_TURN_EVEN("q2", "q0", "q1")
        CXN_TURN_OTHER("q4") CXN_TURN_FIRST("q2") CXN_TURN_RIGHT("q4") CXN_TURN_AWAY("q2") CXN_TURN_ODD("q0", "q1") CXN_TURN_DOWN("q2")
        CXN_TURN_FIRST("q0") CXN_TURN_ZERO_32("q2") CXN_TURN_NARROW("b", "q2", "q2") CXN_TURN_AWAY("q0")
        CXN_TURN_GET("q3", "a") CXN_TURN_LEFT("q3") CXN_TURN_EVEN("q5", "q3", "q4") CXN_TURN_DOWN("q0") CXN_TURN_FIRST("q5")
        CXN_TURN_ZERO_32("q0") CXN_TURN_NARROW("t", "q2", "q0") CXN_TURN_AWAY("q5") CXN_TURN_DOWN("q5") CXN_TURN_ODD("q3", "q4")
        CXN_TURN_ZERO_16("q2") CXN_TURN_FIRST("q3") CXN_TURN_ZERO_32("q5") CXN_TURN_NARROW("b", "q5", "q5")
        CXN_TURN_AWAY("q3") CXN_TURN_DOWN("q3") CXN_TURN_ZERO_32("q3") CXN_TURN_NARROW("t", "q5", "q3")
        CXN_TURN_CLAMP("q2") CXN_TURN_ZERO_16("q5") CXN_TURN_PUT("q2") CXN_TURN_CLAMP("q5") CXN_TURN_PUT("q5")
        "le lr, 1b\n2:\n\t"
        : [a] "+l"(input), [b] "+l"(other), [out] "+l"(output)
        : CXN_TURN_ON_LEFT CXN_TURN_ON_RIGHT CXN_TURN_ON_ZERO CXN_TURN_BOUNDS
          [multiplier] "r"(CXN_GET(MULTIPLIER)), [one] "r"(1), [turns] "r"(turns)
        : CXN_CLOBBERS_VPR "q0", "q1", "q2", "q3", "q4", "q5", "q6", "q7", "lr", "cc", "memory");
}

#undef CXN_TURN_PAIR
#undef CXN_TURN_GET
#undef CXN_TURN_LEFT
#undef CXN_TURN_RIGHT
#undef CXN_TURN_EVEN
#undef CXN_TURN_ODD
#undef CXN_TURN_OTHER
#undef CXN_TURN_FIRST
#undef CXN_TURN_AWAY
#undef CXN_TURN_DOWN
#undef CXN_TURN_UP
#undef CXN_TURN_ZERO_32
#undef CXN_TURN_ZERO_16
#undef CXN_TURN_CLAMP
#undef CXN_TURN_LIMITS
#undef CXN_TURN_BOUNDS
#undef CXN_TURN_NARROW
#undef CXN_TURN_PUT
#undef CXN_TURN_ON_LEFT
#undef CXN_TURN_ON_RIGHT
#undef CXN_TURN_ON_ZERO
