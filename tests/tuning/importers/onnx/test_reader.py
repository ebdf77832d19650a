# SPDX-License-Identifier: Apache-2.0
"""ONNX in: what is read computes what onnx.reference computes; what cannot be read is named."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from helpers.onnx_models import model, node, reference, save
from tuning import ModelError
from tuning.importers.onnx import file as onnx_file
from tuning.importers.onnx.branches import function_of
from tuning.quantize import FloatNetwork, load_onnx, quantize_model
from tuning.quantize.data import channels_last
from tuning.quantize.forward import run

RNG = np.random.default_rng(7)
START = RNG.bit_generator.state


@pytest.fixture(autouse=True)
def _same_numbers_in_any_order() -> None:
    RNG.bit_generator.state = START


def draw(*shape: int) -> np.ndarray:
    return RNG.normal(0, 1, shape)


def forward(network: FloatNetwork, x: np.ndarray) -> np.ndarray:
    """The output, laid out as the ONNX model's."""
    inputs = channels_last(x, network.input_shape, network.input_layout)
    *_, (_, out) = run(network.geometry("q7"), network.arrays(), inputs, network.softmax_base)
    return out.transpose(0, 3, 1, 2) if network.output_layout == "NCHW" and out.ndim == 4 else out


def check(
    proto: onnx.ModelProto, ops: Sequence[str] | None = None, batch: int = 3, judge: onnx.ModelProto | None = None
) -> FloatNetwork:
    """What is read gives the reference's numbers (or those of the model `judge`), and consists of `ops`."""
    sizes = [dim.dim_value for dim in proto.graph.input[0].type.tensor_type.shape.dim]
    x = RNG.normal(0.2, 1, (sizes[0] or batch, *sizes[1:])).astype(np.float32)
    network = load_onnx(proto)
    wanted = reference(judge or proto, x)
    got = forward(network, x)
    assert got.size == wanted.size
    assert np.abs(got.reshape(wanted.shape) - wanted).max() <= 1e-4 * max(1, np.abs(wanted).max())
    assert np.ptp(wanted) > 0
    if ops is not None:
        assert [layer.op for layer in network.layers] == list(ops)
    return network


CONV = {"w": draw(6, 3, 3, 3), "b": draw(6)}
BN = {"gamma": 0.5 + RNG.random(6), "beta": draw(6), "mean": draw(6), "var": 0.5 + RNG.random(6)}
BN_INPUTS = ["gamma", "beta", "mean", "var"]


@pytest.mark.parametrize(
    ("attributes", "size"),
    [
        ({}, (8, 8)),
        ({"pads": [1, 1, 1, 1]}, (8, 8)),
        ({"strides": [2, 2], "pads": [1, 1, 1, 1]}, (9, 8)),
        ({"pads": [0, 0, 1, 1], "strides": [2, 2]}, (8, 8)),  # TensorFlow's `same` on even sizes
        ({"auto_pad": "SAME_UPPER", "strides": [2, 2]}, (8, 7)),
        ({"auto_pad": "SAME_LOWER", "strides": [2, 2]}, (8, 8)),
        ({"auto_pad": "VALID", "strides": [1, 2]}, (8, 9)),
        ({"pads": [2, 0, 1, 2]}, (8, 8)),
        ({"pads": [0, 2, 1, 0]}, (5, 8)),
        ({"pads": [3, 4, 3, 4]}, (6, 6)),  # whole windows of padding
        ({"pads": [0, 0, 2, 5], "strides": [3, 2]}, (7, 7)),
        ({"auto_pad": "NOTSET", "dilations": [1, 1], "kernel_shape": [3, 3], "group": 1}, (8, 8)),
    ],
)
def test_any_padding_of_a_convolution(attributes: dict, size: tuple[int, int]) -> None:
    plain = [node("Conv", ["x", "w", "b"], ["y"], **attributes)]
    check(model(plain, CONV, ("n", 3, *size)), ["conv2d"])
    depthwise = [node("Conv", ["x", "w"], ["y"], **{**attributes, "group": 3})]
    check(model(depthwise, {"w": draw(3, 1, 3, 3)}, ("n", 3, *size)), ["depthwise_conv2d"])


