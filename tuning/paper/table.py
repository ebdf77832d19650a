# SPDX-License-Identifier: Apache-2.0
"""The CMSIS-NN paper's table (Lai, Suda, Chandra, arXiv:1801.06601) made anew: its network as plain loops, with the
paper's kernel configuration, and tuned; the paper's own figures beside.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from cmsisnn_x.layers import Layer
from cmsisnn_x.steps import Step, steps_of
from cmsisnn_x.variant import WINOGRAD, Variant

from ..base.cflags import cflags_of
from ..base.errors import TuningError
from ..load import load_model
from ..model import Model, with_layers
from ..plan import Plan
from ..search.space import baseline_of, search_space
from ..target import Target
from ..target.cores import CORES
from ..tuner import tune

if TYPE_CHECKING:
    from ..measure.bench import Bench

MODEL = "cifar10"
CLOCK_HZ = 216_000_000
"""The clock of the paper's Cortex-M7."""
ROWS = {
    "conv2d": "convolution",
    "max_pool2d": "pooling",
    "relu": "ReLU",
    "fully_connected": "fully connected",
    "softmax": "softmax",
}
"""Operation -> row of the table."""
SCHEMA = "paper-table-1"
PLAIN, CONFIGURATION = "plain loops", "paper's configuration"

PAPER_MS: Mapping[str, Mapping[str, float]] = {
    PLAIN: {"convolution": 443.4, "pooling": 11.83, "ReLU": 1.06, "total": 456.4},
    CONFIGURATION: {
        "convolution": 96.4,
        "conv1": 31.4,
        "conv2": 42.8,
        "conv3": 22.6,
        "pooling": 2.2,
        "ReLU": 0.4,
        "fully connected": 0.1,
        "total": 99.1,
    },
}
"""Milliseconds as the paper prints them (its tables 1 and 2): measured on an STM32F746 at 216 MHz. In table 1 a layer's
time rounds otherwise than in table 2, where the convolutions sum to 96.4."""
PAPER_RATIO = {"time": 4.6, "energy": 4.9}
"""The paper's own gains over its baseline, whole network."""


@dataclass(frozen=True)
class Cost:
    """What a row of a column costs; None where it is not known."""

    cycles: int | None
    ms: float | None
    energy_uj: float | None
    ratio: float | None
    paper_ms: float | None


@dataclass(frozen=True)
class Column:
    """One way to run the network: row -> cost, layers of the convolutions included. `fused` are the layers whose ReLU
    the convolution applies itself.
    """

    name: str
    cycles_are: str
    rows: Mapping[str, Cost]
    fused: tuple[str, ...] = ()


@dataclass(frozen=True)
class PaperTable:
    """The table, and what it was made with. `plan` is the tuned one."""

    target: Target
    compiler: str
    cflags: tuple[str, ...]
    columns: tuple[Column, ...]
    plan: Plan
    ratio_against: str = PLAIN

    @property
    def gains(self) -> dict[str, float]:
        """Column -> how many times faster the network is than `ratio_against`."""
        totals = {column.name: column.rows["total"].ratio for column in self.columns}
        return {name: ratio for name, ratio in totals.items() if ratio is not None and name != self.ratio_against}

    @property
    def headline(self) -> str:
        """The gains, ours and the paper's, in a sentence."""
        gains = ", ".join(f"{name} {ratio:.1f}x" for name, ratio in self.gains.items())
        return (
            f"Against the {self.ratio_against}: {gains}. The paper reports {PAPER_RATIO['time']:g}x in time and "
            f"{PAPER_RATIO['energy']:g}x in energy for its configuration over its baseline."
        )

    @property
    def differences(self) -> tuple[str, ...]:
        """What to bear in mind beside the paper's figures."""
        return _differences(self)

    def to_dict(self) -> dict[str, Any]:
        """The table as ``cmsisnn-tune paper-table --json`` prints it."""
        return {
            "schema": SCHEMA,
            "paper": {"source": "arXiv:1801.06601", "ratio": PAPER_RATIO},
            "ratio_against": self.ratio_against,
            "model": self.plan.model,
            "target": self.target.name,
            "clock_hz": self.target.clock_hz,
            "compiler": self.compiler,
            "cflags": list(self.cflags),
            "columns": [
                {
                    "name": column.name,
                    "cycles_are": column.cycles_are,
                    "rows": [{"name": name} | vars(cost) for name, cost in column.rows.items()],
                }
                for column in self.columns
            ],
            "differences": list(self.differences),
        }


