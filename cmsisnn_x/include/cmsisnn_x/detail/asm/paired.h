/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All output channels of `blocks` times four pixels in paired columns (convolve_paired.h), two channels at a time:
 * products(columns, w, channels, out, blocks). The rows of weights are read once for all blocks.
 *
 *     r0 weights   r2 r3 r4 r5   row 0, columns 0..3      r7 r11   weights of rows 0 and 1, two k each
 *     r1 columns   r6 r8 r9 r10  row 1, columns 0..3      r12 lr   columns 0 and 1, 2 and 3, two k each
 *
 * 15 cycles for 16 MAC on M4, 16 from 8-bit weights; columns of 16 bits take 16 and 17 (dot.h). Where outputs are made by one multiplication
 * and one shift at most, assembly runs over all channels: in C, loops around a block kept their state in memory, 45 cycles each. Fourteen
 * registers hold no larger block: 3x3 and 2x5 load as many words per product, and one column at a time costs a second cycle each.
 * Frame: r7, out, channels, end of the channels' outputs, end of the loop's columns, end of the blocks' outputs, their bytes, columns.
 */
#define CXN_P_PAIRS (CXN_TAPS / 2)
#define CXN_P_W_BYTES (4 * CXN_W_BYTES)
/* What a block of two rows begins with, and all of it. */
#define CXN_P_STARTS (16 / CXN_W_BYTES)
#define CXN_P_BLOCK (CXN_P_STARTS + 2 * CXN_TAPS)

#if 3 * CXN_GET(OUT_CH) > 4094 || CXN_GET(OUT_CH) % 2
#error "COLUMN_LAYOUT: CXN_COLUMN_LAYOUT_PAIRED needs an even OUT_CH, within reach of a store"
#endif
#if CXN_TAPS >= 512
#error "COLUMN_LAYOUT: CXN_COLUMN_LAYOUT_PAIRED needs windows of less than 512 elements"
#endif

#if CXN_GET(INNER) == CXN_INNER_ASM && CXN_THUMB2 && CXN_DSP
#define CXN_P_UNROLL (2 * CXN_GET(UNROLL))
#define CXN_P_LOOPS_ (CXN_P_PAIRS / CXN_P_UNROLL)
#define CXN_P_LOOPS (CXN_P_LOOPS_ > (CXN_P_UNROLL == 16 ? 2 : 1) ? CXN_P_LOOPS_ : 0)
#define CXN_P_REST (CXN_P_PAIRS - CXN_P_LOOPS * CXN_P_UNROLL)

#if CXN_W_BYTES == 2
#define CXN_P_LOAD_W(k)                         \
    "ldr r7, [r0, #(" #k ")*8]\n\t"             \
    "ldr r11, [r0, #(" #k ")*8+4]\n\t"
#define CXN_P_WIDEN_W
#else
#define CXN_P_LOAD_W(k) "ldr r7, [r0, #(" #k ")*4]\n\t"
#define CXN_P_WIDEN_W              \
    "sxtb16 r11, r7, ror #8\n\t"   \
    "sxtb16 r7, r7\n\t"
#endif
#define CXN_P_STEP(k)                           \
    CXN_P_LOAD_W(k)                             \
    "ldr r12, [r1, #(" #k ")*8]\n\t"            \
    "ldr lr, [r1, #(" #k ")*8+4]\n\t"           \
    CXN_P_WIDEN_W                               \
    "smlad r3, r7, r12, r3\n\t"                 \
    "smlad r8, r11, r12, r8\n\t"                \
    "uxtb16 r12, r12\n\t"                       \
    "smlad r5, r7, lr, r5\n\t"                  \
    "smlad r10, r11, lr, r10\n\t"               \
    "uxtb16 lr, lr\n\t"                         \
    "smlad r2, r7, r12, r2\n\t"                 \
    "smlad r6, r11, r12, r6\n\t"                \
    "smlad r4, r7, lr, r4\n\t"                  \
    "smlad r9, r11, lr, r9\n\t"
