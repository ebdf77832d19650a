# SPDX-License-Identifier: Apache-2.0
"""Operators of `.tflite` files as layers of model files with zero points."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from ..integer_graph import Refused
from ..tflite.converters.common import ACTIVATIONS
from ..tflite.file import FileOp
from .operations import FIXED, FIXED_SOFTMAX
from .text import Fields, Form, NeedsBatch, Writer, numbers_of


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


def _weighted(w: Writer, op: FileOp, kind: str, fields: Fields, source: str, stored: np.ndarray, axis: int) -> None:
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


def _conv2d(w: Writer, op: FileOp) -> None:
    x, values = w.source(op), w.known(op, 1)
    if values.ndim != 4 or len(x.shape) != 4 or x.shape[3] % values.shape[3]:
        raise Refused(f"weights of shape {values.shape}")
    groups = x.shape[3] // values.shape[3]
    fields = {"out_channels": len(values), **_windows(op, values.shape[1:3], (1, 1)), **_dilation(op)}
    _weighted(w, op, "conv2d", fields | ({"groups": groups} if groups > 1 else {}), w.ref(x.index), values, 0)


def _depthwise(w: Writer, op: FileOp) -> None:
    x, values = w.source(op), w.known(op, 1)
    if values.ndim != 4 or len(x.shape) != 4:
        raise Refused(f"weights of shape {values.shape}")
    channels = values.shape[3]
    fields = {"out_channels": channels} if channels != x.shape[3] else {}
    fields |= {**_windows(op, values.shape[1:3], (1, 1)), **_dilation(op)}
    _weighted(w, op, "depthwise_conv2d", fields, w.ref(x.index), values[0], 3)


def _fully_connected(w: Writer, op: FileOp) -> None:
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
                raise NeedsBatch
            made = (prod(x.shape) // columns, rows)
            shape = {"shape": [made[0], columns]}
            source = w.layer(w.unused(f"{op.name}_in", f"reshape_{op.index}"), "reshape", [source], shape)
    _weighted(w, op, "fully_connected", fields, source, values, 0)
    if made != out.shape:
        name = w.layers[-1]["name"]
        shape = {"shape": w.own(out.shape)}
        w.refs[out.index] = w.layer(w.unused(f"{name}_out", f"reshape_{op.index}"), "reshape", [name], shape)


def _elements(kind: str) -> Form:
    def write(w: Writer, op: FileOp) -> None:
        if len(op.inputs) != 2:
            raise Refused(f"{len(op.inputs)} inputs")
        out = w.tensors[op.outputs[0]]
        default = numbers_of(w.tensors[op.inputs[0]]) if kind in ("maximum", "minimum") else None
        refs = [w.operand(op, place) for place in (0, 1)]
        w.add(op, kind, kind, refs, _active(op) | w.scaled(out, default), op.outputs[:1])

    return write


def _joined(kind: str) -> Form:
    def write(w: Writer, op: FileOp) -> None:
        out = w.tensors[op.outputs[0]]
        if _active(op):
            raise Refused("a fused activation")
        refs = [w.operand(op, place, has_batch=True) for place in range(len(op.inputs))]
        given = {numbers_of(w.tensors[index]) for index in op.inputs}
        default = given.pop() if len(given) == 1 else None
        fields = {"axis": w.axis(op.options["axis"], len(out.shape)), **w.scaled(out, default)}
        w.add(op, kind, "concat", refs, fields, op.outputs[:1])

    return write


def _pool(kind: str) -> Form:
    def write(w: Writer, op: FileOp) -> None:
        x, kernel = w.source(op), (op.options["filter_height"], op.options["filter_width"])
        if numbers_of(x) != numbers_of(w.tensors[op.outputs[0]]):
            raise Refused("an output of another scale")
        w.add(op, kind, kind, [w.ref(x.index)], _windows(op, kernel, kernel) | _active(op), op.outputs[:1])

    return write


def _mean(w: Writer, op: FileOp) -> None:
    x, out = w.source(op), w.tensors[op.outputs[0]]
    axes = sorted({w.axis(int(axis), len(x.shape)) for axis in np.atleast_1d(w.known(op, 1))})
    fields = {"axes": axes, **({"keep_dims": True} if op.options["keep_dims"] else {})}
    w.add(op, "mean", "mean", [w.ref(x.index)], fields | w.scaled(out, numbers_of(x)), op.outputs[:1])


def _softmax(w: Writer, op: FileOp) -> None:
    x, out = w.source(op), w.tensors[op.outputs[0]]
    beta = np.float32(op.options["beta"])
    fields: Fields = {} if beta == 1 else {"beta": beta}
    if out.type != x.type:
        fields["dtype"] = out.type.lower()
    fixed = FIXED_SOFTMAX.get((x.type.lower(), out.type.lower()))
    w.numbers(x)
    w.add(op, "softmax", "softmax", [w.ref(x.index)], fields | w.scaled(out, fixed), op.outputs[:1])


def _curve(kind: str, keeps: bool = False) -> Form:
    def write(w: Writer, op: FileOp) -> None:
        x, out = w.source(op), w.tensors[op.outputs[0]]
        w.numbers(x)
        default = FIXED.get((kind, x.type.lower())) or (numbers_of(x) if keeps else None)
        fields: Fields = {"alpha": np.float32(op.options["alpha"])} if kind == "leaky_relu" else {}
        if kind == "quantize" and out.type != x.type:
            fields["dtype"] = out.type.lower()
        elif out.type != x.type:
            raise Refused(f"an output of {out.type}")
        w.add(op, kind, kind, [w.ref(x.index)], fields | w.scaled(out, default), op.outputs[:1])

    return write


def _moved(w: Writer, op: FileOp, kind: str, word: str, fields: Fields) -> None:
    x = w.source(op)
    w.numbers(x)
    given = [w.scaled(w.tensors[index], numbers_of(x)) for index in op.outputs]
    if any(one != given[0] for one in given) or any(w.tensors[index].type != x.type for index in op.outputs):
        raise Refused("outputs of several scales or types")
    w.add(op, kind, word, [w.ref(x.index)], fields | given[0], op.outputs)


def _reshape(w: Writer, op: FileOp) -> None:
    if op.inputs[0] in w.floats:
        w.floats[op.outputs[0]] = w.floats[op.inputs[0]]
        return
    _moved(w, op, "reshape", "reshape", {"shape": w.own(w.shape(w.tensors[op.outputs[0]]))})


def _transpose(w: Writer, op: FileOp) -> None:
    perm = [int(axis) for axis in w.known(op, 1).reshape(-1)]
    if w.lead and perm[:1] != [0]:
        raise NeedsBatch
    _moved(w, op, "transpose", "transpose", {"perm": [axis - w.lead for axis in perm[w.lead :]]})


def _pad(w: Writer, op: FileOp) -> None:
    amounts = w.known(op, 1).reshape(-1, 2).tolist()
    if w.lead and amounts[0] != [0, 0]:
        raise NeedsBatch
    fields: Fields = {"paddings": amounts[w.lead :]}
    if op.code == "PADV2":
        fields["value"] = int(w.known(op, 2).reshape(-1)[0])
    _moved(w, op, "pad", "pad", fields)


def _slice_of(w: Writer, op: FileOp, begin: list[Any], end: list[Any], strides: list[int], gone: list[int]) -> None:
    shape = w.tensors[op.inputs[0]].shape
    if w.lead and begin:
        whole = range(1)[slice(begin[0], end[0], strides[0])] if 0 not in gone else range(0)
        if len(whole) != 1:
            raise NeedsBatch
        begin, end, strides, gone = begin[1:], end[1:], strides[1:], [axis - 1 for axis in gone]
    if len(begin) > len(shape):
        raise Refused(f"a slice of {len(begin)} axes")
    fields: Fields = {"begin": begin, "end": end}
    if any(step != 1 for step in strides):
        fields["strides"] = strides
    if gone:
        fields["shrink_axes"] = gone
    _moved(w, op, "strided_slice", "slice", fields)


def _strided_slice(w: Writer, op: FileOp) -> None:
    begin, end, strides = (w.known(op, place).reshape(-1).tolist() for place in (1, 2, 3))
    options = op.options
    if options["ellipsis_mask"] or options["new_axis_mask"] or options.get("offset"):
        raise Refused("an ellipsis or a new axis")
    gone = [axis for axis in range(len(begin)) if options["shrink_axis_mask"] >> axis & 1]
    for ends, mask in ((begin, "begin_mask"), (end, "end_mask")):
        for axis in range(len(ends)):
            if options[mask] >> axis & 1:
                ends[axis] = 0 if axis in gone else None
    _slice_of(w, op, begin, end, strides, gone)


def _slice(w: Writer, op: FileOp) -> None:
    begin, size = (w.known(op, place).reshape(-1).tolist() for place in (1, 2))
    end = [None if count < 0 else at + count for at, count in zip(begin, size, strict=True)]
    _slice_of(w, op, begin, end, [1] * len(begin), [])


def _gather(w: Writer, op: FileOp) -> None:
    if op.options.get("batch_dims"):
        raise Refused("batch_dims")
    axis = w.axis(op.options["axis"], len(w.source(op).shape))
    _moved(w, op, "gather", "gather", {"axis": axis, "indices": w.known(op, 1).tolist()})


def _look_up(w: Writer, op: FileOp) -> None:
    """GATHER of 256 constants by a byte."""
    x, out = w.tensors[w.bytes[op.inputs[1]]], w.tensors[op.outputs[0]]
    values = w.known(op, 0)
    if values.shape != (256,) or values.dtype != np.int8 or numbers_of(w.tensors[op.inputs[0]]) != numbers_of(out):
        raise Refused("constants that are no table of int8")
    w.numbers(x)
    w.add(op, "look_up", "look_up", [w.ref(x.index)], w.scaled(out, None), op.outputs[:1])
    w.arrays[f"{w.layers[-1]['name']}/value"] = values


def _cast(w: Writer, op: FileOp) -> None:
    """A byte that becomes an index."""
    if w.tensors[op.inputs[0]].type != "INT8":
        raise Refused(f"{w.tensors[op.inputs[0]].type} that becomes another type")
    w.bytes[op.outputs[0]] = op.inputs[0]


def _or_index(form: Form) -> Form:
    def write(w: Writer, op: FileOp) -> None:
        place = next((at for at, index in enumerate(op.inputs[:2]) if index in w.bytes), None)
        if place is None:
            form(w, op)
            return
        if w.known(op, 1 - place).reshape(-1).tolist() != [128]:
            raise Refused("an index other than a byte + 128")
        w.bytes[op.outputs[0]] = w.bytes[op.inputs[place]]

    return write


def _or_look_up(form: Form) -> Form:
    return lambda w, op: (_look_up if op.inputs[1] in w.bytes else form)(w, op)


def _split(w: Writer, op: FileOp) -> None:
    at, place = (1, 0) if op.code == "SPLIT" else (0, 2)
    x = w.tensors[op.inputs[at]]
    axis = int(w.known(op, place).reshape(-1)[0])
    sizes = [w.tensors[index].shape[axis] for index in op.outputs]
    fields: Fields = {"axis": w.axis(axis, len(x.shape))}
    fields |= {"parts": len(sizes)} if op.code == "SPLIT" else {"sizes": sizes}
    _moved(w, _with_source(op, at), "split", "split", fields)


def _with_source(op: FileOp, place: int) -> FileOp:
    return FileOp(op.index, op.code, op.version, op.custom, (op.inputs[place],), op.outputs, op.options, op.name)


def _unstack(w: Writer, op: FileOp) -> None:
    _moved(w, op, "unstack", "split", {"axis": w.axis(op.options["axis"], len(w.source(op).shape))})


def _resize(w: Writer, op: FileOp) -> None:
    fields: Fields = {"size": w.known(op, 1).reshape(-1).tolist()}
    fields |= {key: True for key in ("align_corners", "half_pixel_centers") if op.options[key]}
    _moved(w, op, "resize_nearest", "resize_nearest", fields)


FORMS: dict[str, Form] = {
    "ADD": _or_index(_elements("add")),
    "AVERAGE_POOL_2D": _pool("avg_pool2d"),
    "CAST": _cast,
    "CONCATENATION": _joined("concat"),
    "CONV_2D": _conv2d,
    "DEPTHWISE_CONV_2D": _depthwise,
    "EXPAND_DIMS": _reshape,
    "FULLY_CONNECTED": _fully_connected,
    "GATHER": _or_look_up(_gather),
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
