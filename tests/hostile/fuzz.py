# SPDX-License-Identifier: Apache-2.0
"""Endless bad input, for as long as one likes; a finding ends up as a case in test_models.py or test_names.py.

    python tests/hostile/fuzz.py models --minutes 10     model files, targets and weights, mutated
    python tests/hostile/fuzz.py names --minutes 10      random networks with awkward names, emitted and compiled
    python tests/hostile/fuzz.py tflite --minutes 10 --files DIR    .tflite files, small ones and those of a folder
    python tests/hostile/fuzz.py import --minutes 10 --files DIR    the same as networks: imported, rewritten, run

`fuzz_commands.py` has the commands on other files of strangers, `graphs.py` networks that are right.

Prints every input that ends in anything but a TuningError, takes too long, or gives C that does not compile.
"""

from __future__ import annotations

import argparse
import io
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
import zipfile
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from cmsisnn_x.op import MODEL_OPS
from helpers.mutations import garble, mutate
from helpers.tflite_files import damage, examples
from helpers.tflite_mutants import CASES, mutant, run_all
from tuning import load_model, load_target
from tuning.base.errors import TuningError
from tuning.importers.tflite import file as tflite_file
from tuning.importers.tflite.reader import import_tflite

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
def archive(rng: random.Random) -> bytes:
    """An npz that almost fits."""
    stream = io.BytesIO()
    method = rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2))
    with zipfile.ZipFile(stream, "w", method) as made:
        for name in rng.sample(("c/weights", "c/bias", "d/weights", "../c", "c/weights.npy"), rng.randrange(1, 3)):
            item = io.BytesIO()
            dtype = rng.choice((np.int8, np.int16, np.float64, np.dtype(">i2"), object))
            np.save(item, np.zeros(rng.choice(((6, 3, 3, 4), (6,), (), (1000,))), dtype), allow_pickle=True)
            made.writestr(f"{name}.npy", garble(rng, item.getvalue()))
    return garble(rng, stream.getvalue()) if rng.random() < 0.7 else stream.getvalue()


def fuzz_models(rng: random.Random, folder: Path) -> tuple[str, bytes]:
    """One model, target or archive; returns what it was and its bytes."""
    kind = rng.choice(("models", "models", "targets", "weights"))
    if kind == "weights":
        data = archive(rng)
        (folder / "w.npz").write_bytes(data)
        (folder / "m.yaml").write_text(
            "schema: 1\nname: net\ninput: {shape: [8, 8, 4]}\nweights: w.npz\nlayers:\n"
            "  - {name: c, op: conv2d, out_channels: 6, kernel: 3, out_shift: 7}\n"
        )
        return kind, data
    source = rng.choice(sorted((CONFIGS / kind).glob("*.yaml")))
    tree = yaml.safe_load(source.read_text(encoding="utf-8"))
    if isinstance(tree, dict):
        tree.pop("weights", None)
        if isinstance(layers := tree.get("layers"), list):
            del layers[rng.randrange(1, 5) :]
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        tree = mutate(rng, tree)
    text = yaml.dump(tree, allow_unicode=rng.random() < 0.5, default_flow_style=rng.random() < 0.3, sort_keys=False)
    data = text.encode("utf-8", "surrogatepass")
    data = garble(rng, data) if rng.random() < 0.4 else data
    (folder / "m.yaml").write_bytes(data)
    return kind, data


WORDS = (
    "a", "c", "in", "out", "run", "conv", "kernel", "weights", "bias", "pool", "scratch", "arena", "bytes", "h", "w",
    "ch", "config", "output", "input", "main", "NULL", "INT8_MAX", "int8_t", "memcpy", "memset", "size_t", "uint8_t",
    "EOF", "offsetof", "linux", "unix", "arm", "thumb", "profile", "begin", "end", "net", "x1", "_a", "a_", "static",
    "align", "shift", "relu", "unroll", "rows", "cols", "stride_y", "pad_top", "kernel_h", "in_h", "fused", "layer",
    "Reserved", "I", "max", "min", "abs", "CXN_DSP", "cxn_x", "stdint_h", "errno", "assert", "true_", "layers", "i",
)  # fmt: skip


