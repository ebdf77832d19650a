# SPDX-License-Identifier: Apache-2.0
"""What the emulator needs of an ELF file: bytes to load, memory to map, symbols."""

from __future__ import annotations

import io
from bisect import bisect_right
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from ..base.files import read_bytes
from .errors import EmulationError, missing_extra

EXECUTE, WRITE = 1, 2  # as PF_X and PF_W
MEMORY_LIMIT = 256 << 20


@dataclass(frozen=True)
class Segment:
    """`data` to place at `address`, `size` bytes of memory (the rest zero); `load_address` is where flash keeps it."""

    address: int
    load_address: int
    size: int
    data: bytes
    flags: int


@dataclass(frozen=True)
class Section:
    """An allocated section; `flags` as of a segment."""

    name: str
    address: int
    size: int
    flags: int


@dataclass(frozen=True)
class Symbol:
    """A name in the ELF file. `address` has no Thumb bit; `size` is 0 where the file does not say."""

    name: str
    address: int
    size: int
    kind: str


@dataclass(frozen=True)
class Image:
    """A loaded ELF file. `code` is where mapping symbols say that instructions are, ``(start, end)``, ascending."""

    name: str
    segments: tuple[Segment, ...]
    sections: tuple[Section, ...]
    symbols: dict[str, Symbol]
    functions: tuple[Symbol, ...]
    code: tuple[tuple[int, int], ...] = ()

    def name_of(self, address: int) -> str:
        """Function that holds an address, or the address in hexadecimal."""
        at = bisect_right(self.functions, address, key=lambda symbol: symbol.address) - 1
        while at >= 0:
            found = self.functions[at]
            if address < found.address + found.size or found.size == 0:
                return found.name
            at -= 1
            if at >= 0 and self.functions[at].address != found.address:
                break
        return f"{address:#x}"

    def place(self, address: int) -> str:
        """``0x8012 (main+0x6)``."""
        name = self.name_of(address)
        if name not in self.symbols:
            return f"{address:#x}"
        offset = address - self.symbols[name].address
        return f"{address:#x} ({name}{f'+{offset:#x}' if offset else ''})"


def load(source: str | Path | bytes) -> Image:
    """Read an executable ELF file for a Cortex-M.

    Raises
    ------
    EmulationError
        Not an ELF file, another architecture, not linked, or without symbols.
    """
    try:
        from elftools.elf.elffile import ELFFile
    except ImportError:
        raise missing_extra("pyelftools is not installed") from None

    name = "the ELF image" if isinstance(source, bytes) else str(source)
    try:
        content = source if isinstance(source, bytes) else read_bytes(source, MEMORY_LIMIT)
    except OSError as error:
        raise EmulationError(f"{name}: cannot be read: {error.strerror or error}") from None
    try:
        elf = ELFFile(io.BytesIO(content))
        machine = elf["e_machine"]
        if machine != "EM_ARM" or elf.elfclass != 32 or not elf.little_endian:
            order = "little" if elf.little_endian else "big"
            got = f"{str(machine).removeprefix('EM_')}, {elf.elfclass} bits, {order}-endian"
            raise EmulationError(f"{name}: expected a little-endian 32-bit Arm ELF file, got {got}")
        if elf["e_type"] != "ET_EXEC":
            raise EmulationError(f"{name}: expected a linked executable (ET_EXEC), got {elf['e_type']}: link it first")
        _check_profile(elf, name)
        segments = tuple(
            Segment(s["p_vaddr"], s["p_paddr"], s["p_memsz"], s.data(), s["p_flags"] & (EXECUTE | WRITE))
            for s in elf.iter_segments("PT_LOAD")
            if s["p_memsz"]
        )
        sections = tuple(
            Section(s.name, s["sh_addr"], s["sh_size"], _section_flags(s["sh_flags"]))
            for s in elf.iter_sections()
            if s["sh_flags"] & 2 and s["sh_size"]  # SHF_ALLOC
        )
        symbols, functions = _symbols(elf)
        code = _code(elf)
    except EmulationError:
        raise
    except Exception as error:  # damaged tables raise whatever reading them happens to raise
        raise EmulationError(f"{name}: not a valid ELF file: {error or type(error).__name__}") from None
    for segment in segments:
        for start, size in ((segment.address, segment.size), (segment.load_address, len(segment.data))):
            if start + size > 1 << 32:
                raise EmulationError(f"{name}: a segment at {start:#x} ends beyond the 32-bit address space")
        if segment.size < len(segment.data):
            raise EmulationError(f"{name}: a segment at {segment.address:#x} has more bytes in the file than in memory")
    if sum(segment.size for segment in segments) > MEMORY_LIMIT:
        raise EmulationError(f"{name}: the segments need more than {MEMORY_LIMIT >> 20} MiB of memory")
    if not segments:
        raise EmulationError(f"{name}: nothing to load: the file has no PT_LOAD segment")
    if not symbols:
        raise EmulationError(f"{name}: no symbols: link without -s and do not strip")
    return Image(name, segments, sections, symbols, functions, code)


