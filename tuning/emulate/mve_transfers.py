# SPDX-License-Identifier: Apache-2.0
"""Readers of encodings whose operands are more than a list of registers: loads, stores, moves, immediates, loops."""

from __future__ import annotations

import struct
from collections.abc import Callable

from .mve_operation import GENERAL, NONE, SIZES, Decoded, Form, Operation, Refused, general

P0, VPR = 13, 12
SYSTEM = {1: "fpscr", 2: "fpscr_nzcvqc", VPR: "vpr", P0: "p0"}


_TRANSFER = {"b": 0, "h": 1, "w": 2, "d": 3}


def _base(number: int, *, writeback: bool = False) -> str:
    if number == 15 or (number == 13 and writeback):
        raise Refused
    return GENERAL[number]


def _address(base: str, offset: int, fields: dict[str, int]) -> str:
    """``[r0]``, ``[r0, #4]``, ``[r0, #4]!``, ``[r0], #4``."""
    if not fields.get("P", 1):
        return f"[{base}], #{offset}"
    inner = f"[{base}, #{offset}]" if offset or fields.get("w") else f"[{base}]"
    return inner + ("!" if fields.get("w") else "")


def _contiguous(form: Form, type_: str, fields: dict[str, int]) -> Decoded:
    """VLDRB, VLDRH, VLDRW and their stores; of halves and quarters of a vector too."""
    widens = form.mnemonic != "vldr"
    bits = int(type_)
    memory = _TRANSFER[form.mnemonic[-1]] if widens else SIZES[bits]
    load, unsigned, writeback = bool(fields["L"]), bool(fields.get("U", 0)), bool(fields["w"])
    if not (fields["P"] or writeback) or (not load and unsigned):
        raise Refused
    number = fields.get("N", fields.get("n", 0))
    base = _base(number, writeback=writeback and "N" in fields)
    offset = (fields["i"] << memory) * (1 if fields["a"] else -1)
    root = ("vldr" if load else "vstr") + "bhw"[memory]
    kind = f"{'u' if unsigned or not widens else 's'}{bits}" if load else str(bits)
    operation = Operation(
        "VLDR",
        size=SIZES[bits],
        signed=not unsigned,
        qd=fields["d"],
        rn=number,
        memory=memory,
        store=not load,
        writeback=writeback,
        post=not fields["P"],
        immediate=offset,
    )
    return _transfer(root, kind, f"q{fields['d']}", _address(base, offset, fields), operation)


def _transfer(root: str, kind: str, vector: str, address: str, operation: Operation) -> Decoded:
    """A load or store of a vector; what it reads and writes follows from the operation."""
    reads: list[str] = [] if operation.rn == NONE else [GENERAL[operation.rn]]
    writes: list[str] = []
    (writes if not operation.store else reads).append(vector)
    if operation.op == "VGATHER":
        reads.append(f"q{operation.qm}")
        if operation.writeback:
            writes.append(f"q{operation.qm}")
    elif operation.writeback:
        writes.append(GENERAL[operation.rn])
    name = f"{root}.{kind}" if kind else root
    return Decoded(root, f"{name} {vector}, {address}", operation, tuple(reads), tuple(writes), type=kind)


def _gather(form: Form, type_: str, fields: dict[str, int]) -> Decoded:
    """A base and a vector of offsets."""
    memory, bits, load = _TRANSFER[form.mnemonic[-1]], int(type_), bool(fields["L"])
    unsigned = bool(fields.get("U", 1))
    same = SIZES[bits] == memory
    # Loads that do not widen are unsigned, stores are neither.
    if (load and same and not unsigned) or (not load and unsigned) or (load and fields["d"] == fields["m"]):
        raise Refused
    base = _base(fields["N"])
    scale = memory if fields.get("x") else 0
    operation = Operation(
        "VGATHER",
        size=SIZES[bits],
        signed=not unsigned,
        qd=fields["d"],
        qm=fields["m"],
        rn=fields["N"],
        memory=memory,
        lane=scale,
        store=not load,
    )
    root = ("vldr" if load else "vstr") + form.mnemonic[-1]
    kind = f"{'u' if unsigned else 's'}{bits}" if load else str(bits)
    address = f"[{base}, q{fields['m']}{f', uxtw #{scale}' if scale else ''}]"
    return _transfer(root, kind, f"q{fields['d']}", address, operation)


