/* SPDX-License-Identifier: Apache-2.0 */
/* Pooling, relu: averages are truncated towards zero, or with zero points rounded, halves away from zero, and clamped:
 * the integers are taken as they are. Plain loops that every compiler vectorises; first along the kernel's rows (long contiguous runs), then
 * its columns. Takes: FN(name), T. */
typedef struct {
    ptrdiff_t first, last;
} FN(range);

enum { FN(highest) = (1 << (8 * sizeof(T) - 1)) - 1, FN(lowest) = -FN(highest) - 1 };

ALWAYS_INLINE FN(range) FN(window)(ptrdiff_t i, ptrdiff_t stride, ptrdiff_t pad, ptrdiff_t kernel, ptrdiff_t size)
{
    const ptrdiff_t first = i * stride - pad;
    return (FN(range)){max_ptrdiff(first, 0), min_ptrdiff(first + kernel, size)};
}

static size_t FN(max_pool_bytes)(const simd_geometry *g)
{
    return round_up((size_t)g->in_w * (size_t)g->in_ch * sizeof(T), SIMD_ALIGNMENT);
}

ALWAYS_INLINE void FN(max_into)(T *restrict to, const T *restrict from, ptrdiff_t n)
{
    for (ptrdiff_t i = 0; i < n; i++)
        to[i] = to[i] > from[i] ? to[i] : from[i];
}

ALWAYS_INLINE void FN(max_columns)(const simd_geometry *g, const T *restrict row, T *restrict to, const ptrdiff_t ch)
{
    for (ptrdiff_t x = 0; x < g->out_w; x++, to += ch) {
        const FN(range) cols = FN(window)(x, g->stride_x, g->pad_left, g->kernel_w, g->in_w);
        memcpy(to, row + cols.first * ch, (size_t)ch * sizeof(T));
        for (ptrdiff_t c = cols.first + 1; c < cols.last; c++)
            FN(max_into)(to, row + c * ch, ch);
    }
}

/* With zero points, the range of a fused activation. */
ALWAYS_INLINE void FN(clamp_all)(const simd_geometry *g, T *restrict x)
{
    const ptrdiff_t n = (ptrdiff_t)g->out_h * g->out_w * g->out_ch;
    const T low = (T)g->requant.low, high = (T)g->requant.high;
    if (g->requant.kind == SIMD_POW2 || (low == FN(lowest) && high == FN(highest)))
        return;
    for (ptrdiff_t i = 0; i < n; i++)
        x[i] = x[i] < low ? low : x[i] > high ? high : x[i];
}

static void FN(max_pool)(const simd_geometry *g, const void *in, void *out, void *scratch)
{
    const ptrdiff_t ch = g->in_ch, pitch = g->in_w * ch;
    T *row = scratch;
    for (ptrdiff_t y = 0; y < g->out_h; y++) {
        const FN(range) rows = FN(window)(y, g->stride_y, g->pad_top, g->kernel_h, g->in_h);
        const T *from = (const T *)in + rows.first * pitch;
        memcpy(row, from, (size_t)pitch * sizeof(T));
        for (ptrdiff_t r = rows.first + 1; r < rows.last; r++)
            FN(max_into)(row, from += pitch, pitch);
        T *to = (T *)out + y * g->out_w * ch;
        /* Usual channel counts as constants: the short loops over channels then need no remainder code. */
        if (ch == 16)
            FN(max_columns)(g, row, to, 16);
        else if (ch == 32)
            FN(max_columns)(g, row, to, 32);
        else if (ch == 64)
            FN(max_columns)(g, row, to, 64);
        else
            FN(max_columns)(g, row, to, ch);
    }
    FN(clamp_all)(g, out);
}

static size_t FN(avg_pool_bytes)(const simd_geometry *g)
{
    return round_up(((size_t)g->in_w + 1) * (size_t)g->in_ch * sizeof(int32_t), SIMD_ALIGNMENT);
}

ALWAYS_INLINE void FN(add_into)(int32_t *restrict to, const T *restrict from, ptrdiff_t n)
{
    for (ptrdiff_t i = 0; i < n; i++)
        to[i] += from[i];
}

/* Windows of more than this many elements may leave 32 bits; they are summed in 64. */
#define AVG_COUNT_MAX ((ptrdiff_t)1 << (32 - 8 * sizeof(T) - 1))
/* Below this sum a float quotient truncates exactly: |a| < 2^24 puts every non-integer a / b further from an integer
 * than half an ulp. */
#define FLOAT_SUM_MAX ((int64_t)1 << 24)

static void FN(avg_pool)(const simd_geometry *g, const void *in, void *out, void *scratch)
{
    const ptrdiff_t ch = g->in_ch, pitch = g->in_w * ch;
    int32_t *row = scratch, *sums = row + pitch;
    T *to = out;
    const int rounds = g->requant.kind != SIMD_POW2;
    for (ptrdiff_t y = 0; y < g->out_h; y++) {
        const FN(range) rows = FN(window)(y, g->stride_y, g->pad_top, g->kernel_h, g->in_h);
        const T *from = (const T *)in + rows.first * pitch;
        const int wide = (rows.last - rows.first) * min_ptrdiff(g->kernel_w, g->in_w) > AVG_COUNT_MAX;
        if (!wide) {
            memset(row, 0, (size_t)pitch * sizeof(int32_t));
            for (ptrdiff_t r = rows.first; r < rows.last; r++)
                FN(add_into)(row, from + (r - rows.first) * pitch, pitch);
        }
        for (ptrdiff_t x = 0; x < g->out_w; x++, to += ch) {
            const FN(range) cols = FN(window)(x, g->stride_x, g->pad_left, g->kernel_w, g->in_w);
            const ptrdiff_t count = (rows.last - rows.first) * (cols.last - cols.first);
            const int32_t half = rounds ? (int32_t)(count / 2) : 0;
            if (wide) {
                for (ptrdiff_t c = 0; c < ch; c++) {
                    int64_t sum = 0;
                    for (ptrdiff_t r = 0; r < rows.last - rows.first; r++)
                        for (ptrdiff_t q = cols.first; q < cols.last; q++)
                            sum += from[r * pitch + q * ch + c];
                    sum += sum > 0 ? half : -half;
                    to[c] = (T)(sum / count);
                }
                continue;
            }
            memcpy(sums, row + cols.first * ch, (size_t)ch * sizeof(int32_t));
            for (ptrdiff_t q = cols.first + 1; q < cols.last; q++) {
                const int32_t *restrict add = row + q * ch;
                for (ptrdiff_t c = 0; c < ch; c++)
                    sums[c] += add[c];
            }
            if (half)
                for (ptrdiff_t c = 0; c < ch; c++)
                    sums[c] += sums[c] > 0 ? half : -half;
            if ((int64_t)(count + half) << (8 * sizeof(T) - 1) < FLOAT_SUM_MAX)
                for (ptrdiff_t c = 0; c < ch; c++)
                    to[c] = (T)(int32_t)((float)sums[c] / (float)count);
            else
                for (ptrdiff_t c = 0; c < ch; c++)
                    to[c] = (T)(sums[c] / (int32_t)count);
        }
    }
    FN(clamp_all)(g, out);
}

static void FN(relu)(const void *in, void *out, size_t count)
{
    const T *from = in;
    T *to = out;
    for (size_t i = 0; i < count; i++)
        to[i] = from[i] > 0 ? from[i] : 0;
}
#undef AVG_COUNT_MAX
#undef FLOAT_SUM_MAX
