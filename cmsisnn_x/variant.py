# SPDX-License-Identifier: Apache-2.0
"""The registry of kernel variants, one row per family: dispatch, tests, benchmarks, search and docs iterate it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from functools import lru_cache, partial
from itertools import product
from operator import index
from typing import Any

from .errors import VariantError
from .layers import Layer

UNROLLS = (1, 2, 4, 8)
BLOCKS = ((1, 1), (1, 2), (2, 1), (2, 2), (2, 4), (4, 2))
IM2COL_COLS_MAX = 16
LOWERINGS = ("im2col", "line_buffer", "direct", "winograd")
WEIGHT_LAYOUTS = ("plain", "interleaved", "widened")
COLUMN_LAYOUTS = ("sequential", "interleaved")
INNERS = ("c", "asm", "asm_dual")
TILES = (1, 2, 4)


@dataclass(frozen=True, order=True)
class Variant:
    """One way to run an operation; every variant gives the same bits.

    Parameters
    ----------
    unroll : {1, 2, 4, 8}
        Steps of the inner product per loop iteration.
    block_rows, block_cols : int
        Output channels x output pixels that are accumulated together: 1x1, 1x2, 2x1, 2x2, 2x4 or 4x2.
        In a fully connected layer the columns are the samples of a batch, in a depthwise one the rows are channels.
    im2col_cols : int
        Columns that the im2col buffer holds: a multiple of `block_cols`, at most 16.
    lowering : {"im2col", "line_buffer", "direct", "winograd"}
        Device only: how the input reaches the inner product. ``"winograd"`` computes `tile` output columns from
        ``tile + kernel_w - 1`` products per kernel row and channel instead of ``tile * kernel_w``, exactly.
    weight_layout : {"plain", "interleaved", "widened"}
        Device only: how the emitter packs the weights in flash.
    column_layout : {"sequential", "interleaved"}
        Device only: whether the columns of a block lie behind each other or interleaved in the buffer.
    inner : {"c", "asm", "asm_dual"}
        Device only: inner block in C or in assembly, scheduled for single-issue or for dual-issue cores.
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
        return _on_host(self.unroll, self.block_rows, self.block_cols, self.im2col_cols)


@lru_cache(maxsize=1024)
def _on_host(unroll: int, block_rows: int, block_cols: int, im2col_cols: int) -> Variant:
    return Variant(unroll, block_rows, block_cols, im2col_cols)


HOST_KNOBS = ("unroll", "block_rows", "block_cols", "im2col_cols")
_DEFAULT = Variant()
BASELINE = Variant(unroll=1, block_rows=2, block_cols=2, im2col_cols=2)
"""The paper's configuration, against which gains are quoted."""


@dataclass(frozen=True)
class Row:
    """A family of variants: all combinations of the listed values in which `im2col_cols` is a multiple of `block_cols`.

    `needs` says on which cores the family builds: ``"dsp"`` those with the DSP extension, ``"no dsp"`` those without,
    None all; `cores` names those that its assembly is scheduled for (it is right on the others, but never the fastest),
    none for all; `wins` says where the family is the fastest. Without columns to hold (any lowering but im2col),
    `im2col_cols` is `block_cols`.
    """

    op: str
    dtype: str
    side: str
    unrolls: tuple[int, ...]
    blocks: tuple[tuple[int, int], ...]
    wins: str
    im2col_cols: tuple[int, ...] = tuple(range(1, IM2COL_COLS_MAX + 1))
    lowering: str = "im2col"
    weight_layout: str = "plain"
    column_layout: str = "sequential"
    inner: str = "c"
    needs: str | None = None
    tiles: tuple[int, ...] = (1,)
    cores: tuple[str, ...] = ()
    fused_pool: bool = False

    def variants(self) -> Iterator[Variant]:
        for unroll, (rows, cols), tile in product(self.unrolls, self.blocks, self.tiles):
            for im2col_cols in self.im2col_cols if self.lowering == "im2col" else (cols,):
                if im2col_cols % cols == 0:
                    knobs = (self.lowering, self.weight_layout, self.column_layout, self.inner)
                    yield Variant(unroll, rows, cols, im2col_cols, *knobs, tile=tile, fused_pool=self.fused_pool)


BLOCKED_OPS = ("convolve", "depthwise_convolve", "fully_connected")
"""The operations with knobs; the others have one kernel each."""