def paper_table(target: Target, *, score: str = "emulate") -> PaperTable:
    """Make the table.

    Parameters
    ----------
    target : Target
        With a clock; one without gets the paper's 216 MHz.
    score : {"emulate", "estimate"}
        Emulated cycles of all three, or the cost model's estimates, which know nothing of the plain loops.

    Raises
    ------
    MissingToolError
        Emulation needs a compiler and the ``firmware`` extra.
    TuningError
        A kernel cannot be emulated.
    """
    target = target if target.clock_hz else target.at(CLOCK_HZ)
    model = load_model(MODEL)
    apart = with_layers(model, split_relu(model.layers))
    plan = tune(model, target)
    paper = [baseline_of(search_space(layer, target)) for layer in apart.layers]
    chosen = [item.layer for item in plan.layers]
    inside = [item.layer.name for item in plan.layers if item.fused_into]
    if score == "emulate":
        with _bench(target) as bench:
            compiler = bench.toolchain.version
            plain: dict[str, int] | None = _plain_cycles(apart, target, bench)
            of_paper = _emulated(bench, steps_of(apart.layers, variants=paper))
            of_tuned = _emulated(bench, plan.steps)
            of_tuned |= dict.fromkeys(inside, 0)
    else:
        compiler, plain = f"fitted on code of {plan.compiler}", None
        of_paper = _estimated(apart.layers, paper, target)
        of_tuned = {item.layer.name: item.cycles for item in plan.layers}
    word = "emulated" if score == "emulate" else "estimated"
    fused = tuple(layer.name for layer in chosen if layer.activation == "relu")
    loops, theirs = _rows(apart.layers, plain) if plain else {}, _rows(apart.layers, of_paper)
    baseline = loops or theirs
    columns = (
        _column(PLAIN, "emulated" if plain else "unknown", loops, baseline, target),
        _column(CONFIGURATION, word, theirs, baseline, target),
        _column("tuned", word, _rows(chosen, of_tuned), baseline, target, fused),
    )
    return PaperTable(target, compiler, plan.cflags, columns, plan, PLAIN if plain else CONFIGURATION)


def split_relu(layers: Sequence[Layer]) -> tuple[Layer, ...]:
    """The same network with every fused ReLU as a layer of its own, as the paper ran it."""
    apart: list[Layer] = []
    for layer in layers:
        apart.append(replace(layer, activation=None))
        if layer.activation == "relu":
            shape = layer.output_shape
            apart.append(Layer(f"{layer.name}_relu", "relu", layer.dtype, shape, shape))
    return tuple(apart)


@contextmanager
def _bench(target: Target) -> Iterator[Bench]:
    from ..measure.bench import Bench
    from ..measure.records import Records

    with closing(Records()) as records:
        yield Bench(target, cflags_of(CORES[target.core].compiler), records=records)


def _emulated(bench: Bench, steps: Sequence[Step]) -> dict[str, int]:
    cycles = {}
    for index, step in enumerate(steps):
        # The network's own input and output may have any alignment.
        found = bench.measure([step], (index > 0, index < len(steps) - 1))[0]
        if found.problem:
            raise TuningError(f"layer {step.name!r}: cannot be emulated: {found.problem}")
        cycles[step.name] = found.cycles
    return cycles


