/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Eight output channels of two pixels at a time, in vectors. A pixel's window is CXN_VECTORS vectors of 16 bytes that lie behind each
 * other, the weights beyond it zero; the next pixel's begins CXN_V_STEP bytes further. Four passes over the two windows make two channels
 * each: a load beside every multiplication, of which there are two in eight cycles and 64 products, and the pipes of both are never idle.
 *     weights   of channels (0, 4), (2, 6), (1, 5), (3, 7): vector by vector, 16 bytes of the first, 16 of the second;
 *               of 8 bits beside 16-bit activations 8 bytes each
 *     q0, q1    the two pixels; q2, q3 the two channels; the product of q1 and q3 waits until a load is beside it
 *     r0 - r8   sums, in the even registers as VMLADAV asks; those of a pass are moved to lanes while the next runs
 *     q4, q5    channels 0, 2, 4, 6 of the two pixels, q6, q7 channels 1, 3, 5, 7: narrowed to the lower and upper halves of the same
 *               lanes they are in order. The former become outputs beside the last two passes, the latter beside the first one of the
 *               next two pixels; these have no such pass before them, and begin with one of their own
 * Records: words of channels 0, 2, 4, 6, four by four, then those of 1, 3, 5, 7; of q7 and q15 their starts alone.
 *     CXN_LOCAL(eight)(x0, x1, weights, records, out0, out1, pairs)      pixels x0 and x1 and those behind them, to out0 and out1
 *     CXN_LOCAL(sums)(x0, x1, weights, to)                               the sums of one pair, q4 - q7
 *     CXN_LOCAL(sums_four)(x0, x1, weights, to)                          of channels (0, 2), (1, 3) alone, q4 and q5 in order
 */
#if CXN_GET(IN_BITS) == 8
#define CXN_V_T "s8"
#else
#define CXN_V_T "s16"
#endif
#define CXN_V_N(x) CXN_STRING(x)

/* Written out, windows are read at offsets from one address, which the last load moves on if it can; else in a loop, step by step. Words
   reach further than bytes. */
#if CXN_V_WORDS
#define CXN_V_FROM "vldrw.32 "
#define CXN_V_REACH 508
#else
#define CXN_V_FROM "vldrb.8 "
#define CXN_V_REACH 127
#endif
#if CXN_VECTORS > CXN_V_MOST || (CXN_GET(UNROLL) == 1 && CXN_VECTORS > 2)
#define CXN_V_LOOPS 1
#else
#define CXN_V_LOOPS 0
#endif
#define CXN_V_SPAN (16 * (CXN_VECTORS - 1))
#if CXN_V_LOOPS
#define CXN_V_BIAS 0
#define CXN_V_MOVES 0
#elif CXN_V_STEP <= CXN_V_REACH && CXN_V_SPAN - CXN_V_STEP <= CXN_V_REACH
#define CXN_V_BIAS (CXN_V_SPAN - CXN_V_STEP)
#define CXN_V_MOVES 1
#elif CXN_V_SPAN <= CXN_V_REACH
#define CXN_V_BIAS 0
#define CXN_V_MOVES 0
#else
#define CXN_V_BIAS 112
#define CXN_V_MOVES 0
#endif

#if CXN_V_LOOPS
#define CXN_V_X(q, x, back) CXN_V_FROM q ", [%[" x "]], #16\n\t"
#else
#define CXN_V_X(q, x, back) CXN_V_FROM q ", [%[" x "], #.Lcxn_at]" back "\n\t"
#endif
#define CXN_V_W(q) CXN_V_WEIGHTS q ", [%[w]], #" CXN_V_N(CXN_V_WEIGHT_BYTES) "\n\t"
#define CXN_V_NEW(sum, x, w) "vmladav." CXN_V_T " " sum ", " x ", " w "\n\t"
#define CXN_V_SUM(sum, x, w) "vmladava." CXN_V_T " " sum ", " x ", " w "\n\t"

