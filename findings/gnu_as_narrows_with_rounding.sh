#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# GNU as takes Helium's narrowing shifts that truncate (VQSHRNB, VQSHRNT, VQSHRUNB, VQSHRUNT) for those that round
# binutils-arm-none-eabi 2.40-2+18+b1 (Debian 12); ziglang 0.15.2 (Clang 20) for comparison (x86-64 Linux)
#
# Expected: `vqshrnb.s32 q0, q1, #5` is EE9B 0F42, with bit 0 clear, and `vqrshrnb.s32 q0, q1, #5` is EE9B 0F43, as Clang has them. For the unsigned
# forms from signed numbers bit 28 makes the difference: EE9B 0FC2 and FE9B 0FC2.
# Seen: both spellings give the encoding that rounds, for every type and for both halves, without a word. VSHRN and VRSHRN are told apart.
# Why it matters: GCC leaves the encoding to this assembler, so vqshrnbq_n_s32 of arm_mve.h rounds in its objects and truncates in Clang's: results differ
# by one, in half of the cases. A requantisation in vectors is the usual place of these. What is to be the same under both compilers has the number of the
# instruction (.inst.w), or shifts and narrows in two.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q ziglang==0.15.2
apt-get download -q binutils-arm-none-eabi=2.40-2+18+b1 >download.log 2>&1 || { cat download.log; exit 1; }
dpkg -x binutils-arm-none-eabi_*.deb gnu
cat >narrow.s <<'END'
.syntax unified
.thumb
vqshrnb.s32 q0, q1, #5
vqrshrnb.s32 q0, q1, #5
vqshrnt.s16 q0, q1, #3
vqrshrnt.s16 q0, q1, #3
vqshrunb.s32 q0, q1, #5
vqrshrunb.s32 q0, q1, #5
vshrnb.i32 q0, q1, #5
vrshrnb.i32 q0, q1, #5
END
gnu/usr/bin/arm-none-eabi-as -march=armv8.1-m.main+mve narrow.s -o gnu.o
venv/bin/python -m ziglang cc -target thumb-freestanding-eabihf -mcpu=cortex_m55+mve_fp -c narrow.s -o clang.o
words() { gnu/usr/bin/arm-none-eabi-objdump -s -j .text "$1" | awk '/^ [0-9a-f]+ / { print $2, $3, $4, $5 }' | tr ' ' '\n' | grep -E '^[0-9a-f]{8}$'; }
paste <(grep '^v' narrow.s) <(words gnu.o) <(words clang.o) | tee table.txt
python3 - <<'END'
rows = [line.rstrip("\n").split("\t") for line in open("table.txt")]
gnu, clang = [row[1] for row in rows], [row[2] for row in rows]
assert len(rows) == 8 and len(set(clang)) == 8, "changed: Clang's"
assert gnu[0] == gnu[1] and gnu[2] == gnu[3] and gnu[4] == gnu[5], "changed: GNU's of the saturating forms"
assert [gnu[k] for k in (1, 3, 5, 6, 7)] == [clang[k] for k in (1, 3, 5, 6, 7)], "changed: the others"
END
echo "seen as described"
