# SPDX-License-Identifier: Apache-2.0
"""The commands on files of strangers, damaged by chance, for as long as one likes.

    python tests/hostile/fuzz_commands.py onnx --minutes 10      float and quantised ONNX files
    python tests/hostile/fuzz_commands.py folder --minutes 10    emitted folders: plan.json, weights, C
    python tests/hostile/fuzz_commands.py records --minutes 10   exported records, and the record file itself
    python tests/hostile/fuzz_commands.py elf --minutes 10       ELF files: headers, sections, symbols, code
    python tests/hostile/fuzz_commands.py arrays --minutes 10    .npz and .npy: weights, calibration data, inputs
    python tests/hostile/fuzz_commands.py yaml --minutes 10      model files with zero points
    python tests/hostile/fuzz_commands.py log --minutes 10       what a board printed, for calibrate --from

Minutes are of the processor. A command ends with status 0, 1 or 2; what it refuses it says in a few lines of printable
text, has written nothing, and takes little time and memory. Anything else is printed, with the seed that does it again.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import random
import shutil
import struct
import sys
import tempfile
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from helpers import int8, onnx_float
from helpers.forked import GIB, Ended, run_forked
from helpers.mutations import garble, mutate, mutate_message
from helpers.networks import NETWORKS
from helpers.plans import make_plan
from helpers.yaml_networks import RandomNetwork

ROOT = Path(__file__).resolve().parents[2]
EXPORTED = ROOT / "tests" / "tuning" / "importers" / "exported"
SECONDS, MEMORY = 20, 3 * GIB
PEAK = int(1.5 * GIB)
WRITTEN = ("out", "out.yaml", "out.npz", "out_float.npz", "out.tflite", "fitted.yaml")
"""What the commands here are asked to write."""
CALLS = Iterator[tuple[str, ...]]


def run(command: Sequence[str], cwd: Path) -> Ended:
    """A command in a fork of this process."""
    return run_forked(
        {
            "command": command[0], "arguments": list(command[1:]), "cwd": str(cwd), "memory": MEMORY,
            "environment": {"CMSISNN_X_CACHE": str(cwd / "cache"), "HOME": str(cwd), "COLUMNS": "200"},
        }
    )  # fmt: skip


def wrong(ended: Ended, cwd: Path) -> Iterator[str]:
    """What no command may do, whatever it is given."""
    said = ended.out + ended.err
    if ended.status not in (0, 1, 2):
        yield f"status {ended.status}"
    if "Traceback" in said:
        last = [one for one in ended.err.splitlines() if one.startswith("  File ")]
        yield f"a traceback: {ended.err.strip().splitlines()[-1][:200]} at {last[-1].strip() if last else ''}"
    if ended.status == 2:
        if not ended.err.strip():
            yield "refused without a word"
        if ended.err.count("\n") > 12 or len(ended.err) > 9000:
            yield f"refused in {ended.err.count(chr(10))} lines, {len(ended.err)} characters"
        if left := [name for name in WRITTEN if (cwd / name).exists()]:
            yield f"refused, and left {left}"
    if not all(c == "\n" or c.isprintable() for c in said):
        yield "text that is not printable"
    if ended.seconds > SECONDS:
        yield f"{ended.seconds:.0f} s"
    if ended.peak_bytes > PEAK:
        yield f"{ended.peak_bytes >> 20} MiB"


# ------------------------------------------------------------ readers: what is written, and the commands on it


def onnx_files() -> Callable[[random.Random, Path], CALLS]:
    """Messages edited as messages, so that most of them are files still, and bytes as bytes."""
    import onnx
    import onnx.reference

    quantised = [path.read_bytes() for path in sorted(EXPORTED.glob("*q*_*int8.onnx"))]
    floats = {path.name: path.read_bytes() for path in sorted(EXPORTED.glob("*torch*.onnx"))}
    cases = dict(onnx_float.CASES)

    def of_float(rng: random.Random, work: Path) -> bytes:
        if rng.random() < 0.3:
            content = floats[rng.choice(sorted(floats))]
            (into,) = onnx.load_from_string(content).graph.input
            shape = [dim.dim_value for dim in into.type.tensor_type.shape.dim[1:]]
            given = {into.name: np.random.default_rng(0).normal(0, 1, (4, *shape)).astype(np.float32)}
        else:
            shapes, build = cases[rng.choice(sorted(cases))]
            net = onnx_float.FloatNet(*shapes)
            outputs = build(net)
            content = net.model(*([outputs] if isinstance(outputs, str) else outputs)).SerializeToString()
            given = net.draw(4)
        np.savez(work / "data.npz", **(given if len(given) > 1 else {"x": next(iter(given.values()))}))
        return content

    def make(rng: random.Random, work: Path) -> CALLS:
        is_float = rng.random() < 0.55
        content = of_float(rng, work) if is_float else rng.choice(quantised)
        if rng.random() < 0.8:
            model = onnx.load_from_string(content)
            nodes = model.graph.node
            words = tuple(sorted({node.op_type for node in nodes} | {name for node in nodes for name in node.input}))
            for _ in range(rng.choice((1, 1, 2, 4))):
                mutate_message(rng, model.graph if rng.random() < 0.95 else model, words or ("x",))
            content = model.SerializeToString()
        if rng.random() < 0.2:
            content = garble(rng, content)
        (work / "m.onnx").write_bytes(content)
        if is_float:
            scheme = rng.choice(("int8", "int8", "int16x8", "q7", "q15"))
            ranges = ("--ranges", rng.choice(("minmax", "mse"))) if "int" in scheme else ()
            how = ("--calibration", "data.npz", "--scheme", scheme, *ranges)
            yield "cmsisnn-quantize", "m.onnx", *how, "-o", "out.yaml"
        else:
            yield "cmsisnn-tune", "m.onnx", "--target", rng.choice(("cortex-m4", "cortex-m55")), "-q", "-o", "out"

    return make


def _folders(root: Path) -> list[Path]:
    """Emitted ones of every kind, once for all."""
    import tuning
    from tuning.model import graph_model

    made = []
    for name in ("odd_sizes",):
        tuning.emit(make_plan(name, NETWORKS[name]), root / name)
        made.append(root / name)
    for name, core, objective in (
        ("states", "cortex-m4", "latency"), ("constants", "cortex-m0plus", "latency"), ("chain", "cortex-m7", "sram"),
        ("types", "cortex-m4", "latency"), ("moves", "cortex-m4", "flash"), ("residual", "cortex-m55", "latency"),
    ):  # fmt: skip
        model = graph_model(name, int8.GRAPHS[name](), f"{name}.tflite")
        plan = tuning.tune(model, tuning.load_target(core), objective=objective)
        tuning.emit(plan, root / name)
        made.append(root / name)
    return made


def _edited_archive(rng: random.Random, data: bytes) -> bytes:
    """Members with other names, headers, sizes, types, compressions, or more of them."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = [(name, archive.read(name)) for name in archive.namelist()]
    stream = io.BytesIO()
    chosen = rng.randrange(len(members)) if members else -1
    method = rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2))
    with zipfile.ZipFile(stream, "w", method) as archive, warnings.catch_warnings(action="ignore"):
        for at, (name, content) in enumerate(members):
            kind = rng.randrange(7) if at == chosen else -1
            if kind == 0:
                name = rng.choice(("../x.npy", "x/", "\x1b[31m", members[0][0], name.removesuffix(".npy"), "a" * 2000))
            elif kind == 1:
                content = garble(rng, content)
            elif kind == 2:
                continue
            elif kind == 3:
                item = io.BytesIO()
                values = np.zeros(rng.choice(((), (0,), (3,), (6, 3, 3, 4), (1000, 1000))), rng.choice("bhidO?efSU"))
                np.save(item, values, allow_pickle=True)
                content = item.getvalue()
            elif kind == 4:
                content = content[:-1] + bytes([content[-1] ^ 1]) if content else b"x"
            elif kind == 5:
                shape = rng.choice(((2**40, 3), (-1,), (3,), (2**62, 2**62), tuple(range(40))))
                kind = rng.choice(("<i1", "|O", "<f8", "x" * 5000))
                header = repr({"descr": kind, "fortran_order": rng.random() < 0.5, "shape": shape})
                content = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + content[-50:]
            archive.writestr(name, content)
    made = stream.getvalue()
    return garble(rng, made) if rng.random() < 0.3 else made


