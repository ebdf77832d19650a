# SPDX-License-Identifier: Apache-2.0
"""Why a plan has the variant that it has: where a layer's cycles go, what came second, what one other knob would cost,
and what a larger budget would buy.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from cmsisnn_x.layers import Layer
from cmsisnn_x.variant import Variant

from ..base import yaml_file
from ..base.errors import OptionError
from ..base.options import Memory
from ..base.units import show_size
from ..cost import Estimates, estimate_space, expected_error, fitted_compiler, is_guess
from ..plan import LayerPlan, Plan
from ..plan.problem import Problem
from ..search.space import Place, SearchSpace, places, search_space
from ..target import Target
from ..target.cores import CORES

WORDS = {
    "im2col": "bringing the input into place",
    "multiply_accumulate": "the inner product (multiplies and their loads)",
    "requantise": "starting, rounding, saturating and storing outputs",
    "loop": "loops and calls",
    "memory": "waiting for memories",
}
"""What each term of an estimate counts."""


def words(term: str, layer: Layer) -> str:
    """What a term counts in this layer: operations without weights have no product."""
    return "loading and combining the elements" if term == "multiply_accumulate" and not layer.macs else WORDS[term]


VALUES_PER_KNOB = 3
"""Other values of a knob that are shown: those that cost least."""


@dataclass(frozen=True)
class Term:
    """A part of a layer's cycles. `per_mac` is None for operations without weights."""

    name: str
    cycles: int
    share: float
    per_mac: float | None


@dataclass(frozen=True)
class Limit:
    """Cycles per multiply-accumulate that the core's multiplier alone takes; `why` says how many products it does."""

    per_mac: float
    why: str


@dataclass(frozen=True)
class Candidate:
    """A variant of the layer, everything else in the plan unchanged.

    Attributes
    ----------
    cycles : int
        Emulated where `emulated`, else estimated; in an emulated plan, an estimate is scaled by what emulation found
        for the chosen variant.
    change : float
        Relative to the chosen variant's cycles: 0.1 is 10 % more.
    over : mapping
        Bytes by which the network would exceed its ``"sram"`` or ``"flash"`` budget; empty where it fits.
    changes : mapping
        Knob -> value here, for every knob that differs from the chosen variant's.
    """

    variant: Variant
    cycles: int
    emulated: bool
    change: float
    terms: dict[str, int]
    scratch_bytes: int
    flash_bytes: int
    sram_total: int
    flash_total: int
    over: dict[Memory, int]
    changes: dict[str, Any]


@dataclass(frozen=True)
class Neighbour:
    """The least costly variant with another value of one knob; `also` are the knobs that had to change with it."""

    knob: str
    value: str
    candidate: Candidate
    also: dict[str, Any]


@dataclass(frozen=True)
class Explanation:
    """Why one layer of a plan is what it is; `runner_up` and the rest are empty where the operation has one kernel.

    `unlocked` are faster variants that the budgets exclude, by the bytes that they need, ascending; `passed_over` is
    the fastest variant inside the budgets, where the objective preferred another one. Where some variants also run the
    pooling layer behind the convolution (`pool`), every candidate's cycles, terms and flash are those of both layers,
    `chosen`'s too.
    """

    plan: Plan
    item: LayerPlan
    cycles_are: str
    terms: tuple[Term, ...]
    limit: Limit | None
    considered: int
    legal: int
    chosen: Candidate | None
    pool: str | None
    runner_up: Candidate | None
    neighbours: tuple[Neighbour, ...]
    unlocked: tuple[Candidate, ...]
    passed_over: Candidate | None

    @property
    def chain(self) -> str:
        """That the layer runs in a chain, and what that is for; empty where it does not."""
        return next((chain_text(self.plan, first) for first, step in _chains(self.plan) if self.item in step), "")

    @property
    def bottleneck(self) -> Term:
        return max(self.terms, key=lambda term: term.cycles)


def check_names(names: Sequence[str], layers: Sequence[Layer]) -> None:
    """Raise `OptionError` for a name that no layer has."""
    known = [layer.name for layer in layers]
    for name in names:
        if name not in known:
            raise OptionError(f"--explain: no layer is called {name!r}; {yaml_file.suggest(name, known)}")


