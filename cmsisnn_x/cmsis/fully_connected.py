# SPDX-License-Identifier: Apache-2.0
"""The six fully connected layers and the two matrix kernels of the convolutions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import _cmsis, ops
from ..errors import DomainError
from ..interleave import unpack_fully_connected
from ._call import ARM_MATH_SUCCESS, Call, right_shift, saturate, start_values
from ._prototypes import Profile, documented
from ._rules import RULES

Int8 = NDArray[np.int8]
Int16 = NDArray[np.int16]
Scratch = NDArray[Any] | None


def _products(call: Call, columns: NDArray[Any], weights: NDArray[Any], rows: int) -> NDArray[np.int32]:
    """Products of each column with each row: a 1x1 convolution of as many pixels as there are columns."""
    count, depth = columns.shape
    start = start_values(call.read("bias"), call["bias_shift"], call["out_shift"])
    acc = np.empty(count * rows, np.int32)
    _cmsis.accumulate(
        columns.reshape(-1), weights, start, acc, 1, count, depth, rows, 1, 1, 0, 0, 1, 1, 1, count, False
    )
    return right_shift(acc, call["out_shift"])


def _fully_connected(function: str, arguments: Mapping[str, Any]) -> int:
    call = Call(function, arguments)
    call.check_sizes()
    vector, matrix = call.read("pV"), call.read("pM")
    rows, depth = call["num_of_rows"], call["dim_vec"]
    if function.endswith("_opt") and matrix.size:
        matrix = unpack_fully_connected(matrix, rows, depth, vector.dtype).reshape(-1)
    if matrix.size and call.has_legal_shifts():
        result = ops.fully_connected(
            vector,
            matrix.reshape(rows, depth),
            call.read("bias"),
            bias_shift=call["bias_shift"],
            out_shift=call["out_shift"],
        )
    else:
        result = saturate(_products(call, vector[np.newaxis], matrix, rows), vector.dtype)
    call.write("pOut", result)
    return ARM_MATH_SUCCESS


@documented()
def arm_fully_connected_q7(
    pV: Int8,
    pM: Int8,
    dim_vec: int,
    num_of_rows: int,
    bias_shift: int,
    out_shift: int,
    bias: Int8,
    pOut: Int8,
    vec_buffer: Scratch,
    *,
    profile: Profile = "dsp",
) -> int:
    """q7 fully connected layer."""
    return _fully_connected("arm_fully_connected_q7", locals())


@documented()
def arm_fully_connected_q7_opt(
    pV: Int8,
    pM: Int8,
    dim_vec: int,
    num_of_rows: int,
    bias_shift: int,
    out_shift: int,
    bias: Int8,
    pOut: Int8,
    vec_buffer: Scratch,
    *,
    profile: Profile = "dsp",
) -> int:
    """q7 fully connected layer, `pM` as `pack_fully_connected(weights, "q7")` interleaves it."""
    return _fully_connected("arm_fully_connected_q7_opt", locals())


@documented()
def arm_fully_connected_q15(
    pV: Int16,
    pM: Int16,
    dim_vec: int,
    num_of_rows: int,
    bias_shift: int,
    out_shift: int,
    bias: Int16,
    pOut: Int16,
    vec_buffer: Scratch,
    *,
    profile: Profile = "dsp",
) -> int:
    """q15 fully connected layer."""
    return _fully_connected("arm_fully_connected_q15", locals())


@documented()
def arm_fully_connected_q15_opt(
    pV: Int16,
    pM: Int16,
    dim_vec: int,
    num_of_rows: int,
    bias_shift: int,
    out_shift: int,
    bias: Int16,
    pOut: Int16,
    vec_buffer: Scratch,
    *,
    profile: Profile = "dsp",
) -> int:
    """q15 fully connected layer, `pM` as `pack_fully_connected(weights, "q15")` interleaves it."""
    return _fully_connected("arm_fully_connected_q15_opt", locals())


@documented()
def arm_fully_connected_mat_q7_vec_q15(
    pV: Int16,
    pM: Int8,
    dim_vec: int,
    num_of_rows: int,
    bias_shift: int,
    out_shift: int,
    bias: Int8,
    pOut: Int16,
    vec_buffer: Scratch,
    *,
    profile: Profile = "dsp",
) -> int:
    """Fully connected layer, q7 weights and bias with q15 activations."""
    return _fully_connected("arm_fully_connected_mat_q7_vec_q15", locals())


@documented()
def arm_fully_connected_mat_q7_vec_q15_opt(
    pV: Int16,
    pM: Int8,
    dim_vec: int,
    num_of_rows: int,
    bias_shift: int,
    out_shift: int,
    bias: Int8,
    pOut: Int16,
    vec_buffer: Scratch,
    *,
    profile: Profile = "dsp",
) -> int:
    """Fully connected layer, q15 activations with q7 weights as `pack_fully_connected(weights, "q15")` interleaves."""
    return _fully_connected("arm_fully_connected_mat_q7_vec_q15_opt", locals())


def _mat_mult(function: str, arguments: Mapping[str, Any], *, reordered: bool) -> Int8 | None:
    call = Call(function, arguments)
    if not call.dsp:
        return None
    rows, depth = call["ch_im_out"], call["numCol_A"]
    if problem := RULES[function].unsafe(call.numbers):
        raise DomainError(f"{function}: {problem}")
    call.check_sizes()
    columns = call.read("pInBuffer").reshape(2, depth)
    if reordered:
        columns = columns.copy()
        grouped = depth & ~3
        # The order 0, 2, 1, 3 is its own inverse.
        columns[:, :grouped] = columns[:, :grouped].reshape(2, -1, 2, 2).swapaxes(2, 3).reshape(2, -1)
    call.write("pOut", saturate(_products(call, columns, call.read("pA"), rows), np.dtype(np.int8)))
    return call.arrays["pOut"].reshape(-1)[2 * rows :]


_ADVANCED = """int8 array or None
    `pOut` behind the written outputs, ``pOut[2 * ch_im_out:]``: what the C code returns as the advanced pointer.
    ``None`` under ``"scalar"``, where the C code does nothing and returns NULL."""


@documented(returns=_ADVANCED)
def arm_nn_mat_mult_kernel_q7_q15(
    pA: Int8,
    pInBuffer: Int16,
    ch_im_out: int,
    numCol_A: int,
    bias_shift: int,
    out_shift: int,
    bias: Int8,
    pOut: Int8,
    *,
    profile: Profile = "dsp",
) -> Int8 | None:
    """Multiply q7 weights with two q15 columns: the outputs of the first column, then those of the second."""
    return _mat_mult("arm_nn_mat_mult_kernel_q7_q15", locals(), reordered=False)


@documented(returns=_ADVANCED, refused='an odd `ch_im_out` under ``"dsp"``, which reads and writes beyond the arrays')
def arm_nn_mat_mult_kernel_q7_q15_reordered(
    pA: Int8,
    pInBuffer: Int16,
    ch_im_out: int,
    numCol_A: int,
    bias_shift: int,
    out_shift: int,
    bias: Int8,
    pOut: Int8,
    *,
    profile: Profile = "dsp",
) -> Int8 | None:
    """Multiply q7 weights with two q15 columns that :func:`arm_q7_to_q15_reordered_no_shift` made; `ch_im_out` even."""
    return _mat_mult("arm_nn_mat_mult_kernel_q7_q15_reordered", locals(), reordered=True)
