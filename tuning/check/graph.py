# SPDX-License-Identifier: Apache-2.0
"""A graph held against the float graph that it was quantised from: several inputs and outputs, tensor by tensor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from ..base.errors import ModelError, OptionError
from ..model import Model
from .affine import AffineCounts, scale_of
from .counts import TensorCheck

if TYPE_CHECKING:
    from ..quantize.graph.samples import Samples
    from ..quantize.graph.twin import GraphTwin, Tensor


class GraphCounts(AffineCounts):
    """Everything that is counted, batch after batch.

    Parameters
    ----------
    model : Model
    twin : GraphTwin
        Its tensors name the layers of the model that give them.

    Raises
    ------
    OptionError
        The model remembers.
    ModelError
        The float network is another's.
    """

    def __init__(self, model: Model, twin: GraphTwin) -> None:
        if model.graph.states:
            raise OptionError("--check: expected a network without states")
        self.prepare(model)
        self.model, self.float_graph = model, twin
        inputs, outputs = twin.inputs, twin.graph.network.outputs
        if len(inputs) != len(self.graph.inputs) or len(outputs) != len(self.graph.outputs):
            raise ModelError(f"{model.float_path}: expected the float network of {model.path}, got another one's")
        self.inputs = {name: f" {name}" for name in inputs}
        """What an input is counted as: no layer is called so."""
        keys = dict(zip(self.inputs.values(), self.graph.inputs, strict=True))
        self.start({key: self.graph.tensors[tensor] for key, tensor in keys.items()})
        self.own_tensors: dict[str, Tensor] = {}
        for one in twin.tensors:
            key = one.layer or self.inputs.get(one.name, "")
            size = prod(size for axis in one.axes for size in axis)
            if key not in self.tensors or prod(self.tensors[key].shape) != size:
                raise ModelError(
                    f"{model.float_path}: {key.strip()}: expected a tensor of the model's, of {size} elements; "
                    "quantise the model again"
                )
            self.own_tensors[key] = one

    def arranged(self, inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """The integers of float samples, as the network takes them."""
        made = []
        for (name, key), tensor in zip(self.inputs.items(), self.graph.inputs, strict=True):
            flat = self.own_tensors[key].stored(np.asarray(inputs[name], np.float64))
            integers = scale_of(self.tensors[key]).quantize(flat)
            made.append(integers.reshape(len(flat), *self.graph.tensors[tensor].shape))
        return made

    def batch(self, inputs: Mapping[str, np.ndarray]) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """One batch through both networks; the outputs of the integer one and the float one, in ONNX's shapes."""
        count = len(next(iter(inputs.values())))
        integers = self.arranged(inputs)
        wanted = self.float_graph.run(inputs)
        known: dict[str, np.ndarray] = {}
        values: dict[str, np.ndarray] = {}
        for (name, key), tensor, made in zip(self.inputs.items(), self.graph.inputs, integers, strict=True):
            flat, scale = made.reshape(count, -1), scale_of(self.tensors[key])
            self.count(key, flat)
            self.saturated[key] += int(scale.beyond(np.asarray(inputs[name])).sum())
            self._against(key, self.own_tensors[key], wanted, flat, known)
            values[tensor] = flat
        for name, found in self.network.trace(tuple(integers) if len(integers) > 1 else integers[0]).items():
            node = self.nodes[name]
            flat = found.reshape(count, -1)
            self.count(name, flat)
            self.sums(node, values)
            if name in self.own_tensors:
                own = self.own_tensors[name]
                alone = self.float_graph.alone(own.name, known)
                if alone is not None:
                    got = scale_of(self.tensors[name]).dequantize(flat).astype(np.float32)
                    self.own[name].add(own.stored(alone.reshape(count, *own.shape)), got)
                self._against(name, own, wanted, flat, known)
            values[node.outputs[0]] = flat
        from ..quantize.graph.float_graph import of_sample

        graph = self.float_graph.graph
        outputs = {
            name: self._given(name, tensor, values[tensor], of_sample(graph.shapes[name]))
            for name, tensor in zip(graph.network.outputs, self.graph.outputs, strict=True)
        }
        return outputs, {name: wanted[name] for name in outputs}

    def _against(
        self, key: str, own: Tensor, wanted: Mapping[str, np.ndarray], flat: np.ndarray, known: dict[str, np.ndarray]
    ) -> None:
        real = scale_of(self.tensors[key]).dequantize(flat)
        self.noise[key].add(own.stored(wanted[own.name]), real)
        known[own.name] = own.restored(real)

    def _given(self, name: str, tensor: str, flat: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        """An output in ONNX's shape."""
        real = scale_of(self.graph.tensors[tensor]).dequantize(flat)
        if name not in self.float_graph.channels_last:
            return real.reshape(len(real), *shape)
        return np.moveaxis(real.reshape(len(real), *shape[1:], shape[0]), -1, 1)

    @property
    def is_compared(self) -> bool:
        return True

    def ends(self, name: str) -> tuple[bool, bool]:
        """Whether the ends of the range are those of a Relu or Clip."""
        from ..quantize.graph.integers import limits_of

        own, scale = self.own_tensors.get(name), scale_of(self.tensors[name])
        nodes = self.float_graph.graph.network
        node = None if own is None else next((one for one in nodes.nodes if own.name in one.outputs), None)
        limits = None if node is None else limits_of(node, nodes.constants)
        if limits is None:
            return False, False
        return limits[0] >= scale.low - scale.scale / 2, limits[1] <= scale.high + scale.scale / 2

    def result(self) -> tuple[TensorCheck, ...]:
        """The inputs, then what the float network has too."""
        several = len(self.inputs) > 1
        called = {key: name if several else "input" for name, key in self.inputs.items()}
        shown = [*called, *(key for key in self.nodes if key in self.own_tensors)]
        ends = self._ends_of(shown)
        return tuple(
            replace(
                self.tensor(key), name=called.get(key, key), ends=tuple(called.get(end, end) for end in ends[key])
            )
            for key in shown
        )

    def _ends_of(self, shown: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """The last of the tensors that are shown, that each has a part in: its own noise is judged there."""
        makers = {node.outputs[0]: name for name, node in self.nodes.items()}
        makers |= dict(zip(self.graph.inputs, self.inputs.values(), strict=True))
        before = {name: [makers[one] for one in node.inputs if one in makers] for name, node in self.nodes.items()}
        found: dict[str, set[str]] = {name: set() for name in (*self.inputs.values(), *self.nodes)}
        for name in reversed([*self.nodes]):
            if name in shown and not found[name]:
                found[name] = {name}
            for one in before[name]:
                found[one] |= found[name]
        return {name: tuple(sorted(found[name] or {name})) for name in shown}


def samples_of(twin: GraphTwin, data: object, name: str) -> Samples:
    """Data in whatever form, as a float graph takes them."""
    from ..quantize.graph.quantizer import borders
    from ..quantize.graph.samples import as_samples

    return as_samples(data, *borders(twin.graph), name)
