/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Elements of a view of the input, one behind the other: transposition, slices, parts, repetition.
 *     out[i][j].. = in[VIEW_OFFSET + i VIEW_STEP_0 + j VIEW_STEP_1 + ..]                                                           view.h
 *     static void CXN_KERNEL(const IN *input, OUT *output, void *scratch);        no scratch
 */
#include "config.h"
#include "detail/intrinsics.h"
#include "detail/element.h"
#define CXN_VIEW_GATHERS 1
#include "detail/view.h"

CXN_KERNEL_FN void CXN_KERNEL(const CXN_IN_T *CXN_RESTRICT input, CXN_OUT_T *CXN_RESTRICT output, void *scratch)
{
    (void)scratch;
    CXN_LOCAL(walk)(input, output);
}

#include "detail/undef.h"
