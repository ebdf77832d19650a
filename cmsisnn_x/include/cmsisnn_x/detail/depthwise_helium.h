/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Depthwise convolution with Helium: an output is the dot product of a window with its weights, one VMLADAV for each 16 elements, or 8 of 16 bits,
 * of which all below has half as many.
 * Of up to 16 channels at a time the rows of a few windows are woven into words in scratch, four rows of one pixel and channel in each:
 *     [rows][pixel][plane of four rows][channel][4]
 * so that a window is some equally spaced words, 4 STEP bytes apart, of which a load with offsets takes four. Then, channel by channel, weights
 * and factors stay in registers, and four outputs are finished at once:
 *   windows up to 3x3 at stride 1    two rows of two pixels, which see four words between them: one load, four products, with weights that
 *                                    are shifted by a column and a row. UNROLL pairs of rows per visit of a channel.
 *   along a row or column one pixel  words of pixels that follow each other: depthwise_helium_line.h.
 *   wide or high, up to 16 elements
 *   others                           four pixels of a row, WORDS / 4 loads and products each. UNROLL rows per visit.
 *                                    With accumulators of 64 bits one pixel, and weights widened.
 * Rows that a visit of an image in place overwrites before the next has read them, PAD_TOP of them or one more, are kept.
 * Counted by the rules of mve_rules.py, and slower: channels in lanes (VMUL of 16 bits, whose sums of two are widened: 6 cycles an output go into
 * that alone), pixels in lanes and VMLA by a scalar (16 bits overflow, 32 take twice the time of VMLADAV), words [channel][pixel], which load
 * without offsets but need a scatter for each, weights of the second row as words shifted to the right (two registers for an instruction more).
 *
 * Weights: [channel][4][4], a column of zeros before those of the kernel, and a column of zeros at the end of all; for those along a row or column
 * [channel][16], zeros behind the kernel's; for other windows
 * [channel][words, by column, then plane][4]. Scratch: 96 bytes, the words of one visit and
 * of a group behind it, rows that are kept.
 */
#define CXN_W_T CXN_IN_T
#define CXN_BYTES (CXN_GET(IN_BITS) / 8)
#define CXN_DEEP (4 / CXN_BYTES) /* rows of a word */
#if CXN_GET(SCHEME) == CXN_SCHEME_AFFINE && CXN_BYTES == 2
#define CXN_IS_WIDE 1
#define CXN_PAD_BYTES 0U
#else
#define CXN_IS_WIDE 0
#endif
#if (CXN_GET(WEIGHT_BITS) != CXN_GET(IN_BITS) && !CXN_IS_WIDE) || CXN_BR != 1 || CXN_BC != 1
#error "INNER: CXN_INNER_HELIUM takes blocks of 1x1 and WEIGHT_BITS as IN_BITS"
#endif
/* An image of one row or column, by the longer side of the window: as words_of() in packing.py has it. */
#define CXN_IS_COLUMN (CXN_GET(IN_W) == 1 && CXN_GET(OUT_W) == 1 && CXN_GET(KERNEL_W) == 1 && CXN_GET(PAD_LEFT) == 0)
#define CXN_IS_ROW (CXN_GET(IN_H) == 1 && CXN_GET(OUT_H) == 1 && CXN_GET(KERNEL_H) == 1 && CXN_GET(PAD_TOP) == 0)
#define CXN_LINE_KERNEL (CXN_IS_COLUMN ? CXN_GET(KERNEL_H) : CXN_GET(KERNEL_W))
#define CXN_LINE_STRIDE (CXN_IS_COLUMN ? CXN_GET(STRIDE_Y) : CXN_GET(STRIDE_X))
#define CXN_IS_LINE                                                                                                    \
    ((CXN_IS_COLUMN || CXN_IS_ROW) && CXN_LINE_KERNEL <= 4 * CXN_DEEP && CXN_LINE_STRIDE <= 8 * CXN_BYTES - 1 &&        \
     4 * CXN_GET(OUT_CH) * CXN_BYTES <= 4095)