/* Sixteen bytes of both pixels and both channels; s0 - s7 is what goes on beside. */
#define CXN_V_VECTOR(back, d, a, b, c, s0, s1, s2, s3, s4, s5, s6, s7) \
    CXN_V_X("q0", "x0", back) s0 d s1 CXN_V_W("q2") s2 a s3 CXN_V_X("q1", "x1", back) s4 b s5 CXN_V_W("q3") s6 c s7 \
    ".set .Lcxn_at, .Lcxn_at + 16\n\t"
#define CXN_V_FIRST(back, before, a, b, c, ...) \
    ".set .Lcxn_at, -(" CXN_V_N(CXN_V_BIAS) ")\n\t" \
    CXN_V_VECTOR(back, before, CXN_V_NEW(a, "q0", "q2"), CXN_V_NEW(b, "q1", "q2"), CXN_V_NEW(c, "q0", "q3"), __VA_ARGS__)
#define CXN_V_SECOND(back, a, b, c, d, ...) \
    CXN_V_VECTOR(back, CXN_V_NEW(d, "q1", "q3"), CXN_V_SUM(a, "q0", "q2"), CXN_V_SUM(b, "q1", "q2"), CXN_V_SUM(c, "q0", "q3"), __VA_ARGS__)
#define CXN_V_MORE(back, a, b, c, d) \
    CXN_V_VECTOR(back, CXN_V_SUM(d, "q1", "q3"), CXN_V_SUM(a, "q0", "q2"), CXN_V_SUM(b, "q1", "q2"), CXN_V_SUM(c, "q0", "q3"), \
                 "", "", "", "", "", "", "", "")

/* The offset of a register is at most 4095; of more, the pages first. */
#define CXN_V_MOVE(add, x, bytes) add ".w %[" x "], %[" x "], #((" CXN_V_N(bytes) ") & 0xff000)\n\t" \
    add "w %[" x "], %[" x "], #((" CXN_V_N(bytes) ") & 0xfff)\n\t"
#define CXN_V_MOVE_NEAR(add, x, bytes) add "w %[" x "], %[" x "], #(" CXN_V_N(bytes) ")\n\t"

#if CXN_VECTORS == 1
#define CXN_V_PASS(back, before, a, b, c, d, f0, f1, f2, f3, f4, f5, f6, f7, g0, g1, g2, g3, g4, g5, g6, g7) \
    CXN_V_FIRST(back, before, a, b, c, f0, f1, f2, f3, f4, f5, f6, f7 g0 g1 g2 g3 g4 g5 g6 g7)
#define CXN_V_LAST(d) CXN_V_NEW(d, "q1", "q3")
#elif CXN_VECTORS == 2
#define CXN_V_PASS(back, before, a, b, c, d, f0, f1, f2, f3, f4, f5, f6, f7, ...) \
    CXN_V_FIRST("", before, a, b, c, f0, f1, f2, f3, f4, f5, f6, f7) CXN_V_SECOND(back, a, b, c, d, __VA_ARGS__)
#define CXN_V_LAST(d) CXN_V_SUM(d, "q1", "q3")
#elif !CXN_V_LOOPS
#define CXN_V_PASS(back, before, a, b, c, d, f0, f1, f2, f3, f4, f5, f6, f7, ...) \
    CXN_V_FIRST("", before, a, b, c, f0, f1, f2, f3, f4, f5, f6, f7) CXN_V_SECOND("", a, b, c, d, __VA_ARGS__) \
    ".rept " CXN_V_N(CXN_VECTORS) " - 3\n\t" CXN_V_MORE("", a, b, c, d) ".endr\n\t" CXN_V_MORE(back, a, b, c, d)
