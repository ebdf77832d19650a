# SPDX-License-Identifier: Apache-2.0
"""The eleven convolutions; the rows of `RULES` say what each checks and where its two implementations part."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import _cmsis, ops
from ..errors import DomainError
from ._call import ARM_MATH_SIZE_MISMATCH, ARM_MATH_SUCCESS, Call, right_shift, saturate, start_values
from ._geometry import Geometry
from ._prototypes import Profile, documented
from ._rules import RULES

Int8 = NDArray[np.int8]
Int16 = NDArray[np.int16]
Scratch = NDArray[Any] | None


def _convolve(function: str, arguments: Mapping[str, Any]) -> int:
    call = Call(function, arguments)
    rules = RULES[function]
    if rules.mismatch(call.numbers):
        return ARM_MATH_SIZE_MISMATCH
    if call.dsp and (problem := rules.unsafe(call.numbers)):
        raise DomainError(f"{function}: {problem}")
    call.check_sizes()
    g = Geometry.of(call.numbers)
    signed_char = rules.signed_char and not call.dsp and g.leaves_signed_char()
    if signed_char or g.y.is_empty() or g.x.is_empty() or 0 in (g.in_ch, g.out_ch) or not call.has_legal_shifts():
        _accumulate(call, g, signed_char=signed_char, depthwise=rules.depthwise)
    else:
        _convolve_as_meant(call, g, depthwise=rules.depthwise)
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
