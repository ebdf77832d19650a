/* SPDX-License-Identifier: Apache-2.0 */
/* A few samples of a fully connected layer straight from plain weights: packing would cost more than the products do.
 * Loops of this shape become the target's multiply-add. Takes: FN(name), T; four_rows_w8 and four_rows_w16 come
 * from four_rows.h. */
static void FN(dot_rows)(const simd_geometry *g, const void *weights, const void *bias, const void *in, void *out,
                         int16_t *wide)
{
    const ptrdiff_t cols = g->in_ch, rows = g->out_ch;
    const simd_requant requant = g->requant; /* a copy: what `to` points to may alias *g */
    const int32_t zero_point = zero_point_of(&requant);
    const int affine = requant.kind != SIMD_POW2;
    const T *x = in;
    T *to = out;
    for (ptrdiff_t i = 0; i < cols; i++)
        wide[i] = (int16_t)(x[i] - zero_point); /* of 8 bits both, where it is not zero */
    for (ptrdiff_t r = 0; r < rows; r += 4) {
        uint32_t sums[4];
        const void *row[4];
        const ptrdiff_t valid = min_ptrdiff(rows - r, 4);
        for (ptrdiff_t i = 0; i < 4; i++) {
            const ptrdiff_t at = min_ptrdiff(r + i, rows - 1);
            sums[i] = initial_sum(g, bias, at);
            row[i] = (const char *)weights + at * cols * (g->weight_bits / 8);
        }
        if (g->weight_bits == 8)
            four_rows_w8(wide, row, cols, sums);
        else
            four_rows_w16(wide, row, cols, sums);
        for (ptrdiff_t i = 0; i < valid; i++)
            to[r + i] = (T)requantise_as(sums[i], &requant, r + i, affine);
    }
}
