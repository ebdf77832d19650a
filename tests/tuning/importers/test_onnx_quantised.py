# SPDX-License-Identifier: Apache-2.0
"""Quantised ONNX files against ONNX's own evaluator, and against the same network in operators of `.tflite` files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import tuning
from helpers.onnx_quantised import Case, Net, last, runs
from tuning.base.errors import ModelError
from tuning.importers.tflite_build import FileBuilder
from tuning.importers.tflite_walk import import_operators
from tuning.load import own_name
from tuning.model import graph_model

I64 = np.int64


def image(net: Net) -> str:
    return net.q("x", 0.02, 3)


def _conv(**attributes: object) -> Case:
    """A convolution with its own kernel, groups, bias and ReLU."""

    def build(net: Net) -> str:
        k, groups = attributes.get("kernel_shape", (3, 3)), int(str(attributes.get("group", 1)))
        own = {name: value for name, value in attributes.items() if name not in ("out", "relu", "axis")}
        out = int(str(attributes.get("out", 8)))
        axis = None if attributes.get("axis", 0) is None else 0
        assert isinstance(k, tuple)
        y = net.node("Conv", image(net), net.weights((out, net.shape[1] // groups, *k), axis), net.bias(out), **own)
        return net.q(net.node("Relu", y) if attributes.get("relu") else y, 0.05, -128 if attributes.get("relu") else 5)

    return build


def _unary(op: str, scale: float = 0.015, zero_point: int = -20, **attributes: object) -> Case:
    return lambda net: net.q(net.node(op, image(net), **attributes), scale, zero_point)


def _pair(op: str, shape: tuple[int, ...] | None = None, scale: float = 0.05) -> Case:
    """Two halves of an image at two scales, or one and a quantised constant."""

    def build(net: Net) -> str:
        halves = net.node("Split", image(net), net.constant(np.array([4, 4], I64)), outputs=2, axis=1)
        b = net.weights(shape, None) if shape else net.q(halves[1], 0.03, -9)
        return net.q(net.node(op, halves[0], b), scale, 7)

    return build


def _flattened(op: str, **attributes: object) -> Case:
    """A dense layer behind an image that was flattened channels first."""

    def build(net: Net) -> str:
        y = net.q(net.node("Conv", image(net), net.weights((5, 4, 3, 3))), 0.1, 2)
        y = net.node("Flatten", y) if op == "Gemm" else net.node("Reshape", y, net.constant(np.array([1, -1], I64)))
        count = 5 * 6 * 7
        if op == "Gemm":
            shape = (7, count) if attributes.get("transB") else (count, 7)
            axis = 0 if attributes.get("transB") else 1
            return net.q(net.node("Gemm", y, net.weights(shape, axis), net.bias(7), **attributes), 0.5)
        return net.q(net.node("Add", net.node("MatMul", y, net.weights((count, 7), 1)), net.bias(7)), 0.5)

    return build


def _pooled(op: str, scale: float = 0.02, zero_point: int = 3, **attributes: object) -> Case:
    return lambda net: net.q(net.node(op, image(net), **attributes), scale, zero_point)


def _reduced(op: str, axes: tuple[int, ...], keep: int, scale: float = 0.02, zero_point: int = 3) -> Case:
    def build(net: Net) -> str:
        return net.q(net.node(op, image(net), net.constant(np.array(axes, I64)), keepdims=keep), scale, zero_point)

    return build


def _squeeze_excite(net: Net) -> str:
    y = net.q(net.node("Conv", image(net), net.weights((8, 4, 3, 3))), 0.06, 0)
    gate = net.q(net.node("GlobalAveragePool", y), 0.05, 0)
    gate = net.q(net.node("Conv", gate, net.weights((8, 8, 1, 1)), net.bias(8)), 0.03)
    gate = net.q(net.node("HardSigmoid", gate, alpha=1 / 6, beta=0.5), 1 / 255, -128)
    return net.q(net.node("Mul", y, gate), 0.05, 0)


def _silu(net: Net) -> str:
    x = image(net)
    return net.q(net.node("Mul", x, net.node("Sigmoid", x)), 0.011, -100)


def _batch_norm(net: Net) -> str:
    parts = [net.constant(net.rng.uniform(0.5, 2, 4).astype(np.float32)) for _ in range(4)]
    return net.q(net.node("BatchNormalization", image(net), *parts), 0.03)


def _scale_per_channel(net: Net) -> str:
    factors = np.array([0.5, -1.5, 0, 2], np.float32).reshape(4, 1, 1)
    return net.q(net.node("Mul", image(net), net.constant(factors)), 0.03)


def _concat(net: Net) -> str:
    a = net.q(net.node("Conv", image(net), net.weights((3, 4, 1, 1))), 0.03, 4)
    b = net.q(net.node("Conv", image(net), net.weights((2, 4, 1, 1))), 0.05, -9)
    return net.q(net.node("Concat", a, b, image(net), axis=1), 0.05, -2)


def _split(net: Net) -> tuple[str, ...]:
    parts = net.node("Split", image(net), net.constant(np.array([1, 3], I64)), outputs=2, axis=1)
    return tuple(net.q(part, 0.02, 3) for part in parts)


def _slice(net: Net) -> str:
    ends = [net.constant(np.array(values, I64)) for values in ([1, 1], [4, 99], [1, 3], [1, 2])]
    y = net.node("Slice", net.q(net.node("Conv", image(net), net.weights((6, 4, 1, 1))), 0.05), *ends)
    return net.q(net.node("Conv", y, net.weights((4, 3, 3, 3))), 0.05)


def _shuffle(net: Net) -> str:
    y = net.q(net.node("Conv", image(net), net.weights((8, 2, 3, 3)), group=2), 0.05)
    for shape, order in (((1, 2, 4, 6, 7), (0, 2, 1, 3, 4)), ((1, 8, 6, 7), None)):
        y = net.node("Reshape", y, net.constant(np.array(shape, I64)))
        y = net.node("Transpose", y, perm=order) if order else y
    return net.q(net.node("Conv", y, net.weights((4, 8, 1, 1))), 0.05)


def _depth_to_space(net: Net) -> str:
    y = net.node("DepthToSpace", image(net), blocksize=2)
    return net.q(net.node("Conv", y, net.weights((3, 1, 3, 3))), 0.05)


def _over_time(net: Net) -> str:
    """A dense layer at each of some steps in time, their mean, and a softmax."""
    y = net.node("Squeeze", image(net), net.constant(np.array([1], I64)))
    y = net.q(net.node("MatMul", y, net.weights((8, 6), 1)), 0.03)
    y = net.q(net.node("ReduceMean", y, net.constant(np.array([1], I64)), keepdims=0), 0.02)
    return net.q(net.node("Softmax", y), 1 / 255, -128)


def _channels_last(net: Net) -> str:
    """As tf2onnx writes a Keras network: NHWC outside, transposed inside."""
    y = net.node("Transpose", image(net), perm=[0, 3, 1, 2])
    y = net.q(net.node("Conv", y, net.weights((6, 8, 3, 3))), 0.05)
    return net.node("Transpose", y, perm=[0, 2, 3, 1])


def _late_quantisation(net: Net) -> str:
    """QuantizeLinear behind moves and a pool, in front of the next convolution alone."""
    y = net.node("Relu", net.node("Conv", image(net), net.weights((6, 4, 3, 3))))
    y = net.node("MaxPool", y, kernel_shape=[2, 2], strides=[2, 2])
    y = net.q(net.node("Flatten", y), 0.04, -128)
    return net.q(net.node("MatMul", y, net.weights((54, 5), 1)), 0.2)


def _resize(net: Net) -> str:
    sizes = net.constant(np.array([1, 1, 2, 2], np.float32))
    modes = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    return net.node("Conv", net.node("Resize", image(net), "", sizes, mode="nearest", **modes), net.weights((3, 4, 1, 1)))


def _padded(net: Net, value: float = 0.0) -> str:
    amounts = net.constant(np.array([0, 0, 1, 2, 0, 0, 1, 0], I64))
    y = net.node("Pad", image(net), amounts, net.constant(np.float32(value)))
    return net.q(net.node("Conv", y, net.weights((3, 4, 3, 3))), 0.05)


CASES: dict[str, tuple[Case, tuple[int, ...]]] = {
    "convolution": (_conv(pads=[1, 1, 1, 1]), (1, 4, 8, 9)),
    "convolution with relu, stride, uneven pads": (_conv(strides=[2, 2], pads=[1, 0, 0, 1], relu=True), (1, 4, 9, 8)),
    "convolution of one scale": (_conv(axis=None, kernel_shape=(5, 3)), (1, 4, 9, 8)),
    "dilation": (_conv(dilations=[2, 2], pads=[2, 2, 2, 2]), (1, 4, 8, 9)),
    "groups": (_conv(group=2), (1, 4, 8, 9)),
    "depthwise": (_conv(group=4, pads=[1, 1, 1, 1], strides=[2, 2], out=4), (1, 4, 8, 9)),
    "depthwise, two outputs each": (_conv(group=4, out=8), (1, 4, 8, 9)),
    "convolution of a sequence": (_conv(kernel_shape=(5,), pads=[2, 2], strides=[2]), (1, 4, 20)),
    "gemm of an image": (_flattened("Gemm"), (1, 4, 8, 9)),
    "gemm transposed": (_flattened("Gemm", transB=1), (1, 4, 8, 9)),
    "gemm with alpha and beta": (_flattened("Gemm", transB=1, alpha=0.5, beta=2.0), (1, 4, 8, 9)),
    "matmul and bias": (_flattened("MatMul"), (1, 4, 8, 9)),
    "add": (_pair("Add"), (1, 8, 8, 9)),
    "sub": (_pair("Sub"), (1, 8, 8, 9)),
    "mul": (_pair("Mul", scale=0.06), (1, 8, 8, 9)),
    "max": (_pair("Max", scale=0.02), (1, 8, 8, 9)),
    "min": (_pair("Min", scale=0.02), (1, 8, 8, 9)),
    "add of a constant per channel": (_pair("Add", (4, 1, 1)), (1, 8, 8, 9)),
    "mul of a constant image": (_pair("Mul", (1, 4, 8, 9), 0.01), (1, 8, 8, 9)),
    "concat of three scales": (_concat, (1, 4, 8, 9)),
    "split": (_split, (1, 4, 8, 9)),
    "slice": (_slice, (1, 4, 8, 9)),
    "shuffle of channels": (_shuffle, (1, 4, 8, 9)),
    "depth to space": (_depth_to_space, (1, 4, 8, 9)),
    "max pool": (_pooled("MaxPool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]), (1, 5, 8, 11)),
    "max pool, ceil": (_pooled("MaxPool", kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1), (1, 5, 8, 11)),
    "max pool of another scale": (_pooled("MaxPool", 0.03, 1, kernel_shape=[2, 2]), (1, 5, 8, 11)),
    "average pool": (_pooled("AveragePool", kernel_shape=[2, 2], strides=[2, 2]), (1, 5, 8, 11)),
    "average pool of another scale": (_pooled("AveragePool", 0.013, kernel_shape=[2, 2]), (1, 5, 8, 11)),
    "average pool that counts its pads": (
        _pooled("AveragePool", kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1), (1, 5, 8, 11)
    ),
    "average pool of SAME_UPPER": (
        _pooled("AveragePool", kernel_shape=[3, 3], strides=[2, 2], auto_pad="SAME_UPPER"), (1, 5, 8, 11)
    ),
    "global average pool": (_pooled("GlobalAveragePool", 0.004, 60), (1, 4, 7, 8)),
    "global max pool": (_pooled("GlobalMaxPool"), (1, 4, 7, 8)),
    "mean of an image": (_reduced("ReduceMean", (2, 3), 0, 0.004, 60), (1, 4, 7, 8)),
    "mean of channels": (_reduced("ReduceMean", (1,), 1, 0.004, 60), (1, 4, 7, 8)),
    "max of an image": (_reduced("ReduceMax", (2, 3), 0), (1, 4, 7, 8)),
    "softmax": (lambda net: net.q(net.node("Softmax", net.node("Flatten", image(net))), 1 / 255, -128), (1, 10)),
    "softmax of 1/256": (lambda net: net.q(net.node("Softmax", image(net)), 1 / 256, -128), (1, 10)),
    "softmax over channels": (lambda net: net.q(net.node("Softmax", image(net), axis=1), 1 / 255, -128), (1, 4, 5, 6)),
    "relu": (_unary("Relu"), (1, 12)),
    "clip of any range": (
        lambda net: net.q(net.node("Clip", image(net), *map(net.constant, np.float32([-0.7, 1.3]))), 0.015), (1, 12)
    ),
    "leaky relu": (_unary("LeakyRelu", alpha=0.2), (1, 12)),
    "prelu of one slope": (
        lambda net: net.q(net.node("PRelu", image(net), net.constant(np.full(1, 0.3, np.float32))), 0.02), (1, 12)
    ),
    "elu": (_unary("Elu"), (1, 12)),
    "sigmoid": (_unary("Sigmoid", 1 / 255, -128), (1, 12)),
    "tanh": (_unary("Tanh", 1 / 127, 0), (1, 12)),
    "hard sigmoid": (_unary("HardSigmoid", 1 / 255, -128, alpha=0.2), (1, 12)),
    "hard swish": (_unary("HardSwish"), (1, 12)),
    "silu in two operators": (_silu, (1, 12)),
    "squeeze and excite": (_squeeze_excite, (1, 4, 8, 9)),
    "batch normalisation": (_batch_norm, (1, 4, 5, 5)),
    "a float factor per channel": (_scale_per_channel, (1, 4, 5, 5)),
    "dense over time, mean, softmax": (_over_time, (1, 1, 5, 8)),
    "channels last outside": (_channels_last, (1, 6, 6, 8)),
    "scale behind a pool": (_late_quantisation, (1, 4, 8, 9)),
    "resize": (lambda net: net.q(_resize(net), 0.05), (1, 4, 4, 5)),
    "pad": (_padded, (1, 4, 6, 6)),
    "pad of a number": (lambda net: _padded(net, 0.5), (1, 4, 6, 6)),
}  # fmt: skip
TWO_ROUNDINGS = ("squeeze and excite", "dense over time, mean, softmax", "gemm of an image", "gemm transposed",
                 "gemm with alpha and beta", "matmul and bias", "scale behind a pool")  # fmt: skip
"""Networks of several layers, whose differences add up: beyond one step, by how many inputs the last layer has."""


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
@pytest.mark.parametrize("name", CASES)
def test_every_operator_is_what_onnx_says_within_rounding(tmp_path: Path, name: str, dtype: str) -> None:
    build, shape = CASES[name]
    net = Net(shape, dtype, seed=len(name))
    outputs = build(net)
    path = net.save(tmp_path / "net.onnx", *((outputs,) if isinstance(outputs, str) else outputs))
    model = tuning.load_model(path)
    assert {port.dtype for port in (*model.inputs, *model.outputs)} == {np.dtype(dtype)}
    ours, theirs = runs(model, path)
    for one, other in zip(ours, theirs, strict=True):
        off = np.abs(one.astype(np.int64) - other)
        assert other.min() < other.max()
        assert off.max() <= (3 if name in TWO_ROUNDINGS else 1), (off.max(), one.reshape(-1)[:8], other.reshape(-1)[:8])
        assert (off > 0).mean() < 0.5
    plain = tuning.load_model(path, rewrites=False)
    again, _ = runs(plain, path, 2)
    assert all(np.array_equal(one[:2], other) for one, other in zip(ours, again, strict=True))


# ---------------------------------------------------------------- the same network, written twice


def _twin(tmp_path: Path) -> tuple[Path, FileBuilder, tuple[int, int]]:
    """A residual network in ONNX, channels first, and in operators of `.tflite` files, channels last."""
    rng = np.random.default_rng(3)
    kernels = [rng.integers(-127, 128, shape).astype(np.int8) for shape in ((4, 4, 3, 3), (8, 1, 3, 3), (10, 4 * 36))]
    kernels[1] = kernels[1][:4]
    biases = [rng.integers(-3000, 3000, len(kernel)).astype(np.int32) for kernel in kernels]
    scales = [rng.uniform(1, 3, len(kernel)).astype(np.float32) / 400 for kernel in kernels]
    s = [0.02, 0.04, 0.05, 0.05, 0.2]
    z = [3, -128, 5, -4, 9]
    net = Net((1, 4, 6, 6))
    y = x = net.q("x", s[0], z[0])
    for at, (op, more) in enumerate((("Conv", {"pads": [1] * 4}), ("Conv", {"pads": [1] * 4, "group": 4}), ("Gemm", {"transB": 1}))):
        weights = net.node("DequantizeLinear", net.constant(kernels[at]), net.constant(scales[at]), axis=0)
        steps = np.float64(np.float32(s[0 if at == 0 else at if at < 2 else 3])) * scales[at]
        zeros = net.constant(np.zeros(len(steps), np.int32))
        bias = net.node("DequantizeLinear", net.constant(biases[at]), net.constant(steps.astype(np.float32)), zeros, axis=0)
        y = net.node("Flatten", net.q(net.node("Add", x, y), s[3], z[3])) if op == "Gemm" else y
        y = net.node(op, y, weights, bias, **more)
        y = net.q(net.node("Relu", y) if at == 0 else y, *((s[at + 1], z[at + 1]) if at < 2 else (s[4], z[4])))
    path = net.save(tmp_path / "twin.onnx", y)

    to = FileBuilder()
    shapes = [(1, 6, 6, 4)] * 4 + [(1, 10)]
    t = [to.tensor(f"a{at}", shape, "INT8", s[at], z[at]) for at, shape in enumerate(shapes)]
    laid = [kernels[0].transpose(0, 2, 3, 1), kernels[1].transpose(1, 2, 3, 0),
            kernels[2].reshape(10, 4, 6, 6).transpose(0, 2, 3, 1).reshape(10, -1)]  # fmt: skip
    w = [to.tensor("w", scale=scale, axis=3 if at == 1 else 0, data=np.ascontiguousarray(laid[at]))
         for at, scale in enumerate(scales)]  # fmt: skip
    b = [to.tensor("b", scale=np.float64(np.float32(s[at if at < 2 else 3])) * scales[at], data=biases[at]) for at in range(3)]
    window = {"padding": "SAME", "stride_h": 1, "stride_w": 1}
    to.op("CONV_2D", [t[0], w[0], b[0]], [t[1]], fused_activation_function="RELU", **window)
    to.op("DEPTHWISE_CONV_2D", [t[1], w[1], b[1]], [t[2]], depth_multiplier=1, **window)
    to.op("ADD", [t[0], t[2]], [t[3]])
    to.op("FULLY_CONNECTED", [t[3], w[2], b[2]], [t[4]])
    return path, to, (t[0], t[4])


@pytest.mark.parametrize("arithmetic", ["tflm", "litert"])
def test_the_same_network_as_a_tflite_file_gives_the_same_bytes(tmp_path: Path, arithmetic: str) -> None:
    path, to, (first, end) = _twin(tmp_path)
    model = tuning.load_model(path, arithmetic=arithmetic)
    twin = import_operators(to.file(tmp_path / "twin.tflite", [first], [end]), arithmetic)
    network = graph_model("twin", twin.graph, path, ports=(twin.inputs, twin.outputs), arithmetic=arithmetic).network()
    rng = np.random.default_rng(1)
    for _ in range(8):
        x = rng.integers(-128, 128, (1, 6, 6, 4)).astype(np.int8)
        assert np.array_equal(model.network().run(x), network.run(x))
    assert [node.op for node in model.graph.nodes] == ["conv2d", "depthwise_conv2d", "add", "fully_connected"]


def test_images_are_channels_last_at_the_border_and_nothing_is_moved_on_the_device(tmp_path: Path) -> None:
    path, _, _ = _twin(tmp_path)
    model = tuning.load_model(path)
    assert model.inputs[0].shape == (1, 6, 6, 4)
    assert model.outputs[0].shape == (1, 10)
    assert model.inputs[0].name == "x"
    assert own_name(path) == model.name == "twin"
    assert "copy" not in {node.op for node in model.graph.nodes}


# ---------------------------------------------------------------- QOperator


def _q_operators(net: Net, is_qdq: bool) -> str:
    """The same network in both formats."""
    rng = np.random.default_rng(5)
    s, z = {"x": 0.02, "a": 0.03, "b": 0.05, "c": 0.04, "p": 0.03, "d": 0.1}, {"x": 3, "a": -7, "b": 5, "c": 0, "p": 2, "d": 1}
    kernel = [net.integers(shape, axis) for shape, axis in (((4, 4, 3, 3), 0), ((4, 4, 1, 1), 0), ((4, 5), 1))]
    flat = net.constant(np.array([1, -1], I64))
    bias = rng.integers(-900, 900, 4).astype(np.int32)
    scales = [next(helper_array(net, name)) for _, name, _ in kernel]
    if is_qdq:
        w = [net.node("DequantizeLinear", *parts, axis=axis) for parts, axis in zip(kernel, (0, 0, 1), strict=True)]
        x = net.q("x", s["x"], z["x"])
        steps = (np.float64(np.float32(s["x"])) * scales[0]).astype(np.float32)
        b = net.node("DequantizeLinear", net.constant(bias), net.constant(steps), net.constant(np.zeros(4, np.int32)), axis=0)
        a = net.q(net.node("Conv", x, w[0], b, pads=[1] * 4), s["a"], z["a"])
        c = net.q(net.node("Conv", a, w[1]), s["b"], z["b"])
        y = net.q(net.node("Add", a, c), s["c"], z["c"])
        y = net.q(net.node("Concat", y, net.q(net.node("Mul", a, c), s["c"], z["c"]), axis=1), s["c"], z["c"])
        y = net.q(net.node("LeakyRelu", y, alpha=0.25), s["c"], z["c"])
        y = net.q(net.node("Sigmoid", net.q(net.node("AveragePool", y, kernel_shape=[2, 2]), s["p"], z["p"])), 1 / 256, -128)
        y = net.node("Slice", y, *(net.constant(np.array([v], I64)) for v in (0, 4, 1)))
        y = net.node("Reshape", net.q(net.node("GlobalAveragePool", y), 1 / 256, -128), flat)
        y = net.q(net.node("MatMul", y, w[2]), s["d"], z["d"])
        return net.q(net.node("Softmax", y), 1 / 256, -128)
    n = {name: net.numbers(s[name], z[name]) for name in s}
    unit = net.numbers(1 / 256, -128)
    micro = {"domain": "com.microsoft"}
    x = net.node("QuantizeLinear", "x", *n["x"])
    a = net.node("QLinearConv", x, *n["x"], *kernel[0], *n["a"], net.constant(bias), pads=[1] * 4)
    c = net.node("QLinearConv", a, *n["a"], *kernel[1], *n["b"])
    y = net.node("QLinearAdd", a, *n["a"], c, *n["b"], *n["c"], **micro)
    m = net.node("QLinearMul", a, *n["a"], c, *n["b"], *n["c"], **micro)
    y = net.node("QLinearConcat", *n["c"], y, *n["c"], m, *n["c"], axis=1, **micro)
    y = net.node("QLinearLeakyRelu", y, *n["c"], *n["c"], alpha=0.25, **micro)
    y = net.node("QLinearAveragePool", y, *n["c"], *n["p"], kernel_shape=[2, 2], **micro)
    y = net.node("QLinearSigmoid", y, *n["p"], *unit, **micro)
    y = net.node("Slice", y, *(net.constant(np.array([v], I64)) for v in (0, 4, 1)))
    y = net.node("QLinearGlobalAveragePool", y, *unit, *unit, **micro)
    y = net.node("QLinearMatMul", net.node("Reshape", y, flat), *unit, *kernel[2], *n["d"])
    y = net.node("QLinearSoftmax", y, *n["d"], *unit, axis=-1, opset=13, **micro)
    return str(net.node("DequantizeLinear", y, *unit))


def helper_array(net: Net, name: str):  # type: ignore[no-untyped-def]
    return (onnx.numpy_helper.to_array(tensor) for tensor in net.stored if tensor.name == name)


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_both_formats_are_one_network(tmp_path: Path, dtype: str) -> None:
    models = []
    for is_qdq in (True, False):
        net = Net((1, 4, 6, 6), dtype)
        models.append(tuning.load_model(net.save(tmp_path / f"net{is_qdq}.onnx", _q_operators(net, is_qdq))))
    rng = np.random.default_rng(2)
    for _ in range(6):
        x = rng.integers(0, 256, (1, 6, 6, 4)).astype(np.uint8).view(dtype)
        assert np.array_equal(models[0].network().run(x), models[1].network().run(x))
    qdq, path = models[0], tmp_path / "netTrue.onnx"
    ours, theirs = runs(qdq, path)
    assert np.abs(ours[0].astype(int) - theirs[0]).max() <= 2


def test_integers_at_the_border_of_a_file_stay_its_own(tmp_path: Path) -> None:
    """A graph whose input and output are uint8, without a float in it."""
    net = Net((1, 4, 6, 6), "uint8")
    n = [net.numbers(0.02, 3), net.numbers(0.05, -4)]
    y = net.node("QLinearConv", "x", *n[0], *net.integers((8, 4, 3, 3)), *n[1])
    path = net.save(tmp_path / "net.onnx", y, input_type=TensorProto.UINT8)
    model = tuning.load_model(path)
    (into,), (out,) = model.inputs, model.outputs
    assert (into.dtype, into.shape, into.zero_point) == (np.uint8, (1, 6, 6, 4), 131)
    assert (out.dtype, out.shape, out.name, out.zero_point) == (np.uint8, (1, 4, 4, 8), y, 124)
    x = np.random.default_rng(0).integers(0, 256, (1, 4, 6, 6)).astype(np.uint8)
    (wanted,) = onnx.reference.ReferenceEvaluator(onnx.load(path)).run(None, {"x": x})
    got = model.network().run(last(x, into.shape)).reshape(out.shape)
    assert np.abs(got.astype(int) - last(wanted, out.shape)).max() <= 1


def test_weights_of_uint8_around_128_are_those_of_int8(tmp_path: Path) -> None:
    found = []
    for dtype in ("int8", "uint8"):
        net = Net((1, 12))
        values = np.random.default_rng(0).integers(-127, 128, (12, 5))
        offset = 128 if dtype == "uint8" else 0
        zero = net.constant(np.array(offset, dtype))
        w = net.node("DequantizeLinear", net.constant((values + offset).astype(dtype)), net.constant(np.float32(0.01)), zero)
        path = net.save(tmp_path / f"{dtype}.onnx", net.q(net.node("MatMul", image(net), w), 0.1))
        found.append(tuning.load_model(path).network().run(np.arange(12, dtype=np.int8)[None]))
    assert np.array_equal(*found)


def test_a_channel_without_weights_keeps_its_bias(tmp_path: Path) -> None:
    """Quantisers give it any scale: 1, by which the multiplier exceeds 1, or next to none, by which the bias overflows."""
    net = Net((1, 6))
    values = np.random.default_rng(0).integers(-127, 128, (6, 3)).astype(np.int8)
    values[:, 1:] = 0
    scale = np.array([0.01, 1, 1e-13], np.float32)
    w = net.node("DequantizeLinear", net.constant(values), net.constant(scale), axis=1)
    y = net.node("Gemm", image(net), w, net.constant(np.array([0.1, 1.7, -2.3], np.float32)))
    model = tuning.load_model(net.save(tmp_path / "net.onnx", net.q(y, 0.05, 3)))
    assert model.network().run(np.ones((1, 6), np.int8)).reshape(-1)[1:].tolist() == [34 + 3, -46 + 3]


# ---------------------------------------------------------------- what is refused


def refused(path: Path) -> str:
    with pytest.raises(ModelError) as problem:
        tuning.load_model(path)
    assert "\n" not in str(problem.value)
    return str(problem.value)


def test_a_float_file_is_refused_with_the_line_to_type(tmp_path: Path) -> None:
    net = Net((1, 4))
    path = net.save(tmp_path / "my net.onnx", net.node("Relu", "x"))
    assert "cmsisnn-quantize 'my net.onnx' --calibration data.npz" in refused(path)


def test_all_that_is_not_taken_is_named_at_once_in_words_of_onnx(tmp_path: Path) -> None:
    net = Net((1, 4, 8, 9))
    values = net.constant(np.arange(4 * 4 * 9, dtype=np.uint8).reshape(4, 4, 3, 3))
    w = net.node("DequantizeLinear", values, net.constant(np.float32(0.01)), net.constant(np.uint8(7)))
    y = net.q(net.node("Conv", image(net), w), 0.05)
    y = net.q(net.node("LRN", net.q(net.node("Softplus", y), 0.05), size=3), 0.05)
    text = refused(net.save(tmp_path / "net.onnx", y))
    assert "Conv (1x, first 'Conv_" in text
    assert "WeightSymmetric" in text
    assert "LRN (1x, first 'LRN_" in text
    assert "Softplus (1x, first 'Softplus_" in text


REFUSED = {
    "dynamic quantisation": (
        lambda net: net.node("MatMulInteger", *net.node("DynamicQuantizeLinear", "x", outputs=3)[:1],
                             net.constant(np.ones((4, 3), np.int8))),
        "quantise with quantize_static",
    ),
    "weights alone": (lambda net: net.node("MatMul", "x", net.weights((4, 3), 1)), "its input 'x' is float"),
    "float weights": (
        lambda net: net.q(net.node("MatMul", image(net), net.constant(np.ones((4, 3), np.float32))), 0.1), "are float"
    ),
    "a float output": (
        lambda net: net.node("MatMul", image(net), net.weights((4, 3), 1)), "expected QuantizeLinear and DequantizeLinear"
    ),
    "two products": (
        lambda net: net.q(net.node("MatMul", image(net), net.node("Transpose", image(net))), 0.1), "a product of two"
    ),
    "a scale of 0": (lambda net: net.q(net.node("Relu", net.q("x", 0.0)), 0.1), "finite numbers above 0"),
    "two scales of one tensor": (
        lambda net: net.node("DequantizeLinear", net.quantise("x", 0.1), *net.numbers(0.2)), "is read as 0.2, 0"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_meant_is_refused(tmp_path: Path, name: str) -> None:
    build, says = REFUSED[name]
    net = Net((1, 4))
    assert says in refused(net.save(tmp_path / "net.onnx", build(net)))
