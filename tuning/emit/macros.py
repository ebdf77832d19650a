# SPDX-License-Identifier: Apache-2.0
"""One layer and the variant chosen for it, as the macros that its device kernel reads."""

from __future__ import annotations

from dataclasses import fields
from math import prod

from cmsisnn_x.isa import Isa
from cmsisnn_x.layers import Layer
from cmsisnn_x.variant import Variant
from tuning.target import Target

from .cgen import check_identifier

GEOMETRY = (
    "IN_H", "IN_W", "IN_CH", "OUT_H", "OUT_W", "OUT_CH", "KERNEL_H", "KERNEL_W", "STRIDE_Y", "STRIDE_X",
    "PAD_TOP", "PAD_LEFT",
)  # fmt: skip
"""What the layer is: the model decides. The macros of its scheme follow: `Layer.requant`."""
TYPES = ("IN_BITS", "WEIGHT_BITS", "INT_BITS", "INPUT_ALIGNED", "OUTPUT_ALIGNED")
"""What its elements and buffers are."""
KNOBS = tuple(f.name.upper() for f in fields(Variant))
"""How it is computed: the search decides."""

ONE_KERNEL = Variant(unroll=1, block_rows=1, block_cols=1, im2col_cols=1)
"""What the knob macros of an operation without knobs say."""


def layer_macros(
    layer: Layer,
    variant: Variant | None,
    prefix: str,
    *,
    scratch_bytes: int | None = None,
    input_aligned: bool = True,
    output_aligned: bool = True,
) -> dict[str, int | str]:
    """The macros that configure the kernel of one layer.

    Parameters
    ----------
    layer : Layer
        Geometry, element types and scheme; ``(n,)`` tensors have height and width 1, and a fully connected layer
        has its columns as input channels and its rows as output channels.
    variant : Variant or None
        None for an operation without knobs.
    prefix : str
        What every name begins with, without the underscore after it: ``"CIFAR10_CONV1"``.
    scratch_bytes : int, optional
        Size of the buffer that the kernel gets; by default what :func:`cmsisnn_x.buffers.layer_scratch_bytes` says.
    input_aligned, output_aligned : bool
        Whether the buffer is known to start at a word boundary. The caller's buffers are not.

    Returns
    -------
    dict
        Macro name -> integer, or the name of an integer of ``cmsisnn_x/config.h`` for enumerated knobs
        (``CXN_LOWERING_LINE_BUFFER``). The order is that of the emitted header.
    """
    check_identifier(prefix, "macro prefix")
    if scratch_bytes is None:
        from cmsisnn_x.buffers import layer_scratch_bytes

        scratch_bytes = layer_scratch_bytes(layer, variant or ONE_KERNEL)
    flat = layer.op == "fully_connected"
    in_h, in_w, in_ch = (1, 1, prod(layer.input_shape)) if flat else layer.image
    out_h, out_w, out_ch = (1, 1, prod(layer.output_shape)) if flat else layer.output_image
    (pad_top, _), (pad_left, _) = layer.padding
    geometry = (in_h, in_w, in_ch, out_h, out_w, out_ch, *layer.kernel, *layer.stride, pad_top, pad_left)
    types = (
        layer.type.bits,
        layer.weights_type.bits,
        layer.int_bits,
        int(input_aligned),
        int(output_aligned),
    )
    chosen = variant or ONE_KERNEL
    knobs = (knob_value(f.name, getattr(chosen, f.name)) for f in fields(Variant))
    values = {
        **dict(zip(GEOMETRY, geometry, strict=True)),
        **layer.requant.macros(),
        **(_affine_macros(layer) if layer.type.is_affine else {}),
        **dict(zip((*TYPES, *KNOBS), (*types, *knobs), strict=True)),
        "SCRATCH_BYTES": scratch_bytes,
    }
    return {f"{prefix}_{name}": value for name, value in values.items()}


def _affine_macros(layer: Layer) -> dict[str, int | str]:
    """What kernels read of layers with zero points alone: that they are such, how wide outputs are, and what the
    operation asks for.
    """
    scheme: dict[str, int | str] = {"SCHEME": "CXN_SCHEME_AFFINE", "OUT_BITS": layer.output_type.bits}
    return {**scheme, **layer.row.macros(layer)}


def knob_value(name: str, value: object) -> int | str:
    """A knob as its macro says it.

    Examples
    --------
    >>> knob_value("unroll", 4), knob_value("lowering", "line_buffer")
    (4, 'CXN_LOWERING_LINE_BUFFER')
    """
    if isinstance(value, str):
        return check_identifier(f"CXN_{name}_{value}".upper(), f"variant.{name}")
    return int(value)  # type: ignore[call-overload]


def instructions(target: Target) -> str:
    """Whether a compiler is told of the instructions that kernels for `target` are chosen by: a condition of macros."""
    isa = target.features.isa
    if isa >= Isa.HELIUM:
        return "defined(__ARM_FEATURE_MVE)"
    if isa >= Isa.DSP:
        return "defined(__ARM_FEATURE_DSP) && !defined(__ARM_FEATURE_MVE)"
    thumb2 = "defined(__thumb2__)" if target.features.unaligned else "!defined(__thumb2__)"
    return f"{thumb2} && !defined(__ARM_FEATURE_DSP)"
