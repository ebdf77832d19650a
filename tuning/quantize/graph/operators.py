# SPDX-License-Identifier: Apache-2.0
"""Which ONNX operators a float graph may have, and what kind each is of."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

import numpy as np

from ...importers.integer_graph import Refused
from ...importers.onnx.file import Node
from ...importers.onnx.quantised.products import windows_of
from ...importers.onnx.quantised.reduce import pool_windows

MOVES = frozenset((
    "DepthToSpace", "Gather", "GlobalMaxPool", "MaxPool", "Pad", "ReduceMax", "Reshape", "Resize", "Slice",
    "SpaceToDepth", "Split", "Transpose", "Upsample",
))  # fmt: skip
"""They give what they read, elsewhere: integers keep their scale."""
UNARY = frozenset((
    "Abs", "Atan", "Ceil", "Celu", "Clip", "Cos", "Elu", "Erf", "Exp", "Floor", "Gelu", "HardSigmoid", "HardSwish",
    "LeakyRelu", "Log", "Mish", "Neg", "Reciprocal", "Relu", "Round", "Selu", "Shrink", "Sigmoid", "Sign", "Sin",
    "Softplus", "Softsign", "Sqrt", "Swish", "Tanh", "ThresholdedRelu",
))  # fmt: skip
"""Functions of one number."""
PAIRS = frozenset((
    "Add", "Div", "Max", "Min", "Mul", "Pow", "Sub",
))  # fmt: skip
"""Of two tensors, or of one and a number."""
WEIGHTED = frozenset(("Conv", "Gemm", "MatMul"))
OTHERS = frozenset((
    "AveragePool", "BatchNormalization", "Concat", "GlobalAveragePool", "ReduceMean", "Softmax",
))  # fmt: skip
SPELLINGS = frozenset((
    "Cast", "ConvTranspose", "Dropout", "Expand", "Flatten", "Identity", "LogSoftmax", "PRelu", "ReduceSum", "Shape",
    "Squeeze", "Sum", "Unsqueeze",
))  # fmt: skip
"""What becomes one of the others, or nothing."""
TAKEN = MOVES | UNARY | PAIRS | WEIGHTED | OTHERS | SPELLINGS
FOLDED = frozenset((
    "And", "Clip", "Cos", "Equal", "Erf", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Log", "Mod", "Not",
    "Or", "Round", "ScatterND", "Shape", "Sigmoid", "Sign", "Sin", "Size", "Softmax", "Tanh", "Trilu", "Where",
    "Xor",
))  # fmt: skip
"""Of constants, beside `onnx_file.FOLDABLE`."""
WIDE = ("Clip", "HardSigmoid", "HardSwish", "LeakyRelu", "Neg", "Relu", "Sigmoid", "Tanh")
"""Functions that int16 has kernels for, or that are made of such."""
MOST_ELEMENTS = 1 << 24
"""Of a tensor of one sample: well above what a microcontroller computes."""
LIMITS = ("Clip", "Max", "Min")
COMMUTING = frozenset(("MaxPool", "GlobalMaxPool", "ReduceMax", "Reshape", "Transpose"))
"""Moves that a Relu or Clip may change places with."""

_OUTSIDE = "let the network end in front of it (--output NAME), and do it in the firmware's own code"
_RECURRENT = "causal convolutions over a window of the past are taken"
_NORM = "its numbers are computed while it runs: BatchNormalization is taken"
HELP = {
    "ArgMax": _OUTSIDE,
    "ArgMin": _OUTSIDE,
    "GRU": _RECURRENT,
    "GroupNormalization": _NORM,
    "If": "export one branch",
    "InstanceNormalization": _NORM,
    "LRN": _NORM,
    "LSTM": _RECURRENT,
    "LayerNormalization": _NORM,
    "LpPool": "MaxPool and AveragePool are taken",
    "Loop": "let the exporter unroll it",
    "NonMaxSuppression": _OUTSIDE,
    "RNN": _RECURRENT,
    "TopK": _OUTSIDE,
    "Where": "Max, Min and Clip are taken",
}
"""What would help where an operator has no kernel."""


def takes(
    node: Node, values: Mapping[str, np.ndarray], constants: Mapping[str, np.ndarray], is_wide: bool
) -> str | None:
    """Why a node is not taken, as far as it and its inputs tell; the rest is found when it becomes integers."""
    if node.op in ("Conv", "Gemm", "MatMul") and node.inputs[1] not in constants:
        return f"its weights {node.inputs[1]!r} are computed: a product of two such tensors is not taken"
    numbers = [constants[name] for name in node.inputs if name in constants and constants[name].dtype.kind == "f"]
    # Limits alone may be without end.
    if any(np.isnan(one).any() if node.op in LIMITS else not np.isfinite(one).all() for one in numbers):
        return "a constant of NaN or infinity"
    if node.op == "Conv":
        _require_windows(node, values[node.inputs[0]].shape, constants[node.inputs[1]].shape)
    if node.op in ("AveragePool", "MaxPool"):
        pool_windows(node, values[node.inputs[0]].shape)
    if (size := _elements(node, values, constants)) > MOST_ELEMENTS:
        return f"{size:,} numbers of one sample: expected at most {MOST_ELEMENTS:,}"
    if node.op == "Conv" and len(node.inputs) > 2 and node.inputs[2] and node.inputs[2] not in constants:
        return f"its bias {node.inputs[2]!r} is computed"
    if is_wide and node.op in UNARY and node.op not in WIDE:
        return f"a function of int16: {', '.join(WIDE)} can be taken; int8 takes any"
    if is_wide and node.op == "Pow":
        return "a power of int16; int8 takes it"
    if node.op == "Pow" and node.inputs[1] not in constants:
        return "an exponent that is computed"
    if node.op == "Div" and node.inputs[1] not in constants and not is_curve_pair(node, values):
        return "a division by a tensor: a number, or one for each channel, can be taken"
    return None


def _elements(node: Node, values: Mapping[str, np.ndarray], constants: Mapping[str, np.ndarray]) -> int:
    """Of a result, or of the image with its frame, before anything of that size is made."""
    given = [values[name] if name in values else constants[name] for name in node.inputs if name]
    shape = given[0].shape
    if node.op in PAIRS:
        return prod(np.broadcast_shapes(*(one.shape for one in given)))
    if node.op == "Concat":
        return sum(one.size for one in given)
    if node.op in ("Conv", "AveragePool", "MaxPool"):
        pads = [int(value) for value in node.attributes.get("pads") or ()]
        sides = zip(shape[2:], pads[: len(shape) - 2], pads[len(shape) - 2 :], strict=False)
        return prod(shape[:2]) * prod([size + before + after for size, before, after in sides] or [1])
    if node.op == "Pad":
        amounts = given[1] if len(given) > 1 else np.asarray(node.attributes.get("pads") or (), np.int64)
        return prod(shape) + int(np.abs(amounts.astype(np.float64)).max(initial=0)) * prod(shape)
    if node.op in ("Resize", "Upsample"):
        own = [one for one in given[1:] if one.size == len(shape)]
        scales = np.asarray(node.attributes.get("scales") or 1.0, np.float64)
        factors = [one.astype(np.float64) / (shape if one.dtype.kind == "i" else 1) for one in own] or [scales]
        return int(prod(shape) * min(max(float(np.prod(factor)) for factor in factors), 1e9))
    return prod(shape)


def _require_windows(node: Node, shape: tuple[int, ...], weights: tuple[int, ...]) -> None:
    """Refuse windows, groups and weights that do not fit an image."""
    if len(weights) > 4:
        raise Refused(f"expected windows of one or two axes, got {len(weights) - 2}")
    if len(shape) not in (3, 4) or len(weights) != len(shape) or 0 in weights:
        raise Refused(f"weights of shape {list(weights)} do not fit an input of {list(shape)}")
    is_1d = len(shape) == 3
    size = (1, shape[2]) if is_1d else (shape[2], shape[3])
    windows_of(node, weights[2:], size, is_1d).count(size)
    groups = int(node.attributes.get("group") or 1)
    if groups < 1 or weights[1] * groups != shape[1] or weights[0] % groups:
        raise Refused(f"weights of shape {list(weights)}, group {groups}, do not fit {shape[1]} channels")


def is_curve_pair(node: Node, values: Mapping[str, np.ndarray]) -> bool:
    """Whether an operator of two tensors may be a function of one number."""
    shapes = [values[name].shape for name in node.inputs if name in values]
    return bool(shapes) and all(shape == shapes[0] for shape in shapes)
