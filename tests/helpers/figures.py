# SPDX-License-Identifier: Apache-2.0
"""Whether the figures of a plan may be relied on: networks drawn by chance, tuned by the estimate, and emulated.

    python -P tests/helpers/figures.py --core cortex-m4 --networks 100          # of each kind, a table
    python -P tests/helpers/figures.py --json found.jsonl --networks 10         # keeps what was emulated
    python -P tests/helpers/figures.py --json found.jsonl --networks 0          # the table of what was kept

It says how far the totals are off; per operation, how many layers lie inside the worst error that is printed beside
them; and how the stated flash and stack compare with the object and the run. Every second network is tuned once more,
under a flash budget that binds. Nothing here may be fitted to, or decide what is.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np


def examine(model: Any, target: Any) -> dict[str, Any]:
    """A network's stated figures, and what emulation finds."""
    import tuning
    from tuning.emit.names import run_function
    from tuning.emulate import Emulator, find_toolchain
    from tuning.measure import folder
    from tuning.measure.firmware import written
    from tuning.report.explain import error_bar

    plan = tuning.tune(model, target)
    toolchain = find_toolchain(None)
    with written(plan) as firmware:
        firmware = replace(firmware, fused_into=tuple(item.fused_into for item in plan.layers))
        emulator = Emulator(folder.compile_folder(firmware, toolchain), target)
        taken = folder.footprint_of(firmware, toolchain)
        source = folder.draw_inputs(firmware, 1)[0]
        known, nodes, layers = folder.trace_of(firmware, source), iter(firmware.graph.nodes), []
        items = {item.layer.name: item for item in plan.layers}
        for step in firmware.steps:
            own = [next(nodes) for _ in step.layers]
            reads = folder.inputs_of(firmware.graph, own[0], known)
            trace = _call(emulator, firmware.functions[step.name], reads, [known[name] for name in own[-1].outputs])
            item = items[step.name]
            bar = error_bar(plan, item)
            layers.append(
                {
                    "op": f"{item.layer.op} {item.layer.dtype}" + (" fused" if len(step.layers) > 1 else ""),
                    "about": f"{item.layer} {item.variant or ''}",
                    "estimated": item.cycles,
                    "emulated": trace.cycles,
                    "worst": None if bar is None else bar[1],
                }
            )
        whole = _call(emulator, run_function(plan.model), source, [known[name] for name in firmware.graph.outputs])
    return {
        "layers": layers,
        "estimated": plan.totals["cycles"],
        "emulated": whole.cycles,
        "stack": [plan.totals["stack_bytes"], whole.stack_bytes],
        "flash": [plan.totals["flash_bytes"], taken.linked_bytes],
        "likely": plan.totals["likely_flash_bytes"],
    }


def under_budget(model: Any, target: Any, share: float, *, compiled: bool = True) -> dict[str, Any] | None:
    """A plan between the smallest and the fastest, and what the compiler makes of it; None where they are the same. By
    estimates: a budget that nothing keeps once it is compiled has no ``flash``.
    """
    import tuning
    from tuning.emulate import find_toolchain
    from tuning.measure.firmware import written
    from tuning.measure.folder import footprint_of

    least, most = (tuning.tune(model, target, objective=name).totals["flash_bytes"] for name in ("flash", "latency"))
    if least >= most:
        return None
    budget = round(least + share * (most - least))
    try:
        plan = tuning.tune(model, target, flash_bytes=budget, compiled=compiled)
    except tuning.InfeasibleError:
        return {"budget": budget}
    with written(plan) as firmware:
        taken = footprint_of(firmware, find_toolchain(None))
    return {"budget": budget, "flash": [plan.totals["flash_bytes"], taken.linked_bytes]}


def _call(emulator: Any, symbol: str, reads: Sequence[np.ndarray], outputs: Sequence[np.ndarray]) -> Any:
    emulator.free_buffers()
    inputs = [emulator.buffer(values, writable=False) for values in reads]
    return emulator.call(symbol, [*inputs, *(emulator.buffer(values.nbytes) for values in outputs)])


