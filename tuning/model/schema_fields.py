# SPDX-License-Identifier: Apache-2.0
"""The fields of model files, as types that pydantic checks and describes."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from cmsisnn_x.scheme import SHIFT_MAX
from cmsisnn_x.variant import KNOBS

from ..base import yaml_file
from ..base.units import parse_size

MAX = 65535
MOST_AXES = 6
"""Of a tensor with zero points."""


def describe(value: object) -> str:
    if value is None:
        return "nothing"
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def wrong(expected: str, got: object) -> PydanticCustomError:
    return PydanticCustomError("wrong", "expected {expected}, got {got}", {"expected": expected, "got": describe(got)})


def is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def pair(low: int, what: str):
    def check(value: Any) -> tuple[int, int]:
        items = [value, value] if is_int(value) else value
        if not (
            isinstance(items, list | tuple) and len(items) == 2 and all(is_int(i) and low <= i <= MAX for i in items)
        ):
            raise wrong(f"{what}: an integer in {low}..{MAX} or [y, x]", value)
        return items[0], items[1]

    return check


def _padding(value: Any) -> Any:
    if value in ("same", "valid"):
        return value
    if isinstance(value, str):
        raise wrong("an integer, [y, x], 'same' or 'valid'", value)
    return pair(0, "padding")(value)


def _shape(value: Any) -> list[int]:
    if not (isinstance(value, list) and len(value) in (1, 3) and all(is_int(i) and 1 <= i <= MAX for i in value)):
        raise wrong(f"[h, w, c] or [n] with every dimension in 1..{MAX}", value)
    return value


def _tensor_shape(value: Any) -> list[int]:
    if not (isinstance(value, list) and len(value) <= MOST_AXES and all(is_int(i) and 1 <= i < 1 << 31 for i in value)):
        raise wrong(f"a list of at most {MOST_AXES} sizes above 0, such as [h, w, c] or [n]", value)
    return value


def _new_shape(value: Any) -> list[int]:
    """Of a reshape: one size may be -1, what is left."""
    if not isinstance(value, list) or not all(is_int(size) for size in value) or value.count(-1) > 1:
        raise wrong("a list of sizes, one of which may be -1", value)
    _tensor_shape([1 if size == -1 else size for size in value])
    return value


def _scale(value: Any) -> float:
    with np.errstate(over="ignore"):
        usable = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300
        single = float(np.float32(value)) if usable else 0.0
    if not np.isfinite(single) or single < np.finfo(np.float32).tiny:
        raise wrong("a finite number above 0, which float32 can hold", value)
    return single


def _size(value: Any) -> int:
    try:
        return parse_size(value)
    except ValueError as problem:
        raise PydanticCustomError("wrong", "{problem}", {"problem": str(problem)}) from None


def _variant(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise wrong("a mapping of knobs to values, for example {unroll: 4}", value)
    for name, item in value.items():
        if name not in KNOBS:
            raise PydanticCustomError(
                "knob", "unknown knob {name}; {hint}", {"name": repr(name), "hint": yaml_file.suggest(name, KNOBS)}
            )
        if not any(item == legal and type(item) is type(legal) for legal in KNOBS[name]):
            raise PydanticCustomError(
                "knob",
                "{name}: expected one of {legal}, got {got}",
                {
                    "name": name,
                    "legal": ", ".join(str(v).lower() if isinstance(v, bool) else str(v) for v in KNOBS[name]),
                    "got": describe(item),
                },
            )
    return value


def _knob_schema() -> dict[str, Any]:
    properties = {name: {"enum": list(values)} for name, values in KNOBS.items()}
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": properties,
        "description": "Knobs that the tuner must not change.",
    }


def pair_schema(low: int) -> dict[str, Any]:
    number = {"type": "integer", "minimum": low, "maximum": MAX}
    return {
        "anyOf": [number, {"type": "array", "items": number, "minItems": 2, "maxItems": 2}],
        "description": "One number, or [y, x].",
    }


_SIZE_SCHEMA = {
    "anyOf": [
        {"type": "integer", "minimum": 1},
        {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?\s*([kKmM](iB|B)?|B)?$"},
    ],
    "description": "Bytes: 65536, 64K, 64KiB, 1M (K = 1024).",
}
_DIMENSION = {"type": "integer", "minimum": 1, "maximum": MAX}
_SHAPE_SCHEMA = {
    "anyOf": [{"type": "array", "items": _DIMENSION, "minItems": n, "maxItems": n} for n in (3, 1)],
    "description": "[h, w, c], or [n] where no layer needs an image.",
}
_PADDING_SCHEMA = {
    "anyOf": [{"enum": ["same", "valid"]}, *pair_schema(0)["anyOf"]],
    "description": "Zeros around the image: one number, [y, x], or TensorFlow's 'same' and 'valid'.",
}

Fraction = Annotated[
    int,
    Field(
        ge=-1024, le=1024,
        description="Fraction bits of the tensor: an integer stands for integer / 2**fraction. No kernel asks; emitted "
        "files say so of inputs and outputs.",
    ),
]  # fmt: skip
Kernel = Annotated[tuple[int, int], BeforeValidator(pair(1, "a size")), WithJsonSchema(pair_schema(1))]
Padding = Annotated[Any, BeforeValidator(_padding), WithJsonSchema(_PADDING_SCHEMA)]
Size = Annotated[int, BeforeValidator(_size), WithJsonSchema(_SIZE_SCHEMA)]
Shape = Annotated[list[int], BeforeValidator(_shape), WithJsonSchema(_SHAPE_SCHEMA)]
TensorShape = Annotated[
    list[int],
    BeforeValidator(_tensor_shape),
    WithJsonSchema({"type": "array", "items": {"type": "integer", "minimum": 1}, "maxItems": MOST_AXES}),
]
NewShape = Annotated[
    list[int],
    BeforeValidator(_new_shape),
    WithJsonSchema({"type": "array", "items": {"type": "integer", "minimum": -1}, "maxItems": MOST_AXES}),
]
Scale = Annotated[
    float, BeforeValidator(_scale), WithJsonSchema({"type": "number", "exclusiveMinimum": 0})
]  # fmt: skip
Knobs = Annotated[dict[str, Any], BeforeValidator(_variant), WithJsonSchema(_knob_schema())]
Dimension = Annotated[int, Field(ge=1, le=MAX)]
Shift = Annotated[int, Field(ge=0, le=SHIFT_MAX)]
Dtype = Literal["q7", "q15"]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Budget(Strict):
    """Memory that the network may use."""

    sram: Size | None = Field(None, description="Arena, input and output; --sram overrides it.")
    flash: Size | None = Field(None, description="Weights and code; --flash overrides it.")
