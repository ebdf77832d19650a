/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A fully connected layer on Helium, weights in `lanes` (cmsisnn_x/packing_dense.py), records of channels in fours (helium_finish.h). A core
 * loads as many bytes in a cycle as it multiplies: loads of the input are what costs. So the columns go in parts of up to seven vectors, which
 * stay in q1..q7 while all rows pass, one load of weights beside each VMLADAV; sums wait in scratch from part to part. Two rows a turn: a
 * sum is there three or four cycles after its last product, and is stored in the middle of the next row, that of the second row in the next
 * turn. Sums in r2 and r4; of 16-bit activations by weights with zero points, of 64 bits, in r2 r3 and r4 r5.
 * Seven sums side by side that share loads of the input, by counting alone: no faster on M55 (a load in eight instead of an LDR and an STR in
 * sixteen instructions), slower on M85, where the STR goes beside a vector.
 */
#if !CXN_HELIUM
#error "INNER: CXN_INNER_HELIUM is for cores with Helium"
#endif
#if CXN_GET(WEIGHT_LAYOUT) != CXN_WEIGHT_LAYOUT_LANES || CXN_GET(LOWERING) != CXN_LOWERING_DIRECT || CXN_GET(TILE) != 1
#error "WEIGHT_LAYOUT, LOWERING, TILE: legal values with CXN_INNER_HELIUM are CXN_WEIGHT_LAYOUT_LANES, CXN_LOWERING_DIRECT and 1"
#endif
#if CXN_GET(UNROLL) != 1 || CXN_GET(BLOCK_ROWS) != 1 || CXN_GET(BLOCK_COLS) != 1
#error "UNROLL, BLOCK_ROWS, BLOCK_COLS: legal values with CXN_INNER_HELIUM are 1"
#endif

#if CXN_FC_IS_WIDE
#define CXN_FC_SUM_T int64_t
#else
#include "element.h"
#include "scheme.h"
#define CXN_FC_SUM_T int32_t
#endif
#include "helium_finish.h"

#define CXN_FC_VECTORS ((CXN_GET(IN_CH) * CXN_GET(IN_BITS) + 127) / 128)
#define CXN_FC_PARTS ((CXN_FC_VECTORS + 6) / 7)
/* The first CXN_FC_LONG_PARTS of them have CXN_FC_LONG vectors, the others one less. */
#define CXN_FC_LONG ((CXN_FC_VECTORS + CXN_FC_PARTS - 1) / CXN_FC_PARTS)
#define CXN_FC_LONG_PARTS (CXN_FC_PARTS - (CXN_FC_LONG * CXN_FC_PARTS - CXN_FC_VECTORS))
#define CXN_FC_LAST_BYTES (CXN_GET(IN_CH) * (CXN_GET(IN_BITS) / 8) - 16 * (CXN_FC_VECTORS - 1))

/* One sum in front, and whole vectors of them. */
CXN_STATIC_ASSERT(CXN_GET(SCRATCH_BYTES) >= (1 + (CXN_GET(OUT_CH) + 3) / 4 * 4) * (CXN_FC_IS_WIDE ? 8 : 4), helium_scratch);