#define CXN_PAIRED (!CXN_IS_LINE && CXN_BYTES == 1 && CXN_GET(KERNEL_H) <= 3 && CXN_GET(KERNEL_W) <= 3 && CXN_GET(STRIDE_Y) == 1 && CXN_GET(STRIDE_X) == 1)
#if CXN_IS_LINE
#define CXN_PLANES 1
#define CXN_WORDS 4
#define CXN_GROUP_ROWS 1
#define CXN_GROUP_COLS 4
#define CXN_COLUMNS 1
#elif CXN_PAIRED
#define CXN_PLANES 1
#define CXN_WORDS 4
#define CXN_GROUP_ROWS 2
#define CXN_GROUP_COLS 2
#define CXN_COLUMNS (CXN_MAX(CXN_GET(OUT_W), 2) + 2)
#else
#define CXN_PLANES ((CXN_GET(KERNEL_H) + CXN_DEEP - 1) / CXN_DEEP)
#define CXN_WORDS ((CXN_GET(KERNEL_W) * CXN_PLANES + 3) / 4 * 4)
#define CXN_GROUP_ROWS 1
#define CXN_GROUP_COLS 4
#define CXN_COLUMNS ((CXN_GET(OUT_W)-1) * CXN_GET(STRIDE_X) + (CXN_WORDS + CXN_PLANES - 1) / CXN_PLANES)
#endif
/* Fewer channels than 16 are woven as if pixels were channels, past the end of a row. */
#define CXN_IS_FLAT (CXN_BYTES == 1 && CXN_PLANES == 1 && CXN_GET(IN_CH) < 16)
#define CXN_LANES (CXN_IS_FLAT ? CXN_GET(IN_CH) : 16 / CXN_BYTES)
#define CXN_STEP (4 * CXN_LANES) /* from word to word */
#define CXN_PIXEL (CXN_PLANES * CXN_STEP)
#define CXN_PITCH (CXN_COLUMNS * CXN_PIXEL + (CXN_IS_FLAT ? 64 : 0))
#if CXN_IS_BAND
#define CXN_MOST_ROWS CXN_GET(BAND)
#else
#define CXN_MOST_ROWS CXN_GET(OUT_H)
#endif
#if CXN_IS_LINE
#if CXN_IS_COLUMN
#define CXN_VISIT CXN_MIN(4 * CXN_GET(UNROLL), CXN_MOST_ROWS)
#define CXN_LINE_IN CXN_IN_ROWS
#define CXN_LINE_OUT CXN_OUT_ROWS
#define CXN_LINE_PAD CXN_PAD_ROWS
#else
#define CXN_VISIT CXN_GET(OUT_W)
#define CXN_LINE_IN CXN_GET(IN_W)
#define CXN_LINE_OUT CXN_GET(OUT_W)
#define CXN_LINE_PAD CXN_GET(PAD_LEFT)
#endif
#define CXN_LINE_PIXEL (CXN_GET(IN_CH) * CXN_BYTES)
#define CXN_LINE_WORDS ((CXN_LINE_KERNEL + CXN_DEEP - 1) / CXN_DEEP)
/* All that the windows of whole groups of four see. */
#define CXN_LINE_BYTES ((((CXN_VISIT + 3) / 4 * 4 - 1) * CXN_LINE_STRIDE + 3 * CXN_DEEP + 1) * CXN_STEP + (CXN_IS_FLAT ? 64 : 0))
#else
#define CXN_VISIT CXN_MIN(CXN_GET(UNROLL), (CXN_MOST_ROWS + CXN_GROUP_ROWS - 1) / CXN_GROUP_ROWS)
#endif
#define CXN_INSIDE CXN_MAX(CXN_MIN(CXN_GET(IN_W), (CXN_GET(OUT_W)-1) * CXN_GET(STRIDE_X) + CXN_GET(KERNEL_W) - CXN_GET(PAD_LEFT)), 0)
#define CXN_RIGHT CXN_MAX((CXN_GET(OUT_W)-1) * CXN_GET(STRIDE_X) + CXN_GET(KERNEL_W) - CXN_GET(PAD_LEFT) - CXN_INSIDE, 0)
/* Whether the last of an odd number of rows comes with the one before, which is made twice: from a row more that is kept. */
#if !CXN_GET(IN_PLACE)
#define CXN_IS_TWICE CXN_PAIRED
#else
#define CXN_IS_TWICE (CXN_PAIRED && !CXN_IS_BAND && CXN_GET(OUT_H) % 2 && CXN_GET(PAD_TOP) < 2 * CXN_VISIT)
#endif
#if CXN_GET(IN_PLACE) && !CXN_IS_BAND && CXN_IS_LINE && CXN_IS_COLUMN
#define CXN_KEPT CXN_GET(PAD_TOP)
#elif CXN_GET(IN_PLACE) && !CXN_IS_BAND && !CXN_IS_LINE
#define CXN_KEPT (CXN_GET(PAD_TOP) + CXN_IS_TWICE)
#else
#define CXN_KEPT 0
#endif
#if CXN_GET(IN_PLACE) && !CXN_IS_BAND && (!CXN_IS_LINE || CXN_KEPT)
#define CXN_WRITTEN written
#else
#define CXN_WRITTEN 0
#endif
/* What a group behind the last would take, of rows that are written out. */
#define CXN_AHEAD (CXN_PAIRED ? 4 * CXN_STEP : 3 * CXN_GET(STRIDE_X) * CXN_PIXEL + CXN_WORDS * CXN_STEP)
#define CXN_GROUPS_X ((CXN_GET(OUT_W) + CXN_GROUP_COLS - 1) / CXN_GROUP_COLS)
#define CXN_ROW (CXN_GET(IN_W) * CXN_GET(IN_CH) * CXN_BYTES)
#define CXN_HEAD 96
#if CXN_IS_LINE
CXN_STATIC_ASSERT(CXN_GET(SCRATCH_BYTES) >= CXN_HEAD + CXN_LINE_BYTES + CXN_KEPT * 16, helium_scratch);
#else
CXN_STATIC_ASSERT(CXN_GET(SCRATCH_BYTES) >= CXN_HEAD + CXN_VISIT * CXN_PITCH + CXN_AHEAD, helium_scratch);
#endif
/* Of weaving: turns, lanes less in each, how far it goes on. */
#define CXN_TURNS (CXN_IS_LINE ? 1 : CXN_IS_FLAT ? (CXN_INSIDE * CXN_GET(IN_CH) + 15) / 16 : CXN_INSIDE)
#define CXN_FEWER (CXN_IS_FLAT ? 16 : 0)
#define CXN_FRESH (CXN_IS_FLAT ? 16 : CXN_GET(IN_CH) * CXN_BYTES)
/* The pixel of output `i` of four: two below two, or all of a row, of which there may be fewer. */
#define CXN_PLACE(i, is_paired)                                                                                       \
    ((is_paired) ? (i) / 2 * CXN_GET(OUT_W) + CXN_MIN((i) % 2, CXN_GET(OUT_W) - 1)                                     \
                 : CXN_MIN((i) % 2, CXN_GET(OUT_W) - 1) + (i) / 2 * CXN_MAX(CXN_MIN(CXN_GET(OUT_W) - 2, 2), 0))
