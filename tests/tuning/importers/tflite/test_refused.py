# SPDX-License-Identifier: Apache-2.0
"""Operators that are not taken, each with its reason: a sentence that names the tensor and what would do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers.tflite_cases import Case, ints, network, q, refusal_of
from helpers.tflite_cases_elements import ELEMENTS, pair
from helpers.tflite_cases_layers import LAYERS, pool, softmax
from helpers.tflite_cases_moves import MOVES
from helpers.tflite_cases_networks import NETWORKS
from helpers.tflite_files import G, O, T

CASES: Mapping[str, Case] = {**LAYERS, **ELEMENTS, **MOVES, **NETWORKS}
REACH = {"padding": "SAME", "stride_h": 1, "stride_w": 1}
GONE = object()


def but(name: str, *, options: Mapping[str, Any] | None = None, **tensors: Any) -> Case:
    """A case of which fields of tensors, or options of the last operator, are others; `GONE` drops a tensor's data."""
    case = CASES[name]
    made = []
    for tensor in case.tensors:
        fields = dict(tensors.pop(tensor.name, {}))
        if fields.get("data") is GONE:
            fields["data"] = None
            fields.setdefault("shape", np.shape(tensor.data) if tensor.shape is None else tensor.shape)
            fields.setdefault("dtype", "INT32" if tensor.scale is None else "INT8")
        made.append(replace(tensor, **fields))
    assert not tensors
    last = case.ops[-1]
    ops = [*case.ops[:-1], replace(last, options={**(last.options or {}), **(options or {})})]
    return replace(case, tensors=made, ops=ops)


def wired(name: str, inputs: tuple[Any, ...] | None = None, outputs: tuple[Any, ...] | None = None) -> Case:
    """A case whose last operator has other inputs or outputs."""
    case = CASES[name]
    last = case.ops[-1]
    last = replace(
        last, inputs=last.inputs if inputs is None else inputs, outputs=last.outputs if outputs is None else outputs
    )
    return replace(case, ops=[*case.ops[:-1], last])


def once(case: Case, *ops: O, tensors: tuple[T, ...] = ()) -> Case:
    """Variables whose first values are set in another way."""
    return replace(case, subgraphs=[G([*case.subgraphs[0].tensors, *tensors], ops, name="NoOp")])


X, Y = q("x", (1, 4, 4, 2)), q("y", (1, 4, 4, 2))
FLOAT = T("f", (1, 4, 4, 2), "FLOAT32")
VARIABLES = CASES["variables"]
START = VARIABLES.subgraphs[0].ops
WIDE = {"dtype": "INT16", "zero_point": 3}

