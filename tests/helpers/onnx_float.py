# SPDX-License-Identifier: Apache-2.0
"""Small float ONNX graphs of every kind, and random ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

I64 = np.int64


class FloatNet:
    """Nodes in order; a tensor is its name, and `shapes` knows those that are images or vectors."""

    def __init__(self, *shapes: Sequence[int], seed: int = 0, opset: int = 18) -> None:
        self.rng = np.random.default_rng(seed)
        self.opset = opset
        names = ["x"] if len(shapes) == 1 else [f"x{at}" for at in range(len(shapes))]
        self.inputs = dict(zip(names, map(tuple, shapes), strict=True))
        self.nodes: list[Any] = []
        self.stored: list[Any] = []
        self.count = 0

    def constant(self, values: Any) -> str:
        self.count += 1
        array = np.asarray(values)
        array = array.astype(np.float32) if array.dtype.kind == "f" else array
        self.stored.append(numpy_helper.from_array(array, f"c{self.count}"))
        return f"c{self.count}"

    def node(self, op: str, *inputs: str, outputs: int = 1, **attributes: Any) -> Any:
        self.count += 1
        made = [f"t{self.count}" + (f"_{at}" if at else "") for at in range(outputs)]
        self.nodes.append(helper.make_node(op, list(inputs), made, name=f"{op}_{self.count}", **attributes))
        return made if outputs > 1 else made[0]

    def conv(
        self, x: str, channels: int, out: int, kernel: Sequence[int] = (3, 3), group: int = 1, bias: bool = True,
        **attributes: Any,
    ) -> str:  # fmt: skip
        fan = channels // group * int(np.prod(kernel))
        weights = self.rng.normal(0, 1 / np.sqrt(fan), (out, channels // group, *kernel))
        inputs = [x, self.constant(weights)] + ([self.constant(self.rng.normal(0, 0.2, out))] if bias else [])
        if "pads" not in attributes and "auto_pad" not in attributes:
            attributes["pads"] = [k // 2 for k in kernel] * 2
        return str(self.node("Conv", *inputs, group=group, kernel_shape=list(kernel), **attributes))

    def dense(self, x: str, columns: int, rows: int) -> str:
        weights = self.constant(self.rng.normal(0, 1 / np.sqrt(columns), (columns, rows)))
        return str(self.node("Gemm", x, weights, self.constant(self.rng.normal(0, 0.2, rows))))

    def norm(self, x: str, channels: int) -> str:
        parts = [self.rng.uniform(0.5, 1.5, channels), self.rng.normal(0, 0.3, channels),
                 self.rng.normal(0, 0.3, channels), self.rng.uniform(0.5, 1.5, channels)]  # fmt: skip
        return str(self.node("BatchNormalization", x, *map(self.constant, parts)))

    def model(self, *outputs: str) -> onnx.ModelProto:
        graph = helper.make_graph(
            self.nodes, "g",
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", *own]) for name, own in self.inputs.items()],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs], self.stored,
        )  # fmt: skip
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=8)

    def draw(self, count: int, seed: int = 1) -> dict[str, np.ndarray]:
        rng = np.random.default_rng(seed)
        return {
            name: rng.normal(0, 1, (count, *shape)).astype(np.float32) for name, shape in self.inputs.items()
        }  # fmt: skip


Case = tuple[Sequence[Sequence[int]], Callable[[FloatNet], "str | tuple[str, ...]"]]
IMAGE = ((4, 8, 7),)


def _ints(*values: int) -> np.ndarray:
    return np.array(values, I64)


def _residual(net: FloatNet) -> str:
    y = net.node("Relu", net.conv("x", 4, 6))
    z = net.conv(net.node("Relu", net.norm(net.conv(y, 6, 6), 6)), 6, 6)
    return str(net.node("Relu", net.node("Add", z, y)))


def _preactivation(net: FloatNet) -> str:
    y = net.conv("x", 4, 6)
    z = net.conv(net.node("Relu", net.norm(y, 6)), 6, 6)
    return str(net.node("Add", y, z))


def _branches(net: FloatNet) -> str:
    a = net.node("Relu", net.conv("x", 4, 5, (1, 1)))
    b = net.node("Relu", net.conv("x", 4, 3, (5, 5)))
    c = net.conv(net.node("MaxPool", "x", kernel_shape=[3, 3], pads=[1] * 4), 4, 2, (1, 1))
    return str(net.node("Concat", a, b, c, axis=1))


def _squeeze_excite(net: FloatNet) -> str:
    y = net.conv("x", 4, 8)
    gate = net.node("GlobalAveragePool", y)
    gate = net.conv(net.node("Relu", net.conv(gate, 8, 3, (1, 1))), 3, 8, (1, 1))
    return str(net.node("Mul", y, net.node("Sigmoid", gate)))


def _squeeze_excite_hard(net: FloatNet) -> str:
    y = net.node("HardSwish", net.conv("x", 4, 8))
    gate = net.node("ReduceMean", y, net.constant(_ints(2, 3)), keepdims=1)
    gate = net.conv(net.node("Relu", net.conv(gate, 8, 3, (1, 1))), 3, 8, (1, 1))
    return str(net.node("Mul", net.node("HardSigmoid", gate, alpha=1 / 6, beta=0.5), y))


def _two_inputs(net: FloatNet) -> str:
    a = net.node("Flatten", net.node("Relu", net.conv("x0", 2, 3)))
    return net.dense(net.node("Concat", a, net.dense("x1", 5, 6), axis=1), 3 * 6 * 5 + 6, 4)


def _two_outputs(net: FloatNet) -> tuple[str, ...]:
    y = net.node("Relu", net.conv("x", 4, 6))
    head = net.dense(net.node("Flatten", net.node("GlobalAveragePool", y)), 6, 3)
    return str(net.node("Softmax", head)), net.conv(y, 6, 2)


def _unary(op: str, **attributes: Any) -> Callable[[FloatNet], str]:
    def build(net: FloatNet) -> str:
        net.opset = 20 if op == "Gelu" else net.opset
        return net.conv(net.node(op, net.conv("x", 4, 5), **attributes), 5, 4)

    return build


def _clip(low: float | None, high: float | None, inner: bool = True) -> Callable[[FloatNet], str]:
    def build(net: FloatNet) -> str:
        limits = ["" if limit is None else net.constant(np.float32(limit)) for limit in (low, high)]
        y = net.node("Clip", net.conv("x", 4, 5) if inner else "x", *limits)
        return net.conv(y, 5 if inner else 4, 4)

    return build


def _silu(net: FloatNet) -> str:
    y = net.conv("x", 4, 6)
    y = net.node("Mul", y, net.node("Sigmoid", y))
    z = net.conv(y, 6, 6)
    return str(net.node("Add", net.node("Mul", z, net.node("Sigmoid", z)), y))


def _hard_swish(net: FloatNet) -> str:
    """As PyTorch's older exporters write it."""
    y = net.conv("x", 4, 6)
    limits = (net.constant(np.float32(0)), net.constant(np.float32(6)))
    gate = net.node("Clip", net.node("Add", y, net.constant(np.float32(3))), *limits)
    return net.conv(net.node("Div", net.node("Mul", y, gate), net.constant(np.float32(6))), 6, 4)


