# SPDX-License-Identifier: Apache-2.0
"""Layers that run on a band of rows at a time: what a call of their device kernel sees, and what that asks of it."""

from __future__ import annotations

from dataclasses import replace
from math import prod

from .channels import have_channels_of
from .layers import Layer
from .variant import Variant


def banded(layer: Layer, rows: int) -> Layer:
    """`layer` as a call sees it that makes `rows` output rows inside the image: the input rows that these need, without
    padding above or below; of one that adds rows up, so many input rows. Element by element, as many rows of input as
    of output, and of each other input that is not repeated in every row.

    Its scratch is that of the band: the width and its padding are the layer's own.
    """
    _, width, channels = layer.image
    _, out_width, out_channels = layer.output_image
    if layer.row.sums_rows(layer):
        if layer.row.is_windowed:
            kernel, shape = (rows, layer.kernel[1]), (rows, width, channels)
            return replace(layer, input_shape=shape, kernel=kernel, padding=((0, 0), layer.padding[1]))
        return replace(layer, input_shape=(1, rows * width, channels))
    if not layer.row.is_windowed:
        whole = prod(layer.input_shape)
        shape = (rows, width, channels)
        others = tuple(shape if prod(other) == whole else other for other in layer.more_inputs)
        return replace(layer, input_shape=shape, output_shape=(rows, out_width, out_channels), more_inputs=others)
    height = (rows - 1) * layer.stride[0] + (layer.kernel[0] - 1) * layer.dilation[0] + 1
    own = replace(
        layer,
        input_shape=(height, width, channels),
        output_shape=(rows, out_width, out_channels),
        padding=((0, 0), layer.padding[1]),
    )
    return have_channels_of(own, layer)


def least_rows(layer: Layer, variant: Variant | None) -> int | None:
    """The fewest output rows that a call of the device kernel can make on a band; None: it cannot work on bands."""
    return None if layer.samples != 1 else layer.row.least_rows(layer, variant)


def row_step(layer: Layer, variant: Variant | None) -> int:
    """Calls on as many output rows as this, or a multiple, compute no row or pixel in vain."""
    return layer.row.row_step(layer, variant)