#if CXN_GET(IN_BITS) == 8
#define CXN_FC_TYPE ".s8 "
#else
#define CXN_FC_TYPE ".s16 "
#endif
#if CXN_GET(IN_BITS) == CXN_GET(WEIGHT_BITS)
#define CXN_FC_WEIGHTS "vldrb.8 q0, [%[w]], #16\n\t"
#else
#define CXN_FC_WEIGHTS "vldrb.s16 q0, [%[w]], #8\n\t"
#endif
/* The first product of a sum, which begins with what is there or with nothing, and the others. */
#if CXN_FC_IS_WIDE
#define CXN_FC_BEGIN_1(sum) CXN_FC_WEIGHTS "vmlaldav" CXN_FC_TYPE sum ", q1, q0\n\t"
#define CXN_FC_BEGIN_0(sum) "ldrd " sum ", [%[from]], #8\n\t" CXN_FC_MAC(sum, "q1")
#define CXN_FC_MAC(sum, x) CXN_FC_WEIGHTS "vmlaldava" CXN_FC_TYPE sum ", " x ", q0\n\t"
#define CXN_FC_PUT "strd "
#define CXN_FC_P "r2, r3"
#define CXN_FC_Q "r4, r5"
#define CXN_FC_CLOBBERS "r2", "r3", "r4", "r5"
#define CXN_FC_PLACE "+h" /* GCC finds no low register for w at -O0 where others may be in one */
#define CXN_FC_ONE "8"
#define CXN_FC_TWO "16"
#else
#define CXN_FC_BEGIN_1(sum) CXN_FC_WEIGHTS "vmladav" CXN_FC_TYPE sum ", q1, q0\n\t"
#define CXN_FC_BEGIN_0(sum) "ldr " sum ", [%[from]], #4\n\t" CXN_FC_MAC(sum, "q1")
#define CXN_FC_MAC(sum, x) CXN_FC_WEIGHTS "vmladava" CXN_FC_TYPE sum ", " x ", q0\n\t"
#define CXN_FC_PUT "str "
#define CXN_FC_P "r2"
#define CXN_FC_Q "r4"
#define CXN_FC_CLOBBERS "r2", "r4"
#define CXN_FC_PLACE "+r"
#define CXN_FC_ONE "4"
#define CXN_FC_TWO "8"
#endif

#define CXN_FC_MORE_1(sum)
#define CXN_FC_MORE_2(sum) CXN_FC_MAC(sum, "q2")
#define CXN_FC_MORE_3(sum) CXN_FC_MORE_2(sum) CXN_FC_MAC(sum, "q3")
#define CXN_FC_MORE_4(sum) CXN_FC_MORE_3(sum) CXN_FC_MAC(sum, "q4")
#define CXN_FC_MORE_5(sum) CXN_FC_MORE_4(sum) CXN_FC_MAC(sum, "q5")
#define CXN_FC_MORE_6(sum) CXN_FC_MORE_5(sum) CXN_FC_MAC(sum, "q6")
#define CXN_FC_MORE_7(sum) CXN_FC_MORE_6(sum) CXN_FC_MAC(sum, "q7")
#define CXN_FC_X(q) "vldrb.8 " q ", [%[x]], #16\n\t"
#if CXN_FC_LAST_BYTES == 16
#define CXN_FC_X_LAST(q) CXN_FC_X(q)
#else
#define CXN_FC_X_LAST(q) "vctp.8 %[last]\n\tvpst\n\tvldrbt.8 " q ", [%[x]], #16\n\t"
#endif
#define CXN_FC_X_1
#define CXN_FC_X_2 CXN_FC_X("q1")
#define CXN_FC_X_3 CXN_FC_X_2 CXN_FC_X("q2")
#define CXN_FC_X_4 CXN_FC_X_3 CXN_FC_X("q3")
#define CXN_FC_X_5 CXN_FC_X_4 CXN_FC_X("q4")
#define CXN_FC_X_6 CXN_FC_X_5 CXN_FC_X("q5")
#define CXN_FC_X_7 CXN_FC_X_6 CXN_FC_X("q6")

