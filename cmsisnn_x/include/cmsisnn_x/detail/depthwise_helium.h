/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Depthwise convolution with Helium: an output is the dot product of a window with its weights, one VMLADAV for each 16 elements.
 * Of up to 16 channels at a time the rows of a few windows are woven into words in scratch, four rows of one pixel and channel in each:
 *     [rows][pixel][plane of four rows][channel][4]
 * so that a window is some equally spaced words, 4 STEP bytes apart, of which a load with offsets takes four. Then, channel by channel, weights
 * and factors stay in registers, and four outputs are finished at once:
 *   windows up to 3x3 at stride 1    two rows of two pixels, which see four words between them: one load, four products, with weights that
 *                                    are shifted by a column and a row. UNROLL pairs of rows per visit of a channel.
 *   others                           four pixels of a row, WORDS / 4 loads and products each. UNROLL rows per visit.
 * Rows that a visit of an image in place overwrites before the next has read them, PAD_TOP of them, are kept.
 * Tried, and slower: channels in lanes (VMUL of 16 bits, sums widened: 5 cycles an output and more go into widening alone), pixels in lanes and
 * VMLA by a scalar (16 bits overflow, 32 take twice the products of VMLADAV), words [channel][pixel], which need a scatter more per word.
 *
 * Weights: [channel][4][4], a column of zeros before those of the kernel, and a column of zeros at the end of all; for other windows
 * [channel][words, by column, then plane][4]. Scratch: 64 bytes, the words of one visit, rows that are kept.
 */
#define CXN_W_T int8_t
#if CXN_GET(IN_BITS) != 8 || CXN_GET(WEIGHT_BITS) != 8 || CXN_BR != 1 || CXN_BC != 1 || CXN_GET(UNROLL) > 4
#error "INNER: CXN_INNER_HELIUM takes 8 bits, blocks of 1x1 and UNROLL 1, 2 and 4"
#endif
#define CXN_PAIRED (CXN_GET(KERNEL_H) <= 3 && CXN_GET(KERNEL_W) <= 3 && CXN_GET(STRIDE_Y) == 1 && CXN_GET(STRIDE_X) == 1)
#if CXN_PAIRED
#define CXN_PLANES 1
#define CXN_WORDS 4
#define CXN_GROUP_ROWS 2
#define CXN_GROUP_COLS 2
#define CXN_COLUMNS (CXN_MAX(CXN_GET(OUT_W), 2) + 2)
#else
#define CXN_PLANES ((CXN_GET(KERNEL_H) + 3) / 4)
#define CXN_WORDS ((CXN_GET(KERNEL_W) * CXN_PLANES + 3) / 4 * 4)
#define CXN_GROUP_ROWS 1
#define CXN_GROUP_COLS 4
#define CXN_COLUMNS ((CXN_GET(OUT_W)-1) * CXN_GET(STRIDE_X) + (CXN_WORDS + CXN_PLANES - 1) / CXN_PLANES)
#endif
/* Fewer channels than 16 are woven as if pixels were channels, past the end of a row. */
#define CXN_IS_FLAT (CXN_PLANES == 1 && CXN_GET(IN_CH) < 16)
#define CXN_LANES (CXN_IS_FLAT ? CXN_GET(IN_CH) : 16)
#define CXN_STEP (4 * CXN_LANES) /* from word to word */
#define CXN_PIXEL (CXN_PLANES * CXN_STEP)
#define CXN_PITCH (CXN_COLUMNS * CXN_PIXEL + (CXN_IS_FLAT ? 64 : 0))
#if CXN_IS_BAND
#define CXN_MOST_ROWS CXN_GET(BAND)
#else
#define CXN_MOST_ROWS CXN_GET(OUT_H)
#endif
#define CXN_VISIT CXN_MIN(CXN_GET(UNROLL), (CXN_MOST_ROWS + CXN_GROUP_ROWS - 1) / CXN_GROUP_ROWS)
#define CXN_INSIDE CXN_MAX(CXN_MIN(CXN_GET(IN_W), (CXN_GET(OUT_W)-1) * CXN_GET(STRIDE_X) + CXN_GET(KERNEL_W) - CXN_GET(PAD_LEFT)), 0)
#define CXN_RIGHT CXN_MAX((CXN_GET(OUT_W)-1) * CXN_GET(STRIDE_X) + CXN_GET(KERNEL_W) - CXN_GET(PAD_LEFT) - CXN_INSIDE, 0)
#define CXN_KEPT (CXN_GET(IN_PLACE) && !CXN_IS_BAND ? CXN_GET(PAD_TOP) : 0)
#define CXN_GROUPS_X ((CXN_GET(OUT_W) + CXN_GROUP_COLS - 1) / CXN_GROUP_COLS)
#define CXN_HEAD 96
/* Of weaving: turns, lanes less in each, how far it goes on. */
#define CXN_TURNS (CXN_IS_FLAT ? (CXN_INSIDE * CXN_GET(IN_CH) + 15) / 16 : CXN_INSIDE)
#define CXN_FEWER (CXN_IS_FLAT ? 16 : 0)
#define CXN_FRESH (CXN_IS_FLAT ? 16 : CXN_GET(IN_CH))
/* The pixel of output `i` of four: two below two, or all of a row, of which there may be fewer. */
#define CXN_PLACE(i, is_paired)                                                                                       \
    ((is_paired) ? (i) / 2 * CXN_GET(OUT_W) + CXN_MIN((i) % 2, CXN_GET(OUT_W) - 1)                                     \
                 : CXN_MIN((i) % 2, CXN_GET(OUT_W) - 1) + (i) / 2 * CXN_MAX(CXN_MIN(CXN_GET(OUT_W) - 2, 2), 0))
