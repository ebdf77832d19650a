# SPDX-License-Identifier: Apache-2.0
"""A second opinion on straight-line code: LLVM's scheduling models of the Cortex-M4 and M7, through ``llvm-mca``.

LLVM's models serve to order instructions. They differ from the rules of this project in what is said beside each
tolerance, and agree on the rest: what issues together, which unit is busy, how late results are.
"""

import re
import shutil
import subprocess

import pytest

from tuning.emulate import Emulator, find_toolchain
from tuning.emulate.instructions import decode
from tuning.emulate.pipeline import PIPELINES

pytestmark = [
    pytest.mark.emulated,
    pytest.mark.skipif(not shutil.which("llvm-mca"), reason="llvm-mca (package llvm) is not installed"),
]
RUNS = 40

# Two rows of q7 weights by two q15 columns, four values of k, as the kernels do it.
BLOCK_2X2 = """
ldr r4, [r0], #4
ldr r5, [r1], #4
ldr r6, [r2], #4
ldr r7, [r2], #4
sxtb16 r8, r4
sxtb16 r9, r5
sxtb16 r4, r4, ror #8
sxtb16 r5, r5, ror #8
smlad r10, r8, r6, r10
smlad r11, r9, r6, r11
smlad r10, r4, r7, r10
smlad r11, r5, r7, r11
"""
SINGLE = {
    "alu": ("add r0, r1, r2\neor r3, r4, r5\nlsl r6, r7, #2\nsub r8, r9, r10\n" * 3, 0),
    "chain": ("add r0, r0, r1\n" * 8, 0),
    "mac chain": ("smlad r0, r1, r2, r0\n" * 8, 0),
    "multiplies": ("mul r0, r1, r2\nsmulbb r3, r4, r5\nsmlad r6, r7, r8, r6\nsmmul r9, r10, r11\n" * 2, 0),
    # The results of long multiplies are late in LLVM's model; in Arm's table all of them take one cycle.
    "long multiplies": ("smull r3, r4, r5, r6\numaal r10, r11, r1, r2\n", -2),
    "dsp": ("sxtb16 r0, r1\nssat r2, #8, r3\npkhbt r4, r5, r6, lsl #16\nuadd8 r7, r8, r9\nsel r10, r7, r8\n", 0),
    "bit fields": ("ubfx r0, r1, #3, #8\nbfi r2, r3, #4, #4\nrbit r4, r5\nclz r6, r7\nusat16 r8, #4, r9\n", 0),
    # LLVM lets whatever does not need it run in the second cycle of a load; the core stalls, once per row of loads.
    "load and use": ("ldr r0, [r1]\nadd r2, r0, r3\n" * 4, 0),
    "load alone": ("ldr r0, [r1]\nadd r2, r3, r4\nsub r5, r6, r7\n" * 4, 4),
    "row of loads": ("ldr r0, [r1]\nldr r2, [r1, #4]\nldr r3, [r1, #8]\nadd r4, r5, r6\n" * 2, 2),
    "2x2": (BLOCK_2X2, 0),
    # LLVM prices a load of several registers as one instruction: here it is one cycle and one more per register.
    "multiple": ("ldm r0, {r1, r2, r3, r4}\nadd r5, r6, r7\nstm r8, {r1, r2, r3, r4}\n", 8),
}


def opinions(code: str, core: str, folder) -> tuple[float, float]:
    """Cycles per run of a block that repeats: by the project's rules, and by LLVM."""
    source = f".syntax unified\n.thumb\n.global f\n.type f, %function\nf:\n{code}\n.size f, . - f\n"
    (folder / "block.S").write_text(source)
    find_toolchain().build([folder / "block.S"], folder / "block.elf", core)
    emulator = Emulator(folder / "block.elf", core)
    symbol = emulator.symbol("f")
    block = decode(emulator.read(symbol.address, symbol.size), symbol.address)
    model = PIPELINES[core]
    own = (model.block_cycles(block * RUNS) - model.block_cycles(block * (RUNS // 2))) / (RUNS // 2)
    options = ["-mtriple=thumbv7em-none-eabi", f"-mcpu={core}", "-instruction-info=false", "-resource-pressure=false"]
    cycles = []
    for runs in (RUNS // 2, RUNS):
        command = ["llvm-mca", *options, f"-iterations={runs}"]
        done = subprocess.run(
            command, input=f".syntax unified\n.thumb\n{code}", capture_output=True, text=True, check=True
        )
        found = re.search(r"Total Cycles:\s+(\d+)", done.stdout)
        assert found, done.stdout
        cycles.append(int(found[1]))
    return own, (cycles[1] - cycles[0]) / (RUNS // 2)


@pytest.mark.parametrize("name", SINGLE)
def test_the_m4_costs_what_llvm_says_but_for_stalls_of_loads(name, tmp_path):
    code, stalls = SINGLE[name]
    own, other = opinions(code, "cortex-m4", tmp_path)
    assert own - other == pytest.approx(stalls, abs=0.51)  # LLVM begins the next run in the last cycle of this one


DUAL = {
    "alu": ("add r0, r1, r2\neor r3, r4, r5\norr r6, r7, r8\nsub r9, r10, r11\n" * 3, 0.05),
    "chain": ("add r0, r0, r1\n" * 8, 0.05),
    "mac chain": ("smlad r0, r1, r2, r0\n" * 8, 0.05),
    "multiply and load": ("smlad r0, r1, r2, r0\nldr r3, [r4]\n" * 8, 0.05),
    "multiply and alu": ("smlad r0, r1, r2, r0\nadd r3, r4, r5\n" * 8, 0.05),
    "extensions": ("sxtb16 r0, r1\nadd r2, r3, r4\nuxtb16 r5, r6\nadd r7, r8, r9\n" * 4, 0.05),
    # LLVM's loads of words are a cycle later than those that boards measure, into every unit but the late ALU.
    "2x2": (BLOCK_2X2, 0.3),
}


@pytest.mark.parametrize("name", DUAL)
def test_the_m7_costs_what_llvm_says_within_its_tolerance(name, tmp_path):
    code, tolerance = DUAL[name]
    own, other = opinions(code, "cortex-m7", tmp_path)
    assert own == pytest.approx(other, rel=tolerance)
