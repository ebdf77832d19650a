# SPDX-License-Identifier: Apache-2.0
"""Float ONNX graphs as int8 and int16x8: every kind of operator, by the float network; files, borders, refusals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

import tuning
from helpers.onnx_float import CASES, FloatNet, random_net, view_by_strides
from helpers.samples import one_in
from tuning.base.errors import ModelError, OptionError
from tuning.quantize import GraphQuantized, quantize_graph
from tuning.quantize.graph.float_graph import read_graph
from tuning.quantize.graph.quantizer import require_taken
from tuning.quantize.scores import signal_to_noise
from tuning.quantize.source import HINT, FloatSource

LEAST = {"int8": 28.0, "int16x8": 39.0}
"""Decibels: weights of 8 bits are what limits 16x8."""
TABLES = (
    "Abs", "Celu", "Elu", "Exp", "GELU", "Gelu", "Mish", "Selu", "Sin", "Softplus", "Softsign",
)  # fmt: skip
"""Functions that int16 has no kernel for."""
WIDE = [name for name in CASES if not name.startswith(TABLES)]


def built(name: str) -> tuple[FloatNet, onnx.ModelProto, tuple[str, ...]]:
    shapes, build = CASES[name]
    net = FloatNet(*shapes)
    outputs = build(net)
    outputs = (outputs,) if isinstance(outputs, str) else outputs
    return net, net.model(*outputs), outputs


def quantised(proto: onnx.ModelProto, x: Any, scheme: str = "int8", **options: Any) -> GraphQuantized:
    graph = FloatSource(proto, "net").network(scheme, as_graph=True)
    found = tuning.quantize(graph, x, scheme, **options)
    assert isinstance(found, GraphQuantized)
    return found


def ratios(name: str, scheme: str) -> list[float]:
    net, proto, outputs = built(name)
    x = net.draw(48)
    found = quantised(proto, x, scheme)
    wanted = ReferenceEvaluator(proto).run(None, x)
    if name == "LogSoftmax":
        wanted = [np.exp(value) for value in wanted]
    made = found.runnable.run(x)
    return [signal_to_noise(value, made[own]) for own, value in zip(outputs, wanted, strict=True)]


@pytest.mark.parametrize("name", one_in(2, CASES))
def test_int8_follows_the_float_network(name: str) -> None:
    assert min(ratios(name, "int8")) > LEAST["int8"]


@pytest.mark.parametrize("name", one_in(3, WIDE))
def test_int16_follows_the_float_network(name: str) -> None:
    assert min(ratios(name, "int16x8")) > LEAST["int16x8"]


@pytest.mark.parametrize("name", [name for name in CASES if name not in WIDE])
def test_a_function_that_int16_has_not_is_refused_by_its_node(name: str) -> None:
    _, proto, _ = built(name)
    with pytest.raises(ModelError, match="int8 takes"):
        FloatSource(proto, "net").network("int16x8", as_graph=True)


@pytest.mark.parametrize("name", CASES)
def test_rewritten_graphs_give_what_the_files_give(name: str) -> None:
    """The evaluator, and everything that was folded, against ONNX's own."""
    net, proto, _ = built(name)
    x = net.draw(3)
    graph = read_graph(proto, "net")
    values = graph.evaluator.run(x)
    for own, wanted in zip(graph.network.outputs, ReferenceEvaluator(proto).run(None, x), strict=True):
        value = np.exp(wanted) if name == "LogSoftmax" else wanted
        np.testing.assert_allclose(values[own], value, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("seed", one_in(8, range(120)))
def test_random_graphs_follow_the_float_network(seed: int) -> None:
    net, outputs = random_net(seed)
    x = net.draw(32, seed)
    proto = net.model(*outputs)
    ranges = ("mse", "minmax", "percentile")[seed % 3]
    found = quantised(proto, x, "int16x8" if seed % 5 == 4 else "int8", ranges=ranges)
    made = found.runnable.run(x)
    for own, wanted in zip(outputs, ReferenceEvaluator(proto).run(None, x), strict=True):
        assert signal_to_noise(wanted, made[own]) > 22, (own, str(found))


# ---------------------------------------------------------------- files


@pytest.mark.parametrize("name", ["residual", "SiLU", "two inputs", "two outputs", "squeeze and excite, hard", "split",
                                  "pads", "sequences", "AveragePool, not counted"])  # fmt: skip
def test_files_read_back_give_the_same_plan_and_bytes(tmp_path: Path, name: str) -> None:
    net, proto, outputs = built(name)
    found = quantised(proto, net.draw(16))
    models = [tuning.load_model(found.save(tmp_path / f"net{ending}")) for ending in (".tflite", ".yaml")]
    models.insert(0, found.model)
    plans = [tuning.tune(model, tuning.load_target("cortex-m4")) for model in models]
    rng = np.random.default_rng(0)
    x = tuple(rng.integers(-128, 128, (5, *port.shape)).astype(np.int8) for port in found.model.inputs)
    x = x[0] if len(x) == 1 else x
    runs = [model.network().run(x) for model in models]
    first = runs[0] if isinstance(runs[0], tuple) else (runs[0],)
    for other in runs[1:]:
        for one, same in zip(first, other if isinstance(other, tuple) else (other,), strict=True):
            np.testing.assert_array_equal(one.ravel(), same.ravel())
    assert [port.name for port in models[1].outputs] == [port.name for port in models[2].outputs] == [*outputs]
    assert plans[0].totals == plans[1].totals
    assert plans[0].to_dict()["layers"] == plans[1].to_dict()["layers"]
    assert plans[2].totals["macs"] == plans[0].totals["macs"]


def test_layers_are_called_as_nodes_are_and_a_silu_is_one_table() -> None:
    net = FloatNet((3, 8, 8))
    y = net.conv("x", 3, 4)
    net.nodes[-1].name = "/stem/Conv"
    y = net.node("Mul", y, net.node("Sigmoid", y))
    found = quantised(net.model(net.conv(y, 4, 2)), net.draw(16))
    assert [(row.name, row.op) for row in found.report][:2] == [("stem", "conv2d"), ("Mul_5", "look_up")]
    assert [op.code for op in found.file.subgraphs[0].ops][:4] == ["CONV_2D", "CAST", "ADD", "GATHER"]


def test_a_dense_layer_over_the_last_axis_of_an_image() -> None:
    """As PyTorch writes it: the bias first."""
    net = FloatNet((3, 6, 5))
    rng = np.random.default_rng(0)
    y = net.node("MatMul", net.node("Relu", net.conv("x", 3, 4)), net.constant(rng.normal(0, 0.5, (5, 7))))
    proto = net.model(net.node("Add", net.constant(rng.normal(0, 0.5, 7)), y))
    x = net.draw(32)
    found = quantised(proto, x)
    (wanted,) = ReferenceEvaluator(proto).run(None, x)
    assert signal_to_noise(wanted, found.runnable.run(x)[found.graph.network.outputs[0]]) > 28


# ---------------------------------------------------------------- data and targets


def test_labels_and_numbers_of_several_outputs() -> None:
    net, proto, outputs = built("two outputs")
    x = net.draw(40)
    wanted = dict(zip(outputs, ReferenceEvaluator(proto).run(None, x), strict=True))
    labels = wanted[outputs[0]].argmax(axis=1)
    labels[:10] = (labels[:10] + 1) % 3
    noise = np.random.default_rng(0).normal(0, 0.5, wanted[outputs[1]].shape)
    found = quantised(proto, {"x": x["x"], "y": labels, outputs[1]: wanted[outputs[1]] + noise})
    assert found.accuracy["float"] == 0.75
    assert found.accuracy["int8"] == pytest.approx(0.75, abs=0.05)
    assert found.errors[outputs[1]]["float"] == pytest.approx(0.5, abs=0.02)
    assert found.errors[outputs[1]]["int8"] == pytest.approx(0.5, abs=0.03)
    assert "error of" in str(found)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ({"x0": np.zeros((3, 2, 6, 5))}, "also 'x1', got: x0"),
        ({"x0": np.zeros((3, 2, 6, 5)), "x1": np.zeros((2, 5))}, "as many samples of each input"),
        ({"x0": np.zeros((3, 6, 5, 2)), "x1": np.zeros((3, 5))}, "transpose the data with"),
        ({"x0": np.zeros((3, 2, 6, 5)), "x1": np.full((3, 5), np.nan)}, "NaN or infinity in sample 0"),
        ({"x0": np.zeros((3, 2, 6, 5)), "x1": np.zeros((3, 5)), "y": np.full(3, 4)}, "class numbers below 4"),
        ({"x0": np.zeros((3, 2, 6, 5)), "x1": np.zeros((3, 5)), "y": np.zeros((3, 2)) + 0.5}, "or 4 numbers"),
    ],
)
def test_data_that_do_not_fit_are_refused(content: dict[str, np.ndarray], text: str) -> None:
    _, proto, _ = built("two inputs")
    with pytest.raises(OptionError, match=text):
        quantised(proto, content)


