/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inner blocks of fully_connected.h in assembly: paired q7 rows, an input that is not widened. CXN_INNER_ASM puts the loads of a step
 * in a row, CXN_INNER_ASM_DUAL one beside a multiplication. Included by fully_connected.h, once per instance.
 */
#define CXN_FC_OPERANDS \
    : [x] "+r"(x), [w] "+r"(w), [h0] "+r"(sum->r0), [l0] "+r"(sum->r1), [h1] "+r"(sum->r2), [l1] "+r"(sum->r3), [p] "=&r"(p), \
      [q] "=&r"(q), [w0] "=&r"(w0), [w1] "=&r"(w1), [w2] "=&r"(w2), [w3] "=&r"(w3) \
    : : "memory"

/* UNROLL steps of four paired rows: x and w move on. */
CXN_INLINE void CXN_LOCAL(steps)(const uint8_t **input, const CXN_FC_W **weights, cxn_row_sums *sum)
{
    const uint8_t *x = *input;
    const CXN_FC_W *w = *weights;
    uint32_t p, q, w0, w1, w2, w3;
#if CXN_GET(INNER) == CXN_INNER_ASM
    /* Single issue: the five loads in a row cost six cycles. */
#define CXN_FC_STEP \
    __asm__("ldr %[p], [%[x]], #4\n\tldr %[w0], [%[w]], #16\n\tldr %[w1], [%[w], #-12]\n\t" \
            "ldr %[w2], [%[w], #-8]\n\tldr %[w3], [%[w], #-4]\n\t" \
            "sxtb16 %[q], %[p], ror #8\n\tsxtb16 %[p], %[p]\n\t" \
            "smlad %[h0], %[p], %[w0], %[h0]\n\tuxtb16 %[w0], %[w0]\n\tsmlad %[h1], %[p], %[w1], %[h1]\n\t" \
            "uxtb16 %[w1], %[w1]\n\tsmlad %[l0], %[p], %[w0], %[l0]\n\tsmlad %[l1], %[p], %[w1], %[l1]\n\t" \
            "smlad %[h0], %[q], %[w2], %[h0]\n\tuxtb16 %[w2], %[w2]\n\tsmlad %[h1], %[q], %[w3], %[h1]\n\t" \
            "uxtb16 %[w3], %[w3]\n\tsmlad %[l0], %[q], %[w2], %[l0]\n\tsmlad %[l1], %[q], %[w3], %[l1]" CXN_FC_OPERANDS);
    CXN_FC_STEP
#if CXN_GET(UNROLL) > 1
    CXN_FC_STEP
#endif
#if CXN_GET(UNROLL) > 2
    CXN_FC_STEP CXN_FC_STEP
#endif
#if CXN_GET(UNROLL) > 4
    CXN_FC_STEP CXN_FC_STEP CXN_FC_STEP CXN_FC_STEP
#endif
#undef CXN_FC_STEP
#else
    /* Dual issue, line by line a cycle: an extraction is the older of its pair, a load comes two cycles before its use. p holds the
       word of the input, q is free for the next one, so the two change places from step to step. */
#define CXN_FC_HEAD(p, q) \
    "sxtb16 %[" #q "], %[" #p "], ror #8\n\tldr %[w3], [%[w], #12]\n\t" \
    "sxtb16 %[" #p "], %[" #p "]\n\tsmlad %[h0], %[" #q "], %[w2], %[h0]\n\t" \
    "uxtb16 %[w2], %[w2]\n\tsmlad %[h1], %[" #q "], %[w3], %[h1]\n\t" \
    "uxtb16 %[w3], %[w3]\n\tsmlad %[l0], %[" #q "], %[w2], %[l0]\n\t"
#define CXN_FC_STEP(p, q) \
    CXN_FC_HEAD(p, q) \
    "ldr %[w2], [%[w], #24]\n\tsmlad %[l1], %[" #q "], %[w3], %[l1]\n\t" \
    "smlad %[h0], %[" #p "], %[w0], %[h0]\n\tldr %[" #q "], [%[x]], #4\n\t" \
    "uxtb16 %[w0], %[w0]\n\tsmlad %[h1], %[" #p "], %[w1], %[h1]\n\t" \
    "uxtb16 %[w1], %[w1]\n\tsmlad %[l0], %[" #p "], %[w0], %[l0]\n\t" \
    "ldr %[w0], [%[w], #16]!\n\tsmlad %[l1], %[" #p "], %[w1], %[l1]\n\t" \
    "ldr %[w1], [%[w], #4]\n\t"
#define CXN_FC_LAST(p, q) \
    CXN_FC_HEAD(p, q) \
    "smlad %[l1], %[" #q "], %[w3], %[l1]\n\tsmlad %[h0], %[" #p "], %[w0], %[h0]\n\t" \
    "uxtb16 %[w0], %[w0]\n\tsmlad %[h1], %[" #p "], %[w1], %[h1]\n\t" \
    "uxtb16 %[w1], %[w1]\n\tsmlad %[l0], %[" #p "], %[w0], %[l0]\n\t" \
    "add %[w], #16\n\tsmlad %[l1], %[" #p "], %[w1], %[l1]"
#if CXN_GET(UNROLL) == 1
#define CXN_FC_MIDDLE CXN_FC_LAST(p, q)
#elif CXN_GET(UNROLL) == 2
#define CXN_FC_MIDDLE CXN_FC_STEP(p, q) CXN_FC_LAST(q, p)
#elif CXN_GET(UNROLL) == 4
#define CXN_FC_MIDDLE CXN_FC_STEP(p, q) CXN_FC_STEP(q, p) CXN_FC_STEP(p, q) CXN_FC_LAST(q, p)
#else
#define CXN_FC_MIDDLE \
    CXN_FC_STEP(p, q) CXN_FC_STEP(q, p) CXN_FC_STEP(p, q) CXN_FC_STEP(q, p) \
    CXN_FC_STEP(p, q) CXN_FC_STEP(q, p) CXN_FC_STEP(p, q) CXN_FC_LAST(q, p)
#endif
    __asm__("ldr %[p], [%[x]], #4\n\tldr %[w2], [%[w], #8]\n\tldr %[w0], [%[w]]\n\tldr %[w1], [%[w], #4]\n\t" CXN_FC_MIDDLE CXN_FC_OPERANDS);
#undef CXN_FC_HEAD
#undef CXN_FC_STEP
#undef CXN_FC_LAST
#undef CXN_FC_MIDDLE
#endif
    *input = x;
    *weights = w;
}
#undef CXN_FC_OPERANDS

/* One step of two paired rows. */
CXN_INLINE void CXN_LOCAL(two)(const uint8_t **input, const CXN_FC_W **weights, cxn_row_sums *sum)
{
    uint32_t p, q, w0, w1;
    __asm__("ldr %[p], [%[x]], #4\n\tldr %[w0], [%[w]], #8\n\tldr %[w1], [%[w], #-4]\n\t"
            "sxtb16 %[q], %[p], ror #8\n\tsxtb16 %[p], %[p]\n\tsmlad %[h0], %[p], %[w0], %[h0]\n\t"
            "uxtb16 %[w0], %[w0]\n\tsmlad %[h0], %[q], %[w1], %[h0]\n\t"
            "uxtb16 %[w1], %[w1]\n\tsmlad %[l0], %[p], %[w0], %[l0]\n\tsmlad %[l0], %[q], %[w1], %[l0]"
            : [x] "+r"(*input), [w] "+r"(*weights), [h0] "+r"(sum->r0), [l0] "+r"(sum->r1), [p] "=&r"(p), [q] "=&r"(q), [w0] "=&r"(w0), [w1] "=&r"(w1)
            :
            : "memory");
}
