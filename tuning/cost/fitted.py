# SPDX-License-Identifier: Apache-2.0
"""Coefficients that were fitted on emulated runs, as ``cmsisnn-tune calibrate`` wrote them: data of this
package, one file per core.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from cmsisnn_x.isa import Features
from cmsisnn_x.layers import Layer
from cmsisnn_x.variant import Variant

from .neighbours import Neighbours, Reach, group_of
from .op_cost import Timing
from .ops import cost_of, has_twin, is_twins_code, price, twin_of

SCHEMA = "coefficients-4"
NOT_IN_FAMILY = ("im2col_cols",)
"""Knobs whose effect the counts hold entirely."""
VECTORS = " inner=helium"
"""In the names of families and groups of them."""


class Sizes(NamedTuple):
    """Bytes of a compiled kernel with the function around it.

    `code` is the median, `spread` the standard deviation of its logarithm, once shapes that are alike have told;
    `most_stack` is a bound.
    """

    code: int
    spread: float
    most_stack: int


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
    sizes : mapping
        Family or group of them -> bytes of machine code, and of stack.
    residuals : mapping
        Family -> median and worst relative error on the runs that it was fitted on, and their number.
    errors : mapping
        Set of layers -> operation and types -> figures: relative errors on layers that were not fitted, see
        `tuning.calibrate.judge`.
    neighbours, code : Neighbours
        What the fit of cycles, and the medians of code, left over on the layers that were seen, to correct estimates of
        those near to them.
    """

    core: str
    compiler: str = ""
    cflags: tuple[str, ...] = ()
    families: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    groups: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    sizes: Mapping[str, Sizes] = field(default_factory=dict)
    residuals: Mapping[str, tuple[float, float, int]] = field(default_factory=dict)
    errors: Mapping[str, Mapping[str, Mapping[str, float]]] = field(default_factory=dict)
    neighbours: Neighbours = field(default_factory=Neighbours)
    code: Neighbours = field(default_factory=Neighbours)

    def over(self, before: Coefficients) -> Coefficients:
        """These, and of `before` what is not here: kinds that were not fitted, families that were not emulated."""
        kept = {name: cycles for name, cycles in before.families.items() if name not in self.families}
        return replace(
            self,
            families={**kept, **self.families},
            groups={**before.groups, **self.groups},
            sizes={**before.sizes, **self.sizes},
            residuals={**before.residuals, **self.residuals},
            neighbours=self.neighbours.over(before.neighbours),
            code=self.code.over(before.code),
        )

    def of(self, name: str, prior: Callable[[], np.ndarray]) -> np.ndarray:
        """Cycles of one run of each part of a family: as fitted, else what its relatives make of `prior`."""
        known = self.families.get(name)
        return np.array(known) if known is not None else prior() * np.array(self.factors(name) or 1.0)

    def size_of(self, name: str) -> Sizes | None:
        """Bytes of a family, or of its nearest relatives; None where nothing like it was compiled."""
        return next((self.sizes[each] for each in (name, *ancestors(name)) if each in self.sizes), None)

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
    is_byte = layer.type.is_affine and layer.type.bits == 8  # unsigned ones become signed at the border
    dtype = twin_of(layer).dtype if is_twins_code(layer) else "int8" if is_byte else layer.dtype
    head = f"{layer.op} {dtype} {layer.weights_dtype or '-'}"
    compiled = [op.as_compiled(layer, variant) for variant in variants]
    return [f"{head}{knobs_of(variant)}{op.sizes(layer, variant, features)}" for variant in compiled]


def prior(
    layer: Layer, variant: Variant | None, found: Coefficients, features: Features, timing: Timing
) -> np.ndarray:
    """Cycles of one run of each part, before anything of the family itself is known: the instruction mix; of layers
    with zero points what was fitted for their twin, and by the mix what they do more.
    """
    own = price(layer, variant, features, timing)
    if not has_twin(layer):
        return own
    twin = twin_of(layer)
    mix = price(twin, variant, features, timing)
    if is_twins_code(layer):  # of the twin's family, whose factors come on top
        return mix
    return np.asarray(found.of(family(twin, variant, features), lambda: mix) + (own - mix), float)


