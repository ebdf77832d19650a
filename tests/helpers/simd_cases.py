# SPDX-License-Identifier: Apache-2.0
"""Calls of the vector kernels with what the oracle says, around the sizes of their tiles."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from cmsisnn_x.scheme import Pow2
from helpers import reference
from helpers.strategies import DTYPES, dtypes, filled, shifts, tensors

# Whole vectors, tiles and segments, and their neighbours.
SIZES = (1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 15, 16, 17, 31, 32, 33, 63, 64, 65)
OPS = ("convolve", "depthwise_convolve", "fully_connected", "max_pool", "avg_pool")


@dataclass
class SimdCase:
    """`arguments` follow x, weights, bias, out in the functions of ``_simd``; weights is None for pooling."""

    op: str
    dtype: str
    x: np.ndarray
    weights: np.ndarray | None
    bias: np.ndarray | None
    kernel: tuple[int, int]
    stride: tuple[int, int]
    first: tuple[int, int]
    bias_shift: int
    out_shift: int
    relu: bool
    expected: np.ndarray

    @property
    def requant(self) -> Pow2:
        return Pow2.of(self.dtype, self.bias_shift, self.out_shift, "relu" if self.relu else None)

    @property
    def arguments(self) -> tuple:
        if self.op == "fully_connected":
            return (self.requant,)
        return *self.stride, *self.first, self.requant

    def run(self, simd, out: np.ndarray, isa: str) -> None:
        if self.weights is None:
            getattr(simd, self.op)(self.x, out, self.kernel, self.stride, self.first, isa=isa)
        else:
            getattr(simd, self.op)(self.x, self.weights, self.bias, out, *self.arguments, isa=isa)

    def message(self) -> bytes:
        """The case as simd_main.c reads it; batches are left to Python."""
        wide = int(self.dtype == "q15")
        shapes = (self.x.shape[1:], self.expected.shape[1:])
        op = OPS.index(self.op)
        if self.op == "fully_connected":
            shapes = ((1, 1, self.x.shape[1]), (1, 1, self.expected.shape[1]))
        bits = 8 if self.weights is None else 8 * self.weights.itemsize
        scheme = self.requant
        numbers = (op, wide, *shapes[0], *shapes[1], *self.kernel, *self.stride, *self.first, 1, 1, bits,
                   scheme.bias_shift, scheme.out_shift, scheme.low, scheme.high, scheme.fill, 0, 0)  # fmt: skip
        arrays = [self.x]
        if self.weights is not None:
            bias = np.zeros(shapes[1][2], self.weights.dtype) if self.bias is None else self.bias
            arrays += [self.weights, bias]
        return np.array(numbers, np.int32).tobytes() + b"".join(array.tobytes() for array in arrays)


@st.composite
def simd_cases(draw, op: str | None = None, samples: int = 2) -> SimdCase:
    """Any call: geometry and extremes as the public functions allow them, channels and pixels around the tile sizes."""
    op = op or draw(st.sampled_from(OPS))
    dtype = draw(dtypes)
    element = DTYPES[dtype]
    weights_element = element
    batch = draw(st.integers(1, samples))
    wide = st.sampled_from(SIZES)
    few = st.integers(1, 6)
    if op == "fully_connected":
        if dtype == "q15" and draw(st.booleans()):
            weights_element = np.int8
        batch = draw(st.sampled_from((1, 2, 3, 4, 5, 9))) if samples > 1 else 1
        x = draw(tensors((batch, draw(wide)), element))
        rows = draw(wide)
        weights = draw(tensors((rows, x.shape[1]), weights_element))
        kernel = stride = (1, 1)
        first = (0, 0)
    else:
        # One long axis at a time keeps the oracle fast and still reaches every tile.
        long_axis = draw(st.sampled_from(("width", "in_ch", "out_ch")))
        in_h, in_w = draw(few), draw(wide if long_axis == "width" else few)
        kernel = draw(st.integers(1, 4)), draw(st.integers(1, 4))
        stride = draw(st.integers(1, 3)), draw(st.integers(1, 3))
        pooling = op.endswith("pool")
        first = tuple(draw(st.integers(0, k - 1 if pooling else k + 1)) for k in kernel)
        # A window of a pooling starts inside the image.
        beyond = 0 if pooling else 2
        last = [(n - 1 + p) // s + 1 + beyond for n, p, s in zip((in_h, in_w), first, stride, strict=True)]
        size = tuple(draw(st.integers(1, min(n, 70))) for n in last)
        in_ch = draw(wide if long_axis == "in_ch" else few)
        x = draw(tensors((batch, in_h, in_w, in_ch), element))
        out_ch = draw(wide if long_axis == "out_ch" else few)
        if op == "convolve":
            weights = draw(tensors((out_ch, *kernel, in_ch), element))
        elif op == "depthwise_convolve":
            weights = draw(tensors((*kernel, in_ch), element))
        else:
            weights = None
    if weights is None:
        bias, tail = None, {"bias_shift": 0, "out_shift": 0, "relu": False}
    else:
        channels = weights.shape[-1] if op == "depthwise_convolve" else weights.shape[0]
        bias = draw(st.one_of(st.none(), tensors((channels,), weights_element)))
        tail = {"bias_shift": draw(shifts), "out_shift": draw(shifts), "relu": draw(st.booleans())}

    def one(sample: np.ndarray) -> np.ndarray:
        if op == "fully_connected":
            return reference.fully_connected(sample, weights, bias, **tail)
        if weights is None:
            return reference.pool(sample, op[:3], kernel=kernel, stride=stride, first=first, size=size)
        return getattr(reference, op)(sample, weights, bias, stride=stride, first=first, size=size, **tail)

    return SimdCase(op, dtype, x, weights, bias, kernel, stride, first, **tail, expected=np.stack([one(s) for s in x]))


def fixed_case(op: str, dtype: str, shape, out_ch: int, kernel, stride, first, size, fill: str = "random") -> SimdCase:
    """A case of given sizes on one image."""
    rng = np.random.default_rng(0)
    element = DTYPES[dtype]
    x = filled(fill, rng, (1, *shape), element)
    taps = (*kernel, shape[2])
    weights = filled(fill, rng, taps if op == "depthwise_convolve" else (out_ch, *taps), element)
    bias = filled("random", rng, (out_ch,), element)
    tail = {"bias_shift": 3, "out_shift": 9 if dtype == "q7" else 17, "relu": False}
    expected = getattr(reference, op)(x[0], weights, bias, stride=stride, first=first, size=size, **tail)
    return SimdCase(op, dtype, x, weights, bias, kernel, stride, first, **tail, expected=expected[None])
