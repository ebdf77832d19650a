# SPDX-License-Identifier: Apache-2.0
"""Operators that move elements and compute nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np

from cmsisnn_x.affine import AffineClamp, AffineRescale, kernel_multiplier
from cmsisnn_x.affine import tables as affine_tables
from cmsisnn_x.layers import View
from cmsisnn_x.scheme import TENSOR_TYPES

from ...integer_graph import Quantised, Refused, strides_of
from ..context import Context, MovedInput
from ..file import FileOp
from .common import (
    Converter,
    activation_of,
    axis_of,
    image_of,
    numbers_of,
    require_type,
)

# ---------------------------------------------------------------- moves


def _view(walk: Context, op: FileOp, view: View, place: int = 0, kind: str = "copy") -> None:
    x, out = walk.input(op), walk.output(op, place)
    require_type(out, x.type)  # scales are not compared: TFLM and LiteRT move the integers as they are
    if prod(view.shape) != out.size:
        raise Refused(f"expected a result of {prod(view.shape)} elements, the file has {out.shape}")
    suffix = f"_{place}" if len(op.outputs) > 1 else ""
    walk.builder.copy(walk.name(op, kind) + suffix, x, out, view)
    walk.become(op, out, place)


def _moves_floats(walk: Context, op: FileOp, view: View, kind: str) -> bool:
    """Whether it is floats that are moved, at the border of the network or in an island: then integers are instead,
    which stand for them, those of an input behind its QUANTIZE.
    """
    index, made = walk.source(op), op.outputs[0]
    shape = walk.shape(walk.file_tensor(made))
    if index in walk.floats:
        curve = walk.floats[index]
        item = curve.item
        moved = Quantised(f"t{made}", shape, item.type, item.scale, item.zero_point)
        walk.builder.copy(walk.name(op, kind), item, moved, view)
        walk.floats[made] = replace(curve, item=moved)
        return True
    is_input = walk.file_tensor(index).type == "FLOAT32" and index in walk.subgraph.inputs
    if is_input or index in walk.moved:
        before = walk.moved.get(index, MovedInput(index))
        walk.moved[made] = MovedInput(before.source, (*before.moves, (walk.name(op, kind), view, shape)))
        return True
    return False


def _reshape(walk: Context, op: FileOp) -> None:
    index = walk.source(op)
    if index in walk.floats:
        walk.floats[op.outputs[0]] = walk.floats[index]
        return
    if index in walk.softmaxes:
        walk.softmaxes[op.outputs[0]] = walk.softmaxes[index]
        return
    given, made = (prod(walk.shape(walk.file_tensor(one))) for one in (index, op.outputs[0]))
    if given == made and _moves_floats(walk, op, View((given,), (1,)), "reshape"):
        return
    x, out = walk.input(op), walk.output(op)
    if x.size != out.size:
        raise Refused(f"{x.shape} does not become {out.shape}")
    _view(walk, op, View((x.size,), (1,)), kind="reshape")


def _transpose(walk: Context, op: FileOp) -> None:
    shape, order = walk.shape(walk.file_tensor(walk.source(op))), walk.numbers(op, 1, "permutation")
    if sorted(order) != list(range(len(shape))):
        raise Refused(f"expected a permutation of {len(shape)} axes, got {order}")
    steps = strides_of(shape)
    view = View(tuple(shape[axis] for axis in order), tuple(steps[axis] for axis in order))
    fits = prod(walk.shape(walk.file_tensor(op.outputs[0]))) == prod(shape)
    if not (fits and _moves_floats(walk, op, view, "transpose")):
        _view(walk, op, view, kind="transpose")


def _pad(walk: Context, op: FileOp) -> None:
    x, out = walk.input(op), walk.output(op)
    require_type(out, x.type)
    amounts = walk.numbers(op, 1, "paddings")
    pairs = list(zip(amounts[::2], amounts[1::2], strict=False))
    if len(amounts) != 2 * len(x.shape) or min(amounts, default=0) < 0:
        raise Refused(f"expected paddings of {len(x.shape)} axes, got {amounts}")
    padded = tuple(before + size + after for size, (before, after) in zip(x.shape, pairs, strict=True))
    if padded != out.shape:
        raise Refused(f"expected an output of {padded}, the file has {out.shape}")
    fill = out.zero_point
    if op.code == "PADV2":
        value = walk.constant(op, 2, "value")
        if value.size != 1 or value.dtype != TENSOR_TYPES[x.type].dtype:
            raise Refused(f"expected one value of {x.type}, got {value.dtype} of {value.shape}")
        fill = int(value.reshape(-1)[0])
    steps = strides_of(out.shape)
    offset = sum(before * step for (before, _), step in zip(pairs, steps, strict=True))
    walk.builder.add(
        walk.name(op, "pad"), "pad", [x], out, input_shape=(x.size,), output_shape=(out.size,),
        view=View(x.shape, steps, offset), scheme=AffineClamp(*out.limits, fill),
    )  # fmt: skip
    walk.become(op, out)


def _concat_of(walk: Context, op: FileOp, items: Sequence[Quantised], out: Quantised, axis: int) -> None:
    if not items or any(len(item.shape) != len(out.shape) for item in items):
        raise Refused(f"inputs of {[item.shape for item in items]} do not give {out.shape}")
    axis = axis_of(axis, out)
    others = {item.shape[:axis] + item.shape[axis + 1 :] for item in items} | {out.shape[:axis] + out.shape[axis + 1 :]}
    if len(others) > 1 or sum(item.shape[axis] for item in items) != out.shape[axis]:
        raise Refused(f"inputs of {[item.shape for item in items]} do not give {out.shape}")
    outer = prod(out.shape[:axis])
    alike = [_as(walk, op, item, out, place) for place, item in enumerate(items)]
    inner = [item.size // outer for item in alike]
    walk.builder.add(
        walk.name(op, "concat"), "concat", alike, out, input_shape=(outer, inner[0]),
        more_inputs=tuple((outer, size) for size in inner[1:]), output_shape=(outer, out.size // outer),
        scheme=AffineClamp(*out.limits),
    )  # fmt: skip
    walk.become(op, out)


def _as(walk: Context, op: FileOp, item: Quantised, out: Quantised, place: int) -> Quantised:
    """`item` at the scale of `out`."""
    if item.is_scaled_as(out):
        return item
    if "int16" in (item.type, out.type):
        require_type(item, out.type)
    scaled = Quantised(f"{out.name}_in{place}", item.shape, out.type, out.scale, out.zero_point)
    if item.type == "int16":
        scheme = AffineRescale(
            item.zero_point, out.zero_point, *kernel_multiplier(item.scale / out.scale), *out.limits
        )  # fmt: skip
        walk.builder.add(
            f"{walk.name(op, 'quantize')}_{place}", "requantise", [item], scaled, input_shape=(item.size,),
            output_shape=(item.size,), scheme=scheme,
        )  # fmt: skip
        return scaled
    table = affine_tables.rescaled(numbers_of(item), numbers_of(out))
    walk.builder.table(f"{walk.name(op, 'quantize')}_{place}", item, scaled, table)
    return scaled


def _concatenation(walk: Context, op: FileOp) -> None:
    if activation_of(op) is not None:
        raise Refused("a fused activation")
    items = [walk.input(op, place) for place in range(len(op.inputs))]
    _concat_of(walk, op, items, walk.output(op), op.options["axis"])


def _pack(walk: Context, op: FileOp) -> None:
    out = walk.output(op)
    axis = axis_of(op.options["axis"], out)
    items = []
    for place in range(len(op.inputs)):
        item = walk.input(op, place)
        if len(item.shape) != len(out.shape) - 1:
            raise Refused(f"{item.shape} is no part of {out.shape}")
        walk.builder.tensor(item)  # in its own shape
        items.append(replace(item, shape=(*item.shape[:axis], 1, *item.shape[axis:])))
    _concat_of(walk, op, items, out, axis)


def _unpack(walk: Context, op: FileOp) -> None:
    x = walk.input(op)
    axis = axis_of(op.options["axis"], x)
    if x.shape[axis] != len(op.outputs):
        raise Refused(f"{len(op.outputs)} outputs of axis {axis} of {x.shape}")
    _parts(walk, op, x, axis, [1] * len(op.outputs))


def _parts(walk: Context, op: FileOp, x: Quantised, axis: int, sizes: Sequence[int]) -> None:
    """Pieces one behind the other along an axis, each an output."""
    steps, at = strides_of(x.shape), 0
    for place, size in enumerate(sizes):
        shape = (*x.shape[:axis], size, *x.shape[axis + 1 :])
        _view(walk, op, View(shape, steps, at * steps[axis]), place, "split")
        at += size


def _split(walk: Context, op: FileOp) -> None:
    """SPLIT (axis, x) into equal parts and SPLIT_V (x, sizes, axis)."""
    if op.code == "SPLIT":
        data = walk.input(op, 1)
        axis, parts = axis_of(walk.number(op, 0, "axis"), data), len(op.outputs)
        if data.shape[axis] % parts:
            raise Refused(f"axis {axis} of {data.shape} does not come in {parts} parts")
        sizes: list[int] = [data.shape[axis] // parts] * parts
        op = replace(op, inputs=(op.inputs[1],))
    else:
        data = walk.input(op)
        axis = axis_of(walk.number(op, 2, "axis"), data)
        sizes = list(walk.numbers(op, 1, "sizes"))
        if sizes.count(-1) == 1:
            sizes[sizes.index(-1)] = data.shape[axis] - sum(sizes) - 1
        if min(sizes, default=0) < 1 or sum(sizes) != data.shape[axis] or len(sizes) != len(op.outputs):
            raise Refused(f"axis {axis} of {data.shape} does not come in parts of {sizes}")
    _parts(walk, op, data, axis, sizes)


def strided_index(
    options: Any, shape: Sequence[int], begin: Sequence[int], end: Sequence[int], stride: Sequence[int]
) -> tuple[Any, ...]:
    """The index of STRIDED_SLICE as NumPy takes it. Raises ValueError where it has another form."""
    if options["ellipsis_mask"] or options["new_axis_mask"] or options.get("offset"):
        raise ValueError("expected a slice without ellipsis, new axes and offsets")
    if not len(begin) == len(end) == len(stride) <= len(shape) or 0 in stride:
        raise ValueError(f"expected a slice of {tuple(shape)}, got {begin}, {end}, {stride}")
    index: list[Any] = []
    for axis, (first, last, step) in enumerate(zip(begin, end, stride, strict=True)):
        is_open = options["begin_mask"] >> axis & 1
        if options["shrink_axis_mask"] >> axis & 1:
            if step < 0:  # which TFLM and LiteRT read in two ways
                raise ValueError(f"expected positive strides where an axis goes, got {stride}")
            index.append(0 if is_open else first)
            continue
        start = None if is_open else first
        stop = None if options["end_mask"] >> axis & 1 else last
        index.append(slice(start, stop, step))
    return tuple(index)


def _strided_slice(walk: Context, op: FileOp) -> None:
    x = walk.input(op)
    parts = (walk.numbers(op, place, what) for place, what in ((1, "begin"), (2, "end"), (3, "strides")))
    try:
        index = strided_index(op.options, x.shape, *parts)
    except ValueError as problem:
        raise Refused(str(problem)) from None
    _sliced(walk, op, x, index)


def _slice(walk: Context, op: FileOp) -> None:
    x, begin, size = walk.input(op), walk.numbers(op, 1, "begin"), walk.numbers(op, 2, "size")
    if len(begin) != len(x.shape) or len(size) != len(x.shape):
        raise Refused(f"expected a slice of {x.shape}, got {begin} and {size}")
    ends = [None if count < 0 else at + count for at, count in zip(begin, size, strict=True)]
    _sliced(walk, op, x, tuple(slice(at, end) for at, end in zip(begin, ends, strict=True)))


def _sliced(walk: Context, op: FileOp, x: Quantised, index: tuple[Any, ...]) -> None:
    """What NumPy makes of an index, as a view: it knows the rules of negative and clipped ends."""
    own = np.lib.stride_tricks.as_strided(np.zeros(1, np.int8), x.shape, strides_of(x.shape), writeable=False)
    try:
        part = own[(*index, ...)]  # an array, even of one element
    except IndexError as problem:
        raise Refused(str(problem)) from None
    offset = part.__array_interface__["data"][0] - own.__array_interface__["data"][0] if part.size else 0
    _view(walk, op, View(part.shape, part.strides, offset), kind="slice")


def _gather(walk: Context, op: FileOp) -> None:
    """A single index, or indices in steps: a slice."""
    x, at = walk.input(op), walk.numbers(op, 1, "indices")
    axis = axis_of(op.options["axis"], x)
    steps = {int(step) for step in np.diff(at)}
    if op.options["batch_dims"] or len(steps) > 1:
        raise Refused("expected indices in equal steps")
    if not at or min(at) < 0 or max(at) >= x.shape[axis]:
        raise Refused(f"expected indices of axis {axis} of {x.shape}, got {at}")
    own = strides_of(x.shape)
    step = steps.pop() if steps else 1
    shape = (*x.shape[:axis], len(at), *x.shape[axis + 1 :])
    _view(walk, op, View(shape, (*own[:axis], own[axis] * step, *own[axis + 1 :]), at[0] * own[axis]), kind="gather")


def nearest(size: int, out: int, align_corners: bool, half_pixel_centers: bool) -> np.ndarray:
    """Which of `size` pixels each of `out` reads, in float32 as LiteRT computes it."""
    corners = align_corners and out > 1
    scale = np.float32(size - 1) / np.float32(out - 1) if corners else np.float32(size) / np.float32(out)
    at = (np.arange(out, dtype=np.float32) + np.float32(0.5 if half_pixel_centers else 0)) * scale
    source = np.floor(at + np.float32(0.5)) if align_corners else np.floor(at)
    return np.clip(source.astype(np.int64), 0, size - 1)


def _resize(walk: Context, op: FileOp) -> None:
    x, out = walk.input(op), walk.output(op)
    require_type(out, x.type)
    batch, height, width, channels = image_of(x)
    new = walk.numbers(op, 1, "size")
    if out.shape != (batch, *new, channels):
        raise Refused(f"expected an output of {(batch, *new, channels)}, the file has {out.shape}")
    walk.builder.require_room(16 * sum(new))
    flags = (bool(op.options["align_corners"]), bool(op.options["half_pixel_centers"]))
    rows, columns = nearest(height, new[0], *flags), nearest(width, new[1], *flags)
    table = np.concatenate([rows * width * channels, columns * channels]).astype(np.int32)
    walk.builder.add(
        walk.name(op, "resize_nearest"), "resize_nearest", [x], out, input_shape=x.shape[1:],
        output_shape=out.shape[1:], samples=batch, table=table, scheme=AffineClamp(*out.limits),
    )  # fmt: skip
    walk.become(op, out)


CONVERTERS: dict[str, Converter] = {
    "CONCATENATION": _concatenation,
    "EXPAND_DIMS": _reshape,
    "GATHER": _gather,
    "PACK": _pack,
    "PAD": _pad,
    "PADV2": _pad,
    "RESHAPE": _reshape,
    "RESIZE_NEAREST_NEIGHBOR": _resize,
    "SLICE": _slice,
    "SPLIT": _split,
    "SPLIT_V": _split,
    "SQUEEZE": _reshape,
    "STRIDED_SLICE": _strided_slice,
    "TRANSPOSE": _transpose,
    "UNPACK": _unpack,
}
