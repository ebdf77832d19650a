# SPDX-License-Identifier: Apache-2.0
"""Thumb instructions as the pipeline models see them: a class, the words moved, the registers read and written.

The class follows from Capstone's mnemonic by the tables below, first match wins. The mnemonic keeps its condition
(``ldrne``), so a conditional form takes the class of its prefix. Two classes are therefore those of the published
rules rather than of the hardware: a conditional LDRD is one load, a conditional BIC, BFI or BFC a branch that is never
taken. SMLSLD and SMMLS, which the rules do not list, are ALU operations, as is a conditional divide.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from cmsisnn_x.isa import Isa

from ..target.cores import Core
from .errors import EmulationError, missing_extra

CLASSES = ("alu", "mul", "ld", "st", "ldm", "stm", "div", "br", "it")

_EXACT = {
    "ldrd": "ldm", "strd": "stm", "vpop": "ldm", "vpush": "stm",
    "sdiv": "div", "udiv": "div",
    "tbb": "br", "tbh": "br",
    "bic": "alu", "bics": "alu", "bfi": "alu", "bfc": "alu", "bkpt": "alu",
}  # fmt: skip
_PREFIXES = (
    ("ldm", "ldm"), ("pop", "ldm"), ("vldm", "ldm"),
    ("stm", "stm"), ("push", "stm"), ("vstm", "stm"),
    ("ldr", "ld"), ("vldr", "ld"),
    ("str", "st"), ("vstr", "st"),
    ("cb", "br"), ("b", "br"),
    ("it", "it"),
    ("mul", "mul"), ("mla", "mul"), ("mls", "mul"), ("smla", "mul"), ("smlsd", "mul"), ("smul", "mul"),
    ("smuad", "mul"), ("smusd", "mul"), ("smmul", "mul"), ("smmla", "mul"), ("umull", "mul"), ("umlal", "mul"),
    ("umaal", "mul"),
)  # fmt: skip
# Every operand is a register that moves; the other lists start with the base register.
_LISTS_ONLY = ("pop", "vpop", "push", "vpush")
_ACCUMULATES = ("mla", "mls", "smla")
_ACCUMULATES_LONG = ("smlal",)
# What Capstone 5 leaves out of its lists of reads: all but the destination of these, both halves of the sum of those.
_READS_ALL_BUT_FIRST = ("ssat", "usat", "pkh", "sxtab", "uxtab")
_READS_FIRST_TWO = ("smlal", "umlal", "umaal", "smlsld")
_EXTENSIONS = (
    "sxtb16", "uxtb16", "pkh", "ubfx", "sbfx", "rev", "sxt", "uxt", "bfi", "bfc", "ssat", "usat", "sel", "qadd", "qsub",
    "uadd8", "usub8", "ssub8", "sadd8",
)  # fmt: skip

_CONDITIONS = ("eq", "ne", "hs", "cs", "lo", "cc", "mi", "pl", "vs", "vc", "hi", "ls", "ge", "lt", "gt", "le", "al")

# Every root (no width, no condition, no S) of Armv6-M, Armv7E-M, Armv8-M mainline and FPv5 that has a price.
_MNEMONICS = """
    adc add addw adr and asr b bfc bfi bic bkpt bl blx blxns bx bxns cbnz cbz clrex clz cmn cmp cps cpsid cpsie csdb dbg
    dmb dsb eor isb lda ldab ldaex ldaexb ldaexh ldah ldm ldmdb ldmia ldr ldrb ldrbt ldrd ldrex ldrexb ldrexh ldrh ldrht
    ldrsb ldrsbt ldrsh ldrsht ldrt lsl lsr mla mls mov movt movw mrs msr mul mvn neg nop orn orr pkhbt pkhtb pld pli pop
    pssbb push qadd qadd16 qadd8 qasx qdadd qdsub qsax qsub qsub16 qsub8 rbit rev rev16 revsh ror rrx rsb sadd16 sadd8
    sasx sbc sbfx sdiv sel sev sg shadd16 shadd8 shasx shsax shsub16 shsub8 smlabb smlabt smlad smladx smlal smlalbb
    smlalbt smlald smlaldx smlaltb smlaltt smlatb smlatt smlawb smlawt smlsd smlsdx smlsld smlsldx smmla smmlar smmls
    smmlsr smmul smmulr smuad smuadx smulbb smulbt smull smultb smultt smulwb smulwt smusd smusdx ssat ssat16 ssax ssbb
    ssub16 ssub8 stl stlb stlex stlexb stlexh stlh stm stmdb stmia str strb strbt strd strex strexb strexh strh strht
    strt sub subw sxtab sxtab16 sxtah sxtb sxtb16 sxth tbb tbh teq tst tt tta ttat ttt uadd16 uadd8 uasx ubfx udiv
    uhadd16 uhadd8 uhasx uhsax uhsub16 uhsub8 umaal umlal umull uqadd16 uqadd8 uqasx uqsax uqsub16 uqsub8 usad8 usada8
    usat usat16 usax usub16 usub8 uxtab uxtab16 uxtah uxtb uxtb16 uxth wfe wfi yield
    vabs vadd vcmp vcmpe vcvt vcvta vcvtb vcvtm vcvtn vcvtp vcvtr vcvtt vdiv vfma vfms vfnma vfnms vldm vldmdb vldmia
    vldr vmaxnm vminnm vmla vmls vmov vmrs vmsr vmul vneg vnmla vnmls vnmul vpop vpush vrinta vrintm vrintn vrintp
    vrintr vrintx vrintz vsel vseleq vselge vselgt vselvs vsqrt vstm vstmdb vstmia vstr vsub