#if CXN_GET(OUT_CH) % 2
#define CXN_FC_ODD(n, first) CXN_FC_BEGIN_##first(CXN_FC_Q) CXN_FC_MORE_##n(CXN_FC_Q)
#else
#define CXN_FC_ODD(n, first)
#endif
/* All rows by n vectors. With an even number of rows the first turn stores something in front of the sums. */
#define CXN_FC_PART(n, first) \
    __asm__ volatile(CXN_FC_X_##n CXN_FC_X_LAST("q" #n) CXN_FC_ODD(n, first) \
        "wls lr, %[pairs], 2f\n\t.p2align 2\n1:\n\t" \
        CXN_FC_BEGIN_##first(CXN_FC_P) \
        CXN_FC_PUT CXN_FC_Q ", [%[to]], #" CXN_FC_TWO "\n\t" \
        CXN_FC_MORE_##n(CXN_FC_P) \
        CXN_FC_BEGIN_##first(CXN_FC_Q) \
        CXN_FC_PUT CXN_FC_P ", [%[to], #-" CXN_FC_ONE "]\n\t" \
        CXN_FC_MORE_##n(CXN_FC_Q) \
        "le lr, 1b\n2:\n\t" \
        CXN_FC_PUT CXN_FC_Q ", [%[to]]\n\t" \
        : [x] "+r"(x), [w] "+l"(w) /* widening loads ask for low registers */, [from] CXN_FC_PLACE(from), \
          [to] CXN_FC_PLACE(to) \
        : [pairs] "r"(CXN_GET(OUT_CH) / 2), [last] "r"(last) \
        : CXN_FC_CLOBBERS, CXN_CLOBBERS_VPR "q0", "q1", "q2", "q3", "q4", "q5", "q6", "q7", "lr", "cc", "memory")

typedef struct {
    const uint8_t *x, *w;
} CXN_LOCAL(place);

/* Part `n` vectors long at x and w: sums begin with nothing or what there is. `last` are the bytes of the last vector. */
CXN_INLINE CXN_LOCAL(place) CXN_LOCAL(part)(CXN_LOCAL(place) at, CXN_FC_SUM_T *sums, int n, int last, int is_first)
{
    const uint8_t *x = at.x, *w = at.w;
    CXN_FC_SUM_T *from = sums, *to = sums - (CXN_GET(OUT_CH) % 2 == 0);
#define CXN_FC_CASE(number) \
    if (n == number && is_first) { \
        CXN_FC_PART(number, 1); \
    } else if (n == number) { \
        CXN_FC_PART(number, 0); \
    }
    CXN_FC_CASE(1)
    CXN_FC_CASE(2)
    CXN_FC_CASE(3)
    CXN_FC_CASE(4)
    CXN_FC_CASE(5)
    CXN_FC_CASE(6)
    CXN_FC_CASE(7)
    at.x = x;
    at.w = w;
    return at;
}

/* The sums of all rows; sums[-1] is written too. */
CXN_INLINE void CXN_LOCAL(sums)(const CXN_IN_T *input, const CXN_WEIGHT_T *weights, CXN_FC_SUM_T *sums)
{
    const int has_short = CXN_FC_LONG_PARTS < CXN_FC_PARTS;
    CXN_LOCAL(place) at;
    at.x = (const uint8_t *)input;
    at.w = (const uint8_t *)weights;
    at = CXN_LOCAL(part)(at, sums, CXN_FC_LONG, CXN_FC_PARTS == 1 ? CXN_FC_LAST_BYTES : 16, 1);
    for (int left = CXN_FC_LONG_PARTS - 1; left > 0; left--) {
        at = CXN_LOCAL(part)(at, sums, CXN_FC_LONG, left == 1 && !has_short ? CXN_FC_LAST_BYTES : 16, 0);
    }
    for (int left = CXN_FC_PARTS - CXN_FC_LONG_PARTS; left > 0; left--) {
        at = CXN_LOCAL(part)(at, sums, has_short ? CXN_FC_LONG - 1 : 1, left == 1 ? CXN_FC_LAST_BYTES : 16, 0);
    }
}