#define CXN_V_LAST(d) CXN_V_SUM(d, "q1", "q3")
#else
#if 16 * CXN_VECTORS <= 4095
#define CXN_V_BACK(x) CXN_V_MOVE_NEAR("sub", x, 16 * CXN_VECTORS)
#else
#define CXN_V_BACK(x) CXN_V_MOVE("sub", x, 16 * CXN_VECTORS)
#endif
#define CXN_V_PASS(back, before, a, b, c, d, f0, f1, f2, f3, f4, f5, f6, f7, ...) \
    CXN_V_FIRST("", before, a, b, c, f0, f1, f2, f3, f4, f5, f6, f7) CXN_V_SECOND("", a, b, c, d, __VA_ARGS__) \
    "movw lr, #(" CXN_V_N(CXN_VECTORS) " - 2)\n\tdls lr, lr\n\t.p2align 2\n1:\n\t" CXN_V_MORE("", a, b, c, d) "le lr, 1b\n\t" \
    CXN_V_BACK("x0") CXN_V_BACK("x1")
#define CXN_V_LAST(d) CXN_V_SUM(d, "q1", "q3")
#endif
#define CXN_V_NONE "", "", "", "", "", "", "", ""

#if CXN_V_MOVES
#define CXN_V_ON ""
#define CXN_V_MOVING "!"
#else
#define CXN_V_MOVING ""
#if CXN_V_STEP <= 4095
#define CXN_V_ON CXN_V_MOVE_NEAR("add", "x0", CXN_V_STEP) CXN_V_MOVE_NEAR("add", "x1", CXN_V_STEP)
#else
#define CXN_V_ON CXN_V_MOVE("add", "x0", CXN_V_STEP) CXN_V_MOVE("add", "x1", CXN_V_STEP)
#endif
#endif
#if 8 * 16 * CXN_VECTORS <= 4095
#define CXN_V_REWIND CXN_V_MOVE_NEAR("sub", "w", 8 * 16 * CXN_VECTORS)
#else
#define CXN_V_REWIND CXN_V_MOVE("sub", "w", 8 * 16 * CXN_VECTORS)
#endif

#define CXN_V_LOAD(q, at) "vldrw.32 " q ", [%[records], #" CXN_V_N(at) "]\n\t"
#define CXN_V_LANES(q, high, low, first, second) "vmov " q "[" high "], " q "[" low "], " first ", " second "\n\t"
#define CXN_V_3(op, a, b, c) op " " a ", " b ", " c "\n\t"

/* Sums of q4, q5 to what is narrowed: CXN_V_EVEN_1 - _5, in the order of use; and of q6, q7: CXN_V_ODD_1 in one piece, after what is called
   `last` there, and CXN_V_ODD_2 - _5 later. CXN_V_NARROW(half, to, from, word) is the last of it: VQSHRN as a number, of which `word` has the
   registers, as GNU as 2.40 takes it for VQRSHRN. */
#define CXN_V_VQSHRN(word, shift) ".inst.w ((0xee80 + 32 - " CXN_V_N(shift) ") << 16) + " word "\n\t"
#define CXN_V_ADD_EVEN(q) CXN_V_3("vadd.i32", q, q, "q6")
#if CXN_GET(SCHEME) != CXN_SCHEME_AFFINE
#define CXN_V_ODD_AT 16
#define CXN_V_FACTOR(q, at) ""
#define CXN_V_EVEN_1 ""
#define CXN_V_EVEN_2 ""
#define CXN_V_EVEN_3 ""
#define CXN_V_EVEN_4 ""
#define CXN_V_EVEN_5 ""
#define CXN_V_EVEN_6 ""
#define CXN_V_EVEN_7 ""
#define CXN_V_ODD_1 ""
#define CXN_V_ODD_2 ""
#define CXN_V_ODD_3 ""
#define CXN_V_ODD_4 ""
#define CXN_V_ODD_5 ""
#if CXN_GET(OUT_SHIFT) == 0
#define CXN_V_NARROW(half, to, from, word) "vqmovn" half ".s32 " to ", " from "\n\t"
#elif CXN_GET(OUT_SHIFT) <= 16
#define CXN_V_NARROW(half, to, from, word) CXN_V_VQSHRN(word, CXN_GET(OUT_SHIFT))
#else
#define CXN_V_NARROW(half, to, from, word) \
    "vshr.s32 " from ", " from ", #(" CXN_V_N(CXN_GET(OUT_SHIFT)) " - 16)\n\t" CXN_V_VQSHRN(word, 16)
