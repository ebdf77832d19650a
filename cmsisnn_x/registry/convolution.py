# SPDX-License-Identifier: Apache-2.0
"""Convolution: its row, its device kernels, what they ask of a layer, and their scratch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from math import gcd, prod
from typing import Any

from ..isa import Isa
from ..layers import Layer
from ..op import Case, Op, Shape
from ..packing import pack_convolution
from ..variant import BASELINE, BLOCKS, UNROLLS, Family, Variant
from ._shared import (
    AFFINE_WEIGHTS,
    SCHEDULES,
    SINGLE,
    WEIGHTS_ALIKE,
    append_windows,
    columns,
    cores_of,
    nothing,
    round_up_even,
    scratch_of,
    starts_inside,
    window_macros,
    windows,
)  # fmt: skip
from .columns import (
    even_channels,
    packed_columns,
    paired_columns,
    paired_inside,
    paired_range,
    paired_words,
    three_pixels,
)
from .vectors import block_operands, in_vectors, rows_at_once, strips, whole_vectors

PAIRED = ((2, 2), (2, 4), (4, 2))
FEW_COLS = (2, 4, 8)
"""What C over packed weights comes in."""

# ---------------------------------------------------------------- device kernels


def _unfused() -> Iterator[Family]:
    for dtype, packed in (("q7", ("interleaved", "widened")), ("q15", ("interleaved",))):
        row = partial(Family, dtype)
        yield row(UNROLLS, BLOCKS, "any shape on any core: the paper's knobs, the least code and flash")
        # Packed weights in C: without the DSP extension, and unrolled less than this, assembly over the same weights
        # was always faster.
        for layout in packed:
            few = partial(row, weight_layout=layout, least=Isa.DSP)
            yield few((4, 8), PAIRED, "narrow outputs and odd channels in C", im2col_cols=FEW_COLS)
            lines = partial(few, blocks=PAIRED, lowering="line_buffer")
            yield lines((4,), wins="few channels, padded and strided kernels in C")
            yield lines((2,), wins="few channels on M7 in C", schedules=("dual",))
        yield row((1, 2, 4), BLOCKS, "padded kernels with little scratch and flash", lowering="line_buffer")
        most = Isa.SCALAR if dtype == "q7" else None
        direct = partial(row, (2, 4), PAIRED, lowering="direct", most=most)
        yield direct("no padding: no scratch at all")
        yield direct("no padding, 1x1 kernels: no scratch at all", weight_layout="interleaved")

        # Assembly: the 2x4 block over packed weights.
        block = partial(row, (4, 8), ((2, 4),))
        for inner, schedules in SCHEDULES:
            fast, names = partial(block, inner=inner, least=Isa.DSP, schedules=schedules), cores_of(schedules)
            for layout in packed:
                im2col = partial(fast, im2col_cols=(4, 8), weight_layout=layout)
                yield im2col(f"outputs less than 4 wide, odd channels on {names}")
                yield im2col(f"outputs less than 4 wide, large windows on {names}", column_layout="interleaved")
                yield fast(f"1x1 and strided kernels on {names}", lowering="line_buffer", weight_layout=layout)
            if dtype == "q15":
                yield fast(f"1x1 and unpadded kernels on {names}", lowering="direct", weight_layout="interleaved")
        if dtype == "q7":
            for layout in packed:
                yield block(
                    f"1x1 and strided kernels of 8 bits on {cores_of(SINGLE)}", im2col_cols=(4, 8, 16), inner="asm",
                    weight_layout=layout, column_layout="paired", least=Isa.DSP, schedules=SINGLE,
                )  # fmt: skip
        for lowering in ("im2col", "line_buffer"):
            yield block(
                "q15, 1x1 and strided kernels on M3", im2col_cols=(4,), lowering=lowering, weight_layout="interleaved",
                inner="asm", most=Isa.SCALAR, schedules=("v7m",),
            )  # fmt: skip
        small = partial(
            row, (4, 8), ((2, 2),), im2col_cols=(2, 4, 8), weight_layout="interleaved", inner="asm", most=Isa.SCALAR,
            schedules=("v6m",),
        )  # fmt: skip
        yield small("outputs one pixel wide, odd channels on M0+")
        yield small("1x1 kernels and large windows on M0+", column_layout="interleaved")
        yield small("strided kernels and few channels on M0+", lowering="line_buffer")

    scalar = ("v7m", "v6m")
    yield Family(
        "q7", (8,), ((2, 3),), f"1x1 and strided kernels of 8 bits on {cores_of(scalar)}", im2col_cols=(3,),
        weight_layout="interleaved", column_layout="packed", inner="asm", most=Isa.SCALAR, schedules=scalar,
    )  # fmt: skip

    winograd = partial(Family, "q7", lowering="winograd", tiles=(2, 4))
    for layout, price in (("widened", "for 2 to 3.2 times the flash"), ("plain", "and the flash of q7, slower")):
        own = partial(winograd, weight_layout=layout)
        wins = f"3, 5 and 7 wide at stride 1: 1.5 to 2.5 times fewer products {price}"
        if layout == "widened":  # from plain weights, blocks of 2x4 and unrolled less, assembly was always faster
            yield own((4, 8), ((2, 2), (4, 2)), f"{wins}, in C", least=Isa.DSP)
        for block_, schedules in (((2, 4), ("v7m",)), ((2, 2), ("v6m",))):
            where = f"{wins}, on {cores_of(schedules)}"
            yield own((4, 8), (block_,), where, inner="asm", most=Isa.SCALAR, schedules=schedules)
        for inner, schedules in SCHEDULES:
            where = f"{wins}, on {cores_of(schedules)}"
            yield own((2, 4, 8), ((2, 4),), where, inner=inner, least=Isa.DSP, schedules=schedules)
        if layout == "widened":
            where = f"{wins}, with half of the scratch and two rows of a chain at a time, on {cores_of(SINGLE)}"
            yield own((8,), ((4, 2),), where, inner="asm", least=Isa.DSP, schedules=SINGLE)

    both = partial(Family, "q7", lowering="winograd_2d", weight_layout="widened", tiles=(4,))
    wins = "3x3 and 5x5 at stride 1, many channels: 4 times fewer products for 5 to 8 times the flash"
    yield both((4, 8), ((2, 4),), f"{wins}, on {cores_of(('v7m',))}", inner="asm", most=Isa.SCALAR, schedules=("v7m",))
    yield both((4, 8), ((2, 2),), f"{wins}, on {cores_of(('v6m',))}", inner="asm", most=Isa.SCALAR, schedules=("v6m",))
    for inner, schedules in SCHEDULES:
        where = f"{wins}, on {cores_of(schedules)}"
        yield both((4, 8), ((2, 4),), where, inner=inner, least=Isa.DSP, schedules=schedules)
    where = f"{wins}, with half of the scratch and in place on bands, on {cores_of(SINGLE)}"
    yield both((8,), ((4, 2),), where, inner="asm", least=Isa.DSP, schedules=SINGLE)


def _fused() -> Iterator[Family]:
    """Convolutions that take in the pooling behind them: few, the fastest of each kind and those of least scratch. With
    Helium those in vectors alone do, `in_vectors`: on rows of few pixels others took up to five times as long.
    """
    wins = "SRAM: max or average pooling behind it, the image between never stored;"
    for dtype, packed in (("q7", ("interleaved", "widened")), ("q15", ("interleaved",))):
        row = partial(Family, dtype, fused_pool=True, most=Isa.DSP)
        yield row((1, 8), ((2, 1), (2, 2)), f"{wins} least scratch on any core, least flash", im2col_cols=(1, 2))
        packed_in_c = partial(row, (4,), PAIRED, weight_layout="interleaved")
        yield packed_in_c(f"{wins} little scratch, in C", im2col_cols=(2, 4), least=Isa.DSP)
        yield packed_in_c(f"{wins} padded and strided kernels, in C", lowering="line_buffer", least=Isa.DSP)
        most = Isa.SCALAR if dtype == "q7" else Isa.DSP
        yield packed_in_c(f"{wins} no padding, nothing but the band in scratch", lowering="direct", most=most)
        block = partial(row, (8,), ((2, 4),))
        for inner, schedules in SCHEDULES:
            fast, names = partial(block, inner=inner, least=Isa.DSP, schedules=schedules), cores_of(schedules)
            for layout in packed:
                im2col = partial(fast, im2col_cols=(4,), weight_layout=layout)
                yield im2col(f"{wins} little scratch on {names}")
                yield im2col(f"{wins} little scratch, large windows on {names}", column_layout="interleaved")
                yield fast(
                    f"{wins} padded and strided kernels on {names}", lowering="line_buffer", weight_layout=layout
                )
            if dtype == "q15":
                lowest = partial(fast, lowering="direct", weight_layout="interleaved")
                yield lowest(f"{wins} no padding, nothing but the band in scratch on {names}")
        for lowering in ("im2col", "line_buffer"):
            yield block(
                f"{wins} on M3", im2col_cols=(4,), lowering=lowering, weight_layout="interleaved", inner="asm",
                most=Isa.SCALAR, schedules=("v7m",),
            )  # fmt: skip
            yield row(
                (8,), ((2, 2),), f"{wins} on M0+", im2col_cols=(2,), lowering=lowering, weight_layout="interleaved",
                inner="asm", most=Isa.SCALAR, schedules=("v6m",),
            )  # fmt: skip

    winograd = partial(Family, "q7", (8,), lowering="winograd", tiles=(2, 4), fused_pool=True, most=Isa.DSP)
    for layout in ("widened", "plain"):
        for block_, schedules in (((2, 4), ("v7m",)), ((2, 2), ("v6m",))):
            text = f"{wins} 3, 5 and 7 wide at stride 1 on {cores_of(schedules)}"
            yield winograd(
                (block_,), text, weight_layout=layout, inner="asm", most=Isa.SCALAR, schedules=schedules
            )  # fmt: skip
        for inner, schedules in SCHEDULES:
            text = f"{wins} 3, 5 and 7 wide at stride 1 on {cores_of(schedules)}"
            yield winograd(((2, 4),), text, weight_layout=layout, inner=inner, least=Isa.DSP, schedules=schedules)


def _families() -> Iterator[Family]:
    yield from _unfused()
    yield from _fused()
    yield from in_vectors()


# ---------------------------------------------------------------- what they ask of a layer


def _plain_windows(layer: Layer, variant: Variant) -> str | None:
    """Dilated windows and groups of channels need `lowering: im2col` with sequential columns of C."""
    odd = layer.dilation != (1, 1) or layer.groups > 1
    takes = (variant.lowering, variant.column_layout, variant.inner) == ("im2col", "sequential", "c")
    if not odd or (takes and variant.weight_layout == "plain" and not variant.fused_pool):
        return None
    got = f"dilation {layer.dilation} and {layer.groups} groups"
    return f"only lowering 'im2col' in C over plain weights takes dilated windows and groups, got {got}"


def _wide_accumulator(layer: Layer, variant: Variant) -> str | None:
    """int16 activations need the baseline, whose accumulators have 64 bits, or `inner: helium` without `fused_pool`."""
    if layer.dtype != "int16" or variant == BASELINE or (variant.inner == "helium" and not variant.fused_pool):
        return None
    return f"int16 activations need the variant {BASELINE}, or one in vectors without fused_pool; got {variant}"


def _overwrites(layer: Layer, variant: Variant) -> bool:
    """Rows are widened, and windows of one pixel copied, before what is computed from them is written. Packed pixels
    come in threes, the last of them with one that was written before, for which there is room; not with two.
    """
    if layer.dtype == "int16" or layer.groups > 1 or variant.fused_pool or not starts_inside(layer):
        return False
    if variant.column_layout == "packed" and prod(layer.output_image[:2]) % 3 == 1:
        return False
    if variant.inner == "helium":  # rows are woven again for each output row
        return variant.lowering == "line_buffer" and layer.kernel == (1, 1)
    return variant.lowering == "line_buffer" or (variant.lowering == "im2col" and layer.kernel == (1, 1))


def _wide_output(layer: Layer, variant: Variant) -> str | None:
    """`lowering: line_buffer` and `direct` need an output at least `block_cols` wide."""
    out_w = layer.output_image[1]
    if variant.inner == "helium" or variant.lowering not in ("line_buffer", "direct") or out_w >= variant.block_cols:
        return None
    return f"lowering {variant.lowering!r} needs an output at least block_cols={variant.block_cols} wide, got {out_w}"


def _no_padding(layer: Layer, variant: Variant) -> str | None:
    """`lowering: direct` needs windows inside the image: no padding."""
    if variant.lowering != "direct" or not any(side > 0 for axis in layer.padding for side in axis):
        return None
    return f"lowering 'direct' needs windows inside the image, got padding {layer.padding}"


def _winograd_stride(layer: Layer, variant: Variant) -> str | None:
    """`lowering: winograd` needs stride 1 along x."""
    if variant.lowering != "winograd" or layer.stride[1] == 1:
        return None
    return f"lowering 'winograd' needs stride 1 along x, got {layer.stride[1]}"


def _winograd_width(layer: Layer, variant: Variant) -> str | None:
    """`lowering: winograd` needs a kernel 3, 5 or 7 wide with `tile` 2, or 3 or 5 wide with `tile` 4."""
    if variant.lowering != "winograd":
        return None
    width = layer.kernel[1]
    if _points(layer, variant) in (4, 6, 8) and variant.tile != 1 and width != 1:
        return None
    legal = "a kernel 3, 5 or 7 wide with tile 2, or 3 or 5 wide with tile 4"
    return f"lowering 'winograd' needs {legal}; got {width} with tile {variant.tile}"


def _winograd_height(layer: Layer, variant: Variant) -> str | None:
    """`lowering: winograd` needs an output at least `block_cols` high."""
    out_h = layer.output_image[0]
    if variant.lowering != "winograd" or out_h >= variant.block_cols:
        return None
    return f"lowering 'winograd' needs an output at least block_cols={variant.block_cols} high, got {out_h}"


def _winograd_range(layer: Layer, variant: Variant) -> str | None:
    """`lowering: winograd` needs so few products per output that its 32 bits hold the scaled sums: fewer than 2^16 in
    tiles of 4 points, fewer than 2^14 in larger ones.
    """
    products = layer.kernel[0] * layer.kernel[1] * layer.image[2]
    most = 2**16 if _points(layer, variant) == 4 else 2**14
    if variant.lowering != "winograd" or products < most:
        return None
    return f"lowering 'winograd' needs fewer than {most} products per output, got {products}"


def _winograd_2d(layer: Layer, variant: Variant) -> str | None:
    """`lowering: winograd_2d` needs a 3x3 or 5x5 kernel at stride 1, input channels in fours, and so few products per
    output that its 32 bits hold the scaled sums: fewer than 2^11 where the kernel is 3x3, else 2^13.
    """
    if variant.lowering != "winograd_2d":
        return None
    channels, (height, width) = layer.image[2], layer.kernel
    is_few = height * width * channels < (2**11 if width == 3 else 2**13)
    if height == width in (3, 5) and layer.stride == (1, 1) and channels % 4 == 0 and is_few:
        return None
    got = f"{layer.kernel} at stride {layer.stride} with {channels} channels"
    return f"lowering 'winograd_2d' needs 3x3 or 5x5 kernels at stride 1 and a multiple of 4 channels, few, got {got}"


def _winograd_2d_rows(layer: Layer, variant: Variant) -> str | None:
    """`lowering: winograd_2d` in blocks of four rows needs output channels in fours."""
    channels = layer.output_image[2]
    if variant.lowering != "winograd_2d" or variant.block_rows != 4 or channels % 4 == 0:
        return None
    return f"lowering 'winograd_2d' in blocks of 4 rows needs a multiple of 4 output channels, got {channels}"


def _points(layer: Layer, variant: Variant) -> int:
    return variant.tile + layer.kernel[1] - 1


def _assembly_run(layer: Layer, variant: Variant) -> str | None:
    """`inner: asm` and `asm_dual` with `lowering: line_buffer` or `direct` need two elements or more in a kernel row,
    where they take four columns at a time.
    """
    run, _ = _run_and_step(layer, variant)
    if not _is_by_offset(variant) or run != 1 or variant.lowering not in ("line_buffer", "direct"):
        return None
    return f"inner {variant.inner!r} needs at least two elements in a kernel row, got {run}"


def _assembly_reach(layer: Layer, variant: Variant) -> str | None:
    """`inner: asm` and `asm_dual` with four columns need every operand of a loop iteration within reach of a load's
    12-bit offset; columns that are interleaved lie close together.
    """
    _, step = _run_and_step(layer, variant)
    if not _is_by_offset(variant) or variant.column_layout != "sequential":
        return None
    columns = variant.block_cols
    if (columns - 1) * (step + step % 2) * 2 + 2 * variant.unroll * 4 * 2 <= 4095:
        return None
    apart = f"{columns} columns of {step} elements lie further apart; column_layout 'interleaved' may do"
    return f"inner {variant.inner!r} reaches 4095 bytes, {apart}"


def _assembly_length(layer: Layer, variant: Variant) -> str | None:
    """`inner: asm` and `asm_dual` with four columns take runs of up to 8190 elements."""
    run, _ = _run_and_step(layer, variant)
    if not _is_by_offset(variant) or run <= 8190:
        return None
    return f"inner {variant.inner!r} takes runs of up to 8190 elements, got {run}"


def _is_by_offset(variant: Variant) -> bool:
    """Whether assembly reaches its columns by offsets; that of M0 and M0+, a 2x2 block, keeps an address of each."""
    return variant.inner != "c" and variant.block_rows * variant.block_cols == 8


def _run_and_step(layer: Layer, variant: Variant) -> tuple[int, int]:
    """Elements of a column that lie behind each other, and from one column to the next."""
    channels, (height, width) = layer.image[2], layer.kernel
    return {
        "im2col": (height * width * channels, height * width * channels),
        "winograd": (height * channels, layer.stride[0] * channels),
        "winograd_2d": (channels, channels) if height == 3 else (2 * channels, 2 * channels),
    }.get(variant.lowering, (width * channels, layer.stride[1] * channels))


def _least_rows(layer: Layer, variant: Variant | None) -> int | None:
    """Packed pixels come in threes, tiles along x in blocks of rows."""
    knobs = variant or BASELINE
    if knobs.fused_pool:
        return None
    if knobs.column_layout == "packed":
        return -(-3 // layer.output_image[1])
    return knobs.block_cols if knobs.lowering == "winograd" else 1


def _row_step(layer: Layer, variant: Variant | None) -> int:
    """Pixels that are left over by blocks of columns cost time alone, which the estimate knows: any count will do."""
    knobs = variant or BASELINE
    if knobs.inner == "helium":
        return rows_at_once(layer, knobs)
    if knobs.lowering == "winograd_2d":
        return 4 if layer.kernel[0] == 3 else 2
    return knobs.block_cols if knobs.lowering == "winograd" else 1


def _overwrites_rows(layer: Layer, variant: Variant, band: int) -> bool:
    """Tiles read their inputs before their outputs are written, and what those to the right share with them is kept;
    tiles below each other are not looked at.
    """
    alike = layer.image[1:] == layer.output_image[1:] and layer.type == layer.output_type
    few = (variant.lowering, variant.block_rows) == ("winograd_2d", 4)
    return alike and few and band <= _row_step(layer, variant)


# ---------------------------------------------------------------- scratch


def _line_buffer(case: Case, variant: Variant) -> int:
    """`kernel_h` rows with their padding, as wide as the windows of an output row reach."""
    if variant.inner == "helium":
        return strips(case, variant)
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


def _winograd_2d_bytes(case: Case, variant: Variant) -> int:
    """A plane per point of the tiles of a block, transformed; the sums of each of its outputs; its inputs along x, of
    four channels, and a pixel of padding, in blocks of four rows in the place of the sums; in such blocks what bands
    keep of what they overwrite.
    """
    points, high, wide = (36, 4, 6) if case.kernel[1] == 3 else (56, 2, 8)
    rows, cols, channels = variant.block_rows, variant.block_cols, case.image[2]
    held = points if case.kernel[1] == 3 or rows * cols == 4 else 2 * (wide + 2) if rows == 4 else 4 * wide
    sums, along = held * rows * cols, 2 * (high * cols + case.kernel[0] - 1) * wide + channels // 4
    words = max(sums, along) if rows == 4 else sums + along
    kept = high * case.padding[1] if rows == 4 else 0
    return points * cols * channels * 2 + words * 4 + kept * channels


FOOTPRINTS = {
    "im2col": columns,
    "line_buffer": _line_buffer,
    "direct": nothing,
    "winograd": _winograd,
    "winograd_2d": _winograd_2d_bytes,
}


def _band(case: Case, variant: Variant) -> int:
    """Lines of a convolution's output that lie in scratch when the pooling behind it is fused: rows, or with Winograd
    columns, of which `tile` are made at a time; and those of them that windows share with the ones after.

    As convolve_band.h says it. A window that is not complete yet lacks a line or more, and where it starts is fixed
    modulo the greatest common divisor of the pooling's stride and the lines made at a time.
    """
    if case.pool is None:
        return 0
    across = int(variant.lowering == "winograd")
    made = variant.tile if across else 1
    kernel, stride, padding = case.pool.kernel[across], case.pool.stride[across], case.pool.padding[across]
    kept = kernel - 1 - (kernel - 1 - padding) % gcd(made, stride)
    element = 1 if case.dtype == "q7" else 2
    return min(kept + made, case.output[across]) * case.output[1 - across] * case.out_channels * element


def _scratch(case: Case, variant: Variant) -> int:
    if variant.column_layout == "packed":
        return packed_columns(case)
    if variant.column_layout == "paired":
        return paired_columns(case, variant)
    return scratch_of(FOOTPRINTS, case, variant) + (_band(case, variant) if variant.fused_pool else 0)


# ---------------------------------------------------------------- the row


def _infer(shape: Shape, attributes: Mapping[str, Any]) -> dict[str, Any]:
    return windows("conv2d", shape, attributes, attributes["out_channels"])


def _constants(layer: Layer) -> dict[str, Shape]:
    channels = layer.output_image[2]
    return {"weights": (channels, *layer.kernel, layer.image[2] // layer.groups), "bias": (channels,)}


def _macs(layer: Layer) -> int:
    return layer.samples * prod(layer.output_shape) * prod(layer.kernel) * layer.image[2] // layer.groups


CONVOLVE = Op(
    "convolve",
    "conv2d",
    roles=("x", "weights", "bias"),
    types=(*WEIGHTS_ALIKE, *AFFINE_WEIGHTS),
    attributes=("out_channels", "kernel", "stride", "padding"),
    infer=_infer,
    constants=_constants,
    macs=_macs,
    device_families=_families,
    constraints=(
        _plain_windows, _wide_accumulator, even_channels, three_pixels, paired_words, paired_inside,
        paired_range, _wide_output, _no_padding, whole_vectors,
        _winograd_stride, _winograd_width, _winograd_height, _winograd_range, _winograd_2d, _winograd_2d_rows,
        _assembly_run, _assembly_reach, _assembly_length,
    ),
    overwrites=_overwrites,
    scratch=_scratch,
    macros=window_macros,
    operands=block_operands,
    pack=pack_convolution,
    least_rows=_least_rows,
    row_step=_row_step,
    overwrites_rows=_overwrites_rows,
    append=partial(append_windows, depthwise=False),
)  # fmt: skip