#if CXN_GET(SCHEME) == CXN_SCHEME_AFFINE && CXN_GET(RESCALE) <= CXN_RESCALE_FAR && CXN_GET(OUT_CH) >= 8
#define CXN_FC_FINISHES 1
#if CXN_GET(RESCALE) == CXN_RESCALE_SINGLE
#define CXN_FC_HIGH "vmulh.s32 "
#define CXN_FC_AWAY(x)
#define CXN_FC_SHIFT "vadd.i32 "
#define CXN_FC_ZERO(x)
#define CXN_FC_DOWN(x) "vshr.s32 " x ", " x ", #" CXN_STRING(CXN_GET(RESCALE_SHIFT)) "\n\t"
#define CXN_FC_TOP "24 - " CXN_STRING(CXN_GET(RESCALE_SHIFT))
#else
#define CXN_FC_HIGH "vqrdmulh.s32 "
#define CXN_FC_AWAY(x) "vpt.s32 lt, " x ", zr\n\tvsubt.i32 " x ", " x ", %[one]\n\t"
#define CXN_FC_SHIFT "vrshl.s32 "
#define CXN_FC_ZERO(x) "vmla.s32 " x ", q6, %[zero]\n\t" /* an addition, beside those of integers */
#define CXN_FC_DOWN(x)
#define CXN_FC_TOP "24"
#endif
/* A left shift that saturates clamps to the bits above. */
#if CXN_FULL_RANGE
#define CXN_FC_LOW(x) "vqshl.s32 " x ", " x ", #" CXN_FC_TOP "\n\t"
#define CXN_FC_BELOW(x) "vshr.s32 " x ", " x ", #24\n\t"
#else
#define CXN_FC_LOW(x) CXN_FC_DOWN(x) "vmax.s32 " x ", " x ", q5\n\t"
#define CXN_FC_BELOW(x) "vmin.s32 " x ", " x ", q7\n\t"
#endif
#if CXN_GET(RESCALE) == CXN_RESCALE_SINGLE && CXN_FULL_RANGE
#define CXN_FC_CONSTANTS
#define CXN_FC_NUMBERS
#else
#define CXN_FC_CONSTANTS "vdup.32 q6, %[one]\n\tvdup.32 q5, %[low]\n\tvdup.32 q7, %[high]\n\t"
#define CXN_FC_NUMBERS \
    , [one] "r"(1), [zero] "r"(CXN_GET(OUTPUT_ZERO_POINT)), [low] "r"(CXN_OUT_MIN), [high] "r"(CXN_OUT_MAX)
#endif
#define CXN_FC_WORD(to, at) "vldrw.32 " to ", [%[record]" at "\n\t"
/* Of eight outputs, the products of the first four in q0: the rest of these and all of the others; `next_1` .. _4 are woven in. */
#define CXN_FC_EIGHT(next_1, next_2, next_3, next_4) \
    "vldrw.32 q1, [%[sums]], #16\n\t" \
    CXN_FC_AWAY("q0") \
    CXN_FC_WORD("q2", ", #32]") \
    CXN_FC_SHIFT "q0, q0, q2\n\t" \
    CXN_FC_WORD("q4", ", #48]") \
    CXN_FC_ZERO("q0") \
    "vadd.i32 q1, q1, q4\n\t" \
    CXN_FC_WORD("q3", ", #64]") \
    CXN_FC_LOW("q0") \
    CXN_FC_WORD("q4", ", #80]") \
    CXN_FC_HIGH "q1, q1, q3\n\t" \
    CXN_FC_BELOW("q0") \
    CXN_FC_AWAY("q1") \
    "vstrb.32 q0, [%[out]], #4\n\t" \
    CXN_FC_SHIFT "q1, q1, q4\n\t" \
    next_1 \
    CXN_FC_ZERO("q1") \
    next_2 \
    CXN_FC_LOW("q1") \
    next_3 \
    CXN_FC_BELOW("q1") \
    "vstrb.32 q1, [%[out]], #4\n\t" \
    next_4
