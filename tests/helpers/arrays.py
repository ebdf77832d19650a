# SPDX-License-Identifier: Apache-2.0
"""Outputs that show what was not written, and a comparison that says where two arrays part."""

from __future__ import annotations

import numpy as np

POISON = 0x5B


def poisoned(shape, dtype) -> np.ndarray:
    """An array of 0x5B bytes: an element that a kernel leaves out keeps a value that no formula yields by accident."""
    return np.full(shape, np.frombuffer(bytes([POISON]) * np.dtype(dtype).itemsize, dtype)[0])


def guarded(shape, dtype, margin: int = 64) -> tuple[np.ndarray, np.ndarray]:
    """A poisoned array inside a larger poisoned one: (array, all of the memory), to be passed to `assert_untouched`."""
    count = int(np.prod(shape))
    memory = poisoned(count + 2 * margin, dtype)
    return memory[margin : margin + count].reshape(shape), memory


def assert_untouched(memory: np.ndarray, margin: int = 64) -> None:
    """The margins of `guarded` still hold the poison."""
    for side, part in (("before", memory[:margin]), ("behind", memory[-margin:])):
        wrong = np.flatnonzero(part.view(np.uint8) != POISON)
        assert wrong.size == 0, f"byte {wrong[0]} of the margin {side} the output was overwritten"


def assert_bit_exact(actual, expected, what: str = "") -> None:
    """Same dtype, shape and elements; the message holds the first mismatch and how many there are."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    prefix = f"{what}: " if what else ""
    assert actual.dtype == expected.dtype, f"{prefix}dtype {actual.dtype}, expected {expected.dtype}"
    assert actual.shape == expected.shape, f"{prefix}shape {actual.shape}, expected {expected.shape}"
    wrong = np.argwhere(actual != expected)
    if wrong.size:
        first = tuple(int(i) for i in wrong[0])
        raise AssertionError(
            f"{prefix}{len(wrong)} of {actual.size} elements differ, first at {first}: "
            f"got {actual[first]}, expected {expected[first]}"
        )


def random_array(rng: np.random.Generator, shape, dtype) -> np.ndarray:
    """Uniform over the whole range of `dtype`."""
    info = np.iinfo(dtype)
    return rng.integers(info.min, info.max, shape, dtype, endpoint=True)
