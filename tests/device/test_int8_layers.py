# SPDX-License-Identifier: Apache-2.0
"""Depthwise and fully connected kernels with zero points, dilated windows and groups of channels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cmsisnn_x.channels import _exact_factor
from cmsisnn_x.errors import CmsisnnError
from cmsisnn_x.layers import Layer
from cmsisnn_x.op import device_variant_problem, device_variants
from cmsisnn_x.registry.dense import DENSE_BASELINE
from cmsisnn_x.variant import BASELINE, Variant
from helpers.affine_layers import KINDS, weighted
from helpers.device import Build, Case, assert_kernel, check_on_host, host_compiler, sample
from helpers.layers import features

OFFSETS = (None, 1, 2, 3)
DEPTHWISE = (
    ((5, 6, 3), {"kernel": 3, "padding": 1}),
    ((8, 8, 8), {"kernel": 5, "padding": 2}),
    ((7, 5, 4), {"kernel": 3, "stride": 2, "padding": 1}),
    ((1, 1, 5), {"kernel": 3, "padding": 1}),
    ((9, 7, 6), {"kernel": (3, 2), "padding": (2, 1)}),
    ((6, 6, 1), {"kernel": (2, 3)}),
    ((12, 11, 4), {"kernel": (9, 8), "padding": (4, 4)}),
    ((8, 4, 12), {"kernel": (3, 1), "padding": (1, 0)}),
)
DENSE = ((33, 7), (64, 10), (1, 1), (5, 4), (640, 6), (1029, 3), (16, 13), (7, 2))


def depthwise() -> list[Layer]:
    return [
        weighted("depthwise_conv2d", shape, kind=KINDS[(at + shift) % len(KINDS)], **options)
        for at, (shape, options) in enumerate(DEPTHWISE)
        for shift in (0, 3)
    ]


def dense() -> list[Layer]:
    return [
        weighted("fully_connected", (columns,), kind=KINDS[(at + shift) % len(KINDS)], out_channels=rows)
        for at, (columns, rows) in enumerate(DENSE)
        for shift in (0, 3)
    ]


def dilated() -> list[Layer]:
    """Windows with gaps, and channels in groups: as many as there are, with a multiplier, and a few."""
    found = [
        weighted("depthwise_conv2d", (9, 8, 3), kernel=3, padding=2, output_size=(9, 8), dilation=(2, 2)),
        weighted(
            "depthwise_conv2d",
            (9, 9, 4),
            kernel=(2, 3),
            output_size=(6, 9),
            padding=(0, 3),
            dilation=(3, 3),
            kind="clamped",
        ),
    ]
    counts = ((1, 5), (2, 6), (6, 6), (6, 12), (3, 3), (2, 2), (1, 7))
    for kind, (groups, out_channels) in zip(KINDS, counts, strict=True):
        shape = (8, 7, 6)
        found += [
            weighted("conv2d", shape, out_channels=out_channels, kernel=3, padding=1, groups=groups, kind=kind),
            weighted(
                "conv2d", shape, out_channels=out_channels, kernel=3, padding=2, output_size=(8, 7), dilation=(2, 2),
                groups=groups, kind=kind,
            ),
            weighted(
                "conv2d", shape, out_channels=out_channels, kernel=(2, 3), stride=2, padding=(1, 1), output_size=(4, 2),
                dilation=(1, 3), groups=groups, kind=kind,
            ),
        ]  # fmt: skip
    return found


def cases(op: str, layers: list[Layer], *, dsp: bool, first: int = 0) -> list[Case]:
    """Every registered variant that can run one of the layers, each with the next of them and alignments of its own."""
    found, turn = [], first
    for variant in device_variants(op, "int8", features(dsp=dsp)):
        legal = [
            layer
            for layer in layers
            if layer.python_op == op and device_variant_problem(layer, variant, features(dsp=dsp)) is None
        ]
        if legal:
            turn += 1
            layer = legal[turn % len(legal)]
            found.append(Case(layer, variant, input_offset=OFFSETS[turn % 4], output_offset=OFFSETS[turn // 4 % 4]))
    return found


def chosen(build: Build, full: bool, op: str, layers: list[Layer], most: int) -> list[Case]:
    return sample(cases(op, layers, dsp=build.dsp, first=5 * build.index), build, full, most=most)


@pytest.mark.emulated
def test_depthwise_equals_the_definition(build: Build, full: bool) -> None:
    assert_kernel(build, chosen(build, full, "depthwise_convolve", depthwise(), 3))


@pytest.mark.emulated
def test_fully_connected_equals_the_definition(build: Build, full: bool) -> None:
    assert_kernel(build, chosen(build, full, "fully_connected", dense(), 4))


@pytest.mark.emulated
def test_dilation_and_groups_equal_the_definition(build: Build, full: bool) -> None:
    for op, most in (("convolve", 4), ("depthwise_convolve", 1)):
        assert_kernel(build, chosen(build, full, op, dilated(), most))


@pytest.mark.emulated
def test_sums_at_the_ends_of_their_range(build: Build, full: bool) -> None:
    """Products of -128 and -128 add up, beside every factor."""
    found = []
    for kind in KINDS:
        layer = weighted("fully_connected", (512,), kind=kind, out_channels=8, zero=(127, -128))
        layer.weights[:4] = -128
        layer.weights[1] = 127
        found += [
            Case(layer, variant, input=np.full((512,), value))
            for variant in device_variants("fully_connected", "int8", features(dsp=build.dsp))
            for value in (-128, 127)
        ]
    assert_kernel(build, sample(found, build, full, most=3))


def wide() -> list[Case]:
    """16-bit activations: sums beyond 32 bits, more products than 32 bits take, every kind of window."""
    found = []
    options = {"wide": True}
    layers = [
        (weighted("fully_connected", (1200,), out_channels=6, **options), DENSE_BASELINE),
        (weighted("fully_connected", (5,), out_channels=1, kind="left16", **options), DENSE_BASELINE),
        (weighted("conv2d", (6, 5, 3), out_channels=5, kernel=3, padding=1, **options), BASELINE),
        (
            weighted("conv2d", (5, 4, 6), out_channels=4, kernel=(2, 3), stride=2, padding=1, groups=2, **options),
            BASELINE,
        ),
        (
            weighted(
                "conv2d", (7, 7, 2), out_channels=3, kernel=3, padding=2, output_size=(7, 7), dilation=(2, 2), **options
            ),
            BASELINE,
        ),
        (
            weighted("depthwise_conv2d", (6, 5, 7), kernel=3, padding=1, stride=(1, 2), kind="clamped", **options),
            BASELINE,
        ),
        (weighted("depthwise_conv2d", (25, 25, 5), kernel=(24, 23), **options), BASELINE),
    ]
    for turn, (layer, variant) in enumerate(layers):
        found.append(Case(layer, variant, input_offset=OFFSETS[turn % 4], output_offset=OFFSETS[(turn + 1) % 4]))
        found += [Case(layer, variant, input=np.full(layer.input_shape, value)) for value in (-32768, 32767)]
    return found


def real() -> list[Case]:
    """LiteRT's fully connected layers: products of double precision, exact halves among them."""
    found = []
    for reals in ((0.00123,), (0.5, 2.0**-9, 1e-6, 1.5, 0.0)):
        layer = weighted("fully_connected", (600,), out_channels=5, wide=True)
        scheme = replace(layer.scheme, rounding="float", reals=reals, multiplier=(0,), shift=(0,))
        found.append(Case(replace(layer, scheme=scheme), DENSE_BASELINE, input_offset=1))
    for turn, reals in enumerate(((0.001,), (0.5,), (2.0**-7,), (0.0123456789, 0.25, 3.7, 1e-9, 0.0, 2.0**-31, 90.5))):
        layer = weighted("fully_connected", (40,), out_channels=7, kind="common")
        scheme = replace(layer.scheme, rounding="float", reals=reals, multiplier=(0,), shift=(0,))
        layer = replace(layer, scheme=scheme)
        variants = (DENSE_BASELINE, Variant(4, 4, 2, 2, lowering="direct"))
        found += [Case(layer, variant, output_offset=OFFSETS[turn]) for variant in variants]
    # Products that 32 bits do not hold are -2^31, whatever their sign; the sum with a zero point below 0 wraps.
    far = (4e3, 9e4, 3.0, 1.0, 2.0**19, 700.0, 12345.6)
    for zero_point in (-3, 0, 4):
        layer = weighted("fully_connected", (40,), out_channels=7, kind="common", zero=(5, zero_point))
        scheme = replace(layer.scheme, rounding="float", reals=far, multiplier=(0,), shift=(0,))
        layer = replace(layer, scheme=scheme)
        found += [Case(layer, DENSE_BASELINE, input=np.full(layer.input_shape, value)) for value in (-128, 127)]
    return found


