# SPDX-License-Identifier: Apache-2.0
"""Which of Arm's own CMSIS-NN 5.4.0 kernels a layer could use, and what each would do: the rules are those of
:func:`cmsisnn_x.cmsis.check`, here are only the arguments that a layer gives them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any, Literal

from cmsisnn_x import cmsis
from cmsisnn_x.layers import Layer

from ..base.errors import ModelError
from ..model import Model
from ..target import Target

Verdict = Literal["legal", "may fault", "wrong", "unsafe", "refused", "cannot"]

VERDICTS: Mapping[Verdict, str] = {
    "legal": "does what the layer means",
    "may fault": "right, but stores to addresses at which some compilers' code faults",
    "wrong": "returns success and other values than the layer means",
    "unsafe": "reads or writes outside its arrays, or does not return",
    "refused": "returns ARM_MATH_SIZE_MISMATCH (-3) and leaves the output as it was",
    "cannot": "has no arguments for this layer's shape",
}
"""Best to worst, and what each means."""

_OF_KIND: Mapping[str, Verdict] = {
    "mismatch": "refused",
    "unsafe": "unsafe",
    "wrong": "wrong",
    "fault": "may fault",
    "note": "legal",
}

_CONVOLUTIONS = {
    "q7": (
        "arm_convolve_1x1_HWC_q7_fast_nonsquare",
        "arm_convolve_HWC_q7_RGB",
        "arm_convolve_HWC_q7_fast",
        "arm_convolve_HWC_q7_fast_nonsquare",
        "arm_convolve_HWC_q7_basic",
        "arm_convolve_HWC_q7_basic_nonsquare",
    ),
    "q15": ("arm_convolve_HWC_q15_fast", "arm_convolve_HWC_q15_fast_nonsquare", "arm_convolve_HWC_q15_basic"),
}
_DEPTHWISE = ("arm_depthwise_separable_conv_HWC_q7", "arm_depthwise_separable_conv_HWC_q7_nonsquare")
_FULLY_CONNECTED = {
    ("q7", "q7"): "arm_fully_connected_q7",
    ("q15", "q15"): "arm_fully_connected_q15",
    ("q15", "q7"): "arm_fully_connected_mat_q7_vec_q15",
}
_POOLS = {"max_pool2d": "arm_maxpool_q7_HWC", "avg_pool2d": "arm_avepool_q7_HWC"}
_TYPES = {"sigmoid": cmsis.ARM_SIGMOID, "tanh": cmsis.ARM_TANH}


@dataclass(frozen=True)
class Judged:
    """One of Arm's functions for one layer or call.

    Attributes
    ----------
    numbers : mapping
        Its scalar arguments by Arm's names; empty where the shape cannot be said with them.
    reasons, notes : tuple of str
        What speaks against it, and the conditions under which it is right.
    scratch_bytes : int
        What its scratch argument must hold.
    """

    function: str
    numbers: Mapping[str, int]
    verdict: Verdict
    reasons: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    scratch_bytes: int = 0

    def to_dict(self) -> dict[str, Any]:
        return {
            "function": self.function,
            "verdict": self.verdict,
            "arguments": dict(self.numbers),
            "reasons": list(self.reasons),
            "notes": list(self.notes),
            "scratch_bytes": self.scratch_bytes,
        }


@dataclass(frozen=True)
class LayerCheck:
    """Arm's kernels for one layer, fastest first; `activation` is the further call that a fused ReLU needs."""

    layer: Layer
    kernels: tuple[Judged, ...]
    activation: Judged | None = None

    @property
    def best(self) -> Judged | None:
        """The fastest kernel that is right; None if Arm has none."""
        if self.activation is not None and self.activation.verdict != "legal":
            return None
        return next((item for item in self.kernels if item.verdict == "legal"), None)


def profile_of(target: Target) -> Literal["dsp", "scalar"]:
    """Which of Arm's two code paths a core runs."""
    return "dsp" if target.dsp else "scalar"


def check_model(model: Model, target: Target) -> tuple[LayerCheck, ...]:
    """Judge Arm's kernels for every layer of a model.

    Raises
    ------
    ModelError
        The model has zero points: the kernels of release 5.4.0 know none.
    """
    if model.arithmetic is not None:
        raise ModelError(f"{model.path}: expected a model of q7 or q15, which Arm's kernels of 5.4.0 are for, got int8")
    return tuple(check_layer(layer, target) for layer in model.layers)