def test_grouped_convolutions_become_dense_ones() -> None:
    for channels, group, out in ((4, 2, 6), (3, 3, 6), (6, 3, 3)):
        weights = {"w": draw(out, channels // group, 3, 2), "b": draw(out)}
        proto = model([node("Conv", ["x", "w", "b"], ["y"], group=group)], weights, ("n", channels, 6, 6))
        network = check(proto, ["conv2d"])
        assert any(f"{group} times the work" in note for note in network.notes)


def test_equal_and_tensorflow_padding_need_no_larger_kernel() -> None:
    for attributes, padding in (
        ({"pads": [1, 1, 1, 1]}, [1, 1]),
        ({"pads": [0, 0, 1, 1], "strides": [2, 2]}, "same"),
        ({"pads": [1, 1, 0, 0], "strides": [2, 2]}, [1, 1]),
    ):
        (layer,) = load_onnx(model([node("Conv", ["x", "w", "b"], ["y"], **attributes)], CONV)).layers
        assert layer.keys["padding"] == padding
        assert layer.weights.shape == (6, 3, 3, 3)


@pytest.mark.parametrize("opset", [7, 9, 11, 12, 13, 14, 15, 17, 18, 20, 21])
def test_operator_sets(opset: int) -> None:
    """A network with everything whose definition changed: attributes became inputs, axes changed meaning.

    The judge is the same network in opset 17: onnx.reference takes old batch normalisations for training.
    """
    weights = CONV | BN | {"fc": draw(6, 5) / 4, "fb": draw(5)}

    def build(version: int) -> onnx.ModelProto:
        is_new = version >= 13
        squeeze = node("Squeeze", ["f", "axes"], ["g"]) if is_new else node("Squeeze", ["f"], ["g"], axes=[2, 3])
        nodes = [
            node("Conv", ["x", "w", "b"], ["a"], pads=[1, 1, 1, 1]),
            node("BatchNormalization", ["a", *BN_INPUTS], ["bn"], epsilon=1e-3),
            node("Relu", ["bn"], ["c"]),
            node("MaxPool", ["c"], ["d"], kernel_shape=[2, 2], strides=[2, 2]),
            node("Dropout", ["d"], ["e"]),
            node("GlobalAveragePool", ["e"], ["f"]),
            squeeze,
            node("Gemm", ["g", "fc", "fb"], ["h"]),
            node("Softmax", ["h"], ["y"]),
        ]
        return model(nodes, weights | ({"axes": np.array([2, 3], np.int64)} if is_new else {}), opset=version)

    ops = ["conv2d", "max_pool2d", "avg_pool2d", "fully_connected", "softmax"]
    check(build(opset), ops, judge=build(17))


def test_dense_columns_follow_the_layout_of_their_input() -> None:
    """Flatten of channels first, of channels last, and by Reshape with a computed shape, as PyTorch exports it."""
    fc = {"fc": draw(6 * 8 * 8, 4)}
    conv = node("Conv", ["x", "w", "b"], ["a"], pads=[1, 1, 1, 1])
    first = check(model([conv, node("Flatten", ["a"], ["f"]), node("MatMul", ["f", "fc"], ["y"])], CONV | fc))
    last = [
        conv,
        node("Transpose", ["a"], ["t"], perm=[0, 2, 3, 1]),
        node("Flatten", ["t"], ["f"], axis=-3),
        node("MatMul", ["f", "fc"], ["y"]),
    ]
    second = check(model(last, CONV | fc))
    assert not np.array_equal(first.layers[1].weights, second.layers[1].weights)
    assert np.array_equal(second.layers[1].weights, fc["fc"].T.astype(np.float32))
    view = [
        conv,
        node("Shape", ["a"], ["s"]),
        node("Constant", [], ["zero"], value=numpy_helper.from_array(np.array(0, np.int64))),
        node("Gather", ["s", "zero"], ["n"]),
        node("Unsqueeze", ["n", "axis"], ["n1"]),
        node("Concat", ["n1", "rest"], ["shape"], axis=0),
        node("Reshape", ["a", "shape"], ["f"]),
        node("MatMul", ["f", "fc"], ["y"]),
    ]
    more = {"axis": np.array([0], np.int64), "rest": np.array([-1], np.int64)}
    for batch in ("n", 1, 4):
        check(model(view, CONV | fc | more, (batch, 3, 8, 8)), ["conv2d", "fully_connected"])


def test_channels_last_models_of_tf2onnx() -> None:
    nodes = [
        node("Transpose", ["x"], ["t"], perm=[0, 3, 1, 2]),
        node("Pad", ["t", "pads"], ["p"]),
        node("Conv", ["p", "w", "b"], ["a"], strides=[2, 2]),
        node("Clip", ["a", "zero", "six"], ["r"]),
        node("Transpose", ["r"], ["u"], perm=[0, 2, 3, 1]),
        node("ReduceMean", ["u"], ["m"], axes=[1, 2], keepdims=0),
        node("MatMul", ["m", "fc"], ["k"]),
        node("Add", ["k", "fb"], ["y"]),
    ]
    weights = CONV | {
        "pads": np.array([0, 0, 0, 0, 0, 0, 1, 1], np.int64),
        "zero": np.zeros(()),
        "six": np.array(1.5),
        "fc": draw(6, 4),
        "fb": draw(4),
    }
    network = check(model(nodes, weights, ("n", 8, 8, 3)), ["conv2d", "avg_pool2d", "fully_connected"])
    assert network.input_layout == "NHWC"
    assert network.layers[0].clip == 1.5
    assert network.layers[0].keys["padding"] == "same"


@pytest.mark.parametrize("trans", [0, 1])
def test_gemm_with_everything(trans: int) -> None:
    weights = draw(5, 12) if trans else draw(12, 5)
    for bias in (draw(5), draw(1, 5), draw(1), np.array(0.5)):
        nodes = [node("Gemm", ["x", "w", "c"], ["y"], transB=trans, alpha=0.5, beta=-2.0)]
        check(model(nodes, {"w": weights, "c": bias}, ("n", 12)), ["fully_connected"])
    check(model([node("Gemm", ["x", "w"], ["y"], transB=trans)], {"w": weights}, ("n", 12)), ["fully_connected"])


def test_weights_made_by_constant_nodes() -> None:
    nodes = [
        node("Constant", [], ["w0"], value=numpy_helper.from_array(draw(5, 12).astype(np.float32))),
        node("Transpose", ["w0"], ["w1"], perm=[1, 0]),
        node("Identity", ["w1"], ["w2"]),
        node("Constant", [], ["half"], value_float=0.5),
        node("Mul", ["w2", "half"], ["w3"]),
        node("MatMul", ["x", "w3"], ["a"]),
        node("Constant", [], ["b"], value_floats=[1.0, 2.0, 3.0, 4.0, 5.0]),
        node("Add", ["b", "a"], ["y"]),
    ]
    check(model(nodes, {}, ("n", 12)), ["fully_connected"])


@pytest.mark.parametrize(
    ("op", "attributes", "ops"),
    [
        ("MaxPool", {"kernel_shape": [3, 3], "strides": [2, 2]}, ["max_pool2d"]),
        ("MaxPool", {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1}, ["max_pool2d"]),
        ("MaxPool", {"kernel_shape": [2, 3]}, ["max_pool2d"]),
        ("MaxPool", {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}, ["max_pool2d"]),
        ("MaxPool", {"kernel_shape": [3, 3], "strides": [2, 2], "auto_pad": "SAME_UPPER"}, ["max_pool2d"]),
        ("MaxPool", {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [0, 0, 1, 1]}, ["max_pool2d"]),
        ("AveragePool", {"kernel_shape": [2, 2], "strides": [2, 2]}, ["avg_pool2d"]),
        ("AveragePool", {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}, ["avg_pool2d"]),
        (
            "AveragePool",
            {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1], "count_include_pad": 1},
            ["depthwise_conv2d"],
        ),
        ("AveragePool", {"kernel_shape": [2, 2], "count_include_pad": 1}, ["avg_pool2d"]),
        ("GlobalAveragePool", {}, ["avg_pool2d"]),
        ("GlobalMaxPool", {}, ["max_pool2d"]),
    ],
)
def test_pools(op: str, attributes: dict, ops: list[str]) -> None:
    for size in ((8, 8), (7, 9)):
        check(model([node(op, ["x"], ["y"], **attributes)], {}, ("n", 3, *size)), ops)


@pytest.mark.parametrize(("op", "name"), [("MaxPool", "max_pool2d"), ("AveragePool", "avg_pool2d")])
def test_a_rounded_up_window_may_be_larger_than_the_image(op: str, name: str) -> None:
    larger = node(op, ["x"], ["y"], kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1)
    check(model([larger], {}, ("n", 3, 2, 4), opset=19), [name])


def test_a_padded_image_is_pooled_behind_a_relu() -> None:
    nodes = [
        node("Conv", ["x", "w", "b"], ["a"], pads=[1, 1, 1, 1]),
        node("Relu", ["a"], ["r"]),
        node("Pad", ["r"], ["p"], pads=[0, 0, 1, 1, 0, 0, 1, 1], mode="constant"),
        node("MaxPool", ["p"], ["y"], kernel_shape=[3, 3], strides=[2, 2]),
    ]
    check(model(nodes, CONV, opset=10), ["conv2d", "max_pool2d"])
    without = [nodes[0], node("Pad", ["a"], ["p"], pads=[0, 0, 1, 1, 0, 0, 1, 1]), nodes[3]]
    check(model(without, CONV, opset=10), ["conv2d", "depthwise_conv2d", "max_pool2d"])


@pytest.mark.parametrize("pads", [(1, 1, 1, 1), (0, 0, 1, 1), (3, 0, 0, 2)])
@pytest.mark.parametrize(
    ("after", "ops"),
    [
        ([node("MaxPool", ["p"], ["y"], kernel_shape=[2, 2], strides=[2, 2])], ["depthwise_conv2d", "max_pool2d"]),
        ([node("AveragePool", ["p"], ["y"], kernel_shape=[2, 2])], ["depthwise_conv2d"]),
        (
            [node("AveragePool", ["p"], ["y"], kernel_shape=[3, 3], pads=[1, 1, 1, 1])],
            ["depthwise_conv2d", "avg_pool2d"],
        ),
        ([node("Sigmoid", ["p"], ["y"])], ["depthwise_conv2d", "sigmoid"]),
        ([node("Add", ["p", "one"], ["q"]), node("Relu", ["q"], ["y"])], ["depthwise_conv2d"]),
        ([node("GlobalMaxPool", ["p"], ["y"])], ["depthwise_conv2d", "max_pool2d"]),
        (
            [node("Flatten", ["p"], ["q"]), node("MatMul", ["q", "fc"], ["y"])],
            ["depthwise_conv2d", "fully_connected"],
        ),
    ],
)
def test_zeros_around_an_image_that_no_window_takes(pads: tuple[int, ...], after: list, ops: list[str]) -> None:
    top, left, bottom, right = pads
    nodes = [node("MaxPool", ["x"], ["a"], kernel_shape=[2, 2]), node("Pad", ["a", "pads"], ["p"]), *after]
    around = {"pads": np.array([0, 0, top, left, 0, 0, bottom, right], np.int64), "one": np.ones((3, 1, 1))}
    around["fc"] = draw(3 * (7 + top + bottom) * (7 + left + right), 4)
    check(model(nodes, around), ["max_pool2d", *ops])


def test_a_pad_of_channels_is_refused() -> None:
    nodes = [node("Pad", ["x"], ["p"], pads=[0, 1, 0, 0, 0, 0, 0, 0]), node("Sigmoid", ["p"], ["y"])]
    assert "to add zeros around an image, not channels" in refused(model(nodes, opset=10))


def pooled(x: np.ndarray, kernel: int, stride: int, pads: tuple[int, int], is_ceil: bool, counts: bool) -> np.ndarray:
    """An average along the last axis as PyTorch and ONNX 22 define it: what reaches beyond the padding never counts."""
    size, (before, after) = x.shape[-1], pads
    count = (size + before + after - kernel + (stride - 1 if is_ceil else 0)) // stride + 1
    count -= is_ceil and (count - 1) * stride >= size + before
    means = []
    for start in range(-before, -before + count * stride, stride):
        total = x[..., max(start, 0) : min(start + kernel, size)].sum(axis=-1)
        ends = (-before, size + after) if counts else (0, size)
        means.append(total / (min(start + kernel, ends[1]) - max(start, ends[0])))
    return np.stack(means, axis=-1)


@pytest.mark.parametrize("is_ceil", [0, 1])
@pytest.mark.parametrize("counts", [0, 1])
@pytest.mark.parametrize(("kernel", "stride", "pads"), [
    (7, 3, (0, 3)), (3, 2, (1, 1)), (3, 2, (1, 0)), (4, 3, (2, 1)), (2, 2, (0, 1)), (5, 1, (0, 3)), (3, 5, (1, 2)),
])  # fmt: skip
def test_averages_over_any_edge(kernel: int, stride: int, pads: tuple[int, int], counts: int, is_ceil: int) -> None:
    keys = {"kernel_shape": [kernel], "strides": [stride], "pads": list(pads), "ceil_mode": is_ceil}
    pool = node("AveragePool", ["x"], ["y"], **keys, count_include_pad=counts)
    for size in (9, 10, 11):
        x = draw(4, 3, size).astype(np.float32)
        network = load_onnx(model([pool], {}, ("n", 3, size), opset=19))
        wanted = pooled(x, kernel, stride, pads, bool(is_ceil), bool(counts))
        assert np.abs(forward(network, x).reshape(wanted.shape) - wanted).max() < 1e-5
        result = quantize_model(network, x, "q7")
        assert result.report[-1].snr_db > 20


@pytest.mark.parametrize("pads", [(0, 1, 1, 0), (1, 0, 0, 1), (0, 0, 2, 2), (2, 1, 0, 0)])
def test_maxima_over_any_edge(pads: tuple[int, ...]) -> None:
    pool = node("MaxPool", ["x"], ["y"], kernel_shape=[3, 3], pads=list(pads))
    x = draw(4, 3, 8, 8).astype(np.float32)
    around = ((0, 0), (0, 0), (pads[0], pads[2]), (pads[1], pads[3]))
    padded = np.pad(x, around, constant_values=-np.inf)
    wanted = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3)).max(axis=(4, 5))
    assert np.array_equal(forward(load_onnx(model([pool], {})), x), wanted)