#if CXN_GROUP_COLS * CXN_GET(OUT_CH) > 4095
#error "OUT_CH: legal values with CXN_INNER_HELIUM are up to 2047, 1023 but for windows up to 3x3 at stride 1"
#endif
#if CXN_PLANES * CXN_GET(STRIDE_X) > 7 || CXN_WORDS > 32
#error "KERNEL_H, KERNEL_W, STRIDE_X: CXN_INNER_HELIUM takes windows of 32 words of four rows, strides of 7 of them"
#endif
#if CXN_KEPT > CXN_VISIT * CXN_GROUP_ROWS
#error "IN_PLACE: 1 needs UNROLL visits as high as PAD_TOP"
#endif

#include "helium_channel.h"

#define CXN_H_STORE "vstrb.32 q3, [%[out], q2]\n\t"
#define CXN_H_LAST(step) CXN_H_TAKE CXN_H_1 CXN_H_2 CXN_H_3 CXN_H_4 CXN_H_5 CXN_H_6 CXN_H_7 step CXN_H_STORE
#define CXN_H_STEP "addw %[out], %[out], %[step]\n\t"
#define CXN_H_ODD "addw %[out], %[out], %[odd]\n\t"
#define CXN_H_CLOBBERS "q0", "q1", "q2", "q3", "q4", "q5", "q6", "q7", "lr", "cc", "memory"
/* How far the last group lies behind the one before: it ends with the row. */
#define CXN_H_ODD_COLS (CXN_GET(OUT_W) % CXN_GROUP_COLS ? CXN_GET(OUT_W) % CXN_GROUP_COLS : CXN_GROUP_COLS)

#if CXN_PAIRED
#define CXN_H_LOAD "vldrw.u32 q0, [q1"
#define CXN_H_MAC(n, w) "vmladav.s8 %[a" #n "], q0, " w "\n\t"
/* Finishes a group of four while the products of the next, `next` bytes on, begin; its outputs lie a step behind those before. */
#define CXN_H_GROUP(next, step)                                                                                        \
    CXN_H_TAKE CXN_H_1 CXN_H_2 CXN_H_LOAD ", #" next "]!\n\t" CXN_H_3 CXN_H_MAC(0, "q4") CXN_H_4 CXN_H_MAC(1, "q5")    \
    CXN_H_5 CXN_H_MAC(2, "q6") CXN_H_6 CXN_H_MAC(3, "q7") CXN_H_7 step CXN_H_STORE
