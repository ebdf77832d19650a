/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The walk over two tensors of one affine instance, element by element: out[i] = pair(input[i], other[i mod PERIOD]). The header that
 * includes it defines CXN_LOCAL(pair)(a, b) before. Output may be an input that is as long. PERIOD divides the number of elements.
 */
#include "element.h"

#include "period.h"

CXN_KERNEL_FN void CXN_KERNEL(const CXN_IN_T *input, const CXN_IN_T *other, CXN_OUT_T *output, void *scratch CXN_ROWS_PARAMETER)
{
    (void)scratch;
    for (int32_t first = 0; first < CXN_PAIR_COUNT; first += CXN_PAIR_PERIOD) {
        int32_t i = 0;
        /* Loads in a row cost one cycle each after the first, and no store comes between. */
        for (; i < CXN_PAIR_PERIOD / 4 * 4; i += 4) {
            const int32_t a0 = CXN_LOCAL(load)(input + i), a1 = CXN_LOCAL(load)(input + i + 1);
            const int32_t a2 = CXN_LOCAL(load)(input + i + 2), a3 = CXN_LOCAL(load)(input + i + 3);
            const int32_t b0 = CXN_LOCAL(load)(other + i), b1 = CXN_LOCAL(load)(other + i + 1);
            const int32_t b2 = CXN_LOCAL(load)(other + i + 2), b3 = CXN_LOCAL(load)(other + i + 3);
            CXN_LOCAL(store)(output + i, CXN_LOCAL(pair)(a0, b0));
            CXN_LOCAL(store)(output + i + 1, CXN_LOCAL(pair)(a1, b1));
            CXN_LOCAL(store)(output + i + 2, CXN_LOCAL(pair)(a2, b2));
            CXN_LOCAL(store)(output + i + 3, CXN_LOCAL(pair)(a3, b3));
        }
        for (; i < CXN_PAIR_PERIOD; i++) {
            CXN_LOCAL(store)(output + i, CXN_LOCAL(pair)(CXN_LOCAL(load)(input + i), CXN_LOCAL(load)(other + i)));
        }
        input += CXN_PAIR_PERIOD;
        output += CXN_PAIR_PERIOD;
    }
}

#undef CXN_PAIR_COUNT
#undef CXN_PAIR_PERIOD
