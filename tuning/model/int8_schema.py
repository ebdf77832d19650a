# SPDX-License-Identifier: Apache-2.0
"""The shape of a model file of int8 or int16 with zero points: a graph whose operations are those of `.tflite` files.

Keys are called as in files of q7 where those have them, else as in the schema of `.tflite` files.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema

from .schema_fields import (
    MAX,
    MOST_AXES,
    Budget,
    Dimension,
    Kernel,
    Knobs,
    NewShape,
    Padding,
    Scale,
    Strict,
    TensorShape,
    is_int,
    wrong,
)

MOST_LAYERS = 4096
DTYPES = ("int8", "int16", "uint8")
Dtype = Literal["int8", "int16", "uint8"]
Activation = Literal["relu", "relu6", "relu_n1_to_1"]
Axis = Annotated[int, Field(ge=-MOST_AXES, le=MOST_AXES - 1)]
ZeroPoint = Annotated[int, Field(ge=-(2**15), le=2**15 - 1)]
Whole = Annotated[int, Field(ge=-(2**31), le=2**31 - 1)]


def _axes(value: Any) -> Any:
    return [value] if is_int(value) else value


def _indices(value: Any) -> list[int | None]:
    if not (
        isinstance(value, list) and len(value) <= MOST_AXES
        and all(item is None or (is_int(item) and abs(item) < 1 << 31) for item in value)
    ):  # fmt: skip
        raise wrong("a list of whole numbers, null for an open end", value)
    return value


def _paddings(value: Any) -> list[list[int]]:
    pairs = value if isinstance(value, list) and 0 < len(value) <= MOST_AXES else [None]
    if not all(
        isinstance(two, list) and len(two) == 2 and all(is_int(n) and 0 <= n <= MAX for n in two) for two in pairs
    ):
        raise wrong(f"[before, after] of every axis, in 0..{MAX}", value)
    return value


def _places(value: Any) -> Any:
    items = value if isinstance(value, list) and 0 < len(value) <= 64 else [value]
    if not all(is_int(item) and 0 <= item < 1 << 31 for item in items):
        raise wrong("an index, or a list of at most 64", value)
    return value


def _image_size(value: Any) -> tuple[int, int]:
    if not (isinstance(value, list) and len(value) == 2 and all(is_int(n) and 1 <= n <= MAX for n in value)):
        raise wrong(f"[height, width] in 1..{MAX}", value)
    return value[0], value[1]


def _array(item: dict[str, Any], least: int, most: int) -> dict[str, Any]:
    return {"type": "array", "items": item, "minItems": least, "maxItems": most}


_COUNT = {"type": "integer", "minimum": 0}
Paddings = Annotated[
    list[list[int]], BeforeValidator(_paddings), WithJsonSchema(_array(_array(_COUNT, 2, 2), 1, MOST_AXES))
]
Places = Annotated[Any, BeforeValidator(_places), WithJsonSchema({"anyOf": [_COUNT, _array(_COUNT, 1, 64)]})]
ImageSize = Annotated[
    tuple[int, int], BeforeValidator(_image_size), WithJsonSchema(_array({"type": "integer", "minimum": 1}, 2, 2))
]
Axes = Annotated[list[Axis], BeforeValidator(_axes), Field(max_length=MOST_AXES)]
Ends = Annotated[list[int | None], BeforeValidator(_indices)]
Names = Annotated[list[str], Field(min_length=1, max_length=1024)]


class Numbers(Strict):
    """A tensor whose values are ``scale * (q - zero_point)``."""

    shape: TensorShape = Field(description="[h, w, c] or [n], without the batch, which is 1.")
    dtype: Dtype = "int8"
    scale: Scale | None = Field(None, description="May be missing where weights are drawn.")
    zero_point: ZeroPoint = 0


class Int8Layer(Strict):
    """What all layers have."""

    name: str = Field(description="A C identifier, unique ignoring case.")
    inputs: Names | None = Field(
        None, description="Layers, inputs or constants that it reads; <layer>.0, .1, .. of a split. Default: the layer "
        "before, or the network's input.",
    )  # fmt: skip
    scale: Scale | None = Field(None, description="Of the output; the default is the input's where that can be.")
    zero_point: ZeroPoint | None = Field(None, description="Of the output; default 0 beside a scale.")


class _Active(Int8Layer):
    activation: Activation | None = Field(None, description="Applied before the output is stored.")


class _Weighted(_Active):
    variant: Knobs | None = Field(None, description="Knobs that the tuner must not change, such as {unroll: 4}.")


class Int8Conv2d(_Weighted):
    """Convolution; weights (out_channels, kernel_h, kernel_w, in_channels / groups)."""

    op: Literal["conv2d"]
    out_channels: Dimension
    kernel: Kernel
    stride: Kernel = (1, 1)
    padding: Padding = (0, 0)
    dilation: Kernel = (1, 1)
    groups: Dimension = 1


class Int8DepthwiseConv2d(_Weighted):
    """Depthwise convolution; weights (kernel_h, kernel_w, out_channels)."""

    op: Literal["depthwise_conv2d"]
    out_channels: Dimension | None = Field(None, description="A multiple of the input's channels; default: as many.")
    kernel: Kernel
    stride: Kernel = (1, 1)
    padding: Padding = (0, 0)
    dilation: Kernel = (1, 1)


class Int8FullyConnected(_Weighted):
    """Fully connected layer over the flattened input; weights (out_features, inputs)."""

    op: Literal["fully_connected"]
    out_features: Dimension
    keep_num_dims: bool = Field(False, description="Over the last axis alone: the others stay.")


class Int8Add(_Active):
    """Sum of two tensors, one of which may repeat itself."""

    op: Literal["add"]


class Int8Sub(_Active):
    """Difference of two tensors."""

    op: Literal["sub"]


class Int8Multiply(_Active):
    """Product of two tensors."""

    op: Literal["multiply"]


class Int8Maximum(Int8Layer):
    """The larger of two tensors."""

    op: Literal["maximum"]


class Int8Minimum(Int8Layer):
    """The smaller of two tensors."""

    op: Literal["minimum"]


class Int8Concat(Int8Layer):
    """Tensors one behind the other along an axis."""

    op: Literal["concat"]
    axis: Axis = -1


class Int8Stack(Int8Layer):
    """Tensors of one shape along a new axis."""

    op: Literal["stack"]
    axis: Axis = 0


class _Pool(_Active):
    kernel: Kernel
    stride: Kernel | None = Field(None, description="Default: the kernel size.")
    padding: Padding = (0, 0)


class Int8MaxPool2d(_Pool):
    """Maximum of each window."""

    op: Literal["max_pool2d"]


class Int8AvgPool2d(_Pool):
    """Mean of the elements of each window that lie inside the image, rounded."""

    op: Literal["avg_pool2d"]


class Int8Mean(Int8Layer):
    """Mean over axes."""

    op: Literal["mean"]
    axes: Axes = Field(description="[0, 1] are height and width of an image.")
    keep_dims: bool = False


class Int8Softmax(Int8Layer):
    """Softmax over the last axis."""

    op: Literal["softmax"]
    beta: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
    dtype: Literal["int8", "int16"] | None = Field(None, description="Of the output; default: the input's.")


class Int8Sigmoid(Int8Layer):
    """Logistic function."""

    op: Literal["sigmoid"]


class Int8Tanh(Int8Layer):
    """Hyperbolic tangent."""

    op: Literal["tanh"]


class Int8Relu(Int8Layer):
    """max(x, 0)."""

    op: Literal["relu"]


class Int8Relu6(Int8Layer):
    """min(max(x, 0), 6)."""

    op: Literal["relu6"]


class Int8ReluN1To1(Int8Layer):
    """min(max(x, -1), 1)."""

    op: Literal["relu_n1_to_1"]


class Int8LeakyRelu(Int8Layer):
    """x, or alpha x below 0."""

    op: Literal["leaky_relu"]
    alpha: Annotated[float, Field(ge=-1e6, le=1e6)]


class Int8HardSwish(Int8Layer):
    """x relu6(x + 3) / 6."""

    op: Literal["hard_swish"]


class Int8LookUp(Int8Layer):
    """Any function of a byte: <layer>/value in the weights file has its 256 results, from that of -128 on."""

    op: Literal["look_up"]


class Int8Quantize(Int8Layer):
    """To another scale, zero point or type."""

    op: Literal["quantize"]
    dtype: Dtype | None = Field(None, description="Of the output; default: the input's.")


class Int8Pad(Int8Layer):
    """A frame of the zero point, or of a value."""

    op: Literal["pad"]
    paddings: Paddings = Field(description="[before, after] of every axis.")
    value: ZeroPoint | None = Field(None, description="As an integer of the tensor; default: its zero point.")


class Int8Reshape(Int8Layer):
    """The same elements in another shape."""

    op: Literal["reshape"]
    shape: NewShape


class Int8Flatten(Int8Layer):
    """The same elements as a vector."""

    op: Literal["flatten"]


class Int8Transpose(Int8Layer):
    """Axes in another order."""

    op: Literal["transpose"]
    perm: Annotated[list[Annotated[int, Field(ge=0, le=MOST_AXES - 1)]], Field(min_length=1, max_length=MOST_AXES)]


class Int8StridedSlice(Int8Layer):
    """Elements from begin to end in steps, as Python's slices: negative numbers count from the end, null is open."""

    op: Literal["strided_slice"]
    begin: Ends
    end: Ends
    strides: Annotated[list[Whole], Field(max_length=MOST_AXES)] | None = Field(None, description="Default: ones.")
    shrink_axes: Annotated[list[Annotated[int, Field(ge=0, le=MOST_AXES - 1)]], Field(max_length=MOST_AXES)] = Field(
        [], description="Axes of which begin is the one element that is taken; they go."
    )


