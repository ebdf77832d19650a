# SPDX-License-Identifier: Apache-2.0
"""What the emitted files say of a layer: the comment above its macros, the type of its records."""

from __future__ import annotations

from cmsisnn_x.layers import Layer
from tuning.plan import LayerPlan

from .arguments import shape_text
from .cgen import comment_text


def record_type(layer: Layer) -> str | None:
    """The structure in C that the records of a layer's channels are."""
    from cmsisnn_x.channels import channels_of

    return channels_of(layer).record_type


def summary(item: LayerPlan) -> str:
    """A layer in one line: operation, shapes, and what was planned for it."""
    layer = item.layer
    text = f"{layer.op} {shape_text(layer.input_shape)} -> {shape_text(layer.output_shape)}"
    if layer.activation:
        text += f", {layer.activation}"
    if item.fused_into is not None:
        return comment_text(f"{text}; inside {item.fused_into}")
    both = " with the pooling behind it" if item.takes_in_next else ""
    if item.band:
        both = f", {item.band} row{'s' * (item.band > 1)} at a time"
    if item.is_overwritten:
        both = ", written over its input"
    return comment_text(f"{text}; {item.cycles} cycles estimated{both}")
