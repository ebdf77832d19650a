# SPDX-License-Identifier: Apache-2.0
"""The layers that ``cmsisnn-tune calibrate`` emulates: a grid to fit on, and two sets of other shapes to judge the
fit by.

The grid spreads over what makes kernels differ: kernel sizes, channels that fill words and channels that do not, rows
that are left over, strides, padding, long runs and short ones. `unseen` is judged with every calibration; `confirm` was
looked at once a model was settled, so that nothing was chosen by it.

Rows are Python, not a data file: their order counts, types check them, and nobody but this package reads them.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from cmsisnn_x.layers import Layer
from cmsisnn_x.op import MODEL_OPS

DTYPES = ("q7", "q15")
LARGE = "large"
"""How the names of large convolutions begin."""
Convolution = tuple[tuple[int, int, int], int, tuple[int, int], tuple[int, int], int | str]
"""Input, output channels, kernel, stride, padding."""
Depthwise = tuple[tuple[int, int, int], tuple[int, int], tuple[int, int], int | str]
"""Input, kernel, stride, padding."""
Pool = tuple[tuple[int, int, int], tuple[int, int], tuple[int, int], int | str, bool]
"""Input, kernel, stride, padding, `ceil_mode`."""
Dense = tuple[int, int]
"""Columns, rows."""


def make_layer(
    name: str,
    op: str,
    dtype: str,
    shape: tuple[int, ...],
    out: int = 0,
    kernel: tuple[int, int] = (1, 1),
    stride: tuple[int, int] = (1, 1),
    padding: int | str = 0,
    ceil_mode: bool = False,
    weights_dtype: str | None = None,
) -> Layer:
    """A layer with drawn weights; `out` is its number of output channels or rows."""
    row = MODEL_OPS[op]
    attributes = {
        "out_channels": out,
        "out_features": out,
        "kernel": kernel,
        "stride": stride,
        "padding": padding if isinstance(padding, str) else (padding, padding),
        "ceil_mode": ceil_mode,
        "int_bits": 2,
    }
    fields: dict[str, Any] = {"name": name, "op": op, "dtype": dtype, "input_shape": shape}
    fields |= row.infer(shape, {key: attributes.get(key) for key in row.attributes})
    if not row.is_weighted:
        return Layer(**fields)
    return _with_weights(Layer(**fields, out_shift=8, weights_dtype=weights_dtype or dtype))


def _with_weights(layer: Layer) -> Layer:
    """Their values do not matter to the cycles; drawn small, so that nothing saturates."""
    rng = np.random.default_rng(zlib.crc32(layer.name.encode()))
    dtype = layer.weights_type.dtype
    weights = rng.integers(-16, 17, layer.weights_shape, dtype)
    return replace(layer, weights=weights, bias=rng.integers(-64, 65, layer.bias_shape, dtype))


# Ordered by the size of the kernel, so that every family of kernels, which takes each n-th of them, sees all sizes.
_CONVOLUTIONS: tuple[Convolution, ...] = (
    ((5, 7, 8), 12, (1, 1), (1, 1), 0),
    ((8, 8, 32), 16, (1, 1), (1, 1), 0),
    ((4, 4, 64), 24, (1, 1), (1, 1), 0),
    ((6, 6, 16), 10, (1, 1), (1, 1), 0),
    ((10, 10, 3), 8, (1, 1), (1, 1), 0),
    ((3, 5, 96), 16, (1, 1), (1, 1), 0),
    ((12, 12, 12), 9, (1, 1), (1, 1), 0),
    ((7, 7, 24), 32, (1, 1), (1, 1), 0),
    ((9, 6, 5), 7, (1, 1), (1, 1), 0),
    ((9, 10, 16), 8, (1, 1), (2, 2), 0),
    ((4, 9, 40), 6, (1, 1), (1, 1), 0),
    ((6, 8, 20), 13, (1, 1), (1, 1), 0),
    ((4, 6, 6), 20, (1, 3), (1, 1), "same"),
    ((10, 6, 8), 6, (3, 1), (1, 1), "same"),
    ((9, 9, 6), 8, (2, 2), (2, 2), 0),
    ((8, 8, 4), 8, (3, 3), (1, 1), 1),
    ((6, 6, 16), 16, (3, 3), (1, 1), 1),
    ((6, 7, 5), 13, (3, 3), (1, 1), 1),
    ((4, 4, 64), 12, (3, 3), (1, 1), 1),
    ((12, 12, 8), 8, (3, 3), (2, 2), 1),
    ((16, 16, 3), 16, (3, 3), (1, 1), 1),
    ((7, 9, 24), 6, (3, 3), (1, 1), 0),
    ((10, 10, 1), 8, (3, 3), (1, 1), 1),
    ((9, 9, 12), 4, (3, 3), (1, 1), 0),
    ((5, 5, 32), 10, (3, 3), (1, 1), 1),
    ((8, 10, 6), 5, (3, 3), (1, 1), "same"),
    ((13, 13, 3), 8, (3, 3), (2, 2), "same"),
    ((7, 7, 10), 16, (3, 3), (2, 2), "same"),
    ((11, 5, 8), 24, (3, 3), (1, 1), 1),
    ((6, 6, 20), 11, (3, 3), (1, 1), 0),
    ((14, 14, 2), 6, (3, 3), (1, 1), 1),
    ((5, 6, 48), 8, (3, 3), (1, 1), 1),
    ((9, 9, 16), 8, (3, 3), (2, 2), 0),
    ((16, 8, 4), 4, (3, 3), (1, 1), 1),
    ((8, 8, 12), 6, (4, 4), (1, 1), "same"),
    ((8, 12, 6), 6, (5, 3), (1, 1), "same"),
    ((7, 10, 10), 5, (1, 5), (1, 1), "same"),
    ((21, 7, 1), 16, (8, 4), (2, 1), "same"),
    ((10, 10, 3), 8, (5, 5), (1, 1), 2),
    ((9, 9, 6), 10, (5, 5), (1, 1), 0),
    ((8, 8, 32), 6, (5, 5), (1, 1), 2),
    ((20, 20, 3), 12, (5, 5), (1, 1), 2),
    ((12, 12, 1), 6, (5, 5), (1, 1), 0),
    ((7, 7, 16), 8, (5, 5), (1, 1), 2),
    ((10, 10, 8), 5, (5, 5), (1, 1), 2),
    ((11, 11, 4), 12, (5, 5), (2, 2), 2),
    ((8, 6, 12), 7, (5, 5), (1, 1), "same"),
    ((6, 6, 24), 4, (5, 5), (1, 1), 2),
    ((9, 11, 4), 6, (7, 7), (1, 1), 3),
    ((14, 14, 3), 4, (7, 7), (2, 2), 3),
    ((8, 8, 8), 4, (7, 7), (1, 1), 3),
    ((10, 9, 1), 5, (7, 7), (1, 1), 3),
    ((25, 8, 1), 12, (10, 4), (2, 2), "same"),
    ((14, 6, 4), 6, (10, 3), (1, 1), "same"),
    ((9, 7, 1), 12, (3, 3), (1, 1), 1),
    ((20, 20, 1), 10, (3, 3), (2, 2), "same"),
    ((18, 12, 1), 6, (5, 3), (1, 1), "same"),
    ((24, 22, 1), 8, (5, 5), (1, 1), 0),
    ((10, 12, 2), 8, (5, 5), (1, 1), 2),
    ((9, 12, 7), 14, (3, 3), (1, 1), 1),
    ((13, 9, 5), 8, (3, 3), (1, 1), 1),
    ((18, 18, 3), 16, (3, 3), (2, 2), 1),
    ((14, 12, 8), 16, (1, 1), (1, 1), 0),
    ((16, 16, 16), 8, (1, 1), (1, 1), 0),
    ((12, 12, 4), 12, (1, 1), (1, 1), 0),
    ((11, 9, 6), 18, (1, 1), (1, 1), 0),
    ((9, 12, 7), 20, (1, 1), (1, 1), 0),
    ((13, 6, 10), 24, (1, 1), (1, 1), 0),
    ((16, 9, 6), 32, (1, 1), (1, 1), 0),
    ((10, 14, 2), 16, (1, 1), (1, 1), 0),
    ((15, 7, 5), 24, (1, 1), (1, 1), 0),
    ((24, 24, 3), 8, (3, 3), (2, 2), "same"),
    ((16, 16, 1), 8, (3, 3), (1, 1), 1),
    ((12, 12, 8), 16, (3, 3), (1, 1), 1),
    ((8, 8, 48), 16, (1, 1), (1, 1), 0),
    ((6, 5, 64), 32, (1, 1), (1, 1), 0),
    ((10, 10, 24), 12, (1, 1), (1, 1), 0),
    ((12, 10, 16), 24, (3, 3), (2, 2), 1),
    ((10, 10, 32), 16, (3, 3), (2, 2), "same"),
    ((9, 9, 32), 12, (1, 1), (2, 2), 0),
    ((16, 8, 1), 16, (8, 4), (2, 2), "same"),
    ((20, 10, 1), 24, (10, 4), (2, 1), "same"),
    ((5, 5, 8), 40, (5, 5), (1, 1), 0),
    ((4, 4, 24), 30, (4, 4), (1, 1), 0),
)
# What networks spend their time on, and what small layers do not show: of all families that may be the fastest.
_LARGE_CONVOLUTIONS: tuple[Convolution, ...] = (
    ((10, 9, 32), 32, (3, 3), (1, 1), 1),
    ((6, 8, 40), 36, (3, 3), (1, 1), 1),
    ((8, 8, 24), 28, (5, 5), (1, 1), 2),
    ((14, 12, 32), 48, (1, 1), (1, 1), 0),
    ((20, 19, 3), 28, (5, 5), (1, 1), 2),
    ((14, 13, 16), 32, (3, 3), (2, 2), 1),
    ((14, 14, 10), 12, (3, 3), (1, 1), 0),
    ((13, 14, 6), 10, (5, 5), (1, 1), 0),
    ((20, 18, 8), 12, (1, 1), (1, 1), 0),
    ((20, 14, 1), 8, (3, 3), (1, 1), 1),
    ((30, 12, 1), 24, (8, 4), (2, 2), "same"),
    ((14, 12, 6), 7, (5, 5), (1, 1), 0),
    ((14, 12, 10), 8, (5, 5), (1, 1), 0),
    ((26, 22, 1), 10, (5, 5), (1, 1), 2),
    ((18, 20, 8), 16, (1, 1), (1, 1), 0),
    ((16, 12, 16), 24, (1, 1), (1, 1), 0),
    ((22, 16, 1), 12, (3, 5), (1, 1), "same"),
)
_DEPTHWISE: tuple[Depthwise, ...] = (
    ((8, 8, 8), (3, 3), (1, 1), 1),
    ((6, 6, 32), (3, 3), (1, 1), 1),
    ((7, 9, 5), (3, 3), (1, 1), 1),
    ((5, 5, 64), (3, 3), (1, 1), 1),
    ((16, 16, 4), (3, 3), (1, 1), 1),
    ((14, 14, 1), (3, 3), (1, 1), 1),
    ((11, 12, 16), (3, 3), (1, 1), 0),
    ((9, 7, 20), (3, 3), (1, 1), "same"),
    ((4, 4, 96), (3, 3), (1, 1), 1),
    ((20, 12, 12), (3, 3), (1, 1), 1),
    ((12, 12, 16), (3, 3), (2, 2), 1),
    ((10, 12, 7), (3, 3), (2, 2), 0),
    ((9, 9, 24), (3, 3), (2, 2), 1),
    ((16, 16, 8), (3, 3), (2, 2), "same"),
    ((6, 6, 48), (3, 3), (2, 2), "same"),
    ((10, 10, 3), (5, 5), (1, 1), 2),
    ((9, 9, 12), (5, 5), (1, 1), 0),
    ((8, 8, 16), (5, 5), (1, 1), 2),
    ((7, 11, 10), (5, 5), (1, 1), "same"),
    ((12, 12, 8), (5, 5), (2, 2), 2),
    ((12, 6, 24), (3, 1), (1, 1), 0),
    ((6, 6, 10), (2, 2), (2, 2), 0),
    ((4, 6, 40), (3, 5), (1, 1), "same"),
    ((9, 9, 13), (7, 7), (1, 1), 3),
    ((4, 28, 8), (3, 3), (1, 1), 1),
    ((4, 20, 16), (3, 3), (1, 1), 1),
    ((6, 34, 4), (3, 3), (1, 1), 1),
    ((6, 40, 8), (3, 3), (2, 2), 1),
    ((5, 18, 8), (5, 5), (1, 1), 2),
    ((10, 8, 32), (3, 3), (1, 1), 1),
    ((12, 9, 24), (3, 3), (1, 1), 1),
    ((8, 6, 64), (3, 3), (2, 2), "same"),
    ((8, 5, 128), (3, 3), (1, 1), 1),
    ((14, 14, 12), (3, 3), (2, 2), "same"),
    ((10, 9, 6), (5, 5), (1, 1), 2),
    ((9, 10, 11), (3, 3), (1, 1), 1),
    ((4, 26, 16), (3, 3), (2, 2), "same"),
    ((18, 14, 24), (3, 3), (1, 1), 1),
    ((12, 20, 40), (3, 3), (1, 1), 1),
    ((11, 11, 28), (3, 3), (2, 2), 1),
    ((18, 18, 6), (3, 3), (2, 2), "same"),
    ((6, 5, 96), (5, 5), (1, 1), 2),
    ((11, 9, 20), (5, 5), (1, 1), 2),
    ((13, 6, 14), (3, 3), (1, 1), 1),
)
_POOLS: tuple[Pool, ...] = (
    ((8, 8, 32), (2, 2), (2, 2), 0, False),
    ((20, 16, 8), (2, 2), (2, 2), 0, False),
    ((6, 10, 20), (2, 2), (2, 2), 0, True),
    ((14, 14, 3), (2, 2), (2, 2), 0, False),
    ((10, 8, 16), (2, 2), (2, 2), 0, False),
    ((9, 13, 6), (2, 2), (2, 2), 0, True),
    ((12, 12, 5), (2, 2), (2, 2), 0, False),
    ((4, 4, 64), (2, 2), (2, 2), 0, False),
    ((7, 7, 12), (2, 2), (2, 2), 1, False),
    ((16, 16, 8), (3, 3), (2, 2), 0, True),
    ((8, 8, 64), (3, 3), (2, 2), 0, True),
    ((20, 20, 16), (3, 3), (2, 2), 0, True),
    ((9, 9, 5), (3, 3), (2, 2), 1, False),
    ((13, 11, 12), (3, 3), (2, 2), 0, False),
    ((10, 10, 7), (3, 3), (2, 2), 0, True),
    ((14, 10, 20), (3, 3), (2, 2), "same", False),
    ((7, 9, 4), (3, 3), (2, 2), 0, False),
    ((10, 10, 12), (3, 3), (1, 1), 0, False),
    ((7, 8, 16), (3, 3), (1, 1), 1, False),
    ((6, 12, 5), (3, 3), (1, 1), 1, False),
    ((11, 9, 8), (2, 2), (1, 1), 0, False),
    ((6, 9, 6), (2, 2), (1, 1), 0, False),
    ((12, 10, 4), (2, 3), (1, 1), 1, False),
    ((12, 12, 6), (4, 4), (3, 3), 1, True),
    ((12, 8, 16), (4, 4), (4, 4), 0, False),
    ((8, 8, 10), (4, 4), (4, 4), 0, False),
    ((9, 9, 8), (3, 3), (3, 3), 0, False),
    ((10, 7, 14), (3, 3), (3, 3), 0, True),
    ((4, 4, 48), (4, 4), (4, 4), 0, False),
    ((6, 6, 16), (6, 6), (6, 6), 0, False),
    ((5, 5, 40), (5, 5), (1, 1), 0, False),
    ((7, 7, 24), (7, 7), (1, 1), 0, False),
    ((10, 10, 9), (5, 5), (5, 5), 0, False),
    ((9, 8, 12), (6, 5), (2, 2), 2, False),
    ((12, 4, 32), (12, 4), (1, 1), 0, False),
    ((8, 8, 6), (8, 8), (1, 1), 0, False),
    ((14, 9, 16), (5, 5), (1, 1), 0, False),
    ((20, 5, 24), (20, 5), (1, 1), 0, False),
    ((10, 6, 32), (10, 6), (1, 1), 0, False),
    ((8, 4, 64), (8, 4), (1, 1), 0, False),
    ((15, 4, 8), (15, 4), (1, 1), 0, False),
    ((20, 18, 6), (2, 2), (2, 2), 0, False),
    ((18, 18, 24), (3, 3), (2, 2), 0, True),
    ((10, 10, 6), (4, 4), (2, 2), 1, False),
    ((12, 9, 16), (4, 4), (2, 2), 0, False),
    ((11, 12, 5), (3, 3), (2, 2), 0, False),
    ((8, 9, 3), (3, 3), (2, 2), 1, False),
    ((10, 14, 24), (4, 4), (2, 2), 0, False),
    ((13, 10, 7), (4, 4), (2, 2), 0, False),
    ((24, 22, 12), (3, 3), (2, 2), 0, True),
    ((26, 24, 8), (2, 2), (2, 2), 0, False),
    ((12, 14, 30), (3, 3), (2, 2), 0, True),
    ((10, 10, 96), (10, 10), (1, 1), 0, False),
    ((16, 4, 40), (16, 4), (1, 1), 0, False),
    ((9, 11, 18), (2, 2), (2, 2), 0, False),
    ((12, 16, 10), (3, 3), (2, 2), 1, False),
    ((5, 5, 72), (5, 5), (1, 1), 0, False),
    ((15, 15, 4), (5, 5), (2, 2), 0, False),
    ((22, 12, 14), (2, 2), (2, 2), 0, False),
)
_DENSE: tuple[Dense, ...] = (
    (64, 10), (256, 10), (128, 16), (33, 7), (512, 5), (100, 30), (17, 13), (2048, 4), (48, 64), (200, 3), (96, 1),
    (320, 12), (72, 11), (1500, 2), (10, 9), (400, 21), (30, 2), (784, 8), (162, 6), (1031, 7),
    (52, 6), (36, 22), (140, 8), (27, 18), (12, 64), (60, 14), (90, 5), (577, 5), (512, 2), (84, 24),
)  # fmt: skip
_VECTORS = (16, 64, 257, 1024, 4096, 10, 3, 100, 33)


def _layers(
    dtypes: Sequence[str],
    convolutions: Sequence[Convolution],
    depthwise: Sequence[Depthwise],
    pools: Sequence[Pool],
    dense: Sequence[Dense],
    vectors: Sequence[int],
) -> Iterator[Layer]:
    for dtype in dtypes:
        for i, (shape, out, kernel, stride, padding) in enumerate(convolutions):
            yield make_layer(f"conv{i}", "conv2d", dtype, shape, out, kernel, stride, padding)
        for i, (shape, kernel, stride, padding) in enumerate(depthwise):
            yield make_layer(f"dw{i}", "depthwise_conv2d", dtype, shape, 0, kernel, stride, padding)
        for i, (size, out) in enumerate(dense):
            yield make_layer(f"fc{i}", "fully_connected", dtype, (size,), out)
            if dtype == "q15":
                yield make_layer(f"mixed{i}", "fully_connected", dtype, (size,), out, weights_dtype="q7")
        for op in ("max_pool2d", "avg_pool2d"):
            for i, (shape, kernel, stride, padding, ceil_mode) in enumerate(pools):
                yield make_layer(f"{op}{i}", op, dtype, shape, 0, kernel, stride, padding, ceil_mode)
        for op in (name for name, row in MODEL_OPS.items() if not row.is_weighted and not row.is_windowed):
            for size in vectors:
                yield make_layer(f"{op}{size}", op, dtype, (size,))


def grid(dtypes: Sequence[str] = DTYPES) -> list[Layer]:
    """The layers that coefficients are fitted on."""
    found = list(_layers(dtypes, _CONVOLUTIONS, _DEPTHWISE, _POOLS, _DENSE, _VECTORS))
    for dtype in dtypes:
        for i, (shape, out, kernel, stride, padding) in enumerate(_LARGE_CONVOLUTIONS):
            found.append(make_layer(f"{LARGE}{i}", "conv2d", dtype, shape, out, kernel, stride, padding))
    return found


def unseen(dtypes: Sequence[str] = DTYPES) -> list[Layer]:
    """Layers of other shapes, never fitted: what the published errors are measured on. The paper's network is among
    them, and layers of DS-CNN, of a narrow MobileNet, of LeNet and of small classifiers.
    """
    return list(
        _layers(
            dtypes,
            (
                ((32, 32, 3), 32, (5, 5), (1, 1), 2),
                ((16, 16, 32), 32, (5, 5), (1, 1), 2),
                ((8, 8, 32), 64, (5, 5), (1, 1), 2),
                ((11, 10, 7), 9, (3, 3), (1, 1), "same"),
                ((7, 7, 48), 20, (1, 1), (1, 1), 0),
                ((20, 20, 3), 12, (3, 3), (2, 2), "same"),
                ((6, 6, 32), 32, (3, 3), (1, 1), "same"),
                ((12, 12, 10), 6, (5, 5), (1, 1), 0),
                ((49, 10, 1), 64, (10, 4), (2, 2), "same"),
                ((25, 5, 64), 64, (1, 1), (1, 1), 0),
                ((24, 24, 8), 16, (1, 1), (1, 1), 0),
                ((28, 28, 1), 6, (5, 5), (1, 1), 2),
                ((8, 8, 1), 8, (3, 3), (1, 1), 1),
                ((8, 8, 8), 16, (3, 3), (1, 1), 1),
            ),
            (
                ((16, 16, 32), (3, 3), (1, 1), 1),
                ((13, 13, 20), (3, 3), (2, 2), "same"),
                ((8, 8, 6), (5, 5), (1, 1), "same"),
                ((25, 5, 64), (3, 3), (1, 1), 1),
                ((24, 24, 8), (3, 3), (1, 1), 1),
            ),
            (
                ((32, 32, 32), (3, 3), (2, 2), 0, True),
                ((16, 16, 32), (3, 3), (2, 2), 0, True),
                ((11, 13, 10), (2, 2), (2, 2), 0, False),
                ((28, 28, 6), (2, 2), (2, 2), 0, False),
                ((8, 8, 16), (2, 2), (2, 2), 0, False),
                ((25, 5, 64), (25, 5), (1, 1), 0, False),
                ((6, 6, 128), (6, 6), (1, 1), 0, False),
            ),
            ((1024, 10), (75, 21), (400, 120), (64, 12), (256, 2), (84, 10)),
            (500, 24, 8192),
        )
    )


def confirm(dtypes: Sequence[str] = DTYPES) -> list[Layer]:
    """A third set of shapes, drawn by chance when all else was settled: it never decided anything."""
    return list(
        _layers(
            dtypes,
            (
                ((26, 5, 6), 6, (3, 3), (1, 1), 1),
                ((6, 21, 48), 24, (1, 1), (1, 1), 0),
                ((10, 19, 20), 20, (3, 3), (2, 2), "same"),
                ((12, 7, 32), 6, (5, 5), (1, 1), 2),
                ((22, 6, 32), 10, (1, 1), (1, 1), 0),
                ((16, 11, 48), 6, (3, 3), (1, 1), 0),
                ((16, 23, 24), 15, (3, 3), (1, 1), "same"),
                ((7, 21, 4), 15, (5, 5), (1, 1), 0),
                ((7, 16, 48), 28, (3, 3), (2, 2), 1),
                ((12, 13, 3), 32, (5, 3), (1, 1), "same"),
                ((13, 16, 3), 32, (8, 4), (2, 2), "same"),
                ((21, 15, 6), 6, (4, 4), (1, 1), 0),
            ),
            (
                ((6, 9, 24), (3, 3), (1, 1), 1),
                ((14, 21, 6), (3, 3), (2, 2), "same"),
                ((8, 11, 72), (5, 5), (1, 1), 2),
                ((15, 12, 48), (3, 3), (1, 1), "same"),
            ),
            (
                ((15, 11, 12), (2, 2), (2, 2), 0, False),
                ((8, 11, 10), (3, 3), (2, 2), 0, True),
                ((19, 11, 32), (3, 3), (2, 2), 1, False),
                ((6, 9, 12), (6, 9), (1, 1), 0, False),
                ((20, 8, 24), (2, 2), (2, 2), 0, False),
                ((6, 20, 32), (4, 4), (2, 2), 0, False),
                ((4, 10, 24), (4, 10), (1, 1), 0, False),
            ),
            ((80, 40), (144, 26), (55, 5), (1350, 26), (900, 14), (24, 11), (190, 20), (144, 40), (700, 9)),
            (1111, 40),
        )
    )
