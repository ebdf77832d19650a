# SPDX-License-Identifier: Apache-2.0
"""The emitted folder in projects of others: sections of their linker script, their build systems, their own machine."""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path

import pytest
import yaml

import tuning
from helpers import int8
from helpers.networks import NETWORKS
from helpers.plans import make_plan
from tuning.base.cflags import CFLAGS
from tuning.model import graph_model
from tuning.plan import Plan

from .test_compile import COMPILERS, WARNINGS, compile_for, run

SCRIPT = """
MEMORY
{{
  FLASH (rx) : ORIGIN = 0x08000000, LENGTH = 1M
  ITCM (rx) : ORIGIN = 0x00000000, LENGTH = 64K
  DTCM (rwx) : ORIGIN = 0x20000000, LENGTH = 64K
  SRAM (rwx) : ORIGIN = 0x20010000, LENGTH = 64K
  EXT_FLASH (rx) : ORIGIN = 0x90000000, LENGTH = 1M
}}
SECTIONS
{{
{placed}
  .text : {{ *(.text .text.* .rodata .rodata.* .ARM.extab .ARM.extab.*) }} > FLASH
  .ARM.exidx : {{ *(.ARM.exidx .ARM.exidx.*) }} > FLASH
  .data : {{ *(.data .data.*) }} > SRAM AT > FLASH
  .bss (NOLOAD) : {{ *(.bss .bss.* COMMON) }} > SRAM
}}
"""
CALL = """
#include <stddef.h>
#include "states.h"
void _start(void);
void *memcpy(void *to, const void *from, size_t count);
void *memset(void *to, int value, size_t count);
void _start(void) { states_run(0, 0, 0, 0, 0); }
void *memcpy(void *to, const void *from, size_t count) { (void)from; (void)count; return to; }
void *memset(void *to, int value, size_t count) { (void)value; (void)count; return to; }
"""


def graph_plan(name: str) -> Plan:
    return tuning.tune(graph_model(name, int8.GRAPHS[name](), f"{name}.tflite"), tuning.load_target("cortex-m4"))


@pytest.mark.emulated
@pytest.mark.parametrize("compiler", COMPILERS)
def test_arena_and_weights_lie_where_the_readme_puts_them(compiler: str, tmp_path: Path) -> None:
    from elftools.elf.elffile import ELFFile

    plan = graph_plan("states")
    tuning.emit(plan, tmp_path)
    readme = (tmp_path / "README.md").read_text(encoding="utf-8")
    placed = "\n".join(re.findall(r"^\.(?:itcm|dtcm|ext_flash) .*$", readme, re.MULTILINE))
    sections = re.findall(r"`(-DCXN_\w+_SECTION=\S+)`", readme)
    (tmp_path / "project.ld").write_text(SCRIPT.format(placed=placed))
    (tmp_path / "call.c").write_text(CALL)
    files = ("-I", tmp_path, "-T", tmp_path / "project.ld", tmp_path / "states.c", tmp_path / "call.c")
    flags = (*WARNINGS, "-pedantic", "-O1", "-ffunction-sections", "-nostdlib", *sections)
    assert compile_for("cortex-m4", compiler, *flags, *files, "-o", tmp_path / "elf") == ""
    with (tmp_path / "elf").open("rb") as stream:
        elf = ELFFile(stream)
        name_of = {at: section.name for at, section in enumerate(elf.iter_sections())}
        where = {
            symbol.name: name_of.get(symbol["st_shndx"])
            for symbol in elf.get_section_by_name(".symtab").iter_symbols()
            if symbol.name.startswith("states_")
        }
        kinds = {section.name: section["sh_type"] for section in elf.iter_sections()}
    assert where["states_arena"] == where["states_state_0"] == ".dtcm"
    assert {where[name] for name in where if re.search("_(weights|channels|table)$", name)} == {".ext_flash"}
    assert where["states_run"] == ".itcm"
    assert kinds[".dtcm"] == "SHT_NOBITS"
    assert kinds[".ext_flash"] == "SHT_PROGBITS"