"""
_KNOWN = frozenset(_MNEMONICS.split())

# What Unicorn runs on cores that do not have it: the DSP extension without it, all but a few of Thumb-2 on an M0+.
_DSP_MNEMONICS = """
    pkhbt pkhtb qadd qadd16 qadd8 qasx qdadd qdsub qsax qsub qsub16 qsub8 sadd16 sadd8 sasx sel shadd16 shadd8 shasx
    shsax shsub16 shsub8 smlabb smlabt smlad smladx smlalbb smlalbt smlald smlaldx smlaltb smlaltt smlatb smlatt smlawb
    smlawt smlsd smlsdx smlsld smlsldx smmla smmlar smmls smmlsr smmul smmulr smuad smuadx smulbb smulbt smultb smultt
    smulwb smulwt smusd smusdx ssat16 ssax ssub16 ssub8 sxtab sxtab16 sxtah sxtb16 uadd16 uadd8 uasx uhadd16 uhadd8
    uhasx uhsax uhsub16 uhsub8 umaal uqadd16 uqadd8 uqasx uqsax uqsub16 uqsub8 usad8 usada8 usat16 usax usub16 usub8
    uxtab uxtab16 uxtah uxtb16
"""
_DSP = frozenset(_DSP_MNEMONICS.split())
_WIDE_WITHOUT_THUMB2 = frozenset({"bl", "dmb", "dsb", "isb", "mrs", "msr"})


@dataclass(frozen=True)
class Instruction:
    """One decoded instruction.

    `words` is the number of registers that a load or store multiple moves. `reads` and `writes` are Capstone's
    register numbers, flags left out. `accumulator` is what a multiply-accumulate adds to, when it is not a factor too.
    `address_registers` are base and index of a load or store, `writeback` whether it changes its base, and `size` the
    bytes of the instruction.
    """

    address: int
    text: str
    mnemonic: str
    kind: str
    words: int
    reads: tuple[int, ...]
    writes: tuple[int, ...]
    accumulator: int | None
    is_extension: bool
    address_registers: tuple[int, ...] = ()
    register_offset: bool = False
    writeback: bool = False
    size: int = 2

    @property
    def ends_block(self) -> bool:
        """Whether the next instruction may be another than the following one."""
        return self.kind == "br" or (self.kind == "ldm" and "pc" in self.text.partition(" ")[2])


@lru_cache(maxsize=1024)
def is_known(mnemonic: str) -> bool:
    """Whether some core that is modelled has this instruction; conditions and the S suffix are allowed."""
    root = mnemonic
    if root.startswith("it") and set(root[2:]) <= {"t", "e"}:
        return True
    for candidate in (root, root[:-2] if root[-2:] in _CONDITIONS else root):
        if candidate in _KNOWN or (candidate.endswith("s") and candidate[:-1] in _KNOWN):
            return True
    return False


@lru_cache(maxsize=1024)
def is_missing(mnemonic: str, size: int, core: Core) -> bool:
    """Whether a known instruction of `size` bytes is none of `core`."""
    if not core.thumb2:
        return mnemonic.startswith(("cb", "it")) if size == 2 else mnemonic not in _WIDE_WITHOUT_THUMB2
    if mnemonic.startswith("v"):
        return not core.fpu
    roots = {mnemonic, mnemonic[:-2] if mnemonic[-2:] in _CONDITIONS else mnemonic}
    return core.features.isa < Isa.DSP and bool(roots & _DSP)


@lru_cache(maxsize=1024)
def classify(mnemonic: str) -> str:
    """Class of a mnemonic without its width suffix (``ldr`` for ``ldr.w``)."""
    kind = _EXACT.get(mnemonic)
    if kind is not None:
        return kind
    return next((kind for prefix, kind in _PREFIXES if mnemonic.startswith(prefix)), "alu")


@lru_cache(maxsize=1)
def _disassemblers() -> tuple[Any, ...]:
    try:
        import capstone
    except ImportError:
        raise missing_extra("capstone is not installed") from None
    plain = capstone.Cs(capstone.CS_ARCH_ARM, capstone.CS_MODE_THUMB | capstone.CS_MODE_MCLASS)
    v8 = capstone.Cs(capstone.CS_ARCH_ARM, capstone.CS_MODE_THUMB | capstone.CS_MODE_MCLASS | capstone.CS_MODE_V8)
    plain.detail = v8.detail = True
    return plain, v8


def decode(code: bytes, address: int) -> tuple[Instruction, ...]:
    """Decode one basic block.

    Raises
    ------
    EmulationError
        Bytes that are no instruction, or an instruction that has no price; `address` of the error names the place.
    """
    decoded: list[Instruction] = []
    at = 0
    plain, v8 = _disassemblers()
    while at < len(code):
        start = at
        for disassembler in (plain, v8):
            for item in disassembler.disasm(code[at:], address + at):
                decoded.append(_convert(item))
                at += item.size
        if at == start:
            got = code[at : at + 4].hex(" ", 2)
            raise EmulationError(
                f"no price for the bytes {got} at {address + at:#x}: no instruction that is known", address=address + at
            )
    return tuple(decoded)


def _convert(item: Any) -> Instruction:
    from capstone.arm import ARM_OP_MEM, ARM_OP_REG, ARM_REG_CPSR

    mnemonic = item.mnemonic.partition(".")[0]
    text = f"{item.mnemonic} {item.op_str}".rstrip()
    if not is_known(mnemonic):
        raise EmulationError(f"no price for the instruction '{text}' at {item.address:#x}", address=item.address)
    kind = classify(mnemonic)
    words = 1
    if mnemonic in ("ldrd", "strd"):
        words = 2
    elif kind in ("ldm", "stm"):
        words = max(1, len(item.operands) - (mnemonic not in _LISTS_ONLY))
    reads, writes = item.regs_access()
    registers = [operand.reg for operand in item.operands if operand.type == ARM_OP_REG]
    if mnemonic.startswith(_READS_ALL_BUT_FIRST):
        reads = [*reads, *registers[1:]]
    elif mnemonic.startswith(_READS_FIRST_TWO):
        reads = [*reads, *registers[:2]]
    accumulator = None
    if len(item.operands) >= 4 and mnemonic.startswith(_ACCUMULATES) and not mnemonic.startswith(_ACCUMULATES_LONG):
        register = item.operands[3].reg
        if all(factor.type != ARM_OP_REG or factor.reg != register for factor in item.operands[1:3]):
            accumulator = register
    base, index = next(((o.mem.base, o.mem.index) for o in item.operands if o.type == ARM_OP_MEM), (0, 0))
    if kind in ("ldm", "stm") and mnemonic not in (*_LISTS_ONLY, "ldrd", "strd"):
        base = item.operands[0].reg
    return Instruction(
        address=item.address,
        text=text,
        mnemonic=mnemonic,
        kind=kind,
        words=words,
        reads=tuple(sorted(set(reads) - {ARM_REG_CPSR})),
        writes=tuple(sorted(set(writes) - {ARM_REG_CPSR})),
        accumulator=accumulator,
        is_extension=mnemonic.startswith(_EXTENSIONS),
        address_registers=tuple(register for register in (base, index) if register),
        register_offset=index != 0,
        writeback=bool(item.writeback) and base != 0,
        size=item.size,
    )
