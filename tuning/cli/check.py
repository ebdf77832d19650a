# SPDX-License-Identifier: Apache-2.0
"""``cmsisnn-tune MODEL --check DATA.npz``: a check as text."""

from __future__ import annotations

import sys

from ..base.console import console, make_table
from ..check import Check
from ..check.result import HEAD, check_rows, check_words

NARROWER = ((125, {"op"}), (115, {"range", "alone"}), (95, {"bits used"}))
"""Columns of a terminal below which some of the table are left out."""


def print_check(check: Check, *, no_color: bool = False, stderr: bool = False) -> None:
    """The table per tensor, what its columns mean, and the verdict."""
    out = console(no_color, stderr=stderr)
    against = "float against fixed point" if check.has_reference else "fixed point alone"
    out.print(f"\nCheck of {check.samples:,} samples of {check.data}: {against}")
    hidden = set() if check.has_reference else {"format", "SNR dB", "alone", "max error"}
    for width, names in NARROWER:
        hidden |= names if out.width < width else set()
    shown = [at for at, name in enumerate(HEAD) if name not in hidden]
    titles = [HEAD[at] for at in shown]
    table = make_table(*titles, right=tuple(name for name in titles if name not in ("layer", "op", "format")))
    first, breaking = check.first_break, check.breaking
    for tensor, row in zip(check.tensors, check_rows(check), strict=True):
        style = None if tensor not in breaking else "bold red" if tensor is first else "red"
        table.add_row(*(row[at] for at in shown), style=style)
    out.print(table)
    if check.has_reference:
        alone = ", alone: of the layer by itself on the inputs that it gets" if "alone" not in hidden else ""
        out.print(
            f"SNR: the signal's power over the error's, of the network up to here{alone}; the maximum error is in "
            f"units of the float network."
        )
        if any(tensor.op == "softmax" and tensor.max_error is None for tensor in check.tensors):
            out.print("CMSIS-NN's softmax is a power of two of raw integers: its values are not compared.")
    else:
        out.print(
            "The model file names no float network (key 'float', see cmsisnn-quantize): errors and accuracy of the "
            "float network are unknown."
        )
    out.print(
        "Headroom: bits by which the largest accumulator could grow before its 32 bits wrap. Saturated: outputs that "
        "the clamp changed."
    )
    for sentence in check_words(check):
        out.print(f"{sentence}.")


def print_failure(check: Check) -> None:
    """What broke, where the table is not wanted."""
    broken, emulated = check.first_break, check.emulated
    if broken is not None:
        print(f"error: {check.data}: layer {broken.name!r} breaks: {broken.problem}", file=sys.stderr)
    if emulated is not None and emulated.equal < emulated.samples:
        differ = emulated.samples - emulated.equal
        print(f"error: {check.data}: the firmware differs from the Python kernels on {differ} samples", file=sys.stderr)
