/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One block of inner products: CXN_B_ROWS output channels x CXN_B_COLS columns over a run of CXN_RUN elements,
 *     acc[r * CXN_B_COLS + c] += sum_k weight(r, k) * column(c, k)
 * Included by the convolution templates once per block shape, with
 *     CXN_B_NAME        name of the function to define
 *     CXN_B_ROWS        1, 2 or 4      CXN_B_COLS  1, 2 or 4
 *     CXN_RUN           elements of the run
 *     CXN_D_T           element type of the columns: int8_t or int16_t;  CXN_D_LOAD(p) reads one from any address
 *     CXN_D_WIDE        1 when that is int16_t
 *     CXN_D_ALIGNED     1 when every column starts at a word boundary
 *     CXN_COL_STEP      elements from one column to the next; 0: the columns are interleaved pair by pair
 *     CXN_W_T           element type of the packed weights, CXN_W_BYTES its size
 *     CXN_W_ROW_STEP    elements from one weight row to the next; 0: rows are packed in the order of use
 *
 * Packed weights, pair of elements (k, k+1), R rows (memory order, one element each):
 *     int16_t       r0k0 r0k1  r1k0 r1k1 ...            one word per row, ready for SMLAD
 *     int8_t        r0k0 r1k0 r0k1 r1k1  r2k0 r3k0 ...  one word per two rows: SXTB16 gives row 0, SXTB16 ROR#8 row 1
 */
#if CXN_GET(INNER) != CXN_INNER_C && CXN_THUMB2 && CXN_B_ROWS == 2 && CXN_B_COLS == 4 && CXN_D_WIDE && CXN_W_ROW_STEP == 0 && CXN_RUN > 1
#include "asm/dot.h"
#elif CXN_GET(INNER) != CXN_INNER_C && CXN_THUMB1 && CXN_B_ROWS == 2 && CXN_B_COLS == 2 && CXN_D_WIDE && CXN_W_ROW_STEP == 0 && \
    (CXN_GET(LOWERING) != CXN_LOWERING_DIRECT || CXN_GET(INPUT_ALIGNED))
#include "asm/dot_v6m.h"
#else
#define CXN_B_PAIRS (CXN_RUN / 2)
#define CXN_B_NARROW_W (CXN_W_BYTES == 1)

/* Element positions within one pair of k. */
#if CXN_COL_STEP == 0
#define CXN_D_AT(c, j) (2 * (c) + (j))
#define CXN_D_PAIR (2 * CXN_B_COLS)
#else
#define CXN_D_AT(c, j) ((c) * (CXN_COL_STEP) + (j))
#define CXN_D_PAIR 2
#endif
#if CXN_W_ROW_STEP == 0
#define CXN_W_AT(r, j) \
    (CXN_B_NARROW_W && CXN_B_ROWS > 1 ? ((r) / 2) * 4 + (j)*2 + ((r) & 1) : (r)*2 + (j))
#define CXN_W_PAIR (2 * CXN_B_ROWS)
#else
#define CXN_W_AT(r, j) ((r) * (CXN_W_ROW_STEP) + (j))
#define CXN_W_PAIR 2
#endif

/* The block written out: X(r, c) for every accumulator, Y(r) per row, Z(c) per column. */
#if CXN_B_COLS == 1
#define CXN_B_COLUMNS(X, r) X(r, 0)
#define CXN_B_EACH_COL(Z) Z(0)
#elif CXN_B_COLS == 2
#define CXN_B_COLUMNS(X, r) X(r, 0) X(r, 1)
#define CXN_B_EACH_COL(Z) Z(0) Z(1)
#else
#define CXN_B_COLUMNS(X, r) X(r, 0) X(r, 1) X(r, 2) X(r, 3)
#define CXN_B_EACH_COL(Z) Z(0) Z(1) Z(2) Z(3)
#endif
#if CXN_B_ROWS == 1
#define CXN_B_EACH(X) CXN_B_COLUMNS(X, 0)
#define CXN_B_EACH_ROW(Y) Y(0)
#elif CXN_B_ROWS == 2
#define CXN_B_EACH(X) CXN_B_COLUMNS(X, 0) CXN_B_COLUMNS(X, 1)
#define CXN_B_EACH_ROW(Y) Y(0) Y(1)
#else
#define CXN_B_EACH(X) CXN_B_COLUMNS(X, 0) CXN_B_COLUMNS(X, 1) CXN_B_COLUMNS(X, 2) CXN_B_COLUMNS(X, 3)
#define CXN_B_EACH_ROW(Y) Y(0) Y(1) Y(2) Y(3)
#endif
#define CXN_B_ACC(r, c) acc[(r)*CXN_B_COLS + (c)]

