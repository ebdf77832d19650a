# SPDX-License-Identifier: Apache-2.0
"""Layers drawn by chance: the larger part of what coefficients are fitted on, and of what they are judged by.

A set has a seed of its own, and was drawn once. Shapes are those of pictures, spectra and series, images of one row or
column among them; windows, strides and channels as people choose them, and now and then as nobody does.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from math import prod
from random import Random
from typing import Any

import numpy as np

from cmsisnn_x.affine import (
    Affine,
    AffineClamp,
    AffineMean,
    AffineProduct,
    AffineRescale,
    AffineSoftmax,
    AffineSum,
    quantize_multiplier,
)
from cmsisnn_x.affine.curves import AffineRealSoftmax
from cmsisnn_x.layers import Layer, View
from cmsisnn_x.op import MODEL_OPS, NETWORK_OPS

from .grid import make_layer

MOST_MACS = 500_000
"""Of a layer, so that emulating takes no longer than compiling."""
SHORT = 14
"""Elements of a row of a window up to which compilers write the loop over them out, or nearly so."""
Shape = tuple[int, ...]

COUNTS = {
    "conv2d": 48, "depthwise_conv2d": 24, "fully_connected": 24, "max_pool2d": 48, "avg_pool2d": 48, "softmax": 24,
    "relu": 6, "sigmoid": 6, "tanh": 6, "add": 14, "multiply": 8, "maximum": 6, "minimum": 6, "look_up": 8,
    "requantise": 6, "mean": 16, "concat": 10, "copy": 8, "pad": 10, "resize_nearest": 6,
}  # fmt: skip
"""How many layers a set has of an operation."""
OF_POW2 = tuple(op for op in COUNTS if op in MODEL_OPS)
OF_INT8 = tuple(op for op in COUNTS if any(types[0] == "int8" for types in NETWORK_OPS[op].types))


def drawn(seed: int, dtypes: Sequence[str], share: float = 1.0) -> list[Layer]:
    """The layers of a set; `share` of the numbers in `COUNTS`."""
    found = []
    for dtype in dtypes:
        for op in OF_INT8 if dtype == "int8" else OF_POW2:
            rng = Random(zlib.crc32(f"{seed} {dtype} {op}".encode()))
            seen: set[Any] = set()
            while len(seen) < round(COUNTS[op] * share):
                layer = draw(rng, op, dtype, f"drawn{seed}_{len(seen)}")
                key = (layer.input_shapes, layer.output_shape, layer.kernel, layer.stride, layer.padding)
                if layer.macs <= MOST_MACS and key not in seen:
                    seen.add(key)
                    found.append(layer)
            if op == "fully_connected" and dtype == "q15":
                found += [
                    make_layer(f"{one.name}m", op, dtype, one.input_shape, one.output_shape[0], weights_dtype="q7")
                    for one in found[-len(seen) :]
                ]
    return found


def short_rows(seed: int, dtypes: Sequence[str], count: int) -> Iterator[Layer]:
    """Convolutions whose windows are short, as first layers have them: of one to eight channels, images of one row or
    column among them. Compilers write their loops out in ways of their own, so that runs far off tell nothing of them.
    """
    for dtype in dtypes:
        rng = Random(zlib.crc32(f"{seed} {dtype} short rows".encode()))
        number = 0
        while number < count:
            image = (*_spatial(rng), rng.choice((1, 1, 1, 2, 2, 3, 3, 4, 4, 6, 8)))
            kernel, stride = _kernel(rng, image), _stride(rng, image)
            padding: int | str = rng.choice(("same", "same", 0))
            if kernel[1] * image[2] > SHORT:
                continue
            layer = _weighted("conv2d", dtype, f"short{seed}_{number}", image, _channels(rng), kernel, stride, padding)
            if layer.macs <= MOST_MACS:
                yield layer
                number += 1


def long_windows(seed: int, dtypes: Sequence[str], ops: Sequence[str], count: int) -> Iterator[Layer]:
    """Pools of windows of five and more elements in some direction, over series in one row or column and over images:
    no registers hold what such windows share, and compilers write some of their loops out.
    """
    for dtype in dtypes:
        for op in ("max_pool2d", "avg_pool2d"):
            rng = Random(zlib.crc32(f"{seed} {dtype} {op} long windows".encode()))
            number = 0
            while op in ops and number < count:
                long = rng.choice((5, 5, 6, 7, 8, 8, 10, 12, 15, 16, 20, 24))
                kernel = rng.choice(((1, long), (1, long), (long, 1), (rng.randrange(1, 8), rng.randrange(1, 8))))
                most = 130 if min(kernel) == 1 and long in kernel else 30
                height, width = (side if side == 1 and most > 30 else rng.randrange(side + 2, most) for side in kernel)
                stride = rng.choice(((1, 1), (1, 1), kernel, (2, 2)))
                stride = (min(stride[0], kernel[0]), min(stride[1], kernel[1]))
                image, padding = (height, width, _channels(rng)), rng.choice((0, 0, 0, "same"))
                if max(kernel) >= 5 and prod(image) < 20_000:
                    yield _of_pools(f"long{seed}_{number}", op, dtype, image, kernel, stride, padding)
                    number += 1


def other_softmaxes(columns: Sequence[int]) -> list[Layer]:
    """Softmax of real numbers, of int8; and to int16."""
    wide = AffineSoftmax.of(0.08, bits=16)
    return [
        *(Layer(f"real{n}", "softmax", "int8", (n,), (n,), scheme=AffineRealSoftmax(0.08, n, -128)) for n in columns),
        *(Layer(f"wide{n}", "softmax", "int8", (n,), (n,), scheme=wide, output_dtype="int16") for n in columns),
    ]


def pairs(seed: int, dtypes: Sequence[str], count: int) -> Iterator[tuple[Layer, Layer]]:
    """Convolutions with a pooling behind them."""
    for dtype in dtypes:
        rng = Random(zlib.crc32(f"{seed} {dtype} pairs".encode()))
        number = 0
        while number < count:
            layer = draw(rng, "conv2d", dtype, f"pair{seed}_{number}")
            if layer.macs > MOST_MACS or prod(layer.output_image[:2]) < 4:
                continue
            op = rng.choice(("max_pool2d", "max_pool2d", "avg_pool2d"))
            yield layer, _pool(rng, op, dtype, f"pair{seed}_{number}p", layer.output_image)
            number += 1


def draw(rng: Random, op: str, dtype: str, name: str) -> Layer:
    """A layer of an operation."""
    makers: dict[str, Callable[[Random, str, str, str], Layer]] = {
        "conv2d": _convolution,
        "depthwise_conv2d": _depthwise,
        "fully_connected": _dense,
        "max_pool2d": lambda rng, op, dtype, name: _pool(rng, op, dtype, name, _inner_image(rng)),
        "avg_pool2d": lambda rng, op, dtype, name: _pool(rng, op, dtype, name, _inner_image(rng)),
    }
    return makers.get(op, _element_wise)(rng, op, dtype, name)


# ---------------------------------------------------------------- shapes


def _channels(rng: Random) -> int:
    return rng.choice((4, 6, 8, 8, 10, 12, 16, 16, 20, 24, 32, 32, 40, 48, 64, rng.randrange(2, 70)))


def _spatial(rng: Random) -> tuple[int, int]:
    kind = rng.random()
    if kind < 0.45:
        size = rng.randrange(3, 30)
        return size, rng.choice((size, rng.randrange(3, 30)))
    if kind < 0.65:
        return rng.randrange(10, 90), rng.randrange(3, 22)
    long = rng.randrange(4, 130)
    return (1, long) if kind < 0.82 else (long, 1)


def _first_image(rng: Random) -> Shape:
    return (*_spatial(rng), rng.choice((1, 1, 2, 3, 3, 4, 6, 9)))


def _inner_image(rng: Random) -> Shape:
    while True:
        found = (*_spatial(rng), _channels(rng))
        if prod(found) < 20_000:
            return found


def _kernel(rng: Random, image: Shape, most: int = 10) -> tuple[int, int]:
    side = rng.choice((1, 1, 3, 3, 3, 5, 5, 2, 4, 7))
    kernel = (side, side) if rng.random() < 0.75 else (rng.randrange(1, 11), rng.randrange(1, 7))
    return min(kernel[0], image[0], most), min(kernel[1], image[1], most)


def _stride(rng: Random, image: Shape) -> tuple[int, int]:
    both = rng.choice((1, 1, 1, 2))
    found = (both, both) if rng.random() < 0.9 else (rng.choice((1, 2)), rng.choice((1, 2)))
    return min(found[0], image[0]), min(found[1], image[1])


# ---------------------------------------------------------------- what multiplies weights, what slides windows


def _convolution(rng: Random, op: str, dtype: str, name: str) -> Layer:
    image = _first_image(rng) if rng.random() < 0.35 else _inner_image(rng)
    kernel = _kernel(rng, image)
    padding: int | str = rng.choice(("same", "same", 0))
    return _weighted(op, dtype, name, image, _channels(rng), kernel, _stride(rng, image), padding)


def _depthwise(rng: Random, op: str, dtype: str, name: str) -> Layer:
    image = _inner_image(rng)
    kernel = (min(3, image[0]), min(3, image[1])) if rng.random() < 0.7 else _kernel(rng, image, 5)
    return _weighted(op, dtype, name, image, 0, kernel, _stride(rng, image), rng.choice(("same", "same", 0)))


def _dense(rng: Random, op: str, dtype: str, name: str) -> Layer:
    out = rng.choice((2, 3, 5, 10, 12, 16, 32, 64, 128, rng.randrange(1, 130)))
    columns = rng.choice((16, 32, 64, 128, 256, 640, rng.randrange(5, 100), rng.randrange(100, 2000)))
    return _weighted(op, dtype, name, (columns,), out, (1, 1), (1, 1), 0)


def _weighted(
    op: str,
    dtype: str,
    name: str,
    shape: Shape,
    out: int,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: int | str,
) -> Layer:
    if dtype != "int8":
        return make_layer(name, op, dtype, shape, out, kernel, stride, padding)
    return affine_of(make_layer(name, op, "q7", shape, out, kernel, stride, padding))


def affine_of(layer: Layer) -> Layer:
    """A layer of q7 with zero points in the place of shifts; most such layers have a ReLU. Pools keep their range."""
    if layer.row.is_windowed and not layer.row.is_weighted:
        return replace(layer, dtype="int8", scheme=AffineClamp(-128, 127))
    assert layer.weights is not None
    channels = 1 if layer.op == "fully_connected" else layer.output_shape[-1]
    rng = np.random.default_rng(zlib.crc32(layer.name.encode()))
    products = layer.weights[0].size if layer.op != "depthwise_conv2d" else prod(layer.kernel)
    reals = rng.uniform(0.5, 2.0, channels) / (16 * 60 * products**0.5) * 40
    multiplier, shift = zip(*(quantize_multiplier(float(real)) for real in reals), strict=True)
    # With a ReLU, zero is the lowest byte mostly; else nothing is cut, or an activation that is not the whole range.
    zero, low = (-128, -128) if (kind := rng.random()) < 0.65 else (5, -128) if kind < 0.9 else (5, 5)
    return replace(
        layer,
        dtype="int8",
        weights_dtype="int8",
        out_shift=0,
        scheme=Affine(-128, zero, multiplier, shift, low, 127),
        bias=rng.integers(-2000, 2000, layer.bias_shape, np.int32),
    )


def rounded_twice(layer: Layer) -> Layer:
    """A layer of `affine_of` with factors 16 times as large, for which one rounding will not do."""
    assert isinstance(layer.scheme, Affine)
    scheme = replace(layer.scheme, shift=tuple(shift + 4 for shift in layer.scheme.shift))
    return replace(layer, name=f"twice_{layer.name}", scheme=scheme)


def _pool(rng: Random, op: str, dtype: str, name: str, image: Shape) -> Layer:
    kind = rng.random()
    if kind < 0.4:
        kernel, stride = (2, 2), (2, 2)
    elif kind < 0.6:
        kernel, stride = (3, 3), (2, 2)
    elif kind < 0.8:
        kernel = (rng.randrange(1, 6), rng.randrange(1, 6))
        stride = (rng.randrange(1, 4), rng.randrange(1, 4))
    else:
        kernel, stride = (image[0], image[1]), (1, 1)
    kernel = (min(kernel[0], image[0]), min(kernel[1], image[1]))
    stride = (min(stride[0], kernel[0]), min(stride[1], kernel[1]))
    padding: int | str = rng.choice((0, 0, 0, "same"))
    return _of_pools(name, op, dtype, image, kernel, stride, padding)


def _of_pools(
    name: str, op: str, dtype: str, image: Shape, kernel: tuple[int, int], stride: tuple[int, int], padding: int | str
) -> Layer:
    made = make_layer(name, op, "q7" if dtype == "int8" else dtype, image, 0, kernel, stride, padding)
    return affine_of(made) if dtype == "int8" else made


# ---------------------------------------------------------------- element by element


def _element_wise(rng: Random, op: str, dtype: str, name: str) -> Layer:
    image = _inner_image(rng)
    if op == "softmax":
        image = (rng.choice((2, 3, 4, 5, 6, 8, 10, 12, 16, 35, rng.randrange(2, 40), rng.randrange(40, 1200))),)
    if dtype != "int8":
        return make_layer(name, op, dtype, image)
    about: dict[str, Any] = {"name": name, "op": op, "dtype": "int8", "input_shape": image, "output_shape": image}
    full = AffineClamp(-128, 127)
    height, width, channels = image if len(image) == 3 else (1, 1, image[0])
    rows, row = height * width, width * channels
    if op == "softmax":
        return Layer(**about, scheme=AffineSoftmax.of(0.08))
    if op in ("add", "multiply", "maximum", "minimum"):
        multiplier, shift = quantize_multiplier(0.01)
        scheme: Any = full
        if op == "add":
            scheme = AffineSum.of((0.05, 0.03, 0.1), (-3, 4, 5), (-128, 127))
        elif op == "multiply":
            scheme = AffineProduct(-3, 4, multiplier, shift, -5, -128, 127)
        return Layer(**about, scheme=scheme, more_inputs=(image if rng.random() < 0.8 else (channels,),))
    if op == "look_up":
        table = np.random.default_rng(zlib.crc32(name.encode())).integers(-128, 128, 256, np.int8)
        return Layer(**about, scheme=full, table=table)
    if op == "requantise":
        multiplier, shift = quantize_multiplier(0.7)
        return Layer(**about, scheme=AffineRescale(-3, 7, multiplier, shift, -128, 127))
    if op == "mean":
        about |= {"input_shape": (1, rows, channels), "output_shape": (1, 1, channels)}
        return Layer(**about, scheme=AffineMean.of(rows, (0.05, 0.04), (-3, 4), (-128, 127)))
    if op == "concat":
        others = tuple((rows, _channels(rng)) for _ in range(rng.choice((1, 1, 2))))
        about |= {"input_shape": (rows, channels), "output_shape": (rows, channels + sum(each for _, each in others))}
        return Layer(**about, scheme=full, more_inputs=others)
    if op == "copy":
        view = View((width, height, channels), (channels, row, 1))
        return Layer(**about | {"output_shape": view.shape}, scheme=full, view=view)
    if op == "pad":
        by = rng.choice((1, 1, 2))
        output = (height + 2 * by, width + 2 * by, channels)
        wide = output[1] * channels
        view = View(image, (wide, channels, 1), by * (wide + channels))
        return Layer(**about | {"output_shape": output}, scheme=AffineClamp(-128, 127, fill=-3), view=view)
    assert op == "resize_nearest", op
    return _twice_as_large(name, (height, width, channels))


def _twice_as_large(name: str, image: Shape) -> Layer:
    height, width, channels = image
    by = 2
    starts = [i // by * width * channels for i in range(height * by)], [i // by * channels for i in range(width * by)]
    table, scheme = np.array([*starts[0], *starts[1]], np.int32), AffineClamp(-128, 127)
    output = (height * by, width * by, channels)
    return Layer(name, "resize_nearest", "int8", image, output, scheme=scheme, table=table)


def resizes(channels: Sequence[int]) -> list[Layer]:
    """Images of all widths of pixels that are moved otherwise."""
    return [_twice_as_large(f"resize{n}", (5 + n % 4, 3 + n % 7, n)) for n in channels]
