# SPDX-License-Identifier: Apache-2.0
"""What kernels take for granted of a layer: they read and write by its numbers, so each of them is looked at first."""

from __future__ import annotations

from collections.abc import Callable
from math import inf, prod

import numpy as np

from ._arguments import SOFTMAX_COLUMNS_MAX
from .affine import (
    MULTIPLIER_MAX,
    SHIFTS,
    Affine,
    AffineClamp,
    AffineMean,
    AffineProduct,
    AffineRescale,
    AffineSoftmax,
    AffineSum,
)
from .affine.curves import AffineCurve, AffineRealSoftmax, AffineSoftmax16
from .errors import CmsisnnError, DtypeError, ShapeError
from .layers import NUMPY_DTYPES, Layer, View
from .op import NETWORK_OPS
from .scheme import POW2_TYPES

AXES_MAX = 6
"""Of a view."""


def require(layer: Layer, holds: bool, expected: str, got: object, error: type[CmsisnnError] = CmsisnnError) -> None:
    """Raise `error`, which names the layer, unless `holds`."""
    if not holds:
        raise error(f"layer {layer.name!r}: expected {expected}, got {got}")


def check_layer(layer: Layer) -> None:
    """Check all of a layer but its weights, bias and table."""
    require(layer, layer.op in NETWORK_OPS, f"op in {', '.join(NETWORK_OPS)}", repr(layer.op))
    row, image, result = layer.row, layer.image, layer.output_image
    types = tuple(dict.fromkeys(one[0] for one in row.types))
    if layer.type.is_affine or row.roles[0] != "x":
        types = tuple(name for name in types if name not in POW2_TYPES) or types
    require(layer, layer.dtype in types, f"dtype in {', '.join(types)} for {layer.op}", layer.dtype, DtypeError)
    # At the far edges padding is what the output size implies, negative where pixels are left over.
    first = [before for before, _ in layer.padding]
    rectifies = layer.activation == "relu" and row.is_weighted
    require(layer, min(*image, *result) > 0, "positive sizes", (layer.input_shape, layer.output_shape), ShapeError)
    require(layer, min(*layer.kernel, *layer.stride) > 0, "positive kernel and stride", (layer.kernel, layer.stride))
    require(layer, min(first) >= 0, "padding of at least 0 at the top and left", layer.padding)
    require(layer, layer.samples > 0, "at least one sample", layer.samples)
    if problem := layer.requant.problem:
        raise CmsisnnError(f"layer {layer.name!r}: {problem}")
    require(layer, 0 <= layer.int_bits <= 3, "int_bits in 0..3", layer.int_bits)
    legal = "activation None, or 'relu' where there are weights"
    require(layer, layer.activation is None or rectifies, legal, layer.activation)
    if layer.type.is_affine:
        _check_affine(layer)
    else:
        require(layer, layer.scheme is None, f"no zero points of {layer.dtype}", layer.scheme)
        require(layer, layer.samples == 1, f"one sample of {layer.dtype}", layer.samples)
        same = row.is_weighted or row.is_windowed or prod(image) == prod(result)
        require(layer, same, f"output shape {layer.input_shape}", layer.output_shape, ShapeError)
        if (most := row.most_elements) is not None:
            require(layer, prod(image) <= most, f"at most {most} elements", layer.input_shape, ShapeError)
    _check_windows(layer, first)
    if problem := row.problem(layer):
        raise ShapeError(f"layer {layer.name!r}: {problem}")


