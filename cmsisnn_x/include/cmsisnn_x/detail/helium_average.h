/* SPDX-License-Identifier: Apache-2.0 */
/* avg_pool.h's averages from sums in vectors (Helium), even and odd channels of eight apart, the first `count` of them.
   `is_full` speaks of CXN_AVG_COUNT elements, which are divided by as a product: with M = floor(2^(32+s) / count) + 1 and
   e = M count - 2^(32+s), from 1 to count, floor(sum M / 2^(32+s)) is the quotient, one less below zero, while |sum| e < 2^(32+s); |sum| is
   at most 2^15 count + count / 2, and 2^s > count / 8. One and two are a shift. Include behind helium_element.h. */
#define CXN_AVG_SHIFT \
    ((CXN_AVG_COUNT >= 8) + (CXN_AVG_COUNT >= 16) + (CXN_AVG_COUNT >= 32) + (CXN_AVG_COUNT >= 64) + (CXN_AVG_COUNT >= 128) + \
     (CXN_AVG_COUNT >= 256) + (CXN_AVG_COUNT >= 512) + (CXN_AVG_COUNT >= 1024) + (CXN_AVG_COUNT >= 2048) + (CXN_AVG_COUNT >= 4096))
#if CXN_AVG_COUNT >= 3 && CXN_AVG_COUNT < 8192
#define CXN_AVG_BY_PRODUCT 1
#else
#define CXN_AVG_BY_PRODUCT 0
#endif

/* trunc(sum / count), or to the nearest: cxn_sums_divide in every lane */
CXN_INLINE int32x4_t CXN_LOCAL(divided)(int32x4_t sum, int count, uint32_t scale, int is_full)
{
    /* Of the rounded sum too. */
    const int32x4_t sign = vshrq_n_s32(sum, 31);
#if !CXN_AVG_PACKED
    int32_t lanes[4];
#endif
#if CXN_POOL_ROUNDS
    sum = vaddq_s32(sum, vsubq_s32(veorq_s32(vdupq_n_s32(count >> 1), sign), sign));
#endif
    (void)count;
    (void)scale;
    if (CXN_AVG_COUNT <= 2 && is_full) {
        return CXN_AVG_COUNT == 2 ? vshrq_n_s32(vsubq_s32(sum, sign), 1) : sum;
    }
    if (CXN_AVG_BY_PRODUCT && is_full) {
        const int32x4_t high = vmulhq_s32(sum, vdupq_n_s32((int32_t)((1ULL << (32 + CXN_AVG_SHIFT)) / CXN_AVG_COUNT + 1U)));
        return vsubq_s32(CXN_AVG_SHIFT ? vshlq_r_s32(high, -CXN_AVG_SHIFT) : high, sign);
    }
#if CXN_AVG_PACKED
    /* 2^23 - 1 more below zero */
    return vshrq_n_s32(
        vaddq_s32(vmulq_n_s32(sum, (int32_t)scale), vreinterpretq_s32_u32(vshrq_n_u32(vreinterpretq_u32_s32(sign), 9))), 23);
#else
    vstrwq_s32(lanes, sum);
    for (int i = 0; i < 4; i++) {
        lanes[i] /= count;
    }
    return vldrwq_s32(lanes);
#endif
}

CXN_INLINE void CXN_LOCAL(average)(CXN_OUT_T *output, int32x4_t even, int32x4_t odd, int area, uint32_t scale, int count, int is_full)
{
    int16x8_t x;
    even = CXN_LOCAL(divided)(even, area, scale, is_full);
    odd = CXN_LOCAL(divided)(odd, area, scale, is_full);
    __asm__("" : "+w"(even)); /* Clang would put quotients of known operations together lane by lane */
    x = vmovntq_s32(vmovnbq_s32(vuninitializedq_s16(), even), odd);
#if CXN_GET(SCHEME) == CXN_SCHEME_AFFINE && !CXN_FULL_RANGE
    x = CXN_LOCAL(clamp_halves)(x);
#endif
    CXN_LOCAL(put_eight)(output, x, count);
}
#undef CXN_AVG_SHIFT
#undef CXN_AVG_BY_PRODUCT
