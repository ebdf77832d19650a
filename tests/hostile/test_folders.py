# SPDX-License-Identifier: Apache-2.0
"""Folders, plans and records of strangers: nothing in them chooses what runs, what is read or written, or how the
terminal looks. Inputs here are harmless by themselves; what is tested is that no compiler ever sees them.
"""

from __future__ import annotations

import io
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.text import Text

import tuning
from helpers.device import compilers
from helpers.forked import Ended, ForkServer
from helpers.networks import NETWORKS
from helpers.plans import make_plan
from tuning.base import console as terminal
from tuning.base.cflags import CFLAGS, CLANG_CFLAGS, KNOWN_CFLAGS, cflags_problem
from tuning.base.errors import OptionError, TuningError
from tuning.cli import verify
from tuning.emit import EmitError, render
from tuning.emulate import ToolchainError, find_toolchain, foreign, prefer_toolchain, toolchain
from tuning.measure import folder
from tuning.measure.bench import Measurement
from tuning.measure.folder import FolderError
from tuning.measure.layers import evaluate_many
from tuning.measure.record import key_of, parse_line
from tuning.measure.records import Records
from tuning.paper.plain_loops import run_plain_loops
from tuning.plan.file import read_plan_file
from tuning.target import load_target

NAME = "odd_sizes"
EMULATOR_BYTES = 3 << 30
"""Address space, not memory: Unicorn reserves a gigabyte for translated code."""


@pytest.fixture(scope="session")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("strangers") / "fw"
    tuning.emit(replace(make_plan(NAME, NETWORKS[NAME]), evaluations=1), made)
    return made


@pytest.fixture
def fw(original: Path, box: Path) -> Path:
    shutil.copytree(original, box / "fw")
    (box / "l.csv").write_text("layer,cycles\n")
    return box / "fw"


@pytest.fixture
def no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    def started(*arguments: object, **_: object) -> None:
        raise AssertionError(f"a program was started: {arguments}")

    monkeypatch.setattr(subprocess, "Popen", started)
    monkeypatch.setattr(toolchain, "_run", started)


def edit(made: Path, path: tuple[str | int, ...], value: Any) -> None:
    """Give the plan of a folder another value at `path`."""
    content = json.loads((made / "plan.json").read_text())
    node = content
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = value
    (made / "plan.json").write_text(json.dumps(content))


# ---------------------------------------------------------------- compiler flags


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


def run_verify(made: Path, *arguments: str) -> None:
    verify.app([str(made), *arguments], standalone_mode=False)


def run_calibrate(made: Path, box: Path, *arguments: str) -> None:
    from tuning.cli.main import app

    asked = ["--from", str(box / "l.csv"), "--plan", str(made), "--target", "cortex-m4", "-o", str(box / "fitted.yaml")]
    app(["calibrate", *asked, *arguments], standalone_mode=False)


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


def find_any() -> toolchain.Toolchain:
    """A compiler that must not be started."""
    return toolchain.Toolchain("gcc", ("no-such-compiler",), "none")


def test_what_this_tool_writes_into_plans_is_in_the_table() -> None:
    import tuning

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


# ---------------------------------------------------------------- everything else in a plan


