# SPDX-License-Identifier: Apache-2.0
"""What folders of strangers make a compiler do, and this machine read: what this tool writes itself, and no more."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from inspect import signature
from pathlib import Path
from typing import Any

import pytest

import tuning
from helpers.device import compilers
from helpers.forked import Ended
from helpers.networks import NETWORKS
from helpers.plans import make_plan
from helpers.strangers import ARCHIVE, NAME, edit, find_any, run_calibrate, run_verify
from tuning.base.cflags import CFLAGS, CLANG_CFLAGS, KNOWN_CFLAGS, cflags_problem
from tuning.base.errors import OptionError, TuningError
from tuning.emit import EmitError, render
from tuning.emulate import ToolchainError, find_toolchain, foreign, prefer_toolchain, toolchain
from tuning.measure import folder
from tuning.measure.folder import FolderError
from tuning.measure.layers import evaluate_many
from tuning.paper.plain_loops import run_plain_loops
from tuning.plan.file import read_plan_file
from tuning.target import load_target

UNLISTED = [
    "-O1 ", "-O3 -g", " -O3", "-o3", "-O3\n", "-DX", "-funknown", "--help", "-Ifolder", "-I", "@file", "file.c", "",
    "-", "-x", "-Wall,x", "-std=c99=", "-\u041e3", 3, None, True, ["-O3"], {"-O3": 1},
]  # fmt: skip


@pytest.mark.usefixtures("no_compiler")
@pytest.mark.parametrize("flag", UNLISTED, ids=repr)
def test_a_flag_that_is_not_in_the_table_is_refused_before_anything_runs(fw: Path, box: Path, flag: object) -> None:
    edit(fw, ("cflags",), ["-O3", flag])
    with pytest.raises(FolderError, match=r"fw/plan\.json: cflags: expected flags out of .*-O3.*, got ") as refused:
        folder.load(fw)
    assert refused.value.exit_status == 2
    assert repr(flag)[:20] in str(refused.value)
    for command in (lambda: run_verify(fw), lambda: run_calibrate(fw, box), lambda: read_plan_file(fw / "plan.json")):
        with pytest.raises(TuningError, match=r"plan\.json: cflags"):
            command()
    assert not (box / "fitted.yaml").exists()


@pytest.mark.usefixtures("no_compiler")
@pytest.mark.parametrize("flags", ["-O3", None, 5, {"-O3": "-O3"}, ["-O3"] * 100], ids=lambda item: repr(item)[:12])
def test_flags_are_a_list_of_a_few(fw: Path, flags: object) -> None:
    edit(fw, ("cflags",), flags)
    with pytest.raises(FolderError, match=r"plan\.json: cflags: expected "):
        folder.load(fw)


@pytest.mark.parametrize("flag", [flag for flag in UNLISTED if isinstance(flag, str)])
def test_emission_reads_the_same_table(flag: str) -> None:
    with pytest.raises(EmitError, match="cflags: expected flags out of"):
        render(make_plan("net", NETWORKS["only_relu"], cflags=("-O3", flag)))


@pytest.mark.usefixtures("no_compiler")
def test_a_folder_made_in_memory_is_held_to_the_table_too(fw: Path) -> None:
    firmware = folder.load(fw)
    with pytest.raises(FolderError, match="cflags: expected flags out of"):
        folder.compile_folder(replace(firmware, cflags=("-O3", "-DX")), find_any())
    with pytest.raises(FolderError, match="model: expected a C identifier"):
        folder.compile_folder(replace(firmware, model="../x"), find_any())


def test_what_this_tool_writes_into_plans_is_in_the_table() -> None:

    plans = [tuning.tune(tuning.load_model("digits"), load_target(core)) for core in ("cortex-m4", "cortex-m55")]
    assert [plan.cflags for plan in plans] == [CFLAGS, CLANG_CFLAGS]
    written: list[tuple[str, ...]] = [*(plan.cflags for plan in plans), make_plan("n", NETWORKS[NAME]).cflags]
    defaults = (evaluate_many, run_plain_loops, toolchain.Toolchain.build, toolchain.Toolchain.compile)
    written += [signature(function).parameters["cflags"].default for function in defaults]
    coefficients = Path(tuning.__file__).parent / "cost" / "coefficients"
    files = [json.loads(path.read_text()) for path in sorted(coefficients.glob("*.json"))]
    assert files
    written += [tuple(content["cflags"]) for content in files if "cflags" in content]
    assert len(written) > len(files)
    assert [flags for flags in written if cflags_problem(flags)] == []


def test_no_flag_of_the_table_can_name_a_file_or_a_program() -> None:
    assert len(set(KNOWN_CFLAGS)) == len(KNOWN_CFLAGS)
    for flag in KNOWN_CFLAGS:
        assert re.fullmatch(r"-O[0-3sz]|-std=c[0-9]{2}|-f(no-)?[a-z]+(-[a-z]+)*", flag), flag
        assert not re.search("plugin|specs|dump|profile|save|wrapper|use-ld|lto|response", flag), flag

# ---------------------------------------------------------------- what a folder makes this machine read


@pytest.mark.parametrize("name", ["plan.json", ARCHIVE, f"{NAME}.c", f"{NAME}_config.h"])
def test_links_out_of_a_folder_are_not_followed(fw: Path, box: Path, name: str) -> None:
    (fw / name).rename(box / "elsewhere")
    (fw / name).symlink_to(box / "elsewhere")
    with pytest.raises(TuningError, match="elsewhere") as refused:
        folder.compile_folder(folder.load(fw), find_toolchain())
    assert refused.value.exit_status == 2


@pytest.mark.parametrize("compiler", compilers())
@pytest.mark.parametrize("text", ['#include "{}"', '#include "../keep.txt"', '__asm__(".inc" "bin \\"{}\\"");'])
def test_c_that_names_files_of_others_is_not_compiled(fw: Path, box: Path, text: str, compiler: str) -> None:
    (box / "keep.txt").write_text("#error secret words\n" if ".." in text else "secret words\n")
    source = fw / f"{NAME}.c"
    source.write_text(f"{source.read_text()}\n{text.format(box / 'keep.txt')}\n")
    says = r"expected C that reads files of its folder .*(keep\.txt|incbin)|in a file that is not of its folder"
    with pytest.raises(ToolchainError, match=says) as refused:
        folder.compile_folder(folder.load(fw), find_toolchain(compiler))
    assert "secret" not in str(refused.value)


DIRECTIVES = {
    "plain": r"""asm(".incbin \"x\"");""",
    "in pieces": r"""asm(".i" "" "ncb"  "in \"x\"");""",
    "escaped": r"""asm(".\x69n\143bin \"x\"");""",
    "in capitals": r"""asm(".INCLUDE \"x\"");""",
    "of operands": r"""asm(".%c0%c1 \"x\"" :: "i"(a), "i"(b));""",
    "of half an operand": r"""asm(".inc%c[b] \"x\"" :: [b] "i"(bin));""",
    "behind an operand": r"""asm("%c0bin \"x\"" :: "i"(a));""",
    "by a macro": r"""asm(".macro m x y\n.\\x\\y \"x\"\n.endm\nm inc bin");""",
    "over lines": 'asm(".inc"\n# 5 "x.h"\n"bin");',
}


@pytest.mark.parametrize("name", DIRECTIVES)
def test_assembly_that_could_read_a_file_is_found(name: str) -> None:
    assert foreign.reading_directive(f"int a;\n{DIRECTIVES[name]}\nint b;\n") is not None


def test_names_of_files_are_read_as_make_reads_them(tmp_path: Path) -> None:
    rules = "x.o: /a/b.c \\\n /c\\ d/e\\#$$.h /f.h\n"
    assert foreign.files_read(rules) == [Path("/a/b.c"), Path("/c d/e#$.h"), Path("/f.h")]
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "link").symlink_to(tmp_path)
    assert foreign.outside([tmp_path / "in" / ".." / "in" / "x"], [tmp_path / "in"]) is None
    assert foreign.outside([tmp_path / "in" / "link" / "x"], [tmp_path / "in"]) == tmp_path / "x"


_SEEN: list[tuple[str, tuple[Any, ...]]] | None = None


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    if _SEEN is not None and event.partition(".")[0] in ("open", "os", "subprocess", "socket", "pickle", "shutil"):
        _SEEN.append((event, arguments))


@pytest.mark.emulated
def test_verify_starts_the_compiler_and_touches_the_folder_alone(
    fw: Path, box: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What TRUST.md lists of it."""
    global _SEEN
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    monkeypatch.chdir(box)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    sys.addaudithook(_watch)
    _SEEN = seen = []
    try:
        run_verify(Path("fw"), "--samples", "1", "--json")
    finally:
        _SEEN = None
    programs = {arguments[0] for event, arguments in seen if event == "subprocess.Popen"}
    assert programs == {prefer_toolchain("gcc").command[0]}
    assert not {event for event, _ in seen} & {"os.system", "os.exec", "os.fork", "pickle.find_class", "socket.connect"}
    files = [arguments for event, arguments in seen if event == "open" and isinstance(arguments[0], str)]
    opened = [(Path(os.path.abspath(path)), flags) for path, _, flags in files]
    written = [path for path, flags in opened if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)]
    assert all(path.is_relative_to(temporary) or path == Path(os.devnull) for path in written), written
    own = {path for path, _ in opened if path.is_relative_to(tmp_path) and not path.is_relative_to(temporary)}
    assert own == {fw / "plan.json", fw / ARCHIVE}
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_programs_are_not_looked_for_in_the_current_directory(box: Path) -> None:
    """Python imports from there, unless it is told not to: a folder of others may have modules of any name."""
    (box / "ziglang.py").write_text("raise SystemExit('of the folder')\n")
    command = find_toolchain("clang").command
    ran = subprocess.run([*command, "--version"], cwd=box, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")
    code = "import os, tuning.cli.start as s; s.import_module = lambda *_: s; "
    code += "s.main = lambda: print(os.environ['PYTHONSAFEPATH']); s.tune()"
    said = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True).stdout
    assert said == "1\n"

