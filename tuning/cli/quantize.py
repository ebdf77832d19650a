# SPDX-License-Identifier: Apache-2.0
"""``cmsisnn-quantize``: a float ONNX model and calibration data give a q7 or q15 model file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..base.errors import OptionError
from .program import Command, run, show_version

if TYPE_CHECKING:
    from ..quantize.quantizer import Progress

PROGRAM = "cmsisnn-quantize"

app = typer.Typer(
    add_completion=True, pretty_exceptions_enable=False, context_settings={"help_option_names": ["--help", "-h"]}
)


class Dtype(StrEnum):
    """Type of activations and weights."""

    Q7 = "q7"
    Q15 = "q15"


class Method(StrEnum):
    """How fraction bits are chosen."""

    SEARCH = "search"
    ERROR = "error"
    MAX = "max"


class Softmax(StrEnum):
    """What the format in front of a softmax serves."""

    AUTO = "auto"
    PROBABILITIES = "probabilities"
    ANSWERS = "answers"


def main() -> None:
    """Entry point of ``cmsisnn-quantize``."""
    run(app, PROGRAM)


@app.command(cls=Command, no_args_is_help=True, epilog="Exit status: 0 done, 2 bad usage or bad input.")
def quantize_command(
    model: Annotated[Path, typer.Argument(metavar="MODEL.onnx", help="Sequential float model.", show_default=False)],
    calibration: Annotated[
        Path,
        typer.Option(
            metavar="DATA.npz",
            help="x (or inputs): samples as the float model takes them. y (or labels), optional: class numbers.",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="MODEL.yaml",
            help="Model file to write; the weights go beside it. Default: the ONNX file's name, here.",
            show_default=False,
        ),
    ] = None,
    dtype: Annotated[Dtype, typer.Option(help="Type of activations and weights.")] = Dtype.Q7,
    method: Annotated[
        Method,
        typer.Option(
            help="max: nothing saturates. error: least error of each layer, channels equalised. search: then bits move "
            "as long as accuracy does not drop, and biases take up mean errors."
        ),
    ] = Method.SEARCH,
    softmax: Annotated[
        Softmax,
        typer.Option(
            help="probabilities: those of base e. answers: most fraction bits, least ties. auto: the fewest fraction "
            "bits that lose no answer."
        ),
    ] = Softmax.AUTO,
    test: Annotated[
        list[Path] | None,
        typer.Option(metavar="DATA.npz", help="More data to print the accuracy on, held out.", show_default=False),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(help="Name of the model, prefix of all emitted symbols. Default: the output's stem."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the result as JSON, and nothing else, on stdout.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")] = False,
    no_color: Annotated[bool, typer.Option("--no-color", help="No colour, whatever the terminal can do.")] = False,
    version: Annotated[
        bool,
        typer.Option("--version", callback=show_version(PROGRAM), is_eager=True, help="Print the version, and exit."),
    ] = False,
) -> None:
    """Quantise a float ONNX model to power-of-two scales: formats, shifts and integer weights for cmsisnn-tune."""
    from ..importers.onnx_reader import identifier, load_onnx

    output = Path(f"{identifier(model.stem)}.yaml") if output is None else output
    files = [model, calibration, *(test or [])]
    _check_output(output, files)
    network = load_onnx(model, name or identifier(output.stem))

    from ..quantize.data import load_data
    from ..quantize.quantizer import quantize_network
    from ..quantize.result import evaluate

    data = load_data(calibration)
    held_out = {str(path): load_data(path) for path in test or []}
    with _status(quiet or as_json, no_color) as progress:
        result = quantize_network(
            network, data, dtype=dtype.value, method=method.value, softmax=softmax.value, progress=progress
        )
        tests = {path: evaluate(result, samples) for path, samples in held_out.items()}
    result.save(output)
    if quiet and not as_json:
        return
    from . import quantize_table

    if as_json:
        print(json.dumps(quantize_table.as_dict(result, output, tests)))
    else:
        quantize_table.print_result(result, output, tests, no_color=no_color)


def _check_output(output: Path, inputs: list[Path]) -> None:
    if output.suffix not in (".yaml", ".yml") or output.is_dir():
        raise OptionError(f"--output: expected a file name ending in .yaml, got {str(output)!r}")
    for written in (output, output.with_name(f"{output.stem}.npz"), output.with_name(f"{output.stem}_float.npz")):
        for given in inputs:
            if written.resolve() == given.resolve():
                raise OptionError(f"--output: {written} would overwrite {given}; choose another name or folder")


@contextmanager
def _status(is_silent: bool, no_color: bool) -> Iterator[Progress]:
    """One line that changes, on a terminal only."""
    from ..base.console import console

    out = console(no_color, stderr=True)
    if is_silent or not out.is_terminal:
        yield _ignore
        return
    with out.status("reading") as status:
        yield status.update


def _ignore(line: Any) -> None:
    """No terminal, no progress."""


if __name__ == "__main__":
    main()
