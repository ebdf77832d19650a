/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Four outputs of one channel from accumulators in general registers, as text for assembly (Helium); those of four channels: helium_finish.h.
 * What outputs take of the channel stays in general registers. Include after scheme.h.
 *     CXN_LOCAL(scalars)(channel)     that, of a channel's record
 *     CXN_H_TAKE                      %[a0] .. %[a3] -> q3
 *     CXN_H_1 .. CXN_H_7              the steps from there to outputs in the low bytes of q3, some of them empty, to be woven with other
 *                                     instructions that leave q3 alone;
 *                                     up to CXN_H_2 they overwrite q0
 *     CXN_H_REGISTERS(s)              declares the registers that they take, of `s` as above: r8, r10, r12
 *     CXN_H_SCALARS                   these as operands; besides, %[t] is a register that they overwrite
 * A product by a scalar is VQDMULH, twice that of CXN_RESCALE_SINGLE: its offset and its shift are one bit more.
 */
#define CXN_H_TAKE "vmov q3[2], q3[0], %[a0], %[a2]\n\tvmov q3[3], q3[1], %[a1], %[a3]\n\t"
/* VQSHRNB.S32 q3, q3, #n, VQSHRUNB.S32 q3, q3, #n and VQSHRUNB.S16 q3, q3, #8 as numbers: of binutils 2.40 they round. */
#define CXN_H_NARROW(n) ".inst.w 0xee806f46+((32-(" n "))<<16)\n\t"
#define CXN_H_UNSIGNED(n) ".inst.w 0xee806fc6+((32-(" n "))<<16)\n\t"
#define CXN_H_NARROW_8 ".inst.w 0xee886fc6\n\t"
#define CXN_H_1 "vadd.i32 q3, q3, %[start]\n\t"

typedef struct {
    int32_t start, factor, last;
} CXN_LOCAL(scalars_of);

#if CXN_GET(SCHEME) != CXN_SCHEME_AFFINE
CXN_INLINE CXN_LOCAL(scalars_of) CXN_LOCAL(scalars)(const CXN_CHANNEL_T *channel)
{
    const CXN_LOCAL(scalars_of) s = {CXN_ACC_INIT(channel), 0, 0};
    return s;
}
#define CXN_H_REGISTERS(s) register int32_t start __asm__("r8") = (s).start;
#define CXN_H_SCALARS [start] "r"(start)
#define CXN_H_2
#define CXN_H_4
#define CXN_H_5
#define CXN_H_7
#define CXN_H_SHIFT CXN_GET(OUT_SHIFT)
#if CXN_OUT_BITS == 16 && CXN_OUT_MIN == 0
/* With a ReLU one bit more, without a sign. */
#if CXN_H_SHIFT == 0
#define CXN_H_3 "vqshl.s32 q3, q3, #1\n\tvqmovunb.s32 q3, q3\n\t"
#elif CXN_H_SHIFT == 1
#define CXN_H_3 "vqmovunb.s32 q3, q3\n\t"
#elif CXN_H_SHIFT <= 17
#define CXN_H_3 CXN_H_UNSIGNED(CXN_STRING(CXN_H_SHIFT) "-1")
#else
#define CXN_H_3 "vshr.s32 q3, q3, #" CXN_STRING(CXN_H_SHIFT) "-17\n\t" CXN_H_UNSIGNED("16")
#endif
#define CXN_H_6 "vshr.u16 q3, q3, #1\n\t"
#else
/* To 16 bits, of 8 with a ReLU eight more than that: those that are too many there are too many as outputs, and those below zero none. */
#if CXN_OUT_BITS == 16
#define CXN_H_MORE_BITS 0
#define CXN_H_6
#elif CXN_OUT_MIN == 0
#define CXN_H_MORE_BITS 8
#define CXN_H_6 CXN_H_NARROW_8
#else
#define CXN_H_MORE_BITS 0
#define CXN_H_6 "vqmovnb.s16 q3, q3\n\t"
#endif
#if CXN_H_SHIFT < CXN_H_MORE_BITS
#define CXN_H_3 "vqshl.s32 q3, q3, #" CXN_STRING(CXN_H_MORE_BITS) "-" CXN_STRING(CXN_H_SHIFT) "\n\tvqmovnb.s32 q3, q3\n\t"
#elif CXN_H_SHIFT == CXN_H_MORE_BITS
#define CXN_H_3 "vqmovnb.s32 q3, q3\n\t"
#elif CXN_H_SHIFT <= CXN_H_MORE_BITS + 16
#define CXN_H_3 CXN_H_NARROW(CXN_STRING(CXN_H_SHIFT) "-" CXN_STRING(CXN_H_MORE_BITS))
#else
#define CXN_H_3 "vshr.s32 q3, q3, #" CXN_STRING(CXN_H_SHIFT) "-16-" CXN_STRING(CXN_H_MORE_BITS) "\n\t" CXN_H_NARROW("16")
#endif
#endif

