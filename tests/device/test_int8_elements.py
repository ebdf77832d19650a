# SPDX-License-Identifier: Apache-2.0
"""Element-wise kernels with zero points, means, softmax, and what only moves elements."""

from __future__ import annotations

from itertools import cycle, product

import numpy as np
import pytest

from cmsisnn_x.affine import (
    AffineClamp,
    AffineMean,
    AffineProduct,
    AffineRescale,
    AffineSoftmax,
    AffineSum,
    Rescale,
    quantize_multiplier,
)
from cmsisnn_x.affine.curves import AffineRealSoftmax, AffineSoftmax16
from cmsisnn_x.affine.linear import NOT_LINEAR, linear_of
from cmsisnn_x.layers import Layer, View
from cmsisnn_x.op import OPS
from cmsisnn_x.scheme import AFFINE_TYPES
from helpers.affine_layers import SOFTMAX_SCALES
from helpers.device import Build, Case, assert_kernel, check_on_host, draw, host_compiler, sample

FULL = {"int8": (-128, 127), "int16": (-32768, 32767), "uint8": (0, 255)}
OFFSETS = ((None, None), (1, 3), (2, 1), (None, 1), (3, None))


def pairs() -> list[Case]:
    """Sums, differences, products, maxima: factors above 1 and below, exact halves, every second tensor repeated."""
    turns = cycle(OFFSETS)
    found = []
    shapes = (((4, 5, 8), (4, 5, 8)), ((3, 3, 5), (5,)), ((7,), (1,)), ((2, 6, 4), (6, 4)), ((13,), (13,)))
    scales = ((0.05, 0.02, 0.07), (0.02, 0.05, 0.03), (0.1, 0.1, 0.1), (0.5, 0.25, 0.001), (0.001, 0.9, 2.0))
    zeros = ((-128, 127, 0), (0, 0, 0), (5, -7, 11), (127, 127, -128), (-128, -128, -128))
    for turn, ((a, b), dtype) in enumerate(product(shapes, ("int8", "int16"))):
        low, high = FULL[dtype] if turn % 3 else (-90, 77)
        zero = zeros[turn % 5] if dtype == "int8" else (0, 0, 0)
        multiplier, shift = quantize_multiplier(
            (0.003, 0.5, 1.7, 2.0**-6, 0.02)[turn % 5] / (1 if dtype == "int8" else 99)
        )
        schemes = {
            "add": AffineSum.of(scales[turn % 5], zero, (low, high), sign=1 - turn // 2 % 2 * 2, dtype=dtype),
            "multiply": AffineProduct(zero[0], zero[1], multiplier, shift, zero[2], low, high),
            "maximum": AffineClamp(low, high),
            "minimum": AffineClamp(low, high),
        }
        if turn == 6:  # numbers of one's own
            schemes["add"] = AffineSum(
                Rescale(3, 2**30 + 7, 1), Rescale(-4, 5, -2), -1, 20, 2**31 - 1, -19, 7, low, high
            )
        for op, scheme in schemes.items():
            layer = Layer(op, op, dtype, a, a, scheme=scheme, more_inputs=(b,))
            offset, behind = next(turns)
            is_in_place = turn % 4 == 3 and op != "minimum"
            if is_in_place:
                behind = offset
            found.append(
                Case(
                    layer, other=draw(b, dtype, f"{op} {turn}"), input_offset=offset, output_offset=behind,
                    in_place=is_in_place,
                )
            )  # fmt: skip
    return found


def sums() -> list[Case]:
    """Every pair of bytes, and lengths around a turn of the loop, where factors and a shift do for a sum."""
    turns = cycle(OFFSETS)
    found = []
    every = np.arange(-128, 128, dtype=np.int8)
    left, right = np.repeat(every, 256).reshape(256, 256), np.tile(every, 256).reshape(256, 256)
    for turn, ((scales, zeros), sign) in enumerate(
        product((((0.05, 0.02, 0.07), (-128, 127, 0)), ((0.002, 0.9, 0.8), (4, -7, -128))), (1, -1))
    ):
        for low, high in ((-128, 127), (-128, 77)):
            scheme = AffineSum.of(scales, zeros, (low, high), sign=sign)
            assert linear_of(scheme) is not NOT_LINEAR
            offset, behind = next(turns)
            at = 64 * turn
            layer = Layer("every", "add", "int8", (64, 256), (64, 256), scheme=scheme, more_inputs=((64, 256),))
            own, other = left[at : at + 64], right[at : at + 64]
            found.append(Case(layer, input=own, other=other, input_offset=offset, output_offset=behind))
            for size, period in ((40, 8), (39, 13), (7, 7), (16, 16), (46, 23), (12, 4)):
                offset, _ = next(turns)
                layer = Layer("short", "add", "int8", (size,), (size,), scheme=scheme, more_inputs=((period,),))
                other = draw((period,), "int8", f"other {size}")
                found.append(
                    Case(layer, other=other, input_offset=offset, output_offset=offset, in_place=size % 2 == 0)
                )
    return found


def curves() -> list[Case]:
    """Tables and other scales."""
    turns = cycle(OFFSETS)
    found = []
    for dtype, output in product(("int8", "uint8"), ("int8", "uint8", "int16")):
        own = FULL[output]
        table = np.random.default_rng(7).integers(*own, 256, dtype=output, endpoint=True)
        layer = Layer(
            "table", "look_up", dtype, (5, 3, 3), (5, 3, 3), scheme=AffineClamp(*own), table=table, output_dtype=output
        )
        offset, behind = next(turns)
        x = np.random.default_rng(3).integers(*FULL[dtype], (5, 3, 3), dtype=dtype, endpoint=True)
        found.append(Case(layer, input=x, input_offset=offset, output_offset=behind))
    for turn, (dtype, output) in enumerate(
        (("int8", "int16"), ("int16", "int8"), ("int16", "int16"), ("int8", "int8"))
    ):
        for real in (0.004, 0.5, 1.0, 3.3, 2.0**-5, 200.0):
            multiplier, shift = quantize_multiplier(real)
            zeros = tuple(-90 if name == "int8" else 0 for name in (dtype, output))
            low, high = FULL[output] if turn % 2 else (-100, 120)
            scheme = AffineRescale(*zeros, multiplier, shift, low, high)
            layer = Layer("scale", "requantise", dtype, (37,), (37,), scheme=scheme, output_dtype=output)
            offset, behind = next(turns)
            found.append(Case(layer, input_offset=offset, output_offset=behind))
    return found


def reductions() -> list[Case]:
    turns = cycle(OFFSETS)
    found = []
    for shape in ((1, 49, 16), (3, 4, 5), (2, 1, 7), (5, 31, 1), (1, 300, 4)):
        for dtype, ratio in product(("int8", "int16"), (1.0, 0.4, 2.5)):
            zeros = (-128, 100) if dtype == "int8" else (0, 0)
            scheme = AffineMean.of(shape[1], (ratio, 1.0), zeros, FULL[dtype])
            output = (shape[0], 1, shape[2])
            offset, behind = next(turns)
            layer = Layer("mean", "mean", dtype, shape, output, scheme=scheme)
            found.append(Case(layer, input_offset=offset, output_offset=behind))
    return found


def softmaxes() -> list[Case]:
    turns = cycle(OFFSETS)
    found = []
    shapes = ((1, 10), (3, 5), (1, 1), (2, 300), (1, 600))
    for (rows, columns), scale, bits in product(shapes, (0.1, 0.0039, 1.3, 0.05), (8, 16)):
        name = f"softmax{scale}"
        SOFTMAX_SCALES[name] = scale
        shape = (rows, columns)
        layer = Layer(
            name,
            "softmax",
            "int8",
            shape,
            shape,
            scheme=AffineSoftmax.of(float(np.float32(scale)), bits=bits),
            output_dtype=f"int{bits}",
        )
        offset, behind = next(turns)
        found.append(Case(layer, input_offset=offset, output_offset=behind))
        if rows == 1:
            found += [Case(layer, input=np.full(shape, value)) for value in (-128, 127)]
    return found


def other_softmaxes() -> list[Case]:
    """Of real numbers, and of 16 bits between points of tables: rows of whole vectors and not, ends of the range."""
    turns = cycle(OFFSETS)
    found = []
    for at, (rows, columns) in enumerate(((1, 10), (3, 5), (1, 1), (2, 300), (1, 600), (2, 16), (4, 3))):
        for scale, arithmetic in ((0.1, "tflm"), (1.3, "litert")):
            schemes = {
                "int8": AffineRealSoftmax(scale, columns, -128 if at % 3 else 0),
                "int16": AffineSoftmax16.of(scale / 100, 1.0, arithmetic),
            }
            for dtype, scheme in schemes.items():
                shape = (rows, columns)
                layer = Layer(f"softmax{scale}", "softmax", dtype, shape, shape, scheme=scheme)
                offset, behind = next(turns)
                found.append(Case(layer, input_offset=offset, output_offset=behind))
                if rows == 1:
                    found.append(Case(layer, input=np.full(shape, FULL[dtype][at % 2], dtype)))
    return found


def moves() -> list[Case]:
    turns = cycle(OFFSETS)
    found = []
    views = (
        ((4, 6, 3), View((6, 4, 3), (3, 18, 1))),
        ((4, 6, 3), View((2, 3, 3), (36, 6, 1), 21)),
        ((4, 6, 3), View((4, 6, 3), (-18, -3, -1), 71)),
        ((5, 4, 20), View((5, 2, 20), (80, 40, 1), 20)),
        ((3, 1, 4), View((3, 5, 4), (4, 0, 1))),
        ((2, 3, 4), View((4, 2, 3), (1, 12, 4))),
        ((60,), View((60,), (1,))),
        ((2, 2, 4), View((2, 1, 2, 2, 1, 2), (8, 0, 4, 2, 9, 1))),
    )
    for dtype in FULL:
        for shape, view in views:
            layer = Layer("view", "copy", dtype, shape, view.shape, scheme=AffineClamp(*FULL[dtype]), view=view)
            offset, behind = next(turns)
            found.append(Case(layer, input_offset=offset, output_offset=behind))
        for output, view in (
            ((6, 8, 3), View((4, 5, 3), (24, 3, 1), 27)),
            ((9, 20), View((4, 20), (40, 1), 20)),
            ((7,), View((3,), (2,), 1)),
        ):
            fill = -100 if dtype != "uint8" else 100
            layer = Layer(
                "pad", "pad", dtype, view.shape, output, scheme=AffineClamp(*FULL[dtype], fill=fill), view=view
            )
            offset, behind = next(turns)
            found.append(Case(layer, input_offset=offset, output_offset=behind))
        for channels in (1, 2, 3, 4, 17, 40, 120):
            table = np.array(
                [*(i // 2 * 4 * channels for i in range(6)), *(i // 3 * channels for i in range(11))], np.int32
            )
            layer = Layer(
                "grow", "resize_nearest", dtype, (3, 4, channels), (6, 11, channels), scheme=AffineClamp(*FULL[dtype]),
                table=table,
            )  # fmt: skip
            offset, behind = next(turns)
            found.append(Case(layer, input_offset=offset, output_offset=behind))
        for rows, columns in ((5, (3, 4)), (1, (7, 2, 16)), (4, (20, 1, 5))):
            shapes = [(rows, count) for count in columns]
            layer = Layer(
                "side", "concat", dtype, shapes[0], (rows, sum(columns)), scheme=AffineClamp(*FULL[dtype]),
                more_inputs=tuple(shapes[1:]),
            )  # fmt: skip
            more = [draw(shape, dtype, f"{shape}") for shape in shapes[1:]]
            offset, behind = next(turns)
            third = more[1] if len(more) > 1 else None
            found.append(Case(layer, other=more[0], third=third, input_offset=offset, output_offset=behind))
    return found


KINDS = {
    "pairs": pairs, "sums": sums, "curves": curves, "reductions": reductions, "softmaxes": softmaxes,
    "other softmaxes": other_softmaxes, "moves": moves,
}  # fmt: skip


def test_every_operation_of_elements_is_here() -> None:
    """All others multiply weights or slide windows, or are curves: `test_int8_layers`."""
    rows = [row for row in OPS.values() if any(types[0] in AFFINE_TYPES for types in row.types)]
    wanted = {row.name for row in rows if not row.is_weighted and not row.is_windowed and not row.has_table}
    assert {case.op for make in KINDS.values() for case in make()} == wanted


@pytest.mark.emulated
def test_kernels_equal_their_definitions(build: Build, full: bool) -> None:
    assert_kernel(build, [case for make in KINDS.values() for case in sample(make(), build, full, most=3)])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.full
def test_host_build_is_clean_under_sanitizers(kind: str) -> None:
    check_on_host(KINDS[kind](), host_compiler())
