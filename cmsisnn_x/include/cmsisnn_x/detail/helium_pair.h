/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pair.h in vectors (Helium), eight elements a turn as 16 bits. The header that includes it defines CXN_LOCAL(pair_eight)(a, b) before, behind
 * helium_element.h.
 * With CXN_PAIR_HAS_SIXTEENS, CXN_LOCAL(sixteens) too (asm/rescale_helium.h). Output may be an input that is as long. Two turns written out: slower by GCC, no faster by Clang.
 */
#include "period.h"

CXN_INLINE void CXN_LOCAL(at)(const CXN_IN_T *input, const CXN_IN_T *other, CXN_OUT_T *output, int32_t count)
{
    CXN_LOCAL(put_eight)(output, CXN_LOCAL(pair_eight)(CXN_LOCAL(eight)(input, count), CXN_LOCAL(eight)(other, count)), count);
}

CXN_KERNEL_FN void CXN_KERNEL(const CXN_IN_T *input, const CXN_IN_T *other, CXN_OUT_T *output, void *scratch CXN_ROWS_PARAMETER)
{
    (void)scratch;
    for (int32_t first = 0; first < CXN_PAIR_COUNT; first += CXN_PAIR_PERIOD) {
        int32_t i = 0;
#if defined(CXN_PAIR_HAS_SIXTEENS)
        CXN_LOCAL(sixteens)(input, other, output, CXN_PAIR_PERIOD / 16);
        i = CXN_PAIR_PERIOD / 16 * 16;
#endif
        for (; i < CXN_PAIR_PERIOD / 8 * 8; i += 8) {
            CXN_LOCAL(at)(input + i, other + i, output + i, 8);
        }
        if (CXN_PAIR_PERIOD % 8) {
            CXN_LOCAL(at)(input + i, other + i, output + i, CXN_PAIR_PERIOD % 8);
        }
        input += CXN_PAIR_PERIOD;
        output += CXN_PAIR_PERIOD;
    }
}

#undef CXN_PAIR_HAS_SIXTEENS
#undef CXN_PAIR_COUNT
#undef CXN_PAIR_PERIOD