#define CXN_H_BEGIN                                                                                                    \
    "vldrw.32 q1, [%[a2], #16]\n\tvldrw.32 q4, [%[a1], #4]\n\tvadd.i32 q1, q1, %[a0]\n\tvldrw.32 q6, [%[a1], #4]\n\t"  \
    "vldrw.32 q5, [%[a1], #%c[column]]\n\tvshl.u32 q6, %[a3]\n\tvldrw.32 q7, [%[a1], #%c[column]]\n\t"                 \
    CXN_H_LOAD "]\n\tvshl.u32 q7, %[a3]\n\tvldrw.32 q2, [%[a2]]\n\t"                                              \
    CXN_H_MAC(0, "q4") CXN_H_MAC(1, "q5") CXN_H_MAC(2, "q6") CXN_H_MAC(3, "q7")
#define CXN_H_ROW "add %[out], %[out], %[row]\n\t"
/* Rows of up to eight pixels are written out. */
#define CXN_IS_SHORT (CXN_GROUPS_X <= 4)
#if CXN_GROUPS_X == 1
#define CXN_H_GROUPS CXN_H_GROUP("%c[next]", CXN_H_ROW)
#elif CXN_GROUPS_X == 2
#define CXN_H_GROUPS CXN_H_GROUP("%c[less]", CXN_H_ROW) CXN_H_GROUP("%c[next]", CXN_H_ODD)
#elif CXN_GROUPS_X == 3
#define CXN_H_GROUPS CXN_H_GROUP("%c[each]", CXN_H_ROW) CXN_H_GROUP("%c[less]", CXN_H_STEP) CXN_H_GROUP("%c[next]", CXN_H_ODD)
#elif CXN_GROUPS_X == 4
#define CXN_H_GROUPS                                                                                                   \
    CXN_H_GROUP("%c[each]", CXN_H_ROW) CXN_H_GROUP("%c[each]", CXN_H_STEP) CXN_H_GROUP("%c[less]", CXN_H_STEP)         \
    CXN_H_GROUP("%c[next]", CXN_H_ODD)
#elif CXN_GET(OUT_W) % 2
#define CXN_H_GROUPS CXN_H_GROUP("%c[each]", CXN_H_STEP)
#define CXN_H_END CXN_H_GROUP("%c[less]", CXN_H_STEP) CXN_H_LAST(CXN_H_ODD)
#define CXN_H_TURNS (CXN_GROUPS_X - 2)
#else
#define CXN_H_GROUPS CXN_H_GROUP("%c[each]", CXN_H_STEP)
#define CXN_H_END CXN_H_LAST(CXN_H_STEP)
#define CXN_H_TURNS (CXN_GROUPS_X - 1)
#endif
#if CXN_IS_SHORT
#define CXN_H_END
#endif

/* `turns` pairs of rows of a channel, or one if they are long, from `words` on; `places`: of outputs, and of words. */
CXN_INLINE void CXN_LOCAL(outputs)(const int8_t *words, const int8_t *weights, const int8_t *places, int32_t shift, CXN_LOCAL(scalars_of) s,
                                   CXN_OUT_T *to, int32_t turns)
{
    register CXN_OUT_T *out __asm__("r1") = to;
    register const int8_t *a0 __asm__("r0") = words, *a1 __asm__("r2") = weights, *a2 __asm__("r4") = places;
    register int32_t a3 __asm__("r6") = shift, t __asm__("r3") = turns;
    CXN_H_REGISTERS(s)
    __asm__ volatile(
        "dls lr, %[t]\n\t" CXN_H_BEGIN ".p2align 2\n1:\n\t" CXN_H_GROUPS "le lr, 1b\n\t" CXN_H_END
        : [a0] "+&Te"(a0), [a1] "+&Te"(a1), [a2] "+&Te"(a2), [a3] "+&Te"(a3), [out] "+&r"(out), [t] "+&r"(t)
        : CXN_H_SCALARS,
#if CXN_IS_SHORT
          [row] "r"(CXN_GET(OUT_W) == 1 ? 2 * CXN_GET(OUT_CH) : (CXN_GET(OUT_W) + 2) * CXN_GET(OUT_CH)),
          [next] "i"(CXN_PITCH - CXN_MAX(CXN_GET(OUT_W) - 2, 0) * CXN_PIXEL),
#endif
          [column] "i"(CXN_GET(OUT_W) == 1 ? 4 : 0), [each] "i"(2 * CXN_PIXEL), [less] "i"(CXN_H_ODD_COLS * CXN_PIXEL),
          [step] "i"(2 * CXN_GET(OUT_CH)), [odd] "i"(CXN_H_ODD_COLS * CXN_GET(OUT_CH))
        : CXN_H_CLOBBERS);
}

