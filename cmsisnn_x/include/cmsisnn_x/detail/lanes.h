/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Elements of one kernel instance in groups: a word of CXN_LANES elements (4 x q7 or 2 x q15), or one element at a time.
 * CXN_WORD_READS says whether words can be used at all: a core without unaligned access needs an input that is word aligned and
 * rows of whole words (CXN_WHOLE_WORDS). Include after config.h and intrinsics.h.
 */
#ifndef CXN_LANES_H
#define CXN_LANES_H

CXN_INLINE int32_t cxn_max_s32(int32_t x, int32_t y)
{
    return x > y ? x : y;
}

/* The bytes, or halves, of x where the top bit of `select` is set, else those of y. */
CXN_INLINE uint32_t cxn_select_u8x4(uint32_t select, uint32_t x, uint32_t y)
{
    const uint32_t ones = (select >> 7) & 0x01010101U;
    return y ^ ((x ^ y) & ((ones << 8) - ones));
}

CXN_INLINE uint32_t cxn_select_u16x2(uint32_t select, uint32_t x, uint32_t y)
{
    const uint32_t ones = (select >> 15) & 0x00010001U;
    return y ^ ((x ^ y) & ((ones << 16) - ones));
}

/* Larger of four signed bytes, of two signed halves. Without SSUB8 and SEL: a subtraction of the low bits, guarded by a set top
   bit so that no borrow crosses, orders equal signs; unequal signs are ordered by the sign of y. */
CXN_INLINE uint32_t cxn_lanes_max_s8(uint32_t x, uint32_t y)
{
#if CXN_DSP
    return cxn_max_s8x4(x, y);
#else
    const uint32_t low = (x | 0x80808080U) - (y & 0x7f7f7f7fU);
    return cxn_select_u8x4(low ^ ((low ^ y) & (x ^ y)), x, y);
#endif
}

CXN_INLINE uint32_t cxn_lanes_max_s16(uint32_t x, uint32_t y)
{
#if CXN_DSP
    return cxn_max_s16x2(x, y);
#else
    const uint32_t low = (x | 0x80008000U) - (y & 0x7fff7fffU);
    return cxn_select_u16x2(low ^ ((low ^ y) & (x ^ y)), x, y);
#endif
}

#endif /* CXN_LANES_H */

#define CXN_LANES (32 / CXN_GET(IN_BITS))
#define CXN_WHOLE_WORDS (CXN_GET(IN_CH) % CXN_LANES == 0)
#define CXN_WORD_READS (CXN_UNALIGNED || (CXN_GET(INPUT_ALIGNED) && CXN_WHOLE_WORDS))

/* `lanes` elements at p: a packed word, or one element with its sign extended. */
CXN_INLINE uint32_t CXN_LOCAL(load_lanes)(const CXN_IN_T *p, int lanes)
{
    if (lanes != 1) {
        if (CXN_DSP) {
            return cxn_load_u32_single(p);
        }
        return !CXN_UNALIGNED || (CXN_GET(INPUT_ALIGNED) && CXN_WHOLE_WORDS) ? cxn_load_u32_aligned(p) : cxn_load_u32(p);
    }
    return CXN_GET(IN_BITS) == 8 || CXN_GET(INPUT_ALIGNED) ? (uint32_t)(int32_t)*p : (uint32_t)cxn_load_s16(p);
}

CXN_INLINE void CXN_LOCAL(store_lanes)(CXN_OUT_T *p, uint32_t x, int lanes)
{
    if (lanes != 1) {
        if (CXN_GET(OUTPUT_ALIGNED) && CXN_WHOLE_WORDS) {
            cxn_store_u32_aligned(p, x);
        } else {
            cxn_store_u32(p, x);
        }
    } else if (CXN_GET(IN_BITS) == 8 || CXN_GET(OUTPUT_ALIGNED)) {
        *p = (CXN_OUT_T)(int32_t)x;
    } else {
        cxn_store_u16(p, x);
    }
}

CXN_INLINE uint32_t CXN_LOCAL(max_lanes)(uint32_t x, uint32_t y, int lanes)
{
    if (lanes == 1) {
        return (uint32_t)cxn_max_s32((int32_t)x, (int32_t)y);
    }
    return CXN_GET(IN_BITS) == 8 ? cxn_lanes_max_s8(x, y) : cxn_lanes_max_s16(x, y);
}
