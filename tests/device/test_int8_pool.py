# SPDX-License-Identifier: Apache-2.0
"""Pooling kernels of int8 and int16: averages half away from zero, ranges cut at both ends, fused into convolutions."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from cmsisnn_x.op import device_variant_problem, device_variants
from helpers.affine_layers import KINDS, pooling, weighted
from helpers.device import Build, Case, assert_kernel, check_on_host, host_compiler, sample
from helpers.layers import features

from .test_fused_pool import CONVOLUTIONS, POOLS
from .test_pool import GEOMETRIES
from .test_pool import OFFSETS as PAIRS

OFFSETS = (None, 1, 2, 3)


def cases(op: str) -> list[Case]:
    found = []
    for turn, (dtype, geometry, offsets) in enumerate(product(("int8", "int16"), GEOMETRIES, PAIRS)):
        shape, kernel, stride, padding, ceil_mode = geometry
        limits = (None, (-128, 60), (-9, 127), (-20, 20))[turn % 4 if turn % 3 else 0]
        layer = pooling(
            op, shape, dtype=dtype, kernel=kernel, stride=stride, padding=padding, ceil_mode=ceil_mode, limits=limits
        )
        found.append(Case(layer, input_offset=offsets[0], output_offset=offsets[1]))
    return found


def full_range(op: str, dtype: str) -> list[Case]:
    """Sums at the end of 16 bits (256 elements of -128) and beyond it."""
    found = []
    for kernel in ((16, 16), (16, 17), (2, 2)):
        layer = pooling(op, (16, 17, 4), dtype=dtype, kernel=kernel, stride=kernel, padding=0)
        info = np.iinfo(layer.numpy_dtype)
        found += [Case(layer, input=np.full((16, 17, 4), value)) for value in (info.min, info.max)]
    return found


def test_pooling_equals_the_definition(build: Build, full: bool) -> None:
    chosen = []
    for op in ("max_pool2d", "avg_pool2d"):
        chosen += sample(cases(op), build, full, most=3)
        chosen += sample(full_range(op, "int8") + full_range(op, "int16"), build, full, most=2)
    assert_kernel(build, chosen)


@pytest.mark.parametrize("count", [*range(1, 65), 127, 128, 200, 254, 255, 256])
def test_rounded_average_by_multiplication_is_exact(count: int) -> None:
    """The formula of avg_pool.h over every sum that `count` bytes can have."""
    scale = (2**23 + count - 1) // count
    sums = np.arange(-128 * count, 127 * count + 1, dtype=np.int64)
    rounded = sums + np.where(sums < 0, -(count // 2), count // 2)
    got = (rounded * scale + np.where(rounded < 0, 2**23 - 1, 0)) >> 23
    assert np.abs(rounded * scale).max() + 2**23 < 2**31
    assert (got == np.sign(sums) * ((np.abs(sums) + count // 2) // count)).all()


def fused(*, dsp: bool) -> list[Case]:
    """Every fused variant with the next pair of layers that it can run."""
    found, pairs = [], list(product(CONVOLUTIONS, POOLS))
    turn = 0
    for variant in (v for v in device_variants("convolve", "int8", features(dsp=dsp)) if v.fused_pool):
        for _ in range(len(pairs)):
            turn += 1
            (shape, channels, kernel, options), (window, stride, padding, ceil_mode) = pairs[turn * 7 % len(pairs)]
            kept = {name: options[name] for name in ("stride", "padding") if name in options}
            kind = KINDS[turn % len(KINDS)]
            layer = weighted("conv2d", shape, kind=kind, out_channels=channels, kernel=kernel, **kept)
            op = ("max_pool2d", "avg_pool2d")[turn % 2]
            if min(layer.output_shape[:2]) < 3:
                continue
            behind = pooling(
                op, layer.output_shape, kernel=window, stride=stride, padding=padding, ceil_mode=ceil_mode,
                limits=(None, (-50, 100))[turn % 3 // 2],
            )  # fmt: skip
            if (
                min(behind.output_shape) > 0
                and device_variant_problem(layer, variant, features(dsp=dsp), behind) is None
            ):
                offsets = {"input_offset": OFFSETS[turn % 4], "output_offset": OFFSETS[turn // 4 % 4]}
                found.append(Case(layer, variant, behind=behind, **offsets))
                break
    return found


@pytest.mark.emulated
def test_fused_pooling_equals_the_two_layers(build: Build, full: bool) -> None:
    assert_kernel(build, sample(fused(dsp=build.dsp), build, full, most=2))


@pytest.mark.full
def test_host_build_is_clean_under_sanitizers(full: bool) -> None:
    found = [case for op in ("max_pool2d", "avg_pool2d") for case in [*cases(op), *full_range(op, "int8")]]
    found += [*fused(dsp=True), *fused(dsp=False)]
    check_on_host(found if full else found[::23], host_compiler())
