# SPDX-License-Identifier: Apache-2.0
"""The firmware folder as text: everything that the templates say about a plan is computed here."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import cmsisnn_x
from cmsisnn_x.layers import NUMPY_DTYPES
from cmsisnn_x.steps import Step
from tuning.plan import LayerPlan, Plan

from .cgen import C_TYPES, WHOLE_FUNCTION, array_declare, comment_text, macros, plain_text
from .check import EmitError, check_plan, is_in_place
from .kernel_text import Kernel, kernel_of
from .names import Names, layer_function, run_function, step_functions
from .weights import activation_table, bias, packed_weights

if TYPE_CHECKING:
    import jinja2

TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True, eq=False)
class Array:
    """A constant of ``<model>_weights.h``."""

    name: str
    comment: str
    values: np.ndarray


@dataclass(frozen=True)
class Inclusion:
    """A kernel under its name, as C."""

    name: str
    header: str
    text: str


@dataclass(frozen=True)
class Check:
    """A static assertion; the name is what the compiler prints."""

    condition: str
    name: str


@dataclass(frozen=True)
class Call:
    """What ``<model>_run`` calls: a layer, or two of them in one function. `index` counts layers."""

    index: int
    function: str
    kernel: str
    operands: tuple[str, ...]
    input: str
    output: str
    scratch: str
    about: str = ""


@dataclass(frozen=True)
class LayerText:
    """A layer as the templates spell it."""

    index: int
    name: str
    summary: str
    function: str
    kernel: str
    macros: dict[str, int | str]
    operands: tuple[str, ...]
    input: str
    output: str
    scratch: str
    can_be_in_place: bool


@dataclass(frozen=True, eq=False)
class Project:
    """A plan as the templates see it."""

    plan: Plan
    name: str
    prefix: str
    version: str
    target: str
    core: str
    digests: tuple[tuple[str, str], ...]
    element: str
    run: str
    arena: str
    arena_bytes: int
    input_shape: str
    input_order: str
    output_shape: str
    cflags: tuple[str, ...]
    identity: str
    macros: dict[str, int | str]
    layers: tuple[LayerText, ...]
    calls: tuple[Call, ...]
    pairs: tuple[Call, ...]
    kernels: tuple[Inclusion, ...]
    arrays: tuple[Array, ...]
    checks: tuple[Check, ...]

    @property
    def has_in_place(self) -> bool:
        return any(layer.can_be_in_place for layer in self.layers)


def project(plan: Plan) -> Project:
    """Everything the templates need. Raises `EmitError` for a plan that cannot become C."""
    check_plan(plan)
    name, prefix = plan.model, plan.model.upper()
    functions = [layer_function(name, item.layer.name) for item in plan.layers]
    # External names are taken before any other.
    names = Names([run_function(name), *functions, *step_functions(name, plan.steps).values()])
    arena = names.new(f"{name}_arena")
    arrays: list[Array] = []
    kernels: dict[Kernel, Inclusion] = {}
    tables: dict[str, str] = {}
    layers = []
    constants: list[tuple[np.ndarray, ...]] = [
        () if item.layer.weights is None else (packed_weights(item.layer, item.variant), bias(item.layer))
        for item in plan.layers
    ]
    for index, (node, item) in enumerate(zip(plan.graph.nodes, plan.layers, strict=True)):
        layer = item.layer
        layer_prefix = f"{prefix}_{layer.name.upper()}"
        kernel = kernel_of(
            Step((layer,), item.variant),
            constants[index],
            scratch_bytes=item.scratch_bytes,
            input_aligned=not plan.graph.reads_input(node),
            output_aligned=not plan.graph.writes_output(node),
        )
        if layer.row.has_table and layer.op not in tables:
            tables[layer.op] = names.new(f"{name}_{layer.op}_table")
            values = activation_table(layer.op, layer.dtype)
            arrays.append(Array(tables[layer.op], f"{layer.op} of t / 16 for the byte t = 0..127, -128..-1", values))
        if kernel not in kernels:
            called = names.new(f"{functions[index]}_kernel")
            own = kernel.inclusion(called, layer_prefix, table=tables.get(layer.op))
            kernels[kernel] = Inclusion(called, kernel.header, own)
        operands: tuple[str, ...] = ()
        extra = _offsets(item, layer_prefix)
        if layer.weights is not None:
            packed, layer_bias = constants[index]
            operands = (names.new(f"{functions[index]}_weights"), names.new(f"{functions[index]}_bias"))
            layout = item.variant.weight_layout if item.variant else "plain"
            shape = " x ".join(map(str, layer.weights.shape))
            arrays.append(Array(operands[0], f"{layer.name}: {shape}, {layout}", packed))
            arrays.append(Array(operands[1], f"{layer.name}: bias", layer_bias))
            extra[f"{layer_prefix}_WEIGHTS_BYTES"] = packed.nbytes
        layers.append(
            LayerText(
                index=index,
                name=layer.name,
                summary=_summary(item),
                function=functions[index],
                kernel=kernels[kernel].name,
                macros={**kernel.macros(layer_prefix), **extra},
                operands=operands,
                input="input" if item.input_offset is None else f"CXN_TENSOR({layer_prefix}_INPUT_OFFSET)",
                output="output" if item.output_offset is None else f"CXN_TENSOR({layer_prefix}_OUTPUT_OFFSET)",
                scratch=f"CXN_SCRATCH({layer_prefix}_SCRATCH_OFFSET)" if item.scratch_bytes else "NULL",
                can_be_in_place=layer.is_in_place,
            )
        )
    pairs = _pairs(plan, layers, constants, kernels, names)
    calls, at = [], 0
    for step in plan.steps:
        text = layers[at]
        own_call = (text.function, text.kernel, text.operands, text.input, text.output, text.scratch)
        calls.append(pairs[at] if at in pairs else Call(at, *own_call))
        at += len(step.layers)
    input_shape, output_shape = plan.layers[0].layer.input_shape, plan.layers[-1].layer.output_shape
    network = {
        f"{prefix}_LAYER_COUNT": len(layers),
        f"{prefix}_INPUT_SIZE": prod(input_shape),
        f"{prefix}_OUTPUT_SIZE": prod(output_shape),
        f"{prefix}_ARENA_BYTES": plan.arena_bytes,
    }
    _check_prefixes(plan, network, layers)
    identity = _identity(layers, arrays)
    return Project(
        plan=plan,
        name=name,
        prefix=prefix,
        version=cmsisnn_x.__version__,
        target=plain_text(plan.target.name),
        core=plan.target.core,
        digests=tuple((comment_text(k), comment_text(v)) for k, v in sorted(plan.digests.items())),
        element=C_TYPES[NUMPY_DTYPES[plan.dtype]],
        run=run_function(name),
        arena=arena,
        arena_bytes=plan.arena_bytes,
        input_shape=shape_text(input_shape),
        input_order="height, width, channels" if len(input_shape) == 3 else "in order",
        output_shape=shape_text(output_shape),
        cflags=plan.cflags,
        identity=identity,
        macros={f"{prefix}_CONFIG_ID": identity, **network},
        layers=tuple(layers),
        calls=tuple(calls),
        pairs=tuple(pairs.values()),
        kernels=tuple(kernels.values()),
        arrays=tuple(arrays),
        checks=tuple(_checks(plan, layers)),
    )


def _pairs(
    plan: Plan,
    layers: list[LayerText],
    constants: Sequence[Sequence[np.ndarray]],
    kernels: dict[Kernel, Inclusion],
    names: Names,
) -> dict[int, Call]:
    """The functions that run a convolution and its pooling as one, by the convolution's index; their kernels are added
    to `kernels`.
    """
    found, after, functions = {}, 0, step_functions(plan.model, plan.steps)
    for step in plan.steps:
        at, after = after, after + len(step.layers)
        if step.pool is None:
            continue
        conv, pool, function = layers[at], layers[at + 1], functions[step.name]
        kernel = kernel_of(
            step,
            constants[at],
            scratch_bytes=plan.layers[at].scratch_bytes,
            input_aligned=not plan.graph.reads_input(plan.graph.nodes[at]),
            output_aligned=not plan.graph.writes_output(plan.graph.nodes[after - 1]),
        )
        if kernel not in kernels:
            name = names.new(f"{function}_kernel")
            prefixes = (f"{plan.model}_{text.name}".upper() for text in (conv, pool))
            kernels[kernel] = Inclusion(name, kernel.header, kernel.inclusion(name, *prefixes))
        found[at] = Call(
            at, function, kernels[kernel].name, conv.operands, conv.input, pool.output, conv.scratch,
            f"{conv.name} and {pool.name}",
        )  # fmt: skip
    return found


def _check_prefixes(plan: Plan, network: dict[str, int], layers: Iterable[LayerText]) -> None:
    """Kernels paste a layer's prefix and a parameter together, which fails if the prefix alone is a macro."""
    taken = {*network, *(name for layer in layers for name in layer.macros)}
    for item in plan.layers:
        prefix = f"{plan.model}_{item.layer.name}".upper()
        if prefix in taken or prefix == f"{plan.model.upper()}_CONFIG_ID":
            raise EmitError(f"layer name: {item.layer.name!r} would make {prefix}, a macro already; choose another")


