# SPDX-License-Identifier: Apache-2.0
"""Folders and plans of strangers: nothing in them chooses what runs, or what is read or written. Inputs here are
harmless by themselves; what is tested is that no compiler ever sees them.
"""

from __future__ import annotations

import io
import json
import os
import random
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers.forked import Ended, ForkServer
from helpers.networks import NETWORKS
from helpers.strangers import ARCHIVE, EMULATOR_BYTES, NAME, edit, run_verify
from tuning.cli import verify
from tuning.measure import folder
from tuning.measure.folder import FolderError
from tuning.target import load_target

DIGEST = {"dtype": "int8", "shape": [1], "sha256": "0" * 64}
EDITS: dict[str, tuple[tuple[str | int, ...], Any, str]] = {
    "a model above": (("model",), "../fw/odd_sizes", "model: expected a C identifier"),
    "an absolute model": (("model",), "/tmp/x", "model: expected a C identifier"),
    "a model like an option": (("model",), "-x", "model: expected a C identifier"),
    "a model like a response file": (("model",), "@x", "model: expected a C identifier"),
    "a model with a null byte": (("model",), "a\0b", "model: expected a line of printable text"),
    "a model of two lines": (("model",), "a\nb", "model: expected a line of printable text"),
    "a model that commands": (("model",), "\x1b[31mred", r"got '\x1b[31mred'"),
    "a model of a megabyte": (("model",), "x" * (1 << 20), "model: expected a line of printable text"),
    "a model that is a number": (("model",), 5, "model: expected a line of printable text, got 5"),
    "a model that hides a header": (("model",), "string", "would hide the system header"),
    "a layer above": (("layers", 0, "name"), "../x", "layers[0].name: expected a C identifier"),
    "a layer that commands": (("layers", 1, "name"), "\x9b31m", "layers[1].name: expected a line"),
    "a layer in markup": (("layers", 0, "name"), "[bold]x[/bold]", "layers[0].name: expected a C identifier"),
    "two layers of one name": (("layers", 1, "name"), "CONV2D0", "layers[1].name: two layers are called"),
    "a layer that is a list": (("layers", 0), [], "layers: expected a list of layers"),
    "layers that are none": (("layers",), "conv", "layers: expected a list of layers"),
    "no layers": (("layers",), [], "layers: expected at least one"),
    "a target of two lines": (("target",), "a\nb", "target: expected a line of printable text"),
    "a target that commands": (("target",), "\x1b]8;;x\x1b\\", "target: expected a line of printable text"),
    "a target that turns text around": (("target",), "a\u202eb", "target: expected a line of printable text"),
    "a target that is a list": (("target",), ["cortex-m4"], "target: expected a line of printable text"),
    "a core that is a path": (("core",), "../cortex-m4", "core: expected one of cortex-m0plus"),
    "a core that is none": (("core",), None, "core: expected a line of printable text"),
    "a compiler that commands": (("compiler",), "\x07", "compiler: expected a line"),
    "an objective of two lines": (("objective",), "a\r\nb", "objective: expected a line"),
    "an operation of nobody": (("layers", 0, "op"), "../relu", "layer conv2d0: op: expected one of 'conv2d'"),
    "a type of nobody": (("layers", 0, "dtype"), "q31", "dtype: expected one of 'q7', 'q15'"),
    "weights of a list": (("layers", 0, "weights_dtype"), ["q7"], "weights_dtype: expected one of None"),
    "a kernel of nothing": (("layers", 0, "kernel"), [0, 3], "kernel: expected two numbers"),
    "a kernel of truth": (("layers", 0, "kernel"), [True, 3], "kernel: expected two numbers"),
    "a kernel in fractions": (("layers", 0, "kernel"), [3.0, 3], "kernel: expected two numbers"),
    "a stride of 40 bits": (("layers", 0, "stride"), [1 << 40, 1], "stride: expected two numbers"),
    "a padding of one": (("layers", 0, "padding"), [[0, 0]], "padding: expected two pairs"),
    "a padding beyond the kernel": (("layers", 0, "padding"), [[99, 0], [0, 0]], "less than the kernel's height"),
    "a shape without end": (("layers", 0, "output_shape"), [65535, 6, 6], "a height of at most"),
    "a shape of 100 sizes": (("layers", 0, "input_shape"), [2] * 100, "input_shape: expected one to three"),
    "a tensor of gigabytes": (("layers", 0, "input_shape"), [65535, 65535, 5], "input_shape: expected at most"),
    "a negative shift": (("layers", 0, "out_shift"), -1, "out_shift: expected an integer in 0..31"),
    "bits of an integer": (("layers", 0, "int_bits"), 9, "int_bits: expected an integer in 0..3"),
    "cycles of text": (("layers", 0, "cycles"), "\x1b[2J", "cycles: expected a count"),
    "cycles of 300 digits": (("layers", 0, "cycles"), 10**300, "expected numbers below 2**63"),
    "a knob of nobody": (("layers", 0, "variant"), {"x": 1}, "variant: expected knobs out of unroll"),
    "a knob that commands": (("layers", 0, "variant"), {"\x1b": 1}, "a knob's name: expected a line"),
    "a knob's text": (("layers", 0, "variant", "lowering"), "../x", "variant.lowering: expected one of"),
    "a knob's list": (("layers", 0, "variant", "unroll"), [4], "variant.unroll: expected a number or a text"),
    "a knob of a million": (("layers", 0, "variant", "block_rows"), 10**6, "block_rows x variant.block_cols"),
    "a variant that is none": (("layers", 0, "variant"), 7, "variant: expected an object"),
    "run by another": (("layers", 1, "fused_into"), "\x1b[31m", "layer max_pool2d1: fused_into: expected"),
    "the first run by one before": (("layers", 0, "fused_into"), "x", "fused_into: expected none"),
    "steps of nobody": (("steps",), [{"layers": ["x"], "kind": "layer"}], "steps: expected those that fused_into"),
    "steps that command": (("steps", 0, "layers", 0), "\x1b[31m", "steps: expected those that fused_into"),
    "a kind of step to come": (("steps", 0, "kind"), "stream", "steps[0].kind: expected one of layer, fused_pool"),
    "no steps": (("steps",), None, "steps: expected array"),
    "weights without a digest": (("layers", 0, "weights"), {}, "weights.dtype: missing"),
    "weights of nobody": (("layers", 0, "weights"), None, "layer conv2d0: weights: expected int8 of shape"),
    "weights of another shape": (("layers", 0, "weights", "shape"), [1], "layer conv2d0: weights: expected int8 of"),
    "weights of another type": (("layers", 0, "weights", "dtype"), "int16", "layer conv2d0: weights: expected int8"),
    "weights of a pooling": (("layers", 1, "bias"), DIGEST, "bias: expected none, got int8 of shape"),
    "a digest of two lines": (("layers", 0, "weights", "sha256"), "a\nb", "weights.sha256: expected text like"),
    "pins that the variant has not": (("layers", 0, "pins"), {"unroll": 999}, "pins: expected knobs of the variant"),
    "pins that command": (("layers", 0, "pins"), {"\x1b": 1}, "pins: a knob's name: expected a line"),
    "pins of a list": (("layers", 0, "pins"), [], "pins: expected an object"),
    "windows of maybe": (("layers", 0, "ceil_mode"), 1, "ceil_mode: expected true or false, got 1"),
    "no padding at all": (("layers", 0, "padding"), None, "padding: expected two pairs"),
}  # fmt: skip


