# SPDX-License-Identifier: Apache-2.0
"""im2col into columns that do not lie behind each other: what they ask of a convolution, and their scratch."""

from __future__ import annotations

from math import prod

from ..channels import farthest_start
from ..layers import Layer
from ..op import Case
from ..variant import Variant
from ._shared import round_up_even


def even_channels(layer: Layer, variant: Variant) -> str | None:
    """`column_layout: interleaved` needs an even number of input channels."""
    if variant.column_layout != "interleaved" or layer.image[2] % 2 == 0:
        return None
    return f"column_layout 'interleaved' needs an even number of input channels, got {layer.image[2]}"


def three_pixels(layer: Layer, variant: Variant) -> str | None:
    """`column_layout: packed` needs three output pixels or more."""
    pixels = prod(layer.output_image[:2])
    if variant.column_layout != "packed" or pixels >= 3:
        return None
    return f"column_layout 'packed' needs an output of at least 3 pixels, got {pixels}"


def paired_words(layer: Layer, variant: Variant) -> str | None:
    """`column_layout: paired` needs elements of a kernel row in fours, and an even number of output channels, at most
    1364.
    """
    run, channels = layer.kernel[1] * layer.image[2], layer.output_image[2]
    if variant.column_layout != "paired" or (run % 4 == 0 and channels % 2 == 0 and channels <= 1364):
        return None
    rule = "column_layout 'paired' needs elements of a kernel row in fours, output channels in twos up to 1364"
    return f"{rule}; got {run} and {channels}"


def paired_inside(layer: Layer, variant: Variant) -> str | None:
    """`column_layout: paired` needs windows of one pixel inside the image: no padding around 1x1 kernels."""
    is_padded = any(side > 0 for axis in layer.padding for side in axis)
    if variant.column_layout != "paired" or layer.kernel != (1, 1) or not is_padded:
        return None
    return f"column_layout 'paired' needs windows of one pixel inside the image, got padding {layer.padding}"


def paired_range(layer: Layer, variant: Variant) -> str | None:
    """`column_layout: paired` needs accumulators below 2^23 and fewer than 512 elements in a window."""
    if variant.column_layout != "paired":
        return None
    elements = prod(layer.kernel) * layer.image[2]
    if elements >= 512:
        return f"column_layout 'paired' needs fewer than 512 elements in a window, got {elements}"
    reach = farthest_start(layer) + elements * 2**14
    return None if reach < 2**23 else f"column_layout 'paired' needs accumulators below 2^23, got {reach}"


def packed_columns(case: Case) -> int:
    """Three columns in two words of each element, and a kernel row of padding."""
    return round_up_even(case.depth) * 8 + case.kernel[1] * case.image[2]


def paired_columns(case: Case, variant: Variant) -> int:
    """Columns of 8 bits, four pixels of output, and three kernel rows where windows have several pixels."""
    rows = 3 * case.kernel[1] * case.image[2] if case.kernel != (1, 1) else 0
    return variant.im2col_cols * case.depth + 4 * case.out_channels + rows
