# SPDX-License-Identifier: Apache-2.0
"""ONNX in: convolutions, pools, and padding of every kind."""

from __future__ import annotations

import numpy as np
import pytest

from helpers.onnx_layers import BN, BN_INPUTS, CONV, check, draw, forward, refused
from helpers.onnx_models import model, node
from tuning import ModelError
from tuning.quantize import load_onnx, quantize_model


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
