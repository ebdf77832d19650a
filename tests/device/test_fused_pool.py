# SPDX-License-Identifier: Apache-2.0
"""Pooling fused into the convolution before it: all variants, any geometry, nothing outside the band."""

from __future__ import annotations

from itertools import product

import pytest

from cmsisnn_x import Variant
from cmsisnn_x.layers import Layer
from cmsisnn_x.op import device_variant_problem, device_variants
from helpers.device import Build, Case, assert_kernel, builds, check_on_host, host_compiler
from helpers.layers import features, make_layer

OFFSETS = (None, 1, 2, 3)

# Image, output channels, kernel, and the rest: odd sizes and channels, strides, narrow and low images, tiles left over.
CONVOLUTIONS = (
    ((8, 8, 4), 8, 3, {"padding": 1, "out_shift": 8, "activation": "relu"}),
    ((9, 11, 3), 5, 5, {"padding": 2, "out_shift": 9}),
    ((7, 6, 6), 6, 3, {"padding": 1, "out_shift": 8, "activation": "relu"}),
    ((10, 9, 8), 4, (3, 5), {"out_shift": 9}),
    ((13, 12, 2), 7, 3, {"stride": 2, "padding": 1, "out_shift": 7}),
    ((6, 13, 4), 4, 3, {"padding": 1, "out_shift": 8}),
    ((5, 5, 8), 3, 1, {"out_shift": 7}),
    ((4, 4, 6), 9, 7, {"padding": 3, "out_shift": 11}),
)
# Windows that overlap or leave gaps, clipped at the far edge, at both, kernels above 4 and as large as the image, 1x1.
POOLS = (
    (3, 2, 0, True),
    (2, 2, 0, False),
    (3, 2, 1, False),
    (3, 1, 1, False),
    (2, 3, 0, True),
    (1, 2, 0, False),
    (1, 1, 0, False),
    (4, 4, 0, True),
    (5, 3, 2, True),
    ((2, 3), (1, 2), (1, 0), True),
    ((3, 1), (5, 4), (2, 0), False),
    (4, 1, 3, False),
    (2, 4, 1, True),
)


def pairs(dtype: str) -> list[tuple[Layer, Layer]]:
    """Every convolution with every pooling, either kind in turn; but no pooling that its image is too small for."""
    found = []
    shift = 8 if dtype == "q15" else 0
    for turn, (convolution, pool) in enumerate(product(CONVOLUTIONS, POOLS)):
        shape, channels, kernel, options = convolution
        options = options | {"out_shift": options["out_shift"] + shift}
        conv = make_layer("conv2d", shape, dtype=dtype, out_channels=channels, kernel=kernel, **options)
        window, stride, padding, ceil_mode = pool
        geometry = {"kernel": window, "stride": stride, "padding": padding, "ceil_mode": ceil_mode}
        kind = ("max_pool2d", "avg_pool2d")[turn % 3 // 2]
        after = make_layer(kind, conv.output_shape, dtype=dtype, **geometry)
        if min(after.output_shape) > 0:
            found.append((conv, after))
    return found


def cases(dtype: str, *, dsp: bool) -> list[Case]:
    """Every fused variant with every pair that it can run, alignments in turn; neighbours are of different variants."""
    fused = [v for v in device_variants("convolve", dtype, features(dsp=dsp)) if v.fused_pool]
    found = []
    for turn, ((layer, behind), variant) in enumerate(product(pairs(dtype), fused)):
        if device_variant_problem(layer, variant, features(dsp=dsp), behind) is None:
            offsets = {"input_offset": OFFSETS[turn % 4], "output_offset": OFFSETS[turn // 4 % 4]}
            found.append(Case(layer, variant, behind=behind, **offsets))
    assert {case.variant for case in found} == set(fused)
    return found


def by_variant_of(dtype: str, build: Build) -> dict[Variant, list[Case]]:
    found: dict[Variant, list[Case]] = {}
    for case in cases(dtype, dsp=build.dsp):
        found.setdefault(case.variant, []).append(case)
    return found


def share(dtype: str, build: Build) -> list[Case]:
    """Of the product: every variant, with its share of the pairs; the builds with the same instructions share them."""
    peers = [other.index for other in builds(full=True) if other.dsp == build.dsp]
    by_variant = by_variant_of(dtype, build)
    assert all(len(able) >= len(peers) for able in by_variant.values())
    rank = peers.index(build.index)
    return [
        case for turn, able in enumerate(by_variant.values()) for case in able[(rank + turn) % len(peers) :: len(peers)]
    ]


def some(dtype: str, build: Build) -> list[Case]:
    """Every variant in assembly and a third of those in C, shared out among the builds with the same instructions; a
    geometry of its own for each, both kinds of pooling in turn.
    """
    peers = [other.index for other in builds(full=False) if other.dsp == build.dsp]
    rank = peers.index(build.index)
    by_variant = by_variant_of(dtype, build)
    assembly, plain = ([v for v in by_variant if (v.inner == "c") == in_c] for in_c in (False, True))
    found = []
    for turn, variant in enumerate([*plain[rank :: 3 * len(peers)], *assembly[rank :: len(peers)]]):
        kind = ("max_pool2d", "avg_pool2d")[(turn + build.index // 5 + (dtype == "q15")) % 2]
        able = [case for case in by_variant[variant] if case.behind.op == kind]
        found.append(able[(17 * turn + 29 * build.index) % len(able)])
    return found


@pytest.mark.emulated
def test_every_fused_variant_equals_convolution_then_pooling(build: Build, full: bool) -> None:
    chosen = [case for dtype in ("q7", "q15") for case in (share if full else some)(dtype, build)]
    for at in range(0, len(chosen), 64):
        assert_kernel(build, chosen[at : at + 64])


@pytest.mark.full
def test_host_build_is_clean_under_sanitizers(full: bool) -> None:
    chosen = [case for dtype in ("q7", "q15") for case in cases(dtype, dsp=True) if case.variant.inner == "c"]
    check_on_host(chosen if full else chosen[::541], host_compiler())
