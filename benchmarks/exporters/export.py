# SPDX-License-Identifier: Apache-2.0
"""Files as the exporters that people use write them, with inputs and what the framework makes of these.

    python -m venv venv && venv/bin/pip install -r benchmarks/exporters/requirements.txt
    venv/bin/python benchmarks/exporters/export.py FOLDER              # each exporter that is installed
    venv/bin/python benchmarks/exporters/export.py FOLDER --only torch_dynamo,qdq_int8

TensorFlow and tf2onnx need an environment of their own (``requirements-tensorflow.txt``): run this script once in each.
For every file there is an ``.npz`` beside it: calibration data ``c0``, ``c1``, ..., inputs ``x0``, ... and outputs
``y0``, ... of the framework: PyTorch, Keras and scikit-learn in float; ONNX Runtime without optimisation and LiteRT's
reference kernels for quantised files. ``failed.json`` holds what an exporter could not do. ``--small`` makes the files
of ``tests/tuning/importers/exported``.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
if find_spec("tensorflow") is None:
    os.environ.setdefault("KERAS_BACKEND", "torch")
sys.path.insert(0, str(Path(__file__).parent))

import networks
import numpy as np

CALIBRATION, TESTS = 64, 32
QUANTISED = {
    "qdq_int8": ("QDQ", "QInt8", "QInt8", True),
    "qdq_uint8": ("QDQ", "QUInt8", "QInt8", False),
    "qoperator_int8": ("QOperator", "QInt8", "QInt8", False),
    "qoperator_uint8": ("QOperator", "QUInt8", "QUInt8", True),
}
"""Exporter -> format, types of activations and weights, a scale for each output channel."""

Arrays = list[np.ndarray]
Run = Callable[[Sequence[np.ndarray]], Arrays]


class Folder:
    """Where files go; an exporter's refusal is kept as its words."""

    def __init__(self, path: Path, only: Sequence[str] = (), small: bool = False) -> None:
        self.path, self.only, self.small = path, only, small
        self.counts = (16, 6) if small else (CALIBRATION, TESTS)
        path.mkdir(parents=True, exist_ok=True)
        self.failed: dict[str, str] = json.loads(self._log.read_text()) if self._log.exists() else {}

    @property
    def _log(self) -> Path:
        return self.path / "failed.json"

    def wants(self, exporter: str) -> bool:
        return not self.only or exporter in self.only

    def data(self, shapes: tuple[tuple[int, ...], ...]) -> tuple[Arrays, Arrays]:
        """For calibration, and for the comparison."""
        calibration, tests = self.counts
        return networks.inputs(shapes, calibration), networks.inputs(shapes, tests, networks.SEED + 1)

    def file(self, network: str, exporter: str, suffix: str = "onnx") -> Path:
        return self.path / f"{network}.{exporter}.{suffix}"

    def keep(self, file: Path, make: Callable[[], None], calibration: Arrays, tests: Arrays, run: Run) -> bool:
        """Make a file, run the framework on `tests`, one sample at a time, and write what it gives."""
        try:
            make()
            if self.small and file.suffix == ".onnx":
                _without_places(file)
            ran = [run([x[at : at + 1] for x in tests]) for at in range(len(tests[0]))]
        except Exception as problem:  # exporters raise whatever they like
            self.failed[file.name] = f"{type(problem).__name__}: {problem}".strip().splitlines()[0][:300]
            file.unlink(missing_ok=True)
        else:
            self.failed.pop(file.name, None)
            arrays = {f"c{at}": x for at, x in enumerate(calibration)} | {f"x{at}": x for at, x in enumerate(tests)}
            arrays |= {f"y{at}": np.concatenate(values) for at, values in enumerate(zip(*ran, strict=True))}
            np.savez_compressed(file.with_suffix(".npz"), **arrays)
        self._log.write_text(json.dumps(self.failed, indent=1, sort_keys=True))
        print(file.name, self.failed.get(file.name, "written"), flush=True)
        return file.exists()


def _without_places(file: Path) -> None:
    """PyTorch writes where on this machine each node was made, which is most of a small file."""
    import onnx

    model = onnx.load(file)
    graph = model.graph
    for part in (model, graph, *graph.node, *graph.value_info, *graph.input, *graph.output):
        del part.metadata_props[:]
        part.ClearField("doc_string")
    onnx.save(model, file)


# -- PyTorch --------------------------------------------------------------------------------------------------------


def torch_models(small: bool) -> Iterator[tuple[str, Any, tuple[tuple[int, ...], ...]]]:
    import torch

    made = networks.small_torch_networks() if small else networks.torch_networks()
    for name, (build, shapes) in made.items():
        torch.manual_seed(networks.SEED)
        model = build()
        for part in model.modules():  # as after training: statistics that say something
            if isinstance(part, torch.nn.modules.batchnorm._BatchNorm):
                part.running_mean.normal_(0, 0.3)
                part.running_var.uniform_(0.5, 2)
                torch.nn.init.uniform_(part.weight, 0.5, 1.5)
                torch.nn.init.normal_(part.bias, 0, 0.2)
        yield name, model.eval(), shapes


