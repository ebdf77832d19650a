# SPDX-License-Identifier: Apache-2.0
"""A model and data that fit it, by scheme: powers of two, zero points in sequence, any graph."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cmsisnn_x import Network
from cmsisnn_x.layers import Layer

from ..base.errors import MissingToolError, OptionError
from ..quantize.data import settled
from .counts import Counts, Errors
from .emulated import emulate
from .result import Check

if TYPE_CHECKING:
    from os import PathLike

    from ..model import Model
    from ..plan import Plan
    from ..quantize.affine.twin import Twin
    from ..quantize.data import Data
    from ..quantize.fixed_point.reference import Reference
    from ..quantize.graph.samples import Samples
    from ..quantize.graph.twin import GraphTwin

EMULATED_SAMPLES, EMULATED_CYCLES = 500, 100_000_000
"""How much is emulated at most: samples, and cycles of all of them together (always one sample)."""
BATCH_BYTES = 64 << 20


class Job:
    """A model and data that fit it."""

    def __init__(self, model: Model, data: Data, name: str) -> None:
        self.model, self.name = model, name
        self.reference: Reference | None = None
        if model.float_path is not None:
            from ..quantize.float_file import load_reference

            self.reference = load_reference(model)
            self.inputs = self.reference.channels_last(data.x, name)
        else:
            self.inputs = _integer_inputs(model, data.x, name)
        last = model.layers[-1]
        y, self.targets = settled(data, prod(last.output_shape), last.op, name)
        self.labels = y if max(last.output_image[:2]) == 1 else None
        self.labels = _labels(self.labels, prod(last.output_shape), name)
        self.network = Network(model.layers)

    def numbers(self) -> Check:
        """Both networks on all samples."""
        gathered = Counts(self.model.layers, self.reference)
        count, fixed, floats = len(self.inputs), 0, 0
        errors = Errors(self.targets if self.reference is not None else None)
        for start, stop in _batches(self.model.layers, count):
            integers, outputs = _run(self.network, self.reference, self.inputs[start:stop], gathered)
            if self.reference is not None:
                errors.add(outputs, self.reference.dequantize(self.model.layers[-1].name, integers), start, stop)
            if self.labels is not None:
                fixed += int((_answers(integers) == self.labels[start:stop]).sum())
                floats += 0 if outputs is None else int((_answers(outputs) == self.labels[start:stop]).sum())
        return Check(
            data=self.name,
            samples=count,
            dtype=self.model.dtype,
            has_reference=self.reference is not None,
            tensors=gathered.result(),
            float_accuracy=floats / count if self.reference is not None and self.labels is not None else None,
            fixed_accuracy=fixed / count if self.labels is not None else None,
            float_error=errors.of_float,
            fixed_error=errors.of_fixed,
        )

    def firmware(self, found: Check, plan: Plan) -> Check:
        """`found` with the firmware of `plan`, or with the reason why it could not be emulated."""
        count = max(1, min(len(self.inputs), EMULATED_SAMPLES, EMULATED_CYCLES // max(plan.totals["cycles"], 1)))
        integers = self.integers(count)
        labels = None if self.labels is None else self.labels[:count]
        try:
            emulated = emulate(plan, self.network, integers, labels)
        except MissingToolError as problem:
            return replace(found, not_emulated=str(problem))
        return replace(found, emulated=emulated)

    def integers(self, count: int) -> list[np.ndarray]:
        """The first inputs, as the firmware takes them."""
        return [_quantised(self.reference, self.inputs[:count], self.model.layers[0])]


class AffineJob(Job):
    """A model with zero points: its graph is any, and its input's scale is known without a float network."""

    def __init__(self, model: Model, twin: Twin | None, data: Data, name: str) -> None:
        from ..quantize.data import channels_last
        from .affine import AffineCounts

        self.model, self.name = model, name
        self.counts = AffineCounts(model, twin)
        if twin is None:
            self.inputs = channels_last(data.x, _image(model.inputs[0].shape), "NHWC", name)
        else:
            self.inputs = twin.channels_last(data.x, name)
        classes = prod(model.outputs[0].shape)
        last = "" if twin is None else twin.layers[-1].op
        y, self.targets = settled(data, classes, last, name)
        self.labels = _labels(y if model.outputs[0].shape[-1] == classes else None, classes, name)
        self.network = model.network()

    def numbers(self) -> Check:
        count, fixed, floats = len(self.inputs), 0, 0
        errors = Errors(self.targets)
        for start, stop in _batches(self.counts.network.layers, count):
            made, outputs = self.counts.run(self.inputs[start:stop])
            errors.add(outputs, made, start, stop)
            if self.labels is not None:
                fixed += int((_answers(made) == self.labels[start:stop]).sum())
                floats += 0 if outputs is None else int((_answers(outputs) == self.labels[start:stop]).sum())
        has_reference = self.counts.twin is not None
        return Check(
            data=self.name,
            samples=count,
            dtype=self.model.dtype,
            has_reference=has_reference,
            tensors=self.counts.result(),
            float_accuracy=floats / count if has_reference and self.labels is not None else None,
            fixed_accuracy=fixed / count if self.labels is not None else None,
            float_error=errors.of_float,
            fixed_error=errors.of_fixed,
        )

    def integers(self, count: int) -> list[np.ndarray]:
        from .affine import INPUT, scale_of

        return [scale_of(self.counts.tensors[INPUT]).quantize(self.inputs[:count])]