def _identity(layers: Iterable[LayerText], arrays: Iterable[Array]) -> str:
    """A number for what is emitted, by which the files of one run know each other."""
    value = 0
    for layer in layers:
        value = zlib.crc32(repr(layer).encode(), value)
    for array in arrays:
        value = zlib.crc32(array.values.astype(array.values.dtype.newbyteorder("<")).tobytes(), value)
    return f"0x{value:08x}"


def shape_text(shape: tuple[int, ...]) -> str:
    """A shape as C writes it.

    Examples
    --------
    >>> shape_text((32, 32, 3))
    '[32][32][3]'
    """
    return "".join(f"[{size}]" for size in shape)


def _offsets(item: LayerPlan, prefix: str) -> dict[str, int | str]:
    offsets = {"INPUT": item.input_offset, "OUTPUT": item.output_offset}
    if item.scratch_bytes:
        offsets["SCRATCH"] = item.scratch_offset
    return {f"{prefix}_{side}_OFFSET": offset for side, offset in offsets.items() if offset is not None}


def _summary(item: LayerPlan) -> str:
    layer = item.layer
    text = f"{layer.op} {shape_text(layer.input_shape)} -> {shape_text(layer.output_shape)}"
    if layer.activation:
        text += f", {layer.activation}"
    if item.fused_into is not None:
        return comment_text(f"{text}; inside {item.fused_into}")
    both = " with the pooling behind it" if item.takes_in_next else ""
    return comment_text(f"{text}; {item.cycles} cycles estimated{both}")