HOST_ROWS = tuple(
    Row(op, dtype, "host", UNROLLS, BLOCKS, wins="host: every legal value, for study; variant=None takes the SIMD path")
    for op in BLOCKED_OPS
    for dtype in ("q7", "q15")
)


def variants(op: str, dtype: str) -> tuple[Variant, ...]:
    """Every registered host variant of an operation.

    Parameters
    ----------
    op : str
        Name of the Python function: ``"convolve"``, ``"depthwise_convolve"`` or ``"fully_connected"``; the other
        operations have a single kernel and give an empty tuple.
    dtype : {"q7", "q15"}

    Returns
    -------
    tuple of Variant

    Raises
    ------
    ValueError
        Unknown `op` or `dtype`.
    """
    check_op(op, dtype)
    return tuple(v for row in HOST_ROWS if (row.op, row.dtype) == (op, dtype) for v in row.variants())


OPS = (*BLOCKED_OPS, "max_pool", "avg_pool", "relu", "sigmoid", "tanh", "softmax", "multiply")


def check_op(op: str, dtype: str) -> None:
    if not (isinstance(op, str) and op in OPS):
        raise VariantError(f"op: expected one of {', '.join(OPS)}, got {op!r}")
    if not (isinstance(dtype, str) and dtype in ("q7", "q15")):
        raise VariantError(f"dtype: expected 'q7' or 'q15', got {dtype!r}")


DEVICE_VALUES: dict[str, tuple[object, ...]] = {
    "lowering": LOWERINGS,
    "weight_layout": WEIGHT_LAYOUTS,
    "column_layout": COLUMN_LAYOUTS,
    "inner": INNERS,
    "tile": TILES,
    "fused_pool": (False, True),
}
"""Legal values of the knobs that exist on the device only."""


def check_variant(variant: object, op: str) -> Variant:
    """`variant`, with its knobs as ints, if a kernel of `op` has them; a `VariantError` names the knob otherwise."""
    if not isinstance(variant, Variant):
        raise VariantError(f"variant: expected a cmsisnn_x.Variant or None, got {variant!r}")
    if op not in BLOCKED_OPS:
        raise VariantError(f"variant: {op} has a single kernel; expected None, got {variant}")
    knobs = variant.host_knobs()
    if set(map(type, knobs.values())) != {int}:
        integers: dict[str, Any] = {name: _knob(name, value) for name, value in knobs.items()}
        variant = replace(variant, **integers)
    if variant.unroll not in UNROLLS:
        raise VariantError(f"variant.unroll: expected one of {UNROLLS}, got {variant.unroll}")
    if (variant.block_rows, variant.block_cols) not in BLOCKS:
        legal = ", ".join(f"{r}x{c}" for r, c in BLOCKS)
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


PAIRED = ((2, 2), (2, 4), (4, 2))
FEW_COLS = (2, 4, 8)

SCHEDULES = (("asm", ("cortex-m4", "cortex-m33")), ("asm_dual", ("cortex-m7",)))


def _names(cores: tuple[str, ...]) -> str:
    return " and ".join(core.removeprefix("cortex-").upper() for core in cores)


