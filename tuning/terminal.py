# SPDX-License-Identifier: Apache-2.0
"""What the command line prints."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.segment import Segment
from rich.status import Status
from rich.table import Table
from rich.text import Text

from .explain import error_bar, network_error_bar
from .model import list_models, load_model
from .plan import LayerPlan, Plan
from .target import list_targets, load_target
from .units import printable, show_size

PLAIN_WIDTH = 200  # columns where the output is no terminal: nothing is cut
WIDE, NARROW = 150, 100  # columns below which a plan's table leaves out what the model file says, and ratios
ENERGY_LIMITS = (
    "cycles x the datasheet's typical run-mode current x supply; board, peripherals, sleep and temperature apart"
)


class _Terminal(Console):
    """A console that never cuts a number: a table that does not fit is printed wider, and the terminal wraps it.
    Names from files cannot command the terminal: not as text, in a cell or a status line, nor as a `Text`; and no
    bracket in them is markup.
    """

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(printable(text), **options)

    def render(self, renderable: Any, options: Any = None) -> Iterator[Segment]:
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(printable(segment.text), segment.style)

    def status(self, status: Any, **options: Any) -> Status:
        return _Status(_plain(status), console=self, **options)

    def print(self, *objects: Any, **options: Any) -> None:
        needed = max((least_width(item) for item in objects if isinstance(item, Table)), default=0)
        if needed <= self.width:
            super().print(*objects, **options)
            return
        before, self._width = self._width, needed
        try:
            super().print(*objects, **options)
        finally:
            self._width = before


class _Status(Status):
    """A status line that takes text for text, where rich takes it for markup."""

    def update(self, status: Any = None, **options: Any) -> None:
        super().update(None if status is None else _plain(status), **options)


def _plain(text: Any) -> Any:
    return Text(printable(text)) if isinstance(text, str) else text


def least_width(table: Table) -> int:
    """Columns of text that a table of `make_table` takes if its words may wrap and its numbers may not."""
    needed = 0
    for column in table.columns:
        texts = [str(column.header), *map(str, column.cells)]
        pieces = texts if column.no_wrap else [word for text in texts for word in text.split()]
        needed += max(map(len, pieces), default=0)
    return needed + 3 * len(table.columns) - 1


def console(no_color: bool = False, stderr: bool = False) -> Console:
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else PLAIN_WIDTH
    return _Terminal(
        stderr=stderr, no_color=no_color, highlight=False, width=width, soft_wrap=False, markup=False, emoji=False
    )


@contextmanager
def working(what: str, *, no_color: bool = False) -> Iterator[None]:
    """Say on a terminal's stderr that something takes a while; elsewhere nothing."""
    out = console(no_color, stderr=True)
    if not out.is_terminal:
        yield
        return
    with out.status(what):
        yield


class _Table(Table):
    """A table in which no text begins a line of its own."""

    def add_row(self, *cells: Any, **options: Any) -> None:
        cells = tuple(" ".join(cell.splitlines()) if isinstance(cell, str) else cell for cell in cells)
        super().add_row(*cells, **options)


