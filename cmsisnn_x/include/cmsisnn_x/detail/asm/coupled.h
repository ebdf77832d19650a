/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Five rows of coupled weights (fully_connected_coupled.h), and all blocks of them: products(x, weights, channels, out).
 *
 *     r0 input   r1 weights   r2..r6 weights of a step, a word per row   r7 r8 input, words a and b   r9 r10 r11 r12 lr accumulators
 *
 *     grouped (CXN_INNER_ASM)        the loads of a step in a row: 23 cycles for 20 MAC on M4. Six rows need two groups, 28 for 24
 *     beside (CXN_INNER_ASM_DUAL)    a load or SXTB16 beside every product, loads for the next step: 11 cycles for 20 MAC on M7
 *
 * Frame: r7, out, factor or channels, what is added, end of the loop's input, out of the last block, channels of the last block.
 */
#define CXN_C_TURN (2 * CXN_GET(UNROLL))
#define CXN_C_LOOPS_ (CXN_C_STEPS / CXN_C_TURN)
#define CXN_C_LOOPS (CXN_C_LOOPS_ > 1 ? CXN_C_LOOPS_ : 0)
#define CXN_C_REST (CXN_C_STEPS - CXN_C_LOOPS * CXN_C_TURN)

#if CXN_GET(INNER) != CXN_INNER_C && CXN_THUMB2 && CXN_DSP
#if CXN_GET(INNER) == CXN_INNER_ASM
#define CXN_C_ROW(w, acc)                       \
    "smlad " acc ", r7, " w ", " acc "\n\t"     \
    "sxtb16 " w ", " w "\n\t"                   \
    "smlad " acc ", r8, " w ", " acc "\n\t"
#define CXN_C_STEP                              \
    "ldr r8, [r0, #4]\n\t"                      \
    "ldr r7, [r0], #8\n\t"                      \
    "ldr r3, [r1, #4]\n\t"                      \
    "ldr r4, [r1, #8]\n\t"                      \
    "ldr r5, [r1, #12]\n\t"                     \
    "ldr r6, [r1, #16]\n\t"                     \
    "ldr r2, [r1], #20\n\t"                     \
    CXN_C_ROW("r3", "r10") CXN_C_ROW("r4", "r11") CXN_C_ROW("r5", "r12") CXN_C_ROW("r6", "lr") CXN_C_ROW("r2", "r9")
#define CXN_C_FIRST
#else
/* Line by line a cycle. */
#define CXN_C_STEP                                                  \
    "ldr r8, [r0, #4]\n\t"          "smlad r9, r7, r2, r9\n\t"      \
    "sxtb16 r2, r2\n\t"             "smlad r10, r7, r3, r10\n\t"    \
    "sxtb16 r3, r3\n\t"             "smlad r9, r8, r2, r9\n\t"      \
    "ldr r2, [r1, #20]!\n\t"        "smlad r11, r7, r4, r11\n\t"    \
    "sxtb16 r4, r4\n\t"             "smlad r10, r8, r3, r10\n\t"    \
    "ldr r3, [r1, #4]\n\t"          "smlad r12, r7, r5, r12\n\t"    \
    "sxtb16 r5, r5\n\t"             "smlad r11, r8, r4, r11\n\t"    \
    "ldr r4, [r1, #8]\n\t"          "smlad lr, r7, r6, lr\n\t"      \
    "sxtb16 r6, r6\n\t"             "smlad r12, r8, r5, r12\n\t"    \
    "ldr r7, [r0, #8]!\n\t"         "smlad lr, r8, r6, lr\n\t"      \
    "ldr r5, [r1, #12]\n\t"         "ldr r6, [r1, #16]\n\t"
#define CXN_C_FIRST                             \
    "ldr r7, [r0]\n\t"                          \
    "ldm r1, {r2, r3, r4, r5, r6}\n\t"
#endif
#define CXN_C_STEPS_2 CXN_C_STEP CXN_C_STEP
#define CXN_C_STEPS_4 CXN_C_STEPS_2 CXN_C_STEPS_2
#define CXN_C_STEPS_8 CXN_C_STEPS_4 CXN_C_STEPS_4
#define CXN_C_STEPS_16 CXN_C_STEPS_8 CXN_C_STEPS_8
#if CXN_C_TURN == 2
#define CXN_C_STEPS_TURN CXN_C_STEPS_2
#elif CXN_C_TURN == 4
#define CXN_C_STEPS_TURN CXN_C_STEPS_4
#elif CXN_C_TURN == 8
#define CXN_C_STEPS_TURN CXN_C_STEPS_8
#else
#define CXN_C_STEPS_TURN CXN_C_STEPS_16
#endif
#if CXN_C_LOOPS
#define CXN_C_LOOP                              \
    "1:\n\t" CXN_C_STEPS_TURN                   \
    "ldr r8, [sp, #16]\n\t"                     \
    "cmp r0, r8\n\t"                            \
    "bne 1b\n\t"
