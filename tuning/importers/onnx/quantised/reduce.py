# SPDX-License-Identifier: Apache-2.0
"""Pools, means and softmax of quantised ONNX networks."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np

from cmsisnn_x._arguments import output_count

from ...integer_graph import Refused
from ..file import Node
from .items import Goal, Item, Numbers, Real, Stored, Waiting, shape_of
from .layout import Layout, image_axes
from .products import Product, Weights, Windows, framed, windows_of
from .walk import Translator, Walk

SOFTMAX = Numbers("INT8", 2.0**-8, -128)
"""What a softmax of `.tflite` files gives."""


def pool_windows(node: Node, shape: tuple[int, ...]) -> tuple[Windows, tuple[int, int]]:
    """Windows of a pool over an ONNX image, with the end padding that gives as many as ONNX counts; and how many."""
    is_1d = len(shape) == 3
    if len(shape) not in (3, 4):
        raise Refused(f"expected an image [batch, channels, height, width] or a sequence, got shape {list(shape)}")
    size = (1, shape[2]) if is_1d else (shape[2], shape[3])
    kernel = tuple(int(value) for value in node.attributes.get("kernel_shape") or ())
    if not kernel:
        raise Refused("kernel_shape: expected one, got none")
    windows = windows_of(node, kernel, size, is_1d)
    if windows.dilation != (1, 1):
        raise Refused("dilations other than 1 of a pool")
    if any(min(pair) < 0 or max(pair) >= windows.kernel[axis] for axis, pair in enumerate(windows.pads)):
        raise Refused(f"pads {list(windows.pads)} of a window of {list(windows.kernel)}")
    is_ceil = bool(node.attributes.get("ceil_mode"))
    count, pads = [], []
    for axis in (0, 1):
        before, after = windows.pads[axis]
        found = output_count(size[axis], windows.kernel[axis], windows.stride[axis], before, before + after, is_ceil)
        # A last window that would start in the padding is dropped, whichever way the count is rounded.
        found -= (found - 1) * windows.stride[axis] >= size[axis] + before
        if found < 1:
            raise Refused(f"windows of {list(kernel)} do not fit an image of {list(size)}")
        needed = (found - 1) * windows.stride[axis] + windows.kernel[axis] - size[axis] - before
        count.append(found)
        pads.append((before, max(needed, 0)))
    return Windows(windows.kernel, windows.stride, (1, 1), (pads[0], pads[1])), (count[0], count[1])


def _pooled(shape: tuple[int, ...], count: tuple[int, int]) -> tuple[int, ...]:
    return (*shape[:2], count[1]) if len(shape) == 3 else (*shape[:2], *count)


def _pool(walk: Walk, code: str, x: Stored, windows: Windows, count: tuple[int, int], fill: int | None) -> Stored:
    """At the scale that it has."""
    shape = _pooled(x.layout.shape, count)
    index, padding = framed(walk, walk.image(x), x, windows, fill)
    batch, channels = shape[:2]
    layout = Layout.of(shape, image_axes(len(shape)))
    made = walk.stored(walk.to.tensors[x.tensor].name, (batch, *count, channels), layout, x.numbers)
    walk.op(
        code, [index], [made.tensor], padding=padding, filter_height=windows.kernel[0],
        filter_width=windows.kernel[1], **windows.options,
    )  # fmt: skip
    return made


def moved(walk: Walk, item: Item, name: str, shape: tuple[int, ...], move: Callable[[Stored], Stored]) -> Item:
    """A move of integers, of floats that stand for them, or of a result that waits."""
    if isinstance(item, Waiting):
        return item.moved(shape, move)
    base = walk.integers(item, name)
    made = move(base)
    return made if isinstance(item, Stored) else Real(made)


def _max_pool(walk: Walk, node: Node) -> Item:
    item = walk.item(node)
    shape = shape_of(item)
    windows, count = pool_windows(node, shape)

    def pool(x: Stored) -> Stored:
        return _pool(walk, "MAX_POOL_2D", x, windows, count, x.numbers.limits[0])

    return moved(walk, item, node.inputs[0], _pooled(shape, count), pool)


def _average_pool(walk: Walk, node: Node) -> Item:
    return average(walk, node, walk.input(node))


def average(walk: Walk, node: Node, x: Stored) -> Waiting:
    """At its input's scale, then rounded again where the output has another; where that is finer, as products."""
    shape = x.layout.shape
    windows, count = pool_windows(node, shape)
    size = (1, shape[2]) if len(shape) == 3 else (shape[2], shape[3])
    given = windows_of(node, tuple(node.attributes["kernel_shape"]), size, len(shape) == 3).pads
    counts_padding = bool(node.attributes.get("count_include_pad"))
    if any(map(sum, windows.pads)) and (not counts_padding and not windows.is_same(size)):
        raise Refused(
            f"pads {[pair[0] for pair in given] + [pair[1] for pair in given]} that are not counted: expected none, "
            "those of SAME_UPPER, or count_include_pad=1"
        )
    if counts_padding and any(pair[1] > said[1] for pair, said in zip(windows.pads, given, strict=True)):
        raise Refused("ceil_mode with windows that reach beyond counted padding")

    def make(goal: Goal) -> Stored:
        # Rounded at the input's scale first, a finer output would be off by more than a step.
        if goal.numbers.scale < x.numbers.scale and (counts_padding or not any(map(sum, windows.pads))):
            return _weighted(walk, x, windows, count).add(goal)
        frame = windows
        value = x
        if counts_padding and any(map(sum, windows.pads)):
            index = walk.image(x)
            batch, height, width, channels = walk.file_shape(index)
            amounts = [(0, 0), *windows.pads, (0, 0)]
            padded = [a + sum(pair) for a, pair in zip((batch, height, width, channels), amounts, strict=True)]
            made = walk.tensor(goal.name, padded, x.numbers)
            walk.op("PAD", [index, walk.constant(amounts)], [made])
            outer = (batch, channels, padded[2]) if len(shape) == 3 else (batch, channels, padded[1], padded[2])
            value = Stored(made, Layout.of(outer, image_axes(len(outer))), x.numbers)
            frame = Windows(windows.kernel, windows.stride, (1, 1), ((0, 0), (0, 0)))
        return walk.requantised(_pool(walk, "AVERAGE_POOL_2D", value, frame, count, None), goal.numbers, goal.name)

    return walk.wait(_pooled(shape, count), make, default=x.numbers)


