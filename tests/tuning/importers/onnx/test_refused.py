# SPDX-License-Identifier: Apache-2.0
"""ONNX in: what cannot be read is named."""

from __future__ import annotations

import numpy as np
import pytest

from helpers.onnx_layers import CONV, draw, refused
from helpers.onnx_models import model, node
from tuning import ModelError
from tuning.importers.onnx import file as onnx_file
from tuning.importers.onnx.branches import function_of
from tuning.quantize import load_onnx


def test_all_operators_that_nobody_knows_are_named_first() -> None:
    nodes = [
        node("Transpose", ["x"], ["t"], perm=[1, 0, 2]),
        node("Erf", ["t"], ["e"], name="erf"),
        node("Mish", ["e"], ["m"], name="mish"),
        node("Erf", ["m"], ["y"]),
    ]
    with pytest.raises(ModelError, match=r"\(Erf\): the operator is not supported, nor is node .mish. \(Mish\)\."):
        load_onnx(model(nodes, {}, ("n", 4, 3), opset=18))


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
