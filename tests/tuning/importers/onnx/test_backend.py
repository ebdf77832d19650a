# SPDX-License-Identifier: Apache-2.0
"""ONNX's own backend tests: every one is taken and right within quantisation error, or refused in one sentence."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest

from helpers import onnx_backend
from helpers.onnx_backend import Case, Outcome, as_float, as_graph, as_quantised, cases, judged

SPARSE = 11
READERS = {
    "float": as_float, "graph": as_graph, "float16x8": partial(as_float, scheme="int16x8"), "quantised": as_quantised,
}  # fmt: skip
NAMED = ("input", "output", "opset", "layer", "AVERAGE_POOL_2D", "standard ONNX operators")
"""What a refusal is about, where it is no operator."""
LEAST = {"float": 225, "graph": 200, "float16x8": 165, "quantised": 245}
"""Tests that were taken when this was written: fewer is a loss."""


@pytest.mark.full
@pytest.mark.parametrize("reader", READERS)
def test_every_backend_test_is_right_or_refused(reader: str, full: bool) -> None:
    way: Callable[[Case], Outcome] = READERS[reader]
    picked = cases() if full else cases()[::SPARSE]
    found = [way(case) for case in picked]
    assert [one for one in found if one.verdict in ("wrong", "crashed")] == []
    assert sum(one.verdict == "taken" for one in found) * len(cases()) >= 0.8 * LEAST[reader] * len(picked)
    for one in found:
        if one.verdict == "refused":
            assert one.text.count("\n") == 0, one
            assert any(part in one.text for part in (*one.operators, *NAMED)), one


@pytest.mark.full
def test_the_judge_sees_elements_out_of_place() -> None:
    """Outputs turned by one element are wrong, wherever neighbours differ by more than the error that is allowed."""
    for name in ("test_relu", "test_basic_conv_with_padding", "test_averagepool_2d_default", "test_transpose_default"):
        (case,) = (one for one in cases() if one.name == name)
        (value,) = case.wanted
        step, none = float(np.ptp(value)) / 255, [np.zeros(value.shape)]
        assert judged(case, [value + 0.9 * step], [step], none) == ""
        assert "beyond quantisation error" in judged(case, [np.roll(value, 1)], [step], none)
    assert judged(case, [value.ravel()[1:]], [step], none) == f"output 0: {value.size - 1} numbers for {value.size}"


def test_every_reason_has_a_group() -> None:
    refused = Outcome("", ("Conv",), "refused", "case.onnx: the Conv node that gives 'y': no kernel for it")
    taken = Outcome("", ("Conv", "Relu"), "taken")
    assert onnx_backend.table([refused, taken]).splitlines() == [
        "1 taken, 1 refused, 0 wrong, 0 crashed, 0 no floats",
        "  refused 1: an operator that is not claimed",
        "  taken: Relu 1",
    ]
