# SPDX-License-Identifier: Apache-2.0
"""The headers as a firmware engineer meets them: in C++ too, no warnings, wrong values refused, a second emulator."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cmsisnn_x.op import device_variant_problem, device_variants
from cmsisnn_x.variant import BASELINE, Variant
from helpers import bands
from helpers.affine_layers import pooling, weighted
from helpers.device import INCLUDE, Case, c_source, compilers, draw
from helpers.layers import make_layer
from helpers.qemu import BOARDS, Board, check_in_qemu
from tuning.emulate import ToolchainError, find_toolchain
from tuning.target.cores import CORES

from .test_bands import TABLED, band_case
from .test_int8_elements import KINDS
from .test_int8_layers import real
from .test_row_sums import cases as row_sums


def one_of_each() -> list[Case]:
    """A case of every template and element type, some of them at odd addresses."""
    found = []
    for dtype in ("q7", "q15"):
        offsets = {"input_offset": 1, "output_offset": 3} if dtype == "q15" else {}
        conv = make_layer("conv2d", (6, 7, 3), dtype=dtype, out_channels=5, kernel=3, padding=1, out_shift=8)
        deep = make_layer("depthwise_conv2d", (6, 5, 6), dtype=dtype, kernel=3, padding=1, out_shift=6)
        full = make_layer("fully_connected", (33,), dtype=dtype, out_channels=7, out_shift=7, activation="relu")
        found += [Case(conv, BASELINE, **offsets), Case(deep, Variant(1, 1, 1, 1), **offsets)]
        found += [
            Case(full, Variant(2, 2, 1, 1, lowering="direct", weight_layout=w), **offsets)
            for w in ("plain", "interleaved")
        ]
        for op, wide in (("max_pool2d", 1), ("avg_pool2d", 2)):
            behind = make_layer(op, conv.output_shape, dtype=dtype, kernel=3, stride=2, padding=1)
            found.append(Case(conv, Variant(8, 2, wide, 2, fused_pool=True), behind=behind, **offsets))
        for op in ("max_pool2d", "avg_pool2d"):
            found.append(Case(make_layer(op, (7, 6, 5), dtype=dtype, kernel=3, stride=2, ceil_mode=True), **offsets))
        found += [Case(make_layer(op, (3, 5, 2), dtype=dtype, int_bits=3), **offsets) for op in ("relu", *TABLED)]
        found.append(Case(make_layer("softmax", (12,), dtype=dtype), input=np.arange(12) - 6, **offsets))
        found.append(
            Case(make_layer("multiply", (9,), dtype=dtype, out_shift=7), other=draw((9,), dtype, "other"), **offsets)
        )
    return found + with_zero_points()


def with_zero_points() -> list[Case]:
    """Of kernels that have zero points: every way to make outputs, and every operation."""
    conv = weighted("conv2d", (6, 7, 3), out_channels=5, kernel=3, padding=1)
    found = [
        Case(conv, BASELINE),
        Case(weighted("conv2d", (6, 7, 3), out_channels=5, kernel=3, padding=1, kind="left"), BASELINE),
        Case(weighted("conv2d", (6, 7, 4), out_channels=6, kernel=3, padding=2, groups=2, dilation=(2, 2)), BASELINE),
        Case(weighted("depthwise_conv2d", (6, 5, 6), kernel=3, padding=1), Variant(1, 1, 1, 1)),
        Case(weighted("depthwise_conv2d", (6, 5, 6), kernel=3, padding=1, wide=True), BASELINE, output_offset=1),
        Case(weighted("fully_connected", (33,), out_channels=7), Variant(2, 2, 1, 1, lowering="direct")),
    ]
    behind = pooling("avg_pool2d", conv.output_shape, kernel=3, stride=2, limits=(-99, 100))
    found.append(Case(conv, Variant(8, 2, 2, 2, fused_pool=True), behind=behind))
    others = [case for make in KINDS.values() for case in make() if not case.in_place and case.x.nbytes <= 200]
    return [*found, *real()[::3], *others[::6]]


def syntax_check(command: list[str], source: Path, text: str) -> None:
    source.write_text(text)
    flags = ["-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Wpedantic", "-Werror", "-O1", "-c"]
    done = subprocess.run(
        [*command, *flags, f"-I{INCLUDE}", str(source), "-o", str(source.with_suffix(".o"))],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def arm_command(compiler: str, core: str, *, cpp: bool) -> list[str]:
    toolchain = find_toolchain(compiler)
    command = list(toolchain.command)
    if cpp:
        command[-1] = command[-1].removesuffix("gcc") + "g++" if compiler == "gcc" else "c++"
    return [*command, *toolchain.core_flags(core)]


@pytest.mark.parametrize(
    "core", ["cortex-m0plus", pytest.param("cortex-m3", marks=pytest.mark.full), "cortex-m4", "cortex-m55"]
)
@pytest.mark.parametrize("compiler", compilers())
@pytest.mark.parametrize(
    ("suffix", "standard"), [(".c", "-std=c99"), pytest.param(".cpp", "-std=c++11", marks=pytest.mark.full)]
)
def test_headers_are_clean_in_c_and_cpp(
    compiler: str, core: str, suffix: str, standard: str, full: bool, tmp_path: Path
) -> None:
    command = arm_command(compiler, core, cpp=suffix == ".cpp")
    vectors = [case for case in one_of_each_block(core) if case.variant.inner == "helium"]
    # Without --full every third: a core meets all of them, by one compiler or the other, in one language or the other.
    turn = list(CORES).index(core) + compilers().index(compiler) + (suffix == ".cpp")
    cases = [*one_of_each(), *vectors]
    chosen = cases if full else cases[turn % 3 :: 3]
    syntax_check([*command, standard], tmp_path / f"all{suffix}", c_source(chosen))


def one_of_each_block(core: str) -> list[Case]:
    """A case of every registered kernel but for its unrolling: whatever of the headers a layer can select."""
    found, features = {}, replace(CORES[core].features, schedule=None)
    for dtype in ("q7", "q15"):
        conv = make_layer("conv2d", (8, 9, 4), dtype=dtype, out_channels=5, kernel=3, out_shift=8)
        pool = make_layer("max_pool2d", conv.output_shape, dtype=dtype, kernel=2)
        deep = make_layer("depthwise_conv2d", (7, 6, 6), dtype=dtype, kernel=3, out_shift=6)
        full = make_layer("fully_connected", (33,), dtype=dtype, weights_dtype="q7", out_channels=7, out_shift=7)
        for layer in (conv, deep, full):
            for variant in device_variants(layer.python_op, dtype, features):
                if device_variant_problem(layer, variant, features, pool) is None:
                    block = replace(variant, unroll=1, im2col_cols=4)
                    found[layer.op, dtype, block] = Case(layer, variant, behind=pool)
    return list(found.values())


@pytest.mark.parametrize(
    "core", ["cortex-m0plus", pytest.param("cortex-m3", marks=pytest.mark.full), "cortex-m7", "cortex-m55"]
)
@pytest.mark.parametrize("in_bands", [pytest.param(False, marks=pytest.mark.full), True])
def test_an_instance_leaves_no_macro_behind(core: str, in_bands: bool, tmp_path: Path) -> None:
    """Every macro that a header defines for one instance is gone at its end: the next may define it in another way."""
    once: list[Case] = [*one_of_each(), *one_of_each_block(core)]
    if in_bands:
        rng, alone = np.random.default_rng(0), [case for case in once if case.behind is None and case.pool is None]
        made = [band_case(case.layer, case.variant, rng, other=case.other) for case in alone]
        once = [*(case for case in made if case is not None), *row_sums()[:8]]
    cases = [*once, *once]
    source = tmp_path / "all.c"
    source.write_text(bands.c_source(cases) if in_bands else c_source(cases))
    command = arm_command(compilers()[0], core, cpp=False)
    done = subprocess.run(
        [*command, "-std=c99", "-E", "-dD", f"-I{INCLUDE}", str(source)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    # In the second half every header has been included before: what it still defines belongs to the instance.
    number, left, instances = -1, set(), 0
    for line in done.stdout.splitlines():
        if not line.startswith("#"):
            continue
        word, _, rest = line.partition(" ")
        name = re.match(r"\w*", rest)[0]
        if line.startswith("#define CASE") and name == f"CASE{number + 1}_IN_H":
            number += 1
            assert not left, f"{cases[number - 1]} leaves {', '.join(sorted(left))}"
        elif number >= len(once) and word == "#define" and name.startswith("CXN_"):
            left.add(name)
            instances += name == "CXN_KERNEL"
        elif word == "#undef":
            left.discard(name)
    assert number == len(cases) - 1
    assert not left, f"{cases[-1]} leaves {', '.join(sorted(left))}"
    assert instances >= len(once)


WRONG = (
    ("conv2d", "STRIDE_X", 0),
    ("conv2d", "OUT_SHIFT", 32),
    ("conv2d", "OUT_MIN", -1),
    ("depthwise_conv2d", "OUT_MAX", 100),
    ("fully_connected", "UNROLL", 3),
    ("fully_connected", "BLOCK_ROWS", 3),
    ("fully_connected", "LOWERING", 9),
    ("fully_connected", "WEIGHT_LAYOUT", 0),
    ("fully_connected", "INNER", 7),
    ("fully_connected", "WEIGHT_BITS", 16),
    ("fully_connected", "TILE", 2),
    ("max_pool2d", "KERNEL_H", 0),
    ("max_pool2d", "STRIDE_Y", 99),
    ("avg_pool2d", "PAD_LEFT", 9),
    ("avg_pool2d", "OUT_CH", 99),
    ("avg_pool2d", "IN_BITS", 12),
    ("relu", "INPUT_ALIGNED", 2),
    ("sigmoid", "INT_BITS", 4),
    ("softmax", "IN_CH", 65536),
)


@pytest.mark.parametrize(("op", "macro", "value"), WRONG, ids=[f"{op}-{macro}" for op, macro, _ in WRONG])
def test_an_impossible_value_stops_with_the_legal_ones(op: str, macro: str, value: int, tmp_path: Path) -> None:
    case = next(c for c in one_of_each() if c.layer.op == op)
    source = tmp_path / "wrong.c"
    source.write_text(c_source([Case(case.layer, case.variant, macros={macro: value}, scratch_bytes=0)]))
    toolchain = find_toolchain(compilers()[0])
    with pytest.raises(ToolchainError, match=f"{macro}.*: legal value"):
        toolchain.compile(source, tmp_path / "wrong.o", "cortex-m4", cflags=["-O1"], include=[INCLUDE])


@pytest.mark.skipif(
    shutil.which("qemu-system-arm") is None, reason="qemu-system-arm, an optional second emulator, is not installed"
)
@pytest.mark.full
@pytest.mark.parametrize("board", BOARDS, ids=[board.core for board in BOARDS])
def test_qemu_agrees(board: Board, full: bool) -> None:
    cases = one_of_each() if full else one_of_each()[BOARDS.index(board) % 3 :: 3]
    for compiler in compilers() if full else compilers()[:1]:
        check_in_qemu(cases, board, compiler)


@pytest.mark.skipif(
    shutil.which("qemu-system-arm") is None, reason="qemu-system-arm, an optional second emulator, is not installed"
)
def test_qemu_would_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    right, case = one_of_each()[:2]
    wrong = case.reference.copy()
    wrong.flat[0] ^= 1
    different = replace(case, expected=wrong)
    with pytest.raises(AssertionError, match="differs: depthwise_convolve"):
        check_in_qemu([right, different], BOARDS[1], compilers()[0])
    shorter = replace(case, expected=case.reference.reshape(-1)[:-1])
    with pytest.raises(AssertionError, match="wrote outside of its buffers: depthwise_convolve"):
        check_in_qemu([right, shorter], BOARDS[1], compilers()[0])

    def careless(cases: list[Case]) -> str:
        before, call, after = c_source(cases).rpartition("case1_kernel(")
        return f'{before}__asm__ volatile("vmov.i32 q5, #3");\n{call}{after}'

    monkeypatch.setattr("helpers.device.c_source", careless)
    (board,) = (board for board in BOARDS if board.core == "cortex-m55")
    with pytest.raises(AssertionError, match="a register of the caller changed: depthwise_convolve"):
        check_in_qemu([right, case], board, compilers()[0])
