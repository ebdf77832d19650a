/* SPDX-License-Identifier: Apache-2.0 */
/* Windows of one instance: how far their pixels lie apart, and which channels they see. 1 where a layer does not say. */
#if CXN_GET(SCHEME) == CXN_SCHEME_AFFINE
#define CXN_DILATION_Y CXN_GET(DILATION_Y)
#define CXN_DILATION_X CXN_GET(DILATION_X)
#define CXN_GROUPS CXN_GET(GROUPS)
#if CXN_GET(DILATION_Y) < 1 || CXN_GET(DILATION_X) < 1
#error "DILATION_Y, DILATION_X: legal values are 1 and up"
#endif
#if CXN_GET(GROUPS) < 1 || CXN_GET(IN_CH) % CXN_GET(GROUPS) || CXN_GET(OUT_CH) % CXN_GET(GROUPS)
#error "GROUPS: legal values divide IN_CH and OUT_CH"
#endif
#else
#define CXN_DILATION_Y 1
#define CXN_DILATION_X 1
#define CXN_GROUPS 1
#endif

/* Whether row `row` of the input lies outside; in a band only where windows leave the image at all. */
#if CXN_IS_BAND
#define CXN_CLIPS_BELOW \
    ((CXN_GET(OUT_H) - 1) * CXN_GET(STRIDE_Y) - CXN_GET(PAD_TOP) + (CXN_GET(KERNEL_H) - 1) * CXN_DILATION_Y >= CXN_GET(IN_H))
#define CXN_IS_OUTSIDE(row) ((void)band, (CXN_GET(PAD_TOP) > 0 && (row) < 0) || (CXN_CLIPS_BELOW && (row) >= CXN_IN_ROWS))
#else
#define CXN_IS_OUTSIDE(row) ((row) < 0 || (row) >= CXN_IN_ROWS)
#endif

/* Whether some window lies outside the image with a part of it. */
#if CXN_GET(PAD_TOP) || CXN_GET(PAD_LEFT) || \
    (CXN_GET(OUT_H) - 1) * CXN_GET(STRIDE_Y) + (CXN_GET(KERNEL_H) - 1) * CXN_DILATION_Y >= CXN_GET(IN_H) || \
    (CXN_GET(OUT_W) - 1) * CXN_GET(STRIDE_X) + (CXN_GET(KERNEL_W) - 1) * CXN_DILATION_X >= CXN_GET(IN_W)
#define CXN_CLIPPED 1
#else
#define CXN_CLIPPED 0
#endif

/* Input channels and output channels of a group. */
#if CXN_GROUPS == 1
#define CXN_GROUP_IN CXN_GET(IN_CH)
#define CXN_GROUP_OUT CXN_GET(OUT_CH)
#else
#define CXN_GROUP_IN (CXN_GET(IN_CH) / CXN_GROUPS)
#define CXN_GROUP_OUT (CXN_GET(OUT_CH) / CXN_GROUPS)
#endif