#endif
#elif CXN_GET(RESCALE) == CXN_RESCALE_SINGLE
#define CXN_V_ODD_AT 48
#define CXN_V_FACTOR(q, at) CXN_V_LOAD(q, at + 16)
#define CXN_V_EVEN_1 CXN_V_3("vmulh.s32", "q4", "q4", "q7") CXN_V_LOAD("q6", 32)
#define CXN_V_EVEN_2 CXN_V_3("vmulh.s32", "q5", "q5", "q7") CXN_V_3("vadd.i32", "q4", "q4", "q6")
#define CXN_V_EVEN_3 ""
#define CXN_V_EVEN_4 ""
#define CXN_V_EVEN_5 CXN_V_3("vadd.i32", "q5", "q5", "q6")
#define CXN_V_EVEN_6 ""
#define CXN_V_EVEN_7 ""
#define CXN_V_ODD_1 CXN_V_3("vmulh.s32", "q6", "q6", "q0") CXN_V_LOAD("q3", 80) CXN_V_3("vmulh.s32", "q7", "q7", "q0") \
    CXN_V_3("vadd.i32", "q6", "q6", "q3")
#define CXN_V_ODD_2 CXN_V_3("vadd.i32", "q7", "q7", "q3")
#define CXN_V_ODD_3 ""
#define CXN_V_ODD_4 ""
#define CXN_V_ODD_5 ""
#define CXN_V_NARROW(half, to, from, word) CXN_V_VQSHRN(word, CXN_GET(RESCALE_SHIFT))
#else
#define CXN_V_ODD_AT 48
#define CXN_V_FACTOR(q, at) CXN_V_LOAD(q, at + 16)
/* Half away from zero: less by one below it, then rounded up. */
#define CXN_V_SIGN(sign, q) "vshr.s32 " sign ", " q ", #31\n\t"
#define CXN_V_EVEN_1 CXN_V_3("vqrdmulh.s32", "q4", "q4", "q7") CXN_V_LOAD("q6", 32)
#define CXN_V_EVEN_2 CXN_V_3("vqrdmulh.s32", "q5", "q5", "q7") CXN_V_SIGN("q7", "q4")
#define CXN_V_EVEN_3 CXN_V_3("vadd.i32", "q4", "q4", "q7")
#define CXN_V_EVEN_4 CXN_V_SIGN("q7", "q5")
#define CXN_V_EVEN_5 CXN_V_3("vadd.i32", "q5", "q5", "q7")
#define CXN_V_EVEN_6 CXN_V_3("vrshl.s32", "q4", "q4", "q6")
#define CXN_V_EVEN_7 CXN_V_3("vrshl.s32", "q5", "q5", "q6")
#define CXN_V_ODD_1 CXN_V_3("vqrdmulh.s32", "q6", "q6", "q0") CXN_V_LOAD("q3", 80) CXN_V_3("vqrdmulh.s32", "q7", "q7", "q0") \
    CXN_V_SIGN("q2", "q6") CXN_V_ZERO_POINT CXN_V_3("vadd.i32", "q6", "q6", "q2")
#define CXN_V_ODD_2 CXN_V_SIGN("q1", "q7")
#define CXN_V_ODD_3 CXN_V_3("vadd.i32", "q7", "q7", "q1")
#define CXN_V_ODD_4 CXN_V_3("vrshl.s32", "q6", "q6", "q3")
#define CXN_V_ODD_5 CXN_V_3("vrshl.s32", "q7", "q7", "q3")
#define CXN_V_NARROW(half, to, from, word) "vqmovn" half ".s32 " to ", " from "\n\t"
#endif