def _check_windows(layer: Layer, first: list[int]) -> None:
    row, image, result = layer.row, layer.image, layer.output_image
    grouped = layer.groups > 0 and image[2] % layer.groups == 0 and result[2] % layer.groups == 0
    require(layer, grouped, "groups that divide the channels", layer.groups)
    require(layer, min(layer.dilation) > 0, "positive dilation", layer.dilation)
    plain = row.is_windowed and row.is_weighted and layer.type.is_affine
    require(layer, layer.dilation == (1, 1) or plain, f"no dilation of {layer.op} {layer.dtype}", layer.dilation)
    plain = plain and "out_channels" in row.attributes
    require(layer, layer.groups == 1 or plain, f"one group of {layer.op} {layer.dtype}", layer.groups)
    if row.is_windowed and "out_channels" not in row.attributes:
        require(layer, image[2] == result[2], "as many channels as the input", layer.output_shape, ShapeError)
    if row.is_windowed and not row.is_weighted:
        for axis in (0, 1):
            last = (result[axis] - 1) * layer.stride[axis] - first[axis]
            meets = first[axis] < layer.kernel[axis] and last < image[axis]
            require(layer, meets, "windows that meet the image", layer, ShapeError)


# ---------------------------------------------------------------- with zero points


def _check_affine(layer: Layer) -> None:
    row, scheme = layer.row, layer.scheme
    wanted = SCHEMES[row.name]
    known = " or ".join("None" if one is None else one.__name__ for one in wanted)
    is_one = scheme is None if scheme is None and None in wanted else isinstance(scheme, tuple(filter(None, wanted)))
    require(layer, is_one, f"a scheme of {known}", scheme)
    if row.name not in ("look_up", "requantise", "softmax"):
        require(layer, layer.output_type == layer.type, f"output type {layer.dtype}", layer.output_dtype, DtypeError)
    if scheme is not None:
        _check_scheme(layer)
    RULES.get(row.name, _same_size if not row.is_weighted and not row.is_windowed else _nothing)(layer)


def _check_scheme(layer: Layer) -> None:
    scheme, own, result = layer.scheme, layer.type, layer.output_type
    assert scheme is not None
    ordered = result.low <= scheme.low <= scheme.high <= result.high
    require(layer, ordered, f"a range within that of {result.name}", (scheme.low, scheme.high))
    for name, of in (
        ("input_zero_point", own), ("output_zero_point", result), ("left_zero_point", own), ("right_zero_point", own),
        ("fill", own),
    ):  # fmt: skip
        point = getattr(scheme, name, 0)
        require(layer, of.low <= point <= of.high or point == 0, f"{name} of {of.name}", point)
    parts = [scheme, *(getattr(scheme, name) for name in ("left", "right") if hasattr(scheme, name))]
    for part in parts:
        multiplier, shift = getattr(part, "multiplier", 0), getattr(part, "shift", 0)
        if isinstance(multiplier, int) and not isinstance(scheme, AffineCurve | AffineSoftmax):
            legal = 0 <= multiplier <= MULTIPLIER_MAX and SHIFTS[0] <= shift <= SHIFTS[1]
            require(layer, legal, f"a multiplier in 0..{MULTIPLIER_MAX} and a shift in {SHIFTS}", (multiplier, shift))
    if isinstance(scheme, AffineRescale) and scheme.below is not None:
        multiplier, shift = scheme.below
        legal = abs(multiplier) <= MULTIPLIER_MAX and SHIFTS[0] <= shift <= SHIFTS[1]
        require(layer, legal, f"a multiplier of at most {MULTIPLIER_MAX} and a shift in {SHIFTS}", scheme.below)
    if isinstance(scheme, AffineCurve):
        legal = scheme.kind == layer.op and 0 <= scheme.multiplier < 2**15 and 0 <= scheme.shift <= 31
        require(layer, legal, f"a curve of {layer.op}, 15 bits and a shift in 0..31", scheme)
    if isinstance(scheme, Affine):
        _check_channels(layer, scheme)


def _check_channels(layer: Layer, scheme: Affine) -> None:
    channels = layer.output_image[2]
    require(layer, scheme.bits == layer.type.bits, f"a scheme of {layer.type.bits} bits", scheme.bits)
    counted = len(scheme.multiplier) in (1, channels) and len(scheme.reals) in (0, 1, channels)
    require(layer, counted, f"1 or {channels} multipliers", len(scheme.multiplier), ShapeError)
    if scheme.bits == 16:
        require(layer, max(scheme.shift) <= 14, "shifts of at most 14 with 16 bits", max(scheme.shift))
        points = (scheme.input_zero_point, scheme.output_zero_point)
        require(layer, points == (0, 0), "zero points 0 with 16 bits", points)