def test_a_network_that_rearranges_its_batch_is_run_sample_by_sample() -> None:
    """Reshape to [1, ...]: samples cannot be run together, and need not be."""
    net = FloatNet((4, 6, 6))
    y = net.node("Relu", net.conv("x", 4, 4))
    y = net.node("Transpose", net.node("Reshape", y, net.constant(np.array([4, 36]))), perm=[1, 0])
    y = net.node("Reshape", y, net.constant(np.array([1, 144])))
    proto = net.model(net.dense(y, 144, 3))
    proto.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    x = net.draw(12)
    found = quantised(proto, x)
    wanted = np.concatenate([ReferenceEvaluator(proto).run(None, {"x": x["x"][at : at + 1]})[0] for at in range(12)])
    assert signal_to_noise(wanted, found.runnable.run(x)[found.graph.network.outputs[0]]) > 28


@pytest.mark.parametrize("scheme", ["int8", "int16x8"])
def test_batch_normalisation_of_older_files_is_by_its_statistics(scheme: str) -> None:
    """onnx.reference takes the batch's own up to opset 13; in front of a branch nobody takes the factors up."""
    net = FloatNet((4, 6, 5))
    numbers = [net.constant(np.linspace(*ends, 4).astype(np.float32)) for ends in ((1, 2), (-1, 1), (3, -3), (0.3, 9))]
    y = net.node("BatchNormalization", "x", *numbers)
    proto = net.model(net.node("Add", net.node("Relu", y), net.conv(y, 4, 4)))
    proto.opset_import[0].version = 13
    x = net.draw(24)["x"] * 3 + 2
    found = quantised(proto, {"x": x}, scheme)
    stored = {one.name: onnx.numpy_helper.to_array(one) for one in proto.graph.initializer}
    scale, shift, mean, variance = (stored[name].reshape(-1, 1, 1) for name in numbers)
    normal = (x - mean) / np.sqrt(variance + 1e-5) * scale + shift
    kept = onnx.ModelProto()
    kept.CopyFrom(proto)
    del kept.graph.node[0]
    kept.graph.input[0].name = y
    wanted = ReferenceEvaluator(kept).run(None, {y: normal.astype(np.float32)})[0]
    assert signal_to_noise(wanted, next(iter(found.runnable.run({"x": x}).values()))) > LEAST[scheme]