#if CXN_GROUP_COLS * CXN_GET(OUT_CH) * CXN_BYTES > 4095
#error "OUT_CH: legal values with CXN_INNER_HELIUM are up to 2047, 1023 but for windows up to 3x3 at stride 1, 511 of 16 bits"
#endif
#if !CXN_IS_LINE && (CXN_PLANES * CXN_GET(STRIDE_X) > 8 * CXN_BYTES - 1 || CXN_WORDS > 32)
#error "KERNEL_H, KERNEL_W, STRIDE_X: CXN_INNER_HELIUM takes windows of 32 words and strides of 7, or 15 of 16 bits"
#endif
#if CXN_KEPT > CXN_VISIT * CXN_GROUP_ROWS
#error "IN_PLACE: 1 needs UNROLL visits as high as PAD_TOP"
#endif

#if !CXN_IS_WIDE
#include "helium_channel.h"
#endif

#if CXN_BYTES == 1
#define CXN_H_STORE "vstrb.32 q3, [%[out], q2]\n\t"
#elif CXN_GET(OUTPUT_ALIGNED)
#define CXN_H_STORE "vstrh.32 q3, [%[out], q2]\n\t"
#else
#define CXN_H_STORE                                                                                                    \
    "vstrb.32 q3, [%[out], q2]\n\tadd %[out], %[out], #1\n\tvshr.u32 q3, q3, #8\n\tvstrb.32 q3, [%[out], q2]\n\t"       \
    "sub %[out], %[out], #1\n\t"
