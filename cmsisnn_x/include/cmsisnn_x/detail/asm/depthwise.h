/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The output rows of a few channels of depthwise_rows.h in assembly, 3x3 and 8 bits: `rows`, whose pairs of rows a and b are two lines. A row
 * is as few blocks of up to UNROLL columns as it takes, the first CXN_A_WIDER of them wider by one; a block is depthwise_block.h.
 *
 *     grouped (CXN_INNER_ASM)   loads in groups, for single issue
 *     dual (CXN_INNER_ASM_DUAL) a load beside a multiplication, one column ahead of its use; a saturation before a store
 *
 * Frame: what blocks read again, at CXN_A_AT_.., and r7, which may be the compiler's frame pointer.
 */
#define CXN_A_BLOCKS ((CXN_GET(OUT_W) + CXN_U - 1) / CXN_U)
#define CXN_A_WIDTH (CXN_GET(OUT_W) / CXN_A_BLOCKS)
#define CXN_A_WIDER (CXN_GET(OUT_W) % CXN_A_BLOCKS)
#define CXN_A_AT_B "#0"
#define CXN_A_AT_W "#4"
#define CXN_A_AT_OUT "#8"
#define CXN_A_AT_RECORD "#12"
#define CXN_A_AT_COUNT "#16"
#define CXN_A_AT_R7 "#20"
#define CXN_A_AT_WIDER_END "#24"
#define CXN_A_AT_END "#28"

#if CXN_GET(SCHEME) == CXN_SCHEME_AFFINE
#define CXN_A_FACTORS 1
#define CXN_A_RECORD 12
#define CXN_A_HIGH(acc) "smmla " acc ", " acc ", r12, lr\n\t"
#define CXN_A_CLAMP(acc) "ssat " acc ", #8, " acc ", asr #" CXN_STRING(CXN_GET(RESCALE_SHIFT)) "\n\t"
#else
#define CXN_A_FACTORS 0
#define CXN_A_RECORD 4
#define CXN_A_HIGH(acc)
#if CXN_GET(OUT_SHIFT) == 0
#define CXN_A_SHIFT "\n\t"
#else
#define CXN_A_SHIFT ", asr #" CXN_STRING(CXN_GET(OUT_SHIFT)) "\n\t"
#endif
#if CXN_OUT_MIN == 0
#define CXN_A_CLAMP(acc) "usat " acc ", #7, " acc CXN_A_SHIFT
#else
#define CXN_A_CLAMP(acc) "ssat " acc ", #8, " acc CXN_A_SHIFT
#endif
#endif
#if CXN_GET(INNER) == CXN_INNER_ASM_DUAL
#define CXN_A_BESIDE(load) load
#define CXN_A_GROUP(loads)
#else
#define CXN_A_BESIDE(load)
#define CXN_A_GROUP(loads) loads
#endif
#define CXN_A_FRAME(reg, at) "ldr " reg ", [sp, " at "]\n\t"
#define CXN_A_PUT(reg, at) "str " reg ", [sp, " at "]\n\t"
/* The factor of the channel, and the output, which moves on in r7. */
#if CXN_A_FACTORS
#define CXN_A_CONSTANTS \
    CXN_A_FRAME("r7", CXN_A_AT_RECORD) CXN_A_FRAME("r2", CXN_A_AT_OUT) "ldr r12, [r7, #4]\n\t" "ldr lr, [r7, #8]\n\t"
#else
#define CXN_A_CONSTANTS CXN_A_FRAME("r2", CXN_A_AT_OUT)
#endif
#define CXN_A_MOVE_OUT "add r7, r2, #" CXN_A_COUNT "*%c[ch]\n\t"
#define CXN_A_KEEP_OUT CXN_A_PUT("r7", CXN_A_AT_OUT)
#define CXN_A_STORE(acc, row, u) "strb " acc ", [r2, #" #row "*%c[row]+" #u "*%c[ch]]\n\t"

