#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Capstone's list of registers read leaves out operands of Arm's saturations, packing, extensions with a sum, and long multiply-accumulates
# capstone 5.0.9 (Python 3.11, x86-64 Linux)
#
# Expected: regs_access() names every register whose value an instruction uses: SSAT r2, #8, r1 reads r1, PKHBT r2, r3, r1 reads r3 and r1, SMLAL
# r1, r2, r3, r4 reads all four.
# Seen: of SSAT and USAT nothing is read, of PKHBT, PKHTB, SXTAB and SXTAB16 the second source is not, of SMLAL, UMLAL, UMAAL and SMLALD the 64 bits
# that they add to are not. MLA and SMLAD beside them are complete.
# Why it matters: quantised kernels end in these instructions. Whatever finds dependences by that list (cycle models, schedulers, liveness) lets them
# issue before their operands are there. `operands` of the same object has all registers: take sources from there.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q capstone==5.0.9
cat >run.py <<'EOF'
from capstone import CS_ARCH_ARM, CS_MODE_MCLASS, CS_MODE_THUMB, Cs

SEEN = {  # bytes -> the instruction, what is said to be read, what is read
    "01f30702": ("ssat r2, #8, r1", "", "r1"),
    "81f30702": ("usat r2, #7, r1", "", "r1"),
    "c3ea0142": ("pkhbt r2, r3, r1, lsl #0x10", "r3", "r1 r3"),
    "c3ea6142": ("pkhtb r2, r3, r1, asr #0x11", "r3", "r1 r3"),
    "41fa83f2": ("sxtab r2, r1, r3", "r1", "r1 r3"),
    "21fa83f2": ("sxtab16 r2, r1, r3", "r1", "r1 r3"),
    "c3fb0412": ("smlal r1, r2, r3, r4", "r3 r4", "r1 r2 r3 r4"),
    "e3fb0412": ("umlal r1, r2, r3, r4", "r3 r4", "r1 r2 r3 r4"),
    "e3fb6412": ("umaal r1, r2, r3, r4", "r3 r4", "r1 r2 r3 r4"),
    "c3fbc412": ("smlald r1, r2, r3, r4", "r3 r4", "r1 r2 r3 r4"),
    "03fb0412": ("mla r2, r3, r4, r1", "r1 r3 r4", "r1 r3 r4"),
    "23fb0412": ("smlad r2, r3, r4, r1", "r1 r3 r4", "r1 r3 r4"),
}
disassembler = Cs(CS_ARCH_ARM, CS_MODE_THUMB | CS_MODE_MCLASS)
disassembler.detail = True
for code, (text, said, right) in SEEN.items():
    item = next(disassembler.disasm(bytes.fromhex(code), 0))
    reads = " ".join(sorted(item.reg_name(register) for register in item.regs_access()[0]))
    print(f"{item.mnemonic} {item.op_str}: reads '{reads}', should be '{right}'")
    assert f"{item.mnemonic} {item.op_str}" == text, "changed: how it is shown"
    assert reads == said, "changed: what is said to be read"
EOF
venv/bin/python run.py
echo "seen as described"
