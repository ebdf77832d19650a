# SPDX-License-Identifier: Apache-2.0
"""``--check``: the fixed-point network held against the float one it came from, layer by layer, on real data.

Three things can go wrong on the way from float to q7, and each is counted where it happens: outputs saturate, a 32-bit
accumulator wraps around, or the error grows until it drowns the signal. Without a float network (a model file that
names none) the first two are still counted; the data then hold the network's own integers.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import log2, log10, prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cmsisnn_x import Network
from cmsisnn_x.layers import Layer

from .accumulators import LARGEST, accumulators, reach, requantised, wrapped
from .errors import MissingToolError, OptionError

if TYPE_CHECKING:
    from os import PathLike

    from .model import Model
    from .plan import Plan
    from .quantize.data import Data
    from .quantize.reference import Reference

LEAST_SNR_DB = 10.0
"""Below it, more than a tenth of a layer's output power is error: the layer breaks."""
MOST_SATURATED = 0.10
"""Without a float network to tell what it costs, a layer of which more than this share saturates breaks."""
EMULATED_SAMPLES, EMULATED_CYCLES = 100, 100_000_000
"""How much is emulated at most: samples, and cycles of all of them together (always one sample)."""
BATCH_BYTES = 64 << 20


@dataclass(frozen=True)
class TensorCheck:
    """What one tensor looked like over all samples: the network's input, or a layer's output.

    Attributes
    ----------
    name, op : str
        `op` is ``"input"`` for the input.
    bits : int
        Of one element.
    fraction : int or None
        Fraction bits; ``None`` where no float network tells.
    minimum, maximum : int
        Smallest and largest integer.
    quartiles : tuple of float
        log2 of the magnitudes of the elements other than 0 at a quarter, a half and three quarters of them.
    saturated : int
        Elements that the clamp changed; of a fused ReLU, or of a ReLU6 that ends where the range ends, those that the
        activation does not explain.
    elements : int
    overflows : int
        Accumulators that did not fit into 32 bits.
    headroom_bits : float or None
        By how many bits the largest accumulator could have grown before it had wrapped; ``None`` without weights.
    sure_bits : float or None
        The same for the worst input that there can be: from 0 up, no input makes it wrap.
    snr_db : float or None
        Signal-to-noise ratio of the fixed-point network at this layer; None where there is nothing to compare with,
        or no error at all (then `max_error` is 0).
    own_snr_db : float or None
        The same of this layer alone, fed with what the fixed-point network feeds it.
    max_error : float or None
        Largest difference, in units of the float network.
    weights_fraction, bias_fraction : int or None
        Fraction bits of the layer's weights and bias, where a float network tells.
    """

    name: str
    op: str
    bits: int
    fraction: int | None
    minimum: int
    maximum: int
    quartiles: tuple[float, float, float]
    saturated: int
    elements: int
    overflows: int = 0
    headroom_bits: float | None = None
    sure_bits: float | None = None
    snr_db: float | None = None
    own_snr_db: float | None = None
    max_error: float | None = None
    weights_fraction: int | None = None
    bias_fraction: int | None = None

    @property
    def largest(self) -> int:
        """Largest magnitude."""
        return max(-self.minimum, self.maximum)

    @property
    def format(self) -> str | None:
        """The Q format, such as ``Q1.6``."""
        from .quantize.formats import spell

        return None if self.fraction is None else spell(self.fraction, self.bits)

    @property
    def problem(self) -> str | None:
        """Why the layer breaks; ``None`` if it does not."""
        if self.overflows:
            return f"{self.overflows:,} accumulators exceed 32 bits and wrap"
        if self.snr_db is not None and self.snr_db < LEAST_SNR_DB:
            return f"a signal-to-noise ratio of {self.snr_db:.1f} dB, below {LEAST_SNR_DB:g}"
        share = self.saturated / self.elements
        if self.fraction is None and share > MOST_SATURATED:
            return f"{100 * share:.1f} % of its outputs saturate"
        return None


@dataclass(frozen=True)
class EmulatedCheck:
    """The emitted firmware, compiled and emulated, on the first `samples` samples. `accuracy` is ``None`` without
    labels; `q7_accuracy` is the Python kernels' on the same samples.
    """

    samples: int
    equal: int
    accuracy: float | None
    q7_accuracy: float | None


