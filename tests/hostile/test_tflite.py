# SPDX-License-Identifier: Apache-2.0
"""`.tflite` files that are damaged, absurd or mean harm: one sentence, little time, little memory."""

from __future__ import annotations

import os
import random
import resource
import struct
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tflite

from helpers.tflite_files import G, O, T, Writer, build, damage, examples
from tuning import ModelError
from tuning.importers.tflite import file as tflite_file

FILES = examples()
NASTY = "\x1b[31m../../x;*/\n<script>\u202e" + "n" * 5000


def said(path: Path, content: bytes) -> str:
    """What the reader says to `content`; ``""`` if it takes it. Anything but a `ModelError` is a finding."""
    path.write_bytes(content)
    try:
        tflite_file.read(path)
    except ModelError as error:
        text = str(error)
        assert text.startswith(f"{path}: ")
        assert text.isprintable()
        assert len(text) - len(str(path)) < 400
        return text.removeprefix(f"{path}: ")
    return ""


def with_root(content: bytes, at: int) -> bytes:
    return struct.pack("<I", at) + content[4:]


def one(tensor: T) -> bytes:
    return build([tensor])


def raw(
    code: str | int = "ADD",
    tensors: Callable[[Writer], list[int]] = lambda _: [],
    ops: Callable[[Writer], list[int]] = lambda _: [],
) -> bytes:
    """A file of tables that are written as they are."""
    to = Writer()
    graph = to.table("SubGraph", tensors=to.tables(tensors(to)), operators=to.tables(ops(to)))
    return to.finish(operator_codes=to.tables([to.code(code)]), subgraphs=to.tables([graph]))


def signed(subgraph: int = 0, tensor: int = 0) -> bytes:
    to = Writer()
    entry = to.table("TensorMap", tensor_index=tensor)
    signature = to.table("SignatureDef", inputs=to.tables([entry]), subgraph_index=subgraph)
    graph = to.table("SubGraph", tensors=to.tables([to.tensor(T("x"))]))
    return to.finish(subgraphs=to.tables([graph]), signature_defs=to.tables([signature]))