def _gelu(net: FloatNet) -> str:
    y = net.conv("x", 4, 6)
    one = net.node("Add", net.node("Erf", net.node("Div", y, net.constant(np.float32(2**0.5)))), net.constant(1.0))
    return net.conv(net.node("Mul", net.node("Mul", y, one), net.constant(0.5)), 6, 4)


def _gelu_tanh(net: FloatNet) -> str:
    y = net.conv("x", 4, 6)
    cube = net.node("Mul", net.node("Pow", y, net.constant(3.0)), net.constant(0.044715))
    inner = net.node("Mul", net.node("Add", y, cube), net.constant((2 / np.pi) ** 0.5))
    gate = net.node("Mul", net.node("Add", net.node("Tanh", inner), net.constant(1.0)), net.constant(0.5))
    return net.conv(net.node("Mul", y, gate), 6, 4)


def _mish(net: FloatNet) -> str:
    y = net.conv("x", 4, 6)
    return net.conv(net.node("Mul", y, net.node("Tanh", net.node("Softplus", y))), 6, 4)


def _prelu(count: int) -> Callable[[FloatNet], str]:
    def build(net: FloatNet) -> str:
        slopes = net.rng.uniform(0.05, 0.5, (count, 1, 1) if count > 1 else (1,))
        return net.conv(net.node("PRelu", net.conv("x", 4, 5), net.constant(slopes)), 5, 4)

    return build