/* The zero point of the output, in r8, where it is not in the line of one rounding. */
#if CXN_GET(SCHEME) != CXN_SCHEME_AFFINE || CXN_GET(RESCALE) == CXN_RESCALE_SINGLE || CXN_GET(OUTPUT_ZERO_POINT) == 0
#define CXN_V_ZERO_POINT ""
#define CXN_V_ADD_ZERO_POINT(q) ""
#else
#define CXN_V_ZERO_POINT "mov r8, #" CXN_V_N(CXN_GET(OUTPUT_ZERO_POINT)) "\n\t"
#define CXN_V_ADD_ZERO_POINT(q) "vqadd.s16 " q ", " q ", r8\n\t"
#endif

/* Outputs of q4, q5 in 16 bits to memory. */
#if CXN_OUT_BITS == 8
#define CXN_V_BYTES(q) "vqmovnb.s16 " q ", " q "\n\t"
#define CXN_V_STORE "vstrb.16"
#define CXN_V_ELEMENT "8"
#else
#define CXN_V_BYTES(q) ""
#define CXN_V_STORE "vstrb.8"
#define CXN_V_ELEMENT "16"
#endif
#define CXN_V_CLAMP(op, limit) "movw r8, #((" CXN_V_N(limit) ") & 0xffff)\n\tvdup." CXN_V_ELEMENT " q6, r8\n\t" \
    CXN_V_3(op ".s" CXN_V_ELEMENT, "q4", "q4", "q6") CXN_V_3(op ".s" CXN_V_ELEMENT, "q5", "q5", "q6")
#if CXN_OUT_MIN > -(1 << (CXN_OUT_BITS - 1))
#define CXN_V_CLAMP_LOW CXN_V_CLAMP("vmax", CXN_OUT_MIN)
#else
#define CXN_V_CLAMP_LOW ""
#endif
#if CXN_OUT_MAX < (1 << (CXN_OUT_BITS - 1)) - 1
#define CXN_V_CLAMP_HIGH CXN_V_CLAMP("vmin", CXN_OUT_MAX)
#else
#define CXN_V_CLAMP_HIGH ""
#endif
#define CXN_V_OUT_STEP (CXN_GET(OUT_CH) * (CXN_OUT_BITS / 8))
#if CXN_V_OUT_STEP <= 127
#define CXN_V_PUT(q, out) CXN_V_STORE " " q ", [%[" out "]], #(" CXN_V_N(CXN_V_OUT_STEP) ")\n\t"
#elif CXN_V_OUT_STEP <= 4095
#define CXN_V_PUT(q, out) CXN_V_STORE " " q ", [%[" out "]]\n\t" CXN_V_MOVE_NEAR("add", out, CXN_V_OUT_STEP)
#else
#define CXN_V_PUT(q, out) CXN_V_STORE " " q ", [%[" out "]]\n\t" CXN_V_MOVE("add", out, CXN_V_OUT_STEP)
#endif

#define CXN_V_A(...) CXN_V_PASS("", "", "r0", "r2", "r4", "r6", __VA_ARGS__)
#define CXN_V_B(...) CXN_V_PASS("", CXN_V_LAST("r6"), "r8", "r0", "r4", "r2", __VA_ARGS__)
#define CXN_V_C(...) CXN_V_PASS("", CXN_V_LAST("r2"), "r6", "r8", "r4", "r0", __VA_ARGS__)
#define CXN_V_D(...) CXN_V_PASS(CXN_V_MOVING, CXN_V_LAST("r0"), "r2", "r6", "r4", "r8", __VA_ARGS__)

