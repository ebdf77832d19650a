# SPDX-License-Identifier: Apache-2.0
"""A flash budget that the object keeps: choose, compile, see what each kernel takes, and choose again.

How much code a compiler makes of a kernel nobody knows beforehand: estimates of single ones are a third off. So where
flash is short, the choice by estimates is compiled. What its kernels take is known from then on, whatever is chosen
beside them, and the choice is made anew, until none with kernels not seen yet looks better. The plan is the best of
those that were compiled and fit, and its bytes are the object's.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import astuple, replace
from typing import TYPE_CHECKING

import numpy as np

from ..base.errors import InfeasibleError
from ..cost import Estimates
from ..plan.frontier import point_of
from ..plan.infeasible import infeasible
from ..plan.planner import choose_placed
from ..plan.problem import Choice
from .chained import Found, Network, choose_chained, worth_of
from .options import network_problem

if TYPE_CHECKING:
    from ..measure.firmware import Compiled

ROUNDS = 8
"""Choices that are compiled at most on the way to the best plan, and on the way to the smallest."""
GAIN, LESS = 0.01, 0.0025
"""What a choice has to promise over the best that was compiled to be compiled too: of what counts, and of flash on the
way to the smallest.
"""
CAUTION, HOPE = 1.0, -0.5
"""Deviations by which code that was not seen is taken for longer: for every choice in a row that did not fit, and on
the way to the smallest.
"""
NEAR = 4.0
"""Times as much as the common ratio that of the same kernel says; half of it for every knob that differs."""


class _Seen:
    """What a compiler made of kernels of a network, and what that says of its others.

    Code that was seen is known, by the kernel. Where a compiler makes more of kernels than was estimated, it does so
    with others that are like them: their estimates are scaled. What a network takes beside code and weights of its
    layers is the most that was seen.
    """

    def __init__(self, network: Network) -> None:
        self.network = network
        self.code: dict[Hashable, int] = {}
        self.ratios: list[dict[int, float]] = [{} for _ in network.tables]
        self.other = 0

    def learn(self, choice: Choice, made: Compiled) -> None:
        """Take in what was made of a choice."""
        own: dict[Hashable, int] = {}
        rest = made.flash_bytes - self.network.problem.constant_bytes
        taken = False
        options = zip(self.network.problem.given, choice.rows, made.code_bytes, strict=True)
        for at, (item, row, code) in enumerate(options):
            if not taken:
                rest -= int(item.weights_bytes[row])
                kernel = item.kernels[row]
                own[kernel] = code
                if kernel not in self.code:
                    self.ratios[at][row] = float(np.log(code / item.code_bytes[row]))
            taken = item.fused is not None and bool(item.fused[row])
        for kernel, code in own.items():
            self.code[kernel] = max(code, self.code.get(kernel, 0))
        self.other = max(self.other, rest - sum(own.values()))

    def known(self, caution: float) -> Network:
        """The network with code as it was seen, and else as it is estimated, and `caution` deviations longer."""
        given = self.network.problem.given
        every = [ratio for ratios in self.ratios for ratio in ratios.values()]
        common = sum(every) / (len(every) + 2)
        tables = tuple(
            self._table(table, item.kernels, _scales(table, ratios, common), caution)
            for table, item, ratios in zip(self.network.tables, given, self.ratios, strict=True)
        )
        options = {
            at: replace(item, code_bytes=table.code_bytes)
            for at, (item, table) in enumerate(zip(given, tables, strict=True))
        }
        own = self.network
        about = own.graph, own.where, tables, own.chains, options
        return replace(own, tables=tables, problem=network_problem(*about, fed=own.problem.fed, other=self.other))

    def _table(self, table: Estimates, kernels: Sequence[Hashable], scale: np.ndarray, caution: float) -> Estimates:
        found = [self.code.get(kernel) for kernel in kernels]
        seen = np.array([code is not None for code in found])
        likely = np.rint(scale * (table.code_bytes + caution * table.code_spread)).astype(np.int64)
        code = np.where(seen, [code or 0 for code in found], likely)
        return replace(table, code_bytes=code, code_spread=np.where(seen, 0.0, table.code_spread))


def _scales(table: Estimates, ratios: Mapping[int, float], common: float) -> np.ndarray:
    """Times its estimate that the code of each row is likely to be, by the logarithms of what was seen of some rows,
    and of all layers.
    """
    if not ratios:
        return np.full(len(table), np.exp(common))
    knobs = [astuple(variant) if variant is not None else () for variant in table.variants]
    total, weight = np.full(len(table), common), np.ones(len(table))
    for row, ratio in ratios.items():
        apart = np.array([sum(a != b for a, b in zip(own, knobs[row], strict=True)) for own in knobs])
        near = NEAR * 0.5**apart
        total, weight = total + near * ratio, weight + near
    return np.exp(total / weight)


class FlashSearch:
    """Looks for the best choice of a network whose object keeps to a flash budget.

    Parameters
    ----------
    plain : Network
        Without chains, and with code as long as it is likely to be.
    compiled : callable
        What a compiler makes of a choice in a network.
    objective : str
    sram : int or None
    flash : int

    Raises
    ------
    InfeasibleError
        Nothing fits the SRAM.
    """

    def __init__(
        self,
        plain: Network,
        compiled: Callable[[Network, Choice], Compiled],
        objective: str,
        sram: int | None,
        flash: int,
    ) -> None:
        self.compiled, self.objective, self.sram, self.flash = compiled, objective, sram, flash
        try:
            self.network = choose_chained(plain, objective, sram, flash)[0]
        except InfeasibleError:
            self.network = choose_chained(plain, objective, sram, None)[0]
        self.made: dict[tuple[int, ...], Compiled] = {}

    def best(self) -> Found:
        """The best choice, with what was seen of kernels, and with the bytes of its object.

        Raises
        ------
        InfeasibleError
            Not even the smallest that was found fits.
        """
        seen = _Seen(self.network)
        found = self._rounds(seen, self.objective, self.flash)
        if found is None:
            # From nothing, whatever the budget: what a refusal names is found again by who asks for it.
            least = self._rounds(seen := _Seen(self.network), "flash", None)
            assert least is not None
            if least.flash_bytes > self.flash:
                raise infeasible(seen.known(0).problem, self.sram, self.flash, least)
            found = self._rounds(seen, self.objective, self.flash, least)
            assert found is not None
        return seen.known(0), found

    def as_compiled(self, choice: Choice) -> Choice:
        """A choice with the bytes of its object."""
        if choice.rows not in self.made:
            self.made[choice.rows] = self.compiled(self.network, choice)
        return replace(choice, flash_bytes=self.made[choice.rows].flash_bytes)

    def _rounds(self, seen: _Seen, objective: str, flash: int | None, best: Choice | None = None) -> Choice | None:
        """The best choice that was compiled and fits; `best` is one already."""
        failed = 0
        gain = GAIN if flash is not None else LESS
        for _ in range(ROUNDS):
            network = seen.known(HOPE if flash is None else CAUTION * failed)
            try:
                choice = choose_placed(network.problem, objective, self.sram, flash)
            except InfeasibleError:
                break
            if best is not None and _worth(objective, choice) > (1 - gain) * _worth(objective, best):
                break
            own = self.as_compiled(choice)
            seen.learn(choice, self.made[choice.rows])
            fits = flash is None or own.flash_bytes <= flash
            failed = 0 if fits or best is not None else failed + 1
            if fits and (best is None or _worth(objective, own) < _worth(objective, best)):
                best = own
        return best


def _worth(objective: str, choice: Choice) -> float:
    """What counts first."""
    return worth_of(objective, point_of(choice))[0]