@dataclass(frozen=True)
class Check:
    """What `check_model` found."""

    data: str
    samples: int
    dtype: str
    has_reference: bool
    tensors: tuple[TensorCheck, ...]
    float_accuracy: float | None = None
    fixed_accuracy: float | None = None
    emulated: EmulatedCheck | None = None
    not_emulated: str | None = None

    @property
    def first_break(self) -> TensorCheck | None:
        """The first tensor with a problem."""
        return next((tensor for tensor in self.tensors if tensor.problem), None)

    @property
    def passed(self) -> bool:
        """Whether no layer breaks, and the firmware gives what the Python kernels give."""
        return self.first_break is None and (self.emulated is None or self.emulated.equal == self.emulated.samples)

    def to_dict(self) -> dict[str, Any]:
        """The check as plan.json has it."""
        broken = self.first_break
        content = asdict(self)
        content["tensors"] = [{**asdict(tensor), "quartiles": list(tensor.quartiles)} for tensor in self.tensors]
        return {**content, "first_break": broken and {"name": broken.name, "problem": broken.problem}}

    def _repr_html_(self) -> str:
        from .notebook import check_html

        return check_html(self)


def check_model(
    model: Model, data: str | PathLike[str] | Data | np.ndarray, plan: Plan | None = None, *, name: str = "data"
) -> Check:
    """Hold the fixed-point network of a model against its float network.

    Parameters
    ----------
    model : Model
        Its file may name the float network it was quantised from (``float:``, see :mod:`tuning.quantize`).
    data : path, Data or ndarray
        An ``.npz`` with `x` (or `inputs`) and optionally `y` (or `labels`), or such arrays. `x` are samples as the
        float network takes them; without a float network, the integers that the network itself takes.
    plan : Plan, optional
        Also emulate the firmware of this plan, on at most `EMULATED_SAMPLES` samples.
    name : str
        What messages call data that are no file.

    Returns
    -------
    Check

    Raises
    ------
    OptionError
        The data do not fit the model.
    ModelError
        The float file does not.
    """
    job = _Job(model, data, name)
    found = job.numbers()
    return found if plan is None else job.firmware(found, plan)


def with_firmware(check: Check, model: Model, data: str | PathLike[str] | Data | np.ndarray, plan: Plan) -> Check:
    """`check`, made by `check_model` of the same model and data, and the emulated firmware of `plan` with it."""
    return _Job(model, data, check.data).firmware(check, plan)