#define CXN_P_STEPS_2(k) CXN_P_STEP(k) CXN_P_STEP(k+1)
#define CXN_P_STEPS_4(k) CXN_P_STEPS_2(k) CXN_P_STEPS_2(k+2)
#define CXN_P_STEPS_8(k) CXN_P_STEPS_4(k) CXN_P_STEPS_4(k+4)
#define CXN_P_STEPS_16(k) CXN_P_STEPS_8(k) CXN_P_STEPS_8(k+8)

/* The block: accumulators from their starts to sums of odd columns times 2^8 above those of even ones. */
#if CXN_P_UNROLL == 2
#define CXN_P_TURN CXN_P_STEPS_2(0)
#elif CXN_P_UNROLL == 4
#define CXN_P_TURN CXN_P_STEPS_4(0)
#elif CXN_P_UNROLL == 8
#define CXN_P_TURN CXN_P_STEPS_8(0)
#else
#define CXN_P_TURN CXN_P_STEPS_16(0)
#endif
#if CXN_P_LOOPS
#define CXN_P_LOOP                              \
    "1:\n\t" CXN_P_TURN                         \
    "add r0, r0, %[wb]\n\t"                     \
    "ldr r7, [sp, #16]\n\t"                     \
    "add r1, r1, %[db]\n\t"                     \
    "cmp r1, r7\n\t"                            \
    "bne 1b\n\t"
#else
#define CXN_P_LOOP
#endif
#if (CXN_P_REST & 32)
#define CXN_P_REST_32 CXN_P_STEPS_16(0) CXN_P_STEPS_16(16)
#else
#define CXN_P_REST_32
#endif
#if (CXN_P_REST & 16)
#define CXN_P_REST_16 CXN_P_STEPS_16(%c[at16])
#else
#define CXN_P_REST_16
#endif
#if (CXN_P_REST & 8)
#define CXN_P_REST_8 CXN_P_STEPS_8(%c[at8])
#else
#define CXN_P_REST_8
#endif
#if (CXN_P_REST & 4)
#define CXN_P_REST_4 CXN_P_STEPS_4(%c[at4])
#else
#define CXN_P_REST_4
#endif
#if (CXN_P_REST & 2)
#define CXN_P_REST_2 CXN_P_STEPS_2(%c[at2])
#else
#define CXN_P_REST_2
#endif
#define CXN_P_ALL                                               \
    "ldmia r0!, {r2, r3, r6, r8}\n\t"                           \
    "mov r4, r2\n\t"                                            \
    "mov r5, r3\n\t"                                            \
    "mov r9, r6\n\t"                                            \
    "mov r10, r8\n\t"                                           \
    CXN_P_LOOP CXN_P_REST_32 CXN_P_REST_16 CXN_P_REST_8 CXN_P_REST_4 CXN_P_REST_2
#define CXN_P_OPERANDS                                                                                                      \
    [wb] "i"(CXN_P_W_BYTES * CXN_P_UNROLL), [db] "i"(8 * CXN_P_UNROLL), [columns] "i"(8 * CXN_P_UNROLL * CXN_P_LOOPS),      \
    [at16] "i"(CXN_P_REST & 32), [at8] "i"(CXN_P_REST & 48), [at4] "i"(CXN_P_REST & 56), [at2] "i"(CXN_P_REST & 60)

/* Outputs of a row in two columns: of the even one's accumulator, and of the odd one's less that. */
#if CXN_GET(SCHEME) == CXN_SCHEME_POW2 && CXN_GET(OUT_SHIFT) > 0 && CXN_GET(OUT_SHIFT) <= 23
#if CXN_OUT_MIN == 0
#define CXN_P_SATURATE "usat "
#define CXN_P_BITS ", #7, "
#else
#define CXN_P_SATURATE "ssat "
#define CXN_P_BITS ", #8, "
#endif
#define CXN_P_OUT(row, c, a, b)                         \
    "sub " b ", " b ", " a "\n\t"                       \
    CXN_P_SATURATE a CXN_P_BITS a ", asr %[even]\n\t"   \
    CXN_P_SATURATE b CXN_P_BITS b ", asr %[odd]\n\t"    \
    CXN_P_STORE(row, c, a, b)
