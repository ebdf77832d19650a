# SPDX-License-Identifier: Apache-2.0
"""ONNX in: what is read computes what onnx.reference computes."""

from __future__ import annotations

from math import prod

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from helpers.onnx_layers import BN, BN_INPUTS, CONV, RNG, START, check, draw, refused
from helpers.onnx_models import model, node
from tuning import ModelError
from tuning.quantize import load_onnx


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


def test_layers_of_every_size_keep_their_names_apart() -> None:
    nodes = [node("Conv", ["x" if k == 0 else f"t{k - 1}", "w"], [f"t{k}" if k < 59 else "y"]) for k in range(60)]
    network = load_onnx(model(nodes, {"w": draw(3, 3, 1, 1) / 2}), "deep")
    assert len({layer.name for layer in network.layers}) == 60
    assert prod(network.input_shape) == 192
