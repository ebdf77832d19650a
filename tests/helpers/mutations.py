# SPDX-License-Identifier: Apache-2.0
"""Edits of trees, bytes and messages, by chance: what fuzzers do to files."""

from __future__ import annotations

import random
from contextlib import suppress
from typing import Any

SCALARS: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2, 31, 32, 65535, 65536, 2**31, 2**63, 2**64, 10**9, 10**30, -(10**30), 0.5, 1e308,
    float("inf"), float("nan"), "", " ", "same", "valid", "q7", "q15", "q31", "relu", "conv2d", "../x", "a;b", "int",
    "\x1b[31m", "<script>", "*/", "\n", "\r\n", "\x00", "\ud800", "\u202e", "\ufeff", "x" * 300, "1e9", "0x7f", "1K",
    "9" * 400, "1" + "0" * 400 + "M", "cortex-m4", "nowhere", "/dev/zero", ".", "w.npz", "<<", "=", "*a", "&a", "!!int",
)  # fmt: skip
KEYS = (
    "schema", "name", "input", "shape", "dtype", "weights", "target", "budget", "sram", "flash", "layers", "op",
    "kernel", "stride", "padding", "out_channels", "out_features", "out_shift", "bias_shift", "activation", "variant",
    "unroll", "lowering", "ceil_mode", "int_bits", "weights_dtype", "float", "inherit", "core", "timing", "load",
    "issue_width", "clock_hz", "flash_wait_states", "value", "source", "title", "memories", "x", "",
)  # fmt: skip


def places(node: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path]
    if isinstance(node, dict | list):
        for key, value in node.items() if isinstance(node, dict) else enumerate(node):
            found += places(value, (*path, key))
    return found


def mutate(rng: random.Random, tree: Any) -> Any:
    """One edit somewhere: another value, a key more or less, a subtree doubled, nested or moved."""
    path = rng.choice(places(tree))
    parent, at = tree, path[-1] if path else None
    for key in path[:-1]:
        parent = parent[key]
    kind = rng.randrange(7)
    if at is None:
        return rng.choice(SCALARS) if kind == 0 else tree
    old = parent[at]
    if kind <= 1:
        parent[at] = rng.choice(SCALARS)
    elif kind == 2:
        del parent[at]
    elif kind == 3:
        parent[at] = rng.choice(([old], [old, old], {"x": old}, {rng.choice(KEYS): old}, [[old] * 3] * 3))
    elif kind == 4 and isinstance(parent, dict):
        parent[rng.choice(KEYS)] = parent.pop(at)
    elif kind == 5 and isinstance(parent, dict):
        parent[rng.choice(KEYS)] = rng.choice(SCALARS)
    elif kind == 6 and isinstance(old, int):
        parent[at] = rng.choice((old + 1, old * 2, -old, old * 1000, old << rng.randrange(40)))
    elif isinstance(parent, list):
        parent.insert(at, old)
    return tree


def garble(rng: random.Random, data: bytes) -> bytes:
    """A few bytes changed, inserted or cut."""
    out = bytearray(data)
    for _ in range(rng.choice((0, 0, 1, 1, 2, 5, 20))):
        at = rng.randrange(len(out) + 1)
        kind = rng.randrange(5)
        if kind == 0:
            out[at:at] = rng.choice((b"\0", b"\xff", b"\t", b"[", b"{", b"- ", b"&a ", b"*a", b"!!x ", b"\r", b": "))
        elif kind == 1:
            del out[at : at + rng.randrange(1, 20)]
        elif kind == 2 and out:
            out[min(at, len(out) - 1)] = rng.randrange(256)
        elif kind == 3:
            out[at:at] = out[at // 2 : at]
        else:
            del out[at:]
    return bytes(out)


NUMBERS = (-(2**63), -(2**31), -129, -7, -2, -1, 0, 1, 2, 3, 4, 5, 8, 100, 127, 128, 255, 4096, 65535, 65536, 2**31 - 1,
           2**40, 2**63 - 1)  # fmt: skip
FLOATS = (0.0, -1.0, 1e-45, 1e-20, 0.5, 1.0, 3.0, 1e6, 3e38, float("inf"), float("nan"))


def messages(message: Any) -> list[Any]:
    """A protobuf message and all that is in it."""
    found = [message]
    for field, value in message.ListFields():
        if field.message_type is not None:
            for item in value if _is_repeated(value) else [value]:
                found += messages(item)
    return found


def _is_repeated(value: Any) -> bool:
    return not isinstance(value, str | bytes) and hasattr(value, "__len__")


def mutate_message(rng: random.Random, message: Any, words: tuple[str, ...]) -> None:
    """One edit of a protobuf message: another number, text or reference, an item more, less, or elsewhere.

    `words` are texts that mean something in it.
    """
    owner = rng.choice(messages(message))
    fields = owner.ListFields()
    if not fields:
        return
    field, value = rng.choice(fields)
    if _is_repeated(value):
        at, kind = rng.randrange(len(value)), rng.randrange(5)
        if kind == 0:
            del value[at]
        elif kind == 1:
            value.append(value[at])
        elif kind == 2 and len(value) > 1:
            items = list(value)
            rng.shuffle(items)
            del value[:]
            value.extend(items)
        elif field.message_type is None:
            value[at] = _another(rng, value[at], words)
    elif field.message_type is not None or rng.random() < 0.15:
        owner.ClearField(field.name)
    else:
        with suppress(ValueError):  # an enumeration has no such value
            setattr(owner, field.name, _another(rng, value, words))


def _another(rng: random.Random, value: Any, words: tuple[str, ...]) -> Any:
    if isinstance(value, str):
        return rng.choice((*words, "", "\x1b[31m", "../x", "x" * 300, "a\nb", "\u202e"))
    if isinstance(value, bytes):
        return garble(rng, value)
    if isinstance(value, float):
        return rng.choice((*FLOATS, -value, value * 1000))
    return rng.choice((*(one for one in NUMBERS if -(2**31) <= one < 2**31), value + 1, rng.randrange(30)))