def test_a_view_by_strides_is_a_transposition_and_the_batch_comes_back() -> None:
    net = FloatNet((4, 8, 7))
    proto = net.model(view_by_strides(net))
    found = quantised(proto, net.draw(12))
    assert "Gather" not in {node.op for node in found.graph.network.nodes}
    x = net.draw(12)["x"]
    wanted = np.concatenate([ReferenceEvaluator(proto).run(None, {"x": x[at : at + 1]})[0] for at in range(12)])
    assert signal_to_noise(wanted, found.runnable.run({"x": x})[found.graph.network.outputs[0]]) > 28


# ---------------------------------------------------------------- formats


def test_fixed_scales_are_those_of_litert() -> None:
    net, proto, (prob, _) = built("two outputs")
    found = quantised(proto, net.draw(16))
    scale = found.scales[found.points.group[prob]]
    assert (scale.scale, scale.zero_point) == (2.0**-8, -128)


def test_a_clip_is_the_end_of_its_producers_range() -> None:
    net, proto, _ = built("Clip -1..1")
    found = quantised(proto, net.draw(16))
    assert [op.code for op in found.file.subgraphs[0].ops][:2] == ["CONV_2D", "CONV_2D"]


def test_concat_shares_a_scale_where_nothing_is_lost() -> None:
    net = FloatNet((3, 8, 8))
    a, b, c = (net.node("Relu", net.conv("x", 3, 4)) for _ in range(3))
    small = net.node("Mul", c, net.constant(0.01))
    found = quantised(net.model(net.node("Concat", a, b, small, axis=1)), net.draw(16))
    groups = found.points.group
    assert groups[a] == groups[b]
    assert groups[small] != groups[a]
    assert [op.code for op in found.file.subgraphs[0].ops].count("QUANTIZE") <= 1