class GraphJob(Job):
    """A graph with its float graph: any number of inputs and outputs."""

    def __init__(self, model: Model, twin: GraphTwin, data: Any, name: str) -> None:
        from .graph import GraphCounts, samples_of

        self.model, self.name = model, name
        self.counts = GraphCounts(model, twin)
        self.samples = samples_of(twin, data, name)
        self.inputs = next(iter(self.samples.inputs.values()))
        self.first = twin.graph.network.outputs[0]
        target = self.samples.targets.get(self.first)
        self.labels = target if target is not None and target.dtype.kind == "i" else None
        self.numbers_wanted = target if self.labels is None else None
        self.network = model.network()

    def numbers(self) -> Check:
        count, fixed, floats = len(self.samples), [], []
        for start, stop in _batches(self.counts.network.layers, count):
            made, outputs = self.counts.batch(self.samples.part(slice(start, stop)))
            fixed.append(made[self.first])
            floats.append(outputs[self.first])
        both = [self._judged(np.concatenate(parts)) for parts in (floats, fixed)]
        return Check(
            data=self.name,
            samples=count,
            dtype=self.model.dtype,
            has_reference=True,
            tensors=self.counts.result(),
            float_accuracy=both[0] if self.labels is not None else None,
            fixed_accuracy=both[1] if self.labels is not None else None,
            float_error=both[0] if self.numbers_wanted is not None else None,
            fixed_error=both[1] if self.numbers_wanted is not None else None,
        )

    def _judged(self, outputs: np.ndarray) -> float | None:
        from ..quantize.graph.observe import answers

        if self.labels is not None:
            return float((answers(self.counts.float_graph.graph, self.first, outputs) == self.labels).mean())
        if self.numbers_wanted is None:
            return None
        wanted = self.numbers_wanted
        return float(np.sqrt(np.square(outputs.reshape(wanted.shape) - wanted, dtype=np.float64).mean()))

    def integers(self, count: int) -> list[np.ndarray]:
        return self.counts.arranged(self.samples.part(slice(0, count)))


def job_of(model: Model, data: str | PathLike[str] | Data | Samples | np.ndarray, name: str) -> Job:
    """What `data` and a model of whatever scheme ask for."""
    from ..quantize.data import Data, load_data, make_data

    twin: Any = None
    if model.arithmetic is not None and model.float_path is not None:
        from ..quantize.float_file import load_twin
        from ..quantize.graph.twin import GraphTwin

        twin = load_twin(model)
        if isinstance(twin, GraphTwin):
            name = Path(data).name if isinstance(data, str | os.PathLike) else getattr(data, "name", name)
            return GraphJob(model, twin, data, name)
    if isinstance(data, np.ndarray):
        data = make_data(data, None, name)
    elif isinstance(data, str | os.PathLike):
        name, data = Path(data).name, load_data(data)
    assert isinstance(data, Data)
    if model.arithmetic is None and model.wiring is not None:
        raise OptionError(f"--check: of q7 and q15 expected layers in sequence, got a tree: {model.path}")
    return Job(model, data, name) if model.arithmetic is None else AffineJob(model, twin, data, name)


def _image(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Of a sample, without the file's batch of 1."""
    return shape[1:] if len(shape) > 1 and shape[0] == 1 else shape


def _labels(y: np.ndarray | None, classes: int, name: str) -> np.ndarray | None:
    """Class numbers, where the outputs are classes."""
    if y is None or classes < 2:
        return None
    if int(y.max()) >= classes:
        raise OptionError(f"{name}: y: expected classes in 0..{classes - 1}, got {int(y.max())}")
    return y


def _integer_inputs(model: Model, x: np.ndarray, name: str) -> np.ndarray:
    from ..quantize.data import channels_last

    info = np.iinfo(model.layers[0].numpy_dtype)
    x = channels_last(x, model.input_shape, "NHWC", name)
    wrong = (x != np.floor(x)) | (x < info.min) | (x > info.max)
    if wrong.any():
        value = float(x[wrong][0])
        raise OptionError(
            f"{name}: x: {model.path.name} names no float network (key 'float'), so x must hold the network's own "
            f"integers: expected whole numbers in {info.min}..{info.max}, got {value:g}"
        )
    return x


def _batches(layers: Sequence[Layer], samples: int) -> Iterator[tuple[int, int]]:
    # Columns of a convolution in float64 are the largest thing that is held.
    taps = max(prod(layer.output_image[:2]) * prod(layer.kernel) * layer.image[2] for layer in layers)
    tensors = sum(prod(layer.output_shape) for layer in layers) + prod(layers[0].input_shape)
    step = max(1, BATCH_BYTES // (8 * taps + 24 * tensors))
    for start in range(0, samples, step):
        yield start, min(start + step, samples)


def _quantised(reference: Reference | None, x: np.ndarray, first: Layer) -> np.ndarray:
    if reference is None:
        return x.astype(first.numpy_dtype)
    from ..quantize.fixed_point.formats import to_integers

    return to_integers(x, reference.input_fraction, first.numpy_dtype)


def _answers(outputs: np.ndarray) -> np.ndarray:
    """The class of each sample: its largest output, the first if several are equal."""
    return outputs.reshape(len(outputs), -1).argmax(axis=1)


def _run(
    network: Network, reference: Reference | None, x: np.ndarray, gathered: Counts
) -> tuple[np.ndarray, np.ndarray | None]:
    """One batch through both networks; the last outputs of both."""
    first = network.layers[0]
    source = _quantised(reference, x, first)
    gathered.input(source, x)
    trace = network.trace(source)
    wanted = _float_outputs(reference, x)
    float_output = None
    for layer in network.layers:
        output = trace[layer.name]
        float_output = wanted.get(layer.name)
        gathered.layer(layer, source, output, float_output)
        source = output
    return source, float_output


def _float_outputs(reference: Reference | None, x: np.ndarray) -> Mapping[str, np.ndarray]:
    if reference is None:
        return {}
    from ..quantize import forward

    steps = forward.run(reference.layers, reference.arrays, x, reference.softmax_base)
    return {layer.name: output for layer, output in steps}
