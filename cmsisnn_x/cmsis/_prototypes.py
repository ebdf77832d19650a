# SPDX-License-Identifier: Apache-2.0
"""One row per function of Arm's headers: its array arguments, and the text that its documentation is made from."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import numpy as np

Profile = Literal["dsp", "scalar"]
Role = Literal["input", "in-out", "output"]

SCRATCH = ("bufferA", "bufferB", "vec_buffer")
"""Arm's scratch arguments: accepted, never needed, never written."""


@dataclass(frozen=True)
class Array:
    """An array argument; `shape` names the scalar arguments that give its size."""

    role: Role
    dtype: np.dtype[Any]
    shape: tuple[str | int, ...]

    def __str__(self) -> str:
        return f"{self.dtype} array, {' * '.join(map(str, self.shape))} elements"


Prototype = Mapping[str, Array]

_Q7 = np.dtype(np.int8)
_Q15 = np.dtype(np.int16)


def _convolution(dtype: np.dtype[Any], axes: tuple[str, str] = ("", ""), *, depthwise: bool = False) -> Prototype:
    y, x = axes
    kernel = ("dim_kernel" + y, "dim_kernel" + x)
    return {
        "Im_in": Array("input", dtype, ("dim_im_in" + y, "dim_im_in" + x, "ch_im_in")),
        "wt": Array("input", dtype, (*kernel, "ch_im_in") if depthwise else ("ch_im_out", *kernel, "ch_im_in")),
        "bias": Array("input", dtype, ("ch_im_out",)),
        "Im_out": Array("output", dtype, ("dim_im_out" + y, "dim_im_out" + x, "ch_im_out")),
    }


def _fully_connected(activations: np.dtype[Any], weights: np.dtype[Any]) -> Prototype:
    return {
        "pV": Array("input", activations, ("dim_vec",)),
        "pM": Array("input", weights, ("num_of_rows", "dim_vec")),
        "bias": Array("input", weights, ("num_of_rows",)),
        "pOut": Array("output", activations, ("num_of_rows",)),
    }


def _mult(dtype: np.dtype[Any]) -> Prototype:
    size = ("blockSize",)
    return {
        "pSrcA": Array("input", dtype, size),
        "pSrcB": Array("input", dtype, size),
        "pDst": Array("output", dtype, size),
    }


def _softmax(dtype: np.dtype[Any]) -> Prototype:
    return {"vec_in": Array("input", dtype, ("dim_vec",)), "p_out": Array("output", dtype, ("dim_vec",))}


_MAT_MULT: Prototype = {
    "pA": Array("input", _Q7, ("ch_im_out", "numCol_A")),
    "pInBuffer": Array("input", _Q15, (2, "numCol_A")),
    "bias": Array("input", _Q7, ("ch_im_out",)),
    "pOut": Array("output", _Q7, (2, "ch_im_out")),
}
_POOL: Prototype = {
    "Im_in": Array("in-out", _Q7, ("dim_im_in", "dim_im_in", "ch_im_in")),
    "Im_out": Array("output", _Q7, ("dim_im_out", "dim_im_out", "ch_im_in")),
}
_WIDEN: Prototype = {"pSrc": Array("input", _Q7, ("blockSize",)), "pDst": Array("output", _Q15, ("blockSize",))}
_YX = ("_y", "_x")

PROTOTYPES: Mapping[str, Prototype] = {
    "arm_convolve_HWC_q7_basic": _convolution(_Q7),
    "arm_convolve_HWC_q7_basic_nonsquare": _convolution(_Q7, _YX),
    "arm_convolve_HWC_q7_fast": _convolution(_Q7),
    "arm_convolve_HWC_q7_fast_nonsquare": _convolution(_Q7, _YX),
    "arm_convolve_1x1_HWC_q7_fast_nonsquare": _convolution(_Q7, _YX),
    "arm_convolve_HWC_q7_RGB": _convolution(_Q7),
    "arm_convolve_HWC_q15_basic": _convolution(_Q15),
    "arm_convolve_HWC_q15_fast": _convolution(_Q15),
    "arm_convolve_HWC_q15_fast_nonsquare": _convolution(_Q15, _YX),
    "arm_depthwise_separable_conv_HWC_q7": _convolution(_Q7, depthwise=True),
    "arm_depthwise_separable_conv_HWC_q7_nonsquare": _convolution(_Q7, _YX, depthwise=True),
    "arm_fully_connected_q7": _fully_connected(_Q7, _Q7),
    "arm_fully_connected_q7_opt": _fully_connected(_Q7, _Q7),
    "arm_fully_connected_q15": _fully_connected(_Q15, _Q15),
    "arm_fully_connected_q15_opt": _fully_connected(_Q15, _Q15),
    "arm_fully_connected_mat_q7_vec_q15": _fully_connected(_Q15, _Q7),
    "arm_fully_connected_mat_q7_vec_q15_opt": _fully_connected(_Q15, _Q7),
    "arm_nn_mat_mult_kernel_q7_q15": _MAT_MULT,
    "arm_nn_mat_mult_kernel_q7_q15_reordered": _MAT_MULT,
    "arm_relu_q7": {"data": Array("in-out", _Q7, ("size",))},
    "arm_relu_q15": {"data": Array("in-out", _Q15, ("size",))},
    "arm_nn_activations_direct_q7": {"data": Array("in-out", _Q7, ("size",))},
    "arm_nn_activations_direct_q15": {"data": Array("in-out", _Q15, ("size",))},
    "arm_maxpool_q7_HWC": _POOL,
    "arm_avepool_q7_HWC": _POOL,
    "arm_softmax_q7": _softmax(_Q7),
    "arm_softmax_q15": _softmax(_Q15),
    "arm_q7_to_q15_no_shift": _WIDEN,
    "arm_q7_to_q15_reordered_no_shift": _WIDEN,
    "arm_nn_mult_q7": _mult(_Q7),
    "arm_nn_mult_q15": _mult(_Q15),
}

