/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What every kernel template shares: access to a layer's macros, names, types, and the check of every knob.
 *
 * A template is included once per kernel instance, after
 *     #define CXN_LAYER CIFAR10_CONV1             prefix of the layer's macros
 *     #define CXN_KERNEL cifar10_conv1_kernel     name of the static function to define
 * CXN_GET(IN_H) then reads CIFAR10_CONV1_IN_H. Templates end with #include "detail/undef.h".
 */
#ifndef CXN_CONFIG_H
#define CXN_CONFIG_H

#include <stddef.h>
#include <stdint.h>

/* Values of the enumerated knobs. */
#define CXN_LOWERING_IM2COL 1      /* widened columns, im2col_cols at a time */
#define CXN_LOWERING_LINE_BUFFER 2 /* kernel_h input rows, each widened once per image */
#define CXN_LOWERING_DIRECT 3      /* no scratch: the window is read from the input */
#define CXN_LOWERING_WINOGRAD 4    /* `tile` output columns from tile + kernel_w - 1 products */
#define CXN_LOWERING_WINOGRAD_2D 5 /* 4 rows too, or 2 of a 5x5 kernel */

#define CXN_WEIGHT_LAYOUT_PLAIN 1       /* [out_ch][kernel_h][kernel_w][in_ch] */
#define CXN_WEIGHT_LAYOUT_INTERLEAVED 2 /* packed offline in the order of use */
#define CXN_WEIGHT_LAYOUT_WIDENED 3     /* the same, widened to 16 bits */
#define CXN_WEIGHT_LAYOUT_LANES 4       /* by vectors of 16 bytes, for Helium */
#define CXN_WEIGHT_LAYOUT_COUPLED 5     /* two columns of a row in a half */

#define CXN_COLUMN_LAYOUT_SEQUENTIAL 1
#define CXN_COLUMN_LAYOUT_INTERLEAVED 2
#define CXN_COLUMN_LAYOUT_PACKED 3 /* three columns in two words */
#define CXN_COLUMN_LAYOUT_PAIRED 4 /* two columns in one word, 8 bits each */

#define CXN_INNER_C 1
#define CXN_INNER_ASM 2      /* loads in groups, for single-issue cores with the DSP extension */
#define CXN_INNER_ASM_DUAL 3 /* a load beside every multiply, for dual-issue cores */
#define CXN_INNER_C_ROLLED 4 /* loops that the compiler must not write out, for small instruction caches */
#define CXN_INNER_HELIUM 5   /* vectors, where CXN_HELIUM */

#define CXN_SCHEME_POW2 0   /* numbers times powers of two: q7 and q15; layers that do not say SCHEME */
#define CXN_SCHEME_AFFINE 1 /* numbers with a scale and a zero point: int8, and int16 with int8 weights */

/* How accumulators of an affine layer become outputs (scheme_affine.h, wide.h). */
#define CXN_RESCALE_SINGLE 1 /* two roundings that were proven to be one, accumulators within 2^29 */
#define CXN_RESCALE_RIGHT 2  /* two roundings, shifts to the right alone, accumulators within 2^29 */
#define CXN_RESCALE_FAR 3    /* the same, by two bits or more */
#define CXN_RESCALE_ANY 4    /* two roundings, any multiplier and shift */
#define CXN_RESCALE_REAL 5   /* one rounding of a product by 53 bits */
#define CXN_RESCALE_WIDE 6   /* accumulators of 64 bits, one rounding of a product by 15 bits */
#define CXN_RESCALE_WIDE_REAL 7 /* the same, of a product by 53 bits */

#define CXN_PASTE2_(a, b) a##b
#define CXN_PASTE2(a, b) CXN_PASTE2_(a, b)
#define CXN_PASTE3_(a, b, c) a##b##c
#define CXN_PASTE3(a, b, c) CXN_PASTE3_(a, b, c)
#define CXN_STRING_(a) #a
#define CXN_STRING(a) CXN_STRING_(a)

#define CXN_GET(name) CXN_PASTE3(CXN_LAYER, _, name)
#define CXN_LOCAL(name) CXN_PASTE3(CXN_KERNEL, _, name)

