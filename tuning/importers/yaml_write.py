# SPDX-License-Identifier: Apache-2.0
"""The other way round: operators of `.tflite` files as a model file with zero points, and the arrays of its archive.

Layers are called as their operators, and where these have no name as the graph of the `.tflite` file calls them. Read
back, the file gives the same graph.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from math import prod
from typing import Any

import numpy as np

from ..base.errors import ModelError
from ..base.names import LONGEST, layer_name_problem, model_name_problem, name_problem
from ..base.yaml_file import scalar
from ..model.int8_schema import DTYPES
from .integer_graph import Refused
from .tflite_common import ACTIVATIONS
from .tflite_file import FileModel, FileOp, FileTensor
from .yaml_ops import FIXED, FIXED_SOFTMAX

Fields = dict[str, Any]


class _NeedsBatch(Exception):
    """Something happens to the first dimension, or it is not a batch of 1."""


def write_yaml_graph(file: FileModel, name: str) -> tuple[str, dict[str, np.ndarray]]:
    """A model file.

    Parameters
    ----------
    file : FileModel
        A quantised network; what is float at its border is left out.
    name : str
        What the network is called in C; the text names the archive ``<name>.npz``.

    Returns
    -------
    text : str
        YAML.
    arrays : dict of str to np.ndarray
        What belongs into the archive.

    Raises
    ------
    ModelError
        The network holds what model files have no words for.
    """
    if problem := model_name_problem(name):
        raise ModelError(f"name: {problem}")
    try:
        try:
            return _Writer(file, name, 1).text()
        except _NeedsBatch:
            return _Writer(file, name, 0).text()
    except Refused as problem:
        raise ModelError(f"{file.path}: a model file has no form for {problem}") from None


class _Writer:
    def __init__(self, file: FileModel, name: str, lead: int) -> None:
        self.graph, self.name, self.lead = file.subgraphs[0], name, lead
        self.tensors = self.graph.tensors
        self.refs: dict[int, str] = {}
        """Tensor -> what layers call it."""
        self.floats: dict[int, int] = {}
        """Tensors of floats -> the integers behind them."""
        self.layers: list[Fields] = []
        self.constants: dict[str, Fields] = {}
        self.inputs: dict[str, Fields] = {}
        self.arrays: dict[str, np.ndarray] = {}
        self.taken: dict[str, str] = {}

    # ------------------------------------------------------------ the file

    def text(self) -> tuple[str, dict[str, np.ndarray]]:
        makers = {index: op for op in self.graph.ops for index in op.outputs}
        live = self.live(makers)
        alias = self.borders(live)
        sources = [alias.get(index, index) for index in self.graph.inputs]
        for index in sources:
            tensor = self.tensors[index]
            name = "input" if len(sources) == 1 else self.unused(tensor.name, "input")
            self.refs[index] = name
            self.taken[name.lower()] = name
            self.inputs[name] = {"shape": self.own(self.shape(tensor)), **self.numbers(tensor)}
        for op in live:
            if op.code == "QUANTIZE" and op.inputs[0] in alias:
                self.refs[op.outputs[0]] = self.refs[alias[op.inputs[0]]]
                continue
            if op.code == "DEQUANTIZE":  # whoever reads the floats but a RESHAPE is refused
                self.floats[op.outputs[0]] = op.inputs[0]
                continue
            if op.code not in FORMS:
                raise Refused(f"{op}")
            try:
                FORMS[op.code](self, op)
            except Refused as problem:
                raise Refused(f"{op}: {problem}") from None
        outputs = [self.output(index) for index in self.graph.outputs]
        if len(set(outputs)) < len(outputs):
            raise Refused("a tensor that is an output twice")
        if not self.layers:
            raise Refused("a network that computes nothing")
        return self.yaml(outputs), self.arrays

    def live(self, makers: Mapping[int, FileOp]) -> list[FileOp]:
        """Operators that the outputs depend on, in order; what only computes shapes is none."""
        found: dict[int, FileOp] = {}
        todo = list(self.graph.outputs)
        while todo:
            op = makers.get(todo.pop())
            if op is not None and op.index not in found:
                found[op.index] = op
                todo += op.inputs[:1] if op.code in ("RESHAPE", "SQUEEZE", "EXPAND_DIMS") else op.inputs
        return [found[index] for index in sorted(found)]

    def borders(self, live: Iterable[FileOp]) -> dict[int, int]:
        """Float inputs of the network -> the integers that QUANTIZE makes of them."""
        found: dict[int, int] = {}
        for op in live:
            source = op.inputs[0] if op.inputs else -1
            if op.code == "QUANTIZE" and source in self.graph.inputs and self.tensors[source].type == "FLOAT32":
                made = self.tensors[op.outputs[0]]
                first = self.tensors[found.setdefault(source, made.index)]
                if self.numbers(made) != self.numbers(first):
                    raise Refused(f"{op}: an input that is quantised in two ways")
        return found

    def output(self, index: int) -> str:
        """Of floats the integers behind them, in the shape of the floats."""
        inner = self.floats.get(index, index)
        shape = self.shape(self.tensors[index])
        if shape == self.shape(self.tensors[inner]):
            return self.ref(inner)
        return self.layer(self.unused("", f"reshape_{index}"), "reshape", [self.ref(inner)], {"shape": self.own(shape)})

    def yaml(self, outputs: Sequence[str]) -> str:
        lines = ["schema: 1", f"name: {_word(self.name)}"]
        if len(self.inputs) == 1:
            lines.append(f"input: {_flow(next(iter(self.inputs.values())))}")
        else:
            lines += ["inputs:", *(f"  {_word(name)}: {_flow(fields)}" for name, fields in self.inputs.items())]
        if self.arrays:
            lines.append(f"weights: {self.name}.npz")
        if not self.lead:
            lines.append("explicit_batch: true")
        if list(outputs) != [self.layers[-1]["name"]]:
            lines.append(f"outputs: {_flow(list(outputs))}")
        if self.constants:
            lines += ["constants:", *(f"  {_word(name)}: {_flow(fields)}" for name, fields in self.constants.items())]
        lines += ["layers:", *(f"  - {_flow(fields)}" for fields in self.layers)]
        return "\n".join(lines) + "\n"

    # ------------------------------------------------------------ tensors

    def shape(self, tensor: FileTensor) -> tuple[int, ...]:
        if any(size < 1 for size in tensor.shape):
            raise Refused(f"{tensor} of shape {tensor.shape}")
        return tensor.shape

    def own(self, shape: Sequence[int]) -> list[int]:
        """A shape as the model file has it."""
        if self.lead and (len(shape) < 2 or shape[0] != 1):
            raise _NeedsBatch
        return list(shape[self.lead :])

    def numbers(self, tensor: FileTensor) -> Fields:
        if tensor.type.lower() not in DTYPES:
            raise Refused(f"{tensor} of {tensor.type}")
        if problem := tensor.problem:
            raise Refused(f"{tensor}: {problem}")
        if tensor.scale.size != 1:
            raise Refused(f"{tensor} of {tensor.scale.size} scales")
        fields: Fields = {"dtype": tensor.type.lower(), "scale": np.float32(tensor.scale[0])}
        return fields | ({"zero_point": int(tensor.zero_point[0])} if tensor.zero_point[0] else {})

    def scaled(self, out: FileTensor, default: tuple[float, int] | None) -> Fields:
        """Scale and zero point of an output, where they are not what they would be."""
        fields = self.numbers(out)
        if default == (float(out.scale[0]), int(out.zero_point[0])):
            return {}
        return {key: fields[key] for key in ("scale", "zero_point") if key in fields}

    def known(self, op: FileOp, place: int) -> np.ndarray:
        """A constant operand."""
        index = op.inputs[place] if place < len(op.inputs) else -1
        data = self.tensors[index].data if index >= 0 else None
        if data is None or self.tensors[index].is_sparse:
            raise Refused(f"an operand {place} that is no constant")
        return data

    def ref(self, index: int) -> str:
        if index not in self.refs:
            raise Refused(f"{self.tensors[index]}, which no layer makes")
        return self.refs[index]

    def operand(self, op: FileOp, place: int, has_batch: bool = False) -> str:
        """A tensor that an operator reads; a constant among those of the file."""
        index = op.inputs[place]
        tensor = self.tensors[index]
        if tensor.data is None:
            return self.ref(index)
        name = self.unused(tensor.name, f"constant_{index}")
        self.taken[name.lower()] = name
        self.constants[name] = {
            "shape": self.own(tensor.shape) if has_batch else list(tensor.shape), **self.numbers(tensor),
        }  # fmt: skip
        self.arrays[f"{name}/value"] = tensor.data.reshape(self.constants[name]["shape"])
        return name

    def source(self, op: FileOp) -> FileTensor:
        tensor = self.tensors[op.inputs[0]]
        self.own(self.shape(tensor))
        return tensor

    def unused(self, name: str, otherwise: str) -> str:
        """An identifier like `name` that nothing else is called."""
        own = re.sub(r"_+", "_", re.sub(r"[^A-Za-z0-9]+", "_", name)).strip("_")[: LONGEST - 5]
        own = own if not name_problem(own) else otherwise
        unique, count = own, 1
        while layer_name_problem(unique, self.taken):
            count += 1
            unique = f"{own}_{count}"
        return unique

    # ------------------------------------------------------------ layers

    def add(
        self, op: FileOp, kind: str, word: str, inputs: Sequence[str], fields: Fields, outputs: Sequence[int]
    ) -> None:
        """A layer called as its operator, or by `word` and its place."""
        self.layer(self.unused(op.name, f"{word}_{op.index}"), kind, inputs, fields)
        name = self.layers[-1]["name"]
        for part, index in enumerate(outputs):
            self.own(self.shape(self.tensors[index]))
            self.refs[index] = f"{name}.{part}" if len(outputs) > 1 else name

    def layer(self, name: str, kind: str, inputs: Sequence[str], fields: Fields) -> str:
        before = self.layers[-1]["name"] if self.layers else "input" if len(self.inputs) == 1 else ""
        named = {} if list(inputs) == [before] else {"inputs": list(inputs)}
        self.layers.append({"name": name, "op": kind, **named, **fields})
        self.taken[name.lower()] = name
        return name

    def axis(self, axis: int, rank: int) -> int:
        if not -rank <= axis < rank:
            raise Refused(f"axis {axis} of {rank}")
        if axis % rank < self.lead:
            raise _NeedsBatch
        return axis % rank - self.lead


def _numbers_of(tensor: FileTensor) -> tuple[float, int]:
    return float(tensor.scale[0]), int(tensor.zero_point[0])


def _word(text: str) -> str:
    return text if scalar(text) == text and re.fullmatch(r"[\w.]+", text, re.ASCII) else f"'{text}'"


def _flow(value: Any) -> str:
    """YAML on one line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_word(key)}: {_flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_flow, value)) + "]"
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    return _word(value) if isinstance(value, str) else str(value)


