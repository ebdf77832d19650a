# SPDX-License-Identifier: Apache-2.0
"""What the grid has little of and cores with vectors run otherwise."""

from __future__ import annotations

from collections.abc import Sequence

from cmsisnn_x.layers import Layer

from .grid import DTYPES, Convolution, Depthwise, Pool, make_layer

_COLUMNS: tuple[Depthwise, ...] = (
    ((22, 1, 48), (5, 1), (1, 1), 0),
    ((31, 1, 20), (7, 1), (1, 1), 0),
    ((26, 1, 64), (9, 1), (1, 1), 0),
    ((19, 1, 96), (11, 1), (1, 1), 0),
    ((12, 1, 80), (12, 1), (1, 1), 0),
    ((17, 1, 40), (17, 1), (1, 1), 0),
    ((40, 1, 32), (3, 1), (1, 1), 0),
    ((61, 1, 8), (3, 1), (1, 1), "same"),
    ((13, 1, 24), (3, 1), (1, 1), "same"),
    ((33, 1, 16), (3, 1), (2, 1), 0),
    ((70, 1, 6), (3, 1), (2, 1), "same"),
    ((20, 1, 48), (3, 1), (2, 1), "same"),
    ((9, 1, 40), (3, 1), (1, 1), 0),
    ((28, 1, 12), (4, 1), (1, 1), "same"),
    ((44, 1, 20), (5, 1), (2, 1), 0),
    ((30, 1, 10), (5, 1), (2, 1), "same"),
    ((24, 1, 64), (5, 1), (1, 1), "same"),
    ((30, 1, 80), (10, 1), (1, 1), 0),
    ((20, 1, 48), (8, 1), (1, 1), "same"),
    ((36, 1, 32), (2, 1), (2, 1), 0),
    ((110, 1, 12), (3, 1), (1, 1), "same"),
    ((58, 1, 72), (6, 1), (1, 1), 0),
    ((14, 1, 112), (14, 1), (1, 1), 0),
    ((1, 44, 28), (1, 5), (1, 1), 0),
    ((1, 99, 10), (1, 3), (1, 2), "same"),
    ((1, 34, 56), (1, 9), (1, 1), "same"),
)


_WINDOWS: tuple[Depthwise, ...] = (
    ((40, 9, 6), (5, 5), (2, 2), "same"),
    ((21, 16, 12), (5, 5), (1, 1), 0),
    ((18, 18, 24), (3, 3), (2, 2), "same"),
    ((30, 7, 40), (4, 4), (2, 2), 0),
    ((26, 20, 5), (5, 3), (2, 2), 0),
    ((49, 10, 8), (10, 4), (2, 2), "same"),
    ((14, 13, 36), (7, 7), (1, 1), "same"),
    ((33, 12, 3), (3, 3), (2, 2), 0),
    ((28, 14, 18), (5, 5), (2, 2), 0),
    ((12, 12, 32), (2, 2), (2, 2), 0),
    ((4, 23, 4), (3, 3), (2, 2), "same"),
)