def fuzz_names(rng: random.Random, folder: Path) -> tuple[str, bytes]:
    """A random network with names that could collide; emitted, compiled as C and as C++."""

    def name() -> str:
        return "_".join(rng.choice(WORDS) for _ in range(rng.choice((1, 1, 2, 2, 3))))

    shape: Any = [rng.choice((1, 2, 5, 8)), rng.choice((1, 3, 8)), rng.choice((1, 2, 3, 4, 8))]
    layers = []
    for _ in range(rng.randrange(1, 7)):
        layer: dict[str, Any] = {"name": name(), "op": rng.choice(tuple(MODEL_OPS))}
        if "conv" in layer["op"] or "pool" in layer["op"]:
            layer |= {"kernel": rng.choice((1, 2, 3)), "padding": "same", "stride": rng.choice((1, 1, 2))}
        if layer["op"] == "conv2d":
            layer["out_channels"] = rng.choice((1, 2, 3, 4, 6))
        if layer["op"] in ("conv2d", "depthwise_conv2d", "fully_connected"):
            layer |= {"out_shift": rng.choice((0, 1, 7, 31)), "bias_shift": rng.choice((0, 3, 31))}
            layer |= {"activation": "relu"} if rng.random() < 0.5 else {}
        if layer["op"] == "fully_connected":
            layer["out_features"] = rng.choice((1, 2, 5))
        if MODEL_OPS[layer["op"]].has_table:
            layer["int_bits"] = rng.randrange(4)
        layers.append(layer)
    entry = {"shape": shape, "dtype": rng.choice(("q7", "q15"))}
    tree = {"schema": 1, "name": name(), "input": entry, "layers": layers}
    data = yaml.dump(tree, sort_keys=False).encode()
    (folder / "m.yaml").write_bytes(data)
    return "names", data


def check_names(rng: random.Random, folder: Path) -> None:
    import tuning

    model = load_model(folder / "m.yaml")
    target = load_target(rng.choice(("cortex-m0plus", "cortex-m4", "cortex-m7")))
    title = rng.choice((target.name, "*/ int evil; /*", "<script>", "a\nb", "\\", '"', "é", "??/"))
    hostile = replace(target, name=title)
    plan = tuning.tune(model, hostile, objective=rng.choice(("latency", "sram", "flash")))
    tuning.emit(plan, folder / "out")
    for compiler in (
        ["arm-none-eabi-gcc", "-std=c99", "-Wconversion"],
        ["arm-none-eabi-g++", "-x", "c++"],
        ["gcc", "-std=c99"],
    ):
        if not shutil.which(compiler[0]):
            continue
        if compiler[0].startswith("arm"):
            compiler += ["-mthumb", "-mcpu=" + target.core]
        compiler += ["-fsyntax-only", "-Wall", "-Wextra", "-Werror", "-DCXN_NO_OPTIMIZE_WARNING"]
        source = folder / "out" / f"{model.name}.c"
        ran = subprocess.run([*compiler, "-I", folder / "out", source], capture_output=True, text=True)
        if ran.returncode:
            raise AssertionError(ran.stderr[:2000])


def fuzz_tflite(rng: random.Random, folder: Path, sources: list[bytes]) -> tuple[str, bytes]:
    """A `.tflite` file with damage."""
    data = damage(rng, rng.choice(sources))
    (folder / "m.tflite").write_bytes(data)
    return "tflite", data