def ancestors(name: str) -> tuple[str, str, str]:
    """The groups of a family, the nearest first: all that differ from it in blocking, unrolling and windows alone; all
    that bring the input to an inner product of its kind; all of the operation and its types, vectors and C apart.

    Examples
    --------
    >>> ancestors("conv2d q7 q7 unroll=4 block_rows=2 block_cols=2 lowering=direct weight_layout=interleaved")
    ('conv2d q7 q7 lowering=direct weight_layout=interleaved', 'conv2d q7 q7 lowering=direct *', 'conv2d q7 q7 **')
    """
    group, kind = group_of(name), " ".join(name.split()[:3])
    widest = f"{kind}{VECTORS} **" if VECTORS in name else f"{kind} **"
    return group, re.sub(r" (weight_layout|rescale|cut)=\w+", "", group) + " *", widest


@cache
def knobs_of(variant: Variant | None) -> str:
    """A variant's part in the name of a family."""
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
    text = stored(core)
    return Coefficients(core) if text is None else from_json(text)


def stored(name: str) -> str | None:
    """Text of a file of coefficients; None where there is none of that name."""
    file = Path(__file__).parent / "coefficients" / f"{name}.json"
    return file.read_text(encoding="utf-8") if file.is_file() else None


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
        {name: Sizes(*bytes_) for name, bytes_ in content["sizes"].items()},
        {name: tuple(entry["residuals"]) for name, entry in entries.items() if "residuals" in entry},
        content["errors"],
        _neighbours(content["places"], entries, "left", content.get("reach", {})),
        _neighbours(content["code_places"], entries, "code"),
    )


def _neighbours(
    places: Mapping[str, Any],
    entries: Mapping[str, Any],
    key: str,
    reach: Mapping[str, Sequence[float]] = MappingProxyType({}),
) -> Neighbours:
    return Neighbours(
        {op: tuple(tuple(place) for place in known) for op, known in places.items()},
        {name: tuple(entry[key]) for name, entry in entries.items() if key in entry},
        {op: Reach(*far) for op, far in reach.items()},
    )


def to_json(found: Coefficients) -> str:
    """Text of a coefficients file: a family per line, so that a change of one shows as one."""
    head: dict[str, object] = {
        "schema": SCHEMA,
        "core": found.core,
        "compiler": found.compiler,
        "cflags": list(found.cflags),
        "errors": found.errors,
    }
    if found.neighbours.reach:
        head["reach"] = found.neighbours.reach
    lines = json.dumps(head, indent=1)[:-2]
    groups = [f"  {json.dumps(name)}: {json.dumps(list(found.groups[name]))}" for name in sorted(found.groups)]
    sizes = [f"  {json.dumps(name)}: {json.dumps(list(found.sizes[name]))}" for name in sorted(found.sizes)]
    rows = []
    for name in sorted(found.families):
        entry: dict[str, object] = {}
        if name in found.residuals:
            entry["residuals"] = list(found.residuals[name])
        entry["cycles"] = list(found.families[name])
        for key, left in (("left", found.neighbours.left), ("code", found.code.left)):
            if name in left:
                entry[key] = list(left[name])
        rows.append(f"  {json.dumps(name)}: {json.dumps(entry)}")
    return (
        f"{lines},\n"
        + _places("places", found.neighbours)
        + _places("code_places", found.code)
        + ' "groups": {\n'
        + ",\n".join(groups)
        + '\n },\n "sizes": {\n'
        + ",\n".join(sizes)
        + '\n },\n "families": {\n'
        + ",\n".join(rows)
        + "\n }\n}\n"
    )


def _places(key: str, found: Neighbours) -> str:
    rows = [
        f"  {json.dumps(op)}: [\n   " + ",\n   ".join(json.dumps(list(place)) for place in known) + "\n  ]"
        for op, known in found.places.items()
    ]
    return f' "{key}": {{\n' + ",\n".join(rows) + "\n },\n"


def figure(core: str, kind: str, name: str, layers: str = "unseen") -> float | None:
    """One stored error figure, for benchmarks that track it: ``figure("cortex-m4", "conv2d q7", "near_median")``.

    `kind` is an operation and its types, `name` one of the figures of `tuning.calibrate.judge`, `layers` the set that
    they were measured on; None where nothing was.
    """
    return coefficients(core).errors.get(layers, {}).get(kind, {}).get(name)
