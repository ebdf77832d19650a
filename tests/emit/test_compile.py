# SPDX-License-Identifier: Apache-2.0
"""The emitted folder compiles cleanly, stops at impossible values, builds under CMake and runs in QEMU."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import tuning
from cmsisnn_x import Variant
from cmsisnn_x.layers import Layer
from helpers.cores import PLAIN
from helpers.folders import WARNINGS, assert_same, host_run, zig
from helpers.networks import NETWORKS, conv, forward, inputs
from helpers.plans import chain, make_plan
from helpers.samples import one_in
from tuning.emulate import find_toolchain
from tuning.target import cores

GCC = shutil.which("arm-none-eabi-gcc")
COMPILERS = ["clang", *(["gcc"] if GCC else [])]
qemu = pytest.mark.skipif(shutil.which("qemu-system-arm") is None, reason="qemu-system-arm is not installed")
COMPILED = ("separable", "q15", "mixed", "only_relu")


def compile_for(core: str, compiler: str, *arguments: object) -> str:
    if compiler == "clang":
        row = cores.CORES[core]
        target = "thumb-freestanding-eabihf" if row.helium else "thumb-freestanding-eabi"
        return zig("-target", target, f"-mcpu={row.zig_cpu}", *arguments).stderr
    command = [str(GCC), *find_toolchain("gcc").core_flags(core), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stderr


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    made = {name: tmp_path_factory.mktemp(name) for name in COMPILED}
    for name, folder in made.items():
        tuning.emit(make_plan(name, NETWORKS[name]), folder)
    return made


@pytest.mark.emulated
@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize("core", one_in(2, [*PLAIN, "cortex-m55"]))
def test_c99_without_a_warning(core: str, compiler: str, folders: dict[str, Path], full: bool, tmp_path: Path) -> None:
    names = COMPILED if full else COMPILED[list(cores.CORES).index(core) % 2 :: 2]
    for name in names:
        for level in ("-O2", "-O3", "-Os") if full else ("-O3",):
            flags = (*WARNINGS, "-pedantic", level, "-DCXN_NO_TARGET_WARNING", "-I", folders[name])
            assert compile_for(core, compiler, *flags, "-c", folders[name] / f"{name}.c", "-o", tmp_path / "o") == ""


NEEDED = re.compile(
    r"(__aeabi_)?mem(cpy|set|clr)[48]?|__aeabi_u?idiv(mod)?|__aeabi_unwind_cpp_pr\d|__gnu_thumb1_case_\w+"
)
"""What the C library must give, under the names of the Arm ABI too, and what the compiler brings along."""


@pytest.mark.emulated
@pytest.mark.parametrize("compiler", one_in(2, COMPILERS))
def test_nothing_is_needed_but_memcpy_and_memset(compiler: str, folders: dict[str, Path], tmp_path: Path) -> None:
    from elftools.elf.elffile import ELFFile

    for name in COMPILED:
        for core in ("cortex-m0plus", "cortex-m4"):
            source = folders[name] / f"{name}.c"
            compile_for(core, compiler, "-std=c99", "-O3", "-I", folders[name], "-c", source, "-o", tmp_path / "o")
            with (tmp_path / "o").open("rb") as stream:
                symbols = [*ELFFile(stream).get_section_by_name(".symtab").iter_symbols()]
            needed = {s.name for s in symbols if s["st_shndx"] == "SHN_UNDEF" and s.name}
            assert not {symbol for symbol in needed if not NEEDED.fullmatch(symbol)}
            external = {s.name for s in symbols if s["st_info"]["bind"] == "STB_GLOBAL" and s.name} - needed
            layers = {layer.name for layer in NETWORKS[name]}
            assert external == {f"{name}_{layer}" for layer in {*layers, "run"}}


@pytest.mark.emulated
@pytest.mark.parametrize("compiler", COMPILERS)
def test_all_files_compile_below_a_sketch_of_arduino(compiler: str, folders: dict[str, Path], tmp_path: Path) -> None:
    # Which has its own main, compiles every file that it finds, and puts no folder on the include path.
    for path in sorted(folders["separable"].rglob("*.c")):
        for macros in ([], ["-DARDUINO=10607"]):
            flags = (*WARNINGS, "-Os", *macros, "-c", path, "-o", tmp_path / "o")
            assert compile_for("cortex-m4", compiler, *flags) == "", path
        if path.name == "main.c":
            assert b"vectors" not in (tmp_path / "o").read_bytes()


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("digits_resnet")
    tuning.emit(tuning.tune(tuning.load_model("digits_resnet"), tuning.load_target("cortex-m4")), folder)
    return folder


@pytest.mark.emulated
@pytest.mark.parametrize("compiler", COMPILERS)
def test_networks_may_share_a_translation_unit(
    compiler: str, folders: dict[str, Path], graph: Path, tmp_path: Path
) -> None:
    unit = tmp_path / "unit.c"
    all_folders = {**folders, "digits_resnet": graph}
    paths = [all_folders[name] / f"{name}.c" for name in ("separable", "digits_resnet", "q15", "only_relu")]
    unit.write_text("".join(f'#include "{path.as_posix()}"\n' for path in paths))
    includes = [flag for path in paths for flag in ("-I", path.parent)]
    assert compile_for("cortex-m4", compiler, *WARNINGS, "-O3", *includes, "-c", unit, "-o", tmp_path / "o") == ""


def test_names_that_differ_in_case_only_meet_in_an_error(tmp_path: Path) -> None:
    for name in ("net", "Net"):
        tuning.emit(make_plan(name, NETWORKS["only_relu"]), tmp_path / name)
    (tmp_path / "both.c").write_text('#include "net/net.h"\n#include "Net/Net.h"\n')
    with pytest.raises(AssertionError, match="differs in case only"):
        zig("-std=c99", "-c", tmp_path / "both.c", "-o", tmp_path / "o")


@pytest.mark.emulated
@pytest.mark.parametrize("compiler", COMPILERS)
def test_builds_without_optimisation_say_what_they_cost(
    compiler: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    flags = ("-std=c99", "-O0", "-I", folders["only_relu"], "-c", folders["only_relu"] / "only_relu.c")
    assert "CXN_NO_OPTIMIZE_WARNING" in compile_for("cortex-m4", compiler, *flags, "-o", tmp_path / "o")
    silent = "-DCXN_NO_OPTIMIZE_WARNING"
    assert compile_for("cortex-m4", compiler, silent, *flags, "-o", tmp_path / "o") == ""


@pytest.mark.emulated
@pytest.mark.parametrize("compiler", COMPILERS)
def test_code_for_another_core_says_so(
    compiler: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Armv8-M without Thumb-2, for which kernels are those of Armv6-M.
    row = replace(cores.CORES["cortex-m0plus"], name="cortex-m23", zig_cpu="cortex_m23")
    monkeypatch.setitem(cores.CORES, row.name, row)
    alike = {"cortex-m0plus": ("cortex-m0plus", row.name), "cortex-m4": ("cortex-m7",)}
    for planned in ("cortex-m0plus", "cortex-m3", "cortex-m4", "cortex-m55"):
        tuning.emit(make_plan("net", NETWORKS["only_relu"], core=planned), tmp_path / planned)
        for core in ("cortex-m0plus", row.name, "cortex-m3", "cortex-m7", "cortex-m55"):
            flags = ("-std=c99", "-O1", "-I", tmp_path / planned, "-c", tmp_path / planned / "net.c")
            said = compile_for(core, compiler, *flags, "-o", tmp_path / "o")
            is_other = core not in alike.get(planned, (planned,))
            assert ("CXN_NO_TARGET_WARNING" in said) is is_other, (planned, core, said)


@pytest.mark.emulated
@pytest.mark.skipif(GCC is None, reason="arm-none-eabi-gcc is not installed")
def test_big_endian_is_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    flags = ("-O1", "-I", folders["only_relu"], "-c", folders["only_relu"] / "only_relu.c", "-o", tmp_path / "o")
    with pytest.raises(AssertionError, match="little-endian"):
        compile_for("cortex-m4", "gcc", "-mbig-endian", *flags)
    with pytest.raises(AssertionError, match="r9"):
        compile_for("cortex-m4", "clang", "-frwpi", *flags)


@pytest.mark.parametrize("long", [True, False])
def test_the_longest_and_the_strangest_names(long: bool, tmp_path: Path) -> None:
    # Names that differ in their last character only, and names that look like those the emitter makes from others.
    model = "m" * 63 if long else "layer"
    names = ["n" * 62 + "a", "n" * 62 + "b"] if long else ["a", "a_weights", "a_kernel", "arena", "a_bias", "_", "in"]
    layers = chain((4, 4, 2), "q7", *[conv(2, 3, pad=1, name=name) for name in names])
    plan = make_plan(model, layers)
    tuning.emit(plan, tmp_path)
    run = host_run(plan, tmp_path)
    for x in inputs(layers, 3):
        assert_same(run(x, 1), forward(layers, x), model)


@pytest.mark.parametrize("standard", ["-std=c++98", "-std=c++20"])
def test_headers_in_cplusplus(standard: str, folders: dict[str, Path], tmp_path: Path) -> None:
    folder = folders["separable"]
    (tmp_path / "use.cpp").write_text(
        '#include "separable.h"\n#include "separable_config.h"\n'
        "void use(const int8_t *x, int8_t *y) { separable_run(x, y); separable_conv2d0(x, y); }\n"
    )
    flags = ("-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Wold-style-cast", "-Werror", "-pedantic")
    zig(standard, *flags, "-I", folder, "-c", tmp_path / "use.cpp", "-o", tmp_path / "use.o", language="c++")
    symbols = (tmp_path / "use.o").read_bytes()
    assert b"separable_run" in symbols
    assert b"_Z13separable_run" not in symbols


@pytest.mark.parametrize(
    ("pattern", "value", "message"),
    [
        (r"(SEPARABLE_CONV2D0_UNROLL +)\d+", "3", "UNROLL: legal values are"),
        (r"(SEPARABLE_CONV2D0_LOWERING +)\w+", "77", "LOWERING: legal values are"),
        (r"(SEPARABLE_CONV2D0_OUT_SHIFT +)\d+", "32", "OUT_SHIFT: legal values are"),
        (r"(SEPARABLE_CONV2D0_OUTPUT_OFFSET +)\d+", "2", "conv2d0_output_lies_in_the_arena"),
        (r"(SEPARABLE_CONFIG_ID +)\w+", "0x1", "files of two runs are mixed"),
        (r"(SEPARABLE_ARENA_BYTES +)\d+", "16", "lies_in_the_arena"),
        (r"(SEPARABLE_CONV2D0_OUT_CH +)\d+", "7", "bias_matches_the_configuration"),
        *(
            (rf"(SEPARABLE_CONV2D0_{macro} +)\d+", value, "conv2d0_is_as_the_model_has_it")
            for macro, value in [("IN_H", "65536"), ("IN_W", "65536"), ("PAD_LEFT", "2"), ("STRIDE_X", "3")]
        ),
        (r"(SEPARABLE_INPUT_SIZE +)\d+", "1", "separable_is_as_the_model_has_it"),
    ],
)
def test_an_impossible_value_by_hand_stops_the_compiler(
    pattern: str, value: str, message: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    folder = tmp_path / "edited"
    shutil.copytree(folders["separable"], folder)
    config = folder / "separable_config.h"
    text, count = re.subn(pattern, rf"\g<1>{value}", config.read_text())
    assert count == 1
    config.write_text(text)
    with pytest.raises(AssertionError, match=message):
        zig("-std=c99", "-I", folder, "-c", folder / "separable.c", "-o", tmp_path / "o")


@pytest.mark.parametrize(
    ("knob", "value", "layout"),
    [
        ("BLOCK_ROWS", "1", "interleaved"),
        ("WEIGHT_LAYOUT", "CXN_WEIGHT_LAYOUT_PLAIN", "interleaved"),
        ("OUT_SHIFT", "5", "coupled"),  # half of it is in where accumulators start
    ],
)
def test_macros_that_weights_are_packed_by_stay_as_they_are(
    knob: str, value: str, layout: str, tmp_path: Path
) -> None:
    weights = np.arange(64, dtype=np.int8).reshape(8, 8)
    rows = Layer("fc", "fully_connected", "q7", (8,), (8,), weights=weights, bias=weights[0])
    block = {"interleaved": (4, 4, 2, 2), "coupled": (4, 5, 1, 1)}[layout]
    tuning.emit(make_plan("net", [rows], variant=Variant(*block, weight_layout=layout)), tmp_path)
    config = tmp_path / "net_config.h"
    config.write_text(re.sub(rf"(NET_FC_{knob} +)\w+", rf"\g<1>{value}", config.read_text()))
    with pytest.raises(AssertionError, match="fc_is_as_the_model_has_it"):
        compile_for("cortex-m4", "clang", "-std=c99", "-I", tmp_path, "-c", tmp_path / "net.c", "-o", tmp_path / "o")


def test_profiling_hooks_surround_every_layer(folders: dict[str, Path], tmp_path: Path) -> None:
    hooks_text = "#define CXN_PROFILE_BEGIN(i) begin_##i()\n#define CXN_PROFILE_END(i) end_##i()\n"
    (tmp_path / "hooks.h").write_text(hooks_text)
    source = folders["mixed"] / "mixed.c"
    hooks = f'-DCXN_PROFILE_HEADER="{tmp_path / "hooks.h"}"'
    text = zig("-std=c99", "-E", "-P", hooks, "-I", folders["mixed"], source).stdout
    body = text[text.index("void mixed_run(const int16_t *input, int16_t *output)\n{") :]
    assert re.findall(r"(?:begin|end)_\d|mixed_\w+(?=\()", body)[1:] == [
        "begin_0", "mixed_fully_connected0", "end_0", "begin_1", "mixed_relu1", "end_1",
        "begin_2", "mixed_fully_connected2", "end_2", "begin_3", "mixed_softmax3", "end_3",
    ]  # fmt: skip


@pytest.mark.skipif(shutil.which("cmake") is None, reason="cmake is not installed")
def test_cmake_builds_the_folder_as_a_subdirectory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A flag that no compiler has must be left out; one that all have must arrive.
    flags = ("-O3", "-fno-such-flag-exists", "-DCXN_SEEN=1")
    monkeypatch.setattr("tuning.base.cflags.KNOWN_CFLAGS", flags)
    plan = make_plan("separable", NETWORKS["separable"], cflags=flags)
    tuning.emit(plan, tmp_path / "separable")
    (tmp_path / "main.c").write_text('#include "separable.h"\nint main(void) { separable_run(0, 0); return 0; }\n')
    (tmp_path / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.13)\nproject(firmware C)\nadd_subdirectory(separable)\n"
        "add_executable(firmware main.c)\ntarget_link_libraries(firmware PRIVATE separable)\n"
    )
    wrapper = tmp_path / "zigcc"
    wrapper.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m ziglang cc "$@"\n')
    wrapper.chmod(0o755)
    build = tmp_path / "build"
    environment = {**os.environ, "CC": str(wrapper), "VERBOSE": "1"}
    known = ["-DCMAKE_C_COMPILER_WORKS=ON", "-DCMAKE_C_ABI_COMPILED=ON"]  # nothing is to be linked to find out
    for command in (["cmake", *known, "-S", tmp_path, "-B", build], ["cmake", "--build", build]):
        done = subprocess.run(list(map(str, command)), env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    line = next(line for line in done.stdout.splitlines() if line.rstrip().endswith("separable.c"))
    assert "-O3" in line.split()
    assert "-DCXN_SEEN=1" in line.split()
    assert "-fno-such-flag-exists" not in line
    assert (build / "separable" / "libseparable.a").exists()


@pytest.mark.emulated
@qemu
@pytest.mark.parametrize("core", one_in(2, [*PLAIN, "cortex-m55"]))
def test_the_commands_of_the_readme_run_the_example(core: str, tmp_path: Path) -> None:
    name = COMPILED[list(cores.CORES).index(core) % 2]
    plan = make_plan(name, NETWORKS[name], core=core)
    tuning.emit(plan, tmp_path)
    readme = (tmp_path / "README.md").read_text()
    commands = re.findall(r"^(?:arm-none-eabi-gcc|python -m ziglang|qemu-system-arm) .*$", readme, re.MULTILINE)
    builds = {"gcc": commands[0], "clang": commands[2].replace("python", sys.executable, 1)}
    for compiler in COMPILERS:
        warnings = " ".join(WARNINGS)
        assert run(f"{builds[compiler]} {warnings}", tmp_path) == ""
        assert run(commands[1], tmp_path).splitlines()[-1] == "PASS"
    assert run(f"""{builds["clang"]} -DCXN_PROFILE_HEADER='"example/profile.h"' {warnings}""", tmp_path) == ""
    lines = run(commands[1], tmp_path).splitlines()
    start = lines.index("layer,cycles")
    assert lines[start - 1] == "PASS"
    assert [line.split(",")[0] for line in lines[start + 1 :]] == [item.layer.name for item in plan.layers]


@pytest.mark.emulated
@qemu
def test_the_example_fails_when_the_answer_is_wrong(tmp_path: Path) -> None:
    plan = make_plan("only_relu", NETWORKS["only_relu"])
    tuning.emit(plan, tmp_path)
    vectors = tmp_path / "example" / "vectors.h"
    head, _, tail = vectors.read_text().rpartition("example_output[105] CXN_ALIGNED = {\n    ")
    vectors.write_text(f"{head}example_output[105] CXN_ALIGNED = {{\n    -1{tail[tail.index(',') :]}")
    readme = (tmp_path / "README.md").read_text()
    commands = re.findall(r"^(?:python -m ziglang|qemu-system-arm) .*$", readme, re.MULTILINE)
    run(commands[1].replace("python", sys.executable, 1), tmp_path)
    done = subprocess.run(
        commands[0], shell=True, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.stdout + done.stderr).splitlines()[-1] == "FAIL"
    assert done.returncode == 1


def run(command: str, folder: Path) -> str:
    """A documented command, as a shell runs it; what it printed."""
    done = subprocess.run(command, shell=True, cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout + done.stderr
