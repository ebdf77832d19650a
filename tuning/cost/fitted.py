# SPDX-License-Identifier: Apache-2.0
"""Coefficients that were fitted on emulated runs, as ``cmsisnn-tune calibrate`` wrote them: data of this
package, one file per core.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from cmsisnn_x.isa import Features
from cmsisnn_x.layers import Layer
from cmsisnn_x.variant import Variant

from .neighbours import Neighbours
from .ops import cost_of

SCHEMA = "coefficients-3"
NOT_IN_FAMILY = ("im2col_cols",)
"""Knobs whose effect the counts hold entirely."""


@dataclass(frozen=True)
class Coefficients:
    """What was fitted for one core.

    Attributes
    ----------
    families : mapping
        Family -> cycles of one run of each part, in the order of `ops.parts_of`.
    groups : mapping
        Groups of families, as `ancestors` names them -> factors on the instruction mix that they share: for families
        that were not fitted by themselves.
    code_bytes, stack_bytes : mapping
        Family -> bytes of machine code, and the deepest stack that was seen; families without are unknown.
    residuals : mapping
        Family -> median and worst relative error on the runs that it was fitted on, and their number.
    errors : mapping
        Set of layers -> operation and types -> figures: relative errors on layers that were not fitted, see
        `tuning.calibrate.judge`.
    neighbours : Neighbours
        What the fit left over on the layers that it saw, to correct estimates of those near to them.
    """

    core: str
    compiler: str = ""
    cflags: tuple[str, ...] = ()
    families: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    groups: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    code_bytes: Mapping[str, int] = field(default_factory=dict)
    stack_bytes: Mapping[str, int] = field(default_factory=dict)
    residuals: Mapping[str, tuple[float, float, int]] = field(default_factory=dict)
    errors: Mapping[str, Mapping[str, Mapping[str, float]]] = field(default_factory=dict)
    neighbours: Neighbours = field(default_factory=Neighbours)

    def factors(self, name: str) -> tuple[float, ...] | None:
        """What the nearest relatives of a family that was not fitted have in common."""
        return next((self.groups[each] for each in ancestors(name) if each in self.groups), None)


def family(layer: Layer, variant: Variant | None, features: Features) -> str:
    """Name of the code that a variant compiles to, whatever the geometry.

    Examples
    --------
    >>> from cmsisnn_x.isa import Isa
    >>> from cmsisnn_x.variant import Variant
    >>> layer = Layer("c", "conv2d", "q7", (8, 8, 4), (8, 8, 8), weights_dtype="q7")
    >>> family(layer, Variant(unroll=4), Features(Isa.DSP))
    'conv2d q7 q7 unroll=4 block_rows=2 block_cols=2'
    """
    return families(layer, (variant,), features)[0]


def families(layer: Layer, variants: Sequence[Variant | None], features: Features) -> list[str]:
    """`family` of each of many variants of one layer."""
    op = cost_of(layer)
    head = f"{layer.op} {layer.dtype} {layer.weights_dtype or '-'}"
    compiled = [op.as_compiled(layer, variant) for variant in variants]
    return [f"{head}{_knobs(variant)}{op.sizes(layer, variant, features)}" for variant in compiled]


def ancestors(name: str) -> tuple[str, str, str]:
    """The groups of a family, the nearest first: all that differ from it in blocking, unrolling and windows alone; all
    that bring the input to an inner product of its kind; all of the operation and its types.

    Examples
    --------
    >>> ancestors("conv2d q7 q7 unroll=4 block_rows=2 block_cols=2 lowering=direct weight_layout=interleaved")
    ('conv2d q7 q7 lowering=direct weight_layout=interleaved', 'conv2d q7 q7 lowering=direct *', 'conv2d q7 q7 **')
    """
    group = re.sub(r" (unroll|block_rows|block_cols|kernel|stride)=\w+", "", name)
    return group, re.sub(r" weight_layout=\w+", "", group) + " *", " ".join(name.split()[:3]) + " **"


@cache
def _knobs(variant: Variant | None) -> str:
    if variant is None:
        return ""
    always = ("unroll", "block_rows", "block_cols")
    neutral = Variant()
    chosen = {name: getattr(variant, name) for name in variant.__dataclass_fields__ if name not in NOT_IN_FAMILY}
    return "".join(
        f" {name}={value}" for name, value in chosen.items() if name in always or value != getattr(neutral, name)
    )


@cache
def coefficients(core: str) -> Coefficients:
    """The fitted coefficients of a core; empty if there are none."""
    file = Path(__file__).parent / "coefficients" / f"{core}.json"
    if not file.is_file():
        return Coefficients(core)
    return from_json(file.read_text(encoding="utf-8"))


def from_json(text: str) -> Coefficients:
    content = json.loads(text)
    if content.get("schema") != SCHEMA:
        raise ValueError(f"coefficients: expected schema {SCHEMA!r}, got {content.get('schema')!r}")
    entries = content["families"]
    return Coefficients(
        content["core"],
        content["compiler"],
        tuple(content["cflags"]),
        {name: tuple(entry["cycles"]) for name, entry in entries.items()},
        {name: tuple(factors) for name, factors in content["groups"].items()},
        {name: entry["code_bytes"] for name, entry in entries.items() if "code_bytes" in entry},
        {name: entry["stack_bytes"] for name, entry in entries.items() if "stack_bytes" in entry},
        {name: tuple(entry["residuals"]) for name, entry in entries.items() if "residuals" in entry},
        content["errors"],
        Neighbours(
            tuple(tuple(place) for place in content["places"]),
            {name: tuple(entry["left"]) for name, entry in entries.items() if "left" in entry},
        ),
    )


def to_json(found: Coefficients) -> str:
    """Text of a coefficients file: a family per line, so that a change of one shows as one."""
    head = {
        "schema": SCHEMA,
        "core": found.core,
        "compiler": found.compiler,
        "cflags": list(found.cflags),
        "errors": found.errors,
    }
    lines = json.dumps(head, indent=1)[:-2]
    places = [f"  {json.dumps(list(place))}" for place in found.neighbours.places]
    groups = [f"  {json.dumps(name)}: {json.dumps(list(found.groups[name]))}" for name in sorted(found.groups)]
    rows = []
    for name in sorted(found.families):
        entry: dict[str, object] = {}
        for key, sizes in (("code_bytes", found.code_bytes), ("stack_bytes", found.stack_bytes)):
            if name in sizes:
                entry[key] = sizes[name]
        if name in found.residuals:
            entry["residuals"] = list(found.residuals[name])
        entry["cycles"] = list(found.families[name])
        if name in found.neighbours.left:
            entry["left"] = list(found.neighbours.left[name])
        rows.append(f"  {json.dumps(name)}: {json.dumps(entry)}")
    return (
        f'{lines},\n "places": [\n'
        + ",\n".join(places)
        + '\n ],\n "groups": {\n'
        + ",\n".join(groups)
        + '\n },\n "families": {\n'
        + ",\n".join(rows)
        + "\n }\n}\n"
    )


def figure(core: str, kind: str, name: str, layers: str = "unseen") -> float | None:
    """One stored error figure, for benchmarks that track it: ``figure("cortex-m4", "conv2d q7", "near_median")``.

    `kind` is an operation and its types, `name` one of the figures of `tuning.calibrate.judge`, `layers` the set that
    they were measured on; None where nothing was.
    """
    return coefficients(core).errors.get(layers, {}).get(kind, {}).get(name)