/* These products. */
#define CXN_FC_NEXT_2 "vldrw.32 q0, [%[sums]], #16\n\t"
#define CXN_FC_NEXT_3 CXN_FC_WORD("q3", ", #16]")
#define CXN_FC_NEXT_4 "vadd.i32 q0, q0, q2\n\t" CXN_FC_HIGH "q0, q0, q3\n\t"
/* The first OUT_CH / 8 * 8 outputs (helium_finish.h), in a cycle an instruction, 26 a turn at most. */
CXN_INLINE void CXN_LOCAL(eights)(const CXN_FC_SUM_T *sums, const CXN_CHANNEL_T *channels, CXN_OUT_T *output)
{
    const void *record = channels;
    __asm__ volatile(
        CXN_FC_WORD("q2", "]") CXN_FC_NEXT_2 CXN_FC_NEXT_3 CXN_FC_CONSTANTS CXN_FC_NEXT_4
        "wls lr, %[turns], 2f\n\t.p2align 2\n1:\n\t"
        CXN_FC_EIGHT(CXN_FC_WORD("q2", ", #96]!"), CXN_FC_NEXT_2, CXN_FC_NEXT_3, CXN_FC_NEXT_4)
        "le lr, 1b\n2:\n\t"
        CXN_FC_EIGHT("", "", "", "")
        : [sums] "+r"(sums), [record] "+r"(record), [out] "+l"(output)
        : [turns] "r"(CXN_GET(OUT_CH) / 8 - 1) CXN_FC_NUMBERS
        : CXN_CLOBBERS_VPR "q0", "q1", "q2", "q3", "q4", "q5", "q6", "q7", "lr", "cc", "memory");
}
#else
#define CXN_FC_FINISHES 0
#endif

#if CXN_FC_IS_WIDE
#if CXN_GET(RESCALE) == CXN_RESCALE_WIDE
#define CXN_NEAR_PRODUCTS CXN_MIN(CXN_GET(IN_CH), 504)
#include "helium_near.h"

/* Of four sums the low words; whether they, the first `count` of them, are what so many products can be, lies in `fits`. */
CXN_INLINE int32x4_t CXN_LOCAL(low_words)(const int64_t *sums, int32_t count, int32_t *fits)
{
    const int32x4x2_t words = vld2q_s32((const int32_t *)(const void *)sums);
#if CXN_GET(IN_CH) > 504
    const int is_long = vcmpneq_s32(words.val[1], vshrq_n_s32(words.val[0], 31)) | vcmpgtq_n_s32(vqabsq_s32(words.val[0]), 504 << 22);
    *fits = (is_long & vctp32q(cxn_lanes(count))) == 0;
#else
    (void)count;
    *fits = 1;
#endif
    return words.val[0];
}
#endif
#endif