def _nothing(layer: Layer) -> None:
    pass


def _same_size(layer: Layer) -> None:
    sizes = prod(layer.input_shape), prod(layer.output_shape)
    require(layer, sizes[0] == sizes[1], f"output shape {layer.input_shape}", layer.output_shape, ShapeError)


def _pair(layer: Layer) -> None:
    _same_size(layer)
    require(layer, len(layer.more_inputs) == 1, "two inputs", 1 + len(layer.more_inputs))
    count, period = prod(layer.input_shape), prod(layer.more_inputs[0])
    fits = period > 0 and count % period == 0
    require(layer, fits, f"a second input whose size divides {count}", layer.more_inputs[0], ShapeError)
    if isinstance(layer.scheme, AffineSum):
        legal = 0 <= layer.scheme.left_shift <= 30 and layer.scheme.sign in (1, -1)
        require(layer, legal, "a left shift in 0..30 and a sign", (layer.scheme.left_shift, layer.scheme.sign))


def _mean(layer: Layer) -> None:
    shape = layer.input_shape
    require(layer, len(shape) == 3, "an input (outer, reduced, inner)", shape, ShapeError)
    fits = prod(layer.output_shape) == shape[0] * shape[2]
    require(layer, fits, f"output shape {(shape[0], 1, shape[2])}", layer.output_shape, ShapeError)
    count = layer.scheme.count if isinstance(layer.scheme, AffineMean) else 0
    require(layer, count == shape[1], f"a mean of {shape[1]} elements", count)


def _softmax(layer: Layer) -> None:
    _same_size(layer)
    most = f"at most {SOFTMAX_COLUMNS_MAX} columns"
    require(layer, layer.input_shape[-1] <= SOFTMAX_COLUMNS_MAX, most, layer.input_shape, ShapeError)
    if isinstance(layer.scheme, AffineSoftmax16) or layer.dtype == "int16":
        legal = isinstance(layer.scheme, AffineSoftmax16) and layer.dtype == layer.output_type.name == "int16"
        require(layer, legal, "16 bits in and out, or a scheme of 8 bits", (layer.dtype, layer.scheme))
        return
    if isinstance(layer.scheme, AffineRealSoftmax):
        scheme = layer.scheme
        legal = layer.output_type == layer.type and 0 < scheme.scale < inf and -128 <= scheme.output_zero_point <= 127
        require(layer, legal, "int8 in and out, a positive scale and a zero point of int8", scheme)
        require(layer, scheme.columns == layer.input_shape[-1], "the row's columns in the scheme", scheme, ShapeError)
        return
    assert isinstance(layer.scheme, AffineSoftmax)
    bits, shift = layer.output_type.bits, layer.scheme.shift
    legal = layer.output_type.name in ("int8", "int16") and layer.scheme.bits == bits
    require(layer, legal, f"an output of {layer.scheme.bits} bits", layer.output_type.name, DtypeError)
    require(layer, 0 <= shift <= 31, "a scale of at least 2^-26: a shift in 0..31", shift)
    multiplier = layer.scheme.multiplier
    require(layer, 0 <= multiplier <= MULTIPLIER_MAX, f"a multiplier in 0..{MULTIPLIER_MAX}", multiplier)


def _concat(layer: Layer) -> None:
    shapes = layer.input_shapes
    fits = all(len(shape) == 2 and shape[0] == shapes[0][0] and shape[1] > 0 for shape in shapes)
    require(layer, fits, "inputs (outer, inner) of one outer size", shapes, ShapeError)
    total = sum(prod(shape) for shape in shapes)
    require(layer, prod(layer.output_shape) == total, f"an output of {total} elements", layer.output_shape, ShapeError)


