# SPDX-License-Identifier: Apache-2.0
"""The shape of a model file, as pydantic models: they check it, and give the published JSON Schema."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, WithJsonSchema
from pydantic_core import PydanticCustomError

from cmsisnn_x.scheme import SHIFT_MAX
from cmsisnn_x.variant import KNOBS

from ..base import yaml_file
from ..base.errors import ModelError
from ..base.units import parse_size

MAX = 65535
MISSING = ("missing", "union_tag_not_found")


def _describe(value: object) -> str:
    if value is None:
        return "nothing"
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _wrong(expected: str, got: object) -> PydanticCustomError:
    return PydanticCustomError("wrong", "expected {expected}, got {got}", {"expected": expected, "got": _describe(got)})


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _pair(low: int, what: str):
    def check(value: Any) -> tuple[int, int]:
        items = [value, value] if _is_int(value) else value
        if not (
            isinstance(items, list | tuple) and len(items) == 2 and all(_is_int(i) and low <= i <= MAX for i in items)
        ):
            raise _wrong(f"{what}: an integer in {low}..{MAX} or [y, x]", value)
        return items[0], items[1]

    return check


def _padding(value: Any) -> Any:
    if value in ("same", "valid"):
        return value
    if isinstance(value, str):
        raise _wrong("an integer, [y, x], 'same' or 'valid'", value)
    return _pair(0, "padding")(value)


def _shape(value: Any) -> list[int]:
    if not (isinstance(value, list) and len(value) in (1, 3) and all(_is_int(i) and 1 <= i <= MAX for i in value)):
        raise _wrong(f"[h, w, c] or [n] with every dimension in 1..{MAX}", value)
    return value


def _size(value: Any) -> int:
    try:
        return parse_size(value)
    except ValueError as problem:
        raise PydanticCustomError("wrong", "{problem}", {"problem": str(problem)}) from None


def _variant(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _wrong("a mapping of knobs to values, for example {unroll: 4}", value)
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
                    "got": _describe(item),
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


def _pair_schema(low: int) -> dict[str, Any]:
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
    "anyOf": [{"enum": ["same", "valid"]}, *_pair_schema(0)["anyOf"]],
    "description": "Zeros around the image: one number, [y, x], or TensorFlow's 'same' and 'valid'.",
}

Kernel = Annotated[tuple[int, int], BeforeValidator(_pair(1, "a size")), WithJsonSchema(_pair_schema(1))]
Padding = Annotated[Any, BeforeValidator(_padding), WithJsonSchema(_PADDING_SCHEMA)]
Size = Annotated[int, BeforeValidator(_size), WithJsonSchema(_SIZE_SCHEMA)]
Shape = Annotated[list[int], BeforeValidator(_shape), WithJsonSchema(_SHAPE_SCHEMA)]
Knobs = Annotated[dict[str, Any], BeforeValidator(_variant), WithJsonSchema(_knob_schema())]
Dimension = Annotated[int, Field(ge=1, le=MAX)]
Shift = Annotated[int, Field(ge=0, le=SHIFT_MAX)]
Dtype = Literal["q7", "q15"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Input(_Strict):
    """The tensor that the network takes."""

    shape: Shape
    dtype: Dtype = Field("q7", description="q7 is int8, q15 is int16; of all activations.")


class Budget(_Strict):
    """Memory that the network may use."""

    sram: Size | None = Field(None, description="Arena, input and output; --sram overrides it.")
    flash: Size | None = Field(None, description="Weights and code; --flash overrides it.")


class _Named(_Strict):
    name: str = Field(description="A C identifier, unique ignoring case.")


class _Weighted(_Named):
    bias_shift: Shift = Field(
        0,
        description="Left shift of the bias: fraction bits of input + weights - bias. The bias is zero where the "
        "weights file has none.",
    )
    out_shift: Shift = Field(
        description="Right shift of the 32-bit sum, rounded, then saturated: fraction bits of input + weights - output."
    )
    activation: Literal["relu"] | None = Field(None, description="Applied before the output is stored.")
    weights_dtype: Dtype | None = Field(
        None, description="Default: the input's. A fully connected layer of a q15 network may have q7 weights."
    )
    variant: Knobs | None = Field(None, description="Knobs that the tuner must not change, such as {unroll: 4}.")


class Conv2d(_Weighted):
    """Convolution."""

    op: Literal["conv2d"]
    out_channels: Dimension = Field(description="Channels of the output: one filter each.")
    kernel: Kernel
    stride: Kernel = (1, 1)
    padding: Padding = (0, 0)


class DepthwiseConv2d(_Weighted):
    """Depthwise convolution: every channel has its own kernel."""

    op: Literal["depthwise_conv2d"]
    kernel: Kernel
    stride: Kernel = (1, 1)
    padding: Padding = (0, 0)


class FullyConnected(_Weighted):
    """Fully connected layer over the flattened input."""

    op: Literal["fully_connected"]
    out_features: Dimension = Field(description="Elements of the output: rows of the weight matrix.")


class _Pool(_Named):
    kernel: Kernel
    stride: Kernel | None = Field(None, description="Default: the kernel size.")
    padding: Padding = (0, 0)
    ceil_mode: bool = Field(
        False, description="Round the output size up: windows at the far edge are clipped to the image."
    )


class MaxPool2d(_Pool):
    """Maximum of each window."""

    op: Literal["max_pool2d"]


class AvgPool2d(_Pool):
    """Mean of the elements of each window that lie inside the image, truncated towards zero."""

    op: Literal["avg_pool2d"]


class Relu(_Named):
    """max(x, 0)."""

    op: Literal["relu"]


class _Table(_Named):
    int_bits: Annotated[int, Field(ge=0, le=3, description="Integer bits of the input's format: 3 is Q3.4 in q7.")]


class Sigmoid(_Table):
    """Logistic function."""

    op: Literal["sigmoid"]


class Tanh(_Table):
    """Hyperbolic tangent."""

    op: Literal["tanh"]


class Softmax(_Named):
    """Softmax to the base 2 over all elements, as CMSIS-NN's: one unit of the input is a factor of 2."""

    op: Literal["softmax"]


