/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The input's elements at a view of the output, FILL everywhere else:
 *     out[VIEW_OFFSET + i VIEW_STEP_0 + j VIEW_STEP_1 + ..] = in[i][j]..                                                           view.h
 *     static void CXN_KERNEL(const IN *input, OUT *output, void *scratch);        no scratch
 */
#include "config.h"
#include "detail/intrinsics.h"
#include "detail/element.h"
#define CXN_VIEW_GATHERS 0
#include "detail/view.h"

CXN_KERNEL_FN void CXN_KERNEL(const CXN_IN_T *CXN_RESTRICT input, CXN_OUT_T *CXN_RESTRICT output, void *scratch)
{
    (void)scratch;
#if CXN_OUT_BITS == 8
    CXN_MEMSET(output, CXN_GET(FILL), CXN_GET(OUT_H) * CXN_GET(OUT_W) * CXN_GET(OUT_CH));
#else
    for (int32_t i = 0; i < CXN_GET(OUT_H) * CXN_GET(OUT_W) * CXN_GET(OUT_CH); i++) {
        CXN_LOCAL(store)(output + i, CXN_GET(FILL));
    }
#endif
    CXN_LOCAL(walk)(input, output);
}

#include "detail/undef.h"
