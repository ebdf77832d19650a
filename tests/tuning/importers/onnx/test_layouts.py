# SPDX-License-Identifier: Apache-2.0
"""ONNX in: tensors in another order than the network's, and dense layers behind them."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import numpy_helper

from helpers.onnx_layers import CONV, RNG, check, draw, refused
from helpers.onnx_models import model, node, reference
from tuning.quantize import quantize_model


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


def test_a_gather_that_rearranges() -> None:
    nodes = [node("Gather", ["x", "i"], ["g"], axis=1), node("MatMul", ["g", "w"], ["y"])]
    weights = {"w": draw(4, 3), "i": np.array([2, 0, -1, 1], np.int64)}
    check(model(nodes, weights, ("n", 4)), ["fully_connected"])
    for indices in ([0, 1], [0, 1, 2, 2], [0, 1, 2, 7]):
        weights["i"] = np.array(indices, np.int64)
        weights["w"] = draw(len(indices), 3)
        assert "every element of a sample once" in refused(model(nodes, weights, ("n", 4)))


def test_an_order_that_no_layout_has_is_refused() -> None:
    conv = node("Conv", ["x", "w", "b"], ["a"])
    text = refused(model([conv, node("Transpose", ["a"], ["y"], perm=[0, 3, 1, 2])], CONV))
    assert "neither channels first nor channels last" in text
