# SPDX-License-Identifier: Apache-2.0
"""Operators of quantised ONNX networks that move elements and compute nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np

from ...integer_graph import Refused
from ...tflite.converters.moves import nearest
from ..file import Node
from .elements import operand
from .items import Constant, Curve, Goal, Integers, Item, Stored, Waiting, shape_of
from .layout import Layout, image_axes
from .reduce import moved
from .walk import Translator, Walk

# ---------------------------------------------------------------- shapes and axes


def _relaid(walk: Walk, item: Item, name: str, shape: Sequence[int], permutation: Sequence[int] | None = None) -> Item:
    """Another shape, or exchanged axes: as a rule nothing but another layout."""
    if isinstance(item, Curve):
        layout = item.layout.transposed(permutation) if permutation else item.layout.reshaped(shape)
        if layout is None:
            raise Refused("floats that are moved between DequantizeLinear and QuantizeLinear")
        return replace(item, layout=layout)

    def move(x: Stored) -> Stored:
        if permutation is not None:
            return replace(x, layout=x.layout.transposed(permutation))
        return walk.reshaped(x, shape)

    return moved(walk, item, name, tuple(shape), move)


def _same_size(item: Item, shape: Sequence[int]) -> tuple[int, ...]:
    if prod(shape_of(item)) != prod(shape):
        raise Refused(f"shape {list(shape_of(item))} does not become {list(shape)}")
    return tuple(shape)


def _reshape(walk: Walk, node: Node) -> Item:
    item, given = walk.item(node), walk.numbers(node, "shape", 1)
    if given is None:
        raise Refused("shape: expected one, got none")
    own = shape_of(item)
    if not node.attributes.get("allowzero"):
        if any(size == 0 and at >= len(own) for at, size in enumerate(given)):
            raise Refused(f"shape {given} keeps an axis that shape {list(own)} has not")
        given = [own[at] if size == 0 else size for at, size in enumerate(given)]
    if given.count(-1) == 1:
        rest = -prod(given)
        given = [prod(own) // rest if size == -1 and rest else size for size in given]
    if min(given, default=1) < 1:
        raise Refused(f"shape {given}: expected sizes above 0")
    return _relaid(walk, item, node.inputs[0], _same_size(item, given))


def _flatten(walk: Walk, node: Node) -> Item:
    item = walk.item(node)
    own, given = shape_of(item), node.attributes.get("axis")
    axis = 1 if given is None else int(given)
    if not -len(own) <= axis <= len(own):
        raise Refused(f"expected an axis of {len(own)}, got {axis}")
    axis = axis + len(own) if axis < 0 else axis
    return _relaid(walk, item, node.inputs[0], (prod(own[:axis]), prod(own[axis:])))


def _squeeze(walk: Walk, node: Node) -> Item:
    item = walk.item(node)
    own, axes = shape_of(item), walk.numbers(node, "axes", 1)
    gone = {walk.axis(axis, item) for axis in axes} if axes is not None else {a for a, s in enumerate(own) if s == 1}
    return _relaid(walk, item, node.inputs[0], _same_size(item, [s for at, s in enumerate(own) if at not in gone]))


def _unsqueeze(walk: Walk, node: Node) -> Item:
    item, axes = walk.item(node), walk.numbers(node, "axes", 1)
    own = list(shape_of(item))
    rank = len(own) + len(axes or [])
    for axis in sorted(axis + rank if axis < 0 else axis for axis in axes or []):
        if not 0 <= axis <= len(own):
            raise Refused(f"axes {axes} of shape {list(shape_of(item))}")
        own.insert(axis, 1)
    return _relaid(walk, item, node.inputs[0], own)


def _transpose(walk: Walk, node: Node) -> Item:
    item = walk.item(node)
    own = shape_of(item)
    order = [int(axis) for axis in node.attributes.get("perm") or range(len(own))[::-1]]
    if sorted(order) != list(range(len(own))):
        raise Refused(f"perm: expected a permutation of {len(own)} axes, got {order}")
    return _relaid(walk, item, node.inputs[0], [own[axis] for axis in order], order)


def _depth_to_space(walk: Walk, node: Node) -> Item:
    item, block = walk.item(node), int(node.attributes.get("blocksize") or 0)
    shape = shape_of(item)
    if len(shape) != 4 or block < 1:
        raise Refused(f"expected an image and a block size, got shape {list(shape)} and {block}")
    batch, channels, height, width = shape
    if node.op == "SpaceToDepth":
        if height % block or width % block:
            raise Refused(f"blocks of {block} do not fit an image of {height} x {width}")
        blocks = (0, 1, 3, 5, 2, 4) if node.attributes.get("mode") == "CRD" else (0, 3, 5, 1, 2, 4)
        steps = [(batch, channels, height // block, block, width // block, block), blocks,
                 (batch, channels * block**2, height // block, width // block)]  # fmt: skip
    else:
        if channels % block**2:
            raise Refused(f"{channels} channels do not make blocks of {block}")
        depth, size = channels // block**2, (batch, channels // block**2, height * block, width * block)
        steps = [(batch, block, block, depth, height, width), (0, 3, 4, 1, 5, 2), size]
        if node.attributes.get("mode") == "CRD":
            steps = [(batch, depth, block, block, height, width), (0, 1, 4, 2, 5, 3), size]
    first, order, last = steps
    item = _relaid(walk, item, node.inputs[0], first)
    item = _relaid(walk, item, node.inputs[0], [first[axis] for axis in order], order)
    return _relaid(walk, item, node.inputs[0], last)


def _identity(walk: Walk, node: Node) -> Item:
    return walk.item(node)


def _cast(walk: Walk, node: Node) -> Item:
    if int(node.attributes.get("to") or 0) not in (1, 10, 11, 16):
        raise Refused("a Cast to integers: QuantizeLinear can be taken")
    return walk.item(node)


# ---------------------------------------------------------------- parts


def _part(walk: Walk, item: Item, name: str, index: Sequence[slice]) -> Item:
    """A slice along some axes, as NumPy takes it, with steps forward."""
    own = shape_of(item)
    ranges = [range(size)[part] for size, part in zip(own, index, strict=True)]
    shape = tuple(len(one) for one in ranges)
    if not all(shape):
        raise Refused(f"a slice of shape {list(own)} without elements")
    if shape == own:
        return item

    def move(x: Stored) -> Stored:
        x, axes = walk.whole_axes(x)
        made = walk.stored(walk.to.tensors[x.tensor].name, [shape[axis] for axis in axes],
                           Layout.of(shape, axes), x.numbers)  # fmt: skip
        kept = [ranges[axis] for axis in axes]
        parts = ([one[0] for one in kept], [one[-1] + 1 for one in kept], [one.step for one in kept])
        walk.op("STRIDED_SLICE", [x.tensor, *map(walk.constant, parts)], [made.tensor])
        return made

    return moved(walk, item, name, shape, move)


def _slice(walk: Walk, node: Node) -> Item:
    item = walk.item(node)
    own = shape_of(item)
    starts, ends = walk.numbers(node, "starts", 1), walk.numbers(node, "ends", 2)
    if starts is None or ends is None or len(starts) != len(ends):
        raise Refused("expected as many starts as ends")
    axes = walk.numbers(node, "axes", 3) or list(range(len(starts)))
    steps = walk.numbers(node, "steps", 4) or [1] * len(starts)
    if not len(axes) == len(steps) == len(starts) or min(steps, default=1) < 1:
        raise Refused(f"expected steps forward for each of {len(starts)} axes, got {steps}")
    index = [slice(None)] * len(own)
    for axis, *part in zip(axes, starts, ends, steps, strict=True):
        index[walk.axis(axis, item)] = slice(*part)
    return _part(walk, item, node.inputs[0], index)


def _split(walk: Walk, node: Node) -> list[Item]:
    item = walk.item(node)
    axis = walk.axis(int(node.attributes.get("axis") or 0), item)
    size, count = shape_of(item)[axis], len(node.outputs)
    sizes = walk.numbers(node, "split", 1)
    if sizes is None:
        each = -(-size // count)
        sizes = [each] * (count - 1) + [size - each * (count - 1)]
    if len(sizes) != count or sum(sizes) != size or min(sizes) < 1:
        raise Refused(f"axis {axis} of {size} does not come in parts of {sizes}")
    found, at = [], 0
    for one in sizes:
        index = [slice(None)] * len(shape_of(item))
        index[axis] = slice(at, at + one)
        found.append(_part(walk, item, node.inputs[0], index))
        at += one
    return found


def _gather(walk: Walk, node: Node) -> Item:
    """A single index, or indices in equal steps forward: a slice."""
    item, given = walk.item(node), walk.known(node, 1, "indices")
    axis = walk.axis(int(node.attributes.get("axis") or 0), item)
    size = shape_of(item)[axis]
    at = [int(value) + size if value < 0 else int(value) for value in given.reshape(-1)]
    steps = {int(step) for step in np.diff(at)} or {1}
    if given.ndim > 1 or not at or min(at) < 0 or max(at) >= size or len(steps) > 1 or min(steps) < 1:
        raise Refused("expected indices in equal steps forward")
    index = [slice(None)] * len(shape_of(item))
    index[axis] = slice(at[0], at[-1] + 1, steps.pop())
    found = _part(walk, item, node.inputs[0], index)
    if given.ndim:
        return found
    return _relaid(walk, found, node.inputs[0], [s for a, s in enumerate(shape_of(found)) if a != axis])


# ---------------------------------------------------------------- frames, sizes, joins


def _pad(walk: Walk, node: Node) -> Item:
    item = walk.item(node)
    own = shape_of(item)
    amounts = walk.numbers(node, "pads", 1)
    if (node.attributes.get("mode") or "constant") != "constant":
        raise Refused(f"mode {node.attributes['mode']!r}: expected constant")
    value = float(node.attributes.get("value") or 0)
    if walk.has(node, 2):
        values = walk.known(node, 2, "value").reshape(-1)
        if values.size != 1:
            raise Refused(f"value: expected one number, got {values.size}")
        value = float(values[0])
    axes = walk.numbers(node, "axes", 3) or list(range(len(own)))
    if amounts is None or len(amounts) != 2 * len(axes) or min(amounts) < 0 or np.isnan(value):
        raise Refused(f"pads: expected two numbers from 0 on for each axis, got {amounts}")
    pairs = [(0, 0)] * len(own)
    for place, axis in enumerate(axes):
        pairs[walk.axis(axis, item)] = (amounts[place], amounts[place + len(axes)])
    if not any(map(sum, pairs)):
        return item
    if isinstance(item, Waiting) and value:
        raise Refused("a Pad of another number than 0 behind a result that is not quantised")
    shape = tuple(size + sum(pair) for size, pair in zip(own, pairs, strict=True))
    is_steps = isinstance(item, Stored)  # in the middle of QOperator networks: a number of the integers' own

    def move(x: Stored) -> Stored:
        x, axes = walk.whole_axes(x)
        layout = Layout.of(shape, axes)
        made = walk.stored(walk.to.tensors[x.tensor].name, [shape[axis] for axis in axes], layout, x.numbers)
        inputs = [x.tensor, walk.constant([pairs[axis] for axis in axes])]
        fill = int(value) - 128 * x.numbers.is_unsigned if is_steps else x.numbers.quantise(value)
        if not x.numbers.limits[0] <= fill <= x.numbers.limits[1]:
            raise Refused(f"value: expected one of the integers, got {value:g}")
        if fill != x.numbers.zero_point:
            dtype = np.int16 if x.numbers.type == "INT16" else np.int8
            numbers = (x.numbers.scale, x.numbers.zero_point)
            inputs.append(walk.to.tensor("", scale=numbers[0], zero_point=numbers[1], data=np.array([fill], dtype)))
        walk.op("PAD" if len(inputs) == 2 else "PADV2", inputs, [made.tensor])
        return made

    return moved(walk, item, node.inputs[0], shape, move)


def pixels_of(node: Node, size: int, count: int, scale: float) -> np.ndarray:
    """Which of `size` pixels each of `count` reads, by ONNX's rules."""
    mode = node.attributes.get("coordinate_transformation_mode") or (
        "half_pixel" if node.op == "Resize" else "asymmetric"
    )
    rounding = node.attributes.get("nearest_mode") or ("round_prefer_floor" if node.op == "Resize" else "floor")
    at = np.arange(count, dtype=np.float64)
    place: Callable[[], np.ndarray] | None = {
        "half_pixel": lambda: (at + 0.5) / scale - 0.5,
        "pytorch_half_pixel": lambda: (at + 0.5) / scale - 0.5 if count > 1 else at * 0,
        "asymmetric": lambda: at / scale,
        "align_corners": lambda: at * (size - 1) / (count - 1) if count > 1 else at * 0,
        "tf_half_pixel_for_nn": lambda: (at + 0.5) / scale,
    }.get(mode)
    snap: Any = {
        "round_prefer_floor": lambda x: np.ceil(x - 0.5),
        "round_prefer_ceil": lambda x: np.floor(x + 0.5),
        "floor": np.floor,
        "ceil": np.ceil,
    }.get(rounding)
    if place is None or snap is None:
        raise Refused(f"coordinates {mode!r}, {rounding!r}")
    return np.clip(snap(place()).astype(np.int64), 0, size - 1)


