# SPDX-License-Identifier: Apache-2.0
"""What functions in C take and what calls pass on: one pointer per tensor, inputs then outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from cmsisnn_x.graph import Graph, Node, Tensor
from cmsisnn_x.scheme import TensorType
from tuning.plan import Plan

from .cgen import C_TYPES, comment_text
from .names import numbered

LONGEST_NAME = 64
"""Characters of a file's name for a tensor that a comment has room for."""


def element(own: TensorType) -> str:
    """The C type of a tensor's elements."""
    return C_TYPES[own.dtype]


def shape_text(shape: tuple[int, ...]) -> str:
    """A shape as C writes it.

    Examples
    --------
    >>> shape_text((32, 32, 3))
    '[32][32][3]'
    """
    return "".join(f"[{size}]" for size in shape)


def float_text(value: float) -> str:
    """A constant of type float.

    Examples
    --------
    >>> float_text(0.0039215688593685627), float_text(1.0)
    ('0.003921569f', '1.0f')
    """
    return f"{np.float32(value)!s}f"


@dataclass(frozen=True)
class Border:
    """A tensor that the caller gives or gets.

    Attributes
    ----------
    name : str
        The parameter.
    prefix : str
        Of its macros: ``NET_INPUT``, or ``NET_INPUT_1`` where there are several.
    element : str
        The C type.
    shape, order : str
        As C writes it, and what the axes are, in words.
    called : str
        What the model's file calls it, fit for a comment; empty where it does not.
    fraction : int or None
        Of q7 and q15: fraction bits, where they are known.
    """

    name: str
    prefix: str
    element: str
    shape: str
    order: str
    tensor: Tensor
    called: str
    fraction: int | None = None

    @property
    def size(self) -> str:
        """The macro that counts its elements."""
        return f"{self.prefix}_SIZE"

    @property
    def parameter(self) -> str:
        """Of an input."""
        return f"const {self.element} *{self.name}"

    def macros(self) -> dict[str, int | str]:
        """What its integers stand for, where that is known."""
        tensor = self.tensor
        if self.fraction is not None:
            return {f"{self.prefix}_FRACTION": self.fraction}
        if not tensor.type.is_affine or tensor.scale is None:
            return {}
        return {f"{self.prefix}_SCALE": float_text(tensor.scale), f"{self.prefix}_ZERO_POINT": tensor.zero_point}

    def notes(self) -> dict[str, str]:
        """What stands beside the macro of its scale."""
        if self.fraction is not None:
            return {f"{self.prefix}_FRACTION": self.format}
        name = f"{self.prefix}_SCALE"
        return {name: self.called} if self.called and name in self.macros() else {}

    @property
    def format(self) -> str:
        """What an element stands for, in words; empty where that is not known."""
        if self.fraction is not None:
            bits = self.tensor.type.bits - 1 - self.fraction
            means = f"element / 2^{self.fraction}" if self.fraction >= 0 else f"element * 2^{-self.fraction}"
            return f"value = {means} (Q{bits}.{self.fraction})"
        if not self.macros():
            return ""
        return f"value = {self.prefix}_SCALE * (element - {self.prefix}_ZERO_POINT)"


def borders(plan: Plan) -> tuple[tuple[Border, ...], tuple[Border, ...]]:
    """The network's inputs and its outputs."""
    found = []
    is_image = plan.wiring is None  # three axes of a file may be anything
    called = plan.source_names or (("",) * len(plan.inputs), ("",) * len(plan.outputs))
    moved = plan.channels_last or ((False,) * len(plan.inputs), (False,) * len(plan.outputs))
    formats = plan.fractions or ((None,) * len(plan.inputs), (None,) * len(plan.outputs))
    sides = zip(("input", "output"), (plan.inputs, plan.outputs), called, moved, formats, strict=True)
    for side, tensors, theirs, orders, fractions in sides:
        names = numbered(side, len(tensors))
        found.append(
            tuple(
                Border(
                    name, f"{plan.model}_{name}".upper(), element(tensor.type), shape_text(tensor.shape),
                    "height, width, channels" if is_image and len(tensor.shape) == 3 else "in order", tensor,
                    f"{_called(own)}, channels last here" if is_moved else _called(own), fraction,
                )
                for name, tensor, own, is_moved, fraction in zip(names, tensors, theirs, orders, fractions, strict=True)
            )
        )  # fmt: skip
    return found[0], found[1]