# ---------------------------------------------------------------- refusals


def test_all_obstacles_are_named_at_once_operators_first() -> None:
    net = FloatNet((4, 8, 8))
    y = net.node("Where", net.node("Greater", net.conv("x", 4, 4), net.constant(0.0)), "x", net.constant(0.0))
    y = net.node("InstanceNormalization", y, net.constant(np.ones(4)), net.constant(np.zeros(4)))
    z = net.node("MatMul", y, y)
    with pytest.raises(ModelError) as caught:
        FloatSource(net.model(z), "net").network("int8")
    text = str(caught.value)
    assert "Greater" in text
    assert "InstanceNormalization (1x" in text
    assert "BatchNormalization is taken" in text


def test_obstacles_in_front_of_an_unknown_operator_are_named_too() -> None:
    net = FloatNet((4, 8, 8))
    back = [net.constant(np.array(values)) for values in ([-1], [-9], [2], [-1])]
    y = net.node("Slice", net.conv("x", 4, 4), *back)
    y = net.node("LRN", y, size=3)
    with pytest.raises(ModelError, match=r"LRN \(1x.*; Slice \(1x.*steps forward"):
        FloatSource(net.model(y), "net").network("int8")


def test_a_product_of_two_activations_is_refused_by_its_node() -> None:
    net = FloatNet((4, 8, 8))
    y = net.conv("x", 4, 4)
    with pytest.raises(ModelError, match=r"MatMul.*a product of two such tensors"):
        require_taken(read_graph(net.model(net.node("MatMul", y, y)), "net"), "int8")


@pytest.mark.parametrize("scheme", ["q7", "q15"])
def test_powers_of_two_say_which_scheme_takes_a_graph(scheme: str) -> None:
    _, proto, _ = built("residual")
    with pytest.raises(ModelError, match=r"is used by .* sequential") as caught:
        tuning.quantize(proto, np.zeros((2, 4, 8, 7)), scheme)
    assert HINT in str(caught.value)


def test_a_quantised_file_is_not_quantised_again() -> None:
    net = FloatNet((4, 8, 8))
    numbers = [net.constant(np.float32(0.1)), net.constant(np.int8(0))]
    y = net.node("DequantizeLinear", net.node("QuantizeLinear", "x", *numbers), *numbers)
    with pytest.raises(ModelError, match="quantised already"):
        read_graph(net.model(y), "net")


def test_int8_of_a_sequence_is_still_the_sequential_quantiser() -> None:
    net = FloatNet((3, 8, 8))
    proto = net.model(net.conv(net.node("Relu", net.conv("x", 3, 4)), 4, 2))
    result = tuning.quantize(proto, net.draw(16)["x"], "int8")
    assert not isinstance(result, GraphQuantized)
    assert isinstance(quantize_graph(read_graph(proto, "net"), net.draw(16)), GraphQuantized)


def test_resize_by_floor_takes_the_pixel_itself() -> None:
    """PyTorch's Upsample; `onnx.reference` takes the one before at whole coordinates."""
    net = FloatNet((4, 3, 5))
    scales = net.constant(np.array([1, 1, 2, 3], np.float32))
    up = net.node("Resize", "x", "", scales, mode="nearest", coordinate_transformation_mode="asymmetric",
                  nearest_mode="floor")  # fmt: skip
    graph, x = read_graph(net.model(up), "net"), net.draw(2)["x"]
    np.testing.assert_array_equal(graph.evaluator.run({"x": x})[up], x.repeat(2, axis=2).repeat(3, axis=3))
