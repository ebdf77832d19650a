# SPDX-License-Identifier: Apache-2.0
"""Small `.tflite` files, written with the published package of the schema: it knows nothing of our reader's tables.

build([T("x", (1, 4), scale=0.5), T("y", (1, 4), scale=0.25)], [O("LOGISTIC", ["x"], ["y"])], ["x"], ["y"])
"""

from __future__ import annotations

import random
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import flatbuffers
import numpy as np
import tflite

OPTIONS = {
    "ADD": "AddOptions",
    "ARG_MAX": "ArgMaxOptions",
    "ARG_MIN": "ArgMinOptions",
    "ASSIGN_VARIABLE": "AssignVariableOptions",
    "AVERAGE_POOL_2D": "Pool2DOptions",
    "BATCH_MATMUL": "BatchMatMulOptions",
    "CALL_ONCE": "CallOnceOptions",
    "CAST": "CastOptions",
    "CONCATENATION": "ConcatenationOptions",
    "CONV_2D": "Conv2DOptions",
    "DEPTHWISE_CONV_2D": "DepthwiseConv2DOptions",
    "DEQUANTIZE": "DequantizeOptions",
    "DIV": "DivOptions",
    "EXPAND_DIMS": "ExpandDimsOptions",
    "FULLY_CONNECTED": "FullyConnectedOptions",
    "GATHER": "GatherOptions",
    "GELU": "GeluOptions",
    "HARD_SWISH": "HardSwishOptions",
    "L2_NORMALIZATION": "L2NormOptions",
    "LEAKY_RELU": "LeakyReluOptions",
    "MAXIMUM": "MaximumMinimumOptions",
    "MAX_POOL_2D": "Pool2DOptions",
    "MEAN": "ReducerOptions",
    "MINIMUM": "MaximumMinimumOptions",
    "MIRROR_PAD": "MirrorPadOptions",
    "MUL": "MulOptions",
    "PACK": "PackOptions",
    "PAD": "PadOptions",
    "PADV2": "PadV2Options",
    "QUANTIZE": "QuantizeOptions",
    "READ_VARIABLE": "ReadVariableOptions",
    "REDUCE_MAX": "ReducerOptions",
    "REDUCE_MIN": "ReducerOptions",
    "REDUCE_PROD": "ReducerOptions",
    "RESHAPE": "ReshapeOptions",
    "RESIZE_BILINEAR": "ResizeBilinearOptions",
    "RESIZE_NEAREST_NEIGHBOR": "ResizeNearestNeighborOptions",
    "SHAPE": "ShapeOptions",
    "SLICE": "SliceOptions",
    "SOFTMAX": "SoftmaxOptions",
    "SPLIT": "SplitOptions",
    "SPLIT_V": "SplitVOptions",
    "SQUEEZE": "SqueezeOptions",
    "STRIDED_SLICE": "StridedSliceOptions",
    "SUB": "SubOptions",
    "SUM": "ReducerOptions",
    "SVDF": "SVDFOptions",
    "TRANSPOSE": "TransposeOptions",
    "TRANSPOSE_CONV": "TransposeConvOptions",
    "UNIDIRECTIONAL_SEQUENCE_LSTM": "UnidirectionalSequenceLSTMOptions",
    "UNPACK": "UnpackOptions",
    "VAR_HANDLE": "VarHandleOptions",
}
"""The package's name of an operator's options; operators that are not here are written without."""
ENUMS = {
    "padding": tflite.Padding,
    "fused_activation_function": tflite.ActivationFunctionType,
    "weights_format": tflite.FullyConnectedOptionsWeightsFormat,
    "mode": tflite.MirrorPadMode,
    **dict.fromkeys(("out_type", "output_type", "in_data_type", "out_data_type", "quantized_bias_type"),
                    tflite.TensorType),
}  # fmt: skip
"""Options whose value is a name, or the number of one."""
BUFFER_ALIGNMENT = 16


@dataclass(frozen=True, eq=False)
class T:
    """A tensor; one with `data` needs neither shape nor type. The same array in two tensors is one buffer.

    `scale` and `zero_point` are numbers or sequences of them; a type may be a number.
    """

    name: str
    shape: Sequence[int] | None = None
    dtype: str | int | None = None
    scale: Any = None
    zero_point: Any = 0
    axis: int = 0
    data: np.ndarray | bytes | None = None
    signature: Sequence[int] | None = None
    is_variable: bool = False
    is_sparse: bool = False