def _number_elsewhere(rng: random.Random, text: str) -> str:
    """C whose numbers are others."""
    import re

    found = list(re.finditer(r"(?<![\w.])-?\d+(?![\w.])", text))
    for one in sorted(rng.sample(found, min(len(found), rng.choice((1, 1, 2, 5)))), key=lambda hit: -hit.start()):
        value = rng.choice((0, 1, 2, -1, 127, 255, 65536, 2**31, 2**32, 2**64, int(one[0]) + 1, int(one[0]) * 2))
        text = f"{text[: one.start()]}{value}{text[one.end() :]}"
    return text


def folders(root: Path) -> Callable[[random.Random, Path], CALLS]:
    made = _folders(root)
    keep = {path: {one.name: one.read_bytes() for one in path.iterdir() if one.is_file()} for path in made}
    values = (None, -1, 0, 1, 2, 3, 4, 8, 128, 65535, 2**31, 10**30, 1e308, float("nan"), "x", "q15", "int8", "a\nb",
              "\x1b[31m", "/dev/zero", "../x", [], {}, True, [[]], [1, 2], "helium", "asm", "-O2", "-x")  # fmt: skip

    def change(rng: random.Random, name: str, data: bytes) -> bytes:
        if name == "plan.json":
            tree = json.loads(data)
            for _ in range(rng.choice((1, 1, 2, 3))):
                tree = mutate(rng, tree) if rng.random() < 0.4 else _set(rng, tree, values)
            text = json.dumps(tree).encode("utf-8", "surrogatepass")
            return garble(rng, text) if rng.random() < 0.1 else text
        if name.endswith(".npz"):
            return _edited_archive(rng, data) if rng.random() < 0.7 else garble(rng, data)
        text = data.decode()
        return garble(rng, data) if rng.random() < 0.3 else _number_elsewhere(rng, text).encode()

    def make(rng: random.Random, work: Path) -> CALLS:
        source = rng.choice(made)
        kind = rng.random()
        files = keep[source]
        archives = [name for name in files if name.endswith(".npz")]
        sources = [name for name in files if name.endswith((".c", ".h"))]
        chosen = "plan.json" if kind < 0.7 or not archives else archives[0] if kind < 0.88 else rng.choice(sources)
        shutil.copytree(source, work / "fw")
        (work / "fw" / chosen).write_bytes(change(rng, chosen, files[chosen]))
        yield "cmsisnn-verify", "fw", "--samples", "1", "--budget", "20000000"
        if chosen == "plan.json" and rng.random() < 0.3:
            yield "cmsisnn-tune", "compare", "fw/plan.json", str(source / "plan.json")

    return make