def _gather_vector(form: Form, type_: str, fields: dict[str, int]) -> Decoded:
    """A vector of addresses, which may be written back."""
    memory, load = _TRANSFER[form.mnemonic[-1]], bool(fields["L"])
    if load and fields["d"] == fields["m"]:
        raise Refused
    offset = (fields["i"] << memory) * (1 if fields["a"] else -1)
    operation = Operation(
        "VGATHER",
        size=memory,
        qd=fields["d"],
        qm=fields["m"],
        memory=memory,
        store=not load,
        writeback=bool(fields["w"]),
        immediate=offset,
    )
    root = ("vldr" if load else "vstr") + form.mnemonic[-1]
    return _transfer(
        root, f"u{type_}" if load else type_, f"q{fields['d']}", _address(f"q{fields['m']}", offset, fields), operation
    )


def _interleaved(form: Form, type_: str, fields: dict[str, int]) -> Decoded:
    """VLD20 ... VST43: a part of two or four interleaved vectors."""
    count, load, first = int(form.mnemonic[-1]), bool(fields["L"]), fields["d"]
    if first + count > 8:
        raise Refused
    base = _base(fields["N"], writeback=bool(fields["w"]))
    vectors = tuple(f"q{first + at}" for at in range(count))
    operation = Operation(
        "VLDN",
        size=SIZES[int(type_)],
        qd=first,
        rn=fields["N"],
        lane=fields["i"],
        amount=count,
        store=not load,
        writeback=bool(fields["w"]),
    )
    root = f"{'vld' if load else 'vst'}{count}{fields['i']}"
    # What the other parts of the block brought stays.
    reads = (base, *vectors)
    writes = (*(vectors if load else ()), *((base,) if fields["w"] else ()))
    text = f"{root}.{type_} {{{', '.join(vectors)}}}, [{base}]{'!' if fields['w'] else ''}"
    return Decoded(root, text, operation, reads, writes, type=type_)


def _expand(cmode: int, op: int, value: int) -> tuple[str, str, int]:
    """A modified immediate: mnemonic, type, and the value in each 64 bits (AdvSIMDExpandImm)."""
    if cmode < 12:
        bits, shift = (32, cmode >> 1 << 3) if cmode < 8 else (16, (cmode >> 1 & 1) << 3)
        mnemonic = ("vbic" if op else "vorr") if cmode & 1 else ("vmvn" if op else "vmov")
        value <<= shift
    elif cmode < 14:
        bits, mnemonic = 32, "vmvn" if op else "vmov"
        value = value << 8 | 0xFF if cmode == 12 else value << 16 | 0xFFFF
    elif cmode == 14 and op:
        return "vmov", "i64", sum(0xFF << 8 * at for at in range(8) if value >> at & 1)
    elif cmode == 14:
        bits, mnemonic = 8, "vmov"
    elif not op:
        exponent = 0x1F if value & 0x40 else 0x20
        word = (value >> 7) << 31 | exponent << 25 | (value & 0x3F) << 19
        return "vmov", "f32", word << 32 | word
    else:
        raise Refused
    if mnemonic == "vmvn":
        value ^= (1 << bits) - 1
    return mnemonic, f"i{bits}", sum(value << at for at in range(0, 64, bits))


