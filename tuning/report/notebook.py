# SPDX-License-Identifier: Apache-2.0
"""Compact tables for notebooks: `Plan` and `Check` as `_repr_html_` gives them. Colours are the notebook's own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .check import Check
    from .plan import Plan


def table(head: Sequence[str], rows: Iterable[Sequence[str]], caption: str, left: int = 1, foot: bool = False) -> str:
    """An HTML table; the first `left` columns are text, the others numbers, and the last row may be a sum."""

    def cells(tag: str, row: Sequence[str]) -> str:
        sides = ["left" if at < left else "right" for at in range(len(row))]
        return "".join(
            f'<{tag} style="text-align: {side}">{escape(text)}</{tag}>'
            for side, text in zip(sides, row, strict=True)
        )  # fmt: skip

    body = [f"<tr>{cells('td', row)}</tr>" for row in rows]
    last = f"<tfoot>{body.pop()}</tfoot>" if foot and body else ""
    return (
        f'<div style="overflow-x: auto"><table><caption style="text-align: left; caption-side: top">{escape(caption)}'
        f"</caption><thead><tr>{cells('th', head)}</tr></thead><tbody>{''.join(body)}</tbody>{last}</table></div>"
    )


def plan_html(plan: Plan) -> str:
    """A plan: layer, operation, variant, cycles, gain, scratch, flash; the network in the last row."""
    totals = plan.totals
    rows = [
        (
            item.layer.name,
            item.layer.op,
            str(item.variant) if item.variant else "",
            f"{item.cycles:,}",
            f"{item.baseline_cycles / item.cycles:.2f}x" if item.variant and item.cycles else "",
            f"{item.scratch_bytes:,}",
            f"{item.flash_bytes:,}",
        )
        for item in plan.layers
    ]
    gain = f"{plan.baseline_cycles / totals['cycles']:.2f}x" if totals["cycles"] else ""
    rows.append(
        ("network", "", "", f"{totals['cycles']:,}", gain, f"{totals['scratch_bytes']:,}", f"{totals['flash_bytes']:,}")
    )
    time = f", {totals['ms']:.4g} ms" if totals.get("ms") is not None else ""
    caption = (
        f"{plan.model} on {plan.target.name}: {totals['cycles']:,} cycles {plan.cycles_are}{time}, "
        f"{totals['sram_bytes']:,} bytes SRAM, {totals['flash_bytes']:,} bytes flash"
    )
    head = ("layer", "op", "variant", "cycles", "gain", "scratch", "flash")
    return table(head, rows, caption, left=3, foot=True)


def check_html(check: Check) -> str:
    """A check: per tensor what `cmsisnn-tune --check` prints."""
    return table(HEAD, check_rows(check), "; ".join(check_words(check)), left=3)


HEAD = (
    "layer", "op", "format", "range", "bits used", "saturated", "headroom", "overflows", "SNR dB", "alone", "max error",
)  # fmt: skip


def check_rows(check: Check) -> list[tuple[str, ...]]:
    """The columns of `HEAD`; ``-`` where something is not known or means nothing."""
    from math import log2

    rows: list[tuple[str, ...]] = []
    for t in check.tensors:
        weighted = t.headroom_bits is not None
        counted = weighted or (t.op == "input" and check.has_reference)
        exact = t.max_error == 0
        used = log2(t.largest) if t.largest else 0.0
        rows.append(
            (
                t.name,
                t.op,
                t.format or f"{t.bits} bit",
                f"{t.minimum}..{t.maximum}",
                f"{used:.1f} of {t.bits - 1}",
                f"{t.saturated:,} ({100 * t.saturated / t.elements:.2g} %)" if counted and t.saturated else
                "0" if counted else "-",
                f"{t.headroom_bits:.1f} bit" if weighted else "-",
                f"{t.overflows:,}" if weighted else "-",
                "exact" if exact else _db(t.snr_db),
                "-" if t.op == "input" else "exact" if t.own_snr_db is None and t.max_error is not None
                else _db(t.own_snr_db),
                "-" if t.max_error is None else f"{t.max_error:.4g}",
            )
        )  # fmt: skip
    return rows


def _db(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def check_words(check: Check) -> list[str]:
    """The verdict in sentences, the most important one first."""
    said = []
    broken = check.first_break
    if broken is None:
        said.append(f"No layer breaks on {check.samples:,} samples of {check.data}")
    else:
        said.append(f"{broken.name} is the first layer that breaks: {broken.problem}")
    emulated = check.emulated
    if check.fixed_accuracy is not None:
        parts = [f"{check.dtype} {100 * check.fixed_accuracy:.2f} %"]
        if check.float_accuracy is not None:
            parts.insert(0, f"float {100 * check.float_accuracy:.2f} %")
        said.append(f"Accuracy on {check.samples:,} samples: {', '.join(parts)}")
        if emulated is not None and emulated.accuracy is not None and emulated.python_accuracy is not None:
            said.append(
                f"Accuracy of the emulated firmware on the first {emulated.samples}: {100 * emulated.accuracy:.2f} % "
                f"({check.dtype} in Python on the same: {100 * emulated.python_accuracy:.2f} %)"
            )
    if emulated is not None:
        said.append(
            f"Emulated firmware equals the Python kernels bit for bit on {emulated.equal} of {emulated.samples} samples"
        )
    if check.not_emulated:
        said.append(f"The firmware was not emulated: {check.not_emulated}")
    return said