/* `rows` pairs of rows, or the first row of one, of a channel. */
CXN_INLINE void CXN_LOCAL(channel)(const int8_t *words, const CXN_W_T *weights, const CXN_CHANNEL_T *channel, const int8_t *places,
                                   CXN_OUT_T *out, int32_t rows, int is_single)
{
    const CXN_LOCAL(scalars_of) s = CXN_LOCAL(scalars)(channel);
    const int32_t shift = is_single ? 0 : 8;
#if CXN_IS_SHORT
    CXN_LOCAL(outputs)(words, weights, places, shift, s, out - (CXN_GET(OUT_W) == 1 ? 2 : CXN_GET(OUT_W) + 2) * CXN_GET(OUT_CH), rows);
#else
    for (; rows > 0; rows--) {
        CXN_LOCAL(outputs)(words, weights, places, shift, s, out - 2 * CXN_GET(OUT_CH), CXN_H_TURNS);
        words += CXN_PITCH;
        out += 2 * CXN_GET(OUT_W) * CXN_GET(OUT_CH);
    }
#endif
}
#else
#define CXN_H_BLOCKS (CXN_WORDS / 4)
#define CXN_H_BLOCK_STEP ", #4*%c[word]]!\n\t"
#define CXN_H_LOAD_0(at) "vldrw.u32 q0, [q1" at
#define CXN_H_LOAD_1 "vldrw.u32 q6, [q1, #%c[second]]\n\t"
#define CXN_H_LOAD_2(at) "vldrw.u32 q0, [q7" at
#define CXN_H_LOAD_3 "vldrw.u32 q6, [q7, #%c[second]]\n\t"
#define CXN_H_MAC(n, x, a) "vmladav" a ".s8 %[a" #n "], " x ", q4\n\t"
#if CXN_H_BLOCKS == 1
#define CXN_H_WEIGHTS
#define CXN_H_REWIND
#else
#define CXN_H_WEIGHTS "vldrw.32 q4, [%[w]], #16\n\t"
#define CXN_H_REWIND "subw %[w], %[w], #4*%c[words]\n\t"
#endif
#define CXN_H_NEXT_BLOCK                                                                                               \
    CXN_H_WEIGHTS CXN_H_LOAD_0(CXN_H_BLOCK_STEP) CXN_H_MAC(0, "q0", "a") CXN_H_LOAD_1 CXN_H_MAC(1, "q6", "a")    \
    CXN_H_LOAD_2(CXN_H_BLOCK_STEP) CXN_H_MAC(2, "q0", "a") CXN_H_LOAD_3 CXN_H_MAC(3, "q6", "a")
#if CXN_H_BLOCKS == 1
#define CXN_H_MORE
#elif CXN_H_BLOCKS == 2
#define CXN_H_MORE CXN_H_NEXT_BLOCK
#elif CXN_H_BLOCKS == 3
#define CXN_H_MORE CXN_H_NEXT_BLOCK CXN_H_NEXT_BLOCK
#elif CXN_H_BLOCKS == 4
#define CXN_H_MORE CXN_H_NEXT_BLOCK CXN_H_NEXT_BLOCK CXN_H_NEXT_BLOCK
#elif CXN_H_BLOCKS == 5
#define CXN_H_MORE CXN_H_NEXT_BLOCK CXN_H_NEXT_BLOCK CXN_H_NEXT_BLOCK CXN_H_NEXT_BLOCK
#elif CXN_H_BLOCKS == 6
#define CXN_H_MORE                                                                                                     \
    CXN_H_NEXT_BLOCK CXN_H_NEXT_BLOCK CXN_H_NEXT_BLOCK CXN_H_NEXT_BLOCK CXN_H_NEXT_BLOCK
