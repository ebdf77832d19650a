/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Convolutions in vectors (Helium): products of 8 or 16 bits as they are, eight output channels of two pixels at a time (asm/convolve_helium.h).
 *   line buffer  the KERNEL_H input rows of an output row are woven into a strip, [column][row][channel], its padding included: every window
 *                is KERNEL_W columns in one piece, and what neighbours share lies there once. Where an odd OUT_W would waste much, the
 *                second pixel is the one below, with a strip of its own.
 *   direct       kernels of one row, windows of whole vectors inside the image: from the input itself.
 * Scratch: direct none; line buffer CXN_H_ROWS strips of CXN_H_STRIP bytes. With a pooling behind it rows go one by one into the band of
 * convolve_band.h.
 * 16-bit activations by 8-bit weights: sums of up to 504 products fit 32 bits, larger windows go in parts. Outputs are made in vectors where
 * every factor of a block lets them; sums and starts are added with saturation then, which the clamp hides (is_near).
 * Weights: blocks of eight output channels, then of those left over, of four in order if there are no more; [kernel_w][kernel_h][in_ch], filled
 * up with zeros to whole vectors, as asm/convolve_helium.h has them. Records of channels in the order of a block (helium_finish.h).
 */
#if !CXN_HELIUM
#error "INNER: CXN_INNER_HELIUM needs a core with Helium"
#endif
#if CXN_GET(WEIGHT_LAYOUT) != CXN_WEIGHT_LAYOUT_LANES || CXN_BR != 2 || CXN_BC != 2 || \
    CXN_GET(COLUMN_LAYOUT) != CXN_COLUMN_LAYOUT_SEQUENTIAL
#error "INNER: CXN_INNER_HELIUM needs CXN_WEIGHT_LAYOUT_LANES, 2x2 blocks and CXN_COLUMN_LAYOUT_SEQUENTIAL"
#endif
#if CXN_GET(SCHEME) == CXN_SCHEME_AFFINE && CXN_GET(RESCALE) >= CXN_RESCALE_WIDE
#define CXN_H_WIDE 1
#define CXN_PAD_FILL 0
#else
#define CXN_H_WIDE 0
#endif
#if CXN_GET(IN_BITS) != CXN_GET(WEIGHT_BITS) && !CXN_H_WIDE
#error "WEIGHT_BITS: legal value with CXN_INNER_HELIUM is IN_BITS, or 8 where accumulators have 64 bits"
#endif

#define CXN_H_BYTES (CXN_GET(IN_BITS) / 8)
#define CXN_H_RUN (CXN_GET(IN_CH) * CXN_H_BYTES)              /* of a pixel */
#define CXN_H_COLUMN (CXN_GET(KERNEL_H) * CXN_H_RUN)          /* of KERNEL_H of them */
#define CXN_H_WINDOW ((CXN_GET(KERNEL_W) * CXN_H_COLUMN + 15) / 16) /* vectors */
#if CXN_H_WIDE
#define CXN_H_PARTS ((CXN_H_WINDOW + 62) / 63)
#define CXN_VECTORS ((CXN_H_WINDOW + CXN_H_PARTS - 1) / CXN_H_PARTS)
#define CXN_V_WEIGHTS "vldrb.s16 "
#define CXN_V_WEIGHT_BYTES 8
#else
#define CXN_H_PARTS 1
#define CXN_VECTORS CXN_H_WINDOW
#define CXN_V_WEIGHTS "vldrb.8 "
#define CXN_V_WEIGHT_BYTES 16
#endif
#define CXN_H_BLOCK (8 * CXN_V_WEIGHT_BYTES * CXN_VECTORS * CXN_H_PARTS) /* bytes of the weights of a block */
#define CXN_V_STEP (CXN_GET(STRIDE_X) * CXN_H_COLUMN)
#define CXN_H_SPAN ((CXN_GET(OUT_W) - 1) * CXN_GET(STRIDE_X) + CXN_GET(KERNEL_W))

#if CXN_GET(LOWERING) == CXN_LOWERING_DIRECT
#if CXN_GET(KERNEL_H) != 1 || CXN_GET(KERNEL_W) * CXN_H_RUN % 16 || CXN_GET(PAD_TOP) || CXN_GET(PAD_LEFT) || CXN_H_SPAN > CXN_GET(IN_W) || CXN_H_PARTS > 1 || \
    (CXN_GET(OUT_H) - 1) * CXN_GET(STRIDE_Y) >= CXN_GET(IN_H)
