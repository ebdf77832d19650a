/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rows of depthwise_lines.h for M3, in strips of up to four pixels of one channel: the three weights of a kernel row stay in registers, and
 * every element of a line is loaded once for all pixels and taps that see it. Strips are as even as they can be: 5 pixels are 3 and 2.
 * Per kernel row of four pixels: 35 cycles for 12 MAC at stride 1, 39 at stride 2. In C, compilers keep weights and pixels from one strip to
 * the next, in memory for want of registers, and sum up pixel by pixel: a fifth slower.
 */
#if CXN_GET(KERNEL_W) != 3 || CXN_GET(STRIDE_X) > 2 || (3 * CXN_GET(STRIDE_X) + 2) * CXN_LINE_CHANNELS * 2 > 4095
#error "BLOCK_ROWS x BLOCK_COLS: 2x4 needs KERNEL_W 3, STRIDE_X 1 or 2, and the pixels of a strip within 4095 bytes"
#endif
#define CXN_STRIPS ((CXN_GET(OUT_W) + 3) / 4)
#define CXN_STRIP ((CXN_GET(OUT_W) + CXN_STRIPS - 1) / CXN_STRIPS)
#define CXN_WIDE_STRIPS (CXN_GET(OUT_W) - (CXN_STRIP - 1) * CXN_STRIPS) /* the others are a pixel less */

/* One kernel row: acc[c] += sum_n w[2 n] * p[(c * STRIDE_X + n) * CXN_LINE_CHANNELS], c < pixels. */
#if CXN_GET(INNER) != CXN_INNER_C && CXN_THUMB2
#define CXN_A_X(x, j) "ldrsh %[x" #x "], [%[p], #" #j "*%c[cs]]\n\t"
#define CXN_A_M(c, n, x) "mla %[a" #c "], %[w" #n "], %[x" #x "], %[a" #c "]\n\t"
#define CXN_A_BEGIN                                                         \
    "ldrsh %[w0], [%[w]]\n\t"                                             \
    "ldrsh %[w1], [%[w], #4]\n\t"                                         \
    "ldrsh %[w2], [%[w], #8]\n\t"                                         \
    CXN_A_X(0, 0) CXN_A_X(1, 1) CXN_A_X(2, 2)                               \
    CXN_A_M(0, 0, 0) CXN_A_M(0, 1, 1) CXN_A_M(0, 2, 2)
#if CXN_GET(STRIDE_X) == 1
#define CXN_A_ROW_1 CXN_A_BEGIN
#define CXN_A_ROW_2 CXN_A_BEGIN CXN_A_M(1, 0, 1) CXN_A_M(1, 1, 2) CXN_A_X(0, 3) CXN_A_M(1, 2, 0)
#define CXN_A_ROW_3                                                         \
    CXN_A_BEGIN CXN_A_M(1, 0, 1) CXN_A_M(1, 1, 2) CXN_A_M(2, 0, 2)          \
    CXN_A_X(0, 3) CXN_A_X(1, 4) CXN_A_M(1, 2, 0) CXN_A_M(2, 1, 0) CXN_A_M(2, 2, 1)
#define CXN_A_ROW_4                                                         \
    CXN_A_BEGIN CXN_A_M(1, 0, 1) CXN_A_M(1, 1, 2) CXN_A_M(2, 0, 2)          \
    CXN_A_X(0, 3) CXN_A_X(1, 4) CXN_A_X(2, 5) CXN_A_M(1, 2, 0) CXN_A_M(2, 1, 0) CXN_A_M(2, 2, 1) \
    CXN_A_M(3, 0, 0) CXN_A_M(3, 1, 1) CXN_A_M(3, 2, 2)
#else
#define CXN_A_ROW_1 CXN_A_BEGIN
#define CXN_A_ROW_2                                                         \
    CXN_A_BEGIN CXN_A_M(1, 0, 2) CXN_A_X(0, 3) CXN_A_X(1, 4) CXN_A_M(1, 1, 0) CXN_A_M(1, 2, 1)
#define CXN_A_ROW_3                                                         \
    CXN_A_BEGIN CXN_A_M(1, 0, 2) CXN_A_X(0, 3) CXN_A_X(1, 4) CXN_A_X(2, 5) CXN_A_M(1, 1, 0) CXN_A_M(1, 2, 1) \
    CXN_A_M(2, 0, 1) CXN_A_M(2, 1, 2) CXN_A_X(0, 6) CXN_A_M(2, 2, 0)
#define CXN_A_ROW_4                                                         \
    CXN_A_BEGIN CXN_A_M(1, 0, 2) CXN_A_X(0, 3) CXN_A_X(1, 4) CXN_A_X(2, 5) CXN_A_M(1, 1, 0) CXN_A_M(1, 2, 1) \
    CXN_A_M(2, 0, 1) CXN_A_M(2, 1, 2) CXN_A_X(0, 6) CXN_A_X(1, 7) CXN_A_X(2, 8)                             \
    CXN_A_M(2, 2, 0) CXN_A_M(3, 0, 0) CXN_A_M(3, 1, 1) CXN_A_M(3, 2, 2)