@pytest.mark.parametrize("shape", [(), (1,)])
def test_the_value_of_a_pad_may_have_an_axis(shape: tuple[int, ...]) -> None:
    nodes = [node("Pad", ["x", "pads", "value"], ["p"]), node("Conv", ["p", "w", "b"], ["y"])]
    around = {"pads": np.array([0, 0, 1, 1, 0, 0, 1, 1], np.int64), "value": np.zeros(shape, np.float32)}
    check(model(nodes, CONV | around), ["conv2d"])
    around["value"] = np.zeros(2, np.float32)
    with pytest.raises(ModelError, match="expected one value, got 2"):
        load_onnx(model(nodes, CONV | around))


def test_causal_convolutions_of_keras() -> None:
    """A Pad in front of the axis that makes an image of a sequence."""
    nodes = [
        node("Transpose", ["x"], ["t"], perm=[0, 2, 1]),
        node("Pad", ["t", "pads"], ["p"]),
        node("Unsqueeze", ["p", "axis"], ["u"]),
        node("Conv", ["u", "w"], ["c"]),
        node("Squeeze", ["c", "axis"], ["y"]),
    ]
    constants = {"w": draw(5, 3, 1, 3), "axis": np.array([2], np.int64), "pads": np.array([0, 0, 2, 0, 0, 0], np.int64)}
    check(model(nodes, constants, ("n", 16, 3)), ["conv2d"])
    both = {"pads": np.array([0, 0, 2, 0, 0, 0, 0, 0], np.int64), "axis": np.array([2], np.int64)}
    padded = [node("Pad", ["x", "pads"], ["p"]), node("Squeeze", ["p", "axis"], ["y"])]
    with pytest.raises(ModelError, match=r"Squeeze"):
        load_onnx(model(padded, both, ("n", 3, 1, 4)))