def make_table(*columns: str, right: tuple[str, ...] = ()) -> Table:
    table = _Table(box=SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for name in columns:
        table.add_column(
            name,
            justify="right" if name in right else "left",
            no_wrap=name in right or name == columns[0],
            overflow="fold",
        )
    return table


def print_targets() -> None:
    """The shipped cores and boards."""
    table = make_table("target", "core", "clock", "SRAM", "flash", "what it is", right=("clock", "SRAM", "flash"))
    found = [load_target(name) for name in list_targets()]
    for item in sorted(found, key=lambda t: (not t.is_core, t.core, t.name)):
        clock = f"{item.clock_hz / 1e6:g} MHz" if item.clock_hz else "-"
        sizes = [show_size(size) if size else "-" for size in (item.sram_bytes, item.flash_bytes)]
        table.add_row(item.name, item.core, clock, *sizes, item.title)
    out = console()
    out.print(table)
    out.print(
        "A bare core means zero wait states and no clock. For a board of your own, write a file with "
        "`inherit:` and give its path."
    )


def print_models() -> None:
    """The shipped example models."""
    table = make_table("model", "input", "layers", "MAC", "file", right=("layers", "MAC"))
    for name, path in list_models().items():
        model = load_model(path)
        table.add_row(
            name, f"{shape_text(model.input_shape)} {model.dtype}", str(len(model.layers)), f"{model.macs:,}", str(path)
        )
    console().print(table)


def print_plan(plan: Plan, directory: Path, *, no_color: bool = False, verbose: bool = False) -> None:
    """The table per layer, totals, memory against budgets, where the files are and what to do next."""
    out = console(no_color)
    clock = f" at {plan.target.clock_hz / 1e6:g} MHz" if plan.target.clock_hz else ""
    word = plan.cycles_are
    out.print(
        f"{plan.model} on {plan.target.name}{clock}: least {plan.objective}, {word}, {plan.strategy} search, "
        f"{plan.evaluations:,} variants looked at"
    )
    numbers = ("cycles", "error", "MAC/cycle", "ms", "uJ", "scratch", "flash", "gain")
    shown = [name for name in ("layer", "op", "shape", "variant", *numbers) if name not in _left_out(plan, out)]
    longer = {"cycles": f"{word} cycles", "error": "error (worst)"} if out.width >= NARROW else {}
    heads = [longer.get(name, name) for name in shown]
    table = make_table(*heads, right=tuple(longer.get(name, name) for name in numbers))
    for item in plan.layers:
        row = _row(plan, item)
        table.add_row(*(row[name] for name in shown))
    table.add_section()
    totals = plan.totals
    total = {
        "layer": "network",
        "cycles": f"{totals['cycles']:,}",
        "error": _error_text(network_error_bar(plan)),
        "MAC/cycle": _ratio(totals["macs"], totals["cycles"]),
        "ms": _ms(totals["ms"]),
        "uJ": _uj(totals["energy_uj"]),
        "scratch": f"{totals['scratch_bytes']:,}",
        "flash": f"{totals['flash_bytes']:,}",
        "gain": _gain(plan.baseline_cycles, totals["cycles"]),
    }
    table.add_row(*(total.get(name, "") for name in shown), style="bold")
    out.print(table)
    if verbose:
        _print_terms(out, plan)
    out.print(
        f"SRAM   {_against(totals['sram_bytes'], plan.budget.get('sram'))}: arena {totals['arena_bytes']:,}, "
        f"the caller's input and output {totals['sram_bytes'] - totals['arena_bytes']:,}"
    )
    if totals.get("stack_bytes") is not None:
        out.print(f"Stack  {totals['stack_bytes']:,} bytes, not counted above")
    out.print(f"Flash  {_against(totals['flash_bytes'], plan.budget.get('flash'))}: weights and code")
    if totals.get("energy_uj") is not None:
        out.print(f"Energy {totals['energy_uj']:,.1f} uJ per inference: {ENERGY_LIMITS}")
    if "error" in shown:
        unknown = [item for item in plan.layers if item.emulated_cycles is None and item.cycles]
        unknown = [item for item in unknown if error_bar(plan, item) is None]
        if len(unknown) < len(plan.layers):
            out.print(
                "Error is the median (worst) difference between estimated and emulated cycles on layers that the model "
                "was not fitted on, without wait states; the network's is the layers' added up, as if all erred to "
                "one side."
            )
        if unknown:
            out.print("Error -: nothing was fitted for this operation and type, its estimate counts instructions.")
    out.print(
        "Gain is against the paper's configuration (2x2 block, unroll 1, two im2col columns) of the same kernels."
    )
    costliest = max(plan.layers, key=lambda item: item.cycles).layer.name
    out.print(f"Why: `--explain {costliest}` says where its cycles go, what came second and what to try.")
    out.print(
        f"\nWritten to {directory}{'' if str(directory).endswith('/') else '/'}: {plan.model}.c, "
        f"{plan.model}.h, headers, README.md, CMakeLists.txt, example, report.html, plan.json"
    )
    out.print(
        f"Next: `cmsisnn-verify {directory}` compiles and emulates it and compares every layer with the Python kernels;"
    )
    out.print(
        f"      then copy the folder into your firmware, compile {plan.model}.c and call "
        f"{plan.model}_run(input, output)."
    )


def _left_out(plan: Plan, out: Console) -> set[str]:
    """Columns that say nothing here, or for which the terminal is too narrow."""
    names = set() if plan.target.clock_hz else {"ms"}
    if plan.totals["energy_uj"] is None or out.width < WIDE:
        names.add("uJ")
    if plan.cycles_are != "estimated" and all(error_bar(plan, item) is None for item in plan.layers):
        names.add("error")
    if out.width < WIDE:
        names |= {"op", "shape"}
    if out.width < NARROW:
        names |= {"MAC/cycle", "scratch"} if plan.target.clock_hz else {"MAC/cycle"}
    return names


def _row(plan: Plan, item: LayerPlan) -> dict[str, str]:
    layer = item.layer
    return {
        "layer": layer.name,
        "op": layer.op,
        "shape": f"{shape_text(layer.input_shape)} -> {shape_text(layer.output_shape)}",
        "variant": str(item.variant) if item.variant else f"runs inside {item.fused_into}" if item.fused_into else "-",
        "cycles": f"{item.cycles:,}",
        "error": _error_text(None if item.fused_into else error_bar(plan, item)),
        "MAC/cycle": _ratio(layer.macs, item.cycles),
        "ms": _ms(plan.target.milliseconds(item.cycles)),
        "uJ": _uj(plan.target.energy_uj(item.cycles)),
        "scratch": f"{item.scratch_bytes:,}",
        "flash": f"{item.flash_bytes:,}",
        "gain": _gain(item.baseline_cycles, item.cycles) if item.variant else "-",
    }


def _error_text(known: tuple[float, float] | None) -> str:
    return f"{known[0] * 100:.0f} % ({known[1] * 100:.0f} %)" if known else "-"


def _print_terms(out: Console, plan: Plan) -> None:
    names = [name for name in plan.layers[0].terms if any(item.terms[name] for item in plan.layers)]
    table = make_table("layer", *names, "runner-up", "costs", right=(*names, "costs"))
    for item in plan.layers:
        second, costs = "-", "-"
        if item.runner_up:
            second = (
                ", ".join(
                    f"{k}: {v}"
                    for k, v in (item.runner_up["variant"] or {}).items()
                    if v != getattr(item.variant, k, None)
                )
                or "-"
            )
            costs = f"{(item.runner_up['cycles'] / item.cycles - 1) * 100:+.1f} %"
        table.add_row(item.layer.name, *(f"{item.terms[name]:,}" for name in names), second, costs)
    out.print("Where the cycles go:")
    out.print(table)


def print_comparison(
    path_a: Path, a: dict[str, Any], path_b: Path, b: dict[str, Any], *, no_color: bool = False
) -> None:
    """Two plans side by side."""
    out = console(no_color)
    for letter, path, plan in (("A", path_a, a), ("B", path_b, b)):
        out.print(f"{letter}: {path}: {plan['model']} on {plan['target']}, least {plan['objective']}, {plan['score']}")
    if a.get("digests", {}).get("model") != b.get("digests", {}).get("model"):
        out.print("The models differ: layers are matched by name.")
    if a["score"] != b["score"]:
        out.print("One has estimated cycles, the other emulated ones: a few per cent between them mean nothing.")
    table = make_table(
        "layer", "A cycles", "B cycles", "change", "what changed", right=("A cycles", "B cycles", "change")
    )
    in_b = {item["name"]: item for item in b["layers"]}
    for item in a["layers"]:
        other = in_b.pop(item["name"], None)
        if other is None:
            table.add_row(item["name"], f"{item['cycles']:,}", "-", "", "only in A")
            continue
        keys = [
            k
            for k in item["variant"].keys() | other["variant"].keys()
            if item["variant"].get(k) != other["variant"].get(k)
        ]
        changes = [f"{k}: {item['variant'].get(k)} -> {other['variant'].get(k)}" for k in sorted(keys)]
        changes += [
            f"{k}: {item[k]:,} -> {other[k]:,}" for k in ("scratch_bytes", "flash_bytes") if item[k] != other[k]
        ]
        table.add_row(
            item["name"],
            f"{item['cycles']:,}",
            f"{other['cycles']:,}",
            _change(item["cycles"], other["cycles"]),
            ", ".join(changes) or "nothing",
        )
    for name, item in in_b.items():
        table.add_row(name, "-", f"{item['cycles']:,}", "", "only in B")
    table.add_section()
    for key in ("cycles", "sram_bytes", "flash_bytes"):
        x, y = a["totals"][key], b["totals"][key]
        table.add_row(key, f"{x:,}", f"{y:,}", _change(x, y), "", style="bold")
    out.print(table)


def shape_text(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


def _ratio(macs: int, cycles: int) -> str:
    return f"{macs / cycles:.3f}" if macs and cycles else "-"


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _uj(value: float | None) -> str:
    return "-" if value is None else f"{value:,.1f}"


def _gain(baseline: int, cycles: int) -> str:
    return f"{baseline / cycles:.2f}x" if cycles else "-"


def _change(a: float, b: float) -> str:
    return f"{(b / a - 1) * 100:+.1f} %" if a else "-"


def _against(size: int, budget: int | None) -> str:
    if budget is None:
        return f"{size:,} bytes"
    return f"{size:,} of {budget:,} bytes ({size / budget * 100:.0f} %)"
