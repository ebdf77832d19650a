# SPDX-License-Identifier: Apache-2.0
"""Encodings of the Armv8.1-M instructions that the interpreter runs, from the Arm architecture reference manual (Arm
DDI 0553).

A row is ``bits | mnemonic | types | operands | operation and its flags``. Bits are ``0``, ``1``, or the letter of a
field, whose bits are read from left to right: ``d n m`` vector registers; ``D N M T`` general registers, ``E`` an even
and ``O`` an odd one, ``Z`` one that may be ZR; ``i k`` immediates; ``c`` a condition; ``p`` the mask of a VPT block;
``t`` the index of the type. Where a row and one behind it both fit, the first is meant: 15 in place of an odd register
makes another instruction. A type or register that is not there leaves the row for the next.

Rows whose operation is in capitals take their operands from the list; the others have a reader of their own
(`mve_transfers`).
"""

from __future__ import annotations

TYPES = {
    "I": "i8 i16 i32 -",
    "S": "s8 s16 s32 -",
    "U": "u8 u16 u32 -",
    "N": "8 16 32 -",
    "SU": "s8 s16 s32 - u8 u16 u32 -",
    "B": "s8 u8",
    "H": "s16 u16",
    "W": "s32 u32",
    "WS": "s16 s32",
    "WI": "i16 i32",
    "WSU": "s16 s32 u16 u32",
    "MAC": "s16 s8 s32 - u16 u8 u32 -",
}
"""Lists of types that rows share, by the value of the field `t`."""

