# SPDX-License-Identifier: Apache-2.0
"""Convolutions in vectors (Helium): kernels, what they ask of a layer, their scratch and the order of their constants.

Exact Winograd in 16 bits beside them: of 4x4 outputs of a 3x3 kernel the products at 36 points alone take 0.54 to 0.62
of what these kernels take with products of 8 bits (8x8x64 to 64, 32x32x16 to 16 channels, M55 and M85), and with
transforms, counted by hand, 0.64 to 0.95, for eight times the flash; 2x2 outputs or tiles along x alone gain nothing,
as a vector has half as many products.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

from ..channels import channels_of
from ..isa import Isa
from ..layers import Layer
from ..op import Case
from ..packing_lanes import MOST_VECTORS, VECTOR, lane_order, parts_of
from ..scheme import TENSOR_TYPES
from ..variant import Family, Variant
from ._shared import channel_operands, cores_of

FEW_PIXELS = 16
"""Of a row, of which one made in vain would cost more than a strip."""


def in_vectors() -> Iterator[Family]:
    """Helium: two channels of two pixels are multiplied at a time, eight channels made outputs."""
    for dtype in ("q7", "q15"):
        row = partial(
            Family, dtype, (1, 8), ((2, 2),), weight_layout="lanes", inner="helium", least=Isa.HELIUM,
            schedules=("helium",),
        )  # fmt: skip
        names = cores_of(("helium",))
        yield row(wins=f"any kernel on {names}; unrolled less, the least code", lowering="line_buffer")
        yield row(wins=f"1x1 kernels of many channels on {names}: no scratch at all", lowering="direct")
        wins = f"SRAM: max or average pooling behind it, the image between never stored; on {names}"
        for lowering in ("line_buffer", "direct"):
            yield row(wins=wins, lowering=lowering, fused_pool=True)


def whole_vectors(layer: Layer, variant: Variant) -> str | None:
    """`inner: helium` with `lowering: direct` needs kernels of one row and windows of whole vectors of 16 bytes; of
    int16 activations 63 at most.
    """
    if variant.inner != "helium" or variant.lowering != "direct":
        return None
    (height, width), size = layer.kernel, layer.type.bits // 8
    fits = layer.dtype != "int16" or width * layer.image[2] * size <= VECTOR * MOST_VECTORS
    if height == 1 and width * layer.image[2] * size % VECTOR == 0 and fits:
        return None
    got = f"{layer.kernel} of {layer.image[2]} channels"
    return f"inner 'helium' with lowering 'direct' needs one row of a multiple of {VECTOR} bytes, got {got}"


def rows_at_once(layer: Layer, variant: Variant) -> int:
    """Output rows whose pixels go two by two, where a row has few and an odd number of them."""
    is_single = variant.fused_pool or variant.lowering != "line_buffer"
    return 2 if not is_single and _goes_down(layer.output_image[1]) else 1


def _goes_down(width: int) -> bool:
    return width % 2 == 1 and width < FEW_PIXELS


def strips(case: Case, variant: Variant) -> int:
    """Columns of the rows of an output row as bytes, whole vectors from the last window on; of two rows where an odd
    number of pixels goes two by two along y.
    """
    size = TENSOR_TYPES[case.dtype].bits // 8
    column = case.kernel[0] * case.image[2] * size
    vectors = -(-case.kernel[1] * column // VECTOR)
    vectors += -vectors % parts_of(vectors, is_wide=size == 2)
    strip = (case.output[1] - 1) * case.stride[1] * column + 16 * vectors
    rows = 2 if _goes_down(case.output[1]) and case.output[0] > 1 and not variant.fused_pool else 1
    return rows * -(-strip // 4) * 4


def block_operands(layer: Layer, variant: Variant | None) -> dict[str, np.ndarray]:
    """In vectors the records of channels come in blocks."""
    operands = channel_operands(layer, variant)
    if variant is not None and variant.inner == "helium":
        operands["channels"] = channels_of(layer).in_fours(lane_order(layer.output_image[2]))
    return operands
