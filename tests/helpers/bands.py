# SPDX-License-Identifier: Apache-2.0
"""Device kernels called band by band: each call with its input rows alone, in a guarded buffer of their own.

A :class:`BandCase` is a layer, the most rows that a call makes, and how many each call makes. Outputs are compared with
the rows of the whole layer; they are poisoned, and what lies around them may not be touched.
"""

from __future__ import annotations

import struct
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from math import prod
from pathlib import Path

import numpy as np

from cmsisnn_x.bands import banded, least_rows
from cmsisnn_x.buffers import layer_scratch_bytes
from cmsisnn_x.steps import Step
from tuning.emit.cgen import WHOLE_FUNCTION, array_declare, macros
from tuning.emit.kernel_text import kernel_of
from tuning.emit.weights import activation_table
from tuning.emulate import Buffer, EmulationError, Trace, find_toolchain

from .device import BUDGET, HOST_MAIN, INCLUDE, SANITIZERS, SLOTS, WARNINGS, Build, Case, Machine


@dataclass(frozen=True)
class Call:
    """A call: its first output row and how many it makes, its first input row, how many it has and how many rows of
    padding lie above them. Of the output rows the first `begun` are those that earlier calls began.
    """

    first: int
    out: int
    start: int
    inside: int
    above: int
    begun: int = 0


@dataclass(frozen=True, eq=False)
class BandCase(Case):
    """A layer whose kernel makes `counts` rows in as many calls, none above `band`. In place, they go where the first
    window begins, rows of padding included. With `open_rows` calls go on with so many rows of those before them, and
    take their own input rows alone.
    """

    band: int = 1
    counts: tuple[int, ...] = ()
    open_rows: int = 0

    def __str__(self) -> str:
        return f"{super().__str__()}, band {self.band}, rows {self.counts}"

    @cached_property
    def scratch(self) -> int:
        if self.scratch_bytes is not None:
            return self.scratch_bytes
        layer = banded(self.layer, self.band)
        return layer_scratch_bytes(layer, self.variant) if self.variant is not None else 0

    @cached_property
    def calls(self) -> list[Call]:
        layer = self.layer
        assert sum(self.counts) == layer.output_image[0], self
        assert min(self.counts) >= (least_rows(layer, self.variant) or 0), self
        assert max(self.counts) <= self.band, self
        firsts = [end - count for end, count in zip(accumulate(self.counts), self.counts, strict=True)]
        if not layer.row.is_windowed:
            return [Call(first, count, first, count, 0) for first, count in zip(firsts, self.counts, strict=True)]
        found, height = [], layer.image[0]
        for first, count in zip(firsts, self.counts, strict=True):
            if self.open_rows:
                begun, above = min(first, self.open_rows), layer.padding[0][0]
                kernel, stride = layer.kernel[0], layer.stride[0]
                end = (first + count) * stride - above
                end += kernel - stride if first + count == layer.output_image[0] else 0
                start = max(first * stride - above, 0)
                inside = min(end, height) - start
                own = start - ((first - begun) * stride - above)
                found.append(Call(first - begun, begun + count, start, inside, own, begun))
                continue
            top = first * layer.stride[0] - layer.padding[0][0]
            reach = banded(layer, count).image[0]
            start, end = min(max(top, 0), height), min(max(top + reach, 0), height)
            found.append(Call(first, count, start, end - start, min(max(-top, 0), reach)))
        return found

    def rows_of(self, values: np.ndarray, first: int, count: int) -> bytes:
        """`count` rows of a tensor that is as high as the layer's own, flat or not."""
        high = self.layer.image[0] if values is not self.reference else self.layer.output_image[0]
        return np.ascontiguousarray(values.reshape(high, -1)[first : first + count]).tobytes()

    def buffers(self, call: Call) -> list[tuple[bytes, int]]:
        """Input, weights, bias, output and scratch of a call, and what each is off a word."""
        second = self.weights
        if self.other is not None and self.other.size == self.x.size:
            second = self.rows_of(np.asarray(self.constants[0]), call.start, call.inside)
        return [
            (self.rows_of(self.x, call.start, call.inside), self.input_offset or 0),
            (second, self.second_offset),
            (self.bias, self.third_offset if self.bias else 0),
            (self.begun_rows(call), self.output_offset or 0),
            (np.random.default_rng(call.first).bytes(self.scratch), 0),
        ]

    def shared(self, call: Call) -> tuple[bytes, int]:
        """What input and output lie in, and where the input begins: behind as many rows as there are of padding."""
        row = self.x.nbytes // self.layer.image[0]
        content = self.rows_of(self.x, call.start, call.inside)
        padding = np.random.default_rng(call.first).bytes(call.above * row)
        room = max(len(self.expected_rows(call)) - len(padding) - len(content), 0)
        return padding + content + bytes(room), len(padding)

    def expected_rows(self, call: Call) -> bytes:
        if self.open_rows:
            return self.largest(call.first, call.out, call.start + call.inside)
        return self.rows_of(self.reference, call.first, call.out)

    def begun_rows(self, call: Call) -> bytes:
        """What is in the output before a call: what earlier ones made of rows that they began, and poison."""
        before = self.largest(call.first, call.begun, call.start) if call.begun else b""
        return before + bytes(255 - byte for byte in self.expected_rows(call)[len(before) :])

    def largest(self, first: int, count: int, end: int) -> bytes:
        """Rows of the largest elements of those parts of their windows that lie before input row `end`."""
        layer, image = self.layer, self.x.reshape(self.layer.image)
        (kernel_h, kernel_w), (stride_y, stride_x) = layer.kernel, layer.stride
        (top, _), (left, _) = layer.padding
        rows = []
        for y in range(first * stride_y - top, (first + count) * stride_y - top, stride_y):
            across = range(-left, layer.output_image[1] * stride_x - left, stride_x)
            part = image[max(y, 0) : min(y + kernel_h, end)]
            rows.append([part[:, max(x, 0) : x + kernel_w].max(axis=(0, 1)) for x in across])
        made = np.array(rows, self.x.dtype)
        return (made if layer.scheme is None else np.clip(made, layer.scheme.low, layer.scheme.high)).tobytes()


