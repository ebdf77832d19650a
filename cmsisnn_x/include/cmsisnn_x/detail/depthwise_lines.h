/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Depthwise convolution from lines, for cores without the DSP extension: KERNEL_H input rows, each widened once per image between its padding,
 * in a ring. A block is two channels, which share a word of every pixel and of every tap, of two neighbouring pixels; or, with four BLOCK_COLS,
 * one channel after the other, of up to four pixels (depthwise_strips.h).
 *
 * Weights: [pair of channels][tap][2], 16 bits, a zero beside the last of an odd number of channels.
 * Scratch: KERNEL_H * CXN_LINE * 2 bytes, CXN_LINE = ((OUT_W - 1) * STRIDE_X + KERNEL_W) * IN_CH rounded up to even.
 * The last pixel of an odd row is a block of its own.
 */
#define CXN_W_T int16_t
#define CXN_LINE_CHANNELS CXN_ROUND_UP(CXN_GET(IN_CH), 2)
#define CXN_SPAN ((CXN_GET(OUT_W) - 1) * CXN_GET(STRIDE_X) + CXN_GET(KERNEL_W))
#define CXN_LINE (CXN_SPAN * CXN_LINE_CHANNELS)
#define CXN_TAPS (CXN_GET(KERNEL_H) * CXN_GET(KERNEL_W))

#if CXN_BR != 2 || (CXN_BC != 2 && CXN_BC != 4)
#error "BLOCK_ROWS x BLOCK_COLS: legal values with CXN_LOWERING_LINE_BUFFER and two rows are 2x2 and 2x4"
#endif
#if CXN_GET(INNER) != CXN_INNER_C && CXN_THUMB1 && (CXN_GET(KERNEL_H) > 7 || CXN_GET(KERNEL_W) > 7)
#error "INNER: the assembly block takes kernels of up to 7x7; legal here: CXN_INNER_C"
#endif
CXN_STATIC_ASSERT(CXN_GET(SCRATCH_BYTES) >= CXN_GET(KERNEL_H) * CXN_LINE * 2, depthwise_lines_scratch);

#include "line.h"

#if CXN_BC == 4
#include "depthwise_strips.h"
#else
/*
 * acc[2 * c + r] += sum over the taps of weight(r) * element r of pixel c, for one pixel or two; pixel c of kernel row m lies
 * STRIDE_X * CXN_LINE_CHANNELS * c elements behind runs[m] + offset.
 */
#if CXN_GET(INNER) != CXN_INNER_C && CXN_THUMB1
/*
 * M0 and M0+: every operand is used once, so that the product may take its place.
 *     r0 weights   r1 pixels   r2 r3 weights of two channels   r4 r5 a pixel   r6 bytes to the second pixel   r7 bytes to the next tap
 *     r8 r9 r10 r11   accumulators   r12 offset   lr addresses of the lines
 * Per tap: 21 cycles for 4 MAC.
 */
#include "asm/accumulators_v6m.h"
#define CXN_A_PIXEL(acc0, acc1)                          \
    "asrs r5, r4, #16\n\tsxth r4, r4\n\t"                \
    "muls r4, r2, r4\n\tadd " acc0 ", r4\n\t"            \
    "muls r5, r3, r5\n\tadd " acc1 ", r5\n\t"
#define CXN_A_ONE(n)                                     \
    "ldr r2, [r0, #(" #n ")*4]\n\t"                      \
    "asrs r3, r2, #16\n\tsxth r2, r2\n\t"                \
    "ldr r4, [r1]\n\t" CXN_A_PIXEL("r8", "r9")           \
    "adds r1, r1, r7\n\t"
#define CXN_A_TWO(n)                                     \
    "ldr r2, [r0, #(" #n ")*4]\n\t"                      \
    "asrs r3, r2, #16\n\tsxth r2, r2\n\t"                \
    "ldr r4, [r1]\n\t" CXN_A_PIXEL("r8", "r9")           \
    "ldr r4, [r1, r6]\n\t" CXN_A_PIXEL("r10", "r11")     \
    "adds r1, r1, r7\n\t"
#define CXN_A_TAPS_1(T) T(0)
#define CXN_A_TAPS_2(T) T(0) T(1)
#define CXN_A_TAPS_3(T) T(0) T(1) T(2)
#define CXN_A_TAPS_4(T) T(0) T(1) T(2) T(3)
#define CXN_A_TAPS_5(T) T(0) T(1) T(2) T(3) T(4)
#define CXN_A_TAPS_6(T) T(0) T(1) T(2) T(3) T(4) T(5)
#define CXN_A_TAPS_7(T) T(0) T(1) T(2) T(3) T(4) T(5) T(6)
#if CXN_GET(KERNEL_W) == 1
#define CXN_A_TAPS(T) CXN_A_TAPS_1(T)
#elif CXN_GET(KERNEL_W) == 2
#define CXN_A_TAPS(T) CXN_A_TAPS_2(T)
#elif CXN_GET(KERNEL_W) == 3
#define CXN_A_TAPS(T) CXN_A_TAPS_3(T)
#elif CXN_GET(KERNEL_W) == 4
#define CXN_A_TAPS(T) CXN_A_TAPS_4(T)
#elif CXN_GET(KERNEL_W) == 5
#define CXN_A_TAPS(T) CXN_A_TAPS_5(T)
#elif CXN_GET(KERNEL_W) == 6
#define CXN_A_TAPS(T) CXN_A_TAPS_6(T)
#else
#define CXN_A_TAPS(T) CXN_A_TAPS_7(T)
#endif
#define CXN_A_ROW(m, T)                                  \
    "mov r1, lr\n\tldr r1, [r1, #" #m "*4]\n\t"          \
    "add r1, r12\n\t"                                    \
    CXN_A_TAPS(T)                                        \
    "adds r0, #4*%c[width]\n\t"