REFUSED: dict[str, tuple[Case, str]] = {
    # Tensors.
    "int32": (but("RELU", x={"dtype": "INT32"}), "tensor 0 'x': expected integers of 8 or 16 bits, got INT32"),
    "no scale": (but("ADD alike", b={"scale": None}), "tensor 1 'b': expected one scale, got a tensor without scale"),
    "scales per channel": (
        but("ADD alike", b={"scale": [1, 2, 3, 4, 5], "axis": 3}), "expected one scale, got 5 scales"
    ),
    "a scale of 0": (but("RELU", y={"scale": 0.0}), "tensor 1 'y': scale: expected finite numbers above 0, got 0.0"),
    "no elements": (but("RELU", x={"shape": (1, 0)}), "tensor 0 'x': shape: expected sizes above 0, got 1x0"),
    "sparse weights": (but("conv", w={"is_sparse": True}), "tensor 1 'w': expected dense data, got sparse ones"),
    "a computed bias": (but("conv", b={"data": GONE}), "input 2: expected a constant, got what is computed"),
    "no weights": (wired("conv", ("x", None)), "weights: expected a constant, got none"),
    "no input": (wired("conv", ()), "expected an input 0, got none"),
    "an optional input that is needed": (wired("RELU", (None,)), "expected an input 0, got none"),
    "a second input that is needed": (wired("MUL alike", ("a",)), "expected an input 1, got none"),
    "axes that are floats": (
        but("mean of rows", axes={"data": np.ones(1, np.float32)}),
        "axes: expected a few whole numbers, got float32 of shape (1,)",
    ),
    "axes without end": (
        but("mean of rows", axes={"data": np.ones(65, np.int32)}),
        "expected a few whole numbers, got int32 of shape (65,)",
    ),
    "two axes of a split": (
        but("SPLIT", axis={"data": np.zeros(2, np.int32), "shape": (2,)}), "axis: expected one number, got 2"
    ),
    # Weights and biases.
    "weights of int16": (
        but("conv", w={"data": np.zeros((5, 3, 3, 3), np.int16)}), "weights of int8 expected, got INT16"
    ),
    "weights with a zero point": (
        but("conv per tensor", w={"zero_point": 3}), "tensor 1 'w': expected weights with scales and zero point 0"
    ),
    "weights without scales": (but("conv", w={"scale": None}), "expected weights with scales and zero point 0"),
    "weights whose scales run along an axis of another size": (
        but("conv", w={"axis": 3}), "expected 1 number, or 3 as dimension 3 of 5x3x3x3 has, got 5"
    ),
    "weights whose scales run elsewhere": (
        but("depthwise", w={"axis": 2}), "tensor 1 'w': expected scales along dimension 3, got 2"
    ),
    "weights with scales that do not match": (
        but("conv", w={"scale": [1, 2, 3], "axis": 1}), "expected scales along dimension 0, got 1"
    ),
    "a bias of another length": (
        but("conv", b={"data": np.zeros(4, np.int32), "scale": None}), "expected a bias of 5 int32, got INT32 of 4"
    ),
    "a bias of int64": (
        but("conv", b={"data": np.zeros(5, np.int64)}), "tensor 3 'b': expected a bias of 5 int32, got INT64 of 5"
    ),
    "a bias of int32 beside int16": (
        but("conv int16", b={"data": np.zeros(5, np.int32)}), "expected a bias of 5 int64, got INT32 of 5"
    ),
    "no bias, of int32, beside int16": (
        but("conv int16 per tensor without bias", options={"quantized_bias_type": "INT32"}),
        "int16 whose bias would be int32: expected quantized_bias_type INT64",
    ),
    "a bias with other steps": (
        but("conv", b={"scale": np.ones(5, np.float32)}), "tensor 3 'b': expected the scale of input times weights,"
    ),
    "a bias whose scale is NaN": (
        but("conv", b={"scale": [np.nan] * 5}), "tensor 3 'b': scale: expected finite numbers above 0, got nan"
    ),
    "a bias with another number of scales": (
        but("conv", b={"scale": [1.0, 2.0]}), "tensor 3 'b': expected 5 scales, got 2"
    ),
    "weights of another number of scales": (
        but("conv", w={"data": np.zeros((4, 3, 3, 3), np.int8), "scale": [1, 2, 3, 4]}),
        "tensor 1 'w': expected 1 or 5 scales, got 4",
    ),
    "weights of another depth": (
        but("conv", w={"data": np.zeros((5, 3, 3, 2), np.int8)}),
        "weights of shape (5, 3, 3, 2) do not fit an input of 3"
    ),
    "weights of three dimensions": (
        but("conv per tensor", w={"data": np.zeros((5, 3, 3), np.int8)}), "weights of shape (5, 3, 3) do not fit"
    ),
    "weights of another number of filters": (
        but("conv per tensor", w={"data": np.zeros((4, 3, 3, 3), np.int8)}), "weights of shape (4, 3, 3, 3) do not fit"
    ),
    "groups that do not divide": (
        but("conv in groups", w={"data": np.zeros((8, 3, 3, 2), np.int8), "scale": 1.0}, b={"data": GONE},
            y={"shape": (1, 5, 4, 8)}),
        "expected a number of output channels that 3 groups divide, got 8",
    ),
    "depthwise weights that do not fit": (
        but("depthwise", x={"shape": (1, 6, 5, 2)}), "weights of shape (1, 3, 3, 3) do not fit an input of 2 channels"
    ),
    "shuffled weights": (but("dense", options={"weights_format": 1}), "weights in the format SHUFFLED4x16INT8"),
    "dense weights that do not fit": (
        but("dense", x={"shape": (2, 13)}), "weights of shape (5, 12) do not fit an input of 26 elements"
    ),
    "a dense output of another size": (
        but("dense", y={"shape": (3, 5)}), "expected an output of 2 x 5 elements, the file has (3, 5)"
    ),
    "a dense output that is a number": (
        but("dense", y={"shape": ()}), "expected an output of at least one dimension, got a scalar"
    ),
    # Windows.
    "an image of two dimensions": (
        but("conv", x={"shape": (6, 5)}), "expected an image of four dimensions, got (6, 5)"
    ),
    "a stride of 0": (but("conv", options={"stride_h": 0}), "expected strides and dilations from 1 on, got (0, 1)"),
    "a dilation below 0": (but("conv", options={"dilation_w_factor": -2}), "expected strides and dilations from 1 on"),
    "a window of 0": (
        but("MAX_POOL_2D valid", options={"filter_width": 0}), "expected a window from 1x1 on, got (3, 0)"
    ),
    "an output of another height": (
        but("conv", y={"shape": (1, 5, 5, 5)}), "expected an output of 6 along axis 1, the file has 5"
    ),
    "a pool of another scale": (
        but("MAX_POOL_2D valid", y={"scale": 1.5}), "expected one scale and zero point for all, got int8 "
    ),
    "an activation that is not known": (
        but("conv", options={"fused_activation_function": "TANH"}), "CONV_2D (1x, first 'y'): fused activation TANH"
    ),
    "a concatenation with an activation": (
        but("CONCATENATION", options={"fused_activation_function": "RELU"}), "a fused activation"
    ),
    # Types.
    "another type of output": (but("conv", y={"dtype": "INT16", "zero_point": 0}), "expected int8, got int16"),
    "uint8 inside": (but("conv", x={"dtype": "UINT8", "zero_point": 3}), "expected int8 or int16, got uint8"),
    "int16 with a zero point": (but("ADD int16", a=WIDE), "expected int16 with zero point 0, got [3, 0, 0]"),
    "int16 with a zero point in a convolution": (but("conv int16", x=WIDE), "expected zero points 0 with 16 bits"),
    "int16 that LiteRT shifts": (
        replace(pair("ADD", "pot", dtype="INT16", own=(0.5, 0.25, 0.5), pot_scale_int16=True), arithmetics=("litert",)),
        "LiteRT adds int16 of power-of-two scales in shifts of its own (pot_scale_int16)",
    ),
    # Means, softmax, curves.
    "a mean over an axis that is not there": (
        but("mean of rows", axes={"data": np.array([4], np.int32)}), "expected axes of (2, 3, 4, 5), got [4]"
    ),
    "a mean of another size": (but("mean of rows", y={"shape": (2, 1, 4, 4)}), "axes [1] of (2, 3, 4, 5) do not give"),
    "softmax to another scale": (
        but("softmax", y={"scale": 0.5}),
        "expected an output of int8 0.00390625, -128 or int16 1.52588e-05, -32768, got"
    ),
    "softmax int16 to another scale": (
        but("softmax int16", y={"scale": 0.5}), "expected an output of int16 3.05176e-05, 0"
    ),
    "beta of 0": (but("softmax", options={"beta": 0.0}), "beta: expected a positive number, got 0.0"),
    "beta NaN": (but("softmax", options={"beta": float("nan")}), "beta: expected a positive number, got nan"),
    "an average of too many": (
        pool("AVERAGE_POOL_2D", "many", (1, 256, 257, 1), (256, 257), dtype="INT16"),
        "expected a window of at most 65535 elements of 16 bits, whose sum fits 32 bits, got 65792",
    ),
    "a softmax of long rows": (softmax("long", (1, 4096)), "expected rows of at most 4095 elements, whose sum fits 32"),
    "a softmax of no steps": (softmax("tiny", own=1e-9), "expected a scale of at least 2^-26"),
    "a logistic to another scale": (
        but("LOGISTIC scale 0.05", y={"scale": 0.5}), "expected an output of 0.00390625, -128, got 0.5, -128"
    ),
    "a tanh of int16 to another scale": (
        but("TANH int16", y={"scale": 0.5}), "expected an output of 2^-15, 0, got 0.5, 0"
    ),
    "a factor that is too large": (
        but("RELU", x={"scale": 1e30}, y={"scale": 1e-30}), "real: expected a factor below 2^30, got 1e+60"
    ),
    "a factor that is no number": (
        replace(but("MUL alike", a={"scale": 1e30}, b={"scale": 1e30}), arithmetics=("litert",)),
        "real: expected a finite factor of at least 0, got inf",
    ),
    "a sum whose factor is too large": (
        but("ADD alike", a={"scale": 1e30}),
        "expected an output scale above 1.90735e+24, where TFLM and LiteRT abort, got 0.0"
    ),
    "a difference of int16 whose factor is 1": (
        pair("SUB", "one", dtype="INT16", own=(0.5, 0.25, 2.0**-15)),
        "expected an output scale above 3.05176e-05, where TFLM and LiteRT abort, got 3.05176e-05"
    ),
    "an alpha that is no number": (
        but("LEAKY_RELU 0.1", options={"alpha": float("nan")}), "expected a finite factor of at least 0, got nan"
    ),
    "six in steps that are too small": (
        but("MAX_POOL_2D relu6", x={"scale": 1e-30}, y={"scale": 1e-30}),
        "scale: expected one at which 6 is less than 2^31 steps, got 1e-30"
    ),
    # Shapes.
    "a sum of another shape": (
        but("ADD alike", y={"shape": (1, 3, 4, 6)}), "shapes (1, 3, 4, 5) and (1, 3, 4, 5) do not give (1, 3, 4, 6)"
    ),
    "a sum of shapes that do not fit": (
        but("ADD alike", b={"shape": (2,)}), "shapes (1, 3, 4, 5) and (2,) do not give"
    ),
    "two constants": (
        but("ADD broadcast a constant", a={"data": np.zeros((1, 3, 4, 5), np.int8)}), "both inputs are constants"
    ),
    "a reshape of another size": (but("SQUEEZE", y={"shape": (4, 5)}), "(1, 4, 1, 6) does not become (4, 5)"),
    "no permutation": (
        but("TRANSPOSE", perm={"data": np.array([0, 1, 1, 2], np.int32)}), "expected a permutation of 4 axes, got"
    ),
    "a transposition to another size": (
        but("TRANSPOSE", y={"shape": (2, 5)}), "expected a result of 120 elements, the file has (2, 5)"
    ),
    "paddings of another rank": (
        but("PAD", pads={"data": np.zeros((3, 2), np.int32)}), "expected paddings of 4 axes, got"
    ),
    "an odd number of paddings": (but("PAD", pads={"data": np.zeros(7, np.int32)}), "expected paddings of 4 axes, got"),
    "negative paddings": (
        but("PAD", pads={"data": np.array([[0, 0], [-1, 2], [0, 0], [0, 0]], np.int32)}), "expected paddings of 4 axes"
    ),
    "a pad of another size": (
        but("PAD", y={"shape": (1, 6, 8, 2)}), "expected an output of (1, 6, 7, 2), the file has"
    ),
    "two values": (
        but("PADV2", value={"data": np.zeros(2, np.int8), "shape": (2,)}), "expected one value of int8, got int8"
    ),
    "a value of another type": (
        but("PADV2", value={"data": np.zeros(1, np.int32)}), "expected one value of int8, got int32"
    ),
    "pieces that do not fit": (
        but("CONCATENATION", x1={"shape": (1, 3, 3, 5)}),
        "inputs of [(1, 3, 2, 4), (1, 3, 3, 5), (1, 3, 2, 1)] do not give"
    ),
    "pieces of other ranks": (but("CONCATENATION", x1={"shape": (30,)}), "do not give (1, 3, 2, 10)"),
    "no pieces": (wired("CONCATENATION", ()), "inputs of [] do not give"),
    "an axis that is not there": (
        but("CONCATENATION", options={"axis": 4}), "expected an axis of (1, 3, 2, 10), got 4"
    ),
    "an axis before the first": (but("PACK", options={"axis": -4}), "expected an axis of (2, 3, 4), got -4"),
    "a pack of other ranks": (but("PACK", x0={"shape": (12,)}), "(12,) is no part of (2, 3, 4)"),
    "a part too few": (wired("UNPACK", outputs=("y0",)), "1 outputs of axis 0 of (2, 5, 4, 3)"),
    "parts that do not fit": (wired("SPLIT", outputs=("y0", "y1")), "axis 3 of (2, 5, 4, 3) does not come in 2 parts"),
    "sizes that do not fit": (
        but("SPLIT_V", sizes={"data": np.array([1, 2, 1], np.int32)}), "does not come in parts of [1, 2, 1]"
    ),
    "sizes below 1": (but("SPLIT_V", sizes={"data": np.array([6, -2, 1], np.int32)}), "in parts of [6, -2, 1]"),
    "a slice of no elements": (
        but("STRIDED_SLICE", end={"data": np.zeros(4, np.int32)}), "expected a result of 0 elements"
    ),
    "a slice with an ellipsis": (
        but("STRIDED_SLICE", options={"ellipsis_mask": 1}), "expected a slice without ellipsis, new axes and offsets"
    ),
    "a slice with a new axis": (
        but("STRIDED_SLICE", options={"new_axis_mask": 2}), "expected a slice without ellipsis"
    ),
    "a step of 0": (
        but("STRIDED_SLICE", steps={"data": np.array([1, 0, 1, 1], np.int32)}), "expected a slice of (2, 5, 4, 3), got"
    ),
    "an index outside": (
        but("STRIDED_SLICE that shrinks", begin={"data": np.array([0, 7, 0, 1], np.int32)}),
        "is out of bounds for axis 1"
    ),
    "a slice of another rank": (
        but("SLICE", size={"data": np.ones(3, np.int32)}), "expected a slice of (2, 5, 4, 3), got"
    ),
    "a table that does not begin at the lowest byte": (
        but("a table", first={"data": np.array([127], np.int32)}), "expected indices of a byte + 128"
    ),
    "a table of another scale": (but("a table", table={"scale": 0.5}), "expected constants of the output's scale"),
    "a table of fewer constants": (but("a table", table={"data": np.zeros(255, np.int8)}), "and 256 constants of int8"),
    "indices that are added to a tensor": (
        but("a table", first={"data": GONE}), "expected one whole number that is added to indices"
    ),
    "indices at random": (but("GATHER", at={"data": np.array([0, 2, 1], np.int32)}), "expected indices in equal steps"),
    "an index beyond": (
        but("GATHER one", at={"data": np.array([4], np.int32)}), "expected indices of axis 2 of (2, 5, 4, 3), got (4,)"
    ),
    "a resize to another size": (
        but("RESIZE (6, 8)", size={"data": np.array([6, 7], np.int32)}),
        "expected an output of (2, 6, 7, 2), the file has"
    ),
    "a move to another type": (but("TRANSPOSE", y={"dtype": "UINT8", "zero_point": 3}), "expected int8, got uint8"),
    "seven axes": (
        network([q("x", (2,) * 7), ints("p", 6, 5, 4, 3, 2, 1, 0), q("y", (2,) * 7)],
                [O("TRANSPOSE", ["x", "p"], ["y"])]),
        "expected a view of at most 6 axes",
    ),
    # Floats.
    "a function of two floats": (
        network([X, replace(X, name="r"), FLOAT, replace(FLOAT, name="g"), replace(FLOAT, name="h"), Y],
                [O("RELU", ["x"], ["r"]), O("DEQUANTIZE", ["x"], ["f"]), O("DEQUANTIZE", ["r"], ["g"]),
                 O("ADD", ["f", "g"], ["h"]), O("QUANTIZE", ["h"], ["y"])]),
        "ADD (1x, first 'h'): floats of two tensors: a function of one tensor of 8 bits, and of numbers, can be taken",
    ),
    "a function of int16": (
        network([replace(X, dtype="INT16", zero_point=0), FLOAT, replace(FLOAT, name="g"), Y],
                [O("DEQUANTIZE", ["x"], ["f"]), O("EXP", ["f"], ["g"]), O("QUANTIZE", ["g"], ["y"])]),
        "EXP (1x, first 'g'): float numbers between DEQUANTIZE and QUANTIZE: a function of one tensor of 8 bits can be",
    ),
    "floats of int16 that are quantised again": (
        network([replace(X, dtype="INT16", zero_point=0), FLOAT, Y],
                [O("DEQUANTIZE", ["x"], ["f"]), O("QUANTIZE", ["f"], ["y"])]),
        "floats of int16 that are quantised again",
    ),
    "a function that gives no number": (
        network([X, FLOAT, replace(FLOAT, name="g"), Y],
                [O("DEQUANTIZE", ["x"], ["f"]), O("LEAKY_RELU", ["f"], ["g"], {"alpha": float("nan")}),
                 O("QUANTIZE", ["g"], ["y"])]),
        "a function that gives no finite number of some input",
    ),
    "numbers of four bits": (
        but("conv", w={"dtype": "INT4", "shape": np.shape(CASES["conv"].tensor("w").data), "data": bytes(8)}),
        "weights: expected integers of 8 bits or more, or floats of 16 or more, got INT4",
    ),
    "a depth multiplier that is none": (
        but("depthwise", options={"depth_multiplier": 0}), "depth_multiplier: expected 1, which TFLM goes by, got 0"
    ),
    "int16 to uint8": (
        network([replace(X, dtype="INT16", zero_point=0), replace(Y, dtype="UINT8", zero_point=9)],
                [O("QUANTIZE", ["x"], ["y"])]),
        "int16 to uint8, which TFLM and LiteRT lack",
    ),
    "an axis that goes, backwards": (
        network([X, ints("b", 0, 3), ints("e", 1, 1), ints("s", 1, -1), replace(Y, shape=(1,))],
                [O("STRIDED_SLICE", ["x", "b", "e", "s"], ["y"], {"shrink_axis_mask": 2})]),
        "expected positive strides where an axis goes, got (1, -1)",
    ),
    "a sigmoid of int16 in large steps": (
        network([replace(X, dtype="INT16", scale=3.0, zero_point=0),
                 replace(Y, dtype="INT16", scale=2.0**-15, zero_point=0)], [O("LOGISTIC", ["x"], ["y"])]),
        "expected an input scale below 2.667, got 3",
    ),
    "integers where floats belong": (
        network([X, Y], [O("EXP", ["x"], ["y"])]), "expected floats between DEQUANTIZE and QUANTIZE, got int8"
    ),
    "floats out of nowhere": (
        network([X, FLOAT, Y], [O("CUSTOM", ["x"], ["f"], custom="Audio"), O("QUANTIZE", ["f"], ["y"])]),
        "got others: 'Audio' (1x, first 'f'): no kernel for it",
    ),
    "an input that is quantised in two ways": (
        network([FLOAT, X, Y], [O("QUANTIZE", ["f"], ["x"]), O("QUANTIZE", ["f"], ["y"])], ("f",), ("x", "y")),
        "an input that is quantised in two ways",
    ),
    "an input that is quantised in two ways, one of them reshaped": (
        network([FLOAT, T("g", (32,), "FLOAT32"), q("x", (32,)), q("y", (32,))],
                [O("QUANTIZE", ["f"], ["x"]), O("RESHAPE", ["f"], ["g"]), O("QUANTIZE", ["g"], ["y"])],
                ("f",), ("x", "y")),
        "an input that is quantised in two ways",
    ),
    # Constants.
    "shapes that do not fit together": (
        but("a shape that is computed", zero={"data": np.array([0, 0], np.int32)}),
        "constants that do not fit together: "
    ),
    "weights that come out in another shape": (
        but("weights that are computed", w={"shape": (5, 3, 9)}),
        "constants that give (5, 3, 3, 3), the file has (5, 3, 9)"
    ),
    "constants with an activation": (
        network([X, ints("i", 1), T("j", (1,), "INT32"), Y],
                [O("ADD", ["i", "i"], ["j"], {"fused_activation_function": "RELU"}), O("RESHAPE", ["x", "j"], ["y"])]),
        "constants with a fused activation",
    ),
    # Variables.
    "a variable that nothing fills": (
        once(VARIABLES, *START[:3]), "expected a variable that CALL_ONCE fills with constants"
    ),
    "a variable that something computed fills": (
        once(VARIABLES, *START[:2], O("ASSIGN_VARIABLE", ["h", "h2"])),
        "ASSIGN_VARIABLE in the subgraph that runs once: expected constants to be assigned",
    ),
    "another operator that runs once": (
        once(VARIABLES, *START, O("CUSTOM", ["zero"], ["zero"], custom="x")), "CUSTOM in the subgraph that runs once"
    ),
    "no subgraph that runs once": (
        replace(VARIABLES, ops=[O("CALL_ONCE", options={"init_subgraph_index": 7}), *VARIABLES.ops[1:]]),
        "CALL_ONCE: expected another subgraph of the file, got 7",
    ),
    "a variable that is read before anything fills it": (
        replace(VARIABLES, ops=[*VARIABLES.ops[1:4], VARIABLES.ops[0], *VARIABLES.ops[4:]]),
        "CALL_ONCE (1x, first ''): expected one before every READ_VARIABLE",
    ),
    "a variable that is read in two ways": (
        replace(VARIABLES, ops=[*VARIABLES.ops[:4], O("READ_VARIABLE", ["h"], ["sum"]), *VARIABLES.ops[5:]]),
        "expected a variable that is read as it was assigned, or read before, with the same scale",
    ),
    "a variable that is assigned with another scale": (
        replace(VARIABLES, ops=[*VARIABLES.ops, O("ASSIGN_VARIABLE", ["h", "sum"])]),
        "expected a variable that was read before with the same scale",
    ),
    # Networks.
    "an operator that nobody knows": (
        network([X, Y], [O(300, ["x"], ["y"])]), "operator 300 (1x, first 'y'): no kernel for it"
    ),
    "an operator without output": (
        replace(CASES["ADD alike"], ops=[*CASES["ADD alike"].ops, O("ASSIGN_VARIABLE", ["a", "b"])]),
        "ASSIGN_VARIABLE (1x, first ''): expected a variable of the file",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_taken_is_refusal_of(tmp_path: Path, name: str) -> None:
    case, says = REFUSED[name]
    text = refusal_of(tmp_path / "m.tflite", case)
    assert text.startswith("expected operators that this version takes, got others: ")
    assert says in text
