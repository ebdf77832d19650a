# SPDX-License-Identifier: Apache-2.0
"""Quantised ONNX files: QuantizeLinear and DequantizeLinear around operators (QDQ), or operators of integers
(QOperator), as operators of `.tflite` files.

The network's border keeps the file's integers, uint8 too. Images are channels last there, as kernels take them, where
the file has them channels first; all other tensors have the file's shape.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from ....base.errors import ModelError, TuningError
from ....base.names import identifier, layer_name_problem
from ...integer_graph import Refused
from ...tflite.file import FileModel
from ...tflite.reader import Operation, operations_of, refusal
from ..file import FOLDABLE, Node, OnnxInput, OnnxNetwork, fold, read_network
from .curves import TRANSLATORS as CURVES
from .elements import TRANSLATORS as ELEMENTS
from .items import Constant, Curve, Goal, Item, Numbers, Real, Stored, Waiting, shape_of
from .layout import Layout, image_axes
from .moves import TRANSLATORS as MOVES
from .moves import constant_moved
from .operators import DYNAMIC, numbers_of
from .operators import TRANSLATORS as OPERATORS
from .products import TRANSLATORS as PRODUCTS
from .reduce import TRANSLATORS as REDUCTIONS
from .walk import Translator, Walk

TRANSLATORS: dict[str, Translator] = {**CURVES, **ELEMENTS, **MOVES, **OPERATORS, **PRODUCTS, **REDUCTIONS}
"""Operator -> its translator; those of other domains with the domain in front."""
_IMAGE = """
    AveragePool Conv ConvInteger ConvTranspose DepthToSpace GlobalAveragePool GlobalMaxPool MaxPool QLinearAveragePool
    QLinearConv QLinearGlobalAveragePool Resize SpaceToDepth Upsample""".split()  # noqa: SIM905
"""Operators that take images."""
_THROUGH = """
    Abs Add BatchNormalization Cast Clip Concat DequantizeLinear Div Dropout Exp Function HardSigmoid HardSwish Identity
    LeakyRelu Max Min Mul Neg PRelu Pad QLinearAdd QLinearConcat QLinearLeakyRelu QLinearMul QLinearSigmoid
    QuantizeLinear Relu Sigmoid Slice Split Sub Tanh""".split() + list(CURVES)  # noqa: SIM905
"""Operators that take images and vectors alike."""
HELP = {
    "ConvTranspose": ": Resize to the nearest, and Conv, are taken",
    "LogSoftmax": ": end the network in Softmax, or in front of it, which has the same order",
}
"""What would help where an operator has no kernel."""
STANDS_FOR = "stands_for"
"""Attribute of nodes that a network in memory has in place of another operator, which messages name."""
_MOVED_CONSTANTS = ("Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze")


@dataclass(frozen=True)
class Translated:
    """A network in operators of `.tflite` files.

    Attributes
    ----------
    file : FileModel
    nodes : tuple of Node
        Of the ONNX file, in order of execution.
    origin : tuple of int
        Of each operator of `file`, the node that it is for; -1 for what the border needs.
    channels_last : frozenset of str
        Inputs and outputs that have their channels last where the file has them first.
    stored : mapping of str to Stored
        How the results of QuantizeLinear, by their names, and the network's inputs lie.
    """

    file: FileModel
    nodes: tuple[Node, ...]
    origin: tuple[int, ...]
    channels_last: frozenset[str]
    stored: Mapping[str, Stored] = field(default_factory=dict)

    def listed(self, ran: Sequence[Operation]) -> tuple[Operation, ...]:
        """What became of the nodes, by what became of the operators that stand for them."""
        problems: dict[int, str] = {}
        layers: dict[int, list[str]] = {}
        for operation in ran:
            node = self.origin[operation.index]
            if operation.problem:
                problems.setdefault(max(node, 0), operation.problem)
            layers.setdefault(node, []).extend(one for one in operation.nodes if not one.startswith("reshape"))
        return _listed(self.nodes, problems, layers)

    def refusal(self, refused: Sequence[Operation]) -> str:
        """One message for all operators that are not taken, in words of ONNX."""
        found = [operation for operation in self.listed(refused) if operation.problem]
        return refusal(self.file.path, found)


def read(path: Path) -> Translated:
    """Read a quantised ONNX file.

    Raises
    ------
    ModelError
        The file is damaged, of floats, or holds what is not taken: all of it in one message.
    MissingToolError
        The package `onnx` is not installed.
    """
    return translate(_network(path), path)


def translate(
    network: OnnxNetwork, path: Path, own: Mapping[str, Translator] | None = None, description: str = ""
) -> Translated:
    """The same of a network that is in memory; `own` are translators of operators beside those of ONNX, with which
    nothing is float in between.

    Raises
    ------
    ModelError
        It holds what is not taken: all of it in one message that begins with `path`.
    """
    translation = _Translation(network, path, own or {}, description)
    translation.visit_all()
    if translation.problems:
        listed = _listed(translation.network.nodes, translation.problems, {})
        raise ModelError(refusal(path, [operation for operation in listed if operation.problem]))
    return translation.translated()


def operations(path: Path, arithmetic: str = "tflm") -> tuple[Operation, ...]:
    """Every node that the outputs need, with the reason where it is not taken."""
    translation = _Translation(_network(path), path)
    translation.visit_all()
    if translation.problems:
        return _listed(translation.network.nodes, translation.problems, {})
    found = translation.translated()
    return found.listed(operations_of(found.file, arithmetic))


def _network(path: Path) -> OnnxNetwork:
    network = read_network(path)
    if not network.is_quantised:
        line = f"cmsisnn-quantize {shlex.quote(path.name)} --calibration data.npz"
        raise ModelError(f"{path}: expected a quantised network, got one of floats; quantise it first: {line}")
    return network


def _listed(
    nodes: Sequence[Node], problems: Mapping[int, str], layers: Mapping[int, Sequence[str]]
) -> tuple[Operation, ...]:
    return tuple(
        Operation(
            at, str(node.attributes.get(STANDS_FOR) or node.op), node.name or node.outputs[0], problems.get(at),
            tuple(layers.get(at, ())),
        )
        for at, node in enumerate(nodes)
    )


def layer_of_output(name: str) -> str:
    """What the layer that writes an output is called, as a model file has no other name for it; empty where none may be
    called so.
    """
    called = identifier(name)
    return "" if layer_name_problem(called, {}) else called


class _Translation:
    """One pass over the nodes."""

    def __init__(
        self, network: OnnxNetwork, path: Path, own: Mapping[str, Translator] | None = None, description: str = ""
    ) -> None:
        self.network, self.path, self.own = network, path, own or {}
        self.description = description or f"{path.name}, translated from ONNX"
        self.walk = Walk(network)
        self.walk.in_integers = bool(own)
        self.problems: dict[int, str] = {}
        self.inputs: list[int] = []
        self.channels_last: set[str] = set()
        self.readers: dict[str, list[Node]] = {}
        for node in network.nodes:
            for name in node.inputs:
                self.readers.setdefault(name, []).append(node)

    def error(self, text: str) -> ModelError:
        return ModelError(f"{self.path}: {text}")

    def visit_all(self) -> None:
        walk = self.walk
        walk.items = {name: Constant(values) for name, values in self.network.constants.items()}
        self.inputs = [-1] * len(self.network.inputs)
        for place, given in enumerate(self.network.inputs):
            self.input(place, given)
        for at, node in enumerate(self.network.nodes):
            walk.node = at
            self.visit(at, node)
        walk.node = -1

    def translated(self) -> Translated:
        walk = self.walk
        outputs = [self.output(name) for name in self.network.outputs]
        if not self.inputs or not outputs:
            raise self.error("expected a network with inputs and outputs, got none")
        if -1 in self.inputs:
            name = self.network.inputs[self.inputs.index(-1)].name
            raise self.error(f"input {name!r}: expected a QuantizeLinear that reads it, got none")
        file = walk.to.file(self.path, self.inputs, outputs, self.description)
        stored = {name: item for name, item in walk.items.items() if isinstance(item, Stored)}
        return Translated(file, self.network.nodes, tuple(walk.origin), frozenset(self.channels_last), stored)

    # ------------------------------------------------------------ nodes

    def visit(self, at: int, node: Node) -> None:
        items = self.walk.items
        for name in filter(None, node.outputs):
            items[name] = None
        translator = TRANSLATORS.get(node.op) or self.own.get(node.op)
        names = [name for name in node.inputs if name]
        try:
            if any(name in items and items[name] is None for name in names):
                if translator is None:
                    raise Refused("no kernel for it" + HELP.get(node.op, ""))
                return  # the reason is that of the node before
            if lost := [name for name in names if name not in items]:
                raise Refused(f"its input {lost[0]!r} is made by nothing")
            with np.errstate(all="ignore"):
                found = self.results(node, translator)
        except Refused as reason:
            self.problems[at] = str(reason)
            return
        except TuningError as problem:
            self.problems[at] = str(problem).partition(f"{node}: ")[2] or str(problem)
            return
        except (TypeError, ValueError, IndexError, KeyError, AttributeError, ArithmeticError) as problem:
            # Attributes may have any type and inputs any shape: nothing checks a file before this.
            self.problems[at] = f"its inputs and attributes are no valid {node.op}: {problem}"
            return
        items.update({name: item for name, item in zip(node.outputs, found, strict=False) if name})
        if lost := [
            name for name in node.outputs[len(found) :] if name in self.readers or name in self.network.outputs
        ]:
            self.problems[at] = f"its output {lost[0]!r}, which is used, is not taken"

    def results(self, node: Node, translator: Translator | None) -> list[Item]:
        given = [self.walk.items[name] if name else None for name in node.inputs]
        if node.op == "Shape" and given and given[0] is not None:
            shape = np.array(shape_of(given[0]), np.int64)
            return [Constant(shape[node.attributes.get("start") or 0 : node.attributes.get("end")])]
        if all(item is None or isinstance(item, Constant) for item in given) and node.op not in OPERATORS:
            return self.folded(node, [item for item in given if item is None or isinstance(item, Constant)])
        if translator is None:
            raise Refused("no kernel for it" + HELP.get(node.op, ""))
        made = translator(self.walk, node)
        return made if isinstance(made, list) else [made]

    def folded(self, node: Node, given: list[Constant | None]) -> list[Item]:
        if node.op == "Constant" or node.op in FOLDABLE:
            first = given[0] if given else None
            is_moved = first is not None and first.given is None and node.op in _MOVED_CONSTANTS
            arrays = [None if item is None else item.values for item in given]
            if is_moved and first is not None and first.integers is not None:
                arrays[0] = first.integers.values
                (result,) = fold(self.network, node, arrays)
                return [constant_moved(node, first, result, result)]
            return [Constant(value) for value in fold(self.network, node, arrays)]
        raise Refused("an operator of constants; simplify the file first")

    # ------------------------------------------------------------ the border

    def _after(self, name: str) -> Iterator[Node]:
        """Nodes behind a tensor, nearest first, through those that take images and vectors alike."""
        seen, todo = {name}, [name]
        for one in todo:
            for node in self.readers.get(one, ()):
                yield node
                if node.op.rpartition(".")[2] in _THROUGH:
                    todo += [made for made in node.outputs if made and made not in seen]
                    seen.update(node.outputs)

    def input(self, place: int, item: OnnxInput) -> None:
        """An input: images channels last."""
        rank = len(item.shape)
        behind = next((n for n in self._after(item.name) if n.op.rpartition(".")[2] not in _THROUGH), None)
        is_image = rank in (3, 4) and behind is not None and behind.op.rpartition(".")[2] in _IMAGE
        axes = image_axes(rank) if is_image else tuple(range(rank))
        layout, shape = Layout.of(item.shape, axes), [item.shape[axis] for axis in axes]
        if layout != Layout.of(item.shape):
            self.channels_last.add(item.name)
        try:
            if item.type in ("float16", "float32", "float64", "bfloat16"):
                self._floats(place, item, shape, layout)
                return
            numbers = self._said_of(item)
            kind = "" if numbers is None else self._own(numbers).type.lower()
            if numbers is None or item.type != kind:
                raise Refused(f"expected floats, or int8, uint8 or int16 of a known scale, got {item.type}")
            found = self.walk.stored(item.name, shape, layout, self._own(numbers))
            self.walk.items[item.name] = self.walk.signed(found, numbers)
            self.inputs[place] = found.tensor
        except Refused as reason:
            raise self.error(f"input {item.name!r}: {reason}") from None

    def _floats(self, place: int, item: OnnxInput, shape: list[int], layout: Layout) -> None:
        """A float input, which waits for QuantizeLinear as a result does: the caller gives the integers behind it."""
        walk = self.walk
        found: dict[Numbers, Stored] = {}

        def make(goal: Goal) -> Stored:
            if found and goal.numbers not in found:
                raise Refused("an input that is quantised in two ways")
            if not found:
                made = walk.stored(item.name, shape, layout, self._own(goal.numbers))
                self.inputs[place] = made.tensor
                found[goal.numbers] = walk.signed(made, goal.numbers)
            return found[goal.numbers]

        walk.items[item.name] = Waiting(-1, item.shape, make)

    @staticmethod
    def _own(numbers: Numbers) -> Numbers:
        """As the file has them: bytes from 0 on where it says so."""
        if not numbers.is_unsigned:
            return numbers
        return replace(numbers, type="UINT8", zero_point=numbers.zero_point + 128)

    def _said_of(self, item: OnnxInput) -> Numbers | None:
        """The numbers of an input of integers, by what reads it."""
        names = [item.name]
        for one in names:
            for node in self.readers.get(one, ()):
                place = node.inputs.index(one)
                if node.op in ("ConvInteger", "MatMulInteger"):
                    raise Refused(f"{node}: {DYNAMIC}")
                if node.op in OPERATORS and place + 1 < len(node.inputs):
                    scale, zero = ([*node.inputs, ""][place + more] for more in (1, 2))
                    items = [self.walk.items.get(part) for part in (scale, zero)]
                    if items[0] is not None:
                        return numbers_of(items[0], items[1], scale, item.type)
                elif node.op in MOVES or node.op == "MaxPool":
                    names += [made for made in node.outputs if made and made not in names]
        return None

    def output(self, name: str) -> int:
        """An output: as it is stored if it is an image, else as the file has it."""
        walk, item = self.walk, self.walk.items.get(name)
        try:
            if isinstance(item, Waiting):
                if item.default is None:
                    maker = self.network.nodes[item.node] if item.node >= 0 else "the input"
                    raise Refused(
                        f"floats that {maker} gives: expected QuantizeLinear and DequantizeLinear behind it, whose "
                        "scale the result needs"
                    )
                item = Real(walk.quantised(item, item.default, name))
            if isinstance(item, Curve):
                item = Real(walk.rounded(item, name))
            if isinstance(item, Constant):
                raise Refused("expected what depends on an input, got a constant")
            if item is None:
                raise Refused("expected the result of an operator, got none")
            return self._as_given(item.base if isinstance(item, Real) else item, name).tensor
        except Refused as reason:
            raise self.error(f"output {name!r}: {reason}") from None

    def _as_given(self, value: Stored, name: str) -> Stored:
        """In the caller's order and type, as a tensor of its own."""
        walk, shape = self.walk, value.layout.shape
        rank = len(shape)
        is_image = rank in (3, 4) and value.layout.order == value.layout.by_axes(image_axes(rank))
        axes = image_axes(rank) if is_image else tuple(range(rank))
        index = walk.by_axes(value, axes)
        if value.layout.by_axes(axes) != value.layout.by_axes(range(rank)):
            self.channels_last.add(name)
        sizes = [shape[axis] for axis in axes]
        numbers, called = value.numbers, layer_of_output(name)
        if numbers.is_unsigned:
            made = walk.stored(name, sizes, value.layout, self._own(numbers))
            walk.op("QUANTIZE", [index], [made.tensor], name=called)
            return made
        made = walk.stored(name, sizes, value.layout, numbers)
        walk.op("RESHAPE", [index, walk.constant(sizes)], [made.tensor], name=called, new_shape=tuple(sizes))
        return made
