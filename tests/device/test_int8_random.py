# SPDX-License-Identifier: Apache-2.0
"""Random layers with zero points at their extremes, by every family of kernels; poisoned outputs, guarded buffers."""

from __future__ import annotations

import pytest

from helpers.affine_random import affine_case
from helpers.device import Build, assert_kernel

KINDS = {
    "winograd": ("conv2d", lambda variant: variant.lowering == "winograd" and not variant.fused_pool),
    "two-dimensional winograd": ("conv2d", lambda variant: variant.lowering == "winograd_2d"),
    "packed columns": ("conv2d", lambda variant: variant.column_layout == "packed"),
    "paired columns": ("conv2d", lambda variant: variant.column_layout == "paired"),
    "fused pooling": ("conv2d", lambda variant: variant.fused_pool),
    "convolution": ("conv2d", lambda variant: variant.lowering != "winograd" and not variant.fused_pool),
    "depthwise": ("depthwise_conv2d", lambda variant: True),
    "dense": ("fully_connected", lambda variant: True),
}
OF_DSP = {"packed columns": False, "paired columns": True}
SAMPLE, FULL = 3, 100
"""Layers of a kind for each core, compiler and level."""


@pytest.mark.emulated
@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=pytest.mark.dsp(OF_DSP[kind])) if kind in OF_DSP else kind for kind in KINDS]
)
def test_random_layers_equal_the_definition(build: Build, kind: str, full: bool) -> None:
    op, choose = KINDS[kind]
    count = FULL if full else SAMPLE
    first = build.index * FULL
    assert_kernel(build, [affine_case(seed, op, choose, dsp=build.dsp) for seed in range(first, first + count)])
