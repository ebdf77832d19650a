# SPDX-License-Identifier: Apache-2.0
"""Cycles of one layer under many variants: all in one ELF file, each called once."""

from __future__ import annotations

import re
import tempfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from cmsisnn_x._variants import Variant
from cmsisnn_x.layers import NUMPY_DTYPES, Layer

from ..target import Target
from .emulator import Emulator
from .toolchain import Kind, Toolchain, find_toolchain

C_NAMES = {np.dtype(np.int8): "int8_t", np.dtype(np.int16): "int16_t"}


@dataclass(frozen=True)
class Evaluation:
    """What one call of a layer's function cost.

    `code_bytes` is the size of the function with everything that was inlined into it, constants of its own included;
    `output` is what it wrote for the input that `draw_input` gives.
    """

    variant: Variant | None
    instructions: int
    cycles: int
    code_bytes: int
    stack_bytes: int
    output: bytes = field(default=b"", repr=False, compare=False)


def evaluate(
    layer: Layer,
    variant: Variant | None,
    target: Target | str,
    cflags: Sequence[str] = ("-O3",),
    *,
    compiler: Kind | None = None,
) -> Evaluation:
    """Compile one layer under one variant and emulate it; see `evaluate_many`."""
    return evaluate_many(layer, [variant], target, cflags, compiler=compiler)[0]


def evaluate_many(
    layer: Layer,
    variants: Sequence[Variant | None],
    target: Target | str,
    cflags: Sequence[str] = ("-O3",),
    *,
    compiler: Kind | None = None,
    input_aligned: bool = True,
    output_aligned: bool = True,
) -> list[Evaluation]:
    """Compile one layer under several variants into one ELF file and emulate each of them once.

    Parameters
    ----------
    layer : Layer
        With its weights; the input is drawn, the same for every call with the same layer.
    variants : sequence of Variant or None
        None for operations without knobs. One with `fused_pool` runs the layer's `pool` too.
    target : Target or str
        A target, or the name of a core.
    cflags : sequence of str
        Those that the compiler does not know are left out.
    compiler : {"gcc", "clang"}, optional
        Default: what `find_toolchain` finds.
    input_aligned, output_aligned : bool
        Whether the kernel may take the buffer to start at a word boundary; `output_aligned` is about the last layer's.

    Returns
    -------
    list of Evaluation
        In the order of `variants`; the same arguments and the same compiler give the same figures. In the firmware a
        layer may cost a little more or less, as arrays lie elsewhere: mostly by less than one percent.

    Raises
    ------
    ToolchainError, EmulationError
        A variant does not compile for the core, or faults.
    """
    toolchain = find_toolchain(compiler)
    core = target if isinstance(target, str) else target.core
    with tempfile.TemporaryDirectory(prefix="cmsisnn-x-") as name:
        elf = _build(Path(name), toolchain, core, layer, variants, cflags, input_aligned, output_aligned)
        emulator = Emulator(elf, target)
    source = draw_input(layer)
    found = []
    for index, variant in enumerate(variants):
        emulator.reset()
        if layer.weights is not None:
            emulator.write(f"candidate{index}_weights", _weights(layer, variant))
            emulator.write("bias", _bias(layer))
        input_ = emulator.buffer(source)
        last = _pool(layer, variant) or layer
        output = emulator.buffer(last.output_bytes)
        trace = emulator.call(f"candidate{index}", [input_, output])
        # What the compiler kept out of line belongs to it: its helpers are called after it.
        own = re.compile(rf"candidate{index}(_\w+)?(\.\w+)*")
        size = sum(function.size for function in emulator.image.functions if own.fullmatch(function.name))
        written = emulator.read(output)
        found.append(Evaluation(variant, trace.instructions, trace.cycles, size, trace.stack_bytes, written))
    return found