def counts_of(height: int, least: int, band: int, rng: np.random.Generator) -> tuple[int, ...]:
    """Rows of each call, from `least` to `band`, that add up to `height`: drawn, as long as the rest can be made."""
    assert is_possible(height, least, band)
    left, found = height, []
    while left:
        able = [n for n in range(least, min(band, left) + 1) if is_possible(left - n, least, band)]
        found.append(int(rng.choice(able)))
        left -= found[-1]
    return tuple(found)


def is_possible(height: int, least: int, band: int) -> bool:
    """Whether calls of `least` to `band` rows add up to `height`."""
    return -(-height // band) * least <= height


def c_source(cases: Sequence[BandCase]) -> str:
    """One translation unit: ``caseN(input, weights, bias, output, scratch, in, above, out)`` of every case."""
    aligned = "#define CXN_ALIGNED __attribute__((aligned(4)))"
    lines = ['#include "cmsisnn_x/config.h"', "#include <stdint.h>", aligned, WHOLE_FUNCTION, ""]
    for number, case in enumerate(cases):
        layer, name, prefix = case.layer, f"case{number}", f"CASE{number}"
        kernel = kernel_of(
            Step.of(layer, case.variant, in_place=case.in_place),
            tuple(case.operands.values()) if layer.type.is_affine else case.constants,
            scratch_bytes=case.scratch,
            input_aligned=case.input_offset is None,
            output_aligned=case.output_offset is None,
        )
        own = {f"{prefix}_{key}": value for key, value in case.macros.items()}
        own |= {f"{prefix}_OPEN_ROWS": case.open_rows} if case.open_rows else {}
        lines += [f"/* {case} */", macros(kernel.macros(prefix) | own | {f"{prefix}_BAND": case.band})]
        table = None
        if layer.row.has_table and not layer.type.is_affine:
            table = f"{name}_table"
            lines.append(array_declare(table, activation_table(case.op, layer.dtype)))
        text = kernel.inclusion(f"{name}_kernel", prefix, table=table)
        lines.append(text.replace(", void *);", ", void *, cxn_rows);"))
        operands = [f"(const {type_} *){what}" for type_, what in zip(kernel.operands, SLOTS, strict=False)]
        arguments = "const void *input, const void *weights, const void *bias, void *output, void *scratch"
        lines += [
            f"void {name}({arguments}, int32_t in, int32_t above, int32_t out);",
            f"void {name}({arguments}, int32_t in, int32_t above, int32_t out)",
            "{",
            "    const cxn_rows rows = {in, above, out};",
            "    (void)weights; (void)bias;",
            f"    {name}_kernel({', '.join(operands)}, ({kernel.output} *)output, scratch, rows);",
            "}",
        ]
    return "\n".join(lines)


def compile_bands(
    cases: Sequence[BandCase], core: str, compiler: str = "gcc", cflags: Sequence[str] = ("-O3",)
) -> BandMachine:
    toolchain = find_toolchain(compiler)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "cases.c").write_text(c_source(cases) + "\n")
        flags = [*WARNINGS, *cflags]
        said = toolchain.build([root / "cases.c"], root / "cases.elf", core, cflags=flags, include=[INCLUDE])
        assert not said.strip(), said
        return BandMachine(list(cases), core, (root / "cases.elf").read_bytes())