def _resize(walk: Walk, node: Node) -> Item:
    item = walk.item(node)
    own = shape_of(item)
    mode = node.attributes.get("mode") or "nearest"
    mode = mode.decode() if isinstance(mode, bytes) else mode
    if mode != "nearest" or len(own) != 4:
        raise Refused(f"mode {mode!r} of shape {list(own)}: expected nearest, of an image")
    places = {"Upsample": 1, "Resize": 2 if walk.network.opset > 10 else 1}
    scales = [float(v) for v in node.attributes.get("scales") or ()]
    if walk.has(node, places[node.op]):
        scales = [float(v) for v in walk.known(node, places[node.op], "scales").reshape(-1)]
    sizes = walk.numbers(node, "sizes", 3) if node.op == "Resize" and walk.network.opset > 10 else None
    if sizes is None:
        if len(scales) != 4 or not np.isfinite(scales).all() or min(scales) <= 0 or max(scales) > 65535:
            raise Refused(f"scales: expected four positive numbers, got {scales}")
        sizes = [int(np.floor(size * scale)) for size, scale in zip(own, scales, strict=True)]
    elif len(sizes) == 4 and min(sizes) > 0:
        scales = [new / old for new, old in zip(sizes, own, strict=True)]
    if len(sizes) != 4 or tuple(sizes[:2]) != own[:2] or not 1 <= min(sizes) <= max(sizes) <= 65535:
        raise Refused(f"expected another height and width alone, got sizes {sizes} of {list(own)}")
    shape = tuple(sizes)
    wanted = [pixels_of(node, own[axis], shape[axis], scales[axis]) for axis in (2, 3)]
    for align, half in ((False, False), (False, True), (True, False), (True, True)):
        found = [nearest(own[axis], shape[axis], align, half) for axis in (2, 3)]
        if all(np.array_equal(*pair) for pair in zip(wanted, found, strict=True)):
            break
    else:
        raise Refused("a choice of pixels that RESIZE_NEAREST_NEIGHBOR has not")

    def move(x: Stored) -> Stored:
        index = walk.image(x)
        layout = Layout.of(shape, image_axes(4))
        made = walk.stored(walk.to.tensors[x.tensor].name, (shape[0], *shape[2:], shape[1]), layout, x.numbers)
        options = {"align_corners": align, "half_pixel_centers": half}
        walk.op("RESIZE_NEAREST_NEIGHBOR", [index, walk.constant(shape[2:])], [made.tensor], **options)
        return made

    return moved(walk, item, node.inputs[0], shape, move)