def _sequence(net: FloatNet) -> str:
    """1-D: convolutions, a pool, dilation."""
    y = net.node("Relu", net.conv("x", 3, 6, (5,)))
    y = net.node("MaxPool", y, kernel_shape=[2], strides=[2])
    z = net.conv(y, 6, 6, (3,), dilations=[2], pads=[2, 2])
    y = net.node("AveragePool", net.node("Add", z, y), kernel_shape=[2], strides=[2])
    return net.dense(net.node("Flatten", net.node("GlobalAveragePool", y)), 6, 4)


def _normal_in_front(net: FloatNet) -> str:
    return net.conv(net.norm("x", 4), 4, 5)


def _normal_alone(net: FloatNet) -> str:
    y = net.node("MaxPool", net.norm("x", 4), kernel_shape=[2, 2], strides=[2, 2])
    return str(net.node("Add", y, net.norm(y, 4)))


def _normalised(net: FloatNet) -> str:
    """Means and deviations in front."""
    x = net.node("Sub", "x", net.constant(np.array([0.1, -0.2, 0.3, 0], np.float32).reshape(4, 1, 1)))
    return net.conv(net.node("Div", x, net.constant(np.array([0.9, 1.2, 1, 0.7], np.float32).reshape(4, 1, 1))), 4, 5)


def _shuffle(net: FloatNet) -> str:
    y = net.node("Relu", net.conv("x", 4, 8, (1, 1), group=2))
    y = net.node("Reshape", y, net.constant(_ints(0, 2, 4, 8, 7)))
    y = net.node("Reshape", net.node("Transpose", y, perm=[0, 2, 1, 3, 4]), net.constant(_ints(0, 8, 8, 7)))
    return str(net.node("Add", net.conv(y, 8, 4, group=4), "x"))


def _split(net: FloatNet) -> str:
    a, b = net.node("Split", net.conv("x", 4, 8), net.constant(_ints(3, 5)), outputs=2, axis=1)
    return str(net.node("Concat", net.conv(a, 3, 5), net.node("Relu", b), axis=1))


def _sliced(net: FloatNet) -> str:
    y = net.conv("x", 4, 6)
    ends = [net.constant(_ints(*values)) for values in ((1, 1), (5, 7), (1, 2), (1, 2))]
    y = net.node("Slice", y, *ends)
    picked = net.node("Gather", y, net.constant(_ints(0, 2)), axis=1)
    return str(net.node("Concat", y, picked, axis=1))


def _resized(net: FloatNet) -> str:
    y = net.node("Relu", net.conv("x", 4, 6, strides=[2, 2]))
    up = net.node("Resize", y, "", net.constant(np.array([1, 1, 2, 2], np.float32)), mode="nearest")
    return str(net.node("Concat", up, net.conv("x", 4, 3), axis=1))


def _padded(net: FloatNet) -> str:
    """A MaxPool behind zeros, without a ReLU; and another number."""
    y = net.node("Pad", "x", net.constant(_ints(0, 0, 1, 1, 0, 0, 1, 1)))
    y = net.node("MaxPool", y, kernel_shape=[3, 3], strides=[2, 2])
    y = net.node("Pad", net.conv(y, 4, 5), net.constant(_ints(0, 0, 0, 1, 0, 0, 1, 0)), net.constant(1.5))
    return net.conv(y, 5, 3)


def _average(**attributes: Any) -> Callable[[FloatNet], str]:
    return lambda net: net.conv(net.node("AveragePool", "x", **attributes), 4, 5)


