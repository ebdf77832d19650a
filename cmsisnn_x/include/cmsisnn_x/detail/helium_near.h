/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Outputs of CXN_RESCALE_WIDE in vectors (Helium), round(high word of acc (multiplier 2^16) >> shift - 16), of sums that have 32 bits: at most
 * CXN_NEAR_PRODUCTS products of 2^22, defined before the include and undefined here. `four` are the records of four channels (helium_finish.h).
 */

/* Whether the factors of these channels let them: the start has 32 bits, the multiplier 15, 17 bits or more are shifted, and sums that
   saturate, if any do, give outputs that do: those of 30 bits shifted. */
CXN_INLINE int32_t CXN_LOCAL(is_near)(const int32_t *four)
{
    const int32x4_t low = vldrwq_s32(four), shift = vldrwq_s32(four + 12);
    const int is_far = vcmpneq_s32(vldrwq_s32(four + 4), vshrq_n_s32(low, 31)) | vcmpltq_n_s32(vldrwq_s32(four + 8), 1 << 14) | vcmpltq_n_s32(shift, 17);
    const int32_t room = 0x7fffffff - (CXN_NEAR_PRODUCTS << 22);
    return (is_far | (vcmpgtq_n_s32(shift, 30) & vcmpgtq_n_s32(vqabsq_s32(low), room))) == 0;
}

CXN_INLINE int32x4_t CXN_LOCAL(near_scaled)(int32x4_t sum, const int32_t *four)
{
    const int32x4_t acc = vqaddq_s32(sum, vldrwq_s32(four));
    const int32x4_t shift = vsubq_s32(vdupq_n_s32(16), vldrwq_s32(four + 12));
    return vrshlq_s32(vmulhq_s32(acc, vshlq_n_s32(vldrwq_s32(four + 8), 16)), shift);
}
#undef CXN_NEAR_PRODUCTS