#elif CXN_H_BLOCKS == 7
#define CXN_H_MORE                                                                                                     \
    CXN_H_NEXT_BLOCK CXN_H_NEXT_BLOCK CXN_H_NEXT_BLOCK CXN_H_NEXT_BLOCK CXN_H_NEXT_BLOCK \
    CXN_H_NEXT_BLOCK
#else
#define CXN_H_MORE                                                                                                     \
    CXN_H_NEXT_BLOCK CXN_H_NEXT_BLOCK CXN_H_NEXT_BLOCK CXN_H_NEXT_BLOCK CXN_H_NEXT_BLOCK \
    CXN_H_NEXT_BLOCK CXN_H_NEXT_BLOCK
#endif
#define CXN_H_ADVANCE "vadd.i32 q1, q1, q5\n\tvadd.i32 q7, q7, q5\n\t"
#define CXN_H_SHORTEN "movw %[t], %[shorter]\n\tvsub.i32 q5, q5, %[t]\n\t"
#define CXN_H_GROUP(step)                                                                                              \
    CXN_H_TAKE CXN_H_1 CXN_H_WEIGHTS CXN_H_2 CXN_H_LOAD_0("]\n\t") CXN_H_3 CXN_H_MAC(0, "q0", "") CXN_H_4        \
    CXN_H_LOAD_1 CXN_H_MAC(1, "q6", "") CXN_H_5 CXN_H_LOAD_2("]\n\t") CXN_H_MAC(2, "q0", "") CXN_H_6       \
    CXN_H_LOAD_3 CXN_H_MAC(3, "q6", "") CXN_H_7 step CXN_H_STORE CXN_H_MORE CXN_H_REWIND CXN_H_ADVANCE
#if CXN_H_BLOCKS == 1
#define CXN_H_HELD "vldrw.32 q4, [%[w]]\n\t"
#else
#define CXN_H_HELD
#endif
#define CXN_H_BEGIN                                                                                                    \
    CXN_H_COUNT "vldrw.32 q1, [%[a1], #16]\n\tvldrw.32 q2, [%[a1]]\n\tvadd.i32 q1, q1, %[a0]\n\tvdup.32 q5, %[t]\n\t" CXN_H_HELD                  \
    "vldrw.32 q7, [%[a1], #64]\n\tvadd.i32 q7, q7, %[a0]\n\t" CXN_H_WEIGHTS                                                                         \
    CXN_H_LOAD_0("]\n\t") CXN_H_MAC(0, "q0", "") CXN_H_LOAD_1 CXN_H_MAC(1, "q6", "")                       \
    CXN_H_LOAD_2("]\n\t") CXN_H_MAC(2, "q0", "") CXN_H_LOAD_3 CXN_H_MAC(3, "q6", "") CXN_H_MORE CXN_H_REWIND
#define CXN_H_LOOP ".p2align 2\n1:\n\t" CXN_H_GROUP(CXN_H_STEP) "le lr, 1b\n\t"
#if CXN_GROUPS_X == 1
#define CXN_H_TURNS 0
#define CXN_H_GROUPS CXN_H_LAST(CXN_H_STEP)
#elif CXN_GET(OUT_W) % 4 == 0
#define CXN_H_TURNS (CXN_GROUPS_X - 1)
#define CXN_H_GROUPS CXN_H_ADVANCE CXN_H_LOOP CXN_H_LAST(CXN_H_STEP)
#elif CXN_GROUPS_X == 2
#define CXN_H_TURNS 0
#define CXN_H_GROUPS CXN_H_SHORTEN CXN_H_ADVANCE CXN_H_GROUP(CXN_H_STEP) CXN_H_LAST(CXN_H_ODD)
#elif CXN_GROUPS_X == 3
#define CXN_H_TURNS 0
#define CXN_H_GROUPS                                                                                                   \
    CXN_H_ADVANCE CXN_H_SHORTEN CXN_H_GROUP(CXN_H_STEP) CXN_H_GROUP(CXN_H_STEP) CXN_H_LAST(CXN_H_ODD)