def explain(plan: Plan, name: str) -> Explanation:
    """Explain the choice for one layer.

    Parameters
    ----------
    plan : Plan
        As :func:`tuning.tune` made it.
    name : str
        Name of the layer.

    Returns
    -------
    Explanation

    Raises
    ------
    OptionError
        No layer has this name.
    ValueError
        The plan does not know what its search looked at.
    """
    check_names([name], [item.layer for item in plan.layers])
    if len(plan.tables) != len(plan.layers):
        raise ValueError("plan: expected one that tuning.tune made in this process, got one without its search")
    index = next(at for at, item in enumerate(plan.layers) if item.layer.name == name)
    item = plan.layers[index]
    table = plan.tables[index]
    emulated = table.emulated_cycles is not None
    where = places(plan.graph, plan.target.features, plan.chains)
    follower = where[index].follower
    space = search_space(item.layer, plan.target, follower)
    if item.band:
        # Of those that make other numbers of rows at a time nothing can be said without another chain.
        space = SearchSpace(item.layer, tuple(one for one in table.variants if one is not None))
    candidates = _Candidates(plan, where, index, space, table) if item.variant and len(space) else None
    pool = follower if candidates else None
    return Explanation(
        plan=plan,
        item=item,
        cycles_are="emulated" if emulated else "estimated",
        terms=_terms(item),
        limit=multiplier_limit(item.layer, item.variant, plan.target),
        considered=len(table),
        legal=len(space) or 1,
        chosen=candidates.make(candidates.chosen) if candidates else None,
        pool=pool.name if pool else None,
        runner_up=candidates.runner_up() if candidates else None,
        neighbours=candidates.neighbours() if candidates else (),
        unlocked=candidates.unlocked() if candidates else (),
        passed_over=candidates.passed_over() if candidates else None,
    )


def _chains(plan: Plan) -> Iterator[tuple[int, tuple[LayerPlan, ...]]]:
    for first, chain in plan.chains.items():
        yield first, plan.layers[first : first + len(chain.own)]


def chain_text(plan: Plan, first: int) -> str:
    """What runs as one chain, a few rows at a time."""
    chain = plan.chains[first]
    bands = [link.band for link in chain.own]
    names = chain.own[0].layer.name, chain.own[-1].layer.name
    rows = f"{min(bands)}" if min(bands) == max(bands) else f"{min(bands)} to {max(bands)}"
    what = f"bands of {rows} row{'s' * (max(bands) > 1)}, with {chain.ring_bytes:,} bytes of rings"
    if len(bands) == 1:
        return f"{names[0]} runs in {what} for the rows that come in"
    return f"{names[0]} to {names[1]} run as one chain of {what} between them"


def chains_gain(plan: Plan) -> str:
    """What chains save and cost against the fastest plan without; empty where there are none."""
    if not plan.chains or plan.unchained is None or plan.unchained["sram_bytes"] <= plan.totals["sram_bytes"]:
        return ""
    less = plan.unchained["sram_bytes"] - plan.totals["sram_bytes"]
    more = plan.totals["cycles"] / plan.unchained["cycles"] - 1
    return f"{show_size(less)} less for {more:.1%} more cycles than the fastest plan without chains"


def _terms(item: LayerPlan) -> tuple[Term, ...]:
    total, macs = item.cycles or 1, item.layer.macs
    return tuple(
        Term(name, cycles, cycles / total, cycles / macs if macs else None)
        for name, cycles in item.terms.items()
        if cycles
    )


def multiplier_limit(layer: Layer, variant: Variant | None, target: Target) -> Limit | None:
    """Cycles per multiply-accumulate below which no schedule of this product can go: the multiplier is busy.

    Notes
    -----
    products per multiply-accumulate x cycles per multiplier instruction / products per instruction. Winograd's tiles
    take ``tile + kernel_w - 1`` products where the plain sum takes ``tile * kernel_w``.
    """
    if not layer.macs:
        return None
    timing, vector = target.timing, CORES[target.core].vector_cycles
    if vector and (variant is None or variant.inner == "helium"):
        lanes = 16 // layer.type.dtype.itemsize
        return Limit(vector / lanes, f"VMLADAV does {lanes} products in {vector}")
    if target.dsp:
        cost, why = timing["multiply_accumulate"] / 2, "SMLAD does two products"
    else:
        cost = min(timing["multiply_accumulate"], timing["multiply"] + timing["alu"])
        why = "a multiply and an add per product"
        if variant is not None and variant.column_layout == "packed":
            return Limit(cost * 2 / 3, f"{why}, packed columns take two for three")
    if variant is not None and variant.lowering == "winograd":
        products = (variant.tile + layer.kernel[1] - 1) / (variant.tile * layer.kernel[1])
        return Limit(cost * products, f"{why}, Winograd leaves {products:.2f} products per MAC")
    if variant is not None and variant.lowering == "winograd_2d":
        products = 36 / 144 if layer.kernel == (3, 3) else 56 / 200
        return Limit(cost * products, f"{why}, Winograd leaves {products:.2f} products per MAC")
    return Limit(cost, why)