#error "LOWERING: CXN_LOWERING_DIRECT needs KERNEL_H 1, KERNEL_W * IN_CH of whole vectors and windows inside the image; legal here: CXN_LOWERING_LINE_BUFFER"
#endif
#define CXN_H_ROWS 1
#define CXN_LOWERING_BYTES 0
#define CXN_V_WORDS (CXN_GET(INPUT_ALIGNED) && CXN_H_RUN % 4 == 0)
#define CXN_V_MOST 15
#elif CXN_GET(LOWERING) == CXN_LOWERING_LINE_BUFFER
#if CXN_IS_BAND
#define CXN_H_MOST_ROWS CXN_GET(BAND)
#else
#define CXN_H_MOST_ROWS CXN_GET(OUT_H)
#endif
#if CXN_GET(OUT_W) % 2 && CXN_GET(OUT_W) < 16 && CXN_H_MOST_ROWS > 1 && !CXN_GET(FUSED_POOL)
#define CXN_H_ROWS 2
#else
#define CXN_H_ROWS 1
#endif
#define CXN_H_STRIP CXN_ROUND_UP((CXN_GET(OUT_W) - 1) * CXN_V_STEP + 16 * CXN_VECTORS * CXN_H_PARTS, 4)
#define CXN_LOWERING_BYTES (CXN_H_ROWS * CXN_H_STRIP)
#define CXN_V_WORDS (CXN_V_STEP % 4 == 0)
/* Vectors of windows that are written out: as many as are within reach of bytes, and of words so many that loops lose little. */
#if CXN_V_WORDS
#define CXN_V_MOST 20
#else
#define CXN_V_MOST 15
#endif
CXN_STATIC_ASSERT(CXN_GET(SCRATCH_BYTES) >= CXN_LOWERING_BYTES + CXN_BAND_BYTES, helium_scratch);
#else
#error "LOWERING: CXN_LOWERING_LINE_BUFFER and _DIRECT are in vectors"
#endif

#define CXN_H_LEFT (CXN_GET(OUT_CH) % 8)
/* Outputs of eight channels in assembly, but for factors of any size, which are rare. */
#if CXN_H_WIDE
#define CXN_H_WHOLE 0
#elif CXN_GET(SCHEME) == CXN_SCHEME_AFFINE
#if CXN_GET(RESCALE) == CXN_RESCALE_SINGLE && CXN_GET(RESCALE_SHIFT) <= 16
#define CXN_H_WHOLE 1
#elif CXN_GET(RESCALE) == CXN_RESCALE_RIGHT || CXN_GET(RESCALE) == CXN_RESCALE_FAR
#define CXN_H_WHOLE 1
#else
#define CXN_H_WHOLE 0
#endif
#else
#define CXN_H_WHOLE 1
#endif
#define CXN_V_EIGHT (CXN_H_WHOLE && CXN_GET(OUT_CH) >= 8)
#define CXN_V_SUMS (CXN_H_LEFT > 4 || (!CXN_H_WHOLE && CXN_GET(OUT_CH) >= 8))
#define CXN_V_SUMS_FOUR (CXN_H_LEFT >= 1 && CXN_H_LEFT <= 4)
#include "helium_finish.h"
#include "asm/convolve_helium.h"

/* What the channels 0, 2, 4, 6 of a block and those between them need: of affine layers it lies like that. */
#if CXN_GET(SCHEME) != CXN_SCHEME_AFFINE && (CXN_V_EIGHT || CXN_V_SUMS)
CXN_INLINE void CXN_LOCAL(starts)(int32_t *to, const CXN_CHANNEL_T *channels, int32_t o)
{
#if CXN_H_LEFT
    const mve_pred16_t some = vctp16q(cxn_lanes(CXN_GET(OUT_CH) - o));
#if CXN_GET(WEIGHT_BITS) == 8
    const int16x8_t bias = vldrbq_z_s16(channels + o, some);
#else
    const int16x8_t bias = vldrhq_z_s16(channels + o, some);
#endif
#elif CXN_GET(WEIGHT_BITS) == 8
    const int16x8_t bias = vldrbq_s16(channels + o);
#else
    const int16x8_t bias = vldrhq_s16(channels + o);
#endif
    vstrwq_s32(to, vaddq_n_s32(vshlq_n_s32(vmovlbq_s16(bias), CXN_GET(BIAS_SHIFT)), (int32_t)CXN_ROUND_TERM));
    vstrwq_s32(to + 4, vaddq_n_s32(vshlq_n_s32(vmovltq_s16(bias), CXN_GET(BIAS_SHIFT)), (int32_t)CXN_ROUND_TERM));
}
#endif

