# SPDX-License-Identifier: Apache-2.0
"""Convolution kernels with zero points: the variants of q7, every block, tile and border, every kind of factor."""

from __future__ import annotations

import pytest

from cmsisnn_x.op import device_variant_problem, device_variants
from helpers.affine_layers import KINDS, weighted
from helpers.device import Build, Case, assert_kernel, check_on_host, host_compiler
from helpers.layers import features

from .test_convolve import OFFSETS, SHAPES, family, some_of_each_family


def shapes() -> list[tuple[tuple[int, int, int], dict[str, object]]]:
    """Those of q7, without their shifts."""
    found = []
    for shape, out_channels, kernel, options in SHAPES:
        kept = {name: options[name] for name in ("stride", "padding", "output_size") if name in options}
        found.append((shape, {"out_channels": out_channels, "kernel": kernel, **kept}))
    return found


def cases(*, dsp: bool, first: int = 0, count: int = 1) -> list[Case]:
    """Every registered variant, each with the next `count` shapes, kinds of factors and alignments."""
    found, turn = [], first
    layers = [
        weighted("conv2d", shape, kind=KINDS[(at + shift) % len(KINDS)], **options)
        for at, (shape, options) in enumerate(shapes())
        for shift in (0, 3)
    ]
    registered = [v for v in device_variants("convolve", "int8", features(dsp=dsp)) if not v.fused_pool]
    for variant in sorted(registered, key=lambda v: (family(v), v)):
        legal = [layer for layer in layers if device_variant_problem(layer, variant, features(dsp=dsp)) is None]
        for _ in range(count):
            turn += 1
            layer = legal[turn % len(legal)]
            found.append(Case(layer, variant, input_offset=OFFSETS[turn % 4], output_offset=OFFSETS[turn // 4 % 4]))
    return found


@pytest.mark.emulated
def test_every_variant_equals_the_definition(build: Build, full: bool) -> None:
    if full:
        assert_kernel(build, cases(dsp=build.dsp, first=build.index))
    else:
        found = some_of_each_family(cases(dsp=build.dsp, first=7 * build.index), build)
        assert_kernel(build, found[build.index // 2 % 2 :: 2])


@pytest.mark.full
def test_host_build_is_clean_under_sanitizers(full: bool) -> None:
    chosen = [case for dsp in (True, False) for case in cases(dsp=dsp)]
    check_on_host(chosen if full else chosen[::61], host_compiler())
