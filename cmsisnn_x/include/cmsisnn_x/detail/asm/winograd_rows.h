/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rows of inputs at the eight points along x of cxn_winograd_8, for the pairs of bytes 0 and 2, and 1 and 3, of words in offset binary: what
 * the C of convolve_winograd_2d.h does, whose sixteen operands GCC keeps on the stack (M4, two pairs: 140 cycles in place of 215).
 *
 *     r0-r6 r8   the inputs d0..d7 of a pair, then what is left of them      r9    pointers to pixels, eight for each row
 *     r11        a product                                                   r10   where results go, sixteen for each row
 */
#define CXN_A_PAIR                                                                                               \
    "sub r11, r2, r4\n\tsub r0, r6, r0\n\tadd r0, r0, r11\n\tadd r0, r0, r11, lsl #2\n\tadd r11, r11, r0, lsl #2\n\t" \
    "str r11, [r10], #4\n\t"                                                                                     \
    "add r0, r2, r6\n\tadd r11, r4, r4, lsl #4\n\trsb r0, r11, r0, lsl #2\n\t"                                   \
    "sub r11, r3, r5\n\tsub r8, r8, r1\n\tadd r8, r8, r11\n\tadd r8, r8, r11, lsl #2\n\tadd r11, r11, r8, lsl #2\n\t" \
    "str r11, [r10, #24]\n\t"                                                                                    \
    "add r8, r1, r5\n\tadd r11, r3, r3, lsl #4\n\trsb r8, r11, r8, lsl #2\n\t"                                   \
    "add r11, r0, r8\n\tsub r0, r0, r8\n\tstr r11, [r10], #4\n\tstr r0, [r10], #4\n\t"                           \
    "add r4, r4, r4, lsl #2\n\tadd r3, r3, r3, lsl #2\n\t"                                                       \
    "add r0, r2, r6, lsl #2\n\tsub r0, r0, r4\n\tadd r8, r1, r5, lsl #2\n\tsub r8, r8, r3\n\t"                   \
    "add r11, r0, r8, lsl #1\n\tsub r0, r0, r8, lsl #1\n\tstr r11, [r10], #4\n\tstr r0, [r10], #4\n\t"           \
    "add r6, r6, r2, lsl #2\n\tsub r6, r6, r4\n\tadd r5, r5, r1, lsl #2\n\tsub r5, r5, r3\n\t"                   \
    "add r11, r5, r6, lsl #1\n\trsb r6, r5, r6, lsl #1\n\tstr r11, [r10], #4\n\tstr r6, [r10], #8\n\t"

CXN_INLINE void CXN_LOCAL(rows_along_x)(int32_t *CXN_RESTRICT along, const int8_t *const *pixel, int32_t c, int32_t height)
{
    register const int8_t *const *pixel_ __asm__("r9") = pixel;
    register int32_t *along_ __asm__("r10") = along;
    register int32_t c_ __asm__("r12") = c;
    register const int8_t *const *end_ __asm__("lr") = pixel + 8 * height;
    __asm__ volatile(
        "sub sp, sp, #32\n\t"
        "1:\n\t"
        "ldmia r9!, {r0-r6, r8}\n\t"
        "ldr r0, [r0, r12]\n\tldr r1, [r1, r12]\n\tldr r2, [r2, r12]\n\tldr r3, [r3, r12]\n\t"
        "ldr r4, [r4, r12]\n\tldr r5, [r5, r12]\n\tldr r6, [r6, r12]\n\tldr r8, [r8, r12]\n\t"
        "eor r0, r0, #0x80808080\n\teor r1, r1, #0x80808080\n\teor r2, r2, #0x80808080\n\teor r3, r3, #0x80808080\n\t"
        "eor r4, r4, #0x80808080\n\teor r5, r5, #0x80808080\n\teor r6, r6, #0x80808080\n\teor r8, r8, #0x80808080\n\t"
        "stmia sp, {r0-r6, r8}\n\t"
        "uxtb16 r0, r0\n\tuxtb16 r1, r1\n\tuxtb16 r2, r2\n\tuxtb16 r3, r3\n\t"
        "uxtb16 r4, r4\n\tuxtb16 r5, r5\n\tuxtb16 r6, r6\n\tuxtb16 r8, r8\n\t"
        CXN_A_PAIR
        "ldmia sp, {r0-r6, r8}\n\t"
        "cmp r9, lr\n\t"
        "uxtb16 r0, r0, ror #8\n\tuxtb16 r1, r1, ror #8\n\tuxtb16 r2, r2, ror #8\n\tuxtb16 r3, r3, ror #8\n\t"
        "uxtb16 r4, r4, ror #8\n\tuxtb16 r5, r5, ror #8\n\tuxtb16 r6, r6, ror #8\n\tuxtb16 r8, r8, ror #8\n\t"
        CXN_A_PAIR
        "bne 1b\n\t"
        "add sp, sp, #32\n\t"
        : "+r"(pixel_), "+r"(along_)
        : "r"(c_), "r"(end_)
        : "r0", "r1", "r2", "r3", "r4", "r5", "r6", "r8", "r11", "cc", "memory");
}
#undef CXN_A_PAIR