@dataclass(frozen=True, eq=False)
class O:  # noqa: E742
    """An operator: tensors by name or index, ``None`` for one that is not there; ``options=None`` writes no table."""

    code: str | int
    inputs: Sequence[str | int | None] = ()
    outputs: Sequence[str | int | None] = ()
    options: Mapping[str, Any] | None = field(default_factory=dict)
    version: int = 1
    custom: str = ""


@dataclass(frozen=True, eq=False)
class G:
    """A subgraph."""

    tensors: Sequence[T] = ()
    ops: Sequence[O] = ()
    inputs: Sequence[str | int] = ()
    outputs: Sequence[str | int] = ()
    name: str = "main"

    def index(self, tensor: str | int | None) -> int:
        if tensor is None:
            return -1
        return tensor if isinstance(tensor, int) else [item.name for item in self.tensors].index(tensor)


def build(
    tensors: Sequence[T] = (),
    ops: Sequence[O] = (),
    inputs: Sequence[str | int] = (),
    outputs: Sequence[str | int] = (),
    *,
    subgraphs: Sequence[G] = (),
    signatures: Mapping[str, int] | None = None,
    description: str = "",
    version: int = 3,
    old_codes: bool = False,
    outside: int | None = None,
) -> bytes:
    """A file of one subgraph, and of `subgraphs` behind it.

    `signatures` maps names to subgraphs, whose tensors keep their names. With `old_codes` operators are numbered as
    before there were more than 127. With `outside`, constants lie behind the tables, that many bytes apart, as in files
    beyond 2 GiB.
    """
    graphs = [G(tensors, ops, inputs, outputs), *subgraphs]
    writer = Writer(0, outside)
    content = writer.file(graphs, signatures or {}, description, version, old_codes)
    if outside is None:
        return content
    # Offsets have the same width whatever they are: the second time they are right.
    writer = Writer(len(content), outside)
    return writer.file(graphs, signatures or {}, description, version, old_codes) + bytes(writer.behind)