_MEANING = {
    "Im_in": "Input image, height x width x channels.",
    "wt": "Weights.",
    "bias": "Bias, one per output channel; shifted left by `bias_shift`.",
    "Im_out": "Written: the output image.",
    "pV": "Input vector.",
    "pM": "Weight matrix, one row per output; the ``_opt`` functions take it interleaved.",
    "pOut": "Written: the outputs.",
    "pA": "Weight matrix, one row per output channel.",
    "pInBuffer": "Two im2col columns, one behind the other.",
    "pSrc": "Values to widen.",
    "pSrcA": "First factor.",
    "pSrcB": "Second factor.",
    "pDst": "Written: the results.",
    "data": "Values; overwritten by the results.",
    "vec_in": "Input vector.",
    "p_out": "Written: the outputs.",
    "dim_im_in": "Height and width of the input.",
    "dim_im_in_x": "Width of the input.",
    "dim_im_in_y": "Height of the input.",
    "ch_im_in": "Channels of the input.",
    "ch_im_out": "Channels of the output.",
    "dim_kernel": "Height and width of the window.",
    "dim_kernel_x": "Width of the window.",
    "dim_kernel_y": "Height of the window.",
    "padding": "Rows above and columns left of the image; the output size implies those below and to the right.",
    "padding_x": "Columns left of the image; the output width implies those to the right.",
    "padding_y": "Rows above the image; the output height implies those below.",
    "stride": "Step of the window.",
    "stride_x": "Step of the window to the right.",
    "stride_y": "Step of the window downwards.",
    "bias_shift": "Left shift of the bias.",
    "out_shift": "Right shift of the sum, rounding half up; 0 adds nothing.",
    "dim_im_out": "Height and width of the output.",
    "dim_im_out_x": "Width of the output.",
    "dim_im_out_y": "Height of the output.",
    "dim_vec": "Length of the input vector.",
    "num_of_rows": "Number of outputs.",
    "numCol_A": "Length of a column.",
    "size": "Number of values.",
    "blockSize": "Number of values.",
    "int_width": "Integer bits of the input, 0..3: its range is [-2**int_width, 2**int_width).",
    "type": "``ARM_SIGMOID`` (0); any other value, as ``ARM_TANH`` (1), is the hyperbolic tangent.",
}

_COMMON = """\
profile : {{"dsp", "scalar"}}
    The code that ran: ``"dsp"`` on Cortex-M4, M7, M33 with the DSP extension; ``"scalar"`` on Cortex-M0 and M3.

{returns}Raises
------
ValueError
    An array of the wrong type or too small, an integer that its C type cannot hold{refused}.
"""

_RETURNS = {
    "int": "int\n    ``ARM_MATH_SUCCESS`` (0), or ``ARM_MATH_SIZE_MISMATCH`` (-3) with the output untouched.",
    "None": "",
}

F = TypeVar("F", bound=Callable[..., Any])


def documented(*, refused: str = "", returns: str = "") -> Callable[[F], F]:
    """Append the sections of a function's docstring that follow from its row.

    `refused` says what raises besides bad arguments, `returns` describes what no ``arm_status`` function returns.
    """

    def add(function: F) -> F:
        signature = inspect.signature(function)
        arrays = PROTOTYPES[function.__name__]
        lines = ["", "", "Parameters", "----------"]
        for name in signature.parameters:
            if name in arrays:
                lines += [f"{name} : {arrays[name]}", f"    {_MEANING[name]}"]
            elif name in SCRATCH:
                lines += [f"{name} : array or None", "    Scratch memory of the C function; not used here."]
            elif name != "profile":
                lines += [f"{name} : int", f"    {_MEANING[name]}"]
        section = returns or _RETURNS[str(signature.return_annotation)]
        section = f"Returns\n-------\n{section}\n\n" if section else ""
        lines += [_COMMON.format(returns=section, refused=f"; {refused}" if refused else "")]
        # `python -OO` leaves no docstring to extend.
        if function.__doc__ is not None:
            function.__doc__ = inspect.cleandoc(function.__doc__) + "\n".join(lines)
        return function

    return add
