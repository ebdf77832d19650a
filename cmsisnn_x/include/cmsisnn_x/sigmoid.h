/* SPDX-License-Identifier: Apache-2.0 */
/* Layers with a scale: curve_affine.h. Powers of two: the table kernel of activation.h; CXN_TABLE names the table of sigmoid. */
#include "cmsisnn_x/config.h"
#if CXN_GET(SCHEME) == CXN_SCHEME_AFFINE
#include "cmsisnn_x/detail/curve_affine.h"
#else
#include "cmsisnn_x/detail/activation.h"
#endif
