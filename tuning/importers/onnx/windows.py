# SPDX-License-Identifier: Apache-2.0
"""Windows of ONNX operators: padding, sizes that round up, pooling of every kind, averages that count the padding."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from math import prod
from typing import Any

import numpy as np

from cmsisnn_x._arguments import output_count, same_padding, window_axis

from .file import Node
from .walk import Flow, Walk, image_order

Pads = list[tuple[int, int]]


class Windows(Walk):
    """The operators that look through windows, and what they have in common with convolutions."""

    reduced = -1
    """Layers up to one over an axis of its image."""

    def on_Conv(self, node: Node, flow: Flow) -> Flow:
        """The convolution that an average can be written as."""
        raise NotImplementedError

    def windows(
        self, node: Node, kernel: tuple[int, int], size: tuple[int, int], is_1d: bool, count: int = 0
    ) -> tuple[tuple[int, int], Pads]:
        """Stride, and padding before and after, of both axes."""

        def pair(name: str, default: int) -> tuple[int, int]:
            values = [int(value) for value in node.attributes.get(name, [default] * (1 if is_1d else 2))]
            if len(values) != (1 if is_1d else 2) or min(values) < 1:
                raise self.unsupported(node, f"{name}: expected {1 if is_1d else 2} positive numbers, got {values}")
            return (1, values[0]) if is_1d else (values[0], values[1])

        stride = pair("strides", 1)
        if pair("dilations", 1) != (1, 1):
            raise self.unsupported(node, "dilations other than 1 are not supported")
        if (shape := node.attributes.get("kernel_shape")) is not None:
            wanted = (1, *shape) if is_1d else tuple(shape)
            if wanted != kernel:
                raise self.unsupported(node, f"kernel_shape {list(shape)} does not fit the weights {list(kernel)}")
        auto = node.attributes.get("auto_pad", "NOTSET")
        if auto in ("SAME_UPPER", "SAME_LOWER"):
            pads = []
            for k in (0, 1):
                half, total = same_padding(size[k], kernel[k], stride[k])
                pads.append((half, total - half) if auto == "SAME_UPPER" else (total - half, half))
            return stride, pads
        if auto == "VALID":
            return stride, [(0, 0), (0, 0)]
        if auto != "NOTSET":
            raise self.unsupported(node, f"auto_pad: expected SAME_UPPER, SAME_LOWER, VALID or NOTSET, got {auto!r}")
        values = [int(value) for value in node.attributes.get("pads", [0] * (2 if is_1d else 4))]
        if len(values) != (2 if is_1d else 4) or min(values) < 0:
            raise self.unsupported(node, f"pads: expected {2 if is_1d else 4} numbers of at least 0, got {values}")
        if is_1d:
            return stride, [(0, 0), (values[0], values[1])]
        return stride, [(values[0], values[2]), (values[1], values[3])]

    def pool(self, node: Node, flow: Flow, op: str) -> Flow:
        is_1d = flow.order.ndim == 2
        flow, (height, width, channels) = self.image(node, flow)
        shape = node.attributes.get("kernel_shape")
        if not shape or len(shape) != (1 if is_1d else 2) or min(shape) < 1:
            raise self.unsupported(node, f"kernel_shape: expected one or two positive numbers, got {shape}")
        kernel = (1, int(shape[0])) if is_1d else (int(shape[0]), int(shape[1]))
        stride, pads = self.windows(node, kernel, (height, width), is_1d)
        is_ceil, is_max = bool(node.attributes.get("ceil_mode", 0)), op == "max_pool2d"
        counts = bool(node.attributes.get("count_include_pad", 0))
        if flow.pads is not None:
            last = self.layers[-1] if self.layers else None
            is_relu = last is not None and (last.op == "relu" or last.keys.get("activation") == "relu")
            is_own = flow.pads[0] == (0, 0) and (counts or not any(sum(pad) for pad in pads))
            if is_relu if is_max else is_own:
                # Behind a ReLU nothing is below the zeros of the border: they change no maximum.
                pads = [(a + c, b + d) for (a, b), (c, d) in zip(pads, flow.pads[1:], strict=True)]
                flow, counts = replace(flow, pads=None), True
            else:
                flow = self.settle(flow, str(node))
                channels, height, width = flow.order.shape
        size, out = (height, width), []
        for k in (0, 1):
            count = output_count(size[k], kernel[k], stride[k], pads[k][0], sum(pads[k]), is_ceil)
            if count < 1 or (pads[k][0] >= kernel[k] and not (counts and not is_max)):
                raise self.unsupported(node, f"windows of {list(kernel)} do not fit the input {list(size)}")
            # A last window that would start in the padding is dropped, whichever way the count is rounded.
            out.append(count - 1 if (count - 1) * stride[k] >= size[k] + pads[k][0] else count)
        if not is_max and counts and any(sum(pad) for pad in pads):
            if all((out[k] - 1) * stride[k] + kernel[k] <= size[k] + sum(pads[k]) for k in (0, 1)):
                return self.average_with_padding(node, flow, kernel, stride, pads, is_1d)
            # What ceil_mode lets windows reach beyond the padding is not counted: that is the edge of a larger image.
            flow = self.settle(replace(flow, pads=((0, 0), *pads)), str(node))
            size, pads = (height + sum(pads[0]), width + sum(pads[1])), [(0, 0), (0, 0)]
        flow = self.past_pool(flow, op, str(node))
        keys = self.pool_keys(size, kernel, stride, pads, out)
        self.add(node, op, {"kernel": list(kernel), "stride": list(stride), **keys})
        self.sides = (out[0], out[1])
        order = image_order(out[0], out[1], channels)
        scale, shift = (
            None if values is None else np.broadcast_to(values[:, :1, :1], order.shape)
            for values in (flow.scale, flow.shift)
        )
        if is_1d:
            order = order[:, 0, :]
            scale, shift = (None if values is None else values[:, 0, :] for values in (scale, shift))
        return Flow(order, scale, shift)

    @staticmethod
    def pool_keys(
        size: tuple[int, int], kernel: tuple[int, int], stride: tuple[int, int], pads: Pads, out: list[int]
    ) -> dict[str, Any]:
        """Keys of the model file that give these windows: only the start and the number of windows matter."""
        for padding, is_ceil in (
            ([pads[0][0], pads[1][0]], False),
            ([pads[0][0], pads[1][0]], True),
            ("same", False),
        ):
            try:
                found = [
                    window_axis(size[k], kernel[k], stride[k], padding if padding == "same" else padding[k], is_ceil)
                    for k in (0, 1)
                ]
            except ValueError:
                continue
            if all(count == out[k] and before == pads[k][0] for k, (count, (before, _)) in enumerate(found)):
                return {"padding": padding, "ceil_mode": is_ceil}
        return {"padding": [pads[0][0], pads[1][0]], "output_size": out}

    def past_pool(self, flow: Flow, op: str, what: str) -> Flow:
        """A scale and shift by channel may wait until after a pool; a maximum only keeps positive scales."""
        if flow.scale is None:
            return flow
        waiting = self.per_channel(flow)
        if waiting is None or (op == "max_pool2d" and (waiting[0] <= 0).any()):
            return self.settle(flow, what)
        return flow

    def average_with_padding(
        self,
        node: Node,
        flow: Flow,
        kernel: tuple[int, int],
        stride: tuple[int, int],
        pads: Pads,
        is_1d: bool,
    ) -> Flow:
        channels = flow.order.shape[0]
        weights = np.full((channels, 1, *kernel), 1 / prod(kernel))
        if is_1d:
            weights = weights[:, :, 0]
            flow = flow.rearranged(lambda array: array[:, 0, :])
        name = f"{node.name or node.outputs[0]}/weights"
        self.constants[name] = weights
        pairs = [pads[1]] if is_1d else pads
        attributes = {
            "group": channels,
            "strides": [stride[1]] if is_1d else list(stride),
            "pads": [pair[0] for pair in pairs] + [pair[1] for pair in pairs],
        }
        result = self.on_Conv(
            Node("AveragePool", node.name, (node.inputs[0], name), node.outputs, attributes, None), flow
        )
        self.notes.append(f"{self.layers[-1].name}: an average that counts the padding became a depthwise convolution")
        return result

    def framed(self, node: Node, flow: Flow, what: str) -> Flow:
        """Zeros around an image that no window takes: a convolution of one pixel that changes nothing."""
        if flow.order.ndim not in (2, 3) or flow.pads is None or flow.pads[0] != (0, 0):
            raise self.error(f"{what}: expected a Pad in front of it to add zeros around an image, not channels")
        is_1d = flow.order.ndim == 2
        flow, node, back = self.straight(flow, node)
        flow, (height, width, channels) = self.image(node, flow)
        assert flow.pads is not None
        size, pads = (height, width), list(flow.pads[1:])
        out = [side + sum(pad) for side, pad in zip(size, pads, strict=True)]
        padding, widened = representable(size, (1, 1), (1, 1), pads, out)
        weights = np.pad(np.ones((1, 1, channels)), [*widened, (0, 0)])
        self.add(node, "depthwise_conv2d", {"padding": padding}, weights=weights, bias=np.zeros(channels))
        self.notes.append(f"{self.layers[-1].name}: zeros around the image that no window could take up")
        self.sides = (out[0], out[1])
        order = image_order(out[0], out[1], channels)
        return Flow(back(order) if back is not None else order[:, 0, :] if is_1d else order)

    def on_MaxPool(self, node: Node, flow: Flow) -> Flow:
        return self.pool(node, flow, "max_pool2d")

    def on_AveragePool(self, node: Node, flow: Flow) -> Flow:
        return self.pool(node, flow, "avg_pool2d")

    def on_GlobalAveragePool(self, node: Node, flow: Flow) -> Flow:
        return self.over_image(node, flow, "avg_pool2d", tuple(range(1, flow.order.ndim)), True)

    def on_GlobalMaxPool(self, node: Node, flow: Flow) -> Flow:
        return self.over_image(node, flow, "max_pool2d", tuple(range(1, flow.order.ndim)), True)

    def on_ReduceMean(self, node: Node, flow: Flow) -> Flow:
        return self.reduce(node, flow, "avg_pool2d")

    def on_ReduceMax(self, node: Node, flow: Flow) -> Flow:
        return self.reduce(node, flow, "max_pool2d")

    def reduce(self, node: Node, flow: Flow, op: str) -> Flow:
        axes = self.numbers(node, "axes", 1)
        rank = flow.order.ndim
        if axes is None:
            raise self.unsupported(node, "expected axes: those of the image")
        own = tuple(sorted({axis + rank if axis < 0 else axis - 1 for axis in axes}))
        if rank not in (2, 3) or min(own) < 0 or max(own) >= rank or len(own) == rank:
            raise self.unsupported(node, f"axes {axes}: expected those of the image, not batch and channels")
        return self.over_image(node, flow, op, own, bool(node.attributes.get("keepdims", 1)))

    def over_image(self, node: Node, flow: Flow, op: str, axes: tuple[int, ...], keep: bool) -> Flow:
        """One window over the image, or over an axis of it."""
        rank = flow.order.ndim
        if rank not in (2, 3):
            raise self.unsupported(node, f"expected an image, got {rank + 1} dimensions")
        for channel in (axis for axis in range(rank) if axis not in axes):
            moved = flow.rearranged(partial(np.moveaxis, source=channel, destination=0))
            moved, _, back = self.straight(moved, node)
            if self.lies(moved.order[:, None, :] if moved.order.ndim == 2 else moved.order):
                break
        else:
            raise self.unsupported(node, "expected axes of the previous layer's image, not its channels")
        places = [axis for axis in range(rank) if axis != channel]
        flow, size = self.image(node, moved)
        flow = self.past_pool(flow, op, str(node))
        # In the image's directions; the height of a sequence is 1.
        gone = [axis in axes for axis in places] if rank == 3 else [True, True]
        gone = gone[::-1] if back is not None else gone
        kernel = [size[k] if gone[k] else 1 for k in (0, 1)]
        self.reduce_sides(node, op, kernel, size[:2])
        assert self.sides is not None
        made = Flow(image_order(*self.sides, size[2]))
        if flow.scale is not None and flow.shift is not None:
            scale, shift = (np.broadcast_to(part[:, :1, :1], made.order.shape) for part in (flow.scale, flow.shift))
            made = replace(made, scale=scale, shift=shift)

        def laid(array: np.ndarray) -> np.ndarray:
            array = array.transpose(0, 2, 1) if back is not None else array
            array = np.moveaxis(array if rank == 3 else array[:, 0, :], 0, channel)
            return array if keep else array.squeeze(axes)

        return made.rearranged(laid)

    def reduce_sides(self, node: Node, op: str, kernel: list[int], size: tuple[int, ...]) -> None:
        """A window as large as the image along an axis; behind one along the other both are one."""
        last = self.layers[-1] if self.layers else None
        if self.reduced == len(self.layers) and last is not None and last.op == op:
            kernel = [a * b for a, b in zip(last.keys["kernel"], kernel, strict=True)]
            self.layers[-1] = replace(last, keys={"kernel": kernel, "stride": kernel})
            self.sides = (1, 1)
            return
        self.add(node, op, {"kernel": kernel, "stride": kernel})
        self.sides = (size[0] // kernel[0], size[1] // kernel[1])
        self.reduced = len(self.layers)

    # -- activations -------------------------------------------------------------------------------------------------


def representable(
    size: tuple[int, int], kernel: tuple[int, int], stride: tuple[int, int], pads: Pads, out: list[int]
) -> tuple[Any, Pads]:
    """`padding` of the model file, and the zeros to put around the kernel, that give these windows.

    A model file has equal padding on both sides, or TensorFlow's ``same``; other pads become equal ones by zeros at
    the kernel's near edge (which move the window back) or far edge.
    """
    widened: Pads = []
    padding = []
    for k in (0, 1):
        (before, after), near, far = pads[k], 0, 0
        if not _gives(size[k], kernel[k], stride[k], before, out[k], before):
            near, far = max(after - before, 0), max(before - after, 0)
            while before + near >= kernel[k] + near + far:
                near, far = near + 1, far + 1
        widened.append((near, far))
        padding.append(before + near)
    if any(sum(pair) for pair in widened) and all(
        _gives(size[k], kernel[k], stride[k], "same", out[k], pads[k][0]) for k in (0, 1)
    ):
        return "same", [(0, 0), (0, 0)]
    return padding, widened


def _gives(size: int, kernel: int, stride: int, padding: int | str, out: int, before: int) -> bool:
    try:
        count, (start, _) = window_axis(size, kernel, stride, padding, False)
    except ValueError:
        return False
    return count == out and start == before