def _means(net: FloatNet) -> str:
    y = net.conv("x", 4, 6)
    a = net.node("Squeeze", net.node("GlobalAveragePool", y), net.constant(_ints(2, 3)))
    b = net.node("ReduceMean", net.node("ReduceMean", y, net.constant(_ints(3)), keepdims=0), net.constant(_ints(2)),
                 keepdims=0)  # fmt: skip
    c = net.node("Flatten", net.node("AveragePool", y, kernel_shape=[8, 7]))
    d = net.node("ReduceSum", y, net.constant(_ints(2, 3)), keepdims=0)
    d = net.node("Mul", d, net.constant(1 / 56))
    e = net.node("Flatten", net.node("GlobalMaxPool", y))
    return net.dense(net.node("Concat", a, b, c, d, e, axis=1), 30, 4)


def _pairs(net: FloatNet) -> str:
    a, b = net.conv("x", 4, 5), net.conv("x", 4, 5)
    y = net.node("Max", net.node("Sub", a, b), net.node("Mul", a, b))
    y = net.node("Min", y, net.node("Sum", a, b, y))
    return str(net.node("Add", y, net.constant(net.rng.normal(0, 1, (1, 5, 8, 7)))))


def _numbers(net: FloatNet) -> str:
    y = net.node("Div", net.node("Sub", "x", net.constant(0.5)), net.constant(0.25))
    y = net.node("Relu", net.conv(y, 4, 5))
    y = net.node("Sub", net.constant(1.0), net.node("Mul", y, net.constant(0.7)))
    return net.conv(y, 5, 4)


def _over_time(net: FloatNet) -> str:
    """Linear layers over the steps of a sequence."""
    y = net.node("Transpose", "x", perm=[0, 2, 1])
    y = net.node("Relu", net.node("Add", net.node("MatMul", y, net.constant(net.rng.normal(0, 0.5, (3, 6)))),
                                  net.constant(net.rng.normal(0, 0.2, 6))))  # fmt: skip
    z = net.node("Add", net.node("MatMul", y, net.constant(net.rng.normal(0, 0.4, (6, 6)))),
                 net.constant(net.rng.normal(0, 0.2, 6)))  # fmt: skip
    y = net.node("ReduceMean", net.node("Add", y, z), net.constant(_ints(1)), keepdims=0)
    return net.dense(y, 6, 4)


def _attention_of_channels(net: FloatNet) -> str:
    y = net.conv("x", 4, 6)
    gate = net.node("Softmax", net.node("Flatten", net.node("GlobalAveragePool", y)), axis=1)
    return str(net.node("Mul", y, net.node("Reshape", gate, net.constant(_ints(-1, 6, 1, 1)))))


def _depth_to_space(net: FloatNet) -> str:
    return net.conv(net.node("DepthToSpace", net.conv("x", 4, 8), blocksize=2), 2, 3)


def _autoencoder(net: FloatNet) -> str:
    y = net.node("Relu", net.norm(net.dense("x", 20, 8), 8))
    return net.dense(net.node("Tanh", net.dense(y, 8, 4)), 4, 20)


def _logits(net: FloatNet) -> str:
    y = net.node("Relu", net.conv("x", 4, 6, strides=[2, 2]))
    return str(net.node("LogSoftmax", net.dense(net.node("Reshape", y, net.constant(_ints(-1, 96))), 96, 5), axis=1))


def _transposed(kernel: tuple[int, int] = (3, 3), **attributes: Any) -> Callable[[FloatNet], str]:
    def build(net: FloatNet) -> str:
        y = net.node("Relu", net.conv("x", 4, 6))
        weights = net.constant(net.rng.normal(0, 0.3, (6, 5, *kernel)))
        bias = net.constant(net.rng.normal(0, 0.2, 5))
        return net.conv(net.node("ConvTranspose", y, weights, bias, **attributes), 5, 3)

    return build


def _maxima(net: FloatNet) -> str:
    """Channels last, as Keras has sequences."""
    y = net.node("Transpose", net.conv(net.node("Transpose", "x", perm=[0, 2, 1]), 5, 6, (3,)), perm=[0, 2, 1])
    return net.dense(net.node("ReduceMax", y, net.constant(_ints(1)), keepdims=0), 6, 4)


def view_by_strides(net: FloatNet) -> str:
    """As PyTorch writes it: for one sample, whose batch is lost in between."""
    y = net.node("ReduceMean", net.conv("x", 4, 8), net.constant(_ints(3)), keepdims=0)
    flat = net.node("Reshape", y, net.constant(_ints(-1)))
    turned = np.arange(64).reshape(8, 8).T.reshape(1, 8, 8)
    view = net.node("Gather", flat, net.constant(turned.astype(I64)), axis=0)
    return net.dense(net.node("Flatten", view), 64, 3)


