# SPDX-License-Identifier: Apache-2.0
"""`.tflite` files that are whole and mean harm as networks: one sentence, little time, little memory."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers.forked import Ended
from helpers.tflite_cases import Case, ints, network, q
from helpers.tflite_cases_elements import ELEMENTS
from helpers.tflite_cases_layers import LAYERS, conv
from helpers.tflite_cases_moves import MOVES
from helpers.tflite_cases_networks import NETWORKS
from helpers.tflite_files import O, T, build, damage
from helpers.tflite_mutants import mutant, run_all
from tuning import ModelError, load_model
from tuning.importers.tflite.reader import import_tflite

CASES: Mapping[str, Case] = {**LAYERS, **ELEMENTS, **MOVES, **NETWORKS}
NASTY = "\x1b[31m../../x;*/\n<script>\u202e" + "n" * 5000
MOST = 2**31 - 1
REACH = {"padding": "SAME", "stride_h": 1, "stride_w": 1}


def but(name: str, *, options: Mapping[str, Any] | None = None, **tensors: Any) -> Case:
    """A case of which fields of tensors, or options of the only operator, are others."""
    case = CASES[name]
    (op,) = case.ops
    made = [replace(tensor, **tensors.get(tensor.name, {})) for tensor in case.tensors]
    return replace(case, tensors=made, ops=[replace(op, options={**(op.options or {}), **(options or {})})])


def words(*values: int) -> dict[str, np.ndarray]:
    return {"data": np.array(values, np.int64).astype(np.int32)}


def chain(count: int, code: str, *operands: T, options: Mapping[str, Any] | None = None, **fields: Any) -> Case:
    """One operator behind the other, which share their constants."""
    tensors = [q("x", **fields), *operands, *(replace(q("x", **fields), name=f"t{at}") for at in range(count))]
    first = 1 + len(operands)
    ops = [O(code, [first + at - 1 if at else 0, *range(1, first)], [first + at], options or {}) for at in range(count)]
    return network(tensors, ops, outputs=(tensors[-1].name,))


def grown(count: int) -> Case:
    """A constant that is put behind itself again and again."""
    tensors = [*(T(f"c{at}", (1 << at + 10,), "INT32") for at in range(1, count)), q("x", (4,)), q("y", (4,))]
    tensors.insert(0, T("c0", data=np.ones(1024, np.int32)))
    ops = [O("CONCATENATION", [at, at], [at + 1], {"axis": 0}) for at in range(count - 1)]
    return network(tensors, [*ops, O("RESHAPE", ["x", count - 1], ["y"])])


def shaped(*ops: O, tensors: tuple[T, ...]) -> Case:
    """A reshape whose shape `s` is computed."""
    items = [q("x", (4,)), q("y", (4,)), T("s", (1,), "INT32"), *tensors]
    return network(items, [*ops, O("RESHAPE", ["x", "s"], ["y"])])


def wide(count: int) -> Case:
    """An operator of as many reasons as there are tensors."""
    names = [f"{at} {NASTY}" for at in range(count)]
    tensors = [q("x", (4,)), *(q("y", (4,), "INT8", scale=0.0) for _ in names)]
    tensors[1:] = [replace(tensor, name=name) for tensor, name in zip(tensors[1:], names, strict=True)]
    ops = [O("CUSTOM", [0], [at + 1], custom=name[:300]) for at, name in enumerate(names)]
    return network(tensors, ops, outputs=tuple(names))


SHARED = T("w", data=np.ones((1500, 1, 1, 1500), np.int8), scale=0.5)
DEPTHS = T("w", data=np.ones((1, 500, 500, 8), np.int8), scale=0.5)
LARGE = T("c", data=np.zeros(1 << 16, np.int32))

REFUSED: dict[str, tuple[Callable[[], Case], str]] = {
    # Numbers that no tensor has.
    "a scale of 0": (lambda: but("conv", x={"scale": 0.0}), "scale: expected finite numbers above 0, got 0.0"),
    "a scale that is no number": (lambda: but("conv", y={"scale": np.nan}), "got nan"),
    "an endless scale": (lambda: but("ADD alike", b={"scale": np.inf}), "got inf"),
    "a weight scale of 0": (lambda: but("conv", w={"scale": [0.0] * 5}), "tensor 1 'w': scale: expected finite"),
    "a zero point outside": (lambda: but("conv", x={"zero_point": 128}), "zero_point: expected a number of INT8"),
    "a zero point of 2^40": (lambda: but("ADD alike", a={"zero_point": 2**40}), "zero_point: expected a number of"),
    "a bias of other steps": (lambda: but("conv", b={"scale": [1e9] * 5}), "expected the scale of input times weights"),
    "the least and the largest scale": (
        lambda: but("conv relu6", x={"scale": 3e38}, b={"scale": None}, y={"scale": 1e-45}),
        "expected a factor below 2^30",
    ),
    # Absurd geometry.
    "strides of billions": (lambda: but("conv", options={"stride_h": MOST}), "expected strides and dilations from"),
    "strides below 0": (lambda: but("conv", options={"stride_w": -MOST}), "expected strides and dilations from 1 on"),
    "dilations of billions": (
        lambda: but("depthwise", options={"dilation_h_factor": MOST}), "expected strides and dilations from 1 on"
    ),
    "windows of billions": (
        lambda: but("MAX_POOL_2D same", options={"filter_height": MOST}), "expected strides and dilations from 1 on"
    ),
    "sizes of billions": (lambda: but("conv", x={"shape": (1, 2**14, 2**14, 3)}), "the file has"),
    "paddings of billions": (lambda: but("PAD", pads=words(*[MOST] * 8)), "expected an output of (4294967295, 4"),
    "paddings below 0": (lambda: but("PAD", pads=words(0, 0, -MOST, 0, 0, 0, 0, 0)), "expected paddings of 4 axes"),
    "a slice from billions on": (lambda: but("STRIDED_SLICE", begin=words(MOST, MOST, MOST, MOST)), "0 elements"),
    "a slice in steps of billions": (lambda: but("STRIDED_SLICE", steps=words(MOST, MOST, -MOST, MOST)), "elements"),
    "a slice that shrinks to billions": (
        lambda: but("STRIDED_SLICE that shrinks", begin=words(0, -MOST, 0, MOST)), "is out of bounds for axis"
    ),
    "an axis of billions": (lambda: but("CONCATENATION", options={"axis": -MOST}), "expected an axis of"),
    "an axis of a split": (lambda: but("SPLIT", axis={**words(MOST), "shape": (1,)}), "expected an axis of"),
    "axes of a mean": (lambda: but("mean of rows", axes=words(-MOST, MOST)), "expected axes of"),
    "a permutation of billions": (lambda: but("TRANSPOSE", perm=words(0, MOST, -MOST, 1)), "expected a permutation of"),
    "an image of billions of rows": (
        lambda: but("RESIZE (6, 8)", x={"shape": (1, 1, 1, 1)}, size=words(MOST, 1), y={"shape": (1, MOST, 1, 1)}),
        "bytes of constants in all",
    ),
    "a table of rows of the wrong size": (
        lambda: but("RESIZE (6, 8)", size={"data": np.array([[6], [8], [1]], np.int32)}), "expected an output of"
    ),
    # Little that becomes much.
    "a billion of ones": (
        lambda: shaped(O("FILL", ["n", "one"], ["s"]), tensors=(ints("n", 2**30), ints("one", 1, shape=()))),
        "constants that are too large to be folded",
    ),
    "a range of billions": (
        lambda: shaped(O("RANGE", ["a", "b", "d"], ["s"]),
                       tensors=(ints("a", 0, shape=()), ints("b", MOST, shape=()), ints("d", 1, shape=()))),
        "constants that are too large to be folded",
    ),
    "a range without steps": (
        lambda: shaped(O("RANGE", ["a", "a", "a"], ["s"]), tensors=(ints("a", 0, shape=()),)), "do not fit together"
    ),
    "a division by 0": (
        lambda: shaped(O("FLOOR_DIV", ["a", "a"], ["s"]), tensors=(ints("a", 0),)), "a division by 0"
    ),
    "indices of indices": (
        lambda: shaped(O("GATHER", ["c", "c"], ["s"], {"axis": 0}), tensors=(LARGE,)), "too large to be folded"
    ),
    "rows times columns": (
        lambda: shaped(O("MUL", ["c", "d"], ["s"]), tensors=(LARGE, replace(LARGE, name="d", shape=(1 << 16, 1)))),
        "constants that are too large to be folded",
    ),
    "a constant that doubles": (lambda: grown(21), "constants that are too large to be folded"),
    "parts without end": (
        lambda: shaped(O("UNPACK", ["c"], ["s"], {"axis": 0, "num": 1}), tensors=(LARGE,)), "outputs of (65536,)"
    ),
    "a number that a constant adds to billions": (
        lambda: network([q("x", (2**15, 1, 2**14)), T("c", data=np.zeros((1, 2**6, 1), np.int8), scale=1.0),
                         q("y", (2**15, 2**6, 2**14 // 2**6))], [O("ADD", ["x", "c"], ["y"])]),
        "do not give",
    ),
    "a constant spread over a gigabyte": (
        lambda: network([q("x", (2**10, 2**10, 2**10)), T("c", data=np.zeros((1, 2**10, 1), np.int8), scale=1.0),
                         q("y", (2**10, 2**10, 2**10))], [O("ADD", ["x", "c"], ["y"])]),
        "bytes of constants in all",
    ),
    "weights that a hundred share": (
        lambda: chain(130, "CONV_2D", SHARED, options=REACH, shape=(1, 1, 1, 1500)), "bytes of constants in all"
    ),
    "weights that a hundred turn": (
        lambda: chain(150, "DEPTHWISE_CONV_2D", DEPTHS, options=REACH | {"depth_multiplier": 1}, shape=(1, 1, 1, 8)),
        "bytes of constants in all",
    ),
    # Many.
    "10,001 operators": (
        lambda: network([q("x", (4,)), q("y", (4,))], [O("RELU", [0], [1])] * 10_001),
        "expected at most 10000 operators, got 10001",
    ),
    "a thousand reasons": (lambda: wide(1000), "and 988 more kinds; --operations lists what the file uses"),
    "names that command": (
        lambda: network([T(NASTY, (4,), "FLOAT64"), q("y", (4,))], [O("RELU", [0], ["y"])], (NASTY,)),
        r"expected integers of 8 or 16 bits, got FLOAT64",
    ),
    "a circle of hundreds": (
        lambda: network([q("x", (4,)), *(q(f"t{at}", (4,)) for at in range(500))],
                        [O("ADD", [0, at or 500], [at + 1]) for at in range(500)], outputs=("t499",)),
        "expected inputs that are written before, got 't500'",
    ),
    "shapes of shapes of shapes": (
        lambda: network([q("x", (4,)), q("y", (4,)), *(T(f"s{at}", (1,), "INT32") for at in range(1000))],
                        [O("SHAPE", ["x"], ["s0"]), *(O("SHAPE", [at + 1], [at + 2]) for at in range(1, 1000)),
                         O("RESHAPE", ["x", "s999"], ["y"])], outputs=("s999",)),
        "output 's999': expected what depends on an input, got a constant",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_a_bad_network_is_refused(refuse: Callable[..., Ended], box: Path, name: str) -> None:
    make, says = REFUSED[name]
    make().write(box / "m.tflite")
    ended = refuse("cmsisnn-tune", "m.tflite", says=says)
    assert len(ended.message) < 8000


TAKEN: dict[str, tuple[Callable[[], Case], int]] = {
    "1,000 tables": (lambda: chain(1000, "LEAKY_RELU", options={"alpha": 0.5}, shape=(4,)), 1),
    "1,000 clamps": (lambda: chain(1000, "RELU", shape=(1, 2, 2, 1)), 1),
    "10,000 sums": (
        lambda: chain(10_000, "ADD", T("c", data=np.ones(4, np.int8), scale=0.5), shape=(4,)), 10_000
    ),
    "1,000 reshapes": (lambda: chain(1000, "RESHAPE", ints("s", 4), shape=(4,)), 1),
    "1,000 transpositions": (lambda: chain(1000, "TRANSPOSE", ints("p", 1, 0), shape=(2, 2)), 1000),
    "1,000 convolutions of zeros": (
        lambda: chain(1000, "CONV_2D", T("w", data=np.zeros((8, 1, 1, 8), np.int8), scale=0.5), options=REACH,
                      shape=(1, 1, 1, 8)),
        1000,
    ),
    "500 outputs": (lambda: replace(many := chain(500, "TANH", shape=(4,), scale=2.0**-7, zero_point=0),
                                      outputs=[tensor.name for tensor in many.tensors[1:]]), 500),
    "one output 500 times": (lambda: replace(chain(1, "RELU", shape=(4,)), outputs=["t0"] * 500), 500),
    "a gigabyte of activations": (
        lambda: network([q("x", (2**10,) * 3), q("y", (2**10,) * 3)], [O("ADD", ["x", "x"], ["y"])]), 1
    ),
    "weights of -128": (
        lambda: replace(one := conv("w"), tensors=[
            replace(t, data=np.full(np.shape(t.data), -128, np.int8)) if t.name == "w" else t for t in one.tensors
        ]), 1,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", TAKEN)
def test_a_large_network_is_taken_in_little_time(tmp_path: Path, name: str) -> None:
    make, nodes = TAKEN[name]
    path = make().write(tmp_path / "m.tflite")
    start = time.process_time()
    model = load_model(path)
    assert time.process_time() - start < 5
    assert len(model.graph.nodes) == nodes


def test_names_stay_outside_of_messages_and_text(tmp_path: Path) -> None:
    """Names of a file are its own affair: in the graph there are numbers."""
    path = network([q(NASTY, (4,)), q("*/ evil", (4,))], [O("RELU", [0], [1])], (NASTY,), ("*/ evil",)).write(
        tmp_path / "m.tflite"
    )
    found = import_tflite(path)
    names = [*found.graph.tensors, *(node.name for node in found.graph.nodes)]
    assert all(name.isidentifier() for name in names)
    assert found.inputs[0].name == NASTY


def answered(path: Path, content: bytes, arithmetic: str, seed: int) -> str:
    """Anything but a network that runs, or a `ModelError` of one printable line, is a finding."""
    path.write_bytes(content)
    said = ""
    try:
        found = import_tflite(path, arithmetic)
    except ModelError as error:
        said = str(error)
    if said:
        assert said.isprintable()
        return "refused"
    return "run" if run_all(found, seed) else "large"


def test_no_other_number_in_a_network_is_anything_but_a_model_error(tmp_path: Path, full: bool) -> None:
    names, path = sorted(CASES), tmp_path / "m.tflite"
    answers = set()
    for seed in range(4000 if full else 150):
        rng = random.Random(seed)
        try:
            content = mutant(rng, CASES[rng.choice(names)]).content()
        except (TypeError, ValueError, OverflowError):  # no file can say that
            continue
        content = damage(rng, content) if rng.random() < 0.2 else content
        answers.add(answered(path, content, rng.choice(("tflm", "litert")), seed))
    assert answers >= {"refused", "run"}


def test_a_name_of_the_network_that_commands(refuse: Callable[..., Ended], box: Path) -> None:
    conv("plain").write(box / "m.tflite")
    refuse("cmsisnn-tune", "m.tflite", "--name", "\x1b[31mred", says="name: ")
    (box / "\x1b[31m;.tflite").write_bytes(build())
    refuse("cmsisnn-tune", "\x1b[31m;.tflite", says="expected a network with inputs and outputs, got none")