#if CXN_GET(KERNEL_H) == 1
#define CXN_A_ROWS(T) CXN_A_ROW(0, T)
#elif CXN_GET(KERNEL_H) == 2
#define CXN_A_ROWS(T) CXN_A_ROW(0, T) CXN_A_ROW(1, T)
#elif CXN_GET(KERNEL_H) == 3
#define CXN_A_ROWS(T) CXN_A_ROW(0, T) CXN_A_ROW(1, T) CXN_A_ROW(2, T)
#elif CXN_GET(KERNEL_H) == 4
#define CXN_A_ROWS(T) CXN_A_ROW(0, T) CXN_A_ROW(1, T) CXN_A_ROW(2, T) CXN_A_ROW(3, T)
#elif CXN_GET(KERNEL_H) == 5
#define CXN_A_ROWS(T) CXN_A_ROW(0, T) CXN_A_ROW(1, T) CXN_A_ROW(2, T) CXN_A_ROW(3, T) CXN_A_ROW(4, T)
#elif CXN_GET(KERNEL_H) == 6
#define CXN_A_ROWS(T) CXN_A_ROW(0, T) CXN_A_ROW(1, T) CXN_A_ROW(2, T) CXN_A_ROW(3, T) CXN_A_ROW(4, T) CXN_A_ROW(5, T)
#else
#define CXN_A_ROWS(T) CXN_A_ROW(0, T) CXN_A_ROW(1, T) CXN_A_ROW(2, T) CXN_A_ROW(3, T) CXN_A_ROW(4, T) CXN_A_ROW(5, T) CXN_A_ROW(6, T)
#endif
#define CXN_A_BEGIN                                      \
    ".syntax unified\n\tsub sp, #8\n\tstr r7, [sp]\n\t"  \
    CXN_V6M_TAKE("r4", "r1", "4")                        \
    "mov r7, r5\n\tmov lr, r2\n\tmov r12, r3\n\t"
#define CXN_A_END CXN_V6M_GIVE("r4", "r1", "4") "ldr r7, [sp]\n\tadd sp, #8\n\t"

CXN_INLINE void CXN_LOCAL(dot)(int32_t *CXN_RESTRICT acc, const int16_t *w, const int16_t *const *runs, int32_t offset, int32_t pixels)
{
    register const int16_t *w_ __asm__("r0") = w;
    register const int16_t *const *runs_ __asm__("r2") = runs;
    register int32_t offset_ __asm__("r3") = offset * 2;
    register int32_t step_ __asm__("r5") = CXN_LINE_CHANNELS * 2;
    register int32_t second_ __asm__("r6") = CXN_GET(STRIDE_X) * CXN_LINE_CHANNELS * 2;
    CXN_V6M_ACCUMULATORS("r4")
    if (pixels > 1) {
        __asm__ volatile(
            CXN_A_BEGIN CXN_A_ROWS(CXN_A_TWO) CXN_A_END
            : "+l"(w_), "+l"(runs_), "+l"(offset_), "+l"(step_), "+l"(second_), CXN_V6M_OPERANDS
            : [width] "i"(CXN_GET(KERNEL_W))
            : CXN_V6M_CLOBBERS("r4") "r1", "r12", "lr", "cc", "memory");
    } else {
        __asm__ volatile(
            CXN_A_BEGIN CXN_A_ROWS(CXN_A_ONE) CXN_A_END
            : "+l"(w_), "+l"(runs_), "+l"(offset_), "+l"(step_), CXN_V6M_OPERANDS
            : [width] "i"(CXN_GET(KERNEL_W))
            : CXN_V6M_CLOBBERS("r4") "r1", "r12", "lr", "cc", "memory");
    }
    CXN_V6M_RESULTS
}
#undef CXN_A_PIXEL
#undef CXN_A_ONE
#undef CXN_A_TWO
#undef CXN_A_TAPS
#undef CXN_A_TAPS_1
#undef CXN_A_TAPS_2
#undef CXN_A_TAPS_3
#undef CXN_A_TAPS_4
#undef CXN_A_TAPS_5
#undef CXN_A_TAPS_6
#undef CXN_A_TAPS_7
#undef CXN_A_ROW
#undef CXN_A_ROWS
#undef CXN_A_BEGIN
#undef CXN_A_END
#else
CXN_INLINE void CXN_LOCAL(dot)(int32_t *CXN_RESTRICT acc, const int16_t *w, const int16_t *const *runs, int32_t offset, int32_t pixels)
{
    for (int32_t m = 0; m < CXN_GET(KERNEL_H); m++) {
        const int16_t *p = runs[m] + offset;
        CXN_UNROLL_LOOP(CXN_GET(UNROLL))
        for (int32_t n = 0; n < CXN_GET(KERNEL_W); n++) {
            const int32_t w0 = w[0], w1 = w[1];
            acc[0] = cxn_mac(w0, p[0], acc[0]);
            acc[1] = cxn_mac(w1, p[1], acc[1]);
            if (pixels > 1) {
                acc[2] = cxn_mac(w0, p[CXN_GET(STRIDE_X) * CXN_LINE_CHANNELS], acc[2]);
                acc[3] = cxn_mac(w1, p[CXN_GET(STRIDE_X) * CXN_LINE_CHANNELS + 1], acc[3]);
            }
            p += CXN_LINE_CHANNELS;
            w += 2;
        }
    }
}
#endif

