# SPDX-License-Identifier: Apache-2.0
"""`.tflite` files of int8, written with LiteRT's own schema."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


class Writer:
    """One subgraph, tensor by tensor and operator by operator."""

    def __init__(self) -> None:
        from ai_edge_litert import schema_py_generated as schema

        self.schema = schema
        self.model, self.graph = schema.ModelT(), schema.SubGraphT()
        self.model.version, self.model.subgraphs, self.model.buffers = 3, [self.graph], [schema.BufferT()]
        self.model.operatorCodes, self.graph.tensors, self.graph.operators = [], [], []

    def tensor(self, name: str, shape: Sequence[int], scales: Sequence[float] = (), zero: int = 0, *, axis: int = 0,
               data: np.ndarray | None = None) -> int:  # fmt: skip
        """int8, or of the type of `data`."""
        schema = self.schema
        made, quantization = schema.TensorT(), schema.QuantizationParametersT()
        quantization.scale, quantization.zeroPoint = [float(scale) for scale in scales], [zero] * len(scales)
        quantization.quantizedDimension = axis
        made.name, made.shape, made.quantization, made.buffer = name.encode(), list(shape), quantization, 0
        made.type = schema.TensorType.INT8 if data is None else getattr(schema.TensorType, data.dtype.name.upper())
        if data is not None:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(data.tobytes(), np.uint8)
            self.model.buffers.append(buffer)
            made.buffer = len(self.model.buffers) - 1
        self.graph.tensors.append(made)
        return len(self.graph.tensors) - 1

    def operator(self, code: str, inputs: list[int], output: int, options: str, **fields: object) -> None:
        """`options` is the name of their table without its end, `fields` are its fields."""
        schema = self.schema
        operator_code, op = schema.OperatorCodeT(), schema.OperatorT()
        number = getattr(schema.BuiltinOperator, code)
        operator_code.builtinCode = operator_code.deprecatedBuiltinCode = number
        operator_code.version = {"RESHAPE": 1, "ADD": 2}.get(code, 3)
        self.model.operatorCodes.append(operator_code)
        op.opcodeIndex, op.inputs, op.outputs = len(self.model.operatorCodes) - 1, inputs, [output]
        op.builtinOptionsType = getattr(schema.BuiltinOptions, f"{options}Options")
        op.builtinOptions = getattr(schema, f"{options}OptionsT")()
        for name, value in fields.items():
            assert hasattr(op.builtinOptions, name), name
            setattr(op.builtinOptions, name, value)
        self.graph.operators.append(op)

    def file(self, inputs: list[int], outputs: list[int]) -> bytes:
        import flatbuffers

        self.graph.inputs, self.graph.outputs = inputs, outputs
        builder = flatbuffers.Builder(1 << 20)
        builder.Finish(self.model.Pack(builder), b"TFL3")
        return bytes(builder.Output())