/* `count` channels, whose starts are the first word of each CXN_A_RECORD bytes of `records`. */
CXN_INLINE void CXN_LOCAL(rows)(const uint32_t *a, const uint32_t *b, const CXN_W_T *w, const void *records, CXN_OUT_T *out, int32_t count)
{
    register const uint32_t *a_ __asm__("r0") = a;
#if CXN_BC == 2
    register intptr_t b_ __asm__("r1") = (intptr_t)b - (intptr_t)a;
#else
    register const uint32_t *b_ __asm__("r1") = b;
#endif
    register const CXN_W_T *w_ __asm__("r2") = w;
    register CXN_OUT_T *out_ __asm__("r3") = out;
    register const void *records_ __asm__("r4") = records;
    register int32_t count_ __asm__("r5") = count;
    register const uint32_t *wider_end_ __asm__("r8") = a + CXN_A_WIDER * (CXN_A_WIDTH + 1) * CXN_GET(STRIDE_X);
    register const uint32_t *end_ __asm__("r9") = a + CXN_GET(OUT_W) * CXN_GET(STRIDE_X);
    __asm__ volatile(
        "push {r1-r5, r7-r9}\n\t"
        "3:\n\t"
#if CXN_A_WIDER
        "1:\n\t"
#define CXN_A_N (CXN_A_WIDTH + 1)
#include "depthwise_block.h"
#if CXN_A_WIDER > 1
        CXN_A_FRAME("r7", CXN_A_AT_WIDER_END)
        "cmp r0, r7\n\t"
        "bne 1b\n\t"
#endif
#endif
        "2:\n\t"
#define CXN_A_N CXN_A_WIDTH
#include "depthwise_block.h"
#if CXN_A_BLOCKS - CXN_A_WIDER > 1
        CXN_A_FRAME("r7", CXN_A_AT_END)
        "cmp r0, r7\n\t"
        "bne 2b\n\t"
#endif
        /* The next channel. */
        CXN_A_FRAME("r2", CXN_A_AT_W) CXN_A_FRAME("r3", CXN_A_AT_OUT) CXN_A_FRAME("r4", CXN_A_AT_RECORD) CXN_A_FRAME("r5", CXN_A_AT_COUNT)
#if CXN_A_WIDER > 1
        CXN_A_FRAME("r8", CXN_A_AT_WIDER_END)
        "add r8, r8, #%c[line]\n\t"
        CXN_A_PUT("r8", CXN_A_AT_WIDER_END)
#endif
#if CXN_A_BLOCKS - CXN_A_WIDER > 1
        CXN_A_FRAME("r9", CXN_A_AT_END)
        "add r9, r9, #%c[line]\n\t"
        CXN_A_PUT("r9", CXN_A_AT_END)
#endif
        "add r2, r2, #24\n\t"
        "sub r3, r3, #%c[row]-1\n\t"
        CXN_A_PUT("r2", CXN_A_AT_W)
        "add r4, r4, #%c[record]\n\t"
        CXN_A_PUT("r3", CXN_A_AT_OUT)
        "add r0, r0, #%c[rest]\n\t"
        CXN_A_PUT("r4", CXN_A_AT_RECORD)
#if CXN_BC == 1
        "add r1, r1, #%c[rest]\n\t"
#endif
        "subs r5, r5, #1\n\t"
        CXN_A_PUT("r5", CXN_A_AT_COUNT)
        "bne 3b\n\t"
        CXN_A_FRAME("r7", CXN_A_AT_R7)
        "add sp, #32\n\t"
        : "+r"(a_), "+r"(b_), "+r"(w_), "+r"(out_), "+r"(records_), "+r"(count_), "+r"(wider_end_), "+r"(end_)
        : [row] "i"(CXN_GET(OUT_W) * CXN_GET(OUT_CH)), [ch] "i"(CXN_GET(OUT_CH)), [line] "i"(CXN_SPAN * 4),
          [rest] "i"((CXN_SPAN - CXN_GET(OUT_W) * CXN_GET(STRIDE_X)) * 4), [record] "i"(CXN_A_RECORD)
        : "r6", "r10", "r11", "r12", "lr", "cc", "memory");
}
#undef CXN_A_BLOCKS
#undef CXN_A_WIDTH
#undef CXN_A_WIDER
#undef CXN_A_AT_B
#undef CXN_A_AT_W
#undef CXN_A_AT_OUT
#undef CXN_A_AT_RECORD
#undef CXN_A_AT_COUNT
#undef CXN_A_AT_R7
#undef CXN_A_AT_WIDER_END
#undef CXN_A_AT_END
#undef CXN_A_FACTORS
#undef CXN_A_RECORD
#undef CXN_A_HIGH
#undef CXN_A_CLAMP
#undef CXN_A_SHIFT
#undef CXN_A_BESIDE
#undef CXN_A_GROUP
#undef CXN_A_FRAME
#undef CXN_A_PUT
#undef CXN_A_CONSTANTS
#undef CXN_A_MOVE_OUT
#undef CXN_A_KEEP_OUT
#undef CXN_A_STORE
