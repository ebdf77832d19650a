# SPDX-License-Identifier: Apache-2.0
"""A trained residual network: the shipped `digits_resnet`, its weights as floats again, through our own quantiser."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import tuning
from helpers.samples import one_in
from tuning.importers.tflite.file import read
from tuning.quantize import GraphQuantized, load_data

MODELS = Path(__file__).resolve().parents[4] / "configs" / "models"


@cache
def in_float() -> onnx.ModelProto:
    """Convolutions, additions, a mean, a dense layer and a softmax, channels first."""
    graph = read(MODELS / "digits_resnet.tflite").subgraphs[0]
    nodes, stored = [], []

    def real(index: int) -> np.ndarray:
        tensor = graph.tensors[index]
        assert tensor.data is not None
        shape = [-1 if at == tensor.axis and tensor.scale.size > 1 else 1 for at in range(tensor.data.ndim)]
        return (tensor.data * tensor.scale.reshape(shape)).astype(np.float32)

    def constant(name: str, values: np.ndarray) -> str:
        stored.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    for op in graph.ops:
        x, out = f"t{op.inputs[0]}", f"t{op.outputs[0]}"
        is_relu = op.options.get("fused_activation_function", "NONE") == "RELU"
        made = f"{out}_sum" if is_relu else out
        if op.code in ("CONV_2D", "DEPTHWISE_CONV_2D"):
            weights = real(op.inputs[1])
            is_depthwise = op.code != "CONV_2D"
            weights = weights.transpose(3, 0, 1, 2) if is_depthwise else weights.transpose(0, 3, 1, 2)
            inputs = [x, constant(f"{out}_w", weights), constant(f"{out}_b", real(op.inputs[2]))]
            stride = [op.options["stride_h"], op.options["stride_w"]]
            group = len(weights) if is_depthwise else 1
            nodes.append(helper.make_node("Conv", inputs, [made], auto_pad="SAME_UPPER", strides=stride, group=group))
        elif op.code == "ADD":
            nodes.append(helper.make_node("Add", [x, f"t{op.inputs[1]}"], [made]))
        elif op.code == "MEAN":
            nodes.append(helper.make_node("ReduceMean", [x], [made], axes=[2, 3], keepdims=0))
        elif op.code == "FULLY_CONNECTED":
            inputs = [x, constant(f"{out}_w", real(op.inputs[1])), constant(f"{out}_b", real(op.inputs[2]))]
            nodes.append(helper.make_node("Gemm", inputs, [made], transB=1))
        else:
            assert op.code == "SOFTMAX"
            nodes.append(helper.make_node("Softmax", [x], [made], axis=1))
        if is_relu:
            nodes.append(helper.make_node("Relu", [made], [out]))
    made_graph = helper.make_graph(
        nodes, "digits_resnet",
        [helper.make_tensor_value_info(f"t{graph.inputs[0]}", TensorProto.FLOAT, ["n", 1, 8, 8])],
        [helper.make_tensor_value_info(f"t{graph.outputs[0]}", TensorProto.FLOAT, None)], stored,
    )  # fmt: skip
    return helper.make_model(made_graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize("scheme", ["int8", "int16x8"])
@pytest.mark.parametrize("ranges", one_in(3, ["mse", "minmax", "percentile"]))
def test_a_trained_residual_network_keeps_its_accuracy(scheme: str, ranges: str) -> None:
    data = load_data(MODELS / "digits_calibration.npz")
    found = tuning.quantize(in_float(), (data.x[:300], data.y[:300]), scheme, ranges=ranges, name="digits_resnet")
    assert isinstance(found, GraphQuantized)
    held_out = found.evaluate(load_data(MODELS / "digits_test.npz"))
    assert held_out["accuracy"]["float"] > 0.99
    assert held_out["accuracy"][scheme] >= held_out["accuracy"]["float"] - 0.003
    assert held_out["agreement"] > 0.993


def test_its_firmware_is_that_of_the_converters_file() -> None:
    """The same layers, hence the same products and arena."""
    data = load_data(MODELS / "digits_calibration.npz")
    found = tuning.quantize(in_float(), data.x[:100], "int8", name="digits_resnet")
    target = tuning.load_target("cortex-m4")
    ours, theirs = (tuning.tune(model, target).totals for model in (found.model, tuning.load_model("digits_resnet")))
    assert ours["macs"] == theirs["macs"]
    assert ours["arena_bytes"] <= theirs["arena_bytes"]
    assert ours["cycles"] <= 1.02 * theirs["cycles"]
