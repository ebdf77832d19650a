# SPDX-License-Identifier: Apache-2.0
"""Networks drawn by chance, as people build them and as they do not: what the figures of a plan are held against.

No shape here was ever fitted, and none may be looked at to choose what is.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import replace
from math import prod
from pathlib import Path
from random import Random
from typing import Any

import tuning
from cmsisnn_x.affine import Affine
from cmsisnn_x.graph import Graph, Node
from cmsisnn_x.layers import Layer
from helpers.int8 import Builder, valid_conv
from helpers.plans import chain

KINDS = ("q7", "q15", "int8")
MOST_MACS = 1_500_000
"""Of a network, so that hundreds are emulated."""
NO_BUDGET = {"sram": None, "flash": None}

Shape = tuple[int, ...]


def draw(kind: str, seed: int) -> tuning.Model:
    """Network number `seed` of a kind: the same one every time."""
    rng = Random(zlib.crc32(f"{kind} {seed}".encode()))
    while True:
        found = _graph(rng) if kind == "int8" else _chain(rng, kind)
        layers = [node.layer for node in found.nodes] if isinstance(found, Graph) else list(found)
        if 2000 < sum(layer.macs for layer in layers) < MOST_MACS:
            break
    name, first = f"net{seed}", layers[0]
    wiring = found if isinstance(found, Graph) else None
    arithmetic = "tflm" if wiring is not None else None
    path, digest = Path(f"{name}.yaml"), f"{zlib.crc32(name.encode()):064x}"
    return tuning.Model(
        name, first.dtype, first.input_shape, tuple(layers), NO_BUDGET, None, digest, path, wiring=wiring,
        arithmetic=arithmetic,
    )  # fmt: skip


def _image(rng: Random) -> Shape:
    """Pictures, spectra, and series of one row or one column."""
    kind = rng.random()
    if kind < 0.45:
        size = rng.randrange(6, 33)
        return size, rng.choice((size, rng.randrange(6, 33))), rng.choice((1, 1, 2, 3, 3, 4, 8))
    if kind < 0.7:
        return rng.randrange(16, 100), rng.randrange(5, 21), rng.choice((1, 1, 1, 2))
    if kind < 0.85:
        return 1, rng.randrange(16, 129), rng.choice((1, 2, 3, 4, 6, 9))
    return rng.randrange(16, 129), 1, rng.choice((1, 2, 3, 4, 6, 9))


def _channels(rng: Random) -> int:
    return rng.choice((4, 6, 8, 8, 10, 12, 13, 16, 16, 20, 24, 32, 32, 48, rng.randrange(3, 40)))


def _kernel(rng: Random, shape: Shape, *, most: int = 8) -> tuple[int, int]:
    """Square, or as long as it is in one direction where the image has one alone."""
    side = rng.choice((1, 1, 3, 3, 3, 5, 2, 4))
    kernel = (side, side) if rng.random() < 0.8 else (rng.randrange(1, 9), rng.randrange(1, 6))
    return min(kernel[0], shape[0], most), min(kernel[1], shape[1], most)


def _stride(rng: Random, shape: Shape) -> tuple[int, int]:
    both = rng.choice((1, 1, 1, 2))
    found = (both, both) if rng.random() < 0.9 else (rng.choice((1, 2)), rng.choice((1, 2)))
    return min(found[0], shape[0]), min(found[1], shape[1])


def _window(rng: Random, shape: Shape) -> dict[str, Any]:
    """Of a pooling: 2x2 and 3x3 mostly, odd ones, or all that there is."""
    kind = rng.random()
    if kind < 0.45:
        kernel, stride = (2, 2), (2, 2)
    elif kind < 0.65:
        kernel, stride = (3, 3), (2, 2)
    elif kind < 0.85:
        kernel = (rng.randrange(1, 5), rng.randrange(1, 5))
        stride = (rng.randrange(1, 4), rng.randrange(1, 4))
    else:
        kernel, stride = (shape[0], shape[1]), (1, 1)
    kernel = (min(kernel[0], shape[0]), min(kernel[1], shape[1]))
    return {"kernel": kernel, "stride": (min(stride[0], kernel[0]), min(stride[1], kernel[1]))}


def _chain(rng: Random, dtype: str) -> tuple[Layer, ...]:
    shape: Shape = _image(rng) if rng.random() < 0.95 else (rng.randrange(8, 600),)
    given = shape
    specs: list[dict[str, Any]] = []

    def take(spec: dict[str, Any]) -> None:
        nonlocal shape
        specs.append(spec)
        shape = chain(given, dtype, *specs)[-1].output_shape

    for depth in range(rng.randrange(1, 6) if len(shape) == 3 else 0):
        kind = rng.random()
        activation = {"activation": "relu"} if rng.random() < 0.7 else {}
        pad = rng.choice(("same", "same", 0, 1))
        if depth == 0 or kind < 0.45:
            kernel = _kernel(rng, shape)
            pad = "same" if min(kernel) == 1 and pad == 1 else pad
            take({"op": "conv2d", "out": _channels(rng), "kernel": kernel, "stride": _stride(rng, shape), "pad": pad,
                  "out_shift": 8, **activation})  # fmt: skip
        elif kind < 0.65:
            kernel = (min(3, shape[0]), min(3, shape[1])) if rng.random() < 0.8 else _kernel(rng, shape, most=5)
            take({"op": "depthwise_conv2d", "kernel": kernel, "stride": _stride(rng, shape), "pad": "same",
                  "out_shift": 7, **activation})  # fmt: skip
        elif kind < 0.9:
            take({"op": f"{rng.choice(('max', 'max', 'avg'))}_pool2d", **_window(rng, shape)})
        else:
            take({"op": rng.choice(("relu", "sigmoid", "tanh")), "int_bits": 2} if kind > 0.95 else {"op": "relu"})
            if specs[-1]["op"] == "relu":
                specs[-1].pop("int_bits", None)
        if depth == 0 and rng.random() < 0.5:
            take({"op": "max_pool2d", **_window(rng, shape)})
    if len(shape) == 3 and rng.random() < 0.4:
        take({"op": "avg_pool2d", "kernel": shape[:2]})
    for _ in range(rng.randrange(0, 3) if prod(shape) < 5000 else 0):
        mixed = {"weights_dtype": "q7"} if dtype == "q15" and rng.random() < 0.4 else {}
        take({"op": "fully_connected", "out": rng.choice((2, 5, 10, 12, 16, 33, 64, rng.randrange(1, 100))),
              "out_shift": 9, **mixed})  # fmt: skip
    if prod(shape) < 1100 and rng.random() < 0.6:
        take({"op": "softmax"})
    return chain(given, dtype, *specs)


def _graph(rng: Random) -> Graph:
    b = Builder()
    while True:
        shape = _image(rng)
        if min(shape[:2]) > 1 or rng.random() < 0.3:
            break
    x = b.input("image", shape)
    for depth in range(rng.randrange(1, 7)):
        shape, kind, name = b.tensors[x].shape, rng.random(), f"l{depth}"
        height, width, channels = shape
        if depth == 0 or kind < 0.35:
            kernel, stride = rng.choice((1, 3, 3, 5)), rng.choice((1, 1, 2))
            if rng.random() < 0.25 and min(height, width) > kernel:
                x = valid_conv(b, name, x, _channels(rng), kernel, stride)
            else:
                x = b.conv(name, x, _channels(rng), kernel, stride)
        elif kind < 0.5:
            x = b.conv(name, x, _channels(rng), 1)
        elif kind < 0.7:
            x = b.conv(name, x, 0, 3, rng.choice((1, 1, 2)), depthwise=True)
        elif kind < 0.85 and min(height, width) > 1:
            kernel = rng.randrange(2, min(5, height + 1, width + 1))
            x = b.pool(name, x, kernel, rng.choice((kernel, 2)), maximum=rng.random() < 0.6)
        elif channels * height * width < 20000:
            x = b.add(name, x, b.conv(f"{name}b", x, channels, rng.choice((1, 3))))
    if rng.random() < 0.4:
        x = b.mean("mean", x)
    if prod(b.tensors[x].shape) < 5000:
        for at in range(rng.randrange(1, 3)):
            x = b.dense(f"fc{at}", x, rng.choice((2, 5, 10, 12, 16, 33, 64, rng.randrange(1, 100))))
        if rng.random() < 0.6:
            x = b.softmax("prob", x)
    b.nodes = [_as_converted(rng, node) for node in b.nodes]
    return b.graph(x)


def _as_converted(rng: Random, node: Node) -> Node:
    """A node whose outputs are cut as converters of files have it: by a ReLU at the lowest byte, hardly else."""
    layer, kind = node.layer, rng.random()
    if not layer.row.is_weighted or not isinstance(layer.scheme, Affine):
        return node
    zero, high = (-128, 127) if kind < 0.65 else (5, 127) if kind < 0.9 else (-128, 90)
    scheme = replace(layer.scheme, output_zero_point=zero, low=-128, high=high)
    return replace(node, layer=replace(layer, scheme=scheme))


def layers_of(models: Sequence[tuning.Model]) -> list[Layer]:
    """All layers of networks."""
    return [layer for model in models for layer in model.layers]