#else
#define CXN_H_6 "vqmovnb.s16 q3, q3\n\t"
/* Bounds inside the 8 bits, by sums that saturate and come back. */
#define CXN_H_BYTE(text, value) "movw %[t], #(" CXN_STRING(value) ")&255\n\t" text "8 q3, q3, %[t]\n\t"
#if CXN_FULL_RANGE
#define CXN_H_7
#else
#if CXN_GET(OUT_MIN) == -128
#define CXN_H_LOW
#elif CXN_GET(OUT_MIN) <= 0
#define CXN_H_LOW CXN_H_BYTE("vqadd.s", -128-(CXN_GET(OUT_MIN))) CXN_H_BYTE("vsub.i", -128-(CXN_GET(OUT_MIN)))
#else
#define CXN_H_LOW CXN_H_BYTE("vqadd.s", -128) CXN_H_BYTE("vqadd.s", -(CXN_GET(OUT_MIN))) CXN_H_BYTE("vsub.i", -128-(CXN_GET(OUT_MIN)))
#endif
#if CXN_GET(OUT_MAX) == 127
#define CXN_H_HIGH
#elif CXN_GET(OUT_MAX) >= 0
#define CXN_H_HIGH CXN_H_BYTE("vqadd.s", 127-(CXN_GET(OUT_MAX))) CXN_H_BYTE("vsub.i", 127-(CXN_GET(OUT_MAX)))
#else
#define CXN_H_HIGH                                                                                                     \
    CXN_H_BYTE("vqadd.s", 64) CXN_H_BYTE("vqadd.s", 64) CXN_H_BYTE("vqadd.s", -1-(CXN_GET(OUT_MAX)))                   \
    CXN_H_BYTE("vsub.i", 127-(CXN_GET(OUT_MAX)))
#endif
#define CXN_H_7 CXN_H_LOW CXN_H_HIGH
#endif

#define CXN_H_REGISTERS(s)                                                                                             \
    register int32_t start __asm__("r8") = (s).start, factor __asm__("r10") = (s).factor, last __asm__("r12") = (s).last;
#define CXN_H_SCALARS [start] "r"(start), [factor] "r"(factor), [last] "r"(last)
#if CXN_GET(RESCALE) == CXN_RESCALE_SINGLE
#if CXN_GET(RESCALE_SHIFT) > 15
#error "RESCALE_SHIFT: legal values with CXN_INNER_HELIUM are 1..15"
#endif
CXN_INLINE CXN_LOCAL(scalars_of) CXN_LOCAL(scalars)(const CXN_CHANNEL_T *channel)
{
    const CXN_LOCAL(scalars_of) s = {channel->start, channel->factor, channel->offset * 2};
    return s;
}
#define CXN_H_2 "vqdmulh.s32 q3, q3, %[factor]\n\t"
#define CXN_H_3 "vadd.i32 q3, q3, %[last]\n\t"
#define CXN_H_4 CXN_H_NARROW(CXN_STRING(CXN_GET(RESCALE_SHIFT)) "+1")
#define CXN_H_5
#elif CXN_GET(RESCALE) == CXN_RESCALE_RIGHT || CXN_GET(RESCALE) == CXN_RESCALE_FAR || CXN_GET(RESCALE) == CXN_RESCALE_ANY
CXN_INLINE CXN_LOCAL(scalars_of) CXN_LOCAL(scalars)(const CXN_CHANNEL_T *channel)
{
#if CXN_GET(RESCALE) == CXN_RESCALE_ANY
    const CXN_LOCAL(scalars_of) s = {channel->start, channel->multiplier, channel->shift};
#else
    const CXN_LOCAL(scalars_of) s = {channel->start, channel->multiplier, -channel->shift - 1};
#endif
    return s;
}
/* Halves go away from zero: below it one less is rounded, where anything is shifted. */
#if CXN_GET(RESCALE) == CXN_RESCALE_ANY
#define CXN_H_2 "bic %[t], %[last], %[last], asr #31\n\tvshl.s32 q3, %[t]\n\tvqrdmulh.s32 q3, q3, %[factor]\n\t"
#define CXN_H_3 "lsr %[t], %[last], #31\n\tvpt.s32 lt, q3, zr\n\tvsubt.i32 q3, q3, %[t]\n\t"
#define CXN_H_4 "and %[t], %[last], %[last], asr #31\n\tvrshl.s32 q3, %[t]\n\t"
#else
#define CXN_H_2 "vqrdmulh.s32 q3, q3, %[factor]\n\tvshr.s32 q0, q3, #31\n\tvadd.i32 q3, q3, q0\n\t"
#define CXN_H_3
#define CXN_H_4 "vrshl.s32 q3, %[last]\n\t"
#endif
#if CXN_GET(OUTPUT_ZERO_POINT) == 0
#define CXN_H_5 "vqmovnb.s32 q3, q3\n\t"
#else
/* In 16 bits: what does not fit them saturates, and would. */
#define CXN_H_5 "vqmovnb.s32 q3, q3\n\tmovw %[t], #(" CXN_STRING(CXN_GET(OUTPUT_ZERO_POINT)) ")&65535\n\tvqadd.s16 q3, q3, %[t]\n\t"
#endif
#else
#error "RESCALE: legal values with CXN_INNER_HELIUM are CXN_RESCALE_SINGLE, _RIGHT, _FAR and _ANY"
#endif
#endif