def check_layer(layer: Layer, target: Target) -> LayerCheck:
    """Judge every kernel that Arm has for a layer's operation and types; none at all is an empty tuple."""
    kernels = tuple(_judge_layer(function, layer, target) for function in kernels_of(layer))
    relu = None
    if layer.activation == "relu":
        relu = judge(f"arm_relu_{layer.dtype}", {"size": prod(layer.output_shape)}, target)
    return LayerCheck(layer, kernels, relu)


def kernels_of(layer: Layer) -> tuple[str, ...]:
    """Arm's functions for a layer's operation and types, fastest first."""
    weights = layer.weights_dtype or layer.dtype
    if layer.op == "conv2d":
        return _CONVOLUTIONS[layer.dtype] if weights == layer.dtype else ()
    if layer.op == "depthwise_conv2d":
        return _DEPTHWISE if layer.dtype == "q7" else ()
    if layer.op == "fully_connected":
        name = _FULLY_CONNECTED.get((layer.dtype, weights))
        return (f"{name}_opt", name) if name else ()
    if layer.op in _POOLS:
        return (_POOLS[layer.op],) if layer.dtype == "q7" else ()
    if layer.op in _TYPES:
        return (f"arm_nn_activations_direct_{layer.dtype}",)
    return (f"arm_{layer.op}_{layer.dtype}",)


def judge(function: str, numbers: Mapping[str, int], target: Target) -> Judged:
    """Judge one call by its scalar arguments.

    Raises
    ------
    ValueError
        No such function, or an argument that is missing or unknown.
    """
    profile = profile_of(target)
    found = cmsis.check(function, profile=profile, **numbers)
    verdicts = list(VERDICTS)
    worst = [_OF_KIND[item.kind] for item in found]
    verdict: Verdict = max(worst, key=verdicts.index) if worst else "legal"
    reasons = tuple(item.text for item in found if item.kind != "note")
    notes = tuple(item.text for item in found if item.kind == "note")
    scratch = cmsis.scratch_bytes(function, profile=profile, **numbers)
    return Judged(function, numbers, verdict, reasons, notes, scratch)


def _judge_layer(function: str, layer: Layer, target: Target) -> Judged:
    problem = _inexpressible(function, layer)
    if problem:
        return Judged(function, {}, "cannot", (problem,))
    return judge(function, _numbers(function, layer), target)


def _inexpressible(function: str, layer: Layer) -> str | None:
    """Functions with one argument for both axes take square layers only."""
    names = cmsis.argument_names(function)
    if "dim_im_in" not in names:
        return None
    (top, _), (left, _) = layer.padding
    sides: Iterable[tuple[str, tuple[int, int]]] = (
        ("input", layer.image[:2]),
        ("kernel", layer.kernel),
        ("stride", layer.stride),
        ("padding", (top, left)),
        ("output", layer.output_image[:2]),
    )
    for what, (y, x) in sides:
        if y != x:
            return f"square only: the {what} is {y} high and {x} wide"
    return None


def _numbers(function: str, layer: Layer) -> dict[str, int]:
    """The scalar arguments, by Arm's names."""
    (height, width, channels), (out_h, out_w, out_ch) = layer.image, layer.output_image
    (top, _), (left, _) = layer.padding
    by_axis = {
        "dim_im_in": (height, width),
        "dim_kernel": layer.kernel,
        "padding": (top, left),
        "stride": layer.stride,
        "dim_im_out": (out_h, out_w),
    }
    known = {
        "ch_im_in": channels,
        "ch_im_out": out_ch,
        "bias_shift": layer.bias_shift,
        "out_shift": layer.out_shift,
        "dim_vec": prod(layer.input_shape),
        "num_of_rows": prod(layer.output_shape),
        "size": prod(layer.input_shape),
        "int_width": layer.int_bits,
        "type": _TYPES.get(layer.op, 0),
    }
    for name, (y, x) in by_axis.items():
        known |= {name: x, f"{name}_y": y, f"{name}_x": x}
    return {name: known[name] for name in cmsis.scalar_names(function)}
