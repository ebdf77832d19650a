# SPDX-License-Identifier: Apache-2.0
"""Cycle rules for Cortex-M55 and Cortex-M85, at zero wait states.

In order. "After n": a result can be used n cycles after its instruction issued. Where the cores differ: M55 | M85.

====================================== ================================================================================
vector instruction                     holds its pipe 2 cycles; the next may issue after 1 on another pipe
                                       [H] [L55] [L85] [S]
pipes                                  load and store; integer; multiply and compare; system (VPST, VCTP: 1 cycle); VMOV
                                       integer or multiply [L55] [S] | load; store; A add, shift, min, max; B multiply;
                                       C compare; D VPST, VCTP; bitwise and moves A or B, 1 cycle [L85] [S]
VMLADAV, VADDV                         a general register after 3 | 4, the same accumulator after 2
                                       [S] ([L55]: 2) | [L85]
VMUL, VMLA, VQRDMULH, VMULL            after 2 [L55] [L85] [S]
VADD, VSHL, VMAX, VMOVL, VDUP, bitwise after 1 [L55] [L85] [S]
VRSHL, VQSHL, VRSHR; narrowing         after 2; 3 | 2 [L55] [L85]
VMAXV of 8, 16, 32 bits; VABAV         after 2, 3, 4; 3 | 4 [L55] [L85]
VMOV to a general register             after 1 | 4 [L55] [L85]
loads and stores of vectors            after 1 (gather 2 | VLD2, VLD4 4), a base that is written back after 1
                                       [L55] [L85] [S]
S and D registers                      after 2; lists hold their pipe a cycle a D register [L55] | assumed
ALU                                    after 1, a shifted operand 2 | 1 [L55] | [L85]
MUL, MLA; CSEL, shifts of two          after 2 [L55] [L85] (an M55's CSEL 1 by [L55])
LDR; of a byte or half, in an IT block after 2 | 1; 2 [L55] | [L85], the IT block assumed
LDRD, STRD; LDM, STM of n              2 cycles | 1; n | n / 2, alone, results after 2: assumed from [L55] | [L85]
SDIV, UDIV                             8 | 7 cycles, alone: assumed | [L85]
two scalars in a cycle                 both short, one of them ADD, SUB, MOV, extension, branch | of different units, or
                                       two ALU [L55] | [L85]
vector beside scalar                   never | as the second [L55] | [L85]
taken branch                           + 2 | + 1, mispredictions (7) not modelled: assumed from [L55] 3 | from [L85]
LE, LETP                               0 to the block itself [H]; to any other, such as the first round, + 3 | + 2:
                                       assumed
WLS, WLSTP                             + 1, and as a taken branch where the loop is skipped: assumed
M52                                    as M55, a vector instruction holds its pipe 4 cycles [H]; its results after 2
                                       more: assumed
====================================== ================================================================================

A block that follows itself costs five in a row less four; any other what it adds to the one before, at least 1. What
only the interpreter knows beyond the published rules (VADC, VQDMLAH, CLRM, ...) costs what its like costs: assumed.

[L55] llvm/llvm-project ``llvm/lib/Target/ARM/ARMScheduleM55.td`` @2f206a08, [L85] ``ARMScheduleM85.td`` @06d9edc0; [S]
slothy-optimizer/slothy ``slothy/targets/arm_v81m/cortex_m55r1.py``, ``cortex_m85r1.py`` @ede5131d; [H]
Arm-Examples/Helium-Optimization @955e0e70. Nothing was fitted. Held against boards, model / measured: convolutions on
an Apollo510 and an Alif E8 (M55) 0.94 to 1.13, depthwise 0.71 to 0.96; two networks on an EK-RA8D1 (M85) 0.97, 1.00.

Not modelled: wait states, caches, TCM banks and widths, alignment, forwarding into stores, gathers as slower than other
accesses, S and D registers as parts of vectors, results still under way where a function ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from .instructions import Instruction

KINDS = (
    *("vint", "vbit", "vint2", "vnarrow", "vmaxv", "vmul", "vmac", "vmov", "vcmp", "vpred", "vld", "vst"),
    *("vfp", "vldfp", "vstfp", "loop"),
)
"""Classes of instructions beside those of other cores."""


class Cost(NamedTuple):
    """What an instruction needs: its pipe (``A|B``: one of two, "": none of its own), the cycles that it holds it, the
    cycles after which a vector, a general register, and an accumulator (0: no such path) are there.
    """

    pipe: str
    held: int
    after: int
    general: int
    accumulated: int


VECTOR: dict[str, tuple[Cost, Cost]] = {
    "vint": (Cost("integer", 2, 1, 1, 0), Cost("A", 2, 1, 1, 0)),
    "vbit": (Cost("integer", 2, 1, 1, 0), Cost("", 1, 1, 1, 0)),
    "vint2": (Cost("integer", 2, 2, 1, 0), Cost("A", 2, 2, 1, 0)),
    "vnarrow": (Cost("integer", 2, 3, 1, 0), Cost("A", 2, 2, 1, 0)),
    "vmaxv": (Cost("integer", 2, 2, 2, 0), Cost("A", 2, 2, 4, 0)),
    "vmul": (Cost("multiply", 2, 2, 1, 0), Cost("B", 2, 2, 1, 0)),
    "vmac": (Cost("multiply", 2, 1, 3, 2), Cost("B", 2, 1, 4, 2)),
    "vmov": (Cost("integer|multiply", 2, 1, 1, 0), Cost("", 1, 1, 4, 0)),
    "vcmp": (Cost("multiply", 2, 1, 1, 0), Cost("C", 2, 1, 1, 0)),
    "vpred": (Cost("system", 1, 1, 1, 0), Cost("D", 2, 1, 1, 0)),
    "vld": (Cost("memory", 2, 1, 1, 0), Cost("load", 2, 1, 1, 0)),
    "vst": (Cost("memory", 2, 1, 1, 0), Cost("store", 2, 1, 1, 0)),
    "vfp": (Cost("multiply", 1, 2, 1, 0), Cost("B", 1, 2, 1, 0)),
    "vldfp": (Cost("memory", 1, 2, 1, 0), Cost("load", 1, 2, 1, 0)),
    "vstfp": (Cost("memory", 1, 2, 1, 0), Cost("store", 1, 2, 1, 0)),
}

_OPERATIONS = {
    "vint": """
        VADD VSUB VQADD VQSUB VHADD VHSUB VMAX VMIN VABD VABS VNEG VQABS VQNEG VDUP VIDUP VSLI VSRI VMOVL VBRSR VCADD
        VADC VSHLC VMAXA VMINA
    """,
    "vbit": "VAND VORR VEOR VBIC VORN VMVN VPSEL VREV VCLZ VCLS VORRI VBICI",
    "vnarrow": "VSHRN",
    "vmaxv": "VMAXV VMINV VABAV VMAXAV VMINAV",
    "vmul": "VMUL VMULH VQDMULH VMLA VMLAS VMULL VMULLP VQDMULL VQDMLAH VQDMLASH VQDMLADH",
    "vmac": "VMLADAV VMLALDAV VRMLALDAVH VADDV VADDLV",
    "vcmp": "VCMP VPT",
    "vpred": "VPST VPNOT VCTP",
    "vmov": "VMOVI VMOVLANE",
    "vfp": "VMOVWORD VMOVCOPY VMRS",
    "loop": "DLS WLS LE LCTP",
    "alu": "CSEL SHIFT32 SHIFT64 CLRM",
}
KIND_OF_OPERATION = {operation: kind for kind, names in _OPERATIONS.items() for operation in names.split()}
"""What an operation of the interpreter is to the rules, where nothing but its name decides."""

# On an M55, one of the two of a cycle is one of these.
_EASY_MNEMONICS = "add adds sub subs mov movs uxtb uxth sxtb sxth nop b"
_EASY = frozenset(_EASY_MNEMONICS.split())


@dataclass(frozen=True)
class Helium(Instruction):
    """An instruction of a core of Armv8.1-M, as the rules see it.

    `pipes` is None where it takes no cycle. `results` are ``(register, after, after as an accumulator)``.
    """

    pipes: tuple[str, ...] | None = ()
    unit: str = ""
    held: int = 1
    is_vector: bool = False
    root: str = ""
    target: int | None = None
    jumps: bool = False
    results: tuple[tuple[str, int, int], ...] = ()
    needs: tuple[str, ...] = ()
    accumulators: frozenset[str] = frozenset()

    @property
    def ends_block(self) -> bool:
        return self.jumps

    @property
    def is_loop_end(self) -> bool:
        return self.root in ("le", "letp")


@dataclass(frozen=True)
class HeliumIssue:
    """The rules of one core.

    `units` chooses the columns above: 1 for those of an M55, 2 for those of an M85, which issues scalars of two units,
    or a vector instruction behind a scalar. A taken branch adds `taken`; LE and LETP add `first_round` where
    they jump to another block than their own, WLS and WLSTP `while_loop`. A vector instruction holds its pipe for
    `vector` cycles.
    """

    units: int = 1
    taken: int = 2
    first_round: int = 3
    while_loop: int = 1
    vector: int = 2
    width: int = 2

    def cost(self, kind: str) -> Cost:
        """What a class of vector instructions needs."""
        cost = VECTOR[kind][self.units - 1]
        more = self.vector - 2 if cost.held > 1 else 0
        accumulated = cost.accumulated and cost.accumulated + more
        return Cost(cost.pipe, cost.held + more, cost.after + more, cost.general + more, accumulated)

    def block_cycles(self, block: Sequence[Instruction]) -> int:
        """From the issue of the first to the issue of the last instruction, both included."""
        now = 0
        ready: dict[str, int] = {}
        accumulated: dict[str, int] = {}
        free: dict[str, int] = {}
        issued: list[Helium] = []  # in this cycle
        closed = False  # whether this cycle takes no more
        for item in block:
            assert isinstance(item, Helium)
            if item.pipes is None:
                continue
            start = now
            for register in item.needs:
                late = ready.get(register, 0)
                if register in item.accumulators:
                    late = accumulated.get(register, late)
                start = max(start, late)
            if item.pipes:
                start = max(start, min(free.get(pipe, 0) for pipe in item.pipes))
            if start > now:
                now, issued, closed = start, [], False
            if closed or not self._pairs(item, issued):
                now, issued, closed = now + 1, [], False
            if item.pipes:
                pipe = min(item.pipes, key=lambda name: free.get(name, 0))
                if free.get(pipe, 0) > now:
                    now, issued = free[pipe], []
                free[pipe] = now + item.held
            issued.append(item)
            if not item.is_vector and item.held > 1:
                now += item.held - 1
                closed = True
            for register, after, as_accumulator in item.results:
                ready[register] = now + after
                accumulated.pop(register, None)
                if as_accumulator:
                    accumulated[register] = now + as_accumulator
        return now + 1

    def _pairs(self, item: Helium, issued: Sequence[Helium]) -> bool:
        """Whether `item` can issue in the cycle in which `issued` already did."""
        if not issued:
            return True
        if len(issued) >= self.width or any(other.is_vector for other in issued):
            return False
        if self.units == 1:
            other = issued[-1]
            easy = item.root in _EASY or other.root in _EASY or (item.unit == "branch" and item.root[0] == "b")
            return not item.is_vector and item.size == other.size == 2 and easy
        return item.unit == "alu" or all(other.unit != item.unit for other in issued)

    def edge_cycles(self, previous: Sequence[Instruction] | None, block: Sequence[Instruction]) -> int:
        """Cycles that `block` adds right after `previous`, the jump between them included."""
        if previous is None:
            return self.block_cycles(block)
        if previous is block:
            cycles = self.block_cycles([*block] * 5) - self.block_cycles([*block] * 4)
        else:
            cycles = max(1, self.block_cycles([*previous, *block]) - self.block_cycles(previous))
        last = previous[-1]
        assert isinstance(last, Helium)
        if last.ends_block and block[0].address != last.address + last.size:
            if last.is_loop_end:
                cycles += 0 if previous is block else self.first_round
            else:
                cycles += self.taken
        if last.root in ("wls", "wlstp"):
            cycles += self.while_loop
        return cycles

    def branch_cycles(self, not_taken: int, taken: int) -> int:
        """Nothing: jumps are priced edge by edge."""
        return 0
