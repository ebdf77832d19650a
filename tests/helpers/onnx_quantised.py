# SPDX-License-Identifier: Apache-2.0
"""Quantised ONNX networks as ONNX Runtime's quantiser writes them, and what ONNX's own evaluator makes of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from tuning.model import Model

MICROSOFT = helper.make_opsetid("com.microsoft", 1)


class Net:
    """Nodes in order; a float tensor is its name."""

    def __init__(self, shape: Sequence[int], dtype: str = "int8", seed: int = 0, opset: int = 19) -> None:
        self.shape, self.dtype, self.opset = tuple(shape), np.dtype(dtype), opset
        self.rng = np.random.default_rng(seed)
        self.nodes: list[Any] = []
        self.stored: list[Any] = []
        self.count = 0

    def constant(self, values: Any) -> str:
        self.count += 1
        self.stored.append(numpy_helper.from_array(np.asarray(values), f"c{self.count}"))
        return f"c{self.count}"

    def node(self, op: str, *inputs: str, outputs: int = 1, domain: str = "", **attributes: Any) -> Any:
        self.count += 1
        made = [f"t{self.count}" + (f"_{at}" if at else "") for at in range(outputs)]
        name = f"{op}_{self.count}"
        self.nodes.append(helper.make_node(op, list(inputs), made, name=name, domain=domain, **attributes))
        return made if outputs > 1 else made[0]

    def quantise(self, x: str, scale: float, zero_point: int = 0) -> str:
        """QuantizeLinear; the zero point is that of int8, whatever the type is."""
        return self.node("QuantizeLinear", x, *self.numbers(scale, zero_point))

    def numbers(self, scale: float, zero_point: int = 0) -> tuple[str, str]:
        zero_point += 128 * (self.dtype == np.uint8)
        return self.constant(np.float32(scale)), self.constant(self.dtype.type(zero_point))

    def q(self, x: str, scale: float, zero_point: int = 0) -> str:
        """QuantizeLinear and DequantizeLinear."""
        numbers = self.numbers(scale, zero_point)
        return self.node("DequantizeLinear", self.node("QuantizeLinear", x, *numbers), *numbers)

    def weights(self, shape: Sequence[int], axis: int | None = 0, low: int = -127) -> str:
        """Quantised weights behind their DequantizeLinear."""
        values, scale, zero = self.integers(shape, axis, low)
        return self.node("DequantizeLinear", values, scale, zero, axis=axis or 0)

    def integers(self, shape: Sequence[int], axis: int | None = 0, low: int = -127) -> tuple[str, str, str]:
        values = self.rng.integers(low, 128, shape).astype(np.int8)
        count = 1 if axis is None else shape[axis]
        scale = self.rng.uniform(0.5, 2, count).astype(np.float32) / 300
        zero = np.zeros(count, np.int8)
        if axis is None:
            scale, zero = scale.reshape(()), zero.reshape(())
        return self.constant(values), self.constant(scale), self.constant(zero)

    def bias(self, count: int) -> str:
        """Floats, as torch has them."""
        return self.constant(self.rng.normal(0, 0.5, count).astype(np.float32))

    def model(self, *outputs: str, input_type: int = TensorProto.FLOAT) -> onnx.ModelProto:
        graph = helper.make_graph(
            self.nodes, "g", [helper.make_tensor_value_info("x", input_type, self.shape)],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs], self.stored,
        )  # fmt: skip
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset), MICROSOFT], ir_version=8)

    def save(self, path: Path, *outputs: str, **more: Any) -> Path:
        onnx.save(self.model(*outputs, **more), path)
        return path


def last(array: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """A channels-first array of the file in the shape of a port."""
    array = np.asarray(array)
    return (array if array.shape == tuple(shape) else np.moveaxis(array, 1, -1)).reshape(shape)


def runs(model: Model, path: Path, samples: int = 6, seed: int = 0) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Outputs of the host, and of ONNX's evaluator at the same scales, on the same integers."""
    rng = np.random.default_rng(seed)
    proto, port = onnx.load(path), model.inputs[0]
    shape = tuple(dim.dim_value for dim in proto.graph.input[0].type.tensor_type.shape.dim)
    limits, evaluator, network = np.iinfo(port.dtype), ReferenceEvaluator(proto), model.network()
    ours: list[list[np.ndarray]] = []
    theirs: list[list[np.ndarray]] = []
    for _ in range(samples):
        x = rng.integers(limits.min, limits.max + 1, shape).astype(port.dtype)
        found = network.run(last(x, port.shape))
        found = found if isinstance(found, tuple) else (found,)
        assert port.scale is not None
        given = ((x.astype(np.int64) - port.zero_point) * np.float32(port.scale)).astype(np.float32)
        wanted = evaluator.run(None, {"x": given})
        ours.append([np.asarray(one).reshape(out.shape) for one, out in zip(found, model.outputs, strict=True)])
        theirs.append([_steps(one, out) for one, out in zip(wanted, model.outputs, strict=True)])
    stacked = [[np.stack(parts) for parts in zip(*side, strict=True)] for side in (ours, theirs)]
    return stacked[0], stacked[1]


def _steps(real: Any, port: Any) -> np.ndarray:
    values = last(np.asarray(real, np.float64), port.shape)
    limits = np.iinfo(port.dtype)
    return np.clip(np.rint(values / np.float64(np.float32(port.scale))) + port.zero_point, limits.min, limits.max)


Case = Callable[[Net], "str | tuple[str, ...]"]
