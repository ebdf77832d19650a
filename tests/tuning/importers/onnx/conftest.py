# SPDX-License-Identifier: Apache-2.0
"""Random numbers that do not depend on which tests ran before."""

from __future__ import annotations

import pytest

from helpers.onnx_layers import RNG, START


@pytest.fixture(autouse=True)
def _same_numbers_in_any_order() -> None:
    RNG.bit_generator.state = START