class Int8Gather(Int8Layer):
    """Elements of an axis, in equal steps."""

    op: Literal["gather"]
    indices: Places
    axis: Axis = 0


class Int8Split(Int8Layer):
    """Pieces of an axis: <layer>.0, <layer>.1, .."""

    op: Literal["split"]
    axis: Axis = -1
    parts: Annotated[int, Field(ge=1, le=1024)] | None = Field(None, description="Equal pieces.")
    sizes: Annotated[list[Dimension], Field(min_length=1, max_length=64)] | None = Field(None, description="Of each.")


class Int8Unstack(Int8Layer):
    """Every element of an axis, which goes: <layer>.0, <layer>.1, .."""

    op: Literal["unstack"]
    axis: Axis = 0


class Int8ResizeNearest(Int8Layer):
    """An image of another size, each pixel the nearest."""

    op: Literal["resize_nearest"]
    size: ImageSize
    align_corners: bool = False
    half_pixel_centers: bool = False


CLASSES = (
    Int8Conv2d, Int8DepthwiseConv2d, Int8FullyConnected, Int8Add, Int8Sub, Int8Multiply, Int8Maximum, Int8Minimum,
    Int8Concat, Int8Stack, Int8MaxPool2d, Int8AvgPool2d, Int8Mean, Int8Softmax, Int8Sigmoid, Int8Tanh, Int8Relu,
    Int8Relu6, Int8ReluN1To1, Int8LeakyRelu, Int8HardSwish, Int8LookUp, Int8Quantize, Int8Pad, Int8Reshape, Int8Flatten,
    Int8Transpose, Int8StridedSlice, Int8Gather, Int8Split, Int8Unstack, Int8ResizeNearest,
)  # fmt: skip
OPS: dict[str, type[Int8Layer]] = {
    cls.model_fields["op"].annotation.__args__[0]: cls  # type: ignore[union-attr]
    for cls in CLASSES
}
OTHER_WORDS = {
    "mul": "multiply", "logistic": "sigmoid", "hard_sigmoid": "hard_swish", "dense": "fully_connected",
    "linear": "fully_connected", "gemm": "fully_connected", "conv": "conv2d", "concatenation": "concat",
    "concatenate": "concat", "pack": "stack", "unpack": "unstack", "slice": "strided_slice", "squeeze": "reshape",
    "expand_dims": "reshape", "global_avg_pool2d": "mean", "upsample": "resize_nearest", "requantise": "quantize",
    "requantize": "quantize", "copy": "reshape",
}  # fmt: skip
"""What others call an operation -> its name here."""

