# SPDX-License-Identifier: Apache-2.0
"""The plan: one variant per layer, where its tensors live, and what that costs. It is all that emission sees."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np

from cmsisnn_x.arena import Region
from cmsisnn_x.chain import Chain
from cmsisnn_x.described import described
from cmsisnn_x.graph import Graph, Tensor
from cmsisnn_x.layers import Layer
from cmsisnn_x.steps import Step, place_inside, steps_of
from cmsisnn_x.variant import Variant

from ..base.files import write_atomically
from ..base.html import table
from ..base.options import Budget, Kind
from ..base.units import one_line
from ..target import Target

if TYPE_CHECKING:
    from ..cost.table import Estimates

SCHEMA = "plan-2"
"""What is written; `tuning.plan.file` reads older ones too."""

ARRAYS = ("weights", "bias")
"""The fields of a layer that a plan file has the digests of."""
CONSTANTS = (*ARRAYS, "table")
"""The same with what few layers have."""


class Totals(TypedDict):
    """What one inference of the network takes, under the keys of plan.json; milliseconds and energy where the target
    says enough, the stack where all layers know theirs. Flash and stack are bounds; what the flash is likely to be is
    less where code was not compiled.
    """

    cycles: int
    ms: float | None
    energy_uj: float | None
    macs: int
    sram_bytes: int
    arena_bytes: int
    scratch_bytes: int
    flash_bytes: int
    likely_flash_bytes: int
    stack_bytes: int | None


class RunnerUp(TypedDict):
    """The next best variant of a layer, by its knobs, and what it would have cost."""

    variant: dict[str, object] | None
    cycles: int
    scratch_bytes: int
    flash_bytes: int


class Point(TypedDict):
    """A plan on a frontier."""

    sram_bytes: int
    flash_bytes: int
    cycles: int


class Frontiers(TypedDict):
    """Plans that no other plan beats, per memory, in ascending bytes and descending cycles."""

    sram: list[Point]
    flash: list[Point]


@dataclass(frozen=True)
class LayerPlan:
    """One layer of a plan.

    A convolution whose variant has `fused_pool` runs the pooling layer behind it too: its figures are the pair's, that
    layer's are zero, `fused_into` names the convolution there, and the tensor between the two has no offset.

    Attributes
    ----------
    layer : cmsisnn_x.layers.Layer
    variant : Variant or None
        None for operations without knobs.
    cycles : int
        Of one inference: emulated if `emulated_cycles` is not None, else estimated.
    terms : dict of str to int
        The estimate's cycles by cause: ``im2col``, ``multiply_accumulate``, ``requantise``, ``loop``, ``memory``.
    baseline_cycles : int
        Of the paper's configuration, :data:`cmsisnn_x.BASELINE`.
    scratch_bytes, flash_bytes : int
        Scratch inside the arena; weights as emitted, and code.
    input_offset, output_offset, scratch_offset : int or None
        Bytes into the arena; None for the caller's buffers, and where there is no scratch.
    runner_up : RunnerUp or None
        The next best variant, with its cycles, scratch and flash.
    emulated_cycles : int or None
        With ``score="emulate"``.
    fused_into : str or None
        Name of the convolution that runs this pooling layer.
    input_offsets : tuple of (int or None)
        Of a layer with several inputs all of them, `input_offset` first; None for constants too.
    band : int
        Of a layer in a chain: rows of its output that a call makes at most; 0 for all others.
    ring_rows, ring_offset : int, int or None
        Of a layer in a chain but the last: rows of its output that lie in the arena at a time, and where.
    """

    layer: Layer
    variant: Variant | None
    cycles: int
    terms: dict[str, int]
    baseline_cycles: int
    scratch_bytes: int
    flash_bytes: int
    input_offset: int | None
    output_offset: int | None
    scratch_offset: int | None
    runner_up: RunnerUp | None
    emulated_cycles: int | None = None
    fused_into: str | None = None
    input_offsets: tuple[int | None, ...] = ()
    band: int = 0
    ring_rows: int = 0
    ring_offset: int | None = None

    @property
    def all_inputs(self) -> tuple[int | None, ...]:
        """The offset of every input."""
        return self.input_offsets or (self.input_offset,)

    def is_in_place(self, index: int = 0) -> bool:
        """Whether input `index` lies in the layer's output, where it is overwritten or stays."""
        inside, at = place_inside(self.layer, self.variant, index), self.all_inputs[index]
        return inside is not None and self.output_offset is not None and at == self.output_offset + inside

    @property
    def is_overwritten(self) -> bool:
        """Whether a kernel with weights writes its output over its input."""
        return self.layer.row.is_weighted and self.is_in_place()

    @property
    def takes_in_next(self) -> bool:
        """Whether the kernel of this layer also runs the next one."""
        return self.variant is not None and self.variant.fused_pool

    def to_dict(self) -> dict[str, Any]:
        """This layer as plan.json has it."""
        own = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("layer", "variant")}
        several = own.pop("input_offsets")
        if several:
            own["input_offsets"] = list(several)
        rows = {key: own.pop(key) for key in ("band", "ring_rows", "ring_offset")}
        if self.band:
            own |= rows
        variant = asdict(self.variant) if self.variant else {}
        return {**layer_to_dict(self.layer), "macs": self.layer.macs, "variant": variant, **own}


