# SPDX-License-Identifier: Apache-2.0
"""Random model files with zero points, and what the oracle makes of them, by the words of the model file alone.

Images are ``(h, w, c)`` here as in the files. Nothing comes from the importer, nor from its operators.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from helpers import int8_oracle as oracle
from helpers import int8_shapes as shapes
from helpers import int8_tables as tables
from helpers.int8_oracle import effective_scale, quantize_multiplier

Values = dict[str, np.ndarray]
Pads = tuple[tuple[int, int], tuple[int, int]]


@dataclass(frozen=True)
class Tensor:
    """What a layer makes."""

    name: str
    shape: tuple[int, ...]
    scale: float
    zero_point: int


@dataclass
class RandomNetwork:
    """A graph of `layers` layers; every layer reads tensors that are there, and the outputs are those nobody reads."""

    seed: int
    count: int = 9
    content: dict[str, Any] = field(default_factory=dict)
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    steps: list[tuple[str, Callable[[Values], np.ndarray]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)
        channels = int(self.rng.choice([2, 3, 4]))
        shape = (int(self.rng.integers(5, 10)), int(self.rng.integers(5, 10)), channels)
        self.tensors = [self.tensor("input", shape)]
        self.used: set[str] = set()
        self.layers: list[dict[str, Any]] = []
        while len(self.layers) < self.count:
            makers = [self.convolution, self.convolution, self.depthwise, self.dense, self.pair, self.pair, self.concat,
                      self.pool, self.mean, self.pad, self.reshape, self.transpose, self.curve, self.relu, self.split,
                      self.softmax, self.slice, self.resize, self.extreme, self.table]  # fmt: skip
            makers[self.rng.integers(len(makers))]()
        self.outputs = [one.name for one in self.tensors if one.name not in self.used]
        given = self.tensors[0]
        self.content |= {
            "schema": 1, "name": "net", "weights": "net.npz", "outputs": self.outputs, "layers": self.layers,
            "input": {"shape": list(given.shape), "dtype": "int8", "scale": given.scale,
                      "zero_point": given.zero_point},
        }  # fmt: skip

    # ------------------------------------------------------------ what a test asks for

    def write(self, folder: Path) -> Path:
        path = folder / "net.yaml"
        path.write_text(yaml.safe_dump(self.content, sort_keys=False), encoding="utf-8")
        np.savez(folder / "net.npz", **self.arrays)  # type: ignore[arg-type]
        return path

    def draw(self, seed: int) -> np.ndarray:
        shape = self.tensors[0].shape
        return np.random.default_rng(seed).integers(-128, 127, shape, np.int8, endpoint=True)

    def expect(self, x: np.ndarray) -> list[np.ndarray]:
        values = {"input": x}
        for name, step in self.steps:
            made = step(values)
            assert made.dtype == np.int8
            values[name] = made
        return [values[name] for name in self.outputs]

    # ------------------------------------------------------------ drawing

    def tensor(self, name: str, shape: tuple[int, ...]) -> Tensor:
        return Tensor(name, shape, float(np.float32(self.rng.uniform(0.02, 0.09))), int(self.rng.integers(-40, 40)))

    def pick(self, suits: Callable[[Tensor], bool] = lambda tensor: True) -> Tensor | None:
        """A tensor that is there, the newest more often."""
        found = [tensor for tensor in self.tensors if suits(tensor)]
        if not found:
            return None
        return found[-1] if self.rng.random() < 0.6 else found[self.rng.integers(len(found))]

    def image(self) -> Tensor | None:
        return self.pick(lambda tensor: len(tensor.shape) == 3)

    def add(
        self, op: str, reads: list[Tensor], out: Tensor, step: Callable[..., np.ndarray], **fields: Any
    ) -> Tensor:
        """A layer; `step` gets the values that it reads."""
        name = f"{op}{len(self.layers)}"
        out = replace(out, name=name)
        layer: dict[str, Any] = {"name": name, "op": op}
        if [one.name for one in reads] != [self.tensors[-1].name] or "." in reads[0].name or self.rng.random() < 0.3:
            layer["inputs"] = [one.name for one in reads]
        self.used |= {one.name for one in reads}
        self.layers.append(layer | fields)
        self.steps.append((name, lambda values: step(*(values[one.name] for one in reads))))
        if op != "split":
            self.tensors.append(out)
        return out

    def numbers(self, out: Tensor) -> dict[str, Any]:
        return {"scale": out.scale, "zero_point": out.zero_point}

    def activation(self, out: Tensor) -> tuple[dict[str, Any], dict[str, int]]:
        """A fused one, and its clamps."""
        name = str(self.rng.choice(["none", "none", "relu", "relu6", "relu_n1_to_1"]))
        low, high = oracle.activation_range(name.upper(), out.scale, out.zero_point, np.int8)  # type: ignore[arg-type]
        return {} if name == "none" else {"activation": name}, {"activation_min": low, "activation_max": high}

    def window(self, x: Tensor, *, dilated: bool) -> tuple[dict[str, Any], dict[str, Any], tuple[int, int]]:
        """Keys of a layer, arguments of the oracle, and the size of the output."""
        rng = self.rng
        kernel = tuple(int(rng.integers(1, min(4, size) + 1)) for size in x.shape[:2])
        dilation = tuple(int(rng.integers(1, 3)) if dilated and k > 1 and rng.random() < 0.2 else 1 for k in kernel)
        spans = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
        if any(span > size for span, size in zip(spans, x.shape, strict=False)):
            dilation, spans = (1, 1), list(kernel)
        stride = tuple(int(size) for size in rng.integers(1, 3, 2))
        kind = rng.integers(3)
        own: Any = ("SAME", "VALID", None)[kind]
        keys: dict[str, Any] = {"kernel": list(kernel), "stride": list(stride), "padding": str(own).lower()}
        if own is None:
            pads = [int(rng.integers(0, span)) for span in spans]
            keys["padding"] = pads if pads[0] != pads[1] else pads[0]
            own = tuple((pad, pad) for pad in pads)
        if dilated:
            keys["dilation"] = list(dilation)
        size, _ = oracle.window_geometry(x.shape[:2], kernel, stride, dilation, own)  # type: ignore[arg-type]
        arguments = {"stride": stride, "padding": own} | ({"dilation": dilation} if dilated else {})
        return keys, arguments, size

    def weights(self, name: str, shape: tuple[int, ...], channels: int, x: Tensor, out: Tensor) -> tuple[Any, ...]:
        """Weights, bias, multiplier and shift; the scale of the outputs is used well."""
        rng = self.rng
        values = rng.integers(-128, 127, shape, np.int8, endpoint=True)
        count = channels if rng.random() < 0.7 else 1
        fan_in = prod(shape) / channels
        scales = (rng.uniform(0.5, 1.5, count) * out.scale / x.scale / (120 * fan_in**0.5)).astype(np.float32)
        self.arrays[f"{name}/weights"] = values
        self.arrays[f"{name}/weights_scale"] = scales if count > 1 or rng.random() < 0.5 else scales[0]
        bias = None
        if rng.random() < 0.8:
            bias = rng.integers(-3000, 3000, channels, np.int32)
            self.arrays[f"{name}/bias"] = bias
        factors = effective_scale(x.scale, scales, out.scale)
        return values, bias, factors

    # ------------------------------------------------------------ operations

    def convolution(self) -> None:
        if (x := self.image()) is None:
            return
        groups = int(self.rng.choice([g for g in (1, 1, 2, 3) if x.shape[2] % g == 0]))
        keys, window, size = self.window(x, dilated=True)
        channels = groups * int(self.rng.integers(1, 5))
        out = self.tensor("", (*size, channels))
        fields, limits = self.activation(out)
        name = f"conv2d{len(self.layers)}"
        shape = (channels, *keys["kernel"], x.shape[2] // groups)
        values, bias, factors = self.weights(name, shape, channels, x, out)
        multiplier, shift = quantize_multiplier(factors)

        def step(v: np.ndarray) -> np.ndarray:
            return oracle.conv2d(
                v[None], values, bias, input_zero_point=x.zero_point, output_zero_point=out.zero_point,
                multiplier=multiplier, shift=shift, **window, **limits,
            )[0]  # fmt: skip

        more = {"groups": groups} if groups > 1 else {}
        self.add("conv2d", [x], out, step, out_channels=channels, **keys, **fields, **more, **self.numbers(out))

    def depthwise(self) -> None:
        if (x := self.image()) is None:
            return
        keys, window, size = self.window(x, dilated=True)
        times = int(self.rng.choice([1, 1, 2]))
        channels = x.shape[2] * times
        out = self.tensor("", (*size, channels))
        fields, limits = self.activation(out)
        name = f"depthwise_conv2d{len(self.layers)}"
        values, bias, factors = self.weights(name, (*keys["kernel"], channels), channels, x, out)
        multiplier, shift = quantize_multiplier(factors)

        def step(v: np.ndarray) -> np.ndarray:
            return oracle.depthwise_conv2d(
                v[None], values[None], bias, input_zero_point=x.zero_point, output_zero_point=out.zero_point,
                multiplier=multiplier, shift=shift, **window, **limits,
            )[0]  # fmt: skip

        more = {"out_channels": channels} if times > 1 else {}
        self.add("depthwise_conv2d", [x], out, step, **more, **keys, **fields, **self.numbers(out))

    def dense(self) -> None:
        x = self.pick()
        assert x is not None
        rows, columns = int(self.rng.integers(1, 9)), prod(x.shape)
        out = self.tensor("", (rows,))
        fields, limits = self.activation(out)
        name = f"fully_connected{len(self.layers)}"
        values, bias, factors = self.weights(name, (rows, columns), rows, x, out)

        def step(v: np.ndarray) -> np.ndarray:
            return oracle.fully_connected(
                v.reshape(1, -1), values, bias, input_zero_point=x.zero_point, output_zero_point=out.zero_point,
                effective_scale=factors, **limits,
            )[0]  # fmt: skip

        self.add("fully_connected", [x], out, step, out_features=rows, **fields, **self.numbers(out))

    def two(self) -> tuple[Tensor, Tensor] | None:
        """Of one shape, or of one that repeats itself: the channels of an image, a constant."""
        a = self.pick()
        assert a is not None
        alike = [one for one in self.tensors if one.shape in (a.shape, a.shape[-1:], (*a.shape[:-1], 1))]
        b = alike[self.rng.integers(len(alike))]
        if self.rng.random() < 0.25:
            name = f"k{len(self.layers)}"
            b = self.tensor(name, a.shape[-1:])
            constants = self.content.setdefault("constants", {})
            constants[name] = {"shape": list(b.shape), **self.numbers(b)}
            self.arrays[f"{name}/value"] = self.rng.integers(-128, 127, b.shape, np.int8, endpoint=True)
        return a, b

    def values(self, reads: list[Tensor], step: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
        """`step` with the constants among what a layer reads in their places."""
        constants = self.content.get("constants", {})
        known = {one.name: self.arrays[f"{one.name}/value"] if one.name in constants else None for one in reads}

        def run(*given: np.ndarray) -> np.ndarray:
            left = iter(given)
            return step(*(next(left) if (value := known[one.name]) is None else value for one in reads))

        return run

    def joined(self, op: str, reads: list[Tensor], out: Tensor, step: Callable[..., np.ndarray], **fields: Any) -> None:
        """As `add`, of which some inputs are constants."""
        computed = [one for one in reads if one.name not in self.content.get("constants", {})]
        run = self.values(reads, step)
        self.add(op, computed, out, run, **fields)
        self.layers[-1]["inputs"] = [one.name for one in reads]

    def pair(self) -> None:
        found = self.two()
        if found is None:
            return
        a, b = found
        if self.rng.random() < 0.3 and b.shape == a.shape:
            a, b = b, a
        op = str(self.rng.choice(["add", "sub", "multiply"]))
        out = self.tensor("", np.broadcast_shapes(a.shape, b.shape))
        fields, limits = self.activation(out)
        function = {"add": oracle.add, "sub": oracle.sub, "multiply": oracle.mul}[op]
        numbers = {
            "input1_scale": a.scale, "input1_zero_point": a.zero_point, "input2_scale": b.scale,
            "input2_zero_point": b.zero_point, "output_scale": out.scale, "output_zero_point": out.zero_point,
        }  # fmt: skip
        self.joined(op, [a, b], out, lambda x, y: function(x, y, **numbers, **limits), **fields, **self.numbers(out))

    def extreme(self) -> None:
        found = self.two()
        if found is None:
            return
        a, b = found
        op = str(self.rng.choice(["maximum", "minimum"]))
        out = replace(a, shape=np.broadcast_shapes(a.shape, b.shape))
        function = oracle.maximum if op == "maximum" else oracle.minimum
        self.joined(op, [a, b], out, lambda x, y: function(x, y))

    def concat(self) -> None:
        a = self.pick(lambda tensor: len(tensor.shape) > 0)
        assert a is not None
        axis = int(self.rng.integers(len(a.shape)))
        rest = a.shape[:axis] + a.shape[axis + 1 :]
        fits = [one for one in self.tensors
                if len(one.shape) == len(a.shape) and one.shape[:axis] + one.shape[axis + 1 :] == rest]  # fmt: skip
        reads = [a, *(fits[self.rng.integers(len(fits))] for _ in range(self.rng.integers(1, 3)))]
        out = self.tensor("", (*a.shape[:axis], sum(one.shape[axis] for one in reads), *a.shape[axis + 1 :]))

        def step(*given: np.ndarray) -> np.ndarray:
            alike = [
                v if (one.scale, one.zero_point) == (out.scale, out.zero_point) else tables.quantize(
                    v, input_scale=one.scale, input_zero_point=one.zero_point, output_scale=out.scale,
                    output_zero_point=out.zero_point)
                for one, v in zip(reads, given, strict=True)
            ]  # fmt: skip
            return np.concatenate(alike, axis)

        counted = axis if self.rng.random() < 0.5 else axis - len(a.shape)
        self.add("concat", reads, out, step, axis=counted, **self.numbers(out))

    def pool(self) -> None:
        if (x := self.image()) is None:
            return
        op = str(self.rng.choice(["max_pool2d", "avg_pool2d"]))
        keys, window, size = self.window(x, dilated=False)
        if op == "avg_pool2d" and not isinstance(window["padding"], str):
            return
        out = replace(x, shape=(*size, x.shape[2]))
        fields, limits = self.activation(out)
        kernel = tuple(keys["kernel"])

        def step(v: np.ndarray) -> np.ndarray:
            if op == "avg_pool2d":
                return oracle.average_pool2d(v[None], kernel=kernel, **window, **limits)[0]
            return oracle.max_pool2d(v[None], kernel=kernel, **window, **limits)[0]

        self.add(op, [x], out, step, **keys, **fields)

    def mean(self) -> None:
        x = self.pick(lambda tensor: len(tensor.shape) > 1)
        if x is None:
            return
        axes = sorted({int(axis) for axis in self.rng.integers(0, len(x.shape), 2)})
        keep = bool(self.rng.integers(2))
        if len(axes) == len(x.shape) and not keep:
            return
        shape = tuple(1 if axis in axes else size for axis, size in enumerate(x.shape) if keep or axis not in axes)
        is_own = self.rng.random() < 0.5
        out = self.tensor("", shape) if is_own else replace(x, shape=shape)
        numbers = {
            "input_scale": x.scale, "input_zero_point": x.zero_point, "output_scale": out.scale,
            "output_zero_point": out.zero_point,
        }  # fmt: skip
        self.add(
            "mean", [x], out, lambda v: np.asarray(oracle.mean(v, axis=axes, keep_dims=keep, **numbers)),
            axes=axes, keep_dims=keep, **(self.numbers(out) if is_own else {}),
        )  # fmt: skip

    def pad(self) -> None:
        x = self.pick(lambda tensor: len(tensor.shape) > 0)
        assert x is not None
        amounts = self.rng.integers(0, 3, (len(x.shape), 2)).tolist()
        value = int(self.rng.integers(-128, 128)) if self.rng.random() < 0.3 else None
        fill = x.zero_point if value is None else value
        shape = tuple(before + size + after for size, (before, after) in zip(x.shape, amounts, strict=True))
        if prod(shape) > 4000:
            return
        self.add(
            "pad", [x], replace(x, shape=shape), lambda v: shapes.padv2(v, amounts, constant=fill), paddings=amounts,
            **({} if value is None else {"value": value}),
        )  # fmt: skip

    def reshape(self) -> None:
        x = self.pick()
        assert x is not None
        if self.rng.random() < 0.5 or len(x.shape) != 3:
            self.add("flatten", [x], replace(x, shape=(prod(x.shape),)), lambda v: v.reshape(-1))
            return
        shape = (x.shape[1], x.shape[2], x.shape[0])
        given = list(shape)
        given[self.rng.integers(3)] = -1
        self.add("reshape", [x], replace(x, shape=shape), lambda v: v.reshape(shape), shape=given)

    def transpose(self) -> None:
        x = self.pick(lambda tensor: len(tensor.shape) > 1)
        if x is None:
            return
        perm = [int(axis) for axis in self.rng.permutation(len(x.shape))]
        out = replace(x, shape=tuple(x.shape[axis] for axis in perm))
        self.add("transpose", [x], out, lambda v: np.ascontiguousarray(v.transpose(perm)), perm=perm)

    def curve(self) -> None:
        x = self.pick()
        assert x is not None
        op = str(self.rng.choice(["sigmoid", "tanh"]))
        function = tables.logistic if op == "sigmoid" else tables.tanh
        numbers = {"input_scale": x.scale, "input_zero_point": x.zero_point}
        scale, zero_point = (2.0**-8, -128) if op == "sigmoid" else (2.0**-7, 0)
        self.add(op, [x], Tensor("", x.shape, scale, zero_point), lambda v: function(v, **numbers))

    def relu(self) -> None:
        x = self.pick()
        assert x is not None
        op = str(self.rng.choice(["relu", "relu6", "leaky_relu", "hard_swish"]))
        keeps = op in ("relu", "relu6") and self.rng.random() < 0.5
        out = x if keeps else self.tensor("", x.shape)
        function: Callable[..., np.ndarray] = {
            "relu": tables.relu, "relu6": tables.relu6, "leaky_relu": tables.leaky_relu, "hard_swish": tables.hard_swish
        }[op]  # fmt: skip
        numbers: dict[str, Any] = {
            "input_scale": x.scale, "input_zero_point": x.zero_point, "output_scale": out.scale,
            "output_zero_point": out.zero_point,
        }  # fmt: skip
        alpha = {"alpha": 0.125} if op == "leaky_relu" else {}
        fields = {} if keeps else self.numbers(out)
        self.add(op, [x], out, lambda v: function(v, **numbers, **alpha), **alpha, **fields)

    def table(self) -> None:
        x = self.pick()
        assert x is not None
        values = self.rng.integers(-128, 128, 256).astype(np.int8)
        out = self.tensor("", x.shape)
        made = self.add("look_up", [x], out, lambda v: values[v.astype(np.int64) + 128], **self.numbers(out))
        self.arrays[f"{made.name}/value"] = values

    def softmax(self) -> None:
        x = self.pick(lambda tensor: len(tensor.shape) > 0)
        assert x is not None
        out = Tensor("", x.shape, 2.0**-8, -128)
        self.add("softmax", [x], out, lambda v: tables.softmax(v, input_scale=x.scale, output_dtype=np.int8))

    def split(self) -> None:
        x = self.pick(lambda tensor: max(tensor.shape, default=0) > 1)
        if x is None:
            return
        axis = int(np.argmax(x.shape))
        first = int(self.rng.integers(1, x.shape[axis]))
        sizes = [first, x.shape[axis] - first]
        out = self.add("split", [x], x, lambda v: np.take(v, range(first), axis), axis=axis, sizes=sizes)
        name, _ = self.steps.pop()
        for part, (at, size) in enumerate(((0, first), (first, sizes[1]))):
            shape = (*x.shape[:axis], size, *x.shape[axis + 1 :])
            self.tensors.append(replace(out, name=f"{name}.{part}", shape=shape))
            places = range(at, at + size)
            self.steps.append((f"{name}.{part}", lambda values, p=places: np.take(values[x.name], p, axis)))

    def slice(self) -> None:
        x = self.pick(lambda tensor: len(tensor.shape) > 0 and tensor.shape[0] > 1)
        if x is None:
            return
        begin, strides = [1, *[None] * (len(x.shape) - 1)], [1, *[-1] * (len(x.shape) - 1)]
        end = [None] * len(x.shape)
        index = tuple(slice(*one) for one in zip(begin, end, strides, strict=True))
        shape = np.zeros(x.shape)[index].shape
        self.add(
            "strided_slice", [x], replace(x, shape=shape), lambda v: np.ascontiguousarray(v[index]), begin=begin,
            end=end, strides=strides,
        )  # fmt: skip

    def resize(self) -> None:
        if (x := self.image()) is None:
            return
        size = [int(one) for one in self.rng.integers(2, 9, 2)]
        self.add(
            "resize_nearest", [x], replace(x, shape=(*size, x.shape[2])),
            lambda v: shapes.resize_nearest_neighbor(v[None], size)[0], size=size,
        )  # fmt: skip
