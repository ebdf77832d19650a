# SPDX-License-Identifier: Apache-2.0
"""The same layers and networks by this package, LiteRT with XNNPACK, ONNX Runtime and NumPy: one thread, one process.

    python benchmarks/peers.py                            # all that this processor has
    python benchmarks/peers.py --avx2                     # as on a processor without AVX-512, AVX-VNNI and AMX: Linux
    python benchmarks/peers.py --only network FILE...     # other .tflite networks

Times are medians and include each library's Python call; libraries take turns of a fraction of a millisecond, and `x`
is the median of the quotients of neighbouring turns. int8 everywhere, with scales of powers of two (q7) or any (int8).
ONNX Runtime gets unsigned activations, its fast path, whose sums saturate where there is no VNNI. NumPy multiplies
float32: im2col and sgemm only. What is not installed, has no such operator, or gives other outputs is named at the end.
"""

# ruff: noqa: E402  (BLAS reads its thread count when NumPy is imported)
from __future__ import annotations

import os

for name in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS"):
    os.environ[name] = "1"

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from benchmarks.mlperf import NETWORKS
from benchmarks.onnx_writer import OnnxWriter
from benchmarks.paper import LAYERS, POOLS, draw, macs, of_bytes, paper_network, trained

import tuning
from cmsisnn_x import Network, _simd
from cmsisnn_x.affine import Affine
from cmsisnn_x.layers import Layer
from tuning.importers.tflite.build import FileBuilder
from tuning.importers.tflite.writer import write

Run = Callable[[], np.ndarray]
PAIRS = 9
"""Turns that every library has at least."""
TURN = 4e-4
"""Seconds of one."""


@dataclass(eq=False)
class Case:
    """A chain of layers, or a file."""

    layers: list[Layer]
    file: bytes | None = None

    @cached_property
    def network(self) -> Network:
        if self.file is None:
            return Network(self.layers)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "network.tflite"
            path.write_bytes(self.file)
            return tuning.load_model(path).network()

    @cached_property
    def x(self) -> np.ndarray:
        return draw("x", self.network.input_shape, "q7")

    @property
    def macs(self) -> int:
        return macs(list(self.network.layers))


def ours(case: Case) -> Run:
    network, x = case.network, case.x
    return lambda: network.run(x)


def by_numpy(case: Case) -> Run | None:
    if len(case.layers) != 1 or case.layers[0].op not in ("conv2d", "fully_connected"):
        return None
    (layer,) = case.layers
    assert layer.weights is not None
    weights = layer.weights.reshape(len(layer.weights), -1).T.astype(np.float32)
    if layer.op == "fully_connected":
        vector = case.x.reshape(1, -1).astype(np.float32)
        return lambda: vector @ weights
    image = np.pad(case.x.astype(np.float32), (*layer.padding, (0, 0)))

    def run() -> np.ndarray:
        windows = np.lib.stride_tricks.sliding_window_view(image, layer.kernel, axis=(0, 1))
        return windows.transpose(0, 1, 3, 4, 2).reshape(-1, len(weights)) @ weights

    return run


def by_onnx_runtime(case: Case) -> Run:
    import onnxruntime

    onnxruntime.set_default_logger_severity(3)
    written = OnnxWriter(case.network.graph)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    model, providers = written.model.SerializeToString(), ["CPUExecutionProvider"]
    session = onnxruntime.InferenceSession(model, options, providers=providers)
    feed = {session.get_inputs()[0].name: written.unsigned(case.x)}
    compare(case, "ONNX Runtime", written.signed(session.run(None, feed)[0]))
    return lambda: session.run(None, feed)[0]