def layer_to_dict(layer: Layer) -> dict[str, Any]:
    """All of a layer as plan.json has it: arrays by digest, the knobs that the model file pins as ``pins``."""
    geometry = {name: as_json(value) for name, value in described(layer, (*ARRAYS, "table", "variant")).items()}
    kinds = ARRAYS if layer.table is None else (*ARRAYS, "table")
    digests = {name: None if (array := getattr(layer, name)) is None else array_digest(array) for name in kinds}
    return {**geometry, **digests, "pins": dict(layer.variant)}


def array_digest(array: np.ndarray) -> dict[str, Any]:
    """Type, shape, and the SHA-256 of the elements in C order, the low byte first."""
    data = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    return {"dtype": array.dtype.name, "shape": list(array.shape), "sha256": hashlib.sha256(data.tobytes()).hexdigest()}


def source_digest(source: bytes | None) -> dict[str, str]:
    """What `Plan.digests` says of the file that the network came from."""
    return {} if source is None else {"source": hashlib.sha256(source).hexdigest()}


def as_json(value: Any) -> Any:
    """`value` with lists for tuples and plain numbers for NumPy's."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, dict):
        return {name: as_json(item) for name, item in value.items()}
    return [as_json(item) for item in value] if isinstance(value, tuple) else value


def tensor_to_dict(tensor: Tensor) -> dict[str, Any]:
    """A tensor of the border, or a constant, as plan.json has it."""
    about = {"name": tensor.name, "shape": list(tensor.shape), "dtype": tensor.type.name}
    value = {} if tensor.value is None else {"value": array_digest(tensor.value)}
    return {**about, "scale": tensor.scale, "zero_point": tensor.zero_point, **value}


@dataclass(frozen=True, repr=False)
class Plan:
    """The best configuration of a network on a target, ready to emit.

    Attributes
    ----------
    model : str
        Name of the network, prefix of every symbol in C.
    dtype : {"q7", "q15", "int8", "uint8", "int16"}
        Of the first input.
    target : Target
    layers : tuple of LayerPlan
        In order of execution.
    objective, score, strategy, seed
        What :func:`tuning.tune` was asked.
    compiler, cflags : str, tuple of str
        What the figures hold for; ``-mcpu`` follows from the target.
    arena_bytes : int
    totals : Totals
        ``cycles``, ``ms``, ``energy_uj``, ``macs`` of one inference; ``sram_bytes`` (arena, input and output),
        ``arena_bytes``, ``scratch_bytes`` (inside the arena), ``flash_bytes``, ``likely_flash_bytes``, and
        ``stack_bytes`` (on top of the SRAM).
    budget : Budget
        ``{"sram": bytes or None, "flash": bytes or None}``.
    digests : dict of str to str
        SHA-256 of the model and of the target, and with `source` of that.
    evaluations : int
        Variants that were looked at.
    regions : tuple of Region
        What lies where in the arena, and from which layer to which.
    versions : dict of str to str
    pareto : Frontiers or None
        ``{"sram": [...], "flash": [...]}``: points of cycles and bytes that no other plan beats.
    check : tuning.check.Check or None
        Of :func:`tuning.check`, where it was run.
    """

    model: str
    dtype: str
    target: Target
    layers: tuple[LayerPlan, ...]
    objective: str
    score: str
    seed: int
    compiler: Kind
    cflags: tuple[str, ...]
    arena_bytes: int
    totals: Totals
    budget: Budget
    digests: dict[str, str] = field(default_factory=dict)
    strategy: str = "exhaustive"
    evaluations: int = 0
    regions: tuple[Region, ...] = ()
    versions: dict[str, str] = field(default_factory=dict)
    pareto: Frontiers | None = None
    check: Any = None
    paper: Any = field(default=None, repr=False, compare=False)
    """Of ``cmsisnn-tune paper-table``: a section of the report, no part of plan.json."""
    tables: tuple[Estimates, ...] = field(default=(), repr=False, compare=False)
    """What the search looked at, per layer: for :func:`tuning.report.explain.explain`, no part of plan.json."""
    wiring: Graph | None = field(default=None, repr=False, compare=False)
    """The graph of these layers, one node for each, in this order; None for a chain whose tensors have no names."""
    arithmetic: str | None = None
    """With zero points: whose kernels define the bytes, ``"tflm"`` or ``"litert"``."""
    rewrites: tuple[str, ...] = ()
    """What was rewritten between the model's file and this graph, without changing a byte of the outputs."""
    source: bytes | None = field(default=None, repr=False, compare=False)
    """The ``.tflite`` file, which the folder gets a copy of; of plan.json only its digest is part."""
    source_names: tuple[tuple[str, ...], tuple[str, ...]] | None = None
    """What that file calls the inputs and the outputs; empty where it has no name."""
    channels_last: tuple[tuple[bool, ...], tuple[bool, ...]] | None = None
    """Which of them have their channels last where that file, of ONNX, has them first."""
    fractions: tuple[tuple[int | None, ...], tuple[int | None, ...]] | None = None
    """Of q7 and q15: fraction bits of inputs and outputs, where the model's file says them."""
    classes: tuple[str, ...] = ()
    """What the elements of the first output are called, for the example."""
    float_io: bool = False
    """Whether the firmware has functions from and to floats beside the network's."""
    chains: Mapping[int, Chain] = field(default_factory=dict, repr=False, compare=False)
    """The layers that run band by band, by the index of the first."""
    arena_least: int | None = field(default=None, repr=False, compare=False)
    """Bytes of the arena that are in use at once at most: no arrangement takes less."""
    fed: bool = False
    """Whether inputs come row by row, and outputs are fetched: both lie in the arena, an input by rows where a chain
    takes it.
    """
    fed_offsets: tuple[int | None, ...] = ()
    """Where the rows of each input lie then; None where all of it does."""
    unchained: Point | None = field(default=None, repr=False, compare=False)
    """With chains: the fastest plan without, within the same flash."""
    flash_compiled_by: str | None = None
    """The compiler whose object the bytes of flash are; None where code is estimated, or seen kernel by kernel."""
    is_flash_short: bool = field(default=False, repr=False, compare=False)
    """Whether the best plan without a flash budget may exceed it."""

    @cached_property
    def graph(self) -> Graph:
        """The layers with the tensors between them."""
        return self.wiring or Graph.chain([item.layer for item in self.layers])

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        """What the caller gives, in the order of the arguments in C."""
        return tuple(self.graph.tensors[name] for name in self.graph.inputs)

    @property
    def outputs(self) -> tuple[Tensor, ...]:
        """What the caller gets, in the order of the arguments in C."""
        return tuple(self.graph.tensors[name] for name in self.graph.outputs)

    @property
    def constants(self) -> tuple[Tensor, ...]:
        """Tensors that are known beforehand: operands of some layer."""
        return tuple(tensor for tensor in self.graph.tensors.values() if tensor.value is not None)

    @property
    def state_bytes(self) -> int:
        """SRAM of what the network remembers between runs."""
        return sum(self.graph.tensors[state.read].bytes for state in self.graph.states)

    @cached_property
    def steps(self) -> tuple[Step, ...]:
        """The kernel calls of one inference, in order."""
        layers, variants = [item.layer for item in self.layers], [item.variant for item in self.layers]
        over = [item.is_overwritten for item in self.layers]
        return steps_of(layers, [item.takes_in_next for item in self.layers], variants, over, self.chains)

    @property
    def baseline_cycles(self) -> int:
        """Cycles of the same network with the paper's configuration in every layer."""
        return sum(item.baseline_cycles for item in self.layers)

    @property
    def cycles_are(self) -> str:
        """``"estimated"``, ``"emulated"``, or ``"partly emulated"`` after an interrupt."""
        known = [item.emulated_cycles is not None for item in self.layers]
        return "emulated" if all(known) else "partly emulated" if any(known) else "estimated"

    @property
    def flash_is(self) -> str:
        """``"compiled"``, or ``"estimated"``: as much as code may take, or what kernels took by themselves."""
        return "estimated" if self.flash_compiled_by is None else "compiled"

    def to_dict(self) -> dict[str, Any]:
        """The content of plan.json."""
        elsewhere = (
            "target", "layers", "arena_bytes", "regions", "pareto", "check", "paper", "tables",
            "wiring", "arithmetic", "rewrites", "source", "source_names", "channels_last", "float_io", "fractions",
            "classes", "chains", "unchained", "arena_least", "fed", "fed_offsets", "is_flash_short",
        )  # fmt: skip
        own = {f.name: as_json(getattr(self, f.name)) for f in fields(self) if f.name not in elsewhere}
        target = {"target": self.target.name, "core": self.target.core, "clock_hz": self.target.clock_hz}
        return {
            "schema": SCHEMA,
            "model": self.model,
            **target,
            **own,
            **self.border(),
            **({"float_io": True} if self.float_io else {}),
            **self._feed(),
            **({"classes": list(self.classes)} if self.classes else {}),
            **({"fractions": self.fractions_by_side()} if self.fractions else {}),
            "layers": [item.to_dict() | tensors for item, tensors in zip(self.layers, self.tensors(), strict=True)],
            "steps": [
                {
                    "layers": [layer.name for layer in step.layers],
                    "kind": step.kind,
                    **({"room": step.chain.room} if step.chain and step.chain.room else {}),
                }
                for step in self.steps
            ],
            "memory_map": [asdict(region) for region in self.regions],
            **({"pareto": self.pareto} if self.pareto else {}),
            **({"check": self.check.to_dict()} if self.check else {}),
        }

    def _feed(self) -> dict[str, Any]:
        if not self.fed:
            return {}
        several = {"feed_offsets": list(self.fed_offsets)} if len(self.fed_offsets) > 1 else {}
        return {"feed": "rows", "feed_offset": self.fed_offsets[0], **several}

    def fractions_by_side(self) -> dict[str, list[int | None]]:
        sides = self.fractions or ((), ())
        return {key: list(side) for key, side in zip(("inputs", "outputs"), sides, strict=True)}

    def border(self) -> dict[str, Any]:
        """What a plan says of a graph; nothing of a chain that has none."""
        found: dict[str, Any] = {}
        if self.arithmetic is not None:
            found["arithmetic"] = self.arithmetic
            found["rewrites"] = list(self.rewrites)
        if self.wiring is not None:
            for key, tensors in (("inputs", self.inputs), ("outputs", self.outputs), ("constants", self.constants)):
                found[key] = [tensor_to_dict(tensor) for tensor in tensors]
            for key, names in zip(("inputs", "outputs"), self.source_names or (), strict=False):
                for entry, name in zip(found[key], names, strict=True):
                    entry |= {"source_name": one_line(name)} if name else {}
            for key, moved in zip(("inputs", "outputs"), self.channels_last or (), strict=False):
                for entry, is_moved in zip(found[key], moved, strict=True):
                    entry |= {"channels_last": True} if is_moved else {}
            if states := self.wiring.states:
                known = self.wiring.tensors
                found["states"] = [
                    {
                        **tensor_to_dict(known[one.read]),
                        "write": one.write,
                        "initial": array_digest(one.initial.reshape(known[one.read].shape)),
                    }
                    for one in states
                ]
        return found

    def tensors(self) -> list[dict[str, Any]]:
        """Per layer the names of the tensors around it, where they have some."""
        if self.wiring is None:
            return [{}] * len(self.layers)
        return [{"inputs": list(node.inputs), "outputs": list(node.outputs)} for node in self.wiring.nodes]

    def to_json(self) -> str:
        """plan.json, ending in a newline; the same plan gives the same text."""
        return json.dumps(self.to_dict(), indent=2) + "\n"

    def __repr__(self) -> str:
        return f"<Plan {self}>"

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write plan.json by atomic rename."""
        write_atomically(Path(path), self.to_json())

    def _repr_html_(self) -> str:
        """Layer, operation, variant, cycles, gain, scratch, flash; the network in the last row."""
        totals = self.totals
        rows = [
            (
                item.layer.name,
                item.layer.op,
                str(item.variant) if item.variant else "",
                f"{item.cycles:,}",
                f"{item.baseline_cycles / item.cycles:.2f}x" if item.variant and item.cycles else "",
                f"{item.scratch_bytes:,}",
                f"{item.flash_bytes:,}",
            )
            for item in self.layers
        ]
        gain = f"{self.baseline_cycles / totals['cycles']:.2f}x" if totals["cycles"] else ""
        rows.append(
            (
                "network",
                "",
                "",
                f"{totals['cycles']:,}",
                gain,
                f"{totals['scratch_bytes']:,}",
                f"{totals['flash_bytes']:,}",
            )
        )
        time = f", {totals['ms']:.4g} ms" if totals.get("ms") is not None else ""
        caption = (
            f"{self.model} on {self.target.name}: {totals['cycles']:,} cycles {self.cycles_are}{time}, "
            f"{totals['sram_bytes']:,} bytes SRAM, {totals['flash_bytes']:,} bytes flash"
        )
        head = ("layer", "op", "variant", "cycles", "gain", "scratch", "flash")
        return table(head, rows, caption, left=3, foot=True)

    def __str__(self) -> str:
        return (
            f"{self.model} on {self.target.name}: {self.totals['cycles']:,} cycles, {self.totals['sram_bytes']:,} "
            f"bytes SRAM"
        )
