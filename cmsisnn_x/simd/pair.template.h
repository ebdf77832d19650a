/* SPDX-License-Identifier: Apache-2.0 */
/* Sums, products, maxima and minima of tensors with zero points: plain loops that compilers vectorise.
 * Takes: FN(name), T. */
#define PAIR(name, value)                                                                                          \
    ALWAYS_INLINE void FN(name)(const simd_pair *plan, const T *restrict a, const T *b, T *restrict out,           \
                                ptrdiff_t n, const ptrdiff_t step)                                                 \
    {                                                                                                              \
        const simd_pair p = *plan;                                                                                 \
        const int32_t low = p.low - p.out.zero_point, high = p.high - p.out.zero_point;                            \
        (void)low, (void)high;                                                                                     \
        for (ptrdiff_t i = 0; i < n; i++) {                                                                        \
            const int32_t x = a[i], y = b[i * step];                                                               \
            out[i] = (T)(value);                                                                                   \
        }                                                                                                          \
    }                                                                                                              \
    NEVER_INLINE void CXN_CAT(FN(name), _all)(const simd_pair *p, const T *a, const T *b, T *out, ptrdiff_t count, \
                                              ptrdiff_t period)                                                    \
    {                                                                                                              \
        if (period == 1) {                                                                                         \
            FN(name)(p, a, b, out, count, 0);                                                                      \
            return;                                                                                                \
        }                                                                                                          \
        for (ptrdiff_t i = 0; i < count; i += period)                                                              \
            FN(name)(p, a + i, b, out + i, min_ptrdiff(period, count - i), 1);                                     \
    }

#define RESCALED(x, r) rescale((uint32_t)(x), (r).multiplier, (r).left, (r).right)
#define SHIFTED(x, r) ((uint32_t)((x) - (r).zero_point) << p.left_shift)
#define OUTPUT(x) (clamp(RESCALED(x, p.out), low, high) + p.out.zero_point)
PAIR(add, OUTPUT((uint32_t)RESCALED(SHIFTED(x, p.a), p.a) + (uint32_t)p.sign * (uint32_t)RESCALED(SHIFTED(y, p.b), p.b)))
PAIR(multiply, OUTPUT((uint32_t)(x - p.a.zero_point) * (uint32_t)(y - p.b.zero_point)))
PAIR(maximum, clamp(x > y ? x : y, p.low, p.high))
PAIR(minimum, clamp(x < y ? x : y, p.low, p.high))
#undef RESCALED
#undef SHIFTED
#undef OUTPUT
#undef PAIR

NEVER_INLINE void FN(line_all)(const simd_pair *p, const T *a, const T *b, T *out, ptrdiff_t count, ptrdiff_t period)
{
    /* Of bytes alone. */
    for (ptrdiff_t i = 0; i < count; i += period == 1 ? count : period)
        if (period == 1)
            line_run(&p->line, (const int8_t *)a, (const int8_t *)b, (int8_t *)out, count, 0);
        else
            line_run(&p->line, (const int8_t *)a + i, (const int8_t *)b, (int8_t *)out + i,
                     min_ptrdiff(period, count - i), 1);
}

static void FN(pair)(int op, const simd_pair *p, const void *a, const void *b, void *out, size_t count, size_t period)
{
    static void (*const functions[SIMD_PAIRS])(const simd_pair *, const T *, const T *, T *, ptrdiff_t, ptrdiff_t) = {
        [SIMD_ADD] = FN(add_all),
        [SIMD_MULTIPLY] = FN(multiply_all),
        [SIMD_MAXIMUM] = FN(maximum_all),
        [SIMD_MINIMUM] = FN(minimum_all),
    };
    if (op == SIMD_ADD && p->is_line) {
        FN(line_all)(p, a, b, out, (ptrdiff_t)count, (ptrdiff_t)period);
        return;
    }
    functions[op](p, a, b, out, (ptrdiff_t)count, (ptrdiff_t)period);
}
