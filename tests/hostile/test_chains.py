# SPDX-License-Identifier: Apache-2.0
"""Plans with chains by strangers: which rows are made when is proved before anything is compiled."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import tuning
from helpers.chained import any_chains, drawn
from tuning.measure import folder
from tuning.measure.folder import FolderError

from .test_graph_plans import no_compiler as no_compiler

SEED = 16
"""A network whose layers are one chain."""
Edit = Callable[[dict[str, Any]], object]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    plan = any_chains(drawn(SEED), "cortex-m7", SEED)
    assert plan is not None
    assert len(plan.chains) == 1
    made = tmp_path_factory.mktemp("chain")
    tuning.emit(plan, made)
    return made


def layers(plan: dict[str, Any]) -> list[dict[str, Any]]:
    return [entry for entry in plan["layers"] if "band" in entry]


def put(at: int, key: str, value: object) -> Edit:
    return lambda plan: layers(plan)[at].__setitem__(key, value)


def chain(plan: dict[str, Any]) -> dict[str, Any]:
    return next(step for step in plan["steps"] if step["kind"] == "chain")


def split(plan: dict[str, Any]) -> None:
    """One chain as two of the same layers."""
    at = plan["steps"].index(own := chain(plan))
    plan["steps"][at : at + 1] = [{**own, "layers": own["layers"][:2]}, {**own, "layers": own["layers"][2:]}]


EDITS: dict[str, tuple[Edit, str]] = {
    "no rows at a time": (put(0, "band", 0), "band: expected"),
    "more rows than a byte counts": (put(0, "band", 300), "band: expected"),
    "rows in fractions": (put(0, "band", 1.5), "band: expected"),
    "rows below zero": (put(0, "band", -1), "band: expected"),
    "rows as a text": (put(0, "band", "4"), "band: expected"),
    "no band": (lambda plan: layers(plan)[1].pop("band"), "steps: expected chains of two and more layers that have"),
    "no band of any": (lambda plan: [one.pop("band") for one in layers(plan)], "steps: expected chains"),
    "a ring of other rows": (put(0, "ring_rows", 99), "ring_rows: expected"),
    "a ring of no rows": (put(0, "ring_rows", 0), "ring_rows: expected"),
    "a ring behind the last": (put(-1, "ring_rows", 3), "ring_rows: expected 0, got 3"),
    "a ring of rows below zero": (put(0, "ring_rows", -4), "ring_rows: expected"),
    "no ring": (lambda plan: layers(plan)[0].pop("ring_rows"), "steps: expected chains of two and more"),
    "no place of a ring": (lambda plan: layers(plan)[0].pop("ring_offset"), "steps: expected chains of two and more"),
    "a ring nowhere": (put(0, "ring_offset", -4), "ring_offset: expected"),
    "a chain of one": (lambda plan: chain(plan).update(layers=chain(plan)["layers"][:1]), "steps: expected chains of"),
    "a chain of nobody": (lambda plan: chain(plan).update(layers=["nobody", "else"]), "steps: expected chains of"),
    "a chain backwards": (lambda plan: chain(plan)["layers"].reverse(), "steps: expected"),
    "two chains where rows differ": (split, "ring_rows: expected 0, got"),
    "a step too many": (lambda plan: plan["steps"].append(chain(plan)), "steps: expected"),
    "a kind of nobody": (lambda plan: chain(plan).update(kind="ring"), "kind: expected"),
    "a chain that commands": (lambda plan: chain(plan).update(layers=["\x1b[31m", "b"]), "steps"),
}


ROOM = "expected rings and scratch in a multiple of 4 from"
SHARED: dict[str, tuple[Edit, str]] = {
    "no room": (lambda plan: chain(plan).update(room=0), "room: expected"),
    "a room below zero": (lambda plan: chain(plan).update(room=-8), "room: expected"),
    "a room of a few bytes": (lambda plan: chain(plan).update(room=16), ROOM),
    "a room of a word less": (lambda plan: chain(plan).update(room=chain(plan)["room"] - 4), ROOM),
    "a room of no words": (lambda plan: chain(plan).update(room=chain(plan)["room"] + 2), ROOM),
    "more room than two bytes count": (lambda plan: chain(plan).update(room=262_144), "room: expected"),
    "a room as a text": (lambda plan: chain(plan).update(room="4096"), "room: expected"),
    "a room that is true": (lambda plan: chain(plan).update(room=True), "room: expected"),
    "a room in fractions": (lambda plan: chain(plan).update(room=4096.5), "room: expected"),
    "a room of none": (lambda plan: chain(plan).update(room=None), "room: expected"),
    "a room of a layer": (lambda plan: plan["steps"][-1].update(kind="layer", room=64), "steps: expected"),
}


@pytest.fixture(scope="module")
def sharing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rings of its chain share their memory."""
    plan = tuning.tune(drawn(SEED), tuning.load_target("cortex-m7"), objective="sram")
    assert [chain.room > 0 for chain in plan.chains.values()] == [True]
    made = tmp_path_factory.mktemp("shared")
    tuning.emit(plan, made)
    return made


@pytest.mark.usefixtures("no_compiler")
@pytest.mark.parametrize("case", EDITS)
def test_a_strangers_chain_is_refused_in_a_sentence(case: str, original: Path) -> None:
    refused_in_a_sentence(original, *EDITS[case])


@pytest.mark.usefixtures("no_compiler")
@pytest.mark.parametrize("case", SHARED)
def test_a_strangers_room_is_refused_in_a_sentence(case: str, sharing: Path) -> None:
    refused_in_a_sentence(sharing, *SHARED[case])


def refused_in_a_sentence(original: Path, edit: Edit, says: str) -> None:
    path = original / "plan.json"
    text = path.read_text()
    edit(content := json.loads(text))
    try:
        path.write_text(json.dumps(content))
        with pytest.raises(FolderError, match=re.escape(says)) as refused:
            folder.load(original)
    finally:
        path.write_text(text)
    assert refused.value.exit_status == 2
    assert len(str(refused.value).splitlines()) == 1
    assert str(refused.value).isprintable()


def test_what_is_not_changed_is_taken(original: Path, sharing: Path) -> None:
    assert folder.load(original).chains
    assert folder.load(sharing).chains
