# SPDX-License-Identifier: Apache-2.0
"""What cores with Helium run of kernels that others have too: all but assembly that is scheduled for those."""

from __future__ import annotations

import pytest

from cmsisnn_x.isa import Isa
from cmsisnn_x.op import device_variant_problem, device_variants
from helpers.cores import FEATURES, HELIUM, helium_variants
from helpers.device import Build, Case, assert_kernel, sample
from helpers.layers import make_layer
from tuning.target.cores import CORES

from .test_headers import one_of_each


def test_cores_with_helium_are_one_kind() -> None:
    assert {CORES[name].features for name in HELIUM} == {FEATURES}


@pytest.mark.full
@pytest.mark.emulated
def test_kernels_in_c_are_right_there(helium_build: Build, full: bool) -> None:
    found = one_of_each()
    for dtype in ("q7", "q15"):
        layers = (
            make_layer("conv2d", (7, 6, 4), dtype=dtype, out_channels=6, kernel=3, stride=(1, 2), out_shift=8),
            make_layer("depthwise_conv2d", (7, 7, 6), dtype=dtype, kernel=3, padding=1, out_shift=6),
            make_layer("fully_connected", (37,), dtype=dtype, out_channels=7, out_shift=7),
        )
        for layer in layers:
            own = set(helium_variants(layer.python_op, dtype))
            for variant in device_variants(layer.python_op, dtype, FEATURES):
                if variant not in own and not variant.fused_pool:
                    assert not variant.inner.startswith("asm")
                    if device_variant_problem(layer, variant, FEATURES) is None:
                        found.append(Case(layer, variant, input_offset=1, output_offset=3))
    assert_kernel(helium_build, sample(found, helium_build, full, most=30))


def test_vectors_are_for_cores_that_have_them() -> None:
    for op in ("convolve", "depthwise_convolve", "fully_connected"):
        for dtype in ("q7", "q15"):
            assert all(variant.inner == "helium" for variant in helium_variants(op, dtype))
            for core in CORES.values():
                if core.features.isa < Isa.HELIUM:
                    assert not set(helium_variants(op, dtype)) & set(device_variants(op, dtype, core.features))
