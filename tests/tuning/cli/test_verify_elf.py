# SPDX-License-Identifier: Apache-2.0
"""``cmsisnn-verify --elf``: figures as JSON or as tables, and one sentence for whatever is wrong."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from helpers.commands import run_forked

pytestmark = pytest.mark.emulated
ARCHIVE = zipfile.ZipFile(Path(__file__).parents[1] / "emulate" / "data" / "pricing.zip")
EXPECTED = json.loads(ARCHIVE.read("expected.json"))
NAME = "cortex-m4-gcc-O3.elf"


@pytest.fixture(scope="module")
def elf(tmp_path_factory):
    path = tmp_path_factory.mktemp("elf") / NAME
    path.write_bytes(ARCHIVE.read(NAME))
    return path


def verify(*args: object) -> subprocess.CompletedProcess[str]:
    return run_forked("cmsisnn-verify", *args)


def answer(*args: object) -> dict:
    done = verify(*args, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_json_has_what_the_contract_names(elf):
    got = answer("--elf", elf, "--call", "dot_q7", "--arg", "bytes", "--arg", 256, "--target", "cortex-m4")
    expected = EXPECTED[NAME]["dot_q7"]
    assert (got["symbol"], got["target"]) == ("dot_q7", "cortex-m4")
    assert (got["instructions"], got["cycles"]) == (expected["instructions"], expected["cycles"])
    assert sum(block["cycles"] for block in got["blocks"]) == got["cycles"]
    assert {"address", "count", "instructions", "cycles", "symbol"} <= got["blocks"][0].keys()


def test_six_arguments_and_number_formats(elf):
    args = [x for value in (1, "0x10", -1, "+3", "0b11", 7) for x in ("--arg", value)]
    got = answer("--elf", elf, "--call", "six", *args, "--target", "cortex-m4")
    assert got["result"] == (1 + 16 - 1 + 3 + 3 * 7)


def test_fill_puts_bytes_at_a_symbol(elf, tmp_path):
    (tmp_path / "data.bin").write_bytes(bytes([1, 2, 3, 4]))
    args = ["--elf", elf, "--call", "dot_q7", "--arg", "bytes", "--arg", 4, "--target", "cortex-m4"]
    assert answer(*args, "--fill", f"bytes={tmp_path / 'data.bin'}")["result"] == 4 + 6 + 6 + 4
    shifted = [arg if arg != "bytes" else "bytes+8" for arg in args]
    assert answer(*shifted, "--fill", f"bytes+8={tmp_path / 'data.bin'}")["result"] == 20


def test_another_core_has_another_price(elf):
    args = ("--elf", elf, "--call", "fibonacci", "--arg", 9, "--target")
    assert answer(*args, "cortex-m4")["cycles"] != answer(*args, "cortex-m7")["cycles"]


def test_the_table_names_functions_and_the_hottest_blocks(elf):
    done = verify("--elf", elf, "--call", "structures", "--arg", 5, "--target", "cortex-m4", "--blocks")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("structures on cortex-m4: ")
    assert any(line.split()[:1] == ["copy"] for line in lines)
    assert any("ldm" in line for line in lines)
    hot = [line.split("instructions, ")[1] for line in lines if " times, " in line]
    blocks = [int(line.split(" cycles")[0].replace(",", "")) for line in hot]
    assert blocks == sorted(blocks, reverse=True)
    assert len(blocks) >= 2


def test_blocks_as_json_have_their_code(elf):
    got = answer("--elf", elf, "--call", "six", "--target", "cortex-m4", "--blocks")
    assert all(block["code"] for block in got["blocks"])
    assert got["blocks"][0]["instructions"] == len(got["blocks"][0]["code"]) * got["blocks"][0]["count"]


def test_boards_say_what_they_add_to_their_core(elf):
    call = ("--elf", elf, "--call", "dot_q7", "--arg", "bytes", "--arg", 256, "--target")
    core, board = answer(*call, "cortex-m4"), answer(*call, "nucleo-l4r5zi")
    assert (core["added"], core["regions"], core["core_cycles"]) == ({}, [], core["cycles"])
    assert board["core_cycles"] == core["cycles"]
    assert board["cycles"] == board["core_cycles"] + sum(board["added"].values())
    assert board["added"]["flash fetch"] > 0
    assert {"flash", "SRAM"} == {region["name"] for region in board["regions"]}
    warm = answer(*call, "nucleo-l4r5zi", "--warm")
    assert warm["cycles"] < board["cycles"]
    done = verify(*call, "nucleo-l4r5zi")
    assert done.returncode == 0, done.stderr
    assert f"cortex-m4 alone: {core['cycles']:,} cycles; nucleo-l4r5zi adds " in done.stdout


ELF = ("--elf", "ELF", "--target", "cortex-m4", "--call")
BAD = {
    "unaligned": ((*ELF, "assembly", "--arg", "words+2", "--arg", 4), "unaligned read of 4 bytes at 0x"),
    "nothing": ((), None),
    "both": (("DIR", "--elf", "ELF"), "expected either a folder or --elf FILE, got both"),
    "no call": (ELF[:-1], "expected --call SYMBOL"),
    "no target": (("--elf", "ELF", "--call", "six"), "expected --target"),
    "unknown target": (("--elf", "ELF", "--call", "six", "--target", "cortex-m99"), "cortex-m99"),
    "unknown symbol": ((*ELF, "sixx"), "no symbol 'sixx'; did you mean 'six'?"),
    "unknown argument": ((*ELF, "six", "--arg", "byte"), "no symbol 'byte'; did you mean 'bytes'?"),
    "argument too large": ((*ELF, "six", "--arg", 2**32), "expected a 32-bit integer"),
    "malformed fill": ((*ELF, "six", "--fill", "bytes"), "expected SYMBOL=FILE"),
    "fill without file": ((*ELF, "six", "--fill", "bytes=none.bin"), "none.bin: No such file"),
    "fill too large": ((*ELF, "six", "--fill", "bytes=ELF"), "bytes: expected at most 256 bytes"),
    "no such file": (("--elf", "none.elf", *ELF[2:], "six"), "none.elf: cannot be read"),
    "no ELF": (("--elf", __file__, *ELF[2:], "six"), "not a valid ELF file"),
    "bad pointer": ((*ELF, "dot_q7", "--arg", "0x70000000", "--arg", 4), "read of unmapped memory at 0x70000000"),
    "hung": ((*ELF, "fibonacci", "--arg", 40, "--budget", 100000), "did not return within 100000 instructions"),
    "wrong place": (("DIR", "--call", "six"), "--call: goes with --elf FILE only"),
    "no plan": (("DIR",), "no plan.json"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_usage_and_bad_input_are_one_sentence(case, elf, tmp_path):
    args, message = BAD[case]
    places = {"ELF": str(elf), "DIR": str(tmp_path), "bytes=ELF": f"bytes={elf}"}
    done = verify(*(places.get(str(arg), arg) for arg in args))
    assert done.returncode == 2, (done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    if message is not None:
        assert message in done.stderr
        assert done.stdout == ""
        assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize("package", ["unicorn", "capstone", "elftools"])
def test_a_missing_extra_says_what_to_install(package, elf):
    hidden = f"import sys; sys.modules[{package!r}] = None; from tuning.cli.verify import main; main()"
    command = [sys.executable, "-c", hidden, "--elf", str(elf), "--call", "six", "--target", "cortex-m4"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "pip install ziglang unicorn capstone pyelftools" in done.stderr
    assert "Traceback" not in done.stderr
