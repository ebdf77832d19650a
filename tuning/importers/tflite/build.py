# SPDX-License-Identifier: Apache-2.0
"""A network in operators of `.tflite` files, tensor by tensor and operator by operator, without a file to read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from . import schema
from .file import FileModel, FileOp, FileSignature, FileSubgraph, FileTensor
from .flatbuffer import FLOAT, Flatbuffer, Number

SIGNATURE = "serving_default"
_VERSIONS: dict[str, tuple[int, int]] = {
    "ABS": (2, 3),
    "ADD": (2, 3),
    "AVERAGE_POOL_2D": (2, 3),
    "CONCATENATION": (2, 3),
    "CONV_2D": (3, 4),
    "DEPTHWISE_CONV_2D": (3, 5),
    "DEQUANTIZE": (2, 3),
    "EXP": (2, 2),
    "FULLY_CONNECTED": (4, 7),
    "GATHER": (2, 4),
    "GELU": (2, 1),
    "LEAKY_RELU": (1, 2),
    "LOGISTIC": (2, 3),
    "MAXIMUM": (2, 4),
    "MAX_POOL_2D": (2, 3),
    "MEAN": (2, 3),
    "MINIMUM": (2, 4),
    "MUL": (2, 4),
    "PAD": (2, 3),
    "PADV2": (2, 3),
    "RELU": (2, 3),
    "RELU6": (2, 3),
    "RESIZE_NEAREST_NEIGHBOR": (2, 4),
    "SLICE": (2, 4),
    "SOFTMAX": (2, 3),
    "STRIDED_SLICE": (2, 1),
    "SUB": (2, 5),
    "SUM": (2, 1),
    "TANH": (2, 3),
    "TRANSPOSE": (2, 5),
    "TRANSPOSE_CONV": (2, 2),
}
"""Of an operator of int8, and of int16, as LiteRT's converter sets them; of others it is 1. A runtime refuses versions
above those it knows, and takes lower ones."""


@dataclass(eq=False)
class FileBuilder:
    """One subgraph in the making."""

    tensors: list[FileTensor] = field(default_factory=list)
    ops: list[FileOp] = field(default_factory=list)

    def tensor(
        self, name: str, shape: Sequence[int] = (), type_: str = "INT8", scale: Any = (), zero_point: Any = 0, *,
        axis: int = 0, data: np.ndarray | None = None,
    ) -> int:  # fmt: skip
        """The index of a new one, which has the shape and type of `data`. One zero point is that of every scale."""
        if data is not None:
            data = np.ascontiguousarray(data).view()
            data.flags.writeable = False
            shape, type_ = data.shape, data.dtype.name.upper()
        scales = np.asarray(scale, np.float32).reshape(-1)
        zeros = np.asarray(zero_point, np.int64).reshape(-1)
        zeros = np.repeat(zeros, scales.size) if zeros.size == 1 else zeros
        sizes = tuple(int(size) for size in shape)
        index = len(self.tensors)
        self.tensors.append(FileTensor(index, name, sizes, sizes, type_, scales, zeros, axis, data))
        return index

    def op(
        self, code: str, inputs: Sequence[int], outputs: Sequence[int], *, version: int | None = None, name: str = "",
        **options: Any,
    ) -> None:  # fmt: skip
        """An operator behind those that there are; options that are not given are the schema's defaults. `name` is that
        of the layer that it becomes.
        """
        found = completed(code, options)
        if version is None:
            version = self._version(code, inputs, found)
        self.ops.append(FileOp(len(self.ops), code, version, "", tuple(inputs), tuple(outputs), found, name))

    def file(self, path: Path, inputs: Sequence[int], outputs: Sequence[int], description: str = "") -> FileModel:
        """The network, without bytes; what its inputs and outputs are called is its signature too."""
        names = [MappingProxyType({self.tensors[at].name: at for at in places}) for places in (inputs, outputs)]
        graph = FileSubgraph("main", tuple(self.tensors), tuple(inputs), tuple(outputs), tuple(self.ops))
        return FileModel(path, description, (graph,), (FileSignature(SIGNATURE, 0, names[0], names[1]),))

    def _version(self, code: str, inputs: Sequence[int], options: Mapping[str, Any]) -> int:
        types = [self.tensors[index].type for index in inputs if index >= 0]
        is_wide = types[:1] == ["INT16"]
        if code == "FULLY_CONNECTED" and not is_wide:
            if len(inputs) < 3 or inputs[2] < 0:
                return 6
            if options["keep_num_dims"]:
                return 5
        if code == "CONV_2D" and self.tensors[inputs[0]].shape[-1] != self.tensors[inputs[1]].shape[-1]:
            return 6  # groups
        if not is_wide and types[:1] != ["INT8"]:
            return 1
        return _VERSIONS.get(code, (1, 1))[is_wide]


def completed(code: str, options: Mapping[str, Any]) -> Mapping[str, Any]:
    """All options of an operator as the reader gives them: those that are missing at the schema's defaults."""
    if code not in schema.OPTIONS:
        return MappingProxyType(dict(options))
    fields = schema.OPTIONS[code][1]
    found = dict(Flatbuffer(b"", "").absent(fields).items())
    for name, value in options.items():
        kind = fields.fields[name][1]
        is_float = isinstance(kind, Number) and kind.format == FLOAT.format
        found[name] = float(np.float32(value)) if is_float else tuple(value) if isinstance(value, list) else value
    return MappingProxyType(found)