#define CXN_C_END                               \
    "movw r7, %[loop]\n\t"                      \
    "add r7, r7, r0\n\t"                        \
    "str r7, [sp, #16]\n\t"
#else
#define CXN_C_LOOP
#define CXN_C_END
#endif
#if CXN_C_REST & 16
#define CXN_C_REST_16 CXN_C_STEPS_16
#else
#define CXN_C_REST_16
#endif
#if CXN_C_REST & 8
#define CXN_C_REST_8 CXN_C_STEPS_8
#else
#define CXN_C_REST_8
#endif
#if CXN_C_REST & 4
#define CXN_C_REST_4 CXN_C_STEPS_4
#else
#define CXN_C_REST_4
#endif
#if CXN_C_REST & 2
#define CXN_C_REST_2 CXN_C_STEPS_2
#else
#define CXN_C_REST_2
#endif
#if CXN_C_REST & 1
#define CXN_C_REST_1 CXN_C_STEP
#else
#define CXN_C_REST_1
#endif
/* A block: r0 is the first word of the input again, r1 the next block. */
#define CXN_C_ALL                               \
    "ldm r1!, {r9, r10, r11, r12, lr}\n\t"      \
    CXN_C_FIRST CXN_C_LOOP CXN_C_REST_16 CXN_C_REST_8 CXN_C_REST_4 CXN_C_REST_2 CXN_C_REST_1 \
    "movw r7, %[input]\n\t"                     \
    "sub r0, r0, r7\n\t"
#define CXN_C_OPERANDS [input] "i"(8 * CXN_C_STEPS), [loop] "i"(8 * CXN_C_TURN * CXN_C_LOOPS)
#define CXN_C_EACH(one) one("r9") one("r10") one("r11") one("r12") one("lr")
#define CXN_C_ASR_8(acc) "asr " acc ", " acc ", #8\n\t"
#define CXN_C_SATURATE(acc) "ssat " acc ", #8, " acc ", asr %[shift]\n\t"

/* From accumulators to outputs. */
#if CXN_GET(SCHEME) == CXN_SCHEME_POW2
#if CXN_OUT_MIN == 0
#undef CXN_C_SATURATE
#define CXN_C_SATURATE(acc) "usat " acc ", #7, " acc ", asr %[shift]\n\t"
#endif
#define CXN_C_FINISH CXN_C_EACH(CXN_C_SATURATE)
#define CXN_C_SHIFT CXN_MIN(CXN_GET(OUT_SHIFT) + 8, 31)
#elif CXN_GET(RESCALE) == CXN_RESCALE_SINGLE && CXN_FULL_RANGE && CXN_C_UNIFORM
/* What is added and the shift take the 2^8 in. */
#define CXN_C_ENTER                             \
    "ldr r7, [r3, #4]\n\t"                      \
    "str r7, [sp, #8]\n\t"                      \
    "ldr r7, [r3, #8]\n\t"                      \
    "lsl r7, r7, #8\n\t"                        \
    "str r7, [sp, #12]\n\t"
#define CXN_C_SCALE(acc) "smmla " acc ", " acc ", r2, r3\n\t"
#define CXN_C_FINISH                            \
    "ldr r2, [sp, #8]\n\t"                      \
    "ldr r3, [sp, #12]\n\t"                     \
    CXN_C_EACH(CXN_C_SCALE) CXN_C_EACH(CXN_C_SATURATE)
#define CXN_C_SHIFT (CXN_GET(RESCALE_SHIFT) + 8)
#elif CXN_GET(RESCALE) == CXN_RESCALE_SINGLE && CXN_FULL_RANGE
#define CXN_C_ENTER                             \
    "str r3, [sp, #8]\n\t"                      \
    "movw r7, #12*(%c[oc]-5)\n\t"               \
    "add r7, r7, r3\n\t"                        \
    "str r7, [sp, #24]\n\t"
#define CXN_C_LOAD_FACTOR(row, factor, offset)              \
    "ldr " factor ", [r7, #" #row "*12+4]\n\t"              \
    "ldr " offset ", [r7, #" #row "*12+8]\n\t"