#endif
#define CXN_H_STEP "addw %[out], %[out], %[step]\n\t"
#define CXN_H_ODD "addw %[out], %[out], %[odd]\n\t"
#define CXN_H_CLOBBERS CXN_CLOBBERS_VPR "q0", "q1", "q2", "q3", "q4", "q5", "q6", "q7", "lr", "cc", "memory"
/* How far the last group lies behind the one before: it ends with the row. */
#define CXN_H_ODD_COLS (CXN_GET(OUT_W) % CXN_GROUP_COLS ? CXN_GET(OUT_W) % CXN_GROUP_COLS : CXN_GROUP_COLS)

#if CXN_IS_LINE
#if CXN_IS_WIDE
#include <arm_mve.h>
#endif
#elif CXN_IS_WIDE
#include "depthwise_helium_wide.h"
#elif CXN_PAIRED
#include "depthwise_helium_pairs.h"
#else
#include "depthwise_helium_rows.h"
#endif

/* Where four rows begin, and how far each goes on. */
typedef struct {
    const int8_t *at[4];
    int32_t step[4];
} CXN_LOCAL(quad);

/* Four rows into words, or two of 16 bits, `count` bytes of them in all. */
#if CXN_BYTES == 1
#define CXN_H_WEAVE(turns, s0, s1, s2, s3)                                                                             \
    turns ".p2align 2\n1:\n\t"                                                                                        \
    "vctp.8 %[count]\n\t"                                                                                              \
    "vpstttt\n\tvldrbt.8 q0, [r0]\n\tvldrbt.8 q1, [r1]\n\tvldrbt.8 q2, [r2]\n\tvldrbt.8 q3, [r3]\n\t"                  \
    "add.w r0, r0, " s0 "\n\tvst40.8 {q0, q1, q2, q3}, [%[words]]\n\tadd.w r1, r1, " s1 "\n\t"                         \
    "vst41.8 {q0, q1, q2, q3}, [%[words]]\n\tadd.w r2, r2, " s2 "\n\tvst42.8 {q0, q1, q2, q3}, [%[words]]\n\t"         \
    "add.w r3, r3, " s3 "\n\tvst43.8 {q0, q1, q2, q3}, [%[words]]\n\t"                                                 \
    "sub %[count], %[count], %[fewer]\n\tadd %[words], %[words], %[next]\n\tle lr, 1b\n\t"