def _set(rng: random.Random, tree: Any, values: Sequence[Any]) -> Any:
    """A leaf with another value, most of them small numbers near its own; or one taken from elsewhere in the tree."""
    node, parent, key = tree, None, None
    while isinstance(node, dict | list) and node:
        parent, key = node, rng.choice(sorted(node) if isinstance(node, dict) else range(len(node)))
        node = node[key]
    if parent is not None:
        near = isinstance(node, int) and not isinstance(node, bool) and rng.random() < 0.6
        parent[key] = node + rng.choice((-4, -1, 1, 4, 16)) if near else rng.choice(values)
    return tree


def records() -> Callable[[random.Random, Path], CALLS]:
    from tuning.measure.record import key_of
    from tuning.measure.records import Records

    digest = "0" * 64
    about: dict[str, Any] = {
        "op": "convolve", "kernels": digest, "tools": digest, "layer": {"pool": {"op": "max_pool"}, "a": [1, 2]},
        "parameters": digest, "variant": {"unroll": 4}, "aligned": [True, True], "core": "cortex-m4", "target": digest,
        "compiler": "gcc 12", "cflags": ["-O3"],
    }  # fmt: skip
    network = {**about, "op": "network", "layer": {"kernels": ["convolve", "relu"]}}
    result: dict[str, Any] = dict.fromkeys(("cycles", "instructions", "code_bytes", "stack_bytes"), 1)
    result |= {"failure": None, "problem": None}

    def line(rng: random.Random) -> str:
        own = json.loads(json.dumps(rng.choice((about, network))))
        created = "2026-01-01T00:00:00+00:00"
        item = {"schema": "record-1", "key": "", "created": created, "about": own, "result": dict(result)}
        for _ in range(rng.choice((0, 1, 1, 2))):
            item = mutate(rng, item)
        if isinstance(item, dict) and rng.random() < 0.85:
            with contextlib.suppress(ValueError, TypeError, KeyError, UnicodeEncodeError):
                item["key"] = key_of(item["about"])
        return json.dumps(item)

    def make(rng: random.Random, work: Path) -> CALLS:
        text = "\n".join(line(rng) for _ in range(rng.choice((1, 2, 5)))).encode("utf-8", "surrogatepass")
        (work / "x.jsonl").write_bytes(garble(rng, text) if rng.random() < 0.3 else text)
        if rng.random() < 0.6:
            yield "cmsisnn-tune", "records", "import", "x.jsonl", "--records", "r.sqlite"
        else:
            with contextlib.closing(Records(work / "r.sqlite")) as kept:
                kept.put({key_of(about): result}, {key_of(about): about})
            data = bytearray((work / "r.sqlite").read_bytes())
            for _ in range(rng.choice((1, 3, 30))):
                data[rng.randrange(100) if rng.random() < 0.3 else rng.randrange(len(data))] = rng.randrange(256)
            (work / "r.sqlite").write_bytes(garble(rng, bytes(data)) if rng.random() < 0.3 else bytes(data))
        for command in (("list",), ("list", "--failures"), ("export", "e.jsonl"), ("prune",)):
            if rng.random() < 0.5:
                yield "cmsisnn-tune", "records", *command, "--records", "r.sqlite"

    return make


