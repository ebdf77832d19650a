/* SPDX-License-Identifier: Apache-2.0 */
/* Small programs with Helium, by intrinsics and by assembly; test_helium.py knows their results. */
#include <arm_mve.h>
#include <stdint.h>

#define NOINLINE __attribute__((noinline))
enum { COUNT = 256 };

int8_t a8[COUNT], b8[COUNT], out8[4 * COUNT];
int16_t a16[COUNT], b16[COUNT], out16[COUNT];
int32_t a32[COUNT], out32[COUNT];
uint8_t index8[COUNT];

void fill(void);
NOINLINE void fill(void)
{
    uint32_t x = 12345;
    for (int i = 0; i < COUNT; i++) {
        x = x * 1664525u + 1013904223u;
        a8[i] = (int8_t)(x >> 24);
        b8[i] = (int8_t)(x >> 16);
        a16[i] = (int16_t)(x >> 8);
        b16[i] = (int16_t)(x >> 13);
        a32[i] = (int32_t)x >> 9;
        index8[i] = (uint8_t)(x >> 20);
    }
}

int32_t dot8(int32_t n);
int32_t dot8(int32_t n)
{
    const int8_t *a = a8, *b = b8;
    int32_t sum = 7;
    while (n > 0) {
        const mve_pred16_t p = vctp8q((uint32_t)n);
        sum = vmladavaq_p_s8(sum, vldrbq_z_s8(a, p), vldrbq_z_s8(b, p), p);
        a += 16;
        b += 16;
        n -= 16;
    }
    return sum;
}

int64_t dot16(int32_t n);
int64_t dot16(int32_t n)
{
    int64_t sum = -3;
    for (int32_t i = 0; i < n; i += 8) {
        const mve_pred16_t p = vctp16q((uint32_t)(n - i));
        sum = vmlaldavaq_p_s16(sum, vldrhq_z_s16(a16 + i, p), vldrhq_z_s16(b16 + i, p), p);
    }
    return sum;
}

int32_t rows(int32_t n);
int32_t rows(int32_t n)
{
    int32_t sums[4] = {0, 1, 2, 3};
    for (int32_t i = 0; i + 64 <= n; i += 16) {
        const int8x16_t x = vldrbq_s8(b8 + i);
        sums[0] = vmladavaq_s8(sums[0], vldrbq_s8(a8 + i), x);
        sums[1] = vmladavaq_s8(sums[1], vldrbq_s8(a8 + i + 16), x);
        sums[2] = vmladavaq_s8(sums[2], vldrbq_s8(a8 + i + 32), x);
        sums[3] = vmladavaq_s8(sums[3], vldrbq_s8(a8 + i + 48), x);
    }
    return sums[0] ^ sums[1] << 1 ^ sums[2] << 2 ^ sums[3] << 3;
}

/* out8 = clamp(rounding_divide(doubling_high(a32, 1518500250), 5) - 3) */
void requantise(int32_t n);
void requantise(int32_t n)
{
    for (int32_t i = 0; i < n; i += 4) {
        const mve_pred16_t p = vctp32q((uint32_t)(n - i));
        int32x4_t x = vqrdmulhq_n_s32(vldrwq_z_s32(a32 + i, p), 1518500250);
        const int32x4_t fix = vshrq_n_s32(vandq_s32(x, vdupq_n_s32(-5)), 31);
        x = vrshlq_s32(vqaddq_s32(x, fix), vdupq_n_s32(-5));
        x = vminq_s32(vmaxq_s32(vsubq_n_s32(x, 3), vdupq_n_s32(-128)), vdupq_n_s32(127));
        vstrbq_p_s32(out8 + i, x, p);
    }
}

void gather(int32_t n);
void gather(int32_t n)
{
    for (int32_t i = 0; i < n; i += 16) {
        const mve_pred16_t p = vctp8q((uint32_t)(n - i));
        vstrbq_p_s8(out8 + i, vldrbq_gather_offset_z_s8(a8, vldrbq_z_u8(index8 + i, p), p), p);
    }
}

void scatter(int32_t n);
void scatter(int32_t n)
{
    for (int32_t i = 0; i + 4 <= n; i += 4) {
        const uint32x4_t offsets = vidupq_n_u32((uint32_t)i, 1);
        const int32x4_t x = vldrbq_s32(a8 + i);
        vstrwq_scatter_shifted_offset_s32(out32, offsets, vmulq_s32(x, x));
    }
}

