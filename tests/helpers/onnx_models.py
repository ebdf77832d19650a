# SPDX-License-Identifier: Apache-2.0
"""Small ONNX models, and what ONNX's own reference evaluator makes of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

node = helper.make_node


def model(
    nodes: Sequence[onnx.NodeProto],
    weights: dict[str, np.ndarray] | None = None,
    shape: Sequence[int | str | None] = ("n", 3, 8, 8),
    opset: int = 17,
    outputs: Sequence[str] = ("y",),
    inputs: Sequence[str] = ("x",),
) -> onnx.ModelProto:
    """A model whose weights are stored as float32; integers stay as they are."""
    stored = [
        numpy_helper.from_array(value.astype(np.float32) if value.dtype.kind == "f" else value, name)
        for name, value in (weights or {}).items()
    ]
    graph = helper.make_graph(
        list(nodes),
        "graph",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape)) for name in inputs],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        stored,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])


def reference(proto: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    """The output of onnx.reference."""
    (result,) = ReferenceEvaluator(proto).run(None, {proto.graph.input[0].name: x.astype(np.float32)})
    return np.asarray(result)


def save(proto: onnx.ModelProto, path: Path) -> Path:
    path.write_bytes(proto.SerializeToString())
    return path