CXN_KERNEL_FN void CXN_KERNEL(const CXN_IN_T *CXN_RESTRICT input, const CXN_WEIGHT_T *CXN_RESTRICT weights,
                              const CXN_CHANNEL_T *CXN_RESTRICT channels, CXN_OUT_T *CXN_RESTRICT output, void *scratch)
{
    CXN_FC_SUM_T *const sums = (CXN_FC_SUM_T *)scratch + 1;
    CXN_LOCAL(sums)(input, weights, sums);
#if CXN_FC_IS_WIDE
    for (int32_t r = 0; r < CXN_GET(OUT_CH); r += 4) {
        /* The words of four records are together, the first words first. */
        const int32_t *const four = (const int32_t *)(const void *)(channels + r);
        const int32_t count = CXN_MIN(CXN_GET(OUT_CH) - r, 4);
#if CXN_GET(RESCALE) == CXN_RESCALE_WIDE
        int32_t fits;
        const int32x4_t low = CXN_LOCAL(low_words)(sums + r, count, &fits);
        if (fits && CXN_LOCAL(is_near)(four)) {
            CXN_LOCAL(four_store)(output + r, CXN_LOCAL(near_scaled)(low, four), count);
            continue;
        }
#endif
        CXN_UNROLL_LOOP(1)
        for (int32_t i = 0; i < count; i++) {
            const uint64_t start = (uint64_t)(uint32_t)four[i + 4] << 32 | (uint32_t)four[i];
#if CXN_GET(RESCALE) == CXN_RESCALE_WIDE_REAL
            const CXN_CHANNEL_T channel = {four[i], four[i + 4], four[i + 8], four[i + 12], four[i + 16]};
#else
            const CXN_CHANNEL_T channel = {four[i], four[i + 4], four[i + 8], four[i + 12]};
#endif
            CXN_LOCAL(store)(output + r + i, CXN_LOCAL(requantise)((uint64_t)sums[r + i] + start, &channel));
        }
    }
#else
    int32_t r = 0;
#if CXN_FC_FINISHES
    CXN_LOCAL(eights)(sums, channels, output);
    r = CXN_GET(OUT_CH) / 8 * 8;
#else
    for (; r < CXN_GET(OUT_CH) / 8 * 8; r += 8) {
        const int32x4_t a = CXN_LOCAL(four_scaled)(vldrwq_s32(sums + r), CXN_LOCAL(four_at)(channels, r));
        const int32x4_t b = CXN_LOCAL(four_scaled)(vldrwq_s32(sums + r + 4), CXN_LOCAL(four_at)(channels, r + 4));
        CXN_LOCAL(four_store)(output + r, a, 4);
        CXN_LOCAL(four_store)(output + r + 4, b, 4);
    }
#endif
    for (; r < CXN_GET(OUT_CH); r += 4) {
        CXN_LOCAL(four_store)(output + r, CXN_LOCAL(four_scaled)(vldrwq_s32(sums + r), CXN_LOCAL(four_at)(channels, r)), CXN_GET(OUT_CH) - r);
    }
#endif
}

#undef CXN_FC_SUM_T
#undef CXN_FC_VECTORS
#undef CXN_FC_PARTS
#undef CXN_FC_LONG
#undef CXN_FC_LONG_PARTS
#undef CXN_FC_LAST_BYTES
#undef CXN_FC_TYPE
#undef CXN_FC_WEIGHTS
#undef CXN_FC_BEGIN_0
#undef CXN_FC_BEGIN_1
#undef CXN_FC_MAC
#undef CXN_FC_PUT
#undef CXN_FC_P
#undef CXN_FC_Q
#undef CXN_FC_CLOBBERS
#undef CXN_FC_PLACE
#undef CXN_FC_ONE
#undef CXN_FC_TWO
#undef CXN_FC_MORE_1
#undef CXN_FC_MORE_2
#undef CXN_FC_MORE_3
#undef CXN_FC_MORE_4
#undef CXN_FC_MORE_5
#undef CXN_FC_MORE_6
#undef CXN_FC_MORE_7
#undef CXN_FC_X
#undef CXN_FC_X_LAST
#undef CXN_FC_X_1
#undef CXN_FC_X_2
#undef CXN_FC_X_3
#undef CXN_FC_X_4
#undef CXN_FC_X_5
#undef CXN_FC_X_6
#undef CXN_FC_X_7
#undef CXN_FC_ODD
#undef CXN_FC_PART
#undef CXN_FC_CASE
#undef CXN_FC_FINISHES
#undef CXN_FC_HIGH
#undef CXN_FC_AWAY
#undef CXN_FC_ZERO
#undef CXN_FC_SHIFT
#undef CXN_FC_DOWN
#undef CXN_FC_TOP
#undef CXN_FC_LOW
#undef CXN_FC_BELOW
#undef CXN_FC_WORD
#undef CXN_FC_CONSTANTS
#undef CXN_FC_NUMBERS
#undef CXN_FC_EIGHT
#undef CXN_FC_NEXT_2
#undef CXN_FC_NEXT_3
#undef CXN_FC_NEXT_4
