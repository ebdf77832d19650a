/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CXN_LOCAL(pixels)(input, table, output): resize_nearest.h in assembly (Helium), by what a pixel has:
 *     one byte                four at once, by a gather
 *     two or four             a word each
 *     up to 112               vectors: the last overlaps the one before it, of fewer than 16 bytes a predicate keeps those that there are
 *     more                    vectors in a loop
 * Where the next pixel lies is loaded a turn ahead.
 */
#define CXN_PIXEL_BYTES (CXN_GET(IN_CH) * CXN_GET(IN_BITS) / 8)
#if CXN_GET(IN_BITS) == 8
#define CXN_PIXEL_SCALE
#else
#define CXN_PIXEL_SCALE ", lsl #1"
#endif
#define CXN_PIXEL_FROM "add.w %[from], %[row], %[at]" CXN_PIXEL_SCALE "\n\t"
#define CXN_PIXEL_NEXT "ldr %[at], [%[places]], #4\n\t"
#define CXN_PIXEL_BEGIN
#define CXN_PIXEL_VECTOR(at) "vldrb.8 q0, [%[from], #" at "]\n\tvstrb.8 q0, [%[out], #" at "]\n\t"
#define CXN_PIXEL_LAST "vldrb.8 q0, [%[from], #%c[last]]\n\tvstrb.8 q0, [%[out], #%c[last]]\n\tadd.w %[out], %[out], #%c[bytes]\n\t"

#if CXN_PIXEL_BYTES == 1
#define CXN_PIXEL_ROW                                                                                                  \
    "movw lr, %[width]\n\tdlstp.32 lr, lr\n\t.p2align 2\n2:\n\tvldrw.u32 q0, [%[places]], #16\n\t"                     \
    "vldrb.u32 q1, [%[row], q0]\n\tvstrb.32 q1, [%[out]], #4\n\tletp lr, 2b\n\tsub.w %[out], %[out], #%c[over]\n\t"
#elif CXN_PIXEL_BYTES == 2
#define CXN_PIXEL_TAKE "ldrh.w %[from], [%[row], %[at]" CXN_PIXEL_SCALE "]\n\t"
#define CXN_PIXEL_PUT "strh.w %[from], [%[out]], #2\n\t"
#elif CXN_PIXEL_BYTES == 4
#define CXN_PIXEL_TAKE "ldr.w %[from], [%[row], %[at]" CXN_PIXEL_SCALE "]\n\t"
#define CXN_PIXEL_PUT "str.w %[from], [%[out]], #4\n\t"
#elif CXN_PIXEL_BYTES > 112
#define CXN_PIXEL_ROW                                                                                                  \
    "movw %[turns], %[width]\n2:\n\t" CXN_PIXEL_NEXT "mov %[to], %[out]\n\t" CXN_PIXEL_FROM                            \
    "dlstp.8 lr, %[some]\n\t.p2align 2\n3:\n\tvldrb.8 q0, [%[from]], #16\n\tvstrb.8 q0, [%[to]], #16\n\tletp lr, 3b\n\t" \
    "add %[out], %[out], %[some]\n\tsubs %[turns], %[turns], #1\n\tbne 2b\n\t"
#else
#define CXN_PIXEL_TAKE CXN_PIXEL_FROM
#if CXN_PIXEL_BYTES < 16
#undef CXN_PIXEL_BEGIN
#define CXN_PIXEL_BEGIN "vctp.8 %[some]\n\t"
#define CXN_PIXEL_PUT "vpstt\n\tvldrbt.8 q0, [%[from]]\n\tvstrbt.8 q0, [%[out]], #%c[bytes]\n\t"
#elif CXN_PIXEL_BYTES == 16
#define CXN_PIXEL_PUT "vldrb.8 q0, [%[from]]\n\tvstrb.8 q0, [%[out]], #16\n\t"
#elif CXN_PIXEL_BYTES <= 32
#define CXN_PIXEL_PUT CXN_PIXEL_VECTOR("0") CXN_PIXEL_LAST
#elif CXN_PIXEL_BYTES <= 48
#define CXN_PIXEL_PUT CXN_PIXEL_VECTOR("0") CXN_PIXEL_VECTOR("16") CXN_PIXEL_LAST
#elif CXN_PIXEL_BYTES <= 64
#define CXN_PIXEL_PUT CXN_PIXEL_VECTOR("0") CXN_PIXEL_VECTOR("16") CXN_PIXEL_VECTOR("32") CXN_PIXEL_LAST
#elif CXN_PIXEL_BYTES <= 80
#define CXN_PIXEL_PUT CXN_PIXEL_VECTOR("0") CXN_PIXEL_VECTOR("16") CXN_PIXEL_VECTOR("32") CXN_PIXEL_VECTOR("48") CXN_PIXEL_LAST
#elif CXN_PIXEL_BYTES <= 96
#define CXN_PIXEL_PUT                                                                                                  \
    CXN_PIXEL_VECTOR("0") CXN_PIXEL_VECTOR("16") CXN_PIXEL_VECTOR("32") CXN_PIXEL_VECTOR("48") CXN_PIXEL_VECTOR("64")   \
    CXN_PIXEL_LAST