#if CXN_H_WIDE
#define CXN_NEAR_PRODUCTS CXN_MIN(CXN_H_WINDOW * 8, 504)
#include "helium_near.h"

/* Channel o + i of a block from its sum in parts. */
CXN_INLINE void CXN_LOCAL(store_one)(CXN_OUT_T *out, int64_t sum, const int32_t *word)
{
#if CXN_GET(RESCALE) == CXN_RESCALE_WIDE_REAL
    const CXN_CHANNEL_T channel = {word[0], word[4], word[8], word[12], word[16]};
#else
    const CXN_CHANNEL_T channel = {word[0], word[4], word[8], word[12]};
#endif
    const uint64_t start = (uint64_t)(uint32_t)word[4] << 32 | (uint32_t)word[0];
    CXN_LOCAL(store)(out, CXN_LOCAL(requantise)((uint64_t)sum + start, &channel));
}

#define CXN_H_WORDS ((int32_t)(sizeof(CXN_CHANNEL_T) / 4)) /* of a record */
#if CXN_V_SUMS
/* The first `count` channels of a block, of two pixels. */
CXN_INLINE void CXN_LOCAL(finish_sums)(const int8_t *x0, const int8_t *x1, const int8_t *w, const CXN_CHANNEL_T *channels, int32_t o,
                                       CXN_OUT_T *out0, CXN_OUT_T *out1, int32_t count, int32_t is_near)
{
    const int32_t *const records = (const int32_t *)(const void *)(channels + o);
    int32_t sums[16];
    CXN_LOCAL(sums)(x0, x1, w, sums);
#if CXN_H_PARTS > 1
    int64_t total[16];
    for (int i = 0; i < 16; i++)
        total[i] = sums[i];
    CXN_UNROLL_LOOP(1)
    for (int part = 1; part < CXN_H_PARTS; part++) {
        CXN_LOCAL(sums)(x0 + part * (16 * CXN_VECTORS), x1 + part * (16 * CXN_VECTORS), w + part * (CXN_H_BLOCK / CXN_H_PARTS), sums);
        for (int i = 0; i < 16; i++)
            total[i] += sums[i];
    }
    (void)is_near;
#else
    const int32_t *const total = sums;
#if CXN_GET(RESCALE) == CXN_RESCALE_WIDE
    if (is_near) {
        const int32_t *const odd = records + 4 * CXN_H_WORDS;
        CXN_LOCAL(eight_store)(out0 + o, CXN_LOCAL(near_scaled)(vldrwq_s32(sums), records), CXN_LOCAL(near_scaled)(vldrwq_s32(sums + 8), odd), 8);
        CXN_LOCAL(eight_store)(out1 + o, CXN_LOCAL(near_scaled)(vldrwq_s32(sums + 4), records), CXN_LOCAL(near_scaled)(vldrwq_s32(sums + 12), odd), 8);
        return;
    }
#else
    (void)is_near;
#endif
#endif
    for (int32_t i = 0; i < count; i++) {
        /* Channel i is lane i / 2 of the even or odd ones. */
        const int32_t at = i % 2 * 8 + i / 2;
        const int32_t *const word = records + i % 2 * (4 * CXN_H_WORDS) + i / 2;
        CXN_LOCAL(store_one)(out0 + o + i, total[at], word);
        CXN_LOCAL(store_one)(out1 + o + i, total[at + 4], word);
    }
}
#endif