class BandMachine(Machine):
    """An emulated core with kernels that work on bands."""

    def run_call(self, number: int, call: Call) -> Trace:
        case, emulator = self.cases[number], self.emulator
        assert isinstance(case, BandCase)
        where = f"{self.core} {case}: {call}"
        emulator.reset()
        placed: list[Buffer | int] = [
            emulator.buffer(content, offset=offset, writable=at >= 3) if content or at in (0, 3) else 0
            for at, (content, offset) in enumerate(case.buffers(call))
        ]
        arguments, output = list(placed), placed[3]
        if case.in_place:
            before, start = case.shared(call)
            output = emulator.buffer(before, offset=case.input_offset or 0)
            arguments[0], arguments[3] = emulator.address(output) + start, output
        try:
            trace = emulator.call(f"case{number}", [*arguments, call.inside, call.above, call.out], budget=BUDGET)
        except EmulationError as error:
            raise AssertionError(f"{where}: {error}") from error
        written = len(case.expected_rows(call))
        after = emulator.read(output)
        _assert_rows(after[:written], case, call, where)
        assert not case.in_place or after[written:] == before[written:], f"{where}: wrote behind its rows"
        return trace

    def cycles(self, number: int) -> int:
        """Of all calls of a case, checked."""
        case = self.cases[number]
        assert isinstance(case, BandCase)
        return sum(self.run_call(number, call).cycles for call in case.calls)

    def check(self) -> None:
        for number in range(len(self.cases)):
            self.cycles(number)


def _assert_rows(got: bytes, case: BandCase, call: Call, where: str) -> None:
    dtype = case.reference.dtype
    found, expected = (np.frombuffer(data, dtype) for data in (got, case.expected_rows(call)))
    wrong = np.flatnonzero(found != expected)
    if len(wrong):
        shape = (call.out, *case.layer.output_image[1:])
        at = tuple(map(int, np.unravel_index(wrong[0], shape))) if prod(shape) == len(expected) else wrong[0]
        raise AssertionError(
            f"{where}: {len(wrong)} of {len(expected)} differ, first at {at}: "
            f"got {found[wrong[0]]}, expected {expected[wrong[0]]}"
        )


def assert_bands(build: Build, cases: Sequence[BandCase]) -> None:
    """Compile the cases as `build` says, run every call of each, compare every element."""
    compile_bands(cases, build.core, build.compiler, [build.level]).check()


def check_bands_on_host(cases: Sequence[BandCase], compiler: str) -> None:
    """Every call natively, each buffer of exactly its size between red zones."""
    wrappers, entries, blocks, calls = [], [], [], []
    arguments = "const void *input, const void *weights, const void *bias, void *output, void *scratch"
    for number, case in enumerate(cases):
        for call in case.calls:
            name = f"call{len(calls)}"
            rows = f"{call.inside}, {call.above}, {call.out}"
            wrappers.append(
                f"static void {name}({arguments}) {{ case{number}(input, weights, bias, output, scratch, {rows}); }}"
            )
            entries.append(name)
            calls.append((case, call))
            blocks += [struct.pack("<II", len(data), offset) + data for data, offset in case.buffers(call)]
    with tempfile.TemporaryDirectory() as folder:
        source, program = Path(folder) / "cases.c", Path(folder) / "cases"
        text = [c_source(cases), *wrappers, HOST_MAIN.replace("ENTRIES", ", ".join(entries))]
        source.write_text("\n".join(text))
        command = [compiler, *WARNINGS, "-O0", *SANITIZERS, f"-I{INCLUDE}", str(source), "-o", str(program)]
        built = subprocess.run(command, capture_output=True, text=True, check=False)
        assert built.returncode == 0, built.stderr
        ran = subprocess.run([str(program)], input=b"".join(blocks), capture_output=True, check=False)
    report = ran.stderr.decode(errors="replace")
    last = report.split("case")[-1].split("\n")[0]
    assert ran.returncode == 0, f"{calls[int(last)] if last.isdigit() else 'start'}\n{report[-4000:]}"
    at = 0
    for case, call in calls:
        size = len(case.expected_rows(call))
        _assert_rows(ran.stdout[at : at + size], case, call, f"host {case}: {call}")
        at += size
    assert at == len(ran.stdout)
