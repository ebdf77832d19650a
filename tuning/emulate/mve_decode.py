# SPDX-License-Identifier: Apache-2.0
"""Decodes the Armv8.1-M instructions that the interpreter runs, by bit pattern, from the rows of `mve_forms`.

No released disassembler with wheels for every platform reads Helium: Capstone 5 prints it as coprocessor instructions.
So the decoder is our own; tests hold it against an assembler.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import lru_cache

from . import mve_forms
from .mve_operation import CONDITIONS, SIZES, ZERO, Decoded, Form, Operation, Refused, general
from .mve_transfers import READERS

# Written in part, or by itself: also read.
_ACCUMULATES = frozenset({"VMLA", "VMLAS", "VQDMLAH", "VQDMLASH", "VSLI", "VSRI", "VSHRN", "VQDMLADH"})
_GENERAL_ACCUMULATES = frozenset(
    {"VABAV", "VMAXV", "VMINV", "VMAXAV", "VMINAV", "VIDUP", "VSHLC", "SHIFT32", "SHIFT64"}
)
# UNPREDICTABLE where a result is also an operand, for elements of that many bits and more.
_APART = {"VMULL": 64, "VQDMULL": 64, "VCADD": 32, "VQDMLADH": 32, "VREV64": 8}


def _form(row: str) -> Form:
    bits, mnemonic, types, operands, op = ([part.strip() for part in row.split("|")] + [""] * 4)[:5]
    bits = bits.replace(" ", "")
    assert len(bits) == 32, row
    fields: dict[str, tuple[int, ...]] = {}
    for at, letter in enumerate(bits):
        if letter not in "01-":
            fields[letter] = (*fields.get(letter, ()), 31 - at)
    mask = sum(1 << 31 - at for at, letter in enumerate(bits) if letter in "01")
    value = sum(1 << 31 - at for at, letter in enumerate(bits) if letter == "1")
    name, *flags = op.split() or [""]
    listed = mve_forms.TYPES.get(types, types).split() or [""]
    return Form(mask, value, fields, mnemonic, tuple(listed), tuple(operands.split()), name, tuple(flags))


FORMS = [_form(row) for row in (mve_forms.VECTOR + mve_forms.SCALAR + mve_forms.OTHER).split("\n") if row]
_AUTHENTICATION = {"pacg": 0xFB60F000, "autg": 0xFB500F00, "bxaut": 0xFB500F10}
_FLOAT = [_form(row) for row in mve_forms.FLOAT.split("\n") if row]


def is_ours(first: int, second: int) -> bool:
    """Whether an instruction of these halfwords is the interpreter's: coprocessor space, which has floating point and
    Helium; loops; conditional select and shifts of two registers; CLRM; pointer authentication by general registers. On
    a core of Armv8.0-M they trap, or are something else: SMMLS, SMMUL, MOVS, ORRS.
    """
    return (
        first & 0xEC00 == 0xEC00
        or (first & 0xF800 == 0xF000 and second & 0xD000 == 0xC000)
        or (first & 0xFFF0 == 0xEA50 and (second & 0x8000 != 0 or second & 0xD == 0xD))
        or first == 0xE89F
        or (first & 0xFFF0 == 0xFB60 and second & 0xF0F0 == 0xF000)
        or (first & 0xFFF0 == 0xFB50 and second & 0x0FE0 == 0x0F00)
    )


def decode(first: int, second: int, address: int) -> Decoded:
    """Decode two halfwords that `is_ours`; what is not known has a `reason` and no operation."""
    found = _decode(first << 16 | second)
    if found.target is None:
        return found
    target = (address + 4 + found.target) & 0xFFFF_FFFF
    return replace(found, target=target, text=f"{found.text}{target:#x}")


@lru_cache(maxsize=1 << 16)
def _decode(code: int) -> Decoded:
    for form in FORMS:
        if form.matches(code):
            try:
                fields = form.values(code)
                type_ = form.types[fields.get("t", 0)]
                if type_ == "-":
                    continue
                reader = READERS.get(form.op, _by_operands)
                return reader(form, type_, fields)
            except Refused:
                continue
    for form in _FLOAT:
        if form.matches(code):
            return Decoded(form.mnemonic, form.mnemonic, reason="floating point of Helium, which is not emulated")
    if code >> 20 in (0xFB5, 0xFB6):
        mask = 0xFFF0_F0F0 if code >> 20 == 0xFB6 else 0xFFF0_0FF0
        root = next(name for name, value in _AUTHENTICATION.items() if code & mask == value)
        return Decoded(root, root, reason="pointer authentication, which is not emulated")
    name = f"{code >> 16:04x} {code & 0xFFFF:04x}"
    reason = (
        "floating point, which is not emulated"
        if code >> 24 in (0xEE, 0xFE, 0xEC, 0xED)
        and code & 0xE00
        in (
            0x800,
            0xA00,
        )
        else "no instruction that is known"
    )
    return Decoded("", name, reason=reason)


# -- operands from a list ---------------------------------------------------------------------------------------------


@dataclass
class _Operands:
    """Operands as they are read: text, registers, fields of the operation."""

    text: list[str] = field(default_factory=list)
    reads: list[str] = field(default_factory=list)
    writes: list[str] = field(default_factory=list)


def _by_operands(form: Form, type_: str, fields: dict[str, int]) -> Decoded:
    """A row whose operands are listed."""
    flags = {name: True for name in form.flags if "=" not in name}
    numbers = {name: int(value) for name, _, value in (flag.partition("=") for flag in form.flags) if value}
    bits = int("".join(c for c in type_ if c.isdigit()) or 32)
    signed = type_.startswith("s") or "signed" in flags
    known: dict[str, int | bool] = {"size": SIZES[bits], "signed": signed}
    known |= {name: True for name in flags if name in Operation._fields}
    known |= {"saturate": 1} if "saturate" in flags else {}
    known |= {name: value for name, value in numbers.items() if name in Operation._fields}
    known |= {"top": True} if "halve" in flags or "start" in flags else {}
    known |= {"amount": numbers["group"]} if "group" in numbers else {}
    known |= {"amount": numbers["then"]} if "then" in numbers else {}
    op, mnemonic = form.op, form.mnemonic
    found = _Operands()
    suffix = type_
    for token in form.operands:
        _operand(token, form, fields, known, found)
    match op:
        case "VMULL" | "VQDMULL" | "VMOVL":
            known["size"] = int(known["size"]) + 1
            op = "VMULLP" if type_.startswith("p") else op
        case "VSHRN":
            known["size"] = int(known["size"]) - 1
        case "VCMP":
            block = fields["p"]
            known["condition"] = CONDITIONS.index(form.operands[0])
            if block:
                op, known["immediate"] = "VPT", block
                mnemonic = "vpt" + block_suffix(block)
            found.writes.append("vpr")
        case "VPST":
            known["immediate"] = fields["p"]
            mnemonic += block_suffix(fields["p"])
            found.reads.append("vpr")
            found.writes.append("vpr")
        case "VPNOT":
            found.reads.append("vpr")
            found.writes.append("vpr")
        case "VCTP":
            found.writes.append("vpr")
        case "VPSEL":
            found.reads.append("vpr")
        case "DLS":
            found.writes.append("lr")
        case "CSEL":
            found.reads.append("cpsr")
        case "VSHL" if "rm" in known:
            found.reads.append(f"q{known['qd']}")
        case "VSHLC":
            found.reads.append(f"q{known['qd']}")
    if "saturate" in flags:
        # 1: to the type's signedness, 2: to unsigned
        known["saturate"] = 2 if "unsigned" in flags or not signed else 1
    if "right" in flags:
        known["immediate"] = -int(known.get("immediate", 0))
        known["subtract"] = op in ("SHIFT32", "SHIFT64")
    if op == "VIDUP" and known.get("subtract"):
        known["immediate"] = -int(known["immediate"])
    if op in _ACCUMULATES:
        found.reads.append(f"q{known['qd']}")
    if op in _GENERAL_ACCUMULATES or known.get("accumulate"):
        found.reads += [name for name in found.writes if name[0] in "rl"]
    _check_apart(op, mnemonic, known)
    name = f"{mnemonic}.{suffix}" if suffix else mnemonic
    return Decoded(
        mnemonic,
        f"{name} {', '.join(found.text)}".rstrip(),
        Operation(op, **known),  # type: ignore[arg-type]
        tuple(dict.fromkeys(found.reads)),
        tuple(dict.fromkeys(found.writes)),
        type=type_,
    )


def _operand(token: str, form: Form, fields: dict[str, int], known: dict[str, int | bool], found: _Operands) -> None:
    op = form.op
    match token:
        case "Qd" | "Qn" | "Qm":
            number = fields[token[1]]
            known[token.lower()] = number
            found.text.append(f"q{number}")
            (found.writes if token == "Qd" else found.reads).append(f"q{number}")
        case "Rd" | "Re" | "Ro":
            number = fields[token[1].upper()] << (token != "Rd") | (token == "Ro")
            name = general(number)
            found.text.append(name)
            wraps = op == "VIDUP" and token == "Ro"  # where it wraps, which is read
            known["rn" if token == "Ro" and not wraps else "rm" if wraps else "rd"] = number
            (found.reads if wraps else found.writes).append(name)
        case "Rn" | "Rm" | "Rt" | "Rz":
            letter = token[1].upper()
            number = fields[letter]
            zero = letter == "Z" or op == "CSEL"
            name = general(number, zero=zero)
            known["rn" if letter == "N" else "rm"] = number
            if op == "VSHLC":
                known["rd"] = number
                found.writes.append(name)
            if number != ZERO:
                found.reads.append(name)
            found.text.append(name)
        case "i":
            raw, width = fields["i"], len(form.fields["i"])
            if op in ("SHIFT32", "SHIFT64", "VSHLC"):
                value = raw or 32
            elif "right" in form.flags:
                value = (1 << width) - raw
            else:
                value = raw
                if op == "VMOVL" and not value:
                    raise Refused  # VMOVL is a row of its own
            known["immediate"] = value
            found.text.append(f"#{value}")
        case "k":
            known["immediate"] = 1 << fields["k"]
            found.text.append(f"#{1 << fields['k']}")
        case "c":
            if fields["c"] > 13:
                raise Refused
            known["condition"] = fields["c"]
            found.text.append(CONDITIONS[fields["c"]])
        case "lr":
            found.text.append("lr")
        case _:
            if token.startswith("#") and op == "VMOVL":
                known["immediate"] = int(token[1:])
            found.text.append(token)


def _check_apart(op: str, mnemonic: str, known: dict[str, int | bool]) -> None:
    """Refuse what the architecture calls UNPREDICTABLE."""
    bits = 8 << int(known["size"])
    rows = [limit for name, limit in _APART.items() if op == name or mnemonic == name.lower()]
    if rows and bits >= rows[0]:
        sources = {known.get("qm"), None if op == "VCADD" else known.get("qn")}
        if known["qd"] in sources:
            raise Refused
    if op in ("SHIFT64",) and known.get("rm") in (known["rd"], known["rn"]):
        raise Refused
    if op == "SHIFT32" and known.get("rm") == known["rd"]:
        raise Refused


def block_suffix(mask: int) -> str:
    """The letters after the first of a VPT block's mask.

    Examples
    --------
    >>> [block_suffix(mask) for mask in (0b1000, 0b0100, 0b1100, 0b0001)]
    ['', 't', 'e', 'ttt']
    """
    length = 4 - (mask & -mask).bit_length()
    letters, current = "", "t"
    for at in range(length):
        if mask >> 3 - at & 1:
            current = "e" if current == "t" else "t"
        letters += current
    return letters