def check_tflite(folder: Path) -> None:
    """What is read can be asked, and what is said can be printed."""
    try:
        model = tflite_file.read(folder / "m.tflite")
    except TuningError as error:
        if not (text := str(error)).isprintable() or len(text) > 500:
            raise AssertionError(text) from None
        raise
    for graph in model.subgraphs:
        for tensor in graph.tensors:
            said = f"{tensor}: {tensor.problem}"
            if tensor.data is not None and tensor.dtype is not None and tensor.problem is None:
                np.abs(tensor.data.astype(np.complex128)).sum()
            if not said.isprintable():
                raise AssertionError(said)
        for op in graph.ops:
            if not f"{op}".isprintable() or any(not -1 <= index < len(graph.tensors) for index in op.inputs):
                raise AssertionError(op)


def fuzz_import(rng: random.Random, folder: Path, sources: list[bytes]) -> tuple[str, bytes]:
    """A network whose numbers are others, or whose bytes are."""
    kind = rng.random()
    if kind < 0.2:
        data = damage(rng, rng.choice(sources))
    else:
        case = CASES[rng.choice(sorted(CASES))]
        try:
            data = mutant(rng, case).content()
        except (TypeError, ValueError, OverflowError):  # no file can say that
            data = case.content()
        data = damage(rng, data) if kind > 0.8 else data
    (folder / "m.tflite").write_bytes(data)
    return "import", data


def check_import(rng: random.Random, folder: Path) -> bool:
    """Whether it was run."""
    try:
        found = import_tflite(folder / "m.tflite", rng.choice(("tflm", "litert")))
    except TuningError as error:
        if not (text := str(error)).isprintable() or len(text) > 8000 or any(word in text for word in UNPLANNED):
            raise AssertionError(text) from None
        raise
    return run_all(found, rng.getrandbits(32))


UNPLANNED = ("not enough values", "too many values", "out of range for", "has no attribute", "object is not", "Layer(")
"""Of errors that nobody meant."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("models", "names", "tflite", "import"))
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--files", type=Path, help="a folder with .tflite files, however deep")
    options = parser.parse_args()
    sources = list(examples().values())
    if options.what == "import":
        sources = [case.content() for case in CASES.values()]
    sources += [path.read_bytes() for path in sorted(options.files.rglob("*.tflite"))] if options.files else []
    resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))
    end, seen, rejected, number = time.monotonic() + options.minutes * 60, Counter[str](), 0, options.seed
    ran, before = 0, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        while time.monotonic() < end:
            number += 1
            rng = random.Random(number)
            if options.what == "tflite":
                kind, data = fuzz_tflite(rng, folder, sources)
            elif options.what == "import":
                kind, data = fuzz_import(rng, folder, sources)
            else:
                kind, data = (fuzz_models if options.what == "models" else fuzz_names)(rng, folder)
            start = time.process_time()
            try:
                if kind == "names":
                    check_names(rng, folder)
                elif kind == "tflite":
                    check_tflite(folder)
                elif kind == "import":
                    ran += check_import(rng, folder)
                elif kind == "targets":
                    load_target(folder / "m.yaml")
                else:
                    load_model(folder / "m.yaml")
            except TuningError:
                rejected += 1
            except BaseException as problem:
                if isinstance(problem, KeyboardInterrupt):
                    break
                key = f"{type(problem).__name__} {traceback.extract_tb(problem.__traceback__)[-1]}"
                seen[key] += 1
                if seen[key] <= 2:
                    print(f"--- {number} {kind}: {problem!r} at {key}\n{data[:1500]!r}", flush=True)
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            if peak - before > 1 << 20:  # KiB
                print(f"--- {number} {kind}: {peak >> 10} MiB\n{data[:1500]!r}", flush=True)
                before = peak
            if (took := time.process_time() - start) > 3:
                print(f"--- {number} {kind}: {took:.1f} s\n{data[:1500]!r}", flush=True)
    findings = f"{sum(seen.values())} findings of {len(seen)} kinds"
    print(f"{number - options.seed} inputs, {rejected} refused, {ran} run, {findings}")
    sys.exit(bool(seen))


if __name__ == "__main__":
    main()
