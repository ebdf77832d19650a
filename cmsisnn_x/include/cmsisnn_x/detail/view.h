/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The elements of a view of one instance, one by one: of shape VIEW_SHAPE_0 x .. x VIEW_SHAPE_5, element (i, j, ..) of it is element
 *     VIEW_OFFSET + i VIEW_STEP_0 + j VIEW_STEP_1 + ..                                     steps may be 0 or negative
 * of what is viewed. Axes that are missing are 1, in front. CXN_VIEW_GATHERS, defined before the include, is 1 to read the view and write
 * elements one behind the other, 0 the other way round. Gives CXN_LOCAL(walk)(from, to).
 */
#define CXN_VIEW_RUN CXN_GET(VIEW_SHAPE_5)
#define CXN_VIEW_FOR(i, axis) for (int32_t i = 0; i < CXN_GET(VIEW_SHAPE_##axis); i++)

/* The last axis. */
CXN_INLINE void CXN_LOCAL(run)(const CXN_IN_T *from, CXN_OUT_T *to)
{
#if CXN_GET(VIEW_STEP_5) == 1 && CXN_VIEW_RUN * CXN_GET(IN_BITS) >= CXN_COPY_LEAST
    CXN_COPY((void *)to, (const void *)from, CXN_VIEW_RUN * sizeof(CXN_IN_T));
#elif CXN_GET(VIEW_STEP_5) == 1 && CXN_COPY_IS_WORD(CXN_VIEW_RUN * CXN_GET(IN_BITS))
    CXN_MEMCPY(to, from, CXN_VIEW_RUN * sizeof(CXN_IN_T));
#else
    CXN_UNROLL_LOOP(4)
    for (int32_t i = 0; i < CXN_VIEW_RUN; i++) {
        CXN_LOCAL(store)(to, CXN_LOCAL(load)(from));
        from += CXN_VIEW_GATHERS ? CXN_GET(VIEW_STEP_5) : 1;
        to += CXN_VIEW_GATHERS ? 1 : CXN_GET(VIEW_STEP_5);
    }
#endif
}

CXN_INLINE void CXN_LOCAL(walk)(const CXN_IN_T *from, CXN_OUT_T *to)
{
    CXN_VIEW_FOR(i, 0) {
        CXN_VIEW_FOR(j, 1) {
            CXN_VIEW_FOR(k, 2) {
                CXN_VIEW_FOR(l, 3) {
                    CXN_COPY_UNROLL
                    CXN_VIEW_FOR(m, 4) {
                        const int32_t at = CXN_GET(VIEW_OFFSET) + i * CXN_GET(VIEW_STEP_0) + j * CXN_GET(VIEW_STEP_1) +
                                           k * CXN_GET(VIEW_STEP_2) + l * CXN_GET(VIEW_STEP_3) + m * CXN_GET(VIEW_STEP_4);
                        CXN_LOCAL(run)(CXN_VIEW_GATHERS ? from + at : from, CXN_VIEW_GATHERS ? to : to + at);
                        from += CXN_VIEW_GATHERS ? 0 : CXN_VIEW_RUN;
                        to += CXN_VIEW_GATHERS ? CXN_VIEW_RUN : 0;
                    }
                }
            }
        }
    }
}

#undef CXN_VIEW_RUN
#undef CXN_VIEW_FOR
#undef CXN_VIEW_GATHERS
