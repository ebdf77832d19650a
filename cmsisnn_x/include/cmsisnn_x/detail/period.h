/* SPDX-License-Identifier: Apache-2.0 */
/* How many elements the first of two tensors has, and after how many the second starts again. In a band that is every so many elements of a
   row, or never, if the tensors are alike. */
#if CXN_GET(PERIOD) < 1 || CXN_GET(IN_H) * CXN_GET(IN_W) * CXN_GET(IN_CH) % CXN_GET(PERIOD)
#error "PERIOD: legal values divide the number of elements"
#endif
#define CXN_PAIR_COUNT (CXN_IN_ROWS * CXN_GET(IN_W) * CXN_GET(IN_CH))
#if CXN_IS_BAND && CXN_GET(PERIOD) == CXN_GET(IN_H) * CXN_GET(IN_W) * CXN_GET(IN_CH)
#define CXN_PAIR_PERIOD CXN_PAIR_COUNT
#else
#define CXN_PAIR_PERIOD CXN_GET(PERIOD)
#if CXN_IS_BAND && CXN_GET(IN_W) * CXN_GET(IN_CH) % CXN_GET(PERIOD)
#error "PERIOD: legal values in a band divide the elements of a row, or are all elements"
#endif
#endif