def _concat(walk: Walk, node: Node) -> Item:
    items = [walk.item(node, place) for place in range(len(node.inputs))]
    return concat(walk, items, node.inputs, int(node.attributes.get("axis") or 0))


def concat(walk: Walk, items: Sequence[Item], names: Sequence[str], axis: int) -> Waiting:
    """Tensors behind each other; those of another scale are rounded to that of the output first."""
    values = [operand(walk, item, name) for item, name in zip(items, names, strict=True)]
    axis = walk.axis(axis, items[0])
    shapes = [value.layout.shape for value in values]
    if len({(*shape[:axis], 0, *shape[axis + 1 :]) for shape in shapes}) > 1:
        raise Refused(f"shapes {shapes} do not fit together along axis {axis}")
    first, order = walk.whole_axes(max(values, key=lambda value: prod(value.layout.shape)))
    del first
    shape = (*shapes[0][:axis], sum(one[axis] for one in shapes), *shapes[0][axis + 1 :])
    layout = Layout.of(shape, order)

    def make(goal: Goal) -> Stored:
        parts = []
        for value in values:
            index = walk.by_axes(value, order)
            part = Stored(index, Layout.of(value.layout.shape, order), value.numbers)
            parts.append(walk.requantised(part, goal.numbers, goal.name).tensor)
        made = walk.stored(goal.name, [shape[at] for at in order], layout, goal.numbers)
        walk.op("CONCATENATION", parts, [made.tensor], axis=order.index(axis))
        return made

    return walk.wait(shape, make)