_POOLS_OF_VECTORS: tuple[Pool, ...] = (
    ((20, 20, 4), (2, 2), (2, 2), 0, False),
    ((12, 14, 4), (3, 3), (2, 2), "same", False),
    ((16, 10, 4), (3, 3), (1, 1), 1, False),
    ((1, 60, 4), (1, 3), (1, 2), 0, False),
    ((44, 1, 4), (2, 1), (2, 1), 0, False),
    ((9, 9, 4), (9, 9), (1, 1), 0, False),
    ((70, 1, 4), (70, 1), (1, 1), 0, False),
    ((20, 20, 24), (20, 20), (1, 1), 0, False),
    ((20, 18, 10), (18, 17), (1, 1), "same", False),
    ((40, 1, 12), (2, 1), (2, 1), 0, False),
    ((1, 51, 20), (1, 2), (1, 2), "same", False),
    ((60, 1, 6), (3, 1), (2, 1), "same", False),
    ((1, 80, 10), (1, 5), (1, 2), "same", False),
    ((12, 12, 6), (5, 5), (1, 1), "same", False),
    ((14, 10, 14), (6, 4), (2, 2), 0, False),
    ((8, 7, 64), (8, 7), (1, 1), 0, False),
    ((10, 9, 100), (10, 9), (1, 1), 0, False),
    ((7, 7, 160), (7, 7), (1, 1), 0, False),
    ((5, 4, 192), (5, 4), (1, 1), 0, False),
    ((9, 8, 144), (6, 6), (1, 1), 0, False),
    ((6, 5, 136), (3, 3), (1, 1), "same", False),
    ((1, 24, 48), (1, 2), (1, 2), 0, False),
    ((30, 1, 16), (2, 1), (2, 1), 0, False),
    ((1, 8, 32), (1, 2), (1, 2), 0, False),
    ((9, 20, 24), (1, 2), (1, 2), 0, False),
    ((12, 1, 64), (2, 1), (2, 1), 0, False),
    ((80, 1, 36), (2, 1), (2, 1), 0, False),
    ((1, 16, 40), (1, 3), (1, 1), 0, False),
    ((1, 14, 36), (1, 9), (1, 1), "same", False),
    ((16, 17, 6), (16, 17), (1, 1), "same", False),
    ((9, 7, 12), (9, 7), (1, 1), 0, False),
    ((13, 10, 8), (13, 10), (1, 1), 0, False),
    ((21, 23, 7), (21, 23), (1, 1), "same", False),
    ((10, 8, 5), (2, 2), (2, 2), 0, False),
    ((14, 6, 7), (2, 2), (2, 2), 0, False),
    ((8, 12, 3), (2, 2), (2, 2), 0, False),
    ((9, 9, 6), (3, 3), (2, 2), 0, False),
)


_SMALL: tuple[Convolution, ...] = (
    ((4, 4, 1), 24, (3, 3), (2, 2), 1),
    ((2, 3, 2), 16, (3, 3), (1, 1), 1),
    ((3, 4, 1), 32, (2, 2), (1, 1), 0),
    ((5, 4, 3), 8, (3, 3), (2, 2), 1),
    ((6, 2, 4), 12, (3, 3), (1, 1), 1),
    ((4, 1, 8), 16, (3, 1), (1, 1), 0),
    ((3, 3, 16), 8, (3, 3), (2, 2), 1),
    ((6, 3, 1), 16, (5, 3), (2, 1), 1),
)


def of_vectors(dtypes: Sequence[str] = DTYPES) -> list[Layer]:
    """Convolutions that hardly take longer than to begin; depthwise layers along one axis alone, and of larger
    windows and steps; pools of few channels, of pixels of one word, of two pixels, and of wide windows.
    """
    found = []
    for dtype in dtypes:
        for i, (shape, channels, kernel, stride, padding) in enumerate(_SMALL):
            found.append(make_layer(f"small{i}", "conv2d", dtype, shape, channels, kernel, stride, padding))
        for i, (shape, kernel, stride, padding) in enumerate(_COLUMNS):
            found.append(make_layer(f"column{i}", "depthwise_conv2d", dtype, shape, 0, kernel, stride, padding))
        for i, (shape, kernel, stride, padding) in enumerate(_WINDOWS):
            found.append(make_layer(f"window{i}", "depthwise_conv2d", dtype, shape, 0, kernel, stride, padding))
        for op in ("max_pool2d", "avg_pool2d"):
            for i, (shape, kernel, stride, padding, ceil_mode) in enumerate(_POOLS_OF_VECTORS):
                # A word holds four channels, or two.
                few = shape[2] // 2 if dtype == "q15" and shape[2] == 4 else shape[2]
                size = (*shape[:2], few)
                found.append(make_layer(f"pool{i}", op, dtype, size, 0, kernel, stride, padding, ceil_mode))
    return found
