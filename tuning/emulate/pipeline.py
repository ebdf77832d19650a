# SPDX-License-Identifier: Apache-2.0
"""Pipeline models: how many cycles a basic block takes, at zero wait states.

A model is data, `SingleIssue` or `DualIssue`, and the small piece of code that reads it. Prices are fixed rules that
everyone can check. Their numbers come from Arm's TRM DDI 0439 (M3, M4), TI SWCU192 and SWCU185, the measured rules in
github.com/jnk0le/random (``cortex_m3m4.md``, ``cortex_m7.md``, ``cortex_m33.md``) and LLVM's ``ARMScheduleM7.td``.
Held against boards: Kyber's NTT on an M4 4426 cycles (board 4456), its inverse 4602 (4635), base multiplication 1235
(1201); on an M7 the CMSIS-NN paper's network with Arm's kernels 97.5 ms at 216 MHz (board 99.1).

Boards may give their core other numbers (`pipeline_of`), and add what the rules leave out: `refine` finds address
hazards and the like, `waits` prices wait states, caches, bank conflicts and unaligned accesses. FPU latencies are not
modelled.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from ..target import Target
from ..target.cores import CORES
from .instructions import Instruction
from .mve_rules import HeliumIssue

Block = Sequence[Instruction]


@dataclass(frozen=True)
class SingleIssue:
    """In order, one instruction at a time: M0+, M3, M4, M33.

    `load_pipelined` is a load straight after another single load or store of its block. A load or store of N words
    takes ``multiple + N``. `multiply_long` is every multiply but the plain MUL. A taken branch adds `refill`.
    """

    load: int = 2
    load_pipelined: int = 1
    store: int = 1
    multiple: int = 1
    divide: int = 7
    multiply_long: int = 1
    refill: int = 2

    def block_cycles(self, block: Block) -> int:
        cycles = 0
        after_memory = False
        for item in block:
            cycles += self._cycles(item, after_memory)
            after_memory = item.kind in ("ld", "st")
        return cycles

    def _cycles(self, item: Instruction, after_memory: bool) -> int:
        match item.kind:
            case "ld":
                return self.load_pipelined if after_memory else self.load
            case "st":
                return self.store
            case "ldm" | "stm":
                return self.multiple + item.words
            case "div":
                return self.divide
            case "mul" if item.mnemonic != "mul":
                return self.multiply_long
        return 1

    def edge_cycles(self, previous: Block | None, block: Block) -> int:
        """Cycles of `block` when it runs right after `previous`."""
        return self.block_cycles(block)

    def branch_cycles(self, not_taken: int, taken: int) -> int:
        """Cycles that the outcomes of one branch add."""
        return self.refill * taken


@dataclass(frozen=True)
class DualIssue:
    """In order, two instructions per cycle: M7.

    Two of one class in `alone` never pair, nor do the pairs in `conflicts`. Loads and stores of several registers
    issue alone and move `words_per_cycle`. Extensions, bit fields, saturation and SEL must be the older of their pair.
    `latency` is the cycles until a result can be read; a multiply feeds an accumulator after `accumulate`. Of the
    outcomes of a branch the rarer one costs `mispredict`, the other nothing.
    """

    width: int = 2
    alone: frozenset[str] = frozenset({"mul", "br", "it", "div", "st"})
    conflicts: frozenset[frozenset[str]] = frozenset({frozenset({"mul", "st"})})
    words_per_cycle: int = 2
    latency: dict[str, int] = field(default_factory=lambda: {"ld": 2, "ldm": 2, "mul": 2})
    accumulate: int = 1
    divide: int = 7
    mispredict: int = 6

    def block_cycles(self, block: Block) -> int:
        cycle = 0
        issued: list[str] = []
        ready: dict[int, int] = {}
        ready_to_accumulate: dict[int, int] = {}
        for item in block:
            start = cycle
            for register in item.reads:
                table = ready_to_accumulate if register == item.accumulator else ready
                start = max(start, table.get(register, 0))
            if start > cycle:
                cycle, issued = start, []
            if not self._pairs(item, issued):
                cycle, issued = cycle + 1, []
            issued.append(item.kind)
            latency = self.latency.get(item.kind, 1)
            for register in item.writes:
                ready[register] = cycle + latency
                ready_to_accumulate[register] = cycle + (self.accumulate if item.kind == "mul" else latency)
            if item.kind in ("ldm", "stm"):
                cycle += (item.words - 1) // self.words_per_cycle
            elif item.kind == "div":
                cycle += self.divide - 1
        return cycle + 1

    def paired_loads(self, block: Block) -> list[bool]:
        """Per instruction of `block`: whether it is a load that issues in the cycle of the load before it."""
        cycles = [self.block_cycles(block[: at + 1]) for at in range(len(block))]
        return [
            at > 0 and item.kind == block[at - 1].kind == "ld" and cycles[at] == cycles[at - 1]
            for at, item in enumerate(block)
        ]

    def _pairs(self, item: Instruction, issued: list[str]) -> bool:
        """Whether `item` can issue in the cycle in which `issued` already did."""
        if not issued:
            return True
        if len(issued) >= self.width or item.is_extension or item.kind in ("ldm", "stm"):
            return False
        return all(
            other not in ("ldm", "stm")
            and not (other == item.kind and other in self.alone)
            and frozenset({other, item.kind}) not in self.conflicts
            for other in issued
        )

    def edge_cycles(self, previous: Block | None, block: Block) -> int:
        """Cycles that `block` adds right after `previous`: pairing and latencies carry over the edge."""
        if previous is None:
            return self.block_cycles(block)
        return self.block_cycles([*previous, *block]) - self.block_cycles(previous)

    def branch_cycles(self, not_taken: int, taken: int) -> int:
        """Cycles that the outcomes of one branch add."""
        return self.mispredict * min(not_taken, taken)


Pipeline = SingleIssue | DualIssue | HeliumIssue

MODELS: dict[str, Callable[..., Pipeline]] = {"single": SingleIssue, "dual": DualIssue, "helium": HeliumIssue}
"""What a core's row may name as its `pipeline`."""

PIPELINES: dict[str, Pipeline] = {
    core.name: MODELS[core.pipeline](**core.pipeline_cycles) for core in CORES.values()
}
"""The model of every core."""


def pipeline_of(target: Target | str) -> Pipeline:
    """The model of a core; a board that declares other `timing` than its core gets one with its numbers."""
    if isinstance(target, str):
        return PIPELINES[target]
    model = PIPELINES[target.core]
    if target.is_core or target.timing == target.core_timing or isinstance(model, HeliumIssue):
        return model
    timing = {name: round(cycles) for name, cycles in target.timing.items()}
    if isinstance(model, DualIssue):
        latency = dict.fromkeys(("ld", "ldm"), timing["load_latency"]) | {"mul": timing["multiply_latency"]}
        return replace(model, divide=timing["divide"], mispredict=timing["branch_mispredicted"], latency=latency)
    return replace(
        model,
        load=timing["load"],
        load_pipelined=timing["load_next"],
        store=timing["store"],
        multiple=timing["multiple_base"],
        divide=timing["divide"],
        multiply_long=timing["multiply_accumulate"] if CORES[target.core].thumb2 else model.multiply_long,
        refill=timing["branch_taken"],
    )
