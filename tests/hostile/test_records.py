# SPDX-License-Identifier: Apache-2.0
"""Records of strangers: imported by line and key, listed as far as they go."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from helpers.forked import Ended, ForkServer
from tuning.base.errors import OptionError
from tuning.measure.bench import Measurement
from tuning.measure.record import key_of, parse_line
from tuning.measure.records import Records


def line(**changes: Any) -> str:
    """An exported record; `about` and `result` with changes."""
    digest = "0" * 64
    about: dict[str, Any] = {
        "op": "convolve", "kernels": digest, "tools": digest, "layer": {}, "parameters": digest, "variant": None,
        "aligned": [True, True], "core": "cortex-m4", "target": digest, "compiler": "gcc 12", "cflags": ["-O3"],
    }  # fmt: skip
    about |= changes.get("about", {})
    result = dict.fromkeys(("cycles", "instructions", "code_bytes", "stack_bytes"), 1)
    result |= {"failure": None, "problem": None} | changes.get("result", {})
    created = changes.get("created", "2026-01-01T00:00:00+00:00")
    return json.dumps(
        {"schema": "record-1", "key": key_of(about), "created": created, "about": about, "result": result}
    )


RECORDS: dict[str, tuple[dict[str, Any], str]] = {
    "an operation that is a path": ({"about": {"op": "../convolve"}}, "about.op: expected names of operations"),
    "a list as operation": ({"about": {"op": []}}, "about.op: expected string"),
    "a kernel that is a path": ({"about": {"layer": {"kernels": ["/x"]}}}, "about.layer.kernels: expected names"),
    "kernels of a number": ({"about": {"layer": {"kernels": 5}}}, "about.layer.kernels: expected names"),
    "a pool that is a path": ({"about": {"layer": {"pool": {"op": "../x"}}}}, "about.layer.pool.op: expected names"),
    "a pool of a list": ({"about": {"layer": {"pool": []}}}, "about.layer.pool: expected an object"),
    "a core that commands": ({"about": {"core": "\x1b[31m"}}, "about.core: expected a line of printable text"),
    "a compiler of two lines": ({"about": {"compiler": "a\nb"}}, "about.compiler: expected a line"),
    "a problem of two lines": ({"result": {"failure": "fault", "problem": "a\nb"}}, "result.problem: expected one"),
    "a failure of nobody": ({"result": {"failure": "x", "problem": "y"}}, "result.failure: expected one of"),
    "cycles of 300 digits": ({"result": {"cycles": 10**300}}, "result.cycles: got "),
    "a kernel of 300 letters": ({"about": {"op": "x" * 300}}, "about.op: expected names of operations"),
    "a digest that is none": ({"about": {"kernels": "x"}}, "about.kernels: expected text like"),
}  # fmt: skip


@pytest.mark.parametrize("case", RECORDS)
def test_a_strangers_record_is_refused_by_line_and_key(refuse: Callable[..., Ended], box: Path, case: str) -> None:
    changes, says = RECORDS[case]
    with pytest.raises(OptionError, match=rf"^x:1: {re.escape(says)}"):
        parse_line(line(**changes), "x:1")
    (box / "x.jsonl").write_text(f"{line()}\n{line(**changes)}\n")
    refuse("cmsisnn-tune", "records", "import", "x.jsonl", says=f"x.jsonl:2: {says}")


def test_an_honest_record_is_taken() -> None:
    assert parse_line(line(), "x:1").about["op"] == "convolve"


ABOUT: dict[str, Any] = json.loads(line())["about"]
ROWS: dict[str, tuple[Any, Any]] = {
    "honest": (ABOUT, json.loads(line())["result"]),
    "a pool of nobody": ({**ABOUT, "layer": {"pool": {"op": "nobody"}}}, {"failure": "fault"}),
    "without digests": ({key: ABOUT[key] for key in ("op", "core", "compiler", "layer")}, {}),
    "no object": ([1], 5),
}


def test_a_strangers_record_file_is_listed_as_far_as_it_goes(server: ForkServer, box: Path) -> None:
    with closing(Records(box / "r.sqlite")) as kept:
        kept._insert([(key, "2026", *map(json.dumps, row)) for key, row in ROWS.items()])
        kept._insert([("text", "2026", "{", "\ud800".encode("utf-8", "surrogatepass"))])  # type: ignore[list-item]
        assert [record.key for record in kept] == ["a pool of nobody", "honest", "without digests"]
        assert set(kept.get([*ROWS, "text"])) == {"a pool of nobody", "honest", "without digests"}
        assert set(Measurement.known(kept.get(ROWS))) == {"honest"}
    for command, says in ((("list",), "3 evaluations"), (("list", "--failures"), "1 of 3"), (("prune",), "3 of 3")):
        ended = server.run("cmsisnn-tune", "records", *command, "--records", "r.sqlite", cwd=box)
        assert (ended.status, ended.err) == (0, "")
        assert says in ended.out


def test_a_damaged_record_file_is_one_sentence(server: ForkServer, box: Path) -> None:
    with closing(Records(box / "r.sqlite")) as kept:
        kept._insert([(f"{at:064}", "2026", "{}", "{}") for at in range(300)])
    data = (box / "r.sqlite").read_bytes()
    (box / "r.sqlite").write_bytes(data[: len(data) // 2] + bytes(len(data) - len(data) // 2))
    for command in ("list", "prune"):
        ended = server.run("cmsisnn-tune", "records", command, "--records", "r.sqlite", cwd=box)
        assert (ended.status, ended.out, ended.err.count("\n")) == (2, "", 1)
        assert "r.sqlite: a damaged record file: " in ended.err
