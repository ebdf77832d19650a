# SPDX-License-Identifier: Apache-2.0
"""What the converters of `.tflite` operators ask of their tensors and options."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cmsisnn_x.affine import activation_range
from cmsisnn_x.affine.tables import Numbers

from ...integer_graph import Quantised, Refused
from ..context import Context
from ..file import FileOp

ACTIVATIONS = {"NONE": None, "RELU": "relu", "RELU6": "relu6", "RELU_N1_TO_1": "relu_n1_to_1"}
Converter = Callable[[Context, FileOp], None]


def activation_of(op: FileOp) -> str | None:
    name = op.options.get("fused_activation_function", "NONE")
    if name not in ACTIVATIONS:
        raise Refused(f"fused activation {name}")
    return ACTIVATIONS[name]


def limits_of(op: FileOp, out: Quantised) -> tuple[int, int]:
    return activation_range(activation_of(op), out.type, out.scale, out.zero_point)


def require_alike(*items: Quantised) -> None:
    """Integers that are compared or moved as they are have one scale and zero point."""
    if any(not item.is_scaled_as(items[0]) for item in items[1:]):
        got = " and ".join(f"{item.type} {item.scale:g}, {item.zero_point}" for item in items)
        raise Refused(f"expected one scale and zero point for all, got {got}")


def require_type(item: Quantised, *types: str) -> None:
    if item.type not in types:
        help_ = "; convert the network to int8: uint8 is taken at its border alone" if item.type == "uint8" else ""
        raise Refused(f"expected {' or '.join(types)}, got {item.type}{help_}")


def require_zero(*items: Quantised) -> None:
    """Kernels of int16 know no zero points."""
    if any(item.zero_point for item in items):
        raise Refused(f"expected int16 with zero point 0, got {[item.zero_point for item in items]}")


def axis_of(axis: int, item: Quantised) -> int:
    """An axis, which may count from the end."""
    if not -len(item.shape) <= axis < len(item.shape):
        raise Refused(f"expected an axis of {item.shape}, got {axis}")
    return axis % len(item.shape)


def channels_of(item: Quantised) -> int:
    """The size of the last axis."""
    if not item.shape:
        raise Refused("expected an output of at least one dimension, got a scalar")
    return item.shape[-1]


def image_of(item: Quantised) -> tuple[int, int, int, int]:
    if len(item.shape) != 4:
        raise Refused(f"expected an image of four dimensions, got {item.shape}")
    return item.shape


def windows_of(
    op: FileOp, x: Quantised, out: Quantised, kernel: tuple[int, int], dilation: tuple[int, int] = (1, 1)
) -> dict[str, Any]:
    """Stride, padding and shapes of one sample; the output is as large as the file says, or it is refused."""
    stride = (op.options["stride_h"], op.options["stride_w"])
    if min(*stride, *dilation) < 1 or max(*stride, *dilation, *kernel) > 65535:
        raise Refused(f"expected strides and dilations from 1 on, got {stride} and {dilation}")
    batch, *size, _ = image_of(x)
    out_batch, *result, _ = image_of(out)
    padding = []
    for axis in (0, 1):
        span = (kernel[axis] - 1) * dilation[axis] + 1
        if op.options["padding"] == "SAME":
            count = -(-size[axis] // stride[axis])
        else:
            count = (size[axis] - span) // stride[axis] + 1
        if count != result[axis] or count < 1 or batch != out_batch:
            raise Refused(f"expected an output of {count} along axis {1 + axis}, the file has {result[axis]}")
        total = (count - 1) * stride[axis] + span - size[axis]
        before = max(total, 0) // 2 if op.options["padding"] == "SAME" else 0
        padding.append((before, total - before))
    return {
        "input_shape": x.shape[1:], "output_shape": out.shape[1:], "kernel": kernel, "stride": stride,
        "padding": tuple(padding), "samples": batch,
    }  # fmt: skip


def numbers_of(item: Quantised) -> Numbers:
    """A tensor as tables of a byte see it."""
    return Numbers(item.type, item.scale, item.zero_point)