def records(
    cores: Sequence[str], kinds: Sequence[str], numbers: Iterable[int], *, budgets: bool = True
) -> Iterator[dict[str, Any]]:
    import tuning
    from helpers.drawn_networks import draw

    for number in numbers:
        for kind in kinds:
            model = draw(kind, number)
            for core in cores:
                target = tuning.load_target(core)
                found = examine(model, target) | {"core": core, "kind": kind, "number": number}
                if budgets and number % 2:
                    found["budgeted"] = under_budget(model, target, 0.1 + number % 7 / 10)
                yield found


# ---------------------------------------------------------------- the table


def report(found: Sequence[dict[str, Any]]) -> str:
    """Figures of all records, and of each core and kind."""
    lines = ["core           kind   nets   total: median   worst   flash: off   short   stack: short   most"]
    groups = defaultdict(list)
    for item in found:
        groups[item["core"], item["kind"]].append(item)
        groups["all", item["kind"]].append(item)
    for (core, kind), items in sorted(groups.items()):
        off = np.array([abs(item["estimated"] / item["emulated"] - 1) for item in items])
        stated, taken = np.array([item["flash"] for item in items], float).T
        stacks = [item["stack"] for item in items]
        less = sum(said is None or said < used for said, used in stacks)
        ratio = max((said or 0) / used for said, used in stacks)
        lines.append(
            f"{core:14} {kind:5} {len(items):5}   {np.median(off):13.1%} {off.max():7.1%} "
            f"{np.median(np.abs(stated / taken - 1)):12.1%} {np.mean(stated < taken):7.0%} {less:14} {ratio:6.2f}"
        )
    asked = [item["budgeted"] for item in found if item.get("budgeted")]
    budgeted = [item for item in asked if "flash" in item]
    if budgeted:
        stated, taken = np.array([item["flash"] for item in budgeted], float).T
        over = stated / taken - 1
        lines.append(
            f"\nUnder {len(asked)} flash budgets, {len(asked) - len(budgeted)} of them refused: "
            f"{np.mean(stated < taken):.1%} state less than the object has, "
            f"{np.mean(np.abs(over) <= 0.03):.0%} lie within 3 %, {np.median(over):+.1%} in the median, "
            f"{over.min():+.1%} to {over.max():+.1%}"
        )
    lines.append("\noperation                       layers   median     p90   worst   printed   inside")
    rows = defaultdict(list)
    for item in found:
        for layer in item["layers"]:
            rows[layer["op"]].append(layer)
    for op, layers in sorted(rows.items()):
        wrong = np.array([abs(one["estimated"] / one["emulated"] - 1) for one in layers])
        bars = np.array([np.nan if one["worst"] is None else one["worst"] for one in layers])
        known = ~np.isnan(bars)
        inside = f"{np.mean(wrong[known] <= bars[known]):8.1%}" if known.any() else "       -"
        printed = f"{np.median(bars[known]):8.1%}" if known.any() else "       -"
        lines.append(
            f"{op:30} {len(layers):7} {np.median(wrong):8.1%} {np.quantile(wrong, 0.9):7.1%} {wrong.max():7.1%} "
            f"{printed} {inside}"
        )
    return "\n".join(lines)


def main() -> None:
    from helpers.drawn_networks import KINDS
    from tuning.target import CORES

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--core", choices=CORES, action="append")
    parser.add_argument("--kind", choices=KINDS, action="append")
    parser.add_argument("--networks", type=int, default=10)
    parser.add_argument("--first", type=int, default=0, help="number of the first network")
    parser.add_argument("--no-budgets", action="store_true", help="no network is tuned under a flash budget")
    parser.add_argument("--json", type=Path, help="where records are kept, a line each")
    options = parser.parse_args()
    found = []
    if options.json and options.json.exists():
        found = [json.loads(line) for line in options.json.read_text().splitlines()]
    numbers = range(options.first, options.first + options.networks)
    for item in records(options.core or CORES, options.kind or KINDS, numbers, budgets=not options.no_budgets):
        found.append(item)
        if options.json:
            with options.json.open("a") as file:
                file.write(json.dumps(item) + "\n")
    print(report(found))


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))
    main()