#define CXN_P_CHANNEL
#define CXN_P_FACTOR(row)
#define CXN_P_NEXT_CHANNELS
#define CXN_P_SHIFTS [even] "i"(CXN_GET(OUT_SHIFT)), [odd] "i"(CXN_GET(OUT_SHIFT) + 8)
#elif CXN_GET(SCHEME) == CXN_SCHEME_AFFINE
#if CXN_GET(RESCALE) == CXN_RESCALE_SINGLE && CXN_FULL_RANGE
#define CXN_P_FACTOR(row)                               \
    "ldr r12, [r11, #" #row "*12+4]\n\t"                \
    "ldr lr, [r11, #" #row "*12+8]\n\t"
#define CXN_P_OUT(row, c, a, b)                         \
    "sub " b ", " b ", " a "\n\t"                       \
    "asr " b ", " b ", #8\n\t"                          \
    "smmla " a ", " a ", r12, lr\n\t"                   \
    "smmla " b ", " b ", r12, lr\n\t"                   \
    "ssat " a ", #8, " a ", asr %[even]\n\t"            \
    "ssat " b ", #8, " b ", asr %[even]\n\t"            \
    CXN_P_STORE(row, c, a, b)
#define CXN_P_CHANNEL "ldr r11, [sp, #8]\n\t"
#define CXN_P_NEXT_CHANNELS                     \
    "add r11, r11, #24\n\t"                     \
    "str r11, [sp, #8]\n\t"
#define CXN_P_SHIFTS [even] "i"(CXN_GET(RESCALE_SHIFT))
#endif
#endif
#define CXN_P_STORE(row, c, a, b)                       \
    "strb " a ", [r7, #" #c "*%c[oc]+" #row "]\n\t"     \
    "strb " b ", [r7, #(" #c "+1)*%c[oc]+" #row "]\n\t"
#endif

#if defined(CXN_P_OUT)
#define CXN_P_WRITTEN 1
/* The frame; and the next two channels, or the end. */
#define CXN_P_ENTER                             \
    "sub sp, sp, #32\n\t"                       \
    "str r7, [sp]\n\t"                          \
    "str r2, [sp, #4]\n\t"                      \
    "str r3, [sp, #8]\n\t"                      \
    "movw r7, %[oc]\n\t"                        \
    "add r7, r7, r2\n\t"                        \
    "str r7, [sp, #12]\n\t"
#define CXN_P_LEAVE                             \
    "add r7, r7, #2\n\t"                        \
    CXN_P_NEXT_CHANNELS                         \
    "str r7, [sp, #4]\n\t"                      \
    "ldr r12, [sp, #12]\n\t"                    \
    "cmp r7, r12\n\t"                           \
    "bne 2b\n\t"                                \
    "ldr r7, [sp]\n\t"                          \
    "add sp, sp, #32\n\t"
