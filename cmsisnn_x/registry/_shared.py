# SPDX-License-Identifier: Apache-2.0
"""What rows have in common: shapes, footprints, and how a layer with weights enters a host network."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod
from typing import Any

import numpy as np

from .._arguments import window_axis
from ..channels import channels_of
from ..errors import GeometryError, VariantError
from ..layers import Layer
from ..op import Case, Shape
from ..packing import pack_device_weights
from ..variant import Variant

ALIKE = (("q7",), ("q15",))
"""Types of operations without weights."""
WEIGHTS_ALIKE = (("q7", "q7"), ("q15", "q15"))
AFFINE_ALIKE = (("int8",), ("int16",))
AFFINE_WEIGHTS = (("int8", "int8"), ("int16", "int8"))
AFFINE_ANY = (*AFFINE_ALIKE, ("uint8",))
"""Types of operations that only move elements."""

SINGLE = ("single",)
SCHEDULES = (("asm", SINGLE), ("asm_dual", ("dual",)))
"""Assembly with the DSP extension: the knob `inner`, and what it is scheduled for."""
_CORES = {"v6m": "M0+", "v7m": "M3", "single": "M4 and M33", "dual": "M7", "helium": "M52, M55 and M85"}


def cores_of(schedules: tuple[str, ...]) -> str:
    """The cores that schedules are for, in words."""
    return " and ".join(_CORES[schedule] for schedule in schedules)


def same_shape(shape: Shape, attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Element-wise operations."""
    return {"output_shape": shape}


def windows(op: str, shape: Shape, attributes: Mapping[str, Any], channels: int | None = None) -> dict[str, Any]:
    """Operations that slide windows: output of `channels` channels, by default as many as the input has."""
    if len(shape) != 3:
        raise GeometryError(
            f"{op} needs an image [h, w, c], but its input has shape {list(shape)}; "
            "give the model a three-dimensional input or use fully_connected"
        )
    kernel, padding = attributes["kernel"], attributes["padding"]
    stride, counts = attributes["stride"] or kernel, attributes.get("output_size") or (None, None)
    sides, around = [], []
    for axis, side in enumerate(("height", "width")):
        one = padding if isinstance(padding, str) else padding[axis]
        try:
            is_ceil = attributes.get("ceil_mode", False)
            count, pads = window_axis(shape[axis], kernel[axis], stride[axis], one, is_ceil, counts[axis])
        except GeometryError as problem:
            raise GeometryError(f"{problem} ({side})", *problem.keys) from None
        sides.append(count)
        around.append(pads)
    output = (*sides, shape[2] if channels is None else channels)
    return {"output_shape": output, "kernel": kernel, "stride": stride, "padding": tuple(around)}


def scratch_of(footprints: Mapping[str, Callable[[Case, Variant], int]], case: Case, variant: Variant) -> int:
    """The bytes that `footprints`, lowering -> function, say."""
    if variant.lowering not in footprints:
        raise VariantError(f"variant.lowering: {case.op} has no {variant.lowering!r} kernel")
    if variant.fused_pool and case.pool is None:
        raise VariantError("variant.fused_pool: expected a convolution with a pooling layer behind it, got none")
    return footprints[variant.lowering](case, variant)


def round_up_even(count: int) -> int:
    return count + (count & 1)


def columns(case: Case, variant: Variant) -> int:
    """`im2col_cols` columns of q15 elements, each an even number of them, so that every column starts word aligned."""
    return variant.im2col_cols * round_up_even(case.depth) * 2


def any_rows(layer: Layer, variant: Variant | None) -> int | None:
    """What goes element by element takes any band; a second tensor that is repeated, whole repetitions in each row."""
    _, width, channels = layer.image
    whole = prod(layer.input_shape)
    sizes = [prod(shape) for shape in layer.more_inputs]
    return 1 if all(size == whole or width * channels % size == 0 for size in sizes) else None


def nothing(case: Case, variant: Variant) -> int:
    return 0


def starts_inside(layer: Layer) -> bool:
    """Whether no window lies outside the image as a whole: where an output of its size is written, its row was read."""
    return all(before < size for (before, _), size in zip(layer.padding, layer.kernel, strict=True))


def channel_macros(layer: Layer) -> dict[str, int | str]:
    """How the kernel of a layer with weights makes outputs of accumulators."""
    channels = channels_of(layer)
    shift = {} if channels.shift is None else {"RESCALE_SHIFT": channels.shift}
    return {"RESCALE": f"CXN_RESCALE_{channels.rescale.upper()}", **shift}


def window_macros(layer: Layer) -> dict[str, int | str]:
    """Those of a convolution."""
    dilation_y, dilation_x = layer.dilation
    own = {"DILATION_Y": dilation_y, "DILATION_X": dilation_x, "GROUPS": layer.groups}
    return {**own, **channel_macros(layer)}


def channel_operands(layer: Layer, variant: Variant | None) -> dict[str, np.ndarray]:
    """Weights and the records of channels, in fours where vectors read them."""
    channels = channels_of(layer)
    is_lanes = variant is not None and variant.weight_layout == "lanes"
    records = channels.in_fours() if is_lanes else channels.records
    return {"weights": pack_device_weights(layer, variant), "channels": records}


def append_windows(executor: Any, layer: Layer, constants: Mapping[str, np.ndarray], *, depthwise: bool) -> None:
    """A convolution, into a host network."""
    pad = (layer.padding[0][0], layer.padding[1][0])
    executor.weighted(
        depthwise,
        layer.type.bits == 16,
        layer.image,
        layer.output_image,
        layer.kernel,
        layer.stride,
        pad,
        layer.requant,
        constants["weights"],
        constants.get("bias"),
        layer.dilation,
        layer.groups,
        layer.samples,
    )
