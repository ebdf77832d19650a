# SPDX-License-Identifier: Apache-2.0
"""What tests of several rooms share: one emulated plan, which takes a while to make."""

from __future__ import annotations

from pathlib import Path

import pytest

import tuning

MODEL, TARGET, TRIALS_HERE = "digits", "cortex-m7", 4


@pytest.fixture(scope="session")
def alone(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """The plan that one process makes, and its records."""
    records = tmp_path_factory.mktemp("alone") / "records.sqlite"
    model, target = tuning.load_model(MODEL), tuning.load_target(TARGET)
    plan = tuning.tune(model, target, score="emulate", trials=TRIALS_HERE, records=records)
    return plan.to_json(), records