def _section_flags(flags: int) -> int:
    return (WRITE if flags & 1 else 0) | (EXECUTE if flags & 4 else 0)


def _check_profile(elf, name: str) -> None:
    section = elf.get_section_by_name(".ARM.attributes")
    if section is None:
        return
    for subsection in section.iter_subsections():
        for part in subsection.iter_subsubsections():
            for attribute in part.iter_attributes("TAG_CPU_ARCH_PROFILE"):
                if attribute.value in (ord("A"), ord("R")):
                    raise EmulationError(
                        f"{name}: expected code for the M profile (Cortex-M), got the {chr(attribute.value)} profile"
                    )


def _symbols(elf) -> tuple[dict[str, Symbol], tuple[Symbol, ...]]:
    table = elf.get_section_by_name(".symtab")
    if table is None:
        return {}, ()
    symbols: dict[str, Symbol] = {}
    code: dict[int, Symbol] = {}
    executable = {i for i, s in enumerate(elf.iter_sections()) if s["sh_flags"] & 4}
    for entry in table.iter_symbols():
        kind = entry["st_info"]["type"].removeprefix("STT_")
        # $t, $d and $a mark code and data, they name nothing.
        if not entry.name or entry.name.startswith("$") or kind in ("FILE", "SECTION"):
            continue
        if entry["st_shndx"] == "SHN_UNDEF":
            continue
        is_code = kind == "FUNC" or (kind == "NOTYPE" and entry["st_shndx"] in executable)
        address = entry["st_value"] & ~1 if is_code else entry["st_value"]
        symbol = Symbol(entry.name, address, entry["st_size"], "code" if is_code else "data")
        # A local symbol may repeat a name; the global one is meant.
        if entry.name not in symbols or entry["st_info"]["bind"] != "STB_LOCAL":
            symbols[entry.name] = symbol
        if is_code and (symbol.address not in code or (kind == "FUNC" and not code[symbol.address].size)):
            code[symbol.address] = symbol
    # Labels inside a function that has a size do not divide it.
    functions: list[Symbol] = []
    for symbol in (code[address] for address in sorted(code)):
        last = functions[-1] if functions else None
        if symbol.size or last is None or symbol.address >= last.address + last.size:
            functions.append(symbol)
    return symbols, tuple(functions)


def _code(elf) -> tuple[tuple[int, int], ...]:
    """From each ``$t`` to the next mapping symbol or object, or to the end of its section: linkers put constants of
    sections without mapping symbols behind code.
    """
    table = elf.get_section_by_name(".symtab")
    marks: dict[int, list[tuple[int, bool]]] = {}
    for entry in table.iter_symbols() if table is not None else ():
        if entry.name.partition(".")[0] in ("$t", "$d", "$a") and isinstance(entry["st_shndx"], int):
            marks.setdefault(entry["st_shndx"], []).append((entry["st_value"] & ~1, entry.name[1] == "t"))
        elif entry["st_info"]["type"] == "STT_OBJECT" and isinstance(entry["st_shndx"], int):
            marks.setdefault(entry["st_shndx"], []).append((entry["st_value"], False))
    found = []
    for index, section in enumerate(elf.iter_sections()):
        if section["sh_flags"] & 4 and section["sh_type"] == "SHT_PROGBITS":
            end = section["sh_addr"] + section["sh_size"]
            # Of several at one address the last is meant, as of a function behind an empty table.
            places = dict(sorted(marks.get(index, ()), key=lambda mark: mark[0]))
            for start, stop in pairwise([*sorted(places), end]):
                if places[start] and start < stop:
                    found.append((start, stop))
    joined: list[tuple[int, int]] = []
    for start, stop in sorted(found):
        if joined and joined[-1][1] == start:
            joined[-1] = (joined[-1][0], stop)
        else:
            joined.append((start, stop))
    return tuple(joined)