VECTOR = """
1110 1111 00tt nnn0 ddd0 1000 0100 mmm0 | vadd | I | Qd Qn Qm | VADD
1111 1111 00tt nnn0 ddd0 1000 0100 mmm0 | vsub | I | Qd Qn Qm | VSUB
1110 1111 00tt nnn0 ddd0 1001 0101 mmm0 | vmul | I | Qd Qn Qm | VMUL
111t 1111 00tt nnn0 ddd0 0000 0101 mmm0 | vqadd | SU | Qd Qn Qm | VQADD
111t 1111 00tt nnn0 ddd0 0010 0101 mmm0 | vqsub | SU | Qd Qn Qm | VQSUB
111t 1111 00tt nnn0 ddd0 0000 0100 mmm0 | vhadd | SU | Qd Qn Qm | VHADD
111t 1111 00tt nnn0 ddd0 0010 0100 mmm0 | vhsub | SU | Qd Qn Qm | VHSUB
111t 1111 00tt nnn0 ddd0 0001 0100 mmm0 | vrhadd | SU | Qd Qn Qm | VHADD round
111t 1111 00tt nnn0 ddd0 0110 0100 mmm0 | vmax | SU | Qd Qn Qm | VMAX
111t 1111 00tt nnn0 ddd0 0110 0101 mmm0 | vmin | SU | Qd Qn Qm | VMIN
111t 1111 00tt nnn0 ddd0 0111 0100 mmm0 | vabd | SU | Qd Qn Qm | VABD
111t 1110 00tt nnn1 ddd0 1110 0000 mmm1 | vmulh | SU | Qd Qn Qm | VMULH
111t 1110 00tt nnn1 ddd1 1110 0000 mmm1 | vrmulh | SU | Qd Qn Qm | VMULH round
1110 1111 00tt nnn0 ddd0 1011 0100 mmm0 | vqdmulh | S | Qd Qn Qm | VQDMULH
1111 1111 00tt nnn0 ddd0 1011 0100 mmm0 | vqrdmulh | S | Qd Qn Qm | VQDMULH round
1110 1111 0000 nnn0 ddd0 0001 0101 mmm0 | vand |  | Qd Qn Qm | VAND
1110 1111 0010 nnn0 ddd0 0001 0101 mmm0 | vorr |  | Qd Qn Qm | VORR
1111 1111 0000 nnn0 ddd0 0001 0101 mmm0 | veor |  | Qd Qn Qm | VEOR
1110 1111 0001 nnn0 ddd0 0001 0101 mmm0 | vbic |  | Qd Qn Qm | VBIC
1110 1111 0011 nnn0 ddd0 0001 0101 mmm0 | vorn |  | Qd Qn Qm | VORN
1111 1110 0011 nnn1 ddd0 1111 0000 mmm1 | vpsel |  | Qd Qn Qm | VPSEL
111t 1111 00tt nnn0 ddd0 0100 0100 mmm0 | vshl | SU | Qd Qm Qn | VSHL
111t 1111 00tt nnn0 ddd0 0101 0100 mmm0 | vrshl | SU | Qd Qm Qn | VSHL round
111t 1111 00tt nnn0 ddd0 0100 0101 mmm0 | vqshl | SU | Qd Qm Qn | VSHL saturate
111t 1111 00tt nnn0 ddd0 0101 0101 mmm0 | vqrshl | SU | Qd Qm Qn | VSHL round saturate
111t 1110 00tt nnn1 ddd0 1110 0000 mmm0 | vmullb | s8 s16 s32 p8 u8 u16 u32 p16 | Qd Qn Qm | VMULL
111t 1110 00tt nnn1 ddd1 1110 0000 mmm0 | vmullt | s8 s16 s32 p8 u8 u16 u32 p16 | Qd Qn Qm | VMULL top
111t 1110 0011 nnn0 ddd0 1111 0000 mmm1 | vqdmullb | WS | Qd Qn Qm | VQDMULL
111t 1110 0011 nnn0 ddd1 1111 0000 mmm1 | vqdmullt | WS | Qd Qn Qm | VQDMULL top
1111 1110 00tt nnn0 ddd0 1111 0000 mmm0 | vcadd | I | Qd Qn Qm #90 | VCADD
1111 1110 00tt nnn0 ddd1 1111 0000 mmm0 | vcadd | I | Qd Qn Qm #270 | VCADD subtract
1110 1110 00tt nnn0 ddd0 1111 0000 mmm0 | vhcadd | S | Qd Qn Qm #90 | VCADD halve
1110 1110 00tt nnn0 ddd1 1111 0000 mmm0 | vhcadd | S | Qd Qn Qm #270 | VCADD halve subtract
1110 1110 00tt nnn0 ddd0 1110 0000 mmm0 | vqdmladh | S | Qd Qn Qm | VQDMLADH
1110 1110 00tt nnn0 ddd1 1110 0000 mmm0 | vqdmladhx | S | Qd Qn Qm | VQDMLADH exchange
1110 1110 00tt nnn0 ddd0 1110 0000 mmm1 | vqrdmladh | S | Qd Qn Qm | VQDMLADH round
1110 1110 00tt nnn0 ddd1 1110 0000 mmm1 | vqrdmladhx | S | Qd Qn Qm | VQDMLADH round exchange
1111 1110 00tt nnn0 ddd0 1110 0000 mmm0 | vqdmlsdh | S | Qd Qn Qm | VQDMLADH subtract
1111 1110 00tt nnn0 ddd1 1110 0000 mmm0 | vqdmlsdhx | S | Qd Qn Qm | VQDMLADH subtract exchange
1111 1110 00tt nnn0 ddd0 1110 0000 mmm1 | vqrdmlsdh | S | Qd Qn Qm | VQDMLADH round subtract
1111 1110 00tt nnn0 ddd1 1110 0000 mmm1 | vqrdmlsdhx | S | Qd Qn Qm | VQDMLADH round subtract exchange
1110 1110 0011 nnn0 ddd0 1111 0000 mmm0 | vadc | i32 | Qd Qn Qm | VADC
1110 1110 0011 nnn0 ddd1 1111 0000 mmm0 | vadci | i32 | Qd Qn Qm | VADC start
1111 1110 0011 nnn0 ddd0 1111 0000 mmm0 | vsbc | i32 | Qd Qn Qm | VADC subtract
1111 1110 0011 nnn0 ddd1 1111 0000 mmm0 | vsbci | i32 | Qd Qn Qm | VADC subtract start
1110 1110 00tt nnn1 ddd0 1111 0100 MMMM | vadd | I | Qd Qn Rm | VADD
1110 1110 00tt nnn1 ddd1 1111 0100 MMMM | vsub | I | Qd Qn Rm | VSUB
1110 1110 00tt nnn1 ddd1 1110 0110 MMMM | vmul | I | Qd Qn Rm | VMUL
111t 1110 00tt nnn0 ddd0 1111 0110 MMMM | vqadd | SU | Qd Qn Rm | VQADD
111t 1110 00tt nnn0 ddd1 1111 0110 MMMM | vqsub | SU | Qd Qn Rm | VQSUB
111t 1110 00tt nnn0 ddd0 1111 0100 MMMM | vhadd | SU | Qd Qn Rm | VHADD
111t 1110 00tt nnn0 ddd1 1111 0100 MMMM | vhsub | SU | Qd Qn Rm | VHSUB
1110 1110 00tt nnn1 ddd0 1110 0110 MMMM | vqdmulh | S | Qd Qn Rm | VQDMULH
1111 1110 00tt nnn1 ddd0 1110 0110 MMMM | vqrdmulh | S | Qd Qn Rm | VQDMULH round
111t 1110 00tt nnn1 ddd0 1110 0100 MMMM | vmla | SU | Qd Qn Rm | VMLA
111t 1110 00tt nnn1 ddd1 1110 0100 MMMM | vmlas | SU | Qd Qn Rm | VMLAS
1110 1110 00tt nnn0 ddd0 1110 0110 MMMM | vqdmlah | S | Qd Qn Rm | VQDMLAH
1110 1110 00tt nnn0 ddd0 1110 0100 MMMM | vqrdmlah | S | Qd Qn Rm | VQDMLAH round
1110 1110 00tt nnn0 ddd1 1110 0110 MMMM | vqdmlash | S | Qd Qn Rm | VQDMLASH
1110 1110 00tt nnn0 ddd1 1110 0100 MMMM | vqrdmlash | S | Qd Qn Rm | VQDMLASH round
1111 1110 00tt nnn1 ddd1 1110 0110 MMMM | vbrsr | N | Qd Qn Rm | VBRSR
111t 1110 0011 nnn0 ddd0 1111 0110 MMMM | vqdmullb | WS | Qd Qn Rm | VQDMULL
111t 1110 0011 nnn0 ddd1 1111 0110 MMMM | vqdmullt | WS | Qd Qn Rm | VQDMULL top
111t 1110 0011 tt01 ddd1 1110 0110 MMMM | vshl | SU | Qd Rm | VSHL
111t 1110 0011 tt11 ddd1 1110 0110 MMMM | vrshl | SU | Qd Rm | VSHL round
111t 1110 0011 tt01 ddd1 1110 1110 MMMM | vqshl | SU | Qd Rm | VSHL saturate
111t 1110 0011 tt11 ddd1 1110 1110 MMMM | vqrshl | SU | Qd Rm | VSHL round saturate
1111 1111 1011 0000 ddd0 0101 1100 mmm0 | vmvn |  | Qd Qm | VMVN
1111 1111 1011 tt01 ddd0 0011 0100 mmm0 | vabs | S | Qd Qm | VABS
1111 1111 1011 tt01 ddd0 0011 1100 mmm0 | vneg | S | Qd Qm | VNEG
1111 1111 1011 tt00 ddd0 0111 0100 mmm0 | vqabs | S | Qd Qm | VQABS
1111 1111 1011 tt00 ddd0 0111 1100 mmm0 | vqneg | S | Qd Qm | VQNEG
1111 1111 1011 tt00 ddd0 0100 0100 mmm0 | vcls | S | Qd Qm | VCLS
1111 1111 1011 tt00 ddd0 0100 1100 mmm0 | vclz | I | Qd Qm | VCLZ
1111 1111 1011 0000 ddd0 0001 0100 mmm0 | vrev16 | 8 | Qd Qm | VREV group=2
1111 1111 1011 0t00 ddd0 0000 1100 mmm0 | vrev32 | 8 16 | Qd Qm | VREV group=4
1111 1111 1011 tt00 ddd0 0000 0100 mmm0 | vrev64 | N | Qd Qm | VREV group=8
1110 1110 0011 tt11 ddd0 1110 1000 mmm1 | vmaxa | S | Qd Qm | VMAXA
1110 1110 0011 tt11 ddd1 1110 1000 mmm1 | vmina | S | Qd Qm | VMINA
111t 1110 101t t000 ddd0 1111 0100 mmm0 | vmovlb | - s8 s16 - - u8 u16 - | Qd Qm | VMOVL
111t 1110 101t t000 ddd1 1111 0100 mmm0 | vmovlt | - s8 s16 - - u8 u16 - | Qd Qm | VMOVL top
1111 1110 0011 0t01 ddd0 1110 1000 mmm1 | vmovnb | WI | Qd Qm | VSHRN
1111 1110 0011 0t01 ddd1 1110 1000 mmm1 | vmovnt | WI | Qd Qm | VSHRN top
111t 1110 0011 0t11 ddd0 1110 0000 mmm1 | vqmovnb | WSU | Qd Qm | VSHRN saturate
111t 1110 0011 0t11 ddd1 1110 0000 mmm1 | vqmovnt | WSU | Qd Qm | VSHRN saturate top
1110 1110 0011 0t01 ddd0 1110 1000 mmm1 | vqmovunb | WS | Qd Qm | VSHRN saturate unsigned
1110 1110 0011 0t01 ddd1 1110 1000 mmm1 | vqmovunt | WS | Qd Qm | VSHRN saturate unsigned top
1110 1111 1000 1iii ddd0 0101 0101 mmm0 | vshl | i8 | Qd Qm i | VSHLI
111t 1111 1000 1iii ddd0 0111 0101 mmm0 | vqshl | B | Qd Qm i | VSHLI saturate
1111 1111 1000 1iii ddd0 0110 0101 mmm0 | vqshlu | s8 | Qd Qm i | VSHLI saturate unsigned
111t 1111 1000 1iii ddd0 0000 0101 mmm0 | vshr | B | Qd Qm i | VSHLI right
111t 1111 1000 1iii ddd0 0010 0101 mmm0 | vrshr | B | Qd Qm i | VSHLI right round
1111 1111 1000 1iii ddd0 0101 0101 mmm0 | vsli | 8 | Qd Qm i | VSLI
1111 1111 1000 1iii ddd0 0100 0101 mmm0 | vsri | 8 | Qd Qm i | VSRI right
111t 1110 1010 1iii ddd0 1111 0100 mmm0 | vshllb | B | Qd Qm i | VMOVL
111t 1110 1010 1iii ddd1 1111 0100 mmm0 | vshllt | B | Qd Qm i | VMOVL top
111t 1110 0011 0001 ddd0 1110 0000 mmm1 | vshllb | B | Qd Qm #8 | VMOVL
111t 1110 0011 0001 ddd1 1110 0000 mmm1 | vshllt | B | Qd Qm #8 | VMOVL top
1110 1111 1001 iiii ddd0 0101 0101 mmm0 | vshl | i16 | Qd Qm i | VSHLI
111t 1111 1001 iiii ddd0 0111 0101 mmm0 | vqshl | H | Qd Qm i | VSHLI saturate
1111 1111 1001 iiii ddd0 0110 0101 mmm0 | vqshlu | s16 | Qd Qm i | VSHLI saturate unsigned
111t 1111 1001 iiii ddd0 0000 0101 mmm0 | vshr | H | Qd Qm i | VSHLI right
111t 1111 1001 iiii ddd0 0010 0101 mmm0 | vrshr | H | Qd Qm i | VSHLI right round
1111 1111 1001 iiii ddd0 0101 0101 mmm0 | vsli | 16 | Qd Qm i | VSLI
1111 1111 1001 iiii ddd0 0100 0101 mmm0 | vsri | 16 | Qd Qm i | VSRI right
111t 1110 1011 iiii ddd0 1111 0100 mmm0 | vshllb | H | Qd Qm i | VMOVL
111t 1110 1011 iiii ddd1 1111 0100 mmm0 | vshllt | H | Qd Qm i | VMOVL top
111t 1110 0011 0101 ddd0 1110 0000 mmm1 | vshllb | H | Qd Qm #16 | VMOVL
111t 1110 0011 0101 ddd1 1110 0000 mmm1 | vshllt | H | Qd Qm #16 | VMOVL top
1110 1110 1000 1iii ddd0 1111 1100 mmm1 | vshrnb | i16 | Qd Qm i | VSHRN right
1110 1110 1000 1iii ddd1 1111 1100 mmm1 | vshrnt | i16 | Qd Qm i | VSHRN right top
1111 1110 1000 1iii ddd0 1111 1100 mmm1 | vrshrnb | i16 | Qd Qm i | VSHRN right round
1111 1110 1000 1iii ddd1 1111 1100 mmm1 | vrshrnt | i16 | Qd Qm i | VSHRN right round top
111t 1110 1000 1iii ddd0 1111 0100 mmm0 | vqshrnb | H | Qd Qm i | VSHRN right saturate
111t 1110 1000 1iii ddd1 1111 0100 mmm0 | vqshrnt | H | Qd Qm i | VSHRN right saturate top
111t 1110 1000 1iii ddd0 1111 0100 mmm1 | vqrshrnb | H | Qd Qm i | VSHRN right round saturate
111t 1110 1000 1iii ddd1 1111 0100 mmm1 | vqrshrnt | H | Qd Qm i | VSHRN right round saturate top
1110 1110 1000 1iii ddd0 1111 1100 mmm0 | vqshrunb | s16 | Qd Qm i | VSHRN right saturate unsigned
1110 1110 1000 1iii ddd1 1111 1100 mmm0 | vqshrunt | s16 | Qd Qm i | VSHRN right saturate unsigned top
1111 1110 1000 1iii ddd0 1111 1100 mmm0 | vqrshrunb | s16 | Qd Qm i | VSHRN right round saturate unsigned
1111 1110 1000 1iii ddd1 1111 1100 mmm0 | vqrshrunt | s16 | Qd Qm i | VSHRN right round saturate unsigned top
1110 1111 101i iiii ddd0 0101 0101 mmm0 | vshl | i32 | Qd Qm i | VSHLI
111t 1111 101i iiii ddd0 0111 0101 mmm0 | vqshl | W | Qd Qm i | VSHLI saturate
1111 1111 101i iiii ddd0 0110 0101 mmm0 | vqshlu | s32 | Qd Qm i | VSHLI saturate unsigned
111t 1111 101i iiii ddd0 0000 0101 mmm0 | vshr | W | Qd Qm i | VSHLI right
111t 1111 101i iiii ddd0 0010 0101 mmm0 | vrshr | W | Qd Qm i | VSHLI right round
1111 1111 101i iiii ddd0 0101 0101 mmm0 | vsli | 32 | Qd Qm i | VSLI
1111 1111 101i iiii ddd0 0100 0101 mmm0 | vsri | 32 | Qd Qm i | VSRI right
1110 1110 1001 iiii ddd0 1111 1100 mmm1 | vshrnb | i32 | Qd Qm i | VSHRN right
1110 1110 1001 iiii ddd1 1111 1100 mmm1 | vshrnt | i32 | Qd Qm i | VSHRN right top
1111 1110 1001 iiii ddd0 1111 1100 mmm1 | vrshrnb | i32 | Qd Qm i | VSHRN right round
1111 1110 1001 iiii ddd1 1111 1100 mmm1 | vrshrnt | i32 | Qd Qm i | VSHRN right round top
111t 1110 1001 iiii ddd0 1111 0100 mmm0 | vqshrnb | W | Qd Qm i | VSHRN right saturate
111t 1110 1001 iiii ddd1 1111 0100 mmm0 | vqshrnt | W | Qd Qm i | VSHRN right saturate top
111t 1110 1001 iiii ddd0 1111 0100 mmm1 | vqrshrnb | W | Qd Qm i | VSHRN right round saturate
111t 1110 1001 iiii ddd1 1111 0100 mmm1 | vqrshrnt | W | Qd Qm i | VSHRN right round saturate top
1110 1110 1001 iiii ddd0 1111 1100 mmm0 | vqshrunb | s32 | Qd Qm i | VSHRN right saturate unsigned
1110 1110 1001 iiii ddd1 1111 1100 mmm0 | vqshrunt | s32 | Qd Qm i | VSHRN right saturate unsigned top
1111 1110 1001 iiii ddd0 1111 1100 mmm0 | vqrshrunb | s32 | Qd Qm i | VSHRN right round saturate unsigned
1111 1110 1001 iiii ddd1 1111 1100 mmm0 | vqrshrunt | s32 | Qd Qm i | VSHRN right round saturate unsigned top
111t 1110 1111 nnnt EEE0 111t 0000 mmm0 | vmladav | MAC | Re Qn Qm | VMLADAV
111t 1110 1111 nnnt EEE0 111t 0010 mmm0 | vmladava | MAC | Re Qn Qm | VMLADAV accumulate
1110 1110 1111 nnnt EEE1 111t 0000 mmm0 | vmladavx | MAC | Re Qn Qm | VMLADAV exchange
1110 1110 1111 nnnt EEE1 111t 0010 mmm0 | vmladavax | MAC | Re Qn Qm | VMLADAV accumulate exchange
111t 1110 1111 nnnt EEE0 1110 0000 mmm1 | vmlsdav | s16 s32 s8 - | Re Qn Qm | VMLADAV subtract
111t 1110 1111 nnnt EEE0 1110 0010 mmm1 | vmlsdava | s16 s32 s8 - | Re Qn Qm | VMLADAV accumulate subtract
111t 1110 1111 nnnt EEE1 1110 0000 mmm1 | vmlsdavx | s16 s32 s8 - | Re Qn Qm | VMLADAV exchange subtract
111t 1110 1111 nnnt EEE1 1110 0010 mmm1 | vmlsdavax | s16 s32 s8 - | Re Qn Qm | VMLADAV accumulate exchange subtract
111t 1110 1OOO nnnt EEE0 1110 0000 mmm0 | vmlaldav | WSU | Re Ro Qn Qm | VMLALDAV
111t 1110 1OOO nnnt EEE0 1110 0010 mmm0 | vmlaldava | WSU | Re Ro Qn Qm | VMLALDAV accumulate
1110 1110 1OOO nnnt EEE1 1110 0000 mmm0 | vmlaldavx | WS | Re Ro Qn Qm | VMLALDAV exchange
1110 1110 1OOO nnnt EEE1 1110 0010 mmm0 | vmlaldavax | WS | Re Ro Qn Qm | VMLALDAV accumulate exchange
1110 1110 1OOO nnnt EEE0 1110 0000 mmm1 | vmlsldav | WS | Re Ro Qn Qm | VMLALDAV subtract
1110 1110 1OOO nnnt EEE0 1110 0010 mmm1 | vmlsldava | WS | Re Ro Qn Qm | VMLALDAV accumulate subtract
1110 1110 1OOO nnnt EEE1 1110 0000 mmm1 | vmlsldavx | WS | Re Ro Qn Qm | VMLALDAV exchange subtract
1110 1110 1OOO nnnt EEE1 1110 0010 mmm1 | vmlsldavax | WS | Re Ro Qn Qm | VMLALDAV accumulate exchange subtract
111t 1110 1OOO nnn0 EEE0 1111 0000 mmm0 | vrmlaldavh | W | Re Ro Qn Qm | VRMLALDAVH
111t 1110 1OOO nnn0 EEE0 1111 0010 mmm0 | vrmlaldavha | W | Re Ro Qn Qm | VRMLALDAVH accumulate
1110 1110 1OOO nnn0 EEE1 1111 0000 mmm0 | vrmlaldavhx | s32 | Re Ro Qn Qm | VRMLALDAVH exchange
1110 1110 1OOO nnn0 EEE1 1111 0010 mmm0 | vrmlaldavhax | s32 | Re Ro Qn Qm | VRMLALDAVH accumulate exchange
1111 1110 1OOO nnn0 EEE0 1110 0000 mmm1 | vrmlsldavh | s32 | Re Ro Qn Qm | VRMLALDAVH subtract
1111 1110 1OOO nnn0 EEE0 1110 0010 mmm1 | vrmlsldavha | s32 | Re Ro Qn Qm | VRMLALDAVH accumulate subtract
1111 1110 1OOO nnn0 EEE1 1110 0000 mmm1 | vrmlsldavhx | s32 | Re Ro Qn Qm | VRMLALDAVH exchange subtract
1111 1110 1OOO nnn0 EEE1 1110 0010 mmm1 | vrmlsldavhax | s32 | Re Ro Qn Qm | VRMLALDAVH accumulate exchange subtract
111t 1110 1111 tt01 EEE0 1111 0000 mmm0 | vaddv | SU | Re Qm | VADDV
111t 1110 1111 tt01 EEE0 1111 0010 mmm0 | vaddva | SU | Re Qm | VADDV accumulate
111t 1110 1OOO 1001 EEE0 1111 0000 mmm0 | vaddlv | W | Re Ro Qm | VADDLV
111t 1110 1OOO 1001 EEE0 1111 0010 mmm0 | vaddlva | W | Re Ro Qm | VADDLV accumulate
111t 1110 10tt nnn0 DDDD 1111 0000 mmm1 | vabav | SU | Rd Qn Qm | VABAV
111t 1110 1110 tt10 DDDD 1111 0000 mmm0 | vmaxv | SU | Rd Qm | VMAXV
111t 1110 1110 tt10 DDDD 1111 1000 mmm0 | vminv | SU | Rd Qm | VMINV
1110 1110 1110 tt00 DDDD 1111 0000 mmm0 | vmaxav | S | Rd Qm | VMAXAV
1110 1110 1110 tt00 DDDD 1111 1000 mmm0 | vminav | S | Rd Qm | VMINAV
1110 1110 1t10 ddd0 TTTT 1011 00t1 0000 | vdup | 32 16 8 - | Qd Rt | VDUP
1110 1110 00tt EEE1 ddd0 1111 k110 111k | vidup | U | Qd Re k | VIDUP
1110 1110 00tt EEE1 ddd1 1111 k110 111k | vddup | U | Qd Re k | VIDUP subtract
1110 1110 00tt EEE1 ddd0 1111 k110 OOOk | viwdup | U | Qd Re Ro k | VIDUP
1110 1110 00tt EEE1 ddd1 1111 k110 OOOk | vdwdup | U | Qd Re Ro k | VIDUP subtract
1110 1110 101i iiii ddd0 1111 1100 MMMM | vshlc |  | Qd Rm i | VSHLC
1111 1110 0011 0001 0000 1111 0100 1101 | vpnot |  |  | VPNOT
1111 1110 0p11 0001 ppp0 1111 0100 1101 | vpst |  |  | VPST
1111 1110 0ptt nnn1 ppp0 1111 0000 mmm0 | vcmp | I | eq Qn Qm | VCMP
1111 1110 0ptt nnn1 ppp0 1111 1000 mmm0 | vcmp | I | ne Qn Qm | VCMP
1111 1110 0ptt nnn1 ppp0 1111 0000 mmm1 | vcmp | U | cs Qn Qm | VCMP
1111 1110 0ptt nnn1 ppp0 1111 1000 mmm1 | vcmp | U | hi Qn Qm | VCMP
1111 1110 0ptt nnn1 ppp1 1111 0000 mmm0 | vcmp | S | ge Qn Qm | VCMP
1111 1110 0ptt nnn1 ppp1 1111 1000 mmm0 | vcmp | S | lt Qn Qm | VCMP
1111 1110 0ptt nnn1 ppp1 1111 0000 mmm1 | vcmp | S | gt Qn Qm | VCMP
1111 1110 0ptt nnn1 ppp1 1111 1000 mmm1 | vcmp | S | le Qn Qm | VCMP
1111 1110 0ptt nnn1 ppp0 1111 0100 ZZZZ | vcmp | I | eq Qn Rz | VCMP
1111 1110 0ptt nnn1 ppp0 1111 1100 ZZZZ | vcmp | I | ne Qn Rz | VCMP
1111 1110 0ptt nnn1 ppp0 1111 0110 ZZZZ | vcmp | U | cs Qn Rz | VCMP
1111 1110 0ptt nnn1 ppp0 1111 1110 ZZZZ | vcmp | U | hi Qn Rz | VCMP
1111 1110 0ptt nnn1 ppp1 1111 0100 ZZZZ | vcmp | S | ge Qn Rz | VCMP
1111 1110 0ptt nnn1 ppp1 1111 1100 ZZZZ | vcmp | S | lt Qn Rz | VCMP
1111 1110 0ptt nnn1 ppp1 1111 0110 ZZZZ | vcmp | S | gt Qn Rz | VCMP
1111 1110 0ptt nnn1 ppp1 1111 1110 ZZZZ | vcmp | S | le Qn Rz | VCMP
1111 0000 00tt NNNN 1110 1000 0000 0001 | vctp | 8 16 32 64 | Rn | VCTP
"""
"""Vector instructions on registers."""