def tflite_chain(layers: list[Layer]) -> bytes:
    """Activations at scale 1/128; weights at 2^-out_shift per channel, or at the factor that the scheme has."""
    file, first = FileBuilder(), layers[0]

    def tensor(shape: tuple[int, ...], zero: int, scale: float) -> int:
        return file.tensor(f"t{len(file.tensors)}", (1, *shape), "INT8", scale, zero)

    zero = first.scheme.input_zero_point if isinstance(first.scheme, Affine) else 0
    value = source = tensor(first.input_shape, zero, 1 / 128)
    for layer in layers:
        affine = layer.scheme if isinstance(layer.scheme, Affine) else None
        zero = affine.output_zero_point if affine else -128 if layer.op == "softmax" else 0
        out = tensor(layer.output_shape, zero, 1 / 256 if layer.op == "softmax" else 1 / 128)
        inputs = [value]
        if layer.weights is not None:
            channels, spread = layer.output_image[2], layer.op == "depthwise_conv2d"
            scales = [2.0**-layer.out_shift] * channels
            if affine:
                pairs = zip(*affine.per_channel(channels), strict=True)
                scales = [float(multiplier) * 2.0 ** (int(shift) - 31) for multiplier, shift in pairs]
            weights = layer.weights[None] if spread else layer.weights
            assert layer.bias is not None
            bias = layer.bias.astype(np.int32) << layer.bias_shift
            inputs.append(file.tensor(f"w{out}", scale=scales, axis=3 if spread else 0, data=weights))
            inputs.append(file.tensor(f"b{out}", scale=np.divide(scales, 128), data=bias))
        fields: dict[str, object] = {"beta": 1.0} if layer.op == "softmax" else {}
        if layer.op.endswith("2d"):
            fields = {"padding": "SAME", "stride_h": layer.stride[0], "stride_w": layer.stride[1]}
        if layer.op in ("max_pool2d", "avg_pool2d"):
            fields |= {"filter_height": layer.kernel[0], "filter_width": layer.kernel[1]}
        if layer.op == "depthwise_conv2d":
            fields["depth_multiplier"] = 1
        if layer.activation == "relu":
            fields["fused_activation_function"] = "RELU"
        code = {"max_pool2d": "MAX_POOL_2D", "avg_pool2d": "AVERAGE_POOL_2D"}.get(layer.op, layer.op.upper())
        file.op(code.replace("CONV2D", "CONV_2D"), inputs, [out], **fields)
        value = out
    return write(file.file(Path("chain.tflite"), [source], [value]))


def by_litert(case: Case) -> Run:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=case.file or tflite_chain(case.layers), num_threads=1)
    interpreter.allocate_tensors()
    (source,), (result,) = interpreter.get_input_details(), interpreter.get_output_details()
    image = case.x.reshape(source["shape"])

    def run() -> np.ndarray:
        interpreter.set_tensor(source["index"], image)
        interpreter.invoke()
        return interpreter.get_tensor(result["index"])

    compare(case, "LiteRT", run())
    return run


differences: list[str] = []


def compare(case: Case, peer: str, found: np.ndarray) -> None:
    """One operation with other roundings is one off; softmax of powers of two is another one."""
    if len(case.layers) != 1 or case.layers[0].op == "softmax":
        return
    off = np.abs(found.reshape(-1).astype(int) - case.network.run(case.x).reshape(-1))
    if (off > 1).any():
        differences.append(f"{peer}: {np.mean(off > 1):.1%} of the outputs more than 1 from ours, up to {off.max()}")


PEERS: dict[str, Callable[[Case], Run | None]] = {
    "cmsisnn-x": ours,
    "LiteRT": by_litert,
    "ONNX Runtime": by_onnx_runtime,
    "NumPy f32": by_numpy,
}

# Functions: a network is built where it is asked for.
CASES: dict[str, Callable[[], Case]] = (
    {f"q7 {name}": lambda layer=layer: Case([layer]) for name, layer in (LAYERS | POOLS).items()}
    | {"q7 softmax 10": lambda: Case([Layer("prob", "softmax", "q7", (10,), (10,))])}
    | {"q7 paper network": lambda: Case(paper_network())}
    | {f"int8 {name}": lambda layer=layer: Case([trained(layer)]) for name, layer in LAYERS.items()}
    | {f"int8 {name}": lambda layer=layer: Case([of_bytes(layer)]) for name, layer in POOLS.items()}
    | {f"network {name}": lambda make=make: Case([], make()) for name, make in NETWORKS.items()}
)