CXN_INLINE void CXN_B_NAME(int32_t *CXN_RESTRICT acc, const CXN_W_T *CXN_RESTRICT w, const CXN_D_T *CXN_RESTRICT d)
{
#if CXN_DSP && CXN_D_WIDE
#if CXN_D_ALIGNED
#define CXN_D_LOAD_PAIR(p) cxn_load_u32_aligned(p)
#else
#define CXN_D_LOAD_PAIR(p) cxn_load_u32_single(p)
#endif
#define CXN_LOAD_D(c) const uint32_t d##c = CXN_D_LOAD_PAIR(d + CXN_D_AT(c, 0));
#define CXN_MAC(r, c) CXN_B_ACC(r, c) = cxn_smlad(w##r, d##c, CXN_B_ACC(r, c));
#if CXN_W_ROW_STEP != 0 && CXN_W_BYTES == 1
    /* Plain q7 rows: one word holds four k of a row; PKH puts the widened bytes back in order. */
    CXN_UNROLL_LOOP(CXN_GET(UNROLL))
    for (int32_t k = 0; k < CXN_RUN / 4; k++) {
#define CXN_LOAD_W(r)                                                       \
    const uint32_t x##r = cxn_load_u32_single(w + (r) * (CXN_W_ROW_STEP));  \
    const uint32_t even##r = cxn_sxtb16(x##r), odd##r = cxn_sxtb16_ror8(x##r); \
    uint32_t w##r = cxn_pkhbt(even##r, odd##r);
#define CXN_NEXT_W(r) w##r = cxn_pkhtb(odd##r, even##r);
        CXN_B_EACH_ROW(CXN_LOAD_W)
        {
            CXN_B_EACH_COL(CXN_LOAD_D)
            CXN_B_EACH(CXN_MAC)
        }
        CXN_B_EACH_ROW(CXN_NEXT_W)
        d += CXN_D_PAIR;
        {
            CXN_B_EACH_COL(CXN_LOAD_D)
            CXN_B_EACH(CXN_MAC)
        }
        d += CXN_D_PAIR;
        w += 4;
    }
#undef CXN_LOAD_W
#undef CXN_NEXT_W
#define CXN_B_TAIL_PAIRS ((CXN_RUN % 4) / 2)
#else
    CXN_UNROLL_LOOP(CXN_GET(UNROLL))
    for (int32_t k = 0; k < CXN_B_PAIRS; k++) {
#if CXN_W_BYTES == 1
        /* Two rows per word. */
#define CXN_LOAD_W2(r, s)                                             \
    const uint32_t x##r = cxn_load_u32_aligned(w + CXN_W_AT(r, 0));   \
    const uint32_t w##r = cxn_sxtb16(x##r), w##s = cxn_sxtb16_ror8(x##r);
        CXN_LOAD_W2(0, 1)
#if CXN_B_ROWS == 4
        CXN_LOAD_W2(2, 3)
#endif
#undef CXN_LOAD_W2
#else
#if CXN_W_ROW_STEP == 0
#define CXN_LOAD_W(r) const uint32_t w##r = cxn_load_u32_aligned(w + CXN_W_AT(r, 0));
#else
#define CXN_LOAD_W(r) const uint32_t w##r = cxn_load_u32_single(w + CXN_W_AT(r, 0));
#endif
        CXN_B_EACH_ROW(CXN_LOAD_W)
#undef CXN_LOAD_W
#endif
        CXN_B_EACH_COL(CXN_LOAD_D)
        CXN_B_EACH(CXN_MAC)
        d += CXN_D_PAIR;
        w += CXN_W_PAIR;
    }
#define CXN_B_TAIL_PAIRS 0
#endif
#undef CXN_LOAD_D
#undef CXN_MAC
#undef CXN_D_LOAD_PAIR
#else
#define CXN_B_TAIL_PAIRS CXN_B_PAIRS
#endif

    /* One element at a time: cores without SIMD, and what is left over. */
#define CXN_LOAD_D(c) const int32_t d##c = CXN_D_LOAD(d + CXN_D_AT(c, CXN_B_J));
#define CXN_LOAD_W(r) const int32_t w##r = w[CXN_W_AT(r, CXN_B_J)];
#define CXN_MAC(r, c) CXN_B_ACC(r, c) = cxn_mac(w##r, d##c, CXN_B_ACC(r, c));
#if CXN_B_TAIL_PAIRS > 0
    CXN_UNROLL_LOOP(CXN_GET(UNROLL))
    for (int32_t k = 0; k < CXN_B_TAIL_PAIRS; k++) {
        {
#define CXN_B_J 0
            CXN_B_EACH_ROW(CXN_LOAD_W)
            CXN_B_EACH_COL(CXN_LOAD_D)
            CXN_B_EACH(CXN_MAC)
#undef CXN_B_J
        }
        {
#define CXN_B_J 1
            CXN_B_EACH_ROW(CXN_LOAD_W)
            CXN_B_EACH_COL(CXN_LOAD_D)
            CXN_B_EACH(CXN_MAC)
#undef CXN_B_J
        }
        d += CXN_D_PAIR;
        w += CXN_W_PAIR;
    }
#endif
#if CXN_RUN % 2
    {
#define CXN_B_J 0
        CXN_B_EACH_ROW(CXN_LOAD_W)
        CXN_B_EACH_COL(CXN_LOAD_D)
        CXN_B_EACH(CXN_MAC)
#undef CXN_B_J
    }
#endif
#undef CXN_LOAD_D
#undef CXN_LOAD_W
#undef CXN_MAC
}

#undef CXN_B_TAIL_PAIRS
#undef CXN_B_PAIRS
#undef CXN_B_NARROW_W
#undef CXN_D_AT
#undef CXN_D_PAIR
#undef CXN_W_AT
#undef CXN_W_PAIR
#undef CXN_B_COLUMNS
#undef CXN_B_EACH_COL
#undef CXN_B_EACH
#undef CXN_B_EACH_ROW
#undef CXN_B_ACC
#undef CXN_B_NAME
#undef CXN_B_ROWS
#undef CXN_B_COLS
#endif