def _moved(layer: Layer) -> None:
    """A copy reads the elements of its view, a pad writes them."""
    view, sizes = layer.view, [prod(layer.input_shape), prod(layer.output_shape)]
    require(layer, view is not None, "a view", None)
    assert view is not None
    inner, outer = sizes if layer.op == "pad" else reversed(sizes)
    axes = len(view.shape) == len(view.steps) <= AXES_MAX and min(view.shape, default=1) > 0
    require(layer, axes, f"a view of at most {AXES_MAX} axes", view, ShapeError)
    require(layer, prod(view.shape) == inner, f"a view of {inner} elements", view, ShapeError)
    least, most = reach(view)
    require(layer, least >= 0 and most < outer, f"a view within 0..{outer - 1}", (least, most), ShapeError)


def reach(view: View) -> tuple[int, int]:
    """The least and the largest element of a view."""
    ways = [(size - 1) * step for size, step in zip(view.shape, view.steps, strict=True)]
    return view.offset + sum(min(way, 0) for way in ways), view.offset + sum(max(way, 0) for way in ways)


def _resize(layer: Layer) -> None:
    require(layer, len(layer.output_shape) == 3, "an image", layer.output_shape, ShapeError)


SCHEMES: dict[str, tuple[type | None, ...]] = {
    "convolve": (Affine,), "depthwise_convolve": (Affine,), "fully_connected": (Affine,),
    "max_pool": (AffineClamp,), "avg_pool": (AffineClamp,), "maximum": (AffineClamp,), "minimum": (AffineClamp,),
    "add": (AffineSum,), "multiply": (AffineProduct,), "mean": (AffineMean,), "requantise": (AffineRescale,),
    "softmax": (AffineSoftmax, AffineSoftmax16, AffineRealSoftmax), "pad": (AffineClamp,), "sigmoid": (AffineCurve,),
    "tanh": (AffineCurve,),
    **dict.fromkeys(("look_up", "concat", "copy", "resize_nearest"), (AffineClamp, None)),
}  # fmt: skip
"""What operations with zero points compute with."""
RULES: dict[str, Callable[[Layer], None]] = {
    "add": _pair, "multiply": _pair, "maximum": _pair, "minimum": _pair, "mean": _mean, "softmax": _softmax,
    "concat": _concat, "copy": _moved, "pad": _moved, "resize_nearest": _resize,
}  # fmt: skip


# ---------------------------------------------------------------- constants


def checked_constants(layer: Layer) -> dict[str, np.ndarray]:
    """Weights, bias and table of a layer that is checked as a whole: what the kernels read is exactly what they expect.
    Without a bias, zeros are taken.
    """
    check_layer(layer)
    arrays: dict[str, np.ndarray] = {}
    for role, shape in layer.row.constants(layer).items():
        array = getattr(layer, role)
        if role == "bias" and array is None:
            continue
        require(layer, array is not None, role, None)
        types = _legal_types(layer, role, arrays)
        array = np.ascontiguousarray(array)
        expected = f"{role} of type {' or '.join(map(str, types))}"
        require(layer, array.dtype in types, expected, array.dtype, DtypeError)
        require(layer, array.shape == shape, f"{role} of shape {shape}", array.shape, ShapeError)
        arrays[role] = array
    if layer.op == "resize_nearest":
        rows, cols = np.split(arrays["table"].astype(np.int64), [layer.output_image[0]])
        last = int(rows.max() + cols.max()) + layer.output_image[2]
        within = int(rows.min() + cols.min()) >= 0 and last <= prod(layer.input_shape)
        require(layer, within and rows.min() >= 0 <= cols.min(), "offsets within the input", last, ShapeError)
    return arrays


def _legal_types(layer: Layer, role: str, arrays: dict[str, np.ndarray]) -> list[np.dtype]:
    if role == "table":
        return [np.dtype(np.int32) if layer.op == "resize_nearest" else layer.output_type.dtype]
    if role == "bias":
        return [layer.bias_dtype if layer.type.is_affine else arrays["weights"].dtype]
    return [NUMPY_DTYPES[name] for name in layer.row.weights_types(layer.dtype)]