SCALAR = """
1110 1010 0101 NNNN 1000 DDDD cccc ZZZZ | csel |  | Rd Rn Rz c | CSEL then=0
1110 1010 0101 NNNN 1001 DDDD cccc ZZZZ | csinc |  | Rd Rn Rz c | CSEL then=1
1110 1010 0101 NNNN 1010 DDDD cccc ZZZZ | csinv |  | Rd Rn Rz c | CSEL then=2
1110 1010 0101 NNNN 1011 DDDD cccc ZZZZ | csneg |  | Rd Rn Rz c | CSEL then=3
1110 1010 0101 EEE0 0iii OOO1 ii00 1111 | lsll |  | Re Ro i | SHIFT64
1110 1010 0101 EEE0 0iii OOO1 ii01 1111 | lsrl |  | Re Ro i | SHIFT64 right
1110 1010 0101 EEE0 0iii OOO1 ii10 1111 | asrl |  | Re Ro i | SHIFT64 signed right
1110 1010 0101 EEE1 0iii OOO1 ii00 1111 | uqshll |  | Re Ro i | SHIFT64 saturate=64
1110 1010 0101 EEE1 0iii OOO1 ii11 1111 | sqshll |  | Re Ro i | SHIFT64 signed saturate=64
1110 1010 0101 EEE1 0iii OOO1 ii01 1111 | urshrl |  | Re Ro i | SHIFT64 right round
1110 1010 0101 EEE1 0iii OOO1 ii10 1111 | srshrl |  | Re Ro i | SHIFT64 signed right round
1110 1010 0101 EEE0 MMMM OOO1 0000 1101 | lsll |  | Re Ro Rm | SHIFT64
1110 1010 0101 EEE0 MMMM OOO1 0010 1101 | asrl |  | Re Ro Rm | SHIFT64 signed right
1110 1010 0101 EEE1 MMMM OOO1 1000 1101 | uqrshll |  | Re Ro #48 Rm | SHIFT64 round saturate=48
1110 1010 0101 EEE1 MMMM OOO1 1010 1101 | sqrshrl |  | Re Ro #48 Rm | SHIFT64 signed right round saturate=48
1110 1010 0101 EEE1 MMMM OOO1 0000 1101 | uqrshll |  | Re Ro #64 Rm | SHIFT64 round saturate=64
1110 1010 0101 EEE1 MMMM OOO1 0010 1101 | sqrshrl |  | Re Ro #64 Rm | SHIFT64 signed right round saturate=64
1110 1010 0101 DDDD 0iii 1111 ii00 1111 | uqshl |  | Rd i | SHIFT32 saturate=32
1110 1010 0101 DDDD 0iii 1111 ii11 1111 | sqshl |  | Rd i | SHIFT32 signed saturate=32
1110 1010 0101 DDDD 0iii 1111 ii01 1111 | urshr |  | Rd i | SHIFT32 right round
1110 1010 0101 DDDD 0iii 1111 ii10 1111 | srshr |  | Rd i | SHIFT32 signed right round
1110 1010 0101 DDDD MMMM 1111 0000 1101 | uqrshl |  | Rd Rm | SHIFT32 round saturate=32
1110 1010 0101 DDDD MMMM 1111 0010 1101 | sqrshr |  | Rd Rm | SHIFT32 signed right round saturate=32
"""
"""Conditional select, and shifts of one and of two registers."""

