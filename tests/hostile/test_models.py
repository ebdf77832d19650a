# SPDX-License-Identifier: Apache-2.0
"""Model files that are broken, absurd or mean harm."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from helpers.forked import Ended, ForkServer

HEAD = "schema: 1\nname: net\ninput: {shape: [8, 8, 4], dtype: q7}\n"
CONV = "layers:\n  - {name: c, op: conv2d, out_channels: 6, kernel: 3, padding: 1, out_shift: 7}\n"
GOOD = HEAD + CONV


def shape(text: str) -> str:
    return GOOD.replace("8, 8, 4", text)


def layer(text: str, size: str = "8, 8, 4") -> str:
    return f"{HEAD.replace('8, 8, 4', size)}layers: [{{name: f, {text}}}]\n"


def pinned(variant: str) -> str:
    return GOOD.replace("shift: 7}", f"shift: 7, variant: {variant}}}")


FILES: dict[str, tuple[str | bytes, str]] = {
    # Not what a YAML file is.
    "empty": (b"", "expected a mapping"),
    "null byte": (b"\0", "not a text file"),
    "null byte inside": (GOOD + 'x: "\0"\n', "m.yaml:6: not a text file"),
    "utf-16": (GOOD.encode("utf-16"), "expected UTF-8 text, got byte 0xff"),
    "utf-32": (GOOD.encode("utf-32"), "expected UTF-8"),
    "noise": (np.random.default_rng(5).bytes(5000), "m.yaml:"),
    "too large": (b"# " + b"x" * (2 << 20), "at most 1048576 bytes"),
    "a list": (b"- a\n- b\n", "expected a mapping"),
    "two documents": (GOOD + "---\na: 1\n", "single document"),
    "tabs": (HEAD + "layers:\n\t- {}\n", "not valid YAML"),
    # What YAML can do and a configuration need not.
    "code": (b'!!python/object/apply:os.system ["touch pwned"]', "is not supported"),
    "code in a value": (GOOD.replace("net", "!!python/name:os.system net"), "m.yaml:2: tag"),
    "a tag": (GOOD.replace("net", "!!str net"), "is not supported"),
    "aliases": (b"a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\n", "anchors and aliases"),
    "merge key": (HEAD + "<<: {a: 1}\n" + CONV, "unknown key"),
    "deep list": (b"[" * 100_000, "nested more than 20 levels"),
    "deep mapping": (b"{a: " * 100_000, "nested more than 20 levels"),
    "deep blocks": ("\n".join(" " * i + "a:" for i in range(900)), "nested more than 20 levels"),
    "many keys": ("".join(f"k{i}: 1\n" for i in range(15_000)), "unknown key"),
    "a key twice": (GOOD + "name: other\n", "m.yaml:6: name: given twice, first in line 2"),
    "a key that is a list": (GOOD + "? [a]\n: 1\n", "expected a plain key"),
    # Characters that command a terminal, or cannot be written.
    "escape in a key": (HEAD + '"\\e[31mred": 1\n' + CONV, "\\x1b[31mred: unknown key"),
    "escape in a name": (GOOD.replace("net", '"\\e[31mred"'), "expected a C identifier"),
    "lone surrogate": (GOOD.replace("net", '"\\ud800"'), "m.yaml:2: expected text"),
    "lone surrogate as key": (HEAD + '"\\ud800": 1\n' + CONV, "m.yaml:4: expected text"),
    # Sizes.
    "billions": (shape("1000000000, 8, 4"), "m.yaml:3: input.shape: expected"),
    "negative": (shape("-8, 8, 4"), "input.shape"),
    "zero": (shape("0, 8, 4"), "input.shape"),
    "5000 digits": (shape("8, 8, " + "9" * 5000), "input.shape"),
    "infinite": (shape("8, 8, 1e999"), "input.shape"),
    "not a number": (shape("8, 8, .nan"), "input.shape"),
    "a fraction": (shape("8, 8, 2.5"), "input.shape"),
    "a truth": (shape("8, 8, true"), "input.shape"),
    "two dimensions": (shape("8, 8"), "[h, w, c] or [n]"),
    "tensor too large": (shape("65535, 65535, 65535"), "at most 2147483647 bytes"),
    "kernel of 4 G": (layer("op: conv2d, kernel: 65535, padding: same, out_channels: 1, out_shift: 9"), "layers[0]"),
    "kernel too large": (layer("op: conv2d, kernel: 9, out_channels: 1, out_shift: 9"), "kernel of at most 8"),
    "weights of 1.6 G": (layer("op: depthwise_conv2d, kernel: 20000, padding: same, out_shift: 9"), "code region"),
    "weights of 2 G": (layer("op: fully_connected, out_features: 2000, out_shift: 9", "32, 32, 1024"), "code region"),
    "padding beyond the kernel": (layer("op: max_pool2d, kernel: 2, padding: 5"), "padding below the kernel"),
    "stride 0": (layer("op: max_pool2d, kernel: 2, stride: 0"), "1..65535"),
    "shift 32": (GOOD.replace("out_shift: 7", "out_shift: 32"), "0..31, got 32"),
    "shift -1": (GOOD.replace("out_shift: 7", "out_shift: -1"), "0..31, got -1"),
    "softmax of 2 M": (layer("op: softmax", "1000, 1000, 2"), "at most 32767"),
    # Types.
    "no layers": (HEAD + "layers: []\n", "at least one layer"),
    "layers of nothing": (HEAD + "layers:\n", "expected a list, got nothing"),
    "layers of text": (HEAD + "layers: abc\n", "expected a list"),
    "layers of numbers": (HEAD + "layers: [1, 2, [3]]\n", "layers[0]: expected a mapping, got 1"),
    "an operation that is a list": (HEAD + "layers: [{name: f, op: [relu]}]\n", "unknown operation ['relu']"),
    "a numeric name": (HEAD + "layers: [{name: 3, op: relu}]\n", "write it in quotes"),
    "variant of a list": (pinned("[1]"), "a mapping of knobs"),
    "variant of a giant": (
        pinned("{unroll: 99999999999}"),
        "unroll: expected one of",
    ),
    "variant of a list of lists": (
        pinned("{unroll: [[1]]}"),
        "unroll: expected one of",
    ),
    "budget of nothing": (HEAD + "budget: {sram: 0}\n" + CONV, "budget.sram: expected a whole number"),
    "budget of 400 digits": (HEAD + f"budget: {{sram: 1{'0' * 400}}}\n" + CONV, "budget.sram: expected"),
    "budget in text of 400 digits": (HEAD + f"budget: {{sram: '1{'0' * 400}M'}}\n" + CONV, "budget.sram: expected"),
    "budget of truth": (HEAD + "budget: true\n" + CONV, "budget: expected a mapping"),
    # Other files.
    "weights outside": (HEAD + "weights: ../../../../../../etc/passwd\n" + CONV, "expected an npz archive"),
    "weights that never end": (HEAD + "weights: /dev/zero\n" + CONV, "no regular file"),
    "weights of a folder": (HEAD + "weights: .\n" + CONV, "no regular file"),
    "weights of no name": (HEAD + 'weights: ""\n' + CONV, "expected the name of an npz file"),
    "weights with a null byte": (HEAD + 'weights: "a\\0b"\n' + CONV, "expected the name of an npz file"),
    "weights of 5000 characters": (HEAD + f"weights: {'x' * 5000}\n" + CONV, "name too long"),
    "target outside": (HEAD + "target: ../../../../../../etc/passwd\n" + CONV, "etc/passwd"),
    "target with a null byte": (HEAD + 'target: "a\\0"\n' + CONV, "unknown target"),
    "target of 5000 characters": (HEAD + f"target: {'x' * 5000}\n" + CONV, "unknown target"),
}


INT8 = "schema: 1\nname: net\ninput: {shape: [8, 8, 4], dtype: int8, scale: 0.1}\n"
GRAPHS: dict[str, tuple[str, str]] = {
    "a circle": (INT8 + "layers: [{name: a, op: add, inputs: [input, b]}, {name: b, op: relu, inputs: [a]}]\n",
                 "layers[0].inputs[1]: 'b' comes later"),
    "a scale that is no number": (INT8 + "layers: [{name: a, op: relu, scale: .nan}]\n", "layers[0].scale: expected a"),
    "10,000 layers": (INT8 + "layers:\n" + "".join(f"  - {{name: r{at}, op: relu}}\n" for at in range(10_000)),
                      "at most 4096 layers, got 10000"),
    "a giant": (INT8.replace("8, 8, 4", "65535, 65535, 65535") + CONV.replace(", out_shift: 7", ""),
                "m.yaml:3: input: expected a tensor of at most"),
    "an image of giants": (INT8 + "layers: [{name: r, op: resize_nearest, size: [65535, 65535]}]\n",
                           "layers[0]: expected a tensor of at most"),
    "a reshape of giants": (INT8 + "layers: [{name: r, op: reshape, shape: [2147483647, 2147483647]}]\n",
                            "layers[0].shape: expected a shape of 256 elements"),
    "inputs of inputs": (INT8 + "layers: [{name: a, op: relu, inputs: [[[input]]]}]\n", "expected text"),
    "a name of 5000 characters": (INT8 + f"layers: [{{name: a, op: relu, inputs: [{'x' * 5000}]}}]\n", "no layer"),
    "weights outside": (INT8 + "weights: ../../../../../../etc/passwd\nlayers: [{name: a, op: conv2d, kernel: 1, "
                        "out_channels: 1, scale: 1}]\n", "expected an npz archive"),
}  # fmt: skip


@pytest.mark.parametrize("name", GRAPHS)
def test_a_bad_graph_is_refused(refuse: Callable[..., Ended], box: Path, name: str) -> None:
    content, says = GRAPHS[name]
    (box / "m.yaml").write_text(content)
    refuse("cmsisnn-tune", "m.yaml", says=says)


@pytest.mark.parametrize("name", FILES)
def test_a_bad_model_file_is_refused(refuse: Callable[..., Ended], box: Path, name: str) -> None:
    content, says = FILES[name]
    (box / "m.yaml").write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass"))
    refuse("cmsisnn-tune", "m.yaml", says=says)


HOSTILE_NAMES = (
    "../x", "..", "x/y", "a;b", "a b", "naïve", "n²", "class", "Template", "<script>alert(1)</script>", "$(rm x)",
    "`id`", "-n", "--help", "x\\nint y;", "n\\n", "\\u202ex", "*/", "a\\\\b", "__x", "_X", "x" * 64, "9a", "", "cxn%",
)  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_names_that_could_inject_are_refused(refuse: Callable[..., Ended], box: Path, name: str) -> None:
    for text in (GOOD.replace("name: net", f'name: "{name}"'), GOOD.replace("name: c,", f'name: "{name}",')):
        (box / "m.yaml").write_text(text, encoding="utf-8")
        refuse("cmsisnn-tune", "m.yaml", says="expected")


@pytest.mark.parametrize("name", ["stdio", "Complex", "cxn_net", "con", "LPT1"])
def test_models_do_not_take_the_names_of_other_files(refuse: Callable[..., Ended], box: Path, name: str) -> None:
    (box / "m.yaml").write_text(GOOD.replace("name: net", f"name: {name}"))
    refuse("cmsisnn-tune", "m.yaml", says="m.yaml:2: name: ")


@pytest.mark.parametrize(
    "encode",
    [lambda text: text.replace("\n", "\r\n"), lambda text: text.replace("\n", "\r"), lambda text: "\ufeff" + text],
    ids=["crlf", "cr", "bom"],
)
def test_line_ends_and_byte_order_marks_change_nothing(
    server: ForkServer, box: Path, encode: Callable[[str], str]
) -> None:
    (box / "m.yaml").write_bytes(encode(GOOD).encode())
    ended = server.run("cmsisnn-tune", "m.yaml", "-q", "-o", "out", cwd=box)
    assert (ended.status, ended.err) == (0, "")
    assert (box / "out" / "net.c").is_file()


def test_a_name_that_is_a_pipe_without_a_writer_is_no_weights_file(refuse: Callable[..., Ended], box: Path) -> None:
    os.mkfifo(box / "w.npz")
    (box / "m.yaml").write_text(HEAD + "weights: w.npz\n" + CONV)
    before = box / "w.npz"
    refuse("cmsisnn-tune", "m.yaml", says="no regular file")
    before.unlink()


def test_a_tensor_beyond_the_address_space_of_a_microcontroller_does_not_fit(
    refuse: Callable[..., Ended], box: Path
) -> None:
    (box / "m.yaml").write_text(layer("op: relu", "16384, 16384, 7"))
    refuse("cmsisnn-tune", "m.yaml", says="more than the 512 MiB", status=(1,))
