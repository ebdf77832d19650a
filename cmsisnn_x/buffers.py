# SPDX-License-Identifier: Apache-2.0
"""How much scratch memory a kernel needs: the one truth for host kernels, search and emitted code."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import gcd, prod

from . import _arguments as check
from .errors import ShapeError, VariantError
from .layers import Layer
from .variant import BLOCKED_OPS, Variant, check_op, check_variant


@dataclass(frozen=True)
class Pool:
    """The pooling that a convolution takes in: what its band depends on."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]


@dataclass(frozen=True)
class Case:
    """One operation with its shapes: what a footprint depends on besides the variant.

    `image` is the input ``(h, w, c)`` of one sample and `samples` how many there are; `output` is its output height
    and width, `dtype` the type of the activations.
    """

    op: str
    dtype: str
    image: tuple[int, int, int]
    samples: int = 1
    out_channels: int | None = None
    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    output: tuple[int, int] = (1, 1)

    @property
    def depth(self) -> int:
        """Elements of one im2col column."""
        return self.kernel[0] * self.kernel[1] * self.image[2]


def round_up_even(count: int) -> int:
    return count + (count & 1)


def _im2col(case: Case, variant: Variant) -> int:
    """`im2col_cols` columns of q15 elements, each an even number of them, so that every column starts word aligned."""
    return variant.im2col_cols * round_up_even(case.depth) * 2


def _fully_connected(case: Case, variant: Variant) -> int:
    """The samples that are widened to q15 at a time; q15 samples are read where they are."""
    if case.dtype == "q15":
        return 0
    return min(variant.im2col_cols, case.samples) * round_up_even(prod(case.image)) * 2


def _nothing(case: Case, variant: Variant) -> int:
    return 0


def _line_buffer(case: Case, variant: Variant) -> int:
    """`kernel_h` rows with their padding, as wide as the windows of an output row reach."""
    span = (case.output[1] - 1) * case.stride[1] + case.kernel[1]
    return case.kernel[0] * round_up_even(span * case.image[2]) * 2


def _winograd(case: Case, variant: Variant) -> int:
    """One tile's columns of the whole image, transformed: a plane per point; odd runs read one element further.

    Plain weights add a block of rows.
    """
    points = variant.tile + case.kernel[1] - 1
    height = (case.output[0] - 1) * case.stride[0] + case.kernel[0]
    plane = height * case.image[2] + case.kernel[0] * case.image[2] % 2
    rows = variant.block_rows * round_up_even(case.kernel[0] * case.image[2]) if variant.weight_layout == "plain" else 0
    return points * (round_up_even(plane) + rows) * 2


def _depthwise_rows(case: Case, variant: Variant) -> int:
    """Lines as wide as the windows of an output row reach: of all channels, an even number, or, with the DSP extension,
    pairs of rows of one word of channels.
    """
    group = 4 if case.dtype == "q7" else 2
    span = (case.output[1] - 1) * case.stride[1] + case.kernel[1]
    if variant.block_rows == 2:
        return case.kernel[0] * span * round_up_even(case.image[2]) * 2
    return group * span * ((case.kernel[0] + variant.block_cols) // 2) * 4


FOOTPRINTS: dict[tuple[str, str], Callable[[Case, Variant], int]] = {
    ("convolve", "im2col"): _im2col,
    ("convolve", "line_buffer"): _line_buffer,
    ("convolve", "direct"): _nothing,
    ("convolve", "winograd"): _winograd,
    ("depthwise_convolve", "im2col"): _im2col,
    ("depthwise_convolve", "line_buffer"): _depthwise_rows,
    ("fully_connected", "im2col"): _fully_connected,
    ("fully_connected", "direct"): _nothing,
}
"""(operation, lowering) -> scratch bytes. A new lowering is one function and one row."""


def band_bytes(case: Case, variant: Variant, pool: Pool | None) -> int:
    """Lines of a convolution's output that lie in scratch when the pooling behind it is fused: rows, or with Winograd
    columns, of which `tile` are made at a time; and those of them that windows share with the ones after.

    As convolve_band.h says it. A window that is not complete yet lacks a line or more, and where it starts is fixed
    modulo the greatest common divisor of the pooling's stride and the lines made at a time.
    """
    if pool is None:
        raise VariantError("variant.fused_pool: expected a convolution with a pooling layer behind it, got none")
    across = int(variant.lowering == "winograd")
    made = variant.tile if across else 1
    kernel, stride, padding = pool.kernel[across], pool.stride[across], pool.padding[across]
    kept = kernel - 1 - (kernel - 1 - padding) % gcd(made, stride)
    element = 1 if case.dtype == "q7" else 2
    return min(kept + made, case.output[across]) * case.output[1 - across] * (case.out_channels or 1) * element


def footprint(case: Case, variant: Variant, pool: Pool | None = None) -> int:
    """Scratch bytes of `case` under `variant`, which with `fused_pool` takes in `pool`; 0 for the operations without
    knobs.
    """
    if case.op not in BLOCKED_OPS:
        return 0
    if (case.op, variant.lowering) not in FOOTPRINTS:
        raise VariantError(f"variant.lowering: {case.op} has no {variant.lowering!r} kernel")
    band = band_bytes(case, variant, pool) if variant.fused_pool else 0
    return FOOTPRINTS[case.op, variant.lowering](case, variant) + band


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
    case = Case(layer.python_op, layer.dtype, layer.image, 1, out_ch, layer.kernel, layer.stride, (top, left), sides)
    return footprint(case, variant, pool)


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
    check_op(op, dtype)
    chosen = Variant() if variant is None else check_variant(variant, op)
    dims = tuple(check.integer(f"input_shape[{i}]", n, 1, 2**31 - 1) for i, n in enumerate(_sequence(input_shape)))
    if out_channels is not None:
        out_channels = check.integer("out_channels", out_channels, 1, 2**31 - 1)
    window, step = check.pair("kernel", kernel, 1), check.pair("stride", stride, 1)
    batched = len(dims) in (2, 4)
    if op in ("convolve", "depthwise_convolve", "max_pool", "avg_pool") and len(dims) not in (3, 4):
        raise ShapeError(f"input_shape: expected (h, w, c) or (n, h, w, c) for {op}, got {dims}")
    sample = dims[1:] if batched else dims
    image = (sample[0], sample[1], sample[2]) if len(sample) == 3 else (1, 1, prod(sample))
    first, total = check.convolution_padding(padding, image[:2], window, step)
    sides = check.output_sides(1, image[:2], window, step, first, total, False, None)
    samples = dims[0] if batched else 1
    return footprint(Case(op, dtype, image, samples, out_channels, window, step, first, sides), chosen)


def _sequence(value: object) -> tuple[object, ...]:
    if isinstance(value, tuple | list) and 1 <= len(value) <= 4:
        return tuple(value)
    raise ShapeError(f"input_shape: expected a tuple of 1 to 4 sizes, got {value!r}")
