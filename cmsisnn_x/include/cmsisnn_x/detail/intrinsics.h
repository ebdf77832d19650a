/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The DSP instructions the kernels use, under one set of names: inline assembly where the core has them, else C that
 * computes the same. CXN_DSP and CXN_SATURATE say which. Packed halves are uint32_t, accumulators int32_t.
 * CXN_HELIUM: whether there are integer vectors too, which have headers of their own.
 */
#ifndef CXN_INTRINSICS_H
#define CXN_INTRINSICS_H

#include <stdint.h>

#include "../config.h"

#if (defined(__ARM_FEATURE_DSP) && __ARM_FEATURE_DSP) || (defined(__ARM_FEATURE_SIMD32) && __ARM_FEATURE_SIMD32)
#define CXN_DSP 1
#else
#define CXN_DSP 0
#endif
#if defined(__ARM_FEATURE_MVE) && (__ARM_FEATURE_MVE & 1)
#define CXN_HELIUM 1
#else
#define CXN_HELIUM 0
#endif
/* VPR among what assembly overwrites. Clang has no name for it and keeps predicates across assembly: see cxn_lanes. */
#if defined(__GNUC__) && !defined(__clang__)
#define CXN_CLOBBERS_VPR "p0",
#else
#define CXN_CLOBBERS_VPR
#endif
/* Thumb-2: M3 and up; Thumb-1: M0 and M0+. */
#if defined(__thumb2__)
#define CXN_THUMB2 1
#else
#define CXN_THUMB2 0
#endif
#if defined(__thumb__) && !CXN_THUMB2
#define CXN_THUMB1 1
#else
#define CXN_THUMB1 0
#endif
#if defined(__ARM_FEATURE_SAT) && __ARM_FEATURE_SAT && CXN_THUMB2
#define CXN_SATURATE 1
#else
#define CXN_SATURATE 0
#endif

#if defined(__ARM_FEATURE_UNALIGNED) || !defined(__ARM_ARCH)
#define CXN_UNALIGNED 1
#else
#define CXN_UNALIGNED 0
#endif

/* Memory. The plain forms accept any address; the `_aligned` forms promise word alignment, which M0+ and LDRD need. Cores
   without unaligned access move bytes by hand: GCC calls memcpy, up to eight times the cycles of a whole layer. */
CXN_INLINE uint32_t cxn_load_u32(const void *p)
{
#if CXN_UNALIGNED
    uint32_t x;
    CXN_MEMCPY(&x, p, sizeof x);
    return x;
#else
    const uint8_t *const b = (const uint8_t *)p;
    return (uint32_t)b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
#endif
}

CXN_INLINE uint32_t cxn_load_u32_aligned(const void *p)
{
    uint32_t x;
#if defined(__GNUC__)
    CXN_MEMCPY(&x, __builtin_assume_aligned(p, 4), sizeof x);
#else
    CXN_MEMCPY(&x, p, sizeof x);
#endif
    return x;
}

/* Taken as const void *, not as const int16_t *: Clang would conclude from the type that the address is even. */
CXN_INLINE int32_t cxn_load_s16(const void *p)
{
#if CXN_UNALIGNED
    int16_t x;
    CXN_MEMCPY(&x, p, sizeof x);
    return x;
#else
    return (int16_t)(((const uint8_t *)p)[0] | ((const uint8_t *)p)[1] << 8);
#endif
}

CXN_INLINE void cxn_store_bytes(void *p, uint32_t x, int count)
{
    uint8_t *bytes = (uint8_t *)p;
    for (int i = 0; i < count; ++i) {
        bytes[i] = (uint8_t)(x >> (8 * i));
    }
}

CXN_INLINE void cxn_store_u32(void *p, uint32_t x)
{
#if CXN_UNALIGNED
    CXN_MEMCPY(p, &x, sizeof x);
#else
    cxn_store_bytes(p, x, 4);
#endif
}

CXN_INLINE void cxn_store_u32_aligned(void *p, uint32_t x)
{
#if defined(__GNUC__)
    CXN_MEMCPY(__builtin_assume_aligned(p, 4), &x, sizeof x);
#else
    CXN_MEMCPY(p, &x, sizeof x);
#endif
}