AnyLayer = Annotated[
    Int8Conv2d | Int8DepthwiseConv2d | Int8FullyConnected | Int8Add | Int8Sub | Int8Multiply | Int8Maximum
    | Int8Minimum | Int8Concat | Int8Stack | Int8MaxPool2d | Int8AvgPool2d | Int8Mean | Int8Softmax | Int8Sigmoid
    | Int8Tanh | Int8Relu | Int8Relu6 | Int8ReluN1To1 | Int8LeakyRelu | Int8HardSwish | Int8LookUp | Int8Quantize
    | Int8Pad | Int8Reshape | Int8Flatten | Int8Transpose | Int8StridedSlice | Int8Gather | Int8Split | Int8Unstack
    | Int8ResizeNearest,
    Field(discriminator="op"),
]  # fmt: skip


class Int8File(Strict):
    """A network of int8 or int16 with zero points, a graph of layers, for cmsisnn-tune."""

    schema_: Literal[1] = Field(alias="schema", description="Version of this format.")
    name: str = Field(description="A C identifier: prefix of every emitted symbol.")
    input: Numbers | None = Field(None, description="What the network takes; layers call it `input`.")
    inputs: Annotated[dict[str, Numbers], Field(min_length=1, max_length=64)] | None = Field(
        None, description="Several inputs by name, instead of `input`."
    )
    outputs: Annotated[list[str], Field(min_length=1, max_length=64)] | None = Field(
        None, description="Layers; default: the last."
    )
    constants: dict[str, Numbers] = Field({}, description="Tensors of the weights file: <constant>/value.")
    weights: str | None = Field(
        None,
        description="npz file beside this one with <layer>/weights (int8), <layer>/weights_scale (float32, one or one "
        "per output channel), <layer>/bias (int32, of int16 int64); without it, weights are drawn.",
    )
    float_: str | None = Field(
        None,
        alias="float",
        description="npz file beside this one with the float network that cmsisnn-quantize started from, for --check.",
    )
    arithmetic: Literal["tflm", "litert"] | None = Field(None, description="Whose bytes; --arithmetic overrides it.")
    explicit_batch: bool = Field(False, description="Shapes and axes count the batch dimension, which they have then.")
    target: str | None = Field(None, description="Core or board; --target overrides it.")
    budget: Budget | None = None
    layers: Annotated[
        list[AnyLayer],
        Field(min_length=1, max_length=MOST_LAYERS, description="In order of execution; shapes are inferred."),
    ]


def is_int8(data: object) -> bool:
    """Whether a file's content is one of these, or meant to be: by what its inputs say."""
    if not isinstance(data, dict):
        return False
    one = data.get("input")
    return "inputs" in data or (isinstance(one, dict) and one.get("dtype") in DTYPES)
