/* SPDX-License-Identifier: Apache-2.0 */
/* Code of every kind that a pipeline model tells apart. Compiled by GCC and Clang for every core into pricing.zip. */
#include <stdint.h>

int8_t bytes[256] = {3, -7, 11, -128, 127, 5};
int16_t halves[256] = {300, -7, 1100, -32768, 32767, 5};
uint32_t words[64] = {1, 2, 3, 0x80000000u};
volatile uint32_t device;

int32_t dot_q7(const int8_t *a, int32_t n)
{
    int32_t sum = 0;
    for (int32_t i = 0; i < n; i++) {
        sum += a[i] * a[n - 1 - i];
    }
    return sum;
}

int32_t dot_q15(const int16_t *a, int32_t n)
{
    int32_t sum = 0;
    for (int32_t i = 0; i < n; i++) {
        sum += a[i] * a[(i * 7) & 255];
    }
    return sum;
}

/* On an M0+ these need a library, and Clang's is a hundred times as large as the rest. */
#if !defined(__clang__) || __ARM_ARCH > 6
uint32_t divide(uint32_t a, uint32_t b) { return a / b + a % (b + 1u); }

uint64_t wide(uint32_t n)
{
    uint64_t value = 1u;
    for (uint32_t i = 1u; i < n; i++) {
        value = value * (i | 1u) + ((uint64_t)i << 20);
    }
    return value;
}

/* Unpredictable branches, IT blocks, a jump table. */
int32_t branches(const uint32_t *table, int32_t n)
{
    int32_t r = 0;
    uint32_t seed = 1u;
    for (int32_t i = 0; i < n; i++) {
        seed = seed * 1664525u + 1013904223u;
        int32_t x = (int32_t)(table[i & 63] ^ (seed >> 8));
        if (x > 1000 && (x & 3)) {
            r += x & ~7;
        } else {
            r -= x >> 3;
        }
        switch ((seed >> 24) % 9u) {
        case 0: r ^= 1; break;
        case 1: r += 5; break;
        case 2: r *= 3; break;
        case 3: r -= 9; break;
        case 4: r |= 16; break;
        case 5: r ^= 0x55; break;
        case 6: r = (int32_t)(0u - (uint32_t)r); break;
        case 7: r >>= 1; break;
        default: r += x < 0 ? -x & 0xff : x & 0xff; break;
        }
    }
    return r;
}
#endif

struct ten { uint32_t v[10]; };
struct ten __attribute__((noinline)) copy(const struct ten *from) { struct ten t = *from; t.v[3] += t.v[4]; return t; }

uint32_t structures(uint32_t n)
{
    struct ten s = {{n, 1, 2, 3, 4, 5, 6, 7, 8, 9}};
    for (uint32_t i = 0; i < n; i++) {
        s = copy(&s);
    }
    return s.v[3];
}

uint32_t __attribute__((noinline)) fibonacci(uint32_t n) { return n < 2u ? n : fibonacci(n - 1u) + fibonacci(n - 2u); }

int32_t stores(uint8_t *to, int32_t n)
{
    for (int32_t i = 0; i < n; i++) {
        to[i & 127] = (uint8_t)(i * 3);
        device = (uint32_t)i;
        halves[i & 255] = (int16_t)(halves[(i + 1) & 255] + 1);
    }
    return to[5];
}

uint32_t six(uint32_t a, uint32_t b, uint32_t c, uint32_t d, uint32_t e, uint32_t f) { return a + b + c + d + e * f; }

#if defined(__ARM_FEATURE_DSP)
/* Hand-scheduled: pairs, conflicts and latencies of a dual-issue core; LDRD, LDM, conditional loads, flag setting. */
int32_t assembly(const uint32_t *data, uint32_t n)
{
    int32_t sum;
    __asm__ volatile(
        "mov r4, #0\n\t"
        "mov r5, #0\n\t"
        "1:\n\t"
        "ldr r6, [%1]\n\t"
        "ldr r7, [%1, #4]\n\t"
        "sxtb16 r8, r6\n\t"
        "sxtb16 r6, r6, ror #8\n\t"
        "smlad r4, r8, r7, r4\n\t"
        "ldrd r8, r9, [%1, #8]\n\t"
        "smlad r5, r6, r7, r5\n\t"
        "smlad r4, r6, r8, r4\n\t"
        "str r4, [%1, #16]\n\t"
        "smuad r10, r8, r9\n\t"
        "add r10, r10, r10\n\t"
        "pkhbt r8, r9, r10, lsl #16\n\t"
        "qadd8 r9, r8, r6\n\t"
        "ssat r9, #8, r10, asr #3\n\t"
        "ldmia %1, {r6, r7, r8}\n\t"
        "smlal r6, r7, r8, r9\n\t"
        "mla r5, r6, r5, r5\n\t"
        "subs %2, %2, #1\n\t"
        "itte ne\n\t"
        "ldrne r6, [%1]\n\t"
        "addne r5, r5, r6\n\t"
        "biceq r5, r5, #1\n\t"
        "ubfx r6, r5, #3, #9\n\t"
        "rev r6, r6\n\t"
        "eor r4, r4, r6\n\t"
        "cmp %2, #0\n\t"
        "bne 1b\n\t"
        "add %0, r4, r5\n\t"
        : "=r"(sum), "+r"(data), "+r"(n)
        :
        : "r4", "r5", "r6", "r7", "r8", "r9", "r10", "cc", "memory");
    return sum;
}
#endif

#if defined(__ARM_FP)
float floating(float *to, uint32_t n)
{
    float sum = 0.5f;
    for (uint32_t i = 0; i < n; i++) {
        to[i & 63u] = (float)i * 0.25f + sum;
        sum = to[(i + 1u) & 63u] / 3.0f - sum;
    }
    return sum;
}
#endif
