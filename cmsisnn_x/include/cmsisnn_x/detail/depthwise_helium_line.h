/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Images of one row or column, with windows along it, of depthwise_helium.h: a word has one channel of four pixels in line from each pixel on, or
 * of two of 16 bits, so that a window is every fourth word, of which one load takes sixteen pixels: an output is a load and a product. Along a
 * column a visit makes four times UNROLL outputs, along a row all. The last four of a visit may be fewer.
 *     r0 r2 r4 r6  products, before them words, places of outputs and words   r1 outputs  r3 constants  r5 weights  r9 outputs of the last four
 *     q0 q6 words  q1 where they lie  q2 places  q3 outputs  q4 weights
 */
#if CXN_IS_WIDE
CXN_INLINE void CXN_LOCAL(channel)(const int8_t *words, const CXN_W_T *weights, const CXN_CHANNEL_T *channel, const int8_t *places,
                                   CXN_OUT_T *out, int32_t count)
{
    const uint32x4_t apart = vldrwq_u32((const uint32_t *)(const void *)(places + 16));
    const int16x8_t window = vldrhq_s16(weights);
    const int64_t start = (int64_t)(((uint64_t)(uint32_t)channel->start_high << 32) | (uint32_t)channel->start_low);
    for (int32_t x = 0; x < count; x++) {
        const int32x4_t four = vldrwq_gather_offset_s32((const int32_t *)(const void *)(words + x * (CXN_LINE_STRIDE * CXN_STEP)), apart);
        const int64_t acc = vmlaldavaq_s16(start, vreinterpretq_s16_s32(four), window);
        CXN_LOCAL(store)(out + x * CXN_GET(OUT_CH), CXN_LOCAL(requantise)((uint64_t)acc, channel));
    }
}
#else
#if CXN_BYTES == 1
#define CXN_H_MAC(n, x) "vmladav.s8 %[a" #n "], " x ", q4\n\t"
#define CXN_H_STORE_SOME "vctp.32 %[some]\n\tvpst\n\tvstrbt.32 q3, [%[out], q2]\n\t"
#else
#define CXN_H_MAC(n, x) "vmladav.s16 %[a" #n "], " x ", q4\n\t"
#if CXN_GET(OUTPUT_ALIGNED)
#define CXN_H_STORE_SOME "vctp.32 %[some]\n\tvpst\n\tvstrht.32 q3, [%[out], q2]\n\t"
#else
#define CXN_H_STORE_SOME                                                                                               \
    "vctp.32 %[some]\n\tvpst\n\tvstrbt.32 q3, [%[out], q2]\n\tadd %[out], %[out], #1\n\tvshr.u32 q3, q3, #8\n\t"        \
    "vpst\n\tvstrbt.32 q3, [%[out], q2]\n\t"
#endif
#endif
#define CXN_H_LOAD(x) "vldrw.u32 " x ", [q1, #%c[pixel]]!\n\t"
#define CXN_H_FOUR(first, one, two, three, four, five, six)                                                            \
    first one CXN_H_LOAD("q6") two CXN_H_MAC(0, "q0") three CXN_H_LOAD("q0") CXN_H_MAC(1, "q6") four CXN_H_LOAD("q6")   \
    CXN_H_MAC(2, "q0") five CXN_H_MAC(3, "q6") six

/* `count` outputs of a channel, whose first window begins at `words`; `places`: of outputs, and of words. */
CXN_INLINE void CXN_LOCAL(channel)(const int8_t *words, const CXN_W_T *weights, const CXN_CHANNEL_T *channel, const int8_t *places,
                                   CXN_OUT_T *output, int32_t count)
{
    const CXN_LOCAL(scalars_of) s = CXN_LOCAL(scalars)(channel);
    register CXN_OUT_T *out __asm__("r1") = output - 4 * CXN_GET(OUT_CH);
    register const CXN_W_T *w __asm__("r5") = weights;
    register const int8_t *a0 __asm__("r0") = words, *a1 __asm__("r2") = places;
    register int32_t a2 __asm__("r4"), a3 __asm__("r6"), t __asm__("r3") = (count - 1) / 4, some __asm__("r9") = count - (count - 1) / 4 * 4;
    CXN_H_REGISTERS(s)
    __asm__ volatile(
        "vldrw.32 q1, [%[a1], #16]\n\tvldrw.32 q2, [%[a1]]\n\tvadd.i32 q1, q1, %[a0]\n\tvldrw.32 q4, [%[w]]\n\t"
        CXN_H_FOUR("vldrw.u32 q0, [q1]\n\t", "", "", "", "", "", "")
        "wls lr, %[t], 2f\n\t.p2align 2\n1:\n\t"
        CXN_H_TAKE CXN_H_1 CXN_H_2 CXN_H_FOUR(CXN_H_LOAD("q0"), CXN_H_3, "", CXN_H_4, CXN_H_5, CXN_H_6, CXN_H_7)
        CXN_H_STEP CXN_H_STORE "le lr, 1b\n2:\n\t"
        CXN_H_TAKE CXN_H_1 CXN_H_2 CXN_H_3 CXN_H_4 CXN_H_5 CXN_H_6 CXN_H_7 CXN_H_STEP CXN_H_STORE_SOME
        : [a0] "+&Te"(a0), [a1] "+&Te"(a1), [a2] "=&Te"(a2), [a3] "=&Te"(a3), [out] "+&r"(out), [t] "+&r"(t), [w] "+&r"(w),
          [some] "+&r"(some)
        : CXN_H_SCALARS, [pixel] "i"(CXN_LINE_STRIDE * CXN_STEP), [step] "i"(4 * CXN_GET(OUT_CH) * CXN_BYTES)
        : CXN_H_CLOBBERS);
}
#endif