# ---------------------------------------------------------------- forms

Form = Callable[[_Writer, FileOp], None]


def _active(op: FileOp) -> Fields:
    name = op.options.get("fused_activation_function", "NONE")
    if name not in ACTIVATIONS:
        raise Refused(f"activation {name}")
    return {"activation": ACTIVATIONS[name]} if ACTIVATIONS[name] else {}


def _pair_of(values: Sequence[int]) -> int | list[int]:
    return int(values[0]) if values[0] == values[1] else [int(value) for value in values]


def _windows(op: FileOp, kernel: Sequence[int], default: Sequence[int]) -> Fields:
    stride = (op.options["stride_h"], op.options["stride_w"])
    fields: Fields = {"kernel": _pair_of(kernel)}
    if tuple(stride) != tuple(default):
        fields["stride"] = _pair_of(stride)
    if op.options["padding"] == "SAME":
        fields["padding"] = "same"
    return fields


def _dilation(op: FileOp) -> Fields:
    dilation = (op.options["dilation_h_factor"], op.options["dilation_w_factor"])
    return {"dilation": _pair_of(dilation)} if dilation != (1, 1) else {}


def _weighted(w: _Writer, op: FileOp, kind: str, fields: Fields, source: str, stored: np.ndarray, axis: int) -> None:
    """A layer with weights, whose scales run along `axis` of the file's."""
    tensor, x, out = w.tensors[op.inputs[1]], w.tensors[op.inputs[0]], w.tensors[op.outputs[0]]
    if tensor.problem or not tensor.scale.size or np.any(tensor.zero_point != 0) or stored.dtype != np.int8:
        raise Refused(f"{tensor}: weights that are no int8 with scales and zero point 0")
    if tensor.scale.size > 1 and tensor.axis != axis:
        raise Refused(f"{tensor}: scales along dimension {tensor.axis}")
    bias = w.known(op, 2).reshape(-1) if len(op.inputs) > 2 and op.inputs[2] >= 0 else None
    if bias is not None and bias.dtype != (np.int64 if x.type == "INT16" else np.int32):
        raise Refused(f"a bias of {bias.dtype}")
    pins = {"variant": dict(op.variant)} if op.variant else {}
    # Several outputs per channel have a name of their own in the graph.
    word = "conv2d" if kind == "depthwise_conv2d" and x.shape[-1] != out.shape[-1] else kind
    w.add(op, kind, word, [source], fields | _active(op) | w.scaled(out, None) | pins, op.outputs[:1])
    name = w.layers[-1]["name"]
    w.arrays[f"{name}/weights"] = np.ascontiguousarray(stored)
    w.arrays[f"{name}/weights_scale"] = tensor.scale.astype(np.float32)
    if bias is not None:
        w.arrays[f"{name}/bias"] = bias


