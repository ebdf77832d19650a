# SPDX-License-Identifier: Apache-2.0
"""A plan.json of anybody: what of it reaches a compiler, a path, a kernel or a terminal is checked before it does.

`read_plan_file` is what every reader calls: `cmsisnn-tune compare` for the figures, `tuning.measure.folder` for the
layers that it compiles and runs. Each problem is one line, ``key: expected ..., got ...``; what was got is shown as
Python would, cut.
"""

from __future__ import annotations

import os
import reprlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from cmsisnn_x.chain import Chain
from cmsisnn_x.chained import chain_of, fed_inputs
from cmsisnn_x.errors import CmsisnnError
from cmsisnn_x.graph import Graph
from cmsisnn_x.layers import Layer
from cmsisnn_x.variant import Variant

from ..base.cflags import cflags_problem
from ..base.errors import OptionError
from ..base.files import read_json
from ..base.names import layer_name_problem, model_name_problem
from ..base.units import line_problem
from ..schemas import published
from ..schemas.check import first_problem
from .graph_fields import graph_problem, read_graph
from .layer_fields import layers_problem, misfits, read_layer
from .plan import SCHEMA

SCHEMAS = (SCHEMA, "plan-1")
"""What is read; the first is what is written."""

LARGEST = 2**63
"""No count of a plan comes near it; sums and ratios of what is smaller are numbers too."""

LARGEST_REAL = 2.0**128
"""Scales are numbers of 32 bits: below it."""

_LINES = ("dtype", "target", "core", "compiler", "objective", "score", "strategy")


@dataclass(frozen=True)
class PlanFile:
    """What a plan.json says.

    Attributes
    ----------
    path : str
        For messages.
    content : mapping
        All of it, fit to be shown.
    """

    path: str
    content: Mapping[str, Any]

    @property
    def has_digests(self) -> bool:
        """Whether it says which weights it was made for: plan-1 does not."""
        return self.content["schema"] == SCHEMA

    @property
    def fused_into(self) -> tuple[str | None, ...]:
        """For every layer that another one's kernel runs, that one's name."""
        return tuple(entry.get("fused_into") for entry in self.content["layers"])

    def layers(self) -> tuple[tuple[Layer, Variant | None], ...]:
        """The layers without their arrays, fit for a kernel, and their variants.

        Raises
        ------
        OptionError
            A layer that no kernel runs, or tensors that no memory holds.
        """
        read = []
        for entry in self.content["layers"]:
            try:
                read.append(read_layer(entry))
            except ValueError as wrong:
                raise OptionError(f"{self.path}: layer {entry['name']}: {wrong}") from None
        if problem := layers_problem([layer for layer, _ in read]):
            raise OptionError(f"{self.path}: {problem}")
        self.graph([layer for layer, _ in read])
        return tuple(read)

    def graph(self, layers: Sequence[Layer], values: Mapping[str, np.ndarray] | None = None) -> Graph | None:
        """The graph of the layers; None where the plan names no tensors, so that they are a chain.

        Parameters
        ----------
        layers : sequence of Layer
            Those of the plan, with or without arrays.
        values : mapping, optional
            Of the tensors that are constants, and what states begin with. Default: zeros.

        Raises
        ------
        OptionError
            Tensors that do not fit the layers.
        """
        try:
            return read_graph(self.content, layers, values or {})
        except ValueError as wrong:
            raise OptionError(f"{self.path}: {wrong}") from None

    def by_rows(self, graph: Graph) -> set[str]:
        """The inputs of which rows alone are in memory."""
        offsets = _feed_offsets(self.content)
        if len(offsets) != len(graph.inputs) and "feed" in self.content:
            raise CmsisnnError(f"feed_offsets: expected {len(graph.inputs)} places, got {len(offsets)}")
        return {name for name, offset in zip(graph.inputs, offsets, strict=False) if offset is not None}

    def chains(self, graph: Graph, variants: Sequence[Variant | None]) -> dict[int, Chain]:
        """The layers that run band by band, by the index of the first.

        Raises
        ------
        CmsisnnError
            Layers that make no chain, or not in such bands.
        """
        entries, found, at = self.content["layers"], {}, 0
        by_rows = self.by_rows(graph)
        for step in self.content.get("steps", []):
            end = at + len(step["layers"])
            if step["kind"] == "chain":
                bands = [entry["band"] for entry in entries[at:end]]
                own = graph.nodes[at:end]
                fed = [name for name in fed_inputs(graph, own) if name in by_rows]
                if len(own) < 2 - len(fed):
                    raise CmsisnnError(f"chain: expected two and more layers, or rows that come in, got {own[0].name}")
                found[at] = chain_of(graph, own, variants[at:end], bands, fed=fed, room=step.get("room"))
                for entry, ring in zip(entries[at:end], found[at].own_rings, strict=True):
                    expected = 0 if ring is None else ring.rows
                    if entry["ring_rows"] != expected:
                        got = f"expected {expected}, got {entry['ring_rows']}"
                        raise CmsisnnError(f"layer {entry['name']}: ring_rows: {got}")
            at = end
        return found


