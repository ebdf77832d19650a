# SPDX-License-Identifier: Apache-2.0
"""The eleven convolutions: one row per function says what it checks and where its two implementations part."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .. import _cmsis, ops
from ..errors import DomainError
from ._call import ARM_MATH_SIZE_MISMATCH, ARM_MATH_SUCCESS, Call, right_shift, saturate, start_values
from ._prototypes import Profile, documented

Int8 = NDArray[np.int8]
Int16 = NDArray[np.int16]
Scratch = NDArray[Any] | None


class Axis(NamedTuple):
    """Geometry along one axis."""

    name: str
    size: int
    kernel: int
    padding: int
    stride: int
    out: int

    def leaves_signed_char(self) -> bool:
        return self.padding > 128 or self.stride * (self.out - 1) + self.kernel - 1 - self.padding > 127

    def is_empty(self) -> bool:
        return 0 in (self.size, self.kernel, self.stride, self.out)


class Geometry(NamedTuple):
    """Geometry of a convolution, square or not."""

    y: Axis
    x: Axis
    in_ch: int
    out_ch: int

    @classmethod
    def of(cls, call: Call) -> Geometry:
        names = ("dim_im_in", "dim_kernel", "padding", "stride", "dim_im_out")
        suffixes = ("", "") if "dim_im_in" in call.numbers else ("_y", "_x")
        y, x = (
            Axis(axis, *(call[name + suffix] for name in names)) for axis, suffix in zip("yx", suffixes, strict=True)
        )
        return cls(y, x, call["ch_im_in"], call["ch_im_out"])


def _refuse_unchecked_windows(function: str, g: Geometry) -> None:
    """q7_fast: `padding` border outputs are written whatever the output size; those inside read without checks."""
    for a in (g.y, g.x):
        if a.out < a.padding:
            raise DomainError(
                f"{function}: the dsp kernel writes {a.padding} border outputs along {a.name} and needs "
                f"output >= padding, got an output of {a.out}; {_SAFE_Q7}"
            )
        end = (a.out - 1 - a.padding) * a.stride - a.padding + a.kernel
        if end > a.size:
            raise DomainError(
                f"{function}: the dsp kernel reads up to position {end} along {a.name} of an input of {a.size}: needs "
                f"(output - 1 - padding) * stride - padding + kernel <= input; {_SAFE_Q7}"
            )


def _refuse_odd_width(function: str, g: Geometry) -> None:
    """q15_fast: pairs of pixels, without a tail: an odd width leaves a column in the buffer at the end of each row."""
    if g.x.out % 2:
        raise DomainError(
            f"{function}: the dsp kernel loses pixels and overruns its scratch buffer unless the output width is even, "
            f"got {g.x.out}; use arm_convolve_HWC_q15_basic, profile='scalar' or cmsisnn_x.convolve"
        )


def _refuse_larger_output(function: str, g: Geometry) -> None:
    for a in (g.y, g.x):
        if a.out > a.size:
            raise DomainError(
                f"{function}: the dsp kernel reads outside the image unless output <= input, "
                f"got {a.out} > {a.size} along {a.name}; {_SAFE_Q7}"
            )


_SAFE_Q7 = "use arm_convolve_HWC_q7_basic or its nonsquare form, profile='scalar' or cmsisnn_x.convolve"

_Rule = Callable[[str, Geometry], None]


@dataclass(frozen=True)
class _Kernel:
    """What a function checks (`mismatch`: status -3), and what it does not.

    `refuse` raises where the dsp code leaves its arrays. Under `signed_char` the scalar code keeps the input row and
    column in a signed byte.
    """

    mismatch: Callable[[Geometry], bool] = lambda g: False
    refuse: _Rule = lambda function, g: None
    signed_char: bool = False
    depthwise: bool = False


def _not_multiple(g: Geometry, in_multiple: int, out_multiple: int) -> bool:
    return g.in_ch % in_multiple != 0 or g.out_ch % out_multiple != 0


def _is_q7_fast_mismatch(g: Geometry) -> bool:
    return _not_multiple(g, 4, 2)


def _is_q15_fast_mismatch(g: Geometry) -> bool:
    return _not_multiple(g, 2, 2)


def _is_1x1_mismatch(g: Geometry) -> bool:
    return _is_q7_fast_mismatch(g) or any((a.kernel, a.padding, a.stride) != (1, 0, 1) for a in (g.y, g.x))


def _is_depthwise_mismatch(g: Geometry) -> bool:
    return g.in_ch != g.out_ch


_KERNELS: Mapping[str, _Kernel] = {
    "arm_convolve_HWC_q7_basic": _Kernel(signed_char=True),
    "arm_convolve_HWC_q7_basic_nonsquare": _Kernel(signed_char=True),
    "arm_convolve_HWC_q7_fast": _Kernel(_is_q7_fast_mismatch, _refuse_unchecked_windows, signed_char=True),
    "arm_convolve_HWC_q7_fast_nonsquare": _Kernel(_is_q7_fast_mismatch, _refuse_unchecked_windows),
    "arm_convolve_1x1_HWC_q7_fast_nonsquare": _Kernel(_is_1x1_mismatch, _refuse_larger_output),
    "arm_convolve_HWC_q7_RGB": _Kernel(lambda g: g.in_ch != 3, signed_char=True),
    "arm_convolve_HWC_q15_basic": _Kernel(signed_char=True),
    "arm_convolve_HWC_q15_fast": _Kernel(_is_q15_fast_mismatch, _refuse_odd_width, signed_char=True),
    "arm_convolve_HWC_q15_fast_nonsquare": _Kernel(_is_q15_fast_mismatch, _refuse_odd_width, signed_char=True),
    "arm_depthwise_separable_conv_HWC_q7": _Kernel(_is_depthwise_mismatch, depthwise=True),
    "arm_depthwise_separable_conv_HWC_q7_nonsquare": _Kernel(_is_depthwise_mismatch, depthwise=True),
}


def _convolve(function: str, arguments: Mapping[str, Any]) -> int:
    call = Call(function, arguments)
    kernel = _KERNELS[function]
    g = Geometry.of(call)
    if kernel.mismatch(g):
        return ARM_MATH_SIZE_MISMATCH
    if call.dsp:
        kernel.refuse(function, g)
    call.check_sizes()
    signed_char = kernel.signed_char and not call.dsp and (g.y.leaves_signed_char() or g.x.leaves_signed_char())
    if signed_char or g.y.is_empty() or g.x.is_empty() or 0 in (g.in_ch, g.out_ch) or not call.has_legal_shifts():
        _accumulate(call, g, signed_char=signed_char, depthwise=kernel.depthwise)
    else:
        _convolve_as_meant(call, g, depthwise=kernel.depthwise)
    return ARM_MATH_SUCCESS


def _convolve_as_meant(call: Call, g: Geometry, *, depthwise: bool) -> None:
    operation, outputs = (ops.depthwise_convolve, ()) if depthwise else (ops.convolve, (g.out_ch,))
    result = operation(
        call.read("Im_in").reshape(g.y.size, g.x.size, g.in_ch),
        call.read("wt").reshape(*outputs, g.y.kernel, g.x.kernel, g.in_ch),
        call.read("bias"),
        stride=(g.y.stride, g.x.stride),
        padding=(g.y.padding, g.x.padding),
        bias_shift=call["bias_shift"],
        out_shift=call["out_shift"],
        output_size=(g.y.out, g.x.out),
    )
    call.write("Im_out", result.reshape(-1))


def _accumulate(call: Call, g: Geometry, *, signed_char: bool, depthwise: bool) -> None:
    start = start_values(call.read("bias"), call["bias_shift"], call["out_shift"])
    acc = np.empty(call.needed("Im_out"), np.int32)
    taps = (g.y.kernel, g.x.kernel, g.y.padding, g.x.padding, g.y.stride, g.x.stride, g.y.out, g.x.out)
    x, weights = call.read("Im_in"), call.read("wt")
    if depthwise:
        _cmsis.accumulate_depthwise(x, weights, start, acc, g.y.size, g.x.size, g.in_ch, *taps)
    else:
        _cmsis.accumulate(x, weights, start, acc, g.y.size, g.x.size, g.in_ch, g.out_ch, *taps, signed_char)
    call.write("Im_out", saturate(right_shift(acc, call["out_shift"]), call.prototype["Im_out"].dtype))


@documented()
def arm_convolve_HWC_q7_basic(
    Im_in: Int8,
    dim_im_in: int,
    ch_im_in: int,
    wt: Int8,
    ch_im_out: int,
    dim_kernel: int,
    padding: int,
    stride: int,
    bias: Int8,
    bias_shift: int,
    out_shift: int,
    Im_out: Int8,
    dim_im_out: int,
    bufferA: Scratch,
    bufferB: Scratch,
    *,
    profile: Profile = "dsp",
) -> int:
    """q7 convolution of a square image, any shape.

    Under ``"scalar"`` a coordinate beyond 127 is taken as a signed byte, as in the C code: that part of a larger
    image reads as padding.
    """
    return _convolve("arm_convolve_HWC_q7_basic", locals())


@documented()
def arm_convolve_HWC_q7_basic_nonsquare(
    Im_in: Int8,
    dim_im_in_x: int,
    dim_im_in_y: int,
    ch_im_in: int,
    wt: Int8,
    ch_im_out: int,
    dim_kernel_x: int,
    dim_kernel_y: int,
    padding_x: int,
    padding_y: int,
    stride_x: int,
    stride_y: int,
    bias: Int8,
    bias_shift: int,
    out_shift: int,
    Im_out: Int8,
    dim_im_out_x: int,
    dim_im_out_y: int,
    bufferA: Scratch,
    bufferB: Scratch,
    *,
    profile: Profile = "dsp",
) -> int:
    """q7 convolution, any shape.

    Under ``"scalar"`` a coordinate beyond 127 is taken as a signed byte, as in the C code: that part of a larger
    image reads as padding.
    """
    return _convolve("arm_convolve_HWC_q7_basic_nonsquare", locals())


@documented(refused='an output smaller than the padding, or a window past the far edge, under ``"dsp"``')
def arm_convolve_HWC_q7_fast(
    Im_in: Int8,
    dim_im_in: int,
    ch_im_in: int,
    wt: Int8,
    ch_im_out: int,
    dim_kernel: int,
    padding: int,
    stride: int,
    bias: Int8,
    bias_shift: int,
    out_shift: int,
    Im_out: Int8,
    dim_im_out: int,
    bufferA: Scratch,
    bufferB: Scratch,
    *,
    profile: Profile = "dsp",
) -> int:
    """q7 convolution of a square image; `ch_im_in` a multiple of 4, `ch_im_out` even, else -3.

    Under ``"scalar"`` a coordinate beyond 127 is taken as a signed byte, as in the C code: that part of a larger
    image reads as padding.
    """
    return _convolve("arm_convolve_HWC_q7_fast", locals())


@documented(refused='an output smaller than the padding, or a window past the far edge, under ``"dsp"``')
def arm_convolve_HWC_q7_fast_nonsquare(
    Im_in: Int8,
    dim_im_in_x: int,
    dim_im_in_y: int,
    ch_im_in: int,
    wt: Int8,
    ch_im_out: int,
    dim_kernel_x: int,
    dim_kernel_y: int,
    padding_x: int,
    padding_y: int,
    stride_x: int,
    stride_y: int,
    bias: Int8,
    bias_shift: int,
    out_shift: int,
    Im_out: Int8,
    dim_im_out_x: int,
    dim_im_out_y: int,
    bufferA: Scratch,
    bufferB: Scratch,
    *,
    profile: Profile = "dsp",
) -> int:
    """q7 convolution; `ch_im_in` a multiple of 4, `ch_im_out` even, else -3."""
    return _convolve("arm_convolve_HWC_q7_fast_nonsquare", locals())


@documented(refused='an output larger than the input under ``"dsp"``')
def arm_convolve_1x1_HWC_q7_fast_nonsquare(
    Im_in: Int8,
    dim_im_in_x: int,
    dim_im_in_y: int,
    ch_im_in: int,
    wt: Int8,
    ch_im_out: int,
    dim_kernel_x: int,
    dim_kernel_y: int,
    padding_x: int,
    padding_y: int,
    stride_x: int,
    stride_y: int,
    bias: Int8,
    bias_shift: int,
    out_shift: int,
    Im_out: Int8,
    dim_im_out_x: int,
    dim_im_out_y: int,
    bufferA: Scratch,
    bufferB: Scratch,
    *,
    profile: Profile = "dsp",
) -> int:
    """q7 convolution with a 1x1 window; `ch_im_in` a multiple of 4, `ch_im_out` even, no padding, stride 1, else -3.

    An output smaller than the input is the top left part; under ``"scalar"`` a larger one is the bias where the input
    ends.
    """
    return _convolve("arm_convolve_1x1_HWC_q7_fast_nonsquare", locals())


@documented()
def arm_convolve_HWC_q7_RGB(
    Im_in: Int8,
    dim_im_in: int,
    ch_im_in: int,
    wt: Int8,
    ch_im_out: int,
    dim_kernel: int,
    padding: int,
    stride: int,
    bias: Int8,
    bias_shift: int,
    out_shift: int,
    Im_out: Int8,
    dim_im_out: int,
    bufferA: Scratch,
    bufferB: Scratch,
    *,
    profile: Profile = "dsp",
) -> int:
    """q7 convolution of a square image of three channels, else -3.

    Under ``"scalar"`` a coordinate beyond 127 is taken as a signed byte, as in the C code: that part of a larger
    image reads as padding.
    """
    return _convolve("arm_convolve_HWC_q7_RGB", locals())


@documented()
def arm_convolve_HWC_q15_basic(
    Im_in: Int16,
    dim_im_in: int,
    ch_im_in: int,
    wt: Int16,
    ch_im_out: int,
    dim_kernel: int,
    padding: int,
    stride: int,
    bias: Int16,
    bias_shift: int,
    out_shift: int,
    Im_out: Int16,
    dim_im_out: int,
    bufferA: Scratch,
    bufferB: Scratch,
    *,
    profile: Profile = "dsp",
) -> int:
    """q15 convolution of a square image, any shape.

    Under ``"scalar"`` a coordinate beyond 127 is taken as a signed byte, as in the C code: that part of a larger
    image reads as padding.
    """
    return _convolve("arm_convolve_HWC_q15_basic", locals())


@documented(refused='an odd output width under ``"dsp"``')
def arm_convolve_HWC_q15_fast(
    Im_in: Int16,
    dim_im_in: int,
    ch_im_in: int,
    wt: Int16,
    ch_im_out: int,
    dim_kernel: int,
    padding: int,
    stride: int,
    bias: Int16,
    bias_shift: int,
    out_shift: int,
    Im_out: Int16,
    dim_im_out: int,
    bufferA: Scratch,
    bufferB: Scratch,
    *,
    profile: Profile = "dsp",
) -> int:
    """q15 convolution of a square image; `ch_im_in` and `ch_im_out` even, else -3.

    Under ``"scalar"`` a coordinate beyond 127 is taken as a signed byte, as in the C code: that part of a larger
    image reads as padding.
    """
    return _convolve("arm_convolve_HWC_q15_fast", locals())


@documented(refused='an odd output width under ``"dsp"``')
def arm_convolve_HWC_q15_fast_nonsquare(
    Im_in: Int16,
    dim_im_in_x: int,
    dim_im_in_y: int,
    ch_im_in: int,
    wt: Int16,
    ch_im_out: int,
    dim_kernel_x: int,
    dim_kernel_y: int,
    padding_x: int,
    padding_y: int,
    stride_x: int,
    stride_y: int,
    bias: Int16,
    bias_shift: int,
    out_shift: int,
    Im_out: Int16,
    dim_im_out_x: int,
    dim_im_out_y: int,
    bufferA: Scratch,
    bufferB: Scratch,
    *,
    profile: Profile = "dsp",
) -> int:
    """q15 convolution; `ch_im_in` and `ch_im_out` even, else -3.

    Under ``"scalar"`` a coordinate beyond 127 is taken as a signed byte, as in the C code: that part of a larger
    image reads as padding.
    """
    return _convolve("arm_convolve_HWC_q15_fast_nonsquare", locals())


@documented()
def arm_depthwise_separable_conv_HWC_q7(
    Im_in: Int8,
    dim_im_in: int,
    ch_im_in: int,
    wt: Int8,
    ch_im_out: int,
    dim_kernel: int,
    padding: int,
    stride: int,
    bias: Int8,
    bias_shift: int,
    out_shift: int,
    Im_out: Int8,
    dim_im_out: int,
    bufferA: Scratch,
    bufferB: Scratch,
    *,
    profile: Profile = "dsp",
) -> int:
    """q7 depthwise convolution of a square image; `ch_im_in` equal to `ch_im_out`, else -3."""
    return _convolve("arm_depthwise_separable_conv_HWC_q7", locals())


@documented()
def arm_depthwise_separable_conv_HWC_q7_nonsquare(
    Im_in: Int8,
    dim_im_in_x: int,
    dim_im_in_y: int,
    ch_im_in: int,
    wt: Int8,
    ch_im_out: int,
    dim_kernel_x: int,
    dim_kernel_y: int,
    padding_x: int,
    padding_y: int,
    stride_x: int,
    stride_y: int,
    bias: Int8,
    bias_shift: int,
    out_shift: int,
    Im_out: Int8,
    dim_im_out_x: int,
    dim_im_out_y: int,
    bufferA: Scratch,
    bufferB: Scratch,
    *,
    profile: Profile = "dsp",
) -> int:
    """q7 depthwise convolution; `ch_im_in` equal to `ch_im_out`, else -3."""
    return _convolve("arm_depthwise_separable_conv_HWC_q7_nonsquare", locals())