class _Job:
    """A model and data that fit it."""

    def __init__(self, model: Model, data: str | PathLike[str] | Data | np.ndarray, name: str) -> None:
        from .quantize.data import Data, load_data, make_data

        if isinstance(data, np.ndarray):
            data = make_data(data, None, name)
        elif not isinstance(data, Data):
            name, data = Path(data).name, load_data(data)
        self.model, self.name = model, name
        self.reference: Reference | None = None
        if model.float_path is not None:
            from .quantize.reference import load_reference

            self.reference = load_reference(model)
            self.inputs = self.reference.channels_last(data.x)
        else:
            self.inputs = _integer_inputs(model, data.x, name)
        last = model.layers[-1]
        classes = prod(last.output_shape)
        self.labels = data.y if classes > 1 and max(last.output_image[:2]) == 1 else None
        if self.labels is not None and int(self.labels.max()) >= classes:
            raise OptionError(f"{name}: y: expected classes in 0..{classes - 1}, got {int(self.labels.max())}")
        self.network = Network(model.layers)

    def numbers(self) -> Check:
        """Both networks on all samples."""
        gathered = _Gathered(self.model.layers, self.reference)
        count, fixed, floats = len(self.inputs), 0, 0
        for start, stop in _batches(self.model.layers, count):
            integers, outputs = _run(self.network, self.reference, self.inputs[start:stop], gathered)
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
        )

    def firmware(self, found: Check, plan: Plan) -> Check:
        """`found` with the firmware of `plan`, or with the reason why it could not be emulated."""
        count = max(1, min(len(self.inputs), EMULATED_SAMPLES, EMULATED_CYCLES // max(plan.totals["cycles"], 1)))
        integers = _quantised(self.reference, self.inputs[:count], self.model.layers[0])
        try:
            emulated = _emulate(plan, self.network, integers, None if self.labels is None else self.labels[:count])
        except MissingToolError as problem:
            return replace(found, not_emulated=str(problem))
        return replace(found, emulated=emulated)


def _integer_inputs(model: Model, x: np.ndarray, name: str) -> np.ndarray:
    from .quantize.reference import channels_last

    info = np.iinfo(model.layers[0].numpy_dtype)
    x = channels_last(x, model.input_shape, "NHWC")
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
    from .quantize.formats import to_integers

    return to_integers(x, reference.input_fraction, first.numpy_dtype)


def _answers(outputs: np.ndarray) -> np.ndarray:
    """The class of each sample: its largest output, the first if several are equal."""
    return outputs.reshape(len(outputs), -1).argmax(axis=1)


def _run(
    network: Network, reference: Reference | None, x: np.ndarray, gathered: _Gathered
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
    from .quantize import forward

    steps = forward.run(reference.layers, reference.arrays, x, reference.softmax_base)
    return {layer.name: output for layer, output in steps}


class _Noise:
    """Sums of squares of a signal and of an error."""

    def __init__(self) -> None:
        self.signal = self.noise = self.worst = 0.0

    def add(self, wanted: np.ndarray, got: np.ndarray) -> None:
        wanted = wanted.astype(np.float64).ravel()
        error = got.astype(np.float64).ravel() - wanted
        self.signal += float(wanted @ wanted)
        self.noise += float(error @ error)
        self.worst = max(self.worst, float(np.abs(error).max(initial=0)))

    @property
    def decibels(self) -> float | None:
        if not self.noise:
            return None
        return 10 * log10(self.signal / self.noise) if self.signal else -99.0


class _Gathered:
    """Everything that is counted, batch after batch."""

    def __init__(self, layers: Sequence[Layer], reference: Reference | None) -> None:
        self.layers, self.reference = layers, reference
        names = ["", *(layer.name for layer in layers)]
        dtype = layers[0].numpy_dtype
        self.bits = dtype.itemsize * 8
        self.histograms = {name: np.zeros(1 << self.bits, np.int64) for name in names}
        self.saturated = dict.fromkeys(names, 0)
        self.overflows = dict.fromkeys(names, 0)
        self.peaks = dict.fromkeys(names, 0)
        self.noise = {name: _Noise() for name in names}
        self.own = {name: _Noise() for name in names}

    def input(self, integers: np.ndarray, x: np.ndarray) -> None:
        self._count("", integers)
        if self.reference is not None:
            scaled = np.floor(np.ldexp(x.astype(np.float64), self.reference.input_fraction) + 0.5)
            self.saturated[""] += int((scaled != integers).sum())
            self.noise[""].add(x, np.ldexp(integers.astype(np.float64), -self.reference.input_fraction))

    def layer(self, layer: Layer, source: np.ndarray, output: np.ndarray, wanted: np.ndarray | None) -> None:
        self._count(layer.name, output)
        if layer.weights is not None:
            sums = accumulators(layer, source)
            self.peaks[layer.name] = max(self.peaks[layer.name], int(sums.max()), ~int(sums.min()))
            self.overflows[layer.name] += int((sums != wrapped(sums)).sum())
            self.saturated[layer.name] += self._clamped(layer, requantised(layer, sums))
        if wanted is not None and self._comparable(layer):
            assert self.reference is not None
            got = self.reference.dequantize(layer.name, output)
            self.noise[layer.name].add(wanted, got)
            self.own[layer.name].add(self._alone(layer, source), got)

    def _count(self, name: str, values: np.ndarray) -> None:
        self.histograms[name] += np.bincount(
            values.ravel().astype(np.int32) + (1 << (self.bits - 1)), minlength=1 << self.bits
        )

    def _clamped(self, layer: Layer, shifted: np.ndarray) -> int:
        info = np.iinfo(layer.numpy_dtype)
        clip = None if self.reference is None else self.reference.arrays.get(f"{layer.name}/clip")
        above = int((shifted > info.max).sum())
        if clip is not None and self.reference is not None:
            ends = np.floor(np.ldexp(float(clip), self.reference.fractions[layer.name]) + 0.5)
            above = 0 if ends >= info.max else above
        return above + (0 if layer.activation == "relu" else int((shifted < info.min).sum()))

    def _comparable(self, layer: Layer) -> bool:
        """CMSIS-NN's softmax is 2 ** integer, whatever an integer stands for: its values are no probabilities, unless
        they were made to be.
        """
        if layer.op != "softmax":
            return True
        assert self.reference is not None
        return self.reference.softmax_base == 2 and self._fraction_before(layer.name) == 0

    def _fraction_before(self, name: str) -> int:
        assert self.reference is not None
        index = [layer.name for layer in self.layers].index(name)
        if index == 0:
            return self.reference.input_fraction
        return self.reference.fractions[self.layers[index - 1].name]

    def _alone(self, layer: Layer, source: np.ndarray) -> np.ndarray:
        """The float layer, fed with what the fixed-point layer was fed."""
        from .quantize import forward

        assert self.reference is not None
        x = np.ldexp(source.astype(np.float64), -self._fraction_before(layer.name)).astype(np.float32)
        ((_, output),) = forward.run([layer], self.reference.arrays, x, self.reference.softmax_base)
        return output

    def result(self) -> tuple[TensorCheck, ...]:
        first = self._tensor("", "input", self.reference.input_fraction if self.reference else None)
        rest = [
            self._tensor(layer.name, layer.op, self.reference.fractions[layer.name] if self.reference else None, layer)
            for layer in self.layers
        ]
        return replace(first, name="input"), *rest

    def _tensor(self, name: str, op: str, fraction: int | None, layer: Layer | None = None) -> TensorCheck:
        histogram = self.histograms[name]
        present = np.flatnonzero(histogram) - (1 << (self.bits - 1))
        headroom = sure = None
        if layer is not None and layer.weights is not None:
            headroom, sure = _spare(self.peaks[name]), _spare(reach(layer))
        compared = self.reference is not None and (layer is None or self._comparable(layer))
        noise, own = self.noise[name], self.own[name]
        return TensorCheck(
            name=name,
            op=op,
            bits=self.bits,
            fraction=fraction,
            minimum=int(present[0]),
            maximum=int(present[-1]),
            quartiles=_quartiles(histogram),
            saturated=self.saturated[name],
            elements=int(histogram.sum()),
            overflows=self.overflows[name],
            headroom_bits=headroom,
            sure_bits=sure,
            snr_db=_rounded(noise.decibels) if compared else None,
            own_snr_db=_rounded(own.decibels) if compared and layer is not None else None,
            max_error=_significant(noise.worst) if compared else None,
            weights_fraction=self.reference.weights_fractions.get(name) if self.reference else None,
            bias_fraction=self.reference.bias_fractions.get(name) if self.reference else None,
        )


def _spare(peak: int) -> float:
    """Bits between a magnitude and the end of 32; negative beyond it."""
    return round(log2((LARGEST + 1) / max(peak, 1)), 2)


def _quartiles(histogram: np.ndarray) -> tuple[float, float, float]:
    half = len(histogram) // 2
    magnitudes = np.zeros(half + 1, np.int64)
    magnitudes[:half] += histogram[half:]
    magnitudes[1:] += histogram[half - 1 :: -1][:half]
    magnitudes[0] = 0
    total = int(magnitudes.sum())
    if not total:
        return 0.0, 0.0, 0.0
    sums = np.cumsum(magnitudes)
    low, middle, high = (log2(int(np.searchsorted(sums, (total - 1) * q // 4 + 1))) for q in (1, 2, 3))
    return low, middle, high


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 2)


def _significant(value: float) -> float:
    return float(f"{value:.6g}")


def _emulate(plan: Plan, network: Network, x: np.ndarray, labels: np.ndarray | None) -> EmulatedCheck:
    """Emit, compile and run the firmware on `x`, each output held against the Python kernels'."""
    import tuning

    from .emulate import Emulator, find_toolchain
    from .emulate.folder import compile_folder, load

    with tempfile.TemporaryDirectory(prefix="cmsisnn-x-") as folder:
        tuning.emit(plan, folder)
        machine = Emulator(compile_folder(load(Path(folder)), find_toolchain()), plan.target.core)
    wanted = network.run(x)
    got = np.empty_like(wanted)
    for sample, source in enumerate(x):
        machine.free_buffers()
        buffers = machine.buffer(source, writable=False), machine.buffer((~wanted[sample]).tobytes())
        machine.call(f"{plan.model}_run", buffers)
        got[sample] = np.frombuffer(machine.read(buffers[1]), got.dtype).reshape(got.shape[1:])
    equal = sum(bool(np.array_equal(a, b)) for a, b in zip(got, wanted, strict=True))
    accuracies = [None, None]
    if labels is not None:
        accuracies = [float((_answers(outputs) == labels).mean()) for outputs in (got, wanted)]
    return EmulatedCheck(len(x), equal, *accuracies)
