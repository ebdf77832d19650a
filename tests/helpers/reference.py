# SPDX-License-Identifier: Apache-2.0
"""Slow oracle, written from the formulas in NumPy int64; shares no code with any kernel.

Sizes are explicit here: `first` is the padding at the (top, left), `size` the (height, width) of the output. Images are
``(h, w, c)``; a batch is a loop.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from cmsisnn_x.layers import Layer

BITS = {np.dtype(np.int8): 8, np.dtype(np.int16): 16}


def wrap(acc: np.ndarray) -> np.ndarray:
    """Modulo 2^32, signed."""
    return (np.asarray(acc, np.int64) + 2**31) % 2**32 - 2**31


def rounding(shift: int) -> int:
    return 2 ** (shift - 1) if shift else 0


def requantize(acc, bias, bias_shift: int, out_shift: int, dtype, relu: bool = False) -> np.ndarray:
    """clamp(wrap(bias * 2^bias_shift + round(out_shift) + acc) >> out_shift); `bias` varies along the last axis."""
    limit = 2 ** (BITS[np.dtype(dtype)] - 1)
    biases = 0 if bias is None else np.asarray(bias).astype(np.int64) * 2**bias_shift
    total = wrap(np.asarray(acc, np.int64) + biases + rounding(out_shift))
    return np.clip(total // 2**out_shift, 0 if relu else -limit, limit - 1).astype(dtype)


def receptive_field(x: np.ndarray, y: int, column: int, kernel, stride, first) -> np.ndarray:
    """Window of output pixel (y, column), shape (kernel_h, kernel_w, c), with zeros outside the image."""
    window = np.zeros((*kernel, x.shape[2]), np.int64)
    for m in range(kernel[0]):
        for n in range(kernel[1]):
            row, col = y * stride[0] - first[0] + m, column * stride[1] - first[1] + n
            if 0 <= row < x.shape[0] and 0 <= col < x.shape[1]:
                window[m, n] = x[row, col]
    return window


def convolve(x, weights, bias, *, stride, first, size, bias_shift, out_shift, relu=False) -> np.ndarray:
    acc = np.empty((*size, weights.shape[0]), np.int64)
    wide = weights.astype(np.int64)
    for y in range(size[0]):
        for col in range(size[1]):
            window = receptive_field(x, y, col, weights.shape[1:3], stride, first)
            acc[y, col] = (wide * window).sum(axis=(1, 2, 3))
    return requantize(acc, bias, bias_shift, out_shift, x.dtype, relu)


def depthwise_convolve(x, weights, bias, *, stride, first, size, bias_shift, out_shift, relu=False) -> np.ndarray:
    acc = np.empty((*size, weights.shape[2]), np.int64)
    wide = weights.astype(np.int64)
    for y in range(size[0]):
        for col in range(size[1]):
            acc[y, col] = (wide * receptive_field(x, y, col, weights.shape[:2], stride, first)).sum(axis=(0, 1))
    return requantize(acc, bias, bias_shift, out_shift, x.dtype, relu)


def fully_connected(x, weights, bias, *, bias_shift, out_shift, relu=False) -> np.ndarray:
    """One sample of any shape."""
    acc = (weights.astype(np.int64) * x.reshape(-1).astype(np.int64)).sum(axis=1)
    return requantize(acc, bias, bias_shift, out_shift, x.dtype, relu)


def pool(x, reduce: str, *, kernel, stride, first, size) -> np.ndarray:
    """`reduce` is "max" or "avg"; every window must touch the image."""
    out = np.empty((*size, x.shape[2]), x.dtype)
    for y in range(size[0]):
        for col in range(size[1]):
            top, left = y * stride[0] - first[0], col * stride[1] - first[1]
            window = x[max(top, 0) : top + kernel[0], max(left, 0) : left + kernel[1]].astype(np.int64)
            assert window.size, "empty window"
            if reduce == "max":
                out[y, col] = window.max(axis=(0, 1))
            else:
                sums, count = window.sum(axis=(0, 1)), window.shape[0] * window.shape[1]
                out[y, col] = np.sign(sums) * (abs(sums) // count)
    return out


def relu(x) -> np.ndarray:
    return np.where(x < 0, 0, x).astype(x.dtype)


FUNCTIONS: dict[str, Callable[[float], float]] = {"sigmoid": lambda v: 1 / (1 + math.exp(-v)), "tanh": math.tanh}


def activation(x, function: str, int_bits: int) -> np.ndarray:
    """What looks a table up, one element at a time, straight from the real-valued formula."""
    f = FUNCTIONS[function]
    one = 2 ** (BITS[x.dtype] - 1)

    def entry(t: int) -> int:
        return min(math.floor(f(t / 16) * one + 0.5), one - 1)

    def value(v: int) -> int:
        if x.dtype == np.int8:
            return entry(v // 2 ** (3 - int_bits))
        step = 2 ** (11 - int_bits)
        i, rest = divmod(v, step)
        if i == 127:
            return entry(127)
        return ((step - rest) * entry(i) + rest * entry(i + 1)) // step

    return np.array([value(int(v)) for v in x.reshape(-1)], x.dtype).reshape(x.shape)


def softmax(x) -> np.ndarray:
    """One sample of any shape, in exact Python integers."""
    window, bits, scale, one = (8, 20, 13, 128) if x.dtype == np.int8 else (16, 32, 17, 32768)
    values = [int(v) for v in x.reshape(-1)]
    base = max(values) - window
    exponents = [v - base for v in values]
    quotient = 2**bits // sum(2**e for e in exponents if e > 0)
    out = [min(quotient // 2 ** (scale - e), one - 1) if e > 0 else 0 for e in exponents]
    return np.array(out, x.dtype).reshape(x.shape)


def multiply(a, b, out_shift: int) -> np.ndarray:
    return requantize(a.astype(np.int64) * b, None, 0, out_shift, a.dtype)


def padding_same(side: int, kernel: int, stride: int) -> tuple[int, int]:
    """TensorFlow's "same": (first padding, output side)."""
    out = math.ceil(side / stride)
    return max((out - 1) * stride + kernel - side, 0) // 2, out