CXN_NOINLINE void CXN_LOCAL(products)(const uint32_t *columns, const CXN_W_T *w, const CXN_CHANNEL_T *channels, CXN_OUT_T *out, int32_t blocks)
{
    register const CXN_W_T *w_ __asm__("r0") = w;
    register const uint32_t *d_ __asm__("r1") = columns;
    register CXN_OUT_T *out_ __asm__("r2") = out;
    register const CXN_CHANNEL_T *channels_ __asm__("r3") = channels;
    register int32_t bytes_ __asm__("r4") = blocks * (4 * CXN_GET(OUT_CH));
    if (blocks == 0)
        return;
    __asm__ volatile(
        CXN_P_ENTER
#if CXN_P_LOOPS
        "add r7, r1, %[columns]\n\t"
        "str r7, [sp, #16]\n\t"
#endif
#if CXN_GET(IM2COL_COLS) > 4
        "add r7, r2, r4\n\t"
        "str r7, [sp, #20]\n\t"
        "str r4, [sp, #24]\n\t"
        "str r1, [sp, #28]\n\t"
#endif
        "2:\n\t"
        CXN_P_ALL
        "ldr r7, [sp, #4]\n\t"
        CXN_P_CHANNEL
        CXN_P_FACTOR(0) CXN_P_OUT(0, 0, "r2", "r3") CXN_P_OUT(0, 2, "r4", "r5")
        CXN_P_FACTOR(1) CXN_P_OUT(1, 0, "r6", "r8") CXN_P_OUT(1, 2, "r9", "r10")
#if CXN_GET(IM2COL_COLS) > 4
        /* The next four pixels, or the first four of the next two channels. */
        "movw r12, #4*%c[oc]\n\t"
        "add r7, r7, r12\n\t"
        "str r7, [sp, #4]\n\t"
#if CXN_P_LOOPS
        "ldr lr, [sp, #16]\n\t"
        "ldr r12, [sp, #20]\n\t"
        "sub r0, r0, %[back]\n\t"
        "add r1, r1, %[on]\n\t"
        "add lr, lr, %[block]\n\t"
        "str lr, [sp, #16]\n\t"
#else
        "ldr r12, [sp, #20]\n\t"
        "sub r0, r0, %[back]\n\t"
        "add r1, r1, %[on]\n\t"
#endif
        "cmp r7, r12\n\t"
        "bne 2b\n\t"
        "ldr r4, [sp, #24]\n\t"
        "ldr r1, [sp, #28]\n\t"
        "add r12, r12, #2\n\t"
        "str r12, [sp, #20]\n\t"
        "sub r7, r7, r4\n\t"
        "add r0, r0, %[forth]\n\t"
#if CXN_P_LOOPS
        "add lr, r1, %[columns]\n\t"
        "str lr, [sp, #16]\n\t"
#endif
#else
        "add r0, r0, %[rest]\n\t"
#if CXN_P_LOOPS
        "sub r1, r1, %[columns]\n\t"
#endif
#endif
        CXN_P_LEAVE
        : "+r"(w_), "+r"(d_), "+r"(out_), "+r"(channels_), "+r"(bytes_)
        : CXN_P_OPERANDS, CXN_P_SHIFTS, [oc] "i"(CXN_GET(OUT_CH)), [rest] "i"(CXN_P_W_BYTES * CXN_P_REST),
          [back] "i"(16 + CXN_P_W_BYTES * CXN_P_UNROLL * CXN_P_LOOPS), [forth] "i"(CXN_W_BYTES * CXN_P_BLOCK),
          [on] "i"(4 * CXN_TAPS - 8 * CXN_P_UNROLL * CXN_P_LOOPS), [block] "i"(4 * CXN_TAPS)
        : "r5", "r6", "r8", "r9", "r10", "r11", "r12", "lr", "cc", "memory");
}
#if CXN_P_FEW
/* The same of two pixels, or of one with itself: nine products and moves of a pair of k, ten from 8-bit weights, in turns of four pairs. */
#define CXN_P_FEW_STEP(k)                       \
    CXN_P_LOAD_W(k)                             \
    "ldr r12, [r1, #(" #k ")*8]\n\t"            \
    CXN_P_WIDEN_W                               \
    "smlad r3, r7, r12, r3\n\t"                 \
    "smlad r8, r11, r12, r8\n\t"                \
    "uxtb16 r12, r12\n\t"                       \
    "smlad r2, r7, r12, r2\n\t"                 \
    "smlad r6, r11, r12, r6\n\t"