ELF_SOURCE = """
int a[4]; const int b[2] = {1, 2}; static float scale = 1.5f;
int g(int x) { return x * 3 + a[x & 3]; }
int f(int x) { int s = 0; for (int i = 0; i < (x & 63); i++) s += a[i & 3] + b[i & 1] + g(i); return s / (x | 1); }
float h(float x) { return x * scale; }
void _start(void) { for (;;); }
"""


def elf_files(root: Path) -> Callable[[random.Random, Path], CALLS]:
    from tuning.emulate import find_toolchain

    images = []
    (root / "e.c").write_text(ELF_SOURCE)
    for core, kind in (("cortex-m4", "gcc"), ("cortex-m0plus", "clang"), ("cortex-m55", "clang"), ("cortex-m7", "gcc")):
        find_toolchain(kind).build([root / "e.c"], root / "e.elf", core, cflags=("-O1", "-g"))  # type: ignore[arg-type]
        images.append((core, (root / "e.elf").read_bytes()))

    def make(rng: random.Random, work: Path) -> CALLS:
        core, data = rng.choice(images)
        out = bytearray(data)
        programs, tables = (int.from_bytes(data[at : at + 4], "little") for at in (28, 32))
        count = int.from_bytes(data[48:50], "little")
        spots = [(0, 52), (programs, 96), (tables, 40 * count)]
        for at in range(count):  # what the sections hold: symbols, names, mapping symbols, code, attributes
            head = data[tables + 40 * at : tables + 40 * at + 40]
            offset, size = struct.unpack("<II", head[16:24])
            if size and int.from_bytes(head[4:8], "little") != 8:
                spots.append((offset, size))
        for _ in range(rng.choice((1, 1, 2, 3, 8))):
            start, size = rng.choice(spots)
            at = start + rng.randrange(size)
            kind = rng.randrange(4)
            if at >= len(out):
                continue
            if kind == 0:
                out[at] = rng.choice((0, 1, 0x7F, 0x80, 0xFF))
            elif kind == 1:
                out[at] = rng.randrange(256)
            elif kind == 2:
                out[at] ^= 1 << rng.randrange(8)
            else:
                at &= ~3
                value = rng.choice((0, 1, 4, 0xFFFF, 1 << 20, 1 << 28, 1 << 31, 0xFFFFFFFF))
                out[at : at + 4] = struct.pack("<I", value)
        if rng.random() < 0.08:
            del out[rng.randrange(10, len(out)) :]
        (work / "e.elf").write_bytes(out)
        others = ("nucleo-f746zg", "nucleo-l4r5zi", "cortex-m33", "cortex-m85")
        target = core if rng.random() < 0.8 else rng.choice(others)
        more = rng.choice(((), ("--blocks",), ("--json", "--blocks"), ("--warm",)))
        call = ("--call", rng.choice(("f", "g", "h", "f")), "--arg", rng.choice(("9", "a", "a+4", "-1")))
        yield "cmsisnn-verify", "--elf", "e.elf", "--target", target, *call, "--budget", "100000", *more

    return make


