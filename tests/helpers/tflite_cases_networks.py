# SPDX-License-Identifier: Apache-2.0
"""Cases of several operators: borders, shapes that are computed, dead ends, several inputs and outputs, variables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from helpers import int8_oracle as oracle
from helpers import int8_tables as tables
from helpers.int8_oracle import Arithmetic
from helpers.tflite_cases import Case, Values, among, between, ints, q
from helpers.tflite_cases_layers import conv
from helpers.tflite_files import G, O, T

A, B, C, D = (q(name, (1, 3, 4, 2)) for name in ("a", "b", "c", "d"))
PLAIN = {"fused_activation_function": "NONE", "pot_scale_int16": False}


def added(values: Values, a: T = A, b: T = B, out: T = C) -> np.ndarray:
    return oracle.add(values[a.name], values[b.name], **among(a, b, out))


def flat(out: np.ndarray) -> np.ndarray:
    return out.reshape(1, -1)


def _convolution(name: str) -> tuple[Case, list[T], O]:
    """A convolution to be put between other operators: the case, its tensors and its operator."""
    case = conv(name)
    return case, list(case.tensors), case.ops[0]


def _float_border() -> Case:
    case, tensors, op = _convolution("float border")
    x, y = case.tensor("x"), case.tensor("y")
    ends = [T("in", x.shape, "FLOAT32"), T("out", y.shape, "FLOAT32")]
    ops = [O("QUANTIZE", ["in"], ["x"]), op, O("DEQUANTIZE", ["y"], ["out"])]

    def expect(values: Values, arithmetic: Arithmetic) -> Mapping[str, np.ndarray]:
        return {"out": np.asarray(case.expect({"x": values["in"]}, arithmetic))}

    return Case([*tensors, *ends], ops, ["in"], ["out"], expect, nodes=("conv2d",))


def _unsigned_border() -> Case:
    case, tensors, op = _convolution("unsigned border")
    x, y = case.tensor("x"), case.tensor("y")
    ends = [q("in", x.shape, "UINT8"), q("out", y.shape, "UINT8")]
    ops = [O("QUANTIZE", ["in"], ["x"]), op, O("QUANTIZE", ["y"], ["out"])]

    def expect(values: Values, arithmetic: Arithmetic) -> np.ndarray:
        inner = tables.quantize(values["in"], **between(ends[0], x))
        made = case.expect({"x": inner}, arithmetic)
        assert isinstance(made, np.ndarray)
        return tables.quantize(made, output_dtype=np.uint8, **between(y, ends[1]))

    return Case([*tensors, *ends], ops, ["in"], ["out"], expect, nodes=("look_up", "conv2d", "look_up"))


def _reshaped_border() -> Case:
    """The float output is reshaped, twice."""
    tensors = [A, B, C, T("f", C.shape, "FLOAT32"), T("g", (24,), "FLOAT32"), T("h", (1, 24), "FLOAT32"),
               ints("shape", 24)]  # fmt: skip
    ops = [
        O("ADD", ["a", "b"], ["c"], PLAIN), O("DEQUANTIZE", ["c"], ["f"]), O("RESHAPE", ["f", "shape"], ["g"]),
        O("EXPAND_DIMS", ["g", None], ["h"]),
    ]  # fmt: skip
    return Case(tensors, ops, ["a", "b"], ["h"], lambda values, _: flat(added(values)), nodes=("add",))


def _one_border_for_two() -> Case:
    """A float input that is quantised twice, alike."""
    x = T("in", A.shape, "FLOAT32")
    other = replace(A, name="a2")
    ops = [O("QUANTIZE", ["in"], ["a"]), O("QUANTIZE", ["in"], ["a2"]), O("ADD", ["a", "a2"], ["c"], PLAIN)]

    def expect(values: Values, arithmetic: Arithmetic) -> np.ndarray:
        return oracle.add(values["in"], values["in"], **among(A, A, C))

    return Case([x, A, other, C], ops, ["in"], ["c"], expect, nodes=("add",))


def _computed_shape() -> Case:
    """SHAPE, STRIDED_SLICE, PACK and what else makes the operand of a RESHAPE."""
    tensors = [
        A, B, C, q("y", (1, 24), scale=C.scale, zero_point=C.zero_point), T("shape", (4,), "INT32"),
        T("batch", (), "INT32"), T("target", (2,), "INT32"), ints("zero", 0), ints("one", 1),
        ints("rest", -1, shape=()), T("wide", (4,), "INT64"), T("tail", (3,), "INT64"), T("count", (), "INT64"),
        T("counted", (), "INT32"), ints("axis", 0), ints("minus", -1, shape=()), T("kept", (), "INT32"),
        T("same", (2,), "INT32"), T("first", (2, 1), "INT32"), T("second", (1, 2), "INT32"), ints("perm", 1, 0),
        ints("places", 1, dtype=np.int64, shape=()), T("axes", (1,), "INT32"),
    ]  # fmt: skip
    shrink = {"shrink_axis_mask": 1, "begin_mask": 0, "end_mask": 0}
    ops = [
        O("ADD", ["a", "b"], ["c"], PLAIN),
        O("SHAPE", ["c"], ["shape"], {"out_type": "INT32"}),
        O("STRIDED_SLICE", ["shape", "zero", "one", "one"], ["batch"], shrink),
        O("CAST", ["shape"], ["wide"]),
        O("STRIDED_SLICE", ["wide", "one", "zero", "one"], ["tail"], {"end_mask": 1}),
        O("REDUCE_PROD", ["tail", "axis"], ["count"]),
        O("CAST", ["count"], ["counted"]),
        O("MAXIMUM", ["counted", "rest"], ["kept"]),
        O("PACK", ["batch", "kept"], ["same"], {"axis": 0, "values_count": 2}),
        O("EXPAND_DIMS", ["same", "minus"], ["first"]),
        O("TRANSPOSE", ["first", "perm"], ["second"]),
        O("SQUEEZE", ["second"], ["target"], {"squeeze_dims": (0,)}),
        O("RESHAPE", ["c", "target"], ["y"]),
    ]
    return Case(tensors, ops, ["a", "b"], ["y"], lambda values, _: flat(added(values)), nodes=("add", "copy"))


def _made_weights() -> Case:
    """Weights that come out of a TRANSPOSE, a RESHAPE and a CONCATENATION of constants."""
    case, tensors, op = _convolution("made weights")
    w = case.tensor("w")
    assert isinstance(w.data, np.ndarray)
    stored = w.data.transpose(3, 0, 1, 2).reshape(3, -1)
    halves = [T("w0", data=stored[:1].copy(), scale=1.0), T("w1", data=stored[1:].copy(), scale=1.0)]
    more = [
        *halves, T("joined", (3, 45), scale=1.0), T("turned", (3, 5, 3, 3), scale=1.0), ints("shape", 3, 5, 3, 3),
        ints("perm", 1, 2, 3, 0), replace(w, data=None, shape=w.data.shape),
    ]  # fmt: skip
    ops = [
        O("CONCATENATION", ["w0", "w1"], ["joined"], {"axis": 0}), O("RESHAPE", ["joined", "shape"], ["turned"]),
        O("TRANSPOSE", ["turned", "perm"], ["w"]), op,
    ]  # fmt: skip
    kept = [tensor for tensor in tensors if tensor.name != "w"]
    return Case([*kept, *more], ops, ["x"], ["y"], case.expect, nodes=("conv2d",))


def _dead_ends() -> Case:
    """Operators that nobody reads, of kinds that nobody takes."""
    tensors = [A, B, C, D, q("e", A.shape)]
    ops = [
        O("CUMSUM", ["a"], ["d"]), O("CUSTOM", ["d"], ["e"], custom="Unheard"), O("ADD", ["a", "b"], ["c"], PLAIN),
        O("TANH", ["c"], ["d"]),
    ]  # fmt: skip
    return Case(tensors, ops, ["a", "b"], ["c"], lambda values, _: added(values), nodes=("add",))


def _outputs(*outputs: str) -> Case:
    """Two sums; outputs may be read, be one tensor, or be an input."""
    ops = [O("ADD", ["a", "b"], ["c"], PLAIN), O("SUB", ["c", "a"], ["d"], PLAIN)]

    def expect(values: Values, arithmetic: Arithmetic) -> Mapping[str, np.ndarray]:
        c = added(values)
        return {**values, "c": c, "d": oracle.sub(c, values["a"], **among(C, A, D))}

    return Case([A, B, C, D], ops, ["a", "b"], outputs, expect)


def _unused_subgraph() -> Case:
    other = G([T("x", (1, 2), "FLOAT32")], [O("CUSTOM", ["x"], ["x"], custom="Unheard")], ["x"], ["x"], name="other")
    ops = [O("ADD", ["a", "b"], ["c"], PLAIN)]
    return Case([A, B, C], ops, ["a", "b"], ["c"], lambda values, _: added(values), subgraphs=[other])


def _open_batch() -> Case:
    """The signature says that the batch may change."""
    items = [replace(item, signature=(-1, 3, 4, 2)) for item in (A, B, C)]
    ops = [O("ADD", ["a", "b"], ["c"], PLAIN)]
    return Case(items, ops, ["a", "b"], ["c"], lambda values, _: added(values))


def _unread_input() -> Case:
    ops = [O("ADD", ["a", "a"], ["c"], PLAIN)]

    def expect(values: Values, arithmetic: Arithmetic) -> np.ndarray:
        return oracle.add(values["a"], values["a"], **among(A, A, C))

    return Case([A, B, C], ops, ["a", "b"], ["c"], expect)


HANDLE = {"container": "", "shared_name": "window"}


def _variables(outputs: tuple[str, ...] = ("y",)) -> Case:
    """A window of three frames that the newest enters: what streaming models do. Another variable holds a sum."""
    frame = q("x", (1, 1, 4))
    alike = {"scale": frame.scale, "zero_point": frame.zero_point}
    y, held = q("y", (1, 1, 4)), q("sum", (1, 1, 4))
    first = np.arange(-4, 4, dtype=np.int8).reshape(1, 2, 4)
    tensors = [
        frame, T("h", (), "RESOURCE"), T("h2", (), "RESOURCE"), T("old", (1, 2, 4), **alike),
        T("all", (1, 3, 4), **alike), T("new", (1, 2, 4), **alike), T("top", (1, 1, 4), **alike), held,
        replace(held, name="total"), y, ints("b", 0, 1, 0), ints("e", 1, 3, 4), ints("one", 1, 1, 1),
        ints("b0", 0, 0, 0), ints("e0", 1, 1, 4),
    ]  # fmt: skip
    ops = [
        O("CALL_ONCE", options={"init_subgraph_index": 1}),
        O("VAR_HANDLE", [], ["h"], HANDLE),
        O("VAR_HANDLE", [], ["h2"], {**HANDLE, "shared_name": "total"}),
        O("READ_VARIABLE", ["h"], ["old"]),
        O("READ_VARIABLE", ["h2"], ["sum"]),
        O("CONCATENATION", ["old", "x"], ["all"], {"axis": 1}),
        O("STRIDED_SLICE", ["all", "b", "e", "one"], ["new"]),
        O("ASSIGN_VARIABLE", ["h", "new"]),
        O("STRIDED_SLICE", ["all", "b0", "e0", "one"], ["top"]),
        O("ADD", ["sum", "top"], ["total"], PLAIN),
        O("ASSIGN_VARIABLE", ["h2", "total"]),
        O("ADD", ["total", "x"], ["y"], PLAIN),
    ]
    once = G(
        [T("h", (), "RESOURCE"), T("first", data=first), T("h2", (), "RESOURCE"),
         T("zero", data=np.full((1, 1, 4), held.zero_point, np.int8))],
        [O("VAR_HANDLE", [], ["h"], HANDLE), O("VAR_HANDLE", [], ["h2"], {**HANDLE, "shared_name": "total"}),
         O("ASSIGN_VARIABLE", ["h", "first"]), O("ASSIGN_VARIABLE", ["h2", "zero"])],
        name="NoOp",
    )  # fmt: skip

    def expect(values: Values, arithmetic: Arithmetic) -> Mapping[str, np.ndarray]:
        window = np.concatenate([values["window"], values["x"]], axis=1)
        total = oracle.add(values["held"], window[:, :1], **among(held, frame, held))
        made = oracle.add(total, values["x"], **among(held, frame, y))
        return {"y": made, "window": window[:, 1:], "held": total, "total": total, "new": window[:, 1:]}

    start = {"window": first, "held": np.full((1, 1, 4), held.zero_point, np.int8)}
    return Case(tensors, ops, ["x"], outputs, expect, [once], held=start)


NETWORKS: dict[str, Case] = {
    "a border of float": _float_border(),
    "a border without sign": _unsigned_border(),
    "a float output that is reshaped": _reshaped_border(),
    "a float input that is quantised twice": _one_border_for_two(),
    "a shape that is computed": _computed_shape(),
    "weights that are computed": _made_weights(),
    "dead ends": _dead_ends(),
    "two outputs, one of which is read": _outputs("c", "d"),
    "two outputs in another order": _outputs("d", "c"),
    "an output twice": _outputs("d", "d"),
    "an inner output twice": _outputs("c", "d", "c"),
    "an input that is an output": _outputs("d", "a"),
    "an input that is two outputs": _outputs("b", "d", "b"),
    "a second subgraph": _unused_subgraph(),
    "an open batch": _open_batch(),
    "an input that nobody reads": _unread_input(),
    "variables": _variables(),
    "variables whose new values are outputs": _variables(outputs=("total", "y", "new")),
}