def _immediate(form: Form, type_: str, fields: dict[str, int]) -> Decoded:
    mnemonic, kind, value = _expand(fields["c"], fields["o"], fields["j"] << 7 | fields["i"])
    op = {"vorr": "VORRI", "vbic": "VBICI"}.get(mnemonic, "VMOVI")
    bits = int(kind[1:])
    shown = value & ((1 << bits) - 1)
    if mnemonic == "vmvn":
        shown ^= (1 << bits) - 1
    vector = f"q{fields['d']}"
    signed = value - (1 << 64) if value >> 63 else value
    operation = Operation(op, size=3, qd=fields["d"], immediate=signed)
    reads = (vector,) if op != "VMOVI" else ()
    number = str(struct.unpack("<f", struct.pack("<I", shown))[0]) if kind == "f32" else f"{shown:#x}"
    return Decoded(mnemonic, f"{mnemonic}.{kind} {vector}, #{number}", operation, reads, (vector,), type=kind)


def _lane(form: Form, type_: str, fields: dict[str, int]) -> Decoded:
    bits = int(type_.lstrip("u"))
    width = {8: 3, 16: 2, 32: 1}[bits]
    lane, number = fields["h"] << width | fields["x"], fields["n"]
    load, name = fields.get("L", 1), general(fields["T"])
    unsigned = type_.startswith("u") or bits == 32
    operation = Operation(
        "VMOVLANE", size=SIZES[bits], signed=not unsigned, qn=number, rd=fields["T"], lane=lane, store=not load
    )
    vector = f"q{number}[{lane}]"
    if not load:
        return Decoded(
            "vmov", f"vmov.{bits} {vector}, {name}", operation, (name, f"q{number}"), (f"q{number}",), type=type_
        )
    kind = str(bits) if bits == 32 else f"{'u' if unsigned else 's'}{bits}"
    return Decoded("vmov", f"vmov.{kind} {name}, {vector}", operation, (f"q{number}",), (name,), type=kind)


def _words(registers: list[int], words: list[int], load: int, text: str) -> Decoded:
    """Words of vector registers (those of S registers), to or from one or two general registers."""
    names = [general(number) for number in registers]
    if max(words) > 31 or (load and len(set(registers)) < len(registers)):
        raise Refused
    operation = Operation(
        "VMOVWORD",
        rd=registers[0],
        rn=registers[1] if len(registers) > 1 else NONE,
        lane=words[0],
        amount=words[-1],
        store=not load,
    )
    singles = tuple(f"s{word}" for word in words)
    reads, writes = (singles, tuple(names)) if load else (tuple(names), singles)
    return Decoded("vmov", text, operation, reads, writes)


def _lane_pair(form: Form, type_: str, fields: dict[str, int]) -> Decoded:
    vector, at = fields["d"], fields["x"]
    pair = [4 * vector + at, 4 * vector + at + 2]  # the first register's lane is written last
    lanes = f"q{vector}[{at + 2}], q{vector}[{at}]"
    names = f"{GENERAL[fields['T']]}, {GENERAL[fields['N']]}"
    text = f"vmov {names}, {lanes}" if not fields["L"] else f"vmov {lanes}, {names}"
    return _words([fields["T"], fields["N"]], pair, not fields["L"], text)


def _single(form: Form, type_: str, fields: dict[str, int]) -> Decoded:
    name = GENERAL[fields["T"]]
    text = f"vmov {name}, s{fields['s']}" if fields["L"] else f"vmov s{fields['s']}, {name}"
    return _words([fields["T"]], [fields["s"]], fields["L"], text)


def _single_pair(form: Form, type_: str, fields: dict[str, int]) -> Decoded:
    first = fields["s"] << 1 | fields["x"]
    names, singles = f"{GENERAL[fields['T']]}, {GENERAL[fields['N']]}", f"s{first}, s{first + 1}"
    text = f"vmov {names}, {singles}" if fields["L"] else f"vmov {singles}, {names}"
    return _words([fields["T"], fields["N"]], [first, first + 1], fields["L"], text)