#define CXN_V_BESIDE_B \
    "", CXN_V_LOAD("q6", 0) CXN_V_LANES("q4", "2", "0", "r0", "r4"), "", CXN_V_FACTOR("q7", 0) CXN_V_LANES("q5", "2", "0", "r2", "r6"), \
    "", "", "", "", CXN_V_NONE
#define CXN_V_BESIDE_C \
    "", "", "", CXN_V_LANES("q4", "3", "1", "r8", "r4"), CXN_V_ADD_EVEN("q4"), CXN_V_LANES("q5", "3", "1", "r0", "r2"), \
    CXN_V_ADD_EVEN("q5"), "", CXN_V_EVEN_1, "", CXN_V_EVEN_2, CXN_V_EVEN_3, "", CXN_V_EVEN_4, CXN_V_EVEN_5, ""
#define CXN_V_BESIDE_D \
    CXN_V_EVEN_6, CXN_V_EVEN_7, "", CXN_V_LANES("q6", "2", "0", "r6", "r4"), CXN_V_NARROW("b", "q4", "q4", "0x8f48"), \
    CXN_V_LANES("q7", "2", "0", "r8", "r0"), CXN_V_NARROW("b", "q5", "q5", "0xaf4a"), "", CXN_V_NONE
#define CXN_V_AFTER_D \
    CXN_V_LOAD("q2", CXN_V_ODD_AT) CXN_V_LAST("r8") CXN_V_FACTOR("q0", CXN_V_ODD_AT) CXN_V_LANES("q6", "3", "1", "r2", "r4") CXN_V_REWIND \
    CXN_V_3("vadd.i32", "q6", "q6", "q2") CXN_V_LANES("q7", "3", "1", "r6", "r8") CXN_V_3("vadd.i32", "q7", "q7", "q2") CXN_V_ODD_1
#if CXN_OUT_BITS == 8 && CXN_OUT_MIN == -128 && CXN_OUT_MAX == 127
/* One store between others than loads. */
#define CXN_V_MIDDLE CXN_V_PUT("q4", "out0") CXN_V_BYTES("q5")
#define CXN_V_END CXN_V_PUT("q5", "out1")
#else
#define CXN_V_MIDDLE CXN_V_BYTES("q5")
#define CXN_V_END CXN_V_CLAMP_LOW CXN_V_CLAMP_HIGH CXN_V_PUT("q4", "out0") CXN_V_PUT("q5", "out1")
#endif
#define CXN_V_BESIDE_A \
    CXN_V_ODD_2, "", CXN_V_ODD_3, CXN_V_ODD_4, CXN_V_ODD_5, CXN_V_NARROW("t", "q4", "q6", "0x9f4c"), CXN_V_NARROW("t", "q5", "q7", "0xbf4e"), "", \
    CXN_V_ADD_ZERO_POINT("q4"), "", CXN_V_ADD_ZERO_POINT("q5"), CXN_V_BYTES("q4"), "", CXN_V_MIDDLE, "", CXN_V_END
#define CXN_V_AFTER_ALL \
    CXN_V_ODD_2 CXN_V_ODD_3 CXN_V_ODD_4 CXN_V_ODD_5 CXN_V_NARROW("t", "q4", "q6", "0x9f4c") CXN_V_NARROW("t", "q5", "q7", "0xbf4e") \
    CXN_V_ADD_ZERO_POINT("q4") CXN_V_ADD_ZERO_POINT("q5") CXN_V_BYTES("q4") CXN_V_BYTES("q5") CXN_V_CLAMP_LOW CXN_V_CLAMP_HIGH \
    CXN_V_PUT("q4", "out0") CXN_V_PUT("q5", "out1")

/* Registers by name: GCC finds none for so many operands. Narrowing stores take low ones alone. */
#define CXN_V_OPERANDS \
    register const int8_t *at0 __asm__("r10") = x0 + CXN_V_BIAS; \
    register const int8_t *at1 __asm__("r11") = x1 + CXN_V_BIAS; \
    register const int8_t *at_w __asm__("r1") = w;