OPS: dict[str, type[_Named]] = {
    cls.model_fields["op"].annotation.__args__[0]: cls  # type: ignore[union-attr]
    for cls in (Conv2d, DepthwiseConv2d, FullyConnected, MaxPool2d, AvgPool2d, Relu, Sigmoid, Tanh, Softmax)
}

AnyLayer = Annotated[
    Conv2d | DepthwiseConv2d | FullyConnected | MaxPool2d | AvgPool2d | Relu | Sigmoid | Tanh | Softmax,
    Field(discriminator="op"),
]


class ModelFile(_Strict):
    """A sequential q7 or q15 network for cmsisnn-tune."""

    schema_: Literal[1] = Field(alias="schema", description="Version of this format.")
    name: str = Field(description="A C identifier: prefix of every emitted symbol.")
    input: Input
    weights: str | None = Field(
        None,
        description="npz file beside this one with <layer>/weights and <layer>/bias; without it, weights are drawn.",
    )
    float_: str | None = Field(
        None,
        alias="float",
        description="npz file beside this one with the float network that cmsisnn-quantize started from, for --check.",
    )
    target: str | None = Field(None, description="Core or board; --target overrides it.")
    budget: Budget | None = None
    layers: Annotated[list[AnyLayer], Field(min_length=1, description="In order of execution; shapes are inferred.")]


def check_model_file(document: yaml_file.Document) -> ModelFile:
    """The document as a `ModelFile`; the first problem, in file order, as a `ModelError`."""
    if not isinstance(document.data, dict):
        raise ModelError(
            document.message(
                (), f"expected a mapping with schema, name, input and layers, got {_describe(document.data)}"
            )
        )
    try:
        return ModelFile.model_validate(document.data)
    except ValidationError as problem:
        errors = problem.errors(include_url=False, include_context=True)
    # A missing key is often a misspelt one, which says more; otherwise the order of the file.
    first = min(errors, key=lambda error: (error["type"] in MISSING, _line(document, _key(error)[0])))
    key, text = _explain(document, first)
    more = len(errors) - 1
    tail = f" (and {more} more problem{'s' if more > 1 else ''})" if more else ""
    raise ModelError(document.message(key, text + tail))