void interleave(int32_t n);
void interleave(int32_t n)
{
    for (int32_t i = 0; i + 16 <= n; i += 16) {
        const int8x16x2_t two = vld2q_s8(a8 + (i < COUNT - 32 ? i : 0));
        int8x16x4_t four;
        four.val[0] = two.val[1];
        four.val[1] = vnegq_s8(two.val[0]);
        four.val[2] = vqabsq_s8(two.val[1]);
        four.val[3] = vhaddq_s8(two.val[0], two.val[1]);
        vst4q_s8(out8 + 4 * i, four);
    }
}

void choose(int32_t n, int32_t least);
void choose(int32_t n, int32_t least)
{
    for (int32_t i = 0; i + 8 <= n; i += 8) {
        const int16x8_t a = vldrhq_s16(a16 + i), b = vldrhq_s16(b16 + i);
        const mve_pred16_t p = vcmpgtq_m_n_s16(a, (int16_t)least, vcmpleq_s16(a, b));
        vstrhq_s16(out16 + i, vaddq_m_n_s16(vpselq_s16(a, b, p), b, 5, vpnot(p)));
    }
}

int32_t extremes(int32_t n);
int32_t extremes(int32_t n)
{
    int8_t high = -128, low = 127;
    for (int32_t i = 0; i + 16 <= n; i += 16) {
        high = vmaxvq_s8(high, vldrbq_s8(a8 + i));
        low = vminvq_s8(low, vldrbq_s8(a8 + i));
    }
    return high * 1000 + low;
}

int32_t wide(int32_t a, uint32_t by);
int32_t wide(int32_t a, uint32_t by)
{
    const int64_t x = (int64_t)a << (by & 31);
    const uint64_t y = (uint64_t)x >> 7;
    return (int32_t)(x >> (by & 15)) ^ (int32_t)(y >> 20) ^ (a > 100 ? a + 1 : ~a);
}

/* loops of every kind: predicated (a tail, none at all), counted, skipped */
int32_t loops(int32_t n);
int32_t loops(int32_t n)
{
    int32_t sum, rounds = 0;
    const int8_t *a = a8, *b = b8;
    __asm volatile("movs %[sum], #0\n\tdlstp.8 lr, %[n]\n\t.p2align 2\n1:\n\tvldrb.8 q0, [%[a]], #16\n\tvldrb.8 q1, [%[b]], #16\n\t"
                   "vmladava.s8 %[sum], q0, q1\n\tletp lr, 1b\n"
                   : [sum] "=&Te"(sum), [a] "+r"(a), [b] "+r"(b)
                   : [n] "r"(n)
                   : "q0", "q1", "lr", "cc", "memory");
    __asm volatile("cmp %[n], %[n]\n\twls lr, %[n], 3f\n2:\n\tit ne\n\taddne %[rounds], %[rounds], #100\n\tadd %[rounds], %[rounds], #1\n\t"
                   "le lr, 2b\n3:\n\tit ne\n\taddne %[rounds], %[rounds], #1000\n\twlstp.16 lr, %[n], 5f\n4:\n\tadds %[rounds], %[rounds], #2\n\t"
                   "letp lr, 4b\n5:\n"
                   : [rounds] "+&r"(rounds)
                   : [n] "r"(n)
                   : "lr", "cc", "memory");
    return sum + 7 * rounds + (int32_t)(a - a8);
}

int32_t lanes(int32_t x);
int32_t lanes(int32_t x)
{
    int32x4_t v = vdupq_n_s32(x);
    v = vsetq_lane_s32(x * 3, v, 2);
    v = vsliq_n_s32(v, vrev64q_s32(v), 9);
    int16x8_t h = vreinterpretq_s16_s32(v);
    h = vqrshrnbq_n_s32(vsetq_lane_s16((int16_t)x, h, 5), v, 4);
    const int32x4_t m = vmullbq_int_s16(h, vmvnq_s16(h));
    return vaddvq_s32(m) ^ vgetq_lane_s32(v, 3) ^ vgetq_lane_s16(h, 5) ^ (int32_t)vabavq_s8(9u, vreinterpretq_s8_s16(h), vldrbq_s8(a8));
}