def _double(form: Form, type_: str, fields: dict[str, int]) -> Decoded:
    first = fields["s"] * 2
    names, double = f"{GENERAL[fields['T']]}, {GENERAL[fields['N']]}", f"d{fields['s']}"
    text = f"vmov {names}, {double}" if fields["L"] else f"vmov {double}, {names}"
    return _words([fields["T"], fields["N"]], [first, first + 1], fields["L"], text)


def _copy(form: Form, type_: str, fields: dict[str, int]) -> Decoded:
    """VMOV between S or D registers, which changes no bit of what may be no number."""
    if type_ == "f32":
        to, source, count = fields["s"] << 1 | fields["x"], fields["m"] << 1 | fields["z"], 1
        names = f"s{to}, s{source}"
    else:
        to, source, count = 2 * fields["s"], 2 * fields["m"], 2
        names = f"d{fields['s']}, d{fields['m']}"
    reads = tuple(f"s{source + at}" for at in range(count))
    writes = tuple(f"s{to + at}" for at in range(count))
    operation = Operation("VMOVCOPY", lane=to, memory=source, amount=count)
    return Decoded("vmov", f"vmov.{type_} {names}", operation, reads, writes, type=type_)


def _system(form: Form, type_: str, fields: dict[str, int]) -> Decoded:
    number, load, name = fields["c"], fields["L"], general(fields["T"])
    if number not in SYSTEM:
        raise Refused
    register = SYSTEM[number]
    if register == "fpscr":
        text = f"vmrs {name}, fpscr" if load else f"vmsr fpscr, {name}"
        return Decoded("vmrs" if load else "vmsr", text, reason="the control of floating point, which is not emulated")
    operation = Operation("VMRS", rd=fields["T"], lane=number, store=not load)
    unit = register if register == "fpscr_nzcvqc" else "vpr"
    if load:
        return Decoded("vmrs", f"vmrs {name}, {register}", operation, (unit,), (name,))
    return Decoded("vmsr", f"vmsr {register}, {name}", operation, (name,), (unit,))


def _system_memory(form: Form, type_: str, fields: dict[str, int]) -> Decoded:
    number, load = fields["h"] << 3 | fields["c"], fields["L"]
    if number not in (P0, VPR) or not (fields["P"] or fields["w"]):
        raise Refused
    base = _base(fields["N"], writeback=bool(fields["w"]))
    offset = 4 * fields["i"] * (1 if fields["a"] else -1)
    operation = Operation(
        "VLDRP",
        rn=fields["N"],
        lane=number,
        store=not load,
        writeback=bool(fields["w"]),
        post=not fields["P"],
        immediate=offset,
    )
    mnemonic = "vldr" if load else "vstr"
    text = f"{mnemonic} {SYSTEM[number]}, {_address(base, offset, fields)}"
    reads, writes = ((base,), ("vpr",)) if load else ((base, "vpr"), ())
    return Decoded(mnemonic, text, operation, reads, (*writes, *((base,) if fields["w"] else ())))


def _singles(fields: dict[str, int]) -> tuple[int, int]:
    """First word of the register of a load or store, and its words."""
    if fields["z"] and fields["x"]:
        raise Refused  # D16 and up
    return (2 * fields["s"], 2) if fields["z"] else (fields["s"] << 1 | fields["x"], 1)


def _fp_memory(form: Form, type_: str, fields: dict[str, int]) -> Decoded:
    """VLDR, VSTR of one S or D register; at the program counter too, which is then the word of the instruction + 4."""
    first, count = _singles(fields)
    load, offset = fields["L"], 4 * fields["i"] * (1 if fields["a"] else -1)
    if fields["N"] == 15 and not load:
        raise Refused
    operation = Operation("VLDM", rn=fields["N"], lane=first, amount=count, store=not load, immediate=offset)
    mnemonic, register = "vldr" if load else "vstr", f"d{first // 2}" if count == 2 else f"s{first}"
    words = tuple(f"s{first + at}" for at in range(count))
    base = GENERAL[fields["N"]]
    reads, writes = ((base,), words) if load else ((base, *words), ())
    return Decoded(mnemonic, f"{mnemonic} {register}, {_address(base, offset, {})}", operation, reads, writes)


