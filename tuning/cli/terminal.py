# SPDX-License-Identifier: Apache-2.0
"""What the command line prints."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from ..base.console import console, make_table
from ..base.units import shape_text, show_size
from ..cost import fitted_compiler
from ..emit.names import numbered
from ..load import load_model
from ..model import list_models
from ..plan import LayerPlan, Plan
from ..report.explain import chain_text, chains_gain, error_bar, network_error_bar
from ..target import list_targets, load_target

if TYPE_CHECKING:
    from ..plan.file import PlanFile

WIDE, NARROW = 150, 100  # columns below which a plan's table leaves out what the model file says, and ratios
ENERGY_LIMITS = (
    "cycles x the datasheet's typical run-mode current x supply; board, peripherals, sleep and temperature apart"
)


def print_targets() -> None:
    """The shipped cores and boards."""
    numbers, about = ("clock", "SRAM", "flash"), "what it is"
    table = make_table("target", "core", *numbers, about, right=numbers, spare=[about])
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
    table = make_table("model", "input", "layers", "MAC", "file", right=("layers", "MAC"), spare=["file"])
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
    states = f"what it remembers between runs {plan.state_bytes:,}, " if plan.state_bytes else ""
    gap = 0 if plan.arena_least is None else totals["arena_bytes"] - plan.arena_least
    more = f" ({gap:,} more than are in use at once)" if gap else ""
    arena = f"arena {totals['arena_bytes']:,}{more}"
    border = f"the caller's input and output {totals['sram_bytes'] - totals['arena_bytes'] - plan.state_bytes:,}"
    if plan.fed:
        border = f"with {_fed_text(plan)} and the output{'s' if len(plan.outputs) > 1 else ''} in it"
    out.print(
        f"SRAM   {_against(totals['sram_bytes'], plan.budget['sram'])}: {arena}, {states}{border}"
    )
    for number, first in enumerate(plan.chains):
        gain = f"; {chains_gain(plan)}" if number == len(plan.chains) - 1 and chains_gain(plan) else ""
        out.print(f"Chain  {chain_text(plan, first)}{gain}")
    if totals.get("stack_bytes") is not None:
        out.print(f"Stack  at most {totals['stack_bytes']:,} bytes, not counted above")
    else:
        out.print("Stack  not known: a kernel was never compiled for calibration")
    out.print(f"Flash  {_against(totals['flash_bytes'], plan.budget['flash'])}: weights and code{flash_note(plan)}")
    if totals.get("energy_uj") is not None:
        out.print(f"Energy {totals['energy_uj']:,.1f} uJ per inference: {ENERGY_LIMITS}")
    if "error" in shown:
        unknown = [item for item in plan.layers if item.emulated_cycles is None and item.cycles]
        unknown = [item for item in unknown if error_bar(plan, item) is None]
        if len(unknown) < len(plan.layers):
            out.print(
                "Error is the median difference between estimated and emulated cycles on layers that the model was not "
                "fitted on, without wait states, and (worst) what hardly any of them exceeds; the network's is the "
                "layers' added up, as if all erred to one side."
            )
        if unknown and (theirs := fitted_compiler(plan.target)) not in (None, plan.compiler):
            about = f"estimates are of code by {theirs}; `--score emulate` runs that by {plan.compiler}"
            out.print(f"Error not known: {about}.")
        elif unknown:
            out.print("Error not known: nothing like it was emulated, or too little.")
    out.print(
        "Gain is against the paper's configuration (2x2 block, unroll 1, two im2col columns) of the same kernels."
    )
    costliest = max(plan.layers, key=lambda item: item.cycles).layer.name
    out.print(f"Why: `--explain {costliest}` says where its cycles go, what came second and what to try.")
    out.print(
        f"\nWritten to {directory}{'' if str(directory).endswith('/') else '/'}: {plan.model}.c, "
        f"{plan.model}.h, headers, README.md, CMakeLists.txt, example, report.html, plan.json"
    )
    _say_order(plan, out)
    out.print(
        f"Next: `cmsisnn-verify {directory}` compiles and emulates it and compares every layer with the Python kernels;"
    )
    sides = (("input", plan.graph.inputs), ("output", plan.graph.outputs))
    arguments = ", ".join(name for side, tensors in sides for name in numbered(side, len(tensors)))
    out.print(
        f"      then copy the folder into your firmware, compile {plan.model}.c and call {plan.model}_run({arguments})."
    )


def _say_order(plan: Plan, out: Console) -> None:
    """Where the caller's order is another one than that of the model's file."""
    sides = zip(("Input", "Output"), (plan.inputs, plan.outputs), plan.channels_last or (), strict=False)
    for side, tensors, moved in sides:
        for at, (tensor, is_moved) in enumerate(zip(tensors, moved, strict=True)):
            if is_moved:
                number = f" {at + 1}" if len(tensors) > 1 else ""
                out.print(f"{side}{number}: channels last, {shape_text(tensor.shape)}; the file has them first.")


def _fed_text(plan: Plan) -> str:
    """How much of inputs that come row by row is in memory."""
    if len(plan.fed_offsets) == 1:
        return f"{'rows' if plan.fed_offsets[0] is not None else 'all'} of the input"
    names = numbered("input", len(plan.fed_offsets))
    parts = [
        f"{'rows' if offset is not None else 'all'} of {name}"
        for name, offset in zip(names, plan.fed_offsets, strict=True)
    ]
    return ", ".join(parts)


def flash_note(plan: Plan) -> str:
    """How far the stated flash may be relied on."""
    if plan.flash_compiled_by is not None:
        return f", as compiled by {plan.flash_compiled_by}"
    if plan.cycles_are == "emulated":
        return ", each kernel as compiled"
    most, likely = plan.totals["flash_bytes"], plan.totals["likely_flash_bytes"]
    if likely >= most:
        return ""
    error = f"{(most / likely - 1) * 100:.0f} %"
    hint = "; a compiler would tell" if plan.is_flash_short else ""
    return f"; code is estimated: likely {likely:,} in all, within {error}{hint}"


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
        "error": "-" if item.fused_into else _error_text(error_bar(plan, item)),
        "MAC/cycle": _ratio(layer.macs, item.cycles),
        "ms": _ms(plan.target.milliseconds(item.cycles)),
        "uJ": _uj(plan.target.energy_uj(item.cycles)),
        "scratch": f"{item.scratch_bytes:,}",
        "flash": f"{item.flash_bytes:,}",
        "gain": _gain(item.baseline_cycles, item.cycles) if item.variant else "-",
    }


def _error_text(known: tuple[float, float] | None) -> str:
    return f"{max(known[0] * 100, 1):.0f} % ({known[1] * 100:.0f} %)" if known else "not known"


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


def print_comparison(file_a: PlanFile, file_b: PlanFile, *, no_color: bool = False) -> None:
    """Two plans side by side."""
    out = console(no_color)
    a, b = file_a.content, file_b.content
    for letter, path, plan in (("A", file_a.path, a), ("B", file_b.path, b)):
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
        shapes = [_shapes(one) for one in (item, other)]
        changes = [f"shape: {shapes[0]} -> {shapes[1]}"] if all(shapes) and shapes[0] != shapes[1] else []
        changes += [f"{k}: {item['variant'].get(k)} -> {other['variant'].get(k)}" for k in sorted(keys)]
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


def _shapes(entry: Mapping[str, Any]) -> str:
    """Of a layer's input and output; plans of plan-1 do not say them."""
    found = [entry.get(key) for key in ("input_shape", "output_shape")]
    return " to ".join(shape_text(tuple(one)) for one in found if one)


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
