# SPDX-License-Identifier: Apache-2.0
"""Cycles of one layer under many variants: each a translation unit of its own in one ELF file, called once."""

from __future__ import annotations

import re
import tempfile
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

import cmsisnn_x
from cmsisnn_x.graph import Graph
from cmsisnn_x.layers import Layer
from cmsisnn_x.operands import operands_of
from cmsisnn_x.steps import Step

from ..emulate.elf import Symbol
from ..emulate.emulator import Emulator
from ..emulate.toolchain import Kind, toolchain_of
from ..target import Target


@dataclass(frozen=True)
class Evaluation:
    """What one call of a layer's function cost.

    `code_bytes` is the size of the function with all that it was made of, constants of its own included;
    `output` is what it wrote for the input that `draw_inputs` gives, `reuse` is `Trace.reuse`.
    """

    step: Step
    instructions: int
    cycles: int
    code_bytes: int
    stack_bytes: int
    output: bytes = field(default=b"", repr=False, compare=False)
    reuse: tuple[int, ...] = field(default=(), repr=False)


def evaluate(
    step: Step, target: Target | str, cflags: Sequence[str] = ("-O3",), *, compiler: Kind | None = None
) -> Evaluation:
    """Compile one step and emulate it; see `evaluate_many`."""
    return evaluate_many([step], target, cflags, compiler=compiler)[0]


def evaluate_many(
    steps: Sequence[Step],
    target: Target | str,
    cflags: Sequence[str] = ("-O3",),
    *,
    compiler: Kind | None = None,
    input_aligned: bool = True,
    output_aligned: bool = True,
) -> list[Evaluation]:
    """Compile several steps into one ELF file and emulate each of them once.

    Parameters
    ----------
    steps : sequence of Step
        Of layers with their weights; the input is drawn, the same for every call with the same first layer.
    target : Target or str
        A target, or the name of a core.
    cflags : sequence of str
        Those that the compiler does not know are left out.
    compiler : {"gcc", "clang"}, optional
        Default: that of the core where it is installed, else the other.
    input_aligned, output_aligned : bool
        Whether the kernels may take the buffer to start at a word boundary.

    Returns
    -------
    list of Evaluation
        In the order of `steps`; the same arguments and the same compiler give the same figures, whatever is beside
        them. In the firmware a layer costs a few cycles more or less: how its function reaches the arrays.

    Raises
    ------
    ToolchainError, EmulationError
        A variant does not compile for the core, or faults.
    """
    core = target if isinstance(target, str) else target.core
    toolchain = toolchain_of(core, compiler)
    with tempfile.TemporaryDirectory(prefix="cmsisnn-x-") as name:
        sources = []
        for index, step in enumerate(steps):
            sources.append(Path(name) / f"candidate{index}.c")
            text = layer_unit(step, f"candidate{index}", input_aligned, output_aligned)
            sources[-1].write_text(text, encoding="utf-8")
        elf = Path(name) / "candidates.elf"
        toolchain.build(sources, elf, core, cflags=cflags, include=[Path(cmsisnn_x.get_include())])
        emulator = Emulator(elf, target)
    sizes = code_sizes(emulator.image.functions)
    found = []
    for index, step in enumerate(steps):
        emulator.reset()
        inputs = [emulator.buffer(values) for values in draw_inputs(step.lead)]
        output = emulator.buffer(step.last.output_bytes)
        trace = emulator.call(f"candidate{index}", [*inputs, output])
        figures = trace.instructions, trace.cycles, sizes[index], trace.stack_bytes
        found.append(Evaluation(step, *figures, emulator.read(output), trace.reuse))
    return found


def code_sizes(functions: Iterable[Symbol]) -> Counter[int]:
    """Bytes of code by candidate. What the compiler kept out of line belongs to it: helpers named after it, and static
    functions of the headers, which lie before the function of their unit that calls them.
    """
    found: Counter[int] = Counter()
    before = 0
    for function in sorted(functions, key=lambda function: function.address):
        own = re.fullmatch(r"candidate(\d+)(_\w+)?(\.\w+)*", function.name)
        if own:
            found[int(own[1])] += function.size + before
            before = 0
        elif function.name.startswith("cxn_"):
            before += function.size
    return found


def layer_unit(step: Step, name: str, input_aligned: bool, output_aligned: bool) -> str:
    """The C of one function `name`, as ``<model>.c`` has it: constants with their values beside the kernel, a
    static scratch buffer, a function that stays whole. How the compiler reaches them decides what it spills.
    """
    from ..emit.arguments import body, parameters
    from ..emit.cgen import WHOLE_FUNCTION, array_declare, macros
    from ..emit.kernel_text import kernel_of
    from ..emit.layer_words import record_type
    from ..emit.weights import activation_table

    layer, prefix = step.lead, name.upper()
    table: dict[str, np.ndarray] = {}
    if layer.row.has_table and not layer.type.is_affine:
        table = {f"{name}_table": activation_table(layer.python_op, layer.dtype)}
    constants = {f"{name}_{kind}": values for kind, values in operands_of(layer, step.variant).items()}
    records = {f"{name}_channels": record_type(layer)} if f"{name}_channels" in constants else {}
    kernel = kernel_of(
        step,
        tuple(constants.values()),
        scratch_bytes=step.scratch_bytes,
        input_aligned=input_aligned,
        output_aligned=output_aligned,
    )
    prefixes = (prefix,) if step.pool is None else (prefix, f"{prefix}_POOL")
    configuration = kernel.macros(*prefixes)
    scratch = step.scratch_bytes
    arena = [f"static unsigned char {name}_arena[{scratch}] CXN_ALIGNED;"] if scratch else []
    graph = Graph.chain(step.layers)
    node, last = graph.nodes[0], graph.nodes[-1]
    given = parameters(graph, node, last)
    lines = body(graph, node, f"{name}_kernel", list(constants), f"{name}_arena" if scratch else "NULL", {})
    return "\n".join(
        [
            *("#include <stddef.h>", "#include <stdint.h>", '#include "cmsisnn_x/config.h"'),
            *("#define CXN_ALIGNED __attribute__((aligned(4)))", WHOLE_FUNCTION),
            macros(configuration),
            *(array_declare(key, values, records.get(key)) for key, values in {**table, **constants}.items()),
            kernel.inclusion(f"{name}_kernel", *prefixes, table=next(iter(table), None)),
            *arena,
            f"CXN_WHOLE void {name}({given});",
            f"void {name}({given}) {{ {' '.join(lines)} }}\n",
        ]
    )


def draw_inputs(layer: Layer) -> tuple[np.ndarray, ...]:
    """The inputs of every evaluation of `layer`, all samples."""
    rng, own = np.random.default_rng(zlib.crc32(layer.name.encode())), layer.type
    apart = (layer.samples,) if layer.samples > 1 else ()
    return tuple(
        rng.integers(own.low, own.high, (*apart, *shape), own.dtype, endpoint=True) for shape in layer.input_shapes
    )
