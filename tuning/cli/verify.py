# SPDX-License-Identifier: Apache-2.0
"""``cmsisnn-verify``: does firmware give the Python kernels' bytes, and what does a function of an ELF file cost?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..base.errors import OptionError, TuningError
from ..base.options import Compiler, Package
from .program import Command, run, show_version

if TYPE_CHECKING:
    import numpy as np

    from ..emulate import Emulator, Trace
    from ..measure.folder import Firmware, Verification
    from ..target import Target

PROGRAM = "cmsisnn-verify"
HOTTEST = 10  # blocks that --blocks prints
DEFAULT_SAMPLES = 2

app = typer.Typer(
    add_completion=True, pretty_exceptions_enable=False, context_settings={"help_option_names": ["--help", "-h"]}
)


def main() -> None:
    """Entry point of ``cmsisnn-verify``."""
    run(app, PROGRAM)


@app.command(
    cls=Command,
    no_args_is_help=True,
    epilog="Exit status: 0 done and exact, 1 the firmware, or the package of --against, differs from the Python "
    "kernels, 2 bad usage or bad input.",
)
def verify_command(
    directory: Annotated[
        Path | None, typer.Argument(metavar="DIR", help="Folder that cmsisnn-tune wrote.", show_default=False)
    ] = None,
    elf: Annotated[Path | None, typer.Option(metavar="FILE", help="Any Cortex-M ELF file.", show_default=False)] = None,
    call: Annotated[
        str | None, typer.Option(metavar="SYMBOL", help="Function of the ELF file to call.", show_default=False)
    ] = None,
    arg: Annotated[
        list[str] | None,
        typer.Option(
            metavar="INT|SYMBOL", help="Argument of the call, in order; a symbol is its address.", show_default=False
        ),
    ] = None,
    fill: Annotated[
        list[str] | None,
        typer.Option(metavar="SYMBOL=FILE", help="Put a file's bytes at a symbol before the call.", show_default=False),
    ] = None,
    target: Annotated[
        str | None, typer.Option(metavar="NAME|FILE", help="Core or board whose rules price it. Default: the plan's.")
    ] = None,
    blocks: Annotated[
        bool, typer.Option("--blocks", help="List the hottest basic blocks with their instructions.")
    ] = False,
    compiler: Annotated[
        Compiler | None,
        typer.Option(help="Default: the plan's where it is installed, else the other.", show_default=False),
    ] = None,
    samples: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="N", help="Random inputs to compare. Default: 2, with --against 5.", show_default=False
        ),
    ] = None,
    input_file: Annotated[
        Path | None,
        typer.Option(
            "--input", metavar="FILE.npy", help="Inputs instead of random ones: one, or a batch.", show_default=False
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help="Take the weights from the model, not from DIR; with --against, the file that DIR was made from.",
            show_default=False,
        ),
    ] = None,
    against: Annotated[
        Package | None,
        typer.Option(
            help="Instead of the firmware, hold the .tflite file that DIR came from against TensorFlow Lite Micro or "
            "LiteRT, tensor by tensor; or the quantised .onnx file, named by --model, against ONNX Runtime.",
            show_default=False,
        ),
    ] = None,
    budget: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Instructions after which a call counts as hung.", show_default=False),
    ] = None,
    warm: Annotated[
        bool,
        typer.Option("--warm", help="Price the second of two calls: a board's caches hold what the first one left."),
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the result as JSON, and nothing else, on stdout.")
    ] = False,
    no_color: Annotated[bool, typer.Option("--no-color", help="No colour, whatever the terminal can do.")] = False,
    version: Annotated[
        bool,
        typer.Option("--version", callback=show_version(PROGRAM), is_eager=True, help="Print the version, and exit."),
    ] = False,
) -> None:
    """Compile and emulate an emitted folder and compare it with the Python kernels, or price a function of an ELF file.

    cmsisnn-verify DIR
    cmsisnn-verify DIR --against litert|tflm
    cmsisnn-verify DIR --against onnxruntime --model MODEL.onnx
    cmsisnn-verify --elf FILE --call SYMBOL [--arg INT|SYMBOL ...] [--fill SYMBOL=FILE ...] --target T
    """
    if (directory is None) == (elf is None):
        raise OptionError("expected either a folder or --elf FILE, got " + ("both" if elf else "neither"))
    if elf is not None:
        _only({"--compiler": compiler, "--input": input_file, "--model": model, "--against": against}, "a folder")
        if call is None:
            raise OptionError("--elf: expected --call SYMBOL, the function to run, with it")
        if target is None:
            raise OptionError("--elf: expected --target, the core or board whose rules price it, with it")
        _price(elf, call, arg or [], fill or [], _load_target(target), budget, blocks, warm, as_json, no_color)
        return
    assert directory is not None
    _only({"--call": call, "--arg": arg, "--fill": fill, "--warm": warm}, "--elf FILE")
    if against is not None:
        from .against import print_comparison

        firmware = {"--target": target, "--compiler": compiler, "--input": input_file, "--budget": budget}
        _only({**firmware, "--blocks": blocks}, "a run of the firmware")
        raise SystemExit(print_comparison(directory, against, model, samples, as_json=as_json, no_color=no_color))
    samples = samples or DEFAULT_SAMPLES
    _verify(directory, target, compiler, samples, input_file, model, budget, blocks, as_json, no_color)


def _only(options: dict[str, object], other: str) -> None:
    for name, value in options.items():
        if value:
            raise OptionError(f"{name}: goes with {other} only")


def _load_target(name: str) -> Target:
    from ..target import load_target

    return load_target(name)


# -- one function of an ELF file -------------------------------------------------------------------------------------


def _price(
    elf: Path,
    symbol: str,
    args: list[str],
    fills: list[str],
    target: Target,
    budget: int | None,
    blocks: bool,
    warm: bool,
    as_json: bool,
    no_color: bool,
) -> None:
    from ..base.files import read_bytes
    from ..emulate import DEFAULT_BUDGET, Emulator

    filled = []
    for fill in fills:
        where, separator, file = fill.rpartition("=")
        if not separator or not where or not file:
            raise OptionError(f"--fill: expected SYMBOL=FILE, got {fill!r}")
        filled.append((where, read_bytes(file)))
    # Once for the price, and once for the faults of the core: checking moves the price by a few cycles.
    for emulator in (Emulator(elf, target, faults=True, memory=False), Emulator(elf, target)):
        for again in (False, True) if warm else (False,):
            for where, content in filled:
                emulator.write(_place(emulator, where, "--fill"), content)
            words = [_place(emulator, text, "--arg") for text in args]
            trace = emulator.call(symbol, words, budget=budget or DEFAULT_BUDGET, warm=again)
    if as_json:
        result = trace.as_dict()
        if blocks:
            for block in result["blocks"]:
                block["code"] = [item.text for item in emulator.disassemble(block["address"], block["size"])]
        print(json.dumps(result))
        return
    _print_trace(emulator, trace, target, blocks, no_color)


def _place(emulator: Emulator, text: str, option: str) -> int | str:
    """A number, a symbol, or a symbol and an offset (``buffer+16``)."""
    try:
        value = int(text, 0)
    except ValueError:
        name, plus, offset = text.rpartition("+")
        if text in emulator.image.symbols or not plus:
            emulator.symbol(text)
            return text
        try:
            return emulator.address(name) + int(offset, 0)
        except ValueError as problem:
            raise (
                problem
                if isinstance(problem, TuningError)
                else OptionError(f"{option}: expected an integer or a symbol, got {text!r}")
            ) from None
    if not -(2**31) <= value < 2**32:
        raise OptionError(f"{option}: expected a 32-bit integer, got {text}")
    return value


def _print_trace(emulator: Emulator, trace: Trace, target: Target, blocks: bool, no_color: bool) -> None:
    from ..base.console import console, make_table

    out = console(no_color)
    out.print(f"{trace.symbol} on {trace.target}: {trace.instructions:,} instructions, {trace.cycles:,} cycles")
    out.print(f"r0 = {trace.result:#x}, stack {trace.stack_bytes:,} bytes")
    out.print(", ".join(f"{name} {count:,}" for name, count in trace.counts.items()))
    if not target.is_core:
        _print_board(out, trace, target)
    table = make_table("function", "instructions", "cycles", "share", right=("instructions", "cycles", "share"))
    for item in trace.symbols:
        table.add_row(
            item.symbol, f"{item.instructions:,}", f"{item.cycles:,}", f"{item.cycles / max(trace.cycles, 1):.1%}"
        )
    out.print(table)
    if blocks:
        _print_blocks(out, emulator, trace)


def _print_board(out: Any, trace: Trace, target: Target) -> None:
    """What the board adds to the price of its core."""
    if not trace.added:
        out.print(f"{target.core} alone: {trace.core_cycles:,} cycles; {target.name} adds nothing.")
        return
    causes = ", ".join(f"{cause} {cycles:+,}" for cause, cycles in trace.added.items())
    out.print(f"{target.core} alone: {trace.core_cycles:,} cycles; {target.name} adds {causes}.")
    for region in trace.regions:
        out.print(f"{region.name}: {region.reads:,} loads, {region.writes:,} stores, {region.misses:,} waits")


def _print_blocks(out: Any, emulator: Emulator, trace: Trace) -> None:
    hottest = sorted(trace.blocks, key=lambda block: (-block.cycles, block.address))[:HOTTEST]
    for block in hottest:
        out.print(
            f"{emulator.image.place(block.address)}: {block.count:,} times, {block.instructions:,} instructions, "
            f"{block.cycles:,} cycles ({block.cycles / max(trace.cycles, 1):.1%})"
        )
        if block.added:
            out.print("    of them " + ", ".join(f"{cause} {cycles:+,}" for cause, cycles in block.added.items()))
        for item in emulator.disassemble(block.address, block.size):
            out.print(f"    {item.address:8x}  {item.text}")


# -- a folder --------------------------------------------------------------------------------------------------------


def _verify(
    directory: Path,
    target: str | None,
    compiler: Compiler | None,
    samples: int,
    input_file: Path | None,
    model: str | None,
    budget: int | None,
    blocks: bool,
    as_json: bool,
    no_color: bool,
) -> None:
    from ..emulate import DEFAULT_BUDGET, prefer_toolchain
    from ..measure import folder

    if blocks:
        raise OptionError("--blocks: goes with --elf FILE only")
    firmware = folder.load(directory, model=model)
    inputs = folder.draw_inputs(firmware, samples) if input_file is None else _read_inputs(input_file, firmware)
    toolchain = prefer_toolchain(firmware.compiler, None if compiler is None else compiler.value)
    chosen = _load_target(target) if target else _target_of(firmware)
    _refuse_without_vectors(firmware, chosen)
    result = folder.verify(firmware, toolchain, inputs, target=chosen, budget=budget or DEFAULT_BUDGET)
    if as_json:
        print(json.dumps(result.as_dict()))
    else:
        _print_verification(result, no_color)
    if not result.exact:
        raise SystemExit(1)


def _beside_plan(found: int, planned: int | None) -> str:
    """Bytes, and what the plan said of them."""
    if planned is None:
        return f"{found:,} bytes"
    if found == planned:
        return f"{found:,} bytes, as planned"
    return f"{found:,} bytes, {'MORE than' if found > planned else 'at most'} the plan's {planned:,}"


def _memory_note(trace: Trace) -> str:
    if not trace.added:
        return " Memory without wait states."
    causes = ", ".join(f"{cause} {cycles:+,}" for cause, cycles in trace.added.items())
    return f" The board adds to {trace.core_cycles:,} cycles of its core: {causes}."


def _target_of(firmware: Firmware) -> Target | str:
    """The plan's own target where it is a shipped one, else its core: a board file may have stayed elsewhere, and a
    folder names no file to read.
    """
    from ..target import list_targets

    if firmware.target not in list_targets():
        return firmware.core
    found = _load_target(firmware.target)
    return found if found.core == firmware.core else firmware.core


def _refuse_without_vectors(firmware: Firmware, target: Target | str) -> None:
    """Everything but kernels in vectors compiles for every core."""
    from ..target.cores import CORES

    core = target if isinstance(target, str) else target.core
    if not firmware.vectors or CORES[core].helium:
        return
    able = ", ".join(name for name, each in CORES.items() if each.helium)
    raise OptionError(
        f"--target: the plan is for {firmware.core}, with {len(firmware.vectors)} of {len(firmware.layers)} layers in "
        f"vectors ({firmware.vectors[0]} ..): expected {able} or a board with one of them, got {core}; "
        f"run cmsisnn-tune for {core}"
    )


def _read_inputs(path: Path, firmware: Firmware) -> list[tuple[np.ndarray, ...]]:
    """Samples of a .npy file; of an .npz with ``input_0``, ``input_1``, .. where the network has several inputs."""
    import numpy as np

    from ..base.damaged import DAMAGED
    from ..base.files import is_pipe

    if is_pipe(path):
        raise OptionError(f"--input: {path}: expected a .npy file, got a pipe")
    tensors = [firmware.graph.tensors[name] for name in firmware.graph.inputs]
    try:
        found = np.load(path, allow_pickle=False)
        several = hasattr(found, "files")
        names = [f"input_{at}" for at in range(len(tensors))]
        if several and len(tensors) > 1 and (missing := set(names) - set(found.files)):
            got = ", ".join(map(repr, found.files)) or "none"
            raise OptionError(f"--input: {path}: expected arrays {', '.join(names)}, no {min(missing)} among {got}")
        values = [found[name] for name in names] if several and len(tensors) > 1 else [found]
    except FileNotFoundError:
        raise OptionError(f"--input: {path}: no such file") from None
    except DAMAGED as problem:
        raise OptionError(f"--input: {path}: not a .npy file: {problem}") from None
    if len(values) != len(tensors) or any(not isinstance(one, np.ndarray) for one in values):
        raise OptionError(f"--input: {path}: expected {len(tensors)} arrays, {'.npz' if len(tensors) > 1 else '.npy'}")
    batches = []
    for one, tensor in zip(values, tensors, strict=True):
        own, shape = tensor.type.dtype, tensor.shape
        # The file's leading 1 may be missing, as `Network.run` has it.
        sample = shape[1:] if shape[:1] == (1,) and len(shape) > 1 else shape
        if one.dtype != own or one.shape[one.ndim - len(sample) :] != sample:
            expected = f"{own} of shape {shape} or (n, {', '.join(map(str, sample))})"
            raise OptionError(f"--input: {path}: expected {expected}, got {one.dtype} of shape {one.shape}")
        batches.append(one.reshape(-1, *shape))
    if len({len(batch) for batch in batches}) > 1:
        raise OptionError(f"--input: {path}: expected as many samples of every input, got {[len(b) for b in batches]}")
    return list(zip(*batches, strict=True))


def _print_verification(result: Verification, no_color: bool) -> None:
    from ..base.console import console, make_table

    out = console(no_color)
    firmware = result.firmware
    flags = " ".join(firmware.cflags)
    out.print(f"{firmware.model} for {firmware.core}, priced for {result.target}, {result.compiler}, {flags}")
    numbers = ("instructions", "cycles", "MAC/cycle", "plan")
    table = make_table("layer", "op", *numbers, "bytes", right=numbers, spare=["op", "instructions"])
    for layer in result.layers:
        rate = f"{layer.macs / layer.cycles:.3f}" if layer.macs else "-"
        plan = f"{layer.estimated_cycles:,}" if layer.estimated_cycles is not None else "-"
        verdict = "equal" if layer.exact else "differ"
        table.add_row(layer.name, layer.op, f"{layer.instructions:,}", f"{layer.cycles:,}", rate, plan, verdict)
    table.add_section()
    trace = result.trace
    macs = sum(layer.macs for layer in result.layers)
    planned = sum(layer.estimated_cycles or 0 for layer in result.layers)
    verdict = "equal" if result.exact else "differ"
    rate = f"{macs / trace.cycles:.3f}"
    table.add_row(
        "network", "", f"{trace.instructions:,}", f"{trace.cycles:,}", rate, f"{planned:,}", verdict, style="bold"
    )
    out.print(table)
    time = f"{result.milliseconds:.3f} ms at {result.clock_hz / 1e6:g} MHz. " if result.clock_hz else ""
    stack = _beside_plan(trace.stack_bytes, firmware.planned.get("stack_bytes"))
    out.print(f"{time}Stack {stack}.{_memory_note(trace)}")
    if (taken := result.footprint) is not None:
        flash = _beside_plan(taken.linked_bytes, firmware.planned.get("flash_bytes"))
        apart = taken.object_bytes - taken.linked_bytes
        unused = f"; {apart:,} more in the object, which linking with --gc-sections drops" if apart else ""
        out.print(f"Flash {flash}: code and weights that {firmware.model}_run needs{unused}.")
    if result.exact:
        samples = f"{result.samples} input{'s' if result.samples != 1 else ''}"
        out.print(f"Every layer and the network give the Python kernels' bytes on {samples}.")
    else:
        for mismatch in result.mismatches[:3]:
            out.print(f"DIFFERENT: {mismatch}")