CXN_NOINLINE void CXN_LOCAL(few_products)(const uint32_t *columns, const CXN_W_T *w, const CXN_CHANNEL_T *channels, CXN_OUT_T *out)
{
    register const CXN_W_T *w_ __asm__("r0") = w;
    register const uint32_t *d_ __asm__("r1") = columns;
    register CXN_OUT_T *out_ __asm__("r2") = out;
    register const CXN_CHANNEL_T *channels_ __asm__("r3") = channels;
    __asm__ volatile(
        CXN_P_ENTER
        "2:\n\t"
        "ldmia r0!, {r2, r3, r6, r8}\n\t"
#if CXN_P_PAIRS >= 4
        "add r9, r1, %[turns]\n\t"
        "1:\n\t" CXN_P_FEW_STEP(0) CXN_P_FEW_STEP(1) CXN_P_FEW_STEP(2) CXN_P_FEW_STEP(3)
        "add r0, r0, %[w4]\n\t"
        "add r1, r1, #32\n\t"
        "cmp r1, r9\n\t"
        "bne 1b\n\t"
#endif
#if CXN_P_PAIRS % 4
        CXN_P_FEW_STEP(0) CXN_P_FEW_STEP(1)
        "add r0, r0, %[w2]\n\t"
#endif
        "sub r1, r1, %[turns]\n\t"
        "ldr r7, [sp, #4]\n\t"
        CXN_P_CHANNEL
        CXN_P_FACTOR(0) CXN_P_OUT(0, 0, "r2", "r3")
        CXN_P_FACTOR(1) CXN_P_OUT(1, 0, "r6", "r8")
        CXN_P_LEAVE
        : "+r"(w_), "+r"(d_), "+r"(out_), "+r"(channels_)
        : CXN_P_SHIFTS, [oc] "i"(CXN_GET(OUT_CH)), [turns] "i"(CXN_P_PAIRS / 4 * 32), [w4] "i"(4 * CXN_P_W_BYTES), [w2] "i"(2 * CXN_P_W_BYTES)
        : "r6", "r8", "r9", "r11", "r12", "lr", "cc", "memory");
}
#endif
#else
#define CXN_P_WRITTEN 0
/* sum[r * 4 + c] of one block. */
CXN_INLINE void CXN_LOCAL(sums)(int32_t *CXN_RESTRICT sum, const uint32_t *d, const CXN_W_T *w)
{
#if defined(CXN_P_ALL)
    register const CXN_W_T *w_ __asm__("r0") = w;
    register const uint32_t *d_ __asm__("r1") = d;
    register int32_t row0x0 __asm__("r2");
    register int32_t row0x1 __asm__("r3");
    register int32_t row0x2 __asm__("r4");
    register int32_t row0x3 __asm__("r5");
    register int32_t row1x0 __asm__("r6");
    register int32_t row1x1 __asm__("r8");
    register int32_t row1x2 __asm__("r9");
    register int32_t row1x3 __asm__("r10");
    __asm__ volatile(
        "sub sp, sp, #24\n\t"
        "str r7, [sp]\n\t"
#if CXN_P_LOOPS
        "add r7, r1, %[columns]\n\t"
        "str r7, [sp, #16]\n\t"
#endif
        CXN_P_ALL
        "ldr r7, [sp]\n\t"
        "add sp, sp, #24\n\t"
        : "+r"(w_), "+r"(d_), "=r"(row0x0), "=r"(row0x1), "=r"(row0x2), "=r"(row0x3), "=r"(row1x0), "=r"(row1x1), "=r"(row1x2),
          "=r"(row1x3)
        : CXN_P_OPERANDS
        : "r11", "r12", "lr", "cc", "memory");
    sum[0] = row0x0;
    sum[1] = row0x1;
    sum[2] = row0x2;
    sum[3] = row0x3;
    sum[4] = row1x0;
    sum[5] = row1x1;
    sum[6] = row1x2;
    sum[7] = row1x3;
#else
    for (int32_t i = 0; i < 8; i++)
        sum[i] = (int32_t)cxn_load_u32_aligned(w + (i / 4 * 2 + i % 2) * (4 / CXN_W_BYTES));
    w += CXN_P_STARTS;
    CXN_UNROLL_LOOP(CXN_GET(UNROLL))
    for (int32_t k = 0; k < CXN_P_PAIRS; k++, w += 4, d += 2) {
#if CXN_W_BYTES == 2
        const uint32_t w0 = cxn_load_u32_aligned(w), w1 = cxn_load_u32_aligned(w + 2);
#else
        const uint32_t both = cxn_load_u32_aligned(w), w0 = cxn_sxtb16(both), w1 = cxn_sxtb16_ror8(both);
#endif
        for (int32_t i = 0; i < 2; i++) {
            const uint32_t odd = d[i], even = cxn_uxtb16(odd);
            sum[2 * i] = cxn_smlad(w0, even, sum[2 * i]);
            sum[2 * i + 1] = cxn_smlad(w0, odd, sum[2 * i + 1]);
            sum[4 + 2 * i] = cxn_smlad(w1, even, sum[4 + 2 * i]);
            sum[4 + 2 * i + 1] = cxn_smlad(w1, odd, sum[4 + 2 * i + 1]);
        }
    }
#endif
    for (int32_t i = 0; i < 8; i += 2)
        sum[i + 1] = (int32_t)((uint32_t)sum[i + 1] - (uint32_t)sum[i]) >> 8;
}