# ---------------------------------------------------------------- what the compiler is given


@pytest.mark.parametrize("name", ["@fw", "-fw", "--help", "a b"])
def test_the_name_of_a_folder_is_a_path_and_nothing_else(
    fw: Path, box: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fw.rename(box / name)
    commands: list[list[str]] = []

    def record(command: list[str]) -> subprocess.CompletedProcess[str]:
        commands.append(list(command))
        for option in ("-o", "-MF") if "-MF" in command else ():
            Path(command[command.index(option) + 1]).write_text("x: \n")
        return subprocess.CompletedProcess(command, 1 if "-c" in command and "-Werror" not in command else 0, "", "")

    monkeypatch.setattr(toolchain, "_run", record)
    monkeypatch.chdir(box)
    firmware = folder.load(Path(name))
    with pytest.raises(ToolchainError, match=f"compiling {NAME}.c for cortex-m4 failed"):
        folder.compile_folder(firmware, toolchain.Toolchain("gcc", ("cc",), "a compiler"))
    last = commands[-1]
    assert str(box / name / f"{NAME}.c") in last
    assert f"-I{box / name}" in last
    assert Path(last[last.index("-o") + 1]).is_absolute()
    assert not [argument for argument in last if argument.startswith(("@", "--"))]


def test_what_a_folder_makes_lies_in_a_temporary_directory_under_our_name(
    fw: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outputs: list[Path] = []

    def build(_: object, sources: list[Path], output: Path, *rest: object, **options: object) -> str:
        outputs.append(output)
        output.write_bytes(b"ELF")
        return ""

    monkeypatch.setattr(toolchain.Toolchain, "build", build)
    assert folder.compile_folder(folder.load(fw), find_any()) == b"ELF"
    assert outputs[0].name == "firmware.elf"
    assert not outputs[0].parent.exists()


@pytest.mark.emulated
@pytest.mark.skipif(shutil.which("arm-none-eabi-gcc") is None, reason="arm-none-eabi-gcc is not installed")
def test_gcc_takes_no_precompiled_header_of_a_folder(fw: Path) -> None:
    """They are images of the compiler's memory. This one is honest, and says that it was read."""
    found = find_toolchain("gcc")
    firmware, header, source = folder.load(fw), fw / f"{NAME}.h", fw / f"{NAME}.c"
    (fw / "other.h").write_text(header.read_text() + "\n#define PRECOMPILED 1\n")
    include = toolchain.RUNTIME / "include"
    options = [*found.core_flags("cortex-m4"), *firmware.cflags, f"-I{fw}", f"-idirafter{include}", "-x", "c-header"]
    subprocess.run([*found.command, *options, fw / "other.h", "-o", f"{header}.gch"], check=True, capture_output=True)
    first = f'#include "{NAME}.h"\n'
    text = source.read_text()
    assert first in text
    source.write_text(text.replace(first, f"{first}#ifdef PRECOMPILED\n#error precompiled\n#endif\n"))
    with pytest.raises(ToolchainError, match="precompiled"):
        found.compile(source, fw / "seen.o", "cortex-m4", cflags=firmware.cflags, include=[fw])
    assert folder.compile_folder(firmware, found)[:4] == b"\x7fELF"


def test_the_users_compiler_is_the_users_for_calibrate_too(
    fw: Path, box: Path, monkeypatch: pytest.MonkeyPatch, refuse: Callable[..., Ended]
) -> None:
    names = [layer.name for layer in folder.load(fw).layers]
    (box / "l.csv").write_text("layer,cycles\n" + "".join(f"{name},5\n" for name in names))
    asked: list[str | None] = []

    def prefer(kind: str, own: str | None = None) -> None:
        asked.append(own or f"{kind} of the plan")
        raise OptionError("far enough")

    monkeypatch.setattr("tuning.emulate.prefer_toolchain", prefer)
    for options in ((), ("--compiler", "clang"), ("--compiler", "gcc")):
        with pytest.raises(OptionError, match="far enough"):
            run_calibrate(fw, box, *options)
    assert asked == ["gcc of the plan", "clang", "gcc"]
    refuse("cmsisnn-tune", "calibrate", "--compiler", "clang", says="--compiler: goes with --from only")
    refuse("cmsisnn-tune", "calibrate", "--model", "m.yaml", says="--model: goes with --from only")
    command = ("calibrate", "--from", "l.csv", "--plan", "fw", "--target", "cortex-m4", "--compiler", "x")
    refuse("cmsisnn-tune", *command, says="x")
