# SPDX-License-Identifier: Apache-2.0
"""Cycles of layers as plain nested loops in C: what a network costs before anybody optimised it."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np

from cmsisnn_x import Network
from cmsisnn_x.layers import Layer

from ..emulate.emulator import Emulator
from ..emulate.errors import EmulationError
from ..emulate.toolchain import Kind, find_toolchain
from ..target import Target

SOURCES = Path(__file__).parent / "plain"
FUNCTIONS = {
    "conv2d": "plain_convolve",
    "max_pool2d": "plain_max_pool",
    "relu": "plain_relu",
    "fully_connected": "plain_fully_connected",
}
"""Operation -> its function in plain_loops.c."""


@dataclass(frozen=True)
class PlainRun:
    """What one call of a layer's loops cost."""

    name: str
    instructions: int
    cycles: int


def supports(layer: Layer) -> bool:
    """Whether there are plain loops for a layer: q7 throughout, no fused activation."""
    return layer.op in FUNCTIONS and layer.activation is None and {layer.dtype, layer.weights_dtype or "q7"} == {"q7"}


def run_plain_loops(
    layers: Sequence[Layer],
    x: np.ndarray,
    target: Target | str,
    cflags: Sequence[str] = ("-O3",),
    *,
    compiler: Kind | None = None,
) -> list[PlainRun]:
    """Compile plain loops for the layers of a network, run them one after the other, and compare their outputs with
    the Python kernels.

    Parameters
    ----------
    layers : sequence of Layer
        In order, each for which `supports` holds, with weights.
    x : ndarray
        Input of the first layer.
    target : Target or str
        A target, or the name of a core.
    cflags : sequence of str
        Those that the compiler does not know are left out.
    compiler : {"gcc", "clang"}, optional

    Returns
    -------
    list of PlainRun

    Raises
    ------
    ToolchainError, EmulationError
        It does not compile, faults, or gives other values than the Python kernels.
    """
    toolchain = find_toolchain(compiler)
    core = target if isinstance(target, str) else target.core
    with tempfile.TemporaryDirectory(prefix="cmsisnn-x-") as name:
        calls = Path(name) / "calls.c"
        calls.write_text(_calls(layers), encoding="utf-8")
        elf = Path(name) / "plain.elf"
        # Two translation units: the loops must not learn the shapes.
        toolchain.build([SOURCES / "plain_loops.c", calls], elf, core, cflags=cflags, include=[SOURCES])
        emulator = Emulator(elf, target)
    runs = []
    for index, layer in enumerate(layers):
        if layer.weights is not None and layer.bias is not None:
            emulator.write(f"weights{index}", layer.weights)
            emulator.write(f"bias{index}", layer.bias)
        output = emulator.buffer(np.full(layer.output_shape, 77, np.int8))
        trace = emulator.call(f"layer{index}", [emulator.buffer(np.ascontiguousarray(x)), output])
        got = np.frombuffer(emulator.read(output), np.int8).reshape(layer.output_shape)
        x = Network([layer]).run(x)
        if not np.array_equal(got, x):
            raise EmulationError(f"layer {layer.name!r}: the plain loops differ from the Python kernel")
        runs.append(PlainRun(layer.name, trace.instructions, trace.cycles))
    return runs


def _calls(layers: Sequence[Layer]) -> str:
    """A function per layer that gives the loops its shape and its arrays; the values come later."""
    lines = ['#include "plain_loops.h"']
    for index, layer in enumerate(layers):
        head = f"void layer{index}(const int8_t *in, int8_t *out)"
        function = FUNCTIONS[layer.op]
        lines.append(f"{head};")
        if layer.op == "relu":
            lines.append(f"{head} {{ {function}({prod(layer.input_shape)}, in, out); }}")
            continue
        arrays = ""
        if layer.weights is not None and layer.bias is not None:
            for name, array in (("weights", layer.weights), ("bias", layer.bias)):
                lines.append(f"const int8_t {name}{index}[{array.size}] __attribute__((aligned(4))) = {{1}};")
            arrays = f"weights{index}, bias{index}, "
        window = ", ".join(map(str, _window(layer)))
        lines.append(f"static const struct plain_window window{index} = {{{window}}};")
        lines.append(f"{head} {{ {function}(&window{index}, in, {arrays}out); }}")
    return "\n".join(lines) + "\n"


def _window(layer: Layer) -> tuple[int, ...]:
    """The members of `struct plain_window`."""
    image, out = layer.image, layer.output_image
    if layer.op == "fully_connected":
        image, out = (1, 1, prod(layer.input_shape)), (1, 1, prod(layer.output_shape))
    (top, _), (left, _) = layer.padding
    return (*image, *out, *layer.kernel, *layer.stride, top, left, layer.bias_shift, layer.out_shift)
