# SPDX-License-Identifier: Apache-2.0
"""Variants: the knobs of a kernel, their legal values, and families of variants, of which operations list theirs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from itertools import product
from operator import index
from typing import Any

from .errors import VariantError
from .isa import Features, Isa

UNROLLS = (1, 2, 4, 8)
BLOCKS = ((1, 1), (1, 2), (2, 1), (2, 2), (2, 4), (4, 2))
DEVICE_BLOCKS = ((2, 3), (5, 1))
"""Besides those: of packed columns and of coupled weights, that the device has alone; the host runs them as 2x2."""
IM2COL_COLS_MAX = 16
LOWERINGS = ("im2col", "line_buffer", "direct", "winograd", "winograd_2d")
WINOGRAD = ("winograd", "winograd_2d")
WEIGHT_LAYOUTS = ("plain", "interleaved", "widened", "lanes", "coupled")
COLUMN_LAYOUTS = ("sequential", "interleaved", "packed", "paired")
INNERS = ("c", "asm", "asm_dual", "c_rolled", "helium")
TILES = (1, 2, 4)


@dataclass(frozen=True, order=True)
class Variant:
    """One way to run an operation; every variant gives the same bits.

    Parameters
    ----------
    unroll : {1, 2, 4, 8}
        Steps of the inner product per loop iteration; of depthwise convolutions with Helium, rows or pairs of rows of
        outputs that a channel makes in one visit.
    block_rows, block_cols : int
        Output channels x output pixels that are accumulated together: 1x1, 1x2, 2x1, 2x2, 2x4 or 4x2, on the device
        2x3 and 5x1 too.
        In a fully connected layer the columns are the samples of a batch, in a depthwise one the rows are channels.
    im2col_cols : int
        Columns that the im2col buffer holds: a multiple of `block_cols`, at most 16.
    lowering : {"im2col", "line_buffer", "direct", "winograd", "winograd_2d"}
        Device only: how the input reaches the inner product. ``"winograd"`` computes `tile` output columns from
        ``tile + kernel_w - 1`` products per kernel row and channel instead of ``tile * kernel_w``, exactly;
        ``"winograd_2d"`` 4x4 outputs of a 3x3 kernel from 36 products per channel instead of 144, or 2x4 of a 5x5
        kernel from 56 instead of 200.
    weight_layout : {"plain", "interleaved", "widened", "lanes", "coupled"}
        Device only: how the emitter packs the weights in flash; ``"lanes"`` by vectors of 16 bytes, ``"coupled"`` two
        columns of a fully connected row in 16 bits.
    column_layout : {"sequential", "interleaved", "packed", "paired"}
        Device only: whether the columns of a block lie behind each other or interleaved in the buffer, or three of them
        share two words, or two of them one.
    inner : {"c", "asm", "asm_dual", "c_rolled", "helium"}
        Device only: inner block in C or in assembly, scheduled for single-issue or for dual-issue cores; in C with
        loops that are not written out, for small instruction caches; or in vectors.
    tile : {1, 2, 4}
        Device only: output columns of one Winograd tile; 1 elsewhere.
    fused_pool : bool
        Device only: whether the kernel of a convolution also runs the pooling layer right behind it, band by band, so
        that the image between them never lies in memory as a whole.
    """

    unroll: int = 4
    block_rows: int = 2
    block_cols: int = 2
    im2col_cols: int = 2
    lowering: str = "im2col"
    weight_layout: str = "plain"
    column_layout: str = "sequential"
    inner: str = "c"
    tile: int = 1
    fused_pool: bool = False

    def __str__(self) -> str:
        text = f"{self.block_rows}x{self.block_cols} unroll {self.unroll} cols {self.im2col_cols}"
        changed = {name: value for name, value in self.device_knobs().items() if value != getattr(_DEFAULT, name)}
        shown = {"tile": f"tile {self.tile}", "fused_pool": "fused pool"}
        return " ".join([text, *(shown.get(name, str(value)) for name, value in changed.items())])

    def host_knobs(self) -> dict[str, int]:
        """The four knobs that choose a host code path."""
        return {name: getattr(self, name) for name in HOST_KNOBS}

    def device_knobs(self) -> dict[str, object]:
        """The knobs that only the device kernels have."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name not in HOST_KNOBS}

    def on_host(self) -> Variant:
        """This variant with the device-only knobs at their neutral default."""
        if (self.block_rows, self.block_cols) in DEVICE_BLOCKS:
            return _on_host(self.unroll, 2, 2, 2)
        return _on_host(self.unroll, self.block_rows, self.block_cols, self.im2col_cols)


@lru_cache(maxsize=1024)
def _on_host(unroll: int, block_rows: int, block_cols: int, im2col_cols: int) -> Variant:
    return Variant(unroll, block_rows, block_cols, im2col_cols)


HOST_KNOBS = ("unroll", "block_rows", "block_cols", "im2col_cols")
_DEFAULT = Variant()
BASELINE = Variant(unroll=1, block_rows=2, block_cols=2, im2col_cols=2)
"""The paper's configuration, against which gains are quoted."""