DIGEST = {"dtype": "int8", "shape": [1], "sha256": "0" * 64}
EDITS: dict[str, tuple[tuple[str | int, ...], Any, str]] = {
    "a model above": (("model",), "../fw/odd_sizes", "model: expected a C identifier"),
    "an absolute model": (("model",), "/tmp/x", "model: expected a C identifier"),
    "a model like an option": (("model",), "-x", "model: expected a C identifier"),
    "a model like a response file": (("model",), "@x", "model: expected a C identifier"),
    "a model with a null byte": (("model",), "a\0b", "model: expected a line of printable text"),
    "a model of two lines": (("model",), "a\nb", "model: expected a line of printable text"),
    "a model that commands": (("model",), "\x1b[31mred", r"got '\x1b[31mred'"),
    "a model of a megabyte": (("model",), "x" * (1 << 20), "model: expected a line of printable text"),
    "a model that is a number": (("model",), 5, "model: expected a line of printable text, got 5"),
    "a model that hides a header": (("model",), "string", "would hide the system header"),
    "a layer above": (("layers", 0, "name"), "../x", "layers[0].name: expected a C identifier"),
    "a layer that commands": (("layers", 1, "name"), "\x9b31m", "layers[1].name: expected a line"),
    "a layer in markup": (("layers", 0, "name"), "[bold]x[/bold]", "layers[0].name: expected a C identifier"),
    "two layers of one name": (("layers", 1, "name"), "CONV2D0", "layers[1].name: two layers are called"),
    "a layer that is a list": (("layers", 0), [], "layers: expected a list of layers"),
    "layers that are none": (("layers",), "conv", "layers: expected a list of layers"),
    "no layers": (("layers",), [], "layers: expected at least one"),
    "a target of two lines": (("target",), "a\nb", "target: expected a line of printable text"),
    "a target that commands": (("target",), "\x1b]8;;x\x1b\\", "target: expected a line of printable text"),
    "a target that turns text around": (("target",), "a\u202eb", "target: expected a line of printable text"),
    "a target that is a list": (("target",), ["cortex-m4"], "target: expected a line of printable text"),
    "a core that is a path": (("core",), "../cortex-m4", "core: expected one of cortex-m0plus"),
    "a core that is none": (("core",), None, "core: expected a line of printable text"),
    "a compiler that commands": (("compiler",), "\x07", "compiler: expected a line"),
    "an objective of two lines": (("objective",), "a\r\nb", "objective: expected a line"),
    "an operation of nobody": (("layers", 0, "op"), "../relu", "layer conv2d0: op: expected one of 'conv2d'"),
    "a type of nobody": (("layers", 0, "dtype"), "q31", "dtype: expected one of 'q7', 'q15'"),
    "weights of a list": (("layers", 0, "weights_dtype"), ["q7"], "weights_dtype: expected one of None"),
    "a kernel of nothing": (("layers", 0, "kernel"), [0, 3], "kernel: expected two numbers"),
    "a kernel of truth": (("layers", 0, "kernel"), [True, 3], "kernel: expected two numbers"),
    "a kernel in fractions": (("layers", 0, "kernel"), [3.0, 3], "kernel: expected two numbers"),
    "a stride of 40 bits": (("layers", 0, "stride"), [1 << 40, 1], "stride: expected two numbers"),
    "a padding of one": (("layers", 0, "padding"), [[0, 0]], "padding: expected two pairs"),
    "a padding beyond the kernel": (("layers", 0, "padding"), [[99, 0], [0, 0]], "less than the kernel's height"),
    "a shape without end": (("layers", 0, "output_shape"), [65535, 6, 6], "a height of at most"),
    "a shape of 100 sizes": (("layers", 0, "input_shape"), [2] * 100, "input_shape: expected one to three"),
    "a tensor of gigabytes": (("layers", 0, "input_shape"), [65535, 65535, 5], "input_shape: expected at most"),
    "a negative shift": (("layers", 0, "out_shift"), -1, "out_shift: expected an integer in 0..31"),
    "bits of an integer": (("layers", 0, "int_bits"), 9, "int_bits: expected an integer in 0..3"),
    "cycles of text": (("layers", 0, "cycles"), "\x1b[2J", "cycles: expected a count"),
    "cycles of 300 digits": (("layers", 0, "cycles"), 10**300, "expected numbers below 2**63"),
    "a knob of nobody": (("layers", 0, "variant"), {"x": 1}, "variant: expected knobs out of unroll"),
    "a knob that commands": (("layers", 0, "variant"), {"\x1b": 1}, "a knob's name: expected a line"),
    "a knob's text": (("layers", 0, "variant", "lowering"), "../x", "variant.lowering: expected one of"),
    "a knob's list": (("layers", 0, "variant", "unroll"), [4], "variant.unroll: expected a number or a text"),
    "a knob of a million": (("layers", 0, "variant", "block_rows"), 10**6, "block_rows x variant.block_cols"),
    "a variant that is none": (("layers", 0, "variant"), 7, "variant: expected an object"),
    "run by another": (("layers", 1, "fused_into"), "\x1b[31m", "layer max_pool2d1: fused_into: expected"),
    "the first run by one before": (("layers", 0, "fused_into"), "x", "fused_into: expected none"),
    "steps of nobody": (("steps",), [{"layers": ["x"], "kind": "layer"}], "steps: expected those that fused_into"),
    "steps that command": (("steps", 0, "layers", 0), "\x1b[31m", "steps: expected those that fused_into"),
    "a kind of step to come": (("steps", 0, "kind"), "stream", "steps[0].kind: expected one of layer, fused_pool"),
    "no steps": (("steps",), None, "steps: expected array"),
    "weights without a digest": (("layers", 0, "weights"), {}, "weights.dtype: missing"),
    "weights of nobody": (("layers", 0, "weights"), None, "layer conv2d0: weights: expected int8 of shape"),
    "weights of another shape": (("layers", 0, "weights", "shape"), [1], "layer conv2d0: weights: expected int8 of"),
    "weights of another type": (("layers", 0, "weights", "dtype"), "int16", "layer conv2d0: weights: expected int8"),
    "weights of a pooling": (("layers", 1, "bias"), DIGEST, "bias: expected none, got int8 of shape"),
    "a digest of two lines": (("layers", 0, "weights", "sha256"), "a\nb", "weights.sha256: expected text like"),
    "pins that the variant has not": (("layers", 0, "pins"), {"unroll": 999}, "pins: expected knobs of the variant"),
    "pins that command": (("layers", 0, "pins"), {"\x1b": 1}, "pins: a knob's name: expected a line"),
    "pins of a list": (("layers", 0, "pins"), [], "pins: expected an object"),
    "windows of maybe": (("layers", 0, "ceil_mode"), 1, "ceil_mode: expected true or false, got 1"),
    "no padding at all": (("layers", 0, "padding"), None, "padding: expected two pairs"),
}  # fmt: skip