def error_bar(plan: Plan, item: LayerPlan) -> tuple[float, float] | None:
    """Median relative error of the model on layers like this one that it was not fitted on, and a bound that hardly any
    exceeds.

    None where that is not known, as for code of another compiler, and for emulated cycles, which have none.
    """
    if item.emulated_cycles is not None or is_guess(item.layer) or plan.compiler != fitted_compiler(plan.target):
        return None
    return expected_error(item.layer.op, plan.target, _types(item))


def _types(item: LayerPlan) -> str:
    """The types of a layer as errors are told apart by."""
    layer = item.layer
    weights = f" {layer.weights_dtype}" if layer.weights_dtype not in (None, layer.dtype) else ""
    return f"{layer.dtype}{weights}{' fused' if item.takes_in_next else ''}"


UNKNOWN_SHARE = 0.01
"""Of a network's cycles, what layers of unknown errors may take where that of the network is stated."""


def network_error_bar(plan: Plan) -> tuple[float, float] | None:
    """The error of the network's cycles, if every layer erred by its median, or its worst, to the same side: a bound,
    as errors of different layers partly cancel. None if the error of layers is not known that take more than a
    hundredth; others count as wholly wrong.
    """
    median = worst = unknown = 0.0
    for item in plan.layers:
        known = error_bar(plan, item)
        if known is None:
            unknown += item.cycles if item.emulated_cycles is None else 0
            continue
        median += known[0] * item.cycles
        worst += known[1] * item.cycles
    total = plan.totals["cycles"]
    if not median or not total or unknown > UNKNOWN_SHARE * total:
        return None
    return (median + unknown) / total, (worst + unknown) / total


