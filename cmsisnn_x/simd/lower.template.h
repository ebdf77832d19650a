/* SPDX-License-Identifier: Apache-2.0 */
/* Copies the input rows that a strip of output rows reads into a padded buffer, so that inner loops meet no border:
 *
 *      pad_left            in_w               right
 *   |  fill     | y0: x0c0 x0c1 .. x1c0 ..  |  fill   |   pitch = padded_w * in_ch
 *
 * A window is then kernel_h runs of kernel_w * in_ch elements that lie `pitch` apart. Strips bound the buffer.
 *
 * Takes: FN(name), T (input), LT (lowered element), LOWER_ROW(dst, src, n), LOWER_FILL(dst, fill, n).
 */
#ifndef LOWER_STRIP_BYTES
#define LOWER_STRIP_BYTES (256 * 1024)
#endif
/* What may be read behind the last window. */
#ifndef LOWER_SLACK
#define LOWER_SLACK(g) 64
#endif

/* Rows and columns that a window reaches over. */
ALWAYS_INLINE ptrdiff_t FN(reach_y)(const simd_geometry *g) { return (ptrdiff_t)(g->kernel_h - 1) * g->dilation_y + 1; }
ALWAYS_INLINE ptrdiff_t FN(reach_x)(const simd_geometry *g) { return (ptrdiff_t)(g->kernel_w - 1) * g->dilation_x + 1; }

typedef struct {
    ptrdiff_t padded_w, pitch; /* pixels, elements */
    ptrdiff_t left, copied, right; /* of every row inside the image, pixels */
    ptrdiff_t strip; /* output rows per strip */
    size_t buffer_bytes, offsets_bytes;
} FN(lowering);

static FN(lowering) FN(plan_lowering)(const simd_geometry *g)
{
    FN(lowering) p;
    p.padded_w = (ptrdiff_t)(g->out_w - 1) * g->stride_x + FN(reach_x)(g);
    p.pitch = p.padded_w * g->in_ch;
    p.left = min_ptrdiff(max_ptrdiff(g->pad_left, 0), p.padded_w);
    p.copied = min_ptrdiff(g->in_w, p.padded_w - p.left);
    p.right = p.padded_w - p.left - p.copied;
    ptrdiff_t rows = LOWER_STRIP_BYTES / max_ptrdiff(1, p.pitch * (ptrdiff_t)sizeof(LT));
    p.strip = min_ptrdiff(g->out_h, max_ptrdiff(1, (rows - FN(reach_y)(g)) / g->stride_y + 1));
    rows = (p.strip - 1) * g->stride_y + FN(reach_y)(g);
    p.buffer_bytes = round_up((size_t)(rows * p.pitch) * sizeof(LT) + LOWER_SLACK(g), SIMD_ALIGNMENT);
    p.offsets_bytes = round_up((size_t)(p.strip * g->out_w + PIXELS) * sizeof(ptrdiff_t), SIMD_ALIGNMENT);
    return p;
}

static size_t FN(lowering_bytes)(const simd_geometry *g)
{
    const FN(lowering) p = FN(plan_lowering)(g);
    return p.buffer_bytes + p.offsets_bytes;
}

static void FN(lower)(const simd_geometry *g, const FN(lowering) *p, const T *in, ptrdiff_t first_out,
                      ptrdiff_t out_rows, LT *buffer)
{
    const ptrdiff_t first = first_out * g->stride_y - g->pad_top;
    const ptrdiff_t rows = (out_rows - 1) * g->stride_y + FN(reach_y)(g);
    const ptrdiff_t ch = g->in_ch;
    const int32_t fill = g->requant.fill;
    for (ptrdiff_t r = 0; r < rows; r++, buffer += p->pitch) {
        const ptrdiff_t y = first + r;
        if (y < 0 || y >= g->in_h) {
            LOWER_FILL(buffer, fill, p->pitch);
            continue;
        }
        LOWER_FILL(buffer, fill, p->left * ch);
        LOWER_ROW(buffer + p->left * ch, in + y * g->in_w * ch, p->copied * ch);
        LOWER_FILL(buffer + (p->left + p->copied) * ch, fill, p->right * ch);
    }
    memset(buffer, 0, LOWER_SLACK(g));
}

/* Where the window of every output pixel of a strip starts; PIXELS copies of the last follow, for incomplete tiles. */
static void FN(window_offsets)(const simd_geometry *g, const FN(lowering) *p, ptrdiff_t *offsets)
{
    ptrdiff_t start = 0;
    for (ptrdiff_t y = 0; y < p->strip; y++)
        for (ptrdiff_t x = 0; x < g->out_w; x++)
            *offsets++ = start = y * g->stride_y * p->pitch + x * g->stride_x * g->in_ch;
    for (int i = 0; i < PIXELS; i++)
        *offsets++ = start;
}