OTHER = """
1110 110P a0wL NNNN ddd1 111t tiii iiii | vldr | 8 16 32 - |  | contiguous
111U 110P a0wL 0nnn ddd0 1110 1iii iiii | vldrb | 16 |  | contiguous
111U 110P a0wL 0nnn ddd0 1111 0iii iiii | vldrb | 32 |  | contiguous
111U 110P a0wL 1nnn ddd0 1111 0iii iiii | vldrh | 32 |  | contiguous
111U 1100 100L NNNN ddd0 111t t000 mmm0 | vldrb | 8 16 32 - |  | gather
111U 1100 100L NNNN ddd0 111t t001 mmmx | vldrh | - 16 32 - |  | gather
111U 1100 100L NNNN ddd0 1111 0100 mmmx | vldrw | 32 |  | gather
111U 1100 100L NNNN ddd0 1111 1101 mmmx | vldrd | 64 |  | gather
1111 1101 a0wL mmm0 ddd1 1110 0iii iiii | vldrw | 32 |  | gather_vector
1111 1101 a0wL mmm0 ddd1 1111 0iii iiii | vldrd | 64 |  | gather_vector
1111 1100 10wL NNNN ddd1 111t t0i0 0000 | vld2 | 8 16 32 - |  | interleaved
1111 1100 10wL NNNN ddd1 111t tii0 0001 | vld4 | 8 16 32 - |  | interleaved
111j 1111 1000 0iii ddd0 cccc 01o1 iiii | vmov |  | | immediate
1110 1110 01xL nnnh TTTT 1011 0xx1 0000 | vmov | 8 |  | lane
1110 1110 11x1 nnnh TTTT 1011 0xx1 0000 | vmov | u8 |  | lane
1110 1110 00xL nnnh TTTT 1011 0x11 0000 | vmov | 16 |  | lane
1110 1110 10x1 nnnh TTTT 1011 0x11 0000 | vmov | u16 |  | lane
1110 1110 00xL nnnh TTTT 1011 0001 0000 | vmov | 32 |  | lane
1110 1100 000L NNNN ddd0 1111 000x TTTT | vmov |  | | lane_pair
1110 1110 000L ssss TTTT 1010 s001 0000 | vmov |  | | single
1110 1100 010L NNNN TTTT 1010 00x1 ssss | vmov |  | | single_pair
1110 1100 010L NNNN TTTT 1011 0001 ssss | vmov |  | | double
1110 1110 1x11 0000 ssss 1010 01z0 mmmm | vmov | f32 |  | copy
1110 1110 1011 0000 ssss 1011 0100 mmmm | vmov | f64 |  | copy
1110 1110 111L cccc TTTT 1010 0001 0000 | vmrs |  | | system
1110 110P ahwL NNNN ccc0 1111 1iii iiii | vldr |  | | system_memory
1110 1101 ax0L NNNN ssss 101z iiii iiii | vldr |  | | fp_memory
1110 110P axwL NNNN ssss 101z iiii iiii | vldm |  | | fp_multiple
1110 1000 1001 1111 iiii iiii iiii iiii | clrm |  | | clear
1111 0000 0000 1111 1100 lhhh hhhh hhh1 | le |  | | loop
1111 0000 0001 1111 1100 lhhh hhhh hhh1 | letp |  | | loop
1111 0000 0010 1111 1100 lhhh hhhh hhh1 | le |  | | loop
1111 0000 0100 NNNN 1100 lhhh hhhh hhh1 | wls |  | | loop
1111 0000 00tt NNNN 1100 lhhh hhhh hhh1 | wlstp | 8 16 32 64 |  | loop
1111 0000 0000 1111 1110 0000 0000 0001 | lctp |  | | LCTP
1111 0000 0100 NNNN 1110 0000 0000 0001 | dls |  | lr Rn | DLS
1111 0000 00tt NNNN 1110 0000 0000 0001 | dlstp | 8 16 32 64 | lr Rn | DLS tail
"""
"""Loads, stores, moves, immediates, loops."""