@pytest.mark.usefixtures("no_compiler")
def test_three_layers_are_no_step(fw: Path, names: list[str]) -> None:
    edit(fw, ("layers", 1, "fused_into"), names[0])
    edit(fw, ("layers", 2, "fused_into"), names[1])
    with pytest.raises(FolderError, match=f"layer {names[2]}: fused_into: expected none, as {names[1]!r} is run by"):
        folder.load(fw)


@pytest.fixture
def names(original: Path) -> list[str]:
    return [layer["name"] for layer in json.loads((original / "plan.json").read_text())["layers"]]


@pytest.mark.usefixtures("no_compiler")
@pytest.mark.parametrize("case", EDITS)
def test_a_strangers_plan_is_refused_by_file_and_key(fw: Path, names: list[str], case: str) -> None:
    path, value, says = EDITS[case]
    edit(fw, path, value)
    says = says.replace("max_pool2d1", names[1])
    with pytest.raises(FolderError, match=rf"fw/plan\.json: .*{re.escape(says)}") as refused:
        run_verify(fw)
    text = str(refused.value)
    assert refused.value.exit_status == 2
    assert text.isprintable()
    assert len(text) < 1000


@pytest.mark.parametrize("case", ["a model above", "a target that commands", "cycles of text", "a shape without end"])
def test_the_commands_end_in_one_sentence(refuse: Callable[..., Ended], fw: Path, case: str) -> None:
    path, value, _ = EDITS[case]
    edit(fw, path, value)
    refuse("cmsisnn-verify", "fw", says="fw/plan.json: ", memory=EMULATOR_BYTES)
    command = ("calibrate", "--from", "l.csv", "--plan", "fw", "--target", "cortex-m4")
    refuse("cmsisnn-tune", *command, says="fw/plan.json: ", memory=EMULATOR_BYTES)