CXN_INLINE void cxn_store_u16(void *p, uint32_t x)
{
#if CXN_UNALIGNED
    const uint16_t h = (uint16_t)x;
    CXN_MEMCPY(p, &h, sizeof h);
#else
    cxn_store_bytes(p, x, 2);
#endif
}

/* GCC may fuse neighbouring LDRs into LDRD or LDM, which fault on unaligned data; where the address is not known to be
   aligned, this form keeps a plain LDR. */
CXN_INLINE uint32_t cxn_load_u32_single(const void *p)
{
#if CXN_DSP
    uint32_t x;
    const struct cxn_word { uint8_t b[4]; } *word = (const struct cxn_word *)p;
    __asm__("ldr %0, %1" : "=r"(x) : "m"(*word));
    return x;
#else
    return cxn_load_u32(p);
#endif
}

#if CXN_HELIUM
/* `count`, for VCTP. Clang takes the predicate of a known number out of loops whose assembly overwrites VPR: it gets none that it knows. */
CXN_INLINE uint32_t cxn_lanes(int32_t count)
{
    uint32_t lanes = (uint32_t)count;
#if defined(__clang__)
    __asm__ volatile("" : "+r"(lanes));
#endif
    return lanes;
}
#endif

/* acc + x y modulo 2^32, one product of 8- or 16-bit operands. */
CXN_INLINE int32_t cxn_mac(int32_t x, int32_t y, int32_t acc)
{
    return (int32_t)((uint32_t)acc + (uint32_t)(x * y));
}

#if CXN_DSP

/* {x[23:16], x[7:0]} sign-extended to two halves */
CXN_INLINE uint32_t cxn_sxtb16(uint32_t x)
{
    uint32_t r;
    __asm__("sxtb16 %0, %1" : "=r"(r) : "r"(x));
    return r;
}

/* {x[31:24], x[15:8]} sign-extended to two halves */
CXN_INLINE uint32_t cxn_sxtb16_ror8(uint32_t x)
{
    uint32_t r;
    __asm__("sxtb16 %0, %1, ror #8" : "=r"(r) : "r"(x));
    return r;
}

/* {x[23:16], x[7:0]} as two halves */
CXN_INLINE uint32_t cxn_uxtb16(uint32_t x)
{
    uint32_t r;
    __asm__("uxtb16 %0, %1" : "=r"(r) : "r"(x));
    return r;
}

/* {x[31:24], x[15:8]} as two halves */
CXN_INLINE uint32_t cxn_uxtb16_ror8(uint32_t x)
{
    uint32_t r;
    __asm__("uxtb16 %0, %1, ror #8" : "=r"(r) : "r"(x));
    return r;
}

/* acc + lo(x) lo(y) + hi(x) hi(y), modulo 2^32 */
CXN_INLINE int32_t cxn_smlad(uint32_t x, uint32_t y, int32_t acc)
{
    int32_t r;
    __asm__("smlad %0, %1, %2, %3" : "=r"(r) : "r"(x), "r"(y), "r"(acc));
    return r;
}

CXN_INLINE int32_t cxn_smlabt(uint32_t x, uint32_t y, int32_t acc)
{
    int32_t r;
    __asm__("smlabt %0, %1, %2, %3" : "=r"(r) : "r"(x), "r"(y), "r"(acc));
    return r;
}

CXN_INLINE int32_t cxn_smlatb(uint32_t x, uint32_t y, int32_t acc)
{
    int32_t r;
    __asm__("smlatb %0, %1, %2, %3" : "=r"(r) : "r"(x), "r"(y), "r"(acc));
    return r;
}

/* {lo(y), lo(x)} */
CXN_INLINE uint32_t cxn_pkhbt(uint32_t x, uint32_t y)
{
    uint32_t r;
    __asm__("pkhbt %0, %1, %2, lsl #16" : "=r"(r) : "r"(x), "r"(y));
    return r;
}

/* {hi(x), hi(y)} */
CXN_INLINE uint32_t cxn_pkhtb(uint32_t x, uint32_t y)
{
    uint32_t r;
    __asm__("pkhtb %0, %1, %2, asr #16" : "=r"(r) : "r"(x), "r"(y));
    return r;
}