def _convolve_rows() -> Iterator[Row]:
    for dtype, packed in (("q7", ("interleaved", "widened")), ("q15", ("interleaved",))):
        row = partial(Row, "convolve", dtype, "device")
        yield row(UNROLLS, BLOCKS, "any shape on any core: the paper's knobs, the least code and flash")
        # Packed weights in C: without the DSP extension, and unrolled less than this, assembly over the same weights
        # was always faster.
        for layout in packed:
            few = partial(row, weight_layout=layout, needs="dsp")
            yield few((4, 8), PAIRED, "narrow outputs and odd channels in C", im2col_cols=FEW_COLS)
            lines = partial(few, blocks=PAIRED, lowering="line_buffer")
            yield lines((4,), wins="few channels, padded and strided kernels in C")
            yield lines((2,), wins="few channels on M7 in C", cores=("cortex-m7",))
        yield row((1, 2, 4), BLOCKS, "padded kernels with little scratch and flash", lowering="line_buffer")
        direct = partial(row, (2, 4), PAIRED, lowering="direct", needs="no dsp" if dtype == "q7" else None)
        yield direct("no padding: no scratch at all")
        yield direct("no padding, 1x1 kernels: no scratch at all", weight_layout="interleaved")

        # Assembly: the 2x4 block over packed weights.
        block = partial(row, (4, 8), ((2, 4),))
        for inner, cores in SCHEDULES:
            fast, names = partial(block, inner=inner, needs="dsp", cores=cores), _names(cores)
            for layout in packed:
                im2col = partial(fast, im2col_cols=(4, 8), weight_layout=layout)
                yield im2col(f"outputs less than 4 wide, odd channels on {names}")
                yield im2col(f"outputs less than 4 wide, large windows on {names}", column_layout="interleaved")
                yield fast(f"1x1 and strided kernels on {names}", lowering="line_buffer", weight_layout=layout)
            if dtype == "q15":
                yield fast(f"1x1 and unpadded kernels on {names}", lowering="direct", weight_layout="interleaved")
        for lowering in ("im2col", "line_buffer"):
            yield block(
                "q15, 1x1 and strided kernels on M3", im2col_cols=(4,), lowering=lowering, weight_layout="interleaved",
                inner="asm", needs="no dsp", cores=("cortex-m3",),
            )  # fmt: skip
        small = partial(
            row, (4, 8), ((2, 2),), im2col_cols=(2, 4, 8), weight_layout="interleaved", inner="asm", needs="no dsp",
            cores=("cortex-m0plus",),
        )  # fmt: skip
        yield small("outputs one pixel wide, odd channels on M0+")
        yield small("1x1 kernels and large windows on M0+", column_layout="interleaved")
        yield small("strided kernels and few channels on M0+", lowering="line_buffer")

    winograd = partial(Row, "convolve", "q7", "device", lowering="winograd", tiles=(2, 4))
    for layout, price in (("widened", "for 2 to 3.2 times the flash"), ("plain", "and the flash of q7, slower")):
        own = partial(winograd, weight_layout=layout)
        wins = f"3, 5 and 7 wide at stride 1: 1.5 to 2.5 times fewer products {price}"
        if layout == "widened":  # from plain weights, blocks of 2x4 and unrolled less, assembly was always faster
            yield own((4, 8), ((2, 2), (4, 2)), f"{wins}, in C", needs="dsp")
        for block_, cores in (((2, 4), ("cortex-m3",)), ((2, 2), ("cortex-m0plus",))):
            yield own((4, 8), (block_,), f"{wins}, on {_names(cores)}", inner="asm", needs="no dsp", cores=cores)
        for inner, cores in SCHEDULES:
            yield own((2, 4, 8), ((2, 4),), f"{wins}, on {_names(cores)}", inner=inner, needs="dsp", cores=cores)


def _fused_rows() -> Iterator[Row]:
    """Convolutions that take in the pooling behind them: few, the fastest of each kind and those of least scratch."""
    wins = "SRAM: max or average pooling behind it, the image between never stored;"
    for dtype, packed in (("q7", ("interleaved", "widened")), ("q15", ("interleaved",))):
        row = partial(Row, "convolve", dtype, "device", fused_pool=True)
        yield row((1, 8), ((2, 1), (2, 2)), f"{wins} least scratch on any core, least flash", im2col_cols=(1, 2))
        packed_in_c = partial(row, (4,), PAIRED, weight_layout="interleaved")
        yield packed_in_c(f"{wins} little scratch, in C", im2col_cols=(2, 4), needs="dsp")
        yield packed_in_c(f"{wins} padded and strided kernels, in C", lowering="line_buffer", needs="dsp")
        needs = "no dsp" if dtype == "q7" else None
        yield packed_in_c(f"{wins} no padding, nothing but the band in scratch", lowering="direct", needs=needs)
        block = partial(row, (8,), ((2, 4),))
        for inner, cores in SCHEDULES:
            fast, names = partial(block, inner=inner, needs="dsp", cores=cores), _names(cores)
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
                needs="no dsp", cores=("cortex-m3",),
            )  # fmt: skip
            yield row(
                (8,), ((2, 2),), f"{wins} on M0+", im2col_cols=(2,), lowering=lowering, weight_layout="interleaved",
                inner="asm", needs="no dsp", cores=("cortex-m0plus",),
            )  # fmt: skip

    winograd = partial(Row, "convolve", "q7", "device", (8,), lowering="winograd", tiles=(2, 4), fused_pool=True)
    for layout in ("widened", "plain"):
        for block_, cores in (((2, 4), ("cortex-m3",)), ((2, 2), ("cortex-m0plus",))):
            text = f"{wins} 3, 5 and 7 wide at stride 1 on {_names(cores)}"
            yield winograd(
                (block_,), text, weight_layout=layout, inner="asm", needs="no dsp", cores=cores
            )  # fmt: skip
        for inner, cores in SCHEDULES:
            text = f"{wins} 3, 5 and 7 wide at stride 1 on {_names(cores)}"
            yield winograd(((2, 4),), text, weight_layout=layout, inner=inner, needs="dsp", cores=cores)


