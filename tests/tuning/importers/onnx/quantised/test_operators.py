# SPDX-License-Identifier: Apache-2.0
"""Operators of quantised ONNX files against ONNX's own evaluator."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import tuning
from helpers.onnx_quantised import Case, Net, runs

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


def _unary(op: str, scale: float = 0.015, zero_point: int = -20, opset: int = 19, **attributes: object) -> Case:
    def build(net: Net) -> str:
        net.opset = max(net.opset, opset)
        return net.q(net.node(op, image(net), **attributes), scale, zero_point)

    return build


def _old_gelu(net: Net) -> str:
    """Erf and arithmetic, up to opset 19."""
    x = image(net)
    y = net.node("Erf", net.node("Div", x, net.constant(np.float32(np.sqrt(2)))))
    y = net.node("Mul", x, net.node("Add", y, net.constant(np.float32(1))))
    return net.q(net.node("Mul", y, net.constant(np.float32(0.5))), 0.012, -50)


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


def _islands(net: Net) -> str:
    """What ONNX Runtime's quantiser leaves in float, in front of what is one of integers."""
    y = net.node("AveragePool", net.node("Tanh", image(net)), kernel_shape=[2, 2], strides=[2, 2])
    return net.q(net.node("HardSwish", y), 0.006, -90)


def _resize(net: Net) -> str:
    sizes = net.constant(np.array([1, 1, 2, 2], np.float32))
    modes = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    return net.node(
        "Conv", net.node("Resize", image(net), "", sizes, mode="nearest", **modes), net.weights((3, 4, 1, 1))
    )


def _padded(net: Net, value: float = 0.0) -> str:
    amounts = net.constant(np.array([0, 0, 1, 2, 0, 0, 1, 0], I64))
    y = net.node("Pad", image(net), amounts, net.constant(np.float32(value)))
    return net.q(net.node("Conv", y, net.weights((3, 4, 3, 3))), 0.05)


def _keras_normalisation(net: Net) -> str:
    """Keras writes batch normalisation channels last; ONNX Runtime's quantiser leaves Sub's constant as it is."""
    y = net.q(net.node("Conv", image(net), net.weights((6, 4, 3, 3))), 0.06, 2)
    y = net.node("Transpose", y, perm=[0, 2, 3, 1])
    mean, slope = (net.rng.uniform(0.4, 1.6, (1, 1, 1, 6)).astype(np.float32) for _ in "ab")
    y = net.q(net.node("Sub", y, net.constant(mean)), 0.06, -7)
    y = net.q(net.node("Div", y, net.constant(slope)), 0.07, 5)
    return net.q(net.node("Conv", net.node("Transpose", y, perm=[0, 3, 1, 2]), net.weights((3, 6, 1, 1))), 0.2)


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
    "average pool of a finer scale": (
        _pooled("AveragePool", 0.006, 20, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1], count_include_pad=1),
        (1, 5, 8, 11),
    ),
    "average pool of SAME_UPPER": (
        _pooled("AveragePool", kernel_shape=[3, 3], strides=[2, 2], auto_pad="SAME_UPPER"), (1, 5, 8, 11)
    ),
    "global average pool": (_pooled("GlobalAveragePool", 0.004, 60), (1, 4, 7, 8)),
    "global max pool": (_pooled("GlobalMaxPool"), (1, 4, 7, 8)),
    "mean of an image": (_reduced("ReduceMean", (2, 3), 0, 0.004, 60), (1, 4, 7, 8)),
    "mean of channels": (_reduced("ReduceMean", (1,), 1, 0.004, 60), (1, 4, 7, 8)),
    "max of an image": (_reduced("ReduceMax", (2, 3), 0), (1, 4, 7, 8)),
    "max over time": (_reduced("ReduceMax", (1,), 0), (1, 7, 5)),
    "max over channels": (_reduced("ReduceMax", (1,), 1), (1, 4, 7, 8)),
    "max over all but channels, channels last": (_reduced("ReduceMax", (1, 2), 0), (1, 6, 7, 4)),
    "max pool of a function": (
        lambda net: net.q(net.node("MaxPool", net.node("HardSwish", image(net)), kernel_shape=[2, 2]), 0.02, -100),
        (1, 3, 6, 5),
    ),
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
    "elu of another slope": (_unary("Elu", 0.02, -60, alpha=0.4), (1, 12)),
    "selu": (_unary("Selu", 0.02), (1, 12)),
    "celu": (_unary("Celu", alpha=0.7), (1, 12)),
    "gelu": (_unary("Gelu", opset=20), (1, 12)),
    "gelu by tanh": (_unary("Gelu", opset=20, approximate="tanh"), (1, 12)),
    "gelu as older exporters write it": (_old_gelu, (1, 12)),
    "softplus": (_unary("Softplus", 0.01, -128), (1, 12)),
    "softsign": (_unary("Softsign", 0.006, 0), (1, 12)),
    "mish": (_unary("Mish", opset=18), (1, 12)),
    "power of 3": (lambda net: net.q(net.node("Pow", image(net), net.constant(np.float32(3))), 0.1), (1, 12)),
    "sigmoid": (_unary("Sigmoid", 1 / 255, -128), (1, 12)),
    "tanh": (_unary("Tanh", 1 / 127, 0), (1, 12)),
    "hard sigmoid": (_unary("HardSigmoid", 1 / 255, -128, alpha=0.2), (1, 12)),
    "hard swish": (_unary("HardSwish"), (1, 12)),
    "silu in two operators": (_silu, (1, 12)),
    "squeeze and excite": (_squeeze_excite, (1, 4, 8, 9)),
    "batch normalisation": (_batch_norm, (1, 4, 5, 5)),
    "a float factor per channel": (_scale_per_channel, (1, 4, 5, 5)),
    "float constants per channel, channels last": (_keras_normalisation, (1, 4, 7, 8)),
    "dense over time, mean, softmax": (_over_time, (1, 1, 5, 8)),
    "channels last outside": (_channels_last, (1, 6, 6, 8)),
    "scale behind a pool": (_late_quantisation, (1, 4, 8, 9)),
    "functions and averages that stay float": (_islands, (1, 4, 8, 10)),
    "resize": (lambda net: net.q(_resize(net), 0.05), (1, 4, 4, 5)),
    "pad": (_padded, (1, 4, 6, 6)),
    "pad of a number": (lambda net: _padded(net, 0.5), (1, 4, 6, 6)),
}  # fmt: skip
TWO_ROUNDINGS = ("squeeze and excite", "dense over time, mean, softmax", "gemm of an image", "gemm transposed",
                 "gemm with alpha and beta", "matmul and bias", "scale behind a pool",
                 "functions and averages that stay float")  # fmt: skip
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