#endif
#define CXN_A_OF(text, ...)                                                 \
    __asm__(text                                                            \
            : __VA_ARGS__, [x0] "=&r"(x0), [x1] "=&r"(x1), [x2] "=&r"(x2), [w0] "=&r"(w0), [w1] "=&r"(w1), [w2] "=&r"(w2) \
            : [p] "r"(p), [w] "r"(w), [cs] "i"(2 * CXN_LINE_CHANNELS), "m"(*(const struct cxn_row *)(const void *)p),      \
              "m"(*(const struct cxn_row *)(const void *)w))
CXN_INLINE void CXN_LOCAL(kernel_row)(int32_t *acc, const int16_t *w, const int16_t *p, int32_t pixels)
{
    /* Memory that the assembly reads, whatever its size. */
    struct cxn_row {
        int16_t e[4096];
    };
    int32_t x0, x1, x2, w0, w1, w2;
    if (pixels == 4) {
        CXN_A_OF(CXN_A_ROW_4, [a0] "+r"(acc[0]), [a1] "+r"(acc[1]), [a2] "+r"(acc[2]), [a3] "+r"(acc[3]));
    } else if (pixels == 3) {
        CXN_A_OF(CXN_A_ROW_3, [a0] "+r"(acc[0]), [a1] "+r"(acc[1]), [a2] "+r"(acc[2]));
    } else if (pixels == 2) {
        CXN_A_OF(CXN_A_ROW_2, [a0] "+r"(acc[0]), [a1] "+r"(acc[1]));
    } else {
        CXN_A_OF(CXN_A_ROW_1, [a0] "+r"(acc[0]));
    }
}
#undef CXN_A_X
#undef CXN_A_M
#undef CXN_A_BEGIN
#undef CXN_A_ROW_1
#undef CXN_A_ROW_2
#undef CXN_A_ROW_3
#undef CXN_A_ROW_4
#undef CXN_A_OF
#else
CXN_INLINE void CXN_LOCAL(kernel_row)(int32_t *acc, const int16_t *w, const int16_t *p, int32_t pixels)
{
    for (int32_t c = 0; c < pixels; c++)
        for (int32_t n = 0; n < 3; n++)
            acc[c] = cxn_mac(w[2 * n], p[(c * CXN_GET(STRIDE_X) + n) * CXN_LINE_CHANNELS], acc[c]);
}
#endif

/* `pixels` outputs of one channel. */
CXN_INLINE void CXN_LOCAL(strip)(const int16_t *const *runs, int32_t offset, int32_t pixels, const int16_t *w, int32_t init,
                                 CXN_FACTOR_T factor, CXN_OUT_T *out)
{
    int32_t acc[4] = {init, init, init, init};
    CXN_UNROLL_LOOP(8)
    for (int32_t m = 0; m < CXN_GET(KERNEL_H); m++)
        CXN_LOCAL(kernel_row)(acc, w + 6 * m, runs[m] + offset, pixels);
    CXN_UNROLL_LOOP(4)
    for (int32_t c = 0; c < pixels; c++)
        CXN_LOCAL(store)(out + c * CXN_GET(OUT_CH), CXN_REQUANTISE(acc[c], factor));
}

/* One output row of one or two channels. */
CXN_INLINE void CXN_LOCAL(row)(const int16_t *const *runs, int32_t offset, int32_t count, const int16_t *w,
                               const CXN_CHANNEL_T *channel, CXN_OUT_T *out)
{
    CXN_UNROLL_LOOP(1)
    for (int32_t r = 0; r < count; r++, channel++, w++) {
        const int32_t init = CXN_ACC_INIT(channel);
        CXN_FACTOR_T factor = CXN_FACTOR(channel);
        CXN_OUT_T *to = out + r;
        int32_t at = offset + r;
        CXN_UNROLL_LOOP(1)
        for (int32_t s = 0; s < CXN_WIDE_STRIPS; s++) {
            CXN_LOCAL(strip)(runs, at, CXN_STRIP, w, init, factor, to);
            at += CXN_STRIP * CXN_GET(STRIDE_X) * CXN_LINE_CHANNELS;
            to += CXN_STRIP * CXN_GET(OUT_CH);
        }
#if CXN_WIDE_STRIPS < CXN_STRIPS
        CXN_UNROLL_LOOP(1)
        for (int32_t s = CXN_WIDE_STRIPS; s < CXN_STRIPS; s++) {
            CXN_LOCAL(strip)(runs, at, CXN_STRIP - 1, w, init, factor, to);
            at += (CXN_STRIP - 1) * CXN_GET(STRIDE_X) * CXN_LINE_CHANNELS;
            to += (CXN_STRIP - 1) * CXN_GET(OUT_CH);
        }
#endif
    }
}

#undef CXN_STRIPS
#undef CXN_STRIP
#undef CXN_WIDE_STRIPS