CASES: dict[str, Case] = {
    "residual": (IMAGE, _residual),
    "residual, activation first": (IMAGE, _preactivation),
    "branches of several sizes": (IMAGE, _branches),
    "squeeze and excite": (IMAGE, _squeeze_excite),
    "squeeze and excite, hard": (IMAGE, _squeeze_excite_hard),
    "two inputs": (((2, 6, 5), (5,)), _two_inputs),
    "two outputs": (IMAGE, _two_outputs),
    **{f"{op} {attributes or ''}".strip(): (IMAGE, _unary(op, **attributes)) for op, attributes in (
        ("Relu", {}), ("LeakyRelu", {"alpha": 0.2}), ("HardSwish", {}), ("Sigmoid", {}), ("Tanh", {}), ("Elu", {}),
        ("Elu", {"alpha": 0.5}), ("Selu", {}), ("Celu", {"alpha": 0.7}), ("Softplus", {}), ("Softsign", {}),
        ("HardSigmoid", {}), ("Abs", {}), ("Neg", {}), ("Exp", {}), ("Mish", {}), ("Gelu", {}), ("Sin", {}),
    )},
    "Clip -1..1": (IMAGE, _clip(-1, 1)),
    "Clip 0..6": (IMAGE, _clip(0, 6)),
    "Clip -0.5..": (IMAGE, _clip(-0.5, None)),
    "Clip ..0.75": (IMAGE, _clip(None, 0.75)),
    "Clip 0.5..2": (IMAGE, _clip(0.5, 2)),
    "Clip of the input": (IMAGE, _clip(-1, 0.5, False)),
    "SiLU": (IMAGE, _silu),
    "hard swish in pieces": (IMAGE, _hard_swish),
    "GELU in pieces": (IMAGE, _gelu),
    "GELU by tanh": (IMAGE, _gelu_tanh),
    "Mish in pieces": (IMAGE, _mish),
    "PRelu of one slope": (IMAGE, _prelu(1)),
    "PRelu of a slope for each channel": (IMAGE, _prelu(5)),
    "sequences": (((3, 32),), _sequence),
    "BatchNormalization in front": (IMAGE, _normal_in_front),
    "BatchNormalization alone": (IMAGE, _normal_alone),
    "means and deviations": (IMAGE, _normalised),
    "channels shuffled": (IMAGE, _shuffle),
    "split": (IMAGE, _split),
    "slices": (IMAGE, _sliced),
    "resized": (((4, 8, 8),), _resized),
    "pads": (IMAGE, _padded),
    "means": (IMAGE, _means),
    "pairs": (IMAGE, _pairs),
    "numbers": (IMAGE, _numbers),
    "dense over time": (((3, 12),), _over_time),
    "softmax inside": (IMAGE, _attention_of_channels),
    "DepthToSpace": (IMAGE, _depth_to_space),
    "autoencoder": (((20,),), _autoencoder),
    "LogSoftmax": (IMAGE, _logits),
    **{f"ConvTranspose {at}": (IMAGE, _transposed(**attributes)) for at, attributes in enumerate((
        {"strides": [2, 2], "pads": [1, 1, 1, 1]}, {"strides": [2, 2], "pads": [1, 1, 1, 1], "output_padding": [1, 1]},
        {"strides": [3, 2], "kernel": (4, 5)}, {"strides": [1, 1], "pads": [1, 0, 1, 2]},
        {"strides": [2, 2], "kernel": (2, 2)}, {"strides": [2, 2], "auto_pad": "SAME_UPPER"},
        {"strides": [3, 3], "kernel": (2, 2), "output_padding": [1, 0]},
    ))},
    "ConvTranspose of a sequence": (((3, 9),), lambda net: str(net.node(
        "ConvTranspose", "x", net.constant(net.rng.normal(0, 0.4, (3, 4, 5))), strides=[2], pads=[1, 2]))),
    "maxima over time": (((12, 5),), _maxima),
    "dilation": (IMAGE, lambda net: net.conv("x", 4, 6, dilations=[2, 2], pads=[2] * 4)),
    "groups": (IMAGE, lambda net: net.conv(net.node("Relu", net.conv("x", 4, 6, group=2)), 6, 9, group=3)),
    "depthwise": (IMAGE, lambda net: net.conv(net.node("Relu", net.conv("x", 4, 8, group=4)), 8, 4, (1, 1))),
    "stride and SAME_UPPER": (IMAGE, lambda net: net.conv("x", 4, 6, strides=[2, 2], auto_pad="SAME_UPPER")),
    "AveragePool, end padding": (IMAGE, _average(kernel_shape=[3, 3], strides=[2, 2], pads=[0, 0, 1, 1])),
    "AveragePool, counted": (
        IMAGE, _average(kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1], count_include_pad=1)),
    "AveragePool, not counted": (IMAGE, _average(kernel_shape=[3, 3], pads=[1, 1, 1, 1])),
    "AveragePool, not counted, stride": (IMAGE, _average(kernel_shape=[3, 2], strides=[3, 2], pads=[1, 1, 1, 0])),
    "AveragePool, rounded up": (IMAGE, _average(kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1)),
    "AveragePool, rounded up, counted": (
        IMAGE, _average(kernel_shape=[2, 3], strides=[3, 2], ceil_mode=1, pads=[1, 1, 1, 1], count_include_pad=1)),
}  # fmt: skip
"""What it is -> shapes of its inputs, and how it is built."""