#else
#define CXN_H_WEAVE(turns, s0, s1, s2, s3)                                                                             \
    turns ".p2align 2\n1:\n\t"                                                                                        \
    "vctp.8 %[count]\n\tvpstt\n\tvldrbt.8 q0, [r0]\n\tvldrbt.8 q1, [r1]\n\t"                                           \
    "add.w r0, r0, " s0 "\n\tvst20.16 {q0, q1}, [%[words]]\n\tadd.w r1, r1, " s1 "\n\t"                                \
    "vst21.16 {q0, q1}, [%[words]]\n\tadd %[words], %[words], %[next]\n\tle lr, 1b\n\t"
#endif

#define CXN_H_ALL_TURNS "movw lr, %[turns]\n\tdls lr, lr\n\t"
/* Registers are named here and above: GCC fails to find as many. */
CXN_INLINE void CXN_LOCAL(weave)(const CXN_LOCAL(quad) *quad, int8_t *to, int32_t lanes)
{
    register const CXN_LOCAL(quad) *rows __asm__("r12") = quad;
    register int8_t *words __asm__("r8") = to;
    register int32_t count __asm__("r10") = lanes;
    __asm__ volatile(
        "ldm %[rows], {r0, r1, r2, r3, r4, r5, r6, r9}\n\t" CXN_H_WEAVE(CXN_H_ALL_TURNS, "r4", "r5", "r6", "r9")
        : [rows] "+&r"(rows), [words] "+&r"(words), [count] "+&r"(count)
        : [turns] "i"(CXN_TURNS), [fewer] "i"(CXN_FEWER), [next] "i"(CXN_IS_FLAT ? 64 : CXN_PIXEL)
        : "r0", "r1", "r2", "r3", "r4", "r5", "r6", "r9", CXN_CLOBBERS_VPR "q0", "q1", "q2", "q3", "lr", "cc", "memory");
}

#if CXN_IS_LINE
/* The same of `turns` pixels of the image, each with those that follow it. */
CXN_INLINE void CXN_LOCAL(weave_inside)(const int8_t *from, int32_t pixels, int8_t *to, int32_t lanes)
{
    register const int8_t *p0 __asm__("r0") = from, *p1 __asm__("r1") = from + CXN_LINE_PIXEL;
    register const int8_t *p2 __asm__("r2") = p1 + CXN_LINE_PIXEL, *p3 __asm__("r3") = p2 + CXN_LINE_PIXEL;
    register int32_t step __asm__("r4") = CXN_FRESH, turns __asm__("r5") = CXN_IS_FLAT ? (lanes + 15) / 16 : pixels;
    register int8_t *words __asm__("r8") = to;
    register int32_t count __asm__("r10") = lanes;
    __asm__ volatile(
        CXN_H_WEAVE("dls lr, %[turns]\n\t", "r4", "r4", "r4", "r4")
        : "+&r"(p0), "+&r"(p1), "+&r"(p2), "+&r"(p3), [words] "+&r"(words), [count] "+&r"(count)
        : "r"(step), [turns] "r"(turns), [fewer] "i"(CXN_FEWER), [next] "i"(CXN_IS_FLAT ? 64 : CXN_PIXEL)
        : CXN_CLOBBERS_VPR "q0", "q1", "q2", "q3", "lr", "cc", "memory");
}
#else
/* The same of `high` rows of the image, the last of them as often as there are fewer than four. */
CXN_INLINE void CXN_LOCAL(weave_inside)(const int8_t *from, int32_t high, int8_t *to, int32_t lanes)
{
    register const int8_t *p0 __asm__("r0") = from, *p1 __asm__("r1") = p0 + (high > 1 ? CXN_ROW : 0);
    register const int8_t *p2 __asm__("r2") = p1 + (high > 2 ? CXN_ROW : 0), *p3 __asm__("r3") = p2 + (high > 3 ? CXN_ROW : 0);
    register int32_t step __asm__("r4") = CXN_FRESH;
    register int8_t *words __asm__("r8") = to;
    register int32_t count __asm__("r10") = lanes;
    __asm__ volatile(
        CXN_H_WEAVE(CXN_H_ALL_TURNS, "r4", "r4", "r4", "r4")
        : "+&r"(p0), "+&r"(p1), "+&r"(p2), "+&r"(p3), [words] "+&r"(words), [count] "+&r"(count)
        : "r"(step), [turns] "i"(CXN_TURNS), [fewer] "i"(CXN_FEWER), [next] "i"(CXN_IS_FLAT ? 64 : CXN_PIXEL)
        : CXN_CLOBBERS_VPR "q0", "q1", "q2", "q3", "lr", "cc", "memory");
}

