# SPDX-License-Identifier: Apache-2.0
"""How much scratch memory a kernel needs: the one truth for host kernels, search and emitted code."""

from __future__ import annotations

from math import prod

from . import _arguments as check
from .errors import ShapeError
from .layers import Layer
from .op import OPS, Case, Pool, check_op, check_variant
from .variant import Variant

ALIGNMENT = 4
"""Bytes: the kernels read and write the arena in words. Whoever places or checks tensors takes it from here."""


def aligned(size: int, align: int = ALIGNMENT) -> int:
    return -(-size // align) * align


def footprint(case: Case, variant: Variant) -> int:
    """Scratch bytes of `case` under `variant`; 0 for the operations without knobs."""
    return OPS[case.op].scratch(case, variant)


def layer_scratch_bytes(layer: Layer, variant: Variant, pooling: Layer | None = None) -> int:
    """Scratch bytes of a network's layer: :func:`scratch_bytes` for a :class:`~cmsisnn_x.layers.Layer`. `pooling` is
    the one that a variant with `fused_pool` takes in.
    """
    (top, _), (left, _) = layer.padding
    out_h, out_w, out_ch = layer.output_image
    pool = None
    if pooling is not None:
        (pool_top, _), (pool_left, _) = pooling.padding
        pool = Pool(pooling.kernel, pooling.stride, (pool_top, pool_left))
    sides = (out_h, out_w)
    height, width, channels = layer.image
    image = (height, width, channels // layer.groups)  # a column has those of one group
    case = Case(
        layer.python_op, layer.type.twin, image, 1, out_ch, layer.kernel, layer.stride, (top, left), sides, pool
    )  # fmt: skip
    return footprint(case, variant)


def scratch_bytes(
    op: str,
    dtype: str,
    *,
    input_shape: tuple[int, ...],
    out_channels: int | None = None,
    kernel: int | tuple[int, int] = 1,
    stride: int | tuple[int, int] = 1,
    padding: int | tuple[int, int] | str = 0,
    variant: Variant | None = None,
) -> int:
    """Bytes of scratch memory that an operation needs, on the host and on a device alike.

    Parameters
    ----------
    op : str
        Name of the Python function, such as ``"convolve"``.
    dtype : {"q7", "q15"}
        Type of the activations.
    input_shape : tuple of int
        ``(h, w, c)`` or ``(n, h, w, c)``; also ``(k,)`` or ``(n, k)`` for operations that do not need an image.
    out_channels : int, optional
        Output channels, or rows of a fully connected layer.
    kernel, stride : int or (int, int)
        Height and width, both alike if a single int.
    padding : int, (int, int), "same" or "valid"
    variant : Variant, optional
        Default: ``Variant()``.

    Returns
    -------
    int
        For a variant with ``lowering="im2col"``: ``im2col_cols`` columns of ``kernel_h * kernel_w * in_channels`` q15
        elements, rounded up to an even number. A fully connected q7 layer widens min(im2col_cols, samples) samples; a
        q15 one needs none, nor do the operations without knobs.

    Raises
    ------
    ValueError
        An argument is unknown, out of range or does not fit the others; the message names it.

    Examples
    --------
    >>> from cmsisnn_x import Variant, scratch_bytes
    >>> scratch_bytes("convolve", "q7", input_shape=(32, 32, 3), out_channels=32, kernel=5, padding=2)
    304
    """
    row = check_op(op, dtype)
    chosen = Variant() if variant is None else check_variant(variant, op)
    dims = tuple(check.integer(f"input_shape[{i}]", n, 1, 2**31 - 1) for i, n in enumerate(_sequence(input_shape)))
    channels = 1 if out_channels is None else check.integer("out_channels", out_channels, 1, 2**31 - 1)
    window, step = check.pair("kernel", kernel, 1), check.pair("stride", stride, 1)
    batched = len(dims) in (2, 4)
    if row.is_windowed and len(dims) not in (3, 4):
        raise ShapeError(f"input_shape: expected (h, w, c) or (n, h, w, c) for {op}, got {dims}")
    sample = dims[1:] if batched else dims
    image = (sample[0], sample[1], sample[2]) if len(sample) == 3 else (1, 1, prod(sample))
    first, total = check.convolution_padding(padding, image[:2], window, step)
    sides = check.output_sides(1, image[:2], window, step, first, total, False, None)
    samples = dims[0] if batched else 1
    return footprint(Case(op, dtype, image, samples, channels, window, step, first, sides), chosen)


def _sequence(value: object) -> tuple[object, ...]:
    if isinstance(value, tuple | list) and 1 <= len(value) <= 4:
        return tuple(value)
    raise ShapeError(f"input_shape: expected a tuple of 1 to 4 sizes, got {value!r}")