def arrays(root: Path) -> Callable[[random.Random, Path], CALLS]:
    import onnx.reference  # noqa: F401

    import tuning

    networks = [RandomNetwork(seed, 5) for seed in range(8)]
    tuning.emit(make_plan("odd_sizes", NETWORKS["odd_sizes"]), root / "fw")
    shape = NETWORKS["odd_sizes"][0].input_shape
    net = onnx_float.FloatNet((4, 8, 7))
    y = net.node("Relu", net.conv("x", 4, 6))
    model = net.model(net.dense(net.node("Flatten", y), 6 * 56, 3)).SerializeToString()
    rng0 = np.random.default_rng(0)
    stream = io.BytesIO()
    np.savez(stream, x=rng0.normal(0, 1, (4, 4, 8, 7)).astype(np.float32), y=rng0.integers(0, 3, 4))
    data = stream.getvalue()
    stream = io.BytesIO()
    np.save(stream, rng0.integers(-128, 128, (2, *shape)).astype(np.int8))
    inputs = stream.getvalue()

    def changed(rng: random.Random, content: bytes) -> bytes:
        return _edited_archive(rng, content) if rng.random() < 0.75 else garble(rng, content)

    def make(rng: random.Random, work: Path) -> CALLS:
        kind = rng.randrange(4)
        if kind == 0:
            rng.choice(networks).write(work)
            (work / "net.npz").write_bytes(changed(rng, (work / "net.npz").read_bytes()))
            yield "cmsisnn-tune", "net.yaml", "--target", "cortex-m4", "-q", "-o", "out"
        elif kind == 1:
            (work / "m.onnx").write_bytes(model)
            (work / "data.npz").write_bytes(changed(rng, data))
            scheme = rng.choice(("int8", "q7"))
            yield "cmsisnn-quantize", "m.onnx", "--calibration", "data.npz", "--scheme", scheme, "-o", "out.yaml", "-q"
        elif kind == 2:
            (work / "x.npy").write_bytes(garble(rng, inputs))
            yield "cmsisnn-verify", str(root / "fw"), "--input", "x.npy"
        else:
            (work / "t.npz").write_bytes(changed(rng, (ROOT / "configs/models/digits_test.npz").read_bytes()))
            yield "cmsisnn-tune", "digits", "--check", "t.npz", "-q", "-o", "out"

    return make


def yaml_files() -> Callable[[random.Random, Path], CALLS]:
    shipped = [yaml.safe_load((ROOT / "configs/models" / f"{name}.yaml").read_text()) for name in ("resnet8_int8",)]

    def make(rng: random.Random, work: Path) -> CALLS:
        if rng.random() < 0.85:
            made = RandomNetwork(rng.randrange(1 << 30), rng.choice((2, 4, 6)))
            made.write(work)
            tree = made.content
        else:
            tree = json.loads(json.dumps(rng.choice(shipped)))
            del tree["layers"][rng.randrange(1, 6) :]
        for _ in range(rng.choice((1, 1, 1, 2, 4))):
            tree = mutate(rng, tree)
        text = yaml.dump(tree, allow_unicode=True, sort_keys=False).encode("utf-8", "surrogatepass")
        (work / "net.yaml").write_bytes(garble(rng, text) if rng.random() < 0.2 else text)
        yield "cmsisnn-tune", "net.yaml", "--target", "cortex-m4", "-q", "-o", "out"
        if rng.random() < 0.05:
            yield "cmsisnn-tune", "net.yaml", "--operations"

    return make


