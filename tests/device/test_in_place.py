# SPDX-License-Identifier: Apache-2.0
"""Convolutions that write over what they read: every variant that may, on every shape of its rows and pixels."""

from __future__ import annotations

import re
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from cmsisnn_x.layers import Layer
from cmsisnn_x.op import device_variant_problem, device_variants
from cmsisnn_x.steps import place_inside
from cmsisnn_x.variant import BASELINE, Variant
from helpers.affine_layers import weighted
from helpers.device import Build, Case, assert_kernel, c_source, check_on_host, host_compiler, sample
from helpers.layers import features, make_layer

DEPTHWISE = (
    ((6, 7, 4), 3, 1), ((7, 5, 8), 3, 1), ((3, 9, 5), 3, 1), ((2, 4, 12), 3, 1), ((8, 6, 3), 5, 2), ((5, 4, 6), 5, 2),
    ((9, 1, 7), (3, 1), (1, 0)), ((4, 6, 4), (3, 5), (1, 2)),
)  # fmt: skip
"""Shape, kernel and padding: even and odd heights, whole and partial groups of channels."""
CONVOLUTIONS = (
    ((5, 6, 4), 1, 0), ((5, 4, 8), 1, 0), ((3, 1, 16), 1, 0), ((4, 7, 5), 1, 0), ((6, 5, 4), 3, 1), ((3, 8, 7), 3, 1),
    ((7, 4, 2), (5, 3), (2, 1)), ((4, 9, 6), (1, 3), (0, 1)),
)  # fmt: skip


def layers(op: str, dtype: str, turn: int = 0) -> list[Layer]:
    """Of every shape, outputs as large as inputs."""
    found = []
    for at, (shape, kernel, padding) in enumerate(DEPTHWISE if op == "depthwise_conv2d" else CONVOLUTIONS):
        own = {} if op == "depthwise_conv2d" else {"out_channels": shape[2]}
        geometry = {"kernel": kernel, "padding": padding, **own}
        if dtype == "int8":
            kind = ("relu", "common", "any")[(turn + at) % 3]
            found.append(weighted(op, shape, kind=kind, zero=(at - 3, -128), **geometry))
        else:
            found.append(make_layer(op, shape, dtype=dtype, out_shift=7 if dtype == "q7" else 15, **geometry))
    return found


def cases(op: str, *, dsp: bool, first: int = 0, shapes: int = 2) -> list[Case]:
    """Every registered variant that writes over its input, each with the next of the layers that it may."""
    found, turn = [], first
    for dtype in ("q7", "q15", "int8"):
        known = layers(op, dtype, first)
        for variant in device_variants(known[0].python_op, dtype, features(dsp=dsp)):
            legal = [
                layer
                for layer in known
                if device_variant_problem(layer, variant, features(dsp=dsp)) is None
                and place_inside(layer, variant, 0) == 0
            ]
            for _ in range(min(shapes, len(legal))):
                turn += 1
                found.append(Case(legal[turn % len(legal)], variant, in_place=True))
    return found


@pytest.mark.emulated
@pytest.mark.parametrize("op", ["conv2d", "depthwise_conv2d"])
def test_what_is_overwritten_was_read_before(build: Build, full: bool, op: str) -> None:
    shapes = 2 if full else 1
    assert_kernel(build, sample(cases(op, dsp=build.dsp, first=build.index, shapes=shapes), build, full, most=4))


@pytest.mark.full
def test_host_build_is_clean_under_sanitizers(full: bool) -> None:
    chosen = [case for op in ("conv2d", "depthwise_conv2d") for dsp in (True, False) for case in cases(op, dsp=dsp)]
    check_on_host(chosen if full else chosen[::29], host_compiler())


def test_every_lowering_that_copies_first_is_among_them() -> None:
    found = {(c.op, c.variant.lowering, c.variant.column_layout) for dsp in (True, False) for op in
             ("conv2d", "depthwise_conv2d") for c in cases(op, dsp=dsp)}  # fmt: skip
    assert found == {
        ("convolve", "im2col", "sequential"), ("convolve", "im2col", "interleaved"), ("convolve", "im2col", "packed"),
        ("convolve", "im2col", "paired"),
        ("convolve", "line_buffer", "sequential"), ("depthwise_convolve", "line_buffer", "sequential"),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("op", "shape", "kernel", "variant"),
    [
        ("conv2d", (5, 5, 4), 3, BASELINE),  # windows over rows that are gone
        ("conv2d", (5, 5, 4), 1, Variant(8, 2, 3, 3, "im2col", "interleaved", "packed", "asm")),  # 25 pixels
        ("conv2d", (6, 6, 4), 3, Variant(8, 2, 4, 4, "winograd", "widened", inner="asm", tile=2)),
        ("depthwise_conv2d", (6, 6, 4), 3, BASELINE),
        ("depthwise_conv2d", (6, 6, 4), 3, Variant(4, 1, 1, 1, "line_buffer", "widened")),  # rows are woven again
        ("depthwise_conv2d", (5, 6, 4), 5, Variant(4, 1, 2, 2, "line_buffer", "widened")),  # an odd last row
    ],
)
def test_what_would_read_again_stays_apart(
    tmp_path: Path, op: str, shape: tuple[int, int, int], kernel: int, variant: Variant
) -> None:
    """By the rule, and by the header for whoever sets the macro by hand."""
    own = {} if op == "depthwise_conv2d" else {"out_channels": shape[2]}
    layer = make_layer(op, shape, kernel=kernel, padding=kernel // 2, out_shift=7, **own)
    assert place_inside(layer, variant, 0) is None
    text = c_source([Case(layer, variant, in_place=True)])
    (tmp_path / "a.c").write_text(text)
    include = Path(__file__).resolve().parents[2] / "cmsisnn_x" / "include"
    done = subprocess.run(
        [host_compiler(), "-std=c99", "-fsyntax-only", f"-I{include}", str(tmp_path / "a.c")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode
    assert re.search(r"#error \"IN_PLACE: ", done.stderr) or "IN_PLACE: " in done.stderr


def test_outputs_of_another_size_lie_apart() -> None:
    lines = Variant(4, 1, 2, 2, "line_buffer", "widened")
    narrower = make_layer("depthwise_conv2d", (6, 6, 4), kernel=3, out_shift=7)
    assert place_inside(narrower, lines, 0) is None
    wider = make_layer("conv2d", (6, 6, 4), kernel=1, out_channels=8, out_shift=7)
    assert place_inside(wider, BASELINE, 0) is None
    assert place_inside(make_layer("conv2d", (6, 6, 4), kernel=1, out_channels=4, out_shift=7), BASELINE, 0) == 0


def test_rows_are_read_before_they_are_written_whatever_the_stride() -> None:
    """Outputs as large as the input in strides: with a window outside the image, rows would be written before."""
    lines = Variant(8, 2, 4, 4, "line_buffer", "interleaved", inner="asm")
    geometry = {"out_channels": 4, "stride": 2, "out_shift": 7, "output_size": (4, 4)}
    inside = make_layer("conv2d", (4, 4, 4), kernel=5, padding=4, **geometry)
    assert place_inside(inside, lines, 0) == 0
    outside = replace(inside, padding=((5, 4), (4, 4)))
    assert place_inside(outside, lines, 0) is None
