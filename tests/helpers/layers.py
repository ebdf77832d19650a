# SPDX-License-Identifier: Apache-2.0
"""Layers for device tests, with drawn weights."""

from __future__ import annotations

import math
import zlib

import numpy as np

from cmsisnn_x.isa import Features, Isa
from cmsisnn_x.layers import NUMPY_DTYPES, Layer

from . import reference


def features(*, dsp: bool) -> Features:
    """Of a core that takes assembly of any schedule."""
    return Features(Isa.DSP if dsp else Isa.SCALAR)


def make_layer(
    op: str,
    input_shape: tuple[int, ...],
    *,
    dtype: str = "q7",
    out_channels: int | None = None,
    kernel: int | tuple[int, int] = 1,
    stride: int | tuple[int, int] = 1,
    padding: int | tuple[int, int] = 0,
    ceil_mode: bool = False,
    output_size: tuple[int, int] | None = None,
    weights_dtype: str | None = None,
    bias_shift: int = 0,
    out_shift: int = 0,
    activation: str | None = None,
    int_bits: int = 0,
    extreme: bool = False,
) -> Layer:
    """A layer with drawn weights and bias; `extreme` draws them from the ends of their range only."""
    kernel, stride, padding = _pair(kernel), _pair(stride), _pair(padding)
    weights_dtype = weights_dtype or dtype
    name = f"{op}{dtype}{weights_dtype}{input_shape}{out_channels}{kernel}{stride}{padding}{extreme}"
    if op in ("conv2d", "depthwise_conv2d", "max_pool2d", "avg_pool2d"):
        axes = list(zip(input_shape[:2], kernel, stride, padding, strict=True))
        size = output_size or [reference.output_side(*axis, ceil_mode) for axis in axes]
        channels = out_channels if op == "conv2d" else input_shape[2]
        output_shape: tuple[int, ...] = (*size, channels)
        after = [max((o - 1) * s + k - i - p, 0) for o, (i, k, s, p) in zip(size, axes, strict=True)]
        pads = ((padding[0], after[0]), (padding[1], after[1]))
    else:
        pads = ((0, 0), (0, 0))
        output_shape = (out_channels,) if op == "fully_connected" else input_shape
    shapes = {
        "conv2d": (out_channels, *kernel, input_shape[-1]),
        "depthwise_conv2d": (*kernel, input_shape[-1]),
        "fully_connected": (out_channels, math.prod(input_shape)),
    }
    weights = bias = None
    if op in shapes:
        rng = np.random.default_rng(zlib.crc32(name.encode()))
        info = np.iinfo(NUMPY_DTYPES[weights_dtype])

        def drawn(shape: tuple[int, ...]) -> np.ndarray:
            if extreme:
                return rng.choice(np.array([info.min, info.max], info.dtype), shape)
            return rng.integers(info.min, info.max, shape, info.dtype, endpoint=True)

        weights, bias = drawn(shapes[op]), drawn((output_shape[-1],))
    return Layer(
        name="layer",
        op=op,
        dtype=dtype,
        input_shape=input_shape,
        output_shape=output_shape,
        kernel=kernel,
        stride=stride,
        padding=pads,
        ceil_mode=ceil_mode,
        bias_shift=bias_shift,
        out_shift=out_shift,
        activation=activation,
        weights_dtype=weights_dtype if op in shapes else None,
        int_bits=int_bits,
        weights=weights,
        bias=bias,
    )


def _pair(value: int | tuple[int, int]) -> tuple[int, int]:
    return value if isinstance(value, tuple) else (value, value)