def logs(root: Path) -> Callable[[random.Random, Path], CALLS]:
    import tuning
    from tuning.measure import folder

    tuning.emit(make_plan("odd_sizes", NETWORKS["odd_sizes"]), root / "fw")
    names = [layer.name for layer in folder.load(root / "fw").layers]

    def make(rng: random.Random, work: Path) -> CALLS:
        text = "boot\r\nlayer,cycles\n"
        for _ in range(rng.choice((1, 1, 2, 3))):
            text += "".join(f"{name},{rng.randrange(1, 10**6)}\n" for name in names)
            text += rng.choice(("", f"network,{rng.randrange(10**6)}\n", "layer,cycles\n", "done\n"))
        lines = text.splitlines(keepends=True)
        for _ in range(rng.choice((0, 1, 2, 4))):
            at = rng.randrange(len(lines))
            other, comma = rng.choice(names), rng.choice((";", ",,", ", ", "\t"))
            counts = (2**32 - 1, -5, 0, "1e3", "9" * 5000)
            lines[at] = rng.choice((
                lines[at] * 2, "", lines[at].replace(",", comma), lines[at].replace("layer", "Layer"),
                f"{other},{rng.choice(counts)}\n", f'"{other}",5\n', "x" * 10_000, "\x1b[31m\n", "\ud800",
            ))  # fmt: skip
        data = "".join(lines).encode("utf-8", "surrogatepass")
        (work / "l.csv").write_bytes(garble(rng, data) if rng.random() < 0.4 else data)
        target = rng.choice(("cortex-m4", "nucleo-f746zg", "nucleo-l4r5zi"))
        yield ("cmsisnn-tune", "calibrate", "--from", "l.csv", "--plan", str(root / "fw"), "--target", target,
               "-o", "fitted.yaml")  # fmt: skip

    return make


READERS: dict[str, Callable[[Path], Callable[[random.Random, Path], CALLS]]] = {
    "onnx": lambda root: onnx_files(), "folder": folders, "records": lambda root: records(), "elf": elf_files,
    "arrays": arrays, "yaml": lambda root: yaml_files(), "log": logs,
}  # fmt: skip


def _spent() -> float:
    now = os.times()
    return now.user + now.system + now.children_user + now.children_system


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=READERS)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=1 << 62, help="inputs at most")
    parser.add_argument("--keep", type=Path, help="copy every input that does what it may not to this folder")
    options = parser.parse_args()
    import tuning.cli.main
    import tuning.cli.quantize
    import tuning.cli.verify
    import tuning.emulate
    import tuning.firmware
    import tuning.measure.folder
    import tuning.report
    import tuning.tuner  # noqa: F401

    seen, ends, number = Counter[str](), Counter[int](), options.seed
    with tempfile.TemporaryDirectory(prefix="cmsisnn-x-fuzz-") as name:
        root = Path(name) / "given"
        root.mkdir()
        make, started = READERS[options.what](root), _spent()
        while _spent() - started < options.minutes * 60 and number - options.seed < options.count:
            number += 1
            rng, work = random.Random(number), Path(name) / "work"
            work.mkdir()
            for command in make(rng, work):
                ended = run(command, work)
                ends[ended.status] += 1
                for what in wrong(ended, work):
                    seen[what] += 1
                    if seen[what] <= 2:
                        print(f"--- {number}: {' '.join(command)}: {what}\n{ended.err[-1500:]!r}", flush=True)
                        if options.keep:
                            shutil.copytree(work, options.keep / f"{options.what}{number}", dirs_exist_ok=True)
            shutil.rmtree(work)
            if sorted(os.listdir(name)) != ["given"]:
                print(f"--- {number}: files outside: {os.listdir(name)}")
                seen["files outside"] += 1
    shown = ", ".join(f"{count} status {status}" for status, count in sorted(ends.items()))
    found = f"{sum(seen.values())} findings of {len(seen)} kinds"
    print(f"{options.what}: {number - options.seed} inputs ({shown}), {_spent() - started:.0f} s of CPU, {found}")
    sys.exit(bool(seen))


if __name__ == "__main__":
    main()