def from_torch(folder: Folder) -> None:
    import torch

    def run_of(model: Any) -> Run:
        def run(given: Sequence[np.ndarray]) -> Arrays:
            with torch.no_grad():
                found = model(*map(torch.from_numpy, given))
            return [one.numpy() for one in (found if isinstance(found, tuple) else (found,))]

        return run

    for name, model, shapes in torch_models(folder.small):
        calibration, tests = folder.data(shapes)
        given = tuple(torch.from_numpy(x[:1]) for x in calibration)
        for exporter, dynamo in (("torch_script", False), ("torch_dynamo", True)):
            file = folder.file(name, exporter)

            def export(file: Path = file, dynamo: bool = dynamo, model: Any = model, given: Any = given) -> None:
                more = {"external_data": False} if dynamo else {}
                torch.onnx.export(model, given, str(file), dynamo=dynamo, verbose=False, **more)

            if folder.wants(exporter):
                folder.keep(file, export, calibration, tests, run_of(model))
        if folder.wants("litert_torch") and find_spec("litert_torch"):
            file = folder.file(name, "litert_torch", "tflite")

            def convert(file: Path = file, model: Any = model, given: Any = given) -> None:
                import litert_torch

                litert_torch.convert(model, given).export(str(file))

            folder.keep(file, convert, calibration, tests, run_of(model))


# -- ONNX Runtime's and LiteRT's quantisers -------------------------------------------------------------------------


def from_quantize_static(folder: Folder) -> None:
    import onnxruntime
    from onnxruntime import quantization as q
    from onnxruntime.quantization.shape_inference import quant_pre_process

    onnxruntime.set_default_logger_severity(3)
    sources = [*sorted(folder.path.glob("*.torch_script.onnx")), *sorted(folder.path.glob("*.keras.onnx"))]
    for source in sources:
        network = source.name.partition(".")[0]
        stored = np.load(source.with_suffix(".npz"))
        calibration, tests = ([stored[key] for key in sorted(stored) if key[0] == kind] for kind in "cx")
        for exporter, how in QUANTISED.items():
            file = folder.file(network, exporter)

            class Reader(q.CalibrationDataReader):
                def __init__(self, path: Path = source, arrays: Arrays = calibration) -> None:
                    names = [item.name for item in onnxruntime.InferenceSession(str(path)).get_inputs()]
                    rows = [[x[at : at + 1] for x in arrays] for at in range(len(arrays[0]))]
                    self.samples = iter([dict(zip(names, row, strict=True)) for row in rows])

                def get_next(self) -> Any:
                    return next(self.samples, None)

            def quantise(file: Path = file, source: Path = source, how: Any = how) -> None:
                kind, activations, weights, per_channel = how
                prepared = file.with_suffix(".prepared")
                # Symbolic shapes end in an error on convolutions over time of Keras; plain ones do for fixed sizes.
                quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
                q.quantize_static(
                    str(prepared), str(file), Reader(), quant_format=q.QuantFormat[kind], per_channel=per_channel,
                    activation_type=q.QuantType[activations], weight_type=q.QuantType[weights],
                    extra_options={"WeightSymmetric": True},
                )  # fmt: skip
                prepared.unlink()

            if folder.wants(exporter):
                folder.keep(file, quantise, calibration, tests, onnx_runtime(file))


def onnx_runtime(file: Path) -> Run:
    """Without optimisation: on x86 without VNNI a session as it comes computes QDQ of int8 with sums that saturate."""
    import onnxruntime

    found: list[Any] = []

    def run(given: Sequence[np.ndarray]) -> Arrays:
        if not found:
            options = onnxruntime.SessionOptions()
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
            options.intra_op_num_threads = 1
            found.append(onnxruntime.InferenceSession(str(file), options))
        names = [item.name for item in found[0].get_inputs()]
        return [np.asarray(one) for one in found[0].run(None, dict(zip(names, given, strict=True)))]

    return run


def from_ai_edge_quantizer(folder: Folder) -> None:
    from ai_edge_litert import interpreter as lite
    from ai_edge_quantizer import quantizer, recipe

    for source in sorted(folder.path.glob("*.litert_torch.tflite")):
        network = source.name.partition(".")[0]
        stored = np.load(source.with_suffix(".npz"))
        calibration, tests = ([stored[key] for key in sorted(stored) if key[0] == kind] for kind in "cx")
        file = folder.file(network, "ai_edge_quantizer", "tflite")

        def quantise(file: Path = file, source: Path = source, arrays: Arrays = calibration) -> None:
            runner = lite.Interpreter(str(source)).get_signature_runner()
            names = list(runner.get_input_details())
            samples = [dict(zip(names, [x[at : at + 1] for x in arrays], strict=True)) for at in range(len(arrays[0]))]
            work = quantizer.Quantizer(str(source))
            work.load_quantization_recipe(recipe.static_wi8_ai8())
            key = next(iter(lite.Interpreter(str(source)).get_signature_list()))
            file.write_bytes(bytes(work.quantize(work.calibrate({key: samples})).quantized_model))

        folder.keep(file, quantise, calibration, tests, lite_rt(file))


