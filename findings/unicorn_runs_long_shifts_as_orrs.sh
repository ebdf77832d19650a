#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Unicorn runs the long shifts of Armv8.1-M (LSLL, ASRL and their like) as ORRS with the program counter, without an error
# unicorn 2.1.4 (Python 3.11, x86-64 Linux)
#
# Expected: its Cortex-M33 has no such instructions: an undefined-instruction exception, as for the vector instructions of Helium. A core that has
# them shifts the register pair: LSLL r0, r1, #4 of r1:r0 = 2:0x80000001 gives 0x28:0x10.
# Seen: emulation goes on; r0 stays, r1 becomes r0 | (pc << 4).
# Why it matters: compilers use these shifts for 64-bit integers on Cortex-M55 and M85, where no vector instruction is near, as in a
# requantisation by 64 bits. Firmware for these cores then runs to its end on Unicorn with other numbers. What emulates such firmware
# has to look for the encodings itself: first halfword EA5x, second with bit 15 clear and low bits 1111 or 1101.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q unicorn==2.1.4
cat >run.py <<'EOF'
from unicorn import UC_ARCH_ARM, UC_MODE_MCLASS, UC_MODE_THUMB, Uc, UcError
from unicorn.arm_const import UC_ARM_REG_R0, UC_ARM_REG_R1, UC_CPU_ARM_CORTEX_M33

NOP = bytes.fromhex("00bf")


def run(code):
    emulator = Uc(UC_ARCH_ARM, UC_MODE_THUMB | UC_MODE_MCLASS)
    emulator.ctl_set_cpu_model(UC_CPU_ARM_CORTEX_M33)
    emulator.mem_map(0, 4096)
    emulator.mem_write(0, code + 4 * NOP)
    emulator.reg_write(UC_ARM_REG_R0, 0x80000001)
    emulator.reg_write(UC_ARM_REG_R1, 2)
    try:
        emulator.emu_start(1, len(code))
    except UcError as error:
        return str(error)
    return [hex(emulator.reg_read(register)) for register in (UC_ARM_REG_R0, UC_ARM_REG_R1)]


long_shift = run(bytes.fromhex("50ea0f11"))  # LSLL r0, r1, #4
vector = run(bytes.fromhex("02ef4408"))  # VADD.I8 q0, q1, q2
print("LSLL:", long_shift)
print("VADD:", vector)
assert long_shift == ["0x80000001", "0x80000041"], "changed: the long shift"
assert isinstance(vector, str), "changed: the vector instruction"
EOF
venv/bin/python run.py
echo "seen as described"
