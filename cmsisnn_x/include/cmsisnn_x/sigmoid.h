/* SPDX-License-Identifier: Apache-2.0 */
/* The table kernel of activation.h; CXN_TABLE names the table of sigmoid. */
#include "cmsisnn_x/detail/activation.h"
