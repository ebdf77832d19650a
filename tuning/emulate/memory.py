# SPDX-License-Identifier: Apache-2.0
"""Where memory is while a file runs, and what in it code may touch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from .elf import EXECUTE, WRITE, Image

PAGE = 0x1000
READ = 4  # beside the ELF file's WRITE and EXECUTE
SRAM, SRAM_SIZE = 0x2000_0000, 0x0100_0000
STACK_SIZE = 0x0010_0000
BUFFERS_SIZE, GUARD = 0x0800_0000, 64
# Places for what the emulator adds, the first that the file leaves free: the page that calls return to, the stack's
# end (in SRAM, whose upper part few files fill), the buffers.
RETURN_PAGES = (0x0F00_0000, 0x1E00_0000, 0x3E00_0000)
STACKS = (0x20F0_0000, 0x3F00_0000, 0x1D00_0000, 0x2F00_0000)
BUFFERS = (0x2400_0000, 0x8000_0000, 0x9000_0000, 0x3000_0000)


class Region(NamedTuple):
    """Memory that a checked call may touch."""

    start: int
    end: int
    writable: bool
    name: str


@dataclass(frozen=True)
class Layout:
    """`mapped` is what exists from the start, ``(start, end, protection)``; `stack` is the end of the stack."""

    mapped: tuple[tuple[int, int, int], ...]
    stack: int
    buffers: int
    return_page: int


def layout(image: Image) -> Layout:
    """Whole pages for the file's segments, 16 MiB of SRAM, a stack and a page to return to.

    A page is writable when anything in it is.
    """
    pages: dict[int, int] = {}
    for segment in image.segments:
        spans = [(segment.address, segment.size, segment.flags & WRITE)]
        if segment.load_address != segment.address:
            spans.append((segment.load_address, len(segment.data), 0))
        for start, size, writable in spans:
            for page in range(start & -PAGE, start + size, PAGE):
                pages[page] = pages.get(page, READ | EXECUTE) | writable

    def free(start: int, size: int) -> bool:
        return not any(start - PAGE < page < start + size for page in pages)

    stack = next(top for top in STACKS if free(top - STACK_SIZE, STACK_SIZE))
    buffers = next(start for start in BUFFERS if free(start, BUFFERS_SIZE))
    for start, size in ((SRAM, SRAM_SIZE), (stack - STACK_SIZE, STACK_SIZE)):
        pages |= dict.fromkeys(range(start, start + size, PAGE), READ | WRITE | EXECUTE)
    return_page = next(page for page in RETURN_PAGES if free(page, PAGE))
    pages[return_page] = READ | EXECUTE

    runs: list[tuple[int, int, int]] = []
    for page in sorted(pages):
        if runs and runs[-1][1] == page and runs[-1][2] == pages[page]:
            runs[-1] = (runs[-1][0], page + PAGE, pages[page])
        else:
            runs.append((page, page + PAGE, pages[page]))
    return Layout(tuple(runs), stack, buffers, return_page)


def regions(image: Image, stack: int, buffers: Sequence[tuple[int, int, bool]]) -> list[Region]:
    """What a checked call may touch, ascending and disjoint: objects, constants, the stack, and the buffers.

    `buffers` are ``(start, end, writable)``.
    """
    objects = [symbol for symbol in image.symbols.values() if symbol.kind == "data" and symbol.size]
    found = [Region(stack - STACK_SIZE, stack, True, "stack")]
    found += [Region(start, end, writable, f"buffer at {start:#x}") for start, end, writable in buffers]
    for section in image.sections:
        end = section.address + section.size
        inside = sorted((s.address, s.address + s.size, s.name) for s in objects if section.address <= s.address < end)
        writable = bool(section.flags & WRITE)
        if inside and writable:
            last = 0
            for start, stop, name in inside:
                if start >= last:  # aliases of an object come once
                    found.append(Region(start, stop, True, name))
                    last = stop
        else:
            found.append(Region(section.address, end, writable, section.name))
    return sorted(found)


def gaps(mapped: Sequence[tuple[int, int]], allowed: Sequence[Region]) -> list[tuple[int, int]]:
    """The parts of `mapped` that no region covers; regions are ascending and disjoint.

    Examples
    --------
    >>> gaps([(0, 100)], [Region(10, 20, True, "a"), Region(20, 60, True, "b")])
    [(0, 10), (60, 100)]
    """
    found = []
    for start, end in mapped:
        for region in allowed:
            if start < region.end and region.start < end:
                if start < region.start:
                    found.append((start, region.start))
                start = region.end
        if start < end:
            found.append((start, end))
    return found


def explain(rule: str, is_write: bool, address: int, size: int, allowed: Sequence[Region], core: str) -> str:
    """An offence that a probe found, as half a sentence.

    Examples
    --------
    >>> explain("bounds", False, 18, 4, [Region(10, 20, True, "buffer")], "cortex-m4")
    'read of 4 bytes at 0x12, 2 bytes past the end of buffer'
    """
    verb = "write" if is_write else "read"
    what = f"{size} byte{'s' if size > 1 else ''} at {address:#x}"
    if rule == "alignment":
        return f"unaligned {verb} of {what}, which faults on {core}"
    if rule == "read-only":
        name = next(region.name for region in allowed if region.start <= address < region.end)
        return f"write of {size} byte{'s' if size > 1 else ''} to the constant {name} at {address:#x}"
    nearest = min(allowed, key=lambda region: max(region.start - address, address + size - region.end))
    before = address < nearest.start
    gap = nearest.start - address if before else address + size - nearest.end
    side = "before the start" if before else "past the end"
    return f"{verb} of {what}, {gap} bytes {side} of {nearest.name}"