def _depthwise_rows() -> Iterator[Row]:
    for dtype, layout in (("q7", "widened"), ("q15", "interleaved")):
        row = partial(Row, "depthwise_convolve", dtype, "device", (1, 2, 4))
        yield row(BLOCKS, "any shape on any core: the paper's knobs, the least flash", im2col_cols=(1, 2, 4))
        yield row(
            ((1, 1), (1, 2)), "M4, M7 and M33: 1x2 at stride 1 with an odd kernel height, 1x1 otherwise",
            lowering="line_buffer", weight_layout=layout, needs="dsp",
        )  # fmt: skip
        lines = partial(
            Row, "depthwise_convolve", dtype, "device", (4,), ((2, 2),), lowering="line_buffer", weight_layout=layout,
            needs="no dsp",
        )  # fmt: skip
        yield lines("M3; kernels higher or wider than 7 on M0+")
        yield lines("M0+", inner="asm", cores=("cortex-m0plus",))


def _fully_connected_rows() -> Iterator[Row]:
    for dtype, lowering, wins in (
        ("q7", "im2col", "the paper's knobs"),
        ("q7", "direct", "cores without DSP; a single row; no scratch"),
        ("q15", "im2col", "cores without DSP; a single row; the input is read where it lies"),
    ):
        row = partial(Row, "fully_connected", dtype, "device", UNROLLS, lowering=lowering, wins=wins)
        yield row(blocks=((1, 1), (2, 1)), im2col_cols=(1,))
        yield row(blocks=((4, 2),), im2col_cols=(2,))
    for dtype, layout, wins in (
        ("q7", "interleaved", "two or three rows"),
        ("q15", "interleaved", "q15 weights; q7 weights when flash is short"),
        ("q15", "widened", "q7 weights with flash to spare"),
    ):
        for rows, cols in ((2, 1), (4, 2)):
            yield Row(
                "fully_connected", dtype, "device", UNROLLS, ((rows, cols),), wins, (cols,), "direct", layout,
                needs="dsp",
            )  # fmt: skip
    for inner, cores in SCHEDULES:
        yield Row(
            "fully_connected", "q7", "device", UNROLLS, ((4, 2),), f"four rows and more on {_names(cores)}", (2,),
            "direct", "interleaved", inner=inner, needs="dsp", cores=cores,
        )  # fmt: skip


DEVICE_ROWS = (*_convolve_rows(), *_fused_rows(), *_depthwise_rows(), *_fully_connected_rows())


def device_variants(op: str, dtype: str, *, dsp: bool, core: str | None = None) -> tuple[Variant, ...]:
    """Every registered device variant of an operation on a core with or without the DSP extension.

    Parameters
    ----------
    op : str
        Name of the Python function, as in :func:`variants`.
    dtype : {"q7", "q15"}
        Type of the activations.
    dsp : bool
        Whether the core has the DSP extension (Cortex-M4, M7, M33 with DSP).
    core : str, optional
        ``"cortex-m7"``: without the assembly that is scheduled for other cores.

    Returns
    -------
    tuple of Variant

    Raises
    ------
    ValueError
        Unknown `op` or `dtype`.
    """
    check_op(op, dtype)
    buildable = (None, "dsp" if dsp else "no dsp")
    rows = [row for row in DEVICE_ROWS if (row.op, row.dtype) == (op, dtype) and row.needs in buildable]
    if core is not None:
        rows = [row for row in rows if not row.cores or core in row.cores]
    return tuple(dict.fromkeys(v for row in rows for v in row.variants()))


@lru_cache(maxsize=64)
def _registered(op: str, dtype: str, dsp: bool) -> frozenset[Variant]:
    return frozenset(device_variants(op, dtype, dsp=dsp))