#else
#define CXN_H_TURNS (CXN_GROUPS_X - 3)
#define CXN_H_GROUPS                                                                                                   \
    CXN_H_ADVANCE CXN_H_LOOP CXN_H_SHORTEN CXN_H_GROUP(CXN_H_STEP) CXN_H_GROUP(CXN_H_STEP) CXN_H_LAST(CXN_H_ODD)
#endif
#if CXN_H_TURNS
#define CXN_H_COUNT "dls lr, %[a3]\n\t"
#else
#define CXN_H_COUNT
#endif
#define CXN_H_PIXELS (CXN_GET(STRIDE_X) * CXN_PIXEL)

/* A row of a channel, from `words` on; of fewer than four pixels some twice. */
CXN_INLINE void CXN_LOCAL(outputs)(const int8_t *words, const int8_t *weights, const int8_t *places, CXN_LOCAL(scalars_of) s, CXN_OUT_T *to)
{
    register CXN_OUT_T *out __asm__("r1") = to;
    register const int8_t *w __asm__("r5") = weights;
    register const int8_t *a0 __asm__("r0") = words, *a1 __asm__("r2") = places;
    register int32_t a2 __asm__("r4"), a3 __asm__("r6") = CXN_H_TURNS;
    register int32_t t __asm__("r3") = 4 * CXN_H_PIXELS - (CXN_H_BLOCKS - 1) * 4 * CXN_STEP;
    CXN_H_REGISTERS(s)
    __asm__ volatile(
        CXN_H_BEGIN CXN_H_GROUPS
        : [a0] "+&Te"(a0), [a1] "+&Te"(a1), [a2] "=&Te"(a2), [a3] "+&Te"(a3), [out] "+&r"(out), [t] "+&r"(t), [w] "+&r"(w)
        : CXN_H_SCALARS, [word] "i"(CXN_STEP), [words] "i"(CXN_WORDS), [second] "i"(CXN_GET(OUT_W) == 1 ? 0 : CXN_H_PIXELS),
          [step] "i"(4 * CXN_GET(OUT_CH)), [odd] "i"(CXN_H_ODD_COLS * CXN_GET(OUT_CH)),
          [shorter] "i"((4 - CXN_H_ODD_COLS) * CXN_H_PIXELS)
        : CXN_H_CLOBBERS);
}

CXN_INLINE void CXN_LOCAL(channel)(const int8_t *words, const CXN_W_T *weights, const CXN_CHANNEL_T *channel, const int8_t *places,
                                   CXN_OUT_T *out, int32_t rows, int is_single)
{
    const CXN_LOCAL(scalars_of) s = CXN_LOCAL(scalars)(channel);
    (void)is_single;
    for (; rows > 0; rows--) {
        CXN_LOCAL(outputs)(words, weights, places, s, out - 4 * CXN_GET(OUT_CH));
        words += CXN_PITCH;
        out += CXN_GET(OUT_W) * CXN_GET(OUT_CH);
    }
}
#endif

/* Where four rows begin, and how far each goes on. */
typedef struct {
    const int8_t *at[4];
    int32_t step[4];
} CXN_LOCAL(quad);