@pytest.mark.usefixtures("no_compiler")
def test_three_layers_are_no_step(fw: Path, names: list[str]) -> None:
    edit(fw, ("layers", 1, "fused_into"), names[0])
    edit(fw, ("layers", 2, "fused_into"), names[1])
    with pytest.raises(FolderError, match=f"layer {names[2]}: fused_into: expected none, as {names[1]!r} is run by"):
        folder.load(fw)


@pytest.fixture
def names(original: Path) -> list[str]:
    return [layer["name"] for layer in json.loads((original / "plan.json").read_text())["layers"]]


@pytest.mark.usefixtures("no_compiler")
@pytest.mark.parametrize("case", EDITS)
def test_a_strangers_plan_is_refused_by_file_and_key(fw: Path, names: list[str], case: str) -> None:
    path, value, says = EDITS[case]
    edit(fw, path, value)
    says = says.replace("max_pool2d1", names[1])
    with pytest.raises(FolderError, match=rf"fw/plan\.json: .*{re.escape(says)}") as refused:
        run_verify(fw)
    text = str(refused.value)
    assert refused.value.exit_status == 2
    assert text.isprintable()
    assert len(text) < 1000


@pytest.mark.parametrize("case", ["a model above", "a target that commands", "cycles of text", "a shape without end"])
def test_the_commands_end_in_one_sentence(refuse: Callable[..., Ended], fw: Path, case: str) -> None:
    path, value, _ = EDITS[case]
    edit(fw, path, value)
    refuse("cmsisnn-verify", "fw", says="fw/plan.json: ", memory=EMULATOR_BYTES)
    command = ("calibrate", "--from", "l.csv", "--plan", "fw", "--target", "cortex-m4")
    refuse("cmsisnn-tune", *command, says="fw/plan.json: ", memory=EMULATOR_BYTES)


ARCHIVE = f"{NAME}_weights.npz"
FIRST, SHAPE = "conv2d0/weights.npy", NETWORKS[NAME][0].weights_shape


def pack(path: Path, name: str, content: np.ndarray | bytes, compression: int = zipfile.ZIP_STORED) -> None:
    """Write the archive at `path` anew with another member `name`; bytes stand there as they are."""
    with zipfile.ZipFile(path) as old:
        members = {name: old.read(name) for name in old.namelist()}
    buffer = io.BytesIO()
    if not isinstance(content, bytes):
        np.save(buffer, content, allow_pickle=True)
    with zipfile.ZipFile(path, "w", compression) as new:
        for member, data in {**members, name: buffer.getvalue() or content}.items():
            new.writestr(member, data)