def device_variant_problem(layer: Layer, variant: Variant, *, dsp: bool, follower: Layer | None = None) -> str | None:
    """Why the device kernel of `variant` cannot run `layer` on a core with or without DSP extension; None if it can.

    `follower` is the pooling that a variant with `fused_pool` takes in.
    """
    op = layer.python_op
    if variant not in _registered(op, layer.dtype, dsp):
        return f"no {'DSP' if dsp else 'scalar'} kernel of {op} {layer.dtype} is registered as {variant}"
    if op == "depthwise_convolve" and variant.lowering == "line_buffer" and variant.block_rows == 2:
        most = max(layer.kernel)
        return f"inner 'asm' takes kernels up to 7x7, got {layer.kernel}" if variant.inner != "c" and most > 7 else None
    if op == "depthwise_convolve" and variant.lowering == "line_buffer" and variant.block_cols == 2:
        kernel_h, stride_y, out_h = layer.kernel[0], layer.stride[0], layer.output_image[0]
        if stride_y != 1 or kernel_h % 2 == 0 or kernel_h == 1 or out_h < 2:
            got = f"stride {stride_y}, height {kernel_h}, {out_h} rows"
            return f"block_cols 2 needs stride 1 along y, an odd kernel height from 3 on and two output rows; got {got}"
    if op == "fully_connected" and variant.weight_layout == "widened" and (layer.weights_dtype or layer.dtype) == "q15":
        return "weight_layout 'widened' needs q7 weights, got q15"
    if op != "convolve":
        return None
    if variant.fused_pool and follower is None:
        return "fused_pool needs a max_pool2d or avg_pool2d layer right behind the convolution"
    _, out_w, _ = layer.output_image
    if variant.column_layout == "interleaved" and layer.image[2] % 2:
        return f"column_layout 'interleaved' needs an even number of input channels, got {layer.image[2]}"
    if variant.lowering in ("line_buffer", "direct") and out_w < variant.block_cols:
        least = f"block_cols={variant.block_cols}"
        return f"lowering {variant.lowering!r} needs an output at least {least} wide, got {out_w}"
    if variant.lowering == "direct" and any(side > 0 for axis in layer.padding for side in axis):
        return f"lowering 'direct' needs windows inside the image, got padding {layer.padding}"
    problem = _winograd_problem(layer, variant) if variant.lowering == "winograd" else None
    return problem or (_assembly_problem(layer, variant) if variant.inner != "c" else None)


def _assembly_problem(layer: Layer, variant: Variant) -> str | None:
    """Runs that are no single element, and every operand of a loop iteration within reach of a load's 12-bit offset."""
    channels, (height, width) = layer.image[2], layer.kernel
    run, step = {
        "im2col": (height * width * channels, height * width * channels),
        "winograd": (height * channels, layer.stride[0] * channels),
    }.get(variant.lowering, (width * channels, layer.stride[1] * channels))
    if variant.block_cols == 2:
        return None  # M0 and M0+ keep an address per column
    if run == 1 and variant.lowering in ("line_buffer", "direct"):
        return f"inner {variant.inner!r} needs at least two elements in a kernel row, got {run}"
    if variant.column_layout == "sequential" and 3 * (step + step % 2) * 2 + 2 * variant.unroll * 4 * 2 > 4095:
        apart = f"four columns of {step} elements lie further apart; column_layout 'interleaved' may do"
        return f"inner {variant.inner!r} reaches 4095 bytes, {apart}"
    return f"inner {variant.inner!r} takes runs of up to 8190 elements, got {run}" if run > 8190 else None


def _winograd_problem(layer: Layer, variant: Variant) -> str | None:
    width, points = layer.kernel[1], variant.tile + layer.kernel[1] - 1
    if layer.stride[1] != 1:
        return f"lowering 'winograd' needs stride 1 along x, got {layer.stride[1]}"
    if points not in (4, 6, 8) or variant.tile == 1 or width == 1:
        legal = "a kernel 3, 5 or 7 wide with tile 2, or 3 or 5 wide with tile 4"
        return f"lowering 'winograd' needs {legal}; got {width} with tile {variant.tile}"
    if layer.output_image[0] < variant.block_cols:
        least = f"block_cols={variant.block_cols}"
        return f"lowering 'winograd' needs an output at least {least} high, got {layer.output_image[0]}"
    products = layer.kernel[0] * width * layer.image[2]
    most = 2**16 if points == 4 else 2**14
    if products >= most:
        return f"lowering 'winograd' needs fewer than {most} products per output, got {products}"
    return None


__all__ = ["BASELINE", "Variant", "check_variant", "device_variant_problem", "device_variants", "replace", "variants"]
