#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# GCC 12 makes other predicates of Helium's constant ones: 0x0fff, three lanes of four, becomes all lanes
# gcc-arm-none-eabi 15:12.2.rel1-1 (Debian 12); ziglang 0.15.2 (Clang 20) for comparison (x86-64 Linux)
#
# Expected: vpselq_s32(x, y, 0x0fff) takes lanes 0 to 2 of x and lane 3 of y, vldrwq_z_s32(p, 0x0fff) loads three words: P0 is written with 0x0fff,
# as Clang does.
# Seen: of predicates for lanes of 32 and of 16 bits that have lane 0, whichever else they have, GCC writes 0xffff; those without lane 0 and those for
# lanes of 8 bits are right. No word of it at any level of warnings.
# Why it matters: lanes that were left out are written, and memory behind a tensor is read or overwritten. vctp32q and comparisons of vectors that the
# compiler cannot compute are right, so programs are wrong where constants come together: in a loop over four rows or pixels of which it knows at
# compile time that three exist. What is to be compiled by GCC 12 hides such numbers from it (an empty asm).
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q ziglang==0.15.2
apt-get download -q gcc-arm-none-eabi=15:12.2.rel1-1 >download.log 2>&1 || { cat download.log; exit 1; }
dpkg -x gcc-arm-none-eabi_*.deb gnu
cat >predicates.c <<'END'
#include <arm_mve.h>
int32x4_t three_of_four(int32x4_t x, int32x4_t y) { return vpselq_s32(x, y, 0x0fff); }
int32x4_t first_of_four(int32x4_t x, int32x4_t y) { return vpselq_s32(x, y, 0x000f); }
int32x4_t last_three(int32x4_t x, int32x4_t y) { return vpselq_s32(x, y, 0xfff0); }
int16x8_t six_of_eight(int16x8_t x, int16x8_t y) { return vpselq_s16(x, y, 0x0fff); }
int8x16_t twelve_of_sixteen(int8x16_t x, int8x16_t y) { return vpselq_s8(x, y, 0x0fff); }
int32x4_t three_words(const int32_t *p) { return vldrwq_z_s32(p, 0x0fff); }
END
gnu/usr/bin/arm-none-eabi-gcc -mcpu=cortex-m55 -mthumb -mfloat-abi=hard -ffreestanding -O2 -Wall -Wextra -Werror -S predicates.c -o gnu.s
venv/bin/python -m ziglang cc -target thumb-freestanding-eabihf -mcpu=cortex_m55+mve_fp -O2 -S predicates.c -o clang.s
python3 - <<'END'
import re

constant = re.compile(r"\s+(?:movs?|movw|mov\.w|mvns?)\s+r\d+, #(\S+)")
found = {}
for compiler in ("gnu", "clang"):
    name = ""
    for line in open(f"{compiler}.s"):
        if label := re.match(r"(\w+):", line):
            name = label[1]
        if number := constant.match(line):
            value = ~int(number[1], 0) if "mvn" in line else int(number[1], 0)
            found.setdefault(name, {})[compiler] = value & 0xFFFF
for name, values in found.items():
    print(f"{name:18} gcc {values['gnu']:#06x} clang {values['clang']:#06x}")
asked = {
    "three_of_four": 0x0FFF, "first_of_four": 0x000F, "last_three": 0xFFF0, "six_of_eight": 0x0FFF, "twelve_of_sixteen": 0x0FFF,
    "three_words": 0x0FFF,
}  # fmt: skip
assert {name: values["clang"] for name, values in found.items()} == asked, "changed: Clang's"
right = {"last_three", "twelve_of_sixteen"}
assert {name: values["gnu"] for name, values in found.items()} == {n: v if n in right else 0xFFFF for n, v in asked.items()}, "changed: GCC's"
END
echo "seen as described"
