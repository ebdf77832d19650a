# SPDX-License-Identifier: Apache-2.0
"""Networks of quantised ONNX files: the same as a `.tflite` file, in both formats, at the border, and refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto

import tuning
from helpers.onnx_quantised import Net, last, runs
from tuning.base.errors import ModelError
from tuning.importers.tflite.build import FileBuilder
from tuning.importers.tflite.reader import import_operators
from tuning.load import own_name
from tuning.model import graph_model

I64 = np.int64


def image(net: Net) -> str:
    return net.q("x", 0.02, 3)


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
    for at, (op, more) in enumerate(
        (("Conv", {"pads": [1] * 4}), ("Conv", {"pads": [1] * 4, "group": 4}), ("Gemm", {"transB": 1}))
    ):
        weights = net.node("DequantizeLinear", net.constant(kernels[at]), net.constant(scales[at]), axis=0)
        steps = np.float64(np.float32(s[0 if at == 0 else at if at < 2 else 3])) * scales[at]
        zeros = net.constant(np.zeros(len(steps), np.int32))
        bias = net.node(
            "DequantizeLinear", net.constant(biases[at]), net.constant(steps.astype(np.float32)), zeros, axis=0
        )
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
    b = [
        to.tensor("b", scale=np.float64(np.float32(s[at if at < 2 else 3])) * scales[at], data=biases[at])
        for at in range(3)
    ]
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
    s, z = (
        {"x": 0.02, "a": 0.03, "b": 0.05, "c": 0.04, "p": 0.03, "d": 0.1},
        {"x": 3, "a": -7, "b": 5, "c": 0, "p": 2, "d": 1},
    )
    kernel = [net.integers(shape, axis) for shape, axis in (((4, 4, 3, 3), 0), ((4, 4, 1, 1), 0), ((4, 5), 1))]
    flat = net.constant(np.array([1, -1], I64))
    bias = rng.integers(-900, 900, 4).astype(np.int32)
    scales = [next(helper_array(net, name)) for _, name, _ in kernel]
    if is_qdq:
        w = [net.node("DequantizeLinear", *parts, axis=axis) for parts, axis in zip(kernel, (0, 0, 1), strict=True)]
        x = net.q("x", s["x"], z["x"])
        steps = (np.float64(np.float32(s["x"])) * scales[0]).astype(np.float32)
        b = net.node(
            "DequantizeLinear", net.constant(bias), net.constant(steps), net.constant(np.zeros(4, np.int32)), axis=0
        )
        a = net.q(net.node("Conv", x, w[0], b, pads=[1] * 4), s["a"], z["a"])
        c = net.q(net.node("Conv", a, w[1]), s["b"], z["b"])
        y = net.q(net.node("Add", a, c), s["c"], z["c"])
        y = net.q(net.node("Concat", y, net.q(net.node("Mul", a, c), s["c"], z["c"]), axis=1), s["c"], z["c"])
        y = net.q(net.node("LeakyRelu", y, alpha=0.25), s["c"], z["c"])
        y = net.q(
            net.node("Sigmoid", net.q(net.node("AveragePool", y, kernel_shape=[2, 2]), s["p"], z["p"])), 1 / 256, -128
        )
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


def helper_array(net: Net, name: str) -> Iterator[np.ndarray]:
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
        w = net.node(
            "DequantizeLinear", net.constant((values + offset).astype(dtype)), net.constant(np.float32(0.01)), zero
        )
        path = net.save(tmp_path / f"{dtype}.onnx", net.q(net.node("MatMul", image(net), w), 0.1))
        found.append(tuning.load_model(path).network().run(np.arange(12, dtype=np.int8)[None]))
    assert np.array_equal(*found)


def test_a_channel_without_weights_keeps_its_bias(tmp_path: Path) -> None:
    """Quantisers give it any scale: 1, and the multiplier exceeds 1, or next to none, and the bias overflows."""
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
    y = net.q(net.node("LRN", net.q(net.node("Hardmax", y), 0.05), size=3), 0.05)
    text = refused(net.save(tmp_path / "net.onnx", y))
    assert "Conv (1x, first 'Conv_" in text
    assert "WeightSymmetric" in text
    assert "LRN (1x, first 'LRN_" in text
    assert "Hardmax (1x, first 'Hardmax_" in text


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
        lambda net: net.node("MatMul", image(net), net.weights((4, 3), 1)),
        "expected QuantizeLinear and DequantizeLinear",
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


# ---------------------------------------------------------------- other spellings


def _transposed(net: Net) -> str:
    """Weights that are transposed behind their DequantizeLinear, as torch's quantised Linear is exported."""
    w = net.node("Transpose", net.weights((5, 12), 0), perm=[1, 0])
    return net.q(net.node("MatMul", image(net), w), 0.1)


def _fake_quantised(net: Net) -> str:
    """Float weights behind QuantizeLinear and DequantizeLinear, as training with fake quantisation is exported."""
    floats = net.constant(net.rng.normal(0, 0.3, (5, 12)).astype(np.float32))
    scale = net.constant(net.rng.uniform(0.5, 2, 5).astype(np.float32) / 100)
    zero = net.constant(np.zeros(5, np.int8))
    w = net.node("QuantizeLinear", floats, scale, zero, axis=0)
    w = net.node("DequantizeLinear", w, scale, zero, axis=0)
    return net.q(net.node("Gemm", image(net), w, net.bias(5), transB=1), 0.1)