#define CXN_C_FINISH                            \
    "ldr r7, [sp, #8]\n\t"                      \
    CXN_C_LOAD_FACTOR(0, "r2", "r3") CXN_C_LOAD_FACTOR(1, "r4", "r5") CXN_C_EACH(CXN_C_ASR_8)   \
    "smmla r9, r9, r2, r3\n\t"                  \
    "smmla r10, r10, r4, r5\n\t"                \
    CXN_C_LOAD_FACTOR(2, "r2", "r3") CXN_C_LOAD_FACTOR(3, "r4", "r5") CXN_C_LOAD_FACTOR(4, "r6", "r8") \
    "smmla r11, r11, r2, r3\n\t"                \
    "smmla r12, r12, r4, r5\n\t"                \
    "smmla lr, lr, r6, r8\n\t"                  \
    CXN_C_EACH(CXN_C_SATURATE)                  \
    "add r7, r7, #60\n\t"                       \
    "str r7, [sp, #8]\n\t"
#define CXN_C_LAST                              \
    "itt hi\n\t"                                \
    "ldrhi r2, [sp, #24]\n\t"                   \
    "strhi r2, [sp, #8]\n\t"
#define CXN_C_SHIFT CXN_GET(RESCALE_SHIFT)
#elif CXN_GET(RESCALE) == CXN_RESCALE_FAR && CXN_FULL_RANGE && CXN_C_UNIFORM
/* cxn_rescale_far */
#define CXN_C_ENTER                             \
    "ldr r7, [r3, #4]\n\t"                      \
    "lsl r7, r7, #1\n\t"                        \
    "str r7, [sp, #8]\n\t"                      \
    "ldr r7, [r3, #8]\n\t"                      \
    "rsb r7, r7, #31\n\t"                       \
    "mov r5, #1\n\t"                            \
    "lsl r7, r5, r7\n\t"                        \
    "str r7, [sp, #12]\n\t"
#define CXN_C_SCALE(acc) "smmlar " acc ", " acc ", r2, " acc "\n\t"
#define CXN_C_SIGN(acc) "add " acc ", " acc ", " acc ", asr #31\n\t"
#define CXN_C_SCALE_AGAIN(acc) "smmlar " acc ", " acc ", r3, r4\n\t"
#undef CXN_C_SATURATE
#define CXN_C_SATURATE(acc) "ssat " acc ", #8, " acc "\n\t"
#define CXN_C_FINISH                            \
    "ldr r2, [sp, #8]\n\t"                      \
    "ldr r3, [sp, #12]\n\t"                     \
    "mov r4, %[shift]\n\t"                      \
    CXN_C_EACH(CXN_C_ASR_8) CXN_C_EACH(CXN_C_SCALE) CXN_C_EACH(CXN_C_SIGN) CXN_C_EACH(CXN_C_SCALE_AGAIN) CXN_C_EACH(CXN_C_SATURATE)
#define CXN_C_SHIFT CXN_GET(OUTPUT_ZERO_POINT)
#endif
#ifndef CXN_C_ENTER
#define CXN_C_ENTER
#endif
#ifndef CXN_C_LAST
#define CXN_C_LAST
#endif
#if CXN_GET(OUT_CH) % CXN_C_ROWS
#define CXN_C_NEXT                              \
    "cmp r7, r8\n\t"                            \
    "beq 3f\n\t"                                \
    "add r7, r7, #5\n\t"                        \
    "cmp r7, r8\n\t"                            \
    "it hi\n\t"                                 \
    "movhi r7, r8\n\t" CXN_C_LAST               \
    "str r7, [sp, #4]\n\t"                      \
    "b 2b\n\t"                                  \
    "3:\n\t"
#else
#define CXN_C_NEXT                              \
    "cmp r7, r8\n\t"                            \
    "add r7, r7, #5\n\t"                        \
    "str r7, [sp, #4]\n\t"                      \
    "bne 2b\n\t"
#endif
#endif