def lite_rt(file: Path) -> Run:
    """LiteRT's reference kernels, on integers; inputs and outputs in the order of the file's signature."""
    from ai_edge_litert import interpreter as lite

    found: list[Any] = []

    def run(given: Sequence[np.ndarray]) -> Arrays:
        if not found:
            resolver = lite.OpResolverType.BUILTIN_REF
            interpreter = lite.Interpreter(str(file), experimental_op_resolver_type=resolver, num_threads=1)
            found.extend([interpreter, interpreter.get_signature_runner()])
        runner = found[1]
        integers = {}
        for x, (name, detail) in zip(given, runner.get_input_details().items(), strict=True):
            scale, zero = detail["quantization"]
            limits = np.iinfo(detail["dtype"])
            integers[name] = np.clip(np.rint(x / scale) + zero, limits.min, limits.max).astype(detail["dtype"])
        outputs, details = runner(**integers), runner.get_output_details()
        real = []
        for name in sorted(outputs):
            scale, zero = details[name]["quantization"]
            real.append((outputs[name].astype(np.float32) - zero) * np.float32(scale))
        return real

    return run


# -- Keras, TensorFlow, scikit-learn --------------------------------------------------------------------------------


def from_keras(folder: Folder) -> None:
    import keras

    is_tensorflow = keras.backend.backend() == "tensorflow"
    exporter = "tf2onnx" if is_tensorflow else "keras"
    made = networks.small_keras_networks() if folder.small else networks.keras_networks()
    for name, (build, shapes) in made.items():
        keras.utils.set_random_seed(networks.SEED)
        model = build()
        calibration, tests = folder.data(shapes)
        for layer in model.layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                rng = np.random.default_rng(networks.SEED)
                layer.set_weights([rng.uniform(0.5, 1.5, value.shape) for value in layer.get_weights()])
        file = folder.file(name, exporter)

        def export(file: Path = file, model: Any = model, shapes: Any = shapes) -> None:
            if not is_tensorflow:
                model(np.zeros((1, *shapes[0][1:]), np.float32))  # a model that was never called is refused
                model.export(str(file), format="onnx", verbose=False)
                return
            import tensorflow
            import tf2onnx

            given = [tensorflow.TensorSpec((None, *shape[1:]), tensorflow.float32, name="x") for shape in shapes]
            function = tensorflow.function(lambda x: model(x), input_signature=given)
            tf2onnx.convert.from_function(function, given, opset=18, output_path=str(file))

        def run(given: Sequence[np.ndarray], model: Any = model) -> Arrays:
            return [np.asarray(keras.ops.convert_to_numpy(model(given[0])))]

        if folder.wants(exporter):
            folder.keep(file, export, calibration, tests, run)


def from_sklearn(folder: Folder) -> None:
    from skl2onnx import to_onnx

    made = networks.sklearn_networks()
    for name, build in ({"sk_mlp_classifier": made["sk_mlp_classifier"]} if folder.small else made).items():
        estimator, x = build()
        count, tests_count = folder.counts
        calibration, tests = x[:count], x[count : count + tests_count]
        kinds: dict[str, dict[str, Any]] = {"skl2onnx": {}}
        if hasattr(estimator, "predict_proba"):
            kinds["skl2onnx_no_zipmap"] = {"options": {id(estimator): {"zipmap": False}}}
        for exporter, more in kinds.items():
            file = folder.file(name, exporter)

            def export(file: Path = file, estimator: Any = estimator, x: Any = x, more: Any = more) -> None:
                file.write_bytes(to_onnx(estimator, x[:1], **more).SerializeToString())

            def run(given: Sequence[np.ndarray], estimator: Any = estimator) -> Arrays:
                way = getattr(estimator, "predict_proba", estimator.predict)
                return [np.asarray(way(given[0]), np.float32).reshape(1, -1)]

            if folder.wants(exporter):
                folder.keep(file, export, [calibration], [tests], run)


WAYS = {
    "torch": from_torch,
    "keras": from_keras,
    "skl2onnx": from_sklearn,
    "onnxruntime": from_quantize_static,
    "ai_edge_quantizer": from_ai_edge_quantizer,
}
"""What must be installed, in an order in which what is quantised is there before."""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", default="", help="exporters, by commas; default: all that are installed")
    parser.add_argument("--small", action="store_true", help="the files of the tests")
    options = parser.parse_args()
    folder = Folder(options.folder, [name for name in options.only.split(",") if name], options.small)
    warnings.simplefilter("ignore")
    for package, way in WAYS.items():
        if find_spec(package) is not None:
            way(folder)


if __name__ == "__main__":
    main()
