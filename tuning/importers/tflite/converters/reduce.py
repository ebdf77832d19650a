# SPDX-License-Identifier: Apache-2.0
"""Operators that reduce: pooling, mean, softmax."""

from __future__ import annotations

from dataclasses import replace
from math import prod

import numpy as np

from cmsisnn_x.affine import (
    AffineClamp,
    AffineMean,
    AffineSoftmax,
    kernel_multiplier,
)
from cmsisnn_x.affine.curves import AffineRealSoftmax, AffineSoftmax16
from cmsisnn_x.layers import View
from cmsisnn_x.scheme import TENSOR_TYPES

from ...integer_graph import Quantised, Refused, strides_of
from ..context import Context, Probabilities
from ..file import FileOp
from .common import (
    Converter,
    limits_of,
    require_alike,
    require_type,
    require_zero,
    windows_of,
)

# ---------------------------------------------------------------- windows and reductions without weights


LONGEST_ROW = 4095
"""Of a softmax: exponentials are summed in 32 bits."""


def _pool(kind: str) -> Converter:
    def convert(walk: Context, op: FileOp) -> None:
        x, out = walk.input(op), walk.output(op)
        require_type(x, "int8", "int16")
        require_alike(x, out)
        kernel = (op.options["filter_height"], op.options["filter_width"])
        if min(kernel) < 1:
            raise Refused(f"expected a window from 1x1 on, got {kernel}")
        fields = windows_of(op, x, out, kernel)
        scheme = AffineClamp(*limits_of(op, out), x.zero_point)
        walk.builder.add(walk.name(op, kind), kind, [x], out, scheme=scheme, **fields)
        walk.become(op, out)

    return convert


def _mean(walk: Context, op: FileOp) -> None:
    x, out = walk.input(op), walk.output(op)
    require_type(x, "int8", "int16")
    require_type(out, x.type)
    rank = len(x.shape)
    axes = {axis + rank if axis < 0 else axis for axis in walk.numbers(op, 1, "axes")}
    if not axes <= set(range(rank)):
        raise Refused(f"expected axes of {x.shape}, got {sorted(axes)}")
    count = prod(x.shape[axis] for axis in axes)
    if x.size != count * out.size:
        raise Refused(f"axes {sorted(axes)} of {x.shape} do not give {out.shape}")
    kept = [axis for axis in range(rank) if axis not in axes and x.shape[axis] > 1]
    reduced = [axis for axis in sorted(axes) if x.shape[axis] > 1]
    before = [axis for axis in kept if not reduced or axis < reduced[0]]
    after = [axis for axis in kept if axis not in before]
    if reduced and any(axis < reduced[-1] for axis in after):  # what is reduced does not lie together
        steps = strides_of(x.shape)
        order = [*kept, *reduced]
        moved = replace(x, name=f"{out.name}_moved", value=None)
        view = View(tuple(x.shape[axis] for axis in order), tuple(steps[axis] for axis in order))
        walk.builder.copy(f"{walk.name(op, 'mean')}_moved", x, moved, view)
        x, before, after = moved, kept, []
        outer, inner = out.size, 1
    else:
        outer, inner = prod(x.shape[axis] for axis in before), prod(x.shape[axis] for axis in after)
    scheme = AffineMean.of(count, (x.scale, out.scale), (x.zero_point, out.zero_point), out.limits)
    walk.builder.add(
        walk.name(op, "mean"), "mean", [x], out, input_shape=(outer, count, inner), output_shape=(outer, 1, inner),
        scheme=scheme,
    )  # fmt: skip
    walk.become(op, out)


def _softmax(walk: Context, op: FileOp) -> None:
    beta = float(op.options["beta"])
    if not (np.isfinite(beta) and beta > 0):
        raise Refused(f"beta: expected a positive number, got {beta}")
    index = walk.source(op)
    if index in walk.floats and walk.floats[index].is_border:
        walk.softmaxes[op.outputs[0]] = Probabilities(walk.floats[index].item, beta)
        return
    x, out = walk.input(op), walk.output(op)
    require_type(x, "int8", "int16")
    fixed = {"int8": (2.0**-8, -128), "int16": (2.0**-16, -(2**15))}
    if x.type == "int16":
        fixed = {"int16": (2.0**-15, 0)}
        require_zero(x)
    if fixed.get(out.type) != (out.scale, out.zero_point):
        got = f"{out.type} {out.scale:g}, {out.zero_point}"
        legal = " or ".join(f"{name} {scale:g}, {zero_point}" for name, (scale, zero_point) in fixed.items())
        raise Refused(f"expected an output of {legal}, got {got}")
    if x.type == "int16":
        kernel_multiplier(x.scale * beta * 65535 / 10)
    columns = x.shape[-1] if x.shape else 1
    if columns > LONGEST_ROW:
        raise Refused(f"expected rows of at most {LONGEST_ROW} elements, whose sum fits 32 bits, got {columns}")
    shape = (x.size // columns, columns)
    scheme: AffineSoftmax | AffineSoftmax16 = AffineSoftmax.of(x.scale, beta, TENSOR_TYPES[out.type].bits)
    if x.type == "int16":
        scheme = AffineSoftmax16.of(x.scale, beta, walk.arithmetic)
    walk.builder.add(
        walk.name(op, "softmax"), "softmax", [x], out, input_shape=shape, output_shape=shape, scheme=scheme
    )  # fmt: skip
    walk.become(op, out)


def quantise_probabilities(walk: Context, op: FileOp, found: Probabilities, out: Quantised) -> None:
    """QUANTIZE behind a softmax of floats behind DEQUANTIZE."""
    x = found.item
    require_type(x, "int8")
    require_type(out, "int8")
    if out.scale != 2.0**-8:
        raise Refused(f"a softmax of floats: expected an output of int8 in steps of 2^-8, got {out.scale:g}")
    columns = x.shape[-1] if x.shape else 1
    if columns > LONGEST_ROW:
        raise Refused(f"expected rows of at most {LONGEST_ROW} elements, whose sum fits 32 bits, got {columns}")
    shape = (x.size // columns, columns)
    scheme = AffineRealSoftmax(x.scale * found.beta, columns, out.zero_point)
    walk.builder.add(
        walk.name(op, "softmax"), "softmax", [x], out, input_shape=shape, output_shape=shape, scheme=scheme
    )  # fmt: skip


CONVERTERS: dict[str, Converter] = {
    "AVERAGE_POOL_2D": _pool("avg_pool2d"),
    "MAX_POOL_2D": _pool("max_pool2d"),
    "MEAN": _mean,
    "SOFTMAX": _softmax,
}