def measure(runs: dict[str, Run], budget: float) -> dict[str, np.ndarray]:
    """Seconds of a call, turn by turn; each library has its turn before any has its next."""
    calls = {}
    for name, run in runs.items():
        taken = []
        for _ in range(3):
            start = time.perf_counter()
            run()
            taken.append(time.perf_counter() - start)
        calls[name] = max(1, int(TURN / max(min(taken), 1e-7)))
    turns: dict[str, list[float]] = {name: [] for name in runs}
    end = time.perf_counter() + budget * len(runs)
    while time.perf_counter() < end or len(next(iter(turns.values()))) < PAIRS:
        for name, run in runs.items():
            start = time.perf_counter()
            for _ in range(calls[name]):
                run()
            turns[name].append((time.perf_counter() - start) / calls[name])
    return {name: np.array(taken) for name, taken in turns.items()}


def table(cases: dict[str, Callable[[], Case]], budget: float) -> None:
    absent: dict[str, str] = {}
    quotients: dict[str, list[tuple[float, str]]] = {}
    print(f"one thread, {_simd.chosen()}; us, GMAC/s, times as long as ours")
    print(f"{'':34}" + "".join(f"{name:>26}" for name in PEERS))
    for name, make in cases.items():
        case, runs = make(), {}
        for peer, build in PEERS.items():
            if peer in absent:
                continue
            before = len(differences)
            try:
                run = build(case)
            except ImportError as error:
                absent[peer] = str(error)
                continue
            except (NotImplementedError, RuntimeError, ValueError, KeyError) as error:
                absent[f"{peer}, {name}"] = str(error).splitlines()[0]
                continue
            differences[before:] = [f"{name}: {text}" for text in differences[before:]]
            if run is not None:
                runs[peer] = run
        taken = measure(runs, budget)
        line = f"{name:34}"
        for peer in PEERS:
            if peer not in taken:
                line += f"{'-':>26}"
                continue
            median, quotient = np.median(taken[peer]), np.median(taken[peer] / taken["cmsisnn-x"])
            quotients.setdefault(peer, []).append((float(quotient), name))
            line += f"{median * 1e6:10.1f}{case.macs / median * 1e-9 if case.macs else 0:9.1f}{quotient:6.2f}x"
        print(line, flush=True)
    for peer, found in quotients.items():
        if peer != "cmsisnn-x":
            (least, where), behind = min(found), [one for one, _ in found if one < 1]
            print(f"{peer}: {least:.2f}x at least ({where}), faster than ours in {len(behind)} of {len(found)}")
    for text in differences:
        print(f"differs: {text}")
    for peer, reason in absent.items():
        print(f"absent: {peer}: {reason}")


def without_avx512(arguments: list[str]) -> int:
    """This program again, with a CPUID that knows AVX2 and nothing beyond."""
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "avx2_only.so"
        source = Path(__file__).with_name("avx2_only.c")
        compiler = os.environ.get("CC", "cc").split()
        subprocess.run([*compiler, "-O2", "-shared", "-fPIC", str(source), "-o", str(library)], check=True)
        command = [sys.executable, __file__, *(one for one in arguments if one != "--avx2")]
        return subprocess.run(command, env=os.environ | {"LD_PRELOAD": str(library)}, check=False).returncode


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE", help="further networks, .tflite")
    parser.add_argument("--seconds", type=float, default=0.3, help="per library and case")
    parser.add_argument("--only", default="", help="cases whose name contains this")
    parser.add_argument("--avx2", action="store_true", help="all libraries without AVX-512, AVX-VNNI and AMX")
    options = parser.parse_args()
    if options.avx2:
        sys.exit(without_avx512(sys.argv[1:]))
    files = {f"network {path.stem}": lambda path=path: Case([], path.read_bytes()) for path in options.files}
    table({name: case for name, case in (CASES | files).items() if options.only in name}, options.seconds)


if __name__ == "__main__":
    main()