def _weighted(walk: Walk, x: Stored, windows: Windows, count: tuple[int, int]) -> Product:
    """An average as a depthwise convolution, which rounds once, to the output's scale."""
    index, padding = framed(walk, walk.image(x), x, windows)
    batch, *_, channels = walk.file_shape(index)
    shape = _pooled(x.layout.shape, count)
    # Large weights, for a small multiplier: its two roundings then rarely miss the nearest integer.
    values = np.full((1, *windows.kernel, channels), 127, np.int8)
    options: dict[str, Any] = {
        "padding": padding, **windows.options, "dilation_h_factor": 1, "dilation_w_factor": 1, "depth_multiplier": 1,
    }  # fmt: skip
    return Product(
        walk, "DEPTHWISE_CONV_2D", x, index, Weights(values, np.array([1 / (127 * prod(windows.kernel))])), 3, None,
        (batch, *count, channels), Layout.of(shape, image_axes(len(shape))), options,
    )  # fmt: skip


# ---------------------------------------------------------------- reductions


def mean(walk: Walk, x: Stored, axes: list[int], keep: bool) -> Waiting:
    layout = x.layout
    gone = {factor for axis in axes for factor in layout.factors_of(axis)}
    made_layout = layout.without(axes, keep)
    # The batch of 1 stays in front, where it costs no RESHAPE.
    lead = (1,) if layout.order and layout.axes and not layout.axes[0] else ()
    sizes = (*lead, *layout.stored) or (1,)
    index = walk.shaped(x.tensor, sizes)
    places = [at for at, factor in enumerate(layout.order, len(lead)) if factor in gone]
    shape = [size for at, size in enumerate(sizes) if at not in places] or [1]

    def make(goal: Goal) -> Stored:
        if not places:
            return walk.requantised(Stored(index, made_layout, x.numbers), goal.numbers, goal.name)
        kept = len(places) == len(sizes)
        made = walk.stored(goal.name, [1] * len(places) if kept else shape, made_layout, goal.numbers)
        walk.op("MEAN", [index, walk.constant(places)], [made.tensor], keep_dims=kept)
        return made

    return walk.wait(made_layout.shape, make, default=x.numbers)


def _axes(walk: Walk, node: Node, item: Item) -> list[int]:
    rank = len(shape_of(item))
    found = walk.numbers(node, "axes", 1)
    if found is None and not node.attributes.get("noop_with_empty_axes"):
        found = list(range(rank))
    axes = sorted({walk.axis(axis, item) for axis in found or []})
    if not axes or (0 in axes and shape_of(item)[0] > 1):
        raise Refused(f"axes {found}: expected some, without the batch")
    return axes