def _unsqueezed(net: Net) -> str:
    """A causal convolution of a sequence that was made an image, with weights that were too."""
    axis = net.constant(np.array([2], I64))
    x = net.node("Unsqueeze", net.node("Pad", image(net), net.constant(np.array([0, 0, 2, 0, 0, 0], I64))), axis)
    y = net.node("Conv", x, net.node("Unsqueeze", net.weights((6, 4, 3)), axis), net.bias(6))
    return net.q(net.node("Squeeze", y, axis), 0.05)


def _int8_bias(net: Net) -> str:
    bias = net.node(
        "DequantizeLinear", *map(net.constant, (np.int8([-128, 3, 127, 0, 9]), np.float32(0.01), np.int8(-4)))
    )
    return net.q(net.node("Gemm", image(net), net.weights((12, 5), 1), bias), 0.1)


def _shape_arithmetic(net: Net) -> str:
    """Flatten, as torch's older exporter writes ``x.view(x.size(0), -1)``."""
    y = net.q(net.node("Conv", image(net), net.weights((3, 4, 3, 3))), 0.05)
    size = net.node("Gather", net.node("Shape", y), net.constant(np.array(0, I64)), axis=0)
    size = net.node("Unsqueeze", size, net.constant(np.array([0], I64)))
    y = net.node("Reshape", y, net.node("Concat", size, net.constant(np.array([-1], I64)), axis=0))
    return net.q(net.node("MatMul", y, net.weights((3 * 6 * 7, 5), 1)), 0.2)


SPELLINGS: dict[str, tuple[Callable[[Net], str], tuple[int, ...]]] = {
    "transposed weights": (_transposed, (1, 12)),
    "weights that are quantised in the file": (_fake_quantised, (1, 12)),
    "a sequence as an image": (_unsqueezed, (1, 4, 11)),
    "a bias of int8": (_int8_bias, (1, 12)),
    "arithmetic of shapes": (_shape_arithmetic, (1, 4, 8, 9)),
    "a batch of three": (_shape_arithmetic, (3, 4, 8, 9)),
}


@pytest.mark.parametrize("name", SPELLINGS)
def test_other_spellings_are_the_same(tmp_path: Path, name: str) -> None:
    build, shape = SPELLINGS[name]
    net = Net(shape)
    path = net.save(tmp_path / "net.onnx", build(net))
    model = tuning.load_model(path)
    ours, theirs = runs(model, path)
    assert np.abs(ours[0].astype(int) - theirs[0]).max() <= (
        3 if "MatMul" in str(net.nodes[-3]) and "Conv" in str(net.nodes) else 1
    )
    assert theirs[0].min() < theirs[0].max()


def test_several_inputs_and_outputs_keep_their_order(tmp_path: Path) -> None:
    net = Net((1, 3, 4, 5))
    image_, vector = net.q("x", 0.02, 3), net.q("v", 0.05, -7)
    y = net.q(net.node("Conv", image_, net.weights((2, 3, 1, 1))), 0.05)
    z = net.q(net.node("Gemm", vector, net.weights((6, 4), 1)), 0.1)
    proto = net.model(z, y)
    proto.graph.input.append(onnx.helper.make_tensor_value_info("v", TensorProto.FLOAT, (1, 6)))
    onnx.save(proto, tmp_path / "net.onnx")
    model = tuning.load_model(tmp_path / "net.onnx")
    assert [(port.name, port.shape) for port in model.inputs] == [("x", (1, 4, 5, 3)), ("v", (1, 6))]
    assert [(port.name, port.shape) for port in model.outputs] == [(z, (1, 4)), (y, (1, 4, 5, 2))]
    rng = np.random.default_rng(0)
    x, v = (rng.integers(-128, 128, shape).astype(np.int8) for shape in ((1, 3, 4, 5), (1, 6)))
    found = model.network().run((last(x, (1, 4, 5, 3)), v))
    given = {"x": (x.astype(np.float32) - 3) * np.float32(0.02), "v": (v.astype(np.float32) + 7) * np.float32(0.05)}
    for one, wanted, port in zip(
        found, onnx.reference.ReferenceEvaluator(proto).run(None, given), model.outputs, strict=True
    ):
        steps = last(np.rint(np.asarray(wanted) / np.float32(port.scale)) + port.zero_point, port.shape)
        assert np.abs(one.reshape(port.shape) - steps).max() <= 1


def test_qgemm_is_gemm(tmp_path: Path) -> None:
    found = []
    for is_qdq in (True, False):
        net = Net((1, 12))
        values, scale, zero = net.integers((5, 12), 0)
        (scales,) = helper_array(net, scale)
        bias = np.random.default_rng(1).integers(-900, 900, 5).astype(np.int32)
        x, y = net.numbers(0.02, 3), net.numbers(0.1, 5)
        if is_qdq:
            steps = (np.float64(np.float32(0.02)) * scales).astype(np.float32)
            b = net.node(
                "DequantizeLinear", net.constant(bias), net.constant(steps), net.constant(np.zeros(5, np.int32)), axis=0
            )
            w = net.node("DequantizeLinear", values, scale, zero, axis=0)
            out = net.q(net.node("Gemm", net.q("x", 0.02, 3), w, b, transB=1), 0.1, 5)
        else:
            q = net.node("QuantizeLinear", "x", *x)
            q = net.node("QGemm", q, *x, values, scale, zero, net.constant(bias), *y, transB=1, domain="com.microsoft")
            out = net.node("DequantizeLinear", q, *y)
        found.append(
            tuning.load_model(net.save(tmp_path / f"net{is_qdq}.onnx", out))
            .network()
            .run(np.arange(12, dtype=np.int8)[None])
        )
    assert np.array_equal(*found)