/* Padding on both sides of some rows. */
CXN_INLINE void CXN_LOCAL(margins)(int8_t *words)
{
    (void)words;
#if CXN_GET(PAD_LEFT) > 0
    CXN_MEMSET(words, CXN_PAD_BYTES & 255, CXN_GET(PAD_LEFT) * CXN_PIXEL);
#endif
#if CXN_RIGHT > 0
    CXN_MEMSET(words + (CXN_GET(PAD_LEFT) + CXN_INSIDE) * CXN_PIXEL, CXN_PAD_BYTES & 255, CXN_RIGHT * CXN_PIXEL);
#endif
}
#endif

#if CXN_KEPT
/* Lanes of a row that is about to be overwritten. */
CXN_INLINE void CXN_LOCAL(keep)(const int8_t *from, int8_t *to, int32_t count)
{
    __asm__ volatile(
        "dls lr, %[turns]\n\t.p2align 2\n1:\n\t"
        "vctp.8 %[count]\n\tvpst\n\tvldrbt.8 q0, [%[from]]\n\tadd %[from], %[from], %[next]\n\tsub %[count], %[count], %[fewer]\n\t"
        "vstrb.8 q0, [%[to]], #16\n\tle lr, 1b\n\t"
        : [from] "+&r"(from), [to] "+&r"(to), [count] "+&r"(count)
        : [turns] "r"(CXN_TURNS), [next] "r"(CXN_FRESH), [fewer] "i"(CXN_FEWER)
        : CXN_CLOBBERS_VPR "q0", "lr", "cc", "memory");
}
#endif