CONV = FILES["convolution"]
BYTES = np.arange(6, dtype=np.int8)
REFUSED: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "expected a .tflite file, which has b'TFL3' at byte 4, got 0 bytes"),
    "short": (b"\x1c\0\0\0TFL", "got 7 bytes"),
    "noise": (bytes(range(256)), r"got b'\x04\x05\x06\x07'"),
    "another identifier": (CONV[:4] + b"TFL2" + CONV[8:], "got b'TFL2'"),
    "a pointer to the file": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
    "the identifier alone": (CONV[:8], "expected a table"),
    "a root outside": (with_root(CONV, 1 << 31), "expected a table inside the file"),
    "a root at the end": (with_root(CONV, len(CONV) - 2), "expected a table inside the file"),
    "another version": (build(version=4), "version: expected 3, got 4"),
    "no subgraphs": (Writer().finish(), "subgraphs: expected one or more, got none"),
    "an input that is not there": (build([T("x")], inputs=[1]), "subgraph 0: inputs: expected indices of 1 tensors"),
    "a missing input of the network": (build([T("x")], inputs=[-1]), "subgraph 0: inputs: expected indices of 1"),
    "an output that is not there": (build([T("x")], outputs=[7]), "subgraph 0: outputs: expected indices of 1 tensors"),
    "an operand that is not there": (
        build([T("x"), T("y")], [O("ADD", [0, 2], [1])]),
        "subgraph 0, operator 0 (ADD): inputs: expected indices of 2 tensors, got 2",
    ),
    "an operand below none": (build([T("x")], [O("ADD", [-2], [0])]), "inputs: expected indices of 1 tensors, got -2"),
    "a result that is none": (build([T("x")], [O("ADD", [0], [-1])]), "outputs: expected indices of 1 tensors, got -1"),
    "too little data": (one(T("w", (7,), data=BYTES)), "tensor 0 'w': data: expected 7 bytes for 7 of"),
    "too much data": (one(T("w", (5,), data=BYTES)), "data: expected 5 bytes for 5 of int8, got 6"),
    "half a number": (one(T("w", (1,), "INT32", data=BYTES)), "data: expected 4 bytes for 1 of int32, got 6"),
    "data of no elements": (one(T("w", (0, 6), data=BYTES)), "data: expected 0 bytes for 0x6 of int8, got 6"),
    "sizes of billions": (one(T("x", [2**31 - 1] * 4)), "'x': shape: expected sizes from 0 with a product up"),
    "a negative size": (one(T("x", (1, -8))), "shape: expected sizes from 0"),
    "sizes whose product wraps": (one(T("x", [2**16] * 4, data=BYTES)), "shape: expected sizes from 0"),
    "a hundred dimensions": (one(T("x", [1] * 100)), "shape: expected at most 32 dimensions, got 100"),
    "a signature of another rank": (one(T("x", (1, 2), signature=(-1,))), "shape_signature: expected 2 sizes, got -1"),
    "an activation of tomorrow": (
        build([T("x")], [O("ADD", ["x"], ["x"], {"fused_activation_function": 77})]),
        "operator 0 (ADD): options: fused_activation_function: expected one of NONE, RELU, RELU_N1_TO_1, RELU6, TANH, "
        "SIGN_BIT, got number 77",
    ),
    "options of another operator": (
        raw("CONV_2D", ops=lambda to: [to.op(O("MAX_POOL_2D"), G(), 0)]),
        "operator 0 (CONV_2D): builtin_options_type: expected 1 or 0, got 5",
    ),
    "a code that is not there": (
        raw(ops=lambda to: [to.op(O("ADD"), G(), 9)]),
        "operator 0: opcode_index: expected one of 1 operator codes, got 9",
    ),
    "a negative code": (raw(-3), "operator code 0: builtin_code: expected an operator, got -3"),
    "a buffer that is not there": (
        raw(tensors=lambda to: [to.table("Tensor", buffer=5)]),
        "tensor 0 '': buffer: expected one of 1 buffers, got 5",
    ),
    "a signature of no subgraph": (
        signed(subgraph=7),
        "signature 0: subgraph_index: expected one of 1 subgraphs, got 7",
    ),
    "a signature of no tensor": (signed(tensor=7), "signature 0: inputs: tensor_index: expected an index of 1"),
    "data behind the file": (FILES["outside"][:-1], "data inside the file"),
    "a name that commands": (one(T(NASTY, (7,), data=BYTES)), r"tensor 0 '\x1b[31m../../x;*/\n<script>\u202ennn"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_a_bad_file_is_refused_in_one_sentence(tmp_path: Path, name: str) -> None:
    content, says = REFUSED[name]
    assert says in said(tmp_path / "m.tflite", content)


def test_names_are_kept_whatever_they_are(tmp_path: Path) -> None:
    """Who prints or emits them guards them, as every other name."""
    path = tmp_path / "m.tflite"
    path.write_bytes(build([T(NASTY)], [O("CUSTOM", custom=NASTY)], description=NASTY))
    model = tflite_file.read(path)
    tensor, op = model.subgraphs[0].tensors[0], model.subgraphs[0].ops[0]
    assert tensor.name == op.custom == model.description == NASTY
    assert str(tensor).isprintable()
    assert str(op).isprintable()
    assert len(str(tensor) + str(op)) < 400


def test_a_name_that_is_no_utf8(tmp_path: Path) -> None:
    path = tmp_path / "m.tflite"
    path.write_bytes(one(T("weights")).replace(b"weights", b"we\xff\xfehts"))
    assert tflite_file.read(path).subgraphs[0].tensors[0].name == "we\ufffd\ufffdhts"


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_ends_anywhere(tmp_path: Path, name: str) -> None:
    """The last bytes of a file may be padding: then nothing is missing."""
    path, content = tmp_path / "m.tflite", FILES[name]
    taken = [size for size in range(len(content)) if said(path, content[:size]) == ""]
    assert all(size > len(content) - 16 for size in taken)


@pytest.mark.parametrize("name", ["convolution", "state"])
def test_every_word_that_lies(tmp_path: Path, name: str) -> None:
    """Offsets, lengths, lists of fields and numbers, each replaced by what they must not be."""
    path, content = tmp_path / "m.tflite", FILES[name]
    refused = 0
    for at in range(0, len(content) - 3, 4):
        for value in (0, 1, len(content) - at - 4, len(content), (1 << 31) - 1, 1 << 31, (1 << 32) - 1):
            refused += said(path, content[:at] + struct.pack("<I", value) + content[at + 4 :]) != ""
    assert refused > len(content) / 4


def test_no_damage_to_a_tflite_file_is_anything_but_a_model_error(tmp_path: Path, full: bool) -> None:
    path, sources = tmp_path / "m.tflite", list(FILES.values())
    answers = set()
    for seed in range(50_000 if full else 2000):
        rng = random.Random(seed)
        answers.add(said(path, damage(rng, rng.choice(sources))) == "")
    assert answers == {False, True}


MEGABYTE = 1 << 20


def unaligned(to: Writer) -> int:
    """A tensor of a megabyte from an odd byte on."""
    to.buffer(bytes(MEGABYTE + 4096))
    to.buffers.append(to.table("Buffer", offset=1001, size=MEGABYTE))
    shape = to.numbers([MEGABYTE // 4])
    return to.table("Tensor", shape=shape, type=tflite.TensorType.INT32, buffer=2)


LONG = "n" * 100_000
BOMBS: dict[str, tuple[Callable[[], bytes], str]] = {
    "a tensor a hundred thousand times": (
        lambda: raw(tensors=lambda to: [to.tensor(T("x", (1, 2), scale=[1.0] * 8))] * 100_000),
        "expected at most 65,536 tables, got more",
    ),
    "an operator a hundred thousand times": (
        lambda: raw(ops=lambda to: [to.op(O("ADD"), G(), 0)] * 100_000),
        "expected at most 65,536 tables, got more",
    ),
    "a name of 100 KB ten thousand times": (
        lambda: raw(tensors=lambda to: [to.tensor(T(LONG))] * 10_000),
        "expected at most 16,777,216 bytes without the weights, got more",
    ),
    "operands without end": (
        lambda: build([T("x")], [O("CONCATENATION", [0] * 5_000_000, [0])]),
        "expected at most 16,777,216 bytes without the weights, got more",
    ),
    "dimensions without end": (
        lambda: one(T("x", np.full(1_000_000, 2**31 - 1, np.int32))),
        "shape: expected at most 32 dimensions, got 1000000",
    ),
    "a megabyte that is copied thirty thousand times": (
        lambda: raw(tensors=lambda to: [unaligned(to)] * 30_000),
        "data: expected buffers at multiples of their elements' size, got too many that are not",
    ),
    "a megabyte of truths thirty thousand times": (
        lambda: raw(tensors=lambda to: [to.tensor(T("w", (MEGABYTE,), "BOOL", data=bytes(MEGABYTE)))] * 30_000),
        "data: expected buffers at multiples of their elements' size, got too many that are not",
    ),
    "a megabyte that thirty thousand tensors share": (
        lambda: raw(tensors=lambda to: [to.tensor(T("w", (MEGABYTE,), data=bytes(MEGABYTE)))] * 30_000),
        "",
    ),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_file_that_repeats_itself_takes_little_time_and_memory(tmp_path: Path, name: str) -> None:
    make, says = BOMBS[name]
    content = make()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.process_time()
    answer = said(tmp_path / "m.tflite", content)
    assert time.process_time() - start < 5
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 512 * 1024
    assert says in answer
    assert bool(says) == bool(answer)


@pytest.mark.parametrize("kind", ["pipe", "device", "long name", "endless"])
def test_what_is_no_regular_file_is_not_waited_for(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "m.tflite"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path = Path("/dev/zero")
    elif kind == "long name":
        path = tmp_path / ("m" * 300)
    else:
        with path.open("wb") as stream:
            stream.truncate(tflite_file.LARGEST_FILE + 1)
    with pytest.raises(ModelError, match=r"no regular file|no such file|expected at most"):
        tflite_file.read(path)
