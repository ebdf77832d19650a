/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Four outputs of one channel, CXN_FINISH_STEP elements apart: finish(a, b, c, d, factor, out). The usual affine ones are written out in
 * assembly, in an order that keeps two instructions a cycle running where a core can: results of multiplies and stores wait for each other
 * in the compiler's order (M7: 8 or 12 cycles for four, by one rounding or two).
 */
#if CXN_DSP && CXN_GET(SCHEME) == CXN_SCHEME_AFFINE
#if CXN_GET(RESCALE) <= CXN_RESCALE_FAR && CXN_GET(RESCALE) != CXN_RESCALE_RIGHT && CXN_FULL_RANGE && CXN_OUT_BITS == 8 && \
    3 * (CXN_FINISH_STEP) <= 4095
#define CXN_FINISH_ASM CXN_GET(RESCALE)
#endif
#endif
CXN_INLINE void CXN_LOCAL(finish)(int32_t a, int32_t b, int32_t c, int32_t d, CXN_FACTOR_T factor, CXN_OUT_T *out)
{
#if defined(CXN_FINISH_ASM) && CXN_FINISH_ASM == CXN_RESCALE_SINGLE
#define CXN_FINISH_SSAT(x) "ssat %[" x "], #8, %[" x "], asr #" CXN_STRING(CXN_GET(RESCALE_SHIFT)) "\n\t"
    __asm__ volatile(
        "smmla %[a], %[a], %[f], %[o]\n\t"
        "smmla %[b], %[b], %[f], %[o]\n\t"
        CXN_FINISH_SSAT("a")
        "smmla %[c], %[c], %[f], %[o]\n\t"
        CXN_FINISH_SSAT("b")
        "smmla %[d], %[d], %[f], %[o]\n\t"
        CXN_FINISH_SSAT("c")
        "strb %[a], [%[out]]\n\t"
        CXN_FINISH_SSAT("d")
        "strb %[b], [%[out], %[one]]\n\t"
        "strb %[c], [%[out], %[two]]\n\t"
        "strb %[d], [%[out], %[three]]"
        : [a] "+&r"(a), [b] "+&r"(b), [c] "+&r"(c), [d] "+&r"(d)
        : [f] "r"(factor.factor), [o] "r"(factor.offset), [out] "r"(out), [one] "i"(CXN_FINISH_STEP),
          [two] "i"(2 * (CXN_FINISH_STEP)), [three] "i"(3 * (CXN_FINISH_STEP))
        : "memory");
#undef CXN_FINISH_SSAT
#elif defined(CXN_FINISH_ASM)
    __asm__ volatile(
        "smmlar %[a], %[a], %[f], %[a]\n\t"
        "smmlar %[b], %[b], %[f], %[b]\n\t"
        "smmlar %[c], %[c], %[f], %[c]\n\t"
        "add %[a], %[a], %[a], asr #31\n\t"
        "smmlar %[d], %[d], %[f], %[d]\n\t"
        "add %[b], %[b], %[b], asr #31\n\t"
        "smmlar %[a], %[a], %[p], %[z]\n\t"
        "add %[c], %[c], %[c], asr #31\n\t"
        "smmlar %[b], %[b], %[p], %[z]\n\t"
        "add %[d], %[d], %[d], asr #31\n\t"
        "ssat %[a], #8, %[a]\n\t"
        "smmlar %[c], %[c], %[p], %[z]\n\t"
        "ssat %[b], #8, %[b]\n\t"
        "smmlar %[d], %[d], %[p], %[z]\n\t"
        "ssat %[c], #8, %[c]\n\t"
        "strb %[a], [%[out]]\n\t"
        "ssat %[d], #8, %[d]\n\t"
        "strb %[b], [%[out], %[one]]\n\t"
        "strb %[c], [%[out], %[two]]\n\t"
        "strb %[d], [%[out], %[three]]"
        : [a] "+&r"(a), [b] "+&r"(b), [c] "+&r"(c), [d] "+&r"(d)
        : [f] "r"(factor.factor), [p] "r"(factor.power), [z] "r"(factor.zero_point), [out] "r"(out), [one] "i"(CXN_FINISH_STEP),
          [two] "i"(2 * (CXN_FINISH_STEP)), [three] "i"(3 * (CXN_FINISH_STEP))
        : "memory");
#else
    CXN_LOCAL(store)(out, CXN_REQUANTISE(a, factor));
    CXN_LOCAL(store)(out + (CXN_FINISH_STEP), CXN_REQUANTISE(b, factor));
    CXN_LOCAL(store)(out + 2 * (CXN_FINISH_STEP), CXN_REQUANTISE(c, factor));
    CXN_LOCAL(store)(out + 3 * (CXN_FINISH_STEP), CXN_REQUANTISE(d, factor));
#endif
}
#undef CXN_FINISH_ASM