/* One or two channels of one or two pixels. */
CXN_INLINE void CXN_LOCAL(block)(const int16_t *const *runs, int32_t offset, int32_t pixels, const int16_t *w, const int32_t *init,
                                 const CXN_CHANNEL_T *channel, CXN_OUT_T *out, int32_t count)
{
    int32_t acc[4] = {init[0], init[1], init[0], init[1]};
    CXN_LOCAL(dot)(acc, w, runs, offset, pixels);
#if CXN_CHANNEL_FIRST
    for (int32_t r = 0; r < count; r++) {
        CXN_FACTOR_T factor = CXN_FACTOR(channel + r);
        for (int32_t c = 0; c < pixels; c++)
            CXN_LOCAL(store)(out + c * CXN_GET(OUT_CH) + r, CXN_REQUANTISE(acc[2 * c + r], factor));
    }
#else
    for (int32_t c = 0; c < pixels; c++)
        for (int32_t r = 0; r < count; r++)
            CXN_LOCAL(store)(out + c * CXN_GET(OUT_CH) + r, CXN_REQUANTISE(acc[2 * c + r], CXN_FACTOR(channel + r)));
#endif
}

/* One output row of one or two channels. */
CXN_INLINE void CXN_LOCAL(row)(const int16_t *const *runs, int32_t offset, int32_t count, const int16_t *w,
                               const CXN_CHANNEL_T *channel, CXN_OUT_T *out)
{
    const int32_t init[2] = {CXN_ACC_INIT(channel), count > 1 ? CXN_ACC_INIT(channel + 1) : 0};
    for (int32_t x = 0; x < CXN_GET(OUT_W) / 2; x++) {
        CXN_LOCAL(block)(runs, offset, 2, w, init, channel, out, count);
        offset += 2 * CXN_GET(STRIDE_X) * CXN_LINE_CHANNELS;
        out += 2 * CXN_GET(OUT_CH);
    }
#if CXN_GET(OUT_W) % 2
    CXN_LOCAL(block)(runs, offset, 1, w, init, channel, out, count);
#endif
}
#endif

CXN_KERNEL_FN void CXN_KERNEL(const CXN_IN_T *CXN_ALONE input, const CXN_W_T *CXN_RESTRICT weights,
                              const CXN_CHANNEL_T *CXN_RESTRICT channels, CXN_OUT_T *CXN_ALONE output, void *CXN_RESTRICT scratch CXN_ROWS_PARAMETER)
{
    const int16_t *runs[CXN_GET(KERNEL_H)];
    int16_t *const lines = (int16_t *)scratch;
    int32_t next = -CXN_PAD_ROWS; /* the first input row that is not in the ring yet */
    int32_t slot = 0;                 /* where it goes */
    for (int32_t y = 0; y < CXN_OUT_ROWS; y++) {
        const int32_t top = y * CXN_GET(STRIDE_Y) - CXN_PAD_ROWS;
        while (next < top + CXN_GET(KERNEL_H)) {
            if (next >= top)
                CXN_LOCAL(line)(lines + slot * CXN_LINE, input, next CXN_ROWS_ARGUMENT);
            next++;
            slot = slot == CXN_GET(KERNEL_H) - 1 ? 0 : slot + 1;
        }
        for (int32_t m = 0, s = slot; m < CXN_GET(KERNEL_H); m++) {
            runs[m] = lines + s * CXN_LINE;
            s = s == CXN_GET(KERNEL_H) - 1 ? 0 : s + 1;
        }
        const CXN_W_T *w = weights;
        int32_t c = 0;
        for (; c < CXN_GET(OUT_CH) - 1; c += 2, w += 2 * CXN_TAPS)
            CXN_LOCAL(row)(runs, c, 2, w, channels + c, output + c);
#if CXN_GET(OUT_CH) % 2
        CXN_LOCAL(row)(runs, c, 1, w, channels + c, output + c);
#endif
        output += CXN_GET(OUT_W) * CXN_GET(OUT_CH);
    }
}

#undef CXN_W_T
#undef CXN_LINE_CHANNELS
#undef CXN_SPAN
#undef CXN_LINE
#undef CXN_TAPS
