# SPDX-License-Identifier: Apache-2.0
"""Flash that an object file takes: all of it, and what a linker keeps that leaves out what nobody calls."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from .errors import EmulationError, missing_extra

ALLOCATED, EXECUTED = 2, 4  # SHF_ALLOC, SHF_EXECINSTR


@dataclass(frozen=True)
class Footprint:
    """Bytes of code, constants and initial values of an object file.

    Attributes
    ----------
    object_bytes : int
        Of all its sections.
    linked_bytes : int
        Of those that a function reaches: ``--gc-sections`` keeps these.
    code_bytes : mapping of str to int
        Of code alone that other functions reach, by their names.
    """

    object_bytes: int
    linked_bytes: int
    code_bytes: Mapping[str, int] = field(default_factory=dict)


def footprint(content: bytes, symbol: str, others: Iterable[str] = ()) -> Footprint:
    """The flash of an object file that was compiled with a section for each function and array.

    Parameters
    ----------
    content : bytes
        An ELF file that is not linked yet.
    symbol : str
        The function that the firmware calls.
    others : iterable of str
        Further functions, each of which is asked about by itself.

    Raises
    ------
    EmulationError
        No such symbol.
    """
    try:
        from elftools.elf.elffile import ELFFile
        from elftools.elf.relocation import RelocationSection
        from elftools.elf.sections import SymbolTableSection
    except ImportError:
        raise missing_extra("pyelftools is not installed") from None

    elf = ELFFile(io.BytesIO(content))
    table = elf.get_section_by_name(".symtab")
    if not isinstance(table, SymbolTableSection):
        raise EmulationError("the object file has no symbols")
    sections = list(elf.iter_sections())
    sizes = {
        at: section["sh_size"]
        for at, section in enumerate(sections)
        if section["sh_flags"] & ALLOCATED and section["sh_type"] != "SHT_NOBITS"
    }
    uses: dict[int, set[int]] = {}
    for section in sections:
        if not isinstance(section, RelocationSection):
            continue
        targets = (table.get_symbol(entry["r_info_sym"])["st_shndx"] for entry in section.iter_relocations())
        uses.setdefault(section["sh_info"], set()).update(at for at in targets if isinstance(at, int))
    # Unwind tables refer to the code, not the other way round.

    def reached_from(name: str) -> set[int]:
        todo = [one["st_shndx"] for one in table.get_symbol_by_name(name) or () if one["st_shndx"] != "SHN_UNDEF"]
        if not todo:
            raise EmulationError(f"no function {name!r} in the object file")
        reached: set[int] = set()
        while todo:
            at = todo.pop()
            if at not in reached:
                reached.add(at)
                todo += uses.get(at, ())
        return reached & sizes.keys()

    linked = sum(sizes[at] for at in reached_from(symbol))
    code = {at: size for at, size in sizes.items() if sections[at]["sh_flags"] & EXECUTED}
    own = {name: sum(code.get(at, 0) for at in reached_from(name)) for name in others}
    return Footprint(sum(sizes.values()), linked, own)
