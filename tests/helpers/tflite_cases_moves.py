# SPDX-License-Identifier: Apache-2.0
"""Cases of operators that move elements."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from helpers import int8_shapes as shapes
from helpers import int8_tables as tables
from helpers.int8_oracle import Arithmetic
from helpers.tflite_cases import TYPES, Case, Values, between, ints, q
from helpers.tflite_files import O, T

Move = Callable[..., np.ndarray]


def move(
    code: str, name: str, x: Sequence[int], moved: Callable[[np.ndarray], np.ndarray], operands: Sequence[T] = (), *,
    dtype: str = "INT8", options: Mapping[str, Any] | None = None, before: Sequence[T] = (),
    nodes: tuple[str, ...] | None = ("copy",), **out: Any,
) -> Case:  # fmt: skip
    """One input, one output of the same scale; `operands` are constants behind it, `before` in front."""
    source = replace(q(f"{code} {name} x", x, dtype), name="x")
    shape = moved(np.zeros(x, TYPES[dtype])).shape
    result = replace(source, name="y", shape=shape, **out)

    def expect(values: Values, arithmetic: Arithmetic) -> np.ndarray:
        return moved(values["x"])

    inputs = [*(item.name for item in before), "x", *(item.name for item in operands)]
    ops = [O(code, inputs, ["y"], options or {})]
    return Case([source, *before, *operands, result], ops, ["x"], ["y"], expect, nodes=nodes)


def reshape(code: str, x: Sequence[int], y: Sequence[int], operands: Sequence[T] = (), **options: Any) -> Case:
    return move(code, f"{x} {y}", x, lambda v: v.reshape(y), operands, options=options)


def transpose(x: Sequence[int], *order: int, dtype: str = "INT8") -> Case:
    return move(
        "TRANSPOSE", f"{x} {order}", x, lambda v: shapes.transpose(v, order), [ints("perm", *order)], dtype=dtype
    )


def pad(x: Sequence[int], *amounts: int, value: int | None = None, dtype: str = "INT8", wide: bool = False) -> Case:
    pairs = np.array(amounts, np.int64 if wide else np.int32).reshape(-1, 2)
    operands = [T("pads", data=pairs)]
    own = q(f"{'PAD' if value is None else 'PADV2'} {x} {amounts} x", x, dtype).zero_point
    if value is not None:
        operands.append(replace(ints("value", value, dtype=TYPES[dtype], shape=(1,)), scale=0.5))
    fill = int(own) if value is None else value
    return move(
        "PAD" if value is None else "PADV2", f"{x} {amounts}", x,
        lambda v: shapes.padv2(v, pairs, constant=fill), operands, dtype=dtype, nodes=("pad",),
    )  # fmt: skip


def strided(
    x: Sequence[int], begin: Sequence[int], end: Sequence[int], steps: Sequence[int], dtype: str = "INT8", **masks: int
) -> Case:
    operands = [ints("begin", *begin), ints("end", *end), ints("steps", *steps)]
    return move(
        "STRIDED_SLICE", f"{x} {begin} {end} {steps} {masks}", x,
        lambda v: shapes.strided_slice(v, begin, end, steps, **masks), operands, options=masks, dtype=dtype,
    )  # fmt: skip


def sliced(x: Sequence[int], begin: Sequence[int], size: Sequence[int]) -> Case:
    ends = [at + count if count >= 0 else None for at, count in zip(begin, size, strict=True)]
    index = tuple(slice(at, end) for at, end in zip(begin, ends, strict=True))
    return move("SLICE", f"{x} {begin}", x, lambda v: v[index].copy(), [ints("begin", *begin), ints("size", *size)])


def gather(x: Sequence[int], axis: int, *indices: int, scalar: bool = False) -> Case:
    at = ints("at", *indices, shape=() if scalar else None)
    assert isinstance(at.data, np.ndarray)
    own = at.data
    return move("GATHER", f"{x} {axis} {indices}", x, lambda v: np.take(v, own, axis), [at], options={"axis": axis})


def resize(x: Sequence[int], size: tuple[int, int], corners: bool = False, half: bool = False) -> Case:
    options = {"align_corners": corners, "half_pixel_centers": half}
    return move(
        "RESIZE_NEAREST_NEIGHBOR", f"{x} {size}", x,
        lambda v: shapes.resize_nearest_neighbor(v, size, **options), [ints("size", *size)], options=options,
        nodes=("resize_nearest",),
    )  # fmt: skip


def joined(
    code: str, name: str, inputs: Sequence[Sequence[int]], axis: int, *, apart: bool = False, dtype: str = "INT8",
    twice: bool = False, constant: int | None = None,
) -> Case:  # fmt: skip
    """CONCATENATION and PACK; with `apart` every input has a scale of its own, and is requantised."""
    out = q(f"{code} {name}", None, dtype)
    items = []
    for number, shape in enumerate(inputs):
        other = q(f"{code} {name} {number}", shape, dtype)
        items.append(replace(other if apart else out, name=f"x{number}", shape=shape))
    if constant is not None:
        values = np.arange(np.prod(inputs[constant]), dtype=np.int8).reshape(inputs[constant])
        items[constant] = replace(items[constant], data=values)
    names = [item.name for item in items] * (2 if twice else 1)

    def together(values: list[np.ndarray]) -> np.ndarray:
        values = values * (2 if twice else 1)
        if code == "PACK":
            return np.stack(values, axis)
        return shapes.concatenation(values, axis=axis)

    shape = together([np.zeros(one, np.int8) for one in inputs]).shape
    out = replace(out, name="y", shape=shape)

    def expect(values: Values, arithmetic: Arithmetic) -> np.ndarray:
        made = []
        for item in items:
            value = item.data if isinstance(item.data, np.ndarray) else values[item.name]
            if apart:
                value = tables.quantize(value, output_dtype=TYPES[dtype], **between(item, out))
            made.append(value)
        return together(made)

    options = {"axis": axis, "values_count": len(names)} if code == "PACK" else {"axis": axis}
    given = [item.name for item in items if item.data is None]
    return Case([*items, out], [O(code, names, ["y"], options)], given, ["y"], expect)


def parts(
    code: str, x: Sequence[int], axis: int, pieces: Sequence[int], *, before: Sequence[T] = (),
    behind: Sequence[T] = (), options: Mapping[str, Any] | None = None, used: Sequence[int] | None = None,
) -> Case:  # fmt: skip
    """SPLIT, SPLIT_V and UNPACK; `used` are the outputs that the network has."""
    source = replace(q(f"{code} {x} {axis} x", x), name="x")
    at = np.cumsum([0, *pieces])

    def cut(value: np.ndarray) -> list[np.ndarray]:
        found = [np.take(value, range(at[n], at[n + 1]), axis) for n in range(len(pieces))]
        return [np.squeeze(one, axis) for one in found] if code == "UNPACK" else found

    outs = [replace(source, name=f"y{n}", shape=one.shape) for n, one in enumerate(cut(np.zeros(x, np.int8)))]
    names = [out.name for out in outs]
    asked = [names[n] for n in (range(len(names)) if used is None else used)]

    def expect(values: Values, arithmetic: Arithmetic) -> Mapping[str, np.ndarray]:
        return dict(zip(names, cut(values["x"]), strict=True))

    inputs = [*(item.name for item in before), "x", *(item.name for item in behind)]
    ops = [O(code, inputs, names, options or {})]
    return Case([source, *before, *behind, *outs], ops, ["x"], asked, expect)


X = (2, 5, 4, 3)
MOVES: dict[str, Case] = {
    "RESHAPE": reshape("RESHAPE", (1, 4, 6), (1, 24), [ints("shape", 1, 24)]),
    "RESHAPE with an open size": reshape("RESHAPE", (2, 4, 6), (2, 24), [ints("shape", -1, 24)], new_shape=(-1, 24)),
    "RESHAPE by its options": reshape("RESHAPE", (2, 4, 6), (8, 6), new_shape=(8, 6)),
    "SQUEEZE": reshape("SQUEEZE", (1, 4, 1, 6), (4, 6), squeeze_dims=(0, 2)),
    "EXPAND_DIMS": reshape("EXPAND_DIMS", (4, 6), (4, 1, 6), [ints("axis", 1)]),
    "TRANSPOSE": transpose(X, 0, 3, 1, 2),
    "TRANSPOSE back": transpose(X, 0, 2, 3, 1),
    "TRANSPOSE of two": transpose((5, 7), 1, 0),
    "TRANSPOSE backwards": transpose(X, 3, 2, 1, 0),
    "TRANSPOSE that moves nothing": transpose((1, 5, 1, 3), 2, 1, 0, 3),
    "TRANSPOSE int16": transpose(X, 2, 0, 3, 1, dtype="INT16"),
    "TRANSPOSE uint8": transpose((3, 4), 1, 0, dtype="UINT8"),
    "TRANSPOSE of five": transpose((2, 1, 3, 2, 4), 4, 0, 3, 1, 2),
    "PAD": pad((1, 3, 4, 2), 0, 0, 1, 2, 3, 0, 0, 0),
    "PAD of every axis": pad((2, 3, 2), 1, 0, 0, 2, 1, 1),
    "PAD by nothing": pad((1, 3, 2), 0, 0, 0, 0, 0, 0),
    "PAD int16": pad((1, 3, 2), 0, 0, 1, 1, 0, 2, dtype="INT16"),
    "PAD with paddings of 64 bits": pad((1, 3, 2), 0, 0, 1, 1, 0, 2, wide=True),
    "PADV2": pad((1, 3, 4, 2), 0, 0, 1, 2, 3, 0, 0, 0, value=-77),
    "PADV2 int16": pad((1, 3, 2), 0, 0, 1, 1, 0, 2, value=-777, dtype="INT16"),
    "STRIDED_SLICE": strided(X, (0, 1, 0, 1), (2, 4, 4, 3), (1, 1, 2, 1)),
    "STRIDED_SLICE backwards": strided(X, (1, 4, 3, 2), (-9, 0, -9, -9), (-1, -2, -1, -3)),
    "STRIDED_SLICE open": strided(X, (1, 1, 1, 1), (1, 1, 2, 2), (1, 2, -1, 1), begin_mask=13, end_mask=15),
    "STRIDED_SLICE that shrinks": strided(X, (0, -2, 0, 1), (2, 0, 4, 2), (1, 1, 1, 1), shrink_axis_mask=10),
    "STRIDED_SLICE that shrinks and is open": strided((4, 5), (2, 1), (3, 5), (1, 1), begin_mask=1, shrink_axis_mask=1),
    "STRIDED_SLICE to a scalar": strided((4, 5), (2, -1), (3, 5), (1, 1), shrink_axis_mask=3),
    "STRIDED_SLICE from the end": strided(X, (0, -3, -9, -1), (9, -1, 99, 3), (1, 1, 3, 1)),
    "STRIDED_SLICE of some axes": strided((3, 4, 5), (1, 0, 0), (3, 2, 5), (1, 1, 1)),
    "STRIDED_SLICE int16": strided(X, (0, 1, 0, 1), (2, 4, 4, 3), (1, 1, 2, 1), "INT16"),
    "SLICE": sliced(X, (0, 1, 2, 0), (2, 3, 2, -1)),
    "GATHER": gather(X, 1, 0, 2, 4),
    "GATHER backwards": gather(X, -1, 2, 1, 0),
    "GATHER one": gather(X, 2, 3),
    "GATHER one, by a number": gather(X, 2, 3, scalar=True),
    **{
        f"RESIZE {'corners ' * corners}{'half ' * half}{size}": resize((2, 3, 4, 2), size, corners, half)
        for corners in (False, True) for half in (False, True) for size in ((6, 8), (5, 3), (1, 1), (7, 9))
        if not (corners and half)
    },
    "CONCATENATION": joined("CONCATENATION", "channels", [(1, 3, 2, 4), (1, 3, 2, 5), (1, 3, 2, 1)], 3),
    "CONCATENATION of rows": joined("CONCATENATION", "rows", [(2, 3, 4), (2, 1, 4)], 1),
    "CONCATENATION from the end": joined("CONCATENATION", "end", [(2, 3, 4), (2, 3, 2)], -1),
    "CONCATENATION of one": joined("CONCATENATION", "one", [(2, 3, 4)], 0),
    "CONCATENATION of itself": joined("CONCATENATION", "itself", [(2, 3, 4)], 1, twice=True),
    "CONCATENATION of other scales": joined("CONCATENATION", "apart", [(2, 3), (2, 4), (2, 1)], 1, apart=True),
    "CONCATENATION int16": joined("CONCATENATION", "wide", [(2, 3), (2, 4)], 1, dtype="INT16"),
    "CONCATENATION int16 of other scales": joined(
        "CONCATENATION", "wide", [(2, 3), (2, 4)], 1, apart=True, dtype="INT16"
    ),
    "CONCATENATION with a constant": joined("CONCATENATION", "known", [(2, 3), (2, 4)], 1, constant=1),
    "PACK": joined("PACK", "first", [(3, 4), (3, 4)], 0),
    "PACK last": joined("PACK", "last", [(3, 4), (3, 4), (3, 4)], -1),
    "PACK inside": joined("PACK", "inside", [(3, 4), (3, 4)], 1),
    "SPLIT": parts("SPLIT", X, 3, [1, 1, 1], before=[ints("axis", 3, shape=())], options={"num_splits": 3}),
    "SPLIT negative": parts("SPLIT", X, 2, [2, 2], before=[ints("axis", -2, shape=(1,))], options={"num_splits": 2}),
    "SPLIT of which one is used": parts(
        "SPLIT", X, 3, [1, 1, 1], before=[ints("axis", 3)], options={"num_splits": 3}, used=[1]
    ),
    "SPLIT_V": parts("SPLIT_V", X, 1, [1, 3, 1], behind=[ints("sizes", 1, 3, 1), ints("axis", 1)]),
    "SPLIT_V open": parts("SPLIT_V", X, 1, [2, 3], behind=[ints("sizes", 2, -1), ints("axis", -3)]),
    "UNPACK": parts("UNPACK", X, 0, [1, 1], options={"axis": 0, "num": 2}),
    "UNPACK last": parts("UNPACK", X, 3, [1, 1, 1], options={"axis": -1, "num": 3}),
}  # fmt: skip
