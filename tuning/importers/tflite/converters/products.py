# SPDX-License-Identifier: Apache-2.0
"""Operators with weights: convolutions and fully connected layers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ...integer_graph import Quantised, Refused
from ..context import Context
from ..file import FileOp, FileTensor
from .common import (
    Converter,
    activation_of,
    channels_of,
    image_of,
    require_type,
    windows_of,
)

# ---------------------------------------------------------------- products


def _weights(walk: Context, op: FileOp, x: Quantised, axis: int, channels: int) -> tuple[np.ndarray, np.ndarray]:
    """Weights and their scales, one per output channel or one for all."""
    values = walk.constant(op, 1, "weights")
    tensor = walk.file_tensor(op.inputs[1])
    if values.dtype != np.int8:
        raise Refused(f"weights of int8 expected, got {tensor.type}")
    if problem := tensor.problem:
        raise Refused(f"{tensor}: {problem}")
    if not tensor.scale.size or np.any(tensor.zero_point != 0):
        raise Refused(f"{tensor}: expected weights with scales and zero point 0")
    if tensor.scale.size > 1 and tensor.axis != axis:
        raise Refused(f"{tensor}: expected scales along dimension {axis}, got {tensor.axis}")
    if tensor.scale.size not in (1, channels):
        raise Refused(f"{tensor}: expected 1 or {channels} scales, got {tensor.scale.size}")
    return values, tensor.scale


def _bias(walk: Context, op: FileOp, x: Quantised, channels: int, scales: np.ndarray) -> np.ndarray | None:
    bias = walk.optional(op, 2)
    if bias is None:
        if x.type == "int16" and op.options.get("quantized_bias_type") == "INT32":
            raise Refused("int16 whose bias would be int32: expected quantized_bias_type INT64")
        return None
    tensor = walk.file_tensor(op.inputs[2])
    legal = np.dtype(np.int64 if x.type == "int16" else np.int32)  # beside int16, int32 is another arithmetic
    if bias.dtype != legal or bias.size != channels:
        raise Refused(f"{tensor}: expected a bias of {channels} {legal}, got {tensor.type} of {bias.size}")
    _check_bias_scale(tensor, x, scales)
    return bias.reshape(-1)


def _check_bias_scale(tensor: FileTensor, x: Quantised, scales: np.ndarray) -> None:
    """Kernels take a bias in steps of input scale times weight scale. A file that says other steps means other numbers;
    its axis, which no kernel reads, is wrong in real files.
    """
    if not tensor.scale.size:
        return
    if problem := replace(tensor, axis=0, shape=(tensor.scale.size,)).problem:
        raise Refused(f"{tensor}: {problem}")
    expected = np.float64(x.scale) * scales.astype(np.float64)
    if tensor.scale.size not in (1, expected.size) and expected.size != 1:
        raise Refused(f"{tensor}: expected {expected.size} scales, got {tensor.scale.size}")
    if not np.allclose(tensor.scale.astype(np.float64), expected, rtol=1e-3, atol=1e-44):
        raise Refused(
            f"{tensor}: expected the scale of input times weights, {expected.flat[0]:g}, got {tensor.scale.flat[0]:g}"
        )


def _conv(walk: Context, op: FileOp) -> None:
    x, out = walk.input(op), walk.output(op)
    require_type(x, "int8", "int16")
    require_type(out, x.type)
    channels = channels_of(out)
    values, scales = _weights(walk, op, x, 0, channels)
    in_ch = image_of(x)[3]
    if values.ndim != 4 or len(values) != channels or in_ch % values.shape[3] or 0 in values.shape:
        raise Refused(f"weights of shape {values.shape} do not fit an input of {in_ch} channels")
    groups = in_ch // values.shape[3]
    if channels % groups:
        raise Refused(f"expected a number of output channels that {groups} groups divide, got {channels}")
    dilation = (op.options["dilation_h_factor"], op.options["dilation_w_factor"])
    fields = windows_of(op, x, out, values.shape[1:3], dilation)
    bias = _bias(walk, op, x, channels, scales)
    walk.builder.weighted(
        walk.name(op, "conv2d"), "conv2d", x, values, scales, bias, out, activation_of(op),
        dilation=dilation, groups=groups, **fields,
    )  # fmt: skip
    walk.become(op, out)


def _depthwise(walk: Context, op: FileOp) -> None:
    x, out = walk.input(op), walk.output(op)
    require_type(x, "int8", "int16")
    require_type(out, x.type)
    channels, in_ch = channels_of(out), image_of(x)[3]
    values, scales = _weights(walk, op, x, 3, channels)
    if values.ndim != 4 or values.shape[0] != 1 or values.shape[3] != channels or channels % in_ch:
        raise Refused(f"weights of shape {values.shape} do not fit an input of {in_ch} channels")
    told = op.options["depth_multiplier"]
    if walk.arithmetic == "tflm" and told != channels // in_ch:  # LiteRT takes the quotient
        raise Refused(f"depth_multiplier: expected {channels // in_ch}, which TFLM goes by, got {told}")
    dilation = (op.options["dilation_h_factor"], op.options["dilation_w_factor"])
    fields = windows_of(op, x, out, values.shape[1:3], dilation)
    bias = _bias(walk, op, x, channels, scales)
    kind, own = "depthwise_conv2d", np.ascontiguousarray(values[0])
    if channels != in_ch:  # several outputs per channel: a convolution of as many groups as there are channels
        kind, own = "conv2d", np.ascontiguousarray(values[0].transpose(2, 0, 1)[..., None])
        fields["groups"] = in_ch
    walk.builder.weighted(
        walk.name(op, kind), kind, x, own, scales, bias, out, activation_of(op), dilation=dilation, **fields
    )  # fmt: skip
    walk.become(op, out)


def _fully_connected(walk: Context, op: FileOp) -> None:
    x, out = walk.input(op), walk.output(op)
    require_type(x, "int8", "int16")
    require_type(out, x.type)
    if op.options["weights_format"] != "DEFAULT":
        raise Refused(f"weights in the format {op.options['weights_format']}")
    rows = channels_of(out)
    values, scales = _weights(walk, op, x, 0, rows)
    if values.ndim != 2 or len(values) != rows or x.size % values.shape[1]:
        raise Refused(f"weights of shape {values.shape} do not fit an input of {x.size} elements")
    columns = values.shape[1]
    samples = x.size // columns
    if samples * rows != out.size:
        raise Refused(f"expected an output of {samples} x {rows} elements, the file has {out.shape}")
    walk.builder.weighted(
        walk.name(op, "fully_connected"), "fully_connected", x, values, scales, _bias(walk, op, x, rows, scales), out,
        activation_of(op), input_shape=(columns,), output_shape=(rows,), samples=samples,
    )  # fmt: skip
    walk.become(op, out)


CONVERTERS: dict[str, Converter] = {
    "CONV_2D": _conv,
    "DEPTHWISE_CONV_2D": _depthwise,
    "FULLY_CONNECTED": _fully_connected,
}
