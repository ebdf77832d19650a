# SPDX-License-Identifier: Apache-2.0
"""Where the weights of a model file with zero points come from: its archive, or a generator that names seed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from math import prod, sqrt
from pathlib import Path
from typing import Any

import numpy as np

from cmsisnn_x import Network
from cmsisnn_x.errors import CmsisnnError
from cmsisnn_x.scheme import TENSOR_TYPES

from ...base.errors import ModelError
from ...model.synthetic import MOST_BYTES, MOST_MACS, SAMPLES, drawn_integers, frozen, generator
from ..integer_graph import MOST_BYTES as MOST_CONSTANTS
from ..tflite.file import FileModel, FileSubgraph
from ..tflite.reader import import_operators
from .net import Net, Value, Wrong
from .operations import QUARTER

SPREAD = 0.25
"""How far the scales of drawn channels lie from the middle one at most: those of trained layers differ too."""


def bias_dtype(type_: str) -> np.dtype:
    return np.dtype(np.int64 if type_ == "int16" else np.int32)


class Expected:
    """Nothing but zeros that take no room, and a list of what is asked for."""

    def __init__(self, is_drawn: bool) -> None:
        self.is_drawn = is_drawn
        self.arrays: dict[str, tuple[Any, ...]] = {}
        """Name -> shape and type, and other shapes that will do."""
        self.required: list[str] = []
        self.bytes = 0
        self.macs = 0

    def weights(
        self, layer: Any, shape: tuple[int, ...], axis: int, x: Value, out: Value
    ) -> tuple[np.ndarray, np.ndarray, None]:
        channels = shape[axis]
        self.arrays[f"{layer.name}/weights"] = (shape, np.dtype(np.int8))
        self.arrays[f"{layer.name}/weights_scale"] = ((channels,), np.dtype(np.float32), (), (1,))
        self.arrays[f"{layer.name}/bias"] = ((channels,), bias_dtype(x.type))
        self.required += [f"{layer.name}/weights", f"{layer.name}/weights_scale"]
        self._count(prod(shape))
        self.macs += out.size * prod(shape) // channels
        return np.broadcast_to(np.int8(0), shape), np.ones(1, np.float32), None

    def constant(self, name: str, shape: tuple[int, ...], type_: str) -> np.ndarray:
        dtype = TENSOR_TYPES[type_].dtype
        self.arrays[f"{name}/value"] = (shape, dtype)
        self.required.append(f"{name}/value")
        self._count(prod(shape) * dtype.itemsize)
        return np.broadcast_to(dtype.type(0), shape)

    def power(self, x: Value) -> float:
        return uniform_power(x)

    def _count(self, more: int) -> None:
        self.bytes += more
        if self.bytes > MOST_CONSTANTS:
            raise Wrong((), f"expected at most {MOST_CONSTANTS:,} bytes of weights in all layers together")


class Given:
    """The arrays of an archive."""

    is_drawn = False

    def __init__(self, arrays: Mapping[str, np.ndarray]) -> None:
        self.arrays = arrays

    def weights(
        self, layer: Any, shape: tuple[int, ...], axis: int, x: Value, out: Value
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        scales = np.atleast_1d(self.arrays[f"{layer.name}/weights_scale"])
        return self.arrays[f"{layer.name}/weights"], scales, self.arrays.get(f"{layer.name}/bias")

    def constant(self, name: str, shape: tuple[int, ...], type_: str) -> np.ndarray:
        return self.arrays[f"{name}/value"]

    def power(self, x: Value) -> float:
        return uniform_power(x)


def uniform_power(x: Value) -> float:
    """Of integers over the whole range."""
    span = x.high - x.low + 1
    return (span**2 - 1) / 12 + ((x.high + x.low) / 2 - x.zero_point) ** 2


class Drawn:
    """Weights that only the names of model and layer seed.

    The network's inputs are taken to be a uniform draw over the whole range, and what the layers make of such inputs is
    computed one after the other. Scales of weights, which nobody gives, are such that a layer's outputs spread over
    half of its range, its middle at their mean: a fraction of a per cent saturates, but for the zeros of a ReLU.
    """

    is_drawn = True

    def __init__(self, model: str, macs: int) -> None:
        self.model = model
        self.net: Net | None = None
        """Whose tensors are followed."""
        self.signals: dict[int, np.ndarray] = {}
        """Tensor -> what it holds in every sample."""
        self.follows = macs <= MOST_MACS
        self.inputs = np.random.default_rng(0)

    def weights(
        self, layer: Any, shape: tuple[int, ...], axis: int, x: Value, out: Value
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        channels, fan_in = shape[axis], prod(shape) // shape[axis]
        weights = drawn_integers(self._generator(layer.name, "weights"), shape, 127, np.dtype(np.int8))
        low, high = _range(layer.activation, out)
        middle = out.zero_point if layer.activation in ("relu", "relu6") else (low + high) / 2
        spread = max((high - middle) / QUARTER, 1.0)
        sums = sqrt(fan_in * 127 * 128 / 3 * max(self.power(x), 1.0))  # standard deviation of the accumulator
        factor = spread / sums
        scale = factor * out.scale / x.scale
        count = channels if axis != 0 or len(shape) == 4 else 1  # as LiteRT's converter gives them
        around = self._generator(layer.name, "weights_scale").uniform(1 - SPREAD, 1 + SPREAD, count)
        with np.errstate(over="ignore"):
            scales = (scale * around).astype(np.float32)
        if not np.all(np.isfinite(scales) & (scales >= np.finfo(np.float32).tiny)):
            got = f"{out.scale:g} behind an input of {x.scale:g}"
            raise Wrong("scale", f"expected one for which weights can be drawn, got {got}")
        offsets = np.rint((middle - out.zero_point) / factor / around)
        reach = max(int(sums / QUARTER), 1)
        noise = self._generator(layer.name, "bias").integers(-reach, reach, channels, endpoint=True)
        bias = np.clip(noise + offsets.astype(np.int64), -(2**30), 2**30)
        return frozen(weights), frozen(scales), frozen(bias.astype(bias_dtype(x.type)))

    def constant(self, name: str, shape: tuple[int, ...], type_: str) -> np.ndarray:
        own = TENSOR_TYPES[type_]
        rng = self._generator(name, "value")
        return frozen(rng.integers(own.low, own.high, shape, own.dtype, endpoint=True))

    def _generator(self, layer: str, kind: str) -> np.random.Generator:
        return generator(self.model, layer, kind)

    # ------------------------------------------------------------ what flows through the network

    def power(self, x: Value) -> float:
        found = self.signals.get(x.index)
        if found is None:
            return uniform_power(x)
        steps = found.astype(np.int64).ravel() - x.zero_point
        return float(np.dot(steps, steps)) / steps.size

    def give(self, x: Value) -> None:
        """An input of the network."""
        if self.follows and x.size <= MOST_BYTES:
            own = TENSOR_TYPES[x.type]
            shape = (SAMPLES, *x.shape)
            self.signals[x.index] = self.inputs.integers(own.low, own.high, shape, own.dtype, endpoint=True)

    def follow(self, net: Net, first: int, inputs: Sequence[Value], outputs: Sequence[Value]) -> None:
        """Run the operators from `first` on: a network of their own."""
        if not self.follows or any(value.size > MOST_BYTES for value in outputs):
            return
        sources = list({value.index: value for value in inputs if net.tensors[value.index].data is None}.values())
        if any(value.index not in self.signals for value in sources):
            return
        ops = net.ops[first:]
        used = sorted({index for op in ops for index in (*op.inputs, *op.outputs)})
        place = {index: at for at, index in enumerate(used)}

        def placed(indices: Iterable[int]) -> tuple[int, ...]:
            return tuple(place[index] for index in indices)

        subgraph = FileSubgraph(
            "",
            tuple(replace(net.tensors[index], index=place[index]) for index in used),
            placed(value.index for value in sources),
            placed(value.index for value in outputs),
            tuple(
                replace(op, index=at, inputs=placed(op.inputs), outputs=placed(op.outputs)) for at, op in enumerate(ops)
            ),
        )
        try:
            network = Network(import_operators(FileModel(Path(), "", (subgraph,))).graph)
        except (ModelError, CmsisnnError):  # refused, with its reason, when the whole network is read
            return
        given = tuple(self.signals[value.index] for value in sources)
        runs = [network.run(one[0] if len(one) == 1 else one) for one in zip(*given, strict=True)]
        made = [run if isinstance(run, tuple) else (run,) for run in runs]
        for at, value in enumerate(outputs):
            self.signals[value.index] = np.stack([one[at].reshape(value.shape) for one in made])


def _range(activation: str | None, out: Value) -> tuple[int, int]:
    """The integers between which outputs are clamped."""
    low, high = out.low, out.high
    steps = {"relu": (0.0, np.inf), "relu6": (0.0, 6.0), "relu_n1_to_1": (-1.0, 1.0)}.get(activation or "")
    if steps:
        low = max(low, out.zero_point + round(steps[0] / out.scale))
        high = high if np.isinf(steps[1]) else min(high, out.zero_point + round(min(steps[1] / out.scale, 2.0**16)))
    return low, max(high, low)