#else
#define CXN_PIXEL_PUT                                                                                                  \
    CXN_PIXEL_VECTOR("0") CXN_PIXEL_VECTOR("16") CXN_PIXEL_VECTOR("32") CXN_PIXEL_VECTOR("48") CXN_PIXEL_VECTOR("64")   \
    CXN_PIXEL_VECTOR("80") CXN_PIXEL_LAST
#endif
#endif
#ifndef CXN_PIXEL_ROW
#if CXN_GET(OUT_W) > 1
#define CXN_PIXEL_LOOP(text) "movw lr, %[width]-1\n\tdls lr, lr\n\t.p2align 2\n2:\n\t" text "le lr, 2b\n\t"
#else
#define CXN_PIXEL_LOOP(text)
#endif
#define CXN_PIXEL_ROW CXN_PIXEL_NEXT CXN_PIXEL_LOOP(CXN_PIXEL_TAKE CXN_PIXEL_NEXT CXN_PIXEL_PUT) CXN_PIXEL_TAKE CXN_PIXEL_PUT
#endif

CXN_INLINE void CXN_LOCAL(pixels)(const CXN_IN_T *input, const int32_t *table, CXN_OUT_T *output)
{
    const int32_t *places;
    const CXN_IN_T *row, *from;
#if CXN_PIXEL_BYTES > 112
    CXN_OUT_T *to;
    int32_t turns;
#endif
    int32_t at, height = CXN_GET(OUT_H);
    __asm__ volatile(CXN_PIXEL_BEGIN "1:\n\tldr %[at], [%[rows]], #4\n\tmov %[places], %[columns]\n\tadd.w %[row], %[input], %[at]" CXN_PIXEL_SCALE
                     "\n\t" CXN_PIXEL_ROW "subs %[height], %[height], #1\n\tbne 1b\n\t"
                     : [rows] "+&r"(table), [out] "+&l"(output), [height] "+&r"(height), [places] "=&r"(places), [row] "=&r"(row),
                       [from] "=&r"(from), [at] "=&r"(at)
#if CXN_PIXEL_BYTES > 112
                       , [to] "=&r"(to), [turns] "=&r"(turns)
#endif
                     : [input] "r"(input), [columns] "r"(table + CXN_GET(OUT_H)), [width] "i"(CXN_GET(OUT_W)),
                       [over] "i"((4 - CXN_GET(OUT_W) % 4) % 4), [some] "r"(CXN_PIXEL_BYTES), [bytes] "i"(CXN_PIXEL_BYTES), [last] "i"(CXN_PIXEL_BYTES - 16)
                     : CXN_CLOBBERS_VPR "q0", "q1", "lr", "cc", "memory");
    (void)places;
    (void)row;
    (void)from;
    (void)at;
#if CXN_PIXEL_BYTES > 112
    (void)to;
    (void)turns;
#endif
}

#undef CXN_PIXEL_BYTES
#undef CXN_PIXEL_SCALE
#undef CXN_PIXEL_FROM
#undef CXN_PIXEL_NEXT
#undef CXN_PIXEL_LOOP
#undef CXN_PIXEL_BEGIN
#undef CXN_PIXEL_VECTOR
#undef CXN_PIXEL_LAST
#undef CXN_PIXEL_TAKE
#undef CXN_PIXEL_PUT
#undef CXN_PIXEL_ROW