#define CXN_MIN(a, b) ((a) < (b) ? (a) : (b))
#define CXN_MAX(a, b) ((a) > (b) ? (a) : (b))
#define CXN_ROUND_UP(a, b) (((a) + (b)-1) / (b) * (b))

#if defined(__cplusplus)
#define CXN_RESTRICT __restrict
#else
#define CXN_RESTRICT restrict
#endif

/* Freestanding compilers come without string.h; the calls are resolved by the compiler or by two functions of the C library. */
#if defined(__GNUC__)
#define CXN_MEMCPY(to, from, bytes) ((void)__builtin_memcpy((to), (from), (bytes)))
#define CXN_MEMSET(to, value, bytes) ((void)__builtin_memset((to), (value), (bytes)))
#else
#include <string.h>
#define CXN_MEMCPY(to, from, bytes) ((void)memcpy((to), (from), (bytes)))
#define CXN_MEMSET(to, value, bytes) ((void)memset((to), (value), (bytes)))
#endif

#if defined(__GNUC__)
#define CXN_INLINE static inline __attribute__((always_inline, unused))
#define CXN_NOINLINE static __attribute__((noinline, unused))
#define CXN_KERNEL_FN static __attribute__((unused))
#else
#define CXN_INLINE static inline
#define CXN_NOINLINE static
#define CXN_KERNEL_FN static
#endif

#if defined(__cplusplus) && __cplusplus >= 201103L
#define CXN_STATIC_ASSERT(condition, message) static_assert(condition, #message)
#elif defined(__STDC_VERSION__) && __STDC_VERSION__ >= 201112L
#define CXN_STATIC_ASSERT(condition, message) _Static_assert(condition, #message)
#else
/* A negative array size stops the compiler; the name carries the message. A declaration, since it may come many times. */
#define CXN_STATIC_ASSERT(condition, message) extern char CXN_PASTE3(cxn_assert_, message##_, __LINE__)[(condition) ? 1 : -1]
#endif

/* GCC and Clang spell the request differently; the count must be a literal, so it is pasted from the layer's macro. */
#define CXN_PRAGMA(text) _Pragma(#text)
#if defined(__clang__)
#define CXN_UNROLL_(n) CXN_PRAGMA(clang loop unroll_count(n))
#elif defined(__GNUC__) && __GNUC__ >= 8
#define CXN_UNROLL_(n) CXN_PRAGMA(GCC unroll n)
#else
#define CXN_UNROLL_(n)
#endif
#define CXN_UNROLL_LOOP(n) CXN_UNROLL_(n)

/* What an affine layer with weights needs of an output channel: where its accumulators start, with the zero point of the input in it, and
   the factor that makes outputs of them. How multiplier and shift are to be read, RESCALE says. */
typedef struct {
    int32_t start, multiplier, shift;
} cxn_affine_channel;

typedef struct {
    int32_t start, factor, offset;
} cxn_single_channel;

/* The same where the factor has 53 bits, or the accumulator 64. */
typedef struct {
    int32_t start, high, low, shift;
} cxn_real_channel;

typedef struct {
    int32_t start_low, start_high, multiplier, shift;
} cxn_wide_channel;

typedef struct {
    int32_t start_low, start_high, high, low, shift;
} cxn_wide_real_channel;

/* Which rows a call of a kernel in a band has: `in` rows of its input from `input` on, the first below `above` rows of padding, for `out`
   output rows, which go to `output`. What windows need below the last of them is padding. */
typedef struct {
    int32_t in, above, out;
} cxn_rows;

#endif /* CXN_CONFIG_H */

/* Below: once per kernel instance. */
#if defined(CXN_LAYER)