# ---------------------------------------------------------------- of constants


def constant_moved(node: Node, item: Constant, result: np.ndarray, moved_values: np.ndarray) -> Constant:
    """A quantised constant stays one where it is moved; `result` has its axes numbered as the operator leaves them."""
    found = item.integers
    assert found is not None
    axis = 0
    if found.scale.size > 1:
        sizes = [at for at, size in enumerate(result.shape) if size == found.scale.size]
        axis = int(node.attributes["perm"].index(found.axis)) if node.op == "Transpose" else min(sizes, default=-1)
        if node.op != "Transpose" and (axis < 0 or prod(result.shape[:axis]) != prod(found.values.shape[: found.axis])):
            raise Refused("quantised weights whose axis of scales is cut by a Reshape")
    return Constant(None, Integers(moved_values, found.scale, found.zero_point, axis))


TRANSLATORS: dict[str, Translator] = {
    "Cast": _cast,
    "Concat": _concat,
    "DepthToSpace": _depth_to_space,
    "Dropout": _identity,
    "Flatten": _flatten,
    "Gather": _gather,
    "Identity": _identity,
    "Pad": _pad,
    "Reshape": _reshape,
    "Resize": _resize,
    "Slice": _slice,
    "SpaceToDepth": _depth_to_space,
    "Split": _split,
    "Squeeze": _squeeze,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
    "Upsample": _resize,
}