def _fp_multiple(form: Form, type_: str, fields: dict[str, int]) -> Decoded:
    first, each = _singles(fields)
    count, load, before, writeback = fields["i"], fields["L"], fields["P"], bool(fields["w"])
    if fields["P"] == fields["a"] or (before and not writeback) or not count or first + count > 32 or count % each:
        raise Refused
    base = GENERAL[fields["N"]]
    if fields["N"] == 15:
        raise Refused
    operation = Operation(
        "VLDM",
        rn=fields["N"],
        lane=first,
        amount=count,
        store=not load,
        writeback=writeback,
        immediate=-4 * count if before else 0,
    )
    names = [f"d{(first + at) // 2}" if each == 2 else f"s{first + at}" for at in range(0, count, each)]
    listed = "{" + ", ".join(names) + "}"
    mnemonic = f"v{'ld' if load else 'st'}m{'db' if before else 'ia'}"
    text = f"{mnemonic} {base}{'!' if writeback else ''}, {listed}"
    if base == "sp" and writeback and load != before:
        mnemonic = "vpop" if load else "vpush"
        text = f"{mnemonic} {listed}"
    words = tuple(f"s{first + at}" for at in range(count))
    reads, writes = ((base,), words) if load else ((base, *words), ())
    return Decoded(mnemonic, text, operation, reads, (*writes, *((base,) if writeback else ())))


def _clear(form: Form, type_: str, fields: dict[str, int]) -> Decoded:
    chosen = fields["i"]
    if not chosen or chosen & 0x2000:
        raise Refused
    names = [GENERAL[at] if at < 15 else "apsr" for at in range(16) if chosen >> at & 1]
    writes = tuple("cpsr" if name == "apsr" else name for name in names)
    return Decoded("clrm", f"clrm {{{', '.join(names)}}}", Operation("CLRM", immediate=chosen), (), writes)


def _loop(form: Form, type_: str, fields: dict[str, int]) -> Decoded:
    """LE, LETP, WLS, WLSTP. The text lacks the target, which the address adds."""
    distance = fields["h"] << 2 | fields["l"] << 1
    tail = form.mnemonic in ("letp", "wlstp")
    if form.mnemonic.startswith("wls"):
        number = fields["N"]
        name = general(number)
        operation = Operation("WLS", size=SIZES[int(type_ or 32)], rn=number, tail=tail)
        suffix = f".{type_}" if type_ else ""
        text = f"{form.mnemonic}{suffix} lr, {name}, "
        return Decoded(form.mnemonic, text, operation, (name,), ("lr",), distance, type_)
    counted = not form.fields.get("N") and not form.value & 0x0020_0000
    operation = Operation("LE", tail=tail, accumulate=counted)
    text = f"{form.mnemonic} {'lr, ' if counted else ''}"
    return Decoded(form.mnemonic, text, operation, ("lr",) if counted else (), (), -distance)


READERS: dict[str, Callable[[Form, str, dict[str, int]], Decoded]] = {
    "contiguous": _contiguous,
    "gather": _gather,
    "gather_vector": _gather_vector,
    "interleaved": _interleaved,
    "immediate": _immediate,
    "lane": _lane,
    "lane_pair": _lane_pair,
    "single": _single,
    "single_pair": _single_pair,
    "double": _double,
    "copy": _copy,
    "system": _system,
    "system_memory": _system_memory,
    "fp_memory": _fp_memory,
    "fp_multiple": _fp_multiple,
    "clear": _clear,
    "loop": _loop,
}
