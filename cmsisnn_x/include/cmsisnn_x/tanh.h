/* SPDX-License-Identifier: Apache-2.0 */
/* Layers with a scale: curve_affine.h. Powers of two: the table kernel of activation.h; CXN_TABLE names the table of tanh. */
#include "config.h"
#if CXN_GET(SCHEME) == CXN_SCHEME_AFFINE
#include "detail/curve_affine.h"
#else
#include "detail/activation.h"
#endif
