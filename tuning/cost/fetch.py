# SPDX-License-Identifier: Apache-2.0
"""How many bytes of code the loops of a kernel run through, and what an instruction cache that does not hold them makes
of it: data of this package as ``cmsisnn-tune calibrate --fetch`` wrote them, one file per core.

A kernel is a nest of loops. A cache that drops what was used longest ago either holds a loop's code, which is then
fetched once each time the loop is entered, or drops every line before it comes round again.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from math import inf

import numpy as np

from cmsisnn_x.isa import Features
from cmsisnn_x.layers import Layer
from cmsisnn_x.variant import Variant

from .fitted import knobs_of, stored
from .ops import OPS
from .ops.twins import is_single

SCHEMA = "fetch-1"
LEVELS = {
    "convolve": ("runs", "blocks", "groups", "fills"),
    "depthwise_convolve": ("blocks", "channels", "fills"),
    "fully_connected": ("turns", "blocks"),
}
"""Parts that are turns of the loops of a nest, from the innermost; the loop around steps of an inner product always
fits but for five rows of coupled weights.
"""
WRITTEN_OUT = 16
"""Passes up to which GCC writes out all runs of a block where none has a loop of its own; found by trying."""
UNSURE = 0.1
"""Share of a cache's size around it within which a loop may fit or not: sizes are known no better."""

Size = tuple[float, float, float]
"""Bytes of a loop: those that all have, of each pass that is written out, and where single elements are left."""


@dataclass(frozen=True)
class Nests:
    """Of one core: family -> size of the loop of each level, where it has one."""

    core: str
    compiler: str = ""
    cflags: tuple[str, ...] = ()
    families: Mapping[str, Mapping[str, Size]] = field(default_factory=dict)


def types_of(layer: Layer) -> str:
    """What of a layer's types its loops depend on: how outputs are made, where there are zero points."""
    return f"{layer.dtype} single" if layer.type.is_affine and is_single(layer) else layer.dtype


def family(layer: Layer, variant: Variant | None, features: Features, types: str) -> str:
    """Name of the code whose loops are alike: as `fitted.family`, but for zero points apart from powers of two."""
    op = OPS[layer.python_op]
    return f"{layer.op} {types}{knobs_of(variant)}{op.sizes(layer, variant, features)}"


def turns(layer: Layer, counts: np.ndarray) -> dict[str, np.ndarray]:
    """How often the loop of each level of a layer turns, of all variants."""
    columns = _columns(layer, counts)
    own = {name: columns[name] + columns.get(f"left_{name}", 0) for name in LEVELS[layer.python_op] if name in columns}
    return {name: values for name, values in own.items() if values.any()}


def features_of(layer: Layer, variants: Sequence[Variant | None], counts: np.ndarray) -> np.ndarray:
    """What the size of a loop is linear in, by variant: 1, passes written out, whether single elements are left."""
    columns = _columns(layer, counts)
    found = np.zeros((len(counts), 3))
    found[:, 0] = 1

    def both(name: str) -> np.ndarray:
        return columns[name] + columns.get(f"left_{name}", 0) if name in columns else np.zeros(len(counts))

    if layer.op == "conv2d":
        runs = np.maximum(columns["runs"], 1)
        passes, loops = (both("steps") + both("straight_steps")) / runs, np.rint(both("turns") / runs)
        # Assembly in four columns takes two steps at a time; in C short loops are of one.
        each = np.array([v.unroll * (2 if v.inner != "c" and v.block_cols == 4 else 1) for v in variants if v])
        written = np.where(loops > 0, passes - (loops - 1) * np.where(loops < passes, each, 1), passes)
        of_block = np.rint(columns["runs"] / np.maximum(both("blocks"), 1))
        copies = np.where((loops == 0) & (written * of_block <= WRITTEN_OUT), of_block, 1)
        found[:, 1] = written * copies
        found[:, 2] = (both("singles") > 0) * copies
    elif layer.op == "depthwise_conv2d":
        channels = np.maximum(columns["channels"], 1)
        rolled = columns["turns"] > 0
        across = np.where(rolled, channels, columns["blocks"]) + columns["left_blocks"]
        found[:, 1] = np.where(columns["channels"] > 0, across / channels, 0)
    elif layer.op == "fully_connected":
        blocks = np.maximum(columns["blocks"], 1)
        passes, loops = columns["steps"] / blocks, columns["turns"] / blocks
        each = np.array([2 * v.unroll if v.weight_layout == "coupled" else 0 for v in variants if v])
        found[:, 1] = np.where(each > 0, passes - np.maximum(loops - 1, 0) * each, 0)
    return found


def fetched_bytes(
    layer: Layer,
    variants: Sequence[Variant | None],
    counts: np.ndarray,
    capacity: float,
    core: str,
    features: Features,
) -> np.ndarray:
    """Bytes of code fetched anew as a cache of `capacity` does not hold a loop; NaN where its size is not known."""
    found = np.full(len(variants), np.nan)
    known = nests(core).families
    if layer.python_op not in LEVELS or not known:
        return found
    often = {level: values.tolist() for level, values in turns(layer, counts).items()}
    about = features_of(layer, variants, counts).tolist()
    types = types_of(layer)
    unsure = max(UNSURE * capacity, 1)
    for at, variant in enumerate(variants):
        # Outputs of a single rounding have less code: the rest stands for what was not observed.
        names = (family(layer, variant, features, each) for each in (types, types.split()[0]))
        sizes = next((known[name] for name in names if name in known), None)
        if sizes is None:
            continue
        total, inner, turned = 0.0, 0.0, inf
        for level, values in often.items():
            if level not in sizes or not 0 < values[at] <= turned:
                continue  # what turns more often is not around it
            turned = values[at]
            size = max(sum(a * b for a, b in zip(about[at], sizes[level], strict=True)), inner)
            missed = min(max(0.5 + (size - capacity) / unsure, 0), 1)
            # A turn fetches its own code, and what is within: at least once.
            every = values[at] * (size - inner) + max(total, values[at] * inner)
            total += missed * (every - total)
            inner = size
        found[at] = total
    return found


def _columns(layer: Layer, counts: np.ndarray) -> dict[str, np.ndarray]:
    return dict(zip(OPS[layer.python_op].parts, counts.T, strict=True))


@cache
def nests(core: str) -> Nests:
    """What is known of a core's loops; nothing where no file is."""
    text = stored(f"fetch-{core}")
    return Nests(core) if text is None else from_json(text)


def from_json(text: str) -> Nests:
    content = json.loads(text)
    if content.get("schema") != SCHEMA:
        raise ValueError(f"fetch: expected schema {SCHEMA!r}, got {content.get('schema')!r}")
    families = {
        name: {level: tuple(size) for level, size in sizes.items()} for name, sizes in content["families"].items()
    }
    return Nests(content["core"], content["compiler"], tuple(content["cflags"]), families)


def to_json(found: Nests) -> str:
    """Text of a file, a family per line."""
    head = json.dumps({"schema": SCHEMA, "core": found.core, "compiler": found.compiler, "cflags": list(found.cflags)})
    rows = [f"  {json.dumps(name)}: {json.dumps(_listed(sizes))}" for name, sizes in sorted(found.families.items())]
    return f'{head[:-1]}, "families": {{\n' + ",\n".join(rows) + "\n}}\n"


def _listed(sizes: Mapping[str, Iterable[float]]) -> dict[str, list[float]]:
    return {level: list(size) for level, size in sizes.items()}