def _conv2d(w: _Writer, op: FileOp) -> None:
    x, values = w.source(op), w.known(op, 1)
    if values.ndim != 4 or len(x.shape) != 4 or x.shape[3] % values.shape[3]:
        raise Refused(f"weights of shape {values.shape}")
    groups = x.shape[3] // values.shape[3]
    fields = {"out_channels": len(values), **_windows(op, values.shape[1:3], (1, 1)), **_dilation(op)}
    _weighted(w, op, "conv2d", fields | ({"groups": groups} if groups > 1 else {}), w.ref(x.index), values, 0)


def _depthwise(w: _Writer, op: FileOp) -> None:
    x, values = w.source(op), w.known(op, 1)
    if values.ndim != 4 or len(x.shape) != 4:
        raise Refused(f"weights of shape {values.shape}")
    channels = values.shape[3]
    fields = {"out_channels": channels} if channels != x.shape[3] else {}
    fields |= {**_windows(op, values.shape[1:3], (1, 1)), **_dilation(op)}
    _weighted(w, op, "depthwise_conv2d", fields, w.ref(x.index), values[0], 3)


def _fully_connected(w: _Writer, op: FileOp) -> None:
    x, values, out = w.source(op), w.known(op, 1), w.tensors[op.outputs[0]]
    if values.ndim != 2 or prod(x.shape) % values.shape[1]:
        raise Refused(f"weights of shape {values.shape}")
    rows, columns = values.shape
    source, fields = w.ref(x.index), {"out_features": rows}
    batch = x.shape[0] if len(x.shape) > 1 else 1
    made: tuple[int, ...] = (batch, rows)
    if columns * batch != prod(x.shape):
        if columns == x.shape[-1]:
            fields["keep_num_dims"] = True
            made = (*x.shape[:-1], rows)
        else:
            if w.lead:
                raise _NeedsBatch
            made = (prod(x.shape) // columns, rows)
            shape = {"shape": [made[0], columns]}
            source = w.layer(w.unused(f"{op.name}_in", f"reshape_{op.index}"), "reshape", [source], shape)
    _weighted(w, op, "fully_connected", fields, source, values, 0)
    if made != out.shape:
        name = w.layers[-1]["name"]
        shape = {"shape": w.own(out.shape)}
        w.refs[out.index] = w.layer(w.unused(f"{name}_out", f"reshape_{op.index}"), "reshape", [name], shape)


def _elements(kind: str) -> Form:
    def write(w: _Writer, op: FileOp) -> None:
        if len(op.inputs) != 2:
            raise Refused(f"{len(op.inputs)} inputs")
        out = w.tensors[op.outputs[0]]
        default = _numbers_of(w.tensors[op.inputs[0]]) if kind in ("maximum", "minimum") else None
        refs = [w.operand(op, place) for place in (0, 1)]
        w.add(op, kind, kind, refs, _active(op) | w.scaled(out, default), op.outputs[:1])

    return write


def _joined(kind: str) -> Form:
    def write(w: _Writer, op: FileOp) -> None:
        out = w.tensors[op.outputs[0]]
        if _active(op):
            raise Refused("a fused activation")
        refs = [w.operand(op, place, has_batch=True) for place in range(len(op.inputs))]
        given = {_numbers_of(w.tensors[index]) for index in op.inputs}
        default = given.pop() if len(given) == 1 else None
        fields = {"axis": w.axis(op.options["axis"], len(out.shape)), **w.scaled(out, default)}
        w.add(op, kind, "concat", refs, fields, op.outputs[:1])

    return write


def _pool(kind: str) -> Form:
    def write(w: _Writer, op: FileOp) -> None:
        x, kernel = w.source(op), (op.options["filter_height"], op.options["filter_width"])
        if _numbers_of(x) != _numbers_of(w.tensors[op.outputs[0]]):
            raise Refused("an output of another scale")
        w.add(op, kind, kind, [w.ref(x.index)], _windows(op, kernel, kernel) | _active(op), op.outputs[:1])

    return write


def _mean(w: _Writer, op: FileOp) -> None:
    x, out = w.source(op), w.tensors[op.outputs[0]]
    axes = sorted({w.axis(int(axis), len(x.shape)) for axis in np.atleast_1d(w.known(op, 1))})
    fields = {"axes": axes, **({"keep_dims": True} if op.options["keep_dims"] else {})}
    w.add(op, "mean", "mean", [w.ref(x.index)], fields | w.scaled(out, _numbers_of(x)), op.outputs[:1])


def _softmax(w: _Writer, op: FileOp) -> None:
    x, out = w.source(op), w.tensors[op.outputs[0]]
    beta = np.float32(op.options["beta"])
    fields: Fields = {} if beta == 1 else {"beta": beta}
    if out.type != x.type:
        fields["dtype"] = out.type.lower()
    fixed = FIXED_SOFTMAX.get((x.type.lower(), out.type.lower()))
    w.numbers(x)
    w.add(op, "softmax", "softmax", [w.ref(x.index)], fields | w.scaled(out, fixed), op.outputs[:1])


def _curve(kind: str, keeps: bool = False) -> Form:
    def write(w: _Writer, op: FileOp) -> None:
        x, out = w.source(op), w.tensors[op.outputs[0]]
        w.numbers(x)
        default = FIXED.get((kind, x.type.lower())) or (_numbers_of(x) if keeps else None)
        fields: Fields = {"alpha": np.float32(op.options["alpha"])} if kind == "leaky_relu" else {}
        if kind == "quantize" and out.type != x.type:
            fields["dtype"] = out.type.lower()
        elif out.type != x.type:
            raise Refused(f"an output of {out.type}")
        w.add(op, kind, kind, [w.ref(x.index)], fields | w.scaled(out, default), op.outputs[:1])

    return write


def _moved(w: _Writer, op: FileOp, kind: str, word: str, fields: Fields) -> None:
    x = w.source(op)
    w.numbers(x)
    given = [w.scaled(w.tensors[index], _numbers_of(x)) for index in op.outputs]
    if any(one != given[0] for one in given) or any(w.tensors[index].type != x.type for index in op.outputs):
        raise Refused("outputs of several scales or types")
    w.add(op, kind, word, [w.ref(x.index)], fields | given[0], op.outputs)


def _reshape(w: _Writer, op: FileOp) -> None:
    if op.inputs[0] in w.floats:
        w.floats[op.outputs[0]] = w.floats[op.inputs[0]]
        return
    _moved(w, op, "reshape", "reshape", {"shape": w.own(w.shape(w.tensors[op.outputs[0]]))})


def _transpose(w: _Writer, op: FileOp) -> None:
    perm = [int(axis) for axis in w.known(op, 1).reshape(-1)]
    if w.lead and perm[:1] != [0]:
        raise _NeedsBatch
    _moved(w, op, "transpose", "transpose", {"perm": [axis - w.lead for axis in perm[w.lead :]]})


def _pad(w: _Writer, op: FileOp) -> None:
    amounts = w.known(op, 1).reshape(-1, 2).tolist()
    if w.lead and amounts[0] != [0, 0]:
        raise _NeedsBatch
    fields: Fields = {"paddings": amounts[w.lead :]}
    if op.code == "PADV2":
        fields["value"] = int(w.known(op, 2).reshape(-1)[0])
    _moved(w, op, "pad", "pad", fields)


def _slice_of(w: _Writer, op: FileOp, begin: list[Any], end: list[Any], strides: list[int], gone: list[int]) -> None:
    shape = w.tensors[op.inputs[0]].shape
    if w.lead and begin:
        whole = range(1)[slice(begin[0], end[0], strides[0])] if 0 not in gone else range(0)
        if len(whole) != 1:
            raise _NeedsBatch
        begin, end, strides, gone = begin[1:], end[1:], strides[1:], [axis - 1 for axis in gone]
    if len(begin) > len(shape):
        raise Refused(f"a slice of {len(begin)} axes")
    fields: Fields = {"begin": begin, "end": end}
    if any(step != 1 for step in strides):
        fields["strides"] = strides
    if gone:
        fields["shrink_axes"] = gone
    _moved(w, op, "strided_slice", "slice", fields)


def _strided_slice(w: _Writer, op: FileOp) -> None:
    begin, end, strides = (w.known(op, place).reshape(-1).tolist() for place in (1, 2, 3))
    options = op.options
    if options["ellipsis_mask"] or options["new_axis_mask"] or options.get("offset"):
        raise Refused("an ellipsis or a new axis")
    gone = [axis for axis in range(len(begin)) if options["shrink_axis_mask"] >> axis & 1]
    for ends, mask in ((begin, "begin_mask"), (end, "end_mask")):
        for axis in range(len(ends)):
            if options[mask] >> axis & 1 and axis not in gone:
                ends[axis] = None
    _slice_of(w, op, begin, end, strides, gone)


def _slice(w: _Writer, op: FileOp) -> None:
    begin, size = (w.known(op, place).reshape(-1).tolist() for place in (1, 2))
    end = [None if count < 0 else at + count for at, count in zip(begin, size, strict=True)]
    _slice_of(w, op, begin, end, [1] * len(begin), [])


def _gather(w: _Writer, op: FileOp) -> None:
    if op.options.get("batch_dims"):
        raise Refused("batch_dims")
    axis = w.axis(op.options["axis"], len(w.source(op).shape))
    _moved(w, op, "gather", "gather", {"axis": axis, "indices": w.known(op, 1).tolist()})


def _split(w: _Writer, op: FileOp) -> None:
    at, place = (1, 0) if op.code == "SPLIT" else (0, 2)
    x = w.tensors[op.inputs[at]]
    axis = int(w.known(op, place).reshape(-1)[0])
    sizes = [w.tensors[index].shape[axis] for index in op.outputs]
    fields: Fields = {"axis": w.axis(axis, len(x.shape))}
    fields |= {"parts": len(sizes)} if op.code == "SPLIT" else {"sizes": sizes}
    _moved(w, _with_source(op, at), "split", "split", fields)


def _with_source(op: FileOp, place: int) -> FileOp:
    return FileOp(op.index, op.code, op.version, op.custom, (op.inputs[place],), op.outputs, op.options, op.name)


def _unstack(w: _Writer, op: FileOp) -> None:
    _moved(w, op, "unstack", "split", {"axis": w.axis(op.options["axis"], len(w.source(op).shape))})


def _resize(w: _Writer, op: FileOp) -> None:
    fields: Fields = {"size": w.known(op, 1).reshape(-1).tolist()}
    fields |= {key: True for key in ("align_corners", "half_pixel_centers") if op.options[key]}
    _moved(w, op, "resize_nearest", "resize_nearest", fields)


FORMS: dict[str, Form] = {
    "ADD": _elements("add"),
    "AVERAGE_POOL_2D": _pool("avg_pool2d"),
    "CONCATENATION": _joined("concat"),
    "CONV_2D": _conv2d,
    "DEPTHWISE_CONV_2D": _depthwise,
    "EXPAND_DIMS": _reshape,
    "FULLY_CONNECTED": _fully_connected,
    "GATHER": _gather,
    "HARD_SWISH": _curve("hard_swish"),
    "LEAKY_RELU": _curve("leaky_relu"),
    "LOGISTIC": _curve("sigmoid"),
    "MAXIMUM": _elements("maximum"),
    "MAX_POOL_2D": _pool("max_pool2d"),
    "MEAN": _mean,
    "MINIMUM": _elements("minimum"),
    "MUL": _elements("multiply"),
    "PACK": _joined("stack"),
    "PAD": _pad,
    "PADV2": _pad,
    "QUANTIZE": _curve("quantize"),
    "RELU": _curve("relu", True),
    "RELU6": _curve("relu6", True),
    "RELU_N1_TO_1": _curve("relu_n1_to_1", True),
    "RESHAPE": _reshape,
    "RESIZE_NEAREST_NEIGHBOR": _resize,
    "SLICE": _slice,
    "SOFTMAX": _softmax,
    "SPLIT": _split,
    "SPLIT_V": _split,
    "SQUEEZE": _reshape,
    "STRIDED_SLICE": _strided_slice,
    "SUB": _elements("sub"),
    "TANH": _curve("tanh"),
    "TRANSPOSE": _transpose,
    "UNPACK": _unstack,
}
"""Operator -> how it is written."""