#if CXN_IS_LINE
#include "depthwise_helium_line.h"
#else
CXN_KERNEL_FN void CXN_KERNEL(const CXN_IN_T *CXN_ALONE input, const CXN_W_T *CXN_RESTRICT weights,
                              const CXN_CHANNEL_T *CXN_RESTRICT channels, CXN_OUT_T *CXN_ALONE output, void *CXN_RESTRICT scratch CXN_ROWS_PARAMETER)
{
    int8_t *const head = (int8_t *)scratch, *const words = head + CXN_HEAD;
    int32_t *const places = (int32_t *)scratch;
#if CXN_KEPT
    int8_t *const kept = words + CXN_VISIT * CXN_PITCH + CXN_AHEAD;
#endif
    for (int32_t i = 0; i < 4; i++) {
        places[i] = (int32_t)CXN_PAD_BYTES;
        /* Of outputs, of words; and of an only row of outputs. */
        places[4 + i] = CXN_PLACE(i, CXN_PAIRED) * CXN_GET(OUT_CH) * CXN_BYTES;
        places[8 + i] = places[16 + i] = i * CXN_STEP;
#if CXN_PAIRED
        places[12 + i] = CXN_PLACE(i % 2, 0) * CXN_GET(OUT_CH);
        places[20 + i] = i * CXN_GET(OUT_W) * CXN_GET(OUT_CH); /* of the last pixels of four rows */
#else
        places[20 + i] = i * CXN_STEP + CXN_PLACE(2, 0) * CXN_GET(STRIDE_X) * CXN_PIXEL;
#endif
    }
#if !CXN_IS_FLAT
    for (int32_t g = 0; g < CXN_VISIT; g++)
        CXN_LOCAL(margins)(words + g * CXN_PITCH);
#endif
    for (int32_t first = 0; first < CXN_GET(IN_CH); first += 16 / CXN_BYTES) {
        const int8_t *const from = (const int8_t *)(const void *)(input + first);
        const int32_t some = CXN_MIN(CXN_GET(IN_CH) - first, 16 / CXN_BYTES), count = CXN_IS_FLAT ? CXN_INSIDE * CXN_GET(IN_CH) : some * CXN_BYTES;
        CXN_OUT_T *out = output + first;
        int32_t done;
        for (int32_t y = 0; y < CXN_OUT_ROWS; y += done) {
            int32_t left = CXN_OUT_ROWS - y;
#if CXN_GET(IN_PLACE) && !CXN_IS_BAND
            const int32_t written = y;
#endif
#if CXN_IS_TWICE
            if (y > 0 && left % 2 && left < 2 * CXN_VISIT) {
                y--;
                left++;
                out -= CXN_GET(OUT_W) * CXN_GET(OUT_CH);
            }
#endif
            const int32_t is_single = CXN_PAIRED && left == 1;
            const int32_t groups = is_single ? 1 : CXN_MIN(left / CXN_GROUP_ROWS, CXN_VISIT);
            done = is_single ? 1 : groups * CXN_GROUP_ROWS;
#if CXN_INSIDE
            for (int32_t g = 0; g < groups; g++) {
                const int32_t top = (y + g * CXN_GROUP_ROWS) * CXN_GET(STRIDE_Y) - CXN_PAD_ROWS;
                int8_t *const to = words + g * CXN_PITCH + CXN_GET(PAD_LEFT) * CXN_PIXEL;
                const int32_t high = CXN_GET(KERNEL_H) + CXN_PAIRED - is_single;
                if (top >= CXN_WRITTEN && top + high <= CXN_IN_ROWS) {
                    for (int32_t plane = 0; plane < CXN_PLANES; plane++)
                        CXN_LOCAL(weave_inside)(from + (top + CXN_DEEP * plane) * CXN_ROW, high - CXN_DEEP * plane, to + plane * CXN_STEP, count);
                    continue;
                }
                for (int32_t plane = 0; plane < CXN_PLANES; plane++) {
                    CXN_LOCAL(quad) rows;
                    for (int32_t i = 0; i < CXN_DEEP; i++) {
                        const int32_t m = CXN_DEEP * plane + i;
                        int32_t row = top + m;
                        __asm__("" : "+r"(row)); /* as in depthwise_helium_line.h */
                        rows.at[i] = head;
                        rows.step[i] = 0;
                        if (m < high && row >= 0 && row < CXN_IN_ROWS) {
                            rows.at[i] = from + row * CXN_ROW;
                            rows.step[i] = CXN_FRESH;
#if CXN_KEPT
                            if (row < written) {
                                rows.at[i] = kept + (row - written + CXN_KEPT) * (CXN_TURNS * 16);
                                rows.step[i] = 16;
                            }
#endif
                        }
                    }
                    CXN_LOCAL(weave)(&rows, to + plane * CXN_STEP, count);
                }
            }
#if CXN_KEPT
            for (int32_t i = 0; i < CXN_KEPT && done >= CXN_KEPT; i++)
                CXN_LOCAL(keep)(from + (y + done - CXN_KEPT + i) * CXN_ROW, kept + i * (CXN_TURNS * 16), count);
#endif
#endif
#if CXN_IS_FLAT
            for (int32_t g = 0; g < groups; g++)
                CXN_LOCAL(margins)(words + g * CXN_PITCH);
#endif
            for (int32_t c = 0; c < some; c++)
                CXN_LOCAL(channel)(words + 4 * c, weights + (first + c) * (CXN_DEEP * CXN_WORDS), channels + first + c,
                                   head + (is_single ? 48 : 16), out + c, groups, is_single);
            out += done * (CXN_GET(OUT_W) * CXN_GET(OUT_CH));
        }
    }
}
#endif

