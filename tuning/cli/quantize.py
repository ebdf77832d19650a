# SPDX-License-Identifier: Apache-2.0
"""``cmsisnn-quantize``: a float ONNX model and calibration data give a quantised network, in any of the schemes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..base.errors import OptionError
from ..base.files import check_replaced, is_of_others
from .program import Command, run, show_version

if TYPE_CHECKING:
    from ..quantize.fixed_point.quantizer import Progress

PROGRAM = "cmsisnn-quantize"
_MODEL = "Float model: any graph for int8 and int16x8, layers in sequence for q7 and q15."

app = typer.Typer(
    add_completion=True, pretty_exceptions_enable=False, context_settings={"help_option_names": ["--help", "-h"]}
)


class Scheme(StrEnum):
    """The arithmetic of the network."""

    INT8 = "int8"
    INT16X8 = "int16x8"
    Q7 = "q7"
    Q15 = "q15"
    AUTO = "auto"

    @property
    def is_pow2(self) -> bool:
        return self in (Scheme.Q7, Scheme.Q15)

    @property
    def endings(self) -> tuple[str, ...]:
        """Of files that hold such a network."""
        return (".yaml", ".yml") if self.is_pow2 else (".yaml", ".yml", ".tflite")


class Dtype(StrEnum):
    """Type of activations and weights."""

    Q7 = "q7"
    Q15 = "q15"


class Ranges(StrEnum):
    """How ranges of activations are chosen."""

    MSE = "mse"
    MINMAX = "minmax"
    PERCENTILE = "percentile"


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


@app.command(
    cls=Command,
    no_args_is_help=True,
    epilog="Exit status: 0 done, 1 no scheme keeps the accuracy, 2 bad usage or bad input.",
)
def quantize_command(
    model: Annotated[Path, typer.Argument(metavar="MODEL.onnx", help=_MODEL, show_default=False)],
    calibration: Annotated[
        Path,
        typer.Option(
            metavar="DATA.npz",
            help="x (or inputs): samples as the float model takes them; of several inputs an array by the name of "
            "each. y (or labels), optional: class numbers, or the numbers that the output should be.",
            show_default=False,
        ),
    ],
    outputs: Annotated[
        list[str] | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE|NAME",
            help="File to write: MODEL.yaml, weights and float network go beside it; or MODEL.tflite of int8 and "
            "int16x8. Default: the ONNX file's name, here, .yaml. Any other name is a tensor of the model, at which it "
            "is cut: the one output. May be given twice.",
            show_default=False,
        ),
    ] = None,
    shape: Annotated[
        list[str] | None,
        typer.Option(
            metavar="INPUT=SIZES", help="Sizes that the model leaves open: x=1,3,96,96, the batch first.",
            show_default=False,
        ),
    ] = None,
    scheme: Annotated[
        Scheme | None,
        typer.Option(
            help="int8: LiteRT's, a scale and zero point for each tensor, a weight scale for each output channel. "
            "int16x8: the same with int16 activations. q7, q15: powers of two. auto: the one with the least cycles on "
            "--target that keeps the accuracy (--max-drop), of those that the output file can hold. Default: int8.",
            show_default=False,
        ),
    ] = None,
    dtype: Annotated[
        Dtype | None, typer.Option(help="The older name of --scheme, for q7 and q15.", show_default=False)
    ] = None,
    max_drop: Annotated[
        float | None,
        typer.Option(
            metavar="PERCENT",
            min=0,
            max=100,
            help="Of --scheme auto: percent of the samples (of the first --test, else of --calibration) that may be "
            "right in float only; without labels, that may be answered otherwise. Default: 0.5.",
            show_default=False,
        ),
    ] = None,
    firmware: Annotated[
        bool,
        typer.Option(
            "--firmware", help="Of --scheme auto: also the accuracy of each scheme's emulated firmware; takes the "
            "extra firmware.",
        ),
    ] = False,
    target: Annotated[
        str | None,
        typer.Option(metavar="NAME|FILE.yaml", help="Of --scheme auto: core or board. Default: cortex-m7.",
                     show_default=False),
    ] = None,
    ranges: Annotated[
        Ranges | None,
        typer.Option(
            help="Of int8 and int16x8. minmax: nothing saturates. percentile: 0.01 % does at each end. mse: the least "
            "error of each layer, unless minmax is better for the network. Default: mse.",
            show_default=False,
        ),
    ] = None,
    method: Annotated[
        Method | None,
        typer.Option(
            help="Of q7 and q15. max: nothing saturates. error: least error of each layer, channels equalised. search: "
            "then bits move as long as accuracy does not drop, and biases take up mean errors. Default: search.",
            show_default=False,
        ),
    ] = None,
    softmax: Annotated[
        Softmax | None,
        typer.Option(
            help="Of q7 and q15. probabilities: those of base e. answers: most fraction bits, least ties. auto: the "
            "fewest fraction bits that lose no answer; refused where the values would then be no probabilities. "
            "Default: auto.",
            show_default=False,
        ),
    ] = None,
    save: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.tflite", help="Of int8 and int16x8: also write the network as this file.", show_default=False
        ),
    ] = None,
    test: Annotated[
        list[Path] | None,
        typer.Option(metavar="DATA.npz", help="More data to print the accuracy on, held out.", show_default=False),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(help="Name of the model, prefix of all emitted symbols. Default: the output's stem."),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace files that others wrote, too.")
    ] = False,
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
    """Quantise a float ONNX model for cmsisnn-tune: scales or formats for every tensor, and integer weights."""
    from ..importers.onnx.reader import identifier

    wanted = _scheme(scheme, dtype)
    output, cut = _file_and_tensor(outputs or [])
    if output is None:
        output = Path(f"{identifier(model.stem)}{wanted.endings[0]}")
    _check_output(output, save, wanted, [model, calibration, *(test or [])], force=force)
    schemes = _candidates(output, save) if wanted is Scheme.AUTO else (wanted,)
    words = {"method": method, "softmax": softmax, "ranges": ranges}
    options = _options(wanted, schemes, {key: word.value for key, word in words.items() if word is not None})
    if wanted is not Scheme.AUTO:
        for option, value in (("--max-drop", max_drop), ("--target", target)):
            if value is not None:
                raise OptionError(f"{option}: expected nothing with {wanted}, got {value}; it is one of --scheme auto")
        if firmware:
            raise OptionError(
                f"--firmware: expected nothing with {wanted}; cmsisnn-tune {output} --check DATA.npz gives the "
                "accuracy of its firmware"
            )

    from ..importers.onnx.prepare import Given
    from ..quantize import quantize_model
    from ..quantize.scores import evaluate
    from ..quantize.source import FloatSource, load_for

    source = FloatSource(model, name or identifier(output.stem), Given(cut, _shapes(shape or [])))
    network = source.network(schemes[0].value)
    data = load_for(network, calibration)
    held_out = {str(path): load_for(network, path) for path in test or []}
    search = None
    with _status(quiet or as_json, no_color) as progress:
        if wanted is Scheme.AUTO:
            from .quantize_schemes import NoSchemeError, Search

            judged, drop = next(iter(held_out.values()), data), 0.5 if max_drop is None else max_drop
            search = Search(data, judged, target, drop, emulates=firmware)
            try:
                result = search.run(source.network, [one.value for one in schemes], options, progress)
            except NoSchemeError:
                if not (quiet or as_json):
                    search.print(no_color)
                raise
        else:
            result = quantize_model(network, data, wanted.value, progress=progress, **options[wanted.value])
        tests = {path: evaluate(result, samples) for path, samples in held_out.items()}
    result.save(output)
    if save is not None:
        result.save(save)
    if quiet and not as_json:
        return
    from . import quantize_table

    if as_json:
        content = quantize_table.as_dict(result, output, tests)
        print(json.dumps(content | ({} if search is None else {"schemes": search.to_list()})))
        return
    if search is not None:
        search.print(no_color)
    quantize_table.print_result(result, output, tests, saved=save, no_color=no_color)


def _file_and_tensor(values: list[str]) -> tuple[Path | None, str | None]:
    """What ``--output`` says: where to write, and where to cut."""
    endings = [ending for scheme in Scheme for ending in scheme.endings]
    files = [Path(value) for value in values if Path(value).suffix in endings]
    tensors = [value for value in values if Path(value).suffix not in endings]
    for found, what in ((files, "file"), (tensors, "tensor")):
        if len(found) > 1:
            raise OptionError(f"--output: expected one {what}, got {', '.join(map(str, found))}")
    return next(iter(files), None), next(iter(tensors), None)


def _shapes(values: list[str]) -> dict[str, tuple[int, ...]]:
    """What ``--shape`` says."""
    shapes = {}
    for value in values:
        name, _, sizes = value.rpartition("=")
        parts = sizes.split(",")
        if not name or not all(part.isascii() and part.isdigit() and 0 < int(part) < 1 << 31 for part in parts):
            raise OptionError(f"--shape: expected an input and its sizes, such as x=1,3,96,96, got {value!r}")
        shapes[name] = tuple(map(int, parts))
    return shapes


def _scheme(scheme: Scheme | None, dtype: Dtype | None) -> Scheme:
    if scheme is not None and dtype is not None and scheme.value != dtype.value:
        raise OptionError(f"--dtype: the older name of --scheme: expected nothing beside {scheme}, got {dtype}")
    if dtype is not None:
        return Scheme(dtype.value)
    return scheme or Scheme.INT8


def _candidates(output: Path, save: Path | None) -> tuple[Scheme, ...]:
    """Schemes whose networks the files can hold."""
    endings = [path.suffix for path in (output, save) if path is not None]
    found = tuple(one for one in Scheme if one is not Scheme.AUTO and set(endings[:1]) <= set(one.endings))
    return tuple(one for one in found if not one.is_pow2) if save is not None else found


def _options(wanted: Scheme, schemes: tuple[Scheme, ...], given: dict[str, str]) -> dict[str, dict[str, Any]]:
    """By scheme those that are given; each has to be one of some scheme's."""
    own = {one: ("method", "softmax") if one.is_pow2 else ("ranges",) for one in schemes}
    for name in given:
        if not any(name in names for names in own.values()):
            raise OptionError(f"--{name}: expected nothing with {wanted}, got {given[name]}; it is an option of others")
    return {one.value: {name: word for name, word in given.items() if name in names} for one, names in own.items()}


