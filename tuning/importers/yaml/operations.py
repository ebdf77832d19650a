# SPDX-License-Identifier: Apache-2.0
"""The operations of model files with zero points, each as operators of `.tflite` files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import sqrt
from typing import Any

import numpy as np

from cmsisnn_x.scheme import TENSOR_TYPES

from . import moves
from .net import Net, Operation, Value, Wrong, image_of

FIXED = {
    ("sigmoid", "int8"): (2.0**-8, -128),
    ("sigmoid", "int16"): (2.0**-15, 0),
    ("tanh", "int8"): (2.0**-7, 0),
    ("tanh", "int16"): (2.0**-15, 0),
}
"""Scale and zero point that LiteRT gives the output."""
FIXED_SOFTMAX = {
    ("int8", "int8"): (2.0**-8, -128),
    ("int8", "int16"): (2.0**-16, -(2**15)),
    ("int16", "int16"): (2.0**-15, 0),
}
"""The same by the types of input and output."""
QUARTER = 4
"""Standard deviations from the middle of a range to its ends, where numbers are drawn."""


def fused(layer: Any) -> dict[str, Any]:
    return {"fused_activation_function": (getattr(layer, "activation", None) or "none").upper()}


def usual(type_: str, activation: str | None) -> tuple[float, int]:
    """Scale and zero point of outputs with a standard deviation of 1."""
    own = TENSOR_TYPES[type_]
    low = own.low if type_ == "int8" else 0
    if activation in ("relu", "relu6"):
        return float(np.float32((6 if activation == "relu6" else QUARTER) / (own.high - low))), low
    return (1 if activation == "relu_n1_to_1" else QUARTER) / (own.high + 1), 0


# ---------------------------------------------------------------- windows


def window(net: Net, layer: Any, x: Value, fill: int | None) -> tuple[dict[str, Any], Value, tuple[int, int]]:
    """Options, the input, and height and width of the output. Padding that `.tflite` files cannot say is a PAD of
    `fill` in front; None: there is none that would do.
    """
    size = image_of(net, x)[1:3]
    kernel, stride = layer.kernel, layer.stride or layer.kernel
    dilation = getattr(layer, "dilation", (1, 1))
    spans = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    same = [-(-n // s) for n, s in zip(size, stride, strict=True)]
    before = [
        max((count - 1) * s + span - n, 0) // 2 for count, s, span, n in zip(same, stride, spans, size, strict=True)
    ]
    padding = layer.padding
    pads = tuple(before) if padding == "same" else (0, 0) if padding == "valid" else padding
    room = [n + 2 * pad for n, pad in zip(size, pads, strict=True)]
    found = [(n - span) // s + 1 for n, span, s in zip(room, spans, stride, strict=True)]
    is_same = padding == "same" or (pads == tuple(before) and found == same and max(pads) > 0)
    out = same if is_same else found
    for axis in (0, 1):
        if out[axis] < 1:
            expected = f"a kernel of at most {room[axis]}" + (" with its dilation" if max(dilation) > 1 else "")
            raise Wrong("kernel", f"expected {expected}, got {spans[axis]}")
    if not is_same and max(pads) > 0:
        if any(pad >= span for pad, span in zip(pads, spans, strict=True)):
            raise Wrong("padding", f"expected padding below the kernel, got {list(pads)} for {spans}")
        if fill is None:
            raise Wrong("padding", f"expected 'valid', 'same', or what comes to the same as {before}, got {list(pads)}")
        x = padded(net, x, [(0, 0), *((pad, pad) for pad in pads), (0, 0)], fill)
    options = {
        "padding": "SAME" if is_same else "VALID", "stride_w": stride[1], "stride_h": stride[0], **fused(layer),
    }  # fmt: skip
    return options, x, (out[0], out[1])


def padded(net: Net, x: Value, amounts: Sequence[tuple[int, int]], fill: int) -> Value:
    shape = [before + n + after for n, (before, after) in zip(x.shape, amounts, strict=True)]
    made = net.value(f"{net.layer.name}/padded", shape, x.type, x.numbers)
    inputs = [x.index, net.integers("paddings", amounts)]
    if fill == x.zero_point:
        return net.add("PAD", inputs, [made], suffix="_pad")[0]
    value = np.array([fill], TENSOR_TYPES[x.type].dtype)
    inputs.append(net.tensor(f"{net.layer.name}/value", (1,), x.type, x.scale, x.zero_point, value))
    return net.add("PADV2", inputs, [made], suffix="_pad")[0]


def _dilated(layer: Any) -> dict[str, int]:
    return {"dilation_w_factor": layer.dilation[1], "dilation_h_factor": layer.dilation[0]}


# ---------------------------------------------------------------- products


def _weighted(
    net: Net, layer: Any, code: str, x: Value, stored: tuple[int, ...], axis: int, out: Value, options: dict[str, Any],
    file_shape: tuple[int, ...] | None = None, source: Value | None = None,
) -> list[Value]:  # fmt: skip
    """`stored` is the shape in the archive, output channels along `axis`; `file_shape` that of `.tflite` files."""
    weights, scales, bias = net.arrays.weights(layer, stored, axis, x, out)
    shape = file_shape or stored
    own_axis = axis + len(shape) - len(stored)
    kernel = net.tensor(f"{layer.name}/weights", shape, "int8", scales, 0, weights.reshape(shape), own_axis)
    inputs = [(source or x).index, kernel]
    if bias is not None:
        steps = (np.float64(x.scale) * scales.astype(np.float64)).astype(np.float32)
        usable = bool(np.all(np.isfinite(steps) & (steps > 0)))
        inputs.append(
            net.tensor(f"{layer.name}/bias", bias.shape, bias.dtype.name, steps if usable else (), 0, bias)
        )  # fmt: skip
    return net.add(code, inputs, [out], options)


def _numbers_of_products(net: Net, layer: Any, x: Value) -> tuple[float, int]:
    return net.numbers(x.type, None, lambda: usual(x.type, layer.activation))


def _bias_type(x: Value) -> dict[str, str]:
    return {"quantized_bias_type": "INT64" if x.type == "int16" else "INT32"}


def _conv2d(net: Net, layer: Any, inputs: Sequence[Value]) -> list[Value]:
    (x,) = inputs
    channels, groups = image_of(net, x)[3], layer.groups
    for key, count in (("groups", channels), ("out_channels", layer.out_channels)):
        if count % groups:
            what = "input" if key == "groups" else "output"
            raise Wrong(key, f"expected a number of {what} channels that {groups} groups divide, got {count}")
    options, source, size = window(net, layer, x, x.zero_point)
    out = net.out((x.shape[0], *size, layer.out_channels), x.type, _numbers_of_products(net, layer, x))
    shape = (layer.out_channels, *layer.kernel, channels // groups)
    return _weighted(
        net, layer, "CONV_2D", x, shape, 0, out, options | _dilated(layer) | _bias_type(x), source=source
    )  # fmt: skip


def _depthwise_conv2d(net: Net, layer: Any, inputs: Sequence[Value]) -> list[Value]:
    (x,) = inputs
    channels = image_of(net, x)[3]
    out_channels = layer.out_channels or channels
    if out_channels % channels:
        raise Wrong("out_channels", f"expected a multiple of the input's {channels} channels, got {out_channels}")
    options, source, size = window(net, layer, x, x.zero_point)
    out = net.out((x.shape[0], *size, out_channels), x.type, _numbers_of_products(net, layer, x))
    stored = (*layer.kernel, out_channels)
    options |= {**_dilated(layer), "depth_multiplier": out_channels // channels}
    return _weighted(net, layer, "DEPTHWISE_CONV_2D", x, stored, 2, out, options, (1, *stored), source)


def _fully_connected(net: Net, layer: Any, inputs: Sequence[Value]) -> list[Value]:
    (x,) = inputs
    if layer.keep_num_dims:
        if not net.own_shape(x.shape):
            raise Wrong("keep_num_dims", "expected an input with axes, got a scalar")
        shape, columns = (*x.shape[:-1], layer.out_features), x.shape[-1]
    else:
        batch = x.shape[0] if len(x.shape) > 1 else 1
        shape, columns = (batch, layer.out_features), x.size // batch
    out = net.out(shape, x.type, _numbers_of_products(net, layer, x))
    options = {
        **fused(layer), "weights_format": "DEFAULT", "keep_num_dims": layer.keep_num_dims,
        "asymmetric_quantize_inputs": False, **_bias_type(x),
    }  # fmt: skip
    return _weighted(net, layer, "FULLY_CONNECTED", x, (layer.out_features, columns), 0, out, options)


# ---------------------------------------------------------------- of two tensors, of several


def _real(net: Net, x: Value) -> float:
    """The root mean square of what a tensor stands for."""
    return x.scale * sqrt(net.arrays.power(x))


def _alike(net: Net, values: Sequence[Value]) -> str:
    """The type of them all."""
    for place, value in enumerate(values[1:], 1):
        if value.type != values[0].type:
            raise Wrong(("inputs", place), f"expected {values[0].type} as the first input, got {value.type}")
    return values[0].type


def _broadcast(net: Net, inputs: Sequence[Value]) -> tuple[int, ...]:
    a, b = inputs
    try:
        return np.broadcast_shapes(a.shape, b.shape)
    except ValueError:
        shapes = " and ".join(str(net.own_shape(value.shape)) for value in inputs)
        raise Wrong("inputs", f"expected shapes of which one can repeat itself, got {shapes}") from None


def _within(type_: str, activation: str | None, reach: float) -> tuple[float, int]:
    """Scale and zero point of numbers whose root mean square is `reach`."""
    scale, zero_point = usual(type_, activation if activation == "relu" else None)
    return max(float(np.float32(scale * reach)), float(np.finfo(np.float32).tiny)), zero_point


def _pair(code: str) -> Operation:
    def add(net: Net, layer: Any, inputs: Sequence[Value]) -> list[Value]:
        type_, shape = _alike(net, inputs), _broadcast(net, inputs)

        def drawn() -> tuple[float, int]:
            a, b = (_real(net, value) for value in inputs)
            return _within(type_, layer.activation, 2 * a * b if code == "MUL" else a + b)

        out = net.out(shape, type_, net.numbers(type_, None, drawn))
        options = fused(layer) | ({} if code == "MUL" else {"pot_scale_int16": False})
        return net.add(code, [value.index for value in inputs], [out], options)

    return add


def _extreme(code: str) -> Operation:
    def add(net: Net, layer: Any, inputs: Sequence[Value]) -> list[Value]:
        type_, shape = _alike(net, inputs), _broadcast(net, inputs)
        out = net.out(shape, type_, net.numbers(type_, inputs[0].numbers))
        return net.add(code, [value.index for value in inputs], [out])

    return add


def _union(net: Net, inputs: Sequence[Value]) -> Callable[[], tuple[float, int]]:
    """Scale and zero point that hold what each of the inputs can."""

    def drawn() -> tuple[float, int]:
        ends = [[value.scale * (end - value.zero_point) for end in (value.low, value.high)] for value in inputs]
        low, high = min(min(ends)), max(map(max, ends))
        own = TENSOR_TYPES[inputs[0].type]
        if own.bits == 16:
            return float(np.float32(max(-low, high) / own.high)), 0
        scale = float(np.float32((high - low) / (own.high - own.low)))
        return scale, int(np.clip(round(own.low - low / scale), own.low, own.high))

    return drawn


def _joined(net: Net, inputs: Sequence[Value]) -> tuple[str, tuple[float, int]]:
    type_ = _alike(net, inputs)
    same = all(value.numbers == inputs[0].numbers for value in inputs)
    return type_, net.numbers(type_, inputs[0].numbers if same else None, _union(net, inputs))


def _concat(net: Net, layer: Any, inputs: Sequence[Value]) -> list[Value]:
    first = inputs[0].shape
    axis = net.axis(layer.axis, len(first))
    for place, value in enumerate(inputs):
        fits = len(value.shape) == len(first)
        if not fits or value.shape[:axis] + value.shape[axis + 1 :] != first[:axis] + first[axis + 1 :]:
            got = net.own_shape(value.shape)
            raise Wrong(("inputs", place), f"expected {net.own_shape(first)} but for axis {layer.axis}, got {got}")
    type_, numbers = _joined(net, inputs)
    shape = (*first[:axis], sum(value.shape[axis] for value in inputs), *first[axis + 1 :])
    out = net.out(shape, type_, numbers)
    return net.add("CONCATENATION", [value.index for value in inputs], [out], {"axis": axis, **fused(layer)})


def _stack(net: Net, layer: Any, inputs: Sequence[Value]) -> list[Value]:
    first = inputs[0].shape
    axis = net.axis(layer.axis, len(first) + 1)
    for place, value in enumerate(inputs):
        if value.shape != first:
            got = net.own_shape(value.shape)
            raise Wrong(("inputs", place), f"expected {net.own_shape(first)} as the first input, got {got}")
    type_, numbers = _joined(net, inputs)
    if any(value.numbers != numbers for value in inputs):
        raise Wrong("scale", "expected that of the inputs, which are moved as they are")
    out = net.out((*first[:axis], len(inputs), *first[axis:]), type_, numbers)
    return net.add("PACK", [value.index for value in inputs], [out], {"values_count": len(inputs), "axis": axis})


# ---------------------------------------------------------------- reductions


def _pool(code: str) -> Operation:
    def add(net: Net, layer: Any, inputs: Sequence[Value]) -> list[Value]:
        (x,) = inputs
        # No maximum is below the least number; of a mean, what is padded must not count.
        options, source, size = window(net, layer, x, x.low if code == "MAX_POOL_2D" else None)
        if net.numbers(x.type, x.numbers) != x.numbers:
            raise Wrong("scale", f"expected that of the input, {x.scale:g} and {x.zero_point}: pools keep it")
        out = net.out((x.shape[0], *size, x.shape[3]), x.type, x.numbers)
        options |= {"filter_width": layer.kernel[1], "filter_height": layer.kernel[0]}
        return net.add(code, [source.index], [out], options)

    return add


def _mean(net: Net, layer: Any, inputs: Sequence[Value]) -> list[Value]:
    (x,) = inputs
    axes = {net.axis(axis, len(x.shape), ("axes", place)) for place, axis in enumerate(layer.axes)}
    kept = [1 if axis in axes else size for axis, size in enumerate(x.shape) if layer.keep_dims or axis not in axes]
    out = net.out(kept, x.type, net.numbers(x.type, x.numbers))
    return net.add(
        "MEAN", [x.index, net.integers("axes", sorted(axes))], [out], {"keep_dims": layer.keep_dims}
    )  # fmt: skip


def _softmax(net: Net, layer: Any, inputs: Sequence[Value]) -> list[Value]:
    (x,) = inputs
    type_ = layer.dtype or x.type
    fixed = FIXED_SOFTMAX.get((x.type, type_))
    if fixed is None:
        raise Wrong("op", f"no softmax from {x.type} to {type_}; expected int8 to int8 or int16, or int16 to int16")
    out = net.out(x.shape, type_, net.numbers(type_, fixed))
    return net.add("SOFTMAX", [x.index], [out], {"beta": float(np.float32(layer.beta))})


# ---------------------------------------------------------------- functions of one number


def _fixed(code: str, kind: str) -> Operation:
    def add(net: Net, layer: Any, inputs: Sequence[Value]) -> list[Value]:
        (x,) = inputs
        fixed = FIXED.get((kind, x.type))
        if fixed is None:
            raise Wrong("op", f"no {kind} of {x.type}; expected int8 or int16")
        return net.add(code, [x.index], [net.out(x.shape, x.type, net.numbers(x.type, fixed))])

    return add


def _curve(code: str, keeps: bool) -> Operation:
    def add(net: Net, layer: Any, inputs: Sequence[Value]) -> list[Value]:
        (x,) = inputs
        numbers = net.numbers(x.type, x.numbers if keeps else None, lambda: x.numbers)
        options = {"alpha": float(np.float32(layer.alpha))} if code == "LEAKY_RELU" else {}
        return net.add(code, [x.index], [net.out(x.shape, x.type, numbers)], options)

    return add


def _look_up(net: Net, layer: Any, inputs: Sequence[Value]) -> list[Value]:
    """A byte as an index from 0 on, and GATHER from the constants."""
    (x,) = inputs
    if x.type != "int8":
        raise Wrong("op", f"expected an input of int8, got {x.type}")
    scale, zero_point = numbers = net.numbers(x.type, None, lambda: x.numbers)
    values = net.arrays.constant(layer.name, (256,), x.type)
    table = net.tensor(f"{layer.name}/value", (256,), x.type, scale, zero_point, values)
    byte, index = (net.tensor(f"{layer.name}/{what}", x.shape, "int32") for what in ("byte", "index"))
    net.made.op("CAST", [x.index], [byte], in_data_type="INT8", out_data_type="INT32")
    net.made.op("ADD", [byte, net.integers("first", [128])], [index])
    return net.add("GATHER", [table, index], [net.out(x.shape, x.type, numbers)], {"axis": 0, "batch_dims": 0})


def _quantize(net: Net, layer: Any, inputs: Sequence[Value]) -> list[Value]:
    (x,) = inputs
    type_ = layer.dtype or x.type
    return net.add("QUANTIZE", [x.index], [net.out(x.shape, type_, net.numbers(type_, None))])


OPERATIONS: dict[str, Operation] = {
    **moves.OPERATIONS,
    "add": _pair("ADD"),
    "avg_pool2d": _pool("AVERAGE_POOL_2D"),
    "concat": _concat,
    "conv2d": _conv2d,
    "depthwise_conv2d": _depthwise_conv2d,
    "fully_connected": _fully_connected,
    "hard_swish": _curve("HARD_SWISH", False),
    "leaky_relu": _curve("LEAKY_RELU", False),
    "look_up": _look_up,
    "max_pool2d": _pool("MAX_POOL_2D"),
    "maximum": _extreme("MAXIMUM"),
    "mean": _mean,
    "minimum": _extreme("MINIMUM"),
    "multiply": _pair("MUL"),
    "quantize": _quantize,
    "relu": _curve("RELU", True),
    "relu6": _curve("RELU6", True),
    "relu_n1_to_1": _curve("RELU_N1_TO_1", True),
    "sigmoid": _fixed("LOGISTIC", "sigmoid"),
    "softmax": _softmax,
    "stack": _stack,
    "sub": _pair("SUB"),
    "tanh": _fixed("TANH", "tanh"),
}
"""By their name in model files."""
MANY = ("concat", "stack")
"""Operations of any number of inputs."""
TWO = ("add", "maximum", "minimum", "multiply", "sub")
