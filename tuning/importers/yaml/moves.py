# SPDX-License-Identifier: Apache-2.0
"""Operations of model files with zero points that move elements and compute nothing."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from cmsisnn_x.scheme import TENSOR_TYPES

from .net import Net, Operation, Value, Wrong, image_of


def _moved(net: Net, x: Value, shape: Sequence[int], part: int | None = None) -> Value:
    return net.out(shape, x.type, net.numbers(x.type, x.numbers), part)


def _pad(net: Net, layer: Any, inputs: Sequence[Value]) -> list[Value]:
    (x,) = inputs
    own = net.own_shape(x.shape)
    if len(layer.paddings) != len(own):
        raise Wrong("paddings", f"expected [before, after] of {len(own)} axes, got {len(layer.paddings)}")
    amounts = [(0, 0)] * net.lead + [(before, after) for before, after in layer.paddings]
    out = _moved(net, x, [before + n + after for n, (before, after) in zip(x.shape, amounts, strict=True)])
    operands = [x.index, net.integers("paddings", amounts)]
    if layer.value is None:
        return net.add("PAD", operands, [out])
    fill = np.array([net.zero_point(layer.value, x.type, "value")], TENSOR_TYPES[x.type].dtype)
    operands.append(net.tensor(f"{layer.name}/value", (1,), x.type, x.scale, x.zero_point, fill))
    return net.add("PADV2", operands, [out])


def _reshaped(net: Net, x: Value, own: Sequence[int]) -> list[Value]:
    shape = [*x.shape[: net.lead], *own]
    if prod(shape) != x.size:
        got = f"{list(own)}, of {prod(own)}"
        expected = f"a shape of {prod(net.own_shape(x.shape))} elements as {net.own_shape(x.shape)}"
        raise Wrong("shape", f"expected {expected}, got {got}")
    out = _moved(net, x, shape)
    return net.add("RESHAPE", [x.index, net.integers("shape", shape)], [out], {"new_shape": tuple(shape)})


def _reshape(net: Net, layer: Any, inputs: Sequence[Value]) -> list[Value]:
    (x,) = inputs
    own = list(layer.shape)
    if -1 in own:
        known = prod(size for size in own if size != -1)
        own[own.index(-1)] = prod(net.own_shape(x.shape)) // known
    return _reshaped(net, x, own)


def _flatten(net: Net, layer: Any, inputs: Sequence[Value]) -> list[Value]:
    (x,) = inputs
    if net.lead or len(x.shape) < 2:
        return _reshaped(net, x, [prod(net.own_shape(x.shape))])
    return _reshaped(net, x, [x.shape[0], prod(x.shape[1:])])


def _transpose(net: Net, layer: Any, inputs: Sequence[Value]) -> list[Value]:
    (x,) = inputs
    if sorted(layer.perm) != list(range(len(net.own_shape(x.shape)))):
        raise Wrong("perm", f"expected the axes of {net.own_shape(x.shape)} in some order, got {layer.perm}")
    order = [*range(net.lead), *(axis + net.lead for axis in layer.perm)]
    out = _moved(net, x, [x.shape[axis] for axis in order])
    return net.add("TRANSPOSE", [x.index, net.integers("perm", order)], [out])


def _indexed(net: Net, x: Value, index: tuple[Any, ...], key: str) -> tuple[int, ...]:
    """The shape of ``x[index]``."""
    try:
        shape = np.broadcast_to(np.int8(0), x.shape)[index].shape
    except (IndexError, ValueError):
        shape = (0,)
    if 0 in shape:
        raise Wrong(key, f"expected elements of {net.own_shape(x.shape)}, got none")
    return shape


def _strided_slice(net: Net, layer: Any, inputs: Sequence[Value]) -> list[Value]:
    (x,) = inputs
    own, strides = net.own_shape(x.shape), layer.strides or [1] * len(layer.begin)
    if not len(layer.begin) == len(layer.end) == len(strides) <= len(own):
        raise Wrong("begin", f"expected begin, end and strides of at most {len(own)} axes, one number for each")
    if 0 in strides:
        raise Wrong("strides", "expected steps other than 0, got 0")
    begin, end = [None] * net.lead + layer.begin, [None] * net.lead + layer.end
    strides = [1] * net.lead + strides
    gone = {axis + net.lead for axis in layer.shrink_axes}
    if any(axis >= len(begin) or begin[axis] is None for axis in gone):
        raise Wrong("shrink_axes", "expected axes that begin has a number of")
    index = tuple(
        first if axis in gone else slice(first, last, step)
        for axis, (first, last, step) in enumerate(zip(begin, end, strides, strict=True))
    )
    out = _moved(net, x, _indexed(net, x, index, "begin"))
    masks = {
        name: sum(1 << axis for axis, end in enumerate(ends) if end is None)
        for name, ends in (("begin_mask", begin), ("end_mask", end))
    }
    options = {
        **masks, "ellipsis_mask": 0, "new_axis_mask": 0, "shrink_axis_mask": sum(1 << axis for axis in gone),
        "offset": False,
    }  # fmt: skip
    operands = [
        net.integers(name, [0 if number is None else number for number in numbers])
        for name, numbers in (("begin", begin), ("end", end), ("strides", strides))
    ]
    return net.add("STRIDED_SLICE", [x.index, *operands], [out], options)


def _gather(net: Net, layer: Any, inputs: Sequence[Value]) -> list[Value]:
    (x,) = inputs
    axis = net.axis(layer.axis, len(x.shape))
    indices = np.asarray(layer.indices)
    if indices.min() < 0 or indices.max() >= x.shape[axis]:
        raise Wrong("indices", f"expected indices in 0..{x.shape[axis] - 1}, got {layer.indices}")
    out = _moved(net, x, (*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :]))
    return net.add(
        "GATHER", [x.index, net.integers("indices", indices)], [out], {"axis": axis, "batch_dims": 0}
    )  # fmt: skip


def _split(net: Net, layer: Any, inputs: Sequence[Value]) -> list[Value]:
    (x,) = inputs
    axis = net.axis(layer.axis, len(x.shape))
    size = x.shape[axis]
    if (layer.parts is None) == (layer.sizes is None):
        raise Wrong("parts", "expected parts or sizes, got " + ("both" if layer.parts else "neither"))
    if layer.parts and size % layer.parts:
        raise Wrong("parts", f"expected a number that divides the {size} of the axis, got {layer.parts}")
    sizes = layer.sizes or [size // layer.parts] * layer.parts
    if sum(sizes) != size:
        raise Wrong("sizes", f"expected sizes that sum up to the {size} of the axis, got {sizes}")
    outs = [_moved(net, x, (*x.shape[:axis], part, *x.shape[axis + 1 :]), place) for place, part in enumerate(sizes)]
    if layer.parts:
        return net.add("SPLIT", [net.integers("axis", axis), x.index], outs, {"num_splits": layer.parts})
    operands = [x.index, net.integers("sizes", sizes), net.integers("axis", axis)]
    return net.add("SPLIT_V", operands, outs, {"num_splits": len(sizes)})


def _unstack(net: Net, layer: Any, inputs: Sequence[Value]) -> list[Value]:
    (x,) = inputs
    axis = net.axis(layer.axis, len(x.shape))
    if x.shape[axis] > 1024:
        raise Wrong("axis", f"expected an axis of at most 1024 elements, got {x.shape[axis]}")
    outs = [_moved(net, x, x.shape[:axis] + x.shape[axis + 1 :], place) for place in range(x.shape[axis])]
    return net.add("UNPACK", [x.index], outs, {"num": len(outs), "axis": axis})


def _resize_nearest(net: Net, layer: Any, inputs: Sequence[Value]) -> list[Value]:
    (x,) = inputs
    batch, _, _, channels = image_of(net, x)
    if layer.align_corners and layer.half_pixel_centers:
        raise Wrong("align_corners", "expected one of align_corners and half_pixel_centers, got both")
    out = _moved(net, x, (batch, *layer.size, channels))
    options = {"align_corners": layer.align_corners, "half_pixel_centers": layer.half_pixel_centers}
    return net.add("RESIZE_NEAREST_NEIGHBOR", [x.index, net.integers("size", layer.size)], [out], options)


OPERATIONS: dict[str, Operation] = {
    "flatten": _flatten,
    "gather": _gather,
    "pad": _pad,
    "reshape": _reshape,
    "resize_nearest": _resize_nearest,
    "split": _split,
    "strided_slice": _strided_slice,
    "transpose": _transpose,
    "unstack": _unstack,
}
"""By their name in model files."""