@dataclass(frozen=True, eq=False)
class Family:
    """All combinations of the listed values in which `im2col_cols` is a multiple of `block_cols`.

    Without columns to hold (any lowering but im2col), `im2col_cols` is `block_cols`.

    Attributes
    ----------
    dtype : {"q7", "q15"}
        Type of the activations.
    wins : str
        Where the family is the fastest.
    least, most : Isa
        The instruction sets that it builds for; all from `least` on where `most` is None.
    schedules : tuple of str
        What its assembly is scheduled for (`Features.schedule`): it is right on other cores, but never the fastest.
        Empty where that plays no part.
    """

    dtype: str
    unrolls: tuple[int, ...]
    blocks: tuple[tuple[int, int], ...]
    wins: str
    im2col_cols: tuple[int, ...] = tuple(range(1, IM2COL_COLS_MAX + 1))
    lowering: str = "im2col"
    weight_layout: str = "plain"
    column_layout: str = "sequential"
    inner: str = "c"
    least: Isa = Isa.SCALAR
    most: Isa | None = None
    tiles: tuple[int, ...] = (1,)
    schedules: tuple[str, ...] = ()
    fused_pool: bool = False

    def suits(self, features: Features) -> bool:
        """Whether a core builds these kernels, and none is scheduled for another core."""
        is_scheduled = not self.schedules or features.schedule is None or features.schedule in self.schedules
        is_built = self.least <= features.isa and (self.most is None or features.isa <= self.most)
        return is_built and is_scheduled

    def variants(self) -> Iterator[Variant]:
        for unroll, (rows, cols), tile in product(self.unrolls, self.blocks, self.tiles):
            for im2col_cols in self.im2col_cols if self.lowering == "im2col" else (cols,):
                if im2col_cols % cols == 0:
                    knobs = (self.lowering, self.weight_layout, self.column_layout, self.inner)
                    yield Variant(unroll, rows, cols, im2col_cols, *knobs, tile=tile, fused_pool=self.fused_pool)


HOST_FAMILIES = tuple(
    Family(dtype, UNROLLS, BLOCKS, wins="every legal value, for study; variant=None takes the SIMD path")
    for dtype in ("q7", "q15")
)
"""On the host, of every operation with knobs."""

DEVICE_VALUES: dict[str, tuple[object, ...]] = {
    "lowering": LOWERINGS,
    "weight_layout": WEIGHT_LAYOUTS,
    "column_layout": COLUMN_LAYOUTS,
    "inner": INNERS,
    "tile": TILES,
    "fused_pool": (False, True),
}
"""Legal values of the knobs that exist on the device only."""

KNOBS: dict[str, tuple[Any, ...]] = {
    "unroll": UNROLLS,
    "block_rows": tuple(sorted({rows for rows, _ in BLOCKS + DEVICE_BLOCKS})),
    "block_cols": tuple(sorted({cols for _, cols in BLOCKS + DEVICE_BLOCKS})),
    "im2col_cols": tuple(range(1, IM2COL_COLS_MAX + 1)),
    **DEVICE_VALUES,
}
"""Every knob and the values that some kernel has."""


def check_knobs(variant: Variant) -> Variant:
    """`variant`, with its knobs as ints, if they are legal together; a `VariantError` names the knob otherwise."""
    knobs = variant.host_knobs()
    if set(map(type, knobs.values())) != {int}:
        integers: dict[str, Any] = {name: _knob(name, value) for name, value in knobs.items()}
        variant = replace(variant, **integers)
    if variant.unroll not in UNROLLS:
        raise VariantError(f"variant.unroll: expected one of {UNROLLS}, got {variant.unroll}")
    if (variant.block_rows, variant.block_cols) not in BLOCKS + DEVICE_BLOCKS:
        legal = ", ".join(f"{r}x{c}" for r, c in BLOCKS + DEVICE_BLOCKS)
        raise VariantError(
            f"variant.block_rows x variant.block_cols: expected one of {legal}, "
            f"got {variant.block_rows}x{variant.block_cols}"
        )
    if not (0 < variant.im2col_cols <= IM2COL_COLS_MAX and variant.im2col_cols % variant.block_cols == 0):
        raise VariantError(
            f"variant.im2col_cols: expected a multiple of block_cols={variant.block_cols} up to {IM2COL_COLS_MAX}, "
            f"got {variant.im2col_cols}"
        )
    for name, values in DEVICE_VALUES.items():
        if getattr(variant, name) not in values:
            raise VariantError(f"variant.{name}: expected one of {values}, got {getattr(variant, name)!r}")
    return variant


def _knob(name: str, value: object) -> int:
    """A NumPy integer, such as search libraries propose, as an int."""
    try:
        if not isinstance(value, bool):
            return index(value)  # type: ignore[arg-type]
    except TypeError:
        pass
    raise VariantError(f"variant.{name}: expected an int, got {value!r}")
