# SPDX-License-Identifier: Apache-2.0
"""Random layers with zero points at the ends of what they may be, with a variant that runs them.

Sizes, windows and padding of any kind; weights of -128 alone, sums that wrap, zero points at both ends, factors above 1
and next to nothing, ranges of one number. The same seed gives the same layer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from cmsisnn_x.affine import SHIFTS, Affine, quantize_multiplier
from cmsisnn_x.layers import Layer
from cmsisnn_x.op import device_variant_problem, device_variants
from cmsisnn_x.variant import Variant

from .affine_layers import pooling, weighted
from .device import Case
from .layers import features

KERNELS = (1, 2, 3, 3, 3, 4, 5, (1, 3), (3, 1), (3, 5), (2, 3))
OFFSETS = (None, None, 1, 2, 3)
TRIES = 200


def affine_case(seed: int, op: str, choose: Callable[[Variant], bool], *, dsp: bool) -> Case:
    """The first random layer, and pooling behind it, that one of the chosen variants can run."""
    rng = np.random.default_rng(seed)
    python_op = {"conv2d": "convolve", "depthwise_conv2d": "depthwise_convolve"}.get(op, op)
    wanted = [variant for variant in device_variants(python_op, "int8", features(dsp=dsp)) if choose(variant)]
    for _ in range(TRIES):
        layer, variant = _layer(op, rng), wanted[rng.integers(len(wanted))]
        behind = _pool(layer, rng) if variant.fused_pool else None
        if variant.fused_pool and behind is None:
            continue
        if device_variant_problem(layer, variant, features(dsp=dsp), behind) is None:
            offsets = {name: OFFSETS[rng.integers(len(OFFSETS))] for name in ("input_offset", "output_offset")}
            return Case(layer, variant, input=_input(layer, rng), behind=behind, **offsets)
    raise AssertionError(f"seed {seed}: no layer out of {TRIES} suits any of {len(wanted)} variants")


def _pick(rng: np.random.Generator, *values: object) -> object:
    return values[rng.integers(len(values))]


def _geometry(op: str, rng: np.random.Generator) -> tuple[tuple[int, ...], dict[str, object]]:
    if op == "fully_connected":
        return (int(rng.integers(1, 70)),), {"out_channels": int(rng.integers(1, 20))}
    channels = int(_pick(rng, 1, 2, 3, 4, 4, 6, 8, 8, 12, 16))
    shape = (*(int(size) for size in rng.integers(1, 13, 2)), channels)
    kernel = _pick(rng, *KERNELS)
    sides = kernel if isinstance(kernel, tuple) else (kernel, kernel)
    padding = tuple(int(rng.integers(0, side)) for side in sides)
    stride = _pick(rng, 1, 1, 1, 2, (1, 2), (2, 1))
    options = {"kernel": kernel, "stride": stride, "padding": padding}
    return shape, options | ({"out_channels": int(rng.integers(1, 10))} if op == "conv2d" else {})


def _fits(shape: tuple[int, ...], options: dict[str, object]) -> bool:
    kernel, padding = options.get("kernel", 1), options.get("padding", (0, 0))
    sides = kernel if isinstance(kernel, tuple) else (kernel, kernel)
    return len(shape) == 1 or all(n + 2 * p >= k for n, k, p in zip(shape, sides, padding, strict=False))


def _layer(op: str, rng: np.random.Generator) -> Layer:
    shape, options = _geometry(op, rng)
    while not _fits(shape, options):
        shape, options = _geometry(op, rng)
    layer = weighted(op, shape, **options)
    assert layer.weights is not None
    count = layer.output_shape[-1]
    weights, zero_point = _weights(layer.weights.shape, rng), _zero_point(rng)
    channels = np.moveaxis(weights, -1, 0) if op == "depthwise_conv2d" else weights
    spread = 80 * np.sqrt((channels.reshape(count, -1).astype(float) ** 2).sum(1)) + 1
    bias = _bias(-zero_point * channels.reshape(count, -1).astype(np.int64).sum(1), spread, rng)
    factors = [40 / one for one in spread]
    if rng.random() < 0.6:  # what lets a kernel take a shorter way
        pairs = [quantize_multiplier(one) for one in factors]
    else:
        pairs, bias = [_factor(one, rng) for one in factors], _at_ends(bias, rng)
    multiplier, shift = zip(*pairs, strict=True)
    out = _zero_point(rng)
    limits = (out, 127) if rng.random() < 0.4 else _limits(rng)  # a ReLU
    scheme = Affine(zero_point, out, multiplier, shift, *limits)
    return replace(layer, weights=weights, bias=bias, scheme=scheme)


def _weights(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    kind = rng.integers(10)
    if kind < 3:
        return np.full(shape, (-128, 127, 0)[kind], np.int8)
    if kind < 5:
        return rng.choice(np.array([-128, 127], np.int8), shape)
    return rng.integers(-128, 127, shape, np.int8, endpoint=True)


def _bias(folded: np.ndarray, spread: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Such as leaves sums near 0, though the zero point moves them."""
    return (rng.normal(0, spread) - folded).astype(np.int32)


def _at_ends(bias: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One channel in ten at the ends of 32 bits."""
    ends = rng.choice(np.array([-(2**31), 2**31 - 1], np.int32), bias.shape)
    return np.where(rng.random(bias.shape) < 0.1, ends, bias)


def _factor(usual: float, rng: np.random.Generator) -> tuple[int, int]:
    """`usual` leaves outputs within their range; one of ten is any that kernels take, one is above 1."""
    kind = rng.integers(10)
    if kind == 0:
        return int(rng.integers(0, 2**31 - 1, endpoint=True)), int(rng.integers(SHIFTS[0], SHIFTS[1], endpoint=True))
    real = 2.0 ** rng.uniform(0, 20) if kind == 1 else usual
    return quantize_multiplier(2.0 ** round(np.log2(real)) if kind == 2 else real)


def _zero_point(rng: np.random.Generator) -> int:
    return int(_pick(rng, -128, 127, 0, int(rng.integers(-128, 128))))


def _limits(rng: np.random.Generator) -> tuple[int, int]:
    if rng.random() < 0.7:
        return -128, 127
    low = int(rng.integers(-128, 128))
    return low, int(_pick(rng, 127, low, int(rng.integers(low, 128))))


def _pool(layer: Layer, rng: np.random.Generator) -> Layer | None:
    """Pooling behind a convolution, none where its image is too small."""
    image = layer.output_shape[:2]
    kernel = tuple(int(rng.integers(1, min(side, 4) + 1)) for side in image)
    padding = tuple(int(rng.integers(0, side // 2 + 1)) for side in kernel)
    stride = tuple(int(rng.integers(1, 4)) for _ in kernel)
    op = str(_pick(rng, "max_pool2d", "avg_pool2d"))
    options = {"kernel": kernel, "stride": stride, "padding": padding, "ceil_mode": bool(rng.integers(2))}
    found = pooling(op, layer.output_shape, limits=_limits(rng) if rng.random() < 0.5 else None, **options)
    return found if min(found.output_shape) > 0 else None


def _input(layer: Layer, rng: np.random.Generator) -> np.ndarray:
    shape, kind = layer.input_shape, rng.integers(10)
    if kind < 2:
        return np.full(shape, (-128, 127)[kind], np.int8)
    if kind < 4:
        return rng.choice(np.array([-128, 127], np.int8), shape)
    return rng.integers(-128, 127, shape, np.int8, endpoint=True)
