# SPDX-License-Identifier: Apache-2.0
"""Flash and stack that a plan states are no less than what the compiler makes and what a run takes."""

from __future__ import annotations

from dataclasses import replace

import pytest

import tuning
from helpers.drawn_networks import KINDS, draw
from helpers.figures import examine, report, under_budget
from tuning.base.errors import InfeasibleError


@pytest.mark.parametrize(
    ("kind", "core"),
    [
        pytest.param(kind, core, marks=[pytest.mark.full] if (turn + at) % 2 else [])
        for turn, kind in enumerate(KINDS)
        for at, core in enumerate(("cortex-m0plus", "cortex-m4"))
    ],
)
def test_stated_bytes_are_near_what_is_made_and_hardly_less(kind: str, core: str) -> None:
    found = examine(draw(kind, 3), tuning.load_target(core))
    stated, taken = found["stack"]
    assert stated is not None
    assert taken <= stated
    stated, taken = found["flash"]
    assert 0.9 * taken <= stated <= 1.75 * taken  # a bound that three networks of a hundred may exceed, not by much
    assert 0.75 * taken <= found["likely"] <= 1.25 * taken
    assert found["likely"] < stated
    assert abs(found["estimated"] / found["emulated"] - 1) < 0.25
    assert kind in report([found | {"core": core, "kind": kind}])


def test_a_budget_is_kept_by_what_is_compiled() -> None:
    found = under_budget(tuning.load_model("digits"), tuning.load_target("cortex-m4"), 0.3)
    assert found is not None
    stated, taken = found["flash"]
    assert taken == stated <= found["budget"]


def test_nothing_is_promised_that_the_code_may_exceed() -> None:
    model, target = tuning.load_model("digits"), tuning.load_target("cortex-m4")
    plan = tuning.tune(model, target, objective="flash")
    assert plan.totals["likely_flash_bytes"] < plan.totals["flash_bytes"]
    assert plan.totals["flash_bytes"] == sum(item.flash_bytes for item in plan.layers)
    with pytest.raises(InfeasibleError):
        tuning.tune(model, target, flash_bytes=plan.totals["likely_flash_bytes"], compiled=False)


def test_a_plan_with_a_kernel_that_was_never_compiled_knows_no_stack(monkeypatch: pytest.MonkeyPatch) -> None:
    from tuning.cost import fitted

    known = fitted.coefficients("cortex-m4")
    less = replace(known, sizes={name: size for name, size in known.sizes.items() if not name.startswith("softmax")})
    monkeypatch.setattr(fitted, "coefficients", lambda core: less)
    plan = tuning.tune(tuning.load_model("digits"), tuning.load_target("cortex-m4"))
    assert plan.totals["stack_bytes"] is None
