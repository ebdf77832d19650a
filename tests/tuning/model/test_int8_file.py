# SPDX-License-Identifier: Apache-2.0
"""One clear sentence for everything that is wrong with a model file with zero points."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.yaml_files import write
from tuning import ModelError
from tuning.load import load_model

HEAD = "schema: 1\nname: net\ninput: {shape: [8, 8, 4], dtype: int8, scale: 0.1, zero_point: 3}\n"
CONV = "{name: c, op: conv2d, out_channels: 6, kernel: 3, padding: 1}"


def layers(*lines: str, head: str = HEAD) -> str:
    return head + "layers:\n" + "".join(f"  - {line}\n" for line in lines)


def with_keys(keys: str) -> str:
    return layers(f"{CONV[:-1]}, {keys}}}")


def second(line: str) -> str:
    return layers(CONV, line)


SCALE = "expected a finite number above 0, which float32 can hold, got "
WRONG: dict[str, tuple[str, str]] = {
    # What reads what.
    "a layer that reads itself": (
        second("{name: d, op: add, inputs: [c, d]}"),
        ":6: layers[1].inputs[1]: 'd' reads itself; a layer reads what stands before it",
    ),
    "a layer that reads a later one": (
        layers("{name: a, op: relu, inputs: [c]}", CONV), ":5: layers[0].inputs[0]: 'c' comes later, as layers[1]"
    ),
    "layers in a circle": (
        layers("{name: a, op: add, inputs: [input, b]}", "{name: b, op: relu, inputs: [a]}"),
        "layers[0].inputs[1]: 'b' comes later",
    ),
    "an unknown name": (second("{name: d, op: relu, inputs: [cc]}"), "layers[1].inputs[0]: no layer, input or "
                        "constant is called 'cc'; did you mean 'c'?"),
    "a name twice": (layers(CONV, CONV.replace("name: c", "name: C")), "layers[1].name: two layers are called 'c'"),
    "the name of the input": (layers(CONV.replace("name: c", "name: input")), "'input' is the name of an input"),
    "one input of two": (second("{name: d, op: add}"), "layers[1].inputs: expected 2 names, got 1, the layer before"),
    "three inputs of two": (second("{name: d, op: add, inputs: [c, c, c]}"), "expected 2 names, got 3"),
    "no inputs": (with_keys("inputs: []"), "layers[0].inputs: expected at least one item, got none"),
    "inputs that are no list": (with_keys("inputs: input"), "layers[0].inputs: expected a list, got 'input'"),
    "inputs that are numbers": (with_keys("inputs: [1]"), "layers[0].inputs[0]: expected text, got 1"),
    "a layer that nobody reads": (
        layers(CONV, CONV.replace("name: c", "name: d"), "{name: e, op: relu, inputs: [c]}"),
        ":6: layers[1].name: 'd': no layer reads it, and it is no output",
    ),
    "the first of several inputs": (
        layers(CONV, head=HEAD.replace("input: {", "inputs: {a: {").replace("3}", "3}, b: {shape: [1], scale: 1}}")),
        "layers[0].inputs: missing; expected some of a, b",
    ),
    "input and inputs": (layers(CONV, head=HEAD + "inputs: {a: {shape: [1]}}\n"), "expected input, or inputs by name"),
    "a part that is not there": (
        layers(CONV, "{name: d, op: split, parts: 2}", "{name: e, op: relu, inputs: [d.2]}"),
        "layers[2].inputs[0]: expected one of d.0, d.1, got 'd.2'",
    ),
    "all parts at once": (
        layers(CONV, "{name: d, op: split, parts: 2}", "{name: e, op: relu}"),
        "layers[2].inputs: missing; expected one of d.0, d.1",
    ),
    "an unknown output": (layers(CONV, head=HEAD + "outputs: [x]\n"), "outputs[0]: no layer, input or constant is"),
    "an output twice": (layers(CONV, head=HEAD + "outputs: [c, c]\n"), "outputs[1]: 'c' is named twice; keep one"),
    "no outputs": (layers(CONV, head=HEAD + "outputs: []\n"), "outputs: expected at least one item, got none"),
    "constants alone": (
        layers(CONV, "{name: e, op: add, inputs: [k, k]}", head=HEAD + "constants: {k: {shape: [6]}}\n"),
        "expected an input that is computed, got constants alone",
    ),
    # Numbers.
    "a scale of nothing": (with_keys("scale: 0"), f"layers[0].scale: {SCALE}0"),
    "a scale below": (with_keys("scale: -0.5"), f"{SCALE}-0.5"),
    "a scale that is no number": (with_keys("scale: .nan"), f"{SCALE}'.nan'"),
    "a scale without end": (with_keys("scale: 1e999"), f"{SCALE}inf"),
    "a scale below float32": (with_keys("scale: 1e-42"), f"{SCALE}1e-42"),
    "a scale of truth": (with_keys("scale: true"), f"{SCALE}True"),
    "a zero point outside": (
        with_keys("scale: 1, zero_point: 128"), "layers[0].zero_point: expected a number of int8 (-128 to 127), got 128"
    ),
    "a zero point far outside": (with_keys("scale: 1, zero_point: 128000"), "expected an integer of at most 32767"),
    "a zero point alone": (with_keys("zero_point: 1"), "layers[0].zero_point: expected a scale beside it, got none"),
    "half a zero point": (with_keys("scale: 1, zero_point: 1.5"), "zero_point: expected an integer, got 1.5"),
    "no scale beside weights": (
        layers(CONV, head=HEAD + "weights: w.npz\n"), ":6: layers[0].scale: missing; expected that of the output"
    ),
    "no scale of a new type": (
        second("{name: q, op: quantize, dtype: int16}"), "layers[1].scale: missing; expected that of the output"
    ),
    "a pool of another scale": (
        layers("{name: p, op: max_pool2d, kernel: 2, scale: 3}"), "layers[0].scale: expected that of the input, 0.1"
    ),
    "a sum too fine": (
        second("{name: d, op: add, inputs: [c, c], scale: 1e-30}"), ":6: layers[1]: expected an output scale above"
    ),
    "a zero point of int16": (
        layers(CONV, head=HEAD.replace("int8", "int16")), ":5: layers[0]: expected zero points 0 with 16 bits"
    ),
    # Shapes.
    "more than all memory": (
        layers(CONV, head=HEAD.replace("8, 8, 4", "65535, 65535, 65535")),
        ":3: input: expected a tensor of at most 2147483647 bytes",
    ),
    "seven dimensions": (layers(CONV, head=HEAD.replace("8, 8, 4", "1, 1, 1, 1, 1, 1, 1")), "input.shape: expected a"),
    "no image": (layers(CONV, head=HEAD.replace("8, 8, 4", "8, 8")), "layers[0].op: expected an image [h, w, c], got"),
    "weights without end": (
        layers("{name: d, op: fully_connected, out_features: 65535}", head=HEAD.replace("8, 8, 4", "300, 300, 4")),
        "layers[0]: expected at most 268,435,456 bytes of weights",
    ),
    "a kernel beyond its image": (
        layers("{name: f, op: max_pool2d, kernel: 20}"), "layers[0].kernel: expected a kernel of at most 8, got 20"
    ),
    "padding beyond the kernel": (
        layers("{name: f, op: max_pool2d, kernel: 2, padding: 5}"), "layers[0].padding: expected padding below"
    ),
    "padding of a mean": (
        layers("{name: f, op: avg_pool2d, kernel: 2, padding: 1}"), "layers[0].padding: expected 'valid', 'same', or"
    ),
    "groups": (with_keys("groups: 3"), "layers[0].groups: expected a number of input channels that 3 groups divide"),
    "two shapes": (second("{name: d, op: add, inputs: [c, input]}"), "got [8, 8, 6] and [8, 8, 4]"),
    "two types": (
        layers(CONV, "{name: q, op: quantize, dtype: int16, scale: 1}", "{name: d, op: add, inputs: [c, q]}"),
        "layers[2].inputs[1]: expected int8 as the first input, got int16",
    ),
    "an axis": (second("{name: d, op: concat, inputs: [c, c], axis: 3}"), "layers[1].axis: expected an axis of 3"),
    "a shape of other elements": (second("{name: d, op: reshape, shape: [5, -1]}"), "a shape of 384 elements"),
    "axes twice": (second("{name: d, op: transpose, perm: [0, 0, 1]}"), "layers[1].perm: expected the axes of"),
    "nothing of a slice": (second("{name: d, op: strided_slice, begin: [9], end: [10]}"), "layers[1].begin: expected"),
    "indices at random": (second("{name: d, op: gather, indices: [0, 2, 3]}"), "layers[1]: expected indices in equal"),
    "indices of text": (second("{name: d, op: gather, indices: x}"), "layers[1].indices: expected an index, or a list"),
    "half a frame": (second("{name: d, op: pad, paddings: [[1], 2, 3]}"), "layers[1].paddings: expected [before,"),
    "a softmax too long": (
        layers("{name: f, op: flatten}", "{name: p, op: softmax}", head=HEAD.replace("8, 8, 4", "80, 80, 4")),
        ":6: layers[1]: expected rows of at most 4095 elements",
    ),
    "a thousand layers and more": (
        layers(*(f"{{name: r{at}, op: relu}}" for at in range(10_000))),
        ":4: layers: expected at most 4096 layers, got 10000",
    ),
    # Words.
    "an operation of others": (second("{name: d, op: mul, inputs: [c, c]}"), "unknown operation 'mul'; did you mean "
                               "'multiply'?"),
    "an operation that is misspelt": (second("{name: d, op: concta}"), "did you mean 'concat'?"),
    "a key of q7": (with_keys("out_shift: 7"), "layers[0].out_shift: unknown key; expected one of: activation"),
    "a key of others": (with_keys("alpha: 7"), "conv2d has no such key (leaky_relu do); remove it"),
    "a key of an input": (
        layers(CONV, head=HEAD.replace("input: {", "inputs: {a: {shap: 3, ").replace("3}", "3}}")),
        ":3: inputs.a.shap: unknown key; did you mean 'shape'?",
    ),
    "an arithmetic": (layers(CONV, head=HEAD + "arithmetic: exact\n"), "arithmetic: expected one of: tflm, litert"),
    "a type": (layers(CONV, head=HEAD.replace("int8", "int4")), "input.dtype: expected one of: q7, q15, int8, int16, "),
    "a sum of q7": (
        layers(CONV, "{name: d, op: add}", head="schema: 1\nname: net\ninput: {shape: [8, 8, 4], dtype: q7}\n"),
        "unknown operation 'add'; networks of q7 and q15 cannot have it, those of int8 can (input: {dtype: int8})",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_file_is_one_clear_sentence(tmp_path: Path, name: str) -> None:
    text, expected = WRONG[name]
    path = write(tmp_path, text)
    with pytest.raises(ModelError) as caught:
        load_model(path)
    assert caught.value.exit_status == 2
    said = str(caught.value)
    assert said.startswith(str(path))
    assert said.isprintable()
    assert expected in said


def test_all_that_cannot_be_taken_is_told_at_once(tmp_path: Path) -> None:
    text = layers(
        "{name: a, op: gather, indices: [0, 1, 3]}", "{name: f, op: reshape, shape: [-1]}",
        "{name: b, op: gather, indices: [0, 1, 3]}",
    )  # fmt: skip
    with pytest.raises(ModelError, match=r"layers\[0\]: expected indices in equal steps; layers\[2\]: "):
        load_model(write(tmp_path, text))


KEYS = ("op", "name", "inputs", "scale", "zero_point", "kernel", "padding", "axes", "shape", "parts", "size", "variant",
        "indices", "paddings", "begin", "dtype", "beta", "activation")  # fmt: skip
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=5,
)


@settings(max_examples=150, deadline=None)
@given(key=st.sampled_from(KEYS), value=ANYTHING, op=st.sampled_from(["conv2d", "split", "pad", "gather", "mean"]))
def test_any_value_of_any_key_loads_or_is_a_model_error(
    tmp_path_factory: pytest.TempPathFactory, key: str, value: object, op: str
) -> None:
    import yaml

    given = {"conv2d": {"kernel": 1, "out_channels": 2}, "split": {"parts": 2}, "pad": {"paddings": [[1, 1]] * 3},
             "gather": {"indices": 1}, "mean": {"axes": 0}}[op]  # fmt: skip
    layer = {"name": "a", "op": op, **given} | {key: value}
    content = {"schema": 1, "name": "net", "input": {"shape": [4, 4, 2], "dtype": "int8"}, "layers": [layer]}
    path = tmp_path_factory.mktemp("any") / "net.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    with suppress(ModelError):
        load_model(path)