def _line(document: yaml_file.Document, key: yaml_file.Key) -> int:
    while key and key not in document.lines:
        key = key[:-1]
    return document.lines.get(key, 1)


def _key(error: Mapping[str, Any]) -> tuple[yaml_file.Key, str | None]:
    """Where a pydantic error lies in the file, and the operation of that layer."""
    key: yaml_file.Key = tuple(error["loc"])
    if len(key) > 2 and key[0] == "layers" and key[2] in OPS:  # pydantic puts the union's tag into the path
        return (*key[:2], *key[3:]), str(key[2])
    return key, None


def _explain(document: yaml_file.Document, error: Mapping[str, Any]) -> tuple[yaml_file.Key, str]:
    """Where a pydantic error lies in the file, and what it means to the person who wrote that line."""
    key, op = _key(error)
    kind, got, context = error["type"], error.get("input"), error.get("ctx", {})
    if kind == "extra_forbidden":
        name = str(key[-1])
        known = _keys(key[:-1], op)
        elsewhere = [other for other, cls in OPS.items() if name in cls.model_fields]
        if op and elsewhere:
            return key, f"{op} has no such key ({', '.join(elsewhere)} do); remove it"
        return key, f"unknown key; {yaml_file.suggest(name, known)}"
    if kind == "missing":
        return key, f"missing; {_EXPECTED.get(str(key[-1]), 'give it a value')}"
    if kind == "union_tag_invalid":
        tag = got.get("op") if isinstance(got, dict) else got
        return (*key, "op"), f"unknown operation {_describe(tag)}; {yaml_file.suggest(tag, OPS)}"
    if kind == "union_tag_not_found":
        return (*key, "op"), f"missing; expected one of: {', '.join(OPS)}"
    if kind in ("int_type", "int_parsing", "int_from_float"):
        return key, f"expected an integer, got {_describe(got)}"
    if kind in ("greater_than_equal", "less_than_equal"):
        field = OPS[op].model_fields.get(str(key[-1])) if op else None
        bounds = {type(m).__name__: m for m in (field.metadata if field else [])}
        low, high = getattr(bounds.get("Ge"), "ge", None), getattr(bounds.get("Le"), "le", None)
        wanted = f"in {low}..{high}" if low is not None else " ".join(f"{k} {v}" for k, v in context.items())
        return key, f"expected an integer {wanted}, got {_describe(got)}"
    if kind == "string_type":
        quote = f"; write it in quotes: '{got}'" if isinstance(got, int | float | bool) else ""
        return key, f"expected text, got {_describe(got)}{quote}"
    if kind == "bool_type":
        return key, f"expected true or false, got {_describe(got)}"
    if kind == "literal_error":
        if key == ("schema",):
            return key, f"expected 1, got {_describe(got)}; this version reads schema 1 only"
        wanted = str(context.get("expected", "")).replace("'", "").replace(" or ", ", ")
        return key, f"expected one of: {wanted}; got {_describe(got)}"
    if kind in ("model_type", "model_attributes_type", "dict_type"):
        return key, f"expected a mapping, got {_describe(got)}"
    if kind == "list_type":
        return key, f"expected a list, got {_describe(got)}"
    if kind == "too_short":
        return key, "expected at least one layer, got none"
    return key, str(error["msg"])


_EXPECTED = {
    "schema": "write 'schema: 1'",
    "name": "expected a C identifier",
    "input": "expected for example {shape: [32, 32, 3], dtype: q7}",
    "layers": "expected a list of layers",
    "kernel": "expected an integer or [y, x]",
    "out_shift": f"expected an integer in 0..{SHIFT_MAX}",
    "int_bits": "expected an integer in 0..3",
    "out_channels": "expected an integer",
    "out_features": "expected an integer",
    "shape": "expected [h, w, c] or [n]",
}


def _keys(parent: yaml_file.Key, op: str | None) -> list[str]:
    inner: dict[yaml_file.Key, type[BaseModel]] = {("input",): Input, ("budget",): Budget}
    cls = inner.get(parent, ModelFile)
    if op:
        cls = OPS[op]
    return [field.alias or name for name, field in cls.model_fields.items()]