def output_side(side: int, kernel: int, stride: int, padding: int, ceil_mode: bool = False) -> int:
    """Windows along one axis, by listing where they start; the kernel fits the padded image at least once."""
    starts = [at for at in range(-padding, side + padding, stride) if at + kernel <= side + padding]
    # One more window, if the last one leaves pixels of the padded image over and it starts before its far padding.
    if ceil_mode and starts[-1] + kernel < side + padding and starts[-1] + stride < side:
        starts.append(starts[-1] + stride)
    return len(starts)


def _window_layer(run: Callable[..., np.ndarray], **more) -> Callable[[Layer, np.ndarray], np.ndarray]:
    def compute(spec: Layer, x: np.ndarray) -> np.ndarray:
        (top, _), (left, _) = spec.padding
        geometry = {"stride": spec.stride, "first": (top, left), "size": spec.output_image[:2]}
        if spec.weights is None:
            return run(x.reshape(spec.image), kernel=spec.kernel, **geometry, **more)
        return run(x.reshape(spec.image), spec.weights, spec.bias, **geometry, **_tail(spec))

    return compute


def _tail(spec: Layer) -> dict[str, object]:
    return {"bias_shift": spec.bias_shift, "out_shift": spec.out_shift, "relu": spec.activation == "relu"}


ORACLES: dict[str, Callable[..., np.ndarray]] = {
    "convolve": _window_layer(convolve),
    "depthwise_convolve": _window_layer(depthwise_convolve),
    "fully_connected": lambda spec, x: fully_connected(x, spec.weights, spec.bias, **_tail(spec)),
    "max_pool": _window_layer(pool, reduce="max"),
    "avg_pool": _window_layer(pool, reduce="avg"),
    "relu": lambda spec, x: relu(x),
    **{name: lambda spec, x: activation(x, spec.python_op, spec.int_bits) for name in FUNCTIONS},
    "softmax": lambda spec, x: softmax(x),
    "multiply": lambda spec, a, b: multiply(a, b, spec.out_shift),
}
"""Operation -> what a layer of it makes of its inputs."""


def layer(spec: Layer, *inputs: np.ndarray) -> np.ndarray:
    """Any layer on one input of its input shape, or two."""
    return ORACLES[spec.python_op](spec, *inputs).reshape(spec.output_shape)
