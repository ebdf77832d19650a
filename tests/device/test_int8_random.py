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
SAMPLE, FULL = 1, 100
"""Layers of a kind for each core, compiler and level."""


@pytest.mark.emulated
def test_random_layers_equal_the_definition(build: Build, full: bool) -> None:
    first = build.index * FULL
    assert_kernel(
        build,
        [
            affine_case(seed, op, choose, dsp=build.dsp)
            for kind, (op, choose) in KINDS.items()
            if OF_DSP.get(kind, build.dsp) == build.dsp
            for seed in range(first, first + (FULL if full else SAMPLE))
        ],
    )
