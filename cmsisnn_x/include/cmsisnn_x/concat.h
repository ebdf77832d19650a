/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rows of several tensors side by side; columns[i] elements of input i:
 *     out[r] = inputs[0][r] inputs[1][r] ..                                                r = 0 .. ROWS - 1
 * Of a single row, an input may lie in the output already, at its place: it is not copied.
 *     static void CXN_KERNEL(const IN *const *inputs, const int32_t *columns, OUT *output, void *scratch);        INPUTS of both; no scratch
 */
#include "config.h"
#include "detail/copy_bytes.h"
#include "detail/intrinsics.h"

#if CXN_GET(INPUTS) < 1 || CXN_GET(ROWS) < 1
#error "INPUTS, ROWS: legal values are 1 and up"
#endif

CXN_KERNEL_FN void CXN_KERNEL(const CXN_IN_T *const *inputs, const int32_t *columns, CXN_OUT_T *output, void *scratch)
{
    /* An address is moved as bytes: of a caller's 16-bit tensor it may be odd. */
    uint8_t *to = (uint8_t *)output;
    (void)scratch;
    for (size_t r = 0; r < CXN_GET(ROWS); r++) {
        for (int32_t i = 0; i < CXN_GET(INPUTS); i++) {
            const size_t bytes = (size_t)columns[i] * sizeof(CXN_IN_T);
            const uint8_t *from = (const uint8_t *)inputs[i] + r * bytes;
            if (CXN_GET(ROWS) > 1 || from != to) {
                CXN_COPY(to, from, bytes);
            }
            to += bytes;
        }
    }
}

#include "detail/undef.h"