CXN_KERNEL_FN void CXN_KERNEL(const CXN_IN_T *CXN_ALONE input, const CXN_W_T *CXN_RESTRICT weights,
                              const CXN_CHANNEL_T *CXN_RESTRICT channels, CXN_OUT_T *CXN_ALONE output, void *CXN_RESTRICT scratch CXN_ROWS_PARAMETER)
{
    int8_t *const head = (int8_t *)scratch, *const words = head + CXN_HEAD;
    int32_t *const places = (int32_t *)scratch;
#if CXN_KEPT
    int8_t *const kept = words + CXN_LINE_BYTES;
#endif
#if CXN_IS_BAND
    (void)band;
#endif
    for (int32_t i = 0; i < 4; i++) {
        places[i] = (int32_t)CXN_PAD_BYTES;
        places[4 + i] = i * CXN_GET(OUT_CH) * CXN_BYTES;
        places[8 + i] = i * (CXN_DEEP * CXN_STEP);
    }
    for (int32_t first = 0; first < CXN_GET(IN_CH); first += 16 / CXN_BYTES) {
        const int8_t *const from = (const int8_t *)(const void *)(input + first);
        const int32_t some = CXN_MIN(CXN_GET(IN_CH) - first, 16 / CXN_BYTES), count = some * CXN_BYTES;
        CXN_OUT_T *out = output + first;
        int32_t done;
        for (int32_t y = 0; y < CXN_LINE_OUT; y += done) {
#if CXN_KEPT
            const int32_t written = y;
#endif
            int32_t pixel = y * CXN_LINE_STRIDE - CXN_LINE_PAD;
            int8_t *to = words;
            done = CXN_MIN(CXN_LINE_OUT - y, CXN_VISIT);
            const int32_t end = pixel + (done - 1) * CXN_LINE_STRIDE + (CXN_LINE_WORDS - 1) * CXN_DEEP + 1;
            while (pixel < end) {
                const int32_t inside = CXN_MIN(end, CXN_LINE_IN - CXN_DEEP + 1) - pixel;
                if (pixel >= CXN_WRITTEN && inside > 0) {
                    CXN_LOCAL(weave_inside)(from + pixel * CXN_LINE_PIXEL, inside, to, CXN_IS_FLAT ? inside * count : count);
                    to += inside * CXN_STEP;
                    pixel += inside;
                    continue;
                }
                CXN_LOCAL(quad) pixels;
                for (int32_t i = 0; i < CXN_DEEP; i++) {
                    int32_t at = pixel + i;
                    /* GCC 12 selects between vectors of these, by constants of which it takes all lanes for set. */
                    __asm__("" : "+r"(at));
                    pixels.at[i] = head;
                    pixels.step[i] = 0;
                    if (at >= 0 && at < CXN_LINE_IN) {
                        pixels.at[i] = from + at * CXN_LINE_PIXEL;
#if CXN_KEPT
                        if (at < written)
                            pixels.at[i] = kept + (at - written + CXN_KEPT) * 16;
#endif
                    }
                }
                CXN_LOCAL(weave)(&pixels, to, count);
                to += CXN_STEP;
                pixel++;
            }
#if CXN_KEPT
            for (int32_t i = 0; i < CXN_KEPT && done >= CXN_KEPT; i++)
                CXN_LOCAL(keep)(from + (y + done - CXN_KEPT + i) * CXN_LINE_PIXEL, kept + i * 16, count);
#endif
            for (int32_t c = 0; c < some; c++)
                CXN_LOCAL(channel)(words + 4 * c, weights + (first + c) * (4 * CXN_DEEP), channels + first + c, head + 16, out + c, done);
            out += done * CXN_GET(OUT_CH);
        }
    }
}

#undef CXN_H_STORE_SOME
#undef CXN_H_FOUR