def _estimated(layers: Sequence[Layer], variants: Sequence[Variant | None], target: Target) -> dict[str, int]:
    from ..cost import estimate

    pairs = zip(layers, variants, strict=True)
    return {layer.name: estimate(layer, variant, target).cycles for layer, variant in pairs}


def _plain_cycles(model: Model, target: Target, bench: Bench) -> dict[str, int]:
    """The plain loops on a drawn input; the softmax, which the paper does not list, is this package's everywhere."""
    from .plain_loops import run_plain_loops, supports

    plain = [layer for layer in model.layers if supports(layer)]
    x = np.random.default_rng(0).integers(-128, 128, model.input_shape, np.int8)
    ran = run_plain_loops(plain, x, target, bench.cflags, compiler=bench.toolchain.kind)
    cycles = {run.name: run.cycles for run in ran}
    rest = [layer for layer in model.layers if not supports(layer)]
    return cycles | {layer.name: bench.measure([Step((layer,))], (True, False))[0].cycles for layer in rest}


def _rows(layers: Sequence[Layer], cycles: Mapping[str, int]) -> dict[str, int]:
    """Sums per row, with the layers of the convolutions, and the total."""
    rows: dict[str, int] = {}
    for row in ROWS.values():
        own = [layer for layer in layers if ROWS[layer.op] == row]
        if not own:
            continue
        rows[row] = sum(cycles[layer.name] for layer in own)
        if row == "convolution":
            rows |= {layer.name: cycles[layer.name] for layer in own}
    return rows | {"total": sum(cycles.values())}


def _column(
    name: str,
    cycles_are: str,
    cycles: Mapping[str, int],
    baseline: Mapping[str, int],
    target: Target,
    fused: tuple[str, ...] = (),
) -> Column:
    paper = PAPER_MS.get(name, {})
    rows = {}
    for row in cycles or paper:
        own, plain = cycles.get(row), baseline.get(row)
        rows[row] = Cost(
            own,
            None if own is None else target.milliseconds(own),
            None if own is None else target.energy_uj(own),
            plain / own if own and plain else None,
            paper.get(row),
        )
    return Column(name, cycles_are, rows, fused)


def _differences(table: PaperTable) -> tuple[str, ...]:
    target = table.target
    waits = "its caches and wait states as its file declares them" if not target.is_core else "zero wait states"
    how = table.columns[-1].cycles_are
    said = [
        f"The paper measured a board (STM32F746, 216 MHz, code in flash) with a compiler that it does not name; here "
        f"cycles of {target.name} are {how} with {waits}, {table.compiler}.",
        "The paper's baseline is a one-dimensional convolution of CMSIS-DSP with pooling and ReLU as Caffe has them; "
        "here it is nested loops in C, one output at a time, shapes as arguments.",
        "The paper's configuration is this package's kernel with 2x2 blocks, unroll 1 and two im2col columns: shapes "
        "are constants of the compilation, and max pooling leaves its input alone. ReLU is a layer of its own, as in "
        "the paper; the tuned network applies it in the convolution.",
        "The weights are drawn, not the paper's: no kernel's cycles depend on them, but for branches of ReLU and max "
        "pooling in the plain loops.",
    ]
    tuned = [item for item in table.plan.layers if item.variant is not None and item.variant.lowering in WINOGRAD]
    if tuned:
        names = ", ".join(item.layer.name for item in tuned)
        said.append(f"The tuned {names} use exact integer Winograd filters: fewer multiplies than the paper's method.")
    if target.energy_uj(1) is None:
        said.append(
            f"Energy is unknown: {target.name} declares no supply_volts and run_microamps_per_mhz. A board's file may."
        )
    else:
        said.append(
            "Energy is cycles x one run-mode current x supply: its ratio is that of time. The paper measured current, "
            f"which fell too: {PAPER_RATIO['energy']:g}x in energy against {PAPER_RATIO['time']:g}x in time."
        )
    return tuple(said)
