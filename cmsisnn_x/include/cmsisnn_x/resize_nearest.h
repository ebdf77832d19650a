/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every pixel of the output is one of the input, whose place two tables have in elements: OUT_H rows, then OUT_W columns.
 *     out[y][x] = the IN_CH elements from in[table[y] + table[OUT_H + x]] on
 *     static void CXN_KERNEL(const IN *input, const int32_t *table, OUT *output, void *scratch);        no scratch
 */
#include "config.h"
#include "detail/intrinsics.h"
#include "detail/element.h"
#if CXN_HELIUM
#include "detail/asm/resize_helium.h"
#endif

CXN_KERNEL_FN void CXN_KERNEL(const CXN_IN_T *CXN_RESTRICT input, const int32_t *CXN_RESTRICT table, CXN_OUT_T *CXN_RESTRICT output,
                              void *scratch)
{
    (void)scratch;
#if CXN_HELIUM
    CXN_LOCAL(pixels)(input, table, output);
#else
    for (int32_t y = 0; y < CXN_GET(OUT_H); y++) {
        const CXN_IN_T *const row = input + table[y];
        for (int32_t x = 0; x < CXN_GET(OUT_W); x++) {
            const CXN_IN_T *const from = row + table[CXN_GET(OUT_H) + x];
#if CXN_GET(IN_CH) * CXN_GET(IN_BITS) >= CXN_COPY_LEAST
            CXN_COPY((void *)output, (const void *)from, CXN_GET(IN_CH) * sizeof(CXN_IN_T));
#else
            for (int32_t c = 0; c < CXN_GET(IN_CH); c++) {
                CXN_LOCAL(store)(output + c, CXN_LOCAL(load)(from + c));
            }
#endif
            output += CXN_GET(IN_CH);
        }
    }
#endif
}

#include "detail/undef.h"