FLOAT = """
1110 1111 000- ---0 ---0 1101 0100 ---0 | vadd
1110 1111 001- ---0 ---0 1101 0100 ---0 | vsub
1111 1111 000- ---0 ---0 1101 0101 ---0 | vmul
1111 1111 001- ---0 ---0 1101 0100 ---0 | vabd
1111 1111 1011 --01 ---0 0111 0100 ---0 | vabs
1111 1111 1011 --01 ---0 0111 1100 ---0 | vneg
111- 1110 0011 ---0 ---0 1111 0100 ---- | vadd
111- 1110 0011 ---0 ---1 1111 0100 ---- | vsub
111- 1110 0011 ---1 ---0 1110 0110 ---- | vmul
111- 1110 0011 ---1 ---0 1110 0100 ---- | vfma
111- 1110 0011 ---1 ---1 1110 0100 ---- | vfmas
1110 1111 000- ---0 ---0 1100 0101 ---0 | vfma
1110 1111 001- ---0 ---0 1100 0101 ---0 | vfms
111- 1110 0-11 ---1 ---- 1111 ---- ---- | vcmp
1111 1111 000- ---0 ---0 1111 0101 ---0 | vmaxnm
1111 1111 001- ---0 ---0 1111 0101 ---0 | vminnm
111- 1110 0011 1111 ---0 1110 1000 ---1 | vmaxnma
111- 1110 0011 1111 ---1 1110 1000 ---1 | vminnma
111- 1110 1110 11-0 ---- 1111 0000 ---0 | vmaxnmv
111- 1110 1110 11-0 ---- 1111 1000 ---0 | vminnmv
111- 1110 0011 ---0 ---- 1110 0000 ---- | vcmul
1111 110- --1- ---0 ---0 1000 0100 ---0 | vcmla
1111 110- 100- ---0 ---0 1000 0100 ---0 | vcadd
1111 1111 1011 --10 ---0 01-- -100 ---0 | vrint
1111 1111 1011 --11 ---0 0--- -100 ---0 | vcvt
111- 1111 1-1- ---- ---0 11-- 0101 ---0 | vcvt
111- 1110 0011 1111 ---- 1110 0000 ---1 | vcvt
"""
"""Floating-point Helium, which is refused by name; ``-`` is any bit."""