def be_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def be_a_device(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


BOMB = np.zeros(1 << 26, np.int8)
ARCHIVES: dict[str, tuple[Callable[[Path], object], str]] = {
    "noise": (lambda path: path.write_bytes(b"PK\3\4" + b"\xff" * 50), "expected an npz archive"),
    "a folder": (be_a_folder, "no regular file"),
    "a device": (be_a_device, "no regular file"),
    "a gigabyte": (lambda path: os.truncate(path, 1 << 30), "expected at most"),
    "a bomb": (lambda path: pack(path, FIRST, BOMB, zipfile.ZIP_DEFLATED), "expected int8 of shape"),
    "pickled objects": (lambda path: pack(path, FIRST, np.array([print], object)), "expected int8 of shape"),
    "another shape": (lambda path: pack(path, FIRST, np.zeros((1, 2), np.int8)), "expected int8 of shape"),
    "another type": (lambda path: pack(path, FIRST, np.zeros(SHAPE, np.int16)), "expected int8 of shape"),
    "a path": (lambda path: pack(path, "../../x.npy", np.zeros(1)), "no layer takes the array '../../x'"),
    "a name that commands": (lambda path: pack(path, "\x1b[31m", b"x"), r"no layer takes the array '\x1b[31m'"),
    "other weights": (lambda path: pack(path, FIRST, np.zeros(SHAPE, np.int8)), "layer conv2d0: expected the weights"),
    "another bias": (
        lambda path: pack(path, "conv2d0/bias.npy", np.zeros(SHAPE[0], np.int8)),
        "layer conv2d0: expected the bias",
    ),
    "no header": (lambda path: pack(path, FIRST, b"NUMPY"), "expected int8 of shape"),
}


@pytest.mark.usefixtures("no_compiler")
@pytest.mark.parametrize("case", ARCHIVES)
def test_a_strangers_weights_are_refused(fw: Path, case: str) -> None:
    change, says = ARCHIVES[case]
    change(fw / ARCHIVE)
    with pytest.raises(FolderError, match=rf"fw/{re.escape(ARCHIVE)}: .*{re.escape(says)}") as refused:
        folder.load(fw)
    assert refused.value.exit_status == 2
    assert str(refused.value).isprintable()


def test_weights_that_the_plan_does_not_know_are_refused(fw: Path) -> None:
    """Without a bias in the plan, one in the archive is somebody else's."""
    edit(fw, ("layers", 0, "bias"), None)
    with pytest.raises(FolderError, match="layer conv2d0: expected no bias"):
        folder.load(fw)


@pytest.mark.usefixtures("no_compiler")
@pytest.mark.parametrize("name", ["board.yaml", "./board.yaml", "/dev/zero", "cortex-m99", "[bold]board[/bold]"])
def test_the_target_of_a_plan_is_a_shipped_one_or_none(
    fw: Path, box: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(box)
    (box / "board.yaml").write_text("schema: 1\nname: board\ninherit: cortex-m4\nclock_hz: 5M\n")
    edit(fw, ("target",), name)
    assert verify._target_of(folder.load(fw)) == "cortex-m4"
    edit(fw, ("target",), "nucleo-l4r5zi")
    assert verify._target_of(folder.load(fw)) == load_target("nucleo-l4r5zi")


@pytest.mark.emulated
def test_no_edit_of_a_folder_is_a_traceback(server: ForkServer, fw: Path, box: Path, full: bool) -> None:
    good = (fw / "plan.json").read_text()
    rng = random.Random(9)
    values = [None, -1, 0, 10**30, 1e308, 65535, "x", "q15", "\x1b[31m[red]", "a\nb", "/dev/zero", [], {}, True, [[]]]
    for _ in range(500 if full else 10):
        node: Any = json.loads(good)
        root, path = node, []
        while isinstance(node, dict | list) and node and (len(path) < 2 or rng.random() < 0.7):
            parent, key = node, rng.choice(sorted(node) if isinstance(node, dict) else range(len(node)))
            path.append(key)
            node = node[key]
        if rng.random() < 0.2:
            del parent[key]
        else:
            parent[key] = rng.choice(values)
        (fw / "plan.json").write_text(json.dumps(root))
        ended = server.run("cmsisnn-verify", "fw", "--samples", "1", cwd=box, memory=EMULATOR_BYTES)
        assert ended.status in (0, 1, 2), (path, ended.err)
        assert "Traceback" not in ended.err, (path, ended.err)
        assert "\x1b" not in ended.out + ended.err, path


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


# ---------------------------------------------------------------- the terminal


COMMANDS = [
    "\x1b[31mred",
    "\x9b2J",
    "\x1b]0;title\x07",
    "a\u202eb",
    "a\rb",
    "[bold]x[/bold]",
    "[link=x:y]z[/link]",
    "[/]",
]


@pytest.mark.parametrize("text", COMMANDS, ids=ascii)
def test_no_text_commands_the_terminal(text: str) -> None:
    out, stream = terminal.console(), io.StringIO()
    out.file = stream
    table = terminal.make_table("a", "b")
    table.add_row(text, f"{text}\nforged")
    table.add_row(Text(text), "x")
    table.caption = text
    out.print(text)
    out.print(Text(text))
    out.print(table)
    status = out.status(text)
    out.print(status.renderable)
    status.update(text)
    out.print(status.renderable)
    written = stream.getvalue()
    assert all(c == "\n" or c.isprintable() for c in written), repr(written)
    assert not re.search("^ *forged", written, re.MULTILINE)
    if text.isprintable():
        assert written.count(text) == 8


def test_markup_in_a_plan_is_text_when_plans_are_compared(server: ForkServer, fw: Path, box: Path) -> None:
    edit(fw, ("target",), "[bold]x[/bold] [link=x:y]z[/link]")
    ended = server.run("cmsisnn-tune", "compare", "fw/plan.json", "fw/plan.json", cwd=box)
    assert (ended.status, ended.err) == (0, "")
    assert f"{NAME} on [bold]x[/bold] [link=x:y]z[/link], least latency" in ended.out


@pytest.mark.parametrize(
    "case", ["a model of two lines", "a target of two lines", "a layer that commands", "a knob that commands"]
)
def test_plans_that_are_compared_are_read_as_strictly(refuse: Callable[..., Ended], fw: Path, case: str) -> None:
    path, value, _ = EDITS[case]
    edit(fw, path, value)
    refuse("cmsisnn-tune", "compare", "fw/plan.json", "fw/plan.json", says="fw/plan.json: ")


def test_a_key_of_a_plan_begins_no_line_of_its_own(refuse: Callable[..., Ended], fw: Path) -> None:
    edit(fw, ("versions",), {"x\nerror: forged": 5})
    ended = refuse("cmsisnn-tune", "compare", "fw/plan.json", "fw/plan.json", says="versions.'x")
    assert ended.err.count("\n") == 1


def test_a_plan_without_digests_is_compared(server: ForkServer, fw: Path, box: Path) -> None:
    content = json.loads((fw / "plan.json").read_text())
    del content["digests"]
    (box / "plan.json").write_text(json.dumps(content))
    assert server.run("cmsisnn-tune", "compare", "plan.json", "plan.json", cwd=box).status == 0


# ---------------------------------------------------------------- records


def line(**changes: Any) -> str:
    """An exported record; `about` and `result` with changes."""
    digest = "0" * 64
    about: dict[str, Any] = {
        "op": "convolve", "kernels": digest, "tools": digest, "layer": {}, "parameters": digest, "variant": None,
        "aligned": [True, True], "core": "cortex-m4", "target": digest, "compiler": "gcc 12", "cflags": ["-O3"],
    }  # fmt: skip
    about |= changes.get("about", {})
    result = dict.fromkeys(("cycles", "instructions", "code_bytes", "stack_bytes"), 1)
    result |= {"failure": None, "problem": None} | changes.get("result", {})
    created = changes.get("created", "2026-01-01T00:00:00+00:00")
    return json.dumps(
        {"schema": "record-1", "key": key_of(about), "created": created, "about": about, "result": result}
    )


RECORDS: dict[str, tuple[dict[str, Any], str]] = {
    "an operation that is a path": ({"about": {"op": "../convolve"}}, "about.op: expected names of operations"),
    "a list as operation": ({"about": {"op": []}}, "about.op: expected string"),
    "a kernel that is a path": ({"about": {"layer": {"kernels": ["/x"]}}}, "about.layer.kernels: expected names"),
    "kernels of a number": ({"about": {"layer": {"kernels": 5}}}, "about.layer.kernels: expected names"),
    "a pool that is a path": ({"about": {"layer": {"pool": {"op": "../x"}}}}, "about.layer.pool.op: expected names"),
    "a pool of a list": ({"about": {"layer": {"pool": []}}}, "about.layer.pool: expected an object"),
    "a core that commands": ({"about": {"core": "\x1b[31m"}}, "about.core: expected a line of printable text"),
    "a compiler of two lines": ({"about": {"compiler": "a\nb"}}, "about.compiler: expected a line"),
    "a problem of two lines": ({"result": {"failure": "fault", "problem": "a\nb"}}, "result.problem: expected one"),
    "a failure of nobody": ({"result": {"failure": "x", "problem": "y"}}, "result.failure: expected one of"),
    "cycles of 300 digits": ({"result": {"cycles": 10**300}}, "result.cycles: got "),
    "a kernel of 300 letters": ({"about": {"op": "x" * 300}}, "about.op: expected names of operations"),
    "a digest that is none": ({"about": {"kernels": "x"}}, "about.kernels: expected text like"),
}  # fmt: skip


@pytest.mark.parametrize("case", RECORDS)
def test_a_strangers_record_is_refused_by_line_and_key(refuse: Callable[..., Ended], box: Path, case: str) -> None:
    changes, says = RECORDS[case]
    with pytest.raises(OptionError, match=rf"^x:1: {re.escape(says)}"):
        parse_line(line(**changes), "x:1")
    (box / "x.jsonl").write_text(f"{line()}\n{line(**changes)}\n")
    refuse("cmsisnn-tune", "records", "import", "x.jsonl", says=f"x.jsonl:2: {says}")


def test_an_honest_record_is_taken() -> None:
    assert parse_line(line(), "x:1").about["op"] == "convolve"


ABOUT: dict[str, Any] = json.loads(line())["about"]
ROWS: dict[str, tuple[Any, Any]] = {
    "honest": (ABOUT, json.loads(line())["result"]),
    "a pool of nobody": ({**ABOUT, "layer": {"pool": {"op": "nobody"}}}, {"failure": "fault"}),
    "without digests": ({key: ABOUT[key] for key in ("op", "core", "compiler", "layer")}, {}),
    "no object": ([1], 5),
}


def test_a_strangers_record_file_is_listed_as_far_as_it_goes(server: ForkServer, box: Path) -> None:
    with closing(Records(box / "r.sqlite")) as kept:
        kept._insert([(key, "2026", *map(json.dumps, row)) for key, row in ROWS.items()])
        kept._insert([("text", "2026", "{", "\ud800".encode("utf-8", "surrogatepass"))])  # type: ignore[list-item]
        assert [record.key for record in kept] == ["a pool of nobody", "honest", "without digests"]
        assert set(kept.get([*ROWS, "text"])) == {"a pool of nobody", "honest", "without digests"}
        assert set(Measurement.known(kept.get(ROWS))) == {"honest"}
    for command, says in ((("list",), "3 evaluations"), (("list", "--failures"), "1 of 3"), (("prune",), "3 of 3")):
        ended = server.run("cmsisnn-tune", "records", *command, "--records", "r.sqlite", cwd=box)
        assert (ended.status, ended.err) == (0, "")
        assert says in ended.out


def test_a_damaged_record_file_is_one_sentence(server: ForkServer, box: Path) -> None:
    with closing(Records(box / "r.sqlite")) as kept:
        kept._insert([(f"{at:064}", "2026", "{}", "{}") for at in range(300)])
    data = (box / "r.sqlite").read_bytes()
    (box / "r.sqlite").write_bytes(data[: len(data) // 2] + bytes(len(data) - len(data) // 2))
    for command in ("list", "prune"):
        ended = server.run("cmsisnn-tune", "records", command, "--records", "r.sqlite", cwd=box)
        assert (ended.status, ended.out, ended.err.count("\n")) == (2, "", 1)
        assert "r.sqlite: a damaged record file: " in ended.err


@pytest.mark.parametrize("content", [b"\1\0\x08\0({'a': (", b"\1\0\4\0\xff\xfe\0\0", b"\x09\0", b""])
def test_inputs_that_are_no_arrays_are_refused(
    refuse: Callable[..., Ended], fw: Path, box: Path, content: bytes
) -> None:
    assert fw.is_dir()
    (box / "x.npy").write_bytes(b"\x93NUMPY" * bool(content) + content)
    refuse("cmsisnn-verify", "fw", "--input", "x.npy", says="--input: x.npy: not a .npy file", memory=EMULATOR_BYTES)


def test_inputs_from_a_pipe_are_not_waited_for(refuse: Callable[..., Ended], fw: Path, box: Path) -> None:
    assert fw.is_dir()
    os.mkfifo(box / "x.npy")
    refuse("cmsisnn-verify", "fw", "--input", "x.npy", says="x.npy: expected a .npy file, got a pipe")
