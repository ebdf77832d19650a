# SPDX-License-Identifier: Apache-2.0
"""Slow interpreter of graphs with zero points: layers by the arithmetic of `int8_oracle`, not by that of any kernel."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any, Protocol

import numpy as np

from cmsisnn_x import Network
from cmsisnn_x.affine import Affine, AffineClamp, AffineMean, AffineProduct, AffineRescale, AffineSoftmax, AffineSum
from cmsisnn_x.affine.curves import AffineCurve, AffineRealSoftmax, AffineSoftmax16
from cmsisnn_x.graph import Graph
from cmsisnn_x.layers import Layer, View
from helpers import int8_oracle as oracle
from helpers import int8_tables as tables
from helpers.int8_oracle import clamp, multiply_by_quantized_multiplier

Arrays = tuple[np.ndarray, ...]


class Runner(Protocol):
    """A network that is ready to run, and keeps its variables from one run to the next."""

    def run(self, *inputs: np.ndarray) -> Arrays: ...


class Interpreter:
    """A graph, node by node; `values` has every tensor of the last run, flat."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.held = {state.read: state.initial.reshape(-1) for state in graph.states}
        self.values: dict[str, np.ndarray] = {}

    def run(self, *inputs: np.ndarray) -> Arrays:
        graph = self.graph
        values = {name: x.reshape(-1) for name, x in zip(graph.inputs, inputs, strict=True)}
        values |= self.held
        values |= {name: t.value.reshape(-1) for name, t in graph.tensors.items() if t.value is not None}
        for node in graph.nodes:
            made = OPS[node.op](node.layer, [values[name] for name in node.inputs])
            (output,) = node.outputs
            own = graph.tensors[output]
            assert made.dtype == own.type.dtype, node
            assert made.size == prod(own.shape), node
            values[output] = made.reshape(-1)
        self.held = {state.read: values[state.write].copy() for state in graph.states}
        self.values = values
        return tuple(values[name].reshape(graph.tensors[name].shape) for name in graph.outputs)


class Host:
    """The host's network."""

    def __init__(self, graph: Graph) -> None:
        self.network = Network(graph)

    def run(self, *inputs: np.ndarray) -> Arrays:
        made = self.network.run(inputs[0] if len(inputs) == 1 else inputs)
        return made if isinstance(made, tuple) else (made,)


RUNNERS: dict[str, Callable[[Graph], Runner]] = {"interpreter": Interpreter, "network": Host}
"""Whoever runs a graph: what holds for one holds for all."""


def runners(graph: Graph) -> dict[str, Runner]:
    """All of them, ready to run a graph."""
    return {name: make(graph) for name, make in RUNNERS.items()}


def _samples(layer: Layer, x: np.ndarray) -> np.ndarray:
    return x.reshape(layer.samples, *layer.input_shape)


def _windows(layer: Layer) -> dict[str, Any]:
    return {"stride": layer.stride, "padding": layer.padding}


def _convolution(function: Callable[..., np.ndarray]) -> Callable[[Layer, list[np.ndarray]], np.ndarray]:
    def run(layer: Layer, inputs: list[np.ndarray]) -> np.ndarray:
        scheme, weights = layer.scheme, layer.weights
        assert isinstance(scheme, Affine)
        assert weights is not None
        assert scheme.rounding == "double"
        assert scheme.bits == 8 * layer.numpy_dtype.itemsize
        if layer.op == "depthwise_conv2d":
            weights = weights[None]
        else:
            assert weights.shape[3] * layer.groups == layer.input_shape[2]
        return function(
            _samples(layer, inputs[0]), weights, layer.bias, input_zero_point=scheme.input_zero_point,
            output_zero_point=scheme.output_zero_point, multiplier=scheme.multiplier, shift=scheme.shift,
            dilation=layer.dilation, activation_min=scheme.low, activation_max=scheme.high, **_windows(layer),
        )  # fmt: skip

    return run


def _fully_connected(layer: Layer, inputs: list[np.ndarray]) -> np.ndarray:
    scheme, weights = layer.scheme, layer.weights
    assert isinstance(scheme, Affine)
    assert weights is not None
    x = _samples(layer, inputs[0])
    limits = {"activation_min": scheme.low, "activation_max": scheme.high}
    if scheme.rounding == "float":
        return oracle.fully_connected(
            x, weights, layer.bias, input_zero_point=scheme.input_zero_point,
            output_zero_point=scheme.output_zero_point, effective_scale=scheme.reals, arithmetic="litert", **limits,
        )  # fmt: skip
    acc = (x.astype(np.int64) - scheme.input_zero_point) @ weights.astype(np.int64).T
    return oracle.requantize(
        acc, layer.bias, scheme.multiplier, scheme.shift, scheme.output_zero_point, dtype=x.dtype, **limits
    )