def _reduce_mean(walk: Walk, node: Node) -> Item:
    x = walk.input(node)
    keep = node.attributes.get("keepdims")
    return mean(walk, x, _axes(walk, node, Real(x)), keep is None or bool(keep))


def _global_average(walk: Walk, node: Node) -> Item:
    x = walk.input(node)
    if len(x.layout.shape) < 3:
        raise Refused(f"expected an image, got shape {list(x.layout.shape)}")
    return mean(walk, x, list(range(2, len(x.layout.shape))), True)


def _global_max(walk: Walk, node: Node) -> Item:
    item = walk.item(node)
    return _maximum(walk, node, item, list(range(2, len(shape_of(item)))), True)


def _reduce_max(walk: Walk, node: Node) -> Item:
    item = walk.item(node)
    keep = node.attributes.get("keepdims")
    return _maximum(walk, node, item, _axes(walk, node, item), keep is None or bool(keep))


def _maximum(walk: Walk, node: Node, item: Item, axes: list[int], keep: bool) -> Item:
    """One window: over an image, or over a column of all that is reduced."""
    shape = shape_of(item)
    if len(shape) in (3, 4) and axes == list(range(2, len(shape))):
        size = (1, shape[2]) if len(shape) == 3 else (shape[2], shape[3])
        windows = Windows(size, size, (1, 1), ((0, 0), (0, 0)))
        result = (*shape[:2], *([1] * len(axes) if keep else []))

        def pool(x: Stored) -> Stored:
            return walk.reshaped(_pool(walk, "MAX_POOL_2D", x, windows, (1, 1), None), result)

        return moved(walk, item, node.inputs[0], result, pool)

    def column(x: Stored) -> Stored:
        layout = x.layout
        gone = {factor for axis in axes for factor in layout.factors_of(axis)}
        order = sorted(layout.order, key=lambda factor: factor not in gone)  # which keeps their order among themselves
        rows = prod(layout.sizes[factor] for factor in gone)
        others = prod(shape) // rows
        index = walk.ordered(x, order, (1, rows, 1, others))
        name = walk.to.tensors[x.tensor].name
        made = walk.stored(name, (1, 1, 1, others), layout.without(axes, keep), x.numbers)
        walk.op(
            "MAX_POOL_2D", [index], [made.tensor], padding="VALID", stride_h=rows, stride_w=1, filter_height=rows,
            filter_width=1,
        )  # fmt: skip
        return made

    kept = tuple(1 if axis in axes else size for axis, size in enumerate(shape) if keep or axis not in axes)
    return moved(walk, item, node.inputs[0], kept, column)


# ---------------------------------------------------------------- softmax


def _softmax(walk: Walk, node: Node) -> Item:
    item = walk.item(node)
    x = walk.integers(item, node.inputs[0])
    rank = len(x.layout.shape)
    given = node.attributes.get("axis")
    if walk.network.opset >= 13:
        return softmax(walk, x, [walk.axis(-1 if given is None else given, item)])
    first = walk.axis(1 if given is None else given, item)
    return softmax(walk, x, list(range(first, rank)))


def softmax(walk: Walk, x: Stored, axes: list[int]) -> Waiting:
    """Over some axes together. Its output has a scale of its own, from which it is rounded to the file's."""
    layout = x.layout
    inner = [factor for axis in axes for factor in layout.factors_of(axis)]
    order = (*[factor for factor in layout.order if factor not in inner],
             *[factor for factor in layout.order if factor in inner])  # fmt: skip
    row = prod(layout.sizes[factor] for factor in inner)
    shape = (prod(layout.sizes) // row, row)
    index = walk.ordered(x, order, shape)
    made_layout = Layout(layout.axes, order)
    fixed = Numbers("INT16", 2.0**-15, 0) if x.numbers.type == "INT16" else SOFTMAX

    def make(goal: Goal) -> Stored:
        made = walk.stored(goal.name, shape, made_layout, fixed)
        walk.op("SOFTMAX", [index], [made.tensor], beta=1.0)
        return walk.requantised(made, goal.numbers, goal.name)

    return walk.wait(layout.shape, make, default=fixed)


TRANSLATORS: dict[str, Translator] = {
    "AveragePool": _average_pool,
    "GlobalAveragePool": _global_average,
    "GlobalMaxPool": _global_max,
    "MaxPool": _max_pool,
    "ReduceMax": _reduce_max,
    "ReduceMean": _reduce_mean,
    "Softmax": _softmax,
}