FIRST, SHAPE = "conv2d0/weights.npy", NETWORKS[NAME][0].weights_shape


def pack(path: Path, name: str, content: np.ndarray | bytes, compression: int = zipfile.ZIP_STORED) -> None:
    """Write the archive at `path` anew with another member `name`; bytes stand there as they are."""
    with zipfile.ZipFile(path) as old:
        members = {name: old.read(name) for name in old.namelist()}
    buffer = io.BytesIO()
    if not isinstance(content, bytes):
        np.save(buffer, content, allow_pickle=True)
    with zipfile.ZipFile(path, "w", compression) as new:
        for member, data in {**members, name: buffer.getvalue() or content}.items():
            new.writestr(member, data)


def be_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def be_a_device(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


BOMB = np.zeros(1 << 26, np.int8)
ARCHIVES: dict[str, tuple[Callable[[Path], object], str]] = {
    "noise": (lambda path: path.write_bytes(b"PK\3\4" + b"\xff" * 50), "expected an npz archive"),
    "a folder": (be_a_folder, "no regular file"),
    "a device": (be_a_device, "no regular file"),
    "a gigabyte": (lambda path: os.truncate(path, 1 << 30), "expected at most"),
    "a bomb": (lambda path: pack(path, FIRST, BOMB, zipfile.ZIP_DEFLATED), "expected int8 of shape"),
    "pickled objects": (lambda path: pack(path, FIRST, np.array([print], object)), "expected int8 of shape"),
    "another shape": (lambda path: pack(path, FIRST, np.zeros((1, 2), np.int8)), "expected int8 of shape"),
    "another type": (lambda path: pack(path, FIRST, np.zeros(SHAPE, np.int16)), "expected int8 of shape"),
    "a path": (lambda path: pack(path, "../../x.npy", np.zeros(1)), "no layer takes the array '../../x'"),
    "a name that commands": (lambda path: pack(path, "\x1b[31m", b"x"), r"no layer takes the array '\x1b[31m'"),
    "other weights": (lambda path: pack(path, FIRST, np.zeros(SHAPE, np.int8)), "layer conv2d0: expected the weights"),
    "another bias": (
        lambda path: pack(path, "conv2d0/bias.npy", np.zeros(SHAPE[0], np.int8)),
        "layer conv2d0: expected the bias",
    ),
    "no header": (lambda path: pack(path, FIRST, b"NUMPY"), "expected int8 of shape"),
}


@pytest.mark.usefixtures("no_compiler")
@pytest.mark.parametrize("case", ARCHIVES)
def test_a_strangers_weights_are_refused(fw: Path, case: str) -> None:
    change, says = ARCHIVES[case]
    change(fw / ARCHIVE)
    with pytest.raises(FolderError, match=rf"fw/{re.escape(ARCHIVE)}: .*{re.escape(says)}") as refused:
        folder.load(fw)
    assert refused.value.exit_status == 2
    assert str(refused.value).isprintable()


def test_weights_that_the_plan_does_not_know_are_refused(fw: Path) -> None:
    """Without a bias in the plan, one in the archive is somebody else's."""
    edit(fw, ("layers", 0, "bias"), None)
    with pytest.raises(FolderError, match="layer conv2d0: expected no bias"):
        folder.load(fw)


@pytest.mark.usefixtures("no_compiler")
@pytest.mark.parametrize("name", ["board.yaml", "./board.yaml", "/dev/zero", "cortex-m99", "[bold]board[/bold]"])
def test_the_target_of_a_plan_is_a_shipped_one_or_none(
    fw: Path, box: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(box)
    (box / "board.yaml").write_text("schema: 1\nname: board\ninherit: cortex-m4\nclock_hz: 5M\n")
    edit(fw, ("target",), name)
    assert verify._target_of(folder.load(fw)) == "cortex-m4"
    edit(fw, ("target",), "nucleo-l4r5zi")
    assert verify._target_of(folder.load(fw)) == load_target("nucleo-l4r5zi")


@pytest.mark.emulated
def test_no_edit_of_a_folder_is_a_traceback(server: ForkServer, fw: Path, box: Path, full: bool) -> None:
    good = (fw / "plan.json").read_text()
    rng = random.Random(9)
    values = [None, -1, 0, 10**30, 1e308, 65535, "x", "q15", "\x1b[31m[red]", "a\nb", "/dev/zero", [], {}, True, [[]]]
    for _ in range(500 if full else 10):
        node: Any = json.loads(good)
        root, path = node, []
        while isinstance(node, dict | list) and node and (len(path) < 2 or rng.random() < 0.7):
            parent, key = node, rng.choice(sorted(node) if isinstance(node, dict) else range(len(node)))
            path.append(key)
            node = node[key]
        if rng.random() < 0.2:
            del parent[key]
        else:
            parent[key] = rng.choice(values)
        (fw / "plan.json").write_text(json.dumps(root))
        ended = server.run("cmsisnn-verify", "fw", "--samples", "1", cwd=box, memory=EMULATOR_BYTES)
        assert ended.status in (0, 1, 2), (path, ended.err)
        assert "Traceback" not in ended.err, (path, ended.err)
        assert "\x1b" not in ended.out + ended.err, path

# ---------------------------------------------------------------- plans that are compared


def test_markup_in_a_plan_is_text_when_plans_are_compared(server: ForkServer, fw: Path, box: Path) -> None:
    edit(fw, ("target",), "[bold]x[/bold] [link=x:y]z[/link]")
    ended = server.run("cmsisnn-tune", "compare", "fw/plan.json", "fw/plan.json", cwd=box)
    assert (ended.status, ended.err) == (0, "")
    assert f"{NAME} on [bold]x[/bold] [link=x:y]z[/link], least latency" in ended.out


@pytest.mark.parametrize(
    "case", ["a model of two lines", "a target of two lines", "a layer that commands", "a knob that commands"]
)
def test_plans_that_are_compared_are_read_as_strictly(refuse: Callable[..., Ended], fw: Path, case: str) -> None:
    path, value, _ = EDITS[case]
    edit(fw, path, value)
    refuse("cmsisnn-tune", "compare", "fw/plan.json", "fw/plan.json", says="fw/plan.json: ")


def test_a_key_of_a_plan_begins_no_line_of_its_own(refuse: Callable[..., Ended], fw: Path) -> None:
    edit(fw, ("versions",), {"x\nerror: forged": 5})
    ended = refuse("cmsisnn-tune", "compare", "fw/plan.json", "fw/plan.json", says="versions.'x")
    assert ended.err.count("\n") == 1


def test_a_plan_without_digests_is_compared(server: ForkServer, fw: Path, box: Path) -> None:
    content = json.loads((fw / "plan.json").read_text())
    del content["digests"]
    (box / "plan.json").write_text(json.dumps(content))
    assert server.run("cmsisnn-tune", "compare", "plan.json", "plan.json", cwd=box).status == 0

# ---------------------------------------------------------------- inputs


@pytest.mark.parametrize("content", [b"\1\0\x08\0({'a': (", b"\1\0\4\0\xff\xfe\0\0", b"\x09\0", b""])
def test_inputs_that_are_no_arrays_are_refused(
    refuse: Callable[..., Ended], fw: Path, box: Path, content: bytes
) -> None:
    assert fw.is_dir()
    (box / "x.npy").write_bytes(b"\x93NUMPY" * bool(content) + content)
    refuse("cmsisnn-verify", "fw", "--input", "x.npy", says="--input: x.npy: not a .npy file", memory=EMULATOR_BYTES)


def test_inputs_from_a_pipe_are_not_waited_for(refuse: Callable[..., Ended], fw: Path, box: Path) -> None:
    assert fw.is_dir()
    os.mkfifo(box / "x.npy")
    refuse("cmsisnn-verify", "fw", "--input", "x.npy", says="x.npy: expected a .npy file, got a pipe")