#if CXN_V_SUMS_FOUR
CXN_INLINE void CXN_LOCAL(finish_four)(const int8_t *x0, const int8_t *x1, const int8_t *w, const CXN_CHANNEL_T *channels, int32_t o,
                                       CXN_OUT_T *out0, CXN_OUT_T *out1)
{
    int64_t total[8] = {0, 0, 0, 0, 0, 0, 0, 0};
    CXN_UNROLL_LOOP(1)
    for (int part = 0; part < CXN_H_PARTS; part++) {
        int32_t sums[8];
        CXN_LOCAL(sums_four)(x0 + part * (16 * CXN_VECTORS), x1 + part * (16 * CXN_VECTORS), w + part * (CXN_H_BLOCK / CXN_H_PARTS / 2), sums);
        for (int i = 0; i < 8; i++)
            total[i] += sums[i];
    }
    for (int32_t i = 0; i < CXN_H_LEFT; i++) {
        const int32_t *const word = (const int32_t *)(const void *)(channels + o) + i;
        CXN_LOCAL(store_one)(out0 + o + i, total[i], word);
        CXN_LOCAL(store_one)(out1 + o + i, total[i + 4], word);
    }
}
#endif
#undef CXN_H_WORDS
#else
#if CXN_V_SUMS
/* The first `count` channels of a block, of two pixels. */
CXN_INLINE void CXN_LOCAL(finish_sums)(const int8_t *x0, const int8_t *x1, const int8_t *w, const CXN_CHANNEL_T *channels, int32_t o,
                                       CXN_OUT_T *out0, CXN_OUT_T *out1, int32_t count, int32_t is_near)
{
    int32_t sums[16];
    (void)is_near;
#if CXN_GET(SCHEME) == CXN_SCHEME_AFFINE
    const CXN_LOCAL(four) even = CXN_LOCAL(four_at)(channels, o), odd = CXN_LOCAL(four_at)(channels, o + 4);
#else
    int32_t starts[8];
    CXN_LOCAL(four) even, odd;
    CXN_LOCAL(starts)(starts, channels, o);
    even.start = vldrwq_s32(starts);
    odd.start = vldrwq_s32(starts + 4);
#endif
    CXN_LOCAL(sums)(x0, x1, w, sums);
    CXN_LOCAL(eight_store)(out0 + o, CXN_LOCAL(four_scaled)(vldrwq_s32(sums), even),
                           CXN_LOCAL(four_scaled)(vldrwq_s32(sums + 8), odd), count);
    CXN_LOCAL(eight_store)(out1 + o, CXN_LOCAL(four_scaled)(vldrwq_s32(sums + 4), even),
                           CXN_LOCAL(four_scaled)(vldrwq_s32(sums + 12), odd), count);
}
#endif

#if CXN_V_SUMS_FOUR
CXN_INLINE void CXN_LOCAL(finish_four)(const int8_t *x0, const int8_t *x1, const int8_t *w, const CXN_CHANNEL_T *channels, int32_t o,
                                       CXN_OUT_T *out0, CXN_OUT_T *out1)
{
    int32_t sums[8];
    const CXN_LOCAL(four) four = CXN_LOCAL(four_at)(channels, o);
    CXN_LOCAL(sums_four)(x0, x1, w, sums);
    CXN_LOCAL(four_store)(out0 + o, CXN_LOCAL(four_scaled)(vldrwq_s32(sums), four), CXN_H_LEFT);
    CXN_LOCAL(four_store)(out1 + o, CXN_LOCAL(four_scaled)(vldrwq_s32(sums + 4), four), CXN_H_LEFT);
}
#endif

#endif

