# SPDX-License-Identifier: Apache-2.0
"""Blocks of code of a Cortex-M55 or M85 as their cycle rules see them.

Capstone 5 reads what is not Helium, but its lists of registers lack flags and accumulators: registers are read from the
operands here. A vector that is written is also read, as predicated lanes keep what they hold; predicates are nobody's
operand, but of VPST behind VPT; comparisons of vectors read the flags. So do the programs that the rules were held
against boards with.
"""

from __future__ import annotations

import re
import struct
from functools import lru_cache
from typing import Any

from . import mve_decode
from .errors import EmulationError
from .instructions import _CONDITIONS, _disassemblers, is_known
from .mve_operation import CONDITIONS, GENERAL, Decoded
from .mve_rules import KIND_OF_OPERATION, Cost, Helium, HeliumIssue

_NOP = b"\xaf\xf3\x00\x80"
_RENAMED = {"sb": "r9", "sl": "r10", "fp": "r11", "ip": "r12", "r13": "sp", "r14": "lr", "r15": "pc"}
_REGISTER = re.compile(r"\b(r\d+|sb|sl|fp|ip|sp|lr|pc)\b")
_MULTIPLY = re.compile(r"(mul|mla|mls|[su](mul|mla)l|umaal|smul\w+|sml[as]\w+|smm(ul|la|ls)r?|smu[as]dx?)s?$")
_LOAD = re.compile(r"(ldr(s?[bh])?t?|lda[bh]?|lda?ex[bh]?|ldrex[bh]?)$")
_STORE = re.compile(r"(str[bh]?t?|stl[bh]?|stl?ex[bh]?|strex[bh]?)$")
_SHIFTED = re.compile(r"\b(lsl|lsr|asr|ror)\b")
_BRANCH = re.compile(r"(b|bl|bx|blx|bxns|blxns|cbn?z|tb[bh])$")
_LIST = re.compile(r"(ldm|stm)(ia|db|ea|fd)?$|push$|pop$")
_POPPED = re.compile(r"ldr (\w+), \[sp\], #4")
_MOVE_MNEMONICS = """
    mov movw mvn neg rsb adr rev rev16 revsh rbit clz uxtb uxth sxtb sxth uxtb16 sxtb16 mrs rrx ubfx sbfx
"""
_SYSTEM_MNEMONICS = "nop it dmb dsb isb cps cpsid cpsie sev wfe wfi yield csdb clrex bkpt svc"
# Those that have a form that sets the flags.
_FLAG_MNEMONICS = """
    adc add and asr bic eor lsl lsr mov mul mvn neg orn orr ror rrx rsb sbc sub mla umull smull umlal smlal
"""
_FLAGGED = frozenset(_FLAG_MNEMONICS.split())
_COMPARES = frozenset(["cmp", "cmn", "tst", "teq"])
# The first operand is written alone even where there are but two.
_MOVES = frozenset(_MOVE_MNEMONICS.split())
_KEEPS_PART = frozenset(["movt", "bfi", "bfc"])
_TWO_RESULTS = frozenset(["umull", "smull", "umlal", "smlal", "umaal"])
_NO_OPERANDS = frozenset(_SYSTEM_MNEMONICS.split())


def decode(code: bytes, address: int, rules: HeliumIssue) -> tuple[Helium, ...]:
    """One block, as the rules of a core see it.

    Raises
    ------
    EmulationError
        Bytes that are no instruction, or an instruction that has no price; `address` of the error names the place.
    """
    plain = bytearray(code)
    ours: dict[int, Decoded] = {}
    at = 0
    while at + 2 <= len(code):
        (first,) = struct.unpack_from("<H", code, at)
        if first >= 0xE800 and at + 4 <= len(code):
            (second,) = struct.unpack_from("<H", code, at + 2)
            if mve_decode.is_ours(first, second):
                ours[at] = mve_decode.decode(first, second, address + at)
                plain[at : at + 4] = _NOP
            at += 4
        else:
            at += 2
    found: list[Helium] = []
    at = 0
    while at < len(code):
        start = at
        # An IT block makes conditional what follows it in the same call alone.
        for item in _disassemblers()[1].disasm(bytes(plain[at:]), address + at):
            found.append(_ours(ours[at], item.address, rules) if at in ours else _scalar(item, rules.units == 1))
            at += item.size
        if at == start:
            got = code[at : at + 4].hex(" ", 2)
            raise EmulationError(
                f"no price for the bytes {got} at {address + at:#x}: no instruction that is known", address=address + at
            )
    return tuple(found)