@pytest.mark.parametrize("name", ["separable", "residual", "types"])
def test_the_host_prints_what_the_core_prints(name: str, tmp_path: Path) -> None:
    plan = make_plan(name, NETWORKS[name]) if name in NETWORKS else graph_plan(name)
    tuning.emit(plan, tmp_path)
    readme = (tmp_path / "README.md").read_text(encoding="utf-8")
    builds = re.findall(r"^(?:gcc|python -m ziglang cc) .*_host$", readme, re.MULTILINE)
    program = re.findall(r"`(\./\w+_host)`", readme)
    assert (len(builds), len(program)) == (2, 1)
    if name == "separable" or shutil.which("gcc") is None:
        builds = [builds[1].replace("python", sys.executable, 1)]
    assert run(f"{builds[0]} {' '.join(WARNINGS)}", tmp_path) == ""
    printed = run(program[0], tmp_path).splitlines()
    assert printed[-1] == "PASS"
    vectors = (tmp_path / "example" / "vectors.h").read_text(encoding="utf-8")
    wanted = vectors.rpartition("{")[2].partition("}")[0].replace(",", " ").split()
    assert printed[0].split() == wanted[:16]


def test_vectors_are_no_program_for_the_host(tmp_path: Path) -> None:
    tuning.emit(make_plan("net", NETWORKS["only_relu"], core="cortex-m55"), tmp_path)
    assert "_host" not in (tmp_path / "README.md").read_text() + (tmp_path / "example/main.c").read_text()


@pytest.mark.skipif(shutil.which("cmake") is None, reason="cmake is not installed")
def test_in_a_zephyr_application_the_flags_of_the_plan_come_last(tmp_path: Path) -> None:
    # What Zephyr has that others have not: all flags, -Os among them, come from an interface library.
    tuning.emit(make_plan("separable", NETWORKS["separable"], cflags=("-O3", "-ffunction-sections")), tmp_path / "net")
    module = yaml.safe_load((tmp_path / "net/zephyr/module.yml").read_text())
    assert module == {"name": "separable", "build": {"cmake": "."}}
    (tmp_path / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.20)\nproject(firmware C)\n"
        "add_library(zephyr_interface INTERFACE)\ntarget_compile_options(zephyr_interface INTERFACE -Os -DKERNEL)\n"
        "add_library(app STATIC main.c)\ntarget_link_libraries(app PUBLIC zephyr_interface)\n"
        "add_subdirectory(net)\ntarget_link_libraries(app PRIVATE separable)\n"
    )
    (tmp_path / "main.c").write_text("")
    run("cmake -G 'Unix Makefiles' -DCMAKE_EXPORT_COMPILE_COMMANDS=ON -S . -B build", tmp_path)
    commands = json.loads((tmp_path / "build/compile_commands.json").read_text())
    words = {Path(one["file"]).name: one["command"].split() for one in commands}
    levels = [word for word in words["separable.c"] if word.startswith("-O")]
    assert levels == ["-Os", "-O3"]
    assert {"-DKERNEL", "-ffunction-sections"} <= set(words["separable.c"])
    assert [word for word in words["main.c"] if word.startswith("-O")] == ["-Os"]
    assert any(word.endswith("/net") for word in words["main.c"])


def test_the_folder_is_a_library_of_arduino_and_platformio(tmp_path: Path) -> None:
    # Without src, Arduino compiles what lies in the folder itself; PlatformIO what the filter names.
    tuning.emit(make_plan("separable", NETWORKS["separable"]), tmp_path)
    lines = (tmp_path / "library.properties").read_text().splitlines()
    properties = dict(line.split("=", 1) for line in lines)
    needed = {"name", "version", "author", "maintainer", "sentence", "paragraph", "category", "url", "architectures"}
    assert needed <= set(properties)
    assert (properties["name"], properties["includes"]) == ("separable", "separable.h")
    assert not (tmp_path / "src").exists()
    assert [path.name for path in tmp_path.glob("*.c")] == ["separable.c"]
    library = json.loads((tmp_path / "library.json").read_text())
    assert library["version"] == properties["version"]
    assert re.fullmatch(r"\d+\.\d+\.\d+([-+].*)?", library["version"])
    assert library["build"] == {
        "srcDir": ".", "includeDir": ".", "srcFilter": "+<separable.c>",
        "flags": [flag for flag in make_plan("separable", NETWORKS["separable"]).cflags if flag != "-std=c99"],
    }  # fmt: skip
    assert set(library["build"]["flags"]) <= set(CFLAGS)