#undef CXN_W_T
#undef CXN_BYTES
#undef CXN_DEEP
#undef CXN_IS_WIDE
#undef CXN_IS_COLUMN
#undef CXN_IS_ROW
#undef CXN_IS_LINE
#undef CXN_LINE_KERNEL
#undef CXN_LINE_STRIDE
#undef CXN_LINE_IN
#undef CXN_LINE_OUT
#undef CXN_LINE_PAD
#undef CXN_LINE_PIXEL
#undef CXN_LINE_WORDS
#undef CXN_LINE_BYTES
#undef CXN_PAIRED
#undef CXN_PLANES
#undef CXN_WORDS
#undef CXN_GROUP_ROWS
#undef CXN_GROUP_COLS
#undef CXN_COLUMNS
#undef CXN_IS_FLAT
#undef CXN_LANES
#undef CXN_STEP
#undef CXN_PIXEL
#undef CXN_PITCH
#undef CXN_MOST_ROWS
#undef CXN_VISIT
#undef CXN_INSIDE
#undef CXN_RIGHT
#undef CXN_KEPT
#undef CXN_WRITTEN
#undef CXN_IS_TWICE
#undef CXN_AHEAD
#undef CXN_GROUPS_X
#undef CXN_ROW
#undef CXN_HEAD
#undef CXN_TURNS
#undef CXN_FEWER
#undef CXN_FRESH
#undef CXN_PLACE
#undef CXN_H_STORE
#undef CXN_H_STEP
#undef CXN_H_ODD
#undef CXN_H_CLOBBERS
#undef CXN_H_ODD_COLS
#undef CXN_H_WEAVE
#undef CXN_H_ALL_TURNS
#undef CXN_H_LOAD
#undef CXN_H_MAC
#undef CXN_H_GROUP
#undef CXN_H_BEGIN
#undef CXN_H_ROW
#undef CXN_IS_SHORT
#undef CXN_H_GROUPS
#undef CXN_H_TURNS
#undef CXN_H_END
#undef CXN_H_LOOP
#undef CXN_H_BLOCKS
#undef CXN_H_PIXELS
#undef CXN_H_SECOND
#undef CXN_H_THIRD
#undef CXN_H_BLOCK_STEP
#undef CXN_H_LOAD_0
#undef CXN_H_LOAD_1
#undef CXN_H_LOAD_2
#undef CXN_H_LOAD_3
#undef CXN_H_MOVE
#undef CXN_H_BACK
#undef CXN_H_OTHER
#undef CXN_H_TYPE
#undef CXN_H_HELD
#undef CXN_H_WEIGHTS
#undef CXN_H_REWIND
#undef CXN_H_NEXT_BLOCK
#undef CXN_H_MORE
#undef CXN_H_ADVANCE
#undef CXN_H_SHORTER
#undef CXN_H_DOWN
#undef CXN_H_EACH
#undef CXN_H_LESS
#undef CXN_H_DOWN_ROW
#undef CXN_H_DLS
#undef CXN_H_EACH_GROUP
#undef CXN_H_TAKE
#undef CXN_H_NARROW
#undef CXN_H_UNSIGNED
#undef CXN_H_NARROW_8
#undef CXN_H_1
#undef CXN_H_REGISTERS
#undef CXN_H_SCALARS
#undef CXN_H_2
#undef CXN_H_4
#undef CXN_H_5
#undef CXN_H_7
#undef CXN_H_SHIFT
#undef CXN_H_MORE_BITS
#undef CXN_H_3
#undef CXN_H_6
#undef CXN_H_BYTE
#undef CXN_H_LOW
#undef CXN_H_HIGH
#undef CXN_IS_DOUBLE
#undef CXN_H_UP
#undef CXN_H_NEXT
#undef CXN_H_TO_LAST
#undef CXN_H_OF_LAST
#undef CXN_H_DOUBLE