/* Four rows, of which `lanes` are inside, into words. Registers are named here and above: GCC fails to find as many. */
CXN_INLINE void CXN_LOCAL(weave)(const CXN_LOCAL(quad) *quad, int8_t *to, int32_t lanes)
{
    register const CXN_LOCAL(quad) *rows __asm__("r12") = quad;
    register int8_t *words __asm__("r8") = to;
    register int32_t count __asm__("r10") = lanes;
    __asm__ volatile(
        "movw lr, %[turns]\n\tldm %[rows], {r0, r1, r2, r3, r4, r5, r6, r7}\n\tdls lr, lr\n\t.p2align 2\n1:\n\t"
        "vctp.8 %[count]\n\t"
        "vpstttt\n\tvldrbt.8 q0, [r0]\n\tvldrbt.8 q1, [r1]\n\tvldrbt.8 q2, [r2]\n\tvldrbt.8 q3, [r3]\n\t"
        "add r0, r0, r4\n\tvst40.8 {q0, q1, q2, q3}, [%[words]]\n\tadd r1, r1, r5\n\t"
        "vst41.8 {q0, q1, q2, q3}, [%[words]]\n\tadd r2, r2, r6\n\tvst42.8 {q0, q1, q2, q3}, [%[words]]\n\t"
        "add r3, r3, r7\n\tvst43.8 {q0, q1, q2, q3}, [%[words]]\n\t"
        "sub %[count], %[count], %[fewer]\n\tadd %[words], %[words], %[next]\n\tle lr, 1b\n\t"
        : [rows] "+&r"(rows), [words] "+&r"(words), [count] "+&r"(count)
        : [turns] "i"(CXN_TURNS), [fewer] "i"(CXN_FEWER), [next] "i"(CXN_IS_FLAT ? 64 : CXN_PIXEL)
        : "r0", "r1", "r2", "r3", "r4", "r5", "r6", "r7", "q0", "q1", "q2", "q3", "lr", "cc", "memory");
}

/* Padding on both sides of some rows. */
CXN_INLINE void CXN_LOCAL(margins)(int8_t *words)
{
    (void)words;
#if CXN_GET(PAD_LEFT) > 0
    CXN_MEMSET(words, CXN_PAD_FILL, CXN_GET(PAD_LEFT) * CXN_PIXEL);
#endif
#if CXN_RIGHT > 0
    CXN_MEMSET(words + (CXN_GET(PAD_LEFT) + CXN_INSIDE) * CXN_PIXEL, CXN_PAD_FILL, CXN_RIGHT * CXN_PIXEL);
#endif
}

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
        : "q0", "lr", "cc", "memory");
}
#endif

CXN_KERNEL_FN void CXN_KERNEL(const CXN_IN_T *CXN_ALONE input, const CXN_W_T *CXN_RESTRICT weights,
                              const CXN_CHANNEL_T *CXN_RESTRICT channels, CXN_OUT_T *CXN_ALONE output, void *CXN_RESTRICT scratch CXN_ROWS_PARAMETER)
{
    int8_t *const head = (int8_t *)scratch, *const words = head + CXN_HEAD;
    int32_t *const places = (int32_t *)scratch;
#if CXN_KEPT
    int8_t *const kept = words + CXN_VISIT * CXN_PITCH + 4 * CXN_STEP;
#endif
    for (int32_t i = 0; i < 4; i++) {
        places[i] = (int32_t)CXN_PAD_BYTES;
        /* Of outputs, of words; and of an only row of outputs. */
        places[4 + i] = CXN_PLACE(i, CXN_PAIRED) * CXN_GET(OUT_CH);
        places[8 + i] = places[16 + i] = i * CXN_STEP;
#if CXN_PAIRED
        places[12 + i] = CXN_PLACE(i % 2, 0) * CXN_GET(OUT_CH);
#else
        places[20 + i] = i * CXN_STEP + CXN_PLACE(2, 0) * CXN_GET(STRIDE_X) * CXN_PIXEL;
#endif
    }
#if !CXN_IS_FLAT
    for (int32_t g = 0; g < CXN_VISIT; g++)
        CXN_LOCAL(margins)(words + g * CXN_PITCH);
#endif
    for (int32_t first = 0; first < CXN_GET(IN_CH); first += 16) {
        const int32_t some = CXN_MIN(CXN_GET(IN_CH) - first, 16), count = CXN_IS_FLAT ? CXN_INSIDE * CXN_GET(IN_CH) : some;
        CXN_OUT_T *out = output + first;
        int32_t done;
        for (int32_t y = 0; y < CXN_OUT_ROWS; y += done) {
            const int32_t left = CXN_OUT_ROWS - y, is_single = CXN_PAIRED && left == 1;
            const int32_t groups = is_single ? 1 : CXN_MIN(left / CXN_GROUP_ROWS, CXN_VISIT);
            done = is_single ? 1 : groups * CXN_GROUP_ROWS;
#if CXN_INSIDE
            for (int32_t g = 0; g < groups; g++) {
                const int32_t top = (y + g * CXN_GROUP_ROWS) * CXN_GET(STRIDE_Y) - CXN_PAD_ROWS;
                for (int32_t plane = 0; plane < CXN_PLANES; plane++) {
                    CXN_LOCAL(quad) rows;
                    for (int32_t i = 0; i < 4; i++) {
                        const int32_t m = 4 * plane + i, row = top + m;
                        rows.at[i] = head;
                        rows.step[i] = 0;
                        if (m < CXN_GET(KERNEL_H) + CXN_PAIRED - is_single && row >= 0 && row < CXN_IN_ROWS) {
                            rows.at[i] = input + row * (CXN_GET(IN_W) * CXN_GET(IN_CH)) + first;
                            rows.step[i] = CXN_FRESH;
#if CXN_KEPT
                            if (row < y) {
                                rows.at[i] = kept + (row - y + CXN_KEPT) * (CXN_TURNS * 16);
                                rows.step[i] = 16;
                            }
#endif
                        }
                    }
                    CXN_LOCAL(weave)(&rows, words + g * CXN_PITCH + CXN_GET(PAD_LEFT) * CXN_PIXEL + plane * CXN_STEP, count);
                }
            }
#if CXN_KEPT
            for (int32_t i = 0; i < CXN_KEPT && done >= CXN_KEPT; i++)
                CXN_LOCAL(keep)(input + (y + done - CXN_KEPT + i) * (CXN_GET(IN_W) * CXN_GET(IN_CH)) + first, kept + i * (CXN_TURNS * 16), count);
#endif
#endif
#if CXN_IS_FLAT
            for (int32_t g = 0; g < groups; g++)
                CXN_LOCAL(margins)(words + g * CXN_PITCH);
#endif
            for (int32_t c = 0; c < some; c++)
                CXN_LOCAL(channel)(words + 4 * c, weights + (first + c) * (4 * CXN_WORDS), channels + first + c,
                                   head + (is_single ? 48 : 16), out + c, groups, is_single);
            out += done * (CXN_GET(OUT_W) * CXN_GET(OUT_CH));
        }
    }
}

