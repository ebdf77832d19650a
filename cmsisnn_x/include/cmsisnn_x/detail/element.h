/* SPDX-License-Identifier: Apache-2.0 */
/* Reading input and writing output elements at the alignment that the instance promises, and widening runs of them. */

#include "copy_bytes.h"

CXN_INLINE int32_t CXN_LOCAL(load)(const CXN_IN_T *p)
{
#if CXN_GET(IN_BITS) == 8 || CXN_GET(INPUT_ALIGNED)
    return *p;
#else
    return cxn_load_s16(p);
#endif
}

CXN_INLINE void CXN_LOCAL(store)(CXN_OUT_T *p, int32_t x)
{
#if CXN_OUT_BITS == 8 || CXN_GET(OUTPUT_ALIGNED)
    *p = (CXN_OUT_T)x;
#else
    cxn_store_u16(p, (uint32_t)x);
#endif
}

/* `count` elements as 16 bits; `to` is at an even element of the scratch only if the caller's offsets are. */
CXN_INLINE void CXN_LOCAL(widen)(int16_t *CXN_RESTRICT to, const CXN_IN_T *CXN_RESTRICT from, int32_t count)
{
#if CXN_DSP && CXN_GET(IN_BITS) == 8
    CXN_UNROLL_LOOP(2)
    for (int32_t i = count / 4; i > 0; i--) {
        const uint32_t x = cxn_load_u32_single(from);
        const uint32_t even = cxn_sxtb16(x), odd = cxn_sxtb16_ror8(x);
        cxn_store_u32(to, cxn_pkhbt(even, odd));
        cxn_store_u32(to + 2, cxn_pkhtb(odd, even));
        from += 4;
        to += 4;
    }
    for (int32_t i = count % 4; i > 0; i--)
        *to++ = *from++;
#elif CXN_DSP
    for (int32_t i = count / 2; i > 0; i--) {
        cxn_store_u32(to, cxn_load_u32_single(from));
        from += 2;
        to += 2;
    }
    if (count % 2)
        *to = (int16_t)CXN_LOCAL(load)(from);
#else
#if CXN_GET(IN_BITS) == 16 && !CXN_GET(INPUT_ALIGNED) && !CXN_UNALIGNED
    /* The caller's q15 input is even in nearly every firmware; only an odd one has to be read in bytes. */
    if (((uintptr_t)from & 1U) == 0) {
        CXN_UNROLL_LOOP(4)
        for (int32_t i = count; i > 0; i--)
            *to++ = *from++;
        return;
    }
#endif
    CXN_UNROLL_LOOP(4)
    for (int32_t i = count; i > 0; i--)
        *to++ = (int16_t)CXN_LOCAL(load)(from++);
#endif
}
