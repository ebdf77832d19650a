# SPDX-License-Identifier: Apache-2.0
"""Kernels that have no knobs on cores with Helium: the cases of all cores once more, whole and band by band."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product

import numpy as np
import pytest

from cmsisnn_x.affine import AffineProduct, AffineRescale, quantize_multiplier
from cmsisnn_x.layers import Layer
from helpers.affine_layers import pooling
from helpers.bands import BandCase, assert_bands
from helpers.device import Build, Case, assert_kernel, draw, sample
from helpers.layers import make_layer

from . import (
    test_activation,
    test_bands,
    test_int8_elements,
    test_int8_pool,
    test_multiply,
    test_pool,
    test_softmax,
)

Make = Callable[[], Sequence[Case]]


def full_pools(op: str) -> list[Case]:
    """Of whole vectors and more: along rows and along channels, in reach of a post-index or not, clipped or not."""
    geometries = (
        ((5, 9, 16), 2, 2, 0),
        ((7, 6, 20), 3, 2, 1),
        ((5, 9, 37), (4, 3), (1, 2), 1),
        ((6, 6, 64), 3, 1, 0),
        ((5, 6, 130), 2, (1, 3), 0),
        ((4, 5, 300), (3, 4), 1, 0),
        ((3, 8, 24), (1, 4), 1, (0, 2)),
        ((4, 7, 48), (2, 1), 2, 0),
        ((9, 10, 33), 5, 4, 2),
        ((4, 4, 32), 4, 1, 0),
        ((3, 4, 128), 1, 1, 0),
    )
    found = []
    for at, (geometry, dtype) in enumerate(product(geometries, ("q7", "q15", "int8", "int16"))):
        shape, *rest = geometry
        own = dict(zip(("kernel", "stride", "padding"), rest, strict=True))
        limits = {"limits": (-9, 100)} if at % 3 else {}
        make = pooling if "int" in dtype else make_layer
        layer = make(op, shape, dtype=dtype, **own, **(limits if "int" in dtype else {}))
        offsets = [(None, None), (1, 3), (2, None), (None, 1)]
        found += [Case(layer, input_offset=into, output_offset=out) for into, out in (offsets[at % 4], offsets[0])]
    return found


def long_products() -> list[Case]:
    """Sixteen elements and more, some left over: zero points or none, factors above 1 and below, clamped."""
    found = []
    for at, (real, zero, kinds) in enumerate(
        product((0.003, 0.7, 1.0, 2.0**-9, 5.3, 1e-9), (0, 1, -128), (("int8",) * 2, ("int16",) * 2, ("int8", "int16")))
    ):
        dtype, output = kinds if at % 2 else kinds[::-1]
        zeros = [zero * (name == "int8") for name in (dtype, output)]
        low, high = test_int8_elements.FULL[output] if at % 3 else (-100, 90)
        multiplier, shift = quantize_multiplier(real)
        shape = ((41,), (64,), (2, 5, 10))[at % 3]
        offsets = test_int8_elements.OFFSETS[at % 5]
        scale = Layer(
            "scale", "requantise", dtype, shape, shape, output_dtype=output,
            scheme=AffineRescale(*zeros, multiplier, shift, low, high),
        )  # fmt: skip
        found.append(Case(scale, input_offset=offsets[0], output_offset=offsets[1]))
        if dtype != output:
            continue
        period = shape if at % 4 else shape[-1:]
        scheme = AffineProduct(zeros[0], -zeros[0] // 2, multiplier, shift, zeros[1], low, high)
        layer = Layer("product", "multiply", dtype, shape, shape, scheme=scheme, more_inputs=(period,))
        behind = offsets[0] if at % 5 == 3 else offsets[1]
        other = draw(period, dtype, f"product {at}")
        found.append(Case(layer, other=other, input_offset=offsets[0], output_offset=behind, in_place=at % 5 == 3))
    return found


def repeated_products() -> list[Case]:
    """Whole turns and some elements over, again and again: assembly that overwrites VPR in a loop with predicates."""
    found = []
    for at, (dtype, period) in enumerate(product(("int8", "int16"), (20, 33))):
        multiplier, shift = quantize_multiplier(0.004 if dtype == "int8" else 0.00002)
        scheme = AffineProduct(0, 0, multiplier, shift, 0, *test_int8_elements.FULL[dtype])
        layer = Layer("product", "multiply", dtype, (4, period), (4, period), scheme=scheme, more_inputs=((period,),))
        found.append(Case(layer, other=draw((period,), dtype, f"repeated {at}")))
    return found


WHOLE: dict[str, Make] = {
    **test_int8_elements.KINDS,
    "products": test_multiply.cases,
    "long products": long_products,
    "activations": test_activation.cases,
    "tables": lambda: test_activation.whole_range("q7"),
    "softmax": lambda: [*test_softmax.cases("q7"), *test_softmax.cases("q15")],
}
for _op in ("max_pool2d", "avg_pool2d"):
    WHOLE[f"{_op} of vectors"] = lambda op=_op: full_pools(op)
for _module, _kinds in ((test_pool, ("q7", "q15")), (test_int8_pool, ("int8", "int16"))):
    for _op in ("max_pool2d", "avg_pool2d"):
        WHOLE[f"{_op} {_kinds}"] = lambda module=_module, op=_op: module.cases(op)
        WHOLE[f"{_op} {_kinds} full"] = lambda module=_module, op=_op, kinds=_kinds: [
            case for kind in kinds for case in module.full_range(op, kind)
        ]


@pytest.mark.emulated
def test_kernels_equal_their_definitions(helium_build: Build, full: bool) -> None:
    found = [case for make in WHOLE.values() for case in sample(make(), helium_build, full, most=2)]
    assert_kernel(helium_build, found)


@pytest.mark.emulated
def test_predicates_do_not_outlive_assembly(helium_build: Build) -> None:
    assert_kernel(helium_build, repeated_products())


def bands(rng: np.random.Generator) -> list[BandCase]:
    return [*test_bands.pools(rng), *test_bands.elements(rng)]


@pytest.mark.emulated
def test_bands_equal_the_rows_of_the_whole(helium_build: Build, full: bool) -> None:
    chosen = bands(np.random.default_rng(helium_build.index))
    some = chosen if full else chosen[helium_build.index :: 9]
    for at in range(0, len(some), test_bands.AT_ONCE):
        assert_bands(helium_build, some[at : at + test_bands.AT_ONCE])