def _called(name: str) -> str:
    """A name of anybody's file inside a comment.

    Examples
    --------
    >>> _called("serving_default_input:0"), _called("x */ int y; //" + "z" * 99)
    ('"serving_default_input:0"', '"x * / int y; / /zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz..."')
    """
    text = comment_text(name)
    if not text:
        return ""
    return f'"{text}"' if len(text) <= LONGEST_NAME else f'"{text[: LONGEST_NAME - 3]}..."'


def sizes(sides: Sequence[Border]) -> dict[str, int | str]:
    """The macros that count elements."""
    return {side.size: prod(side.tensor.shape) for side in sides}


# ---------------------------------------------------------------- layers


@dataclass(frozen=True)
class Call:
    """What ``<model>_run`` calls: a layer, or two of them in one function. `index` counts layers."""

    index: int
    function: str
    kernel: str
    operands: tuple[str, ...]
    input: str
    output: str
    scratch: str
    about: str = ""
    parameters: str = ""
    body: tuple[str, ...] = ()
    arguments: str = ""


def taken(graph: Graph, node: Node) -> list[tuple[int, str, Tensor]]:
    """The inputs that the function of a layer takes: index, parameter and tensor; constants it knows itself."""
    names = numbered("input", len(node.inputs))
    tensors = [graph.tensors[name] for name in node.inputs]
    pairs = enumerate(zip(names, tensors, strict=True))
    return [(at, name, tensor) for at, (name, tensor) in pairs if tensor.value is None]


def parameters(graph: Graph, node: Node, last: Node | None = None) -> str:
    """The parameters of the function of a layer; its output is that of `last`."""
    writes = graph.tensors[(last or node).outputs[0]]
    reads = [f"const {element(tensor.type)} *{name}" for _, name, tensor in taken(graph, node)]
    return ", ".join([*reads, f"{element(writes.type)} *output"])


def body(
    graph: Graph, node: Node, kernel: str, operands: Sequence[str], scratch: str, constants: Mapping[str, str],
) -> tuple[str, ...]:  # fmt: skip
    """The lines of the function of a layer: its kernel, once for every sample.

    `constants` are the arrays of tensors that are known.
    """
    layer, out = node.layer, graph.tensors[node.outputs[0]].type
    reads = [
        constants.get(name, own) for name, own in zip(node.inputs, numbered("input", len(node.inputs)), strict=True)
    ]
    reads = [kernels_pointer(read, layer.type, "const ") for read in reads]
    output = kernels_pointer("output", out, "")
    if layer.samples > 1:
        reads = [f"{read} + sample * {prod(shape)}" for read, shape in zip(reads, layer.input_shapes, strict=True)]
        output = f"{output} + sample * {prod(layer.output_shape)}"
    lines = []
    if layer.row.roles[0] == "inputs":
        lines.append(f"const {_kernel_type(layer.type)} *const inputs[] = {{{', '.join(reads)}}};")
        reads = ["inputs"]
    lines.append(f"{kernel}({', '.join([*reads, *operands, output, scratch])});")
    if layer.samples > 1:
        lines = [
            f"for (int32_t sample = 0; sample < {layer.samples}; sample++) {{",
            *(f"    {one}" for one in lines),
            "}",
        ]
    return tuple(lines)


def _kernel_type(own: TensorType) -> str:
    """The C type by which kernels see elements: bytes are signed."""
    return f"int{own.bits}_t"


def kernels_pointer(pointer: str, own: TensorType, qualifier: str) -> str:
    """A pointer to elements as kernels take it."""
    return pointer if element(own) == _kernel_type(own) else f"({qualifier}{_kernel_type(own)} *){pointer}"
