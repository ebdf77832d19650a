# SPDX-License-Identifier: Apache-2.0
"""What a check counts of a network with zero points: the graph as its file has it, node by node."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from cmsisnn_x import Network
from cmsisnn_x.affine import Affine
from cmsisnn_x.graph import Node, Tensor
from cmsisnn_x.layers import Layer

from ..base.errors import ModelError, OptionError
from ..model import Model
from .accumulators import LARGEST, SUMS
from .counts import Noise, TensorCheck, quartiles, rounded, significant, spare

if TYPE_CHECKING:
    from ..quantize.affine.scales import Scale
    from ..quantize.affine.twin import Twin

INPUT = ""


class AffineCounts:
    """Everything that is counted, batch after batch.

    Parameters
    ----------
    model : Model
        With zero points, one input and one output.
    twin : Twin or None
        The float network that it was quantised from, whose layers are called as nodes of the graph are.

    Raises
    ------
    OptionError
        The model has several inputs or outputs, or remembers.
    ModelError
        The float network is another's.
    """

    def __init__(self, model: Model, twin: Twin | None) -> None:
        if len(model.inputs) != 1 or len(model.outputs) != 1 or model.graph.states:
            raise OptionError("--check: expected a network of one input and one output, without states")
        self.prepare(model, twin)
        self.start({INPUT: self.graph.tensors[self.graph.inputs[0]]})
        self.layers: Mapping[str, Layer] = {layer.name: layer for layer in twin.layers} if twin else {}
        self._require_twin(model)

    def prepare(self, model: Model, twin: Twin | None = None) -> None:
        """The graph as the file has it: rewritten, it has other tensors."""
        from ..importers.tflite.file import parse
        from ..importers.tflite.reader import import_operators

        assert model.source is not None
        assert model.arithmetic is not None
        self.twin = twin
        self.graph = import_operators(parse(model.source, model.path), model.arithmetic).graph
        self.network = Network(self.graph)
        self.nodes = {node.name: node for node in self.graph.nodes}

    def start(self, inputs: Mapping[str, Tensor]) -> None:
        """Nothing is counted yet, of the inputs and every node."""
        self.tensors = {**inputs, **{name: self.graph.tensors[node.outputs[0]] for name, node in self.nodes.items()}}
        names = list(self.tensors)
        self.histograms = {name: np.zeros(1 << tensor.type.bits, np.int64) for name, tensor in self.tensors.items()}
        self.saturated = dict.fromkeys(names, 0)
        self.overflows = dict.fromkeys(names, 0)
        self.peaks = dict.fromkeys(names, 0)
        self.noise = {name: Noise() for name in names}
        self.own = {name: Noise() for name in names}

    def _require_twin(self, model: Model) -> None:
        sizes = {name: prod(tensor.shape) for name, tensor in self.tensors.items()}
        if self.twin is not None:
            own = {INPUT: prod(self.twin.network.input_shape)}
            own |= {name: prod(layer.output_shape) for name, layer in self.layers.items()}
            for name, size in own.items():
                if sizes.get(name) != size:
                    raise ModelError(
                        f"{model.float_path}: {name or 'input'}: expected a tensor of the model's, of "
                        f"{sizes.get(name, 'no')} elements, got {size}; quantise the model again"
                    )

    def run(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """One batch of floats, channels last, through both networks; the last outputs of both."""
        first = scale_of(self.tensors[INPUT])
        integers = first.quantize(x)
        self.count(INPUT, integers)
        self.saturated[INPUT] += int(first.beyond(x).sum())
        self.noise[INPUT].add(x, first.dequantize(integers))
        wanted = {layer.name: out for layer, out in self.twin.tensors(x)} if self.twin else {}
        values = {self.graph.inputs[0]: integers.reshape(len(x), -1)}
        for name, found in self.network.trace(integers).items():
            node = self.nodes[name]
            flat = found.reshape(len(x), -1)
            self.count(name, flat)
            self.sums(node, values)
            if name in wanted:
                scale = scale_of(self.tensors[name])
                got = scale.dequantize(flat)
                self.noise[name].add(wanted[name].reshape(len(x), -1), got)
                self.own[name].add(self._alone(node, values), got.astype(np.float32))
            values[node.outputs[0]] = flat
        output = scale_of(self.graph.tensors[self.graph.outputs[0]]).dequantize(values[self.graph.outputs[0]])
        return output, wanted[self.twin.layers[-1].name] if self.twin else None

    def count(self, name: str, integers: np.ndarray) -> None:
        lowest = int(np.iinfo(integers.dtype).min)
        size = len(self.histograms[name])
        self.histograms[name] += np.bincount(integers.ravel().astype(np.int64) - lowest, minlength=size)

    def sums(self, node: Node, values: Mapping[str, np.ndarray]) -> None:
        """Accumulators of a layer with weights, and what of their outputs the range cuts off."""
        if not is_summed(node.layer):
            return
        sums = accumulators(node.layer, values[node.inputs[0]])
        scheme = node.layer.scheme
        assert isinstance(scheme, Affine)
        self.peaks[node.name] = max(self.peaks[node.name], int(sums.max()), ~int(sums.min()))
        if scheme.bits == 8:
            self.overflows[node.name] += int(((sums > LARGEST) | (sums < -LARGEST - 1)).sum())
        multiplier, shift = scheme.per_channel(sums.shape[-1])
        factors = np.ldexp(np.asarray(multiplier, np.float64), np.asarray(shift) - 31)
        free = sums * factors + scheme.output_zero_point
        info = np.iinfo(self.tensors[node.name].type.dtype)
        # An end of the range that is 0, or that of the float activation, cuts nothing off that should be there.
        is_low_end, is_high_end = self.ends(node.name)
        if scheme.low == info.min and scheme.output_zero_point != info.min and not is_low_end:
            self.saturated[node.name] += int((free < info.min - 0.5).sum())
        if scheme.high == info.max and not is_high_end:
            self.saturated[node.name] += int((free > info.max + 0.5).sum())

    def ends(self, name: str) -> tuple[bool, bool]:
        """Whether the ends of the range are those of the float activation."""
        clip = None if self.twin is None else self.twin.arrays.get(f"{name}/clip")
        scale = scale_of(self.tensors[name])
        return False, clip is not None and float(clip) <= scale.high + scale.scale / 2

    def _alone(self, node: Node, values: Mapping[str, np.ndarray]) -> np.ndarray:
        """The float layer, fed with what the integer layer was fed: padding and reshapes before it included."""
        from ..quantize import forward

        assert self.twin is not None
        index = [layer.name for layer in self.twin.layers].index(node.name)
        name = self.nodes[self.twin.layers[index - 1].name].outputs[0] if index else self.graph.inputs[0]
        x = scale_of(self.graph.tensors[name]).dequantize(values[name])
        layer = self.twin.layers[index]
        ((_, output),) = forward.run(
            [layer], self.twin.arrays, x.reshape(len(x), *layer.input_shape), self.twin.network.softmax_base
        )
        return output.reshape(len(x), -1)

    # ------------------------------------------------------------ the result

    def result(self) -> tuple[TensorCheck, ...]:
        """The input, then what the float network has too, or every node where there is none."""
        shown = self.layers or self.nodes
        return replace(self.tensor(INPUT), name="input"), *(self.tensor(name) for name in shown if name in self.nodes)

    @property
    def is_compared(self) -> bool:
        """Whether there is a float network."""
        return self.twin is not None

    def tensor(self, name: str) -> TensorCheck:
        node, tensor = self.nodes.get(name), self.tensors[name]
        histogram, lowest = self.histograms[name], int(np.iinfo(tensor.type.dtype).min)
        present = np.flatnonzero(histogram) + lowest
        headroom = sure = None
        if node is not None and is_summed(node.layer) and tensor.type.bits == 8:
            headroom, sure = spare(self.peaks[name]), spare(reach(node.layer))
        noise, own = self.noise[name], self.own[name]
        compared = self.is_compared if node is not None else True
        return TensorCheck(
            name=name,
            op="input" if node is None else node.op,
            bits=tensor.type.bits,
            fraction=None,
            minimum=int(present[0]),
            maximum=int(present[-1]),
            quartiles=quartiles(histogram) if lowest < 0 else (0.0, 0.0, 0.0),
            saturated=self.saturated[name],
            elements=int(histogram.sum()),
            overflows=self.overflows[name],
            headroom_bits=headroom,
            sure_bits=sure,
            snr_db=rounded(noise.decibels) if compared else None,
            own_snr_db=rounded(own.decibels) if compared and node is not None else None,
            max_error=significant(noise.worst) if compared else None,
            scale=tensor.scale,
            zero_point=tensor.zero_point,
        )


def scale_of(tensor: Tensor) -> Scale:
    from ..quantize.affine.scales import Scale

    assert tensor.scale is not None
    return Scale(tensor.type.dtype.name, tensor.scale, tensor.zero_point)


def is_summed(layer: Layer) -> bool:
    """Whether the sums of a layer can be told: those of its one kernel over its one image."""
    return (
        isinstance(layer.scheme, Affine) and layer.weights is not None and layer.python_op in SUMS
        and layer.groups == 1 and layer.dilation == (1, 1) and layer.samples == 1
    )  # fmt: skip


def accumulators(layer: Layer, x: np.ndarray) -> np.ndarray:
    """``bias + sum((x - zero_point) * weight)``, without wrap-around; shape ``(n, *output_shape)``."""
    assert layer.weights is not None
    assert isinstance(layer.scheme, Affine)
    values = x.reshape(len(x), *layer.image).astype(np.float64) - layer.scheme.input_zero_point
    sums = SUMS[layer.python_op](layer, values, layer.weights.astype(np.float64))
    bias = 0 if layer.bias is None else layer.bias.astype(np.int64)
    return sums.reshape(len(x), prod(layer.output_image[:2]), -1).astype(np.int64) + bias


def reach(layer: Layer) -> int:
    """No accumulator's magnitude exceeds this, whatever the input."""
    assert layer.weights is not None
    assert isinstance(layer.scheme, Affine)
    magnitudes = np.abs(np.moveaxis(layer.weights.astype(np.int64), layer.row.channel_axis, 0))
    info = np.iinfo(layer.numpy_dtype)
    zero = layer.scheme.input_zero_point
    furthest = max(int(info.max) - zero, zero - int(info.min))
    bias = 0 if layer.bias is None else np.abs(layer.bias.astype(np.int64))
    return int((magnitudes.reshape(len(magnitudes), -1).sum(axis=1) * furthest + bias).max())
