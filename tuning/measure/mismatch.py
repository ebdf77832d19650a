# SPDX-License-Identifier: Apache-2.0
"""Arrays that should be equal, compared: the first element that is not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Mismatch:
    """The first element that differs."""

    what: str
    sample: int
    coordinates: tuple[int, ...]
    got: int
    expected: int
    differing: int
    size: int

    def __str__(self) -> str:
        at = ", ".join(map(str, self.coordinates))
        return (
            f"{self.what}, sample {self.sample}: first difference at ({at}): got {self.got}, expected {self.expected}; "
            f"{self.differing} of {self.size} elements differ"
        )


def compare_all(
    what: str, sample: int, got: Sequence[np.ndarray], wanted: Sequence[np.ndarray], names: Sequence[str]
) -> Iterator[Mismatch]:
    for name, one, expected in zip(names, got, wanted, strict=True):
        yield from compare(what if len(names) == 1 else f"{what}, output {name}", sample, one, expected)


def compare(what: str, sample: int, got: np.ndarray, wanted: np.ndarray) -> Iterator[Mismatch]:
    wrong = np.argwhere(got != wanted)
    if len(wrong):
        first = tuple(int(i) for i in wrong[0])
        yield Mismatch(what, sample, first, int(got[first]), int(wanted[first]), len(wrong), wanted.size)