class _Candidates:
    """Every legal variant of one layer with the rest of the plan as it is.

    Where some were emulated, the others keep their estimates, scaled so that the chosen variant's estimate equals
    what was emulated: a ratio of two estimates is more trustworthy than an estimate beside an emulation.
    """

    def __init__(self, plan: Plan, where: Sequence[Place], index: int, space: SearchSpace, table: Estimates) -> None:
        self.plan, self.item = plan, plan.layers[index]
        place = where[index]
        full = table
        if not place.band:
            about = (space.layer, space.variants, plan.target, place.follower)
            full = estimate_space(*about, aligned=place.inside[0])
        at = {variant: row for row, variant in enumerate(full.variants)}
        assert self.item.variant is not None
        self.chosen = at[self.item.variant]
        cycles = full.cycles.astype(float)
        self.known = np.zeros(len(full), bool)
        rows = [at[variant] for variant in table.variants if variant is not None]
        self.seen = np.zeros(len(full), bool)
        self.seen[rows] = True
        code = full.code_bytes.copy()
        if table.emulated_cycles is not None:
            scale = self.item.cycles / cycles[self.chosen] if cycles[self.chosen] else 1.0
            cycles *= scale
            cycles[rows] = table.emulated_cycles
            self.known[rows] = True
        code[rows] = table.code_bytes  # as compiled, or as long as it may be
        self.cycles = np.rint(cycles).astype(np.int64)
        self.full = replace(full, code_bytes=code)
        self.sram, self.flash = self._totals(where, index)
        self.apart = np.zeros(len(full), bool)
        if place.follower is not None:
            self.pool = plan.tables[index + 1][0]
            self.apart = np.array([place.step(variant).pool is None for variant in full.variants])
            self.cycles += self.apart * self.pool.cycles
        self.base = int(self.cycles[self.chosen])
        self._made: dict[int, Candidate] = {}

    def _totals(self, where: Sequence[Place], index: int) -> tuple[np.ndarray, np.ndarray]:
        """What the network's SRAM and flash would be with each row in the place of the chosen one."""
        from ..search.options import network_options

        options, rows = [], []
        for at, (place, item, table) in enumerate(zip(where, self.plan.layers, self.plan.tables, strict=True)):
            taken = self.full if at == index else table.take([table.variants.index(item.variant)])
            options.append(network_options(place, taken))
            rows.append(0)
        problem = Problem(options, graph=self.plan.graph, chains=self.plan.chains)
        choices = [problem.choice_of_layers([*rows[:index], row, *rows[index + 1 :]]) for row in range(len(self.full))]
        # Of a plan that was compiled, what is no layer's.
        other = self.plan.totals["flash_bytes"] - choices[self.chosen].flash_bytes
        return np.array([c.sram_bytes for c in choices]), np.array([c.flash_bytes + other for c in choices])

    def _over(self, row: int) -> dict[Memory, int]:
        budgets: tuple[tuple[Memory, np.ndarray], ...] = (("sram", self.sram), ("flash", self.flash))
        found: dict[Memory, int] = {}
        for name, totals in budgets:
            budget = self.plan.budget[name]
            if budget is not None and totals[row] > budget:
                found[name] = int(totals[row]) - budget
        return found

    def make(self, row: int) -> Candidate:
        if row not in self._made:
            variant = self.full.variants[row]
            assert variant is not None
            item = self.full[row]
            own = int(self.cycles[row]) - (self.pool.cycles if self.apart[row] else 0)
            terms = replace(self.full.take([row]), emulated_cycles=np.array([own]))[0].terms
            if self.apart[row]:
                terms = {name: cycles + self.pool.terms[name] for name, cycles in terms.items()}
            self._made[row] = Candidate(
                variant,
                int(self.cycles[row]),
                bool(self.known[row]),
                float(self.cycles[row]) / self.base - 1 if self.base else 0.0,
                terms,
                item.scratch_bytes,
                item.flash_bytes + (self.pool.flash_bytes if self.apart[row] else 0),
                int(self.sram[row]),
                int(self.flash[row]),
                self._over(row),
                _differences(self.full.variants[self.chosen], variant),
            )
        return self._made[row]

    def _order(self, rows: np.ndarray) -> list[int]:
        """Rows by cycles, then by what they take."""
        keys = (rows, self.full.scratch_bytes[rows], self.flash[rows], self.cycles[rows])
        return [int(rows[at]) for at in np.lexsort(keys)]

    def _others(self) -> np.ndarray:
        """Rows that the search looked at, the chosen one apart."""
        return np.array([row for row in np.flatnonzero(self.seen) if row != self.chosen], int)

    def runner_up(self) -> Candidate | None:
        """The fastest other variant that fits the budgets, of those that the search looked at."""
        return next((self.make(row) for row in self._order(self._others()) if not self._over(row)), None)

    def passed_over(self) -> Candidate | None:
        found = self.runner_up()
        return found if found is not None and found.change < 0 else None

    def unlocked(self) -> tuple[Candidate, ...]:
        """Faster rows beyond the budgets: the one that needs the fewest bytes, and each for which more bytes buy
        more.
        """
        faster = [row for row in self._order(self._others()) if self.cycles[row] < self.base]
        beyond = [(sum(over.values()), self.cycles[row], row) for row in faster if (over := self._over(row))]
        best: list[int] = []
        for _, cycles, row in sorted(beyond):
            if not best or cycles < self.cycles[best[-1]]:
                best.append(row)
        shown = best if len(best) <= VALUES_PER_KNOB else [best[0], best[len(best) // 2], best[-1]]
        return tuple(self.make(row) for row in shown)

    def neighbours(self) -> tuple[Neighbour, ...]:
        """Per knob and other value of it, the variant that changes the least else; of those the fastest that fits."""
        chosen = self.full.variants[self.chosen]
        assert chosen is not None
        best: dict[str, dict[str, tuple[int, bool, int, int]]] = {}
        for row, variant in enumerate(self.full.variants):
            assert variant is not None
            changed = _differences(chosen, variant)
            for knob in changed:
                value = str(changed[knob])
                key = (len(changed), bool(self._over(row)), int(self.cycles[row]), row)
                values = best.setdefault(knob, {})
                values[value] = min(values.get(value, key), key)
        found = []
        for knob in KNOBS:
            ranked = sorted(best.get(knob, {}).items(), key=lambda entry: (entry[1][2], entry[1]))
            for value, (_, _, _, row) in ranked[:VALUES_PER_KNOB]:
                candidate = self.make(row)
                also = {name: other for name, other in candidate.changes.items() if name != knob}
                found.append(Neighbour(knob, value, candidate, also))
        return tuple(found)


KNOBS = ("block", *(field.name for field in fields(Variant) if field.name not in ("block_rows", "block_cols")))
"""The knobs as they are shown: rows and columns of a block together."""


def knobs_of(variant: Variant) -> dict[str, Any]:
    """The knobs as they are shown. `im2col_cols` is left out where there are no columns to hold."""
    shown: dict[str, Any] = {"block": f"{variant.block_rows}x{variant.block_cols}"}
    for name in KNOBS[1:]:
        if name != "im2col_cols" or variant.lowering == "im2col":
            shown[name] = getattr(variant, name)
    return shown


def _differences(chosen: Variant | None, other: Variant) -> dict[str, Any]:
    """Knob -> value of `other`, where it differs. A block of other columns brings the columns that it needs."""
    assert chosen is not None
    mine, its = knobs_of(chosen), knobs_of(other)
    changed = {name: value for name, value in its.items() if mine.get(name, value) != value}
    # Unavoidable where the held columns are no multiple of the block's.
    if "block" in changed and other.im2col_cols == other.block_cols and chosen.im2col_cols % other.block_cols:
        changed.pop("im2col_cols", None)
    return changed
