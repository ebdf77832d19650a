# SPDX-License-Identifier: Apache-2.0
"""ONNX's own backend tests through both readers: ``PYTHONPATH=tests python -P -m helpers.onnx_backend [NAME ...]``.

Every test of the package `onnx` is read as a float network (``cmsisnn-quantize``) and, with QuantizeLinear and
DequantizeLinear around its tensors, as a quantised one (``cmsisnn-tune``). The tests give weights, shapes and limits as
inputs of the graph; where that is refused, they are made constants, as exporters write them. What is taken must be
right within quantisation error: an output may be off by what rounding inputs and weights to 8 bits does to the
operator itself, as ONNX's evaluator computes it, and a few steps of the output.
"""

from __future__ import annotations

import argparse
import re
import tempfile
import warnings
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.version_converter
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

import tuning
from tuning.base.errors import ModelError, TuningError
from tuning.importers.float_network import FloatNetwork
from tuning.importers.onnx import file as onnx_file
from tuning.importers.onnx.quantised import reader as onnx_quantised
from tuning.model import Model
from tuning.quantize import FloatGraph, quantize_graph
from tuning.quantize.source import FloatSource

KINDS = ("node", "simple", "pytorch-operator", "pytorch-converted")
STEPS = 2.0
"""Of the output, that rounding may cost beyond what the inputs' rounding does."""
DRAWS = 12
CONVERTED = 17
"""The operator set of tests that are older than both readers take."""
WEIGHTED = {"Conv": (1,), "Gemm": (1,), "MatMul": (1,), "ConvTranspose": (1,)}
"""Inputs that are weights: quantised around 0."""
AVERAGES = ("AveragePool", "GlobalAveragePool", "ReduceMean")
VERDICTS = ("taken", "refused", "wrong", "crashed", "no floats")
QUANTISED = ("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "MatMulInteger", "ConvInteger")

Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class Case:
    """One backend test: a graph, and its first set of data by name."""

    name: str
    proto: onnx.ModelProto
    given: Arrays
    wanted: tuple[np.ndarray, ...]

    @property
    def operators(self) -> tuple[str, ...]:
        names = (f"{node.domain}.{node.op_type}" if node.domain else node.op_type for node in self.proto.graph.node)
        return tuple(dict.fromkeys(names))


@dataclass(frozen=True)
class Outcome:
    """What became of a case. `verdict` is ``taken``, ``refused``, ``wrong``, ``crashed``, or ``no floats``, where an
    end of the graph has integers, text, sequences, or nothing at all.
    """

    case: str
    operators: tuple[str, ...]
    verdict: str
    text: str = ""


@cache
def cases() -> tuple[Case, ...]:
    """Every test whose data are arrays, in the package's order."""
    from onnx.backend.test.loader import load_model_tests

    found = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for kind in KINDS:
            for test in load_model_tests(kind=kind):
                proto, data = (test.model, test.data_sets) if test.model is not None else _stored(test.model_dir)
                proto = _newer(proto)
                if data and all(isinstance(value, np.ndarray) for side in data[0] for value in side):
                    stored = {item.name for item in proto.graph.initializer}
                    names = [item.name for item in proto.graph.input if item.name not in stored]
                    given = dict(zip(names, data[0][0], strict=False))
                    name = test.name if kind == "node" else f"{kind}/{test.name}"
                    found.append(Case(name, proto, given, tuple(data[0][1])))
    return tuple(found)


def _newer(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Of an operator set that both readers take, as their message on older ones says to do."""
    version = {item.domain: item.version for item in proto.opset_import}.get("", onnx_file.OLDEST_OPSET)
    if version >= onnx_file.OLDEST_OPSET:
        return proto
    try:
        return onnx.version_converter.convert_version(proto, CONVERTED)
    except (RuntimeError, onnx.checker.ValidationError):  # operators that it does not know
        return proto


def _stored(folder: str) -> tuple[onnx.ModelProto, list[Any]]:
    proto = onnx.load(Path(folder, "model.onnx"))
    sides = []
    for side, ports in (("input", proto.graph.input), ("output", proto.graph.output)):
        values = []
        for at, port in enumerate(ports):
            path = Path(folder, "test_data_set_0", f"{side}_{at}.pb")
            if not path.exists():
                break
            if port.type.WhichOneof("value") != "tensor_type":
                return proto, []
            tensor = onnx.TensorProto()
            tensor.ParseFromString(path.read_bytes())
            values.append(numpy_helper.to_array(tensor))
        sides.append(values)
    return proto, [tuple(sides)]


def is_quantised(case: Case) -> bool:
    return any(op in QUANTISED or op.startswith("QLinear") for op in case.operators)


# -- graphs made of a test's ----------------------------------------------------------------------------------------


def _model(case: Case, graph: onnx.GraphProto) -> onnx.ModelProto:
    made = onnx.ModelProto()
    made.CopyFrom(case.proto)
    made.graph.CopyFrom(graph)
    return made


def with_constants(case: Case) -> Case:
    """The first input stays; the others become constants."""
    graph = onnx.GraphProto()
    graph.CopyFrom(case.proto.graph)
    first, *others = case.given
    for item in reversed([item for item in graph.input if item.name in others]):
        graph.input.remove(item)
    graph.initializer.extend(numpy_helper.from_array(case.given[name], name) for name in others)
    return Case(case.name, _model(case, graph), {first: case.given[first]}, case.wanted)


def _numbers(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scale and zero point of int8 that span `values` and 0."""
    low, high = min(float(values.min(initial=0)), 0.0), max(float(values.max(initial=0)), 0.0)
    scale = np.float32((high - low) / 255 or 1 / 128)
    return np.asarray(scale), np.asarray(np.int8(np.clip(np.rint(-128 - low / scale), -128, 127)))


@dataclass(frozen=True, eq=False)
class Between:
    """A case whose float tensors are between integers: the file, the inputs quantised, and the weights."""

    file: Case
    plain: Case
    floats: tuple[str, ...]
    weights: frozenset[str]


def between_integers(case: Case) -> Between | None:
    """QuantizeLinear and DequantizeLinear around the float tensors; None where there are none at both ends."""
    graph = onnx.GraphProto()
    graph.CopyFrom(case.proto.graph)
    floats = [name for name, value in case.given.items() if value.dtype == np.float32 and value.size]
    if not _floats(case):
        return None
    stored = {item.name: numpy_helper.to_array(item) for item in graph.initializer}
    kept = list(graph.node)
    front, back = [], []
    for name in floats:
        front += _pair(graph, name, f"{name}_dq", *_numbers(case.given[name]))
    taken = {name: f"{name}_dq" for name in floats}
    for node in kept:
        for place in WEIGHTED.get(node.op_type, ()):
            weights = node.input[place] if place < len(node.input) else ""
            if weights in stored and weights not in taken and stored[weights].dtype == np.float32:
                front += _weights(graph, weights, stored[weights])
                taken[weights] = f"{weights}_dq"
    for node in kept:
        node.input[:] = [taken.get(name, name) for name in node.input]
        node.output[:] = [f"{name}_raw" if _is_output(graph, name) else name for name in node.output]
    for node in kept:
        node.input[:] = [f"{name}_raw" if _is_output(graph, name) else name for name in node.input]
    for port, value in zip(graph.output, case.wanted, strict=True):
        back += _pair(graph, f"{port.name}_raw", port.name, *_numbers(value))
    del graph.node[:]
    graph.node.extend([*front, *kept, *back])
    made = Case(case.name, _model(case, graph), case.given, case.wanted)
    return Between(made, case, tuple(floats), frozenset(taken))


def at_scales(between: Between) -> tuple[np.ndarray, ...]:
    """What the graph gives for inputs and weights at their scales, without the nodes around its tensors: ONNX's
    evaluator has those of newer operator sets only.
    """
    case = between.plain
    proto = onnx.ModelProto()
    proto.CopyFrom(case.proto)
    for item in proto.graph.initializer:
        if item.name in between.weights:
            values = numpy_helper.to_array(item)
            scale = _weights_scale(values)
            item.CopyFrom(numpy_helper.from_array((np.rint(values / scale) * scale).astype(np.float32), item.name))
    given = dict(case.given)
    for name in between.floats:
        scale, zero = (value.astype(np.float32) for value in _numbers(given[name]))
        integers = np.clip(np.rint(given[name] / scale) + zero, -128, 127)
        given[name] = ((integers - zero) * scale).astype(np.float32)
    found = ReferenceEvaluator(proto).run(None, given)
    ends = [_numbers(value) for value in case.wanted]
    # What leaves the range of the output is cut off.
    return tuple(
        np.clip(value, (-128 - zero.astype(int)) * scale, (127 - zero.astype(int)) * scale)
        for value, (scale, zero) in zip(found, ends, strict=True)
    )


def _weights_scale(values: np.ndarray) -> np.float32:
    return np.float32(np.abs(values).max(initial=0) / 127 or 1)


def _floats(case: Case) -> bool:
    """Whether there are finite floats at both ends of the graph."""
    inputs = [value for value in case.given.values() if value.dtype == np.float32]
    return bool(inputs) and all(
        value.dtype == np.float32 and value.size and np.isfinite(value).all() for value in [*inputs, *case.wanted]
    )


def _is_output(graph: onnx.GraphProto, name: str) -> bool:
    return bool(name) and any(port.name == name for port in graph.output)


def _pair(graph: onnx.GraphProto, x: str, y: str, scale: np.ndarray, zero: np.ndarray) -> list[onnx.NodeProto]:
    numbers = [f"{y}_scale", f"{y}_zero"]
    graph.initializer.extend(numpy_helper.from_array(*pair) for pair in zip((scale, zero), numbers, strict=True))
    return [
        helper.make_node("QuantizeLinear", [x, *numbers], [f"{y}_q"], name=f"{y}_QuantizeLinear"),
        helper.make_node("DequantizeLinear", [f"{y}_q", *numbers], [y], name=f"{y}_DequantizeLinear"),
    ]


def _weights(graph: onnx.GraphProto, name: str, values: np.ndarray) -> list[onnx.NodeProto]:
    scale = _weights_scale(values)
    numbers = np.rint(values / scale).astype(np.int8)
    made = {f"{name}_q": numbers, f"{name}_scale": np.asarray(scale), f"{name}_zero": np.asarray(np.int8(0))}
    graph.initializer.extend(numpy_helper.from_array(value, key) for key, value in made.items())
    return [helper.make_node("DequantizeLinear", list(made), [f"{name}_dq"], name=f"{name}_DequantizeLinear")]


# -- the judge ------------------------------------------------------------------------------------------------------


def last(values: np.ndarray) -> np.ndarray:
    """Channels last."""
    return np.moveaxis(values, 1, -1)


def allowance(case: Case, scales: Mapping[str, float]) -> list[np.ndarray]:
    """By how much each output moves when inputs move by half a step of their scale and weights by half of theirs."""
    rng = np.random.default_rng(0)
    names = [item.name for item in case.proto.graph.initializer]
    stored = {item.name: numpy_helper.to_array(item) for item in case.proto.graph.initializer}
    steps = dict(scales)
    for name, values in stored.items():
        if values.dtype == np.float32 and values.size > 1:
            steps[name] = float(np.abs(values).max()) / 128
    moved = [np.zeros(value.shape) for value in case.wanted]
    for _ in range(DRAWS):
        proto = onnx.ModelProto()
        proto.CopyFrom(case.proto)
        given = dict(case.given)
        for name, step in steps.items():
            values = given[name] if name in given else stored[name]
            noise = rng.choice([-0.5, 0.5, 0.0], values.shape) * step
            values = (values + noise).astype(values.dtype)
            if name in given:
                given[name] = values
            else:
                proto.graph.initializer[names.index(name)].CopyFrom(numpy_helper.from_array(values, name))
        for most, found, value in zip(moved, ReferenceEvaluator(proto).run(None, given), case.wanted, strict=True):
            np.maximum(most, np.abs(np.asarray(found, np.float64) - value), out=most)
    # Biases take up mean errors of weights, in elements too that no weight reaches.
    return [np.maximum(most, most.mean()) for most in moved]


def judged(case: Case, outputs: Sequence[np.ndarray], steps: Sequence[float], allowed: Sequence[np.ndarray]) -> str:
    """What is wrong with outputs in the file's order; empty if nothing is."""
    for at, (found, step, value, more) in enumerate(zip(outputs, steps, case.wanted, allowed, strict=True)):
        if found.size != value.size:
            return f"output {at}: {found.size} numbers for {value.size}"
        off = np.abs(found.reshape(value.shape) - value)
        limit = STEPS * step + 2 * more
        if (off > limit).any():
            worst = np.unravel_index(int(np.argmax(off - limit)), value.shape)
            return (
                f"output {at}: {(off > limit).sum()} of {off.size} beyond quantisation error, at {[*map(int, worst)]} "
                f"{found.reshape(value.shape)[worst]:.4g} for {value[worst]:.4g}, steps of {step:.3g}"
            )
    return ""


def ran(model: Model, case: Case, channels_last: Collection[str]) -> list[np.ndarray]:
    """The network's outputs in real numbers, in the file's order, for arrays in the file's shapes."""
    integers = []
    for (name, values), port in zip(case.given.items(), model.inputs, strict=True):
        limits = np.iinfo(port.dtype)
        if values.dtype != port.dtype:
            values = np.clip(np.rint(values / np.float32(port.scale)) + port.zero_point, limits.min, limits.max)
        values = last(values) if name in channels_last else values
        integers.append(values.astype(port.dtype).reshape(port.shape))
    found = model.network().run(tuple(integers) if len(integers) > 1 else integers[0])
    found = found if isinstance(found, tuple) else (found,)
    outputs = []
    for one, port, item, value in zip(found, model.outputs, case.proto.graph.output, case.wanted, strict=True):
        real = (np.asarray(one, np.float64) - port.zero_point) * np.float64(port.scale)
        if item.name in channels_last:
            real = np.moveaxis(real.reshape(last(value).shape), -1, 1)
        outputs.append(real)
    return outputs


# -- both readers ---------------------------------------------------------------------------------------------------


def as_float(case: Case, scheme: str = "int8") -> Outcome:
    """Quantised by ``cmsisnn-quantize``, calibrated on the test's own input."""
    ways = [case] if len(case.given) < 2 else [case, with_constants(case)]
    tries = [one for one in ways if _floats(one) or is_quantised(one)]
    return _first(case, [lambda folder, one=one: _float(one, scheme, folder) for one in tries])


def _float(case: Case, scheme: str, folder: Path) -> str:
    path = folder / "case.onnx"
    onnx.save(case.proto, path)
    if len(case.given) != 1 or len(case.wanted) != 1:
        return _graph(FloatSource(path).network(scheme), case, scheme)
    x = next(iter(case.given.values()))
    data = x if x.ndim > 1 else x[None]
    network = FloatSource(path).network(scheme)
    if isinstance(network, FloatGraph):
        return _graph(network, case, scheme)
    result = tuning.quantize(network, data, scheme, ranges="minmax")
    model = result.model
    (name,) = case.given
    scale = model.inputs[0].scale
    assert scale is not None
    samples = result.twin.channels_last(data)
    found = result.outputs(samples)
    if found.ndim == 4 and result.network.output_layout == "NCHW":
        found = found.transpose(0, 3, 1, 2)
    (value,) = case.wanted
    if case.operators == ("LogSoftmax",):  # said in the notes: the probabilities, which are in the same order
        value = np.exp(value)
    case = Case(case.name, case.proto, case.given, (value,))
    allowed = allowance(case, {name: scale})
    return judged(case, [found], [model.outputs[0].scale], allowed)


def as_graph(case: Case, scheme: str = "int8") -> Outcome:
    """The same, sequential or not, as a graph."""
    ways = [case] if len(case.given) < 2 else [case, with_constants(case)]
    tries = [one for one in ways if _floats(one) or is_quantised(one)]
    return _first(case, [lambda folder, one=one: _as_graph(one, scheme, folder) for one in tries])


def _as_graph(case: Case, scheme: str, folder: Path) -> str:
    path = folder / "case.onnx"
    onnx.save(case.proto, path)
    return _graph(FloatSource(path).network(scheme, as_graph=True), case, scheme)


def _graph(network: FloatNetwork | FloatGraph, case: Case, scheme: str) -> str:
    assert isinstance(network, FloatGraph)
    # Samples of a batch are samples of their own.
    counts = {len(value) for value in case.given.values()}
    if len(counts) > 1:
        raise ModelError(f"{case.operators}: inputs of several batches")
    result = quantize_graph(network, dict(case.given), scheme=scheme, ranges="minmax")
    found = result.runnable.run(result.samples_of(dict(case.given)).inputs)
    scales = {name: result.scales[result.points.group[name]].scale for name in case.given}
    wanted = [np.exp(value) if case.operators == ("LogSoftmax",) else value for value in case.wanted]
    judge = Case(case.name, case.proto, case.given, tuple(wanted))
    steps = [port.scale for port in result.model.outputs]
    return judged(judge, [found[name] for name in network.network.outputs], steps, allowance(judge, scales))


def as_quantised(case: Case) -> Outcome:
    """Between QuantizeLinear and DequantizeLinear, or as it is where it is quantised itself."""
    ways = [case] if len(case.given) < 2 else [case, with_constants(case)]
    made = ways if is_quantised(case) else [one for way in ways if (one := between_integers(way)) is not None]
    return _first(case, [lambda folder, one=one: _quantised(one, folder) for one in made])


def _quantised(made: Case | Between, folder: Path) -> str:
    case = made.file if isinstance(made, Between) else made
    path = folder / "case.onnx"
    onnx.save(case.proto, path)
    model = tuning.load_model(path)
    found = ran(model, case, onnx_quantised.read(path).channels_last)
    given = at_scales(made) if isinstance(made, Between) else case.wanted
    wanted = [
        value if value.dtype.kind == "f" else (value.astype(np.float64) - port.zero_point) * port.scale
        for value, port in zip(given, model.outputs, strict=True)
    ]
    # An average is rounded at its input's scale before it is at its output's, a softmax at 1/256.
    coarse = max(port.scale or 0 for port in model.inputs) / 4 if set(case.operators) & set(AVERAGES) else 0.0
    coarse = max(coarse, 2**-10 if "Softmax" in case.operators else 0)
    exact = Case(case.name, case.proto, case.given, tuple(wanted))
    steps = [port.scale for port in model.outputs]
    return judged(exact, found, steps, [np.full(value.shape, coarse) for value in wanted])


def _first(case: Case, tries: Sequence[Any]) -> Outcome:
    """The first way that is taken, else the last refusal."""
    if not tries:
        return Outcome(case.name, case.operators, "no floats")
    said = ""
    for one in tries:
        with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            try:
                wrong = one(Path(folder))
            except TuningError as problem:
                said = str(problem).replace(folder, "").removeprefix("/")
                continue
            except Exception as problem:
                return Outcome(case.name, case.operators, "crashed", f"{type(problem).__name__}: {problem}")
        return Outcome(case.name, case.operators, "wrong" if wrong else "taken", wrong)
    return Outcome(case.name, case.operators, "refused", said)


GROUPS = {
    "an operator that is not claimed": r"no kernel for it|operator is not supported",
    "a graph of constants, or of no layer": r"does not depend on the input|at least one layer|got a constant",
    "no batch axis: vectors, numbers": r"expected a batch first and then fixed sizes, got \[\d*\]",
    "open sizes, several inputs or outputs": r"expected (one|a batch first)",
    "used twice": r"must be sequential|which together are",
    "an operator set before 7, or another domain's alone": r"expected opset|expected standard ONNX operators",
    "a claimed operator in a form that is not taken, by name": r"",
}
"""Reasons of refusals, the first that fits."""


def table(found: Sequence[Outcome]) -> str:
    """Counts of one reader."""
    counts = Counter(one.verdict for one in found)
    reasons = Counter(
        next(group for group, pattern in GROUPS.items() if re.search(pattern, one.text))
        for one in found
        if one.verdict == "refused"
    )
    operators = Counter(one.operators[-1] for one in found if one.verdict == "taken")
    lines = [", ".join(f"{counts[verdict]} {verdict}" for verdict in VERDICTS)]
    lines += [f"  refused {count}: {group}" for group, count in reasons.most_common()]
    return "\n".join([*lines, f"  taken: {', '.join(f'{name} {count}' for name, count in sorted(operators.items()))}"])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*", help="parts of tests' names; default: all")
    parser.add_argument("--verbose", action="store_true", help="every test, with the refusal's words")
    parser.add_argument("--reader", choices=("float", "graph", "quantised"))
    parser.add_argument("--scheme", choices=("int8", "int16x8"), default="int8", help="of float networks")
    options = parser.parse_args()
    picked = [case for case in cases() if not options.names or any(name in case.name for name in options.names)]
    readers = {
        "float": lambda case: as_float(case, options.scheme), "graph": lambda case: as_graph(case, options.scheme),
        "quantised": as_quantised,
    }  # fmt: skip
    for reader, way in readers.items():
        if options.reader not in (None, reader):
            continue
        found = [way(case) for case in picked]
        print(f"{reader}: {len(found)} tests: {table(found)}")
        for one in found:
            if one.verdict in ("wrong", "crashed") or options.verbose:
                print(f"{one.verdict:8} {one.case}: {one.text}")


if __name__ == "__main__":
    main()