def test_a_dense_layer_over_time_is_a_convolution_of_one_step() -> None:
    nodes = [
        node("MatMul", ["x", "w"], ["a"]),
        node("Add", ["a", "b"], ["c"]),
        node("Relu", ["c"], ["r"]),
        node("ReduceMean", ["r"], ["m"], axes=[1], keepdims=0),
        node("MatMul", ["m", "v"], ["y"]),
    ]
    constants = {"w": draw(6, 5), "b": draw(5), "v": draw(5, 3)}
    network = check(model(nodes, constants, ("n", 20, 6), opset=13), ["conv2d", "avg_pool2d", "fully_connected"])
    assert network.input_shape == (1, 20, 6)
    check(model([nodes[0], node("Relu", ["a"], ["y"])], constants, ("n", 20, 6)), ["conv2d"])


def test_all_operators_that_nobody_knows_are_named_first() -> None:
    nodes = [
        node("Transpose", ["x"], ["t"], perm=[1, 0, 2]),
        node("Erf", ["t"], ["e"], name="erf"),
        node("Mish", ["e"], ["m"], name="mish"),
        node("Erf", ["m"], ["y"]),
    ]
    with pytest.raises(ModelError, match=r"\(Erf\): the operator is not supported, nor is node .mish. \(Mish\)\."):
        load_onnx(model(nodes, {}, ("n", 4, 3), opset=18))


def test_a_mean_of_each_axis_is_one_of_the_image() -> None:
    conv = node("Conv", ["x", "w", "b"], ["a"], pads=[1, 1, 1, 1])
    dense = node("MatMul", ["p", "fc"], ["y"])
    for op, ours in (("ReduceMean", "avg_pool2d"), ("ReduceMax", "max_pool2d")):
        for first, second in ((3, 2), (2, 2), (-1, -1), (-2, 2)):
            means = [node(op, [a], [b], axes=[at], keepdims=0) for a, b, at in (("a", "m", first), ("m", "p", second))]
            weights = CONV | {"fc": draw(6, 4)}
            network = check(model([conv, *means, dense], weights, ("n", 3, 8, 5)), ["conv2d", ours, "fully_connected"])
            assert network.layers[1].keys["kernel"] == [8, 5]
        one = [node(op, ["a"], ["m"], axes=[3], keepdims=0), node("Flatten", ["m"], ["p"]), dense]
        check(model([conv, *one], CONV | {"fc": draw(48, 4)}, ("n", 3, 8, 5)), ["conv2d", ours, "fully_connected"])
        last = [node("Transpose", ["a"], ["t"], perm=[0, 2, 3, 1]), node(op, ["t"], ["y"], axes=[2], keepdims=1)]
        check(model([conv, *last], CONV, ("n", 3, 8, 5)), ["conv2d", ours])


def test_weights_in_magnitude_and_direction() -> None:
    """PyTorch's weight_norm, as its older form is exported: constants all of it."""
    constants = {"v": draw(6, 3, 3, 3), "g": 0.5 + RNG.random((6, 1, 1, 1)), "b": draw(6)}
    norm = [
        node("ReduceL2", ["v"], ["length"], axes=[1, 2, 3], keepdims=1), node("Div", ["v", "length"], ["direction"]),
        node("Mul", ["direction", "g"], ["w"]),
    ]  # fmt: skip
    network = check(model([*norm, node("Conv", ["x", "w", "b"], ["y"])], constants, ("n", 3, 8, 5)), ["conv2d"])
    lengths = np.linalg.norm(network.layers[0].weights.reshape(6, -1), axis=1)
    np.testing.assert_allclose(lengths, constants["g"].ravel(), rtol=1e-5)


@pytest.mark.parametrize("is_tall", [True, False])
@pytest.mark.parametrize("after", ["conv", "pool", "average", "pad", "dense over time", "batch norm", "image"])
def test_a_sequence_may_lie_along_either_axis(after: str, is_tall: bool) -> None:
    """What an axis of size 1 leaves over is a sequence; the network's tensor stays a column where it is one."""
    size, kernel = ((20, 6), (1, 6)) if is_tall else ((6, 20), (6, 1))
    nodes = [node("Conv", ["x", "k"], ["a"]), node("Squeeze", ["a", "axes"], ["s"])]
    weights = {"k": draw(4, 3, *kernel), "axes": np.array([3 if is_tall else 2], np.int64), "w": draw(5, 4, 3)}
    weights |= {"fc": draw(4, 5), "c": draw(5), "two": np.array([2], np.int64), "i": draw(5, 4, 3, 2), "b": draw(4)}
    weights |= {"pads": np.array([0, 0, 2, 0, 0, 1], np.int64)}
    nodes += {
        "conv": [node("Conv", ["s", "w", "c"], ["y"], pads=[2, 1], strides=[2])],
        "pool": [node("MaxPool", ["s"], ["y"], kernel_shape=[3], strides=[2], pads=[0, 1])],
        "average": [node("AveragePool", ["s"], ["y"], kernel_shape=[3], pads=[1, 1], count_include_pad=1)],
        "pad": [node("Pad", ["s", "pads"], ["p"]), node("Sigmoid", ["p"], ["y"])],
        "dense over time": [
            node("Transpose", ["s"], ["t"], perm=[0, 2, 1]), node("MatMul", ["t", "fc"], ["y"]),
        ],
        "batch norm": [
            node("Relu", ["s"], ["r"]), node("BatchNormalization", ["r", *["b"] * 2, "b", "v"], ["n"]),
            node("Conv", ["n", "w", "c"], ["y"], pads=[1, 1]),
        ],
        "image": [
            node("Unsqueeze", ["s", "two"], ["u"]), node("Pad", ["u", "around"], ["p"]),
            node("Conv", ["p", "i"], ["q"]), node("Flatten", ["q"], ["f"]), node("MatMul", ["f", "last"], ["y"]),
        ],
    }[after]  # fmt: skip
    weights |= {"v": 0.5 + RNG.random(4), "around": np.array([0, 0, 1, 1, 0, 0, 2, 1], np.int64), "last": draw(210, 4)}
    network = check(model(nodes, weights, ("n", 3, *size)))
    x = draw(30, 3, *size).astype(np.float32)
    assert quantize_model(network, x, "q15").report[-1].snr_db > 45


