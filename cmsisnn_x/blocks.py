# SPDX-License-Identifier: Apache-2.0
"""What needs memory while a network runs, in blocks that are placed as one, and where among others there is room."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from .buffers import ALIGNMENT, aligned
from .errors import CmsisnnError


@dataclass(frozen=True)
class Life:
    """Memory in use from step `first` to step `last`, inclusive.

    With `same_as`, the index of another life, it lies inside that one, `inside` bytes from its start. Behind the last
    step of one that `shrinks` no more is left of it than what lies inside.
    """

    size: int
    first: int
    last: int
    align: int = ALIGNMENT
    same_as: int | None = None
    inside: int = 0
    shrinks: bool = False


@dataclass
class Block:
    """A group of aliases: what is placed."""

    size: int
    first: int
    last: int
    align: int
    left: int = -1
    """Bytes behind its first step, where they are less."""

    def meets(self, other: Block) -> bool:
        """Whether both are alive at some time."""
        return self.first <= other.last and other.first <= self.last

    def beside(self, other: Block) -> int:
        """Bytes while another, which it meets, is alive."""
        return self.size if self.left < 0 or other.first <= self.first else self.left


def blocks_of(lives: Sequence[Life]) -> tuple[list[Block], list[tuple[int, int]]]:
    """The blocks in the order of their first use, and for each life its block and its offset inside."""
    roots: list[tuple[int, int]] = []
    for index, life in enumerate(lives):
        root, inside, seen = index, 0, {index}
        while (outer := lives[root].same_as) is not None:
            inside += lives[root].inside
            if outer in seen or not 0 <= outer < len(lives):
                raise CmsisnnError(f"arena: expected same_as to end at another life, got {life}")
            seen.add(outer)
            root = outer
        if inside % life.align:
            raise CmsisnnError(f"arena: expected a multiple of its alignment inside another life, got {life}")
        roots.append((root, inside))
    members: dict[int, list[int]] = {}
    for index, (root, _) in enumerate(roots):
        members.setdefault(root, []).append(index)
    blocks: dict[int, Block] = {}
    for root, group in members.items():
        size = max(aligned(roots[i][1] + lives[i].size) for i in group)
        first, last = min(lives[i].first for i in group), max(lives[i].last for i in group)
        left = -1
        if lives[root].shrinks:
            left = max((aligned(roots[i][1] + lives[i].size) for i in group if i != root), default=0)
        blocks[root] = Block(size, first, last, max(lives[i].align for i in group), left)
    order = sorted(blocks, key=lambda root: (blocks[root].first, root))
    number = {root: at for at, root in enumerate(order)}
    return [blocks[root] for root in order], [(number[root], inside) for root, inside in roots]


def gaps(block: Block, blocks: Sequence[Block], placed: dict[int, int]) -> Iterator[tuple[int, int | None]]:
    """Where there is room for a block beside those that are placed: from and to, from the bottom up, the last of them
    without an end.
    """
    met = [(at, blocks[i]) for i, at in placed.items() if blocks[i].meets(block)]
    if block.left >= 0:
        # One that shrinks is as high beside each as it is when both are alive.
        tops = {0, *(aligned(at + other.beside(block), block.align) for at, other in met)}
        for start in sorted(tops):
            above = [(at, other) for at, other in met if at + other.beside(block) > start]
            ends = [at + block.size - block.beside(other) for at, other in above]
            if all(end - start >= block.size for end in ends):
                yield start, min(ends, default=None)
        return
    taken = sorted((at, at + other.beside(block)) for at, other in met)
    start = 0
    for at, end in taken:
        if at - aligned(start, block.align) >= block.size:
            yield aligned(start, block.align), at
        start = max(start, end)
    yield aligned(start, block.align), None


def lowest(block: Block, blocks: Sequence[Block], placed: dict[int, int]) -> int:
    return next(gaps(block, blocks, placed))[0]


def highest(block: Block, blocks: Sequence[Block], placed: dict[int, int], top: int) -> int:
    found = list(gaps(block, blocks, placed))
    for start, end in reversed(found):
        last = (min(top, top if end is None else end) - block.size) // block.align * block.align
        if last >= start:
            return last
    return found[-1][0]