#if CXN_CHANNEL_FIRST
#define CXN_FINISH_STEP CXN_GET(OUT_CH)
#include "../finish.h"
#endif

CXN_INLINE void CXN_LOCAL(products)(const uint32_t *columns, const CXN_W_T *w, const CXN_CHANNEL_T *channels, CXN_OUT_T *out, int32_t blocks)
{
    for (int32_t o = 0; o < CXN_GET(OUT_CH); o += 2, w += CXN_P_BLOCK) {
        CXN_UNROLL_LOOP(1)
        for (int32_t b = 0; b < blocks; b++) {
            int32_t sum[8];
            CXN_OUT_T *const to = out + b * (4 * CXN_GET(OUT_CH)) + o;
            CXN_LOCAL(sums)(sum, columns + b * CXN_TAPS, w);
            for (int32_t r = 0; r < 2; r++) {
                CXN_FACTOR_T factor = CXN_FACTOR(channels + o + r);
#if CXN_CHANNEL_FIRST
                CXN_LOCAL(finish)(sum[4 * r], sum[4 * r + 1], sum[4 * r + 2], sum[4 * r + 3], factor, to + r);
#else
                for (int32_t c = 0; c < 4; c++)
                    CXN_LOCAL(store)(to + c * CXN_GET(OUT_CH) + r, CXN_REQUANTISE(sum[4 * r + c], factor));
#endif
            }
        }
    }
}
#endif

#undef CXN_FINISH_STEP
#undef CXN_P_FACTOR
#undef CXN_P_LEAVE
#undef CXN_P_FEW_STEP
#undef CXN_P_ALL
#undef CXN_P_BITS
#undef CXN_P_BLOCK
#undef CXN_P_CHANNEL
#undef CXN_P_ENTER
#undef CXN_P_LOAD_W
#undef CXN_P_LOOP
#undef CXN_P_LOOPS
#undef CXN_P_LOOPS_
#undef CXN_P_NEXT_CHANNELS
#undef CXN_P_OPERANDS
#undef CXN_P_OUT
#undef CXN_P_PAIRS
#undef CXN_P_REST
#undef CXN_P_REST_16
#undef CXN_P_REST_2
#undef CXN_P_REST_32
#undef CXN_P_REST_4
#undef CXN_P_REST_8
#undef CXN_P_SATURATE
#undef CXN_P_SHIFTS
#undef CXN_P_STARTS
#undef CXN_P_STEP
#undef CXN_P_STEPS_16
#undef CXN_P_STEPS_2
#undef CXN_P_STEPS_4
#undef CXN_P_STEPS_8
#undef CXN_P_STORE
#undef CXN_P_TURN
#undef CXN_P_UNROLL
#undef CXN_P_W_BYTES
#undef CXN_P_WIDEN_W