def random_net(seed: int) -> tuple[FloatNet, tuple[str, ...]]:
    """A small network of branches that meet again, one or two inputs, one to three outputs."""
    rng = np.random.default_rng(seed)
    size = (int(rng.integers(5, 9)), int(rng.integers(5, 9)))
    count = int(rng.integers(1, 3))
    net = FloatNet(*[(int(rng.integers(1, 5)), *size)] * count, seed=seed)
    images = [(name, shape[0]) for name, shape in net.inputs.items()]
    images = [(net.conv(name, channels, 6), 6) for name, channels in images]

    def same(channels: int) -> str:
        found = [name for name, own in images if own == channels]
        return found[int(rng.integers(len(found)))]

    for _ in range(int(rng.integers(3, 8))):
        name, channels = images[int(rng.integers(len(images)))]
        kind = str(rng.choice(["conv", "conv", "depthwise", "add", "add", "mul", "concat", "act", "act", "norm", "pool",
                               "gate", "max"]))  # fmt: skip
        if kind == "conv":
            out = int(rng.integers(2, 8))
            images.append((net.conv(name, channels, out, (int(rng.choice([1, 3])),) * 2), out))
        elif kind == "depthwise":
            images.append((net.conv(name, channels, channels, group=channels), channels))
        elif kind in ("add", "mul", "max"):
            images.append((net.node({"add": "Add", "mul": "Mul", "max": "Max"}[kind], name, same(channels)), channels))
        elif kind == "concat":
            other, more = images[int(rng.integers(len(images)))]
            images.append((net.node("Concat", name, other, axis=1), channels + more))
        elif kind == "act":
            op = str(rng.choice(["Relu", "LeakyRelu", "HardSwish", "Sigmoid", "Tanh", "Clip"]))
            limits = [net.constant(np.float32(limit)) for limit in (-0.5, 2)] if op == "Clip" else []
            images.append((net.node(op, name, *limits), channels))
        elif kind == "norm":
            images.append((net.norm(name, channels), channels))
        elif kind == "pool":
            op, more_ = ("MaxPool", {}) if rng.random() < 0.5 else ("AveragePool", {"count_include_pad": 1})
            images.append((net.node(op, name, kernel_shape=[3, 3], pads=[1] * 4, **more_), channels))
        else:
            gate = net.conv(net.node("GlobalAveragePool", name), channels, channels, (1, 1))
            images.append((net.node("Mul", name, net.node("Sigmoid", gate)), channels))
    outputs = []
    for name, channels in images[-int(rng.integers(1, 4)) :]:
        if rng.random() < 0.5:
            name = net.dense(net.node("Flatten", net.node("GlobalAveragePool", name)), channels, 3)
        outputs.append(name)
    return net, tuple(dict.fromkeys(outputs))