#define CXN_V_CLOBBERS "r0", "r2", "r4", "r6", "r8", "q0", "q1", "q2", "q3", "q4", "q5", "q6", "q7", "lr", "cc", "memory"

/* C99 asks compilers for strings of 4095 characters, no more. */
#if defined(__GNUC__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Woverlength-strings"
#endif

#if CXN_V_EIGHT
CXN_INLINE void CXN_LOCAL(eight)(const int8_t *x0, const int8_t *x1, const int8_t *w, const int32_t *records, int8_t *out0, int8_t *out1,
                                 int32_t pairs)
{
    CXN_V_OPERANDS
    register int8_t *to0 __asm__("r3") = out0;
    register int8_t *to1 __asm__("r5") = out1;
    register const int32_t *at_records __asm__("r12") = records;
    register int32_t count __asm__("r9") = pairs;
    __asm__ volatile(
#if CXN_V_LOOPS
        "2:\n\t"
        CXN_V_A(CXN_V_NONE, CXN_V_NONE)
        CXN_V_B(CXN_V_BESIDE_B)
        CXN_V_C(CXN_V_BESIDE_C)
        CXN_V_D(CXN_V_BESIDE_D)
        CXN_V_ON
        CXN_V_AFTER_D
        CXN_V_AFTER_ALL
        "subs %[pairs], %[pairs], #1\n\t"
        "bne.w 2b\n\t"
#else
        "dls lr, %[pairs]\n\t"
        CXN_V_A(CXN_V_NONE, CXN_V_NONE)
        "b.w 2f\n\t"
        ".p2align 2\n"
        "1:\n\t"
        CXN_V_A(CXN_V_BESIDE_A)
        "2:\n\t"
        CXN_V_B(CXN_V_BESIDE_B)
        CXN_V_C(CXN_V_BESIDE_C)
        CXN_V_D(CXN_V_BESIDE_D)
        CXN_V_ON
        CXN_V_AFTER_D
        "le lr, 1b\n\t"
        CXN_V_AFTER_ALL
#endif
        : [x0] "+r"(at0), [x1] "+r"(at1), [w] "+r"(at_w), [out0] "+r"(to0), [out1] "+r"(to1), [records] "+r"(at_records), [pairs] "+r"(count)
        :
        : CXN_V_CLOBBERS);
}
#endif

/* Sums of the first pass to lanes. */
#define CXN_V_LANES_A \
    "", CXN_V_LANES("q4", "2", "0", "r0", "r4"), "", CXN_V_LANES("q5", "2", "0", "r2", "r6"), "", "", "", "", CXN_V_NONE

#if CXN_V_SUMS
CXN_INLINE void CXN_LOCAL(sums)(const int8_t *x0, const int8_t *x1, const int8_t *w, int32_t *to)
{
    CXN_V_OPERANDS
    register int32_t *at_to __asm__("r3") = to;
    __asm__ volatile(
        CXN_V_A(CXN_V_NONE, CXN_V_NONE)
        CXN_V_B(CXN_V_LANES_A)
        CXN_V_C("", "", "", CXN_V_LANES("q4", "3", "1", "r8", "r4"), "", CXN_V_LANES("q5", "3", "1", "r0", "r2"), "", "", CXN_V_NONE)
        CXN_V_D("", "", "", CXN_V_LANES("q6", "2", "0", "r6", "r4"), "", CXN_V_LANES("q7", "2", "0", "r8", "r0"), "", "", CXN_V_NONE)
        CXN_V_LAST("r8")
        CXN_V_LANES("q6", "3", "1", "r2", "r4")
        CXN_V_LANES("q7", "3", "1", "r6", "r8")
        "vstrw.32 q4, [%[to]]\n\t"
        "vstrw.32 q5, [%[to], #16]\n\t"
        "vstrw.32 q6, [%[to], #32]\n\t"
        "vstrw.32 q7, [%[to], #48]\n\t"
        : [x0] "+r"(at0), [x1] "+r"(at1), [w] "+r"(at_w), [to] "+r"(at_to)
        :
        : CXN_V_CLOBBERS);
}
#endif