def read_plan_file(path: str | os.PathLike[str]) -> PlanFile:
    """Read a plan.json of this version or an earlier one.

    Raises
    ------
    OptionError
        No such file, not a plan, or one with names, texts, flags or numbers that this tool does not write.
    """
    try:
        content = read_json(path)
    except FileNotFoundError:
        raise OptionError(f"{path}: no such file") from None
    except (OSError, ValueError) as failed:
        why = getattr(failed, "strerror", None) or failed
        raise OptionError(f"{path}: cannot be read: expected a plan.json, got {why}") from None
    found = content.get("schema") if isinstance(content, dict) else type(content).__name__
    if found not in SCHEMAS or not isinstance(content, dict):
        expected = " or ".join(map(repr, SCHEMAS))
        raise OptionError(f"{path}: expected a plan.json, schema {expected}, got {reprlib.repr(found)}")
    schema = published(str(found))
    if missing := [key for key in schema["required"] if key not in content]:
        raise OptionError(f"{path}: not a plan that this version can read: {missing[0]}: missing")
    # The schema comes last: the others say more.
    if problem := (
        plan_problem(content) or graph_problem(content) or first_problem(schema, content) or _steps_problem(content)
    ):
        raise OptionError(f"{path}: {problem}")
    return PlanFile(os.fspath(path), content)


def _feed_offsets(plan: Mapping[str, Any]) -> list[int | None]:
    """Per input where its rows lie; a plan of one input has the first."""
    found: list[int | None] = plan.get("feed_offsets", [plan.get("feed_offset")])
    return found


def plan_problem(plan: Mapping[str, Any]) -> str | None:
    """The first thing that is wrong with names, texts, flags or numbers of a plan; ``None`` if nothing."""
    return next(_problems(plan), None)


def _problems(plan: Mapping[str, Any]) -> Iterator[str]:
    yield from _numbers(plan)
    yield from _named("model", plan.get("model"), model_name_problem)
    for key in _LINES:
        if key in plan and (problem := line_problem(plan[key])):
            yield f"{key}: {problem}"
    if (compiler := plan.get("flash_compiled_by")) is not None and (problem := line_problem(compiler)):
        yield f"flash_compiled_by: {problem}"
    if problem := cflags_problem(plan.get("cflags")):
        yield f"cflags: {problem}"
    layers = plan.get("layers")
    if not isinstance(layers, list) or not all(isinstance(entry, dict) for entry in layers):
        yield f"layers: expected a list of layers, got {reprlib.repr(layers)}"
        return
    if not layers:
        yield "layers: expected at least one, got none"
    seen: dict[str, str] = {}
    for index, entry in enumerate(layers):
        name = entry.get("name")
        yield from _named(f"layers[{index}].name", name, lambda text: layer_name_problem(text, seen))
        seen[name.lower()] = name
        yield from (f"layer {name}: {problem}" for problem in (*_texts(entry), *misfits(entry)))
    for before, entry in pairwise([{"name": None}, *layers]):
        into = entry.get("fused_into")
        if into is not None and (into != before["name"] or before.get("fused_into") is not None):
            expected = f"the layer before it, {before['name']!r}" if before["name"] else "none, as it comes first"
            if before.get("fused_into") is not None:
                expected = f"none, as {before['name']!r} is run by another"
            yield f"layer {entry['name']}: fused_into: expected {expected}, got {reprlib.repr(into)}"