def _ours(decoded: Decoded, address: int, rules: HeliumIssue) -> Helium:
    operation = decoded.operation
    if operation is None:
        raise EmulationError(
            f"no price for the instruction '{decoded.text}' at {address:#x}: {decoded.reason}", address=address
        )
    kind = _kind(decoded)
    root = decoded.mnemonic
    reads, writes = _registers(decoded)
    common: dict[str, Any] = {
        "address": address,
        "text": decoded.text,
        "mnemonic": root,
        "words": 1,
        "reads": (),
        "writes": (),
        "accumulator": None,
        "is_extension": False,
        "size": 4,
        "root": root,
        "target": decoded.target,
        "needs": reads,
    }
    if kind == "alu":
        # An M55's CSEL after 1 by [L55]; the rules say 2.
        after = 1 if operation.op == "CLRM" else 2
        return Helium(**common, kind="alu", unit="alu", results=tuple((name, after, 0) for name in writes))
    if kind == "loop":
        pipes = None if operation.op == "LE" else ()
        is_branch = operation.op in ("LE", "WLS")
        return Helium(
            **common,
            kind="loop",
            pipes=pipes,
            unit="alu",
            jumps=is_branch,
            results=tuple((name, 1, 0) for name in writes),
        )
    cost = _cost(decoded, rules.cost(kind), kind, rules.units == 1)
    results = []
    for name in writes:
        general = name[0] not in "qsd" or name == "sp"
        is_base = general and kind in ("vld", "vst", "vldfp", "vstfp")
        after = 1 if is_base else cost.general if general else cost.after
        results.append((name, after, cost.accumulated if general and name in GENERAL else 0))
    return Helium(
        **common,
        kind=kind,
        pipes=tuple(cost.pipe.split("|")) if cost.pipe else (),
        unit=cost.pipe,
        held=cost.held,
        is_vector=True,
        results=tuple(results),
        accumulators=frozenset(name for name, _, accumulated in results if accumulated),
    )


def _kind(decoded: Decoded) -> str:
    operation = decoded.operation
    assert operation is not None
    match operation.op:
        case "VLDR" | "VGATHER" | "VLDN":
            return "vst" if operation.store else "vld"
        case "VLDM" | "VLDRP":
            return "vstfp" if operation.store else "vldfp"
        case "VSHL" | "VSHLI":
            return "vint2" if operation.round or operation.saturate else "vint"
        case "VORR" if operation.qn == operation.qm:
            return "vmov"
        case "VMOVI" if decoded.mnemonic == "vmvn":
            return "vbit"
        case "VMOVWORD" if "[" in decoded.text:
            return "vmov"
    return KIND_OF_OPERATION[operation.op]


