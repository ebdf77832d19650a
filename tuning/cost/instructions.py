# SPDX-License-Identifier: Apache-2.0
"""Cycles of the instructions that prices are made of, and of what the inner products of all operations share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cmsisnn_x.isa import Features, Isa
from cmsisnn_x.layers import Layer
from cmsisnn_x.variant import Variant

REGISTERS = 12
"""Core registers that an inner loop can hold values in: r0-r12 and lr, less the stack's and one for an address."""


@dataclass(frozen=True)
class Cycles:
    """Of one instruction each, in long runs of them: a core that issues two at a time takes half as many.

    Attributes
    ----------
    alu, store : float
    load, first_load : float
        A load right behind another one; what the first of several takes more.
    branch : float
        A taken one.
    call : float
        Of memset, memcpy or a function that was not inlined: arguments, saved registers, and two branches; rough.
    mac : float
        SMLAD with the DSP extension, and never divided: no core here starts two at a time. Without, the cheaper of a
        multiply-accumulate and a multiplication and an addition.
    """

    alu: float
    store: float
    load: float
    first_load: float
    branch: float
    call: float
    mac: float

    @classmethod
    def of(cls, timing: Mapping[str, float], features: Features) -> Cycles:
        width = timing["issue_width"]
        alu, store, load = (timing[name] / width for name in ("alu", "store", "load_next"))
        branch = (timing["branch"] + timing["branch_taken"]) / width
        mac = timing["multiply_accumulate"]
        if features.isa < Isa.DSP:
            mac = min(mac, timing["multiply"] + timing["alu"])
        return cls(alu, store, load, timing["load"] / width - load, branch, 8 * alu + 2 * branch, mac)

    @property
    def turn(self) -> float:
        """A turn of a loop: a counter, a comparison, the branch back."""
        return 2 * self.alu + self.branch


def is_narrow(layer: Layer) -> bool:
    """Whether weights are of 8 bits."""
    return (layer.weights_dtype or layer.dtype) == "q7"


def is_plain(variant: Variant) -> bool:
    """Whether the inner loop reads rows of weights as the model has them; Winograd's are transformed before."""
    return variant.weight_layout == "plain" and variant.lowering != "winograd"


def spilled(variant: Variant, rows: int, cols: int, one: Cycles) -> float:
    """Loads of what the registers cannot hold of a block in C, each value twice: stored and loaded again. Assembly was
    written so that all fits.
    """
    return max(rows * cols + rows + cols - REGISTERS, 0) * 2 * one.load if variant.inner == "c" else 0.0


def element(variant: Variant, rows: int, cols: int, one: Cycles) -> float:
    """One element of every row and column: all loads, all products, and half of a pass's spills; rough."""
    products = rows * cols * one.mac
    return products + (rows + cols) * one.load + one.first_load + spilled(variant, rows, cols, one) / 2


def inner_pass(layer: Layer, variant: Variant, rows: int, cols: int, features: Features, one: Cycles) -> float:
    """One pass of the inner loop of a block.

    Two elements of every row and column, an SMLAD for both where there is one; four from plain rows of 8 bits.
    """
    if variant.column_layout == "packed":
        # Two columns of words for three; with Thumb-1, a widened weight and a copy for each.
        extra = 7 * one.alu if features.schedule == "v6m" else 0.0
        return 2 * rows * 2 * one.mac + (2 * rows + 4) * one.load + one.first_load + extra
    if features.isa < Isa.DSP:
        return 2 * element(variant, rows, cols, one)
    spills = spilled(variant, rows, cols, one)
    if is_plain(variant) and is_narrow(layer):
        # A word of each row, widened and put in order by two SXTB16 and two PKH; two words of each column.
        widened = rows * (one.load + 4 * one.alu)
        return 2 * rows * cols * one.mac + widened + 2 * cols * one.load + 2 * one.first_load + spills
    halved = is_narrow(layer) and variant.weight_layout not in ("plain", "widened")
    # A word per row; or per two rows, and an SXTB16 for each.
    words, widen = (rows / 2, rows * one.alu) if halved else (rows, 0.0)
    if variant.column_layout == "paired":
        # A word per two columns, and its low bytes.
        return rows * cols * one.mac + (words + cols / 2) * one.load + widen + cols / 2 * one.alu + one.first_load
    return rows * cols * one.mac + words * one.load + widen + cols * one.load + one.first_load + spills


def block_ends(rows: int, cols: int, one: Cycles) -> float:
    """A block begun and finished: accumulators set and read, a bias per row, addresses, the loop over blocks; rough."""
    return rows * cols * 2 * one.alu + rows * (one.load + 2 * one.alu) + 8 * one.alu + one.branch
