# SPDX-License-Identifier: Apache-2.0
"""The shape of a model file of q7 or q15, as pydantic models: they check it, and give the published JSON Schema."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import Field

from .schema_fields import Budget, Dimension, Dtype, Fraction, Kernel, Knobs, Padding, Shape, Shift, Strict


class Input(Strict):
    """The tensor that the network takes."""

    shape: Shape
    dtype: Dtype = Field("q7", description="q7 is int8, q15 is int16; of all activations.")
    fraction: Fraction | None = None


class _Named(Strict):
    name: str = Field(description="A C identifier, unique ignoring case.")
    inputs: Annotated[list[str], Field(min_length=1, max_length=1)] | None = Field(
        None, description="The layer that it reads, or input; default: the layer before."
    )
    fraction: Fraction | None = None


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
    output_size: Kernel | None = Field(
        None, description="Windows along both axes, where it is not what padding and ceil_mode say; none may be empty."
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


AnyLayer = Annotated[
    Conv2d | DepthwiseConv2d | FullyConnected | MaxPool2d | AvgPool2d | Relu | Sigmoid | Tanh | Softmax,
    Field(discriminator="op"),
]

OPS: dict[str, type[_Named]] = {
    cls.model_fields["op"].annotation.__args__[0]: cls for cls in get_args(get_args(AnyLayer)[0])
}


class ModelFile(Strict):
    """A q7 or q15 network for cmsisnn-tune: a sequence of layers, or a tree."""

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
    outputs: Annotated[list[str], Field(min_length=1, max_length=64)] | None = Field(
        None, description="Layers; default: the last."
    )
    target: str | None = Field(None, description="Core or board; --target overrides it.")
    budget: Budget | None = None
    layers: Annotated[list[AnyLayer], Field(min_length=1, description="In order of execution; shapes are inferred.")]