def _cost(decoded: Decoded, cost: Cost, kind: str, one_unit: bool) -> Cost:
    """What an instruction needs that is not as its class is."""
    operation = decoded.operation
    assert operation is not None
    if kind == "vld" and operation.op == ("VGATHER" if one_unit else "VLDN"):
        return cost._replace(after=cost.after + (1 if one_unit else 3))
    if kind == "vmaxv" and one_unit:
        return cost._replace(general=cost.general + (1 if operation.op == "VABAV" else operation.size))
    if operation.op == "VLDM" and "{" in decoded.text:
        return cost._replace(held=max(1, operation.amount // 2))
    return cost


def _registers(decoded: Decoded) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What it reads and writes as the rules see it."""
    operation = decoded.operation
    assert operation is not None
    reads, writes = [*decoded.reads], [*decoded.writes]
    match operation.op:
        case "VLDR" | "VGATHER" | "VLDN":
            pass
        case "VCMP":
            writes = []
        case "VPT":
            writes = ["vpr"]
        case "VPST":
            writes = []
        case "VCTP" | "VPNOT":
            writes = [name for name in writes if name != "vpr"]
        case "VPSEL":
            reads.remove("vpr")
        case "VLDM" | "VMOVWORD" | "VMOVCOPY":
            names = dict(zip((f"s{n}" for n in range(32)), _places(decoded), strict=True))
            reads = [names.get(name, name) for name in reads]
            writes = [names.get(name, name) for name in writes]
            if "[" in decoded.text and operation.op == "VMOVWORD" and operation.store:
                reads.append(writes[0])
        case "VMRS" | "VLDRP":
            unit = {13: "p0", 12: "vpr", 2: "fpscr_nzcvqc"}[operation.lane]
            reads = [unit if name == "vpr" else name for name in reads]
            kept = operation.op == "VLDRP" and not operation.store
            writes = [unit if name == "vpr" else name for name in writes if kept or name in GENERAL]
        case _:
            reads += [name for name in writes if name[0] == "q" and operation.op != "VPSEL"]
    if operation.op in ("VCMP", "VPT") and CONDITIONS[operation.condition] != "cs":
        reads.append("cpsr")
    return tuple(dict.fromkeys(reads)), tuple(dict.fromkeys(writes))


def _places(decoded: Decoded) -> list[str]:
    """What each S register is called in the text: itself, its D register, or its vector."""
    if "q" in decoded.text:
        return [f"q{n // 4}" for n in range(32)]
    if re.search(r"\bd\d", decoded.text):
        return [f"d{n // 2}" for n in range(32)]
    return [f"s{n}" for n in range(32)]


# -- what is not the interpreter's -------------------------------------------------------------------------------------


@lru_cache(maxsize=4096)
def _root(mnemonic: str) -> tuple[str, bool]:
    """A mnemonic without its condition, and whether it had one."""
    known = any(rule(mnemonic) for rule in (_LOAD.fullmatch, _STORE.fullmatch, _MULTIPLY.fullmatch, _BRANCH.fullmatch))
    if known or mnemonic in ("bic", "bics", "svc") or _LIST.fullmatch(mnemonic):
        return mnemonic, False
    if mnemonic[-2:] in _CONDITIONS and is_known(mnemonic[:-2]) and mnemonic[-2:] != "al":
        return mnemonic[:-2], True
    return mnemonic, False


def _scalar(item: Any, one_unit: bool) -> Helium:
    mnemonic = item.mnemonic.partition(".")[0]
    text = f"{item.mnemonic} {item.op_str}".rstrip()
    if not is_known(mnemonic) or mnemonic.startswith("v"):
        raise EmulationError(f"no price for the instruction '{text}' at {item.address:#x}", address=item.address)
    root, conditional = _root(mnemonic)
    operands = item.op_str
    if alias := _POPPED.fullmatch(f"{root} {operands}"):
        root, operands = "pop", f"{{{alias[1]}}}"  # a list of one register, which Capstone 5 does not call so
    common: dict[str, Any] = {
        "address": item.address,
        "text": text,
        "mnemonic": mnemonic,
        "accumulator": None,
        "is_extension": False,
        "size": item.size,
        # A conditional form is none of those that pair easily.
        "root": mnemonic,
    }
    reads, writes = _general_registers(root, operands, conditional)
    if root == "pop" and conditional and item.size == 4:
        reads, writes = tuple(name for name in reads if name != "sp"), tuple(name for name in writes if name != "sp")
    kind, unit, pipe, held, after, words = "alu", "alu", "", 1, 1, 1
    memory = {"ld": "memory" if one_unit else "load", "st": "memory" if one_unit else "store"}
    if root.startswith("it") and set(root[2:]) <= {"t", "e"}:
        return Helium(**common, kind="it", words=1, reads=(), writes=(), pipes=None)
    if _BRANCH.fullmatch(root):
        kind = unit = "br"
        unit = "branch"
    elif _LIST.fullmatch(root):
        words = len(_listed(operands))
        is_load = root.startswith("ld") or root == "pop"
        kind = "ldm" if is_load else "stm"
        pipe, held, after = memory[kind[:2]], words if one_unit else (words + 1) // 2, 2
    elif root in ("ldrd", "strd"):
        kind, words = ("ldm", 2) if root == "ldrd" else ("stm", 2)
        pipe, held, after = memory[kind[:2]], 2 if one_unit else 1, 2
    elif _LOAD.fullmatch(root):
        kind, pipe = "ld", memory["ld"]
        after = 2 if one_unit or root != "ldr" or conditional else 1
    elif _STORE.fullmatch(root):
        kind, pipe = "st", memory["st"]
    elif _MULTIPLY.fullmatch(root):
        kind, after = "mul", 2
        unit, pipe = ("alu", "") if one_unit else ("mac", "mac")
    elif root in ("sdiv", "udiv"):
        kind, held = "div", 8 if one_unit else 7
        after = held
    else:
        after = 2 if one_unit and _SHIFTED.search(operands) else 1
    return Helium(
        **common,
        kind=kind,
        words=words,
        reads=(),
        writes=(),
        pipes=(pipe,) if pipe else (),
        unit=pipe or unit,
        held=held,
        jumps=kind == "br" or "pc" in writes,
        results=tuple((name, after, 0) for name in writes),
        needs=reads,
    )


def _listed(operands: str) -> list[str]:
    return [_RENAMED.get(name, name) for name in _REGISTER.findall(operands.partition("{")[2])]


def _general_registers(root: str, operands: str, conditional: bool) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Registers that are read and written, the flags among them."""
    names = [_RENAMED.get(name, name) for name in _REGISTER.findall(operands)]
    reads, writes = [], []
    if conditional:
        reads.append("cpsr")
    sets = root[-1] == "s" and root[:-1] in _FLAGGED
    base = root[:-1] if sets else root
    inside = [_RENAMED.get(name, name) for name in _REGISTER.findall(operands.partition("[")[2])]
    if _BRANCH.fullmatch(root):
        if root in ("bl", "blx"):
            writes.append("lr")
            reads.append("sp")
        reads += names[:1] if root.startswith("cb") or "bx" in root or root == "blx" else names
    elif _LIST.fullmatch(root):
        listed = _listed(operands)
        stack = root in ("push", "pop")
        address = "sp" if stack else names[0]
        reads.append(address)
        if root.startswith("st") or root == "push":
            reads += listed
        else:
            writes += listed
        if stack or "!" in operands:
            writes.append(address)
    elif root in ("ldrd", "strd") or _LOAD.fullmatch(root) or _STORE.fullmatch(root):
        moved = names[: len(names) - len(inside)]
        reads += inside
        if root.startswith("ld"):
            writes += moved
        elif root.startswith(("strex", "stlex")):
            writes.append(moved[0])
            reads += moved[1:]
        else:
            reads += moved
        if "!" in operands or re.search(r"\], #", operands):
            writes.append(inside[0])
    elif base in _COMPARES:
        reads += names
        writes.append("cpsr")
    elif base in _TWO_RESULTS or base.startswith(("smlald", "smlsld", "smlalb", "smlalt")):
        writes += names[:2]
        reads += names[2:]
        if base not in ("umull", "smull"):
            reads += names[:2]
    elif base == "msr":
        reads += names
        writes.append("cpsr")
    elif base in ("pld", "pli"):
        reads += names
    elif base in _NO_OPERANDS or not names:
        pass
    else:
        writes.append(names[0])
        reads += [name for name in names[1:] if name != "pc"]
        if base in _KEEPS_PART or (base not in _MOVES and operands.count(",") == 1):
            reads.append(names[0])
        if base in ("adc", "sbc", "rrx"):
            reads.append("cpsr")
    if sets:
        writes.append("cpsr")
    return tuple(dict.fromkeys(reads)), tuple(dict.fromkeys(writes))