def _pool(function: Callable[..., np.ndarray]) -> Callable[[Layer, list[np.ndarray]], np.ndarray]:
    def run(layer: Layer, inputs: list[np.ndarray]) -> np.ndarray:
        scheme = layer.scheme
        assert isinstance(scheme, AffineClamp)
        limits = {"activation_min": scheme.low, "activation_max": scheme.high}
        return function(_samples(layer, inputs[0]), kernel=layer.kernel, **_windows(layer), **limits)

    return run


def _both(layer: Layer, inputs: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """The second input repeats itself; either may be the constant."""
    a, b = inputs
    assert a.size == prod(layer.output_shape)
    return a.astype(np.int64), np.tile(b, a.size // b.size).astype(np.int64)


def _add(layer: Layer, inputs: list[np.ndarray]) -> np.ndarray:
    s = layer.scheme
    assert isinstance(s, AffineSum)
    left, right = (
        multiply_by_quantized_multiplier((x - one.zero_point) << s.left_shift, one.multiplier, one.shift)
        for x, one in zip(_both(layer, inputs), (s.left, s.right), strict=True)
    )
    total = multiply_by_quantized_multiplier(left + s.sign * right, s.multiplier, s.shift)
    return clamp(total + s.output_zero_point, layer.output_type.dtype, s.low, s.high)


def _multiply(layer: Layer, inputs: list[np.ndarray]) -> np.ndarray:
    s, (a, b) = layer.scheme, _both(layer, inputs)
    assert isinstance(s, AffineProduct)
    product = (a - s.left_zero_point) * (b - s.right_zero_point)
    scaled = multiply_by_quantized_multiplier(product, s.multiplier, s.shift)
    return clamp(scaled + s.output_zero_point, layer.output_type.dtype, s.low, s.high)


def _extreme(function: Callable[..., np.ndarray]) -> Callable[[Layer, list[np.ndarray]], np.ndarray]:
    def run(layer: Layer, inputs: list[np.ndarray]) -> np.ndarray:
        assert isinstance(layer.scheme, AffineClamp)
        made = function(*_both(layer, inputs))
        return clamp(made, layer.output_type.dtype, layer.scheme.low, layer.scheme.high)

    return run


def _look_up(layer: Layer, inputs: list[np.ndarray]) -> np.ndarray:
    assert layer.table is not None
    assert layer.table.shape == (256,)
    assert layer.table.dtype == layer.output_type.dtype
    return layer.table[inputs[0].view(np.uint8)]


def _requantise(layer: Layer, inputs: list[np.ndarray]) -> np.ndarray:
    s = layer.scheme
    assert isinstance(s, AffineRescale)
    steps = inputs[0].astype(np.int64) - s.input_zero_point
    scaled = multiply_by_quantized_multiplier(steps, s.multiplier, s.shift)
    if s.below is not None:
        scaled = np.where(steps >= 0, scaled, multiply_by_quantized_multiplier(steps, *s.below))
    return clamp(scaled + s.output_zero_point, layer.output_type.dtype, s.low, s.high)


def _curve(function: Callable[[np.ndarray], np.ndarray]) -> Callable[[Layer, list[np.ndarray]], np.ndarray]:
    def run(layer: Layer, inputs: list[np.ndarray]) -> np.ndarray:
        s = layer.scheme
        assert isinstance(s, AffineCurve)
        assert s.kind == layer.op
        return function((inputs[0].astype(np.int64) * s.multiplier + (2**s.shift >> 1)) >> s.shift)

    return run


def _mean(layer: Layer, inputs: list[np.ndarray]) -> np.ndarray:
    s = layer.scheme
    assert isinstance(s, AffineMean)
    assert s.count == layer.input_shape[1]
    total = inputs[0].reshape(layer.input_shape).astype(np.int64).sum(1) - s.count * s.input_zero_point
    scaled = multiply_by_quantized_multiplier(total, s.multiplier, s.shift)
    return clamp(scaled + s.output_zero_point, layer.output_type.dtype, s.low, s.high)


def _softmax(layer: Layer, inputs: list[np.ndarray]) -> np.ndarray:
    s = layer.scheme
    x = inputs[0].reshape(-1, layer.input_shape[-1]).astype(np.int64)
    if isinstance(s, AffineSoftmax16):
        return tables.softmax_int16_of(x, s.multiplier, s.shift, "litert" if s.arithmetic == "litert" else "tflm")
    if isinstance(s, AffineRealSoftmax):
        return tables.softmax_real(x, s.scale, s.output_zero_point)
    assert isinstance(s, AffineSoftmax)
    d = x - x.max(axis=-1, keepdims=True)
    counts = d >= s.diff_min
    exps = tables.exp_on_negative_values(oracle.high_mul(np.where(counts, d, 0) << s.shift, s.multiplier))
    total = np.where(counts, oracle.divide_by_pot(exps, 12), 0).sum(axis=-1, keepdims=True)
    headroom = tables.leading_zeros(total)
    reciprocal = tables.one_over_one_plus((total << headroom) - 2**31)
    scaled = oracle.divide_by_pot(oracle.high_mul(reciprocal, exps), 12 - headroom + 31 - s.bits)
    own = layer.output_type.dtype
    return np.where(counts, clamp(scaled + s.low, own), s.low).astype(own)


def _concat(layer: Layer, inputs: list[np.ndarray]) -> np.ndarray:
    shaped = [x.reshape(shape) for x, shape in zip(inputs, layer.input_shapes, strict=True)]
    return np.concatenate(shaped, axis=1)


def _places(view: View, size: int) -> np.ndarray:
    """Of the elements that a view speaks of; all inside."""
    at = np.full((1,) * len(view.shape), view.offset)
    for axis, (count, step) in enumerate(zip(view.shape, view.steps, strict=True)):
        at = at + (np.arange(count) * step).reshape([-1 if axis == own else 1 for own in range(len(view.shape))])
    assert at.min() >= 0
    assert at.max() < size
    return at.reshape(-1)


def _copy(layer: Layer, inputs: list[np.ndarray]) -> np.ndarray:
    assert layer.view is not None
    return inputs[0][_places(layer.view, inputs[0].size)]


def _pad(layer: Layer, inputs: list[np.ndarray]) -> np.ndarray:
    assert layer.view is not None
    made = np.full(prod(layer.output_shape), layer.requant.fill, layer.numpy_dtype)
    made[_places(layer.view, made.size)] = inputs[0]
    return made


def _resize(layer: Layer, inputs: list[np.ndarray]) -> np.ndarray:
    assert layer.table is not None
    height, _, channels = layer.output_shape
    rows, columns = layer.table[:height], layer.table[height:]
    places = rows[:, None, None] + columns[None, :, None] + np.arange(channels)
    return inputs[0].reshape(layer.samples, -1)[:, places.reshape(-1)]


OPS: dict[str, Callable[[Layer, list[np.ndarray]], np.ndarray]] = {
    "add": _add,
    "avg_pool2d": _pool(oracle.average_pool2d),
    "concat": _concat,
    "conv2d": _convolution(oracle.conv2d),
    "copy": _copy,
    "depthwise_conv2d": _convolution(oracle.depthwise_conv2d),
    "fully_connected": _fully_connected,
    "look_up": _look_up,
    "max_pool2d": _pool(oracle.max_pool2d),
    "maximum": _extreme(np.maximum),
    "mean": _mean,
    "minimum": _extreme(np.minimum),
    "multiply": _multiply,
    "pad": _pad,
    "requantise": _requantise,
    "resize_nearest": _resize,
    "sigmoid": _curve(tables.logistic_of_steps),
    "softmax": _softmax,
    "tanh": _curve(tables.tanh_of_steps),
}


def random_inputs(graph: Graph, rng: np.random.Generator) -> list[np.ndarray]:
    """Numbers of the whole range; now and then a tensor of its ends, or of a single number."""
    made = []
    for name in graph.inputs:
        tensor = graph.tensors[name]
        low, high, dtype = tensor.type.low, tensor.type.high, tensor.type.dtype
        kind = rng.integers(6)
        if kind == 0:
            x = rng.choice(np.array([low, high], dtype), tensor.shape)
        elif kind == 1:
            x = np.full(tensor.shape, rng.choice([low, high, tensor.zero_point]), dtype)
        else:
            x = rng.integers(low, high, tensor.shape, dtype, endpoint=True)
        made.append(x)
    return made


def assert_same_bytes(before: Graph, after: Graph, rng: np.random.Generator, runs: int = 3) -> None:
    """Whether two graphs give the same outputs, run after run."""
    assert after.inputs == before.inputs
    assert after.outputs == before.outputs
    first, second = Interpreter(before), Interpreter(after)
    for _ in range(runs):
        xs: Sequence[np.ndarray] = random_inputs(before, rng)
        for one, other in zip(first.run(*xs), second.run(*xs), strict=True):
            np.testing.assert_array_equal(one, other, strict=True)
        assert first.held.keys() == second.held.keys()
        for name, value in first.held.items():
            np.testing.assert_array_equal(value, second.held[name], strict=True)
