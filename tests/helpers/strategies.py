# SPDX-License-Identifier: Apache-2.0
"""Hypothesis strategies for consistent operations: shapes that fit each other, extremes drawn on purpose."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from hypothesis import strategies as st

from cmsisnn_x import variants
from helpers import reference
from helpers.arrays import random_array

DTYPES = {"q7": np.int8, "q15": np.int16}
FILLS = ("random", "small", "lowest", "highest")

dtypes = st.sampled_from(tuple(DTYPES))
shifts = st.one_of(st.sampled_from((0, 31, 1, 7)), st.integers(0, 31))
channels = st.one_of(st.sampled_from((1, 3, 5, 127)), st.integers(1, 12))
seeds = st.integers(0, 2**32 - 1)


def filled(fill: str, rng: np.random.Generator, shape, dtype) -> np.ndarray:
    info = np.iinfo(dtype)
    if fill == "small":
        return rng.integers(-3, 4, shape, dtype)
    if fill in ("lowest", "highest"):
        return np.full(shape, info.min if fill == "lowest" else info.max, dtype)
    if fill == "ends":
        return rng.choice(np.array([info.min, info.max], dtype), shape)
    if fill == "symmetric":
        return rng.integers(info.min + 1, info.max, shape, dtype, endpoint=True)
    return random_array(rng, shape, dtype)


@st.composite
def tensors(draw, shape, dtype) -> np.ndarray:
    """An array of `shape`: random, small, all lowest or all highest."""
    return filled(draw(st.sampled_from(FILLS)), np.random.default_rng(draw(seeds)), shape, dtype)


def variant_of(op: str, dtype: str):
    """None (the fastest kernel) or any registered variant."""
    return st.one_of(st.none(), st.sampled_from(variants(op, dtype)))


@dataclass
class Geometry:
    """Kernel position arguments as the public functions take them, and as the oracle does (`first`, `size`)."""

    height: int
    width: int
    kernel: tuple[int, int]
    arguments: dict = field(default_factory=dict)
    stride: tuple[int, int] = (1, 1)
    first: tuple[int, int] = (0, 0)
    size: tuple[int, int] = (1, 1)


@st.composite
def geometries(draw, pooling: bool = False, largest: int = 9) -> Geometry:
    """Image, kernel, stride and padding; asymmetric in both axes, by number, "same", "valid" or `output_size`."""
    height, width = draw(st.integers(1, largest)), draw(st.integers(1, largest))
    kernel = draw(st.integers(1, 5)), draw(st.integers(1, 5))
    stride = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    kind = draw(st.sampled_from(("number", "same", "valid", "output_size", "ceil" if pooling else "number")))
    g = Geometry(height, width, kernel, {"stride": stride}, stride)
    sides = (height, width)
    if kind == "same":
        g.arguments["padding"] = "same"
        axes = [reference.padding_same(n, k, s) for n, k, s in zip(sides, kernel, stride, strict=True)]
        g.first, g.size = (axes[0][0], axes[1][0]), (axes[0][1], axes[1][1])
        return g
    padding = (0, 0)
    if kind != "valid":
        padding = tuple(draw(st.integers(0, k - 1 if pooling else k + 1)) for k in kernel)
    if kind == "output_size":
        # For pooling the last window starts inside the image; a convolution may run past it.
        last = [(n - 1 + p) // s + 1 + (0 if pooling else 2) for n, p, s in zip(sides, padding, stride, strict=True)]
        g.size = draw(st.integers(1, last[0])), draw(st.integers(1, last[1]))
        g.arguments |= {"padding": padding, "output_size": g.size}
    else:
        # The kernel fits the padded image at least once.
        kernel = tuple(min(k, n + 2 * p) for k, n, p in zip(kernel, sides, padding, strict=True))
        g.kernel = kernel
        g.arguments["padding"] = "valid" if kind == "valid" else padding
        axes = zip(sides, kernel, stride, padding, strict=True)
        size = [reference.output_side(*axis, ceil_mode=kind == "ceil") for axis in axes]
        g.size = (size[0], size[1])
        if kind == "ceil":
            g.arguments["ceil_mode"] = True
    g.first = padding
    return g


@dataclass
class Case:
    """A call of an operation with weights: arrays, keyword arguments, and what the oracle says."""

    dtype: str
    x: np.ndarray
    weights: np.ndarray
    bias: np.ndarray | None
    arguments: dict
    expected: np.ndarray


@st.composite
def tails(draw) -> dict:
    return {
        "bias_shift": draw(shifts),
        "out_shift": draw(shifts),
        "activation": draw(st.sampled_from((None, "relu"))),
    }


def _oracle_tail(tail: dict) -> dict:
    return {"bias_shift": tail["bias_shift"], "out_shift": tail["out_shift"], "relu": tail["activation"] == "relu"}


@st.composite
def convolutions(draw, op: str = "convolve", dtype: str | None = None) -> Case:
    dtype = dtype or draw(dtypes)
    element = DTYPES[dtype]
    g = draw(geometries())
    in_ch = draw(channels)
    out_ch = in_ch if op == "depthwise_convolve" else draw(st.integers(1, 9))
    shape = (*g.kernel, in_ch) if op == "depthwise_convolve" else (out_ch, *g.kernel, in_ch)
    x = draw(tensors((g.height, g.width, in_ch), element))
    weights = draw(tensors(shape, element))
    bias = draw(st.one_of(st.none(), tensors((out_ch,), element)))
    tail = draw(tails())
    run = getattr(reference, op)
    expected = run(x, weights, bias, stride=g.stride, first=g.first, size=g.size, **_oracle_tail(tail))
    return Case(dtype, x, weights, bias, g.arguments | tail, expected)


@st.composite
def fully_connecteds(draw, kind: tuple[str, str] | None = None) -> Case:
    """`kind` is (activations, weights): q7 q7, q15 q15 or q15 q7."""
    dtype, weights_dtype = kind or draw(st.sampled_from((("q7", "q7"), ("q15", "q15"), ("q15", "q7"))))
    shape = draw(st.sampled_from(((24,), (1,), (127,), (3, 5, 2), (4, 9), (3, 2, 1, 5), (1, 7))))
    samples = shape[0] if len(shape) in (2, 4) else None
    length = int(np.prod(shape if samples is None else shape[1:]))
    rows = draw(st.integers(1, 9))
    x = draw(tensors(shape, DTYPES[dtype]))
    weights = draw(tensors((rows, length), DTYPES[weights_dtype]))
    bias = draw(st.one_of(st.none(), tensors((rows,), DTYPES[weights_dtype])))
    tail = draw(tails())

    def one(sample):
        return reference.fully_connected(sample, weights, bias, **_oracle_tail(tail))

    expected = one(x) if samples is None else np.stack([one(sample) for sample in x])
    return Case(dtype, x, weights, bias, tail, expected)