#if defined(CXN_C_FINISH)
#define CXN_C_WRITTEN 1
CXN_NOINLINE void CXN_LOCAL(products)(const uint32_t *x, const CXN_WEIGHT_T *w, const CXN_CHANNEL_T *channels, CXN_OUT_T *out)
{
    register const uint32_t *x_ __asm__("r0") = x;
    register const CXN_WEIGHT_T *w_ __asm__("r1") = w;
    register CXN_OUT_T *out_ __asm__("r2") = out;
    register const CXN_CHANNEL_T *channels_ __asm__("r3") = channels;
    __asm__ volatile(
        "sub sp, sp, #32\n\t"
        "str r7, [sp]\n\t"
        "str r2, [sp, #4]\n\t"
        "movw r7, #%c[oc]-5\n\t"
        "add r7, r7, r2\n\t"
        "str r7, [sp, #20]\n\t"
        CXN_C_ENTER CXN_C_END
        "2:\n\t"
        CXN_C_ALL
        CXN_C_FINISH
        "ldr r7, [sp, #4]\n\t"
        "ldr r8, [sp, #20]\n\t"
        "strb r9, [r7]\n\t"
        "strb r10, [r7, #1]\n\t"
        "strb r11, [r7, #2]\n\t"
        "strb r12, [r7, #3]\n\t"
        "strb lr, [r7, #4]\n\t"
        CXN_C_NEXT
        "ldr r7, [sp]\n\t"
        "add sp, sp, #32\n\t"
        : "+r"(x_), "+r"(w_), "+r"(out_), "+r"(channels_)
        : CXN_C_OPERANDS, [oc] "i"(CXN_GET(OUT_CH)), [shift] "i"(CXN_C_SHIFT)
        : "r4", "r5", "r6", "r8", "r9", "r10", "r11", "r12", "lr", "cc", "memory");
}
#else
#define CXN_C_WRITTEN 0
/* The accumulators of a block. */
CXN_INLINE void CXN_LOCAL(sums)(int32_t *CXN_RESTRICT sum, const uint32_t *x, const CXN_WEIGHT_T *w)
{
#if defined(CXN_C_ALL)
    register const uint32_t *x_ __asm__("r0") = x;
    register const CXN_WEIGHT_T *w_ __asm__("r1") = w;
    register int32_t *sum_ __asm__("r2") = sum;
    __asm__ volatile(
        "sub sp, sp, #24\n\t"
        "str r7, [sp]\n\t"
        "str r2, [sp, #4]\n\t"
        CXN_C_END
        CXN_C_ALL
        "ldr r2, [sp, #4]\n\t"
        "stm r2, {r9, r10, r11, r12, lr}\n\t"
        "ldr r7, [sp]\n\t"
        "add sp, sp, #24\n\t"
        : "+r"(x_), "+r"(w_), "+r"(sum_)
        : CXN_C_OPERANDS
        : "r3", "r4", "r5", "r6", "r8", "r9", "r10", "r11", "r12", "lr", "cc", "memory");
#else
    for (int32_t r = 0; r < CXN_C_ROWS; r++)
        sum[r] = (int32_t)cxn_load_u32_single(w + 4 * r);
    w += CXN_C_STEP_BYTES;
    CXN_UNROLL_LOOP(CXN_GET(UNROLL))
    for (int32_t step = 0; step < CXN_C_STEPS; step++, x += 2, w += CXN_C_STEP_BYTES) {
        for (int32_t r = 0; r < CXN_C_ROWS; r++) {
            const uint32_t four = cxn_load_u32_single(w + 4 * r);
            sum[r] = cxn_smlad(x[1], cxn_sxtb16(four), cxn_smlad(x[0], four, sum[r]));
        }
    }
#endif
}
#endif

#undef CXN_C_ALL
#undef CXN_C_ASR_8
#undef CXN_C_EACH
#undef CXN_C_END
#undef CXN_C_ENTER
#undef CXN_C_FINISH
#undef CXN_C_FIRST
#undef CXN_C_LAST
#undef CXN_C_LOAD_FACTOR
#undef CXN_C_LOOP
#undef CXN_C_LOOPS
#undef CXN_C_LOOPS_
#undef CXN_C_NEXT
#undef CXN_C_OPERANDS
#undef CXN_C_REST
#undef CXN_C_REST_1
#undef CXN_C_REST_16
#undef CXN_C_REST_2
#undef CXN_C_REST_4
#undef CXN_C_REST_8
#undef CXN_C_ROW
#undef CXN_C_SATURATE
#undef CXN_C_SCALE
#undef CXN_C_SCALE_AGAIN
#undef CXN_C_SHIFT
#undef CXN_C_SIGN
#undef CXN_C_STEP
#undef CXN_C_STEPS_16
#undef CXN_C_STEPS_2
#undef CXN_C_STEPS_4
#undef CXN_C_STEPS_8
#undef CXN_C_STEPS_TURN
#undef CXN_C_TURN