class Writer:
    """Writes tables one at a time, children first; also those that `build` would not."""

    def __init__(self, end: int = 0, outside: int | None = None) -> None:
        self.to = flatbuffers.Builder(1024)
        self.end, self.outside, self.behind = end, outside, bytearray()
        self.buffers = [self.table("Buffer")]  # the first is empty by convention
        self.known: dict[int, int] = {}

    def table(self, name: str, /, **fields: Any) -> int:
        """A table of the schema; fields as in the schema, absent where ``None``."""
        module = import_module(f"tflite.{name}")
        getattr(module, f"{name}Start")(self.to)
        for key, value in fields.items():
            if value is not None:
                getattr(module, f"{name}Add" + "".join(part.capitalize() for part in key.split("_")))(self.to, value)
        return int(getattr(module, f"{name}End")(self.to))

    def numbers(self, values: Any, dtype: Any = np.int32) -> int:
        return int(self.to.CreateNumpyVector(np.asarray(values, dtype).reshape(-1)))

    def tables(self, places: Sequence[int]) -> int:
        self.to.StartVector(4, len(places), 4)
        for place in reversed(places):
            self.to.PrependUOffsetTRelative(place)
        return int(self.to.EndVector())

    def bytes(self, content: bytes) -> int:
        self.to.StartVector(1, len(content), BUFFER_ALIGNMENT)
        self.to.head -= len(content)
        self.to.Bytes[self.to.head : self.to.head + len(content)] = content
        return int(self.to.EndVector())

    def buffer(self, data: np.ndarray | bytes | None) -> int:
        if data is None:
            return 0
        if id(data) not in self.known:
            content = data if isinstance(data, bytes) else data.astype(data.dtype.newbyteorder("<")).tobytes()
            self.known[id(data)] = len(self.buffers)
            if self.outside is None:
                self.buffers.append(self.table("Buffer", data=self.bytes(content)))
            else:
                self.behind += bytes(self.outside)
                start = self.end + len(self.behind)
                self.behind += content
                self.buffers.append(self.table("Buffer", offset=start, size=len(content)))
        return self.known[id(data)]

    def tensor(self, given: T) -> int:
        is_array = isinstance(given.data, np.ndarray)
        shape = given.shape if given.shape is not None else given.data.shape if is_array else ()
        kind = given.dtype if given.dtype is not None else given.data.dtype.name.upper() if is_array else "INT8"
        quantization = None
        if given.scale is not None:
            # One zero point is that of every channel; a list is written as it is, whether it fits or not.
            zero_point = (
                given.zero_point if np.ndim(given.zero_point) else np.full(np.shape(given.scale), given.zero_point)
            )
            quantization = self.table(
                "QuantizationParameters",
                scale=self.numbers(given.scale, np.float32),
                zero_point=self.numbers(zero_point, np.int64),
                quantized_dimension=given.axis,
            )
        return self.table(
            "Tensor",
            shape=self.numbers(shape),
            type=kind if isinstance(kind, int) else getattr(tflite.TensorType, kind),
            buffer=self.buffer(given.data),
            name=self.to.CreateString(given.name),
            quantization=quantization,
            is_variable=given.is_variable,
            sparsity=self.table("SparsityParameters") if given.is_sparse else None,
            shape_signature=None if given.signature is None else self.numbers(given.signature),
        )

    def options(self, name: str, given: Mapping[str, Any]) -> int:
        fields: dict[str, Any] = {}
        for key, value in given.items():
            if key in ENUMS:
                fields[key] = getattr(ENUMS[key], value) if isinstance(value, str) else value
            elif isinstance(value, str):
                fields[key] = self.to.CreateString(value)
            elif isinstance(value, Sequence):
                fields[key] = self.numbers(value)
            else:
                fields[key] = value
        return self.table(name, **fields)

    def op(self, given: O, graph: G, code: int) -> int:
        name = OPTIONS.get(str(given.code)) if given.options is not None else None
        return self.table(
            "Operator",
            opcode_index=code,
            inputs=self.numbers([graph.index(item) for item in given.inputs]),
            outputs=self.numbers([graph.index(item) for item in given.outputs]),
            builtin_options_type=getattr(tflite.BuiltinOptions, name) if name else None,
            builtin_options=self.options(name, given.options or {}) if name else None,
        )

    def code(self, code: str | int, version: int = 1, custom: str = "", old: bool = False) -> int:
        number = code if isinstance(code, int) else getattr(tflite.BuiltinOperator, code)
        return self.table(
            "OperatorCode",
            deprecated_builtin_code=min(number, tflite.BuiltinOperator.PLACEHOLDER_FOR_GREATER_OP_CODES),
            custom_code=self.to.CreateString(custom) if custom else None,
            version=version,
            builtin_code=None if old else number,
        )

    def signature(self, key: str, number: int, graph: G) -> int:
        inputs, outputs = (
            self.tables(
                [
                    self.table("TensorMap", name=self.to.CreateString(str(item)), tensor_index=graph.index(item))
                    for item in items
                ]
            )
            for items in (graph.inputs, graph.outputs)
        )
        return self.table(
            "SignatureDef",
            inputs=inputs,
            outputs=outputs,
            signature_key=self.to.CreateString(key),
            subgraph_index=number,
        )

    def file(
        self, graphs: Sequence[G], signatures: Mapping[str, int], description: str, version: int, old_codes: bool
    ) -> bytes:
        codes = list(dict.fromkeys((op.code, op.version, op.custom) for graph in graphs for op in graph.ops))
        subgraphs = []
        for graph in graphs:
            tensors = self.tables([self.tensor(item) for item in graph.tensors])
            ops = [self.op(op, graph, codes.index((op.code, op.version, op.custom))) for op in graph.ops]
            inputs, outputs = (
                self.numbers([graph.index(item) for item in items]) for items in (graph.inputs, graph.outputs)
            )
            subgraphs.append(
                self.table(
                    "SubGraph",
                    tensors=tensors,
                    inputs=inputs,
                    outputs=outputs,
                    operators=self.tables(ops),
                    name=self.to.CreateString(graph.name),
                )
            )
        called = [self.signature(key, at, graphs[at]) for key, at in signatures.items()]
        return self.finish(
            version=version,
            operator_codes=self.tables([self.code(*code, old_codes) for code in codes]),
            subgraphs=self.tables(subgraphs),
            description=self.to.CreateString(description),
            signature_defs=self.tables(called) if called else None,
        )

    def finish(self, version: int = 3, **fields: Any) -> bytes:
        """The file, from the fields of its first table."""
        model = self.table("Model", version=version, buffers=self.tables(self.buffers), **fields)
        self.to.Finish(model, file_identifier=b"TFL3")
        return bytes(self.to.Output())


