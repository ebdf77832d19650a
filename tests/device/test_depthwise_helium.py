# SPDX-License-Identifier: Apache-2.0
"""Depthwise convolutions with Helium: both ways of taking windows, 8 and 16 bits, every rescaling, in place, bands."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cmsisnn_x.bands import row_step
from cmsisnn_x.layers import Layer
from cmsisnn_x.op import device_variant_problem
from cmsisnn_x.packing import pack_device_weights, words_of
from cmsisnn_x.steps import place_inside
from cmsisnn_x.variant import Variant
from helpers.affine_layers import KINDS, weighted
from helpers.bands import BandCase, assert_bands, counts_of
from helpers.cores import FEATURES, helium_variants
from helpers.device import INCLUDE, Build, Case, assert_kernel, c_source, host_compiler
from helpers.layers import make_layer

CHANNELS = (1, 2, 3, 5, 8, 12, 15, 16, 17, 20, 32, 33, 40)
KERNELS = (3, 3, 3, 3, 1, 2, 5, (3, 1), (1, 3), (2, 3), (5, 3), (10, 4), 7, 4, (1, 7))
STRIDES = (1, 1, 1, 2, 2, (1, 2), (2, 1), 3)
SHIFTS = (0, 1, 5, 7, 8, 9, 10, 16, 17, 24, 25, 31)
VARIANTS = helium_variants("depthwise_convolve", "q7")
SAMPLE, FULL = 5, 120
"""Layers for each compiler and level."""


def along_a_line(rng: np.random.Generator, channels: int) -> tuple[tuple[int, int], tuple[int, int, int]]:
    """An image of one column or row of up to 50 pixels, and a window along it, up to one that is longer than a load."""
    sides, image = (int(rng.integers(1, 19)), 1), (int(rng.integers(1, 51)), 1)
    if rng.random() < 0.3:
        sides, image = sides[::-1], image[::-1]
    return sides, (*image, channels)


def drawn(rng: np.random.Generator) -> tuple[Layer, Variant]:
    """Lines, and images up to 13x19, which have rows that are written out and in loops, whole and partial vectors of
    channels; padding as wide as windows; scheme, shifts and factors of every kind.
    """
    while True:
        kernel, stride = KERNELS[rng.integers(len(KERNELS))], STRIDES[rng.integers(len(STRIDES))]
        sides = kernel if isinstance(kernel, tuple) else (kernel, kernel)
        shape = (int(rng.integers(1, 14)), int(rng.integers(1, 20)), int(rng.choice(CHANNELS)))
        if rng.random() < 0.35:
            kernel, shape = along_a_line(rng, int(shape[2]))
            sides = kernel
        padding = tuple(int(rng.integers(0, side)) for side in sides)
        options = {"kernel": kernel, "stride": stride, "padding": padding}
        if any(n + 2 * p < k for n, p, k in zip(shape, padding, sides, strict=False)):
            continue
        scheme = rng.random()
        if scheme < 0.4:
            layer = make_layer(
                "depthwise_conv2d", shape, dtype=("q7", "q15")[rng.integers(2)], out_shift=int(rng.choice(SHIFTS)),
                bias_shift=int(rng.choice([0, 5, 31])), activation=(None, "relu")[rng.integers(2)], **options,
            )  # fmt: skip
        elif scheme < 0.85:
            layer = weighted("depthwise_conv2d", shape, kind=str(rng.choice(KINDS)), **options)
        else:
            kind = str(rng.choice(["common", "clamped", "left16"]))
            layer = weighted("depthwise_conv2d", shape, kind=kind, wide=True, **options)
        variant = VARIANTS[rng.integers(len(VARIANTS))]
        if device_variant_problem(layer, variant, FEATURES) is None:
            return layer, variant


def offsets(rng: np.random.Generator) -> dict[str, int | None]:
    return {name: (None, 1, 2, 3)[rng.integers(4)] for name in ("input_offset", "output_offset")}


def cases(seed: int, count: int) -> list[Case]:
    """Half of them in place."""
    rng, found = np.random.default_rng(seed), []
    while len(found) < count:
        layer, variant = drawn(rng)
        if len(found) % 2 == 0:
            found.append(Case(layer, variant, **offsets(rng)))
        elif place_inside(layer, variant, 0) == 0:
            found.append(Case(layer, variant, in_place=True))
    return found


def bands(seed: int, count: int) -> list[BandCase]:
    """The same, of outputs no wider than inputs."""
    rng, found = np.random.default_rng(seed), []
    while len(found) < count:
        layer, variant = drawn(rng)
        height = layer.output_image[0]
        band = int(rng.integers(1, height + 1))
        rows = {"band": band, "counts": counts_of(height, 1, band, rng)}
        if len(found) % 2 == 0:
            found.append(BandCase(layer, variant, **rows, **offsets(rng)))
        elif layer.row.overwrites_rows(layer, variant, band):
            found.append(BandCase(layer, variant, in_place=True, **rows))
    return found


@pytest.mark.emulated
def test_windows_equal_the_definition(helium_build: Build, full: bool) -> None:
    assert_kernel(helium_build, cases(helium_build.index, FULL if full else SAMPLE))


@pytest.mark.emulated
def test_bands_equal_the_rows_of_the_whole(helium_build: Build, full: bool) -> None:
    found = bands(1000 + helium_build.index, FULL if full else SAMPLE)
    for first in range(0, len(found), 12):
        assert_bands(helium_build, found[first : first + 12])


def test_a_window_is_some_words_of_four_rows() -> None:
    """A column of zeros before those of a window up to 3x3, and one behind the last channel; of others, every column of
    planes of four rows, and zeros up to whole vectors.
    """
    small = make_layer("depthwise_conv2d", (6, 6, 5), kernel=(3, 2), out_shift=5)
    packed = pack_device_weights(small, VARIANTS[0])
    assert packed.dtype == np.int8
    assert not packed[-4:].any()
    columns = packed[:-4].reshape(5, 4, 4)
    assert np.array_equal(columns[:, 1:3, :3], small.weights.transpose(2, 1, 0))
    assert not columns[:, [0, 3]].any()
    assert not columns[..., 3].any()
    large = make_layer("depthwise_conv2d", (12, 12, 3), kernel=(5, 7), out_shift=5)
    assert words_of(large) == (False, 4, 2, 16, None)
    packed = pack_device_weights(large, VARIANTS[0]).reshape(3, 8, 8)
    assert np.array_equal(packed[:, :7, :5], large.weights.transpose(2, 1, 0))
    assert not packed[:, 7].any()
    assert not packed[..., 5:].any()


def test_a_window_along_a_line_is_its_elements() -> None:
    """Up to sixteen bytes of them, zeros behind; what is longer, or wider, is not taken by lines."""
    for image, kernel, line in (((28, 1, 3), (5, 1), 0), ((1, 28, 3), (1, 5), 1), ((28, 1, 3), (17, 1), None)):
        layer = make_layer("depthwise_conv2d", image, kernel=kernel, out_shift=5)
        assert words_of(layer).line == line
        if line is not None:
            packed = pack_device_weights(layer, VARIANTS[0]).reshape(3, 16)
            assert np.array_equal(packed[:, :5], layer.weights.reshape(5, 3).T)
            assert not packed[:, 5:].any()
    padded = make_layer("depthwise_conv2d", (28, 1, 3), kernel=3, padding=1, out_shift=5)
    assert words_of(padded).line is None


def test_pairs_of_rows_are_made_together() -> None:
    pair = make_layer("depthwise_conv2d", (6, 6, 4), kernel=3, padding=1, out_shift=5)
    single = make_layer("depthwise_conv2d", (6, 6, 4), kernel=3, stride=2, padding=1, out_shift=5)
    wide = make_layer("depthwise_conv2d", (6, 6, 4), dtype="q15", kernel=3, padding=1, out_shift=5)
    assert [row_step(layer, VARIANTS[0]) for layer in (pair, single, wide)] == [2, 1, 1]


@pytest.mark.parametrize(
    ("shape", "options"),
    [
        ((40, 40, 2), {"kernel": 12}),
        ((9, 9, 1100), {"kernel": 3, "stride": 2}),
        ((9, 40, 2), {"kernel": 3, "stride": 8}),
    ],
)
def test_what_vectors_cannot_do_is_refused(shape: tuple[int, ...], options: dict[str, int]) -> None:
    layer = make_layer("depthwise_conv2d", shape, out_shift=5, **options)
    assert "inner 'helium' takes windows of up to 32 words" in str(device_variant_problem(layer, VARIANTS[0], FEATURES))


def test_factors_of_53_bits_are_refused() -> None:
    layer = weighted("depthwise_conv2d", (5, 5, 2), kernel=3)
    scheme = replace(layer.scheme, rounding="float", reals=(0.00123,), multiplier=(0,), shift=(0,))
    assert "and 53 bits" in str(device_variant_problem(replace(layer, scheme=scheme), VARIANTS[0], FEATURES))


def test_other_cores_are_told(tmp_path: Path) -> None:
    """A compiler of the host has no Helium."""
    layer = make_layer("depthwise_conv2d", (5, 5, 2), kernel=3, out_shift=5)
    (tmp_path / "case.c").write_text(c_source([Case(layer, VARIANTS[0])]))
    command = [host_compiler(), "-fsyntax-only", f"-I{INCLUDE}", str(tmp_path / "case.c")]
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "INNER: CXN_INNER_HELIUM needs a core with Helium" in said.stderr
