# SPDX-License-Identifier: Apache-2.0
"""Files of ``export.py`` through our commands, and their integers against what the framework gave.

    python benchmarks/exporters/compare.py FOLDER [NAME ...] [--target cortex-m4]

Float files go through ``cmsisnn-quantize`` (int8) and ``cmsisnn-tune``; quantised ones through ``cmsisnn-tune``. A cell
says, of a float file, the signal-to-noise ratio of int8 against the framework's floats in decibels; of a quantised file
the most steps that an output is off, and how many of the outputs are off at all. A letter is a note below the table.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import tuning

COLUMNS = ("torch_script", "torch_dynamo", "keras", "tf2onnx", "skl2onnx", "skl2onnx_no_zipmap", "qdq_int8",
           "qdq_uint8", "qoperator_int8", "qoperator_uint8", "ai_edge_quantizer")  # fmt: skip
QUANTISED = ("qdq_int8", "qdq_uint8", "qoperator_int8", "qoperator_uint8", "ai_edge_quantizer")
LEAST_DECIBELS, MOST_STEPS = 15.0, 3


@dataclass
class Cell:
    """What became of a file. `note` is why it has no figures."""

    text: str = ""
    note: str = ""
    is_wrong: bool = False


@dataclass
class Table:
    cells: dict[tuple[str, str], Cell] = field(default_factory=dict)

    def text(self) -> str:
        networks = list(dict.fromkeys(network for network, _ in self.cells))
        columns = [name for name in COLUMNS if any(exporter == name for _, exporter in self.cells)]
        notes = list(dict.fromkeys(cell.note for cell in self.cells.values() if cell.note))
        lines = ["| network | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
        for network in networks:
            row = []
            for column in columns:
                cell = self.cells.get((network, column), Cell())
                mark = f"[{notes.index(cell.note) + 1}]" if cell.note else ""
                row.append(f"{cell.text}{' !' if cell.is_wrong else ''}{mark}")
            lines.append(f"| {network} | " + " | ".join(row) + " |")
        return "\n".join([*lines, "", *(f"{at}. {note}" for at, note in enumerate(notes, 1))])


def last(values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """One sample in the shape of a port: as it is, or channels last. No network has two axes of one size."""
    own = [size for size in values.shape if size != 1]
    if own != [size for size in shape if size != 1] and values.ndim > 1:
        values = np.moveaxis(values, 0, -1)
    return values.reshape(shape)


def command(*words: str | Path) -> str:
    """Run one of our commands; its complaint, or nothing."""
    name, *others = map(str, words)
    program = Path(sys.executable).with_name(name)
    ran = subprocess.run([program, *others, "-q", "--no-color"], capture_output=True, text=True)
    return "" if ran.returncode == 0 else " ".join((ran.stderr or ran.stdout).split())


def ran(model: Any, given: list[np.ndarray]) -> list[np.ndarray]:
    """Outputs of all samples in integers, as rows."""
    network, outputs = model.network(), []
    for at in range(len(given[0])):
        integers = []
        for values, port in zip(given, model.inputs, strict=True):
            limits = np.iinfo(port.dtype)
            numbers = np.clip(np.rint(values[at] / np.float32(port.scale)) + port.zero_point, limits.min, limits.max)
            integers.append(last(numbers, port.shape).astype(port.dtype))
        found = network.run(tuple(integers) if len(integers) > 1 else integers[0])
        outputs.append([np.asarray(one).ravel() for one in (found if isinstance(found, tuple) else (found,))])
    return [np.stack(column) for column in zip(*outputs, strict=True)]


def judged(path: Path, stored: dict[str, np.ndarray], is_quantised: bool) -> Cell:
    """A quantised network against what the framework gave. Files of LiteRT's are held against its own kernels."""
    model = tuning.load_model(path, arithmetic="litert") if path.suffix == ".tflite" else tuning.load_model(path)
    given = [stored[key] for key in sorted(stored) if key[0] == "x"]
    wanted = [stored[key] for key in sorted(stored) if key[0] == "y"]
    found = ran(model, given)
    if len(found) != len(wanted):
        return Cell("", f"gives {len(found)} outputs for {len(wanted)}", True)
    decibels, most, off, size = np.inf, 0, 0, 0
    note = ""
    for integers, port, value in zip(found, model.outputs, wanted, strict=True):
        rows = np.stack([last(one, port.shape).ravel() for one in value]).astype(np.float64)
        if not is_quantised and (rows <= 0).all() and np.allclose(np.exp(rows).sum(1), 1, atol=1e-4):
            rows, note = np.exp(rows), "probabilities in place of their logarithms, which are in the same order"
        real = (integers.astype(np.float64) - port.zero_point) * np.float64(np.float32(port.scale))
        decibels = min(decibels, 10 * np.log10((rows**2).mean() / max(((real - rows) ** 2).mean(), 1e-30)))
        limits = np.iinfo(port.dtype)
        steps = np.clip(np.rint(rows / np.float32(port.scale)) + port.zero_point, limits.min, limits.max)
        distance = np.abs(steps - integers)
        most, off, size = max(most, int(distance.max())), off + int((distance > 0).sum()), size + distance.size
    if is_quantised:
        return Cell(f"{most} ({off / size:.1%})", note, most > MOST_STEPS)
    return Cell(f"{decibels:.0f} dB", note, decibels < LEAST_DECIBELS)


def cell(file: Path, exporter: str, target: str, work: Path) -> Cell:
    stored = dict(np.load(file.with_suffix(".npz")))
    given = [stored[key] for key in sorted(stored) if key[0] == "c"]
    path = file
    if exporter not in QUANTISED:
        data, path = work / "calibration.npz", work / "network.yaml"
        names = ["x"] if len(given) == 1 else input_names(file)
        np.savez(data, **dict(zip(names, given, strict=True)))
        if said := command("cmsisnn-quantize", file, "--calibration", data, "-o", path):
            return Cell("", reason(said))
    if said := command("cmsisnn-tune", path, "--target", target, "-o", work / "firmware"):
        return Cell("", reason(said))
    return judged(path, stored, exporter in QUANTISED)


def input_names(file: Path) -> list[str]:
    import onnx

    return [item.name for item in onnx.load(file).graph.input]


def reason(said: str) -> str:
    """A refusal without the file's name in front."""
    return "refused: " + re.sub(r"^(error: )?\S*?\.(onnx|tflite|yaml): ", "", said, flags=re.IGNORECASE)[:260]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="*", help="parts of files' names; default: all")
    parser.add_argument("--target", default="cortex-m4")
    options = parser.parse_args()
    log = options.folder / "failed.json"
    failed = json.loads(log.read_text()) if log.exists() else {}
    files = {file.name: file for kind in ("onnx", "tflite") for file in options.folder.glob(f"*.{kind}")}
    table = Table()
    for name in sorted({*files, *failed}):
        network, exporter, _ = name.split(".")
        if exporter not in COLUMNS or (options.names and not any(part in name for part in options.names)):
            continue
        if name in failed:
            found = Cell("", f"the exporter itself: {failed[name][:160]}")
        else:
            with tempfile.TemporaryDirectory() as work:
                found = cell(files[name], exporter, options.target, Path(work))
        table.cells[network, exporter] = found
        print(f"{name}: {found.text} {found.note}{' WRONG' if found.is_wrong else ''}", file=sys.stderr, flush=True)
    print(table.text())


if __name__ == "__main__":
    main()
