/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All points of a Winograd tile for one block: CXN_POINTS runs of CXN_RUN elements, each a block of inner products of its own (dot_block.h),
 *     m[i][r][c] = sum_k weight(i, r, k) * column(i, c, k)
 * Weights follow each other; columns start CXN_POINT_STEP elements further at each point. Defines products(m, w, d) and, for the rows left
 * over, CXN_PRODUCTS_LEFT(m, w, d). Assembly of 4 rows leaves m[i][c][r]: CXN_M_AT(m, r, c) says where. Included once more for points of
 * another length, after CXN_PRODUCTS and CXN_DOT were given other names.
 */
#ifndef CXN_PRODUCTS
#define CXN_PRODUCTS products
#define CXN_DOT dot
#endif
#if CXN_GET(INNER) != CXN_INNER_C && \
    (CXN_BR == 2 ? (CXN_THUMB2 && CXN_BC == 4) || (CXN_THUMB1 && CXN_BC == 2) : CXN_DSP && CXN_THUMB2)
#define CXN_B_POINTS CXN_POINTS
#define CXN_B_POINT_STEP CXN_POINT_STEP
#define CXN_B_NAME CXN_LOCAL(CXN_PRODUCTS)
#define CXN_B_ROWS CXN_BR
#define CXN_B_COLS CXN_BC
#if CXN_THUMB2
#include "asm/dot.h"
#else
#include "asm/dot_v6m.h"
#endif
#undef CXN_B_POINTS
#undef CXN_B_POINT_STEP
#if CXN_BR == 4
#define CXN_M_AT(m, r, c) ((m) + (c)*CXN_BR + (r))
#else
#define CXN_M_AT(m, r, c) ((m) + (r)*CXN_BC + (c))
#ifndef CXN_PRODUCTS_LEFT
#define CXN_PRODUCTS_LEFT CXN_LOCAL(products)
#endif
#endif
#else
#define CXN_B_NAME CXN_LOCAL(CXN_DOT)
#define CXN_B_ROWS CXN_BR
#define CXN_B_COLS CXN_BC
#include "dot_block.h"
CXN_INLINE void CXN_LOCAL(CXN_PRODUCTS)(int32_t *m, const CXN_W_T *w, const CXN_D_T *d)
{
    for (int32_t i = 0; i < CXN_POINTS; i++, w += CXN_BR * CXN_RUN, d += CXN_POINT_STEP) {
        int32_t acc[CXN_BR * CXN_BC] = {0};
        CXN_LOCAL(CXN_DOT)(acc, w, d);
        for (int32_t k = 0; k < CXN_BR * CXN_BC; k++)
            *m++ = acc[k];
    }
}
#define CXN_M_AT(m, r, c) ((m) + (r)*CXN_BC + (c))
#endif
#if !defined(CXN_PRODUCTS_LEFT) && CXN_GET(OUT_CH) % CXN_BR
#define CXN_B_NAME CXN_LOCAL(dot_left)
#define CXN_B_ROWS 2
#define CXN_B_COLS CXN_BC
#include "dot_block.h"
CXN_INLINE void CXN_LOCAL(products_left)(int32_t *m, const CXN_W_T *w, const CXN_D_T *d)
{
    for (int32_t i = 0; i < CXN_POINTS; i++, w += 2 * CXN_RUN, d += CXN_POINT_STEP) {
        int32_t acc[2 * CXN_BC] = {0};
        CXN_LOCAL(dot_left)(acc, w, d);
        for (int32_t k = 0; k < 2 * CXN_BC; k++)
            *m++ = acc[k];
    }
}
#define CXN_PRODUCTS_LEFT CXN_LOCAL(products_left)
#endif
