# SPDX-License-Identifier: Apache-2.0
"""Averages of a whole image and means whose rows come a few at a time, sums kept from call to call."""

from __future__ import annotations

from itertools import accumulate, product
from pathlib import Path

import numpy as np
import pytest

from cmsisnn_x.affine import AffineMean
from cmsisnn_x.layers import Layer
from helpers.affine_layers import pooling
from helpers.bands import BandCase, c_source
from helpers.device import INCLUDE, WARNINGS, Build, sample
from helpers.layers import make_layer
from tuning.emulate import Emulator, find_toolchain

CHANNELS = (1, 5, 8, 13, 16, 24, 43, 64)
IMAGES = ((7, 5), (4, 1), (19, 20), (1, 3))  # of 380 pixels sums are beyond 16 bits
LIMITS = {"int8": (-128, 127), "int16": (-32768, 32767)}


def cases() -> list[BandCase]:
    found = []
    for at, (channels, (height, width)) in enumerate(product(CHANNELS, IMAGES)):
        offsets = ((None, None), (1, 3), (3, 1), (None, 2))[at % 4]
        rows, left = [], height
        while left:
            rows.append(min(left, 1 + (at + left) % 4))
            left -= rows[-1]
        own = {"band": max(rows), "counts": tuple(rows), "scratch_bytes": 4 * channels}
        own |= {"input_offset": offsets[0], "output_offset": offsets[1]}
        shape, kernel = (height, width, channels), (height, width)
        layers = [make_layer("avg_pool2d", shape, dtype=dtype, kernel=kernel) for dtype in ("q7", "q15")]
        found += [BandCase(layer, **own) for layer in layers]
        for dtype in ("int8", "int16"):
            limits = (-60, 90) if at % 3 == 0 else LIMITS[dtype]
            found.append(BandCase(pooling("avg_pool2d", shape, dtype=dtype, kernel=kernel, limits=limits), **own))
            zeros = (-128, 100) if dtype == "int8" else (0, 0)
            flat, out = (1, height * width, channels), (1, 1, channels)
            scheme = AffineMean.of(flat[1], (1.3, 1.0), zeros, LIMITS[dtype])
            layer = Layer("mean", "mean", dtype, flat, out, scheme=scheme)
            found.append(BandCase(layer, macros={"IN_H": height, "IN_W": width}, **own))
    return found


def assert_sums(folder: Path, build: Build, found: list[BandCase]) -> list[int]:
    """Every case in its calls, of which the last alone writes outputs; their cycles."""
    (folder / "cases.c").write_text(c_source(found) + "\n")
    toolchain = find_toolchain(build.compiler)
    flags = [*WARNINGS, build.level]
    toolchain.build([folder / "cases.c"], folder / "cases.elf", build.core, cflags=flags, include=[INCLUDE])
    emulator, cycles = Emulator((folder / "cases.elf").read_bytes(), build.core, checked=True), []
    for number, case in enumerate(found):
        content = np.ascontiguousarray(case.x).reshape(sum(case.counts), -1)
        scratch, total = np.random.default_rng(number).bytes(case.scratch), 0
        for end, count in zip(accumulate(case.counts), case.counts, strict=True):
            emulator.reset()
            rows = content[end - count : end].tobytes()
            given = emulator.buffer(rows, offset=case.input_offset or 0, writable=False)
            poison = (~case.reference).tobytes()
            output = emulator.buffer(poison, offset=case.output_offset or 0)
            kept = emulator.buffer(scratch)
            last = end == len(content)
            above = end - count
            total += emulator.call(f"case{number}", [given, 0, 0, output, kept, count, above, int(last)]).cycles
            scratch = emulator.read(kept)
            expected = case.reference.tobytes() if last else poison
            assert emulator.read(output) == expected, f"{build} {case}: rows {above} to {end}"
        cycles.append(total)
    return cycles


@pytest.mark.emulated
def test_sums_of_rows_in_vectors(helium_build: Build, full: bool, tmp_path: Path) -> None:
    assert_sums(tmp_path, helium_build, sample(cases(), helium_build, full, most=6))


@pytest.mark.emulated
def test_sums_of_rows(build: Build, full: bool, tmp_path: Path) -> None:
    assert_sums(tmp_path, build, sample(cases(), build, full, most=2))