/* Halves added, each modulo 2^16. */
CXN_INLINE uint32_t cxn_sadd16(uint32_t x, uint32_t y)
{
    uint32_t r;
    __asm__("sadd16 %0, %1, %2" : "=r"(r) : "r"(x), "r"(y) : "cc");
    return r;
}

/* Larger of four signed bytes; the GE flags do not leave the block. */
CXN_INLINE uint32_t cxn_max_s8x4(uint32_t x, uint32_t y)
{
    uint32_t r;
    __asm__("ssub8 %0, %1, %2\n\tsel %0, %1, %2" : "=&r"(r) : "r"(x), "r"(y) : "cc");
    return r;
}

/* Larger of two signed halves. */
CXN_INLINE uint32_t cxn_max_s16x2(uint32_t x, uint32_t y)
{
    uint32_t r;
    __asm__("ssub16 %0, %1, %2\n\tsel %0, %1, %2" : "=&r"(r) : "r"(x), "r"(y) : "cc");
    return r;
}

#else /* the same in C */

CXN_INLINE int32_t cxn_low_s16(uint32_t x)
{
    return (int16_t)(uint16_t)x;
}

CXN_INLINE int32_t cxn_high_s16(uint32_t x)
{
    return (int16_t)(uint16_t)(x >> 16);
}

CXN_INLINE uint32_t cxn_pack_s16(int32_t low, int32_t high)
{
    return ((uint32_t)low & 0xffffU) | ((uint32_t)high << 16);
}

CXN_INLINE uint32_t cxn_sxtb16(uint32_t x)
{
    return cxn_pack_s16((int8_t)(uint8_t)x, (int8_t)(uint8_t)(x >> 16));
}

CXN_INLINE uint32_t cxn_sxtb16_ror8(uint32_t x)
{
    return cxn_pack_s16((int8_t)(uint8_t)(x >> 8), (int8_t)(uint8_t)(x >> 24));
}

CXN_INLINE uint32_t cxn_uxtb16(uint32_t x)
{
    return x & 0x00ff00ffU;
}

CXN_INLINE uint32_t cxn_uxtb16_ror8(uint32_t x)
{
    return x >> 8 & 0x00ff00ffU;
}

CXN_INLINE int32_t cxn_smlad(uint32_t x, uint32_t y, int32_t acc)
{
    return cxn_mac(cxn_high_s16(x), cxn_high_s16(y), cxn_mac(cxn_low_s16(x), cxn_low_s16(y), acc));
}

CXN_INLINE int32_t cxn_smlabt(uint32_t x, uint32_t y, int32_t acc)
{
    return cxn_mac(cxn_low_s16(x), cxn_high_s16(y), acc);
}

CXN_INLINE int32_t cxn_smlatb(uint32_t x, uint32_t y, int32_t acc)
{
    return cxn_mac(cxn_high_s16(x), cxn_low_s16(y), acc);
}

CXN_INLINE uint32_t cxn_pkhbt(uint32_t x, uint32_t y)
{
    return (x & 0xffffU) | (y << 16);
}

CXN_INLINE uint32_t cxn_pkhtb(uint32_t x, uint32_t y)
{
    return (x & 0xffff0000U) | (y >> 16);
}

CXN_INLINE uint32_t cxn_sadd16(uint32_t x, uint32_t y)
{
    return ((x + y) & 0xffffU) | ((x & 0xffff0000U) + (y & 0xffff0000U));
}

CXN_INLINE uint32_t cxn_max_s8x4(uint32_t x, uint32_t y)
{
    uint32_t r = 0;
    for (int i = 0; i < 32; i += 8) {
        const int8_t a = (int8_t)(uint8_t)(x >> i);
        const int8_t b = (int8_t)(uint8_t)(y >> i);
        r |= (uint32_t)(uint8_t)(a > b ? a : b) << i;
    }
    return r;
}

CXN_INLINE uint32_t cxn_max_s16x2(uint32_t x, uint32_t y)
{
    return cxn_pack_s16(cxn_low_s16(x) > cxn_low_s16(y) ? cxn_low_s16(x) : cxn_low_s16(y),
                        cxn_high_s16(x) > cxn_high_s16(y) ? cxn_high_s16(x) : cxn_high_s16(y));
}

#endif /* CXN_DSP */

#endif /* CXN_INTRINSICS_H */