#if CXN_GET(IN_H) < 1 || CXN_GET(IN_W) < 1 || CXN_GET(IN_CH) < 1
#error "IN_H, IN_W, IN_CH: legal values are 1 and up"
#endif
#if CXN_GET(OUT_H) < 1 || CXN_GET(OUT_W) < 1 || CXN_GET(OUT_CH) < 1
#error "OUT_H, OUT_W, OUT_CH: legal values are 1 and up"
#endif
#if CXN_GET(KERNEL_H) < 1 || CXN_GET(KERNEL_W) < 1
#error "KERNEL_H, KERNEL_W: legal values are 1 and up"
#endif
#if CXN_GET(STRIDE_Y) < 1 || CXN_GET(STRIDE_X) < 1
#error "STRIDE_Y, STRIDE_X: legal values are 1 and up"
#endif
#if CXN_GET(PAD_TOP) < 0 || CXN_GET(PAD_LEFT) < 0
#error "PAD_TOP, PAD_LEFT: legal values are 0 and up"
#endif
#if CXN_GET(IN_BITS) != 8 && CXN_GET(IN_BITS) != 16
#error "IN_BITS: legal values are 8 and 16"
#endif
#if CXN_GET(WEIGHT_BITS) != 8 && CXN_GET(WEIGHT_BITS) != 16
#error "WEIGHT_BITS: legal values are 8 and 16"
#endif
#if CXN_GET(INPUT_ALIGNED) != 0 && CXN_GET(INPUT_ALIGNED) != 1
#error "INPUT_ALIGNED: legal values are 0 and 1"
#endif
#if CXN_GET(OUTPUT_ALIGNED) != 0 && CXN_GET(OUTPUT_ALIGNED) != 1
#error "OUTPUT_ALIGNED: legal values are 0 and 1"
#endif

#if CXN_GET(SCHEME) != CXN_SCHEME_POW2 && CXN_GET(SCHEME) != CXN_SCHEME_AFFINE
#error "SCHEME: legal values are CXN_SCHEME_POW2 and CXN_SCHEME_AFFINE"
#endif

/* Outputs are as wide as inputs where an affine layer does not say otherwise. */
#if CXN_GET(SCHEME) == CXN_SCHEME_AFFINE
#define CXN_OUT_BITS CXN_GET(OUT_BITS)
#if CXN_GET(OUT_BITS) != 8 && CXN_GET(OUT_BITS) != 16
#error "OUT_BITS: legal values are 8 and 16"
#endif
#else
#define CXN_OUT_BITS CXN_GET(IN_BITS)
#endif

/* With BAND a kernel gets the rows of a call, cxn_rows, as its last argument: at most BAND output rows of a layer whose other macros are
   those of the whole image. Rows outside of those it is given are not read or written. */
#if CXN_GET(BAND)
#define CXN_IS_BAND 1
#define CXN_IN_ROWS band.in
#define CXN_PAD_ROWS band.above
#define CXN_OUT_ROWS band.out
#define CXN_ROWS_PARAMETER , const cxn_rows band
#define CXN_ROWS_ARGUMENT , band
#if CXN_GET(BAND) < 1
#error "BAND: legal values are 1 and up"
#endif
#if CXN_GET(FUSED_POOL)
#error "BAND: not together with FUSED_POOL"
#endif
#else
#define CXN_IS_BAND 0
#define CXN_IN_ROWS CXN_GET(IN_H)
#define CXN_PAD_ROWS CXN_GET(PAD_TOP)
#define CXN_OUT_ROWS CXN_GET(OUT_H)
#define CXN_ROWS_PARAMETER
#define CXN_ROWS_ARGUMENT
#endif

/* Input and output: with IN_PLACE they may be one and the same memory. */
#if CXN_GET(IN_PLACE)
#define CXN_ALONE
#else
#define CXN_ALONE CXN_RESTRICT
#endif

/* Element types of this instance. */
#if CXN_GET(IN_BITS) == 8
#define CXN_IN_T int8_t
#else
#define CXN_IN_T int16_t
#endif
#if CXN_OUT_BITS == 8
#define CXN_OUT_T int8_t
#else
#define CXN_OUT_T int16_t
#endif
#if CXN_GET(WEIGHT_BITS) == 8
#define CXN_WEIGHT_T int8_t
#else
#define CXN_WEIGHT_T int16_t
#endif

#endif /* CXN_LAYER */