/* All output channels of `pairs` pixels from x0 and as many from x1 on, which go to out0 and out1. */
CXN_INLINE void CXN_LOCAL(pixels)(const int8_t *x0, const int8_t *x1, const int8_t *w, const CXN_CHANNEL_T *channels, CXN_OUT_T *out0,
                                  CXN_OUT_T *out1, int32_t pairs)
{
    int32_t o = 0;
#if CXN_GET(OUT_CH) >= 8
    CXN_UNROLL_LOOP(1)
    for (; o <= CXN_GET(OUT_CH) - 8; o += 8, w += CXN_H_BLOCK) {
#if CXN_V_EIGHT
#if CXN_GET(SCHEME) == CXN_SCHEME_AFFINE
        const int32_t *const records = (const int32_t *)(const void *)(channels + o);
#else
        int32_t records[8];
        CXN_LOCAL(starts)(records, channels, o);
#endif
        CXN_LOCAL(eight)(x0, x1, w, records, (int8_t *)(void *)(out0 + o), (int8_t *)(void *)(out1 + o), pairs);
#else
#if CXN_GET(SCHEME) == CXN_SCHEME_AFFINE && CXN_GET(RESCALE) == CXN_RESCALE_WIDE
        const int32_t is_near = CXN_LOCAL(is_near)((const int32_t *)(const void *)(channels + o)) &&
                                CXN_LOCAL(is_near)((const int32_t *)(const void *)(channels + o + 4));
#else
        const int32_t is_near = 0;
#endif
        CXN_UNROLL_LOOP(1)
        for (int32_t i = 0; i < pairs; i++)
            CXN_LOCAL(finish_sums)(x0 + i * CXN_V_STEP, x1 + i * CXN_V_STEP, w, channels, o, out0 + i * CXN_GET(OUT_CH),
                                   out1 + i * CXN_GET(OUT_CH), 8, is_near);
#endif
    }
#endif
#if CXN_H_LEFT
    CXN_UNROLL_LOOP(1)
    for (int32_t i = 0; i < pairs; i++)
#if CXN_H_LEFT > 4
        CXN_LOCAL(finish_sums)(x0 + i * CXN_V_STEP, x1 + i * CXN_V_STEP, w, channels, o, out0 + i * CXN_GET(OUT_CH),
                               out1 + i * CXN_GET(OUT_CH), CXN_H_LEFT, 0);
#else
        CXN_LOCAL(finish_four)(x0 + i * CXN_V_STEP, x1 + i * CXN_V_STEP, w, channels, o, out0 + i * CXN_GET(OUT_CH),
                               out1 + i * CXN_GET(OUT_CH));
#endif
#endif
}

#if CXN_GET(LOWERING) == CXN_LOWERING_LINE_BUFFER
#define CXN_H_N(x) CXN_STRING(x)
#define CXN_H_FULL (CXN_H_RUN / 16)
#define CXN_H_TAIL (CXN_H_RUN % 16)
#define CXN_H_INSIDE CXN_MIN(CXN_GET(IN_W), CXN_H_SPAN - CXN_GET(PAD_LEFT)) /* columns of the strip that are of the image */
/* Pixels of few channels are scattered, as many as a vector has, by offsets of a byte each. */
#define CXN_H_AT_ONCE (16 / CXN_H_RUN)
#if CXN_H_RUN <= 8 && 15 / CXN_H_RUN * CXN_H_COLUMN + 15 % CXN_H_RUN <= 255
#define CXN_H_SCATTERS 1
#define CXN_H_OFFSET(i) ((i) / CXN_H_RUN * CXN_H_COLUMN + (i) % CXN_H_RUN)
#else
#define CXN_H_SCATTERS 0
#endif

/* Row m of the strip at `to`, of `count` pixels: those at `from`, or padding where it is NULL. */
CXN_NOINLINE void CXN_LOCAL(weave)(int8_t *to, const int8_t *from, int32_t count)
{
#if CXN_H_SCATTERS
    static const uint8_t offsets[16] = {
        CXN_H_OFFSET(0), CXN_H_OFFSET(1), CXN_H_OFFSET(2), CXN_H_OFFSET(3), CXN_H_OFFSET(4), CXN_H_OFFSET(5), CXN_H_OFFSET(6), CXN_H_OFFSET(7),
        CXN_H_OFFSET(8), CXN_H_OFFSET(9), CXN_H_OFFSET(10), CXN_H_OFFSET(11), CXN_H_OFFSET(12), CXN_H_OFFSET(13), CXN_H_OFFSET(14), CXN_H_OFFSET(15)};
    const uint8x16_t at = vldrbq_u8(offsets);
    int32_t left = count * CXN_H_RUN;
    if (from == NULL) {
        const int8x16_t padding = vdupq_n_s8((int8_t)(CXN_PAD_FILL));
        CXN_UNROLL_LOOP(1)
        for (; left > 0; left -= CXN_H_AT_ONCE * CXN_H_RUN, to += CXN_H_AT_ONCE * CXN_H_COLUMN)
            vstrbq_scatter_offset_p_s8(to, at, padding, vctp8q((uint32_t)left));
        return;
    }
    __asm__ volatile(
        ".p2align 2\n1:\n\t"
        "vctp.8 %[left]\n\t"
        "vpst\n\tvldrbt.8 q0, [%[from]], #(" CXN_H_N(CXN_H_AT_ONCE * CXN_H_RUN) ")\n\t"
        "subs %[left], %[left], #(" CXN_H_N(CXN_H_AT_ONCE * CXN_H_RUN) ")\n\t"
        "vpst\n\tvstrbt.8 q0, [%[to], %q[at]]\n\t"
        "addw %[to], %[to], #(" CXN_H_N(CXN_H_AT_ONCE * CXN_H_COLUMN) ")\n\t"
        "bgt 1b\n\t"
        : [to] "+&r"(to), [from] "+&r"(from), [left] "+&r"(left)
        : [at] "w"(at)
        : CXN_CLOBBERS_VPR "q0", "cc", "memory");
#else
    if (from == NULL) {
        const int8x16_t padding = vdupq_n_s8((int8_t)(CXN_PAD_FILL));
        CXN_UNROLL_LOOP(1)
        for (; count > 0; count--, to += CXN_H_COLUMN) {
            for (int32_t i = 0; i < CXN_H_FULL; i++)
                vstrbq_s8(to + 16 * i, padding);
#if CXN_H_TAIL
            vstrbq_p_s8(to + 16 * CXN_H_FULL, padding, vctp8q(CXN_H_TAIL));
#endif
        }
        return;
    }
    CXN_UNROLL_LOOP(1)
    for (; count > 0; count--, to += CXN_H_COLUMN, from += CXN_H_RUN) {
        for (int32_t i = 0; i < CXN_H_FULL; i++)
            vstrbq_s8(to + 16 * i, vldrbq_s8(from + 16 * i));
#if CXN_H_TAIL
        const mve_pred16_t some = vctp8q(CXN_H_TAIL);
        vstrbq_p_s8(to + 16 * CXN_H_FULL, vldrbq_z_s8(from + 16 * CXN_H_FULL, some), some);
#endif
    }
#endif
}