def _steps_problem(plan: Mapping[str, Any]) -> str | None:
    """What is wrong with the steps of a plan whose layers are right."""
    expected: list[dict[str, Any]] = []
    entries = {entry["name"]: entry for entry in plan["layers"]}
    chained: set[str] = set()
    for step in plan.get("steps", []):
        if step["kind"] != "chain":
            if "room" in step:
                return f"steps: expected a room of chains alone, got {reprlib.repr(step)}"
            continue
        keys = {"band", "ring_rows", "ring_offset"}
        missing = [name for name in step["layers"] if not keys <= entries.get(name, {}).keys()]
        is_fed = any(offset is not None for offset in _feed_offsets(plan))
        if missing or len(step["layers"]) < 2 - is_fed:
            expected_of = "chains of two and more layers that have a band, ring_rows and ring_offset"
            return f"steps: expected {expected_of}, got {reprlib.repr(step['layers'])}"
        chained.update(step["layers"][1:])
    only = {step["layers"][0] for step in plan.get("steps", []) if step["kind"] == "chain" and len(step["layers"]) == 1}
    for entry in plan["layers"]:
        if entry["name"] in chained and expected:
            expected[-1] = {"layers": [*expected[-1]["layers"], entry["name"]], "kind": "chain"}
        elif entry["name"] in only:
            expected.append({"layers": [entry["name"]], "kind": "chain"})
        elif (into := entry.get("fused_into")) is None:
            expected.append({"layers": [entry["name"]], "kind": "layer"})
        else:
            expected[-1] = {"layers": [into, entry["name"]], "kind": "fused_pool"}
    given = [{key: step[key] for key in ("layers", "kind")} for step in plan.get("steps", expected)]
    if given == expected:
        return None
    return f"steps: expected those that fused_into of the layers gives, got {reprlib.repr(plan['steps'])}"


def _numbers(node: Any) -> Iterator[str]:
    """Numbers that no figure can be; what is nested too deep was no JSON that can be read."""
    todo = [node]
    while todo:
        item = todo.pop()
        if isinstance(item, dict):
            todo += item.values()
        elif isinstance(item, list):
            todo += item
        elif isinstance(item, int) and not abs(item) < LARGEST:
            yield f"the file: expected numbers below 2**63, got {reprlib.repr(item)}"
        elif isinstance(item, float) and not abs(item) < LARGEST_REAL:
            yield f"the file: expected numbers below 2**128, got {reprlib.repr(item)}"


def _named(where: str, name: Any, problem_of: Any) -> Iterator[str]:
    if problem := line_problem(name) or problem_of(name):
        yield f"{where}: {problem}"


def _texts(entry: Mapping[str, Any]) -> Iterator[str]:
    """What of a layer is printed though it may be anything."""
    if "op" in entry and (problem := line_problem(entry["op"])):
        yield f"op: {problem}"
    for which in ("variant", "pins") if "pins" in entry else ("variant",):
        knobs = entry.get(which)
        if not isinstance(knobs, dict):
            yield f"{which}: expected an object, got {reprlib.repr(knobs)}"
            return
        for key, value in knobs.items():
            if problem := line_problem(key):
                yield f"{which}: a knob's name: {problem}"
            if isinstance(value, str) and (problem := line_problem(value)):
                yield f"{which}.{key}: {problem}"
            elif not isinstance(value, str | int | float):
                yield f"{which}.{key}: expected a number or a text, got {reprlib.repr(value)}"
