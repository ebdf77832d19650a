# SPDX-License-Identifier: Apache-2.0
"""Targets, plans, ELF files and flags that cannot be meant."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest

import tuning
from helpers.forked import Ended, ForkServer

MODEL = (
    "schema: 1\nname: net\ninput: {shape: [8, 8, 4], dtype: q7}\n"
    "layers:\n  - {name: c, op: conv2d, out_channels: 6, kernel: 3, padding: 1, out_shift: 7}\n"
)
BOARD = "schema: 1\nname: b\ninherit: cortex-m4\n"
EMULATOR_BYTES = 3 << 30
"""Address space, not memory: Unicorn reserves a gigabyte for translated code."""

TARGETS: dict[str, tuple[str, str]] = {
    "empty": ("", "expected a mapping"),
    "a name that commands": ('schema: 1\nname: "\\e[31mred"\n', "name: expected a line of text"),
    "a name of two lines": ('schema: 1\nname: "a\\nb"\n', "name: expected a line of text"),
    "itself": ("schema: 1\nname: b\ninherit: t.yaml\n", "inherit each other: t.yaml -> t.yaml"),
    "no such core": ("schema: 1\nname: b\ncore: cortex-m99\n", "unknown core"),
    "a list as core": ("schema: 1\nname: b\ncore: [1]\n", "unknown core"),
    "a list to inherit": ("schema: 1\nname: b\ninherit: [1]\n", "inherit: expected a line of text"),
    "inherits a folder": ("schema: 1\nname: b\ninherit: .\n", "inherit: unknown target"),
    "inherits a null byte": ('schema: 1\nname: b\ninherit: "a\\0"\n', "inherit: expected a line of text"),
    "inherits 6000 characters": (f"schema: 1\nname: b\ninherit: {'x' * 6000}\n", "inherit: unknown target"),
    "inherits a file that is none": ("schema: 1\nname: b\ninherit: /etc/passwd\n", "passwd"),
    "truth as version": ("schema: true\nname: b\n", "schema: expected 1"),
    "unknown key": (BOARD + "sarm: 3\n", "sarm: unknown key"),
    "clock of 300 digits": (BOARD + f"clock_hz: 1{'0' * 300}\n", "clock_hz: expected"),
    "clock of 400 digits": (BOARD + f"clock_hz: '1{'0' * 400}M'\n", "clock_hz: expected"),
    "negative clock": (BOARD + "clock_hz: -1\n", "clock_hz: expected"),
    "infinite clock": (BOARD + "clock_hz: .inf\n", "clock_hz: expected"),
    "no memory": (BOARD + "sram_bytes: 0\n", "sram_bytes: expected"),
    "negative memory": (BOARD + "sram_bytes: -5\n", "sram_bytes: expected"),
    "wait states without a line": (BOARD + "flash_wait_states: 5\n", "flash_line_bytes"),
    "fractional wait states": (BOARD + "flash_wait_states: 1e3\n", "flash_wait_states: expected"),
    "timing of a number": (BOARD + "timing: 5\n", "timing: expected a mapping"),
    "negative timing": (BOARD + "timing: {load: -1}\n", "timing.load: expected"),
    "huge timing": (BOARD + "timing: {load: 1e300}\n", "timing.load: expected"),
    "issues nothing": (BOARD + "timing: {issue_width: 0}\n", "timing.issue_width: expected more than 0"),
    "loads for nothing": (BOARD + "timing: {load_next: 0}\n", "timing.load_next: expected more than 0"),
    "source of a list": (BOARD + "timing: {load: {value: 2, source: [1]}}\n", "source: expected text"),
    "volts of truth": (BOARD + "supply_volts: true\n", "supply_volts: expected"),
    "DSP of a number": (BOARD + "dsp: 1\n", "dsp: expected true or false"),
}


@pytest.mark.parametrize("name", TARGETS)
def test_a_bad_target_is_refused(refuse: Callable[..., Ended], box: Path, name: str) -> None:
    content, says = TARGETS[name]
    (box / "m.yaml").write_text(MODEL)
    (box / "t.yaml").write_text(content)
    refuse("cmsisnn-tune", "m.yaml", "--target", "t.yaml", says=says)


@pytest.mark.parametrize("name", ["*/ int evil; <script>alert(1)</script>", "[red]x[/red] [/]", "é"])
def test_the_name_of_a_target_stays_text(server: ForkServer, box: Path, name: str) -> None:
    (box / "m.yaml").write_text(MODEL)
    (box / "t.yaml").write_text(f'schema: 1\nname: "{name}"\ntitle: "{name}"\ninherit: cortex-m4\n', encoding="utf-8")
    ended = server.run("cmsisnn-tune", "m.yaml", "--target", "t.yaml", "-o", "out", cwd=box)
    assert (ended.status, ended.err) == (0, "")
    assert "\x1b" not in ended.out
    for path in (box / "out").rglob("*"):
        text = (
            path.read_bytes().decode(errors="replace" if path.suffix == ".npz" else "strict") if path.is_file() else ""
        )
        assert "<script>alert(1)" not in text or path.name == "plan.json"
        assert "*/ int evil" not in text or path.suffix in (".json", ".html", ".md")
        assert "\x1b" not in text
    if "red" in name and "[" in name[:1]:
        assert "[red]x[/red]" in ended.out


FLAGS: dict[str, tuple[tuple[str, ...], str]] = {
    "no such target": (("m.yaml", "--target", "../x"), "unknown target"),
    "empty target": (("m.yaml", "--target", ""), "target"),
    "clock 0": (("m.yaml", "--clock", "0"), "--clock: expected"),
    "negative clock": (("m.yaml", "--clock", "-5"), "--clock: expected"),
    "clock of 400 digits": (("m.yaml", "--clock", "9" * 400), "--clock: expected"),
    "negative budget": (("m.yaml", "--sram", "-1"), "--sram: expected"),
    "budget of 500 digits": (("m.yaml", "--sram", "9" * 500), "--sram: expected"),
    "budget in exponents": (("m.yaml", "--sram", "1e5"), "--sram: expected"),
    "empty budget": (("m.yaml", "--sram", ""), "--sram: expected"),
    "budget NaN": (("m.yaml", "--flash", "nan"), "--flash: expected"),
    "a terabyte": (("m.yaml", "--flash", "1T"), "--flash: expected"),
    "output into a device": (("m.yaml", "-o", "/dev/null"), "--output: expected a directory"),
    "output into a file": (("m.yaml", "-o", "m.yaml"), "--output: expected a directory"),
    "output below a file": (("m.yaml", "-o", "m.yaml/x"), "m.yaml"),
    "output of 300 characters": (("m.yaml", "-o", "x" * 300), "name too long"),
    "empty output": (("m.yaml", "-o", ""), "--output"),
    "empty model": (("", "-q"), "error:"),
    "model of 5000 characters": (("x" * 5000,), "name too long"),
    "model that is a folder": (("/etc",), "got a directory"),
    "model that is nothing": (("/dev/null",), "expected a mapping"),
    "model that never ends": (("/dev/zero",), "at most"),
    "model that commands the terminal": (("\x1b[31m.yaml",), "no such file"),
    "explain nothing": (("m.yaml", "--explain", "nolayer"), "nolayer"),
    "compare a model": (("compare", "m.yaml", "m.yaml"), "expected a plan.json"),
    "compare folders": (("compare", ".", "."), "expected a plan.json"),
    "compare what never ends": (("compare", "/dev/zero", "/dev/zero"), "larger than"),
    "import a bomb": (("records", "import", "deep.json"), "expected a line of JSON"),
    "import 10,000 digits": (("records", "import", "digits.json"), "expected a line of JSON"),
    "import noise": (("records", "import", "noise.json"), "expected JSON lines in UTF-8"),
    "import what never ends": (("records", "import", "/dev/zero"), "larger than"),
    "check against noise": (("m.yaml", "--check", "noise.json"), "cannot be read"),
    "check against nothing": (("m.yaml", "--check", "nofile"), "no such file"),
    "tables of no core": (("paper-table", "--target", "x"), "unknown target"),
    "calibrate from no folder": (("calibrate", "--from", "noise.json"), "--plan"),
    "calibrate another core": (("calibrate", "--target", "x"), "--target: expected one of"),
}


@pytest.mark.parametrize("name", FLAGS)
def test_bad_flags_are_refused(refuse: Callable[..., Ended], box: Path, name: str) -> None:
    arguments, says = FLAGS[name]
    (box / "m.yaml").write_text(MODEL)
    (box / "deep.json").write_bytes(b"[" * 100_000)
    (box / "digits.json").write_bytes(b"1" * 10_000)
    (box / "noise.json").write_bytes(b"\xff\xfe" * 500)
    refuse("cmsisnn-tune", *arguments, says=says)


PLANS: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "expected a plan.json"),
    "a list": (b"[]", "got 'list'"),
    "nothing": (b"null", "got 'NoneType'"),
    "noise": (b"\xff\xfe\0", "expected a plan.json"),
    "deep": (b"[" * 100_000, "nested too deep"),
    "10,000 digits": (b"1" * 10_000, "cannot be read"),
    "only its schema": (b'{"schema": "plan-1"}', ": missing"),
    "another schema": (b'{"schema": "plan-99"}', "got 'plan-99'"),
}


@pytest.mark.parametrize("name", PLANS)
def test_a_bad_plan_is_refused(refuse: Callable[..., Ended], box: Path, name: str) -> None:
    data, says = PLANS[name]
    (box / "plan.json").write_bytes(data)
    refuse("cmsisnn-tune", "compare", "plan.json", "plan.json", says=says)
    refuse("cmsisnn-verify", ".", says="plan.json")


def test_no_edit_of_a_plan_is_a_traceback(server: ForkServer, box: Path, full: bool) -> None:
    (box / "m.yaml").write_text(MODEL)
    plan = tuning.tune(tuning.load_model(box / "m.yaml"), tuning.load_target("cortex-m4"))
    (box / "good.json").write_text(plan.to_json())
    rng = random.Random(8)
    for _ in range(500 if full else 12):
        content = json.loads(plan.to_json())
        node: object = content
        path: list[object] = []
        while isinstance(node, dict | list) and node and (not path or rng.random() < 0.7):
            parent, key = node, rng.choice(sorted(node) if isinstance(node, dict) else range(len(node)))
            path.append(key)
            node = node[key]
        if rng.random() < 0.3:
            del parent[key]
        else:
            parent[key] = rng.choice([None, -1, 10**30, 1e308, "x", "\x1b[31m[red]", [], {}, True, [[]], {"a": []}])
        (box / "plan.json").write_text(json.dumps(content))
        ended = server.run("cmsisnn-tune", "compare", "plan.json", "good.json", cwd=box)
        assert ended.status in (0, 2), (path, ended.err)
        assert "\x1b" not in ended.out + ended.err, path


HEADER = b"layer,cycles\n"
LOGS: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "l.csv:1: expected a line 'layer,cycles'"),
    "noise": (bytes(range(256)) * 20, "l.csv:1: expected a line 'layer,cycles'"),
    "UTF-16": ("layer,cycles\nc,5\n".encode("utf-16"), "l.csv:1: expected a line 'layer,cycles'"),
    "other columns": (b"name,time\nc,5\n", "l.csv:2: expected a line 'layer,cycles' before the first layer"),
    "nothing behind the header": (HEADER, "l.csv:1: the run that begins here has no line for layer 'c'"),
    "another layer": (HEADER + b"conv9,5\n", "l.csv:2: layer 'conv9' is not in the folder"),
    "a layer of 10,000 letters": (HEADER + b"x" * 10_000 + b",5\n", f"layer '{'x' * 40}' is not in the folder"),
    "a layer twice": (HEADER + b"c,5\nc,5\n", "l.csv:3: layer 'c' comes twice"),
    "nothing": (HEADER + b"c,\n", "l.csv:2: cycles of c: expected a count"),
    "zero": (HEADER + b"c,0\n", "l.csv:2: layer 'c' took 0 cycles"),
    "negative": (HEADER + b"c,-5\n", "l.csv:2: cycles of c: expected a count"),
    "NaN": (HEADER + b"c,NaN\n", "l.csv:2: cycles of c: expected a count"),
    "a fraction": (HEADER + b"c,50000.5\n", "got '50000.5'"),
    "an exponent": (HEADER + b"c,5e4\n", "got '5e4'"),
    "thousands": (HEADER + b"c,50,000\n", "got '50,000'"),
    "Arabic digits": (HEADER + "c,\u0665\u0660\n".encode(), "l.csv:2: cycles of c: expected a count"),
    "colour": (b"\xef\xbb\xbflayer,cycles\r\nc,\x1b[31m5\r\n", "l.csv:2: cycles of c: expected a count"),
    "33 bits": (HEADER + b"c,4294967296\n", "l.csv:2: cycles of c: expected a count"),
    "5,000 digits": (HEADER + b"c," + b"9" * 5_000 + b"\n", "got '99999999999999999999'"),
}


@pytest.mark.parametrize("name", [*LOGS, "what never ends"])
def test_a_bad_measurement_is_refused(refuse: Callable[..., Ended], box: Path, emitted: Path, name: str) -> None:
    data, says = LOGS.get(name, (b"", "larger than"))
    (box / "l.csv").write_bytes(data)
    csv = "l.csv" if name in LOGS else "/dev/zero"
    command = ("calibrate", "--from", csv, "--plan", emitted, "--target", "cortex-m4")
    refuse("cmsisnn-tune", *command, says=says, memory=EMULATOR_BYTES)


@pytest.fixture(scope="session")
def emitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("emitted")
    (folder / "m.yaml").write_text(MODEL)
    tuning.emit(tuning.tune(tuning.load_model(folder / "m.yaml"), tuning.load_target("cortex-m4")), folder / "out")
    return folder / "out"


ELF: dict[str, tuple[tuple[str, ...], str]] = {
    "not an ELF file": (("m.yaml",), "not a valid ELF file"),
    "a folder": ((".",), "directory"),
    "another machine": (("/bin/true",), "expected a little-endian 32-bit Arm ELF file"),
    "what never ends": (("/dev/zero",), "larger than"),
}


@pytest.mark.parametrize("name", ELF)
def test_a_bad_elf_file_is_refused(refuse: Callable[..., Ended], box: Path, name: str) -> None:
    arguments, says = ELF[name]
    (box / "m.yaml").write_text(MODEL)
    refuse("cmsisnn-verify", "--elf", *arguments, "--call", "f", "--target", "cortex-m4", says=says)


SOURCE = """
int a[4]; const int b[2] = {1, 2};
int f(int x) { int s = 0; for (int i = 0; i < x; i++) s += a[i & 3] + b[i & 1]; return s; }
int unmapped(void) { return *(volatile int *)0xdeadbeef; }
int deep(int x) { volatile int big[1 << 16]; big[x & 1] = x; return x ? deep(x - 1) + big[1] : 0; }
void endless(void) { for (;;); }
void _start(void) { for (;;); }
"""

CALLS: dict[str, tuple[tuple[str, ...], str]] = {
    "unmapped memory": (("unmapped",), "unmapped memory at 0xdeadbeef"),
    "a deep stack": (("deep", "--arg", "100"), "stack"),
    "no end": (("endless", "--budget", "10000"), "did not return"),
    "no symbol": (("nothing",), "no symbol 'nothing'"),
    "data": (("a",), "is data, not a function"),
    "a long argument": (("f", "--arg", "9" * 30), "32-bit integer"),
    "fill from nowhere": (("f", "--fill", "a=nofile"), "nofile"),
    "fill without end": (("f", "--fill", "a=/dev/zero"), "larger than"),
    "fill beyond": (("f", "--fill", "a=e.elf"), "expected at most 16 bytes"),
    "fill out of this world": (("f", "--fill", "a+99999999999=e.elf"), "memory"),
}


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    from tuning.emulate import find_toolchain

    folder = tmp_path_factory.mktemp("elf")
    (folder / "e.c").write_text(SOURCE)
    find_toolchain().build([folder / "e.c"], folder / "e.elf", "cortex-m4", cflags=("-O1",))
    return (folder / "e.elf").read_bytes()


@pytest.mark.parametrize("name", CALLS)
def test_a_call_that_cannot_end_well_is_refused(
    refuse: Callable[..., Ended], box: Path, image: bytes, name: str
) -> None:
    arguments, says = CALLS[name]
    (box / "e.elf").write_bytes(image)
    command = ("--elf", "e.elf", "--target", "cortex-m4", "--call", *arguments)
    refuse("cmsisnn-verify", *command, says=says, memory=EMULATOR_BYTES)


def test_no_damage_to_an_elf_file_is_a_traceback(server: ForkServer, box: Path, image: bytes, full: bool) -> None:
    """Headers and tables most of all: they say what to load, and where."""
    tables = int.from_bytes(image[32:36], "little")
    for seed in range(1000 if full else 12):
        rng, data = random.Random(seed), bytearray(image)
        for start, length in ((0, 52), (52, 64), (tables, 40 * 12)):
            at = start + rng.randrange(length)
            if at < len(data) and rng.random() < 0.5:
                data[at] = rng.choice((0, 1, 0x7F, 0xFF, rng.randrange(256)))
        if rng.random() < 0.2:
            del data[rng.randrange(10, len(data)) :]
        (box / "e.elf").write_bytes(data)
        command = ("--elf", "e.elf", "--target", "cortex-m4", "--call", "f", "--arg", "9", "--budget", "100000")
        ended = server.run("cmsisnn-verify", *command, cwd=box, memory=EMULATOR_BYTES)
        assert ended.status in (0, 1, 2), (seed, ended.err)
        assert ended.seconds < 5, seed
        assert ended.peak_bytes < 1 << 30, seed