#undef CXN_W_T
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
#undef CXN_GROUPS_X
#undef CXN_HEAD
#undef CXN_TURNS
#undef CXN_FEWER
#undef CXN_FRESH
#undef CXN_PLACE
#undef CXN_H_STORE
#undef CXN_H_LAST
#undef CXN_H_STEP
#undef CXN_H_ODD
#undef CXN_H_CLOBBERS
#undef CXN_H_ODD_COLS
#undef CXN_H_LOAD
#undef CXN_H_MAC
#undef CXN_H_GROUP
#undef CXN_H_BEGIN
#undef CXN_H_ROW
#undef CXN_IS_SHORT
#undef CXN_H_GROUPS
#undef CXN_H_END
#undef CXN_H_TURNS
#undef CXN_H_BLOCKS
#undef CXN_H_BLOCK_STEP
#undef CXN_H_LOAD_0
#undef CXN_H_LOAD_1
#undef CXN_H_LOAD_2
#undef CXN_H_LOAD_3
#undef CXN_H_WEIGHTS
#undef CXN_H_REWIND
#undef CXN_H_NEXT_BLOCK
#undef CXN_H_MORE
#undef CXN_H_ADVANCE
#undef CXN_H_HELD
#undef CXN_H_LOOP
#undef CXN_H_SHORTEN
#undef CXN_H_COUNT
#undef CXN_H_PIXELS
#undef CXN_H_TAKE
#undef CXN_H_NARROW
#undef CXN_H_NARROW_8
#undef CXN_H_1
#undef CXN_H_SCALARS
#undef CXN_H_REGISTERS
#undef CXN_H_2
#undef CXN_H_4
#undef CXN_H_5
#undef CXN_H_7
#undef CXN_H_SHIFT
#undef CXN_H_3
#undef CXN_H_6
#undef CXN_H_BYTE
#undef CXN_H_LOW
#undef CXN_H_HIGH