def _check_output(output: Path, save: Path | None, scheme: Scheme, inputs: list[Path], *, force: bool) -> None:
    if output.suffix not in scheme.endings or output.is_dir():
        expected = " or ".join(ending for ending in scheme.endings if ending != ".yml")
        raise OptionError(f"--output: expected a file name ending in {expected} for {scheme}, got {str(output)!r}")
    if save is not None and scheme.is_pow2:
        raise OptionError(f"--save: expected int8 or int16x8, got {scheme}, which no .tflite file holds")
    if save is not None and (save.suffix != ".tflite" or save.is_dir()):
        raise OptionError(f"--save: expected a file name ending in .tflite, got {str(save)!r}")
    written = {output: "--output"} | ({} if save is None else {save: "--save"})
    if output.suffix != ".tflite":
        written |= {output.with_name(f"{output.stem}{end}.npz"): "--output" for end in ("", "_float")}
    for one, option in written.items():
        for given in inputs:
            if one.resolve() == given.resolve():
                raise OptionError(f"{option}: {one} would overwrite {given}; choose another name or folder")
    if not force:
        # Arrays belong to the model file that names them.
        others = [
            one
            for one in written
            if one.exists() and is_of_others(output if one.suffix == ".npz" and output.exists() else one)
        ]
        for option in ("--output", "--save"):
            check_replaced(option, [one for one in others if written[one] == option])


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