def test_an_image_whose_sides_are_swapped() -> None:
    for weights in (draw(6, 3, 3, 2), draw(3, 1, 2, 3)):
        conv = node("Conv", ["t", "k"], ["a"], pads=[1, 0, 2, 1], strides=[1, 2], group=3 // weights.shape[1])
        rest = [
            node("Relu", ["a"], ["r"]),
            node("MaxPool", ["r"], ["m"], kernel_shape=[3, 2], strides=[1, 2]),
            node("Flatten", ["m"], ["f"]),
            node("MatMul", ["f", "fc"], ["y"]),
        ]
        turn = node("Transpose", ["x"], ["t"], perm=[0, 1, 3, 2])
        cut = model([turn, conv, *rest[:3]], {"k": weights}, (1, 3, 9, 7), outputs=("f",))
        count = reference(cut, draw(1, 3, 9, 7)).size
        check(model([turn, conv, *rest], {"k": weights, "fc": draw(count, 4)}, ("n", 3, 9, 7)))
        turn = node("Transpose", ["q"], ["t"], perm=[0, 1, 3, 2])
        behind = [node("MaxPool", ["x"], ["q"], kernel_shape=[1, 1]), turn]
        check(model([*behind, conv, *rest], {"k": weights, "fc": draw(count, 4)}, ("n", 3, 9, 7)))


def test_another_image_of_as_many_elements_is_refused() -> None:
    """Its elements lie as the previous one's do, but their neighbours are others."""
    nodes = [
        node("Conv", ["x", "w", "b"], ["a"]),
        node("Reshape", ["a", "shape"], ["r"]),
        node("MaxPool", ["r"], ["y"], kernel_shape=[2, 2]),
    ]
    assert "would move elements" in refused(model(nodes, CONV | {"shape": np.array([0, 6, 4, 9], np.int64)}))


@pytest.mark.parametrize("axes", [[-1], [1], None])
def test_a_lone_output_without_its_axis(axes: list[int] | None) -> None:
    nodes = [node("MatMul", ["x", "w"], ["a"]), node("Squeeze", ["a", "axes"] if axes else ["a"], ["y"])]
    weights = {"w": draw(6, 1)} | ({"axes": np.array(axes, np.int64)} if axes else {})
    check(model(nodes, weights, (3, 6)), ["fully_connected"])
    weights["axes"] = np.array([-1], np.int64)
    check(model([nodes[0], node("Reshape", ["a", "axes"], ["y"])], weights, (3, 6)), ["fully_connected"])


def test_a_last_operator_may_drop_a_batch_of_one() -> None:
    weights = {"w": draw(6, 5), "zero": np.array([0], np.int64), "shape": np.array([-1], np.int64)}
    dense = node("MatMul", ["x", "w"], ["a"])
    for op, inputs in (("Squeeze", ["a", "zero"]), ("Squeeze", ["a"]), ("Reshape", ["a", "shape"])):
        check(model([dense, node(op, inputs, ["y"])], weights, (1, 6)), ["fully_connected"])
    relu = [node("Squeeze", ["a", "zero"], ["s"]), node("Relu", ["s"], ["y"])]
    assert "not the batch" in refused(model([dense, *relu], weights, (1, 6)))


@pytest.mark.parametrize("batch", [1, 2])
def test_strides_that_pytorch_writes_as_a_gather(batch: int) -> None:
    """Of a model in channels_last: the whole batch flat, each element taken once, in the shape that it has."""
    nodes = [
        node("Conv", ["x", "w", "b"], ["a"]),
        node("GlobalAveragePool", ["a"], ["m"]),
        node("Reshape", ["m", "flat"], ["f"]),
        node("Gather", ["f", "indices"], ["g"]),
        node("Reshape", ["g", "shape"], ["v"]),
        node("MatMul", ["v", "fc"], ["y"]),
    ]
    indices = np.arange(6 * batch).reshape(batch, 6, 1, 1)
    shapes = {"flat": np.array([-1], np.int64), "shape": np.array([batch, 6], np.int64), "indices": indices}
    ops = ["conv2d", "avg_pool2d", "fully_connected"]
    check(model(nodes, CONV | shapes | {"fc": draw(6, 4)}, (batch, 3, 8, 8)), ops)
    turned = shapes | {"indices": np.ascontiguousarray(indices[:, ::-1])}
    check(model(nodes, CONV | turned | {"fc": draw(6, 4)}, (batch, 3, 8, 8)), ops)
    part = shapes | {"indices": indices // 2}
    assert "every element of a sample once" in refused(model(nodes, CONV | part | {"fc": draw(6, 4)}, (batch, 3, 8, 8)))
    without = [*nodes[:3], node("MatMul", ["f", "fc"], ["y"])]
    assert "torch.contiguous_format" in refused(model(without, CONV | shapes | {"fc": draw(6, 4)}, (batch, 3, 8, 8)))


def test_a_gather_that_rearranges() -> None:
    nodes = [node("Gather", ["x", "i"], ["g"], axis=1), node("MatMul", ["g", "w"], ["y"])]
    weights = {"w": draw(4, 3), "i": np.array([2, 0, -1, 1], np.int64)}
    check(model(nodes, weights, ("n", 4)), ["fully_connected"])
    for indices in ([0, 1], [0, 1, 2, 2], [0, 1, 2, 7]):
        weights["i"] = np.array(indices, np.int64)
        weights["w"] = draw(len(indices), 3)
        assert "every element of a sample once" in refused(model(nodes, weights, ("n", 4)))


@pytest.mark.parametrize("op", ["Relu", "Sigmoid", "Softmax"])
def test_an_element_wise_layer_may_come_first(op: str) -> None:
    first = node(op, ["x"], ["a"])
    flat = [node("Flatten", ["x"], ["f"]), node(op, ["f"], ["y"])]
    check(model(flat, {}, ("n", 3, 2, 2)))
    check(model([node("Softmax", ["x"], ["y"])], {}, ("n", 7)), ["softmax"])
    if op != "Softmax":
        check(model([first, node("Conv", ["a", "w", "b"], ["y"])], CONV))
        check(model([first, node("Flatten", ["a"], ["f"]), node("MatMul", ["f", "fc"], ["y"])], {"fc": draw(192, 4)}))
        one = [first, node("Conv", ["a", "k"], ["y"])]
        check(model(one, {"k": draw(4, 1, 3, 3)}, ("n", 1, 8, 6)))


def test_one_dimensional_convolutions() -> None:
    nodes = [
        node("Conv", ["x", "w", "b"], ["a"], pads=[2, 1], strides=[2]),
        node("BatchNormalization", ["a", *BN_INPUTS], ["bn"]),
        node("Relu", ["bn"], ["r"]),
        node("MaxPool", ["r"], ["p"], kernel_shape=[2], strides=[2]),
        node("Conv", ["p", "dw"], ["d"], group=6, pads=[1, 1]),
        node("GlobalAveragePool", ["d"], ["g"]),
        node("Flatten", ["g"], ["f"]),
        node("Gemm", ["f", "fc"], ["y"]),
    ]
    weights = {"w": draw(6, 3, 4), "b": draw(6), "dw": draw(6, 1, 3), "fc": draw(6, 2)} | BN
    ops = ["conv2d", "max_pool2d", "depthwise_conv2d", "avg_pool2d", "fully_connected"]
    assert check(model(nodes, weights, ("n", 3, 20)), ops).input_shape == (1, 20, 3)


def test_scales_and_shifts_go_where_they_can() -> None:
    """Behind a layer, in front of one, through a pool; and where neither will do, into a layer of their own."""
    conv = node("Conv", ["h", "w", "b"], ["y"])
    normal = [node("Sub", ["x", "mean3"], ["g"]), node("Div", ["g", "std3"], ["h"])]
    preprocess = {"mean3": draw(1, 3, 1, 1), "std3": 0.5 + RNG.random((3, 1, 1))}
    check(model([*normal, conv], CONV | preprocess), ["conv2d"])
    padded = node("Conv", ["h", "w", "b"], ["y"], pads=[1, 1, 1, 1])
    check(model([*normal, padded], CONV | preprocess), ["depthwise_conv2d", "conv2d"])
    scaled = [node("Mul", ["x", "std3"], ["h"]), padded]
    check(model(scaled, CONV | preprocess), ["conv2d"])
    after = [
        node("Conv", ["x", "w", "b"], ["a"]),
        node("Relu", ["a"], ["r"]),
        node("BatchNormalization", ["r", *BN_INPUTS], ["n"]),
        node("MaxPool", ["n"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
        node("Flatten", ["p"], ["f"]),
        node("Gemm", ["f", "fc"], ["y"]),
    ]
    fc = {"fc": draw(6 * 9, 4)}
    check(model(after, CONV | BN | fc), ["conv2d", "max_pool2d", "fully_connected"])
    check(
        model(after, CONV | BN | {"gamma": -BN["gamma"]} | fc),
        ["conv2d", "depthwise_conv2d", "max_pool2d", "fully_connected"],
    )
    preactivation = [*after[:3], node("Relu", ["n"], ["y"])]
    check(model(preactivation, CONV | BN), ["conv2d", "depthwise_conv2d"])
    swapped = [node("Conv", ["x", "w", "b"], ["a"]), node("Sub", ["one", "a"], ["c"]), node("Relu", ["c"], ["y"])]
    check(model(swapped, CONV | {"one": np.ones(1)}), ["conv2d"])


def test_activations() -> None:
    for op in ("Relu", "Sigmoid", "Tanh"):
        check(model([node("Gemm", ["x", "w"], ["a"]), node(op, ["a"], ["y"])], {"w": draw(9, 4)}, ("n", 9)))
    with_limits = [node("Gemm", ["x", "w"], ["a"]), node("Clip", ["a", "low"], ["y"])]
    (layer,) = check(model(with_limits, {"w": draw(9, 4), "low": np.zeros(())}, ("n", 9))).layers
    assert layer.keys == {"activation": "relu"}
    assert layer.clip is None
    pair = [node("Gemm", ["x", "w"], ["a"]), node("Max", ["low", "a"], ["b"]), node("Min", ["b", "high"], ["y"])]
    limits = {"low": np.zeros(()), "high": np.array(1.5)}
    (layer,) = check(model(pair, {"w": draw(9, 4)} | limits, ("n", 9))).layers
    assert (layer.keys, layer.clip) == ({"activation": "relu"}, 1.5)
    assert "behind a ReLU" in refused(
        model([pair[0], node("Min", ["a", "high"], ["y"])], {"w": draw(9, 4)} | limits, ("n", 9))
    )
    old = [node("Gemm", ["x", "w"], ["a"]), node("Clip", ["a"], ["y"], min=0.0, max=2.0)]
    assert check(model(old, {"w": draw(9, 4)}, ("n", 9), opset=9)).layers[0].clip == 2.0


def test_softmax_axes() -> None:
    logits = node("Gemm", ["x", "w"], ["a"])
    for opset, axis in ((9, 1), (11, -1), (12, None), (13, 1), (13, None), (17, -1)):
        attributes = {} if axis is None else {"axis": axis}
        check(model([logits, node("Softmax", ["a"], ["y"], **attributes)], {"w": draw(9, 4)}, ("n", 9), opset))
    conv = node("Conv", ["x", "w", "b"], ["a"])
    with pytest.raises(ModelError, match=r"Softmax node .*: axis 1 of .*: expected all of a sample"):
        load_onnx(model([conv, node("Softmax", ["a"], ["y"], axis=1)], CONV))


def test_logarithms_of_probabilities_at_the_end() -> None:
    def ends_in(*nodes: onnx.NodeProto) -> onnx.ModelProto:
        return model([node("Gemm", ["x", "w"], ["a"]), *nodes], {"w": draw(9, 4)}, ("n", 9))

    RNG.bit_generator.state = START
    judge = ends_in(node("Softmax", ["a"], ["y"], axis=1))
    RNG.bit_generator.state = START
    network = check(ends_in(node("LogSoftmax", ["a"], ["y"], axis=1)), ["fully_connected", "softmax"], judge=judge)
    assert any("gives the probabilities whose logarithms" in note for note in network.notes)
    with pytest.raises(ModelError, match=r"LogSoftmax node .*: expected the end of the network"):
        load_onnx(ends_in(node("LogSoftmax", ["a"], ["l"], axis=1), node("Relu", ["l"], ["y"])))


def test_fixed_batch_and_old_files_with_weights_among_the_inputs() -> None:
    nodes = [node("Flatten", ["x"], ["f"]), node("Gemm", ["f", "w"], ["y"])]
    proto = model(nodes, {"w": draw(192, 4)}, (4, 3, 8, 8))
    proto.graph.input.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, [192, 4]))
    assert check(proto).input_shape == (192,)


def test_half_and_double_precision(tmp_path: Path) -> None:
    w = draw(12, 5)
    for dtype in (np.float16, np.float64):
        proto = model([node("MatMul", ["x", "w"], ["y"])], {}, ("n", 12))
        proto.graph.initializer.append(numpy_helper.from_array(w.astype(dtype), "w"))
        (layer,) = load_onnx(save(proto, tmp_path / "m.onnx")).layers
        assert np.array_equal(layer.weights, w.astype(dtype).T.astype(np.float64))


def test_local_functions_are_inlined() -> None:
    body = helper.make_function(
        "own",
        "Block",
        ["a", "w", "b"],
        ["r"],
        [node("Conv", ["a", "w", "b"], ["c"]), node("Relu", ["c"], ["r"])],
        [helper.make_opsetid("", 17)],
    )
    proto = model([node("Block", ["x", "w", "b"], ["y"], domain="own")], CONV)
    proto.opset_import.append(helper.make_opsetid("own", 1))
    proto.functions.append(body)
    check(proto, ["conv2d"])


# ---------------------------------------------------------------- what is refused


def refused(proto: onnx.ModelProto) -> str:
    with pytest.raises(ModelError) as caught:
        load_onnx(proto)
    return str(caught.value)


def test_an_unsupported_operator_is_named_with_what_is_supported() -> None:
    text = refused(model([node("Conv", ["x", "w", "b"], ["a"]), node("Elu", ["a"], ["y"], name="act_3")], CONV))
    assert text.startswith("graph: node 'act_3' (Elu): the operator is not supported. Supported: Conv (")
    text = refused(model([node("Gru", ["x"], ["y"], domain="com.example")]))
    assert "com.example.Gru" in text
    assert "the com.example.Gru node that gives 'y'" in text


@pytest.mark.parametrize(
    ("nodes", "called"),
    [
        ([node("Sigmoid", ["a"], ["b"]), node("Mul", ["a", "b"], ["y"])], "a SiLU"),
        ([node("HardSigmoid", ["a"], ["b"]), node("Mul", ["b", "a"], ["y"])], "a hard-swish"),
        (
            [
                node("Add", ["a", "three"], ["b"]), node("Clip", ["b", "zero", "six"], ["c"]),
                node("Mul", ["a", "c"], ["d"]), node("Div", ["d", "six"], ["y"]),
            ],
            "a hard-swish",
        ),
        (
            [
                node("Div", ["a", "six"], ["b"]), node("Erf", ["b"], ["c"]), node("Add", ["c", "three"], ["d"]),
                node("Mul", ["a", "d"], ["y"]),
            ],
            "a GELU",
        ),
        (
            [node("Softplus", ["a"], ["b"]), node("Tanh", ["b"], ["c"]), node("Mul", ["a", "c"], ["y"])],
            "Mish",
        ),
        ([node("Conv", ["a", "v"], ["b"]), node("Sigmoid", ["b"], ["c"]), node("Mul", ["a", "c"], ["y"])], None),
        ([node("Sigmoid", ["a"], ["b"]), node("Add", ["a", "b"], ["y"])], None),
    ],
)  # fmt: skip
def test_a_function_of_one_tensor_is_called_by_its_name(nodes: list, called: str | None) -> None:
    weights = {"w": draw(6, 3, 3, 3), "three": np.array(3.0), "zero": np.array(0.0), "six": np.array(6.0)}
    proto = model([node("Conv", ["x", "w"], ["a"]), *nodes], weights | {"v": draw(6, 6, 1, 1)}, opset=22)
    assert function_of(onnx_file.read(proto), "a") == called
    text = refused(proto)
    if called and "operator is not supported" not in text:
        assert f"which together are {called}: q7 and q15 have no kernel for it; expected a ReLU there" in text
    elif called is None:
        assert "must be sequential" in text


def test_a_branch_is_named_by_its_tensor() -> None:
    residual = [
        node("Conv", ["x", "w", "b"], ["a"], name="c1"),
        node("Relu", ["a"], ["r"], name="r1"),
        node("Add", ["r", "a"], ["y"], name="sum"),
    ]
    text = refused(model(residual, CONV))
    assert text.startswith("graph: tensor 'a' is used by node 'r1' (Relu) and node 'sum' (Add)")
    assert "sequential" in text
    square = [node("Conv", ["x", "w", "b"], ["a"]), node("Mul", ["a", "a"], ["y"], name="sq")]
    assert "tensor 'a' is used by node 'sq' (Mul), twice" in refused(model(square, CONV))
    tapped = [node("Conv", ["x", "w", "b"], ["a"]), node("Relu", ["a"], ["y"])]
    text = refused(model(tapped, CONV, outputs=("y", "a")))
    assert "expected one output, got 'y', 'a'" in text
    dead = [node("Conv", ["x", "w", "b"], ["a"]), node("Relu", ["a"], ["y"]), node("Elu", ["a"], ["unused"])]
    assert [layer.op for layer in load_onnx(model(dead, CONV)).layers] == ["conv2d"]


@pytest.mark.parametrize(
    ("nodes", "weights", "says"),
    [
        ([node("Conv", ["x", "w"], ["y"], dilations=[2, 2])], CONV, "dilations other than 1"),
        ([node("Conv", ["x", "w"], ["y"], group=3)], {"w": draw(5, 1, 3, 3)}, "does not divide 5 output channels"),
        ([node("Conv", ["x", "w"], ["y"])], {"w": draw(6, 4, 3, 3)}, "do not fit 3 input channels"),
        ([node("Conv", ["x", "w"], ["y"])], {"w": draw(6, 3, 9, 9)}, "larger than the padded input"),
        ([node("Conv", ["x", "w"], ["y"], kernel_shape=[5, 5])], CONV, "does not fit the weights"),
        ([node("Conv", ["x", "w"], ["y"], pads=[-1, 0, 0, 0])], CONV, "at least 0"),
        ([node("Conv", ["x", "w"], ["y"], auto_pad="SAME")], CONV, "auto_pad"),
        ([node("Conv", ["x", "x"], ["y"])], {}, "tensor 'x' is used by"),
        ([node("Conv", ["x", "nothing"], ["y"])], {}, "weights must be constant, got 'nothing'"),
        ([node("Conv", ["x", "w"], ["y"])], {"w": CONV["w"] * np.nan}, "NaN or infinity in 'w'"),
        (
            [node("MaxPool", ["x"], ["y", "i"], kernel_shape=[2, 2]), node("Relu", ["i"], ["z"])],
            {},
            "only its first output",
        ),
        ([node("AveragePool", ["x"], ["y"], kernel_shape=[9, 9])], {}, "do not fit the input"),
        ([node("MatMul", ["w", "x"], ["y"])], {"w": draw(8, 8)}, "activations first"),
        ([node("MatMul", ["x", "w"], ["y"])], {"w": draw(8, 4)}, "expected one vector per sample"),
        ([node("Gemm", ["x", "w"], ["y"], transA=1)], {"w": draw(8, 4)}, "transA"),
        ([node("Transpose", ["x"], ["t"]), node("Flatten", ["t"], ["y"])], {}, "the batch to stay first"),
        (
            [node("Reshape", ["x", "w"], ["a"]), node("Relu", ["a"], ["y"])],
            {"w": np.array([-1], np.int64)},
            "export the model in memory_format=torch.contiguous_format",
        ),
        ([node("Reshape", ["x", "w"], ["y"])], {"w": np.array([0, 7], np.int64)}, "the batch to stay first"),
        ([node("Clip", ["x", "w"], ["y"])], {"w": np.array(-1.0)}, "limits from 0"),
        ([node("DequantizeLinear", ["x", "s"], ["y"])], {"s": np.array(1.0)}, "quantised already"),
        ([node("Identity", ["x"], ["y"])], {}, "at least one layer"),
        ([node("Constant", [], ["y"], value_float=1.0)], {}, "does not depend on the input"),
        ([node("Relu", ["z"], ["y"]), node("Relu", ["y"], ["z"])], {}, "depends on its own output"),
        ([node("ReduceMean", ["x"], ["y"], axes=[0])], {}, "not batch and channels"),
        ([node("ReduceMean", ["x"], ["y"], axes=[1, 2, 3])], {}, "not batch and channels"),
        ([node("Conv", ["x", "w"], ["a"]), node("ReduceMean", ["a"], ["y"], axes=[1])], CONV, "not its channels"),
        ([node("Pad", ["x"], ["y"], mode="reflect", pads=[0] * 8)], {}, "expected zeros around"),
        (
            [node("Conv", ["x", "w"], ["a"]), node("Add", ["a", "m"], ["y"])],
            {"w": CONV["w"], "m": draw(1, 6, 6, 6)},
            "one per channel",
        ),
        (
            [
                node("Conv", ["x", "w"], ["a"]),
                node("Transpose", ["a"], ["t"], perm=[0, 1, 3, 2]),
                node("MaxPool", ["t"], ["y"], kernel_shape=[2, 2]),
            ],
            CONV,
            "would have to be moved",
        ),
        (
            [node("ConstantOfShape", ["s"], ["w"]), node("MatMul", ["x", "w"], ["y"])],
            {"s": np.array([1 << 20, 1 << 20], np.int64)},
            "cannot be evaluated",
        ),
    ],
)
def test_what_cannot_be_done_is_said(nodes: list, weights: dict, says: str) -> None:
    assert says in refused(model(nodes, weights, opset=12, outputs=("z",) if says.startswith("only") else ("y",)))


def test_inputs_must_have_known_sizes() -> None:
    relu = [node("Relu", ["x"], ["y"])]
    assert "[n, 3, h, w]; export with fixed sizes" in refused(model(relu, shape=("n", 3, "h", "w")))
    assert "expected one input, got 'x', 'z'" in refused(model(relu, inputs=("x", "z")))
    assert "expected opset 7 or newer, got 6" in refused(model(relu, opset=6))


def test_an_order_that_no_layout_has_is_refused() -> None:
    conv = node("Conv", ["x", "w", "b"], ["a"])
    text = refused(model([conv, node("Transpose", ["a"], ["y"], perm=[0, 3, 1, 2])], CONV))
    assert "neither channels first nor channels last" in text


# ---------------------------------------------------------------- files


def test_files_that_are_no_models(tmp_path: Path) -> None:
    def message(path: Path) -> str:
        with pytest.raises(ModelError) as caught:
            load_onnx(path)
        return str(caught.value)

    path = tmp_path / "net.onnx"
    assert "no such file" in message(path)
    for content in (b"", b"\x00", b"not a model at all", bytes(range(256)) * 8, b"PK\x03\x04" + bytes(64)):
        path.write_bytes(content)
        assert "expected an ONNX file" in message(path), content[:8]
    whole = model([node("Conv", ["x", "w", "b"], ["y"])], CONV).SerializeToString()
    for end in (1, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:end])
        assert "net.onnx" in message(path)
    (tmp_path / "net.tflite").write_bytes(b"TFL3")
    assert "tf2onnx" in message(tmp_path / "net.tflite")
    (tmp_path / "net.keras").write_bytes(b"PK")
    assert 'model.export("model.onnx", format="onnx")' in message(tmp_path / "net.keras")
    assert "folder" in message(tmp_path)


def test_external_data(tmp_path: Path) -> None:
    proto = model([node("MatMul", ["x", "w"], ["y"])], {"w": draw(64, 32)}, ("n", 64))
    wanted = numpy_helper.to_array(proto.graph.initializer[0]).T
    path = tmp_path / "net.onnx"
    onnx.save(proto, path, save_as_external_data=True, location="net.data", size_threshold=0)
    (layer,) = load_onnx(path).layers
    assert np.array_equal(layer.weights, wanted)
    (tmp_path / "net.data").rename(tmp_path / "elsewhere")
    with pytest.raises(ModelError, match="external data cannot be read"):
        load_onnx(path)
    # A path that leaves the folder is not followed.
    stored = onnx.load(path, load_external_data=False)
    for entry in stored.graph.initializer[0].external_data:
        if entry.key == "location":
            entry.value = "../secret"
    (tmp_path.parent / "secret").write_bytes(bytes(8192))
    path.write_bytes(stored.SerializeToString())
    with pytest.raises(ModelError, match="external data cannot be read"):
        load_onnx(path)


def test_layers_of_every_size_keep_their_names_apart() -> None:
    nodes = [node("Conv", ["x" if k == 0 else f"t{k - 1}", "w"], [f"t{k}" if k < 59 else "y"]) for k in range(60)]
    network = load_onnx(model(nodes, {"w": draw(3, 3, 1, 1) / 2}), "deep")
    assert len({layer.name for layer in network.layers}) == 60
    assert prod(network.input_shape) == 192


def test_models_of_onnx_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyTorch's layers as an old exporter wrote them (opset 6): the stored outputs, or a refusal."""
    monkeypatch.setattr(onnx_file, "OLDEST_OPSET", 6)
    equal = refusals = 0
    for path in sorted((Path(onnx.__file__).parent / "backend" / "test" / "data" / "pytorch-converted").iterdir()):
        try:
            network = load_onnx(path / "model.onnx")
        except ModelError:
            refusals += 1
            continue
        x, wanted = (
            numpy_helper.to_array(onnx.load_tensor(path / "test_data_set_0" / f"{kind}_0.pb"))
            for kind in ("input", "output")
        )
        if any("logarithms" in note for note in network.notes):
            wanted = np.exp(wanted)
        assert np.abs(forward(network, x).reshape(wanted.shape) - wanted).max() < 1e-4, path.name
        equal += 1
    assert equal >= 30
    assert refusals >= 15


def test_damaged_files_are_read_or_refused(tmp_path: Path) -> None:
    whole = (Path(__file__).parents[4] / "configs" / "models" / "digits.onnx").read_bytes()
    rng = np.random.default_rng(1)
    path = tmp_path / "damaged.onnx"
    read = 0
    for _ in range(400):
        damaged = bytearray(whole)
        for _ in range(rng.integers(1, 6)):
            # The nodes come first: damage there reaches further than in the weights.
            place = int(rng.integers(0, len(damaged) if rng.random() < 0.3 else 1200))
            length = int(rng.integers(1, 8))
            kind = rng.random()
            if kind < 0.6:
                damaged[place] = int(rng.integers(0, 256))
            elif kind < 0.8:
                del damaged[place : place + length]
            else:
                damaged[place:place] = bytes(rng.integers(0, 256, length, dtype=np.uint8))
        path.write_bytes(damaged)
        try:
            load_onnx(path).geometry("q7")
            read += 1
        except ModelError:
            continue
    assert 0 < read < 400
