# SPDX-License-Identifier: Apache-2.0
"""Element-wise multiplication on the device: every shift, saturation, the one product whose rounding wraps."""

from __future__ import annotations

import numpy as np
import pytest

from helpers.device import Build, Case, assert_kernel, check_on_host, draw, host_compiler, sample
from helpers.layers import make_layer


def cases() -> list[Case]:
    found = []
    for dtype in ("q7", "q15"):
        for shift in range(32):
            shape = ((1,), (5, 3, 3), (64,), (31,))[shift % 4]
            layer = make_layer("multiply", shape, dtype=dtype, out_shift=shift)
            other = draw(shape, dtype, f"other {shift}")
            found.append(
                Case(layer, other=other, input_offset=(None, 1, 2)[shift % 3], output_offset=(None, 3)[shift % 2])
            )
    wraps = make_layer("multiply", (4,), dtype="q15", out_shift=31)
    found.append(Case(wraps, input=np.full(4, -32768), other=np.array([-32768, 32767, 1, 0])))
    return found


def test_multiply_equals_the_definition(build: Build, full: bool) -> None:
    assert_kernel(build, sample(cases(), build, full, most=17))


@pytest.mark.full
def test_host_build_is_clean_under_sanitizers() -> None:
    check_on_host(cases(), host_compiler())