def _build(
    folder: Path,
    toolchain: Toolchain,
    core: str,
    layer: Layer,
    variants: Sequence[Variant | None],
    cflags: Sequence[str],
    input_aligned: bool,
    output_aligned: bool,
) -> Path:
    import cmsisnn_x

    from ..emit.macros import layer_macros
    from ..emit.weights import activation_table

    element = C_NAMES[layer.numpy_dtype]
    code = ["#include <stddef.h>", "#include <stdint.h>", '#include "cmsisnn_x/config.h"']
    data = ["#include <stdint.h>"]
    scratch_bytes = 4
    if layer.python_op in ("sigmoid", "tanh"):
        values = activation_table(layer.python_op, layer.dtype)
        table = ", ".join(map(str, values.tolist()))
        code.append(f"static const {C_NAMES[values.dtype]} table[{values.size}] = {{{table}}};")
    if layer.weights is not None:
        bias = _bias(layer)
        data.append(f"const {C_NAMES[bias.dtype]} bias[{bias.size}] __attribute__((aligned(4))) = {{1}};")
        code.append(f"extern const {C_NAMES[bias.dtype]} bias[{bias.size}] __attribute__((aligned(4)));")
    for index, variant in enumerate(variants):
        prefix, operands = f"CANDIDATE{index}", ""
        pool = _pool(layer, variant)
        # What a fused pooling reads lies in the scratch buffer.
        own_output = output_aligned or pool is not None
        macros = layer_macros(layer, variant, prefix, input_aligned=input_aligned, output_aligned=own_output)
        if pool is not None:
            macros |= layer_macros(pool, None, f"{prefix}_POOL", output_aligned=output_aligned)
        needed = int(macros[f"{prefix}_SCRATCH_BYTES"])
        scratch_bytes = max(scratch_bytes, needed)
        if layer.weights is not None:
            # In a file of their own: the compiler must see no values, as it would fold those of small layers.
            packed = _weights(layer, variant)
            array = f"{C_NAMES[packed.dtype]} candidate{index}_weights[{packed.size}] __attribute__((aligned(4)))"
            data.append(f"const {array} = {{1}};")
            code.append(f"extern const {array};")
            operands = f"candidate{index}_weights, bias, "
        code += [f"#define {name} {value}" for name, value in macros.items()]
        code += ["#define CXN_TABLE table"] if layer.python_op in ("sigmoid", "tanh") else []
        if pool is None:
            code += [f"#define CXN_LAYER {prefix}", f"#define CXN_KERNEL candidate{index}_kernel"]
            code += [f'#include "cmsisnn_x/{layer.python_op}.h"', "#undef CXN_TABLE"]
        else:
            code += [f"#define CXN_CONVOLVE_LAYER {prefix}", f"#define CXN_POOL_LAYER {prefix}_POOL"]
            code += [f"#define CXN_PAIR candidate{index}_kernel"]
            code += [f'#include "cmsisnn_x/{layer.python_op}_{pool.python_op}.h"']
        code += [
            f"void candidate{index}(const {element} *input, {element} *output);",
            f"void candidate{index}(const {element} *input, {element} *output)",
            f"{{ candidate{index}_kernel(input, {operands}output, {'scratch' if needed else 'NULL'}); }}",
        ]
    code.insert(3, f"static unsigned char scratch[{scratch_bytes}] __attribute__((aligned(4), unused));")
    sources = folder / "candidates.c", folder / "weights.c"
    for path, lines in zip(sources, (code, data), strict=True):
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    elf = folder / "candidates.elf"
    toolchain.build(sources, elf, core, cflags=cflags, include=[Path(cmsisnn_x.get_include())])
    return elf


def _pool(layer: Layer, variant: Variant | None) -> Layer | None:
    """The pooling layer that the variant's kernel runs too."""
    return layer.pool if variant is not None and variant.fused_pool else None


def _weights(layer: Layer, variant: Variant | None) -> np.ndarray:
    from ..emit.weights import packed_weights

    return packed_weights(layer, variant)


def _bias(layer: Layer) -> np.ndarray:
    from ..emit.weights import bias

    return bias(layer)


def draw_input(layer: Layer) -> np.ndarray:
    """The input of every evaluation of `layer`."""
    rng = np.random.default_rng(zlib.crc32(layer.name.encode()))
    limits = np.iinfo(NUMPY_DTYPES[layer.dtype])
    return rng.integers(limits.min, limits.max, layer.input_shape, limits.dtype, endpoint=True)