def _checks(plan: Plan, layers: list[LayerText]) -> Iterable[Check]:
    """What must hold between the macros of the configuration and the arrays, for whoever edits one by hand."""
    for node, item, text in zip(plan.graph.nodes, plan.layers, layers, strict=True):
        p, name = f"{plan.model.upper()}_{item.layer.name.upper()}", item.layer.name
        offsets = {"INPUT": item.input_offset, "OUTPUT": item.output_offset, "SCRATCH": item.scratch_offset}
        if not item.scratch_bytes:
            del offsets["SCRATCH"]
        sides = [side for side, offset in offsets.items() if offset is not None]
        for side in sides:
            yield Check(f"CXN_INSIDE({p}, {side})", f"{name}_{side.lower()}_lies_in_the_arena")
        for a, b in combinations(sides, 2):
            if is_in_place(item) and (a, b) == ("INPUT", "OUTPUT"):
                yield Check(f"{p}_INPUT_OFFSET == {p}_OUTPUT_OFFSET", f"{name}_works_in_place")
            else:
                yield Check(f"CXN_APART({p}, {a}, {b})", f"{name}_{a.lower()}_and_{b.lower()}_are_apart")
        for producer in filter(None, map(plan.graph.producer, node.inputs)):
            before = f"{plan.model.upper()}_{producer.name.upper()}"
            sizes = f"CXN_SIZE_OUTPUT({before}) == CXN_SIZE_INPUT({p})"
            yield Check(sizes, f"{name}_input_has_the_size_of_the_output_before")
            if item.fused_into is None:
                reads = f"{name}_reads_where_the_layer_before_writes"
                yield Check(f"{before}_OUTPUT_OFFSET == {p}_INPUT_OFFSET", reads)
            elif item.output_offset is not None:
                conv = plan.layers[plan.graph.index(producer)]
                for side, offset in (("INPUT", conv.input_offset), ("SCRATCH", conv.scratch_offset)):
                    if offset is not None:
                        what = f"{conv.layer.name}_{side.lower()}_and_{name}_output_are_apart"
                        yield Check(f"CXN_APART_OF({before}, {side}, {p}, OUTPUT)", what)
        if text.operands:
            weights, layer_bias = text.operands
            yield Check(f"sizeof({weights}) == {p}_WEIGHTS_BYTES", f"{name}_weights_match_the_configuration")
            bytes_of_bias = f"{p}_OUT_CH * {p}_WEIGHT_BITS / 8"
            yield Check(f"sizeof({layer_bias}) == {bytes_of_bias}", f"{name}_bias_matches_the_configuration")


# ---------------------------------------------------------------- text


@cache
def environment() -> jinja2.Environment:
    """C and its company; the report has its own environment, which escapes for HTML."""
    import jinja2

    env = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )
    env.globals.update(macros=macros, array_declare=array_declare, WHOLE_FUNCTION=WHOLE_FUNCTION)
    return env


def render_template(name: str, m: Project, **more: object) -> str:
    return environment().get_template(name).render(m=m, **more)


@cache
def library_header(name: str) -> str:
    return (Path(cmsisnn_x.get_include()) / "cmsisnn_x" / name).read_text(encoding="utf-8")


def library_headers(roots: Iterable[str]) -> dict[str, str]:
    """The kernel headers `roots` and all that they include, as file name -> text, sorted."""
    found: dict[str, str] = {}
    todo = sorted(set(roots))
    while todo:
        name = todo.pop()
        if name not in found:
            found[name] = library_header(name)
            todo += re.findall(r'^\s*#\s*include\s+"cmsisnn_x/([^"]+)"', found[name], re.MULTILINE)
    return dict(sorted(found.items()))


def sources(m: Project) -> dict[str, str]:
    """What the compiler reads of the firmware folder: path relative to it -> text."""
    headers = library_headers(kernel.header for kernel in m.kernels)
    return {
        **{f"cmsisnn_x/{header}": text for header, text in headers.items()},
        f"{m.name}_config.h": render_template("config.h.j2", m),
        f"{m.name}_weights.h": render_template("weights.h.j2", m),
        f"{m.name}.h": render_template("model.h.j2", m),
        f"{m.name}.c": render_template("model.c.j2", m),
    }