#if CXN_V_SUMS_FOUR
CXN_INLINE void CXN_LOCAL(sums_four)(const int8_t *x0, const int8_t *x1, const int8_t *w, int32_t *to)
{
    CXN_V_OPERANDS
    register int32_t *at_to __asm__("r3") = to;
    __asm__ volatile(
        CXN_V_A(CXN_V_NONE, CXN_V_NONE)
        CXN_V_B(CXN_V_LANES_A)
        CXN_V_LAST("r2")
        CXN_V_LANES("q4", "3", "1", "r8", "r4")
        CXN_V_LANES("q5", "3", "1", "r0", "r2")
        "vstrw.32 q4, [%[to]]\n\t"
        "vstrw.32 q5, [%[to], #16]\n\t"
        : [x0] "+r"(at0), [x1] "+r"(at1), [w] "+r"(at_w), [to] "+r"(at_to)
        :
        : CXN_V_CLOBBERS);
}
#endif

#if defined(__GNUC__)
#pragma GCC diagnostic pop
#endif

#undef CXN_V_T
#undef CXN_V_N
#undef CXN_V_FROM
#undef CXN_V_REACH
#undef CXN_V_LOOPS
#undef CXN_V_SPAN
#undef CXN_V_BIAS
#undef CXN_V_MOVES
#undef CXN_V_X
#undef CXN_V_W
#undef CXN_V_NEW
#undef CXN_V_SUM
#undef CXN_V_VECTOR
#undef CXN_V_FIRST
#undef CXN_V_SECOND
#undef CXN_V_MORE
#undef CXN_V_MOVE
#undef CXN_V_MOVE_NEAR
#undef CXN_V_BACK
#undef CXN_V_PASS
#undef CXN_V_LAST
#undef CXN_V_NONE
#undef CXN_V_ON
#undef CXN_V_MOVING
#undef CXN_V_REWIND
#undef CXN_V_LOAD
#undef CXN_V_LANES
#undef CXN_V_3
#undef CXN_V_ADD_EVEN
#undef CXN_V_ODD_AT
#undef CXN_V_FACTOR
#undef CXN_V_SIGN
#undef CXN_V_EVEN_1
#undef CXN_V_EVEN_2
#undef CXN_V_EVEN_3
#undef CXN_V_EVEN_4
#undef CXN_V_EVEN_5
#undef CXN_V_EVEN_6
#undef CXN_V_EVEN_7
#undef CXN_V_ODD_1
#undef CXN_V_ODD_2
#undef CXN_V_ODD_3
#undef CXN_V_ODD_4
#undef CXN_V_ODD_5
#undef CXN_V_NARROW
#undef CXN_V_VQSHRN
#undef CXN_V_ZERO_POINT
#undef CXN_V_ADD_ZERO_POINT
#undef CXN_V_BYTES
#undef CXN_V_STORE
#undef CXN_V_ELEMENT
#undef CXN_V_CLAMP
#undef CXN_V_CLAMP_LOW
#undef CXN_V_CLAMP_HIGH
#undef CXN_V_OUT_STEP
#undef CXN_V_PUT
#undef CXN_V_A
#undef CXN_V_B
#undef CXN_V_C
#undef CXN_V_D
#undef CXN_V_BESIDE_A
#undef CXN_V_MIDDLE
#undef CXN_V_LANES_A
#undef CXN_V_END
#undef CXN_V_BESIDE_B
#undef CXN_V_BESIDE_C
#undef CXN_V_BESIDE_D
#undef CXN_V_AFTER_D
#undef CXN_V_AFTER_ALL
#undef CXN_V_OPERANDS
#undef CXN_V_CLOBBERS