/* What the windows of output row y see. */
CXN_INLINE void CXN_LOCAL(strip)(int8_t *to, const int8_t *input, int32_t y CXN_ROWS_PARAMETER)
{
    enum { inside = CXN_H_INSIDE };
    to += CXN_GET(PAD_LEFT) * CXN_H_COLUMN;
    CXN_UNROLL_LOOP(1)
    for (int32_t m = 0; m < CXN_GET(KERNEL_H); m++, to += CXN_H_RUN) {
        const int32_t row = y * CXN_GET(STRIDE_Y) - CXN_PAD_ROWS + m;
        if (inside > 0)
            CXN_LOCAL(weave)(to, CXN_IS_OUTSIDE(row) ? NULL : input + row * (CXN_GET(IN_W) * CXN_H_RUN), inside);
    }
}
#endif

CXN_KERNEL_FN void CXN_KERNEL(const CXN_IN_T *CXN_ALONE input, const CXN_W_T *CXN_RESTRICT weights,
                              const CXN_CHANNEL_T *CXN_RESTRICT channels, CXN_OUT_T *CXN_ALONE output, void *CXN_RESTRICT scratch CXN_ROWS_PARAMETER)
{
    const int8_t *const from = (const int8_t *)(const void *)input, *const w = (const int8_t *)(const void *)weights;
#if defined(CXN_POOL_FUSED)
    CXN_LOCAL(band) band = {(CXN_OUT_T *)scratch + CXN_LOWERING_BYTES / sizeof(CXN_OUT_T), output, 0, 0, 0};
    enum { pairs = (CXN_GET(OUT_W) + 1) / 2, second = CXN_GET(OUT_W) - pairs };
#if CXN_GET(LOWERING) == CXN_LOWERING_LINE_BUFFER
    int8_t *const x = (int8_t *)scratch;
#if CXN_GET(PAD_LEFT) || CXN_H_SPAN - CXN_GET(PAD_LEFT) > CXN_GET(IN_W)
    CXN_MEMSET(x, CXN_PAD_FILL, CXN_LOWERING_BYTES);
#endif
#endif
    CXN_UNROLL_LOOP(1)
    for (int32_t y = 0; y < CXN_GET(OUT_H); y++) {
        if (y < band.needed)
            continue;
        CXN_OUT_T *const out = band.lines + (y - band.first) * CXN_BAND_LINE;
#if CXN_GET(LOWERING) == CXN_LOWERING_LINE_BUFFER
        CXN_LOCAL(strip)(x, from, y);
#else
        const int8_t *const x = from + y * (CXN_GET(STRIDE_Y) * CXN_GET(IN_W) * CXN_H_RUN);
#endif
        CXN_LOCAL(pixels)(x, x + second * CXN_V_STEP, w, channels, out, out + second * CXN_GET(OUT_CH), pairs);
        CXN_LOCAL(band_pool)(&band, y + 1);
    }
#elif CXN_GET(LOWERING) == CXN_LOWERING_DIRECT
    /* Rows are one where nothing lies between them. */
#if CXN_GET(STRIDE_Y) == 1 && CXN_GET(OUT_W) * CXN_V_STEP == CXN_GET(IN_W) * CXN_H_RUN
    const int32_t rows = 1, width = CXN_OUT_ROWS * CXN_GET(OUT_W);
#else
    const int32_t rows = CXN_OUT_ROWS, width = CXN_GET(OUT_W);
#endif
    const int32_t pairs = (width + 1) / 2;
    (void)scratch;
    CXN_UNROLL_LOOP(1)
    for (int32_t y = 0; y < rows; y++) {
        const int8_t *const x = from + y * (CXN_GET(STRIDE_Y) * CXN_GET(IN_W) * CXN_H_RUN);
        CXN_OUT_T *const out = output + y * (CXN_GET(OUT_W) * CXN_GET(OUT_CH));
        CXN_LOCAL(pixels)(x, x + (width - pairs) * CXN_V_STEP, w, channels, out, out + (width - pairs) * CXN_GET(OUT_CH), pairs);
    }
#else
    int8_t *const strips = (int8_t *)scratch;
#if CXN_GET(PAD_LEFT) || CXN_H_SPAN - CXN_GET(PAD_LEFT) > CXN_GET(IN_W)
    CXN_MEMSET(strips, CXN_PAD_FILL, CXN_LOWERING_BYTES);
#endif
#if CXN_H_ROWS == 2
    CXN_UNROLL_LOOP(1)
    for (int32_t y = 0; y < CXN_OUT_ROWS; y += 2) {
        const int32_t is_pair = y + 1 < CXN_OUT_ROWS;
        CXN_OUT_T *const out = output + y * (CXN_GET(OUT_W) * CXN_GET(OUT_CH));
        CXN_LOCAL(strip)(strips, from, y CXN_ROWS_ARGUMENT);
        if (is_pair)
            CXN_LOCAL(strip)(strips + CXN_H_STRIP, from, y + 1 CXN_ROWS_ARGUMENT);
        CXN_LOCAL(pixels)(strips, strips + is_pair * CXN_H_STRIP, w, channels, out, out + is_pair * (CXN_GET(OUT_W) * CXN_GET(OUT_CH)),
                          CXN_GET(OUT_W));
    }
#else
    enum { pairs = (CXN_GET(OUT_W) + 1) / 2, second = CXN_GET(OUT_W) - pairs };
    CXN_UNROLL_LOOP(1)
    for (int32_t y = 0; y < CXN_OUT_ROWS; y++) {
        CXN_OUT_T *const out = output + y * (CXN_GET(OUT_W) * CXN_GET(OUT_CH));
        CXN_LOCAL(strip)(strips, from, y CXN_ROWS_ARGUMENT);
        CXN_LOCAL(pixels)(strips, strips + second * CXN_V_STEP, w, channels, out, out + second * CXN_GET(OUT_CH), pairs);
    }
#endif
#endif
}

#undef CXN_H_BYTES
#undef CXN_H_RUN
#undef CXN_H_COLUMN
#undef CXN_H_WIDE
#undef CXN_H_WINDOW
#undef CXN_H_PARTS
#undef CXN_H_BLOCK
#undef CXN_VECTORS
#undef CXN_V_WEIGHTS
#undef CXN_V_WEIGHT_BYTES
#undef CXN_V_STEP
#undef CXN_V_WORDS
#undef CXN_V_MOST
#undef CXN_H_SPAN
#undef CXN_H_MOST_ROWS
#undef CXN_H_ROWS
#undef CXN_H_STRIP
#undef CXN_H_LEFT
#undef CXN_H_WHOLE
#undef CXN_V_EIGHT
#undef CXN_V_SUMS
#undef CXN_V_SUMS_FOUR
#undef CXN_H_N
#undef CXN_H_FULL
#undef CXN_H_TAIL
#undef CXN_H_INSIDE
#undef CXN_H_AT_ONCE
#undef CXN_H_SCATTERS
#undef CXN_H_OFFSET
