# SPDX-License-Identifier: Apache-2.0
"""Fully connected kernels of coupled weights: every way to finish, blocks that overlap, extremes of every half."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from cmsisnn_x.layers import Layer
from cmsisnn_x.op import device_variant_problem, device_variants
from cmsisnn_x.packing import pack_device_weights
from cmsisnn_x.packing_dense import coupled_starts
from helpers.affine_layers import KINDS, weighted
from helpers.device import Build, Case, assert_kernel, check_on_host, host_compiler, sample
from helpers.layers import features, make_layer

SHAPES = ((5, 1), (6, 3), (9, 4), (10, 8), (12, 31), (5, 64), (7, 70), (11, 130), (6, 261))
"""Steps that fill turns of all lengths, and what is left of each; blocks that overlap by none to four rows."""
FEATURES = features(dsp=True)
VARIANTS = tuple(v for v in device_variants("fully_connected", "q7", FEATURES) if v.weight_layout == "coupled")


def calm(layer: Layer) -> Layer:
    """With no weight of -128."""
    assert layer.weights is not None
    return replace(layer, weights=np.maximum(layer.weights, -127))


def uniform(layer: Layer) -> Layer:
    """With the factor of its first channel in all of them."""
    scheme = layer.scheme
    return replace(layer, scheme=replace(scheme, multiplier=scheme.multiplier[:1], shift=scheme.shift[:1]))


def cases() -> list[Case]:
    found = []
    for turn, ((rows, columns), kind) in enumerate(product(SHAPES, ("q7", *KINDS, "alike", "real"))):
        variant = VARIANTS[turn % len(VARIANTS)]
        if kind == "q7":
            layer = make_layer(
                "fully_connected", (columns,), out_channels=rows, bias_shift=turn % 5,
                out_shift=(0, 7, 23, 26)[turn % 4], activation="relu" if turn % 2 else None,
            )  # fmt: skip
        else:
            name = kind if kind in KINDS else "common"
            layer = weighted("fully_connected", (columns,), kind=name, out_channels=rows)
            if kind == "alike":
                layer = uniform(layer)
            if kind == "real":
                scheme = replace(layer.scheme, rounding="float", reals=(0.00123,), multiplier=(0,), shift=(0,))
                layer = replace(layer, scheme=scheme)
        layer = calm(layer)
        if device_variant_problem(layer, variant, FEATURES) is None:
            offsets = (None, 1, 2, 3)[turn % 4], (None, 3)[turn % 2]
            found.append(Case(layer, variant, input_offset=offsets[0], output_offset=offsets[1]))
    return found


def extremes() -> list[Case]:
    """Halves and accumulators at their ends, in both directions."""
    found = []
    for at, (w, x) in enumerate(product(((127, 127), (-127, -127), (127, -127), (-127, 127), (-128, 0)), (-128, 127))):
        layer = make_layer("fully_connected", (512,), out_channels=5, out_shift=15)
        weights = np.resize(np.array(w, np.int8), (5, 512))
        layer = replace(layer, weights=weights, bias=np.zeros_like(layer.bias))
        variant = VARIANTS[at % len(VARIANTS)]
        values = np.full(512, x)
        values[1::2] = values[1::2] if at % 3 else -1 - values[1::2]
        found.append(Case(layer, variant, input=values))
    return found


def test_every_way_to_finish_equals_the_definition(build: Build, full: bool) -> None:
    assert_kernel(build, sample(cases(), build, full, most=16))


def test_halves_and_sums_at_their_ends(build: Build) -> None:
    assert_kernel(build, extremes())


def test_host_build_is_clean_under_sanitizers(full: bool) -> None:
    chosen = cases() + extremes()
    check_on_host(chosen if full else chosen[::6], host_compiler())


def test_couples_are_packed_as_documented() -> None:
    layer = make_layer("fully_connected", (4,), out_channels=6)
    layer.weights[:] = np.arange(24).reshape(6, 4) - 12
    packed = pack_device_weights(layer, VARIANTS[0])
    halves, starts = packed.view(np.int16), packed.view(np.int32)
    expected = [256 * row[odd] + row[odd - 1] for row in layer.weights.astype(int) for odd in (1, 3)]
    assert starts[:5].tolist() == coupled_starts(layer)[:5].tolist()
    assert halves[10:20].tolist() == expected[:10]
    assert starts[10:15].tolist() == coupled_starts(layer)[1:].tolist()
    assert halves[30:40].tolist() == expected[2:]  # rows 1 to 5
    assert starts[20:].tolist() == [0] * 5


@pytest.mark.parametrize(
    ("rows", "columns", "weights", "problem"),
    [
        (4, 8, (1,), "5..65535 rows"),
        (5, 8, (-1, -128), "no weight of -128 behind a negative one"),
        (5, 8, (0, -128), None),
        (5, 8, (-128, -127), None),
        (5, 520, (127,), "accumulators below 2^23"),
        (5, 700, (64,), None),
    ],
)
def test_what_coupled_weights_need(rows: int, columns: int, weights: tuple[int, ...], problem: str | None) -> None:
    layer = make_layer("fully_connected", (columns,), out_channels=rows)
    layer = replace(layer, weights=np.resize(np.array(weights, np.int8), (rows, columns)))
    said = device_variant_problem(layer, VARIANTS[0], FEATURES)
    assert said is None if problem is None else problem in str(said)


def test_zero_points_take_a_bit() -> None:
    layer = weighted("fully_connected", (400,), out_channels=5)
    layer = replace(layer, weights=np.full((5, 400), 100, np.int8))
    said = device_variant_problem(layer, VARIANTS[0], FEATURES)
    assert "accumulators below 2^22" in str(said)


def test_only_coupled_weights_come_in_fives() -> None:
    assert {v.block_rows for v in VARIANTS} == {5}
    others = set(device_variants("fully_connected", "q7", FEATURES)) - set(VARIANTS)
    assert all(v.block_rows != 5 for v in others)
