/* SPDX-License-Identifier: Apache-2.0 */
/* Pooling, relu and pairs of another table, whose code would be the same: they have no dot products.
 * Takes: FN(name), T, BORROWED_FROM. */
extern const simd_isa BORROWED_FROM;

enum { FN(width) = sizeof(T) == 1 ? SIMD_Q7 : SIMD_Q15 };

static size_t FN(max_pool_bytes)(const simd_geometry *g) { return BORROWED_FROM.max_pool[FN(width)].scratch_bytes(g); }

static void FN(max_pool)(const simd_geometry *g, const void *in, void *out, void *scratch)
{
    BORROWED_FROM.max_pool[FN(width)].run(g, in, out, scratch);
}

static size_t FN(avg_pool_bytes)(const simd_geometry *g) { return BORROWED_FROM.avg_pool[FN(width)].scratch_bytes(g); }

static void FN(avg_pool)(const simd_geometry *g, const void *in, void *out, void *scratch)
{
    BORROWED_FROM.avg_pool[FN(width)].run(g, in, out, scratch);
}

static void FN(relu)(const void *in, void *out, size_t count) { BORROWED_FROM.relu[FN(width)](in, out, count); }

static void FN(pair)(int op, const simd_pair *p, const void *a, const void *b, void *out, size_t count, size_t period)
{
    BORROWED_FROM.pair[FN(width)](op, p, a, b, out, count, period);
}