@pytest.mark.emulated
def test_wide_accumulators_equal_the_definition(build: Build, full: bool) -> None:
    assert_kernel(build, sample(wide(), build, full, most=3))


@pytest.mark.emulated
def test_products_of_double_precision_equal_the_definition(build: Build, full: bool) -> None:
    assert_kernel(build, sample(real(), build, full, most=2))


@pytest.mark.parametrize("real", [0.5, 1 / 3, 0.1, 2.0**-8, 1e-5, 0.0007, 1e-9, 3.3, 255.5, 2.0**-31, 1e-14])
def test_a_mantissa_rounds_as_the_product_of_doubles_does(real: float) -> None:
    """Around every half that an output can meet, and far beyond."""
    mantissa, shift = _exact_factor(real)
    for k in range(1, 257):
        for acc in {min(max(int((k - 0.5) / real) + d, 0), 2**31) for d in range(-2, 3)}:
            product = float(acc) * real
            expected = int(product) + (product - int(product) >= 0.5)
            assert min((acc * mantissa + (1 << (shift - 1))) >> shift, 256) == min(expected, 256), (acc, k)


@pytest.mark.parametrize("real", [1.5286700631942535e-07, 1.0319364999609123e-07, 4.803191312348049e-07, 0.0031])
def test_a_mantissa_of_wide_accumulators_is_right_as_far_as_they_reach(real: float) -> None:
    """Some factors have none for all of 2^43; a channel's accumulators do not go so far."""
    reach = 2**34
    mantissa, shift = _exact_factor(real, 2**16, reach)
    for k in range(1, 2**16, 97):
        for acc in {min(max(int((k - 0.5) / real) + d, 0), reach) for d in range(-2, 3)}:
            product = float(acc) * real
            expected = int(product) + (product - int(product) >= 0.5)
            assert (acc * mantissa + (1 << (shift - 1))) >> shift == expected, (acc, k)


def test_a_factor_without_a_mantissa_is_refused() -> None:
    with pytest.raises(CmsisnnError, match=r"got 1\.5286700631942535e-07"):
        _exact_factor(1.5286700631942535e-07, 2**16, 2**43)


@pytest.mark.full
def test_host_build_is_clean_under_sanitizers(full: bool) -> None:
    found = [
        case
        for dsp in (True, False)
        for op, layers in (
            ("depthwise_convolve", [*depthwise(), *dilated()]),
            ("fully_connected", dense()),
            ("convolve", dilated()),
        )
        for case in cases(op, layers, dsp=dsp)
    ]
    check_on_host([*wide(), *real(), *(found if full else found[::31])], host_compiler())