def examples() -> dict[str, bytes]:
    """Small files that between them have something of everything."""
    weights = np.arange(-36, 36, dtype=np.int8).reshape(4, 3, 3, 2)
    conv = [
        T("x", (1, 8, 8, 2), scale=0.5, zero_point=-3, signature=(-1, 8, 8, 2)),
        T("w", data=weights, scale=[0.5, 0.25, 0.125, 1e-3]),
        T("b", data=np.arange(4, dtype=np.int32), scale=[0.25, 0.125, 0.0625, 5e-4]),
        T("y", (1, 6, 6, 4), scale=0.75, zero_point=127),
        T("shape", data=np.array([1, 144], np.int32)),
        T("flat", (1, 144), scale=0.75, zero_point=127),
    ]
    ops = [
        O("CONV_2D", ["x", "w", "b"], ["y"], {"padding": "VALID", "stride_w": 1, "stride_h": 1}, version=3),
        O("RESHAPE", ["y", "shape"], ["flat"], {"new_shape": (1, 144)}),
    ]
    handle = {"container": "", "shared_name": "state"}
    state = [T("s", (), "RESOURCE"), T("v", (1, 3)), T("x", (1, 2), "UINT8"), T("ok", (2,), "BOOL", data=b"\0\1")]
    stateful = [
        O("CALL_ONCE", options={"init_subgraph_index": 1}),
        O("VAR_HANDLE", [], ["s"], handle),
        O("READ_VARIABLE", ["s"], ["v"]),
        O("FULLY_CONNECTED", ["x", "v", None], ["x"]),
        O("CUSTOM", ["x"], ["x"], custom="Ethos"),
    ]
    zero = [T("s", (), "RESOURCE"), T("zero", data=np.zeros((1, 3), np.int8))]
    once = G(zero, [O("VAR_HANDLE", [], ["s"], handle), O("ASSIGN_VARIABLE", ["s", "zero"])], name="NoOp")
    return {
        "convolution": build(conv, ops, ["x"], ["flat"], description="example", signatures={"serve": 0}),
        "outside": build(conv, ops, ["x"], ["flat"], outside=13),
        "state": build(state, stateful, ["x"], ["x"], subgraphs=[once], signatures={"serve": 0}, old_codes=True),
    }


def damage(rng: random.Random, content: bytes) -> bytes:
    """A few bytes or words changed, swapped for others of the file, inserted or cut."""
    out = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        size = len(out)
        if size < 16:
            break
        # Weights lie in the middle of a file, tables at its ends.
        at = rng.choice(
            (rng.randrange(size), rng.randrange(min(size, 4096)), size - 1 - rng.randrange(min(size, 16384)))
        )
        kind = rng.randrange(12)
        width = 2 if kind == 0 else 4
        word, other = min(at & -width, size - width), rng.randrange(size - 4) & -4
        if kind <= 5:
            near = int.from_bytes(out[word : word + width], "little") + rng.choice((-8, -4, -2, -1, 1, 2, 4, 8))
            ends = (0, 1, 2, 3, 4, 6, 64, (1 << 15) - 1, 1 << 24, (1 << 31) - 1, 1 << 31, (1 << 32) - 1)
            lies = (size, size - word, size - word - 4, size - 4, rng.randrange(size), rng.getrandbits(32), near, -word)
            value = rng.choice(ends + lies) % (1 << 8 * width)
            out[word : word + width] = value.to_bytes(width, "little")
        elif kind <= 7:
            out[at] = rng.randrange(256)
        elif kind == 8:
            out[word : word + 4] = out[other : other + 4]
        elif kind == 9:
            # An offset to where another one points: shared tables, and circles.
            target = other + struct.unpack_from("<I", out, other)[0]
            struct.pack_into("<I", out, word, (target - word) % (1 << 32))
        elif kind == 10:
            out[at:at] = rng.randbytes(rng.choice((1, 2, 4, 4, 8, 64)))
        else:
            del out[at : rng.choice((size, at + 1, at + 4))]
    return bytes(out)
